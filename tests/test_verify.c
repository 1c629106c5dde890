/* test_verify.c: a whole store verifies, and nothing can be changed in one without being told. */
#include "engine_rig.h"

#include <fcntl.h>

static char last_problem[256];

static void on_problem(const char *sentence, void *ctx)
{
    unsigned *n = ctx;
    (*n)++;
    (void)snprintf(last_problem, sizeof last_problem, "%s", sentence);
}

static int verify_with(struct engine *e, struct kist_verify_options *o, struct kist_verify_report *report)
{
    unsigned problems = 0;
    o->size = sizeof *o;
    o->problem = on_problem;
    o->problem_ctx = &problems;
    last_problem[0] = '\0';
    int r = e->ops->verify(e, o, report);
    assert_int_equal(problems, report->problems);
    if (r == 0 && problems)
        fail_msg("%s", last_problem);
    return r;
}

static int verify(struct engine *e, struct kist_verify_report *report)
{
    struct kist_verify_options o = {0};
    return verify_with(e, &o, report);
}

static void expect_whole(struct engine *e)
{
    struct kist_verify_report report;
    int r = verify(e, &report);
    if (r)
        fail_msg("%d: %s", r, last_problem);
}

static void fill(struct engine *e, int n)
{
    char key[64], value[300];
    memset(value, 'v', sizeof value);
    for (int i = 0; i < n; i++) {
        (void)snprintf(key, sizeof key, "key %d", i % 1999);
        value[i % 290] = '\0';
        (void)rig_put_until(e, 1 + (uint64_t)(i % 3), key, value, i % 7 ? 0 : os_now_ms() + 3600000);
        value[i % 290] = 'v';
        if (i % 5 == 0)
            (void)rig_del(e, 1 + (uint64_t)(i % 3), key);
    }
}

static void a_whole_store_verifies_and_is_counted(void **state)
{
    char dir[64];
    struct kist_verify_report report;
    (void)state;
    rig_dir(dir);
    log_segment_size_override = 64 << 10;
    struct engine *e = rig_open(dir);
    fill(e, 1000);
    (void)rig_drop(e, 2);
    (void)rig_put(e, 1, "last", "one");
    assert_int_equal(verify(e, &report), 0);
    assert_int_equal(report.values, 1001);
    assert_true(report.frames >= 1202);
    assert_true(report.segments > 3);
    assert_int_equal(report.revision, tree_published_tag(log_of(e)->index));
    assert_int_equal(report.old_key_frames, 0);
    rig_close(&e);
    e = rig_open(dir);
    expect_whole(e);
    rig_close(&e);
    assert_int_equal(rig_try(dir, KIST_OPEN_READ_ONLY, &e), 0);
    expect_whole(e);
    rig_close(&e);
    assert_int_equal(rig_try(dir, KIST_OPEN_SALVAGE, &e), 0);
    expect_whole(e);
    rig_close(&e);
    log_segment_size_override = 0;
    rig_remove(dir);
}

static void a_compacted_store_verifies_at_every_step(void **state)
{
    char dir[64];
    (void)state;
    rig_dir(dir);
    log_segment_size_override = 64 << 10;
    struct engine *e = rig_open(dir);
    struct engine *other = rig_open(dir);
    fill(e, 1000);
    expect_whole(e);
    expect_whole(other);
    assert_int_equal(e->ops->compact(e, NULL, NULL), 0);
    expect_whole(e);
    expect_whole(other);
    fill(other, 300);
    (void)rig_drop(other, 3);
    expect_whole(e);
    assert_int_equal(other->ops->compact(other, NULL, NULL), 0);
    expect_whole(other);
    expect_whole(e);
    rig_close(&other);
    rig_close(&e);
    e = rig_open(dir);
    expect_whole(e);
    rig_close(&e);
    log_segment_size_override = 0;
    rig_remove(dir);
}

static void the_memory_engine_verifies(void **state)
{
    (void)state;
    struct engine *e = rig_open(":memory:");
    fill(e, 500);
    expect_whole(e);
    assert_int_equal(e->ops->compact(e, NULL, NULL), 0);
    expect_whole(e);
    rig_close(&e);
}

/* Under an open handle, whose index and table are those of the good file. */
static void a_byte_that_changes_anywhere_in_a_segment_is_told(void **state)
{
    char dir[64], path[160];
    struct kist_verify_report report;
    (void)state;
    rig_dir(dir);
    struct engine *e = rig_open(dir);
    fill(e, 6);
    (void)rig_put(e, 1, "k", "");
    size_t end = (size_t)log_of(e)->at.offset;
    assert_int_equal(rig_newest(dir, ".log", path), 1);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    for (size_t i = 0; i < end; i++) {
        uint8_t good = 0, bad;
        assert_int_equal(pread(fd, &good, 1, (off_t)i), 1);
        bad = (uint8_t)(good ^ (1u << (i % 8)));
        assert_int_equal(pwrite(fd, &bad, 1, (off_t)i), 1);
        int r = verify(e, &report);
        if (r != KIST_ECORRUPT)
            fail_msg("byte %zu: %d", i, r);
        assert_non_null(strstr(last_problem, "000000000001.log"));
        assert_int_equal(pwrite(fd, &good, 1, (off_t)i), 1);
    }
    (void)close(fd);
    expect_whole(e);
    rig_close(&e);
    rig_remove(dir);
}

static void a_changed_header_is_told(void **state)
{
    char dir[64], path[160];
    struct kist_verify_report report;
    size_t len = 0;
    (void)state;
    rig_dir(dir);
    struct engine *e = rig_open(dir);
    (void)snprintf(path, sizeof path, "%s/header", dir);
    uint8_t *p = rig_read(path, &len);
    p[100] ^= 1;
    rig_write(path, p, len);
    assert_int_equal(verify(e, &report), KIST_ECORRUPT);
    assert_non_null(strstr(last_problem, "header"));
    p[100] ^= 1;
    rig_write(path, p, len);
    expect_whole(e);
    free(p);
    rig_close(&e);
    rig_remove(dir);
}

static void a_segment_that_was_removed_or_replaced_is_told(void **state)
{
    char dir[64], first[160], second[160], aside[160];
    struct kist_verify_report report;
    (void)state;
    rig_dir(dir);
    log_segment_size_override = 64 << 10;
    struct engine *e = rig_open(dir);
    fill(e, 1000);
    (void)snprintf(first, sizeof first, "%s/000000000001.log", dir);
    (void)snprintf(second, sizeof second, "%s/000000000002.log", dir);
    (void)snprintf(aside, sizeof aside, "%s/aside", dir);
    assert_int_equal(rename(first, aside), 0);
    assert_int_equal(verify(e, &report), KIST_ECORRUPT);
    assert_non_null(strstr(last_problem, "000000000001.log"));
    assert_int_equal(report.problems, 1);
    assert_int_equal(link(second, first), 0);
    assert_int_equal(verify(e, &report), KIST_ECORRUPT);
    assert_int_equal(rename(aside, first), 0);
    expect_whole(e);
    rig_close(&e);
    /* salvage opens without it and says so */
    assert_int_equal(unlink(first), 0);
    assert_int_equal(rig_try(dir, KIST_OPEN_SALVAGE, &e), 0);
    assert_int_equal(verify(e, &report), KIST_ECORRUPT);
    assert_non_null(strstr(last_problem, "000000000001.log"));
    rig_close(&e);
    log_segment_size_override = 0;
    rig_remove(dir);
}

static void a_segment_that_ends_otherwise_than_on_record_is_told(void **state)
{
    char dir[64], first[160];
    struct kist_verify_report report;
    (void)state;
    rig_dir(dir);
    log_segment_size_override = 64 << 10;
    struct engine *e = rig_open(dir);
    fill(e, 1000);
    struct segment *s = table_find(log_of(e), 1);
    s->last_tag[3] ^= 1;
    assert_int_equal(verify(e, &report), KIST_ECORRUPT);
    s->last_tag[3] ^= 1;
    expect_whole(e);
    (void)snprintf(first, sizeof first, "%s/000000000001.log", dir);
    int fd = open(first, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, "x", 1, (off_t)s->end + 5000), 1);
    assert_int_equal(verify(e, &report), KIST_ECORRUPT);
    assert_int_equal(ftruncate(fd, (off_t)s->end), 0);
    expect_whole(e);
    (void)close(fd);
    rig_close(&e);
    log_segment_size_override = 0;
    rig_remove(dir);
}

static void a_log_segment_put_back_is_told(void **state)
{
    char dir[64], first[160], aside[160];
    struct kist_verify_report report;
    size_t len = 0;
    (void)state;
    rig_dir(dir);
    log_segment_size_override = 64 << 10;
    struct engine *e = rig_open(dir);
    fill(e, 600);
    (void)snprintf(first, sizeof first, "%s/000000000001.log", dir);
    (void)snprintf(aside, sizeof aside, "%s/aside", dir);
    assert_int_equal(link(first, aside), 0);
    assert_int_equal(e->ops->compact(e, NULL, NULL), 0);
    assert_int_equal(access(first, F_OK), -1);
    /* what a crash may leave is no problem while the log still tells of it */
    uint8_t *p = rig_read(aside, &len);
    rig_write(first, p, len);
    expect_whole(e);
    fill(e, 600);
    assert_int_equal(e->ops->compact(e, NULL, NULL), 0);
    assert_int_equal(e->ops->compact(e, NULL, NULL), 0);
    fill(e, 600);
    assert_int_equal(e->ops->compact(e, NULL, NULL), 0);
    int r = verify(e, &report);
    assert_true(r == KIST_ECORRUPT);
    assert_non_null(strstr(last_problem, "000000000001.log"));
    free(p);
    rig_close(&e);
    log_segment_size_override = 0;
    rig_remove(dir);
}

/* The index is changed behind the log's back. */
static void an_index_that_differs_from_the_log_is_told(void **state)
{
    char dir[64];
    uint8_t key[LOG_INDEX_KEY], payload[ENTRY_MAX];
    struct kist_verify_report report;
    struct entry x = {0};
    size_t len = 0;
    (void)state;
    rig_dir(dir);
    struct engine *e = rig_open(dir);
    struct log *log = log_of(e);
    (void)rig_put(e, 1, "a", "older");
    (void)rig_put(e, 1, "a", "newer");
    (void)rig_put(e, 1, "b", "value");
    expect_whole(e);
    size_t n = log_index_key(1, rig_bytes("a"), key);
    struct tree_root root = tree_working(log->index);
    const uint8_t *p = tree_find(&root, key, n, &len);
    assert_true(p && entry_decode(p, len, &x));
    for (int i = 0; i < 5; i++) {
        struct entry y = x;
        y.revision -= i == 0;
        y.expires_ms += i == 1;
        y.frame += i == 2 ? 8 : 0;
        y.tag4 ^= i == 3;
        if (i == 4)
            assert_int_equal(tree_delete(log->index, key, n, NULL, NULL), 0);
        else
            assert_int_equal(tree_put(log->index, key, n, payload, entry_encode(&y, payload), NULL, NULL), 0);
        assert_int_equal(follow_capture(log), 0);
        tree_publish(log->index, log->at.sequence);
        assert_int_equal(verify(e, &report), KIST_ECORRUPT);
        assert_int_equal(tree_put(log->index, key, n, payload, entry_encode(&x, payload), NULL, NULL), 0);
        assert_int_equal(follow_capture(log), 0);
        tree_publish(log->index, log->at.sequence);
        expect_whole(e);
    }
    table_find(log, x.segment)->live_count++;
    assert_int_equal(verify(e, &report), KIST_ECORRUPT);
    table_find(log, x.segment)->live_count--;
    rig_close(&e);
    rig_remove(dir);
}

static void salvage_says_what_is_damaged(void **state)
{
    char dir[64], path[160];
    struct kist_verify_report report;
    size_t len = 0;
    (void)state;
    rig_dir(dir);
    struct engine *e = rig_open(dir);
    fill(e, 50);
    assert_int_equal(e->ops->sync(e), 0);
    rig_close(&e); /* leaves a MARK */
    assert_int_equal(rig_newest(dir, ".log", path), 1);
    uint8_t *p = rig_read(path, &len);
    p[3000] ^= 4;
    rig_write(path, p, len);
    assert_int_equal(rig_try(dir, KIST_OPEN_EXISTING, &e), KIST_ECORRUPT);
    assert_int_equal(rig_try(dir, KIST_OPEN_SALVAGE, &e), 0);
    assert_int_equal(verify(e, &report), KIST_ECORRUPT);
    assert_true(report.problems > 0);
    rig_close(&e);
    free(p);
    rig_remove(dir);
}

static void an_older_store_than_remembered_is_told(void **state)
{
    struct kist_verify_report report;
    struct kist_verify_options o = {0};
    (void)state;
    struct engine *e = rig_open(":memory:");
    o.at_least = rig_put(e, 1, "k", "v");
    assert_int_equal(verify_with(e, &o, &report), 0);
    o.at_least++;
    assert_int_equal(verify_with(e, &o, &report), KIST_EROLLBACK);
    rig_close(&e);
}

static int cancel(const char *what, uint64_t done, uint64_t total, void *ctx)
{
    int *calls = ctx;
    assert_string_equal(what, "verify");
    assert_true(done <= total);
    return ++*calls == 1 ? 17 : 0;
}

static void progress_can_cancel(void **state)
{
    struct kist_verify_report report;
    int calls = 0;
    struct kist_verify_options o = {.progress = cancel, .progress_ctx = &calls};
    (void)state;
    struct engine *e = rig_open(":memory:");
    fill(e, 10);
    assert_int_equal(verify_with(e, &o, &report), 17);
    assert_int_equal(verify_with(e, &o, &report), 0);
    assert_int_equal(calls, 2);
    rig_close(&e);
}

static int rotate_key(struct keyring *k, void *ctx)
{
    (void)ctx;
    return keyring_rotate(k);
}

static void frames_under_an_older_key_are_counted(void **state)
{
    char dir[64];
    struct kist_verify_report report;
    (void)state;
    rig_dir(dir);
    struct engine *e = rig_open(dir);
    fill(e, 20);
    assert_int_equal(e->ops->keyring_change(e, rotate_key, NULL), 0);
    assert_int_equal(verify(e, &report), 0);
    assert_int_equal(report.old_key_frames, report.frames);
    assert_int_equal(e->ops->rotate(e, true, NULL, NULL), 0);
    assert_int_equal(verify(e, &report), 0);
    assert_int_equal(report.old_key_frames, 0);
    rig_close(&e);
    rig_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_store_verifies_and_is_counted),
        cmocka_unit_test(a_compacted_store_verifies_at_every_step),
        cmocka_unit_test(the_memory_engine_verifies),
        cmocka_unit_test(a_byte_that_changes_anywhere_in_a_segment_is_told),
        cmocka_unit_test(a_changed_header_is_told),
        cmocka_unit_test(a_segment_that_was_removed_or_replaced_is_told),
        cmocka_unit_test(a_segment_that_ends_otherwise_than_on_record_is_told),
        cmocka_unit_test(a_log_segment_put_back_is_told),
        cmocka_unit_test(an_index_that_differs_from_the_log_is_told),
        cmocka_unit_test(salvage_says_what_is_damaged),
        cmocka_unit_test(an_older_store_than_remembered_is_told),
        cmocka_unit_test(progress_can_cancel),
        cmocka_unit_test(frames_under_an_older_key_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
