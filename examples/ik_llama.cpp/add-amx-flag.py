#!/usr/bin/env python3
"""Adds --amx to a checkout of ik_llama.cpp that one builds oneself.

    add-amx-flag.py IK_LLAMA_CPP            edits the checkout; a second time brings the edits up to date
    add-amx-flag.py --undo IK_LLAMA_CPP     takes the edits out again

With --amx, the tools with common arguments and llama-bench keep the weight matrices of CPU layers packed by libsparamx.
Without it nothing is different, and the library is not looked for. While it is in use, Q, K and V and the experts' up
and gate are not merged (-mqkv, -muge: these would read packed weights), up and gate are fused with SiLU and GELU alone,
and every token uses all its experts (-ser has no effect).

Edited are nine files, each addition between two marked lines; two files and the library's headers are added. If a place
for an addition is not found in exactly one spot, nothing at all is changed. The places are those of August 2026
(8337e4cd3).
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "llama.cpp"))
import checkout  # noqa: E402

HELP = "keep weights packed by libsparamx (SPARAMX_LIB names its file)"
ENABLE = 'setenv("SPARAMX_ENABLE", "1", 1);'

# {file: [(regular expression for whole lines, "after" or "before" them, what is added)]}
EDITS = {
    "ggml/src/CMakeLists.txt": [
        (r" +ggml-moe-prefetch\.cpp\n", "before", "            ggml-sparamx.cpp\n"),
    ],
    "ggml/src/ggml.c": [
        (r'#include "ggml-moe-prefetch\.h"\n', "after", '#include "ggml-sparamx.h"\n'),
        (r"static void ggml_barrier\(struct ggml_compute_state_shared \* shared\) \{\n"
         r" +ggml_barrier_impl\(shared\);\n\}\n#endif\n", "after",
         "static void ggml_sparamx_barrier(void * shared) {\n"
         "    ggml_barrier((struct ggml_compute_state_shared *) shared);\n"
         "}\n"),
        # Products that share their activations are computed together, past the dispatch.
        (r" +type_traits\[cgraph->nodes\[node_n\+1\]->src\[0\]->type\]\.vec_dot_type == vec_dot_type\) \{\n", "after",
         "                if (ggml_sparamx_owns(cgraph->nodes[node_n+1])) break;\n"),
        (r"static int ggml_compute_forward\(struct ggml_compute_params \* params, struct ggml_tensor \* tensor,\n"
         r" +const struct ggml_cgraph \* cgraph, int i\) \{\n\n +GGML_ASSERT\(params\);\n\n"
         r" +if \(tensor->op == GGML_OP_NONE \|\| ggml_is_empty\(tensor\)\) \{\n +return i;\n +\}\n", "after",
         "    if (ggml_sparamx_owns(tensor)) {\n"
         "        ggml_sparamx_compute(tensor, params->ith, params->nth, params->wsize, params->wdata,\n"
         "                             ggml_sparamx_barrier, params->shared);\n"
         "        return i;\n"
         "    }\n"),
        (r" +work_size = MAX\(work_size, cur\);\n", "before",
         "        cur = ggml_sparamx_work_size(node, n_threads, cur);\n"),
    ],
    "ggml/src/ggml-backend.cpp": [
        (r'#include "ggml-moe-prefetch\.h"\n', "after", '#include "ggml-sparamx.h"\n'),
        (r"GGML_CALL static bool ggml_backend_cpu_supports_op\(ggml_backend_t backend, "
         r"const struct ggml_tensor \* op\) \{\n", "after",
         "    const int sparamx = ggml_sparamx_supports_op(op);\n"
         "    if (sparamx >= 0) return sparamx != 0;\n"),
        (r"GGML_CALL static bool ggml_backend_cpu_supports_buft\(ggml_backend_t backend, "
         r"ggml_backend_buffer_type_t buft\) \{\n", "after",
         "    if (ggml_sparamx_is_buffer_type(buft)) return true;\n"),
        # A GPU would get the whole weight, unpacked, for every batch.
        (r" +int src_backend_id = ggml_backend_sched_backend_from_buffer\(sched, src, tensor\);\n", "after",
         "            if (ggml_sparamx_is_buffer_type(src->buffer->buft)) return src_backend_id;\n"),
    ],
    "src/llama-load-tensors.cpp": [
        (r'#include "ggml\.h"\n', "after", '#include "ggml-sparamx.h"\n'),
        (r"create_tensors_helper::create_tensors_helper\(llama_model_loader & _ml, llama_model & _model\) : "
         r"ml\(_ml\), model\(_model\) \{\n", "after",
         "    if (ggml_sparamx_enabled()) {\n"
         "        ml.merge_qkv = false;\n"
         "        ml.merge_up_gate_exps = false;\n"
         "    }\n"),
        # Weights that would be in the CPU's memory; the first of the two types is that of mapped files.
        (r"    return ctx;\n\}\n\nggml_tensor \* create_tensors_helper::create_tensor\(ggml_context \* ctx, "
         r"const std::string & name, const std::vector<int64_t> & ne,\n", "before",
         "    if (const ggml_tensor * weight = ggml_sparamx_enabled() ? ml.get_tensor_meta(name.c_str()) : nullptr) {\n"
         "        for (ggml_backend_buffer_type_t cpu : { default_cpu_buft, ggml_backend_cpu_buffer_type() }) {\n"
         "            const auto it = ctx_map.find(cpu);\n"
         "            if (it == ctx_map.end() || it->second != ctx) continue;\n"
         "            ggml_backend_buffer_type_t type = ggml_sparamx_buffer_type_for(weight, name.c_str());\n"
         "            if (type) return ctx_for_buft(type);\n"
         "        }\n"
         "    }\n"),
    ],
    # The file's pages are not needed any more.
    "src/llama-model-loader.cpp": [
        (r'#include "llama-model-loader\.h"\n', "after", '#include "ggml-sparamx.h"\n'),
        (r" +\} else \{\n +ggml_backend_tensor_set\(cur, data, 0, n_size\);\n", "after",
         "                if (!lmlocks && ggml_sparamx_is_buffer_type(ggml_backend_buffer_get_type(cur->buffer))) {\n"
         "                    mapping->dontneed_fragment(weight->offs, weight->offs + n_size);\n"
         "                }\n"),
    ],
    "src/llama.cpp": [
        (r'#include "llama-impl\.h"\n', "after", '#include "ggml-sparamx.h"\n'),
        # Experts that a token skips have the number -1.
        (r" +cparams\.min_experts +?= params\.min_experts;\n", "after",
         "    if (ggml_sparamx_enabled()) cparams.min_experts = -1;\n"),
        # The host would put a second form of the output matrix into the buffer type of the first.
        (r" +if \(new_type == GGML_TYPE_COUNT \|\| !model\.output\) return;\n", "after",
         "    if (ggml_sparamx_is_buffer_type(ggml_backend_buffer_get_type(model.output->buffer))) {\n"
         '        LLAMA_LOG_WARN("%s: the output matrix is packed by libsparamx => not requantizing\\n", __func__);\n'
         "        return;\n"
         "    }\n"),
        # And a LoRA adapter's matrices, which are no weights of ours, into that of the weights they belong to.
        (r" +auto get_ctx_for_buft = \[&\]\(ggml_backend_buffer_type_t buft\) -> ggml_context \* \{\n", "after",
         "        if (ggml_sparamx_is_buffer_type(buft)) buft = ggml_backend_cpu_buffer_type();\n"),
    ],
    # The library fuses SiLU and GELU, without biases.
    "src/llama-build-context.cpp": [
        (r'#include "llama-build-context\.h"\n', "after", '#include "ggml-sparamx.h"\n'),
        (r" +if \(lctx\.cparams\.fused_up_gate &&\n", "after",
         "        (!ggml_sparamx_enabled() || type_op == LLM_FFN_SILU || type_op == LLM_FFN_GELU) &&\n"),
        (r" +if \(can_use_fmoe && lctx\.cparams\.fused_moe_up_gate && up_exps->type == gate_exps->type\) \{\n",
         "before",
         "    if (ggml_sparamx_enabled() && (type_op == LLM_FFN_SWIGLU_OAI || up_exps_b || gate_exps_b)) {\n"
         "        can_use_fmoe = false;\n"
         "    }\n"),
    ],
    "common/common.cpp": [
        (r' +if \(arg == "-rtr" \|\| arg == "--run-time-repack"\) \{\n', "before",
         '    if (arg == "--amx") {\n'
         f"        {ENABLE}\n"
         "        return true;\n"
         "    }\n"),
        (r' +options\.push_back\(\{ "\*", +"-rtr, +--run-time-repack".*\n', "before",
         f'    options.push_back({{ "*",           "       --amx",                  "{HELP}" }});\n'),
    ],
    "examples/llama-bench/llama-bench.cpp": [
        (r' +printf\("  -rtr, --run-time-repack .*\n', "before",
         f'    printf("  --amx                               {HELP}\\n");\n'),
        (r' +\} else if \(arg == "-no-fug" \|\| arg == "--no-fused-up-gate"\) \{\n', "before",
         '        } else if (arg == "--amx") {\n'
         f"            {ENABLE}\n"),
    ],
}

FILES = {
    "ggml/include/ggml-sparamx.h": HERE / "ggml-sparamx.h",
    "ggml/src/ggml-sparamx.cpp": HERE / "ggml-sparamx.cpp",
    **{f"ggml/src/sparamx/{path.name}": path for path in checkout.HEADERS},
}

if __name__ == "__main__":
    checkout.main(__doc__, "ik_llama.cpp", EDITS, FILES)
