/* snapshot.c: the index on disk, sealed, so that a store with many keys opens fast.
 *
 * It is never needed: whatever is wrong with the file, the log is replayed instead. What it must never do is give a wrong
 * answer. So it counts for one position of one log only: the frame that ends there must be in the log, authentic, with the
 * tag that the snapshot names (the tags are a chain, so everything before it is the same too), and the store must consist
 * of the same segments as then, but for log segments that came later and for segments that nothing in it points to. Any
 * compaction in between makes it stale, and a new one is written. The accounts of the segments are in it, and those that
 * can be counted again while it is loaded are compared.
 *
 * The blocks are sealed under a subkey of the file's own nonce, with their number as counter and the header, their number
 * and whether they are the last as additional data. The key comes from the root key, not from a data key, so that a
 * rotation need not rewrite the file first; the copy that it leaves holds key names under the root key only.
 *
 * Nothing waits for the disk but the rename, which comes after the bytes so that the name never stands for half a file. A
 * rename that a power cut undoes costs time at the next open and nothing else; so does a snapshot that is ahead of what
 * the disk has of the log, since its frame is then not there.
 *
 * Tried and dropped: the start of the last frame in the header (it is not at hand, and looking for a checked header before
 * the position takes microseconds); the expiry index in the file (a third larger for what most stores do not use). */
#include "engine/log.h"

#include <assert.h>

#define SNAPSHOT_MAGIC "KISTIDX1"
#define SNAPSHOT_FORMAT 1
#define SNAPSHOT_TEMP "index.tmp"
#define SNAPSHOT_HEADER 104u
#define SNAPSHOT_BLOCK (64u << 10) /* plaintext of a block: about so much */
#define SNAPSHOT_BLOCK_MAX (SNAPSHOT_BLOCK + LOG_INDEX_KEY + 64)
#define SNAPSHOT_LAST UINT32_C(0x80000000) /* in a block's length: no other follows */

enum { SNAPSHOT_STATE = 1, SNAPSHOT_ENTRIES = 2 }; /* the first byte of a block */

/* Where the fields of the header are; the first SNAPSHOT_AT_NONCE bytes are in the additional data of each block. */
enum {
    SNAPSHOT_AT_FORMAT = 8,
    SNAPSHOT_AT_SUITE = 10,
    SNAPSHOT_AT_STORE = 16,
    SNAPSHOT_AT_SEGMENT = 32,
    SNAPSHOT_AT_OFFSET = 40,
    SNAPSHOT_AT_SEQUENCE = 48,
    SNAPSHOT_AT_TAG = 56,
    SNAPSHOT_AT_NONCE = 72,
    SNAPSHOT_AT_CHECK = 96,
};
#define SNAPSHOT_AD (SNAPSHOT_AT_NONCE + 8)

static void snapshot_header(const struct log *log, const struct log_position *at, uint8_t p[SNAPSHOT_HEADER])
{
    memset(p, 0, SNAPSHOT_HEADER);
    memcpy(p, SNAPSHOT_MAGIC, 8);
    bytes_put16(p + SNAPSHOT_AT_FORMAT, SNAPSHOT_FORMAT);
    p[SNAPSHOT_AT_SUITE] = (uint8_t)log->suite;
    memcpy(p + SNAPSHOT_AT_STORE, log->store_id, 16);
    bytes_put64(p + SNAPSHOT_AT_SEGMENT, at->segment);
    bytes_put64(p + SNAPSHOT_AT_OFFSET, at->offset);
    bytes_put64(p + SNAPSHOT_AT_SEQUENCE, at->sequence);
    memcpy(p + SNAPSHOT_AT_TAG, at->tag, SEAL_TAG);
}

static void snapshot_seal(const struct log *log, const uint8_t *header, struct seal *out)
{
    uint8_t key[SEAL_KEY];
    (void)pthread_rwlock_rdlock((pthread_rwlock_t *)&log->keyring_lock);
    keyring_derive(log->keyring, "kistsnap", 1, key, sizeof key);
    (void)pthread_rwlock_unlock((pthread_rwlock_t *)&log->keyring_lock);
    seal_begin(out, log->suite, key, header + SNAPSHOT_AT_NONCE);
    os_wipe(key, sizeof key);
}

static void snapshot_ad(const uint8_t *header, uint32_t block, uint32_t mark, uint8_t ad[SNAPSHOT_AD])
{
    memcpy(ad, header, SNAPSHOT_AT_NONCE);
    bytes_put32(ad + SNAPSHOT_AT_NONCE, block);
    bytes_put32(ad + SNAPSHOT_AT_NONCE + 4, mark);
}

/* -- the state besides the entries -- */

static void snapshot_segment_add(struct buf *b, const struct segment *s)
{
    manifest_row_add(b, s);
    buf_add_varint(b, s->live_bytes);
    buf_add_varint(b, s->live_count);
    buf_add_varint(b, s->put_count);
    buf_add_varint(b, s->delete_bytes);
    buf_add_varint(b, s->drop_count);
    buf_add_varint(b, s->many_count);
    buf_add_varint(b, s->many_newest);
    buf_add_varint(b, s->guards_len);
    for (size_t i = 0; i < s->guards_len; i++) {
        buf_add_varint(b, s->guards[i].shadow);
        buf_add_varint(b, s->guards[i].count);
    }
}

/* State held. Nothing may be left to move or purge. */
static int snapshot_state(const struct log *log, struct buf *out)
{
    const struct log_table *t = atomic_load(&log->table);
    uint64_t n = 0;
    for (size_t i = 0; i < t->len; i++)
        n += t->slot[i] && !t->slot[i]->gone;
    buf_add_varint(out, log->catalog_revision);
    buf_add_varint(out, log->drops);
    buf_add_varint(out, tree_working(log->index).count);
    buf_add_varint(out, n);
    for (size_t i = 0; i < t->len; i++) {
        if (t->slot[i] && !t->slot[i]->gone)
            snapshot_segment_add(out, t->slot[i]);
    }
    buf_add_varint(out, log->newest);
    return buf_status(out);
}

/* -- writing -- */

struct snapshot_writer {
    struct log *log;
    int fd;
    uint64_t at;      /* where the next block goes */
    uint32_t block;   /* its number */
    struct buf plain; /* the block's length, then what it holds */
    struct seal seal;
    uint8_t header[SNAPSHOT_HEADER];
    size_t key_len; /* of the entry before in this block */
    uint8_t key[LOG_INDEX_KEY];
};

static void snapshot_block_start(struct snapshot_writer *w, uint8_t kind)
{
    buf_reset(&w->plain);
    buf_add_u32(&w->plain, 0);
    buf_add_u8(&w->plain, kind);
    w->key_len = 0;
}

static int snapshot_block_end(struct snapshot_writer *w, bool last)
{
    uint8_t ad[SNAPSHOT_AD], *tag = buf_reserve(&w->plain, SEAL_TAG);
    if (!tag || w->block == UINT32_MAX)
        return tag ? KIST_ETOOBIG : KIST_ENOMEM;
    uint32_t len = (uint32_t)(w->plain.len - 4), mark = len | (last ? SNAPSHOT_LAST : 0);
    assert(len <= SNAPSHOT_BLOCK_MAX);
    uint8_t *p = w->plain.data;
    bytes_put32(p, mark);
    snapshot_ad(w->header, w->block++, mark, ad);
    seal_encrypt(&w->seal, w->block - 1, ad, sizeof ad, p + 4, len, p + 4, tag);
    int r = os_write(w->fd, p, (size_t)4 + len + SEAL_TAG, w->at);
    w->at += (uint64_t)4 + len + SEAL_TAG;
    return r;
}

static int snapshot_write_state(struct snapshot_writer *w, const struct buf *state)
{
    int r = 0;
    for (size_t at = 0; at < state->len && r == 0; at += SNAPSHOT_BLOCK) {
        snapshot_block_start(w, SNAPSHOT_STATE);
        buf_add(&w->plain, state->data + at, bytes_min(SNAPSHOT_BLOCK, state->len - at));
        r = snapshot_block_end(w, false);
    }
    return r;
}

static void snapshot_entry_add(struct snapshot_writer *w, const struct tree_cursor *c)
{
    size_t shared = 0, most = bytes_min(w->key_len, c->key_len);
    while (shared < most && w->key[shared] == c->key[shared])
        shared++;
    buf_add_varint(&w->plain, shared);
    buf_add_varint(&w->plain, c->key_len - shared);
    buf_add(&w->plain, c->key + shared, c->key_len - shared);
    buf_add_u8(&w->plain, (uint8_t)c->payload_len);
    buf_add(&w->plain, c->payload, c->payload_len);
    memcpy(w->key + shared, c->key + shared, c->key_len - shared);
    w->key_len = c->key_len;
}

static int snapshot_write_entries(struct snapshot_writer *w, const struct tree_root *root)
{
    struct tree_cursor *c = os_alloc(sizeof *c);
    int r = 0;
    if (!c)
        return KIST_ENOMEM;
    tree_cursor_init(c, root);
    snapshot_block_start(w, SNAPSHOT_ENTRIES);
    for (bool more = tree_cursor_seek(c, "", 0); more && r == 0; more = tree_cursor_next(c)) {
        if (w->plain.len >= SNAPSHOT_BLOCK) {
            r = snapshot_block_end(w, false);
            snapshot_block_start(w, SNAPSHOT_ENTRIES);
        }
        snapshot_entry_add(w, c);
    }
    if (r == 0)
        r = buf_status(&w->plain);
    os_wipe(c, sizeof *c);
    os_free(c);
    return r ? r : snapshot_block_end(w, true);
}

/* Everything into the temporary file, and to the disk. */
static int snapshot_write_file(struct snapshot_writer *w, const struct buf *state, const struct tree_root *root)
{
    int r = os_random(w->header + SNAPSHOT_AT_NONCE, SEAL_NONCE);
    if (r)
        return r;
    bytes_put64(w->header + SNAPSHOT_AT_CHECK, seal_check(w->log->check_key, w->header, SNAPSHOT_AT_CHECK));
    snapshot_seal(w->log, w->header, &w->seal);
    r = os_write(w->fd, w->header, SNAPSHOT_HEADER, 0);
    w->at = SNAPSHOT_HEADER;
    if (r == 0)
        r = snapshot_write_state(w, state);
    if (r == 0)
        r = snapshot_write_entries(w, root);
    if (r == 0)
        r = os_sync(w->fd);
    seal_end(&w->seal);
    return r;
}

struct snapshot_names {
    uint64_t below;  /* only numbers below */
    uint64_t newest; /* the largest of them; 0: none */
};

static int snapshot_name(const char *name, void *ctx)
{
    struct snapshot_names *names = ctx;
    uint64_t n = segment_number(name, ".idx");
    if (n < names->below && n > names->newest)
        names->newest = n;
    return 0;
}

/* The newest snapshot with a number below; 0: there is none. */
static uint64_t snapshot_newest(const struct log *log, uint64_t below)
{
    struct snapshot_names names = {.below = below};
    return os_list(log->dir, snapshot_name, &names) ? 0 : names.newest;
}

/* The new one gets its name, all others go. */
static int snapshot_name_it(struct log *log, uint64_t number)
{
    char name[SEGMENT_NAME];
    segment_name(number, ".idx", name);
    int r = os_rename(log->dir, SNAPSHOT_TEMP, name);
    for (uint64_t n = UINT64_MAX; r == 0 && (n = snapshot_newest(log, n)) != 0;) {
        segment_name(n, ".idx", name);
        if (n != number)
            r = os_unlink(log->dir, name);
    }
    return r == KIST_ENOSTORE ? 0 : r;
}

static int snapshot_write_new(struct log *log, const struct log_position *at, const struct buf *state,
                              const struct tree_root *root)
{
    struct snapshot_writer *w = os_calloc(sizeof *w);
    if (!w)
        return KIST_ENOMEM;
    w->log = log;
    snapshot_header(log, at, w->header);
    buf_init(&w->plain, true);
    int r = os_unlink(log->dir, SNAPSHOT_TEMP);
    if (r == 0 || r == KIST_ENOSTORE)
        r = os_open(log->dir, SNAPSHOT_TEMP, OS_CREATE | OS_EXCLUSIVE | OS_NOFOLLOW, &w->fd);
    if (r == 0) {
        r = snapshot_write_file(w, state, root);
        os_close(&w->fd);
        if (r == 0)
            r = snapshot_name_it(log, at->segment);
        if (r && os_unlink(log->dir, SNAPSHOT_TEMP))
            log->snapshot_work = 0; /* it stays until the next one is written */
    }
    buf_done(&w->plain);
    os_wipe(w, sizeof *w);
    os_free(w);
    return r;
}

/* A large index is written less often: it costs more than the replay that it saves. State held. */
static bool snapshot_due(const struct log *log)
{
    uint64_t half = tree_working(log->index).count / 2;
    return log->snapshot_work >= (half > LOG_SNAPSHOT_WORK ? half : LOG_SNAPSHOT_WORK);
}

/* Make the working root such that it can be written, and remember what belongs to it. State held. */
static int snapshot_prepare(struct log *log, struct log_position *out_at, struct buf *out_state)
{
    int r = follow_moves(log, SIZE_MAX);
    if (r == 0)
        r = apply_purge(log, SIZE_MAX);
    if (r)
        return r;
    *out_at = log->at;
    return snapshot_state(log, out_state);
}

int snapshot_write(struct log *log, bool force)
{
    struct log_position at;
    struct buf state;
    if (log->memory || log->read_only || log->salvage)
        return 0;
    (void)pthread_mutex_lock(&log->state);
    /* A segment that has ended is a position that nobody follows on from. */
    bool wanted = !log->broken && !log->ended && (force || snapshot_due(log));
    int r = 0;
    buf_init(&state, false);
    if (wanted)
        r = snapshot_prepare(log, &at, &state);
    if (wanted)
        log->snapshot_work = 0; /* also when it fails: the next attempt waits as long */
    struct tree_root root = tree_working(log->index);
    (void)pthread_mutex_unlock(&log->state);
    if (wanted && r == 0)
        r = snapshot_write_new(log, &at, &state, &root);
    buf_done(&state);
    return r;
}

/* -- is it of this log? -- */

/* The frame of s that ends at end: its offset and header. Frames begin on multiples of 8, and a header's check is keyed. */
static bool snapshot_frame_before(struct log *log, struct segment *s, uint64_t end, uint64_t *out_at, struct frame_header *out)
{
    struct frame_context c = log_context(log, s);
    uint8_t *p = os_alloc((16u << 10) + FRAME_HEADER);
    bool found = false;
    size_t n = 0;
    for (uint64_t to = end; p && to > SEGMENT_HEADER && !found;) {
        uint64_t from = to - SEGMENT_HEADER > (16u << 10) ? to - (16u << 10) : SEGMENT_HEADER;
        if (segment_read_some(s, from, p, (size_t)(to - from) + FRAME_HEADER, &n))
            break;
        for (uint64_t at = to; at > from && !found;) {
            at -= 8;
            size_t i = (size_t)(at - from);
            found = i + FRAME_HEADER <= n && frame_header_read(&c, p + i, out) && at + out->len == end;
            *out_at = at;
        }
        to = from;
    }
    os_free(p);
    return found;
}

/* Is the frame that ends at this position in the log, authentic, and no END? */
static bool snapshot_position(struct log *log, const struct log_position *at)
{
    struct segment *s = table_find(log, at->segment);
    struct frame_header h, before;
    uint8_t prev[SEAL_TAG] = {0};
    uint64_t start = 0, earlier = 0;
    if (!s || s->kind != SEGMENT_LOG || at->offset % 8 || at->offset <= SEGMENT_HEADER)
        return false;
    if (at->offset > (s == log->active ? log->follow_limit : s->end))
        return false;
    if (!snapshot_frame_before(log, s, at->offset, &start, &h) || h.kind == FRAME_END || h.sequence != at->sequence ||
        memcmp(h.tag, at->tag, SEAL_TAG))
        return false;
    if (start > SEGMENT_HEADER) {
        if (!snapshot_frame_before(log, s, start, &earlier, &before))
            return false;
        memcpy(prev, before.tag, SEAL_TAG);
    }
    struct frame_context c = log_context(log, s);
    size_t n = (size_t)FRAME_HEADER + h.ops_len;
    uint8_t *frame = os_alloc(n);
    bool good = frame && segment_read(s, start, frame, n) == 0 && frame_open(&c, frame, &h, prev, frame + FRAME_HEADER) == 0;
    if (frame)
        os_wipe(frame, n);
    os_free(frame);
    return good;
}

/* Others may have the store open: then readers must not see by it what is not durable yet. */
static bool snapshot_visible(struct log *log, uint64_t sequence)
{
    bool others = true;
    if (sequence <= atomic_load(&log->shared.page->visible))
        return true;
    return shared_held(&log->shared, SHARED_PRESENCE, &others) == 0 && !others;
}

/* -- loading -- */

struct snapshot_reader {
    struct log *log;
    int fd;
    uint64_t at;
    uint32_t block;
    bool last;
    struct seal seal;
    uint8_t header[SNAPSHOT_HEADER];
    struct log_position position;
    struct buf data; /* one block */
    struct buf state;
    uint64_t expected, loaded; /* entries */
    uint64_t dropped;          /* the bucket of the last drop entry; 0: none */
    uint64_t drops;            /* entries of dropped buckets */
    size_t key_len;
    uint8_t key[LOG_INDEX_KEY];
};

static bool snapshot_read_header(struct snapshot_reader *r)
{
    size_t n = 0;
    uint8_t *p = r->header;
    struct log_position *at = &r->position;
    if (os_read(r->fd, p, SNAPSHOT_HEADER, 0, &n) || n < SNAPSHOT_HEADER)
        return false;
    if (memcmp(p, SNAPSHOT_MAGIC, 8) || bytes_get16(p + SNAPSHOT_AT_FORMAT) != SNAPSHOT_FORMAT ||
        p[SNAPSHOT_AT_SUITE] != r->log->suite || memcmp(p + SNAPSHOT_AT_STORE, r->log->store_id, 16) ||
        bytes_get64(p + SNAPSHOT_AT_CHECK) != seal_check(r->log->check_key, p, SNAPSHOT_AT_CHECK))
        return false;
    at->segment = bytes_get64(p + SNAPSHOT_AT_SEGMENT);
    at->offset = bytes_get64(p + SNAPSHOT_AT_OFFSET);
    at->sequence = bytes_get64(p + SNAPSHOT_AT_SEQUENCE);
    memcpy(at->tag, p + SNAPSHOT_AT_TAG, SEAL_TAG);
    return true;
}

/* The next block, opened: KIST_ENOSTORE when it is not what was written. */
static int snapshot_read_block(struct snapshot_reader *r, struct bytes_in *out, uint8_t *out_kind)
{
    const size_t most = 4 + SNAPSHOT_BLOCK_MAX + SEAL_TAG;
    uint8_t ad[SNAPSHOT_AD];
    size_t n = 0;
    r->data.len = 0;
    uint8_t *p = buf_reserve(&r->data, most);
    if (!p)
        return KIST_ENOMEM;
    if (os_read(r->fd, p, most, r->at, &n) || n < 4)
        return KIST_ENOSTORE;
    r->data.len = n;
    uint32_t mark = bytes_get32(p), len = mark & ~SNAPSHOT_LAST;
    if (len < 1 || len > SNAPSHOT_BLOCK_MAX || (size_t)4 + len + SEAL_TAG > n)
        return KIST_ENOSTORE;
    r->last = (mark & SNAPSHOT_LAST) != 0;
    if (r->last && n != (size_t)4 + len + SEAL_TAG)
        return KIST_ENOSTORE;
    snapshot_ad(r->header, r->block, mark, ad);
    if (seal_decrypt(&r->seal, r->block, ad, sizeof ad, p + 4, len, p + 4 + len, p + 4))
        return KIST_ENOSTORE;
    r->block++;
    r->at += (uint64_t)4 + len + SEAL_TAG;
    *out_kind = p[4];
    *out = bytes_in_init(p + 5, len - 1);
    return 0;
}

/* A segment as the snapshot knew it, but for its guards, which follow. It has no file. */
static bool snapshot_row_read(struct bytes_in *in, struct segment *out)
{
    *out = (struct segment){.fd = -1};
    out->number = bytes_in_varint(in);
    out->kind = (enum segment_kind)bytes_in_u8(in);
    out->generation = bytes_in_u32(in);
    out->birth = bytes_in_varint(in);
    out->first_sequence = bytes_in_varint(in);
    out->last_sequence = bytes_in_varint(in);
    out->end = bytes_in_varint(in);
    const uint8_t *tag = bytes_in_take(in, SEAL_TAG);
    if (tag)
        memcpy(out->last_tag, tag, SEAL_TAG);
    out->live_bytes = bytes_in_varint(in);
    out->live_count = bytes_in_varint(in);
    out->put_count = bytes_in_varint(in);
    out->delete_bytes = bytes_in_varint(in);
    out->drop_count = bytes_in_varint(in);
    out->many_count = bytes_in_varint(in);
    out->many_newest = bytes_in_varint(in);
    out->guards_len = (size_t)bytes_in_varint(in);
    return !in->bad;
}

/* Is it the segment that the store has now? The one of the position has grown since, perhaps. */
static bool snapshot_row_same(const struct snapshot_reader *r, const struct segment *row, const struct segment *s)
{
    if (s->kind != row->kind || s->generation != row->generation || s->birth != row->birth ||
        s->first_sequence != row->first_sequence)
        return false;
    return s->number == r->position.segment ||
           (s->end == row->end && s->last_sequence == row->last_sequence && !memcmp(s->last_tag, row->last_tag, SEAL_TAG));
}

/* Its guards into s, or nowhere (NULL). */
static int snapshot_row_guards(struct bytes_in *in, size_t n, struct segment *s)
{
    if (n > bytes_in_left(in) / 2)
        return KIST_ENOSTORE;
    for (size_t i = 0; i < n; i++) {
        uint64_t shadow = bytes_in_varint(in), count = bytes_in_varint(in);
        if (in->bad || count == 0)
            return KIST_ENOSTORE;
        if (!s)
            continue;
        if (s->guards_len != i) /* one of them twice */
            return KIST_ENOSTORE;
        if (segment_guard_add(s, shadow))
            return KIST_ENOMEM;
        s->guards[s->guards_len - 1].count = count;
    }
    return 0;
}

/* Start of loading: the accounts that cannot be counted again are taken over, the segments compared. */
static int snapshot_row_begin(struct snapshot_reader *r, struct bytes_in *in)
{
    struct segment row;
    if (!snapshot_row_read(in, &row))
        return KIST_ENOSTORE;
    struct segment *s = table_find(r->log, row.number);
    if (s ? !snapshot_row_same(r, &row, s) : row.live_count != 0)
        return KIST_ENOSTORE;
    if (s) {
        s->put_count = row.put_count;
        s->delete_bytes = row.delete_bytes;
        s->drop_count = row.drop_count;
        s->many_count = row.many_count;
        s->many_newest = row.many_newest;
    }
    return snapshot_row_guards(in, row.guards_len, s);
}

/* End of loading: what was counted is what was said. */
static int snapshot_row_end(struct snapshot_reader *r, struct bytes_in *in)
{
    struct segment row;
    if (!snapshot_row_read(in, &row))
        return KIST_ENOSTORE;
    const struct segment *s = table_find(r->log, row.number);
    if (s && (s->live_bytes != row.live_bytes || s->live_count != row.live_count))
        return KIST_ENOSTORE;
    return snapshot_row_guards(in, row.guards_len, NULL);
}

static int snapshot_rows(struct snapshot_reader *r, int (*each)(struct snapshot_reader *r, struct bytes_in *in))
{
    struct bytes_in in = bytes_in_init(r->state.data, r->state.len);
    r->log->catalog_revision = bytes_in_varint(&in);
    r->log->drops = bytes_in_varint(&in);
    r->expected = bytes_in_varint(&in);
    uint64_t n = bytes_in_varint(&in);
    int e = in.bad ? KIST_ENOSTORE : 0;
    for (uint64_t i = 0; i < n && e == 0; i++)
        e = each(r, &in);
    r->log->newest = bytes_in_varint(&in);
    return e == 0 && (in.bad || bytes_in_left(&in)) ? KIST_ENOSTORE : e;
}

/* Is the segment among those that the snapshot knows? */
static bool snapshot_knows(const struct snapshot_reader *r, uint64_t number)
{
    struct bytes_in in = bytes_in_init(r->state.data, r->state.len);
    struct segment row;
    for (int i = 0; i < 3; i++)
        (void)bytes_in_varint(&in);
    for (uint64_t n = bytes_in_varint(&in); n > 0 && snapshot_row_read(&in, &row); n--) {
        if (row.number == number)
            return true;
        if (snapshot_row_guards(&in, row.guards_len, NULL))
            break;
    }
    return false;
}

/* Log segments may have come since, one after the other, and nothing else. */
static bool snapshot_complete(const struct snapshot_reader *r)
{
    const struct log_table *t = atomic_load(&r->log->table);
    uint64_t sequence = 0;
    for (size_t i = 0; i < t->len; i++) {
        const struct segment *s = t->slot[i];
        bool later = s && s->kind == SEGMENT_LOG && s->number > r->position.segment;
        if (s && !later && !snapshot_knows(r, s->number))
            return false;
        if (later && s->first_sequence != sequence + 1)
            return false;
        if (s && s->kind == SEGMENT_LOG)
            sequence = s->last_sequence;
    }
    return true;
}

static int snapshot_add_expiry(struct log *log, const struct entry *e, const uint8_t *key, size_t n)
{
    uint8_t by_time[8 + LOG_INDEX_KEY];
    bytes_put64be(by_time, (uint64_t)e->expires_ms);
    memcpy(by_time + 8, key, n);
    int r = tree_put(log->expiry, by_time, n + 8, "", 0, NULL, NULL);
    os_wipe(by_time, n + 8);
    return r;
}

/* Count what the entry in r->key is; false when no index can hold it. */
static bool snapshot_account(struct snapshot_reader *r, const struct entry *e)
{
    uint64_t bucket = bytes_get64be(r->key);
    if ((e->flags & ENTRY_TOMB) || !e->revision || e->revision > r->position.sequence)
        return false;
    if (e->flags & ENTRY_DROP) {
        r->dropped = bucket;
        r->drops++;
        return r->key_len == 8 && bucket != ENGINE_CATALOG;
    }
    struct segment *s = table_find(r->log, e->segment);
    if (!s || r->key_len == 8 || (r->dropped && bucket == r->dropped))
        return false;
    uint64_t weight = entry_weight(r->key_len - 8, e->len);
    s->live_bytes += weight;
    s->live_count++;
    r->log->live_bytes += weight;
    return true;
}

static int snapshot_load_entry(struct snapshot_reader *r, struct bytes_in *in)
{
    struct entry e;
    uint64_t shared = bytes_in_varint(in), more = bytes_in_varint(in);
    if (in->bad || shared > r->key_len || more > LOG_INDEX_KEY - shared)
        return KIST_ENOSTORE;
    const uint8_t *suffix = bytes_in_take(in, (size_t)more);
    size_t len = bytes_in_u8(in);
    const uint8_t *payload = bytes_in_take(in, len);
    if (!suffix || !payload || shared + more < 8 || len > ENTRY_MAX || !entry_decode(payload, len, &e))
        return KIST_ENOSTORE;
    memcpy(r->key + shared, suffix, (size_t)more);
    r->key_len = (size_t)(shared + more);
    if (!snapshot_account(r, &e))
        return KIST_ENOSTORE;
    r->loaded++;
    int rc = tree_load_add(r->log->index, r->key, r->key_len, payload, len);
    if (rc == 0 && e.expires_ms)
        rc = snapshot_add_expiry(r->log, &e, r->key, r->key_len);
    return rc == KIST_EINVAL ? KIST_ENOSTORE : rc;
}

/* All blocks: the state first, then the entries. */
static int snapshot_load_blocks(struct snapshot_reader *r)
{
    struct bytes_in in;
    uint8_t kind = 0, before = SNAPSHOT_STATE;
    int e = 0;
    while (!r->last) {
        e = snapshot_read_block(r, &in, &kind);
        if (e)
            return e;
        if (kind == SNAPSHOT_STATE && before == SNAPSHOT_STATE) {
            buf_add(&r->state, in.p, bytes_in_left(&in));
            e = buf_status(&r->state);
        } else if (kind != SNAPSHOT_ENTRIES) {
            e = KIST_ENOSTORE;
        } else if (before == SNAPSHOT_STATE) {
            e = snapshot_rows(r, snapshot_row_begin);
            if (e == 0 && !snapshot_complete(r))
                e = KIST_ENOSTORE;
        }
        r->key_len = 0;
        while (kind == SNAPSHOT_ENTRIES && e == 0 && bytes_in_left(&in))
            e = snapshot_load_entry(r, &in);
        before = kind;
        if (e)
            return e;
    }
    if (before != SNAPSHOT_ENTRIES || r->loaded != r->expected || r->drops != r->log->drops)
        return KIST_ENOSTORE;
    return snapshot_rows(r, snapshot_row_end);
}

static int snapshot_load_file(struct snapshot_reader *r)
{
    struct log *log = r->log;
    if (!snapshot_read_header(r) || !snapshot_position(log, &r->position) || !snapshot_visible(log, r->position.sequence))
        return KIST_ENOSTORE;
    snapshot_seal(log, r->header, &r->seal);
    r->at = SNAPSHOT_HEADER;
    int e = snapshot_load_blocks(r);
    if (e == 0)
        e = tree_load_end(log->index);
    seal_end(&r->seal);
    return e;
}

/* It fitted: the log goes on behind it. */
static void snapshot_take_over(struct log *log, const struct log_position *at)
{
    log->at = *at;
    if (at->segment == log->active->number) {
        log->segment_bytes += at->offset - SEGMENT_HEADER; /* the table counted a header so far */
        log->active->last_sequence = at->sequence;
        memcpy(log->active->last_tag, at->tag, SEAL_TAG);
    }
    log->snapshot_work = 0;
    log->from_snapshot = true;
}

static int snapshot_load_one(struct log *log, uint64_t number)
{
    char name[SEGMENT_NAME];
    struct snapshot_reader *r = os_calloc(sizeof *r);
    if (!r)
        return KIST_ENOMEM;
    r->log = log;
    buf_init(&r->data, true);
    buf_init(&r->state, false);
    segment_name(number, ".idx", name);
    int e = os_open(log->dir, name, OS_READONLY | OS_NOFOLLOW, &r->fd) ? KIST_ENOSTORE : 0;
    if (e == 0) {
        e = snapshot_load_file(r);
        os_close(&r->fd);
        if (e)
            apply_clear(log);
        else
            snapshot_take_over(log, &r->position);
    }
    buf_done(&r->data);
    buf_done(&r->state);
    os_wipe(r, sizeof *r);
    os_free(r);
    return e;
}

int snapshot_load(struct log *log)
{
    int r = KIST_ENOSTORE;
    uint64_t number = UINT64_MAX;
    if (log->memory || log->salvage)
        return r;
    while (r == KIST_ENOSTORE && (number = snapshot_newest(log, number)) != 0)
        r = snapshot_load_one(log, number);
    return r;
}
