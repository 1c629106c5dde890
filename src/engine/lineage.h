/* Which history the revisions of a store count: what an increment has to go on from. docs/format.md, "Lineage". */
#ifndef KIST_ENGINE_LINEAGE_H
#define KIST_ENGINE_LINEAGE_H

#include "engine/log.h"

#define LINEAGE_ID 16u
#define LINEAGE_VALUE 41u /* bytes of the record's value */

struct lineage {
    uint8_t own[LINEAGE_ID];    /* of the store's own commits: its backups have it */
    uint8_t parent[LINEAGE_ID]; /* a restored store: of the backups that it can be brought forward by */
    uint64_t fed;               /* and the newest revision of that lineage that it holds; 0: the store was made, not restored */
    uint64_t begins;            /* and the first revision of its own lineage */
};

/* Is this index key the lineage's record? It is a store's own: no backup has it, no restore takes it. */
bool lineage_is(const uint8_t *index_key, size_t n);
/* What root says; a store without the record was made, and its id is its lineage. The root is held, nothing of the record is
 * pending. KIST_ECORRUPT, KIST_ENEWER, or as read_value(). */
int lineage_read(struct log *log, const struct tree_root *root, struct lineage *out) KIST_MUST_USE;
/* The put that records it; value holds what the operation points to. */
struct frame_op lineage_record(const struct lineage *l, uint8_t value[LINEAGE_VALUE]);
/* Restored, and without operations of its own: it can be brought forward. State held. */
bool lineage_standby(const struct log *log);

#endif
