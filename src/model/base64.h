/* Base64 (RFC 4648), standard alphabet, for bytes inside JSON. */
#ifndef KIST_MODEL_BASE64_H
#define KIST_MODEL_BASE64_H

#include "base/buf.h"
#include "base/error.h"

/* Append with padding. */
void base64_encode(struct kist_bytes bytes, struct buf *out);
/* Append what text says. Either alphabet, padding as it should be or none at all, no blanks, no
 * stray bits: one text for one value but for these. KIST_EINVAL, with out as it was. */
int base64_decode(struct kist_bytes text, struct buf *out) KIST_MUST_USE;

#endif
