/* manifest.c: which segments make up the store, as the payload of MANIFEST and SWITCH frames.
 *
 * A MANIFEST is the first frame of a log segment and lists every other segment with its end and the tag of its last frame:
 * a segment that was removed, exchanged or rolled back is found by it. A SWITCH is what compaction commits: rows that come,
 * numbers that go. Payload: varint count, rows; for a SWITCH then varint count, varint numbers. */
#include "engine/log.h"

void manifest_row_add(struct buf *b, const struct segment *s)
{
    buf_add_varint(b, s->number);
    buf_add_u8(b, (uint8_t)s->kind);
    buf_add_u32(b, s->generation);
    buf_add_varint(b, s->birth);
    buf_add_varint(b, s->first_sequence);
    buf_add_varint(b, s->last_sequence);
    buf_add_varint(b, s->end);
    buf_add(b, s->last_tag, SEAL_TAG);
}

int manifest_encode(const struct log *log, const struct segment *not_this, struct buf *out)
{
    const struct log_table *t = atomic_load(&log->table);
    uint64_t n = 0;
    for (size_t i = 0; t && i < t->len; i++)
        n += t->slot[i] && !t->slot[i]->gone && t->slot[i] != not_this;
    buf_add_varint(out, n);
    for (size_t i = 0; t && i < t->len; i++) {
        if (t->slot[i] && !t->slot[i]->gone && t->slot[i] != not_this)
            manifest_row_add(out, t->slot[i]);
    }
    return buf_status(out);
}

void manifest_switch(struct buf *b, struct segment *const *added, size_t added_n, struct segment *const *removed,
                     size_t removed_n)
{
    buf_add_varint(b, added_n);
    for (size_t i = 0; i < added_n; i++)
        manifest_row_add(b, added[i]);
    buf_add_varint(b, removed_n);
    for (size_t i = 0; i < removed_n; i++)
        buf_add_varint(b, removed[i]->number);
}

static bool manifest_row(struct bytes_in *in, struct manifest_row *row)
{
    row->number = bytes_in_varint(in);
    row->kind = bytes_in_u8(in);
    row->generation = bytes_in_u32(in);
    row->birth = bytes_in_varint(in);
    row->first_sequence = bytes_in_varint(in);
    row->last_sequence = bytes_in_varint(in);
    row->end = bytes_in_varint(in);
    const uint8_t *tag = bytes_in_take(in, SEAL_TAG);
    if (!tag || row->number == 0 || row->number > UINT32_MAX || row->end < SEGMENT_HEADER)
        return false;
    memcpy(row->tag, tag, SEAL_TAG);
    return true;
}

int manifest_decode(const uint8_t *p, size_t len, int (*added)(const struct manifest_row *row, void *ctx),
                    int (*removed)(uint64_t number, void *ctx), void *ctx)
{
    struct bytes_in in = bytes_in_init(p, len);
    uint64_t n = bytes_in_varint(&in);
    int r = 0;
    for (uint64_t i = 0; i < n && r == 0; i++) {
        struct manifest_row row;
        r = manifest_row(&in, &row) ? added(&row, ctx) : KIST_ECORRUPT;
    }
    if (r == 0 && removed) {
        n = bytes_in_varint(&in);
        for (uint64_t i = 0; i < n && r == 0 && !in.bad; i++) {
            uint64_t number = bytes_in_varint(&in);
            r = in.bad ? KIST_ECORRUPT : removed(number, ctx);
        }
    }
    if (r)
        return r;
    return in.bad || bytes_in_left(&in) ? KIST_ECORRUPT : 0;
}
