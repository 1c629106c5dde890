/* test_processes.c: many processes on one store, some of them stopped or forked at bad moments.
 * Killing is test_kill.c.
 *
 * Parents never hold a handle across the fork of a child that uses the store, except where that is
 * the test. Each child has a watchdog; its exit code is its verdict. */
#include "store_model.c" /* a test program is one source */

#ifdef KIST_SANITIZED
#define SLOW 5
#else
#define SLOW 1
#endif

static char *dir;
static char path[MODEL_PATH_MAX];

static int make_store(void **state)
{
    (void)state;
    dir = model_temp_new();
    model_join(path, dir, "store");
    struct kist_store *s = model_open(path);
    kist_close(&s);
    return 0;
}

static int drop_store(void **state)
{
    (void)state;
    model_temp_free(&dir);
    return 0;
}

/* All of them end before the first bad verdict is told: nobody works on in a directory that is
 * gone. */
static void wait_all(const pid_t *pids, size_t n, const char *what)
{
    int bad = 0;
    for (size_t i = 0; i < n; i++) {
        int status = model_wait_status(pids[i]);
        bad = bad ? bad : status;
    }
    MODEL_CHECK(bad == 0, "%s: status 0x%x%s", what, bad, WIFSIGNALED(bad) && WTERMSIG(bad) == SIGALRM ? " (it hung)" : "");
}

static int64_t number_of(const struct kist_value *v)
{
    char text[32] = "";
    memcpy(text, v->data, v->len < 31 ? v->len : 31);
    return strtoll(text, NULL, 10);
}

/* -- bank -- */

#define ACCOUNTS 20
#define BANKERS 8

struct transfer {
    char from[16], to[16];
    int64_t amount;
};

static int transfer_fn(struct kist_txn *t, void *ctx)
{
    struct transfer *x = ctx;
    int64_t left = 0;
    int rc = kist_txn_increment(t, model_text(x->from), -x->amount, NULL, &left);
    if (!rc && left < 0)
        return KIST_EFULL; /* rolled back */
    return rc ? rc : kist_txn_increment(t, model_text(x->to), x->amount, NULL, NULL);
}

/* The sum, three ways: a batch, a snapshot transaction, a cursor. */
static int64_t bank_sum(struct kist_bucket *b, unsigned how)
{
    char names[ACCOUNTS][16];
    struct kist_bytes keys[ACCOUNTS];
    struct kist_value values[ACCOUNTS] = {{0}};
    int codes[ACCOUNTS];
    int64_t sum = 0;
    for (size_t i = 0; i < ACCOUNTS; i++) {
        snprintf(names[i], sizeof names[i], "acct/%02zu", i);
        keys[i] = model_text(names[i]);
    }
    if (how == 0) {
        MODEL_OK(kist_get_many(b, keys, ACCOUNTS, values, codes));
    } else if (how == 1) {
        struct kist_txn *t = NULL;
        MODEL_OK(kist_begin(b, KIST_SNAPSHOT, &t));
        for (size_t i = 0; i < ACCOUNTS; i++)
            MODEL_OK(kist_txn_get(t, keys[i], &values[i]));
        kist_abort(&t);
    } else {
        struct kist_range range = {.size = sizeof range, .prefix = KIST_STR("acct/")};
        struct kist_cursor *c = NULL;
        struct kist_record r;
        size_t n = 0;
        MODEL_OK(kist_cursor_open(b, &range, &c));
        while (kist_cursor_next(c, &r) == 0) {
            struct kist_value v = {.data = (void *)(uintptr_t)r.value.ptr, .len = r.value.len};
            sum += number_of(&v);
            n++;
        }
        MODEL_CHECK(n == ACCOUNTS, "%zu accounts", n);
        kist_cursor_close(&c);
        return sum;
    }
    for (size_t i = 0; i < ACCOUNTS; i++) {
        sum += number_of(&values[i]);
        kist_value_free(&values[i]);
    }
    return sum;
}

static void banker(unsigned id, unsigned transfers, uint64_t seed)
{
    struct kist_store *s = model_open(path);
    struct kist_bucket *b = model_default(s);
    struct model_prng chance = {seed + id};
    for (unsigned i = 0; i < transfers; i++) {
        struct transfer x = {.amount = (int64_t)model_below(&chance, 30)};
        unsigned from = (unsigned)model_below(&chance, ACCOUNTS), to = (unsigned)model_below(&chance, ACCOUNTS);
        snprintf(x.from, sizeof x.from, "acct/%02u", from);
        snprintf(x.to, sizeof x.to, "acct/%02u", to);
        int rc = kist_run(b, id % 2 ? KIST_OPTIMISTIC : KIST_EXCLUSIVE, transfer_fn, &x, NULL);
        MODEL_CHECK(rc == 0 || rc == KIST_EFULL, "transfer: %s", kist_error_name(rc));
        if (i % 5 == 0) {
            int64_t sum = bank_sum(b, i / 5 % 3);
            MODEL_CHECK(sum == ACCOUNTS * 100, "the sum is %lld (way %u)", (long long)sum, i / 5 % 3);
        }
    }
    kist_bucket_close(&b);
    kist_close(&s);
    model_exit(0);
}

static void money_is_neither_made_nor_lost(void **state)
{
    (void)state;
    pid_t pids[BANKERS];
    uint64_t seed = model_seed();
    struct kist_store *s = model_open(path);
    struct kist_bucket *b = model_default(s);
    for (unsigned i = 0; i < ACCOUNTS; i++) {
        char name[16];
        snprintf(name, sizeof name, "acct/%02u", i);
        MODEL_OK(kist_increment(b, model_text(name), 100, NULL, NULL, NULL));
    }
    kist_bucket_close(&b);
    kist_close(&s);
    for (unsigned i = 0; i < BANKERS; i++)
        if ((pids[i] = model_fork(60)) == 0)
            banker(i, (unsigned)(150 * model_scale()), seed);
    wait_all(pids, BANKERS, "banker");
    s = model_open(path);
    b = model_default(s);
    assert_int_equal(bank_sum(b, 2), ACCOUNTS * 100);
    model_verify(s);
    kist_bucket_close(&b);
    kist_close(&s);
}

/* -- counters -- */

static int count_fn(struct kist_txn *t, void *ctx)
{
    struct kist_value v = {0};
    char text[32];
    int64_t n = 0;
    (void)ctx;
    int rc = kist_txn_get(t, KIST_STR("c/run"), &v);
    if (rc == 0)
        n = number_of(&v);
    else if (rc != KIST_ENOKEY)
        return rc;
    kist_value_free(&v);
    snprintf(text, sizeof text, "%lld", (long long)n + 1);
    return kist_txn_put(t, KIST_STR("c/run"), model_text(text), NULL);
}

/* By compare-and-set on the revision, again and again. */
static void count_by_revision(struct kist_bucket *b)
{
    int rc;
    do {
        struct kist_value v = {0};
        struct kist_put_options o = {.size = sizeof o, .flags = KIST_IF_REVISION};
        char text[32];
        rc = kist_get(b, KIST_STR("c/cas"), &v);
        MODEL_CHECK(rc == 0 || rc == KIST_ENOKEY, "get: %s", kist_error_name(rc));
        o.if_revision = v.revision;
        snprintf(text, sizeof text, "%lld", rc == 0 ? (long long)number_of(&v) + 1 : 1LL);
        kist_value_free(&v);
        rc = kist_put(b, KIST_STR("c/cas"), model_text(text), &o, NULL);
        MODEL_CHECK(rc == 0 || rc == KIST_ECONFLICT, "put: %s", kist_error_name(rc));
    } while (rc);
}

static void counters_hold_exactly_what_was_acknowledged(void **state)
{
    (void)state;
    enum { COUNTERS = 8 };
    unsigned each = (unsigned)(100 * model_scale());
    pid_t pids[COUNTERS];
    char text[32];
    for (size_t i = 0; i < COUNTERS; i++)
        if ((pids[i] = model_fork(60)) == 0) {
            struct kist_store *s = model_open(path);
            struct kist_bucket *b = model_default(s);
            for (unsigned j = 0; j < each; j++) {
                MODEL_OK(kist_increment(b, KIST_STR("c/one"), 1, NULL, NULL, NULL));
                MODEL_OK(kist_run(b, KIST_OPTIMISTIC, count_fn, NULL, NULL));
                count_by_revision(b);
            }
            kist_bucket_close(&b);
            kist_close(&s);
            model_exit(0);
        }
    wait_all(pids, COUNTERS, "counter");
    struct kist_store *s = model_open(path);
    struct kist_bucket *b = model_default(s);
    snprintf(text, sizeof text, "%u", each * COUNTERS);
    model_expect(b, "c/one", text);
    model_expect(b, "c/run", text);
    model_expect(b, "c/cas", text);
    kist_bucket_close(&b);
    kist_close(&s);
}

/* -- ping-pong -- */

static void ping(unsigned rounds, int in, int out, bool first)
{
    struct kist_store *s = model_open(path);
    struct kist_bucket *b = model_default(s);
    char text[32], byte = 0;
    for (unsigned i = first ? 0 : 1; i < rounds; i += 2) {
        if (i > 0) {
            MODEL_CHECK(read(in, &byte, 1) == 1, "pipe");
            snprintf(text, sizeof text, "%u", i - 1);
            model_expect(b, "ball", text);
        }
        snprintf(text, sizeof text, "%u", i);
        model_put(b, "ball", text);
        MODEL_CHECK(write(out, &byte, 1) == 1 || i + 1 >= rounds, "pipe");
    }
    kist_bucket_close(&b);
    kist_close(&s);
    model_exit(0);
}

static void an_acknowledged_put_is_seen_at_once_by_another_process(void **state)
{
    (void)state;
    int a[2], b[2];
    pid_t pids[2];
    unsigned rounds = (unsigned)(1000 * model_scale());
    assert_int_equal(pipe(a) | pipe(b), 0);
    signal(SIGPIPE, SIG_IGN);
    if ((pids[0] = model_fork(60)) == 0)
        ping(rounds, a[0], b[1], true);
    if ((pids[1] = model_fork(60)) == 0)
        ping(rounds, b[0], a[1], false);
    wait_all(pids, 2, "player");
    close(a[0]), close(a[1]), close(b[0]), close(b[1]);
}

/* -- opening and closing -- */

static void sixteen_processes_open_and_close_in_a_loop(void **state)
{
    (void)state;
    enum { OPENERS = 16 };
    pid_t pids[OPENERS];
    unsigned loops = (unsigned)(30 * model_scale());
    for (size_t i = 0; i < OPENERS; i++)
        if ((pids[i] = model_fork(60)) == 0) {
            for (unsigned j = 0; j < loops; j++) {
                struct kist_store *s = model_open(path);
                struct kist_bucket *b = model_default(s);
                MODEL_OK(kist_increment(b, KIST_STR("opened"), 1, NULL, NULL, NULL));
                kist_bucket_close(&b);
                kist_close(&s);
            }
            model_exit(0);
        }
    wait_all(pids, OPENERS, "opener");
    struct kist_store *s = model_open(path);
    struct kist_bucket *b = model_default(s);
    char text[32];
    snprintf(text, sizeof text, "%u", loops * OPENERS);
    model_expect(b, "opened", text);
    model_verify(s);
    kist_bucket_close(&b);
    kist_close(&s);
}

static void processes_that_create_the_same_store_at_once_share_it(void **state)
{
    (void)state;
    enum { MAKERS = 8 };
    char fresh[MODEL_PATH_MAX], name[32];
    for (int round = 0; round < 5; round++) {
        pid_t pids[MAKERS];
        snprintf(name, sizeof name, "fresh%d/below", round);
        model_join(fresh, dir, name);
        for (size_t i = 0; i < MAKERS; i++)
            if ((pids[i] = model_fork(30)) == 0) {
                struct kist_store *s = model_open(fresh);
                struct kist_bucket *b = model_default(s);
                MODEL_OK(kist_increment(b, KIST_STR("made"), 1, NULL, NULL, NULL));
                kist_bucket_close(&b);
                kist_close(&s);
                model_exit(0);
            }
        wait_all(pids, MAKERS, "maker");
        struct kist_store *s = model_open(fresh);
        struct kist_bucket *b = model_default(s);
        model_expect(b, "made", "8");
        kist_bucket_close(&b);
        kist_close(&s);
    }
}

/* -- a stopped holder of the lock -- */

static void a_stopped_lock_holder_gives_others_busy_and_readers_go_on(void **state)
{
    (void)state;
    int status = 0;
    pid_t pid = model_fork(60);
    if (pid == 0) {
        struct kist_store *s = model_open(path);
        struct kist_bucket *b = model_default(s);
        struct kist_txn *t = NULL;
        model_put(b, "before", "1");
        MODEL_OK(kist_begin(b, KIST_EXCLUSIVE, &t));
        MODEL_OK(kist_txn_put(t, KIST_STR("held"), KIST_STR("yes"), NULL));
        raise(SIGSTOP);
        MODEL_OK(kist_commit(&t, NULL));
        kist_bucket_close(&b);
        kist_close(&s);
        model_exit(0);
    }
    assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
    assert_true(WIFSTOPPED(status));
    struct kist_options o = model_options();
    struct kist_store *s = NULL;
    struct kist_txn *t = NULL;
    o.lock_timeout_ms = 300;
    MODEL_OK(kist_open(path, &o, &s));
    struct kist_bucket *b = model_default(s);
    int64_t start = model_mono_ms();
    MODEL_CODE(KIST_EBUSY, kist_put(b, KIST_STR("x"), KIST_STR("y"), NULL, NULL));
    int64_t took = model_mono_ms() - start;
    MODEL_CHECK(took >= 250 && took < 3000, "busy after %lld ms of 300", (long long)took);
    MODEL_CODE(KIST_EBUSY, kist_begin(b, KIST_EXCLUSIVE, &t));
    start = model_mono_ms();
    model_expect(b, "before", "1");
    model_expect(b, "held", NULL);
    MODEL_CHECK(model_mono_ms() - start < 200, "a reader waited");
    MODEL_OK(kist_begin(b, KIST_OPTIMISTIC, &t));
    MODEL_OK(kist_txn_put(t, KIST_STR("x"), KIST_STR("z"), NULL));
    MODEL_CODE(KIST_EBUSY, kist_commit(&t, NULL));
    kill(pid, SIGCONT);
    model_wait(pid, "holder");
    model_expect(b, "held", "yes");
    model_put(b, "x", "after");
    model_expect(b, "x", "after");
    kist_bucket_close(&b);
    kist_close(&s);
}

/* A holder that is killed is out of the way at once. */
static void a_killed_lock_holder_is_out_of_the_way(void **state)
{
    (void)state;
    int status = 0;
    pid_t pid = model_fork(60);
    if (pid == 0) {
        struct kist_store *s = model_open(path);
        struct kist_bucket *b = model_default(s);
        struct kist_txn *t = NULL;
        MODEL_OK(kist_begin(b, KIST_EXCLUSIVE, &t));
        MODEL_OK(kist_txn_put(t, KIST_STR("killed"), KIST_STR("yes"), NULL));
        raise(SIGSTOP);
        model_exit(1);
    }
    assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
    struct kist_store *s = model_open(path);
    struct kist_bucket *b = model_default(s);
    int64_t start = model_mono_ms();
    kill(pid, SIGKILL);
    model_put(b, "next", "1");
    MODEL_CHECK(model_mono_ms() - start < 1000 * SLOW, "blocked for %lld ms", (long long)(model_mono_ms() - start));
    model_expect(b, "killed", NULL);
    (void)model_wait_status(pid);
    kist_bucket_close(&b);
    kist_close(&s);
}

/* -- fork -- */

static void a_handle_does_not_cross_fork_and_the_parent_is_unharmed(void **state)
{
    (void)state;
    struct kist_store *s = model_open(path);
    struct kist_bucket *b = model_default(s), *made = NULL;
    struct kist_txn *t = NULL, *other = NULL;
    struct kist_cursor *c = NULL, *c2 = NULL;
    struct kist_watch *w = NULL;
    struct kist_record r;
    struct kist_value v = {0};
    struct kist_change change;
    model_put(b, "parent", "1");
    MODEL_OK(kist_begin(b, KIST_EXCLUSIVE, &t));
    MODEL_OK(kist_txn_put(t, KIST_STR("in txn"), KIST_STR("1"), NULL));
    MODEL_OK(kist_cursor_open(b, NULL, &c));
    MODEL_OK(kist_watch_open(b, model_bytes(NULL, 0), 0, &w));
    pid_t pid = model_fork(30);
    if (pid == 0) {
        uint64_t n;
        MODEL_CODE(KIST_EFORK, kist_get(b, KIST_STR("parent"), &v));
        MODEL_CODE(KIST_EFORK, kist_put(b, KIST_STR("child"), KIST_STR("1"), NULL, NULL));
        MODEL_CODE(KIST_EFORK, kist_begin(b, KIST_OPTIMISTIC, &other));
        MODEL_CODE(KIST_EFORK, kist_txn_put(t, KIST_STR("child"), KIST_STR("1"), NULL));
        MODEL_CODE(KIST_EFORK, kist_cursor_next(c, &r));
        MODEL_CODE(KIST_EFORK, kist_cursor_open(b, NULL, &c2));
        MODEL_CODE(KIST_EFORK, kist_watch_next(w, 0, &change));
        MODEL_CODE(KIST_EFORK, kist_bucket_create(s, "child", NULL, &made));
        MODEL_CODE(KIST_EFORK, kist_revision(s, &n));
        MODEL_CODE(KIST_EFORK, kist_compact(s, NULL, NULL));
        MODEL_CODE(KIST_EFORK, kist_sync(s));
        MODEL_CODE(KIST_EFORK, kist_commit(&t, NULL));
        kist_watch_close(&w);
        kist_cursor_close(&c);
        kist_bucket_close(&b);
        kist_close(&s);
        model_exit(0);
    }
    model_wait(pid, "child with an old handle");
    MODEL_OK(kist_txn_put(t, KIST_STR("in txn"), KIST_STR("2"), NULL));
    MODEL_OK(kist_commit(&t, NULL));
    MODEL_OK(kist_cursor_next(c, &r));
    MODEL_OK(kist_watch_next(w, 1000, &change));
    model_expect(b, "in txn", "2");
    model_put(b, "parent", "2");
    model_expect(b, "parent", "2");
    model_expect(b, "child", NULL);
    kist_watch_close(&w);
    kist_cursor_close(&c);
    model_verify(s);
    kist_bucket_close(&b);
    kist_close(&s);
}

/* The lock is the parent's: a child that is still there must not hold it on when the parent lets
 * go. */
static void a_lingering_child_does_not_hold_the_lock_of_its_parent(void **state)
{
    (void)state;
    struct kist_options o = model_options();
    struct kist_store *s = model_open(path), *other = NULL;
    struct kist_bucket *b = model_default(s);
    struct kist_txn *t = NULL;
    MODEL_OK(kist_begin(b, KIST_EXCLUSIVE, &t));
    pid_t pid = model_fork(30);
    if (pid == 0) {
        pause();
        model_exit(1);
    }
    MODEL_OK(kist_txn_put(t, KIST_STR("lingering"), KIST_STR("1"), NULL));
    MODEL_OK(kist_commit(&t, NULL));
    kist_bucket_close(&b);
    kist_close(&s);
    o.lock_timeout_ms = 500;
    MODEL_OK(kist_open(path, &o, &other));
    b = model_default(other);
    model_put(b, "lingering", "2");
    model_expect(b, "lingering", "2");
    kist_bucket_close(&b);
    kist_close(&other);
    kill(pid, SIGKILL);
    (void)model_wait_status(pid);
}

/* -- two handles in one process -- */

static void two_handles_by_two_paths_are_one_store(void **state)
{
    (void)state;
    char other[MODEL_PATH_MAX];
    struct kist_options o = model_options();
    struct kist_store *s[2] = {model_open(path), NULL};
    struct kist_bucket *b[2];
    struct kist_txn *t = NULL;
    assert_int_equal(symlink(dir, model_join(other, dir, "link")), 0);
    model_join(other, dir, "link/./store");
    o.lock_timeout_ms = 200;
    MODEL_OK(kist_open(other, &o, &s[1]));
    for (int i = 0; i < 2; i++)
        b[i] = model_default(s[i]);
    for (int i = 0; i < 100; i++) {
        char text[16];
        snprintf(text, sizeof text, "%d", i);
        model_put(b[i % 2], "two", text);
        model_expect(b[1 - i % 2], "two", text);
        MODEL_OK(kist_increment(b[i % 3 != 0], KIST_STR("count"), 1, NULL, NULL, NULL));
    }
    model_expect(b[0], "count", "100");
    MODEL_OK(kist_begin(b[0], KIST_EXCLUSIVE, &t));
    MODEL_CODE(KIST_EBUSY, kist_put(b[1], KIST_STR("two"), KIST_STR("no"), NULL, NULL));
    kist_abort(&t);
    model_put(b[1], "two", "yes");
    kist_bucket_close(&b[0]);
    kist_close(&s[0]); /* must not drop the locks of the other */
    model_put(b[1], "two", "still");
    model_verify(s[1]);
    kist_bucket_close(&b[1]);
    kist_close(&s[1]);
}

static void another_handle_follows_a_rotation_of_the_data_key(void **state)
{
    (void)state;
    struct kist_store *s[2] = {model_open(path), model_open(path)};
    struct kist_bucket *b[2] = {model_default(s[0]), model_default(s[1])};
    model_put(b[1], "old", "sealed under the first key");
    for (int i = 0; i < 3; i++) {
        MODEL_OK(kist_rotate(s[0], false, NULL, NULL));
        model_expect(b[1], "old", "sealed under the first key");
        model_put(b[0], "new", "sealed under the next one");
        model_expect(b[1], "new", "sealed under the next one");
        model_put(b[1], "back", "and the other way");
        model_expect(b[0], "back", "and the other way");
        model_verify(s[1]);
    }
    for (int i = 0; i < 2; i++) {
        kist_bucket_close(&b[i]);
        kist_close(&s[i]);
    }
}

/* -- readers that stay -- */

static void an_old_reader_keeps_its_snapshot_through_compaction(void **state)
{
    (void)state;
    struct kist_store *s = model_open(path);
    struct kist_bucket *b = model_default(s);
    struct kist_cursor *c = NULL;
    struct kist_record r;
    unsigned n = 0;
    int rc;
    char key[32], value[200];
    for (unsigned i = 0; i < 300; i++) {
        snprintf(key, sizeof key, "old/%03u", i);
        model_put(b, key, key);
    }
    struct kist_range range = {.size = sizeof range, .prefix = KIST_STR("old/")};
    MODEL_OK(kist_cursor_open(b, &range, &c));
    MODEL_OK(kist_cursor_next(c, &r));
    pid_t pid = model_fork(60);
    if (pid == 0) {
        struct kist_store *mine = model_open(path);
        struct kist_bucket *d = model_default(mine);
        memset(value, 'v', sizeof value);
        for (unsigned round = 0; round < 3; round++) {
            for (unsigned i = 0; i < 300; i++) {
                snprintf(key, sizeof key, "old/%03u", i);
                if (i % 3 == round)
                    MODEL_OK(kist_delete(d, model_text(key), NULL, NULL, NULL));
                else
                    MODEL_OK(kist_put(d, model_text(key), model_bytes(value, sizeof value), NULL, NULL));
            }
            MODEL_OK(kist_compact(mine, NULL, NULL));
        }
        kist_bucket_close(&d);
        kist_close(&mine);
        model_exit(0);
    }
    model_wait(pid, "compactor");
    do {
        snprintf(key, sizeof key, "old/%03u", n++);
        MODEL_CHECK(r.value.len == strlen(key) && memcmp(r.value.ptr, key, r.value.len) == 0, "%s has another value", key);
    } while ((rc = kist_cursor_next(c, &r)) == 0);
    MODEL_CHECK(rc == KIST_EEND && n == 300, "%u records, then %s", n, kist_error_name(rc));
    kist_cursor_close(&c);
    kist_bucket_close(&b);
    kist_close(&s);
}

/* Some overwrite and compact without end, others open, read and close meanwhile: nobody misses a
 * segment. */
static void opening_and_reading_go_on_while_others_compact(void **state)
{
    (void)state;
    enum { COMPACTORS = 3, READERS = 4, KEYS = 20 };
    pid_t pids[COMPACTORS + READERS];
    unsigned loops = (unsigned)(40 * model_scale());
    struct kist_store *s = model_open(path);
    struct kist_bucket *b = model_default(s);
    char key[32];
    for (unsigned i = 0; i < KEYS; i++) {
        snprintf(key, sizeof key, "shared/%02u", i);
        model_put(b, key, "0");
    }
    kist_bucket_close(&b);
    kist_close(&s);
    for (size_t i = 0; i < COMPACTORS + READERS; i++)
        if ((pids[i] = model_fork(60)) == 0) {
            for (unsigned j = 0; j < loops; j++) {
                uint64_t n = 0;
                s = model_open(path);
                b = model_default(s);
                for (unsigned k = 0; k < KEYS; k++) {
                    struct kist_value v = {0};
                    snprintf(key, sizeof key, "shared/%02u", k);
                    if (i < COMPACTORS)
                        model_put(b, key, "another value");
                    MODEL_OK(kist_get(b, model_text(key), &v));
                    kist_value_free(&v);
                }
                MODEL_OK(kist_count(b, KIST_STR("shared/"), &n));
                MODEL_CHECK(n == KEYS, "%llu of %d keys", (unsigned long long)n, KEYS);
                int rc = i < COMPACTORS ? kist_compact(s, NULL, NULL) : 0;
                MODEL_CHECK(rc == 0 || rc == KIST_EBUSY, "compact: %s", kist_error_name(rc));
                kist_bucket_close(&b);
                kist_close(&s);
            }
            model_exit(0);
        }
    wait_all(pids, COMPACTORS + READERS, "compactor or reader");
    s = model_open(path);
    model_verify(s);
    kist_close(&s);
}

/* -- watch -- */

static int64_t mono_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static int compare_int64(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void a_watch_wakes_for_a_commit_of_another_process(void **state)
{
    (void)state;
    enum { ROUNDS = 40 };
    int p[2];
    int64_t woke[ROUNDS];
    assert_int_equal(pipe(p), 0);
    pid_t pid = model_fork(60);
    if (pid == 0) {
        struct kist_store *s = model_open(path);
        struct kist_bucket *b = model_default(s);
        struct kist_watch *w = NULL;
        struct kist_change c;
        char byte = 0;
        MODEL_OK(kist_watch_open(b, KIST_STR("watched/"), 0, &w));
        for (int i = 0; i < ROUNDS; i++) {
            MODEL_CHECK(write(p[1], &byte, 1) == 1, "pipe");
            MODEL_OK(kist_watch_next(w, 10000, &c));
            int64_t now = mono_us();
            MODEL_CHECK(c.kind == KIST_CHANGE_PUT && c.key.len == 11 && memcmp(c.key.ptr, "watched/key", 11) == 0, "kind %d",
                        c.kind);
            MODEL_CHECK(write(p[1], &now, sizeof now) == (ssize_t)sizeof now, "pipe");
        }
        MODEL_CODE(KIST_ETIMEOUT, kist_watch_next(w, 50, &c));
        kist_watch_close(&w);
        kist_bucket_close(&b);
        kist_close(&s);
        model_exit(0);
    }
    struct kist_store *s = model_open(path);
    struct kist_bucket *b = model_default(s);
    for (int i = 0; i < ROUNDS; i++) {
        char byte;
        MODEL_CHECK(read(p[0], &byte, 1) == 1, "pipe");
        usleep(20000);
        model_put(b, "elsewhere", "not watched");
        model_put(b, "watched/key", "x");
        int64_t put = mono_us();
        MODEL_CHECK(read(p[0], &woke[i], sizeof woke[i]) == (ssize_t)sizeof woke[i], "pipe");
        woke[i] -= put;
        MODEL_CHECK(woke[i] < 2000000, "woke after %lld us", (long long)woke[i]);
    }
    model_wait(pid, "watcher");
    qsort(woke, ROUNDS, sizeof *woke, compare_int64);
    printf("woke after the put returned: median %lld us, slowest %lld us\n", (long long)woke[ROUNDS / 2],
           (long long)woke[ROUNDS - 1]);
    close(p[0]), close(p[1]);
    kist_bucket_close(&b);
    kist_close(&s);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, make_store, drop_store)
    const struct CMUnitTest tests[] = {
        TEST(money_is_neither_made_nor_lost),
        TEST(counters_hold_exactly_what_was_acknowledged),
        TEST(an_acknowledged_put_is_seen_at_once_by_another_process),
        TEST(sixteen_processes_open_and_close_in_a_loop),
        TEST(processes_that_create_the_same_store_at_once_share_it),
        TEST(a_stopped_lock_holder_gives_others_busy_and_readers_go_on),
        TEST(a_killed_lock_holder_is_out_of_the_way),
        TEST(a_handle_does_not_cross_fork_and_the_parent_is_unharmed),
        TEST(a_lingering_child_does_not_hold_the_lock_of_its_parent),
        TEST(two_handles_by_two_paths_are_one_store),
        TEST(another_handle_follows_a_rotation_of_the_data_key),
        TEST(an_old_reader_keeps_its_snapshot_through_compaction),
        TEST(opening_and_reading_go_on_while_others_compact),
        TEST(a_watch_wakes_for_a_commit_of_another_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
