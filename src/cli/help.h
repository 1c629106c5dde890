/* What --help and --version say. */
#ifndef KIST_CLI_HELP_H
#define KIST_CLI_HELP_H

#include "cli/args.h"
#include "cli/output.h"

/* Of one command, or of the program when it is NULL. */
void help_show(struct output *out, const struct args_command *command);

#endif
