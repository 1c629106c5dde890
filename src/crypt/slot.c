/* slot.c: the root key under one passphrase or raw key.
 *
 *     unlock -> slot key -+-> wrap key   (seals the root key)
 *                         +-> commitment (stored)
 *
 * The AEAD alone does not bind a key: a slot can be made that opens under two passphrases to two
 * root keys. The commitment, a hash of the slot key, binds it, and it tells a wrong passphrase (no
 * commitment matches) from a changed slot (the commitment matches, the tag does not). Everything
 * readable in the slot and the store id are additional data: a slot moved to another store, or with
 * its label changed, does not open.
 *
 * Changing a passphrase makes one new slot. The root key stays: who once held an old passphrase and
 * an old copy of the header still has the root key. docs/security.md says so. */
#include "crypt/slot.h"

#include "base/bytes.h"
#include "base/os.h"
#include "crypt/secret.h"

#include <assert.h>
#include <sodium.h>

/* Where the fields are. */
enum {
    SLOT_AT_KIND = 0,
    SLOT_AT_LABEL_LEN = 1,
    SLOT_AT_ZERO = 2, /* 6 bytes */
    SLOT_AT_CREATED = 8,
    SLOT_AT_KDF = 16,
    SLOT_AT_LABEL = 48,
    SLOT_AT_COMMITMENT = 80,
    SLOT_AT_NONCE = 112,
    SLOT_AT_SEALED = 136,
};
#define SLOT_COMMITMENT 32
#define SLOT_AD (SLOT_STORE_ID + SLOT_AT_NONCE)

_Static_assert(SLOT_AT_LABEL == SLOT_AT_KDF + UNLOCK_KDF_SIZE && SLOT_AT_COMMITMENT == SLOT_AT_LABEL + SLOT_LABEL_MAX &&
                   SLOT_AT_NONCE == SLOT_AT_COMMITMENT + SLOT_COMMITMENT &&
                   SLOT_AT_SEALED == SLOT_AT_NONCE + crypto_aead_xchacha20poly1305_ietf_NPUBBYTES &&
                   SLOT_SIZE == SLOT_AT_SEALED + SLOT_ROOT + crypto_aead_xchacha20poly1305_ietf_ABYTES,
               "the fields fill the slot");

#define SLOT_CONTEXT "kistslot" /* crypto_kdf, under the slot key */
enum { SLOT_ID_WRAP = 1, SLOT_ID_COMMITMENT = 2 };

/* What the slot key turns into. */
struct slot_keys {
    uint8_t wrap[32];
    uint8_t commitment[SLOT_COMMITMENT];
};

static int slot_keys_make(const struct unlock *u, const struct unlock_kdf *kdf, struct slot_keys *out,
                          struct error_detail *detail)
{
    uint8_t key[UNLOCK_KEY];
    int rc = unlock_key(u, kdf, key, detail);
    if (rc)
        return rc;
    (void)crypto_kdf_derive_from_key(out->wrap, sizeof out->wrap, SLOT_ID_WRAP, SLOT_CONTEXT, key);
    (void)crypto_kdf_derive_from_key(out->commitment, sizeof out->commitment, SLOT_ID_COMMITMENT, SLOT_CONTEXT, key);
    sodium_memzero(key, sizeof key);
    return 0;
}

/* The additional data: the store id and the slot up to its nonce. */
static void slot_ad(const uint8_t *slot, const uint8_t *store_id, uint8_t out[SLOT_AD])
{
    memcpy(out, store_id, SLOT_STORE_ID);
    memcpy(out + SLOT_STORE_ID, slot, SLOT_AT_NONCE);
}

/* Everything but commitment, nonce and ciphertext. */
static void slot_put_head(uint8_t slot[SLOT_SIZE], const struct unlock_kdf *kdf, const void *label, size_t label_len,
                          uint64_t created_ms)
{
    memset(slot, 0, SLOT_SIZE);
    slot[SLOT_AT_KIND] = kdf->kind;
    slot[SLOT_AT_LABEL_LEN] = (uint8_t)label_len;
    bytes_put64(slot + SLOT_AT_CREATED, created_ms);
    unlock_kdf_encode(kdf, slot + SLOT_AT_KDF);
    if (label_len)
        memcpy(slot + SLOT_AT_LABEL, label, label_len);
}

int slot_wrap(const struct unlock *u, const uint8_t store_id[SLOT_STORE_ID], const uint8_t root[SLOT_ROOT], const void *label,
              size_t label_len, uint64_t created_ms, uint8_t out_slot[SLOT_SIZE])
{
    struct unlock_kdf kdf;
    struct slot_keys keys;
    uint8_t slot[SLOT_SIZE], ad[SLOT_AD];
    if (label_len > SLOT_LABEL_MAX)
        return KIST_ETOOBIG;
    if (u && u->kind == UNLOCK_DIRECT)
        return KIST_EINVAL;
    int rc = unlock_kdf_new(u, &kdf);
    if (rc)
        return rc;
    slot_put_head(slot, &kdf, label, label_len, created_ms);
    rc = os_random(slot + SLOT_AT_NONCE, SLOT_AT_SEALED - SLOT_AT_NONCE);
    if (rc == 0)
        rc = slot_keys_make(u, &kdf, &keys, NULL);
    if (rc)
        return rc;
    memcpy(slot + SLOT_AT_COMMITMENT, keys.commitment, SLOT_COMMITMENT);
    slot_ad(slot, store_id, ad);
    (void)crypto_aead_xchacha20poly1305_ietf_encrypt(slot + SLOT_AT_SEALED, NULL, root, SLOT_ROOT, ad, sizeof ad, NULL,
                                                     slot + SLOT_AT_NONCE, keys.wrap);
    sodium_memzero(&keys, sizeof keys);
    memcpy(out_slot, slot, SLOT_SIZE);
    return 0;
}

/* The kdf of a used slot, every readable field checked. */
static int slot_read(const uint8_t *slot, struct unlock_kdf *out, struct error_detail *detail)
{
    size_t label_len = slot[SLOT_AT_LABEL_LEN];
    uint8_t kind = slot[SLOT_AT_KIND];
    if (kind != UNLOCK_RAW && kind != UNLOCK_PASSPHRASE)
        return error_set(detail, KIST_ENEWER, "a key slot of an unknown kind: %d", (int)kind);
    if (label_len > SLOT_LABEL_MAX || !sodium_is_zero(slot + SLOT_AT_ZERO, SLOT_AT_CREATED - SLOT_AT_ZERO) ||
        !sodium_is_zero(slot + SLOT_AT_LABEL + label_len, SLOT_LABEL_MAX - label_len))
        return error_set(detail, KIST_ECORRUPT, "a key slot with bytes where none belong");
    return unlock_kdf_decode(kind, slot + SLOT_AT_KDF, out, detail);
}

int slot_describe(const uint8_t slot[SLOT_SIZE], struct slot_info *out, struct error_detail *detail)
{
    struct unlock_kdf kdf;
    struct slot_info info = {.kind = slot[SLOT_AT_KIND]};
    if (info.kind == SLOT_EMPTY) {
        if (!sodium_is_zero(slot, SLOT_SIZE))
            return error_set(detail, KIST_ECORRUPT, "an empty key slot with bytes in it");
        *out = info;
        return 0;
    }
    int rc = slot_read(slot, &kdf, detail);
    if (rc)
        return rc;
    info.created_ms = bytes_get64(slot + SLOT_AT_CREATED);
    info.ops = kdf.ops;
    info.mem = kdf.mem;
    info.label_len = slot[SLOT_AT_LABEL_LEN];
    memcpy(info.label, slot + SLOT_AT_LABEL, info.label_len);
    *out = info;
    return 0;
}

int slot_unwrap(const uint8_t slot[SLOT_SIZE], const struct unlock *u, const uint8_t store_id[SLOT_STORE_ID],
                uint8_t out_root[SLOT_ROOT], struct error_detail *detail)
{
    struct unlock_kdf kdf;
    struct slot_keys keys;
    uint8_t ad[SLOT_AD], root[SLOT_ROOT];
    if (slot[SLOT_AT_KIND] == SLOT_EMPTY)
        return KIST_EKEY;
    int rc = slot_read(slot, &kdf, detail);
    if (rc == 0)
        rc = slot_keys_make(u, &kdf, &keys, detail);
    if (rc)
        return rc;
    slot_ad(slot, store_id, ad);
    if (!secret_equal(keys.commitment, slot + SLOT_AT_COMMITMENT, SLOT_COMMITMENT))
        rc = error_set(detail, KIST_EKEY, "no key slot opens with it");
    else if (crypto_aead_xchacha20poly1305_ietf_decrypt(root, NULL, NULL, slot + SLOT_AT_SEALED, SLOT_SIZE - SLOT_AT_SEALED, ad,
                                                        sizeof ad, slot + SLOT_AT_NONCE, keys.wrap))
        rc = error_set(detail, KIST_ECORRUPT, "the right key, but its slot was changed");
    else
        memcpy(out_root, root, SLOT_ROOT);
    sodium_memzero(root, sizeof root);
    sodium_memzero(&keys, sizeof keys);
    return rc;
}
