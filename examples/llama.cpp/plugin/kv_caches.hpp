// The packed copies of a host's key-value caches: which of its tensors have one, what has been written to them, and the
// attention that is asked for.
#pragma once

#include "ggml-backend-impl.h"
#include "ggml.h"
#include "sparamx.h"

#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

namespace plugin {

class kv_caches {
  public:
    // One attention, as all threads of the host see it.
    struct job {
        sparamx_attention               ask = {};
        sparamx_tensor                  q = {}, dst = {}, mask = {}, sinks = {};
        std::vector<sparamx_kv *>       caches;
        std::vector<const sparamx_kv *> pointers;
        std::vector<int64_t>            newest;
        std::vector<uint8_t>            work;
        bool                            ready = false;
    };

    static kv_caches & get(); // never destroyed: hosts free buffers after static destructors

    void start(float k_zeros, float v_zeros, bool kept);

    // Attention of few tokens over rows of a cache that can be packed; a node that writes to a cache.
    static bool is_attention(const ggml_tensor * node);
    static bool is_write(const ggml_tensor * node);

    void  written(const ggml_tensor * node);
    void  prepare(const ggml_tensor * node, int threads);
    job * prepared(const ggml_tensor * node); // nullptr: the host computes it
    void  refuse(const char * why);           // one line, the first time

  private:
    // The keys or values of one layer, as the host has them: [heads * dim, cells, streams].
    struct root {
        std::vector<bool> there; // [stream][cell]
        std::vector<int64_t> newest;
    };
    struct layer {
        const ggml_tensor *       k = nullptr, * v = nullptr;
        std::vector<sparamx_kv *> caches; // of each stream
        job                       work;
        uint64_t                  served = 0;
    };

    std::mutex mutex;
    float      k_zeros = 0, v_zeros = 0;
    bool       as_they_are = false; // no codes: F16 and BF16
    bool       refused = false; // a line has said why
    bool       lost = false;    // a write went unseen
    std::unordered_map<const ggml_tensor *, root>                    roots;
    std::unordered_map<const ggml_tensor *, std::shared_ptr<layer>>  layers; // by keys, and by values
    std::unordered_map<ggml_backend_buffer_t, ggml_backend_buffer_i> hooks;  // what the host's buffers did before

    root & root_of(const ggml_tensor * tensor);
    layer * make(const ggml_tensor * node);
    bool   ask(const ggml_tensor * node, layer & l, int threads);
    void   mark(const ggml_tensor * tensor, int64_t first, int64_t n);
    void   mark_bytes(const ggml_tensor * tensor, size_t offset, size_t size);
    void   hook(ggml_backend_buffer_t buffer);
    void   written_bytes(const ggml_tensor * tensor, size_t offset, size_t size);
    void   refuse_locked(const char * why);
    void   give_up();
    void   forget(ggml_backend_buffer_t buffer);

    template <class Interface>
    static auto hook_2d(Interface & i, int) -> decltype(i.set_tensor_2d, void());
    template <class Interface>
    static void hook_2d(Interface &, long) {}
    ggml_backend_buffer_i before(ggml_backend_buffer_t buffer);
};

} // namespace plugin
