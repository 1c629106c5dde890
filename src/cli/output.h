/* Standard output, buffered, whose failures are noticed. */
#ifndef KIST_CLI_OUTPUT_H
#define KIST_CLI_OUTPUT_H

#include "base/buf.h"
#include "base/error.h"

#include <stdbool.h>

struct output {
    struct buf buf; /* append here; then output_step() */
    int fd;
    int failed; /* errno of the first failure */
};

void output_init(struct output *o, int fd);
void output_done(struct output *o); /* wipes; flushes nothing */
/* Write out what has gathered, once it is much. KIST_EIO: it cannot be written. */
int output_step(struct output *o) KIST_MUST_USE;
int output_flush(struct output *o) KIST_MUST_USE;
/* Past the buffer, after what is in it. */
int output_write(struct output *o, const void *p, size_t len) KIST_MUST_USE;
/* For kist_backup(): ctx is a struct output. */
int output_stream(const void *data, size_t len, void *ctx) KIST_MUST_USE;
void output_text(struct output *o, const char *text);
void output_format(struct output *o, const char *format, ...) KIST_PRINTF(2, 3);
/* Is it a terminal? */
bool output_is_terminal(const struct output *o);

#endif
