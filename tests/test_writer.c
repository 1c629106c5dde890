/* The right to write passes on when its holder dies, whatever state it leaves the log in. */
#include "base/os.h"
#include "engine_rig.h"
#include "store_model.c"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

static char *dir;
static char path[512];

#define LARGE 300000u

static int make_store(void **state)
{
    (void)state;
    dir = model_temp_new();
    snprintf(path, sizeof path, "%s/store", dir);
    return 0;
}

static int drop_store(void **state)
{
    (void)state;
    os_hook = NULL;
    model_temp_free(&dir);
    return 0;
}

/* In a child: the first part of the large frame reaches the file, then the process ends, in the middle of its write. */
static size_t part;
static bool cut;

static int die_in_the_middle(const struct os_call *call)
{
    if (call->kind != OS_WRITE)
        return 0;
    if (cut)
        _exit(7);
    if (call->len < LARGE)
        return 0;
    cut = true;
    return (int)part;
}

static void write_half(size_t n, uint8_t byte)
{
    static uint8_t value[LARGE];
    pid_t pid = model_fork(30);
    if (pid == 0) {
        struct kist_store *s = model_open(path);
        struct kist_bucket *b = model_default(s);
        memset(value, byte, sizeof value);
        part = n;
        os_hook = die_in_the_middle;
        int rc = kist_put(b, model_text("k"), model_bytes(value, sizeof value), NULL, NULL);
        _exit(rc == 0 ? 1 : 2);
    }
    int status = model_wait_status(pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 7);
}

static void expect_all(struct kist_bucket *b, uint8_t byte)
{
    struct kist_value v = {0};
    assert_int_equal(kist_get(b, model_text("k"), &v), 0);
    assert_int_equal(v.len, LARGE);
    for (size_t i = 0; i < v.len; i++)
        assert_int_equal(((uint8_t *)v.data)[i], byte);
    kist_value_free(&v);
}

/* It once did: header, chain and operations were whole, and the zeros written ahead stood in for the value's end. */
static void half_a_frame_of_a_dead_writer_does_not_count(void **state)
{
    static uint8_t value[LARGE];
    (void)state;
    struct kist_store *s = model_open(path);
    struct kist_bucket *b = model_default(s);
    memset(value, 'a', sizeof value);
    assert_int_equal(kist_put(b, model_text("k"), model_bytes(value, sizeof value), NULL, NULL), 0);
    for (size_t n = 1000; n < LARGE; n += LARGE / 7) {
        write_half(n, 'b');
        model_put(b, "other", "v");
        expect_all(b, 'a');
        model_verify(s);
    }
    kist_bucket_close(&b);
    kist_close(&s);
}

static void half_a_frame_does_not_count_when_nobody_else_was_there(void **state)
{
    static uint8_t value[LARGE];
    (void)state;
    struct kist_store *s = model_open(path);
    struct kist_bucket *b = model_default(s);
    memset(value, 'a', sizeof value);
    assert_int_equal(kist_put(b, model_text("k"), model_bytes(value, sizeof value), NULL, NULL), 0);
    kist_bucket_close(&b);
    kist_close(&s);
    write_half(LARGE / 2, 'b');
    s = model_open(path);
    b = model_default(s);
    expect_all(b, 'a');
    model_verify(s);
    kist_bucket_close(&b);
    kist_close(&s);
}

/* -- threads of one handle -- */

#define BUCKET 1u

static _Atomic bool writing, refused;

/* A frame's write takes until it is refused. */
static int hold_a_frame(const struct os_call *call)
{
    if (call->kind != OS_WRITE || call->len < FRAME_HEADER || memcmp(call->data, "KFRM", 4) != 0)
        return 0;
    atomic_store(&writing, true);
    while (!atomic_load(&refused))
        usleep(100);
    return -EIO;
}

static void until_it_writes(void)
{
    while (!atomic_load(&writing))
        usleep(100);
}

static void *put_and_never_return(void *arg)
{
    int r = kist_put(arg, model_text("k"), model_text("v"), NULL, NULL);
    _exit(r == 0 ? 1 : 2);
}

/* One thread is in the middle of its write, another has just become the writer. */
static void die_as_the_next_writer(void)
{
    pthread_t thread;
    struct kist_txn *t = NULL;
    struct kist_store *s = model_open(path);
    struct kist_bucket *b = model_default(s);
    os_hook = hold_a_frame;
    if (pthread_create(&thread, NULL, put_and_never_return, b))
        _exit(3);
    until_it_writes();
    _exit(kist_begin(b, KIST_EXCLUSIVE, &t) == 0 ? 7 : 4);
}

/* The second thread took the first one's write for that of a dead process, found it torn, and told
 * the others that all was there. */
static void a_write_of_our_own_is_not_a_dead_writers(void **state)
{
    (void)state;
    struct kist_store *s = model_open(path);
    struct kist_bucket *b = model_default(s);
    atomic_store(&writing, false);
    atomic_store(&refused, false);
    pid_t pid = model_fork(30);
    if (pid == 0)
        die_as_the_next_writer();
    int status = model_wait_status(pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 7);
    model_expect(b, "k", NULL);
    model_put(b, "other", "v");
    model_expect(b, "other", "v");
    model_verify(s);
    kist_bucket_close(&b);
    kist_close(&s);
}

static void *put_first(void *arg)
{
    static int answer;
    struct engine *e = arg;
    struct engine_txn *t = NULL;
    uint64_t revision = 0;
    answer = e->ops->begin(e, BUCKET, ENGINE_EXCLUSIVE, &t);
    if (answer == 0)
        answer = e->ops->put(t, rig_bytes("first"), rig_bytes("v"), 0, 0, false);
    if (answer == 0)
        answer = e->ops->commit(&t, &revision);
    return &answer;
}

/* A commit was behind the one whose write failed. It can never be written, and who waited for that
 * kept everybody else from writing. */
static void a_handle_that_failed_lets_others_write(void **state)
{
    struct frame_op op = {.kind = FRAME_PUT,
                          .bucket = BUCKET,
                          .key = (const uint8_t *)"second",
                          .key_len = 6,
                          .value = (const uint8_t *)"v",
                          .len = 1};
    pthread_t thread;
    uint64_t sequence = 0;
    void *answer = NULL;
    (void)state;
    struct engine *e = rig_open(path), *other = rig_open(path);
    struct log *log = log_of(e);
    atomic_store(&writing, false);
    atomic_store(&refused, false);
    os_hook = hold_a_frame;
    assert_int_equal(pthread_create(&thread, NULL, put_first, e), 0);
    until_it_writes();
    assert_int_equal(writer_lock(log), 0);
    assert_int_equal(commit_append(log, &op, 1, &sequence), 0);
    writer_unlock(log);
    atomic_store(&refused, true);
    assert_int_equal(pthread_join(thread, &answer), 0);
    os_hook = NULL;
    assert_int_equal(*(int *)answer, KIST_EMAYBE);
    assert_int_equal(commit_wait(log, sequence), KIST_EMAYBE);
    rig_put(other, BUCKET, "third", "v");
    rig_expect(other, BUCKET, "second", NULL);
    rig_expect(other, BUCKET, "third", "v");
    rig_close(&e);
    rig_close(&other);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_store, drop_store)
    const struct CMUnitTest tests[] = {
        TEST(half_a_frame_of_a_dead_writer_does_not_count),
        TEST(half_a_frame_does_not_count_when_nobody_else_was_there),
        TEST(a_write_of_our_own_is_not_a_dead_writers),
        TEST(a_handle_that_failed_lets_others_write),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
