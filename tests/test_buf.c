/* test_buf.c: a buffer keeps what it was given, remembers its first failure, and wipes what was
 * secret. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/os.h"

static int allocations_left;

static int refuse_allocations(const struct os_call *call)
{
    if (call->kind != OS_ALLOC)
        return 0;
    return allocations_left-- > 0 ? 0 : -ENOMEM;
}

static int no_hook(void **state)
{
    (void)state;
    os_hook = NULL;
    return 0;
}

static void a_new_buffer_is_empty_and_costs_nothing(void **state)
{
    struct buf b;
    size_t len = 1;
    (void)state;
    buf_init(&b, false);
    assert_null(b.data);
    assert_int_equal(b.len, 0);
    assert_int_equal(buf_status(&b), 0);
    assert_null(buf_steal(&b, &len));
    assert_int_equal(len, 0);
    buf_done(&b);
}

static void a_buffer_grows_without_losing_a_byte(void **state)
{
    struct buf b;
    (void)state;
    buf_init(&b, true);
    for (unsigned i = 0; i < 100000; i++)
        buf_add_u32(&b, i);
    assert_int_equal(buf_status(&b), 0);
    assert_int_equal(b.len, 400000);
    for (unsigned i = 0; i < 100000; i++)
        assert_int_equal(bytes_get32(b.data + 4 * i), i);
    buf_done(&b);
}

static void every_kind_of_field_can_be_read_back(void **state)
{
    struct buf b;
    (void)state;
    buf_init(&b, false);
    buf_add_u8(&b, 7);
    buf_add_u32(&b, 0xdeadbeef);
    buf_add_u64(&b, UINT64_MAX - 1);
    buf_add_varint(&b, 300);
    buf_add(&b, "tail", 4);
    buf_add(&b, NULL, 0);
    memset(buf_grow(&b, 2), 'z', 2);
    struct bytes_in in = bytes_in_init(b.data, b.len);
    assert_int_equal(bytes_in_u8(&in), 7);
    assert_int_equal(bytes_in_u32(&in), 0xdeadbeef);
    assert_true(bytes_in_u64(&in) == UINT64_MAX - 1);
    assert_int_equal(bytes_in_varint(&in), 300);
    assert_memory_equal(bytes_in_take(&in, 6), "tailzz", 6);
    assert_int_equal(bytes_in_left(&in), 0);
    buf_done(&b);
}

static void reserved_bytes_count_only_when_they_are_taken(void **state)
{
    struct buf b;
    (void)state;
    buf_init(&b, false);
    uint8_t *p = buf_reserve(&b, 1000);
    assert_non_null(p);
    assert_int_equal(b.len, 0);
    assert_ptr_equal(buf_reserve(&b, 1000), p);
    assert_ptr_equal(buf_grow(&b, 1000), p);
    assert_int_equal(b.len, 1000);
    buf_done(&b);
}

static void the_first_failure_sticks_until_reset(void **state)
{
    struct buf b;
    (void)state;
    buf_init(&b, false);
    buf_add(&b, "kept", 4);
    os_hook = refuse_allocations;
    allocations_left = 0;
    assert_null(buf_grow(&b, 10000));
    os_hook = NULL;
    buf_add(&b, "lost", 4); /* there is room, but a hole in the middle would be worse than an error */
    assert_int_equal(buf_status(&b), KIST_ENOMEM);
    assert_int_equal(b.len, 4);
    assert_memory_equal(b.data, "kept", 4);
    buf_reset(&b);
    assert_int_equal(buf_status(&b), 0);
    assert_int_equal(b.len, 0);
    buf_add(&b, "new", 3);
    assert_int_equal(buf_status(&b), 0);
    buf_done(&b);
}

static void each_allocation_may_fail_and_nothing_leaks(void **state)
{
    (void)state;
    for (int n = 0;; n++) {
        struct buf b;
        buf_init(&b, true);
        allocations_left = n;
        os_hook = refuse_allocations;
        for (unsigned i = 0; i < 1000; i++)
            buf_add_u64(&b, i);
        os_hook = NULL;
        int rc = buf_status(&b);
        assert_int_equal(rc, b.len == 8000 ? 0 : KIST_ENOMEM);
        buf_done(&b);
        if (rc == 0) {
            assert_true(n > 1);
            return;
        }
    }
}

static void a_length_that_cannot_be_is_out_of_memory(void **state)
{
    struct buf b;
    (void)state;
    buf_init(&b, false);
    buf_add_u8(&b, 1);
    assert_null(buf_reserve(&b, SIZE_MAX));
    assert_int_equal(buf_status(&b), KIST_ENOMEM);
    buf_done(&b);
}

static void reset_wipes_a_secret_but_keeps_the_room(void **state)
{
    struct buf b;
    (void)state;
    buf_init(&b, true);
    buf_add(&b, "plaintext", 9);
    uint8_t *data = b.data;
    buf_reset(&b);
    assert_ptr_equal(b.data, data);
    assert_memory_equal(data, "\0\0\0\0\0\0\0\0\0", 9);
    buf_done(&b);
    assert_null(b.data);
    assert_true(b.secret);
}

static void stolen_bytes_belong_to_the_caller(void **state)
{
    struct buf b;
    size_t len = 0;
    (void)state;
    buf_init(&b, false);
    buf_add(&b, "mine", 4);
    uint8_t *mine = buf_steal(&b, &len);
    assert_int_equal(len, 4);
    assert_null(b.data);
    assert_int_equal(b.cap, 0);
    buf_done(&b);
    assert_memory_equal(mine, "mine", 4);
    os_free(mine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_new_buffer_is_empty_and_costs_nothing, no_hook),
        cmocka_unit_test_teardown(a_buffer_grows_without_losing_a_byte, no_hook),
        cmocka_unit_test_teardown(every_kind_of_field_can_be_read_back, no_hook),
        cmocka_unit_test_teardown(reserved_bytes_count_only_when_they_are_taken, no_hook),
        cmocka_unit_test_teardown(the_first_failure_sticks_until_reset, no_hook),
        cmocka_unit_test_teardown(each_allocation_may_fail_and_nothing_leaks, no_hook),
        cmocka_unit_test_teardown(a_length_that_cannot_be_is_out_of_memory, no_hook),
        cmocka_unit_test_teardown(reset_wipes_a_secret_but_keeps_the_room, no_hook),
        cmocka_unit_test_teardown(stolen_bytes_belong_to_the_caller, no_hook),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
