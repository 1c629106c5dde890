/* signals.c: which signals end us, and which stop us.
 *
 * A prompt turns the terminal's echo off, an editor is given plaintext in a file: neither may be
 * left behind when a signal comes meanwhile. A list of the usual signals (as readpassphrase(3) has
 * it) leaves out SIGUSR1, SIGXCPU and the real-time ones, which end a process as well; so it is all
 * of them but a few. */
#include "cli/signals.h"

#include <stddef.h>

#define SIGNALS_COUNT(list) (sizeof(list) / sizeof(list)[0])

static const int signals_stop[] = {SIGTSTP, SIGTTIN, SIGTTOU};

/* They neither end nor stop us, cannot be caught (KILL, STOP), or say that we went wrong: going on
 * behind those would be worse than what is left behind. */
static const int signals_others[] = {SIGKILL, SIGSTOP, SIGCONT, SIGCHLD, SIGURG, SIGWINCH, SIGABRT,
                                     SIGBUS,  SIGFPE,  SIGILL,  SIGSEGV, SIGSYS, SIGTRAP};

static void signals_drop_ignored(sigset_t *set)
{
    for (int n = 1; n < NSIG; n++) {
        struct sigaction now;
        if (sigismember(set, n) == 1 && sigaction(n, NULL, &now) == 0 && now.sa_handler == SIG_IGN)
            sigdelset(set, n);
    }
}

void signals_ending(sigset_t *out)
{
    sigfillset(out);
    for (size_t i = 0; i < SIGNALS_COUNT(signals_others); i++)
        sigdelset(out, signals_others[i]);
    for (size_t i = 0; i < SIGNALS_COUNT(signals_stop); i++)
        sigdelset(out, signals_stop[i]);
    signals_drop_ignored(out);
}

void signals_stopping(sigset_t *out)
{
    sigemptyset(out);
    for (size_t i = 0; i < SIGNALS_COUNT(signals_stop); i++)
        sigaddset(out, signals_stop[i]);
    signals_drop_ignored(out);
}
