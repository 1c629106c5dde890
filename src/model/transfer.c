/* transfer.c: whole stores and whole buckets, out and in: backup, restore, export, import.
 *
 * Backup and restore are the engine's: what is sealed stays sealed. Export and import are records
 * in the clear, for the caller's callbacks. An import reads from the caller first and locks
 * afterwards: next() may wait for a pipe for hours, and other writers must not. Each batch (1,000
 * records or 4 MiB, whatever comes first) is one blind transaction that has read nothing, so it
 * cannot conflict, and out_count says how far it came when it ends early: start again behind that
 * many.
 *
 * An imported record keeps its absolute expiry, or a "never" that was asked for, as a TTL of its
 * own; one without either gets the bucket's default, as a new record does. */
#include "base/os.h"
#include "model/bucket.h"
#include "model/keys.h"
#include "model/ops.h"
#include "model/options.h"

#include <string.h>

#define TRANSFER_RECORDS 1000
#define TRANSFER_BYTES (4u << 20)

/* -- backup -- */

int kist_backup(struct kist_store *store, uint64_t since, kist_write_fn *write, void *write_ctx, uint64_t *out_revision)
{
    uint64_t revision = 0;
    int r = store_check(store);
    if (r < 0 || !write)
        return r < 0 ? r : KIST_EINVAL;
    r = store->engine->ops->backup(store->engine, since, write, write_ctx, &revision);
    if (r == 0 && out_revision)
        *out_revision = revision;
    return r;
}

static int transfer_restore(const char *path, struct kist_options *o, kist_read_fn *read, void *ctx, struct error_detail *detail)
{
    struct unlock unlock = {0};
    struct engine_options engine = {0};
    if (!path || !*path || strcmp(path, ":memory:") == 0)
        return error_set(detail, KIST_EINVAL, "a backup is restored to a directory");
    o->mode = KIST_OPEN_CREATE;
    o->engine = KIST_ENGINE_LOG;
    int r = store_options(o, detail, &unlock, &engine);
    if (r == 0 && !engine.unlock)
        r = error_set(detail, KIST_EINVAL, "a key or a passphrase is needed");
    keys_limit(&unlock);
    return r < 0 ? r : engine_restore(path, &engine, read, ctx, detail);
}

int kist_restore(const char *path, const struct kist_options *options, kist_read_fn *read, void *read_ctx)
{
    struct kist_options o;
    struct error_detail detail = {0};
    if (!read)
        return KIST_EINVAL;
    int r = options_copy(&detail, &o, sizeof o, options);
    if (r < 0)
        return r;
    r = transfer_restore(path, &o, read, read_ctx, &detail);
    return r < 0 ? store_open_failed(r, &detail, o.detail) : r;
}

/* -- export -- */

int kist_export(struct kist_bucket *bucket, const struct kist_range *range,
                int (*each)(const struct kist_record *record, void *ctx), void *ctx)
{
    struct kist_cursor *cursor = NULL;
    struct kist_record record;
    if (!each)
        return KIST_EINVAL;
    int r = kist_cursor_open(bucket, range, &cursor);
    if (r < 0)
        return r;
    do {
        r = kist_cursor_next(cursor, &record);
        r = r < 0 ? r : each(&record, ctx);
    } while (r == 0);
    kist_cursor_close(&cursor);
    return r == KIST_EEND ? 0 : r;
}

/* -- import -- */

struct transfer_import {
    struct kist_bucket *bucket;
    int (*next)(struct kist_record *out_record, void *ctx);
    void *ctx;
    struct engine_txn *txn;  /* the batch; NULL between two */
    int64_t default_ttl_ms;  /* as it was when the batch began */
    uint64_t records, bytes; /* in the batch */
    uint64_t count;          /* durable */
};

static int transfer_put(struct transfer_import *in, const struct kist_record *record)
{
    struct error_detail *detail = &in->bucket->store->detail;
    enum kist_type type = record->type;
    int r = ops_key(detail, record->key);
    r = r < 0 ? r : ops_value(detail, record->value, &type);
    if (r == 0 && record->expires_ms < 0)
        r = error_set(detail, KIST_EINVAL, "a record's expiry is negative");
    if (r == 0 && record->expires_ms && record->never)
        r = error_set(detail, KIST_EINVAL, "a record expires and never does");
    if (r < 0)
        return r;
    int64_t expires = record->expires_ms;
    bool own = expires || record->never;
    uint8_t stored = (uint8_t)((unsigned)type | (own ? OPS_TTL_OWN : 0));
    if (!own && in->default_ttl_ms)
        expires = ops_after(os_now_ms(), in->default_ttl_ms);
    in->records++;
    in->bytes += record->key.len + record->value.len;
    return in->txn->engine->ops->put(in->txn, record->key, record->value, stored, expires, false);
}

static int transfer_commit(struct transfer_import *in)
{
    uint64_t revision = 0;
    if (!in->txn)
        return 0;
    int r = in->txn->engine->ops->commit(&in->txn, &revision);
    if (r == 0)
        in->count += in->records;
    in->records = in->bytes = 0;
    return r;
}

static int transfer_add(struct transfer_import *in, const struct kist_record *record)
{
    size_t size = record->key.len + record->value.len;
    int r = 0;
    if (in->txn && in->bytes + size > TRANSFER_BYTES)
        r = transfer_commit(in);
    if (r == 0 && !in->txn) {
        r = bucket_ttl(in->bucket, &in->default_ttl_ms);
        r = r < 0 ? r : store_begin(in->bucket->store, in->bucket->number, ENGINE_OPTIMISTIC, &in->txn);
    }
    r = r < 0 ? r : transfer_put(in, record);
    return r < 0 || in->records < TRANSFER_RECORDS ? r : transfer_commit(in);
}

static int transfer_import(struct transfer_import *in)
{
    for (;;) {
        struct kist_record record = {0};
        int r = in->next(&record, in->ctx);
        if (r == KIST_EEND)
            return transfer_commit(in);
        if (r == 0)
            r = transfer_add(in, &record);
        if (r != 0)
            return r;
    }
}

int kist_import(struct kist_bucket *bucket, int (*next)(struct kist_record *out_record, void *ctx), void *ctx,
                uint64_t *out_count)
{
    struct transfer_import in = {.bucket = bucket, .next = next, .ctx = ctx};
    int r = bucket_check(bucket);
    if (r < 0 || !next)
        return r < 0 ? r : KIST_EINVAL;
    if (bucket->store->read_only)
        return error_set(&bucket->store->detail, KIST_EREADONLY, "the store was opened read-only");
    r = transfer_import(&in);
    if (in.txn)
        bucket->store->engine->ops->abort(&in.txn);
    if (out_count)
        *out_count = in.count;
    return r;
}
