/* SQLite and, with BENCH_SQLCIPHER, SQLCipher: one table without rowid (one tree, the key in it),
 * WAL with synchronous = FULL, 512 MiB of page cache, prepared statements, one connection a
 * session, checkpoints as shipped (every 1,000 pages). SQLCipher gets a raw key, so that opening
 * does not derive one, and pages of 4 KiB (the default of its later versions; better than its 1 KiB
 * here); its HMAC stays on. A busy database is waited for: up to a minute.
 */
#include "bench.h"
#include "peer.h"

#ifdef BENCH_SQLCIPHER
#define SQLITE_HAS_CODEC
#include <sqlcipher/sqlite3.h>
#else
#include <sqlite3.h>
#endif

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PEER_PUT, PEER_GET, PEER_SCAN, PEER_BEGIN, PEER_WRITE, PEER_COMMIT, PEER_STATEMENTS };

struct peer {
    char path[4096];
};

struct peer_session {
    sqlite3 *db;
    sqlite3_stmt *statements[PEER_STATEMENTS];
};

#ifdef BENCH_SQLCIPHER
const struct peer_info peer_info = {
    .name = "sqlcipher",
    .settings = "WAL, synchronous=FULL, raw key, pages of 4 KiB with HMAC, page cache 512 MiB, "
                "WITHOUT ROWID",
    .shared = true,
};
#else
const struct peer_info peer_info = {
    .name = "sqlite",
    .settings = "WAL, synchronous=FULL, pages of 4 KiB, page cache 512 MiB, WITHOUT ROWID",
    .shared = true,
};
#endif

static void peer_must(struct peer_session *session, int rc, const char *what)
{
    BENCH_MUST(rc == SQLITE_OK || rc == SQLITE_DONE || rc == SQLITE_ROW, "%s: %s", what, sqlite3_errmsg(session->db));
}

static void peer_exec(struct peer_session *session, const char *sql)
{
    peer_must(session, sqlite3_exec(session->db, sql, NULL, NULL, NULL), sql);
}

static void peer_step(struct peer_session *session, int which)
{
    peer_must(session, sqlite3_step(session->statements[which]), "sqlite3_step");
    peer_must(session, sqlite3_reset(session->statements[which]), "sqlite3_reset");
}

const char *peer_version(void)
{
#ifdef BENCH_SQLCIPHER
    static char version[64];

    snprintf(version, sizeof(version), "%s (SQLite %s)", BENCH_VERSION, sqlite3_libversion());
    return version;
#else
    return sqlite3_libversion();
#endif
}

static void peer_prepare(struct peer_session *session)
{
    static const char *const sql[PEER_STATEMENTS] = {
        [PEER_PUT] = "INSERT OR REPLACE INTO kv VALUES (?1, ?2)",
        [PEER_GET] = "SELECT v FROM kv WHERE k = ?1",
        [PEER_SCAN] = "SELECT k, v FROM kv ORDER BY k",
        [PEER_BEGIN] = "BEGIN",
        [PEER_WRITE] = "BEGIN IMMEDIATE",
        [PEER_COMMIT] = "COMMIT",
    };

    for (int i = 0; i < PEER_STATEMENTS; i++)
        peer_must(session, sqlite3_prepare_v2(session->db, sql[i], -1, &session->statements[i], NULL), sql[i]);
}

struct peer_session *peer_join(struct peer *peer)
{
    struct peer_session *session = bench_alloc(sizeof(*session));
    char pragma[64];

    peer_must(session, sqlite3_open(peer->path, &session->db), "sqlite3_open");
    sqlite3_busy_timeout(session->db, 60000);
#ifdef BENCH_SQLCIPHER
    peer_exec(session, "PRAGMA key = \"x'000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f'\"");
    peer_exec(session, "PRAGMA cipher_page_size = 4096");
#endif
    snprintf(pragma, sizeof(pragma), "PRAGMA cache_size = -%d", PEER_CACHE_MIB * 1024);
    peer_exec(session, pragma);
    peer_exec(session, "PRAGMA journal_mode = WAL");
    peer_exec(session, "PRAGMA synchronous = FULL");
    peer_exec(session, "CREATE TABLE IF NOT EXISTS kv (k BLOB PRIMARY KEY, v BLOB NOT NULL) WITHOUT ROWID");
    peer_prepare(session);
    return session;
}

void peer_leave(struct peer_session **session)
{
    for (int i = 0; i < PEER_STATEMENTS; i++)
        sqlite3_finalize((*session)->statements[i]);
    BENCH_MUST(sqlite3_close((*session)->db) == SQLITE_OK, "sqlite3_close");
    free(*session);
    *session = NULL;
}

/* The file is made here, by the first connection, so that sessions that start together do not race
 * for it. */
struct peer *peer_open(const char *dir)
{
    struct peer *peer = bench_alloc(sizeof(*peer));
    struct peer_session *first;
    FILE *file;

    snprintf(peer->path, sizeof(peer->path), "%s/kv.db", dir);
    file = fopen(peer->path, "r");
    if (file) {
        fclose(file);
        return peer;
    }
    first = peer_join(peer);
    peer_leave(&first);
    return peer;
}

void peer_close(struct peer **peer)
{
    free(*peer);
    *peer = NULL;
}

static void peer_put(struct peer_session *session, const struct peer_record *record)
{
    sqlite3_stmt *put = session->statements[PEER_PUT];

    peer_must(session, sqlite3_bind_blob(put, 1, record->key, (int)record->key_len, SQLITE_STATIC), "bind");
    peer_must(session, sqlite3_bind_blob(put, 2, record->value, (int)record->value_len, SQLITE_STATIC), "bind");
    peer_step(session, PEER_PUT);
}

void peer_write(struct peer_session *session, const struct peer_record *records, size_t n)
{
    if (n == 1) { /* commits by itself: two statements less */
        peer_put(session, records);
        return;
    }
    peer_step(session, PEER_WRITE);
    for (size_t i = 0; i < n; i++)
        peer_put(session, &records[i]);
    peer_step(session, PEER_COMMIT);
}

void peer_snapshot(struct peer_session *session, bool on)
{
    peer_step(session, on ? PEER_BEGIN : PEER_COMMIT);
}

bool peer_get(struct peer_session *session, const void *key, size_t key_len, void *out, size_t cap, size_t *out_len)
{
    sqlite3_stmt *get = session->statements[PEER_GET];
    int rc;

    peer_must(session, sqlite3_bind_blob(get, 1, key, (int)key_len, SQLITE_STATIC), "bind");
    rc = sqlite3_step(get);
    peer_must(session, rc, "get");
    if (rc == SQLITE_ROW) {
        const void *value = sqlite3_column_blob(get, 0);
        size_t len = (size_t)sqlite3_column_bytes(get, 0);

        BENCH_MUST(len <= cap, "a value of %zu bytes", len);
        memcpy(out, value, len);
        *out_len = len;
    }
    peer_must(session, sqlite3_reset(get), "reset");
    return rc == SQLITE_ROW;
}

void peer_scan(struct peer_session *session, peer_visit_fn *visit, void *ctx)
{
    sqlite3_stmt *scan = session->statements[PEER_SCAN];
    int rc;

    while ((rc = sqlite3_step(scan)) == SQLITE_ROW) {
        const void *key = sqlite3_column_blob(scan, 0), *value = sqlite3_column_blob(scan, 1);

        visit(ctx, key, (size_t)sqlite3_column_bytes(scan, 0), value, (size_t)sqlite3_column_bytes(scan, 1));
    }
    peer_must(session, rc, "scan");
    peer_must(session, sqlite3_reset(scan), "reset");
}
