/* stream.c: sealed streams, for what leaves the store in one piece.
 *
 *     unlock -> slot key -+-> stream key  (crypto_secretstream_xchacha20poly1305)
 *                         +-> commitment  (stored: tells a wrong key from damage)
 *                         +-> MAC key     (authenticates the header, before any chunk is read)
 *
 * secretstream chains the chunks and marks the last one. We add lengths, since a pipe has no
 * frames, and the additional data of every chunk: the header's MAC and the length, so that no chunk
 * stands under another header. A chunk is handed out only after its tag was checked; that it was
 * the last word is known only at the end, which is why stream_read_end() has an answer of its own.
 *
 * Writer and reader stand between two callbacks and know nothing of files. Both keep a chunk of
 * plaintext in secret memory (a locked 64 KiB each) and a chunk of ciphertext in plain memory.
 *
 * Dropped: flushing in the middle (a short chunk that is not the last is readable, but no writer of
 * ours makes one) and rekeying (a stream has its own key, and 2^64 bytes are more than anyone
 * writes with it). */
#include "crypt/stream.h"

#include "base/bytes.h"
#include "base/os.h"
#include "crypt/secret.h"
#include "crypt/seal.h"

#include <assert.h>
#include <sodium.h>

/* Where the header's fields are; docs/format.md has the same table. */
enum {
    STREAM_AT_VERSION = 8,
    STREAM_AT_SUITE = 10,
    STREAM_AT_KIND = 11,
    STREAM_AT_LENGTH = 12,
    STREAM_AT_OPS = 16, /* ops, mem, salt */
    STREAM_AT_COMMITMENT = 48,
    STREAM_AT_START = 80, /* secretstream's own header */
    STREAM_AT_CONTEXT_LEN = 104,
    STREAM_AT_ZERO = 106,
    STREAM_AT_CONTEXT = 112,
};
#define STREAM_CHECKSUM 16
#define STREAM_MAC 32
#define STREAM_HEADER_MAX (STREAM_HEADER_MIN + STREAM_CONTEXT_MAX)
#define STREAM_SUITE 1
#define STREAM_PREFIX 4
#define STREAM_OVERHEAD crypto_secretstream_xchacha20poly1305_ABYTES /* 17 */
#define STREAM_SEALED_MAX (STREAM_CHUNK + STREAM_OVERHEAD)
#define STREAM_AD (STREAM_MAC + STREAM_PREFIX)

_Static_assert(STREAM_HEADER_MIN == STREAM_AT_CONTEXT + STREAM_CHECKSUM + STREAM_MAC, "the header's length");
_Static_assert(crypto_secretstream_xchacha20poly1305_HEADERBYTES == STREAM_AT_CONTEXT_LEN - STREAM_AT_START,
               "secretstream's header");

#define STREAM_KDF_CONTEXT "kiststrm" /* crypto_kdf, under the slot key */
enum { STREAM_ID_KEY = 1, STREAM_ID_COMMITMENT = 2, STREAM_ID_MAC = 3 };

/* What the slot key turns into. */
struct stream_keys {
    uint8_t stream[crypto_secretstream_xchacha20poly1305_KEYBYTES];
    uint8_t commitment[32];
    uint8_t mac[32];
};

#define STREAM_WRITING 0x73747277u
#define STREAM_READING 0x73747264u

struct stream_writer {
    uint32_t alive; /* STREAM_WRITING */
    int failed;     /* the first failure, or 0 */
    stream_out *out;
    void *ctx;
    crypto_secretstream_xchacha20poly1305_state state;
    uint8_t ad[STREAM_AD];
    size_t len;      /* in plain */
    uint8_t *sealed; /* STREAM_PREFIX + STREAM_SEALED_MAX, os_alloc */
    uint8_t plain[STREAM_CHUNK];
};

struct stream_reader {
    uint32_t alive; /* STREAM_READING */
    int failed;
    bool ended; /* the final chunk was opened and nothing follows it */
    stream_in *in;
    void *ctx;
    crypto_secretstream_xchacha20poly1305_state state;
    uint8_t ad[STREAM_AD];
    uint8_t context[STREAM_CONTEXT_MAX];
    size_t context_len;
    size_t at, len;  /* what is left of plain */
    uint8_t *sealed; /* STREAM_SEALED_MAX, os_alloc */
    uint8_t plain[STREAM_CHUNK];
};

/* -- the header -- */

static int stream_keys_make(const struct unlock *u, const struct unlock_kdf *kdf, struct stream_keys *out,
                            struct error_detail *detail)
{
    uint8_t key[UNLOCK_KEY];
    int rc = unlock_key(u, kdf, key, detail);
    if (rc)
        return rc;
    (void)crypto_kdf_derive_from_key(out->stream, sizeof out->stream, STREAM_ID_KEY, STREAM_KDF_CONTEXT, key);
    (void)crypto_kdf_derive_from_key(out->commitment, sizeof out->commitment, STREAM_ID_COMMITMENT, STREAM_KDF_CONTEXT, key);
    (void)crypto_kdf_derive_from_key(out->mac, sizeof out->mac, STREAM_ID_MAC, STREAM_KDF_CONTEXT, key);
    sodium_memzero(key, sizeof key);
    return 0;
}

/* Checksum and MAC behind a header whose fields are all there. */
static void stream_header_close(uint8_t *header, size_t len, const struct stream_keys *keys)
{
    size_t checked = len - STREAM_MAC - STREAM_CHECKSUM;
    seal_hash(header + checked, STREAM_CHECKSUM, NULL, 0, header, checked);
    seal_hash(header + len - STREAM_MAC, STREAM_MAC, keys->mac, sizeof keys->mac, header, len - STREAM_MAC);
}

/* Is it a stream of this magic, of a version that we read, with a length that can be? len bytes are
 * at hand. */
static int stream_header_outside(const uint8_t *p, size_t len, const uint8_t magic[STREAM_MAGIC], struct error_detail *detail)
{
    if (len && memcmp(p, magic, bytes_min(len, STREAM_MAGIC)))
        return error_set(detail, KIST_ENOTKIST, "it does not begin with %.8s", (const char *)magic);
    if (len < STREAM_AT_SUITE)
        return error_set(detail, KIST_ECORRUPT, "it ends after %zu bytes", len);
    unsigned version = bytes_get16(p + STREAM_AT_VERSION);
    if (version > STREAM_FORMAT)
        return error_set(detail, KIST_ENEWER, "stream format %u; this kist reads up to %d", version, STREAM_FORMAT);
    if (len < STREAM_PEEK)
        return error_set(detail, KIST_ECORRUPT, "it ends after %zu bytes", len);
    uint32_t header = bytes_get32(p + STREAM_AT_LENGTH);
    if (version == 0 || header < STREAM_HEADER_MIN || header > STREAM_HEADER_MAX)
        return error_set(detail, KIST_ECORRUPT, "no writer makes such a header");
    return 0;
}

/* How its key is made. At least STREAM_PEEK bytes are at hand: without the salt, then. */
static int stream_header_kdf(const uint8_t *p, size_t len, struct unlock_kdf *out, struct error_detail *detail)
{
    uint8_t kind = p[STREAM_AT_KIND];
    uint8_t stored[UNLOCK_KDF_SIZE] = {0};
    if (p[STREAM_AT_SUITE] != STREAM_SUITE || kind < UNLOCK_RAW || kind > UNLOCK_DIRECT)
        return error_set(detail, KIST_ENEWER, "an unknown suite (%d) or way to unlock (%d)", (int)p[STREAM_AT_SUITE], (int)kind);
    memcpy(stored, p + STREAM_AT_OPS, bytes_min(len - STREAM_AT_OPS, sizeof stored));
    return unlock_kdf_decode(kind, stored, out, detail);
}

/* The plain checksum first: damage is told before anybody is blamed for a wrong key. */
static int stream_header_check(const uint8_t *header, size_t len, struct error_detail *detail)
{
    uint8_t sum[STREAM_CHECKSUM];
    size_t checked = len - STREAM_MAC - STREAM_CHECKSUM;
    seal_hash(sum, sizeof sum, NULL, 0, header, checked);
    if (memcmp(sum, header + checked, sizeof sum))
        return error_set(detail, KIST_ECORRUPT, "its header is damaged: the checksum is wrong");
    if (bytes_get16(header + STREAM_AT_CONTEXT_LEN) != len - STREAM_HEADER_MIN ||
        !sodium_is_zero(header + STREAM_AT_ZERO, STREAM_AT_CONTEXT - STREAM_AT_ZERO))
        return error_set(detail, KIST_ECORRUPT, "no writer makes such a header");
    return 0;
}

int stream_peek(const void *p, size_t len, const uint8_t magic[STREAM_MAGIC], struct stream_info *out)
{
    struct unlock_kdf kdf;
    int rc = stream_header_outside(p, len, magic, NULL);
    if (rc == 0)
        rc = stream_header_kdf(p, len, &kdf, NULL);
    if (rc == 0)
        *out = (struct stream_info){(enum unlock_kind)kdf.kind, kdf.ops, kdf.mem};
    return rc;
}

/* -- writing -- */

/* Bind the header to every chunk. */
static void stream_ad_begin(uint8_t ad[STREAM_AD], const uint8_t *header, size_t len)
{
    memcpy(ad, header + len - STREAM_MAC, STREAM_MAC);
}

/* Free w whatever its state is. */
void stream_write_abort(struct stream_writer **w)
{
    if (!*w)
        return;
    assert((*w)->alive == STREAM_WRITING);
    void *p = *w;
    os_free((*w)->sealed);
    *w = NULL;
    secret_free(&p);
}

static int stream_write_alloc(stream_out *out, void *ctx, struct stream_writer **out_writer)
{
    void *p;
    int rc = secret_new(sizeof(struct stream_writer), &p);
    if (rc)
        return rc;
    struct stream_writer *w = p;
    w->alive = STREAM_WRITING;
    w->out = out;
    w->ctx = ctx;
    w->sealed = os_alloc(STREAM_PREFIX + STREAM_SEALED_MAX);
    if (!w->sealed) {
        stream_write_abort(&w);
        return KIST_ENOMEM;
    }
    *out_writer = w;
    return 0;
}

/* Make the keys, fill the header, start the cipher. */
static int stream_write_header(struct stream_writer *w, const uint8_t *magic, const struct unlock *u, const void *context,
                               size_t context_len, uint8_t *header)
{
    struct unlock_kdf kdf;
    struct stream_keys keys;
    size_t len = STREAM_HEADER_MIN + context_len;
    int rc = unlock_kdf_new(u, &kdf);
    if (rc == 0)
        rc = stream_keys_make(u, &kdf, &keys, NULL);
    if (rc)
        return rc;
    memset(header, 0, len);
    memcpy(header, magic, STREAM_MAGIC);
    bytes_put16(header + STREAM_AT_VERSION, STREAM_FORMAT);
    header[STREAM_AT_SUITE] = STREAM_SUITE;
    header[STREAM_AT_KIND] = kdf.kind;
    bytes_put32(header + STREAM_AT_LENGTH, (uint32_t)len);
    unlock_kdf_encode(&kdf, header + STREAM_AT_OPS);
    memcpy(header + STREAM_AT_COMMITMENT, keys.commitment, sizeof keys.commitment);
    (void)crypto_secretstream_xchacha20poly1305_init_push(&w->state, header + STREAM_AT_START, keys.stream);
    bytes_put16(header + STREAM_AT_CONTEXT_LEN, (uint16_t)context_len);
    if (context_len)
        memcpy(header + STREAM_AT_CONTEXT, context, context_len);
    stream_header_close(header, len, &keys);
    stream_ad_begin(w->ad, header, len);
    sodium_memzero(&keys, sizeof keys);
    return 0;
}

int stream_write_begin(const uint8_t magic[STREAM_MAGIC], const struct unlock *u, const void *context, size_t context_len,
                       stream_out *out, void *ctx, struct stream_writer **out_writer)
{
    uint8_t header[STREAM_HEADER_MAX];
    struct stream_writer *w;
    if (context_len > STREAM_CONTEXT_MAX)
        return KIST_ETOOBIG;
    int rc = stream_write_alloc(out, ctx, &w);
    if (rc)
        return rc;
    rc = stream_write_header(w, magic, u, context, context_len, header);
    if (rc == 0)
        rc = out(ctx, header, STREAM_HEADER_MIN + context_len);
    if (rc)
        stream_write_abort(&w);
    else
        *out_writer = w;
    return rc;
}

/* Seal plain as one chunk and pass it on. */
static int stream_write_chunk(struct stream_writer *w, uint8_t tag)
{
    unsigned long long sealed_len = 0;
    uint8_t *prefix = w->ad + STREAM_MAC;
    bytes_put32(prefix, (uint32_t)(w->len + STREAM_OVERHEAD));
    memcpy(w->sealed, prefix, STREAM_PREFIX);
    int rc = crypto_secretstream_xchacha20poly1305_push(&w->state, w->sealed + STREAM_PREFIX, &sealed_len, w->plain, w->len,
                                                        w->ad, STREAM_AD, tag);
    assert(rc == 0 && sealed_len == w->len + STREAM_OVERHEAD);
    sodium_memzero(w->plain, w->len);
    w->len = 0;
    return w->out(w->ctx, w->sealed, STREAM_PREFIX + (size_t)sealed_len);
}

int stream_write(struct stream_writer *w, const void *p, size_t len)
{
    const uint8_t *from = p;
    assert(w && w->alive == STREAM_WRITING);
    while (len && !w->failed) {
        if (w->len == STREAM_CHUNK) { /* only now is it known not to be the last one */
            w->failed = stream_write_chunk(w, crypto_secretstream_xchacha20poly1305_TAG_MESSAGE);
            continue;
        }
        size_t n = bytes_min(len, STREAM_CHUNK - w->len);
        memcpy(w->plain + w->len, from, n);
        w->len += n;
        from += n;
        len -= n;
    }
    return w->failed;
}

int stream_write_end(struct stream_writer **w)
{
    assert(*w && (*w)->alive == STREAM_WRITING);
    int rc = (*w)->failed;
    if (rc == 0)
        rc = stream_write_chunk(*w, crypto_secretstream_xchacha20poly1305_TAG_FINAL);
    stream_write_abort(w);
    return rc;
}

/* -- reading -- */

/* Read until p is full or the input ends. */
static int stream_read_fill(stream_in *in, void *ctx, uint8_t *p, size_t len, size_t *out_n)
{
    size_t have = 0, n = 1;
    while (have < len && n) {
        int rc = in(ctx, p + have, len - have, &n);
        if (rc)
            return rc;
        assert(n <= len - have);
        have += n;
    }
    *out_n = have;
    return 0;
}

void stream_read_abort(struct stream_reader **r)
{
    if (!*r)
        return;
    assert((*r)->alive == STREAM_READING);
    void *p = *r;
    os_free((*r)->sealed);
    *r = NULL;
    secret_free(&p);
}

static int stream_read_alloc(stream_in *in, void *ctx, struct stream_reader **out_reader)
{
    void *p;
    int rc = secret_new(sizeof(struct stream_reader), &p);
    if (rc)
        return rc;
    struct stream_reader *r = p;
    r->alive = STREAM_READING;
    r->in = in;
    r->ctx = ctx;
    r->sealed = os_alloc(STREAM_SEALED_MAX);
    if (!r->sealed) {
        stream_read_abort(&r);
        return KIST_ENOMEM;
    }
    *out_reader = r;
    return 0;
}

/* A whole header that stream_header_check() let pass: is u its key, and is all of it authentic? */
static int stream_read_open(struct stream_reader *r, const struct unlock *u, const struct unlock_kdf *kdf, const uint8_t *header,
                            size_t len, struct error_detail *detail)
{
    struct stream_keys keys;
    uint8_t mac[STREAM_MAC];
    int rc = stream_keys_make(u, kdf, &keys, detail);
    if (rc)
        return rc;
    seal_hash(mac, sizeof mac, keys.mac, sizeof keys.mac, header, len - STREAM_MAC);
    if (!secret_equal(keys.commitment, header + STREAM_AT_COMMITMENT, sizeof keys.commitment))
        rc = error_set(detail, KIST_EKEY, "it was written with another key or passphrase");
    else if (!secret_equal(mac, header + len - STREAM_MAC, STREAM_MAC))
        rc = error_set(detail, KIST_ECORRUPT, "its header was changed");
    else if (crypto_secretstream_xchacha20poly1305_init_pull(&r->state, header + STREAM_AT_START, keys.stream))
        rc = error_set(detail, KIST_ECORRUPT, "its header was changed");
    sodium_memzero(&keys, sizeof keys);
    if (rc)
        return rc;
    stream_ad_begin(r->ad, header, len);
    r->context_len = len - STREAM_HEADER_MIN;
    memcpy(r->context, header + STREAM_AT_CONTEXT, r->context_len);
    return 0;
}

/* Fetch the header, as much as it says that it has, and what it says of the key. */
static int stream_read_header(struct stream_reader *r, const uint8_t *magic, uint8_t header[STREAM_HEADER_MAX], size_t *out_len,
                              struct unlock_kdf *out_kdf, struct error_detail *detail)
{
    size_t n, more;
    int rc = stream_read_fill(r->in, r->ctx, header, STREAM_HEADER_MIN, &n);
    if (rc == 0)
        rc = stream_header_outside(header, n, magic, detail);
    if (rc)
        return rc;
    size_t len = bytes_get32(header + STREAM_AT_LENGTH);
    if (n == STREAM_HEADER_MIN) {
        rc = stream_read_fill(r->in, r->ctx, header + n, len - n, &more);
        if (rc)
            return rc;
        n += more;
    }
    if (n < len)
        return error_set(detail, KIST_ECORRUPT, "it ends after %zu bytes", n);
    *out_len = len;
    rc = stream_header_check(header, len, detail);
    return rc ? rc : stream_header_kdf(header, len, out_kdf, detail);
}

int stream_read_begin(const uint8_t magic[STREAM_MAGIC], const struct unlock *u, stream_in *in, void *ctx,
                      struct stream_reader **out_reader, struct error_detail *detail)
{
    uint8_t header[STREAM_HEADER_MAX];
    struct unlock_kdf kdf;
    struct stream_reader *r;
    size_t len = 0;
    int rc = stream_read_alloc(in, ctx, &r);
    if (rc)
        return rc;
    rc = stream_read_header(r, magic, header, &len, &kdf, detail);
    if (rc == 0)
        rc = stream_read_open(r, u, &kdf, header, len, detail);
    if (rc)
        stream_read_abort(&r);
    else
        *out_reader = r;
    return rc;
}

const uint8_t *stream_read_context(const struct stream_reader *r, size_t *out_len)
{
    assert(r && r->alive == STREAM_READING);
    *out_len = r->context_len;
    return r->context;
}

/* Nothing may follow the final chunk. */
static int stream_read_finish(struct stream_reader *r)
{
    uint8_t more;
    size_t n;
    int rc = stream_read_fill(r->in, r->ctx, &more, 1, &n);
    if (rc)
        return rc;
    if (n)
        return KIST_ECORRUPT;
    r->ended = true;
    return 0;
}

/* Open the next chunk into plain, which is empty. */
static int stream_read_chunk(struct stream_reader *r)
{
    unsigned long long len = 0;
    uint8_t tag = 0, *prefix = r->ad + STREAM_MAC;
    size_t n;
    int rc = stream_read_fill(r->in, r->ctx, prefix, STREAM_PREFIX, &n);
    if (rc)
        return rc;
    size_t sealed_len = bytes_get32(prefix);
    if (n < STREAM_PREFIX || sealed_len < STREAM_OVERHEAD || sealed_len > STREAM_SEALED_MAX)
        return KIST_ECORRUPT;
    rc = stream_read_fill(r->in, r->ctx, r->sealed, sealed_len, &n);
    if (rc)
        return rc;
    if (n < sealed_len ||
        crypto_secretstream_xchacha20poly1305_pull(&r->state, r->plain, &len, &tag, r->sealed, sealed_len, r->ad, STREAM_AD))
        return KIST_ECORRUPT;
    r->at = 0;
    r->len = (size_t)len;
    if (tag == crypto_secretstream_xchacha20poly1305_TAG_FINAL)
        return stream_read_finish(r);
    return tag == crypto_secretstream_xchacha20poly1305_TAG_MESSAGE && len ? 0 : KIST_ECORRUPT;
}

int stream_read(struct stream_reader *r, void *p, size_t len, size_t *out_n)
{
    uint8_t *to = p;
    size_t have = 0;
    assert(r && r->alive == STREAM_READING);
    while (have < len && !r->failed) {
        size_t n = bytes_min(len - have, r->len - r->at);
        if (n) {
            memcpy(to + have, r->plain + r->at, n);
            r->at += n;
            have += n;
        } else if (r->ended) {
            break;
        } else {
            sodium_memzero(r->plain, r->len);
            r->at = r->len = 0;
            r->failed = stream_read_chunk(r);
        }
    }
    if (r->failed)
        return r->failed;
    *out_n = have;
    return 0;
}

int stream_read_end(struct stream_reader **r)
{
    assert(*r && (*r)->alive == STREAM_READING);
    while (!(*r)->failed && !(*r)->ended)
        (*r)->failed = stream_read_chunk(*r);
    int rc = (*r)->failed;
    stream_read_abort(r);
    return rc;
}
