/* test_keytext.c: the spellings of a key that are understood, and what is said of the others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <stdio.h>

#include "crypt/keytext.h"

static const uint8_t key[KEYTEXT_KEY] = {
    0xfb, 0xff, 0xfe, 0x00, 0x01, 0x02, 0x03, 0x7f, 0x80, 0x81, 0x3e, 0x3f, 0xc0, 0xde, 0xad, 0xbe,
    0xef, 0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0x0a, 0x0d, 0x20, 0x09, 0x61, 0x62, 0x63, 0x64,
};
#define HEX "fbfffe000102037f80813e3fc0deadbeef102030405060700a0d200961626364"
#define BASE64 "+//+AAECA3+AgT4/wN6tvu8QIDBAUGBwCg0gCWFiY2Q="
#define BASE64_URL "-__-AAECA3-AgT4_wN6tvu8QIDBAUGBwCg0gCWFiY2Q="

static void assert_read(const void *text, size_t len)
{
    uint8_t out[KEYTEXT_KEY];
    struct error_detail d = {.text = ""};
    memset(out, 0, sizeof out);
    assert_int_equal(keytext_decode(text, len, out, &d), 0);
    assert_memory_equal(out, key, sizeof key);
}

/* Refused with a sentence that has the word in it; out is untouched. */
static void assert_refused(const char *text, size_t len, const char *word)
{
    uint8_t out[KEYTEXT_KEY], before[KEYTEXT_KEY];
    struct error_detail d = {.text = ""};
    memset(out, 0x77, sizeof out);
    memcpy(before, out, sizeof out);
    assert_int_equal(keytext_decode(text, len, out, &d), KIST_EINVAL);
    assert_memory_equal(out, before, sizeof out);
    assert_non_null(strstr(d.text, word));
    assert_int_equal(keytext_decode(text, len, out, NULL), KIST_EINVAL);
}

static void raw_hex_and_both_kinds_of_base64_are_read(void **state)
{
    (void)state;
    assert_read(key, sizeof key);
    assert_read(HEX, 64);
    assert_read("FBFFFE000102037F80813E3FC0DEADBEEF102030405060700A0D200961626364", 64);
    assert_read(BASE64, 44);
    assert_read(BASE64, 43);
    assert_read(BASE64_URL, 44);
    assert_read(BASE64_URL, 43);
}

static void white_space_around_text_is_ignored(void **state)
{
    (void)state;
    assert_read(HEX "\n", 65);
    assert_read(" \t" HEX "\r\n\n", 69);
    assert_read(BASE64 "\n", 45);
    assert_read("\n" BASE64_URL " \v\f", 48);
}

static void raw_bytes_are_taken_as_they_are(void **state)
{
    static const char spaces[] = "\n  a key that begins with space\n";
    uint8_t out[KEYTEXT_KEY];
    (void)state;
    assert_int_equal(sizeof spaces - 1, 32);
    assert_int_equal(keytext_decode(spaces, 32, out, NULL), 0);
    assert_memory_equal(out, spaces, 32);
}

static void what_is_written_is_read_back(void **state)
{
    char text[KEYTEXT_SIZE];
    (void)state;
    keytext_encode(key, text);
    assert_string_equal(text, BASE64);
    assert_read(text, strlen(text));
}

static void every_other_length_is_named(void **state)
{
    char text[200];
    (void)state;
    memset(text, 'A', sizeof text);
    for (size_t len = 0; len <= sizeof text; len++) {
        char word[16];
        if (len == 32 || len == 43 || len == 44 || len == 64)
            continue;
        (void)snprintf(word, sizeof word, "not %zu bytes", len);
        assert_refused(text, len, word);
    }
    assert_refused(NULL, 0, "not 0 bytes");
    assert_refused(" \n", 2, "not 2 bytes");
}

static void a_wrong_character_anywhere_is_refused(void **state)
{
    static const char wrong[] = {'!', 'g', '\0', '\n', ' ', '\x80', '='};
    char text[65];
    (void)state;
    for (size_t w = 0; w < sizeof wrong; w++) {
        for (size_t i = 1; i < 63; i++) {
            memcpy(text, HEX, 64);
            text[i] = wrong[w];
            assert_refused(text, 64, "hex");
        }
        for (size_t i = 1; i < 42; i++) {
            memcpy(text, BASE64, 44);
            text[i] = wrong[w];
            if (wrong[w] != 'g')
                assert_refused(text, 44, "base64");
        }
    }
}

static void mixed_alphabets_bad_padding_and_stray_bits_are_refused(void **state)
{
    (void)state;
    assert_refused("-//+AAECA3+AgT4/wN6tvu8QIDBAUGBwCg0gCWFiY2Q=", 44, "base64");
    assert_refused("+//+AAECA3+AgT4/wN6tvu8QIDBAUGBwCg0gCWFiY2QA", 44, "base64"); /* 33 bytes */
    assert_refused("+//+AAECA3+AgT4/wN6tvu8QIDBAUGBwCg0gCWFiY===", 44, "base64");
    assert_refused("+//+AAECA3+AgT4/wN6tvu8QIDBAUGBwCg0gCWFiY2R=", 44, "base64"); /* a bit too many */
    assert_refused("+//+AAECA3+AgT4/wN6tvu8QIDBAUGBwCg0gCWFiY2R", 43, "base64");
}

static void zeroes_are_no_key_in_any_spelling(void **state)
{
    static const char zero[64];
    char digits[64];
    (void)state;
    assert_refused(zero, 32, "zeroes");
    memset(digits, '0', sizeof digits);
    assert_refused(digits, 64, "zeroes");
    memset(digits, 'A', 43);
    assert_refused(digits, 43, "zeroes");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(raw_hex_and_both_kinds_of_base64_are_read),
        cmocka_unit_test(white_space_around_text_is_ignored),
        cmocka_unit_test(raw_bytes_are_taken_as_they_are),
        cmocka_unit_test(what_is_written_is_read_back),
        cmocka_unit_test(every_other_length_is_named),
        cmocka_unit_test(a_wrong_character_anywhere_is_refused),
        cmocka_unit_test(mixed_alphabets_bad_padding_and_stray_bits_are_refused),
        cmocka_unit_test(zeroes_are_no_key_in_any_spelling),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
