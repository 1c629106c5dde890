/* policy.c: when to compact what.
 *
 * policy_step() does a slice of what is due: entries of dropped buckets, moves, segments with nothing live in them (no copying),
 * and copying once dead bytes exceed live ones by POLICY_SLACK. Commits call it now and then for POLICY_UPKEEP_US, the
 * maintenance thread as long as there is something, closing to the end. policy_all() is `compact`: everything that is dead
 * goes, oldest segments first, so that their deletes go with what they guard against. It goes through the segments that are
 * there when it begins, whatever others write meanwhile, then through what it made of them, where that can still pay. */
#include "engine/compact.h"

#include <assert.h>

#define POLICY_SLACK (UINT64_C(40) << 20) /* bytes dead beyond live, before copying starts: P9 allows 64 MiB */
#define POLICY_UPKEEP_US 2000             /* that a commit spends on it */
#define POLICY_SETTLE 10000               /* slices at most, when a handle closes */
#define POLICY_SWEEP 256u                 /* expired records that a commit sweeps by the way */
#define POLICY_ROUNDS 3                   /* of `compact`: a delete may outlive in one what it guards against */
#define POLICY_SLICE_US 20000             /* of `compact`, between two looks at whether it is cancelled */

/* -- choosing -- */

/* By policy: the one with the least live in it; if deletes keep that from paying, the oldest. */
static struct segment *policy_worst(const struct log *log)
{
    const struct log_table *t = atomic_load(&log->table);
    struct segment *worst = NULL, *oldest = NULL;
    double best = 0.25; /* less gain than that is not worth a copy */
    for (size_t i = 0; i < t->len; i++) {
        struct segment *s = t->slot[i];
        if (!compact_is_free(s, log))
            continue;
        uint64_t keep = s->live_bytes + (compact_guards(log, s) ? s->delete_bytes + 32 * s->many_count : 0);
        double gain = keep >= s->end ? 0 : 1.0 - (double)keep / (double)s->end;
        if (gain > best) {
            best = gain;
            worst = s;
        }
        if (!oldest || s->birth < oldest->birth)
            oldest = s;
    }
    return worst ? worst : oldest;
}

/* What the policy would do now: an allocated list of segments to take away or to copy from; NULL when there is nothing. */
static struct segment **policy_choose(struct log *log, size_t *out_n)
{
    const struct log_table *t = atomic_load(&log->table);
    struct segment **list = os_alloc(t->len * sizeof(struct segment *));
    size_t n = 0;
    for (size_t i = 0; list && i < t->len; i++) {
        if (compact_is_empty(log, t->slot[i]))
            list[n++] = t->slot[i];
    }
    if (list && n == 0 && log->segment_bytes > 2 * log->live_bytes + (log->memory ? POLICY_SLACK / 4 : POLICY_SLACK)) {
        struct segment *s = policy_worst(log);
        if (s)
            list[n++] = s;
    }
    if (list && n == 0) {
        os_free(list);
        list = NULL;
    }
    *out_n = n;
    return list;
}

/* -- the policy -- */

/* Start what the policy wants, if it wants something and nobody else does it. */
static int policy_begin(struct log *log, struct log_compaction **out)
{
    size_t n = 0;
    (void)pthread_mutex_lock(&log->state);
    struct segment **inputs = policy_choose(log, &n);
    (void)pthread_mutex_unlock(&log->state);
    if (!inputs)
        return 0;
    os_free(inputs);
    int r = shared_lock(&log->shared, SHARED_COMPACT, 0);
    if (r)
        return r == KIST_EBUSY ? 0 : r;
    r = compact_moves_all(log); /* now that nobody else changes the set of segments: what it is */
    (void)pthread_mutex_lock(&log->state);
    inputs = r ? NULL : policy_choose(log, &n);
    (void)pthread_mutex_unlock(&log->state);
    if (inputs)
        return compact_start(log, inputs, n, out);
    shared_unlock(&log->shared, SHARED_COMPACT);
    return r;
}

/* One slice of copying, or of starting or finishing it. */
static int policy_slice(struct log *log, int64_t budget_us, bool *out_more)
{
    struct log_compaction *c = log->compaction;
    int r = c ? 0 : policy_begin(log, &c);
    *out_more = c != NULL;
    if (r || !c)
        return r;
    r = compact_copy(log, c, budget_us);
    if (r == 0 && !compact_is_copied(c))
        return 0;
    if (r == 0)
        r = compact_finish(log, c);
    compact_free(log, &c);
    return r;
}

void policy_upkeep(struct log *log)
{
    int64_t end = os_mono_us() + POLICY_UPKEEP_US;
    bool more = true;
    while (more && os_mono_us() < end) {
        if (policy_step(log, POLICY_UPKEEP_US, &more))
            return; /* its failure is not the commit's that came by; the next one tries again */
    }
    uint64_t swept = 0;
    if (sweep_due(log) && sweep_expired(&log->base, POLICY_SWEEP, &swept))
        return;
    if (!more && atomic_load(&log->snapshot_work) >= LOG_SNAPSHOT_WORK)
        (void)!sweep_snapshot(log, LOG_SNAPSHOT_SMALL);
}

void policy_settle(struct log *log)
{
    bool more = atomic_load(&log->upkeep) != 0;
    for (int i = 0; more && i < POLICY_SETTLE; i++) {
        if (policy_step(log, POLICY_SLICE_US, &more))
            return;
    }
}

int policy_step(struct log *log, int64_t budget_us, bool *out_more)
{
    bool more = false;
    int r = log_entered(log);
    if (r || log->read_only || !gate_try(&log->compact_gate)) {
        *out_more = false;
        return r;
    }
    atomic_store(&log->upkeep, 0);
    (void)pthread_mutex_lock(&log->state);
    bool moves = log->moves_len || log->purges_len;
    (void)pthread_mutex_unlock(&log->state);
    if (moves)
        r = compact_moves(log, COMPACT_MOVES, &more);
    else
        r = policy_slice(log, budget_us, &more);
    if (more)
        atomic_store(&log->upkeep, 1);
    gate_unlock(&log->compact_gate);
    *out_more = more;
    return r;
}

/* -- on demand -- */

static bool policy_is_old(struct log *log, const struct segment *s)
{
    (void)pthread_rwlock_rdlock(&log->keyring_lock);
    uint32_t newest = keyring_generation(log->keyring);
    (void)pthread_rwlock_unlock(&log->keyring_lock);
    return s->generation != newest;
}

/* The first time deletes are tried, too: what they guard against may be an input with them. */
static bool policy_wants(struct log *log, const struct segment *s, bool again)
{
    return compact_pays(log, s) || (!again && (s->delete_bytes || s->many_count)) || policy_is_old(log, s);
}

static int policy_roll_active(struct log *log)
{
    uint64_t sequence = 0;
    int r = writer_lock(log);
    if (r)
        return r;
    (void)pthread_mutex_lock(&log->state); /* it looks at other segments, which go when a root is published */
    bool wants = policy_wants(log, log->active, false);
    (void)pthread_mutex_unlock(&log->state);
    if (wants) {
        r = commit_roll(log);
        if (r == 0)
            r = commit_append_payload(log, FRAME_MARK, NULL, &sequence);
    }
    writer_unlock(log);
    return r == 0 && sequence ? commit_wait(log, sequence) : r;
}

/* One pass over the segments that have these numbers: each is chosen once, since what comes of it has a larger one. */
struct policy_round {
    uint64_t newest;
    bool again;
};

/* Up to a segment's worth of what wants it, oldest first. */
static struct segment **policy_choose_all(struct log *log, const struct policy_round *round, uint64_t *out_bytes, size_t *out_n)
{
    const struct log_table *t = atomic_load(&log->table);
    struct segment **list = os_alloc(t->len * sizeof(struct segment *));
    size_t n = 0, keep = 0;
    uint64_t live = 0;
    *out_bytes = 0;
    for (size_t i = 0; list && i < t->len; i++) { /* what needs no copying first: it makes room for the rest */
        if (compact_is_empty(log, t->slot[i]) && t->slot[i]->number <= round->newest)
            list[(*out_n = ++n) - 1] = t->slot[i];
    }
    if (n)
        return list;
    for (size_t i = 0; list && i < t->len; i++) {
        struct segment *s = t->slot[i];
        if (compact_is_free(s, log) && s->number <= round->newest && policy_wants(log, s, round->again)) {
            list[n++] = s;
            *out_bytes += s->end;
        }
    }
    if (n)
        qsort(list, n, sizeof(struct segment *), compact_compare_birth);
    while (keep < n && (keep == 0 || live + list[keep]->live_bytes <= log->segment_size))
        live += list[keep++]->live_bytes;
    *out_n = keep;
    return list;
}

struct policy_progress {
    kist_progress_fn *fn;
    void *ctx;
    uint64_t done, total;
    int64_t next;
};

static int policy_report(struct policy_progress *p, uint64_t now, bool force)
{
    int64_t t = os_mono_us();
    if (!p->fn || (!force && t < p->next))
        return 0;
    p->next = t + 100000;
    uint64_t done = p->done + now;
    return p->fn("compact", done > p->total ? p->total : done, p->total, p->ctx);
}

/* Ends c. The callback's answer may be anything: it says nothing about how far the copy is. */
static int policy_run(struct log *log, struct log_compaction *c, struct policy_progress *p)
{
    int r = 0;
    do {
        r = compact_copy(log, c, POLICY_SLICE_US);
        if (r == 0 && c->out)
            r = policy_report(p, c->copied, false);
    } while (r == 0 && !compact_is_copied(c));
    p->done += c->copied;
    if (r == 0)
        r = compact_finish(log, c);
    compact_free(log, &c);
    return r ? r : compact_moves_all(log);
}

/* One group of segments; *out_any false: nothing wants it. */
static int policy_group(struct log *log, const struct policy_round *round, struct policy_progress *p, bool *out_any)
{
    struct log_compaction *c = NULL;
    size_t n = 0;
    uint64_t bytes = 0;
    *out_any = false;
    int r = shared_lock(&log->shared, SHARED_COMPACT, log->lock_timeout_us);
    if (r)
        return error_set(log->base.detail, r, "another process is compacting the store");
    r = compact_moves_all(log);
    (void)pthread_mutex_lock(&log->state);
    struct segment **inputs = r ? NULL : policy_choose_all(log, round, &bytes, &n);
    (void)pthread_mutex_unlock(&log->state);
    if (r == 0 && !inputs)
        r = KIST_ENOMEM;
    if (r || n == 0) {
        os_free(inputs);
        shared_unlock(&log->shared, SHARED_COMPACT);
        return r;
    }
    if (p->total < p->done + bytes)
        p->total = p->done + bytes;
    *out_any = true;
    r = compact_start(log, inputs, n, &c);
    return r ? r : policy_run(log, c, p);
}

static int policy_run_round(struct log *log, bool again, struct policy_progress *p, bool *out_any)
{
    struct policy_round round = {.newest = atomic_load(&log->shared.page->numbers), .again = again};
    bool any = true;
    int r = 0;
    *out_any = false;
    while (r == 0 && any) {
        r = policy_group(log, &round, p, &any);
        *out_any = *out_any || any;
    }
    return r;
}

int policy_all(struct engine *e, kist_progress_fn *progress, void *ctx)
{
    struct log *log = log_of(e);
    struct policy_progress p = {.fn = progress, .ctx = ctx};
    uint64_t swept = 0;
    bool any = true;
    int r = log_entered(log);
    if (r == 0 && log->read_only)
        r = KIST_EREADONLY;
    if (r)
        return r;
    if (!gate_lock(&log->compact_gate, log->lock_timeout_us))
        return KIST_EBUSY;
    compact_stop(log);
    r = sweep_expired(e, 0, &swept);
    if (r == 0)
        r = compact_moves_all(log);
    if (r == 0)
        r = policy_roll_active(log);
    for (int i = 0; i < POLICY_ROUNDS && any && r == 0; i++)
        r = policy_run_round(log, i > 0, &p, &any);
    if (r == 0)
        r = policy_report(&p, 0, true);
    gate_unlock(&log->compact_gate);
    return r;
}
