/* compact.c: giving back the space of dead records.
 *
 * One compaction at a time in a store (SHARED_COMPACT). It walks the input segments, oldest birth first, and copies what is
 * live into a new segment, revisions kept, values resealed under the newest data key. That needs no lock but short looks at
 * the index; commits go on. Records that die meanwhile are remembered (compact_died) and cancelled at the end of the output,
 * so that everything in it is live at the SWITCH frame that puts it in the place of its inputs. That frame is the commit:
 * before it the output is a file nobody refers to, after it the inputs are. A crash anywhere leaves one or the other.
 *
 * A delete is copied as long as a segment that is not an input may hold a dead copy of its record: the one it names, or, if
 * there may be several, any that was born before it. Oldest first means that most need no copying.
 *
 * compact_step() is the policy, in slices: entries of dropped buckets, moves, segments with nothing live in them (no copying),
 * and copying once dead bytes exceed live ones by COMPACT_SLACK. */
#include "engine/compact.h"

#include <assert.h>

#define COMPACT_SLACK (UINT64_C(40) << 20)  /* bytes dead beyond live, before copying starts: P9 allows 64 MiB */
#define COMPACT_FRAME (256u << 10)          /* plaintext of one output frame */
#define COMPACT_FRAME_OPS 2000u
#define COMPACT_MOVES 2000u                 /* records a slice */
#define COMPACT_UPKEEP_US 2000              /* that a commit spends on it */
#define COMPACT_SETTLE 10000                /* slices at most, when a handle closes */
#define COMPACT_NAME "compact.tmp"

/* -- the batch: operations of the next output frame -- */

static int compact_batch_room(struct compact_batch *b)
{
    if (b->len < b->cap)
        return 0;
    size_t cap = b->cap ? b->cap * 2 : 256;
    struct compact_op *p = os_alloc(cap * sizeof *p);
    if (!p)
        return KIST_ENOMEM;
    if (b->len)
        memcpy(p, b->op, b->len * sizeof *p);
    os_free(b->op);
    b->op = p;
    b->cap = cap;
    return 0;
}

/* op with its key copied; the value, if any, is appended by the caller behind it. */
static int compact_batch_add(struct compact_batch *b, const struct frame_op *op)
{
    int r = compact_batch_room(b);
    if (r)
        return r;
    struct compact_op *to = &b->op[b->len];
    *to = (struct compact_op){.op = *op, .key_at = b->bytes.len};
    buf_add(&b->bytes, op->key, op->key_len);
    to->value_at = b->bytes.len;
    r = buf_status(&b->bytes);
    if (r == 0)
        b->len++;
    return r;
}

static int compact_batch_encode(struct log *log, struct compact_batch *b, struct segment *out, const struct frame_sizes *sizes,
                                struct buf *frame)
{
    struct frame_context c = log_context(log, out);
    struct frame_writer w;
    uint8_t *p = buf_grow(frame, (size_t)frame_size_total(sizes));
    if (!p)
        return KIST_ENOMEM;
    int r = frame_begin(&w, &c, p, sizes, FRAME_COMMIT, out->last_sequence + 1, 0);
    if (r)
        return r;
    for (size_t i = 0; i < b->len; i++)
        frame_add(&w, &b->op[i].op);
    frame_finish(&w, out->last_tag, out->last_tag);
    return 0;
}

/* Write what the batch has as one frame of out. */
int compact_batch_write(struct log *log, struct compact_batch *b, struct segment *out)
{
    struct frame_sizes sizes = {0};
    struct buf frame;
    if (b->len == 0)
        return 0;
    for (size_t i = 0; i < b->len; i++) {
        struct compact_op *o = &b->op[i];
        o->op.key = b->bytes.data + o->key_at;
        o->op.value = b->bytes.data + o->value_at;
        frame_size_add(&sizes, &o->op, out->last_sequence + 1);
    }
    uint64_t total = frame_size_total(&sizes);
    buf_init(&frame, false);
    int r = out->memory && out->end + total > out->capacity ? KIST_ENOSPC : 0;
    if (r == 0)
        r = compact_batch_encode(log, b, out, &sizes, &frame);
    if (r == 0)
        r = segment_write(out, out->end, frame.data, frame.len);
    if (r == 0) {
        out->end += total;
        out->last_sequence++;
    }
    buf_done(&frame);
    b->len = 0;
    b->bytes.len = 0;
    return r;
}

void compact_batch_done(struct compact_batch *b)
{
    os_free(b->op);
    buf_done(&b->bytes);
    *b = (struct compact_batch){0};
}

/* -- what is needed -- */

static bool compact_is_free(const struct segment *s, const struct log *log)
{
    return s && !s->gone && s != log->active && !s->compacting;
}

/* Is there a segment older than revision, other than s itself? */
static bool compact_older(const struct log *log, const struct segment *self, uint64_t revision)
{
    const struct log_table *t = atomic_load(&log->table);
    for (size_t i = 0; i < t->len; i++) {
        const struct segment *s = t->slot[i];
        if (s && !s->gone && s != self && s->birth < revision)
            return true;
    }
    return false;
}

/* Do its deletes still guard against anything? */
static bool compact_guards(const struct log *log, const struct segment *s)
{
    for (size_t i = 0; i < s->guards_len; i++) {
        const struct segment *g = table_find(log, s->guards[i].shadow);
        if (g && !g->gone)
            return true;
    }
    return s->many_count && compact_older(log, s, s->many_newest);
}

/* Segments that hold nothing anybody needs. */
static bool compact_is_empty(const struct log *log, const struct segment *s)
{
    return compact_is_free(s, log) && s->live_count == 0 && s->drop_count == 0 && !compact_guards(log, s);
}

/* -- starting and giving up -- */

static int compact_output(struct log *log, struct log_compaction *c)
{
    uint64_t room = 0;
    bool copies = false;
    (void)pthread_mutex_lock(&log->state);
    for (size_t i = 0; i < c->inputs_len; i++) {
        room += c->inputs[i]->end;
        copies = copies || !compact_is_empty(log, c->inputs[i]);
    }
    (void)pthread_mutex_unlock(&log->state);
    if (!copies) {
        c->next = c->inputs_len;
        return 0;
    }
    int r = writer_lock(log); /* for the number */
    if (r)
        return r;
    uint64_t number = shared_number(&log->shared);
    log->room_needed = room + (UINT64_C(1) << 20);
    r = log->memory ? 0 : os_unlink(log->dir, COMPACT_NAME);
    if (r == 0 || r == KIST_ENOSTORE)
        r = table_create(log, number, SEGMENT_COMPACTED, 0, COMPACT_NAME, 0, &c->out);
    log->room_needed = 0;
    writer_unlock(log);
    return r;
}

static void compact_free(struct log *log, struct log_compaction **out)
{
    struct log_compaction *c = *out;
    (void)pthread_mutex_lock(&log->state);
    for (size_t i = 0; i < c->inputs_len; i++)
        c->inputs[i]->compacting = false;
    log->compaction = NULL;
    (void)pthread_mutex_unlock(&log->state);
    if (c->out && !log->memory) {
        int r = os_unlink(log->dir, COMPACT_NAME);
        (void)r; /* not named yet: the next compaction or opener takes it away */
    }
    segment_free(&c->out);
    follow_walk_done(&c->walk);
    compact_batch_done(&c->batch);
    compact_batch_done(&c->cancels);
    os_free(c->inputs);
    os_free(c);
    *out = NULL;
    shared_unlock(&log->shared, SHARED_COMPACT);
}

static int compact_compare_birth(const void *a, const void *b)
{
    const struct segment *const *x = a, *const *y = b;
    return (*x)->birth < (*y)->birth ? -1 : (*x)->birth > (*y)->birth;
}

/* Compact these segments (inputs is taken over). SHARED_COMPACT is held and goes on failure. */
static int compact_start(struct log *log, struct segment **inputs, size_t n, struct log_compaction **out)
{
    struct log_compaction *c = os_calloc(sizeof *c);
    if (!c) {
        os_free(inputs);
        shared_unlock(&log->shared, SHARED_COMPACT);
        return KIST_ENOMEM;
    }
    c->inputs = inputs;
    c->inputs_len = n;
    buf_init(&c->batch.bytes, true);
    buf_init(&c->cancels.bytes, true);
    buf_init(&c->walk.buffer, true);
    qsort(inputs, n, sizeof(struct segment *), compact_compare_birth);
    int r = compact_output(log, c);
    (void)pthread_mutex_lock(&log->state);
    for (size_t i = 0; r == 0 && i < n; i++)
        inputs[i]->compacting = true;
    if (r == 0)
        log->compaction = c;
    (void)pthread_mutex_unlock(&log->state);
    if (r)
        compact_free(log, &c);
    else
        *out = c;
    return r;
}

void compact_died(struct log *log, const struct entry *e, const uint8_t *index_key, size_t n)
{
    struct log_compaction *c = log->compaction;
    if (!c || !c->out)
        return;
    struct frame_op op = {.kind = FRAME_DELETE,
                          .bucket = bytes_get64be(index_key),
                          .revision = e->revision,
                          .shadow = c->out->number,
                          .key = index_key + 8,
                          .key_len = (uint32_t)(n - 8)};
    if (compact_batch_add(&c->cancels, &op))
        c->failed = true; /* the output would lie: it is thrown away */
}

/* The index is loaded anew: what died meanwhile is not known. State held. */
void compact_lost(struct log *log)
{
    if (log->compaction)
        log->compaction->failed = true;
}

/* -- copying -- */

static bool compact_is_input(const struct log_compaction *c, const struct segment *s)
{
    for (size_t i = 0; i < c->inputs_len; i++) {
        if (c->inputs[i] == s)
            return true;
    }
    return false;
}

/* May a segment that stays hold a dead record that this operation keeps dead? State held. */
static bool compact_needed(struct log *log, const struct log_compaction *c, const struct frame_op *op)
{
    const struct log_table *t = atomic_load(&log->table);
    if (op->kind == FRAME_DROP)
        return true; /* for ever: handles to the bucket may be open anywhere, and its number must stay dead */
    if (op->shadow) {
        const struct segment *s = table_find(log, op->shadow);
        return s && !s->gone && !compact_is_input(c, s) && s != c->out;
    }
    for (size_t i = 0; i < t->len; i++) {
        const struct segment *s = t->slot[i];
        if (s && !s->gone && !compact_is_input(c, s) && s->birth < op->revision)
            return true;
    }
    return false;
}

/* Is this put what the index has? State held. */
static bool compact_live(struct log *log, const struct segment *s, uint64_t frame, const struct frame_op *op)
{
    uint8_t key[LOG_INDEX_KEY];
    size_t n = log_index_key(op->bucket, (struct kist_bytes){op->key, op->key_len}, key), len = 0;
    struct tree_root root = tree_working(log->index);
    struct entry e;
    const uint8_t *p = tree_find(&root, key, n, &len);
    return p && entry_decode(p, len, &e) && !(e.flags & (ENTRY_TOMB | ENTRY_DROP)) && e.segment == s->number &&
           e.frame == frame && e.delta == op->delta && e.revision == op->revision;
}

static int compact_copy_put(struct log *log, struct log_compaction *c, struct segment *s, const struct frame_op *op)
{
    struct frame_context context = log_context(log, s);
    int r = compact_batch_add(&c->batch, op);
    if (r)
        return r;
    uint8_t *value = buf_grow(&c->batch.bytes, (size_t)op->len + SEAL_TAG);
    if (!value)
        return KIST_ENOMEM;
    r = segment_read(s, c->walk.at + op->delta, value, (size_t)op->len + SEAL_TAG);
    if (r == 0 && memcmp(value + op->len, op->tag, SEAL_TAG))
        r = KIST_ECORRUPT;
    if (r == 0)
        r = frame_value_open(&context, c->walk.header.nonce, op->delta, op->revision, value, op->len, op->tag, value);
    c->batch.bytes.len -= SEAL_TAG;
    if (r == KIST_ECORRUPT)
        return error_set(log->base.detail, r, "segment %012llu.log: a value of the frame at offset %llu does not authenticate",
                         (unsigned long long)s->number, (unsigned long long)c->walk.at);
    return r;
}

static int compact_copy_frame(struct log *log, struct log_compaction *c)
{
    struct frame_reader reader;
    struct frame_op op;
    struct segment *s = c->walk.s;
    int r = 0;
    if (c->walk.header.kind != FRAME_COMMIT)
        return 0;
    frame_read(&reader, &c->walk.header, c->walk.frame + FRAME_HEADER);
    while ((r = frame_read_next(&reader, &op)) == 1) {
        (void)pthread_mutex_lock(&log->state);
        bool keep = op.kind == FRAME_PUT ? compact_live(log, s, c->walk.at, &op) : compact_needed(log, c, &op);
        (void)pthread_mutex_unlock(&log->state);
        if (keep)
            r = op.kind == FRAME_PUT ? compact_copy_put(log, c, s, &op) : compact_batch_add(&c->batch, &op);
        if (r == 1 && (c->batch.bytes.len > COMPACT_FRAME || c->batch.len >= COMPACT_FRAME_OPS))
            r = compact_batch_write(log, &c->batch, c->out);
        if (r < 0)
            return r;
    }
    return r;
}

/* Copy for about budget_us (< 0: to the end). 1: all inputs are through. */
static int compact_copy(struct log *log, struct log_compaction *c, int64_t budget_us)
{
    int64_t end = os_mono_us() + budget_us;
    int r = 0;
    while (c->next < c->inputs_len) {
        if (!c->walk.s) {
            follow_walk_init(&c->walk, log, c->inputs[c->next], SEGMENT_HEADER, (const uint8_t[SEAL_TAG]){0});
            c->walk.limit = c->inputs[c->next]->end;
        }
        while ((r = follow_walk_next(&c->walk)) == 1) {
            uint64_t before = c->walk.offset;
            r = compact_copy_frame(log, c);
            if (r < 0)
                return r;
            c->copied += c->walk.header.len;
            assert(c->walk.offset == before);
            if (budget_us >= 0 && os_mono_us() > end)
                return 0;
        }
        if (r == 0 && c->walk.offset != c->walk.s->end)
            r = error_set(log->base.detail, KIST_ECORRUPT, "segment %012llu.log ends at offset %llu, too early",
                          (unsigned long long)c->walk.s->number, (unsigned long long)c->walk.offset);
        if (r < 0)
            return r;
        follow_walk_done(&c->walk);
        c->walk.s = NULL;
        c->next++;
    }
    r = c->out ? compact_batch_write(log, &c->batch, c->out) : 0;
    return r ? r : 1;
}

/* -- the switch -- */

/* Give the output its name. Everything in it is on disk. */
static int compact_name(struct log *log, struct log_compaction *c)
{
    char name[SEGMENT_NAME];
    if (log->memory)
        return 0;
    segment_name(c->out->number, ".log", name);
    int r = os_rename(log->dir, COMPACT_NAME, name);
    return r ? r : os_sync_dir(log->dir);
}

/* Tell the log, then do in this process what others do when they read it. Gate held. */
static int compact_commit(struct log *log, struct log_compaction *c, bool empty, uint64_t *out_sequence)
{
    struct buf payload;
    buf_init(&payload, false);
    if (!empty) {
        c->out->birth = log->at.sequence + 1;
        c->out->first_sequence = 1;
    }
    manifest_switch(&payload, &c->out, empty ? 0 : 1, c->inputs, c->inputs_len);
    int r = buf_status(&payload);
    if (r == 0)
        r = follow_moves_room(log);
    (void)pthread_mutex_lock(&log->state);
    if (r == 0 && !empty)
        r = table_add(log, c->out);
    (void)pthread_mutex_unlock(&log->state);
    if (r == 0) {
        r = commit_append_payload(log, FRAME_SWITCH, &payload, out_sequence);
        if (r && !empty) { /* it stays in the table, as gone, until the handle closes */
            c->out->gone = true;
            log->segment_bytes -= c->out->end;
            c->out = NULL;
        }
    }
    buf_done(&payload);
    if (r)
        return r;
    (void)pthread_mutex_lock(&log->state);
    for (size_t i = 0; i < c->inputs_len; i++) {
        c->inputs[i]->compacting = false;
        c->inputs[i]->gone = true;
        log->segment_bytes -= c->inputs[i]->end;
    }
    if (!empty) {
        log->moves[log->moves_len++] = c->out;
        if (log->flags & KIST_MAP)
            segment_map(c->out, c->out->end);
        c->out = NULL;
    }
    (void)pthread_mutex_unlock(&log->state);
    atomic_store(&log->upkeep, 1);
    return 0;
}

static int compact_switch(struct log *log, struct log_compaction *c, uint64_t *out_sequence)
{
    bool empty = !c->out || c->out->end == SEGMENT_HEADER;
    int r = empty ? 0 : segment_sync(c->out); /* most of it, before anybody has to wait */
    if (r == 0)
        r = writer_lock(log);
    if (r)
        return r;
    bool cancels = c->cancels.len > 0;
    if (c->failed)
        r = KIST_ENOMEM;
    if (r == 0 && cancels && !empty) {
        r = compact_batch_write(log, &c->cancels, c->out);
        if (r == 0)
            r = segment_sync(c->out);
    }
    if (r == 0 && !empty)
        r = compact_name(log, c);
    if (r == 0)
        r = compact_commit(log, c, empty, out_sequence);
    writer_unlock(log);
    return r;
}

/* The inputs' files, once the switch is durable. Processes that still read them have them open. */
static int compact_unlink(struct log *log, const uint64_t *numbers, size_t n)
{
    int r = 0;
    for (size_t i = 0; i < n && !log->memory; i++) {
        char name[SEGMENT_NAME];
        segment_name(numbers[i], ".log", name);
        int u = os_unlink(log->dir, name);
        if (u && u != KIST_ENOSTORE)
            r = u;
    }
    return r;
}

static int compact_finish(struct log *log, struct log_compaction *c)
{
    uint64_t sequence = 0;
    uint64_t *numbers = os_alloc((c->inputs_len + 1) * sizeof *numbers);
    size_t n = c->inputs_len;
    int r = numbers ? 0 : KIST_ENOMEM;
    for (size_t i = 0; r == 0 && i < n; i++)
        numbers[i] = c->inputs[i]->number;
    if (r == 0)
        r = compact_switch(log, c, &sequence);
    if (r == 0) {
        c->inputs_len = 0; /* they may be freed from now on */
        r = commit_wait(log, sequence);
    }
    if (r == 0)
        r = compact_unlink(log, numbers, n);
    os_free(numbers);
    return r;
}

void compact_stop(struct log *log)
{
    struct log_compaction *c = log->compaction;
    if (c)
        compact_free(log, &c);
}

/* -- moves and purges, with the gate -- */

static int compact_moves(struct log *log, size_t limit, bool *out_more)
{
    int r = writer_lock(log);
    if (r)
        return r;
    (void)pthread_mutex_lock(&log->state);
    r = apply_purge(log, limit);
    if (r)
        log->broken = true;
    if (r == 0)
        r = follow_moves(log, limit);
    if (r == 0)
        r = follow_capture(log);
    tree_publish(log->index, atomic_load(&log->shared.page->visible));
    *out_more = log->moves_len || log->purges_len;
    (void)pthread_mutex_unlock(&log->state);
    writer_unlock(log);
    return r;
}

static int compact_moves_all(struct log *log)
{
    bool more = true;
    int r = 0;
    while (r == 0 && more)
        r = compact_moves(log, COMPACT_MOVES, &more);
    return r;
}

/* -- choosing -- */

/* By policy: the one with the least live in it; if deletes keep that from paying, the oldest. */
static struct segment *compact_worst(const struct log *log)
{
    const struct log_table *t = atomic_load(&log->table);
    struct segment *worst = NULL, *oldest = NULL;
    double best = 0.25; /* less gain than that is not worth a copy */
    for (size_t i = 0; i < t->len; i++) {
        struct segment *s = t->slot[i];
        if (!compact_is_free(s, log))
            continue;
        uint64_t keep = s->live_bytes + (compact_guards(log, s) ? s->delete_bytes + 32 * s->many_count : 0);
        double gain = keep >= s->end ? 0 : 1.0 - (double)keep / (double)s->end;
        if (gain > best) {
            best = gain;
            worst = s;
        }
        if (!oldest || s->birth < oldest->birth)
            oldest = s;
    }
    return worst ? worst : oldest;
}

/* What the policy would do now: an allocated list of segments to take away or to copy from; NULL when there is nothing. */
static struct segment **compact_choose(struct log *log, size_t *out_n)
{
    const struct log_table *t = atomic_load(&log->table);
    struct segment **list = os_alloc(t->len * sizeof(struct segment *));
    size_t n = 0;
    for (size_t i = 0; list && i < t->len; i++) {
        if (compact_is_empty(log, t->slot[i]))
            list[n++] = t->slot[i];
    }
    if (list && n == 0 && log->segment_bytes > 2 * log->live_bytes + (log->memory ? COMPACT_SLACK / 4 : COMPACT_SLACK)) {
        struct segment *s = compact_worst(log);
        if (s)
            list[n++] = s;
    }
    if (list && n == 0) {
        os_free(list);
        list = NULL;
    }
    *out_n = n;
    return list;
}

/* -- the policy -- */

/* Start what the policy wants, if it wants something and nobody else does it. */
static int compact_begin(struct log *log, struct log_compaction **out)
{
    size_t n = 0;
    (void)pthread_mutex_lock(&log->state);
    struct segment **inputs = compact_choose(log, &n);
    (void)pthread_mutex_unlock(&log->state);
    if (!inputs)
        return 0;
    os_free(inputs);
    int r = shared_lock(&log->shared, SHARED_COMPACT, 0);
    if (r)
        return r == KIST_EBUSY ? 0 : r;
    r = compact_moves_all(log); /* now that nobody else changes the set of segments: what it is */
    (void)pthread_mutex_lock(&log->state);
    inputs = r ? NULL : compact_choose(log, &n);
    (void)pthread_mutex_unlock(&log->state);
    if (inputs)
        return compact_start(log, inputs, n, out);
    shared_unlock(&log->shared, SHARED_COMPACT);
    return r;
}

/* One slice of copying, or of starting or finishing it. */
static int compact_slice(struct log *log, int64_t budget_us, bool *out_more)
{
    struct log_compaction *c = log->compaction;
    int r = c ? 0 : compact_begin(log, &c);
    *out_more = c != NULL;
    if (r || !c)
        return r;
    r = compact_copy(log, c, budget_us);
    if (r == 0)
        return 0;
    if (r == 1)
        r = compact_finish(log, c);
    compact_free(log, &c);
    return r;
}

void compact_upkeep(struct log *log)
{
    int64_t end = os_mono_us() + COMPACT_UPKEEP_US;
    bool more = true;
    while (more && os_mono_us() < end) {
        if (compact_step(log, COMPACT_UPKEEP_US, &more))
            return; /* its failure is not the commit's that came by; the next one tries again */
    }
}

void compact_settle(struct log *log)
{
    bool more = atomic_load(&log->upkeep) != 0;
    for (int i = 0; more && i < COMPACT_SETTLE; i++) {
        if (compact_step(log, 20000, &more))
            return;
    }
}

int compact_step(struct log *log, int64_t budget_us, bool *out_more)
{
    bool more = false;
    int r = log_entered(log);
    if (r || log->read_only || !gate_try(&log->compact_gate)) {
        *out_more = false;
        return r;
    }
    atomic_store(&log->upkeep, 0);
    (void)pthread_mutex_lock(&log->state);
    bool moves = log->moves_len || log->purges_len;
    (void)pthread_mutex_unlock(&log->state);
    if (moves)
        r = compact_moves(log, COMPACT_MOVES, &more);
    else
        r = compact_slice(log, budget_us, &more);
    if (more)
        atomic_store(&log->upkeep, 1);
    gate_unlock(&log->compact_gate);
    *out_more = more;
    return r;
}

/* -- on demand -- */

static bool compact_wants(struct log *log, const struct segment *s)
{
    (void)pthread_rwlock_rdlock(&log->keyring_lock);
    uint32_t newest = keyring_generation(log->keyring);
    (void)pthread_rwlock_unlock(&log->keyring_lock);
    return s->put_count > s->live_count || s->delete_bytes || s->many_count || s->generation != newest;
}

static int compact_roll_active(struct log *log)
{
    uint64_t sequence = 0;
    int r = writer_lock(log);
    if (r)
        return r;
    if (compact_wants(log, log->active)) {
        r = commit_roll(log);
        if (r == 0)
            r = commit_append_payload(log, FRAME_MARK, NULL, &sequence);
    }
    writer_unlock(log);
    return r == 0 && sequence ? commit_wait(log, sequence) : r;
}

/* Up to a segment's worth of what wants it, oldest first. */
static struct segment **compact_choose_all(struct log *log, uint64_t *out_bytes, size_t *out_n)
{
    const struct log_table *t = atomic_load(&log->table);
    struct segment **list = os_alloc(t->len * sizeof(struct segment *));
    size_t n = 0, keep = 0;
    uint64_t live = 0;
    *out_bytes = 0;
    for (size_t i = 0; list && i < t->len; i++) { /* what needs no copying first: it makes room for the rest */
        if (compact_is_empty(log, t->slot[i]))
            list[(*out_n = ++n) - 1] = t->slot[i];
    }
    if (n)
        return list;
    for (size_t i = 0; list && i < t->len; i++) {
        struct segment *s = t->slot[i];
        if (compact_is_free(s, log) && compact_wants(log, s)) {
            list[n++] = s;
            *out_bytes += s->end;
        }
    }
    if (n)
        qsort(list, n, sizeof(struct segment *), compact_compare_birth);
    while (keep < n && (keep == 0 || live + list[keep]->live_bytes <= log->segment_size))
        live += list[keep++]->live_bytes;
    *out_n = keep;
    return list;
}

struct compact_progress {
    kist_progress_fn *fn;
    void *ctx;
    uint64_t done, total;
    int64_t next;
};

static int compact_report(struct compact_progress *p, uint64_t now, bool force)
{
    int64_t t = os_mono_us();
    if (!p->fn || (!force && t < p->next))
        return 0;
    p->next = t + 100000;
    uint64_t done = p->done + now;
    return p->fn("compact", done > p->total ? p->total : done, p->total, p->ctx);
}

static int compact_run(struct log *log, struct log_compaction *c, struct compact_progress *p)
{
    int r = 0;
    while ((r = compact_copy(log, c, 20000)) == 0 && (r = compact_report(p, c->copied, false)) == 0)
        ;
    p->done += c->copied;
    if (r == 1)
        r = compact_finish(log, c);
    compact_free(log, &c);
    return r ? r : compact_moves_all(log);
}

/* One group of segments; *out_any false: nothing wants it. */
static int compact_group(struct log *log, struct compact_progress *p, bool *out_any)
{
    struct log_compaction *c = NULL;
    size_t n = 0;
    uint64_t bytes = 0;
    *out_any = false;
    int r = shared_lock(&log->shared, SHARED_COMPACT, log->lock_timeout_us);
    if (r)
        return error_set(log->base.detail, r, "another process is compacting the store");
    r = compact_moves_all(log);
    (void)pthread_mutex_lock(&log->state);
    struct segment **inputs = r ? NULL : compact_choose_all(log, &bytes, &n);
    (void)pthread_mutex_unlock(&log->state);
    if (r == 0 && !inputs)
        r = KIST_ENOMEM;
    if (r || n == 0) {
        os_free(inputs);
        shared_unlock(&log->shared, SHARED_COMPACT);
        return r;
    }
    if (p->total < p->done + bytes)
        p->total = p->done + bytes;
    *out_any = true;
    r = compact_start(log, inputs, n, &c);
    return r ? r : compact_run(log, c, p);
}

static uint64_t compact_size(struct log *log)
{
    (void)pthread_mutex_lock(&log->state);
    uint64_t n = log->segment_bytes;
    (void)pthread_mutex_unlock(&log->state);
    return n;
}

static int compact_round(struct log *log, struct compact_progress *p, bool *out_any)
{
    bool any = true;
    *out_any = false;
    for (;;) {
        uint64_t before = compact_size(log);
        int r = compact_group(log, p, &any);
        if (r || !any)
            return r;
        *out_any = true;
        if (compact_size(log) >= before) /* nothing came of it: only deletes that are still needed */
            return 0;
    }
}

int compact_all(struct engine *e, kist_progress_fn *progress, void *ctx)
{
    struct log *log = log_of(e);
    struct compact_progress p = {.fn = progress, .ctx = ctx};
    uint64_t swept = 0;
    bool any = true;
    int r = log_entered(log);
    if (r == 0 && log->read_only)
        r = KIST_EREADONLY;
    if (r)
        return r;
    if (!gate_lock(&log->compact_gate, log->lock_timeout_us))
        return KIST_EBUSY;
    compact_stop(log);
    r = sweep_expired(e, 0, &swept);
    if (r == 0)
        r = compact_moves_all(log);
    if (r == 0)
        r = compact_roll_active(log);
    for (int i = 0; i < 3 && any && r == 0; i++)
        r = compact_round(log, &p, &any);
    if (r == 0)
        r = compact_report(&p, 0, true);
    gate_unlock(&log->compact_gate);
    return r;
}
