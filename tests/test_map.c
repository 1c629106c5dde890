/* test_map.c: values are read through a map, and a file that shrinks under it is an error, not a SIGBUS.
 *
 * cmocka sets a handler for SIGBUS around each test, and kist's is set once a process. So each test is a child, which has
 * never had a store open; its exit status is 0, or the line that did not hold. */
#include "fixture.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { VALUES = 200, LEN = 4000 };

#define HOLDS(condition)     \
    do {                     \
        if (!(condition))    \
            _exit(__LINE__); \
    } while (0)

static unsigned reads;

static int count_reads(const struct os_call *call)
{
    reads += call->kind == OS_READ;
    return 0;
}

static void open_with(struct fixture *f, unsigned flags)
{
    struct kist_options o = fixture_options();
    o.flags = flags;
    HOLDS(kist_open(f->path, &o, &f->store) == 0);
    HOLDS(kist_bucket_open(f->store, "default", &f->bucket) == 0);
}

static void fill(const struct fixture *f)
{
    static char value[LEN];
    memset(value, 'v', sizeof value);
    for (unsigned i = 0; i < VALUES; i++)
        HOLDS(kist_put(f->bucket, (struct kist_bytes){&i, sizeof i}, (struct kist_bytes){value, LEN}, NULL, NULL) == 0);
}

/* Get all: how many came, and what another one answered. */
static unsigned get_all(const struct fixture *f, int *out_error)
{
    unsigned good = 0;
    *out_error = 0;
    for (unsigned i = 0; i < VALUES; i++) {
        struct kist_value v = {0};
        int r = kist_get(f->bucket, (struct kist_bytes){&i, sizeof i}, &v);
        if (r)
            *out_error = r;
        HOLDS(r || v.len == LEN);
        good += r == 0;
        kist_value_free(&v);
    }
    return good;
}

static void shrink(const struct fixture *f)
{
    char path[400];
    (void)snprintf(path, sizeof path, "%s/000000000001.log", f->path);
    HOLDS(truncate(path, 64 << 10) == 0);
}

static unsigned reads_of_get_all(const struct fixture *f)
{
    int error = 0;
    reads = 0;
    os_hook = count_reads;
    HOLDS(get_all(f, &error) == VALUES);
    os_hook = NULL;
    return reads;
}

static void child_reads_mapped(struct fixture *f)
{
    open_with(f, 0);
    fill(f);
    HOLDS(reads_of_get_all(f) == 0);
    fixture_close(f);
    open_with(f, 0);
    HOLDS(reads_of_get_all(f) == 0);
}

static void child_reads_unmapped(struct fixture *f)
{
    struct sigaction now;
    open_with(f, KIST_NO_MAP);
    fill(f);
    HOLDS(reads_of_get_all(f) >= VALUES);
    HOLDS(sigaction(SIGBUS, NULL, &now) == 0 && now.sa_handler == SIG_DFL);
}

static void child_shrinks_mapped(struct fixture *f)
{
    int error = 0;
    open_with(f, 0);
    fill(f);
    shrink(f);
    unsigned good = get_all(f, &error);
    HOLDS(good > 0 && good < VALUES && error == KIST_EIO);
}

static void child_shrinks_unmapped(struct fixture *f)
{
    int error = 0;
    open_with(f, KIST_NO_MAP);
    fill(f);
    shrink(f);
    unsigned good = get_all(f, &error);
    HOLDS(good > 0 && good < VALUES && error == KIST_ECORRUPT);
}

/* -- what is not ours stays the program's -- */

static void program_handler(int signal_number)
{
    (void)signal_number;
    _exit(0);
}

/* Touch a map beyond the end of its file. */
static void fault(void)
{
    FILE *file = tmpfile();
    HOLDS(file);
    volatile char *p = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fileno(file), 0);
    HOLDS(p != MAP_FAILED);
    HOLDS(*p == 1 || *p != 1);
    HOLDS(false); /* there is no way past the fault */
}

static void child_faults_with_an_earlier_handler(struct fixture *f)
{
    (void)signal(SIGBUS, program_handler);
    open_with(f, 0);
    fault();
}

static void child_faults_with_the_default(struct fixture *f)
{
    open_with(f, 0);
    fault();
}

static void child_sets_a_handler_later(struct fixture *f)
{
    int error = 0;
    open_with(f, 0);
    fixture_close(f);
    (void)signal(SIGBUS, program_handler);
    open_with(f, 0);
    fill(f);
    HOLDS(reads_of_get_all(f) >= VALUES);
    shrink(f);
    HOLDS(get_all(f, &error) < VALUES && error == KIST_ECORRUPT);
}

static int status_of(void (*run)(struct fixture *f))
{
    struct fixture f = {.dir = "/tmp/kist-test-XXXXXX"};
    int status = 0;
    assert_non_null(mkdtemp(f.dir));
    (void)snprintf(f.path, sizeof f.path, "%s/store", f.dir);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)signal(SIGBUS, SIG_DFL);
        run(&f);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    (void)nftw(f.dir, fixture_remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return status;
}

#define CHILD(name, run)                     \
    static void name(void **state)           \
    {                                        \
        (void)state;                         \
        assert_int_equal(status_of(run), 0); \
    }

static void a_fault_elsewhere_ends_the_process_as_it_would_have(void **state)
{
    (void)state;
    int status = status_of(child_faults_with_the_default);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGBUS);
}

CHILD(values_are_read_without_a_system_call, child_reads_mapped)
CHILD(without_maps_they_are_read_with_pread_and_no_handler_is_set, child_reads_unmapped)
CHILD(a_segment_that_shrinks_while_it_is_mapped_is_an_error, child_shrinks_mapped)
CHILD(a_segment_that_shrinks_is_an_error_without_maps_too, child_shrinks_unmapped)
CHILD(a_fault_elsewhere_reaches_the_handler_that_was_there_before, child_faults_with_an_earlier_handler)
CHILD(where_a_program_has_set_its_own_handler_since_nothing_is_mapped, child_sets_a_handler_later)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_read_without_a_system_call),
        cmocka_unit_test(without_maps_they_are_read_with_pread_and_no_handler_is_set),
        cmocka_unit_test(a_segment_that_shrinks_while_it_is_mapped_is_an_error),
        cmocka_unit_test(a_segment_that_shrinks_is_an_error_without_maps_too),
        cmocka_unit_test(a_fault_elsewhere_reaches_the_handler_that_was_there_before),
        cmocka_unit_test(a_fault_elsewhere_ends_the_process_as_it_would_have),
        cmocka_unit_test(where_a_program_has_set_its_own_handler_since_nothing_is_mapped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

_Static_assert(__LINE__ < 256, "a line is an exit status");
