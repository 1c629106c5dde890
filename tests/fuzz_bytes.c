/* fuzz_bytes.c: whatever a reader of bytes.h accepts has exactly one encoding, and no input leads
 * it past the end. */
#include "base/buf.h"
#include "base/bytes.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes_in in = bytes_in_init(data, size);
    struct buf again;
    buf_init(&again, true);
    while (!in.bad && bytes_in_left(&in) > 0) {
        const uint8_t *before = in.p;
        uint64_t v = bytes_in_varint(&in);
        if (in.bad)
            break;
        buf_reset(&again);
        buf_add_varint(&again, v);
        if (buf_status(&again) == 0 && bytes_compare(again.data, again.len, before, (size_t)(in.p - before)) != 0)
            abort();
        (void)bytes_in_take(&in, v % 4);
    }
    if (in.p > in.end)
        abort();
    buf_done(&again);
    return 0;
}
