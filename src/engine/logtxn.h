/* A transaction of the log engine, as logtxn.c and logcursor.c share it. */
#ifndef KIST_ENGINE_LOGTXN_H
#define KIST_ENGINE_LOGTXN_H

#include "engine/log.h"

#define LOGTXN_FEW 8u /* writes that are searched one by one; from there on by a tree */

/* The last write of a key. The key, and the value unless borrowed, lie behind the struct. */
struct logtxn_write {
    enum frame_op_kind kind;
    uint8_t type;
    bool keep; /* of a put: type and expiry still depend on the record there (put_keep) */
    int64_t expires_ms;
    const uint8_t *value;
    uint32_t len;
    uint32_t key_len; /* of the index key */
    size_t size;      /* of this allocation: key and copied value are wiped with it */
    uint8_t key[];
};

/* What an optimistic transaction has read: a key (to is NULL) or everything from from to to, both included. */
struct logtxn_range {
    uint8_t *from, *to;
    size_t from_len, to_len;
};

struct logtxn {
    struct engine_txn base;
    struct tree_snap snap; /* not for exclusive */
    int64_t now;           /* what counts as expired; 0: not asked yet */
    struct logtxn_write **writes;
    size_t writes_len, writes_cap;
    uint64_t writes_bytes;
    uint64_t writes_changed; /* counts: cursors look again */
    struct tree *order;      /* index key -> position in writes; made when there are many or a cursor asks */
    struct logtxn_range *reads;
    size_t reads_len, reads_cap;
    struct logtxn_write *few[LOGTXN_FEW];
};

static inline struct logtxn *logtxn_of(struct engine_txn *t)
{
    return (struct logtxn *)t;
}

/* The root that it reads: its snapshot's, or the working root. */
struct tree_root logtxn_root(struct logtxn *t);
/* Make t->order. */
int logtxn_sort(struct logtxn *t) KIST_MUST_USE;
/* Remember that [from, to] was read; NULL to: only from. Nothing to do unless optimistic. */
void logtxn_forget(uint8_t *key, size_t key_len); /* wipes and frees; NULL is fine */
int logtxn_note(struct logtxn *t, const uint8_t *from, size_t from_len, const uint8_t *to, size_t to_len) KIST_MUST_USE;

#endif
