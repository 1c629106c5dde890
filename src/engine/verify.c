/* verify.c: reads everything that a store consists of and says what is wrong with it.
 *
 * It holds a snapshot of the index, so that no segment it looks at goes away, and no lock: others go on reading and writing.
 * What it promises is for the revision of that snapshot: every frame up to it has its check, its place in the chain and its
 * seal; every value opens and is the one that the operation names; segments have the sequences, the ends and the last tags
 * that the store has on record, and their files are in the directory under their names; no file that could be a segment of
 * this store is there besides.
 *
 * Then the index against the log. Operations are looked up as they are met: no operation may be newer than what the index
 * has, and each entry must be met at its place with its length, type and expiry. Places are met once, so counting the
 * matches finds entries that nothing in the log stands for. Entries that point into a segment which compaction has just
 * replaced are read through the old file, and must be met with the same revision in what took its place. A SWITCH that is
 * newer than the snapshot has not happened yet: its inputs are part of the store, its output is not. Tried and dropped:
 * building a second index from the log to compare with, which needs the memory of the first one again.
 *
 * Where the log itself is damaged the index is not compared: salvage has read around the damage, and every record behind
 * it would be reported once more. */
#include "engine/log.h"

#include <assert.h>
#include <stdio.h>

#define VERIFY_PROGRESS_US 100000

/* A segment as the store had it on record when verify began, and what was counted of it. */
struct verify_segment {
    struct segment *s;
    struct segment was;                                       /* a copy: its pointers are not used */
    bool growing;                                             /* frames may come behind what is verified */
    bool successors;                                          /* gone, and what took its place is among the rows */
    uint64_t live_bytes, live_count;                          /* by the index */
    uint64_t put_count, drop_count, delete_bytes, many_count; /* by the log */
    uint64_t replaced, moved; /* gone: entries that point into it; those met in what took its place */
};

struct verify {
    struct log *log;
    const struct kist_verify_options *options;
    struct kist_verify_report *report;
    struct tree_snap snap;
    struct verify_segment *rows; /* by number */
    size_t rows_len;
    uint64_t upto;         /* the revision that is verified */
    uint64_t sequence;     /* of the last frame of this segment */
    uint64_t log_sequence; /* of the last frame of the last log segment */
    struct buf removed;    /* numbers of segments that a SWITCH has replaced: after a crash their files may still be there */
    struct buf missing;    /* numbers of segments that the newest manifest names and the table does not have */
    bool settled;          /* the accounts are those of upto */
    bool damaged;          /* the log cannot be compared with the index */
    uint32_t newest;       /* generation */
    uint64_t matches, entries;
    uint64_t total, done; /* bytes, for progress */
    int64_t next_us;
    struct buf value;
};

static void verify_problem(struct verify *v, const char *format, ...) KIST_PRINTF(2, 3);
static void verify_problem(struct verify *v, const char *format, ...)
{
    char sentence[256];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    if (v->report->problems++ == 0)
        (void)error_set(v->log->base.detail, KIST_ECORRUPT, "%s", sentence);
    if (v->options->problem)
        v->options->problem(sentence, v->options->problem_ctx);
}

static int verify_progress(struct verify *v)
{
    if (!v->options->progress)
        return 0;
    int64_t now = os_mono_us();
    if (now < v->next_us)
        return 0;
    v->next_us = now + VERIFY_PROGRESS_US;
    return v->options->progress("verify", v->done, v->total, v->options->progress_ctx);
}

static struct verify_segment *verify_row(struct verify *v, uint64_t number)
{
    size_t low = 0, high = v->rows_len;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (v->rows[mid].was.number < number)
            low = mid + 1;
        else
            high = mid;
    }
    return low < v->rows_len && v->rows[low].was.number == number ? &v->rows[low] : NULL;
}

/* -- what to verify -- */

/* Up to where nobody writes in s any more: frames behind it are not in the segment yet. State held. */
static uint64_t verify_written(const struct log *log, const struct segment *s)
{
    if (log->flushing.len && log->flushing_segment == s)
        return log->flushing_at;
    return log->pending.len && log->pending_segment == s ? log->pending_at : s->end;
}

/* What the state lock guards; what a writer keeps for itself stays out. */
static struct segment verify_record(const struct segment *s)
{
    struct segment was = {.number = s->number,
                          .kind = s->kind,
                          .generation = s->generation,
                          .birth = s->birth,
                          .first_sequence = s->first_sequence,
                          .last_sequence = s->last_sequence,
                          .end = s->end,
                          .fd = -1,
                          .live_bytes = s->live_bytes,
                          .live_count = s->live_count,
                          .put_count = s->put_count,
                          .delete_bytes = s->delete_bytes,
                          .many_count = s->many_count,
                          .drop_count = s->drop_count};
    memcpy(was.last_tag, s->last_tag, SEAL_TAG);
    return was;
}

/* Did s come into the store only behind what is verified? */
static bool verify_newer(const struct verify *v, const struct segment *s)
{
    if (s->kind == SEGMENT_LOG)
        return s->first_sequence > v->upto;
    return s->birth > v->upto && !v->log->salvaged; /* salvage knows neither births nor its revision for sure */
}

/* State held. */
static int verify_collect(struct verify *v)
{
    struct log *log = v->log;
    const struct log_table *t = atomic_load(&log->table);
    v->rows = os_calloc((t->len + 1) * sizeof *v->rows);
    if (!v->rows)
        return KIST_ENOMEM;
    v->upto = v->snap.root.tag;
    for (size_t i = 0; i < t->len; i++) {
        struct segment *s = t->slot[i];
        if (!s || verify_newer(v, s))
            continue;
        struct verify_segment *row = &v->rows[v->rows_len++];
        row->s = s;
        row->was = verify_record(s);
        row->was.gone = s->gone && s->gone_at <= v->upto;
        row->successors = row->was.gone && s->gone_at;
        row->growing = s == log->active;
        if (row->growing)
            row->was.end = verify_written(log, s);
        if (!row->was.gone)
            v->total += s->end;
    }
    v->settled = log->at.sequence == v->upto && !log->moves_len && !log->purges_len && !log->broken;
    return 0;
}

/* A snapshot and the rows that go with it. *out_skipped: one is missing, an output that was replaced again before it could be
 * opened, by a SWITCH that may be newer than the snapshot. */
static int verify_snapshot(struct verify *v, bool *out_skipped)
{
    struct log *log = v->log;
    *out_skipped = false;
    (void)pthread_mutex_lock(&log->state);
    uint64_t skips = log->skips;
    (void)pthread_mutex_unlock(&log->state);
    int r = follow_fresh(log);
    if (r == KIST_ECORRUPT) {
        verify_problem(v, "%.200s", log->base.detail ? log->base.detail->text : "the log cannot be followed");
        v->damaged = true;
        r = 0;
    }
    if (r == 0)
        r = tree_snap_take(log->index, &v->snap);
    if (r)
        return r;
    (void)pthread_mutex_lock(&log->state);
    *out_skipped = skips != log->skips;
    if (!*out_skipped)
        r = verify_collect(v);
    (void)pthread_mutex_unlock(&log->state);
    return r;
}

static int verify_begin(struct verify *v)
{
    struct log *log = v->log;
    bool skipped = false;
    int r = verify_snapshot(v, &skipped);
    while (r == 0 && skipped) { /* what replaced it is visible by now */
        tree_snap_drop(log->index, &v->snap);
        r = verify_snapshot(v, &skipped);
    }
    (void)pthread_rwlock_rdlock(&log->keyring_lock);
    v->newest = keyring_generation(log->keyring);
    (void)pthread_rwlock_unlock(&log->keyring_lock);
    return r;
}

/* -- values -- */

/* The bytes at offset of the current frame: from the walk's buffer if they are there. */
static int verify_bytes(struct follow_walk *w, uint64_t offset, uint8_t *p, size_t len)
{
    size_t at = (size_t)(w->frame - w->buffer.data);
    if (offset + len <= w->buffer.len - at) {
        memcpy(p, w->frame + offset, len);
        return 0;
    }
    return segment_read(w->s, w->at + offset, p, len);
}

static int verify_value(struct verify *v, struct follow_walk *w, const struct frame_op *op)
{
    struct frame_context c = log_context(v->log, w->s);
    size_t n = (size_t)op->len + SEAL_TAG;
    v->value.len = 0;
    uint8_t *p = buf_reserve(&v->value, n);
    if (!p)
        return KIST_ENOMEM;
    int r = verify_bytes(w, op->delta, p, n);
    v->value.len = n;
    if (r == 0 && memcmp(p + op->len, op->tag, SEAL_TAG))
        r = KIST_ECORRUPT;
    if (r == 0)
        r = frame_value_open(&c, w->header.nonce, op->delta, op->revision, p, op->len, op->tag, p);
    v->report->values++;
    if (r != KIST_ECORRUPT && r != KIST_EIO)
        return r;
    verify_problem(v, "segment %012llu.log: a value of the frame at offset %llu %s", (unsigned long long)w->s->number,
                   (unsigned long long)w->at, r == KIST_EIO ? "cannot be read" : "does not authenticate");
    return 0;
}

/* Nobody authenticates the bytes that fill a frame up to a multiple of 8, so they must be zeros. */
static int verify_padding(struct verify *v, struct follow_walk *w, uint64_t from)
{
    uint8_t p[8] = {0};
    static const uint8_t zeros[8];
    size_t n = (size_t)(w->header.len - from);
    int r = n ? verify_bytes(w, from, p, n) : 0;
    if (r == 0 && !memcmp(p, zeros, n))
        return 0;
    if (r && r != KIST_ECORRUPT && r != KIST_EIO)
        return r;
    verify_problem(v, "segment %012llu.log: the frame at offset %llu was changed behind its last value",
                   (unsigned long long)w->s->number, (unsigned long long)w->at);
    return 0;
}

/* -- operations against the index -- */

static void verify_differs(struct verify *v, const struct follow_walk *w, const char *what)
{
    verify_problem(v, "segment %012llu.log: an operation of the frame at offset %llu and the index differ: %s",
                   (unsigned long long)w->s->number, (unsigned long long)w->at, what);
}

static bool verify_find(const struct verify *v, uint64_t bucket, struct kist_bytes key, struct entry *out)
{
    uint8_t index_key[LOG_INDEX_KEY];
    size_t len = 0, n = log_index_key(bucket, key, index_key);
    const uint8_t *p = tree_find(&v->snap.root, index_key, n, &len);
    os_wipe(index_key, n);
    return p && entry_decode(p, len, out);
}

static bool verify_dropped(const struct verify *v, uint64_t bucket)
{
    struct entry e;
    return v->snap.root.aux[LOG_AUX_DROPS] && verify_find(v, bucket, (struct kist_bytes){NULL, 0}, &e);
}

static void verify_put(struct verify *v, const struct follow_walk *w, const struct frame_op *op, const struct entry *e)
{
    if (e->revision != op->revision)
        return;
    bool here = e->segment == w->s->number && e->frame == w->at && e->delta == op->delta;
    struct verify_segment *row = here ? NULL : verify_row(v, e->segment);
    if (here)
        v->matches++;
    else if (row && row->was.gone)
        row->moved++;
    else
        return;
    if (e->len != op->len || e->expires_ms != op->expires_ms || (e->flags & ENTRY_TYPE) != op->type ||
        (here && e->tag4 != bytes_get32(op->tag)))
        verify_differs(v, w, "length, type, expiry or tag");
}

static void verify_op(struct verify *v, const struct follow_walk *w, const struct frame_op *op)
{
    struct entry e;
    bool found = verify_find(v, op->bucket, (struct kist_bytes){op->key, op->key_len}, &e);
    if (op->revision > v->upto)
        return;
    if (op->kind == FRAME_DROP) {
        if (!found || !(e.flags & ENTRY_DROP))
            verify_differs(v, w, "a dropped bucket is still there");
        return;
    }
    if (!found || verify_dropped(v, op->bucket))
        return;
    if (e.revision < op->revision || (op->kind == FRAME_DELETE && e.revision == op->revision))
        verify_differs(v, w, "the index is older");
    else if (op->kind == FRAME_PUT)
        verify_put(v, w, op, &e);
}

static void verify_count(struct verify_segment *row, const struct frame_op *op)
{
    if (op->kind == FRAME_DELETE)
        row->delete_bytes += (uint64_t)op->key_len + 8;
    row->many_count += op->kind == FRAME_DELETE && op->shadow == 0;
    row->put_count += op->kind == FRAME_PUT;
    row->drop_count += op->kind == FRAME_DROP;
}

static int verify_operations(struct verify *v, struct verify_segment *row, struct follow_walk *w)
{
    struct frame_reader reader;
    struct frame_op op;
    int r = 0;
    frame_read(&reader, &w->header, w->frame + FRAME_HEADER);
    while ((r = frame_read_next(&reader, &op)) == 1) {
        if (op.kind == FRAME_PUT)
            r = verify_value(v, w, &op);
        if (r < 0)
            return r;
        verify_count(row, &op);
        if (!v->damaged)
            verify_op(v, w, &op);
    }
    return r ? r : verify_padding(v, w, reader.value_at);
}

/* -- lists of segments: salvage goes on without those that it does not find -- */

static int verify_listed(const struct manifest_row *row, void *ctx)
{
    struct verify *v = ctx;
    if (verify_row(v, row->number) || (row->kind == SEGMENT_COMPACTED && row->birth > v->upto))
        return 0;
    buf_add_u64(&v->missing, row->number);
    return buf_status(&v->missing);
}

static int verify_removed(uint64_t number, void *ctx)
{
    struct verify *v = ctx;
    uint8_t *p = v->missing.data;
    for (size_t i = 0; i + 8 <= v->missing.len; i += 8) {
        if (bytes_get64(p + i) == number)
            bytes_put64(p + i, 0);
    }
    buf_add_u64(&v->removed, number);
    return buf_status(&v->removed);
}

static void verify_list_end(struct verify *v)
{
    for (size_t i = 0; i + 8 <= v->missing.len; i += 8) {
        uint64_t number = bytes_get64(v->missing.data + i);
        if (!number)
            continue;
        v->damaged = true;
        verify_problem(v, "segment %012llu.log is missing, or its header is damaged", (unsigned long long)number);
    }
}

/* What is in a frame besides its chain and seal. KIST_ECORRUPT: it makes no sense. */
static int verify_content(struct verify *v, struct verify_segment *row, struct follow_walk *w)
{
    const uint8_t *ops = w->frame + FRAME_HEADER;
    uint64_t end = (uint64_t)FRAME_HEADER + w->header.ops_len;
    if (w->header.kind == FRAME_COMMIT)
        return verify_operations(v, row, w);
    int r = 0;
    if (w->header.kind == FRAME_MANIFEST) {
        buf_reset(&v->missing);
        r = manifest_decode(ops, w->header.ops_len, verify_listed, NULL, v);
    } else if (w->header.kind == FRAME_SWITCH) {
        r = manifest_decode(ops, w->header.ops_len, verify_listed, verify_removed, v);
    }
    if (r == 0 && bytes_align8((size_t)end) != w->header.len)
        r = KIST_ECORRUPT;
    return r ? r : verify_padding(v, w, end);
}

/* -- frames -- */

/* One more than the frame before; and log segments follow on each other, though not without gaps: compaction makes them. */
static void verify_sequence(struct verify *v, const struct verify_segment *row, const struct follow_walk *w)
{
    uint64_t now = w->header.sequence;
    bool first = w->at == SEGMENT_HEADER;
    bool good = first ? now == row->was.first_sequence : now == v->sequence + 1;
    if (row->was.kind == SEGMENT_LOG) {
        good = good && now > v->log_sequence;
        v->log_sequence = now;
    }
    v->sequence = now;
    if (!good)
        verify_problem(v, "segment %012llu.log: the frame at offset %llu has the sequence number of another place",
                       (unsigned long long)w->s->number, (unsigned long long)w->at);
}

static int verify_frame(struct verify *v, struct verify_segment *row, struct follow_walk *w)
{
    verify_sequence(v, row, w);
    v->report->frames++;
    v->report->bytes += w->header.len;
    v->report->old_key_frames += row->was.generation < v->newest;
    v->done += w->header.len;
    int r = verify_content(v, row, w);
    if (r == KIST_ECORRUPT || r == KIST_EIO) {
        v->damaged = true;
        verify_problem(v, "segment %012llu.log: the frame at offset %llu %s", (unsigned long long)w->s->number,
                       (unsigned long long)w->at, r == KIST_EIO ? "cannot be read" : "holds what no writer writes");
        r = 0;
    }
    return r ? r : verify_progress(v);
}

/* Is the next frame to be verified? A growing segment ends, for us, with the frame that has upto; a salvaged one with
 * whatever made it necessary to salvage. */
static bool verify_wanted(const struct verify *v, const struct verify_segment *row, const struct follow_walk *w)
{
    if (!row->growing)
        return w->offset < row->was.end;
    return v->log->salvage || w->offset == SEGMENT_HEADER || v->sequence < v->upto;
}

static void verify_missing(struct verify *v, const struct verify_segment *row, const struct follow_walk *w, int r)
{
    v->damaged = true;
    verify_problem(v, "segment %012llu.log: the frame at offset %llu %s", (unsigned long long)row->was.number,
                   (unsigned long long)w->offset,
                   r == KIST_EIO ? "cannot be read"
                   : r == 0      ? "is missing"
                                 : "is damaged or out of place");
}

/* Nothing comes behind the end of a segment but the zeros that were written ahead. */
static int verify_rest(struct verify *v, const struct verify_segment *row, uint64_t end)
{
    uint8_t p[4096];
    size_t n = 0;
    if ((row->growing && !v->log->salvage) || v->log->memory)
        return 0;
    for (uint64_t at = end;; at += n) {
        int r = segment_read_some(row->s, at, p, sizeof p, &n);
        if (r || n == 0)
            return r == KIST_EIO ? 0 : r;
        for (size_t i = 0; i < n; i++) {
            if (p[i]) {
                verify_problem(v, "segment %012llu.log: there is something behind its end, at offset %llu",
                               (unsigned long long)row->was.number, (unsigned long long)at + i);
                return 0;
            }
        }
    }
}

/* All frames that are wanted. *out_end: where they end; 0 when there is a break. Progress may answer anything but 0. */
static int verify_frames(struct verify *v, struct verify_segment *row, struct follow_walk *w, uint64_t *out_end)
{
    while (verify_wanted(v, row, w)) {
        int r = follow_walk_next(w);
        bool tail = r == 0 && row->growing && v->sequence >= v->upto && w->offset > SEGMENT_HEADER; /* when salvaged */
        if (tail)
            break;
        if (r == 0 || r == KIST_ECORRUPT || r == KIST_EIO) {
            verify_missing(v, row, w, r);
            return 0;
        }
        r = r == 1 ? verify_frame(v, row, w) : r;
        if (r)
            return r;
    }
    *out_end = w->offset;
    if (row->growing || (w->offset == row->was.end && !memcmp(w->tag, row->was.last_tag, SEAL_TAG)))
        return 0;
    v->damaged = true;
    verify_problem(v, "segment %012llu.log does not end as the store has it on record, at offset %llu",
                   (unsigned long long)row->was.number, (unsigned long long)row->was.end);
    return 0;
}

static int verify_segment(struct verify *v, struct verify_segment *row)
{
    static const uint8_t none[SEAL_TAG];
    struct follow_walk w;
    uint64_t end = 0;
    v->report->segments++;
    v->report->bytes += SEGMENT_HEADER;
    v->done += SEGMENT_HEADER;
    follow_walk_init(&w, v->log, row->s, SEGMENT_HEADER, none);
    if (!row->growing || v->log->memory) /* a file may be read while it is written; memory may not */
        w.limit = row->was.end;
    int r = verify_frames(v, row, &w, &end);
    follow_walk_done(&w);
    return r == 0 && end ? verify_rest(v, row, end) : r;
}

/* -- the index against the log -- */

/* Its segment was replaced, but the old file is still good for it. */
static void verify_replaced(struct verify *v, struct verify_segment *row, const struct entry *e)
{
    void *data = NULL;
    row->replaced++;
    if (read_value(v->log, e, false, &data)) {
        verify_problem(v, "segment %012llu.log: the value of the frame at offset %llu does not authenticate",
                       (unsigned long long)e->segment, (unsigned long long)e->frame);
        return;
    }
    os_wipe(data, e->len);
    os_free(data);
}

static void verify_entry(struct verify *v, const struct entry *e, size_t key_len)
{
    struct verify_segment *row = verify_row(v, e->segment);
    if (!row) {
        verify_problem(v, "the index has a record in segment %012llu.log, which is not part of the store",
                       (unsigned long long)e->segment);
    } else if (row->was.gone) {
        verify_replaced(v, row, e);
    } else {
        v->entries++;
        row->live_bytes += entry_weight(key_len - 8, e->len);
        row->live_count++;
    }
}

static void verify_moves(struct verify *v)
{
    for (size_t i = 0; i < v->rows_len; i++) {
        const struct verify_segment *row = &v->rows[i];
        if (row->successors && row->moved != row->replaced)
            verify_problem(v,
                           "the index has %llu records in segment %012llu.log, which compaction has replaced; the log has "
                           "%llu of them in other segments",
                           (unsigned long long)row->replaced, (unsigned long long)row->was.number,
                           (unsigned long long)row->moved);
    }
}

static int verify_index(struct verify *v)
{
    struct tree_cursor *c = os_alloc(sizeof *c);
    uint64_t dropped = 0, seen = 0;
    int r = 0;
    if (!c)
        return KIST_ENOMEM;
    tree_cursor_init(c, &v->snap.root);
    for (bool more = tree_cursor_seek(c, "", 0); more && r == 0; more = tree_cursor_next(c)) {
        struct entry e;
        uint64_t bucket = bytes_get64be(c->key);
        if (!entry_decode(c->payload, c->payload_len, &e))
            verify_problem(v, "the index holds something that is no entry");
        else if (e.flags & ENTRY_DROP)
            dropped = bucket;
        else if (!dropped || bucket != dropped)
            verify_entry(v, &e, c->key_len);
        if (++seen % 1024 == 0)
            r = verify_progress(v);
    }
    os_wipe(c, sizeof *c);
    os_free(c);
    if (r == 0 && seen != v->snap.root.count)
        verify_problem(v, "the index counts %llu records and holds %llu", (unsigned long long)v->snap.root.count,
                       (unsigned long long)seen);
    if (r == 0 && v->entries != v->matches)
        verify_problem(v, "the index has %llu records of which the log has %llu", (unsigned long long)v->entries,
                       (unsigned long long)v->matches);
    if (r == 0)
        verify_moves(v);
    return r;
}

/* Meaningful only when nothing has happened since the snapshot was taken. */
static void verify_accounts(struct verify *v)
{
    for (size_t i = 0; i < v->rows_len; i++) {
        if (v->rows[i].replaced)
            return;
    }
    for (size_t i = 0; i < v->rows_len && v->settled; i++) {
        const struct verify_segment *row = &v->rows[i];
        if (row->was.gone)
            continue;
        if (row->live_bytes != row->was.live_bytes || row->live_count != row->was.live_count ||
            row->delete_bytes != row->was.delete_bytes || row->many_count != row->was.many_count ||
            row->put_count != row->was.put_count || row->drop_count != row->was.drop_count)
            verify_problem(v, "segment %012llu.log: the account of what is still in use is wrong",
                           (unsigned long long)row->was.number);
    }
}

/* -- files -- */

/* Has the segment left the store since we began? */
static int verify_left(struct verify *v, struct segment *s, bool *out)
{
    int r = follow_fresh(v->log);
    (void)pthread_mutex_lock(&v->log->state);
    *out = s->gone;
    (void)pthread_mutex_unlock(&v->log->state);
    return r == KIST_ECORRUPT ? 0 : r;
}

/* Is the file that has the segment's name the one that was read, with its header? */
static int verify_file(struct verify *v, const struct verify_segment *row)
{
    struct segment *s = NULL;
    struct os_stat a, b;
    bool left = false;
    int r = table_open(v->log, row->was.number, &s);
    if (r == KIST_ENOMEM || r == KIST_EFDS)
        return r;
    bool good = r == 0 && s->kind == row->was.kind && s->generation == row->was.generation && os_stat(s->fd, &a) == 0 &&
                os_stat(row->s->fd, &b) == 0 && a.device == b.device && a.inode == b.inode;
    segment_free(&s);
    if (good)
        return 0;
    r = verify_left(v, row->s, &left);
    if (r == 0 && !left)
        verify_problem(v, "segment %012llu.log: the file is missing, not the one that is in use, or its header is damaged",
                       (unsigned long long)row->was.number);
    return r;
}

static bool verify_was_removed(const struct verify *v, uint64_t number)
{
    for (size_t i = 0; i + 8 <= v->removed.len; i += 8) {
        if (bytes_get64(v->removed.data + i) == number)
            return true;
    }
    return false;
}

/* A log segment of this store that nothing accounts for. (The output of a compaction that did not get through is no harm,
 * and the next opener takes it away, with replaced segments.) */
static int verify_stray(const char *name, void *ctx)
{
    struct verify *v = ctx;
    struct segment *s = NULL;
    uint64_t number = segment_number(name, ".log");
    if (!number || verify_row(v, number) || verify_was_removed(v, number))
        return 0;
    int r = follow_fresh(v->log);
    (void)pthread_mutex_lock(&v->log->state);
    bool known = table_find(v->log, number) || number > v->log->active->number;
    (void)pthread_mutex_unlock(&v->log->state);
    if (known || (r && r != KIST_ECORRUPT))
        return known ? 0 : r;
    r = table_open(v->log, number, &s);
    if (r == 0 && s->kind == SEGMENT_LOG)
        verify_problem(v, "segment %s: a log segment of this store that is not part of it", name);
    segment_free(&s);
    return r == KIST_ENOMEM || r == KIST_EFDS ? r : 0;
}

static int verify_keyring(const struct keyring *k, void *ctx)
{
    (void)k;
    (void)ctx;
    return 0;
}

static int verify_files(struct verify *v)
{
    int r = 0;
    if (v->log->memory)
        return 0;
    for (size_t i = 0; i < v->rows_len && r == 0; i++) {
        if (!v->rows[i].was.gone)
            r = verify_file(v, &v->rows[i]);
    }
    if (r == 0)
        r = os_list(v->log->dir, verify_stray, v);
    if (r)
        return r;
    r = rekey_read(&v->log->base, verify_keyring, NULL);
    if (r && r != KIST_ENOMEM && r != KIST_EFDS) {
        verify_problem(v, "header: the file is missing, damaged or older than what is in use");
        r = 0;
    }
    return r;
}

static int verify_run(struct verify *v)
{
    int r = verify_begin(v);
    for (size_t i = 0; i < v->rows_len && r == 0; i++) {
        if (!v->rows[i].was.gone)
            r = verify_segment(v, &v->rows[i]);
    }
    verify_list_end(v);
    if (r == 0 && !v->damaged) {
        r = verify_index(v);
        if (r == 0)
            verify_accounts(v);
    }
    if (r == 0)
        r = verify_files(v);
    v->report->revision = v->upto;
    return r;
}

int verify_log(struct engine *e, const struct kist_verify_options *options, struct kist_verify_report *out)
{
    static const struct kist_verify_options none = {.size = sizeof none};
    struct log *log = log_of(e);
    struct verify v = {.log = log, .options = options ? options : &none, .report = out};
    int r = log_entered(log);
    if (r)
        return r;
    *out = (struct kist_verify_report){0};
    buf_init(&v.value, true);
    buf_init(&v.missing, false);
    buf_init(&v.removed, false);
    r = verify_run(&v);
    if (v.snap.slot)
        tree_snap_drop(log->index, &v.snap);
    os_free(v.rows);
    buf_done(&v.value);
    buf_done(&v.missing);
    buf_done(&v.removed);
    if (r == 0 && out->problems)
        r = KIST_ECORRUPT; /* the detail has the first of them */
    if (r == 0 && out->revision < v.options->at_least)
        r = error_set(log->base.detail, KIST_EROLLBACK, "the store is at revision %llu, not at %llu",
                      (unsigned long long)out->revision, (unsigned long long)v.options->at_least);
    return r;
}
