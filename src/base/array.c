/* array.c: arrays that grow.
 *
 * They double, so that adding costs a constant on average, and never shrink. realloc() is not used: what tests make fail is
 * one kind of allocation, and what a secret array leaves behind is its owner's to wipe. */
#include "base/array.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

#define ARRAY_FIRST 8

void *array_room(void *items, size_t len, size_t *io_cap, size_t size)
{
    assert(len <= *io_cap && size > 0);
    if (len < *io_cap)
        return items;
    size_t cap = *io_cap ? *io_cap * 2 : ARRAY_FIRST;
    if (cap > SIZE_MAX / 2 / size)
        return NULL;
    void *more = os_alloc(cap * size);
    if (!more)
        return NULL;
    if (len)
        memcpy(more, items, len * size);
    os_free(items);
    *io_cap = cap;
    return more;
}
