/* What goes wrong, said on standard error: "kist: get: no such key". Never a value or a secret. */
#ifndef KIST_CLI_REPORT_H
#define KIST_CLI_REPORT_H

#include "base/error.h"

#define REPORT_FAILED 1
#define REPORT_USAGE 2

/* One line; command may be NULL. */
void report_line(const char *command, const char *format, ...) KIST_PRINTF(2, 3);
/* The same, and the exit status for it: 2, 1, or that of code. */
int report_usage(const char *command, const char *format, ...) KIST_PRINTF(2, 3);
int report_failed(const char *command, const char *format, ...) KIST_PRINTF(2, 3);
int report_code(const char *command, int code, const char *format, ...) KIST_PRINTF(3, 4);
/* The sentence for code, and the detail behind it when there is one. */
int report_error(const char *command, int code, const char *detail);

#endif
