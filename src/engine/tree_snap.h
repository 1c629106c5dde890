/* The tree behind tree.h: the writer's half, the readers' half, and what ties them: roots that are
 * still seen. */
#ifndef KIST_ENGINE_TREE_SNAP_H
#define KIST_ENGINE_TREE_SNAP_H

#include "engine/tree.h"
#include "engine/tree_node.h"
#include "engine/tree_slab.h"

#include <stdalign.h>
#include <stdatomic.h>

#define TREE_MAGIC UINT32_C(0x74726565)
#define TREE_DEPTH 12      /* levels; tree_cursor.path has as many */
#define TREE_SNAP_SLOTS 32 /* in a chunk */

/* A captured root. Records are reused, but not freed before the tree: a slot may name one that is
 * long gone. */
struct tree_record {
    struct tree_root root;
    uint64_t mark;             /* the last scan that found it in a slot. The writer's alone. */
    struct tree_record *spare; /* the next unused one. The writer's alone. */
};

/* What one live snapshot holds on to; NULL: nobody's. A cache line each. */
struct tree_snap_slot {
    alignas(64) _Atomic(struct tree_record *) record;
};

struct tree_snap_chunk {
    struct tree_snap_slot slots[TREE_SNAP_SLOTS];
    _Atomic(struct tree_snap_chunk *) next;
};

struct tree_retired {
    struct tree_retired *next;
    uint64_t death; /* the first version that cannot see the object */
    void *object;
    void (*release)(void *object);
};

struct tree {
    uint32_t magic;
    bool broken;  /* an allocation failed: nothing but tree_reset() will do */
    bool loading; /* between tree_load_add and tree_load_end */
    struct tree_slabs slabs;

    /* the working root; what is born now is born at version */
    struct tree_node *root;
    uint64_t count;
    uint64_t version;
    uint64_t tag; /* of the last capture */

    /* Roots that readers may see or will see, by version: superseded ones, then the published one
     * at shown, then captured ones. */
    struct tree_record **records;
    size_t records_n, records_cap, shown;
    size_t records_limit; /* so many ask for a scan */
    struct tree_record *spare;

    struct tree_node *dead;
    size_t dead_n, dead_limit;
    struct tree_retired *retired;
    uint64_t scan; /* how many there were */

    /* the readers' half */
    alignas(64) _Atomic(struct tree_record *) published;
    _Atomic uint64_t published_tag;
    struct tree_snap_chunk chunk; /* the first of the chain */
};

/* The first record, of the empty root; 0 or KIST_ENOMEM. */
int tree_snap_init(struct tree *t) KIST_MUST_USE;
/* Free everything that tree_snap keeps; no node of the tree may be alive, no snapshot either. */
void tree_snap_done(struct tree *t);
/* A node has left the working root: free it, or keep it for those who still see it. */
void tree_snap_kill(struct tree *t, struct tree_node *n);
/* Forget what was captured but not published. */
void tree_snap_forget(struct tree *t);

#endif
