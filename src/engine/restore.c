/* restore.c: a store out of a backup stream, or one brought forward by it.
 *
 * The stream is copied, still sealed, into a file without a name and read to its authenticated end before anything is made.
 * Then it is read a second time and its records become compacted segments, revisions kept, and a log segment whose MANIFEST
 * names them all, with a sequence behind the backup's revision. Nothing of that is part of a store before one last step:
 * for a whole backup the file `header`, without which a directory is no store, for an increment the name of the new log
 * segment, since the newest MANIFEST says what a store consists of. A crash before it leaves what was there, and perhaps
 * compacted segments that nobody knows: they have their names only when they are whole and on disk, because a segment that
 * cannot be read is damage to who opens the store next.
 *
 * While a whole restore is under way the directory has a mark in it, durable before the first segment: what lies beside the
 * mark and no header is what an earlier attempt left, and goes. Without the mark it might be a store that has lost its
 * header, and nothing there is touched. The lock that decides who makes a store keeps other restores and openers out.
 *
 * A restored store keeps the store id, the root key and the key slots (a slot is bound to the id, and only one of them can be
 * opened here), but it has a data key of its own: nothing that the original seals from now on opens in it, nor the reverse.
 *
 * An increment keeps the source's revisions. It goes onto a store that holds an earlier revision of the same lineage
 * (lineage.c) and has no operations of its own, however often it was opened or compacted since; it may start earlier than
 * that revision. Then the records are compared besides: every one that the stream calls older than what the store holds must
 * be there with that revision. The new ones come as more compacted segments, with deletes for what is not named any more, so
 * the rest of the store is not copied.
 *
 * Births. A store that was only opened, closed and compacted has still used up sequences, so its compacted segments may have
 * births above the revisions that an increment brings, and its deletes would then seem to guard against nothing. What is in
 * those segments was live at the revision that the store was fed up to: that is the birth the new MANIFEST gives them.
 *
 * Tried and dropped: a sibling directory that is renamed into place (a failure leaves a directory that is hard to take
 * away; the header does the same); replaying the increment as transactions (their revisions would be the store's own, and
 * the next increment could not be checked). */
#include "engine/backup.h"
#include "engine/batch.h"
#include "engine/spool.h"

#include <assert.h>

#define RESTORE_ROLL "next.tmp"    /* a log segment without its name */
#define RESTORE_OUT "compact.tmp"  /* a compacted one */
#define RESTORE_FRAME (256u << 10) /* bytes of keys and values in a frame */
#define RESTORE_FRAME_OPS 2000u

struct restore {
    const struct engine_options *options;
    struct error_detail *detail;
    const char *path;
    int spool; /* the sealed stream, in a file without a name */
    struct backup_reader reader;
    struct log *log; /* the store at path; or, for a new one, no more of a log than segments need */
    bool fresh;
    struct batch batch;
    struct segment *out; /* the compacted segment that grows */
    struct buf rows;     /* of the manifest */
    uint64_t rows_len;
    struct buf made;           /* numbers of the segments that were made, 8 bytes each */
    uint64_t last_number;      /* of a new store's */
    struct lineage lineage;    /* of the store: as it is, then as it will be */
    struct tree_cursor cursor; /* increment: over what the store has */
    bool more;
    bool named; /* increment: the log segment may have its name, and then it counts */
};

/* -- paths -- */

/* path with "~/" expanded, and where its last component begins. */
static int restore_path(const char *path, struct error_detail *d, char **out, size_t *out_last)
{
    const char *home = "";
    if (path[0] == '~' && path[1] == '/') {
        home = os_getenv("HOME");
        path++;
    }
    if (!home || !path[0])
        return error_set(d, KIST_EINVAL, home ? "the path is empty" : "~ in the path, but HOME is not set");
    size_t a = strlen(home), b = strlen(path);
    char *p = os_alloc(a + b + 1);
    if (!p)
        return KIST_ENOMEM;
    memcpy(p, home, a);
    memcpy(p + a, path, b + 1);
    for (b += a; b > 1 && p[b - 1] == '/'; b--)
        p[b - 1] = '\0';
    while (b > 0 && p[b - 1] != '/')
        b--;
    *out_last = b;
    *out = p;
    return 0;
}

/* The directory that path is in. */
static int restore_open_parent(char *path, size_t last, int *out)
{
    char first = path[last];
    if (last == 0)
        return spool_open_dir(".", out);
    path[last] = '\0';
    int r = spool_open_dir(path, out);
    path[last] = first;
    return r;
}

/* -- the stream -- */

/* Read it to its end once, doing nothing: 0 only when it is whole. */
static int restore_check(struct restore *t)
{
    struct backup_record record;
    int r = backup_read_open(&t->reader, t->spool, t->options->unlock, t->detail);
    while (r == 0 && (r = backup_read_next(&t->reader, &record)) == 1)
        r = 0;
    return r;
}

/* Begin again. */
static int restore_rewind(struct restore *t)
{
    backup_read_close(&t->reader);
    return backup_read_open(&t->reader, t->spool, t->options->unlock, t->detail);
}

/* -- segments -- */

static uint64_t restore_number(struct restore *t)
{
    return t->fresh ? ++t->last_number : shared_number(&t->log->shared);
}

/* Under a temporary name. */
static int restore_create(struct restore *t, enum segment_kind kind, uint64_t birth, struct segment **out)
{
    bool grows = kind == SEGMENT_LOG;
    const char *name = grows ? RESTORE_ROLL : RESTORE_OUT;
    uint64_t number = restore_number(t);
    buf_add_u64(&t->made, number);
    int r = buf_status(&t->made);
    if (r == 0)
        r = os_unlink(t->log->dir, name);
    if (r && r != KIST_ENOSTORE)
        return r;
    return table_create(t->log, number, kind, birth, name, grows ? SEGMENT_AHEAD : 0, out);
}

/* It is on disk: now it gets its own name. The directory is synced later. */
static int restore_name(struct restore *t, enum segment_kind kind, uint64_t number)
{
    char name[SEGMENT_NAME];
    segment_name(number, ".log", name);
    return os_rename(t->log->dir, kind == SEGMENT_LOG ? RESTORE_ROLL : RESTORE_OUT, name);
}

static int restore_out_end(struct restore *t)
{
    struct segment *s = t->out;
    if (!s)
        return 0;
    int r = batch_write(t->log, &t->batch, s);
    if (r == 0)
        r = segment_sync(s);
    if (r == 0)
        r = restore_name(t, SEGMENT_COMPACTED, s->number);
    if (r == 0) {
        manifest_row_add(&t->rows, s);
        t->rows_len++;
        r = buf_status(&t->rows);
    }
    segment_free(&t->out);
    return r;
}

/* A segment with room for one more operation. */
static int restore_room(struct restore *t)
{
    struct batch *b = &t->batch;
    int r = 0;
    if (t->out && (b->bytes.len > RESTORE_FRAME || b->len >= RESTORE_FRAME_OPS))
        r = batch_write(t->log, b, t->out);
    if (r == 0 && t->out && t->out->end > t->log->segment_size)
        r = restore_out_end(t);
    if (r == 0 && !t->out) {
        r = restore_create(t, SEGMENT_COMPACTED, t->reader.revision, &t->out);
        if (r == 0)
            t->out->first_sequence = 1;
    }
    return r;
}

/* Behind what is in the segment; a put without a value takes it from the reader. */
static int restore_add(struct restore *t, const struct frame_op *op)
{
    struct batch *b = &t->batch;
    int r = restore_room(t);
    if (r)
        return r;
    r = batch_add(b, op);
    if (r)
        return r;
    uint8_t *value = op->kind == FRAME_PUT ? buf_grow(&b->bytes, op->len) : NULL;
    r = buf_status(&b->bytes);
    if (r == 0 && op->kind == FRAME_PUT && op->value)
        memcpy(value, op->value, op->len);
    else if (r == 0 && op->kind == FRAME_PUT && op->len)
        r = backup_read_value(&t->reader, value, op->len);
    return r;
}

static int restore_add_record(struct restore *t, const struct backup_record *record)
{
    struct frame_op op = {.kind = record->kind == BACKUP_DROP ? FRAME_DROP : FRAME_PUT,
                          .type = record->type,
                          .bucket = record->bucket,
                          .revision = record->revision,
                          .expires_ms = record->expires_ms,
                          .key = record->key.ptr,
                          .key_len = (uint32_t)record->key.len,
                          .len = record->len};
    return restore_add(t, &op);
}

/* The store's own record, as it is from the log segment on that begins with sequence. */
static int restore_add_lineage(struct restore *t, uint64_t sequence)
{
    uint8_t value[LINEAGE_VALUE];
    struct lineage *l = &t->lineage;
    memcpy(l->parent, t->reader.lineage, LINEAGE_ID);
    l->fed = t->reader.revision;
    l->begins = sequence;
    int r = os_random(l->own, LINEAGE_ID);
    if (r)
        return r;
    struct frame_op op = lineage_record(l, value);
    return restore_add(t, &op);
}

/* A log segment that consists of a MANIFEST with t->rows, on disk, without its name. */
static int restore_manifest(struct restore *t, uint64_t sequence, uint64_t *out_number)
{
    struct segment *s = NULL;
    struct frame_writer w;
    struct buf payload, frame;
    uint8_t tag[SEAL_TAG];
    buf_init(&payload, false);
    buf_init(&frame, false);
    buf_add_varint(&payload, t->rows_len);
    buf_add(&payload, t->rows.data, t->rows.len);
    int r = buf_status(&payload);
    struct frame_sizes sizes = {.ops = payload.len};
    uint64_t total = frame_size_total(&sizes);
    uint8_t *p = buf_grow(&frame, (size_t)total);
    if (r == 0)
        r = p ? restore_create(t, SEGMENT_LOG, sequence, &s) : KIST_ENOMEM;
    if (r == 0) {
        struct frame_context c = log_context(t->log, s);
        r = frame_begin(&w, &c, p, &sizes, FRAME_MANIFEST, sequence, sequence - 1);
        if (r == 0) {
            frame_add_payload(&w, payload.data, payload.len);
            frame_finish(&w, (const uint8_t[SEAL_TAG]){0}, tag);
            r = segment_write(s, SEGMENT_HEADER, frame.data, frame.len);
        }
        if (r == 0)
            r = segment_sync(s);
        *out_number = s->number;
    }
    segment_free(&s);
    buf_done(&payload);
    buf_done(&frame);
    return r;
}

static int restore_unlink(struct restore *t, const char *name, int before)
{
    int r = os_unlink(t->log->dir, name);
    return r && r != KIST_ENOSTORE ? r : before;
}

/* It failed: nobody knows these files. On return they are gone for good, or it is an error. */
static int restore_unmake(struct restore *t)
{
    char name[SEGMENT_NAME];
    int r = restore_unlink(t, RESTORE_OUT, 0);
    r = restore_unlink(t, RESTORE_ROLL, r);
    for (size_t i = 0; i + 8 <= t->made.len; i += 8) {
        segment_name(bytes_get64(t->made.data + i), ".log", name);
        r = restore_unlink(t, name, r);
    }
    return r ? r : os_sync_dir(t->log->dir);
}

/* -- a new store -- */

/* What an attempt to make a store may leave besides its mark and the lock. */
static bool restore_left(const char *name)
{
    return segment_number(name, ".log") || strcmp(name, "header.tmp") == 0 || strcmp(name, RESTORE_ROLL) == 0 ||
           strcmp(name, RESTORE_OUT) == 0;
}

static int restore_look(const char *name, void *ctx)
{
    bool *others = ctx;
    if (!restore_left(name) && strcmp(name, RECOVER_MARK) && strcmp(name, "lock") && strcmp(name, SPOOL_NAME))
        *others = true;
    return 0;
}

static int restore_sweep(const char *name, void *ctx)
{
    const struct restore *t = ctx;
    return restore_left(name) ? os_unlink(t->log->dir, name) : 0;
}

/* Nothing in the directory but what an unfinished restore left, and that goes; then the mark, on disk. */
static int restore_clear(struct restore *t)
{
    struct log *log = t->log;
    enum recover_left left = RECOVER_VACANT;
    bool others = false;
    int fd = -1, r = os_list(log->dir, restore_look, &others);
    if (r == 0)
        r = recover_left(log->dir, &left);
    if (r == 0 && (others || left == RECOVER_ORPHANS))
        return error_set(t->detail, KIST_EEXIST, "there is a store, or something else, at %.180s", t->path);
    if (r == 0)
        r = os_open(log->dir, RECOVER_MARK, OS_CREATE | OS_NOFOLLOW, &fd);
    os_close(&fd);
    if (r == 0)
        r = os_sync_dir(log->dir);
    if (r == 0)
        r = os_list(log->dir, restore_sweep, t);
    if (r == 0 && shared_evidence(&log->shared, log->store_id)) { /* the store was here before, and later */
        shared_reset(&log->shared, log->store_id, 0, 0, 0, 0);
        r = os_sync(log->shared.fd);
    }
    return r;
}

/* The directory at path, with nothing in it and nobody else at work there. */
static int restore_make_dir(struct restore *t)
{
    struct log *log = t->log;
    struct os_stat st;
    int64_t wait_ms = t->options->lock_timeout_ms;
    int r = os_mkdir(OS_AT_CWD, t->path);
    bool there = r == KIST_EEXIST, held = false;
    if (r == 0 || there)
        r = spool_open_dir(t->path, &log->dir);
    if (r)
        return error_set(t->detail, r, "cannot make the directory %.180s", t->path);
    if (there && os_stat_at(log->dir, "header", &st) == 0)
        return error_set(t->detail, KIST_EEXIST, "there is a store at %.180s", t->path);
    r = shared_open(&log->shared, log->dir, false, false, log->store_id, log->check_key);
    if (r == 0)
        r = shared_lock(&log->shared, SHARED_OPEN, wait_ms < 0 ? -1 : wait_ms * 1000);
    if (r == 0)
        r = shared_held(&log->shared, SHARED_PRESENCE, &held);
    if (r == 0 && held)
        return error_set(t->detail, KIST_EBUSY, "a store that was removed from %.180s is still open somewhere", t->path);
    return r ? r : restore_clear(t);
}

/* The same slots and root key, one data key, and that a new one. */
static int restore_keyring(const struct keyring *from, struct keyring **out)
{
    struct keyring_generation g[KEYRING_KEYS];
    struct keyring *kr = NULL;
    int r = keyring_copy(from, &kr);
    if (r)
        return r;
    size_t n = keyring_generations(kr, g);
    for (size_t i = 0; i + 1 < n && r == 0; i++)
        r = keyring_retire(kr, g[i].generation);
    if (r == 0)
        r = keyring_rotate(kr);
    if (r == 0)
        r = keyring_retire(kr, g[n - 1].generation);
    if (r)
        keyring_free(&kr);
    else
        *out = kr;
    return r;
}

/* Of a log, what making segments and the header needs. */
static int restore_log_new(struct restore *t)
{
    struct log *log = os_calloc(sizeof *log);
    if (!log)
        return KIST_ENOMEM;
    log->dir = -1;
    log->shared.fd = -1;
    log->base.detail = t->detail;
    log->segment_size = log_segment_size();
    (void)pthread_rwlock_init(&log->keyring_lock, NULL);
    t->log = log;
    int r = restore_keyring(t->reader.keyring, &log->keyring);
    if (r)
        return r;
    log->suite = keyring_suite(log->keyring);
    memcpy(log->store_id, keyring_store_id(log->keyring), sizeof log->store_id);
    log->check_key = keyring_check_key(log->keyring);
    return restore_make_dir(t);
}

static void restore_log_free(struct restore *t)
{
    struct log *log = t->log;
    if (!log)
        return;
    table_keys_free(log);
    keyring_free(&log->keyring);
    shared_close(&log->shared); /* others may come */
    (void)pthread_rwlock_destroy(&log->keyring_lock);
    os_close(&log->dir);
    os_wipe(log, sizeof *log);
    os_free(log);
    t->log = NULL;
}

static int restore_whole_records(struct restore *t)
{
    struct backup_record record;
    int r = 0;
    while ((r = backup_read_next(&t->reader, &record)) == 1) {
        r = restore_add_record(t, &record);
        if (r)
            return r;
    }
    if (r == 0)
        r = restore_add_lineage(t, t->reader.revision + 1);
    return r ? r : restore_out_end(t);
}

/* The header did not get there for certain: take away everything, but segments only when the header is gone for certain. */
static int restore_undo(struct restore *t, int why)
{
    int dir = t->log->dir;
    int r = os_unlink(dir, "header");
    if (r == 0)
        r = os_sync_dir(dir);
    else if (r != KIST_ENOSTORE)
        return error_set(t->detail, KIST_EMAYBE, "the directory could not be synced: the store may be there, whole, or not");
    if (r == 0 || r == KIST_ENOSTORE)
        r = os_unlink(dir, "header.tmp");
    if ((r == 0 || r == KIST_ENOSTORE) && restore_unmake(t) == 0)
        r = os_unlink(dir, RECOVER_MARK);
    (void)r; /* the mark stays, and with it the next attempt clears up */
    return why;
}

static int restore_whole_make(struct restore *t, int parent)
{
    uint64_t number = 0;
    int r = restore_rewind(t);
    if (r == 0)
        r = restore_whole_records(t);
    if (r == 0)
        r = restore_manifest(t, t->reader.revision + 1, &number);
    if (r == 0)
        r = restore_name(t, SEGMENT_LOG, number);
    if (r == 0)
        r = os_sync_dir(t->log->dir);
    if (r == 0)
        r = os_sync_dir(parent);
    if (r == 0) {
        r = rekey_write(t->log);
        if (r)
            (void)error_set(t->detail, r, "cannot write the header of the store");
    }
    return r;
}

static int restore_whole(struct restore *t, int parent)
{
    t->fresh = true;
    int r = restore_log_new(t);
    if (r == 0) {
        r = restore_whole_make(t, parent);
        segment_free(&t->out);
        if (r)
            r = restore_undo(t, r);
        else if (os_unlink(t->log->dir, RECOVER_MARK))
            r = 0; /* beside a header it says nothing, and the first opener takes it away */
    }
    restore_log_free(t);
    return r;
}

/* -- an increment -- */

static int restore_differs(const struct restore *t)
{
    return error_set(
        t->detail, KIST_EROLLBACK,
        "the store does not hold what the backup says it had at revision %llu: restore a whole backup to a new directory",
        (unsigned long long)t->lineage.fed);
}

/* Does the backup go on from what the store is? */
static int restore_fits(struct restore *t)
{
    const struct backup_reader *b = &t->reader;
    struct lineage *l = &t->lineage;
    struct tree_root root = tree_working(t->log->index);
    int r = lineage_read(t->log, &root, l);
    if (r)
        return r;
    if (!l->fed || memcmp(l->parent, b->lineage, LINEAGE_ID))
        return error_set(
            t->detail, KIST_EROLLBACK,
            "the store was not restored from backups that this one continues: restore a whole one to a new directory");
    if (t->log->newest > l->fed)
        return error_set(t->detail, KIST_EROLLBACK,
                         "the store was written to after it was restored: restore a whole backup to a new directory");
    if (b->since > l->fed)
        return error_set(t->detail, KIST_EROLLBACK,
                         "the store holds revision %llu, the backup starts from %llu: restore what lies between first",
                         (unsigned long long)l->fed, (unsigned long long)b->since);
    if (b->revision < l->fed)
        return error_set(t->detail, KIST_EROLLBACK, "the store holds revision %llu already, the backup ends at %llu",
                         (unsigned long long)l->fed, (unsigned long long)b->revision);
    return 0;
}

/* The cursor stands on a record that the stream does not name. */
static int restore_gone(struct restore *t, uint64_t dropped_before)
{
    struct tree_cursor *c = &t->cursor;
    struct entry e;
    uint64_t bucket = bytes_get64be(c->key);
    bool good = entry_decode(c->payload, c->payload_len, &e);
    assert(good);
    if (lineage_is(c->key, c->key_len))
        return 0;
    if (t->reader.revision == t->lineage.fed || (e.flags & ENTRY_DROP))
        return restore_differs(t);
    if (bucket != ENGINE_CATALOG && (bucket == dropped_before || bucket == t->reader.dropped))
        return 0;
    const struct segment *s = table_find(t->log, e.segment);
    struct frame_op op = {.kind = FRAME_DELETE,
                          .bucket = bucket,
                          .revision = t->reader.revision,
                          .shadow = (e.flags & ENTRY_OVER) || !s || s->gone ? 0 : e.segment,
                          .key = c->key + 8,
                          .key_len = (uint32_t)(c->key_len - 8)};
    return restore_add(t, &op);
}

/* A record of the stream and what the store has for it (NULL: nothing). */
static int restore_meet(struct restore *t, const struct backup_record *record, const struct entry *e)
{
    if (e && e->revision == record->revision)
        return 0;
    if (record->revision <= t->lineage.fed)
        return restore_differs(t);
    return restore_add_record(t, record);
}

static int restore_increment_record(struct restore *t, const struct backup_record *record, uint64_t dropped_before)
{
    struct tree_cursor *c = &t->cursor;
    const struct backup_reader *b = &t->reader;
    struct entry e;
    int order = 1;
    while (t->more && (order = bytes_compare(c->key, c->key_len, b->last, b->last_len)) < 0) {
        int r = restore_gone(t, dropped_before);
        if (r)
            return r;
        t->more = tree_cursor_next(c);
    }
    if (!t->more || order > 0)
        return restore_meet(t, record, NULL);
    bool good = entry_decode(c->payload, c->payload_len, &e);
    assert(good);
    int r = restore_meet(t, record, &e);
    t->more = tree_cursor_next(c);
    return r;
}

static int restore_increment_records(struct restore *t, uint64_t sequence)
{
    struct backup_record record;
    uint64_t dropped_before = 0;
    int r = 0;
    t->more = tree_cursor_seek(&t->cursor, "", 0);
    while ((r = backup_read_next(&t->reader, &record)) == 1) {
        r = restore_increment_record(t, &record, dropped_before);
        if (r)
            return r;
        dropped_before = t->reader.dropped;
    }
    for (; t->more && r == 0; t->more = tree_cursor_next(&t->cursor))
        r = restore_gone(t, dropped_before);
    if (r == 0 && t->reader.revision > t->lineage.fed)
        r = restore_add_lineage(t, sequence);
    return r ? r : restore_out_end(t);
}

/* Nobody else has the store open, nobody can open it, all that it has is on disk and in the working root. */
static int restore_take(struct restore *t)
{
    struct log *log = t->log;
    bool held = true;
    if (memcmp(log->store_id, keyring_store_id(t->reader.keyring), sizeof log->store_id))
        return error_set(t->detail, KIST_EROLLBACK, "the backup is of another store");
    int r = shared_lock(&log->shared, SHARED_OPEN, log->lock_timeout_us);
    if (r == 0)
        r = shared_held(&log->shared, SHARED_PRESENCE, &held);
    if (r == 0 && held)
        r = error_set(t->detail, KIST_EBUSY, "the store is open elsewhere: a restore must be alone with it");
    if (r)
        return r;
    r = writer_lock(log);
    if (r)
        return r;
    (void)pthread_mutex_lock(&log->state);
    r = follow_moves(log, SIZE_MAX);
    if (r == 0)
        r = apply_purge(log, SIZE_MAX);
    struct tree_root root = tree_working(log->index);
    (void)pthread_mutex_unlock(&log->state);
    tree_cursor_init(&t->cursor, &root);
    if (r == 0)
        r = commit_flush(log);
    if (r == 0)
        r = segment_sync(log->active);
    if (r)
        writer_unlock(log);
    return r;
}

/* A segment that the store has, in the new MANIFEST. */
static void restore_row(struct restore *t, struct segment *s, uint64_t fed)
{
    uint64_t birth = s->birth;
    if (s->kind == SEGMENT_COMPACTED && birth > fed)
        s->birth = fed;
    manifest_row_add(&t->rows, s);
    t->rows_len++;
    s->birth = birth;
}

/* The new MANIFEST takes effect with its name; this handle knows nothing of it and must not write again. */
static int restore_switch(struct restore *t, uint64_t sequence, uint64_t fed)
{
    struct log *log = t->log;
    const struct log_table *table = atomic_load(&log->table);
    uint64_t number = 0;
    for (size_t i = 0; i < table->len; i++) {
        if (table->slot[i] && !table->slot[i]->gone)
            restore_row(t, table->slot[i], fed);
    }
    int r = buf_status(&t->rows);
    if (r == 0)
        r = restore_manifest(t, sequence, &number);
    if (r == 0)
        r = os_sync_dir(log->dir);
    if (r)
        return r;
    t->named = true;
    r = restore_name(t, SEGMENT_LOG, number);
    if (r)
        return r;
    atomic_store(&log->failed, 1);
    t->made.len = 0;
    r = os_sync_dir(log->dir);
    return r ? error_set(t->detail, KIST_EMAYBE, "the directory could not be synced: the restore may be undone by a power cut")
             : 0;
}

/* The store is taken. */
static int restore_increment_make(struct restore *t)
{
    struct log *log = t->log;
    int r = restore_rewind(t);
    if (r == 0)
        r = restore_fits(t);
    if (r)
        return r;
    uint64_t fed = t->lineage.fed, revision = t->reader.revision;
    uint64_t sequence = (revision > log->at.sequence ? revision : log->at.sequence) + 1;
    r = restore_increment_records(t, sequence);
    if (r == 0 && t->rows_len)
        r = restore_switch(t, sequence, fed);
    segment_free(&t->out);
    if (r == 0 || t->made.len == 0 || restore_unmake(t) == 0)
        return r;
    if (!t->named) /* the next opener takes them away */
        return r;
    atomic_store(&log->failed, 1); /* else this handle would write on behind the MANIFEST that may count */
    return error_set(t->detail, KIST_EMAYBE, "a segment could not be taken away: the increment may be there or not");
}

static int restore_increment(struct restore *t)
{
    struct engine_options o = *t->options;
    struct engine *e = NULL;
    o.mode = KIST_OPEN_EXISTING;
    o.sync = KIST_SYNC_FULL;
    int r = engine_open(t->path, &o, t->detail, &e);
    if (r)
        return r;
    t->log = log_of(e);
    r = restore_take(t);
    if (r == 0) {
        r = restore_increment_make(t);
        writer_unlock(t->log);
    }
    e->ops->close(&e); /* SHARED_OPEN goes with it and not before: the lock page knows nothing of the new segment */
    t->log = NULL;
    return r;
}

/* -- both -- */

static int restore_run(struct restore *t, int parent)
{
    int r = restore_check(t);
    if (r == 0)
        r = t->reader.since ? restore_increment(t) : restore_whole(t, parent);
    backup_read_close(&t->reader);
    batch_done(&t->batch);
    buf_done(&t->rows);
    buf_done(&t->made);
    return r;
}

int engine_restore(const char *path, const struct engine_options *options, kist_read_fn *read, void *ctx,
                   struct error_detail *detail)
{
    char *full = NULL;
    size_t last = 0;
    int parent = -1, spool = -1;
    if (!options->unlock)
        return error_set(detail, KIST_EKEY, "a backup needs the key or passphrase of its store");
    struct restore *t = os_calloc(sizeof *t);
    if (!t)
        return KIST_ENOMEM;
    int r = restore_path(path, detail, &full, &last);
    if (r == 0) {
        r = restore_open_parent(full, last, &parent);
        if (r)
            r = error_set(detail, r, "cannot open the directory of %.180s", full);
    }
    if (r == 0)
        r = spool_near(full, parent, read, ctx, &spool);
    if (r == 0) {
        *t = (struct restore){.options = options, .detail = detail, .path = full, .spool = spool};
        buf_init(&t->batch.bytes, true);
        buf_init(&t->rows, false);
        buf_init(&t->made, false);
        r = restore_run(t, parent);
    }
    os_close(&spool);
    os_close(&parent);
    os_free(full);
    os_wipe(t, sizeof *t);
    os_free(t);
    return r;
}
