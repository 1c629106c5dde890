/* WiredTiger: its log with an fsync at each commit, a cache of 512 MiB, a checkpoint every minute
 * (as MongoDB does), no compression of blocks or log, checksums as shipped, one session and one
 * cursor a thread.
 */
#include "bench.h"
#include "peer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wiredtiger.h>

#define PEER_TABLE "table:kv"

struct peer {
    WT_CONNECTION *connection;
};

struct peer_session {
    WT_SESSION *session;
    WT_CURSOR *cursor;
    bool snapshot;
};

const struct peer_info peer_info = {
    .name = "wiredtiger",
    .settings = "log with transaction_sync=fsync, cache 512 MiB, checkpoint every 60 s, no compression",
    .shared = false,
};

static void peer_must(int rc, const char *what)
{
    BENCH_MUST(rc == 0, "%s: %s", what, wiredtiger_strerror(rc));
}

const char *peer_version(void)
{
    static char version[32];
    int major, minor, patch;

    wiredtiger_version(&major, &minor, &patch);
    snprintf(version, sizeof(version), "%d.%d.%d", major, minor, patch);
    return version;
}

struct peer *peer_open(const char *dir)
{
    struct peer *peer = bench_alloc(sizeof(*peer));
    char config[256];
    WT_SESSION *session;

    snprintf(config, sizeof(config),
             "create,cache_size=%dMB,session_max=200,log=(enabled=true),checkpoint=(wait=60),"
             "transaction_sync=(enabled=true,method=fsync)",
             PEER_CACHE_MIB);
    peer_must(wiredtiger_open(dir, NULL, config, &peer->connection), "wiredtiger_open");
    peer_must(peer->connection->open_session(peer->connection, NULL, NULL, &session), "open_session");
    peer_must(session->create(session, PEER_TABLE, "key_format=u,value_format=u"), "create");
    peer_must(session->close(session, NULL), "session close");
    return peer;
}

void peer_close(struct peer **peer)
{
    peer_must((*peer)->connection->close((*peer)->connection, NULL), "connection close");
    free(*peer);
    *peer = NULL;
}

struct peer_session *peer_join(struct peer *peer)
{
    struct peer_session *session = bench_alloc(sizeof(*session));
    WT_SESSION *wt;

    peer_must(peer->connection->open_session(peer->connection, NULL, "isolation=snapshot", &wt), "open_session");
    peer_must(wt->open_cursor(wt, PEER_TABLE, NULL, "overwrite=true", &session->cursor), "open_cursor");
    session->session = wt;
    return session;
}

void peer_leave(struct peer_session **session)
{
    peer_must((*session)->session->close((*session)->session, NULL), "session close");
    free(*session);
    *session = NULL;
}

void peer_write(struct peer_session *session, const struct peer_record *records, size_t n)
{
    WT_SESSION *wt = session->session;
    WT_CURSOR *cursor = session->cursor;

    peer_must(wt->begin_transaction(wt, "sync=true"), "begin_transaction");
    for (size_t i = 0; i < n; i++) {
        WT_ITEM key = {.data = records[i].key, .size = records[i].key_len};
        WT_ITEM value = {.data = records[i].value, .size = records[i].value_len};

        cursor->set_key(cursor, &key);
        cursor->set_value(cursor, &value);
        peer_must(cursor->insert(cursor), "insert");
    }
    peer_must(wt->commit_transaction(wt, NULL), "commit_transaction");
}

void peer_snapshot(struct peer_session *session, bool on)
{
    WT_SESSION *wt = session->session;

    session->snapshot = on;
    if (on)
        peer_must(wt->begin_transaction(wt, NULL), "begin_transaction");
    else
        peer_must(wt->rollback_transaction(wt, NULL), "rollback_transaction");
}

bool peer_get(struct peer_session *session, const void *key, size_t key_len, void *out, size_t cap, size_t *out_len)
{
    WT_CURSOR *cursor = session->cursor;
    WT_ITEM name = {.data = key, .size = key_len}, value;
    int rc;

    cursor->set_key(cursor, &name);
    rc = cursor->search(cursor);
    if (rc == 0) {
        peer_must(cursor->get_value(cursor, &value), "get_value");
        BENCH_MUST(value.size <= cap, "a value of %zu bytes", value.size);
        memcpy(out, value.data, value.size);
        *out_len = value.size;
    } else if (rc != WT_NOTFOUND) {
        peer_must(rc, "search");
    }
    if (!session->snapshot)
        peer_must(cursor->reset(cursor), "reset");
    return rc == 0;
}

void peer_scan(struct peer_session *session, peer_visit_fn *visit, void *ctx)
{
    WT_CURSOR *cursor = session->cursor;
    WT_ITEM key, value;
    int rc;

    peer_must(cursor->reset(cursor), "reset");
    while ((rc = cursor->next(cursor)) == 0) {
        peer_must(cursor->get_key(cursor, &key), "get_key");
        peer_must(cursor->get_value(cursor, &value), "get_value");
        visit(ctx, key.data, key.size, value.data, value.size);
    }
    BENCH_MUST(rc == WT_NOTFOUND, "next: %s", wiredtiger_strerror(rc));
    peer_must(cursor->reset(cursor), "reset");
}
