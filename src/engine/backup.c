/* backup.c: a store as one sealed stream: writing it, and reading it again.
 *
 * In clear comes the store's header file, which anybody who has the directory can read anyway: with it the stream opens with
 * any secret that opens the store. What follows is a stream (crypt/stream.h) under a key made of the root key, bound to
 * those clear bytes by their hash. The records come from one snapshot, in the order of the index, while others go on
 * writing; no lock is held.
 *
 * A backup since a revision has every record that is there, but the value only when it is younger than that: what is not
 * named any more was deleted. That costs a key for each record and needs no deletes to be remembered. Records that have
 * expired and were not swept yet are in it too; they stay expired.
 *
 * The head names the lineage that the revisions count (lineage.c). An increment that starts before the store was restored
 * could go onto nothing, and of a salvaged store it would delete what could not be read: both are refused here, not when
 * the backup is needed. What a backup holds is durable in the store first (KIST_SYNC_NONE): else a power cut could take
 * its revisions back and the store give them to other commits, and the next increment would go on from those. */
#include "engine/backup.h"

#include <assert.h>

void backup_context(const uint8_t *clear, size_t len, uint8_t out[BACKUP_CONTEXT])
{
    seal_hash(out, BACKUP_CONTEXT, NULL, 0, clear, len);
}

void backup_key(const struct keyring *kr, uint8_t out[UNLOCK_KEY])
{
    keyring_derive(kr, "kistbkup", 1, out, UNLOCK_KEY);
}

/* -- writing -- */

struct backup_writer {
    struct log *log;
    uint64_t since;
    struct lineage lineage;
    kist_write_fn *write;
    void *ctx;
    struct stream_writer *stream;
    struct backup_counts counts;
    struct buf record;
};

static int backup_out(void *ctx, const void *p, size_t len)
{
    struct backup_writer *w = ctx;
    int r = w->write(p, len, w->ctx);
    return r > 0 ? KIST_EIO : r; /* nobody can tell what a positive answer means */
}

/* The preamble and the header, and the stream's beginning. */
static int backup_begin(struct backup_writer *w)
{
    struct log *log = w->log;
    uint8_t key[UNLOCK_KEY], context[BACKUP_CONTEXT];
    struct unlock u = {.kind = UNLOCK_DIRECT, .ptr = key, .len = sizeof key};
    struct buf clear;
    int r = rekey_refresh(log);
    if (r)
        return r;
    buf_init(&clear, false);
    uint8_t *p = buf_grow(&clear, BACKUP_PREAMBLE);
    r = p ? 0 : KIST_ENOMEM;
    (void)pthread_rwlock_rdlock(&log->keyring_lock);
    if (r == 0)
        r = keyring_encode(log->keyring, &clear);
    backup_key(log->keyring, key);
    (void)pthread_rwlock_unlock(&log->keyring_lock);
    if (r == 0) {
        p = clear.data;
        memcpy(p, BACKUP_MAGIC, 8);
        bytes_put16(p + 8, BACKUP_FORMAT);
        bytes_put16(p + 10, 0);
        bytes_put32(p + 12, (uint32_t)(clear.len - BACKUP_PREAMBLE));
        backup_context(clear.data, clear.len, context);
        r = backup_out(w, clear.data, clear.len);
    }
    if (r == 0)
        r = stream_write_begin((const uint8_t *)BACKUP_STREAM_MAGIC, &u, context, sizeof context, backup_out, w, &w->stream);
    os_wipe(key, sizeof key);
    buf_done(&clear);
    return r;
}

/* w->record, its length in front. */
static int backup_write_record(struct backup_writer *w)
{
    uint8_t len[2];
    int r = buf_status(&w->record);
    if (r)
        return r;
    assert(w->record.len <= BACKUP_RECORD_MAX);
    bytes_put16(len, (uint16_t)w->record.len);
    r = stream_write(w->stream, len, sizeof len);
    return r ? r : stream_write(w->stream, w->record.data, w->record.len);
}

static void backup_record_begin(struct backup_writer *w, enum backup_kind kind)
{
    w->record.len = 0;
    buf_add_u8(&w->record, (uint8_t)kind);
}

static int backup_head(struct backup_writer *w, uint64_t revision)
{
    w->record.len = 0;
    buf_add_varint(&w->record, w->since);
    buf_add_varint(&w->record, revision);
    buf_add(&w->record, w->lineage.own, LINEAGE_ID);
    return backup_write_record(w);
}

static int backup_put(struct backup_writer *w, const struct tree_cursor *c, const struct entry *e)
{
    void *value = NULL;
    bool same = e->revision <= w->since;
    backup_record_begin(w, same ? BACKUP_SAME : BACKUP_PUT);
    buf_add_varint(&w->record, bytes_get64be(c->key));
    buf_add_varint(&w->record, e->revision);
    buf_add_varint(&w->record, c->key_len - 8);
    buf_add(&w->record, c->key + 8, c->key_len - 8);
    if (same) {
        w->counts.same++;
        return backup_write_record(w);
    }
    w->counts.put++;
    buf_add_u8(&w->record, e->flags & ENTRY_TYPE);
    buf_add_u64(&w->record, (uint64_t)e->expires_ms);
    buf_add_varint(&w->record, e->len);
    int r = read_value(w->log, e, false, &value);
    if (r == 0)
        r = backup_write_record(w);
    if (r == 0)
        r = stream_write(w->stream, value, e->len);
    if (value)
        os_wipe(value, e->len);
    os_free(value);
    return r;
}

static int backup_drop(struct backup_writer *w, uint64_t bucket, uint64_t revision)
{
    w->counts.dropped++;
    backup_record_begin(w, BACKUP_DROP);
    buf_add_varint(&w->record, bucket);
    buf_add_varint(&w->record, revision);
    return backup_write_record(w);
}

static int backup_records(struct backup_writer *w, const struct tree_root *root)
{
    struct tree_cursor *c = os_alloc(sizeof *c);
    uint64_t dropped = 0;
    int r = 0;
    if (!c)
        return KIST_ENOMEM;
    tree_cursor_init(c, root);
    for (bool more = tree_cursor_seek(c, "", 0); more && r == 0; more = tree_cursor_next(c)) {
        struct entry e;
        uint64_t bucket = bytes_get64be(c->key);
        bool good = entry_decode(c->payload, c->payload_len, &e);
        assert(good);
        if (lineage_is(c->key, c->key_len))
            continue;
        if (e.flags & ENTRY_DROP) {
            dropped = bucket;
            r = backup_drop(w, bucket, e.revision);
        } else if (!dropped || bucket != dropped) {
            r = backup_put(w, c, &e);
        }
    }
    os_wipe(c, sizeof *c);
    os_free(c);
    return r;
}

static int backup_end(struct backup_writer *w, uint64_t revision)
{
    backup_record_begin(w, BACKUP_END);
    buf_add_varint(&w->record, w->counts.put);
    buf_add_varint(&w->record, w->counts.same);
    buf_add_varint(&w->record, w->counts.dropped);
    buf_add_varint(&w->record, revision);
    int r = backup_write_record(w);
    return r ? r : stream_write_end(&w->stream);
}

/* Can an increment start there? */
static int backup_since(const struct backup_writer *w, uint64_t revision)
{
    struct error_detail *d = w->log->base.detail;
    if (w->since > revision)
        return error_set(d, KIST_EROLLBACK, "the store is at revision %llu: there is nothing since %llu",
                         (unsigned long long)revision, (unsigned long long)w->since);
    if (w->since && w->since < w->lineage.begins)
        return error_set(
            d, KIST_EROLLBACK,
            "the store was restored at revision %llu: what starts at %llu continues no backup of it; make a whole one",
            (unsigned long long)w->lineage.begins, (unsigned long long)w->since);
    if (w->since && w->log->salvaged)
        return error_set(d, KIST_ENOTSUP,
                         "the store is damaged: an increment would delete what cannot be read; make a whole backup");
    return 0;
}

/* A salvaged store has perhaps lost the record, and certainly more: nothing is to continue its backup. */
static int backup_lineage(struct backup_writer *w, const struct tree_root *root)
{
    return w->log->salvaged ? os_random(w->lineage.own, LINEAGE_ID) : lineage_read(w->log, root, &w->lineage);
}

static int backup_write_root(struct backup_writer *w, const struct tree_root *root)
{
    int r = backup_lineage(w, root);
    if (r == 0)
        r = backup_since(w, root->tag);
    if (r == 0)
        r = backup_begin(w);
    if (r == 0)
        r = backup_head(w, root->tag);
    if (r == 0)
        r = backup_records(w, root);
    if (r == 0)
        r = backup_end(w, root->tag);
    return r;
}

/* What is visible is in the file; segments before the active one were synced when they ended. */
static int backup_durable(struct log *log, struct segment *active, uint64_t revision)
{
    if (log->salvaged || atomic_load(&log->shared.page->durable) >= revision)
        return 0;
    bool held = true;
    int r = segment_sync(active);
    if (r && log->read_only && shared_held(&log->shared, SHARED_PRESENCE, &held) == 0 && !held)
        return 0; /* nobody writes: perhaps nobody can, and such a medium cannot be synced */
    return r ? error_set(log->base.detail, r, "what is to be backed up cannot be made durable") : 0;
}

int backup_write(struct engine *e, uint64_t since, kist_write_fn *write, void *ctx, uint64_t *out_revision)
{
    struct log *log = log_of(e);
    struct backup_writer w = {.log = log, .since = since, .write = write, .ctx = ctx};
    struct tree_snap snap;
    int r = log_entered(log);
    if (r)
        return r;
    if (log->memory)
        return error_set(e->detail, KIST_ENOTSUP, "no secret opens a store in memory: it cannot be backed up");
    r = follow_fresh(log);
    (void)pthread_mutex_lock(&log->state);
    if (r == 0)
        r = tree_snap_take(log->index, &snap); /* keeps the active segment, too */
    struct segment *active = log->active;
    (void)pthread_mutex_unlock(&log->state);
    if (r)
        return r;
    buf_init(&w.record, true);
    r = backup_durable(log, active, snap.root.tag);
    if (r == 0)
        r = backup_write_root(&w, &snap.root);
    if (w.stream)
        stream_write_abort(&w.stream);
    if (r == 0 && out_revision)
        *out_revision = snap.root.tag;
    buf_done(&w.record);
    tree_snap_drop(log->index, &snap);
    return r;
}

/* -- reading -- */

static int backup_in(void *ctx, void *p, size_t len, size_t *out_n)
{
    struct backup_reader *r = ctx;
    size_t n = 0;
    int e = os_read(r->fd, p, len, r->at, &n);
    if (e)
        return e;
    r->at += n;
    *out_n = n;
    return 0;
}

static int backup_damaged(const struct backup_reader *r, const char *what)
{
    return error_set(r->detail, KIST_ECORRUPT, "the backup is damaged: %s", what);
}

/* The clear part: the keyring with u, the context of the stream. */
static int backup_read_clear(struct backup_reader *r, const struct unlock *u, uint8_t context[BACKUP_CONTEXT])
{
    uint8_t clear[BACKUP_PREAMBLE + KEYRING_ENCODED_MAX];
    size_t n = 0;
    int e = os_read(r->fd, clear, BACKUP_PREAMBLE, 0, &n);
    if (e)
        return e;
    if (memcmp(clear, BACKUP_MAGIC, bytes_min(n, 8)) || n == 0)
        return error_set(r->detail, KIST_ENOTKIST, "not a backup of a store");
    if (n < BACKUP_PREAMBLE)
        return backup_damaged(r, "it ends in its first bytes");
    if (bytes_get16(clear + 8) > BACKUP_FORMAT)
        return error_set(r->detail, KIST_ENEWER, "the backup has format %u", (unsigned)bytes_get16(clear + 8));
    uint32_t len = bytes_get32(clear + 12);
    if (bytes_get16(clear + 8) == 0 || bytes_get16(clear + 10) || len > KEYRING_ENCODED_MAX)
        return backup_damaged(r, "its first bytes make no sense");
    e = os_read(r->fd, clear + BACKUP_PREAMBLE, len, BACKUP_PREAMBLE, &n);
    if (e)
        return e;
    if (n < len)
        return backup_damaged(r, "it ends in the header");
    e = keyring_decode(clear + BACKUP_PREAMBLE, len, u, &r->keyring, r->detail);
    if (e == KIST_ENOTKIST)
        e = backup_damaged(r, "its header is none");
    r->at = (uint64_t)BACKUP_PREAMBLE + len;
    backup_context(clear, BACKUP_PREAMBLE + len, context);
    return e;
}

/* The next record without its value, in r->record. */
static int backup_read_record(struct backup_reader *r, struct bytes_in *out)
{
    uint8_t p[2];
    size_t n = 0;
    int e = stream_read(r->stream, p, sizeof p, &n);
    if (e)
        return e;
    size_t len = bytes_get16(p);
    if (n < sizeof p || len > sizeof r->record)
        return backup_damaged(r, "a record is missing");
    e = stream_read(r->stream, r->record, len, &n);
    if (e)
        return e;
    if (n < len)
        return backup_damaged(r, "a record is cut");
    *out = bytes_in_init(r->record, len);
    return 0;
}

int backup_read_open(struct backup_reader *r, int fd, const struct unlock *u, struct error_detail *detail)
{
    uint8_t context[BACKUP_CONTEXT], key[UNLOCK_KEY];
    struct unlock direct = {.kind = UNLOCK_DIRECT, .ptr = key, .len = sizeof key};
    struct bytes_in in;
    size_t n = 0;
    *r = (struct backup_reader){.fd = fd, .detail = detail};
    int e = backup_read_clear(r, u, context);
    if (e)
        return e;
    backup_key(r->keyring, key);
    e = stream_read_begin((const uint8_t *)BACKUP_STREAM_MAGIC, &direct, backup_in, r, &r->stream, detail);
    os_wipe(key, sizeof key);
    if (e == KIST_EKEY || e == KIST_ENOTKIST)
        e = backup_damaged(r, "the stream does not belong to its header");
    if (e)
        return e;
    const uint8_t *p = stream_read_context(r->stream, &n);
    if (n != BACKUP_CONTEXT || memcmp(p, context, BACKUP_CONTEXT))
        return backup_damaged(r, "the stream does not belong to its header");
    e = backup_read_record(r, &in);
    if (e)
        return e;
    r->since = bytes_in_varint(&in);
    r->revision = bytes_in_varint(&in);
    const uint8_t *lineage = bytes_in_take(&in, LINEAGE_ID);
    if (lineage)
        memcpy(r->lineage, lineage, LINEAGE_ID);
    return in.bad || bytes_in_left(&in) || r->since > r->revision ? backup_damaged(r, "its head makes no sense") : 0;
}

/* Each index key once, in ascending order, and nothing of a bucket that was dropped, nor what is a store's own. */
static bool backup_in_order(struct backup_reader *r, const struct backup_record *record)
{
    uint8_t key[LOG_INDEX_KEY];
    size_t n = log_index_key(record->bucket, record->key, key);
    if ((r->last_len && bytes_compare(r->last, r->last_len, key, n) >= 0) || lineage_is(key, n))
        return false;
    memcpy(r->last, key, n);
    r->last_len = n;
    if (record->kind == BACKUP_DROP)
        r->dropped = record->bucket;
    return record->kind == BACKUP_DROP ? record->bucket != ENGINE_CATALOG : !r->dropped || record->bucket != r->dropped;
}

static bool backup_decode(struct backup_reader *r, struct bytes_in *in, struct backup_record *out)
{
    uint64_t len = 0;
    *out = (struct backup_record){.kind = (enum backup_kind)bytes_in_u8(in)};
    out->bucket = bytes_in_varint(in);
    out->revision = bytes_in_varint(in);
    if (out->kind != BACKUP_DROP) {
        out->key.len = (size_t)bytes_in_varint(in);
        out->key.ptr = bytes_in_take(in, out->key.len);
        if (out->key.len < 1 || out->key.len > KIST_KEY_MAX)
            return false;
    }
    if (out->kind == BACKUP_PUT) {
        out->type = bytes_in_u8(in);
        out->expires_ms = (int64_t)bytes_in_u64(in);
        len = bytes_in_varint(in);
    }
    if (in->bad || bytes_in_left(in) || len > KIST_VALUE_MAX || (out->type & ~ENTRY_TYPE) || !out->revision ||
        out->revision > r->revision)
        return false;
    out->len = (uint32_t)len;
    if (out->kind == BACKUP_PUT ? out->revision <= r->since : out->kind == BACKUP_SAME && out->revision > r->since)
        return false;
    return backup_in_order(r, out);
}

static int backup_read_end(struct backup_reader *r, struct bytes_in *in)
{
    (void)bytes_in_u8(in);
    bool good = bytes_in_varint(in) == r->seen.put;
    good = bytes_in_varint(in) == r->seen.same && good;
    good = bytes_in_varint(in) == r->seen.dropped && good;
    good = bytes_in_varint(in) == r->revision && good;
    if (!good || in->bad || bytes_in_left(in))
        return backup_damaged(r, "its records are not those that it counts");
    int e = stream_read_end(&r->stream);
    return e == KIST_ECORRUPT ? backup_damaged(r, "it does not end where it should") : e;
}

int backup_read_value(struct backup_reader *r, void *p, uint32_t len)
{
    size_t n = 0;
    assert(len <= r->value_left);
    int e = stream_read(r->stream, p, len, &n);
    if (e)
        return e;
    r->value_left -= len;
    return n == len ? 0 : backup_damaged(r, "a value is cut");
}

/* What was not read of the last value. */
static int backup_skip_value(struct backup_reader *r)
{
    uint8_t p[8192];
    int e = 0;
    bool any = r->value_left > 0;
    while (e == 0 && r->value_left)
        e = backup_read_value(r, p, r->value_left < sizeof p ? r->value_left : (uint32_t)sizeof p);
    if (any)
        os_wipe(p, sizeof p);
    return e;
}

int backup_read_next(struct backup_reader *r, struct backup_record *out)
{
    struct bytes_in in;
    int e = backup_skip_value(r);
    if (e == 0)
        e = backup_read_record(r, &in);
    if (e)
        return e;
    if (bytes_in_left(&in) == 0)
        return backup_damaged(r, "a record is empty");
    if (*in.p == BACKUP_END)
        return backup_read_end(r, &in);
    if (*in.p > BACKUP_DROP || !backup_decode(r, &in, out))
        return backup_damaged(r, "a record makes no sense");
    r->seen.put += out->kind == BACKUP_PUT;
    r->seen.same += out->kind == BACKUP_SAME;
    r->seen.dropped += out->kind == BACKUP_DROP;
    r->value_left = out->len;
    return 1;
}

void backup_read_close(struct backup_reader *r)
{
    if (r->stream)
        stream_read_abort(&r->stream);
    keyring_free(&r->keyring);
    os_wipe(r->record, sizeof r->record);
    os_wipe(r->last, sizeof r->last);
}
