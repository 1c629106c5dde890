/* logcursor.c: walking a bucket in key order, a transaction's own writes mixed in.
 *
 * Two walks side by side, over the root and over the sorted writes; the smaller key (going backward, the larger) is next,
 * and at the same key the own write hides the record. What was passed over is noted in the read set as one growing range
 * per seek, both ends included, so that a commit can tell whether somebody put something in between. */
#include "engine/logtxn.h"

#include <assert.h>

struct logcursor {
    struct engine_cursor base;
    struct tree_cursor root; /* over the index */
    struct tree_cursor own;  /* over t->order */
    bool root_valid, own_valid;
    bool standing; /* on a record */
    bool on_own;
    bool backward;
    uint64_t writes_seen;
    size_t range;       /* in t->reads; SIZE_MAX: none */
    struct entry entry; /* of the record in root */
    uint8_t key[LOG_INDEX_KEY + 1];
    size_t key_len;
};

static struct logcursor *logcursor_of(struct engine_cursor *c)
{
    return (struct logcursor *)c;
}

int logcursor_open(struct engine_txn *t, struct engine_cursor **out)
{
    int r = log_entered(log_of(t->engine));
    if (r)
        return r;
    struct logcursor *c = os_alloc(sizeof *c);
    if (!c)
        return KIST_ENOMEM;
    c->base.txn = t;
    c->standing = c->root_valid = c->own_valid = c->on_own = c->backward = false;
    c->writes_seen = 0;
    c->range = SIZE_MAX;
    c->key_len = 0;
    *out = &c->base;
    return 0;
}

void logcursor_close(struct engine_cursor **c)
{
    if (!*c)
        return;
    os_wipe(logcursor_of(*c), sizeof *logcursor_of(*c)); /* key names, in its walks too */
    os_free(logcursor_of(*c));
    *c = NULL;
}

static bool logcursor_in_bucket(const struct logcursor *c, const struct tree_cursor *t)
{
    return t->key_len > 8 && bytes_get64be(t->key) == c->base.txn->bucket;
}

/* -- noting what was read -- */

/* The range grows to include key; at its first call it starts between from and key. */
static int logcursor_note(struct logcursor *c, const uint8_t *from, size_t from_len, const uint8_t *key, size_t key_len)
{
    struct logtxn *t = logtxn_of(c->base.txn);
    if (t->base.mode != ENGINE_OPTIMISTIC)
        return 0;
    if (c->range == SIZE_MAX) {
        bool up = bytes_compare(from, from_len, key, key_len) <= 0;
        int r = up ? logtxn_note(t, from, from_len, key, key_len) : logtxn_note(t, key, key_len, from, from_len);
        if (r == 0)
            c->range = t->reads_len - 1;
        return r;
    }
    struct logtxn_range *range = &t->reads[c->range];
    bool below = bytes_compare(key, key_len, range->from, range->from_len) < 0;
    if (!below && bytes_compare(key, key_len, range->to, range->to_len) <= 0)
        return 0;
    uint8_t *copy = os_alloc(key_len + 1);
    if (!copy)
        return KIST_ENOMEM;
    memcpy(copy, key, key_len);
    if (below) {
        logtxn_forget(range->from, range->from_len);
        range->from = copy;
        range->from_len = key_len;
    } else {
        logtxn_forget(range->to, range->to_len);
        range->to = copy;
        range->to_len = key_len;
    }
    return 0;
}

/* -- moving -- */

static void logcursor_step(struct logcursor *c, struct tree_cursor *t, bool *io_valid)
{
    *io_valid = (c->backward ? tree_cursor_prev(t) : tree_cursor_next(t)) && logcursor_in_bucket(c, t);
}

static void logcursor_place(struct logcursor *c, struct tree_cursor *t, const uint8_t *key, size_t n, bool *out_valid)
{
    *out_valid = (c->backward ? tree_cursor_seek_last(t, key, n) : tree_cursor_seek(t, key, n)) && logcursor_in_bucket(c, t);
}

/* Both walks to the first key >= key, or backward the last one < key. */
static int logcursor_place_both(struct logcursor *c, const uint8_t *key, size_t n)
{
    struct logtxn *t = logtxn_of(c->base.txn);
    struct tree_root root = logtxn_root(t);
    tree_cursor_init(&c->root, &root);
    logcursor_place(c, &c->root, key, n, &c->root_valid);
    c->own_valid = false;
    c->writes_seen = t->writes_changed;
    if (t->writes_len == 0)
        return 0;
    int r = logtxn_sort(t);
    if (r)
        return r;
    root = tree_working(t->order);
    tree_cursor_init(&c->own, &root);
    logcursor_place(c, &c->own, key, n, &c->own_valid);
    return 0;
}

/* Does the walk over the index stand on a record that counts? */
static bool logcursor_root_live(struct logcursor *c)
{
    struct logtxn *t = logtxn_of(c->base.txn);
    return entry_decode(c->root.payload, c->root.payload_len, &c->entry) && !(c->entry.flags & ENTRY_DROP) &&
           !read_expired(&c->entry, &t->now);
}

static bool logcursor_own_live(struct logcursor *c)
{
    struct logtxn *t = logtxn_of(c->base.txn);
    const struct logtxn_write *w = t->writes[bytes_get64(c->own.payload)];
    struct entry e = {.expires_ms = w->expires_ms};
    return w->kind == FRAME_PUT && !read_expired(&e, &t->now);
}

/* Which walk comes first: < 0 the root's, > 0 the own writes', 0 both stand on the same key. One of them stands. */
static int logcursor_order(const struct logcursor *c)
{
    if (!c->root_valid)
        return 1;
    if (!c->own_valid)
        return -1;
    int order = bytes_compare(c->root.key, c->root.key_len, c->own.key, c->own.key_len);
    return c->backward ? -order : order;
}

/* From where both walks stand, on to a record that can be seen. */
static int logcursor_settle(struct logcursor *c, const uint8_t *from, size_t from_len)
{
    while (c->root_valid || c->own_valid) {
        int order = logcursor_order(c);
        c->on_own = order >= 0;
        const struct tree_cursor *at = c->on_own ? &c->own : &c->root;
        if (c->on_own ? logcursor_own_live(c) : logcursor_root_live(c)) {
            memcpy(c->key, at->key, at->key_len);
            c->key_len = at->key_len;
            c->standing = true;
            return logcursor_note(c, from, from_len, c->key, c->key_len);
        }
        if (order <= 0)
            logcursor_step(c, &c->root, &c->root_valid);
        if (order >= 0)
            logcursor_step(c, &c->own, &c->own_valid);
    }
    c->standing = false;
    uint8_t edge[8];
    bytes_put64be(edge, c->base.txn->bucket + (c->backward ? 0 : 1));
    int r = logcursor_note(c, from, from_len, edge, sizeof edge);
    return r ? r : KIST_EEND;
}

int logcursor_seek(struct engine_cursor *cursor, struct kist_bytes key, bool backward)
{
    struct logcursor *c = logcursor_of(cursor);
    uint8_t from[LOG_INDEX_KEY];
    size_t n = 8;
    int r = log_entered(log_of(cursor->txn->engine));
    if (r)
        return r;
    c->backward = backward;
    c->standing = false;
    c->range = SIZE_MAX;
    if (backward && !key.ptr)
        bytes_put64be(from, cursor->txn->bucket + 1);
    else
        n = log_index_key(cursor->txn->bucket, key, from);
    r = logcursor_place_both(c, from, n);
    r = r ? r : logcursor_settle(c, from, n);
    os_wipe(from, n);
    return r;
}

int logcursor_next(struct engine_cursor *cursor, bool backward)
{
    struct logcursor *c = logcursor_of(cursor);
    struct logtxn *t = logtxn_of(cursor->txn);
    uint8_t from[LOG_INDEX_KEY + 1];
    size_t n = c->key_len;
    int r = log_entered(log_of(cursor->txn->engine));
    if (r)
        return r;
    if (!c->standing)
        return KIST_EEND;
    memcpy(from, c->key, n);
    if (backward != c->backward || c->writes_seen != t->writes_changed) {
        c->backward = backward;
        if (!backward)
            from[n++] = 0; /* the smallest key behind it */
        r = logcursor_place_both(c, from, n);
    } else {
        bool both = c->root_valid && c->own_valid && bytes_compare(c->root.key, c->root.key_len, c->own.key, c->own.key_len) == 0;
        if (both || !c->on_own)
            logcursor_step(c, &c->root, &c->root_valid);
        if (both || c->on_own)
            logcursor_step(c, &c->own, &c->own_valid);
    }
    r = r ? r : logcursor_settle(c, from, n);
    os_wipe(from, n);
    return r;
}

/* Values lie anywhere in the log: ask memory for the next one while this one is opened. */
static void logcursor_ahead(const struct logcursor *c)
{
    struct entry e;
    size_t len = 0;
    const uint8_t *p = c->root_valid ? tree_cursor_peek(&c->root, c->backward, &len) : NULL;
    if (p && entry_decode(p, len, &e))
        read_ahead(log_of(c->base.txn->engine), &e);
}

int logcursor_current(struct engine_cursor *cursor, struct kist_bytes *out_key, struct engine_meta *out_meta, void **out_data)
{
    struct logcursor *c = logcursor_of(cursor);
    struct logtxn *t = logtxn_of(cursor->txn);
    int r = log_entered(log_of(cursor->txn->engine));
    if (r)
        return r;
    assert(c->standing);
    if (c->on_own || c->writes_seen != t->writes_changed) {
        r = logtxn_get(cursor->txn, (struct kist_bytes){c->key + 8, c->key_len - 8}, out_meta, out_data);
    } else {
        if (out_data) {
            logcursor_ahead(c);
            r = read_value(log_of(cursor->txn->engine), &c->entry, t->base.mode == ENGINE_EXCLUSIVE, out_data);
        }
        if (r == 0)
            *out_meta = (struct engine_meta){.revision = c->entry.revision,
                                             .expires_ms = c->entry.expires_ms,
                                             .len = c->entry.len,
                                             .type = c->entry.flags & ENTRY_TYPE};
    }
    if (r == 0)
        *out_key = (struct kist_bytes){c->key + 8, c->key_len - 8};
    return r;
}
