/* secret.c: memory that keys live in.
 *
 * libsodium's guarded allocator does the work: an inaccessible page before and after, a canary,
 * mlock, MADV_DONTDUMP, and a wipe on release. We add zeroes instead of its 0xdb filling (a struct
 * in it starts out empty), an alignment (it puts the end of the block at the end of a page, so an
 * odd length would misplace a struct) and the test seam: libsodium allocates by itself, so os_hook
 * is asked here.
 *
 * A child of fork() gets these pages empty (MADV_WIPEONFORK): it has no use for the keys, and locks
 * are not inherited, so they could be swapped out for as long as it lives. It must not release
 * them: libsodium would miss its canary.
 *
 * Locking is a wish. A container with RLIMIT_MEMLOCK 0 must still open its store, so a refused
 * mlock is no error; who cares asks secret_lock_memory(), which answers.
 *
 * Dropped: read-only protection of key pages after use (sodium_mprotect_readonly). A keyring
 * changes under rotation while others read it, and a system call around every change bought nothing
 * that the guard pages do not. */
#include "crypt/secret.h"

#include "base/os.h"

#include <assert.h>
#include <sodium.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#define SECRET_ALIGN 16

#ifdef KIST_TESTING
static _Atomic size_t secret_count;

size_t secret_live(void)
{
    return secret_count;
}
#endif

int secret_init(void)
{
    return sodium_init() < 0 ? KIST_EIO : 0; /* locks inside; 1 when somebody was first */
}

/* Does the test want this allocation to fail? */
static bool secret_refused(size_t len)
{
#ifdef KIST_TESTING
    struct os_call call = {.kind = OS_ALLOC, .fd = -1, .len = len};
    return os_hook && os_hook(&call) < 0;
#else
    (void)len;
    return false;
#endif
}

/* The whole pages that [p, p + len) touches. */
static void *secret_pages(void *p, size_t len, size_t *out_len)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t first = (uintptr_t)p & ~(page - 1);
    uintptr_t end = ((uintptr_t)p + len + page - 1) & ~(page - 1);
    *out_len = end - first;
    return (char *)p - ((uintptr_t)p - first);
}

int secret_new(size_t len, void **out)
{
    assert(len > 0 && len < SIZE_MAX / 2);
    int rc = secret_init();
    if (rc)
        return rc;
    size_t size = (len + SECRET_ALIGN - 1) & ~(size_t)(SECRET_ALIGN - 1);
    void *p = secret_refused(size) ? NULL : sodium_malloc(size);
    if (!p)
        return KIST_ENOMEM;
    size_t whole;
    void *first = secret_pages(p, size, &whole);
    /* A wish, too: Linux before 4.14 lacks it, and there no store opens (os_fork_guard_new). */
    (void)madvise(first, whole, MADV_WIPEONFORK);
    sodium_memzero(p, size);
#ifdef KIST_TESTING
    secret_count++;
#endif
    *out = p;
    return 0;
}

void secret_free(void **p)
{
#ifdef KIST_TESTING
    secret_count -= *p != NULL;
#endif
    sodium_free(*p); /* wipes */
    *p = NULL;
}

bool secret_equal(const void *a, const void *b, size_t len)
{
    return sodium_memcmp(a, b, len) == 0;
}

bool secret_lock_memory(void *p, size_t len)
{
    size_t size;
    if (len == 0)
        return true;
    void *first = secret_pages(p, len, &size);
    (void)madvise(first, size, MADV_DONTDUMP); /* best effort, as all of this */
    return mlock(first, size) == 0;
}

void secret_unlock_memory(void *p, size_t len)
{
    size_t size;
    if (len == 0)
        return;
    sodium_memzero(p, len);
    void *first = secret_pages(p, len, &size);
    (void)madvise(first, size, MADV_DODUMP);
    (void)munlock(first, size);
}
