/* test_txn.c: transactions: what they see, when they conflict, and that the runner ends. */
#include "fixture.h"

#include <pthread.h>
#include <stdatomic.h>

static struct kist_txn *begin(struct fixture *f, enum kist_txn_mode mode)
{
    struct kist_txn *t = NULL;
    assert_int_equal(kist_begin(f->bucket, mode, &t), 0);
    return t;
}

static void expect_in(struct kist_txn *t, const char *key, const char *value)
{
    struct kist_value v = {0};
    assert_int_equal(kist_txn_get(t, bytes(key), &v), 0);
    assert_int_equal(v.len, strlen(value));
    assert_memory_equal(v.data, value, v.len);
    kist_value_free(&v);
}

static void it_sees_its_snapshot_and_its_own_writes(void **state)
{
    struct fixture *f = *state;
    struct kist_value v = {0};
    bool exists = true;
    put(f->bucket, "a", "1");
    struct kist_txn *t = begin(f, KIST_OPTIMISTIC);
    put(f->bucket, "b", "2");
    expect_in(t, "a", "1");
    assert_int_equal(kist_txn_exists(t, KIST_STR("b"), &exists), 0);
    assert_false(exists);
    assert_int_equal(kist_txn_put(t, KIST_STR("c"), KIST_STR("3"), NULL), 0);
    assert_int_equal(kist_txn_get(t, KIST_STR("c"), &v), 0);
    assert_int_equal(v.revision, 0);
    kist_value_free(&v);
    expect_none(f->bucket, "c");
    kist_abort(&t);
    assert_null(t);
    kist_abort(&t);
    kist_abort(NULL);
    expect_none(f->bucket, "c");
}

static void all_of_it_is_one_commit(void **state)
{
    struct fixture *f = *state;
    struct kist_value a, b;
    uint64_t revision = 0;
    bool existed = false;
    put(f->bucket, "gone", "x");
    struct kist_txn *t = begin(f, KIST_OPTIMISTIC);
    assert_int_equal(kist_txn_put(t, KIST_STR("a"), KIST_STR("1"), NULL), 0);
    assert_int_equal(kist_txn_increment(t, KIST_STR("a"), 4, NULL, NULL), 0);
    assert_int_equal(kist_txn_append(t, KIST_STR("b"), KIST_STR("xy"), NULL, NULL), 0);
    assert_int_equal(kist_txn_merge(t, KIST_STR("j"), KIST_STR("{\"a\":1}"), NULL), 0);
    assert_int_equal(kist_txn_increment_float(t, KIST_STR("f"), 1.5, NULL, NULL), 0);
    assert_int_equal(kist_txn_delete(t, KIST_STR("gone"), NULL, &existed), 0);
    assert_true(existed);
    assert_int_equal(kist_txn_expire(t, KIST_STR("b"), 60000), 0);
    assert_int_equal(kist_txn_expire(t, KIST_STR("gone"), 60000), KIST_ENOKEY);
    assert_int_equal(kist_commit(&t, &revision), 0);
    assert_null(t);
    expect(f->bucket, "a", "5");
    expect(f->bucket, "b", "xy");
    expect(f->bucket, "j", "{\"a\":1}");
    expect(f->bucket, "f", "1.5");
    expect_none(f->bucket, "gone");
    expect_expiry_in(f->bucket, "b", 60000);
    assert_int_equal(kist_describe(f->bucket, KIST_STR("a"), &a), 0);
    assert_int_equal(kist_describe(f->bucket, KIST_STR("b"), &b), 0);
    assert_int_equal(a.revision, revision);
    assert_int_equal(b.revision, revision);
}

static void a_failing_operation_leaves_it_as_it_was(void **state)
{
    struct fixture *f = *state;
    struct kist_put_options o = {.size = sizeof o, .flags = KIST_IF_ABSENT};
    struct kist_txn *t = begin(f, KIST_OPTIMISTIC);
    assert_int_equal(kist_txn_put(t, KIST_STR("a"), KIST_STR("x"), NULL), 0);
    assert_int_equal(kist_txn_put(t, KIST_STR("a"), KIST_STR("y"), &o), KIST_EEXIST);
    assert_int_equal(kist_txn_increment(t, KIST_STR("a"), 1, NULL, NULL), KIST_ETYPE);
    assert_int_equal(kist_txn_merge(t, KIST_STR("a"), KIST_STR("{}"), NULL), KIST_ETYPE);
    assert_int_equal(kist_txn_put(t, (struct kist_bytes){"", 0}, KIST_STR("y"), NULL), KIST_EINVAL);
    expect_in(t, "a", "x");
    assert_int_equal(kist_commit(&t, NULL), 0);
    expect(f->bucket, "a", "x");
}

static void what_was_read_and_changed_is_a_conflict(void **state)
{
    struct fixture *f = *state;
    struct kist_txn *t = begin(f, KIST_OPTIMISTIC);
    bool exists = true;
    assert_int_equal(kist_txn_exists(t, KIST_STR("a"), &exists), 0);
    assert_int_equal(kist_txn_put(t, KIST_STR("b"), KIST_STR("1"), NULL), 0);
    put(f->bucket, "a", "came");
    assert_int_equal(kist_commit(&t, NULL), KIST_ECONFLICT);
    assert_null(t);
    expect_none(f->bucket, "b");
}

static void what_was_not_read_is_none(void **state)
{
    struct fixture *f = *state;
    put(f->bucket, "a", "1");
    struct kist_txn *t = begin(f, KIST_OPTIMISTIC);
    expect_in(t, "a", "1");
    assert_int_equal(kist_txn_put(t, KIST_STR("b"), KIST_STR("1"), NULL), 0);
    put(f->bucket, "c", "other");
    assert_int_equal(kist_commit(&t, NULL), 0);
    expect(f->bucket, "b", "1");
}

static void reading_alone_never_conflicts(void **state)
{
    struct fixture *f = *state;
    uint64_t revision = 0;
    put(f->bucket, "a", "1");
    struct kist_txn *t = begin(f, KIST_OPTIMISTIC);
    uint64_t seen = kist_txn_revision(t);
    expect_in(t, "a", "1");
    put(f->bucket, "a", "2");
    expect_in(t, "a", "1");
    assert_int_equal(kist_commit(&t, &revision), 0);
    assert_int_equal(revision, seen);
}

static void if_revision_is_checked_at_once_and_again_at_the_commit(void **state)
{
    struct fixture *f = *state;
    struct kist_put_options o = {.size = sizeof o, .flags = KIST_IF_REVISION};
    o.if_revision = put(f->bucket, "a", "1");
    struct kist_txn *t = begin(f, KIST_OPTIMISTIC);
    assert_int_equal(kist_txn_put(t, KIST_STR("a"), KIST_STR("2"), &o), 0);
    assert_int_equal(kist_txn_put(t, KIST_STR("a"), KIST_STR("3"), &o), KIST_ECONFLICT); /* written by itself */
    put(f->bucket, "a", "x");
    assert_int_equal(kist_commit(&t, NULL), KIST_ECONFLICT);
    t = begin(f, KIST_OPTIMISTIC);
    assert_int_equal(kist_txn_put(t, KIST_STR("a"), KIST_STR("2"), &o), KIST_ECONFLICT);
    kist_abort(&t);
    expect(f->bucket, "a", "x");
}

static void a_snapshot_refuses_to_write(void **state)
{
    struct fixture *f = *state;
    struct kist_txn *t = begin(f, KIST_SNAPSHOT);
    assert_int_equal(kist_txn_put(t, KIST_STR("a"), KIST_STR("2"), NULL), KIST_EREADONLY);
    assert_int_equal(kist_txn_delete(t, KIST_STR("a"), NULL, NULL), KIST_EREADONLY);
    assert_int_equal(kist_txn_expire(t, KIST_STR("a"), 1000), KIST_EREADONLY);
    assert_int_equal(kist_commit(&t, NULL), 0);
    assert_int_equal(kist_begin(f->bucket, (enum kist_txn_mode)3, &t), KIST_EINVAL);
    assert_int_equal(kist_commit(&t, NULL), KIST_EINVAL);
}

static void the_bucket_handle_may_be_closed_before_the_commit(void **state)
{
    struct fixture *f = *state;
    struct kist_txn *t = begin(f, KIST_OPTIMISTIC);
    kist_bucket_close(&f->bucket);
    assert_int_equal(kist_txn_put(t, KIST_STR("a"), KIST_STR("2"), NULL), 0);
    assert_int_equal(kist_commit(&t, NULL), 0);
    assert_int_equal(kist_bucket_open(f->store, "default", &f->bucket), 0);
    expect(f->bucket, "a", "2");
}

/* -- the runner -- */

struct run {
    struct fixture *f;
    int calls, spoil; /* the first calls are made to conflict */
    int answer;
};

static int body(struct kist_txn *txn, void *ctx)
{
    struct run *r = ctx;
    r->calls++;
    int code = kist_txn_increment(txn, KIST_STR("n"), 1, NULL, NULL);
    if (code == 0 && r->calls <= r->spoil)
        put(r->f->bucket, "n", "10");
    return code < 0 ? code : r->answer;
}

static void run_repeats_after_a_conflict(void **state)
{
    struct fixture *f = *state;
    struct run r = {.f = f, .spoil = 3};
    uint64_t revision = 0;
    assert_int_equal(kist_run(f->bucket, KIST_OPTIMISTIC, body, &r, &revision), 0);
    assert_int_equal(r.calls, 4);
    assert_true(revision > 0);
    expect(f->bucket, "n", "11");
}

static void the_last_try_cannot_conflict(void **state)
{
    struct fixture *f = *state;
    struct run r = {.f = f, .spoil = 15};
    assert_int_equal(kist_run(f->bucket, KIST_OPTIMISTIC, body, &r, NULL), 0);
    assert_int_equal(r.calls, 16);
    expect(f->bucket, "n", "11");
}

static void run_returns_what_the_body_answers_and_rolls_back(void **state)
{
    struct fixture *f = *state;
    struct run r = {.f = f, .answer = KIST_ECONFLICT};
    assert_int_equal(kist_run(f->bucket, KIST_OPTIMISTIC, body, &r, NULL), KIST_ECONFLICT);
    assert_int_equal(r.calls, 1);
    expect_none(f->bucket, "n");
    assert_int_equal(kist_run(f->bucket, KIST_OPTIMISTIC, NULL, NULL, NULL), KIST_EINVAL);
    assert_int_equal(kist_run(NULL, KIST_OPTIMISTIC, body, &r, NULL), KIST_EINVAL);
}

static int read_then_write(struct kist_txn *txn, void *ctx)
{
    struct kist_value v = {0};
    char text[32];
    int n = 0;
    (void)ctx;
    int r = kist_txn_get(txn, KIST_STR("n"), &v);
    if (r == 0) {
        snprintf(text, sizeof text, "%.*s", (int)v.len, (const char *)v.data);
        n = (int)strtol(text, NULL, 10);
    } else if (r != KIST_ENOKEY)
        return r;
    kist_value_free(&v);
    snprintf(text, sizeof text, "%d", n + 1);
    return kist_txn_put(txn, KIST_STR("n"), bytes(text), NULL);
}

static void *run_many(void *ctx)
{
    for (int i = 0; i < 50; i++)
        if (kist_run(ctx, KIST_OPTIMISTIC, read_then_write, NULL, NULL) < 0)
            return ctx;
    return NULL;
}

static void threads_that_collide_lose_nothing(void **state)
{
    struct fixture *f = *state;
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, run_many, f->bucket), 0);
    for (int i = 0; i < 4; i++) {
        void *failed = NULL;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    expect(f->bucket, "n", "200");
}

static void deleting_blindly_depends_on_nothing(void **state)
{
    struct fixture *f = *state;
    put(f->bucket, "a", "1");
    struct kist_txn *t = begin(f, KIST_OPTIMISTIC);
    assert_int_equal(kist_txn_delete(t, KIST_STR("a"), NULL, NULL), 0);
    put(f->bucket, "a", "2");
    assert_int_equal(kist_commit(&t, NULL), 0);
    expect_none(f->bucket, "a");
}

static void deleting_looks_at_neither_type_nor_ttl(void **state)
{
    struct fixture *f = *state;
    struct kist_put_options o = {.size = sizeof o, .type = (enum kist_type)77, .ttl_ms = -5};
    put(f->bucket, "a", "1");
    struct kist_txn *t = begin(f, KIST_OPTIMISTIC);
    assert_int_equal(kist_txn_delete(t, KIST_STR("a"), &o, NULL), 0);
    assert_int_equal(kist_commit(&t, NULL), 0);
    expect_none(f->bucket, "a");
}

static void putting_blindly_depends_on_nothing(void **state)
{
    struct fixture *f = *state;
    put(f->bucket, "a", "1");
    struct kist_txn *t = begin(f, KIST_OPTIMISTIC);
    assert_int_equal(kist_txn_put(t, KIST_STR("a"), KIST_STR("mine"), NULL), 0);
    put(f->bucket, "a", "2");
    assert_int_equal(kist_commit(&t, NULL), 0);
    expect(f->bucket, "a", "mine");
}

/* KIST_TTL_KEEP means the record that the commit finds, not the one that was there at the put. */
static void putting_keeps_the_ttl_that_the_commit_finds(void **state)
{
    struct fixture *f = *state;
    put(f->bucket, "given", "1");
    put_ttl(f->bucket, "taken", "1", 50000);
    put_ttl(f->bucket, "dies", "1", 50000);
    struct kist_txn *t = begin(f, KIST_OPTIMISTIC);
    assert_int_equal(kist_txn_put(t, KIST_STR("given"), KIST_STR("2"), NULL), 0);
    assert_int_equal(kist_txn_put(t, KIST_STR("taken"), KIST_STR("2"), NULL), 0);
    assert_int_equal(kist_txn_put(t, KIST_STR("dies"), KIST_STR("2"), NULL), 0);
    assert_int_equal(kist_expire(f->bucket, KIST_STR("given"), 70000, NULL), 0);
    assert_int_equal(kist_expire(f->bucket, KIST_STR("taken"), KIST_TTL_NEVER, NULL), 0);
    assert_int_equal(kist_delete(f->bucket, KIST_STR("dies"), NULL, NULL, NULL), 0);
    assert_int_equal(kist_commit(&t, NULL), 0);
    expect_expiry_in(f->bucket, "given", 70000);
    assert_int_equal(expires(f->bucket, "taken"), 0);
    assert_int_equal(expires(f->bucket, "dies"), 0);
}

/* Who looks at the record that it has put blindly has read what its expiry depends on. */
static void looking_at_a_blind_put_is_a_read(void **state)
{
    struct fixture *f = *state;
    struct kist_value v = {0};
    put_ttl(f->bucket, "a", "1", 50000);
    struct kist_txn *t = begin(f, KIST_OPTIMISTIC);
    assert_int_equal(kist_txn_put(t, KIST_STR("a"), KIST_STR("2"), NULL), 0);
    assert_int_equal(kist_txn_get(t, KIST_STR("a"), &v), 0);
    assert_int_equal(v.expires_ms, expires(f->bucket, "a"));
    kist_value_free(&v);
    assert_int_equal(kist_expire(f->bucket, KIST_STR("a"), 90000, NULL), 0);
    assert_int_equal(kist_commit(&t, NULL), KIST_ECONFLICT);
}

static void a_later_put_keeps_the_ttl_of_an_earlier_one_in_the_same_transaction(void **state)
{
    struct fixture *f = *state;
    struct kist_put_options o = {.size = sizeof o, .ttl_ms = 60000};
    put_ttl(f->bucket, "b", "1", 80000);
    put_ttl(f->bucket, "c", "1", 80000);
    struct kist_txn *t = begin(f, KIST_OPTIMISTIC);
    assert_int_equal(kist_txn_put(t, KIST_STR("a"), KIST_STR("1"), &o), 0);
    assert_int_equal(kist_txn_put(t, KIST_STR("a"), KIST_STR("2"), NULL), 0);
    assert_int_equal(kist_txn_put(t, KIST_STR("b"), KIST_STR("2"), NULL), 0);
    assert_int_equal(kist_txn_put(t, KIST_STR("b"), KIST_STR("3"), NULL), 0);
    assert_int_equal(kist_txn_delete(t, KIST_STR("c"), NULL, NULL), 0);
    assert_int_equal(kist_txn_put(t, KIST_STR("c"), KIST_STR("2"), NULL), 0);
    assert_int_equal(kist_commit(&t, NULL), 0);
    expect_expiry_in(f->bucket, "a", 60000);
    expect_expiry_in(f->bucket, "b", 80000);
    assert_int_equal(expires(f->bucket, "c"), 0);
    expect(f->bucket, "b", "3");
}

/* More puts than are searched one by one. */
static void many_blind_puts_keep_what_each_record_has(void **state)
{
    struct fixture *f = *state;
    char key[16];
    for (int i = 0; i < 100; i++) {
        (void)snprintf(key, sizeof key, "%03d", i);
        if (i % 3 == 0)
            put_ttl(f->bucket, key, "1", 1000000 + 1000 * i);
        else if (i % 3 == 1)
            put(f->bucket, key, "1");
    }
    struct kist_txn *t = begin(f, KIST_OPTIMISTIC);
    for (int i = 0; i < 100; i++) {
        (void)snprintf(key, sizeof key, "%03d", i);
        assert_int_equal(kist_txn_put(t, bytes(key), KIST_STR("2"), NULL), 0);
    }
    assert_int_equal(kist_commit(&t, NULL), 0);
    for (int i = 0; i < 100; i++) {
        (void)snprintf(key, sizeof key, "%03d", i);
        expect(f->bucket, key, "2");
        if (i % 3 == 0)
            expect_expiry_in(f->bucket, key, 1000000 + 1000 * i);
        else
            assert_int_equal(expires(f->bucket, key), 0);
    }
}

int main(void)
{
    return FIXTURE_RUN(TEST(it_sees_its_snapshot_and_its_own_writes), TEST(all_of_it_is_one_commit),
                       TEST(a_failing_operation_leaves_it_as_it_was), TEST(what_was_read_and_changed_is_a_conflict),
                       TEST(what_was_not_read_is_none), TEST(reading_alone_never_conflicts),
                       TEST(if_revision_is_checked_at_once_and_again_at_the_commit), TEST(a_snapshot_refuses_to_write),
                       TEST(the_bucket_handle_may_be_closed_before_the_commit), TEST(run_repeats_after_a_conflict),
                       TEST(the_last_try_cannot_conflict), TEST(run_returns_what_the_body_answers_and_rolls_back),
                       TEST(threads_that_collide_lose_nothing), TEST(deleting_blindly_depends_on_nothing),
                       TEST(deleting_looks_at_neither_type_nor_ttl), TEST(putting_blindly_depends_on_nothing),
                       TEST(putting_keeps_the_ttl_that_the_commit_finds), TEST(looking_at_a_blind_put_is_a_read),
                       TEST(a_later_put_keeps_the_ttl_of_an_earlier_one_in_the_same_transaction),
                       TEST(many_blind_puts_keep_what_each_record_has));
}
