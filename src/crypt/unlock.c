/* unlock.c: from a passphrase or a raw key to the 32-byte key that opens a slot or a stream.
 *
 * A passphrase goes through Argon2id v1.3 with the costs in the file. Those costs come from a file
 * that an enemy may have written, so they are held against a floor (or a thief's copy would be
 * cheap to guess) and a ceiling (or opening a store would eat the machine) before a byte of memory
 * is spent. The ceiling is what somebody may want for a store of his own; who reads the file of a
 * stranger sets a lower maximum (struct unlock). A raw key has its entropy already: keyed BLAKE2b
 * with the salt, so that the same raw key in two places makes two unrelated keys. */
#include "crypt/unlock.h"

#include "base/bytes.h"
#include "base/os.h"
#include "crypt/secret.h"

#include <assert.h>
#include <inttypes.h>
#include <sodium.h>

_Static_assert(crypto_pwhash_argon2id_SALTBYTES == UNLOCK_SALT, "Argon2id's salt");
_Static_assert(crypto_generichash_blake2b_SALTBYTES == UNLOCK_SALT, "BLAKE2b's salt");

/* BLAKE2b's personal field: 16 bytes, zero-padded. */
static const uint8_t unlock_personal_raw[16] = "kist raw key";
static const uint8_t unlock_personal_direct[16] = "kist direct key";

int unlock_check(const struct unlock *u)
{
    if (!u || !u->ptr)
        return KIST_EINVAL;
    switch (u->kind) {
    case UNLOCK_RAW:
    case UNLOCK_DIRECT:
        return u->len == UNLOCK_KEY && !sodium_is_zero(u->ptr, u->len) ? 0 : KIST_EINVAL;
    case UNLOCK_PASSPHRASE:
        if (u->len > UNLOCK_PASSPHRASE_MAX)
            return KIST_ETOOBIG;
        return u->len ? 0 : KIST_EINVAL;
    }
    return KIST_EINVAL;
}

static bool unlock_ops_fit(uint64_t ops)
{
    return ops >= UNLOCK_OPS_MIN && ops <= UNLOCK_OPS_MAX;
}

static bool unlock_mem_fits(uint64_t mem)
{
    return mem >= UNLOCK_MEM_MIN && mem <= UNLOCK_MEM_MAX;
}

int unlock_kdf_new(const struct unlock *u, struct unlock_kdf *out)
{
    int rc = unlock_check(u);
    if (rc)
        return rc;
    struct unlock_kdf kdf = {.kind = (uint8_t)u->kind};
    if (u->kind == UNLOCK_PASSPHRASE) {
        kdf.ops = u->ops ? u->ops : UNLOCK_OPS_DEFAULT;
        kdf.mem = u->mem ? u->mem : UNLOCK_MEM_DEFAULT;
        if (!unlock_ops_fit(kdf.ops) || !unlock_mem_fits(kdf.mem))
            return KIST_EINVAL;
    }
    rc = os_random(kdf.salt, sizeof kdf.salt);
    if (rc)
        return rc;
    *out = kdf;
    return 0;
}

void unlock_kdf_encode(const struct unlock_kdf *kdf, uint8_t out[UNLOCK_KDF_SIZE])
{
    bytes_put64(out, kdf->ops);
    bytes_put64(out + 8, kdf->mem);
    memcpy(out + 16, kdf->salt, UNLOCK_SALT);
}

int unlock_kdf_decode(uint8_t kind, const uint8_t p[UNLOCK_KDF_SIZE], struct unlock_kdf *out, struct error_detail *detail)
{
    struct unlock_kdf kdf = {.kind = kind, .ops = bytes_get64(p), .mem = bytes_get64(p + 8)};
    memcpy(kdf.salt, p + 16, UNLOCK_SALT);
    if (kind != UNLOCK_PASSPHRASE) {
        if (kdf.ops || kdf.mem)
            return error_set(detail, KIST_ECORRUPT, "a raw key with the costs of a passphrase");
    } else if (!unlock_ops_fit(kdf.ops)) {
        return error_set(detail, KIST_ECORRUPT, "Argon2id with %" PRIu64 " passes: only %d to %d are accepted", kdf.ops,
                         UNLOCK_OPS_MIN, UNLOCK_OPS_MAX);
    } else if (!unlock_mem_fits(kdf.mem)) {
        return error_set(detail, KIST_ECORRUPT, "Argon2id with %" PRIu64 " bytes: only %" PRIu64 " to %" PRIu64 " are accepted",
                         kdf.mem, UNLOCK_MEM_MIN, UNLOCK_MEM_MAX);
    }
    *out = kdf;
    return 0;
}

static void unlock_key_raw(const struct unlock *u, const struct unlock_kdf *kdf, uint8_t key[UNLOCK_KEY])
{
    const uint8_t *personal = u->kind == UNLOCK_RAW ? unlock_personal_raw : unlock_personal_direct;
    int rc = crypto_generichash_blake2b_salt_personal(key, UNLOCK_KEY, NULL, 0, u->ptr, u->len, kdf->salt, personal);
    assert(rc == 0);
}

static int unlock_affordable(const struct unlock *u, const struct unlock_kdf *kdf, struct error_detail *detail)
{
    uint64_t ops = u->max_ops ? u->max_ops : UNLOCK_OPS_MAX;
    uint64_t mem = u->max_mem ? u->max_mem : UNLOCK_MEM_MAX;
    if (kdf->ops <= ops && kdf->mem <= mem)
        return 0;
    return error_set(detail, KIST_ETOOBIG,
                     "it asks for %" PRIu64 " passes of Argon2id over %" PRIu64 " KiB, more than the limit of %" PRIu64
                     " over %" PRIu64 " KiB: if you trust it, set kdf_ops and kdf_mem_kib of the secret to its costs",
                     kdf->ops, kdf->mem >> 10, ops, mem >> 10);
}

int unlock_key(const struct unlock *u, const struct unlock_kdf *kdf, uint8_t out_key[UNLOCK_KEY], struct error_detail *detail)
{
    int rc = secret_init();
    if (rc == 0)
        rc = unlock_check(u);
    if (rc)
        return rc;
    if (u->kind != kdf->kind)
        return error_set(detail, KIST_EKEY, "it wants %s", kdf->kind == UNLOCK_PASSPHRASE ? "a passphrase" : "a key");
    if (u->kind != UNLOCK_PASSPHRASE) {
        unlock_key_raw(u, kdf, out_key);
        return 0;
    }
    assert(unlock_ops_fit(kdf->ops) && unlock_mem_fits(kdf->mem));
    rc = unlock_affordable(u, kdf, detail);
    if (rc)
        return rc;
    uint8_t key[UNLOCK_KEY];
    if (crypto_pwhash_argon2id(key, sizeof key, u->ptr, u->len, kdf->salt, kdf->ops, (size_t)kdf->mem,
                               crypto_pwhash_argon2id_ALG_ARGON2ID13) == 0)
        memcpy(out_key, key, sizeof key);
    else
        rc = error_set(detail, KIST_ENOMEM, "no memory for Argon2id: %" PRIu64 " bytes", kdf->mem);
    sodium_memzero(key, sizeof key);
    return rc;
}
