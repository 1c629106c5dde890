/* segment.c: one file of the log.
 *
 * Zeros are written ahead of the tail, 64 KiB at first, doubling to 1 MiB: an fdatasync that need not change the file's
 * size is about 40 % faster on ext4, and blocks that exist cannot run out when the frame is written. Not having room to
 * write ahead is no failure as long as the frame itself fits. For large frames the blocks are set aside by fallocate
 * instead, which writes them only once. Tried and dropped: fallocate for small ones (unwritten extents make the fdatasync
 * as slow as growing does).
 *
 * Reading is a copy out of a shared map under a guard (base/os.h): a file that shrinks or a disk that fails gives KIST_EIO,
 * as pread would, which is what reads without a map. See docs/decisions/0002-map.md. */
#include "engine/segment.h"

#include "base/array.h"
#include "base/bytes.h"
#include "base/os.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define SEGMENT_AHEAD_MAX (UINT64_C(1) << 20)
#define SEGMENT_RESERVE_FROM (UINT64_C(256) << 10) /* frames from this size on: fallocate */

void segment_name(uint64_t number, const char *suffix, char out[SEGMENT_NAME])
{
    assert(number > 0 && number < UINT64_C(1000000000000));
    int n = snprintf(out, SEGMENT_NAME, "%012llu%s", (unsigned long long)number, suffix);
    assert(n > 0 && n < SEGMENT_NAME);
}

uint64_t segment_number(const char *name, const char *suffix)
{
    uint64_t n = 0;
    for (int i = 0; i < 12; i++) {
        if (name[i] < '0' || name[i] > '9')
            return 0;
        n = n * 10 + (uint64_t)(name[i] - '0');
    }
    return strcmp(name + 12, suffix) == 0 ? n : 0;
}

static int segment_alloc(uint64_t number, struct segment **out)
{
    struct segment *s = os_calloc(sizeof *s);
    if (!s)
        return KIST_ENOMEM;
    s->number = number;
    s->fd = -1;
    s->ahead = SEGMENT_AHEAD;
    *out = s;
    return 0;
}

int segment_new_memory(uint64_t number, uint64_t capacity, struct segment **out)
{
    struct segment *s = NULL;
    int r = segment_alloc(number, &s);
    if (r)
        return r;
    s->memory = os_alloc((size_t)capacity);
    if (!s->memory) {
        segment_free(&s);
        return KIST_ENOMEM;
    }
    s->capacity = capacity;
    *out = s;
    return 0;
}

int segment_new_file(uint64_t number, int *fd, struct segment **out)
{
    struct segment *s = NULL;
    int r = segment_alloc(number, &s);
    if (r) {
        os_close(fd);
        return r;
    }
    s->fd = *fd;
    *fd = -1;
    *out = s;
    return 0;
}

void segment_free(struct segment **s)
{
    if (!*s)
        return;
    void *map = atomic_load(&(*s)->map);
    if (map)
        os_unmap(map, (*s)->map_len);
    os_close(&(*s)->fd);
    os_free((*s)->memory);
    os_free((*s)->guards);
    os_free(*s);
    *s = NULL;
}

int segment_read_some(struct segment *s, uint64_t offset, void *p, size_t len, size_t *out_n)
{
    if (s->fd >= 0)
        return os_read(s->fd, p, len, offset, out_n);
    size_t n = offset >= s->capacity ? 0 : bytes_min(len, (size_t)(s->capacity - offset));
    if (n)
        memcpy(p, s->memory + offset, n);
    *out_n = n;
    return 0;
}

int segment_read(struct segment *s, uint64_t offset, void *p, size_t len)
{
    size_t n = 0;
    const uint8_t *map = atomic_load_explicit(&s->map, memory_order_acquire);
    if (map && offset <= s->map_len && len <= s->map_len - offset)
        return os_map_copy(p, map + offset, len);
    int r = segment_read_some(s, offset, p, len, &n);
    if (r)
        return r;
    return n == len ? 0 : KIST_ECORRUPT;
}

int segment_write(struct segment *s, uint64_t offset, const void *p, size_t len)
{
    if (s->fd >= 0)
        return os_write(s->fd, p, len, offset);
    if (offset > s->capacity || len > s->capacity - offset)
        return KIST_ENOSPC;
    memcpy(s->memory + offset, p, len);
    return 0;
}

int segment_sync(struct segment *s)
{
    return s->fd >= 0 ? os_sync(s->fd) : 0;
}

int segment_cut(struct segment *s, uint64_t offset)
{
    s->allocated = 0;
    return s->fd >= 0 ? os_truncate(s->fd, offset) : 0;
}

static int segment_write_zeros(struct segment *s, uint64_t from, uint64_t to)
{
    static const uint8_t zeros[64 << 10];
    while (from < to) {
        size_t n = bytes_min(sizeof zeros, (size_t)(to - from));
        int r = os_write(s->fd, zeros, n, from);
        if (r)
            return r;
        from += n;
        s->allocated = from;
    }
    return 0;
}

/* Where the zeros should reach to, beyond need: doubling steps, on a 4 KiB boundary, not beyond a full segment. */
static uint64_t segment_ahead(struct segment *s, uint64_t need)
{
    if (s->ahead < SEGMENT_AHEAD_MAX)
        s->ahead *= 2;
    uint64_t to = (need + s->ahead + 4095) & ~UINT64_C(4095);
    uint64_t full = SEGMENT_SIZE + 4096;
    return to > full && need <= full ? full : to;
}

int segment_make_room(struct segment *s, uint64_t offset, uint64_t len, uint64_t keep)
{
    uint64_t need = offset + len + keep;
    if (s->fd < 0)
        return need <= s->capacity ? 0 : KIST_ENOSPC;
    if (!s->allocated) {
        struct os_stat st;
        int r = os_stat(s->fd, &st);
        if (r)
            return r;
        s->allocated = st.size > offset ? st.size : offset;
    }
    if (need <= s->allocated)
        return 0;
    if (len >= SEGMENT_RESERVE_FROM) {
        int r = os_reserve(s->fd, s->allocated, need - s->allocated);
        if (r == 0)
            s->allocated = need;
        return r == KIST_ENOTSUP ? 0 : r;
    }
    int r = segment_write_zeros(s, s->allocated, segment_ahead(s, need));
    return r == KIST_ENOSPC && s->allocated >= need ? 0 : r;
}

void segment_map(struct segment *s, uint64_t len)
{
    void *p = NULL;
    if (s->fd < 0 || atomic_load(&s->map) || os_map(s->fd, (size_t)len, false, &p))
        return;
    s->map_len = (size_t)len;
    atomic_store_explicit(&s->map, p, memory_order_release);
}

int segment_guard_add(struct segment *s, uint64_t shadow)
{
    for (size_t i = 0; i < s->guards_len; i++) {
        if (s->guards[i].shadow == shadow) {
            s->guards[i].count++;
            return 0;
        }
    }
    struct segment_guard *g = array_room(s->guards, s->guards_len, &s->guards_cap, sizeof *g);
    if (!g)
        return KIST_ENOMEM;
    s->guards = g;
    s->guards[s->guards_len++] = (struct segment_guard){.shadow = shadow, .count = 1};
    return 0;
}
