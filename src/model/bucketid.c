/* bucketid.c: ids and names of buckets.
 *
 * An id is a UUID because nobody hands ids out: two stores, or a store and its restored copy, must
 * not make the same one. Base 58 (Bitcoin's alphabet: no 0, O, I, l) because people copy ids by
 * hand and put them into URLs. 58^22 > 2^128, so 22 characters hold every UUID; they are padded, so
 * that the form alone tells an id from a name, without a look-up. */
#include "model/bucketid.h"

#include "base/os.h"

#include <stdint.h>
#include <string.h>

static const char bucketid_alphabet[] = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

/* Divide the big-endian number in uuid by 58 in place; the remainder. */
static unsigned bucketid_digit(uint8_t uuid[16])
{
    unsigned rest = 0;
    for (int i = 0; i < 16; i++) {
        rest = rest << 8 | uuid[i];
        uuid[i] = (uint8_t)(rest / 58);
        rest %= 58;
    }
    return rest;
}

int bucketid_new(char out[KIST_BUCKET_ID_LEN + 1])
{
    uint8_t uuid[16];
    int r = os_random(uuid, sizeof uuid);
    if (r < 0)
        return r;
    uuid[6] = (uint8_t)((uuid[6] & 0x0f) | 0x40); /* version 4 */
    uuid[8] = (uint8_t)((uuid[8] & 0x3f) | 0x80); /* RFC 4122's variant */
    for (int i = (int)KIST_BUCKET_ID_LEN - 1; i >= 0; i--)
        out[i] = bucketid_alphabet[bucketid_digit(uuid)];
    out[KIST_BUCKET_ID_LEN] = '\0';
    return 0;
}

bool bucketid_is(const char *text, size_t len)
{
    if (len != KIST_BUCKET_ID_LEN)
        return false;
    for (size_t i = 0; i < len; i++)
        if (!text[i] || !strchr(bucketid_alphabet, text[i]))
            return false;
    return true;
}

/* The code point at *p, which moves behind it; -1 when it is not UTF-8 (overlong, surrogate, beyond
 * U+10FFFF, cut off). */
static int32_t bucketid_code_point(const unsigned char **p)
{
    static const int32_t least[] = {0, 0x80, 0x800, 0x10000};
    unsigned char c = *(*p)++;
    int more = c < 0x80 ? 0 : (c & 0xe0) == 0xc0 ? 1 : (c & 0xf0) == 0xe0 ? 2 : (c & 0xf8) == 0xf0 ? 3 : -1;
    if (more < 0)
        return -1;
    int32_t v = more == 0 ? c : c & (0x3f >> more);
    for (int i = 0; i < more; i++) {
        if ((**p & 0xc0) != 0x80) /* also the NUL at the end */
            return -1;
        v = v << 6 | (*(*p)++ & 0x3f);
    }
    if (v < least[more] || v > 0x10ffff || (v >= 0xd800 && v <= 0xdfff))
        return -1;
    return v;
}

int bucketid_name_check(const char *name, struct error_detail *detail)
{
    size_t len = strnlen(name, KIST_BUCKET_NAME_MAX + 1);
    if (len == 0)
        return error_set(detail, KIST_EINVAL, "the name of a bucket is empty");
    if (len > KIST_BUCKET_NAME_MAX)
        return error_set(detail, KIST_ETOOBIG, "the name of a bucket has more than %u bytes", KIST_BUCKET_NAME_MAX);
    if (bucketid_is(name, len))
        return error_set(detail, KIST_EINVAL, "the name of a bucket must not have the form of an id");
    for (const unsigned char *p = (const unsigned char *)name; *p;) {
        int32_t c = bucketid_code_point(&p);
        if (c < 0)
            return error_set(detail, KIST_EINVAL, "the name of a bucket is not valid UTF-8");
        if (c < 0x20 || (c >= 0x7f && c < 0xa0))
            return error_set(detail, KIST_EINVAL, "the name of a bucket has a control character in it");
    }
    return 0;
}
