/* os_file.c: files and directories, by descriptor and by name inside an open directory.
 *
 * It promises whole transfers: a read stops only at the end of the file, a write does not stop at
 * all, and neither moves a shared file position. It relies on callers to keep names free of '/'
 * where that matters. Offsets are 64 bits here and a signed off_t in the kernel; what does not fit
 * is refused, not wrapped. */
#include "base/os_hook.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

_Static_assert(OS_AT_CWD == AT_FDCWD, "os.h names AT_FDCWD without its header");
_Static_assert(sizeof(off_t) == 8, "large files");

/* The most one pread or pwrite takes on Linux. */
#define FILE_TRANSFER_MAX ((size_t)0x7ffff000)

/* Repeat a call that a signal broke off. */
#define FILE_RETRY(result, call) \
    do                           \
        (result) = (call);       \
    while ((result) < 0 && errno == EINTR)

static bool file_range_fits(uint64_t offset, uint64_t len)
{
    if (offset <= INT64_MAX && len <= INT64_MAX - offset)
        return true;
    errno = EFBIG;
    return false;
}

static int file_open_flags(int flags)
{
    int f = O_CLOEXEC | O_NOCTTY;
    f |= flags & (OS_READONLY | OS_DIRECTORY) ? O_RDONLY : O_RDWR;
    f |= flags & OS_CREATE ? O_CREAT : 0;
    f |= flags & OS_EXCLUSIVE ? O_CREAT | O_EXCL : 0;
    f |= flags & OS_DIRECTORY ? O_DIRECTORY : 0;
    f |= flags & OS_NOFOLLOW ? O_NOFOLLOW : 0;
    return f;
}

int os_open(int dir, const char *name, int flags, int *out_fd)
{
    if (OS_HOOK_ASK(.kind = OS_OPEN, .fd = dir, .name = name) < 0)
        return error_from_errno(errno);
    int fd;
    FILE_RETRY(fd, openat(dir, name, file_open_flags(flags), S_IRUSR | S_IWUSR));
    if (fd < 0)
        return error_from_errno(errno);
    *out_fd = fd;
    return 0;
}

/* The hook hears of it but cannot prevent it: on Linux a descriptor is gone even when close(2)
 * complains. */
void os_close(int *fd)
{
    if (*fd < 0)
        return;
    int saved = errno;
    (void)OS_HOOK_ASK(.kind = OS_CLOSE, .fd = *fd);
    (void)close(*fd);
    *fd = -1;
    errno = saved;
}

/* How much of the transfer the hook lets through at once, or -1. */
static ssize_t file_allowed(const struct os_call *call)
{
    int answer = os_hook_ask(call);
    if (answer < 0)
        return -1;
    size_t len = call->len < FILE_TRANSFER_MAX ? call->len : FILE_TRANSFER_MAX;
    if (answer > 0 && (size_t)answer < len)
        len = (size_t)answer;
    return (ssize_t)len;
}

int os_read(int fd, void *p, size_t len, uint64_t offset, size_t *out_n)
{
    size_t done = 0;
    if (!file_range_fits(offset, len))
        return error_from_errno(errno);
    while (done < len) {
        struct os_call call = {.kind = OS_READ, .fd = fd, .offset = offset + done, .len = len - done};
        ssize_t n = file_allowed(&call);
        if (n > 0)
            n = pread(fd, (uint8_t *)p + done, (size_t)n, (off_t)call.offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_from_errno(errno);
        if (n == 0)
            break;
        done += (size_t)n;
    }
    *out_n = done;
    return 0;
}

int os_write(int fd, const void *p, size_t len, uint64_t offset)
{
    size_t done = 0;
    if (!file_range_fits(offset, len))
        return error_from_errno(errno);
    while (done < len) {
        struct os_call call = {
            .kind = OS_WRITE, .fd = fd, .data = (const uint8_t *)p + done, .offset = offset + done, .len = len - done};
        ssize_t n = file_allowed(&call);
        if (n > 0)
            n = pwrite(fd, call.data, (size_t)n, (off_t)call.offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n == 0)
            errno = EIO; /* no progress and no reason: asking again would be a hang */
        if (n <= 0)
            return error_from_errno(errno);
        done += (size_t)n;
    }
    return 0;
}

int os_sync(int fd)
{
    int r;
    if (OS_HOOK_ASK(.kind = OS_SYNC, .fd = fd) < 0)
        return error_from_errno(errno);
    FILE_RETRY(r, fdatasync(fd));
    return r < 0 ? error_from_errno(errno) : 0;
}

int os_sync_dir(int fd)
{
    int r;
    if (OS_HOOK_ASK(.kind = OS_SYNC_DIR, .fd = fd) < 0)
        return error_from_errno(errno);
    FILE_RETRY(r, fsync(fd));
    return r < 0 ? error_from_errno(errno) : 0;
}

int os_rename(int dir, const char *from, const char *to)
{
    if (OS_HOOK_ASK(.kind = OS_RENAME, .fd = dir, .name = from, .to = to) < 0)
        return error_from_errno(errno);
    return renameat(dir, from, dir, to) < 0 ? error_from_errno(errno) : 0;
}

int os_unlink(int dir, const char *name)
{
    if (OS_HOOK_ASK(.kind = OS_UNLINK, .fd = dir, .name = name) < 0)
        return error_from_errno(errno);
    return unlinkat(dir, name, 0) < 0 ? error_from_errno(errno) : 0;
}

int os_mkdir(int dir, const char *name)
{
    if (OS_HOOK_ASK(.kind = OS_MKDIR, .fd = dir, .name = name) < 0)
        return error_from_errno(errno);
    return mkdirat(dir, name, S_IRWXU) < 0 ? error_from_errno(errno) : 0;
}

int os_truncate(int fd, uint64_t size)
{
    int r;
    if (!file_range_fits(0, size) || OS_HOOK_ASK(.kind = OS_TRUNCATE, .fd = fd, .offset = size) < 0)
        return error_from_errno(errno);
    FILE_RETRY(r, ftruncate(fd, (off_t)size));
    return r < 0 ? error_from_errno(errno) : 0;
}

int os_reserve(int fd, uint64_t offset, uint64_t len)
{
    int r = -1;
    if (file_range_fits(offset, len) && OS_HOOK_ASK(.kind = OS_RESERVE, .fd = fd, .offset = offset, .len = len) >= 0)
        FILE_RETRY(r, fallocate(fd, 0, (off_t)offset, (off_t)len));
    return r < 0 ? error_from_errno(errno) : 0;
}

static struct os_stat file_stat_of(const struct stat *st)
{
    return (struct os_stat){
        .size = (uint64_t)st->st_size,
        .blocks = (uint64_t)st->st_blocks * 512, /* st_blocks counts 512 bytes, whatever the disk does */
        .device = st->st_dev,
        .inode = st->st_ino,
        .mode = st->st_mode,
        .links = (uint32_t)st->st_nlink,
        .owner = st->st_uid,
    };
}

int os_stat(int fd, struct os_stat *out)
{
    struct stat st;
    if (OS_HOOK_ASK(.kind = OS_STAT, .fd = fd) < 0 || fstat(fd, &st) < 0)
        return error_from_errno(errno);
    *out = file_stat_of(&st);
    return 0;
}

int os_stat_at(int dir, const char *name, struct os_stat *out)
{
    struct stat st;
    if (OS_HOOK_ASK(.kind = OS_STAT, .fd = dir, .name = name) < 0 || fstatat(dir, name, &st, 0) < 0)
        return error_from_errno(errno);
    *out = file_stat_of(&st);
    return 0;
}

/* Opened afresh: a duplicate of dir would share its position, and the second listing would be
 * empty. */
static DIR *file_open_list(int dir)
{
    int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    DIR *list = fdopendir(fd);
    if (!list)
        os_close(&fd);
    return list;
}

int os_list(int dir, int (*each)(const char *name, void *ctx), void *ctx)
{
    int rc = 0;
    if (OS_HOOK_ASK(.kind = OS_LIST, .fd = dir) < 0)
        return error_from_errno(errno);
    DIR *list = file_open_list(dir);
    if (!list)
        return error_from_errno(errno);
    while (!rc) {
        errno = 0;
        const struct dirent *entry = readdir(list);
        if (!entry) {
            rc = errno ? error_from_errno(errno) : 0;
            break;
        }
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            rc = each(entry->d_name, ctx);
    }
    (void)closedir(list);
    return rc;
}

int os_map(int fd, size_t len, bool writable, void **out)
{
    if (OS_HOOK_ASK(.kind = OS_MAP, .fd = fd, .len = len) < 0)
        return error_from_errno(errno);
    void *p = mmap(NULL, len, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED)
        return error_from_errno(errno);
    *out = p;
    return 0;
}

void os_unmap(void *p, size_t len)
{
    if (p)
        (void)munmap(p, len);
}
