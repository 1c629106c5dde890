/* os_sync.c: what keeps threads and processes out of each other's way: kernel locks, futexes, the
 * fork guard.
 *
 * Locks are open-file-description locks (F_OFD_*). Classic POSIX locks belong to the process: two
 * handles in one process would both get them, and closing any descriptor of the file would drop
 * them. flock(2) has one lock a file; we need several bytes. All of them vanish with the last
 * descriptor, so a killed process leaves nothing behind and no lock file is ever deleted. Unlocking
 * and waking cannot fail, and the hook is not asked about them. */
#include "base/os_hook.h"

#include <assert.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* -- locks -- */

static int sync_fcntl(int fd, int command, uint64_t byte, short type, struct flock *out)
{
    int r;
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = (off_t)byte, .l_len = 1};
    assert(byte <= INT64_MAX - 1);
    do
        r = fcntl(fd, command, &lock);
    while (r < 0 && errno == EINTR);
    if (r >= 0 && out)
        *out = lock;
    return r;
}

static int sync_lock(int fd, int command, uint64_t byte, enum os_lock kind)
{
    if (OS_HOOK_ASK(.kind = OS_LOCK, .fd = fd, .offset = byte, .len = 1) < 0)
        return error_from_errno(errno);
    if (sync_fcntl(fd, command, byte, kind == OS_SHARED ? F_RDLCK : F_WRLCK, NULL) == 0)
        return 0;
    /* POSIX lets a held lock be reported as EACCES, which elsewhere means a missing right. */
    return errno == EACCES ? KIST_EBUSY : error_from_errno(errno);
}

int os_lock_try(int fd, uint64_t byte, enum os_lock kind)
{
    return sync_lock(fd, F_OFD_SETLK, byte, kind);
}

int os_lock_wait(int fd, uint64_t byte, enum os_lock kind)
{
    return sync_lock(fd, F_OFD_SETLKW, byte, kind);
}

void os_unlock(int fd, uint64_t byte)
{
    (void)sync_fcntl(fd, F_OFD_SETLK, byte, F_UNLCK, NULL);
}

int os_lock_held(int fd, uint64_t byte, bool *out_held)
{
    struct flock found;
    if (OS_HOOK_ASK(.kind = OS_LOCK, .fd = fd, .offset = byte, .len = 1) < 0 ||
        sync_fcntl(fd, F_OFD_GETLK, byte, F_WRLCK, &found) < 0)
        return error_from_errno(errno);
    *out_held = found.l_type != F_UNLCK;
    return 0;
}

/* -- futexes -- */

_Static_assert(sizeof(_Atomic uint32_t) == 4, "a futex word is 4 bytes, without a lock beside it");

void os_futex_wait(_Atomic uint32_t *word, uint32_t seen, int64_t timeout_us, bool shared)
{
    struct timespec t = {.tv_sec = timeout_us / 1000000, .tv_nsec = timeout_us % 1000000 * 1000};
    int op = shared ? FUTEX_WAIT : FUTEX_WAIT | FUTEX_PRIVATE_FLAG;
    (void)syscall(SYS_futex, word, op, seen, timeout_us < 0 ? NULL : &t, NULL, 0);
}

void os_futex_wake(_Atomic uint32_t *word, int count, bool shared)
{
    int op = shared ? FUTEX_WAKE : FUTEX_WAKE | FUTEX_PRIVATE_FLAG;
    (void)syscall(SYS_futex, word, op, count, NULL, NULL, 0);
}

/* -- fork -- */

static size_t sync_page_size(void)
{
    long n = sysconf(_SC_PAGESIZE);
    assert(n > 0);
    return (size_t)n;
}

const _Atomic uint32_t *os_fork_guard_new(void)
{
    size_t size = sync_page_size();
    if (OS_HOOK_ASK(.kind = OS_ALLOC, .fd = -1, .len = size) < 0)
        return NULL;
    void *page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        return NULL;
    if (madvise(page, size, MADV_WIPEONFORK) < 0) {
        (void)munmap(page, size);
        return NULL;
    }
    _Atomic uint32_t *word = page;
    atomic_store(word, 1);
    return word;
}

void os_fork_guard_free(const _Atomic uint32_t **guard)
{
    if (!*guard)
        return;
    (void)munmap((void *)(uintptr_t)*guard, sync_page_size());
    *guard = NULL;
}
