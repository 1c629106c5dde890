/* What a system under test must be able to do. One file peer_SYSTEM.c implements it; main.c drives
 * it. One executable per system, because SQLite and SQLCipher define the same symbols.
 *
 * Rules for an adapter: every commit is durable when peer_write() returns (the system's own
 * strongest mode for that, nothing switched off), 512 MiB of cache where there is one, no
 * compression, checksums as shipped, one session a thread. Any error ends the program through
 * bench_die(): there is nothing to measure after it. */
#ifndef BENCH_PEER_H
#define BENCH_PEER_H

#include <stdbool.h>
#include <stddef.h>

#define PEER_CACHE_MIB 512

struct peer;         /* an open store */
struct peer_session; /* what one thread needs to use it */

struct peer_record {
    const void *key;
    size_t key_len;
    const void *value;
    size_t value_len;
};

struct peer_info {
    const char *name;
    const char *settings; /* one line for docs/benchmarks.md */
    bool shared;          /* can several processes have it open at the same time? */
    bool reads_only;      /* a variant that differs in reading only: single puts and such are left out */
};

extern const struct peer_info peer_info;

/* The version of the library as loaded. Valid for the life of the program. */
const char *peer_version(void);

/* Open the store in directory `dir` (which exists), making it if it is not there. */
struct peer *peer_open(const char *dir);
void peer_close(struct peer **peer);

/* A session belongs to the thread that joined. Leave before the store is closed. */
struct peer_session *peer_join(struct peer *peer);
void peer_leave(struct peer_session **session);

/* Write n records as one durable transaction. */
void peer_write(struct peer_session *session, const struct peer_record *records, size_t n);

/* From `true` to `false` all gets of the session read one snapshot (its best case: no begin and end
 * per get); otherwise each get sees the newest commit. */
void peer_snapshot(struct peer_session *session, bool on);

/* Copy the value of a key to `out` (at most `cap` bytes). False if there is none. */
bool peer_get(struct peer_session *session, const void *key, size_t key_len, void *out, size_t cap, size_t *out_len);

/* Visit every record in the order of the keys, with its value. */
typedef void peer_visit_fn(void *ctx, const void *key, size_t key_len, const void *value, size_t value_len);
void peer_scan(struct peer_session *session, peer_visit_fn *visit, void *ctx);

#endif
