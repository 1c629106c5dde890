/* test_hostile.c: the lines of hostile.md on names, values and arguments, through the library, on
 * both engines.
 *
 * Each ends in a clear error and nothing lost. Files, limits and the disk are in
 * test_hostile_files.c. */
#include "store_model.c" /* a test program is one source */

static char *dir;
static char path[MODEL_PATH_MAX];

static int make(void **state)
{
    (void)state;
    dir = model_temp_new();
    model_join(path, dir, "store");
    return 0;
}

static int drop(void **state)
{
    (void)state;
    model_temp_free(&dir);
    return 0;
}

/* -- names and values -- */

static void each_engine(void (*fn)(struct kist_store *s, struct kist_bucket *b))
{
    const char *paths[] = {path, ":memory:"};
    for (int i = 0; i < 2; i++) {
        struct kist_store *s = model_open(paths[i]);
        struct kist_bucket *b = model_default(s);
        fn(s, b);
        model_verify(s);
        kist_bucket_close(&b);
        kist_close(&s);
    }
}

static void put_and_see(struct kist_bucket *b, struct kist_bytes key, struct kist_bytes value)
{
    struct kist_value v = {0};
    struct kist_range range = {.size = sizeof range, .from = key};
    struct kist_cursor *c = NULL;
    struct kist_record r;
    MODEL_OK(kist_put(b, key, value, NULL, NULL));
    MODEL_OK(kist_get(b, key, &v));
    MODEL_CHECK(v.data && v.type == KIST_RAW && model_compare(model_bytes(v.data, v.len), value) == 0,
                "not what was put: %zu of %zu", v.len, value.len);
    kist_value_free(&v);
    MODEL_OK(kist_cursor_open(b, &range, &c));
    MODEL_OK(kist_cursor_next(c, &r));
    MODEL_CHECK(model_compare(r.key, key) == 0, "the cursor shows another key");
    kist_cursor_close(&c);
}

static void see_keys(struct kist_store *s, struct kist_bucket *b)
{
    static uint8_t long_key[65536];
    static const char *const odd[] = {"..",   ".",    "/",     "//", "../../etc/passwd", "\n",       "\r\n",     "-rf",
                                      "--",   " ",    "  a  ", "*",  "?[a-z]",           "\xff\xfe", "\xc3\x28", "\xed\xa0\x80",
                                      "%s%n", "\x7f", "'; --"};
    static const size_t good[] = {1, 2, 63, 64, 255, 256, 4095, 4096}, bad[] = {0, 4097, 8192, 65536};
    struct kist_value v = {0};
    bool exists, first = true;
    (void)s;
    for (int fill = 0; fill < 256; fill += 51) {
        memset(long_key, fill, sizeof long_key);
        for (size_t i = 0; i < sizeof good / sizeof *good; i++)
            put_and_see(b, model_bytes(long_key, good[i]), model_bytes(&good[i], sizeof good[i]));
    }
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++)
        put_and_see(b, model_text(odd[i]), model_text(odd[i]));
    put_and_see(b, model_bytes("a\0b", 3), KIST_STR("NUL inside"));
    put_and_see(b, model_bytes("a\0c", 3), KIST_STR("another"));
    put_and_see(b, model_bytes("\0", 1), KIST_STR("NUL"));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct kist_bytes key = model_bytes(long_key, bad[i]);
        int rc = kist_put(b, key, KIST_STR("x"), NULL, NULL);
        MODEL_CHECK(rc == KIST_EINVAL || (bad[i] && rc == KIST_ETOOBIG), "a key of %zu bytes: %s", bad[i], kist_error_name(rc));
        rc = kist_get(b, key, &v);
        MODEL_CHECK(rc == KIST_EINVAL || (bad[i] && (rc == KIST_ETOOBIG || rc == KIST_ENOKEY)), "get with a key of %zu bytes: %s",
                    bad[i], kist_error_name(rc));
        rc = kist_exists(b, key, &exists);
        MODEL_CHECK(first || rc <= 0, "exists: %s", kist_error_name(rc));
        first = false;
    }
    MODEL_CODE(KIST_EINVAL, kist_put(b, model_bytes(NULL, 3), KIST_STR("x"), NULL, NULL));
}

static void keys_of_all_shapes(void **state)
{
    (void)state;
    each_engine(see_keys);
}

static void see_values(struct kist_store *s, struct kist_bucket *b)
{
    struct kist_stat stat = {.size = sizeof stat};
    MODEL_OK(kist_stat(s, &stat));
    size_t cap = stat.value_max < KIST_VALUE_MAX ? (size_t)stat.value_max : KIST_VALUE_MAX;
    uint8_t *all = calloc(1, (size_t)KIST_VALUE_MAX + 1);
    assert_non_null(all);
    for (size_t i = 0; i <= KIST_VALUE_MAX; i += 4093)
        all[i] = (uint8_t)i;
    size_t sizes[] = {0, 1, 2, 4095, 4096, 4097, 65535, 65536, 65537, 1 << 20, cap - 1, cap};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        put_and_see(b, KIST_STR("value"), model_bytes(all, sizes[i]));
    MODEL_CODE(KIST_ETOOBIG, kist_put(b, KIST_STR("value"), model_bytes(all, (size_t)KIST_VALUE_MAX + 1), NULL, NULL));
    struct kist_value v = {0};
    MODEL_OK(kist_get(b, KIST_STR("value"), &v));
    MODEL_CHECK(v.len == cap, "a refused put changed the value");
    kist_value_free(&v);
    MODEL_CODE(KIST_ETOOBIG, kist_append(b, KIST_STR("value"), KIST_STR("x"), NULL, NULL, NULL));
    MODEL_OK(kist_delete(b, KIST_STR("value"), NULL, NULL, NULL));
    put_and_see(b, KIST_STR("crlf"), KIST_STR("a\r\nb\r\n"));
    free(all);
}

static void values_up_to_the_cap(void **state)
{
    (void)state;
    each_engine(see_values);
}

static int typed(struct kist_bucket *b, enum kist_type type, const char *text)
{
    struct kist_put_options o = {.size = sizeof o, .type = type};
    return kist_put(b, KIST_STR("typed"), model_text(text), &o, NULL);
}

static void see_numbers(struct kist_store *s, struct kist_bucket *b)
{
    static const char *const ints[] = {"0", "-1", "9223372036854775807", "-9223372036854775808", "9007199254740993"};
    static const char *const not_ints[] = {
        "", "-", "+1", "01", "-01", "1.0", "1e3", " 1", "1 ", "9223372036854775808", "-9223372036854775809", "0x10", "NaN"};
    static const char *const floats[] = {"0", "-0", "-0.0", "1.5", "1e308", "-1E-5", "9007199254740993"};
    static const char *const not_floats[] = {"",   "1e999", "-1e999", "NaN",   "nan", "Infinity", "inf",
                                             "1.", ".5",    "+1",     "0x1p3", "1e",  "1,5",      " 1"};
    static const char *const not_json[] = {"", "{", "[1,]", "{\"a\":1,}", "nul", "\"\xff\"", "[1] x", "'a'", "{\"a\" 1}"};
    double f = 0;
    (void)s;
    for (size_t i = 0; i < sizeof ints / sizeof *ints; i++)
        MODEL_OK(typed(b, KIST_INT, ints[i]));
    for (size_t i = 0; i < sizeof not_ints / sizeof *not_ints; i++)
        MODEL_CHECK(typed(b, KIST_INT, not_ints[i]) == KIST_ETYPE, "\"%s\" as an int", not_ints[i]);
    for (size_t i = 0; i < sizeof floats / sizeof *floats; i++)
        MODEL_CHECK(typed(b, KIST_FLOAT, floats[i]) == 0, "\"%s\" as a float", floats[i]);
    for (size_t i = 0; i < sizeof not_floats / sizeof *not_floats; i++)
        MODEL_CHECK(typed(b, KIST_FLOAT, not_floats[i]) == KIST_ETYPE, "\"%s\" as a float", not_floats[i]);
    for (size_t i = 0; i < sizeof not_json / sizeof *not_json; i++)
        MODEL_CHECK(typed(b, KIST_JSON, not_json[i]) == KIST_EJSON, "\"%s\" as JSON", not_json[i]);
    model_expect(b, "typed", floats[sizeof floats / sizeof *floats - 1]);
    MODEL_OK(typed(b, KIST_INT, "9223372036854775807"));
    MODEL_CODE(KIST_ERANGE, kist_increment(b, KIST_STR("typed"), 1, NULL, NULL, NULL));
    MODEL_OK(kist_increment(b, KIST_STR("typed"), 0, NULL, NULL, NULL));
    MODEL_OK(typed(b, KIST_INT, "-9223372036854775808"));
    MODEL_CODE(KIST_ERANGE, kist_increment(b, KIST_STR("typed"), -1, NULL, NULL, NULL));
    model_expect(b, "typed", "-9223372036854775808");
    MODEL_OK(typed(b, KIST_FLOAT, "1.7e308"));
    MODEL_CODE(KIST_ERANGE, kist_increment_float(b, KIST_STR("typed"), 1.7e308, NULL, &f, NULL));
    MODEL_CODE(KIST_EINVAL, kist_increment_float(b, KIST_STR("typed"), __builtin_nan(""), NULL, &f, NULL));
    model_expect(b, "typed", "1.7e308");
}

static void numbers_at_the_edge_of_their_range(void **state)
{
    (void)state;
    each_engine(see_numbers);
}

static void see_deep_json(struct kist_store *s, struct kist_bucket *b)
{
    static char deep[200001];
    struct kist_put_options o = {.size = sizeof o, .type = KIST_JSON};
    (void)s;
    for (size_t depth = 10; depth <= 100000; depth *= 10) {
        memset(deep, '[', depth);
        memset(deep + depth, ']', depth);
        int rc = kist_put(b, KIST_STR("deep"), model_bytes(deep, 2 * depth), &o, NULL);
        MODEL_CHECK(rc == 0 || rc == KIST_EJSON, "nested %zu deep: %s", depth, kist_error_name(rc));
        MODEL_CHECK(rc == 0 || depth > 100, "nested 100 deep is refused");
        rc = kist_merge(b, KIST_STR("merged"), model_bytes(deep, 2 * depth), NULL, NULL);
        MODEL_CHECK(rc == 0 || rc == KIST_EJSON, "merge, nested %zu deep: %s", depth, kist_error_name(rc));
        rc = (int)kist_detect(model_bytes(deep, 2 * depth));
        MODEL_CHECK(rc == KIST_JSON || rc == KIST_RAW, "detected as %d", rc);
    }
}

static void json_nested_deeply(void **state)
{
    (void)state;
    each_engine(see_deep_json);
}

static void see_ttls(struct kist_store *s, struct kist_bucket *b)
{
    static const int64_t bad[] = {-2, INT64_MIN, INT64_MAX, KIST_TTL_MAX + 1};
    struct kist_put_options o = {.size = sizeof o};
    struct kist_value v = {0};
    int64_t left = 0;
    (void)s;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        o.ttl_ms = bad[i];
        MODEL_CHECK(kist_put(b, KIST_STR("ttl"), KIST_STR("x"), &o, NULL) == KIST_EINVAL, "ttl %lld", (long long)bad[i]);
        MODEL_CODE(KIST_ENOKEY, kist_get(b, KIST_STR("ttl"), &v));
    }
    o.ttl_ms = KIST_TTL_MAX;
    MODEL_OK(kist_put(b, KIST_STR("ttl"), KIST_STR("x"), &o, NULL));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        MODEL_CHECK(kist_expire(b, KIST_STR("ttl"), bad[i], NULL) == KIST_EINVAL, "ttl %lld", (long long)bad[i]);
    MODEL_OK(kist_ttl(b, KIST_STR("ttl"), &left));
    MODEL_CHECK(left > KIST_TTL_MAX - 60000, "%lld left", (long long)left);
    o.ttl_ms = 1;
    MODEL_OK(kist_put(b, KIST_STR("ttl"), KIST_STR("x"), &o, NULL));
    usleep(5000);
    MODEL_CODE(KIST_ENOKEY, kist_get(b, KIST_STR("ttl"), &v));
    MODEL_CODE(KIST_ENOKEY, kist_ttl(b, KIST_STR("ttl"), &left));
    MODEL_CODE(KIST_ENOKEY, kist_expire(b, KIST_STR("ttl"), 1000, NULL));
}

static void lifetimes_at_the_edge_of_their_range(void **state)
{
    (void)state;
    each_engine(see_ttls);
}

/* A clock that jumps by years, both ways: no crash, no loss of what does not expire. */
static void see_clocks(struct kist_store *s, struct kist_bucket *b)
{
    static const int64_t skews[] = {INT64_C(31536000000) * 30, -INT64_C(31536000000) * 30, INT64_C(31536000000) * 500, 0};
    struct kist_put_options o = {.size = sizeof o, .ttl_ms = 3600000};
    char key[16];
    model_put(b, "for ever", "yes");
    for (size_t i = 0; i < sizeof skews / sizeof *skews; i++) {
        os_clock_skew_ms = skews[i];
        snprintf(key, sizeof key, "clock %zu", i);
        MODEL_OK(kist_put(b, model_text(key), KIST_STR("x"), &o, NULL));
        model_expect(b, key, "x");
        model_expect(b, "for ever", "yes");
        MODEL_OK(kist_sweep(s, 0, NULL));
        model_expect(b, key, "x");
    }
    os_clock_skew_ms = 0;
    model_expect(b, "for ever", "yes");
}

static void clocks_that_jump(void **state)
{
    (void)state;
    each_engine(see_clocks);
    struct kist_store *s = model_open(path);
    struct kist_bucket *b = model_default(s);
    model_expect(b, "for ever", "yes");
    kist_bucket_close(&b);
    kist_close(&s);
}

static void see_bucket_names(struct kist_store *s, struct kist_bucket *b)
{
    char long_name[300];
    struct kist_bucket *x = NULL;
    struct kist_bucket_info info;
    static const char *const bad[] = {"", "\n", "a\tb", "\xff", "\xc3\x28", "\xed\xa0\x80", "\x7f", "\x1b[0m"};
    MODEL_OK(kist_bucket_describe(b, &info));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int rc = kist_bucket_create(s, bad[i], NULL, &x);
        MODEL_CHECK(rc == KIST_EINVAL && !x, "bucket name %zu: %s", i, kist_error_name(rc));
    }
    MODEL_CODE(KIST_EINVAL, kist_bucket_create(s, info.id, NULL, &x));
    memset(long_name, 'n', sizeof long_name);
    long_name[256] = 0;
    int rc = kist_bucket_create(s, long_name, NULL, &x);
    MODEL_CHECK(rc == KIST_EINVAL || rc == KIST_ETOOBIG, "a bucket name of 256 bytes: %s", kist_error_name(rc));
    long_name[255] = 0;
    MODEL_OK(kist_bucket_create(s, long_name, NULL, &x));
    model_put(x, "a", "b");
    kist_bucket_close(&x);
    MODEL_OK(kist_bucket_open(s, long_name, &x));
    model_expect(x, "a", "b");
    MODEL_OK(kist_bucket_delete(x));
    kist_bucket_close(&x);
    MODEL_CODE(KIST_ENOBUCKET, kist_bucket_open(s, long_name, &x));
    MODEL_CODE(KIST_ENOBUCKET, kist_bucket_open(s, "nowhere", &x));
}

static void bucket_names_of_all_shapes(void **state)
{
    (void)state;
    each_engine(see_bucket_names);
}

/* -- arguments -- */

static void arguments_out_of_their_range(void **state)
{
    (void)state;
    struct kist_store *s = NULL;
    struct kist_options o = model_options();
    struct kist_value v = {0};
    struct kist_txn *t = NULL;
    o.size = 0;
    MODEL_CODE(KIST_EINVAL, kist_open(path, &o, &s));
    o = model_options();
    o.mode = (enum kist_open_mode)17;
    MODEL_CODE(KIST_EINVAL, kist_open(path, &o, &s));
    o = model_options();
    o.suite = 9;
    int rc = kist_open(path, &o, &s);
    MODEL_CHECK(rc == KIST_EINVAL || rc == KIST_ENOTSUP, "suite 9: %s", kist_error_name(rc));
    o = model_options();
    rc = kist_open("", &o, &s);
    MODEL_CHECK(rc == KIST_EINVAL || rc == KIST_ENOSTORE, "an empty path: %s", kist_error_name(rc));
    MODEL_CHECK(!model_exists(path), "a refused open made something");
    s = model_open(path);
    struct kist_bucket *b = model_default(s);
    struct kist_put_options p = {.size = sizeof p, .flags = 1u << 20};
    MODEL_CODE(KIST_EINVAL, kist_put(b, KIST_STR("k"), KIST_STR("v"), &p, NULL));
    p = (struct kist_put_options){.size = sizeof p, .type = (enum kist_type)77};
    MODEL_CODE(KIST_EINVAL, kist_put(b, KIST_STR("k"), KIST_STR("v"), &p, NULL));
    MODEL_CODE(KIST_EINVAL, kist_begin(b, (enum kist_txn_mode)9, &t));
    MODEL_CODE(KIST_EINVAL, kist_get(b, model_bytes(NULL, 0), &v));
    MODEL_CHECK(!v.data, "a failed get sets its output");
    kist_value_free(NULL);
    kist_value_free(&v);
    kist_bucket_close(&b);
    kist_bucket_close(&b);
    kist_close(&s);
    kist_close(&s);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, make, drop)
    const struct CMUnitTest tests[] = {
        TEST(keys_of_all_shapes),
        TEST(values_up_to_the_cap),
        TEST(numbers_at_the_edge_of_their_range),
        TEST(json_nested_deeply),
        TEST(lifetimes_at_the_edge_of_their_range),
        TEST(clocks_that_jump),
        TEST(bucket_names_of_all_shapes),
        TEST(arguments_out_of_their_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
