/* kist. A raw 32-byte key, everything durable (KIST_SYNC_FULL), values encrypted and read from the
 * files at each get: there is no cache of plaintext. BENCH_SUITE 1 is XChaCha20-Poly1305 (system
 * `kist`), 2 AES-256-GCM (`kist-aes`); BENCH_NO_MAP reads values with pread (`kist-pread`). A session
 * is a bucket handle.
 */
#include "bench.h"
#include "peer.h"

#include <kist.h>
#include <stdlib.h>
#include <string.h>

#ifndef BENCH_SUITE
#define BENCH_SUITE 1
#endif
#ifdef BENCH_NO_MAP
#define PEER_FLAGS KIST_NO_MAP
#define PEER_READS_ONLY true
#define PEER_NAME "kist-pread"
#define PEER_SETTINGS "suite 1, raw key, sync full, KIST_NO_MAP"
#elif BENCH_SUITE == 2
#define PEER_FLAGS 0
#define PEER_READS_ONLY false
#define PEER_NAME "kist-aes"
#define PEER_SETTINGS "suite 2 (AES-256-GCM), raw key, sync full"
#else
#define PEER_FLAGS 0
#define PEER_READS_ONLY false
#define PEER_NAME "kist"
#define PEER_SETTINGS "suite 1 (XChaCha20-Poly1305), raw key, sync full"
#endif

struct peer {
    struct kist_store *store;
};

struct peer_session {
    struct peer *peer;
    struct kist_bucket *bucket;
    struct kist_txn *snapshot;
};

struct peer_batch {
    const struct peer_record *records;
    size_t n;
};

const struct peer_info peer_info = {
    .name = PEER_NAME,
    .settings = PEER_SETTINGS,
    .shared = true,
    .reads_only = PEER_READS_ONLY,
};

static void peer_must(struct peer *peer, int rc, const char *what)
{
    struct kist_detail detail = {""};

    if (rc == 0)
        return;
    if (peer && peer->store)
        kist_detail(peer->store, &detail);
    bench_die("%s: %s: %s (%s)", what, kist_error_name(rc), kist_strerror(rc), detail.text);
}

const char *peer_version(void)
{
    return kist_version();
}

struct peer *peer_open(const char *dir)
{
    struct peer *peer = bench_alloc(sizeof(*peer));
    unsigned char key[KIST_SECRET_LEN];
    struct kist_detail detail = {""};
    struct kist_options options = {.size = sizeof(options),
                                   .flags = PEER_FLAGS,
                                   .suite = BENCH_SUITE,
                                   .lock_timeout_ms = 60000,
                                   .key = {.kind = KIST_SECRET_KEY, .ptr = key, .len = sizeof(key)},
                                   .detail = &detail};
    int rc;

    bench_value(1, key, sizeof(key));
    rc = kist_open(dir, &options, &peer->store);
    BENCH_MUST(rc == 0, "kist_open: %s (%s)", kist_strerror(rc), detail.text);
    return peer;
}

void peer_close(struct peer **peer)
{
    kist_close(&(*peer)->store);
    free(*peer);
    *peer = NULL;
}

struct peer_session *peer_join(struct peer *peer)
{
    struct peer_session *session = bench_alloc(sizeof(*session));

    session->peer = peer;
    peer_must(peer, kist_bucket_open(peer->store, "default", &session->bucket), "kist_bucket_open");
    return session;
}

void peer_leave(struct peer_session **session)
{
    kist_bucket_close(&(*session)->bucket);
    free(*session);
    *session = NULL;
}

static int peer_fill(struct kist_txn *txn, void *ctx)
{
    const struct peer_batch *batch = ctx;
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < batch->n; i++) {
        const struct peer_record *record = &batch->records[i];
        struct kist_bytes key = {record->key, record->key_len}, value = {record->value, record->value_len};

        rc = kist_txn_put(txn, key, value, NULL);
    }
    return rc;
}

void peer_write(struct peer_session *session, const struct peer_record *records, size_t n)
{
    struct peer_batch batch = {records, n};

    if (n == 1) {
        struct kist_bytes key = {records->key, records->key_len}, value = {records->value, records->value_len};

        peer_must(session->peer, kist_put(session->bucket, key, value, NULL, NULL), "kist_put");
        return;
    }
    peer_must(session->peer, kist_run(session->bucket, KIST_OPTIMISTIC, peer_fill, &batch, NULL), "kist_run");
}

void peer_snapshot(struct peer_session *session, bool on)
{
    if (on)
        peer_must(session->peer, kist_begin(session->bucket, KIST_SNAPSHOT, &session->snapshot), "kist_begin");
    else
        kist_abort(&session->snapshot);
}

bool peer_get(struct peer_session *session, const void *key, size_t key_len, void *out, size_t cap, size_t *out_len)
{
    struct kist_bytes name = {key, key_len};
    struct kist_value value = {0};
    int rc = session->snapshot ? kist_txn_get(session->snapshot, name, &value) : kist_get(session->bucket, name, &value);

    if (rc == KIST_ENOKEY)
        return false;
    peer_must(session->peer, rc, "kist_get");
    BENCH_MUST(value.len <= cap, "a value of %zu bytes", value.len);
    memcpy(out, value.data, value.len);
    *out_len = value.len;
    kist_value_free(&value);
    return true;
}

void peer_scan(struct peer_session *session, peer_visit_fn *visit, void *ctx)
{
    struct kist_cursor *cursor = NULL;
    struct kist_record record;
    int rc;

    peer_must(session->peer, kist_cursor_open(session->bucket, NULL, &cursor), "kist_cursor_open");
    while ((rc = kist_cursor_next(cursor, &record)) == 0)
        visit(ctx, record.key.ptr, record.key.len, record.value.ptr, record.value.len);
    BENCH_MUST(rc == KIST_EEND, "kist_cursor_next: %s", kist_strerror(rc));
    kist_cursor_close(&cursor);
}
