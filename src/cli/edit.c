/* edit.c: a value in the user's editor.
 *
 * The plaintext is on a tmpfs only while the editor runs; questions are asked with the text in
 * memory. It promises that what somebody else has written meanwhile is never overwritten unasked,
 * and that an editor which fails, leaves nothing or leaves something else than a file changes
 * nothing. */
#include "cli/commands.h"
#include "cli/editor.h"
#include "cli/prompt.h"
#include "cli/report.h"
#include "cli/scratch.h"
#include "cli/session.h"
#include "model/json.h"
#include "model/value.h"

#include <string.h>

struct edit {
    struct session *s;
    struct kist_bytes key;
    struct kist_put_options options;
    struct kist_value old; /* data NULL: there is none */
    struct buf text;       /* what is edited */
};

static int edit_load(struct edit *e)
{
    kist_value_free(&e->old);
    int r = kist_get(e->s->bucket, e->key, &e->old);
    if (r == KIST_ENOKEY) {
        e->old = (struct kist_value){0};
        r = 0;
    }
    e->options.flags = KIST_IF_REVISION;
    e->options.if_revision = e->old.revision;
    return r;
}

/* JSON stays JSON; what was raw although it looks like something else stays raw; the rest is what
 * it looks like. */
static enum kist_type edit_type(const struct edit *e)
{
    if (args_has(&e->s->args, OPT_TYPE) || !e->old.data)
        return e->options.type;
    if (e->old.type == KIST_JSON)
        return KIST_JSON;
    bool raw = e->old.type == KIST_RAW && value_detect((struct kist_bytes){e->old.data, e->old.len}) != KIST_RAW;
    return raw ? KIST_RAW : KIST_DETECT;
}

/* The text through the editor, once. */
static int edit_once(struct edit *e, bool json)
{
    const char *command = e->s->command;
    struct scratch scratch;
    struct editor editor;
    editor_begin(&editor);
    int r = scratch_open(command, json ? "value.json" : "value.txt", &scratch);
    if (r == 0) {
        r = scratch_write(command, &scratch, (struct kist_bytes){e->text.data, e->text.len});
        if (r == 0)
            r = editor_run(command, &editor, scratch.path);
        if (r == 0) {
            buf_reset(&e->text);
            r = scratch_read(command, &scratch, &e->text);
        }
        scratch_close(command, &scratch);
    }
    editor_end(&editor);
    return r;
}

/* Most editors end a file with a newline whether one was there or not. */
static void edit_strip_newline(struct edit *e)
{
    const char *old = e->old.data;
    bool had = old && e->old.len && old[e->old.len - 1] == '\n';
    if (!had && e->text.len && e->text.data[e->text.len - 1] == '\n')
        e->text.len--;
}

static bool edit_unchanged(const struct edit *e)
{
    return e->old.data && e->text.len == e->old.len && (e->old.len == 0 || memcmp(e->text.data, e->old.data, e->old.len) == 0);
}

/* Is it fit to be stored? *out_again: no, but the user wants to mend it. */
static int edit_check(struct edit *e, enum kist_type type, bool *out_again)
{
    struct kist_bytes text = {e->text.data, e->text.len};
    if (text.len == 0)
        return report_failed(e->s->command, "the text is empty: nothing is stored");
    int r = value_check(&type, text);
    if (r == 0)
        return 0;
    report_line(e->s->command, "%s", r == KIST_EJSON ? "the text is not valid JSON" : "the text is not a number of its type");
    *out_again = prompt_yes("Edit it again? [Y/n] ", true);
    return *out_again ? 0 : report_code(e->s->command, r, "nothing is stored");
}

/* Somebody was faster. */
static int edit_conflict(struct edit *e, bool *out_again)
{
    report_line(e->s->command, "the value was changed by somebody else meanwhile");
    *out_again = prompt_yes("Edit your text again, to put it over theirs? [y/N] ", false);
    if (!*out_again)
        return report_code(e->s->command, KIST_ECONFLICT, "nothing is stored");
    return edit_load(e);
}

static int edit_round(struct edit *e, bool *out_again)
{
    enum kist_type type = edit_type(e);
    *out_again = false;
    int r = edit_once(e, type == KIST_JSON);
    if (r)
        return r;
    edit_strip_newline(e);
    if (edit_unchanged(e)) {
        report_line(e->s->command, "unchanged");
        return 0;
    }
    r = edit_check(e, type, out_again);
    if (r || *out_again)
        return r;
    struct kist_put_options o = e->options;
    o.type = type;
    r = kist_put(e->s->bucket, e->key, (struct kist_bytes){e->text.data, e->text.len}, &o, NULL);
    return r == KIST_ECONFLICT ? edit_conflict(e, out_again) : r;
}

int edit_run(struct session *s)
{
    struct edit e = {.s = s, .key = session_word(s, 0)};
    bool again = true;
    buf_init(&e.text, true);
    int r = args_put_options(&s->args, &e.options);
    if (r == 0)
        r = session_bucket(s, SESSION_WRITE);
    if (r == 0)
        r = edit_load(&e);
    if (r == 0) {
        buf_add(&e.text, e.old.data, e.old.len);
        r = buf_status(&e.text);
    }
    while (r == 0 && again)
        r = edit_round(&e, &again);
    kist_value_free(&e.old);
    buf_done(&e.text);
    return r;
}
