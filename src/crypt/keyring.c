/* keyring.c: the keys of a store in memory, and the header file they come from.
 *
 *     a slot -> root key -+-> keyring key (seals the list of data keys)
 *                         +-> header MAC key (authenticates the whole header)
 *                         +-> check key (short keyed checks in the engine's files)
 *                         +-> whatever keyring_derive() is asked for
 *
 * The header is read in the order in which trust grows: magic and version (two errors of their
 * own), then the length and a plain checksum (damage by accident is told before anybody is blamed
 * for a wrong passphrase), then the fields with their limits, then a slot, and with the root key
 * the MAC over everything. Only then is the list of data keys opened and believed. An enemy can
 * make the checksum right again, so that a changed slot looks like a wrong passphrase; he cannot
 * make a changed header open.
 *
 * Everything is one block of secret memory, with room for the list of data keys as it comes out of
 * a header: a second block would be some ten system calls more at each opening. (Writing takes one;
 * it is rare, and may run in two threads at once.) A data key stays in its place for as long
 * as it lives, so that a reader may hold a pointer to it while others come and go. The header has a
 * revision that each change raises: an old header put back under a running process is refused
 * (KIST_EROLLBACK). Against one put back while nobody runs there is only a remembered revision.
 *
 * Dropped: a list of fixed size, which would hide the number of rotations; their times show in the
 * segments anyway. */
#include "crypt/keyring.h"

#include "base/bytes.h"
#include "base/os.h"
#include "crypt/secret.h"

#include <assert.h>
#include <sodium.h>

static const uint8_t keyring_magic[8] = {'K', 'I', 'S', 'T', 'H', 'E', 'A', 'D'};

/* Where the fields are; docs/format.md has the same table. */
enum {
    KEYRING_AT_VERSION = 8,
    KEYRING_AT_SUITE = 10,
    KEYRING_AT_FLAGS = 11,
    KEYRING_AT_LENGTH = 12,
    KEYRING_AT_STORE_ID = 16,
    KEYRING_AT_REVISION = 32,
    KEYRING_AT_CREATED = 40,
    KEYRING_AT_SLOTS = 48,
    KEYRING_AT_COUNT = KEYRING_AT_SLOTS + KEYRING_SLOTS * SLOT_SIZE, /* 1520 */
    KEYRING_AT_NONCE = KEYRING_AT_COUNT + 4,
    KEYRING_AT_SEALED = KEYRING_AT_NONCE + 24, /* 1548 */
};
#define KEYRING_ENTRY 44 /* generation 4, created_ms 8, key 32 */
#define KEYRING_LIST_MAX (KEYRING_ENTRY * KEYRING_KEYS)
#define KEYRING_CHECKSUM 16
#define KEYRING_MAC 32
#define KEYRING_TAIL (SEAL_TAG + KEYRING_CHECKSUM + KEYRING_MAC)
#define KEYRING_LENGTH(count) ((size_t)KEYRING_AT_SEALED + KEYRING_ENTRY * (count) + KEYRING_TAIL)

_Static_assert(KEYRING_LENGTH(KEYRING_KEYS) == KEYRING_ENCODED_MAX, "the header's limit");
_Static_assert(SLOT_STORE_ID == KEYRING_STORE_ID, "one store id");

#define KEYRING_CONTEXT "kisthead" /* crypto_kdf, under the root key */
enum { KEYRING_ID_LIST = 1, KEYRING_ID_MAC = 2 };
#define KEYRING_CHECK_CONTEXT "kistchck"

struct keyring_key {
    uint32_t generation; /* 0: free */
    uint64_t created_ms;
    uint8_t key[SEAL_KEY];
};

#define KEYRING_ALIVE 0x6b657973u

struct keyring {
    uint32_t alive; /* KEYRING_ALIVE */
    int suite;
    uint32_t newest;
    uint64_t revision;
    uint64_t created_ms;
    uint8_t store_id[KEYRING_STORE_ID];
    uint8_t root[SLOT_ROOT];
    uint8_t check_key[KEYRING_CHECK_KEY]; /* of the root key */
    uint8_t slots[KEYRING_SLOTS][SLOT_SIZE];
    struct keyring_key keys[KEYRING_KEYS]; /* in no order; none moves */
    uint8_t list[KEYRING_LIST_MAX];        /* while a header is decoded; else zero */
};

static void keyring_check(const struct keyring *kr)
{
    assert(kr && kr->alive == KEYRING_ALIVE);
}

/* -- making one -- */

static int keyring_alloc(struct keyring **out)
{
    void *p;
    int rc = secret_new(sizeof **out, &p);
    if (rc)
        return rc;
    *out = p;
    (*out)->alive = KEYRING_ALIVE;
    return 0;
}

void keyring_free(struct keyring **kr)
{
    if (!*kr)
        return;
    keyring_check(*kr);
    void *p = *kr;
    *kr = NULL;
    secret_free(&p);
}

int keyring_copy(const struct keyring *kr, struct keyring **out)
{
    keyring_check(kr);
    struct keyring *copy;
    int rc = keyring_alloc(&copy);
    if (rc)
        return rc;
    memcpy(copy, kr, sizeof *kr);
    *out = copy;
    return 0;
}

/* What the root key alone decides. */
static void keyring_rooted(struct keyring *kr)
{
    int rc = crypto_kdf_derive_from_key(kr->check_key, sizeof kr->check_key, 1, KEYRING_CHECK_CONTEXT, kr->root);
    assert(rc == 0);
}

int keyring_new(int suite, const struct unlock *u, struct keyring **out)
{
    struct keyring *kr;
    if (!seal_suite_known(suite))
        return KIST_EINVAL;
    int rc = keyring_alloc(&kr);
    if (rc)
        return rc;
    kr->suite = suite;
    kr->created_ms = (uint64_t)os_now_ms();
    rc = seal_suite_available(suite) ? os_random(kr->store_id, sizeof kr->store_id) : KIST_ENOTSUP;
    if (rc == 0)
        rc = os_random(kr->root, sizeof kr->root);
    if (rc == 0)
        rc = keyring_rotate(kr);
    if (rc == 0)
        rc = slot_wrap(u, kr->store_id, kr->root, NULL, 0, kr->created_ms, kr->slots[0]);
    keyring_rooted(kr);
    kr->revision = 1;
    if (rc)
        keyring_free(&kr);
    else
        *out = kr;
    return rc;
}

/* -- keys -- */

static void keyring_derive_own(const uint8_t root[SLOT_ROOT], uint64_t id, uint8_t out[32])
{
    int rc = crypto_kdf_derive_from_key(out, 32, id, KEYRING_CONTEXT, root);
    assert(rc == 0);
}

void keyring_derive(const struct keyring *kr, const char purpose[8], uint64_t id, uint8_t *out, size_t out_len)
{
    keyring_check(kr);
    assert(out_len >= crypto_kdf_BYTES_MIN && out_len <= crypto_kdf_BYTES_MAX);
    assert(memcmp(purpose, KEYRING_CONTEXT, 8) != 0);
    assert(memcmp(purpose, KEYRING_CHECK_CONTEXT, 8) != 0);
    int rc = crypto_kdf_derive_from_key(out, out_len, id, purpose, kr->root);
    assert(rc == 0);
}

const uint8_t *keyring_check_key(const struct keyring *kr)
{
    keyring_check(kr);
    return kr->check_key;
}

/* The place of a generation (0: a free place), or NULL. */
static const struct keyring_key *keyring_find(const struct keyring *kr, uint32_t generation)
{
    for (int i = 0; i < KEYRING_KEYS; i++)
        if (kr->keys[i].generation == generation)
            return &kr->keys[i];
    return NULL;
}

static struct keyring_key *keyring_find_mutable(struct keyring *kr, uint32_t generation)
{
    const struct keyring_key *k = keyring_find(kr, generation);
    return k ? &kr->keys[k - kr->keys] : NULL;
}

const uint8_t *keyring_data_key(const struct keyring *kr, uint32_t generation)
{
    keyring_check(kr);
    const struct keyring_key *k = generation ? keyring_find(kr, generation) : NULL;
    return k ? k->key : NULL;
}

/* The live keys by ascending generation; returns how many. */
static size_t keyring_sorted(const struct keyring *kr, const struct keyring_key *out[KEYRING_KEYS])
{
    size_t n = 0;
    for (int i = 0; i < KEYRING_KEYS; i++) {
        const struct keyring_key *k = &kr->keys[i];
        if (!k->generation)
            continue;
        size_t at = n++;
        for (; at > 0 && out[at - 1]->generation > k->generation; at--)
            out[at] = out[at - 1];
        out[at] = k;
    }
    return n;
}

size_t keyring_generations(const struct keyring *kr, struct keyring_generation out[KEYRING_KEYS])
{
    const struct keyring_key *keys[KEYRING_KEYS];
    keyring_check(kr);
    size_t n = keyring_sorted(kr, keys);
    for (size_t i = 0; i < n; i++)
        out[i] = (struct keyring_generation){keys[i]->generation, keys[i]->created_ms};
    return n;
}

int keyring_rotate(struct keyring *kr)
{
    keyring_check(kr);
    struct keyring_key *k = keyring_find_mutable(kr, 0);
    if (!k)
        return KIST_ETOOBIG;
    if (kr->newest == UINT32_MAX)
        return KIST_ERANGE;
    int rc = os_random(k->key, sizeof k->key);
    if (rc) {
        sodium_memzero(k, sizeof *k);
        return rc;
    }
    k->created_ms = (uint64_t)os_now_ms();
    k->generation = ++kr->newest;
    kr->revision++;
    return 0;
}

int keyring_retire(struct keyring *kr, uint32_t generation)
{
    keyring_check(kr);
    struct keyring_key *k = generation ? keyring_find_mutable(kr, generation) : NULL;
    if (!k)
        return KIST_ENOKEY;
    if (generation == kr->newest)
        return KIST_EINVAL;
    sodium_memzero(k, sizeof *k);
    kr->revision++;
    return 0;
}

const uint8_t *keyring_store_id(const struct keyring *kr)
{
    keyring_check(kr);
    return kr->store_id;
}

int keyring_suite(const struct keyring *kr)
{
    keyring_check(kr);
    return kr->suite;
}

uint64_t keyring_revision(const struct keyring *kr)
{
    keyring_check(kr);
    return kr->revision;
}

uint64_t keyring_created_ms(const struct keyring *kr)
{
    keyring_check(kr);
    return kr->created_ms;
}

uint32_t keyring_generation(const struct keyring *kr)
{
    keyring_check(kr);
    return kr->newest;
}

/* -- slots -- */

static bool keyring_slot_used(const struct keyring *kr, int slot)
{
    return slot >= 0 && slot < KEYRING_SLOTS && kr->slots[slot][0] != SLOT_EMPTY;
}

int keyring_slot_count(const struct keyring *kr)
{
    int n = 0;
    keyring_check(kr);
    for (int i = 0; i < KEYRING_SLOTS; i++)
        n += keyring_slot_used(kr, i);
    return n;
}

int keyring_slot_describe(const struct keyring *kr, int slot, struct slot_info *out)
{
    keyring_check(kr);
    if (!keyring_slot_used(kr, slot))
        return KIST_ENOKEY;
    return slot_describe(kr->slots[slot], out, NULL);
}

/* What all slots but one cost together. */
static uint64_t keyring_slot_work(const struct keyring *kr, int except)
{
    uint64_t work = 0;
    for (int i = 0; i < KEYRING_SLOTS; i++) {
        struct slot_info info;
        if (i != except && keyring_slot_describe(kr, i, &info) == 0)
            work += info.ops * info.mem;
    }
    return work;
}

/* Wrap the root key into a slot, used or not; it is unchanged on failure. What a reader would
 * refuse is refused here, before the time for it is spent. */
static int keyring_slot_put(struct keyring *kr, int slot, const struct unlock *u, const void *label, size_t label_len)
{
    struct unlock_kdf kdf;
    int rc = unlock_kdf_new(u, &kdf);
    if (rc == 0 && keyring_slot_work(kr, slot) + kdf.ops * kdf.mem > KEYRING_WORK_MAX)
        rc = KIST_ETOOBIG;
    if (rc == 0)
        rc = slot_wrap(u, kr->store_id, kr->root, label, label_len, (uint64_t)os_now_ms(), kr->slots[slot]);
    if (rc == 0)
        kr->revision++;
    return rc;
}

int keyring_slot_add(struct keyring *kr, const struct unlock *u, const void *label, size_t label_len, int *out_slot)
{
    int slot = 0;
    keyring_check(kr);
    while (keyring_slot_used(kr, slot))
        slot++;
    if (slot == KEYRING_SLOTS)
        return KIST_ETOOBIG;
    int rc = keyring_slot_put(kr, slot, u, label, label_len);
    if (rc == 0)
        *out_slot = slot;
    return rc;
}

int keyring_slot_replace(struct keyring *kr, int slot, const struct unlock *u)
{
    struct slot_info info;
    int rc = keyring_slot_describe(kr, slot, &info);
    if (rc)
        return rc;
    return keyring_slot_put(kr, slot, u, info.label, info.label_len);
}

int keyring_slot_remove(struct keyring *kr, int slot)
{
    keyring_check(kr);
    if (!keyring_slot_used(kr, slot))
        return KIST_ENOKEY;
    if (keyring_slot_count(kr) == 1)
        return KIST_EINVAL;
    sodium_memzero(kr->slots[slot], SLOT_SIZE);
    kr->revision++;
    return 0;
}

/* Try u on each slot of its kind, from one on. The root key and the slot's number, or KIST_EKEY. A
 * slot that is u's but was changed, or that costs more than u allows, does not end the search:
 * another one may be whole. What the slots before the right one answered is no failure, so nobody
 * is told. */
static int keyring_slots_open(const uint8_t *slots, int from, const struct unlock *u, const uint8_t *store_id,
                              uint8_t out_root[SLOT_ROOT], int *out_slot, struct error_detail *detail)
{
    struct error_detail worst = {.text = ""};
    int rc = unlock_check(u);
    if (rc)
        return error_set(detail, rc, "not something that opens a store");
    rc = error_set(&worst, KIST_EKEY, "no key slot takes %s", u->kind == UNLOCK_PASSPHRASE ? "a passphrase" : "a raw key");
    for (int i = from; i < KEYRING_SLOTS; i++) {
        const uint8_t *slot = slots + i * SLOT_SIZE;
        if (slot[0] != u->kind)
            continue;
        struct error_detail why = {.text = ""};
        int one = slot_unwrap(slot, u, store_id, out_root, &why);
        if (one == 0) {
            *out_slot = i;
            return 0;
        }
        if (one != KIST_EKEY || rc == KIST_EKEY)
            rc = error_set(&worst, one, "%s", why.text);
    }
    return error_set(detail, rc, "%s", worst.text);
}

int keyring_slot_find(const struct keyring *kr, const struct unlock *u, int from, int *out_slot)
{
    uint8_t root[SLOT_ROOT];
    keyring_check(kr);
    assert(from >= 0);
    int rc = keyring_slots_open(kr->slots[0], from, u, kr->store_id, root, out_slot, NULL);
    sodium_memzero(root, sizeof root);
    return rc;
}

/* -- encoding -- */

/* Seal the list of data keys into the header, whose bytes up to the list are there. */
static int keyring_encode_list(const struct keyring *kr, uint8_t *header, size_t count,
                               const struct keyring_key *const keys[KEYRING_KEYS])
{
    uint8_t key[32];
    void *plain = NULL;
    int rc = secret_new(count * KEYRING_ENTRY, &plain);
    if (rc)
        return rc;
    for (size_t i = 0; i < count; i++) {
        uint8_t *p = (uint8_t *)plain + i * KEYRING_ENTRY;
        bytes_put32(p, keys[i]->generation);
        bytes_put64(p + 4, keys[i]->created_ms);
        memcpy(p + 12, keys[i]->key, SEAL_KEY);
    }
    keyring_derive_own(kr->root, KEYRING_ID_LIST, key);
    (void)crypto_aead_xchacha20poly1305_ietf_encrypt(header + KEYRING_AT_SEALED, NULL, plain, count * KEYRING_ENTRY, header,
                                                     KEYRING_AT_NONCE, NULL, header + KEYRING_AT_NONCE, key);
    sodium_memzero(key, sizeof key);
    secret_free(&plain);
    return 0;
}

/* The MAC of everything before it. */
static void keyring_mac(const uint8_t root[SLOT_ROOT], const uint8_t *header, size_t len, uint8_t out[KEYRING_MAC])
{
    uint8_t key[32];
    keyring_derive_own(root, KEYRING_ID_MAC, key);
    seal_hash(out, KEYRING_MAC, key, sizeof key, header, len - KEYRING_MAC);
    sodium_memzero(key, sizeof key);
}

static void keyring_encode_fields(const struct keyring *kr, uint8_t *header, size_t len, size_t count)
{
    memcpy(header, keyring_magic, sizeof keyring_magic);
    bytes_put16(header + KEYRING_AT_VERSION, KEYRING_FORMAT);
    header[KEYRING_AT_SUITE] = (uint8_t)kr->suite;
    header[KEYRING_AT_FLAGS] = 0;
    bytes_put32(header + KEYRING_AT_LENGTH, (uint32_t)len);
    memcpy(header + KEYRING_AT_STORE_ID, kr->store_id, KEYRING_STORE_ID);
    bytes_put64(header + KEYRING_AT_REVISION, kr->revision);
    bytes_put64(header + KEYRING_AT_CREATED, kr->created_ms);
    memcpy(header + KEYRING_AT_SLOTS, kr->slots, sizeof kr->slots);
    bytes_put32(header + KEYRING_AT_COUNT, (uint32_t)count);
}

int keyring_encode(const struct keyring *kr, struct buf *b)
{
    const struct keyring_key *keys[KEYRING_KEYS];
    uint8_t nonce[24];
    keyring_check(kr);
    int rc = os_random(nonce, sizeof nonce);
    if (rc)
        return rc;
    size_t count = keyring_sorted(kr, keys);
    size_t len = KEYRING_LENGTH(count);
    uint8_t *header = buf_grow(b, len);
    if (!header)
        return KIST_ENOMEM;
    keyring_encode_fields(kr, header, len, count);
    memcpy(header + KEYRING_AT_NONCE, nonce, sizeof nonce);
    rc = keyring_encode_list(kr, header, count, keys);
    if (rc) {
        b->len -= len;
        return rc;
    }
    size_t checked = len - KEYRING_MAC - KEYRING_CHECKSUM;
    seal_hash(header + checked, KEYRING_CHECKSUM, NULL, 0, header, checked);
    keyring_mac(kr->root, header, len, header + len - KEYRING_MAC);
    return 0;
}

/* -- decoding -- */

/* Is it a header of ours, of a version that we read, and whole? */
static int keyring_decode_outside(const uint8_t *header, size_t len, struct error_detail *detail)
{
    if (len && memcmp(header, keyring_magic, bytes_min(len, sizeof keyring_magic)))
        return error_set(detail, KIST_ENOTKIST, "not the header of a store");
    if (len < KEYRING_AT_SUITE)
        return error_set(detail, KIST_ECORRUPT, "the header ends after %zu bytes", len);
    unsigned version = bytes_get16(header + KEYRING_AT_VERSION);
    if (version > KEYRING_FORMAT)
        return error_set(detail, KIST_ENEWER, "header format %u; this kist reads up to %d", version, KEYRING_FORMAT);
    if (version == 0)
        return error_set(detail, KIST_ECORRUPT, "header format 0");
    if (len < KEYRING_LENGTH(1) || len > KEYRING_ENCODED_MAX || bytes_get32(header + KEYRING_AT_LENGTH) != len)
        return error_set(detail, KIST_ECORRUPT, "the header has %zu bytes, not what it says", len);
    return 0;
}

/* What is readable of the slots. */
static int keyring_decode_slots(const uint8_t *slots, struct error_detail *detail)
{
    uint64_t work = 0;
    for (int i = 0; i < KEYRING_SLOTS; i++) {
        struct slot_info info;
        int rc = slot_describe(slots + i * SLOT_SIZE, &info, detail);
        if (rc)
            return rc;
        work += info.ops * info.mem;
    }
    if (work > KEYRING_WORK_MAX)
        return error_set(detail, KIST_ECORRUPT,
                         "the passphrases in the header cost %llu MiB of Argon2id together, "
                         "passes times memory: only %llu are accepted, and no kist writes more. Put "
                         "back an older copy of the header",
                         (unsigned long long)(work >> 20), (unsigned long long)(KEYRING_WORK_MAX >> 20));
    return 0;
}

/* Its readable fields: the checksum, then everything that has a limit. */
static int keyring_decode_fields(const uint8_t *header, size_t len, struct error_detail *detail)
{
    uint8_t sum[KEYRING_CHECKSUM];
    size_t checked = len - KEYRING_MAC - KEYRING_CHECKSUM;
    seal_hash(sum, sizeof sum, NULL, 0, header, checked);
    if (memcmp(sum, header + checked, sizeof sum))
        return error_set(detail, KIST_ECORRUPT, "the header is damaged: its checksum is wrong");
    if (!seal_suite_known(header[KEYRING_AT_SUITE]) || header[KEYRING_AT_FLAGS])
        return error_set(detail, KIST_ENEWER, "an unknown suite (%d) or flag (%d)", (int)header[KEYRING_AT_SUITE],
                         (int)header[KEYRING_AT_FLAGS]);
    uint32_t count = bytes_get32(header + KEYRING_AT_COUNT);
    if (count == 0 || count > KEYRING_KEYS || KEYRING_LENGTH(count) != len)
        return error_set(detail, KIST_ECORRUPT, "the header does not fit %u data keys", (unsigned)count);
    int rc = keyring_decode_slots(header + KEYRING_AT_SLOTS, detail);
    if (rc)
        return rc;
    if (!seal_suite_available(header[KEYRING_AT_SUITE]))
        return error_set(detail, KIST_ENOTSUP, "suite %d: this machine lacks the instructions", (int)header[KEYRING_AT_SUITE]);
    return 0;
}

/* The data keys into an empty kr that has the root key. */
static int keyring_decode_list(struct keyring *kr, const uint8_t *header)
{
    uint8_t key[32];
    size_t count = bytes_get32(header + KEYRING_AT_COUNT);
    int rc = 0;
    keyring_derive_own(kr->root, KEYRING_ID_LIST, key);
    if (crypto_aead_xchacha20poly1305_ietf_decrypt(kr->list, NULL, NULL, header + KEYRING_AT_SEALED,
                                                   count * KEYRING_ENTRY + SEAL_TAG, header, KEYRING_AT_NONCE,
                                                   header + KEYRING_AT_NONCE, key))
        rc = KIST_ECORRUPT;
    for (size_t i = 0; i < count && rc == 0; i++) {
        const uint8_t *p = kr->list + i * KEYRING_ENTRY;
        struct keyring_key *k = &kr->keys[i];
        k->generation = bytes_get32(p);
        k->created_ms = bytes_get64(p + 4);
        memcpy(k->key, p + 12, SEAL_KEY);
        if (k->generation <= kr->newest) /* ascending from 1, so none twice */
            rc = KIST_ECORRUPT;
        kr->newest = k->generation;
    }
    sodium_memzero(key, sizeof key);
    sodium_memzero(kr->list, sizeof kr->list);
    return rc;
}

/* Everything that the root key, which kr has, vouches for. */
static int keyring_decode_inside(struct keyring *kr, const uint8_t *header, size_t len, struct error_detail *detail)
{
    uint8_t mac[KEYRING_MAC];
    keyring_mac(kr->root, header, len, mac);
    if (!secret_equal(mac, header + len - KEYRING_MAC, KEYRING_MAC))
        return error_set(detail, KIST_ECORRUPT, "the header was changed: it does not authenticate");
    kr->suite = header[KEYRING_AT_SUITE];
    kr->revision = bytes_get64(header + KEYRING_AT_REVISION);
    kr->created_ms = bytes_get64(header + KEYRING_AT_CREATED);
    memcpy(kr->store_id, header + KEYRING_AT_STORE_ID, KEYRING_STORE_ID);
    memcpy(kr->slots, header + KEYRING_AT_SLOTS, sizeof kr->slots);
    keyring_rooted(kr);
    int rc = keyring_decode_list(kr, header);
    return rc ? error_set(detail, rc, "the list of data keys does not open") : 0;
}

int keyring_decode(const void *bytes, size_t len, const struct unlock *u, struct keyring **out, struct error_detail *detail)
{
    const uint8_t *header = bytes;
    struct keyring *kr;
    int slot;
    int rc = keyring_decode_outside(header, len, detail);
    if (rc == 0)
        rc = keyring_decode_fields(header, len, detail);
    if (rc == 0)
        rc = keyring_alloc(&kr);
    if (rc)
        return rc;
    rc = keyring_slots_open(header + KEYRING_AT_SLOTS, 0, u, header + KEYRING_AT_STORE_ID, kr->root, &slot, detail);
    if (rc == 0)
        rc = keyring_decode_inside(kr, header, len, detail);
    if (rc)
        keyring_free(&kr);
    else
        *out = kr;
    return rc;
}

/* Move what is in fresh into kr; data keys that both have stay where they are in kr. */
static void keyring_take_over(struct keyring *kr, const struct keyring *fresh)
{
    for (int i = 0; i < KEYRING_KEYS; i++)
        if (kr->keys[i].generation && !keyring_find(fresh, kr->keys[i].generation))
            sodium_memzero(&kr->keys[i], sizeof kr->keys[i]);
    for (int i = 0; i < KEYRING_KEYS; i++) {
        const struct keyring_key *k = &fresh->keys[i];
        if (k->generation && !keyring_find(kr, k->generation)) {
            struct keyring_key *place = keyring_find_mutable(kr, 0);
            assert(place); /* fresh has no more than there is room for */
            *place = *k;
        }
    }
    kr->newest = fresh->newest;
    kr->revision = fresh->revision;
    kr->created_ms = fresh->created_ms;
    memcpy(kr->slots, fresh->slots, sizeof kr->slots);
}

/* May the authentic header in fresh follow what kr holds? */
static int keyring_reload_check(const struct keyring *kr, const struct keyring *fresh)
{
    if (memcmp(fresh->store_id, kr->store_id, KEYRING_STORE_ID) || fresh->suite != kr->suite)
        return KIST_ECORRUPT;
    if (fresh->revision < kr->revision || fresh->newest < kr->newest)
        return KIST_EROLLBACK;
    for (int i = 0; i < KEYRING_KEYS; i++) {
        const uint8_t *mine = keyring_data_key(kr, fresh->keys[i].generation);
        if (mine && !secret_equal(mine, fresh->keys[i].key, SEAL_KEY))
            return KIST_ECORRUPT; /* two writers made one generation */
    }
    return 0;
}

int keyring_reload(struct keyring *kr, const void *bytes, size_t len)
{
    struct keyring *fresh;
    keyring_check(kr);
    int rc = keyring_decode_outside(bytes, len, NULL);
    if (rc == 0)
        rc = keyring_decode_fields(bytes, len, NULL);
    if (rc == 0)
        rc = keyring_alloc(&fresh);
    if (rc)
        return rc;
    memcpy(fresh->root, kr->root, SLOT_ROOT);
    rc = keyring_decode_inside(fresh, bytes, len, NULL);
    if (rc == 0)
        rc = keyring_reload_check(kr, fresh);
    if (rc == 0)
        keyring_take_over(kr, fresh);
    keyring_free(&fresh);
    return rc;
}
