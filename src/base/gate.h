/* A lock that may be taken with a timeout and released by another thread than the one that took it (a transaction may move
 * between threads). Three states of one futex word: free, taken, taken with waiters (Drepper, "Futexes are tricky", 2011). */
#ifndef KIST_BASE_GATE_H
#define KIST_BASE_GATE_H

#include "base/os.h"

struct gate {
    _Atomic uint32_t word;
};

static inline bool gate_try(struct gate *g)
{
    uint32_t seen = 0;
    return atomic_compare_exchange_strong(&g->word, &seen, 1);
}

/* True when taken; false when timeout_us (< 0: never) passed. */
static inline bool gate_lock(struct gate *g, int64_t timeout_us)
{
    if (gate_try(g))
        return true;
    int64_t end = timeout_us < 0 ? -1 : os_mono_us() + timeout_us;
    while (atomic_exchange(&g->word, 2) != 0) {
        int64_t left = end < 0 ? -1 : end - os_mono_us();
        if (end >= 0 && left <= 0)
            return false;
        os_futex_wait(&g->word, 2, left, false);
    }
    return true;
}

static inline void gate_unlock(struct gate *g)
{
    if (atomic_exchange(&g->word, 0) == 2)
        os_futex_wake(&g->word, 1, false);
}

#endif
