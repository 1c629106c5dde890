/* salvage.c: what is still good of a damaged store, read-only.
 *
 * Only after an ordinary opening has found damage or could not read. Every segment file that opens is walked; a frame that
 * does not open, or that the disk does not read any more, is passed over, on to the next header that is authentic. The chain
 * cannot vouch for what follows a hole, but the damaged frame's tag, in clear, often can: then only that frame is lost, else
 * its successor, too. The newest manifest that can be read says which segments count; without one all do, and records that
 * were deleted may be back. So a salvaged store may show an older state of a key, or none, but never anything that was not
 * once written under it. */
#include "engine/log.h"

#define SALVAGE_BLOCK (64u << 10)
#define SALVAGE_SECTOR 512u

struct salvage {
    struct log *log;
    uint64_t *numbers; /* of the .log files */
    size_t len, cap;
    bool *counts; /* by the manifest */
    bool listed;  /* there is a manifest */
};

static int salvage_number(const char *name, void *ctx)
{
    struct salvage *s = ctx;
    uint64_t n = segment_number(name, ".log");
    if (!n || n > UINT32_MAX)
        return 0;
    uint64_t *p = array_room(s->numbers, s->len, &s->cap, sizeof *p);
    if (!p)
        return KIST_ENOMEM;
    s->numbers = p;
    size_t at = s->len++;
    for (; at > 0 && s->numbers[at - 1] > n; at--)
        s->numbers[at] = s->numbers[at - 1];
    s->numbers[at] = n;
    return 0;
}

/* -- walking over holes -- */

/* Like segment_read_some(), but sectors that the disk does not read are zeros. */
static int salvage_read(struct segment *s, uint64_t offset, uint8_t *p, size_t len, size_t *out_n)
{
    struct os_stat st;
    int r = segment_read_some(s, offset, p, len, out_n);
    if (r != KIST_EIO)
        return r;
    r = os_stat(s->fd, &st);
    if (r)
        return r;
    len = offset >= st.size ? 0 : bytes_min(len, (size_t)(st.size - offset));
    for (size_t at = 0, n = 0; at < len && r == 0; at += n) {
        size_t got = 0;
        n = bytes_min(len - at, SALVAGE_SECTOR - (size_t)((offset + at) % SALVAGE_SECTOR));
        r = segment_read_some(s, offset + at, p + at, n, &got);
        if (r == KIST_EIO)
            got = 0;
        memset(p + at + got, 0, n - got);
        r = r == KIST_EIO ? 0 : r;
    }
    *out_n = len;
    return r;
}

/* From a frame that does not open to the next authentic header behind it. KIST_EEND: there is none. */
static int salvage_skip(struct follow_walk *w)
{
    struct frame_context c = log_context(w->log, w->s);
    uint8_t damaged[FRAME_HEADER] = {0}, *p = os_alloc(SALVAGE_BLOCK);
    struct frame_header h;
    size_t n = 0;
    bool found = false;
    int r = p ? salvage_read(w->s, w->offset, damaged, sizeof damaged, &n) : KIST_ENOMEM;
    for (uint64_t at = w->offset + 8; r == 0 && !found; at += SALVAGE_BLOCK - FRAME_HEADER) {
        r = salvage_read(w->s, at, p, SALVAGE_BLOCK, &n);
        for (size_t i = 0; r == 0 && !found && i + FRAME_HEADER <= n; i += 8) {
            found = frame_header_read(&c, p + i, &h);
            if (found)
                w->offset = at + i;
        }
        if (r == 0 && !found && n < SALVAGE_BLOCK)
            r = KIST_EEND;
    }
    memcpy(w->tag, damaged + FRAME_HEADER - SEAL_TAG, SEAL_TAG);
    os_free(p);
    return r;
}

/* The next frame that opens: 1 · 0: the end of the segment. A read that fails may have failed on bytes that nobody needs: up
 * to *io_careful, where it would have ended, frames are read without anything behind them. */
static int salvage_next(struct follow_walk *w, uint64_t *io_careful)
{
    for (;;) {
        if (w->chunk == 0 && w->offset >= *io_careful)
            w->chunk = SALVAGE_SECTOR;
        size_t chunk = w->chunk;
        int r = follow_walk_next(w);
        if (r == KIST_EIO && chunk) {
            *io_careful = w->offset + 2 * chunk;
            w->chunk = 0;
            continue;
        }
        if (r == 0 && w->offset < w->s->end)
            r = KIST_ECORRUPT; /* zeros amid the frames */
        if (r != KIST_ECORRUPT && r != KIST_EIO)
            return r;
        r = salvage_skip(w);
        if (r)
            return r == KIST_EEND ? 0 : r;
    }
}

/* each() for every frame of s that opens. */
static int salvage_walk(struct log *log, struct segment *s, int (*each)(struct follow_walk *w, void *ctx), void *ctx)
{
    struct follow_walk w;
    uint64_t careful = 0;
    int r = 0;
    follow_walk_init(&w, log, s, SEGMENT_HEADER, (const uint8_t[SEAL_TAG]){0});
    while ((r = salvage_next(&w, &careful)) == 1) {
        r = each(&w, ctx);
        if (r)
            break;
    }
    s->end = w.offset;
    follow_walk_done(&w);
    return r;
}

/* -- which segments count -- */

static void salvage_mark(struct salvage *s, uint64_t number, bool counts)
{
    for (size_t i = 0; i < s->len; i++) {
        if (s->numbers[i] == number)
            s->counts[i] = counts;
    }
}

static int salvage_row(const struct manifest_row *row, void *ctx)
{
    salvage_mark(ctx, row->number, true);
    return 0;
}

static int salvage_gone(uint64_t number, void *ctx)
{
    salvage_mark(ctx, number, false);
    return 0;
}

static int salvage_list(struct follow_walk *w, void *ctx)
{
    struct salvage *s = ctx;
    const uint8_t *p = w->frame + FRAME_HEADER;
    int r = 0;
    if (w->header.kind == FRAME_MANIFEST) {
        r = manifest_decode(p, w->header.ops_len, salvage_row, NULL, s);
        s->listed = true;
        salvage_mark(s, w->s->number, true);
    } else if (w->header.kind == FRAME_SWITCH) {
        r = manifest_decode(p, w->header.ops_len, salvage_row, salvage_gone, s);
    }
    return r == KIST_ECORRUPT ? 0 : r;
}

/* -- the index -- */

static int salvage_apply(struct follow_walk *w, void *ctx)
{
    struct log *log = ctx;
    if (w->s->kind == SEGMENT_LOG && w->header.sequence > log->at.sequence)
        log->at.sequence = w->header.sequence;
    int r = follow_frame(log, w->s, w->at, &w->header, w->frame + FRAME_HEADER);
    return r == KIST_ECORRUPT ? 0 : r;
}

static int salvage_open(struct salvage *s)
{
    struct log *log = s->log;
    for (size_t i = 0; i < s->len; i++) {
        struct segment *segment = NULL;
        struct os_stat st;
        int r = table_open(log, s->numbers[i], &segment);
        if (r == 0)
            r = os_stat(segment->fd, &st);
        if (r == 0) {
            segment->end = st.size;
            r = table_add(log, segment);
        }
        if (r)
            segment_free(&segment);
        if (r == KIST_ENOMEM || r == KIST_EFDS)
            return r;
        if (segment && segment->kind == SEGMENT_LOG)
            log->active = segment;
    }
    if (log->active)
        return 0;
    return error_set(log->base.detail, KIST_ECORRUPT, "no segment of the log can be read: there is nothing to salvage");
}

/* The newest log segment with a manifest decides. */
static int salvage_choose(struct salvage *s)
{
    int r = 0;
    for (size_t i = s->len; i-- > 0 && !s->listed && r == 0;) {
        struct segment *segment = table_find(s->log, s->numbers[i]);
        if (segment && segment->kind == SEGMENT_LOG)
            r = salvage_walk(s->log, segment, salvage_list, s);
    }
    return r;
}

static int salvage_replay(struct salvage *s)
{
    struct log *log = s->log;
    int r = 0;
    log->replaying = true;
    for (size_t i = 0; i < s->len && r == 0; i++) {
        struct segment *segment = table_find(log, s->numbers[i]);
        if (segment && (!s->listed || s->counts[i]))
            r = salvage_walk(log, segment, salvage_apply, log);
    }
    log->replaying = false;
    if (r == 0)
        r = apply_settle(log);
    log->at.segment = log->active->number;
    log->at.offset = log->active->end;
    log->salvaged = true; /* nothing is followed from here */
    return r ? r : follow_capture(log);
}

int salvage_load(struct log *log)
{
    struct salvage s = {.log = log};
    int r = os_list(log->dir, salvage_number, &s);
    log->at = (struct log_position){0};
    if (r == 0) {
        s.counts = os_calloc(s.len + 1);
        r = s.counts ? 0 : KIST_ENOMEM;
    }
    if (r == 0)
        r = salvage_open(&s);
    if (r == 0)
        r = salvage_choose(&s);
    if (r == 0)
        r = salvage_replay(&s);
    os_free(s.counts);
    os_free(s.numbers);
    if (r)
        return r;
    changes_forget(log->changes, log->at.sequence);
    tree_publish(log->index, log->at.sequence);
    return 0;
}
