/* The data of the benchmark and its small tools.
 *
 * Keys and values are functions of an index, so that no table of a million of them has to be kept,
 * every system sees the same bytes, and any value can be checked when it comes back. Making a key
 * costs about 15 ns and a value of 100 bytes about as much; it is inside the timed loops, the same
 * for everyone.
 *
 * A benchmark program has nobody to report an error to but the person who reads its numbers, so
 * here, unlike in the library, a failure ends the program. A wrong number is worse than none.
 */
#include "bench.h"

#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char *system_name = "none";

uint64_t bench_random(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

void bench_key(uint64_t index, char out_key[BENCH_KEY])
{
    static const char digits[] = "0123456789abcdef";
    uint64_t state = index * UINT64_C(0xd1342543de82ef95) + 1;

    for (size_t word = 0; word < 2; word++) {
        uint64_t bits = bench_random(&state);

        for (size_t i = 0; i < 16; i++, bits >>= 4)
            out_key[word * 16 + i] = digits[bits & 15];
    }
}

void bench_value(uint64_t index, void *out_value, size_t len)
{
    uint64_t state = index * UINT64_C(0xaf251af3b0f025b5) + 7;
    char *out = out_value;

    while (len > 0) {
        uint64_t bits = bench_random(&state);
        size_t part = len < sizeof(bits) ? len : sizeof(bits);

        memcpy(out, &bits, part);
        out += part;
        len -= part;
    }
}

bool bench_is_value(uint64_t index, const void *ptr, size_t len, size_t want)
{
    char *expected;
    bool same;

    if (len != want)
        return false;
    expected = bench_alloc(want);
    bench_value(index, expected, want);
    same = memcmp(expected, ptr, want) == 0;
    free(expected);
    return same;
}

double bench_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int bench_compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

double bench_median(double *numbers, size_t n)
{
    qsort(numbers, n, sizeof(*numbers), bench_compare);
    return n % 2 ? numbers[n / 2] : (numbers[n / 2 - 1] + numbers[n / 2]) / 2;
}

void *bench_alloc(size_t size)
{
    void *ptr = calloc(1, size ? size : 1);

    BENCH_MUST(ptr, "no memory for %zu bytes", size);
    return ptr;
}

void bench_pin(unsigned core)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(core, &set);
    if (sched_setaffinity(0, sizeof(set), &set))
        fprintf(stderr, "bench: cannot pin to core %u; going on unpinned\n", core);
}

void bench_set_system(const char *name)
{
    system_name = name;
}

void bench_emit(const char *workload, double value, const char *unit)
{
    printf("{\"workload\": \"%s\", \"system\": \"%s\", \"value\": %.6g, \"unit\": \"%s\"}\n", workload, system_name, value, unit);
    fflush(stdout);
}

void bench_die(const char *format, ...)
{
    va_list args;

    fprintf(stderr, "bench_%s: ", system_name);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(1);
}
