/* help.c: --help, from the tables. tools/manpage makes kist(1) from the same ones. */
#include "cli/help.h"

#include <string.h>

static void help_options(struct output *out, int mask)
{
    for (int i = 0; i < OPT_COUNT; i++) {
        const struct args_option_text *o = &args_options[i];
        char name[64] = "";
        if (!(mask >> i & 1))
            continue;
        char *end = stpcpy(stpcpy(name, "--"), o->name);
        if (o->argument)
            stpcpy(stpcpy(end, " "), o->argument);
        output_format(out, o->letter ? "  -%c, " : "      ", o->letter);
        output_format(out, "%-24s %s\n", name, o->help);
    }
}

static void help_command(struct output *out, const struct args_command *c)
{
    output_format(out, "usage: kist [-s STORE] %s%s%s%s\n\n%s.\n", c->name, c->options ? " [OPTION...]" : "",
                  *c->arguments ? " " : "", c->arguments, c->summary);
    if (*c->text)
        output_format(out, "\n%s\n", c->text);
    if (c->options) {
        output_text(out, "\n");
        help_options(out, c->options);
    }
    output_text(out, "\nOptions of all commands:\n");
    help_options(out, ARGS_COMMON);
}

void help_show(struct output *out, const struct args_command *command)
{
    if (command) {
        help_command(out, command);
        return;
    }
    output_text(out, "usage: kist [-s STORE] COMMAND [OPTION...] [ARGUMENT...]\n\n"
                     "An encrypted, durable key-value store.\n\nCommands (kist COMMAND --help says more):\n");
    for (const struct args_command *c = args_commands; c->name; c++)
        output_format(out, "  %-8s %s\n", c->name, c->summary);
    output_text(out, "\nOptions of all commands:\n");
    help_options(out, ARGS_COMMON);
    output_text(out, "\nExit codes: 0 ok, 1 failed, 2 usage, 3 not found, 4 conflict, 5 denied or "
                     "wrong key, 6 corrupt,\n"
                     "7 no room or too large, 8 busy.\n");
}
