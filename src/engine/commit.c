/* commit.c: how commits reach the disk.
 *
 * Under the gate a commit becomes a frame: sealed, applied to the working root, put behind the pending bytes. Then the gate
 * is free again, and the commit waits. One waiter leads: it writes the pending bytes of everybody, lets the kernel's lock
 * go, syncs once, publishes, wakes. While it syncs, the next group gathers. A leader whose last group had company gives
 * the threads that it has just woken up to 50 µs to join; a lone writer never waits.
 *
 * Room in the file is seen to before anything is changed, so a full disk refuses a commit and nothing else happened. When
 * writing or syncing fails after that, nobody can say what the disk has: the handle is read-only from then on, and every
 * commit that was waiting is answered KIST_EMAYBE. It never tries an fsync again (Linux may have dropped the pages; see
 * Rebello et al., "Can Applications Recover from fsync Failures?", USENIX ATC 2020). */
#include "engine/log.h"

#include <assert.h>
#include <sched.h>

#define COMMIT_GATHER_US 50
#define COMMIT_TAIL 512u                    /* kept free in a segment for its END */
#define COMMIT_RESERVE (UINT64_C(16) << 10) /* kept free on the disk for deletes */
#define COMMIT_PATIENCE_US 200000           /* for another process's fsync, before doing one of our own */
#define COMMIT_SLEEP_US 1000000             /* nobody is forgotten: a leader wakes the next one */
#define COMMIT_PENDING_MAX (1u << 20)

#ifdef KIST_TESTING
int64_t commit_sleep_us_override;
#endif

/* -- waking -- */

static void commit_wake(struct log *log, uint32_t group, int count)
{
    uint32_t i = group % LOG_TURNS;
    atomic_fetch_add(&log->sync[i].turn, 1);
    if (atomic_load(&log->sync[i].sleepers)) /* who comes later finds the turn changed */
        os_futex_wake(&log->sync[i].turn, count, false);
}

void commit_stop(struct log *log)
{
    atomic_store(&log->failed, 1);
    for (uint32_t i = 0; i < LOG_TURNS; i++)
        commit_wake(log, i, INT32_MAX);
}

static void commit_fail(struct log *log, int code, const char *what)
{
    (void)error_set(log->base.detail, code, "%s failed: the store is read-only until it is opened again", what);
    commit_stop(log);
}

/* -- flushing -- */

/* Take the pending bytes and freeze the root that goes with them. False: there are none. */
static bool commit_steal(struct log *log, uint64_t *out_sequence, int *out_r)
{
    bool some = false;
    (void)pthread_mutex_lock(&log->state);
    if (log->pending.len) {
        struct buf empty = log->flushing;
        log->flushing = log->pending;
        log->flushing_at = log->pending_at;
        log->flushing_segment = log->pending_segment;
        log->pending = empty;
        log->pending.len = 0;
        *out_sequence = log->stolen = log->pending_sequence;
        log->stolen_group++;
        *out_r = log->broken ? 0 : follow_capture(log); /* broken: half a commit is in it; loading anew shows these */
        some = true;
    }
    (void)pthread_mutex_unlock(&log->state);
    return some;
}

int commit_flush(struct log *log)
{
    struct shared_page *page = log->shared.page;
    uint64_t sequence = 0;
    int r = 0;
    (void)pthread_mutex_lock(&log->flush);
    if (atomic_load(&log->failed))
        r = KIST_EFAILED;
    else if (commit_steal(log, &sequence, &r)) {
        if (r == 0) {
            atomic_store(&page->appending, 1);
            r = segment_write(log->flushing_segment, log->flushing_at, log->flushing.data, log->flushing.len);
        }
        if (r == 0) {
            atomic_store(&page->appended, sequence);
            atomic_store(&page->appending, 0);
        } else {
            commit_fail(log, r, "writing to the log");
        }
        (void)pthread_mutex_lock(&log->state);
        log->flushing.len = 0;
        if (r == 0) {
            log->flushed = sequence;
            log->flushed_group = log->stolen_group;
            log->flushed_segment = log->flushing_segment;
        } else { /* before the kernel's lock goes: the next writer gives these sequences to frames of its own */
            log->broken = true;
            log->written = atomic_load(&page->appended);
        }
        if (log->flushing.cap > 4 * COMMIT_PENDING_MAX)
            buf_done(&log->flushing);
        (void)pthread_mutex_unlock(&log->state);
    }
    (void)pthread_mutex_unlock(&log->flush);
    return r;
}

/* -- encoding -- */

int commit_room(struct log *log, uint64_t total, bool deletes_only)
{
    uint64_t full = log->memory ? log->active->capacity : log->segment_size;
    bool fits = log->at.offset + total + COMMIT_TAIL <= full;
    bool first = log->at.sequence == log->active->first_sequence; /* a frame larger than a segment has one to itself */
    int r = 0;
    if (log->ended || (!fits && (!first || log->memory))) {
        log->room_needed = total + (UINT64_C(1) << 20);
        r = commit_roll(log);
        log->room_needed = 0;
    }
    if (r)
        return r;
    uint64_t keep = log->memory ? 0 : deletes_only ? COMMIT_TAIL : COMMIT_RESERVE;
    r = segment_make_room(log->active, log->at.offset, total, keep);
    if (r == KIST_ENOSPC)
        return error_set(log->base.detail, r, "no room for %llu bytes: free space on the disk, or delete records and compact",
                         (unsigned long long)total);
    return r;
}

/* The frame in log->scratch becomes part of the log. State held; room in pending was made. */
static void commit_take(struct log *log, const uint8_t *frame, size_t total, const struct frame_header *h)
{
    if (log->pending.len == 0) {
        log->pending_at = log->at.offset;
        log->pending_segment = log->active;
    }
    if (frame == log->scratch.data && log->pending.len == 0 && total > COMMIT_PENDING_MAX) {
        struct buf empty = log->pending; /* a large frame is handed over, not copied */
        log->pending = log->scratch;
        log->scratch = empty;
        log->scratch.len = 0;
    } else {
        buf_add(&log->pending, frame, total);
    }
    assert(!log->pending.failed);
    log->pending_sequence = h->sequence;
    log->at.offset += total;
    log->at.sequence = h->sequence;
    memcpy(log->at.tag, h->tag, SEAL_TAG);
    log->active->end = log->at.offset;
    log->active->last_sequence = h->sequence;
    memcpy(log->active->last_tag, h->tag, SEAL_TAG);
    log->segment_bytes += total;
    log->unmarked = h->kind != FRAME_MARK;
}

static uint8_t *commit_scratch(struct log *log, uint64_t total)
{
    if (log->scratch.cap > 4 * COMMIT_PENDING_MAX && total < COMMIT_PENDING_MAX)
        buf_done(&log->scratch);
    buf_reset(&log->scratch);
    return buf_grow(&log->scratch, (size_t)total);
}

/* Encode into scratch, with log->at as the place. */
static int commit_encode(struct log *log, enum frame_kind kind, struct frame_op *ops, size_t n, const struct buf *payload,
                         const struct frame_sizes *sizes, struct frame_header *out)
{
    struct frame_context c = log_context(log, log->active);
    struct frame_writer w;
    uint64_t total = frame_size_total(sizes);
    uint8_t *frame = commit_scratch(log, total);
    if (!frame)
        return KIST_ENOMEM;
    int r = frame_begin(&w, &c, frame, sizes, kind, log->at.sequence + 1, atomic_load(&log->shared.page->durable));
    if (r)
        return r;
    for (size_t i = 0; i < n; i++)
        frame_add(&w, &ops[i]);
    if (payload)
        frame_add_payload(&w, payload->data, payload->len);
    frame_finish(&w, log->at.tag, out->tag);
    out->len = (uint32_t)total;
    out->kind = kind;
    out->sequence = log->at.sequence + 1;
    return 0;
}

static int commit_apply(struct log *log, struct frame_op *ops, size_t n, const struct frame_header *h, bool *out_much)
{
    uint64_t at = log->at.offset;
    (void)pthread_mutex_lock(&log->state);
    int r = h->len <= COMMIT_PENDING_MAX || log->pending.len ? (buf_reserve(&log->pending, h->len) ? 0 : KIST_ENOMEM) : 0;
    log->pending.failed = false;
    for (size_t i = 0; i < n && r == 0; i++) {
        if (i % TREE_WARM_MAX == 0 && n > 1)
            apply_warm(log, ops + i, n - i);
        r = apply_op(log, log->active, at, &ops[i]);
        if (r)
            log->broken = true;
    }
    if (r == 0) {
        commit_take(log, log->scratch.data, h->len, h);
        atomic_fetch_add_explicit(&log->snapshot_work, 1 + n, memory_order_relaxed);
        atomic_fetch_add(&log->group, 1);
    }
    *out_much = log->pending.len > COMMIT_PENDING_MAX;
    (void)pthread_mutex_unlock(&log->state);
    return r;
}

int commit_append(struct log *log, struct frame_op *ops, size_t n, uint64_t *out_sequence)
{
    struct frame_sizes sizes = {0};
    struct frame_header h;
    bool deletes_only = true, much = false;
    for (size_t i = 0; i < n; i++) {
        ops[i].revision = 0;
        frame_size_add(&sizes, &ops[i], 0);
        deletes_only = deletes_only && ops[i].kind != FRAME_PUT;
    }
    uint64_t total = frame_size_total(&sizes);
    if (total > FRAME_MAX)
        return error_set(log->base.detail, KIST_ETOOBIG, "a commit of %llu bytes: the limit is %u", (unsigned long long)total,
                         KIST_TXN_MAX);
    int r = commit_room(log, total, deletes_only);
    if (r)
        return r;
    for (size_t i = 0; i < n; i++)
        ops[i].revision = log->at.sequence + 1;
    r = commit_encode(log, FRAME_COMMIT, ops, n, NULL, &sizes, &h);
    if (r == 0)
        r = commit_apply(log, ops, n, &h, &much);
    if (r)
        return r;
    *out_sequence = h.sequence;
    atomic_fetch_add_explicit(&log->commits, 1, memory_order_relaxed);
    return much && commit_flush(log) ? KIST_EMAYBE : 0; /* it is part of the log already */
}

int commit_append_payload(struct log *log, enum frame_kind kind, const struct buf *payload, uint64_t *out_sequence)
{
    struct frame_sizes sizes = {.ops = payload ? payload->len : 0};
    struct frame_header h;
    bool much = false;
    assert(!log->ended);
    uint64_t total = frame_size_total(&sizes);
    int r = segment_make_room(log->active, log->at.offset, total, 0); /* a SWITCH had its room made before */
    if (r == 0)
        r = commit_encode(log, kind, NULL, 0, payload, &sizes, &h);
    if (r == 0)
        r = commit_apply(log, NULL, 0, &h, &much);
    if (r == 0)
        *out_sequence = h.sequence;
    return r;
}

/* -- rolling: END in the old segment, MANIFEST in the new one -- */

#define COMMIT_ROLL_NAME "next.tmp"

int commit_sync_now(struct log *log)
{
    int r = segment_sync(log->active);
    if (r) {
        atomic_store(&log->shared.page->failed, 1);
        commit_fail(log, KIST_EMAYBE, "fsync");
        return KIST_EMAYBE;
    }
    shared_prove(&log->shared, log->at.sequence);
    return 0;
}

static int commit_end(struct log *log, uint64_t next)
{
    struct buf payload;
    uint64_t sequence = 0;
    buf_init(&payload, false);
    buf_add_u64(&payload, next);
    int r = buf_status(&payload);
    if (r == 0)
        r = commit_append_payload(log, FRAME_END, &payload, &sequence);
    if (r == 0)
        r = commit_flush(log);
    buf_done(&payload);
    if (r)
        return r;
    log->ended = true;
    log->next_segment = next;
    return commit_sync_now(log);
}

/* Write the manifest into the new file, name it, make it the active one. */
static int commit_enter(struct log *log, struct segment *s)
{
    struct segment *old = log->active;
    struct log_position at = log->at;
    struct buf payload;
    struct frame_header h;
    char name[SEGMENT_NAME];
    buf_init(&payload, false);
    int r = manifest_encode(log, s, &payload);
    struct frame_sizes sizes = {.ops = payload.len};
    s->first_sequence = at.sequence + 1;
    log->active = s;
    log->at = (struct log_position){.segment = s->number, .offset = SEGMENT_HEADER, .sequence = at.sequence};
    if (r == 0)
        r = commit_encode(log, FRAME_MANIFEST, NULL, 0, &payload, &sizes, &h);
    if (r == 0)
        r = segment_write(s, SEGMENT_HEADER, log->scratch.data, h.len);
    if (r == 0)
        r = segment_sync(s);
    segment_name(s->number, ".log", name);
    if (r == 0 && !log->memory)
        r = os_rename(log->dir, COMMIT_ROLL_NAME, name);
    if (r == 0 && !log->memory)
        r = os_sync_dir(log->dir);
    if (r == 0) {
        s->end = SEGMENT_HEADER; /* counted once it is in the table */
        r = table_add(log, s);
    }
    buf_done(&payload);
    if (r) {
        log->active = old;
        log->at = at;
        return r;
    }
    log->segment_bytes += h.len;
    log->at.offset += h.len;
    log->at.sequence = h.sequence;
    memcpy(log->at.tag, h.tag, SEAL_TAG);
    s->end = log->at.offset;
    s->last_sequence = h.sequence;
    memcpy(s->last_tag, h.tag, SEAL_TAG);
    log->ended = false;
    return follow_capture(log);
}

/* The next segment's file, with room for the manifest and a while of deletes: before the point of no return. */
static int commit_prepare(struct log *log, uint64_t next, uint64_t keep, struct segment **out)
{
    struct segment *s = NULL;
    int r = log->memory ? 0 : os_unlink(log->dir, COMMIT_ROLL_NAME);
    if (r && r != KIST_ENOSTORE)
        return r;
    uint64_t birth = log->at.sequence + (log->ended ? 1 : 2); /* END takes one */
    r = table_create(log, next, SEGMENT_LOG, birth, COMMIT_ROLL_NAME, keep == COMMIT_RESERVE ? SEGMENT_AHEAD : 0, &s);
    if (r)
        return r;
    r = segment_make_room(s, SEGMENT_HEADER, 256 + 80 * (uint64_t)atomic_load(&log->table)->len, keep);
    if (r) {
        segment_free(&s);
        return r;
    }
    s->ahead = SEGMENT_AHEAD;
    *out = s;
    return 0;
}

int commit_roll(struct log *log)
{
    struct segment *s = NULL;
    struct shared_page *page = log->shared.page;
    uint64_t next = 0;
    int r = commit_flush(log);
    if (r)
        return r;
    next = log->ended ? log->next_segment : shared_number(&log->shared);
    r = commit_prepare(log, next, COMMIT_RESERVE, &s);
    if (r == KIST_ENOSPC) { /* the zeros behind the old segment's tail are room too */
        r = segment_cut(log->active, log->at.offset + COMMIT_TAIL);
        if (r == 0)
            r = commit_prepare(log, next, COMMIT_TAIL, &s);
    }
    if (r)
        return r;
    r = log->ended ? commit_sync_now(log) : commit_end(log, next); /* who wrote END may have died before its fsync */
    if (r) {
        segment_free(&s);
        if (!log->memory && os_unlink(log->dir, COMMIT_ROLL_NAME))
            return r;
        return r;
    }
    assert(s->birth == log->at.sequence + 1);
    (void)pthread_mutex_lock(&log->state);
    atomic_store(&page->appending, 1); /* who finds us dead looks for the new segment */
    r = commit_enter(log, s);
    if (r == 0) {
        atomic_store(&log->upkeep, 1);
        atomic_store(&page->active, next);
        atomic_store(&page->appended, log->at.sequence);
    } else if (table_find(log, next) != s) {
        segment_free(&s);
    }
    atomic_store(&page->appending, 0);
    shared_prove(&log->shared, log->at.sequence);
    (void)pthread_mutex_unlock(&log->state);
    return r;
}

/* -- durability -- */

/* Give the threads of the last group a moment to come back. */
static void commit_gather(struct log *log)
{
    if (log->last_group < 2)
        return;
    int64_t end = os_mono_us() + COMMIT_GATHER_US;
    while (atomic_load(&log->group) < log->last_group && os_mono_us() < end)
        (void)sched_yield();
}

/* One fdatasync for everything appended to the segment, by us or others. */
static int commit_sync_segment(struct log *log, struct segment *s, uint64_t target)
{
    struct shared_page *page = log->shared.page;
    uint64_t appended = atomic_load(&page->appended);
    if (atomic_load(&page->active) == s->number && appended > target)
        target = appended;
    int r = segment_sync(s);
    if (r) {
        atomic_store(&page->failed, 1);
        commit_fail(log, KIST_EMAYBE, "fsync");
        return KIST_EMAYBE;
    }
    atomic_fetch_add_explicit(&log->syncs, 1, memory_order_relaxed);
    shared_prove(&log->shared, target);
    shared_publish(&log->shared, target);
    return 0;
}

/* Until the disk has target: by another process's fsync if one is under way, else by ours. */
static int commit_sync(struct log *log, struct segment *s, uint64_t target)
{
    struct shared_page *page = log->shared.page;
    int64_t end = 0;
    for (;;) {
        uint32_t turn = shared_turn(&log->shared);
        if (atomic_load(&page->durable) >= target) {
            shared_publish(&log->shared, target);
            return 0;
        }
        int locked = shared_lock(&log->shared, SHARED_SYNC, 0); /* it saves an fsync, no more: without it we sync, too */
        if (locked != KIST_EBUSY || (end && os_mono_us() > end)) {
            int r = atomic_load(&page->durable) < target ? commit_sync_segment(log, s, target) : 0;
            if (r == 0) /* a roll may have made it durable, which shows it to nobody */
                shared_publish(&log->shared, target);
            if (locked == 0) {
                shared_unlock(&log->shared, SHARED_SYNC);
                shared_wake(&log->shared);
            }
            return r;
        }
        if (!end)
            end = os_mono_us() + COMMIT_PATIENCE_US;
        shared_wait(&log->shared, turn, 1000);
    }
}

int commit_show(struct log *log, struct segment *s, uint64_t target)
{
    if (s)
        return commit_sync(log, s, target);
    shared_prove(&log->shared, target);
    shared_publish(&log->shared, target);
    return 0;
}

static void commit_publish(struct log *log)
{
    uint64_t visible = atomic_load(&log->shared.page->visible);
    (void)pthread_mutex_lock(&log->state);
    follow_publish(log, visible);
    (void)pthread_mutex_unlock(&log->state);
}

static int commit_lead(struct log *log, uint32_t *out_group)
{
    struct tree_snap hold;
    commit_gather(log);
    log->last_group = atomic_exchange(&log->group, 0);
    int r = commit_flush(log);
    writer_release(log);
    if (r == 0)
        r = tree_snap_take(log->index, &hold); /* keeps the segment while we sync it */
    if (r)
        return r;
    (void)pthread_mutex_lock(&log->state);
    struct segment *s = log->flushed_segment;
    uint64_t target = log->flushed;
    *out_group = log->flushed_group;
    (void)pthread_mutex_unlock(&log->state);
    if (log->sync_mode == KIST_SYNC_NONE)
        shared_publish(&log->shared, target);
    else
        r = commit_sync(log, s, target);
    if (r == 0) {
        commit_publish(log);
        atomic_store(&log->durable, target);
    }
    tree_snap_drop(log->index, &hold);
    return r;
}

/* Lead, unless somebody does. Whose frames are done are woken then, all of them; of each later group one, so that somebody
 * leads it. */
static bool commit_try_lead(struct log *log, uint64_t sequence, int *out_r)
{
    uint32_t idle = 0;
    if (!atomic_compare_exchange_strong(&log->sync_busy, &idle, 1))
        return false;
    uint32_t before = atomic_load(&log->woken_group), last = before;
    *out_r = atomic_load(&log->durable) >= sequence ? 0 : commit_lead(log, &last);
    atomic_store(&log->woken_group, last);
    atomic_store(&log->sync_busy, 0);
    for (uint32_t i = 0; i < LOG_TURNS; i++) {
        bool done = i < last - before;
        commit_wake(log, done ? last - i : last - i + LOG_TURNS, done ? INT32_MAX : 1);
    }
    return true;
}

/* The group whose sync makes this sequence durable; a later one if others were taken since. */
static uint32_t commit_group(struct log *log, uint64_t sequence)
{
    (void)pthread_mutex_lock(&log->state);
    uint32_t group = log->stolen_group + (sequence > log->stolen);
    (void)pthread_mutex_unlock(&log->state);
    return group;
}

static int64_t commit_sleep_us(void)
{
#ifdef KIST_TESTING
    if (commit_sleep_us_override)
        return commit_sleep_us_override;
#endif
    return COMMIT_SLEEP_US;
}

/* Until a leader has done something for this group, or there is none. Who is done and slept among a later group may have had
 * the one wake-up that was to find that group a leader, and passes it on. */
static void commit_sleep(struct log *log, uint64_t sequence)
{
    uint32_t group = commit_group(log, sequence), i = group % LOG_TURNS;
    uint32_t seen = atomic_load(&log->sync[i].turn);
    atomic_fetch_add(&log->sync[i].sleepers, 1);
    if (atomic_load(&log->durable) < sequence && atomic_load(&log->sync_busy) && !atomic_load(&log->failed))
        os_futex_wait(&log->sync[i].turn, seen, commit_sleep_us(), false);
    atomic_fetch_sub(&log->sync[i].sleepers, 1);
    if (atomic_load(&log->durable) >= sequence && (int32_t)(group - atomic_load(&log->woken_group)) > 0)
        commit_wake(log, group, 1);
}

int commit_wait(struct log *log, uint64_t sequence)
{
    int r = 0;
    while (atomic_load(&log->durable) < sequence) {
        if (atomic_load(&log->failed))
            return KIST_EMAYBE;
        if (!commit_try_lead(log, sequence, &r))
            commit_sleep(log, sequence);
        else if (r)
            return KIST_EMAYBE; /* it is in the log, or may be */
    }
    return 0;
}
