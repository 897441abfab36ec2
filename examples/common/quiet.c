#define _GNU_SOURCE 1 /* sched_getaffinity */

#include "quiet.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "measure.h"

const double quiet_most_others = 0.15, quiet_most_spread = 0.3;

static const double LEAST_SECONDS = 0.3; /* the kernel counts in hundredths */

/* /proc/stat: user nice system idle iowait irq softirq steal, of each CPU. What a hypervisor stole is others' too. */
static bool read_all(double *seconds) {
    cpu_set_t mine;
    char line[512];
    FILE *f = fopen("/proc/stat", "r");
    long ticks = sysconf(_SC_CLK_TCK);
    if (f == NULL || ticks <= 0 || sched_getaffinity(0, sizeof mine, &mine) != 0) {
        if (f != NULL) fclose(f);
        return false;
    }
    double sum = 0;
    int found = 0;
    while (fgets(line, sizeof line, f) != NULL) {
        unsigned cpu;
        unsigned long long t[8] = {0};
        if (sscanf(line, "cpu%u %llu %llu %llu %llu %llu %llu %llu %llu", &cpu, &t[0], &t[1], &t[2], &t[3], &t[4],
                   &t[5], &t[6], &t[7]) < 5 ||
            cpu >= CPU_SETSIZE || !CPU_ISSET(cpu, &mine))
            continue;
        sum += (double)(t[0] + t[1] + t[2] + t[5] + t[6] + t[7]);
        found++;
    }
    fclose(f);
    *seconds = sum / (double)ticks;
    return found > 0;
}

quiet_reading quiet_read(void) {
    quiet_reading r = {.seconds = clock_ms() / 1e3};
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    r.own_cpu = (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
                1e-6 * (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
    r.known = read_all(&r.all_cpu);
    return r;
}

double quiet_others(const quiet_reading *begin, const quiet_reading *end) {
    double seconds = end->seconds - begin->seconds;
    if (!begin->known || !end->known || seconds < LEAST_SECONDS) return 0;
    double others = ((end->all_cpu - begin->all_cpu) - (end->own_cpu - begin->own_cpu)) / seconds;
    return others > 0 ? others : 0;
}

double quiet_spread(double *values, int n) {
    if (n < 4) return 0;
    double middle = median(values, n); /* sorts */
    return middle > 0 ? (values[(3 * n) / 4] - values[n / 4]) / middle : 0;
}
