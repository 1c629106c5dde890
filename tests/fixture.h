/* A fresh store for each test of the model room, once in memory and once in a directory that is
 * removed afterwards.
 *
 *     static void a_sentence(void **state) { struct fixture *f = *state; … f->bucket … }
 *     int main(void) { return FIXTURE_RUN(TEST(a_sentence), TEST(another)); } */
#ifndef KIST_TESTS_FIXTURE_H
#define KIST_TESTS_FIXTURE_H

#include "base/os.h"
#include "kist.h"

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct fixture {
    char dir[256];  /* temporary, "" in memory */
    char path[300]; /* of the store in it, or ":memory:" */
    struct kist_store *store;
    struct kist_bucket *bucket; /* "default" */
};

static bool fixture_memory;

static const uint8_t fixture_key[32] = {7, 1, 2, 3};

static inline struct kist_options fixture_options(void)
{
    return (struct kist_options){.size = sizeof(struct kist_options),
                                 .key = {.kind = KIST_SECRET_KEY, .ptr = fixture_key, .len = sizeof fixture_key}};
}

static inline struct kist_bytes bytes(const char *text)
{
    return (struct kist_bytes){text, strlen(text)};
}

static inline int fixture_remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st, (void)kind, (void)ftw;
    return remove(path);
}

static inline void fixture_open(struct fixture *f)
{
    struct kist_detail detail = {""};
    struct kist_options o = fixture_options();
    o.detail = &detail;
    int r = kist_open(f->path, &o, &f->store);
    if (r < 0)
        fail_msg("open: %s: %s", kist_error_name(r), detail.text);
    assert_int_equal(kist_bucket_open(f->store, "default", &f->bucket), 0);
}

static inline void fixture_close(struct fixture *f)
{
    kist_bucket_close(&f->bucket);
    kist_close(&f->store);
}

static inline int fixture_setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    const char *tmp = getenv("TMPDIR");
    snprintf(f->path, sizeof f->path, ":memory:");
    if (!fixture_memory) {
        snprintf(f->dir, sizeof f->dir, "%s/kist-test-XXXXXX", tmp && *tmp ? tmp : "/tmp");
        if (!mkdtemp(f->dir))
            return -1;
        snprintf(f->path, sizeof f->path, "%s/store", f->dir);
    }
    fixture_open(f);
    *state = f;
    return 0;
}

static inline int fixture_teardown(void **state)
{
    struct fixture *f = *state;
    fixture_close(f);
    os_clock_skew_ms = 0;
    if (f->dir[0])
        (void)nftw(f->dir, fixture_remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(f);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

static inline int fixture_run(const struct CMUnitTest *tests, size_t n, size_t bytes_each)
{
    int failed = 0;
    (void)bytes_each;
    fixture_memory = true;
    failed += _cmocka_run_group_tests("in memory", tests, n, NULL, NULL);
    fixture_memory = false;
    failed += _cmocka_run_group_tests("in a directory", tests, n, NULL, NULL);
    return failed ? 1 : 0;
}

#define FIXTURE_RUN(...)                                  \
    fixture_run((const struct CMUnitTest[]){__VA_ARGS__}, \
                sizeof((const struct CMUnitTest[]){__VA_ARGS__}) / sizeof(struct CMUnitTest), sizeof(struct CMUnitTest))

/* -- shorthand; each fails the test when the call does -- */

static inline uint64_t put(struct kist_bucket *b, const char *key, const char *value)
{
    uint64_t revision = 0;
    assert_int_equal(kist_put(b, bytes(key), bytes(value), NULL, &revision), 0);
    return revision;
}

static inline void put_ttl(struct kist_bucket *b, const char *key, const char *value, int64_t ttl_ms)
{
    struct kist_put_options o = {.size = sizeof o, .ttl_ms = ttl_ms};
    assert_int_equal(kist_put(b, bytes(key), bytes(value), &o, NULL), 0);
}

static inline void expect(struct kist_bucket *b, const char *key, const char *value)
{
    struct kist_value v = {0};
    assert_int_equal(kist_get(b, bytes(key), &v), 0);
    assert_int_equal(v.len, strlen(value));
    assert_memory_equal(v.data, value, v.len);
    kist_value_free(&v);
}

static inline void expect_none(struct kist_bucket *b, const char *key)
{
    struct kist_value v;
    assert_int_equal(kist_get(b, bytes(key), &v), KIST_ENOKEY);
}

static inline int64_t expires(struct kist_bucket *b, const char *key)
{
    struct kist_value v = {0};
    assert_int_equal(kist_describe(b, bytes(key), &v), 0);
    return v.expires_ms;
}

/* Is it in about so long from now? */
static inline void expect_expiry_in(struct kist_bucket *b, const char *key, int64_t ms)
{
    int64_t left = expires(b, key) - os_now_ms();
    assert_in_range(left + 10000, ms, ms + 10000);
}

#endif
