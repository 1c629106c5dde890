/* tree_model.h: what the tests of the tree share: keys of many shapes, a sorted array to compare
 * with, a tree and its model changed together. Included by test_tree.c and test_tree_snap.c only.
 */
#ifndef TREE_MODEL_H
#define TREE_MODEL_H

#include "base/bytes.h"
#include "base/os.h"
#include "engine/tree.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

enum { SLAB = 65536 };

static const uint64_t no_aux[TREE_AUX] = {0};

/* -- randomness: each seed is printed, so that a failure can be repeated -- */

static uint64_t next_random(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static inline size_t below(uint64_t *state, size_t n)
{
    return (size_t)(next_random(state) % n);
}

static uint64_t fresh_seed(void)
{
    const char *given = getenv("KIST_TEST_SEED");
    struct timespec ts;
    if (given)
        return strtoull(given, NULL, 10);
    clock_gettime(CLOCK_REALTIME, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* -- keys of many shapes -- */

struct key {
    uint8_t *bytes;
    size_t len;
};

enum shape {
    SHAPE_TINY,
    SHAPE_FF,
    SHAPE_NUL,
    SHAPE_COMMON,
    SHAPE_HUGE,
    SHAPE_NESTED,
    SHAPE_COUNTER,
    SHAPE_RANDOM,
    SHAPE_MIXED,
    SHAPES
};

static inline size_t shape_key(enum shape shape, uint64_t *rng, uint8_t *out)
{
    size_t len = 0;
    switch (shape) {
    case SHAPE_TINY: /* one byte, or none */
        len = below(rng, 30) > 0;
        out[0] = (uint8_t)next_random(rng);
        return len;
    case SHAPE_FF: /* runs of 0xff with a little else */
        len = below(rng, 40);
        memset(out, 0xff, len);
        if (len)
            out[below(rng, len)] = (uint8_t)(0xfd + below(rng, 3));
        return len;
    case SHAPE_NUL:
        len = below(rng, 12);
        for (size_t i = 0; i < len; i++)
            out[i] = (uint8_t)(below(rng, 3) == 0);
        return len;
    case SHAPE_COMMON: /* 1,000 bytes in common, in three families */
        memset(out, 'a' + (int)below(rng, 3), 1000);
        bytes_put16(out + 1000, (uint16_t)next_random(rng));
        return 1000 + below(rng, 3);
    case SHAPE_HUGE: /* up to the longest, different early, late or in the middle */
        len = below(rng, 3) ? TREE_KEY_MAX : 3000 + below(rng, TREE_KEY_MAX - 3000);
        memset(out, 'h', len);
        out[below(rng, 3) * (len - 1) / 2] = (uint8_t)next_random(rng);
        out[len - 1] = (uint8_t)below(rng, 8);
        return len;
    case SHAPE_NESTED: /* prefixes of one another */
        len = below(rng, 3) ? below(rng, 600) : below(rng, TREE_KEY_MAX);
        memset(out, 'n', len);
        return len;
    case SHAPE_COUNTER:
        bytes_put64be(out, below(rng, 4));
        bytes_put64be(out + 8, below(rng, 5000));
        return 16;
    case SHAPE_RANDOM:
        len = 8 + below(rng, 40);
        for (size_t i = 0; i < len; i++)
            out[i] = (uint8_t)next_random(rng);
        out[0] &= 15;
        return len;
    default:
        return shape_key((enum shape)below(rng, SHAPE_MIXED), rng, out);
    }
}

/* -- the model: a sorted array -- */

struct entry {
    struct key key;
    uint8_t payload[TREE_PAYLOAD_MAX];
    size_t payload_len;
};

struct model {
    struct entry *entries;
    size_t n, cap;
};

static inline size_t model_find(const struct model *m, const uint8_t *key, size_t len, bool *out_equal)
{
    size_t lo = 0, hi = m->n;
    *out_equal = false;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        int c = bytes_compare(m->entries[mid].key.bytes, m->entries[mid].key.len, key, len);
        if (c == 0)
            *out_equal = true;
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static inline void model_put(struct model *m, const uint8_t *key, size_t len, const uint8_t *payload, size_t payload_len)
{
    bool equal;
    size_t i = model_find(m, key, len, &equal);
    if (!equal) {
        if (m->n == m->cap) {
            m->cap = m->cap ? 2 * m->cap : 64;
            m->entries = realloc(m->entries, m->cap * sizeof *m->entries);
            assert_non_null(m->entries);
        }
        memmove(m->entries + i + 1, m->entries + i, (m->n - i) * sizeof *m->entries);
        m->n++;
        m->entries[i].key = (struct key){malloc(len + 1), len};
        assert_non_null(m->entries[i].key.bytes);
        memcpy(m->entries[i].key.bytes, key, len);
    }
    memcpy(m->entries[i].payload, payload, payload_len);
    m->entries[i].payload_len = payload_len;
}

static inline void model_remove(struct model *m, size_t i)
{
    free(m->entries[i].key.bytes);
    m->n--;
    memmove(m->entries + i, m->entries + i + 1, (m->n - i) * sizeof *m->entries);
}

static inline struct model model_copy(const struct model *m)
{
    struct model copy = {0};
    for (size_t i = 0; i < m->n; i++)
        model_put(&copy, m->entries[i].key.bytes, m->entries[i].key.len, m->entries[i].payload, m->entries[i].payload_len);
    return copy;
}

static inline void model_done(struct model *m)
{
    for (size_t i = 0; i < m->n; i++)
        free(m->entries[i].key.bytes);
    free(m->entries);
    *m = (struct model){0};
}

static inline void assert_at(const struct tree_cursor *c, const struct entry *e)
{
    assert_int_equal(c->key_len, e->key.len);
    assert_memory_equal(c->key, e->key.bytes, e->key.len);
    assert_int_equal(c->payload_len, e->payload_len);
    assert_memory_equal(c->payload, e->payload, e->payload_len);
}

static inline void assert_finds(const struct tree_root *root, const struct entry *e)
{
    size_t len = 0;
    const uint8_t *p = tree_find(root, e->key.bytes, e->key.len, &len);
    assert_non_null(p);
    assert_int_equal(len, e->payload_len);
    assert_memory_equal(p, e->payload, len);
}

/* The root holds what the model holds: forward, backward and one by one. */
static inline void assert_same(const struct tree_root *root, const struct model *m)
{
    struct tree_cursor c;
    size_t i = 0;
    tree_check(root);
    assert_int_equal(root->count, m->n);
    tree_cursor_init(&c, root);
    for (bool on = tree_cursor_seek(&c, "", 0); on; on = tree_cursor_next(&c)) {
        assert_true(i < m->n);
        assert_at(&c, &m->entries[i]);
        assert_finds(root, &m->entries[i]);
        i++;
    }
    assert_int_equal(i, m->n);
    assert_false(tree_cursor_next(&c));
    for (bool on = tree_cursor_seek_last(&c, NULL, 0); on; on = tree_cursor_prev(&c)) {
        assert_true(i > 0);
        assert_at(&c, &m->entries[--i]);
    }
    assert_int_equal(i, 0);
}

/* Seek to a key that may or may not be there, then step back and forth. */
static inline void assert_seeks(const struct tree_root *root, const struct model *m, const uint8_t *key, size_t len)
{
    struct tree_cursor c;
    bool equal;
    size_t i = model_find(m, key, len, &equal), found_len = 0;
    assert_int_equal(tree_find(root, key, len, &found_len) != NULL, equal);
    tree_cursor_init(&c, root);
    assert_int_equal(tree_cursor_seek(&c, key, len), i < m->n);
    if (i < m->n) {
        assert_at(&c, &m->entries[i]);
        assert_int_equal(tree_cursor_prev(&c), i > 0);
        if (i > 0) {
            assert_at(&c, &m->entries[i - 1]);
            assert_true(tree_cursor_next(&c));
            assert_at(&c, &m->entries[i]);
        }
    }
    assert_int_equal(tree_cursor_seek_last(&c, key, len), i > 0);
    if (i > 0) {
        assert_at(&c, &m->entries[i - 1]);
        assert_int_equal(tree_cursor_next(&c), i < m->n);
        if (i < m->n)
            assert_at(&c, &m->entries[i]);
    }
}

/* -- one tree and its model -- */

struct pair {
    struct tree *tree;
    struct model model;
    uint64_t rng, tag;
    enum shape shape;
    bool fixed; /* payloads of one length */
};

static inline struct pair pair_new(uint64_t seed, enum shape shape)
{
    struct pair p = {.rng = seed, .shape = shape, .fixed = seed % 3 == 0};
    assert_int_equal(tree_new(&p.tree), 0);
    return p;
}

static inline void pair_done(struct pair *p)
{
    tree_free(&p->tree);
    assert_null(p->tree);
    model_done(&p->model);
}

static inline void assert_old(const struct pair *p, const uint8_t *key, size_t len, const uint8_t *old, size_t old_len)
{
    bool equal;
    size_t i = model_find(&p->model, key, len, &equal);
    if (!equal) {
        assert_true(old_len == SIZE_MAX);
        return;
    }
    assert_int_equal(old_len, p->model.entries[i].payload_len);
    assert_memory_equal(old, p->model.entries[i].payload, old_len);
}

static inline void pair_put(struct pair *p, const uint8_t *key, size_t len)
{
    uint8_t payload[TREE_PAYLOAD_MAX], old[TREE_PAYLOAD_MAX];
    size_t old_len = 0, payload_len = p->fixed ? 20 : below(&p->rng, TREE_PAYLOAD_MAX + 1);
    for (size_t i = 0; i < payload_len; i++)
        payload[i] = (uint8_t)next_random(&p->rng);
    assert_int_equal(tree_put(p->tree, key, len, payload, payload_len, old, &old_len), 0);
    assert_old(p, key, len, old, old_len);
    model_put(&p->model, key, len, payload, payload_len);
}

static inline void pair_delete(struct pair *p, const uint8_t *key, size_t len)
{
    uint8_t old[TREE_PAYLOAD_MAX];
    size_t old_len = 0;
    bool equal;
    assert_int_equal(tree_delete(p->tree, key, len, old, &old_len), 0);
    assert_old(p, key, len, old, old_len);
    size_t i = model_find(&p->model, key, len, &equal);
    if (equal)
        model_remove(&p->model, i);
}

/* One random change; deletes out of 100, mostly of keys that are there. */
static inline void pair_change(struct pair *p, size_t deletes)
{
    uint8_t key[TREE_KEY_MAX];
    size_t len = shape_key(p->shape, &p->rng, key);
    if (below(&p->rng, 100) >= deletes) {
        pair_put(p, key, len);
        return;
    }
    if (p->model.n > 0 && below(&p->rng, 8) > 0) {
        const struct key *there = &p->model.entries[below(&p->rng, p->model.n)].key;
        len = there->len;
        memcpy(key, there->bytes, len);
    }
    pair_delete(p, key, len);
}

static inline void pair_publish(struct pair *p)
{
    assert_int_equal(tree_capture(p->tree, ++p->tag, no_aux), 0);
    tree_publish(p->tree, p->tag);
    assert_int_equal(tree_published_tag(p->tree), p->tag);
}

static inline void pair_drain(struct pair *p)
{
    while (p->model.n > 0) {
        const struct key *k = &p->model.entries[below(&p->rng, p->model.n)].key;
        uint8_t key[TREE_KEY_MAX];
        size_t len = k->len;
        memcpy(key, k->bytes, len);
        pair_delete(p, key, len);
    }
    assert_null(tree_working(p->tree).node);
    pair_publish(p);
    tree_reclaim(p->tree);
    assert_true(tree_memory(p->tree) <= SLAB);
}

static inline void put_counter(struct tree *t, uint64_t n)
{
    uint8_t key[16] = "counter:";
    bytes_put64be(key + 8, n);
    assert_int_equal(tree_put(t, key, sizeof key, key, 16, NULL, NULL), 0);
}

static inline void show(struct tree *t, uint64_t tag)
{
    assert_int_equal(tree_capture(t, tag, no_aux), 0);
    tree_publish(t, tag);
}

#endif
