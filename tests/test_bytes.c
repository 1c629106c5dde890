/* test_bytes.c: one value has one encoding, and no input makes a reader run past its end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"

static const uint64_t edges[] = {
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0x100,
    0x3fff,
    0x4000,
    0xffff,
    0x10000,
    0xffffffff,
    0x100000000,
    INT64_MAX,
    (uint64_t)INT64_MAX + 1,
    UINT64_MAX - 1,
    UINT64_MAX,
};
enum { EDGES = sizeof edges / sizeof edges[0] };

/* The varint in a block of exactly len bytes, so that a sanitizer sees any step past it. */
static uint64_t varint_of(const uint8_t *bytes, size_t len, bool *out_bad, size_t *out_left)
{
    uint8_t *exact = malloc(len ? len : 1);
    assert_non_null(exact);
    if (len)
        memcpy(exact, bytes, len);
    struct bytes_in in = bytes_in_init(exact, len);
    uint64_t v = bytes_in_varint(&in);
    *out_bad = in.bad;
    *out_left = bytes_in_left(&in);
    free(exact);
    return v;
}

static void refuse(const uint8_t *bytes, size_t len)
{
    bool bad;
    size_t left;
    assert_int_equal(varint_of(bytes, len, &bad, &left), 0);
    assert_true(bad);
}

static void fixed_fields_are_little_endian(void **state)
{
    uint8_t p[8];
    (void)state;
    bytes_put16(p, 0x0102);
    assert_memory_equal(p, "\x02\x01", 2);
    bytes_put32(p, 0x01020304);
    assert_memory_equal(p, "\x04\x03\x02\x01", 4);
    bytes_put64(p, 0x0102030405060708);
    assert_memory_equal(p, "\x08\x07\x06\x05\x04\x03\x02\x01", 8);
    bytes_put64be(p, 0x0102030405060708);
    assert_memory_equal(p, "\x01\x02\x03\x04\x05\x06\x07\x08", 8);
}

static void fixed_fields_come_back_as_they_went(void **state)
{
    uint8_t p[8];
    (void)state;
    for (int i = 0; i < EDGES; i++) {
        bytes_put16(p, (uint16_t)edges[i]);
        assert_int_equal(bytes_get16(p), (uint16_t)edges[i]);
        bytes_put32(p, (uint32_t)edges[i]);
        assert_int_equal(bytes_get32(p), (uint32_t)edges[i]);
        bytes_put64(p, edges[i]);
        assert_true(bytes_get64(p) == edges[i]);
        bytes_put64be(p, edges[i]);
        assert_true(bytes_get64be(p) == edges[i]);
    }
}

static void big_endian_numbers_sort_as_bytes(void **state)
{
    uint8_t a[8], b[8];
    (void)state;
    for (int i = 0; i + 1 < EDGES; i++) {
        bytes_put64be(a, edges[i]);
        bytes_put64be(b, edges[i + 1]);
        assert_int_equal(bytes_compare(a, 8, b, 8), -1);
    }
}

static void varints_come_back_as_they_went(void **state)
{
    (void)state;
    for (int i = 0; i < EDGES; i++) {
        uint8_t p[BYTES_VARINT_MAX];
        bool bad;
        size_t left, n = bytes_put_varint(p, edges[i]);
        assert_int_equal(n, bytes_varint_len(edges[i]));
        assert_true(n >= 1 && n <= BYTES_VARINT_MAX);
        assert_true(varint_of(p, n, &bad, &left) == edges[i]);
        assert_false(bad);
        assert_int_equal(left, 0);
    }
}

static void a_varint_cut_short_is_refused_at_every_length(void **state)
{
    uint8_t p[BYTES_VARINT_MAX];
    (void)state;
    size_t n = bytes_put_varint(p, UINT64_MAX);
    assert_int_equal(n, BYTES_VARINT_MAX);
    for (size_t len = 0; len < n; len++)
        refuse(p, len);
}

static void a_varint_longer_than_needed_is_refused(void **state)
{
    (void)state;
    refuse((const uint8_t *)"\x80\x00", 2);         /* 0 in two bytes */
    refuse((const uint8_t *)"\xff\x00", 2);         /* 127 in two bytes */
    refuse((const uint8_t *)"\x80\x80\x00", 3);     /* 0 in three bytes */
    refuse((const uint8_t *)"\x80\x81\x80\x00", 4); /* a zero at the end of a real one */
    refuse((const uint8_t *)"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00", 10);
}

static void a_varint_above_64_bits_is_refused(void **state)
{
    (void)state;
    refuse((const uint8_t *)"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 10);
    refuse((const uint8_t *)"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", 10);
    refuse((const uint8_t *)"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x81\x00", 11);
    refuse((const uint8_t *)"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11);
}

static void every_two_byte_varint_is_canonical_or_refused(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 0x10000; i++) {
        uint8_t in[2] = {(uint8_t)i, (uint8_t)(i >> 8)}, again[BYTES_VARINT_MAX];
        bool bad;
        size_t left;
        uint64_t v = varint_of(in, 2, &bad, &left);
        if (bad)
            continue;
        assert_int_equal(bytes_put_varint(again, v), 2 - left);
        assert_memory_equal(again, in, 2 - left);
    }
}

static void a_dry_reader_stays_dry(void **state)
{
    static const uint8_t p[] = {1, 2, 3};
    struct bytes_in in = bytes_in_init(p, sizeof p);
    (void)state;
    assert_int_equal(bytes_in_u32(&in), 0);
    assert_true(in.bad);
    assert_int_equal(bytes_in_u8(&in), 0);
    assert_null(bytes_in_take(&in, 0));
    assert_int_equal(bytes_in_u64(&in), 0);
    assert_int_equal(bytes_in_varint(&in), 0);
}

static void a_reader_gives_every_byte_once(void **state)
{
    static const uint8_t p[] = {9, 1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 'x', 'y', 0x85, 0x01};
    struct bytes_in in = bytes_in_init(p, sizeof p);
    (void)state;
    assert_int_equal(bytes_in_u8(&in), 9);
    assert_int_equal(bytes_in_u32(&in), 1);
    assert_int_equal(bytes_in_u64(&in), 2);
    assert_memory_equal(bytes_in_take(&in, 2), "xy", 2);
    assert_int_equal(bytes_in_varint(&in), 133);
    assert_int_equal(bytes_in_left(&in), 0);
    assert_false(in.bad);
    assert_non_null(bytes_in_take(&in, 0));
}

static void a_huge_length_is_refused_without_overflow(void **state)
{
    static const uint8_t p[] = {1};
    struct bytes_in in = bytes_in_init(p, sizeof p);
    (void)state;
    assert_null(bytes_in_take(&in, SIZE_MAX));
    assert_true(in.bad);
}

static void bytes_compare_as_unsigned_and_prefixes_come_first(void **state)
{
    (void)state;
    assert_int_equal(bytes_compare("a", 1, "b", 1), -1);
    assert_int_equal(bytes_compare("\xff", 1, "\x01", 1), 1);
    assert_int_equal(bytes_compare("a", 1, "aa", 2), -1);
    assert_int_equal(bytes_compare("aa", 2, "a", 1), 1);
    assert_int_equal(bytes_compare("a\0b", 3, "a\0c", 3), -1);
    assert_int_equal(bytes_compare("", 0, "", 0), 0);
    assert_int_equal(bytes_compare(NULL, 0, "a", 1), -1);
    assert_int_equal(bytes_compare("same", 4, "same", 4), 0);
}

static void alignment_rounds_up_to_eight(void **state)
{
    (void)state;
    assert_int_equal(bytes_align8(0), 0);
    assert_int_equal(bytes_align8(1), 8);
    assert_int_equal(bytes_align8(8), 8);
    assert_int_equal(bytes_align8(9), 16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fixed_fields_are_little_endian),
        cmocka_unit_test(fixed_fields_come_back_as_they_went),
        cmocka_unit_test(big_endian_numbers_sort_as_bytes),
        cmocka_unit_test(varints_come_back_as_they_went),
        cmocka_unit_test(a_varint_cut_short_is_refused_at_every_length),
        cmocka_unit_test(a_varint_longer_than_needed_is_refused),
        cmocka_unit_test(a_varint_above_64_bits_is_refused),
        cmocka_unit_test(every_two_byte_varint_is_canonical_or_refused),
        cmocka_unit_test(a_dry_reader_stays_dry),
        cmocka_unit_test(a_reader_gives_every_byte_once),
        cmocka_unit_test(a_huge_length_is_refused_without_overflow),
        cmocka_unit_test(bytes_compare_as_unsigned_and_prefixes_come_first),
        cmocka_unit_test(alignment_rounds_up_to_eight),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
