/* batch.c: operations gathered into frames of a compacted segment.
 *
 * Compaction and restore write segments of records whose revisions are already given. They collect operations with their keys
 * and plaintext values in one buffer, which is wiped, and write them as one frame when there are enough. Offsets instead of
 * pointers until then: the buffer moves as it grows. */
#include "engine/batch.h"

/* op with its key copied; the value, if any, is appended by the caller behind it. */
int batch_add(struct batch *b, const struct frame_op *op)
{
    struct batch_op *ops = array_room(b->op, b->len, &b->cap, sizeof *ops);
    if (!ops)
        return KIST_ENOMEM;
    b->op = ops;
    struct batch_op *to = &ops[b->len];
    *to = (struct batch_op){.op = *op, .key_at = b->bytes.len};
    buf_add(&b->bytes, op->key, op->key_len);
    to->value_at = b->bytes.len;
    int r = buf_status(&b->bytes);
    if (r == 0)
        b->len++;
    return r;
}

static int batch_encode(struct log *log, struct batch *b, struct segment *out, const struct frame_sizes *sizes, struct buf *frame)
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
int batch_write(struct log *log, struct batch *b, struct segment *out)
{
    struct frame_sizes sizes = {0};
    struct buf frame;
    if (b->len == 0)
        return 0;
    for (size_t i = 0; i < b->len; i++) {
        struct batch_op *o = &b->op[i];
        o->op.key = b->bytes.data + o->key_at;
        o->op.value = b->bytes.data + o->value_at;
        frame_size_add(&sizes, &o->op, out->last_sequence + 1);
    }
    uint64_t total = frame_size_total(&sizes);
    buf_init(&frame, false);
    int r = out->memory && out->end + total > out->capacity ? KIST_ENOSPC : 0;
    if (r == 0)
        r = batch_encode(log, b, out, &sizes, &frame);
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

void batch_done(struct batch *b)
{
    os_free(b->op);
    buf_done(&b->bytes);
    *b = (struct batch){0};
}
