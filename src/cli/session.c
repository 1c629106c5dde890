/* session.c: from arguments to an open store.
 *
 * The secret lives from just before kist_open() to just behind it. Commands that only read open the
 * store read-only, so that they work on a read-only file system and in a directory that is not ours
 * to write. */
#include "cli/session.h"

#include "base/os.h"
#include "cli/report.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Where the store is when nobody says so; the answer lasts as long as the process. */
static const char *session_default_path(void)
{
    static char path[4096];
    const char *data = os_getenv("XDG_DATA_HOME"), *home = os_getenv("HOME");
    int n;
    if (data && *data == '/') /* the specification: relative ones are to be ignored */
        n = snprintf(path, sizeof path, "%s/kist", data);
    else if (home)
        n = snprintf(path, sizeof path, "%s/.local/share/kist", home);
    else
        return NULL;
    return n > 0 && (size_t)n < sizeof path ? path : NULL;
}

int session_path(struct session *s, const char **out_path)
{
    const char *path = s->args.text[OPT_STORE];
    if (!path)
        path = os_getenv("KIST_STORE");
    if (!path)
        path = session_default_path();
    if (!path)
        return report_usage(s->command, "no store: give -s STORE or set KIST_STORE (HOME is not set)");
    if (!*path)
        return report_usage(s->command, "the path of the store is empty");
    *out_path = path;
    return 0;
}

static int session_sync(struct session *s, enum kist_sync *out)
{
    const char *text = s->args.text[OPT_SYNC];
    *out = text && strcmp(text, "none") == 0 ? KIST_SYNC_NONE : KIST_SYNC_FULL;
    if (text && *out == KIST_SYNC_FULL && strcmp(text, "full") != 0)
        return report_usage(s->command, "--sync: full or none");
    return 0;
}

int session_options(struct session *s, const struct credential *c, const char **out_path, struct kist_options *out)
{
    struct kist_options o = {.size = sizeof o, .detail = &s->detail, .key = c->secret};
    int r = session_path(s, out_path);
    if (r == 0)
        r = session_sync(s, &o.sync);
    if (r == 0)
        r = args_time(&s->args, OPT_LOCK_TIMEOUT, &o.lock_timeout_ms);
    if (r == 0)
        *out = o;
    return r;
}

int session_open_with(struct session *s, const struct credential *c, enum kist_open_mode mode)
{
    struct kist_options o;
    const char *path = NULL;
    int r = session_options(s, c, &path, &o);
    if (r)
        return r;
    o.mode = mode;
    r = kist_open(path, &o, &s->store);
    if (r == KIST_ENOSTORE)
        return report_code(s->command, r, "no store at %s; kist init makes one", path);
    return r;
}

int session_open(struct session *s, enum session_need need)
{
    struct credential c = {0};
    struct kist_options o;
    const char *path = NULL;
    bool salvage = args_has(&s->args, OPT_SALVAGE);
    int r = session_options(s, &c, &path, &o); /* first: a usage error must not cost a prompt */
    if (r)
        return r;
    if (salvage && need == SESSION_WRITE)
        return report_usage(s->command, "--salvage only reads");
    r = credential_open(&s->args, path, &c);
    if (r == 0)
        r = session_open_with(s, &c,
                              salvage                ? KIST_OPEN_SALVAGE
                              : need == SESSION_READ ? KIST_OPEN_READ_ONLY
                                                     : KIST_OPEN_EXISTING);
    credential_done(&c);
    return r;
}

int session_bucket(struct session *s, enum session_need need)
{
    const char *name = s->args.text[OPT_BUCKET];
    int r = session_open(s, need);
    return r ? r : kist_bucket_open(s->store, name ? name : "default", &s->bucket);
}

int session_failed(const struct session *s, const char *where, int code, const char *detail)
{
    struct kist_detail said = s->detail;
    if (s->store)
        kist_detail(s->store, &said);
    return report_error(s->command, where, code, *detail ? detail : said.text);
}

/* Is it certain? After any other answer (a store that cannot be read just now, say) the key may
 * still be one that opens it. */
static bool session_opens_nothing(struct session *s, const struct credential *c)
{
    struct kist_options o;
    struct kist_store *store = NULL;
    const char *path = NULL;
    if (session_options(s, c, &path, &o))
        return false;
    o.mode = KIST_OPEN_READ_ONLY;
    o.detail = NULL;
    int r = kist_open(path, &o, &store);
    kist_close(&store);
    return r == KIST_EKEY || r == KIST_ENOSTORE;
}

void session_forget_key(struct session *s, const struct credential *made, int code)
{
    const char *path = s->args.text[OPT_NEW_KEY];
    if (!path)
        return;
    if (code == KIST_EMAYBE || !session_opens_nothing(s, made))
        report_line(s->command, "keep %s: it may be the key now", path);
    else if (os_unlink(OS_AT_CWD, path) < 0)
        report_line(s->command, "key file %s stays behind: it opens nothing", path);
}

void session_close(struct session *s)
{
    kist_bucket_close(&s->bucket);
    kist_close(&s->store);
}

struct kist_bytes session_word(const struct session *s, int n)
{
    const char *word = s->args.words[n];
    return (struct kist_bytes){word, strlen(word)};
}

static int session_show(const char *what, uint64_t done, uint64_t total, void *ctx)
{
    char line[200];
    (void)ctx;
    int n = total ? snprintf(line, sizeof line, "\r\033[K%s: %llu %%", what,
                             (unsigned long long)(100.0 * (double)done / (double)total))
                  : snprintf(line, sizeof line, "\r\033[K%s: %llu", what, (unsigned long long)done);
    if (n > 0 && write(STDERR_FILENO, line, (size_t)n < sizeof line ? (size_t)n : sizeof line - 1) < 0)
        return 0; /* nobody looks: no reason to stop */
    return 0;
}

kist_progress_fn *session_progress(void)
{
    return isatty(STDERR_FILENO) ? session_show : NULL;
}

void session_progress_end(void)
{
    if (isatty(STDERR_FILENO) && write(STDERR_FILENO, "\r\033[K", 4) < 0)
        return;
}
