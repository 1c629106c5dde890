/* log.c: the engine's front: opening, closing, and the table of its operations.
 *
 * A store exists when its header does: it is made last, after the first segment is on disk. Who opens takes SHARED_OPEN for
 * the while of it, and is alone when nobody holds SHARED_PRESENCE, which every handle that may write does. Only who is
 * alone judges the tail of the log; everybody else trusts the page. The last one to close leaves a MARK, which tells the
 * next opener that all before it was durable, and an index snapshot when replay would be long. */
#include "engine/log.h"

#include "crypt/secret.h"

#include <assert.h>

#define LOG_LOAD_TRIES 20

#ifdef KIST_TESTING
uint64_t log_segment_size_override;
#endif

struct frame_context log_context(const struct log *log, const struct segment *s)
{
    return (struct frame_context){.suite = log->suite,
                                  .data_key = s->data_key,
                                  .check_key = log->check_key,
                                  .store_id = log->store_id,
                                  .segment = s->number};
}

/* -- directories -- */

/* path with "~/" expanded, os_alloc'ed. */
static int log_expand(const char *path, struct error_detail *d, char **out)
{
    const char *home = "";
    bool tilde = path[0] == '~' && (path[1] == '/' || !path[1]);
    if (path[0] == '\0')
        return error_set(d, KIST_EINVAL, "the path of the store is empty");
    if (tilde) {
        home = os_getenv("HOME");
        if (!home)
            return error_set(d, KIST_EINVAL, "~ in the path of the store, but HOME is not set");
        path++;
    }
    size_t a = strlen(home), b = strlen(path);
    char *p = os_alloc(a + b + 1);
    if (!p)
        return KIST_ENOMEM;
    memcpy(p, home, a);
    memcpy(p + a, path, b + 1);
    *out = p;
    return 0;
}

/* Make every missing directory of path, 0700. log_sync_path() makes them durable. */
static int log_make_path(char *path, struct error_detail *d)
{
    for (char *p = path + 1;; p++) {
        if (*p != '/' && *p != '\0')
            continue;
        char end = *p;
        *p = '\0';
        int r = os_mkdir(OS_AT_CWD, path);
        if (r && r != KIST_EEXIST) {
            (void)error_set(d, r, "cannot make the directory %.180s", path);
            *p = end;
            return r;
        }
        *p = end;
        if (end == '\0')
            return 0;
        while (p[1] == '/')
            p++;
    }
}

static int log_open_dir(struct log *log, const char *path, enum kist_open_mode mode, struct error_detail *d)
{
    char *full = NULL;
    int r = log_expand(path, d, &full);
    if (r)
        return r;
    if (mode == KIST_OPEN_CREATE || mode == KIST_OPEN_NEW)
        r = log_make_path(full, d);
    if (r == 0) {
        r = os_open(OS_AT_CWD, full, OS_READONLY | OS_DIRECTORY, &log->dir);
        struct os_stat st;
        if (r == KIST_ENOSTORE && os_stat_at(OS_AT_CWD, full, &st) == 0)
            r = error_set(d, KIST_ENOTKIST, "%.180s is not a directory", full);
        else if (r)
            (void)error_set(d, r, "cannot open the directory %.180s", full);
    }
    os_free(full);
    return r;
}

/* -- the parts of a handle -- */

static void log_free(struct log **out)
{
    struct log *log = *out;
    compact_stop(log);
    tree_free(&log->index); /* releases what waits for snapshots, which needs the table */
    tree_free(&log->expiry);
    table_free(log);
    changes_free(&log->changes);
    buf_done(&log->pending);
    buf_done(&log->flushing);
    buf_done(&log->scratch);
    os_free(log->purges);
    os_free(log->moves);
    table_keys_free(log);
    keyring_free(&log->keyring);
    os_close(&log->dir);
    (void)pthread_mutex_destroy(&log->state);
    (void)pthread_mutex_destroy(&log->flush);
    (void)pthread_rwlock_destroy(&log->keyring_lock);
    os_fork_guard_free(&log->fork_guard);
    os_free(log);
    *out = NULL;
}

static int log_new(const struct engine_options *o, bool memory, struct error_detail *d, struct log **out)
{
    struct log *log = os_calloc(sizeof *log);
    if (!log)
        return KIST_ENOMEM;
    log->base.ops = &log_ops;
    log->base.detail = d;
    log->memory = memory;
    log->salvage = o->mode == KIST_OPEN_SALVAGE;
    log->read_only = log->salvage || o->mode == KIST_OPEN_READ_ONLY;
    log->sync_mode = o->sync;
    log->flags = o->flags;
    log->lock_timeout_us = o->lock_timeout_ms < 0 ? -1 : o->lock_timeout_ms * 1000;
    log->segment_size = memory ? SEGMENT_MEMORY_SIZE : log_segment_size();
    log->dir = -1;
    log->shared.fd = -1;
    (void)pthread_mutex_init(&log->state, NULL);
    (void)pthread_mutex_init(&log->flush, NULL);
    (void)pthread_rwlock_init(&log->keyring_lock, NULL);
    buf_init(&log->pending, false);
    buf_init(&log->flushing, false);
    buf_init(&log->scratch, true);
    log->fork_guard = os_fork_guard_new();
    int r = log->fork_guard ? tree_new(&log->index) : KIST_ENOMEM;
    if (r == 0)
        r = tree_new(&log->expiry);
    if (r == 0)
        r = changes_new(&log->changes);
    if (r)
        log_free(&log);
    else
        *out = log;
    return r;
}

static void log_keyed(struct log *log)
{
    log->suite = keyring_suite(log->keyring);
    memcpy(log->store_id, keyring_store_id(log->keyring), sizeof log->store_id);
    log->check_key = keyring_check_key(log->keyring);
}

/* -- making and opening -- */

/* There is no header in log->dir: is there something else that matters? */
static int log_vacant(struct log *log)
{
    enum recover_left left = RECOVER_VACANT;
    int r = recover_left(log->dir, &left);
    if (r || left == RECOVER_VACANT)
        return r;
    if (left == RECOVER_RESTORE)
        return error_set(log->base.detail, KIST_EEXIST,
                         "a restore to this directory is not finished: restore the whole backup again, or remove the directory");
    return error_set(log->base.detail, KIST_EEXIST,
                     "the directory has segments of a store and no header: put the file header back (behind its first 16 bytes a "
                     "backup begins with it), or remove the segments");
}

/* The directories above log->dir become durable, each in the one that it is in: as far up as they can be opened and are of
 * this file system, since none of them was made beyond that. */
static int log_sync_path(const struct log *log)
{
    struct os_stat here = {.size = 0}, above = here;
    int fd = -1, r = os_stat(log->dir, &here);
    bool more = r == 0 && os_open(log->dir, "..", OS_READONLY | OS_DIRECTORY, &fd) == 0;
    while (more) {
        int up = -1;
        r = os_stat(fd, &above);
        more = r == 0 && above.device == here.device && above.inode != here.inode;
        if (more)
            r = os_sync_dir(fd);
        more = more && r == 0 && os_open(fd, "..", OS_READONLY | OS_DIRECTORY, &up) == 0;
        os_close(&fd);
        fd = up;
        here = above;
    }
    os_close(&fd);
    return r;
}

/* A new store in log->dir. What an earlier attempt to make one left goes. */
static int log_create(struct log *log, const struct engine_options *o)
{
    int r = log_vacant(log);
    if (r)
        return r;
    r = keyring_new(o->suite ? o->suite : SEAL_XCHACHA, o->unlock, &log->keyring);
    if (r)
        return error_set(log->base.detail, r, "cannot make the keys of the store: %s", kist_strerror(r));
    log_keyed(log);
    char name[SEGMENT_NAME];
    segment_name(1, ".log", name);
    r = os_unlink(log->dir, name);
    if (r == 0 || r == KIST_ENOSTORE)
        r = recover_create(log);
    if (r == 0)
        r = log_sync_path(log);
    if (r == 0)
        r = rekey_write(log);
    return r;
}

static int log_read_header(struct log *log, const struct engine_options *o)
{
    struct buf b;
    buf_init(&b, false);
    int r = rekey_load(log->dir, &b);
    if (r == 0 && !o->unlock)
        r = error_set(log->base.detail, KIST_EKEY, "the store needs a key or a passphrase");
    if (r == 0)
        r = keyring_decode(b.data, b.len, o->unlock, &log->keyring, log->base.detail);
    buf_done(&b);
    if (r == 0)
        log_keyed(log);
    return r;
}

static int log_create_alone(struct log *log, const struct engine_options *o, struct shared *s)
{
    bool held = false;
    int r = shared_held(s, SHARED_PRESENCE, &held);
    if (r == 0 && held)
        r = error_set(log->base.detail, KIST_EBUSY, "a store that was removed from this directory is still open somewhere");
    return r ? r : log_create(log, o);
}

/* Two processes may want to make the store at once: a lock on the directory's own `lock` decides. */
static int log_create_once(struct log *log, const struct engine_options *o)
{
    struct shared s;
    static const uint8_t none[16];
    int r = shared_open(&s, log->dir, false, false, none, none);
    if (r)
        return r;
    r = shared_lock(&s, SHARED_OPEN, log->lock_timeout_us);
    if (r == 0) {
        r = log_read_header(log, o);
        if (r == KIST_ENOSTORE)
            r = log_create_alone(log, o, &s);
        else if (r == 0 && o->mode == KIST_OPEN_NEW)
            r = KIST_EEXIST;
    }
    shared_close(&s);
    return r;
}

static int log_keys(struct log *log, const struct engine_options *o)
{
    int r = log_read_header(log, o);
    bool may = o->mode == KIST_OPEN_CREATE || o->mode == KIST_OPEN_NEW;
    if (r == KIST_ENOSTORE && may && o->unlock)
        return log_create_once(log, o);
    if (r == KIST_ENOSTORE) {
        if (log_vacant(log) != KIST_EEXIST) /* else the detail says what is there instead */
            error_note(log->base.detail, "the directory holds no store");
        return r;
    }
    return o->mode == KIST_OPEN_NEW && (r == 0 || r == KIST_EKEY) ? KIST_EEXIST : r;
}

static void log_unload(struct log *log)
{
    table_free(log);
    apply_clear(log);
    log->active = NULL;
    log->segment_bytes = 0;
    log->replaying = log->loading = log->broken = false;
    log->follow_limit = 0;
}

/* Others are there: they have recovered the store, and compaction may take a file away under us. */
static int log_join(struct log *log)
{
    int r = 0;
    for (int i = 0; i < LOG_LOAD_TRIES; i++) {
        r = recover_load(log, false);
        if (r != KIST_ECORRUPT && r != KIST_ENOSTORE)
            break;
        log_unload(log);
        os_sleep_us(1000);
    }
    return r;
}

static int log_load(struct log *log)
{
    bool held = false;
    int r = shared_lock(&log->shared, SHARED_OPEN, log->lock_timeout_us);
    if (r)
        return error_set(log->base.detail, r, "another process is opening the store");
    r = shared_held(&log->shared, SHARED_PRESENCE, &held);
    if (r == 0 && !held)
        r = recover_load(log, true);
    if (r == 0 && !log->read_only)
        r = shared_lock_shared(&log->shared, SHARED_PRESENCE);
    shared_unlock(&log->shared, SHARED_OPEN);
    if (r == 0 && held)
        r = log_join(log);
    if ((r != KIST_ECORRUPT && r != KIST_EIO) || !log->salvage)
        return r;
    log_unload(log);
    return salvage_load(log);
}

static int log_open_files(struct log *log, const char *path, const struct engine_options *o)
{
    int r = log_open_dir(log, path, o->mode, log->base.detail);
    if (r == 0)
        r = log_keys(log, o);
    if (r == 0)
        r = shared_open(&log->shared, log->dir, false, log->read_only, log->store_id, log->check_key);
    return r ? r : log_load(log);
}

static int log_open_memory(struct log *log, const struct engine_options *o)
{
    uint8_t key[SEAL_KEY];
    struct unlock own = {.kind = UNLOCK_RAW, .ptr = key, .len = sizeof key};
    int r = os_random(key, sizeof key);
    if (r == 0)
        r = keyring_new(o->suite ? o->suite : SEAL_XCHACHA, &own, &log->keyring);
    os_wipe(key, sizeof key);
    if (r)
        return r;
    log_keyed(log);
    r = shared_open(&log->shared, -1, true, false, log->store_id, log->check_key);
    return r ? r : recover_create(log);
}

int engine_open(const char *path, const struct engine_options *options, struct error_detail *detail, struct engine **out)
{
    struct log *log = NULL;
    bool memory = !path || strcmp(path, ":memory:") == 0;
    int r = secret_init();
    if (r == 0)
        r = log_new(options, memory, detail, &log);
    if (r)
        return r;
    r = memory ? log_open_memory(log, options) : log_open_files(log, path, options);
    if (r) {
        shared_close(&log->shared);
        log_free(&log);
        return r;
    }
    *out = &log->base;
    return 0;
}

/* -- closing -- */

/* The last writer leaves a MARK, not synced: it is evidence, and its loss costs nothing but that. */
static void log_leave(struct log *log)
{
    bool held = true;
    uint64_t sequence = 0;
    if (log->read_only || log->memory || atomic_load(&log->failed) ||
        shared_lock(&log->shared, SHARED_OPEN, log->lock_timeout_us))
        return;
    shared_unlock(&log->shared, SHARED_PRESENCE);
    if (shared_held(&log->shared, SHARED_PRESENCE, &held) == 0 && !held && writer_lock(log) == 0) {
        int r = 0;
        if (log->sync_mode == KIST_SYNC_FULL || atomic_load(&log->shared.page->durable) == log->at.sequence)
            r = snapshot_write(log, false);
        if (log->unmarked && !log->ended)
            r = commit_append_payload(log, FRAME_MARK, NULL, &sequence);
        if (r == 0 && sequence)
            r = commit_flush(log);
        (void)r; /* the next opener finds out by itself */
        writer_unlock(log);
    }
    shared_unlock(&log->shared, SHARED_OPEN);
}

static void log_close(struct engine **e)
{
    struct log *log = log_of(*e);
    *e = NULL;
    if (log_entered(log)) {
        /* A forked child: the memory is as the parent's threads left it in mid-work, so nothing of it is touched. Closing
         * the descriptors does not give up the parent's locks. */
        shared_close(&log->shared);
        os_close(&log->dir);
        return;
    }
    policy_settle(log);
    compact_stop(log);
    log_leave(log);
    shared_close(&log->shared);
    log_free(&log);
}

/* -- the rest of the table -- */

static int log_sync(struct engine *e)
{
    struct log *log = log_of(e);
    int r = writer_lock(log);
    if (r)
        return r;
    r = commit_flush(log);
    if (r == 0)
        r = commit_sync_now(log);
    writer_unlock(log);
    return r;
}

static int log_revision(struct engine *e, uint64_t *out)
{
    struct log *log = log_of(e);
    int r = log_entered(log);
    if (r)
        return r;
    r = follow_fresh(log);
    if (r == 0)
        *out = tree_published_tag(log->index);
    return r;
}

static void log_count(struct log *log, struct kist_stat *out)
{
    const struct log_table *t = atomic_load(&log->table);
    uint64_t live = log->live_bytes, all = log->segment_bytes;
    for (size_t i = 0; t && i < t->len; i++)
        out->segments += t->slot[i] && !t->slot[i]->gone;
    out->live_bytes = live;
    out->dead_bytes = all > live ? all - live : 0;
    out->index_bytes = tree_memory(log->index) + tree_memory(log->expiry);
    out->snapshot = log->from_snapshot;
    out->key_generation = log->active->generation;
}

struct log_files {
    struct log *log;
    uint64_t bytes;
};

static int log_add_file(const char *name, void *ctx)
{
    struct log_files *f = ctx;
    struct os_stat st;
    if (os_stat_at(f->log->dir, name, &st) == 0)
        f->bytes += st.blocks;
    return 0;
}

static int log_stat(struct engine *e, struct kist_stat *out)
{
    struct log *log = log_of(e);
    struct tree_snap snap;
    int r = log_entered(log);
    if (r)
        return r;
    r = follow_fresh(log);
    (void)pthread_mutex_lock(&log->state);
    log_count(log, out);
    (void)pthread_mutex_unlock(&log->state);
    if (r == 0)
        r = tree_snap_take(log->index, &snap);
    if (r)
        return r;
    struct log_files files = {.log = log, .bytes = out->live_bytes + out->dead_bytes};
    if (!log->memory) {
        files.bytes = 0;
        r = os_list(log->dir, log_add_file, &files);
    }
    struct keyring_generation generations[KEYRING_KEYS];
    (void)pthread_rwlock_rdlock(&log->keyring_lock);
    out->key_generations = (uint32_t)keyring_generations(log->keyring, generations);
    (void)pthread_rwlock_unlock(&log->keyring_lock);
    out->engine = log->memory ? KIST_ENGINE_MEMORY : KIST_ENGINE_LOG;
    out->sync = log->sync_mode;
    out->suite = log->suite;
    out->read_only = log->read_only;
    out->failed = atomic_load(&log->failed) != 0;
    out->revision = snap.root.tag;
    out->keys = snap.root.count - snap.root.aux[LOG_AUX_DROPS];
    out->disk_bytes = files.bytes;
    out->commits = atomic_load(&log->commits);
    out->syncs = atomic_load(&log->syncs);
    out->key_max = KIST_KEY_MAX;
    out->value_max = KIST_VALUE_MAX;
    out->txn_max = KIST_TXN_MAX;
    tree_snap_drop(log->index, &snap);
    return r;
}

const struct engine_ops log_ops = {
    .close = log_close,
    .begin = logtxn_begin,
    .commit = logtxn_commit,
    .abort = logtxn_abort,
    .txn_revision = logtxn_revision,
    .get = logtxn_get,
    .put = logtxn_put,
    .put_keep = logtxn_put_keep,
    .del = logtxn_del,
    .drop = logtxn_drop,
    .cursor_open = logcursor_open,
    .cursor_close = logcursor_close,
    .seek = logcursor_seek,
    .next = logcursor_next,
    .current = logcursor_current,
    .sync = log_sync,
    .revision = log_revision,
    .changes = changes_read,
    .wait = changes_wait,
    .wake = changes_wake,
    .backup = backup_write,
    .compact = policy_all,
    .sweep = sweep_expired,
    .maintain = log_maintain,
    .verify = verify_log,
    .stat = log_stat,
    .keyring_change = rekey_change,
    .keyring_read = rekey_read,
    .rotate = rekey_rotate,
};
