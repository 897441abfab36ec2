#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GGML_API extern
#define GGML_CALL

#ifdef __cplusplus
extern "C" {
#endif

enum ggml_status { GGML_STATUS_ALLOC_FAILED = -2, GGML_STATUS_FAILED = -1, GGML_STATUS_SUCCESS = 0 };
enum ggml_type { GGML_TYPE_F32 = 0, GGML_TYPE_F16 = 1, GGML_TYPE_Q8_0 = 8, GGML_TYPE_I32 = 26, GGML_TYPE_BF16 = 30,
                 GGML_TYPE_COUNT = 31 };
enum ggml_op { GGML_OP_NONE, GGML_OP_MUL_MAT, GGML_OP_RESHAPE, GGML_OP_VIEW, GGML_OP_PERMUTE, GGML_OP_TRANSPOSE,
               GGML_OP_GET_ROWS, GGML_OP_MUL_MAT_ID, GGML_OP_MOE_FUSED_UP_GATE, GGML_OP_FUSED_UP_GATE };
enum ggml_unary_op { GGML_UNARY_OP_RELU = 6, GGML_UNARY_OP_SILU = 10, GGML_UNARY_OP_GELU = 15 };

struct ggml_tensor {
    enum ggml_type type;
    struct ggml_backend_buffer * buffer;
    int64_t ne[4];
    size_t nb[4];
    enum ggml_op op;
    int32_t op_params[16];
    struct ggml_tensor * src[16];
    struct ggml_tensor * view_src;
    void * data;
    char name[64];
};

struct ggml_cgraph { int n_nodes; struct ggml_tensor ** nodes; };
struct ggml_cplan { size_t work_size; int n_threads; };

struct ggml_cplan ggml_graph_plan(const struct ggml_cgraph * cgraph, int n_threads);
void ggml_graph_compute(const struct ggml_cgraph * cgraph, struct ggml_cplan plan);
const char * ggml_op_name(enum ggml_op op);
extern int mock_own_kernel_calls;

#ifdef __cplusplus
}
#endif
