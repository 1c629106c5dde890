/* Sealing the parts of one frame: a subkey a frame, a counter inside it. No allocation, no lock, no
 * system call. */
#ifndef KIST_CRYPT_SEAL_H
#define KIST_CRYPT_SEAL_H

#include "base/error.h"

#include <stdalign.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SEAL_KEY 32
#define SEAL_NONCE 24
#define SEAL_TAG 16
#define SEAL_STATE 512 /* libsodium's expanded AES key with its GHASH tables */

#define SEAL_XCHACHA 1 /* XChaCha20-Poly1305: everywhere */
#define SEAL_AES 2     /* AES-256-GCM: where the CPU has the instructions */

/* On the stack, from seal_begin() to seal_end(). One thread may begin it and several use it. */
struct seal {
    alignas(16) uint8_t state[SEAL_STATE]; /* the subkey (suite 1) or the expanded AES key (suite 2) */
    uint8_t tail[8];                       /* the last 8 bytes of the nonce */
    int suite;
};

/* Is it a suite we know? */
bool seal_suite_known(int suite);
/* Known, and can this machine do it? Starts libsodium. */
bool seal_suite_available(int suite);

/* Derive the frame's subkey. suite must be available. The nonce must be 24 fresh random bytes for
 * each frame. */
void seal_begin(struct seal *s, int suite, const uint8_t key[SEAL_KEY], const uint8_t nonce[SEAL_NONCE]);
/* Wipe it. */
void seal_end(struct seal *s);

/* in_len bytes from in to out, which may be the same place but not overlap otherwise. Never the
 * same counter twice under one begin. ad may be NULL when ad_len is 0; in and out when in_len is 0.
 */
void seal_encrypt(const struct seal *s, uint32_t counter, const void *ad, size_t ad_len, const void *in, size_t in_len, void *out,
                  uint8_t out_tag[SEAL_TAG]);
/* 0, or KIST_ECORRUPT with out zeroed (in, too, when it is the same place). */
int seal_decrypt(const struct seal *s, uint32_t counter, const void *ad, size_t ad_len, const void *in, size_t in_len,
                 const uint8_t tag[SEAL_TAG], void *out) KIST_MUST_USE;

/* SipHash-2-4: a keyed check against accidents and guesses, not a signature. */
uint64_t seal_check(const uint8_t key[16], const void *p, size_t len);
/* BLAKE2b of 16 to 64 bytes; keyed with 16 to 64 bytes, or not at all (key NULL, key_len 0). Starts
 * libsodium's best code only after secret_init(), but answers the same before. */
void seal_hash(uint8_t *out, size_t out_len, const uint8_t *key, size_t key_len, const void *p, size_t len);

#endif
