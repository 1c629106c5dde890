/* tree_snap.c: snapshots without a lock, and when a dead node may be freed.
 *
 * A snapshot is a hazard pointer to a record, which holds a root. A reader
 *     1. loads the published record,
 *     2. puts it into a slot of its own (one compare-and-swap both claims the slot and publishes
 * the claim),
 *     3. loads the published record again; if it is another, it puts that one into the slot and
 * repeats 3. The writer first stores the new published record, then, when it wants to free, looks
 * into all slots. All four accesses are seq_cst. If 3 saw the old record still published, then the
 * reader's store came before the writer's store in their single order, hence before the writer's
 * look at the slots: the writer sees the claim. If the claim came later, 3 sees the new record. A
 * retry means that somebody published: lock-free. A slot may for a moment name a record that was
 * superseded and reused (a reader stopped between 1 and 2). So records live as long as the tree;
 * the writer may look at any of them, and marking one too many only keeps nodes a little longer.
 * That the record may have been published anew under the same address does no harm: what counts is
 * what it holds when 3 has agreed. A drop stores NULL with release; the writer's load (or the next
 * owner's compare-and-swap, which continues the release sequence) acquires it, so that all reads
 * under a snapshot happen before the free.
 *
 * Nodes know the version of their birth and death. A version s sees the node when birth <= s <
 * death. The records in the order of their versions are searched for one in between; none: free. A
 * snapshot that sleeps for an hour pins what it can see, not what came and went meanwhile. A scan
 * costs slots + dead nodes x log(records); it is made when the dead have doubled since the last
 * one's survivors, so that it costs each death O(1). Not taken: epochs and reference counts on
 * roots (a sleeper pins everything after it, or readers share a cache line); a seqlock around the
 * root (a stopped writer stops readers); an allocation per dead node (deaths must not fail: they
 * are linked through the nodes).
 *
 * No globals: the slot to try first comes from the address of the caller's stack. */
#include "engine/tree_snap.h"

#include "base/array.h"
#include "base/os.h"

#include <assert.h>

enum { TREE_SNAP_DEAD_MIN = 64 };

/* -- readers -- */

/* Threads have their stacks far apart, a thread stays within some KiB of its own. */
static unsigned tree_snap_first(void)
{
    char here;
    uint64_t h = (uint64_t)((uintptr_t)&here >> 14) * UINT64_C(0x9e3779b97f4a7c15);
    return (unsigned)(h >> 32) % TREE_SNAP_SLOTS;
}

static struct tree_snap_slot *tree_snap_claim_in(struct tree_snap_chunk *chunk, unsigned first, struct tree_record *record)
{
    for (unsigned i = 0; i < TREE_SNAP_SLOTS; i++) {
        struct tree_snap_slot *slot = &chunk->slots[(first + i) % TREE_SNAP_SLOTS];
        struct tree_record *nobody = NULL;
        if (!atomic_load_explicit(&slot->record, memory_order_relaxed) &&
            atomic_compare_exchange_strong(&slot->record, &nobody, record))
            return slot;
    }
    return NULL;
}

static void tree_snap_chunk_init(struct tree_snap_chunk *chunk)
{
    for (unsigned i = 0; i < TREE_SNAP_SLOTS; i++)
        atomic_init(&chunk->slots[i].record, NULL);
    atomic_init(&chunk->next, NULL);
}

/* The chunk after this one, made when there is none; NULL without memory. */
static struct tree_snap_chunk *tree_snap_chunk_next(struct tree_snap_chunk *chunk)
{
    struct tree_snap_chunk *next = atomic_load_explicit(&chunk->next, memory_order_acquire);
    if (next)
        return next;
    struct tree_snap_chunk *made = os_alloc_aligned(64, sizeof *made);
    if (!made)
        return NULL;
    tree_snap_chunk_init(made);
    if (atomic_compare_exchange_strong(&chunk->next, &next, made))
        return made;
    os_free(made);
    return next;
}

int tree_snap_take(struct tree *t, struct tree_snap *out)
{
    assert(t->magic == TREE_MAGIC);
    unsigned first = tree_snap_first();
    struct tree_record *record = atomic_load(&t->published);
    struct tree_snap_chunk *chunk = &t->chunk;
    struct tree_snap_slot *slot;
    while (!(slot = tree_snap_claim_in(chunk, first, record))) {
        chunk = tree_snap_chunk_next(chunk);
        if (!chunk)
            return KIST_ENOMEM;
    }
    for (;;) {
        struct tree_record *now = atomic_load(&t->published);
        if (now == record)
            break;
        record = now;
        atomic_store(&slot->record, record);
    }
    *out = (struct tree_snap){.root = record->root, .slot = slot};
    return 0;
}

void tree_snap_drop(struct tree *t, struct tree_snap *snap)
{
    struct tree_snap_slot *slot = snap->slot;
    assert(t->magic == TREE_MAGIC && slot);
    atomic_store_explicit(&slot->record, NULL, memory_order_release);
    *snap = (struct tree_snap){.slot = NULL};
}

uint64_t tree_published_tag(const struct tree *t)
{
    return atomic_load_explicit(&t->published_tag, memory_order_acquire);
}

/* -- records -- */

/* An unused record and room in the list for it, or NULL. */
static struct tree_record *tree_snap_record(struct tree *t)
{
    struct tree_record **records = array_room(t->records, t->records_n, &t->records_cap, sizeof(struct tree_record *));
    if (!records)
        return NULL;
    t->records = records;
    struct tree_record *record = t->spare;
    if (record)
        t->spare = record->spare;
    else
        record = os_calloc(sizeof *record);
    return record;
}

static void tree_snap_unrecord(struct tree *t, struct tree_record *record)
{
    record->spare = t->spare;
    t->spare = record;
}

int tree_capture(struct tree *t, uint64_t tag, const uint64_t aux[TREE_AUX])
{
    assert(t->magic == TREE_MAGIC && tag >= t->tag);
    struct tree_record *record = t->broken ? NULL : tree_snap_record(t);
    if (!record)
        return KIST_ENOMEM;
    record->root = (struct tree_root){.node = t->root, .version = t->version, .count = t->count, .tag = tag};
    memcpy(record->root.aux, aux, sizeof record->root.aux);
    t->records[t->records_n++] = record;
    t->version++;
    t->tag = tag;
    return 0;
}

int tree_snap_init(struct tree *t)
{
    const uint64_t aux[TREE_AUX] = {0};
    tree_snap_chunk_init(&t->chunk);
    t->records_limit = TREE_SNAP_DEAD_MIN;
    t->dead_limit = TREE_SNAP_DEAD_MIN;
    int rc = tree_capture(t, 0, aux);
    if (rc)
        return rc;
    atomic_init(&t->published, t->records[0]);
    atomic_init(&t->published_tag, 0);
    return 0;
}

void tree_snap_forget(struct tree *t)
{
    while (t->records_n > t->shown + 1)
        tree_snap_unrecord(t, t->records[--t->records_n]);
    t->tag = t->records[t->shown]->root.tag;
}

/* -- reclaiming -- */

/* Which records do slots name? */
static void tree_snap_mark(struct tree *t)
{
    t->scan++;
    for (struct tree_snap_chunk *c = &t->chunk; c; c = atomic_load_explicit(&c->next, memory_order_acquire))
        for (unsigned i = 0; i < TREE_SNAP_SLOTS; i++) {
            struct tree_record *record = atomic_load(&c->slots[i].record);
            if (record)
                record->mark = t->scan;
        }
}

/* Forget superseded records that no slot names. */
static void tree_snap_sweep_records(struct tree *t)
{
    size_t kept = 0;
    tree_snap_mark(t);
    for (size_t i = 0; i < t->records_n; i++)
        if (i >= t->shown || t->records[i]->mark == t->scan)
            t->records[kept++] = t->records[i];
        else
            tree_snap_unrecord(t, t->records[i]);
    t->shown -= t->records_n - kept;
    t->records_n = kept;
    t->records_limit = 2 * kept + TREE_SNAP_DEAD_MIN;
}

/* Is there a record with birth <= version < death? */
static bool tree_snap_seen(const struct tree *t, uint64_t birth, uint64_t death)
{
    size_t lo = 0, hi = t->records_n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (t->records[mid]->root.version < birth)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < t->records_n && t->records[lo]->root.version < death;
}

static void tree_snap_sweep_nodes(struct tree *t)
{
    struct tree_node **at = &t->dead;
    while (*at) {
        struct tree_node *n = *at;
        if (tree_snap_seen(t, n->birth, n->death)) {
            at = &n->next;
            continue;
        }
        *at = n->next;
        tree_node_free(&t->slabs, n);
        t->dead_n--;
    }
    t->dead_limit = 2 * t->dead_n + TREE_SNAP_DEAD_MIN;
}

static void tree_snap_sweep_retired(struct tree *t)
{
    struct tree_retired **at = &t->retired;
    while (*at) {
        struct tree_retired *r = *at;
        if (t->records[0]->root.version < r->death) {
            at = &r->next;
            continue;
        }
        *at = r->next;
        r->release(r->object);
        os_free(r);
    }
}

void tree_reclaim(struct tree *t)
{
    assert(t->magic == TREE_MAGIC);
    tree_snap_sweep_records(t);
    tree_snap_sweep_nodes(t);
    tree_snap_sweep_retired(t);
}

void tree_publish(struct tree *t, uint64_t tag)
{
    assert(t->magic == TREE_MAGIC);
    size_t i = t->records_n - 1;
    while (i > t->shown && t->records[i]->root.tag > tag)
        i--;
    if (i == t->shown)
        return;
    struct tree_record *record = t->records[i];
    size_t skipped = i - t->shown - 1; /* nobody saw them, nobody will */
    for (size_t k = t->shown + 1; k < i; k++)
        tree_snap_unrecord(t, t->records[k]);
    memmove(t->records + t->shown + 1, t->records + i, (t->records_n - i) * sizeof *t->records);
    t->records_n -= skipped;
    t->shown++;
    atomic_store(&t->published, record);
    atomic_store_explicit(&t->published_tag, record->root.tag, memory_order_release);
    if (t->dead_n >= t->dead_limit || t->records_n >= t->records_limit) {
        tree_reclaim(t);
    } else if (t->retired) { /* these may be files: soon */
        tree_snap_sweep_records(t);
        tree_snap_sweep_retired(t);
    }
}

int tree_retire(struct tree *t, void *object, void (*release)(void *object))
{
    assert(t->magic == TREE_MAGIC && release);
    struct tree_retired *r = os_alloc(sizeof *r);
    if (!r)
        return KIST_ENOMEM;
    *r = (struct tree_retired){.next = t->retired, .death = t->version, .object = object, .release = release};
    t->retired = r;
    return 0;
}

void tree_snap_kill(struct tree *t, struct tree_node *n)
{
    if (n->birth == t->version) {
        tree_node_free(&t->slabs, n);
        return;
    }
    assert(n->birth < t->version && n->death == 0);
    n->death = t->version;
    n->next = t->dead;
    t->dead = n;
    t->dead_n++;
}

static void tree_snap_free_chunks(struct tree *t)
{
    struct tree_snap_chunk *c = &t->chunk;
    while (c) {
        struct tree_snap_chunk *next = atomic_load_explicit(&c->next, memory_order_acquire);
        for (unsigned i = 0; i < TREE_SNAP_SLOTS; i++)
            assert(!atomic_load_explicit(&c->slots[i].record, memory_order_acquire)); /* a live snapshot */
        if (c != &t->chunk)
            os_free(c);
        c = next;
    }
}

void tree_snap_done(struct tree *t)
{
    tree_snap_free_chunks(t);
    while (t->dead) {
        struct tree_node *n = t->dead;
        t->dead = n->next;
        tree_node_free(&t->slabs, n);
    }
    while (t->retired) {
        struct tree_retired *r = t->retired;
        t->retired = r->next;
        r->release(r->object);
        os_free(r);
    }
    for (size_t i = 0; i < t->records_n; i++)
        tree_snap_unrecord(t, t->records[i]);
    while (t->spare) {
        struct tree_record *record = t->spare;
        t->spare = record->spare;
        os_free(record);
    }
    os_free(t->records);
}
