/* LMDB. Defaults: every commit is an fdatasync; no MDB_WRITEMAP (a stray write through the map
 * would damage the store), no MDB_NOSYNC or NOMETASYNC. It has no cache of its own: the map is the
 * page cache. The map is 16 GiB of address space, so that it never has to grow. MDB_NOTLS ties a
 * read transaction to the session instead of the thread; a session keeps one and renews it per get,
 * as LMDB advises.
 */
#include "bench.h"
#include "peer.h"

#include <lmdb.h>
#include <stdlib.h>
#include <string.h>

struct peer {
    MDB_env *env;
    MDB_dbi dbi;
};

struct peer_session {
    struct peer *peer;
    MDB_txn *reader; /* reset between gets */
    bool snapshot;
};

const struct peer_info peer_info = {
    .name = "lmdb",
    .settings = "durable defaults, map 16 GiB, MDB_NOTLS, read transaction renewed per get",
    .shared = true,
};

static void peer_must(int rc, const char *what)
{
    BENCH_MUST(rc == MDB_SUCCESS, "%s: %s", what, mdb_strerror(rc));
}

const char *peer_version(void)
{
    return mdb_version(NULL, NULL, NULL);
}

struct peer *peer_open(const char *dir)
{
    struct peer *peer = bench_alloc(sizeof(*peer));
    MDB_txn *txn;

    peer_must(mdb_env_create(&peer->env), "mdb_env_create");
    peer_must(mdb_env_set_mapsize(peer->env, (size_t)16 << 30), "mdb_env_set_mapsize");
    peer_must(mdb_env_set_maxreaders(peer->env, 256), "mdb_env_set_maxreaders");
    peer_must(mdb_env_open(peer->env, dir, MDB_NOTLS, 0600), "mdb_env_open");
    peer_must(mdb_txn_begin(peer->env, NULL, MDB_RDONLY, &txn), "mdb_txn_begin");
    peer_must(mdb_dbi_open(txn, NULL, 0, &peer->dbi), "mdb_dbi_open");
    peer_must(mdb_txn_commit(txn), "mdb_txn_commit");
    return peer;
}

void peer_close(struct peer **peer)
{
    mdb_env_close((*peer)->env);
    free(*peer);
    *peer = NULL;
}

struct peer_session *peer_join(struct peer *peer)
{
    struct peer_session *session = bench_alloc(sizeof(*session));

    session->peer = peer;
    peer_must(mdb_txn_begin(peer->env, NULL, MDB_RDONLY, &session->reader), "mdb_txn_begin");
    mdb_txn_reset(session->reader);
    return session;
}

void peer_leave(struct peer_session **session)
{
    mdb_txn_abort((*session)->reader);
    free(*session);
    *session = NULL;
}

static MDB_val peer_val(const void *ptr, size_t len)
{
    MDB_val val = {len, (void *)(uintptr_t)ptr}; /* LMDB does not write through it */

    return val;
}

void peer_write(struct peer_session *session, const struct peer_record *records, size_t n)
{
    MDB_txn *txn;

    peer_must(mdb_txn_begin(session->peer->env, NULL, 0, &txn), "mdb_txn_begin");
    for (size_t i = 0; i < n; i++) {
        MDB_val key = peer_val(records[i].key, records[i].key_len);
        MDB_val value = peer_val(records[i].value, records[i].value_len);

        peer_must(mdb_put(txn, session->peer->dbi, &key, &value, 0), "mdb_put");
    }
    peer_must(mdb_txn_commit(txn), "mdb_txn_commit");
}

void peer_snapshot(struct peer_session *session, bool on)
{
    session->snapshot = on;
    if (on)
        peer_must(mdb_txn_renew(session->reader), "mdb_txn_renew");
    else
        mdb_txn_reset(session->reader);
}

bool peer_get(struct peer_session *session, const void *key, size_t key_len, void *out, size_t cap, size_t *out_len)
{
    MDB_val name = peer_val(key, key_len), value;
    int rc;

    if (!session->snapshot)
        peer_must(mdb_txn_renew(session->reader), "mdb_txn_renew");
    rc = mdb_get(session->reader, session->peer->dbi, &name, &value);
    if (rc != MDB_NOTFOUND) {
        peer_must(rc, "mdb_get");
        BENCH_MUST(value.mv_size <= cap, "a value of %zu bytes", value.mv_size);
        memcpy(out, value.mv_data, value.mv_size);
        *out_len = value.mv_size;
    }
    if (!session->snapshot)
        mdb_txn_reset(session->reader);
    return rc == MDB_SUCCESS;
}

void peer_scan(struct peer_session *session, peer_visit_fn *visit, void *ctx)
{
    MDB_cursor *cursor;
    MDB_val key, value;
    int rc;

    peer_must(mdb_txn_renew(session->reader), "mdb_txn_renew");
    peer_must(mdb_cursor_open(session->reader, session->peer->dbi, &cursor), "mdb_cursor_open");
    while ((rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == MDB_SUCCESS)
        visit(ctx, key.mv_data, key.mv_size, value.mv_data, value.mv_size);
    BENCH_MUST(rc == MDB_NOTFOUND, "mdb_cursor_get: %s", mdb_strerror(rc));
    mdb_cursor_close(cursor);
    mdb_txn_reset(session->reader);
}
