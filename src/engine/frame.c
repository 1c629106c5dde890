/* frame.c: commits as sealed bytes.
 *
 * A frame has one random nonce, hence one subkey. The block of operations is sealed under counter 0, a value under the
 * counter that is its distance from the frame's start, which is never 0 and never twice the same. The block's additional
 * data holds the store, the segment, the tag of the frame before and the header, so a frame is good in one place only; it
 * holds the tags of the values, so they belong to it. A value's additional data holds store and revision, so that it can
 * be opened alone and still not be exchanged for another.
 *
 * The header carries a keyed check of its own (SipHash), outside the chain: recovery needs to know whether something that
 * looks like a later frame really is one, when the chain before it is broken. Tried and dropped: a tag table in front of
 * the block as additional data (16 bytes a value less on disk, but one more cache miss for each read). */
#include "engine/frame.h"

#include "base/os.h"

#include <assert.h>

#define FRAME_MAGIC UINT32_C(0x4d52464b) /* "KFRM" */

enum { OP_KIND = 0x03, OP_TYPE_SHIFT = 2, OP_TYPE = 0x07, OP_EXPIRES = 0x20, OP_BUCKET = 0x40, OP_REVISION = 0x80 };

#define FRAME_AD (16 + 8 + SEAL_TAG + FRAME_CHECKED + 8)

/* -- sizes -- */

static size_t frame_op_size(const struct frame_op *op, uint64_t bucket, uint64_t sequence)
{
    size_t n = 1;
    if (op->bucket != bucket)
        n += bytes_varint_len(op->bucket);
    if (op->revision != sequence)
        n += bytes_varint_len(op->revision);
    if (op->kind == FRAME_DROP)
        return n;
    n += bytes_varint_len(op->key_len) + op->key_len;
    if (op->kind == FRAME_DELETE)
        return n + bytes_varint_len(op->shadow);
    if (op->expires_ms)
        n += 8;
    return n + bytes_varint_len(op->len) + SEAL_TAG;
}

void frame_size_add(struct frame_sizes *s, const struct frame_op *op, uint64_t sequence)
{
    s->ops += frame_op_size(op, s->bucket, sequence);
    s->bucket = op->bucket;
    if (op->kind == FRAME_PUT)
        s->values += (uint64_t)op->len + SEAL_TAG;
}

uint64_t frame_size_total(const struct frame_sizes *s)
{
    return (FRAME_HEADER + s->ops + s->values + 7) & ~UINT64_C(7);
}

/* -- writing -- */

static void frame_ad(const struct frame_context *c, const uint8_t *header, const uint8_t prev[SEAL_TAG], uint8_t ad[FRAME_AD])
{
    memcpy(ad, c->store_id, 16);
    bytes_put64(ad + 16, c->segment);
    memcpy(ad + 24, prev, SEAL_TAG);
    memcpy(ad + 40, header, FRAME_CHECKED + 8);
}

static uint64_t frame_check(const struct frame_context *c, const uint8_t *header)
{
    uint8_t in[FRAME_CHECKED + 8];
    memcpy(in, header, FRAME_CHECKED);
    bytes_put64(in + FRAME_CHECKED, c->segment);
    return seal_check(c->check_key, in, sizeof in);
}

int frame_begin(struct frame_writer *w, const struct frame_context *context, uint8_t *frame, const struct frame_sizes *sizes,
                enum frame_kind kind, uint64_t sequence, uint64_t synced)
{
    uint64_t total = frame_size_total(sizes);
    assert(total <= FRAME_MAX);
    int r = os_random(frame + 32, SEAL_NONCE);
    if (r)
        return r;
    bytes_put32(frame, FRAME_MAGIC);
    bytes_put32(frame + 4, (uint32_t)total);
    bytes_put32(frame + 8, (uint32_t)sizes->ops);
    bytes_put32(frame + 12, (uint32_t)kind);
    bytes_put64(frame + 16, sequence);
    bytes_put64(frame + 24, synced);
    bytes_put64(frame + FRAME_CHECKED, frame_check(context, frame));
    w->context = context;
    w->frame = frame;
    w->sequence = sequence;
    w->bucket = 0;
    w->ops_at = FRAME_HEADER;
    w->value_at = FRAME_HEADER + (size_t)sizes->ops;
    w->sizes = *sizes;
    seal_begin(&w->seal, context->suite, context->data_key, frame + 32);
    return 0;
}

static void frame_value_ad(const struct frame_context *c, uint64_t revision, uint8_t ad[24])
{
    memcpy(ad, c->store_id, 16);
    bytes_put64(ad + 16, revision);
}

static void frame_seal_value(struct frame_writer *w, struct frame_op *op)
{
    uint8_t ad[24];
    frame_value_ad(w->context, op->revision, ad);
    op->delta = (uint32_t)w->value_at;
    uint8_t *to = w->frame + w->value_at;
    seal_encrypt(&w->seal, op->delta, ad, sizeof ad, op->value, op->len, to, op->tag);
    memcpy(to + op->len, op->tag, SEAL_TAG);
    w->value_at += (size_t)op->len + SEAL_TAG;
}

void frame_add(struct frame_writer *w, struct frame_op *op)
{
    uint8_t *p = w->frame + w->ops_at;
    uint8_t *start = p++;
    *start = (uint8_t)op->kind;
    if (op->bucket != w->bucket) {
        *start |= OP_BUCKET;
        p += bytes_put_varint(p, op->bucket);
        w->bucket = op->bucket;
    }
    if (op->revision != w->sequence) {
        *start |= OP_REVISION;
        p += bytes_put_varint(p, op->revision);
    }
    if (op->kind != FRAME_DROP) {
        p += bytes_put_varint(p, op->key_len);
        memcpy(p, op->key, op->key_len);
        p += op->key_len;
    }
    if (op->kind == FRAME_DELETE)
        p += bytes_put_varint(p, op->shadow);
    if (op->kind == FRAME_PUT) {
        *start |= (uint8_t)((op->type & OP_TYPE) << OP_TYPE_SHIFT);
        if (op->expires_ms) {
            *start |= OP_EXPIRES;
            bytes_put64(p, (uint64_t)op->expires_ms);
            p += 8;
        }
        p += bytes_put_varint(p, op->len);
        frame_seal_value(w, op);
        memcpy(p, op->tag, SEAL_TAG);
        p += SEAL_TAG;
    }
    w->ops_at = (size_t)(p - w->frame);
}

void frame_add_payload(struct frame_writer *w, const void *p, size_t len)
{
    if (len)
        memcpy(w->frame + w->ops_at, p, len);
    w->ops_at += len;
}

void frame_finish(struct frame_writer *w, const uint8_t prev[SEAL_TAG], uint8_t out_tag[SEAL_TAG])
{
    uint8_t ad[FRAME_AD];
    uint8_t *block = w->frame + FRAME_HEADER;
    size_t ops = (size_t)w->sizes.ops;
    assert(w->ops_at == FRAME_HEADER + ops);
    assert(w->value_at == FRAME_HEADER + ops + w->sizes.values);
    frame_ad(w->context, w->frame, prev, ad);
    seal_encrypt(&w->seal, 0, ad, sizeof ad, block, ops, block, out_tag);
    memcpy(w->frame + FRAME_CHECKED + 8, out_tag, SEAL_TAG);
    memset(w->frame + w->value_at, 0, frame_size_total(&w->sizes) - w->value_at);
    seal_end(&w->seal);
}

/* -- reading -- */

bool frame_header_read(const struct frame_context *context, const uint8_t *p, struct frame_header *out)
{
    struct frame_header h;
    if (bytes_get32(p) != FRAME_MAGIC)
        return false;
    if (bytes_get64(p + FRAME_CHECKED) != frame_check(context, p))
        return false;
    uint32_t kind = bytes_get32(p + 12);
    h.len = bytes_get32(p + 4);
    h.ops_len = bytes_get32(p + 8);
    h.sequence = bytes_get64(p + 16);
    h.synced = bytes_get64(p + 24);
    if (kind < FRAME_COMMIT || kind > FRAME_END || h.len % 8 || h.len < FRAME_HEADER || h.ops_len > h.len - FRAME_HEADER)
        return false;
    h.kind = (enum frame_kind)kind;
    memcpy(h.nonce, p + 32, SEAL_NONCE);
    memcpy(h.tag, p + FRAME_CHECKED + 8, SEAL_TAG);
    *out = h;
    return true;
}

int frame_open(const struct frame_context *context, const uint8_t *frame, const struct frame_header *header,
               const uint8_t prev[SEAL_TAG], uint8_t *out_ops)
{
    struct seal s;
    uint8_t ad[FRAME_AD];
    frame_ad(context, frame, prev, ad);
    seal_begin(&s, context->suite, context->data_key, header->nonce);
    int r = seal_decrypt(&s, 0, ad, sizeof ad, frame + FRAME_HEADER, header->ops_len, header->tag, out_ops);
    seal_end(&s);
    return r;
}

void frame_read(struct frame_reader *r, const struct frame_header *header, const uint8_t *ops)
{
    r->in = bytes_in_init(ops, header->ops_len);
    r->header = header;
    r->bucket = 0;
    r->value_at = (uint64_t)FRAME_HEADER + header->ops_len;
}

static bool frame_read_put(struct frame_reader *r, uint8_t flags, struct frame_op *op)
{
    op->type = (flags >> OP_TYPE_SHIFT) & OP_TYPE;
    op->expires_ms = flags & OP_EXPIRES ? (int64_t)bytes_in_u64(&r->in) : 0;
    uint64_t len = bytes_in_varint(&r->in);
    const uint8_t *tag = bytes_in_take(&r->in, SEAL_TAG);
    if (!tag || len > r->header->len || r->value_at + len + SEAL_TAG > r->header->len)
        return false;
    op->len = (uint32_t)len;
    op->delta = (uint32_t)r->value_at;
    memcpy(op->tag, tag, SEAL_TAG);
    r->value_at += len + SEAL_TAG;
    return true;
}

int frame_read_next(struct frame_reader *r, struct frame_op *out)
{
    if (bytes_in_left(&r->in) == 0)
        return bytes_align8((size_t)r->value_at) == r->header->len ? 0 : KIST_ECORRUPT;
    struct frame_op op = {0};
    uint8_t flags = bytes_in_u8(&r->in);
    op.kind = (enum frame_op_kind)(flags & OP_KIND);
    if (flags & OP_BUCKET)
        r->bucket = bytes_in_varint(&r->in);
    op.bucket = r->bucket;
    op.revision = flags & OP_REVISION ? bytes_in_varint(&r->in) : r->header->sequence;
    if (op.kind == FRAME_PUT || op.kind == FRAME_DELETE) {
        uint64_t n = bytes_in_varint(&r->in);
        if (n < 1 || n > KIST_KEY_MAX)
            return KIST_ECORRUPT;
        op.key_len = (uint32_t)n;
        op.key = bytes_in_take(&r->in, op.key_len);
    }
    if (op.kind == FRAME_DELETE)
        op.shadow = bytes_in_varint(&r->in);
    if (op.kind == FRAME_PUT && !frame_read_put(r, flags, &op))
        return KIST_ECORRUPT;
    if (r->in.bad || op.kind == 0)
        return KIST_ECORRUPT;
    *out = op;
    return 1;
}

int frame_value_unseal(const struct frame_context *context, const struct seal *seal, uint32_t delta, uint64_t revision,
                       const uint8_t *sealed, uint32_t len, const uint8_t tag[SEAL_TAG], uint8_t *out)
{
    uint8_t ad[24];
    frame_value_ad(context, revision, ad);
    return seal_decrypt(seal, delta, ad, sizeof ad, sealed, len, tag, out);
}

int frame_value_open(const struct frame_context *context, const uint8_t nonce[SEAL_NONCE], uint32_t delta, uint64_t revision,
                     const uint8_t *sealed, uint32_t len, const uint8_t tag[SEAL_TAG], uint8_t *out)
{
    struct seal s;
    seal_begin(&s, context->suite, context->data_key, nonce);
    int r = frame_value_unseal(context, &s, delta, revision, sealed, len, tag, out);
    seal_end(&s);
    return r;
}
