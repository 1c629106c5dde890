/* writer.c: the right to write.
 *
 * The gate keeps the threads of this handle apart, the kernel's lock keeps other handles and processes away. Who has both
 * and has caught up sees the truth in the working root. The kernel's lock outlives the gate while frames are pending that
 * are not in the file yet; whoever writes them out last lets it go.
 *
 * A writer that died between announcing a write and finishing it leaves appending set: what it wrote is then read as far
 * as it is whole, and the torn rest is cut. */
#include "engine/log.h"

/* Another process has been here, perhaps died here. State held. */
static int writer_catch_up(struct log *log)
{
    struct shared_page *page = log->shared.page;
    int r = 0;
    if (log->pending.len || log->flushing.len)
        return 0; /* the kernel's lock has been ours all the while: appending is our own flush */
    if (atomic_load(&page->appending)) {
        r = follow_to(log, UINT64_MAX);
        if (r == 0)
            r = segment_cut(log->active, log->at.offset);
        if (r == 0 && !log->memory)
            r = os_sync_dir(log->dir); /* it may have died between naming a segment and making the name durable */
        if (r)
            return r;
        atomic_store(&page->active, log->active->number);
        atomic_store(&page->appended, log->at.sequence);
        atomic_store(&page->appending, 0);
        return 0;
    }
    uint64_t appended = atomic_load(&page->appended);
    return appended > log->at.sequence ? follow_to(log, appended) : 0;
}

static int writer_lock_kernel(struct log *log, int64_t timeout_us)
{
    int r = shared_writer_lock(&log->shared, timeout_us, log->base.detail);
    if (r)
        return r;
    log->kernel_held = true;
    if (atomic_load(&log->shared.page->failed) && log->shared.fd >= 0) {
        commit_stop(log);
        return error_set(log->base.detail, KIST_EFAILED, "an fsync of this store failed: every process must close it first");
    }
    return 0;
}

static int writer_prepare(struct log *log)
{
    int r = 0;
    (void)pthread_mutex_lock(&log->state);
    if (!log->broken)
        r = writer_catch_up(log);
    bool broken = log->broken;
    (void)pthread_mutex_unlock(&log->state);
    if (!broken)
        return r;
    r = commit_flush(log); /* whole commits of others may be pending; KIST_EFAILED when a write failed meanwhile */
    if (r)
        return r;
    (void)pthread_mutex_lock(&log->state);
    r = recover_again(log, atomic_load(&log->shared.page->appended));
    (void)pthread_mutex_unlock(&log->state);
    return r;
}

int writer_lock(struct log *log)
{
    int64_t start = log->lock_timeout_us < 0 ? 0 : os_mono_us();
    int r = log_entered(log);
    if (r)
        return r;
    if (log->read_only)
        return KIST_EREADONLY;
    if (!gate_lock(&log->gate, log->lock_timeout_us))
        return error_set(log->base.detail, KIST_EBUSY, "another thread of this process holds the writer lock");
    if (atomic_load(&log->failed))
        r = error_set(log->base.detail, KIST_EFAILED, "an earlier write failed: close the store and open it again");
    if (r == 0 && !log->kernel_held) {
        int64_t left = log->lock_timeout_us < 0 ? -1 : log->lock_timeout_us - (os_mono_us() - start);
        r = writer_lock_kernel(log, log->lock_timeout_us >= 0 && left < 0 ? 0 : left);
    }
    if (r == 0)
        r = writer_prepare(log);
    if (r)
        writer_unlock(log);
    return r;
}

void writer_release(struct log *log)
{
    if (!gate_try(&log->gate))
        return; /* who holds it looks again when done */
    (void)pthread_mutex_lock(&log->state);
    bool idle = log->flushing.len == 0 && (log->pending.len == 0 || atomic_load(&log->failed));
    (void)pthread_mutex_unlock(&log->state);
    if (idle && log->kernel_held) {
        log->kernel_held = false;
        shared_writer_unlock(&log->shared);
    }
    gate_unlock(&log->gate);
}

void writer_unlock(struct log *log)
{
    gate_unlock(&log->gate);
    writer_release(log);
}
