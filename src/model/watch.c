/* watch.c: telling what was committed under a prefix.
 *
 * The engine remembers the changes of the last commits (of every process). A watch remembers the
 * revision up to which it has collected, takes those of its bucket and prefix into a queue of its
 * own, a few hundred at a time and only whole commits, and sleeps in the engine's wait when there
 * is nothing. When the engine no longer remembers that far back the watch says RESYNC once and goes
 * on from the present: the revision is read first, so that whoever reads everything afterwards
 * misses nothing (and may be told a change twice). Only durable commits are told, because the
 * engine tells no others.
 *
 * Cancelling sets a word that the sleeper looks at; it stays set until one kist_watch_next() has
 * answered KIST_ETIMEOUT for it, so that it cannot get lost between two calls. */
#include "base/buf.h"
#include "base/bytes.h"
#include "base/os.h"
#include "model/bucket.h"
#include "model/ops.h"

#include <string.h>

#define WATCH_MAGIC 0x77617463u
#define WATCH_BATCH 256        /* changes collected before they are told; a commit that is larger is collected whole */
#define WATCH_HEAD (8 + 1 + 4) /* in the queue: revision, deleted, length; then the key */

struct kist_watch {
    unsigned magic;
    struct kist_store *store;
    uint64_t bucket;
    uint64_t since;      /* everything up to it is in the queue or told */
    uint64_t collecting; /* the revision that is being collected; 0 none */
    _Atomic uint32_t cancel;
    bool dropped;      /* the bucket is gone */
    size_t queued, at; /* changes in the queue; offset of the next one to tell */
    struct buf queue;
    size_t prefix_len;
    uint8_t prefix[];
};

static int watch_check(const struct kist_watch *w)
{
    if (!w)
        return KIST_EINVAL;
    assert(w->magic == WATCH_MAGIC);
    return store_check(w->store);
}

static int watch_bucket_there(const struct kist_watch *w)
{
    struct engine_txn *txn = NULL;
    int r = store_begin(w->store, w->bucket, ENGINE_SNAPSHOT, &txn);
    if (r == 0)
        w->store->engine->ops->abort(&txn);
    return r;
}

int kist_watch_open(struct kist_bucket *bucket, struct kist_bytes prefix, uint64_t since, struct kist_watch **out_watch)
{
    int r = bucket_check(bucket);
    if (r < 0 || !out_watch || (!prefix.ptr && prefix.len))
        return r < 0 ? r : KIST_EINVAL;
    r = prefix.len ? ops_key(&bucket->store->detail, prefix) : 0;
    if (r < 0)
        return r;
    struct kist_watch *w = os_calloc(sizeof *w + prefix.len);
    if (!w)
        return KIST_ENOMEM;
    w->magic = WATCH_MAGIC;
    w->store = bucket->store;
    w->bucket = bucket->number;
    w->since = since;
    w->prefix_len = prefix.len;
    buf_init(&w->queue, true);
    if (prefix.len)
        memcpy(w->prefix, prefix.ptr, prefix.len);
    r = since ? 0 : w->store->engine->ops->revision(w->store->engine, &w->since);
    r = r < 0 ? r : watch_bucket_there(w);
    if (r < 0)
        kist_watch_close(&w);
    else
        *out_watch = w;
    return r;
}

/* -- collecting -- */

static bool watch_wants(const struct kist_watch *w, const struct engine_change *c)
{
    return c->bucket == w->bucket && c->key.len >= w->prefix_len &&
           (w->prefix_len == 0 || memcmp(c->key.ptr, w->prefix, w->prefix_len) == 0);
}

static int watch_collect_one(const struct engine_change *change, void *ctx)
{
    struct kist_watch *w = ctx;
    if (w->dropped || (w->queued >= WATCH_BATCH && change->revision != w->collecting))
        return 1;
    w->collecting = change->revision;
    if (change->dropped) {
        w->dropped = change->bucket == w->bucket;
        return w->dropped;
    }
    if (!watch_wants(w, change))
        return 0;
    uint8_t head[WATCH_HEAD];
    bytes_put64(head, change->revision);
    head[8] = change->deleted;
    bytes_put32(head + 9, (uint32_t)change->key.len);
    if (!buf_reserve(&w->queue, sizeof head + change->key.len))
        return 1;
    buf_add(&w->queue, head, sizeof head);
    buf_add(&w->queue, change->key.ptr, change->key.len);
    w->queued++;
    return 0;
}

static void watch_queue_clear(struct kist_watch *w)
{
    buf_reset(&w->queue);
    w->queued = 0;
    w->at = 0;
}

/* Fill the empty queue. KIST_EROLLBACK as the engine's changes(). */
static int watch_collect(struct kist_watch *w)
{
    struct engine *e = w->store->engine;
    uint64_t newest = 0, told = w->since;
    watch_queue_clear(w);
    w->collecting = 0;
    int r = e->ops->revision(e, &newest);
    r = r < 0 ? r : e->ops->changes(e, &told, watch_collect_one, w);
    if (buf_status(&w->queue) < 0)
        r = KIST_ENOMEM;
    if (r < 0) { /* collected in part: since has not moved, so the next call takes it again */
        watch_queue_clear(w);
        w->dropped = false;
        return r;
    }
    if (r > 0) { /* ended by us: the commit before is complete, or the bucket is gone */
        w->since = w->collecting;
        return 0;
    }
    if (w->since < told)
        w->since = told;
    if (w->since < newest) /* a commit without changes to tell */
        w->since = newest;
    return 0;
}

/* -- telling -- */

static void watch_tell(struct kist_watch *w, struct kist_change *out)
{
    const uint8_t *p = w->queue.data + w->at;
    size_t len = bytes_get32(p + 9);
    *out = (struct kist_change){
        .kind = p[8] ? KIST_CHANGE_DELETE : KIST_CHANGE_PUT, .key = {p + WATCH_HEAD, len}, .revision = bytes_get64(p)};
    w->at += WATCH_HEAD + len;
}

static int watch_resync(struct kist_watch *w, struct kist_change *out)
{
    uint64_t now = 0;
    int r = w->store->engine->ops->revision(w->store->engine, &now);
    r = r < 0 ? r : watch_bucket_there(w);
    if (r < 0)
        return r;
    w->since = now;
    *out = (struct kist_change){.kind = KIST_CHANGE_RESYNC, .key = {"", 0}, .revision = now};
    return 0;
}

/* Something to tell now: 0. Nothing: KIST_ETIMEOUT. */
static int watch_poll(struct kist_watch *w, struct kist_change *out)
{
    if (w->at == w->queue.len) {
        if (w->dropped)
            return KIST_ENOBUCKET;
        int r = watch_collect(w);
        if (r == KIST_EROLLBACK)
            return watch_resync(w, out);
        if (r < 0)
            return r;
    }
    if (w->at < w->queue.len) {
        watch_tell(w, out);
        return 0;
    }
    return w->dropped ? KIST_ENOBUCKET : KIST_ETIMEOUT;
}

/* What is left until a moment, in microseconds; < 0: for ever. */
static int64_t watch_left(int64_t until_us)
{
    if (until_us == INT64_MAX)
        return -1;
    int64_t left = until_us - os_mono_us();
    return left > 0 ? left : 0;
}

int kist_watch_next(struct kist_watch *watch, int64_t timeout_ms, struct kist_change *out_change)
{
    int64_t until = INT64_MAX;
    int r = watch_check(watch);
    if (r < 0 || !out_change)
        return r < 0 ? r : KIST_EINVAL;
    if (timeout_ms >= 0 && timeout_ms < INT64_MAX / 2000)
        until = os_mono_us() + timeout_ms * 1000;
    for (;;) {
        if (atomic_exchange(&watch->cancel, 0))
            return KIST_ETIMEOUT;
        r = watch_poll(watch, out_change);
        if (r != KIST_ETIMEOUT)
            return r;
        int64_t left = watch_left(until);
        if (left == 0)
            return KIST_ETIMEOUT;
        struct engine *e = watch->store->engine;
        r = e->ops->wait(e, watch->since, left, &watch->cancel);
        if (r < 0 && r != KIST_ETIMEOUT)
            return r;
    }
}

void kist_watch_cancel(struct kist_watch *watch)
{
    if (watch_check(watch) < 0)
        return;
    atomic_store(&watch->cancel, 1);
    watch->store->engine->ops->wake(watch->store->engine);
}

void kist_watch_close(struct kist_watch **watch)
{
    if (!watch || !*watch)
        return;
    struct kist_watch *w = *watch;
    assert(w->magic == WATCH_MAGIC);
    buf_done(&w->queue);
    os_wipe(w->prefix, w->prefix_len);
    w->magic = 0;
    os_free(w);
    *watch = NULL;
}
