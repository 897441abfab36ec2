/*
 * sparamx-explain - what libsparamx would make of a GGUF file: each tensor with its form and why, what the file would
 * take in memory, and what there is to gain. Packs every matrix once; multiplies nothing.
 */
#define _GNU_SOURCE 1 /* getopt_long */

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../common/load.h"
#include "../common/text.h"
#include "judge.h"
#include "report.h"

enum { EXIT_BAD_INPUT = 2, EXIT_NO_LIBRARY = 3 };

typedef struct options {
    const char *model, *library;
    bool json, help;
    int threads;
} options;

static const char usage[] =
    "Usage: sparamx-explain [OPTION...] MODEL.gguf\n"
    "Says what libsparamx makes of each tensor of a GGUF model, and what that would save.\n"
    "\n"
    "  --json             the same facts as JSON on stdout; examples/explain/README.md has the fields\n"
    "  --library FILE     the library to ask (default: the one beside this program, else where the loader finds it)\n"
    "  --threads N        threads for packing and counting (default: the CPUs this process may run on)\n"
    "  --help             show this text\n"
    "\n"
    "'At background' is the share of weights whose code is the one that a quantizer gives a pruned weight: what the\n"
    "sparse form leaves out. The prediction counts bytes of weights only, as generation is limited by them; attention\n"
    "over a long context comes on top, before and after alike. A host's own kernels may read dense weights more\n"
    "slowly than memory allows: then the gain is larger than predicted. Of a model in several files name any one.\n"
    "\n"
    "Exit status: 0 all well, 2 unusable arguments or model, 3 the library cannot be used.\n";

static int complain(int status, const char *about, const char *sentence) {
    char who[4096], what[4700];
    fflush(stdout);
    fprintf(stderr, "sparamx-explain: %s: %s\n", text_printable(about, who, sizeof who),
            text_printable(sentence, what, sizeof what));
    return status;
}

static void show_progress(int i, int n, const char *name) {
    if (!isatty(STDERR_FILENO)) return;
    fprintf(stderr, "\r\033[K%d of %d: %s", i + 1, n, name);
    if (i + 1 == n) fputs("\r\033[K", stderr);
    fflush(stderr);
}

static bool read_options(int argc, char **argv, options *o) {
    static const struct option names[] = {
        {"json", no_argument, NULL, 'j'},         {"library", required_argument, NULL, 'l'},
        {"threads", required_argument, NULL, 't'}, {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int letter;
    opterr = 0; /* one sentence of our own instead */
    *o = (options){.threads = team_cpus()};
    while ((letter = getopt_long(argc, argv, "", names, NULL)) != -1) {
        char *end = NULL;
        switch (letter) {
        case 'j': o->json = true; break;
        case 'l': o->library = optarg; break;
        case 'h': o->help = true; break;
        case 't':
            o->threads = (int)strtol(optarg, &end, 10);
            if (*end == 0 && o->threads >= 1 && o->threads <= TEAM_MAX_THREADS) break;
            fprintf(stderr, "sparamx-explain: --threads takes a number from 1 to %d\n", TEAM_MAX_THREADS);
            return false;
        default: return complain(EXIT_BAD_INPUT, argv[optind - 1], "it is unknown, or has or lacks a value (see "
                                                                   "--help)"), false;
        }
    }
    if (o->help) return true;
    if (optind == argc - 1) {
        o->model = argv[optind];
        return true;
    }
    fputs("sparamx-explain: name one model file (see --help)\n", stderr);
    return false;
}

static int explain(const options *o, const gguf_file *file, const library *lib) {
    machine_facts m = {.capability = {.size = sizeof m.capability}, .library = lib->path};
    m.version = lib->api->version();
    judgement j;
    sparamx_status status = lib->api->get_capability(&m.capability);
    if (status == SPARAMX_OK) status = m.capability.status;
    if (status != SPARAMX_OK) return complain(EXIT_NO_LIBRARY, lib->path, lib->api->status_string(status));
    team *t = team_create(o->threads);
    if (t == NULL) return complain(EXIT_BAD_INPUT, o->model, "the threads cannot be started: try --threads 1");
    bool ok = judge(&j, file, lib->api, t, show_progress);
    if (ok && o->json) report_json(&j, &m);
    else if (ok) report_text(&j, &m);
    judge_free(&j);
    team_destroy(t);
    if (!ok) return complain(EXIT_BAD_INPUT, o->model, "there is not enough memory");
    return text_written("sparamx-explain") ? 0 : EXIT_BAD_INPUT;
}

int main(int argc, char **argv) {
    options o;
    library lib = {.handle = NULL};
    char error[4600];
    if (!read_options(argc, argv, &o)) return EXIT_BAD_INPUT;
    if (o.help) {
        fputs(usage, stdout);
        return text_written("sparamx-explain") ? 0 : EXIT_BAD_INPUT;
    }
    gguf_file *file = gguf_open(o.model, error, sizeof error);
    if (file == NULL) return complain(EXIT_BAD_INPUT, o.model, error);
    int status = library_load(&lib, o.library, error, sizeof error) ? explain(&o, file, &lib)
                                                                    : complain(EXIT_NO_LIBRARY, "the library", error);
    library_unload(&lib);
    gguf_close(file);
    return status;
}
