/* A key slot: the root key wrapped under one passphrase or one raw key. 184 bytes, the layout is in
 * docs/format.md. */
#ifndef KIST_CRYPT_SLOT_H
#define KIST_CRYPT_SLOT_H

#include "base/error.h"
#include "crypt/unlock.h"

#include <stddef.h>
#include <stdint.h>

#define SLOT_SIZE 184
#define SLOT_LABEL_MAX 32
#define SLOT_ROOT 32 /* the root key */
#define SLOT_STORE_ID 16

#define SLOT_EMPTY 0 /* the kind of a slot that nobody uses: 184 zero bytes */

/* What may be shown of a slot. */
struct slot_info {
    int kind; /* SLOT_EMPTY or an unlock_kind */
    uint64_t created_ms;
    uint64_t ops; /* of a passphrase */
    uint64_t mem;
    size_t label_len;
    char label[SLOT_LABEL_MAX + 1]; /* any bytes; a NUL follows */
};

/* Wrap root for u. The label is stored readable. KIST_ETOOBIG (label), KIST_EINVAL (u),
 * KIST_ENOMEM, KIST_EIO. */
int slot_wrap(const struct unlock *u, const uint8_t store_id[SLOT_STORE_ID], const uint8_t root[SLOT_ROOT], const void *label,
              size_t label_len, uint64_t created_ms, uint8_t out_slot[SLOT_SIZE]) KIST_MUST_USE;

/* Read what is readable and refuse what no writer makes, needing no key and no memory:
 * KIST_ECORRUPT (limits are named), KIST_ENEWER for a kind that we do not know. */
int slot_describe(const uint8_t slot[SLOT_SIZE], struct slot_info *out, struct error_detail *detail) KIST_MUST_USE;

/* The root key. KIST_EKEY: not this passphrase or key (or an empty slot). KIST_ECORRUPT: the right
 * one, but the slot was changed. Else as slot_describe and unlock_key. */
int slot_unwrap(const uint8_t slot[SLOT_SIZE], const struct unlock *u, const uint8_t store_id[SLOT_STORE_ID],
                uint8_t out_root[SLOT_ROOT], struct error_detail *detail) KIST_MUST_USE;

#endif
