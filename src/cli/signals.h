/* Signals that would end or stop us in the middle of something that must be cleaned up. */
#ifndef KIST_CLI_SIGNALS_H
#define KIST_CLI_SIGNALS_H

#include <signal.h>

/* Those that would end this process as it is now, real-time signals included. Not among them: what
 * is ignored (nohup), what cannot be caught, and what a bug of our own raises. */
void signals_ending(sigset_t *out);
/* Those that would stop it. */
void signals_stopping(sigset_t *out);

#endif
