/* input.c: reading what is given to the program.
 *
 * Pipes and terminals have no offsets, so this is read(2) and not os_read(). An interrupted read
 * goes on. Everything ends in a buffer of the caller, which is secret where values are read. */
#include "cli/input.h"

#include "base/os.h"
#include "cli/report.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define INPUT_SLICE 65536

int input_stream(void *data, size_t len, size_t *out_n, void *ctx)
{
    const int *fd = ctx;
    ssize_t n;
    do
        n = read(*fd, data, len);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return KIST_EIO;
    *out_n = (size_t)n;
    return 0;
}

int input_all(int fd, size_t limit, struct buf *out)
{
    size_t n, before = out->len;
    do {
        uint8_t *to = buf_reserve(out, INPUT_SLICE);
        if (!to)
            return KIST_ENOMEM;
        int r = input_stream(to, out->cap - out->len, &n, &fd);
        if (r < 0)
            return r;
        out->len += n;
        if (out->len - before > limit)
            return KIST_ETOOBIG;
    } while (n);
    return 0;
}

int input_open(const char *command, const char *path, int *out_fd)
{
    if (strcmp(path, "-") == 0) {
        *out_fd = STDIN_FILENO;
        return 0;
    }
    int r = os_open(OS_AT_CWD, path, OS_READONLY, out_fd);
    return r < 0 ? report_code(command, r, "cannot open %s: %s", path, strerror(errno)) : 0;
}

void input_close(int *fd)
{
    if (*fd > STDERR_FILENO)
        os_close(fd);
    *fd = -1;
}

int input_file(const char *command, const char *path, size_t limit, struct buf *out)
{
    int fd = -1, r = input_open(command, path, &fd);
    if (r)
        return r;
    r = input_all(fd, limit, out);
    if (r == KIST_EIO)
        r = report_failed(command, "cannot read %s: %s", fd ? path : "standard input", strerror(errno));
    else if (r == KIST_ETOOBIG)
        r = report_code(command, r, "%s: more than %zu bytes", fd ? path : "standard input", limit);
    input_close(&fd);
    return r;
}

int input_line(int fd, size_t limit, struct buf *out, bool *out_end)
{
    size_t n = 0, before = out->len;
    for (bool any = false;; any = true) {
        uint8_t byte;
        int r = input_stream(&byte, 1, &n, &fd);
        if (r < 0)
            return r;
        if (n == 0 || byte == '\n') {
            *out_end = n == 0 && !any;
            return buf_status(out);
        }
        if (out->len - before == limit)
            return KIST_ETOOBIG;
        buf_add_u8(out, byte);
    }
}
