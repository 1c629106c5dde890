/* Blocks of 64 KiB for the slabs of one tree: zeroed, aligned to their size, in no core. */
#ifndef KIST_ENGINE_TREE_CHUNK_H
#define KIST_ENGINE_TREE_CHUNK_H

#include <stdatomic.h>
#include <stdint.h>

#define TREE_CHUNK_BLOCK 65536

struct tree_chunk;

struct tree_chunks {
    struct tree_chunk *open; /* those with a free block, in the order in which they got one */
    struct tree_chunk *open_end;
    _Atomic uint64_t bytes; /* what the system gave us; read by any thread */
};

/* A block, and the chunk it is from, for giving it back; NULL without memory. */
uint8_t *tree_chunk_take(struct tree_chunks *c, struct tree_chunk **out_chunk);
/* The content is forgotten. */
void tree_chunk_give(struct tree_chunks *c, uint8_t *block, struct tree_chunk *chunk);

#endif
