/* test_golden.c: stores that earlier versions wrote, kept in tests/golden, open and hold what they
 * held.
 *
 * Each is copied to a temporary directory first, for opening may write. make_golden.c says what is
 * in them. */
#include "store_model.c" /* a test program is one source */

#include "make_golden.c"

static char *golden_path(char out[MODEL_PATH_MAX], const char *name)
{
    const char *source = getenv("KIST_SOURCE");
    char golden[MODEL_PATH_MAX];
    model_join(golden, source && *source ? source : ".", "tests/golden");
    return model_join(out, golden, name);
}

static void check_record(struct kist_store *s, const struct golden_record *r)
{
    struct kist_bucket *b = NULL;
    struct kist_value v = {0};
    MODEL_OK(kist_bucket_open(s, r->bucket, &b));
    int rc = kist_get(b, r->key, &v);
    MODEL_CHECK(rc == 0, "\"%s\": %s", (const char *)r->key.ptr, kist_error_name(rc));
    MODEL_CHECK(model_compare(model_bytes(v.data, v.len), r->value) == 0 && v.type == r->type &&
                    (v.expires_ms != 0) == r->expires,
                "\"%s\" differs: len %zu type %d", (const char *)r->key.ptr, v.len, v.type);
    kist_value_free(&v);
    kist_bucket_close(&b);
}

static void check_store(struct kist_store *s)
{
    static uint8_t large[GOLDEN_LARGE];
    struct kist_bucket *b = model_default(s);
    struct kist_value v = {0};
    uint64_t n = 0;
    char key[32];
    for (size_t i = 0; i < GOLDEN_N; i++)
        check_record(s, &golden_records[i]);
    for (int i = 0; i < GOLDEN_MANY; i++) {
        snprintf(key, sizeof key, "many/%03d", i);
        model_expect(b, key, key);
    }
    model_expect(b, "deleted", NULL);
    model_expect(b, "txn/1", "together");
    model_expect(b, "txn/2", "together");
    golden_large(large);
    MODEL_OK(kist_get(b, KIST_STR("large"), &v));
    MODEL_CHECK(v.len == sizeof large && memcmp(v.data, large, sizeof large) == 0, "large differs");
    kist_value_free(&v);
    MODEL_OK(kist_count(b, model_bytes(NULL, 0), &n));
    MODEL_CHECK(n == 8 + GOLDEN_MANY + 3, "%llu records", (unsigned long long)n);
    kist_bucket_close(&b);
}

static void open_and_check(const char *path, enum kist_open_mode mode)
{
    struct kist_options o = golden_options();
    struct kist_detail detail = {""};
    struct kist_store *s = NULL;
    o.mode = mode;
    o.detail = &detail;
    int rc = kist_open(path, &o, &s);
    MODEL_CHECK(rc == 0, "open: %s: %s", kist_error_name(rc), detail.text);
    check_store(s);
    model_verify(s);
    kist_close(&s);
}

static void open_golden(const char *name)
{
    char from[MODEL_PATH_MAX], to[MODEL_PATH_MAX];
    if (!model_exists(golden_path(from, name))) {
        printf("%s is not made yet: skipped\n", from);
        skip();
    }
    char *dir = model_temp_new();
    model_copy_tree(from, model_join(to, dir, "store"));
    open_and_check(to, KIST_OPEN_READ_ONLY);
    open_and_check(to, KIST_OPEN_EXISTING);
    open_and_check(to, KIST_OPEN_EXISTING);
    model_temp_free(&dir);
}

static void the_store_of_version_1_opens_and_holds_what_it_held(void **state)
{
    (void)state;
    open_golden("v1");
}

/* Can this machine do suite 2? */
static bool aes_available(void)
{
    struct kist_options o = model_options();
    struct kist_store *s = NULL;
    o.suite = 2;
    int rc = kist_open(":memory:", &o, &s);
    MODEL_CHECK(rc == 0 || rc == KIST_ENOTSUP, "open: %s", kist_error_name(rc));
    kist_close(&s);
    return rc == 0;
}

static void so_does_the_one_under_aes(void **state)
{
    (void)state;
    if (!aes_available()) {
        printf("no AES instructions here: skipped\n");
        skip();
    }
    open_golden("v1-aes");
}

static void a_store_made_now_holds_the_same(void **state)
{
    char path[MODEL_PATH_MAX];
    (void)state;
    char *dir = model_temp_new();
    golden_make(model_join(path, dir, "store"));
    open_and_check(path, KIST_OPEN_READ_ONLY);
    open_and_check(path, KIST_OPEN_EXISTING);
    model_temp_free(&dir);
}

static void the_golden_store_stays_shut_to_another_key(void **state)
{
    char path[MODEL_PATH_MAX];
    struct kist_options o = model_options();
    struct kist_store *s = NULL;
    (void)state;
    char *dir = model_temp_new();
    golden_make(model_join(path, dir, "store"));
    MODEL_CODE(KIST_EKEY, kist_open(path, &o, &s));
    assert_null(s);
    model_temp_free(&dir);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_store_made_now_holds_the_same),
        cmocka_unit_test(the_store_of_version_1_opens_and_holds_what_it_held),
        cmocka_unit_test(so_does_the_one_under_aes),
        cmocka_unit_test(the_golden_store_stays_shut_to_another_key),
    };
    if ((argc == 3 || argc == 4) && strcmp(argv[1], "--make") == 0) {
        golden_suite = argc == 4 ? 2 : 1;
        model_in_child = true; /* a failure ends the program */
        golden_make(argv[2]);
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
