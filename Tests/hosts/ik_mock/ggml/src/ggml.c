#include "ggml-moe-prefetch.h"
#include "ggml-backend-impl.h"

#include <pthread.h>
#include <stdlib.h>

#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define GGML_ASSERT(x) do { if (!(x)) abort(); } while (0)

int mock_own_kernel_calls = 0;

struct ggml_compute_state_shared { int n_threads; pthread_barrier_t barrier; };
struct ggml_compute_params { int ith, nth; size_t wsize; void * wdata; struct ggml_compute_state_shared * shared; };
static struct { enum ggml_type vec_dot_type; } type_traits[GGML_TYPE_COUNT];

static void ggml_barrier_impl(struct ggml_compute_state_shared * shared) { pthread_barrier_wait(&shared->barrier); }

#ifdef GGML_USE_OPENMP
static void ggml_barrier(struct ggml_compute_state_shared * shared) {
    #pragma omp barrier
}
#else
static void ggml_barrier(struct ggml_compute_state_shared * shared) {
    ggml_barrier_impl(shared);
}
#endif

static bool ggml_is_empty(const struct ggml_tensor * t) {
    return t->ne[0] == 0 || t->ne[1] == 0 || t->ne[2] == 0 || t->ne[3] == 0;
}

// The host's kernel, which reads F32 weights only, and takes the next product along if it has the same activations.
static void mock_kernel(const struct ggml_compute_params * params, struct ggml_tensor * dst) {
    const struct ggml_tensor * w = dst->src[0], * x = dst->src[1];
    if (params->ith != 0) return;
    ++mock_own_kernel_calls;
    for (int64_t m = 0; m < x->ne[1]; ++m) {
        for (int64_t n = 0; n < w->ne[1]; ++n) {
            float sum = 0;
            for (int64_t k = 0; k < w->ne[0]; ++k) {
                sum += ((float *) w->data)[n*w->ne[0] + k] * ((float *) x->data)[m*x->ne[0] + k];
            }
            ((float *) dst->data)[m*dst->ne[0] + n] = sum;
        }
    }
}

static int ggml_compute_forward_mul_mat(const struct ggml_compute_params * params, struct ggml_tensor * dst,
        const struct ggml_cgraph * cgraph, int node_n) {
    const struct ggml_tensor * src1 = dst->src[1];
    const enum ggml_type vec_dot_type = type_traits[dst->src[0]->type].vec_dot_type;
    mock_kernel(params, dst);
            while (node_n < cgraph->n_nodes - 1 &&
                   cgraph->nodes[node_n+1]->op == GGML_OP_MUL_MAT &&
                   cgraph->nodes[node_n+1]->src[1] == src1 &&
                   type_traits[cgraph->nodes[node_n+1]->src[0]->type].vec_dot_type == vec_dot_type) {
                mock_kernel(params, cgraph->nodes[node_n+1]);
                ++node_n;
            }
    return node_n;
}

static int ggml_compute_forward(struct ggml_compute_params * params, struct ggml_tensor * tensor,
        const struct ggml_cgraph * cgraph, int i) {

    GGML_ASSERT(params);

    if (tensor->op == GGML_OP_NONE || ggml_is_empty(tensor)) {
        return i;
    }

    return tensor->op == GGML_OP_MUL_MAT ? ggml_compute_forward_mul_mat(params, tensor, cgraph, i) : i;
}

const char * ggml_op_name(enum ggml_op op) { return op == GGML_OP_GET_ROWS ? "GET_ROWS" : "another"; }

struct ggml_cplan ggml_graph_plan(const struct ggml_cgraph * cgraph, int n_threads) {
    size_t work_size = 0;
    for (int i = 0; i < cgraph->n_nodes; i++) {
        struct ggml_tensor * node = cgraph->nodes[i];
        size_t cur = node->op == GGML_OP_MUL_MAT ? 64 : 0;

        work_size = MAX(work_size, cur);
    }
    struct ggml_cplan plan = { work_size, n_threads };
    return plan;
}

struct job { struct ggml_compute_params params; const struct ggml_cgraph * graph; };

static void * run(void * data) {
    struct job * job = data;
    for (int i = 0; i < job->graph->n_nodes; i++) {
        i = ggml_compute_forward(&job->params, job->graph->nodes[i], job->graph, i);
        ggml_barrier(job->params.shared);
    }
    return NULL;
}

void ggml_graph_compute(const struct ggml_cgraph * cgraph, struct ggml_cplan plan) {
    struct ggml_compute_state_shared shared = { .n_threads = plan.n_threads };
    pthread_barrier_init(&shared.barrier, NULL, (unsigned) plan.n_threads);
    void * work = malloc(plan.work_size + 1);
    pthread_t threads[8];
    struct job jobs[8];
    for (int i = 0; i < plan.n_threads; i++) {
        jobs[i] = (struct job) { { i, plan.n_threads, plan.work_size, work, &shared }, cgraph };
        pthread_create(&threads[i], NULL, run, &jobs[i]);
    }
    for (int i = 0; i < plan.n_threads; i++) pthread_join(threads[i], NULL);
    free(work);
    pthread_barrier_destroy(&shared.barrier);
}
