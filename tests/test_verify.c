/* test_verify.c: a whole store verifies, and nothing can be changed in one without being told. */
#include "engine/compact.h"
#include "engine_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

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

/* -- while compaction goes on -- */

/* A compaction of segment 1 of which all is copied; "a" and "b" of bucket 1 are live in it. */
static struct log_compaction *copied(struct engine *e)
{
    struct log *log = log_of(e);
    struct log_compaction *c = NULL;
    struct segment **inputs = os_alloc(sizeof *inputs);
    assert_non_null(inputs);
    (void)rig_put(e, 1, "a", "dead");
    (void)rig_put(e, 1, "a", "value of a");
    (void)rig_put(e, 1, "b", "value of b");
    assert_int_equal(writer_lock(log), 0);
    assert_int_equal(commit_roll(log), 0);
    writer_unlock(log);
    (void)rig_put(e, 1, "c", "value of c");
    inputs[0] = table_find(log, 1);
    assert_int_equal(shared_lock(&log->shared, SHARED_COMPACT, 0), 0);
    assert_int_equal(compact_start(log, inputs, 1, &c), 0);
    assert_true(compact_copy(log, c, -1) >= 0);
    return c;
}

static struct engine *hooked;
static uint64_t hooked_output;
static int hooked_code, hooked_calls;

static void verify_once(void)
{
    struct kist_verify_report report;
    os_hook = NULL;
    hooked_calls++;
    hooked_code = verify(hooked, &report);
}

static int verify_at_the_write(const struct os_call *call)
{
    struct log *log = log_of(hooked);
    if (call->kind == OS_WRITE && call->fd == log->active->fd && log->moves_len)
        verify_once();
    return 0;
}

static int verify_before_the_switch(const struct os_call *call)
{
    if (call->kind == OS_RANDOM && table_find(log_of(hooked), hooked_output))
        verify_once();
    return 0;
}

static void expect_hooked(void)
{
    assert_int_equal(hooked_calls, 1);
    if (hooked_code)
        fail_msg("%d: %s", hooked_code, last_problem);
}

/* The record that was copied and then overwritten was taken for one that the index had missed the delete of. */
static void what_is_switched_but_not_visible_yet_is_no_damage(void **state)
{
    char dir[64];
    struct frame_op op = {
        .kind = FRAME_PUT, .bucket = 1, .key = (const uint8_t *)"a", .key_len = 1, .value = (const uint8_t *)"newer", .len = 5};
    uint64_t sequence = 0;
    (void)state;
    rig_dir(dir);
    hooked = rig_open(dir);
    hooked_calls = 0;
    struct log_compaction *c = copied(hooked);
    assert_int_equal(writer_lock(log_of(hooked)), 0);
    assert_int_equal(commit_append(log_of(hooked), &op, 1, &sequence), 0);
    writer_unlock(log_of(hooked));
    os_hook = verify_at_the_write;
    assert_int_equal(compact_finish(log_of(hooked), c), 0);
    os_hook = NULL;
    expect_hooked();
    compact_free(log_of(hooked), &c);
    expect_whole(hooked);
    assert_int_equal(compact_moves_all(log_of(hooked)), 0);
    expect_whole(hooked);
    rig_expect(hooked, 1, "a", "newer");
    rig_close(&hooked);
    rig_remove(dir);
}

/* The output was in the table, its accounts were not made yet. */
static void an_output_that_is_not_switched_in_yet_is_no_damage(void **state)
{
    char dir[64];
    (void)state;
    rig_dir(dir);
    hooked = rig_open(dir);
    hooked_calls = 0;
    struct log_compaction *c = copied(hooked);
    hooked_output = c->out->number;
    os_hook = verify_before_the_switch;
    assert_int_equal(compact_finish(log_of(hooked), c), 0);
    os_hook = NULL;
    expect_hooked();
    compact_free(log_of(hooked), &c);
    assert_int_equal(compact_moves_all(log_of(hooked)), 0);
    expect_whole(hooked);
    rig_close(&hooked);
    rig_remove(dir);
}

static struct engine *compacting;
static char output_name[SEGMENT_NAME];

/* Between the look at what is visible and the opening of the output it is replaced once more. */
static int compact_before_the_open(const struct os_call *call)
{
    if (call->kind != OS_OPEN || !call->name || strcmp(call->name, output_name) || call->fd != log_of(hooked)->dir)
        return 0;
    os_hook = NULL;
    hooked_calls++;
    (void)rig_put(compacting, 1, "a", "newer");
    assert_int_equal(compacting->ops->compact(compacting, NULL, NULL), 0);
    return 0;
}

static void an_output_that_is_replaced_before_it_is_opened_is_no_damage(void **state)
{
    char dir[64];
    (void)state;
    rig_dir(dir);
    compacting = rig_open(dir);
    hooked_calls = 0;
    (void)rig_put(compacting, 1, "a", "dead");
    (void)rig_put(compacting, 1, "a", "value of a");
    (void)rig_put(compacting, 1, "b", "value of b");
    hooked = rig_open(dir);
    assert_int_equal(compacting->ops->compact(compacting, NULL, NULL), 0);
    for (uint64_t n = 1; n <= log_of(compacting)->shared.page->numbers; n++) {
        struct segment *s = table_find(log_of(compacting), n);
        if (s && !s->gone && s->kind == SEGMENT_COMPACTED)
            segment_name(n, ".log", output_name);
    }
    os_hook = compact_before_the_open;
    expect_whole(hooked);
    os_hook = NULL;
    assert_int_equal(hooked_calls, 1);
    rig_expect(hooked, 1, "a", "newer");
    rig_expect(hooked, 1, "b", "value of b");
    rig_close(&hooked);
    rig_close(&compacting);
    rig_remove(dir);
}

/* Entries of a replaced segment were read through its old file, and nobody asked whether the new one had them. */
static void a_record_that_compaction_lost_is_told(void **state)
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
    struct log_compaction *c = copied(e);
    assert_int_equal(compact_finish(log, c), 0);
    compact_free(log, &c);
    expect_whole(e);
    size_t n = log_index_key(1, rig_bytes("a"), key);
    struct tree_root root = tree_working(log->index);
    const uint8_t *p = tree_find(&root, key, n, &len);
    assert_true(p && entry_decode(p, len, &x) && table_find(log, x.segment)->gone);
    n = log_index_key(1, rig_bytes("lost"), key);
    assert_int_equal(tree_put(log->index, key, n, payload, entry_encode(&x, payload), NULL, NULL), 0);
    assert_int_equal(follow_capture(log), 0);
    tree_publish(log->index, log->at.sequence);
    assert_int_equal(verify(e, &report), KIST_ECORRUPT);
    assert_non_null(strstr(last_problem, "000000000001.log"));
    assert_int_equal(tree_delete(log->index, key, n, NULL, NULL), 0);
    assert_int_equal(follow_capture(log), 0);
    tree_publish(log->index, log->at.sequence);
    expect_whole(e);
    assert_int_equal(compact_moves_all(log), 0);
    expect_whole(e);
    rig_close(&e);
    rig_remove(dir);
}

/* -- a disk that does not read some of its sectors any more -- */

static uint64_t bad_inode, bad_from, bad_to;

static int fail_on_bad_sectors(const struct os_call *call)
{
    struct stat st;
    if (call->kind != OS_READ || call->offset >= bad_to || call->offset + call->len <= bad_from)
        return 0;
    return fstat(call->fd, &st) == 0 && st.st_ino == bad_inode ? -EIO : 0;
}

static struct entry find_entry(struct engine *e, const char *text)
{
    uint8_t key[LOG_INDEX_KEY];
    size_t len = 0, n = log_index_key(1, rig_bytes(text), key);
    struct tree_root root = tree_working(log_of(e)->index);
    struct entry x = {0};
    const uint8_t *p = tree_find(&root, key, n, &len);
    assert_true(p && entry_decode(p, len, &x));
    return x;
}

/* Salvage was not tried, or gave up there. */
static void salvage_reads_around_sectors_that_fail(void **state)
{
    enum { KEYS = 600 };
    static uint32_t at[KEYS + 1], delta[KEYS];
    char dir[64], path[160], value[200], key[KEYS][32];
    struct stat st;
    struct kist_verify_report report;
    int lost = 0;
    (void)state;
    memset(value, 'v', sizeof value);
    value[sizeof value - 1] = '\0';
    rig_dir(dir);
    struct engine *e = rig_open(dir);
    for (int i = 0; i < KEYS; i++) {
        (void)snprintf(key[i], sizeof key[i], "key %d", i);
        (void)rig_put(e, 1, key[i], value);
        at[i] = find_entry(e, key[i]).frame;
        delta[i] = find_entry(e, key[i]).delta;
    }
    at[KEYS] = (uint32_t)log_of(e)->at.offset;
    rig_close(&e);
    assert_int_equal(rig_newest(dir, ".log", path), 1);
    assert_int_equal(stat(path, &st), 0);
    bad_inode = st.st_ino;
    for (bad_from = 8192; bad_from < at[KEYS]; bad_from += 5 * 4096) {
        bad_to = bad_from + 4096;
        os_hook = fail_on_bad_sectors;
        assert_int_equal(rig_try(dir, KIST_OPEN_EXISTING, &e), KIST_EIO);
        assert_int_equal(rig_try(dir, KIST_OPEN_SALVAGE, &e), 0);
        for (int i = 0; i < KEYS; i++) {
            bool hit = at[i] < bad_to && at[i + 1] > bad_from;
            if (!hit && (i == 0 || at[i] <= bad_from || at[i - 1] >= bad_to))
                rig_expect(e, 1, key[i], value);
            lost += hit;
            if (hit && at[i] + delta[i] <= bad_from) /* only the value is there */
                (void)find_entry(e, key[i]);
        }
        assert_int_equal(verify(e, &report), KIST_ECORRUPT);
        os_hook = NULL;
        rig_close(&e);
    }
    assert_true(lost > 50);
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
        cmocka_unit_test(what_is_switched_but_not_visible_yet_is_no_damage),
        cmocka_unit_test(an_output_that_is_not_switched_in_yet_is_no_damage),
        cmocka_unit_test(an_output_that_is_replaced_before_it_is_opened_is_no_damage),
        cmocka_unit_test(a_record_that_compaction_lost_is_told),
        cmocka_unit_test(salvage_reads_around_sectors_that_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
