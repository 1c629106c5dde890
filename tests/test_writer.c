/* The right to write passes on when its holder dies, whatever state it leaves the log in. */
#include "base/os.h"
#include "store_model.c"

#include <fcntl.h>
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(half_a_frame_of_a_dead_writer_does_not_count, make_store, drop_store),
        cmocka_unit_test_setup_teardown(half_a_frame_does_not_count_when_nobody_else_was_there, make_store, drop_store),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
