/* report.c: errors, for people and for scripts.
 *
 * One line each on standard error, whose beginning says which program and which command; the exit
 * status comes from errors.def. Written with one write, so that lines of several processes do not
 * mix. */
#include "cli/report.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

void report_mask(char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            text[i] = '?';
}

static void report_vline(const char *command, const char *format, va_list args)
{
    char line[1024];
    size_t room = sizeof line - 1;
    int n = snprintf(line, room, command ? "kist: %s: " : "kist: ", command);
    size_t len = n < 0 ? 0 : (size_t)n < room ? (size_t)n : room - 1;
    n = vsnprintf(line + len, room - len, format, args);
    len += n < 0 ? 0 : (size_t)n < room - len ? (size_t)n : room - len - 1;
    report_mask(line, len);
    line[len++] = '\n';
    if (write(STDERR_FILENO, line, len) < 0)
        return; /* there is nobody to tell */
}

void report_line(const char *command, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    report_vline(command, format, args);
    va_end(args);
}

int report_usage(const char *command, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    report_vline(command, format, args);
    va_end(args);
    return REPORT_USAGE;
}

int report_failed(const char *command, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    report_vline(command, format, args);
    va_end(args);
    return REPORT_FAILED;
}

int report_code(const char *command, int code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    report_vline(command, format, args);
    va_end(args);
    return kist_error_exit(code);
}

int report_error(const char *command, const char *where, int code, const char *detail)
{
    const char *sentence = kist_strerror(code);
    /* An expected answer needs no circumstances, and those at hand may be another failure's. */
    if (code > KIST_EINVAL || !*detail || strcmp(detail, sentence) == 0)
        return report_code(command, code, "%s%s", where, sentence);
    return report_code(command, code, "%s%s: %s", where, sentence, detail);
}
