/* Bytes on disk: little-endian fields and LEB128 varints, written and read one by one, never by
 * casting a struct. Readers take a bounded cursor, so that no input can make them run past its end. */
#ifndef KIST_BASE_BYTES_H
#define KIST_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline void bytes_put16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}

static inline void bytes_put32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

static inline void bytes_put64(uint8_t *p, uint64_t v)
{
    for (int i = 0; i < 8; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

/* Big-endian, so that memcmp orders as the numbers do: for the keys of ordered trees. */
static inline void bytes_put64be(uint8_t *p, uint64_t v)
{
    for (int i = 0; i < 8; i++)
        p[i] = (uint8_t)(v >> (56 - 8 * i));
}

static inline uint16_t bytes_get16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t bytes_get32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint64_t bytes_get64(const uint8_t *p)
{
    return (uint64_t)bytes_get32(p) | (uint64_t)bytes_get32(p + 4) << 32;
}

static inline uint64_t bytes_get64be(const uint8_t *p)
{
    uint64_t v = 0;
    for (int i = 0; i < 8; i++)
        v = v << 8 | p[i];
    return v;
}

#define BYTES_VARINT_MAX 10

/* Write v at p (room for BYTES_VARINT_MAX) and return how many bytes it took. */
static inline size_t bytes_put_varint(uint8_t *p, uint64_t v)
{
    size_t n = 0;
    while (v >= 0x80) {
        p[n++] = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    p[n++] = (uint8_t)v;
    return n;
}

static inline size_t bytes_varint_len(uint64_t v)
{
    size_t n = 1;
    for (; v >= 0x80; v >>= 7)
        n++;
    return n;
}

/* A reader over len bytes. Once it has run dry or met nonsense, bad stays true and every get gives 0. */
struct bytes_in {
    const uint8_t *p;
    const uint8_t *end;
    bool bad;
};

static inline struct bytes_in bytes_in_init(const void *p, size_t len)
{
    struct bytes_in in = {.p = p, .end = (const uint8_t *)p + len, .bad = false};
    return in;
}

static inline size_t bytes_in_left(const struct bytes_in *in)
{
    return (size_t)(in->end - in->p);
}

/* The next n bytes, borrowed, or NULL. */
static inline const uint8_t *bytes_in_take(struct bytes_in *in, size_t n)
{
    if (in->bad || n > bytes_in_left(in)) {
        in->bad = true;
        return NULL;
    }
    const uint8_t *p = in->p;
    in->p += n;
    return p;
}

static inline uint8_t bytes_in_u8(struct bytes_in *in)
{
    const uint8_t *p = bytes_in_take(in, 1);
    return p ? *p : 0;
}

static inline uint32_t bytes_in_u32(struct bytes_in *in)
{
    const uint8_t *p = bytes_in_take(in, 4);
    return p ? bytes_get32(p) : 0;
}

static inline uint64_t bytes_in_u64(struct bytes_in *in)
{
    const uint8_t *p = bytes_in_take(in, 8);
    return p ? bytes_get64(p) : 0;
}

/* A varint; the canonical (shortest) form only, so that one value has one encoding. */
static inline uint64_t bytes_in_varint(struct bytes_in *in)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint8_t b = bytes_in_u8(in);
        if (in->bad || (shift == 63 && b > 1) || (shift > 0 && b == 0))
            break;
        v |= (uint64_t)(b & 0x7f) << shift;
        if (b < 0x80)
            return v;
    }
    in->bad = true;
    return 0;
}

static inline size_t bytes_align8(size_t n)
{
    return (n + 7) & ~(size_t)7;
}

static inline size_t bytes_min(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* -1, 0, 1 as the unsigned bytes of a sort before, with or after those of b; a prefix sorts first. */
static inline int bytes_compare(const void *a, size_t alen, const void *b, size_t blen)
{
    size_t n = bytes_min(alen, blen);
    int c = n ? memcmp(a, b, n) : 0;
    if (c)
        return c < 0 ? -1 : 1;
    return alen == blen ? 0 : alen < blen ? -1 : 1;
}

#endif
