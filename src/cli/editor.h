/* Running the user's editor, and the signals that come meanwhile. */
#ifndef KIST_CLI_EDITOR_H
#define KIST_CLI_EDITOR_H

#include "base/error.h"

#include <signal.h>

/* Signals that would end us are held back from begin to end, and end us at the end: so what lies
 * between can be cleaned up. */
struct editor {
    sigset_t before;
    int ended_by; /* a signal that shall end us; 0: none */
};

void editor_begin(struct editor *e);
/* Run $VISUAL, $EDITOR or vi on the file and wait. 0, or the exit status after saying what is
 * wrong. */
int editor_run(const char *command, struct editor *e, const char *path) KIST_MUST_USE;
void editor_end(struct editor *e);

#endif
