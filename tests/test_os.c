/* test_os.c: the outside world as the rest of kist sees it: whole transfers, locks that die with
 * their owner, futexes and fork guards across processes, and a hook that can make each of these
 * calls fail. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/os.h"

struct world {
    char path[256];
    int dir;
    int fd; /* the file "f" in it, read and write */
};

static struct os_call seen[64];
static size_t seen_n;
static enum os_call_kind hook_kind;
static int hook_answer; /* for calls of hook_kind */
static int hook_skip;   /* after so many of them */

static int hook(const struct os_call *call)
{
    if (seen_n < sizeof seen / sizeof seen[0])
        seen[seen_n++] = *call;
    if (call->kind != hook_kind || hook_skip-- > 0)
        return 0;
    return hook_answer;
}

static void hook_on(enum os_call_kind kind, int answer, int skip)
{
    seen_n = 0;
    hook_kind = kind;
    hook_answer = answer;
    hook_skip = skip;
    os_hook = hook;
}

static size_t seen_of(enum os_call_kind kind)
{
    size_t n = 0;
    for (size_t i = 0; i < seen_n; i++)
        n += seen[i].kind == kind;
    return n;
}

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    const char *tmp = getenv("TMPDIR");
    assert_non_null(w);
    snprintf(w->path, sizeof w->path, "%s/kist-os.XXXXXX", tmp && *tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(w->path));
    assert_int_equal(os_open(OS_AT_CWD, w->path, OS_DIRECTORY, &w->dir), 0);
    assert_int_equal(os_open(w->dir, "f", OS_CREATE | OS_EXCLUSIVE, &w->fd), 0);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    char command[300];
    os_hook = NULL;
    atomic_store(&os_clock_skew_ms, 0);
    os_close(&w->fd);
    os_close(&w->dir);
    snprintf(command, sizeof command, "rm -rf '%s'", w->path);
    assert_int_equal(system(command), 0);
    free(w);
    return 0;
}

static int reap(pid_t child)
{
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

/* -- memory, randomness, clocks -- */

static void memory_can_be_refused_by_the_hook(void **state)
{
    (void)state;
    hook_on(OS_ALLOC, -ENOMEM, 0);
    assert_null(os_alloc(10));
    assert_int_equal(errno, ENOMEM);
    assert_null(os_calloc(10));
    assert_null(os_alloc_aligned(64, 10));
    assert_null(os_fork_guard_new());
    assert_int_equal(seen_of(OS_ALLOC), 4);
    assert_int_equal(seen[0].len, 10);
}

static void no_bytes_are_still_a_block(void **state)
{
    (void)state;
    void *p = os_alloc(0), *q = os_calloc(0), *r = os_alloc_aligned(4096, 0);
    assert_non_null(p);
    assert_non_null(q);
    assert_non_null(r);
    os_free(p);
    os_free(q);
    os_free(r);
    os_free(NULL);
}

static void zeroed_and_aligned_memory_is_so(void **state)
{
    static const uint8_t zero[1000];
    (void)state;
    uint8_t *p = os_calloc(sizeof zero);
    uint8_t *q = os_alloc_aligned(4096, 100);
    assert_memory_equal(p, zero, sizeof zero);
    assert_int_equal((uintptr_t)q % 4096, 0);
    os_free(p);
    os_free(q);
}

static void wiped_memory_is_zero(void **state)
{
    char secret[] = "secret";
    (void)state;
    os_wipe(secret, sizeof secret);
    os_wipe(NULL, 0);
    assert_memory_equal(secret, "\0\0\0\0\0\0", sizeof secret);
}

static void random_bytes_are_fresh_and_all_of_them(void **state)
{
    uint8_t a[1024] = {0}, b[1024] = {0};
    int tail = 0;
    (void)state;
    assert_int_equal(os_random(a, sizeof a), 0);
    assert_int_equal(os_random(b, sizeof b), 0);
    assert_memory_not_equal(a, b, sizeof a);
    for (size_t i = sizeof a - 32; i < sizeof a; i++)
        tail |= a[i];
    assert_int_not_equal(tail, 0);
    hook_on(OS_RANDOM, -EIO, 0);
    assert_int_equal(os_random(a, sizeof a), KIST_EIO);
}

static void the_wall_clock_can_jump_and_the_other_cannot(void **state)
{
    (void)state;
    int64_t wall = os_now_ms(), mono = os_mono_us();
    atomic_store(&os_clock_skew_ms, -86400000);
    assert_true(os_now_ms() < wall - 80000000);
    assert_true(os_mono_us() >= mono);
    assert_true(wall > INT64_C(1600000000000)); /* it is after 2020 */
}

static void a_sleep_lasts_as_long_as_it_says(void **state)
{
    (void)state;
    int64_t before = os_mono_us();
    os_sleep_us(20000);
    assert_true(os_mono_us() - before >= 20000);
    os_sleep_us(0);
    os_sleep_us(-1);
}

/* -- files -- */

static void a_file_is_private_and_closed_on_exec(void **state)
{
    struct world *w = *state;
    struct os_stat st;
    mode_t old = umask(0);
    int fd = -1;
    assert_int_equal(os_open(w->dir, "g", OS_CREATE, &fd), 0);
    assert_int_equal(os_mkdir(w->dir, "d"), 0);
    umask(old);
    assert_int_equal(os_stat(fd, &st), 0);
    assert_int_equal(st.mode & 07777, 0600);
    assert_int_equal(st.links, 1);
    assert_int_equal(st.owner, geteuid());
    assert_int_equal(os_stat_at(w->dir, "d", &st), 0);
    assert_int_equal(st.mode & 07777, 0700);
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fdinfo/%d", fd);
    FILE *info = fopen(link, "r");
    assert_non_null(info);
    unsigned flags = 0;
    for (char line[128]; fgets(line, sizeof line, info);)
        if (strncmp(line, "flags:", 6) == 0)
            flags = (unsigned)strtoul(line + 6, NULL, 8);
    fclose(info);
    assert_true(flags & 02000000); /* O_CLOEXEC */
    os_close(&fd);
    assert_int_equal(fd, -1);
    os_close(&fd);
}

static void opening_says_why_it_cannot(void **state)
{
    struct world *w = *state;
    struct os_stat st;
    int fd = 77;
    assert_int_equal(os_open(w->dir, "none", 0, &fd), KIST_ENOSTORE);
    assert_int_equal(os_open(w->dir, "f", OS_CREATE | OS_EXCLUSIVE, &fd), KIST_EEXIST);
    assert_int_equal(os_open(w->dir, "f", OS_DIRECTORY, &fd), KIST_ENOSTORE);
    assert_int_equal(os_stat_at(w->dir, "none", &st), KIST_ENOSTORE);
    assert_int_equal(symlinkat("f", w->dir, "link"), 0);
    assert_true(os_open(w->dir, "link", OS_NOFOLLOW, &fd) < 0);
    hook_on(OS_OPEN, -EMFILE, 0);
    assert_int_equal(os_open(w->dir, "f", 0, &fd), KIST_EFDS);
    assert_int_equal(fd, 77);
}

static void a_read_only_file_takes_no_writes(void **state)
{
    struct world *w = *state;
    int fd = -1;
    assert_int_equal(os_open(w->dir, "f", OS_READONLY, &fd), 0);
    assert_int_equal(os_write(fd, "x", 1, 0), KIST_EIO);
    os_close(&fd);
}

static void what_was_written_is_read_and_the_end_is_told(void **state)
{
    struct world *w = *state;
    char p[10] = "";
    size_t n = 99;
    assert_int_equal(os_write(w->fd, "hello", 5, 3), 0);
    assert_int_equal(os_read(w->fd, p, sizeof p, 0, &n), 0);
    assert_int_equal(n, 8);
    assert_memory_equal(p, "\0\0\0hello", 8);
    assert_int_equal(os_read(w->fd, p, sizeof p, 100, &n), 0);
    assert_int_equal(n, 0);
    assert_int_equal(os_write(w->fd, NULL, 0, 0), 0);
}

static void short_transfers_go_on_to_the_end(void **state)
{
    struct world *w = *state;
    char p[10];
    size_t n = 0;
    hook_on(OS_WRITE, 3, 0);
    assert_int_equal(os_write(w->fd, "0123456789", 10, 5), 0);
    assert_int_equal(seen_of(OS_WRITE), 4);
    assert_int_equal(seen[3].offset, 14);
    assert_int_equal(seen[3].len, 1);
    hook_on(OS_READ, 1, 0);
    assert_int_equal(os_read(w->fd, p, sizeof p, 5, &n), 0);
    assert_int_equal(seen_of(OS_READ), 10);
    assert_int_equal(n, 10);
    assert_memory_equal(p, "0123456789", 10);
}

static void a_write_may_fail_half_way(void **state)
{
    struct world *w = *state;
    struct os_stat st;
    hook_on(OS_WRITE, 4, 0);
    assert_int_equal(os_write(w->fd, "0123", 4, 0), 0);
    hook_on(OS_WRITE, -ENOSPC, 0);
    assert_int_equal(os_write(w->fd, "4567", 4, 4), KIST_ENOSPC);
    assert_int_equal(errno, ENOSPC);
    os_hook = NULL;
    assert_int_equal(os_stat(w->fd, &st), 0);
    assert_int_equal(st.size, 4);
}

static int interrupt_twice(const struct os_call *call)
{
    if ((call->kind == OS_READ || call->kind == OS_WRITE) && hook_skip-- > 0)
        return -EINTR;
    return 0;
}

static void an_interrupted_transfer_is_tried_again(void **state)
{
    struct world *w = *state;
    char p[3];
    size_t n = 0;
    os_hook = interrupt_twice;
    hook_skip = 2;
    assert_int_equal(os_write(w->fd, "abc", 3, 0), 0);
    hook_skip = 2;
    assert_int_equal(os_read(w->fd, p, 3, 0, &n), 0);
    assert_memory_equal(p, "abc", 3);
}

static void a_failed_read_leaves_the_count_alone(void **state)
{
    struct world *w = *state;
    char p[4];
    size_t n = 1234;
    assert_int_equal(os_write(w->fd, "abcd", 4, 0), 0);
    hook_on(OS_READ, -EIO, 0);
    assert_int_equal(os_read(w->fd, p, 4, 0, &n), KIST_EIO);
    assert_int_equal(n, 1234);
}

static void offsets_beyond_the_kernels_are_refused(void **state)
{
    struct world *w = *state;
    char p[4] = "";
    size_t n = 0;
    assert_int_equal(os_write(w->fd, p, 4, UINT64_MAX), KIST_ENOSPC);
    assert_int_equal(os_write(w->fd, p, 4, INT64_MAX - 2), KIST_ENOSPC);
    assert_true(os_read(w->fd, p, 4, UINT64_MAX - 1, &n) < 0);
    assert_int_equal(os_truncate(w->fd, UINT64_MAX), KIST_ENOSPC);
    assert_int_equal(os_reserve(w->fd, UINT64_MAX, 10), KIST_ENOSPC);
}

static void room_is_set_aside_and_cut_off(void **state)
{
    struct world *w = *state;
    struct os_stat st;
    int rc = os_reserve(w->fd, 0, 1 << 20);
    assert_true(rc == 0 || rc == KIST_ENOTSUP);
    if (rc == 0) {
        assert_int_equal(os_stat(w->fd, &st), 0);
        assert_int_equal(st.size, 1 << 20);
        assert_true(st.blocks >= 1 << 20);
    }
    assert_int_equal(os_truncate(w->fd, 100), 0);
    assert_int_equal(os_stat(w->fd, &st), 0);
    assert_int_equal(st.size, 100);
    hook_on(OS_RESERVE, -EOPNOTSUPP, 0);
    assert_int_equal(os_reserve(w->fd, 0, 10), KIST_ENOTSUP);
}

static void names_move_and_go(void **state)
{
    struct world *w = *state;
    struct os_stat before, after;
    assert_int_equal(os_stat_at(w->dir, "f", &before), 0);
    assert_int_equal(os_rename(w->dir, "f", "g"), 0);
    assert_int_equal(os_stat_at(w->dir, "g", &after), 0);
    assert_int_equal(after.inode, before.inode);
    assert_int_equal(os_stat_at(w->dir, "f", &after), KIST_ENOSTORE);
    assert_int_equal(os_sync(w->fd), 0);
    assert_int_equal(os_sync_dir(w->dir), 0);
    assert_int_equal(os_unlink(w->dir, "g"), 0);
    assert_int_equal(os_unlink(w->dir, "g"), KIST_ENOSTORE);
    assert_int_equal(os_mkdir(w->dir, "d"), 0);
    assert_int_equal(os_mkdir(w->dir, "d"), KIST_EEXIST);
}

static int count_entry(const char *name, void *ctx)
{
    assert_int_not_equal(name[0], '.');
    return ++*(int *)ctx == 3 ? 42 : 0;
}

static void a_directory_is_listed_each_time_anew(void **state)
{
    struct world *w = *state;
    int n = 0;
    assert_int_equal(os_mkdir(w->dir, "a"), 0);
    assert_int_equal(os_list(w->dir, count_entry, &n), 0);
    assert_int_equal(n, 2);
    n = 0;
    assert_int_equal(os_list(w->dir, count_entry, &n), 0);
    assert_int_equal(n, 2);
    assert_int_equal(os_mkdir(w->dir, "b"), 0);
    assert_int_equal(os_mkdir(w->dir, "c"), 0);
    n = 0;
    assert_int_equal(os_list(w->dir, count_entry, &n), 42);
    assert_int_equal(n, 3);
}

static void a_map_shows_the_file(void **state)
{
    struct world *w = *state;
    void *p = NULL;
    char back[4];
    size_t n = 0;
    assert_int_equal(os_truncate(w->fd, 4096), 0);
    assert_int_equal(os_map(w->fd, 4096, true, &p), 0);
    memcpy(p, "maps", 4);
    assert_int_equal(os_read(w->fd, back, 4, 0, &n), 0);
    assert_memory_equal(back, "maps", 4);
    os_unmap(p, 4096);
    os_unmap(NULL, 4096);
    p = back;
    hook_on(OS_MAP, -ENOMEM, 0);
    assert_int_equal(os_map(w->fd, 4096, true, &p), KIST_ENOMEM);
    assert_ptr_equal(p, back);
}

/* Every call by which the disk may fail, as the hook makes it fail. */
static void every_call_of_the_disk_can_fail(void **state)
{
    struct world *w = *state;
    struct os_stat st;
    int n = 0;
    bool held;
    hook_on(OS_SYNC, -EIO, 0);
    assert_int_equal(os_sync(w->fd), KIST_EIO);
    hook_on(OS_SYNC_DIR, -EIO, 0);
    assert_int_equal(os_sync_dir(w->dir), KIST_EIO);
    hook_on(OS_RENAME, -ENOSPC, 0);
    assert_int_equal(os_rename(w->dir, "f", "g"), KIST_ENOSPC);
    assert_string_equal(seen[0].name, "f");
    assert_string_equal(seen[0].to, "g");
    hook_on(OS_UNLINK, -EROFS, 0);
    assert_int_equal(os_unlink(w->dir, "f"), KIST_EDENIED);
    hook_on(OS_MKDIR, -ENOSPC, 0);
    assert_int_equal(os_mkdir(w->dir, "d"), KIST_ENOSPC);
    hook_on(OS_TRUNCATE, -EIO, 0);
    assert_int_equal(os_truncate(w->fd, 0), KIST_EIO);
    hook_on(OS_STAT, -EIO, 0);
    assert_int_equal(os_stat(w->fd, &st), KIST_EIO);
    assert_int_equal(os_stat_at(w->dir, "f", &st), KIST_EIO);
    hook_on(OS_LIST, -EIO, 0);
    assert_int_equal(os_list(w->dir, count_entry, &n), KIST_EIO);
    hook_on(OS_LOCK, -EAGAIN, 0);
    assert_int_equal(os_lock_try(w->fd, 0, OS_SHARED), KIST_EBUSY);
    assert_int_equal(os_lock_wait(w->fd, 0, OS_SHARED), KIST_EBUSY);
    assert_int_equal(os_lock_held(w->fd, 0, &held), KIST_EBUSY);
    os_hook = NULL;
    assert_int_equal(os_stat_at(w->dir, "f", &st), 0);
}

/* -- locks -- */

static void two_handles_in_one_process_exclude_each_other(void **state)
{
    struct world *w = *state;
    int other = -1;
    bool held = false;
    assert_int_equal(os_open(w->dir, "f", 0, &other), 0);
    assert_int_equal(os_lock_try(w->fd, 5, OS_EXCLUSIVE_LOCK), 0);
    assert_int_equal(os_lock_try(other, 5, OS_EXCLUSIVE_LOCK), KIST_EBUSY);
    assert_int_equal(os_lock_try(other, 5, OS_SHARED), KIST_EBUSY);
    assert_int_equal(os_lock_held(other, 5, &held), 0);
    assert_true(held);
    assert_int_equal(os_lock_held(w->fd, 5, &held), 0);
    assert_false(held); /* one's own lock does not refuse one */
    assert_int_equal(os_lock_try(other, 6, OS_EXCLUSIVE_LOCK), 0);
    os_unlock(w->fd, 5);
    assert_int_equal(os_lock_try(other, 5, OS_EXCLUSIVE_LOCK), 0);
    os_close(&other);
}

static void closing_another_handle_keeps_the_lock(void **state)
{
    struct world *w = *state;
    int second = -1, third = -1;
    assert_int_equal(os_lock_try(w->fd, 0, OS_EXCLUSIVE_LOCK), 0);
    assert_int_equal(os_open(w->dir, "f", 0, &second), 0);
    os_close(&second); /* the trap of classic POSIX locks */
    assert_int_equal(os_open(w->dir, "f", 0, &third), 0);
    assert_int_equal(os_lock_try(third, 0, OS_EXCLUSIVE_LOCK), KIST_EBUSY);
    os_close(&third);
}

static void shared_locks_go_together(void **state)
{
    struct world *w = *state;
    int other = -1;
    assert_int_equal(os_open(w->dir, "f", 0, &other), 0);
    assert_int_equal(os_lock_try(w->fd, 1, OS_SHARED), 0);
    assert_int_equal(os_lock_try(other, 1, OS_SHARED), 0);
    assert_int_equal(os_lock_try(other, 1, OS_EXCLUSIVE_LOCK), KIST_EBUSY);
    os_unlock(w->fd, 1);
    assert_int_equal(os_lock_try(other, 1, OS_EXCLUSIVE_LOCK), 0);
    os_close(&other);
}

/* A child that holds byte 9 exclusively until it is killed; it has said so when this returns. */
static pid_t child_with_lock(struct world *w)
{
    int ready[2];
    char c;
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        alarm(20);
        int fd = -1;
        if (os_open(w->dir, "f", 0, &fd) || os_lock_try(fd, 9, OS_EXCLUSIVE_LOCK))
            _exit(1);
        (void)!write(ready[1], "x", 1);
        for (;;)
            pause();
    }
    assert_true(child > 0);
    close(ready[1]);
    assert_int_equal(read(ready[0], &c, 1), 1);
    close(ready[0]);
    return child;
}

static void a_killed_process_frees_its_locks(void **state)
{
    struct world *w = *state;
    pid_t child = child_with_lock(w);
    assert_int_equal(os_lock_try(w->fd, 9, OS_EXCLUSIVE_LOCK), KIST_EBUSY);
    kill(child, SIGKILL);
    assert_true(WIFSIGNALED(reap(child)));
    assert_int_equal(os_lock_try(w->fd, 9, OS_EXCLUSIVE_LOCK), 0);
}

static void a_waiter_gets_the_lock_when_its_holder_is_killed(void **state)
{
    struct world *w = *state;
    pid_t child = child_with_lock(w);
    pid_t killer = fork();
    if (killer == 0) {
        alarm(20);
        os_sleep_us(50000);
        kill(child, SIGKILL);
        _exit(0);
    }
    int64_t before = os_mono_us();
    assert_int_equal(os_lock_wait(w->fd, 9, OS_EXCLUSIVE_LOCK), 0);
    assert_true(os_mono_us() - before < 5000000);
    reap(child);
    reap(killer);
}

/* -- futexes and fork -- */

static _Atomic uint32_t *shared_word(void)
{
    void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(p, MAP_FAILED);
    return p;
}

static void a_futex_wakes_another_process(void **state)
{
    _Atomic uint32_t *word = shared_word();
    (void)state;
    pid_t child = fork();
    if (child == 0) {
        alarm(20);
        while (atomic_load(word) == 0)
            os_futex_wait(word, 0, -1, true);
        _exit(7);
    }
    os_sleep_us(30000); /* most likely it sleeps by now; if not, it must not need to be woken */
    atomic_store(word, 1);
    os_futex_wake(word, 1, true);
    int status = reap(child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 7);
    munmap((void *)(uintptr_t)word, 4096);
}

static void a_futex_wait_ends_in_time_or_at_once(void **state)
{
    _Atomic uint32_t word = 1;
    (void)state;
    int64_t before = os_mono_us();
    os_futex_wait(&word, 1, 20000, false);
    int64_t waited = os_mono_us() - before;
    assert_true(waited >= 19000 && waited < 5000000);
    before = os_mono_us();
    os_futex_wait(&word, 0, 10000000, false); /* it is not 0 any more: no sleep */
    assert_true(os_mono_us() - before < 5000000);
}

/* Has the map that p is in this flag of smaps? */
static bool map_has_flag(const void *p, const char *flag)
{
    FILE *f = fopen("/proc/self/smaps", "r");
    char line[512];
    bool here = false, has = false;
    assert_non_null(f);
    while (fgets(line, sizeof line, f)) {
        unsigned long start, end;
        if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
            here = (uintptr_t)p >= start && (uintptr_t)p < end;
        else if (here && strncmp(line, "VmFlags:", 8) == 0)
            has = strstr(line, flag) != NULL;
    }
    fclose(f);
    return has;
}

static void pages_are_zero_aligned_and_in_no_core(void **state)
{
    enum { SIZE = 3 * 65536, ALIGN = 2 << 20 };
    (void)state;
    for (unsigned round = 0; round < 8; round++) {
        size_t align = round % 2 ? ALIGN : 0;
        uint8_t *p = os_pages_alloc(SIZE, align), *q = os_pages_alloc(4096, 65536);
        assert_non_null(p);
        assert_non_null(q);
        assert_true(align == 0 || (uintptr_t)p % align == 0);
        assert_int_equal((uintptr_t)q % 65536, 0);
        for (size_t i = 0; i < SIZE; i++)
            assert_int_equal(p[i], 0);
        memset(p, 'x', SIZE);
        assert_true(map_has_flag(p, " dd"));
        assert_true(map_has_flag(p + SIZE - 1, " dd"));
        os_pages_huge(p, SIZE, round % 3);
        os_pages_drop(p + 65536, 65536);
        assert_int_equal(p[65535], 'x');
        assert_int_equal(p[65536], 0);
        assert_int_equal(p[2 * 65536 - 1], 0);
        assert_int_equal(p[2 * 65536], 'x');
        os_pages_free(q, 4096);
        assert_int_equal(p[0], 'x');
        os_pages_free(p, SIZE);
    }
    os_pages_free(NULL, 4096);
}

static void pages_can_be_refused_by_the_hook(void **state)
{
    (void)state;
    hook_on(OS_ALLOC, -ENOMEM, 1);
    void *p = os_pages_alloc(8192, 0);
    assert_non_null(p);
    assert_null(os_pages_alloc(8192, 65536));
    assert_int_equal(seen_of(OS_ALLOC), 2);
    assert_int_equal(seen[1].len, 8192);
    os_hook = NULL;
    os_pages_free(p, 8192);
}

static uintptr_t stack_left; /* where a call that has returned left it */

static __attribute__((noinline)) void stack_leave(void)
{
    volatile uint8_t secret[64];
    for (size_t i = 0; i < sizeof secret; i++)
        secret[i] = 0xa7;
    stack_left = (uintptr_t)secret;
}

static __attribute__((noinline)) unsigned stack_count(void)
{
    unsigned n = 0;
    int fd = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
    uint8_t copy[64] = {0};
    assert_int_equal(pread(fd, copy, sizeof copy, (off_t)stack_left), sizeof copy);
    for (size_t i = 0; i < sizeof copy; i++)
        n += copy[i] == 0xa7;
    close(fd);
    return n;
}

static void a_wiped_stack_holds_nothing_of_earlier_calls(void **state)
{
    (void)state;
#ifdef KIST_SANITIZED
    skip(); /* its frames are not on the stack */
#endif
    stack_leave();
    os_wipe_stack();
    assert_true(stack_count() < 8); /* the count's own calls write there too */
}

static void a_child_sees_that_it_is_one(void **state)
{
    const _Atomic uint32_t *guard = os_fork_guard_new();
    (void)state;
    assert_non_null(guard);
    assert_int_equal(*guard, 1);
    pid_t child = fork();
    if (child == 0)
        _exit(*guard == 0 ? 0 : 1);
    assert_int_equal(reap(child), 0);
    assert_int_equal(*guard, 1);
    os_fork_guard_free(&guard);
    assert_null(guard);
    os_fork_guard_free(&guard);
}

static void an_empty_variable_is_an_unset_one(void **state)
{
    (void)state;
    assert_int_equal(setenv("KIST_TEST_OS", "value", 1), 0);
    assert_string_equal(os_getenv("KIST_TEST_OS"), "value");
    assert_int_equal(setenv("KIST_TEST_OS", "", 1), 0);
    assert_null(os_getenv("KIST_TEST_OS"));
    assert_int_equal(unsetenv("KIST_TEST_OS"), 0);
    assert_null(os_getenv("KIST_TEST_OS"));
}

#define WORLD(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD(memory_can_be_refused_by_the_hook),
        WORLD(no_bytes_are_still_a_block),
        WORLD(zeroed_and_aligned_memory_is_so),
        WORLD(wiped_memory_is_zero),
        WORLD(pages_are_zero_aligned_and_in_no_core),
        WORLD(pages_can_be_refused_by_the_hook),
        WORLD(a_wiped_stack_holds_nothing_of_earlier_calls),
        WORLD(random_bytes_are_fresh_and_all_of_them),
        WORLD(the_wall_clock_can_jump_and_the_other_cannot),
        WORLD(a_sleep_lasts_as_long_as_it_says),
        WORLD(a_file_is_private_and_closed_on_exec),
        WORLD(opening_says_why_it_cannot),
        WORLD(a_read_only_file_takes_no_writes),
        WORLD(what_was_written_is_read_and_the_end_is_told),
        WORLD(short_transfers_go_on_to_the_end),
        WORLD(a_write_may_fail_half_way),
        WORLD(an_interrupted_transfer_is_tried_again),
        WORLD(a_failed_read_leaves_the_count_alone),
        WORLD(offsets_beyond_the_kernels_are_refused),
        WORLD(room_is_set_aside_and_cut_off),
        WORLD(names_move_and_go),
        WORLD(a_directory_is_listed_each_time_anew),
        WORLD(a_map_shows_the_file),
        WORLD(every_call_of_the_disk_can_fail),
        WORLD(two_handles_in_one_process_exclude_each_other),
        WORLD(closing_another_handle_keeps_the_lock),
        WORLD(shared_locks_go_together),
        WORLD(a_killed_process_frees_its_locks),
        WORLD(a_waiter_gets_the_lock_when_its_holder_is_killed),
        WORLD(a_futex_wakes_another_process),
        WORLD(a_futex_wait_ends_in_time_or_at_once),
        WORLD(a_child_sees_that_it_is_one),
        WORLD(an_empty_variable_is_an_unset_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
