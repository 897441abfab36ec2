/*
 * above_baseline LEVEL - executes one instruction of avx512, avx2, sse4, or none of them (sse2), and says so. On a CPU
 * without it, real or emulated, it dies of SIGILL: that shows that such an emulation would notice one in the library.
 */
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv) {
    const char *level = argc > 1 ? argv[1] : "";
    if (strcmp(level, "avx512") == 0) __asm__ volatile("vpternlogd $0xff, %%zmm0, %%zmm0, %%zmm0" ::: "xmm0");
    else if (strcmp(level, "avx2") == 0) __asm__ volatile("vpaddd %%ymm0, %%ymm0, %%ymm0" ::: "xmm0");
    else if (strcmp(level, "sse4") == 0) __asm__ volatile("pmulld %%xmm0, %%xmm0" ::: "xmm0");
    else if (strcmp(level, "sse2") == 0) __asm__ volatile("paddd %%xmm0, %%xmm0" ::: "xmm0");
    else return 2;
    printf("%s executed\n", level);
    return 0;
}
