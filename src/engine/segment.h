/* A file of the log (or, in the memory engine, a block of memory in its place): bytes at offsets, written at the end only.
 *
 * It knows nothing of frames. Reading is for any thread; everything else for who holds the writer gate. */
#ifndef KIST_ENGINE_SEGMENT_H
#define KIST_ENGINE_SEGMENT_H

#include "base/error.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SEGMENT_HEADER 64u
#define SEGMENT_SIZE (UINT64_C(64) << 20)       /* a log segment is full at this size */
#define SEGMENT_MEMORY_SIZE (UINT64_C(4) << 20) /* the same in the memory engine */

#define SEGMENT_AHEAD (UINT64_C(32) << 10) /* half of what is written ahead at first */

enum segment_kind { SEGMENT_LOG = 1, SEGMENT_COMPACTED = 2 };

/* Deletes in one segment that guard against dead copies in another one. */
struct segment_guard {
    uint64_t shadow;
    uint64_t count;
};

struct segment {
    uint64_t number;
    enum segment_kind kind;
    uint32_t generation;     /* of the data key */
    const uint8_t *data_key; /* borrowed from the log */
    uint64_t birth;          /* every record in it was live at this sequence or written after it */
    uint64_t first_sequence, last_sequence;
    uint64_t end; /* bytes of frames, header included: final for all but the active one */
    uint8_t last_tag[16];

    int fd; /* -1: in memory */
    uint8_t *memory;
    uint64_t capacity;   /* of memory */
    uint64_t allocated;  /* file: bytes known to exist on disk behind the tail; 0: ask again */
    uint64_t ahead;      /* how much was written ahead last time; 0: nothing is */
    _Atomic(void *) map; /* [0, map_len) of the file, or NULL: read with pread */
    size_t map_len;

    /* The account: what of it the working root still uses. Under the state lock. */
    uint64_t live_bytes, live_count;
    uint64_t put_count;                             /* puts in it, live and dead */
    uint64_t delete_bytes, many_count, many_newest; /* deletes; those that guard against several; their newest revision */
    uint64_t drop_count;                            /* dropped buckets: kept for ever */
    struct segment_guard *guards;
    size_t guards_len, guards_cap;
    bool compacting;  /* records that die now must be cancelled in the output */
    bool gone;        /* replaced or empty: no longer part of the store, kept while entries or snapshots need it */
    uint64_t gone_at; /* gone: by the SWITCH with this sequence; 0: not known (loaded anew since) */
    bool dropped;     /* memory engine, while loading anew: it was gone before */
    bool leaving;     /* no entry of the working root needs it: freed with the last snapshot that does */
};

/* The name of a segment's file: 12 digits and ".log", 17 bytes with the NUL. */
#define SEGMENT_NAME 24
void segment_name(uint64_t number, const char *suffix, char out[SEGMENT_NAME]);
/* The number in a name that segment_name could have made with suffix, else 0. */
uint64_t segment_number(const char *name, const char *suffix);

/* An empty one in memory. */
int segment_new_memory(uint64_t number, uint64_t capacity, struct segment **out) KIST_MUST_USE;
/* Around an open file, which it takes over (*fd becomes -1, also on failure). */
int segment_new_file(uint64_t number, int *fd, struct segment **out) KIST_MUST_USE;
void segment_free(struct segment **s);

/* Exactly len bytes at offset: KIST_ECORRUPT when the file ends before. */
int segment_read(struct segment *s, uint64_t offset, void *p, size_t len) KIST_MUST_USE;
/* The same, but *out_n may be less at the end of the file. */
int segment_read_some(struct segment *s, uint64_t offset, void *p, size_t len, size_t *out_n) KIST_MUST_USE;
/* Ask memory for bytes of a mapped segment that will be read soon: a hint. */
static inline void segment_prefetch(const struct segment *s, uint64_t offset, size_t len)
{
    const uint8_t *map = atomic_load_explicit(&s->map, memory_order_relaxed);
    if (!map)
        return;
    for (size_t i = 0; i < len && i < 256; i += 64)
        __builtin_prefetch(map + offset + i);
}
int segment_write(struct segment *s, uint64_t offset, const void *p, size_t len) KIST_MUST_USE;
int segment_sync(struct segment *s) KIST_MUST_USE;
/* Cut the file at offset. */
int segment_cut(struct segment *s, uint64_t offset) KIST_MUST_USE;
/* See to it that len bytes at offset have room, so that writing them cannot fail for want of it. keep: so many more, or
 * KIST_ENOSPC (what deletes live on when the disk is full). */
int segment_make_room(struct segment *s, uint64_t offset, uint64_t len, uint64_t keep) KIST_MUST_USE;
/* Map [0, len) for reading, once; a failure is no harm. */
void segment_map(struct segment *s, uint64_t len);

int segment_guard_add(struct segment *s, uint64_t shadow) KIST_MUST_USE;

#endif
