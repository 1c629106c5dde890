/* catalog.c: what bucket 0 says about the others.
 *
 * An engine knows buckets as numbers that are never used twice; names, ids and default TTLs are
 * written here, sealed like any other record. All integers little-endian, except where a key must
 * sort; all records have the type raw and no expiry.
 *
 *     key                          value
 *     'b' number (8, big-endian)   the bucket: version (1) = 1, default TTL in ms (8),
 *                                  created, ms since 1970 (8), id (22), name (0 to 255)
 *     'i' id (22)                  number (8)
 *     'n' name (1 to 255)          number (8); none for a bucket without a name
 *     'c'                          the number that the next bucket gets (8), at least 2
 *
 * "default" is number 1 and is made by the first open that may write, in one commit under the
 * writer lock: of two processes that open a new store together one makes it and the other finds it.
 * A read-only open before that sees it empty. A reader that meets a greater version answers
 * KIST_ENEWER, any other surprise KIST_ECORRUPT.
 *
 * Dropped: the next number as "highest 'b' + 1", which would have used the number of a deleted
 * newest bucket again, and handles of the old bucket would have seen the new one. */
#include "model/catalog.h"

#include "base/bytes.h"
#include "base/os.h"
#include "model/bucketid.h"

#include <string.h>

#define CATALOG_VERSION 1
#define CATALOG_FIXED (1 + 8 + 8 + KIST_BUCKET_ID_LEN)
#define CATALOG_KEY_MAX (1 + KIST_BUCKET_NAME_MAX)

struct catalog_key {
    uint8_t bytes[CATALOG_KEY_MAX];
    size_t len;
};

static struct kist_bytes catalog_bytes(const struct catalog_key *k)
{
    return (struct kist_bytes){k->bytes, k->len};
}

static struct catalog_key catalog_number_key(uint64_t number)
{
    struct catalog_key k = {.bytes = {'b'}, .len = 9};
    bytes_put64be(k.bytes + 1, number);
    return k;
}

static struct catalog_key catalog_text_key(char kind, const char *text)
{
    struct catalog_key k = {.bytes = {(uint8_t)kind}, .len = 1 + strlen(text)};
    assert(k.len <= sizeof k.bytes);
    memcpy(k.bytes + 1, text, k.len - 1);
    return k;
}

static void catalog_key_done(struct catalog_key *k)
{
    os_wipe(k->bytes, k->len);
}

static const struct catalog_key catalog_next_key = {.bytes = {'c'}, .len = 1};

static int catalog_corrupt(struct engine_txn *txn)
{
    return error_set(txn->engine->detail, KIST_ECORRUPT, "a record about a bucket does not make sense");
}

/* -- reading -- */

/* The number under an 'i', 'n' or 'c' key; KIST_ENOKEY. */
static int catalog_read_number(struct engine_txn *txn, const struct catalog_key *key, uint64_t *out)
{
    struct engine_meta meta;
    void *data = NULL;
    int r = txn->engine->ops->get(txn, catalog_bytes(key), &meta, &data);
    if (r < 0)
        return r;
    if (meta.len == 8)
        *out = bytes_get64(data);
    os_wipe(data, meta.len);
    os_free(data);
    return meta.len == 8 ? 0 : catalog_corrupt(txn);
}

static int catalog_decode(struct engine_txn *txn, const void *data, size_t len, struct kist_bucket_info *out)
{
    struct bytes_in in = bytes_in_init(data, len);
    uint8_t version = bytes_in_u8(&in);
    if (version > CATALOG_VERSION)
        return error_set(txn->engine->detail, KIST_ENEWER, "a bucket was written by a newer version of kist");
    out->default_ttl_ms = (int64_t)bytes_in_u64(&in);
    out->created_ms = (int64_t)bytes_in_u64(&in);
    const uint8_t *id = bytes_in_take(&in, KIST_BUCKET_ID_LEN);
    if (version != CATALOG_VERSION || !id || bytes_in_left(&in) > KIST_BUCKET_NAME_MAX || out->default_ttl_ms < 0 ||
        out->default_ttl_ms > KIST_TTL_MAX)
        return catalog_corrupt(txn);
    memcpy(out->id, id, KIST_BUCKET_ID_LEN);
    size_t name_len = bytes_in_left(&in);
    if (name_len)
        memcpy(out->name, in.p, name_len);
    out->id[KIST_BUCKET_ID_LEN] = '\0';
    out->name[name_len] = '\0';
    return 0;
}

static void catalog_made_up(struct catalog_record *out)
{
    *out = (struct catalog_record){.number = CATALOG_DEFAULT, .info = {.id = BUCKETID_NIL, .name = CATALOG_DEFAULT_NAME}};
}

void catalog_done(struct catalog_record *record)
{
    os_wipe(record, sizeof *record);
}

int catalog_get(struct engine_txn *txn, uint64_t number, struct catalog_record *out)
{
    struct catalog_key key = catalog_number_key(number);
    struct catalog_record record = {.number = number};
    struct engine_meta meta;
    void *data = NULL;
    int r = txn->engine->ops->get(txn, catalog_bytes(&key), &meta, &data);
    if (r == KIST_ENOKEY && number == CATALOG_DEFAULT) {
        catalog_made_up(out);
        return 0;
    }
    if (r < 0)
        return r == KIST_ENOKEY ? KIST_ENOBUCKET : r;
    record.revision = meta.revision;
    r = catalog_decode(txn, data, meta.len, &record.info);
    os_wipe(data, meta.len);
    os_free(data);
    if (r == 0)
        *out = record;
    catalog_done(&record);
    return r;
}

int catalog_revision(struct engine_txn *txn, uint64_t number, uint64_t *out)
{
    struct catalog_key key = catalog_number_key(number);
    struct engine_meta meta = {0};
    int r = txn->engine->ops->get(txn, catalog_bytes(&key), &meta, NULL);
    if (r == KIST_ENOKEY && number != CATALOG_DEFAULT)
        return KIST_ENOBUCKET;
    if (r < 0 && r != KIST_ENOKEY)
        return r;
    *out = r == 0 ? meta.revision : 0;
    return 0;
}

int catalog_find(struct engine_txn *txn, const char *name_or_id, struct catalog_record *out)
{
    size_t len = strnlen(name_or_id, KIST_BUCKET_NAME_MAX + 1);
    if (len == 0 || len > KIST_BUCKET_NAME_MAX)
        return KIST_ENOBUCKET;
    struct catalog_key key = catalog_text_key(bucketid_is(name_or_id, len) ? 'i' : 'n', name_or_id);
    uint64_t number = 0;
    int r = catalog_read_number(txn, &key, &number);
    catalog_key_done(&key);
    if (r == KIST_ENOKEY && strcmp(name_or_id, CATALOG_DEFAULT_NAME) == 0) {
        catalog_made_up(out);
        return 0;
    }
    if (r < 0)
        return r == KIST_ENOKEY ? KIST_ENOBUCKET : r;
    return catalog_get(txn, number, out);
}

/* The record under a cursor that walks the 'b' keys; KIST_EEND when it is not one any more. */
static int catalog_current(struct engine_cursor *c, struct catalog_record *out)
{
    struct kist_bytes key;
    struct engine_meta meta;
    struct engine_txn *txn = c->txn;
    int r = txn->engine->ops->current(c, &key, &meta, NULL);
    if (r < 0)
        return r;
    if (((const uint8_t *)key.ptr)[0] != 'b')
        return KIST_EEND;
    if (key.len != 9)
        return catalog_corrupt(txn);
    return catalog_get(txn, bytes_get64be((const uint8_t *)key.ptr + 1), out);
}

static int catalog_walk_from(struct engine_cursor *c, int (*each)(const struct catalog_record *record, void *ctx), void *ctx)
{
    const struct engine_ops *ops = c->txn->engine->ops;
    struct catalog_record record;
    uint64_t number;
    bool first = true;
    int r = catalog_revision(c->txn, CATALOG_DEFAULT, &number);
    if (r == 0 && number == 0) {
        catalog_made_up(&record);
        r = each(&record, ctx);
    }
    while (r == 0) {
        r = first ? ops->seek(c, KIST_STR("b"), false) : ops->next(c, false);
        first = false;
        if (r == 0)
            r = catalog_current(c, &record);
        if (r == 0)
            r = each(&record, ctx);
    }
    catalog_done(&record);
    return r == KIST_EEND ? 0 : r;
}

int catalog_walk(struct engine_txn *txn, int (*each)(const struct catalog_record *record, void *ctx), void *ctx)
{
    struct engine_cursor *c = NULL;
    int r = txn->engine->ops->cursor_open(txn, &c);
    if (r < 0)
        return r;
    r = catalog_walk_from(c, each, ctx);
    txn->engine->ops->cursor_close(&c);
    return r;
}

/* -- writing -- */

static int catalog_put(struct engine_txn *txn, const struct catalog_key *key, const void *value, size_t len)
{
    return txn->engine->ops->put(txn, catalog_bytes(key), (struct kist_bytes){value, len}, KIST_RAW, 0, false);
}

static int catalog_put_number(struct engine_txn *txn, const struct catalog_key *key, uint64_t number)
{
    uint8_t value[8];
    bytes_put64(value, number);
    return catalog_put(txn, key, value, sizeof value);
}

static int catalog_put_record(struct engine_txn *txn, const struct catalog_record *record)
{
    uint8_t value[CATALOG_FIXED + KIST_BUCKET_NAME_MAX];
    struct catalog_key key = catalog_number_key(record->number);
    size_t name_len = strlen(record->info.name);
    value[0] = CATALOG_VERSION;
    bytes_put64(value + 1, (uint64_t)record->info.default_ttl_ms);
    bytes_put64(value + 9, (uint64_t)record->info.created_ms);
    memcpy(value + 17, record->info.id, KIST_BUCKET_ID_LEN);
    memcpy(value + CATALOG_FIXED, record->info.name, name_len);
    int r = catalog_put(txn, &key, value, CATALOG_FIXED + name_len);
    os_wipe(value, sizeof value);
    return r;
}

/* Claim the name for number, if there is one to claim. */
static int catalog_put_name(struct engine_txn *txn, const char *name, uint64_t number)
{
    uint64_t taken;
    if (!*name)
        return 0;
    struct catalog_key key = catalog_text_key('n', name);
    int r = catalog_read_number(txn, &key, &taken);
    if (r == 0)
        r = error_set(txn->engine->detail, KIST_EEXIST, "another bucket has this name");
    else if (r == KIST_ENOKEY)
        r = catalog_put_number(txn, &key, number);
    catalog_key_done(&key);
    return r;
}

static int catalog_del_text(struct engine_txn *txn, char kind, const char *text)
{
    struct catalog_key key = catalog_text_key(kind, text);
    int r = *text ? txn->engine->ops->del(txn, catalog_bytes(&key)) : 0;
    catalog_key_done(&key);
    return r;
}

int catalog_add(struct engine_txn *txn, struct catalog_record *record)
{
    uint64_t number = CATALOG_DEFAULT;
    int r = catalog_read_number(txn, &catalog_next_key, &number);
    if (r < 0 && r != KIST_ENOKEY)
        return r;
    if (r == 0 && (number <= CATALOG_DEFAULT || number == UINT64_MAX))
        return catalog_corrupt(txn);
    struct catalog_key id = catalog_text_key('i', record->info.id);
    record->number = number;
    r = catalog_put_name(txn, record->info.name, number);
    r = r < 0 ? r : catalog_put_number(txn, &id, number);
    r = r < 0 ? r : catalog_put_record(txn, record);
    return r < 0 ? r : catalog_put_number(txn, &catalog_next_key, number + 1);
}

int catalog_change(struct engine_txn *txn, const struct catalog_record *record, const char *old_name)
{
    int r = 0;
    if (strcmp(record->info.name, old_name) != 0) {
        r = catalog_put_name(txn, record->info.name, record->number);
        r = r < 0 ? r : catalog_del_text(txn, 'n', old_name);
    }
    return r < 0 ? r : catalog_put_record(txn, record);
}

int catalog_remove(struct engine_txn *txn, const struct catalog_record *record)
{
    struct catalog_key key = catalog_number_key(record->number);
    int r = catalog_del_text(txn, 'n', record->info.name);
    r = r < 0 ? r : catalog_del_text(txn, 'i', record->info.id);
    r = r < 0 ? r : txn->engine->ops->del(txn, catalog_bytes(&key));
    return r < 0 ? r : txn->engine->ops->drop(txn, record->number);
}

/* -- with a transaction of their own -- */

static int catalog_default_there(struct kist_store *store, bool *out)
{
    struct engine_txn *txn = NULL;
    uint64_t revision = 0;
    int r = store_begin(store, ENGINE_CATALOG, ENGINE_SNAPSHOT, &txn);
    if (r < 0)
        return r;
    r = catalog_revision(txn, CATALOG_DEFAULT, &revision);
    store->engine->ops->abort(&txn);
    *out = revision != 0;
    return r;
}

int catalog_make_default(struct kist_store *store)
{
    struct engine_txn *txn = NULL;
    struct catalog_record record = {0};
    uint64_t revision = 0;
    bool there = false;
    int r = catalog_default_there(store, &there);
    if (r < 0 || there)
        return r;
    r = store_begin(store, ENGINE_CATALOG, ENGINE_EXCLUSIVE, &txn);
    if (r < 0)
        return r;
    r = catalog_get(txn, CATALOG_DEFAULT, &record);
    if (r < 0 || record.revision != 0) { /* another process was faster */
        store->engine->ops->abort(&txn);
        return r;
    }
    record.info.created_ms = os_now_ms();
    r = bucketid_new(record.info.id);
    r = r < 0 ? r : catalog_add(txn, &record);
    if (r < 0) {
        store->engine->ops->abort(&txn);
        return r;
    }
    assert(record.number == CATALOG_DEFAULT);
    return store->engine->ops->commit(&txn, &revision);
}

static int catalog_count_from(struct engine_cursor *c, uint64_t *buckets, uint64_t *records)
{
    const struct engine_ops *ops = c->txn->engine->ops;
    struct kist_bytes key;
    struct engine_meta meta;
    int r = ops->seek(c, KIST_STR(""), false);
    for (; r == 0; r = ops->next(c, false)) {
        r = ops->current(c, &key, &meta, NULL);
        if (r < 0)
            return r;
        ++*records;
        *buckets += ((const uint8_t *)key.ptr)[0] == 'b';
    }
    return r == KIST_EEND ? 0 : r;
}

int catalog_count(struct kist_store *store, uint64_t *out_buckets, uint64_t *out_records)
{
    struct engine_txn *txn = NULL;
    struct engine_cursor *c = NULL;
    uint64_t buckets = 0, records = 0;
    int r = store_begin(store, ENGINE_CATALOG, ENGINE_SNAPSHOT, &txn);
    if (r < 0)
        return r;
    r = store->engine->ops->cursor_open(txn, &c);
    if (r == 0) {
        r = catalog_count_from(c, &buckets, &records);
        store->engine->ops->cursor_close(&c);
    }
    store->engine->ops->abort(&txn);
    if (r < 0)
        return r;
    *out_buckets = buckets ? buckets : 1; /* "default", if only made up */
    *out_records = records;
    return 0;
}
