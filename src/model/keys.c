/* keys.c: keys as text, and the key slots of a store.
 *
 * The work is done in the crypt room (keytext.c, keyring.c) and by the engine, which writes the
 * header; here public secrets become what those take, and their answers become the ones that kist.h
 * promises. An edit runs inside the engine's keyring_change() under the header lock, on a copy:
 * when it fails, or its write does, nothing has changed. Secrets are borrowed for the call and
 * never copied here. */
#include "model/keys.h"

#include "base/os.h"
#include "crypt/keyring.h"
#include "crypt/keytext.h"
#include "model/store.h"

#include <string.h>

_Static_assert(KIST_SLOTS_MAX == KEYRING_SLOTS, "as many slots as the header has");
_Static_assert(KIST_SLOT_LABEL_MAX <= SLOT_LABEL_MAX, "a label fits into its slot");

/* kist.h names them: 6 passes, 256 MiB. */
#define KEYS_LIMIT_OPS (2 * UNLOCK_OPS_DEFAULT)
#define KEYS_LIMIT_MEM (4 * UNLOCK_MEM_DEFAULT)

/* -- keys -- */

int kist_key_generate(uint8_t out_key[32])
{
    uint8_t key[KIST_SECRET_LEN];
    if (!out_key)
        return KIST_EINVAL;
    int r = os_random(key, sizeof key);
    if (r == 0)
        memcpy(out_key, key, sizeof key);
    os_wipe(key, sizeof key);
    return r;
}

int kist_key_parse(struct kist_bytes text, uint8_t out_key[32], struct kist_detail *out_detail)
{
    struct error_detail detail = {0};
    if (!out_key || (!text.ptr && text.len))
        return KIST_EINVAL;
    int r = keytext_decode(text.ptr ? text.ptr : "", text.len, out_key, &detail);
    if (r < 0 && out_detail)
        memcpy(out_detail->text, detail.text, sizeof out_detail->text);
    return r;
}

void kist_key_format(const uint8_t key[32], char out_text[45])
{
    keytext_encode(key, out_text);
}

static int keys_check(const struct unlock *u, struct error_detail *detail)
{
    int r = unlock_check(u);
    if (r == KIST_ETOOBIG)
        return error_set(detail, r, "a passphrase has at most %u bytes", KIST_PASSPHRASE_MAX);
    if (r < 0 && u->kind == UNLOCK_RAW)
        return error_set(detail, r, "a key is %u bytes, not all zero", KIST_SECRET_LEN);
    if (r < 0)
        return error_set(detail, r, "a passphrase is empty");
    if ((u->ops && u->ops > UNLOCK_OPS_MAX) || (u->mem && (u->mem < UNLOCK_MEM_MIN || u->mem > UNLOCK_MEM_MAX)))
        return error_set(detail, KIST_EINVAL, "a passphrase takes 1 to %d passes over %llu to %llu KiB", UNLOCK_OPS_MAX,
                         (unsigned long long)(UNLOCK_MEM_MIN >> 10), (unsigned long long)(UNLOCK_MEM_MAX >> 10));
    return 0;
}

int keys_unlock(const struct kist_secret *secret, struct error_detail *detail, struct unlock *out)
{
    struct unlock u = {.ptr = secret->ptr, .len = secret->len};
    switch (secret->kind) {
    case KIST_SECRET_KEY:
        u.kind = UNLOCK_RAW;
        break;
    case KIST_SECRET_PASSPHRASE:
        u.kind = UNLOCK_PASSPHRASE;
        u.ops = secret->kdf_ops;
        u.mem = (uint64_t)secret->kdf_mem_kib << 10;
        break;
    default:
        return error_set(detail, KIST_EINVAL, "a key or a passphrase is needed");
    }
    if (!u.ptr)
        return error_set(detail, KIST_EINVAL, "the secret is NULL");
    int r = keys_check(&u, detail);
    if (r == 0)
        *out = u;
    return r;
}

void keys_limit(struct unlock *u)
{
    u->max_ops = u->ops ? u->ops : KEYS_LIMIT_OPS;
    u->max_mem = u->mem ? u->mem : KEYS_LIMIT_MEM;
}

/* -- slots -- */

struct keys_list {
    struct kist_slot_info slots[KIST_SLOTS_MAX];
    size_t n;
};

static int keys_list(const struct keyring *k, void *ctx)
{
    struct keys_list *list = ctx;
    for (int slot = 0; slot < KEYRING_SLOTS; slot++) {
        struct slot_info info;
        int r = keyring_slot_describe(k, slot, &info);
        if (r == KIST_ENOKEY)
            continue;
        if (r < 0)
            return r;
        struct kist_slot_info *out = &list->slots[list->n++];
        *out = (struct kist_slot_info){.slot = slot};
        out->kind = info.kind == UNLOCK_RAW ? KIST_SECRET_KEY : KIST_SECRET_PASSPHRASE;
        size_t len = info.label_len < KIST_SLOT_LABEL_MAX ? info.label_len : KIST_SLOT_LABEL_MAX;
        memcpy(out->label, info.label, len);
    }
    return 0;
}

int kist_slot_list(struct kist_store *store, struct kist_slot_info out_slots[KIST_SLOTS_MAX], size_t *out_n)
{
    struct keys_list list = {.n = 0};
    int r = store_check(store);
    if (r < 0 || !out_slots || !out_n)
        return r < 0 ? r : KIST_EINVAL;
    r = store->engine->ops->keyring_read(store->engine, keys_list, &list);
    if (r < 0)
        return r;
    memcpy(out_slots, list.slots, list.n * sizeof *out_slots);
    *out_n = list.n;
    return 0;
}

struct keys_edit {
    struct error_detail *detail;
    struct unlock old, new;
    const char *label;
    int slot;
};

/* Edit the keyring of a store that may be written. */
static int keys_change(struct kist_store *store, int (*fn)(struct keyring *k, void *ctx), struct keys_edit *edit)
{
    if (store->read_only)
        return error_set(&store->detail, KIST_EREADONLY, "the store was opened read-only");
    return store->engine->ops->keyring_change(store->engine, fn, edit);
}

/* What a slot answers that cannot be made. Its label was looked at before: only costs are left to
 * be too large. */
static int keys_refused(const struct keys_edit *e, int r)
{
    if (r != KIST_ETOOBIG)
        return r;
    return error_set(e->detail, r,
                     "with this one the passphrases of the store would cost more than %llu MiB of "
                     "Argon2id together, passes times memory: take a smaller kdf_ops or "
                     "kdf_mem_kib, or remove a slot",
                     (unsigned long long)(KEYRING_WORK_MAX >> 20));
}

static int keys_add(struct keyring *k, void *ctx)
{
    struct keys_edit *e = ctx;
    if (keyring_slot_count(k) == KEYRING_SLOTS)
        return error_set(e->detail, KIST_EFULL, "all %d key slots are used: remove one", KEYRING_SLOTS);
    return keys_refused(e, keyring_slot_add(k, &e->new, e->label, strlen(e->label), &e->slot));
}

int kist_slot_add(struct kist_store *store, const struct kist_secret *secret, const char *label, int *out_slot)
{
    struct keys_edit edit = {.label = label ? label : ""};
    int r = store_check(store);
    if (r < 0 || !secret)
        return r < 0 ? r : KIST_EINVAL;
    edit.detail = &store->detail;
    if (strnlen(edit.label, KIST_SLOT_LABEL_MAX + 1) > KIST_SLOT_LABEL_MAX)
        return error_set(edit.detail, KIST_ETOOBIG, "a slot's label has at most %d bytes", KIST_SLOT_LABEL_MAX);
    r = keys_unlock(secret, edit.detail, &edit.new);
    r = r < 0 ? r : keys_change(store, keys_add, &edit);
    if (r == 0 && out_slot)
        *out_slot = edit.slot;
    return r;
}

static int keys_remove(struct keyring *k, void *ctx)
{
    const struct keys_edit *e = ctx;
    struct slot_info info;
    int r = keyring_slot_describe(k, e->slot, &info);
    if (r == KIST_ENOKEY)
        return error_set(e->detail, KIST_EINVAL, "key slot %d is not in use", e->slot);
    if (r < 0)
        return r;
    if (keyring_slot_count(k) == 1)
        return error_set(e->detail, KIST_EDENIED, "the last key slot stays: nothing else opens the store");
    return keyring_slot_remove(k, e->slot);
}

int kist_slot_remove(struct kist_store *store, int slot)
{
    struct keys_edit edit = {.slot = slot};
    int r = store_check(store);
    if (r < 0)
        return r;
    edit.detail = &store->detail;
    if (slot < 0 || slot >= KIST_SLOTS_MAX)
        return error_set(edit.detail, KIST_EINVAL, "key slots are numbered 0 to %d", KIST_SLOTS_MAX - 1);
    return keys_change(store, keys_remove, &edit);
}

/* Empty the slots behind e->slot that the old secret opens, too. */
static int keys_forget(struct keyring *k, const struct keys_edit *e)
{
    int slot = e->slot, r = 0;
    while (r == 0) {
        r = keyring_slot_find(k, &e->old, slot + 1, &slot);
        if (r == 0)
            r = keyring_slot_remove(k, slot);
    }
    return r == KIST_EKEY ? 0 : r;
}

/* The old secret opens nothing afterwards, or a changed passphrase would still be good. */
static int keys_replace(struct keyring *k, void *ctx)
{
    struct keys_edit *e = ctx;
    int r = keyring_slot_find(k, &e->old, 0, &e->slot);
    if (r == KIST_EKEY)
        return error_set(e->detail, r, "the old secret opens none of the key slots");
    if (r == 0)
        r = keys_forget(k, e);
    return r < 0 ? r : keys_refused(e, keyring_slot_replace(k, e->slot, &e->new));
}

int kist_slot_change(struct kist_store *store, const struct kist_secret *old_secret, const struct kist_secret *new_secret)
{
    struct keys_edit edit = {0};
    int r = store_check(store);
    if (r < 0 || !old_secret || !new_secret)
        return r < 0 ? r : KIST_EINVAL;
    edit.detail = &store->detail;
    r = keys_unlock(old_secret, edit.detail, &edit.old);
    r = r < 0 ? r : keys_unlock(new_secret, edit.detail, &edit.new);
    return r < 0 ? r : keys_change(store, keys_replace, &edit);
}

int kist_rotate(struct kist_store *store, bool resume, kist_progress_fn *progress, void *progress_ctx)
{
    int r = store_check(store);
    return r < 0 ? r : store->engine->ops->rotate(store->engine, resume, progress, progress_ctx);
}
