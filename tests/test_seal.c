/* test_seal.c: sealing agrees with libsodium's one-shot functions, and whatever is changed is
 * found. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <signal.h>
#include <sodium.h>
#include <sys/wait.h>
#include <unistd.h>

#include "crypt/seal.h"

#define MAX 200

static uint8_t key[SEAL_KEY], nonce[SEAL_NONCE], text[MAX], ad[MAX];

static int setup(void **state)
{
    (void)state;
    if (sodium_init() < 0)
        return -1;
    for (unsigned i = 0; i < MAX; i++) {
        text[i] = (uint8_t)(i * 7 + 1);
        ad[i] = (uint8_t)(i * 13 + 5);
    }
    for (unsigned i = 0; i < SEAL_KEY; i++)
        key[i] = (uint8_t)(0x80 + i);
    for (unsigned i = 0; i < SEAL_NONCE; i++)
        nonce[i] = (uint8_t)(0x40 + i);
    return 0;
}

/* The suites that this machine can do, one after the other. */
static int next_suite(int suite)
{
    for (suite++; suite <= SEAL_AES; suite++)
        if (seal_suite_available(suite))
            return suite;
    return 0;
}

static void suite_1_is_everywhere_and_unknown_ones_are_not(void **state)
{
    (void)state;
    assert_true(seal_suite_available(SEAL_XCHACHA));
    assert_int_equal(seal_suite_available(SEAL_AES), crypto_aead_aes256gcm_is_available());
    assert_true(seal_suite_known(SEAL_AES));
    assert_false(seal_suite_known(0));
    assert_false(seal_suite_known(3));
    assert_false(seal_suite_available(0));
    assert_false(seal_suite_available(-1));
}

static void suite_1_gives_the_answer_of_the_xchacha_draft(void **state)
{
    static const char plain[] = "Ladies and Gentlemen of the class of '99: If I could offer you "
                                "only one tip for the future, sunscreen would be it.";
    static const uint8_t aad[12] = {0x50, 0x51, 0x52, 0x53, 0xc0, 0xc1, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7};
    static const uint8_t begin[16] = {0xbd, 0x6d, 0x17, 0x9d, 0x3e, 0x83, 0xd4, 0x3b,
                                      0x95, 0x76, 0x57, 0x94, 0x93, 0xc0, 0xe9, 0x39};
    static const uint8_t want[16] = {0xc0, 0x87, 0x59, 0x24, 0xc1, 0xc7, 0x98, 0x79,
                                     0x47, 0xde, 0xaf, 0xd8, 0x78, 0x0a, 0xcf, 0x49};
    struct seal s;
    uint8_t out[sizeof plain], tag[SEAL_TAG];
    (void)state;
    seal_begin(&s, SEAL_XCHACHA, key, nonce);
    seal_encrypt(&s, 0, aad, sizeof aad, plain, sizeof plain - 1, out, tag);
    seal_end(&s);
    assert_memory_equal(out, begin, sizeof begin);
    assert_memory_equal(tag, want, sizeof want);
}

static void suite_1_with_counter_0_is_xchacha20poly1305(void **state)
{
    struct seal s;
    uint8_t ours[MAX], theirs[MAX], tag[SEAL_TAG], their_tag[SEAL_TAG];
    (void)state;
    seal_begin(&s, SEAL_XCHACHA, key, nonce);
    for (size_t len = 0; len <= MAX; len++) {
        size_t ad_len = (len * 31) % MAX;
        seal_encrypt(&s, 0, ad, ad_len, text, len, ours, tag);
        crypto_aead_xchacha20poly1305_ietf_encrypt_detached(theirs, their_tag, NULL, text, len, ad, ad_len, NULL, nonce, key);
        assert_memory_equal(ours, theirs, len);
        assert_memory_equal(tag, their_tag, SEAL_TAG);
    }
    seal_end(&s);
}

/* The subkey and the inner nonce, made with libsodium alone. */
static void inner(uint32_t counter, uint8_t subkey[32], uint8_t npub[12])
{
    crypto_core_hchacha20(subkey, nonce, key, NULL);
    for (int i = 0; i < 4; i++)
        npub[i] = (uint8_t)(counter >> (8 * i));
    memcpy(npub + 4, nonce + 16, 8);
}

static void both_suites_agree_with_the_one_shot_functions_at_any_counter(void **state)
{
    static const uint32_t counters[] = {0, 1, 255, 256, 0x01020304, UINT32_MAX};
    (void)state;
    for (int suite = next_suite(0); suite; suite = next_suite(suite)) {
        struct seal s;
        seal_begin(&s, suite, key, nonce);
        for (size_t i = 0; i < sizeof counters / sizeof *counters; i++) {
            uint8_t ours[MAX], theirs[MAX], tag[16], their_tag[16], subkey[32], npub[12];
            inner(counters[i], subkey, npub);
            seal_encrypt(&s, counters[i], ad, 33, text, MAX, ours, tag);
            if (suite == SEAL_XCHACHA)
                crypto_aead_chacha20poly1305_ietf_encrypt_detached(theirs, their_tag, NULL, text, MAX, ad, 33, NULL, npub,
                                                                   subkey);
            else
                crypto_aead_aes256gcm_encrypt_detached(theirs, their_tag, NULL, text, MAX, ad, 33, NULL, npub, subkey);
            assert_memory_equal(ours, theirs, MAX);
            assert_memory_equal(tag, their_tag, 16);
        }
        seal_end(&s);
    }
}

static void what_was_sealed_opens_also_in_place_and_empty(void **state)
{
    (void)state;
    for (int suite = next_suite(0); suite; suite = next_suite(suite)) {
        struct seal s;
        uint8_t buf[MAX], tag[SEAL_TAG];
        seal_begin(&s, suite, key, nonce);
        for (size_t len = 0; len <= MAX; len++) {
            memcpy(buf, text, len);
            seal_encrypt(&s, 9, ad, 5, buf, len, buf, tag);
            if (len > 16)
                assert_memory_not_equal(buf, text, len);
            assert_int_equal(seal_decrypt(&s, 9, ad, 5, buf, len, tag, buf), 0);
            assert_memory_equal(buf, text, len);
        }
        seal_encrypt(&s, 10, NULL, 0, NULL, 0, NULL, tag);
        assert_int_equal(seal_decrypt(&s, 10, NULL, 0, NULL, 0, tag, NULL), 0);
        tag[0] ^= 1;
        assert_int_equal(seal_decrypt(&s, 10, NULL, 0, NULL, 0, tag, NULL), KIST_ECORRUPT);
        seal_end(&s);
    }
}

static void assert_refused(const struct seal *s, uint32_t counter, const uint8_t *a, size_t a_len, const uint8_t *in, size_t len,
                           const uint8_t *tag)
{
    static const uint8_t zero[MAX];
    uint8_t out[MAX];
    memset(out, 0xee, sizeof out);
    assert_int_equal(seal_decrypt(s, counter, a, a_len, in, len, tag, out), KIST_ECORRUPT);
    assert_memory_equal(out, zero, len); /* and no plaintext is left behind */
}

static void every_change_of_every_byte_is_found_and_the_output_wiped(void **state)
{
    enum { LEN = 70, AD = 20 };
    (void)state;
    for (int suite = next_suite(0); suite; suite = next_suite(suite)) {
        struct seal s, other;
        uint8_t sealed[LEN], tag[SEAL_TAG], a[AD], k[SEAL_KEY], n[SEAL_NONCE];
        memcpy(a, ad, AD);
        memcpy(k, key, sizeof k);
        memcpy(n, nonce, sizeof n);
        seal_begin(&s, suite, key, nonce);
        seal_encrypt(&s, 3, a, AD, text, LEN, sealed, tag);
        for (int bit = 0; bit < 8; bit++) {
            uint8_t mask = (uint8_t)(1 << bit);
            for (int i = 0; i < LEN; i++, sealed[i - 1] ^= mask) {
                sealed[i] ^= mask;
                assert_refused(&s, 3, a, AD, sealed, LEN, tag);
            }
            for (int i = 0; i < SEAL_TAG; i++, tag[i - 1] ^= mask) {
                tag[i] ^= mask;
                assert_refused(&s, 3, a, AD, sealed, LEN, tag);
            }
            for (int i = 0; i < AD; i++, a[i - 1] ^= mask) {
                a[i] ^= mask;
                assert_refused(&s, 3, a, AD, sealed, LEN, tag);
            }
            for (int i = 0; i < SEAL_KEY + SEAL_NONCE; i++) {
                uint8_t *byte = i < SEAL_KEY ? &k[i] : &n[i - SEAL_KEY];
                *byte ^= mask;
                seal_begin(&other, suite, k, n);
                assert_refused(&other, 3, a, AD, sealed, LEN, tag);
                seal_end(&other);
                *byte ^= mask;
            }
        }
        for (int bit = 0; bit < 32; bit++)
            assert_refused(&s, 3 ^ (uint32_t)1 << bit, a, AD, sealed, LEN, tag);
        assert_refused(&s, 3, a, AD - 1, sealed, LEN, tag);
        assert_refused(&s, 3, a, AD, sealed, LEN - 1, tag);
        assert_int_equal(seal_decrypt(&s, 3, a, AD, sealed, LEN, tag, sealed), 0);
        assert_memory_equal(sealed, text, LEN);
        seal_end(&s);
    }
}

static void the_suites_do_not_open_each_other(void **state)
{
    struct seal a, b;
    uint8_t sealed[50], tag[SEAL_TAG];
    (void)state;
    if (!seal_suite_available(SEAL_AES))
        skip();
    seal_begin(&a, SEAL_XCHACHA, key, nonce);
    seal_begin(&b, SEAL_AES, key, nonce);
    seal_encrypt(&a, 0, NULL, 0, text, sizeof sealed, sealed, tag);
    assert_refused(&b, 0, NULL, 0, sealed, sizeof sealed, tag);
    seal_end(&a);
    seal_end(&b);
}

static void ending_wipes_every_byte_of_key(void **state)
{
    (void)state;
    for (int suite = next_suite(0); suite; suite = next_suite(suite)) {
        struct seal s;
        memset(&s, 0, sizeof s);
        seal_begin(&s, suite, key, nonce);
        assert_false(sodium_is_zero(s.state, sizeof s.state));
        seal_end(&s);
        assert_true(sodium_is_zero(s.state, sizeof s.state));
    }
}

static void using_it_after_the_end_is_caught(void **state)
{
    int status;
    (void)state;
    pid_t pid = fork();
    if (pid == 0) {
        struct seal s;
        uint8_t out[8], tag[SEAL_TAG];
        (void)signal(SIGABRT, SIG_DFL);
        (void)close(2);
        seal_begin(&s, SEAL_XCHACHA, key, nonce);
        seal_end(&s);
        seal_encrypt(&s, 0, NULL, 0, text, 8, out, tag);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
}

static void the_check_is_siphash_2_4(void **state)
{
    uint8_t k[16], in[15];
    (void)state;
    for (uint8_t i = 0; i < 16; i++)
        k[i] = i;
    for (uint8_t i = 0; i < 15; i++)
        in[i] = i;
    assert_true(seal_check(k, in, 15) == 0xa129ca6149be45e5u); /* the authors' test vector */
    assert_true(seal_check(k, in, 14) != 0xa129ca6149be45e5u);
    k[0] ^= 1;
    assert_true(seal_check(k, in, 15) != 0xa129ca6149be45e5u);
}

static void the_hash_is_blake2b(void **state)
{
    uint8_t ours[64], theirs[64];
    (void)state;
    for (size_t len = 16; len <= 64; len += 16) {
        seal_hash(ours, len, key, 32, text, 100);
        crypto_generichash(theirs, len, text, 100, key, 32);
        assert_memory_equal(ours, theirs, len);
        seal_hash(ours, len, NULL, 0, text, 100);
        crypto_generichash(theirs, len, text, 100, NULL, 0);
        assert_memory_equal(ours, theirs, len);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(suite_1_is_everywhere_and_unknown_ones_are_not),
        cmocka_unit_test(suite_1_gives_the_answer_of_the_xchacha_draft),
        cmocka_unit_test(suite_1_with_counter_0_is_xchacha20poly1305),
        cmocka_unit_test(both_suites_agree_with_the_one_shot_functions_at_any_counter),
        cmocka_unit_test(what_was_sealed_opens_also_in_place_and_empty),
        cmocka_unit_test(every_change_of_every_byte_is_found_and_the_output_wiped),
        cmocka_unit_test(the_suites_do_not_open_each_other),
        cmocka_unit_test(ending_wipes_every_byte_of_key),
        cmocka_unit_test(using_it_after_the_end_is_caught),
        cmocka_unit_test(the_check_is_siphash_2_4),
        cmocka_unit_test(the_hash_is_blake2b),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
