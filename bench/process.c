/* What it costs to start a program: posix_spawn (no copy of our memory) until wait. Loader,
 * libraries and exit are in it. */
#include "process.h"

#include "bench.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PROCESS_WARM = 20, PROCESS_TIMES = 200 };

static void process_once(char *const argv[], char *const environment[])
{
    posix_spawn_file_actions_t actions;
    pid_t child = 0;
    int status = 1;

    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    BENCH_MUST(posix_spawn(&child, argv[0], &actions, NULL, argv, environment) == 0, "cannot start %s", argv[0]);
    BENCH_MUST(waitpid(child, &status, 0) == child, "lost %s", argv[0]);
    BENCH_MUST(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%s failed: status %d", argv[0], status);
    posix_spawn_file_actions_destroy(&actions);
}

double process_ms(char *const argv[], char *const environment[])
{
    double times[PROCESS_TIMES];

    for (int i = 0; i < PROCESS_WARM; i++)
        process_once(argv, environment);
    for (int i = 0; i < PROCESS_TIMES; i++) {
        double start = bench_now();

        process_once(argv, environment);
        times[i] = (bench_now() - start) * 1e3;
    }
    return bench_median(times, PROCESS_TIMES);
}
