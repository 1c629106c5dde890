/* shared.c: how processes meet.
 *
 * Locks are open-file-description locks on bytes behind the page. The writer lock has no timeout in the kernel, so a
 * waiter tries, then sleeps on a futex that each release counts up, at most 5 ms at a time: a holder that dies releases
 * the lock without counting, and that is how long it goes unnoticed. Releasing wakes the one that has slept longest, and who
 * released while others slept does not take the lock again at once: else a busy process would starve the rest.
 *
 * durable carries a keyed check, because recovery takes it as evidence: a frame that was durable and is bad now is
 * damage, not a torn tail. A value that was written half, or by somebody else, proves nothing.
 *
 * Tried and dropped: a robust process-shared mutex (it records thread ids, which mean nothing across PID namespaces). */
#include "engine/shared.h"

#include "base/bytes.h"
#include "base/os.h"
#include "crypt/seal.h"

#include <assert.h>
#include <unistd.h>

#define SHARED_NAME "lock"
#define SHARED_NAP_US 5000
#define SHARED_GIVE_WAY_US 300

static const uint8_t shared_magic[8] = {'K', 'I', 'S', 'T', 'L', 'O', 'C', 'K'};

_Static_assert(offsetof(struct shared_page, appended) == 64, "the layout of the page is fixed");
_Static_assert(sizeof(struct shared_page) <= SHARED_SIZE, "it is one page");

/* -- opening -- */

static int shared_map(struct shared *s)
{
    struct os_stat st;
    void *p = NULL;
    int r = os_stat(s->fd, &st);
    if (r)
        return r;
    if (st.size < SHARED_SIZE) {
        static const uint8_t zeros[SHARED_SIZE];
        if (s->read_only)
            return KIST_ENOTSUP;
        r = os_write(s->fd, zeros, SHARED_SIZE - (size_t)st.size, st.size);
        if (r)
            return r;
    }
    s->device = st.device;
    s->inode = st.inode;
    r = os_map(s->fd, SHARED_SIZE, !s->read_only, &p);
    if (r == 0)
        s->page = p;
    return r;
}

static int shared_private(struct shared *s)
{
    os_close(&s->fd);
    s->own = os_calloc(SHARED_SIZE);
    s->page = s->own;
    return s->own ? 0 : KIST_ENOMEM;
}

int shared_open(struct shared *s, int dir, bool memory, bool read_only, const uint8_t store_id[16], const uint8_t check_key[16])
{
    *s = (struct shared){.dir = dir, .fd = -1, .read_only = read_only, .check_key = check_key};
    if (memory) {
        int r = shared_private(s);
        if (r == 0)
            shared_reset(s, store_id, 0, 0, 0, 0);
        return r;
    }
    int r = os_open(dir, SHARED_NAME, (read_only ? OS_READONLY : OS_CREATE) | OS_NOFOLLOW, &s->fd);
    if (r == 0)
        r = shared_map(s);
    if (r && read_only && r != KIST_EFDS && r != KIST_ENOMEM)
        return shared_private(s);
    if (r)
        shared_close(s);
    return r;
}

void shared_close(struct shared *s)
{
    if (s->page && !s->own)
        os_unmap(s->page, SHARED_SIZE);
    os_free(s->own);
    os_close(&s->fd);
    s->page = s->own = NULL;
    s->check_key = NULL;
}

/* -- locks -- */

static uint64_t shared_byte(enum shared_lock which)
{
    return SHARED_SIZE + (uint64_t)which;
}

int shared_lock(struct shared *s, enum shared_lock which, int64_t timeout_us)
{
    if (s->fd < 0)
        return 0;
    int64_t end = timeout_us < 0 ? -1 : os_mono_us() + timeout_us;
    int64_t nap = 50;
    for (;;) {
        int r = os_lock_try(s->fd, shared_byte(which), s->read_only ? OS_SHARED : OS_EXCLUSIVE_LOCK);
        if (r != KIST_EBUSY || (end >= 0 && os_mono_us() >= end))
            return r;
        os_sleep_us(nap);
        nap = nap < SHARED_NAP_US ? nap * 2 : nap;
    }
}

int shared_lock_shared(struct shared *s, enum shared_lock which)
{
    return s->fd < 0 ? 0 : os_lock_try(s->fd, shared_byte(which), OS_SHARED);
}

void shared_unlock(struct shared *s, enum shared_lock which)
{
    if (s->fd >= 0)
        os_unlock(s->fd, shared_byte(which));
}

int shared_held(struct shared *s, enum shared_lock which, bool *out)
{
    if (s->fd >= 0)
        return os_lock_held(s->fd, shared_byte(which), out);
    *out = false;
    return 0;
}

/* Two groups of processes on two lock files would both think that they are alone. */
static int shared_same_file(struct shared *s, struct error_detail *detail)
{
    struct os_stat st;
    int r = os_stat_at(s->dir, SHARED_NAME, &st);
    if (r == 0 && st.device == s->device && st.inode == s->inode)
        return 0;
    if (r && r != KIST_ENOSTORE)
        return error_set(detail, r, "cannot look at the store's file lock");
    return error_set(detail, KIST_EIO, "the store's file lock was %s while open: close the store everywhere and open it again",
                     r ? "removed" : "replaced");
}

/* Somebody waited when we let the lock go: let them have it before we take it again. */
static void shared_give_way(struct shared *s)
{
    struct shared_page *page = s->page;
    uint32_t seen = atomic_load(&page->writer_word);
    s->polite = false;
    if (seen == s->released)
        os_futex_wait(&page->writer_word, seen, SHARED_GIVE_WAY_US, true);
}

int shared_writer_lock(struct shared *s, int64_t timeout_us, struct error_detail *detail)
{
    if (s->fd < 0)
        return 0;
    struct shared_page *page = s->page;
    int64_t end = timeout_us < 0 ? -1 : os_mono_us() + timeout_us;
    bool slept = false;
    if (s->polite)
        shared_give_way(s);
    for (;;) {
        uint32_t seen = atomic_load(&page->writer_word);
        int r = os_lock_try(s->fd, shared_byte(SHARED_WRITER), OS_EXCLUSIVE_LOCK);
        if (r == 0)
            break;
        if (r != KIST_EBUSY)
            return error_set(detail, r, "cannot lock the store for writing");
        int64_t left = end < 0 ? SHARED_NAP_US : end - os_mono_us();
        if (left <= 0)
            return error_set(detail, KIST_EBUSY, "process %u holds the writer lock: wait for it, or raise the lock timeout",
                             (unsigned)atomic_load(&page->writer_pid));
        atomic_store(&page->writer_waited, 1);
        os_futex_wait(&page->writer_word, seen, left < SHARED_NAP_US ? left : SHARED_NAP_US, true);
        slept = true;
    }
    if (slept) /* one was woken, others may sleep on */
        atomic_store(&page->writer_waited, 1);
    atomic_store_explicit(&page->writer_pid, (uint32_t)getpid(), memory_order_relaxed);
    int r = shared_same_file(s, detail);
    if (r)
        shared_writer_unlock(s);
    return r;
}

void shared_writer_unlock(struct shared *s)
{
    if (s->fd < 0)
        return;
    os_unlock(s->fd, shared_byte(SHARED_WRITER));
    s->released = atomic_fetch_add(&s->page->writer_word, 1) + 1;
    s->polite = atomic_load(&s->page->writer_waited) != 0;
    if (atomic_exchange(&s->page->writer_waited, 0))
        os_futex_wake(&s->page->writer_word, 1, true);
}

/* -- the page -- */

static uint64_t shared_check(const struct shared *s, const uint8_t store_id[16], uint64_t durable)
{
    uint8_t in[24];
    memcpy(in, store_id, 16);
    bytes_put64(in + 16, durable);
    return seal_check(s->check_key, in, sizeof in);
}

void shared_reset(struct shared *s, const uint8_t store_id[16], uint64_t appended, uint64_t durable, uint64_t active,
                  uint64_t numbers)
{
    struct shared_page *page = s->page;
    if (s->read_only && !s->own)
        return;
    memcpy(page->magic, shared_magic, sizeof shared_magic);
    memcpy(page->store_id, store_id, 16);
    atomic_store(&page->active, active);
    atomic_store(&page->numbers, numbers);
    atomic_store(&page->appended, appended);
    atomic_store(&page->visible, appended);
    atomic_store(&page->durable, durable);
    atomic_store(&page->durable_check, shared_check(s, store_id, durable));
    atomic_store(&page->appending, 0);
    atomic_store(&page->failed, 0);
}

uint64_t shared_evidence(const struct shared *s, const uint8_t store_id[16])
{
    const struct shared_page *page = s->page;
    uint64_t durable = atomic_load(&page->durable);
    if (s->fd < 0 || memcmp(page->magic, shared_magic, sizeof shared_magic) || memcmp(page->store_id, store_id, 16))
        return 0;
    return atomic_load(&page->durable_check) == shared_check(s, store_id, durable) ? durable : 0;
}

uint64_t shared_number(struct shared *s)
{
    return atomic_fetch_add(&s->page->numbers, 1) + 1;
}

/* The larger of the two; true when value was. */
static bool shared_raise(_Atomic uint64_t *word, uint64_t value)
{
    uint64_t seen = atomic_load(word);
    while (seen < value) {
        if (atomic_compare_exchange_weak(word, &seen, value))
            return true;
    }
    return false;
}

void shared_prove(struct shared *s, uint64_t durable)
{
    if (shared_raise(&s->page->durable, durable))
        atomic_store(&s->page->durable_check, shared_check(s, s->page->store_id, durable));
}

/* Counted twice: who takes his turn between the first and the clearing of visible_waited has it cleared under him, and would
 * sleep where the next one to wake sees nobody. */
void shared_wake(struct shared *s)
{
    struct shared_page *page = s->page;
    if (s->read_only && !s->own)
        return;
    atomic_fetch_add(&page->visible_word, 1);
    if (!atomic_exchange(&page->visible_waited, 0))
        return;
    atomic_fetch_add(&page->visible_word, 1);
    os_futex_wake(&page->visible_word, INT32_MAX, s->fd >= 0);
}

void shared_publish(struct shared *s, uint64_t visible)
{
    if (shared_raise(&s->page->visible, visible))
        shared_wake(s);
}

uint32_t shared_turn(const struct shared *s)
{
    return atomic_load(&s->page->visible_word);
}

void shared_wait(struct shared *s, uint32_t turn, int64_t timeout_us)
{
    struct shared_page *page = s->page;
    if (!s->read_only || s->own)
        atomic_store(&page->visible_waited, 1);
    else if (timeout_us < 0 || timeout_us > SHARED_NAP_US)
        timeout_us = SHARED_NAP_US; /* a map that cannot be written cannot say that somebody waits */
    os_futex_wait(&page->visible_word, turn, timeout_us, s->fd >= 0);
}
