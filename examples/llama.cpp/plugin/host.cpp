#include "host.hpp"

#include <dlfcn.h>
#include <link.h>

#include <cstring>

#include "traits.h"

namespace plugin {
namespace {

// A handle for the object that holds the address. Symbols are then looked up in it and in what it was linked to, so
// that the right ggml is found where a process holds two, and where it was loaded with RTLD_LOCAL.
void * handle_of(const void * address) {
    Dl_info info;
    if (!address || !dladdr(address, &info) || !info.dli_fname) return nullptr;
    void * handle = dlopen(info.dli_fname, RTLD_NOW | RTLD_NOLOAD);
    return handle ? handle : dlopen(nullptr, RTLD_NOW); // the program itself is not found under its name
}

template <class Function>
bool look_up(void * handle, const char * name, Function *& out) {
    out = reinterpret_cast<Function *>(dlsym(handle, name));
    return out != nullptr;
}

std::string missing(const char * name) {
    return std::string("the host does not export ") + name + " (linked statically?)";
}

// Bytes of a virtual table: another number of virtual functions than here, and every call would go astray.
size_t size_of_symbol(void * handle, const char * name) {
    void *             address = dlsym(handle, name);
    Dl_info            info;
    const ElfW(Sym) *  symbol = nullptr;
    if (!address || !dladdr1(address, &info, (void **) &symbol, RTLD_DL_SYMENT) || !symbol) return 0;
    return symbol->st_size;
}

} // namespace

// ggml moves its structs without raising GGML_BACKEND_API_VERSION, so each assumption is looked at.
std::string host::check_base(void * base) {
    decltype(&ggml_version)                   version;
    decltype(&ggml_tensor_overhead)           tensor_overhead;
    decltype(&ggml_type_name)                 type_name;
    decltype(&ggml_backend_cpu_buffer_type)   cpu_buffer_type;
    decltype(&ggml_backend_buft_alloc_buffer) alloc;
    decltype(&ggml_backend_buffer_free)       free;
    if (!look_up(base, "ggml_version", version)) return missing("ggml_version");
    if (std::strcmp(version(), SPARAMX_GGML_VERSION) != 0) {
        return std::string("the host has ggml ") + version() + ", this plugin was built for " SPARAMX_GGML_VERSION;
    }
    if (!look_up(base, "ggml_tensor_overhead", tensor_overhead)) return missing("ggml_tensor_overhead");
    if (!look_up(base, "ggml_op_name", op_name)) return missing("ggml_op_name");
    if (!look_up(base, "ggml_type_name", type_name)) return missing("ggml_type_name");
    if (!look_up(base, "ggml_backend_cpu_buffer_type", cpu_buffer_type)) return missing("ggml_backend_cpu_buffer_type");
    if (!look_up(base, "ggml_backend_buft_alloc_buffer", alloc)) return missing("ggml_backend_buft_alloc_buffer");
    if (!look_up(base, "ggml_backend_buffer_free", free)) return missing("ggml_backend_buffer_free");
    if (!look_up(base, "ggml_backend_buffer_init", buffer_init)) return missing("ggml_backend_buffer_init");
    if (!look_up(base, "ggml_graph_n_nodes", graph_n_nodes)) return missing("ggml_graph_n_nodes");
    if (!look_up(base, "ggml_graph_node", graph_node)) return missing("ggml_graph_node");

    const std::string other = "the host's ggml has another layout than this plugin was built for: ";
    constexpr size_t  object = 32; // of ggml_object, which ggml.h does not define
    if (tensor_overhead() != object + sizeof(ggml_tensor)) return other + "tensors";
    if (std::strcmp(op_name(GGML_OP_MUL_MAT), "MUL_MAT") != 0 ||
        std::strcmp(op_name(GGML_OP_MUL_MAT_ID), "MUL_MAT_ID") != 0 ||
        std::strcmp(op_name(GGML_OP_NONE), "NONE") != 0) {
        return other + "ops";
    }
    if (std::strcmp(type_name(GGML_TYPE_BF16), "bf16") != 0) return other + "types";

    ggml_backend_buffer_type_t type = cpu_buffer_type();
    constexpr size_t           size = 8192;
    ggml_backend_buffer_t      buffer = alloc(type, size);
    if (!buffer) return "the host has no memory";
    const bool same = buffer->buft == type && buffer->size == size && buffer->usage == GGML_BACKEND_BUFFER_USAGE_ANY;
    free(buffer);
    return same ? "" : other + "buffers";
}

std::string host::find_cpu(void * base) {
    ggml_backend_reg_t (*reg_by_name)(const char *);
    if (!look_up(base, "ggml_backend_reg_by_name", reg_by_name)) return missing("ggml_backend_reg_by_name");
    if (!look_up(base, "ggml_backend_reg_count", reg_count)) return missing("ggml_backend_reg_count");
    if (!look_up(base, "ggml_backend_reg_get", reg_get)) return missing("ggml_backend_reg_get");
    if (!look_up(base, "ggml_backend_dev_by_name", dev_by_name)) return missing("ggml_backend_dev_by_name");
    ggml_backend_reg_t reg = reg_by_name("CPU");
    if (!reg) return "the host has no CPU backend";
    if (reg->api_version != GGML_BACKEND_API_VERSION) return "the host's CPU backend has another interface number";
    cpu = reg->iface.get_device(reg, 0);
    if (!cpu || cpu->reg != reg) return "the host's ggml has another layout than this plugin was built for: devices";

    // Any function of the CPU backend tells which object it is; hosts with dynamic backends load it with RTLD_LOCAL.
    void * handle = handle_of(reinterpret_cast<void *>(reg->iface.get_name));
    if (!handle) return "the object of the host's CPU backend is not found";
    if (!look_up(handle, "ggml_barrier", barrier)) return missing("ggml_barrier");
    const char * list = "_Z39ggml_backend_cpu_get_extra_buffer_typesv";
    if (!look_up(handle, list, extra_buffer_types)) return missing("ggml_backend_cpu_get_extra_buffer_types");
    constexpr size_t table = 6 * sizeof(void *); // offset, type, two destructors, two functions
    if (size_of_symbol(handle, "_ZTVN4ggml3cpu13tensor_traitsE") != table ||
        size_of_symbol(handle, "_ZTVN4ggml3cpu17extra_buffer_typeE") != table) {
        return "the host's ggml has another layout than this plugin was built for: extra buffer types";
    }

    if (!look_up(handle, "GOMP_parallel", gomp_parallel) || !look_up(handle, "GOMP_barrier", gomp_barrier) ||
        !look_up(handle, "omp_get_thread_num", omp_get_thread_num) ||
        !look_up(handle, "omp_get_num_threads", omp_get_num_threads)) {
        gomp_parallel = nullptr;
    }
    return {};
}

std::string host::find(void * caller) {
    void * base = handle_of(caller);
    if (!base) return "the host is not found";
    std::string error = check_base(base);
    return error.empty() ? find_cpu(base) : error;
}

bool host::has_registry(ggml_backend_reg_t reg) const {
    for (size_t i = 0; reg_count && i < reg_count(); ++i) {
        if (reg_get(i) == reg) return true;
    }
    return false;
}

bool host::has_device(const char * name) const { return dev_by_name && dev_by_name(name); }

} // namespace plugin
