/* test_store.c: opening and closing, options, details, the maintenance thread, and a child of
 * fork(). */
#include "fixture.h"

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

static int open_with(const struct fixture *f, struct kist_options o, char *out_text)
{
    struct kist_detail detail = {""};
    struct kist_store *s = NULL;
    char path[320];
    snprintf(path, sizeof path, "%s%s", f->path, f->dir[0] ? "-none" : "");
    o.detail = &detail;
    int r = kist_open(path, &o, &s);
    if (out_text)
        memcpy(out_text, detail.text, sizeof detail.text);
    if (r < 0)
        assert_null(s);
    kist_close(&s);
    return r;
}

static void options_out_of_range_are_refused_with_a_reason(void **state)
{
    struct fixture *f = *state;
    struct kist_options base = fixture_options(), o;
    char text[256];
    for (int i = 0; i < 8; i++) {
        o = base;
        switch (i) {
        case 0:
            o.mode = (enum kist_open_mode)5;
            break;
        case 1:
            o.engine = (enum kist_engine)2;
            break;
        case 2:
            o.sync = (enum kist_sync)2;
            break;
        case 3:
            o.flags = 4;
            break;
        case 4:
            o.suite = 3;
            break;
        case 5:
            o.suite = -1;
            break;
        case 6:
            o.key.len = 31;
            break;
        case 7:
            o.key.kind = (enum kist_secret_kind)3;
            break;
        }
        assert_int_equal(open_with(f, o, text), KIST_EINVAL);
        assert_int_not_equal(text[0], '\0');
    }
    assert_int_equal(kist_open(f->path, &base, NULL), KIST_EINVAL);
    o = base;
    o.size = 3;
    assert_int_equal(open_with(f, o, NULL), KIST_EINVAL);
}

static void a_passphrase_within_its_limits_is_needed(void **state)
{
    struct fixture *f = *state;
    static char phrase[KIST_PASSPHRASE_MAX + 1];
    static const uint8_t zero[32];
    struct kist_options o = fixture_options();
    memset(phrase, 'p', sizeof phrase);
    o.key = (struct kist_secret){.kind = KIST_SECRET_PASSPHRASE, .ptr = phrase, .len = sizeof phrase};
    assert_int_equal(open_with(f, o, NULL), KIST_ETOOBIG);
    o.key.len = 0;
    assert_int_equal(open_with(f, o, NULL), KIST_EINVAL);
    o.key = (struct kist_secret){.kind = KIST_SECRET_PASSPHRASE, .ptr = phrase, .len = 9, .kdf_ops = 17};
    assert_int_equal(open_with(f, o, NULL), KIST_EINVAL);
    o.key = (struct kist_secret){.kind = KIST_SECRET_PASSPHRASE, .ptr = phrase, .len = 9, .kdf_mem_kib = 1};
    assert_int_equal(open_with(f, o, NULL), KIST_EINVAL);
    o.key = (struct kist_secret){.kind = KIST_SECRET_KEY, .ptr = zero, .len = sizeof zero};
    assert_int_equal(open_with(f, o, NULL), KIST_EINVAL);
    o.key = (struct kist_secret){.kind = KIST_SECRET_KEY, .ptr = NULL, .len = 32};
    assert_int_equal(open_with(f, o, NULL), KIST_EINVAL);
}

static void memory_needs_no_key_and_no_path(void **state)
{
    struct kist_options o = {.size = sizeof o, .engine = KIST_ENGINE_MEMORY};
    struct kist_store *s = NULL;
    (void)state;
    assert_int_equal(kist_open(NULL, &o, &s), 0);
    kist_close(&s);
    assert_int_equal(kist_open(":memory:", NULL, &s), 0);
    kist_close(&s);
    kist_close(&s);
    kist_close(NULL);
    o.mode = KIST_OPEN_EXISTING;
    assert_int_equal(kist_open(":memory:", &o, &s), KIST_ENOSTORE);
    o.mode = KIST_OPEN_READ_ONLY;
    assert_int_equal(kist_open(":memory:", &o, &s), KIST_ENOSTORE);
    assert_int_equal(kist_open("", NULL, &s), KIST_EINVAL);
    assert_int_equal(kist_open(NULL, NULL, &s), KIST_EINVAL);
    assert_int_equal(kist_open("/nowhere", NULL, &s), KIST_EINVAL);
}

static void what_was_put_is_there_after_opening_again(void **state)
{
    struct fixture *f = *state;
    struct kist_bucket_info before, after;
    if (!f->dir[0])
        skip();
    put(f->bucket, "k", "v");
    assert_int_equal(kist_bucket_describe(f->bucket, &before), 0);
    fixture_close(f);
    fixture_open(f);
    expect(f->bucket, "k", "v");
    assert_int_equal(kist_bucket_describe(f->bucket, &after), 0);
    assert_memory_equal(before.id, after.id, sizeof after.id);
}

static void a_read_only_store_refuses_writes(void **state)
{
    struct fixture *f = *state, g = *f;
    struct kist_options o = fixture_options();
    struct kist_txn *t = NULL;
    struct kist_bucket *b = NULL;
    if (!f->dir[0])
        skip();
    put(f->bucket, "k", "v");
    o.mode = KIST_OPEN_READ_ONLY;
    o.flags = KIST_MAINTENANCE;
    assert_int_equal(kist_open(g.path, &o, &g.store), 0);
    assert_int_equal(kist_bucket_open(g.store, "default", &g.bucket), 0);
    expect(g.bucket, "k", "v");
    assert_int_equal(kist_put(g.bucket, KIST_STR("k"), KIST_STR("w"), NULL, NULL), KIST_EREADONLY);
    assert_int_equal(kist_bucket_create(g.store, "b", NULL, &b), KIST_EREADONLY);
    assert_int_equal(kist_bucket_set_ttl(g.bucket, 1000), KIST_EREADONLY);
    assert_int_equal(kist_slot_remove(g.store, 0), KIST_EREADONLY);
    assert_int_equal(kist_begin(g.bucket, KIST_OPTIMISTIC, &t), 0);
    assert_int_equal(kist_txn_put(t, KIST_STR("k"), KIST_STR("w"), NULL), KIST_EREADONLY);
    kist_abort(&t);
    fixture_close(&g);
}

static void the_modes_say_what_must_be_there(void **state)
{
    struct fixture *f = *state;
    struct kist_options o = fixture_options();
    struct kist_store *s = NULL;
    if (!f->dir[0])
        skip();
    o.mode = KIST_OPEN_EXISTING;
    assert_int_equal(open_with(f, o, NULL), KIST_ENOSTORE);
    o.mode = KIST_OPEN_READ_ONLY;
    assert_int_equal(open_with(f, o, NULL), KIST_ENOSTORE);
    o.mode = KIST_OPEN_NEW;
    assert_int_equal(kist_open(f->path, &o, &s), KIST_EEXIST);
    assert_int_equal(open_with(f, o, NULL), 0);
    o.mode = KIST_OPEN_CREATE;
    uint8_t wrong[32] = {9};
    o.key.ptr = wrong;
    assert_int_equal(kist_open(f->path, &o, &s), KIST_EKEY);
}

static void stat_fits_the_callers_struct(void **state)
{
    struct fixture *f = *state;
    struct {
        struct kist_stat s;
        uint64_t later;
    } newer = {.s = {.size = sizeof newer}, .later = 7};
    struct kist_stat older = {.size = offsetof(struct kist_stat, keys), .keys = 12345};
    put(f->bucket, "k", "v");
    assert_int_equal(kist_stat(f->store, &newer.s), 0);
    assert_int_equal(newer.later, 0);
    assert_int_equal(newer.s.size, sizeof newer);
    assert_int_equal(newer.s.buckets, 1);
    assert_int_equal(newer.s.keys, 1);
    assert_int_equal(kist_stat(f->store, &older), 0);
    assert_int_equal(older.keys, 12345);
    assert_true(older.revision >= 1);
    older.size = 0;
    assert_int_equal(kist_stat(f->store, &older), KIST_EINVAL);
    assert_int_equal(kist_stat(f->store, NULL), KIST_EINVAL);
}

static void the_maintenance_thread_starts_sweeps_and_stops(void **state)
{
    struct fixture *f = *state;
    struct kist_stat s = {.size = sizeof s};
    struct kist_options o = fixture_options();
    fixture_close(f);
    o.flags = KIST_MAINTENANCE;
    assert_int_equal(kist_open(f->path, &o, &f->store), 0);
    assert_int_equal(kist_bucket_open(f->store, "default", &f->bucket), 0);
    assert_int_equal(kist_stat(f->store, &s), 0);
    uint64_t before = s.keys;
    put_ttl(f->bucket, "k", "v", 1);
    for (int i = 0; i < 400; i++) {
        os_sleep_us(20000);
        assert_int_equal(kist_stat(f->store, &s), 0);
        if (s.keys == before)
            break;
    }
    assert_int_equal(s.keys, before);
    int64_t start = os_mono_us();
    fixture_close(f);
    assert_true(os_mono_us() - start < 900000); /* it does not wait out its rest */
}

static void the_detail_names_the_limit_and_never_the_key(void **state)
{
    struct fixture *f = *state;
    static char key[KIST_KEY_MAX + 1];
    struct kist_detail detail;
    memset(key, 'S', sizeof key);
    assert_int_equal(kist_put(f->bucket, (struct kist_bytes){key, sizeof key}, KIST_STR("v"), NULL, NULL), KIST_ETOOBIG);
    kist_detail(f->store, &detail);
    assert_non_null(strstr(detail.text, "4096"));
    assert_null(strstr(detail.text, "SS"));
    kist_detail(NULL, &detail);
    assert_int_equal(detail.text[0], '\0');
    kist_detail(f->store, NULL);
}

static int count_efork(struct fixture *f, struct kist_txn **t, struct kist_cursor **c, struct kist_watch **w)
{
    struct kist_value v;
    struct kist_record record;
    struct kist_change change;
    uint64_t n;
    int wrong = 0;
    wrong += kist_get(f->bucket, KIST_STR("k"), &v) != KIST_EFORK;
    wrong += kist_put(f->bucket, KIST_STR("k"), KIST_STR("child"), NULL, NULL) != KIST_EFORK;
    wrong += kist_txn_get(*t, KIST_STR("k"), &v) != KIST_EFORK;
    wrong += kist_cursor_next(*c, &record) != KIST_EFORK;
    wrong += kist_watch_next(*w, 0, &change) != KIST_EFORK;
    wrong += kist_revision(f->store, &n) != KIST_EFORK;
    wrong += kist_compact(f->store, NULL, NULL) != KIST_EFORK;
    wrong += kist_bucket_delete(f->bucket) != KIST_EFORK;
    kist_cursor_close(c);
    kist_watch_close(w);
    kist_abort(t);
    fixture_close(f);
    return wrong;
}

static void a_child_may_only_close(void **state)
{
    struct fixture *f = *state;
    struct kist_txn *t = NULL;
    struct kist_cursor *c = NULL;
    struct kist_watch *w = NULL;
    int status = -1;
    put(f->bucket, "k", "v");
    assert_int_equal(kist_begin(f->bucket, KIST_EXCLUSIVE, &t), 0);
    assert_int_equal(kist_txn_put(t, KIST_STR("k"), KIST_STR("w"), NULL), 0);
    assert_int_equal(kist_cursor_open(f->bucket, NULL, &c), 0);
    assert_int_equal(kist_watch_open(f->bucket, KIST_STR(""), 0, &w), 0);
    pid_t child = fork();
    if (child == 0) {
        alarm(20);
        _exit(count_efork(f, &t, &c, &w));
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    kist_cursor_close(&c);
    kist_watch_close(&w);
    assert_int_equal(kist_commit(&t, NULL), 0);
    expect(f->bucket, "k", "w");
}

static void *open_new(void *ctx)
{
    struct fixture *g = ctx;
    struct kist_options o = fixture_options();
    int r = kist_open(g->path, &o, &g->store);
    return r < 0 || kist_bucket_open(g->store, "default", &g->bucket) < 0 ? ctx : NULL;
}

static void many_who_make_a_store_at_once_make_one(void **state)
{
    struct fixture *f = *state, g[4];
    struct kist_bucket_info first, info;
    pthread_t threads[4];
    if (!f->dir[0])
        skip();
    memset(g, 0, sizeof g);
    for (int i = 0; i < 4; i++) {
        snprintf(g[i].path, sizeof g[i].path, "%s/new", f->dir);
        assert_int_equal(pthread_create(&threads[i], NULL, open_new, &g[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        void *failed = NULL;
        (void)pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    for (int i = 0; i < 4; i++) {
        assert_int_equal(kist_bucket_describe(g[i].bucket, &info), 0);
        if (i == 0)
            first = info;
        assert_string_equal(info.id, first.id);
        fixture_close(&g[i]);
    }
}

static void the_store_as_a_whole(void **state)
{
    struct fixture *f = *state;
    struct kist_verify_report report;
    struct kist_verify_options o = {.size = sizeof o};
    uint64_t revision = 0;
    put(f->bucket, "k", "v");
    assert_int_equal(kist_sync(f->store), 0);
    assert_int_equal(kist_revision(f->store, &revision), 0);
    assert_int_equal(kist_verify(f->store, NULL, &report), 0);
    assert_int_equal(report.revision, revision);
    o.at_least = revision + 1;
    assert_int_equal(kist_verify(f->store, &o, &report), KIST_EROLLBACK);
    assert_int_equal(kist_verify(f->store, NULL, NULL), KIST_EINVAL);
    assert_int_equal(kist_compact(f->store, NULL, NULL), 0);
    expect(f->bucket, "k", "v");
    assert_string_equal(kist_version(), "0.1.0");
}

int main(void)
{
    return FIXTURE_RUN(TEST(options_out_of_range_are_refused_with_a_reason), TEST(a_passphrase_within_its_limits_is_needed),
                       TEST(memory_needs_no_key_and_no_path), TEST(what_was_put_is_there_after_opening_again),
                       TEST(a_read_only_store_refuses_writes), TEST(the_modes_say_what_must_be_there),
                       TEST(stat_fits_the_callers_struct), TEST(the_maintenance_thread_starts_sweeps_and_stops),
                       TEST(the_detail_names_the_limit_and_never_the_key), TEST(a_child_may_only_close),
                       TEST(many_who_make_a_store_at_once_make_one), TEST(the_store_as_a_whole));
}
