/* backups.c: backup and restore.
 *
 * A backup is sealed, so it may go anywhere. A file of it is synced, and so is the directory that
 * names it, before success is said, and removed after a failure; one that a crash cut short is
 * recognised when it is read. It never replaces a file: that may be the only good backup. */
#include "base/os.h"
#include "cli/commands.h"
#include "cli/input.h"
#include "cli/report.h"
#include "cli/session.h"

#include <errno.h>
#include <string.h>

struct backups {
    int fd;
    uint64_t offset;
};

static int backups_write(const void *data, size_t len, void *ctx)
{
    struct backups *t = ctx;
    int r = os_write(t->fd, data, len, t->offset);
    t->offset += len;
    return r;
}

static int backups_to_stdout(struct session *s, uint64_t since, uint64_t *out_revision)
{
    if (output_is_terminal(&s->out))
        return report_usage(s->command, "a backup is not for a terminal");
    return kist_backup(s->store, since, output_stream, &s->out, out_revision);
}

/* Into a new file. */
static int backups_to_file(struct session *s, const char *path, uint64_t since, uint64_t *out_revision)
{
    struct backups t = {.fd = -1};
    int r = os_open(OS_AT_CWD, path, OS_EXCLUSIVE, &t.fd);
    if (r < 0)
        return report_code(s->command, r, "cannot make %s: %s", path, strerror(errno));
    r = kist_backup(s->store, since, backups_write, &t, out_revision);
    if (r == 0)
        r = os_sync_dir(t.fd);
    if (r == 0)
        r = credential_sync_parent(path);
    os_close(&t.fd);
    if (r < 0 && os_unlink(OS_AT_CWD, path) < 0)
        report_line(s->command, "%s stays behind, and is not a whole backup", path);
    return r;
}

int backups_make(struct session *s)
{
    const char *path = s->args.words[0];
    uint64_t since, revision = 0;
    int r = args_number(&s->args, OPT_SINCE, INT64_MAX, 0, &since);
    if (r == 0)
        r = session_open(s, SESSION_READ);
    if (r)
        return r;
    r = strcmp(path, "-") == 0 ? backups_to_stdout(s, since, &revision) : backups_to_file(s, path, since, &revision);
    if (r == 0)
        report_line(s->command, "revision %llu", (unsigned long long)revision);
    return r;
}

int backups_restore(struct session *s)
{
    struct credential c = {0};
    struct kist_options o;
    const char *path = NULL;
    int fd = -1;
    int r = session_options(s, &c, &path, &o);
    if (r == 0)
        r = input_open(s->command, s->args.words[0], &fd);
    if (r == 0)
        r = credential_open(&s->args, path, &c);
    if (r == 0) {
        o.key = c.secret;
        r = kist_restore(path, &o, input_stream, &fd);
    }
    credential_done(&c);
    input_close(&fd);
    return r;
}
