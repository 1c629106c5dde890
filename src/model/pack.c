/* pack.c: zstd, for parcels that are asked to be small.
 *
 * Frames carry the size of what is in them and a checksum, are written in one go and read in one go
 * into a buffer of exactly that size: so a bomb is refused by its header, or fails because its room
 * is full. Other frames do not reach the library: it would also read skippable ones, ones without a
 * checksum and, as Debian builds it, those of formats older than 1.0, with decoders of their own.
 * The library's working memory has seen plaintext, so it comes from os_alloc and is wiped
 * when it goes back.
 *
 * Tried and dropped: streaming, which bounds nothing that KIST_VALUE_MAX does not bound already. */
#define ZSTD_STATIC_LINKING_ONLY /* for contexts with an allocator of their own: in every zstd \
                                    since 1.0 */
#include "model/pack.h"

#include "base/bytes.h"
#include "base/os.h"

#include <stdalign.h>
#include <string.h>
#include <zstd.h>
#include <zstd_errors.h>

#define PACK_CHECKSUM 4u /* in the descriptor: a checksum follows the content */

/* In front of each block: its size, in as much room as keeps the alignment. */
#define PACK_PREFIX (alignof(max_align_t) > sizeof(size_t) ? alignof(max_align_t) : sizeof(size_t))

static void *pack_alloc(void *ctx, size_t size)
{
    (void)ctx;
    if (size > SIZE_MAX - PACK_PREFIX)
        return NULL;
    uint8_t *p = os_alloc(PACK_PREFIX + size);
    if (!p)
        return NULL;
    memcpy(p, &size, sizeof size);
    return p + PACK_PREFIX;
}

static void pack_free(void *ctx, void *address)
{
    size_t size;
    (void)ctx;
    if (!address)
        return;
    uint8_t *p = (uint8_t *)address - PACK_PREFIX;
    memcpy(&size, p, sizeof size);
    os_wipe(p, PACK_PREFIX + size);
    os_free(p);
}

static const ZSTD_customMem pack_memory = {pack_alloc, pack_free, NULL};

int pack_compress(struct kist_bytes bytes, int level, struct buf *out)
{
    size_t before = out->len, n = 0;
    if (level < 1 || level > PACK_LEVEL_MAX)
        return KIST_EINVAL;
    ZSTD_CCtx *c = ZSTD_createCCtx_advanced(pack_memory);
    int r = KIST_ENOMEM;
    if (!c)
        return r;
    size_t room = ZSTD_compressBound(bytes.len);
    uint8_t *to = buf_reserve(out, room);
    if (!to)
        goto done;
    if (ZSTD_isError(ZSTD_CCtx_setParameter(c, ZSTD_c_compressionLevel, level)) ||
        ZSTD_isError(ZSTD_CCtx_setParameter(c, ZSTD_c_checksumFlag, 1)))
        goto done;
    n = ZSTD_compress2(c, to, room, bytes.ptr, bytes.len);
    if (ZSTD_isError(n)) /* the room is always enough, so it was memory */
        goto done;
    out->len = before + n;
    r = 0;
done:
    ZSTD_freeCCtx(c);
    return r;
}

/* The start of a frame as docs/format.md allows it, RFC 8878: the magic, then the descriptor. */
static bool pack_is_ours(struct kist_bytes packed)
{
    const uint8_t *p = packed.ptr;
    return packed.len > 4 && bytes_get32(p) == ZSTD_MAGICNUMBER && (p[4] & PACK_CHECKSUM);
}

int pack_decompress(struct kist_bytes packed, size_t max, struct buf *out)
{
    size_t before = out->len;
    if (!pack_is_ours(packed))
        return KIST_ECORRUPT;
    unsigned long long size = ZSTD_getFrameContentSize(packed.ptr, packed.len);
    if (size == ZSTD_CONTENTSIZE_UNKNOWN || size == ZSTD_CONTENTSIZE_ERROR ||
        ZSTD_findFrameCompressedSize(packed.ptr, packed.len) != packed.len)
        return KIST_ECORRUPT;
    if (size > max)
        return KIST_ETOOBIG;
    ZSTD_DCtx *d = ZSTD_createDCtx_advanced(pack_memory);
    int r = KIST_ENOMEM;
    if (!d)
        return r;
    uint8_t *to = buf_reserve(out, (size_t)size);
    if (!to)
        goto done;
    size_t n = ZSTD_decompressDCtx(d, to, (size_t)size, packed.ptr, packed.len);
    r = ZSTD_isError(n) && ZSTD_getErrorCode(n) == ZSTD_error_memory_allocation ? KIST_ENOMEM : n != size ? KIST_ECORRUPT : 0;
    if (r == 0)
        out->len = before + n;
    else
        os_wipe(to, (size_t)size);
done:
    ZSTD_freeDCtx(d);
    return r;
}
