/* A growable byte buffer that sticks to its first failure: append as you like, look once at the end. */
#ifndef KIST_BASE_BUF_H
#define KIST_BASE_BUF_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
    uint8_t *data;
    size_t len;
    size_t cap;
    bool failed; /* an allocation failed: len is what fitted before */
    bool secret; /* held plaintext: wiped before it moves or goes */
};

/* secret: wipe on growth and on done. No allocation yet. */
void buf_init(struct buf *b, bool secret);
void buf_done(struct buf *b);
/* Forget the content (wiped when secret), keep the room. Clears failed. */
void buf_reset(struct buf *b);
/* Make room for n more bytes and return where they go, without counting them in; NULL when out of memory. */
uint8_t *buf_reserve(struct buf *b, size_t n);
/* Append n uninitialised bytes and return them; NULL when out of memory. */
uint8_t *buf_grow(struct buf *b, size_t n);
void buf_add(struct buf *b, const void *p, size_t n);
void buf_add_u8(struct buf *b, uint8_t v);
void buf_add_u32(struct buf *b, uint32_t v);
void buf_add_u64(struct buf *b, uint64_t v);
void buf_add_varint(struct buf *b, uint64_t v);
/* 0, or KIST_ENOMEM when any of the appends failed. */
int buf_status(const struct buf *b) KIST_MUST_USE;
/* Hand the bytes to the caller, who os_free()s them; b is empty afterwards. NULL for an empty buffer. */
uint8_t *buf_steal(struct buf *b, size_t *out_len);

#endif
