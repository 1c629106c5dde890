/* test_backup.c: a backup makes the same store again, whole or step by step, and nothing else passes for one. */
#include "backup_rig.h"

#include <sys/stat.h>

static void fill(struct engine *e, int from, int to)
{
    char key[64];
    char *value = malloc(5000);
    assert_non_null(value);
    for (int i = from; i < to; i++) {
        (void)snprintf(key, sizeof key, "key %d", i % 503);
        memset(value, 'a' + i % 26, 5000);
        value[i * 37 % 4999] = '\0';
        (void)rig_put_until(e, 1 + (uint64_t)(i % 4), key, value, i % 9 ? 0 : 4102444800000 + i);
        if (i % 6 == 0)
            (void)rig_del(e, 1 + (uint64_t)(i % 4), key);
    }
    (void)rig_put(e, ENGINE_CATALOG, "buckets", "of some kind");
    free(value);
}

static void a_whole_backup_makes_the_same_store(void **state)
{
    char dir[64], from[160], to[160];
    uint8_t digest[32];
    struct stream s;
    (void)state;
    rig_dir(dir);
    sub(dir, "from", from);
    sub(dir, "to", to);
    log_segment_size_override = 256 << 10;
    struct engine *e = rig_open(from);
    fill(e, 0, 1500);
    (void)rig_drop(e, 4);
    uint64_t revision = backup(e, 0, &s);
    assert_int_equal(revision, tree_published_tag(log_of(e)->index));
    rig_digest(e, digest);
    restore_ok(to, &s);
    expect_same(to, digest);
    rig_close(&e);
    e = rig_open(to);
    rig_expect(e, 4, "key 3", NULL);
    assert_true(rig_put(e, 1, "new", "value") > revision);
    assert_int_equal(e->ops->compact(e, NULL, NULL), 0);
    expect_whole(e);
    rig_expect(e, 1, "new", "value");
    rig_close(&e);
    struct stat st;
    assert_int_equal(stat(to, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    log_segment_size_override = 0;
    buf_done(&s.b);
    rig_remove(dir);
}

static void an_empty_store_and_large_values_come_back(void **state)
{
    char dir[64], from[160], to[160];
    uint8_t digest[32];
    struct stream s;
    (void)state;
    rig_dir(dir);
    sub(dir, "from", from);
    sub(dir, "to", to);
    struct engine *e = rig_open(from);
    (void)backup(e, 0, &s);
    rig_digest(e, digest);
    restore_ok(to, &s);
    expect_same(to, digest);
    buf_done(&s.b);
    char *large = malloc(5 << 20);
    assert_non_null(large);
    memset(large, 'L', (5 << 20) - 1);
    large[(5 << 20) - 1] = '\0';
    (void)rig_put(e, 1, "large", large);
    (void)rig_put(e, 1, "void", "");
    (void)backup(e, 0, &s);
    rig_digest(e, digest);
    rig_close(&e);
    sub(dir, "to2", to);
    restore_ok(to, &s);
    expect_same(to, digest);
    free(large);
    buf_done(&s.b);
    rig_remove(dir);
}

static void increments_bring_a_restored_store_forward(void **state)
{
    char dir[64], from[160], to[160], idx[160];
    uint8_t digest[32];
    struct stream s;
    (void)state;
    rig_dir(dir);
    sub(dir, "from", from);
    sub(dir, "to", to);
    log_segment_size_override = 256 << 10;
    struct engine *e = rig_open(from);
    fill(e, 0, 600);
    (void)rig_put(e, 9, "in a bucket", "that goes");
    (void)rig_put(e, 9, "in a bucket", "that goes later");
    uint64_t revision = backup(e, 0, &s);
    restore_ok(to, &s);
    buf_done(&s.b);
    for (int step = 1; step <= 4; step++) {
        fill(e, 600 + 100 * step, 800 + 100 * step);
        if (step == 2)
            (void)rig_drop(e, 9);
        if (step == 3)
            assert_int_equal(e->ops->compact(e, NULL, NULL), 0);
        revision = backup(e, revision, &s);
        rig_digest(e, digest);
        restore_ok(to, &s);
        expect_same(to, digest);
        buf_done(&s.b);
        struct engine *x = rig_open(to); /* being opened, compacted and snapshotted changes nothing */
        if (step == 2)
            assert_int_equal(x->ops->compact(x, NULL, NULL), 0);
        if (step == 1) {
            assert_int_equal(writer_lock(log_of(x)), 0);
            assert_int_equal(snapshot_write(log_of(x), true), 0);
            writer_unlock(log_of(x));
        }
        rig_close(&x);
        if (step == 1)
            assert_true(rig_newest(to, ".idx", idx) > 0);
    }
    (void)backup(e, revision, &s); /* nothing new */
    restore_ok(to, &s);
    expect_same(to, digest);
    buf_done(&s.b);
    rig_close(&e);
    log_segment_size_override = 0;
    rig_remove(dir);
}

static void an_increment_fits_only_what_it_starts_from(void **state)
{
    char dir[64], from[160], to[160], other[160];
    uint8_t digest[32];
    struct stream whole, step1, step2;
    (void)state;
    rig_dir(dir);
    sub(dir, "from", from);
    sub(dir, "to", to);
    sub(dir, "other", other);
    struct engine *e = rig_open(from);
    (void)rig_put(e, 1, "a", "1");
    (void)rig_put(e, 1, "b", "1");
    (void)rig_put(e, 1, "c", "1");
    uint64_t r0 = backup(e, 0, &whole);
    (void)rig_put(e, 1, "b", "2");
    (void)rig_del(e, 1, "c");
    uint64_t r1 = backup(e, r0, &step1);
    (void)rig_put(e, 1, "d", "3");
    (void)backup(e, r1, &step2);
    assert_int_equal(restore(to, &step1), KIST_ENOSTORE);
    restore_ok(to, &whole);
    assert_int_equal(restore(to, &whole), KIST_EEXIST);
    assert_int_equal(restore(to, &step2), KIST_EROLLBACK); /* one is left out */
    struct engine *x = rig_open(to);
    rig_digest(x, digest);
    rig_close(&x);
    expect_same(to, digest);
    /* somebody has it open */
    x = rig_open(to);
    assert_int_equal(restore(to, &step1), KIST_EBUSY);
    rig_close(&x);
    restore_ok(to, &step1);
    restore_ok(to, &step1); /* twice */
    restore_ok(to, &step2);
    assert_int_equal(restore(to, &step1), KIST_EROLLBACK); /* backward */
    x = rig_open(to);
    rig_expect(x, 1, "a", "1");
    rig_expect(x, 1, "b", "2");
    rig_expect(x, 1, "c", NULL);
    rig_expect(x, 1, "d", "3");
    rig_close(&x);
    /* written to, or deleted from, since it was restored */
    restore_ok(other, &whole);
    x = rig_open(other);
    (void)rig_put(x, 1, "own", "write");
    rig_close(&x);
    assert_int_equal(restore(other, &step1), KIST_EROLLBACK);
    rig_remove(other);
    restore_ok(other, &whole);
    x = rig_open(other);
    (void)rig_del(x, 1, "a");
    rig_close(&x);
    assert_int_equal(restore(other, &step1), KIST_EROLLBACK);
    rig_close(&e);
    buf_done(&whole.b);
    buf_done(&step1.b);
    buf_done(&step2.b);
    rig_remove(dir);
}

static void a_backup_since_the_future_is_refused(void **state)
{
    char dir[64];
    struct stream s = {.fail_at = 0};
    uint64_t revision = 7;
    (void)state;
    rig_dir(dir);
    struct engine *e = rig_open(dir);
    buf_init(&s.b, false);
    assert_int_equal(e->ops->backup(e, 1000, stream_take, &s, &revision), KIST_EROLLBACK);
    assert_int_equal(revision, 7);
    assert_int_equal(s.b.len, 0);
    rig_close(&e);
    e = rig_open(":memory:");
    assert_int_equal(e->ops->backup(e, 0, stream_take, &s, &revision), KIST_ENOTSUP);
    rig_close(&e);
    buf_done(&s.b);
    rig_remove(dir);
}

static const uint8_t second_key[32] = "another key that opens the store";

static int add_slot(struct keyring *k, void *ctx)
{
    struct unlock u = {.kind = UNLOCK_RAW, .ptr = second_key, .len = 32};
    (void)ctx;
    int slot = 0;
    return keyring_slot_add(k, &u, "second", 6, &slot);
}

static void every_secret_of_the_store_opens_its_backup(void **state)
{
    char dir[64], from[160], to[160];
    struct unlock u = {.kind = UNLOCK_RAW, .ptr = second_key, .len = 32};
    struct engine_options o = {.mode = KIST_OPEN_EXISTING, .lock_timeout_ms = 100, .unlock = &u};
    struct stream s;
    (void)state;
    rig_dir(dir);
    sub(dir, "from", from);
    sub(dir, "to", to);
    struct engine *e = rig_open(from);
    (void)rig_put(e, 1, "k", "v");
    (void)backup(e, 0, &s);
    assert_int_equal(restore_with(to, &u, &s), KIST_EKEY);
    assert_int_equal(access(to, F_OK), -1);
    buf_done(&s.b);
    assert_int_equal(e->ops->keyring_change(e, add_slot, NULL), 0);
    (void)backup(e, 0, &s);
    rig_close(&e);
    assert_int_equal(restore_with(to, &u, &s), 0);
    assert_int_equal(engine_open(to, &o, &rig_detail, &e), 0); /* and the restored store, as the first one does */
    rig_expect(e, 1, "k", "v");
    rig_close(&e);
    e = rig_open(to);
    rig_expect(e, 1, "k", "v");
    assert_int_equal(log_of(e)->active->generation, 2); /* sealed under a key of its own */
    rig_close(&e);
    buf_done(&s.b);
    rig_remove(dir);
}

static void nothing_is_made_of_a_damaged_backup(void **state)
{
    char dir[64], from[160], to[160];
    struct stream s;
    (void)state;
    rig_dir(dir);
    sub(dir, "from", from);
    sub(dir, "to", to);
    struct engine *e = rig_open(from);
    (void)rig_put(e, 1, "key", "value");
    (void)rig_put_until(e, 2, "key", "", 4102444800000);
    (void)rig_drop(e, 3);
    (void)backup(e, 0, &s);
    rig_close(&e);
    for (size_t i = 0; i < s.b.len; i++) {
        s.b.data[i] = (uint8_t)(s.b.data[i] ^ (1u << (i % 8)));
        int r = restore(to, &s);
        if (r != KIST_ECORRUPT && r != KIST_EKEY && r != KIST_ENOTKIST && r != KIST_ENEWER)
            fail_msg("byte %zu: %d %s", i, r, rig_detail.text);
        assert_int_equal(access(to, F_OK), -1);
        s.b.data[i] = (uint8_t)(s.b.data[i] ^ (1u << (i % 8)));
    }
    size_t len = s.b.len;
    for (size_t n = 0; n < len; n++) {
        s.b.len = n;
        int r = restore(to, &s);
        if (r != KIST_ECORRUPT && r != KIST_ENOTKIST)
            fail_msg("%zu bytes: %d %s", n, r, rig_detail.text);
        assert_int_equal(access(to, F_OK), -1);
    }
    s.b.len = len;
    buf_add_u8(&s.b, 0);
    assert_int_equal(restore(to, &s), KIST_ECORRUPT);
    s.b.len = len;
    s.fail_at = len - 10;
    assert_int_equal(restore(to, &s), KIST_EIO);
    s.fail_at = 0;
    assert_int_equal(access(to, F_OK), -1);
    restore_ok(to, &s);
    buf_done(&s.b);
    rig_remove(dir);
}

static void a_backup_that_cannot_be_written_says_so(void **state)
{
    char dir[64];
    struct stream s;
    uint64_t revision = 7;
    (void)state;
    rig_dir(dir);
    struct engine *e = rig_open(dir);
    fill(e, 0, 100);
    size_t len = 0;
    (void)backup(e, 0, &s);
    len = s.b.len;
    for (size_t at = 1; at < len; at += len / 20) {
        s.b.len = 0;
        s.fail_at = at;
        assert_int_equal(e->ops->backup(e, 0, stream_take, &s, &revision), KIST_ENOSPC);
        assert_int_equal(revision, 7);
    }
    buf_done(&s.b);
    rig_close(&e);
    rig_remove(dir);
}

/* Fail the n-th write, sync, rename or what it may be while a store is restored; then everything is as it was. */
static int countdown;
static unsigned kinds;

static int hook(const struct os_call *call)
{
    if (!(kinds & (1u << call->kind)) || countdown-- != 0)
        return 0;
    return call->kind == OS_ALLOC ? -12 : -28;
}

static void a_restore_that_fails_anywhere_leaves_what_was_there(void **state)
{
    char dir[64], from[160], to[160];
    uint8_t before[32], after[32], now[32];
    struct stream whole, step;
    (void)state;
    rig_dir(dir);
    sub(dir, "from", from);
    sub(dir, "to", to);
    struct engine *e = rig_open(from);
    fill(e, 0, 40);
    rig_digest(e, before);
    uint64_t r0 = backup(e, 0, &whole);
    fill(e, 40, 60);
    (void)rig_del(e, 1, "key 4");
    (void)backup(e, r0, &step);
    rig_digest(e, after);
    rig_close(&e);
    kinds =
        1u << OS_WRITE | 1u << OS_SYNC | 1u << OS_SYNC_DIR | 1u << OS_RENAME | 1u << OS_OPEN | 1u << OS_MKDIR | 1u << OS_ALLOC;
    int tried = 0;
    for (int n = 0;; n++) {
        countdown = n;
        os_hook = hook;
        int r = restore(to, &whole);
        os_hook = NULL;
        if (r == 0)
            break;
        tried++;
        if (rig_try(to, KIST_OPEN_EXISTING, &e) != KIST_ENOSTORE)
            fail_msg("call %d: %d left a store", n, r);
        rig_remove(to);
    }
    expect_same(to, before);
    for (int n = 0;; n++) {
        countdown = n;
        os_hook = hook;
        int r = restore(to, &step);
        bool through = countdown < 0;
        os_hook = NULL;
        e = rig_open(to);
        rig_digest(e, now);
        bool done = memcmp(now, after, 32) == 0;
        if (r == 0 && !done)
            fail_msg("call %d: nothing was restored", n);
        if (r != 0 && r != KIST_EMAYBE && memcmp(now, before, 32))
            fail_msg("call %d: %d and something changed", n, r);
        expect_whole(e);
        rig_close(&e);
        if (r == 0 && !through)
            break;
        if (done) { /* by a call whose failure does not matter, or perhaps */
            rig_remove(to);
            restore_ok(to, &whole);
        }
        tried++;
    }
    assert_true(tried > 50);
    expect_same(to, after);
    buf_done(&whole.b);
    buf_done(&step.b);
    rig_remove(dir);
}

/* From the n-th change on nothing reaches the directory any more, as if the process had died there. */
#define CHANGES                                                                                                                \
    (1u << OS_WRITE | 1u << OS_SYNC | 1u << OS_SYNC_DIR | 1u << OS_RENAME | 1u << OS_OPEN | 1u << OS_MKDIR | 1u << OS_UNLINK | \
     1u << OS_TRUNCATE | 1u << OS_RESERVE)

static int die(const struct os_call *call)
{
    if (!(CHANGES & (1u << call->kind)))
        return 0;
    return countdown-- > 0 ? 0 : -5;
}

/* False: it got through before it died. */
static bool restore_dying(const char *path, struct stream *s, int at)
{
    countdown = at;
    os_hook = die;
    (void)restore(path, s);
    os_hook = NULL;
    return countdown < 0;
}

static bool there(const char *dir, const char *name)
{
    char path[200];
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    return access(path, F_OK) == 0;
}

/* Segments under a name of the future broke the store that was to be brought forward. */
static void an_increment_that_dies_anywhere_leaves_the_store_good(void **state)
{
    char dir[64], from[160], to[160], last[160];
    uint8_t before[32], after[32], now[32];
    struct stream whole, step;
    struct engine *e = NULL;
    (void)state;
    rig_dir(dir);
    sub(dir, "from", from);
    sub(dir, "to", to);
    e = rig_open(from);
    fill(e, 0, 10);
    rig_digest(e, before);
    uint64_t r0 = backup(e, 0, &whole);
    fill(e, 10, 60);
    (void)rig_del(e, 1, "key 4");
    (void)backup(e, r0, &step);
    rig_digest(e, after);
    rig_close(&e);
    log_segment_size_override = 64 << 10; /* more than one segment */
    restore_ok(to, &whole);
    int tried = 0, undone = 0;
    for (int n = 0; restore_dying(to, &step, n); n++, tried++) {
        int r = rig_try(to, KIST_OPEN_EXISTING, &e);
        if (r)
            fail_msg("call %d: open: %d %s", n, r, rig_detail.text);
        rig_digest(e, now);
        bool done = memcmp(now, after, 32) == 0;
        if (!done && memcmp(now, before, 32))
            fail_msg("call %d: half an increment", n);
        expect_whole(e);
        assert_int_equal(rig_newest(to, ".log", last), log_of(e)->active->number); /* nothing of it stays */
        rig_close(&e);
        undone += !done;
        if (done) {
            rig_remove(to);
            restore_ok(to, &whole);
        }
    }
    assert_true(tried > 50 && undone > 30);
    expect_same(to, after);
    log_segment_size_override = 0;
    buf_done(&whole.b);
    buf_done(&step.b);
    rig_remove(dir);
}

/* Making a store beside the segments of a restore that had died gave one that never opened. */
static void nothing_is_made_where_a_restore_has_died(void **state)
{
    char dir[64], from[160], to[160];
    uint8_t digest[32];
    struct stream whole;
    struct engine *e = NULL;
    (void)state;
    rig_dir(dir);
    sub(dir, "from", from);
    sub(dir, "to", to);
    e = rig_open(from);
    fill(e, 0, 40);
    rig_digest(e, digest);
    (void)backup(e, 0, &whole);
    rig_close(&e);
    log_segment_size_override = 64 << 10;
    int refused = 0;
    for (int n = 0; restore_dying(to, &whole, n); n++) {
        bool made = there(to, "header"), marked = there(to, RECOVER_MARK);
        if (!made && marked) {
            assert_int_equal(rig_try(to, KIST_OPEN_EXISTING, &e), KIST_ENOSTORE);
            assert_int_equal(rig_try(to, KIST_OPEN_CREATE, &e), KIST_EEXIST);
            assert_non_null(strstr(rig_detail.text, "restore"));
            assert_int_equal(rig_try(to, KIST_OPEN_NEW, &e), KIST_EEXIST);
            assert_false(there(to, "header"));
            refused++;
        }
        if (!made)
            restore_ok(to, &whole);
        expect_same(to, digest);
        assert_false(there(to, RECOVER_MARK));
        rig_remove(to);
    }
    assert_true(refused > 20);
    log_segment_size_override = 0;
    buf_done(&whole.b);
    rig_remove(dir);
}

static void what_a_creation_that_died_left_is_taken_over(void **state)
{
    char dir[64], from[160], to[160];
    uint8_t digest[32];
    struct stream whole;
    struct engine *e = NULL;
    (void)state;
    rig_dir(dir);
    sub(dir, "from", from);
    sub(dir, "to", to);
    e = rig_open(from);
    fill(e, 0, 10);
    rig_digest(e, digest);
    (void)backup(e, 0, &whole);
    rig_close(&e);
    int died = 0;
    for (int n = 0;; n++) {
        countdown = n;
        os_hook = die;
        int r = rig_try(to, KIST_OPEN_CREATE, &e);
        os_hook = NULL;
        if (r == 0)
            break;
        died++;
        if (n % 2 == 0 && !there(to, "header")) {
            restore_ok(to, &whole);
            expect_same(to, digest);
        } else {
            e = rig_open(to);
            (void)rig_put(e, 1, "k", "v");
            rig_close(&e);
        }
        rig_remove(to);
    }
    assert_true(died > 5);
    rig_close(&e);
    buf_done(&whole.b);
    rig_remove(dir);
}

/* It was, and segment 1 of the old store went. */
static void a_store_that_lost_its_header_is_not_made_anew(void **state)
{
    char dir[64], path[160], header[200], away[160];
    struct stream whole;
    struct engine *e = NULL;
    (void)state;
    for (int segments = 1; segments <= 2; segments++) {
        rig_dir(dir);
        sub(dir, "store", path);
        sub(dir, "header", away);
        sub(path, "header", header);
        e = rig_open(path);
        (void)rig_put(e, 1, "key", "value");
        (void)backup(e, 0, &whole);
        if (segments == 2)
            assert_int_equal(rekey_rotate(e, false, NULL, NULL), 0); /* nothing is in segment 1 any more */
        rig_close(&e);
        assert_int_equal(rename(header, away), 0);
        assert_int_equal(rig_try(path, KIST_OPEN_CREATE, &e), KIST_EEXIST);
        assert_non_null(strstr(rig_detail.text, "header"));
        assert_int_equal(rig_try(path, KIST_OPEN_NEW, &e), KIST_EEXIST);
        assert_int_equal(rig_try(path, KIST_OPEN_EXISTING, &e), KIST_ENOSTORE);
        assert_int_equal(restore(path, &whole), KIST_EEXIST);
        assert_int_equal(rename(away, header), 0);
        e = rig_open(path);
        rig_expect(e, 1, "key", "value");
        expect_whole(e);
        rig_close(&e);
        buf_done(&whole.b);
        rig_remove(dir);
    }
}

/* The lock file of a store outlives it: who still has it open would have written into the new one. */
static void nothing_is_made_under_the_lock_of_a_store_that_is_open(void **state)
{
    char dir[64], path[160], command[600];
    struct stream whole;
    struct engine *e = NULL, *other = NULL;
    (void)state;
    rig_dir(dir);
    sub(dir, "store", path);
    e = rig_open(path);
    (void)rig_put(e, 1, "key", "value");
    (void)backup(e, 0, &whole);
    (void)snprintf(command, sizeof command, "rm -f '%s'/header '%s'/*.log '%s'/*.idx", path, path, path);
    assert_int_equal(system(command), 0);
    assert_int_equal(rig_try(path, KIST_OPEN_CREATE, &other), KIST_EBUSY);
    assert_int_equal(restore(path, &whole), KIST_EBUSY);
    rig_close(&e);
    assert_int_equal(system(command), 0);
    restore_ok(path, &whole);
    e = rig_open(path);
    rig_expect(e, 1, "key", "value");
    rig_close(&e);
    buf_done(&whole.b);
    rig_remove(dir);
}

/* -- what is on disk when -- */

static struct {
    bool data, names; /* not synced: bytes, names in the directory */
    int segments;     /* that got their name */
    uint64_t dirs[8]; /* inodes of the directories synced so far */
    int dirs_len;
} disk;

static int watch_disk(const struct os_call *call)
{
    size_t n = call->to ? strlen(call->to) : 0;
    bool log = n == 16 && strcmp(call->to + 12, ".log") == 0;
    struct stat st;
    if (call->kind == OS_WRITE)
        disk.data = true;
    if (call->kind == OS_SYNC)
        disk.data = false;
    if (call->kind == OS_SYNC_DIR) {
        disk.names = false;
        assert_int_equal(fstat(call->fd, &st), 0);
        if (disk.dirs_len < 8)
            disk.dirs[disk.dirs_len++] = st.st_ino;
    }
    if (call->kind != OS_RENAME)
        return 0;
    assert_false(disk.data);
    if (log && strcmp(call->name, "next.tmp") == 0)
        assert_false(disk.names); /* the MANIFEST names others */
    disk.names = true;
    disk.segments += log;
    return 0;
}

static void a_segment_is_on_disk_before_it_has_its_name(void **state)
{
    char dir[64], from[160], to[160];
    struct stream whole, step;
    (void)state;
    rig_dir(dir);
    sub(dir, "from", from);
    sub(dir, "to", to);
    struct engine *e = rig_open(from);
    (void)rig_put(e, 1, "a", "1");
    uint64_t r0 = backup(e, 0, &whole);
    fill(e, 0, 200);
    (void)backup(e, r0, &step);
    rig_close(&e);
    log_segment_size_override = 64 << 10;
    restore_ok(to, &whole);
    memset(&disk, 0, sizeof disk);
    os_hook = watch_disk;
    int r = restore(to, &step);
    os_hook = NULL;
    assert_int_equal(r, 0);
    assert_true(disk.segments > 2);
    assert_false(disk.names);
    log_segment_size_override = 0;
    buf_done(&whole.b);
    buf_done(&step.b);
    rig_remove(dir);
}

static int fail_sync(const struct os_call *call)
{
    return call->kind == OS_SYNC ? -5 : 0;
}

/* Without syncing, a power cut could have taken revisions back that a backup has, and given them to other commits. */
static void what_a_backup_holds_is_durable_in_its_store(void **state)
{
    char dir[64];
    struct stream s = {.fail_at = 0};
    (void)state;
    rig_dir(dir);
    struct engine *e = rig_open(dir); /* KIST_SYNC_NONE */
    (void)rig_put(e, 1, "a", "1");
    memset(&disk, 0, sizeof disk);
    disk.data = true;
    os_hook = watch_disk;
    (void)backup(e, 0, &s);
    os_hook = NULL;
    assert_false(disk.data);
    (void)rig_put(e, 1, "a", "2");
    s.b.len = 0;
    os_hook = fail_sync;
    assert_int_equal(e->ops->backup(e, 0, stream_take, &s, NULL), KIST_EIO);
    os_hook = NULL;
    assert_int_equal(s.b.len, 0);
    rig_close(&e);
    buf_done(&s.b);
    rig_remove(dir);
}

/* The directories that were made for it were not synced: a power cut could take the store with them. */
static void a_new_store_is_durable_in_each_directory_above_it(void **state)
{
    char dir[64], path[160];
    struct stat st;
    (void)state;
    rig_dir(dir);
    sub(dir, "one/two/store", path);
    memset(&disk, 0, sizeof disk);
    os_hook = watch_disk;
    struct engine *e = rig_open(path);
    os_hook = NULL;
    rig_close(&e);
    static const char *const above[] = {"one/two", "one", "."};
    for (int i = 0; i < 3; i++) {
        bool synced = false;
        sub(dir, above[i], path);
        assert_int_equal(stat(path, &st), 0);
        for (int j = 0; j < disk.dirs_len; j++)
            synced = synced || disk.dirs[j] == st.st_ino;
        if (!synced)
            fail_msg("%s was not synced", above[i]);
    }
    rig_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_backup_makes_the_same_store),
        cmocka_unit_test(an_empty_store_and_large_values_come_back),
        cmocka_unit_test(increments_bring_a_restored_store_forward),
        cmocka_unit_test(an_increment_fits_only_what_it_starts_from),
        cmocka_unit_test(a_backup_since_the_future_is_refused),
        cmocka_unit_test(every_secret_of_the_store_opens_its_backup),
        cmocka_unit_test(nothing_is_made_of_a_damaged_backup),
        cmocka_unit_test(a_backup_that_cannot_be_written_says_so),
        cmocka_unit_test(a_restore_that_fails_anywhere_leaves_what_was_there),
        cmocka_unit_test(an_increment_that_dies_anywhere_leaves_the_store_good),
        cmocka_unit_test(nothing_is_made_where_a_restore_has_died),
        cmocka_unit_test(what_a_creation_that_died_left_is_taken_over),
        cmocka_unit_test(a_store_that_lost_its_header_is_not_made_anew),
        cmocka_unit_test(nothing_is_made_under_the_lock_of_a_store_that_is_open),
        cmocka_unit_test(what_a_backup_holds_is_durable_in_its_store),
        cmocka_unit_test(a_segment_is_on_disk_before_it_has_its_name),
        cmocka_unit_test(a_new_store_is_durable_in_each_directory_above_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
