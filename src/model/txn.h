/* An open transaction. */
#ifndef KIST_MODEL_TXN_H
#define KIST_MODEL_TXN_H

#include "model/ops.h"
#include "model/store.h"

#define TXN_MAGIC 0x74786e21u

struct kist_txn {
    unsigned magic;
    struct kist_store *store;
    enum kist_txn_mode mode;
    struct ops ops;   /* with the engine's transaction in it */
    uint64_t writes;  /* counts them: a cursor sees that it has to look anew */
    uint64_t cursors; /* open ones */
};

/* At every entrance: KIST_EINVAL for NULL, KIST_EFORK. */
static inline int txn_check(const struct kist_txn *txn)
{
    if (!txn)
        return KIST_EINVAL;
    assert(txn->magic == TXN_MAGIC);
    return store_check(txn->store);
}

#endif
