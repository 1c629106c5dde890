/* test_record.c: single operations on records, through kist.h: what each promises, and each limit
 * with the byte beyond it. */
#include "fixture.h"

#include <pthread.h>

static void what_is_put_comes_back(void **state)
{
    struct fixture *f = *state;
    struct kist_value v = {0};
    uint64_t revision = put(f->bucket, "k", "value");
    assert_int_equal(kist_get(f->bucket, KIST_STR("k"), &v), 0);
    assert_int_equal(v.len, 5);
    assert_memory_equal(v.data, "value", 5);
    assert_int_equal(v.type, KIST_RAW);
    assert_int_equal(v.revision, revision);
    assert_int_equal(v.expires_ms, 0);
    kist_value_free(&v);
    assert_null(v.data);
    kist_value_free(&v);
    kist_value_free(NULL);
}

static void a_missing_key_is_enokey_and_leaves_the_output(void **state)
{
    struct fixture *f = *state;
    struct kist_value v = {.len = 77};
    bool exists = true;
    assert_int_equal(kist_get(f->bucket, KIST_STR("k"), &v), KIST_ENOKEY);
    assert_int_equal(v.len, 77);
    assert_int_equal(kist_describe(f->bucket, KIST_STR("k"), &v), KIST_ENOKEY);
    assert_int_equal(kist_exists(f->bucket, KIST_STR("k"), &exists), 0);
    assert_false(exists);
}

static void an_empty_value_has_data(void **state)
{
    struct fixture *f = *state;
    struct kist_value v = {0};
    struct kist_bytes empty = {NULL, 0};
    assert_int_equal(kist_put(f->bucket, KIST_STR("k"), empty, NULL, NULL), 0);
    assert_int_equal(kist_get(f->bucket, KIST_STR("k"), &v), 0);
    assert_int_equal(v.len, 0);
    assert_non_null(v.data);
    kist_value_free(&v);
}

static void keys_are_any_bytes_up_to_their_limit(void **state)
{
    struct fixture *f = *state;
    uint8_t key[KIST_KEY_MAX + 1];
    bool exists = false;
    memset(key, 0xff, sizeof key);
    assert_int_equal(kist_put(f->bucket, (struct kist_bytes){key, KIST_KEY_MAX}, KIST_STR("v"), NULL, NULL), 0);
    assert_int_equal(kist_exists(f->bucket, (struct kist_bytes){key, KIST_KEY_MAX}, &exists), 0);
    assert_true(exists);
    assert_int_equal(kist_put(f->bucket, (struct kist_bytes){"\0a\0", 3}, KIST_STR("nul"), NULL, NULL), 0);
    assert_int_equal(kist_put(f->bucket, (struct kist_bytes){key, sizeof key}, KIST_STR("v"), NULL, NULL), KIST_ETOOBIG);
    struct kist_detail detail;
    kist_detail(f->store, &detail);
    assert_non_null(strstr(detail.text, "4096"));
    assert_int_equal(kist_put(f->bucket, (struct kist_bytes){key, 0}, KIST_STR("v"), NULL, NULL), KIST_EINVAL);
    assert_int_equal(kist_put(f->bucket, (struct kist_bytes){NULL, 0}, KIST_STR("v"), NULL, NULL), KIST_EINVAL);
    struct kist_value v;
    assert_int_equal(kist_get(f->bucket, (struct kist_bytes){key, sizeof key}, &v), KIST_ETOOBIG);
}

static void a_value_beyond_its_limit_is_refused(void **state)
{
    struct fixture *f = *state;
    char *big = calloc(1, KIST_VALUE_MAX + 1u);
    assert_non_null(big);
    struct kist_bytes over = {big, KIST_VALUE_MAX + 1u};
    assert_int_equal(kist_put(f->bucket, KIST_STR("k"), over, NULL, NULL), KIST_ETOOBIG);
    struct kist_detail detail;
    kist_detail(f->store, &detail);
    assert_non_null(strstr(detail.text, "67108864"));
    expect_none(f->bucket, "k");
    over.len--;
    assert_int_equal(kist_put(f->bucket, KIST_STR("k"), over, NULL, NULL), 0);
    assert_int_equal(kist_append(f->bucket, KIST_STR("k"), KIST_STR("x"), NULL, NULL, NULL), KIST_ETOOBIG);
    struct kist_value info = {0};
    assert_int_equal(kist_describe(f->bucket, KIST_STR("k"), &info), 0);
    assert_int_equal(info.len, KIST_VALUE_MAX);
    assert_null(info.data);
    free(big);
}

static void arguments_out_of_range_are_einval(void **state)
{
    struct fixture *f = *state;
    struct kist_value v;
    struct kist_put_options o = {.size = sizeof o, .flags = 8};
    assert_int_equal(kist_get(NULL, KIST_STR("k"), &v), KIST_EINVAL);
    assert_int_equal(kist_get(f->bucket, KIST_STR("k"), NULL), KIST_EINVAL);
    assert_int_equal(kist_put(f->bucket, KIST_STR("k"), KIST_STR("v"), &o, NULL), KIST_EINVAL);
    o.flags = KIST_IF_ABSENT | KIST_IF_PRESENT;
    assert_int_equal(kist_put(f->bucket, KIST_STR("k"), KIST_STR("v"), &o, NULL), KIST_EINVAL);
    o = (struct kist_put_options){.size = sizeof o, .if_revision = 3};
    assert_int_equal(kist_put(f->bucket, KIST_STR("k"), KIST_STR("v"), &o, NULL), KIST_EINVAL);
    o = (struct kist_put_options){.size = sizeof o, .type = (enum kist_type)5};
    assert_int_equal(kist_put(f->bucket, KIST_STR("k"), KIST_STR("v"), &o, NULL), KIST_EINVAL);
    o = (struct kist_put_options){.size = 0};
    assert_int_equal(kist_put(f->bucket, KIST_STR("k"), KIST_STR("v"), &o, NULL), KIST_EINVAL);
    assert_int_equal(kist_put(f->bucket, KIST_STR("k"), (struct kist_bytes){NULL, 3}, NULL, NULL), KIST_EINVAL);
    assert_int_equal(kist_update(f->bucket, KIST_STR("k"), NULL, NULL, NULL, NULL), KIST_EINVAL);
    expect_none(f->bucket, "k");
}

static void an_older_caller_gives_a_shorter_struct(void **state)
{
    struct fixture *f = *state;
    struct kist_put_options o = {.size = offsetof(struct kist_put_options, ttl_ms), .flags = KIST_IF_PRESENT, .ttl_ms = -99};
    assert_int_equal(kist_put(f->bucket, KIST_STR("k"), KIST_STR("v"), &o, NULL), KIST_ENOKEY);
    o.flags = 0;
    assert_int_equal(kist_put(f->bucket, KIST_STR("k"), KIST_STR("v"), &o, NULL), 0);
    struct {
        struct kist_put_options o;
        int64_t later;
    } newer = {.o = {.size = sizeof newer}};
    assert_int_equal(kist_put(f->bucket, KIST_STR("k"), KIST_STR("v"), &newer.o, NULL), 0);
    newer.later = 1;
    assert_int_equal(kist_put(f->bucket, KIST_STR("k"), KIST_STR("v"), &newer.o, NULL), KIST_EINVAL);
}

static void conditions_are_checked(void **state)
{
    struct fixture *f = *state;
    struct kist_put_options o = {.size = sizeof o, .flags = KIST_IF_PRESENT};
    assert_int_equal(kist_put(f->bucket, KIST_STR("k"), KIST_STR("v"), &o, NULL), KIST_ENOKEY);
    o.flags = KIST_IF_REVISION;
    o.if_revision = 5;
    assert_int_equal(kist_put(f->bucket, KIST_STR("k"), KIST_STR("v"), &o, NULL), KIST_ECONFLICT);
    o.if_revision = 0;
    uint64_t revision = 0;
    assert_int_equal(kist_put(f->bucket, KIST_STR("k"), KIST_STR("v"), &o, &revision), 0);
    assert_int_equal(kist_put(f->bucket, KIST_STR("k"), KIST_STR("w"), &o, NULL), KIST_ECONFLICT);
    o.flags = KIST_IF_ABSENT;
    assert_int_equal(kist_put(f->bucket, KIST_STR("k"), KIST_STR("w"), &o, NULL), KIST_EEXIST);
    expect(f->bucket, "k", "v");
    o.flags = KIST_IF_PRESENT | KIST_IF_REVISION;
    o.if_revision = revision;
    uint64_t second = 0;
    assert_int_equal(kist_put(f->bucket, KIST_STR("k"), KIST_STR("w"), &o, &second), 0);
    assert_true(second > revision);
    assert_int_equal(kist_delete(f->bucket, KIST_STR("k"), &o, NULL, NULL), KIST_ECONFLICT);
    o.if_revision = second;
    assert_int_equal(kist_delete(f->bucket, KIST_STR("k"), &o, NULL, NULL), 0);
    expect_none(f->bucket, "k");
    o.flags = KIST_IF_PRESENT;
    o.if_revision = 0;
    assert_int_equal(kist_delete(f->bucket, KIST_STR("k"), &o, NULL, NULL), KIST_ENOKEY);
    o.flags = KIST_IF_ABSENT;
    assert_int_equal(kist_increment(f->bucket, KIST_STR("n"), 1, &o, NULL, NULL), 0);
    assert_int_equal(kist_increment(f->bucket, KIST_STR("n"), 1, &o, NULL, NULL), KIST_EEXIST);
}

static void deleting_says_whether_it_was_there_and_commits_only_then(void **state)
{
    struct fixture *f = *state;
    bool existed = true;
    uint64_t before = 0, after = 0;
    put(f->bucket, "k", "v");
    assert_int_equal(kist_revision(f->store, &before), 0);
    assert_int_equal(kist_delete(f->bucket, KIST_STR("other"), NULL, &existed, NULL), 0);
    assert_false(existed);
    assert_int_equal(kist_revision(f->store, &after), 0);
    assert_int_equal(before, after);
    assert_int_equal(kist_delete(f->bucket, KIST_STR("k"), NULL, &existed, &after), 0);
    assert_true(existed);
    assert_true(after > before);
}

static void compare_and_set_compares_bytes_and_keeps_the_ttl(void **state)
{
    struct fixture *f = *state;
    struct kist_bytes a = KIST_STR("a"), b = KIST_STR("b"), k = KIST_STR("k");
    assert_int_equal(kist_compare_and_set(f->bucket, k, a, b, NULL, NULL), KIST_ENOKEY);
    put_ttl(f->bucket, "k", "a", 60000);
    int64_t expiry = expires(f->bucket, "k");
    assert_int_equal(kist_compare_and_set(f->bucket, k, b, a, NULL, NULL), KIST_ECONFLICT);
    assert_int_equal(kist_compare_and_set(f->bucket, k, KIST_STR("aa"), b, NULL, NULL), KIST_ECONFLICT);
    assert_int_equal(kist_compare_and_set(f->bucket, k, a, b, NULL, NULL), 0);
    expect(f->bucket, "k", "b");
    assert_int_equal(expires(f->bucket, "k"), expiry);
}

static void deleting_looks_at_neither_type_nor_ttl(void **state)
{
    struct fixture *f = *state;
    struct kist_put_options o = {.size = sizeof o, .type = (enum kist_type)77, .ttl_ms = -5};
    bool existed = false;
    uint64_t first = put(f->bucket, "k", "v");
    assert_int_equal(kist_delete(f->bucket, KIST_STR("k"), &o, &existed, NULL), 0);
    assert_true(existed);
    put(f->bucket, "k", "v");
    o.flags = KIST_IF_REVISION;
    o.if_revision = first;
    assert_int_equal(kist_delete(f->bucket, KIST_STR("k"), &o, NULL, NULL), KIST_ECONFLICT);
    o.flags = 1u << 20;
    assert_int_equal(kist_delete(f->bucket, KIST_STR("k"), &o, NULL, NULL), KIST_EINVAL);
}

static void get_and_delete_takes_it_away(void **state)
{
    struct fixture *f = *state;
    struct kist_value v = {0};
    put(f->bucket, "k", "v");
    assert_int_equal(kist_get_and_delete(f->bucket, KIST_STR("k"), &v), 0);
    assert_memory_equal(v.data, "v", 1);
    kist_value_free(&v);
    assert_int_equal(kist_get_and_delete(f->bucket, KIST_STR("k"), &v), KIST_ENOKEY);
}

static void get_or_insert_inserts_once(void **state)
{
    struct fixture *f = *state;
    struct kist_value v = {0};
    bool inserted = false;
    struct kist_put_options o = {.size = sizeof o, .type = KIST_DETECT, .ttl_ms = 60000};
    assert_int_equal(kist_get_or_insert(f->bucket, KIST_STR("k"), KIST_STR("1"), &o, &v, &inserted), 0);
    assert_true(inserted);
    assert_int_equal(v.type, KIST_INT);
    uint64_t now = 0;
    assert_int_equal(kist_revision(f->store, &now), 0);
    assert_int_equal(v.revision, now);
    assert_int_equal(v.expires_ms, expires(f->bucket, "k"));
    kist_value_free(&v);
    assert_int_equal(kist_get_or_insert(f->bucket, KIST_STR("k"), KIST_STR("2"), NULL, &v, &inserted), 0);
    assert_false(inserted);
    assert_memory_equal(v.data, "1", 1);
    kist_value_free(&v);
    o.flags = KIST_IF_ABSENT;
    assert_int_equal(kist_get_or_insert(f->bucket, KIST_STR("k"), KIST_STR("2"), &o, &v, NULL), KIST_EINVAL);
}

struct update {
    int answer;
    const char *value;
    int calls;
    bool saw_old;
};

static int update_fn(const struct kist_value *old, struct kist_bytes *new_value, void *ctx)
{
    struct update *u = ctx;
    u->calls++;
    u->saw_old = old != NULL;
    if (u->value)
        *new_value = bytes(u->value);
    else if (old)
        *new_value = (struct kist_bytes){(const char *)old->data + 1, old->len - 1}; /* inside the old one */
    return u->answer;
}

static void update_stores_keeps_deletes_or_fails(void **state)
{
    struct fixture *f = *state;
    struct kist_bytes k = KIST_STR("k");
    struct update u = {.answer = KIST_UPDATE_STORE, .value = "new"};
    uint64_t before = 0, after = 0;
    assert_int_equal(kist_update(f->bucket, k, update_fn, &u, NULL, NULL), 0);
    assert_int_equal(u.calls, 1);
    assert_false(u.saw_old);
    expect(f->bucket, "k", "new");
    u.value = NULL;
    assert_int_equal(kist_update(f->bucket, k, update_fn, &u, NULL, &before), 0);
    assert_true(u.saw_old);
    expect(f->bucket, "k", "ew");
    u.answer = KIST_UPDATE_KEEP;
    assert_int_equal(kist_update(f->bucket, k, update_fn, &u, NULL, NULL), 0);
    u.answer = KIST_EDENIED;
    assert_int_equal(kist_update(f->bucket, k, update_fn, &u, NULL, NULL), KIST_EDENIED);
    u.answer = 3;
    assert_int_equal(kist_update(f->bucket, k, update_fn, &u, NULL, NULL), KIST_EINVAL);
    u = (struct update){.answer = KIST_UPDATE_STORE, .value = "not json"};
    struct kist_put_options o = {.size = sizeof o, .type = KIST_JSON};
    assert_int_equal(kist_update(f->bucket, k, update_fn, &u, &o, NULL), KIST_EJSON);
    assert_int_equal(kist_revision(f->store, &after), 0);
    assert_int_equal(before, after);
    expect(f->bucket, "k", "ew");
    u.answer = KIST_UPDATE_DELETE;
    assert_int_equal(kist_update(f->bucket, k, update_fn, &u, NULL, NULL), 0);
    expect_none(f->bucket, "k");
    assert_int_equal(kist_update(f->bucket, k, update_fn, &u, NULL, NULL), 0);
    assert_int_equal(u.calls, 3);
}

static void increment_counts_and_never_overflows(void **state)
{
    struct fixture *f = *state;
    struct kist_bytes k = KIST_STR("k");
    int64_t n = 0;
    assert_int_equal(kist_increment(f->bucket, k, 5, NULL, &n, NULL), 0);
    assert_int_equal(n, 5);
    assert_int_equal(kist_increment(f->bucket, k, -7, NULL, &n, NULL), 0);
    assert_int_equal(n, -2);
    expect(f->bucket, "k", "-2");
    struct kist_value info;
    assert_int_equal(kist_describe(f->bucket, k, &info), 0);
    assert_int_equal(info.type, KIST_INT);
    put(f->bucket, "k", "9223372036854775807");
    assert_int_equal(kist_increment(f->bucket, k, 1, NULL, &n, NULL), KIST_ERANGE);
    expect(f->bucket, "k", "9223372036854775807");
    assert_int_equal(n, -2);
    put(f->bucket, "k", "1.5");
    assert_int_equal(kist_increment(f->bucket, k, 1, NULL, &n, NULL), KIST_ETYPE);
}

static void increment_float_takes_ints_and_stays_finite(void **state)
{
    struct fixture *f = *state;
    struct kist_bytes k = KIST_STR("k");
    double v = 0;
    assert_int_equal(kist_increment(f->bucket, k, 2, NULL, NULL, NULL), 0);
    assert_int_equal(kist_increment_float(f->bucket, k, 0.5, NULL, &v, NULL), 0);
    assert_true(v > 2.49 && v < 2.51);
    expect(f->bucket, "k", "2.5");
    double nan = __builtin_nan("");
    assert_int_equal(kist_increment_float(f->bucket, k, nan, NULL, &v, NULL), KIST_EINVAL);
    put(f->bucket, "k", "1.7e308");
    assert_int_equal(kist_increment_float(f->bucket, k, 1.7e308, NULL, &v, NULL), KIST_ERANGE);
    put(f->bucket, "k", "x");
    assert_int_equal(kist_increment_float(f->bucket, k, 1, NULL, &v, NULL), KIST_ETYPE);
}

static void append_grows_the_value_and_checks_its_type(void **state)
{
    struct fixture *f = *state;
    struct kist_bytes k = KIST_STR("k");
    size_t len = 0;
    struct kist_put_options o = {.size = sizeof o, .type = KIST_INT};
    assert_int_equal(kist_append(f->bucket, k, KIST_STR("12"), &o, &len, NULL), 0);
    assert_int_equal(kist_append(f->bucket, k, KIST_STR("3"), &o, &len, NULL), 0);
    assert_int_equal(len, 3);
    assert_int_equal(kist_append(f->bucket, k, KIST_STR("x"), &o, &len, NULL), KIST_ETYPE);
    expect(f->bucket, "k", "123");
    assert_int_equal(kist_append(f->bucket, k, KIST_STR("x"), NULL, &len, NULL), 0);
    struct kist_value info;
    assert_int_equal(kist_describe(f->bucket, k, &info), 0);
    assert_int_equal(info.type, KIST_RAW);
    assert_int_equal(kist_append(f->bucket, KIST_STR("e"), (struct kist_bytes){NULL, 0}, NULL, &len, NULL), 0);
    assert_int_equal(len, 0);
    expect(f->bucket, "e", "");
}

static void merge_patches_json(void **state)
{
    struct fixture *f = *state;
    struct kist_bytes k = KIST_STR("k");
    assert_int_equal(kist_merge(f->bucket, k, KIST_STR("{\"a\":1,\"b\":2}"), NULL, NULL), 0);
    assert_int_equal(kist_merge(f->bucket, k, KIST_STR("{\"a\":null}"), NULL, NULL), 0);
    expect(f->bucket, "k", "{\"b\":2}");
    assert_int_equal(kist_merge(f->bucket, k, KIST_STR("{"), NULL, NULL), KIST_EJSON);
    put(f->bucket, "k", "not json");
    assert_int_equal(kist_merge(f->bucket, k, KIST_STR("{\"a\":1}"), NULL, NULL), KIST_ETYPE);
    put(f->bucket, "k", "");
    assert_int_equal(kist_merge(f->bucket, k, KIST_STR("{\"a\":1}"), NULL, NULL), KIST_ETYPE);
    expect(f->bucket, "k", "");
}

static void types_are_checked_and_detected(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *text;
        enum kist_type as, becomes;
        int code;
    } rows[] = {
        {"12", KIST_INT, KIST_INT, 0},       {"012", KIST_INT, KIST_RAW, KIST_ETYPE}, {"1.5", KIST_FLOAT, KIST_FLOAT, 0},
        {"{}", KIST_JSON, KIST_JSON, 0},     {"{", KIST_JSON, KIST_RAW, KIST_EJSON},  {"7", KIST_DETECT, KIST_INT, 0},
        {"7.5", KIST_DETECT, KIST_FLOAT, 0}, {"[1]", KIST_DETECT, KIST_JSON, 0},      {"hello", KIST_DETECT, KIST_RAW, 0},
        {"7", KIST_RAW, KIST_RAW, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct kist_put_options o = {.size = sizeof o, .type = rows[i].as};
        struct kist_value info;
        assert_int_equal(kist_put(f->bucket, KIST_STR("k"), bytes(rows[i].text), &o, NULL), rows[i].code);
        if (rows[i].code)
            continue;
        assert_int_equal(kist_describe(f->bucket, KIST_STR("k"), &info), 0);
        assert_int_equal(info.type, rows[i].becomes);
        expect(f->bucket, "k", rows[i].text);
    }
}

static void get_many_sees_one_snapshot(void **state)
{
    struct fixture *f = *state;
    struct kist_bytes keys[] = {KIST_STR("a"), KIST_STR("none"), KIST_STR("b"), KIST_STR("a")};
    struct kist_value values[4] = {{0}};
    int codes[4] = {9, 9, 9, 9};
    put(f->bucket, "a", "1");
    put(f->bucket, "b", "2");
    assert_int_equal(kist_get_many(f->bucket, keys, 4, values, codes), 0);
    assert_int_equal(codes[0], 0);
    assert_int_equal(codes[1], KIST_ENOKEY);
    assert_null(values[1].data);
    assert_memory_equal(values[2].data, "2", 1);
    assert_memory_equal(values[3].data, "1", 1);
    for (int i = 0; i < 4; i++)
        kist_value_free(&values[i]);
    keys[2].len = 0;
    codes[0] = 9;
    assert_int_equal(kist_get_many(f->bucket, keys, 4, values, codes), KIST_EINVAL);
    assert_int_equal(codes[0], 9);
    assert_int_equal(kist_get_many(f->bucket, NULL, 0, NULL, NULL), 0);
}

static void count_counts_a_prefix(void **state)
{
    struct fixture *f = *state;
    uint64_t n = 9;
    assert_int_equal(kist_count(f->bucket, (struct kist_bytes){NULL, 0}, &n), 0);
    assert_int_equal(n, 0);
    put(f->bucket, "a", "");
    put(f->bucket, "a/1", "");
    put(f->bucket, "a/2", "");
    put(f->bucket, "b", "");
    put_ttl(f->bucket, "a/3", "", 1000);
    os_clock_skew_ms = 2000;
    assert_int_equal(kist_count(f->bucket, KIST_STR("a/"), &n), 0);
    assert_int_equal(n, 2);
    assert_int_equal(kist_count(f->bucket, (struct kist_bytes){NULL, 0}, &n), 0);
    assert_int_equal(n, 4);
    assert_int_equal(kist_count(f->bucket, KIST_STR("c"), &n), 0);
    assert_int_equal(n, 0);
}

static void *count_up(void *ctx)
{
    for (int i = 0; i < 50; i++)
        if (kist_increment(ctx, KIST_STR("n"), 1, NULL, NULL, NULL) < 0)
            return ctx;
    return NULL;
}

static void increments_of_many_threads_all_count(void **state)
{
    struct fixture *f = *state;
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count_up, f->bucket), 0);
    for (int i = 0; i < 4; i++) {
        void *failed = NULL;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    expect(f->bucket, "n", "200");
}

int main(void)
{
    return FIXTURE_RUN(
        TEST(what_is_put_comes_back), TEST(a_missing_key_is_enokey_and_leaves_the_output), TEST(an_empty_value_has_data),
        TEST(keys_are_any_bytes_up_to_their_limit), TEST(a_value_beyond_its_limit_is_refused),
        TEST(arguments_out_of_range_are_einval), TEST(an_older_caller_gives_a_shorter_struct), TEST(conditions_are_checked),
        TEST(deleting_says_whether_it_was_there_and_commits_only_then), TEST(deleting_looks_at_neither_type_nor_ttl),
        TEST(compare_and_set_compares_bytes_and_keeps_the_ttl), TEST(get_and_delete_takes_it_away),
        TEST(get_or_insert_inserts_once), TEST(update_stores_keeps_deletes_or_fails), TEST(increment_counts_and_never_overflows),
        TEST(increment_float_takes_ints_and_stays_finite), TEST(append_grows_the_value_and_checks_its_type),
        TEST(merge_patches_json), TEST(types_are_checked_and_detected), TEST(get_many_sees_one_snapshot),
        TEST(count_counts_a_prefix), TEST(increments_of_many_threads_all_count));
}
