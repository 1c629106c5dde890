/* main.c: the program kist.
 *
 * It prepares the process (descriptors 0 to 2 are open, cores are off, a full or limited file is an
 * error and not a signal), runs one command, and turns its answer into a line on standard error and
 * an exit status. SIGPIPE is left alone: a reader that has gone ends us as it ends cat; where it is
 * ignored, the failed write ends us in silence. */
#include "base/os.h"
#include "cli/help.h"
#include "cli/report.h"
#include "cli/session.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

/* A closed descriptor 0, 1 or 2 would be given to the first file of the store, and what is meant
 * for the terminal would go into it. A directory takes their place: neither read nor written by
 * anyone. */
static bool main_descriptors(void)
{
    for (int fd = 0; fd <= STDERR_FILENO; fd++) {
        int got = -1;
        if (fcntl(fd, F_GETFD) >= 0)
            continue;
        if (os_open(OS_AT_CWD, "/", OS_DIRECTORY, &got) < 0 || got != fd)
            return false;
    }
    return true;
}

static void main_process(void)
{
    struct rlimit none = {0, 0}, locked;
    os_cores_off();
    /* Plaintext stays out of swap where that costs nobody anything. Under a limit it would make
     * later allocations fail; keys are locked either way (crypt/secret.c). */
    if (getrlimit(RLIMIT_MEMLOCK, &locked) == 0 && locked.rlim_cur == RLIM_INFINITY)
        (void)mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT);
    (void)setrlimit(RLIMIT_CORE, &none); /* for the editor, too, which prctl does not reach */
    (void)signal(SIGXFSZ, SIG_IGN);
}

/* The exit status for what a command answered, after saying what is wrong. */
static int main_status(struct session *s, int r)
{
    int failed = s->out.failed;
    if (failed == EPIPE)
        return REPORT_FAILED;
    if (failed)
        return report_failed(s->command, "cannot write to standard output: %s", strerror(failed));
    return r < 0 ? session_failed(s, "", r, "") : r;
}

static int main_run(struct session *s)
{
    const struct args *a = &s->args;
    int r = 0;
    s->command = a->command ? a->command->name : NULL;
    if (args_has(a, OPT_HELP))
        help_show(&s->out, a->command);
    else if (args_has(a, OPT_VERSION))
        output_format(&s->out, "kist %s\n", kist_version());
    else if (a->command) /* args_parse() has seen to it */
        r = a->command->run(s);
    int flushed = output_flush(&s->out); /* also after a failure: what came before it is true */
    if (r == 0)
        r = flushed;
    r = main_status(s, r);
    session_close(s);
    output_done(&s->out);
    return r;
}

int main(int argc, char **argv)
{
    struct session s = {0};
    if (!main_descriptors())
        return REPORT_FAILED;
    main_process();
    output_init(&s.out, STDOUT_FILENO);
    int r = args_parse(argc, argv, &s.args);
    return r ? r : main_run(&s);
}
