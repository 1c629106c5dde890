/* Compaction and the rolling of segments, where they meet. Each test but the first two is a bug that was. */
#include "engine/log.h"
#include "store_model.c"

#include <stdlib.h>
#include <unistd.h>

static char *dir;
static char path[512];

static int make_dir(void **state)
{
    (void)state;
    dir = model_temp_new();
    snprintf(path, sizeof path, "%s/store", dir);
    log_segment_size_override = 16 << 10;
    return 0;
}

static int drop_dir(void **state)
{
    (void)state;
    os_hook = NULL;
    log_segment_size_override = 0;
    model_temp_free(&dir);
    return 0;
}

static void put_some(struct kist_bucket *b, int from, int to)
{
    char key[32];
    for (int i = from; i < to; i++) {
        snprintf(key, sizeof key, "key/%d", i);
        model_put(b, key, "a value of some length, to fill the segments a little faster than one by one");
    }
}

static void delete_some(struct kist_bucket *b, int from, int to)
{
    char key[32];
    for (int i = from; i < to; i++) {
        snprintf(key, sizeof key, "key/%d", i);
        assert_int_equal(kist_delete(b, model_text(key), NULL, NULL, NULL), 0);
    }
}

static void expect_range(struct kist_bucket *b, int from, int to)
{
    uint64_t n = 0;
    assert_int_equal(kist_count(b, KIST_STR("key/"), &n), 0);
    assert_int_equal(n, to - from);
    put_some(b, from, to); /* it is all there, and can be written */
}

static void compaction_gives_back_what_is_dead(void **state)
{
    (void)state;
    struct kist_store *s = model_open(path);
    struct kist_bucket *b = model_default(s);
    struct kist_stat before = {.size = sizeof before}, after = {.size = sizeof after};
    put_some(b, 0, 2000);
    delete_some(b, 100, 2000);
    assert_int_equal(kist_stat(s, &before), 0);
    assert_int_equal(kist_compact(s, NULL, NULL), 0);
    assert_int_equal(kist_stat(s, &after), 0);
    assert_true(after.dead_bytes < before.dead_bytes / 4);
    assert_true(after.live_bytes == before.live_bytes);
    assert_true(after.disk_bytes < 2 * after.live_bytes + (64 << 20));
    expect_range(b, 0, 100);
    model_verify(s);
    kist_bucket_close(&b);
    kist_close(&s);
}

static void a_drained_store_is_small_without_being_asked(void **state)
{
    (void)state;
    struct kist_store *s = model_open(path);
    struct kist_bucket *b = model_default(s);
    struct kist_stat stat = {.size = sizeof stat};
    put_some(b, 0, 2000);
    delete_some(b, 0, 2000);
    put_some(b, 0, 300); /* commits do it in passing */
    assert_int_equal(kist_stat(s, &stat), 0);
    assert_true(stat.segments < 12);
    kist_bucket_close(&b);
    kist_close(&s);
}

/* The SWITCH rolled, and the new MANIFEST named the output before the SWITCH did: the store did not open any more. */
static void a_switch_at_the_end_of_a_segment_is_no_harm(void **state)
{
    (void)state;
    for (int fill = 0; fill < 420; fill += 8) {
        char value[440];
        struct kist_store *s = model_open(path);
        struct kist_bucket *b = model_default(s);
        put_some(b, 0, 150);
        delete_some(b, 20, 150);
        assert_int_equal(kist_compact(s, NULL, NULL), 0);
        memset(value, 'x', sizeof value);
        value[fill] = '\0';
        put_some(b, 20, 60);
        delete_some(b, 20, 60);
        model_put(b, "fill", value);
        assert_int_equal(kist_compact(s, NULL, NULL), 0);
        kist_bucket_close(&b);
        kist_close(&s);
        s = model_open(path);
        b = model_default(s);
        expect_range(b, 0, 20);
        model_verify(s);
        kist_bucket_close(&b);
        kist_close(&s);
    }
}

/* The writer dies between END and the naming of the segment that END announced. */
static int die_before_the_name(const struct os_call *call)
{
    if (call->kind == OS_RENAME && call->name && strcmp(call->name, "next.tmp") == 0)
        _exit(7);
    return 0;
}

/* Compaction took the number that END had given away, and the roll then wrote over its output. */
static void a_number_that_end_gave_away_is_not_given_again(void **state)
{
    (void)state;
    pid_t pid = model_fork(60);
    if (pid == 0) {
        struct kist_store *s = model_open(path);
        struct kist_bucket *b = model_default(s);
        put_some(b, 0, 30);
        delete_some(b, 0, 10);
        os_hook = die_before_the_name;
        put_some(b, 30, 1000);
        _exit(1);
    }
    int status = model_wait_status(pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 7);
    for (int i = 0; i < 3; i++) {
        struct kist_store *s = model_open(path);
        struct kist_bucket *b = model_default(s);
        uint64_t n = 0;
        assert_int_equal(kist_compact(s, NULL, NULL), 0);
        assert_int_equal(kist_count(b, KIST_STR("key/"), &n), 0);
        assert_true(n >= 20);
        put_some(b, 10, 10 + (int)n);
        model_verify(s);
        kist_bucket_close(&b);
        kist_close(&s);
    }
}

/* Every read of a handle failed once the segments that it had not followed yet were compacted away. */
static void a_handle_that_lags_behind_a_compaction_reads_on(void **state)
{
    (void)state;
    struct kist_store *s = model_open(path), *slow = model_open(path);
    struct kist_bucket *b = model_default(s), *lagging = model_default(slow);
    put_some(b, 0, 50);
    expect_range(lagging, 0, 50);
    for (int i = 0; i < 5; i++) {
        put_some(b, 0, 1000);
        delete_some(b, 60, 1000);
        assert_int_equal(kist_compact(s, NULL, NULL), 0);
    }
    expect_range(lagging, 0, 60);
    model_verify(slow);
    expect_range(b, 0, 60);
    kist_bucket_close(&lagging);
    kist_bucket_close(&b);
    kist_close(&slow);
    kist_close(&s);
}

/* -- a roll that its writer does not live to finish -- */

static bool end_written, named;
static int synced[64], synced_n, synced_dir;

static bool is_end(const struct os_call *call)
{
    const uint8_t *p = call->data;
    return call->kind == OS_WRITE && call->len >= 80 && memcmp(p, "KFRM", 4) == 0 && p[12] == 5;
}

static int die_before_end_is_synced(const struct os_call *call)
{
    end_written = end_written || is_end(call);
    if (call->kind == OS_SYNC && end_written)
        _exit(7);
    return 0;
}

static int die_before_the_name_is_synced(const struct os_call *call)
{
    if (call->kind == OS_SYNC_DIR && named)
        _exit(7);
    named = named || (call->kind == OS_RENAME && call->name && strcmp(call->name, "next.tmp") == 0);
    return 0;
}

static int count_syncs(const struct os_call *call)
{
    if (call->kind == OS_SYNC && synced_n < 64)
        synced[synced_n++] = call->fd;
    synced_dir += call->kind == OS_SYNC_DIR;
    return 0;
}

static void roll_in_a_child(int (*hook)(const struct os_call *call))
{
    pid_t pid = model_fork(60);
    if (pid == 0) {
        struct kist_store *s = model_open(path);
        struct kist_bucket *b = model_default(s);
        os_hook = hook;
        put_some(b, 0, 1000);
        _exit(1);
    }
    int status = model_wait_status(pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 7);
    synced_n = synced_dir = 0;
}

/* The new segment's manifest proved the old segment durable, which nobody had synced: acknowledged writes could go. */
static void a_segment_that_a_dead_writer_ended_is_synced(void **state)
{
    (void)state;
    struct kist_store *s = model_open(path);
    struct kist_bucket *b = model_default(s);
    roll_in_a_child(die_before_end_is_synced);
    os_hook = count_syncs;
    model_put(b, "x", "y");
    os_hook = NULL;
    assert_true(synced_n >= 2 && synced[0] != synced[synced_n - 1]); /* the old one, then the new one */
    model_verify(s);
    kist_bucket_close(&b);
    kist_close(&s);
}

/* Commits went into a segment whose name could still be lost. */
static void a_name_that_a_dead_writer_gave_is_synced(void **state)
{
    (void)state;
    struct kist_store *s = model_open(path);
    struct kist_bucket *b = model_default(s);
    roll_in_a_child(die_before_the_name_is_synced);
    os_hook = count_syncs;
    model_put(b, "x", "y");
    os_hook = NULL;
    assert_true(synced_dir >= 1);
    kist_bucket_close(&b);
    kist_close(&s);
}

static void a_name_that_a_dead_writer_gave_is_synced_by_the_next_opener(void **state)
{
    (void)state;
    struct kist_store *s = model_open(path);
    kist_close(&s);
    roll_in_a_child(die_before_the_name_is_synced);
    os_hook = count_syncs;
    s = model_open(path);
    os_hook = NULL;
    assert_true(synced_dir >= 1);
    model_verify(s);
    kist_close(&s);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_dir, drop_dir)
    const struct CMUnitTest tests[] = {
        TEST(compaction_gives_back_what_is_dead),
        TEST(a_drained_store_is_small_without_being_asked),
        TEST(a_switch_at_the_end_of_a_segment_is_no_harm),
        TEST(a_number_that_end_gave_away_is_not_given_again),
        TEST(a_handle_that_lags_behind_a_compaction_reads_on),
        TEST(a_segment_that_a_dead_writer_ended_is_synced),
        TEST(a_name_that_a_dead_writer_gave_is_synced),
        TEST(a_name_that_a_dead_writer_gave_is_synced_by_the_next_opener),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
