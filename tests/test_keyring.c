/* test_keyring.c: a header gives back the keys that went in, to the right passphrase only, and no
 * change of it passes. */
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
#include "crypt/keyring.h"
#include "crypt/secret.h"

static const uint8_t key_a[32] = "a raw key of exactly 32 bytes...";
static const uint8_t key_b[32] = "another raw key of just 32 bytes";
static const struct unlock raw = {.kind = UNLOCK_RAW, .ptr = key_a, .len = 32};
static const struct unlock other = {.kind = UNLOCK_RAW, .ptr = key_b, .len = 32};
static const struct unlock phrase = {
    .kind = UNLOCK_PASSPHRASE, .ptr = "correct horse", .len = 13, .ops = UNLOCK_OPS_MIN, .mem = UNLOCK_MEM_MIN};
static const struct unlock wrong = {.kind = UNLOCK_PASSPHRASE, .ptr = "incorrect", .len = 9};

static int calls_left;

static int refuse(const struct os_call *call)
{
    if (call->kind != OS_ALLOC && call->kind != OS_RANDOM)
        return 0;
    return calls_left-- > 0 ? 0 : call->kind == OS_ALLOC ? -ENOMEM : -EIO;
}

static int no_hook(void **state)
{
    (void)state;
    os_hook = NULL;
    return 0;
}

static struct keyring *make(const struct unlock *u)
{
    struct keyring *kr = NULL;
    assert_int_equal(keyring_new(SEAL_XCHACHA, u, &kr), 0);
    return kr;
}

static struct buf encode(const struct keyring *kr)
{
    struct buf b;
    buf_init(&b, false);
    assert_int_equal(keyring_encode(kr, &b), 0);
    return b;
}

static void assert_same(const struct keyring *a, const struct keyring *b)
{
    struct keyring_generation ga[KEYRING_KEYS], gb[KEYRING_KEYS];
    uint8_t da[32], db[32];
    assert_memory_equal(keyring_store_id(a), keyring_store_id(b), KEYRING_STORE_ID);
    assert_int_equal(keyring_suite(a), keyring_suite(b));
    assert_int_equal(keyring_revision(a), keyring_revision(b));
    assert_int_equal(keyring_created_ms(a), keyring_created_ms(b));
    assert_int_equal(keyring_generation(a), keyring_generation(b));
    size_t n = keyring_generations(a, ga);
    assert_int_equal(keyring_generations(b, gb), n);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(ga[i].generation, gb[i].generation);
        assert_int_equal(ga[i].created_ms, gb[i].created_ms);
        assert_memory_equal(keyring_data_key(a, ga[i].generation), keyring_data_key(b, ga[i].generation), SEAL_KEY);
    }
    keyring_derive(a, "samesame", 7, da, 32);
    keyring_derive(b, "samesame", 7, db, 32);
    assert_memory_equal(da, db, 32);
    assert_memory_equal(keyring_check_key(a), keyring_check_key(b), KEYRING_CHECK_KEY);
    assert_int_equal(keyring_slot_count(a), keyring_slot_count(b));
}

/* Decode: the same as kr, or the code. Nothing is handed out on failure. */
static int decode(const struct buf *b, const struct unlock *u, const struct keyring *same)
{
    struct keyring *kr = NULL;
    struct error_detail d = {.text = ""};
    int rc = keyring_decode(b->data, b->len, u, &kr, &d);
    if (rc) {
        assert_null(kr);
        assert_true(d.text[0]);
        return rc;
    }
    assert_same(kr, same);
    keyring_free(&kr);
    assert_null(kr);
    return 0;
}

/* What an enemy can do: make the plain checksum right again. */
static void fix_checksum(struct buf *b)
{
    uint8_t *sum = b->data + b->len - 48;
    crypto_generichash(sum, 16, b->data, b->len - 48, NULL, 0);
}

static void a_new_keyring_has_one_key_and_one_slot(void **state)
{
    struct keyring *kr = make(&raw);
    struct keyring_generation g[KEYRING_KEYS];
    struct slot_info info;
    (void)state;
    assert_int_equal(keyring_generation(kr), 1);
    assert_int_equal(keyring_generations(kr, g), 1);
    assert_int_equal(g[0].generation, 1);
    assert_true(g[0].created_ms > 1600000000000u);
    assert_int_equal(keyring_revision(kr), 1);
    assert_int_equal(keyring_slot_count(kr), 1);
    assert_int_equal(keyring_slot_describe(kr, 0, &info), 0);
    assert_int_equal(info.kind, UNLOCK_RAW);
    assert_int_equal(keyring_slot_describe(kr, 1, &info), KIST_ENOKEY);
    assert_int_equal(keyring_slot_describe(kr, -1, &info), KIST_ENOKEY);
    assert_int_equal(keyring_slot_describe(kr, 8, &info), KIST_ENOKEY);
    assert_non_null(keyring_data_key(kr, 1));
    assert_null(keyring_data_key(kr, 0));
    assert_null(keyring_data_key(kr, 2));
    keyring_free(&kr);
    keyring_free(&kr);
}

static void two_stores_share_nothing(void **state)
{
    struct keyring *a = make(&raw), *b = make(&raw);
    uint8_t da[32], db[32];
    (void)state;
    assert_memory_not_equal(keyring_store_id(a), keyring_store_id(b), 16);
    assert_memory_not_equal(keyring_data_key(a, 1), keyring_data_key(b, 1), 32);
    keyring_derive(a, "purpose1", 1, da, 32);
    keyring_derive(b, "purpose1", 1, db, 32);
    assert_memory_not_equal(da, db, 32);
    keyring_derive(a, "purpose2", 1, db, 32);
    assert_memory_not_equal(da, db, 32);
    keyring_derive(a, "purpose1", 2, db, 32);
    assert_memory_not_equal(da, db, 32);
    keyring_free(&a);
    keyring_free(&b);
}

static void what_is_encoded_is_decoded_at_every_number_of_keys(void **state)
{
    struct keyring *kr = make(&raw);
    (void)state;
    for (int n = 1; n <= KEYRING_KEYS; n++) {
        struct buf b = encode(kr);
        assert_int_equal(b.len, 1612 + 44 * n);
        assert_int_equal(decode(&b, &raw, kr), 0);
        assert_int_equal(decode(&b, &other, kr), KIST_EKEY);
        buf_done(&b);
        assert_int_equal(keyring_rotate(kr), n < KEYRING_KEYS ? 0 : KIST_ETOOBIG);
    }
    assert_int_equal(keyring_generation(kr), KEYRING_KEYS);
    keyring_free(&kr);
}

static void encoding_appends_and_never_repeats_a_nonce(void **state)
{
    struct keyring *kr = make(&raw);
    struct buf b;
    (void)state;
    buf_init(&b, false);
    buf_add(&b, "before", 6);
    assert_int_equal(keyring_encode(kr, &b), 0);
    size_t len = b.len - 6;
    assert_int_equal(keyring_encode(kr, &b), 0);
    assert_int_equal(b.len, 6 + 2 * len);
    assert_memory_equal(b.data, "before", 6);
    assert_memory_equal(b.data + 6, b.data + 6 + len, 1524);
    assert_memory_not_equal(b.data + 6 + 1524, b.data + 6 + len + 1524, 24);
    buf_done(&b);
    keyring_free(&kr);
}

static void suite_2_needs_the_machine_and_others_do_not_exist(void **state)
{
    struct keyring *kr = NULL;
    (void)state;
    int rc = keyring_new(SEAL_AES, &raw, &kr);
    assert_int_equal(rc, seal_suite_available(SEAL_AES) ? 0 : KIST_ENOTSUP);
    if (rc == 0) {
        struct buf b = encode(kr);
        assert_int_equal(decode(&b, &raw, kr), 0);
        buf_done(&b);
        keyring_free(&kr);
    }
    assert_int_equal(keyring_new(0, &raw, &kr), KIST_EINVAL);
    assert_int_equal(keyring_new(3, &raw, &kr), KIST_EINVAL);
    assert_int_equal(keyring_new(SEAL_XCHACHA, NULL, &kr), KIST_EINVAL);
    assert_null(kr);
}

static void each_of_several_slots_opens_and_a_wrong_passphrase_does_not(void **state)
{
    struct keyring *kr = make(&phrase);
    int slot = -1;
    struct slot_info info;
    (void)state;
    assert_int_equal(keyring_slot_add(kr, &raw, "key file", 8, &slot), 0);
    assert_int_equal(slot, 1);
    struct buf b = encode(kr);
    assert_int_equal(decode(&b, &phrase, kr), 0);
    assert_int_equal(decode(&b, &raw, kr), 0);
    assert_int_equal(decode(&b, &wrong, kr), KIST_EKEY);
    assert_int_equal(decode(&b, &other, kr), KIST_EKEY);
    assert_int_equal(keyring_slot_find(kr, &raw, 0, &slot), 0);
    assert_int_equal(slot, 1);
    assert_int_equal(keyring_slot_find(kr, &phrase, 0, &slot), 0);
    assert_int_equal(slot, 0);
    assert_int_equal(keyring_slot_find(kr, &wrong, 0, &slot), KIST_EKEY);
    assert_int_equal(keyring_slot_describe(kr, 1, &info), 0);
    assert_string_equal(info.label, "key file");
    buf_done(&b);
    keyring_free(&kr);
}

static void a_replaced_slot_keeps_its_label_and_forgets_its_passphrase(void **state)
{
    struct keyring *kr = make(&raw);
    struct slot_info info;
    int slot;
    (void)state;
    assert_int_equal(keyring_slot_add(kr, &phrase, "me", 2, &slot), 0);
    assert_int_equal(keyring_slot_replace(kr, slot, &other), 0);
    assert_int_equal(keyring_slot_describe(kr, slot, &info), 0);
    assert_string_equal(info.label, "me");
    struct buf b = encode(kr);
    assert_int_equal(decode(&b, &phrase, kr), KIST_EKEY);
    assert_int_equal(decode(&b, &other, kr), 0);
    buf_done(&b);
    assert_int_equal(keyring_slot_replace(kr, 5, &other), KIST_ENOKEY);
    assert_int_equal(keyring_slot_replace(kr, slot, &(struct unlock){.kind = UNLOCK_RAW}), KIST_EINVAL);
    assert_int_equal(keyring_slot_find(kr, &other, 0, &slot), 0); /* the failure changed nothing */
    keyring_free(&kr);
}

static void slots_are_eight_and_the_last_one_stays(void **state)
{
    struct keyring *kr = make(&raw);
    int slot = -1;
    (void)state;
    assert_int_equal(keyring_slot_remove(kr, 0), KIST_EINVAL);
    for (int i = 1; i < KEYRING_SLOTS; i++) {
        assert_int_equal(keyring_slot_add(kr, &other, NULL, 0, &slot), 0);
        assert_int_equal(slot, i);
    }
    assert_int_equal(keyring_slot_add(kr, &other, NULL, 0, &slot), KIST_ETOOBIG);
    struct buf b = encode(kr);
    assert_int_equal(decode(&b, &other, kr), 0);
    buf_done(&b);
    for (int i = 0; i < KEYRING_SLOTS - 1; i++) {
        uint64_t revision = keyring_revision(kr);
        assert_int_equal(keyring_slot_remove(kr, i), 0);
        assert_int_equal(keyring_slot_remove(kr, i), KIST_ENOKEY);
        assert_int_equal(keyring_revision(kr), revision + 1);
    }
    assert_int_equal(keyring_slot_remove(kr, 7), KIST_EINVAL);
    assert_int_equal(keyring_slot_remove(kr, 8), KIST_ENOKEY);
    b = encode(kr);
    assert_int_equal(decode(&b, &raw, kr), KIST_EKEY);
    assert_int_equal(decode(&b, &other, kr), 0);
    buf_done(&b);
    assert_int_equal(keyring_slot_add(kr, &raw, NULL, 0, &slot), 0);
    assert_int_equal(slot, 0); /* the first free one */
    keyring_free(&kr);
}

static void rotating_and_retiring_never_reuse_a_generation(void **state)
{
    struct keyring *kr = make(&raw);
    struct keyring_generation g[KEYRING_KEYS];
    (void)state;
    assert_int_equal(keyring_retire(kr, 1), KIST_EINVAL);
    for (uint32_t i = 2; i <= 200; i++) {
        const uint8_t *before = keyring_data_key(kr, i - 1);
        assert_int_equal(keyring_rotate(kr), 0);
        assert_int_equal(keyring_generation(kr), i);
        assert_ptr_equal(keyring_data_key(kr, i - 1), before); /* keys do not move */
        assert_memory_not_equal(keyring_data_key(kr, i), before, SEAL_KEY);
        if (i > 3)
            assert_int_equal(keyring_retire(kr, i - 3), 0);
    }
    assert_int_equal(keyring_generations(kr, g), 3);
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(g[i].generation, 198 + i);
    assert_int_equal(keyring_retire(kr, 197), KIST_ENOKEY);
    assert_int_equal(keyring_retire(kr, 0), KIST_ENOKEY);
    assert_int_equal(keyring_retire(kr, 200), KIST_EINVAL);
    struct buf b = encode(kr);
    assert_int_equal(decode(&b, &raw, kr), 0);
    buf_done(&b);
    keyring_free(&kr);
}

static void a_copy_goes_its_own_way(void **state)
{
    struct keyring *kr = make(&raw), *copy = NULL;
    (void)state;
    assert_int_equal(keyring_copy(kr, &copy), 0);
    assert_same(kr, copy);
    assert_int_equal(keyring_rotate(copy), 0);
    assert_int_equal(keyring_generation(kr), 1);
    assert_null(keyring_data_key(kr, 2));
    keyring_free(&kr);
    assert_int_equal(keyring_generation(copy), 2);
    keyring_free(&copy);
}

static void a_newer_header_is_taken_over_and_an_older_one_refused(void **state)
{
    struct keyring *writer = make(&raw), *reader = NULL;
    (void)state;
    assert_int_equal(keyring_rotate(writer), 0);
    assert_int_equal(keyring_rotate(writer), 0);
    struct buf old = encode(writer);
    assert_int_equal(keyring_decode(old.data, old.len, &raw, &reader, NULL), 0);
    assert_int_equal(keyring_reload(reader, old.data, old.len), 0); /* the same again */
    const uint8_t *second = keyring_data_key(reader, 2);
    assert_int_equal(keyring_rotate(writer), 0);
    assert_int_equal(keyring_retire(writer, 1), 0);
    assert_int_equal(keyring_slot_replace(writer, 0, &phrase), 0);
    struct buf new = encode(writer);
    assert_int_equal(keyring_reload(reader, new.data, new.len), 0);
    assert_same(reader, writer);
    assert_null(keyring_data_key(reader, 1));
    assert_ptr_equal(keyring_data_key(reader, 2), second);
    assert_int_equal(keyring_reload(reader, old.data, old.len), KIST_EROLLBACK);
    assert_same(reader, writer);
    new.data[40] ^= 1;
    assert_int_equal(keyring_reload(reader, new.data, new.len), KIST_ECORRUPT);
    fix_checksum(&new);
    assert_int_equal(keyring_reload(reader, new.data, new.len), KIST_ECORRUPT);
    assert_int_equal(keyring_reload(reader, new.data, 100), KIST_ECORRUPT);
    assert_same(reader, writer);
    buf_done(&old);
    buf_done(&new);
    keyring_free(&writer);
    keyring_free(&reader);
}

static void an_old_header_is_refused_also_when_only_a_slot_had_changed(void **state)
{
    struct keyring *kr = make(&raw);
    struct buf old = encode(kr);
    (void)state;
    assert_int_equal(keyring_slot_replace(kr, 0, &other), 0);
    assert_int_equal(keyring_reload(kr, old.data, old.len), KIST_EROLLBACK);
    int slot = -1;
    assert_int_equal(keyring_slot_find(kr, &other, 0, &slot), 0);
    assert_int_equal(keyring_slot_find(kr, &raw, 0, &slot), KIST_EKEY);
    buf_done(&old);
    keyring_free(&kr);
}

static void a_header_of_another_store_is_not_taken_over(void **state)
{
    struct keyring *a = make(&raw), *b = make(&raw);
    struct buf bytes = encode(b);
    (void)state;
    assert_int_equal(keyring_reload(a, bytes.data, bytes.len), KIST_ECORRUPT);
    buf_done(&bytes);
    keyring_free(&a);
    keyring_free(&b);
}

static void two_writers_of_one_generation_are_noticed(void **state)
{
    struct keyring *a = make(&raw), *b = NULL;
    (void)state;
    assert_int_equal(keyring_copy(a, &b), 0);
    assert_int_equal(keyring_rotate(a), 0);
    assert_int_equal(keyring_rotate(b), 0);
    struct buf bytes = encode(b);
    assert_int_equal(keyring_reload(a, bytes.data, bytes.len), KIST_ECORRUPT);
    buf_done(&bytes);
    keyring_free(&a);
    keyring_free(&b);
}

static void every_changed_byte_of_a_header_is_damage_and_says_so(void **state)
{
    struct keyring *kr = make(&raw);
    struct buf b = encode(kr);
    (void)state;
    for (size_t i = 0; i < b.len; i++) {
        for (int m = 0; m < 3; m++) {
            uint8_t mask = (const uint8_t[]){0x01, 0x80, 0xff}[m];
            int want = i < 8 ? KIST_ENOTKIST : KIST_ECORRUPT;
            b.data[i] ^= mask;
            if (bytes_get16(b.data + 8) > 1 && i >= 8)
                want = KIST_ENEWER;
            assert_int_equal(decode(&b, &raw, kr), want);
            b.data[i] ^= mask;
        }
    }
    assert_int_equal(decode(&b, &raw, kr), 0);
    buf_done(&b);
    keyring_free(&kr);
}

static void an_enemy_who_mends_the_checksum_still_opens_nothing(void **state)
{
    struct keyring *kr = make(&raw);
    int slot;
    (void)state;
    assert_int_equal(keyring_slot_add(kr, &phrase, "p", 1, &slot), 0);
    struct buf b = encode(kr);
    size_t mac = b.len - 32, salt = 48 + 32, commitment = 48 + 80;
    for (size_t i = 10; i < b.len; i++) {
        for (int m = 0; m < 3; m++) {
            uint8_t mask = (const uint8_t[]){0x01, 0x80, 0xff}[m];
            b.data[i] ^= mask;
            fix_checksum(&b);
            int rc = decode(&b, &raw, kr);
            b.data[i] ^= mask;
            if (i >= mac - 16 && i < mac)
                assert_int_equal(rc, 0); /* the checksum itself was mended */
            else if ((i >= salt && i < salt + 16) || (i >= commitment && i < commitment + 32))
                assert_int_equal(rc, KIST_EKEY);
            else if (i == 10 || i == 11 || (i - 48) % SLOT_SIZE == 0)
                assert_true(rc == KIST_ENEWER || rc == KIST_ECORRUPT || rc == KIST_EKEY);
            else
                assert_int_equal(rc, KIST_ECORRUPT);
        }
    }
    buf_done(&b);
    keyring_free(&kr);
}

static void every_truncation_is_damage_and_so_is_every_appended_byte(void **state)
{
    struct keyring *kr = make(&raw), *none = NULL;
    struct buf b = encode(kr);
    (void)state;
    for (size_t len = 0; len < b.len; len++) {
        uint8_t *exact = malloc(len + 1); /* so that a read beyond is noticed */
        assert_non_null(exact);
        memcpy(exact, b.data, len);
        assert_int_equal(keyring_decode(exact, len, &raw, &none, NULL), KIST_ECORRUPT);
        free(exact);
    }
    assert_int_equal(keyring_decode("KISS", 4, &raw, &none, NULL), KIST_ENOTKIST);
    assert_int_equal(keyring_decode(NULL, 0, &raw, &none, NULL), KIST_ECORRUPT);
    buf_add_u8(&b, 0);
    assert_int_equal(decode(&b, &raw, kr), KIST_ECORRUPT);
    buf_done(&b);
    keyring_free(&kr);
}

static void a_newer_format_is_told_before_anything_else(void **state)
{
    static const uint8_t newer[] = {'K', 'I', 'S', 'T', 'H', 'E', 'A', 'D', 2, 0};
    static const uint8_t foreign[4000] = "SQLite format 3";
    struct keyring *kr = NULL;
    struct error_detail d = {.text = ""};
    (void)state;
    assert_int_equal(keyring_decode(newer, sizeof newer, &raw, &kr, &d), KIST_ENEWER);
    assert_non_null(strstr(d.text, "format 2"));
    assert_int_equal(keyring_decode(foreign, sizeof foreign, &raw, &kr, &d), KIST_ENOTKIST);
    assert_null(kr);
}

static void kdf_costs_of_an_enemy_are_refused_whoever_asks(void **state)
{
    struct keyring *kr = make(&raw), *none = NULL;
    struct error_detail d = {.text = ""};
    int slot;
    (void)state;
    assert_int_equal(keyring_slot_add(kr, &phrase, NULL, 0, &slot), 0);
    struct buf b = encode(kr);
    bytes_put64(b.data + 48 + SLOT_SIZE + 24, (uint64_t)1 << 62);
    fix_checksum(&b);
    assert_int_equal(keyring_decode(b.data, b.len, &phrase, &none, &d), KIST_ECORRUPT);
    assert_non_null(strstr(d.text, "4611686018427387904"));
    assert_int_equal(keyring_decode(b.data, b.len, &raw, &none, &d), KIST_ECORRUPT);
    bytes_put64(b.data + 48 + SLOT_SIZE + 24, UNLOCK_MEM_MIN);
    bytes_put64(b.data + 48 + SLOT_SIZE + 16, (uint64_t)1 << 62);
    fix_checksum(&b);
    assert_int_equal(keyring_decode(b.data, b.len, &phrase, &none, &d), KIST_ECORRUPT);
    assert_non_null(strstr(d.text, "4611686018427387904"));
    assert_null(none);
    buf_done(&b);
    keyring_free(&kr);
}

static void all_slots_together_have_a_limit(void **state)
{
    const struct unlock dear = {UNLOCK_PASSPHRASE, "dear", 4, .ops = UNLOCK_OPS_MAX, .mem = UNLOCK_MEM_MAX};
    struct keyring *kr = make(&raw), *none = NULL;
    struct error_detail d = {.text = ""};
    int slot = -1;
    (void)state;
    for (int i = 0; i < 2; i++)
        assert_int_equal(keyring_slot_add(kr, &phrase, NULL, 0, &slot), 0);
    struct buf b = encode(kr);
    bytes_put64(b.data + 48 + SLOT_SIZE + 16, UNLOCK_OPS_MAX);
    bytes_put64(b.data + 48 + SLOT_SIZE + 24, UNLOCK_MEM_MAX - UNLOCK_MEM_MIN);
    fix_checksum(&b);
    assert_int_equal(keyring_decode(b.data, b.len, &raw, &none, &d), KIST_ECORRUPT);
    assert_non_null(strstr(d.text, "authenticate")); /* as much as there may be: goes on */
    bytes_put64(b.data + 48 + SLOT_SIZE + 24, UNLOCK_MEM_MAX);
    fix_checksum(&b);
    assert_int_equal(keyring_decode(b.data, b.len, &raw, &none, &d), KIST_ECORRUPT);
    assert_non_null(strstr(d.text, "together"));
    assert_non_null(strstr(d.text, "only 16384 are accepted"));
    assert_non_null(strstr(d.text, "copy of the header"));
    buf_done(&b);
    /* Nobody can make such a header with us, and hears so without waiting for the costs. */
    assert_int_equal(keyring_slot_add(kr, &dear, NULL, 0, &slot), KIST_ETOOBIG);
    assert_int_equal(keyring_slot_replace(kr, 0, &dear), KIST_ETOOBIG);
    assert_int_equal(keyring_slot_count(kr), 3);
    assert_int_equal(keyring_slot_find(kr, &raw, 0, &slot), 0);
    keyring_free(&kr);
}

static void a_slot_that_costs_more_than_the_reader_allows_is_passed_over(void **state)
{
    struct unlock twice = phrase, once = phrase;
    struct keyring *kr = NULL;
    struct error_detail d = {.text = ""};
    int slot = -1;
    (void)state;
    twice.ptr = "two passes";
    twice.len = 10;
    twice.ops = 2;
    kr = make(&twice);
    assert_int_equal(keyring_slot_add(kr, &phrase, NULL, 0, &slot), 0);
    struct buf b = encode(kr);
    once.max_ops = twice.max_ops = 1;
    assert_int_equal(decode(&b, &once, kr), 0);
    struct keyring *none = NULL;
    assert_int_equal(keyring_decode(b.data, b.len, &twice, &none, &d), KIST_ETOOBIG);
    assert_non_null(strstr(d.text, "2 passes"));
    assert_non_null(strstr(d.text, "limit of 1 "));
    assert_non_null(strstr(d.text, "kdf_ops"));
    assert_null(none);
    twice.max_ops = 2;
    assert_int_equal(decode(&b, &twice, kr), 0);
    twice.max_mem = UNLOCK_MEM_MIN - 1;
    assert_int_equal(decode(&b, &twice, kr), KIST_ETOOBIG);
    buf_done(&b);
    keyring_free(&kr);
}

static void only_a_failure_to_open_leaves_a_sentence(void **state)
{
    struct keyring *kr = make(&raw), *again = NULL;
    struct error_detail d = {.text = ""};
    int slot = -1;
    (void)state;
    assert_int_equal(keyring_slot_add(kr, &other, NULL, 0, &slot), 0);
    struct buf b = encode(kr);
    assert_int_equal(keyring_decode(b.data, b.len, &other, &again, &d), 0);
    assert_string_equal(d.text, "");
    buf_done(&b);
    keyring_free(&again);
    keyring_free(&kr);
}

static void slots_are_found_from_a_number_on(void **state)
{
    struct keyring *kr = make(&raw);
    int slot = -1;
    (void)state;
    assert_int_equal(keyring_slot_add(kr, &other, NULL, 0, &slot), 0);
    assert_int_equal(keyring_slot_add(kr, &raw, NULL, 0, &slot), 0);
    assert_int_equal(keyring_slot_find(kr, &raw, 0, &slot), 0);
    assert_int_equal(slot, 0);
    assert_int_equal(keyring_slot_find(kr, &raw, 1, &slot), 0);
    assert_int_equal(slot, 2);
    assert_int_equal(keyring_slot_find(kr, &raw, 3, &slot), KIST_EKEY);
    assert_int_equal(keyring_slot_find(kr, &raw, KEYRING_SLOTS, &slot), KIST_EKEY);
    keyring_free(&kr);
}

static void what_opens_nothing_is_refused_by_decode_too(void **state)
{
    struct keyring *kr = make(&raw);
    struct buf b = encode(kr);
    struct unlock empty = {.kind = UNLOCK_PASSPHRASE, .ptr = "", .len = 0};
    struct unlock direct = {.kind = UNLOCK_DIRECT, .ptr = key_a, .len = 32};
    (void)state;
    assert_int_equal(decode(&b, &empty, kr), KIST_EINVAL);
    assert_int_equal(decode(&b, &direct, kr), KIST_EKEY);
    buf_done(&b);
    keyring_free(&kr);
}

/* The page's description, followed with libsodium alone, from the raw key to the data key. */
static void a_header_is_made_as_the_format_page_says(void **state)
{
    static const uint8_t personal[16] = "kist raw key";
    struct keyring *kr = make(&raw);
    uint8_t slot_key[32], k[32], root[32], ad[128], mac[32], list[88], derived[32];
    (void)state;
    assert_int_equal(keyring_rotate(kr), 0);
    struct buf b = encode(kr);
    const uint8_t *h = b.data, *slot = h + 48;
    assert_int_equal(b.len, 1700);
    assert_int_equal(bytes_get32(h + 12), 1700);
    assert_int_equal(bytes_get64(h + 32), 2);
    crypto_generichash_blake2b_salt_personal(slot_key, 32, NULL, 0, key_a, 32, slot + 32, personal);
    crypto_kdf_derive_from_key(k, 32, 1, "kistslot", slot_key);
    memcpy(ad, h + 16, 16);
    memcpy(ad + 16, slot, 112);
    assert_int_equal(crypto_aead_xchacha20poly1305_ietf_decrypt(root, NULL, NULL, slot + 136, 48, ad, 128, slot + 112, k), 0);
    crypto_kdf_derive_from_key(k, 32, 2, "kisthead", root);
    crypto_generichash(mac, 32, h, 1668, k, 32);
    assert_memory_equal(mac, h + 1668, 32);
    crypto_kdf_derive_from_key(k, 32, 1, "kisthead", root);
    assert_int_equal(bytes_get32(h + 1520), 2);
    assert_int_equal(crypto_aead_xchacha20poly1305_ietf_decrypt(list, NULL, NULL, h + 1548, 104, h, 1524, h + 1524, k), 0);
    assert_int_equal(bytes_get32(list), 1);
    assert_int_equal(bytes_get32(list + 44), 2);
    assert_memory_equal(list + 12, keyring_data_key(kr, 1), 32);
    assert_memory_equal(list + 56, keyring_data_key(kr, 2), 32);
    crypto_kdf_derive_from_key(k, 16, 1, "kistchck", root);
    assert_memory_equal(keyring_check_key(kr), k, 16);
    crypto_kdf_derive_from_key(k, 32, 9, "anything", root);
    keyring_derive(kr, "anything", 9, derived, 32);
    assert_memory_equal(derived, k, 32);
    buf_done(&b);
    keyring_free(&kr);
}

/* Everything once, each allocation and each random number failing in turn. */
static int life(void)
{
    struct keyring *kr = NULL, *copy = NULL, *again = NULL;
    struct buf b;
    int slot;
    buf_init(&b, false);
    int rc = keyring_new(SEAL_XCHACHA, &raw, &kr);
    if (rc == 0)
        rc = keyring_copy(kr, &copy);
    if (rc == 0)
        rc = keyring_rotate(copy);
    if (rc == 0)
        rc = keyring_slot_add(copy, &other, NULL, 0, &slot);
    if (rc == 0)
        rc = keyring_slot_replace(copy, 0, &other);
    if (rc == 0)
        rc = keyring_encode(copy, &b);
    if (rc == 0)
        rc = keyring_decode(b.data, b.len, &other, &again, NULL);
    if (rc == 0)
        rc = keyring_reload(kr, b.data, b.len);
    if (rc == 0)
        assert_same(kr, again);
    else if (kr) /* whatever failed, what was held before still holds */
        assert_int_equal(keyring_generation(kr), 1);
    keyring_free(&kr);
    keyring_free(&copy);
    keyring_free(&again);
    buf_done(&b);
    return rc;
}

static void every_failed_allocation_and_random_number_is_an_error(void **state)
{
    int rc = -1;
    (void)state;
    for (int n = 0; rc; n++) {
        calls_left = n;
        os_hook = refuse;
        rc = life();
        os_hook = NULL;
        assert_true(rc == 0 || rc == KIST_ENOMEM || rc == KIST_EIO);
        assert_true(rc || n > 10);
        assert_in_range(n, 0, 100);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_keyring_has_one_key_and_one_slot),
        cmocka_unit_test(two_stores_share_nothing),
        cmocka_unit_test(what_is_encoded_is_decoded_at_every_number_of_keys),
        cmocka_unit_test(encoding_appends_and_never_repeats_a_nonce),
        cmocka_unit_test(suite_2_needs_the_machine_and_others_do_not_exist),
        cmocka_unit_test(each_of_several_slots_opens_and_a_wrong_passphrase_does_not),
        cmocka_unit_test(a_replaced_slot_keeps_its_label_and_forgets_its_passphrase),
        cmocka_unit_test(slots_are_eight_and_the_last_one_stays),
        cmocka_unit_test(rotating_and_retiring_never_reuse_a_generation),
        cmocka_unit_test(a_copy_goes_its_own_way),
        cmocka_unit_test(a_newer_header_is_taken_over_and_an_older_one_refused),
        cmocka_unit_test(an_old_header_is_refused_also_when_only_a_slot_had_changed),
        cmocka_unit_test(a_header_of_another_store_is_not_taken_over),
        cmocka_unit_test(two_writers_of_one_generation_are_noticed),
        cmocka_unit_test(every_changed_byte_of_a_header_is_damage_and_says_so),
        cmocka_unit_test(an_enemy_who_mends_the_checksum_still_opens_nothing),
        cmocka_unit_test(every_truncation_is_damage_and_so_is_every_appended_byte),
        cmocka_unit_test(a_newer_format_is_told_before_anything_else),
        cmocka_unit_test(kdf_costs_of_an_enemy_are_refused_whoever_asks),
        cmocka_unit_test(all_slots_together_have_a_limit),
        cmocka_unit_test(a_slot_that_costs_more_than_the_reader_allows_is_passed_over),
        cmocka_unit_test(only_a_failure_to_open_leaves_a_sentence),
        cmocka_unit_test(slots_are_found_from_a_number_on),
        cmocka_unit_test(what_opens_nothing_is_refused_by_decode_too),
        cmocka_unit_test(a_header_is_made_as_the_format_page_says),
        cmocka_unit_test_teardown(every_failed_allocation_and_random_number_is_an_error, no_hook),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    return failed || secret_live(); /* no secret outlives its owner */
}
