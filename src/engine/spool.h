/* A stream in a file without a name. */
#ifndef KIST_ENGINE_SPOOL_H
#define KIST_ENGINE_SPOOL_H

#include "base/error.h"

#define SPOOL_NAME ".kist-restore.tmp" /* that it has for a moment */

int spool_open_dir(const char *path, int *out) KIST_MUST_USE;
/* All that read gives, in a new file in the directory at path, or if there is none in parent: the user may have no right to
 * write beside an existing one. *out_fd is yours. */
int spool_near(const char *path, int parent, kist_read_fn *read, void *ctx, int *out_fd) KIST_MUST_USE;

#endif
