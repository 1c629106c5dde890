/* tree_node.c: one node of the tree: searching, changing, building.
 *
 * What decides the speed of a lookup is how many cache lines it touches one after another. A node
 * has 8-byte slots with the first four bytes of each suffix as a number; a binary search compares
 * those alone and looks at one entry in the end. What decides the size is what is not stored: the
 * prefix that all keys of the node share is there once, and the four bytes in the head are not
 * repeated in the entry.
 *
 * The prefix is that of the keys that are there when a node is built, not that of its fences (all
 * keys that might come). A key without the prefix sorts before or after all others, so a search
 * knows at once, and an insert either shortens the prefix or puts the key into a node of its own.
 * Fences were not taken: they save one short memcmp a level, but have to be rebuilt from the path,
 * and removing a node widens those of its neighbours all the way down. Slots of 6 bytes with the
 * suffix length in the entry save nothing (the length takes two bytes there) and are not aligned.
 *
 * Relies on: one writer; nodes with birth < version are never passed to what changes nodes. */
#include "engine/tree_node.h"

unsigned tree_node_search_tied(const struct tree_node *n, unsigned lo, uint32_t head, const uint8_t *suffix, size_t len,
                               bool *out_equal)
{
    const struct tree_slot *slots = tree_node_slots(n);
    int c = tree_node_compare_rest(n, lo, suffix, len);
    *out_equal = c == 0;
    if (c <= 0)
        return lo;
    unsigned hi = n->count;
    lo++;
    while (lo < hi) {
        unsigned mid = lo + (hi - lo) / 2;
        c = head < slots[mid].head ? -1 : tree_node_compare_rest(n, mid, suffix, len);
        if (c == 0) {
            *out_equal = true;
            return mid;
        }
        if (c < 0)
            hi = mid;
        else
            lo = mid + 1;
    }
    return lo;
}

/* Bytes of entry i. */
static size_t tree_node_entry_len(const struct tree_node *n, unsigned i)
{
    return 1 + (size_t)*tree_node_entry(n, i) + tree_node_rest(tree_node_slots(n)[i].len);
}

static size_t tree_node_slots_end(const struct tree_node *n)
{
    return tree_node_slots_at(n->prefix_len) + sizeof(struct tree_slot) * n->count;
}

bool tree_node_room(const struct tree_node *n, size_t key_len, size_t payload_len)
{
    assert(key_len >= n->prefix_len);
    size_t entry = 1 + payload_len + tree_node_rest(key_len - n->prefix_len);
    size_t need = sizeof(struct tree_slot) + entry;
    if (n->count >= TREE_NODE_FEW && n->used + need > TREE_NODE_STD)
        return false;
    return tree_node_slots_end(n) + need <= n->heap;
}

/* Room for an entry of len bytes at the low end of the heap. */
static uint8_t *tree_node_take(struct tree_node *n, size_t len)
{
    assert(tree_node_slots_end(n) + len <= n->heap);
    n->heap = (uint16_t)(n->heap - len);
    n->used = (uint16_t)(n->used + len);
    return (uint8_t *)n + n->heap;
}

void tree_node_insert(struct tree_node *n, unsigned i, const uint8_t *key, size_t key_len, const uint8_t *payload,
                      size_t payload_len)
{
    assert(i <= n->count && payload_len <= TREE_PAYLOAD_MAX && tree_node_room(n, key_len, payload_len));
    const uint8_t *suffix = key + n->prefix_len;
    size_t len = key_len - n->prefix_len, rest = tree_node_rest(len);
    struct tree_slot *slots = tree_node_slots(n);
    memmove(slots + i + 1, slots + i, (n->count - i) * sizeof *slots);
    n->count++;
    n->used = (uint16_t)(n->used + sizeof *slots);
    uint8_t *entry = tree_node_take(n, 1 + payload_len + rest);
    slots[i] = (struct tree_slot){tree_node_head(suffix, len), n->heap, (uint16_t)len};
    entry[0] = (uint8_t)payload_len;
    if (payload_len)
        memcpy(entry + 1, payload, payload_len);
    if (rest)
        memcpy(entry + 1 + payload_len, suffix + 4, rest);
    n->run = i == n->last + 1u ? (uint8_t)(n->run + (n->run < 255)) : 0;
    n->last = (uint16_t)i;
}

void tree_node_remove(struct tree_node *n, unsigned i)
{
    assert(i < n->count);
    struct tree_slot *slots = tree_node_slots(n);
    size_t len = tree_node_entry_len(n, i);
    if (slots[i].offset == n->heap)
        n->heap = (uint16_t)(n->heap + len);
    n->used = (uint16_t)(n->used - len - sizeof *slots);
    n->count--;
    memmove(slots + i, slots + i + 1, (n->count - i) * sizeof *slots);
    if (n->last >= i && n->last > 0)
        n->last--;
}

void tree_node_replace(struct tree_node *n, unsigned i, const uint8_t *payload, size_t payload_len)
{
    uint8_t *old = tree_node_entry(n, i), *entry = old;
    size_t rest = tree_node_rest(tree_node_slots(n)[i].len), old_len = old[0];
    assert(i < n->count && payload_len <= TREE_PAYLOAD_MAX);
    if (payload_len > old_len) {
        entry = tree_node_take(n, 1 + payload_len + rest);
        n->used = (uint16_t)(n->used - (1 + old_len + rest));
        tree_node_slots(n)[i].offset = n->heap;
    } else {
        n->used = (uint16_t)(n->used - (old_len - payload_len));
    }
    entry[0] = (uint8_t)payload_len;
    if (rest && payload_len != old_len)
        memmove(entry + 1 + payload_len, old + 1 + old_len, rest);
    if (payload_len)
        memcpy(entry + 1, payload, payload_len);
}

void tree_node_set_child(struct tree_node *n, unsigned i, struct tree_node *child)
{
    uint8_t *entry = tree_node_entry(n, i);
    assert(n->level > 0 && i < n->count && entry[0] == sizeof child);
    memcpy(entry + 1, &child, sizeof child);
}

/* -- items -- */

struct tree_item tree_node_item(const struct tree_node *n, unsigned i)
{
    const struct tree_slot *slot = tree_node_slots(n) + i;
    const uint8_t *entry = tree_node_entry(n, i);
    return (struct tree_item){
        .prefix = tree_node_prefix(n),
        .rest = entry + 1 + entry[0],
        .payload = entry + 1,
        .head = slot->head,
        .prefix_len = n->prefix_len,
        .len = (uint16_t)(n->prefix_len + slot->len),
        .payload_len = entry[0],
    };
}

struct tree_item tree_node_item_of(const uint8_t *key, size_t key_len, const uint8_t *payload, size_t payload_len)
{
    assert(key_len <= TREE_KEY_MAX && payload_len <= TREE_PAYLOAD_MAX);
    return (struct tree_item){
        .prefix = key,
        .payload = payload,
        .prefix_len = (uint16_t)key_len,
        .len = (uint16_t)key_len,
        .payload_len = (uint8_t)payload_len,
    };
}

unsigned tree_node_items(const struct tree_node *n, struct tree_item *out_items)
{
    assert(n->count < TREE_NODE_ITEMS);
    for (unsigned i = 0; i < n->count; i++)
        out_items[i] = tree_node_item(n, i);
    if (n->level > 0 && n->count > 0)
        out_items[0].len = out_items[0].prefix_len = 0;
    return n->count;
}

void tree_node_item_copy(const struct tree_item *it, size_t from, size_t to, uint8_t *out)
{
    assert(from <= to && to <= it->len);
    size_t head_end = bytes_min((size_t)it->prefix_len + 4, it->len);
    if (from < it->prefix_len) {
        size_t n = bytes_min(to, it->prefix_len) - from;
        if (n)
            memcpy(out, it->prefix + from, n);
        out += n;
        from += n;
    }
    for (; from < to && from < head_end; from++)
        *out++ = (uint8_t)(it->head >> (24 - 8 * (from - it->prefix_len)));
    if (from < to)
        memcpy(out, it->rest + (from - head_end), to - from);
}

size_t tree_node_key(const struct tree_node *n, unsigned i, uint8_t *out_key)
{
    struct tree_item it = tree_node_item(n, i);
    tree_node_item_copy(&it, 0, it.len, out_key);
    return it.len;
}

static uint8_t tree_node_item_byte(const struct tree_item *it, size_t at)
{
    if (at < it->prefix_len)
        return it->prefix[at];
    at -= it->prefix_len;
    return (uint8_t)(at < 4 ? it->head >> (24 - 8 * at) : it->rest[at - 4]);
}

size_t tree_node_item_common(const struct tree_item *a, const struct tree_item *b)
{
    size_t n = bytes_min(a->len, b->len);
    size_t same = a->prefix == b->prefix ? bytes_min(a->prefix_len, b->prefix_len) : 0;
    while (same < n && tree_node_item_byte(a, same) == tree_node_item_byte(b, same))
        same++;
    return same;
}

/* -- building -- */

/* The prefix of sorted keys is that of the first and the last; a branch's first key is no key. */
static size_t tree_node_common(const struct tree_item *items, unsigned n, unsigned level)
{
    unsigned first = level > 0;
    return first < n ? tree_node_item_common(&items[first], &items[n - 1]) : 0;
}

static size_t tree_node_suffix(const struct tree_item *items, unsigned i, unsigned level, size_t prefix)
{
    return i == 0 && level > 0 ? 0 : items[i].len - prefix;
}

size_t tree_node_measure(const struct tree_item *items, unsigned n, unsigned level, size_t *out_prefix)
{
    size_t prefix = tree_node_common(items, n, level);
    size_t size = tree_node_slots_at(prefix);
    for (unsigned i = 0; i < n; i++)
        size += sizeof(struct tree_slot) + 1 + items[i].payload_len + tree_node_rest(tree_node_suffix(items, i, level, prefix));
    *out_prefix = prefix;
    return size;
}

static void tree_node_append(struct tree_node *n, const struct tree_item *it, size_t len)
{
    size_t rest = tree_node_rest(len), from = n->prefix_len;
    struct tree_slot *slot = tree_node_slots(n) + n->count++;
    n->used = (uint16_t)(n->used + sizeof *slot);
    uint8_t *entry = tree_node_take(n, 1 + it->payload_len + rest);
    entry[0] = it->payload_len;
    if (it->payload_len)
        memcpy(entry + 1, it->payload, it->payload_len);
    uint32_t head = it->head;
    if (len == 0) {
        head = 0;
    } else if (it->prefix_len == from) {
        if (rest)
            memcpy(entry + 1 + it->payload_len, it->rest, rest);
    } else {
        uint8_t first[4];
        tree_node_item_copy(it, from, from + len - rest, first);
        head = tree_node_head(first, len - rest);
        tree_node_item_copy(it, from + len - rest, from + len, entry + 1 + it->payload_len);
    }
    *slot = (struct tree_slot){head, n->heap, (uint16_t)len};
}

struct tree_node *tree_node_build(struct tree_slabs *s, const struct tree_item *items, unsigned n, unsigned level, uint64_t birth)
{
    size_t prefix, size = tree_node_measure(items, n, level, &prefix);
    size_t cap = size <= TREE_NODE_STD ? TREE_NODE_STD : (size + 255) & ~(size_t)255;
    assert(n > 0 && cap < UINT16_MAX);
    struct tree_node *node = tree_slab_alloc(s, cap);
    if (!node)
        return NULL;
    *node = (struct tree_node){
        .birth = birth,
        .cap = (uint32_t)cap,
        .prefix_len = (uint16_t)prefix,
        .heap = (uint16_t)cap,
        .used = (uint16_t)tree_node_slots_at(prefix),
        .level = (uint8_t)level,
    };
    if (prefix)
        tree_node_item_copy(&items[level > 0], 0, prefix, (uint8_t *)node + TREE_NODE_HEADER);
    for (unsigned i = 0; i < n; i++)
        tree_node_append(node, &items[i], tree_node_suffix(items, i, level, prefix));
    assert(node->used == size);
    return node;
}

struct tree_node *tree_node_copy(struct tree_slabs *s, const struct tree_node *n, uint64_t birth)
{
    struct tree_node *copy = tree_slab_alloc(s, n->cap);
    if (!copy)
        return NULL;
    size_t low = tree_node_slots_end(n);
    memcpy(copy, n, low);
    memcpy((uint8_t *)copy + n->heap, (const uint8_t *)n + n->heap, n->cap - n->heap);
    copy->birth = birth;
    copy->death = 0;
    copy->next = NULL;
    return copy;
}

void tree_node_free(struct tree_slabs *s, struct tree_node *n)
{
    tree_slab_free(s, n, n->cap);
}
