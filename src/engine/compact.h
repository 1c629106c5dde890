/* A compaction under way, and the batches of operations that compacted segments are written from. */
#ifndef KIST_ENGINE_COMPACT_H
#define KIST_ENGINE_COMPACT_H

#include "engine/batch.h"

#include <stdlib.h>

#define COMPACT_MOVES 2000u /* records that a slice looks up in their new place */

struct log_compaction {
    struct segment **inputs; /* by birth */
    size_t inputs_len;
    size_t next;             /* the one being walked */
    struct follow_walk walk; /* s NULL: between two */
    struct segment *out;
    struct batch batch;
    struct batch cancels;
    bool failed;     /* a cancel could not be remembered */
    uint64_t copied; /* bytes walked */
};

/* Not the active one, not gone, not being compacted. State held, here and below. */
bool compact_is_free(const struct segment *s, const struct log *log);
/* Do its deletes still guard against anything? */
bool compact_guards(const struct log *log, const struct segment *s);
/* Does it hold anything that a copy would leave out? */
bool compact_pays(const struct log *log, const struct segment *s);
/* Free, and it holds nothing anybody needs. */
bool compact_is_empty(const struct log *log, const struct segment *s);
int compact_compare_birth(const void *a, const void *b); /* for qsort of segment pointers */

/* -- state not held from here on -- */

/* Compact these segments (inputs is taken over). SHARED_COMPACT is held, and goes with compact_free() or on failure. */
int compact_start(struct log *log, struct segment **inputs, size_t n, struct log_compaction **out) KIST_MUST_USE;
/* Copy for about budget_us (< 0: to the end). */
int compact_copy(struct log *log, struct log_compaction *c, int64_t budget_us) KIST_MUST_USE;
bool compact_is_copied(const struct log_compaction *c); /* all inputs are through */
/* Switch the output of what is copied in, durably whatever the sync mode, and remove the inputs' files. */
int compact_finish(struct log *log, struct log_compaction *c) KIST_MUST_USE;
void compact_free(struct log *log, struct log_compaction **out);
/* Purges and moves, with the gate: about limit records; all of them. */
int compact_moves(struct log *log, size_t limit, bool *out_more) KIST_MUST_USE;
int compact_moves_all(struct log *log) KIST_MUST_USE;

#endif
