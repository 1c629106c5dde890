/* cursor.c: walking over records in key order, both ways, inside a range.
 *
 * The engine's cursor knows seek and step; this one adds the range, the direction and where one
 * stands when there is no record. Its place is one of five: fresh, on a record, below the range,
 * above it, or beside a key that was sought. Each move is "up" or "down" in key order:
 * kist_cursor_next() is up, or down in a reverse cursor.
 *
 * Prefix, from and to become one interval [low, high): the end of a prefix is the prefix with its
 * last byte that is not 0xff raised by one, cut behind it; a prefix of 0xff only has no end. Inside
 * a transaction the engine's cursor does not see writes made since it was placed, so the
 * transaction counts its writes and the cursor finds its place again by key after each.
 *
 * A move that fails leaves the place as it was, except that a record whose value cannot be read is
 * stood upon: the next move goes past it. */
#include "base/bytes.h"
#include "base/os.h"
#include "model/bucket.h"
#include "model/ops.h"
#include "model/options.h"
#include "model/txn.h"

#include <string.h>

#define CURSOR_MAGIC 0x63757273u

enum cursor_place { CURSOR_FRESH, CURSOR_ON, CURSOR_BELOW, CURSOR_ABOVE, CURSOR_SOUGHT };

struct kist_cursor {
    unsigned magic;
    struct kist_store *store;
    struct kist_txn *in;    /* the transaction it was opened in, or NULL */
    struct engine_txn *own; /* a snapshot of its own, or NULL */
    struct engine_cursor *engine;
    enum cursor_place place;
    bool reverse, keys_only, bounded;
    uint64_t writes; /* of the transaction, when the engine's cursor was placed */
    void *value;     /* of the record stood upon */
    size_t value_len;
    size_t low_len, high_len, at_len;
    uint8_t low[KIST_KEY_MAX], high[KIST_KEY_MAX];
    uint8_t at[KIST_KEY_MAX]; /* the key sought, or, in a transaction, stood upon */
};

static const struct engine_ops *cursor_ops(const struct kist_cursor *c)
{
    return c->store->engine->ops;
}

static int cursor_check(const struct kist_cursor *c)
{
    if (!c)
        return KIST_EINVAL;
    assert(c->magic == CURSOR_MAGIC);
    return store_check(c->store);
}

static void cursor_forget_value(struct kist_cursor *c)
{
    if (c->value)
        os_wipe(c->value, c->value_len);
    os_free(c->value);
    c->value = NULL;
}

/* -- the range -- */

static int cursor_bound_check(struct error_detail *detail, struct kist_bytes bound)
{
    return bound.len ? ops_key(detail, bound) : 0;
}

static void cursor_raise_low(struct kist_cursor *c, struct kist_bytes key)
{
    if (key.len == 0 || bytes_compare(key.ptr, key.len, c->low, c->low_len) <= 0)
        return;
    memcpy(c->low, key.ptr, key.len);
    c->low_len = key.len;
}

static void cursor_cut_high(struct kist_cursor *c, const void *key, size_t len)
{
    if (len == 0 || (c->bounded && bytes_compare(key, len, c->high, c->high_len) >= 0))
        return;
    memcpy(c->high, key, len);
    c->high_len = len;
    c->bounded = true;
}

static void cursor_cut_prefix(struct kist_cursor *c, struct kist_bytes prefix)
{
    uint8_t end[KIST_KEY_MAX];
    size_t len = prefix.len;
    if (len == 0)
        return;
    memcpy(end, prefix.ptr, len);
    while (len > 0 && end[len - 1] == 0xff)
        len--;
    if (len == 0)
        return;
    end[len - 1]++;
    cursor_cut_high(c, end, len);
    os_wipe(end, prefix.len);
}

static int cursor_range(struct kist_cursor *c, const struct kist_range *range)
{
    struct kist_range o;
    struct error_detail *detail = &c->store->detail;
    int r = options_copy(detail, &o, sizeof o, range);
    r = r < 0 ? r : cursor_bound_check(detail, o.prefix);
    r = r < 0 ? r : cursor_bound_check(detail, o.from);
    r = r < 0 ? r : cursor_bound_check(detail, o.to);
    if (r < 0)
        return r;
    c->reverse = o.reverse;
    c->keys_only = o.keys_only;
    cursor_raise_low(c, o.prefix);
    cursor_raise_low(c, o.from);
    cursor_cut_high(c, o.to.ptr, o.to.len);
    cursor_cut_prefix(c, o.prefix);
    return 0;
}

/* Arrived: 0 inside the range, KIST_EEND outside. */
static int cursor_arrive(struct kist_cursor *c)
{
    struct kist_bytes key;
    struct engine_meta meta;
    int r = cursor_ops(c)->current(c->engine, &key, &meta, NULL);
    if (r < 0)
        return r;
    if (bytes_compare(key.ptr, key.len, c->low, c->low_len) < 0)
        return KIST_EEND;
    if (c->bounded && bytes_compare(key.ptr, key.len, c->high, c->high_len) >= 0)
        return KIST_EEND;
    if (c->in) { /* the transaction may delete it before we step on */
        memcpy(c->at, key.ptr, key.len);
        c->at_len = key.len;
    }
    return 0;
}

/* -- moving the engine's cursor -- */

static int cursor_first(struct kist_cursor *c)
{
    return cursor_ops(c)->seek(c->engine, (struct kist_bytes){c->low, c->low_len}, false);
}

static int cursor_last(struct kist_cursor *c)
{
    struct kist_bytes end = {c->bounded ? c->high : NULL, c->high_len};
    return cursor_ops(c)->seek(c->engine, end, true);
}

/* Up: the first record >= the key at c->at (> without equal). Down: the last one <= it (< without
 * equal). */
static int cursor_beside(struct kist_cursor *c, bool up, bool equal)
{
    const struct engine_ops *ops = cursor_ops(c);
    struct kist_bytes sought = {c->at, c->at_len}, key;
    struct engine_meta meta;
    if (!up && !equal)
        return ops->seek(c->engine, sought, true);
    int r = ops->seek(c->engine, sought, false);
    if (r < 0 && r != KIST_EEND)
        return r;
    if (up && (equal || r < 0))
        return r;
    bool met = false;
    if (r == 0) {
        r = ops->current(c->engine, &key, &meta, NULL);
        if (r < 0)
            return r;
        met = bytes_compare(key.ptr, key.len, c->at, c->at_len) == 0;
    }
    if (up)
        return met ? ops->next(c->engine, false) : 0;
    return met ? 0 : ops->seek(c->engine, sought, true);
}

/* A key sought outside the range is beside its end. */
static enum cursor_place cursor_place_of(const struct kist_cursor *c)
{
    if (c->place != CURSOR_SOUGHT)
        return c->place;
    if (bytes_compare(c->at, c->at_len, c->low, c->low_len) < 0)
        return CURSOR_BELOW;
    if (c->bounded && bytes_compare(c->at, c->at_len, c->high, c->high_len) >= 0)
        return CURSOR_ABOVE;
    return CURSOR_SOUGHT;
}

/* One step from the record stood upon, also when the transaction has written since. */
static int cursor_step(struct kist_cursor *c, bool up)
{
    if (!c->in || c->in->writes == c->writes)
        return cursor_ops(c)->next(c->engine, !up);
    return cursor_beside(c, up, false);
}

static int cursor_seek_place(struct kist_cursor *c, bool up)
{
    switch (cursor_place_of(c)) {
    case CURSOR_FRESH:
        return up ? cursor_first(c) : cursor_last(c);
    case CURSOR_BELOW:
        return up ? cursor_first(c) : KIST_EEND;
    case CURSOR_ABOVE:
        return up ? KIST_EEND : cursor_last(c);
    case CURSOR_SOUGHT: /* what next() would give includes the key itself, the other way does not */
        return cursor_beside(c, up, up == !c->reverse);
    case CURSOR_ON:
        break;
    }
    return cursor_step(c, up);
}

static int cursor_show(struct kist_cursor *c, struct kist_record *out)
{
    struct kist_bytes key;
    struct engine_meta meta;
    int r = cursor_ops(c)->current(c->engine, &key, &meta, c->keys_only ? NULL : &c->value);
    if (r < 0)
        return r;
    c->value_len = meta.len;
    *out = (struct kist_record){.key = key,
                                .value = {c->value, meta.len},
                                .type = (enum kist_type)(meta.type & OPS_TYPE),
                                .revision = meta.revision,
                                .expires_ms = meta.expires_ms,
                                .never = !meta.expires_ms && (meta.type & OPS_TTL_OWN)};
    return 0;
}

static int cursor_move(struct kist_cursor *c, bool next, struct kist_record *out)
{
    int r = cursor_check(c);
    if (r < 0 || !out)
        return r < 0 ? r : KIST_EINVAL;
    bool up = next == !c->reverse;
    cursor_forget_value(c);
    r = cursor_seek_place(c, up);
    r = r < 0 ? r : cursor_arrive(c);
    if (r == KIST_EEND)
        c->place = up ? CURSOR_ABOVE : CURSOR_BELOW;
    if (r < 0)
        return r;
    c->place = CURSOR_ON;
    c->writes = c->in ? c->in->writes : 0;
    return cursor_show(c, out);
}

int kist_cursor_next(struct kist_cursor *cursor, struct kist_record *out_record)
{
    return cursor_move(cursor, true, out_record);
}

int kist_cursor_prev(struct kist_cursor *cursor, struct kist_record *out_record)
{
    return cursor_move(cursor, false, out_record);
}

int kist_cursor_seek(struct kist_cursor *cursor, struct kist_bytes key)
{
    int r = cursor_check(cursor);
    r = r < 0 ? r : ops_key(&cursor->store->detail, key);
    if (r < 0)
        return r;
    memmove(cursor->at, key.ptr, key.len);
    cursor_forget_value(cursor); /* behind the copy: the key may lie in the record stood upon */
    cursor->at_len = key.len;
    cursor->place = CURSOR_SOUGHT;
    return 0;
}

/* -- opening and closing -- */

static int cursor_new(struct kist_store *store, const struct kist_range *range, struct kist_cursor **out)
{
    struct kist_cursor *c = os_calloc(sizeof *c);
    if (!c)
        return KIST_ENOMEM;
    c->magic = CURSOR_MAGIC;
    c->store = store;
    int r = cursor_range(c, range);
    if (r < 0) {
        os_wipe(c, sizeof *c);
        os_free(c);
    } else {
        *out = c;
    }
    return r;
}

int kist_cursor_open(struct kist_bucket *bucket, const struct kist_range *range, struct kist_cursor **out_cursor)
{
    struct kist_cursor *c = NULL;
    int r = bucket_check(bucket);
    if (r < 0 || !out_cursor)
        return r < 0 ? r : KIST_EINVAL;
    r = cursor_new(bucket->store, range, &c);
    if (r < 0)
        return r;
    r = store_begin(bucket->store, bucket->number, ENGINE_SNAPSHOT, &c->own);
    r = r < 0 ? r : cursor_ops(c)->cursor_open(c->own, &c->engine);
    if (r < 0)
        kist_cursor_close(&c);
    else
        *out_cursor = c;
    return r;
}

int kist_txn_cursor_open(struct kist_txn *txn, const struct kist_range *range, struct kist_cursor **out_cursor)
{
    struct kist_cursor *c = NULL;
    int r = txn_check(txn);
    if (r < 0 || !out_cursor)
        return r < 0 ? r : KIST_EINVAL;
    r = cursor_new(txn->store, range, &c);
    if (r < 0)
        return r;
    c->in = txn;
    txn->cursors++;
    r = cursor_ops(c)->cursor_open(txn->ops.txn, &c->engine);
    if (r < 0)
        kist_cursor_close(&c);
    else
        *out_cursor = c;
    return r;
}

void kist_cursor_close(struct kist_cursor **cursor)
{
    if (!cursor || !*cursor)
        return;
    struct kist_cursor *c = *cursor;
    assert(c->magic == CURSOR_MAGIC);
    if (c->engine)
        cursor_ops(c)->cursor_close(&c->engine);
    if (c->own)
        cursor_ops(c)->abort(&c->own);
    if (c->in)
        c->in->cursors--;
    cursor_forget_value(c);
    os_wipe(c, sizeof *c); /* key names */
    os_free(c);
    *cursor = NULL;
}
