#define _GNU_SOURCE
#include "../common/text.h"
#include "options.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char options_help[] =
    "usage: sparamx-bench [options]\n"
    "Measures the products of libsparamx, Y[M x N] = X[M x K] * W[N x K]^T, on random data.\n"
    "\n"
    "What to measure (lists are separated by commas):\n"
    "  --type LIST       types of --list as bf16 or q4_k, or all    (default: bf16,f16,q8_0,q4_0,q4_k,q6_k; all for\n"
    "                    --break-even, --sizes and --errors). What the library declines is skipped with one line.\n"
    "  --form LIST       dense, sparse, auto; for bf16 coded, coded-sparse, auto-coded  (default: dense,sparse)\n"
    "  --sparsity LIST   percent of weights that are zero           (default: 0,50,70)\n"
    "  --m LIST          tokens                                     (default: 1,4,16,32,512)\n"
    "  --shape LIST      NxK                                        (default: 4096x4096,14336x4096,4096x14336)\n"
    "  --kernel NAME     only this kernel, see --list\n"
    "  --experts E       products with E matrices of the shape (MUL_MAT_ID): each token with --top-k of them\n"
    "  --top-k U         (default: 2). GB/s, read and TFLOPS are then of the experts that a product reads\n"
    "  --pack            the speed of packing instead; --m does not matter\n"
    "  --break-even      from how many zeros on sparse is faster, for every type: by default 0 to 80% at 4096x4096\n"
    "                    and M=1; --form does not matter\n"
    "  --sizes           no measurement: bits per weight of every type at 0, 30, 50, 70, 90% zeros, dense and sparse\n"
    "  --errors          no speed: errors of every type against double precision, and what ggml's own rounding of\n"
    "                    activations costs; by default 256x4096 with 50% zeros and M=1,512\n"
    "  --growth          how the time of uploads and announcements grows with their number; only --repeat matters\n"
    "  --tune FILE       which kernel is fastest for how many tokens, and from how many zeros on sparse is faster,\n"
    "                    for every type: a profile of this machine, for the library: SPARAMX_PROFILE=FILE.\n"
    "                    --type, --shape (one), --threads and --seconds (all of it, default: 150) matter\n"
    "  --any-accuracy    with --tune: kernels may be less accurate than those that the library takes by itself\n"
    "  --list            no measurement: the kernels of the library, and what this machine does not run\n"
    "How:\n"
    "  --threads N       threads, each on its own CPU               (default: the CPUs of this process)\n"
    "  --repeat R        rounds; figures are medians                (default: 7)\n"
    "  --seconds S       no new round of a group after this time    (default: 30)\n"
    "Output:\n"
    "  --json FILE       also write everything to FILE as JSON\n"
    "  --markdown        tables in Markdown\n"
    "  --help            this text\n"
    "\n"
    "A case is one type, shape, share of zeros, form and M. Several copies of the matrix are multiplied in turn,\n"
    "so that up to M=32 the weights come from memory and not from the last-level cache. Cases of one type, shape\n"
    "and share of zeros take turns, round by round. The time includes what a host pays: packing of the activations\n"
    "and barriers. Before a case is timed, some of its outputs are compared with double precision; a wrong result\n"
    "(square root of the normalised mean square error above 0.01) gets no speed.\n"
    "\n"
    "Columns: GB/s are the packed bytes of the matrix over the time. \"read\" is their share of the bandwidth that\n"
    "the same threads reach by only reading memory. \"AMX\" and \"AVX\" are TFLOPS as a share of the AMX bf16 and the\n"
    "AVX-512 bf16 ceiling, for every type; \"-\" where the machine has none. Shared machines drift: the ceilings are\n"
    "read again at least once in every round and about every second, between the cases, and a case is compared\n"
    "with the median of the readings before, between and after its samples. A * marks a form the library chose.\n"
    "\n"
    "Exit status: 0, or 1 if a case failed or was wrong, or 2 for a mistake in the options.\n";

/* ------------------------------------------------------------------------------------------------------ options -- */

static bool add_type(options *o, const char *word) {
    int count;
    const weight_type *types = weight_types(&count);
    bool all = strcmp(word, "all") == 0, found = false;
    if (all) o->type_count = 0;
    for (int i = 0; i < count; i++) {
        if ((!all && strcmp(word, types[i].name) != 0) || o->type_count == MAX_CHOICES) continue;
        o->types[o->type_count++] = &types[i];
        found = true;
    }
    return found;
}

static bool add_form(options *o, const char *word) {
    for (int32_t form = SPARAMX_FORM_AUTO; form <= SPARAMX_FORM_AUTO_CODED; form++) {
        if (form == SPARAMX_FORM_RAW || strcmp(word, form_name(form)) != 0) continue;
        o->forms[o->form_count++] = form;
        return true;
    }
    return false;
}

static bool add_sparsity(options *o, const char *word) {
    char *end;
    double percent = strtod(word, &end);
    if (end == word || *end || !(percent >= 0 && percent <= 100)) return false;
    o->sparsities[o->sparsity_count++] = percent / 100;
    return true;
}

/* A whole number from 1 to most, which ends at the given character. */
static bool read_count(const char **word, char stop, long most, int64_t *out) {
    char *end;
    long value = strtol(*word, &end, 10);
    if (end == *word || *end != stop || value < 1 || value > most) return false;
    *word = end + 1;
    *out = value;
    return true;
}

static bool add_m(options *o, const char *word) { return read_count(&word, '\0', 65536, &o->m[o->m_count++]); }

static bool add_shape(options *o, const char *word) {
    shape *s = &o->shapes[o->shape_count++];
    return read_count(&word, 'x', 1l << 24, &s->n) && read_count(&word, '\0', 1l << 24, &s->k);
}

/* A list replaces the default, and a list given before. */
static bool read_list(options *o, const char *text, int *count, bool (*add)(options *, const char *)) {
    char copy[512];
    *count = 0;
    if (strlen(text) >= sizeof copy) return false;
    strcpy(copy, text);
    char *rest = NULL;
    for (char *word = strtok_r(copy, ",", &rest); word; word = strtok_r(NULL, ",", &rest)) {
        if (*count == MAX_CHOICES || !add(o, word)) return false;
    }
    return *count > 0;
}

static bool read_int(const char *text, long most, int *out) {
    int64_t value;
    if (!read_count(&text, '\0', most, &value)) return false;
    *out = (int)value;
    return true;
}

static bool read_seconds(const char *text, double *out) {
    char *end;
    *out = strtod(text, &end);
    return end != text && !*end && *out >= 0;
}

typedef struct defaults {
    const char *types, *forms, *sparsities, *m, *shapes;
} defaults;

static const defaults mode_defaults[] = {
    [MODE_PRODUCTS] = {"bf16,f16,q8_0,q4_0,q4_k,q6_k", "dense,sparse", "0,50,70", "1,4,16,32,512",
                       "4096x4096,14336x4096,4096x14336"},
    [MODE_PACK] = {"bf16,f16,q8_0,q4_0,q4_k,q6_k", "dense,sparse", "0,50,70", "1", "4096x4096,14336x4096,4096x14336"},
    [MODE_BREAK_EVEN] = {"all", "dense,sparse,auto", "0,5,10,15,20,25,30,35,40,45,50,60,70,80", "1", "4096x4096"},
    [MODE_SIZES] = {"all", "dense,sparse", "0,30,50,70,90", "1", "1024x4096"},
    [MODE_ERRORS] = {"all", "dense,sparse", "50", "1,512", "256x4096"},
    [MODE_LIST] = {"all", "dense,sparse", "50", "1", "4096x4096"},
    [MODE_GROWTH] = {"all", "dense,sparse", "50", "1", "4096x4096"},
    [MODE_TUNE] = {"all", "dense,sparse,coded,coded-sparse", "10,20,30,40,50,60,70", "1", "4096x4096"},
};

static void set_defaults(options *o) {
    const defaults *d = &mode_defaults[o->mode];
    if (o->mode == MODE_BREAK_EVEN) o->form_count = 0; /* it compares all three */
    if (o->seconds <= 0) o->seconds = o->mode == MODE_TUNE ? 150 : 30;
    if (!o->type_count) read_list(o, d->types, &o->type_count, add_type);
    if (!o->form_count) read_list(o, d->forms, &o->form_count, add_form);
    if (!o->sparsity_count) read_list(o, d->sparsities, &o->sparsity_count, add_sparsity);
    if (!o->m_count) read_list(o, d->m, &o->m_count, add_m);
    if (!o->shape_count) read_list(o, d->shapes, &o->shape_count, add_shape);
}

enum { OPT_TYPE = 1, OPT_FORM, OPT_SPARSITY, OPT_M, OPT_SHAPE, OPT_THREADS, OPT_KERNEL, OPT_REPEAT, OPT_SECONDS,
       OPT_JSON, OPT_LIST, OPT_PACK, OPT_BREAK_EVEN, OPT_SIZES, OPT_ERRORS, OPT_MARKDOWN, OPT_HELP,
       OPT_EXPERTS, OPT_TOP_K, OPT_GROWTH, OPT_TUNE, OPT_ANY_ACCURACY };

static const struct option long_options[] = {
    {"type", required_argument, NULL, OPT_TYPE},         {"form", required_argument, NULL, OPT_FORM},
    {"sparsity", required_argument, NULL, OPT_SPARSITY}, {"m", required_argument, NULL, OPT_M},
    {"shape", required_argument, NULL, OPT_SHAPE},       {"threads", required_argument, NULL, OPT_THREADS},
    {"kernel", required_argument, NULL, OPT_KERNEL},     {"repeat", required_argument, NULL, OPT_REPEAT},
    {"seconds", required_argument, NULL, OPT_SECONDS},   {"json", required_argument, NULL, OPT_JSON},
    {"list", no_argument, NULL, OPT_LIST},               {"pack", no_argument, NULL, OPT_PACK},
    {"break-even", no_argument, NULL, OPT_BREAK_EVEN},   {"sizes", no_argument, NULL, OPT_SIZES},
    {"errors", no_argument, NULL, OPT_ERRORS},           {"markdown", no_argument, NULL, OPT_MARKDOWN},
    {"help", no_argument, NULL, OPT_HELP},               {"experts", required_argument, NULL, OPT_EXPERTS},
    {"top-k", required_argument, NULL, OPT_TOP_K},       {"growth", no_argument, NULL, OPT_GROWTH},
    {"tune", required_argument, NULL, OPT_TUNE},         {"any-accuracy", no_argument, NULL, OPT_ANY_ACCURACY},
    {NULL, 0, NULL, 0},
};

static bool read_option(options *o, int option) {
    switch (option) {
    case OPT_TYPE: return read_list(o, optarg, &o->type_count, add_type);
    case OPT_FORM: return read_list(o, optarg, &o->form_count, add_form);
    case OPT_SPARSITY: return read_list(o, optarg, &o->sparsity_count, add_sparsity);
    case OPT_M: return read_list(o, optarg, &o->m_count, add_m);
    case OPT_SHAPE: return read_list(o, optarg, &o->shape_count, add_shape);
    case OPT_THREADS: return read_int(optarg, 1024, &o->threads);
    case OPT_KERNEL: return o->kernel = optarg, true;
    case OPT_REPEAT: return read_int(optarg, 10000, &o->repeat);
    case OPT_SECONDS: return read_seconds(optarg, &o->seconds);
    case OPT_JSON: return o->json = optarg, true;
    case OPT_TUNE: return o->mode = MODE_TUNE, o->tune = optarg, true;
    case OPT_ANY_ACCURACY: return o->any_accuracy = true;
    case OPT_GROWTH: return o->mode = MODE_GROWTH, true;
    case OPT_LIST: return o->mode = MODE_LIST, true;
    case OPT_PACK: return o->mode = MODE_PACK, true;
    case OPT_BREAK_EVEN: return o->mode = MODE_BREAK_EVEN, true;
    case OPT_SIZES: return o->mode = MODE_SIZES, true;
    case OPT_ERRORS: return o->mode = MODE_ERRORS, true;
    case OPT_MARKDOWN: return o->markdown = true;
    case OPT_HELP: return o->help = true;
    case OPT_EXPERTS: return read_int(optarg, 1024, &o->experts);
    case OPT_TOP_K: return read_int(optarg, 1024, &o->top_k);
    default: return false; /* getopt has said what is wrong */
    }
}

int options_forms(const options *o, const weight_type *type, int32_t forms[MAX_CHOICES]) {
    int count = 0;
    for (int i = 0; i < o->form_count; i++) {
        bool there = o->forms[i] > SPARAMX_FORM_RAW ? type->id == SPARAMX_TYPE_BF16
                                                    : type->sparse || o->forms[i] != SPARAMX_FORM_SPARSE;
        if (there) forms[count++] = o->forms[i];
    }
    return count;
}

/* Types for which this library has no kernels, as an older one than this program, are left out, and those that have
 * none of the forms or nothing to compare. */
static void drop_declined(options *o) {
    int kept = 0;
    for (int i = 0; i < o->type_count; i++) {
        const weight_type *type = o->types[i];
        int32_t forms[MAX_CHOICES];
        int count = options_forms(o, type, forms);
        sparamx_status status = weight_type_status(type);
        if (status == SPARAMX_ERR_TYPE) printf("%s skipped: %s\n", type->name, sparamx_status_string(status));
        else if (count == 0 || (o->mode == MODE_BREAK_EVEN && count < o->form_count))
            printf("%s skipped: it has no sparse form\n", type->name);
        else o->types[kept++] = type;
    }
    o->type_count = kept;
}

bool options_read(int argc, char **argv, options *o) {
    *o = (options){.repeat = 7, .top_k = 2};
    char shown[256];
    int option, index = 0;
    opterr = 0; /* one sentence of our own instead */
    while ((option = getopt_long(argc, argv, "", long_options, &index)) != -1) {
        if (read_option(o, option)) continue;
        if (option != '?') {
            fprintf(stderr, "sparamx-bench: --%s does not take '%s'\n", long_options[option - 1].name,
                    text_printable(optarg, shown, sizeof shown));
        } else {
            fprintf(stderr, "sparamx-bench: '%s' is unknown, or has or lacks a value\n",
                    text_printable(argv[optind - 1], shown, sizeof shown));
        }
        return false;
    }
    if (optind < argc) {
        fprintf(stderr, "sparamx-bench: '%s' is no option\n", text_printable(argv[optind], shown, sizeof shown));
        return false;
    }
    if (o->json && (o->mode == MODE_LIST || o->mode == MODE_GROWTH || o->mode == MODE_TUNE)) {
        fputs("sparamx-bench: --list, --growth and --tune write nothing for --json\n", stderr);
        return false;
    }
    if (o->any_accuracy && o->mode != MODE_TUNE) {
        fputs("sparamx-bench: --any-accuracy belongs to --tune\n", stderr);
        return false;
    }
    if (o->experts && (o->mode != MODE_PRODUCTS || o->kernel || o->top_k > o->experts)) {
        fputs("sparamx-bench: --experts measures products, without --kernel, and with --top-k no larger than it\n",
              stderr);
        return false;
    }
    set_defaults(o);
    if (!o->help && o->mode != MODE_LIST) drop_declined(o);
    for (int t = 0; t < o->type_count; t++) {
        for (int s = 0; s < o->shape_count; s++) {
            if (o->shapes[s].k % o->types[t]->block == 0) continue;
            fprintf(stderr, "sparamx-bench: K of %s must be a multiple of %d\n", o->types[t]->name,
                    (int)o->types[t]->block);
            return false;
        }
    }
    return true;
}
