/* args.c: the command line.
 *
 * Tables say what there is (options.def, commands.def); getopt_long() reads it. Options common to
 * all commands may stand before or behind the command. Names are not abbreviated: a script must not
 * change its meaning when an option is added, and "--key SECRET" must not become "--key-file
 * SECRET". No option takes a secret, for every user of the machine can read the arguments of every
 * process; who tries is told so, and what was given is not repeated. */
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

/* For getopt_long(): the options of mask. letters: room for 3 each and a prefix. */
static void args_tables(int mask, const char *prefix, struct option *longs, char *letters)
{
    letters = stpcpy(letters, prefix);
    for (int i = 0; i < OPT_COUNT; i++) {
        const struct args_option_text *o = &args_options[i];
        if (!(mask >> i & 1))
            continue;
        *longs++ = (struct option){o->name, o->argument ? required_argument : no_argument, NULL,
                                   ARGS_LONG + i};
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
        if (mask >> i & 1 && strlen(args_options[i].name) == len &&
            memcmp(args_options[i].name, name, len) == 0)
            return 0;
    if (args_is_secret_option(name, len))
        return report_usage(
            command, "secrets are not taken from the command line, where everybody can read them: "
                     "use --key-file or --passphrase-fd");
    return report_usage(command, "unknown option --%.*s", len > 40 ? 40 : (int)len, name);
}

static int args_letter(int c)
{
    for (int i = 0; i < OPT_COUNT; i++)
        if (args_options[i].letter == c)
            return i;
    return OPT_COUNT;
}

static int args_complain(const char *command, int c)
{
    if (optopt >= ARGS_LONG && c == ':')
        return report_usage(command, "--%s needs %s", args_options[optopt - ARGS_LONG].name,
                            args_options[optopt - ARGS_LONG].argument);
    if (optopt >= ARGS_LONG)
        return report_usage(command, "--%s takes no argument",
                            args_options[optopt - ARGS_LONG].name);
    if (optopt && c == ':')
        return report_usage(command, "-%c needs an argument", optopt);
    if (optopt > ' ' && optopt < 0x7f)
        return report_usage(command, "unknown option -%c", optopt);
    return report_usage(command, "unknown option");
}

/* Options of mask out of argv, up to the first argument when prefix is "+:", else all; optind is
 * left at the arguments. */
static int args_options_read(struct args *a, const char *command, int mask, const char *prefix,
                             int argc, char **argv)
{
    struct option longs[OPT_COUNT + 1];
    char letters[3 * OPT_COUNT + 4];
    int c;
    args_tables(mask, prefix, longs, letters);
    optind = 0; /* start anew */
    opterr = 0;
    while ((c = getopt_long(argc, argv, letters, longs, NULL)) != -1) {
        if (c == '?' || c == ':')
            return args_complain(command, c);
        int i = c >= ARGS_LONG ? c - ARGS_LONG : args_letter(c);
        assert(i < OPT_COUNT);
        a->given |= 1 << i;
        a->text[i] = optarg;
    }
    return 0;
}

/* The argument of an option of mask: the word behind it. */
static bool args_takes_next(int mask, const char *word)
{
    for (int i = 0; i < OPT_COUNT; i++) {
        const struct args_option_text *o = &args_options[i];
        if (!(mask >> i & 1) || !o->argument)
            continue;
        if (strncmp(word, "--", 2) == 0 ? strcmp(word + 2, o->name) == 0
                                        : word[0] == '-' && word[1] == o->letter && !word[2])
            return true;
    }
    return false;
}

static bool args_is_number(const char *word)
{
    return word[0] == '-' && ((word[1] >= '0' && word[1] <= '9') || word[1] == '.');
}

/* Names are checked; with ARGS_NUMBERS the first word like -5 is taken out of argv, for
 * getopt_long() would take it for an option. */
static int args_prepare(int mask, const char *command, bool global, int *io_argc, char **argv,
                        char **out_number)
{
    *out_number = NULL;
    for (int i = 1; i < *io_argc; i++) {
        if (strcmp(argv[i], "--") == 0 || (global && argv[i][0] != '-'))
            return 0;
        if (strncmp(argv[i], "--", 2) == 0) {
            int r = args_check_name(command, mask, argv[i]);
            if (r)
                return r;
        } else if (mask & ARGS_NUMBERS && !*out_number && args_is_number(argv[i])) {
            *out_number = argv[i];
            memmove(argv + i, argv + i + 1,
                    sizeof argv[0] * (size_t)(*io_argc - i)); /* with the NULL behind */
            --*io_argc;
            --i;
            continue;
        }
        i += args_takes_next(mask, argv[i]);
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
    char *number;
    int mask = c->options | ARGS_COMMON;
    int r = args_prepare(mask, c->name, false, &argc, argv, &number);
    if (r == 0)
        r = args_options_read(a, c->name, mask & ~ARGS_NUMBERS, ":", argc, argv);
    if (r)
        return r;
    a->words = argv + optind;
    a->count = argc - optind;
    if (number) /* its place is free: it was taken out of argv */
        a->words[a->count++] = number;
    if (args_has(a, OPT_HELP) || args_has(a, OPT_VERSION))
        return 0;
    if (a->count < c->least || a->count > c->most)
        return report_usage(c->name, "%s argument; usage: kist %s %s",
                            a->count < c->least ? "a missing" : "an unexpected", c->name,
                            c->arguments);
    return 0;
}

int args_parse(int argc, char **argv, struct args *out)
{
    struct args a = {0};
    char *number;
    int r = args_prepare(ARGS_COMMON, NULL, true, &argc, argv, &number);
    if (r == 0)
        r = args_options_read(&a, NULL, ARGS_COMMON, "+:", argc, argv);
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

int args_number(const struct args *a, enum args_option option, uint64_t max, uint64_t fallback,
                uint64_t *out)
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
        return report_usage(a->command->name, "--%s: a number from 0 to %llu",
                            args_options[option].name, (unsigned long long)max);
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
        return report_usage(
            a->command->name,
            "--%s: a time like 90 (seconds), 10m, 2h, 7d, at most 1,000 years; or never",
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
