/* The engine `log` (and `memory`, which is the same without files), as its own files see it.
 *
 * Who may do what:
 *   gate    who changes the store: one writer of this handle at a time. Taken before the kernel's writer lock, held from
 *           begin to commit. Only its holder appends operations, rolls segments, purges and relocates.
 *   state   the index's working root, the accounts, the pending bytes, the position. Held for short work in memory and for
 *           reading frames of other processes; never while writing or syncing a file.
 *   flush   who writes pending bytes to the file: keeps them in order.
 * Order: gate, flush, state. Readers take none of them as long as nothing new has to be read from the log. */
#ifndef KIST_ENGINE_LOG_H
#define KIST_ENGINE_LOG_H

#include "base/array.h"
#include "base/buf.h"
#include "base/gate.h"
#include "base/os.h"
#include "crypt/keyring.h"
#include "engine/engine.h"
#include "engine/entry.h"
#include "engine/frame.h"
#include "engine/segment.h"
#include "engine/shared.h"
#include "engine/tree.h"

#include <pthread.h>

#define LOG_SNAPSHOT_WORK 8000u   /* frames and operations to replay without another index snapshot: 4,000 single puts, 8 ms */
#define LOG_TURNS 4u              /* groups of commits whose waiters sleep apart: the one that is synced, and the next ones */
#define LOG_SNAPSHOT_SMALL 50000u /* keys: a commit by the way may write it, in some 10 ms */
#define LOG_INDEX_KEY (8 + KIST_KEY_MAX) /* bucket, big-endian, then the key */

/* What a published root says besides where its records are. */
enum { LOG_AUX_CATALOG, LOG_AUX_DROPS };

/* Where in the log something is. */
struct log_position {
    uint64_t segment;
    uint64_t offset;
    uint64_t sequence;     /* of the frame before it */
    uint8_t tag[SEAL_TAG]; /* of the frame before it in this segment; zeros at its start */
};

/* Every segment of the store by number; replaced as a whole when one comes or goes (readers use it without a lock). */
struct log_table {
    uint64_t base;
    size_t len;
    _Atomic(struct segment *) slot[];
};

/* A data key in secret memory; there is one a generation that this handle has met. */
struct log_key {
    struct log_key *next;
    uint32_t generation;
    uint8_t key[SEAL_KEY];
};

struct log_changes;
struct log_compaction;

struct log {
    struct engine base;
    bool memory, read_only, salvage;
    bool salvaged; /* what could be read of a damaged store: it stays as it is */
    enum kist_sync sync_mode;
    unsigned flags;
    int64_t lock_timeout_us;
    const _Atomic uint32_t *fork_guard;

    int dir;
    struct keyring *keyring;
    pthread_rwlock_t keyring_lock;
    struct log_key *keys; /* data keys that segments point to: kept when the keyring retires them */
    struct gate rekey_gate;
    int suite;
    uint8_t store_id[16];
    const uint8_t *check_key; /* the keyring's: in secret memory, the same for the life of the handle */
    struct shared shared;
    uint64_t segment_size;
    uint64_t room_needed; /* memory engine: by the frame that the next segment is made for */

    struct gate gate;
    struct gate compact_gate; /* who compacts, among the threads of this handle; before gate */
    bool kernel_held;         /* the kernel's writer lock; by who holds the gate, or by nobody while bytes are pending */
    pthread_mutex_t flush;
    pthread_mutex_t state;

    /* -- under state -- */
    struct tree *index;
    struct tree *expiry; /* (time, bucket, key) of records that expire; working root only */
    _Atomic(struct log_table *) table;
    struct log_position at; /* behind the last frame applied: ours may still be pending */
    struct segment *active;
    bool ended;            /* the active segment has its END: the next write must roll */
    uint64_t next_segment; /* what END announced */
    uint64_t last_number;  /* largest number of any file of a segment seen */
    uint64_t follow_limit; /* recovery: nothing in the active segment counts from here on; 0: all does */
    bool loading;
    uint64_t catalog_revision, drops;
    uint64_t newest;  /* revision of any operation applied: deletes leave no entry to ask */
    bool replaying;   /* frames come in any order of revisions: keep deletes until the end */
    uint64_t tombs;   /* how many it kept, at most */
    bool broken;      /* the working root cannot be used: load again before the next write */
    uint64_t written; /* a write failed: roots beyond this sequence hold frames that nobody will find; 0: none did */
    uint64_t loaded;  /* where the index was loaded anew: there is no root between what was published then and this */
    uint64_t loaded_segment;
    struct buf pending; /* encoded frames that are not in the file yet */
    struct segment *pending_segment;
    uint64_t pending_at;       /* their offset in the active segment */
    uint64_t pending_sequence; /* of the last one */
    struct buf flushing;       /* being written now */
    struct segment *flushing_segment;
    uint64_t flushing_at;
    uint64_t flushed; /* last sequence of ours that is in the file */
    struct segment *flushed_segment;
    uint64_t *purges; /* dropped buckets whose entries are still in the index */
    size_t purges_len, purges_cap;
    struct segment **moves; /* compacted segments whose records must be looked up there from now on */
    size_t moves_len, moves_cap;
    uint64_t moves_offset; /* how far the first one is done */
    uint8_t moves_tag[SEAL_TAG];
    uint64_t skips; /* outputs that had been replaced again when their SWITCH was followed */
    struct log_changes *changes;
    struct log_compaction *compaction;
    uint64_t live_bytes, segment_bytes;
    _Atomic uint64_t snapshot_work; /* frames and operations applied since the last index snapshot */
    bool from_snapshot;
    bool unmarked; /* frames were written since the last MARK */

    /* -- durability -- */
    _Atomic uint64_t durable;   /* sequence */
    _Atomic uint32_t sync_busy; /* somebody leads a group */
    struct {
        _Atomic uint32_t turn; /* futex: waiters of group g sleep on the one of g % LOG_TURNS */
        _Atomic uint32_t sleepers;
    } sync[LOG_TURNS];
    uint32_t stolen_group;        /* pending bytes were taken so many times; what is pending now is the next one (state) */
    uint64_t stolen;              /* the last sequence of that group (state) */
    uint32_t flushed_group;       /* the last one that is in the file (state) */
    _Atomic uint32_t woken_group; /* the last one whose waiters are woken, by the leader */
    _Atomic uint32_t group;       /* commits that wait for the next sync */
    uint32_t last_group;          /* size of the last one, by the leader */
    _Atomic uint32_t failed;      /* an fsync failed: read-only from now on */
    _Atomic uint64_t commits, syncs;
    _Atomic uint32_t upkeep; /* there may be something to clean up */
    struct buf scratch;      /* of who holds the gate: frames are encoded here */
};

/* -- log.c: the table of operations, opening and closing -- */

extern const struct engine_ops log_ops;

/* When a log segment is full. Tests make it tiny, to see many of them. */
#ifdef KIST_TESTING
extern uint64_t log_segment_size_override; /* 0: none */
extern int64_t commit_sleep_us_override;   /* how long a commit that waits sleeps; 0: none, < 0: until it is woken */
#endif
static inline uint64_t log_segment_size(void)
{
#ifdef KIST_TESTING
    if (log_segment_size_override)
        return log_segment_size_override;
#endif
    return SEGMENT_SIZE;
}

static inline struct log *log_of(struct engine *e)
{
    return (struct log *)e;
}
/* KIST_EFORK in a child, else 0. */
static inline int log_entered(const struct log *log)
{
    return atomic_load_explicit(log->fork_guard, memory_order_relaxed) ? 0 : KIST_EFORK;
}
/* The keys and names that frames of a segment need. */
struct frame_context log_context(const struct log *log, const struct segment *s);
/* bucket and key as the index has them; how long that is. */
size_t log_index_key(uint64_t bucket, struct kist_bytes key, uint8_t out[LOG_INDEX_KEY]);

/* -- table.c: segments by number -- */

struct segment *table_find(const struct log *log, uint64_t number); /* NULL: not (any more) there */
int table_add(struct log *log, struct segment *s) KIST_MUST_USE;
/* A gone segment without live entries: freed when no snapshot can need it. */
int table_retire(struct log *log, struct segment *s) KIST_MUST_USE;
void table_free(struct log *log);
/* Open the file of a segment and read its header; not added yet. KIST_ENOSTORE missing · KIST_ECORRUPT. */
int table_open(struct log *log, uint64_t number, struct segment **out) KIST_MUST_USE;
/* A new file with its header written, mode 0600, not synced. name NULL: the final name. ahead: SEGMENT_AHEAD, or 0 for a
 * segment that takes no more room than it needs. */
int table_create(struct log *log, uint64_t number, enum segment_kind kind, uint64_t birth, const char *name, uint64_t ahead,
                 struct segment **out) KIST_MUST_USE;

/* Point s->data_key at the key of s->generation. */
int table_key(struct log *log, struct segment *s) KIST_MUST_USE;
void table_keys_free(struct log *log);

/* -- apply.c: operations into the index (state held) -- */

int apply_op(struct log *log, struct segment *s, uint64_t frame, const struct frame_op *op) KIST_MUST_USE;
void apply_warm(struct log *log, const struct frame_op *ops, size_t n); /* before up to TREE_WARM_MAX of them: a hint */
int apply_guard(struct log *log, struct segment *s, const struct frame_op *op) KIST_MUST_USE; /* account a delete */
void apply_unaccount(struct log *log, const struct entry *e, size_t key_len);
int apply_purge(struct log *log, size_t limit) KIST_MUST_USE; /* gate held too, unless nobody else can be there */
void apply_clear(struct log *log);                            /* forget everything, for loading anew */
/* Replay is over: deletes may go, dropped buckets are purged. */
int apply_settle(struct log *log) KIST_MUST_USE;

/* -- follow.c: frames of the log into the index (state held) -- */

/* Read frames from log->at on: up to and with sequence upto, or, with upto UINT64_MAX, as far as they are whole.
 * KIST_ECORRUPT when a frame up to upto is missing or bad; with UINT64_MAX the end is before the first one that is not whole,
 * values included. Captures. */
int follow_to(struct log *log, uint64_t upto) KIST_MUST_USE;
/* Readers: see to it that everything durable is published. KIST_EFAILED: the index has to be loaded again for that. */
int follow_durable(struct log *log) KIST_MUST_USE;
/* Let readers see the newest root up to visible that is of frames in the file. */
void follow_publish(struct log *log, uint64_t visible);
/* follow_durable() without the state lock, and the index is loaded again if it has to be. Waits for the gate only then. */
int follow_fresh(struct log *log) KIST_MUST_USE;
/* Apply one frame's operations or its manifest, switch, end. */
int follow_frame(struct log *log, struct segment *s, uint64_t offset, const struct frame_header *h,
                 const uint8_t *ops) KIST_MUST_USE;
int follow_capture(struct log *log) KIST_MUST_USE;
/* Work through compacted segments: about limit records. Gate held. */
int follow_moves(struct log *log, size_t limit) KIST_MUST_USE;

int follow_moves_room(struct log *log) KIST_MUST_USE; /* for one more */

/* A walk over the frames of one segment, for everything but the hot path of following. */
struct follow_walk {
    struct log *log;
    struct segment *s;
    uint64_t offset;       /* of the next frame */
    uint8_t tag[SEAL_TAG]; /* of the one before */
    uint64_t at;           /* of the current one */
    struct frame_header header;
    const uint8_t *frame; /* the whole of it, its block opened in place */
    struct buf buffer;
    uint64_t buffer_at;
    size_t chunk;
    uint64_t known_end;
    uint64_t limit; /* 0: none. Stop there */
};
void follow_walk_init(struct follow_walk *w, struct log *log, struct segment *s, uint64_t offset, const uint8_t tag[SEAL_TAG]);
/* 1: the next frame is there · 0: nothing but zeros or the end · KIST_ECORRUPT: something that is no frame. */
int follow_walk_next(struct follow_walk *w) KIST_MUST_USE;
void follow_walk_done(struct follow_walk *w);
/* Does every value of the current frame authenticate? 0, or KIST_ECORRUPT. */
int follow_values(struct follow_walk *w) KIST_MUST_USE;

/* -- writer.c: the right to write -- */

int writer_lock(struct log *log) KIST_MUST_USE; /* gate, kernel lock, caught up; afterwards working root is the truth */
void writer_unlock(struct log *log);
void writer_release(struct log *log); /* after a flush: the kernel lock goes if nothing is pending */

/* -- commit.c: appending (gate held) -- */

/* Append operations as one frame and apply it; not durable yet. *out_sequence is its revision. KIST_ENOSPC, KIST_ETOOBIG,
 * KIST_ENOMEM: nothing happened. deletes_only may use the last reserve of room. */
int commit_append(struct log *log, struct frame_op *ops, size_t n, uint64_t *out_sequence) KIST_MUST_USE;
/* See to it that a frame of total bytes fits into the active segment: roll if it must, and make room on the disk. */
int commit_room(struct log *log, uint64_t total, bool deletes_only) KIST_MUST_USE;
/* Append a frame with a payload (switch, mark, end) where there is room for it. */
int commit_append_payload(struct log *log, enum frame_kind kind, const struct buf *payload, uint64_t *out_sequence) KIST_MUST_USE;
int commit_flush(struct log *log) KIST_MUST_USE; /* any thread, state and flush not held */
/* Wait until sequence is durable, doing the sync if nobody does. KIST_EMAYBE. */
int commit_wait(struct log *log, uint64_t sequence) KIST_MUST_USE;
/* Make target, which is in the file, durable and visible. s is its segment, held by a snapshot; NULL: that has ended, and was
 * synced before the next one was named. No locks held. KIST_EMAYBE. */
int commit_show(struct log *log, struct segment *s, uint64_t target) KIST_MUST_USE;
void commit_stop(struct log *log); /* nothing is written any more: who waits is told */
/* One fsync of the active segment, flushed before. KIST_EMAYBE: the handle is read-only from now on. */
int commit_sync_now(struct log *log) KIST_MUST_USE;
/* A new active segment, now (compaction, rotation). */
int commit_roll(struct log *log) KIST_MUST_USE;

/* -- read.c: values -- */

/* Unseal the value of an entry found in a root that is still held. out_data as in engine_ops.get. pending: the entry may be of
 * a frame that is not in the file yet (the working root; gate held). */
int read_value(struct log *log, const struct entry *e, bool pending, void **out_data) KIST_MUST_USE;
void read_ahead(const struct log *log, const struct entry *e); /* this one will be read soon: a hint */
bool read_expired(const struct entry *e, int64_t *io_now);

/* -- logtxn.c, logcursor.c -- */

int logtxn_begin(struct engine *e, uint64_t bucket, enum engine_mode mode, struct engine_txn **out) KIST_MUST_USE;
int logtxn_commit(struct engine_txn **t, uint64_t *out_revision) KIST_MUST_USE;
void logtxn_abort(struct engine_txn **t);
uint64_t logtxn_revision(const struct engine_txn *t);
int logtxn_get(struct engine_txn *t, struct kist_bytes key, struct engine_meta *out_meta, void **out_data) KIST_MUST_USE;
int logtxn_put(struct engine_txn *t, struct kist_bytes key, struct kist_bytes value, uint8_t type, int64_t expires_ms,
               bool borrow) KIST_MUST_USE;
int logtxn_put_keep(struct engine_txn *t, struct kist_bytes key, struct kist_bytes value, uint8_t type, int64_t expires_ms,
                    bool borrow) KIST_MUST_USE;
int logtxn_del(struct engine_txn *t, struct kist_bytes key) KIST_MUST_USE;
int logtxn_drop(struct engine_txn *t, uint64_t bucket) KIST_MUST_USE;

int logcursor_open(struct engine_txn *t, struct engine_cursor **out) KIST_MUST_USE;
void logcursor_close(struct engine_cursor **c);
int logcursor_seek(struct engine_cursor *c, struct kist_bytes key, bool backward) KIST_MUST_USE;
int logcursor_next(struct engine_cursor *c, bool backward) KIST_MUST_USE;
int logcursor_current(struct engine_cursor *c, struct kist_bytes *out_key, struct engine_meta *out_meta,
                      void **out_data) KIST_MUST_USE;

/* -- changes.c: what was committed lately, for watches -- */

int changes_new(struct log_changes **out) KIST_MUST_USE;
void changes_free(struct log_changes **c);
void changes_add(struct log_changes *c, const struct frame_op *op); /* state held; forgets the oldest */
void changes_forget(struct log_changes *c, uint64_t sequence);      /* nothing up to it is remembered */
int changes_read(struct engine *e, uint64_t *io_since, int (*each)(const struct engine_change *c, void *ctx),
                 void *ctx) KIST_MUST_USE;
int changes_wait(struct engine *e, uint64_t since, int64_t timeout_us, const _Atomic uint32_t *cancel) KIST_MUST_USE;
void changes_wake(struct engine *e);

/* -- recover.c: from files to an index -- */

/* Load everything; the caller holds SHARED_OPEN and says whether it is alone with the store. */
int recover_load(struct log *log, bool alone) KIST_MUST_USE;
/* The very first segment of a new store. */
int recover_create(struct log *log) KIST_MUST_USE;
/* What lies in a directory without a header. */
enum recover_left {
    RECOVER_VACANT,  /* no segments, or no more of one than a store that was not made to its end leaves */
    RECOVER_RESTORE, /* a whole restore that was not finished */
    RECOVER_ORPHANS, /* segments of a store that has lost its header */
};
int recover_left(int dir, enum recover_left *out) KIST_MUST_USE;
#define RECOVER_MARK "restore.tmp" /* a restore is under way, or was */
/* Load anew, up to a sequence that is in the log, while readers keep what they see: after broken, or when the log has
 * gone on so far that what comes next was compacted away. State held; what is pending is in the file already, or is given up. */
int recover_again(struct log *log, uint64_t upto) KIST_MUST_USE;

/* -- salvage.c: what can still be read of a damaged store -- */

int salvage_load(struct log *log) KIST_MUST_USE;

/* -- manifest.c: lists of segments, sealed in MANIFEST and SWITCH frames -- */

struct manifest_row {
    uint64_t number;
    uint8_t kind;
    uint32_t generation;
    uint64_t birth, first_sequence, last_sequence, end;
    uint8_t tag[SEAL_TAG];
};
void manifest_row_add(struct buf *b, const struct segment *s);
/* A manifest of all segments that are part of the store but not_this. */
int manifest_encode(const struct log *log, const struct segment *not_this, struct buf *out) KIST_MUST_USE;
void manifest_switch(struct buf *b, struct segment *const *added, size_t added_n, struct segment *const *removed,
                     size_t removed_n);
/* Read rows: added to each(), removed numbers to gone(). A manifest has no removed ones. */
int manifest_decode(const uint8_t *p, size_t len, int (*added)(const struct manifest_row *row, void *ctx),
                    int (*removed)(uint64_t number, void *ctx), void *ctx) KIST_MUST_USE;

/* -- snapshot.c: the sealed index snapshot -- */

/* Write one of the durable state if it is worth it (force: in any case). Gate held. */
int snapshot_write(struct log *log, bool force) KIST_MUST_USE;
/* Load one: 0 and log->at behind what it holds; KIST_ENOSTORE: there is none that fits. The segments must be in the table. */
int snapshot_load(struct log *log) KIST_MUST_USE;

/* -- policy.c, compact.c, sweep.c, verify.c, backup.c, rekey.c -- */

int policy_all(struct engine *e, kist_progress_fn *progress, void *ctx) KIST_MUST_USE;
/* A slice of work if the policy wants it; called after commits without the gate. */
int policy_step(struct log *log, int64_t budget_us, bool *out_more) KIST_MUST_USE;
/* A record in a segment that is being compacted has died (state held). */
void compact_died(struct log *log, const struct entry *e, const uint8_t *index_key, size_t index_key_len);
void compact_lost(struct log *log);
void compact_stop(struct log *log);
void policy_upkeep(struct log *log); /* after a commit: a little of what the policy wants */
void policy_settle(struct log *log); /* before closing: what the policy wants, to its end */
int sweep_expired(struct engine *e, uint64_t limit, uint64_t *out_swept) KIST_MUST_USE;
bool sweep_due(struct log *log);
/* An index snapshot if one is due and the index has at most so many keys (it is written with the gate held). */
int sweep_snapshot(struct log *log, uint64_t keys) KIST_MUST_USE;
int log_maintain(struct engine *e, int64_t budget_us, bool *out_more) KIST_MUST_USE;
int verify_log(struct engine *e, const struct kist_verify_options *options, struct kist_verify_report *out) KIST_MUST_USE;
int backup_write(struct engine *e, uint64_t since, kist_write_fn *write, void *ctx, uint64_t *out_revision) KIST_MUST_USE;
int rekey_change(struct engine *e, int (*fn)(struct keyring *k, void *ctx), void *ctx) KIST_MUST_USE;
int rekey_read(struct engine *e, int (*fn)(const struct keyring *k, void *ctx), void *ctx) KIST_MUST_USE;
int rekey_rotate(struct engine *e, bool resume, kist_progress_fn *progress, void *ctx) KIST_MUST_USE;
/* Read the file `header` again if another process has changed it. */
int rekey_refresh(struct log *log) KIST_MUST_USE;
int rekey_write(struct log *log) KIST_MUST_USE;         /* the first one */
int rekey_load(int dir, struct buf *out) KIST_MUST_USE; /* the file's bytes */

#endif
