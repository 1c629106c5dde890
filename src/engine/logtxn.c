/* logtxn.c: transactions on the log.
 *
 * A transaction reads one root (its snapshot's, or the working root when it holds the writer lock) and collects its writes.
 * Commit takes the lock, and an optimistic one first looks whether what it has read is still so: each key and each range is
 * compared between its snapshot and the working root, by revision. That costs what was read, and nothing when nobody else
 * has committed since. The writes then go to commit.c as one frame.
 *
 * Most transactions write one key: up to LOGTXN_FEW writes are kept in a plain array, beyond that a tree finds them. */
#include "engine/logtxn.h"

#include <assert.h>

#define LOGTXN_LOOK 256 /* commits between two looks whether there is something to clean up */

/* -- begin and end -- */

static int logtxn_not_dropped(const struct tree_root *root, uint64_t bucket)
{
    uint8_t key[LOG_INDEX_KEY];
    size_t len = 0;
    if (root->aux[LOG_AUX_DROPS] == 0 || bucket == ENGINE_CATALOG)
        return 0;
    size_t n = log_index_key(bucket, (struct kist_bytes){NULL, 0}, key);
    return tree_find(root, key, n, &len) ? KIST_ENOBUCKET : 0;
}

struct tree_root logtxn_root(struct logtxn *t)
{
    struct log *log = log_of(t->base.engine);
    if (t->base.mode != ENGINE_EXCLUSIVE)
        return t->snap.root;
    (void)pthread_mutex_lock(&log->state);
    struct tree_root root = tree_working(log->index);
    root.aux[LOG_AUX_DROPS] = log->drops;
    root.tag = log->at.sequence;
    (void)pthread_mutex_unlock(&log->state);
    return root;
}

void logtxn_forget(uint8_t *key, size_t key_len)
{
    if (key)
        os_wipe(key, key_len);
    os_free(key);
}

static int logtxn_start(struct logtxn *t)
{
    struct log *log = log_of(t->base.engine);
    int r = log_entered(log);
    if (r)
        return r;
    if (t->base.mode == ENGINE_EXCLUSIVE)
        return writer_lock(log);
    if (t->base.mode == ENGINE_OPTIMISTIC && log->read_only)
        return KIST_EREADONLY;
    r = follow_fresh(log);
    return r ? r : tree_snap_take(log->index, &t->snap);
}

static void logtxn_unnote(struct logtxn_range *range)
{
    logtxn_forget(range->from, range->from_len);
    logtxn_forget(range->to, range->to_len);
}

static void logtxn_free(struct logtxn **t)
{
    struct logtxn *x = *t;
    for (size_t i = 0; i < x->writes_len; i++) {
        os_wipe(x->writes[i], x->writes[i]->size);
        os_free(x->writes[i]);
    }
    if (x->writes != x->few)
        os_free(x->writes);
    for (size_t i = 0; i < x->reads_len; i++)
        logtxn_unnote(&x->reads[i]);
    os_free(x->reads);
    tree_free(&x->order);
    os_free(x);
    *t = NULL;
}

/* Let go of lock or snapshot, then of everything. */
static void logtxn_end(struct logtxn **t)
{
    struct log *log = log_of((*t)->base.engine);
    if ((*t)->base.mode == ENGINE_EXCLUSIVE)
        writer_unlock(log);
    else
        tree_snap_drop(log->index, &(*t)->snap);
    logtxn_free(t);
}

int logtxn_begin(struct engine *e, uint64_t bucket, enum engine_mode mode, struct engine_txn **out)
{
    struct logtxn *t = os_alloc(sizeof *t);
    if (!t)
        return KIST_ENOMEM;
    *t = (struct logtxn){.base = {.engine = e, .bucket = bucket, .mode = mode}};
    t->writes = t->few;
    t->writes_cap = LOGTXN_FEW;
    int r = logtxn_start(t);
    if (r) {
        logtxn_free(&t);
        return r;
    }
    struct tree_root root = logtxn_root(t);
    r = logtxn_not_dropped(&root, bucket);
    if (r) {
        logtxn_end(&t);
        return r;
    }
    *out = &t->base;
    return 0;
}

void logtxn_abort(struct engine_txn **t)
{
    if (!*t)
        return;
    struct logtxn *x = logtxn_of(*t);
    *t = NULL;
    if (log_entered(log_of(x->base.engine)))
        logtxn_free(&x); /* in a child: the locks are the parent's */
    else
        logtxn_end(&x);
}

uint64_t logtxn_revision(const struct engine_txn *t)
{
    struct logtxn *x = logtxn_of((struct engine_txn *)(uintptr_t)t);
    return logtxn_root(x).tag;
}

/* -- the read set -- */

static uint8_t *logtxn_copy(const uint8_t *p, size_t n)
{
    uint8_t *copy = os_alloc(n + 1);
    if (copy && n)
        memcpy(copy, p, n);
    return copy;
}

int logtxn_note(struct logtxn *t, const uint8_t *from, size_t from_len, const uint8_t *to, size_t to_len)
{
    if (t->base.mode != ENGINE_OPTIMISTIC)
        return 0;
    struct logtxn_range *reads = array_room(t->reads, t->reads_len, &t->reads_cap, sizeof *reads);
    if (!reads)
        return KIST_ENOMEM;
    t->reads = reads;
    struct logtxn_range range = {.from = logtxn_copy(from, from_len), .from_len = from_len};
    if (to) {
        range.to = logtxn_copy(to, to_len);
        range.to_len = to_len;
    }
    if (!range.from || (to && !range.to)) {
        logtxn_unnote(&range);
        return KIST_ENOMEM;
    }
    t->reads[t->reads_len++] = range;
    return 0;
}

/* The revision under a key, 0 without one (expired counts as without). */
static uint64_t logtxn_revision_at(struct logtxn *t, const struct tree_root *root, const uint8_t *key, size_t key_len)
{
    size_t len = 0;
    struct entry e;
    const uint8_t *p = tree_find(root, key, key_len, &len);
    return p && entry_decode(p, len, &e) && !read_expired(&e, &t->now) ? e.revision : 0;
}

/* The next live record at or after where c stands, not beyond to: its revision, 0 at the end. */
static uint64_t logtxn_live(struct logtxn *t, struct tree_cursor *c, bool more, const struct logtxn_range *range)
{
    for (; more; more = tree_cursor_next(c)) {
        struct entry e;
        if (bytes_compare(c->key, c->key_len, range->to, range->to_len) > 0)
            return 0;
        if (entry_decode(c->payload, c->payload_len, &e) && !(e.flags & ENTRY_DROP) && !read_expired(&e, &t->now))
            return e.revision;
    }
    return 0;
}

static int logtxn_same_range(struct logtxn *t, const struct tree_root *now, const struct logtxn_range *range)
{
    struct tree_cursor *c = os_alloc(2 * sizeof *c);
    if (!c)
        return KIST_ENOMEM;
    tree_cursor_init(&c[0], &t->snap.root);
    tree_cursor_init(&c[1], now);
    uint64_t a = logtxn_live(t, &c[0], tree_cursor_seek(&c[0], range->from, range->from_len), range);
    uint64_t b = logtxn_live(t, &c[1], tree_cursor_seek(&c[1], range->from, range->from_len), range);
    while (a && a == b && bytes_compare(c[0].key, c[0].key_len, c[1].key, c[1].key_len) == 0) {
        a = logtxn_live(t, &c[0], tree_cursor_next(&c[0]), range);
        b = logtxn_live(t, &c[1], tree_cursor_next(&c[1]), range);
    }
    tree_cursor_done(&c[0]);
    tree_cursor_done(&c[1]);
    os_free(c);
    return a || b ? KIST_ECONFLICT : 0;
}

static int logtxn_validate(struct logtxn *t, const struct tree_root *now)
{
    int r = 0;
    if (now->tag == t->snap.root.tag)
        return 0;
    for (size_t i = 0; i < t->reads_len && r == 0; i++) {
        const struct logtxn_range *read = &t->reads[i];
        if (read->to)
            r = logtxn_same_range(t, now, read);
        else if (logtxn_revision_at(t, &t->snap.root, read->from, read->from_len) !=
                 logtxn_revision_at(t, now, read->from, read->from_len))
            r = KIST_ECONFLICT;
    }
    return r;
}

/* -- the write set -- */

int logtxn_sort(struct logtxn *t)
{
    if (t->order)
        return 0;
    int r = tree_new(&t->order);
    for (size_t i = 0; i < t->writes_len && r == 0; i++) {
        uint8_t at[8];
        bytes_put64(at, i);
        r = tree_put(t->order, t->writes[i]->key, t->writes[i]->key_len, at, sizeof at, NULL, NULL);
    }
    if (r)
        tree_free(&t->order);
    return r;
}

/* Where the write of this key is in t->writes; writes_len when there is none. */
static size_t logtxn_find(struct logtxn *t, const uint8_t *key, size_t key_len)
{
    if (t->order) {
        size_t len = 0;
        struct tree_root root = tree_working(t->order);
        const uint8_t *p = tree_find(&root, key, key_len, &len);
        return p ? (size_t)bytes_get64(p) : t->writes_len;
    }
    for (size_t i = 0; i < t->writes_len; i++) {
        if (t->writes[i]->key_len == key_len && memcmp(t->writes[i]->key, key, key_len) == 0)
            return i;
    }
    return t->writes_len;
}

static int logtxn_grow(struct logtxn *t)
{
    size_t cap = t->writes_cap * 4;
    struct logtxn_write **w = os_alloc(cap * sizeof *w);
    if (!w)
        return KIST_ENOMEM;
    memcpy(w, t->writes, t->writes_len * sizeof(struct logtxn_write *));
    if (t->writes != t->few)
        os_free(t->writes);
    t->writes = w;
    t->writes_cap = cap;
    return logtxn_sort(t);
}

static int logtxn_limits(struct logtxn *t, size_t key_len, size_t len)
{
    struct error_detail *d = t->base.engine->detail;
    if (t->writes_len >= KIST_TXN_OPS_MAX)
        return error_set(d, KIST_ETOOBIG, "a transaction writes at most %u keys: commit in parts", KIST_TXN_OPS_MAX);
    if (t->writes_bytes + key_len + len > KIST_TXN_MAX)
        return error_set(d, KIST_ETOOBIG, "a transaction writes at most %u bytes: commit in parts", KIST_TXN_MAX);
    return 0;
}

/* What put_keep means on top of a record with this type and expiry. */
static void logtxn_keep(struct logtxn_write *w, uint8_t type, int64_t expires_ms)
{
    if (type & ENGINE_OWN_EXPIRY)
        w->type |= ENGINE_OWN_EXPIRY;
    if ((type & ENGINE_OWN_EXPIRY) || !w->expires_ms)
        w->expires_ms = expires_ms;
}

/* The same on top of what the root has. */
static void logtxn_keep_found(struct logtxn *t, struct logtxn_write *w, const struct tree_root *root)
{
    struct entry e;
    size_t len = 0;
    if (!w->keep)
        return;
    w->keep = false;
    const uint8_t *p = tree_find(root, w->key, w->key_len, &len);
    if (p && entry_decode(p, len, &e) && !read_expired(&e, &t->now))
        logtxn_keep(w, e.flags & ENTRY_TYPE, e.expires_ms);
}

/* On top of an earlier write of the same transaction. */
static void logtxn_keep_own(struct logtxn *t, struct logtxn_write *w, const struct logtxn_write *old)
{
    struct entry e = {.expires_ms = old->expires_ms};
    if (!w->keep || (old->kind == FRAME_PUT && old->keep)) /* both go by the record there */
        return;
    w->keep = false;
    if (old->kind == FRAME_PUT && !read_expired(&e, &t->now))
        logtxn_keep(w, old->type, old->expires_ms);
}

/* Add w, or let it take the place of an earlier write of its key. Owns w on success. */
static int logtxn_add(struct logtxn *t, struct logtxn_write *w)
{
    size_t at = logtxn_find(t, w->key, w->key_len);
    if (at == t->writes_len) {
        int r = t->writes_len == t->writes_cap ? logtxn_grow(t) : 0;
        uint8_t place[8];
        bytes_put64(place, at);
        if (r == 0 && t->order)
            r = tree_put(t->order, w->key, w->key_len, place, sizeof place, NULL, NULL);
        if (r)
            return r;
        t->writes_len++;
    } else {
        struct logtxn_write *old = t->writes[at];
        logtxn_keep_own(t, w, old);
        t->writes_bytes -= old->key_len + old->len;
        os_wipe(old, old->size);
        os_free(old);
    }
    t->writes[at] = w;
    t->writes_bytes += w->key_len + w->len;
    t->writes_changed++;
    return 0;
}

/* What is written, but for its key. */
struct logtxn_new {
    enum frame_op_kind kind;
    struct kist_bytes value;
    uint8_t type;
    int64_t expires_ms;
    bool borrow, keep;
};

static int logtxn_write(struct logtxn *t, uint64_t bucket, struct kist_bytes key, const struct logtxn_new *what)
{
    if (t->base.mode == ENGINE_SNAPSHOT)
        return KIST_EREADONLY;
    struct kist_bytes value = what->value;
    size_t copied = what->borrow ? 0 : value.len;
    int r = logtxn_limits(t, key.len, value.len);
    if (r)
        return r;
    size_t size = sizeof(struct logtxn_write) + 8 + key.len + copied;
    struct logtxn_write *w = os_alloc(size);
    if (!w)
        return KIST_ENOMEM;
    *w = (struct logtxn_write){.kind = what->kind,
                               .type = what->type,
                               .keep = what->keep,
                               .expires_ms = what->expires_ms,
                               .len = (uint32_t)value.len,
                               .size = size};
    bytes_put64be(w->key, bucket);
    if (key.len)
        memcpy(w->key + 8, key.ptr, key.len);
    w->key_len = (uint32_t)(8 + key.len);
    w->value = what->borrow ? value.ptr : w->key + w->key_len;
    if (copied)
        memcpy(w->key + w->key_len, value.ptr, copied);
    r = logtxn_add(t, w);
    if (r) {
        os_wipe(w, size);
        os_free(w);
    }
    return r;
}

static int logtxn_put_how(struct engine_txn *t, struct kist_bytes key, const struct logtxn_new *what)
{
    assert(key.len >= 1 && key.len <= KIST_KEY_MAX && what->value.len <= KIST_VALUE_MAX && what->type <= ENTRY_TYPE);
    return logtxn_write(logtxn_of(t), t->bucket, key, what);
}

int logtxn_put(struct engine_txn *t, struct kist_bytes key, struct kist_bytes value, uint8_t type, int64_t expires_ms,
               bool borrow)
{
    struct logtxn_new what = {.kind = FRAME_PUT, .value = value, .type = type, .expires_ms = expires_ms, .borrow = borrow};
    return logtxn_put_how(t, key, &what);
}

int logtxn_put_keep(struct engine_txn *t, struct kist_bytes key, struct kist_bytes value, uint8_t type, int64_t expires_ms,
                    bool borrow)
{
    struct logtxn_new what = {
        .kind = FRAME_PUT, .value = value, .type = type, .expires_ms = expires_ms, .borrow = borrow, .keep = true};
    return logtxn_put_how(t, key, &what);
}

int logtxn_del(struct engine_txn *t, struct kist_bytes key)
{
    struct logtxn_new what = {.kind = FRAME_DELETE, .borrow = true};
    assert(key.len >= 1 && key.len <= KIST_KEY_MAX);
    return logtxn_write(logtxn_of(t), t->bucket, key, &what);
}

int logtxn_drop(struct engine_txn *t, uint64_t bucket)
{
    struct logtxn_new what = {.kind = FRAME_DROP, .borrow = true};
    assert(t->bucket == ENGINE_CATALOG && bucket != ENGINE_CATALOG);
    return logtxn_write(logtxn_of(t), bucket, (struct kist_bytes){NULL, 0}, &what);
}

/* -- reading -- */

static int logtxn_get_own(struct logtxn *t, struct logtxn_write *w, struct engine_meta *out_meta, void **out_data)
{
    if (w->keep) { /* now the caller sees what it depends on */
        struct tree_root root = logtxn_root(t);
        int r = logtxn_note(t, w->key, w->key_len, NULL, 0);
        if (r)
            return r;
        logtxn_keep_found(t, w, &root);
    }
    struct entry e = {.expires_ms = w->expires_ms};
    if (w->kind != FRAME_PUT || read_expired(&e, &t->now))
        return KIST_ENOKEY;
    if (out_data) {
        void *p = os_alloc((size_t)w->len + 1);
        if (!p)
            return KIST_ENOMEM;
        if (w->len)
            memcpy(p, w->value, w->len);
        *out_data = p;
    }
    *out_meta = (struct engine_meta){.expires_ms = w->expires_ms, .len = w->len, .type = w->type};
    return 0;
}

static int logtxn_get_at(struct engine_txn *txn, const uint8_t *index_key, size_t n, struct engine_meta *out_meta,
                         void **out_data)
{
    struct logtxn *t = logtxn_of(txn);
    struct log *log = log_of(txn->engine);
    struct entry e;
    size_t len = 0;
    int r = log_entered(log);
    if (r)
        return r;
    size_t own = t->writes_len ? logtxn_find(t, index_key, n) : 0;
    if (own < t->writes_len)
        return logtxn_get_own(t, t->writes[own], out_meta, out_data);
    r = logtxn_note(t, index_key, n, NULL, 0);
    if (r)
        return r;
    struct tree_root root = logtxn_root(t);
    const uint8_t *p = tree_find(&root, index_key, n, &len);
    if (!p || !entry_decode(p, len, &e) || read_expired(&e, &t->now))
        return KIST_ENOKEY;
    if (out_data)
        r = read_value(log, &e, txn->mode == ENGINE_EXCLUSIVE, out_data);
    if (r == 0)
        *out_meta =
            (struct engine_meta){.revision = e.revision, .expires_ms = e.expires_ms, .len = e.len, .type = e.flags & ENTRY_TYPE};
    return r;
}

int logtxn_get(struct engine_txn *txn, struct kist_bytes key, struct engine_meta *out_meta, void **out_data)
{
    uint8_t index_key[LOG_INDEX_KEY];
    size_t n = log_index_key(txn->bucket, key, index_key);
    int r = logtxn_get_at(txn, index_key, n, out_meta, out_data);
    os_wipe(index_key, n);
    return r;
}

/* -- commit -- */

/* A delete needs an operation only when there is something to delete; it says where the dead copy is. */
static bool logtxn_op(struct log *log, const struct logtxn_write *w, const struct tree_root *root, struct frame_op *op)
{
    struct entry e;
    size_t len = 0;
    *op = (struct frame_op){.kind = w->kind,
                            .type = w->type,
                            .bucket = bytes_get64be(w->key),
                            .expires_ms = w->expires_ms,
                            .key = w->key + 8,
                            .key_len = w->key_len - 8,
                            .value = w->value,
                            .len = w->len};
    if (w->kind != FRAME_DELETE)
        return true;
    const uint8_t *p = tree_find(root, w->key, w->key_len, &len);
    if (!p || !entry_decode(p, len, &e))
        return false;
    const struct segment *s = table_find(log, e.segment);
    op->shadow = (e.flags & ENTRY_OVER) || !s || s->gone ? 0 : e.segment; /* gone: its copy lies where compaction put it */
    return true;
}

/* Fetch the ways to the next keys side by side instead of waiting for one miss after another. */
static void logtxn_warm(const struct logtxn *t, size_t from, const struct tree_root *root)
{
    struct tree_key keys[TREE_WARM_MAX];
    size_t n = bytes_min(t->writes_len - from, TREE_WARM_MAX);
    for (size_t i = 0; i < n; i++)
        keys[i] = (struct tree_key){t->writes[from + i]->key, t->writes[from + i]->key_len};
    if (n > 1)
        tree_warm(root, keys, n);
}

static int logtxn_append(struct logtxn *t, uint64_t *out_sequence)
{
    struct log *log = log_of(t->base.engine);
    struct frame_op few[LOGTXN_FEW];
    struct frame_op *ops = t->writes_len > LOGTXN_FEW ? os_alloc(t->writes_len * sizeof *ops) : few;
    struct tree_root root = logtxn_root(t);
    size_t n = 0;
    int r = ops ? 0 : KIST_ENOMEM;
    for (size_t i = 0; i < t->writes_len && r == 0; i++) {
        if (i % TREE_WARM_MAX == 0)
            logtxn_warm(t, i, &root);
        logtxn_keep_found(t, t->writes[i], &root);
        n += logtxn_op(log, t->writes[i], &root, &ops[n]);
    }
    if (r == 0)
        r = n ? commit_append(log, ops, n, out_sequence) : 0;
    if (ops != few)
        os_free(ops);
    if (r == 0 && n && atomic_load_explicit(&log->shared.page->writer_waited, memory_order_relaxed) && commit_flush(log))
        r = KIST_EMAYBE; /* it is part of the log already */
    return r;
}

/* An optimistic transaction becomes the writer. Its snapshot goes last: the check needs it. */
static int logtxn_promote(struct logtxn *t)
{
    struct log *log = log_of(t->base.engine);
    int r = writer_lock(log);
    if (r)
        return r;
    (void)pthread_mutex_lock(&log->state);
    struct tree_root now = tree_working(log->index);
    now.tag = log->at.sequence;
    now.aux[LOG_AUX_DROPS] = log->drops;
    (void)pthread_mutex_unlock(&log->state);
    r = logtxn_not_dropped(&now, t->base.bucket);
    if (r == 0)
        r = logtxn_validate(t, &now);
    if (r) {
        writer_unlock(log);
        return r;
    }
    tree_snap_drop(log->index, &t->snap);
    t->base.mode = ENGINE_EXCLUSIVE;
    return 0;
}

int logtxn_commit(struct engine_txn **txn, uint64_t *out_revision)
{
    struct logtxn *t = logtxn_of(*txn);
    struct log *log = log_of(t->base.engine);
    uint64_t sequence = 0, seen = 0;
    int r = log_entered(log);
    if (r) {
        logtxn_abort(txn);
        return r;
    }
    if (t->writes_len && t->base.mode == ENGINE_OPTIMISTIC)
        r = logtxn_promote(t);
    if (r == 0)
        seen = logtxn_root(t).tag;
    if (r == 0 && t->writes_len)
        r = logtxn_append(t, &sequence);
    logtxn_end(&t);
    *txn = NULL;
    if (r == 0 && sequence)
        r = commit_wait(log, sequence);
    if (r)
        return r;
    *out_revision = sequence ? sequence : seen;
    if (sequence && (sequence % LOGTXN_LOOK == 0 || atomic_load_explicit(&log->upkeep, memory_order_relaxed)))
        policy_upkeep(log);
    return 0;
}
