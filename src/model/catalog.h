/* The records about buckets, in bucket 0. */
#ifndef KIST_MODEL_CATALOG_H
#define KIST_MODEL_CATALOG_H

#include "model/store.h"

#define CATALOG_DEFAULT UINT64_C(1) /* the number of the bucket "default" */
#define CATALOG_DEFAULT_NAME "default"

struct catalog_record {
    uint64_t number;
    uint64_t revision; /* of the commit that wrote it; 0: it is not there, this is what stands in
                          for it */
    struct kist_bucket_info info;
};

/* Wipes it: it holds a name. */
void catalog_done(struct catalog_record *record);

/* In a transaction on bucket 0. KIST_ENOBUCKET when there is no such bucket. A store that was never
 * opened for writing after its making has no "default" yet: then its record is made up, empty. */
int catalog_find(struct engine_txn *txn, const char *name_or_id, struct catalog_record *out) KIST_MUST_USE;
int catalog_get(struct engine_txn *txn, uint64_t number, struct catalog_record *out) KIST_MUST_USE;
/* Only the revision of the record, without reading it. */
int catalog_revision(struct engine_txn *txn, uint64_t number, uint64_t *out) KIST_MUST_USE;

/* Give record->number the next number and write it. KIST_EEXIST its name is taken. */
int catalog_add(struct engine_txn *txn, struct catalog_record *record) KIST_MUST_USE;
/* Write a record anew that was called old_name before. KIST_EEXIST. */
int catalog_change(struct engine_txn *txn, const struct catalog_record *record, const char *old_name) KIST_MUST_USE;
int catalog_remove(struct engine_txn *txn, const struct catalog_record *record) KIST_MUST_USE;

/* Call each() for all of them in the order of their numbers. */
int catalog_walk(struct engine_txn *txn, int (*each)(const struct catalog_record *record, void *ctx), void *ctx) KIST_MUST_USE;

/* With transactions of their own: see that "default" is there; count the buckets and the catalog's
 * own records. */
int catalog_make_default(struct kist_store *store) KIST_MUST_USE;
int catalog_count(struct kist_store *store, uint64_t *out_buckets, uint64_t *out_records) KIST_MUST_USE;

#endif
