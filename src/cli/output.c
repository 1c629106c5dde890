/* output.c: standard output.
 *
 * Not stdio, whose buffer would keep plaintext and whose errors are easily lost: a value that did
 * not get out must end in an exit status, and a closed pipe in silence. Buffers that held values
 * are wiped. */
#include "cli/output.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define OUTPUT_MUCH 65536

void output_init(struct output *o, int fd)
{
    *o = (struct output){.fd = fd};
    buf_init(&o->buf, true);
}

void output_done(struct output *o)
{
    buf_done(&o->buf);
}

static int output_all(struct output *o, const uint8_t *p, size_t len)
{
    while (len && !o->failed) {
        ssize_t n = write(o->fd, p, len);
        if (n < 0 && errno != EINTR)
            o->failed = errno;
        if (n > 0) {
            p += n;
            len -= (size_t)n;
        }
    }
    return o->failed ? KIST_EIO : 0;
}

int output_flush(struct output *o)
{
    int r = buf_status(&o->buf);
    if (r == 0)
        r = output_all(o, o->buf.data, o->buf.len);
    buf_reset(&o->buf);
    return r;
}

int output_step(struct output *o)
{
    return o->buf.failed || o->buf.len >= OUTPUT_MUCH ? output_flush(o) : 0;
}

int output_write(struct output *o, const void *p, size_t len)
{
    int r = output_flush(o);
    return r < 0 ? r : output_all(o, p, len);
}

int output_stream(const void *data, size_t len, void *ctx)
{
    return output_write(ctx, data, len);
}

void output_text(struct output *o, const char *text)
{
    buf_add(&o->buf, text, strlen(text));
}

void output_format(struct output *o, const char *format, ...)
{
    char line[1024];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (n > 0)
        buf_add(&o->buf, line, (size_t)n < sizeof line ? (size_t)n : sizeof line - 1);
}

bool output_is_terminal(const struct output *o)
{
    return isatty(o->fd) == 1;
}
