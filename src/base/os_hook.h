/* What the os_*.c files share: the question put to the tests before each call. Included first by
 * each of them, for it asks the C library for the Linux calls; nobody else includes it. */
#ifndef KIST_BASE_OS_HOOK_H
#define KIST_BASE_OS_HOOK_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "base/os.h"

#include <errno.h>

/* May this call go on? 0: yes. Positive: yes, for so many bytes at most. Negative: no, and errno
 * says why. */
#ifdef KIST_TESTING
static inline int os_hook_ask(const struct os_call *call)
{
    int answer = os_hook ? os_hook(call) : 0;
    if (answer < 0)
        errno = -answer;
    return answer;
}
#else
static inline int os_hook_ask(const struct os_call *call)
{
    (void)call;
    return 0;
}
#endif

#define OS_HOOK_ASK(...) os_hook_ask(&(struct os_call){__VA_ARGS__})

#endif
