#define _GNU_SOURCE 1 /* getopt_long */

#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../common/text.h"
#include "../common/threads.h"
#include "sparamx.h"

enum { MAX_TOKENS = 16384 };

static const char usage[] =
    "Usage: sparamx-run [OPTION...] MODEL.gguf\n"
    "Multiplies every weight matrix of a GGUF model by random activations and prints what came out.\n"
    "\n"
    "  --amx[=LIBRARY]    pack the weights with libsparamx and measure that: dense tiles against the form it chooses.\n"
    "                     Without this option the program runs its own plain C code and loads no library.\n"
    "  --threads N        threads (default: the CPUs this process may run on)\n"
    "  --m LIST           tokens per product, up to 8 numbers (default: 1,512 with --amx, where the library has only\n"
    "                     its reference kernels 1,32; without --amx 1)\n"
    "  --form FORM        auto, dense, sparse, coded, coded-sparse or auto-coded (default: auto)\n"
    "  --repeat N         measure N times and take the median (default: 5, short products of one token 31,\n"
    "                     long ones fewer)\n"
    "  --filter TEXT      only tensors with TEXT in their name\n"
    "  --json FILE        write the results to FILE as well\n"
    "  --help             show this text\n"
    "\n"
    "The caches are emptied before each measurement. With --amx each result is checked against the program's own\n"
    "product in double: sqrt(sum of squared differences / sum of squares) must stay below 0.006 for BF16 and F16 and\n"
    "0.01 for the quantized types, no single output may be off by more than 6 times that share of |row| * rms(x), and\n"
    "each tensor read back from the library must equal the file byte for byte.\n"
    "\n"
    "Exit status: 0 all well, 1 a wrong result or weights that are NaN or infinite, 2 unusable arguments, model or\n"
    "machine, 3 the library cannot be used.\n";

/* Says what is wrong with the command line. */
static int refuse(int *status, const char *format, ...) {
    va_list args;
    char line[512], shown[512];
    va_start(args, format);
    fputs("sparamx-run: ", stderr);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    fprintf(stderr, "%s (see --help)\n", text_printable(line, shown, sizeof shown));
    *status = EXIT_BAD_INPUT;
    return 1;
}

/* One number within bounds, followed by the given character. NULL if it is not that, else what follows. */
static const char *parse_number(const char *text, long max, const char *enders, long *out) {
    char *end;
    errno = 0;
    *out = strtol(text, &end, 10);
    if (end == text || errno != 0 || *out < 1 || *out > max || strchr(enders, *end) == NULL) return NULL;
    return end;
}

static int parse_int(const char *text, long max, int *out) {
    long value;
    if (parse_number(text, max, "", &value) == NULL) return 0;
    *out = (int)value;
    return 1;
}

static int parse_m(const char *text, options *o) {
    o->n_m = 0;
    for (;;) {
        long value;
        const char *end = parse_number(text, MAX_TOKENS, ",", &value);
        if (end == NULL || o->n_m == MAX_M || (o->n_m > 0 && value <= o->m[o->n_m - 1])) return 0;
        o->m[o->n_m++] = value;
        if (*end == 0) return 1;
        text = end + 1;
    }
}

static int parse_form(const char *text, int32_t *form) {
    static const struct {
        const char *name;
        int32_t form;
    } forms[] = {{"auto", SPARAMX_FORM_AUTO}, {"dense", SPARAMX_FORM_DENSE}, {"sparse", SPARAMX_FORM_SPARSE},
                 {"coded", SPARAMX_FORM_CODED}, {"coded-sparse", SPARAMX_FORM_CODED_SPARSE},
                 {"auto-coded", SPARAMX_FORM_AUTO_CODED}};
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        if (strcmp(text, forms[i].name) != 0) continue;
        *form = forms[i].form;
        return 1;
    }
    return 0;
}

static int parse_option(int letter, const char *value, options *o, int *status) {
    switch (letter) {
    case 'a':
        o->amx = true;
        o->library = value;
        return 0;
    case 't':
        if (parse_int(value, TEAM_MAX_THREADS, &o->threads)) return 0;
        return refuse(status, "--threads takes a number from 1 to %d", TEAM_MAX_THREADS);
    case 'm':
        if (parse_m(value, o)) return 0;
        return refuse(status, "--m takes up to %d rising numbers from 1 to %d, such as 1,512", MAX_M, MAX_TOKENS);
    case 'f':
        if (parse_form(value, &o->form)) return 0;
        return refuse(status, "--form takes auto, dense, sparse, coded, coded-sparse or auto-coded");
    case 'r':
        if (parse_int(value, MAX_REPEAT, &o->repeat)) return 0;
        return refuse(status, "--repeat takes a number from 1 to %d", MAX_REPEAT);
    case 's':
        o->filter = value;
        return 0;
    case 'j':
        o->json = value;
        return 0;
    case 'h':
        fputs(usage, stdout);
        *status = 0;
        return 1;
    default:
        return 0;
    }
}

int options_parse(int argc, char **argv, options *o, int *status) {
    static const struct option names[] = {
        {"amx", optional_argument, NULL, 'a'},     {"threads", required_argument, NULL, 't'},
        {"m", required_argument, NULL, 'm'},       {"form", required_argument, NULL, 'f'},
        {"repeat", required_argument, NULL, 'r'},  {"filter", required_argument, NULL, 's'},
        {"json", required_argument, NULL, 'j'},    {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    *o = (options){.threads = team_cpus(), .form = SPARAMX_FORM_AUTO};
    int letter;
    opterr = 0; /* one sentence of our own instead */
    while ((letter = getopt_long(argc, argv, "", names, NULL)) != -1) {
        if (letter == '?') return refuse(status, "%s is unknown, or has or lacks a value", argv[optind - 1]);
        if (parse_option(letter, optarg, o, status) != 0) return 1;
    }
    if (optind != argc - 1) return refuse(status, "name one model file");
    o->model = argv[optind];
    if (!o->amx && o->form != SPARAMX_FORM_AUTO) return refuse(status, "--form needs --amx");
    return 0;
}
