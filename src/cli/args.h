/* The command line, read: which command, which options, which arguments. */
#ifndef KIST_CLI_ARGS_H
#define KIST_CLI_ARGS_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum args_option {
#define OPTION(id, letter, name, argument, help) OPT_##id,
#include "cli/options.def"
#undef OPTION
    OPT_COUNT
};

#define OPT(id) (OPT_BIT_##id)
enum args_option_bit {
    OPT_BIT_NONE = 0,
#define OPTION(id, letter, name, argument, help) OPT_BIT_##id = 1 << OPT_##id,
#include "cli/options.def"
#undef OPTION
};
#define ARGS_COMMON ((1 << (OPT_VERSION + 1)) - 1)
#define ARGS_MANY 1000000

_Static_assert(OPT_COUNT < 32, "options are bits of an int");

struct session;

struct args_command {
    const char *name;
    /* 0, a negative KIST_E…, or the positive exit status of a failure that was reported already. */
    int (*run)(struct session *s);
    int least, most, options;
    const char *arguments, *summary, *text;
};

struct args_option_text {
    char letter;
    const char *name, *argument, *help;
};

extern const struct args_command args_commands[]; /* ends with a NULL name */
extern const struct args_option_text args_options[OPT_COUNT];

struct args {
    const struct args_command *command; /* NULL: none was given */
    int given;                          /* bits of the options that were given */
    const char *text[OPT_COUNT];        /* their arguments; borrowed from argv */
    int count;
    char **words; /* the arguments; borrowed from argv, which is reordered */
};

/* 0, or the exit status 2 after saying what is wrong. */
int args_parse(int argc, char **argv, struct args *out) KIST_MUST_USE;
static inline bool args_has(const struct args *a, enum args_option option)
{
    return a->given >> option & 1;
}

/* The option's argument as a number from 0 to max, or fallback when it was not given. 0, or 2 after
 * saying what is wrong. */
int args_number(const struct args *a, enum args_option option, uint64_t max, uint64_t fallback, uint64_t *out) KIST_MUST_USE;
/* A time: seconds, or a number with s, m, h, d, w; in milliseconds, 1 to KIST_TTL_MAX; never: -1;
 * not given: 0. */
int args_time(const struct args *a, enum args_option option, int64_t *out_ms) KIST_MUST_USE;
/* --type; KIST_DETECT when it was not given. */
int args_type(const struct args *a, enum kist_type *out) KIST_MUST_USE;
/* --ttl, --if-…, --type together. */
int args_put_options(const struct args *a, struct kist_put_options *out) KIST_MUST_USE;

#endif
