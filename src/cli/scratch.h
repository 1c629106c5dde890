/* A private directory in memory for one plaintext file, and its wiping. */
#ifndef KIST_CLI_SCRATCH_H
#define KIST_CLI_SCRATCH_H

#include "base/buf.h"
#include "base/error.h"

#define SCRATCH_PATH 4096

struct scratch {
    int parent, dir, lock;   /* descriptors */
    char name[40];           /* of the directory in its parent */
    char path[SCRATCH_PATH]; /* of the file */
    const char *file;        /* its name: the end of path */
};

/* Make it on a tmpfs: $XDG_RUNTIME_DIR if that is one, else /dev/shm. What a killed kist left
 * behind there is wiped first. file becomes the name of the file. All of these: 0, or the exit
 * status after saying what is wrong. */
int scratch_open(const char *command, const char *file, struct scratch *out) KIST_MUST_USE;
int scratch_write(const char *command, struct scratch *s, struct kist_bytes text) KIST_MUST_USE;
/* By name, for an editor may have put another file in its place; only a plain file is read. */
int scratch_read(const char *command, struct scratch *s, struct buf *out) KIST_MUST_USE;
/* Wipe and remove the directory and all that is in it. */
void scratch_close(const char *command, struct scratch *s);

#endif
