/* A compaction under way, and the batches of operations that compacted segments are written from. */
#ifndef KIST_ENGINE_COMPACT_H
#define KIST_ENGINE_COMPACT_H

#include "engine/log.h"

#include <stdlib.h>

struct compact_op {
    struct frame_op op;      /* revision explicit; key and value are set from the offsets when written */
    size_t key_at, value_at; /* in the batch's bytes */
};

struct compact_batch {
    struct compact_op *op;
    size_t len, cap;
    struct buf bytes;        /* keys and plaintext values; secret */
};

struct log_compaction {
    struct segment **inputs; /* by birth */
    size_t inputs_len;
    size_t next;             /* the one being walked */
    struct follow_walk walk; /* s NULL: between two */
    struct segment *out;
    struct compact_batch batch;
    struct compact_batch cancels;
    bool failed;             /* a cancel could not be remembered */
    uint64_t copied;         /* bytes walked */
};

/* Write the batch as one frame behind out->end and empty it. */
int compact_batch_write(struct log *log, struct compact_batch *b, struct segment *out) KIST_MUST_USE;
void compact_batch_done(struct compact_batch *b);

#endif
