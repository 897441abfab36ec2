#include "llama-model-loader.h"

// Of a mapped file: stays where it is, or is copied to where it belongs. True if its pages were given back.
bool mock_load(ggml_tensor * cur, const char * data, bool stays, const void * lmlocks) {
    mock_weight at = { 4096 };
    mock_mapping file = {};
    const mock_weight * weight = &at;
    mock_mapping * mapping = &file;
    const size_t n_size = 8192;
            if (stays) {
                cur->data = const_cast<char *>(data);
            } else {
                ggml_backend_tensor_set(cur, data, 0, n_size);
            }
    (void) weight; (void) mapping; (void) lmlocks;
    return file.first == 4096 && file.last == 12288;
}
