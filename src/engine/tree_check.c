/* tree_check.c: assert everything a tree promises about its shape. For tests: it walks the whole
 * root.
 *
 * Checked: each key within the separators around it and above the one before; heads and prefixes
 * true (both follow from comparing whole keys and from searching each of them); bytes in use as
 * counted, entries within the node; nodes larger than standard only with long keys; levels; no node
 * empty; the number of keys. */
#include "engine/tree_snap.h"

struct tree_check_keys {
    uint8_t last[TREE_KEY_MAX]; /* the key before, or the separator that bounds what comes */
    size_t last_len;
    bool any;   /* there is one */
    bool bound; /* it is a separator: what comes may equal it */
    uint64_t count;
};

static void tree_check_node(const struct tree_node *n)
{
    size_t used = tree_node_slots_at(n->prefix_len);
    assert(n->count > 0 && n->level < TREE_DEPTH);
    for (unsigned i = 0; i < n->count; i++) {
        const struct tree_slot *slot = tree_node_slots(n) + i;
        size_t len = 1 + (size_t)*tree_node_entry(n, i) + tree_node_rest(slot->len);
        assert(slot->offset >= n->heap && slot->offset + len <= n->cap);
        assert(n->level == 0 || *tree_node_entry(n, i) == sizeof(struct tree_node *));
        used += sizeof *slot + len;
    }
    assert(used == n->used && n->used <= n->cap && n->cap >= TREE_NODE_STD);
    assert(tree_node_slots_at(n->prefix_len) + sizeof(struct tree_slot) * n->count <= n->heap);
    assert(n->count < TREE_NODE_ITEMS);
}

/* The key at slot i follows all before it, and a search for it finds it. */
static void tree_check_key(const struct tree_node *n, unsigned i, struct tree_check_keys *keys)
{
    uint8_t key[TREE_KEY_MAX];
    size_t len = tree_node_key(n, i, key);
    bool equal;
    if (keys->any) {
        int c = bytes_compare(keys->last, keys->last_len, key, len);
        assert(c < 0 || (c == 0 && keys->bound));
    }
    unsigned found = tree_node_search(n, n->level > 0, key, len, &equal);
    assert(found == i && equal);
    memcpy(keys->last, key, len);
    keys->last_len = len;
    keys->any = true;
    keys->bound = n->level > 0;
}

static void tree_check_below(const struct tree_node *n, struct tree_check_keys *keys)
{
    tree_check_node(n);
    for (unsigned i = 0; i < n->count; i++) {
        if (i > 0 || n->level == 0)
            tree_check_key(n, i, keys);
        if (n->level > 0) {
            assert(tree_node_child(n, i)->level == n->level - 1);
            tree_check_below(tree_node_child(n, i), keys);
        } else {
            keys->count++;
        }
    }
}

void tree_check(const struct tree_root *root)
{
    struct tree_check_keys keys = {.count = 0};
    assert(!root->node || root->node->level == 0 || root->node->count > 1);
    if (root->node)
        tree_check_below(root->node, &keys);
    assert(keys.count == root->count);
}
