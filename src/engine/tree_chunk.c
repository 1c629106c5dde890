/* tree_chunk.c: from pages of the system to the blocks that slabs are made of.
 *
 * Blocks come from chunks of 2 MiB. Those of a large tree are touched as one huge page each: at the
 * size where nearly every node is a miss of the cache it would be a miss of the TLB, too, and that
 * one waits for memory itself. In the first 16 MiB a chunk is only a range of addresses, of which
 * each block takes what it touches: a tiny store pays for one block, and for two or three pages of
 * it. Once such a chunk is full the kernel may make it one page in the background.
 *
 * A block given back is dropped at once, even when its chunk has others in use: a tree thinned out
 * evenly empties many slabs, but hardly ever 32 side by side. The kernel then splits the huge page,
 * and makes it whole again when it finds the time. With less than half of its blocks in use a chunk
 * drops those, too, that were fetched with the huge page and never taken. A chunk with no block in use goes back. Blocks
 * come from the chunk that has had room the longest, so that others run empty.
 *
 * bytes counts what the kernel may have given us: a huge chunk in full from the start, otherwise
 * the blocks taken and not dropped. There may be 65,530 maps in a process; an index of 100 GB would
 * have 50,000 chunks if no two of them were neighbours, but as a rule they are, and the kernel
 * joins them. Tried and dropped: blocks mapped one by one at first (as cheap, but two ways of
 * everything). One writer; no locks. */
#include "engine/tree_chunk.h"

#include "base/os.h"

#include <assert.h>
#include <stdbool.h>

enum {
    TREE_CHUNK_SIZE = 2 << 20,
    TREE_CHUNK_BLOCKS = TREE_CHUNK_SIZE / TREE_CHUNK_BLOCK,
    TREE_CHUNK_LARGE = 16 << 20, /* bytes of a tree that is worth huge pages */
};

#define TREE_CHUNK_ALL UINT32_MAX

struct tree_chunk {
    struct tree_chunk *prev, *next; /* in the open list */
    uint8_t *base;
    uint32_t free;    /* bit i: block i is free */
    uint32_t dropped; /* those of them that are not counted: not touched, or dropped */
};

static_assert(TREE_CHUNK_BLOCKS == 32, "a bit for each block");

static void tree_chunk_count(struct tree_chunks *c, int64_t bytes)
{
    atomic_fetch_add_explicit(&c->bytes, (uint64_t)bytes, memory_order_relaxed);
}

static void tree_chunk_link(struct tree_chunks *c, struct tree_chunk *chunk)
{
    chunk->prev = c->open_end;
    chunk->next = NULL;
    if (c->open_end)
        c->open_end->next = chunk;
    else
        c->open = chunk;
    c->open_end = chunk;
}

static void tree_chunk_unlink(struct tree_chunks *c, struct tree_chunk *chunk)
{
    if (chunk->prev)
        chunk->prev->next = chunk->next;
    else
        c->open = chunk->next;
    if (chunk->next)
        chunk->next->prev = chunk->prev;
    else
        c->open_end = chunk->prev;
}

static struct tree_chunk *tree_chunk_new(struct tree_chunks *c)
{
    struct tree_chunk *chunk = os_alloc(sizeof *chunk);
    if (!chunk)
        return NULL;
    *chunk = (struct tree_chunk){.free = TREE_CHUNK_ALL, .dropped = TREE_CHUNK_ALL};
    chunk->base = os_pages_alloc(TREE_CHUNK_SIZE, TREE_CHUNK_SIZE);
    if (!chunk->base) {
        os_free(chunk);
        return NULL;
    }
    bool huge = atomic_load_explicit(&c->bytes, memory_order_relaxed) >= TREE_CHUNK_LARGE;
    os_pages_huge(chunk->base, TREE_CHUNK_SIZE, huge);
    if (huge) {
        chunk->dropped = 0;
        tree_chunk_count(c, TREE_CHUNK_SIZE);
    }
    tree_chunk_link(c, chunk);
    return chunk;
}

static void tree_chunk_free(struct tree_chunks *c, struct tree_chunk *chunk)
{
    int counted = TREE_CHUNK_BLOCKS - __builtin_popcount(chunk->dropped);
    tree_chunk_unlink(c, chunk);
    tree_chunk_count(c, -(int64_t)counted * TREE_CHUNK_BLOCK);
    os_pages_free(chunk->base, TREE_CHUNK_SIZE);
    os_free(chunk);
}

uint8_t *tree_chunk_take(struct tree_chunks *c, struct tree_chunk **out_chunk)
{
    struct tree_chunk *chunk = c->open;
    if (!chunk && !(chunk = tree_chunk_new(c)))
        return NULL;
    unsigned i = (unsigned)__builtin_ctz(chunk->free);
    uint32_t bit = UINT32_C(1) << i;
    chunk->free &= ~bit;
    if (chunk->dropped & bit)
        tree_chunk_count(c, TREE_CHUNK_BLOCK);
    chunk->dropped &= ~bit;
    if (!chunk->free) {
        tree_chunk_unlink(c, chunk);
        os_pages_huge(chunk->base, TREE_CHUNK_SIZE, true);
    }
    *out_chunk = chunk;
    return chunk->base + (size_t)i * TREE_CHUNK_BLOCK;
}

static void tree_chunk_drop(struct tree_chunks *c, struct tree_chunk *chunk, uint32_t blocks)
{
    for (blocks &= ~chunk->dropped; blocks; blocks &= blocks - 1) {
        size_t i = (size_t)__builtin_ctz(blocks);
        os_pages_drop(chunk->base + i * TREE_CHUNK_BLOCK, TREE_CHUNK_BLOCK);
        chunk->dropped |= UINT32_C(1) << i;
        tree_chunk_count(c, -TREE_CHUNK_BLOCK);
    }
}

void tree_chunk_give(struct tree_chunks *c, uint8_t *block, struct tree_chunk *chunk)
{
    uint32_t bit = UINT32_C(1) << (size_t)(block - chunk->base) / TREE_CHUNK_BLOCK;
    assert(!(chunk->free & bit));
    if (!chunk->free)
        tree_chunk_link(c, chunk);
    chunk->free |= bit;
    if (chunk->free == TREE_CHUNK_ALL) {
        tree_chunk_free(c, chunk);
        return;
    }
    bool few = __builtin_popcount(chunk->free) > TREE_CHUNK_BLOCKS / 2;
    tree_chunk_drop(c, chunk, few ? chunk->free : bit);
}
