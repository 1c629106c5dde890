/* What buckets are called: ids that we make, names that people choose. Never the form of one for
 * the other. */
#ifndef KIST_MODEL_BUCKETID_H
#define KIST_MODEL_BUCKETID_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

#define BUCKETID_NIL "1111111111111111111111" /* of a bucket that was not made yet */

/* A fresh id: a random UUID (version 4) in base 58, always 22 characters, and a NUL. KIST_EIO
 * without randomness. */
int bucketid_new(char out[KIST_BUCKET_ID_LEN + 1]) KIST_MUST_USE;
/* 22 characters of the alphabet? */
bool bucketid_is(const char *text, size_t len);
/* May a bucket be called so? KIST_EINVAL, KIST_ETOOBIG; the detail says why without quoting it. */
int bucketid_name_check(const char *name, struct error_detail *detail) KIST_MUST_USE;

#endif
