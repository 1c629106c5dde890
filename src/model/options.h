/* Structs that begin with their own size, so that programs compiled against an older or newer
 * kist.h still work. */
#ifndef KIST_MODEL_OPTIONS_H
#define KIST_MODEL_OPTIONS_H

#include "base/error.h"

#include <stddef.h>

/* Fill out (out_size bytes, the first of them its size_t size) from what a caller gave: NULL means
 * all defaults, a shorter struct leaves the rest zero. KIST_EINVAL: no size, or a longer struct
 * that sets something we do not know. */
int options_copy(struct error_detail *detail, void *out, size_t out_size, const void *given) KIST_MUST_USE;
/* The other way: give a caller as much of ours as its own size has room for, and zeros behind. The
 * size stays. */
int options_answer(struct error_detail *detail, void *out, const void *ours, size_t our_size) KIST_MUST_USE;

#endif
