/* tree.c: the writer's half of the ordered map: descend, copy what is shared, change, split, merge.
 *
 * A change goes down from the root and copies each branch that an earlier capture can see (birth <
 * version); what this version made itself is changed in place. In a leaf with room the entry goes
 * in place. Otherwise the node is built anew from its items: whole, if that fits after dropping
 * garbage and adjusting the prefix, or as two. Two mean one more separator for the branch above,
 * which may have to be built anew too, and so on. All new nodes are made before any old one is let
 * go, so that a failed allocation leaves a whole tree (without the change); the header promises
 * less, and `broken` holds callers to that, since half a batch must not be captured.
 *
 * Where to split: near the middle, at the shortest separator; behind the new entry, when inserts
 * come in ascending order at this place (each node remembers that of its own, so that many queues
 * can grow side by side); before or behind the new entry, when it does not share the node's prefix,
 * so that a long prefix is not given up for one stranger. A node with at most TREE_NODE_FEW entries
 * grows instead of splitting: keys of 4 KiB make nodes of up to 39 KiB, not a tree of pairs.
 *
 * Deletes: an empty node leaves its parent; an underfull one is merged with a neighbour under the
 * same parent if the two fill at most 3/4 of a node. Merging and shrinking need memory; without it
 * they are left out, a delete does not fail for them. Branches with one child are allowed:
 * separators never have to be changed. Not taken: moving entries to a neighbour before a split
 * (fuller nodes, but such an insert copies a second node); balancing (see tree_node.c on fences).
 */
#include "engine/tree_snap.h"

#include "base/os.h"

#include <assert.h>

enum {
    TREE_UNDERFULL = TREE_NODE_STD / 3,      /* bytes */
    TREE_MERGED_MAX = TREE_NODE_STD / 4 * 3, /* bytes */
    TREE_MERGED_FEW = TREE_NODE_FEW / 2,     /* entries, when they are long */
    TREE_RUN_MIN = 3,                        /* inserts in a row that make an ascending order */
};

/* The way to a leaf: at each level the node and the index in it; in the leaf that of the first key
 * >= key. */
struct tree_walk {
    struct tree_node *nodes[TREE_DEPTH];
    unsigned index[TREE_DEPTH];
    unsigned depth; /* levels */
    bool equal;     /* the leaf has the key */
    bool rightmost; /* the leaf is the last */
};

/* -- making, opening, ending -- */

int tree_new(struct tree **out)
{
    struct tree *t = os_alloc_aligned(alignof(struct tree), sizeof *t);
    if (!t)
        return KIST_ENOMEM;
    memset(t, 0, sizeof *t);
    t->magic = TREE_MAGIC;
    int rc = tree_snap_init(t);
    if (rc) {
        os_free(t->records);
        os_free(t);
        return rc;
    }
    *out = t;
    return 0;
}

static void tree_kill_below(struct tree *t, struct tree_node *n)
{
    for (unsigned i = 0; n->level > 0 && i < n->count; i++)
        tree_kill_below(t, tree_node_child(n, i));
    tree_snap_kill(t, n);
}

static void tree_clear(struct tree *t)
{
    if (t->root)
        tree_kill_below(t, t->root);
    t->root = NULL;
    t->count = 0;
    t->broken = t->loading = false;
}

void tree_reset(struct tree *t)
{
    assert(t->magic == TREE_MAGIC);
    tree_clear(t);
    tree_snap_forget(t);
    tree_reclaim(t);
}

void tree_free(struct tree **t)
{
    struct tree *tree = *t;
    if (!tree)
        return;
    assert(tree->magic == TREE_MAGIC);
    tree_clear(tree);
    tree_snap_done(tree);
    tree_slab_done(&tree->slabs);
    tree->magic = 0;
    os_free(tree);
    *t = NULL;
}

struct tree_root tree_working(const struct tree *t)
{
    assert(t->magic == TREE_MAGIC);
    if (t->broken)
        return (struct tree_root){.version = t->version, .tag = t->tag};
    return (struct tree_root){.node = t->root, .version = t->version, .count = t->count, .tag = t->tag};
}

uint64_t tree_memory(const struct tree *t)
{
    return tree_slab_memory(&t->slabs);
}

const uint8_t *tree_find(const struct tree_root *root, const void *key, size_t key_len, size_t *out_len)
{
    const struct tree_node *n = root->node;
    if (!n)
        return NULL;
    while (n->level > 0) {
        n = tree_node_child(n, tree_node_branch(n, key, key_len));
        tree_node_prefetch(n);
    }
    bool equal;
    unsigned i = tree_node_search(n, 0, key, key_len, &equal);
    if (!equal)
        return NULL;
    const uint8_t *entry = tree_node_entry(n, i);
    *out_len = entry[0];
    return entry + 1;
}

/* All leaves are equally deep, so all ways go down together: while one node is on its way from memory, the next key's node
 * above it is searched (Chen et al., "Improving Hash Join Performance through Prefetching", ICDE 2004, for trees). */
void tree_warm(const struct tree_root *root, const struct tree_key *keys, size_t n)
{
    const struct tree_node *at[TREE_WARM_MAX];
    assert(n <= TREE_WARM_MAX);
    if (!root->node)
        return;
    for (size_t i = 0; i < n; i++)
        at[i] = root->node;
    for (unsigned level = root->node->level; level > 0; level--) {
        for (size_t i = 0; i < n; i++) {
            at[i] = tree_node_child(at[i], tree_node_branch(at[i], keys[i].ptr, keys[i].len));
            tree_node_prefetch(at[i]);
        }
    }
    for (size_t i = 0; i < n; i++) {
        bool equal;
        unsigned slot = tree_node_search(at[i], 0, keys[i].ptr, keys[i].len, &equal);
        __builtin_prefetch(tree_node_entry(at[i], slot < at[i]->count ? slot : 0)); /* first: it is compared */
        tree_node_prefetch_all(at[i]);
    }
}

/* -- going down -- */

/* Put n where w has another node at this level. */
static void tree_swap(struct tree *t, struct tree_walk *w, unsigned level, struct tree_node *n)
{
    if (level == 0)
        t->root = n;
    else
        tree_node_set_child(w->nodes[level - 1], w->index[level - 1], n);
    tree_snap_kill(t, w->nodes[level]);
    w->nodes[level] = n;
}

/* Make the node at this level one that may be changed in place; those above it are. */
static int tree_own(struct tree *t, struct tree_walk *w, unsigned level)
{
    if (w->nodes[level]->birth == t->version)
        return 0;
    struct tree_node *copy = tree_node_copy(&t->slabs, w->nodes[level], t->version);
    if (!copy)
        return KIST_ENOMEM;
    tree_swap(t, w, level, copy);
    return 0;
}

/* To the leaf of a key (append: to the last leaf), owning the branches on the way. */
static int tree_descend(struct tree *t, const uint8_t *key, size_t key_len, bool append, struct tree_walk *out)
{
    struct tree_node *n = t->root;
    out->depth = 0;
    out->rightmost = true;
    for (;; out->depth++) {
        unsigned level = out->depth;
        out->nodes[level] = n;
        if (n->level == 0)
            break;
        int rc = tree_own(t, out, level);
        if (rc)
            return rc;
        n = out->nodes[level];
        unsigned i = append ? n->count - 1u : tree_node_branch(n, key, key_len);
        out->rightmost = out->rightmost && i + 1 == n->count;
        out->index[level] = i;
        n = tree_node_child(n, i);
        tree_node_prefetch(n);
    }
    out->index[out->depth++] = tree_node_search(n, 0, key, key_len, &out->equal);
    return 0;
}

/* -- putting -- */

/* What is to happen to one node: its items with the new one among them. */
struct tree_change {
    struct tree_item items[TREE_NODE_ITEMS];
    unsigned n;
    unsigned at;    /* the new one */
    unsigned level; /* as in the node: 0 for a leaf */
    bool stranger;  /* it does not share the node's prefix */
    bool ascending; /* it goes on where the ones before it went */
};

/* The nodes made and not yet hung in, to free when a later one cannot be had. */
struct tree_made {
    struct tree_node *nodes[2 * TREE_DEPTH + 1];
    unsigned n;
};

static struct tree_node *tree_make(struct tree *t, struct tree_made *made, const struct tree_item *items, unsigned n,
                                   unsigned level)
{
    struct tree_node *node = tree_node_build(&t->slabs, items, n, level, t->version);
    if (node)
        made->nodes[made->n++] = node;
    return node;
}

static void tree_unmake(struct tree *t, struct tree_made *made)
{
    while (made->n > 0)
        tree_node_free(&t->slabs, made->nodes[--made->n]);
}

/* Bytes that the separator would have if items [k, n) went to a node of their own. */
static size_t tree_separator(const struct tree_change *c, unsigned k)
{
    return c->level > 0 ? c->items[k].len : tree_node_item_common(&c->items[k - 1], &c->items[k]) + 1;
}

/* Near the middle in bytes, where the separator is shortest. */
static unsigned tree_middle(const struct tree_change *c)
{
    size_t prefix, total = tree_node_measure(c->items, c->n, c->level, &prefix), sum = 0;
    unsigned mid = 0, near = c->n / 16 + 1;
    for (; mid < c->n && sum < total / 2; mid++)
        sum += sizeof(struct tree_slot) + 1 + c->items[mid].payload_len +
               tree_node_rest(c->items[mid].len > prefix ? c->items[mid].len - prefix : 0);
    mid = mid < 1 ? 1 : mid > c->n - 1 ? c->n - 1 : mid;
    unsigned best = mid;
    size_t best_len = tree_separator(c, mid);
    for (unsigned k = mid > near ? mid - near : 1; k <= mid + near && k < c->n; k++) {
        size_t len = tree_separator(c, k);
        if (len < best_len) {
            best_len = len;
            best = k;
        }
    }
    return best;
}

/* How many items the left node gets; all: no split. */
static unsigned tree_cut(const struct tree_change *c)
{
    size_t prefix;
    if (c->n <= TREE_NODE_FEW || tree_node_measure(c->items, c->n, c->level, &prefix) <= TREE_NODE_STD)
        return c->n;
    if (c->stranger)
        return c->at + 1 == c->n ? c->at : c->at + (c->level == 0);
    if (c->ascending && c->at + 1 < c->n)
        return c->at + 1;
    if (c->ascending)
        return c->n - 1 - (c->level > 0);
    return tree_middle(c);
}

/* Gather a node's items and put the new one at its place. */
static void tree_change_init(struct tree_change *c, const struct tree_walk *w, unsigned level, const struct tree_item *add,
                             bool replace)
{
    const struct tree_node *old = w->nodes[level];
    c->n = tree_node_items(old, c->items);
    c->level = old->level;
    c->at = w->index[level] + (old->level > 0);
    c->stranger = !replace && tree_node_compare_prefix(old, add->prefix, add->len) != 0;
    c->ascending =
        !replace && c->at > 0 && ((w->rightmost && c->at == c->n) || (c->at == old->last + 1u && old->run >= TREE_RUN_MIN));
    if (!replace) {
        memmove(c->items + c->at + 1, c->items + c->at, (c->n - c->at) * sizeof *c->items);
        c->n++;
        c->items[c->at] = *add;
    } else {
        c->items[c->at].payload = add->payload;
        c->items[c->at].payload_len = add->payload_len;
    }
}

/* A rebuilt node goes on counting the run of inserts. */
static void tree_note_run(struct tree_node *n, unsigned at, const struct tree_node *old, unsigned old_at)
{
    assert(n);
    n->last = (uint16_t)at;
    n->run = old_at == old->last + 1u ? (uint8_t)(old->run + (old->run < 255)) : 0;
}

/* Build what comes in the place of one node: *out_left, and *out_right if it had to be split. */
static int tree_change_build(struct tree *t, struct tree_made *made, const struct tree_change *c, const struct tree_node *old,
                             struct tree_node **out_left, struct tree_node **out_right)
{
    unsigned cut = tree_cut(c);
    struct tree_node *right = NULL, *left = tree_make(t, made, c->items, cut, c->level);
    if (!left)
        return KIST_ENOMEM;
    if (cut < c->n) {
        right = tree_make(t, made, c->items + cut, c->n - cut, c->level);
        if (!right)
            return KIST_ENOMEM;
    }
    if (c->at < cut)
        tree_note_run(left, c->at, old, c->at);
    else
        tree_note_run(right, c->at - cut, old, c->at);
    *out_left = left;
    *out_right = right;
    return 0;
}

/* The shortest key above the left items and not above the right ones. */
static size_t tree_change_separator(const struct tree_change *c, unsigned cut, uint8_t *out_key)
{
    size_t len = tree_separator(c, cut);
    tree_node_item_copy(&c->items[cut], 0, len, out_key);
    return len;
}

/* The tree grows by a level. */
static int tree_raise(struct tree *t, struct tree_made *made, struct tree_node *left, struct tree_item right)
{
    struct tree_item items[2] = {
        tree_node_item_of(NULL, 0, (const uint8_t *)&left, sizeof left),
        right,
    };
    if (left->level + 1 >= TREE_DEPTH)
        return KIST_ENOMEM; /* not before there are 4^12 leaves */
    struct tree_node *root = tree_make(t, made, items, 2, left->level + 1u);
    if (!root)
        return KIST_ENOMEM;
    t->root = root;
    return 0;
}

/* Hang left in instead of the node below this branch, and right behind it, if that needs no
 * rebuild. */
static bool tree_hang(struct tree_walk *w, unsigned level, struct tree_node *left, const struct tree_item *right)
{
    struct tree_node *up = w->nodes[level];
    if (tree_node_compare_prefix(up, right->prefix, right->len) != 0 || !tree_node_room(up, right->len, sizeof left))
        return false;
    tree_node_set_child(up, w->index[level], left);
    tree_node_insert(up, w->index[level] + 1, right->prefix, right->len, right->payload, sizeof left);
    return true;
}

/* Put an item in where a node has no room: build the leaf anew and as many branches above it as it
 * takes. The old nodes from `level` down go once all is made. */
static int tree_rebuild(struct tree *t, struct tree_walk *w, struct tree_item add, bool replace)
{
    uint8_t keys[2][TREE_KEY_MAX]; /* a separator is read while the next one is written */
    struct tree_made made = {.n = 0};
    struct tree_change c;
    struct tree_node *left = NULL, *right = NULL, *below = NULL, *hung = NULL;
    unsigned level = w->depth - 1;
    int rc;
    for (;; level--) {
        tree_change_init(&c, w, level, &add, replace);
        below = left;
        if (below)
            c.items[w->index[level]].payload = (const uint8_t *)&below;
        rc = tree_change_build(t, &made, &c, w->nodes[level], &left, &right);
        if (rc)
            goto done;
        if (!right)
            break;
        uint8_t *key = keys[level % 2];
        size_t key_len = tree_change_separator(&c, left->count, key);
        hung = right;
        add = tree_node_item_of(key, key_len, (const uint8_t *)&hung, sizeof hung);
        replace = false;
        if (level == 0) {
            rc = tree_raise(t, &made, left, add);
            if (rc)
                goto done;
            break;
        }
        if (tree_hang(w, level - 1, left, &add))
            break;
    }
    made.n = 0;
    if (!right && level == 0)
        t->root = left;
    else if (!right)
        tree_node_set_child(w->nodes[level - 1], w->index[level - 1], left);
    for (; level < w->depth; level++)
        tree_snap_kill(t, w->nodes[level]);
done:
    tree_unmake(t, &made);
    os_wipe(keys, sizeof keys);
    return rc;
}

/* Put an item where the walk ends. */
static int tree_store(struct tree *t, struct tree_walk *w, const struct tree_item *it)
{
    unsigned leaf = w->depth - 1, i = w->index[leaf];
    const struct tree_node *n = w->nodes[leaf];
    bool in_place;
    if (w->equal)
        in_place = it->payload_len <= *tree_node_entry(n, i) || tree_node_room(n, it->len, it->payload_len);
    else
        in_place = tree_node_compare_prefix(n, it->prefix, it->len) == 0 && tree_node_room(n, it->len, it->payload_len);
    if (!in_place)
        return tree_rebuild(t, w, *it, w->equal);
    int rc = tree_own(t, w, leaf);
    if (rc)
        return rc;
    if (!w->equal)
        tree_node_insert(w->nodes[leaf], i, it->prefix, it->len, it->payload, it->payload_len);
    else
        tree_node_replace(w->nodes[leaf], i, it->payload, it->payload_len);
    return 0;
}

static int tree_put_first(struct tree *t, const struct tree_item *it)
{
    t->root = tree_node_build(&t->slabs, it, 1, 0, t->version);
    return t->root ? 0 : KIST_ENOMEM;
}

/* The payload at slot i, or that there is none, into out_old. */
static void tree_old(const struct tree_node *n, unsigned i, bool there, uint8_t *out_old, size_t *out_len)
{
    const uint8_t *entry = there ? tree_node_entry(n, i) : NULL;
    *out_len = there ? entry[0] : SIZE_MAX;
    if (there && out_old)
        memcpy(out_old, entry + 1, entry[0]);
}

int tree_put(struct tree *t, const void *key, size_t key_len, const void *payload, size_t payload_len, uint8_t *out_old,
             size_t *out_old_len)
{
    assert(t->magic == TREE_MAGIC && key_len <= TREE_KEY_MAX && payload_len <= TREE_PAYLOAD_MAX);
    if (t->broken)
        return KIST_ENOMEM;
    struct tree_item it = tree_node_item_of(key, key_len, payload, payload_len);
    struct tree_walk w = {.depth = 0};
    uint8_t old[TREE_PAYLOAD_MAX];
    size_t old_len = SIZE_MAX;
    int rc;
    if (t->root) {
        rc = tree_descend(t, key, key_len, false, &w);
        if (!rc) {
            tree_old(w.nodes[w.depth - 1], w.index[w.depth - 1], w.equal, out_old ? old : NULL, &old_len);
            rc = tree_store(t, &w, &it);
        }
    } else {
        rc = tree_put_first(t, &it);
    }
    if (rc) {
        t->broken = true;
        return rc;
    }
    t->count += !w.equal;
    if (out_old && old_len != SIZE_MAX)
        memcpy(out_old, old, old_len);
    if (out_old_len)
        *out_old_len = old_len;
    return 0;
}

/* -- loading -- */

int tree_load_add(struct tree *t, const void *key, size_t key_len, const void *payload, size_t payload_len)
{
    assert(t->magic == TREE_MAGIC && key_len <= TREE_KEY_MAX && payload_len <= TREE_PAYLOAD_MAX);
    if (t->broken)
        return KIST_ENOMEM;
    if (!t->loading && t->root)
        return KIST_EINVAL;
    t->loading = true;
    struct tree_item it = tree_node_item_of(key, key_len, payload, payload_len);
    struct tree_walk w = {.depth = 0};
    int rc;
    if (!t->root) {
        rc = tree_put_first(t, &it);
    } else {
        rc = tree_descend(t, key, key_len, true, &w);
        if (!rc && (w.equal || w.index[w.depth - 1] < w.nodes[w.depth - 1]->count))
            return KIST_EINVAL;
        if (!rc)
            rc = tree_store(t, &w, &it);
    }
    if (rc) {
        t->broken = true;
        return rc;
    }
    t->count++;
    return 0;
}

int tree_load_end(struct tree *t)
{
    assert(t->magic == TREE_MAGIC);
    t->loading = false;
    return t->broken ? KIST_ENOMEM : 0;
}

/* -- deleting -- */

/* Two neighbours, children i and i + 1 of a branch, as one node; NULL if that would be too full (or
 * without memory). */
static struct tree_node *tree_merged(struct tree *t, const struct tree_node *up, unsigned i)
{
    const struct tree_node *a = tree_node_child(up, i), *b = tree_node_child(up, i + 1);
    uint8_t key[TREE_KEY_MAX];
    struct tree_item items[TREE_NODE_ITEMS];
    size_t prefix, few = a->count + (size_t)b->count;
    if (few > TREE_MERGED_FEW && a->used - tree_node_slots_at(a->prefix_len) + b->used > TREE_MERGED_MAX)
        return NULL;
    unsigned n = tree_node_items(a, items), level = a->level;
    n += tree_node_items(b, items + n);
    if (level > 0) {
        struct tree_item *first = &items[a->count];
        size_t len = tree_node_key(up, i + 1, key);
        *first = tree_node_item_of(key, len, first->payload, first->payload_len);
    }
    struct tree_node *merged = NULL;
    if (few <= TREE_MERGED_FEW || tree_node_measure(items, n, level, &prefix) <= TREE_MERGED_MAX)
        merged = tree_node_build(&t->slabs, items, n, level, t->version);
    if (level > 0)
        os_wipe(key, sizeof key);
    return merged;
}

/* Merge the node at this level with a neighbour; true if the branch above has lost a child. */
static bool tree_merge(struct tree *t, struct tree_walk *w, unsigned level)
{
    struct tree_node *n = w->nodes[level], *up = w->nodes[level - 1];
    unsigned i = w->index[level - 1];
    if (n->used > TREE_UNDERFULL && n->count > 2)
        return false;
    struct tree_node *merged = i + 1 < up->count ? tree_merged(t, up, i) : NULL;
    if (!merged && i > 0)
        merged = tree_merged(t, up, --i);
    if (!merged)
        return false;
    tree_snap_kill(t, tree_node_child(up, i));
    tree_snap_kill(t, tree_node_child(up, i + 1));
    tree_node_set_child(up, i, merged);
    tree_node_remove(up, i + 1);
    return true;
}

/* A large node that a smaller one would do for. */
static void tree_fit(struct tree *t, struct tree_walk *w, unsigned level)
{
    const struct tree_node *n = w->nodes[level];
    struct tree_item items[TREE_NODE_ITEMS];
    if (n->cap == TREE_NODE_STD || (n->used > TREE_NODE_STD && n->used > n->cap / 4 * 3))
        return;
    unsigned count = tree_node_items(n, items);
    struct tree_node *fit = tree_node_build(&t->slabs, items, count, n->level, t->version);
    if (fit)
        tree_swap(t, w, level, fit);
}

/* The tree loses the levels at its top that only pass on. */
static void tree_lower(struct tree *t)
{
    while (t->root && t->root->level > 0 && t->root->count == 1) {
        struct tree_node *only = tree_node_child(t->root, 0);
        tree_snap_kill(t, t->root);
        t->root = only;
    }
}

/* An entry has left the leaf: mend it and what is above it. */
static void tree_mend(struct tree *t, struct tree_walk *w)
{
    unsigned level = w->depth - 1;
    for (; level > 0; level--) {
        if (w->nodes[level]->count == 0) {
            tree_node_remove(w->nodes[level - 1], w->index[level - 1]);
            tree_snap_kill(t, w->nodes[level]);
        } else if (!tree_merge(t, w, level)) {
            break;
        }
    }
    if (w->nodes[level]->count > 0) {
        tree_fit(t, w, level);
    } else {
        tree_snap_kill(t, t->root);
        t->root = NULL;
    }
    tree_lower(t);
}

int tree_delete(struct tree *t, const void *key, size_t key_len, uint8_t *out_old, size_t *out_old_len)
{
    assert(t->magic == TREE_MAGIC && key_len <= TREE_KEY_MAX);
    if (t->broken)
        return KIST_ENOMEM;
    struct tree_root root = tree_working(t);
    size_t old_len = SIZE_MAX;
    if (tree_find(&root, key, key_len, &old_len)) { /* a delete of nothing copies nothing */
        struct tree_walk w = {.depth = 0};
        int rc = tree_descend(t, key, key_len, false, &w);
        if (!rc)
            rc = tree_own(t, &w, w.depth - 1);
        if (rc) {
            t->broken = true;
            return rc;
        }
        assert(w.equal);
        tree_old(w.nodes[w.depth - 1], w.index[w.depth - 1], true, out_old, &old_len);
        tree_node_remove(w.nodes[w.depth - 1], w.index[w.depth - 1]);
        t->count--;
        tree_mend(t, &w);
    }
    if (out_old_len)
        *out_old_len = old_len;
    return 0;
}
