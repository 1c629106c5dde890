/* args.c: the command line.
 *
 * Tables say what there is (options.def, commands.def); getopt_long() reads each option, and which
 * words are arguments is decided here: options may stand before, between and behind them also where
 * POSIXLY_CORRECT is set, or `del KEY --if-revision 9` would delete three keys, and -5 is a number.
 * Options common to all commands may stand before or behind the command. Names are not abbreviated:
 * a script must not change its meaning when an option is added, and "--key SECRET" must not become
 * "--key-file SECRET". No option takes a secret, for every user of the machine can read the
 * arguments of every process; who tries is told so, and what was given is not repeated. */
#include "cli/args.h"

#include "cli/commands.h"
#include "cli/report.h"
#include "model/op.h"
#include "model/value.h"

#include <assert.h>
#include <getopt.h>
#include <string.h>

const struct args_command args_commands[] = {
#define COMMAND(name, run, least, most, options, arguments, summary, text) \
    {name, run, least, most, options, arguments, summary, text},
#include "cli/commands.def"
#undef COMMAND
    {0},
};

const struct args_option_text args_options[OPT_COUNT] = {
#define OPTION(id, letter, name, argument, help) {letter, name, argument, help},
#include "cli/options.def"
#undef OPTION
};

#define ARGS_LONG 256 /* what getopt_long() answers for a long option: this and its number */

/* For getopt_long(): the options of mask. "+:": it stops at an argument, whatever POSIXLY_CORRECT
 * is, and tells a missing argument of an option from an unknown option. */
static void args_tables(int mask, struct option longs[OPT_COUNT + 1], char letters[2 * OPT_COUNT + 3])
{
    letters = stpcpy(letters, "+:");
    for (int i = 0; i < OPT_COUNT; i++) {
        const struct args_option_text *o = &args_options[i];
        if (!(mask >> i & 1))
            continue;
        *longs++ = (struct option){o->name, o->argument ? required_argument : no_argument, NULL, ARGS_LONG + i};
        if (o->letter)
            *letters++ = o->letter;
        if (o->letter && o->argument)
            *letters++ = ':';
    }
    *letters = '\0';
    *longs = (struct option){0};
}

static bool args_is_secret_option(const char *name, size_t len)
{
    static const char *const names[] = {"key", "passphrase", "password", "secret", "pass", NULL};
    for (int i = 0; names[i]; i++)
        if (strlen(names[i]) == len && memcmp(names[i], name, len) == 0)
            return true;
    return false;
}

/* Is the word "--name" or "--name=…" a whole name of mask? getopt_long() would take the beginning
 * of one, too. */
static int args_check_name(const char *command, int mask, const char *word)
{
    const char *name = word + 2;
    size_t len = strcspn(name, "=");
    for (int i = 0; i < OPT_COUNT; i++)
        if (mask >> i & 1 && strlen(args_options[i].name) == len && memcmp(args_options[i].name, name, len) == 0)
            return 0;
    if (args_is_secret_option(name, len))
        return report_usage(command, "secrets are not taken from the command line, where everybody can read them: "
                                     "use --key-file or --passphrase-fd");
    return report_usage(command, "unknown option --%.*s", len > 40 ? 40 : (int)len, name);
}

/* The option of mask with this letter, or OPT_COUNT. */
static int args_letter(int mask, int c)
{
    for (int i = 0; i < OPT_COUNT; i++)
        if (mask >> i & 1 && args_options[i].letter == c)
            return i;
    return OPT_COUNT;
}

static int args_complain(const char *command, int c)
{
    if (optopt >= ARGS_LONG && c == ':')
        return report_usage(command, "--%s needs %s", args_options[optopt - ARGS_LONG].name,
                            args_options[optopt - ARGS_LONG].argument);
    if (optopt >= ARGS_LONG)
        return report_usage(command, "--%s takes no argument", args_options[optopt - ARGS_LONG].name);
    if (optopt && c == ':')
        return report_usage(command, "-%c needs an argument", optopt);
    if (optopt > ' ' && optopt < 0x7f)
        return report_usage(command, "unknown option -%c", optopt);
    return report_usage(command, "unknown option");
}

/* An argument, not an option: "-" and negative numbers are some. */
static bool args_is_word(int mask, const char *word)
{
    if (word[0] != '-' || !word[1])
        return true;
    return ((word[1] >= '0' && word[1] <= '9') || word[1] == '.') && args_letter(mask, word[1]) == OPT_COUNT;
}

/* The option at argv[optind], or the letters of several. */
static int args_option_read(struct args *a, const char *command, int mask, int argc, char **argv)
{
    struct option longs[OPT_COUNT + 1];
    char letters[2 * OPT_COUNT + 3];
    int at = optind;
    args_tables(mask, longs, letters);
    if (strncmp(argv[at], "--", 2) == 0) {
        int r = args_check_name(command, mask, argv[at]);
        if (r)
            return r;
    }
    do {
        int c = getopt_long(argc, argv, letters, longs, NULL);
        if (c == '?' || c == ':')
            return args_complain(command, c);
        int i = c >= ARGS_LONG ? c - ARGS_LONG : args_letter(mask, c);
        assert(i < OPT_COUNT);
        a->given |= 1 << i;
        a->text[i] = optarg;
    } while (optind == at); /* there are more letters in this word */
    return 0;
}

/* Options of mask out of argv, and the arguments between and behind them together to its front, as
 * a->words. With first_only it ends at the first argument. optind is left behind what was read. */
static int args_read(struct args *a, const char *command, int mask, bool first_only, int argc, char **argv)
{
    bool options = true;
    a->words = argv + 1;
    a->count = 0;
    optind = 1;
    opterr = 0;
    while (optind < argc) {
        char *word = argv[optind];
        bool end = options && strcmp(word, "--") == 0;
        if (options && !end && !args_is_word(mask, word)) {
            int r = args_option_read(a, command, mask, argc, argv);
            if (r)
                return r;
            continue;
        }
        options = options && !end;
        optind += end;
        if (first_only)
            return 0;
        if (!end)
            a->words[a->count++] = argv[optind++];
    }
    return 0;
}

static const struct args_command *args_find(const char *name)
{
    for (const struct args_command *c = args_commands; c->name; c++)
        if (strcmp(c->name, name) == 0)
            return c;
    return NULL;
}

/* Everything behind the command's name; argv[0] is the name. */
static int args_parse_command(struct args *a, int argc, char **argv)
{
    const struct args_command *c = a->command;
    int r = args_read(a, c->name, c->options | ARGS_COMMON, false, argc, argv);
    if (r || args_has(a, OPT_HELP) || args_has(a, OPT_VERSION))
        return r;
    if (a->count < c->least || a->count > c->most)
        return report_usage(c->name, "%s argument; usage: kist %s %s", a->count < c->least ? "a missing" : "an unexpected",
                            c->name, c->arguments);
    return 0;
}

int args_parse(int argc, char **argv, struct args *out)
{
    struct args a = {0};
    int r = args_read(&a, NULL, ARGS_COMMON, true, argc, argv);
    if (r)
        return r;
    int first = optind;
    if (first < argc) {
        a.command = args_find(argv[first]);
        if (!a.command)
            return report_usage(NULL, "unknown command %.40s; kist --help lists them", argv[first]);
        r = args_parse_command(&a, argc - first, argv + first);
    } else if (!args_has(&a, OPT_HELP) && !args_has(&a, OPT_VERSION)) {
        r = report_usage(NULL, "a command is missing; kist --help lists them");
    }
    if (r == 0)
        *out = a;
    return r;
}

int args_number(const struct args *a, enum args_option option, uint64_t max, uint64_t fallback, uint64_t *out)
{
    const char *text = a->text[option];
    uint64_t v = 0;
    if (!args_has(a, option)) {
        *out = fallback;
        return 0;
    }
    bool good = *text && strlen(text) < 20;
    for (const char *p = text; good && *p; p++) {
        good = *p >= '0' && *p <= '9';
        v = v * 10 + (uint64_t)(*p - '0');
    }
    if (!good || v > max)
        return report_usage(a->command->name, "--%s: a number from 0 to %llu", args_options[option].name,
                            (unsigned long long)max);
    *out = v;
    return 0;
}

static int64_t args_unit_ms(const char *unit)
{
    static const char letters[] = "smhdw";
    static const int64_t ms[] = {1000, 60000, 3600000, 86400000, 604800000};
    if (!*unit)
        return 1000;
    const char *at = unit[1] ? NULL : strchr(letters, *unit);
    return at ? ms[at - letters] : 0;
}

int args_time(const struct args *a, enum args_option option, int64_t *out_ms)
{
    const char *text = a->text[option];
    int64_t n = 0, ms = 0;
    if (!args_has(a, option) || strcmp(text, "never") == 0) {
        *out_ms = args_has(a, option) ? -1 : 0;
        return 0;
    }
    size_t digits = strspn(text, "0123456789");
    if (value_parse_int((struct kist_bytes){text, digits}, &n) < 0 || n < 1 ||
        __builtin_mul_overflow(n, args_unit_ms(text + digits), &ms) || ms < 1 || ms > KIST_TTL_MAX)
        return report_usage(a->command->name, "--%s: a time like 90 (seconds), 10m, 2h, 7d, at most 1,000 years; or never",
                            args_options[option].name);
    *out_ms = ms;
    return 0;
}

int args_type(const struct args *a, enum kist_type *out)
{
    const char *text = a->text[OPT_TYPE];
    if (!args_has(a, OPT_TYPE)) {
        *out = KIST_DETECT;
        return 0;
    }
    if (op_type_parse((struct kist_bytes){text, strlen(text)}, out) < 0)
        return report_usage(a->command->name, "--type: raw, int, float, json or detect");
    return 0;
}

int args_put_options(const struct args *a, struct kist_put_options *out)
{
    *out = (struct kist_put_options){.size = sizeof *out};
    out->flags |= args_has(a, OPT_IF_ABSENT) ? KIST_IF_ABSENT : 0;
    out->flags |= args_has(a, OPT_IF_PRESENT) ? KIST_IF_PRESENT : 0;
    out->flags |= args_has(a, OPT_IF_REVISION) ? KIST_IF_REVISION : 0;
    if (args_has(a, OPT_IF_ABSENT) && args_has(a, OPT_IF_PRESENT))
        return report_usage(a->command->name, "--if-absent and --if-present exclude each other");
    int r = args_number(a, OPT_IF_REVISION, INT64_MAX, 0, &out->if_revision);
    if (r == 0)
        r = args_time(a, OPT_TTL, &out->ttl_ms);
    if (r == 0)
        r = args_type(a, &out->type);
    return r;
}
