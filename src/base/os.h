/* Everything kist asks of the outside world: memory, randomness, clocks, files, locks, futexes.
 *
 * The one seam that tests replace. In a testing build (-DKIST_TESTING) every call first asks os_hook, which
 * may record it, make it fail, or cut a transfer short; in a release build the hook does not exist.
 * Fallible calls return 0 or a negative KIST_E…, with errno left as the system set it. EINTR is retried here. */
#ifndef KIST_BASE_OS_H
#define KIST_BASE_OS_H

#include "base/error.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* -- the seam -- */

enum os_call_kind {
    OS_ALLOC,
    OS_RANDOM,
    OS_OPEN,
    OS_CLOSE,
    OS_READ,
    OS_WRITE,
    OS_SYNC,
    OS_SYNC_DIR,
    OS_RENAME,
    OS_UNLINK,
    OS_MKDIR,
    OS_TRUNCATE,
    OS_RESERVE,
    OS_STAT,
    OS_MAP,
    OS_LOCK,
    OS_LIST,
};

struct os_call {
    enum os_call_kind kind;
    int fd;           /* of the file, or of the directory for the calls by name; -1 if none */
    const char *name; /* path or name, or NULL */
    const char *to;   /* rename: the new name */
    const void *data; /* write: the bytes */
    uint64_t offset;
    size_t len;
};

#ifdef KIST_TESTING
/* 0: go on. Negative -errno: fail so. Positive n (read, write only): transfer at most n bytes this time. */
extern int (*os_hook)(const struct os_call *call);
/* Added to the wall clock, in milliseconds: clocks that jump. */
extern _Atomic int64_t os_clock_skew_ms;
#endif

/* -- memory -- */

void *os_alloc(size_t size) __attribute__((malloc));  /* uninitialised; NULL when there is none */
void *os_calloc(size_t size) __attribute__((malloc)); /* zeroed */
void *os_alloc_aligned(size_t align, size_t size);    /* os_free() frees it */
void os_free(void *p);
void os_wipe(void *p, size_t len); /* not optimised away */
void os_wipe_stack(void);          /* what calls that have returned left on this thread's stack, 32 KiB deep */
/* Whole zeroed pages that no core shows; NULL when there are none. size and align are multiples of 4096, align a power of two
 * or 0. Freeing or dropping forgets the content (no need to wipe); dropped pages stay usable, and are zero when next touched. */
void *os_pages_alloc(size_t size, size_t align);
void os_pages_huge(void *p, size_t size, bool wanted); /* whether the kernel is to back [p, p + size) with huge pages */
void os_pages_drop(void *p, size_t size);
void os_pages_free(void *p, size_t size); /* the size that was asked for; NULL is fine */

/* -- randomness and time -- */

/* Fresh from the kernel each time, never from a pool of ours: a pool would repeat itself in a cloned VM. */
int os_random(void *p, size_t len) KIST_MUST_USE;
int64_t os_now_ms(void);  /* wall clock, since 1970, may jump */
int64_t os_mono_us(void); /* monotonic, for timeouts */
void os_sleep_us(int64_t us);

/* -- files; names are relative to an open directory -- */

enum { OS_CREATE = 1, OS_EXCLUSIVE = 2, OS_READONLY = 4, OS_DIRECTORY = 8, OS_NOFOLLOW = 16 };

struct os_stat {
    uint64_t size;   /* bytes */
    uint64_t blocks; /* bytes really allocated */
    uint64_t device, inode;
    uint32_t mode, links, owner;
};

#define OS_AT_CWD (-100)

/* Mode 0600 when created (0700 for directories made by os_mkdir); always close-on-exec. */
int os_open(int dir, const char *name, int flags, int *out_fd) KIST_MUST_USE;
void os_close(int *fd); /* sets it to -1; -1 is fine */
/* As much of [offset, offset+len) as the file has; *out_n < len only at its end. */
int os_read(int fd, void *p, size_t len, uint64_t offset, size_t *out_n) KIST_MUST_USE;
/* All of it or an error (a short write goes on). */
int os_write(int fd, const void *p, size_t len, uint64_t offset) KIST_MUST_USE;
int os_sync(int fd) KIST_MUST_USE;     /* fdatasync */
int os_sync_dir(int fd) KIST_MUST_USE; /* fsync of a directory or of a file with its metadata */
int os_rename(int dir, const char *from, const char *to) KIST_MUST_USE;
int os_unlink(int dir, const char *name) KIST_MUST_USE;
int os_mkdir(int dir, const char *name) KIST_MUST_USE;
int os_truncate(int fd, uint64_t size) KIST_MUST_USE;
/* Have the file system set aside [offset, offset+len) (fallocate, growing the file); KIST_ENOTSUP where it cannot. */
int os_reserve(int fd, uint64_t offset, uint64_t len) KIST_MUST_USE;
int os_stat(int fd, struct os_stat *out) KIST_MUST_USE;
int os_stat_at(int dir, const char *name, struct os_stat *out) KIST_MUST_USE; /* KIST_ENOSTORE if missing */
/* Call each(name, ctx) for every entry but . and ..; stops at the first non-zero answer and returns it. */
int os_list(int dir, int (*each)(const char *name, void *ctx), void *ctx) KIST_MUST_USE;
/* Map [0, len) shared; writable or not. */
int os_map(int fd, size_t len, bool writable, void **out) KIST_MUST_USE;
void os_unmap(void *p, size_t len);
/* Copy out of a file's map under a guard: KIST_EIO instead of SIGBUS when the file shrank or the disk failed. The first call of
 * os_map_guard() installs a SIGBUS handler for the process that passes on what is not ours. False: it is not in place, because
 * the program has set one of its own since; then do not map. */
bool os_map_guard(void) KIST_MUST_USE;
int os_map_copy(void *to, const void *from, size_t len) KIST_MUST_USE;

/* -- kernel locks on one byte of a file: owned by the open file, so that two handles in one process exclude
 *    each other too; gone with the process, however it ends (F_OFD_SETLK) -- */

enum os_lock { OS_SHARED, OS_EXCLUSIVE_LOCK };

int os_lock_try(int fd, uint64_t byte, enum os_lock kind) KIST_MUST_USE;  /* KIST_EBUSY if held */
int os_lock_wait(int fd, uint64_t byte, enum os_lock kind) KIST_MUST_USE; /* as long as it takes */
void os_unlock(int fd, uint64_t byte);
/* Would an exclusive lock be refused now? */
int os_lock_held(int fd, uint64_t byte, bool *out_held) KIST_MUST_USE;

/* -- futexes: on shared maps too (across processes) -- */

/* Sleep while *word == seen, at most timeout_us (< 0: for ever). Wakes spuriously. */
void os_futex_wait(_Atomic uint32_t *word, uint32_t seen, int64_t timeout_us, bool shared);
void os_futex_wake(_Atomic uint32_t *word, int count, bool shared);

/* -- fork: a page that is empty in the child -- */

/* A word that is 1 in this process and 0 in its children (MADV_WIPEONFORK); NULL when out of memory. */
const _Atomic uint32_t *os_fork_guard_new(void);
void os_fork_guard_free(const _Atomic uint32_t **guard);

/* Cores off for this process (prctl) — the program's choice, never the library's. */
void os_cores_off(void);
const char *os_getenv(const char *name); /* NULL when unset or empty, or when running setuid */

#endif
