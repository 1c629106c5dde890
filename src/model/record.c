/* record.c: operations on single records.
 *
 * A read is one snapshot: begin, get, abort; nothing is allocated but the value. A write is one
 * exclusive transaction around one operation of ops.c: the arguments are checked and the bucket's
 * default TTL is fetched before the lock is taken, outputs are set after the commit. What changes
 * nothing (deleting what is not there, KIST_UPDATE_KEEP) commits nothing and asks the disk for
 * nothing. Values are wiped before they are freed. */
#include "base/os.h"
#include "model/bucket.h"
#include "model/ops.h"

#include <string.h>

void kist_value_free(struct kist_value *v)
{
    if (!v)
        return;
    if (v->data)
        os_wipe(v->data, v->len);
    os_free(v->data);
    *v = (struct kist_value){0};
}

/* -- reading -- */

static int record_read_begin(struct kist_bucket *bucket, struct kist_bytes key, const void *out, struct engine_txn **txn)
{
    int r = bucket_check(bucket);
    if (r < 0)
        return r;
    if (!out)
        return KIST_EINVAL;
    r = ops_key(&bucket->store->detail, key);
    return r < 0 ? r : store_begin(bucket->store, bucket->number, ENGINE_SNAPSHOT, txn);
}

int kist_get(struct kist_bucket *bucket, struct kist_bytes key, struct kist_value *out_value)
{
    struct engine_txn *txn = NULL;
    int r = record_read_begin(bucket, key, out_value, &txn);
    if (r < 0)
        return r;
    r = ops_get(txn, key, out_value);
    bucket->store->engine->ops->abort(&txn);
    return r;
}

int kist_describe(struct kist_bucket *bucket, struct kist_bytes key, struct kist_value *out_info)
{
    struct engine_txn *txn = NULL;
    int r = record_read_begin(bucket, key, out_info, &txn);
    if (r < 0)
        return r;
    r = ops_describe(txn, key, out_info);
    bucket->store->engine->ops->abort(&txn);
    return r;
}

int kist_exists(struct kist_bucket *bucket, struct kist_bytes key, bool *out_exists)
{
    struct kist_value info;
    if (!out_exists)
        return KIST_EINVAL;
    int r = kist_describe(bucket, key, &info);
    if (r == 0 || r == KIST_ENOKEY)
        *out_exists = r == 0;
    return r == KIST_ENOKEY ? 0 : r;
}

int kist_ttl(struct kist_bucket *bucket, struct kist_bytes key, int64_t *out_ttl_ms)
{
    struct kist_value info;
    int64_t left;
    if (!out_ttl_ms)
        return KIST_EINVAL;
    int r = kist_describe(bucket, key, &info);
    if (r < 0)
        return r;
    if (info.expires_ms == 0) {
        *out_ttl_ms = KIST_TTL_NEVER;
        return 0;
    }
    if (__builtin_sub_overflow(info.expires_ms, os_now_ms(), &left))
        left = INT64_MAX;
    if (left <= 0)
        return KIST_ENOKEY; /* it went while we looked */
    *out_ttl_ms = left;
    return 0;
}

static int record_get_each(struct engine_txn *txn, const struct kist_bytes *keys, size_t n, struct kist_value *values, int *codes)
{
    for (size_t i = 0; i < n; i++) {
        codes[i] = ops_get(txn, keys[i], &values[i]);
        if (codes[i] < 0 && codes[i] != KIST_ENOKEY)
            return codes[i];
    }
    return 0;
}

int kist_get_many(struct kist_bucket *bucket, const struct kist_bytes *keys, size_t n, struct kist_value *out_values,
                  int *out_codes)
{
    struct engine_txn *txn = NULL;
    int r = bucket_check(bucket);
    if (r < 0)
        return r;
    if (n > SIZE_MAX / sizeof(struct kist_value) || (n && (!keys || !out_values || !out_codes)))
        return KIST_EINVAL;
    for (size_t i = 0; i < n && r == 0; i++)
        r = ops_key(&bucket->store->detail, keys[i]);
    if (r < 0)
        return r;
    struct kist_value *values = os_calloc(n * sizeof *values); /* apart: on failure the outputs are untouched */
    int *codes = os_calloc(n * sizeof *codes);
    r = values && codes ? store_begin(bucket->store, bucket->number, ENGINE_SNAPSHOT, &txn) : KIST_ENOMEM;
    if (r == 0) {
        r = record_get_each(txn, keys, n, values, codes);
        bucket->store->engine->ops->abort(&txn);
    }
    if (r == 0 && n) {
        memcpy(out_values, values, n * sizeof *values);
        memcpy(out_codes, codes, n * sizeof *codes);
    }
    for (size_t i = 0; values && r < 0 && i < n; i++)
        kist_value_free(&values[i]);
    os_free(values);
    os_free(codes);
    return r;
}

static int record_count(struct engine_txn *txn, struct kist_bytes prefix, uint64_t *out)
{
    const struct engine_ops *ops = txn->engine->ops;
    struct engine_cursor *c = NULL;
    struct engine_meta meta;
    struct kist_bytes key;
    uint64_t n = 0;
    int r = ops->cursor_open(txn, &c);
    if (r < 0)
        return r;
    struct kist_bytes from = prefix.len ? prefix : KIST_STR("");
    for (r = ops->seek(c, from, false); r == 0; r = ops->next(c, false)) {
        r = ops->current(c, &key, &meta, NULL);
        if (r < 0 || key.len < prefix.len || (prefix.len && memcmp(key.ptr, prefix.ptr, prefix.len) != 0))
            break;
        n++;
    }
    ops->cursor_close(&c);
    if (r < 0 && r != KIST_EEND)
        return r;
    *out = n;
    return 0;
}

int kist_count(struct kist_bucket *bucket, struct kist_bytes prefix, uint64_t *out_count)
{
    struct engine_txn *txn = NULL;
    int r = bucket_check(bucket);
    if (r < 0)
        return r;
    if (!out_count || (!prefix.ptr && prefix.len))
        return KIST_EINVAL;
    r = prefix.len ? ops_key(&bucket->store->detail, prefix) : 0;
    r = r < 0 ? r : store_begin(bucket->store, bucket->number, ENGINE_SNAPSHOT, &txn);
    if (r < 0)
        return r;
    r = record_count(txn, prefix, out_count);
    bucket->store->engine->ops->abort(&txn);
    return r;
}

/* -- writing: prepare, lock, one operation, end -- */

struct record_write {
    struct kist_store *store;
    struct kist_bucket *bucket;
    struct kist_put_options o;
    struct ops ops;
};

static int record_init(struct record_write *w, struct kist_bucket *bucket, struct kist_bytes key)
{
    int r = bucket_check(bucket);
    if (r < 0)
        return r;
    *w = (struct record_write){.store = bucket->store, .bucket = bucket};
    w->ops = (struct ops){.detail = &bucket->store->detail, .borrow = true};
    return ops_key(w->ops.detail, key);
}

/* All that can be refused without the lock. */
static int record_prepare(struct record_write *w, struct kist_bucket *bucket, struct kist_bytes key,
                          const struct kist_put_options *options)
{
    int r = record_init(w, bucket, key);
    return r < 0 ? r : ops_options(w->ops.detail, options, &w->o);
}

static int record_lock(struct record_write *w)
{
    int r = w->o.ttl_ms == KIST_TTL_KEEP ? bucket_ttl(w->bucket, &w->ops.default_ttl_ms) : 0;
    return r < 0 ? r : store_begin(w->store, w->bucket->number, ENGINE_EXCLUSIVE, &w->ops.txn);
}

static int record_begin(struct record_write *w, struct kist_bucket *bucket, struct kist_bytes key,
                        const struct kist_put_options *options)
{
    int r = record_prepare(w, bucket, key, options);
    return r < 0 ? r : record_lock(w);
}

static int record_end(struct record_write *w, int code, uint64_t *out_revision)
{
    uint64_t revision = 0;
    if (code < 0) {
        w->store->engine->ops->abort(&w->ops.txn);
        return code;
    }
    int r = w->store->engine->ops->commit(&w->ops.txn, &revision);
    if (r == 0 && out_revision)
        *out_revision = revision;
    return r;
}

int kist_put(struct kist_bucket *bucket, struct kist_bytes key, struct kist_bytes value, const struct kist_put_options *options,
             uint64_t *out_revision)
{
    struct record_write w;
    int r = record_prepare(&w, bucket, key, options);
    r = r < 0 ? r : ops_value(w.ops.detail, value, &w.o.type);
    r = r < 0 ? r : record_lock(&w);
    return r < 0 ? r : record_end(&w, ops_put(&w.ops, key, value, &w.o), out_revision);
}

int kist_delete(struct kist_bucket *bucket, struct kist_bytes key, const struct kist_put_options *options, bool *out_existed,
                uint64_t *out_revision)
{
    struct record_write w;
    bool existed = false;
    int r = record_init(&w, bucket, key);
    r = r < 0 ? r : ops_delete_options(w.ops.detail, options, &w.o);
    r = r < 0 ? r : record_lock(&w);
    r = r < 0 ? r : record_end(&w, ops_delete(&w.ops, key, &w.o, &existed), out_revision);
    if (r == 0 && out_existed)
        *out_existed = existed;
    return r;
}

static int record_compare(struct record_write *w, struct kist_bytes key, struct kist_bytes expected, struct kist_bytes value)
{
    struct ops_old old;
    int r = ops_load(w->ops.txn, key, true, &old);
    if (r < 0)
        return r;
    r = old.found ? ops_allow(&w->ops, &old, &w->o) : KIST_ENOKEY;
    if (r == 0 && (old.meta.len != expected.len || (expected.len && memcmp(old.data, expected.ptr, expected.len) != 0)))
        r = error_set(w->ops.detail, KIST_ECONFLICT, "the value is not the expected one");
    r = r < 0 ? r : ops_store(&w->ops, key, value, &w->o, &old, true);
    ops_old_done(&old);
    return r;
}

int kist_compare_and_set(struct kist_bucket *bucket, struct kist_bytes key, struct kist_bytes expected, struct kist_bytes value,
                         const struct kist_put_options *options, uint64_t *out_revision)
{
    struct record_write w;
    if (!expected.ptr && expected.len)
        return KIST_EINVAL;
    int r = record_prepare(&w, bucket, key, options);
    r = r < 0 ? r : ops_value(w.ops.detail, value, &w.o.type);
    r = r < 0 ? r : record_lock(&w);
    return r < 0 ? r : record_end(&w, record_compare(&w, key, expected, value), out_revision);
}

int kist_get_and_delete(struct kist_bucket *bucket, struct kist_bytes key, struct kist_value *out_value)
{
    static const struct kist_put_options plain = {.size = sizeof plain, .ttl_ms = KIST_TTL_NEVER};
    struct record_write w;
    struct kist_value value = {0};
    if (!out_value)
        return KIST_EINVAL;
    int r = record_begin(&w, bucket, key, &plain);
    if (r < 0)
        return r;
    r = ops_get(w.ops.txn, key, &value);
    r = r < 0 ? r : w.store->engine->ops->del(w.ops.txn, key);
    r = record_end(&w, r, NULL);
    if (r == 0)
        *out_value = value;
    else
        kist_value_free(&value);
    return r;
}

/* Under the lock: what is there now, or our value in its place. */
static int record_insert(struct record_write *w, struct kist_bytes key, struct kist_bytes value, struct kist_value *out,
                         bool *out_inserted)
{
    int r = ops_get(w->ops.txn, key, out);
    if (r != KIST_ENOKEY)
        return r;
    *out_inserted = true;
    r = ops_put(&w->ops, key, value, &w->o);
    return r < 0 ? r : ops_get(w->ops.txn, key, out); /* our own write, as others will read it */
}

int kist_get_or_insert(struct kist_bucket *bucket, struct kist_bytes key, struct kist_bytes value,
                       const struct kist_put_options *options, struct kist_value *out_value, bool *out_inserted)
{
    struct record_write w;
    struct kist_value got = {0};
    uint64_t revision = 0;
    bool inserted = false;
    if (!out_value)
        return KIST_EINVAL;
    int r = record_prepare(&w, bucket, key, options);
    r = r < 0 ? r : ops_value(w.ops.detail, value, &w.o.type);
    if (r == 0 && w.o.flags)
        r = error_set(w.ops.detail, KIST_EINVAL, "get-or-insert takes no KIST_IF_ flags");
    r = r < 0 ? r : kist_get(bucket, key, &got); /* most often it is there: no lock needed */
    if (r == KIST_ENOKEY) {
        r = record_lock(&w);
        r = r < 0 ? r : record_end(&w, record_insert(&w, key, value, &got, &inserted), &revision);
    }
    if (r < 0) {
        kist_value_free(&got);
        return r;
    }
    *out_value = got;
    if (inserted)
        out_value->revision = revision;
    if (out_inserted)
        *out_inserted = inserted;
    return 0;
}

static int record_update_store(struct record_write *w, struct kist_bytes key, struct kist_bytes value, const struct ops_old *old)
{
    int r = ops_value(w->ops.detail, value, &w->o.type);
    return r < 0 ? r : ops_store(&w->ops, key, value, &w->o, old, true);
}

static int record_update(struct record_write *w, struct kist_bytes key, kist_update_fn *fn, void *ctx, struct ops_old *old)
{
    struct kist_value value = ops_value_of(&old->meta, old->data);
    struct kist_bytes new_value = {0};
    int r = ops_allow(&w->ops, old, &w->o);
    if (r < 0)
        return r;
    switch (r = fn(old->found ? &value : NULL, &new_value, ctx)) {
    case KIST_UPDATE_STORE:
        return record_update_store(w, key, new_value, old);
    case KIST_UPDATE_KEEP:
        return 0;
    case KIST_UPDATE_DELETE:
        return old->found ? w->store->engine->ops->del(w->ops.txn, key) : 0;
    default:
        return r < 0 ? r : error_set(w->ops.detail, KIST_EINVAL, "the update callback answered %d", r);
    }
}

int kist_update(struct kist_bucket *bucket, struct kist_bytes key, kist_update_fn *fn, void *ctx,
                const struct kist_put_options *options, uint64_t *out_revision)
{
    struct record_write w;
    struct ops_old old = {0};
    if (!fn)
        return KIST_EINVAL;
    int r = record_begin(&w, bucket, key, options);
    if (r < 0)
        return r;
    r = ops_load(w.ops.txn, key, true, &old);
    r = r < 0 ? r : record_update(&w, key, fn, ctx, &old);
    r = record_end(&w, r, out_revision);
    ops_old_done(&old); /* after the commit: the new value may lie inside the old one */
    return r;
}

int kist_increment(struct kist_bucket *bucket, struct kist_bytes key, int64_t by, const struct kist_put_options *options,
                   int64_t *out_value, uint64_t *out_revision)
{
    struct record_write w;
    int64_t value = 0;
    int r = record_begin(&w, bucket, key, options);
    r = r < 0 ? r : record_end(&w, ops_increment(&w.ops, key, by, &w.o, &value), out_revision);
    if (r == 0 && out_value)
        *out_value = value;
    return r;
}

int kist_increment_float(struct kist_bucket *bucket, struct kist_bytes key, double by, const struct kist_put_options *options,
                         double *out_value, uint64_t *out_revision)
{
    struct record_write w;
    double value = 0;
    int r = record_begin(&w, bucket, key, options);
    r = r < 0 ? r : record_end(&w, ops_increment_float(&w.ops, key, by, &w.o, &value), out_revision);
    if (r == 0 && out_value)
        *out_value = value;
    return r;
}

int kist_append(struct kist_bucket *bucket, struct kist_bytes key, struct kist_bytes bytes,
                const struct kist_put_options *options, size_t *out_len, uint64_t *out_revision)
{
    struct record_write w;
    size_t len = 0;
    int r = record_begin(&w, bucket, key, options);
    r = r < 0 ? r : record_end(&w, ops_append(&w.ops, key, bytes, &w.o, &len), out_revision);
    if (r == 0 && out_len)
        *out_len = len;
    return r;
}

int kist_merge(struct kist_bucket *bucket, struct kist_bytes key, struct kist_bytes patch, const struct kist_put_options *options,
               uint64_t *out_revision)
{
    struct record_write w;
    int r = record_begin(&w, bucket, key, options);
    return r < 0 ? r : record_end(&w, ops_merge(&w.ops, key, patch, &w.o), out_revision);
}

int kist_expire(struct kist_bucket *bucket, struct kist_bytes key, int64_t ttl_ms, uint64_t *out_revision)
{
    static const struct kist_put_options plain = {.size = sizeof plain, .ttl_ms = KIST_TTL_NEVER};
    struct record_write w;
    int r = record_begin(&w, bucket, key, &plain);
    return r < 0 ? r : record_end(&w, ops_expire(&w.ops, key, ttl_ms), out_revision);
}
