/* What tests of the log engine's own files share: a store in a temporary directory, short ways to put, get and delete, and
 * a digest of everything in it. */
#ifndef ENGINE_RIG_H
#define ENGINE_RIG_H

#include "engine/lineage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const uint8_t rig_key[32] = "a raw key for the engine's tests";
static const struct unlock rig_unlock = {.kind = UNLOCK_RAW, .ptr = rig_key, .len = 32};
static struct error_detail rig_detail;

static inline void rig_dir(char out[64])
{
    const char *tmp = getenv("TMPDIR");
    int n = snprintf(out, 64, "%.40s/kist-XXXXXX", tmp ? tmp : "/tmp");
    assert_true(n > 0 && n < 64);
    assert_non_null(mkdtemp(out));
}

static inline void rig_remove(const char *dir)
{
    char command[128];
    int n = snprintf(command, sizeof command, "rm -rf '%s'", dir);
    assert_true(n > 0 && (size_t)n < sizeof command);
    assert_int_equal(system(command), 0);
}

static inline int rig_try(const char *path, enum kist_open_mode mode, struct engine **out)
{
    struct engine_options o = {.mode = mode, .sync = KIST_SYNC_NONE, .lock_timeout_ms = 2000, .unlock = &rig_unlock};
    return engine_open(path, &o, &rig_detail, out);
}

static inline struct engine *rig_open(const char *path)
{
    struct engine *e = NULL;
    int r = rig_try(path, KIST_OPEN_CREATE, &e);
    if (r)
        fail_msg("open: %d %s", r, rig_detail.text);
    return e;
}

static inline void rig_close(struct engine **e)
{
    (*e)->ops->close(e);
}

static inline struct kist_bytes rig_bytes(const char *s)
{
    return (struct kist_bytes){s, strlen(s)};
}

static inline struct engine_txn *rig_begin(struct engine *e, uint64_t bucket)
{
    struct engine_txn *t = NULL;
    assert_int_equal(e->ops->begin(e, bucket, ENGINE_EXCLUSIVE, &t), 0);
    return t;
}

static inline uint64_t rig_commit(struct engine_txn *t)
{
    uint64_t revision = 0;
    assert_int_equal(t->engine->ops->commit(&t, &revision), 0);
    return revision;
}

static inline uint64_t rig_put_until(struct engine *e, uint64_t bucket, const char *key, const char *value, int64_t expires_ms)
{
    struct engine_txn *t = rig_begin(e, bucket);
    assert_int_equal(e->ops->put(t, rig_bytes(key), rig_bytes(value), 0, expires_ms, false), 0);
    return rig_commit(t);
}

static inline uint64_t rig_put(struct engine *e, uint64_t bucket, const char *key, const char *value)
{
    return rig_put_until(e, bucket, key, value, 0);
}

static inline uint64_t rig_del(struct engine *e, uint64_t bucket, const char *key)
{
    struct engine_txn *t = rig_begin(e, bucket);
    assert_int_equal(e->ops->del(t, rig_bytes(key)), 0);
    return rig_commit(t);
}

static inline uint64_t rig_drop(struct engine *e, uint64_t bucket)
{
    struct engine_txn *t = rig_begin(e, ENGINE_CATALOG);
    assert_int_equal(e->ops->drop(t, bucket), 0);
    return rig_commit(t);
}

/* Is the value of key this (NULL: is it missing)? */
static inline void rig_expect(struct engine *e, uint64_t bucket, const char *key, const char *value)
{
    struct engine_txn *t = NULL;
    struct engine_meta meta;
    void *data = NULL;
    int r = e->ops->begin(e, bucket, ENGINE_SNAPSHOT, &t);
    if (r == KIST_ENOBUCKET && !value)
        return;
    assert_int_equal(r, 0);
    r = e->ops->get(t, rig_bytes(key), &meta, &data);
    assert_int_equal(r, value ? 0 : KIST_ENOKEY);
    if (value) {
        assert_int_equal(meta.len, strlen(value));
        assert_memory_equal(data, value, meta.len);
        os_free(data);
    }
    e->ops->abort(&t);
}

/* A hash of every entry of the index, with or without its revision, and of its value. */
static inline void rig_digest_of(struct engine *e, bool revisions, uint8_t out[32])
{
    struct log *log = log_of(e);
    struct tree_snap snap;
    struct tree_cursor c;
    uint64_t r, dropped = 0;
    assert_int_equal(e->ops->revision(e, &r), 0);
    assert_int_equal(tree_snap_take(log->index, &snap), 0);
    tree_cursor_init(&c, &snap.root);
    memset(out, 0, 32);
    for (bool more = tree_cursor_seek(&c, "", 0); more; more = tree_cursor_next(&c)) {
        struct buf b;
        struct entry x;
        void *data = NULL;
        buf_init(&b, false);
        assert_true(entry_decode(c.payload, c.payload_len, &x));
        if (dropped && bytes_get64be(c.key) == dropped)
            continue; /* perhaps not purged yet */
        if (lineage_is(c.key, c.key_len))
            continue; /* every store's own */
        if (x.flags & ENTRY_DROP)
            dropped = bytes_get64be(c.key);
        buf_add(&b, out, 32);
        buf_add(&b, c.key, c.key_len);
        buf_add_u8(&b, x.flags & (ENTRY_TYPE | ENTRY_DROP));
        buf_add_u64(&b, revisions ? x.revision : 0);
        buf_add_u64(&b, (uint64_t)x.expires_ms);
        if (!(x.flags & ENTRY_DROP)) {
            assert_int_equal(read_value(log, &x, true, &data), 0);
            buf_add(&b, data, x.len);
            os_free(data);
        }
        assert_int_equal(buf_status(&b), 0);
        seal_hash(out, 32, NULL, 0, b.data, b.len);
        buf_done(&b);
    }
    tree_snap_drop(log->index, &snap);
}

static inline void rig_digest(struct engine *e, uint8_t out[32])
{
    rig_digest_of(e, true, out);
}

struct rig_names {
    const char *suffix;
    uint64_t newest;
};

static inline int rig_newest_name(const char *name, void *ctx)
{
    struct rig_names *f = ctx;
    uint64_t n = segment_number(name, f->suffix);
    if (n > f->newest)
        f->newest = n;
    return 0;
}

/* The newest file with this suffix: its number, or 0, and its path. */
static inline uint64_t rig_newest(const char *dir, const char *suffix, char out_path[160])
{
    struct rig_names f = {suffix, 0};
    char name[SEGMENT_NAME] = "";
    int fd = -1;
    assert_int_equal(os_open(OS_AT_CWD, dir, OS_READONLY | OS_DIRECTORY, &fd), 0);
    assert_int_equal(os_list(fd, rig_newest_name, &f), 0);
    os_close(&fd);
    if (f.newest)
        segment_name(f.newest, suffix, name);
    int n = snprintf(out_path, 160, "%.100s/%s", dir, name);
    assert_true(n > 0 && n < 160);
    return f.newest;
}

static inline uint8_t *rig_read(const char *path, size_t *out_len)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    assert_int_equal(fseek(f, 0, SEEK_END), 0);
    long n = ftell(f);
    rewind(f);
    uint8_t *p = malloc((size_t)n + 1);
    assert_non_null(p);
    assert_int_equal(fread(p, 1, (size_t)n, f), n);
    (void)fclose(f);
    *out_len = (size_t)n;
    return p;
}

static inline void rig_write(const char *path, const void *p, size_t len)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(p, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
}

#endif
