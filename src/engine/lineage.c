/* lineage.c: which history the revisions of a store count.
 *
 * A revision is a number, and two stores that come from one have the same numbers for different commits. So a backup
 * carries the id of the lineage that its revisions count, and an increment goes only onto a store that was fed by that
 * lineage and by nobody else. A store that was made has its store id as lineage; each restore, whole or not, begins a new
 * one, because from there on the store's own revisions are those of no other store.
 *
 * The record is in the catalog like any other, so compaction and snapshots carry it. Its revision is the revision of the
 * parent that the store holds. Nothing that a restore puts into a store has a greater one, and every operation of the
 * store's own has; so "has it been written to" is a comparison with the newest revision that was applied (log->newest).
 *
 * Tried and dropped: deciding by the records alone (deletes leave none, and a fork may have written the same number under the
 * same key); a place in the MANIFEST (every roll and every reader of it would have to carry it). */
#include "engine/lineage.h"

#define LINEAGE_VERSION 1

static const uint8_t lineage_key[1] = {'l'};

bool lineage_is(const uint8_t *index_key, size_t n)
{
    return n == 8 + sizeof lineage_key && bytes_get64be(index_key) == ENGINE_CATALOG &&
           memcmp(index_key + 8, lineage_key, sizeof lineage_key) == 0;
}

static bool lineage_find(const struct tree_root *root, struct entry *out)
{
    uint8_t key[LOG_INDEX_KEY];
    size_t len = 0, n = log_index_key(ENGINE_CATALOG, (struct kist_bytes){lineage_key, sizeof lineage_key}, key);
    const uint8_t *p = tree_find(root, key, n, &len);
    return p && entry_decode(p, len, out);
}

struct frame_op lineage_record(const struct lineage *l, uint8_t value[LINEAGE_VALUE])
{
    value[0] = LINEAGE_VERSION;
    memcpy(value + 1, l->own, LINEAGE_ID);
    memcpy(value + 1 + LINEAGE_ID, l->parent, LINEAGE_ID);
    bytes_put64(value + 1 + 2 * LINEAGE_ID, l->begins);
    return (struct frame_op){.kind = FRAME_PUT,
                             .bucket = ENGINE_CATALOG,
                             .revision = l->fed,
                             .key = lineage_key,
                             .key_len = sizeof lineage_key,
                             .value = value,
                             .len = LINEAGE_VALUE};
}

static int lineage_decode(struct log *log, const uint8_t *value, const struct entry *e, struct lineage *out)
{
    if (e->len > 0 && value[0] > LINEAGE_VERSION)
        return error_set(log->base.detail, KIST_ENEWER, "the store was restored by a newer version of kist");
    if (e->len != LINEAGE_VALUE || value[0] != LINEAGE_VERSION)
        return error_set(log->base.detail, KIST_ECORRUPT, "the record about the store's lineage does not make sense");
    memcpy(out->own, value + 1, LINEAGE_ID);
    memcpy(out->parent, value + 1 + LINEAGE_ID, LINEAGE_ID);
    out->begins = bytes_get64(value + 1 + 2 * LINEAGE_ID);
    out->fed = e->revision;
    return 0;
}

int lineage_read(struct log *log, const struct tree_root *root, struct lineage *out)
{
    struct entry e;
    void *value = NULL;
    if (!lineage_find(root, &e)) {
        *out = (struct lineage){.fed = 0};
        memcpy(out->own, log->store_id, LINEAGE_ID);
        return 0;
    }
    int r = read_value(log, &e, false, &value);
    if (r == 0)
        r = lineage_decode(log, value, &e, out);
    os_free(value);
    return r;
}

bool lineage_standby(const struct log *log)
{
    struct tree_root root = tree_working(log->index);
    struct entry e;
    return lineage_find(&root, &e) && log->newest <= e.revision;
}
