/* recover.c: from the files of a store to an index.
 *
 * The newest log segment with a whole MANIFEST is the active one; it and the SWITCH frames behind it name every other
 * segment. Those must be there and end as they are said to end; they are taken from an index snapshot or replayed. The
 * active segment is followed to its end.
 *
 * What its end is, only the first opener has to decide. A frame is torn, and was never acknowledged, when it is not whole
 * and nothing says that it was durable. Two things can say so: a later frame, whose header tells how far the log was durable
 * when it was written (a MARK is written for that when a store is closed), and the lock page. Then it is damage, and the
 * store does not open but for salvage. Frames behind the last one known durable are checked to the last byte of their
 * values, because the disk may have kept a header and lost a value; and they are written again before they count as
 * durable, because after a failed fsync the page cache may show what the disk does not have. */
#include "engine/log.h"

#define RECOVER_CHUNK (256u << 10)
#define RECOVER_TRIES 20

/* -- which files there are -- */

/* A frame that nothing has proved durable yet, or a SWITCH: where it is and what it follows on. */
struct recover_frame {
    uint64_t offset, sequence;
    uint8_t prev[SEAL_TAG];
};

struct recover_frames {
    struct recover_frame *at;
    size_t first, len, cap; /* [first, len) count */
};

struct recover {
    struct log *log;
    bool alone;
    uint64_t *numbers; /* of .log files, ascending */
    size_t numbers_len, numbers_cap;
    struct segment *active;
    uint64_t tail, tail_sequence; /* end of the last whole frame of the active segment */
    uint64_t synced;              /* the most that a header or the page proves durable */
    bool rewrite;                 /* frames from unsynced.at[first] on carry something */
    struct recover_frames unsynced, switches;
};

static int recover_push(struct recover_frames *f, const struct recover_frame *frame)
{
    if (f->len == f->cap && f->first > f->len / 2) {
        memmove(f->at, f->at + f->first, (f->len - f->first) * sizeof *f->at);
        f->len -= f->first;
        f->first = 0;
    }
    struct recover_frame *p = array_room(f->at, f->len, &f->cap, sizeof *p);
    if (!p)
        return KIST_ENOMEM;
    f->at = p;
    f->at[f->len++] = *frame;
    return 0;
}

static int recover_number(const char *name, void *ctx)
{
    struct recover *r = ctx;
    uint64_t n = segment_number(name, ".log");
    if (!n)
        return 0;
    uint64_t *p = array_room(r->numbers, r->numbers_len, &r->numbers_cap, sizeof *p);
    if (!p)
        return KIST_ENOMEM;
    r->numbers = p;
    size_t at = r->numbers_len++;
    for (; at > 0 && r->numbers[at - 1] > n; at--)
        r->numbers[at] = r->numbers[at - 1];
    r->numbers[at] = n;
    if (n > r->log->last_number)
        r->log->last_number = n;
    return 0;
}

/* -- the active segment -- */

static int recover_row(const struct manifest_row *row, struct log *log)
{
    struct segment *s = table_find(log, row->number);
    if (s && s->gone && !s->leaving) { /* open already; it may have been the active one, and ended since */
        s->gone = false;
        s->last_sequence = row->last_sequence;
        s->end = row->end;
        memcpy(s->last_tag, row->tag, SEAL_TAG);
        log->segment_bytes += s->end;
        return 0;
    }
    int r = table_open(log, row->number, &s);
    if (r)
        return r == KIST_ENOSTORE ? KIST_ECORRUPT : r;
    s->first_sequence = row->first_sequence;
    s->last_sequence = row->last_sequence;
    s->end = row->end;
    memcpy(s->last_tag, row->tag, SEAL_TAG);
    if (s->kind == SEGMENT_COMPACTED)
        s->birth = row->birth; /* known at the switch only */
    if (s->kind != row->kind || s->generation != row->generation || (s->kind == SEGMENT_LOG && s->birth != row->birth))
        r = error_set(log->base.detail, KIST_ECORRUPT, "segment %012llu.log is not the one the manifest names",
                      (unsigned long long)row->number);
    if (r == 0)
        r = table_add(log, s);
    if (r)
        segment_free(&s);
    return r;
}

/* 1: s begins with a MANIFEST, whose payload is in out. */
static int recover_manifest(struct log *log, struct segment *s, struct buf *out)
{
    struct follow_walk w;
    follow_walk_init(&w, log, s, SEGMENT_HEADER, (const uint8_t[SEAL_TAG]){0});
    int r = follow_walk_next(&w);
    if (r == 1 && w.header.kind == FRAME_MANIFEST) {
        s->first_sequence = w.header.sequence;
        buf_reset(out);
        buf_add(out, w.frame + FRAME_HEADER, w.header.ops_len);
        if (buf_status(out))
            r = KIST_ENOMEM;
    } else if (r == 1) {
        r = KIST_ECORRUPT;
    }
    follow_walk_done(&w);
    return r;
}

/* s is the active segment; if it is open already, that one goes on. */
static void recover_found(struct recover *r, struct segment *s)
{
    struct segment *open = table_find(r->log, s->number);
    r->active = s;
    if (open && open->gone && !open->leaving) {
        segment_free(&s);
        r->active = open;
        open->gone = false;
    }
}

/* A segment gets its name when it is whole and synced, so one that does not open is damage, not a crash. */
static int recover_find_active(struct recover *r, struct buf *manifest)
{
    struct log *log = r->log;
    for (size_t i = r->numbers_len; i-- > 0;) {
        struct segment *s = NULL;
        int e = table_open(log, r->numbers[i], &s);
        if (e == 0 && s->kind == SEGMENT_LOG) {
            e = recover_manifest(log, s, manifest);
            if (e == 1) {
                recover_found(r, s);
                return 0;
            }
            if (e == 0 || e == KIST_ECORRUPT)
                e = error_set(log->base.detail, KIST_ECORRUPT, "segment %012llu.log: its manifest is damaged",
                              (unsigned long long)r->numbers[i]);
        }
        segment_free(&s);
        if (e)
            return e;
    }
    return error_set(log->base.detail, KIST_ECORRUPT, "there is no segment with a manifest");
}

static void recover_proved(struct recover *r, uint64_t synced)
{
    struct recover_frames *f = &r->unsynced;
    if (synced > r->synced)
        r->synced = synced;
    while (f->first < f->len && f->at[f->first].sequence <= r->synced)
        f->first++;
}

/* Headers only, which is enough to find the tail, the SWITCH frames and what nothing proves to be durable. */
static int recover_scan(struct recover *r)
{
    struct log *log = r->log;
    struct frame_context c = log_context(log, r->active);
    struct frame_header h;
    struct recover_frame at = {.offset = SEGMENT_HEADER, .sequence = r->active->first_sequence};
    struct buf b;
    size_t n = 0;
    uint64_t from = 0;
    uint8_t last;
    int e = 0;
    buf_init(&b, false);
    while (e == 0) {
        if (at.offset < from || at.offset + FRAME_HEADER > from + n) {
            from = at.offset;
            b.len = 0;
            uint8_t *p = buf_reserve(&b, n ? RECOVER_CHUNK : 4096);
            e = p ? segment_read_some(r->active, from, p, b.cap, &n) : KIST_ENOMEM;
            if (e || n < FRAME_HEADER)
                break;
        }
        if (!frame_header_read(&c, b.data + (at.offset - from), &h) || h.sequence != at.sequence)
            break;
        size_t got = 1;
        if (at.offset + h.len > from + n)
            e = segment_read_some(r->active, at.offset + h.len - 1, &last, 1, &got);
        if (e || !got)
            break;
        e = recover_push(&r->unsynced, &at);
        if (e == 0 && h.kind == FRAME_SWITCH)
            e = recover_push(&r->switches, &at);
        recover_proved(r, h.synced);
        at.offset += h.len;
        at.sequence++;
        memcpy(at.prev, h.tag, SEAL_TAG);
    }
    buf_done(&b);
    r->tail = at.offset;
    r->tail_sequence = at.sequence - 1;
    return e;
}

/* Does anything behind offset prove that sequence was durable? Authentic headers there do. */
static int recover_evidence(struct recover *r, uint64_t offset, uint64_t sequence, bool *out)
{
    struct frame_context c = log_context(r->log, r->active);
    struct frame_header h;
    uint8_t chunk[16384];
    size_t n = 0;
    *out = r->synced >= sequence;
    for (; !*out; offset += sizeof chunk - FRAME_HEADER) {
        int e = segment_read_some(r->active, offset, chunk, sizeof chunk, &n);
        if (e)
            return e;
        for (size_t i = 0; i + FRAME_HEADER <= n && !*out; i += 8) {
            if (chunk[i] && frame_header_read(&c, chunk + i, &h) && h.synced >= sequence)
                *out = true;
        }
        if (n < sizeof chunk)
            break;
    }
    return 0;
}

/* Frames that nothing proves durable must be whole to the last byte of their values; the tail ends before one that is not. */
static int recover_check_tail(struct recover *r)
{
    struct recover_frames *f = &r->unsynced;
    struct follow_walk w;
    int e = 1;
    if (f->first == f->len)
        return 0;
    follow_walk_init(&w, r->log, r->active, f->at[f->first].offset, f->at[f->first].prev);
    w.limit = r->tail;
    r->tail_sequence = f->at[f->first].sequence - 1;
    r->tail = w.offset;
    while ((e = follow_walk_next(&w)) == 1) {
        e = follow_values(&w);
        if (e)
            break;
        r->rewrite = r->rewrite || w.header.kind != FRAME_MARK;
        r->tail = w.offset;
        r->tail_sequence = w.header.sequence;
    }
    follow_walk_done(&w);
    return e == KIST_ECORRUPT ? 0 : e;
}

/* The rest of the active segment is zeros, torn, or damage. */
static int recover_judge(struct recover *r)
{
    struct log *log = r->log;
    bool durable = false;
    uint64_t evidence = log->memory ? 0 : shared_evidence(&log->shared, log->store_id);
    recover_proved(r, evidence);
    int e = recover_check_tail(r);
    if (e == 0)
        e = recover_evidence(r, r->tail, r->tail_sequence + 1, &durable);
    if (e || !durable)
        return e;
    return error_set(log->base.detail, KIST_ECORRUPT,
                     "segment %012llu.log: a frame at offset %llu that was durable is missing or damaged; what is before it is "
                     "good: open it with salvage",
                     (unsigned long long)r->active->number, (unsigned long long)r->tail);
}

/* Cut what is torn, write again what may be in the page cache only. */
static int recover_mend(struct recover *r)
{
    struct segment *s = r->active;
    uint8_t chunk[16384];
    size_t n = 1;
    int e = 0;
    bool torn = false;
    for (uint64_t at = r->tail; e == 0 && n > 0 && !torn; at += n) {
        e = segment_read_some(s, at, chunk, sizeof chunk, &n);
        for (size_t i = 0; i < n && !torn; i++)
            torn = chunk[i] != 0;
    }
    if (e == 0 && torn)
        e = segment_cut(s, r->tail);
    if (e || (!torn && !r->rewrite))
        return e;
    for (uint64_t at = r->unsynced.at[r->unsynced.first].offset; r->rewrite && at < r->tail && e == 0; at += n) {
        n = bytes_min(sizeof chunk, (size_t)(r->tail - at));
        e = segment_read(s, at, chunk, n);
        if (e == 0)
            e = segment_write(s, at, chunk, n);
    }
    if (e == 0)
        e = segment_sync(s);
    if (e == 0)
        r->synced = r->tail_sequence;
    return e;
}

/* -- the set of segments -- */

struct recover_rows {
    struct manifest_row *row;
    size_t len, cap;
};

static int recover_row_collect(const struct manifest_row *row, void *ctx)
{
    struct recover_rows *rows = ctx;
    for (size_t i = 0; i < rows->len; i++) {
        if (rows->row[i].number == row->number)
            return KIST_ECORRUPT;
    }
    struct manifest_row *p = array_room(rows->row, rows->len, &rows->cap, sizeof *p);
    if (!p)
        return KIST_ENOMEM;
    rows->row = p;
    rows->row[rows->len++] = *row;
    return 0;
}

static int recover_row_drop(uint64_t number, void *ctx)
{
    struct recover_rows *rows = ctx;
    for (size_t i = 0; i < rows->len; i++) {
        if (rows->row[i].number == number) {
            rows->row[i] = rows->row[--rows->len];
            return 0;
        }
    }
    return KIST_ECORRUPT;
}

/* The manifest and every SWITCH behind it, as one list. */
static int recover_list(struct recover *r, const struct buf *manifest, uint64_t upto, struct recover_rows *rows)
{
    struct follow_walk w;
    int e = manifest_decode(manifest->data, manifest->len, recover_row_collect, NULL, rows);
    for (size_t i = 0; e == 0 && i < r->switches.len && r->switches.at[i].sequence <= upto; i++) {
        const struct recover_frame *f = &r->switches.at[i];
        follow_walk_init(&w, r->log, r->active, f->offset, f->prev);
        e = follow_walk_next(&w);
        e = e == 1   ? manifest_decode(w.frame + FRAME_HEADER, w.header.ops_len, recover_row_collect, recover_row_drop, rows)
            : e == 0 ? KIST_ECORRUPT
                     : e;
        follow_walk_done(&w);
    }
    return e;
}

static int recover_open_all(struct recover *r, const struct buf *manifest, uint64_t upto)
{
    struct recover_rows rows = {0};
    struct log *log = r->log;
    int e = recover_list(r, manifest, upto, &rows);
    for (size_t i = 0; i < rows.len && e == 0; i++) {
        e = recover_row(&rows.row[i], log);
        if (rows.row[i].number > log->last_number)
            log->last_number = rows.row[i].number;
    }
    os_free(rows.row);
    r->active->end = 0;
    if (e == 0 && table_find(log, r->active->number) != r->active)
        e = table_add(log, r->active);
    if (e)
        return e;
    r->active->end = SEGMENT_HEADER;
    log->segment_bytes += SEGMENT_HEADER;
    return 0;
}

/* -- replay -- */

static int recover_replay_segment(struct log *log, struct segment *s, uint64_t from, const uint8_t tag[SEAL_TAG])
{
    struct follow_walk w;
    int r = 0;
    follow_walk_init(&w, log, s, from, tag);
    w.limit = s->end;
    for (;;) {
        r = follow_walk_next(&w);
        if (r != 1)
            break;
        r = follow_frame(log, s, w.at, &w.header, w.frame + FRAME_HEADER);
        if (r)
            break;
    }
    if (r == 0 && (w.offset != s->end || memcmp(w.tag, s->last_tag, SEAL_TAG)))
        r = KIST_ECORRUPT;
    follow_walk_done(&w);
    return r ? error_set(log->base.detail, r, "segment %012llu.log: the frame at offset %llu is damaged or missing",
                         (unsigned long long)s->number, (unsigned long long)w.offset)
             : 0;
}

/* All segments but the active one, from log->at on (a snapshot) or whole. */
static int recover_replay(struct log *log, bool snapshot)
{
    const struct log_table *t = atomic_load(&log->table);
    bool compacted = false;
    int r = 0;
    for (size_t i = 0; i < t->len; i++)
        compacted = compacted || (t->slot[i] && t->slot[i]->kind == SEGMENT_COMPACTED);
    log->replaying = compacted && !snapshot;
    for (size_t i = 0; i < t->len && r == 0; i++) {
        struct segment *s = t->slot[i];
        if (!s || s->gone || s == log->active || (snapshot && (s->kind != SEGMENT_LOG || s->number < log->at.segment)))
            continue;
        bool here = snapshot && s->number == log->at.segment;
        r = recover_replay_segment(log, s, here ? log->at.offset : SEGMENT_HEADER,
                                   here ? log->at.tag : (const uint8_t[SEAL_TAG]){0});
    }
    return r;
}

static int recover_index(struct recover *r, uint64_t upto)
{
    struct log *log = r->log;
    log->active = r->active;
    log->active->end = SEGMENT_HEADER;
    log->loading = true;
    log->follow_limit = r->tail;
    int e = snapshot_load(log);
    bool snapshot = e == 0;
    if (e && e != KIST_ENOSTORE)
        return e;
    e = recover_replay(log, snapshot);
    if (e)
        return e;
    if (!snapshot || log->at.segment != log->active->number)
        log->at = (struct log_position){
            .segment = log->active->number, .offset = SEGMENT_HEADER, .sequence = r->active->first_sequence - 1};
    log->active->end = log->at.offset;
    e = follow_to(log, upto);
    bool replayed = log->replaying;
    log->replaying = false;
    if (e == 0 && (replayed || log->drops))
        e = apply_settle(log);
    if (e == 0)
        e = follow_moves(log, SIZE_MAX);
    log->loading = false;
    log->follow_limit = 0;
    log->from_snapshot = snapshot;
    return e ? e : follow_capture(log);
}

/* Files that a crash left and that the manifest does not know: outputs that were never switched in, inputs that were. */
static int recover_orphans(struct recover *r)
{
    static const char *const temporary[] = {"next.tmp", "compact.tmp", "header.tmp", RECOVER_MARK};
    struct log *log = r->log;
    int e = 0;
    for (size_t i = 0; i < r->numbers_len && e == 0; i++) {
        char name[SEGMENT_NAME];
        if (table_find(log, r->numbers[i]))
            continue;
        segment_name(r->numbers[i], ".log", name);
        e = os_unlink(log->dir, name);
    }
    for (size_t i = 0; i < sizeof temporary / sizeof temporary[0] && e == 0; i++) {
        e = os_unlink(log->dir, temporary[i]);
        e = e == KIST_ENOSTORE ? 0 : e;
    }
    return e;
}

/* upto counts unless alone: then everything that is whole does. */
static int recover_run(struct recover *r, uint64_t upto)
{
    struct log *log = r->log;
    struct buf manifest;
    buf_init(&manifest, true);
    int e = os_list(log->dir, recover_number, r);
    if (e == 0)
        e = recover_find_active(r, &manifest);
    if (e == 0)
        e = recover_scan(r);
    if (e == 0 && r->alone)
        e = recover_judge(r);
    /* A roll may have died between naming this segment and making the name durable: nothing in it was proved then. */
    if (e == 0 && r->alone && !log->read_only && r->synced < r->active->first_sequence)
        e = os_sync_dir(log->dir);
    if (e == 0 && r->alone && !log->read_only)
        e = recover_mend(r);
    if (r->alone)
        upto = r->tail_sequence;
    if (e == 0)
        e = recover_open_all(r, &manifest, upto);
    if (e && table_find(log, r->active ? r->active->number : 0) != r->active)
        segment_free(&r->active);
    if (e == 0)
        e = recover_index(r, upto);
    if (e == 0 && r->alone && !log->read_only)
        e = recover_orphans(r);
    buf_done(&manifest);
    return e;
}

static void recover_done(struct recover *r)
{
    os_free(r->numbers);
    os_free(r->unsynced.at);
    os_free(r->switches.at);
}

int recover_load(struct log *log, bool alone)
{
    struct recover r = {.log = log, .alone = alone};
    int e = recover_run(&r, atomic_load(&log->shared.page->visible));
    recover_done(&r);
    if (e)
        return e;
    if (log->ended && log->next_segment > log->last_number)
        log->last_number = log->next_segment; /* END gave it away, though there is no file yet */
    if (alone) {
        shared_reset(&log->shared, log->store_id, log->at.sequence, r.synced < log->at.sequence ? r.synced : log->at.sequence,
                     log->active->number, log->last_number);
        atomic_store(&log->durable, log->at.sequence);
    }
    changes_forget(log->changes, log->at.sequence);
    tree_publish(log->index, log->at.sequence);
    return 0;
}

/* -- starting -- */

struct recover_names {
    bool mark, first, others; /* a restore's mark; segment 1; other segments */
};

static int recover_name(const char *name, void *ctx)
{
    struct recover_names *n = ctx;
    uint64_t number = segment_number(name, ".log");
    n->mark = n->mark || strcmp(name, RECOVER_MARK) == 0;
    n->first = n->first || number == 1;
    n->others = n->others || number > 1;
    return 0;
}

/* Has segment 1 no more than recover_create() writes? Nobody can have put anything into it then. */
static int recover_untouched(int dir, bool *out)
{
    uint8_t chunk[16384];
    char name[SEGMENT_NAME];
    int fd = -1;
    size_t n = 1;
    segment_name(1, ".log", name);
    int r = os_open(dir, name, OS_READONLY | OS_NOFOLLOW, &fd);
    *out = true;
    for (uint64_t at = SEGMENT_HEADER + FRAME_HEADER + 8; r == 0 && n > 0 && *out; at += n) {
        r = os_read(fd, chunk, sizeof chunk, at, &n);
        for (size_t i = 0; r == 0 && i < n; i++)
            *out = *out && chunk[i] == 0;
    }
    os_close(&fd);
    return r;
}

int recover_left(int dir, enum recover_left *out)
{
    struct recover_names names = {.mark = false};
    bool untouched = true;
    int r = os_list(dir, recover_name, &names);
    if (r == 0 && names.first && !names.mark && !names.others)
        r = recover_untouched(dir, &untouched);
    if (r == 0)
        *out = names.mark ? RECOVER_RESTORE : names.others || !untouched ? RECOVER_ORPHANS : RECOVER_VACANT;
    return r;
}

int recover_create(struct log *log)
{
    struct segment *s = NULL;
    struct buf payload;
    struct frame_writer w;
    uint8_t frame[FRAME_HEADER + 8];
    struct frame_sizes sizes = {.ops = 1};
    int r = table_create(log, 1, SEGMENT_LOG, 1, NULL, SEGMENT_AHEAD, &s);
    if (r)
        return r;
    buf_init(&payload, false);
    buf_add_varint(&payload, 0);
    struct frame_context c = log_context(log, s);
    r = buf_status(&payload);
    if (r == 0)
        r = frame_begin(&w, &c, frame, &sizes, FRAME_MANIFEST, 1, 0);
    if (r == 0) {
        frame_add_payload(&w, payload.data, payload.len);
        frame_finish(&w, (const uint8_t[SEAL_TAG]){0}, s->last_tag);
        r = segment_make_room(s, SEGMENT_HEADER, sizeof frame, 0);
    }
    if (r == 0)
        r = segment_write(s, SEGMENT_HEADER, frame, sizeof frame);
    if (r == 0)
        r = segment_sync(s);
    buf_done(&payload);
    if (r) {
        segment_free(&s);
        return r;
    }
    if (!log->memory) {
        segment_free(&s);
        return os_sync_dir(log->dir);
    }
    s->first_sequence = s->last_sequence = 1;
    r = table_add(log, s);
    if (r) {
        segment_free(&s);
        return r;
    }
    s->end = SEGMENT_HEADER + sizeof frame;
    log->segment_bytes = s->end;
    log->active = s;
    log->last_number = 1;
    log->at = (struct log_position){.segment = 1, .offset = s->end, .sequence = 1};
    memcpy(log->at.tag, s->last_tag, SEAL_TAG);
    atomic_store(&log->durable, 1);
    shared_reset(&log->shared, log->store_id, 1, 1, 1, 1);
    r = follow_capture(log);
    tree_publish(log->index, 1);
    return r;
}

/* The memory engine has no files to look at, and nobody else: its segments are the store. */
static int recover_memory(struct recover *r)
{
    struct log *log = r->log;
    const struct log_table *t = atomic_load(&log->table);
    for (size_t i = 0; i < t->len; i++) {
        struct segment *s = t->slot[i];
        if (s && !s->leaving && !s->dropped) {
            s->gone = false;
            log->segment_bytes += s == log->active ? SEGMENT_HEADER : s->end;
        }
    }
    r->active = log->active;
    r->tail = log->at.offset;
    return recover_index(r, log->at.sequence);
}

/* Every segment is out of the store until the manifest names it again; snapshots keep those that are open. */
static void recover_forget(struct log *log)
{
    const struct log_table *t = atomic_load(&log->table);
    apply_clear(log);
    for (size_t i = 0; i < t->len; i++) {
        struct segment *s = t->slot[i];
        if (s && log->memory)
            s->dropped = s->gone;
        if (s) {
            s->gone = true;
            s->gone_at = 0;
        }
    }
    log->segment_bytes = 0;
    log->ended = log->replaying = false;
}

int recover_again(struct log *log, uint64_t upto)
{
    int e = 0;
    for (int i = 0; i < RECOVER_TRIES; i++) {
        struct recover r = {.log = log};
        compact_lost(log);
        recover_forget(log);
        e = log->memory ? recover_memory(&r) : recover_run(&r, upto);
        recover_done(&r);
        if (e != KIST_ECORRUPT && e != KIST_ENOSTORE)
            break;
        os_sleep_us(1000); /* compaction may have taken a file away under us */
    }
    log->broken = e != 0;
    if (e)
        return e;
    log->written = 0;
    log->loaded = log->at.sequence;
    log->loaded_segment = log->active->number;
    changes_forget(log->changes, log->at.sequence);
    return 0;
}
