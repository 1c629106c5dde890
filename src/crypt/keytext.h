/* 32-byte keys as people and tools pass them around: raw, hexadecimal, base64. */
#ifndef KIST_CRYPT_KEYTEXT_H
#define KIST_CRYPT_KEYTEXT_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

#define KEYTEXT_KEY 32
#define KEYTEXT_SIZE 45 /* 44 characters of base64 and a NUL */

/* Exactly 32 raw bytes; or 64 hex digits; or base64 (standard or url alphabet, 44 characters or 43
 * without padding), the last two with white space around. KIST_EINVAL, detail says what is wrong
 * without quoting any of it. */
int keytext_decode(const void *text, size_t len, uint8_t out_key[KEYTEXT_KEY], struct error_detail *detail) KIST_MUST_USE;
/* Standard base64, with padding. */
void keytext_encode(const uint8_t key[KEYTEXT_KEY], char out[KEYTEXT_SIZE]);

#endif
