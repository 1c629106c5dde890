/* The secret that opens a store: from a file, a descriptor, the environment's file, or a prompt;
 * never from the arguments. */
#ifndef KIST_CLI_CREDENTIAL_H
#define KIST_CLI_CREDENTIAL_H

#include "cli/args.h"

struct credential {
    struct kist_secret secret; /* ptr is the memory below */
    void *memory;              /* locked and guarded; wiped by credential_done() */
};

/* The secret that opens the store now; a prompt names the store. All of these: 0, a negative
 * KIST_E…, or the exit status after saying what is wrong. */
int credential_open(const struct args *a, const char *store, struct credential *out) KIST_MUST_USE;
/* The secret of a new store: as above, but a prompted passphrase is asked for twice. */
int credential_first(const struct args *a, const char *store, struct credential *out) KIST_MUST_USE;
/* A secret to be added: --new-key, --new-key-file, --new-passphrase-fd, or a passphrase asked for
 * twice. */
int credential_new(const struct args *a, const char *store, struct credential *out) KIST_MUST_USE;
/* Make a random key and write it to path (0600, which must not exist), durably. */
int credential_make(const char *command, const char *path, struct credential *out) KIST_MUST_USE;
/* Make the name of a new file durable: fsync the directory that it is in. */
int credential_sync_parent(const char *path) KIST_MUST_USE;
/* Wipe and free; what is empty is fine. */
void credential_done(struct credential *c);

#endif
