/* test_ops.c: what a TTL means at each update, at the ends of time, and what a transaction comes to
 * depend on. */
#include "fixture.h"

#include "model/ops.h"

#define HOUR INT64_C(3600000)

static struct kist_bucket *with_default(struct fixture *f, int64_t ttl_ms)
{
    struct kist_bucket_options o = {.size = sizeof o, .default_ttl_ms = ttl_ms};
    struct kist_bucket *b = NULL;
    assert_int_equal(kist_bucket_create(f->store, "ttl", &o, &b), 0);
    return b;
}

static void a_ttl_that_was_given_stays_until_another_is_given(void **state)
{
    struct fixture *f = *state;
    put(f->bucket, "k", "v");
    assert_int_equal(expires(f->bucket, "k"), 0);
    put_ttl(f->bucket, "k", "v", HOUR);
    int64_t at = expires(f->bucket, "k");
    os_clock_skew_ms = 1000;
    put(f->bucket, "k", "w");
    assert_int_equal(expires(f->bucket, "k"), at);
    put_ttl(f->bucket, "k", "w", 2 * HOUR);
    expect_expiry_in(f->bucket, "k", 2 * HOUR);
    put_ttl(f->bucket, "k", "w", KIST_TTL_NEVER);
    assert_int_equal(expires(f->bucket, "k"), 0);
}

static void a_default_ttl_restarts_at_each_update(void **state)
{
    struct fixture *f = *state;
    struct kist_bucket *b = with_default(f, HOUR);
    put(b, "k", "v");
    expect_expiry_in(b, "k", HOUR);
    os_clock_skew_ms = HOUR / 2;
    put(b, "k", "w");
    expect_expiry_in(b, "k", HOUR);
    assert_int_equal(kist_append(b, KIST_STR("k"), KIST_STR("x"), NULL, NULL, NULL), 0);
    os_clock_skew_ms = HOUR;
    assert_int_equal(kist_append(b, KIST_STR("k"), KIST_STR("x"), NULL, NULL, NULL), 0);
    expect_expiry_in(b, "k", HOUR);
    kist_bucket_close(&b);
}

static void a_records_own_ttl_beats_the_default_for_good(void **state)
{
    struct fixture *f = *state;
    struct kist_bucket *b = with_default(f, HOUR);
    put_ttl(b, "long", "v", 10 * HOUR);
    put_ttl(b, "ever", "v", KIST_TTL_NEVER);
    int64_t at = expires(b, "long");
    put(b, "long", "w");
    put(b, "ever", "w");
    assert_int_equal(expires(b, "long"), at);
    assert_int_equal(expires(b, "ever"), 0);
    assert_int_equal(kist_expire(b, KIST_STR("ever"), 2 * HOUR, NULL), 0);
    put(b, "ever", "x");
    expect_expiry_in(b, "ever", 2 * HOUR);
    assert_int_equal(kist_delete(b, KIST_STR("ever"), NULL, NULL, NULL), 0);
    put(b, "ever", "new");
    expect_expiry_in(b, "ever", HOUR);
    kist_bucket_close(&b);
}

static void a_default_that_comes_or_goes_counts_from_the_next_update(void **state)
{
    struct fixture *f = *state;
    struct kist_bucket *b = with_default(f, 0), *other = NULL;
    put(b, "k", "v");
    assert_int_equal(kist_bucket_open(f->store, "ttl", &other), 0);
    assert_int_equal(kist_bucket_set_ttl(other, HOUR), 0);
    assert_int_equal(expires(b, "k"), 0);
    put(b, "k", "w");
    expect_expiry_in(b, "k", HOUR);
    int64_t at = expires(b, "k");
    assert_int_equal(kist_bucket_set_ttl(other, 0), 0);
    put(b, "k", "x");
    assert_int_equal(expires(b, "k"), at);
    put(b, "new", "x");
    assert_int_equal(expires(b, "new"), 0);
    kist_bucket_close(&other);
    kist_bucket_close(&b);
}

static void an_expired_record_is_not_there(void **state)
{
    struct fixture *f = *state;
    int64_t left = 0;
    struct kist_put_options absent = {.size = sizeof absent, .flags = KIST_IF_ABSENT};
    put_ttl(f->bucket, "k", "v", 5000);
    assert_int_equal(kist_ttl(f->bucket, KIST_STR("k"), &left), 0);
    assert_in_range(left, 1, 5000);
    os_clock_skew_ms = 6000;
    expect_none(f->bucket, "k");
    assert_int_equal(kist_ttl(f->bucket, KIST_STR("k"), &left), KIST_ENOKEY);
    assert_int_equal(kist_expire(f->bucket, KIST_STR("k"), HOUR, NULL), KIST_ENOKEY);
    int64_t n = 0;
    assert_int_equal(kist_put(f->bucket, KIST_STR("k"), KIST_STR("4"), &absent, NULL), 0);
    assert_int_equal(expires(f->bucket, "k"), 0);
    assert_int_equal(kist_increment(f->bucket, KIST_STR("k"), 1, NULL, &n, NULL), 0);
    assert_int_equal(n, 5);
}

static void expire_changes_the_time_and_nothing_else(void **state)
{
    struct fixture *f = *state;
    struct kist_put_options o = {.size = sizeof o, .type = KIST_JSON};
    struct kist_value v = {0};
    int64_t left = 0;
    assert_int_equal(kist_put(f->bucket, KIST_STR("k"), KIST_STR("[1]"), &o, NULL), 0);
    assert_int_equal(kist_ttl(f->bucket, KIST_STR("k"), &left), 0);
    assert_int_equal(left, KIST_TTL_NEVER);
    assert_int_equal(kist_expire(f->bucket, KIST_STR("k"), HOUR, NULL), 0);
    expect_expiry_in(f->bucket, "k", HOUR);
    assert_int_equal(kist_get(f->bucket, KIST_STR("k"), &v), 0);
    assert_int_equal(v.type, KIST_JSON);
    assert_memory_equal(v.data, "[1]", 3);
    kist_value_free(&v);
    assert_int_equal(kist_expire(f->bucket, KIST_STR("k"), KIST_TTL_NEVER, NULL), 0);
    assert_int_equal(expires(f->bucket, "k"), 0);
}

static void ttls_out_of_range_are_refused(void **state)
{
    struct fixture *f = *state;
    static const int64_t bad[] = {-2, INT64_MIN, KIST_TTL_MAX + 1, INT64_MAX};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct kist_put_options o = {.size = sizeof o, .ttl_ms = bad[i]};
        assert_int_equal(kist_put(f->bucket, KIST_STR("k"), KIST_STR("v"), &o, NULL), KIST_EINVAL);
        assert_int_equal(kist_expire(f->bucket, KIST_STR("k"), bad[i], NULL), KIST_EINVAL);
        assert_int_equal(kist_bucket_set_ttl(f->bucket, bad[i]), KIST_EINVAL);
    }
    assert_int_equal(kist_expire(f->bucket, KIST_STR("k"), KIST_TTL_KEEP, NULL), KIST_EINVAL);
    put_ttl(f->bucket, "k", "v", KIST_TTL_MAX);
    expect_expiry_in(f->bucket, "k", KIST_TTL_MAX);
}

static void time_at_its_ends_never_means_never(void **state)
{
    (void)state;
    assert_int_equal(ops_after(INT64_MAX - 5, 10), INT64_MAX);
    assert_int_equal(ops_after(-10, 10), 1);
    assert_int_equal(ops_after(INT64_MIN, 1), 1);
    assert_int_equal(ops_after(5, 10), 15);
}

static int noting(struct kist_txn *txn, void *ctx)
{
    (void)ctx;
    struct kist_put_options o = {.size = sizeof o, .ttl_ms = KIST_TTL_NEVER};
    return kist_txn_put(txn, KIST_STR("k"), KIST_STR("blind"), &o);
}

static void a_blind_write_depends_on_nothing(void **state)
{
    struct fixture *f = *state;
    struct kist_txn *t = NULL;
    put(f->bucket, "k", "0");
    assert_int_equal(kist_begin(f->bucket, KIST_OPTIMISTIC, &t), 0);
    assert_int_equal(noting(t, NULL), 0);
    put(f->bucket, "k", "1");
    assert_int_equal(kist_commit(&t, NULL), 0);
    expect(f->bucket, "k", "blind");
}

int main(void)
{
    return FIXTURE_RUN(TEST(a_ttl_that_was_given_stays_until_another_is_given), TEST(a_default_ttl_restarts_at_each_update),
                       TEST(a_records_own_ttl_beats_the_default_for_good),
                       TEST(a_default_that_comes_or_goes_counts_from_the_next_update), TEST(an_expired_record_is_not_there),
                       TEST(expire_changes_the_time_and_nothing_else), TEST(ttls_out_of_range_are_refused),
                       TEST(time_at_its_ends_never_means_never), TEST(a_blind_write_depends_on_nothing));
}
