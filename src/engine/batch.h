/* Operations gathered into frames of a compacted segment. */
#ifndef KIST_ENGINE_BATCH_H
#define KIST_ENGINE_BATCH_H

#include "engine/log.h"

struct batch_op {
    struct frame_op op;      /* revision explicit; key and value are set from the offsets when written */
    size_t key_at, value_at; /* in the batch's bytes */
};

struct batch {
    struct batch_op *op;
    size_t len, cap;
    struct buf bytes; /* keys and plaintext values: buf_init() it as secret */
};

/* Add an operation, its key copied; the value, if any, is appended to bytes by the caller behind it. */
int batch_add(struct batch *b, const struct frame_op *op) KIST_MUST_USE;
/* Write the batch as one frame behind out->end and empty it. */
int batch_write(struct log *log, struct batch *b, struct segment *out) KIST_MUST_USE;
void batch_done(struct batch *b);

#endif
