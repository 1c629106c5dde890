/* One node of the tree: its bytes, how to search it, how to change it, how to make it from items.
 *
 *   header (40 bytes) | prefix, padded to 4 | slots, ascending -> | free | <- entries
 *
 *   slot   head (the first 4 bytes of the suffix, big-endian, padded with zeros), offset of the
 * entry, length of the suffix; the suffix is the key without the node's prefix entry  payload
 * length (1 byte), payload, the suffix from its 5th byte on
 *
 * In a branch (level > 0) the payload is the pointer to the child and the key the separator: the
 * child holds keys >= it. The separator of child 0 means nothing: whatever is below separator 1 is
 * there. */
#ifndef KIST_ENGINE_TREE_NODE_H
#define KIST_ENGINE_TREE_NODE_H

#include "base/bytes.h"
#include "engine/tree.h"
#include "engine/tree_slab.h"

#include <assert.h>

#define TREE_NODE_STD TREE_SLAB_NODE /* bytes of a standard node */
#define TREE_NODE_FEW 8              /* so many entries stay together in a larger node, whatever their size */
#define TREE_NODE_ITEMS 232          /* more entries than any node gets */

struct tree_slot {
    uint32_t head;
    uint16_t offset; /* of the entry from the node's start */
    uint16_t len;    /* of the suffix */
};

struct tree_node {
    uint64_t birth;         /* the first version that can see it */
    uint64_t death;         /* the first that cannot; set when it dies. The writer's alone. */
    struct tree_node *next; /* among the dead. The writer's alone. */
    uint32_t cap;           /* bytes allocated */
    uint16_t count;         /* slots */
    uint16_t prefix_len;
    uint16_t heap; /* offset of the lowest entry */
    uint16_t used; /* bytes in use: header, prefix, slots, entries that a slot names */
    uint8_t level; /* 0: leaf */
    uint8_t run;   /* inserts in a row that went right behind the one before (stops at 255) */
    uint16_t last; /* where the last insert went */
};

#define TREE_NODE_HEADER 40
static_assert(sizeof(struct tree_node) == TREE_NODE_HEADER, "no padding");

/* A key and its payload on their way into a node. The key is in up to three pieces, as nodes store
 * it. */
struct tree_item {
    const uint8_t *prefix; /* the first prefix_len bytes: all of it, or a node's prefix */
    const uint8_t *rest;   /* from byte prefix_len + 4 on */
    const uint8_t *payload;
    uint32_t head; /* bytes prefix_len to prefix_len + 3 */
    uint16_t prefix_len;
    uint16_t len; /* of the whole key */
    uint8_t payload_len;
};

static inline size_t tree_node_slots_at(size_t prefix_len)
{
    return TREE_NODE_HEADER + ((prefix_len + 3) & ~(size_t)3);
}

static inline const uint8_t *tree_node_prefix(const struct tree_node *n)
{
    return (const uint8_t *)n + TREE_NODE_HEADER;
}

static inline struct tree_slot *tree_node_slots(const struct tree_node *n)
{
    return (struct tree_slot *)(void *)((uint8_t *)(uintptr_t)n + tree_node_slots_at(n->prefix_len));
}

static inline uint8_t *tree_node_entry(const struct tree_node *n, unsigned i)
{
    return (uint8_t *)(uintptr_t)n + tree_node_slots(n)[i].offset;
}

static inline struct tree_node *tree_node_child(const struct tree_node *n, unsigned i)
{
    struct tree_node *child;
    memcpy(&child, tree_node_entry(n, i) + 1, sizeof child);
    return child;
}

/* Bytes of a suffix that its head does not hold. */
static inline size_t tree_node_rest(size_t suffix_len)
{
    return suffix_len > 4 ? suffix_len - 4 : 0;
}

static inline uint32_t tree_node_head(const uint8_t *p, size_t len)
{
    if (len >= 4)
        return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
    uint32_t head = 0;
    for (size_t i = 0; i < len; i++)
        head |= (uint32_t)p[i] << (24 - 8 * i);
    return head;
}

/* Header and slots of a node that will be searched next, all at once instead of one miss after
 * another. */
static inline void tree_node_prefetch(const struct tree_node *n)
{
#pragma GCC unroll 6
    for (unsigned line = 0; line < 6; line++)
        __builtin_prefetch((const uint8_t *)n + (size_t)64 * line);
}

/* All of a standard node, which will be copied or walked. */
static inline void tree_node_prefetch_all(const struct tree_node *n)
{
    for (size_t at = 0; at < TREE_NODE_STD; at += 64)
        __builtin_prefetch((const uint8_t *)n + at);
}

/* < 0, 0, > 0 as key sorts before, in or after the keys that have the node's prefix. */
static inline int tree_node_compare_prefix(const struct tree_node *n, const uint8_t *key, size_t len)
{
    size_t both = bytes_min(len, n->prefix_len);
    int c = both ? memcmp(key, tree_node_prefix(n), both) : 0;
    return c ? c : len < n->prefix_len ? -1 : 0;
}

/* A suffix of len bytes against slot i, whose head is the same: heads padded with zeros tie only
 * where one is a prefix of the other, so that then the length decides. */
static inline int tree_node_compare_rest(const struct tree_node *n, unsigned i, const uint8_t *suffix, size_t len)
{
    size_t slot_len = tree_node_slots(n)[i].len;
    size_t both = bytes_min(tree_node_rest(len), tree_node_rest(slot_len));
    const uint8_t *entry = tree_node_entry(n, i);
    int c = both ? memcmp(suffix + 4, entry + 1 + entry[0], both) : 0;
    return c ? c : len < slot_len ? -1 : len > slot_len;
}

/* The first slot in [from, count] whose key is >= key. *out_equal: it is that key. */
unsigned tree_node_search_tied(const struct tree_node *n, unsigned lo, uint32_t head, const uint8_t *suffix, size_t len,
                               bool *out_equal);

static inline unsigned tree_node_search(const struct tree_node *n, unsigned from, const uint8_t *key, size_t len, bool *out_equal)
{
    *out_equal = false;
    if (n->prefix_len) {
        int c = tree_node_compare_prefix(n, key, len);
        if (c)
            return c < 0 ? from : n->count;
        key += n->prefix_len;
        len -= n->prefix_len;
    }
    uint32_t head = tree_node_head(key, len);
    const struct tree_slot *slots = tree_node_slots(n), *base = slots + from;
    size_t left = n->count - from;
    if (!left)
        return from;
    while (left > 1) {
        size_t half = left / 2;
        base = base[half - 1].head < head ? base + half : base;
        left -= half;
    }
    unsigned lo = (unsigned)(base - slots) + (base->head < head);
    if (lo == n->count || slots[lo].head != head)
        return lo;
    return tree_node_search_tied(n, lo, head, key, len, out_equal);
}

/* The child of a branch that a key belongs to. */
static inline unsigned tree_node_branch(const struct tree_node *n, const uint8_t *key, size_t len)
{
    bool equal;
    unsigned i = tree_node_search(n, 1, key, len, &equal);
    return equal ? i : i - 1;
}

/* -- changing a node in place -- */

/* Is there room for one more entry, without a rebuild and within the limits? The key must have the
 * node's prefix. */
bool tree_node_room(const struct tree_node *n, size_t key_len, size_t payload_len);
void tree_node_insert(struct tree_node *n, unsigned i, const uint8_t *key, size_t key_len, const uint8_t *payload,
                      size_t payload_len);
void tree_node_remove(struct tree_node *n, unsigned i);
/* Another payload for entry i: not longer than the old one, or there is room for an entry. */
void tree_node_replace(struct tree_node *n, unsigned i, const uint8_t *payload, size_t payload_len);
void tree_node_set_child(struct tree_node *n, unsigned i, struct tree_node *child);

/* -- items -- */

struct tree_item tree_node_item(const struct tree_node *n, unsigned i);
struct tree_item tree_node_item_of(const uint8_t *key, size_t key_len, const uint8_t *payload, size_t payload_len);
/* All of a node; how many. A branch's first gets the empty key. */
unsigned tree_node_items(const struct tree_node *n, struct tree_item *out_items);
/* Bytes [from, to) of an item's key. */
void tree_node_item_copy(const struct tree_item *it, size_t from, size_t to, uint8_t *out);
/* The whole key of slot i; its length. */
size_t tree_node_key(const struct tree_node *n, unsigned i, uint8_t *out_key);
/* How many bytes two keys have in common at their start. */
size_t tree_node_item_common(const struct tree_item *a, const struct tree_item *b);

/* What a node of these items would need. *out_prefix: the length of their prefix. */
size_t tree_node_measure(const struct tree_item *items, unsigned n, unsigned level, size_t *out_prefix);
/* Make it; NULL when there is no memory. */
struct tree_node *tree_node_build(struct tree_slabs *s, const struct tree_item *items, unsigned n, unsigned level,
                                  uint64_t birth);
struct tree_node *tree_node_copy(struct tree_slabs *s, const struct tree_node *n, uint64_t birth);
void tree_node_free(struct tree_slabs *s, struct tree_node *n);

#endif
