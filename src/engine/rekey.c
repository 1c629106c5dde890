/* rekey.c: the file `header`: reading, replacing and following it.
 *
 * It is replaced whole: written beside, fsynced, renamed over, the directory fsynced. A change edits a copy of the keyring
 * under the header lock, so that a write that fails leaves neither disk nor memory ahead of the other. Other processes
 * notice by a counter in the shared page, or because a new segment names a data key that they do not have. */
#include "engine/log.h"

#define REKEY_NAME "header"
#define REKEY_TEMP "header.tmp"

int rekey_load(int dir, struct buf *out)
{
    int fd = -1;
    size_t n = 0;
    int r = os_open(dir, REKEY_NAME, OS_READONLY | OS_NOFOLLOW, &fd);
    if (r)
        return r;
    uint8_t *p = buf_reserve(out, KEYRING_ENCODED_MAX + 1);
    r = p ? os_read(fd, p, KEYRING_ENCODED_MAX + 1, 0, &n) : KIST_ENOMEM;
    out->len += r ? 0 : n;
    os_close(&fd);
    return r;
}

static int rekey_store(int dir, const struct buf *b)
{
    int fd = -1;
    int r = os_unlink(dir, REKEY_TEMP);
    if (r && r != KIST_ENOSTORE)
        return r;
    r = os_open(dir, REKEY_TEMP, OS_CREATE | OS_EXCLUSIVE | OS_NOFOLLOW, &fd);
    if (r)
        return r;
    r = os_write(fd, b->data, b->len, 0);
    if (r == 0)
        r = os_sync(fd);
    os_close(&fd);
    if (r == 0)
        r = os_rename(dir, REKEY_TEMP, REKEY_NAME);
    if (r)
        return r;
    return os_sync_dir(dir) ? KIST_EMAYBE : 0; /* it is there now, and may be gone after a power cut */
}

int rekey_write(struct log *log)
{
    struct buf b;
    buf_init(&b, false);
    int r = keyring_encode(log->keyring, &b);
    if (r == 0)
        r = rekey_store(log->dir, &b);
    buf_done(&b);
    return r;
}

/* Take over the header in b, which was read a moment ago. Another thread may have taken over a newer one since: then
 * only what the file is now, with no other thread at it, can prove a rollback. */
static int rekey_reload(struct log *log, struct buf *b)
{
    (void)pthread_rwlock_wrlock(&log->keyring_lock);
    int r = keyring_reload(log->keyring, b->data, b->len);
    if (r == KIST_EROLLBACK) {
        buf_reset(b);
        r = rekey_load(log->dir, b);
        if (r == 0)
            r = keyring_reload(log->keyring, b->data, b->len);
    }
    (void)pthread_rwlock_unlock(&log->keyring_lock);
    return r;
}

int rekey_refresh(struct log *log)
{
    struct buf b;
    if (log->memory)
        return 0;
    buf_init(&b, false);
    int r = rekey_load(log->dir, &b);
    if (r == 0)
        r = rekey_reload(log, &b);
    buf_done(&b);
    return r;
}

/* Edit a copy, write it, take it over. The header lock is held. */
static int rekey_change_locked(struct log *log, int (*fn)(struct keyring *k, void *ctx), void *ctx)
{
    struct keyring *copy = NULL;
    struct buf b;
    int r = rekey_refresh(log);
    if (r)
        return r;
    buf_init(&b, false);
    (void)pthread_rwlock_rdlock(&log->keyring_lock);
    r = keyring_copy(log->keyring, &copy);
    (void)pthread_rwlock_unlock(&log->keyring_lock);
    if (r == 0)
        r = fn(copy, ctx);
    if (r == 0)
        r = keyring_encode(copy, &b);
    if (r == 0)
        r = rekey_store(log->dir, &b);
    if (r == 0)
        r = rekey_reload(log, &b);
    if (r == 0)
        atomic_fetch_add(&log->shared.page->header_word, 1);
    keyring_free(&copy);
    buf_done(&b);
    return r;
}

int rekey_change(struct engine *e, int (*fn)(struct keyring *k, void *ctx), void *ctx)
{
    struct log *log = log_of(e);
    int r = log_entered(log);
    if (r)
        return r;
    if (log->memory)
        return KIST_ENOTSUP;
    if (log->read_only)
        return KIST_EREADONLY;
    if (!gate_lock(&log->rekey_gate, log->lock_timeout_us))
        return KIST_EBUSY;
    r = shared_lock(&log->shared, SHARED_HEADER, log->lock_timeout_us);
    if (r == 0) {
        r = rekey_change_locked(log, fn, ctx);
        shared_unlock(&log->shared, SHARED_HEADER);
    }
    gate_unlock(&log->rekey_gate);
    return r;
}

int rekey_read(struct engine *e, int (*fn)(const struct keyring *k, void *ctx), void *ctx)
{
    struct log *log = log_of(e);
    int r = log_entered(log);
    if (r == 0)
        r = rekey_refresh(log);
    if (r)
        return r;
    (void)pthread_rwlock_rdlock(&log->keyring_lock);
    r = fn(log->keyring, ctx);
    (void)pthread_rwlock_unlock(&log->keyring_lock);
    return r;
}

/* -- data keys -- */

static int rekey_add(struct keyring *k, void *ctx)
{
    (void)ctx;
    return keyring_rotate(k);
}

/* Generations that no segment needs any more. */
static int rekey_retire_unused(struct keyring *k, void *ctx)
{
    struct log *log = ctx;
    struct keyring_generation g[KEYRING_KEYS];
    size_t n = keyring_generations(k, g);
    int r = 0;
    for (size_t i = 0; i + 1 < n && r == 0; i++) {
        bool used = false;
        (void)pthread_mutex_lock(&log->state);
        const struct log_table *t = atomic_load(&log->table);
        for (size_t j = 0; j < t->len; j++)
            used = used || (t->slot[j] && t->slot[j]->generation == g[i].generation);
        (void)pthread_mutex_unlock(&log->state);
        if (!used)
            r = keyring_retire(k, g[i].generation);
    }
    return r;
}

static int rekey_roll(struct log *log)
{
    uint64_t sequence = 0;
    int r = writer_lock(log);
    if (r)
        return r;
    (void)pthread_rwlock_rdlock(&log->keyring_lock);
    bool old = log->active->generation != keyring_generation(log->keyring);
    (void)pthread_rwlock_unlock(&log->keyring_lock);
    if (old || log->ended)
        r = commit_roll(log);
    if (r == 0)
        r = commit_append_payload(log, FRAME_MARK, NULL, &sequence);
    writer_unlock(log);
    return r ? r : commit_wait(log, sequence);
}

/* Is any segment of the store still sealed under an older data key? */
static bool rekey_behind(struct log *log)
{
    bool behind = false;
    (void)pthread_rwlock_rdlock(&log->keyring_lock);
    uint32_t newest = keyring_generation(log->keyring);
    (void)pthread_rwlock_unlock(&log->keyring_lock);
    (void)pthread_mutex_lock(&log->state);
    const struct log_table *t = atomic_load(&log->table);
    for (size_t i = 0; i < t->len; i++)
        behind = behind || (t->slot[i] && !t->slot[i]->gone && t->slot[i]->generation != newest);
    (void)pthread_mutex_unlock(&log->state);
    return behind;
}

/* A writer that had not heard of the new key may have begun a segment under the old one meanwhile; behind our roll nobody
 * does, so this ends. */
static int rekey_rewrite(struct log *log, kist_progress_fn *progress, void *ctx)
{
    int r = 0;
    do {
        r = rekey_roll(log);
        if (r == 0)
            r = policy_all(&log->base, progress, ctx);
    } while (r == 0 && rekey_behind(log));
    return r;
}

int rekey_rotate(struct engine *e, bool resume, kist_progress_fn *progress, void *ctx)
{
    struct log *log = log_of(e);
    int r = log->memory ? KIST_ENOTSUP : resume ? 0 : rekey_change(e, rekey_add, NULL);
    if (r == 0)
        r = rekey_refresh(log);
    if (r == 0)
        r = rekey_rewrite(log, progress, ctx);
    if (r == 0)
        r = e->ops->sync(e); /* also with KIST_SYNC_NONE: a log that lost its end would need the old keys again */
    return r ? r : rekey_change(e, rekey_retire_unused, log);
}
