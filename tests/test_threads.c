/* test_threads.c: many threads on one store, for TSan and for the invariants: sums, counters,
 * snapshots, watches.
 *
 * Threads share the store and the bucket handle; each has transactions, cursors and watches of its
 * own. cmocka's asserts are not for other threads: a failing check in one of them ends the program,
 * with its sentence. */
#include "store_model.c" /* a test program is one source */

#include <pthread.h>

#define ACCOUNTS 10
#define THREADS 8

static char *dir;
static struct kist_store *store;
static struct kist_bucket *bucket;
static unsigned rounds;
static _Atomic unsigned counted;
static _Atomic bool stop;

static int make(void **state)
{
    const char *engine = *state;
    char path[MODEL_PATH_MAX];
    struct kist_options o = model_options();
    dir = model_temp_new();
    o.flags = KIST_MAINTENANCE;
    MODEL_OK(kist_open(strcmp(engine, "log") == 0 ? model_join(path, dir, "store") : ":memory:", &o, &store));
    bucket = model_default(store);
    rounds = (unsigned)(150 * model_scale());
    counted = 0;
    stop = false;
    for (int i = 0; i < ACCOUNTS; i++) {
        char key[16];
        snprintf(key, sizeof key, "acct/%d", i);
        MODEL_OK(kist_increment(bucket, model_text(key), 100, NULL, NULL, NULL));
    }
    return 0;
}

static int drop(void **state)
{
    (void)state;
    kist_bucket_close(&bucket);
    kist_close(&store);
    model_temp_free(&dir);
    return 0;
}

/* -- what threads do -- */

struct task {
    pthread_t thread;
    unsigned id;
};

static int move_fn(struct kist_txn *t, void *ctx)
{
    struct model_prng *chance = ctx;
    char from[16], to[16];
    snprintf(from, sizeof from, "acct/%u", (unsigned)model_below(chance, ACCOUNTS));
    snprintf(to, sizeof to, "acct/%u", (unsigned)model_below(chance, ACCOUNTS));
    int rc = kist_txn_increment(t, model_text(from), -1, NULL, NULL);
    return rc ? rc : kist_txn_increment(t, model_text(to), 1, NULL, NULL);
}

static int64_t text_number(const void *p, size_t len)
{
    char text[32] = "";
    memcpy(text, p, len < 31 ? len : 31);
    return strtoll(text, NULL, 10);
}

static void check_sum(void)
{
    struct kist_range range = {.size = sizeof range, .prefix = KIST_STR("acct/")};
    struct kist_cursor *c = NULL;
    struct kist_record r;
    int64_t sum = 0;
    int rc, n = 0;
    MODEL_OK(kist_cursor_open(bucket, &range, &c));
    while ((rc = kist_cursor_next(c, &r)) == 0) {
        sum += text_number(r.value.ptr, r.value.len);
        n++;
    }
    MODEL_CHECK(rc == KIST_EEND && n == ACCOUNTS && sum == ACCOUNTS * 100, "%d accounts, sum %lld, %s", n, (long long)sum,
                kist_error_name(rc));
    kist_cursor_close(&c);
}

static void *mover(void *arg)
{
    struct task *k = arg;
    struct model_prng chance = {k->id};
    for (unsigned i = 0; i < rounds; i++) {
        MODEL_OK(kist_run(bucket, (k->id + i) % 3 ? KIST_OPTIMISTIC : KIST_EXCLUSIVE, move_fn, &chance, NULL));
        MODEL_OK(kist_increment(bucket, KIST_STR("counter"), 1, NULL, NULL, NULL));
        atomic_fetch_add(&counted, 1);
        if (i % 4 == 0)
            check_sum();
    }
    return NULL;
}

/* Its own keys: what it has put is there at once, with the revision that it was told. */
static void *putter(void *arg)
{
    struct task *k = arg;
    char key[32], value[64];
    uint64_t last = 0;
    for (unsigned i = 0; i < rounds; i++) {
        uint64_t revision = 0;
        struct kist_value v = {0};
        snprintf(key, sizeof key, "own/%u/%u", k->id, i % 10);
        snprintf(value, sizeof value, "%u of %u", i, k->id);
        MODEL_OK(kist_put(bucket, model_text(key), model_text(value), NULL, &revision));
        MODEL_CHECK(revision > last, "revision %llu after %llu", (unsigned long long)revision, (unsigned long long)last);
        last = revision;
        MODEL_OK(kist_get(bucket, model_text(key), &v));
        MODEL_CHECK(v.revision == revision && v.len == strlen(value) && memcmp(v.data, value, v.len) == 0,
                    "revision %llu was put, %llu is there", (unsigned long long)revision, (unsigned long long)v.revision);
        kist_value_free(&v);
        if (i % 7 == 6)
            MODEL_OK(kist_delete(bucket, model_text(key), NULL, NULL, NULL));
    }
    return NULL;
}

/* Each change of the watched key once, in order: its value counts up. */
static void *watcher(void *arg)
{
    struct kist_watch *w = *(struct kist_watch **)arg;
    struct kist_change c;
    uint64_t last = 0;
    unsigned n = 0;
    while (n < rounds) {
        int rc = kist_watch_next(w, 20000, &c);
        MODEL_CHECK(rc == 0, "watch: %s after %u of %u", kist_error_name(rc), n, rounds);
        MODEL_CHECK(c.kind == KIST_CHANGE_PUT && c.revision > last, "kind %d revision %llu after %llu", c.kind,
                    (unsigned long long)c.revision, (unsigned long long)last);
        last = c.revision;
        n++;
    }
    return NULL;
}

static void *ticker(void *arg)
{
    (void)arg;
    for (unsigned i = 0; i < rounds; i++)
        MODEL_OK(kist_increment(bucket, KIST_STR("watched"), 1, NULL, NULL, NULL));
    return NULL;
}

/* Compaction, sweeping, buckets that come and go, backups, statistics: all beside the others. */
static void *keeper(void *arg)
{
    (void)arg;
    while (!stop) {
        struct model_buffer stream = {0};
        struct kist_bucket *b = NULL;
        struct kist_stat stat = {.size = sizeof stat};
        int rc = kist_compact(store, NULL, NULL);
        MODEL_CHECK(rc == 0 || rc == KIST_EBUSY, "compact: %s", kist_error_name(rc));
        MODEL_OK(kist_sweep(store, 0, NULL));
        MODEL_OK(kist_bucket_create(store, NULL, NULL, &b));
        model_put(b, "a", "b");
        MODEL_OK(kist_bucket_delete(b));
        kist_bucket_close(&b);
        MODEL_OK(kist_stat(store, &stat));
        rc = kist_backup(store, 0, model_buffer_write, &stream, NULL);
        MODEL_CHECK(rc == 0 || (rc == KIST_ENOTSUP && stat.engine == KIST_ENGINE_MEMORY), "backup: %s", kist_error_name(rc));
        model_buffer_free(&stream);
        model_verify(store);
        usleep(20000);
    }
    return NULL;
}

static void *sleeper(void *arg)
{
    struct kist_watch *w = *(struct kist_watch **)arg;
    struct kist_change c;
    int rc = kist_watch_next(w, 60000, &c);
    MODEL_CHECK(rc == KIST_ETIMEOUT, "a cancelled watch answers %s", kist_error_name(rc));
    return NULL;
}

/* -- tests -- */

static void threads_share_a_store(void **state)
{
    (void)state;
    struct task movers[THREADS], putters[THREADS];
    struct kist_watch *w = NULL;
    pthread_t k, tick, watch;
    char text[32];
    model_in_child = true; /* checks end the program */
    MODEL_OK(kist_watch_open(bucket, KIST_STR("watched"), 0, &w));
    assert_int_equal(pthread_create(&k, NULL, keeper, NULL), 0);
    assert_int_equal(pthread_create(&watch, NULL, watcher, &w), 0);
    assert_int_equal(pthread_create(&tick, NULL, ticker, NULL), 0);
    for (unsigned i = 0; i < THREADS / 2; i++) {
        movers[i].id = putters[i].id = i;
        assert_int_equal(pthread_create(&movers[i].thread, NULL, mover, &movers[i]), 0);
        assert_int_equal(pthread_create(&putters[i].thread, NULL, putter, &putters[i]), 0);
    }
    for (unsigned i = 0; i < THREADS / 2; i++) {
        pthread_join(movers[i].thread, NULL);
        pthread_join(putters[i].thread, NULL);
    }
    pthread_join(tick, NULL);
    pthread_join(watch, NULL);
    stop = true;
    pthread_join(k, NULL);
    kist_watch_close(&w);
    check_sum();
    snprintf(text, sizeof text, "%u", counted);
    model_expect(bucket, "counter", text);
    model_verify(store);
    model_in_child = false;
}

static void a_cancelled_watch_wakes_at_once(void **state)
{
    (void)state;
    struct kist_watch *w = NULL;
    pthread_t thread;
    MODEL_OK(kist_watch_open(bucket, model_bytes(NULL, 0), 0, &w));
    model_in_child = true;
    assert_int_equal(pthread_create(&thread, NULL, sleeper, &w), 0);
    usleep(100000);
    int64_t start = model_mono_ms();
    kist_watch_cancel(w);
    pthread_join(thread, NULL);
    model_in_child = false;
    MODEL_CHECK(model_mono_ms() - start < 5000, "it slept on for %lld ms", (long long)(model_mono_ms() - start));
    kist_watch_close(&w);
}

static void *opener(void *arg)
{
    const char *path = arg;
    for (unsigned i = 0; i < rounds / 10; i++) {
        struct kist_store *s = model_open(path);
        struct kist_bucket *b = model_default(s);
        MODEL_OK(kist_increment(b, KIST_STR("opened"), 1, NULL, NULL, NULL));
        kist_bucket_close(&b);
        kist_close(&s);
    }
    return NULL;
}

static void threads_open_and_close_the_same_store(void **state)
{
    pthread_t threads[THREADS];
    char path[MODEL_PATH_MAX], text[32];
    (void)state;
    model_join(path, dir, "shared");
    model_in_child = true;
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, opener, path), 0);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    model_in_child = false;
    struct kist_store *s = model_open(path);
    struct kist_bucket *b = model_default(s);
    snprintf(text, sizeof text, "%u", rounds / 10 * THREADS);
    model_expect(b, "opened", text);
    kist_bucket_close(&b);
    kist_close(&s);
}

int main(void)
{
    char on_disk[] = "log", in_memory[] = "memory";
    const struct CMUnitTest tests[] = {
        {"threads share a store (log)", threads_share_a_store, make, drop, on_disk},
        {"threads share a store (memory)", threads_share_a_store, make, drop, in_memory},
        {"a cancelled watch wakes at once (log)", a_cancelled_watch_wakes_at_once, make, drop, on_disk},
        {"a cancelled watch wakes at once (memory)", a_cancelled_watch_wakes_at_once, make, drop, in_memory},
        {"threads open and close the same store", threads_open_and_close_the_same_store, make, drop, on_disk},
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
