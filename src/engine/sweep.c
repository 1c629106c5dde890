/* sweep.c: taking out what has expired, and the slices of background work.
 *
 * An expired record is not there for anybody from the moment it expires. The sweep writes the deletes that let its space go,
 * oldest first, found by the index of times; they are ordinary commits, so a clock that jumps back brings nothing back that
 * was swept.
 *
 * A store that is fed by increments is not swept: the deletes would be operations of its own, and it could not be brought
 * forward any more. Its source's sweeps come with the increments. */
#include "engine/lineage.h"

#define SWEEP_BATCH 1000u

/* Collect up to limit expired keys. State held. */
static int sweep_collect(struct log *log, int64_t now, size_t limit, struct frame_op *ops, struct buf *bytes, size_t *out_n)
{
    struct tree_root root = tree_working(log->expiry), index = tree_working(log->index);
    size_t n = 0;
    *out_n = 0;
    if (lineage_standby(log))
        return 0;
    struct tree_cursor *c = os_alloc(sizeof *c);
    if (!c)
        return KIST_ENOMEM;
    tree_cursor_init(c, &root);
    for (bool more = tree_cursor_seek(c, "", 0); more && n < limit; more = tree_cursor_next(c)) {
        struct entry e;
        size_t len = 0;
        if (bytes_get64be(c->key) > (uint64_t)now)
            break;
        const uint8_t *p = tree_find(&index, c->key + 8, c->key_len - 8, &len);
        if (!p || !entry_decode(p, len, &e))
            continue;
        struct segment *s = table_find(log, e.segment);
        ops[n] = (struct frame_op){.kind = FRAME_DELETE,
                                   .bucket = bytes_get64be(c->key + 8),
                                   .shadow = (e.flags & ENTRY_OVER) || !s || s->gone ? 0 : e.segment,
                                   .key_len = (uint32_t)(c->key_len - 16)};
        buf_add(bytes, c->key + 16, c->key_len - 16);
        n++;
    }
    tree_cursor_done(c);
    os_free(c);
    *out_n = n;
    return buf_status(bytes);
}

/* One commit of up to limit deletes; *out_n = 0: nothing has expired. */
static int sweep_batch(struct log *log, size_t limit, uint64_t *io_sequence, size_t *out_n)
{
    struct frame_op *ops = os_alloc(SWEEP_BATCH * sizeof *ops);
    struct buf bytes;
    size_t at = 0;
    buf_init(&bytes, true);
    int r = ops ? writer_lock(log) : KIST_ENOMEM;
    if (r == 0) {
        (void)pthread_mutex_lock(&log->state);
        r = sweep_collect(log, os_now_ms(), limit, ops, &bytes, out_n);
        (void)pthread_mutex_unlock(&log->state);
        for (size_t i = 0; r == 0 && i < *out_n; i++) {
            ops[i].key = bytes.data + at;
            at += ops[i].key_len;
        }
        if (r == 0 && *out_n)
            r = commit_append(log, ops, *out_n, io_sequence);
        writer_unlock(log);
    }
    buf_done(&bytes);
    os_free(ops);
    return r;
}

int sweep_expired(struct engine *e, uint64_t limit, uint64_t *out_swept)
{
    struct log *log = log_of(e);
    uint64_t swept = 0, sequence = 0;
    size_t n = 1;
    int r = log_entered(log);
    while (r == 0 && n && (limit == 0 || swept < limit)) {
        size_t want = limit && limit - swept < SWEEP_BATCH ? (size_t)(limit - swept) : SWEEP_BATCH;
        r = sweep_batch(log, want, &sequence, &n);
        if (r == 0)
            swept += n;
    }
    if (r == 0 && sequence)
        r = commit_wait(log, sequence);
    if (r == 0)
        *out_swept = swept;
    return r;
}

/* Has anything expired that may be swept? A look at the first time. */
bool sweep_due(struct log *log)
{
    bool due = false;
    (void)pthread_mutex_lock(&log->state);
    struct tree_root root = tree_working(log->expiry);
    struct tree_cursor *c = root.count ? os_alloc(sizeof *c) : NULL;
    if (c) {
        tree_cursor_init(c, &root);
        due = tree_cursor_seek(c, "", 0) && bytes_get64be(c->key) <= (uint64_t)os_now_ms() && !lineage_standby(log);
    }
    (void)pthread_mutex_unlock(&log->state);
    tree_cursor_done(c);
    os_free(c);
    return due;
}

int sweep_snapshot(struct log *log, uint64_t keys)
{
    if (log->memory || atomic_load(&log->snapshot_work) < LOG_SNAPSHOT_WORK)
        return 0;
    int r = writer_lock(log);
    if (r)
        return r;
    (void)pthread_mutex_lock(&log->state);
    bool small = tree_working(log->index).count <= keys;
    (void)pthread_mutex_unlock(&log->state);
    if (small)
        r = snapshot_write(log, false);
    writer_unlock(log);
    return r;
}

int log_maintain(struct engine *e, int64_t budget_us, bool *out_more)
{
    struct log *log = log_of(e);
    uint64_t swept = 0;
    bool more = false;
    int r = log_entered(log);
    if (r == 0 && log->read_only)
        r = KIST_EREADONLY;
    if (r == 0 && sweep_due(log))
        r = sweep_expired(e, SWEEP_BATCH, &swept);
    if (r == 0)
        r = policy_step(log, budget_us, &more);
    if (r == 0 && !more)
        r = sweep_snapshot(log, UINT64_MAX);
    if (r == 0)
        *out_more = more || swept == SWEEP_BATCH;
    return r;
}
