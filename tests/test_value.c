/* Which type bytes have, what numbers they are, and how numbers are written. */
#include "base/os.h"
#include "model/value.h"

#include <locale.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct kist_bytes text(const char *s)
{
    return (struct kist_bytes){s, strlen(s)};
}

static void assert_type(const char *s, enum kist_type expected)
{
    if (value_detect(text(s)) != expected)
        fail_msg("%s is detected as %d, not %d", s, (int)value_detect(text(s)), (int)expected);
}

static void canonical_decimals_within_int64_are_ints(void **state)
{
    (void)state;
    static const char *const ints[] = {"0", "7", "-1", "10", "9007199254740993", "9223372036854775807", "-9223372036854775808",
                                       NULL};
    for (int i = 0; ints[i]; i++) {
        int64_t v;
        char back[VALUE_TEXT];
        assert_type(ints[i], KIST_INT);
        assert_int_equal(value_parse_int(text(ints[i]), &v), 0);
        assert_int_equal(value_format_int(v, back), strlen(ints[i]));
        assert_string_equal(back, ints[i]);
    }
}

static void other_json_numbers_that_fit_are_floats(void **state)
{
    (void)state;
    static const char *const floats[] = {"-0",    "0.0",    "1e3", "-1.5E-7", "9223372036854775808", "-9223372036854775809",
                                         "1e308", "1e-999", NULL};
    for (int i = 0; floats[i]; i++) {
        int64_t v = 77;
        assert_type(floats[i], KIST_FLOAT);
        assert_int_equal(value_parse_int(text(floats[i]), &v), KIST_ETYPE);
        assert_int_equal(v, 77);
    }
}

static void what_is_almost_a_number_is_raw(void **state)
{
    (void)state;
    static const char *const raws[] = {"",       "-",      "+1",  "01",  "-01",      "1.",  ".5",  "1e",  "1e+", "0x10", "1e999",
                                       "-1e999", " 1e999", "NaN", "nan", "Infinity", "inf", "1,5", "1 2", "--1", "1_0",  NULL};
    for (int i = 0; raws[i]; i++)
        assert_type(raws[i], KIST_RAW);
    assert_int_equal(value_detect((struct kist_bytes){"1\0", 2}), KIST_RAW);
    assert_int_equal(value_detect((struct kist_bytes){NULL, 0}), KIST_RAW);
}

static void whole_json_texts_are_json(void **state)
{
    (void)state;
    static const char *const jsons[] = {"true",
                                        "false",
                                        "null",
                                        "\"\"",
                                        "\"x\"",
                                        "{}",
                                        "[]",
                                        " {} ",
                                        "12\n",
                                        " 1.5",
                                        "[1e999]",
                                        "{\"a\":1,\"a\":2}",
                                        "[1,[2,{\"b\":null}]]",
                                        NULL};
    for (int i = 0; jsons[i]; i++)
        assert_type(jsons[i], KIST_JSON);
    assert_type("{", KIST_RAW);
    assert_type("{}x", KIST_RAW);
    assert_type("hello", KIST_RAW);
    assert_int_equal(kist_detect(text("{}")), KIST_JSON);
}

static void a_demanded_type_is_checked_and_detect_is_resolved(void **state)
{
    (void)state;
    enum kist_type t = KIST_INT;
    assert_int_equal(value_check(&t, text("1.5")), KIST_ETYPE);
    assert_int_equal(value_check(&t, text("15")), 0);
    t = KIST_FLOAT;
    assert_int_equal(value_check(&t, text("x")), KIST_ETYPE);
    assert_int_equal(value_check(&t, text("1e999")), KIST_ETYPE);
    assert_int_equal(value_check(&t, text("15")), 0);
    t = KIST_JSON;
    assert_int_equal(value_check(&t, text("{")), KIST_EJSON);
    assert_int_equal(value_check(&t, text("")), KIST_EJSON);
    assert_int_equal(value_check(&t, text("15")), 0);
    t = KIST_RAW;
    assert_int_equal(value_check(&t, text("{")), 0);
    t = KIST_DETECT;
    assert_int_equal(value_check(&t, text("15")), 0);
    assert_int_equal(t, KIST_INT);
    t = (enum kist_type)9;
    assert_int_equal(value_check(&t, text("15")), KIST_EINVAL);
}

static void a_float_is_written_short_and_stays_a_float(void **state)
{
    (void)state;
    static const struct {
        double v;
        const char *text;
    } cases[] = {{2, "2.0"},
                 {0.1, "0.1"},
                 {0.0, "0.0"},
                 {-0.0, "-0.0"},
                 {10, "10.0"},
                 {100, "100.0"},
                 {-100000, "-100000.0"},
                 {123456.75, "123456.75"},
                 {9007199254740993e1, "90071992547409936.0"},
                 {12345678901234568, "12345678901234568.0"},
                 {1e16, "10000000000000000.0"},
                 {9.999999999999998e16, "99999999999999984.0"},
                 {1e17, "1e+17"},
                 {1e20, "1e+20"},
                 {1e300, "1e+300"},
                 {0.0001, "0.0001"},
                 {1e-5, "0.00001"},
                 {-1.2345678901234568e-5, "-0.000012345678901234568"},
                 {9.5e-6, "9.5e-06"},
                 {1e-9, "1e-09"},
                 {5e-324, "5e-324"},
                 {1.5, "1.5"},
                 {0.1 + 0.2, "0.30000000000000004"},
                 {1.7976931348623157e308, "1.7976931348623157e+308"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char out[VALUE_TEXT];
        double back;
        size_t n = value_format_float(cases[i].v, out);
        assert_string_equal(out, cases[i].text);
        assert_int_equal(n, strlen(out));
        assert_int_equal(value_parse_float(text(out), &back), 0);
        assert_memory_equal(&back, &cases[i].v, sizeof back);
        assert_int_equal(value_detect(text(out)), KIST_FLOAT);
    }
}

static void random_floats_read_back(void **state)
{
    (void)state;
    for (int i = 0; i < 20000; i++) {
        double v, back;
        char out[VALUE_TEXT];
        assert_int_equal(os_random(&v, sizeof v), 0);
        if (!isfinite(v))
            continue;
        value_format_float(v, out);
        assert_int_equal(value_detect(text(out)), KIST_FLOAT);
        assert_int_equal(value_parse_float(text(out), &back), 0);
        assert_memory_equal(&back, &v, sizeof v);
    }
}

/* Most random bits are numbers with an exponent: these are of the sizes that people use. */
static void random_floats_of_everyday_size_are_written_plainly(void **state)
{
    (void)state;
    for (int i = 0; i < 20000; i++) {
        uint32_t draw[2];
        char out[VALUE_TEXT];
        double back;
        assert_int_equal(os_random(draw, sizeof draw), 0);
        double v = (draw[0] / 4294967296.0 + 0.1) * pow(10, (int)(draw[1] % 20) - 4);
        value_format_float(i % 2 ? v : -v, out);
        assert_null(strchr(out, 'e'));
        assert_non_null(strchr(out, '.'));
        assert_int_equal(value_parse_float(text(out), &back), 0);
        assert_true(back == (i % 2 ? v : -v));
    }
}

static void a_step_is_exact_unless_it_is_written_as_a_float(void **state)
{
    (void)state;
    static const char *const none[] = {"",    "-",    "+1",  "01",        "1.",   ".5",    "1e",
                                       "inf", "-inf", "nan", "-Infinity", "0x10", "1e999", NULL};
    static const struct {
        const char *text;
        int64_t v;
    } ints[] = {{"0", 0}, {"-0", 0}, {"-17", -17}, {"9223372036854775807", INT64_MAX}};
    int64_t i = 5;
    double d = 5;
    bool is_float = true;
    for (size_t n = 0; n < sizeof ints / sizeof ints[0]; n++) {
        assert_int_equal(value_parse_step(text(ints[n].text), &is_float, &i, &d), 0);
        assert_true(!is_float && i == ints[n].v && d == 5);
    }
    assert_int_equal(value_parse_step(text("9223372036854775808"), &is_float, &i, &d), KIST_ERANGE);
    assert_int_equal(value_parse_step(text("-9223372036854775809"), &is_float, &i, &d), KIST_ERANGE);
    for (int n = 0; none[n]; n++)
        if (value_parse_step(text(none[n]), &is_float, &i, &d) != KIST_ETYPE)
            fail_msg("%s is taken for a number", none[n]);
    assert_true(!is_float && i == INT64_MAX && d == 5);
    assert_int_equal(value_parse_step(text("-0.0"), &is_float, &i, &d), 0);
    assert_true(is_float && d == 0 && signbit(d));
    assert_int_equal(value_parse_step(text("1E2"), &is_float, &i, &d), 0);
    assert_true(is_float && d == 100 && i == INT64_MAX);
}

static void a_comma_locale_changes_nothing(void **state)
{
    (void)state;
    char out[VALUE_TEXT];
    double v;
    static const char *const names[] = {"de_DE.UTF-8", "de_DE", "fr_FR.UTF-8", NULL};
    for (int i = 0; names[i] && !setlocale(LC_ALL, names[i]); i++)
        continue;
    value_format_float(1.5, out);
    assert_string_equal(out, "1.5");
    assert_int_equal(value_parse_float(text("1.5"), &v), 0);
    assert_true(v == 1.5);
    setlocale(LC_ALL, "C");
}

static void a_sum_out_of_range_leaves_the_output(void **state)
{
    (void)state;
    int64_t i = 5;
    double d = 5;
    assert_int_equal(value_add_int(INT64_MAX, 1, &i), KIST_ERANGE);
    assert_int_equal(value_add_int(INT64_MIN, -1, &i), KIST_ERANGE);
    assert_int_equal(i, 5);
    assert_int_equal(value_add_int(INT64_MAX, INT64_MIN, &i), 0);
    assert_int_equal(i, -1);
    assert_int_equal(value_add_float(1e308, 1e308, &d), KIST_ERANGE);
    assert_int_equal(value_add_float(1, INFINITY, &d), KIST_ERANGE);
    assert_int_equal(value_add_float(1, NAN, &d), KIST_EINVAL);
    assert_true(d == 5);
    assert_int_equal(value_add_float(1, 0.5, &d), 0);
    assert_true(d == 1.5);
}

static void a_very_long_number_is_no_float(void **state)
{
    (void)state;
    char *digits = malloc(VALUE_FLOAT_MAX + 1);
    double v = 1;
    memset(digits, '0', VALUE_FLOAT_MAX + 1);
    memcpy(digits, "0.", 2);
    assert_int_equal(value_parse_float((struct kist_bytes){digits, VALUE_FLOAT_MAX}, &v), 0);
    assert_true(v == 0);
    assert_int_equal(value_parse_float((struct kist_bytes){digits, VALUE_FLOAT_MAX + 1}, &v), KIST_ETYPE);
    assert_int_equal(value_detect((struct kist_bytes){digits, VALUE_FLOAT_MAX + 1}), KIST_RAW);
    free(digits);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(canonical_decimals_within_int64_are_ints),
        cmocka_unit_test(other_json_numbers_that_fit_are_floats),
        cmocka_unit_test(what_is_almost_a_number_is_raw),
        cmocka_unit_test(whole_json_texts_are_json),
        cmocka_unit_test(a_demanded_type_is_checked_and_detect_is_resolved),
        cmocka_unit_test(a_float_is_written_short_and_stays_a_float),
        cmocka_unit_test(random_floats_read_back),
        cmocka_unit_test(random_floats_of_everyday_size_are_written_plainly),
        cmocka_unit_test(a_step_is_exact_unless_it_is_written_as_a_float),
        cmocka_unit_test(a_comma_locale_changes_nothing),
        cmocka_unit_test(a_sum_out_of_range_leaves_the_output),
        cmocka_unit_test(a_very_long_number_is_no_float),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
