/* follow.c: reading the log, frame by frame.
 *
 * Each process has an index of its own and brings it up to date from the log: before a read, when the shared page says that
 * there is something new; before a write, with the writer lock held; at open, from a snapshot or from the start. A frame
 * counts when its header's check, its place in the chain and its seal are right, and not before.
 *
 * A SWITCH (compaction) takes segments out of the store. Their entries stay good as long as this process keeps the files
 * open, so looking the records up in their new place can wait: follow_moves() does it in slices, and the old files are let
 * go when it is through. */
#include "engine/log.h"

#include <assert.h>

#define FOLLOW_CHUNK_MIN (4u << 10)
#define FOLLOW_CHUNK_MAX (1u << 20)
#define FOLLOW_PATIENCE_US 1000000 /* with who holds the gate of a handle that failed */

/* -- walking -- */

void follow_walk_init(struct follow_walk *w, struct log *log, struct segment *s, uint64_t offset, const uint8_t tag[SEAL_TAG])
{
    *w = (struct follow_walk){.log = log, .s = s, .offset = offset, .chunk = FOLLOW_CHUNK_MIN};
    memcpy(w->tag, tag, SEAL_TAG);
    buf_init(&w->buffer, true);
}

void follow_walk_done(struct follow_walk *w)
{
    buf_done(&w->buffer);
}

/* Have n bytes at w->offset in the buffer: 1, 0 when the file ends before, or an error. */
static int follow_fill(struct follow_walk *w, size_t n)
{
    size_t got = 0;
    if (w->offset >= w->buffer_at && w->offset + n <= w->buffer_at + w->buffer.len)
        return 1;
    size_t want = w->limit > w->offset && w->limit - w->offset < w->chunk ? (size_t)(w->limit - w->offset) : w->chunk;
    want = n > want ? n : want;
    w->chunk = w->chunk < FOLLOW_CHUNK_MAX ? w->chunk * 2 : w->chunk;
    w->buffer.len = 0;
    uint8_t *p = buf_reserve(&w->buffer, want);
    if (!p)
        return KIST_ENOMEM;
    int r = segment_read_some(w->s, w->offset, p, want, &got);
    if (r)
        return r;
    w->buffer.len = got;
    w->buffer_at = w->offset;
    return got >= n;
}

static bool follow_zeros(const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (p[i])
            return false;
    }
    return true;
}

/* Is the last byte of the frame at w->offset in the file at all? Its values are not read here. */
static int follow_whole(struct follow_walk *w, uint32_t len)
{
    uint8_t last;
    size_t got = 0;
    if (w->offset + len <= w->known_end || w->offset + len <= w->buffer_at + w->buffer.len)
        return 0;
    int r = segment_read_some(w->s, w->offset + len - 1, &last, 1, &got);
    if (r == 0 && got == 0)
        r = KIST_ECORRUPT;
    if (r == KIST_EIO && w->log->salvage)
        r = 0; /* only the values there are lost */
    if (r == 0)
        w->known_end = w->offset + len;
    return r;
}

int follow_walk_next(struct follow_walk *w)
{
    struct frame_context c = log_context(w->log, w->s);
    if (w->limit && w->offset >= w->limit)
        return 0;
    int r = follow_fill(w, FRAME_HEADER);
    if (r < 0)
        return r;
    const uint8_t *p = w->buffer.data + (w->offset - w->buffer_at);
    if (r == 0)
        return follow_zeros(w->buffer.data, w->buffer.len) ? 0 : KIST_ECORRUPT;
    if (!frame_header_read(&c, p, &w->header))
        return follow_zeros(p, FRAME_HEADER) ? 0 : KIST_ECORRUPT;
    r = follow_fill(w, (size_t)FRAME_HEADER + w->header.ops_len);
    if (r <= 0)
        return r ? r : KIST_ECORRUPT;
    r = follow_whole(w, w->header.len);
    if (r)
        return r;
    uint8_t *frame = w->buffer.data + (w->offset - w->buffer_at);
    r = frame_open(&c, frame, &w->header, w->tag, frame + FRAME_HEADER);
    if (r)
        return r;
    w->frame = frame;
    w->at = w->offset;
    w->offset += w->header.len;
    memcpy(w->tag, w->header.tag, SEAL_TAG);
    return 1;
}

int follow_values(struct follow_walk *w)
{
    struct frame_context c = log_context(w->log, w->s);
    struct frame_reader reader;
    struct frame_op op;
    struct buf value;
    int r = 0;
    if (w->header.kind != FRAME_COMMIT)
        return 0;
    buf_init(&value, true);
    frame_read(&reader, &w->header, w->frame + FRAME_HEADER);
    while ((r = frame_read_next(&reader, &op)) == 1) {
        if (op.kind != FRAME_PUT)
            continue;
        value.len = 0;
        uint8_t *p = buf_grow(&value, (size_t)op.len + SEAL_TAG);
        r = p ? segment_read(w->s, w->at + op.delta, p, (size_t)op.len + SEAL_TAG) : KIST_ENOMEM;
        if (r == 0 && memcmp(p + op.len, op.tag, SEAL_TAG))
            r = KIST_ECORRUPT;
        if (r == 0)
            r = frame_value_open(&c, w->header.nonce, op.delta, op.revision, p, op.len, op.tag, p);
        if (r)
            break;
    }
    buf_done(&value);
    return r;
}

/* -- applying frames -- */

int follow_capture(struct log *log)
{
    uint64_t aux[TREE_AUX] = {0};
    aux[LOG_AUX_CATALOG] = log->catalog_revision;
    aux[LOG_AUX_DROPS] = log->drops;
    return tree_capture(log->index, log->at.sequence, aux);
}

int follow_moves_room(struct log *log)
{
    struct segment **m = array_room(log->moves, log->moves_len, &log->moves_cap, sizeof(struct segment *));
    if (!m)
        return KIST_ENOMEM;
    log->moves = m;
    return 0;
}

/* A SWITCH being applied. */
struct follow_switch {
    struct log *log;
    uint64_t sequence;
};

static int follow_added(const struct manifest_row *row, void *ctx)
{
    struct log *log = ((struct follow_switch *)ctx)->log;
    struct segment *s = NULL;
    if (table_find(log, row->number))
        return 0; /* we made it ourselves, or recovery knows it from a later list */
    int r = follow_moves_room(log);
    if (r == 0)
        r = table_open(log, row->number, &s);
    if (r ==
        KIST_ENOSTORE) { /* replaced again since, as a later SWITCH says; the old places stay good as long as they are open */
        log->skips++;
        return 0;
    }
    if (r)
        return r;
    s->first_sequence = row->first_sequence;
    s->last_sequence = row->last_sequence;
    s->end = row->end;
    memcpy(s->last_tag, row->tag, SEAL_TAG);
    if (s->kind == SEGMENT_COMPACTED)
        s->birth = row->birth; /* known at the switch only */
    if (s->kind != row->kind || s->generation != row->generation || s->birth != row->birth)
        r = KIST_ECORRUPT;
    if (r == 0)
        r = table_add(log, s);
    if (r) {
        segment_free(&s);
        return r;
    }
    log->moves[log->moves_len++] = s;
    atomic_store_explicit(&log->upkeep, 1, memory_order_relaxed);
    return 0;
}

static int follow_removed(uint64_t number, void *ctx)
{
    const struct follow_switch *f = ctx;
    struct segment *s = table_find(f->log, number);
    if (s && !s->gone) {
        s->gone = true;
        s->gone_at = f->sequence;
        f->log->segment_bytes -= s->end;
    }
    return 0;
}

/* The active segment has ended: go on in the next one, if its file is there already. */
static int follow_end(struct log *log)
{
    log->ended = true;
    log->active->end = log->at.offset;
    log->active->last_sequence = log->at.sequence;
    memcpy(log->active->last_tag, log->at.tag, SEAL_TAG);
    return 0;
}

int follow_frame(struct log *log, struct segment *s, uint64_t offset, const struct frame_header *h, const uint8_t *ops)
{
    struct frame_reader reader;
    struct frame_op op;
    struct follow_switch f = {.log = log, .sequence = h->sequence};
    uint64_t work = 1;
    int r = 0;
    /* While loading the set of segments is what the newest list says: a number in an older one may be that of another segment. */
    if (h->kind == FRAME_SWITCH && !log->replaying && !log->loading)
        return manifest_decode(ops, h->ops_len, follow_added, follow_removed, &f);
    if (h->kind != FRAME_COMMIT)
        return 0;
    frame_read(&reader, h, ops);
    while ((r = frame_read_next(&reader, &op)) == 1) {
        r = apply_op(log, s, offset, &op);
        if (r)
            break;
        work++;
    }
    atomic_fetch_add_explicit(&log->snapshot_work, work, memory_order_relaxed);
    return r;
}

static void follow_advance(struct log *log, const struct frame_header *h)
{
    log->at.offset += h->len;
    log->at.sequence = h->sequence;
    memcpy(log->at.tag, h->tag, SEAL_TAG);
    log->segment_bytes += h->len;
    log->active->end = log->at.offset;
    log->active->last_sequence = h->sequence;
    memcpy(log->active->last_tag, h->tag, SEAL_TAG);
}

/* Enter the segment that END announced. KIST_ENOSTORE: its maker died before it was there. */
static int follow_enter(struct log *log)
{
    struct segment *s = NULL;
    struct follow_walk w;
    int r = table_open(log, log->next_segment, &s);
    if (r)
        return r;
    follow_walk_init(&w, log, s, SEGMENT_HEADER, (const uint8_t[SEAL_TAG]){0});
    r = follow_walk_next(&w);
    if (r == 1 && (w.header.kind != FRAME_MANIFEST || w.header.sequence != log->at.sequence + 1))
        r = KIST_ECORRUPT;
    follow_walk_done(&w);
    s->first_sequence = log->at.sequence + 1;
    r = r == 1 ? table_add(log, s) : r == 0 ? KIST_ECORRUPT : r;
    if (r) {
        segment_free(&s);
        return r;
    }
    log->active = s;
    log->ended = false;
    log->at.segment = s->number;
    log->at.offset = SEGMENT_HEADER;
    memset(log->at.tag, 0, SEAL_TAG);
    return 0;
}

static int follow_one(struct log *log, struct follow_walk *w, uint64_t upto)
{
    int r = follow_walk_next(w);
    if (r == 1 && w->header.sequence != log->at.sequence + 1)
        r = KIST_ECORRUPT;
    if (r == 1 && upto == UINT64_MAX && w->header.sequence > atomic_load(&log->shared.page->appended)) {
        int whole = follow_values(w); /* its writer may have died in the middle of it: zeros were there before */
        r = whole ? whole : 1;
    }
    if (r != 1)
        return r == KIST_ECORRUPT && upto == UINT64_MAX ? 0 : r;
    r = follow_frame(log, w->s, w->at, &w->header, w->frame + FRAME_HEADER);
    if (r)
        return r;
    follow_advance(log, &w->header);
    log->unmarked = w->header.kind != FRAME_MARK;
    if (w->header.kind == FRAME_END) {
        struct bytes_in in = bytes_in_init(w->frame + FRAME_HEADER, w->header.ops_len);
        log->next_segment = bytes_in_u64(&in);
        if (in.bad)
            return KIST_ECORRUPT;
        r = follow_end(log);
    }
    /* A writer reads frames that are not durable yet; what becomes visible next may end with any of them. */
    if (r == 0 && !log->loading && w->header.sequence < upto && w->header.sequence >= atomic_load(&log->shared.page->visible))
        r = follow_capture(log);
    return r ? r : 1;
}

/* The rest of the active segment. 1: it ended, go on in the next. */
static int follow_segment(struct log *log, uint64_t upto)
{
    struct follow_walk w;
    int r = 1;
    follow_walk_init(&w, log, log->active, log->at.offset, log->at.tag);
    w.limit = log->follow_limit;
    while (log->at.sequence < upto && !log->ended && r == 1)
        r = follow_one(log, &w, upto);
    follow_walk_done(&w);
    return r;
}

int follow_to(struct log *log, uint64_t upto)
{
    int r = 1;
    uint64_t before = log->at.sequence;
    log->active->allocated = 0;
    while (r == 1 && log->at.sequence < upto) {
        if (log->ended) {
            r = follow_enter(log);
            if (r == KIST_ENOSTORE && upto == UINT64_MAX)
                r = 0;
            else if (r == 0)
                r = 1;
            else if (r == KIST_ENOSTORE && !log->loading)
                return recover_again(log, upto);
            continue;
        }
        r = follow_segment(log, upto);
    }
    if (r == 0 && upto != UINT64_MAX && log->at.sequence < upto)
        r = KIST_ECORRUPT;
    if (r < 0) {
        if (r != KIST_EIO && r != KIST_EFDS)
            log->broken = true;
        return error_set(log->base.detail, r, "segment %012llu.log at offset %llu: %s", (unsigned long long)log->at.segment,
                         (unsigned long long)log->at.offset,
                         r == KIST_ECORRUPT ? "a frame that was written is missing or damaged" : "cannot be read");
    }
    return log->at.sequence != before ? follow_capture(log) : 0;
}

/* Does nobody have the store open for writing? */
static bool follow_alone(struct log *log)
{
    bool held = true;
    return shared_held(&log->shared, SHARED_PRESENCE, &held) == 0 && !held;
}

void follow_publish(struct log *log, uint64_t visible)
{
    tree_publish(log->index, log->written && visible > log->written ? log->written : visible);
}

int follow_durable(struct log *log)
{
    uint64_t visible = atomic_load_explicit(&log->shared.page->visible, memory_order_acquire);
    int r = 0;
    if (log->salvaged)
        return 0;
    if (log->broken) {
        follow_publish(log, visible);
        if (visible <= tree_published_tag(log->index))
            return 0;
        return error_set(log->base.detail, KIST_EFAILED, "the index of this handle is unusable and has to be loaded again");
    }
    if (visible > log->at.sequence)
        r = follow_to(log, visible);
    if (r == KIST_ECORRUPT && log->read_only && follow_alone(log)) {
        log->broken = false; /* nobody is there who could have appended: the page is old or damaged, the log is not */
        r = 0;
    }
    follow_publish(log, visible);
    return r;
}

/* Publish what is visible. After a load beyond it there is no root to show, and what was loaded is made durable, so that it is
 * visible, too: its writer may be dead. Without the gate: readers do not wait for who holds it. KIST_EFAILED. */
static int follow_show(struct log *log)
{
    struct tree_snap hold; /* keeps the segment while it is synced */
    int r = 0;
    (void)pthread_mutex_lock(&log->state);
    uint64_t visible = atomic_load(&log->shared.page->visible), target = log->loaded;
    struct segment *s = log->active->number == log->loaded_segment ? log->active : NULL;
    follow_publish(log, visible);
    bool shown = tree_published_tag(log->index) >= visible;
    if (!shown)
        r = tree_snap_take(log->index, &hold);
    (void)pthread_mutex_unlock(&log->state);
    if (shown || r)
        return r;
    r = commit_show(log, s, target) ? KIST_EFAILED : 0;
    (void)pthread_mutex_lock(&log->state);
    follow_publish(log, atomic_load(&log->shared.page->visible));
    shown = tree_published_tag(log->index) >= visible;
    (void)pthread_mutex_unlock(&log->state);
    tree_snap_drop(log->index, &hold);
    if (r == 0 && !shown)
        r = error_set(log->base.detail, KIST_EFAILED, "a write failed meanwhile: try again");
    return r;
}

/* A handle that may write loads the index as a writer: commits of its own may be pending. */
static int follow_load_as_writer(struct log *log)
{
    int r = writer_lock(log);
    if (r)
        return r;
    r = follow_show(log);
    writer_unlock(log);
    return r;
}

/* A load takes ended segments whole, beyond what is visible: all of that was synced. */
static int follow_load_visible(struct log *log)
{
    struct shared_page *page = log->shared.page;
    uint64_t visible = atomic_load(&page->visible);
    int r = 0;
    if (visible <= tree_published_tag(log->index))
        return 0;
    if (log->broken || log->loaded < visible || log->loaded > atomic_load(&page->durable)) {
        log->pending.len = 0; /* of a handle that failed: never written */
        r = recover_again(log, visible);
    }
    if (r)
        return r;
    tree_publish(log->index, log->loaded <= atomic_load(&page->durable) && log->loaded > visible ? log->loaded : visible);
    return visible <= tree_published_tag(log->index)
               ? 0
               : error_set(log->base.detail, KIST_EBUSY,
                           "what is visible cannot be told from what is not durable yet: try again");
}

/* The same for a handle that cannot write, or cannot any more. Then an exclusive transaction may still be open: it looks at the
 * working root. */
static int follow_load_as_reader(struct log *log)
{
    if (!log->read_only && !gate_lock(&log->gate, FOLLOW_PATIENCE_US))
        return error_set(log->base.detail, KIST_EBUSY, "a write failed, and an exclusive transaction is still open: end it");
    (void)pthread_mutex_lock(&log->state);
    int r = follow_load_visible(log);
    (void)pthread_mutex_unlock(&log->state);
    if (!log->read_only)
        writer_unlock(log);
    return r;
}

int follow_fresh(struct log *log)
{
    uint64_t visible = atomic_load_explicit(&log->shared.page->visible, memory_order_acquire);
    if (visible <= tree_published_tag(log->index))
        return 0;
    (void)pthread_mutex_lock(&log->state);
    int r = follow_durable(log);
    bool broken = log->broken, last = log->salvaged || log->at.sequence < visible;
    (void)pthread_mutex_unlock(&log->state);
    if (visible <= tree_published_tag(log->index) || (!broken && (r || last)))
        return r;
    if (!log->read_only && !atomic_load(&log->failed)) {
        r = broken ? follow_load_as_writer(log) : follow_show(log);
        if (r != KIST_EFAILED || !atomic_load(&log->failed))
            return r;
    }
    return follow_load_as_reader(log);
}

/* -- moves -- */

/* The entry that points to this record's old place gets the new one. */
static int follow_move_at(struct log *log, struct segment *s, uint64_t frame, const struct frame_op *op, const uint8_t *key,
                          size_t n)
{
    size_t len = 0;
    struct tree_root root = tree_working(log->index);
    const uint8_t *p = tree_find(&root, key, n, &len);
    struct entry e;
    if (!p || !entry_decode(p, len, &e) || e.revision != op->revision || e.segment == s->number ||
        (e.flags & (ENTRY_TOMB | ENTRY_DROP)))
        return 0;
    apply_unaccount(log, &e, n);
    e.segment = (uint32_t)s->number;
    e.frame = (uint32_t)frame;
    e.delta = op->delta;
    e.tag4 = bytes_get32(op->tag);
    s->live_bytes += entry_weight(n - 8, e.len);
    s->live_count++;
    log->live_bytes += entry_weight(n - 8, e.len);
    uint8_t payload[ENTRY_MAX];
    return tree_put(log->index, key, n, payload, entry_encode(&e, payload), NULL, NULL);
}

static int follow_move(struct log *log, struct segment *s, uint64_t frame, const struct frame_op *op)
{
    uint8_t key[LOG_INDEX_KEY];
    size_t n = log_index_key(op->bucket, (struct kist_bytes){op->key, op->key_len}, key);
    int r = follow_move_at(log, s, frame, op, key, n);
    os_wipe(key, n);
    return r;
}

static int follow_move_frame(struct log *log, struct follow_walk *w, size_t *io_limit)
{
    struct frame_reader reader;
    struct frame_op op;
    int r = 0;
    frame_read(&reader, &w->header, w->frame + FRAME_HEADER);
    while ((r = frame_read_next(&reader, &op)) == 1) {
        if (op.kind == FRAME_PUT) {
            w->s->put_count++;
            r = follow_move(log, w->s, w->at, &op);
        } else if (op.kind == FRAME_DELETE)
            r = apply_guard(log, w->s, &op);
        else
            w->s->drop_count++;
        if (r < 0)
            return r;
        if (*io_limit)
            (*io_limit)--;
    }
    return r;
}

/* The segments that were replaced hold nothing any more that the index needs. */
static int follow_moved(struct log *log)
{
    const struct log_table *t = atomic_load(&log->table);
    size_t len = t->len;
    struct segment **gone = os_alloc(len * sizeof *gone);
    size_t n = 0;
    int r = 0;
    if (!gone)
        return KIST_ENOMEM;
    for (size_t i = 0; i < len; i++) {
        if (t->slot[i] && t->slot[i]->gone && !t->slot[i]->leaving && t->slot[i]->live_count == 0)
            gone[n++] = t->slot[i];
    }
    for (size_t i = 0; i < n && r == 0; i++)
        r = table_retire(log, gone[i]);
    os_free(gone);
    return r;
}

int follow_moves(struct log *log, size_t limit)
{
    int r = 0;
    while (log->moves_len && limit && r == 0) {
        struct segment *s = log->moves[0];
        struct follow_walk w;
        if (!log->moves_offset) {
            log->moves_offset = SEGMENT_HEADER;
            memset(log->moves_tag, 0, SEAL_TAG);
        }
        follow_walk_init(&w, log, s, log->moves_offset, log->moves_tag);
        w.limit = s->end;
        while (limit && (r = follow_walk_next(&w)) == 1) {
            r = follow_move_frame(log, &w, &limit);
            if (r)
                break;
            log->moves_offset = w.offset;
            memcpy(log->moves_tag, w.tag, SEAL_TAG);
        }
        bool done = w.offset >= s->end;
        follow_walk_done(&w);
        if (r < 0)
            break;
        if (done) {
            memmove(log->moves, log->moves + 1, --log->moves_len * sizeof(struct segment *));
            log->moves_offset = 0;
        }
        r = 0;
    }
    if (r) {
        log->broken = true;
        return r;
    }
    return log->moves_len ? 0 : follow_moved(log);
}
