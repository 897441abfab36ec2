#include "llama-build-context.h"

void llm_build_ffn() {
    if (lctx.cparams.fused_up_gate &&
        up && gate) {
    }
    if (can_use_fmoe && lctx.cparams.fused_moe_up_gate && up_exps->type == gate_exps->type) {
    }
}
