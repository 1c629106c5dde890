/* A sealed stream: backups and parcels. A header that says how to unlock it, then authenticated
 * chunks up to a final one, so that a stream that was cut, reordered, changed or appended to is
 * found out. */
#ifndef KIST_CRYPT_STREAM_H
#define KIST_CRYPT_STREAM_H

#include "base/error.h"
#include "crypt/unlock.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STREAM_FORMAT 1
#define STREAM_MAGIC 8
#define STREAM_CHUNK 65536     /* bytes of plaintext in a chunk at most */
#define STREAM_CONTEXT_MAX 256 /* bytes */
#define STREAM_PEEK 32         /* bytes that stream_peek() wants to see */
#define STREAM_HEADER_MIN 160  /* and as many more as the context has */

struct stream_writer;
struct stream_reader;

/* Take all len bytes, or answer a negative KIST_E…, which the writer passes on. */
typedef int stream_out(void *ctx, const void *p, size_t len);
/* Give up to len bytes; *out_n = 0 only at the end. Or a negative KIST_E…. */
typedef int stream_in(void *ctx, void *p, size_t len, size_t *out_n);

/* Write the header. u: UNLOCK_RAW or UNLOCK_PASSPHRASE for people, UNLOCK_DIRECT for a key from
 * keyring_derive(). The context (at most STREAM_CONTEXT_MAX bytes) is stored readable and
 * authenticated. KIST_EINVAL, KIST_ETOOBIG, KIST_ENOMEM, KIST_EIO, and whatever out answers. */
int stream_write_begin(const uint8_t magic[STREAM_MAGIC], const struct unlock *u, const void *context, size_t context_len,
                       stream_out *out, void *ctx, struct stream_writer **out_writer) KIST_MUST_USE;
/* Bytes may stay in the writer until it ends. After a failure every call answers that failure
 * again. */
int stream_write(struct stream_writer *w, const void *p, size_t len) KIST_MUST_USE;
/* Write the final chunk and free. Only 0 means that the stream is whole. */
int stream_write_end(struct stream_writer **w) KIST_MUST_USE;
/* Free, leaving a stream that no reader accepts. NULL is fine. */
void stream_write_abort(struct stream_writer **w);

/* What can be seen of a stream without its key. */
struct stream_info {
    enum unlock_kind kind;
    uint64_t ops; /* of a passphrase */
    uint64_t mem;
};

/* Are the first bytes of something those of a stream of this magic? KIST_ENOTKIST, KIST_ENEWER,
 * KIST_ECORRUPT (len is less than STREAM_PEEK, or what is there no writer makes). Nothing is
 * authenticated yet. */
int stream_peek(const void *p, size_t len, const uint8_t magic[STREAM_MAGIC], struct stream_info *out) KIST_MUST_USE;

/* Read the header and open it. As stream_peek, and KIST_EKEY, KIST_ECORRUPT (truncated, damaged,
 * tampered with), KIST_ENOMEM, and whatever in answers. detail may be NULL. */
int stream_read_begin(const uint8_t magic[STREAM_MAGIC], const struct unlock *u, stream_in *in, void *ctx,
                      struct stream_reader **out_reader, struct error_detail *detail) KIST_MUST_USE;
/* The context that it was written with; it is authentic. Borrowed. */
const uint8_t *stream_read_context(const struct stream_reader *r, size_t *out_len);
/* Fill p with len bytes, fewer (*out_n) only at the authenticated end. Never hands out a byte that
 * is not authentic, but what comes after it may still prove to be damaged: what is made of the
 * bytes stays provisional until stream_read_end(). After a failure every call answers that failure
 * again. */
int stream_read(struct stream_reader *r, void *p, size_t len, size_t *out_n) KIST_MUST_USE;
/* Check what is left up to the end, and free. Only 0 means that the stream is whole and nothing
 * follows it. */
int stream_read_end(struct stream_reader **r) KIST_MUST_USE;
/* Free without looking at the rest. NULL is fine. */
void stream_read_abort(struct stream_reader **r);

#endif
