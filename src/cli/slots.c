/* slots.c: the secrets that open a store: list, add, remove, replace.
 *
 * Removing asks nothing and checks nothing but that one slot stays: the library refuses the last
 * one. Whether the secret that opened the store this time is the one removed is the caller's
 * affair. */
#include "cli/commands.h"
#include "cli/report.h"
#include "cli/session.h"
#include "model/json.h"

#include <string.h>

static const char *slots_kind(enum kist_secret_kind kind)
{
    return kind == KIST_SECRET_KEY ? "key" : "passphrase";
}

static int slots_list(struct session *s)
{
    struct kist_slot_info slots[KIST_SLOTS_MAX];
    size_t n = 0;
    bool json = args_has(&s->args, OPT_JSON);
    int r = session_open(s, SESSION_READ);
    if (r == 0)
        r = kist_slot_list(s->store, slots, &n);
    for (size_t i = 0; r == 0 && i < n; i++) {
        struct kist_bytes label = {slots[i].label, strlen(slots[i].label)};
        output_format(&s->out, json ? "{\"slot\":%d,\"kind\":\"%s\",\"label\":" : "%d %s ", slots[i].slot,
                      slots_kind(slots[i].kind));
        json_add_string(&s->out.buf, json_is_utf8(label) ? label : KIST_STR("?"));
        output_text(&s->out, json ? "}\n" : "\n");
    }
    return r;
}

/* A secret to be added, and what it is for: --new-key and its like, or a prompt. */
static int slots_new(struct session *s, struct credential *out)
{
    const char *path = NULL;
    int r = session_path(s, &path);
    return r ? r : credential_new(&s->args, path, out);
}

static int slots_add(struct session *s)
{
    struct credential c = {0};
    const char *label = s->args.text[OPT_LABEL];
    int slot = -1;
    if (label && strlen(label) > KIST_SLOT_LABEL_MAX)
        return report_usage(s->command, "--label: at most %d bytes", KIST_SLOT_LABEL_MAX);
    int r = session_open(s, SESSION_WRITE);
    if (r == 0)
        r = slots_new(s, &c);
    if (r)
        goto done;
    r = kist_slot_add(s->store, &c.secret, label ? label : "", &slot);
    if (r < 0)
        session_forget_key(s, &c, r);
    else
        output_format(&s->out, "%d\n", slot);
done:
    credential_done(&c);
    return r;
}

static int slots_remove(struct session *s, const char *number)
{
    if (number[0] < '0' || number[0] > '7' || number[1])
        return report_usage(s->command, "a slot is a number from 0 to %d", KIST_SLOTS_MAX - 1);
    int r = session_open(s, SESSION_WRITE);
    return r ? r : kist_slot_remove(s->store, number[0] - '0');
}

int slots_run(struct session *s)
{
    int n = s->args.count;
    char **words = s->args.words;
    if (n == 0)
        return slots_list(s);
    if (n == 1 && strcmp(words[0], "add") == 0)
        return slots_add(s);
    if (n == 2 && strcmp(words[0], "remove") == 0)
        return slots_remove(s, words[1]);
    return report_usage(s->command, "add, remove N, or nothing");
}

/* The store is opened with the old secret, which is needed once more behind that. */
static int slots_change(struct session *s, const struct credential *old)
{
    struct credential c = {0};
    int r = session_open_with(s, old, KIST_OPEN_EXISTING);
    if (r == 0)
        r = slots_new(s, &c);
    if (r == 0) {
        r = kist_slot_change(s->store, &old->secret, &c.secret);
        if (r < 0)
            session_forget_key(s, &c, r);
    }
    credential_done(&c);
    return r;
}

int slots_passwd(struct session *s)
{
    struct credential old = {0};
    struct kist_options o;
    const char *path = NULL;
    int r = session_options(s, &old, &path, &o); /* first: see session_open() */
    if (r == 0)
        r = credential_open(&s->args, path, &old);
    if (r == 0)
        r = slots_change(s, &old);
    credential_done(&old);
    return r;
}
