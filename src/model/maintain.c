/* maintain.c: the maintenance thread of a store, started only when the caller asked for it
 * (KIST_MAINTENANCE).
 *
 * It calls the engine's maintain() in slices. While there is more to do it rests as long as a slice
 * takes, so that it uses at most half a core; when there is nothing it looks again every second;
 * after a failure it waits ten seconds, because a full or broken disk does not get better by
 * asking. What fails here is no caller's failure: the next explicit call will meet it. Stopping
 * waits for the slice at hand and for nothing longer. */
#include "model/maintain.h"

#include "base/os.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>

#define MAINTAIN_SLICE_US 10000
#define MAINTAIN_IDLE_US 1000000
#define MAINTAIN_FAILED_US 10000000

struct maintain {
    struct engine *engine;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t ended;
    bool stop; /* under lock */
};

/* Sleep, or be woken to stop. True: stop. */
static bool maintain_rest(struct maintain *m, int64_t us)
{
    int64_t until = os_mono_us() + us;
    struct timespec t = {.tv_sec = until / 1000000, .tv_nsec = until % 1000000 * 1000};
    (void)pthread_mutex_lock(&m->lock);
    int r = 0;
    while (!m->stop && r == 0)
        r = pthread_cond_timedwait(&m->ended, &m->lock, &t);
    bool stop = m->stop;
    (void)pthread_mutex_unlock(&m->lock);
    return stop;
}

static void *maintain_main(void *ctx)
{
    struct maintain *m = ctx;
    int64_t rest = MAINTAIN_SLICE_US;
    while (!maintain_rest(m, rest)) {
        bool more = false;
        int r = m->engine->ops->maintain(m->engine, MAINTAIN_SLICE_US, &more);
        rest = r < 0 ? MAINTAIN_FAILED_US : more ? MAINTAIN_SLICE_US : MAINTAIN_IDLE_US;
    }
    return NULL;
}

/* The program's signals are for the program's threads, but a fault in this thread must reach its
 * handler. */
static int maintain_spawn(struct maintain *m)
{
    static const int ours[] = {SIGBUS, SIGSEGV, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT};
    sigset_t block, before;
    (void)sigfillset(&block);
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
        (void)sigdelset(&block, ours[i]);
    (void)pthread_sigmask(SIG_SETMASK, &block, &before);
    int r = pthread_create(&m->thread, NULL, maintain_main, m);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return r ? KIST_ENOMEM : 0;
}

static int maintain_sync_init(struct maintain *m)
{
    pthread_condattr_t attr;
    if (pthread_condattr_init(&attr))
        return KIST_ENOMEM;
    int r = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    r = r ? r : pthread_cond_init(&m->ended, &attr);
    (void)pthread_condattr_destroy(&attr);
    if (r)
        return KIST_ENOMEM;
    if (pthread_mutex_init(&m->lock, NULL)) {
        (void)pthread_cond_destroy(&m->ended);
        return KIST_ENOMEM;
    }
    return 0;
}

static void maintain_free(struct maintain *m)
{
    (void)pthread_mutex_destroy(&m->lock);
    (void)pthread_cond_destroy(&m->ended);
    os_free(m);
}

int maintain_start(struct engine *engine, struct maintain **out)
{
    struct maintain *m = os_calloc(sizeof *m);
    if (!m)
        return KIST_ENOMEM;
    m->engine = engine;
    if (maintain_sync_init(m) < 0) {
        os_free(m);
        return KIST_ENOMEM;
    }
    if (maintain_spawn(m) < 0) {
        maintain_free(m);
        return KIST_ENOMEM;
    }
    *out = m;
    return 0;
}

void maintain_stop(struct maintain **m)
{
    if (!*m)
        return;
    (void)pthread_mutex_lock(&(*m)->lock);
    (*m)->stop = true;
    (void)pthread_cond_signal(&(*m)->ended);
    (void)pthread_mutex_unlock(&(*m)->lock);
    (void)pthread_join((*m)->thread, NULL);
    maintain_free(*m);
    *m = NULL;
}
