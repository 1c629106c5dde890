/* bucket.c: handles to buckets.
 *
 * A handle is a number and what the catalog said about it last. The number suffices for reading:
 * the engine itself answers KIST_ENOBUCKET once the bucket was dropped. A write that needs the
 * default TTL first compares the revision of the bucket's record with the one remembered, a look-up
 * in memory that unseals nothing, and reads the record only when it has changed. This is done
 * before the writer lock is taken: whoever changed the TTL and was told so before our call began is
 * seen, and no transaction stands inside another.
 *
 * Names and ids resolve once, at the opening: a handle follows its bucket through a renaming. */
#include "model/bucket.h"

#include "base/os.h"
#include "model/bucketid.h"
#include "model/options.h"

#include <string.h>

static int bucket_new(struct kist_store *store, const struct catalog_record *record, struct kist_bucket **out)
{
    struct kist_bucket *b = os_calloc(sizeof *b);
    if (!b)
        return KIST_ENOMEM;
    if (pthread_mutex_init(&b->lock, NULL)) {
        os_free(b);
        return KIST_ENOMEM;
    }
    b->magic = BUCKET_MAGIC;
    b->store = store;
    b->number = record->number;
    b->revision = record->revision;
    b->default_ttl_ms = record->info.default_ttl_ms;
    *out = b;
    return 0;
}

int kist_bucket_open(struct kist_store *store, const char *name_or_id, struct kist_bucket **out_bucket)
{
    struct engine_txn *txn = NULL;
    struct catalog_record record;
    int r = store_check(store);
    if (r < 0)
        return r;
    if (!name_or_id || !out_bucket)
        return KIST_EINVAL;
    r = store_begin(store, ENGINE_CATALOG, ENGINE_SNAPSHOT, &txn);
    if (r < 0)
        return r;
    r = catalog_find(txn, name_or_id, &record);
    store->engine->ops->abort(&txn);
    r = r < 0 ? r : bucket_new(store, &record, out_bucket);
    catalog_done(&record);
    return r;
}

void kist_bucket_close(struct kist_bucket **bucket)
{
    if (!bucket || !*bucket)
        return;
    assert((*bucket)->magic == BUCKET_MAGIC);
    (*bucket)->magic = 0;
    (void)pthread_mutex_destroy(&(*bucket)->lock);
    os_free(*bucket);
    *bucket = NULL;
}

static int bucket_ttl_check(int64_t ttl_ms, struct error_detail *detail)
{
    if (ttl_ms >= 0 && ttl_ms <= KIST_TTL_MAX)
        return 0;
    return error_set(detail, KIST_EINVAL, "a default TTL is 0 (none) to %lld ms", (long long)KIST_TTL_MAX);
}

/* -- the cached default TTL -- */

static int bucket_reread(struct kist_bucket *b, struct engine_txn *txn)
{
    struct catalog_record record;
    int r = catalog_get(txn, b->number, &record);
    if (r < 0)
        return r;
    b->revision = record.revision;
    b->default_ttl_ms = record.info.default_ttl_ms;
    catalog_done(&record);
    return 0;
}

int bucket_ttl(struct kist_bucket *b, int64_t *out_ttl_ms)
{
    struct engine_txn *txn = NULL;
    uint64_t revision = 0;
    int r = store_begin(b->store, ENGINE_CATALOG, ENGINE_SNAPSHOT, &txn);
    if (r < 0)
        return r;
    r = catalog_revision(txn, b->number, &revision);
    if (r == 0) {
        (void)pthread_mutex_lock(&b->lock);
        if (revision != b->revision)
            r = bucket_reread(b, txn); /* an older snapshot than another thread's is put right by the next call */
        if (r == 0)
            *out_ttl_ms = b->default_ttl_ms;
        (void)pthread_mutex_unlock(&b->lock);
    }
    b->store->engine->ops->abort(&txn);
    return r;
}

/* -- making -- */

/* A catalog transaction ends: as a commit when all went well. */
static int bucket_end(struct kist_store *store, struct engine_txn **txn, int code, uint64_t *out_revision)
{
    if (code == 0)
        return store->engine->ops->commit(txn, out_revision);
    store->engine->ops->abort(txn);
    return code;
}

static int bucket_make(struct kist_store *store, struct catalog_record *record)
{
    struct engine_txn *txn = NULL;
    record->info.created_ms = os_now_ms();
    int r = bucketid_new(record->info.id);
    if (r < 0)
        return r;
    r = store_begin(store, ENGINE_CATALOG, ENGINE_EXCLUSIVE, &txn);
    if (r < 0)
        return r;
    r = catalog_add(txn, record);
    return bucket_end(store, &txn, r, &record->revision);
}

int kist_bucket_create(struct kist_store *store, const char *name, const struct kist_bucket_options *options,
                       struct kist_bucket **out_bucket)
{
    struct kist_bucket_options o;
    struct catalog_record record = {0};
    struct kist_bucket *b = NULL;
    int r = store_check(store);
    if (r < 0)
        return r;
    if (!out_bucket)
        return KIST_EINVAL;
    r = options_copy(&store->detail, &o, sizeof o, options);
    r = r < 0 ? r : bucket_ttl_check(o.default_ttl_ms, &store->detail);
    r = r < 0 || !name ? r : bucketid_name_check(name, &store->detail);
    if (r < 0)
        return r;
    record.info.default_ttl_ms = o.default_ttl_ms;
    if (name)
        memcpy(record.info.name, name, strlen(name));
    r = bucket_new(store, &record, &b); /* before the commit: afterwards nothing may fail */
    if (r < 0)
        return r;
    r = bucket_make(store, &record);
    b->number = record.number;
    b->revision = record.revision;
    catalog_done(&record);
    if (r < 0)
        kist_bucket_close(&b);
    else
        *out_bucket = b;
    return r;
}

/* -- looking -- */

int kist_bucket_describe(struct kist_bucket *bucket, struct kist_bucket_info *out_info)
{
    struct engine_txn *txn = NULL;
    struct catalog_record record;
    int r = bucket_check(bucket);
    if (r < 0)
        return r;
    if (!out_info)
        return KIST_EINVAL;
    r = store_begin(bucket->store, ENGINE_CATALOG, ENGINE_SNAPSHOT, &txn);
    if (r < 0)
        return r;
    r = catalog_get(txn, bucket->number, &record);
    bucket->store->engine->ops->abort(&txn);
    if (r == 0)
        *out_info = record.info;
    catalog_done(&record);
    return r;
}

struct bucket_each {
    int (*each)(const struct kist_bucket_info *info, void *ctx);
    void *ctx;
};

static int bucket_list_one(const struct catalog_record *record, void *ctx)
{
    const struct bucket_each *e = ctx;
    return e->each(&record->info, e->ctx);
}

int kist_bucket_list(struct kist_store *store, int (*each)(const struct kist_bucket_info *info, void *ctx), void *ctx)
{
    struct engine_txn *txn = NULL;
    struct bucket_each e = {each, ctx};
    int r = store_check(store);
    if (r < 0)
        return r;
    if (!each)
        return KIST_EINVAL;
    r = store_begin(store, ENGINE_CATALOG, ENGINE_SNAPSHOT, &txn);
    if (r < 0)
        return r;
    r = catalog_walk(txn, bucket_list_one, &e);
    store->engine->ops->abort(&txn);
    return r;
}

/* -- changing: each edits the record under the writer lock -- */

struct bucket_edit {
    const char *name; /* the new one */
    int64_t ttl_ms;
};

static int bucket_edit(struct kist_bucket *bucket,
                       int (*fn)(struct engine_txn *txn, struct catalog_record *record, const struct bucket_edit *edit),
                       const struct bucket_edit *edit)
{
    struct engine_txn *txn = NULL;
    struct catalog_record record;
    uint64_t revision = 0;
    int r = store_begin(bucket->store, ENGINE_CATALOG, ENGINE_EXCLUSIVE, &txn);
    if (r < 0)
        return r;
    r = catalog_get(txn, bucket->number, &record);
    r = r < 0 ? r : fn(txn, &record, edit);
    catalog_done(&record);
    return bucket_end(bucket->store, &txn, r, &revision);
}

static int bucket_edit_name(struct engine_txn *txn, struct catalog_record *record, const struct bucket_edit *edit)
{
    char old[sizeof record->info.name];
    memcpy(old, record->info.name, sizeof old);
    if (strcmp(old, edit->name) == 0)
        return 0;
    memset(record->info.name, 0, sizeof record->info.name);
    memcpy(record->info.name, edit->name, strlen(edit->name));
    int r = catalog_change(txn, record, old);
    os_wipe(old, sizeof old);
    return r;
}

int kist_bucket_rename(struct kist_bucket *bucket, const char *new_name)
{
    struct bucket_edit edit = {.name = new_name ? new_name : ""};
    int r = bucket_check(bucket);
    if (r < 0)
        return r;
    if (bucket->number == CATALOG_DEFAULT)
        return error_set(&bucket->store->detail, KIST_EDENIED, "the bucket \"default\" keeps its name");
    if (new_name)
        r = bucketid_name_check(new_name, &bucket->store->detail);
    return r < 0 ? r : bucket_edit(bucket, bucket_edit_name, &edit);
}

static int bucket_edit_ttl(struct engine_txn *txn, struct catalog_record *record, const struct bucket_edit *edit)
{
    if (record->info.default_ttl_ms == edit->ttl_ms)
        return 0;
    record->info.default_ttl_ms = edit->ttl_ms;
    return catalog_change(txn, record, record->info.name);
}

int kist_bucket_set_ttl(struct kist_bucket *bucket, int64_t default_ttl_ms)
{
    struct bucket_edit edit = {.ttl_ms = default_ttl_ms};
    int r = bucket_check(bucket);
    if (r < 0)
        return r;
    r = bucket_ttl_check(default_ttl_ms, &bucket->store->detail);
    return r < 0 ? r : bucket_edit(bucket, bucket_edit_ttl, &edit);
}

static int bucket_edit_remove(struct engine_txn *txn, struct catalog_record *record, const struct bucket_edit *edit)
{
    (void)edit;
    return catalog_remove(txn, record);
}

int kist_bucket_delete(struct kist_bucket *bucket)
{
    struct bucket_edit edit = {0};
    int r = bucket_check(bucket);
    if (r < 0)
        return r;
    if (bucket->number == CATALOG_DEFAULT)
        return error_set(&bucket->store->detail, KIST_EDENIED, "the bucket \"default\" stays");
    return bucket_edit(bucket, bucket_edit_remove, &edit);
}
