/* The operations on records, once for single calls and for transactions: what the flags, types,
 * limits and TTLs mean. */
#ifndef KIST_MODEL_OPS_H
#define KIST_MODEL_OPS_H

#include "base/error.h"
#include "engine/engine.h"

#include <stdbool.h>

/* The type that an engine keeps beside a value: enum kist_type, and whether the TTL (or its
 * absence) was asked for. */
#define OPS_TYPE 3u
#define OPS_TTL_OWN ENGINE_OWN_EXPIRY

struct ops {
    struct engine_txn *txn; /* that may write */
    struct error_detail *detail;
    int64_t default_ttl_ms; /* of the bucket; looked at only for KIST_TTL_KEEP */
    bool borrow;            /* the value given to ops_put() stays where it is until the commit */
};

/* A record as it was found. */
struct ops_old {
    bool found;
    struct engine_meta meta;
    void *data; /* NULL when it was not asked for or not found */
};

/* -- before any lock: what a caller gave. KIST_EINVAL, KIST_ETOOBIG -- */

int ops_key(struct error_detail *detail, struct kist_bytes key) KIST_MUST_USE;
int ops_options(struct error_detail *detail, const struct kist_put_options *given, struct kist_put_options *out) KIST_MUST_USE;
/* The same for deleting, where type and TTL do not count and may be anything. */
int ops_delete_options(struct error_detail *detail, const struct kist_put_options *given,
                       struct kist_put_options *out) KIST_MUST_USE;
/* Length and type of a value; KIST_DETECT becomes what it is. KIST_ETYPE, KIST_EJSON. */
int ops_value(struct error_detail *detail, struct kist_bytes value, enum kist_type *io_type) KIST_MUST_USE;

/* -- reading -- */

int ops_get(struct engine_txn *txn, struct kist_bytes key, struct kist_value *out) KIST_MUST_USE;
/* Without the bytes. */
int ops_describe(struct engine_txn *txn, struct kist_bytes key, struct kist_value *out) KIST_MUST_USE;
/* A value out of what the engine said; data becomes the value's. */
struct kist_value ops_value_of(const struct engine_meta *meta, void *data);

/* -- writing; options as ops_options() gave them, values as ops_value() let them through -- */

int ops_put(struct ops *w, struct kist_bytes key, struct kist_bytes value, const struct kist_put_options *o) KIST_MUST_USE;
/* out_existed may be NULL: then, without flags, nothing is read and a transaction does not depend
 * on the record. */
int ops_delete(struct ops *w, struct kist_bytes key, const struct kist_put_options *o, bool *out_existed) KIST_MUST_USE;
int ops_increment(struct ops *w, struct kist_bytes key, int64_t by, const struct kist_put_options *o, int64_t *out) KIST_MUST_USE;
int ops_increment_float(struct ops *w, struct kist_bytes key, double by, const struct kist_put_options *o,
                        double *out) KIST_MUST_USE;
int ops_append(struct ops *w, struct kist_bytes key, struct kist_bytes bytes, const struct kist_put_options *o,
               size_t *out_len) KIST_MUST_USE;
int ops_merge(struct ops *w, struct kist_bytes key, struct kist_bytes patch, const struct kist_put_options *o) KIST_MUST_USE;
int ops_expire(struct ops *w, struct kist_bytes key, int64_t ttl_ms) KIST_MUST_USE;

/* The three steps that they are made of, for operations of other files. */
int ops_load(struct engine_txn *txn, struct kist_bytes key, bool data, struct ops_old *out) KIST_MUST_USE;
void ops_old_done(struct ops_old *old); /* wipes */
int ops_allow(const struct ops *w, const struct ops_old *old, const struct kist_put_options *o) KIST_MUST_USE;
/* Put value with o->type, in place of old. borrow: see struct ops. */
int ops_store(struct ops *w, struct kist_bytes key, struct kist_bytes value, const struct kist_put_options *o,
              const struct ops_old *old, bool borrow) KIST_MUST_USE;

/* When a record expires that is written now: 0 never. *out_own: as OPS_TTL_OWN. */
int64_t ops_expires(int64_t ttl_ms, const struct ops_old *old, int64_t default_ttl_ms, bool *out_own);
/* now + ttl, without ever leaving the range or meaning "never". */
int64_t ops_after(int64_t now_ms, int64_t ttl_ms);

#endif
