/* What a value's bytes are: int, float, JSON or raw; and the arithmetic on the first two. No
 * locale, no allocation. */
#ifndef KIST_MODEL_VALUE_H
#define KIST_MODEL_VALUE_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VALUE_TEXT 32        /* room for any number that is formatted, with its NUL */
#define VALUE_FLOAT_MAX 1024 /* bytes: a longer decimal text is not read as a float */

/* KIST_INT, KIST_FLOAT, KIST_JSON or KIST_RAW, in this order. A number that is too large for a
 * float64 is raw. */
enum kist_type value_detect(struct kist_bytes v);
/* Turn KIST_DETECT into what it is; check any other. KIST_ETYPE (int, float), KIST_EJSON,
 * KIST_EINVAL (no such type). */
int value_check(enum kist_type *io_type, struct kist_bytes v) KIST_MUST_USE;

/* -?(0|[1-9][0-9]*) within int64, and "-0" is none. KIST_ETYPE. */
int value_parse_int(struct kist_bytes v, int64_t *out) KIST_MUST_USE;
/* JSON's grammar for numbers, ints included; finite. KIST_ETYPE. */
int value_parse_float(struct kist_bytes v, double *out) KIST_MUST_USE;
/* What is added to a number. With a point or an exponent it is a float, else an int, and -0 is 0: a
 * counter stays exact unless a float is asked for. KIST_ETYPE: not a number; KIST_ERANGE: an int
 * beyond 64 bits. */
int value_parse_step(struct kist_bytes v, bool *out_is_float, int64_t *out_int, double *out_float) KIST_MUST_USE;
#define VALUE_STEP_RANGE "an int has at most 64 bits; with a point or an exponent it is a float"
/* Length without the NUL. */
size_t value_format_int(int64_t v, char out[VALUE_TEXT]);
/* A text with as few digits as read back as v, and not as an int: 2 is "2.0". v is finite. */
size_t value_format_float(double v, char out[VALUE_TEXT]);

/* KIST_ERANGE: would overflow. */
int value_add_int(int64_t a, int64_t b, int64_t *out) KIST_MUST_USE;
/* KIST_EINVAL: b is NaN. KIST_ERANGE: the sum is not finite. */
int value_add_float(double a, double b, double *out) KIST_MUST_USE;

#endif
