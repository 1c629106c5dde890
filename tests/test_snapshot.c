/* test_snapshot.c: a store opens from its index snapshot when that fits, and to the same answers when it does not. */
#include "engine_rig.h"

static void snap(struct engine *e)
{
    struct log *log = log_of(e);
    assert_int_equal(writer_lock(log), 0);
    assert_int_equal(snapshot_write(log, true), 0);
    writer_unlock(log);
}

/* Two buckets, a dropped one, deletes, an expiring record, several segments if they are small. */
static void fill_setup(const char *dir, int n, uint64_t segment, uint8_t digest[32])
{
    log_segment_size_override = segment;
    struct engine *e = rig_open(dir);
    char key[64], value[64];
    for (int i = 0; i < n; i++) {
        (void)snprintf(key, sizeof key, "a/common/prefix/%05d", i * 7919 % 100003);
        (void)snprintf(value, sizeof value, "value number %d", i);
        (void)rig_put(e, 1 + (uint64_t)(i % 3), key, value);
        if (i % 5 == 0)
            (void)rig_del(e, 1 + (uint64_t)(i % 3), key);
    }
    for (int i = 1; i < n; i += 10) { /* deletes that guard against an earlier segment */
        (void)snprintf(key, sizeof key, "a/common/prefix/%05d", i * 7919 % 100003);
        (void)rig_del(e, 1 + (uint64_t)(i % 3), key);
    }
    (void)rig_put_until(e, 1, "fleeting", "soon gone", os_now_ms() + 3600000);
    (void)rig_put(e, ENGINE_CATALOG, "name", "of a bucket");
    (void)rig_drop(e, 3);
    (void)rig_put(e, 2, "last", "one");
    snap(e);
    rig_digest(e, digest);
    rig_close(&e);
}

static void expect_same(const char *dir, bool from_snapshot, const uint8_t digest[32])
{
    uint8_t now[32];
    struct engine *e = rig_open(dir);
    assert_int_equal(log_of(e)->from_snapshot, from_snapshot);
    rig_digest(e, now);
    assert_memory_equal(now, digest, 32);
    rig_close(&e);
}

static void a_store_opens_from_its_snapshot_to_the_same_records(void **state)
{
    char dir[64];
    uint8_t digest[32];
    (void)state;
    rig_dir(dir);
    fill_setup(dir, 3000, 0, digest);
    expect_same(dir, true, digest);
    rig_remove(dir);
}

/* What snapshots restore and replay finds by itself must agree to the last count. */
static void accounts_from_a_snapshot_are_those_of_a_replay(void **state)
{
    char dir[64], path[160];
    uint8_t digest[32];
    (void)state;
    rig_dir(dir);
    fill_setup(dir, 2000, 64 << 10, digest);
    struct engine *a = rig_open(dir);
    assert_true(log_of(a)->from_snapshot);
    assert_true(rig_newest(dir, ".idx", path) > 2);
    assert_int_equal(unlink(path), 0);
    struct engine *b = rig_open(dir);
    assert_false(log_of(b)->from_snapshot);
    const struct log *x = log_of(a), *y = log_of(b);
    assert_int_equal(x->live_bytes, y->live_bytes);
    assert_int_equal(x->segment_bytes, y->segment_bytes);
    assert_int_equal(x->drops, y->drops);
    assert_int_equal(x->catalog_revision, y->catalog_revision);
    assert_int_equal(tree_working(x->expiry).count, 1);
    assert_int_equal(tree_working(y->expiry).count, 1);
    const struct log_table *t = atomic_load(&x->table);
    uint64_t guarded = 0;
    for (size_t i = 0; i < t->len; i++) {
        const struct segment *s = t->slot[i], *o = table_find(y, t->base + i);
        assert_int_equal(s->live_bytes, o->live_bytes);
        assert_int_equal(s->live_count, o->live_count);
        assert_int_equal(s->delete_bytes, o->delete_bytes);
        assert_int_equal(s->many_count, o->many_count);
        assert_int_equal(s->put_count, o->put_count);
        assert_int_equal(s->drop_count, o->drop_count);
        assert_int_equal(s->many_newest, o->many_newest);
        assert_int_equal(s->guards_len, o->guards_len);
        assert_int_equal(s->end, o->end);
        assert_int_equal(s->last_sequence, o->last_sequence);
        for (size_t j = 0; j < s->guards_len; j++) {
            assert_int_equal(s->guards[j].shadow, o->guards[j].shadow);
            assert_int_equal(s->guards[j].count, o->guards[j].count);
            guarded += s->guards[j].count;
        }
    }
    assert_true(guarded > 10);
    rig_close(&a);
    rig_close(&b);
    rig_remove(dir);
}

static void what_was_written_after_the_snapshot_is_read_from_the_log(void **state)
{
    char dir[64];
    uint8_t digest[32];
    (void)state;
    rig_dir(dir);
    fill_setup(dir, 500, 64 << 10, digest);
    struct engine *e = rig_open(dir);
    for (int i = 0; i < 1500; i++) {
        char key[32];
        (void)snprintf(key, sizeof key, "later/%d", i);
        (void)rig_put(e, 2, key, "a value that is a little longer than the others of this test");
    }
    (void)rig_del(e, 2, "last");
    (void)rig_drop(e, 1);
    rig_digest(e, digest);
    uint64_t at = log_of(e)->at.segment;
    rig_close(&e);
    assert_true(at > 2);
    expect_same(dir, true, digest);
    e = rig_open(dir);
    rig_expect(e, 1, "fleeting", NULL);
    rig_expect(e, 2, "last", NULL);
    assert_int_equal(tree_working(log_of(e)->expiry).count, 0);
    rig_close(&e);
    rig_remove(dir);
}

static void a_snapshot_changed_at_any_byte_is_ignored(void **state)
{
    char dir[64], path[160];
    uint8_t digest[32];
    size_t len = 0;
    (void)state;
    rig_dir(dir);
    fill_setup(dir, 12, 0, digest);
    assert_true(rig_newest(dir, ".idx", path) > 0);
    uint8_t *good = rig_read(path, &len);
    uint8_t *bad = malloc(len + 1);
    assert_non_null(bad);
    for (size_t i = 0; i < len; i++) {
        memcpy(bad, good, len);
        bad[i] = (uint8_t)(bad[i] ^ (1u << (i % 8)));
        rig_write(path, bad, len);
        expect_same(dir, false, digest);
    }
    for (size_t n = 0; n < len; n += 3) {
        rig_write(path, good, n);
        expect_same(dir, false, digest);
    }
    memcpy(bad, good, len);
    bad[len] = 0;
    rig_write(path, bad, len + 1);
    expect_same(dir, false, digest);
    rig_write(path, good, len);
    expect_same(dir, true, digest);
    free(good);
    free(bad);
    rig_remove(dir);
}

static void blocks_that_were_swapped_or_dropped_are_noticed(void **state)
{
    char dir[64], path[160];
    uint8_t digest[32];
    size_t len = 0;
    (void)state;
    rig_dir(dir);
    fill_setup(dir, 16000, 0, digest);
    assert_true(rig_newest(dir, ".idx", path) > 0);
    uint8_t *p = rig_read(path, &len), *q = malloc(len);
    assert_non_null(q);
    size_t at[4] = {104};
    for (int i = 0; i < 3; i++)
        at[i + 1] = at[i] + 20 + (bytes_get32(p + at[i]) & 0x7fffffff);
    assert_true(at[3] < len); /* a block of state and two of entries, and more */
    size_t first = at[2] - at[1], second = at[3] - at[2];
    memcpy(q, p, at[1]);
    memcpy(q + at[1], p + at[2], second);
    memcpy(q + at[1] + second, p + at[1], first);
    memcpy(q + at[3], p + at[3], len - at[3]);
    rig_write(path, q, len);
    expect_same(dir, false, digest);
    memcpy(q + at[1], p + at[2], len - at[2]);
    rig_write(path, q, len - first);
    expect_same(dir, false, digest);
    rig_write(path, p, at[3]);
    expect_same(dir, false, digest);
    free(p);
    free(q);
    rig_remove(dir);
}

static void a_snapshot_of_frames_that_the_log_lost_is_ignored(void **state)
{
    char dir[64], log_path[160];
    uint8_t digest[32], before[32];
    size_t len = 0;
    (void)state;
    rig_dir(dir);
    struct engine *e = rig_open(dir);
    (void)rig_put(e, 1, "kept", "value");
    rig_digest(e, before);
    uint64_t end = log_of(e)->at.offset;
    (void)rig_put(e, 1, "torn", "value");
    snap(e);
    rig_close(&e);
    assert_int_equal(rig_newest(dir, ".log", log_path), 1);
    uint8_t *p = rig_read(log_path, &len);
    rig_write(log_path, p, end); /* the power went before the disk had it */
    char lock[160];
    (void)snprintf(lock, sizeof lock, "%s/lock", dir);
    assert_int_equal(unlink(lock), 0);
    /* a frame of the same length takes its place */
    e = rig_open(dir);
    assert_false(log_of(e)->from_snapshot);
    rig_digest(e, digest);
    assert_memory_equal(digest, before, 32);
    (void)rig_put(e, 1, "torn", "other");
    rig_digest(e, digest);
    rig_close(&e);
    expect_same(dir, false, digest);
    free(p);
    rig_remove(dir);
}

static void a_snapshot_of_another_store_is_ignored(void **state)
{
    char a[64], b[64], from[160], to[160];
    uint8_t da[32], db[32];
    size_t len = 0;
    (void)state;
    rig_dir(a);
    rig_dir(b);
    fill_setup(a, 10, 0, da);
    fill_setup(b, 10, 0, db);
    assert_int_equal(rig_newest(a, ".idx", from), rig_newest(b, ".idx", to));
    uint8_t *p = rig_read(from, &len);
    rig_write(to, p, len);
    expect_same(b, false, db);
    free(p);
    rig_remove(a);
    rig_remove(b);
}

static void closing_writes_one_when_replay_would_take_long(void **state)
{
    char dir[64], path[160];
    uint8_t digest[32];
    (void)state;
    rig_dir(dir);
    struct engine *e = rig_open(dir);
    for (int i = 0; i < (int)LOG_SNAPSHOT_WORK / 2 - 1; i++)
        (void)rig_put(e, 1, "same", "value");
    rig_close(&e);
    assert_int_equal(rig_newest(dir, ".idx", path), 0);
    e = rig_open(dir);
    (void)rig_put(e, 1, "same", "last");
    rig_digest(e, digest);
    assert_int_equal(e->ops->sync(e), 0);
    rig_close(&e);
    assert_int_equal(rig_newest(dir, ".idx", path), 1);
    expect_same(dir, true, digest);
    rig_remove(dir);
}

static void older_snapshots_go_when_a_new_one_is_there(void **state)
{
    char dir[64], path[160], old[160];
    uint8_t digest[32];
    (void)state;
    rig_dir(dir);
    fill_setup(dir, 10, 64 << 10, digest);
    uint64_t first = rig_newest(dir, ".idx", old);
    struct engine *e = rig_open(dir);
    for (int i = 0; i < 2000; i++)
        (void)rig_put(e, 1, "same", "value");
    snap(e);
    rig_digest(e, digest);
    rig_close(&e);
    assert_true(rig_newest(dir, ".idx", path) > first);
    assert_int_equal(access(old, F_OK), -1);
    expect_same(dir, true, digest);
    rig_remove(dir);
}

static void a_snapshot_from_before_a_compaction_is_ignored_and_one_from_after_it_fits(void **state)
{
    char dir[64];
    uint8_t digest[32];
    (void)state;
    rig_dir(dir);
    fill_setup(dir, 3000, 64 << 10, digest);
    struct engine *e = rig_open(dir);
    (void)rig_drop(e, 2);
    rig_digest(e, digest);
    assert_int_equal(e->ops->compact(e, NULL, NULL), 0);
    rig_close(&e);
    e = rig_open(dir);
    uint8_t now[32];
    rig_digest(e, now);
    assert_memory_equal(now, digest, 32);
    snap(e);
    rig_close(&e);
    expect_same(dir, true, digest);
    rig_remove(dir);
}

static void the_memory_engine_has_none(void **state)
{
    (void)state;
    struct engine *e = rig_open(":memory:");
    (void)rig_put(e, 1, "k", "v");
    snap(e);
    rig_close(&e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_store_opens_from_its_snapshot_to_the_same_records),
        cmocka_unit_test(accounts_from_a_snapshot_are_those_of_a_replay),
        cmocka_unit_test(what_was_written_after_the_snapshot_is_read_from_the_log),
        cmocka_unit_test(a_snapshot_changed_at_any_byte_is_ignored),
        cmocka_unit_test(blocks_that_were_swapped_or_dropped_are_noticed),
        cmocka_unit_test(a_snapshot_of_frames_that_the_log_lost_is_ignored),
        cmocka_unit_test(a_snapshot_of_another_store_is_ignored),
        cmocka_unit_test(closing_writes_one_when_replay_would_take_long),
        cmocka_unit_test(older_snapshots_go_when_a_new_one_is_there),
        cmocka_unit_test(a_snapshot_from_before_a_compaction_is_ignored_and_one_from_after_it_fits),
        cmocka_unit_test(the_memory_engine_has_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
