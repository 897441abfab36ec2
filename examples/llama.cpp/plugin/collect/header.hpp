// The header of a safetensors file: JSON that holds strings, and the type, shape and place of each tensor.
#pragma once

#include "gram_file.hpp"

namespace plugin::collect {

inline constexpr const char * format = "sparamx-gram-1"; // the metadata's entry "format"
inline constexpr uint64_t     largest_header = 100000000; // as safetensors has it

// False if the text is no such header, if a tensor is no vector of F32, or if tensors overlap or have gaps. Offsets
// count from the header's end.
bool parse_header(const std::string & text, std::map<std::string, std::string> & metadata,
                  std::map<std::string, gram_file::range> & tensors);

// tensors: (key, bytes) in the order of the file. Padded so that the data is aligned.
std::string make_header(const std::map<std::string, std::string> & metadata,
                        const std::vector<std::pair<std::string, uint64_t>> & tensors);

} // namespace plugin::collect
