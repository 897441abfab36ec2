// Files of Gram matrices: safetensors, read and written. examples/prune/gram.py reads them in Python.
//
// Tensors, all F32: NAME.gram, or NAME.EXPERT.gram for each expert that has seen a token: the lower triangle of X^T X,
// row by row. Metadata, all strings: README.md has the list.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

struct stat;

namespace plugin::collect {

// What a file holds. path: as an absolute name, through symbolic links.
struct gram_file {
    struct range {
        uint64_t begin, bytes; // in the file
    };

    std::map<std::string, std::string> metadata;
    std::map<std::string, range>       tensors; // by key

    bool     exists = false;
    uint64_t version[4] = {}; // changes when anybody writes the file

    // Empty, or what is wrong with the file. One that is not there is empty.
    std::string read(const std::string & path);

    // Somebody has written the file since.
    bool is_stale(const std::string & path) const;

    // The descriptor is of the file that was read, as it was then.
    bool is_version_of(int descriptor) const;

  private:
    bool is_same(const struct stat & status) const;
};

// Takes a piece of a tensor. False: go no further, it cannot be written.
using sink = std::function<bool(const void * data, size_t bytes)>;

struct new_tensor {
    std::string                              key;
    uint64_t                                 bytes;
    std::function<bool(const sink & accept)> give; // false if what it has is lost
};

// A file's absolute name, through symbolic links, so that it can be replaced. Empty, or why not.
std::string resolve(const std::string & path, std::string & absolute);

// Empty if a file can be made in the place of this one.
std::string check_writable(const std::string & path);

// Writes the file anew; until all of it is on the disk the old one stays, and nothing else is left behind. Empty, or
// why not: among other reasons, that it is not as it was when `old` was read.
std::string write(const std::string & path, const std::map<std::string, std::string> & metadata,
                  const std::vector<new_tensor> & tensors, const gram_file & old);

// Gives a tensor of a file as it was when `old` was read; that it has changed since is an error. `old` has to stay.
std::function<bool(const sink &)> copied(const std::string & path, const gram_file & old, gram_file::range from);

} // namespace plugin::collect
