/* RocksDB by its C interface. Each write has sync = true; compression off (the values cannot be
 * compressed; ours are not either), a block cache of 512 MiB, two background threads (the cores of
 * the machine this was written on); all else as shipped, checksums on. Gets use pinned slices, its
 * cheapest way out. BENCH_BLOOM adds bloom filters of 10 bits a key, which are not on as shipped
 * and are worth 1.6 to 1.9 x in gets here: system `rocksdb-bloom`, which is asked what reads.
 */
#include "bench.h"
#include "peer.h"

#include <rocksdb/c.h>
#include <stdlib.h>
#include <string.h>

struct peer {
    rocksdb_t *db;
    rocksdb_options_t *options;
    rocksdb_block_based_table_options_t *table;
    rocksdb_cache_t *cache;
};

struct peer_session {
    struct peer *peer;
    rocksdb_writeoptions_t *write;
    rocksdb_readoptions_t *read;
    const rocksdb_snapshot_t *snapshot;
};

#ifdef BENCH_BLOOM
const struct peer_info peer_info = {
    .name = "rocksdb-bloom",
    .settings = "as rocksdb, bloom filters of 10 bits a key",
    .reads_only = true,
};
#else
const struct peer_info peer_info = {
    .name = "rocksdb",
    .settings = "sync writes, no compression, block cache 512 MiB, 2 background threads",
};
#endif

static void peer_must(const char *error, const char *what)
{
    BENCH_MUST(!error, "%s: %s", what, error);
}

const char *peer_version(void)
{
    return BENCH_VERSION; /* the C interface has no call for it; from pkg-config */
}

struct peer *peer_open(const char *dir)
{
    struct peer *peer = bench_alloc(sizeof(*peer));
    char *error = NULL;

    peer->options = rocksdb_options_create();
    peer->table = rocksdb_block_based_options_create();
    peer->cache = rocksdb_cache_create_lru((size_t)PEER_CACHE_MIB << 20);
    rocksdb_block_based_options_set_block_cache(peer->table, peer->cache);
#ifdef BENCH_BLOOM
    rocksdb_block_based_options_set_filter_policy(peer->table, rocksdb_filterpolicy_create_bloom_full(10));
#endif
    rocksdb_options_set_block_based_table_factory(peer->options, peer->table);
    rocksdb_options_set_create_if_missing(peer->options, 1);
    rocksdb_options_set_compression(peer->options, rocksdb_no_compression);
    rocksdb_options_increase_parallelism(peer->options, 2);
    peer->db = rocksdb_open(peer->options, dir, &error);
    peer_must(error, "rocksdb_open");
    return peer;
}

void peer_close(struct peer **peer)
{
    rocksdb_close((*peer)->db);
    rocksdb_options_destroy((*peer)->options);
    rocksdb_block_based_options_destroy((*peer)->table);
    rocksdb_cache_destroy((*peer)->cache);
    free(*peer);
    *peer = NULL;
}

struct peer_session *peer_join(struct peer *peer)
{
    struct peer_session *session = bench_alloc(sizeof(*session));

    session->peer = peer;
    session->read = rocksdb_readoptions_create();
    session->write = rocksdb_writeoptions_create();
    rocksdb_writeoptions_set_sync(session->write, 1);
    return session;
}

void peer_leave(struct peer_session **session)
{
    rocksdb_readoptions_destroy((*session)->read);
    rocksdb_writeoptions_destroy((*session)->write);
    free(*session);
    *session = NULL;
}

void peer_write(struct peer_session *session, const struct peer_record *records, size_t n)
{
    rocksdb_t *db = session->peer->db;
    char *error = NULL;
    rocksdb_writebatch_t *batch;

    if (n == 1) {
        rocksdb_put(db, session->write, records->key, records->key_len, records->value, records->value_len, &error);
        peer_must(error, "rocksdb_put");
        return;
    }
    batch = rocksdb_writebatch_create();
    for (size_t i = 0; i < n; i++)
        rocksdb_writebatch_put(batch, records[i].key, records[i].key_len, records[i].value, records[i].value_len);
    rocksdb_write(db, session->write, batch, &error);
    peer_must(error, "rocksdb_write");
    rocksdb_writebatch_destroy(batch);
}

void peer_snapshot(struct peer_session *session, bool on)
{
    rocksdb_t *db = session->peer->db;

    if (on) {
        session->snapshot = rocksdb_create_snapshot(db);
        rocksdb_readoptions_set_snapshot(session->read, session->snapshot);
    } else {
        rocksdb_readoptions_set_snapshot(session->read, NULL);
        rocksdb_release_snapshot(db, session->snapshot);
    }
}

bool peer_get(struct peer_session *session, const void *key, size_t key_len, void *out, size_t cap, size_t *out_len)
{
    char *error = NULL;
    rocksdb_pinnableslice_t *slice = rocksdb_get_pinned(session->peer->db, session->read, key, key_len, &error);
    const char *value;
    size_t len = 0;

    peer_must(error, "rocksdb_get_pinned");
    if (!slice)
        return false;
    value = rocksdb_pinnableslice_value(slice, &len);
    BENCH_MUST(len <= cap, "a value of %zu bytes", len);
    memcpy(out, value, len);
    *out_len = len;
    rocksdb_pinnableslice_destroy(slice);
    return true;
}

void peer_scan(struct peer_session *session, peer_visit_fn *visit, void *ctx)
{
    rocksdb_iterator_t *it = rocksdb_create_iterator(session->peer->db, session->read);
    char *error = NULL;

    for (rocksdb_iter_seek_to_first(it); rocksdb_iter_valid(it); rocksdb_iter_next(it)) {
        size_t key_len, value_len;
        const char *key = rocksdb_iter_key(it, &key_len), *value = rocksdb_iter_value(it, &value_len);

        visit(ctx, key, key_len, value, value_len);
    }
    rocksdb_iter_get_error(it, &error);
    peer_must(error, "rocksdb_iter");
    rocksdb_iter_destroy(it);
}
