/* ops.c: what an operation on a record means, whoever asks for it: a single call (record.c) or a
 * transaction (txn.c).
 *
 * Each one is load, allow, store: look at the old record, check the KIST_IF_ flags against it, put
 * the new one with the right expiry. They run inside an engine transaction of the caller and leave
 * its write set as it was when they fail.
 *
 * TTL. `KIST_TTL_KEEP` promises two things: a TTL that was given stays, and a bucket's default
 * restarts at each update. A record must therefore know whether its TTL was given, so the type
 * byte, of which the engine keeps three bits, has one for it (OPS_TTL_OWN). The table, for KEEP:
 *
 *     record                    bucket with a default   bucket without one
 *     new                       now + default           never
 *     own TTL, or own "never"   stays                   stays
 *     no TTL of its own         now + default           what it had: never, or the rest of a
 *                                                       default that was taken back
 *
 * Dropped: "explicit TTLs yield to the default at the next update", which needs no bit; a session
 * of an hour would have become one of a week by touching it. Expiry is absolute, by the wall clock:
 * when the clock jumps, so does what is left.
 *
 * Flags: ABSENT and PRESENT are looked at first, then REVISION. A transaction's own write has no
 * revision yet, so that KIST_IF_REVISION after it in the same transaction is a conflict. Numbers
 * are judged by their bytes, not by the type they were put with: what reads as an int can be
 * incremented. */
#include "model/ops.h"

#include "base/buf.h"
#include "base/os.h"
#include "model/json.h"
#include "model/options.h"
#include "model/value.h"

#include <assert.h>
#include <string.h>

#define OPS_FLAGS (unsigned)(KIST_IF_ABSENT | KIST_IF_PRESENT | KIST_IF_REVISION)

/* -- what a caller gave -- */

int ops_key(struct error_detail *detail, struct kist_bytes key)
{
    if (!key.ptr || key.len == 0)
        return error_set(detail, KIST_EINVAL, "a key has at least 1 byte");
    if (key.len > KIST_KEY_MAX)
        return error_set(detail, KIST_ETOOBIG, "a key has at most %u bytes: hash what is longer", KIST_KEY_MAX);
    return 0;
}

static int ops_ttl(struct error_detail *detail, int64_t ttl_ms)
{
    if (ttl_ms == KIST_TTL_KEEP || ttl_ms == KIST_TTL_NEVER || (ttl_ms > 0 && ttl_ms <= KIST_TTL_MAX))
        return 0;
    return error_set(detail, KIST_EINVAL, "a TTL is 1 to %lld ms", (long long)KIST_TTL_MAX);
}

static int ops_conditions(struct error_detail *detail, const struct kist_put_options *o)
{
    if (o->flags & ~OPS_FLAGS)
        return error_set(detail, KIST_EINVAL, "unknown flags 0x%x", o->flags & ~OPS_FLAGS);
    if ((o->flags & KIST_IF_ABSENT) && (o->flags & KIST_IF_PRESENT))
        return error_set(detail, KIST_EINVAL, "a key cannot be absent and present");
    if (o->if_revision && !(o->flags & KIST_IF_REVISION))
        return error_set(detail, KIST_EINVAL, "if_revision counts only with KIST_IF_REVISION");
    return 0;
}

int ops_options(struct error_detail *detail, const struct kist_put_options *given, struct kist_put_options *out)
{
    struct kist_put_options o;
    int r = options_copy(detail, &o, sizeof o, given);
    r = r < 0 ? r : ops_conditions(detail, &o);
    if (r == 0 && (unsigned)o.type > KIST_DETECT)
        r = error_set(detail, KIST_EINVAL, "unknown type %d", (int)o.type);
    r = r < 0 ? r : ops_ttl(detail, o.ttl_ms);
    if (r == 0)
        *out = o;
    return r;
}

int ops_delete_options(struct error_detail *detail, const struct kist_put_options *given, struct kist_put_options *out)
{
    struct kist_put_options o;
    int r = options_copy(detail, &o, sizeof o, given);
    r = r < 0 ? r : ops_conditions(detail, &o);
    if (r < 0)
        return r;
    o.type = KIST_RAW;
    o.ttl_ms = KIST_TTL_NEVER; /* spares the look at the bucket's default */
    *out = o;
    return 0;
}

static int ops_value_len(struct error_detail *detail, size_t len)
{
    if (len <= KIST_VALUE_MAX)
        return 0;
    return error_set(detail, KIST_ETOOBIG, "a value has at most %u bytes (64 MiB): split it over several keys", KIST_VALUE_MAX);
}

int ops_value(struct error_detail *detail, struct kist_bytes value, enum kist_type *io_type)
{
    if (!value.ptr && value.len)
        return KIST_EINVAL;
    int r = ops_value_len(detail, value.len);
    if (r < 0)
        return r;
    r = value_check(io_type, value);
    if (r == KIST_ETYPE)
        return error_set(detail, r, "the bytes are not what their type says");
    return r;
}

/* -- reading -- */

struct kist_value ops_value_of(const struct engine_meta *meta, void *data)
{
    return (struct kist_value){.data = data,
                               .len = meta->len,
                               .type = (enum kist_type)(meta->type & OPS_TYPE),
                               .revision = meta->revision,
                               .expires_ms = meta->expires_ms};
}

int ops_get(struct engine_txn *txn, struct kist_bytes key, struct kist_value *out)
{
    struct engine_meta meta;
    void *data = NULL;
    int r = txn->engine->ops->get(txn, key, &meta, &data);
    if (r == 0)
        *out = ops_value_of(&meta, data);
    return r;
}

int ops_describe(struct engine_txn *txn, struct kist_bytes key, struct kist_value *out)
{
    struct engine_meta meta;
    int r = txn->engine->ops->get(txn, key, &meta, NULL);
    if (r == 0)
        *out = ops_value_of(&meta, NULL);
    return r;
}

/* -- load, allow, store -- */

int ops_load(struct engine_txn *txn, struct kist_bytes key, bool data, struct ops_old *out)
{
    struct ops_old old = {0};
    int r = txn->engine->ops->get(txn, key, &old.meta, data ? &old.data : NULL);
    if (r < 0 && r != KIST_ENOKEY)
        return r;
    old.found = r == 0;
    *out = old;
    return 0;
}

void ops_old_done(struct ops_old *old)
{
    if (old->data)
        os_wipe(old->data, old->meta.len);
    os_free(old->data);
    old->data = NULL;
}

int ops_allow(const struct ops *w, const struct ops_old *old, const struct kist_put_options *o)
{
    if ((o->flags & KIST_IF_ABSENT) && old->found)
        return KIST_EEXIST;
    if ((o->flags & KIST_IF_PRESENT) && !old->found)
        return KIST_ENOKEY;
    if (!(o->flags & KIST_IF_REVISION))
        return 0;
    if (!old->found)
        return o->if_revision == 0 ? 0
                                   : error_set(w->detail, KIST_ECONFLICT, "expected revision %llu, but there is no such key",
                                               (unsigned long long)o->if_revision);
    if (old->meta.revision == 0)
        return error_set(w->detail, KIST_ECONFLICT, "this transaction has written the record already");
    if (old->meta.revision != o->if_revision)
        return error_set(w->detail, KIST_ECONFLICT, "expected revision %llu, found %llu", (unsigned long long)o->if_revision,
                         (unsigned long long)old->meta.revision);
    return 0;
}

int64_t ops_after(int64_t now_ms, int64_t ttl_ms)
{
    int64_t at;
    if (__builtin_add_overflow(now_ms, ttl_ms, &at))
        return INT64_MAX;
    return at > 0 ? at : 1; /* before 1970, after a clock jumped: not 0, which means never */
}

int64_t ops_expires(int64_t ttl_ms, const struct ops_old *old, int64_t default_ttl_ms, bool *out_own)
{
    bool keep = ttl_ms == KIST_TTL_KEEP;
    *out_own = keep ? old->found && (old->meta.type & OPS_TTL_OWN) : true;
    if (ttl_ms == KIST_TTL_NEVER)
        return 0;
    if (!keep)
        return ops_after(os_now_ms(), ttl_ms);
    if (!*out_own && default_ttl_ms > 0)
        return ops_after(os_now_ms(), default_ttl_ms);
    return old->found ? old->meta.expires_ms : 0;
}

int ops_store(struct ops *w, struct kist_bytes key, struct kist_bytes value, const struct kist_put_options *o,
              const struct ops_old *old, bool borrow)
{
    bool own = false;
    int r = ops_value_len(w->detail, value.len);
    if (r < 0)
        return r;
    assert((unsigned)o->type < KIST_DETECT);
    int64_t expires = ops_expires(o->ttl_ms, old, w->default_ttl_ms, &own);
    uint8_t type = (uint8_t)((unsigned)o->type | (own ? OPS_TTL_OWN : 0));
    return w->txn->engine->ops->put(w->txn, key, value, type, expires, borrow);
}

/* The row "own TTL" of the table above is the engine's to see to, when it commits. */
static int ops_put_keep(struct ops *w, struct kist_bytes key, struct kist_bytes value, const struct kist_put_options *o)
{
    int r = ops_value_len(w->detail, value.len);
    if (r < 0)
        return r;
    int64_t expires = w->default_ttl_ms > 0 ? ops_after(os_now_ms(), w->default_ttl_ms) : 0;
    return w->txn->engine->ops->put_keep(w->txn, key, value, (uint8_t)o->type, expires, w->borrow);
}

/* -- the operations -- */

int ops_put(struct ops *w, struct kist_bytes key, struct kist_bytes value, const struct kist_put_options *o)
{
    struct ops_old old = {0};
    /* Without conditions the old record does not matter: a transaction must not come to depend on
     * it. */
    if (!o->flags)
        return o->ttl_ms == KIST_TTL_KEEP ? ops_put_keep(w, key, value, o) : ops_store(w, key, value, o, &old, w->borrow);
    int r = ops_load(w->txn, key, false, &old);
    r = r < 0 ? r : ops_allow(w, &old, o);
    return r < 0 ? r : ops_store(w, key, value, o, &old, w->borrow);
}

int ops_delete(struct ops *w, struct kist_bytes key, const struct kist_put_options *o, bool *out_existed)
{
    struct ops_old old = {.found = true};
    int r = 0;
    if (o->flags || out_existed)
        r = ops_load(w->txn, key, false, &old);
    r = r < 0 ? r : ops_allow(w, &old, o);
    if (r == 0 && old.found)
        r = w->txn->engine->ops->del(w->txn, key);
    if (r == 0 && out_existed)
        *out_existed = old.found;
    return r;
}

static struct kist_bytes ops_old_bytes(const struct ops_old *old)
{
    return (struct kist_bytes){old->data, old->meta.len};
}

static int ops_not_a_number(const struct ops *w, int code, const char *kind)
{
    return code == KIST_ETYPE ? error_set(w->detail, code, "the value is not %s", kind) : code;
}

static int ops_add_int(struct ops *w, struct kist_bytes key, int64_t by, const struct kist_put_options *o,
                       const struct ops_old *old, int64_t *out)
{
    struct kist_put_options as = *o;
    int64_t value = 0;
    char text[VALUE_TEXT];
    int r = old->found ? value_parse_int(ops_old_bytes(old), &value) : 0;
    if (r < 0)
        return ops_not_a_number(w, r, "an int");
    r = value_add_int(value, by, &value);
    if (r < 0)
        return error_set(w->detail, r, "the sum does not fit into 64 bits: the value is unchanged");
    as.type = KIST_INT;
    struct kist_bytes bytes = {text, value_format_int(value, text)};
    r = ops_store(w, key, bytes, &as, old, false);
    os_wipe(text, sizeof text);
    if (r == 0 && out)
        *out = value;
    return r;
}

int ops_increment(struct ops *w, struct kist_bytes key, int64_t by, const struct kist_put_options *o, int64_t *out)
{
    struct ops_old old;
    int r = ops_load(w->txn, key, true, &old);
    if (r < 0)
        return r;
    r = ops_allow(w, &old, o);
    r = r < 0 ? r : ops_add_int(w, key, by, o, &old, out);
    ops_old_done(&old);
    return r;
}

static int ops_add_float(struct ops *w, struct kist_bytes key, double by, const struct kist_put_options *o,
                         const struct ops_old *old, double *out)
{
    struct kist_put_options as = *o;
    double value = 0;
    char text[VALUE_TEXT];
    int r = old->found ? value_parse_float(ops_old_bytes(old), &value) : 0;
    if (r < 0)
        return ops_not_a_number(w, r, "a number");
    r = value_add_float(value, by, &value);
    if (r < 0)
        return error_set(w->detail, r, "the sum is not a finite number: the value is unchanged");
    as.type = KIST_FLOAT;
    struct kist_bytes bytes = {text, value_format_float(value, text)};
    r = ops_store(w, key, bytes, &as, old, false);
    os_wipe(text, sizeof text);
    if (r == 0 && out)
        *out = value;
    return r;
}

int ops_increment_float(struct ops *w, struct kist_bytes key, double by, const struct kist_put_options *o, double *out)
{
    struct ops_old old;
    if (by != by)
        return error_set(w->detail, KIST_EINVAL, "not a number");
    int r = ops_load(w->txn, key, true, &old);
    if (r < 0)
        return r;
    r = ops_allow(w, &old, o);
    r = r < 0 ? r : ops_add_float(w, key, by, o, &old, out);
    ops_old_done(&old);
    return r;
}

static int ops_append_to(struct ops *w, struct kist_bytes key, struct kist_bytes bytes, const struct kist_put_options *o,
                         const struct ops_old *old, size_t *out_len)
{
    struct kist_put_options as = *o;
    struct buf whole;
    size_t old_len = old->found ? old->meta.len : 0;
    int r = ops_value_len(w->detail, bytes.len > KIST_VALUE_MAX ? bytes.len : old_len + bytes.len);
    if (r < 0)
        return r;
    buf_init(&whole, true);
    (void)buf_reserve(&whole, old_len + bytes.len + 1); /* at once, and never nothing */
    buf_add(&whole, old->data, old_len);
    buf_add(&whole, bytes.ptr, bytes.len);
    r = buf_status(&whole);
    struct kist_bytes value = {whole.data, whole.len};
    r = r < 0 ? r : ops_value(w->detail, value, &as.type);
    r = r < 0 ? r : ops_store(w, key, value, &as, old, false);
    if (r == 0 && out_len)
        *out_len = value.len;
    buf_done(&whole);
    return r;
}

int ops_append(struct ops *w, struct kist_bytes key, struct kist_bytes bytes, const struct kist_put_options *o, size_t *out_len)
{
    struct ops_old old;
    if (!bytes.ptr && bytes.len)
        return KIST_EINVAL;
    int r = ops_load(w->txn, key, true, &old);
    if (r < 0)
        return r;
    r = ops_allow(w, &old, o);
    r = r < 0 ? r : ops_append_to(w, key, bytes, o, &old, out_len);
    ops_old_done(&old);
    return r;
}

static int ops_merge_into(struct ops *w, struct kist_bytes key, struct kist_bytes patch, const struct kist_put_options *o,
                          const struct ops_old *old)
{
    struct kist_put_options as = *o;
    struct buf merged;
    if (old->found && old->meta.len == 0)
        return error_set(w->detail, KIST_ETYPE, "the value is empty, not JSON");
    buf_init(&merged, true);
    int r = json_merge_patch(ops_old_bytes(old), patch, &merged);
    if (r == KIST_ETYPE)
        (void)error_set(w->detail, r, "the value is not JSON");
    if (r == KIST_EJSON)
        (void)error_set(w->detail, r, "the patch is not valid JSON");
    as.type = KIST_JSON;
    r = r < 0 ? r : ops_store(w, key, (struct kist_bytes){merged.data, merged.len}, &as, old, false);
    buf_done(&merged);
    return r;
}

int ops_merge(struct ops *w, struct kist_bytes key, struct kist_bytes patch, const struct kist_put_options *o)
{
    struct ops_old old;
    if (!patch.ptr && patch.len)
        return KIST_EINVAL;
    int r = ops_value_len(w->detail, patch.len);
    r = r < 0 ? r : ops_load(w->txn, key, true, &old);
    if (r < 0)
        return r;
    r = ops_allow(w, &old, o);
    r = r < 0 ? r : ops_merge_into(w, key, patch, o, &old);
    ops_old_done(&old);
    return r;
}

int ops_expire(struct ops *w, struct kist_bytes key, int64_t ttl_ms)
{
    struct ops_old old;
    if (ttl_ms == KIST_TTL_KEEP)
        return error_set(w->detail, KIST_EINVAL, "a TTL is 1 to %lld ms, or KIST_TTL_NEVER", (long long)KIST_TTL_MAX);
    int r = ops_ttl(w->detail, ttl_ms);
    r = r < 0 ? r : ops_load(w->txn, key, true, &old);
    if (r < 0)
        return r;
    struct kist_put_options o = {.type = (enum kist_type)(old.meta.type & OPS_TYPE), .ttl_ms = ttl_ms};
    r = old.found ? ops_store(w, key, ops_old_bytes(&old), &o, &old, false) : KIST_ENOKEY;
    ops_old_done(&old);
    return r;
}
