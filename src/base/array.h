/* Growable arrays: a pointer, a length and a capacity in the struct that owns them. */
#ifndef KIST_BASE_ARRAY_H
#define KIST_BASE_ARRAY_H

#include "base/os.h"

#include <stddef.h>

/* items with room for one more than len: itself while *io_cap allows, else a copy of twice the capacity, and items is freed.
 * NULL: no memory, and all is as it was.
 *
 *     struct row *row = array_room(t->row, t->len, &t->cap, sizeof *row);
 *     if (!row)
 *         return KIST_ENOMEM;
 *     t->row = row; */
void *array_room(void *items, size_t len, size_t *io_cap, size_t size);

#endif
