/* test_faults.c: every allocation and every file operation fails, once and for ever, in each of a
 * dozen workloads.
 *
 * The seam in base/os.h is asked before each call. A workload is run once to count its calls; then
 * again and again, with call number n failing, on a fresh copy of one small store. Whatever
 * happens, the answers must be clean error codes, and a store opened afterwards without faults must
 * hold exactly what was acknowledged (and, after KIST_EMAYBE only, perhaps the write in question,
 * whole) and verify. By default at most POINTS failing calls a workload and kind are tried, spread
 * evenly from a random start; KIST_TEST_SCALE multiplies them. Leaks are for ASan to find. */
#include "store_model.c" /* a test program is one source */

#define POINTS 14

static struct {
    bool armed, forever;
    uint32_t kinds; /* bits of enum os_call_kind */
    int err;
    unsigned at, seen, fired;
    int at_most; /* bytes a transfer; 0: all */
    enum os_call_kind last;
} plan;

static int plan_hook(const struct os_call *call)
{
    if (!plan.armed)
        return 0;
    if (plan.at_most && (call->kind == OS_READ || call->kind == OS_WRITE))
        return plan.at_most;
    if (!(plan.kinds & (1u << call->kind)))
        return 0;
    unsigned n = plan.seen++;
    if (!plan.err || n < plan.at || (n > plan.at && !plan.forever))
        return 0;
    plan.fired++;
    if (n == plan.at)
        plan.last = call->kind;
    return -plan.err;
}

/* -- what is known to be in the bucket "default" -- */

static struct {
    char *dir;
    char base[MODEL_PATH_MAX], path[MODEL_PATH_MAX], other[MODEL_PATH_MAX];
    struct model_bucket initial; /* of the base store */
    struct model_bucket sure;    /* acknowledged */
    struct model_bucket perhaps; /* the state after the write that answered KIST_EMAYBE */
    struct model_bucket next;
    struct model_buffer backup; /* of the base store */
    bool maybe;
    int unlock; /* 0: the usual key opens it; 1: new_key; 2: either */
    const char *workload;
    const char *kind;
    char said[256]; /* what failed so far, with which code */
} now;

static const uint8_t new_key[32] = "another raw key for tests: 32 b.";

static void now_on_failure(void)
{
    static const char *const names[] = {"alloc",  "random", "open",     "close",   "read", "write", "sync", "sync_dir", "rename",
                                        "unlink", "mkdir",  "truncate", "reserve", "stat", "map",   "lock", "list"};
    plan.armed = false;
    fprintf(stderr, "workload \"%s\", %s, errno %d, %s, call %u (%s), fired %u times; said:%s\n",
            now.workload ? now.workload : "-", now.kind ? now.kind : "-", plan.err, plan.forever ? "for ever" : "once", plan.at,
            names[plan.last], plan.fired, now.said);
}

static bool code_is_clean(int rc)
{
    switch (rc) {
    case 0:
    case KIST_ENOMEM:
    case KIST_EIO:
    case KIST_ENOSPC:
    case KIST_EFDS:
    case KIST_EMAYBE:
    case KIST_EFAILED:
        return true;
    default:
        return false;
    }
}

static int clean(int rc, const char *what)
{
    size_t used = strlen(now.said);
    if (rc)
        snprintf(now.said + used, sizeof now.said - used, " %s: %s;", what, kist_error_name(rc));
    MODEL_CHECK(code_is_clean(rc), "%s answers %s", what, kist_error_name(rc));
    return rc;
}

/* Around each change: next is what it would lead to. */
static void change_begin(void)
{
    model_bucket_free(&now.next);
    model_bucket_copy(&now.next, &now.sure);
}

static int change_end(int rc, const char *what)
{
    clean(rc, what);
    MODEL_CHECK(rc || !now.maybe, "%s succeeds on a handle that has answered KIST_EMAYBE", what);
    if (rc == 0) {
        model_bucket_free(&now.sure);
        now.sure = now.next;
        now.next = (struct model_bucket){.n = 0};
    } else if (rc == KIST_EMAYBE) {
        MODEL_CHECK(!now.maybe, "%s answers KIST_EMAYBE twice", what);
        model_bucket_free(&now.perhaps);
        now.perhaps = now.next;
        now.next = (struct model_bucket){.n = 0};
        now.maybe = true;
    }
    return rc;
}

static void set(const char *key, struct kist_bytes value)
{
    model_set(&now.next, model_text(key), value, KIST_RAW, 0, 0);
}

static int put(struct kist_bucket *b, const char *key, const char *value)
{
    change_begin();
    set(key, model_text(value));
    return change_end(kist_put(b, model_text(key), model_text(value), NULL, NULL), "put");
}

static int del(struct kist_bucket *b, const char *key)
{
    change_begin();
    model_unset(&now.next, model_text(key));
    return change_end(kist_delete(b, model_text(key), NULL, NULL, NULL), "delete");
}

/* -- comparing -- */

static int take(const struct kist_record *r, void *ctx)
{
    model_set(ctx, r->key, r->value, KIST_RAW, 0, 0);
    return 0;
}

static bool same(const struct model_bucket *a, const struct model_bucket *b)
{
    if (a->n != b->n)
        return false;
    for (size_t i = 0; i < a->n; i++) {
        const struct model_record *x = &a->records[i], *y = &b->records[i];
        if (model_compare(model_bytes(x->key, x->key_len), model_bytes(y->key, y->key_len)) != 0 ||
            model_compare(model_bytes(x->value, x->len), model_bytes(y->value, y->len)) != 0)
            return false;
    }
    return true;
}

static void explain(const struct model_bucket *got, const struct model_bucket *wanted)
{
    bool found;
    for (size_t i = 0; i < wanted->n; i++) {
        const struct model_record *x = &wanted->records[i];
        size_t at = model_place(got, model_bytes(x->key, x->key_len), &found);
        if (!found || model_compare(model_bytes(got->records[at].value, got->records[at].len), model_bytes(x->value, x->len)))
            fprintf(stderr, "  \"%.*s\" is %s\n", (int)x->key_len, (char *)x->key, found ? "different" : "missing");
    }
    for (size_t i = 0; i < got->n; i++) {
        (void)model_place(wanted, model_bytes(got->records[i].key, got->records[i].key_len), &found);
        if (!found)
            fprintf(stderr, "  \"%.*s\" is too much\n", (int)got->records[i].key_len, (char *)got->records[i].key);
    }
}

static void compare_store(struct kist_store *s, const char *what)
{
    struct model_bucket got = {.n = 0};
    struct kist_bucket *b = model_default(s);
    MODEL_OK(kist_export(b, NULL, take, &got));
    kist_bucket_close(&b);
    if (!same(&got, &now.sure) && !(now.maybe && same(&got, &now.perhaps))) {
        explain(&got, &now.sure);
        MODEL_CHECK(false, "%s: the store does not hold what was acknowledged%s", what, now.maybe ? " (nor what may be)" : "");
    }
    model_bucket_free(&got);
}

static struct kist_store *open_any(const char *path)
{
    struct kist_options o = model_options();
    struct kist_store *s = NULL;
    struct kist_detail detail = {""};
    o.detail = &detail;
    if (now.unlock)
        o.key.ptr = new_key;
    int rc = kist_open(path, &o, &s);
    if (rc == KIST_EKEY && now.unlock == 2) {
        o.key.ptr = model_key;
        rc = kist_open(path, &o, &s);
    }
    MODEL_CHECK(rc == 0, "opening again without faults: %s: %s", kist_error_name(rc), detail.text);
    return s;
}

/* Everything acknowledged, nothing half, verify clean, and it takes writes. */
static void check_after(void)
{
    struct kist_store *s = open_any(now.path);
    compare_store(s, "afterwards");
    model_verify(s);
    struct kist_bucket *b = model_default(s);
    MODEL_OK(kist_put(b, KIST_STR("afterwards"), KIST_STR("works"), NULL, NULL));
    kist_bucket_close(&b);
    kist_close(&s);
}

/* -- workloads: each opens, works on after a failure, closes -- */

static struct kist_store *try_open(struct kist_bucket **out_b)
{
    struct kist_options o = model_options();
    struct kist_store *s = NULL;
    *out_b = NULL;
    o.lock_timeout_ms = 1000;
    if (clean(kist_open(now.path, &o, &s), "open")) {
        MODEL_CHECK(!s, "a failed open sets its output");
        return NULL;
    }
    if (clean(kist_bucket_open(s, "default", out_b), "bucket_open")) {
        kist_close(&s);
        return NULL;
    }
    return s;
}

static void done(struct kist_store **s, struct kist_bucket **b)
{
    kist_bucket_close(b);
    kist_close(s);
}

static void work_create(void)
{
    struct kist_bucket *b;
    model_remove_tree(now.path);
    model_bucket_free(&now.sure);
    struct kist_store *s = try_open(&b);
    if (!s)
        return;
    put(b, "created", "yes");
    put(b, "again", "yes");
    done(&s, &b);
}

static void work_puts(void)
{
    struct kist_bucket *b;
    struct kist_store *s = try_open(&b);
    if (!s)
        return;
    put(b, "new", "1");
    put(b, "k01", "overwritten");
    put(b, "empty", "");
    del(b, "k02");
    put(b, "new", "2");
    done(&s, &b);
}

static void work_transaction(void)
{
    struct kist_bucket *b;
    struct kist_store *s = try_open(&b);
    if (!s)
        return;
    for (int mode = KIST_OPTIMISTIC; mode <= KIST_EXCLUSIVE; mode++) {
        static const char *const keys[] = {"t1", "t2", "t3"};
        const char *value = mode ? "exclusive" : "optimistic";
        struct kist_txn *t = NULL;
        struct kist_value v = {0};
        int rc = clean(kist_begin(b, (enum kist_txn_mode)mode, &t), "begin");
        if (rc)
            continue;
        change_begin();
        rc = clean(kist_txn_get(t, KIST_STR("k03"), &v), "txn_get");
        kist_value_free(&v);
        for (int i = 0; i < 3 && !rc; i++) {
            set(keys[i], model_text(value));
            rc = clean(kist_txn_put(t, model_text(keys[i]), model_text(value), NULL), "txn_put");
        }
        model_unset(&now.next, KIST_STR("k04"));
        if (!rc)
            rc = clean(kist_txn_delete(t, KIST_STR("k04"), NULL, NULL), "txn_delete");
        if (rc)
            kist_abort(&t);
        else
            change_end(kist_commit(&t, NULL), "commit");
    }
    done(&s, &b);
}

static void work_typed(void)
{
    struct kist_bucket *b;
    struct kist_value v = {0};
    struct kist_store *s = try_open(&b);
    if (!s)
        return;
    change_begin();
    set("n", KIST_STR("5"));
    change_end(kist_increment(b, KIST_STR("n"), 5, NULL, NULL, NULL), "increment");
    change_begin();
    set("k05", KIST_STR("value of k05, and more"));
    change_end(kist_append(b, KIST_STR("k05"), KIST_STR(", and more"), NULL, NULL, NULL), "append");
    change_begin();
    set("j", KIST_STR("{\"a\":1}"));
    change_end(kist_merge(b, KIST_STR("j"), KIST_STR("{\"a\":1}"), NULL, NULL), "merge");
    change_begin();
    model_unset(&now.next, KIST_STR("k06"));
    change_end(kist_get_and_delete(b, KIST_STR("k06"), &v), "get_and_delete");
    kist_value_free(&v);
    change_begin();
    set("k07", KIST_STR("swapped"));
    change_end(kist_compare_and_set(b, KIST_STR("k07"), KIST_STR("value of k07"), KIST_STR("swapped"), NULL, NULL), "cas");
    done(&s, &b);
}

static void work_compact(void)
{
    struct kist_bucket *b;
    struct kist_store *s = try_open(&b);
    if (!s)
        return;
    for (int i = 0; i < 3; i++)
        put(b, "k08", i % 2 ? "odd" : "even");
    clean(kist_compact(s, NULL, NULL), "compact");
    put(b, "k09", "after compaction");
    clean(kist_compact(s, NULL, NULL), "compact");
    done(&s, &b);
}

static void work_rotate(void)
{
    struct kist_bucket *b;
    struct kist_store *s = try_open(&b);
    if (!s)
        return;
    if (clean(kist_rotate(s, false, NULL, NULL), "rotate"))
        clean(kist_rotate(s, true, NULL, NULL), "rotate again");
    put(b, "k10", "after rotation");
    done(&s, &b);
}

static void work_slot_change(void)
{
    struct kist_bucket *b;
    struct kist_secret old = model_options().key, fresh = {.kind = KIST_SECRET_KEY, .ptr = new_key, .len = sizeof new_key};
    struct kist_store *s = try_open(&b);
    if (!s)
        return;
    int rc = clean(kist_slot_change(s, &old, &fresh), "slot_change");
    now.unlock = rc == 0 ? 1 : 2; /* an fsync of the directory may fail after the rename: either is
                                     fine, but one must */
    put(b, "k11", "after the change");
    done(&s, &b);
}

static void work_backup(void)
{
    struct kist_bucket *b;
    struct model_buffer stream = {0};
    struct kist_options o = model_options();
    struct kist_store *s = try_open(&b);
    if (!s)
        return;
    int rc = clean(kist_backup(s, 0, model_buffer_write, &stream, NULL), "backup");
    done(&s, &b);
    if (rc == 0) {
        plan.armed = false;
        model_remove_tree(now.other);
        MODEL_OK(kist_restore(now.other, &o, model_buffer_read, &stream));
        s = model_open(now.other);
        compare_store(s, "restored from a backup under faults");
        kist_close(&s);
    }
    model_buffer_free(&stream);
}

static void work_restore(void)
{
    struct kist_options o = model_options();
    struct kist_store *s = NULL;
    model_remove_tree(now.other);
    now.backup.at = 0;
    int rc = clean(kist_restore(now.other, &o, model_buffer_read, &now.backup), "restore");
    plan.armed = false;
    if (rc) { /* nothing there, or all of it */
        now.backup.at = 0;
        int again = kist_restore(now.other, &o, model_buffer_read, &now.backup);
        MODEL_CHECK(again == 0 || again == KIST_EEXIST, "restoring again after %s: %s", kist_error_name(rc),
                    kist_error_name(again));
    }
    s = model_open(now.other);
    compare_store(s, "restored under faults");
    model_verify(s);
    kist_close(&s);
}

static void work_buckets(void)
{
    struct kist_bucket *b, *x = NULL;
    struct kist_value v = {0};
    struct kist_store *s = try_open(&b);
    if (!s)
        return;
    if (clean(kist_bucket_create(s, "made", NULL, &x), "bucket_create") == 0) {
        clean(kist_put(x, KIST_STR("a"), KIST_STR("b"), NULL, NULL), "put");
        clean(kist_bucket_rename(x, "renamed"), "bucket_rename");
        kist_bucket_close(&x);
    }
    if (clean(kist_bucket_open(s, "second", &x), "bucket_open") == 0) {
        int rc = clean(kist_bucket_delete(x), "bucket_delete");
        int got = kist_get(x, KIST_STR("in second"), &v);
        MODEL_CHECK(rc == 0 ? got == KIST_ENOBUCKET || (got && code_is_clean(got)) : rc == KIST_EMAYBE || code_is_clean(got),
                    "get after bucket_delete %s: %s", kist_error_name(rc), kist_error_name(got));
        kist_value_free(&v);
        kist_bucket_close(&x);
    }
    put(b, "k12", "beside");
    done(&s, &b);
}

/* Reading never gives less than there is without saying so. */
static void work_cursor(void)
{
    struct kist_bucket *b;
    struct kist_cursor *c = NULL;
    struct kist_record r;
    struct kist_store *s = try_open(&b);
    size_t n = 0;
    int rc;
    if (!s)
        return;
    if (clean(kist_cursor_open(b, NULL, &c), "cursor_open") == 0) {
        while ((rc = kist_cursor_next(c, &r)) == 0) {
            MODEL_CHECK(n < now.sure.n &&
                            model_compare(model_bytes(now.sure.records[n].key, now.sure.records[n].key_len), r.key) == 0 &&
                            model_compare(model_bytes(now.sure.records[n].value, now.sure.records[n].len), r.value) == 0,
                        "record %zu", n);
            n++;
        }
        MODEL_CHECK(rc == KIST_EEND ? n == now.sure.n : code_is_clean(rc), "after %zu of %zu records: %s", n, now.sure.n,
                    kist_error_name(rc));
        kist_cursor_close(&c);
    }
    for (size_t i = 0; i < now.sure.n; i++) {
        struct kist_value v = {0};
        if (clean(kist_get(b, model_bytes(now.sure.records[i].key, now.sure.records[i].key_len), &v), "get") == 0)
            MODEL_CHECK(v.len == now.sure.records[i].len && memcmp(v.data, now.sure.records[i].value, v.len) == 0, "get %zu", i);
        kist_value_free(&v);
    }
    done(&s, &b);
}

static void work_sweep(void)
{
    struct kist_bucket *b;
    struct kist_put_options o = {.size = sizeof o, .ttl_ms = 50};
    struct kist_store *s = try_open(&b);
    bool exists;
    if (!s)
        return;
    clean(kist_put(b, KIST_STR("fleeting"), KIST_STR("x"), &o, NULL), "put");
    put(b, "k13", "staying");
    os_clock_skew_ms += 1000;
    if (clean(kist_exists(b, KIST_STR("fleeting"), &exists), "exists") == 0)
        MODEL_CHECK(!exists, "an expired record is there");
    clean(kist_sweep(s, 0, NULL), "sweep");
    put(b, "k14", "after the sweep");
    done(&s, &b);
}

static uint8_t big[700000];

static void work_big(void)
{
    struct kist_bucket *b;
    struct kist_store *s = try_open(&b);
    if (!s)
        return;
    for (int i = 0; i < 2; i++) {
        memset(big, 'a' + i, sizeof big);
        change_begin();
        set("big", model_bytes(big, sizeof big));
        change_end(kist_put(b, KIST_STR("big"), model_bytes(big, sizeof big), NULL, NULL), "put big");
    }
    done(&s, &b);
}

static void work_reopen(void)
{
    struct kist_bucket *b;
    for (int i = 0; i < 3; i++) {
        struct kist_store *s = try_open(&b);
        if (!s)
            continue;
        if (!now.maybe) /* a new handle may write again, but then we would not know which of the two
                           it is */
            put(b, "reopened", i ? "again" : "once");
        done(&s, &b);
    }
}

static void work_watch(void)
{
    struct kist_bucket *b;
    struct kist_watch *w = NULL;
    struct kist_change c;
    struct kist_store *s = try_open(&b);
    if (!s)
        return;
    if (clean(kist_watch_open(b, model_bytes(NULL, 0), 0, &w), "watch_open") == 0) {
        int rc = put(b, "watched", "1");
        int told = kist_watch_next(w, 0, &c);
        MODEL_CHECK(told == 0               ? rc == 0 || rc == KIST_EMAYBE || c.kind == KIST_CHANGE_RESYNC
                    : told == KIST_ETIMEOUT ? rc != 0
                                            : code_is_clean(told),
                    "put %s, watch %s", kist_error_name(rc), kist_error_name(told));
        kist_watch_close(&w);
    }
    done(&s, &b);
}

struct workload {
    const char *name;
    void (*run)(void);
};

static const struct workload workloads[] = {
    {"create", work_create},
    {"puts", work_puts},
    {"transaction", work_transaction},
    {"typed", work_typed},
    {"compact", work_compact},
    {"rotate", work_rotate},
    {"slot change", work_slot_change},
    {"backup", work_backup},
    {"restore", work_restore},
    {"buckets", work_buckets},
    {"cursor", work_cursor},
    {"sweep", work_sweep},
    {"big value", work_big},
    {"reopen", work_reopen},
    {"watch", work_watch},
};

/* -- the loop -- */

static void run_once(const struct workload *work)
{
    model_remove_tree(now.path);
    model_copy_tree(now.base, now.path);
    model_bucket_free(&now.sure);
    model_bucket_copy(&now.sure, &now.initial);
    now.maybe = false;
    now.unlock = 0;
    now.workload = work->name;
    now.said[0] = 0;
    plan.seen = plan.fired = 0;
    plan.armed = true;
    work->run();
    plan.armed = false;
    check_after();
}

struct kind {
    const char *name;
    uint32_t kinds;
    int err;
};

static const struct kind kinds[] = {
    {"allocations", 1u << OS_ALLOC, ENOMEM},
    {"file operations", ~(1u << OS_ALLOC | 1u << OS_RANDOM | 1u << OS_CLOSE), EIO},
    {"writing operations",
     1u << OS_WRITE | 1u << OS_RESERVE | 1u << OS_MKDIR | 1u << OS_RENAME | 1u << OS_OPEN | 1u << OS_SYNC | 1u << OS_TRUNCATE,
     ENOSPC},
    {"opening operations", 1u << OS_OPEN | 1u << OS_LIST, EMFILE},
    {"syncs", 1u << OS_SYNC | 1u << OS_SYNC_DIR, EIO},
    {"randomness", 1u << OS_RANDOM, EIO},
};

#define WORKLOADS (sizeof workloads / sizeof *workloads)
#define KINDS (sizeof kinds / sizeof *kinds)

struct pair {
    const struct workload *work;
    const struct kind *kind; /* NULL: short transfers */
    char name[64];
};

/* One kind of call failing at points spread over the run of one workload; an alarm says if it
 * hangs. */
static void each_call_may_fail(void **state)
{
    const struct pair *p = *state;
    struct model_prng chance = {model_env("KIST_TEST_SEED", (unsigned)model_mono_ms())};
    unsigned points = (unsigned)(POINTS * model_scale()), runs = 0;
    now.kind = p->kind->name;
    memset(&plan, 0, sizeof plan);
    plan.kinds = p->kind->kinds;
    run_once(p->work);
    unsigned calls = plan.seen, step = calls / points + 1;
    plan.err = p->kind->err;
    for (int forever = 0; forever < 2; forever++) {
        plan.forever = forever;
        plan.at = (unsigned)model_below(&chance, step);
        do { /* runs may differ a little in length: until one succeeds without having been hit */
            alarm(60);
            run_once(p->work);
            runs++;
            plan.at += step;
        } while (plan.fired && plan.at < calls + 1000);
    }
    alarm(0);
    printf("%u calls, %u runs\n", calls, runs);
}

static void short_transfers_change_nothing(void **state)
{
    static const int pieces[] = {7, 333, 4096};
    const struct pair *p = *state;
    now.kind = "short transfers";
    for (size_t j = p->work->run == work_big; j < 3; j++) {
        memset(&plan, 0, sizeof plan);
        plan.at_most = pieces[j];
        alarm(60);
        run_once(p->work);
        MODEL_CHECK(!now.maybe, "an outcome is unknown without a fault");
    }
    alarm(0);
}

static int make_base(void **state)
{
    (void)state;
    now.dir = model_temp_new();
    model_join(now.base, now.dir, "base");
    model_join(now.path, now.dir, "store");
    model_join(now.other, now.dir, "other");
    struct kist_store *s = model_open(now.base);
    struct kist_bucket *b = model_default(s), *second = NULL;
    for (int i = 0; i < 20; i++) {
        char key[16], value[32];
        snprintf(key, sizeof key, "k%02d", i);
        snprintf(value, sizeof value, "value of %s", key);
        model_put(b, key, "not yet");
        model_put(b, key, value);
    }
    MODEL_OK(kist_delete(b, KIST_STR("k00"), NULL, NULL, NULL));
    MODEL_OK(kist_bucket_create(s, "second", NULL, &second));
    model_put(second, "in second", "value");
    MODEL_OK(kist_export(b, NULL, take, &now.initial));
    MODEL_OK(kist_backup(s, 0, model_buffer_write, &now.backup, NULL));
    kist_bucket_close(&second);
    kist_bucket_close(&b);
    kist_close(&s);
    os_hook = plan_hook;
    model_on_failure = now_on_failure;
    return 0;
}

static int drop_base(void **state)
{
    (void)state;
    plan.armed = false;
    os_hook = NULL;
    alarm(0);
    model_bucket_free(&now.initial);
    model_bucket_free(&now.sure);
    model_bucket_free(&now.perhaps);
    model_bucket_free(&now.next);
    model_buffer_free(&now.backup);
    model_temp_free(&now.dir);
    return 0;
}

int main(void)
{
    static struct pair pairs[WORKLOADS * (KINDS + 1)];
    static struct CMUnitTest tests[WORKLOADS * (KINDS + 1)];
    size_t n = 0;
    for (size_t k = 0; k <= KINDS; k++)
        for (size_t i = 0; i < WORKLOADS; i++, n++) {
            pairs[n].work = &workloads[i];
            pairs[n].kind = k < KINDS ? &kinds[k] : NULL;
            snprintf(pairs[n].name, sizeof pairs[n].name, "%s fail in \"%s\"", k < KINDS ? kinds[k].name : "short transfers",
                     workloads[i].name);
            tests[n] = (struct CMUnitTest){.name = pairs[n].name,
                                           .test_func = k < KINDS ? each_call_may_fail : short_transfers_change_nothing,
                                           .initial_state = &pairs[n]};
        }
    return _cmocka_run_group_tests("test_faults", tests, n, make_base, drop_base);
}
