/* value.c: what the bytes of a value are said to be.
 *
 * Detection reads the bytes once or twice and never changes them: what was put comes back to the
 * byte. It promises the same answer in every locale and every process, because the type is stored
 * and other doors rely on it: numbers are read and written under the "C" locale, which glibc hands
 * out without allocating. An int is canonical text, so that its text and its number say the same; a
 * float is anything else that JSON calls a number and a float64 can hold. A number that no float64
 * holds (1e999) is raw and not JSON, as the readers of JSON do not agree on what it is.
 *
 * A float is written for people, who expect 100.0 and not 1e+02; an exponent comes where zeros
 * would have to be counted.
 *
 * Tried and dropped: strtoll, which takes blanks and a plus; json_loads for detection, which
 * allocates a tree for each put and refuses JSON that is valid (see json.c). */
#include "model/value.h"

#include "model/json.h"

#include <assert.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The decimal exponents of floats that are written without one. */
#define VALUE_PLAIN_MIN (-5)
#define VALUE_PLAIN_MAX 16

static locale_t value_locale(void)
{
    locale_t c = newlocale(LC_ALL_MASK, "C", NULL);
    assert(c); /* a constant of the C library: nothing is allocated */
    return c;
}

static bool value_is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

int value_parse_int(struct kist_bytes v, int64_t *out)
{
    const uint8_t *p = v.ptr;
    size_t i = v.len && p[0] == '-';
    bool negative = i;
    int64_t sum = 0;
    if (i == v.len || (p[i] == '0' && v.len > 1))
        return KIST_ETYPE;
    for (; i < v.len; i++) {
        if (!value_is_digit(p[i]))
            return KIST_ETYPE;
        int digit = p[i] - '0';
        if (__builtin_mul_overflow(sum, 10, &sum) || __builtin_add_overflow(sum, negative ? -digit : digit, &sum))
            return KIST_ETYPE;
    }
    *out = sum;
    return 0;
}

int value_parse_float(struct kist_bytes v, double *out)
{
    char text[VALUE_FLOAT_MAX + 1];
    if (v.len > VALUE_FLOAT_MAX || !json_is_number(v))
        return KIST_ETYPE;
    memcpy(text, v.ptr, v.len);
    text[v.len] = '\0';
    double d = strtod_l(text, NULL, value_locale());
    if (!isfinite(d))
        return KIST_ETYPE;
    *out = d;
    return 0;
}

int value_parse_step(struct kist_bytes v, bool *out_is_float, int64_t *out_int, double *out_float)
{
    bool is_float = false;
    if (!json_is_number(v))
        return KIST_ETYPE;
    for (size_t i = 0; i < v.len; i++)
        is_float = is_float || strchr(".eE", ((const char *)v.ptr)[i]);
    if (is_float) {
        int r = value_parse_float(v, out_float);
        if (r < 0)
            return r;
    } else if (v.len == 2 && memcmp(v.ptr, "-0", 2) == 0) {
        *out_int = 0;
    } else if (value_parse_int(v, out_int) < 0) {
        return KIST_ERANGE; /* it has the form of an int */
    }
    *out_is_float = is_float;
    return 0;
}

enum kist_type value_detect(struct kist_bytes v)
{
    int64_t i;
    double d;
    if (v.len == 0)
        return KIST_RAW;
    if (value_parse_int(v, &i) == 0)
        return KIST_INT;
    if (value_parse_float(v, &d) == 0)
        return KIST_FLOAT;
    if (json_check(v) < 0)
        return KIST_RAW;
    struct kist_bytes bare = json_trim(v);
    if (json_is_number(bare) && value_parse_float(bare, &d) < 0)
        return KIST_RAW;
    return KIST_JSON;
}

enum kist_type kist_detect(struct kist_bytes value)
{
    return value_detect(value);
}

int value_check(enum kist_type *io_type, struct kist_bytes v)
{
    int64_t i;
    double d;
    switch (*io_type) {
    case KIST_RAW:
        return 0;
    case KIST_INT:
        return value_parse_int(v, &i);
    case KIST_FLOAT:
        return value_parse_float(v, &d);
    case KIST_JSON:
        return json_check(v);
    case KIST_DETECT:
        *io_type = value_detect(v);
        return 0;
    default:
        return KIST_EINVAL;
    }
}

size_t value_format_int(int64_t v, char out[VALUE_TEXT])
{
    int n = snprintf(out, VALUE_TEXT, "%lld", (long long)v);
    assert(n > 0 && n < VALUE_TEXT);
    return (size_t)n;
}

/* As d.ddde±xx, with as few digits as read back. Returns the digits behind the point; *out_exponent
 * is xx. In the C locale. */
static int value_format_exponent(double v, char out[VALUE_TEXT], locale_t c, int *out_exponent)
{
    int decimals = -1;
    do
        (void)snprintf(out, VALUE_TEXT, "%.*e", ++decimals, v);
    while (decimals < 16 && strtod_l(out, NULL, c) != v); /* 17 digits always do */
    *out_exponent = (int)strtol(strchr(out, 'e') + 1, NULL, 10);
    return decimals;
}

size_t value_format_float(double v, char out[VALUE_TEXT])
{
    locale_t c = value_locale(), before = uselocale(c);
    int exponent = 0;
    assert(isfinite(v));
    int decimals = value_format_exponent(v, out, c, &exponent) - exponent;
    if (exponent >= VALUE_PLAIN_MIN && exponent <= VALUE_PLAIN_MAX) /* at least one: else an int */
        (void)snprintf(out, VALUE_TEXT, "%.*f", decimals < 1 ? 1 : decimals, v);
    uselocale(before);
    size_t n = strlen(out);
    assert(n < VALUE_TEXT - 1);
    return n;
}

int value_add_int(int64_t a, int64_t b, int64_t *out)
{
    int64_t sum;
    if (__builtin_add_overflow(a, b, &sum))
        return KIST_ERANGE;
    *out = sum;
    return 0;
}

int value_add_float(double a, double b, double *out)
{
    if (isnan(b))
        return KIST_EINVAL;
    if (!isfinite(a + b))
        return KIST_ERANGE;
    *out = a + b;
    return 0;
}
