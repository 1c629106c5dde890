/* Memory for the nodes of one tree, carved from slabs; key names are in it, so no core has it. */
#ifndef KIST_ENGINE_TREE_SLAB_H
#define KIST_ENGINE_TREE_SLAB_H

#include "engine/tree_chunk.h"

#include <stddef.h>

#define TREE_SLAB_NODE 1984 /* bytes of a standard node: 33 of them and 64 bytes are a slab */
#define TREE_SLAB_NODES 33

struct tree_slab;

struct tree_slabs {
    /* By how many nodes a slab holds: those with a free node, in the order in which they got one. */
    struct {
        struct tree_slab *first, *last;
    } open[TREE_SLAB_NODES + 1];
    struct tree_slab *idle; /* one without any node, or NULL */
    struct tree_chunks chunks;
};

/* size bytes (at least TREE_SLAB_NODE), or NULL. Give the same size back when freeing. */
void *tree_slab_alloc(struct tree_slabs *s, size_t size);
void tree_slab_free(struct tree_slabs *s, void *p, size_t size);
/* Let go of the idle slab; every node must have been freed. */
void tree_slab_done(struct tree_slabs *s);
/* Bytes taken from the system. Any thread. */
uint64_t tree_slab_memory(const struct tree_slabs *s);

#endif
