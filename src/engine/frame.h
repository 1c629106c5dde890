/* One commit in the log: a header in clear, the operations sealed as one block, each value sealed on its own.
 *
 * docs/format.md, "Frame", has every byte. This file turns operations into frames and back; it knows nothing of files. */
#ifndef KIST_ENGINE_FRAME_H
#define KIST_ENGINE_FRAME_H

#include "base/buf.h"
#include "base/bytes.h"
#include "crypt/seal.h"

#define FRAME_HEADER 80u
#define FRAME_CHECKED 56u /* header bytes under the check */
#define FRAME_MAX UINT32_C(0xfffffff8)

enum frame_kind {
    FRAME_COMMIT = 1,   /* operations */
    FRAME_MANIFEST = 2, /* first of a segment: which other segments make up the store */
    FRAME_SWITCH = 3,   /* compaction: segments that come and segments that go */
    FRAME_MARK = 4,     /* nothing: proof, when found, that all before it was durable */
    FRAME_END = 5,      /* last of a segment: the number of the next */
};

/* What all frames of one segment share. The pointers are borrowed from the keyring. */
struct frame_context {
    int suite;
    const uint8_t *data_key;  /* SEAL_KEY bytes */
    const uint8_t *check_key; /* 16 bytes */
    const uint8_t *store_id;  /* 16 bytes */
    uint64_t segment;
};

struct frame_header {
    uint32_t len;     /* of the whole frame, a multiple of 8 */
    uint32_t ops_len; /* of the sealed block */
    enum frame_kind kind;
    uint64_t sequence;
    uint64_t synced; /* newest sequence known durable when this was written */
    uint8_t nonce[SEAL_NONCE];
    uint8_t tag[SEAL_TAG];
};

enum frame_op_kind { FRAME_PUT = 1, FRAME_DELETE = 2, FRAME_DROP = 3 };

struct frame_op {
    enum frame_op_kind kind;
    uint8_t type; /* put: 0 to 7 */
    uint64_t bucket;
    uint64_t revision;
    int64_t expires_ms; /* put; 0: never */
    uint64_t shadow;    /* delete: the segment that holds the only dead copy; 0: there may be several */
    const uint8_t *key; /* not for drop */
    uint32_t key_len;
    const uint8_t *value; /* put, when encoding: plaintext */
    uint32_t len;         /* put: of the value */
    uint32_t delta;       /* put: from the frame's start to the sealed value; its nonce counter too */
    uint8_t tag[SEAL_TAG];
};

/* -- writing: size, then encode all operations in the same order -- */

struct frame_sizes {
    uint64_t bucket; /* of the operation before */
    uint64_t ops, values;
};

void frame_size_add(struct frame_sizes *s, const struct frame_op *op, uint64_t sequence);
uint64_t frame_size_total(const struct frame_sizes *s); /* may exceed FRAME_MAX: then it cannot be written */

struct frame_writer {
    const struct frame_context *context;
    struct seal seal;
    uint8_t *frame;
    uint64_t sequence, bucket;
    size_t ops_at, value_at;
    struct frame_sizes sizes;
};

/* frame: room for frame_size_total() bytes. KIST_EIO when there is no randomness. */
int frame_begin(struct frame_writer *w, const struct frame_context *context, uint8_t *frame, const struct frame_sizes *sizes,
                enum frame_kind kind, uint64_t sequence, uint64_t synced) KIST_MUST_USE;
/* Seals the value; sets op->delta and op->tag. */
void frame_add(struct frame_writer *w, struct frame_op *op);
/* Raw payload instead of operations (manifest, switch, end); sizes.ops says how long. */
void frame_add_payload(struct frame_writer *w, const void *p, size_t len);
/* Seal the block and complete the header. prev: the tag of the frame before, zeros for a segment's first. */
void frame_finish(struct frame_writer *w, const uint8_t prev[SEAL_TAG], uint8_t out_tag[SEAL_TAG]);

/* -- reading -- */

/* Is there an authentic header (of this store and segment) in these FRAME_HEADER bytes? */
bool frame_header_read(const struct frame_context *context, const uint8_t *p, struct frame_header *out);
/* Open the block of a whole frame in memory into out_ops (header->ops_len bytes; may be the block's own place).
 * KIST_ECORRUPT. */
int frame_open(const struct frame_context *context, const uint8_t *frame, const struct frame_header *header,
               const uint8_t prev[SEAL_TAG], uint8_t *out_ops) KIST_MUST_USE;

struct frame_reader {
    struct bytes_in in;
    const struct frame_header *header;
    uint64_t bucket;
    uint64_t value_at;
};

void frame_read(struct frame_reader *r, const struct frame_header *header, const uint8_t *ops);
/* 1: *out is the next operation (key borrowed from ops) · 0: the end, all accounted for · KIST_ECORRUPT. */
int frame_read_next(struct frame_reader *r, struct frame_op *out) KIST_MUST_USE;

/* Open one value under a subkey that was begun with its frame's nonce. KIST_ECORRUPT. */
int frame_value_unseal(const struct frame_context *context, const struct seal *seal, uint32_t delta, uint64_t revision,
                       const uint8_t *sealed, uint32_t len, const uint8_t tag[SEAL_TAG], uint8_t *out) KIST_MUST_USE;
/* Open one value: nonce from the frame's header, sealed bytes and tag as on disk. out may be sealed itself. KIST_ECORRUPT. */
int frame_value_open(const struct frame_context *context, const uint8_t nonce[SEAL_NONCE], uint32_t delta, uint64_t revision,
                     const uint8_t *sealed, uint32_t len, const uint8_t tag[SEAL_TAG], uint8_t *out) KIST_MUST_USE;

#endif
