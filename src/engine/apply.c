/* apply.c: what a frame's operations do to the index and to the accounts of the segments.
 *
 * Own commits and those of others come through here alike, so that a store that was followed, replayed or written is the
 * same store. In the order of the log a later operation simply wins. While a whole log is replayed, compacted segments make
 * revisions come in any order; then the larger revision wins, and deletes stay in the index as tombstones until
 * apply_settle(), because an older put may still come.
 *
 * The accounts say for each segment what of it is still in use. A delete names its shadow: the segment with the only dead
 * copy of the record, so that it is known when the delete itself is no longer needed; 0 says that there may be several. A
 * record remembers (ENTRY_OVER) that dead copies of it may lie elsewhere. */
#include "engine/log.h"

#include <assert.h>

#define APPLY_WARM_KEY 136 /* bytes; longer keys are not fetched ahead */

size_t log_index_key(uint64_t bucket, struct kist_bytes key, uint8_t out[LOG_INDEX_KEY])
{
    assert(key.len <= KIST_KEY_MAX);
    bytes_put64be(out, bucket);
    if (key.len)
        memcpy(out + 8, key.ptr, key.len);
    return 8 + key.len;
}

/* -- accounts -- */

static void apply_account(struct log *log, struct segment *s, const struct entry *e, size_t index_key_len)
{
    uint64_t weight = entry_weight(index_key_len - 8, e->len);
    s->live_bytes += weight;
    s->live_count++;
    log->live_bytes += weight;
}

void apply_unaccount(struct log *log, const struct entry *e, size_t index_key_len)
{
    struct segment *s = table_find(log, e->segment);
    uint64_t weight = entry_weight(index_key_len - 8, e->len);
    assert(s && s->live_count > 0 && s->live_bytes >= weight && log->live_bytes >= weight);
    s->live_bytes -= weight;
    s->live_count--;
    log->live_bytes -= weight;
    if (s->live_count == 0)
        atomic_store_explicit(&log->upkeep, 1, memory_order_relaxed);
}

/* -- the index by time -- */

static size_t apply_expiry_key(int64_t expires_ms, const uint8_t *index_key, size_t n, uint8_t *out)
{
    bytes_put64be(out, (uint64_t)expires_ms);
    memcpy(out + 8, index_key, n);
    return n + 8;
}

static int apply_expiry_add(struct log *log, int64_t expires_ms, const uint8_t *index_key, size_t n)
{
    uint8_t key[8 + LOG_INDEX_KEY];
    int r = tree_put(log->expiry, key, apply_expiry_key(expires_ms, index_key, n, key), "", 0, NULL, NULL);
    os_wipe(key, n + 8);
    return r;
}

static int apply_expiry_drop(struct log *log, int64_t expires_ms, const uint8_t *index_key, size_t n)
{
    uint8_t key[8 + LOG_INDEX_KEY];
    int r = tree_delete(log->expiry, key, apply_expiry_key(expires_ms, index_key, n, key), NULL, NULL);
    os_wipe(key, n + 8);
    return r;
}

/* An entry has left the index. */
static int apply_leave(struct log *log, const struct entry *e, const uint8_t *index_key, size_t n)
{
    if (e->flags & (ENTRY_TOMB | ENTRY_DROP))
        return 0;
    struct segment *s = table_find(log, e->segment);
    if (s && s->compacting)
        compact_died(log, e, index_key, n);
    apply_unaccount(log, e, n);
    return e->expires_ms ? apply_expiry_drop(log, e->expires_ms, index_key, n) : 0;
}

/* -- operations -- */

static bool apply_find(struct log *log, const uint8_t *index_key, size_t n, struct entry *out)
{
    struct tree_root root = tree_working(log->index);
    size_t len = 0;
    const uint8_t *p = tree_find(&root, index_key, n, &len);
    if (!p)
        return false;
    bool good = entry_decode(p, len, out);
    assert(good);
    return true;
}

/* Put e in; *out_old says what was there before (revision 0: nothing). */
static int apply_store(struct log *log, const uint8_t *index_key, size_t n, const struct entry *e, struct entry *out_old)
{
    uint8_t payload[ENTRY_MAX], old[TREE_PAYLOAD_MAX];
    size_t old_len = SIZE_MAX;
    int r = tree_put(log->index, index_key, n, payload, entry_encode(e, payload), old, &old_len);
    if (r)
        return r;
    *out_old = (struct entry){0};
    if (old_len != SIZE_MAX) {
        bool good = entry_decode(old, old_len, out_old);
        assert(good);
    }
    return 0;
}

static int apply_put(struct log *log, struct segment *s, uint64_t frame, const struct frame_op *op, const uint8_t *key, size_t n)
{
    struct entry old, e = {.flags = op->type,
                           .segment = (uint32_t)s->number,
                           .frame = (uint32_t)frame,
                           .delta = op->delta,
                           .len = op->len,
                           .tag4 = bytes_get32(op->tag),
                           .revision = op->revision,
                           .expires_ms = op->expires_ms};
    s->put_count++;
    if (log->replaying && apply_find(log, key, n, &old) && old.revision >= e.revision) {
        if (old.revision == e.revision || (old.flags & ENTRY_TOMB) || old.segment == e.segment)
            return 0;
        old.flags |= ENTRY_OVER;
        return apply_store(log, key, n, &old, &old);
    }
    int r = apply_store(log, key, n, &e, &old);
    if (r)
        return r;
    bool was = old.revision && !(old.flags & ENTRY_TOMB);
    apply_account(log, s, &e, n);
    if (old.revision && (old.segment != e.segment || (old.flags & ENTRY_OVER))) {
        struct entry same;
        e.flags |= ENTRY_OVER;
        r = apply_store(log, key, n, &e, &same);
        if (r)
            return r;
    }
    if (op->bucket == ENGINE_CATALOG && op->revision > log->catalog_revision)
        log->catalog_revision = op->revision;
    r = was ? apply_leave(log, &old, key, n) : 0;
    return r == 0 && e.expires_ms ? apply_expiry_add(log, e.expires_ms, key, n) : r;
}

/* Remember in s what the delete guards against. */
int apply_guard(struct log *log, struct segment *s, const struct frame_op *op)
{
    (void)log;
    s->delete_bytes += (uint64_t)op->key_len + 8;
    if (op->shadow == 0) {
        s->many_count++;
        if (op->revision > s->many_newest)
            s->many_newest = op->revision;
        return 0;
    }
    return op->shadow == s->number ? 0 : segment_guard_add(s, op->shadow);
}

static int apply_delete(struct log *log, struct segment *s, const struct frame_op *op, const uint8_t *key, size_t n)
{
    uint8_t payload[TREE_PAYLOAD_MAX];
    struct entry old = {0};
    int r = apply_guard(log, s, op);
    if (r)
        return r;
    if (op->bucket == ENGINE_CATALOG && op->revision > log->catalog_revision)
        log->catalog_revision = op->revision;
    if (log->replaying) {
        struct entry e = {.flags = ENTRY_TOMB, .segment = (uint32_t)s->number, .revision = op->revision};
        /* A delete kills what is as old as itself too: compaction cancels a record it has copied that way. */
        if (apply_find(log, key, n, &old) &&
            (old.revision > e.revision || (old.revision == e.revision && (old.flags & ENTRY_TOMB))))
            return 0;
        r = apply_store(log, key, n, &e, &old);
        log->tombs++;
    } else {
        size_t len = SIZE_MAX;
        r = tree_delete(log->index, key, n, payload, &len);
        if (r == 0 && len != SIZE_MAX) {
            bool good = entry_decode(payload, len, &old);
            assert(good);
        }
    }
    if (r || !old.revision)
        return r;
    return apply_leave(log, &old, key, n);
}

static int apply_purge_later(struct log *log, uint64_t bucket)
{
    uint64_t *p = array_room(log->purges, log->purges_len, &log->purges_cap, sizeof *p);
    if (!p)
        return KIST_ENOMEM;
    log->purges = p;
    log->purges[log->purges_len++] = bucket;
    atomic_store_explicit(&log->upkeep, 1, memory_order_relaxed);
    return 0;
}

/* A dropped bucket keeps one entry, under its empty key. */
static int apply_drop(struct log *log, struct segment *s, const struct frame_op *op, const uint8_t *key, size_t n)
{
    struct entry old, e = {.flags = ENTRY_DROP, .segment = (uint32_t)s->number, .revision = op->revision};
    if (op->bucket == ENGINE_CATALOG)
        return KIST_ECORRUPT;
    s->drop_count++;
    int r = apply_store(log, key, n, &e, &old);
    if (r)
        return r;
    if (op->revision > log->catalog_revision)
        log->catalog_revision = op->revision;
    if (old.revision)
        return 0;
    log->drops++;
    return apply_purge_later(log, op->bucket);
}

int apply_op(struct log *log, struct segment *s, uint64_t frame, const struct frame_op *op)
{
    uint8_t key[LOG_INDEX_KEY];
    size_t n = log_index_key(op->bucket, (struct kist_bytes){op->key, op->kind == FRAME_DROP ? 0 : op->key_len}, key);
    int r = op->kind == FRAME_PUT      ? apply_put(log, s, frame, op, key, n)
            : op->kind == FRAME_DELETE ? apply_delete(log, s, op, key, n)
                                       : apply_drop(log, s, op, key, n);
    os_wipe(key, n);
    if (op->revision > log->newest)
        log->newest = op->revision;
    if (r == 0 && !log->replaying)
        changes_add(log->changes, op);
    return r;
}

/* Fetch the ways to the keys of the next operations from memory, all side by side. */
void apply_warm(struct log *log, const struct frame_op *ops, size_t n)
{
    uint8_t bytes[TREE_WARM_MAX][APPLY_WARM_KEY];
    struct tree_key keys[TREE_WARM_MAX];
    struct tree_root root = tree_working(log->index);
    size_t len = 0;
    for (size_t i = 0; i < n && i < TREE_WARM_MAX; i++) {
        if (ops[i].kind == FRAME_DROP || ops[i].key_len + 8 > APPLY_WARM_KEY)
            continue;
        bytes_put64be(bytes[len], ops[i].bucket);
        memcpy(bytes[len] + 8, ops[i].key, ops[i].key_len);
        keys[len] = (struct tree_key){bytes[len], ops[i].key_len + 8};
        len++;
    }
    if (len > 1)
        tree_warm(&root, keys, len);
    os_wipe(bytes, sizeof bytes);
}

/* -- cleaning -- */

/* Take out up to limit entries of a dropped bucket; *out_done when none is left. */
static int apply_purge_bucket(struct log *log, uint64_t bucket, size_t *io_limit, bool *out_done)
{
    struct tree_cursor *c = os_alloc(sizeof *c);
    uint8_t first[9];
    int r = 0;
    if (!c)
        return KIST_ENOMEM;
    bytes_put64be(first, bucket);
    first[8] = 0;
    *out_done = false;
    while (r == 0 && *io_limit > 0 && !*out_done) {
        struct tree_root root = tree_working(log->index);
        struct entry e;
        tree_cursor_init(c, &root);
        if (!tree_cursor_seek(c, first, 9) || bytes_get64be(c->key) != bucket) {
            *out_done = true;
            break;
        }
        bool good = entry_decode(c->payload, c->payload_len, &e);
        assert(good);
        r = tree_delete(log->index, c->key, c->key_len, NULL, NULL);
        if (r == 0)
            r = apply_leave(log, &e, c->key, c->key_len);
        (*io_limit)--;
    }
    tree_cursor_done(c);
    os_free(c);
    return r;
}

int apply_purge(struct log *log, size_t limit)
{
    while (log->purges_len && limit) {
        bool done = false;
        int r = apply_purge_bucket(log, log->purges[log->purges_len - 1], &limit, &done);
        if (r)
            return r;
        if (done)
            log->purges_len--;
    }
    return 0;
}

int apply_settle(struct log *log)
{
    int r = 0;
    if (log->tombs == 0)
        return apply_purge(log, SIZE_MAX);
    struct tree_cursor *c = os_alloc(sizeof *c);
    if (!c)
        return KIST_ENOMEM;
    struct tree_root root = tree_working(log->index);
    tree_cursor_init(c, &root);
    for (bool more = tree_cursor_seek(c, "", 0); more && r == 0;) {
        if (!(c->payload[0] & ENTRY_TOMB)) {
            more = tree_cursor_next(c);
            continue;
        }
        uint8_t key[LOG_INDEX_KEY];
        size_t n = c->key_len;
        memcpy(key, c->key, n);
        r = tree_delete(log->index, key, n, NULL, NULL);
        root = tree_working(log->index);
        tree_cursor_init(c, &root);
        more = tree_cursor_seek(c, key, n);
        os_wipe(key, n);
    }
    tree_cursor_done(c);
    os_free(c);
    log->tombs = 0;
    return r ? r : apply_purge(log, SIZE_MAX);
}

static void apply_clear_segment(struct segment *s)
{
    s->live_bytes = s->live_count = s->put_count = s->delete_bytes = s->many_count = s->many_newest = s->drop_count = 0;
    s->guards_len = 0;
}

void apply_clear(struct log *log)
{
    const struct log_table *t = atomic_load(&log->table);
    tree_reset(log->index);
    tree_reset(log->expiry);
    for (size_t i = 0; t && i < t->len; i++) {
        if (t->slot[i])
            apply_clear_segment(t->slot[i]);
    }
    log->live_bytes = log->drops = log->catalog_revision = log->tombs = log->newest = 0;
    log->purges_len = log->moves_len = 0;
    log->moves_offset = 0;
}
