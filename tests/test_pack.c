/* Compression: what goes in comes out, and nothing larger than was allowed does. */
#include "base/os.h"
#include "model/pack.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <zstd.h>

static struct kist_bytes bytes_of(const struct buf *b)
{
    return (struct kist_bytes){b->data, b->len};
}

static void round_trip(const void *p, size_t len, int level)
{
    struct buf packed, back;
    buf_init(&packed, false);
    buf_init(&back, true);
    buf_add_u8(&packed, 'x');
    assert_int_equal(pack_compress((struct kist_bytes){p, len}, level, &packed), 0);
    assert_int_equal(pack_decompress((struct kist_bytes){packed.data + 1, packed.len - 1}, len, &back), 0);
    assert_int_equal(back.len, len);
    if (len)
        assert_memory_equal(back.data, p, len);
    buf_done(&packed);
    buf_done(&back);
}

static void values_of_all_sizes_come_back(void **state)
{
    (void)state;
    size_t sizes[] = {0, 1, 100, 65535, 65536, 1000000};
    uint8_t *p = malloc(1000000);
    assert_int_equal(os_random(p, 500000), 0);
    memset(p + 500000, 'a', 500000);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        for (int level = 1; level <= PACK_LEVEL_MAX; level += 6)
            round_trip(p + (1000000 - sizes[i]) / 2, sizes[i], level);
    free(p);
}

static void a_bomb_is_refused_before_it_gets_room(void **state)
{
    (void)state;
    size_t size = 80u << 20;
    uint8_t *zeros = calloc(1, size);
    struct buf packed, out;
    buf_init(&packed, false);
    buf_init(&out, true);
    assert_int_equal(pack_compress((struct kist_bytes){zeros, size}, 3, &packed), 0);
    assert_true(packed.len < 100000);
    assert_int_equal(pack_decompress(bytes_of(&packed), KIST_VALUE_MAX, &out), KIST_ETOOBIG);
    assert_true(out.cap < 1000);
    free(zeros);
    buf_done(&packed);
    buf_done(&out);
}

/* "hello" as one frame; returns its length. */
static size_t frame_of_hello(char out[100], int sized, int checked)
{
    ZSTD_CCtx *c = ZSTD_createCCtx();
    ZSTD_CCtx_setParameter(c, ZSTD_c_contentSizeFlag, sized);
    ZSTD_CCtx_setParameter(c, ZSTD_c_checksumFlag, checked);
    size_t n = ZSTD_compress2(c, out, 100, "hello", 5);
    assert_false(ZSTD_isError(n));
    ZSTD_freeCCtx(c);
    return n;
}

static void frames_that_say_no_size_or_hang_together_are_refused(void **state)
{
    (void)state;
    char twice[200], unknown[200];
    struct buf out;
    buf_init(&out, true);
    size_t n = frame_of_hello(twice, 1, 1);
    memcpy(twice + n, twice, n);
    assert_int_equal(pack_decompress((struct kist_bytes){twice, n}, 100, &out), 0);
    buf_reset(&out);
    assert_int_equal(pack_decompress((struct kist_bytes){twice, 2 * n}, 100, &out), KIST_ECORRUPT);
    n = frame_of_hello(unknown, 0, 1);
    assert_int_equal(pack_decompress((struct kist_bytes){unknown, n}, 100, &out), KIST_ECORRUPT);
    assert_int_equal(pack_decompress((struct kist_bytes){"", 0}, 100, &out), KIST_ECORRUPT);
    assert_int_equal(pack_decompress((struct kist_bytes){"hello", 5}, 100, &out), KIST_ECORRUPT);
    assert_int_equal(out.len, 0);
    buf_done(&out);
}

static void a_frame_without_a_checksum_is_refused(void **state)
{
    char frame[100];
    struct buf out;
    (void)state;
    buf_init(&out, true);
    size_t n = frame_of_hello(frame, 1, 0);
    assert_int_equal(pack_decompress((struct kist_bytes){frame, n}, 100, &out), KIST_ECORRUPT);
    assert_int_equal(out.len, 0);
    buf_done(&out);
}

/* "hello" as zstd 0.7 wrote it, in one raw block. Debian's library still reads it. */
static void a_frame_of_an_old_format_is_refused(void **state)
{
    uint8_t frame[] = {0x27, 0xb5, 0x2f, 0xfd, 0x20, 5, 0x40, 0, 5, 'h', 'e', 'l', 'l', 'o', 0xc0, 0, 0};
    struct buf out;
    (void)state;
    buf_init(&out, true);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pack_decompress((struct kist_bytes){frame, sizeof frame}, 100, &out), KIST_ECORRUPT);
        frame[4] |= 4; /* and when it says that it has a checksum */
    }
    assert_int_equal(out.len, 0);
    buf_done(&out);
}

/* A checksum inside: no flipped or missing byte may pass for another value. */
static void every_damaged_byte_is_an_error_or_the_same_value(void **state)
{
    (void)state;
    char text[300];
    struct buf packed, out;
    buf_init(&packed, false);
    buf_init(&out, true);
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)('a' + i * i % 7);
    assert_int_equal(pack_compress((struct kist_bytes){text, sizeof text}, 3, &packed), 0);
    for (size_t i = 0; i < packed.len; i++)
        for (unsigned flip = 1; flip < 256; flip <<= 1) {
            packed.data[i] ^= (uint8_t)flip;
            int r = pack_decompress(bytes_of(&packed), 1000, &out);
            if (r == 0)
                assert_memory_equal(out.data, text, sizeof text);
            packed.data[i] ^= (uint8_t)flip;
            buf_reset(&out);
        }
    for (size_t n = 0; n < packed.len; n++)
        assert_int_not_equal(pack_decompress((struct kist_bytes){packed.data, n}, 1000, &out), 0);
    buf_done(&packed);
    buf_done(&out);
}

static void a_level_out_of_range_is_invalid(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, false);
    assert_int_equal(pack_compress(KIST_STR("x"), 0, &out), KIST_EINVAL);
    assert_int_equal(pack_compress(KIST_STR("x"), PACK_LEVEL_MAX + 1, &out), KIST_EINVAL);
    buf_done(&out);
}

static int allocations_left;
static int fail_allocation(const struct os_call *call)
{
    return call->kind == OS_ALLOC && allocations_left-- <= 0 ? -12 : 0;
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    int r = KIST_ENOMEM, n = 0;
    struct buf packed, back;
    for (; r == KIST_ENOMEM; n++) {
        buf_init(&packed, false);
        buf_init(&back, true);
        allocations_left = n;
        os_hook = fail_allocation;
        r = pack_compress(KIST_STR("hello hello hello hello"), 3, &packed);
        if (r == 0)
            r = pack_decompress(bytes_of(&packed), 100, &back);
        os_hook = NULL;
        assert_true(r == 0 ? back.len == 23 : back.len == 0);
        buf_done(&packed);
        buf_done(&back);
    }
    assert_int_equal(r, 0);
    assert_true(n > 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_of_all_sizes_come_back),
        cmocka_unit_test(a_bomb_is_refused_before_it_gets_room),
        cmocka_unit_test(frames_that_say_no_size_or_hang_together_are_refused),
        cmocka_unit_test(a_frame_without_a_checksum_is_refused),
        cmocka_unit_test(a_frame_of_an_old_format_is_refused),
        cmocka_unit_test(every_damaged_byte_is_an_error_or_the_same_value),
        cmocka_unit_test(a_level_out_of_range_is_invalid),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
