/* test_slot.c: a slot opens for its passphrase or key only, tells a wrong one from damage, and
 * costs no more than allowed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <sodium.h>

#include "base/bytes.h"
#include "base/os.h"
#include "crypt/slot.h"

#define COMMITMENT_AT 80
#define NONCE_AT 112

static const uint8_t store_id[SLOT_STORE_ID] = "a store's id 16";
static const uint8_t root[SLOT_ROOT] = "the root key of thirty-two bytes";
static const uint8_t raw_key[32] = "a raw key of exactly 32 bytes...";

static const struct unlock raw = {.kind = UNLOCK_RAW, .ptr = raw_key, .len = 32};
static const struct unlock phrase = {
    .kind = UNLOCK_PASSPHRASE, .ptr = "correct horse", .len = 13, .ops = UNLOCK_OPS_MIN, .mem = UNLOCK_MEM_MIN};

static int wrap(const struct unlock *u, uint8_t slot[SLOT_SIZE])
{
    return slot_wrap(u, store_id, root, "label", 5, 1234567, slot);
}

static int unwrap(const uint8_t slot[SLOT_SIZE], const struct unlock *u)
{
    uint8_t got[SLOT_ROOT], before[SLOT_ROOT];
    memset(got, 0x55, sizeof got);
    memcpy(before, got, sizeof got);
    int rc = slot_unwrap(slot, u, store_id, got, NULL);
    assert_memory_equal(got, rc ? before : root, sizeof got);
    return rc;
}

static void a_raw_key_opens_its_slot(void **state)
{
    uint8_t slot[SLOT_SIZE];
    struct slot_info info;
    (void)state;
    assert_int_equal(wrap(&raw, slot), 0);
    assert_int_equal(unwrap(slot, &raw), 0);
    assert_int_equal(slot_describe(slot, &info, NULL), 0);
    assert_int_equal(info.kind, UNLOCK_RAW);
    assert_int_equal(info.created_ms, 1234567);
    assert_int_equal(info.ops, 0);
    assert_string_equal(info.label, "label");
}

static void a_passphrase_opens_its_slot_whatever_its_bytes(void **state)
{
    static const struct unlock odd[] = {
        {.kind = UNLOCK_PASSPHRASE, .ptr = "\0", .len = 1, .ops = 1, .mem = UNLOCK_MEM_MIN},
        {.kind = UNLOCK_PASSPHRASE, .ptr = "a\0b\n\xff", .len = 5, .ops = 2, .mem = UNLOCK_MEM_MIN},
    };
    struct slot_info info;
    uint8_t slot[SLOT_SIZE], longest[UNLOCK_PASSPHRASE_MAX];
    (void)state;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(wrap(&odd[i], slot), 0);
        assert_int_equal(unwrap(slot, &odd[i]), 0);
        assert_int_equal(slot_describe(slot, &info, NULL), 0);
        assert_int_equal(info.ops, odd[i].ops);
        assert_int_equal(info.mem, UNLOCK_MEM_MIN);
    }
    memset(longest, 'x', sizeof longest);
    struct unlock u = {.kind = UNLOCK_PASSPHRASE, .ptr = longest, .len = sizeof longest, .ops = 1, .mem = UNLOCK_MEM_MIN};
    assert_int_equal(wrap(&u, slot), 0);
    assert_int_equal(unwrap(slot, &u), 0);
    longest[sizeof longest - 1] = 'y'; /* the last byte counts, too */
    assert_int_equal(unwrap(slot, &u), KIST_EKEY);
}

static void the_default_costs_are_64_mib_and_3_passes(void **state)
{
    struct unlock u = {.kind = UNLOCK_PASSPHRASE, .ptr = "pass", .len = 4};
    struct slot_info info;
    uint8_t slot[SLOT_SIZE];
    (void)state;
    assert_int_equal(wrap(&u, slot), 0);
    assert_int_equal(slot_describe(slot, &info, NULL), 0);
    assert_int_equal(info.ops, 3);
    assert_int_equal(info.mem, 64 << 20);
    assert_int_equal(unwrap(slot, &u), 0);
}

static void another_key_or_passphrase_or_kind_is_a_wrong_key(void **state)
{
    static const struct unlock other_phrase = {.kind = UNLOCK_PASSPHRASE, .ptr = "correct horsf", .len = 13};
    static const struct unlock shorter = {.kind = UNLOCK_PASSPHRASE, .ptr = "correct hors", .len = 12};
    struct unlock same_bytes = {.kind = UNLOCK_PASSPHRASE, .ptr = raw_key, .len = 32};
    uint8_t slot[SLOT_SIZE], other[32];
    (void)state;
    memcpy(other, raw_key, 32);
    other[31] ^= 1;
    struct unlock other_raw = {.kind = UNLOCK_RAW, .ptr = other, .len = 32};
    assert_int_equal(wrap(&raw, slot), 0);
    assert_int_equal(unwrap(slot, &other_raw), KIST_EKEY);
    assert_int_equal(unwrap(slot, &same_bytes), KIST_EKEY);
    assert_int_equal(wrap(&phrase, slot), 0);
    assert_int_equal(unwrap(slot, &other_phrase), KIST_EKEY);
    assert_int_equal(unwrap(slot, &shorter), KIST_EKEY);
    assert_int_equal(unwrap(slot, &raw), KIST_EKEY);
    memset(slot, 0, sizeof slot);
    assert_int_equal(unwrap(slot, &raw), KIST_EKEY);
}

static void what_cannot_open_anything_is_refused(void **state)
{
    static const uint8_t zero[32];
    static const char big[UNLOCK_PASSPHRASE_MAX + 1];
    const struct {
        struct unlock u;
        int want;
    } bad[] = {
        {{.kind = UNLOCK_RAW, .ptr = raw_key, .len = 31}, KIST_EINVAL},
        {{.kind = UNLOCK_RAW, .ptr = raw_key, .len = 0}, KIST_EINVAL},
        {{.kind = UNLOCK_RAW, .ptr = zero, .len = 32}, KIST_EINVAL},
        {{.kind = UNLOCK_RAW, .ptr = NULL, .len = 32}, KIST_EINVAL},
        {{.kind = UNLOCK_DIRECT, .ptr = raw_key, .len = 32}, KIST_EINVAL},
        {{.kind = UNLOCK_PASSPHRASE, .ptr = "", .len = 0}, KIST_EINVAL},
        {{.kind = UNLOCK_PASSPHRASE, .ptr = big, .len = sizeof big}, KIST_ETOOBIG},
        {{.kind = 0, .ptr = raw_key, .len = 32}, KIST_EINVAL},
        {{.kind = 99, .ptr = raw_key, .len = 32}, KIST_EINVAL},
        {{UNLOCK_PASSPHRASE, "p", 1, .ops = 17, .mem = UNLOCK_MEM_MIN}, KIST_EINVAL},
        {{UNLOCK_PASSPHRASE, "p", 1, .ops = 1, .mem = UNLOCK_MEM_MIN - 1}, KIST_EINVAL},
        {{UNLOCK_PASSPHRASE, "p", 1, .ops = 1, .mem = UNLOCK_MEM_MAX + 1}, KIST_EINVAL},
        {{UNLOCK_PASSPHRASE, "p", 1, .ops = (uint64_t)1 << 62, .mem = (uint64_t)1 << 62}, KIST_EINVAL},
    };
    uint8_t slot[SLOT_SIZE], before[SLOT_SIZE];
    (void)state;
    memset(slot, 0x33, sizeof slot);
    memcpy(before, slot, sizeof slot);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(wrap(&bad[i].u, slot), bad[i].want);
    assert_int_equal(wrap(NULL, slot), KIST_EINVAL);
    assert_int_equal(slot_wrap(&raw, store_id, root, big, SLOT_LABEL_MAX + 1, 0, slot), KIST_ETOOBIG);
    assert_memory_equal(slot, before, sizeof slot);
    assert_int_equal(slot_wrap(&raw, store_id, root, big, SLOT_LABEL_MAX, 0, slot), 0);
    assert_int_equal(unwrap(slot, &raw), 0);
}

static void costs_out_of_range_are_named_before_memory_is_spent(void **state)
{
    static const struct {
        uint64_t ops, mem;
        const char *word;
    } bad[] = {
        {0, UNLOCK_MEM_MIN, "1 to 16"},
        {17, UNLOCK_MEM_MIN, "1 to 16"},
        {(uint64_t)1 << 62, UNLOCK_MEM_MIN, "1 to 16"},
        {UINT64_MAX, UINT64_MAX, "1 to 16"},
        {1, 0, "8388608 to 1073741824"},
        {1, UNLOCK_MEM_MIN - 1, "8388608 to 1073741824"},
        {1, UNLOCK_MEM_MAX + 1, "8388608 to 1073741824"},
        {1, (uint64_t)1 << 62, "8388608 to 1073741824"},
    };
    uint8_t slot[SLOT_SIZE], got[SLOT_ROOT];
    struct slot_info info;
    (void)state;
    assert_int_equal(wrap(&phrase, slot), 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct error_detail d = {.text = ""};
        bytes_put64(slot + 16, bad[i].ops);
        bytes_put64(slot + 24, bad[i].mem);
        assert_int_equal(slot_unwrap(slot, &phrase, store_id, got, &d), KIST_ECORRUPT);
        assert_non_null(strstr(d.text, bad[i].word));
        assert_int_equal(slot_describe(slot, &info, NULL), KIST_ECORRUPT);
    }
    assert_int_equal(wrap(&raw, slot), 0);
    slot[16] = 1; /* a raw key has no costs */
    assert_int_equal(slot_describe(slot, &info, NULL), KIST_ECORRUPT);
}

static void a_slot_changed_in_any_byte_never_opens(void **state)
{
    uint8_t slot[SLOT_SIZE];
    (void)state;
    assert_int_equal(wrap(&raw, slot), 0);
    for (int i = 0; i < SLOT_SIZE; i++) {
        for (int m = 0; m < 3; m++) {
            uint8_t mask = (const uint8_t[]){0x01, 0x80, 0xff}[m];
            slot[i] ^= mask;
            int rc = unwrap(slot, &raw);
            slot[i] ^= mask;
            if (i == 0) /* empty, another kind or an unknown one */
                assert_true(rc == KIST_EKEY || rc == KIST_ENEWER || rc == KIST_ECORRUPT);
            else if ((i >= 32 && i < 48) || (i >= COMMITMENT_AT && i < NONCE_AT)) /* salt, commitment */
                assert_int_equal(rc, KIST_EKEY);
            else
                assert_int_equal(rc, KIST_ECORRUPT);
        }
    }
    assert_int_equal(unwrap(slot, &raw), 0);
}

static void a_slot_of_another_store_does_not_open(void **state)
{
    uint8_t slot[SLOT_SIZE], id[SLOT_STORE_ID], got[SLOT_ROOT];
    (void)state;
    memcpy(id, store_id, sizeof id);
    id[3] ^= 4;
    assert_int_equal(wrap(&raw, slot), 0);
    assert_int_equal(slot_unwrap(slot, &raw, id, got, NULL), KIST_ECORRUPT);
}

/* The derivation, written down a second time with libsodium alone: what docs/format.md promises. */
static void a_slot_is_made_as_the_format_page_says(void **state)
{
    static const uint8_t personal[16] = "kist raw key";
    uint8_t slot[SLOT_SIZE], key[32], wrap_key[32], commitment[32], ad[128], got[32];
    (void)state;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(wrap(i ? &phrase : &raw, slot), 0);
        if (i)
            assert_int_equal(crypto_pwhash(key, 32, "correct horse", 13, slot + 32, 1, 8 << 20, crypto_pwhash_ALG_ARGON2ID13), 0);
        else
            crypto_generichash_blake2b_salt_personal(key, 32, NULL, 0, raw_key, 32, slot + 32, personal);
        crypto_kdf_derive_from_key(wrap_key, 32, 1, "kistslot", key);
        crypto_kdf_derive_from_key(commitment, 32, 2, "kistslot", key);
        assert_memory_equal(commitment, slot + COMMITMENT_AT, 32);
        memcpy(ad, store_id, 16);
        memcpy(ad + 16, slot, 112);
        assert_int_equal(
            crypto_aead_xchacha20poly1305_ietf_decrypt(got, NULL, NULL, slot + 136, 48, ad, 128, slot + 112, wrap_key), 0);
        assert_memory_equal(got, root, 32);
    }
}

static void two_slots_for_one_key_have_nothing_in_common(void **state)
{
    uint8_t a[SLOT_SIZE], b[SLOT_SIZE];
    (void)state;
    assert_int_equal(wrap(&raw, a), 0);
    assert_int_equal(wrap(&raw, b), 0);
    assert_memory_not_equal(a + 32, b + 32, 16);
    assert_memory_not_equal(a + COMMITMENT_AT, b + COMMITMENT_AT, 32);
    assert_memory_not_equal(a + NONCE_AT, b + NONCE_AT, 24);
    assert_memory_not_equal(a + 136, b + 136, 48);
}

static int no_random(const struct os_call *call)
{
    return call->kind == OS_RANDOM ? -EIO : 0;
}

static void without_randomness_there_is_no_slot(void **state)
{
    uint8_t slot[SLOT_SIZE] = {0};
    (void)state;
    os_hook = no_random;
    assert_int_equal(wrap(&raw, slot), KIST_EIO);
    os_hook = NULL;
    assert_true(sodium_is_zero(slot, sizeof slot));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_raw_key_opens_its_slot),
        cmocka_unit_test(a_passphrase_opens_its_slot_whatever_its_bytes),
        cmocka_unit_test(the_default_costs_are_64_mib_and_3_passes),
        cmocka_unit_test(another_key_or_passphrase_or_kind_is_a_wrong_key),
        cmocka_unit_test(what_cannot_open_anything_is_refused),
        cmocka_unit_test(costs_out_of_range_are_named_before_memory_is_spent),
        cmocka_unit_test(a_slot_changed_in_any_byte_never_opens),
        cmocka_unit_test(a_slot_of_another_store_does_not_open),
        cmocka_unit_test(a_slot_is_made_as_the_format_page_says),
        cmocka_unit_test(two_slots_for_one_key_have_nothing_in_common),
        cmocka_unit_test(without_randomness_there_is_no_slot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
