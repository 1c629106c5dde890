/* test_transfer.c: records and whole stores, out of one and into another. */
#include "fixture.h"

#include "base/buf.h"

#define HOUR INT64_C(3600000)

struct copy {
    struct kist_cursor *from;
    int left; /* then KIST_EIO; negative: no limit */
};

static int next_copy(struct kist_record *out, void *ctx)
{
    struct copy *c = ctx;
    if (c->left == 0)
        return KIST_EIO;
    c->left--;
    return kist_cursor_next(c->from, out);
}

static void fill(struct kist_bucket *b, int n)
{
    for (int i = 0; i < n; i++) {
        char key[16];
        snprintf(key, sizeof key, "%05d", i);
        put(b, key, key);
    }
}

static uint64_t count(struct kist_bucket *b)
{
    uint64_t n = 0;
    assert_int_equal(kist_count(b, (struct kist_bytes){NULL, 0}, &n), 0);
    return n;
}

static void an_export_that_is_imported_is_the_same(void **state)
{
    struct fixture *f = *state;
    struct kist_put_options o = {.size = sizeof o, .type = KIST_JSON, .ttl_ms = HOUR};
    struct kist_bucket *to = NULL;
    struct copy c = {.left = -1};
    struct kist_value v = {0};
    uint64_t n = 0;
    fill(f->bucket, 1500);
    assert_int_equal(kist_put(f->bucket, KIST_STR("json"), KIST_STR("[1]"), &o, NULL), 0);
    assert_int_equal(kist_bucket_create(f->store, "to", NULL, &to), 0);
    assert_int_equal(kist_cursor_open(f->bucket, NULL, &c.from), 0);
    assert_int_equal(kist_import(to, next_copy, &c, &n), 0);
    kist_cursor_close(&c.from);
    assert_int_equal(n, 1501);
    assert_int_equal(count(to), 1501);
    expect(to, "00777", "00777");
    assert_int_equal(kist_get(to, KIST_STR("json"), &v), 0);
    assert_int_equal(v.type, KIST_JSON);
    assert_int_equal(v.expires_ms, expires(f->bucket, "json"));
    kist_value_free(&v);
    assert_int_equal(expires(to, "00001"), 0);
    kist_bucket_close(&to);
}

static void an_import_that_fails_tells_what_is_durable(void **state)
{
    struct fixture *f = *state;
    struct kist_bucket *to = NULL;
    struct copy c = {.left = 1200};
    uint64_t n = 0;
    fill(f->bucket, 1500);
    assert_int_equal(kist_bucket_create(f->store, "to", NULL, &to), 0);
    assert_int_equal(kist_cursor_open(f->bucket, NULL, &c.from), 0);
    assert_int_equal(kist_import(to, next_copy, &c, &n), KIST_EIO);
    kist_cursor_close(&c.from);
    assert_int_equal(n, 1000);
    assert_int_equal(count(to), 1000);
    kist_bucket_close(&to);
}

struct list {
    struct kist_record records[3];
    int n, at;
};

static int next_of(struct kist_record *out, void *ctx)
{
    struct list *l = ctx;
    if (l->at == l->n)
        return KIST_EEND;
    *out = l->records[l->at++];
    return 0;
}

static void an_import_checks_what_it_is_given(void **state)
{
    struct fixture *f = *state;
    static char big[5 << 20];
    struct list bad = {.records = {{.key = KIST_STR("k"), .value = KIST_STR("x"), .type = KIST_INT}}, .n = 1};
    uint64_t n = 9;
    assert_int_equal(kist_import(f->bucket, next_of, &bad, &n), KIST_ETYPE);
    assert_int_equal(n, 0);
    bad = (struct list){.records = {{.key = {"", 0}}}, .n = 1};
    assert_int_equal(kist_import(f->bucket, next_of, &bad, NULL), KIST_EINVAL);
    bad = (struct list){.records = {{.key = KIST_STR("k"), .expires_ms = -5}}, .n = 1};
    assert_int_equal(kist_import(f->bucket, next_of, &bad, NULL), KIST_EINVAL);
    assert_int_equal(kist_import(f->bucket, NULL, NULL, NULL), KIST_EINVAL);
    struct list good = {.records = {{.key = KIST_STR("a"), .value = {big, sizeof big}},
                                    {.key = KIST_STR("b"), .value = KIST_STR("7"), .type = KIST_DETECT},
                                    {.key = KIST_STR("c"), .value = {big, sizeof big}}},
                        .n = 3};
    assert_int_equal(kist_import(f->bucket, next_of, &good, &n), 0);
    assert_int_equal(n, 3);
    struct kist_value info;
    assert_int_equal(kist_describe(f->bucket, KIST_STR("b"), &info), 0);
    assert_int_equal(info.type, KIST_INT);
}

static void an_imported_record_without_expiry_gets_the_default(void **state)
{
    struct fixture *f = *state;
    struct list l = {.records = {{.key = KIST_STR("a")}, {.key = KIST_STR("b"), .expires_ms = os_now_ms() + 9 * HOUR}}, .n = 2};
    assert_int_equal(kist_bucket_set_ttl(f->bucket, HOUR), 0);
    assert_int_equal(kist_import(f->bucket, next_of, &l, NULL), 0);
    expect_expiry_in(f->bucket, "a", HOUR);
    put(f->bucket, "b", "updated");
    expect_expiry_in(f->bucket, "b", 9 * HOUR);
}

static void a_never_that_was_asked_for_survives_export_and_import(void **state)
{
    struct fixture *f = *state;
    struct kist_bucket *to = NULL;
    struct kist_bucket_options with_ttl = {.size = sizeof with_ttl, .default_ttl_ms = HOUR};
    struct copy c = {.left = -1};
    struct list bad = {.records = {{.key = KIST_STR("k"), .expires_ms = os_now_ms() + HOUR, .never = true}}, .n = 1};
    put(f->bucket, "usual", "1");
    put_ttl(f->bucket, "kept", "2", KIST_TTL_NEVER);
    put_ttl(f->bucket, "ends", "3", 9 * HOUR);
    assert_int_equal(kist_bucket_create(f->store, "to", &with_ttl, &to), 0);
    assert_int_equal(kist_cursor_open(f->bucket, NULL, &c.from), 0);
    assert_int_equal(kist_import(to, next_copy, &c, NULL), 0);
    kist_cursor_close(&c.from);
    expect_expiry_in(to, "usual", HOUR);
    assert_int_equal(expires(to, "kept"), 0);
    expect_expiry_in(to, "ends", 9 * HOUR);
    put(to, "kept", "updated");
    assert_int_equal(expires(to, "kept"), 0);
    assert_int_equal(kist_import(to, next_of, &bad, NULL), KIST_EINVAL);
    kist_bucket_close(&to);
}

static int stop_at_second(const struct kist_record *record, void *ctx)
{
    (void)record;
    return ++*(int *)ctx == 2 ? 42 : 0;
}

static void an_export_ends_when_it_is_told_to(void **state)
{
    struct fixture *f = *state;
    struct kist_range range = {.size = sizeof range, .prefix = KIST_STR("0000")};
    int calls = 0;
    fill(f->bucket, 20);
    assert_int_equal(kist_export(f->bucket, &range, stop_at_second, &calls), 42);
    calls = 2;
    assert_int_equal(kist_export(f->bucket, &range, stop_at_second, &calls), 0);
    assert_int_equal(calls, 12);
    assert_int_equal(kist_export(f->bucket, NULL, NULL, NULL), KIST_EINVAL);
}

static int to_buf(const void *data, size_t len, void *ctx)
{
    buf_add(ctx, data, len);
    return buf_status(ctx);
}

struct from {
    const struct buf *b;
    size_t at;
};

static int from_buf(void *data, size_t len, size_t *out_n, void *ctx)
{
    struct from *f = ctx;
    size_t n = f->b->len - f->at < len ? f->b->len - f->at : len;
    memcpy(data, f->b->data + f->at, n);
    f->at += n;
    *out_n = n;
    return 0;
}

static void expect_restored(const char path[290], uint64_t revision)
{
    struct fixture g = {.dir = ""};
    uint64_t n = 0;
    snprintf(g.path, sizeof g.path, "%.289s", path);
    fixture_open(&g);
    expect(g.bucket, "00001", "00001");
    assert_int_equal(kist_revision(g.store, &n), 0);
    assert_true(n >= revision);
    fixture_close(&g);
}

static void a_backup_is_restored_to_a_new_place(void **state)
{
    struct fixture *f = *state;
    struct kist_options o = fixture_options();
    struct buf b;
    uint64_t revision = 0;
    char path[290];
    if (!f->dir[0])
        skip();
    buf_init(&b, false);
    fill(f->bucket, 50);
    assert_int_equal(kist_backup(f->store, 0, to_buf, &b, &revision), 0);
    snprintf(path, sizeof path, "%s/copy", f->dir);
    assert_int_equal(kist_restore(path, &o, from_buf, &(struct from){.b = &b}), 0);
    expect_restored(path, revision);
    assert_int_equal(kist_restore(path, &o, from_buf, &(struct from){.b = &b}), KIST_EEXIST);
    buf_done(&b);
}

static void a_restore_needs_a_place_and_a_key(void **state)
{
    struct fixture *f = *state;
    struct kist_options o = fixture_options();
    struct kist_detail detail = {""};
    struct buf empty;
    buf_init(&empty, false);
    o.detail = &detail;
    assert_int_equal(kist_restore(":memory:", &o, from_buf, &(struct from){.b = &empty}), KIST_EINVAL);
    assert_non_null(strstr(detail.text, "directory"));
    o.key.kind = KIST_SECRET_NONE;
    assert_int_equal(kist_restore("/nowhere", &o, from_buf, &(struct from){.b = &empty}), KIST_EINVAL);
    assert_int_equal(kist_restore("/nowhere", &o, NULL, NULL), KIST_EINVAL);
    assert_int_equal(kist_backup(f->store, 0, NULL, NULL, NULL), KIST_EINVAL);
}

int main(void)
{
    return FIXTURE_RUN(TEST(an_export_that_is_imported_is_the_same), TEST(an_import_that_fails_tells_what_is_durable),
                       TEST(an_import_checks_what_it_is_given), TEST(an_imported_record_without_expiry_gets_the_default),
                       TEST(a_never_that_was_asked_for_survives_export_and_import), TEST(an_export_ends_when_it_is_told_to),
                       TEST(a_backup_is_restored_to_a_new_place), TEST(a_restore_needs_a_place_and_a_key));
}
