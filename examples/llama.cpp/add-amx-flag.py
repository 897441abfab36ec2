#!/usr/bin/env python3
"""Adds --amx to a checkout of llama.cpp that one builds oneself.

    add-amx-flag.py LLAMA_CPP            edits the checkout; a second time brings the edits up to date
    add-amx-flag.py --undo LLAMA_CPP     takes the edits out again

With --amx, llama-cli, llama-server, llama-perplexity and all other tools with common arguments, and llama-bench, keep
the weights of a model packed by libsparamx. Without it nothing is different, and the library is not looked for. The
flag also lets the CPU's weights reach the library when a GPU is present (as --no-host does).

Edited are three files, each addition between two marked lines; the headers of the library are copied to
ggml/src/ggml-cpu/sparamx. If a place for an addition is not found in exactly one spot, nothing at all is changed.
"""

import checkout

HELP = "keep weights packed by libsparamx (SPARAMX_LIB names its file) and multiply them with AMX or AVX-512"

# file: (regular expression for whole lines, "after" or "before" them, what is added)
EDITS = {
    "ggml/src/ggml-cpu/ggml-cpu.cpp": [
        (r'#include "traits\.h"\n', "after", '#include "sparamx/sparamx-ggml-cpu.hpp"\n'),
        (r" +static std::vector<ggml_backend_buffer_type_t> bufts = \[\]\(\) \{\n"
         r" +std::vector<ggml_backend_buffer_type_t> bufts;\n", "after",
         '        if (getenv("SPARAMX_ENABLE")) { // set by --amx\n'
         "            if (ggml_backend_buffer_type_t type = sparamx_ggml::buffer_type()) {\n"
         "                bufts.push_back(type);\n"
         "            }\n"
         "        }\n"),
    ],
    "common/arg.cpp": [
        (r' +add_opt\(common_arg\(\n +\{"--no-host"\},\n', "before",
         "    add_opt(common_arg(\n"
         '        {"--amx"},\n'
         f'        "{HELP}",\n'
         "        [](common_params & params) {\n"
         "            params.no_host = true; // a GPU's host memory would come before extra buffer types\n"
         '            setenv("SPARAMX_ENABLE", "1", 1);\n'
         "        }\n"
         '    ).set_env("LLAMA_ARG_AMX"));\n'),
    ],
    "tools/llama-bench/llama-bench.cpp": [
        (r' +printf\("  --no-host <0\|1> .*\n', "before", f'    printf("  --amx  {HELP}\\n");\n'),
        (r' +\} else if \(arg == "--no-host"\) \{\n', "before",
         '            } else if (arg == "--amx") {\n'
         "                params.no_host = { true };\n"
         '                setenv("SPARAMX_ENABLE", "1", 1);\n'),
    ],
}

FILES = {f"ggml/src/ggml-cpu/sparamx/{path.name}": path for path in checkout.HEADERS}

if __name__ == "__main__":
    checkout.main(__doc__, "llama.cpp", EDITS, FILES)
