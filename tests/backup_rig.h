/* What tests of backup and restore share: a stream in memory, and comparing a store with a digest. */
#ifndef BACKUP_RIG_H
#define BACKUP_RIG_H

#include "engine_rig.h"

struct stream {
    struct buf b;
    size_t at;
    size_t fail_at; /* 0: never. Writing and reading fail behind so many bytes */
};

static inline int stream_take(const void *p, size_t len, void *ctx)
{
    struct stream *s = ctx;
    if (s->fail_at && s->b.len + len > s->fail_at)
        return KIST_ENOSPC;
    buf_add(&s->b, p, len);
    return buf_status(&s->b);
}

static inline int stream_give(void *p, size_t len, size_t *out_n, void *ctx)
{
    struct stream *s = ctx;
    size_t n = bytes_min(bytes_min(len, 1000), s->b.len - s->at);
    if (s->fail_at && s->at + n > s->fail_at)
        return KIST_EIO;
    if (n)
        memcpy(p, s->b.data + s->at, n);
    s->at += n;
    *out_n = n;
    return 0;
}

static inline uint64_t backup(struct engine *e, uint64_t since, struct stream *s)
{
    uint64_t revision = 0;
    buf_init(&s->b, false);
    s->at = s->fail_at = 0;
    int r = e->ops->backup(e, since, stream_take, s, &revision);
    if (r)
        fail_msg("backup: %d %s", r, rig_detail.text);
    return revision;
}

static inline int restore_with(const char *path, const struct unlock *u, struct stream *s)
{
    struct engine_options o = {.lock_timeout_ms = 200, .unlock = u};
    s->at = 0;
    return engine_restore(path, &o, stream_give, s, &rig_detail);
}

static inline int restore(const char *path, struct stream *s)
{
    return restore_with(path, &rig_unlock, s);
}

static inline void restore_ok(const char *path, struct stream *s)
{
    int r = restore(path, s);
    if (r)
        fail_msg("restore: %d %s", r, rig_detail.text);
}

static inline void sub(const char *dir, const char *name, char out[160])
{
    int n = snprintf(out, 160, "%s/%s", dir, name);
    assert_true(n > 0 && n < 160);
}

static inline void expect_whole(struct engine *e)
{
    struct kist_verify_report report;
    int r = e->ops->verify(e, NULL, &report);
    if (r)
        fail_msg("verify: %d %s", r, rig_detail.text);
}

/* Open path and compare with what is expected; the store must verify, also when it was replayed from its segments. */
static inline void expect_same(const char *path, const uint8_t digest[32])
{
    uint8_t now[32];
    for (int i = 0; i < 2; i++) {
        struct engine *e = NULL;
        int r = rig_try(path, KIST_OPEN_EXISTING, &e);
        if (r)
            fail_msg("open: %d %s", r, rig_detail.text);
        rig_digest(e, now);
        assert_memory_equal(now, digest, 32);
        expect_whole(e);
        rig_close(&e);
    }
}

#endif
