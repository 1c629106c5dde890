/* keytext.c: a key file is whatever `openssl rand`, `head -c 32 /dev/urandom` or `kist init
 * --new-key` wrote.
 *
 * The length decides what it is, so that no content is ever tried as two things: 32 bytes are raw
 * whatever they look like (with white space or without), 64 characters are hexadecimal, 43 or 44
 * are base64. libsodium's decoders run in constant time for one length and refuse trailing bits
 * that a careful encoder leaves zero. Both base64 alphabets are always tried; a text that mixes
 * them fits neither. */
#include "crypt/keytext.h"

#include "base/bytes.h"
#include "crypt/secret.h"

#include <assert.h>
#include <sodium.h>

#define KEYTEXT_HEX 64
#define KEYTEXT_BASE64 44

static bool keytext_is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static void keytext_trim(const char **text, size_t *len)
{
    while (*len && keytext_is_space((*text)[*len - 1]))
        --*len;
    while (*len && keytext_is_space(**text)) {
        ++*text;
        --*len;
    }
}

static int keytext_from_hex(const char *text, uint8_t key[KEYTEXT_KEY], struct error_detail *detail)
{
    size_t n = 0;
    if (sodium_hex2bin(key, KEYTEXT_KEY, text, KEYTEXT_HEX, NULL, &n, NULL) || n != KEYTEXT_KEY)
        return error_set(detail, KIST_EINVAL, "64 characters, but not all are hex digits");
    return 0;
}

static int keytext_from_base64(const char *text, size_t len, uint8_t key[KEYTEXT_KEY], struct error_detail *detail)
{
    bool padded = len == KEYTEXT_BASE64;
    const int variants[2] = {
        padded ? sodium_base64_VARIANT_ORIGINAL : sodium_base64_VARIANT_ORIGINAL_NO_PADDING,
        padded ? sodium_base64_VARIANT_URLSAFE : sodium_base64_VARIANT_URLSAFE_NO_PADDING,
    };
    uint8_t got[2][KEYTEXT_KEY], high = 0;
    int found = -1;
    for (size_t i = 0; i < len; i++)
        high |= (uint8_t)text[i] & 0x80;
    for (int i = 0; i < 2; i++) {
        size_t n = 0;
        if (sodium_base642bin(got[i], KEYTEXT_KEY, text, len, NULL, &n, NULL, variants[i]) == 0 && n == KEYTEXT_KEY)
            found = i;
    }
    if (high) /* libsodium 1.0.18 takes these bytes for base64 */
        found = -1;
    if (found >= 0)
        memcpy(key, got[found], KEYTEXT_KEY);
    sodium_memzero(got, sizeof got);
    if (found < 0)
        return error_set(detail, KIST_EINVAL, "%zu characters, but not the base64 of 32 bytes", len);
    return 0;
}

int keytext_decode(const void *text, size_t len, uint8_t out_key[KEYTEXT_KEY], struct error_detail *detail)
{
    uint8_t key[KEYTEXT_KEY] = {0};
    const char *p = text;
    size_t n = len;
    int rc = secret_init();
    if (rc)
        return rc;
    if (n != KEYTEXT_KEY)
        keytext_trim(&p, &n);
    if (len == KEYTEXT_KEY)
        memcpy(key, text, KEYTEXT_KEY);
    else if (n == KEYTEXT_HEX)
        rc = keytext_from_hex(p, key, detail);
    else if (n == KEYTEXT_BASE64 || n == KEYTEXT_BASE64 - 1)
        rc = keytext_from_base64(p, n, key, detail);
    else
        rc = error_set(detail, KIST_EINVAL,
                       "a key is 32 raw bytes, 64 hex digits or 43 or 44 characters of base64, "
                       "not %zu bytes",
                       len);
    if (rc == 0 && sodium_is_zero(key, sizeof key))
        rc = error_set(detail, KIST_EINVAL, "a key of zeroes is no key");
    if (rc == 0)
        memcpy(out_key, key, sizeof key);
    sodium_memzero(key, sizeof key);
    return rc;
}

void keytext_encode(const uint8_t key[KEYTEXT_KEY], char out[KEYTEXT_SIZE])
{
    _Static_assert(sodium_base64_ENCODED_LEN(KEYTEXT_KEY, sodium_base64_VARIANT_ORIGINAL) == KEYTEXT_SIZE,
                   "44 characters and a NUL");
    char *p = sodium_bin2base64(out, KEYTEXT_SIZE, key, KEYTEXT_KEY, sodium_base64_VARIANT_ORIGINAL);
    assert(p == out);
}
