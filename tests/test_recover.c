/* test_recover.c: which files make up a store, when its own history could mislead about that. */
#include "engine_rig.h"

static void put_some(struct engine *e, int from, int to)
{
    char key[16], value[200];
    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    for (int i = from; i < to; i++) {
        (void)snprintf(key, sizeof key, "k%d", i);
        (void)rig_put(e, 1, key, value);
    }
}

static void delete_some(struct engine *e, int from, int to)
{
    char key[16];
    for (int i = from; i < to; i++) {
        (void)snprintf(key, sizeof key, "k%d", i);
        (void)rig_del(e, 1, key);
    }
}

static void maintain(struct engine *e)
{
    bool more = true;
    for (int i = 0; more && i < 1000; i++)
        assert_int_equal(e->ops->maintain(e, 10000, &more), 0);
    assert_false(more);
}

/* The number of a segment that is gone is given again when nobody has the store open. A SWITCH from before, met again in
 * the replay, then took away the new segment: its records were there until the next segment began. */
static void a_number_that_comes_again_is_not_the_segment_that_went(void **state)
{
    char dir[64], idx[160];
    uint8_t before[32], after[32];
    (void)state;
    rig_dir(dir);
    log_segment_size_override = 64 << 10;
    struct engine *e = rig_open(dir);
    put_some(e, 0, 20);
    put_some(e, 0, 20);
    assert_int_equal(e->ops->compact(e, NULL, NULL), 0);
    uint64_t number = atomic_load(&log_of(e)->shared.page->numbers);
    const struct segment *s = table_find(log_of(e), number);
    assert_true(s && s->kind == SEGMENT_COMPACTED && s->live_count == 20);
    delete_some(e, 0, 20);
    maintain(e);
    s = table_find(log_of(e), number);
    assert_true(!s || s->gone); /* by a SWITCH in the active segment */
    assert_true(log_of(e)->active->number < number);
    rig_close(&e);
    e = rig_open(dir);
    put_some(e, 200, 600);
    s = table_find(log_of(e), number);
    assert_true(s && !s->gone && s->live_count > 0); /* there it is again */
    rig_digest(e, before);
    rig_close(&e);
    for (int i = 0; i < 2; i++) {
        while (rig_newest(dir, ".idx", idx))
            assert_int_equal(unlink(idx), 0);
        e = rig_open(dir);
        s = table_find(log_of(e), number);
        assert_true(s && !s->gone);
        rig_digest(e, after);
        assert_memory_equal(after, before, 32);
        assert_int_equal(writer_lock(log_of(e)), 0);
        assert_int_equal(commit_roll(log_of(e)), 0); /* the new MANIFEST says what there is from now on */
        writer_unlock(log_of(e));
        rig_close(&e);
    }
    log_segment_size_override = 0;
    rig_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_number_that_comes_again_is_not_the_segment_that_went),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
