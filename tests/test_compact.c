/* Compaction and the rolling of segments, where they meet. Each test but the first two is a bug that was. */
#include "engine_rig.h"
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

/* -- cancelling -- */

static bool slow; /* a read takes longer than a slice of compaction */
static int answer, asked;

static int read_slowly(const struct os_call *call)
{
    if (slow && call->kind == OS_READ)
        os_sleep_us(25000);
    return 0;
}

static int cancel(const char *what, uint64_t done, uint64_t total, void *ctx)
{
    (void)what, (void)ctx;
    assert_true(done < total);
    slow = false;
    asked++;
    return answer;
}

static void expect_thirds(struct kist_bucket *b, int to)
{
    char key[32];
    uint64_t n = 0;
    for (int i = 0; i < to; i++) {
        bool there = false;
        snprintf(key, sizeof key, "key/%d", i);
        assert_int_equal(kist_exists(b, model_text(key), &there), 0);
        assert_int_equal(there, i % 3 != 0);
    }
    assert_int_equal(kist_count(b, KIST_STR("key/"), &n), 0);
    assert_int_equal(n, to - (to + 2) / 3);
}

/* The callback's 1 was taken for "all is copied", and the half that was not was thrown away. */
static void a_cancelled_compaction_loses_nothing(void **state)
{
    static const int answers[] = {1, -1, KIST_EBUSY, KIST_ECORRUPT};
    (void)state;
    struct kist_store *s = model_open(path);
    struct kist_bucket *b = model_default(s);
    put_some(b, 0, 900);
    for (int i = 0; i < 900; i += 3)
        delete_some(b, i, i + 1);
    os_hook = read_slowly;
    for (int i = 0; i < 8; i++) {
        answer = answers[i / 2];
        slow = true;
        asked = 0;
        int r = i % 2 ? kist_rotate(s, false, cancel, NULL) : kist_compact(s, cancel, NULL);
        assert_int_equal(r, answer);
        assert_int_equal(asked, 1);
        model_verify(s);
        expect_thirds(b, 900);
        kist_bucket_close(&b);
        kist_close(&s);
        s = model_open(path);
        b = model_default(s);
        model_verify(s);
        expect_thirds(b, 900);
    }
    assert_int_equal(kist_rotate(s, true, NULL, NULL), 0);
    expect_thirds(b, 900);
    model_verify(s);
    kist_bucket_close(&b);
    kist_close(&s);
}

/* -- how far it goes -- */

static struct engine *busy;
static int busy_n;

static void rig_fill(struct engine *e, int from, int to)
{
    char key[32];
    for (int i = from; i < to; i++) {
        snprintf(key, sizeof key, "key %d", i);
        (void)rig_put(e, 1, key, "a value of some length, to fill the segments a little faster than one by one");
    }
}

/* Others write more than each step of the compaction gives back. */
static int write_at_each_unlink(const struct os_call *call)
{
    if (call->kind != OS_UNLINK || !call->name || !segment_number(call->name, ".log"))
        return 0;
    os_hook = NULL;
    rig_fill(busy, 10000 + busy_n, 10000 + busy_n + 200);
    busy_n += 200;
    os_hook = write_at_each_unlink;
    return 0;
}

/* It took what others had written meanwhile for a sign that there was nothing more to gain. */
static void compaction_under_load_goes_as_far_as_it_can(void **state)
{
    char key[32];
    (void)state;
    busy = rig_open(path);
    busy_n = 0;
    rig_fill(busy, 0, 1500);
    for (int i = 0; i < 1500; i += 3) {
        snprintf(key, sizeof key, "key %d", i);
        (void)rig_del(busy, 1, key);
    }
    uint64_t newest = log_of(busy)->active->number;
    os_hook = write_at_each_unlink;
    assert_int_equal(busy->ops->compact(busy, NULL, NULL), 0);
    os_hook = NULL;
    assert_true(busy_n >= 2000);
    for (uint64_t n = 1; n <= newest; n++) { /* each had something dead in it */
        struct segment *segment = table_find(log_of(busy), n);
        assert_true(!segment || segment->gone);
    }
    rig_close(&busy);
}

/* It stopped at the first step that made nothing smaller, and said that it was through. */
static void a_second_rotation_leaves_nothing_under_the_old_key(void **state)
{
    (void)state;
    struct kist_store *s = model_open(path);
    struct kist_bucket *b = model_default(s);
    put_some(b, 0, 2000);
    for (int i = 0; i < 3; i++) {
        struct kist_verify_report report = {0};
        struct kist_stat stat = {.size = sizeof stat};
        assert_int_equal(kist_rotate(s, false, NULL, NULL), 0);
        assert_int_equal(kist_verify(s, NULL, &report), 0);
        assert_int_equal(report.old_key_frames, 0);
        assert_int_equal(kist_stat(s, &stat), 0);
        assert_int_equal(stat.key_generations, 1);
    }
    expect_range(b, 0, 2000);
    kist_bucket_close(&b);
    kist_close(&s);
}

/* -- without waiting for the disk: KIST_SYNC_NONE, which is how the rig opens -- */

static struct engine *lazy;
static bool unsynced;
static int unlinked, keys_changed;

/* May what is removed now still be needed after a power cut? */
static int look_before_removing(const struct os_call *call)
{
    struct log *log = log_of(lazy);
    bool is_log = call->name && segment_number(call->name, ".log");
    if (call->kind == OS_WRITE && call->fd == log->active->fd)
        unsynced = true;
    if (call->kind == OS_SYNC && call->fd == log->active->fd)
        unsynced = false;
    if (call->kind == OS_UNLINK && is_log) {
        unlinked++;
        assert_false(unsynced);
    }
    if (call->kind == OS_RENAME && call->name && strcmp(call->name, "header.tmp") == 0) {
        keys_changed++;
        assert_false(unsynced);
    }
    return 0;
}

static void rig_fill_thirds(struct engine *e)
{
    char key[32];
    rig_fill(e, 0, 600);
    for (int i = 0; i < 600; i += 3) {
        snprintf(key, sizeof key, "key %d", i);
        (void)rig_del(e, 1, key);
    }
}

static void inputs_stay_until_the_disk_has_the_switch(void **state)
{
    (void)state;
    lazy = rig_open(path);
    rig_fill_thirds(lazy);
    unsynced = true;
    unlinked = 0;
    os_hook = look_before_removing;
    assert_int_equal(lazy->ops->compact(lazy, NULL, NULL), 0);
    os_hook = NULL;
    assert_true(unlinked > 3);
    rig_close(&lazy);
}

static void a_data_key_stays_until_the_disk_has_the_log(void **state)
{
    (void)state;
    lazy = rig_open(path);
    rig_fill_thirds(lazy);
    assert_int_equal(lazy->ops->rotate(lazy, false, NULL, NULL), 0);
    unsynced = true;
    keys_changed = 0;
    os_hook = look_before_removing;
    assert_int_equal(lazy->ops->rotate(lazy, true, NULL, NULL), 0);
    os_hook = NULL;
    assert_int_equal(keys_changed, 1);
    rig_close(&lazy);
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
        TEST(a_cancelled_compaction_loses_nothing),
        TEST(compaction_under_load_goes_as_far_as_it_can),
        TEST(a_second_rotation_leaves_nothing_under_the_old_key),
        TEST(inputs_stay_until_the_disk_has_the_switch),
        TEST(a_data_key_stays_until_the_disk_has_the_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
