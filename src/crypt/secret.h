/* Memory for secrets: guarded, locked, kept out of cores, wiped on release and empty in a child of
 * fork(). Also where libsodium is started. */
#ifndef KIST_CRYPT_SECRET_H
#define KIST_CRYPT_SECRET_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

/* Start libsodium, once a process. Any thread, any number of times. KIST_EIO when it cannot start.
 * Everything in crypt/ that makes or opens a key calls it; call it yourself only before a
 * seal_begin() with a key of your own. */
int secret_init(void) KIST_MUST_USE;

/* len (> 0) bytes between guard pages, 16-byte aligned, zeroed. A few pages each: for keys, not for
 * data. KIST_ENOMEM. Where locking is refused (RLIMIT_MEMLOCK) the memory is still guarded and
 * wiped. */
int secret_new(size_t len, void **out) KIST_MUST_USE;
/* Wipe, free, set *p to NULL; NULL is fine. Aborts when somebody wrote beyond the end, and in a
 * child for what its parent made: leave that alone. */
void secret_free(void **p);

#ifdef KIST_TESTING
/* How many are not freed yet: leak checkers do not see libsodium's pages. */
size_t secret_live(void);
#endif

/* In constant time. */
bool secret_equal(const void *a, const void *b, size_t len);

/* Best effort for a plain buffer that will hold plaintext: keep its pages in memory and out of
 * cores. Whole pages are affected, so give it buffers that own their pages. True when the pages are
 * locked. */
bool secret_lock_memory(void *p, size_t len);
/* The opposite, before the buffer is freed: wipe it, let the kernel have the pages back. */
void secret_unlock_memory(void *p, size_t len);

#endif
