/* buf.c: a growable byte buffer.
 *
 * It doubles, it never shrinks, and the first failed allocation is remembered, so that encoders
 * read as a list of fields with one check at the end. A secret buffer is wiped whenever its bytes
 * move or die. */
#include "base/buf.h"

#include "base/bytes.h"
#include "base/os.h"

#include <assert.h>

void buf_init(struct buf *b, bool secret)
{
    *b = (struct buf){.secret = secret};
}

void buf_done(struct buf *b)
{
    if (b->secret && b->data)
        os_wipe(b->data, b->cap);
    os_free(b->data);
    *b = (struct buf){.secret = b->secret};
}

void buf_reset(struct buf *b)
{
    if (b->secret && b->data)
        os_wipe(b->data, b->len);
    b->len = 0;
    b->failed = false;
}

uint8_t *buf_reserve(struct buf *b, size_t n)
{
    if (b->failed || n > SIZE_MAX / 4 || b->len > SIZE_MAX / 4) {
        b->failed = true;
        return NULL;
    }
    if (b->data && b->cap - b->len >= n)
        return b->data + b->len;
    size_t cap = b->cap ? b->cap * 2 : 256;
    if (cap < b->len + n)
        cap = b->len + n;
    uint8_t *data = os_alloc(cap);
    if (!data) {
        b->failed = true;
        return NULL;
    }
    if (b->data && b->len)
        memcpy(data, b->data, b->len);
    if (b->secret && b->data)
        os_wipe(b->data, b->cap);
    os_free(b->data);
    b->data = data;
    b->cap = cap;
    return data + b->len;
}

uint8_t *buf_grow(struct buf *b, size_t n)
{
    uint8_t *p = buf_reserve(b, n);
    if (p)
        b->len += n;
    return p;
}

void buf_add(struct buf *b, const void *p, size_t n)
{
    uint8_t *to = buf_grow(b, n);
    if (to && n)
        memcpy(to, p, n);
}

void buf_add_u8(struct buf *b, uint8_t v)
{
    buf_add(b, &v, 1);
}

void buf_add_u32(struct buf *b, uint32_t v)
{
    uint8_t bytes[4];
    bytes_put32(bytes, v);
    buf_add(b, bytes, sizeof bytes);
}

void buf_add_u64(struct buf *b, uint64_t v)
{
    uint8_t bytes[8];
    bytes_put64(bytes, v);
    buf_add(b, bytes, sizeof bytes);
}

void buf_add_varint(struct buf *b, uint64_t v)
{
    uint8_t bytes[BYTES_VARINT_MAX];
    buf_add(b, bytes, bytes_put_varint(bytes, v));
}

int buf_status(const struct buf *b)
{
    return b->failed ? KIST_ENOMEM : 0;
}

uint8_t *buf_steal(struct buf *b, size_t *out_len)
{
    uint8_t *data = b->data;
    assert(!b->failed);
    *out_len = b->len;
    *b = (struct buf){.secret = b->secret};
    return data;
}
