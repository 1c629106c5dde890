/* The driver of one system: bench_SYSTEM WORKLOAD DIR [--keys N] [--seconds S].
 *
 * run.py starts it once per workload and round, so that no system profits from what an earlier
 * workload left in the process. It prints one line of JSON per result and exits 1, with a reason,
 * if anything was not as it must be. `bench_SYSTEM info` prints name, version and settings,
 * `bench_SYSTEM list` the workloads that the system can do.
 *
 * The number of records of each workload is stated for a million keys and scales with --keys, with
 * a floor that keeps it meaningful.
 */
#include "bench.h"
#include "peer.h"
#include "work.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct main_row {
    const char *name;
    void (*run)(const struct work *work);
    uint64_t per_million; /* records, when a million keys are asked for */
    size_t batch, writers, value_len;
    bool shared;  /* needs a system that several processes can open */
    bool loaded;  /* reads a store that `load` has left */
    bool limited; /* ends after --seconds */
};

static const struct main_row main_rows[] = {
    {"single", puts_single, 20000, 1, 1, BENCH_VALUE, false, false, true},
    {"batch16", puts_single, 160000, 16, 1, BENCH_VALUE, false, false, true},
    {"batch64", puts_single, 320000, 64, 1, BENCH_VALUE, false, false, true},
    {"batch800", puts_single, 800000, 800, 1, BENCH_VALUE, false, false, true},
    {"threads16", puts_threads, 160000, 1, 16, BENCH_VALUE, false, false, true},
    {"threads64", puts_threads, 320000, 1, 64, BENCH_VALUE, false, false, true},
    {"procs8", puts_processes, 80000, 1, 8, BENCH_VALUE, true, false, true},
    {"value4k", values_run, 8000, 1, 1, 4096, false, false, true},
    {"value1m", values_run, 200, 1, 1, 1 << 20, false, false, true},
    {"load", puts_single, 1000000, 1000, 1, BENCH_VALUE, false, false, false},
    {"get", reads_snapshot, 1000000, 1, 1, BENCH_VALUE, false, true, true},
    {"get-fresh", reads_fresh, 1000000, 1, 1, BENCH_VALUE, false, true, true},
    {"scan", reads_scan, 1000000, 1, 1, BENCH_VALUE, false, true, false},
    {"beside", reads_beside, 1000000, 1, 1, BENCH_VALUE, false, true, true},
    {"open", reads_open, 1000000, 1, 1, BENCH_VALUE, false, true, false},
};

enum { MAIN_ROWS = sizeof(main_rows) / sizeof(main_rows[0]) };

static int main_info(void)
{
    printf("{\"system\": \"%s\", \"version\": \"%s\", \"settings\": \"%s\", \"shared\": %s}\n", peer_info.name, peer_version(),
           peer_info.settings, peer_info.shared ? "true" : "false");
    return 0;
}

/* A variant for reading is loaded like any other, and asked what reads. */
static bool main_suits(const struct main_row *row)
{
    bool reads = row->loaded || row->run == values_run || strcmp(row->name, "load") == 0;

    return (peer_info.shared || !row->shared) && (reads || !peer_info.reads_only);
}

static int main_list(void)
{
    for (size_t i = 0; i < MAIN_ROWS; i++)
        if (main_suits(&main_rows[i]))
            printf("%s %s\n", main_rows[i].name, main_rows[i].loaded ? "loaded" : "fresh");
    return 0;
}

static int main_usage(void)
{
    fprintf(stderr, "usage: bench_%s WORKLOAD DIR [--keys N] [--seconds S] | info | list\n", peer_info.name);
    return 2;
}

static const struct main_row *main_find(const char *name)
{
    for (size_t i = 0; i < MAIN_ROWS; i++)
        if (strcmp(main_rows[i].name, name) == 0)
            return &main_rows[i];
    return NULL;
}

/* A positive number from the command line, or death. */
static double main_number(const char *text)
{
    char *end;
    double number;

    errno = 0;
    number = strtod(text, &end);
    BENCH_MUST(errno == 0 && end != text && *end == '\0' && number > 0 && number <= 1e9, "not a number: %s", text);
    return number;
}

static uint64_t main_scale(const struct main_row *row, double keys)
{
    double records = (double)row->per_million * keys / 1e6;
    double least = (double)(row->batch * row->writers * 4);

    if (row->loaded || row->run == puts_single)
        least = 1;
    return (uint64_t)(records > least ? records : least);
}

int main(int argc, char **argv)
{
    double keys = 1e6, seconds = 2;
    const struct main_row *row;
    struct work work;

    bench_set_system(peer_info.name);
    if (argc == 2 && strcmp(argv[1], "info") == 0)
        return main_info();
    if (argc == 2 && strcmp(argv[1], "list") == 0)
        return main_list();
    if (argc < 3 || argc % 2 == 0 || !(row = main_find(argv[1])))
        return main_usage();
    for (int i = 3; i < argc; i += 2) {
        if (strcmp(argv[i], "--keys") == 0)
            keys = main_number(argv[i + 1]);
        else if (strcmp(argv[i], "--seconds") == 0)
            seconds = main_number(argv[i + 1]);
        else
            return main_usage();
    }
    BENCH_MUST(peer_info.shared || !row->shared, "%s: several processes cannot open it", row->name);
    work = (struct work){row->name,  argv[2],      main_scale(row, keys), row->limited ? seconds : 0,
                         row->batch, row->writers, row->value_len};
    row->run(&work);
    return 0;
}
