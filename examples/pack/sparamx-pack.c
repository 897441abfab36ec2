/*
 * sparamx-pack - packs the weight matrices of a GGUF model into one file that hosts map, or says what such a file has.
 *
 * A host opens the file with sparamx_file_open, finds each matrix by the name that it has in the model, and takes it
 * with sparamx_linear_load or sparamx_buffer_load_tensor. One matrix is in memory at a time.
 */
#define _GNU_SOURCE 1 /* getopt_long */

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../common/gguf.h"
#include "../common/load.h"
#include "../common/roles.h"
#include "../common/text.h"
#include "../common/threads.h"

enum { EXIT_BAD_INPUT = 2, EXIT_NO_LIBRARY = 3, EXIT_DAMAGED = 4 };

static const char usage[] =
    "Usage: sparamx-pack [OPTION...] MODEL.gguf OUT.sparamx\n"
    "       sparamx-pack --list [--verify] FILE.sparamx\n"
    "Packs every weight matrix of a GGUF model that libsparamx takes into one file that hosts map, or lists such a\n"
    "file.\n"
    "\n"
    "  --form FORM      auto (default: whichever of the next two takes fewer bytes), dense or sparse; of bf16\n"
    "                   also coded, coded-sparse and auto-coded, which take 12 bits for 16\n"
    "  --list           the tensors of a packed file\n"
    "  --verify         with --list: read all of it and compare checksums\n"
    "  --threads N      threads for packing (default: the CPUs this process may run on, 64 at most)\n"
    "  --library FILE   the library to use (default: the one beside this program, else where the loader finds it)\n"
    "  --help           show this text\n"
    "\n"
    "Tensors that an engine keeps (norms, tables that are looked up, other types) are not in the file. Of a model in\n"
    "several files name any one. OUT is replaced when all is written, and not before.\n"
    "\n"
    "Exit status: 0 all well, 2 unusable arguments or files, 3 the library cannot be used, 4 a damaged packed file.\n";

/* By their numbers in the interface. */
static const char *const form_names[] = {"auto", "dense", "sparse", "raw", "coded", "coded-sparse", "auto-coded"};
enum { FORMS = sizeof form_names / sizeof *form_names };

typedef struct options {
    const char *model, *packed, *library;
    int form, threads;
    bool list, verify, help;
} options;

static int complain(int status, const char *about, const char *sentence) {
    char who[4096], what[4700];
    fflush(stdout);
    fprintf(stderr, "sparamx-pack: %s: %s\n", text_printable(about, who, sizeof who),
            text_printable(sentence, what, sizeof what));
    return status;
}

/* A status of the library's, with the system's reason where there is one. */
static int complain_of(int status, const sparamx_api *api, const char *about, sparamx_status why) {
    char sentence[1024];
    const char *reason = why == SPARAMX_ERR_FILE ? strerror(errno) : "";
    snprintf(sentence, sizeof sentence, "%s%s%s", api->status_string(why), *reason ? ": " : "", reason);
    return complain(status, about, sentence);
}

static void show_progress(uint64_t i, uint64_t n, const char *name) {
    if (!isatty(STDERR_FILENO)) return;
    fprintf(stderr, "\r\033[K%llu of %llu: %s", (unsigned long long)i + 1, (unsigned long long)n, name);
    if (i + 1 == n) fputs("\r\033[K", stderr);
    fflush(stderr);
}

/* ------------------------------------------------------------------------------------------------------- packing -- */

static sparamx_tensor describe(const gguf_tensor *source) {
    sparamx_tensor t = {.size = sizeof t, .type = (int32_t)source->type, .name = source->name};
    for (int i = 0; i < 4; i++) t.ne[i] = source->ne[i];
    t.nb[0] = gguf_block_bytes(source->type);
    t.nb[1] = gguf_row_bytes(source->type, source->ne[0]);
    t.nb[2] = t.nb[1] * (uint64_t)t.ne[1]; /* the reader has checked these products */
    t.nb[3] = t.nb[2] * (uint64_t)t.ne[2];
    return t;
}

/* NULL if the tensor goes into the file, else why not. */
static const char *reason_to_leave(const sparamx_api *api, const gguf_file *file, const gguf_tensor *t) {
    const char *kept = role_reason_to_keep(file, t);
    if (kept != NULL) return kept;
    sparamx_tensor tensor = describe(t);
    sparamx_status status =
        api->supports_weight(&tensor, role_is_experts(t) ? SPARAMX_OP_MUL_MAT_ID : SPARAMX_OP_MUL_MAT);
    return status == SPARAMX_OK ? NULL : api->status_string(status);
}

typedef struct totals {
    uint64_t tensors, sparse, source_bytes, packed_bytes;
} totals;

/* Packs one matrix in a buffer of its own and writes it. */
static sparamx_status pack(const sparamx_api *api, sparamx_file_writer *writer, const gguf_tensor *source,
                           const options *o, totals *sum) {
    sparamx_buffer_options wanted = {.size = sizeof wanted, .form = o->form, .pack_threads = o->threads};
    sparamx_tensor_info info = {.size = sizeof info};
    sparamx_tensor t = describe(source);
    sparamx_buffer *buffer = NULL;
    size_t bytes = 0;
    sparamx_status status = api->buffer_type_alloc_size(&t, &bytes);
    if (status == SPARAMX_OK) status = api->buffer_create(bytes, &wanted, &buffer);
    if (status != SPARAMX_OK) return status;
    t.buffer = buffer;
    t.data = api->buffer_base(buffer);
    status = api->buffer_init_tensor(buffer, &t);
    if (status == SPARAMX_OK) status = api->buffer_set_tensor(buffer, &t, source->data, 0, (size_t)source->nbytes);
    if (status == SPARAMX_OK) status = api->buffer_tensor_info(buffer, &t, &info);
    if (status == SPARAMX_OK) status = api->file_writer_add(writer, NULL, buffer, &t);
    int reason = errno;
    api->buffer_destroy(buffer);
    errno = reason;
    sum->tensors += status == SPARAMX_OK;
    sum->sparse += status == SPARAMX_OK && (info.form == SPARAMX_FORM_SPARSE || info.form == SPARAMX_FORM_CODED_SPARSE);
    sum->source_bytes += info.source_bytes;
    sum->packed_bytes += info.packed_bytes;
    return status;
}

/* What the file was made of, for hosts that compare. Returns its length. */
static size_t make_key(const sparamx_api *api, const gguf_file *file, char *out, size_t size) {
    char name[64] = "unnamed", architecture[32] = "unknown";
    gguf_get_string(file, "general.name", name, sizeof name);
    gguf_get_string(file, "general.architecture", architecture, sizeof architecture);
    snprintf(out, size, "sparamx-pack %s: %s, %s, %llu tensors, %llu bytes", api->version(), architecture, name,
             (unsigned long long)gguf_n_tensors(file), (unsigned long long)gguf_file_size(file));
    return strlen(out);
}

static int write_all(const sparamx_api *api, const gguf_file *file, const options *o) {
    char key[SPARAMX_FILE_KEY_MAX];
    sparamx_file_writer *writer = NULL;
    totals sum = {0};
    uint64_t n = gguf_n_tensors(file);
    sparamx_status status = api->file_writer_create(o->packed, key, make_key(api, file, key, sizeof key), &writer);
    if (status != SPARAMX_OK) return complain_of(EXIT_BAD_INPUT, api, o->packed, status);
    for (uint64_t i = 0; i < n && status == SPARAMX_OK; i++) {
        const gguf_tensor *t = gguf_tensor_at(file, i);
        show_progress(i, n, t->name);
        if (reason_to_leave(api, file, t) == NULL) status = pack(api, writer, t, o, &sum);
        if (status != SPARAMX_OK) complain_of(0, api, t->name, status);
    }
    if (status == SPARAMX_OK && sum.tensors == 0) {
        complain(0, o->model, "it has no weight matrix that the library takes: nothing is written");
        status = SPARAMX_ERR_TYPE;
    } else if (status == SPARAMX_OK) {
        status = api->file_writer_finish(writer);
        if (status != SPARAMX_OK) complain_of(0, api, o->packed, status);
    }
    api->file_writer_destroy(writer);
    if (status != SPARAMX_OK) return EXIT_BAD_INPUT;
    printf("%llu of %llu tensors, %llu of them sparse: %.1f MB in the model, %.1f MB packed\n",
           (unsigned long long)sum.tensors, (unsigned long long)n, (unsigned long long)sum.sparse,
           (double)sum.source_bytes / 1e6, (double)sum.packed_bytes / 1e6);
    return 0;
}

/* ------------------------------------------------------------------------------------------------------- listing -- */

static int list(const sparamx_api *api, const options *o) {
    sparamx_file *file = NULL;
    char text[512];
    const void *key = NULL;
    size_t size = 0;
    int result = 0;
    sparamx_status status = api->file_open(o->packed, &file);
    if (status != SPARAMX_OK)
        return complain_of(status == SPARAMX_ERR_FILE_DAMAGED ? EXIT_DAMAGED : EXIT_BAD_INPUT, api, o->packed, status);
    if (api->file_key(file, &key, &size) == SPARAMX_OK && size > 0) {
        char copy[SPARAMX_FILE_KEY_MAX + 1] = {0};
        memcpy(copy, key, size);
        printf("made of: %s\n", text_printable(copy, text, sizeof text));
    }
    printf("%-40s %-7s %-12s %22s %8s %7s\n", "name", "type", "form", "shape", "zeros", "MB");
    for (int32_t i = 0; i < api->file_count(file); i++) {
        sparamx_file_tensor t = {.size = sizeof t};
        char shape[96];
        if (api->file_info(file, i, &t) != SPARAMX_OK) continue;
        double weights = (double)t.ne[0] * (double)t.ne[1] * (double)t.ne[2] * (double)t.ne[3];
        int length = snprintf(shape, sizeof shape, "%lld x %lld", (long long)t.ne[0], (long long)t.ne[1]);
        if (t.ne[2] * t.ne[3] > 1)
            snprintf(shape + length, sizeof shape - (size_t)length, " x %lld", (long long)(t.ne[2] * t.ne[3]));
        printf("%-40s %-7s %-12s %22s %7.1f%% %7.2f\n", text_printable(t.name, text, sizeof text),
               gguf_type_name((uint32_t)t.type), t.form >= 0 && t.form < FORMS ? form_names[t.form] : "?", shape,
               100 * (double)t.background / weights, (double)t.packed_bytes / 1e6);
        if (!o->verify) continue;
        status = api->file_verify(file, i);
        if (status == SPARAMX_OK) continue;
        result = complain_of(status == SPARAMX_ERR_FILE_DAMAGED ? EXIT_DAMAGED : EXIT_BAD_INPUT, api, t.name, status);
    }
    if (o->verify && result == 0) puts("every checksum is right");
    api->file_close(file);
    return result;
}

/* ------------------------------------------------------------------------------------------------- command line -- */

static bool read_form(const char *text, int *form) {
    for (int i = 0; i < FORMS; i++) {
        if (i == SPARAMX_FORM_RAW || strcmp(text, form_names[i]) != 0) continue;
        *form = i;
        return true;
    }
    fputs("sparamx-pack: --form takes auto, dense, sparse, coded, coded-sparse or auto-coded\n", stderr);
    return false;
}

static bool read_threads(const char *text, int *threads) {
    char *end = NULL;
    long number = strtol(text, &end, 10);
    *threads = (int)number;
    if (end != text && *end == 0 && number >= 1 && number <= 64) return true;
    fputs("sparamx-pack: --threads takes a number from 1 to 64\n", stderr);
    return false;
}

static bool read_options(int argc, char **argv, options *o) {
    static const struct option names[] = {
        {"form", required_argument, NULL, 'f'},    {"list", no_argument, NULL, 'i'},
        {"verify", no_argument, NULL, 'v'},        {"threads", required_argument, NULL, 't'},
        {"library", required_argument, NULL, 'l'}, {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int letter, cpus = team_cpus();
    opterr = 0; /* one sentence of our own instead */
    *o = (options){.threads = cpus < 64 ? cpus : 64};
    while ((letter = getopt_long(argc, argv, "", names, NULL)) != -1) {
        switch (letter) {
        case 'i': o->list = true; break;
        case 'v': o->verify = true; break;
        case 'l': o->library = optarg; break;
        case 'h': o->help = true; break;
        case 'f': if (!read_form(optarg, &o->form)) return false; break;
        case 't': if (!read_threads(optarg, &o->threads)) return false; break;
        default: return complain(EXIT_BAD_INPUT, argv[optind - 1], "it is unknown, or has or lacks a value (see "
                                                                   "--help)"), false;
        }
    }
    if (o->help) return true;
    if (argc - optind != (o->list ? 1 : 2) || (o->verify && !o->list)) {
        fputs("sparamx-pack: name a model and the file to write, or --list and a packed file (see --help)\n", stderr);
        return false;
    }
    o->model = argv[optind];
    o->packed = argv[argc - 1];
    return true;
}

static int work(const sparamx_api *api, const options *o) {
    char error[4600];
    sparamx_capability machine = {.size = sizeof machine};
    if (api->size < offsetof(sparamx_api, buffer_save) + sizeof api->buffer_save)
        return complain(EXIT_NO_LIBRARY, "the library", "it is too old to know packed files: install a newer one");
    if (o->list) return list(api, o);
    sparamx_status status = api->get_capability(&machine);
    if (status == SPARAMX_OK) status = machine.status;
    if (status != SPARAMX_OK) return complain(EXIT_NO_LIBRARY, "the library", api->status_string(status));
    gguf_file *file = gguf_open(o->model, error, sizeof error);
    if (file == NULL) return complain(EXIT_BAD_INPUT, o->model, error);
    int result = write_all(api, file, o);
    gguf_close(file);
    return result;
}

int main(int argc, char **argv) {
    options o;
    library lib = {.handle = NULL};
    char error[4600];
    if (!read_options(argc, argv, &o)) return EXIT_BAD_INPUT;
    if (o.help) {
        fputs(usage, stdout);
        return text_written("sparamx-pack") ? 0 : EXIT_BAD_INPUT;
    }
    if (!library_load(&lib, o.library, error, sizeof error)) return complain(EXIT_NO_LIBRARY, "the library", error);
    int result = work(lib.api, &o);
    library_unload(&lib);
    return text_written("sparamx-pack") ? result : EXIT_BAD_INPUT;
}
