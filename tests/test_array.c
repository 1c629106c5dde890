/* test_array.c: arrays grow, keep what they have, and survive the want of memory. */
#include "base/array.h"
#include "base/os_hook.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static int no_memory(const struct os_call *call)
{
    return call->kind == OS_ALLOC ? -ENOMEM : 0;
}

static void it_keeps_what_it_has(void **state)
{
    uint32_t *items = NULL;
    size_t cap = 0;
    (void)state;
    for (uint32_t len = 0; len < 1000; len++) {
        uint32_t *more = array_room(items, len, &cap, sizeof *more);
        assert_non_null(more);
        items = more;
        assert_true(cap > len);
        items[len] = len;
    }
    for (uint32_t i = 0; i < 1000; i++)
        assert_int_equal(items[i], i);
    assert_true(cap < 2001);
    os_free(items);
}

static void without_memory_all_is_as_it_was(void **state)
{
    size_t cap = 0;
    (void)state;
    char *items = array_room(NULL, 0, &cap, 1);
    assert_non_null(items);
    items[0] = 'x';
    size_t full = cap;
    os_hook = no_memory;
    assert_ptr_equal(array_room(items, full - 1, &cap, 1), items);
    assert_null(array_room(items, full, &cap, 1));
    os_hook = NULL;
    assert_int_equal(cap, full);
    assert_int_equal(items[0], 'x');
    os_free(items);
}

static void a_size_that_does_not_fit_is_no_memory(void **state)
{
    size_t cap = SIZE_MAX / 4;
    (void)state;
    assert_null(array_room(NULL, cap, &cap, 8));
    assert_int_equal(cap, SIZE_MAX / 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_keeps_what_it_has),
        cmocka_unit_test(without_memory_all_is_as_it_was),
        cmocka_unit_test(a_size_that_does_not_fit_is_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
