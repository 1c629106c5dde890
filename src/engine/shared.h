/* What the processes of one store have in common while they run: kernel locks on the file `lock`, and a page in it.
 *
 * The page says how far the log is appended and durable; it is never needed to read a store that nobody has open. Every
 * lock goes away with the process that held it; nothing here depends on a process id. In the memory engine the page is
 * private and the locks are always free. */
#ifndef KIST_ENGINE_SHARED_H
#define KIST_ENGINE_SHARED_H

#include "base/error.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define SHARED_SIZE 4096u

enum shared_lock {
    SHARED_OPEN = 1,     /* exclusive while a handle opens or closes */
    SHARED_PRESENCE = 2, /* shared by every open handle that may write: without one, the next opener recovers */
    SHARED_WRITER = 3,
    SHARED_SYNC = 4, /* whose fdatasync it is: only to do it once */
    SHARED_COMPACT = 5,
    SHARED_HEADER = 6, /* who rewrites the file `header` */
};

/* The layout is docs/format.md, "Lock file": one cache line for what changes at each commit. */
struct shared_page {
    uint8_t magic[8];
    uint8_t store_id[16];
    uint8_t reserved[40];
    _Atomic uint64_t appended;       /* sequence of the last frame that is wholly written */
    _Atomic uint64_t visible;        /* sequence up to which readers see: durable, but for KIST_SYNC_NONE */
    _Atomic uint64_t active;         /* number of the segment that grows; set before appended enters it */
    _Atomic uint64_t numbers;        /* the largest number given to a segment */
    _Atomic uint64_t durable;        /* sequence up to which the disk has it */
    _Atomic uint64_t durable_check;  /* keyed: makes it evidence for recovery */
    _Atomic uint32_t appending;      /* a write is under way: its writer may have died in it */
    _Atomic uint32_t failed;         /* an fsync failed: nobody writes until all have closed */
    _Atomic uint32_t visible_word;   /* counts changes of visible: futex */
    _Atomic uint32_t visible_waited; /* somebody sleeps on it */
    _Atomic uint32_t writer_word;    /* counts releases of the writer lock: futex */
    _Atomic uint32_t writer_waited;
    _Atomic uint32_t writer_pid;  /* for the message only */
    _Atomic uint32_t header_word; /* counts rewrites of the file `header` */
};

struct shared {
    int dir; /* borrowed */
    int fd;  /* -1: memory engine */
    bool read_only;
    struct shared_page *page;
    struct shared_page *own; /* when there is no file to map */
    uint64_t device, inode;
    const uint8_t *check_key; /* borrowed, 16 bytes */
    bool polite;              /* somebody waited for the writer lock when we last released it, at this count */
    uint32_t released;
};

/* Open or make the file. On a read-only file system without one a private page stands in. check_key stays the caller's and
 * must be there until shared_close(). */
int shared_open(struct shared *s, int dir, bool memory, bool read_only, const uint8_t store_id[16],
                const uint8_t check_key[16]) KIST_MUST_USE;
void shared_close(struct shared *s);

/* KIST_EBUSY after timeout_us (< 0: never). */
int shared_lock(struct shared *s, enum shared_lock which, int64_t timeout_us) KIST_MUST_USE;
int shared_lock_shared(struct shared *s, enum shared_lock which) KIST_MUST_USE;
void shared_unlock(struct shared *s, enum shared_lock which);
int shared_held(struct shared *s, enum shared_lock which, bool *out) KIST_MUST_USE;

/* Take the writer lock, see that the lock file is still the one in the directory. KIST_EBUSY: detail says who. */
int shared_writer_lock(struct shared *s, int64_t timeout_us, struct error_detail *detail) KIST_MUST_USE;
void shared_writer_unlock(struct shared *s);

/* Start the page anew: the first to open, with recovery done. appended frames are visible, durable ones proved. */
void shared_reset(struct shared *s, const uint8_t store_id[16], uint64_t appended, uint64_t durable, uint64_t active,
                  uint64_t numbers);
/* A number for a new segment: larger than all that were given while the store was open and all that are in use. Writer lock
 * held. */
uint64_t shared_number(struct shared *s);
/* What the page proves to have been durable; 0 when it proves nothing. */
uint64_t shared_evidence(const struct shared *s, const uint8_t store_id[16]);
/* The disk has everything up to durable: never back. */
void shared_prove(struct shared *s, uint64_t durable);
/* Let readers see up to visible (never back) and wake who waits for it. */
void shared_publish(struct shared *s, uint64_t visible);
/* Wake all who wait, without news. */
void shared_wake(struct shared *s);
/* Waiting: take the turn first, then look at what you wait for, then sleep. Wakes in between are not lost. */
uint32_t shared_turn(const struct shared *s);
/* Sleep until the next wake after turn, at most timeout_us (< 0: for ever). Wakes spuriously. */
void shared_wait(struct shared *s, uint32_t turn, int64_t timeout_us);

#endif
