/* A bucket that somebody opened. */
#ifndef KIST_MODEL_BUCKET_H
#define KIST_MODEL_BUCKET_H

#include "model/catalog.h"
#include "model/store.h"

#include <pthread.h>

#define BUCKET_MAGIC 0x62756b74u

struct kist_bucket {
    unsigned magic;
    struct kist_store *store;
    uint64_t number;      /* never changes, never used for another bucket */
    pthread_mutex_t lock; /* over the rest: what the catalog said last */
    uint64_t revision;    /* of the bucket's record; 0 while it is made up */
    int64_t default_ttl_ms;
};

/* At every entrance: KIST_EINVAL for NULL, KIST_EFORK. */
static inline int bucket_check(const struct kist_bucket *bucket)
{
    if (!bucket)
        return KIST_EINVAL;
    assert(bucket->magic == BUCKET_MAGIC);
    return store_check(bucket->store);
}

/* The default TTL as it is now, whoever changed it. KIST_ENOBUCKET. */
int bucket_ttl(struct kist_bucket *bucket, int64_t *out_ttl_ms) KIST_MUST_USE;

#endif
