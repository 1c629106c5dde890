/* compact.c: giving back the space of dead records.
 *
 * One compaction at a time in a store (SHARED_COMPACT). It walks the input segments, oldest birth first, and copies what is
 * live into a new segment, revisions kept, values resealed under the newest data key. That needs no lock but short looks at
 * the index; commits go on. Records that die meanwhile are remembered (compact_died) and cancelled at the end of the output,
 * so that everything in it is live at the SWITCH frame that puts it in the place of its inputs. That frame is the commit:
 * before it the output is a file nobody refers to, after it the inputs are. A crash anywhere leaves one or the other.
 *
 * A delete is copied as long as a segment that is not an input may hold a dead copy of its record: the one it names, or, if
 * there may be several, any that was born before it. Oldest first means that most need no copying. */
#include "engine/compact.h"

#include <assert.h>

#define COMPACT_FRAME (256u << 10) /* plaintext of one output frame */
#define COMPACT_FRAME_OPS 2000u

#define COMPACT_NAME "compact.tmp"

/* -- what is needed -- */

bool compact_is_free(const struct segment *s, const struct log *log)
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
bool compact_guards(const struct log *log, const struct segment *s)
{
    for (size_t i = 0; i < s->guards_len; i++) {
        const struct segment *g = table_find(log, s->guards[i].shadow);
        if (g && !g->gone)
            return true;
    }
    return s->many_count && compact_older(log, s, s->many_newest);
}

/* Dead puts, or deletes that guard against nothing any more. */
bool compact_pays(const struct log *log, const struct segment *s)
{
    if (s->put_count > s->live_count || (s->many_count && !compact_older(log, s, s->many_newest)))
        return true;
    for (size_t i = 0; i < s->guards_len; i++) {
        const struct segment *g = table_find(log, s->guards[i].shadow);
        if (!g || g->gone)
            return true;
    }
    return false;
}

/* Segments that hold nothing anybody needs. */
bool compact_is_empty(const struct log *log, const struct segment *s)
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

void compact_free(struct log *log, struct log_compaction **out)
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
    batch_done(&c->batch);
    batch_done(&c->cancels);
    os_free(c->inputs);
    os_free(c);
    *out = NULL;
    shared_unlock(&log->shared, SHARED_COMPACT);
}

int compact_compare_birth(const void *a, const void *b)
{
    const struct segment *const *x = a, *const *y = b;
    return (*x)->birth < (*y)->birth ? -1 : (*x)->birth > (*y)->birth;
}

int compact_start(struct log *log, struct segment **inputs, size_t n, struct log_compaction **out)
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
    if (batch_add(&c->cancels, &op))
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
    os_wipe(key, n);
    return p && entry_decode(p, len, &e) && !(e.flags & (ENTRY_TOMB | ENTRY_DROP)) && e.segment == s->number &&
           e.frame == frame && e.delta == op->delta && e.revision == op->revision;
}

static int compact_copy_put(struct log *log, struct log_compaction *c, struct segment *s, const struct frame_op *op)
{
    struct frame_context context = log_context(log, s);
    int r = batch_add(&c->batch, op);
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
            r = op.kind == FRAME_PUT ? compact_copy_put(log, c, s, &op) : batch_add(&c->batch, &op);
        if (r == 1 && (c->batch.bytes.len > COMPACT_FRAME || c->batch.len >= COMPACT_FRAME_OPS))
            r = batch_write(log, &c->batch, c->out);
        if (r < 0)
            return r;
    }
    return r;
}

bool compact_is_copied(const struct log_compaction *c)
{
    return c->next == c->inputs_len && c->batch.len == 0;
}

/* The rest of the input at c->walk; *out_more: the time was over before its end. */
static int compact_copy_segment(struct log *log, struct log_compaction *c, int64_t end, bool *out_more)
{
    int r = 0;
    while ((r = follow_walk_next(&c->walk)) == 1) {
        uint64_t before = c->walk.offset;
        r = compact_copy_frame(log, c);
        if (r < 0)
            return r;
        c->copied += c->walk.header.len;
        assert(c->walk.offset == before);
        *out_more = os_mono_us() > end;
        if (*out_more)
            return segment_sync(c->out); /* in small portions: the commit that does this waits for it */
    }
    if (r == 0 && c->walk.offset != c->walk.s->end)
        r = error_set(log->base.detail, KIST_ECORRUPT, "segment %012llu.log ends at offset %llu, too early",
                      (unsigned long long)c->walk.s->number, (unsigned long long)c->walk.offset);
    return r;
}

int compact_copy(struct log *log, struct log_compaction *c, int64_t budget_us)
{
    int64_t end = budget_us < 0 ? INT64_MAX : os_mono_us() + budget_us;
    while (c->next < c->inputs_len) {
        bool more = false;
        if (!c->walk.s) {
            follow_walk_init(&c->walk, log, c->inputs[c->next], SEGMENT_HEADER, (const uint8_t[SEAL_TAG]){0});
            c->walk.limit = c->inputs[c->next]->end;
        }
        int r = compact_copy_segment(log, c, end, &more);
        if (r || more)
            return r;
        follow_walk_done(&c->walk);
        c->walk.s = NULL;
        c->next++;
    }
    return c->out ? batch_write(log, &c->batch, c->out) : 0;
}

/* -- the switch -- */

/* For the SWITCH. A roll that it takes has to come first: the new MANIFEST is to name what is there before the switch; and a
 * full disk is to refuse before the output has a name. */
static int compact_room(struct log *log, const struct log_compaction *c)
{
    return commit_room(log, FRAME_HEADER + 128 + 16 * (uint64_t)c->inputs_len, true);
}

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

/* What the SWITCH with this sequence says, in this process: the output is in, the inputs are out. Before the SWITCH is
 * appended, so that nobody sees it without what it says; whose snapshot is older goes by birth and gone_at. */
static int compact_enter(struct log *log, struct log_compaction *c, bool empty, uint64_t sequence)
{
    (void)pthread_mutex_lock(&log->state);
    int r = follow_moves_room(log);
    if (r == 0 && !empty)
        r = table_add(log, c->out);
    for (size_t i = 0; i < c->inputs_len && r == 0; i++) {
        c->inputs[i]->gone = true;
        c->inputs[i]->gone_at = sequence;
        log->segment_bytes -= c->inputs[i]->end;
    }
    if (r == 0 && !empty)
        log->moves[log->moves_len++] = c->out;
    (void)pthread_mutex_unlock(&log->state);
    return r;
}

/* The SWITCH was not appended. The output stays in the table, as gone, until the handle closes. */
static void compact_leave(struct log *log, struct log_compaction *c, bool empty)
{
    (void)pthread_mutex_lock(&log->state);
    for (size_t i = 0; i < c->inputs_len; i++) {
        c->inputs[i]->gone = false;
        c->inputs[i]->gone_at = 0;
        log->segment_bytes += c->inputs[i]->end;
    }
    if (!empty) {
        assert(log->moves[log->moves_len - 1] == c->out);
        log->moves_len--;
        log->segment_bytes -= c->out->end;
        c->out->gone = true;
        c->out = NULL;
    }
    (void)pthread_mutex_unlock(&log->state);
}

/* Tell the log, and do in this process what others do when they read it. Gate held. */
static int compact_commit(struct log *log, struct log_compaction *c, bool empty, uint64_t *out_sequence)
{
    struct buf payload;
    uint64_t sequence = log->at.sequence + 1;
    buf_init(&payload, false);
    if (!empty) {
        c->out->birth = sequence;
        c->out->first_sequence = 1;
    }
    manifest_switch(&payload, &c->out, empty ? 0 : 1, c->inputs, c->inputs_len);
    int r = buf_status(&payload);
    if (r == 0)
        r = compact_enter(log, c, empty, sequence);
    if (r == 0) {
        r = commit_append_payload(log, FRAME_SWITCH, &payload, out_sequence);
        if (r)
            compact_leave(log, c, empty);
    }
    buf_done(&payload);
    if (r)
        return r;
    assert(*out_sequence == sequence);
    (void)pthread_mutex_lock(&log->state);
    for (size_t i = 0; i < c->inputs_len; i++)
        c->inputs[i]->compacting = false;
    if (!empty)
        c->out = NULL;
    (void)pthread_mutex_unlock(&log->state);
    atomic_store(&log->upkeep, 1);
    return 0;
}

static int compact_switch(struct log *log, struct log_compaction *c, uint64_t *out_sequence)
{
    assert(compact_is_copied(c)); /* what is not, the SWITCH would throw away */
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
        r = batch_write(log, &c->cancels, c->out);
        if (r == 0)
            r = segment_sync(c->out);
    }
    if (r == 0)
        r = compact_room(log, c);
    if (r == 0 && !empty)
        r = compact_name(log, c);
    if (r == 0)
        r = compact_commit(log, c, empty, out_sequence);
    writer_unlock(log);
    return r;
}

/* With KIST_SYNC_NONE a commit does not wait for the disk. Without its SWITCH the store needs the inputs. */
static int compact_durable(struct log *log, uint64_t sequence)
{
    int r = commit_wait(log, sequence);
    if (r || atomic_load(&log->shared.page->durable) >= sequence)
        return r;
    return log->base.ops->sync(&log->base);
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

int compact_finish(struct log *log, struct log_compaction *c)
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
        r = compact_durable(log, sequence);
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

int compact_moves(struct log *log, size_t limit, bool *out_more)
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

int compact_moves_all(struct log *log)
{
    bool more = true;
    int r = 0;
    while (r == 0 && more)
        r = compact_moves(log, COMPACT_MOVES, &more);
    return r;
}
