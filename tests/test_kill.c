/* test_kill.c: eight processes write, and random ones of them are killed with SIGKILL all the
 * while.
 *
 * A writer commits three keys together and tells each acknowledged commit through a pipe. After
 * each kill: the others go on within a second; all that the dead one acknowledged is there; of the
 * commit that it was in, all or nothing. Every twenty rounds all are killed and the store is
 * verified. KIST_TORTURE_ROUNDS sets how often one is killed (200). Parents never hold a handle
 * across a fork. */
#include "store_model.c" /* a test program is one source */

#include <poll.h>

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

static int64_t number_of(const struct kist_value *v)
{
    char text[32] = "";
    memcpy(text, v->data, v->len < 31 ? v->len : 31);
    return strtoll(text, NULL, 10);
}

/* -- kill -9 -- */

#define WRITERS 8
#define TAIL 40 /* single keys of the last so many commits are kept */

struct writer {
    pid_t pid;
    int acks; /* read end, not blocking */
    uint64_t generation;
    uint64_t acked; /* sequence number of the last acknowledged commit of this generation; 0: none */
};

static struct writer writers[WRITERS];

static void key_of(char out[64], size_t id, uint64_t generation, const char *what, uint64_t n)
{
    snprintf(out, 64, "w%zu/%s/%llu/%llu", id, what, (unsigned long long)generation, (unsigned long long)n);
}

struct burst {
    size_t id;
    uint64_t generation, n;
    const uint8_t *ballast;
    size_t ballast_len;
};

/* One commit: three keys with the same number, one key of its own, the oldest of those away. */
static int burst_fn(struct kist_txn *t, void *ctx)
{
    const struct burst *x = ctx;
    char key[64], value[32];
    int rc = 0;
    snprintf(value, sizeof value, "%llu", (unsigned long long)x->n);
    for (int i = 0; i < 3 && !rc; i++) {
        snprintf(key, sizeof key, "w%zu/%c/%llu", x->id, 'a' + i, (unsigned long long)x->generation);
        rc = kist_txn_put(t, model_text(key), model_text(value), NULL);
    }
    key_of(key, x->id, x->generation, "n", x->n);
    if (!rc)
        rc = kist_txn_put(t, model_text(key), model_bytes(x->ballast, x->ballast_len), NULL);
    key_of(key, x->id, x->generation, "n", x->n - TAIL);
    return rc || x->n <= TAIL ? rc : kist_txn_delete(t, model_text(key), NULL, NULL);
}

static void writer_main(size_t id, uint64_t generation, int out, uint64_t seed)
{
    static uint8_t ballast[150000];
    struct model_prng chance = {seed};
    struct kist_store *s = model_open(path);
    struct kist_bucket *b = model_default(s);
    memset(ballast, (int)('A' + id), sizeof ballast);
    for (uint64_t n = 1;; n++) {
        size_t len = (size_t)model_below(&chance, model_below(&chance, 50) ? 300 : sizeof ballast);
        struct burst x = {id, generation, n, ballast, len};
        int64_t start = model_mono_ms();
        int rc = kist_run(b, n % 2 ? KIST_EXCLUSIVE : KIST_OPTIMISTIC, burst_fn, &x, NULL);
        int64_t ms = model_mono_ms() - start;
        MODEL_CHECK(rc == 0, "writer %zu commit %llu: %s", id, (unsigned long long)n, kist_error_name(rc));
        MODEL_CHECK(ms < 1000 * SLOW, "writer %zu: a commit was blocked for %lld ms", id, (long long)ms);
        MODEL_CHECK(write(out, &n, sizeof n) == (ssize_t)sizeof n, "pipe: %s", strerror(errno));
        if (model_below(&chance, 3000) == 0) {
            rc = kist_compact(s, NULL, NULL);
            MODEL_CHECK(rc == 0 || rc == KIST_EBUSY, "compact: %s", kist_error_name(rc));
        }
    }
}

static void writer_start(size_t id, uint64_t seed)
{
    int p[2];
    struct writer *w = &writers[id];
    assert_int_equal(pipe2(p, O_CLOEXEC), 0);
    w->generation++;
    w->acked = 0;
    if ((w->pid = model_fork(240)) == 0) {
        close(p[0]);
        writer_main(id, w->generation, p[1], seed);
    }
    close(p[1]);
    w->acks = p[0];
    (void)fcntl(p[0], F_SETFL, O_NONBLOCK);
}

static bool writer_drain(struct writer *w)
{
    uint64_t n[512];
    ssize_t got;
    bool any = false;
    while ((got = read(w->acks, n, sizeof n)) > 0) {
        w->acked = n[(size_t)got / sizeof n[0] - 1];
        any = true;
    }
    return any;
}

static void writer_kill(struct writer *w)
{
    kill(w->pid, SIGKILL);
    int status = model_wait_status(w->pid);
    w->pid = 0;
    MODEL_CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "writer %td ended by itself: status 0x%x", w - writers,
                status);
    (void)writer_drain(w);
    close(w->acks);
}

/* All that writer id acknowledged is there; of the commit under way either all or nothing. */
static void writer_check(struct kist_bucket *b, size_t id)
{
    const struct writer *w = &writers[id];
    struct kist_value v[3] = {{0}};
    struct kist_bytes keys[3];
    char names[3][64];
    int codes[3];
    int64_t n[3];
    for (int i = 0; i < 3; i++) {
        snprintf(names[i], sizeof names[i], "w%zu/%c/%llu", id, 'a' + i, (unsigned long long)w->generation);
        keys[i] = model_text(names[i]);
    }
    MODEL_OK(kist_get_many(b, keys, 3, v, codes));
    for (int i = 0; i < 3; i++) {
        n[i] = codes[i] == 0 ? number_of(&v[i]) : 0;
        kist_value_free(&v[i]);
    }
    MODEL_CHECK(n[0] == n[1] && n[1] == n[2], "half a commit of writer %zu: %lld %lld %lld", id, (long long)n[0], (long long)n[1],
                (long long)n[2]);
    MODEL_CHECK(n[0] == (int64_t)w->acked || n[0] == (int64_t)w->acked + 1, "writer %zu acknowledged %llu, there is %lld", id,
                (unsigned long long)w->acked, (long long)n[0]);
    for (uint64_t i = (uint64_t)n[0] > TAIL ? (uint64_t)n[0] - TAIL + 1 : 1; i <= (uint64_t)n[0]; i++) {
        char key[64];
        struct kist_value one = {0};
        key_of(key, id, w->generation, "n", i);
        int rc = kist_get(b, model_text(key), &one);
        MODEL_CHECK(rc == 0, "writer %zu: key of commit %llu of %llu: %s", id, (unsigned long long)i,
                    (unsigned long long)w->acked, kist_error_name(rc));
        for (size_t j = 0; j < one.len; j++)
            MODEL_CHECK(((uint8_t *)one.data)[j] == 'A' + id, "a foreign byte at %zu of %zu", j, one.len);
        kist_value_free(&one);
    }
}

/* In a child, so that the parent never holds a handle across a fork. id WRITERS: all, and verify.
 */
static void check_in_child(size_t id)
{
    pid_t pid = model_fork(60);
    if (pid == 0) {
        struct kist_store *s = model_open(path);
        struct kist_bucket *b = model_default(s);
        for (size_t i = 0; i < WRITERS; i++)
            if (i == id || id == WRITERS)
                writer_check(b, i);
        if (id == WRITERS)
            model_verify(s);
        kist_bucket_close(&b);
        kist_close(&s);
        model_exit(0);
    }
    model_wait(pid, "checker");
}

/* How long until each writer but one has acknowledged something more. One that has not acknowledged anything yet is
 * still opening the store, and does not count; one may be waiting to compact. How long a commit was blocked each
 * writer looks at itself. */
static int64_t survivors_go_on(size_t killed)
{
    bool seen[WRITERS] = {false};
    int64_t start = model_mono_ms();
    size_t left = 0;
    for (size_t i = 0; i < WRITERS; i++) {
        seen[i] = i == killed || writers[i].acked == 0;
        left += !seen[i];
    }
    while (left > 0 && model_mono_ms() - start < 20000) {
        struct pollfd polls[WRITERS];
        for (size_t i = 0; i < WRITERS; i++)
            polls[i] = (struct pollfd){.fd = i == killed || seen[i] ? -1 : writers[i].acks, .events = POLLIN};
        (void)poll(polls, WRITERS, 1000);
        for (size_t i = 0; i < WRITERS; i++)
            if (polls[i].revents && !seen[i]) {
                MODEL_CHECK(writer_drain(&writers[i]), "writer %zu died by itself", i);
                seen[i] = true;
                left--;
            }
    }
    MODEL_CHECK(left == 0, "%zu writers stand still after a kill", left);
    return model_mono_ms() - start;
}

static void acknowledged_commits_survive_kill_9_of_random_writers(void **state)
{
    (void)state;
    unsigned rounds = model_env("KIST_TORTURE_ROUNDS", 200);
    struct model_prng chance = {model_seed()};
    int64_t worst = 0, limit = rounds > 1000 ? 0 : model_mono_ms() + 100000;
    unsigned r;
    for (size_t i = 0; i < WRITERS; i++)
        writer_start(i, model_random(&chance));
    for (r = 0; r < rounds && (!limit || model_mono_ms() < limit); r++) {
        size_t id = (size_t)model_below(&chance, WRITERS);
        usleep((unsigned)model_below(&chance, 30000));
        for (size_t i = 0; i < WRITERS; i++)
            (void)writer_drain(&writers[i]); /* what was acknowledged before the kill does not count as going on */
        writer_kill(&writers[id]);
        int64_t ms = survivors_go_on(id);
        worst = ms > worst ? ms : worst;
        check_in_child(id);
        if (r % 20 == 19) { /* all of them at once, then a look at the whole */
            for (size_t i = 0; i < WRITERS; i++)
                if (i != id)
                    kill(writers[i].pid, SIGKILL);
            for (size_t i = 0; i < WRITERS; i++)
                if (i != id)
                    writer_kill(&writers[i]);
            check_in_child(WRITERS);
            for (size_t i = 0; i < WRITERS; i++)
                if (i != id)
                    writer_start(i, model_random(&chance));
        }
        writer_start(id, model_random(&chance));
    }
    for (size_t i = 0; i < WRITERS; i++)
        writer_kill(&writers[i]);
    check_in_child(WRITERS);
    printf("%u rounds, all others had gone on after at most %lld ms\n", r, (long long)worst);
    MODEL_CHECK(r == rounds, "only %u of %u rounds in the time", r, rounds);
}

static int drop_store(void **state)
{
    (void)state;
    for (size_t i = 0; i < WRITERS; i++)
        if (writers[i].pid > 0) { /* left by a failure */
            kill(writers[i].pid, SIGKILL);
            (void)model_wait_status(writers[i].pid);
        }
    model_temp_free(&dir);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(acknowledged_commits_survive_kill_9_of_random_writers, make_store, drop_store),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
