/* tree_slab.c: memory for the nodes of a tree.
 *
 * A standard node is 1,984 bytes, 31 cache lines. malloc would add a header to each, put it across
 * a line boundary, scatter free ones over the heap and leave key names in a core and in what it
 * took back. So nodes are cut from slabs, blocks of 64 KiB at a multiple of that (tree_chunk.c).
 * The last 64 bytes are the slab's own (links and a bit for each free node), found from a node's
 * address by rounding it down. Nothing is wasted, and 1,984 instead of 2,048 spreads the node
 * headers over all sets of the cache. Larger nodes (long keys) have slabs that are divided into
 * fewer equal parts, 28 to one, the same part for sizes of which the same number fits; a node up to
 * half larger than its neighbours in size is the worst waste, and there are few of them.
 *
 * A slab without nodes goes back, save one, which stays so that a tree at the edge does not take
 * and return 64 KiB with every change. New nodes go into the slab that has had room the longest: it
 * fills up again while others run empty. (The newest, whose memory is warmer, was tried: a tree
 * thinned out to a twentieth then kept a node or two in every slab.) What remains: a slab with one
 * node left cannot go back, so that random deletes give back little until the tree is small.
 *
 * In testing builds every node asks os_hook, not only every 33rd, so that tests can fail each;
 * under AddressSanitizer free nodes are poisoned. One writer; no locks. */
#include "engine/tree_slab.h"

#include "base/os.h"

#include <assert.h>
#include <stdbool.h>

#if defined(__SANITIZE_ADDRESS__)
#define TREE_SLAB_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define TREE_SLAB_ASAN 1
#endif
#endif

#ifdef TREE_SLAB_ASAN
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#endif

enum {
    TREE_SLAB_SIZE = TREE_CHUNK_BLOCK,
    TREE_SLAB_HEADER = TREE_SLAB_NODE * TREE_SLAB_NODES, /* its offset */
    TREE_SLAB_LINE = 64,
};

#define TREE_SLAB_MAGIC UINT64_C(0x6b69737420736c62)

struct tree_slab {
    struct tree_slab *prev, *next; /* in the open list */
    struct tree_chunk *chunk;      /* where the block came from */
    uint64_t free;                 /* bit i: node i is free */
    uint64_t magic;
    uint32_t nodes, node_size; /* so many of so many bytes */
};

static_assert(TREE_SLAB_HEADER + sizeof(struct tree_slab) <= TREE_SLAB_SIZE, "a slab holds its header");

static uint8_t *tree_slab_base(struct tree_slab *slab)
{
    return (uint8_t *)slab - TREE_SLAB_HEADER;
}

static uint64_t tree_slab_empty(const struct tree_slab *slab)
{
    return (UINT64_C(1) << slab->nodes) - 1;
}

static void tree_slab_link(struct tree_slabs *s, struct tree_slab *slab)
{
    slab->prev = s->open[slab->nodes].last;
    slab->next = NULL;
    if (slab->prev)
        slab->prev->next = slab;
    else
        s->open[slab->nodes].first = slab;
    s->open[slab->nodes].last = slab;
}

static void tree_slab_unlink(struct tree_slabs *s, struct tree_slab *slab)
{
    if (slab->prev)
        slab->prev->next = slab->next;
    else
        s->open[slab->nodes].first = slab->next;
    if (slab->next)
        slab->next->prev = slab->prev;
    else
        s->open[slab->nodes].last = slab->prev;
}

static struct tree_slab *tree_slab_new(struct tree_slabs *s)
{
    struct tree_chunk *chunk;
    uint8_t *base = tree_chunk_take(&s->chunks, &chunk);
    if (!base)
        return NULL;
    struct tree_slab *slab = (struct tree_slab *)(void *)(base + TREE_SLAB_HEADER);
    *slab = (struct tree_slab){.chunk = chunk, .magic = TREE_SLAB_MAGIC};
    ASAN_POISON_MEMORY_REGION(base, TREE_SLAB_HEADER);
    return slab;
}

/* A slab in the open list for nodes of which so many fill one. */
static struct tree_slab *tree_slab_open(struct tree_slabs *s, unsigned nodes)
{
    struct tree_slab *slab = s->idle ? s->idle : tree_slab_new(s);
    if (!slab)
        return NULL;
    s->idle = NULL;
    slab->nodes = nodes;
    slab->node_size = TREE_SLAB_HEADER / nodes / TREE_SLAB_LINE * TREE_SLAB_LINE;
    slab->free = tree_slab_empty(slab);
    tree_slab_link(s, slab);
    return slab;
}

static void tree_slab_close(struct tree_slabs *s, struct tree_slab *slab)
{
    uint8_t *base = tree_slab_base(slab);
    slab->magic = 0;
    ASAN_UNPOISON_MEMORY_REGION(base, TREE_SLAB_HEADER);
    tree_chunk_give(&s->chunks, base, slab->chunk);
}

/* Does the test want this allocation to fail? */
static bool tree_slab_refused(size_t size)
{
#ifdef KIST_TESTING
    struct os_call call = {.kind = OS_ALLOC, .fd = -1, .len = size};
    return os_hook && os_hook(&call) != 0;
#else
    (void)size;
    return false;
#endif
}

void *tree_slab_alloc(struct tree_slabs *s, size_t size)
{
    assert(size >= TREE_SLAB_NODE && size <= TREE_SLAB_HEADER);
    unsigned nodes = size == TREE_SLAB_NODE ? TREE_SLAB_NODES : (unsigned)(TREE_SLAB_HEADER / size);
    struct tree_slab *slab = s->open[nodes].first;
    if (tree_slab_refused(size) || (!slab && !(slab = tree_slab_open(s, nodes))))
        return NULL;
    assert(slab->magic == TREE_SLAB_MAGIC && slab->free && slab->node_size >= size);
    unsigned i = (unsigned)__builtin_ctzll(slab->free);
    slab->free &= slab->free - 1;
    if (!slab->free)
        tree_slab_unlink(s, slab);
    uint8_t *p = tree_slab_base(slab) + (size_t)i * slab->node_size;
    ASAN_UNPOISON_MEMORY_REGION(p, size);
    return p;
}

void tree_slab_free(struct tree_slabs *s, void *p, size_t size)
{
    size_t offset = (uintptr_t)p % TREE_SLAB_SIZE;
    struct tree_slab *slab = (struct tree_slab *)(void *)((uint8_t *)p - offset + TREE_SLAB_HEADER);
    assert(slab->magic == TREE_SLAB_MAGIC && slab->node_size >= size);
    uint64_t bit = UINT64_C(1) << offset / slab->node_size;
    assert(offset % slab->node_size == 0 && !(slab->free & bit));
    ASAN_POISON_MEMORY_REGION(p, size);
    if (!slab->free)
        tree_slab_link(s, slab);
    slab->free |= bit;
    if (slab->free != tree_slab_empty(slab))
        return;
    tree_slab_unlink(s, slab);
    if (s->idle)
        tree_slab_close(s, slab);
    else
        s->idle = slab;
}

void tree_slab_done(struct tree_slabs *s)
{
    if (s->idle)
        tree_slab_close(s, s->idle);
    s->idle = NULL;
    assert(tree_slab_memory(s) == 0);
}

uint64_t tree_slab_memory(const struct tree_slabs *s)
{
    return atomic_load_explicit(&s->chunks.bytes, memory_order_relaxed);
}
