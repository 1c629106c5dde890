/* tree_cursor.c: walking a root in both directions.
 *
 * A cursor keeps the path from the root to a leaf; the root does not change under it. The key is
 * put together in the cursor (nodes hold it in pieces); a step within a leaf copies the suffix
 * only. While a leaf is walked, the one next to it is fetched, so that a scan waits for memory as
 * little as it can. Once a call has answered false the cursor stands nowhere until the next seek.
 * Not taken: links between leaves (with copy-on-write each change would copy the whole chain). */
#include "base/os.h"
#include "engine/tree_node.h"

void tree_cursor_init(struct tree_cursor *c, const struct tree_root *root)
{
    c->root = *root;
    c->key_len = 0;
    c->payload = NULL;
    c->payload_len = 0;
    c->depth = 0;
}

void tree_cursor_done(struct tree_cursor *c)
{
    if (c)
        os_wipe(c->key, sizeof c->key);
}

static void tree_cursor_push(struct tree_cursor *c, const struct tree_node *n, unsigned index)
{
    assert(c->depth < sizeof c->path / sizeof c->path[0]);
    c->path[c->depth].node = n;
    c->path[c->depth].index = index;
    c->depth++;
}

static bool tree_cursor_nowhere(struct tree_cursor *c)
{
    c->depth = 0;
    c->key_len = 0;
    c->payload = NULL;
    c->payload_len = 0;
    return false;
}

/* Set payload and key from the slot the cursor stands at; the prefix only when the leaf is a new
 * one. */
static bool tree_cursor_set(struct tree_cursor *c, bool same_leaf)
{
    const struct tree_node *n = c->path[c->depth - 1].node;
    unsigned i = c->path[c->depth - 1].index;
    assert(n->level == 0 && i < n->count);
    const struct tree_slot *slot = tree_node_slots(n) + i;
    const uint8_t *entry = tree_node_entry(n, i);
    uint8_t *key = c->key;
    if (!same_leaf && n->prefix_len)
        memcpy(key, tree_node_prefix(n), n->prefix_len);
    key += n->prefix_len;
    for (unsigned b = 0; b < 4 && b < slot->len; b++)
        key[b] = (uint8_t)(slot->head >> (24 - 8 * b));
    size_t rest = tree_node_rest(slot->len);
    if (rest)
        memcpy(key + 4, entry + 1 + entry[0], rest);
    c->key_len = (size_t)n->prefix_len + slot->len;
    c->payload = entry + 1;
    c->payload_len = entry[0];
    return true;
}

/* The next subtree's first bytes, if it hangs on the same branch: they will be wanted soon. */
static void tree_cursor_prefetch(const struct tree_cursor *c, int step)
{
    if (c->depth < 2)
        return;
    const struct tree_node *up = c->path[c->depth - 2].node;
    unsigned i = c->path[c->depth - 2].index + (unsigned)step;
    if (i >= up->count)
        return;
    tree_node_prefetch_all(tree_node_child(up, i));
}

/* From node down to its first (last) entry. */
static bool tree_cursor_edge(struct tree_cursor *c, const struct tree_node *n, bool last)
{
    for (; n->level > 0; n = tree_node_child(n, last ? n->count - 1u : 0))
        tree_cursor_push(c, n, last ? n->count - 1u : 0);
    tree_cursor_push(c, n, last ? n->count - 1u : 0);
    tree_cursor_prefetch(c, last ? -1 : 1);
    return tree_cursor_set(c, false);
}

/* The leaf is done: up until there is a neighbour, then down its near edge. */
static bool tree_cursor_turn(struct tree_cursor *c, bool back)
{
    for (c->depth--; c->depth > 0; c->depth--) {
        const struct tree_node *n = c->path[c->depth - 1].node;
        unsigned *index = &c->path[c->depth - 1].index;
        if (back ? *index > 0 : *index + 1 < n->count) {
            *index = back ? *index - 1 : *index + 1;
            return tree_cursor_edge(c, tree_node_child(n, *index), back);
        }
    }
    return tree_cursor_nowhere(c);
}

/* To the leaf where key would be; the index in it is that of the first key >= key, and may be its
 * count. */
static bool tree_cursor_descend(struct tree_cursor *c, const uint8_t *key, size_t key_len)
{
    const struct tree_node *n = c->root.node;
    bool equal;
    c->depth = 0;
    if (!n)
        return tree_cursor_nowhere(c);
    while (n->level > 0) {
        unsigned i = tree_node_branch(n, key, key_len);
        tree_cursor_push(c, n, i);
        n = tree_node_child(n, i);
        tree_node_prefetch(n);
    }
    tree_cursor_push(c, n, tree_node_search(n, 0, key, key_len, &equal));
    return true;
}

bool tree_cursor_seek(struct tree_cursor *c, const void *key, size_t key_len)
{
    if (!tree_cursor_descend(c, key, key_len))
        return false;
    if (c->path[c->depth - 1].index == c->path[c->depth - 1].node->count)
        return tree_cursor_turn(c, false);
    return tree_cursor_set(c, false);
}

bool tree_cursor_seek_last(struct tree_cursor *c, const void *key, size_t key_len)
{
    if (!key) {
        c->depth = 0;
        return c->root.node ? tree_cursor_edge(c, c->root.node, true) : tree_cursor_nowhere(c);
    }
    if (!tree_cursor_descend(c, key, key_len))
        return false;
    if (c->path[c->depth - 1].index == 0)
        return tree_cursor_turn(c, true);
    c->path[c->depth - 1].index--;
    return tree_cursor_set(c, false);
}

bool tree_cursor_next(struct tree_cursor *c)
{
    if (c->depth == 0)
        return false;
    unsigned *index = &c->path[c->depth - 1].index;
    if (*index + 1 == c->path[c->depth - 1].node->count)
        return tree_cursor_turn(c, false);
    ++*index;
    return tree_cursor_set(c, true);
}

bool tree_cursor_prev(struct tree_cursor *c)
{
    if (c->depth == 0)
        return false;
    unsigned *index = &c->path[c->depth - 1].index;
    if (*index == 0)
        return tree_cursor_turn(c, true);
    --*index;
    return tree_cursor_set(c, true);
}

const uint8_t *tree_cursor_peek(const struct tree_cursor *c, bool back, size_t *out_len)
{
    if (c->depth == 0)
        return NULL;
    const struct tree_node *leaf = c->path[c->depth - 1].node;
    unsigned i = c->path[c->depth - 1].index + (back ? -1u : 1u);
    if (i >= leaf->count)
        return NULL;
    const uint8_t *entry = tree_node_entry(leaf, i);
    *out_len = entry[0];
    return entry + 1;
}
