/* credential.c: where the secret comes from.
 *
 * In this order: --key-file or --passphrase-fd, $KIST_KEY_FILE, a prompt on the terminal. A
 * passphrase on a descriptor is one line: what follows the newline is left unread, so that a value
 * may follow on the same pipe. Secrets are read into guarded memory and decoded there; the text of
 * a key file is wiped. A key file that others can read is warned of and used: it may be on purpose
 * (a container), and refusing would not make it secret again. Where a file's name is asked for
 * somebody will give the key itself: a name that reads as one is not printed. */
#include "cli/credential.h"

#include "base/os.h"
#include "cli/input.h"
#include "cli/prompt.h"
#include "cli/report.h"
#include "crypt/secret.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CREDENTIAL_FILE_MAX 4096 /* a key is 64 characters and some white space */

void credential_done(struct credential *c)
{
    secret_free(&c->memory);
    *c = (struct credential){0};
}

/* Room for a secret of at most len bytes. */
static int credential_room(struct credential *c, enum kist_secret_kind kind, size_t len)
{
    int r = secret_new(len, &c->memory);
    if (r == 0)
        c->secret = (struct kist_secret){.kind = kind, .ptr = c->memory, .len = len};
    return r;
}

/* The name of a file that is not there, as it may be printed. */
static const char *credential_shown(const char *path)
{
    uint8_t key[KIST_SECRET_LEN];
    int r = kist_key_parse((struct kist_bytes){path, strlen(path)}, key, NULL);
    os_wipe(key, sizeof key);
    return r == 0 ? "(not shown, for it looks like a key itself; the name of a file is wanted)" : path;
}

static int credential_check_file(const char *command, const char *path, int fd)
{
    struct os_stat st;
    int r = os_stat(fd, &st);
    if (r < 0)
        return r;
    if (S_ISDIR(st.mode))
        return report_failed(command, "key file %s: a directory", path);
    if (S_ISREG(st.mode) && st.mode & 077)
        report_line(command, "warning: key file %s can be read by others (chmod 600 it)", path);
    return 0;
}

static int credential_decode(const char *command, const char *path, const struct buf *text, struct credential *out)
{
    struct kist_detail detail = {""};
    int r = credential_room(out, KIST_SECRET_KEY, KIST_SECRET_LEN);
    if (r == 0)
        r = kist_key_parse((struct kist_bytes){text->data, text->len}, out->memory, &detail);
    if (r != KIST_EINVAL)
        return r;
    credential_done(out);
    if (text->len == 0)
        return report_failed(command, "key file %s: empty", path);
    return report_failed(command, "key file %s: %s", path, detail.text[0] ? detail.text : "not a key");
}

static int credential_file(const char *command, const char *path, struct credential *out)
{
    struct buf text;
    const char *shown = credential_shown(path);
    int fd = -1, r = os_open(OS_AT_CWD, path, OS_READONLY, &fd);
    if (r < 0)
        return report_code(command, r == KIST_EDENIED ? r : KIST_EIO, "cannot open key file %s: %s", shown, strerror(errno));
    buf_init(&text, true);
    r = credential_check_file(command, path, fd);
    if (r == 0)
        r = input_all(fd, CREDENTIAL_FILE_MAX, &text);
    if (r == KIST_EIO)
        r = report_failed(command, "cannot read key file %s: %s", path, strerror(errno));
    if (r == KIST_ETOOBIG)
        r = report_failed(command, "key file %s: too long for a key", path);
    if (r == 0)
        r = credential_decode(command, path, &text, out);
    buf_done(&text);
    os_close(&fd);
    return r;
}

static int credential_passphrase(const char *command, const struct buf *text, struct credential *out)
{
    if (text->len == 0)
        return report_code(command, KIST_EKEY, "the passphrase is empty");
    int r = credential_room(out, KIST_SECRET_PASSPHRASE, text->len);
    if (r == 0)
        memcpy(out->memory, text->data, text->len);
    return r;
}

static int credential_fd(const struct args *a, enum args_option option, struct credential *out)
{
    const char *command = a->command->name;
    uint64_t fd;
    struct buf text;
    bool end;
    int r = args_number(a, option, 1 << 20, 0, &fd);
    if (r)
        return r;
    buf_init(&text, true);
    (void)buf_reserve(&text, KIST_PASSPHRASE_MAX + 1);
    r = input_line((int)fd, KIST_PASSPHRASE_MAX, &text, &end);
    if (r == KIST_EIO)
        r = report_failed(command, "cannot read the passphrase from descriptor %d: %s", (int)fd, strerror(errno));
    else if (r == KIST_ETOOBIG)
        r = report_failed(command, "the passphrase is longer than %u bytes", KIST_PASSPHRASE_MAX);
    else if (r == 0)
        r = credential_passphrase(command, &text, out);
    buf_done(&text);
    return r;
}

/* twice: it is a new one, and a mistyped one would lock everybody out. */
static int credential_prompt(const char *command, const char *store, bool twice, struct credential *out)
{
    const char *question = twice ? "New passphrase" : "Passphrase";
    struct buf text, again;
    buf_init(&text, true);
    buf_init(&again, true);
    int r = prompt_secret(command, question, store, KIST_PASSPHRASE_MAX, &text);
    if (r == 0 && twice && text.len)
        r = prompt_secret(command, "The same again", store, KIST_PASSPHRASE_MAX, &again);
    if (r == 0 && twice && text.len && (text.len != again.len || memcmp(text.data, again.data, text.len) != 0))
        r = report_failed(command, "the two passphrases differ");
    if (r == 0)
        r = credential_passphrase(command, &text, out);
    buf_done(&text);
    buf_done(&again);
    return r;
}

static int credential_get(const struct args *a, const char *store, bool twice, struct credential *out)
{
    const char *command = a->command->name, *path = os_getenv("KIST_KEY_FILE");
    if (args_has(a, OPT_KEY_FILE) && args_has(a, OPT_PASSPHRASE_FD))
        return report_usage(command, "--key-file and --passphrase-fd exclude each other");
    if (args_has(a, OPT_KEY_FILE))
        return credential_file(command, a->text[OPT_KEY_FILE], out);
    if (args_has(a, OPT_PASSPHRASE_FD))
        return credential_fd(a, OPT_PASSPHRASE_FD, out);
    if (path)
        return credential_file(command, path, out);
    return credential_prompt(command, store, twice, out);
}

int credential_open(const struct args *a, const char *store, struct credential *out)
{
    return credential_get(a, store, false, out);
}

int credential_first(const struct args *a, const char *store, struct credential *out)
{
    return credential_get(a, store, true, out);
}

int credential_new(const struct args *a, const char *store, struct credential *out)
{
    const char *command = a->command->name;
    int given = args_has(a, OPT_NEW_KEY) + args_has(a, OPT_NEW_KEY_FILE) + args_has(a, OPT_NEW_PASSPHRASE_FD);
    if (given > 1)
        return report_usage(command, "only one of --new-key, --new-key-file and --new-passphrase-fd");
    if (args_has(a, OPT_NEW_KEY))
        return credential_make(command, a->text[OPT_NEW_KEY], out);
    if (args_has(a, OPT_NEW_KEY_FILE))
        return credential_file(command, a->text[OPT_NEW_KEY_FILE], out);
    if (args_has(a, OPT_NEW_PASSPHRASE_FD))
        return credential_fd(a, OPT_NEW_PASSPHRASE_FD, out);
    return credential_prompt(command, store, true, out);
}

int credential_sync_parent(const char *path)
{
    char parent[4096];
    const char *slash = strrchr(path, '/');
    size_t len = slash ? (size_t)(slash - path) : 1;
    int fd = -1;
    if (len >= sizeof parent)
        return KIST_EINVAL;
    memcpy(parent, slash ? path : ".", len);
    parent[len] = '\0';
    int r = os_open(OS_AT_CWD, len ? parent : "/", OS_DIRECTORY | OS_READONLY, &fd);
    if (r == 0)
        r = os_sync_dir(fd);
    os_close(&fd);
    return r;
}

static int credential_write(int fd, const char *path, const char *text, size_t len)
{
    int r = os_write(fd, text, len, 0);
    if (r == 0)
        r = os_sync_dir(fd);
    return r < 0 ? r : credential_sync_parent(path);
}

int credential_make(const char *command, const char *path, struct credential *out)
{
    const char *shown = credential_shown(path); /* now: it may change errno */
    char text[46];
    int fd = -1;
    int r = credential_room(out, KIST_SECRET_KEY, KIST_SECRET_LEN);
    if (r == 0)
        r = kist_key_generate(out->memory);
    if (r < 0)
        return r;
    r = os_open(OS_AT_CWD, path, OS_EXCLUSIVE, &fd);
    if (r < 0)
        return report_code(command, r, "cannot make key file %s: %s", shown, strerror(errno));
    kist_key_format(out->memory, text);
    text[44] = '\n';
    r = credential_write(fd, path, text, 45);
    if (r < 0) {
        r = report_code(command, r, "cannot write key file %s: %s", shown, strerror(errno));
        if (os_unlink(OS_AT_CWD, path) < 0)
            report_line(command, "key file %s stays behind: it opens nothing", shown);
    }
    os_wipe(text, sizeof text);
    os_close(&fd);
    return r;
}
