/* test_secret.c: secret memory is zeroed, aligned, guarded and gone after use. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/os.h"
#include "crypt/secret.h"

static int refuse(const struct os_call *call)
{
    return call->kind == OS_ALLOC ? -ENOMEM : 0;
}

static int no_hook(void **state)
{
    (void)state;
    os_hook = NULL;
    return 0;
}

/* Does fn kill the process that runs it? */
static int dies(void (*fn)(volatile uint8_t *), volatile uint8_t *p)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        (void)signal(SIGSEGV, SIG_DFL);
        fn(p);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status);
}

static void write_behind(volatile uint8_t *p)
{
    p[32] = 1;
}

static void write_far_before(volatile uint8_t *p)
{
    p[-4096] = 1;
}

static void write_inside(volatile uint8_t *p)
{
    p[31] = 1;
}

static void new_memory_is_zeroed_aligned_and_writable(void **state)
{
    (void)state;
    for (size_t len = 1; len < 9000; len = len * 3 + 1) {
        void *p = NULL;
        assert_int_equal(secret_new(len, &p), 0);
        assert_int_equal((uintptr_t)p % 16, 0);
        for (size_t i = 0; i < len; i++)
            assert_int_equal(((uint8_t *)p)[i], 0);
        memset(p, 0xa5, len);
        secret_free(&p);
        assert_null(p);
    }
}

static void a_child_of_fork_gets_it_empty(void **state)
{
    static const size_t sizes[] = {32, 4096, 70000};
    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        int status = -1;
        void *p = NULL;
        assert_int_equal(secret_new(sizes[i], &p), 0);
        memset(p, 0xa5, sizes[i]);
        pid_t pid = fork();
        if (pid == 0) {
            const uint8_t *at = p;
            size_t left = 0;
            for (size_t k = 0; k < sizes[i]; k++)
                left += at[k] != 0;
            _exit(left != 0);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
        for (size_t k = 0; k < sizes[i]; k++) /* and the parent keeps it */
            assert_int_equal(((uint8_t *)p)[k], 0xa5);
        secret_free(&p);
    }
}

static void freeing_nothing_is_fine(void **state)
{
    void *p = NULL;
    (void)state;
    secret_free(&p);
    assert_null(p);
}

static void writing_beyond_either_end_kills_the_process(void **state)
{
    void *p = NULL;
    (void)state;
    assert_int_equal(secret_new(32, &p), 0);
    assert_false(dies(write_inside, p));
    assert_true(dies(write_behind, p));
    assert_true(dies(write_far_before, p));
    secret_free(&p);
}

static void out_of_memory_is_an_error_and_leaves_the_output(void **state)
{
    void *p = NULL;
    (void)state;
    os_hook = refuse;
    assert_int_equal(secret_new(32, &p), KIST_ENOMEM);
    assert_null(p);
    os_hook = NULL;
    assert_int_equal(secret_new((size_t)1 << 60, &p), KIST_ENOMEM);
    assert_null(p);
}

static void comparing_looks_at_every_byte(void **state)
{
    uint8_t a[40] = {0}, b[40] = {0};
    (void)state;
    assert_true(secret_equal(a, b, sizeof a));
    assert_true(secret_equal(a, b, 0));
    for (size_t i = 0; i < sizeof a; i++) {
        b[i] = 0x80;
        assert_false(secret_equal(a, b, sizeof a));
        b[i] = 0;
    }
}

static void a_plain_buffer_is_locked_and_let_go_wiped(void **state)
{
    (void)state;
    uint8_t *p = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(p, MAP_FAILED);
    memset(p, 7, 3 * 4096);
    (void)secret_lock_memory(p + 100, 5000); /* a limit of 0 may forbid it */
    assert_int_equal(p[100], 7);
    secret_unlock_memory(p + 100, 5000);
    assert_int_equal(p[99], 7);
    assert_int_equal(p[100], 0);
    assert_int_equal(p[5099], 0);
    assert_int_equal(p[5100], 7);
    assert_true(secret_lock_memory(p, 0));
    secret_unlock_memory(p, 0);
    assert_int_equal(munmap(p, 3 * 4096), 0);
    (void)secret_lock_memory(p, 3 * 4096); /* nothing there any more: an answer, no crash */
}

static void *start(void *arg)
{
    void *p = NULL;
    for (int i = 0; i < 50; i++) {
        if (secret_init() || secret_new(32, &p))
            return arg;
        secret_free(&p);
    }
    return NULL;
}

static void many_threads_may_start_at_once(void **state)
{
    pthread_t threads[8];
    (void)state;
    for (int i = 0; i < 8; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, start, threads), 0);
    for (int i = 0; i < 8; i++) {
        void *answer = threads;
        assert_int_equal(pthread_join(threads[i], &answer), 0);
        assert_null(answer);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_threads_may_start_at_once),
        cmocka_unit_test(new_memory_is_zeroed_aligned_and_writable),
        cmocka_unit_test(a_child_of_fork_gets_it_empty),
        cmocka_unit_test(freeing_nothing_is_fine),
        cmocka_unit_test(writing_beyond_either_end_kills_the_process),
        cmocka_unit_test_teardown(out_of_memory_is_an_error_and_leaves_the_output, no_hook),
        cmocka_unit_test(comparing_looks_at_every_byte),
        cmocka_unit_test(a_plain_buffer_is_locked_and_let_go_wiped),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    return failed || secret_live(); /* no secret outlives its owner */
}
