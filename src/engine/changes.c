/* changes.c: the last commits' keys, for watches.
 *
 * A ring of 256 KiB in memory that each applied operation goes through; the oldest are forgotten. Who asks for more than it
 * remembers is told so and reads everything again. Nothing is written to disk for it, and without a watcher it costs one
 * small copy an operation. Key names are in it: it is made of pages that no core shows and that are empty once given back. */
#include "engine/log.h"

#define CHANGES_SIZE (256u << 10)
#define CHANGES_HEAD 24u

struct log_changes {
    uint64_t forgotten; /* everything after this sequence is in the ring */
    uint64_t newest;
    size_t head, tail; /* positions grow for ever; the place is modulo the size */
    uint8_t ring[CHANGES_SIZE];
};

#define CHANGES_PAGES ((sizeof(struct log_changes) + 4095) & ~(size_t)4095)

int changes_new(struct log_changes **out)
{
    struct log_changes *c = os_pages_alloc(CHANGES_PAGES, 0); /* zeroed: nothing is known, nothing forgotten */
    if (!c)
        return KIST_ENOMEM;
    *out = c;
    return 0;
}

void changes_free(struct log_changes **c)
{
    os_pages_free(*c, CHANGES_PAGES);
    *c = NULL;
}

static void changes_copy_in(struct log_changes *c, const void *p, size_t n)
{
    size_t at = c->head % CHANGES_SIZE, first = bytes_min(n, CHANGES_SIZE - at);
    memcpy(c->ring + at, p, first);
    memcpy(c->ring, (const uint8_t *)p + first, n - first);
    c->head += n;
}

static void changes_copy_out(const struct log_changes *c, size_t from, void *p, size_t n)
{
    size_t at = from % CHANGES_SIZE, first = bytes_min(n, CHANGES_SIZE - at);
    memcpy(p, c->ring + at, first);
    memcpy((uint8_t *)p + first, c->ring, n - first);
}

/* revision 8, bucket 8, kind 4, key length 4 */
static size_t changes_head(const struct log_changes *c, size_t at, struct engine_change *out)
{
    uint8_t h[CHANGES_HEAD];
    changes_copy_out(c, at, h, sizeof h);
    uint32_t kind = bytes_get32(h + 16);
    out->revision = bytes_get64(h);
    out->bucket = bytes_get64(h + 8);
    out->deleted = kind == FRAME_DELETE;
    out->dropped = kind == FRAME_DROP;
    out->key.len = bytes_get32(h + 20);
    return CHANGES_HEAD + out->key.len;
}

void changes_add(struct log_changes *c, const struct frame_op *op)
{
    uint8_t h[CHANGES_HEAD];
    size_t n = CHANGES_HEAD + op->key_len;
    while (c->head - c->tail + n > CHANGES_SIZE) {
        struct engine_change old;
        c->tail += changes_head(c, c->tail, &old);
        c->forgotten = old.revision;
    }
    bytes_put64(h, op->revision);
    bytes_put64(h + 8, op->bucket);
    bytes_put32(h + 16, op->kind);
    bytes_put32(h + 20, op->key_len);
    changes_copy_in(c, h, sizeof h);
    if (op->key_len)
        changes_copy_in(c, op->key, op->key_len);
    c->newest = op->revision;
}

void changes_forget(struct log_changes *c, uint64_t sequence)
{
    c->forgotten = c->newest = sequence;
    c->tail = c->head;
}

int changes_read(struct engine *e, uint64_t *io_since, int (*each)(const struct engine_change *c, void *ctx), void *ctx)
{
    struct log *log = log_of(e);
    int r = log_entered(log);
    if (r)
        return r;
    r = follow_fresh(log);
    (void)pthread_mutex_lock(&log->state);
    uint64_t visible = tree_published_tag(log->index);
    const struct log_changes *c = log->changes;
    if (r == 0 && *io_since < c->forgotten)
        r = KIST_EROLLBACK;
    for (size_t at = c->tail; r == 0 && at < c->head;) {
        uint8_t key[KIST_KEY_MAX];
        struct engine_change change;
        size_t n = changes_head(c, at, &change);
        if (change.revision > visible)
            break;
        if (change.revision > *io_since) {
            changes_copy_out(c, at + CHANGES_HEAD, key, change.key.len);
            change.key.ptr = key;
            r = each(&change, ctx);
            os_wipe(key, change.key.len);
        }
        at += n;
    }
    if (r == 0 && visible > *io_since)
        *io_since = visible;
    (void)pthread_mutex_unlock(&log->state);
    return r;
}

int changes_wait(struct engine *e, uint64_t since, int64_t timeout_us, const _Atomic uint32_t *cancel)
{
    struct log *log = log_of(e);
    int64_t end = timeout_us < 0 ? -1 : os_mono_us() + timeout_us;
    for (;;) {
        int r = log_entered(log);
        if (r)
            return r;
        uint32_t turn = shared_turn(&log->shared); /* before the looks at what may wake us */
        if (atomic_load(&log->shared.page->visible) > since)
            return 0;
        int64_t left = end < 0 ? -1 : end - os_mono_us();
        if ((end >= 0 && left <= 0) || (cancel && atomic_load(cancel)))
            return KIST_ETIMEOUT;
        shared_wait(&log->shared, turn, left);
    }
}

void changes_wake(struct engine *e)
{
    shared_wake(&log_of(e)->shared);
}
