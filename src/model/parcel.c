/* parcel.c: one value in a sealed stream that opens without a store; stash and unstash, which put
 * it into both.
 *
 * Inside the stream (crypt/stream.c, magic "KISTPRCL", context: one byte, the layout's number 1)
 * there are
 *
 *     0  1  packing: 0 none, 1 zstd
 *     1  1  type: 0 raw, 1 int, 2 float, 3 JSON
 *     2  8  expiry, ms since 1970, 0: never
 *    10  8  length of the value
 *    18  8  length of what follows: the value, or its zstd frame
 *    26     that, to the end of the stream
 *
 * It promises that a value is handed out only when the whole stream was authentic up to its end.
 * Lengths are bounded before memory is spent on them. A revision is a store's affair and is not
 * packed. Packing that would not make the value smaller is left out. */
#include "base/buf.h"
#include "base/bytes.h"
#include "base/os.h"
#include "crypt/stream.h"
#include "model/bucket.h"
#include "model/keys.h"
#include "model/ops.h"
#include "model/options.h"
#include "model/pack.h"
#include "model/value.h"

#include <string.h>

#define PARCEL_HEAD 26
#define PARCEL_LAYOUT 1

static const uint8_t parcel_magic[STREAM_MAGIC] = "KISTPRCL";

enum { PARCEL_PLAIN = 0, PARCEL_ZSTD = 1 };

/* Between the stream's callbacks and those of kist.h. first: a byte that was read ahead, or -1. */
struct parcel_pipe {
    kist_write_fn *write;
    kist_read_fn *read;
    void *ctx;
    int first;
};

static int parcel_out(void *ctx, const void *p, size_t len)
{
    struct parcel_pipe *pipe = ctx;
    int r = pipe->write(p, len, pipe->ctx);
    return r > 0 ? KIST_EIO : r; /* nobody can tell what a positive answer means */
}

/* Ask the caller. Who says that he gave more than there was room for has written behind it, or does
 * not know what he says: either way nothing of it can be used. */
static int parcel_ask(struct parcel_pipe *pipe, void *p, size_t len, size_t *out_n)
{
    size_t n = 0;
    int r = pipe->read(p, len, &n, pipe->ctx);
    if (r > 0 || (r == 0 && n > len))
        return KIST_EIO;
    if (r == 0)
        *out_n = n;
    return r;
}

static int parcel_in(void *ctx, void *p, size_t len, size_t *out_n)
{
    struct parcel_pipe *pipe = ctx;
    if (pipe->first < 0 || len == 0)
        return parcel_ask(pipe, p, len, out_n);
    *(uint8_t *)p = (uint8_t)pipe->first;
    pipe->first = -1;
    *out_n = 1;
    return 0;
}

static int parcel_options(const struct kist_parcel_options *given, struct kist_parcel_options *out, struct unlock *out_unlock)
{
    if (!given)
        return KIST_EINVAL;
    int r = options_copy(NULL, out, sizeof *out, given);
    if (r < 0)
        return r;
    if (out->key.kind == KIST_SECRET_NONE || out->compress < 0 || out->compress > PACK_LEVEL_MAX)
        return KIST_EINVAL;
    return keys_unlock(&out->key, NULL, out_unlock);
}

/* What follows the head: the value's own bytes, or a smaller frame in b. */
static int parcel_pack(const struct kist_value *v, int level, struct buf *b, struct kist_bytes *out)
{
    struct kist_bytes plain = {v->data, v->len};
    *out = plain;
    if (level == 0 || v->len == 0)
        return 0;
    int r = pack_compress(plain, level, b);
    if (r == 0 && b->len < v->len)
        *out = (struct kist_bytes){b->data, b->len};
    return r;
}

static int parcel_send(const struct kist_value *v, struct kist_bytes body, const struct unlock *u, struct parcel_pipe *pipe)
{
    static const uint8_t context[1] = {PARCEL_LAYOUT};
    uint8_t head[PARCEL_HEAD];
    struct stream_writer *w = NULL;
    head[0] = body.ptr == v->data ? PARCEL_PLAIN : PARCEL_ZSTD;
    head[1] = (uint8_t)v->type;
    bytes_put64(head + 2, (uint64_t)v->expires_ms);
    bytes_put64(head + 10, v->len);
    bytes_put64(head + 18, body.len);
    int r = stream_write_begin(parcel_magic, u, context, sizeof context, parcel_out, pipe, &w);
    if (r == 0)
        r = stream_write(w, head, sizeof head);
    if (r == 0 && body.len)
        r = stream_write(w, body.ptr, body.len);
    if (r == 0)
        r = stream_write_end(&w);
    stream_write_abort(&w);
    return r;
}

int kist_parcel_write(const struct kist_value *value, const struct kist_parcel_options *options, kist_write_fn *write,
                      void *write_ctx)
{
    struct kist_parcel_options o;
    struct unlock u = {0};
    struct kist_bytes body;
    struct buf packed;
    struct parcel_pipe pipe = {.write = write, .ctx = write_ctx, .first = -1};
    if (!value || !write || (!value->data && value->len) || (unsigned)value->type > KIST_JSON || value->expires_ms < 0)
        return KIST_EINVAL;
    if (value->len > KIST_VALUE_MAX)
        return KIST_ETOOBIG;
    int r = parcel_options(options, &o, &u);
    if (r < 0)
        return r;
    buf_init(&packed, true);
    r = parcel_pack(value, o.compress, &packed, &body);
    if (r == 0)
        r = parcel_send(value, body, &u, &pipe);
    buf_done(&packed);
    return r;
}

/* -- reading -- */

struct parcel_head {
    int packing;
    enum kist_type type;
    int64_t expires_ms;
    size_t len, body_len;
};

/* Nothing but what parcel_send() writes. Whoever has the key may have written anything else, so it
 * is data, not a bug. */
static int parcel_decode(const uint8_t p[PARCEL_HEAD], struct parcel_head *out)
{
    uint64_t expires = bytes_get64(p + 2), len = bytes_get64(p + 10), body = bytes_get64(p + 18);
    if (p[0] > PARCEL_ZSTD || p[1] > KIST_JSON)
        return KIST_ENEWER;
    if (expires > INT64_MAX || len > KIST_VALUE_MAX || body > len || (p[0] == PARCEL_PLAIN) != (body == len))
        return KIST_ECORRUPT;
    *out = (struct parcel_head){p[0], (enum kist_type)p[1], (int64_t)expires, (size_t)len, (size_t)body};
    return 0;
}

static int parcel_layout(const struct stream_reader *s)
{
    size_t len;
    const uint8_t *context = stream_read_context(s, &len);
    if (len == 0)
        return KIST_ECORRUPT;
    return context[0] == PARCEL_LAYOUT ? len == 1 ? 0 : KIST_ECORRUPT : KIST_ENEWER;
}

/* Exactly len bytes. */
static int parcel_take(struct stream_reader *s, void *p, size_t len)
{
    size_t n = 0;
    int r = stream_read(s, p, len, &n);
    return r < 0 ? r : n == len ? 0 : KIST_ECORRUPT;
}

/* Head and body, and that nothing comes behind them; ends the stream. */
static int parcel_receive(struct stream_reader **s, struct parcel_head *head, struct buf *body)
{
    uint8_t p[PARCEL_HEAD], more;
    size_t n = 0;
    int r = parcel_layout(*s);
    if (r == 0)
        r = parcel_take(*s, p, sizeof p);
    if (r == 0)
        r = parcel_decode(p, head);
    if (r < 0)
        return r;
    uint8_t *to = buf_grow(body, head->body_len ? head->body_len : 1);
    if (!to)
        return KIST_ENOMEM;
    body->len = head->body_len;
    r = head->body_len ? parcel_take(*s, to, head->body_len) : 0;
    if (r == 0)
        r = stream_read(*s, &more, 1, &n);
    if (r == 0 && n)
        r = KIST_ECORRUPT;
    return r < 0 ? r : stream_read_end(s);
}

static int parcel_unpack(const struct parcel_head *head, struct buf *body)
{
    struct buf plain;
    if (head->packing == PARCEL_PLAIN)
        return 0;
    buf_init(&plain, true);
    int r = pack_decompress((struct kist_bytes){body->data, body->len}, head->len, &plain);
    if (r == KIST_ETOOBIG || (r == 0 && plain.len != head->len))
        r = KIST_ECORRUPT;
    if (r < 0) {
        buf_done(&plain);
        return r;
    }
    buf_done(body);
    *body = plain;
    return 0;
}

static int parcel_open(const struct kist_parcel_options *options, struct parcel_pipe *pipe, struct kist_value *out_value)
{
    struct kist_parcel_options o;
    struct unlock u = {0};
    struct stream_reader *s = NULL;
    struct parcel_head head = {0};
    struct buf body;
    int r = parcel_options(options, &o, &u);
    if (r < 0)
        return r;
    keys_limit(&u);
    buf_init(&body, true);
    r = stream_read_begin(parcel_magic, &u, parcel_in, pipe, &s, NULL);
    if (r == 0)
        r = parcel_receive(&s, &head, &body);
    if (r == 0)
        r = parcel_unpack(&head, &body);
    stream_read_abort(&s);
    if (r == 0) {
        size_t len;
        uint8_t *data = buf_steal(&body, &len);
        *out_value = (struct kist_value){.data = data, .len = len, .type = head.type, .expires_ms = head.expires_ms};
    }
    buf_done(&body);
    return r;
}

int kist_parcel_read(const struct kist_parcel_options *options, kist_read_fn *read, void *read_ctx, struct kist_value *out_value)
{
    struct parcel_pipe pipe = {.read = read, .ctx = read_ctx, .first = -1};
    if (!read || !out_value)
        return KIST_EINVAL;
    return parcel_open(options, &pipe, out_value);
}

/* -- stash and unstash -- */

/* What the bucket would refuse is refused before a byte of the parcel goes out. */
static int parcel_bucket(const struct kist_bucket *bucket, struct kist_bytes key)
{
    int r = bucket_check(bucket);
    if (r < 0)
        return r;
    if (bucket->store->read_only)
        return error_set(&bucket->store->detail, KIST_EREADONLY, "the store was opened read-only");
    return ops_key(&bucket->store->detail, key);
}

int kist_stash(struct kist_bucket *bucket, struct kist_bytes key, struct kist_bytes value, enum kist_type type,
               const struct kist_parcel_options *options, kist_write_fn *write, void *write_ctx)
{
    if ((!bucket && !write) || (!value.ptr && value.len))
        return KIST_EINVAL;
    if (value.len > KIST_VALUE_MAX)
        return KIST_ETOOBIG;
    int r = value_check(&type, value);
    if (r == 0 && bucket)
        r = parcel_bucket(bucket, key);
    if (r != 0)
        return r;
    if (write) {
        /* Only read, although a value of one's own is not const. */
        struct kist_value v = {.data = (void *)(uintptr_t)value.ptr, .len = value.len, .type = type};
        r = kist_parcel_write(&v, options, write, write_ctx);
        if (r != 0)
            return r;
    }
    if (!bucket)
        return 0;
    struct kist_put_options put = {.size = sizeof put, .type = type};
    return kist_put(bucket, key, value, &put, NULL);
}

/* Is there anything to read? Its first byte goes back into the pipe. */
static int parcel_begins(struct parcel_pipe *pipe, bool *out_begins)
{
    uint8_t byte;
    size_t n = 0;
    int r = parcel_ask(pipe, &byte, 1, &n);
    if (r != 0)
        return r;
    pipe->first = n ? byte : -1;
    *out_begins = n > 0;
    return 0;
}

static int parcel_fallback(struct kist_bytes fallback, struct kist_value *out_value)
{
    void *copy = os_alloc(fallback.len ? fallback.len : 1);
    if (!copy)
        return KIST_ENOMEM;
    if (fallback.len)
        memcpy(copy, fallback.ptr, fallback.len);
    *out_value = (struct kist_value){.data = copy, .len = fallback.len, .type = value_detect(fallback)};
    return 0;
}

int kist_unstash(struct kist_bucket *bucket, struct kist_bytes key, const struct kist_parcel_options *options, kist_read_fn *read,
                 void *read_ctx, struct kist_bytes fallback, struct kist_value *out_value)
{
    struct parcel_pipe pipe = {.read = read, .ctx = read_ctx, .first = -1};
    bool begins = false;
    int r = KIST_ENOKEY;
    if (!out_value || (!fallback.ptr && fallback.len))
        return KIST_EINVAL;
    if (read) {
        int e = parcel_begins(&pipe, &begins);
        if (e != 0)
            return e;
    }
    if (begins)
        return parcel_open(options, &pipe, out_value);
    if (bucket)
        r = kist_get(bucket, key, out_value);
    if (r == KIST_ENOKEY && fallback.ptr)
        r = parcel_fallback(fallback, out_value);
    return r;
}
