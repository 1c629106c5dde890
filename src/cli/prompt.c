/* prompt.c: asking.
 *
 * A secret is asked for on /dev/tty, so that standard input stays free for values. Echo comes back
 * on every way out: signals that end or stop the program are caught while it is off, end the read,
 * and are raised again afterwards.
 *
 * In a pipeline two kists may want to ask at once. The second one would find the echo off that the
 * first has turned off, and leave the terminal so. They ask one after the other: a lock on the byte
 * of /dev/tty that has the number of the terminal is held from before the first look at its modes
 * until they are as they were, but not while we are stopped. It needs no file, and also keeps two
 * users on one terminal apart (sudo). Whoever may open /dev/tty may hold it, and so make us wait;
 * where it cannot be had at all we ask without. Dropped: a lock file in XDG_RUNTIME_DIR, which is
 * often not set, and another one for the other user. */
#include "cli/prompt.h"

#include "base/os.h"
#include "cli/input.h"
#include "cli/report.h"
#include "cli/signals.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

static volatile sig_atomic_t prompt_caught;

static void prompt_catch(int number)
{
    prompt_caught = number;
}

struct prompt_signals {
    sigset_t caught;
    struct sigaction before[NSIG]; /* of those */
};

static void prompt_signals_catch(struct prompt_signals *s)
{
    struct sigaction catch = {.sa_handler = prompt_catch};
    sigset_t ending, stopping;
    prompt_caught = 0;
    sigemptyset(&catch.sa_mask);
    signals_ending(&ending);
    signals_stopping(&stopping);
    (void)sigorset(&s->caught, &ending, &stopping);
    for (int n = 1; n < NSIG; n++)
        if (sigismember(&s->caught, n) == 1)
            (void)sigaction(n, &catch, &s->before[n]);
}

static void prompt_signals_release(const struct prompt_signals *s)
{
    for (int n = 1; n < NSIG; n++)
        if (sigismember(&s->caught, n) == 1)
            (void)sigaction(n, &s->before[n], NULL);
}

static void prompt_say(int fd, const void *text, size_t len)
{
    if (write(fd, text, len) < 0)
        return; /* the read will fail as well */
}

/* Until there is something to read; false: a signal came. It cannot slip in between the look at
 * prompt_caught and the wait. */
static bool prompt_wait(int fd, const struct prompt_signals *s)
{
    struct pollfd terminal = {.fd = fd, .events = POLLIN};
    sigset_t before;
    int n = 0;
    (void)sigprocmask(SIG_BLOCK, &s->caught, &before);
    while (!prompt_caught && (n == 0 || (n < 0 && errno == EINTR)))
        n = ppoll(&terminal, 1, NULL, &before);
    (void)sigprocmask(SIG_SETMASK, &before, NULL);
    return !prompt_caught;
}

/* A line of the terminal: the kernel gives it at once. KIST_ETIMEOUT: a signal came. */
static int prompt_read(int fd, const struct prompt_signals *s, size_t limit, struct buf *out)
{
    for (;;) {
        uint8_t byte;
        if (!prompt_wait(fd, s))
            return KIST_ETIMEOUT;
        ssize_t n = read(fd, &byte, 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return KIST_EIO;
        if (n == 0 || byte == '\n')
            return buf_status(out);
        if (out->len == limit)
            return KIST_ETOOBIG;
        buf_add_u8(out, byte);
    }
}

/* Set the terminal's modes, whatever signals come; not from the background, where that stops us. */
static bool prompt_set(int fd, const struct termios *modes)
{
    int r;
    do
        r = tcsetattr(fd, TCSAFLUSH, modes);
    while (r < 0 && errno == EINTR && prompt_caught != SIGTTOU);
    return r == 0;
}

static int prompt_quietly(int fd, const struct buf *question, size_t limit, struct buf *out)
{
    struct prompt_signals signals;
    struct termios shown, hidden;
    int r = KIST_EIO;
    if (tcgetattr(fd, &shown) < 0)
        return r;
    prompt_signals_catch(&signals);
    hidden = shown;
    hidden.c_lflag &= ~(tcflag_t)(ECHO | ECHONL);
    if (prompt_set(fd, &hidden)) {
        prompt_say(fd, question->data, question->len);
        r = prompt_read(fd, &signals, limit, out);
        (void)prompt_set(fd, &shown);
        prompt_say(fd, "\n", 1);
    } else if (prompt_caught) {
        r = KIST_ETIMEOUT;
    }
    prompt_signals_release(&signals);
    return r;
}

/* The same, while nobody else asks on this terminal. */
static int prompt_alone(int fd, const struct buf *question, size_t limit, struct buf *out)
{
    unsigned terminal = 0;
    bool locked = ioctl(fd, TIOCGDEV, &terminal) == 0 && os_lock_wait(fd, terminal, OS_EXCLUSIVE_LOCK) == 0;
    int r = prompt_quietly(fd, question, limit, out);
    if (locked)
        os_unlock(fd, terminal);
    return r;
}

static void prompt_question(struct buf *out, const char *question, const char *store)
{
    buf_add(out, question, strlen(question));
    buf_add(out, " for ", 5);
    buf_add(out, store, strlen(store));
    report_mask((char *)out->data, out->len);
    buf_add(out, ": ", 2);
}

static int prompt_ask(int fd, const struct buf *question, size_t limit, struct buf *out)
{
    sigset_t stopping;
    int r;
    (void)buf_reserve(out, limit + 1);
    signals_stopping(&stopping);
    do {
        buf_reset(out);
        r = prompt_alone(fd, question, limit, out);
        if (r == KIST_ETIMEOUT)
            (void)raise(prompt_caught); /* comes back only from a stop */
    } while (r == KIST_ETIMEOUT && sigismember(&stopping, prompt_caught) == 1);
    return r;
}

int prompt_secret(const char *command, const char *question, const char *store, size_t limit, struct buf *out)
{
    struct buf line;
    int fd = -1;
    if (os_open(OS_AT_CWD, "/dev/tty", 0, &fd) < 0)
        return report_code(command, KIST_EKEY,
                           "no key: give --key-file or --passphrase-fd, or set KIST_KEY_FILE "
                           "(there is no terminal to ask on)");
    buf_init(&line, false);
    prompt_question(&line, question, store);
    int r = buf_status(&line);
    r = r < 0 ? r : prompt_ask(fd, &line, limit, out);
    buf_done(&line);
    os_close(&fd);
    if (r == KIST_ETOOBIG)
        return report_failed(command, "the passphrase is longer than %zu bytes", limit);
    return r == KIST_EIO || r == KIST_ETIMEOUT ? report_failed(command, "cannot read from the terminal") : r;
}

bool prompt_yes(const char *question, bool fallback)
{
    struct buf line;
    bool end = false, yes = fallback;
    buf_init(&line, false);
    prompt_say(STDERR_FILENO, question, strlen(question));
    int r = input_line(STDIN_FILENO, 100, &line, &end);
    if (r < 0 || end)
        yes = false;
    else if (line.len)
        yes = line.data[0] == 'y' || line.data[0] == 'Y';
    buf_done(&line);
    return yes;
}
