/*
 * tune_test - what sparamx-bench --tune makes of times: the fastest kernel, unless the library's own is as fast but for
 * noise, or is more accurate. The times are given here, so no clock decides.
 */
#define _GNU_SOURCE
#include "bench/tune_kernels.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int passed, failed;

static sparamx_kernel_info row(const char *name, int64_t first, int64_t last, int64_t from, int32_t accuracy) {
    return (sparamx_kernel_info){.size = sizeof(sparamx_kernel_info), .name = name, .m_min = first, .m_max = last,
                                 .m_plan = from, .accuracy = accuracy};
}

/* Three kernels: "many" for any number of tokens, "few" for up to 8, "tiles" from 9 on by the table. */
static kernel_list list_of(double many, double few, double tiles, int32_t accuracy_of_tiles) {
    kernel_list list = {.kernels = 3, .points = 3, .point = {1, 9, 17}};
    list.kernel[0] = row("many", 1, INT64_MAX, 1, 2);
    list.kernel[1] = row("few", 1, 8, 1, 2);
    list.kernel[2] = row("tiles", 1, INT64_MAX, 17, accuracy_of_tiles);
    double ms[3] = {many, few, tiles};
    for (int p = 0; p < 3; p++) {
        for (int i = 0; i < 3; i++) list.ms[p][i] = i == 1 && p > 0 ? NAN : ms[i];
    }
    return list;
}

static void expect(const char *what, const tuning *t, kernel_list list, int changed, const char *text) {
    char *got = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&got, &size);
    if (!out) abort();
    int count = kernels_write(t, &list, out);
    fclose(out);
    bool good = count == changed && strcmp(got, text) == 0;
    if (!good) printf("not ok: %s: %d changed, and\n%s", what, count, got);
    if (good) passed++;
    else failed++;
    free(got);
}

int main(void) {
    tuning exact = {0}, any = {.any_accuracy = true};
    expect("the table is right", &exact, list_of(3, 1, 2, 2), 1,
           "kernel few 1 8\nkernel tiles 9 16  # 1.50 times as fast as many\nkernel tiles 17 any\n");
    expect("noise", &exact, list_of(1.0, 0.97, 1.04, 2), 0, "kernel few 1 8\nkernel many 9 16\nkernel tiles 17 any\n");
    expect("a wrong choice", &exact, list_of(1, 3, 3, 2), 2,
           "kernel many 1 8  # 3.00 times as fast as few\nkernel many 9 16\n"
           "kernel many 17 any  # 3.00 times as fast as tiles\n");
    expect("less accurate tiles", &exact, list_of(3, 3, 1, 1), 0,
           "kernel few 1 8\nkernel many 9 16\nkernel tiles 17 any\n");
    expect("any accuracy", &any, list_of(3, 3, 1, 1), 2,
           "kernel tiles 1 8  # 3.00 times as fast as few\nkernel tiles 9 16  # 3.00 times as fast as many\n"
           "kernel tiles 17 any\n");
    printf("%d passed, %d failed, 0 skipped\n", passed, failed);
    return failed ? 1 : 0;
}
