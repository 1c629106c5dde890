/* options.c: structs that cross the boundary of the library with a size in front.
 *
 * The size is the version. A caller that was compiled earlier gives fewer fields: those it does not
 * know are zero, and zero is the default of every field for ever. One that was compiled later gives
 * more: as long as the surplus is zero it asks for nothing that we do not have; else we refuse, for
 * ignoring a wish in silence is worse than failing. */
#include "model/options.h"

#include <string.h>

static int options_size(struct error_detail *detail, const void *given, size_t *out)
{
    size_t size;
    memcpy(&size, given, sizeof size);
    if (size < sizeof size)
        return error_set(detail, KIST_EINVAL, "the struct's size is not set: .size = sizeof it");
    *out = size;
    return 0;
}

int options_copy(struct error_detail *detail, void *out, size_t out_size, const void *given)
{
    size_t size = out_size;
    if (given) {
        int r = options_size(detail, given, &size);
        if (r < 0)
            return r;
        for (size_t i = out_size; i < size; i++)
            if (((const unsigned char *)given)[i])
                return error_set(detail, KIST_EINVAL, "an option is set that this version (%s) does not know", kist_version());
    }
    memset(out, 0, out_size);
    if (given)
        memcpy(out, given, size < out_size ? size : out_size);
    memcpy(out, &out_size, sizeof out_size);
    return 0;
}

int options_answer(struct error_detail *detail, void *out, const void *ours, size_t our_size)
{
    size_t size = 0;
    int r = options_size(detail, out, &size);
    if (r < 0)
        return r;
    memset(out, 0, size);
    memcpy(out, ours, size < our_size ? size : our_size);
    memcpy(out, &size, sizeof size);
    return 0;
}
