/* test_watch.c: what a watch tells, in which order, and how it wakes, gives up and resynchronises.
 */
#include "engine/shared.h"
#include "fixture.h"

#include <pthread.h>
#include <unistd.h>

static struct kist_watch *watch(struct kist_bucket *b, const char *prefix, uint64_t since)
{
    struct kist_watch *w = NULL;
    assert_int_equal(kist_watch_open(b, bytes(prefix), since, &w), 0);
    return w;
}

static void expect_change(struct kist_watch *w, enum kist_change_kind kind, const char *key, uint64_t revision)
{
    struct kist_change c = {0};
    assert_int_equal(kist_watch_next(w, 1000, &c), 0);
    assert_int_equal(c.kind, kind);
    assert_int_equal(c.key.len, strlen(key));
    assert_memory_equal(c.key.ptr, key, c.key.len);
    if (revision)
        assert_int_equal(c.revision, revision);
}

static void it_tells_changes_under_its_prefix_in_order(void **state)
{
    struct fixture *f = *state;
    struct kist_bucket *other = NULL;
    struct kist_change c;
    assert_int_equal(kist_bucket_create(f->store, "other", NULL, &other), 0);
    put(f->bucket, "a/0", "before");
    struct kist_watch *w = watch(f->bucket, "a/", 0);
    assert_int_equal(kist_watch_next(w, 0, &c), KIST_ETIMEOUT);
    uint64_t first = put(f->bucket, "a/1", "x");
    put(f->bucket, "b/1", "x");
    put(other, "a/1", "x");
    uint64_t second = 0;
    assert_int_equal(kist_delete(f->bucket, KIST_STR("a/0"), NULL, NULL, &second), 0);
    expect_change(w, KIST_CHANGE_PUT, "a/1", first);
    expect_change(w, KIST_CHANGE_DELETE, "a/0", second);
    assert_int_equal(kist_watch_next(w, 1, &c), KIST_ETIMEOUT);
    kist_watch_close(&w);
    kist_watch_close(&w);
    kist_bucket_close(&other);
}

static void it_starts_after_the_revision_it_is_given(void **state)
{
    struct fixture *f = *state;
    put(f->bucket, "a", "x");
    uint64_t since = put(f->bucket, "b", "x");
    put(f->bucket, "c", "x");
    struct kist_watch *w = watch(f->bucket, "", since);
    put(f->bucket, "d", "x");
    expect_change(w, KIST_CHANGE_PUT, "c", 0);
    expect_change(w, KIST_CHANGE_PUT, "d", 0);
    kist_watch_close(&w);
}

static int put_hundreds(struct kist_txn *t, void *ctx)
{
    (void)ctx;
    for (int i = 0; i < 700; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%03d", i);
        int r = kist_txn_put(t, bytes(key), KIST_STR("x"), NULL);
        if (r < 0)
            return r;
    }
    return 0;
}

static void large_commits_are_told_whole_and_once(void **state)
{
    struct fixture *f = *state;
    struct kist_change c;
    struct kist_watch *w = watch(f->bucket, "k", 0);
    int seen = 0, last = 0;
    assert_int_equal(kist_run(f->bucket, KIST_OPTIMISTIC, put_hundreds, NULL, NULL), 0);
    for (int i = 0; i < 300; i++)
        put(f->bucket, "k-single", "x");
    while (kist_watch_next(w, 0, &c) == 0) {
        seen++;
        last += c.key.len == 8;
    }
    assert_int_equal(seen, 1000);
    assert_int_equal(last, 300);
    kist_watch_close(&w);
}

static void too_long_ago_is_told_as_one_resync(void **state)
{
    struct fixture *f = *state;
    struct kist_change c;
    static char key[4000];
    memset(key, 'k', sizeof key);
    struct kist_watch *w = watch(f->bucket, "", 0);
    for (int i = 0; i < 3000; i++) /* more than any engine remembers */
        assert_int_equal(kist_put(f->bucket, (struct kist_bytes){key, i % 2 ? sizeof key : 3}, KIST_STR("x"), NULL, NULL), 0);
    uint64_t now = 0;
    assert_int_equal(kist_revision(f->store, &now), 0);
    expect_change(w, KIST_CHANGE_RESYNC, "", now);
    assert_int_equal(kist_watch_next(w, 0, &c), KIST_ETIMEOUT);
    uint64_t next = put(f->bucket, "after", "x");
    expect_change(w, KIST_CHANGE_PUT, "after", next);
    kist_watch_close(&w);
}

static void a_deleted_bucket_ends_it(void **state)
{
    struct fixture *f = *state;
    struct kist_bucket *b = NULL;
    struct kist_change c;
    assert_int_equal(kist_bucket_create(f->store, "b", NULL, &b), 0);
    struct kist_watch *w = watch(b, "", 0), *late = NULL;
    put(b, "k", "x");
    assert_int_equal(kist_bucket_delete(b), 0);
    expect_change(w, KIST_CHANGE_PUT, "k", 0);
    assert_int_equal(kist_watch_next(w, -1, &c), KIST_ENOBUCKET);
    assert_int_equal(kist_watch_next(w, -1, &c), KIST_ENOBUCKET);
    assert_int_equal(kist_watch_open(b, KIST_STR(""), 0, &late), KIST_ENOBUCKET);
    kist_watch_close(&w);
    kist_bucket_close(&b);
}

static void an_expired_record_is_told_when_it_is_swept(void **state)
{
    struct fixture *f = *state;
    uint64_t swept = 0;
    put_ttl(f->bucket, "k", "x", 1000);
    struct kist_watch *w = watch(f->bucket, "", 0);
    os_clock_skew_ms = 5000;
    assert_int_equal(kist_sweep(f->store, 0, &swept), 0);
    assert_int_equal(swept, 1);
    expect_change(w, KIST_CHANGE_DELETE, "k", 0);
    kist_watch_close(&w);
}

struct sleeper {
    struct kist_watch *watch;
    int code;
    char key[16];
};

static void *sleep_for_ever(void *ctx)
{
    struct sleeper *s = ctx;
    struct kist_change c;
    s->code = kist_watch_next(s->watch, -1, &c);
    if (s->code == 0)
        snprintf(s->key, sizeof s->key, "%.*s", (int)c.key.len, (const char *)c.key.ptr);
    return NULL;
}

static void a_commit_wakes_a_sleeper(void **state)
{
    struct fixture *f = *state;
    struct sleeper s = {.watch = watch(f->bucket, "k", 0)};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, sleep_for_ever, &s), 0);
    os_sleep_us(20000);
    put(f->bucket, "other", "x");
    os_sleep_us(20000);
    put(f->bucket, "key", "x");
    pthread_join(thread, NULL);
    assert_int_equal(s.code, 0);
    assert_string_equal(s.key, "key");
    kist_watch_close(&s.watch);
}

static void cancelling_wakes_a_sleeper_and_is_not_lost(void **state)
{
    struct fixture *f = *state;
    struct sleeper s = {.watch = watch(f->bucket, "k", 0)};
    pthread_t thread;
    struct kist_change c;
    assert_int_equal(pthread_create(&thread, NULL, sleep_for_ever, &s), 0);
    os_sleep_us(20000);
    kist_watch_cancel(s.watch);
    pthread_join(thread, NULL);
    assert_int_equal(s.code, KIST_ETIMEOUT);
    kist_watch_cancel(s.watch);
    assert_int_equal(kist_watch_next(s.watch, -1, &c), KIST_ETIMEOUT);
    put(f->bucket, "key", "x");
    expect_change(s.watch, KIST_CHANGE_PUT, "key", 0);
    kist_watch_close(&s.watch);
    kist_watch_cancel(NULL);
}

/* The turn was taken behind the look at cancel: who was cancelled in between slept on. */
static void a_wake_between_the_look_and_the_sleep_is_not_lost(void **state)
{
    struct shared s;
    static const uint8_t none[16];
    (void)state;
    assert_int_equal(shared_open(&s, -1, true, false, none, none), 0);
    uint32_t turn = shared_turn(&s);
    shared_wake(&s);
    (void)alarm(60);
    shared_wait(&s, turn, -1);
    (void)alarm(0);
    shared_close(&s);
}

static void a_timeout_takes_its_time(void **state)
{
    struct fixture *f = *state;
    struct kist_change c;
    struct kist_watch *w = watch(f->bucket, "", 0);
    int64_t start = os_mono_us();
    assert_int_equal(kist_watch_next(w, 50, &c), KIST_ETIMEOUT);
    assert_in_range(os_mono_us() - start, 49000, 5000000);
    kist_watch_close(&w);
}

int main(void)
{
    return FIXTURE_RUN(TEST(it_tells_changes_under_its_prefix_in_order), TEST(it_starts_after_the_revision_it_is_given),
                       TEST(large_commits_are_told_whole_and_once), TEST(too_long_ago_is_told_as_one_resync),
                       TEST(a_deleted_bucket_ends_it), TEST(an_expired_record_is_told_when_it_is_swept),
                       TEST(a_commit_wakes_a_sleeper), TEST(cancelling_wakes_a_sleeper_and_is_not_lost),
                       TEST(a_wake_between_the_look_and_the_sleep_is_not_lost), TEST(a_timeout_takes_its_time));
}
