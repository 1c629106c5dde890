/* What every part of the benchmark shares: the data, the clock, the result line, and dying loudly.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    BENCH_KEY = 32,    /* bytes a key, all lower-case hexadecimal digits */
    BENCH_VALUE = 100, /* bytes a value, incompressible */
    BENCH_FRAME = 265  /* bytes of one sealed commit of one such record: what the bare loop appends */
};

/* The indices of writer W are BENCH_RANGE * W + 0, 1, 2, …: writers never meet on a key. */
#define BENCH_RANGE (UINT64_C(1) << 32)

/* The key of record `index`: the same 32 bytes in every system and every run. */
void bench_key(uint64_t index, char out_key[BENCH_KEY]);

/* The value of record `index`, any length; a shorter one is a prefix of a longer one. */
void bench_value(uint64_t index, void *out_value, size_t len);

/* Does `ptr` hold exactly the value of record `index` of `want` bytes? */
bool bench_is_value(uint64_t index, const void *ptr, size_t len, size_t want);

/* The next number of the sequence `*state` (splitmix64). */
uint64_t bench_random(uint64_t *state);

/* Seconds on a clock that never jumps. */
double bench_now(void);

/* The middle one of n numbers, which are sorted in place. n >= 1. */
double bench_median(double *numbers, size_t n);

/* Memory or death. */
void *bench_alloc(size_t size);

/* Bind the calling thread to one core; harmless where that is refused. */
void bench_pin(unsigned core);

/* Print one result as a line of JSON on standard output. `unit` is "op/s", "ms", "us", "bytes" or
 * "ratio". */
void bench_emit(const char *workload, double value, const char *unit);

/* The name that bench_emit() prints for the system. */
void bench_set_system(const char *name);

/* Print why on standard error and exit 1. */
_Noreturn void bench_die(const char *format, ...) __attribute__((format(printf, 1, 2)));

#define BENCH_MUST(condition, ...)  \
    do {                            \
        if (!(condition))           \
            bench_die(__VA_ARGS__); \
    } while (0)

#endif
