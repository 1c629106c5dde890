/* table.c: the segments of the store by number.
 *
 * Readers find a segment through one atomic load and an index, so the table is replaced as a whole when a segment comes or
 * goes. A segment that is no longer part of the store stays in the table, and its file open, until no snapshot can still
 * have an entry that points into it: the tree, which knows the snapshots, calls back then. */
#include "crypt/secret.h"
#include "engine/log.h"

#include <assert.h>

#define TABLE_MAGIC "KISTSEG1"
#define TABLE_FORMAT 1

struct segment *table_find(const struct log *log, uint64_t number)
{
    const struct log_table *t = atomic_load_explicit(&log->table, memory_order_acquire);
    return t && number >= t->base && number - t->base < t->len ? t->slot[number - t->base] : NULL;
}

static void table_release(void *table)
{
    os_free(table);
}

/* A copy of the table that reaches from first to last. */
static struct log_table *table_copy(const struct log_table *old, uint64_t first, uint64_t last)
{
    size_t len = (size_t)(last - first + 1);
    struct log_table *t = os_calloc(sizeof *t + len * sizeof t->slot[0]);
    if (!t)
        return NULL;
    t->base = first;
    t->len = len;
    for (size_t i = 0; old && i < old->len; i++) {
        if (old->slot[i])
            t->slot[old->base + i - first] = old->slot[i];
    }
    return t;
}

static void table_bounds(const struct log_table *t, uint64_t *io_first, uint64_t *io_last)
{
    for (size_t i = 0; t && i < t->len; i++) {
        if (!t->slot[i])
            continue;
        if (t->base + i < *io_first)
            *io_first = t->base + i;
        if (t->base + i > *io_last)
            *io_last = t->base + i;
    }
}

static int table_replace(struct log *log, struct log_table *t)
{
    struct log_table *old = atomic_load(&log->table);
    if (old) {
        int r = tree_retire(log->index, old, table_release);
        if (r)
            return r;
    }
    atomic_store_explicit(&log->table, t, memory_order_release);
    return 0;
}

/* Values are read through a map where that is wanted and can be survived, else with pread. A log segment will grow: its map
 * reaches to where it is full. */
static void table_map(struct log *log, struct segment *s)
{
    struct os_stat st;
    if ((log->flags & KIST_NO_MAP) || s->fd < 0 || !os_map_guard() || os_stat(s->fd, &st))
        return;
    uint64_t full = s->kind == SEGMENT_LOG ? log->segment_size + 4096 : 0;
    segment_map(s, st.size > full ? st.size : full);
}

int table_add(struct log *log, struct segment *s)
{
    uint64_t first = s->number, last = s->number;
    const struct log_table *old = atomic_load(&log->table);
    assert(!table_find(log, s->number));
    table_bounds(old, &first, &last);
    struct log_table *t = table_copy(old, first, last);
    if (!t)
        return KIST_ENOMEM;
    table_map(log, s);
    t->slot[s->number - first] = s;
    int r = table_replace(log, t);
    if (r) {
        os_free(t);
        return r;
    }
    log->segment_bytes += s->end;
    return 0;
}

/* -- going: the release callback needs the log and the segment -- */

struct table_leaving {
    struct log *log;
    struct segment *segment;
};

static void table_leave(void *p)
{
    struct table_leaving *l = p;
    struct log_table *t = atomic_load(&l->log->table);
    atomic_store(&t->slot[l->segment->number - t->base], NULL); /* in place: nobody who could look there is left */
    segment_free(&l->segment);
    os_free(l);
}

int table_retire(struct log *log, struct segment *s)
{
    struct table_leaving *l = os_alloc(sizeof *l);
    if (!l)
        return KIST_ENOMEM;
    *l = (struct table_leaving){.log = log, .segment = s};
    int r = tree_retire(log->index, l, table_leave);
    if (r) {
        os_free(l);
        return r;
    }
    assert(s->gone && !s->leaving && s->live_count == 0);
    s->leaving = true;
    return 0;
}

void table_free(struct log *log)
{
    struct log_table *t = atomic_load(&log->table);
    for (size_t i = 0; t && i < t->len; i++) {
        struct segment *s = t->slot[i];
        if (s && !s->leaving) /* those that leave are freed by the tree */
            segment_free(&s);
    }
    os_free(t);
    atomic_store(&log->table, NULL);
}

/* -- the header of a segment -- */

static void table_header(const struct log *log, const struct segment *s, uint8_t p[SEGMENT_HEADER])
{
    memset(p, 0, SEGMENT_HEADER);
    memcpy(p, TABLE_MAGIC, 8);
    bytes_put16(p + 8, TABLE_FORMAT);
    p[10] = (uint8_t)s->kind;
    p[11] = (uint8_t)log->suite;
    bytes_put32(p + 12, s->generation);
    memcpy(p + 16, log->store_id, 16);
    bytes_put64(p + 32, s->number);
    bytes_put64(p + 40, s->birth);
    bytes_put64(p + 56, seal_check(log->check_key, p, 56));
}

/* A copy of the data key of a generation, from the keyring. keyring_lock held for writing. */
static int table_key_add(struct log *log, uint32_t generation, struct log_key **out)
{
    const uint8_t *key = keyring_data_key(log->keyring, generation);
    void *p = NULL;
    if (!key)
        return KIST_ECORRUPT;
    int r = secret_new(sizeof(struct log_key), &p);
    if (r)
        return r;
    struct log_key *k = p;
    k->generation = generation;
    memcpy(k->key, key, SEAL_KEY);
    k->next = log->keys;
    log->keys = k;
    *out = k;
    return 0;
}

static int table_key_find(struct log *log, struct segment *s)
{
    int r = 0;
    (void)pthread_rwlock_wrlock(&log->keyring_lock);
    struct log_key *k = log->keys;
    while (k && k->generation != s->generation)
        k = k->next;
    if (!k)
        r = table_key_add(log, s->generation, &k);
    (void)pthread_rwlock_unlock(&log->keyring_lock);
    if (r == 0)
        s->data_key = k->key;
    return r;
}

int table_key(struct log *log, struct segment *s)
{
    int r = table_key_find(log, s);
    if (r != KIST_ECORRUPT || log->memory)
        return r;
    r = rekey_refresh(log); /* another process may have made it a moment ago */
    return r ? r : table_key_find(log, s);
}

void table_keys_free(struct log *log)
{
    while (log->keys) {
        void *k = log->keys;
        log->keys = log->keys->next;
        secret_free(&k);
    }
}

static int table_read_header(struct log *log, struct segment *s)
{
    uint8_t p[SEGMENT_HEADER];
    size_t n = 0;
    int r = segment_read_some(s, 0, p, sizeof p, &n);
    if (r)
        return r;
    if (n < sizeof p || memcmp(p, TABLE_MAGIC, 8))
        return KIST_ECORRUPT;
    if (bytes_get16(p + 8) > TABLE_FORMAT)
        return KIST_ENEWER;
    if (bytes_get64(p + 56) != seal_check(log->check_key, p, 56) || memcmp(p + 16, log->store_id, 16) ||
        bytes_get64(p + 32) != s->number || p[11] != log->suite)
        return KIST_ECORRUPT;
    if (p[10] != SEGMENT_LOG && p[10] != SEGMENT_COMPACTED)
        return KIST_ECORRUPT;
    s->kind = (enum segment_kind)p[10];
    s->generation = bytes_get32(p + 12);
    s->birth = bytes_get64(p + 40);
    s->end = SEGMENT_HEADER;
    return table_key(log, s);
}

int table_open(struct log *log, uint64_t number, struct segment **out)
{
    char name[SEGMENT_NAME];
    int fd = -1;
    struct segment *s = NULL;
    segment_name(number, ".log", name);
    int r = os_open(log->dir, name, (log->read_only ? OS_READONLY : 0) | OS_NOFOLLOW, &fd);
    if (r == 0)
        r = segment_new_file(number, &fd, &s);
    if (r == 0)
        r = table_read_header(log, s);
    if (r) {
        segment_free(&s);
        return error_set(log->base.detail, r, "segment %s: %s", name,
                         r == KIST_ENOSTORE ? "the file is missing"
                         : r == KIST_ENEWER ? "made by a newer version of kist"
                                            : "the header is unreadable or not of this store");
    }
    *out = s;
    return 0;
}

int table_create(struct log *log, uint64_t number, enum segment_kind kind, uint64_t birth, const char *name, uint64_t ahead,
                 struct segment **out)
{
    char own[SEGMENT_NAME];
    uint8_t header[SEGMENT_HEADER];
    int fd = -1, r = 0;
    struct segment *s = NULL;
    segment_name(number, ".log", own);
    if (log->memory)
        r = segment_new_memory(number, log->segment_size > log->room_needed ? log->segment_size : log->room_needed, &s);
    else {
        r = os_open(log->dir, name ? name : own, OS_CREATE | OS_EXCLUSIVE | OS_NOFOLLOW, &fd);
        if (r == 0)
            r = segment_new_file(number, &fd, &s);
    }
    if (r)
        return r;
    s->kind = kind;
    s->birth = birth;
    s->ahead = ahead;
    (void)pthread_rwlock_rdlock(&log->keyring_lock);
    s->generation = keyring_generation(log->keyring);
    (void)pthread_rwlock_unlock(&log->keyring_lock);
    table_header(log, s, header);
    s->end = SEGMENT_HEADER;
    r = table_key(log, s);
    if (r == 0)
        r = segment_make_room(s, 0, sizeof header, 0);
    if (r == 0)
        r = segment_write(s, 0, header, sizeof header);
    if (r)
        segment_free(&s);
    else
        *out = s;
    return r;
}
