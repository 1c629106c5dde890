/* Parcels: one value, sealed, without a store; whatever happens to the bytes, never another value.
 */
#include "fixture.h"

#include "base/buf.h"

#include <sys/wait.h>
#include <unistd.h>

static uint8_t key[32] = "0123456789abcdef0123456789abcdef";
static uint8_t other_key[32] = "another key, another key, anothe";

struct pipe {
    struct buf bytes;
    size_t at;
    size_t slice; /* bytes a read gives at most; 0: all */
    int fail;     /* what the callback answers, when the time has come */
    size_t fail_after;
};

static int pipe_write(const void *data, size_t len, void *ctx)
{
    struct pipe *p = ctx;
    if (p->fail && p->bytes.len + len > p->fail_after)
        return p->fail;
    buf_add(&p->bytes, data, len);
    return buf_status(&p->bytes);
}

static int pipe_read(void *data, size_t len, size_t *out_n, void *ctx)
{
    struct pipe *p = ctx;
    size_t n = p->bytes.len - p->at;
    if (p->fail && p->at >= p->fail_after)
        return p->fail;
    if (n > len)
        n = len;
    if (p->slice && n > p->slice)
        n = p->slice;
    if (n)
        memcpy(data, p->bytes.data + p->at, n);
    p->at += n;
    *out_n = n;
    return 0;
}

static struct kist_parcel_options with(const uint8_t *k, int compress)
{
    return (struct kist_parcel_options){
        .size = sizeof(struct kist_parcel_options), .key = {.kind = KIST_SECRET_KEY, .ptr = k, .len = 32}, .compress = compress};
}

static struct kist_value value_of(const void *p, size_t len, enum kist_type type)
{
    return (struct kist_value){
        .data = (void *)(uintptr_t)p, .len = len, .type = type, .revision = 9, .expires_ms = 1234567890123};
}

static void seal(struct pipe *p, const struct kist_value *v, int compress)
{
    struct kist_parcel_options o = with(key, compress);
    *p = (struct pipe){.slice = 0};
    assert_int_equal(kist_parcel_write(v, &o, pipe_write, p), 0);
}

static int open_with(struct pipe *p, const uint8_t *k, struct kist_value *out)
{
    struct kist_parcel_options o = with(k, 0);
    p->at = 0;
    return kist_parcel_read(&o, pipe_read, p, out);
}

static void values_of_all_sizes_and_types_come_back(void **state)
{
    static const size_t sizes[] = {0, 1, 26, 65509, 65510, 65511, 65536, 131072, 1000000};
    uint8_t *bytes = malloc(1000000);
    (void)state;
    assert_int_equal(os_random(bytes, 500000), 0);
    memset(bytes + 500000, 'a', 500000);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        for (int compress = 0; compress < 6; compress += 3) {
            struct pipe p;
            struct kist_value v = value_of(bytes + (1000000 - sizes[i]) / 2, sizes[i], (enum kist_type)(i % 4)), back;
            seal(&p, &v, compress);
            p.slice = i % 2 ? 1000 : 0;
            assert_int_equal(open_with(&p, key, &back), 0);
            assert_non_null(back.data);
            assert_int_equal(back.len, v.len);
            assert_memory_equal(back.data, v.data, v.len);
            assert_int_equal(back.type, v.type);
            assert_true(back.expires_ms == v.expires_ms && back.revision == 0);
            kist_value_free(&back);
            buf_done(&p.bytes);
        }
    free(bytes);
}

static void packing_makes_it_small_and_nothing_is_readable(void **state)
{
    char text[5000];
    struct pipe plain, packed;
    (void)state;
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = "canary "[i % 7];
    struct kist_value v = value_of(text, sizeof text, KIST_RAW);
    seal(&plain, &v, 0);
    seal(&packed, &v, 3);
    assert_true(plain.bytes.len > 5000 && packed.bytes.len < 500);
    assert_null(memmem(plain.bytes.data, plain.bytes.len, "canary", 6));
    assert_null(memmem(packed.bytes.data, packed.bytes.len, "canary", 6));
    buf_done(&plain.bytes);
    buf_done(&packed.bytes);
}

static void a_wrong_key_a_foreign_file_and_damage_are_three_errors(void **state)
{
    struct pipe p;
    struct kist_value v = value_of("secret", 6, KIST_RAW), back = {.len = 77};
    (void)state;
    seal(&p, &v, 0);
    assert_int_equal(open_with(&p, other_key, &back), KIST_EKEY);
    p.bytes.data[p.bytes.len - 1] ^= 1;
    assert_int_equal(open_with(&p, key, &back), KIST_ECORRUPT);
    memset(p.bytes.data, 'x', 8);
    assert_int_equal(open_with(&p, key, &back), KIST_ENOTKIST);
    assert_int_equal(back.len, 77);
    buf_done(&p.bytes);
}

static void no_flipped_missing_or_added_byte_gives_a_value(void **state)
{
    struct pipe p;
    struct kist_value v = value_of("the one and only value", 22, KIST_RAW), back;
    (void)state;
    seal(&p, &v, 0);
    for (size_t i = 0; i < p.bytes.len; i++)
        for (unsigned flip = 1; flip < 256; flip <<= 1) {
            p.bytes.data[i] ^= (uint8_t)flip;
            assert_int_not_equal(open_with(&p, key, &back), 0);
            p.bytes.data[i] ^= (uint8_t)flip;
        }
    size_t whole = p.bytes.len;
    for (p.bytes.len = 0; p.bytes.len < whole; p.bytes.len++)
        assert_int_not_equal(open_with(&p, key, &back), 0);
    buf_add_u8(&p.bytes, 0);
    assert_int_not_equal(open_with(&p, key, &back), 0);
    buf_done(&p.bytes);
}

static void a_passphrase_opens_it_too(void **state)
{
    struct pipe p = {.slice = 0};
    struct kist_value v = value_of("x", 1, KIST_RAW), back;
    struct kist_parcel_options o = {.size = sizeof o, .key = {KIST_SECRET_PASSPHRASE, "correct horse", 13, 1, 8192}};
    (void)state;
    assert_int_equal(kist_parcel_write(&v, &o, pipe_write, &p), 0);
    assert_int_equal(kist_parcel_read(&o, pipe_read, &p, &back), 0);
    kist_value_free(&back);
    o.key.ptr = "correct horsf";
    p.at = 0;
    assert_int_equal(kist_parcel_read(&o, pipe_read, &p, &back), KIST_EKEY);
    assert_int_equal(open_with(&p, key, &back), KIST_EKEY);
    buf_done(&p.bytes);
}

static void what_the_callbacks_answer_is_passed_on(void **state)
{
    struct kist_value v = value_of("value", 5, KIST_RAW), back;
    struct kist_parcel_options o = with(key, 0);
    (void)state;
    for (size_t after = 0;; after += 8) {
        struct pipe p = {.fail = -4711, .fail_after = after};
        int r = kist_parcel_write(&v, &o, pipe_write, &p);
        size_t len = p.bytes.len;
        buf_done(&p.bytes);
        if (r == 0) {
            assert_true(after > 100 && len > 100);
            break;
        }
        assert_int_equal(r, -4711);
    }
    struct pipe p;
    seal(&p, &v, 0);
    p.slice = 16;
    for (p.fail_after = 0; p.fail_after < p.bytes.len; p.fail_after += 16) {
        p.fail = -4711;
        assert_int_equal(open_with(&p, key, &back), -4711);
    }
    buf_done(&p.bytes);
}

/* Each call in turn answers 1: never success, and the store has nothing of it. */
static void a_positive_answer_of_a_callback_is_an_error(void **state)
{
    struct fixture *f = *state;
    struct kist_value v = value_of("value", 5, KIST_RAW), back = {.len = 77};
    struct kist_parcel_options o = with(key, 0);
    struct pipe p;
    size_t after = 0;
    for (int r = KIST_EIO; r != 0; after += 8) {
        p = (struct pipe){.fail = 1, .fail_after = after};
        r = kist_parcel_write(&v, &o, pipe_write, &p);
        assert_true(r == KIST_EIO || (r == 0 && after > 100));
        buf_done(&p.bytes);
    }
    p = (struct pipe){.fail = 1};
    assert_int_equal(kist_stash(f->bucket, KIST_STR("k"), KIST_STR("value"), KIST_RAW, &o, pipe_write, &p), KIST_EIO);
    expect_none(f->bucket, "k");
    seal(&p, &v, 0);
    p.fail = 1;
    for (p.fail_after = 0; p.fail_after <= p.bytes.len; p.fail_after += 16) {
        assert_int_equal(open_with(&p, key, &back), KIST_EIO);
        p.at = 0;
        assert_int_equal(kist_unstash(NULL, KIST_STR("k"), &o, pipe_read, &p, KIST_STR("else"), &back), KIST_EIO);
        p.slice = 16;
    }
    assert_int_equal(back.len, 77);
    buf_done(&p.bytes);
}

/* At the end of its bytes it says that it gave one more than there was room for. */
static int pipe_boast(void *data, size_t len, size_t *out_n, void *ctx)
{
    struct pipe *p = ctx;
    int r = pipe_read(data, len, out_n, ctx);
    if (p->at >= p->fail_after)
        *out_n = len + 1;
    return r;
}

static void a_callback_that_gave_more_than_there_is_room_for_is_an_error(void **state)
{
    struct kist_value v = value_of("value", 5, KIST_RAW), back = {.len = 77};
    struct kist_parcel_options o = with(key, 0);
    struct pipe p;
    (void)state;
    seal(&p, &v, 0);
    p.slice = 16;
    for (p.fail_after = 0; p.fail_after <= p.bytes.len; p.fail_after += 16) {
        p.at = 0;
        assert_int_equal(kist_parcel_read(&o, pipe_boast, &p, &back), KIST_EIO);
        p.at = 0;
        assert_int_equal(kist_unstash(NULL, KIST_STR("k"), &o, pipe_boast, &p, KIST_STR("else"), &back), KIST_EIO);
    }
    assert_int_equal(back.len, 77);
    buf_done(&p.bytes);
}

static int read_nothing(void *data, size_t len, size_t *out_n, void *ctx)
{
    (void)data, (void)len, (void)out_n, (void)ctx;
    return 0;
}

static void a_callback_that_says_nothing_has_given_nothing(void **state)
{
    struct kist_parcel_options o = with(key, 0);
    struct kist_value back = {.len = 77};
    (void)state;
    assert_int_equal(kist_parcel_read(&o, read_nothing, NULL, &back), KIST_ECORRUPT);
    assert_int_equal(back.len, 77);
}

/* A parcel of costs ops and mem_kib, read with a secret that says max_ops and max_mem_kib. */
static int read_costing(uint32_t ops, uint32_t mem_kib, uint32_t max_ops, uint32_t max_mem_kib)
{
    struct kist_value v = value_of("x", 1, KIST_RAW), back = {0};
    struct kist_parcel_options o = {.size = sizeof o, .key = {KIST_SECRET_PASSPHRASE, "correct horse", 13, ops, mem_kib}};
    struct pipe p = {.slice = 0};
    assert_int_equal(kist_parcel_write(&v, &o, pipe_write, &p), 0);
    o.key.kdf_ops = max_ops;
    o.key.kdf_mem_kib = max_mem_kib;
    int r = kist_parcel_read(&o, pipe_read, &p, &back);
    kist_value_free(&back);
    buf_done(&p.bytes);
    return r;
}

static void a_parcel_that_costs_too_much_is_refused_unless_it_is_trusted(void **state)
{
    (void)state;
    assert_int_equal(read_costing(6, 8192, 0, 0), 0);
    assert_int_equal(read_costing(7, 8192, 0, 0), KIST_ETOOBIG);
    assert_int_equal(read_costing(7, 8192, 7, 0), 0);
    assert_int_equal(read_costing(2, 8192, 1, 0), KIST_ETOOBIG);
    assert_int_equal(read_costing(1, 262144, 0, 0), 0);
    assert_int_equal(read_costing(1, 262145, 0, 0), KIST_ETOOBIG);
    assert_int_equal(read_costing(1, 8193, 0, 8192), KIST_ETOOBIG);
    assert_int_equal(read_costing(0, 0, 0, 0), 0); /* what is written by default */
}

static void expect_no_stash(struct kist_bucket *b, struct kist_bytes k, int code)
{
    struct kist_parcel_options o = with(key, 0);
    struct pipe p = {.slice = 0};
    assert_int_equal(kist_stash(b, k, KIST_STR("v"), KIST_RAW, &o, pipe_write, &p), code);
    assert_int_equal(p.bytes.len, 0);
    buf_done(&p.bytes);
}

static void what_the_bucket_refuses_is_refused_before_the_parcel(void **state)
{
    static const char big[KIST_KEY_MAX + 1];
    struct fixture *f = *state;
    struct kist_options o = fixture_options();
    struct kist_detail detail;
    expect_no_stash(f->bucket, (struct kist_bytes){"", 0}, KIST_EINVAL);
    expect_no_stash(f->bucket, (struct kist_bytes){NULL, 3}, KIST_EINVAL);
    expect_no_stash(f->bucket, (struct kist_bytes){big, sizeof big}, KIST_ETOOBIG);
    fixture_close(f);
    o.mode = KIST_OPEN_READ_ONLY;
    assert_int_equal(kist_open(f->path, &o, &f->store), 0);
    assert_int_equal(kist_bucket_open(f->store, "default", &f->bucket), 0);
    expect_no_stash(f->bucket, KIST_STR("k"), KIST_EREADONLY);
    kist_detail(f->store, &detail);
    assert_non_null(strstr(detail.text, "read-only"));
    pid_t child = fork();
    if (child == 0) {
        struct kist_parcel_options with_key = with(key, 0);
        struct pipe p = {.slice = 0};
        int r = kist_stash(f->bucket, KIST_STR("k"), KIST_STR("v"), KIST_RAW, &with_key, pipe_write, &p);
        _exit(r == KIST_EFORK && p.bytes.len == 0 ? 0 : 1);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void arguments_out_of_range_are_invalid(void **state)
{
    struct pipe p = {.slice = 0};
    struct kist_value v = value_of("x", 1, KIST_DETECT), back;
    struct kist_parcel_options o = with(key, 0);
    uint8_t zero[32] = {0};
    (void)state;
    assert_int_equal(kist_parcel_write(&v, &o, pipe_write, &p), KIST_EINVAL);
    v.type = KIST_RAW;
    assert_int_equal(kist_parcel_write(&v, NULL, pipe_write, &p), KIST_EINVAL);
    assert_int_equal(kist_parcel_write(NULL, &o, pipe_write, &p), KIST_EINVAL);
    o.compress = 20;
    assert_int_equal(kist_parcel_write(&v, &o, pipe_write, &p), KIST_EINVAL);
    o = with(zero, 0);
    assert_int_equal(kist_parcel_write(&v, &o, pipe_write, &p), KIST_EINVAL);
    o.key.kind = KIST_SECRET_NONE;
    assert_int_equal(kist_parcel_write(&v, &o, pipe_write, &p), KIST_EINVAL);
    assert_int_equal(kist_stash(NULL, KIST_STR("k"), KIST_STR("v"), KIST_RAW, NULL, NULL, NULL), KIST_EINVAL);
    assert_int_equal(kist_unstash(NULL, KIST_STR("k"), NULL, NULL, NULL, (struct kist_bytes){0}, &back), KIST_ENOKEY);
    v.len = KIST_VALUE_MAX + 1;
    o = with(key, 0);
    assert_int_equal(kist_parcel_write(&v, &o, pipe_write, &p), KIST_ETOOBIG);
    assert_int_equal(p.bytes.len, 0);
}

static int allocations_left;
static int fail_allocation(const struct os_call *call)
{
    return call->kind == OS_ALLOC && allocations_left-- <= 0 ? -12 : 0;
}

static void every_allocation_may_fail(void **state)
{
    char text[300];
    struct kist_parcel_options o = with(key, 3);
    int r = KIST_ENOMEM, n = 0;
    (void)state;
    memset(text, 'a', sizeof text);
    struct kist_value v = value_of(text, sizeof text, KIST_RAW);
    for (; r == KIST_ENOMEM; n++) {
        struct pipe p = {.slice = 0};
        struct kist_value back;
        buf_init(&p.bytes, false);
        (void)buf_reserve(&p.bytes, 4096);
        allocations_left = n;
        os_hook = fail_allocation;
        r = kist_parcel_write(&v, &o, pipe_write, &p);
        if (r == 0)
            r = kist_parcel_read(&o, pipe_read, &p, &back);
        os_hook = NULL;
        if (r == 0)
            kist_value_free(&back);
        buf_done(&p.bytes);
    }
    assert_int_equal(r, 0);
    assert_true(n > 5);
}

static void assert_unstashed(struct kist_bucket *b, const char *k, struct pipe *p, const char *fallback, const char *expected,
                             enum kist_type type)
{
    struct kist_value v;
    struct kist_parcel_options o = with(key, 0);
    struct kist_bytes f = {fallback, fallback ? strlen(fallback) : 0};
    if (p)
        p->at = 0;
    int r = kist_unstash(b, (struct kist_bytes){k, strlen(k)}, &o, p ? pipe_read : NULL, p, f, &v);
    if (!expected) {
        assert_int_equal(r, KIST_ENOKEY);
        return;
    }
    assert_int_equal(r, 0);
    assert_int_equal(v.len, strlen(expected));
    assert_memory_equal(v.data, expected, v.len);
    assert_int_equal(v.type, type);
    kist_value_free(&v);
}

static void stash_puts_it_into_both_and_the_parcel_wins(void **state)
{
    struct kist_options options = {.size = sizeof options, .engine = KIST_ENGINE_MEMORY};
    struct kist_parcel_options o = with(key, 0);
    struct kist_store *s = NULL;
    struct kist_bucket *b = NULL;
    struct pipe p = {.slice = 0}, empty = {.slice = 0};
    (void)state;
    assert_int_equal(kist_open(":memory:", &options, &s), 0);
    assert_int_equal(kist_bucket_open(s, "default", &b), 0);
    assert_int_equal(kist_stash(b, KIST_STR("k"), KIST_STR("{}"), KIST_DETECT, &o, pipe_write, &p), 0);
    assert_int_equal(kist_put(b, KIST_STR("k"), KIST_STR("store's"), NULL, NULL), 0);
    assert_unstashed(b, "k", &p, "default", "{}", KIST_JSON);
    assert_unstashed(b, "k", &empty, "default", "store's", KIST_RAW);
    assert_unstashed(b, "k", NULL, "default", "store's", KIST_RAW);
    assert_unstashed(b, "missing", &empty, "12", "12", KIST_INT);
    assert_unstashed(b, "missing", NULL, "", "", KIST_RAW);
    assert_unstashed(b, "missing", NULL, NULL, NULL, KIST_RAW);
    assert_unstashed(NULL, "k", &p, NULL, "{}", KIST_JSON);
    assert_int_equal(kist_stash(b, KIST_STR("k"), KIST_STR("x"), KIST_INT, NULL, NULL, NULL), KIST_ETYPE);
    assert_int_equal(kist_stash(b, KIST_STR("k"), KIST_STR("7"), KIST_DETECT, NULL, NULL, NULL), 0);
    assert_unstashed(b, "k", NULL, NULL, "7", KIST_INT);
    buf_done(&p.bytes);
    kist_bucket_close(&b);
    kist_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_of_all_sizes_and_types_come_back),
        cmocka_unit_test(packing_makes_it_small_and_nothing_is_readable),
        cmocka_unit_test(a_wrong_key_a_foreign_file_and_damage_are_three_errors),
        cmocka_unit_test(no_flipped_missing_or_added_byte_gives_a_value),
        cmocka_unit_test(a_passphrase_opens_it_too),
        cmocka_unit_test(what_the_callbacks_answer_is_passed_on),
        TEST(a_positive_answer_of_a_callback_is_an_error),
        cmocka_unit_test(a_callback_that_gave_more_than_there_is_room_for_is_an_error),
        cmocka_unit_test(a_callback_that_says_nothing_has_given_nothing),
        cmocka_unit_test(a_parcel_that_costs_too_much_is_refused_unless_it_is_trusted),
        TEST(what_the_bucket_refuses_is_refused_before_the_parcel),
        cmocka_unit_test(arguments_out_of_range_are_invalid),
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(stash_puts_it_into_both_and_the_parcel_wins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
