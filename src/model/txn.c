/* txn.c: transactions, and the runner that repeats them.
 *
 * A transaction is an engine transaction and the operations of ops.c on it. What an optimistic one
 * has read is remembered by the engine, the checks of KIST_IF_ included, so that the commit repeats
 * them. Values are copied: the caller's bytes are free again after each call. It keeps the store,
 * not the bucket handle, which may be closed before.
 *
 * The runner gives an optimistic body 15 chances and then takes the writer lock, which cannot
 * conflict: under any load it ends. The pauses between are random, below a bound that doubles from
 * 0.1 to 50 ms: a fixed pause would send those who collided into the next collision together. Only
 * a conflict of the commit is repeated. KIST_ECONFLICT that the body itself answers (a failed
 * KIST_IF_REVISION) would fail again; KIST_EMAYBE may have happened. */
#include "model/txn.h"

#include "base/os.h"
#include "model/bucket.h"

#define TXN_TRIES 16
#define TXN_PAUSE_US 100
#define TXN_PAUSE_MAX_US 50000

static int txn_engine_mode(enum kist_txn_mode mode, enum engine_mode *out)
{
    switch (mode) {
    case KIST_OPTIMISTIC:
        *out = ENGINE_OPTIMISTIC;
        return 0;
    case KIST_EXCLUSIVE:
        *out = ENGINE_EXCLUSIVE;
        return 0;
    case KIST_SNAPSHOT:
        *out = ENGINE_SNAPSHOT;
        return 0;
    default:
        return KIST_EINVAL;
    }
}

int kist_begin(struct kist_bucket *bucket, enum kist_txn_mode mode, struct kist_txn **out_txn)
{
    enum engine_mode engine_mode = ENGINE_SNAPSHOT;
    int r = bucket_check(bucket);
    r = r < 0 ? r : txn_engine_mode(mode, &engine_mode);
    if (r < 0 || !out_txn)
        return r < 0 ? r : KIST_EINVAL;
    struct kist_txn *t = os_calloc(sizeof *t);
    if (!t)
        return KIST_ENOMEM;
    t->magic = TXN_MAGIC;
    t->store = bucket->store;
    t->mode = mode;
    if (mode == KIST_OPTIMISTIC && t->store->read_only)
        engine_mode = ENGINE_SNAPSHOT; /* what only reads may run anywhere; a write is refused by
                                          txn_write() */
    t->ops.detail = &bucket->store->detail;
    if (mode != KIST_SNAPSHOT) /* before the lock, see bucket.c */
        r = bucket_ttl(bucket, &t->ops.default_ttl_ms);
    r = r < 0 ? r : store_begin(bucket->store, bucket->number, engine_mode, &t->ops.txn);
    if (r < 0) {
        os_free(t);
        return r;
    }
    *out_txn = t;
    return 0;
}

static void txn_free(struct kist_txn **txn)
{
    (*txn)->magic = 0;
    os_free(*txn);
    *txn = NULL;
}

int kist_commit(struct kist_txn **txn, uint64_t *out_revision)
{
    uint64_t revision = 0;
    if (!txn || !*txn)
        return KIST_EINVAL;
    struct kist_txn *t = *txn;
    int r = txn_check(t);
    assert(t->cursors == 0);
    if (r == 0)
        r = t->store->engine->ops->commit(&t->ops.txn, &revision);
    else
        t->store->engine->ops->abort(&t->ops.txn);
    txn_free(txn);
    if (r == 0 && out_revision)
        *out_revision = revision;
    return r;
}

void kist_abort(struct kist_txn **txn)
{
    if (!txn || !*txn)
        return;
    struct kist_txn *t = *txn;
    assert(t->magic == TXN_MAGIC && t->cursors == 0);
    t->store->engine->ops->abort(&t->ops.txn);
    txn_free(txn);
}

uint64_t kist_txn_revision(const struct kist_txn *txn)
{
    if (txn_check(txn) < 0)
        return 0;
    return txn->store->engine->ops->txn_revision(txn->ops.txn);
}

/* -- the runner -- */

static void txn_pause(int tries)
{
    uint32_t random = UINT32_MAX;
    int64_t bound = (int64_t)TXN_PAUSE_US << tries;
    if (bound > TXN_PAUSE_MAX_US)
        bound = TXN_PAUSE_MAX_US;
    if (os_random(&random, sizeof random) < 0)
        random = UINT32_MAX; /* without randomness the longest pause will do */
    os_sleep_us(bound * (int64_t)random / UINT32_MAX);
}

/* One try. *out_again: the commit met a conflict. */
static int txn_try(struct kist_bucket *bucket, enum kist_txn_mode mode, int (*fn)(struct kist_txn *txn, void *ctx), void *ctx,
                   uint64_t *out_revision, bool *out_again)
{
    struct kist_txn *txn = NULL;
    int r = kist_begin(bucket, mode, &txn);
    if (r < 0)
        return r;
    r = fn(txn, ctx);
    if (r < 0) {
        kist_abort(&txn);
        return r;
    }
    r = kist_commit(&txn, out_revision);
    *out_again = r == KIST_ECONFLICT;
    return r;
}

int kist_run(struct kist_bucket *bucket, enum kist_txn_mode mode, int (*fn)(struct kist_txn *txn, void *ctx), void *ctx,
             uint64_t *out_revision)
{
    if (!fn)
        return KIST_EINVAL;
    for (int tries = 1;; tries++) {
        bool last = tries == TXN_TRIES, again = false;
        enum kist_txn_mode now = last && mode == KIST_OPTIMISTIC ? KIST_EXCLUSIVE : mode;
        int r = txn_try(bucket, now, fn, ctx, out_revision, &again);
        if (!again || last)
            return r;
        txn_pause(tries);
    }
}

/* -- reading -- */

int kist_txn_get(struct kist_txn *txn, struct kist_bytes key, struct kist_value *out_value)
{
    int r = txn_check(txn);
    if (r < 0 || !out_value)
        return r < 0 ? r : KIST_EINVAL;
    r = ops_key(txn->ops.detail, key);
    return r < 0 ? r : ops_get(txn->ops.txn, key, out_value);
}

int kist_txn_exists(struct kist_txn *txn, struct kist_bytes key, bool *out_exists)
{
    struct kist_value info;
    int r = txn_check(txn);
    if (r < 0 || !out_exists)
        return r < 0 ? r : KIST_EINVAL;
    r = ops_key(txn->ops.detail, key);
    r = r < 0 ? r : ops_describe(txn->ops.txn, key, &info);
    if (r == 0 || r == KIST_ENOKEY)
        *out_exists = r == 0;
    return r == KIST_ENOKEY ? 0 : r;
}

/* -- writing -- */

/* May it write, and this key? */
static int txn_may_write(struct kist_txn *txn, struct kist_bytes key)
{
    int r = txn_check(txn);
    if (r < 0)
        return r;
    if (txn->mode == KIST_SNAPSHOT)
        return error_set(txn->ops.detail, KIST_EREADONLY, "a snapshot transaction only reads");
    if (txn->store->read_only)
        return error_set(txn->ops.detail, KIST_EREADONLY, "the store was opened read-only");
    return ops_key(txn->ops.detail, key);
}

/* The same, and is what the caller gave in range? */
static int txn_write(struct kist_txn *txn, struct kist_bytes key, const struct kist_put_options *options,
                     struct kist_put_options *out)
{
    int r = txn_may_write(txn, key);
    r = r < 0 ? r : ops_options(txn->ops.detail, options, out);
    if (r == 0)
        txn->writes++;
    return r;
}

int kist_txn_put(struct kist_txn *txn, struct kist_bytes key, struct kist_bytes value, const struct kist_put_options *options)
{
    struct kist_put_options o;
    int r = txn_write(txn, key, options, &o);
    r = r < 0 ? r : ops_value(txn->ops.detail, value, &o.type);
    return r < 0 ? r : ops_put(&txn->ops, key, value, &o);
}

int kist_txn_delete(struct kist_txn *txn, struct kist_bytes key, const struct kist_put_options *options, bool *out_existed)
{
    struct kist_put_options o;
    int r = txn_may_write(txn, key);
    r = r < 0 ? r : ops_delete_options(txn->ops.detail, options, &o);
    if (r < 0)
        return r;
    txn->writes++;
    return ops_delete(&txn->ops, key, &o, out_existed);
}

int kist_txn_increment(struct kist_txn *txn, struct kist_bytes key, int64_t by, const struct kist_put_options *options,
                       int64_t *out_value)
{
    struct kist_put_options o;
    int r = txn_write(txn, key, options, &o);
    return r < 0 ? r : ops_increment(&txn->ops, key, by, &o, out_value);
}

int kist_txn_increment_float(struct kist_txn *txn, struct kist_bytes key, double by, const struct kist_put_options *options,
                             double *out_value)
{
    struct kist_put_options o;
    int r = txn_write(txn, key, options, &o);
    return r < 0 ? r : ops_increment_float(&txn->ops, key, by, &o, out_value);
}

int kist_txn_append(struct kist_txn *txn, struct kist_bytes key, struct kist_bytes bytes, const struct kist_put_options *options,
                    size_t *out_len)
{
    struct kist_put_options o;
    int r = txn_write(txn, key, options, &o);
    return r < 0 ? r : ops_append(&txn->ops, key, bytes, &o, out_len);
}

int kist_txn_merge(struct kist_txn *txn, struct kist_bytes key, struct kist_bytes patch, const struct kist_put_options *options)
{
    struct kist_put_options o;
    int r = txn_write(txn, key, options, &o);
    return r < 0 ? r : ops_merge(&txn->ops, key, patch, &o);
}

int kist_txn_expire(struct kist_txn *txn, struct kist_bytes key, int64_t ttl_ms)
{
    struct kist_put_options o;
    int r = txn_write(txn, key, NULL, &o);
    return r < 0 ? r : ops_expire(&txn->ops, key, ttl_ms);
}
