/* read.c: unsealing one value.
 *
 * The sealed bytes are copied first and opened in the copy: what is checked is what is returned, whatever happens to the
 * file meanwhile. A small value and the nonce of its frame usually come with one pread. */
#include "engine/log.h"

#define READ_SMALL 2048u
#define READ_NONCE_AT 32u

/* The sealed bytes of frames that are not in the file yet; false: they are. */
static bool read_pending(struct log *log, const struct entry *e, uint64_t offset, void *p, size_t len)
{
    bool found = false;
    (void)pthread_mutex_lock(&log->state);
    const struct buf *b[2] = {&log->pending, &log->flushing};
    const uint64_t at[2] = {log->pending_at, log->flushing_at};
    const struct segment *s[2] = {log->pending_segment, log->flushing_segment};
    for (int i = 0; i < 2 && !found; i++) {
        if (b[i]->len && s[i]->number == e->segment && offset >= at[i] && offset + len <= at[i] + b[i]->len) {
            memcpy(p, b[i]->data + (offset - at[i]), len);
            found = true;
        }
    }
    (void)pthread_mutex_unlock(&log->state);
    return found;
}

static int read_sealed(struct log *log, struct segment *s, const struct entry *e, bool pending, uint64_t offset, void *p,
                       size_t len)
{
    if (pending && read_pending(log, e, offset, p, len))
        return 0;
    return segment_read(s, offset, p, len);
}

/* nonce and sealed value with one read, opened from the stack. */
static int read_small(struct log *log, struct segment *s, const struct entry *e, bool pending, uint8_t *out)
{
    uint8_t sealed[READ_SMALL];
    struct frame_context c = log_context(log, s);
    size_t n = e->delta - READ_NONCE_AT + e->len + SEAL_TAG;
    int r = read_sealed(log, s, e, pending, (uint64_t)e->frame + READ_NONCE_AT, sealed, n);
    if (r)
        return r;
    const uint8_t *value = sealed + (e->delta - READ_NONCE_AT);
    if (bytes_get32(value + e->len) != e->tag4)
        return KIST_ECORRUPT;
    return frame_value_open(&c, sealed, e->delta, e->revision, value, e->len, value + e->len, out);
}

/* The nonce first: while the subkey is made of it, memory fetches the value that segment_prefetch() has asked for. */
static int read_large(struct log *log, struct segment *s, const struct entry *e, bool pending, uint8_t *out)
{
    uint8_t nonce[SEAL_NONCE], tag[SEAL_TAG];
    struct frame_context c = log_context(log, s);
    struct seal seal;
    int r = read_sealed(log, s, e, pending, (uint64_t)e->frame + READ_NONCE_AT, nonce, sizeof nonce);
    if (r)
        return r;
    seal_begin(&seal, c.suite, c.data_key, nonce);
    r = read_sealed(log, s, e, pending, (uint64_t)e->frame + e->delta, out, (size_t)e->len + SEAL_TAG);
    if (r == 0 && bytes_get32(out + e->len) != e->tag4)
        r = KIST_ECORRUPT;
    if (r == 0) {
        memcpy(tag, out + e->len, SEAL_TAG);
        r = frame_value_unseal(&c, &seal, e->delta, e->revision, out, e->len, tag, out);
    }
    seal_end(&seal);
    return r;
}

void read_ahead(const struct log *log, const struct entry *e)
{
    const struct segment *s = table_find(log, e->segment);
    if (!s || (e->flags & (ENTRY_TOMB | ENTRY_DROP)))
        return;
    segment_prefetch(s, (uint64_t)e->frame + READ_NONCE_AT, SEAL_NONCE);
    segment_prefetch(s, (uint64_t)e->frame + e->delta, (size_t)e->len + SEAL_TAG);
}

int read_value(struct log *log, const struct entry *e, bool pending, void **out_data)
{
    struct segment *s = table_find(log, e->segment);
    int r = KIST_ECORRUPT;
    if (!s)
        return error_set(log->base.detail, r, "segment %012llu.log is not there", (unsigned long long)e->segment);
    segment_prefetch(s, (uint64_t)e->frame + e->delta, (size_t)e->len + SEAL_TAG);
    uint8_t *out = os_alloc((size_t)e->len + SEAL_TAG);
    if (!out)
        return KIST_ENOMEM;
    bool mapped = atomic_load_explicit(&s->map, memory_order_relaxed) || s->memory;
    if (e->delta >= FRAME_HEADER && !mapped && e->delta - READ_NONCE_AT + (uint64_t)e->len + SEAL_TAG <= READ_SMALL)
        r = read_small(log, s, e, pending, out);
    else if (e->delta >= FRAME_HEADER)
        r = read_large(log, s, e, pending, out);
    if (r == 0) {
        *out_data = out;
        return 0;
    }
    os_free(out);
    if (r != KIST_ECORRUPT)
        return r;
    return error_set(log->base.detail, r, "segment %012llu.log: the value of the frame at offset %lu does not authenticate",
                     (unsigned long long)e->segment, (unsigned long)e->frame);
}

bool read_expired(const struct entry *e, int64_t *io_now)
{
    if (!e->expires_ms)
        return false;
    if (!*io_now)
        *io_now = os_now_ms();
    return e->expires_ms <= *io_now;
}
