/* Questions to the person at the terminal. */
#ifndef KIST_CLI_PROMPT_H
#define KIST_CLI_PROMPT_H

#include "base/buf.h"
#include "base/error.h"

#include <stdbool.h>

/* Ask "QUESTION for STORE: " on /dev/tty with echo off, while no other kist asks there; the answer,
 * without its newline, is appended. 0, or the exit status after saying what is wrong: 5 where there
 * is no terminal. */
int prompt_secret(const char *command, const char *question, const char *store, size_t limit, struct buf *out) KIST_MUST_USE;
/* Ask on standard error, read the answer from standard input. An empty line means fallback; the end
 * of input means no. */
bool prompt_yes(const char *question, bool fallback);

#endif
