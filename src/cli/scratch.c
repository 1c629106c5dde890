/* scratch.c: a place for plaintext that an editor can reach and a disk cannot.
 *
 * It promises a directory that only we can enter, on a file system that is memory, gone when
 * scratch_close() returns, with whatever an editor has put beside the file. A kist that was killed
 * with SIGKILL leaves its directory; the next one sees that nobody holds its lock and wipes it.
 * What it cannot promise: pages of a tmpfs may be swapped out (docs/security.md), and an editor may
 * keep copies elsewhere, if it is told to.
 *
 * Tried and dropped: a file in /tmp that is unlinked at once (editors replace files by name) and
 * /proc/self/fd of a memfd (the same, and editors resolve the link). */
#include "cli/scratch.h"

#include "base/os.h"
#include "cli/report.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define SCRATCH_PREFIX "kist-edit-"
#define SCRATCH_LOCK ".lock"
#define SCRATCH_TMPFS 0x01021994
#define SCRATCH_RAMFS 0x858458f6
#define SCRATCH_DEPTH 8 /* directories that an editor makes inside each other */

static bool scratch_in_memory(int dir)
{
    struct statfs fs;
    return fstatfs(dir, &fs) == 0 && (fs.f_type == SCRATCH_TMPFS || fs.f_type == SCRATCH_RAMFS);
}

static int scratch_parent(const char *path, int *out_fd)
{
    int fd = -1;
    if (!path || os_open(OS_AT_CWD, path, OS_DIRECTORY | OS_READONLY, &fd) < 0)
        return KIST_ENOTSUP;
    if (!scratch_in_memory(fd)) {
        os_close(&fd);
        return KIST_ENOTSUP;
    }
    *out_fd = fd;
    return 0;
}

/* -- wiping -- */

static void scratch_wipe_file(int dir, const char *name)
{
    static const uint8_t zeros[65536];
    struct os_stat st;
    int fd = -1;
    if (os_open(dir, name, OS_NOFOLLOW, &fd) < 0)
        return; /* a link, or made read-only: it can still be unlinked */
    if (os_stat(fd, &st) == 0 && S_ISREG(st.mode))
        for (uint64_t at = 0; at < st.size; at += sizeof zeros) {
            size_t n = st.size - at < sizeof zeros ? (size_t)(st.size - at) : sizeof zeros;
            if (os_write(fd, zeros, n, at) < 0)
                break;
        }
    os_close(&fd);
}

struct scratch_level {
    int dir;
    int depth;
};

static void scratch_wipe_all(const struct scratch_level *level);

static int scratch_wipe_entry(const char *name, void *ctx)
{
    const struct scratch_level *level = ctx;
    struct scratch_level below = {-1, level->depth + 1};
    if (below.depth < SCRATCH_DEPTH && os_open(level->dir, name, OS_DIRECTORY | OS_NOFOLLOW, &below.dir) == 0) {
        scratch_wipe_all(&below);
        os_close(&below.dir);
        (void)unlinkat(level->dir, name, AT_REMOVEDIR);
        return 0;
    }
    scratch_wipe_file(level->dir, name);
    (void)unlinkat(level->dir, name, 0);
    return 0;
}

/* Twice: a listing that shrinks while it is read may leave something out. */
static void scratch_wipe_all(const struct scratch_level *level)
{
    for (int i = 0; i < 2; i++)
        if (os_list(level->dir, scratch_wipe_entry, (void *)(uintptr_t)level) < 0)
            return;
}

static bool scratch_remove(int parent, const char *name, int dir)
{
    struct scratch_level level = {dir, 0};
    scratch_wipe_all(&level);
    return unlinkat(parent, name, AT_REMOVEDIR) == 0;
}

/* -- what others have left -- */

static int scratch_sweep_entry(const char *name, void *ctx)
{
    int parent = *(int *)ctx, dir = -1, lock = -1;
    struct os_stat st;
    if (strncmp(name, SCRATCH_PREFIX, strlen(SCRATCH_PREFIX)) != 0 || os_open(parent, name, OS_DIRECTORY | OS_NOFOLLOW, &dir) < 0)
        return 0;
    if (os_stat(dir, &st) == 0 && st.owner == getuid() && os_open(dir, SCRATCH_LOCK, OS_NOFOLLOW, &lock) == 0 &&
        os_lock_try(lock, 0, OS_EXCLUSIVE_LOCK) == 0)
        (void)scratch_remove(parent, name, dir);
    os_close(&lock);
    os_close(&dir);
    return 0;
}

/* -- the directory -- */

static int scratch_make(struct scratch *s)
{
    uint8_t random[8];
    int r = os_random(random, sizeof random);
    if (r < 0)
        return r;
    char *end = stpcpy(s->name, SCRATCH_PREFIX);
    for (size_t i = 0; i < sizeof random; i++)
        end += snprintf(end, 3, "%02x", random[i]);
    r = os_mkdir(s->parent, s->name);
    if (r < 0)
        return r;
    r = os_open(s->parent, s->name, OS_DIRECTORY | OS_NOFOLLOW, &s->dir);
    if (r == 0)
        r = os_open(s->dir, SCRATCH_LOCK, OS_EXCLUSIVE, &s->lock);
    return r < 0 ? r : os_lock_try(s->lock, 0, OS_EXCLUSIVE_LOCK);
}

int scratch_open(const char *command, const char *file, struct scratch *out)
{
    struct scratch s = {-1, -1, -1, "", "", NULL};
    const char *parent = os_getenv("XDG_RUNTIME_DIR");
    if (scratch_parent(parent, &s.parent) < 0) {
        parent = "/dev/shm";
        if (scratch_parent(parent, &s.parent) < 0)
            return report_failed(command, "no place in memory for the text: neither XDG_RUNTIME_DIR nor /dev/shm is a tmpfs");
    }
    if (os_list(s.parent, scratch_sweep_entry, &s.parent) < 0)
        errno = 0; /* what others have left is not our errand */
    if (scratch_make(&s) < 0) {
        int r = report_failed(command, "cannot make a private directory in %s: %s", parent, strerror(errno));
        scratch_close(command, &s);
        return r;
    }
    int n = snprintf(s.path, sizeof s.path, "%s/%s/%s", parent, s.name, file);
    if (n < 0 || (size_t)n >= sizeof s.path) {
        scratch_close(command, &s);
        return report_failed(command, "the path of XDG_RUNTIME_DIR is too long");
    }
    *out = s;
    out->file = file;
    return 0;
}

int scratch_write(const char *command, struct scratch *s, struct kist_bytes text)
{
    int fd = -1, r = os_open(s->dir, s->file, OS_EXCLUSIVE, &fd);
    if (r == 0)
        r = os_write(fd, text.ptr, text.len, 0);
    if (r < 0)
        r = report_code(command, r, "cannot write the text into memory: %s", strerror(errno));
    os_close(&fd);
    return r;
}

static int scratch_read_file(const char *command, int fd, struct buf *out)
{
    struct os_stat st;
    size_t n = 0;
    if (os_stat(fd, &st) < 0 || !S_ISREG(st.mode))
        return report_failed(command, "what the editor left is not a plain file: nothing is stored");
    if (st.size > KIST_VALUE_MAX)
        return report_code(command, KIST_ETOOBIG, "the text is larger than %u bytes: nothing is stored", KIST_VALUE_MAX);
    uint8_t *to = buf_grow(out, (size_t)st.size);
    if (!to)
        return KIST_ENOMEM;
    int r = os_read(fd, to, (size_t)st.size, 0, &n);
    out->len = n;
    return r < 0 ? report_failed(command, "cannot read the text: %s", strerror(errno)) : 0;
}

int scratch_read(const char *command, struct scratch *s, struct buf *out)
{
    struct stat st; /* of the name itself: opening a FIFO would hang */
    int fd = -1;
    if (fstatat(s->dir, s->file, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return report_failed(command, "the editor left no file: nothing is stored");
    if (!S_ISREG(st.st_mode))
        return report_failed(command, "what the editor left is not a plain file: nothing is stored");
    if (os_open(s->dir, s->file, OS_READONLY | OS_NOFOLLOW, &fd) < 0)
        return report_failed(command, "cannot read the text: %s: nothing is stored", strerror(errno));
    int r = scratch_read_file(command, fd, out);
    os_close(&fd);
    return r;
}

void scratch_close(const char *command, struct scratch *s)
{
    if (s->dir >= 0 && !scratch_remove(s->parent, s->name, s->dir))
        report_line(command, "warning: cannot remove %s: %s", s->path, strerror(errno));
    else if (s->dir < 0 && s->name[0])
        (void)unlinkat(s->parent, s->name, AT_REMOVEDIR);
    os_close(&s->lock);
    os_close(&s->dir);
    os_close(&s->parent);
    s->name[0] = '\0';
}
