/* The keys of a store, and its header file that carries them: key slots -> root key -> data keys.
 *
 * A keyring holds all secrets in secret memory. Several threads may use one as long as nobody
 * changes it (reload, rotate, retire, slot_…). To change one without disturbing anybody, and
 * without being left with a change that did not reach the disk: keyring_copy(), change the copy,
 * keyring_encode() it, write the header, then swap. */
#ifndef KIST_CRYPT_KEYRING_H
#define KIST_CRYPT_KEYRING_H

#include "base/buf.h"
#include "base/error.h"
#include "crypt/seal.h"
#include "crypt/slot.h"
#include "crypt/unlock.h"

#include <stddef.h>
#include <stdint.h>

#define KEYRING_FORMAT 1
#define KEYRING_SLOTS 8
#define KEYRING_KEYS 64 /* data keys at most */
#define KEYRING_STORE_ID 16
#define KEYRING_ENCODED_MAX 4428 /* bytes of the longest header */
#define KEYRING_CHECK_KEY 16
/* What the passphrases of all slots may cost together, passes x bytes: as much as one at the
 * ceiling, so that whoever made a header cannot ask for it eight times. */
#define KEYRING_WORK_MAX (UNLOCK_OPS_MAX * UNLOCK_MEM_MAX)

struct keyring;

struct keyring_generation {
    uint32_t generation;
    uint64_t created_ms;
};

/* A new store: id, root key and data key 1 from the kernel, one slot for u. KIST_ENOTSUP when this
 * machine cannot do the suite; KIST_EINVAL for an unknown suite or a u that cannot be; KIST_ENOMEM,
 * KIST_EIO. */
int keyring_new(int suite, const struct unlock *u, struct keyring **out) KIST_MUST_USE;
void keyring_free(struct keyring **kr);
int keyring_copy(const struct keyring *kr, struct keyring **out) KIST_MUST_USE;

/* Append the header file's bytes. Each call seals anew with a fresh nonce. KIST_ENOMEM, KIST_EIO (b
 * unchanged). */
int keyring_encode(const struct keyring *kr, struct buf *b) KIST_MUST_USE;

/* Open a header with u, which is tried on every slot of its kind. KIST_ENOTKIST, KIST_ENEWER,
 * KIST_ECORRUPT (truncated, damaged, tampered with, KDF costs out of range), KIST_EKEY,
 * KIST_ETOOBIG (slots that cost more than u's maximum, and no other one opens), KIST_ENOTSUP
 * (suite), KIST_ENOMEM. detail may be NULL; it is written on failure only. */
int keyring_decode(const void *bytes, size_t len, const struct unlock *u, struct keyring **out,
                   struct error_detail *detail) KIST_MUST_USE;
/* Take over a header that another process wrote for the same store, with the root key at hand.
 * KIST_EROLLBACK when it is older than what is held; KIST_ECORRUPT, also for another store's; else
 * as decode. On failure kr is unchanged. Pointers from keyring_data_key() stay good for every
 * generation that the new header still has. */
int keyring_reload(struct keyring *kr, const void *bytes, size_t len) KIST_MUST_USE;

const uint8_t *keyring_store_id(const struct keyring *kr); /* KEYRING_STORE_ID bytes */
int keyring_suite(const struct keyring *kr);
uint64_t keyring_revision(const struct keyring *kr); /* of the header: each change adds one */
uint64_t keyring_created_ms(const struct keyring *kr);
uint32_t keyring_generation(const struct keyring *kr); /* the newest: seal new frames with it */
/* SEAL_KEY bytes, good until that generation is retired or kr freed; NULL when there is no such
 * generation. */
const uint8_t *keyring_data_key(const struct keyring *kr, uint32_t generation);
/* All of them, oldest first; returns how many. */
size_t keyring_generations(const struct keyring *kr, struct keyring_generation out[KEYRING_KEYS]);
/* KEYRING_CHECK_KEY bytes: the key of seal_check() over headers of segments and frames. In secret
 * memory, the same for the life of the store, good until kr is freed. */
const uint8_t *keyring_check_key(const struct keyring *kr);
/* A key for another purpose, out_len 16 to 64 bytes: crypto_kdf from the root key. "kisthead" and
 * "kistchck" are taken. */
void keyring_derive(const struct keyring *kr, const char purpose[8], uint64_t id, uint8_t *out, size_t out_len);

/* Add a data key. KIST_ETOOBIG when there are KEYRING_KEYS, KIST_EIO. */
int keyring_rotate(struct keyring *kr) KIST_MUST_USE;
/* Forget one that nothing is sealed with any more. KIST_ENOKEY; KIST_EINVAL for the newest. */
int keyring_retire(struct keyring *kr, uint32_t generation) KIST_MUST_USE;

/* Slots are numbered 0 to KEYRING_SLOTS - 1 and keep their number. KIST_ENOKEY: no such slot in
 * use. KIST_ETOOBIG from add and replace: all are used, or together they would cost more than
 * KEYRING_WORK_MAX. */
int keyring_slot_add(struct keyring *kr, const struct unlock *u, const void *label, size_t label_len,
                     int *out_slot) KIST_MUST_USE;
int keyring_slot_replace(struct keyring *kr, int slot, const struct unlock *u) KIST_MUST_USE; /* keeps the label */
int keyring_slot_remove(struct keyring *kr, int slot) KIST_MUST_USE;                          /* KIST_EINVAL: the last one */
int keyring_slot_count(const struct keyring *kr);
int keyring_slot_describe(const struct keyring *kr, int slot, struct slot_info *out) KIST_MUST_USE;
/* The first slot, from number from on, that u opens: KIST_EKEY when none. Takes the time of a
 * decode. */
int keyring_slot_find(const struct keyring *kr, const struct unlock *u, int from, int *out_slot) KIST_MUST_USE;

#endif
