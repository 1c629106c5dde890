/* test_tree.c: the ordered map against a sorted array; how full its nodes are; loading. */
#include "tree_model.h"

static void random_changes_agree_with_a_sorted_array(void **state)
{
    (void)state;
    uint64_t seed = fresh_seed();
    for (unsigned round = 0; round < 4 * SHAPES; round++) {
        enum shape shape = (enum shape)(round % SHAPES);
        printf("shape %d seed %" PRIu64 "\n", (int)shape, seed + round);
        struct pair p = pair_new(seed + round, shape);
        for (unsigned phase = 0; phase < 6; phase++) {
            size_t deletes = phase % 2 ? 70 : 20;
            for (unsigned i = 0; i < 500; i++) {
                pair_change(&p, deletes);
                if (below(&p.rng, 40) == 0)
                    pair_publish(&p);
                if (below(&p.rng, 10) == 0) {
                    struct tree_root root = tree_working(p.tree);
                    uint8_t key[TREE_KEY_MAX];
                    size_t len = shape_key(p.shape, &p.rng, key);
                    assert_seeks(&root, &p.model, key, len);
                }
            }
            struct tree_root root = tree_working(p.tree);
            assert_same(&root, &p.model);
        }
        pair_drain(&p);
        pair_done(&p);
    }
}

/* Bytes of memory for each byte of keys and payloads. */
static double overhead(const struct tree *t, size_t n, size_t entry)
{
    return (double)tree_memory(t) / (double)(n * entry);
}

static void ascending_inserts_leave_nodes_full(void **state)
{
    (void)state;
    enum { KEYS = 100000, STREAMS = 50 };
    for (unsigned streams = 1; streams <= STREAMS; streams += STREAMS - 1) {
        struct tree *t = NULL;
        assert_int_equal(tree_new(&t), 0);
        for (unsigned i = 0; i < KEYS; i++) {
            uint8_t key[16] = {0};
            bytes_put64be(key, i % streams);
            bytes_put64be(key + 8, i / streams);
            assert_int_equal(tree_put(t, key, sizeof key, key, 16, NULL, NULL), 0);
        }
        struct tree_root root = tree_working(t);
        tree_check(&root);
        /* 8 for the slot, 1 + 16 for the entry; no key bytes but the last two, which the head holds
         */
        assert_true(overhead(t, KEYS, 25) < 1.08);
        tree_free(&t);
    }
}

static void a_random_32_byte_key_costs_less_than_95_bytes(void **state)
{
    (void)state;
    enum { KEYS = 100000 };
    struct tree *t = NULL;
    uint64_t rng = 3;
    assert_int_equal(tree_new(&t), 0);
    for (unsigned i = 0; i < KEYS; i++) {
        uint64_t key[4];
        for (unsigned k = 0; k < 4; k++)
            key[k] = next_random(&rng);
        assert_int_equal(tree_put(t, key, sizeof key, key, 20, NULL, NULL), 0);
    }
    assert_true(overhead(t, KEYS, 1) < 95);
    tree_free(&t);
}

static void a_stranger_does_not_cost_a_long_prefix(void **state)
{
    (void)state;
    enum { GROUPS = 40, KEYS = 60 };
    struct tree *t = NULL;
    uint8_t key[1008];
    assert_int_equal(tree_new(&t), 0);
    memset(key, 'p', sizeof key);
    for (unsigned g = 0; g < GROUPS; g++)
        for (uint64_t i = 0; i < KEYS; i++) {
            key[0] = (uint8_t)(2 * g);
            bytes_put64be(key + 1000, i);
            assert_int_equal(tree_put(t, key, sizeof key, "x", 1, NULL, NULL), 0);
        }
    for (unsigned g = 0; g < 2 * GROUPS; g++) { /* before and behind each group */
        uint8_t stranger = (uint8_t)g;
        assert_int_equal(tree_put(t, &stranger, 1, "y", 1, NULL, NULL), 0);
    }
    struct tree_root root = tree_working(t);
    tree_check(&root);
    assert_true(tree_memory(t) < 8 * SLAB); /* 65 KiB a group without the shared prefix */
    tree_free(&t);
}

static void a_thinned_tree_merges_its_nodes(void **state)
{
    (void)state;
    enum { KEYS = 50000, KEPT = 20 };
    struct tree *t = NULL;
    assert_int_equal(tree_new(&t), 0);
    for (uint64_t i = 0; i < KEYS; i++)
        put_counter(t, i);
    uint64_t full = tree_memory(t);
    for (uint64_t i = 0; i < KEYS; i++) {
        uint8_t key[16] = "counter:";
        bytes_put64be(key + 8, i);
        if (i % KEPT)
            assert_int_equal(tree_delete(t, key, sizeof key, NULL, NULL), 0);
    }
    struct tree_root root = tree_working(t);
    tree_check(&root);
    assert_int_equal(root.count, KEYS / KEPT);
    assert_true(tree_memory(t) < full / 4);
    tree_free(&t);
}

static void a_drained_tree_gives_its_memory_back(void **state)
{
    (void)state;
    enum { KEYS = 50000 };
    for (unsigned order = 0; order < 3; order++) {
        struct tree *t = NULL;
        assert_int_equal(tree_new(&t), 0);
        for (uint64_t i = 0; i < KEYS; i++)
            put_counter(t, i);
        show(t, 1);
        uint64_t full = tree_memory(t);
        for (uint64_t i = 0; i < KEYS; i++) {
            uint8_t key[16] = "counter:";
            size_t old_len = 0;
            bytes_put64be(key + 8, order == 0 ? i : order == 1 ? KEYS - 1 - i : i * 7919 % KEYS);
            assert_int_equal(tree_delete(t, key, sizeof key, NULL, &old_len), 0);
            assert_int_equal(old_len, 16);
            if (i % 64 == 0)
                show(t, 2);
            if (order < 2 && i == KEYS / 2)
                assert_true(tree_memory(t) < full / 10 * 6 + 8 * SLAB);
        }
        show(t, 3);
        tree_reclaim(t);
        assert_null(tree_working(t).node);
        assert_true(tree_memory(t) <= SLAB);
        tree_free(&t);
    }
}

/* -- loading -- */

static void a_load_equals_inserts_and_is_packed(void **state)
{
    (void)state;
    uint64_t seed = fresh_seed();
    for (unsigned shape = 0; shape < SHAPES; shape++) {
        printf("shape %u seed %" PRIu64 "\n", shape, seed);
        struct pair p = pair_new(seed, (enum shape)shape);
        struct tree *loaded = NULL;
        for (unsigned i = 0; i < 3000; i++)
            pair_change(&p, 10);
        assert_int_equal(tree_new(&loaded), 0);
        for (size_t i = 0; i < p.model.n; i++) {
            const struct entry *e = &p.model.entries[i];
            assert_int_equal(tree_load_add(loaded, e->key.bytes, e->key.len, e->payload, e->payload_len), 0);
        }
        assert_int_equal(tree_load_end(loaded), 0);
        struct tree_root root = tree_working(loaded);
        assert_same(&root, &p.model);
        /* Nodes of long keys differ in size, and each takes an equal part of its slab. */
        assert_true(tree_memory(loaded) <= tree_memory(p.tree) / 4 * 5 + SLAB);
        tree_free(&loaded);
        pair_done(&p);
    }
}

static void a_load_refuses_disorder_and_a_full_tree(void **state)
{
    (void)state;
    struct tree *t = NULL;
    assert_int_equal(tree_new(&t), 0);
    assert_int_equal(tree_load_add(t, "b", 1, "", 0), 0);
    assert_int_equal(tree_load_add(t, "b", 1, "", 0), KIST_EINVAL);
    assert_int_equal(tree_load_add(t, "a", 1, "", 0), KIST_EINVAL);
    assert_int_equal(tree_load_add(t, "bb", 2, "", 0), 0);
    assert_int_equal(tree_load_end(t), 0);
    assert_int_equal(tree_load_add(t, "c", 1, "", 0), KIST_EINVAL);
    struct tree_root root = tree_working(t);
    assert_int_equal(root.count, 2);
    tree_check(&root);
    tree_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_changes_agree_with_a_sorted_array),
        cmocka_unit_test(ascending_inserts_leave_nodes_full),
        cmocka_unit_test(a_random_32_byte_key_costs_less_than_95_bytes),
        cmocka_unit_test(a_stranger_does_not_cost_a_long_prefix),
        cmocka_unit_test(a_thinned_tree_merges_its_nodes),
        cmocka_unit_test(a_drained_tree_gives_its_memory_back),
        cmocka_unit_test(a_load_equals_inserts_and_is_packed),
        cmocka_unit_test(a_load_refuses_disorder_and_a_full_tree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
