#include "gram_file.hpp"

#include "header.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <memory>

namespace plugin::collect {
namespace {

struct descriptor {
    int at;
    explicit descriptor(int at) : at(at) {}
    ~descriptor() {
        if (at >= 0) close(at);
    }
    descriptor(const descriptor &) = delete;
    descriptor & operator=(const descriptor &) = delete;
};

bool read_all(int from, void * to, size_t bytes, uint64_t offset) {
    for (char * out = static_cast<char *>(to); bytes > 0;) {
        const ssize_t n = pread(from, out, bytes, off_t(offset));
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) {
            if (n == 0) errno = EIO;
            return false;
        }
        out += n;
        bytes -= size_t(n);
        offset += uint64_t(n);
    }
    return true;
}

bool write_all(int to, const void * from, size_t bytes) {
    for (const char * in = static_cast<const char *>(from); bytes > 0;) {
        const ssize_t n = ::write(to, in, bytes);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        in += n;
        bytes -= size_t(n);
    }
    return true;
}

std::string folder_of(const std::string & path) { return path.substr(0, path.rfind('/') + 1); }

// Beside the file, under a name that no other process uses.
std::string temporary(const std::string & path) { return path + "." + std::to_string(getpid()) + ".partial"; }

// A new file without a name, which goes when its descriptor does; where the file system has no such files, one with the
// temporary name. -1 with errno.
int open_new(const std::string & path, bool & named) {
    named = false;
    int at = open(folder_of(path).c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0666);
    if (at >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL && errno != ENOENT)) return at;
    named = true;
    unlink(temporary(path).c_str()); // of a killed process that had our number
    return open(temporary(path).c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0666);
}

void get_version(const struct stat & of, uint64_t (&version)[4]) {
    version[0] = of.st_ino;
    version[1] = uint64_t(of.st_size);
    version[2] = uint64_t(of.st_mtim.tv_sec);
    version[3] = uint64_t(of.st_mtim.tv_nsec);
}

std::string cannot(const std::string & path, const char * what) {
    const int error = errno;
    return path + " cannot be " + what + ": " + std::strerror(error);
}

} // namespace

std::string gram_file::read(const std::string & path) {
    descriptor  file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    struct stat status;
    if (file.at < 0 && errno == ENOENT) return {};
    if (file.at < 0 || fstat(file.at, &status) != 0) return cannot(path, "read");
    if (!S_ISREG(status.st_mode)) return path + " is no regular file";
    exists = true;
    get_version(status, version);
    const std::string foreign = path + " holds something else than Gram matrices: name another file";
    const uint64_t    size = uint64_t(status.st_size);
    uint64_t          length = 0;
    if (size < sizeof(length)) return foreign;
    if (!read_all(file.at, &length, sizeof(length), 0)) return cannot(path, "read");
    if (length > largest_header || length > size - sizeof(length)) return foreign;
    std::string text(size_t(length), '\0');
    if (!read_all(file.at, &text[0], text.size(), sizeof(length))) return cannot(path, "read");
    if (!parse_header(text, metadata, tensors) || metadata["format"] != format) return foreign;
    const uint64_t begin = sizeof(length) + length;
    for (auto & entry : tensors) {
        range & r = entry.second;
        if (r.begin > size - begin || r.bytes > size - begin - r.begin) {
            return path + " is cut off: delete it and begin again";
        }
        r.begin += begin;
    }
    return {};
}

bool gram_file::is_same(const struct stat & status) const {
    uint64_t now[4];
    get_version(status, now);
    return exists && std::memcmp(now, version, sizeof(now)) == 0;
}

bool gram_file::is_stale(const std::string & path) const {
    struct stat status;
    return stat(path.c_str(), &status) != 0 ? exists : !is_same(status);
}

bool gram_file::is_version_of(int descriptor) const {
    struct stat status;
    return fstat(descriptor, &status) == 0 && is_same(status);
}

std::string resolve(const std::string & name, std::string & absolute) {
    char        real[PATH_MAX];
    std::string path = name;
    for (int links = 0; links < 8; ++links) { // that point to what is not there yet
        const ssize_t n = readlink(path.c_str(), real, sizeof(real) - 1);
        if (n <= 0) break;
        real[n] = 0;
        const size_t slash = path.rfind('/');
        path = real[0] == '/' || slash == std::string::npos ? real : path.substr(0, slash + 1) + real;
    }
    if (realpath(path.c_str(), real)) {
        absolute = real;
        return {};
    }
    const size_t slash = path.rfind('/');
    if (errno != ENOENT || slash + 1 == path.size()) return cannot(path, "written");
    const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
    if (!realpath(folder.c_str(), real)) return cannot(path, "written");
    absolute = real;
    if (absolute.back() != '/') absolute += '/';
    absolute += path.substr(slash + 1);
    return {};
}

std::string check_writable(const std::string & path) {
    bool       named;
    descriptor file(open_new(path, named));
    if (file.at < 0) return cannot(path, "written");
    if (named) unlink(temporary(path).c_str());
    return {};
}

std::string write(const std::string & path, const std::map<std::string, std::string> & metadata,
                  const std::vector<new_tensor> & tensors, const gram_file & old) {
    bool       named;
    descriptor file(open_new(path, named));
    if (file.at < 0) return cannot(path, "written");
    struct remover { // of what has the temporary name
        std::string path;
        bool        active;
        ~remover() {
            if (active) unlink(path.c_str());
        }
    } leftover{ temporary(path), named };

    std::vector<std::pair<std::string, uint64_t>> sizes;
    for (const new_tensor & t : tensors) sizes.emplace_back(t.key, t.bytes);
    const std::string header = make_header(metadata, sizes);
    const uint64_t    length = header.size();
    if (length > largest_header) return path + " cannot be written: the model has too many matrices";
    if (!write_all(file.at, &length, sizeof(length)) || !write_all(file.at, header.data(), header.size())) {
        return cannot(path, "written");
    }
    for (const new_tensor & t : tensors) {
        int        error = 0;
        uint64_t   written = 0;
        const bool given = t.give([&](const void * data, size_t bytes) {
            written += bytes;
            if (write_all(file.at, data, bytes)) return true;
            error = errno;
            return false;
        });
        errno = error;
        if (error) return cannot(path, "written");
        if (!given || written != t.bytes) {
            return path + " cannot be written: " + t.key + " of the old file cannot be read";
        }
    }
    if (fsync(file.at) != 0) return cannot(path, "written");
    if (!named) {
        const std::string self = "/proc/self/fd/" + std::to_string(file.at);
        unlink(leftover.path.c_str()); // of a killed process that had our number
        if (linkat(AT_FDCWD, self.c_str(), AT_FDCWD, leftover.path.c_str(), AT_SYMLINK_FOLLOW) != 0) {
            return cannot(path, "written");
        }
        leftover.active = true;
    }
    if (old.is_stale(path)) return "another process has written it meanwhile";
    if (rename(leftover.path.c_str(), path.c_str()) != 0) return cannot(path, "written");
    leftover.active = false;
    return {};
}

std::function<bool(const sink &)> copied(const std::string & path, const gram_file & old, gram_file::range from) {
    return [path, &old, from](const sink & accept) {
        descriptor        file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
        std::vector<char> piece(1 << 20);
        // Another file by now has its sums elsewhere.
        if (file.at >= 0 && !old.is_version_of(file.at)) return false;
        for (uint64_t done = 0; done < from.bytes;) {
            const uint64_t left = from.bytes - done;
            const size_t   n = left < piece.size() ? size_t(left) : piece.size();
            if (file.at < 0 || !read_all(file.at, piece.data(), n, from.begin + done)) return false;
            if (!accept(piece.data(), n)) return false;
            done += n;
        }
        return true;
    };
}

} // namespace plugin::collect
