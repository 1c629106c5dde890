/* seal.c: how the bytes of a frame are encrypted and authenticated.
 *
 * Each frame has 24 random bytes. HChaCha20 makes of the data key and the first 16 of them a subkey
 * that no other frame has; the last 8 and a 32-bit counter are the 12-byte nonce of an ordinary
 * AEAD under that subkey. So nonces never repeat as long as no counter is used twice within a
 * frame, whatever became of a torn tail, a cloned machine or a restored backup, and the subkey,
 * which costs 110 ns, is made once a frame and not once a value.
 *
 * With counter 0 suite 1 is exactly XChaCha20-Poly1305-IETF, which the tests hold against
 * libsodium's own. Suite 2 puts AES-256-GCM under the same subkey: a fresh AES key a frame, so
 * GCM's limits on one key are never near.
 *
 * Neither suite commits to its key: a ciphertext made for it can open under two keys. The slots do
 * commit (slot.c), and the data keys come from the authenticated header, so nobody can choose the
 * key that a frame is opened with.
 *
 * Dropped: crypto_aead_xchacha20poly1305 a value (the subkey each time: 605 instead of 495 ns for
 * 100 bytes). */
#include "crypt/seal.h"

#include "base/bytes.h"
#include "crypt/secret.h"

#include <assert.h>
#include <sodium.h>

_Static_assert(sizeof(crypto_aead_aes256gcm_state) <= SEAL_STATE, "the AES state fits");
_Static_assert(crypto_aead_chacha20poly1305_IETF_KEYBYTES == SEAL_KEY && crypto_aead_aes256gcm_KEYBYTES == SEAL_KEY &&
                   crypto_core_hchacha20_OUTPUTBYTES == SEAL_KEY,
               "one key size");
_Static_assert(crypto_aead_chacha20poly1305_IETF_ABYTES == SEAL_TAG && crypto_aead_aes256gcm_ABYTES == SEAL_TAG, "one tag size");

#define SEAL_INNER_NONCE 12
_Static_assert(crypto_aead_chacha20poly1305_IETF_NPUBBYTES == SEAL_INNER_NONCE &&
                   crypto_aead_aes256gcm_NPUBBYTES == SEAL_INNER_NONCE,
               "one inner nonce size");

bool seal_suite_known(int suite)
{
    return suite == SEAL_XCHACHA || suite == SEAL_AES;
}

bool seal_suite_available(int suite)
{
    if (secret_init())
        return false;
    return suite == SEAL_XCHACHA || (suite == SEAL_AES && crypto_aead_aes256gcm_is_available());
}

void seal_begin(struct seal *s, int suite, const uint8_t key[SEAL_KEY], const uint8_t nonce[SEAL_NONCE])
{
    assert(seal_suite_known(suite));
    s->suite = suite;
    memcpy(s->tail, nonce + crypto_core_hchacha20_INPUTBYTES, sizeof s->tail);
    if (suite == SEAL_XCHACHA) {
        (void)crypto_core_hchacha20(s->state, nonce, key, NULL);
        return;
    }
    assert(crypto_aead_aes256gcm_is_available());
    uint8_t subkey[SEAL_KEY];
    (void)crypto_core_hchacha20(subkey, nonce, key, NULL);
    (void)crypto_aead_aes256gcm_beforenm((crypto_aead_aes256gcm_state *)(void *)s->state, subkey);
    sodium_memzero(subkey, sizeof subkey);
}

void seal_end(struct seal *s)
{
    sodium_memzero(s->state, s->suite == SEAL_XCHACHA ? SEAL_KEY : SEAL_STATE);
    s->suite = 0; /* encrypting with it now is caught */
}

static void seal_nonce(const struct seal *s, uint32_t counter, uint8_t out[SEAL_INNER_NONCE])
{
    bytes_put32(out, counter);
    memcpy(out + 4, s->tail, sizeof s->tail);
}

/* The AES state again. Suite 2 is asserted by the way the callers branch. */
static const crypto_aead_aes256gcm_state *seal_aes(const struct seal *s)
{
    assert(s->suite == SEAL_AES);
    return (const crypto_aead_aes256gcm_state *)(const void *)s->state;
}

void seal_encrypt(const struct seal *s, uint32_t counter, const void *ad, size_t ad_len, const void *in, size_t in_len, void *out,
                  uint8_t out_tag[SEAL_TAG])
{
    uint8_t nonce[SEAL_INNER_NONCE], nothing;
    int rc;
    seal_nonce(s, counter, nonce);
    if (in_len == 0)
        in = out = &nothing; /* libsodium wants an address even so */
    if (s->suite == SEAL_XCHACHA)
        rc =
            crypto_aead_chacha20poly1305_ietf_encrypt_detached(out, out_tag, NULL, in, in_len, ad, ad_len, NULL, nonce, s->state);
    else
        rc = crypto_aead_aes256gcm_encrypt_detached_afternm(out, out_tag, NULL, in, in_len, ad, ad_len, NULL, nonce, seal_aes(s));
    assert(rc == 0);
}

int seal_decrypt(const struct seal *s, uint32_t counter, const void *ad, size_t ad_len, const void *in, size_t in_len,
                 const uint8_t tag[SEAL_TAG], void *out)
{
    uint8_t nonce[SEAL_INNER_NONCE], nothing;
    int rc;
    seal_nonce(s, counter, nonce);
    if (in_len == 0)
        in = out = &nothing; /* libsodium wants an address even so */
    if (s->suite == SEAL_XCHACHA)
        rc = crypto_aead_chacha20poly1305_ietf_decrypt_detached(out, NULL, in, in_len, tag, ad, ad_len, nonce, s->state);
    else
        rc = crypto_aead_aes256gcm_decrypt_detached_afternm(out, NULL, in, in_len, tag, ad, ad_len, nonce, seal_aes(s));
    if (rc == 0)
        return 0;
    if (in_len) /* libsodium does it too, but does not promise it */
        sodium_memzero(out, in_len);
    return KIST_ECORRUPT;
}

uint64_t seal_check(const uint8_t key[16], const void *p, size_t len)
{
    uint8_t sum[crypto_shorthash_siphash24_BYTES];
    (void)crypto_shorthash_siphash24(sum, p, len, key);
    return bytes_get64(sum);
}

void seal_hash(uint8_t *out, size_t out_len, const uint8_t *key, size_t key_len, const void *p, size_t len)
{
    assert(out_len >= 16 && out_len <= 64 && (key_len == 0 || (key_len >= 16 && key_len <= 64)));
    int rc = crypto_generichash_blake2b(out, out_len, p, len, key, key_len);
    assert(rc == 0);
}
