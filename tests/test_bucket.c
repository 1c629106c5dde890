/* test_bucket.c: buckets by name and id, and handles that follow what other handles do to their
 * bucket. */
#include "fixture.h"

#include "model/bucketid.h"
#include "model/catalog.h"

static struct kist_bucket *create(struct fixture *f, const char *name)
{
    struct kist_bucket *b = NULL;
    assert_int_equal(kist_bucket_create(f->store, name, NULL, &b), 0);
    return b;
}

static void default_is_always_there_and_stays(void **state)
{
    struct fixture *f = *state;
    struct kist_bucket_info info;
    assert_int_equal(kist_bucket_describe(f->bucket, &info), 0);
    assert_string_equal(info.name, "default");
    assert_int_equal(strlen(info.id), KIST_BUCKET_ID_LEN);
    assert_string_not_equal(info.id, BUCKETID_NIL);
    assert_true(info.created_ms > 0);
    assert_int_equal(kist_bucket_rename(f->bucket, "other"), KIST_EDENIED);
    assert_int_equal(kist_bucket_delete(f->bucket), KIST_EDENIED);
    struct kist_bucket *b = NULL;
    assert_int_equal(kist_bucket_create(f->store, "default", NULL, &b), KIST_EEXIST);
    assert_null(b);
}

static void a_bucket_opens_by_name_and_by_id(void **state)
{
    struct fixture *f = *state;
    struct kist_bucket *made = create(f, "sessions"), *nameless = create(f, NULL), *b = NULL;
    struct kist_bucket_info info;
    put(made, "k", "v");
    assert_int_equal(kist_bucket_open(f->store, "sessions", &b), 0);
    expect(b, "k", "v");
    expect_none(f->bucket, "k");
    kist_bucket_close(&b);
    assert_int_equal(kist_bucket_describe(made, &info), 0);
    assert_int_equal(kist_bucket_open(f->store, info.id, &b), 0);
    expect(b, "k", "v");
    kist_bucket_close(&b);
    assert_int_equal(kist_bucket_describe(nameless, &info), 0);
    assert_string_equal(info.name, "");
    assert_int_equal(kist_bucket_open(f->store, info.id, &b), 0);
    kist_bucket_close(&b);
    assert_int_equal(kist_bucket_open(f->store, "nobody", &b), KIST_ENOBUCKET);
    assert_int_equal(kist_bucket_open(f->store, "", &b), KIST_ENOBUCKET);
    assert_int_equal(kist_bucket_open(f->store, NULL, &b), KIST_EINVAL);
    kist_bucket_close(&made);
    kist_bucket_close(&nameless);
}

static void ids_are_random_uuids_of_one_length(void **state)
{
    char a[KIST_BUCKET_ID_LEN + 1], b[KIST_BUCKET_ID_LEN + 1];
    (void)state;
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(bucketid_new(a), 0);
        assert_int_equal(bucketid_new(b), 0);
        assert_true(bucketid_is(a, strlen(a)));
        assert_string_not_equal(a, b);
    }
    assert_false(bucketid_is("111111111111111111111", 21));
    assert_false(bucketid_is("1111111111111111111110", 22));
}

static void names_are_utf8_without_control_characters(void **state)
{
    struct fixture *f = *state;
    char longest[KIST_BUCKET_NAME_MAX + 2];
    static const char *const bad[] = {"",
                                      "a\nb",
                                      "a\x7f",
                                      "\xc2\x85",
                                      "\xff",
                                      "\xc0\xaf",
                                      "\xed\xa0\x80",
                                      "\xe2\x82",
                                      "\xf4\x90\x80\x80",
                                      "1111111111111111111111",
                                      "\xf0\x80\x80\xaf"};
    static const char *const good[] = {"a b", "k\xc3\xa4se", "../..", "\xf0\x9f\x98\x80", "111111111111111111111"};
    struct kist_bucket *b = NULL;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(kist_bucket_create(f->store, bad[i], NULL, &b), KIST_EINVAL);
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_int_equal(kist_bucket_create(f->store, good[i], NULL, &b), 0);
        kist_bucket_close(&b);
    }
    memset(longest, 'x', sizeof longest);
    longest[KIST_BUCKET_NAME_MAX + 1] = '\0';
    assert_int_equal(kist_bucket_create(f->store, longest, NULL, &b), KIST_ETOOBIG);
    longest[KIST_BUCKET_NAME_MAX] = '\0';
    assert_int_equal(kist_bucket_create(f->store, longest, NULL, &b), 0);
    kist_bucket_close(&b);
    assert_int_equal(kist_bucket_open(f->store, longest, &b), 0);
    kist_bucket_close(&b);
}

static void a_handle_follows_its_bucket_through_a_renaming(void **state)
{
    struct fixture *f = *state;
    struct kist_bucket *a = create(f, "a"), *b = create(f, "b"), *again = NULL;
    struct kist_bucket_info info;
    put(a, "k", "v");
    assert_int_equal(kist_bucket_rename(a, "b"), KIST_EEXIST);
    assert_int_equal(kist_bucket_rename(a, "bad\n"), KIST_EINVAL);
    assert_int_equal(kist_bucket_rename(a, "c"), 0);
    assert_int_equal(kist_bucket_rename(a, "c"), 0);
    expect(a, "k", "v");
    assert_int_equal(kist_bucket_describe(a, &info), 0);
    assert_string_equal(info.name, "c");
    assert_int_equal(kist_bucket_open(f->store, "a", &again), KIST_ENOBUCKET);
    assert_int_equal(kist_bucket_rename(b, "a"), 0);
    assert_int_equal(kist_bucket_open(f->store, "c", &again), 0);
    expect(again, "k", "v");
    kist_bucket_close(&again);
    kist_bucket_close(&a);
    kist_bucket_close(&b);
}

static void a_deleted_bucket_is_gone_for_every_handle(void **state)
{
    struct fixture *f = *state;
    struct kist_bucket *a = create(f, "a"), *other = NULL, *again = NULL;
    struct kist_bucket_info info;
    struct kist_value v;
    struct kist_txn *t = NULL;
    put(a, "k", "v");
    assert_int_equal(kist_bucket_open(f->store, "a", &other), 0);
    assert_int_equal(kist_bucket_delete(a), 0);
    assert_int_equal(kist_get(other, KIST_STR("k"), &v), KIST_ENOBUCKET);
    assert_int_equal(kist_put(other, KIST_STR("k"), KIST_STR("v"), NULL, NULL), KIST_ENOBUCKET);
    struct kist_put_options o = {.size = sizeof o, .ttl_ms = KIST_TTL_NEVER};
    assert_int_equal(kist_put(other, KIST_STR("k"), KIST_STR("v"), &o, NULL), KIST_ENOBUCKET);
    assert_int_equal(kist_begin(other, KIST_OPTIMISTIC, &t), KIST_ENOBUCKET);
    assert_int_equal(kist_bucket_describe(other, &info), KIST_ENOBUCKET);
    assert_int_equal(kist_bucket_rename(other, "x"), KIST_ENOBUCKET);
    assert_int_equal(kist_bucket_delete(other), KIST_ENOBUCKET);
    again = create(f, "a");
    expect_none(again, "k");
    assert_int_equal(kist_get(other, KIST_STR("k"), &v), KIST_ENOBUCKET);
    kist_bucket_close(&again);
    kist_bucket_close(&other);
    kist_bucket_close(&a);
}

static void the_number_of_a_deleted_bucket_is_not_used_again(void **state)
{
    struct fixture *f = *state;
    struct kist_bucket *a = create(f, "a"), *b = NULL;
    put(a, "k", "v");
    assert_int_equal(kist_bucket_delete(a), 0);
    b = create(f, "b");
    expect_none(b, "k");
    kist_bucket_close(&b);
    kist_bucket_close(&a);
}

struct names {
    struct fixture *f;
    char text[2000];
};

static int note_name(const struct kist_bucket_info *info, void *ctx)
{
    struct names *n = ctx;
    struct kist_bucket *b = NULL;
    size_t at = strlen(n->text);
    snprintf(n->text + at, sizeof n->text - at, "%s ", info->name[0] ? info->name : "?");
    assert_int_equal(kist_bucket_open(n->f->store, info->id, &b), 0); /* each() may use the store */
    put(b, "seen", "1");
    kist_bucket_close(&b);
    return strcmp(info->name, "stop") == 0 ? 42 : 0;
}

static void a_list_is_in_the_order_of_making(void **state)
{
    struct fixture *f = *state;
    struct names n = {.f = f};
    struct kist_stat stat = {.size = sizeof stat};
    struct kist_bucket *z = create(f, "z"), *a = create(f, "a"), *none = create(f, NULL);
    assert_int_equal(kist_bucket_list(f->store, note_name, &n), 0);
    assert_string_equal(n.text, "default z a ? ");
    assert_int_equal(kist_bucket_delete(z), 0);
    assert_int_equal(kist_stat(f->store, &stat), 0);
    assert_int_equal(stat.buckets, 3);
    assert_int_equal(kist_bucket_rename(a, "stop"), 0);
    n.text[0] = '\0';
    assert_int_equal(kist_bucket_list(f->store, note_name, &n), 42);
    assert_string_equal(n.text, "default stop ");
    kist_bucket_close(&z);
    kist_bucket_close(&a);
    kist_bucket_close(&none);
}

static void a_handle_sees_a_ttl_that_another_one_sets(void **state)
{
    struct fixture *f = *state;
    struct kist_bucket *other = NULL;
    struct kist_bucket_info info;
    put(f->bucket, "before", "v");
    assert_int_equal(kist_bucket_open(f->store, "default", &other), 0);
    assert_int_equal(kist_bucket_set_ttl(other, 60000), 0);
    assert_int_equal(kist_bucket_describe(f->bucket, &info), 0);
    assert_int_equal(info.default_ttl_ms, 60000);
    put(f->bucket, "after", "v");
    expect_expiry_in(f->bucket, "after", 60000);
    struct kist_txn *t = NULL;
    assert_int_equal(kist_bucket_set_ttl(other, 120000), 0);
    assert_int_equal(kist_begin(f->bucket, KIST_EXCLUSIVE, &t), 0);
    assert_int_equal(kist_txn_put(t, KIST_STR("txn"), KIST_STR("v"), NULL), 0);
    assert_int_equal(kist_commit(&t, NULL), 0);
    expect_expiry_in(f->bucket, "txn", 120000);
    kist_bucket_close(&other);
}

/* Two handles on one directory share nothing in memory, like two processes. */
static void another_handle_on_the_store_is_followed_at_once(void **state)
{
    struct fixture *f = *state, g = {.store = NULL};
    struct kist_bucket *here = NULL, *there = NULL;
    struct kist_value v;
    if (!f->dir[0])
        skip();
    memcpy(g.path, f->path, sizeof g.path);
    fixture_open(&g);
    here = create(f, "shared");
    assert_int_equal(kist_bucket_open(g.store, "shared", &there), 0);
    put(here, "k", "v");
    expect(there, "k", "v");
    assert_int_equal(kist_bucket_set_ttl(there, 60000), 0);
    put(here, "k", "w");
    expect_expiry_in(here, "k", 60000);
    assert_int_equal(kist_bucket_rename(there, "renamed"), 0);
    put(here, "k", "x");
    expect(there, "k", "x");
    assert_int_equal(kist_bucket_delete(there), 0);
    assert_int_equal(kist_get(here, KIST_STR("k"), &v), KIST_ENOBUCKET);
    assert_int_equal(kist_put(here, KIST_STR("k"), KIST_STR("y"), NULL, NULL), KIST_ENOBUCKET);
    kist_bucket_close(&here);
    kist_bucket_close(&there);
    fixture_close(&g);
}

static void what_is_not_a_bucket_record_is_corruption(void **state)
{
    struct fixture *f = *state;
    struct kist_bucket *a = create(f, "a"), *b = NULL;
    struct engine_ops const *ops = f->store->engine->ops;
    static const struct {
        uint8_t bytes[80];
        size_t len;
        int code;
    } rows[] = {{{0}, 0, KIST_ECORRUPT},
                {{1}, 20, KIST_ECORRUPT},
                {{2}, 60, KIST_ENEWER},
                {{1, 255, 255, 255, 255, 255, 255, 255, 255}, 60, KIST_ECORRUPT}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct engine_txn *t = NULL;
        uint64_t revision = 0;
        uint8_t key[9] = {'b', 0, 0, 0, 0, 0, 0, 0, 2};
        assert_int_equal(ops->begin(f->store->engine, ENGINE_CATALOG, ENGINE_EXCLUSIVE, &t), 0);
        assert_int_equal(ops->put(t, (struct kist_bytes){key, 9}, (struct kist_bytes){rows[i].bytes, rows[i].len}, 0, 0, false),
                         0);
        assert_int_equal(ops->commit(&t, &revision), 0);
        assert_int_equal(kist_bucket_open(f->store, "a", &b), rows[i].code);
        assert_int_equal(kist_put(a, KIST_STR("k"), KIST_STR("v"), NULL, NULL), rows[i].code);
    }
    kist_bucket_close(&a);
}

int main(void)
{
    return FIXTURE_RUN(TEST(default_is_always_there_and_stays), TEST(a_bucket_opens_by_name_and_by_id),
                       TEST(ids_are_random_uuids_of_one_length), TEST(names_are_utf8_without_control_characters),
                       TEST(a_handle_follows_its_bucket_through_a_renaming), TEST(a_deleted_bucket_is_gone_for_every_handle),
                       TEST(the_number_of_a_deleted_bucket_is_not_used_again), TEST(a_list_is_in_the_order_of_making),
                       TEST(a_handle_sees_a_ttl_that_another_one_sets), TEST(another_handle_on_the_store_is_followed_at_once),
                       TEST(what_is_not_a_bucket_record_is_corruption));
}
