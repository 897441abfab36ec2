// The adapter's parts that need no host.
//
//   adapter_checks patterns     names against patterns
//   adapter_checks pages        which mappings are given back after an upload
//   adapter_checks maps         which file an address belongs to
//   adapter_checks numa         what SPARAMX_NUMA may be
//   adapter_checks loader FILE  the first call from one thread while another is inside the dynamic linker, in the
//                               constructor of FILE, and makes its own first call there
//   adapter_checks environment  whether SPARAMX_LIB is read

#define SPARAMX_GGML_WITHOUT_TRAITS
#include "sparamx-ggml-cpu.hpp"

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <thread>
#include <vector>

#define CHECK(x) do { if (!(x)) { std::fprintf(stderr, "line %d: %s\n", __LINE__, #x); std::exit(1); } } while (0)

namespace {

bool fits(const char * text, const char * name) {
    setenv("TRIED", text, 1);
    sparamx_ggml::patterns p;
    CHECK(p.read("TRIED").empty());
    return p.allow(name);
}

std::string fault(const std::string & text) {
    setenv("TRIED", text.c_str(), 1);
    return sparamx_ggml::patterns().read("TRIED");
}

void check_patterns() {
    const char * const name = "blk.12.ffn_up_exps.weight";
    for (const char * text : { "ffn_", "blk.12.ffn_up_exps.weight", "^blk.12.", "weight$", "^blk.*.weight$",
                               "blk.??.ffn", "x,ffn_up", "x|ffn_up", "*", "^*$", "b*l*k*w*t$", "exps.weight",
                               "," "ffn", "ffn," }) {
        CHECK(fits(text, name));
    }
    for (const char * text : { "attn", "^ffn", "ffn$", "^blk.12.$", "blk.?.ffn", "xx,y", "^blk.1.*", "^*x$", "ffn*attn",
                               ",", "^weight$" }) {
        CHECK(!fits(text, name));
    }
    CHECK(fits("^output.weight$", "output.weight") && !fits("^output.weight$", "blk.0.attn_output.weight"));
    CHECK(fits("^$", "") && !fits("^$", name) && fits("^output*", "output.weight"));
    for (const char * text : { "(", "blk\\.0", "[0-9]", "a{3}", "a+" }) {
        CHECK(fault(text).find("no regular expression") != std::string::npos);
    }
    CHECK(fault(std::string(30000, '(')).find("longer than") != std::string::npos);

    // The worst that fits: every star tries every place.
    std::string hard = "^";
    while (hard.size() < 4000) hard += "*a";
    const auto since = std::chrono::steady_clock::now();
    CHECK(!fits((hard + "*b$").c_str(), std::string(63, 'a').c_str()));
    CHECK(std::chrono::steady_clock::now() - since < std::chrono::seconds(1));
}

// KiB of the mapping at p that this process has in memory.
long resident(const void * p) {
    std::FILE *     file = std::fopen("/proc/self/smaps", "r");
    char            line[512];
    bool            here = false;
    const uintptr_t at = reinterpret_cast<uintptr_t>(p);
    unsigned long   from, to;
    long            kib = -1;
    while (file && std::fgets(line, sizeof(line), file)) {
        if (std::sscanf(line, "%lx-%lx ", &from, &to) == 2) here = at >= from && at < to;
        if (here && kib < 0) std::sscanf(line, "Rss: %ld", &kib);
    }
    if (file) std::fclose(file);
    return kib;
}

void check_pages() {
    constexpr size_t size = 1 << 20, kib = size / 1024;
    char             name[] = "/tmp/sparamx-pages-XXXXXX";
    const int        file = mkstemp(name);
    CHECK(file >= 0);
    unlink(name);
    std::vector<char> bytes(size, 7);
    CHECK(write(file, bytes.data(), size) == ssize_t(size));

    auto make = [&](int rights, int flags, int fd) {
        char * p = static_cast<char *>(mmap(nullptr, size, rights, flags, fd, 0));
        CHECK(p != MAP_FAILED);
        return p;
    };
    auto touch = [&](const char * p) {
        int sum = 0;
        for (size_t i = 0; i < size; ++i) sum += p[i] != 0;
        return sum;
    };
    // A file that is mapped for reading: the two that are given back, whole pages only, and the bytes are there as
    // before.
    for (int flags : { MAP_PRIVATE, MAP_SHARED }) {
        char * p = make(PROT_READ, flags, file);
        CHECK(touch(p) == int(size) && resident(p) == long(kib));
        sparamx_ggml::pages::give_back(p + 100, size - 200);
        CHECK(resident(p) <= 8);
        CHECK(std::memcmp(p, bytes.data(), size) == 0);
        munmap(p, size);
    }
    // What must stay: written private pages, also where only reading is allowed by now; what can be written; memory
    // without a file; more than one mapping.
    char * p = make(PROT_READ | PROT_WRITE, MAP_PRIVATE, file);
    CHECK(touch(p) == int(size));
    p[size / 2] = 9;
    sparamx_ggml::pages::give_back(p, size);
    CHECK(p[size / 2] == 9 && resident(p) == long(kib));
    CHECK(mprotect(p, size, PROT_READ) == 0);
    sparamx_ggml::pages::give_back(p, size);
    CHECK(p[size / 2] == 9 && resident(p) == long(kib));
    munmap(p, size);
    for (int flags : { MAP_PRIVATE | MAP_ANONYMOUS, MAP_SHARED | MAP_ANONYMOUS }) {
        p = make(PROT_READ | PROT_WRITE, flags, -1);
        std::memset(p, 5, size);
        for (int rights : { PROT_READ | PROT_WRITE, PROT_READ }) {
            CHECK(mprotect(p, size, rights) == 0);
            sparamx_ggml::pages::give_back(p, size);
            CHECK(touch(p) == int(size) && p[0] == 5);
        }
        munmap(p, size);
    }
    p = make(PROT_READ | PROT_WRITE, MAP_SHARED, file);
    CHECK(touch(p) == int(size));
    sparamx_ggml::pages::give_back(p, size);
    CHECK(resident(p) == long(kib));
    munmap(p, size);
    std::vector<char> heap(size, 3);
    sparamx_ggml::pages::give_back(heap.data(), size);
    CHECK(touch(heap.data()) == int(size));
    sparamx_ggml::pages::give_back(nullptr, 0);
    close(file);
}

// What the kernel answers for one address is what its list of mappings says; the bytes that are found are the file's.
void check_maps() {
    using namespace sparamx_ggml::maps;
    const size_t page = size_t(sysconf(_SC_PAGESIZE)), size = 8 * page;
    char         name[] = "/tmp/sparamx maps-XXXXXX";
    const int    file = mkstemp(name);
    CHECK(file >= 0 && ftruncate(file, off_t(size)) == 0);
    auto both = [&](const void * from, size_t bytes, mapping & m) {
        const uintptr_t begin = reinterpret_cast<uintptr_t>(from), end = begin + bytes;
        const bool      listed = read_list(begin, end, m);
        mapping         asked;
        const answer    a = query(begin, end, asked);
        if (a != answer::no_answer) {
            CHECK((a == answer::found) == listed);
            CHECK(!listed || (asked.begin == m.begin && asked.end == m.end && asked.offset == m.offset &&
                              asked.inode == m.inode && asked.is_readable == m.is_readable &&
                              asked.is_writable == m.is_writable && asked.is_private == m.is_private &&
                              asked.path == m.path));
        }
        mapping found;
        CHECK(find(begin, end, found) == listed && (!listed || found.path == m.path));
        return listed;
    };
    struct stat is;
    CHECK(fstat(file, &is) == 0);
    for (int rights : { PROT_READ, PROT_READ | PROT_WRITE, PROT_NONE }) {
        for (int flags : { MAP_PRIVATE, MAP_SHARED }) {
            char *  p = static_cast<char *>(mmap(nullptr, size, rights, flags, file, 0));
            mapping m;
            CHECK(p != MAP_FAILED && mprotect(p + 4 * page, page, PROT_READ | PROT_EXEC) == 0);
            CHECK(both(p + page + 5, page, m) && both(p + page + 5, 3 * page - 5, m));
            CHECK(m.begin == reinterpret_cast<uintptr_t>(p) && m.end == m.begin + 4 * page && m.offset == 0);
            CHECK(m.path == name && m.inode == is.st_ino && m.is_private == (flags == MAP_PRIVATE));
            CHECK(m.is_readable == (rights != PROT_NONE) && m.is_writable == ((rights & PROT_WRITE) != 0));
            CHECK(both(p + 6 * page, page, m) && m.offset == 5 * page);
            CHECK(!both(p + page, 3 * page + 1, m)); // two mappings
            CHECK(!both(p + 4 * page, page, m));     // code
            munmap(p, size);
            CHECK(!both(p, page, m));
        }
    }
    mapping           m;
    std::vector<char> heap(size, 3);
    CHECK(!both(heap.data(), heap.size(), m) && !both(nullptr, 1, m));
    char * p = static_cast<char *>(mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file, 0));
    unlink(name);
    CHECK(both(p, size, m) && m.path == std::string(name) + " (deleted)");
    close(file);
}

std::atomic<bool> in_constructor{ false };

void check_numa() {
    const struct {
        const char * text;
        int          numa;
    } words[] = { { "interleave", SPARAMX_NUMA_INTERLEAVE }, { "mirror", SPARAMX_NUMA_MIRROR },
                  { "distribute", SPARAMX_NUMA_DISTRIBUTE }, { "default", SPARAMX_NUMA_DEFAULT },
                  { "", SPARAMX_NUMA_DEFAULT } };
    for (const auto & word : words) {
        setenv("SPARAMX_NUMA", word.text, 1);
        sparamx_ggml::name_rules rules;
        CHECK(rules.read().empty() && rules.numa == word.numa);
    }
    for (const char * text : { "Mirror", "mirror ", "1", "numactl" }) {
        setenv("SPARAMX_NUMA", text, 1);
        CHECK(sparamx_ggml::name_rules().read().find("interleave, mirror or distribute") != std::string::npos);
    }
    unsetenv("SPARAMX_NUMA");
}

} // namespace

// Called by the constructor of FILE: the dynamic linker's lock is held by this thread.
extern "C" __attribute__((visibility("default"))) void sparamx_test_constructor() {
    in_constructor = true;
    std::this_thread::sleep_for(std::chrono::milliseconds(500)); // the other thread comes to wait for the lock
    sparamx_ggml::library::get();
}

int main(int argc, char ** argv) {
    const std::string what = argc > 1 ? argv[1] : "";
    if (what == "patterns") {
        check_patterns();
    } else if (what == "pages") {
        check_pages();
    } else if (what == "maps") {
        check_maps();
    } else if (what == "loader" && argc == 3) {
        std::thread loading([&] { CHECK(dlopen(argv[2], RTLD_NOW)); });
        while (!in_constructor) std::this_thread::yield();
        const sparamx_ggml::library & here = sparamx_ggml::library::get();
        loading.join();
        CHECK(&here == &sparamx_ggml::library::get());
        std::vector<std::thread> many;
        for (int i = 0; i < 8; ++i) many.emplace_back([&] { CHECK(&here == &sparamx_ggml::library::get()); });
        for (std::thread & t : many) t.join();
    } else if (what == "numa") {
        check_numa();
    } else if (what == "environment") {
        std::printf("%s\n", sparamx_ggml::library::get().about.c_str());
        return 0;
    } else {
        std::fprintf(stderr, "adapter_checks: unknown arguments\n");
        return 2;
    }
    std::printf("all checks passed\n");
    return 0;
}
