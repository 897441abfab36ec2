/*
 * sparamx-ggml-cache.hpp - the part of the adapter for ggml hosts that keeps packed weights in a directory
 * (SPARAMX_CACHE): the first load of a model writes them there, later ones map them, and all processes share the pages.
 *
 * One packed file for each file of weights. It is named after the file that the host has mapped, and its key tells
 * that file's device, inode, size and date to the nanosecond, and the library's version: whatever differs is packed and
 * written anew. A host that does not map its files hands over bytes in memory of its own: then the packed file is named
 * after the first of them, and each weight is known by a hash of its bytes. Within a file a weight is found by its name
 * and by where its bytes were, or by their hash; type, shape and form are the library's to compare.
 *
 * The directory and its files must belong to the user or to root, and nobody else may write to them. What fails is told
 * in one line, and the weights are packed as ever.
 */
#ifndef SPARAMX_GGML_CACHE_HPP
#define SPARAMX_GGML_CACHE_HPP

#include "sparamx-ggml-maps.hpp"
#include "sparamx-ggml-report.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace sparamx_ggml {

/* Two lanes of 64 bits each, which see every byte. Against accidents, not against somebody who wants two weights to
 * have the same: the weights are the user's own. */
class content_hash {
    uint64_t a = 0x9e3779b97f4a7c15u, b = 0xc2b2ae3d27d4eb4fu;

    static uint64_t mix(uint64_t x, uint64_t y) {
        const __uint128_t product = __uint128_t(x) * y;
        return uint64_t(product) ^ uint64_t(product >> 64);
    }

    void add(uint64_t word) {
        a = mix(a ^ word, 0xa0761d6478bd642fu) + 0x8ebc6af09c88c6e3u;
        b = mix(b + word, 0xe7037ed1a0b428dbu) ^ 0x589965cc75374cc3u;
    }

  public:
    content_hash(const void * data, size_t size) {
        const char * at = static_cast<const char *>(data);
        for (; size >= 8; at += 8, size -= 8) {
            uint64_t word;
            std::memcpy(&word, at, 8);
            add(word);
        }
        uint64_t last = 0;
        std::memcpy(&last, at, size);
        add(last);
        add(size);
    }

    std::string text() const {
        char hex[33];
        std::snprintf(hex, sizeof(hex), "%016llx%016llx", (unsigned long long) a, (unsigned long long) b);
        return hex;
    }
};

class packed_cache {
    struct weight {
        sparamx_buffer * buffer;
        sparamx_tensor   tensor;
        std::string      id;
    };

    /* A file of weights that is being loaded, or the bytes that a host read without a mapping. */
    struct source {
        std::string                    model; /* its path; "": bytes */
        std::string                    path, key;
        sparamx_file *                 file = nullptr;
        std::map<std::string, int32_t> index;
        std::vector<weight>            weights;
        size_t                         mapped = 0;
    };

  public:
    /* Where a weight is looked for. None: there is no cache, or none for this one. */
    struct place {
        source *    from = nullptr;
        std::string id;
    };

  private:
    std::mutex                                     mutex;
    bool                                           asked = false;
    std::string                                    directory; /* "": no cache */
    std::map<std::string, std::unique_ptr<source>> sources;   /* of the load that goes on, by the model's path */

    static void give_up(std::string & directory, const std::string & why) {
        say("SPARAMX_CACHE is not used: " + printable(directory.c_str()) + " " + why);
        directory.clear();
    }

    static bool is_private(const struct stat & s) {
        return (s.st_uid == geteuid() || s.st_uid == 0) && (s.st_mode & (S_IWGRP | S_IWOTH)) == 0;
    }

    void find_directory() {
        asked = true;
        const char * text = variable("SPARAMX_CACHE");
        if (!text || !*text) return;
        directory = text;
        mkdir(text, 0700);
        char real[PATH_MAX];
        struct stat s;
        if (!realpath(text, real) || stat(real, &s) != 0) {
            return give_up(directory, std::string("cannot be made or reached: ") + std::strerror(errno));
        }
        if (!S_ISDIR(s.st_mode)) return give_up(directory, "is no directory");
        if (!is_private(s)) {
            return give_up(directory, "must belong to you or to root, and nobody else may write to it");
        }
        directory = real;
    }

    /* ------------------------------------------------------------------------------------------- what is loaded -- */

    /* The file that is mapped where the data lies, and where in it. False if there is none, or if its path now names
     * another one. */
    static bool find_file(const void * data, size_t size, std::string & path, uint64_t & offset) {
        const uintptr_t begin = reinterpret_cast<uintptr_t>(data), end = begin + size;
        maps::mapping   m;
        struct stat     s;
        if (!maps::find(begin, end, m) || m.is_writable || m.path.empty() || m.path[0] != '/') return false;
        if (stat(m.path.c_str(), &s) != 0 || s.st_ino != m.inode || !S_ISREG(s.st_mode)) return false;
        path = std::move(m.path);
        offset = m.offset + (begin - m.begin);
        return true;
    }

    /* "" if it cannot be told. */
    static std::string identity(const std::string & path, bool & is_new) {
        struct stat s;
        if (stat(path.c_str(), &s) != 0) return {};
        char text[160];
        std::snprintf(text, sizeof(text), "%llx:%llu %lld bytes %lld.%09ld", (unsigned long long) s.st_dev,
                      (unsigned long long) s.st_ino, (long long) s.st_size, (long long) s.st_mtim.tv_sec,
                      long(s.st_mtim.tv_nsec));
        /* Clocks of file systems tick slowly: what is written next may have the same date. */
        is_new = std::time(nullptr) - s.st_mtim.tv_sec < 2;
        return text;
    }

    /* The forms that may be in the file belong to it: who asks for coded ones gets them. */
    static std::string key_of(const sparamx_api * api, const std::string & what) {
        const char * form = variable("SPARAMX_FORM");
        const char * coded = form && std::strcmp(form, "coded") == 0 ? " coded " : " ";
        return (api->version() + (coded + what)).substr(0, SPARAMX_FILE_KEY_MAX);
    }

    void open(const sparamx_api * api, source & s) {
        struct stat is;
        if (lstat(s.path.c_str(), &is) != 0) return;
        if (!S_ISREG(is.st_mode) || !is_private(is)) {
            say(printable(s.path.c_str()) + " is not used: it must belong to you or to root, and nobody else may "
                                            "write to it");
            return;
        }
        const void * key = nullptr;
        size_t       size = 0;
        if (api->file_open(s.path.c_str(), &s.file) != SPARAMX_OK) return; /* the library has said why */
        if (api->file_key(s.file, &key, &size) != SPARAMX_OK || size != s.key.size() ||
            std::memcmp(key, s.key.data(), size) != 0) {
            api->file_close(s.file);
            s.file = nullptr;
            return;
        }
        for (int32_t i = 0; i < api->file_count(s.file); ++i) {
            sparamx_file_tensor t = {};
            t.size = sizeof(t);
            if (api->file_info(s.file, i, &t) == SPARAMX_OK) s.index[std::string(t.name, size_t(t.name_size))] = i;
        }
    }

    /* ------------------------------------------------------------------------------------------ what is written -- */

    /* Files are made with the rights that the process's umask leaves, and this one must not be another's to write,
     * not for a moment. */
    static bool others_could_write(const std::string & directory) {
        struct stat s;
        unsigned    mask = 0;
        bool        known = false;
        std::FILE * status = std::fopen("/proc/self/status", "re");
        char        line[256];
        while (status && !known && std::fgets(line, sizeof(line), status)) {
            known = std::sscanf(line, "Umask: %o", &mask) == 1;
        }
        if (status) std::fclose(status);
        const bool reachable = stat(directory.c_str(), &s) != 0 || (s.st_mode & (S_IXGRP | S_IXOTH)) != 0;
        return reachable && (!known || (mask & 022) != 022);
    }

    /* "", or why not. */
    std::string write(const sparamx_api * api, const source & s) const {
        if (others_could_write(directory)) return "your umask would let others write to it: chmod 700 " + directory;
        if (!s.model.empty()) {
            bool is_new = false;
            if (key_of(api, identity(s.model, is_new)) != s.key) return "the model was changed meanwhile";
            if (is_new) return "the model was written a moment ago; the next load keeps them";
        }
        sparamx_file_writer * writer = nullptr;
        errno = 0;
        sparamx_status status = api->file_writer_create(s.path.c_str(), s.key.data(), s.key.size(), &writer);
        for (size_t i = 0; status == SPARAMX_OK && i < s.weights.size(); ++i) {
            const weight & w = s.weights[i];
            status = api->file_writer_add(writer, w.id.c_str(), w.buffer, &w.tensor);
        }
        if (status == SPARAMX_OK) status = api->file_writer_finish(writer);
        const int reason = errno;
        api->file_writer_destroy(writer);
        struct stat made;
        if (status == SPARAMX_OK) {
            if (stat(s.path.c_str(), &made) == 0) chmod(s.path.c_str(), made.st_mode & 0755);
            return {};
        }
        std::string why = api->status_string(status);
        if (status == SPARAMX_ERR_FILE) why += std::string(" (") + std::strerror(reason) + ")";
        return why;
    }

    void close(const sparamx_api * api) {
        for (auto & s : sources) api->file_close(s.second->file);
        sources.clear();
    }

  public:
    static packed_cache & get() {
        static packed_cache * c = new packed_cache();
        return *c;
    }

    /* A weight is about to be uploaded, whole, from data. */
    place find(const sparamx_api * api, const sparamx_tensor & t, const void * data, size_t size) {
        std::lock_guard<std::mutex> lock(mutex);
        if (!asked) find_directory();
        if (directory.empty() || !t.name) return {};
        const int   kept = errno;
        std::string model;
        uint64_t    offset = 0;
        place       p;
        const bool  is_file = find_file(data, size, model, offset);
        if (!is_file) model.clear();
        p.id = std::string(t.name) + (is_file ? "@" + std::to_string(offset) : "#" + content_hash(data, size).text());
        if (p.id.size() > SPARAMX_FILE_NAME_MAX) return {};
        std::unique_ptr<source> & s = sources[model];
        if (!s) {
            bool              is_new = false;
            const std::string what = is_file ? identity(model, is_new) : p.id;
            s.reset(new source());
            s->model = model;
            s->key = key_of(api, what);
            std::string base = is_file ? model.substr(model.rfind('/') + 1, 80) : "bytes";
            for (char & c : base) {
                if (!std::strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-", c)) c = '_';
            }
            const std::string & named = is_file ? model : p.id;
            s->path = directory + "/" + base + "-" + content_hash(named.data(), named.size()).text().substr(0, 16) +
                      ".sparamx";
            open(api, *s);
        }
        p.from = s.get();
        errno = kept;
        return p;
    }

    /* True if the weight now has its contents from the cache. */
    bool load(const sparamx_api * api, const place & p, sparamx_buffer * buffer, const sparamx_tensor & t) {
        if (!p.from) return false;
        std::lock_guard<std::mutex> lock(mutex);
        const auto                  found = p.from->index.find(p.id);
        if (found == p.from->index.end() ||
            api->buffer_load_tensor(buffer, &t, p.from->file, found->second) != SPARAMX_OK) {
            return false;
        }
        p.from->mapped += 1;
        p.from->weights.push_back(weight{ buffer, t, p.id });
        return true;
    }

    /* It was packed instead. */
    void packed(const sparamx_api * api, const place & p, sparamx_buffer * buffer, const sparamx_tensor & t) {
        if (!p.from) return;
        sparamx_tensor_info info = {};
        info.size = sizeof(info);
        if (api->buffer_tensor_info(buffer, &t, &info) != SPARAMX_OK || info.form == SPARAMX_FORM_RAW) return;
        std::lock_guard<std::mutex> lock(mutex);
        p.from->weights.push_back(weight{ buffer, t, p.id });
    }

    /* The buffer ends before its model was complete. */
    void forget(const sparamx_api * api, const sparamx_buffer * buffer) {
        std::lock_guard<std::mutex> lock(mutex);
        for (const auto & s : sources) {
            for (const weight & w : s.second->weights) {
                if (w.buffer == buffer) return close(api);
            }
        }
    }

    /* The model is complete: what the cache did not have is written. */
    void complete(const sparamx_api * api) {
        std::lock_guard<std::mutex> lock(mutex);
        const int                   kept = errno;
        for (const auto & entry : sources) {
            const source &    s = *entry.second;
            const size_t      n = s.weights.size();
            const std::string path = printable(s.path.c_str());
            if (n == 0) continue;
            if (s.mapped == n) {
                load_report::get().add_line(std::to_string(n) + " of them mapped from " + path);
                continue;
            }
            const std::string why = write(api, s);
            load_report::get().add_line(why.empty() ? std::to_string(n) + " of them written to " + path
                                                    : "the packed weights were not written to " + path + ": " + why);
        }
        close(api);
        errno = kept;
    }
};

} // namespace sparamx_ggml

#endif /* SPARAMX_GGML_CACHE_HPP */
