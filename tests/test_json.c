/* JSON as text: checked as strictly as RFC 8259 says, merged as RFC 7386 says, compared with
 * jansson. */
#include "base/os.h"
#include "model/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

static struct kist_bytes text(const char *s)
{
    return (struct kist_bytes){s, strlen(s)};
}

static void valid_texts_pass(void **state)
{
    (void)state;
    static const char *const good[] = {"null",
                                       " true\r\n\t",
                                       "0",
                                       "-0",
                                       "-0.0e-0",
                                       "1E+9",
                                       "\"\\u0000\\ud800\\\"\\/\"",
                                       "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\"",
                                       "[]",
                                       "[ ]",
                                       "{}",
                                       "{ }",
                                       "[1,2]",
                                       "{\"a\":1,\"a\":[{}]}",
                                       " [ 1 , { \"x\" : \"y\" } ] ",
                                       "\"\x7f\"",
                                       "[[[]]]",
                                       NULL};
    for (int i = 0; good[i]; i++)
        if (json_check(text(good[i])) != 0)
            fail_msg("refused: %s", good[i]);
}

static void invalid_texts_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      " ",
                                      "nul",
                                      "nulll",
                                      "True",
                                      "+1",
                                      "01",
                                      "1.",
                                      "[1,]",
                                      "[,1]",
                                      "[1 2]",
                                      "{,}",
                                      "{\"a\"}",
                                      "{\"a\":}",
                                      "{\"a\":1,}",
                                      "{a:1}",
                                      "{'a':1}",
                                      "{1:1}",
                                      "[",
                                      "]",
                                      "{",
                                      "}",
                                      "[}",
                                      "{]",
                                      "[]]",
                                      "\"",
                                      "\"a",
                                      "\"\\x\"",
                                      "\"\\u12g4\"",
                                      "\"\\u123",
                                      "\"\\",
                                      "\"\n\"",
                                      "\"\t\"",
                                      "\"\xc0\xaf\"",
                                      "\"\xed\xa0\x80\"",
                                      "\"\xf4\x90\x80\x80\"",
                                      "\"\xe2\x82\"",
                                      "\"\xff\"",
                                      "\xef\xbb\xbf{}",
                                      "{}{}",
                                      "// x\n1",
                                      "NaN",
                                      "-",
                                      "-a",
                                      "[1]x",
                                      "\"a\"\"b\"",
                                      NULL};
    for (int i = 0; bad[i]; i++)
        if (json_check(text(bad[i])) != KIST_EJSON)
            fail_msg("passed: %s", bad[i]);
    assert_int_equal(json_check((struct kist_bytes){"1\0", 2}), KIST_EJSON);
    assert_int_equal(json_check((struct kist_bytes){"\"\0\"", 3}), KIST_EJSON);
}

static void nest(char *out, size_t levels, const char *open, const char *inner, const char *close)
{
    char *p = out;
    for (size_t i = 0; i < levels; i++)
        p = stpcpy(p, open);
    p = stpcpy(p, inner);
    for (size_t i = 0; i < levels; i++)
        p = stpcpy(p, close);
}

static void a_thousand_levels_pass_and_one_more_does_not(void **state)
{
    (void)state;
    char *s = malloc(200000);
    nest(s, JSON_DEPTH_MAX, "[", "", "]");
    assert_int_equal(json_check(text(s)), 0);
    nest(s, JSON_DEPTH_MAX + 1, "[", "", "]");
    assert_int_equal(json_check(text(s)), KIST_EJSON);
    nest(s, JSON_DEPTH_MAX, "{\"a\":", "1", "}");
    assert_int_equal(json_check(text(s)), 0);
    nest(s, 10000, "{\"a\":", "1", "}");
    assert_int_equal(json_check(text(s)), KIST_EJSON);
    free(s);
}

static bool jansson_knows_better(const char *message)
{
    return strstr(message, "overflow") || strstr(message, "too big") || strstr(message, "NUL byte in object key") ||
           strstr(message, "invalid Unicode") || strstr(message, "maximum parsing depth");
}

/* Texts made of JSON's pieces at random: the verdict is jansson's, but where it refuses what the
 * RFC allows. */
static void random_texts_get_the_verdict_of_jansson(void **state)
{
    static const char *const pieces[] = {"{",        "}",       "[",   "]",  ",",    ":",    "\"a\"",  "\"\\u00e4\"", "1",
                                         "-",        "0",       ".5",  "e1", "true", "null", " ",      "\"",          "\\",
                                         "\xc3\xa4", "{\"k\":", "[1,", "}",  "]",    "1]",   "\"b\":2"};
    int agreed = 0;
    (void)state;
    for (int round = 0; round < 100000; round++) {
        uint8_t dice[9];
        char s[128] = "";
        json_error_t error;
        assert_int_equal(os_random(dice, sizeof dice), 0);
        for (int i = 0; i < 1 + dice[8] % 8; i++)
            strcat(s, pieces[dice[i] % (sizeof pieces / sizeof pieces[0])]);
        json_t *tree = json_loads(s, JSON_DECODE_ANY, &error);
        bool ours = json_check(text(s)) == 0;
        agreed += ours && tree;
        if (ours != !!tree && (tree || !jansson_knows_better(error.text)))
            fail_msg("jansson says %s (%s) to: %s", tree ? "yes" : "no", error.text, s);
        json_decref(tree);
    }
    assert_true(agreed > 1000);
}

static void assert_merged(const char *target, const char *patch, const char *expected)
{
    struct buf out;
    buf_init(&out, true);
    assert_int_equal(json_merge_patch(text(target), text(patch), &out), 0);
    buf_add_u8(&out, 0);
    if (strcmp((char *)out.data, expected) != 0)
        fail_msg("%s + %s = %s, not %s", target, patch, (char *)out.data, expected);
    buf_done(&out);
}

static void the_examples_of_rfc_7386_hold(void **state)
{
    (void)state;
    assert_merged("{\"a\":\"b\"}", "{\"a\":\"c\"}", "{\"a\":\"c\"}");
    assert_merged("{\"a\":\"b\"}", "{\"b\":\"c\"}", "{\"a\":\"b\",\"b\":\"c\"}");
    assert_merged("{\"a\":\"b\"}", "{\"a\":null}", "{}");
    assert_merged("{\"a\":\"b\",\"b\":\"c\"}", "{\"a\":null}", "{\"b\":\"c\"}");
    assert_merged("{\"a\":[\"b\"]}", "{\"a\":\"c\"}", "{\"a\":\"c\"}");
    assert_merged("{\"a\":\"c\"}", "{\"a\":[\"b\"]}", "{\"a\":[\"b\"]}");
    assert_merged("{\"a\":{\"b\":\"c\"}}", "{\"a\":{\"b\":\"d\",\"c\":null}}", "{\"a\":{\"b\":\"d\"}}");
    assert_merged("{\"a\":[{\"b\":\"c\"}]}", "{\"a\":[1]}", "{\"a\":[1]}");
    assert_merged("[\"a\",\"b\"]", "[\"c\",\"d\"]", "[\"c\",\"d\"]");
    assert_merged("{\"a\":\"b\"}", "[\"c\"]", "[\"c\"]");
    assert_merged("{\"a\":\"foo\"}", "null", "null");
    assert_merged("{\"a\":\"foo\"}", "\"bar\"", "\"bar\"");
    assert_merged("{\"e\":null}", "{\"a\":1}", "{\"e\":null,\"a\":1}");
    assert_merged("[1,2]", "{\"a\":\"b\",\"c\":null}", "{\"a\":\"b\"}");
    assert_merged("{}", "{\"a\":{\"bb\":{\"ccc\":null}}}", "{\"a\":{\"bb\":{}}}");
    assert_merged("{\"title\":\"Goodbye!\",\"author\":{\"givenName\":\"John\",\"familyName\":\"Doe\"},"
                  "\"tags\":[\"example\",\"sample\"],\"content\":\"This will be unchanged\"}",
                  "{\"title\":\"Hello!\",\"phoneNumber\":\"+01-123-456-7890\",\"author\":{\"familyName\":"
                  "null},"
                  "\"tags\":[\"example\"]}",
                  "{\"title\":\"Hello!\",\"author\":{\"givenName\":\"John\"},\"tags\":[\"example\"],"
                  "\"content\":\"This will be unchanged\",\"phoneNumber\":\"+01-123-456-7890\"}");
}

static void merging_keeps_the_text_of_what_it_does_not_touch(void **state)
{
    (void)state;
    assert_merged("", "{\"a\":1}", "{\"a\":1}");
    assert_merged(" {\"p\" : 0.10 , "
                  "\"n\":123456789012345678901234567890,\"e\":1e999,\"i\":9223372036854775807 } ",
                  "{\"a\":1}",
                  "{\"p\":0.10,\"n\":123456789012345678901234567890,\"e\":1e999,\"i\":"
                  "9223372036854775807,\"a\":1}");
    assert_merged("{\"x\":{\"y\":1,\"z\":[ 1,null ]}}", "{\"x\":{\"y\":null}}", "{\"x\":{\"z\":[ 1,null ]}}");
    assert_merged("{\"a\":1}", " { } ", "{\"a\":1}");
}

static void names_are_compared_by_what_they_say(void **state)
{
    (void)state;
    assert_merged("{\"\\u0061\":1,\"b\":2}", "{\"a\":3,\"\\u0062\":null}", "{\"\\u0061\":3}");
    assert_merged("{\"a\\u0000b\":1,\"a\":2}", "{\"a\":null}", "{\"a\\u0000b\":1}");
    assert_merged("{\"\\ud800\":1}", "{\"\\ud800\":null}", "{}");
    assert_merged("{\"\\ud83d\\ude00\":1}", "{\"\xf0\x9f\x98\x80\":2}", "{\"\\ud83d\\ude00\":2}");
}

static void of_doubled_names_in_a_patch_the_last_counts(void **state)
{
    (void)state;
    assert_merged("{}", "{\"a\":1,\"a\":2}", "{\"a\":2}");
    assert_merged("{\"a\":0}", "{\"a\":1,\"a\":null}", "{}");
    assert_merged("{\"a\":0,\"a\":{}}", "{\"a\":{\"x\":1}}", "{\"a\":{\"x\":1},\"a\":{\"x\":1}}");
}

static void what_is_not_json_is_told_apart(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, true);
    buf_add(&out, "keep", 4);
    assert_int_equal(json_merge_patch(text("{}"), text("{"), &out), KIST_EJSON);
    assert_int_equal(json_merge_patch(text("{"), text("{}"), &out), KIST_ETYPE);
    assert_int_equal(out.len, 4);
    buf_done(&out);
}

static void deep_patches_merge_in_linear_time(void **state)
{
    (void)state;
    char *s = malloc(400000);
    nest(s, JSON_DEPTH_MAX, "{\"a\":", "1", "}");
    assert_merged("{}", s, s);
    assert_merged(s, s, s);
    assert_merged(s, "{\"b\":null}", s);
    nest(s, JSON_DEPTH_MAX + 1, "{\"a\":", "1", "}");
    struct buf out;
    buf_init(&out, true);
    assert_int_equal(json_merge_patch(text("{}"), text(s), &out), KIST_EJSON);
    buf_done(&out);
    free(s);
}

/* The same by the book, on jansson's trees. */
static json_t *merge_by_the_book(json_t *target, json_t *patch)
{
    const char *name;
    json_t *value;
    if (!json_is_object(patch))
        return json_deep_copy(patch);
    json_t *result = json_is_object(target) ? json_deep_copy(target) : json_object();
    json_object_foreach(patch, name, value)
    {
        if (json_is_null(value))
            json_object_del(result, name);
        else
            json_object_set_new(result, name, merge_by_the_book(json_object_get(result, name), value));
    }
    return result;
}

static json_t *random_tree(unsigned depth)
{
    uint8_t dice[12];
    assert_int_equal(os_random(dice, sizeof dice), 0);
    if (depth == 0 || dice[0] % 4 == 0)
        return dice[1] % 3 == 0 ? json_null() : dice[1] % 3 == 1 ? json_integer(dice[2]) : json_string("v");
    json_t *object = json_object();
    for (unsigned i = 0; i < dice[3] % 5u; i++) {
        char name[2] = {(char)('a' + dice[4 + i] % 4), 0};
        json_object_set_new(object, name, random_tree(depth - 1));
    }
    return object;
}

static void random_merges_equal_those_by_the_book(void **state)
{
    (void)state;
    for (int i = 0; i < 20000; i++) {
        json_t *target = random_tree(4), *patch = random_tree(4), *expected = merge_by_the_book(target, patch);
        char *t = json_dumps(target, JSON_ENCODE_ANY), *p = json_dumps(patch, JSON_ENCODE_ANY);
        struct buf out;
        buf_init(&out, true);
        assert_int_equal(json_merge_patch(text(t), text(p), &out), 0);
        json_t *got = json_loadb((char *)out.data, out.len, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);
        assert_non_null(got);
        if (!json_equal(got, expected))
            fail_msg("%s + %s = %.*s", t, p, (int)out.len, (char *)out.data);
        buf_done(&out);
        json_decref(target), json_decref(patch), json_decref(expected), json_decref(got);
        free(t), free(p);
    }
}

static int allocations_left;
static int fail_allocation(const struct os_call *call)
{
    return call->kind == OS_ALLOC && allocations_left-- <= 0 ? -12 : 0;
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    int r = KIST_ENOMEM;
    for (int n = 0; r == KIST_ENOMEM; n++) {
        struct buf out;
        buf_init(&out, true);
        allocations_left = n;
        os_hook = fail_allocation;
        r = json_merge_patch(text("{\"\\u0061\":{\"b\":1}}"), text("{\"a\":{\"\\u0062\":2}}"), &out);
        os_hook = NULL;
        assert_true(r == 0 ? n > 3 : out.len == 0);
        buf_done(&out);
    }
    assert_int_equal(r, 0);
}

static void strings_are_read_and_written(void **state)
{
    (void)state;
    struct buf out, back;
    static const char all[] = "a\"\\/\b\f\n\r\t\x01\x7f\xc3\xa4\xf0\x9f\x98\x80";
    buf_init(&out, true);
    buf_init(&back, true);
    json_add_string(&out, text(all));
    struct kist_bytes written = {out.data, out.len};
    assert_int_equal(json_check(written), 0);
    assert_int_equal(json_text(written, &back), 0);
    assert_int_equal(back.len, strlen(all));
    assert_memory_equal(back.data, all, back.len);
    buf_reset(&back);
    assert_int_equal(json_text(text("\"\\u00e4\\u20ac\\ud83d\\ude00\\/\\u0000\""), &back), 0);
    assert_int_equal(back.len, 11);
    assert_memory_equal(back.data, "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80/\0", 11);
    assert_int_equal(json_text(text("\"x\\ud800y\""), &back), KIST_EJSON);
    assert_int_equal(json_text(text("\"\\ude00\\ud83d\""), &back), KIST_EJSON);
    assert_int_equal(back.len, 11);
    buf_done(&out);
    buf_done(&back);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(valid_texts_pass),
        cmocka_unit_test(invalid_texts_are_refused),
        cmocka_unit_test(a_thousand_levels_pass_and_one_more_does_not),
        cmocka_unit_test(random_texts_get_the_verdict_of_jansson),
        cmocka_unit_test(the_examples_of_rfc_7386_hold),
        cmocka_unit_test(merging_keeps_the_text_of_what_it_does_not_touch),
        cmocka_unit_test(names_are_compared_by_what_they_say),
        cmocka_unit_test(of_doubled_names_in_a_patch_the_last_counts),
        cmocka_unit_test(what_is_not_json_is_told_apart),
        cmocka_unit_test(deep_patches_merge_in_linear_time),
        cmocka_unit_test(random_merges_equal_those_by_the_book),
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(strings_are_read_and_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
