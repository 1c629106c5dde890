/* test_property.c: random operations on all of the library against the model, on both engines.
 *
 * The operations on single records are in property_ops.c; here are transactions, buckets, streams,
 * care and the loop. Every run is a fresh store with a seed of its own; the runs of an engine share
 * a budget of time (25 s, times KIST_TEST_SCALE). KIST_TEST_SEED=n repeats the runs from seed n on;
 * a failure prints the seed of its run, which may be given there. */
#include "store_model.c" /* a test program is one source */

#include "property_ops.c"

typedef void place_op(struct place *p);

/* -- more on records, outside transactions only -- */

static void op_get_many(struct place *p)
{
    static struct lump k[20];
    struct kist_bytes keys[20];
    struct kist_value values[20] = {{0}};
    int codes[20];
    size_t n = (size_t)model_below(&p->w->chance, 21);
    for (size_t i = 0; i < n; i++)
        keys[i] = pick_key(p->w, &k[i]);
    world_say(p->w, "get_many %zu;", n);
    MODEL_OK(kist_get_many(p->b, keys, n, values, codes));
    for (size_t i = 0; i < n; i++) {
        const struct model_record *r = model_find(p->m, keys[i], os_now_ms());
        MODEL_CHECK(codes[i] == (r ? 0 : KIST_ENOKEY), "get_many %zu: %s", i, kist_error_name(codes[i]));
        struct kist_record got = {
            keys[i], model_bytes(values[i].data, values[i].len), values[i].type, values[i].revision, values[i].expires_ms, false};
        MODEL_CHECK(r ? model_same(r, &got, true) : !values[i].data, "get_many %zu differs", i);
        kist_value_free(&values[i]);
    }
}

static void op_compare_and_set(struct place *p)
{
    struct lump k;
    struct kist_bytes key = pick_key(p->w, &k);
    enum kist_type kind;
    struct kist_bytes value = pick_value(p->w, &kind);
    int64_t before = os_now_ms();
    const struct model_record *old = model_find(p->m, key, before);
    bool right = model_below(&p->w->chance, 3) != 0;
    uint8_t *wanted = model_dup(old ? old->value : NULL, old ? old->len : 0);
    size_t len = old ? old->len : 0;
    uint64_t revision = 0;
    if (!right && len)
        wanted[len - 1] ^= 1;
    else if (!right && old)
        wanted[len++] = 'x';
    int expected = !old ? KIST_ENOKEY : right ? 0 : KIST_ECONFLICT;
    struct kist_put_options o = {.size = sizeof o, .type = kind};
    world_say(p->w, "compare_and_set %.*s right %d;", (int)(key.len < 8 ? key.len : 8), (const char *)key.ptr, right);
    MODEL_CODE(expected, kist_compare_and_set(p->b, key, model_bytes(wanted, len), value, &o, &revision));
    free(wanted);
    if (!expected)
        place_wrote(p, key, value, kind, revision, KIST_TTL_KEEP, before);
}

static void op_get_and_delete(struct place *p)
{
    struct lump k;
    struct kist_bytes key = pick_key(p->w, &k);
    const struct model_record *old = model_find(p->m, key, os_now_ms());
    struct kist_value v = {0};
    world_say(p->w, "get_and_delete %.*s;", (int)(key.len < 8 ? key.len : 8), (const char *)key.ptr);
    MODEL_CODE(old ? 0 : KIST_ENOKEY, kist_get_and_delete(p->b, key, &v));
    if (!old)
        return;
    struct kist_record got = {key, model_bytes(v.data, v.len), v.type, v.revision, v.expires_ms, false};
    MODEL_CHECK(model_same(old, &got, true), "get_and_delete differs: len %zu, expected %zu", v.len, old->len);
    kist_value_free(&v);
    place_deleted(p, key, 0);
}

static void op_get_or_insert(struct place *p)
{
    struct lump k;
    struct kist_bytes key = pick_key(p->w, &k);
    enum kist_type kind;
    struct kist_bytes value = pick_value(p->w, &kind);
    struct kist_put_options o = {.size = sizeof o, .type = KIST_DETECT, .ttl_ms = pick_ttl(p->w)};
    int64_t before = os_now_ms();
    const struct model_record *old = model_find(p->m, key, before);
    struct kist_value v = {0};
    bool inserted = !!old;
    world_say(p->w, "get_or_insert %.*s;", (int)(key.len < 8 ? key.len : 8), (const char *)key.ptr);
    MODEL_OK(kist_get_or_insert(p->b, key, value, &o, &v, &inserted));
    MODEL_CHECK(inserted == !old, "inserted %d", inserted);
    struct kist_record got = {key, model_bytes(v.data, v.len), v.type, v.revision, v.expires_ms, false};
    if (old)
        MODEL_CHECK(model_same(old, &got, true), "get_or_insert differs");
    else
        place_wrote(p, key, value, kind, v.revision, o.ttl_ms, before);
    kist_value_free(&v);
}

struct updater {
    const struct model_record *old;
    struct kist_bytes value;
    int answer;
    unsigned calls;
    bool equal;
};

static int update_fn(const struct kist_value *old, struct kist_bytes *new_value, void *ctx)
{
    struct updater *u = ctx;
    u->calls++;
    u->equal = u->old ? old && old->len == u->old->len && memcmp(old->data, u->old->value, old->len) == 0 &&
                            old->type == u->old->type && old->revision == u->old->revision
                      : !old;
    *new_value = u->value;
    return u->answer;
}

static void op_update(struct place *p)
{
    struct lump k;
    struct kist_bytes key = pick_key(p->w, &k);
    enum kist_type kind;
    struct updater u = {.value = pick_value(p->w, &kind)};
    struct kist_put_options o = {.size = sizeof o, .type = KIST_DETECT, .ttl_ms = pick_ttl(p->w)};
    static const int answers[] = {KIST_UPDATE_STORE, KIST_UPDATE_STORE, KIST_UPDATE_KEEP, KIST_UPDATE_DELETE, KIST_EFULL};
    int64_t before = os_now_ms();
    uint64_t revision = 0;
    u.old = model_find(p->m, key, before);
    u.answer = answers[model_below(&p->w->chance, 5)];
    world_say(p->w, "update %.*s answers %d;", (int)(key.len < 8 ? key.len : 8), (const char *)key.ptr, u.answer);
    MODEL_CODE(u.answer < 0 ? u.answer : 0, kist_update(p->b, key, update_fn, &u, &o, &revision));
    MODEL_CHECK(u.calls == 1 && u.equal, "called %u times, with the right value: %d", u.calls, u.equal);
    if (u.answer == KIST_UPDATE_STORE)
        place_wrote(p, key, u.value, kind, revision, o.ttl_ms, before);
    else if (u.answer == KIST_UPDATE_DELETE && u.old)
        place_deleted(p, key, revision);
}

static void op_count(struct place *p)
{
    static const char *const prefixes[] = {"", "a", "a/", "a/1", "b", "LLL", "zzz"};
    struct kist_range range = {.prefix = model_text(prefixes[model_below(&p->w->chance, 7)])};
    const struct model_record **all = malloc((p->m->n + 1) * sizeof *all);
    assert_non_null(all);
    uint64_t got = 0, n = range_of(p->m, &range, all);
    free(all);
    world_say(p->w, "count \"%s\";", (const char *)range.prefix.ptr);
    MODEL_OK(kist_count(p->b, range.prefix, &got));
    MODEL_CHECK(got == n, "count %" PRIu64 ", expected %" PRIu64, got, n);
}

/* -- transactions -- */

static place_op *const txn_ops[] = {op_put,    op_put,   op_put,    op_delete, op_increment, op_increment_float,
                                    op_append, op_merge, op_expire, op_get,    op_get,       op_cursor};

/* What the commit of copy at revision changes: tell the watch, take it over. */
static void txn_landed(struct place *p, struct model_bucket *copy, uint64_t revision)
{
    struct place outer = *p;
    outer.t = NULL;
    bool wrote = false;
    for (size_t i = 0; i < copy->n; i++)
        if (copy->records[i].revision == 0) {
            copy->records[i].revision = revision;
            wrote = true;
            event_push(&outer, KIST_CHANGE_PUT, model_bytes(copy->records[i].key, copy->records[i].key_len), revision);
        }
    for (size_t i = 0; i < p->m->n; i++) {
        struct kist_bytes key = model_bytes(p->m->records[i].key, p->m->records[i].key_len);
        bool kept, expired = p->m->records[i].expires_ms && p->m->records[i].expires_ms <= os_now_ms();
        (void)model_place(copy, key, &kept);
        if (!kept && !expired) {
            wrote = true;
            event_push(&outer, KIST_CHANGE_DELETE, key, revision);
        }
    }
    if (wrote) {
        MODEL_CHECK(revision > p->w->revision, "commit at %" PRIu64 " after %" PRIu64, revision, p->w->revision);
        p->w->revision = revision;
    }
    model_bucket_free(p->m);
    *p->m = *copy;
}

static void op_txn(struct place *p)
{
    struct world *w = p->w;
    struct model_bucket copy;
    struct place inner = *p;
    uint64_t revision = 0;
    enum kist_txn_mode mode = model_below(&w->chance, 3) ? KIST_OPTIMISTIC : KIST_EXCLUSIVE;
    unsigned n = (unsigned)model_below(&w->chance, 12);
    bool commit = model_below(&w->chance, 4) != 0;
    model_bucket_copy(&copy, p->m);
    inner.m = &copy;
    inner.before = p->m;
    world_say(w, "txn mode %d commit %d: ", mode, commit);
    MODEL_OK(kist_begin(p->b, mode, &inner.t));
    while (n-- > 0)
        txn_ops[model_below(&w->chance, sizeof txn_ops / sizeof *txn_ops)](&inner);
    if (!commit) {
        kist_abort(&inner.t);
        MODEL_CHECK(!inner.t, "abort leaves the pointer");
        model_bucket_free(&copy);
        return;
    }
    MODEL_OK(kist_commit(&inner.t, &revision));
    MODEL_CHECK(!inner.t, "commit leaves the pointer");
    txn_landed(p, &copy, revision);
}

/* Somebody else writes between begin and commit. */
static void op_conflict(struct place *p)
{
    struct world *w = p->w;
    struct kist_txn *t = NULL;
    struct kist_value v = {0};
    struct kist_cursor *c = NULL;
    struct kist_record record;
    uint64_t how = model_below(&w->chance, 4), revision = 0;
    const char *read = "a/01", *other = how == 0   ? "a/01"
                                        : how == 1 ? "a/03"
                                        : how == 2 ? "a/05"
                                                   : "a!"; /* a walk may look one record ahead */
    struct kist_range range = {.size = sizeof range, .prefix = KIST_STR("a/")};
    int64_t before = os_now_ms();
    world_say(w, "conflict %d;", (int)how);
    MODEL_OK(kist_begin(p->b, KIST_OPTIMISTIC, &t));
    if (how < 2) { /* 0: what was read changes; 1: something else */
        int rc = kist_txn_get(t, model_text(read), &v);
        MODEL_CHECK(rc == (model_find(p->m, model_text(read), before) ? 0 : KIST_ENOKEY), "%s", kist_error_name(rc));
        kist_value_free(&v);
    } else { /* 2: a key in the range that was walked; 3: outside of it */
        MODEL_OK(kist_txn_cursor_open(t, &range, &c));
        while (kist_cursor_next(c, &record) == 0)
            continue;
        kist_cursor_close(&c);
    }
    MODEL_OK(kist_txn_put(t, KIST_STR("mine"), KIST_STR("in the transaction"), NULL));
    MODEL_OK(kist_put(p->b, model_text(other), KIST_STR("outside"), NULL, &revision));
    place_wrote(p, model_text(other), KIST_STR("outside"), KIST_RAW, revision, KIST_TTL_KEEP, before);
    bool conflict = how == 0 || how == 2;
    MODEL_CODE(conflict ? KIST_ECONFLICT : 0, kist_commit(&t, &revision));
    MODEL_CHECK(!t, "commit leaves the pointer");
    if (!conflict)
        place_wrote(p, KIST_STR("mine"), KIST_STR("in the transaction"), KIST_RAW, revision, KIST_TTL_KEEP, before);
}

/* Snapshots stay as they were, in cursors and in transactions. */
static void op_snapshot(struct place *p)
{
    struct kist_txn *t = NULL;
    struct kist_cursor *c = NULL;
    struct model_bucket copy;
    struct place then = *p;
    struct kist_range range = {.size = sizeof range};
    uint64_t revision = 0;
    model_bucket_copy(&copy, p->m);
    world_say(p->w, "snapshot: ");
    MODEL_OK(kist_begin(p->b, KIST_SNAPSHOT, &t));
    MODEL_OK(kist_cursor_open(p->b, &range, &c));
    for (int i = 0; i < 5; i++)
        model_below(&p->w->chance, 2) ? op_put(p) : op_delete(p);
    if (model_below(&p->w->chance, 4) == 0)
        MODEL_OK(kist_compact(p->w->store[0], NULL, NULL));
    then.m = &copy;
    walk(&then, c, &range);
    kist_cursor_close(&c);
    MODEL_OK(kist_txn_cursor_open(t, &range, &c));
    walk(&then, c, &range);
    kist_cursor_close(&c);
    int rc = kist_txn_put(t, KIST_STR("no"), KIST_STR("no"), NULL);
    MODEL_CHECK(rc == KIST_EREADONLY || rc == KIST_EINVAL, "put in a snapshot: %s", kist_error_name(rc));
    MODEL_OK(kist_commit(&t, &revision));
    model_bucket_free(&copy);
}

struct runner {
    struct kist_bucket *b;
    unsigned calls;
    int answer;
};

static int runner_fn(struct kist_txn *t, void *ctx)
{
    struct runner *r = ctx;
    int64_t sum = 0;
    if (r->calls++ == 0 && !r->answer) { /* spoil the first try */
        struct kist_value v = {0};
        int rc = kist_txn_get(t, KIST_STR("run"), &v);
        kist_value_free(&v);
        if (rc && rc != KIST_ENOKEY)
            return rc;
        if ((rc = kist_put(r->b, KIST_STR("run"), KIST_STR("7"),
                           &(struct kist_put_options){.size = sizeof(struct kist_put_options), .type = KIST_INT}, NULL)))
            return rc;
    }
    int rc = kist_txn_increment(t, KIST_STR("run"), 1, NULL, &sum);
    return rc ? rc : r->answer;
}

static void op_run(struct place *p)
{
    struct runner r = {.b = p->b, .answer = model_below(&p->w->chance, 3) ? 0 : KIST_EEMPTY};
    struct kist_value v = {0};
    uint64_t revision = 0;
    int64_t before = os_now_ms();
    const struct model_record *old = model_find(p->m, KIST_STR("run"), before);
    if (p->w->watch && p->watched)
        return; /* the put inside has no revision that we know */
    world_say(p->w, "run answers %d;", r.answer);
    MODEL_CODE(r.answer, kist_run(p->b, KIST_OPTIMISTIC, runner_fn, &r, &revision));
    if (r.answer) {
        MODEL_CODE(old ? 0 : KIST_ENOKEY, kist_get(p->b, KIST_STR("run"), &v));
        MODEL_CHECK(!old || v.revision == old->revision, "a rolled back run left something");
        kist_value_free(&v);
        return;
    }
    MODEL_CHECK(r.calls == 2, "fn was called %u times", r.calls);
    place_wrote(p, KIST_STR("run"), KIST_STR("8"), KIST_INT, revision, KIST_TTL_KEEP, before);
}

static place_op *const place_ops[] = {op_put,
                                      op_put,
                                      op_put,
                                      op_put,
                                      op_put,
                                      op_put,
                                      op_put,
                                      op_put,
                                      op_delete,
                                      op_delete,
                                      op_delete,
                                      op_increment,
                                      op_increment,
                                      op_increment_float,
                                      op_increment_float,
                                      op_append,
                                      op_append,
                                      op_merge,
                                      op_merge,
                                      op_expire,
                                      op_expire,
                                      op_get,
                                      op_get,
                                      op_get,
                                      op_cursor,
                                      op_cursor,
                                      op_cursor,
                                      op_get_many,
                                      op_compare_and_set,
                                      op_compare_and_set,
                                      op_get_and_delete,
                                      op_get_or_insert,
                                      op_update,
                                      op_update,
                                      op_count,
                                      op_txn,
                                      op_txn,
                                      op_txn,
                                      op_conflict,
                                      op_snapshot,
                                      op_run};

/* -- the world: buckets, streams, care -- */

static struct kist_bucket *world_bucket(struct world *w, size_t i, size_t handle)
{
    if (!w->bucket[i][handle])
        MODEL_OK(kist_bucket_open(w->store[handle], w->model[i].id, &w->bucket[i][handle]));
    return w->bucket[i][handle];
}

static void world_watch(struct world *w)
{
    MODEL_OK(kist_watch_open(world_bucket(w, 0, 0), model_bytes(NULL, 0), 0, &w->watch));
}

static void world_open(struct world *w)
{
    for (size_t i = 0; i < w->handles; i++) {
        struct kist_options o = model_options();
        struct kist_detail detail = {""};
        o.engine = w->engine;
        o.detail = &detail;
        int rc = kist_open(w->path, &o, &w->store[i]);
        MODEL_CHECK(rc == 0, "open: %s: %s", kist_error_name(rc), detail.text);
    }
    world_watch(w);
}

static void world_close(struct world *w)
{
    event_clear(w);
    kist_watch_close(&w->watch);
    for (size_t i = 0; i < w->n; i++)
        for (size_t h = 0; h < w->handles; h++)
            kist_bucket_close(&w->bucket[i][h]);
    for (size_t h = 0; h < w->handles; h++)
        kist_close(&w->store[h]);
}

struct lister {
    struct world *w;
    size_t at;
};

static int list_one(const struct kist_bucket_info *info, void *ctx)
{
    struct lister *l = ctx;
    const struct model_bucket *m = &l->w->model[l->at];
    MODEL_CHECK(l->at < l->w->n, "a bucket too much: \"%s\"", info->name);
    MODEL_CHECK(strcmp(info->id, m->id) == 0 && strcmp(info->name, m->name) == 0 && info->default_ttl_ms == m->default_ttl_ms,
                "bucket %zu is \"%s\" ttl %" PRId64 ", expected \"%s\" ttl %" PRId64, l->at, info->name, info->default_ttl_ms,
                m->name, m->default_ttl_ms);
    l->at++;
    return 0;
}

/* Everything in the store is everything in the model. */
static void world_compare(struct world *w, struct kist_store *store, const char *what)
{
    struct lister l = {.w = w};
    MODEL_OK(kist_bucket_list(store, list_one, &l));
    MODEL_CHECK(l.at == w->n, "%s: %zu buckets, expected %zu", what, l.at, w->n);
    for (size_t i = 0; i < w->n; i++) {
        struct kist_bucket *b = NULL;
        MODEL_OK(kist_bucket_open(store, w->model[i].id, &b));
        model_compare_bucket(&w->model[i], b, true, what);
        kist_bucket_close(&b);
    }
}

static void op_compare(struct world *w)
{
    world_say(w, "compare all");
    world_compare(w, w->store[model_below(&w->chance, w->handles)], "compare");
}

static void op_reopen(struct world *w)
{
    if (w->engine == KIST_ENGINE_MEMORY)
        return;
    op_watch(w);
    world_say(w, "; reopen");
    world_close(w);
    world_open(w);
    world_compare(w, w->store[0], "reopened");
    struct kist_options o = model_options();
    struct kist_store *reader = NULL;
    o.mode = KIST_OPEN_READ_ONLY;
    MODEL_OK(kist_open(w->path, &o, &reader));
    world_compare(w, reader, "read-only");
    kist_close(&reader);
}

static void op_compact(struct world *w)
{
    world_say(w, "compact");
    MODEL_OK(kist_compact(w->store[model_below(&w->chance, w->handles)], NULL, NULL));
    w->may_resync = true;
    world_compare(w, w->store[w->handles - 1], "compacted");
}

static void op_verify(struct world *w)
{
    world_say(w, "verify");
    model_verify(w->store[model_below(&w->chance, w->handles)]);
}

static void op_rotate(struct world *w)
{
    world_say(w, "rotate");
    int rc = kist_rotate(w->store[model_below(&w->chance, w->handles)], false, NULL, NULL);
    MODEL_CHECK(rc == 0 || (rc == KIST_ENOTSUP && w->engine == KIST_ENGINE_MEMORY), "rotate: %s", kist_error_name(rc));
    w->may_resync = true;
    world_compare(w, w->store[0], "rotated");
}

static void op_bucket_make(struct world *w)
{
    char name[64];
    struct kist_bucket *b = NULL;
    struct kist_bucket_info info;
    struct kist_bucket_options o = {.size = sizeof o, .default_ttl_ms = model_below(&w->chance, 2) ? 50000 : 0};
    bool named = model_below(&w->chance, 3) != 0;
    MODEL_CODE(KIST_EEXIST, kist_bucket_create(w->store[0], "default", NULL, &b));
    if (w->n == BUCKETS)
        return;
    snprintf(name, sizeof name,
             "b\xc3\xbc"
             "cket %u",
             w->made++);
    world_say(w, "make bucket \"%s\"", named ? name : "");
    MODEL_OK(kist_bucket_create(w->store[model_below(&w->chance, w->handles)], named ? name : NULL, &o, &b));
    MODEL_OK(kist_bucket_describe(b, &info));
    kist_bucket_close(&b);
    struct model_bucket *m = &w->model[w->n];
    *m = (struct model_bucket){.default_ttl_ms = o.default_ttl_ms};
    snprintf(m->id, sizeof m->id, "%s", info.id);
    snprintf(m->name, sizeof m->name, "%s", named ? name : "");
    memset(w->bucket[w->n], 0, sizeof w->bucket[0]);
    w->n++;
}

static void op_bucket_delete(struct world *w)
{
    size_t i = (size_t)model_below(&w->chance, w->n);
    bool exists;
    world_say(w, "delete bucket %zu \"%s\"", i, w->model[i].name);
    struct kist_bucket *b = world_bucket(w, i, 0), *late = NULL;
    MODEL_CODE(i ? 0 : KIST_EDENIED, kist_bucket_delete(b));
    if (i == 0)
        return;
    for (size_t h = 0; h < w->handles; h++) {
        if (w->bucket[i][h])
            MODEL_CODE(KIST_ENOBUCKET, kist_exists(w->bucket[i][h], KIST_STR("a/01"), &exists));
        MODEL_CODE(KIST_ENOBUCKET, kist_bucket_open(w->store[h], w->model[i].id, &late));
        kist_bucket_close(&w->bucket[i][h]);
    }
    model_bucket_free(&w->model[i]);
    memmove(&w->model[i], &w->model[i + 1], (w->n - i - 1) * sizeof w->model[0]);
    memmove(&w->bucket[i], &w->bucket[i + 1], (w->n - i - 1) * sizeof w->bucket[0]);
    w->n--;
    memset(w->bucket[w->n], 0, sizeof w->bucket[0]);
}

static void op_bucket_change(struct world *w)
{
    size_t i = (size_t)model_below(&w->chance, w->n);
    struct kist_bucket *b = world_bucket(w, i, (size_t)model_below(&w->chance, w->handles));
    if (model_below(&w->chance, 2)) {
        char name[64];
        snprintf(name, sizeof name, "renamed %u", w->made++);
        world_say(w, "rename bucket %zu to \"%s\"", i, name);
        MODEL_CODE(i ? KIST_EEXIST : KIST_EDENIED, kist_bucket_rename(b, "default"));
        MODEL_CODE(i ? 0 : KIST_EDENIED, kist_bucket_rename(b, name));
        if (i)
            snprintf(w->model[i].name, sizeof w->model[i].name, "%s", name);
    } else {
        w->model[i].default_ttl_ms = model_below(&w->chance, 2) ? 80000 : 0;
        world_say(w, "default ttl of bucket %zu: %" PRId64, i, w->model[i].default_ttl_ms);
        MODEL_OK(kist_bucket_set_ttl(b, w->model[i].default_ttl_ms));
    }
}

/* Restore a backup elsewhere, bring it forward by a second one, compare. */
static void op_backup(struct world *w)
{
    struct model_buffer whole = {0}, more = {0};
    struct kist_options o = model_options();
    struct kist_store *copy = NULL;
    char path[MODEL_PATH_MAX];
    uint64_t revision = 0;
    struct place p = {.w = w, .m = &w->model[0], .b = world_bucket(w, 0, 0), .watched = true};
    world_say(w, "backup: ");
    int rc = kist_backup(w->store[w->handles - 1], 0, model_buffer_write, &whole, &revision);
    if (rc == KIST_ENOTSUP && w->engine == KIST_ENGINE_MEMORY)
        return;
    MODEL_CHECK(rc == 0, "backup: %s", kist_error_name(rc));
    model_join(path, w->dir, "copy");
    model_remove_tree(path);
    MODEL_OK(kist_restore(path, &o, model_buffer_read, &whole));
    copy = model_open(path);
    world_compare(w, copy, "restored");
    model_verify(copy);
    kist_close(&copy);
    for (int i = 0; i < 5; i++)
        model_below(&w->chance, 2) ? op_put(&p) : op_delete(&p);
    MODEL_OK(kist_backup(w->store[0], revision, model_buffer_write, &more, NULL));
    MODEL_OK(kist_restore(path, &o, model_buffer_read, &more));
    copy = model_open(path);
    world_compare(w, copy, "brought forward");
    model_verify(copy);
    kist_close(&copy);
    model_remove_tree(path);
    model_buffer_free(&whole);
    model_buffer_free(&more);
}

struct porter {
    struct model_bucket taken;
    size_t at;
};

static int export_one(const struct kist_record *r, void *ctx)
{
    struct porter *x = ctx;
    model_set(&x->taken, r->key, r->value, r->type, r->revision, r->expires_ms);
    return 0;
}

static int import_one(struct kist_record *out, void *ctx)
{
    struct porter *x = ctx;
    if (x->at == x->taken.n)
        return KIST_EEND;
    const struct model_record *r = &x->taken.records[x->at++];
    *out = (struct kist_record){
        model_bytes(r->key, r->key_len), model_bytes(r->value, r->len), r->type, r->revision, r->expires_ms, false};
    return 0;
}

static void op_export(struct world *w)
{
    struct porter x = {.at = 0};
    struct kist_bucket *b = world_bucket(w, 0, w->handles - 1), *target = NULL;
    uint64_t n = 0;
    world_say(w, "export and import");
    MODEL_OK(kist_export(b, NULL, export_one, &x));
    model_compare_bucket(&x.taken, b, true, "exported");
    MODEL_OK(kist_bucket_create(w->store[0], NULL, NULL, &target));
    MODEL_OK(kist_import(target, import_one, &x, &n));
    MODEL_CHECK(n == x.taken.n, "%" PRIu64 " imported of %zu", n, x.taken.n);
    model_compare_bucket(&x.taken, target, false, "imported");
    MODEL_OK(kist_bucket_delete(target));
    kist_bucket_close(&target);
    model_bucket_free(&x.taken);
}

typedef void world_op(struct world *w);
static world_op *const world_ops[] = {op_watch,         op_watch,         op_watch,         op_watch,       op_watch,
                                      op_watch,         op_sweep,         op_clock,         op_clock,       op_clock,
                                      op_compare,       op_compare,       op_reopen,        op_reopen,      op_compact,
                                      op_verify,        op_rotate,        op_bucket_make,   op_bucket_make, op_bucket_make,
                                      op_bucket_delete, op_bucket_change, op_bucket_change, op_backup,      op_export};

/* -- the loop -- */

static void world_init(struct world *w, enum kist_engine engine, uint64_t seed, const char *dir)
{
    struct kist_bucket_info info;
    memset(w, 0, sizeof *w);
    w->chance.state = w->seed = seed;
    w->engine = engine;
    w->handles = engine == KIST_ENGINE_LOG ? 2 : 1;
    w->dir = (char *)(uintptr_t)dir;
    model_join(w->path, dir, "store");
    if (engine == KIST_ENGINE_MEMORY)
        snprintf(w->path, sizeof w->path, ":memory:");
    else
        model_remove_tree(w->path);
    w->n = 1;
    snprintf(w->model[0].id, sizeof w->model[0].id, "default");
    snprintf(w->model[0].name, sizeof w->model[0].name, "default");
    world_now = w;
    world_open(w);
    MODEL_OK(kist_bucket_describe(world_bucket(w, 0, 0), &info));
    snprintf(w->model[0].id, sizeof w->model[0].id, "%s", info.id);
}

static void world_step(struct world *w)
{
    *w->history[w->op % HISTORY] = 0;
    clock_settle(w);
    if (model_below(&w->chance, 12) == 0) {
        world_ops[model_below(&w->chance, sizeof world_ops / sizeof *world_ops)](w);
        return;
    }
    size_t i = (size_t)model_below(&w->chance, w->n), h = (size_t)model_below(&w->chance, w->handles);
    struct place p = {.w = w, .m = &w->model[i], .b = world_bucket(w, i, h), .watched = i == 0};
    world_say(w, "bucket %zu handle %zu: ", i, h);
    place_ops[model_below(&w->chance, sizeof place_ops / sizeof *place_ops)](&p);
    if (w->event_n > EVENTS / 2)
        op_watch(w);
}

static void world_done(struct world *w)
{
    *w->history[w->op % HISTORY] = 0;
    op_watch(w);
    op_compare(w);
    op_verify(w);
    world_close(w);
    for (size_t i = 0; i < w->n; i++)
        model_bucket_free(&w->model[i]);
    world_now = NULL;
}

static void run_engine(enum kist_engine engine)
{
    static struct world w;
    uint64_t seed = model_seed(), runs = 0, ops = 0;
    int64_t end = model_mono_ms() + (int64_t)(25000 * model_scale());
    char *dir = model_temp_new();
    model_on_failure = world_on_failure;
    do {
        world_init(&w, engine, seed + runs, dir);
        unsigned n = 200u << (runs % 5);
        for (w.op = 0; w.op < n && (runs == 0 || model_mono_ms() < end); w.op++)
            world_step(&w);
        ops += w.op;
        world_done(&w);
        os_clock_skew_ms = 0;
        runs++;
    } while (model_mono_ms() < end);
    printf("%" PRIu64 " runs, %" PRIu64 " operations\n", runs, ops);
    model_on_failure = NULL;
    model_temp_free(&dir);
}

static void the_log_engine_does_what_the_model_does(void **state)
{
    (void)state;
    run_engine(KIST_ENGINE_LOG);
}

static void the_memory_engine_does_what_the_model_does(void **state)
{
    (void)state;
    run_engine(KIST_ENGINE_MEMORY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_log_engine_does_what_the_model_does),
        cmocka_unit_test(the_memory_engine_does_what_the_model_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
