/* What is read: files, descriptors, lines. */
#ifndef KIST_CLI_INPUT_H
#define KIST_CLI_INPUT_H

#include "base/buf.h"
#include "base/error.h"

/* Append all of fd. KIST_ETOOBIG beyond limit bytes, KIST_EIO (errno says why), KIST_ENOMEM. */
int input_all(int fd, size_t limit, struct buf *out) KIST_MUST_USE;
/* The same of a file; "-" is standard input. 0, or the exit status after saying what is wrong. */
int input_file(const char *command, const char *path, size_t limit, struct buf *out) KIST_MUST_USE;
/* Append up to the next newline, which is read and left out; byte by byte, so that nothing behind
 * it is lost to whoever reads on. *out_end: there was nothing at all. KIST_ETOOBIG beyond limit. */
int input_line(int fd, size_t limit, struct buf *out, bool *out_end) KIST_MUST_USE;
/* Open for reading; "-" is standard input, which input_close() leaves open. 0, or the exit status
 * after saying what is wrong. */
int input_open(const char *command, const char *path, int *out_fd) KIST_MUST_USE;
void input_close(int *fd);
/* For kist_restore(): ctx is an int, the descriptor. */
int input_stream(void *data, size_t len, size_t *out_n, void *ctx) KIST_MUST_USE;

#endif
