/*
 * sparamx-ggml-report.hpp - the part of the adapter for ggml hosts that tells what happened: one line after a model is
 * loaded, and with SPARAMX_STATS the time spent in products and the memory of the weights.
 *
 * Included by sparamx-ggml-cpu.hpp. Everything here may be called from any thread.
 */
#ifndef SPARAMX_GGML_REPORT_HPP
#define SPARAMX_GGML_REPORT_HPP

#include "sparamx-ggml-library.hpp"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <string>
#include <utility>

namespace sparamx_ggml {

/* --------------------------------------------------------------------------------------------- after a load -- */

/* Counts a model's weights while it is loaded: the host asks about each, announces those that it places with us, and
 * writes them. When the last announced byte has come there is a line to print, but the host may be in the middle of a
 * line of its own (of dots, say): so it is printed when the host next asks, computes or frees something, as it does
 * when it makes a context. If nothing was taken that is known when the host computes. */
class load_report {
    struct weight {
        uint64_t    bytes;
        double      share; /* of its bytes that one token reads: below 1 for experts */
        std::string why;   /* it is left to the host; empty: it may be taken */
    };
    struct totals {
        uint64_t matrices = 0, sparse = 0, coded = 0, bytes = 0, packed = 0;
        double   read = 0; /* packed bytes that one token reads */
    };
    using place = std::pair<const void *, const void *>; /* buffer, data */

    std::mutex                    mutex;
    std::map<std::string, weight> asked_about; /* weights of products */
    std::string                   first_asked;
    int                           looked_at = 0; /* products of the host since */
    std::map<place, std::string>  expected;
    totals                        taken;
    std::string                   line, last_said;
    std::atomic<bool>             has_line{ false };
    std::atomic<bool>             quiet{ false }; /* the host's computing tells nothing new */

    static std::string mb(double bytes) {
        char text[32];
        std::snprintf(text, sizeof(text), "%.1f MB", bytes / 1e6);
        return text;
    }

    /* "", or what was left, what share of the bytes per token that is, and why. */
    std::string left() const {
        double         read = 0, largest = -1;
        size_t         count = 0;
        const weight * first = nullptr;
        std::string    name;
        for (const auto & [key, w] : asked_about) {
            if (w.why.empty()) continue;
            ++count;
            read += double(w.bytes) * w.share;
            if (double(w.bytes) * w.share <= largest) continue;
            largest = double(w.bytes) * w.share;
            first = &w;
            name = key;
        }
        if (!first) return {};
        char share[16];
        std::snprintf(share, sizeof(share), "%.0f%%", 100 * read / (read + taken.read));
        return std::to_string(count) + (count == 1 ? " matrix" : " matrices") + " left to the host, " + mb(read) +
               " or " + share + " of the bytes per token: " + printable(name.c_str()) + " (" + first->why + ")" +
               (count > 1 ? " and others" : "");
    }

    void finish() {
        if (!expected.empty() || taken.matrices == 0) return;
        const std::string rest = left();
        if (!line.empty()) line += "\nsparamx: ";
        line += "took " + std::to_string(taken.matrices) + (taken.matrices == 1 ? " matrix, " : " matrices, ") +
                mb(double(taken.bytes)) +
            " packed to " + mb(double(taken.packed)) + ", " + std::to_string(taken.sparse) + " of them sparse" +
            (taken.coded ? ", " + std::to_string(taken.coded) + " coded" : "") + (rest.empty() ? "" : "; " + rest);
        has_line = true;
        asked_about.clear();
        taken = totals();
        quiet = true;
    }

    /* Hosts load a model twice: once to see how large it is. */
    void say_once(const std::string & text) {
        if (text != last_said) say(text);
        last_said = text;
    }

    void tell_locked() {
        if (!line.empty()) say(line);
        line.clear();
        has_line = false;
    }

  public:
    static load_report & get() {
        static load_report * r = new load_report();
        return *r;
    }

    /* The host wants to know whether it may place the weight of a product with us. why: "" if so. */
    void asked(const char * name, uint64_t bytes, double share, const std::string & why) {
        std::lock_guard<std::mutex> lock(mutex);
        if (expected.empty() && first_asked == name) asked_about.clear(); /* a load that came to nothing, or a trial */
        if (asked_about.empty()) first_asked = name;
        asked_about[name] = weight{ bytes, share, why };
        looked_at = 0;
        quiet = false;
    }

    void announced(const void * buffer, const ggml_tensor * t) {
        std::lock_guard<std::mutex> lock(mutex);
        expected[place(buffer, t->data)] = t->name;
    }

    void written(const sparamx_api * api, const void * buffer, const ggml_tensor * t, const sparamx_tensor & of_library,
                 const sparamx_buffer * holder) {
        std::lock_guard<std::mutex> lock(mutex);
        const auto found = expected.find(place(buffer, t->data));
        if (found == expected.end()) return;
        sparamx_tensor_info info = {};
        info.size = sizeof(info);
        if (api->buffer_tensor_info(holder, &of_library, &info) != SPARAMX_OK || info.form == SPARAMX_FORM_RAW) return;
        const auto   known = asked_about.find(found->second);
        const double share = known == asked_about.end() ? 1 : known->second.share;
        taken.matrices += 1;
        taken.sparse += info.form == SPARAMX_FORM_SPARSE || info.form == SPARAMX_FORM_CODED_SPARSE;
        taken.coded += info.form == SPARAMX_FORM_CODED || info.form == SPARAMX_FORM_CODED_SPARSE;
        taken.bytes += info.source_bytes;
        taken.packed += info.packed_bytes;
        taken.read += double(info.packed_bytes) * share;
        expected.erase(found);
        finish();
    }

    /* Every weight that was announced has been written. */
    bool is_complete() {
        std::lock_guard<std::mutex> lock(mutex);
        return expected.empty();
    }

    /* One more line after a load. */
    void add_line(const std::string & text) {
        std::lock_guard<std::mutex> lock(mutex);
        line += (line.empty() ? "" : "\nsparamx: ") + text;
        has_line = true;
    }

    /* Between these two a load goes on, for hosts that announce each weight only as they write it. */
    void hold(const void * buffer) {
        std::lock_guard<std::mutex> lock(mutex);
        expected[place(buffer, nullptr)] = "";
    }
    void release(const void * buffer) {
        std::lock_guard<std::mutex> lock(mutex);
        expected.erase(place(buffer, nullptr));
        finish();
    }

    void freed(const void * buffer) {
        std::lock_guard<std::mutex> lock(mutex);
        tell_locked();
        expected.erase(expected.lower_bound(place(buffer, nullptr)),
                       expected.upper_bound(place(buffer, reinterpret_cast<const void *>(UINTPTR_MAX))));
        if (expected.empty()) taken = totals();
    }

    /* The host computes with a weight that could have been ours, or NULL: some other sign that a model is loaded. */
    void computing(const ggml_tensor * w) {
        if (quiet.load(std::memory_order_relaxed)) return;
        std::lock_guard<std::mutex> lock(mutex);
        if (quiet || !expected.empty()) return;
        if (++looked_at == 4096) quiet = true; /* more would only cost time */
        if (asked_about.empty()) {
            if (!w) return;
            say_once("nothing taken: the host put " + printable(w->name) +
                     " into its own memory without asking, as with " +
                     "--no-repack, for a GPU, or as an RPC server without -d SPARAMX (and SPARAMX_MODE=rpc)");
        } else {
            for (const auto & entry : asked_about) {
                if (entry.second.why.empty()) return; /* was accepted: of a model that is not loaded yet */
            }
            say_once("nothing taken: " + left());
            asked_about.clear();
        }
        quiet = true;
    }

    bool is_quiet() const { return quiet.load(std::memory_order_relaxed); }

    /* For every product with a weight of ours: one look at a flag. */
    void tell() {
        if (!has_line.load(std::memory_order_relaxed)) return;
        std::lock_guard<std::mutex> lock(mutex);
        tell_locked();
    }
};

/* ------------------------------------------------------------------------------------------------- with STATS -- */

inline bool statistics_wanted() {
    static const bool wanted = variable("SPARAMX_STATS") != nullptr;
    return wanted;
}

/* How long the first of the host's threads spent in products, and how many tokens went through the first weight; what
 * the weights of the buffers freed so far took. Resident is not the library's word but the kernel's: by how much the
 * anonymous memory of the process shrank when they were freed. */
class statistics {
    std::mutex   mutex;
    double       seconds = 0;
    int64_t      products = 0, tokens = 0;
    const void * first = nullptr;
    uint64_t     uploaded = 0, packed = 0, resident = 0;

    /* The page tables are walked for this file; the counters in /proc/self/status lag behind. */
    static uint64_t anonymous() {
        std::FILE *        file = std::fopen("/proc/self/smaps_rollup", "re");
        char               line[256];
        unsigned long long kib = 0;
        while (file && std::fgets(line, sizeof(line), file) && std::sscanf(line, "Anonymous: %llu", &kib) != 1) {}
        if (file) std::fclose(file);
        return uint64_t(kib) * 1024;
    }

    static void print() {
        statistics &                s = get();
        std::lock_guard<std::mutex> lock(s.mutex);
        std::fprintf(stderr, "sparamx: %lld products, %lld tokens, %.6f seconds\n", (long long) s.products,
                     (long long) s.tokens, s.seconds);
        std::fprintf(stderr, "sparamx: weights of %llu bytes, packed %llu, resident %llu\n",
                     (unsigned long long) s.uploaded, (unsigned long long) s.packed, (unsigned long long) s.resident);
    }

  public:
    static statistics & get() {
        static statistics * s = []() {
            if (statistics_wanted()) std::atexit(print);
            return new statistics();
        }();
        return *s;
    }

    void add(const ggml_tensor * node, std::chrono::steady_clock::time_point since) {
        const double                took =
            std::chrono::duration<double>(std::chrono::steady_clock::now() - since).count();
        std::lock_guard<std::mutex> lock(mutex);
        seconds += took;
        ++products;
        if (!first) first = node->src[0]->data;
        if (first == node->src[0]->data) tokens += node_parts(node).tokens(node);
    }

    /* Ends a buffer of the library, and measures what that gives back. */
    void destroy(const sparamx_api * api, sparamx_buffer * buffer) {
        std::lock_guard<std::mutex> lock(mutex);
        uploaded += api->buffer_size(buffer);
        packed += api->buffer_resident(buffer);
        const uint64_t before = anonymous();
        api->buffer_destroy(buffer);
        const uint64_t after = anonymous();
        resident += before > after ? before - after : 0;
    }
};

inline void destroy(const sparamx_api * api, sparamx_buffer * buffer) {
    statistics_wanted() && buffer ? statistics::get().destroy(api, buffer) : api->buffer_destroy(buffer);
}

} // namespace sparamx_ggml

#endif /* SPARAMX_GGML_REPORT_HPP */
