/* Starting a program and waiting for it, as a number. */
#ifndef BENCH_PROCESS_H
#define BENCH_PROCESS_H

/* The median of many starts of `argv` with `environment`, in milliseconds, its standard output
 * thrown away. Dies when it does not exit with 0. */
double process_ms(char *const argv[], char *const environment[]);

#endif
