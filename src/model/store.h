/* The open store: an engine, what went wrong last, and whether we are still in the process that
 * opened it. */
#ifndef KIST_MODEL_STORE_H
#define KIST_MODEL_STORE_H

#include "base/error.h"
#include "engine/engine.h"
#include "model/maintain.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>

#define STORE_MAGIC 0x73746f72u

struct kist_store {
    unsigned magic;
    bool read_only;
    const _Atomic uint32_t *here; /* 1 in the process that opened the store, 0 in its children */
    struct engine *engine;
    struct maintain *maintain;  /* NULL: no thread */
    struct error_detail detail; /* the engine writes here too */
};

/* At every entrance: KIST_EINVAL for NULL, KIST_EFORK in a child. */
static inline int store_check(const struct kist_store *store)
{
    if (!store)
        return KIST_EINVAL;
    assert(store->magic == STORE_MAGIC);
    return atomic_load_explicit(store->here, memory_order_relaxed) ? 0 : KIST_EFORK;
}

static inline int store_begin(struct kist_store *store, uint64_t bucket, enum engine_mode mode, struct engine_txn **out)
{
    return store->engine->ops->begin(store->engine, bucket, mode, out);
}

/* What the public options say, checked, for an engine. *out_unlock gets the secret; it borrows from
 * options. */
int store_options(const struct kist_options *options, struct error_detail *detail, struct unlock *out_unlock,
                  struct engine_options *out) KIST_MUST_USE;

/* What a caller reads about a failure that leaves no store to ask: the detail, else the error's own
 * sentence. Gives code back. */
int store_open_failed(int code, const struct error_detail *detail, struct kist_detail *out);

#endif
