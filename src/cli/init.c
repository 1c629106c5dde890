/* init.c: a new store.
 *
 * With --new-key the key is on disk before the store is made, so that there is never a store
 * without its key; when the store then cannot be made, and no header was made that the key opens,
 * the key file is taken away again. */
#include "cli/commands.h"
#include "cli/report.h"
#include "cli/session.h"

#include <string.h>

static int init_secret(struct session *s, const char *path, struct credential *out)
{
    const struct args *a = &s->args;
    if (!args_has(a, OPT_NEW_KEY))
        return credential_first(a, path, out);
    if (args_has(a, OPT_KEY_FILE) || args_has(a, OPT_PASSPHRASE_FD))
        return report_usage(s->command, "only one of --new-key, --key-file and --passphrase-fd");
    return credential_make(s->command, a->text[OPT_NEW_KEY], out);
}

static int init_suite(struct session *s, int *out)
{
    const char *text = s->args.text[OPT_SUITE];
    if (text && strcmp(text, "1") != 0 && strcmp(text, "2") != 0)
        return report_usage(s->command, "--suite: 1 or 2");
    *out = text ? *text - '0' : 0;
    return 0;
}

int init_run(struct session *s)
{
    struct credential c = {0};
    struct kist_options o;
    const char *path = NULL;
    int suite = 0, r = session_options(s, &c, &path, &o);
    if (r == 0)
        r = init_suite(s, &suite);
    if (r == 0)
        r = init_secret(s, path, &c);
    if (r)
        goto done;
    o.key = c.secret;
    o.mode = KIST_OPEN_NEW;
    o.suite = suite;
    r = kist_open(path, &o, &s->store);
    if (r < 0)
        session_forget_key(s, &c, r);
done:
    credential_done(&c);
    return r == KIST_EEXIST ? report_code(s->command, r, "there is a store at %s already", path) : r;
}
