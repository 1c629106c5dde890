/* What the index keeps for one record: where its sealed value is and what a read needs before it looks there.
 *
 * About 20 bytes, packed, because there is one for each key in memory: flags, segment, frame offset, 4 bytes of the tag,
 * then varints. The 4 bytes tell a value that was put back in place of the one the index knows (a torn commit's, replayed
 * by somebody with a copy); everything else is in the value's own authentication. */
#ifndef KIST_ENGINE_ENTRY_H
#define KIST_ENGINE_ENTRY_H

#include "base/bytes.h"

enum {
    ENTRY_TYPE = 0x07,
    ENTRY_EXPIRES = 0x08,
    ENTRY_OVER = 0x10, /* dead copies may lie in other segments */
    ENTRY_TOMB = 0x20, /* deleted: only while a log is replayed */
    ENTRY_DROP = 0x40, /* the bucket was dropped (its key is empty) */
};

#define ENTRY_MAX 48

struct entry {
    uint8_t flags;
    uint32_t segment;
    uint32_t frame; /* offset of the frame in the segment */
    uint32_t delta; /* of the sealed value in the frame */
    uint32_t len;   /* of the value */
    uint32_t tag4;  /* first bytes of its tag */
    uint64_t revision;
    int64_t expires_ms;
};

static inline size_t entry_encode(const struct entry *e, uint8_t *p)
{
    uint8_t *start = p;
    *p++ = (uint8_t)((e->flags & ~ENTRY_EXPIRES) | (e->expires_ms ? ENTRY_EXPIRES : 0));
    bytes_put32(p, e->segment);
    bytes_put32(p + 4, e->frame);
    bytes_put32(p + 8, e->tag4);
    p += 12;
    p += bytes_put_varint(p, e->delta);
    p += bytes_put_varint(p, e->len);
    p += bytes_put_varint(p, e->revision);
    if (e->expires_ms) {
        bytes_put64(p, (uint64_t)e->expires_ms);
        p += 8;
    }
    return (size_t)(p - start);
}

/* False when p is not an entry: never for what we encoded, but snapshots come from disk. */
static inline bool entry_decode(const uint8_t *p, size_t len, struct entry *out)
{
    struct bytes_in in = bytes_in_init(p, len);
    struct entry e;
    e.flags = bytes_in_u8(&in);
    e.segment = bytes_in_u32(&in);
    e.frame = bytes_in_u32(&in);
    e.tag4 = bytes_in_u32(&in);
    uint64_t delta = bytes_in_varint(&in);
    uint64_t size = bytes_in_varint(&in);
    e.revision = bytes_in_varint(&in);
    e.expires_ms = e.flags & ENTRY_EXPIRES ? (int64_t)bytes_in_u64(&in) : 0;
    e.delta = (uint32_t)delta;
    e.len = (uint32_t)size;
    *out = e;
    return !in.bad && delta <= UINT32_MAX && size <= UINT32_MAX && bytes_in_left(&in) == 0;
}

/* What a record weighs on disk once compacted: its part of the block, value, two tags. */
#define ENTRY_WEIGHT 44u

static inline uint64_t entry_weight(size_t key_len, uint32_t len)
{
    return (uint64_t)key_len + len + ENTRY_WEIGHT;
}

#endif
