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
/* Where it went wrong ("line 7: " or ""), the sentence for code, and the detail behind it unless it
 * is "". */
int report_error(const char *command, const char *where, int code, const char *detail);
/* Control characters, which could be commands to the terminal, become '?': a file name may come
 * from anywhere. */
void report_mask(char *text, size_t len);

#endif
