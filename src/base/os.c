/* os.c: memory, randomness, clocks and the process itself.
 *
 * With os_file.c and os_sync.c it is the only place that calls the operating system, so that a test
 * which replaces this seam has replaced the world. It promises that a failure is a code and never
 * an exit, and that nothing random is kept between two calls. It relies on getrandom(2) and
 * CLOCK_MONOTONIC of Linux. Tried and dropped: a buffer of random bytes to save system calls. A
 * cloned virtual machine would have used the same bytes twice, and a frame needs only one draw. */
#include "base/os_hook.h"

#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <time.h>

#ifdef KIST_TESTING
int (*os_hook)(const struct os_call *call);
_Atomic int64_t os_clock_skew_ms;
#endif

/* -- memory -- */

void *os_alloc(size_t size)
{
    if (OS_HOOK_ASK(.kind = OS_ALLOC, .fd = -1, .len = size) < 0)
        return NULL;
    return malloc(size ? size : 1); /* NULL means failure and nothing else */
}

void *os_calloc(size_t size)
{
    if (OS_HOOK_ASK(.kind = OS_ALLOC, .fd = -1, .len = size) < 0)
        return NULL;
    return calloc(1, size ? size : 1);
}

void *os_alloc_aligned(size_t align, size_t size)
{
    void *p = NULL;
    if (OS_HOOK_ASK(.kind = OS_ALLOC, .fd = -1, .len = size) < 0)
        return NULL;
    int err = posix_memalign(&p, align, size ? size : 1);
    if (err) {
        errno = err;
        return NULL;
    }
    return p;
}

void os_free(void *p)
{
    free(p);
}

void os_wipe(void *p, size_t len)
{
    if (len)
        explicit_bzero(p, len);
}

__attribute__((noinline)) void os_wipe_stack(void)
{
    uint8_t below[32 << 10];
    os_wipe(below, sizeof below);
}

/* -- randomness and time -- */

int os_random(void *p, size_t len)
{
    uint8_t *at = p;
    if (OS_HOOK_ASK(.kind = OS_RANDOM, .fd = -1, .len = len) < 0)
        return error_from_errno(errno);
    while (len > 0) {
        ssize_t n = getrandom(at, len, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_from_errno(errno);
        at += n;
        len -= (size_t)n;
    }
    return 0;
}

int64_t os_now_ms(void)
{
    struct timespec t = {0};
    (void)clock_gettime(CLOCK_REALTIME, &t);
    int64_t ms = (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
#ifdef KIST_TESTING
    ms += os_clock_skew_ms;
#endif
    return ms;
}

int64_t os_mono_us(void)
{
    struct timespec t = {0};
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

void os_sleep_us(int64_t us)
{
    if (us <= 0)
        return;
    int64_t until = os_mono_us() + us; /* a moment, not a span: signals must not stretch the sleep */
    struct timespec t = {.tv_sec = until / 1000000, .tv_nsec = until % 1000000 * 1000};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
        ;
}

/* -- the process -- */

void os_cores_off(void)
{
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

const char *os_getenv(const char *name)
{
    const char *value = secure_getenv(name);
    return value && *value ? value : NULL;
}
