/* Compression with a hard limit on what may come out. */
#ifndef KIST_MODEL_PACK_H
#define KIST_MODEL_PACK_H

#include "base/buf.h"
#include "base/error.h"

#define PACK_LEVEL_MAX 19

/* Append bytes compressed at level (1 to PACK_LEVEL_MAX). KIST_EINVAL, KIST_ENOMEM; out is as it
 * was then. */
int pack_compress(struct kist_bytes bytes, int level, struct buf *out) KIST_MUST_USE;
/* Append what packed holds. KIST_ECORRUPT: not exactly one whole frame of ours; KIST_ETOOBIG: more
 * than max would come out, found out before room is made for it. out is as it was then. */
int pack_decompress(struct kist_bytes packed, size_t max, struct buf *out) KIST_MUST_USE;

#endif
