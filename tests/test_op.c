/* Operations as lines of JSON: all that may be written is read back to the byte, and mistakes are
 * told. */
#include "base/os.h"
#include "model/base64.h"
#include "model/op.h"
#include "model/value.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct buf room;
static struct op op;
static struct error_detail detail;

static int parse(const char *line)
{
    return op_parse((struct kist_bytes){line, strlen(line)}, &room, &op, &detail);
}

static void assert_bytes(struct kist_bytes b, const char *expected)
{
    assert_int_equal(b.len, strlen(expected));
    assert_memory_equal(b.ptr, expected, b.len);
}

static void each_operation_is_read(void **state)
{
    (void)state;
    assert_int_equal(parse("{\"set\":\"k\",\"value\":\"text\",\"ttl\":1.5,\"if_revision\":0}"), 0);
    assert_int_equal(op.kind, OP_SET);
    assert_bytes(op.key, "k");
    assert_bytes(op.value, "text");
    assert_int_equal(op.options.type, KIST_DETECT);
    assert_int_equal(op.options.ttl_ms, 1500);
    assert_int_equal(op.options.flags, KIST_IF_REVISION);
    assert_int_equal(parse(" {\"value\" : {\"a\": 0.10} , \"set\":\"k\"}\n"), 0);
    assert_bytes(op.value, "{\"a\": 0.10}");
    assert_int_equal(parse("{\"set\":\"k\",\"base64\":\"AP8=\",\"ttl\":null}"), 0);
    assert_int_equal(op.value.len, 2);
    assert_memory_equal(op.value.ptr, "\0\xff", 2);
    assert_int_equal(op.options.ttl_ms, KIST_TTL_NEVER);
    assert_int_equal(parse("{\"delete\":{\"base64\":\"/w==\"},\"if_revision\":7}"), 0);
    assert_int_equal(op.kind, OP_DELETE);
    assert_bytes(op.key, "\xff");
    assert_int_equal(op.options.if_revision, 7);
    assert_int_equal(parse("{\"get\":\"\\u00e4\"}"), 0);
    assert_bytes(op.key, "\xc3\xa4");
    assert_int_equal(parse("{\"incr\":\"n\"}"), 0);
    assert_int_equal(op.by_i, 1);
    assert_int_equal(parse("{\"incr\":\"n\",\"by\":-9223372036854775808}"), 0);
    assert_true(op.by_i == INT64_MIN && !op.by_float);
    assert_int_equal(parse("{\"incr\":\"n\",\"by\":0.5}"), 0);
    assert_true(op.by_float && op.by_f == 0.5);
    assert_int_equal(parse("{\"incr\":\"n\",\"by\":-0}"), 0);
    assert_true(!op.by_float && op.by_i == 0);
    assert_int_equal(parse("{\"append\":\"l\",\"value\":\"x\\n\"}"), 0);
    assert_bytes(op.value, "x\n");
    assert_int_equal(op.options.type, KIST_RAW);
    assert_int_equal(parse("{\"merge\":\"j\",\"value\":\"s\"}"), 0);
    assert_bytes(op.value, "\"s\"");
    assert_int_equal(parse("{\"set\":\"k\",\"value\":\"s\",\"type\":\"json\"}"), 0);
    assert_bytes(op.value, "\"s\"");
    assert_int_equal(op.options.type, KIST_JSON);
}

static void mistakes_are_refused_with_a_reason(void **state)
{
    (void)state;
    static const char *const bad[] = {"[]",
                                      "1",
                                      "{}",
                                      "{\"set\":\"k\"}",
                                      "{\"set\":1,\"value\":1}",
                                      "{\"set\":\"k\",\"value\":1,\"base64\":\"\"}",
                                      "{\"set\":\"k\",\"base64\":1}",
                                      "{\"set\":\"k\",\"base64\":\"A\"}",
                                      "{\"set\":\"k\",\"base64\":\"AB==\"}",
                                      "{\"set\":\"k\",\"delete\":\"k\",\"value\":1}",
                                      "{\"set\":\"k\",\"set\":\"k\",\"value\":1}",
                                      "{\"set\":\"k\",\"value\":1,\"ttl\":0}",
                                      "{\"set\":\"k\",\"value\":1,\"ttl\":-1}",
                                      "{\"set\":\"k\",\"value\":1,\"ttl\":9223372036854775808}",
                                      "{\"set\":\"k\",\"value\":1,\"ttl\":\"\"}",
                                      "{\"set\":\"k\",\"value\":1,\"ttl\":\"abc\"}",
                                      "{\"set\":\"k\",\"value\":1,\"ttl\":1e999}",
                                      "{\"set\":\"k\",\"value\":1,\"if_revison\":3}",
                                      "{\"set\":\"k\",\"value\":1,\"if_revision\":-1}",
                                      "{\"set\":\"k\",\"value\":1,\"if_revision\":1.5}",
                                      "{\"set\":\"k\",\"value\":1,\"type\":\"xml\"}",
                                      "{\"delete\":\"k\",\"value\":1}",
                                      "{\"get\":\"k\",\"ttl\":1}",
                                      "{\"get\":\"k\",\"if_revision\":1}",
                                      "{\"incr\":\"k\",\"by\":\"1\"}",
                                      "{\"incr\":\"k\",\"by\":1e999}",
                                      "{\"set\":\"k\",\"value\":1,\"by\":1}",
                                      "{\"merge\":\"k\",\"value\":1,\"type\":\"json\"}",
                                      "{\"delete\":\"k\",\"expires_ms\":5}",
                                      "{\"set\":\"k\",\"value\":1,\"ttl\":1,\"expires_ms\":5}",
                                      "{\"set\":{\"b\":\"\"},\"value\":1}",
                                      "{\"set\":{},\"value\":1}",
                                      "{\"set\":\"k\",\"value\":1,\"expires_ms\":0}",
                                      "{\"delete\":\"k\",\"ttl\":1}",
                                      NULL};
    for (int i = 0; bad[i]; i++) {
        detail.text[0] = '\0';
        if (parse(bad[i]) != KIST_EINVAL || !detail.text[0])
            fail_msg("%d (%s) for %s", parse(bad[i]), detail.text, bad[i]);
    }
    detail.text[0] = '\0';
    assert_int_equal(parse("{\"incr\":\"k\",\"by\":9223372036854775808}"), KIST_ERANGE);
    assert_non_null(strstr(detail.text, "64 bits"));
    assert_int_equal(parse("{"), KIST_EJSON);
    assert_int_equal(parse("{\"set\":\"\\ud800\",\"value\":1}"), KIST_EJSON);
    assert_int_equal(parse(""), KIST_EJSON);
}

static void assert_survives(struct kist_bytes key, struct kist_bytes value, int64_t expires_ms)
{
    struct buf line;
    struct kist_record record = {.key = key, .value = value, .type = value_detect(value), .expires_ms = expires_ms};
    buf_init(&line, true);
    for (int type = 0; type < 2; type++, record.type = KIST_RAW) {
        buf_reset(&line);
        op_add_record(&line, &record);
        assert_int_equal(buf_status(&line), 0);
        assert_ptr_equal(memchr(line.data, '\n', line.len), line.data + line.len - 1);
        assert_int_equal(op_parse((struct kist_bytes){line.data, line.len}, &room, &op, &detail), 0);
        assert_int_equal(op.kind, OP_SET);
        assert_int_equal(op.options.type, record.type);
        assert_int_equal(op.key.len, key.len);
        assert_memory_equal(op.key.ptr, key.ptr, key.len);
        assert_int_equal(op.value.len, value.len);
        assert_memory_equal(op.value.ptr, value.ptr, value.len);
        assert_true(op.expires_ms == expires_ms);
    }
    buf_done(&line);
}

static void every_record_survives_export_and_import(void **state)
{
    (void)state;
    static const char *const values[] = {"",     "x",           "12",       "-0",
                                         "1.50", "1e999",       "{}",       " {} ",
                                         "{\n}", "[\"a\",\r1]", "\"text\"", "\"a\\u0000\\ud800\"",
                                         "true", "null",        "\xff\xfe", "line\nline\r\n",
                                         "\"",   "\xc3\xa4",    "\x01\x7f", NULL};
    for (int i = 0; values[i]; i++)
        assert_survives((struct kist_bytes){values[i], strlen(values[i])}, (struct kist_bytes){values[i], strlen(values[i])}, i);
    assert_survives(KIST_STR("a\0b"), KIST_STR("\0"), 1);
    for (int i = 0; i < 5000; i++) {
        uint8_t noise[24];
        assert_int_equal(os_random(noise, sizeof noise), 0);
        assert_survives((struct kist_bytes){noise + 2, 1 + noise[0] % 8u}, (struct kist_bytes){noise + 10, noise[1] % 14u}, 0);
    }
}

static void a_never_that_was_asked_for_survives_export(void **state)
{
    (void)state;
    struct buf line;
    struct kist_record record = {.key = KIST_STR("k"), .value = KIST_STR("v"), .never = true};
    buf_init(&line, true);
    op_add_record(&line, &record);
    assert_int_equal(op_parse((struct kist_bytes){line.data, line.len}, &room, &op, &detail), 0);
    assert_int_equal(op.options.ttl_ms, KIST_TTL_NEVER);
    record.never = false;
    buf_reset(&line);
    op_add_record(&line, &record);
    assert_int_equal(op_parse((struct kist_bytes){line.data, line.len}, &room, &op, &detail), 0);
    assert_int_equal(op.options.ttl_ms, KIST_TTL_KEEP);
    buf_done(&line);
}

static void base64_is_that_of_rfc_4648(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {{"", ""},
                                           {"f", "Zg=="},
                                           {"fo", "Zm8="},
                                           {"foo", "Zm9v"},
                                           {"foob", "Zm9vYg=="},
                                           {"fooba", "Zm9vYmE="},
                                           {"foobar", "Zm9vYmFy"}};
    static const char *const bad[] = {"Z",      "Zg=", "Zg===", "Z===",     "Zh==",  "Zm9", "Zm 9v",
                                      "Zm9v\n", "=",   "====",  "Zg==Zg==", "Zm9v*", NULL};
    struct buf b;
    buf_init(&b, false);
    for (size_t i = 0; i < 7; i++) {
        buf_reset(&b);
        base64_encode((struct kist_bytes){pairs[i][0], strlen(pairs[i][0])}, &b);
        assert_bytes((struct kist_bytes){b.data, b.len}, pairs[i][1]);
        buf_reset(&b);
        assert_int_equal(base64_decode((struct kist_bytes){pairs[i][1], strlen(pairs[i][1])}, &b), 0);
        assert_bytes((struct kist_bytes){b.data, b.len}, pairs[i][0]);
    }
    buf_reset(&b);
    assert_int_equal(base64_decode(KIST_STR("Zm8"), &b), 0);
    assert_int_equal(base64_decode(KIST_STR("_-8"), &b), 0);
    buf_reset(&b);
    for (int i = 0; bad[i]; i++)
        if (base64_decode((struct kist_bytes){bad[i], strlen(bad[i])}, &b) != KIST_EINVAL || b.len)
            fail_msg("decoded: %s", bad[i]);
    buf_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_operation_is_read),
        cmocka_unit_test(mistakes_are_refused_with_a_reason),
        cmocka_unit_test(every_record_survives_export_and_import),
        cmocka_unit_test(a_never_that_was_asked_for_survives_export),
        cmocka_unit_test(base64_is_that_of_rfc_4648),
    };
    buf_init(&room, true);
    int r = cmocka_run_group_tests(tests, NULL, NULL);
    buf_done(&room);
    return r;
}
