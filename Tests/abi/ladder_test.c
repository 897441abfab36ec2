/*
 * ladder_test UNSTRIPPED - which kernels really run. A breakpoint stands on the first byte of every function of the
 * library that is named sx_reference_*, sx_avx512_* or sx_amx_* (names and places come from the library with symbols,
 * from which the shipped one is stripped). Then every row of the kernel table that is usable here is forced, at the
 * tokens it serves, and every weight is multiplied as the plan has it: the level that runs is the level of the row, and
 * nothing above the reported level is ever entered, packing and reading back included.
 */
#define _GNU_SOURCE
#include "check.h"
#include "types.h"

#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <ucontext.h>
#include <unistd.h>

enum { N = 33, K = 512, MAX_M = 64, MOST = 4096 };

static const char *const levels[] = {"reference", "avx512", "amx"};

typedef struct entry {
    char name[96];
    uint8_t *at;
    uint8_t first; /* the byte that the breakpoint replaces */
    int level;
    bool helper;   /* packs weights or activations, multiplies nothing */
    volatile bool armed, hit;
} entry;

static entry entries[MOST];
static int entry_count;
static uintptr_t base;

/* -- breakpoints --------------------------------------------------------------------------------------------------- */

static int find_base(struct dl_phdr_info *info, size_t size, void *data) {
    (void)size, (void)data;
    if (strstr(info->dlpi_name, "libsparamx") == NULL) return 0;
    base = info->dlpi_addr;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        if (p->p_type != PT_LOAD || !(p->p_flags & PF_X)) continue;
        uintptr_t begin = (base + p->p_vaddr) & ~(uintptr_t)4095, end = base + p->p_vaddr + p->p_memsz;
        if (mprotect((void *)begin, end - begin, PROT_READ | PROT_WRITE | PROT_EXEC) != 0) base = 0;
    }
    return 1;
}

static void on_trap(int signal_number, siginfo_t *info, void *context) {
    (void)signal_number, (void)info;
    greg_t *rip = &((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
    for (int i = 0; i < entry_count; i++) {
        if ((uintptr_t)*rip != (uintptr_t)entries[i].at + 1) continue;
        entries[i].hit = true;
        entries[i].armed = false;
        *entries[i].at = entries[i].first;
        *rip -= 1;
        return;
    }
    _exit(99); /* a trap of somebody else */
}

static void arm(void) {
    for (int i = 0; i < entry_count; i++) {
        entries[i].hit = false;
        if (entries[i].armed) continue;
        *entries[i].at = 0xcc;
        entries[i].armed = true;
    }
}

static bool add_symbols(const uint8_t *image, size_t bytes) {
    const Elf64_Ehdr *elf = (const void *)image;
    if (bytes < sizeof *elf || memcmp(elf->e_ident, ELFMAG, SELFMAG) != 0) return false;
    const Elf64_Shdr *sections = (const void *)(image + elf->e_shoff);
    for (int s = 0; s < elf->e_shnum; s++) {
        if (sections[s].sh_type != SHT_SYMTAB) continue;
        const Elf64_Sym *symbols = (const void *)(image + sections[s].sh_offset);
        const char *names = (const char *)(image + sections[sections[s].sh_link].sh_offset);
        for (size_t i = 0; i < sections[s].sh_size / sizeof *symbols; i++) {
            const char *name = names + symbols[i].st_name;
            if (ELF64_ST_TYPE(symbols[i].st_info) != STT_FUNC || strncmp(name, "sx_", 3) != 0) continue;
            for (int level = 0; level < 3 && entry_count < MOST; level++) {
                size_t length = strlen(levels[level]);
                if (strncmp(name + 3, levels[level], length) != 0 || name[3 + length] != '_') continue;
                entry *e = &entries[entry_count];
                snprintf(e->name, sizeof e->name, "%s", name);
                e->at = (uint8_t *)(base + symbols[i].st_value);
                e->first = *e->at;
                e->level = level;
                e->helper = strstr(name, "_activation") || strstr(name, "_encode") || strstr(name, "_decode_") ||
                            strstr(name, "_count");
                bool known = false; /* two names for one place */
                for (int j = 0; j < entry_count; j++) known = known || entries[j].at == e->at;
                if (!known) entry_count++;
            }
        }
    }
    return entry_count > 0;
}

/* The library with symbols is the one that is loaded: its code is the same, byte for byte, but for what the emulator
 * patched. */
static bool same_code(const uint8_t *image) {
    const Elf64_Ehdr *elf = (const void *)image;
    const Elf64_Phdr *p = (const void *)(image + elf->e_phoff);
    size_t differ = 0;
    for (int i = 0; i < elf->e_phnum; i++) {
        if (p[i].p_type != PT_LOAD || !(p[i].p_flags & PF_X)) continue;
        for (size_t b = 0; b < p[i].p_filesz; b++)
            differ += image[p[i].p_offset + b] != ((const uint8_t *)base)[p[i].p_vaddr + b];
    }
    return differ <= 16;
}

/* -- what ran ------------------------------------------------------------------------------------------------------ */

/* The highest level entered since arm(), of functions that multiply, or of all. */
static int highest(bool all, const char **name) {
    int level = -1;
    for (int i = 0; i < entry_count; i++) {
        if (!entries[i].hit || (entries[i].helper && !all) || entries[i].level <= level) continue;
        level = entries[i].level;
        *name = entries[i].name;
    }
    return level;
}

static void expect_level(const char *what, int64_t m, int want, int limit) {
    const char *name = "nothing";
    int ran = highest(false, &name);
    CHECK(ran == want, "%s, m %lld: %s ran, which is not of level %s", what, (long long)m, name, levels[want]);
    ran = highest(true, &name);
    CHECK(ran <= limit, "%s, m %lld: %s ran, above level %s", what, (long long)m, name, levels[limit]);
}

static int32_t isa;
static float x[MAX_M * K], y[MAX_M * N];
static uint8_t w[N * K * 4], back[N * K * 4];

/* NULL for the plan's own choice; then the row is looked up by the range that info has for m. */
static void test_form(const gguf_type *type, int32_t form, const char *kernel, const sparamx_kernel_info *row) {
    static const int64_t tokens[] = {1, 2, 3, 4, 5, 8, 16, 17, 32, 33, MAX_M};
    sparamx_linear_options o = {.size = sizeof o, .form = form, .pack_threads = 1, .kernel = kernel};
    sparamx_linear *linear = NULL;
    sparamx_tensor_info info = {.size = sizeof info};
    arm();
    if (!CHECK(sparamx_linear_create(type->number, N, K, w, 0, &o, &linear) == SPARAMX_OK &&
                   sparamx_linear_info(linear, &info) == SPARAMX_OK &&
                   sparamx_linear_read(linear, 0, N, back) == SPARAMX_OK,
               "%s %s", type->name, form_name(form)))
        return;
    const char *name = "";
    int packed = highest(true, &name);
    CHECK(packed >= 0 && packed <= isa, "packing %s ran %s", type->name, name);
    for (size_t i = 0; i < COUNT(tokens); i++) {
        int64_t m = tokens[i];
        int want = -1;
        if (row != NULL && (m < row->m_min || m > row->m_max)) continue;
        if (row != NULL) want = row->isa;
        for (int32_t r = 0; row == NULL && r < info.n_ranges; r++) {
            if (m < info.ranges[r].m_min || m > info.ranges[r].m_max) continue;
            for (int level = 0; level < 3; level++) {
                if (strncmp(info.ranges[r].name, levels[level], strlen(levels[level])) == 0) want = level;
            }
            name = info.ranges[r].name;
        }
        if (!CHECK(want >= 0, "%s %s: no kernel for m %lld", type->name, form_name(form), (long long)m)) continue;
        arm();
        memset(y, 0x7f, sizeof y);
        CHECK(multiply(linear, m, 1, x, K, y, N) == SPARAMX_OK, "%s m %lld", type->name, (long long)m);
        expect_level(row != NULL ? row->name : name, m, want, isa);
        CHECK(gguf_product_right(type, form, N, K, w, m, x, y), "%s %s m %lld: wrong result", type->name,
              form_name(form), (long long)m);
    }
    sparamx_linear_destroy(linear);
}

/* Attention over a packed cache. No level has tiles for it. */
static void test_cache(void) {
    enum { CELLS = 64, DIM = 64 };
    sparamx_kv_options o = {.size = sizeof o, .type_k = SPARAMX_TYPE_F16, .type_v = SPARAMX_TYPE_F16, .heads = 1,
                            .k_dim = DIM, .v_dim = DIM, .cells = CELLS};
    sparamx_kv *kv = NULL;
    static uint8_t work[1 << 17];
    int64_t cells[CELLS];
    for (int i = 0; i < CELLS; i++) cells[i] = i;
    fill_weights(SPARAMX_TYPE_F16, CELLS, DIM, 0, 3, w);
    sparamx_params p = {.size = sizeof p, .nth = 1, .work = work, .work_size = sizeof work};
    arm();
    CHECK(sparamx_kv_create(&o, &kv) == SPARAMX_OK && sparamx_kv_write(kv, cells, CELLS, w, 0, w, 0) == SPARAMX_OK &&
              sparamx_kv_pack(kv, &p, -1) == SPARAMX_OK, "a cache");
    const sparamx_kv *const caches[] = {kv};
    sparamx_tensor q = make_tensor(SPARAMX_TYPE_F32, DIM, 1, 1, 1, x, NULL),
                   dst = make_tensor(SPARAMX_TYPE_F32, DIM, 1, 1, 1, y, NULL);
    sparamx_attention a = {.size = sizeof a, .streams = 1, .dst = &dst, .q = &q, .kv = caches, .cells = CELLS,
                           .scale = 1};
    CHECK(sparamx_attention_compute(&p, &a) == SPARAMX_OK, "attention");
    int level = isa < SPARAMX_ISA_AVX512 ? isa : SPARAMX_ISA_AVX512;
    expect_level("attention over a cache", 1, level, level);
    sparamx_kv_destroy(kv);
}

int main(int argc, char **argv) {
    const char *path = argc > 1 ? argv[1] : getenv("SPARAMX_UNSTRIPPED");
    int file = path != NULL ? open(path, O_RDONLY) : -1;
    struct stat about;
    if (file < 0 || fstat(file, &about) != 0) {
        SKIP(1, "which kernels run: there is no library with symbols at %s", path != NULL ? path : "(not named)");
        return check_end();
    }
    const uint8_t *image = mmap(NULL, (size_t)about.st_size, PROT_READ, MAP_PRIVATE, file, 0);
    close(file);
    isa = isa_level(); /* its own products are not of interest */
    dl_iterate_phdr(find_base, NULL);
    if (base == 0) {
        SKIP(1, "which kernels run: code cannot be made writable here");
        return check_end();
    }
    if (!CHECK(image != MAP_FAILED && same_code(image), "%s is not the library that is loaded", path) ||
        !CHECK(add_symbols(image, (size_t)about.st_size), "%s has no kernel symbols", path))
        return check_end();
    struct sigaction action = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO};
    sigaction(SIGTRAP, &action, NULL);
    fill_activations(MAX_M * K, 4, x);

    const gguf_type *types[GGUF_TYPES];
    int count = gguf_reported(types), forced = 0;
    for (int i = 0; i < count; i++) {
        gguf_fill(types[i], N, K, 0.5, 3, w);
        for (size_t f = 0; f < COUNT(packed_forms); f++) {
            if (gguf_serves(types[i], packed_forms[f])) test_form(types[i], packed_forms[f], NULL, NULL);
        }
    }
    for (int32_t i = 0; i < sparamx_kernel_count(); i++) {
        sparamx_kernel_info row = {.size = sizeof row};
        CHECK(sparamx_kernel_get(i, &row) == SPARAMX_OK && (row.usable == SPARAMX_OK) == (row.isa <= isa),
              "row %d: usable is %d at level %d", i, row.usable, isa);
        if (row.usable != SPARAMX_OK) continue;
        const gguf_type *type = gguf_find(row.type);
        gguf_fill(type, N, K, 0.5, 3, w);
        test_form(type, row.form, row.name, &row);
        forced++;
    }
    test_cache();
    printf("level %s: %d functions watched, %d types, %d kernels forced\n", levels[isa], entry_count, count, forced);
    return check_end();
}
