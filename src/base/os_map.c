/* os_map.c: reading a file's map without dying of it.
 *
 * A page of a mapped file that the disk cannot give, or that the file no longer has, raises SIGBUS in whoever touches it. Here
 * the touching is a single copy under a guard: the handler finds the thread's guard set and jumps out of the copy. A SIGBUS
 * anywhere else goes to the handler that was there before, or to its default. KIST_NO_MAP does without it and without maps.
 * siglongjmp out of a synchronous fault is well defined here: the copy holds no lock and owns nothing. */
#include "base/os.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>

static _Thread_local sigjmp_buf *volatile map_guard;
static struct sigaction map_previous;
static pthread_once_t map_once = PTHREAD_ONCE_INIT;

static void map_handler(int signal_number, siginfo_t *info, void *context)
{
    if (map_guard)
        siglongjmp(*map_guard, 1);
    if (map_previous.sa_flags & SA_SIGINFO) {
        map_previous.sa_sigaction(signal_number, info, context);
        return;
    }
    if (map_previous.sa_handler != SIG_DFL && map_previous.sa_handler != SIG_IGN) {
        map_previous.sa_handler(signal_number);
        return;
    }
    struct sigaction plain = {.sa_handler = SIG_DFL};
    (void)sigaction(SIGBUS, &plain, NULL); /* the fault repeats and ends the process as it would have */
}

static void map_install(void)
{
    struct sigaction a = {.sa_sigaction = map_handler, .sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK};
    (void)sigemptyset(&a.sa_mask);
    (void)sigaction(SIGBUS, &a, &map_previous);
}

bool os_map_guard(void)
{
    struct sigaction now;
    (void)pthread_once(&map_once, map_install);
    return sigaction(SIGBUS, NULL, &now) == 0 && (now.sa_flags & SA_SIGINFO) && now.sa_sigaction == map_handler;
}

int os_map_copy(void *to, const void *from, size_t len)
{
    sigjmp_buf guard;
    if (sigsetjmp(guard, 0)) {
        map_guard = NULL;
        return KIST_EIO;
    }
    map_guard = &guard;
    memcpy(to, from, len);
    map_guard = NULL;
    return 0;
}
