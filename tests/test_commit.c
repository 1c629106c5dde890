/* test_commit.c: how commits reach the disk: who is woken when, and what is said of a commit that
 * fails on its way.
 *
 * A commit that waits sleeps for a second at most. That is a net, and nobody must ever fall into
 * it: here it is taken away (commit_sleep_us_override), so a waiter whom nobody wakes sleeps for
 * ever, and the alarm ends the program with a sentence. */
#include "engine_rig.h"
#include "store_model.c"

#include <pthread.h>
#include <signal.h>

#define BUCKET 1u
#define PUTTERS 32u
#define ROUNDS 40u
#define LARGE ((1u << 20) + 4096u) /* more than may be pending: written at once, not synced */

static char *dir;
static char path[512];

static void on_alarm(int signal_number)
{
    static const char text[] = "test_commit: a commit that waits was not woken\n";
    (void)signal_number;
    _exit(write(STDERR_FILENO, text, sizeof text - 1) > 0 ? 98 : 97);
}

static int make_dir(void **state)
{
    (void)state;
    dir = model_temp_new();
    snprintf(path, sizeof path, "%s/store", dir);
    commit_sleep_us_override = -1;
    (void)signal(SIGALRM, on_alarm);
    (void)alarm(120);
    return 0;
}

static int drop_dir(void **state)
{
    (void)state;
    (void)alarm(0);
    os_hook = NULL;
    commit_sleep_us_override = 0;
    log_segment_size_override = 0;
    model_temp_free(&dir);
    return 0;
}

static bool is_frame(const struct os_call *call)
{
    return call->kind == OS_WRITE && call->len >= FRAME_HEADER && memcmp(call->data, "KFRM", 4) == 0;
}

static struct engine *open_full(void)
{
    struct engine_options o = {.mode = KIST_OPEN_CREATE, .sync = KIST_SYNC_FULL, .lock_timeout_ms = 2000, .unlock = &rig_unlock};
    struct engine *e = NULL;
    assert_int_equal(engine_open(path, &o, &rig_detail, &e), 0);
    return e;
}

/* A commit's answer, whatever it is. */
static int try_put(struct engine *e, const char *key, const void *value, size_t len)
{
    struct engine_txn *t = rig_begin(e, BUCKET);
    uint64_t revision = 0;
    int r = e->ops->put(t, rig_bytes(key), (struct kist_bytes){value, len}, 0, 0, false);
    assert_int_equal(r, 0);
    return e->ops->commit(&t, &revision);
}

static struct frame_op op_put(const char *key)
{
    return (struct frame_op){.kind = FRAME_PUT,
                             .bucket = BUCKET,
                             .key = (const uint8_t *)key,
                             .key_len = (uint32_t)strlen(key),
                             .value = (const uint8_t *)"v",
                             .len = 1};
}

/* A commit that is part of the log, but nobody has waited for it yet. */
static uint64_t append(struct log *log, const char *key)
{
    struct frame_op op = op_put(key);
    uint64_t sequence = 0;
    assert_int_equal(writer_lock(log), 0);
    assert_int_equal(commit_append(log, &op, 1, &sequence), 0);
    writer_unlock(log);
    return sequence;
}

static void expect_whole(struct engine *e)
{
    struct kist_verify_options o = {.size = sizeof o};
    struct kist_verify_report report = {0};
    assert_int_equal(e->ops->verify(e, &o, &report), 0);
    assert_int_equal(report.problems, 0);
}

/* -- waking: many threads -- */

static int slow_sync(const struct os_call *call)
{
    if (call->kind == OS_SYNC)
        usleep(1000);
    return 0;
}

struct putter {
    pthread_t thread;
    struct kist_bucket *bucket;
    unsigned id;
};

static void *put_small(void *arg)
{
    const struct putter *p = arg;
    char key[32], value[32];
    for (unsigned i = 0; i < ROUNDS; i++) {
        snprintf(key, sizeof key, "small/%u/%u", p->id, i);
        snprintf(value, sizeof value, "%u by %u", i, p->id);
        MODEL_OK(kist_put(p->bucket, model_text(key), model_text(value), NULL, NULL));
    }
    return NULL;
}

static void *put_large(void *arg)
{
    const struct putter *p = arg;
    uint8_t *value = malloc(LARGE);
    MODEL_CHECK(value, "no memory");
    for (unsigned i = 0; i < ROUNDS / 2; i++) {
        char key[32];
        snprintf(key, sizeof key, "large/%u", i);
        memset(value, (int)i, LARGE);
        MODEL_OK(kist_put(p->bucket, model_text(key), model_bytes(value, LARGE), NULL, NULL));
    }
    free(value);
    return NULL;
}

static void expect_large(struct kist_bucket *b, unsigned i)
{
    char key[32];
    struct kist_value v = {0};
    snprintf(key, sizeof key, "large/%u", i);
    MODEL_OK(kist_get(b, model_text(key), &v));
    const uint8_t *p = v.data;
    MODEL_CHECK(v.len == LARGE && p[0] == i && memcmp(p, p + 1, LARGE - 1) == 0, "%s differs", key);
    kist_value_free(&v);
}

static void expect_puts(bool large)
{
    struct kist_store *s = model_open(path);
    struct kist_bucket *b = model_default(s);
    for (unsigned id = 0; id < PUTTERS; id++) {
        for (unsigned i = 0; i < ROUNDS; i++) {
            char key[32], value[32];
            snprintf(key, sizeof key, "small/%u/%u", id, i);
            snprintf(value, sizeof value, "%u by %u", i, id);
            model_expect(b, key, value);
        }
    }
    for (unsigned i = 0; large && i < ROUNDS / 2; i++)
        expect_large(b, i);
    model_verify(s);
    kist_bucket_close(&b);
    kist_close(&s);
}

static void put_side_by_side(bool large)
{
    static struct putter putters[PUTTERS + 1];
    struct kist_store *s = model_open(path);
    struct kist_bucket *b = model_default(s);
    unsigned n = PUTTERS + large;
    os_hook = slow_sync;
    model_in_child = true; /* a check that fails ends the program */
    for (unsigned i = 0; i < n; i++) {
        putters[i] = (struct putter){.bucket = b, .id = i};
        assert_int_equal(pthread_create(&putters[i].thread, NULL, i < PUTTERS ? put_small : put_large, &putters[i]), 0);
    }
    for (unsigned i = 0; i < n; i++)
        assert_int_equal(pthread_join(putters[i].thread, NULL), 0);
    model_in_child = false;
    os_hook = NULL;
    kist_bucket_close(&b);
    kist_close(&s);
    expect_puts(large);
}

static void every_small_put_is_woken(void **state)
{
    (void)state;
    put_side_by_side(false);
}

/* A large commit takes the pending ones along into the file, and nobody syncs them yet. */
static void every_put_beside_large_ones_is_woken(void **state)
{
    (void)state;
    put_side_by_side(true);
}

/* A roll writes the pending ones, and syncs them; the next leader wakes who waits for them. */
static void every_put_across_rolls_is_woken(void **state)
{
    (void)state;
    log_segment_size_override = 16 << 10;
    put_side_by_side(false);
}

/* -- waking: one thread at a time -- */

static _Atomic bool sync_held, sync_released;

/* The first sync takes until it is released. */
static int hold_a_sync(const struct os_call *call)
{
    if (call->kind == OS_SYNC && !atomic_exchange(&sync_held, true)) {
        while (!atomic_load(&sync_released))
            usleep(100);
    }
    return 0;
}

struct waiter {
    pthread_t thread;
    struct log *log;
    uint64_t sequence;
    _Atomic int tid;
    int r;
};

static void *wait_for_it(void *arg)
{
    struct waiter *w = arg;
    atomic_store(&w->tid, (int)gettid());
    w->r = commit_wait(w->log, w->sequence);
    return NULL;
}

static void waiter_start(struct waiter *w, struct log *log, uint64_t sequence)
{
    *w = (struct waiter){.log = log, .sequence = sequence, .r = 1};
    assert_int_equal(pthread_create(&w->thread, NULL, wait_for_it, w), 0);
}

static int waiter_end(struct waiter *w)
{
    assert_int_equal(pthread_join(w->thread, NULL), 0);
    return w->r;
}

static bool thread_sleeps(int tid)
{
    char name[64], line[128] = "";
    snprintf(name, sizeof name, "/proc/self/task/%d/stat", tid);
    FILE *f = fopen(name, "r");
    if (!f)
        return false;
    char *read = fgets(line, sizeof line, f);
    (void)fclose(f);
    const char *state = read ? strrchr(line, ')') : NULL;
    return state && strncmp(state, ") S", 3) == 0;
}

/* Until so many wait for a leader, this one as the last. */
static void waiter_sleeps(const struct waiter *w, unsigned all)
{
    for (;;) {
        unsigned n = 0;
        for (unsigned i = 0; i < LOG_TURNS; i++)
            n += atomic_load(&w->log->sync[i].sleepers);
        if (n == all && thread_sleeps(atomic_load(&w->tid)))
            return;
        usleep(100);
    }
}

static void leader_start(struct waiter *w, struct log *log, uint64_t sequence)
{
    atomic_store(&sync_held, false);
    atomic_store(&sync_released, false);
    os_hook = hold_a_sync;
    waiter_start(w, log, sequence);
    while (!atomic_load(&sync_held))
        usleep(100);
}

/* Nobody comes by who could lead: it has to be one of those who sleep, and it wakes the others. Two
 * of the four are in the file already, the others are not. */
static void one_who_sleeps_leads_and_wakes_the_others(void **state)
{
    struct waiter leader, waiters[4];
    (void)state;
    struct engine *e = open_full();
    struct log *log = log_of(e);
    leader_start(&leader, log, append(log, "first"));
    for (unsigned i = 0; i < 4; i++) {
        waiter_start(&waiters[i], log, append(log, "next"));
        waiter_sleeps(&waiters[i], i + 1);
        if (i == 1)
            assert_int_equal(commit_flush(log), 0);
    }
    uint64_t syncs = atomic_load(&log->syncs);
    atomic_store(&sync_released, true);
    assert_int_equal(waiter_end(&leader), 0);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(waiter_end(&waiters[i]), 0);
    os_hook = NULL;
    assert_true(atomic_load(&log->syncs) - syncs == 2); /* one for the first, one for all others */
    rig_close(&e);
}

/* Its commit was in the file when it came to wait, and it slept among those of the next group. It
 * took their one wake-up for itself and went away: nobody led them. */
static void who_comes_late_to_wait_takes_nobodys_turn(void **state)
{
    struct waiter leader, late, next;
    (void)state;
    struct engine *e = open_full();
    struct log *log = log_of(e);
    uint64_t first = append(log, "first");
    leader_start(&leader, log, append(log, "second"));
    uint64_t third = append(log, "third");
    assert_int_equal(commit_flush(log), 0);
    waiter_start(&late, log, first);
    waiter_sleeps(&late, 1);
    waiter_start(&next, log, third);
    waiter_sleeps(&next, 2);
    atomic_store(&sync_released, true);
    assert_int_equal(waiter_end(&leader), 0);
    assert_int_equal(waiter_end(&late), 0);
    assert_int_equal(waiter_end(&next), 0);
    os_hook = NULL;
    rig_close(&e);
}

/* Another process says that an fsync failed: all who wait are told, not one of each group. */
static void an_fsync_that_failed_elsewhere_wakes_all(void **state)
{
    struct waiter leader, waiters[3];
    (void)state;
    struct engine *e = open_full();
    struct log *log = log_of(e);
    leader_start(&leader, log, append(log, "first"));
    for (unsigned i = 0; i < 3; i++) {
        waiter_start(&waiters[i], log, append(log, "next"));
        waiter_sleeps(&waiters[i], i + 1);
    }
    assert_int_equal(commit_flush(log), 0);
    writer_release(log);
    atomic_store(&log->shared.page->failed, 1);
    assert_int_equal(writer_lock(log), KIST_EFAILED);
    atomic_store(&sync_released, true);
    (void)waiter_end(&leader);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(waiter_end(&waiters[i]), KIST_EMAYBE);
    os_hook = NULL;
    rig_close(&e);
}

/* -- answers -- */

static struct log *starved;
static uint64_t starving;

static int no_memory_behind_the_first_operation(const struct os_call *call)
{
    return call->kind == OS_ALLOC && starved->newest >= starving ? -ENOMEM : 0;
}

static void expect_whole_without_half(struct engine *e)
{
    rig_expect(e, BUCKET, "half", NULL);
    rig_expect(e, BUCKET, "old", "v");
    rig_expect(e, BUCKET, "whole", "v");
}

/* A delete had no memory to remember what it guards against. What was applied before it went into
 * the root of the commits before it, and readers saw it. */
static void half_a_commit_without_memory_is_not_shown(void **state)
{
    uint64_t half = 0;
    (void)state;
    struct engine *e = open_full();
    struct log *log = log_of(e);
    rig_put(e, BUCKET, "old", "v");
    uint64_t shadow = log->active->number;
    assert_int_equal(writer_lock(log), 0);
    assert_int_equal(commit_roll(log), 0);
    writer_unlock(log);
    uint64_t whole = append(log, "whole");
    struct frame_op ops[] = {
        op_put("half"), {.kind = FRAME_DELETE, .bucket = BUCKET, .shadow = shadow, .key = (const uint8_t *)"old", .key_len = 3}};
    assert_int_equal(writer_lock(log), 0);
    starved = log;
    starving = whole + 1;
    os_hook = no_memory_behind_the_first_operation;
    assert_int_equal(commit_append(log, ops, 2, &half), KIST_ENOMEM);
    os_hook = NULL;
    assert_true(log->newest == whole + 1); /* half of it was applied, then */
    writer_unlock(log);
    assert_int_equal(commit_wait(log, whole), 0);
    expect_whole_without_half(e);
    rig_put(e, BUCKET, "next", "v");
    expect_whole_without_half(e);
    rig_close(&e);
    e = open_full();
    expect_whole_without_half(e);
    rig_expect(e, BUCKET, "next", "v");
    expect_whole(e);
    rig_close(&e);
}

static int no_frame_is_written(const struct os_call *call)
{
    return is_frame(call) ? -EIO : 0;
}

/* It was answered with the error, as if nothing had happened; but the frame may be there. */
static void a_large_commit_that_may_be_written_is_maybe(void **state)
{
    static uint8_t value[LARGE];
    (void)state;
    struct engine *e = open_full();
    rig_put(e, BUCKET, "before", "v");
    os_hook = no_frame_is_written;
    assert_int_equal(try_put(e, "large", value, sizeof value), KIST_EMAYBE);
    os_hook = NULL;
    assert_int_equal(writer_lock(log_of(e)), KIST_EFAILED);
    rig_close(&e);
    e = open_full();
    rig_expect(e, BUCKET, "before", "v");
    expect_whole(e);
    rig_close(&e);
}

/* The same where a commit is written at once because another process waits for the lock. */
static void a_hurried_commit_that_may_be_written_is_maybe(void **state)
{
    (void)state;
    struct engine *e = open_full();
    struct engine_txn *t = rig_begin(e, BUCKET);
    uint64_t revision = 0;
    assert_int_equal(e->ops->put(t, rig_bytes("small"), rig_bytes("v"), 0, 0, false), 0);
    atomic_store(&log_of(e)->shared.page->writer_waited, 1);
    os_hook = no_frame_is_written;
    assert_int_equal(e->ops->commit(&t, &revision), KIST_EMAYBE);
    os_hook = NULL;
    assert_int_equal(writer_lock(log_of(e)), KIST_EFAILED);
    rig_close(&e);
}

/* -- rolls that do not come to their end -- */

static bool next_refused;

static int next_is_not_named(const struct os_call *call)
{
    if (call->kind != OS_RENAME || strcmp(call->name, "next.tmp") != 0)
        return 0;
    next_refused = true;
    return -EIO;
}

static int next_is_not_made(const struct os_call *call)
{
    if (call->kind != OS_OPEN || strcmp(call->name, "next.tmp") != 0)
        return 0;
    next_refused = true;
    return -ENOSPC;
}

/* Rotation went on behind the END of a segment whose roll had failed, where no reader looks. */
static void rotation_does_not_write_behind_an_end(void **state)
{
    char key[32];
    int r = 0, n = 0;
    (void)state;
    log_segment_size_override = 16 << 10;
    struct engine *e = open_full();
    next_refused = false;
    os_hook = next_is_not_named;
    for (; r == 0 && n < 1000; n++) {
        snprintf(key, sizeof key, "key/%d", n);
        r = try_put(e, key, "v", 1);
    }
    os_hook = NULL;
    assert_true(r && next_refused);
    assert_true(log_of(e)->ended);
    assert_int_equal(e->ops->rotate(e, true, NULL, NULL), 0);
    rig_close(&e);
    e = open_full();
    rig_expect(e, BUCKET, "key/0", "v");
    rig_put(e, BUCKET, "behind", "v");
    expect_whole(e);
    rig_close(&e);
}

/* Segments that are half dead, and an active one in which nothing is, too full for a SWITCH. */
static void fill_for_a_compaction(struct engine *e)
{
    struct log *log = log_of(e);
    uint64_t most = log->segment_size - 512 - FRAME_HEADER - 128;
    char key[32];
    for (int i = 0; i < 600; i++) {
        snprintf(key, sizeof key, "key/%d", i);
        rig_put(e, BUCKET, key, "before");
    }
    for (int i = 0; i < 600; i += 2) {
        snprintf(key, sizeof key, "key/%d", i);
        rig_put(e, BUCKET, key, "now");
    }
    for (int i = 0; log->at.offset <= most; i++) {
        snprintf(key, sizeof key, "fill/%d", i);
        rig_put(e, BUCKET, key, "v");
    }
}

/* The output had its name by the time that there was no room to say so in the log. */
static void a_compaction_without_room_leaves_no_file(void **state)
{
    char name[160];
    (void)state;
    log_segment_size_override = 16 << 10;
    struct engine *e = open_full();
    fill_for_a_compaction(e);
    uint64_t newest = rig_newest(path, ".log", name);
    next_refused = false;
    os_hook = next_is_not_made;
    assert_int_equal(e->ops->compact(e, NULL, NULL), KIST_ENOSPC);
    os_hook = NULL;
    assert_true(next_refused);
    assert_int_equal(rig_newest(path, ".log", name), newest);
    expect_whole(e);
    assert_int_equal(e->ops->compact(e, NULL, NULL), 0);
    rig_expect(e, BUCKET, "key/0", "now");
    rig_expect(e, BUCKET, "key/1", "before");
    expect_whole(e);
    rig_close(&e);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_dir, drop_dir)
    const struct CMUnitTest tests[] = {
        TEST(every_small_put_is_woken),
        TEST(every_put_beside_large_ones_is_woken),
        TEST(every_put_across_rolls_is_woken),
        TEST(one_who_sleeps_leads_and_wakes_the_others),
        TEST(who_comes_late_to_wait_takes_nobodys_turn),
        TEST(an_fsync_that_failed_elsewhere_wakes_all),
        TEST(half_a_commit_without_memory_is_not_shown),
        TEST(a_large_commit_that_may_be_written_is_maybe),
        TEST(a_hurried_commit_that_may_be_written_is_maybe),
        TEST(rotation_does_not_write_behind_an_end),
        TEST(a_compaction_without_room_leaves_no_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
