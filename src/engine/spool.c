/* spool.c: a stream in a file without a name, so that it can be read twice.
 *
 * A restore reads its backup to the authenticated end before it makes anything, and then again. What arrives is sealed and
 * stays so here; the file's name goes at once, so whatever happens, the kernel gives its space back. */
#include "engine/spool.h"

#include "base/os.h"

#define SPOOL_TRIES 10 /* other restores may be about to spool in the same directory */
#define SPOOL_CHUNK (64u << 10)

int spool_open_dir(const char *path, int *out)
{
    return os_open(OS_AT_CWD, path, OS_READONLY | OS_DIRECTORY, out);
}

/* A file whose name is gone at once: whatever happens, nothing of it stays. */
static int spool_open(int dir, int *out)
{
    int r = KIST_EEXIST;
    for (int i = 0; i < SPOOL_TRIES && r == KIST_EEXIST; i++) {
        r = os_unlink(dir, SPOOL_NAME);
        if (r == 0 || r == KIST_ENOSTORE)
            r = os_open(dir, SPOOL_NAME, OS_CREATE | OS_EXCLUSIVE | OS_NOFOLLOW, out);
    }
    if (r)
        return r;
    r = os_unlink(dir, SPOOL_NAME);
    return r == KIST_ENOSTORE ? 0 : r; /* another restore took the name away */
}

static int spool_fill(int dir, kist_read_fn *read, void *ctx, int *out)
{
    uint8_t *chunk = os_alloc(SPOOL_CHUNK);
    uint64_t at = 0;
    int fd = -1, r = chunk ? spool_open(dir, &fd) : KIST_ENOMEM;
    for (size_t n = 1; r == 0 && n > 0; at += n) {
        n = 0;
        r = read(chunk, SPOOL_CHUNK, &n, ctx);
        if (r > 0 || n > SPOOL_CHUNK)
            r = KIST_EIO;
        if (r == 0 && n)
            r = os_write(fd, chunk, n, at);
    }
    os_free(chunk);
    if (r)
        os_close(&fd);
    else
        *out = fd;
    return r;
}

int spool_near(const char *path, int parent, kist_read_fn *read, void *ctx, int *out)
{
    int dir = -1;
    if (spool_open_dir(path, &dir))
        return spool_fill(parent, read, ctx, out);
    int r = spool_fill(dir, read, ctx, out);
    os_close(&dir);
    return r;
}
