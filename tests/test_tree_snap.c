/* test_tree_snap.c: snapshots, reclaiming, failing allocations and threads. */
#include "tree_model.h"

#include <pthread.h>

static void snapshots_read_what_they_saw(void **state)
{
    (void)state;
    enum { HELD = 40 };
    uint64_t seed = fresh_seed();
    printf("seed %" PRIu64 "\n", seed);
    struct pair p = pair_new(seed, SHAPE_MIXED);
    struct tree_snap snaps[HELD] = {0};
    struct model models[HELD] = {0};
    for (unsigned i = 0; i < 8000; i++) {
        pair_change(&p, i % 3000 < 1500 ? 20 : 75);
        if (i % 7 == 0)
            pair_publish(&p);
        if (i % 50 == 7 * 7) { /* one of many is let go, another taken */
            size_t at = below(&p.rng, HELD);
            pair_publish(&p);
            if (snaps[at].slot) {
                assert_same(&snaps[at].root, &models[at]);
                tree_snap_drop(p.tree, &snaps[at]);
                model_done(&models[at]);
            }
            assert_int_equal(tree_snap_take(p.tree, &snaps[at]), 0);
            assert_int_equal(snaps[at].root.tag, p.tag);
            models[at] = model_copy(&p.model);
        }
    }
    for (unsigned at = 0; at < HELD; at++)
        if (snaps[at].slot) {
            assert_same(&snaps[at].root, &models[at]);
            tree_snap_drop(p.tree, &snaps[at]);
            model_done(&models[at]);
        }
    pair_drain(&p);
    pair_done(&p);
}

/* -- capturing and publishing -- */

static uint64_t seen_tag(struct tree *t, uint64_t *out_count)
{
    struct tree_snap snap;
    assert_int_equal(tree_snap_take(t, &snap), 0);
    uint64_t tag = snap.root.tag;
    *out_count = snap.root.count;
    tree_snap_drop(t, &snap);
    return tag;
}

static void publish_shows_the_newest_capture_up_to_a_tag(void **state)
{
    (void)state;
    struct tree *t = NULL;
    uint64_t count = 9;
    const uint64_t aux[TREE_AUX] = {11, 12, 13, 14};
    struct tree_snap snap;
    assert_int_equal(tree_new(&t), 0);
    for (uint8_t i = 1; i <= 5; i++) {
        assert_int_equal(tree_put(t, &i, 1, &i, 1, NULL, NULL), 0);
        assert_int_equal(tree_capture(t, 10u * i, aux), 0);
    }
    assert_int_equal(seen_tag(t, &count), 0);
    assert_int_equal(count, 0);
    tree_publish(t, 9);
    assert_int_equal(seen_tag(t, &count), 0);
    tree_publish(t, 35);
    assert_int_equal(seen_tag(t, &count), 30);
    assert_int_equal(count, 3);
    tree_publish(t, 20);
    assert_int_equal(seen_tag(t, &count), 30);
    tree_publish(t, UINT64_MAX);
    assert_int_equal(tree_published_tag(t), 50);
    assert_int_equal(tree_snap_take(t, &snap), 0);
    assert_int_equal(snap.root.count, 5);
    assert_memory_equal(snap.root.aux, aux, sizeof aux);
    tree_snap_drop(t, &snap);
    tree_free(&t);
}

static void reset_forgets_captures_but_not_what_readers_see(void **state)
{
    (void)state;
    struct pair p = pair_new(7, SHAPE_RANDOM);
    struct tree_snap snap;
    uint64_t count;
    for (unsigned i = 0; i < 3000; i++)
        pair_change(&p, 20);
    pair_publish(&p);
    struct model before = model_copy(&p.model);
    assert_int_equal(tree_snap_take(p.tree, &snap), 0);
    for (unsigned i = 0; i < 3000; i++) {
        pair_change(&p, 50);
        if (i % 100 == 0)
            assert_int_equal(tree_capture(p.tree, p.tag + 1, no_aux), 0);
    }
    uint64_t full = tree_memory(p.tree);
    tree_reset(p.tree);
    assert_true(tree_memory(p.tree) < full);
    assert_null(tree_working(p.tree).node);
    tree_publish(p.tree, UINT64_MAX);
    assert_int_equal(seen_tag(p.tree, &count), p.tag);
    assert_same(&snap.root, &before);
    tree_snap_drop(p.tree, &snap);
    model_done(&before);
    model_done(&p.model);
    for (unsigned i = 0; i < 1000; i++)
        pair_change(&p, 20);
    pair_publish(&p);
    struct tree_root root = tree_working(p.tree);
    assert_same(&root, &p.model);
    pair_drain(&p);
    pair_done(&p);
}

static unsigned released;

static void count_release(void *object)
{
    ++*(unsigned *)object;
}

static void retired_objects_go_with_the_last_snapshot_that_saw_them(void **state)
{
    (void)state;
    struct tree *t = NULL;
    struct tree_snap before, after;
    released = 0;
    assert_int_equal(tree_new(&t), 0);
    assert_int_equal(tree_snap_take(t, &before), 0);
    assert_int_equal(tree_retire(t, &released, count_release), 0);
    tree_reclaim(t);
    assert_int_equal(released, 0);
    assert_int_equal(tree_capture(t, 1, no_aux), 0);
    tree_reclaim(t);
    assert_int_equal(released, 0);
    tree_publish(t, 1);
    assert_int_equal(released, 0);
    assert_int_equal(tree_snap_take(t, &after), 0);
    tree_snap_drop(t, &before);
    assert_int_equal(tree_capture(t, 2, no_aux), 0);
    tree_publish(t, 2);
    assert_int_equal(released, 1);
    tree_snap_drop(t, &after);
    assert_int_equal(tree_retire(t, &released, count_release), 0);
    tree_free(&t);
    assert_int_equal(released, 2);
}

/* -- memory -- */

static void a_sleeping_snapshot_pins_only_what_it_sees(void **state)
{
    (void)state;
    enum { KEYS = 20000 };
    struct tree *t = NULL;
    struct tree_snap snap;
    uint64_t tag = 0, rng = 5, alone;
    assert_int_equal(tree_new(&t), 0);
    for (uint64_t i = 0; i < KEYS; i++)
        put_counter(t, i);
    show(t, ++tag);
    alone = tree_memory(t);
    assert_int_equal(tree_snap_take(t, &snap), 0);
    for (unsigned i = 0; i < 10 * KEYS; i++) {
        put_counter(t, below(&rng, KEYS));
        show(t, ++tag);
    }
    tree_reclaim(t);
    assert_true(tree_memory(t) < 2 * alone + 8 * SLAB);
    tree_check(&snap.root);
    tree_snap_drop(t, &snap);
    tree_reclaim(t);
    struct tree_root root = tree_working(t);
    tree_check(&root);
    tree_free(&t);
}

static void without_snapshots_changes_leave_nothing_behind(void **state)
{
    (void)state;
    struct tree *t = NULL;
    uint64_t tag = 0, alone = 0;
    assert_int_equal(tree_new(&t), 0);
    for (uint64_t i = 0; i < 2000; i++)
        put_counter(t, i);
    show(t, ++tag);
    alone = tree_memory(t);
    for (uint64_t i = 0; i < 20000; i++) {
        put_counter(t, i % 2000);
        show(t, ++tag);
        assert_true(tree_memory(t) < alone + 6 * SLAB);
    }
    for (uint64_t i = 0; i < 20000; i++) /* captures without changes cost nothing either */
        show(t, ++tag);
    tree_free(&t);
}

/* -- failing allocations -- */

static long allocs_left; /* the allocation after so many fails, once; < 0: none */
static long allocs_seen;

static int fail_one_alloc(const struct os_call *call)
{
    if (call->kind != OS_ALLOC)
        return 0;
    allocs_seen++;
    return allocs_left-- == 0 ? -12 : 0;
}

/* Changes of every kind; the first failure ends it. */
static int changes(struct tree *t, uint64_t seed, enum shape shape)
{
    uint64_t rng = seed;
    int rc = 0;
    for (unsigned i = 0; i < 400 && !rc; i++) {
        uint8_t key[TREE_KEY_MAX], old[TREE_PAYLOAD_MAX] = {0};
        size_t old_len = 77, len = shape_key(shape, &rng, key);
        if (below(&rng, 10) < (i < 250 ? 7u : 2u))
            rc = tree_put(t, key, len, key, bytes_min(len, below(&rng, TREE_PAYLOAD_MAX)), old, &old_len);
        else
            rc = tree_delete(t, key, len, old, &old_len);
        if (rc)
            assert_int_equal(old_len, 77);
        if (!rc && i % 20 == 0)
            rc = tree_capture(t, i, no_aux);
        if (!rc && i % 40 == 0)
            tree_publish(t, i);
        if (!rc && i % 90 == 0)
            rc = tree_retire(t, &released, count_release);
    }
    return rc;
}

/* After a failure: readers see what they saw, the working root is refused, a reset makes all good
 * again. */
static void assert_survives(struct tree *t, int rc)
{
    struct tree_snap snap;
    assert_int_equal(rc, KIST_ENOMEM);
    assert_int_equal(tree_snap_take(t, &snap), 0);
    tree_check(&snap.root);
    tree_snap_drop(t, &snap);
    tree_reset(t);
    assert_int_equal(tree_put(t, "after", 5, "!", 1, NULL, NULL), 0);
    assert_int_equal(tree_capture(t, 1000, no_aux), 0);
    tree_publish(t, 1000);
    assert_int_equal(tree_snap_take(t, &snap), 0);
    assert_int_equal(snap.root.count, 1);
    tree_check(&snap.root);
    tree_snap_drop(t, &snap);
    tree_reclaim(t);
    assert_true(tree_memory(t) <= 2 * SLAB);
}

static void every_allocation_may_fail_once(void **state)
{
    (void)state;
    for (unsigned s = 0; s < 4; s++) {
        const enum shape shapes[4] = {SHAPE_MIXED, SHAPE_COMMON, SHAPE_HUGE, SHAPE_RANDOM};
        int rc = KIST_ENOMEM;
        for (long n = 0; rc; n++) {
            struct tree *t = NULL;
            allocs_left = n;
            os_hook = fail_one_alloc;
            rc = tree_new(&t);
            if (!rc) {
                rc = changes(t, 99 + s, shapes[s]);
                bool failed = allocs_left < 0;
                os_hook = NULL;
                if (failed && rc)
                    assert_survives(t, rc);
                if (failed) /* merging goes without, so that rc may be 0 */
                    rc = KIST_ENOMEM;
            } else {
                assert_null(t);
            }
            os_hook = NULL;
            tree_free(&t);
        }
    }
}

static void a_failed_change_may_not_be_captured(void **state)
{
    (void)state;
    struct tree *t = NULL;
    assert_int_equal(tree_new(&t), 0);
    os_hook = fail_one_alloc;
    allocs_left = 0;
    int rc = tree_put(t, "k", 1, "", 0, NULL, NULL);
    os_hook = NULL;
    assert_int_equal(rc, KIST_ENOMEM);
    assert_int_equal(tree_put(t, "k", 1, "", 0, NULL, NULL), KIST_ENOMEM);
    assert_int_equal(tree_capture(t, 1, no_aux), KIST_ENOMEM);
    tree_reset(t);
    assert_int_equal(tree_put(t, "k", 1, "", 0, NULL, NULL), 0);
    assert_int_equal(tree_capture(t, 1, no_aux), 0);
    tree_free(&t);
}

static void snapshots_without_memory_for_a_slot_fail_alone(void **state)
{
    (void)state;
    enum { MANY = 300 };
    struct tree *t = NULL;
    static struct tree_snap snaps[MANY];
    size_t n = 0;
    assert_int_equal(tree_new(&t), 0);
    os_hook = fail_one_alloc;
    allocs_left = 2; /* chunks */
    int rc = 0;
    for (; n < MANY && !rc; n++)
        rc = tree_snap_take(t, &snaps[n]);
    os_hook = NULL;
    assert_int_equal(rc, KIST_ENOMEM);
    assert_int_equal(n - 1, 96);
    for (n--; n < MANY; n++)
        assert_int_equal(tree_snap_take(t, &snaps[n]), 0);
    for (n = 0; n < MANY; n++)
        tree_snap_drop(t, &snaps[n]);
    tree_free(&t);
}

/* -- threads -- */

enum { ACCOUNTS = 400, TOTAL = 100000, READERS = 4, ROUNDS = 4000 };

struct bank {
    struct tree *tree;
    _Atomic bool over;
    _Atomic unsigned long looks;
};

static void account_key(unsigned i, uint8_t key[12])
{
    memcpy(key, "acct", 4);
    bytes_put64be(key + 4, i * UINT64_C(0x9e3779b97f4a7c15));
}

/* Balances are payloads of 8 bytes; some accounts come and go, their money with them. */
static uint64_t bank_sum(struct tree *t, uint64_t *last_tag)
{
    struct tree_snap snap;
    struct tree_cursor c;
    uint64_t sum = 0, n = 0;
    if (tree_snap_take(t, &snap))
        abort();
    if (snap.root.tag < *last_tag)
        abort();
    *last_tag = snap.root.tag;
    tree_cursor_init(&c, &snap.root);
    for (bool on = tree_cursor_seek(&c, "", 0); on; on = tree_cursor_next(&c), n++)
        sum += bytes_get64(c.payload);
    if (n != snap.root.count)
        abort();
    tree_snap_drop(t, &snap);
    return sum;
}

static void *bank_reader(void *arg)
{
    struct bank *b = arg;
    uint64_t last_tag = 0;
    while (!atomic_load(&b->over)) {
        if (bank_sum(b->tree, &last_tag) != TOTAL)
            abort(); /* cmocka's asserts belong to the main thread */
        atomic_fetch_add(&b->looks, 1);
    }
    return NULL;
}

static void bank_set(struct tree *t, unsigned i, uint64_t balance)
{
    uint8_t key[12], value[8];
    account_key(i, key);
    bytes_put64(value, balance);
    if (balance)
        assert_int_equal(tree_put(t, key, sizeof key, value, sizeof value, NULL, NULL), 0);
    else
        assert_int_equal(tree_delete(t, key, sizeof key, NULL, NULL), 0);
}

static void readers_see_whole_captures_only(void **state)
{
    (void)state;
    struct bank b = {0};
    pthread_t readers[READERS];
    uint64_t balances[ACCOUNTS] = {TOTAL}, rng = fresh_seed();
    printf("seed %" PRIu64 "\n", rng);
    assert_int_equal(tree_new(&b.tree), 0);
    bank_set(b.tree, 0, TOTAL);
    show(b.tree, 1);
    for (unsigned i = 0; i < READERS; i++)
        assert_int_equal(pthread_create(&readers[i], NULL, bank_reader, &b), 0);
    for (uint64_t round = 2; round < ROUNDS || atomic_load(&b.looks) < 100; round++) {
        size_t from = below(&rng, ACCOUNTS), to = below(&rng, ACCOUNTS);
        uint64_t sum = balances[from] < 3 ? balances[from] : below(&rng, balances[from]) + 1;
        balances[from] -= sum;
        bank_set(b.tree, (unsigned)from, balances[from]);
        balances[to] += sum;
        bank_set(b.tree, (unsigned)to, balances[to]);
        assert_int_equal(tree_capture(b.tree, round, no_aux), 0);
        if (round % 3)
            tree_publish(b.tree, round - round % 2);
    }
    atomic_store(&b.over, true);
    for (unsigned i = 0; i < READERS; i++)
        pthread_join(readers[i], NULL);
    tree_free(&b.tree);
}

static void *take_many(void *arg)
{
    struct bank *b = arg;
    enum { MANY = 60 };
    struct tree_snap snaps[MANY];
    for (unsigned round = 0; round < 60; round++) {
        for (unsigned i = 0; i < MANY; i++)
            if (tree_snap_take(b->tree, &snaps[i]))
                abort();
        for (unsigned i = 0; i < MANY; i++)
            tree_snap_drop(b->tree, &snaps[i]);
    }
    return NULL;
}

static void *take_fast(void *arg)
{
    struct bank *b = arg;
    while (!atomic_load_explicit(&b->over, memory_order_relaxed)) {
        struct tree_snap snap;
        uint8_t key[16] = "counter:";
        size_t len;
        if (tree_snap_take(b->tree, &snap) || !tree_find(&snap.root, key, sizeof key, &len))
            abort();
        tree_snap_drop(b->tree, &snap);
    }
    return NULL;
}

/* Each publish frees all it can, so that a reader between its load and its claim meets freed nodes,
 * if it does not look again (under a sanitizer, that is). */
static void a_root_published_while_a_reader_claims_the_old_one_is_noticed(void **state)
{
    (void)state;
    struct bank b = {0};
    pthread_t threads[READERS];
    assert_int_equal(tree_new(&b.tree), 0);
    put_counter(b.tree, 0);
    show(b.tree, 1);
    for (unsigned i = 0; i < READERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_fast, &b), 0);
    for (uint64_t tag = 2; tag < 200000; tag++) {
        put_counter(b.tree, 0);
        show(b.tree, tag);
        tree_reclaim(b.tree);
    }
    atomic_store(&b.over, true);
    for (unsigned i = 0; i < READERS; i++)
        pthread_join(threads[i], NULL);
    tree_free(&b.tree);
}

static void threads_share_slots_and_add_chunks(void **state)
{
    (void)state;
    struct bank b = {0};
    pthread_t threads[READERS];
    assert_int_equal(tree_new(&b.tree), 0);
    for (unsigned i = 0; i < READERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_many, &b), 0);
    for (uint64_t tag = 1; tag < 2000; tag++) {
        put_counter(b.tree, tag % 97);
        show(b.tree, tag);
    }
    for (unsigned i = 0; i < READERS; i++)
        pthread_join(threads[i], NULL);
    tree_free(&b.tree); /* asserts that no slot is held */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(snapshots_read_what_they_saw),
        cmocka_unit_test(publish_shows_the_newest_capture_up_to_a_tag),
        cmocka_unit_test(reset_forgets_captures_but_not_what_readers_see),
        cmocka_unit_test(retired_objects_go_with_the_last_snapshot_that_saw_them),
        cmocka_unit_test(a_sleeping_snapshot_pins_only_what_it_sees),
        cmocka_unit_test(without_snapshots_changes_leave_nothing_behind),
        cmocka_unit_test(every_allocation_may_fail_once),
        cmocka_unit_test(a_failed_change_may_not_be_captured),
        cmocka_unit_test(snapshots_without_memory_for_a_slot_fail_alone),
        cmocka_unit_test(readers_see_whole_captures_only),
        cmocka_unit_test(a_root_published_while_a_reader_claims_the_old_one_is_noticed),
        cmocka_unit_test(threads_share_slots_and_add_chunks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
