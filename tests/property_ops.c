/* property_ops.c: the operations on records of test_property.c, each compared with the model.
 *
 * One run is a seed: every choice comes from it. The log engine is used through two handles at
 * once, so that each catches up with the other; expiry runs on a clock that the test moves, and
 * never closer than seconds to an expiry, so that the answer is known. What kist.h leaves open
 * (which of two lifetimes an update inherits in a bucket with a default TTL) is accepted either
 * way; everything else must be equal, revisions included. When it fails, it prints the seed and the
 * last operations. */
#include "store_model.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>

#define BUCKETS 5
#define HISTORY 24
#define EVENTS 4096
#define KEY_ROOM 4100
#define MARGIN_MS 4000 /* no operation takes so long */

struct event {
    enum kist_change_kind kind;
    uint8_t *key;
    size_t key_len;
    uint64_t revision; /* 0: not known to us */
};

struct world {
    struct model_prng chance;
    uint64_t seed;
    enum kist_engine engine;
    char *dir;
    char path[MODEL_PATH_MAX];
    size_t handles;
    struct kist_store *store[2];
    struct model_bucket model[BUCKETS];
    struct kist_bucket *bucket[BUCKETS][2];
    size_t n;
    uint64_t revision; /* the highest seen */
    unsigned op, made;
    char history[HISTORY][200];
    struct kist_watch *watch;
    struct event events[EVENTS];
    size_t event_n;
    bool may_resync;
};

static struct world *world_now; /* for the message of a failure only */

/* Where an operation happens: on the bucket, or inside a transaction on a copy of the model. */
struct place {
    struct world *w;
    struct model_bucket *m;
    struct kist_bucket *b;
    struct kist_txn *t;                /* NULL: directly */
    const struct model_bucket *before; /* in a transaction: what it saw at first */
    bool watched;
};

struct lump {
    uint8_t bytes[KEY_ROOM];
    size_t len;
};

static void world_say(struct world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void world_say(struct world *w, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    char *line = w->history[w->op % HISTORY];
    size_t used = strlen(line);
    vsnprintf(line + used, sizeof w->history[0] - used, format, ap);
    va_end(ap);
}

static void world_on_failure(void)
{
    struct world *w = world_now;
    if (!w)
        return;
    fprintf(stderr, "engine %s, run seed %" PRIu64 ", operation %u; the last ones:\n",
            w->engine == KIST_ENGINE_LOG ? "log" : "memory", w->seed, w->op);
    for (unsigned i = w->op >= HISTORY ? w->op - HISTORY + 1 : 0; i <= w->op; i++)
        fprintf(stderr, "  %u: %s\n", i, w->history[i % HISTORY]);
    for (size_t i = 0; i < w->handles; i++) {
        struct kist_detail detail = {""};
        kist_detail(w->store[i], &detail);
        if (*detail.text)
            fprintf(stderr, "  detail of handle %zu: %s\n", i, detail.text);
    }
}

/* -- chance -- */

static struct kist_bytes pick_key(struct world *w, struct lump *k)
{
    uint64_t r = model_below(&w->chance, 100);
    if (r < 60)
        k->len = (size_t)snprintf((char *)k->bytes, KEY_ROOM, "a/%02u", (unsigned)model_below(&w->chance, 24));
    else if (r < 80)
        k->len = (size_t)snprintf((char *)k->bytes, KEY_ROOM, "b%c", (int)('a' + model_below(&w->chance, 6)));
    else if (r < 88)
        memset(k->bytes, 0xff, k->len = 1 + (size_t)model_below(&w->chance, 3));
    else if (r < 96)
        memcpy(k->bytes, "a\0\0\1", k->len = 1 + (size_t)model_below(&w->chance, 4));
    else {
        memset(k->bytes, 'L', k->len = 4096);
        k->bytes[4095] = (uint8_t)('0' + model_below(&w->chance, 3));
    }
    return model_bytes(k->bytes, k->len);
}

static uint8_t pick_room[200000];

/* *out_kind is the narrowest type that the bytes have. */
static struct kist_bytes pick_value(struct world *w, enum kist_type *out_kind)
{
    char *text = (char *)pick_room;
    uint64_t r = model_below(&w->chance, 100);
    size_t len;
    if (r < 25) {
        *out_kind = KIST_INT;
        len = (size_t)snprintf(text, 64, "%" PRId64, (int64_t)model_random(&w->chance) >> model_below(&w->chance, 60));
    } else if (r < 40) {
        *out_kind = KIST_FLOAT;
        len = (size_t)snprintf(text, 64, "%d.%02u", (int)model_below(&w->chance, 2000) - 1000,
                               1 + (unsigned)model_below(&w->chance, 99));
    } else if (r < 60) {
        *out_kind = KIST_JSON;
        len = (size_t)snprintf(text, 200, "{\"%c\": %u, \"o\": {\"%c\": null, \"x\": [1, \"\\u00e9\"]}}",
                               (int)('a' + model_below(&w->chance, 3)), (unsigned)model_below(&w->chance, 100),
                               (int)('a' + model_below(&w->chance, 3)));
    } else {
        *out_kind = KIST_RAW;
        len = (size_t)model_below(&w->chance, r < 95 ? 200 : r < 99 ? 5000 : sizeof pick_room);
        model_fill(&w->chance, pick_room, len);
        if (len)
            pick_room[0] = 0xfe;
    }
    return model_bytes(pick_room, len);
}

static bool kind_fits(enum kist_type kind, enum kist_type as)
{
    switch (as) {
    case KIST_INT:
        return kind == KIST_INT;
    case KIST_FLOAT:
        return kind == KIST_INT || kind == KIST_FLOAT;
    case KIST_JSON:
        return kind != KIST_RAW;
    default:
        return true;
    }
}

static int64_t pick_ttl(struct world *w)
{
    static const int64_t some[] = {KIST_TTL_NEVER, 10000, 60000, 3600000, KIST_TTL_MAX};
    return model_below(&w->chance, 3) ? KIST_TTL_KEEP : some[model_below(&w->chance, 5)];
}

/* -- the clock -- */

/* Nothing expires within MARGIN_MS: jump over what would. */
static void clock_settle(struct world *w)
{
    for (size_t i = 0; i < w->n; i++)
        for (size_t j = 0; j < w->model[i].n; j++) {
            int64_t left = w->model[i].records[j].expires_ms - os_now_ms();
            if (w->model[i].records[j].expires_ms && left > -50 && left < MARGIN_MS) {
                os_clock_skew_ms += MARGIN_MS + 100;
                i = j = 0; /* the jump may have brought others near */
                if (!w->model[0].n)
                    break;
            }
        }
}

static void world_drop_expired(struct world *w)
{
    for (size_t i = 0; i < w->n; i++)
        model_drop_expired(&w->model[i], os_now_ms());
}

static void op_sweep(struct world *w)
{
    uint64_t swept = 0, dead = 0;
    for (size_t i = 0; i < w->n; i++)
        for (size_t j = 0; j < w->model[i].n; j++)
            dead += w->model[i].records[j].expires_ms && w->model[i].records[j].expires_ms <= os_now_ms();
    world_say(w, "sweep of at most %" PRIu64, dead);
    MODEL_OK(kist_sweep(w->store[0], 0, &swept));
    MODEL_CHECK(swept <= dead, "swept %" PRIu64 ", only %" PRIu64 " had expired", swept, dead);
    world_drop_expired(w);
}

static void op_clock(struct world *w)
{
    static const int64_t jumps[] = {5000, 30000, 7200000, INT64_C(3600000) * 24 * 400};
    uint64_t r = model_below(&w->chance, 5);
    if (r < 4) {
        os_clock_skew_ms += jumps[r];
    } else {
        op_sweep(w); /* what has expired must not come back */
        os_clock_skew_ms -= 3600000;
    }
    world_say(w, "clock jump %d", (int)r);
}

/* -- events -- */

static void event_push(struct place *p, enum kist_change_kind kind, struct kist_bytes key, uint64_t revision)
{
    struct world *w = p->w;
    if (!p->watched || !w->watch || p->t)
        return;
    MODEL_CHECK(w->event_n < EVENTS, "drain more often");
    struct event *e = &w->events[w->event_n++];
    *e = (struct event){.kind = kind, .key = model_dup(key.ptr, key.len), .key_len = key.len, .revision = revision};
}

static void event_clear(struct world *w)
{
    for (size_t i = 0; i < w->event_n; i++)
        free(w->events[i].key);
    w->event_n = 0;
}

/* Take the expected event that this one is: of the first revision that we still wait for. */
static bool event_take(struct world *w, const struct kist_change *c)
{
    for (size_t i = 0; i < w->event_n && w->events[i].revision == w->events[0].revision; i++) {
        struct event *e = &w->events[i];
        if (e->kind != c->kind || model_compare(model_bytes(e->key, e->key_len), c->key) != 0 ||
            (e->revision && e->revision != c->revision))
            continue;
        free(e->key);
        memmove(e, e + 1, (w->event_n - i - 1) * sizeof *e);
        w->event_n--;
        return true;
    }
    return false;
}

/* Is a put of key still to come? Then its deletion may be that of an expired record, or of none. */
static bool event_later(struct world *w, struct kist_bytes key)
{
    for (size_t i = 0; i < w->event_n; i++)
        if (w->events[i].kind == KIST_CHANGE_PUT && model_compare(model_bytes(w->events[i].key, w->events[i].key_len), key) == 0)
            return true;
    return false;
}

static void op_watch(struct world *w)
{
    struct kist_change c;
    int rc;
    if (!w->watch)
        return;
    world_say(w, "watch: %zu events", w->event_n);
    while ((rc = kist_watch_next(w->watch, w->event_n ? 5000 : 0, &c)) == 0) {
        if (c.kind == KIST_CHANGE_RESYNC) {
            MODEL_CHECK(w->may_resync, "a resync without compaction or rotation");
            event_clear(w);
            continue;
        }
        if (event_take(w, &c))
            continue;
        bool gone = c.kind == KIST_CHANGE_DELETE && (!model_find(&w->model[0], c.key, os_now_ms()) || event_later(w, c.key));
        MODEL_CHECK(gone, "unexpected event: kind %d key \"%.*s\" revision %" PRIu64 "; expected kind %d revision %" PRIu64,
                    c.kind, (int)(c.key.len < 20 ? c.key.len : 20), (const char *)c.key.ptr, c.revision,
                    w->event_n ? (int)w->events[0].kind : 0, w->event_n ? w->events[0].revision : 0);
    }
    MODEL_CHECK(rc == KIST_ETIMEOUT, "watch: %s", kist_error_name(rc));
    MODEL_CHECK(w->event_n == 0, "%zu events did not come, the first: kind %d key \"%.*s\" revision %" PRIu64, w->event_n,
                w->events[0].kind, (int)(w->events[0].key_len < 20 ? w->events[0].key_len : 20), (char *)w->events[0].key,
                w->events[0].revision);
    w->may_resync = false;
}

/* -- one write, checked -- */

static int place_get(struct place *p, struct kist_bytes key, struct kist_value *v)
{
    return p->t ? kist_txn_get(p->t, key, v) : kist_get(p->b, key, v);
}

static bool expiry_fits(struct place *p, const struct model_record *old, int64_t ttl, int64_t before, int64_t actual)
{
    int64_t after = os_now_ms(), usual = p->m->default_ttl_ms;
    bool usual_fits = usual > 0 && actual >= before + usual && actual <= after + usual;
    if (ttl == KIST_TTL_NEVER)
        return actual == 0;
    if (ttl > 0)
        return actual >= before + ttl && actual <= after + ttl;
    if (old && usual > 0)
        return actual == old->expires_ms || usual_fits;
    return old ? actual == old->expires_ms : usual > 0 ? usual_fits : actual == 0;
}

/* After a write that should have left value (ptr NULL: whatever there is) of a type under key: read
 * it, compare, remember. */
static void place_wrote(struct place *p, struct kist_bytes key, struct kist_bytes value, enum kist_type type, uint64_t revision,
                        int64_t ttl, int64_t before)
{
    struct kist_value v = {0};
    const struct model_record *old = model_find(p->m, key, before);
    MODEL_OK(place_get(p, key, &v));
    MODEL_CHECK(!value.ptr || (v.len == value.len && memcmp(v.data, value.ptr, v.len) == 0),
                "the value is not what was written: %zu bytes, expected %zu", v.len, value.len);
    MODEL_CHECK(v.type == type, "type %d, expected %d", v.type, type);
    MODEL_CHECK(v.revision == (p->t ? 0 : revision), "revision %" PRIu64 ", expected %" PRIu64, v.revision, revision);
    MODEL_CHECK(expiry_fits(p, old, ttl, before, v.expires_ms),
                "expiry %" PRId64 " for ttl %" PRId64 " at %" PRId64 ", old %" PRId64 ", default ttl %" PRId64, v.expires_ms, ttl,
                before, old ? old->expires_ms : -1, p->m->default_ttl_ms);
    MODEL_CHECK(p->t || revision > p->w->revision, "revision %" PRIu64 " after %" PRIu64, revision, p->w->revision);
    if (!p->t)
        p->w->revision = revision;
    model_set(p->m, key, model_bytes(v.data, v.len), v.type, v.revision, v.expires_ms);
    event_push(p, KIST_CHANGE_PUT, key, revision);
    kist_value_free(&v);
}

static void place_deleted(struct place *p, struct kist_bytes key, uint64_t revision)
{
    bool exists = true;
    model_unset(p->m, key);
    MODEL_OK(p->t ? kist_txn_exists(p->t, key, &exists) : kist_exists(p->b, key, &exists));
    MODEL_CHECK(!exists, "it is there after its deletion");
    event_push(p, KIST_CHANGE_DELETE, key, revision);
    if (!p->t && revision)
        p->w->revision = revision;
}

/* What a condition answers. */
static int flags_answer(const struct model_record *old, const struct kist_put_options *o)
{
    if ((o->flags & KIST_IF_ABSENT) && old)
        return KIST_EEXIST;
    if ((o->flags & KIST_IF_PRESENT) && !old)
        return KIST_ENOKEY;
    if ((o->flags & KIST_IF_REVISION) && (old ? old->revision : 0) != o->if_revision)
        return KIST_ECONFLICT;
    return 0;
}

static void pick_flags(struct place *p, struct kist_bytes key, const struct model_record *old, struct kist_put_options *o)
{
    struct world *w = p->w;
    bool was = false;
    uint64_t r = model_below(&w->chance, 10);
    if (r == 0)
        o->flags = KIST_IF_ABSENT;
    else if (r == 1)
        o->flags = KIST_IF_PRESENT;
    else if (r < 4) {
        o->flags = KIST_IF_REVISION;
        o->if_revision = model_below(&w->chance, 3) ? (old ? old->revision : 0) : model_below(&w->chance, w->revision + 2);
        if (p->before)
            (void)model_place(p->before, key, &was);
        if (old ? old->revision == 0 : was)
            o->flags = 0, o->if_revision = 0; /* a transaction's own write has no revision to ask for */
    }
}

static void op_put(struct place *p)
{
    struct lump k;
    struct kist_bytes key = pick_key(p->w, &k);
    enum kist_type kind;
    struct kist_bytes value = pick_value(p->w, &kind);
    struct kist_put_options o = {.size = sizeof o, .ttl_ms = pick_ttl(p->w)};
    uint64_t revision = 0;
    int64_t before = os_now_ms();
    const struct model_record *old = model_find(p->m, key, before);
    o.type = (enum kist_type)model_below(&p->w->chance, 5);
    pick_flags(p, key, old, &o);
    enum kist_type type = o.type == KIST_DETECT ? kind : o.type;
    int expected = flags_answer(old, &o);
    bool fits = kind_fits(kind, o.type);
    world_say(p->w, "put %.*s len %zu kind %d as %d flags %u ttl %" PRId64 ";", (int)(key.len < 8 ? key.len : 8),
              (const char *)key.ptr, value.len, kind, o.type, o.flags, o.ttl_ms);
    int rc = p->t ? kist_txn_put(p->t, key, value, &o) : kist_put(p->b, key, value, &o, &revision);
    if (!fits) {
        int mistyped = o.type == KIST_JSON ? KIST_EJSON : KIST_ETYPE;
        MODEL_CHECK(rc == mistyped || (expected && rc == expected), "mistyped put: %s", kist_error_name(rc));
        return;
    }
    MODEL_CHECK(rc == expected, "put: %s, expected %s", kist_error_name(rc), kist_error_name(expected));
    if (rc == 0)
        place_wrote(p, key, value.ptr ? value : model_bytes("", 0), type, revision, o.ttl_ms, before);
}

static void op_delete(struct place *p)
{
    struct lump k;
    struct kist_bytes key = pick_key(p->w, &k);
    struct kist_put_options o = {.size = sizeof o};
    const struct model_record *old = model_find(p->m, key, os_now_ms());
    bool existed = !old;
    uint64_t revision = 0;
    pick_flags(p, key, old, &o);
    int expected = flags_answer(old, &o);
    world_say(p->w, "delete %.*s flags %u;", (int)(key.len < 8 ? key.len : 8), (const char *)key.ptr, o.flags);
    MODEL_CODE(expected, p->t ? kist_txn_delete(p->t, key, &o, &existed) : kist_delete(p->b, key, &o, &existed, &revision));
    if (expected)
        return;
    MODEL_CHECK(existed == !!old, "delete says existed %d", existed);
    if (old)
        place_deleted(p, key, revision);
}

static void op_increment(struct place *p)
{
    struct lump k;
    struct kist_bytes key = pick_key(p->w, &k);
    int64_t before = os_now_ms(), by = (int64_t)model_random(&p->w->chance) >> model_below(&p->w->chance, 64);
    struct model_record *old = model_find(p->m, key, before);
    struct kist_put_options o = {.size = sizeof o, .ttl_ms = pick_ttl(p->w)};
    int64_t had = 0, sum = 0, got = 0;
    uint64_t revision = 0;
    char text[32];
    int expected = 0;
    if (old && old->type == KIST_INT) {
        old->value[old->len] = 0; /* there is room for it */
        had = strtoll((char *)old->value, NULL, 10);
    } else if (old) {
        expected = KIST_ETYPE;
        if (kist_detect(model_bytes(old->value, old->len)) == KIST_INT)
            return; /* bytes of another type that look like a number: left open */
    }
    if (!expected && __builtin_add_overflow(had, by, &sum))
        expected = KIST_ERANGE;
    world_say(p->w, "increment %.*s %" PRId64 " by %" PRId64 ";", (int)(key.len < 8 ? key.len : 8), (const char *)key.ptr, had,
              by);
    MODEL_CODE(expected, p->t ? kist_txn_increment(p->t, key, by, &o, &got) : kist_increment(p->b, key, by, &o, &got, &revision));
    if (expected)
        return;
    MODEL_CHECK(got == sum, "%" PRId64 " + %" PRId64 " = %" PRId64, had, by, got);
    snprintf(text, sizeof text, "%" PRId64, sum);
    place_wrote(p, key, model_text(text), KIST_INT, revision, o.ttl_ms, before);
}

static void op_increment_float(struct place *p)
{
    struct lump k;
    struct kist_bytes key = pick_key(p->w, &k);
    int64_t before = os_now_ms();
    double by = (double)((int64_t)model_below(&p->w->chance, 4000) - 2000) / 8, had = 0, got = 0;
    struct model_record *old = model_find(p->m, key, before);
    uint64_t revision = 0;
    int expected = 0;
    if (old && old->type != KIST_INT && old->type != KIST_FLOAT)
        expected = KIST_ETYPE;
    if (expected && kist_detect(model_bytes(old->value, old->len)) != old->type)
        return; /* left open, as above */
    if (old && !expected) {
        old->value[old->len] = 0;
        had = strtod((char *)old->value, NULL);
    }
    if (model_below(&p->w->chance, 10) == 0) {
        int code = p->t ? kist_txn_increment_float(p->t, key, (double)NAN, NULL, &got)
                        : kist_increment_float(p->b, key, (double)NAN, NULL, &got, NULL);
        MODEL_CHECK(code == KIST_EINVAL, "increment by NaN: %s", kist_error_name(code));
    }
    world_say(p->w, "float %.*s %g by %g;", (int)(key.len < 8 ? key.len : 8), (const char *)key.ptr, had, by);
    MODEL_CODE(expected, p->t ? kist_txn_increment_float(p->t, key, by, NULL, &got)
                              : kist_increment_float(p->b, key, by, NULL, &got, &revision));
    if (expected)
        return;
    MODEL_CHECK(memcmp(&got, &(double){had + by}, sizeof got) == 0, "%.17g + %.17g = %.17g", had, by, got);
    place_wrote(p, key, model_bytes(NULL, 0), KIST_FLOAT, revision, KIST_TTL_KEEP, before);
    struct model_record *now = model_find(p->m, key, before);
    now->value[now->len] = 0;
    double text = strtod((char *)now->value, NULL);
    MODEL_CHECK(memcmp(&text, &got, sizeof got) == 0, "the text \"%s\" is not %.17g", (char *)now->value, got);
}

static void op_append(struct place *p)
{
    struct lump k;
    struct kist_bytes key = pick_key(p->w, &k);
    int64_t before = os_now_ms();
    const struct model_record *old = model_find(p->m, key, before);
    uint8_t more[100];
    size_t n = (size_t)model_below(&p->w->chance, sizeof more), len = 0, had = old ? old->len : 0;
    uint64_t revision = 0;
    model_fill(&p->w->chance, more, n);
    if (n)
        more[0] |= 0x80;
    uint8_t *all = malloc(had + n + 1);
    assert_non_null(all);
    if (had)
        memcpy(all, old->value, had);
    if (n)
        memcpy(all + had, more, n);
    world_say(p->w, "append %.*s %zu + %zu;", (int)(key.len < 8 ? key.len : 8), (const char *)key.ptr, had, n);
    MODEL_OK(p->t ? kist_txn_append(p->t, key, model_bytes(more, n), NULL, &len)
                  : kist_append(p->b, key, model_bytes(more, n), NULL, &len, &revision));
    MODEL_CHECK(len == had + n, "length %zu, expected %zu", len, had + n);
    place_wrote(p, key, model_bytes(all, had + n), KIST_RAW, revision, KIST_TTL_KEEP, before);
    free(all);
}

/* RFC 7386, by the letter. */
static json_t *merge_patch(json_t *target, json_t *patch)
{
    const char *name;
    json_t *value;
    if (!json_is_object(patch)) {
        json_decref(target);
        return json_deep_copy(patch);
    }
    if (!json_is_object(target)) {
        json_decref(target);
        target = json_object();
    }
    json_object_foreach(patch, name, value)
    {
        if (json_is_null(value))
            json_object_del(target, name);
        else
            json_object_set_new(target, name, merge_patch(json_incref(json_object_get(target, name)), value));
    }
    return target;
}

static void op_merge(struct place *p)
{
    struct lump k;
    struct kist_bytes key = pick_key(p->w, &k);
    int64_t before = os_now_ms();
    const struct model_record *old = model_find(p->m, key, before);
    char patch[200];
    uint64_t revision = 0;
    bool bad = model_below(&p->w->chance, 8) == 0;
    int n = snprintf(patch, sizeof patch, "{\"%c\": %s, \"o\": {\"%c\": {\"y\": null, \"z\": %u}}%s",
                     (int)('a' + model_below(&p->w->chance, 3)), model_below(&p->w->chance, 2) ? "null" : "[1.5]",
                     (int)('a' + model_below(&p->w->chance, 3)), (unsigned)model_below(&p->w->chance, 9), bad ? "" : "}");
    if (old && old->type != KIST_JSON && kist_detect(model_bytes(old->value, old->len)) != KIST_RAW)
        return; /* a number is JSON, and raw bytes may be: left open */
    int expected = bad ? KIST_EJSON : old && old->type != KIST_JSON ? KIST_ETYPE : 0;
    world_say(p->w, "merge %.*s;", (int)(key.len < 8 ? key.len : 8), (const char *)key.ptr);
    int rc = p->t ? kist_txn_merge(p->t, key, model_bytes(patch, (size_t)n), NULL)
                  : kist_merge(p->b, key, model_bytes(patch, (size_t)n), NULL, &revision);
    MODEL_CHECK(rc == expected || (bad && rc == KIST_ETYPE && old && old->type != KIST_JSON), "merge: %s, expected %s",
                kist_error_name(rc), kist_error_name(expected));
    if (rc)
        return;
    json_t *should = old ? json_loadb((char *)old->value, old->len, JSON_DECODE_ANY, NULL) : json_object();
    json_t *change = json_loadb(patch, (size_t)n, 0, NULL);
    should = merge_patch(should, change);
    place_wrote(p, key, model_bytes(NULL, 0), KIST_JSON, revision, KIST_TTL_KEEP, before);
    struct model_record *now = model_find(p->m, key, before);
    json_t *is = json_loadb((char *)now->value, now->len, JSON_DECODE_ANY, NULL);
    MODEL_CHECK(is && json_equal(is, should), "merged to %.*s", (int)(now->len < 100 ? now->len : 100), (char *)now->value);
    json_decref(should);
    json_decref(change);
    json_decref(is);
}

static void op_expire(struct place *p)
{
    struct lump k;
    struct kist_bytes key = pick_key(p->w, &k);
    int64_t before = os_now_ms(), ttl = pick_ttl(p->w), left = 0;
    const struct model_record *old = model_find(p->m, key, before);
    uint64_t revision = 0;
    if (ttl == KIST_TTL_KEEP)
        ttl = 20000;
    world_say(p->w, "expire %.*s %" PRId64 ";", (int)(key.len < 8 ? key.len : 8), (const char *)key.ptr, ttl);
    MODEL_CODE(old ? 0 : KIST_ENOKEY, p->t ? kist_txn_expire(p->t, key, ttl) : kist_expire(p->b, key, ttl, &revision));
    if (!old)
        return;
    uint8_t *value = model_dup(old->value, old->len);
    place_wrote(p, key, model_bytes(value, old->len), old->type, revision, ttl, before);
    free(value);
    if (p->t)
        return;
    MODEL_OK(kist_ttl(p->b, key, &left));
    MODEL_CHECK(ttl == KIST_TTL_NEVER ? left == KIST_TTL_NEVER : left <= ttl && left > ttl - MARGIN_MS,
                "ttl %" PRId64 " of %" PRId64, left, ttl);
}

/* -- reads -- */

static void op_get(struct place *p)
{
    struct lump k;
    struct kist_bytes key = pick_key(p->w, &k);
    const struct model_record *r = model_find(p->m, key, os_now_ms());
    struct kist_value v = {0};
    bool exists = !r;
    world_say(p->w, "get %.*s;", (int)(key.len < 8 ? key.len : 8), (const char *)key.ptr);
    MODEL_CODE(r ? 0 : KIST_ENOKEY, place_get(p, key, &v));
    if (r) {
        struct kist_record record = {key, model_bytes(v.data, v.len), v.type, v.revision, v.expires_ms, false};
        MODEL_CHECK(model_same(r, &record, true), "get: len %zu type %d revision %" PRIu64 ", expected %zu %d %" PRIu64, v.len,
                    v.type, v.revision, r->len, r->type, r->revision);
        kist_value_free(&v);
    }
    MODEL_OK(p->t ? kist_txn_exists(p->t, key, &exists) : kist_exists(p->b, key, &exists));
    MODEL_CHECK(exists == !!r, "exists %d", exists);
    if (p->t)
        return;
    MODEL_CODE(r ? 0 : KIST_ENOKEY, kist_describe(p->b, key, &v));
    if (r)
        MODEL_CHECK(!v.data && v.len == r->len && v.type == r->type && v.revision == r->revision && v.expires_ms == r->expires_ms,
                    "describe differs");
}

/* -- walking -- */

/* The live records of a range, in walking order: what a cursor should give. */
static size_t range_of(struct model_bucket *m, const struct kist_range *range, const struct model_record **out)
{
    size_t n = 0;
    int64_t now = os_now_ms();
    for (size_t i = 0; i < m->n; i++) {
        const struct model_record *r = &m->records[range->reverse ? m->n - 1 - i : i];
        struct kist_bytes key = model_bytes(r->key, r->key_len);
        if ((r->expires_ms && r->expires_ms <= now) ||
            (range->prefix.len && (key.len < range->prefix.len || memcmp(key.ptr, range->prefix.ptr, range->prefix.len) != 0)) ||
            (range->from.len && model_compare(key, range->from) < 0) || (range->to.len && model_compare(key, range->to) >= 0))
            continue;
        out[n++] = r;
    }
    return n;
}

static size_t seek_of(const struct model_record **all, size_t n, struct kist_bytes key, bool reverse)
{
    size_t i = 0;
    while (i < n) {
        int c = model_compare(model_bytes(all[i]->key, all[i]->key_len), key);
        if (reverse ? c <= 0 : c >= 0)
            break;
        i++;
    }
    return i;
}

static void walk(struct place *p, struct kist_cursor *c, const struct kist_range *range)
{
    const struct model_record **all = malloc((p->m->n + 1) * sizeof *all);
    assert_non_null(all);
    long n = (long)range_of(p->m, range, all), at = -1;
    bool fresh = true, sought = false; /* sought: between at - 1 and at */
    unsigned steps = (unsigned)model_below(&p->w->chance, 20) + (unsigned)n;
    uint64_t style = model_below(&p->w->chance, 3);
    while (steps-- > 0) {
        struct kist_record record;
        uint64_t r = model_below(&p->w->chance, 20);
        if (r == 0 && style == 2) {
            struct lump k;
            struct kist_bytes key = pick_key(p->w, &k);
            MODEL_OK(kist_cursor_seek(c, key));
            at = (long)seek_of(all, (size_t)n, key, range->reverse);
            sought = true;
            fresh = false;
            continue;
        }
        bool down = style == 1 ? true : style == 2 && !sought && r < 8;
        if (down)
            at = fresh ? n - 1 : at >= 0 ? at - 1 : -1;
        else
            at = fresh ? 0 : sought ? at : at < n ? at + 1 : n;
        fresh = sought = false;
        int rc = down ? kist_cursor_prev(c, &record) : kist_cursor_next(c, &record);
        bool inside = at >= 0 && at < n;
        MODEL_CHECK(rc == (inside ? 0 : KIST_EEND), "cursor %s at %ld of %ld: %s", down ? "prev" : "next", at, n,
                    kist_error_name(rc));
        MODEL_CHECK(!inside || model_same(all[at], &record, true), "cursor %s at %ld of %ld: \"%.*s\", expected \"%.*s\"",
                    down ? "prev" : "next", at, n, (int)(record.key.len < 20 ? record.key.len : 20), (const char *)record.key.ptr,
                    (int)(all[at]->key_len < 20 ? all[at]->key_len : 20), (char *)all[at]->key);
        MODEL_CHECK(!inside || !record.value.ptr == range->keys_only || !record.value.len, "keys_only is not heeded");
    }
    free(all);
}

static void op_cursor(struct place *p)
{
    struct lump from, to;
    struct kist_range range = {
        .size = sizeof range, .reverse = model_below(&p->w->chance, 2), .keys_only = model_below(&p->w->chance, 3) == 0};
    struct kist_cursor *c = NULL;
    uint64_t r = model_below(&p->w->chance, 4);
    if (r == 1)
        range.prefix = KIST_STR("a/");
    if (r == 2)
        range.prefix = KIST_STR("\xff");
    if (model_below(&p->w->chance, 3) == 0)
        range.from = pick_key(p->w, &from);
    if (model_below(&p->w->chance, 3) == 0)
        range.to = pick_key(p->w, &to);
    world_say(p->w, "cursor reverse %d prefix %d from %zu to %zu;", range.reverse, (int)r, range.from.len, range.to.len);
    MODEL_OK(p->t ? kist_txn_cursor_open(p->t, &range, &c) : kist_cursor_open(p->b, &range, &c));
    walk(p, c, &range);
    kist_cursor_close(&c);
}
