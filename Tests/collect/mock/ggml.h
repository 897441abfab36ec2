/* Of ggml what the collecting part and the adapter's headers need to compile: no code, and layouts of its own. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ggml_status { GGML_STATUS_ALLOC_FAILED = -2, GGML_STATUS_FAILED = -1, GGML_STATUS_SUCCESS = 0 };
enum ggml_type { GGML_TYPE_F32 = 0, GGML_TYPE_F16 = 1, GGML_TYPE_I32 = 26, GGML_TYPE_BF16 = 30 };
enum ggml_op { GGML_OP_NONE, GGML_OP_ADD, GGML_OP_MUL_MAT, GGML_OP_MUL_MAT_ID, GGML_OP_RESHAPE };

struct ggml_tensor {
    enum ggml_type type;
    struct ggml_backend_buffer * buffer;
    int64_t ne[4];
    size_t nb[4];
    enum ggml_op op;
    struct ggml_tensor * src[10];
    struct ggml_tensor * view_src;
    void * data;
    char name[64];
};

struct ggml_cgraph;
struct ggml_threadpool;

#ifdef __cplusplus
extern "C" {
#endif
int ggml_graph_n_nodes(struct ggml_cgraph *);
struct ggml_tensor * ggml_graph_node(struct ggml_cgraph *, int);
const char * ggml_op_name(enum ggml_op);
#ifdef __cplusplus
}
#endif
