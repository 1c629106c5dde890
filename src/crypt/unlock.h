/* What a person or a machine opens a store with, and the 32-byte key that is made of it. Slots and
 * streams share it. */
#ifndef KIST_CRYPT_UNLOCK_H
#define KIST_CRYPT_UNLOCK_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Numbers on disk: append, never reuse. */
enum unlock_kind {
    UNLOCK_RAW = 1,        /* a 32-byte key that the user keeps */
    UNLOCK_PASSPHRASE = 2, /* 1 to 4,096 bytes, any bytes */
    UNLOCK_DIRECT = 3,     /* a 32-byte key that was derived inside kist: streams only */
};

#define UNLOCK_KEY 32
#define UNLOCK_SALT 16
#define UNLOCK_PASSPHRASE_MAX 4096

/* Argon2id, the costs that we accept from a file and write to one. */
#define UNLOCK_OPS_MIN 1
#define UNLOCK_OPS_MAX 16
#define UNLOCK_OPS_DEFAULT 3
#define UNLOCK_MEM_MIN ((uint64_t)8 << 20) /* bytes */
#define UNLOCK_MEM_MAX ((uint64_t)1 << 30)
#define UNLOCK_MEM_DEFAULT ((uint64_t)64 << 20)

/* Borrowed by every function that takes one. ops and mem are for writing a passphrase: 0 = the
 * default. max_ops and max_mem are for reading what a stranger may have written: 0 = as much as a
 * file may ask for. */
struct unlock {
    enum unlock_kind kind;
    const void *ptr;
    size_t len;
    uint64_t ops;
    uint64_t mem; /* bytes */
    uint64_t max_ops;
    uint64_t max_mem; /* bytes */
};

/* How the key is made, as it is stored: nothing in it is secret. */
struct unlock_kdf {
    uint8_t kind;
    uint64_t ops; /* 0 unless a passphrase */
    uint64_t mem;
    uint8_t salt[UNLOCK_SALT];
};

#define UNLOCK_KDF_SIZE 32 /* ops, mem, salt; the kind is stored elsewhere */

/* Can something be opened with u at all? KIST_EINVAL (length, kind, an all-zero key), KIST_ETOOBIG
 * (passphrase). */
int unlock_check(const struct unlock *u) KIST_MUST_USE;
/* Choose how to make a key of u: its costs and a fresh salt. As unlock_check; KIST_EINVAL also for
 * costs out of range. */
int unlock_kdf_new(const struct unlock *u, struct unlock_kdf *out) KIST_MUST_USE;
void unlock_kdf_encode(const struct unlock_kdf *kdf, uint8_t out[UNLOCK_KDF_SIZE]);
/* Read what was stored and refuse costs out of range, before any memory is spent on them:
 * KIST_ECORRUPT, detail names the limit. kind is one of enum unlock_kind. */
int unlock_kdf_decode(uint8_t kind, const uint8_t p[UNLOCK_KDF_SIZE], struct unlock_kdf *out,
                      struct error_detail *detail) KIST_MUST_USE;
/* Make the key. Takes the time and memory that kdf asks for. KIST_EKEY when u is of another kind,
 * KIST_ETOOBIG when kdf asks for more than u's maximum (nothing is spent then), KIST_ENOMEM, and as
 * unlock_check. */
int unlock_key(const struct unlock *u, const struct unlock_kdf *kdf, uint8_t out_key[UNLOCK_KEY],
               struct error_detail *detail) KIST_MUST_USE;

#endif
