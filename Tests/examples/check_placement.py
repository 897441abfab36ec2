#!/usr/bin/env python3
"""check_placement.py OUTDIR - include/sparamx-ggml-placement.h against the pinned llama.cpp: for every tensor that
any of its architectures has, the op that the host asks for is the one that the header expects, and the models that
load their token embedding a second time, for the output, are those that it says. Needs the source that
Tests/hosts/build_host.py fetches.
"""
import ctypes
import os
import pathlib
import re
import subprocess
import sys

from checks import check, end

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "hosts"))
MUL_MAT, MUL_MAT_ID, GET_ROWS, OTHER = range(4)
OPS = {"GGML_OP_MUL_MAT": MUL_MAT, "GGML_OP_MUL_MAT_ID": MUL_MAT_ID, "GGML_OP_GET_ROWS": GET_ROWS}
# Two entries of llama.cpp with one name, of which a file can have either.
EITHER = {"blk.%d.indexer_compressor_ape"}
# Products that the host keeps nevertheless: read by other ops too, routers, and what is small and stays exact.
LEFT = {"blk.%d.attn_kv_b", "blk.%d.attn_k_b", "blk.%d.attn_v_b", "blk.%d.ffn_gate_inp", "blk.%d.ffn_gate_inp_shexp",
        "altup_proj",
        "altup_unembd_proj", "blk.%d.altup_correct_coef", "blk.%d.altup_predict_coef", "blk.%d.altup_router"}
WRAPPER = """#include "sparamx-ggml-placement.h"
int asked(const char *name) { return placement_asked(name); }
int left(const char *name, int op) { return placement_left(name, (enum placement_op)op) != NULL; }
int tied(const char *architecture, int has_output) { return placement_is_tied(architecture, has_output != 0); }
"""


def compile_rule(folder, language, standard):
    source, library = folder / f"placement.{language}", folder / f"placement-{language}.so"
    source.write_text(WRAPPER if language == "c" else 'extern "C" {\n' + WRAPPER + "}\n")
    compiler = os.environ.get("CC", "cc") if language == "c" else os.environ.get("CXX", "c++")
    subprocess.run([compiler, f"-std={standard}", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC",
                    f"-I{HERE.parents[1] / 'include'}", source, "-o", library], check=True)
    return ctypes.CDLL(str(library))


def check_names(rule, source):
    text = (source / "src/llama-arch.cpp").read_text()
    names = dict(re.findall(r'\{\s*(LLM_TENSOR_\w+)\s*,\s*"([^"]+)"\s*\}', text))
    ops = dict(re.findall(r"\{(LLM_TENSOR_\w+),\s*\{LLM_TENSOR_LAYER_\w+,\s*(GGML_OP_\w+)\}\}", text))
    check(len(ops) > 200, f"only {len(ops)} tensors are known")
    for tensor, op in ops.items():
        if tensor not in names:
            continue
        pattern = names[tensor]
        for suffix in (".weight", ""):
            name = (pattern.replace("%d", "7") + suffix).encode()
            wanted = OPS.get(op, OTHER)
            got = rule.asked(name)
            check(got == wanted or pattern in EITHER,
                  f"{name.decode()}: the rule expects {got}, llama.cpp asks for {op}")
            check(rule.left(name, got) == (got in (GET_ROWS, OTHER) or pattern in LEFT),
                  f"{name.decode()}: left or taken")
        check(rule.asked((pattern.replace("%d", "7") + ".bias").encode()) == OTHER or OPS.get(op) == GET_ROWS,
              f"{pattern}.bias")
    check(not rule.left(b"token_embd.weight", MUL_MAT), "the second copy of token_embd is left")
    check(rule.left(b"per_layer_token_embd.weight", MUL_MAT), "per_layer_token_embd is taken")


def check_tied(rule, source):
    """The models whose code loads token_embd again, by the names of the files that define them."""
    seen = 0
    text = (source / "src/llama-arch.cpp").read_text()
    architectures = set(re.findall(r'\{\s*LLM_ARCH_\w+\s*,\s*"([^"]+)"\s*\}', text))
    for path in sorted((source / "src/models").glob("*.cpp")):
        code = path.read_text()
        if path.stem not in architectures or "LLM_TENSOR_TOKEN_EMBD" not in code:
            continue
        again = re.search(r"LLM_TENSOR_TOKEN_EMBD[^;]*TENSOR_DUPLICATED", code)
        if not again and "LLM_TENSOR_OUTPUT," in code:
            continue  # it must have an output matrix
        seen += 1
        check(bool(rule.tied(path.stem.encode(), 0)) == bool(again), f"{path.stem}: tied or not")
        check(not rule.tied(path.stem.encode(), 1), f"{path.stem}: tied in spite of an output matrix")
    check(seen > 50, f"only {seen} architectures were compared")


def main(arguments):
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    import build_host
    folder, source = pathlib.Path(arguments[0]), build_host.source_folder()
    rules = [compile_rule(folder, "c", "c11"), compile_rule(folder, "cpp", "c++17")]
    if not (source / "src/llama-arch.cpp").is_file():
        print("SKIPPED 1: the rule against llama.cpp: Tests/hosts/build_host.py has not fetched its source")
        return end(1)
    for rule in rules:
        check_names(rule, source)
        check_tied(rule, source)
    return end()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
