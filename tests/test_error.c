/* test_error.c: errors.def is the one table of errors, and everything said about an error comes
 * from it. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"

static const struct row {
    const char *name;
    int number;
    int constant; /* what kist.h says */
    int http;
    int exit_code;
    const char *text;
} rows[] = {
#define ERROR(name, number, http, exit_code, text) {"KIST_" #name, number, KIST_##name, http, exit_code, text},
#include "base/errors.def"
#undef ERROR
};
enum { ROWS = sizeof rows / sizeof rows[0] };

static void the_header_and_the_table_agree_on_every_number(void **state)
{
    (void)state;
    for (int i = 0; i < ROWS; i++)
        assert_int_equal(rows[i].constant, -rows[i].number);
}

static void every_number_name_and_text_is_used_once(void **state)
{
    (void)state;
    for (int i = 0; i < ROWS; i++) {
        assert_true(rows[i].number > 0);
        for (int j = 0; j < i; j++) {
            assert_int_not_equal(rows[i].number, rows[j].number);
            assert_string_not_equal(rows[i].name, rows[j].name);
            assert_string_not_equal(rows[i].text, rows[j].text);
        }
    }
}

static void every_row_answers_name_text_status_and_exit_code(void **state)
{
    (void)state;
    for (int i = 0; i < ROWS; i++) {
        int code = rows[i].constant;
        assert_string_equal(kist_error_name(code), rows[i].name);
        assert_string_equal(kist_strerror(code), rows[i].text);
        assert_true(strlen(rows[i].text) > 0);
        assert_int_equal(kist_error_http(code), rows[i].http);
        assert_int_equal(kist_error_exit(code), rows[i].exit_code);
        assert_in_range(rows[i].http, 400, 599);
        assert_in_range(rows[i].exit_code, 1, 125);
    }
}

static void success_is_not_an_error(void **state)
{
    (void)state;
    assert_int_equal(KIST_OK, 0);
    assert_string_equal(kist_error_name(0), "KIST_OK");
    assert_int_equal(kist_error_exit(0), 0);
    assert_int_equal(kist_error_http(0), 200);
}

static void an_unknown_number_has_a_name_too(void **state)
{
    static const int unknown[] = {1, -19, -9999, INT32_MIN, INT32_MAX};
    (void)state;
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        assert_string_equal(kist_error_name(unknown[i]), "KIST_UNKNOWN");
        assert_string_equal(kist_strerror(unknown[i]), "unknown error");
        assert_int_equal(kist_error_exit(unknown[i]), 1);
        assert_int_equal(kist_error_http(unknown[i]), 500);
    }
}

static void every_errno_becomes_an_error_of_the_table(void **state)
{
    (void)state;
    for (int err = -1; err < 200; err++) {
        int code = error_from_errno(err);
        assert_true(code < 0);
        assert_string_not_equal(kist_error_name(code), "KIST_UNKNOWN");
    }
}

static void the_errnos_that_callers_tell_apart_stay_apart(void **state)
{
    (void)state;
    assert_int_equal(error_from_errno(ENOSPC), KIST_ENOSPC);
    assert_int_equal(error_from_errno(EDQUOT), KIST_ENOSPC);
    assert_int_equal(error_from_errno(ENOMEM), KIST_ENOMEM);
    assert_int_equal(error_from_errno(EROFS), KIST_EDENIED);
    assert_int_equal(error_from_errno(EMFILE), KIST_EFDS);
    assert_int_equal(error_from_errno(ENOENT), KIST_ENOSTORE);
    assert_int_equal(error_from_errno(ENOTDIR), KIST_ENOSTORE);
    assert_int_equal(error_from_errno(EEXIST), KIST_EEXIST);
    assert_int_equal(error_from_errno(EAGAIN), KIST_EBUSY);
    assert_int_equal(error_from_errno(EIO), KIST_EIO);
    assert_int_equal(error_from_errno(EBADF), KIST_EIO);
}

static void a_detail_is_written_and_the_code_handed_back(void **state)
{
    struct error_detail detail = {.text = "before"};
    (void)state;
    assert_int_equal(error_set(&detail, KIST_EIO, "segment %d", 7), KIST_EIO);
    assert_string_equal(detail.text, "segment 7");
}

static void a_long_detail_is_cut_and_ended(void **state)
{
    struct error_detail detail = {.busy = 0};
    char longer[600];
    (void)state;
    memset(longer, 'x', sizeof longer);
    longer[sizeof longer - 1] = '\0';
    assert_int_equal(error_set(&detail, KIST_EIO, "%s", longer), KIST_EIO);
    assert_int_equal(strlen(detail.text), sizeof detail.text - 1);
}

static void without_a_detail_only_the_code_is_told(void **state)
{
    (void)state;
    assert_int_equal(error_set(NULL, KIST_EKEY, "%s", "nobody reads this"), KIST_EKEY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_header_and_the_table_agree_on_every_number),
        cmocka_unit_test(every_number_name_and_text_is_used_once),
        cmocka_unit_test(every_row_answers_name_text_status_and_exit_code),
        cmocka_unit_test(success_is_not_an_error),
        cmocka_unit_test(an_unknown_number_has_a_name_too),
        cmocka_unit_test(every_errno_becomes_an_error_of_the_table),
        cmocka_unit_test(the_errnos_that_callers_tell_apart_stay_apart),
        cmocka_unit_test(a_detail_is_written_and_the_code_handed_back),
        cmocka_unit_test(a_long_detail_is_cut_and_ended),
        cmocka_unit_test(without_a_detail_only_the_code_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
