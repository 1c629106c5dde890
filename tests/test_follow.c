/* test_follow.c: an index that follows the log is never behind what was acknowledged, or says so.
 */
#include "engine_rig.h"

#include <errno.h>
#include <fcntl.h>

static char dir[64];

static int make_dir(void **state)
{
    (void)state;
    rig_dir(dir);
    return 0;
}

static int drop_dir(void **state)
{
    (void)state;
    os_hook = NULL;
    rig_remove(dir);
    return 0;
}

static struct engine *open_as(enum kist_open_mode mode, enum kist_sync sync)
{
    struct engine_options o = {.mode = mode, .sync = sync, .lock_timeout_ms = 2000, .unlock = &rig_unlock};
    struct engine *e = NULL;
    assert_int_equal(engine_open(dir, &o, &rig_detail, &e), 0);
    return e;
}

static int try_read(struct engine *e)
{
    struct engine_txn *t = NULL;
    int r = e->ops->begin(e, 1, ENGINE_SNAPSHOT, &t);
    if (r == 0)
        e->ops->abort(&t);
    return r;
}

static int verify(struct engine *e, uint64_t *out_revision)
{
    struct kist_verify_report report = {0};
    int r = e->ops->verify(e, NULL, &report);
    *out_revision = report.revision;
    return r;
}

static int drop_bytes(const void *p, size_t len, void *ctx)
{
    (void)p, (void)len, (void)ctx;
    return 0;
}

static void stop_following(struct engine *e)
{
    log_of(e)->broken = true; /* as when memory ran out in the middle of a commit */
}

/* verify, backup and readers that cannot write took what was published last for the newest. */
static void an_index_that_cannot_be_used_is_loaded_again(void **state)
{
    (void)state;
    struct engine *e = rig_open(dir), *writable = rig_open(dir), *read_only = open_as(KIST_OPEN_READ_ONLY, KIST_SYNC_NONE);
    struct engine *both[] = {writable, read_only};
    for (int i = 0; i < 4; i++) {
        uint64_t seen = 0;
        (void)rig_put(e, 1, "a", "older");
        struct engine *lagging = both[i % 2];
        rig_expect(lagging, 1, "a", "older");
        stop_following(lagging);
        rig_expect(lagging, 1, "a", "older");
        uint64_t revision = rig_put(e, 1, "a", "newer");
        if (i < 2) {
            rig_expect(lagging, 1, "a", "newer");
        } else {
            assert_int_equal(verify(lagging, &seen), 0);
            assert_int_equal(seen, revision);
        }
        stop_following(lagging);
        revision = rig_put(e, 1, "a", "newest");
        assert_int_equal(lagging->ops->backup(lagging, 0, drop_bytes, NULL, &seen), 0);
        assert_int_equal(seen, revision);
        assert_int_equal(lagging->ops->revision(lagging, &seen), 0);
        assert_int_equal(seen, revision);
    }
    rig_close(&read_only);
    rig_close(&writable);
    rig_close(&e);
}

/* The first verify told of the damage, the second one verified what was there before it. */
static void a_log_that_cannot_be_followed_is_told_each_time(void **state)
{
    char path[160];
    uint8_t byte = 0, bad = 0;
    (void)state;
    struct engine *e = rig_open(dir), *writable = rig_open(dir), *read_only = open_as(KIST_OPEN_READ_ONLY, KIST_SYNC_NONE);
    struct engine *both[] = {writable, read_only};
    (void)rig_put(e, 1, "a", "older");
    rig_expect(writable, 1, "a", "older");
    rig_expect(read_only, 1, "a", "older");
    off_t at = (off_t)log_of(e)->at.offset + FRAME_HEADER + 1;
    uint64_t seen = 0, revision = rig_put(e, 1, "a", "newer");
    assert_int_equal(rig_newest(dir, ".log", path), 1);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    bad = byte ^ 1;
    assert_int_equal(pwrite(fd, &bad, 1, at), 1);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(verify(both[i % 2], &seen), KIST_ECORRUPT);
        assert_int_equal(try_read(both[i % 2]), KIST_ECORRUPT);
    }
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    (void)close(fd);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(verify(both[i], &seen), 0);
        assert_int_equal(seen, revision);
        rig_expect(both[i], 1, "a", "newer");
    }
    rig_close(&read_only);
    rig_close(&writable);
    rig_close(&e);
}

/* -- a reader of a handle that has read ahead, as a writer -- */

static struct engine *second, *ahead;
static uint64_t second_sequence;

/* While one commit is being synced, another one is appended, and a third handle reads both as a
 * writer. */
static int append_behind(const struct os_call *call)
{
    struct frame_op op = {
        .kind = FRAME_PUT, .bucket = 1, .key = (const uint8_t *)"b", .key_len = 1, .value = (const uint8_t *)"x", .len = 1};
    if (call->kind != OS_SYNC)
        return 0;
    os_hook = NULL;
    assert_int_equal(writer_lock(log_of(second)), 0);
    assert_int_equal(commit_append(log_of(second), &op, 1, &second_sequence), 0);
    assert_int_equal(commit_flush(log_of(second)), 0);
    writer_unlock(log_of(second));
    assert_int_equal(writer_lock(log_of(ahead)), 0);
    if (log_of(ahead)->at.sequence != second_sequence)
        fail_msg("the writer did not catch up");
    writer_unlock(log_of(ahead));
    return 0;
}

/* It had only the state behind the second commit, which was not durable, and showed the one before
 * the first. */
static void a_commit_is_seen_by_who_has_read_beyond_it(void **state)
{
    (void)state;
    struct engine *first = open_as(KIST_OPEN_CREATE, KIST_SYNC_FULL);
    second = open_as(KIST_OPEN_EXISTING, KIST_SYNC_FULL);
    ahead = open_as(KIST_OPEN_EXISTING, KIST_SYNC_FULL);
    (void)rig_put(first, 1, "a", "older");
    rig_expect(ahead, 1, "a", "older");
    os_hook = append_behind;
    (void)rig_put(first, 1, "a", "newer");
    assert_null(os_hook);
    rig_expect(ahead, 1, "a", "newer");
    rig_expect(ahead, 1, "b", NULL);
    assert_int_equal(commit_wait(log_of(second), second_sequence), 0);
    rig_expect(ahead, 1, "b", "x");
    rig_close(&ahead);
    rig_close(&second);
    rig_close(&first);
}

/* The same when it has loaded the index anew: then there is no state in between that could be
 * shown. */
static void a_commit_is_seen_by_who_has_loaded_beyond_it(void **state)
{
    (void)state;
    struct engine *first = open_as(KIST_OPEN_CREATE, KIST_SYNC_FULL);
    second = open_as(KIST_OPEN_EXISTING, KIST_SYNC_FULL);
    ahead = open_as(KIST_OPEN_EXISTING, KIST_SYNC_FULL);
    (void)rig_put(first, 1, "a", "older");
    rig_expect(ahead, 1, "a", "older");
    stop_following(ahead);
    os_hook = append_behind;
    (void)rig_put(first, 1, "a", "newer");
    assert_null(os_hook);
    rig_expect(ahead, 1, "a", "newer");
    assert_int_equal(commit_wait(log_of(second), second_sequence), 0);
    rig_expect(ahead, 1, "b", "x");
    rig_close(&ahead);
    rig_close(&second);
    rig_close(&first);
}

/* A plain read by the thread that held the lock waited for itself. */
static int load_beyond_and_keep_the_lock(const struct os_call *call)
{
    struct frame_op op = {
        .kind = FRAME_PUT, .bucket = 1, .key = (const uint8_t *)"b", .key_len = 1, .value = (const uint8_t *)"x", .len = 1};
    if (call->kind != OS_SYNC)
        return 0;
    os_hook = NULL;
    assert_int_equal(writer_lock(log_of(second)), 0);
    assert_int_equal(commit_append(log_of(second), &op, 1, &second_sequence), 0);
    assert_int_equal(commit_flush(log_of(second)), 0);
    writer_unlock(log_of(second));
    assert_int_equal(writer_lock(log_of(ahead)), 0);
    return 0;
}

static void a_reader_does_not_wait_for_a_writer_that_has_loaded_beyond_it(void **state)
{
    (void)state;
    struct engine *first = open_as(KIST_OPEN_CREATE, KIST_SYNC_FULL);
    second = open_as(KIST_OPEN_EXISTING, KIST_SYNC_FULL);
    ahead = open_as(KIST_OPEN_EXISTING, KIST_SYNC_FULL);
    (void)rig_put(first, 1, "a", "older");
    rig_expect(ahead, 1, "a", "older");
    stop_following(ahead);
    os_hook = load_beyond_and_keep_the_lock;
    (void)rig_put(first, 1, "a", "newer");
    assert_null(os_hook);
    rig_expect(ahead, 1, "a", "newer");
    writer_unlock(log_of(ahead));
    assert_int_equal(commit_wait(log_of(second), second_sequence), 0);
    rig_expect(ahead, 1, "b", "x");
    rig_close(&ahead);
    rig_close(&second);
    rig_close(&first);
}

/* -- rolls -- */

/* Append a put, end the segment, and wait for nothing: as a writer that dies after its roll. */
static void put_and_roll(struct engine *e, const char *key, const char *value)
{
    struct log *log = log_of(e);
    uint64_t sequence = 0;
    struct frame_op op = {.kind = FRAME_PUT,
                          .bucket = 1,
                          .key = (const uint8_t *)key,
                          .key_len = (uint32_t)strlen(key),
                          .value = (const uint8_t *)value,
                          .len = (uint32_t)strlen(value)};
    assert_int_equal(writer_lock(log), 0);
    assert_int_equal(commit_append(log, &op, 1, &sequence), 0);
    assert_int_equal(commit_roll(log), 0);
    writer_unlock(log);
}

/* It loaded the ended segment whole, had nothing for what was visible in the middle of that, and showed what it had. */
static void a_load_that_ends_beyond_what_is_visible_shows_it(void **state)
{
    (void)state;
    struct engine *e = open_as(KIST_OPEN_CREATE, KIST_SYNC_FULL), *reader = open_as(KIST_OPEN_READ_ONLY, KIST_SYNC_NONE);
    (void)rig_put(e, 1, "a", "older");
    rig_expect(reader, 1, "a", "older");
    uint64_t seen = 0, revision = rig_put(e, 1, "a", "newer");
    put_and_roll(e, "b", "x");
    assert_int_equal(atomic_load(&log_of(e)->shared.page->visible), revision);
    stop_following(reader);
    rig_expect(reader, 1, "a", "newer");
    assert_int_equal(reader->ops->revision(reader, &seen), 0);
    assert_true(seen >= revision);
    (void)rig_put(e, 1, "c", "y");
    rig_expect(reader, 1, "b", "x");
    rig_expect(reader, 1, "c", "y");
    rig_close(&reader);
    rig_close(&e);
}

/* A segment that was open already kept the end it had had when this handle stopped following: the rest of it was lost. */
static void a_load_takes_in_how_an_open_segment_has_ended(void **state)
{
    (void)state;
    struct engine *e = rig_open(dir), *writable = rig_open(dir), *read_only = open_as(KIST_OPEN_READ_ONLY, KIST_SYNC_NONE);
    struct engine *both[] = {writable, read_only};
    for (int i = 0; i < 2; i++) {
        (void)rig_put(e, 1, "a", "older");
        rig_expect(both[i], 1, "a", "older");
        stop_following(both[i]);
        put_and_roll(e, "a", "newer");
        (void)rig_put(e, 1, "b", "x");
        rig_expect(both[i], 1, "a", "newer");
        rig_expect(both[i], 1, "b", "x");
    }
    rig_close(&read_only);
    rig_close(&writable);
    rig_close(&e);
}

/* -- a handle whose write failed -- */

static int no_frame_is_written(const struct os_call *call)
{
    bool frame = call->kind == OS_WRITE && call->len > 4 && memcmp(call->data, "KFRM", 4) == 0;
    return frame ? -EIO : 0;
}

static int try_put(struct engine *e, const char *key)
{
    struct engine_txn *t = NULL;
    uint64_t revision = 0;
    int r = e->ops->begin(e, 1, ENGINE_EXCLUSIVE, &t);
    if (r)
        return r;
    assert_int_equal(e->ops->put(t, rig_bytes(key), rig_bytes("lost"), 0, 0, false), 0);
    return e->ops->commit(&t, &revision);
}

static void fail_a_write(struct engine *e)
{
    os_hook = no_frame_is_written;
    assert_int_equal(try_put(e, "lost"), KIST_EMAYBE);
    os_hook = NULL;
}

/* Its commits were shown where another handle had others under their sequences; then every read failed. */
static void a_handle_whose_write_failed_reads_what_others_write(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct engine *e = rig_open(dir), *other = rig_open(dir);
        (void)rig_put(e, 1, "a", "older");
        fail_a_write(e);
        rig_expect(e, 1, "a", "older");
        rig_expect(e, 1, "lost", NULL);
        if (i == 1)
            put_and_roll(other, "a", "newer");
        for (int k = 0; k < 4; k++) {
            char value[8];
            (void)snprintf(value, sizeof value, "%d", k);
            (void)rig_put(other, 1, "a", value);
            rig_expect(e, 1, "a", value);
            rig_expect(e, 1, "lost", NULL);
            rig_expect(other, 1, "lost", NULL);
            assert_int_equal(try_put(e, "refused"), KIST_EFAILED);
        }
        rig_close(&other);
        rig_close(&e);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_dir, drop_dir)
    const struct CMUnitTest tests[] = {
        TEST(an_index_that_cannot_be_used_is_loaded_again),
        TEST(a_log_that_cannot_be_followed_is_told_each_time),
        TEST(a_commit_is_seen_by_who_has_read_beyond_it),
        TEST(a_commit_is_seen_by_who_has_loaded_beyond_it),
        TEST(a_reader_does_not_wait_for_a_writer_that_has_loaded_beyond_it),
        TEST(a_load_that_ends_beyond_what_is_visible_shows_it),
        TEST(a_load_takes_in_how_an_open_segment_has_ended),
        TEST(a_handle_whose_write_failed_reads_what_others_write),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
