/* What keeps ordered bytes durably: the interface that every engine has and the model layer is written against.
 *
 * An engine knows buckets as numbers, keys as bytes, values with a type byte and an expiry that it honours itself (an expired
 * record is not there). Names, typed operations, policies and queues are not engine matters. What makes it fit engines
 * outside our process: a transaction names its bucket, bodies can be run again after KIST_ECONFLICT, a commit may answer
 * KIST_EMAYBE, values are copied out, cursors page by key.
 *
 * Bucket 0 is the catalog: the model keeps its own records there. Bucket numbers are never used twice. */
#ifndef KIST_ENGINE_ENGINE_H
#define KIST_ENGINE_ENGINE_H

#include "base/error.h"
#include "crypt/keyring.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct engine;
struct engine_txn;
struct engine_cursor;

#define ENGINE_CATALOG UINT64_C(0)
#define ENGINE_OWN_EXPIRY 4u /* bit of the type: the record's expiry, or that it has none, was asked for */

enum engine_mode {
    ENGINE_SNAPSHOT,   /* read-only; durable commits only; takes no lock */
    ENGINE_OPTIMISTIC, /* the same, plus a write set and a read set that commit checks */
    ENGINE_EXCLUSIVE,  /* holds the writer lock; sees commits that are appended but not yet durable */
};

struct engine_meta {
    uint64_t revision;  /* 0: this transaction's own write */
    int64_t expires_ms; /* absolute; 0: never */
    uint32_t len;       /* of the value */
    uint8_t type;       /* 0 to 7; opaque to the engine but for ENGINE_OWN_EXPIRY */
};

struct engine_options {
    enum kist_open_mode mode;
    enum kist_sync sync;
    unsigned flags;          /* KIST_NO_MAP */
    int64_t lock_timeout_ms; /* < 0: for ever */
    int suite;
    const struct unlock *unlock; /* NULL: memory engine only */
};

struct engine_change {
    uint64_t revision;
    uint64_t bucket;
    bool deleted;
    bool dropped;          /* the bucket itself; key is empty */
    struct kist_bytes key; /* borrowed for the call */
};

/* One table an engine. All functions are for any thread; a transaction and its cursors for one at a time. */
struct engine_ops {
    void (*close)(struct engine **e);

    /* KIST_ENOBUCKET when the bucket was dropped; exclusive: KIST_EBUSY after the lock timeout, KIST_EREADONLY, KIST_EFAILED. */
    int (*begin)(struct engine *e, uint64_t bucket, enum engine_mode mode, struct engine_txn **out);
    /* Ends *t either way. Without writes: 0 and the snapshot's revision. Returns when it is durable (sync mode permitting). */
    int (*commit)(struct engine_txn **t, uint64_t *out_revision);
    void (*abort)(struct engine_txn **t);
    uint64_t (*txn_revision)(const struct engine_txn *t); /* newest commit that it sees (without its own writes) */

    /* out_data may be NULL (no value is read); else *out_data is os_alloc'ed (at least 1 byte) and yours: wipe and os_free.
     * KIST_ENOKEY when missing or expired. Own writes are seen; the read is remembered for the conflict check. */
    int (*get)(struct engine_txn *t, struct kist_bytes key, struct engine_meta *out_meta, void **out_data);
    /* Value bytes are borrowed until commit or abort when borrow is true, else copied. expires_ms absolute or 0. */
    int (*put)(struct engine_txn *t, struct kist_bytes key, struct kist_bytes value, uint8_t type, int64_t expires_ms,
               bool borrow);
    /* The same, but an expiry of its own that the record has when this is committed stays, with the bit that says so; without
     * one it becomes expires_ms, or with 0 stays what it was. Looked up at the commit: nothing is read, nothing remembered. */
    int (*put_keep)(struct engine_txn *t, struct kist_bytes key, struct kist_bytes value, uint8_t type, int64_t expires_ms,
                    bool borrow);
    int (*del)(struct engine_txn *t, struct kist_bytes key); /* a missing key is fine */
    /* In a catalog transaction: forget everything in bucket, for ever. */
    int (*drop)(struct engine_txn *t, uint64_t bucket);

    /* A cursor over the transaction's bucket, own writes included; not positioned. Close it before the transaction ends.
     * Writes made while it stands are seen after the next seek. */
    int (*cursor_open)(struct engine_txn *t, struct engine_cursor **out);
    void (*cursor_close)(struct engine_cursor **c);
    /* Stand on the first live record >= key (forward) or the last one < key (backward; key.ptr NULL: the very last).
     * KIST_EEND when there is none. All ranges passed over are remembered for the conflict check. */
    int (*seek)(struct engine_cursor *c, struct kist_bytes key, bool backward);
    int (*next)(struct engine_cursor *c, bool backward); /* one step on from where it stands; KIST_EEND */
    /* Where it stands; key borrowed until it moves. out_data as in get. */
    int (*current)(struct engine_cursor *c, struct kist_bytes *out_key, struct engine_meta *out_meta, void **out_data);

    int (*sync)(struct engine *e);
    int (*revision)(struct engine *e, uint64_t *out); /* newest durable commit */
    /* Tell each durable change after *io_since, in order; *io_since moves to the last one told. KIST_EROLLBACK when the engine
     * no longer remembers that far back. each() must not use the engine; non-zero ends. */
    int (*changes)(struct engine *e, uint64_t *io_since, int (*each)(const struct engine_change *c, void *ctx), void *ctx);
    /* Sleep until there is a durable commit after since, *cancel becomes non-zero (then woken by wake), or timeout_us passes
     * (< 0: never): 0 or KIST_ETIMEOUT. */
    int (*wait)(struct engine *e, uint64_t since, int64_t timeout_us, const _Atomic uint32_t *cancel);
    void (*wake)(struct engine *e); /* all waiters of this process look again */

    int (*backup)(struct engine *e, uint64_t since, kist_write_fn *write, void *ctx, uint64_t *out_revision);
    int (*compact)(struct engine *e, kist_progress_fn *progress, void *ctx);
    int (*sweep)(struct engine *e, uint64_t limit, uint64_t *out_swept);
    /* A slice of background work (compaction by policy, sweep, snapshot) of about budget_us; *out_more: there is more. */
    int (*maintain)(struct engine *e, int64_t budget_us, bool *out_more);
    int (*verify)(struct engine *e, const struct kist_verify_options *options, struct kist_verify_report *out);
    int (*stat)(struct engine *e, struct kist_stat *out); /* all but buckets */

    /* Change the keyring (slots, data keys): fn edits it under the header lock, then it is written durably; other processes
     * follow. fn's failure leaves everything as it was. KIST_ENOTSUP: memory engine. */
    int (*keyring_change)(struct engine *e, int (*fn)(struct keyring *k, void *ctx), void *ctx);
    int (*keyring_read)(struct engine *e, int (*fn)(const struct keyring *k, void *ctx), void *ctx); /* newest on disk */
    int (*rotate)(struct engine *e, bool resume, kist_progress_fn *progress, void *ctx);
};

/* Every engine's struct begins so. */
struct engine {
    const struct engine_ops *ops;
    struct error_detail *detail; /* of the last failure; any thread may overwrite it: shown to people only */
};

struct engine_txn {
    struct engine *engine;
    uint64_t bucket;
    enum engine_mode mode;
};

struct engine_cursor {
    struct engine_txn *txn;
};

/* path NULL or ":memory:": the memory engine. detail says what went wrong, also when it fails. */
int engine_open(const char *path, const struct engine_options *options, struct error_detail *detail,
                struct engine **out) KIST_MUST_USE;
/* Make or bring forward a store from a backup stream (see kist_restore). */
int engine_restore(const char *path, const struct engine_options *options, kist_read_fn *read, void *ctx,
                   struct error_detail *detail) KIST_MUST_USE;

#endif
