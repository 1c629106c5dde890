/* test_standby.c: a restored store that increments bring forward: which ones it takes, and that it is what its source was,
 * whatever is done to it in between. */
#include "backup_rig.h"
#include "engine/compact.h"

struct pair {
    char dir[64], from[160], to[160], other[160];
    struct engine *source;
};

static void pair_begin(struct pair *p)
{
    rig_dir(p->dir);
    sub(p->dir, "from", p->from);
    sub(p->dir, "to", p->to);
    sub(p->dir, "other", p->other);
    p->source = rig_open(p->from);
}

static void pair_end(struct pair *p)
{
    rig_close(&p->source);
    rig_remove(p->dir);
}

/* A whole backup of e at path: its revision. */
static uint64_t copy(struct engine *e, const char *path)
{
    struct stream s;
    uint64_t revision = backup(e, 0, &s);
    restore_ok(path, &s);
    buf_done(&s.b);
    return revision;
}

/* An increment of e onto path. */
static int feed(struct engine *e, uint64_t since, const char *path, uint64_t *out_revision)
{
    struct stream s;
    uint64_t revision = backup(e, since, &s);
    int r = restore(path, &s);
    buf_done(&s.b);
    if (r == 0)
        *out_revision = revision;
    return r;
}

static void feed_ok(struct engine *e, uint64_t *io_revision, const char *path)
{
    int r = feed(e, *io_revision, path, io_revision);
    if (r)
        fail_msg("increment: %d %s", r, rig_detail.text);
}

static void feed_refused(struct engine *e, uint64_t since, const char *path, const char *why)
{
    uint64_t none = 0;
    assert_int_equal(feed(e, since, path, &none), KIST_EROLLBACK);
    if (!strstr(rig_detail.text, why))
        fail_msg("\"%s\" in \"%s\"", why, rig_detail.text);
}

/* Without a snapshot the next opener replays all there is. */
static void forget_snapshots(const char *path)
{
    char name[160];
    while (rig_newest(path, ".idx", name))
        assert_int_equal(unlink(name), 0);
}

static void write_snapshot(struct engine *e)
{
    assert_int_equal(writer_lock(log_of(e)), 0);
    assert_int_equal(snapshot_write(log_of(e), true), 0);
    writer_unlock(log_of(e));
}

/* Which segments to compact: by its place among those that may be, by its number, or because deletes are in it. */
static bool in_mask(const struct segment *s, size_t place, uint64_t mask)
{
    (void)s;
    return mask >> (place % 32) & 1;
}

static bool has_number(const struct segment *s, size_t place, uint64_t number)
{
    (void)place;
    return s->number == number;
}

static bool has_deletes(const struct segment *s, size_t place, uint64_t none)
{
    (void)place;
    (void)none;
    return s->delete_bytes > 0;
}

static void compact_those(struct engine *e, bool (*wanted)(const struct segment *s, size_t place, uint64_t arg), uint64_t arg)
{
    struct log *log = log_of(e);
    struct log_compaction *c = NULL;
    assert_int_equal(shared_lock(&log->shared, SHARED_COMPACT, 0), 0);
    assert_int_equal(compact_moves_all(log), 0);
    const struct log_table *t = atomic_load(&log->table);
    struct segment **inputs = os_alloc(t->len * sizeof *inputs);
    assert_non_null(inputs);
    size_t n = 0;
    for (size_t i = 0, place = 0; i < t->len; i++) {
        if (compact_is_free(t->slot[i], log) && wanted(t->slot[i], place++, arg))
            inputs[n++] = t->slot[i];
    }
    if (n == 0) {
        os_free(inputs);
        shared_unlock(&log->shared, SHARED_COMPACT);
        return;
    }
    assert_int_equal(compact_start(log, inputs, n, &c), 0);
    assert_true(compact_copy(log, c, -1) >= 0);
    assert_int_equal(compact_finish(log, c), 0);
    compact_free(log, &c);
    assert_int_equal(compact_moves_all(log), 0);
}

/* The segment that the record is in. */
static uint64_t home_of(struct engine *e, const char *name)
{
    uint8_t key[LOG_INDEX_KEY];
    size_t len = 0, n = log_index_key(1, rig_bytes(name), key);
    struct tree_root root = tree_working(log_of(e)->index);
    const uint8_t *p = tree_find(&root, key, n, &len);
    struct entry entry;
    assert_non_null(p);
    assert_true(entry_decode(p, len, &entry));
    return entry.segment;
}

static void maintain(struct engine *e)
{
    bool more = true;
    for (int i = 0; more && i < 1000; i++)
        assert_int_equal(e->ops->maintain(e, 10000, &more), 0);
    assert_false(more);
}

/* -- which increments a store takes -- */

/* Its own delete had the larger revision, and the source's put was lost without a word. */
static void a_standby_that_deleted_something_takes_no_increment(void **state)
{
    struct pair p;
    (void)state;
    for (int snapshot = 0; snapshot <= 1; snapshot++) {
        pair_begin(&p);
        (void)rig_put(p.source, 1, "key", "1");
        (void)rig_put(p.source, 1, "other", "1");
        uint64_t revision = copy(p.source, p.to);
        struct engine *x = rig_open(p.to);
        (void)rig_del(x, 1, "key");
        if (snapshot)
            write_snapshot(x);
        rig_close(&x);
        (void)rig_put(p.source, 1, "key", "2");
        feed_refused(p.source, revision, p.to, "written to");
        x = rig_open(p.to);
        assert_int_equal(log_of(x)->from_snapshot, snapshot);
        rig_expect(x, 1, "other", "1");
        rig_close(&x);
        pair_end(&p);
    }
}

/* What has expired on both sides is taken out by the source alone. */
static void a_standby_is_not_swept_until_it_is_written_to(void **state)
{
    struct pair p;
    uint64_t swept = 1;
    (void)state;
    pair_begin(&p);
    (void)rig_put_until(p.source, 1, "key", "1", os_now_ms() + 5000);
    (void)rig_put_until(p.source, 1, "left", "1", os_now_ms() + 5000);
    uint64_t revision = copy(p.source, p.to);
    atomic_store(&os_clock_skew_ms, 10000);
    struct engine *x = rig_open(p.to);
    rig_expect(x, 1, "key", NULL);
    assert_false(sweep_due(log_of(x)));
    assert_int_equal(x->ops->sweep(x, 0, &swept), 0);
    assert_int_equal(swept, 0);
    maintain(x);
    assert_int_equal(x->ops->compact(x, NULL, NULL), 0);
    rig_close(&x);
    (void)rig_put(p.source, 1, "key", "2");
    feed_ok(p.source, &revision, p.to);
    x = rig_open(p.to);
    rig_expect(x, 1, "key", "2");
    assert_int_equal(tree_working(log_of(x)->index).count, 3); /* "left", and the lineage */
    (void)rig_put(x, 1, "own", "1");
    assert_true(sweep_due(log_of(x)));
    assert_int_equal(x->ops->sweep(x, 0, &swept), 0);
    assert_int_equal(swept, 1);
    rig_close(&x);
    feed_refused(p.source, revision, p.to, "written to");
    atomic_store(&os_clock_skew_ms, 0);
    pair_end(&p);
}

/* Both wrote the same key at the same revision, and only numbers were compared. */
static void a_copy_that_went_its_own_way_takes_no_increment(void **state)
{
    struct pair p;
    (void)state;
    pair_begin(&p);
    (void)rig_put(p.source, 1, "a", "1");
    uint64_t revision = copy(p.source, p.to);
    uint64_t there = 0, here = 0;
    struct engine *x = rig_open(p.to);
    while (there < 10)
        there = rig_put(x, 1, "a", "the copy's");
    while (here < there)
        here = rig_put(p.source, 1, "a", "the source's");
    assert_int_equal(here, there);
    rig_close(&x);
    (void)rig_put(p.source, 1, "b", "2");
    feed_refused(p.source, here, p.to, "written to");
    feed_refused(p.source, revision, p.to, "written to");
    x = rig_open(p.to);
    rig_expect(x, 1, "a", "the copy's");
    /* nor does the source, or another copy, take one of the copy */
    there = rig_put(x, 1, "c", "3");
    assert_int_equal(copy(p.source, p.other) > 0, true);
    (void)rig_put(x, 1, "d", "4");
    feed_refused(x, there, p.other, "continues");
    rig_close(&p.source);
    feed_refused(x, there, p.from, "continues");
    p.source = rig_open(p.from);
    rig_expect(p.source, 1, "a", "the source's");
    rig_close(&x);
    pair_end(&p);
}

static void a_store_that_was_made_takes_no_increment(void **state)
{
    struct pair p;
    struct stream s;
    (void)state;
    pair_begin(&p);
    uint64_t since = rig_put(p.source, 1, "a", "1");
    (void)rig_put(p.source, 1, "a", "2");
    (void)backup(p.source, since, &s);
    rig_close(&p.source);
    assert_int_equal(restore(p.from, &s), KIST_EROLLBACK);
    p.source = rig_open(p.other);
    rig_close(&p.source);
    assert_int_equal(restore(p.other, &s), KIST_EROLLBACK); /* of another store */
    p.source = rig_open(p.from);
    rig_expect(p.source, 1, "a", "2");
    buf_done(&s.b);
    pair_end(&p);
}

static void increments_may_overlap_and_come_twice_but_leave_nothing_out(void **state)
{
    struct pair p;
    uint8_t digest[32];
    uint64_t r[4], now = 0;
    (void)state;
    pair_begin(&p);
    (void)rig_put(p.source, 1, "a", "1");
    (void)rig_put(p.source, 1, "z", "1");
    r[0] = copy(p.source, p.to);
    for (int i = 1; i < 4; i++) {
        char key[8];
        (void)snprintf(key, sizeof key, "k%d", i);
        (void)rig_put(p.source, 1, key, "v");
        (void)rig_put(p.source, 1, "a", key);
        if (i == 2)
            (void)rig_del(p.source, 1, "k1");
        if (i == 3)
            (void)rig_del(p.source, 1, "z");
        struct stream s;
        r[i] = backup(p.source, r[i - 1], &s);
        buf_done(&s.b);
    }
    rig_digest(p.source, digest);
    feed_refused(p.source, r[1], p.to, "between");
    assert_int_equal(feed(p.source, r[0], p.to, &now), 0);
    expect_same(p.to, digest);
    assert_int_equal(feed(p.source, r[3], p.to, &now), 0);
    assert_int_equal(feed(p.source, r[1], p.to, &now), 0);
    expect_same(p.to, digest);
    (void)rig_del(p.source, 1, "a");
    rig_digest(p.source, digest);
    assert_int_equal(feed(p.source, r[2], p.to, &now), 0);
    expect_same(p.to, digest);
    pair_end(&p);
}

/* An increment that nothing can be brought forward by is refused when it is made, not when it is needed. */
static void a_restored_store_makes_no_increment_from_before_it_was_restored(void **state)
{
    struct pair p;
    struct stream s = {.fail_at = 0};
    uint8_t digest[32];
    (void)state;
    pair_begin(&p);
    (void)rig_put(p.source, 1, "a", "1");
    uint64_t revision = copy(p.source, p.to);
    struct engine *x = rig_open(p.to);
    (void)rig_put(x, 1, "a", "2");
    buf_init(&s.b, false);
    assert_int_equal(x->ops->backup(x, revision, stream_take, &s, NULL), KIST_EROLLBACK);
    assert_int_equal(s.b.len, 0);
    uint64_t mine = copy(x, p.other); /* from a whole one on it is a source like any other */
    (void)rig_put(x, 1, "a", "3");
    feed_ok(x, &mine, p.other);
    rig_digest(x, digest);
    rig_close(&x);
    expect_same(p.other, digest);
    pair_end(&p);
}

/* A standby numbers what it is fed as its source does: for its own copies that is no history to go on from. */
static void the_copy_of_a_standby_ends_when_that_is_fed(void **state)
{
    struct pair p;
    uint64_t none = 0;
    struct stream s;
    (void)state;
    pair_begin(&p);
    (void)rig_put(p.source, 1, "a", "1");
    uint64_t revision = copy(p.source, p.to);
    struct engine *x = rig_open(p.to);
    uint64_t second = copy(x, p.other);
    assert_int_equal(feed(x, second, p.other, &none), 0);
    rig_close(&x);
    for (int i = 0; i < 5; i++)
        (void)rig_put(p.source, 1, "a", "2");
    feed_ok(p.source, &revision, p.to);
    x = rig_open(p.to);
    buf_init(&s.b, false);
    s.at = s.fail_at = 0;
    assert_int_equal(x->ops->backup(x, second, stream_take, &s, NULL), KIST_EROLLBACK);
    uint64_t third = backup(x, 0, &s);
    buf_done(&s.b);
    feed_refused(x, third, p.other, "continues");
    feed_refused(p.source, revision, p.other, "continues");
    rig_close(&x);
    pair_end(&p);
}

static void no_increment_is_made_of_a_salvaged_store(void **state)
{
    struct pair p;
    struct stream s = {.fail_at = 0};
    char last[160];
    size_t len = 0;
    (void)state;
    pair_begin(&p);
    (void)rig_put(p.source, 1, "a", "1");
    uint64_t since = rig_put(p.source, 1, "b", "a value that is found by its place");
    (void)rig_put(p.source, 1, "c", "3");
    assert_int_equal(p.source->ops->sync(p.source), 0);
    rig_close(&p.source);
    (void)rig_newest(p.from, ".log", last);
    uint8_t *data = rig_read(last, &len);
    data[64 + 88 + 80] ^= 1; /* in the frame behind the MANIFEST */
    rig_write(last, data, len);
    free(data);
    struct engine *x = NULL;
    assert_int_equal(rig_try(p.from, KIST_OPEN_EXISTING, &x), KIST_ECORRUPT);
    assert_int_equal(rig_try(p.from, KIST_OPEN_SALVAGE, &x), 0);
    buf_init(&s.b, false);
    assert_int_equal(x->ops->backup(x, since, stream_take, &s, NULL), KIST_ENOTSUP);
    assert_int_equal(s.b.len, 0);
    (void)copy(x, p.to); /* a whole one is */
    rig_close(&x);
    x = rig_open(p.to);
    rig_expect(x, 1, "c", "3");
    rig_close(&x);
    data = rig_read(last, &len);
    data[64 + 88 + 80] ^= 1; /* somebody finds the right bytes again */
    rig_write(last, data, len);
    free(data);
    p.source = rig_open(p.from);
    feed_refused(p.source, since, p.to, "continues");
    pair_end(&p);
}

/* -- what an increment deletes -- */

static void expect_gone(const char *path, const char *key)
{
    forget_snapshots(path);
    struct engine *x = rig_open(path);
    rig_expect(x, 1, key, NULL);
    rig_expect(x, 1, "stays", "1");
    expect_whole(x);
    rig_close(&x);
}

/* The delete had the revision that was the birth of what it guarded against, so compaction took it away. */
static void what_an_increment_deletes_does_not_come_back(void **state)
{
    struct pair p;
    (void)state;
    pair_begin(&p);
    (void)rig_put(p.source, 1, "goes", "1");
    (void)rig_put(p.source, 1, "stays", "1");
    uint64_t revision = copy(p.source, p.to);
    assert_int_equal(rig_del(p.source, 1, "goes"), revision + 1);
    feed_ok(p.source, &revision, p.to);
    struct engine *x = rig_open(p.to);
    maintain(x);
    compact_those(x, has_deletes, 0);
    maintain(x);
    rig_close(&x);
    expect_gone(p.to, "goes");
    pair_end(&p);
}

/* The standby's own sequence is ahead of the source's, and so are the births of what it has compacted: one segment, or
 * two, with a dead copy each. */
static void nor_does_it_when_the_standby_was_compacted(void **state)
{
    struct pair p;
    (void)state;
    for (int copies = 1; copies <= 2; copies++) {
        pair_begin(&p);
        (void)rig_put(p.source, 1, "goes", "1");
        (void)rig_put(p.source, 1, "stays", "1");
        uint64_t revision = copy(p.source, p.to), ahead = 0;
        for (int i = 0; i < copies; i++) {
            if (i > 0) {
                (void)rig_put(p.source, 1, "goes", "2");
                feed_ok(p.source, &revision, p.to);
            }
            struct engine *x = rig_open(p.to);
            for (int j = 0; j < 8; j++)
                compact_those(x, has_number, home_of(x, "goes"));
            ahead = ahead ? ahead : log_of(x)->at.sequence;
            rig_close(&x);
        }
        assert_true(rig_del(p.source, 1, "goes") < ahead);
        feed_ok(p.source, &revision, p.to);
        assert_true(revision < ahead);
        struct engine *x = rig_open(p.to);
        maintain(x);
        compact_those(x, has_deletes, 0);
        maintain(x);
        rig_close(&x);
        expect_gone(p.to, "goes");
        pair_end(&p);
    }
}

/* -- at random -- */

#define WORLD_BUCKETS 3
#define WORLD_KEYS 8
#define WORLD_STEPS 14

struct world {
    struct pair p;
    uint64_t seed;
    uint64_t bucket[WORLD_BUCKETS], next_bucket;
    uint64_t done[WORLD_STEPS + 1]; /* revisions that the standby had */
    int done_len;
};

static uint64_t roll(struct world *w, uint64_t n)
{
    w->seed = w->seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (w->seed >> 33) % n;
}

static void one_operation(struct world *w, struct engine *e, uint64_t keys)
{
    char key[16], value[4000];
    size_t i = roll(w, WORLD_BUCKETS);
    uint64_t kind = roll(w, 40);
    (void)snprintf(key, sizeof key, "k%u", (unsigned)roll(w, keys));
    size_t len = roll(w, roll(w, 8) ? 60 : sizeof value - 1);
    memset(value, 'a' + (int)roll(w, 26), len);
    value[len] = '\0';
    if (kind == 0) {
        (void)rig_drop(e, w->bucket[i]);
        w->bucket[i] = w->next_bucket++;
    } else if (kind < 15) {
        (void)rig_del(e, w->bucket[i], key);
    } else if (kind < 20) {
        (void)rig_put(e, ENGINE_CATALOG, key, value);
    } else {
        (void)rig_put_until(e, w->bucket[i], key, value, kind < 28 ? os_now_ms() + 1000 + (int64_t)roll(w, 900000) : 0);
    }
}

/* The newest compacted segment: after an increment, what that brought. */
static uint64_t newest_compacted(struct engine *e)
{
    const struct log_table *t = atomic_load(&log_of(e)->table);
    uint64_t number = 0;
    for (size_t i = 0; i < t->len; i++) {
        if (t->slot[i] && !t->slot[i]->gone && t->slot[i]->kind == SEGMENT_COMPACTED)
            number = t->slot[i]->number;
    }
    return number;
}

/* What may be done to any store without writing to it. */
static void one_care(struct world *w, struct engine *e)
{
    uint64_t kind = roll(w, 9);
    if (kind == 0)
        assert_int_equal(e->ops->compact(e, NULL, NULL), 0);
    else if (kind == 1)
        compact_those(e, in_mask, roll(w, 1u << 16) & roll(w, 1u << 16));
    else if (kind < 5)
        compact_those(e, has_number, newest_compacted(e));
    else if (kind == 5)
        compact_those(e, has_deletes, 0);
    else if (kind == 6)
        maintain(e);
    else if (kind == 7)
        write_snapshot(e);
    else if (roll(w, 6) == 0)
        assert_int_equal(e->ops->rotate(e, false, NULL, NULL), 0);
}

static void source_goes_on(struct world *w)
{
    struct engine **e = &w->p.source;
    uint64_t swept = 0;
    bool few = roll(w, 2); /* then what the standby uses up is more, and its births are ahead */
    for (uint64_t n = roll(w, few ? 4 : 40); n > 0; n--)
        one_operation(w, *e, few ? 3 : WORLD_KEYS);
    atomic_fetch_add(&os_clock_skew_ms, (int64_t)roll(w, 200000));
    if (roll(w, 3) == 0)
        assert_int_equal((*e)->ops->sweep(*e, 0, &swept), 0);
    for (uint64_t i = roll(w, 3); i > 0; i--)
        one_care(w, *e);
    if (roll(w, 3) == 0) {
        rig_close(e);
        *e = rig_open(w->p.from);
    }
}

/* Open the store, see that it is what it should be, do something to it, and again. */
static void standby_is(struct world *w, const uint8_t digest[32])
{
    uint8_t now[32];
    uint64_t swept = 0;
    for (uint64_t i = 1 + roll(w, 3); i > 0; i--) {
        if (roll(w, 3))
            forget_snapshots(w->p.to);
        struct engine *e = rig_open(w->p.to);
        for (uint64_t j = roll(w, 6) + 1; j > 0; j--) {
            rig_digest(e, now);
            assert_memory_equal(now, digest, 32);
            expect_whole(e);
            one_care(w, e);
        }
        assert_int_equal(e->ops->sweep(e, 0, &swept), 0);
        assert_int_equal(swept, 0);
        rig_close(&e);
    }
    forget_snapshots(w->p.to);
    expect_same(w->p.to, digest);
}

static void standby_follows(struct world *w)
{
    uint8_t digest[32];
    uint64_t since = w->done[roll(w, 2) ? w->done_len - 1 : (int)roll(w, (uint64_t)w->done_len)], revision = 0;
    rig_digest(w->p.source, digest);
    for (uint64_t i = 1 + (roll(w, 4) == 0); i > 0; i--) {
        int r = feed(w->p.source, since, w->p.to, &revision);
        if (r)
            fail_msg("increment since %llu: %d %s", (unsigned long long)since, r, rig_detail.text);
    }
    w->done[w->done_len++] = revision;
    standby_is(w, digest);
}

/* It becomes a store of its own: what it deletes must not come back either. */
static void standby_takes_over(struct world *w)
{
    uint8_t before[32], now[32];
    for (int i = 0; i < 4; i++) {
        struct engine *e = rig_open(w->p.to);
        if (i > 0) {
            rig_digest(e, now);
            assert_memory_equal(now, before, 32);
            expect_whole(e);
        }
        for (uint64_t n = 20 + roll(w, 60); n > 0; n--)
            one_operation(w, e, WORLD_KEYS);
        for (uint64_t n = roll(w, 5); n > 0; n--)
            one_care(w, e);
        rig_digest(e, before);
        rig_close(&e);
        forget_snapshots(w->p.to);
    }
    expect_same(w->p.to, before);
}

static void world_run(uint64_t seed)
{
    struct world w = {.seed = seed * 7919 + 1, .bucket = {1, 2, 3}, .next_bucket = 4};
    pair_begin(&w.p);
    source_goes_on(&w);
    w.done[w.done_len++] = copy(w.p.source, w.p.to);
    for (int i = 0; i < WORLD_STEPS; i++) {
        source_goes_on(&w);
        standby_follows(&w);
    }
    standby_takes_over(&w);
    atomic_store(&os_clock_skew_ms, 0);
    pair_end(&w.p);
}

static void a_standby_is_what_its_source_was_whatever_is_done_to_it(void **state)
{
    const char *fixed = getenv("KIST_TEST_SEED"), *scale = getenv("KIST_TEST_SCALE");
    uint64_t first = fixed ? strtoull(fixed, NULL, 10) : (uint64_t)os_now_ms() % 1000000;
    double n = 8 * (scale ? strtod(scale, NULL) : 1);
    (void)state;
    log_segment_size_override = 16 << 10;
    for (uint64_t i = 0; i == 0 || (double)i < n; i++) {
        unsigned long long seed = first + i;
        print_message("KIST_TEST_SEED=%llu\n", seed);
        world_run(seed);
    }
    log_segment_size_override = 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_standby_that_deleted_something_takes_no_increment),
        cmocka_unit_test(a_standby_is_not_swept_until_it_is_written_to),
        cmocka_unit_test(a_copy_that_went_its_own_way_takes_no_increment),
        cmocka_unit_test(a_store_that_was_made_takes_no_increment),
        cmocka_unit_test(increments_may_overlap_and_come_twice_but_leave_nothing_out),
        cmocka_unit_test(a_restored_store_makes_no_increment_from_before_it_was_restored),
        cmocka_unit_test(the_copy_of_a_standby_ends_when_that_is_fed),
        cmocka_unit_test(no_increment_is_made_of_a_salvaged_store),
        cmocka_unit_test(what_an_increment_deletes_does_not_come_back),
        cmocka_unit_test(nor_does_it_when_the_standby_was_compacted),
        cmocka_unit_test(a_standby_is_what_its_source_was_whatever_is_done_to_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
