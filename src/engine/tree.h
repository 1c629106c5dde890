/* An ordered map from bytes to small payloads, in memory, as a copy-on-write B+tree.
 *
 * One writer at a time (the caller sees to that), any number of readers that take no lock. The writer changes
 * a working root; tree_capture() freezes it; tree_publish() shows a frozen root to readers. A reader takes a
 * snapshot, which is a root that stays whole until it is dropped. Nodes made since the last capture are
 * changed in place, all others are copied first. A node is freed when no live snapshot (nor captured root)
 * lies between its birth and its death; the longest-living snapshot therefore pins only what it can see. */
#ifndef KIST_ENGINE_TREE_H
#define KIST_ENGINE_TREE_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TREE_KEY_MAX 4224    /* bytes; keys of one key of a store plus bucket and time prefixes */
#define TREE_PAYLOAD_MAX 128 /* bytes */
#define TREE_AUX 4

struct tree;
struct tree_node;

/* What readers see: borrowed from the tree until the snapshot is dropped. */
struct tree_root {
    const struct tree_node *node; /* NULL when empty */
    uint64_t version;             /* of the capture */
    uint64_t count;               /* keys under it */
    uint64_t tag;                 /* the caller's: what tree_capture was given */
    uint64_t aux[TREE_AUX];       /* the caller's */
};

struct tree_snap {
    struct tree_root root;
    void *slot;
};

int tree_new(struct tree **out) KIST_MUST_USE;
void tree_free(struct tree **t); /* no snapshot may be live */

/* -- the writer -- */

/* Put or replace. *out_old (may be NULL; TREE_PAYLOAD_MAX bytes) gets the payload replaced, *out_old_len its length
 * (SIZE_MAX when the key is new). KIST_ENOMEM leaves the working root unusable until tree_reset(). */
int tree_put(struct tree *t, const void *key, size_t key_len, const void *payload, size_t payload_len, uint8_t *out_old,
             size_t *out_old_len) KIST_MUST_USE;
/* Remove. *out_old as above; SIZE_MAX when it was not there. KIST_ENOMEM as above. */
int tree_delete(struct tree *t, const void *key, size_t key_len, uint8_t *out_old, size_t *out_old_len) KIST_MUST_USE;
/* The working root, to look things up in; valid until the next change. */
struct tree_root tree_working(const struct tree *t);
/* Freeze the working root under a tag that does not shrink from capture to capture. */
int tree_capture(struct tree *t, uint64_t tag, const uint64_t aux[TREE_AUX]) KIST_MUST_USE;
/* Show readers the newest captured root whose tag is <= tag (nothing happens when there is none newer than
 * the one shown), let go of older captured ones and free what nobody can see any more. */
void tree_publish(struct tree *t, uint64_t tag);
/* Empty the working root and forget captures that were not published: for building it anew. Readers keep what they see. */
void tree_reset(struct tree *t);
/* Call release(object) once no snapshot taken before the next capture is live. KIST_ENOMEM: not registered. */
int tree_retire(struct tree *t, void *object, void (*release)(void *object)) KIST_MUST_USE;
/* Free what can be freed now (publish does it by itself, amortised). */
void tree_reclaim(struct tree *t);

/* Fill an empty working root from keys in ascending order, packed full; end with tree_load_end(). KIST_EINVAL when the
 * order is broken. */
int tree_load_add(struct tree *t, const void *key, size_t key_len, const void *payload, size_t payload_len) KIST_MUST_USE;
int tree_load_end(struct tree *t) KIST_MUST_USE;

/* Bytes allocated for nodes, live and waiting. Any thread. */
uint64_t tree_memory(const struct tree *t);

/* -- readers, any thread, no lock -- */

/* The published root. KIST_ENOMEM when no slot can be had. */
int tree_snap_take(struct tree *t, struct tree_snap *out) KIST_MUST_USE;
void tree_snap_drop(struct tree *t, struct tree_snap *snap);
/* The tag of the published root (an atomic load). */
uint64_t tree_published_tag(const struct tree *t);

/* The payload, borrowed from the root, or NULL. */
const uint8_t *tree_find(const struct tree_root *root, const void *key, size_t key_len, size_t *out_len);

struct tree_key {
    const uint8_t *ptr;
    size_t len;
};

#define TREE_WARM_MAX 16
/* Bring the ways to up to TREE_WARM_MAX keys into the processor's caches, side by side: a hint before they are looked up. */
void tree_warm(const struct tree_root *root, const struct tree_key *keys, size_t n);

/* A position in a root. After a call that answered true, key and payload are set; the key lives in the cursor,
 * the payload in the root. Starts nowhere: seek first. */
struct tree_cursor {
    struct tree_root root;
    uint8_t key[TREE_KEY_MAX];
    size_t key_len;
    const uint8_t *payload;
    size_t payload_len;
    struct {
        const struct tree_node *node;
        unsigned index;
    } path[12];
    unsigned depth;
};

void tree_cursor_init(struct tree_cursor *c, const struct tree_root *root);
void tree_cursor_done(struct tree_cursor *c);                                  /* wipes the key; NULL is fine */
bool tree_cursor_seek(struct tree_cursor *c, const void *key, size_t key_len); /* the first key >= key */
bool tree_cursor_seek_last(struct tree_cursor *c, const void *key,
                           size_t key_len); /* the last key < key; NULL: the last of all */
bool tree_cursor_next(struct tree_cursor *c);
bool tree_cursor_prev(struct tree_cursor *c);
/* The payload that the next step will most likely find, without taking it; NULL where that is not known. */
const uint8_t *tree_cursor_peek(const struct tree_cursor *c, bool back, size_t *out_len);

/* Walk everything and assert order, fill, counts, prefixes: for tests. */
void tree_check(const struct tree_root *root);

#endif
