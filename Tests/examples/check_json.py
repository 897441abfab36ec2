#!/usr/bin/env python3
"""check_json.py run|bench|sizes|errors|explain FILE [KEY=VALUE...] - checks the JSON that sparamx-run, sparamx-bench
(--sizes and --errors have their own) or sparamx-explain wrote: every field a program relies on, of the right type and
in its range. KEY=VALUE: what machine.KEY must be. Prints the count of checks.
"""
import json
import math
import sys

from checks import check, end

NUMBER, OPTIONAL, TEXT, COUNT, FLAG = "number", "number or null", "text", "count", "flag"

BENCH_MACHINE = {"cpu": TEXT, "isa": TEXT, "threads": COUNT, "read_gbps": NUMBER, "amx_bf16_tflops": OPTIONAL,
                 "amx_int8_tops": OPTIONAL}
BENCH_ROW = {"kernel": TEXT, "type": TEXT, "form": TEXT, "sparsity": NUMBER, "M": COUNT, "N": COUNT, "K": COUNT,
             "threads": COUNT, "ms": NUMBER, "gbps": NUMBER, "read_fraction": NUMBER, "tflops": NUMBER,
             "amx_fraction": OPTIONAL}
BENCH_EXPERTS = {"experts": COUNT, "top_k": COUNT, "experts_read": COUNT}
RUN_MACHINE = {"threads": COUNT}
RUN_MACHINE_AMX = {"cpu": TEXT, "isa": TEXT, "avx512": TEXT, "amx": TEXT, "library_version": TEXT}
RUN_ROW = {"tensor": TEXT, "type": TEXT, "N": COUNT, "K": COUNT, "experts": COUNT, "experts_used": COUNT,
           "zeros": NUMBER, "negative_zeros": NUMBER, "bits_per_weight": NUMBER,
           "file_bytes": COUNT}
RUN_ROW_AMX = {"dense_bytes": COUNT, "packed_bytes": COUNT, "form": TEXT, "reason": TEXT, "readback_ok": FLAG,
               "ok": FLAG}
PRODUCT = {"M": COUNT, "plain_ms": NUMBER}
PRODUCT_AMX = {"M": COUNT, "kernel": TEXT, "dense_ms": NUMBER, "packed_ms": NUMBER, "error": NUMBER, "wrong": NUMBER}

EXPLAIN_TENSOR = {"tensor": TEXT, "type": TEXT, "taken": FLAG, "form": TEXT, "reason": TEXT, "sparsity": OPTIONAL,
                  "file_bytes": COUNT, "bytes": COUNT, "bits_per_weight": NUMBER, "read_share": NUMBER}
EXPLAIN_TOTALS = {"tensors": COUNT, "taken": NUMBER, "sparse": NUMBER, "weights_taken": NUMBER,
                  "weights_sparse": NUMBER,
                  "file_bytes": COUNT, "bytes": COUNT, "read_per_token_file": NUMBER, "read_per_token": NUMBER,
                  "tokens_per_s_ratio": NUMBER}
SIZES_ROW = {"type": TEXT, "sparsity": NUMBER, "background": NUMBER, "file_bits": NUMBER, "dense_bits": NUMBER,
             "sparse_bits": OPTIONAL, "floor_bits": OPTIONAL, "design_bits": OPTIONAL, "auto": TEXT}
ERRORS_ROW = {"type": TEXT, "form": TEXT, "M": COUNT, "N": COUNT, "K": COUNT, "sparsity": NUMBER, "kernel": TEXT,
              "nmse": NUMBER, "ggml_nmse": NUMBER, "worst": NUMBER}


def is_kind(value, kind):
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and value >= 0
    return {NUMBER: number, OPTIONAL: value is None or number, TEXT: isinstance(value, str) and value != "",
            COUNT: number and value == int(value) and value >= 1, FLAG: isinstance(value, bool)}[kind]


def check_fields(where, item, fields):
    for name, kind in fields.items():
        check(name in item and is_kind(item[name], kind), f"{where}.{name} is no {kind}: {item.get(name, 'missing')!r}")


def check_bench(data):
    check_fields("machine", data["machine"], BENCH_MACHINE)
    amx = data["machine"].get("isa") == "amx"
    check((data["machine"].get("amx_bf16_tflops") is not None) == amx, "an AMX ceiling exactly where AMX is used")
    check(len(data["rows"]) > 0, "there are no rows")
    for i, row in enumerate(data["rows"]):
        check_fields(f"rows[{i}]", row, BENCH_ROW)
        check(row.get("form") in ("dense", "sparse"), f"rows[{i}].form is {row.get('form')}")
        check(0 <= row.get("sparsity", -1) <= 1, f"rows[{i}].sparsity is no share")
        check((row.get("amx_fraction") is not None) == amx, f"rows[{i}].amx_fraction")
        check(row.get("problem") is None, f"rows[{i}] has the problem {row.get('problem')}")
        if "experts" in row:
            check_fields(f"rows[{i}]", row, BENCH_EXPERTS)
            check(row["top_k"] <= row["experts_read"] <= min(row["experts"], row["top_k"] * row["M"]),
                  f"rows[{i}].experts_read")


def check_run(data):
    amx = "isa" in data["machine"]
    check_fields("machine", data["machine"], RUN_MACHINE | (RUN_MACHINE_AMX if amx else {}))
    rows = data.get("rows") or data.get("tensors") or []
    check(len(rows) > 0, "there are no rows")
    for row in rows:
        name = row.get("tensor", "?")
        check_fields(name, row, RUN_ROW | (RUN_ROW_AMX if amx else {}))
        for product in row["products"]:
            check_fields(f"{name}.products", product, PRODUCT_AMX if amx else PRODUCT)
        if amx:
            check(row["ok"] and row["readback_ok"] and all(p["wrong"] == 0 for p in row["products"]),
                  f"{name} is wrong")
    check_fields("totals", data["totals"], {"matrices": COUNT, "weights": NUMBER, "file_bytes": COUNT})
    if amx:
        check(data["totals"].get("failures") == 0, "there are failures")


def check_explain(data):
    """Of a model of make_model.py or random_model.py: its embedding is looked up, and a token uses a quarter of
    experts."""
    check_fields("machine", data["machine"], RUN_MACHINE_AMX)
    check_fields("totals", data["totals"], EXPLAIN_TOTALS)
    check(isinstance(data["sentence"], str) and data["sentence"].endswith("."), "there is no sentence")
    tensors, totals = data["tensors"], data["totals"]
    taken = [t for t in tensors if t["taken"]]
    for t in tensors:
        check_fields(t["tensor"], t, EXPLAIN_TENSOR)
        check(t["form"] in (("sparse", "dense") if t["taken"] else ("host",)), f"{t['tensor']}: form {t['form']}")
        check(t["sparsity"] is None or 0 <= t["sparsity"] <= 1, f"{t['tensor']}: sparsity {t['sparsity']}")
        share = 0 if t["tensor"] == "token_embd.weight" else 0.25 if "_exps" in t["tensor"] else 1
        check(t["read_share"] == share, f"{t['tensor']}: read_share {t['read_share']}, not {share}")
        ends = [k["m_max"] for k in t["kernels"]]
        gapless = [k["m_min"] for k in t["kernels"]] == [1] + [end + 1 for end in ends[:-1]] and ends[-1] is None
        check(gapless if t["taken"] else not ends, f"{t['tensor']}: kernels {t['kernels']}")
    check(totals["tensors"] == len(tensors) and totals["taken"] == len(taken), "tensors are counted wrongly")
    check(totals["sparse"] == sum(t["form"] == "sparse" for t in tensors), "sparse tensors are counted wrongly")
    kept = sum(t["host_copy_bytes"] for t in tensors)
    check(totals["file_bytes"] == sum(t["file_bytes"] for t in tensors), "totals.file_bytes is not the sum")
    check(totals["bytes"] == sum(t["bytes"] for t in tensors) + kept, "totals.bytes is not the sum")
    for name, of in (("read_per_token_file", "file_bytes"), ("read_per_token", "bytes")):
        wanted = sum(t[of] * t["read_share"] for t in tensors)
        check(abs(totals[name] - wanted) <= 1e-6 * wanted, f"totals.{name} is not the sum")
    ratio = totals["read_per_token_file"] / totals["read_per_token"]
    check(abs(totals["tokens_per_s_ratio"] - ratio) < 1e-6 * ratio, "totals.tokens_per_s_ratio is not the quotient")


def check_sizes(data):
    check_fields("machine", data["machine"], {"version": TEXT})
    check(len(data["sizes"]) > 0, "there are no sizes")
    for row in data["sizes"]:
        where = f"sizes {row['type']} {row['sparsity']}"
        check_fields(where, row, SIZES_ROW)
        forms = {"dense": row["file_bits"], "sparse": row["floor_bits"]}
        if row["sparse_bits"] is None:  # a type without a sparse form leaves nothing out
            check(row["floor_bits"] is None and row["background"] == 0 and row["auto"] == "dense", f"{where}: {row}")
            del forms["sparse"]
        else:
            check(0 <= row["sparsity"] <= 1 and row["sparsity"] <= row["background"] + 1e-3,
                  f"{where}: {row['background']}")
        # Nothing but offsets, padding and rounding comes on top of bitmap, codes and scales.
        for form, least in forms.items():
            bits = row[f"{form}_bits"]
            check(least - 1e-6 <= bits <= 1.06 * least + 0.1,
                  f"{where}: {form} takes {bits} bits, the floor is {least}")
    kinds = [{row["type"] for row in data[part]} for part in ("sizes", "auto_sparse_from")]
    check(kinds[0] == kinds[1], "auto_sparse_from has other types")
    for row in data["auto_sparse_from"]:
        check(row["sparsity"] is None or 0 <= row["sparsity"] <= 1, f"auto_sparse_from: {row}")


def check_errors(data):
    check_fields("machine", data["machine"], {"cpu": TEXT, "isa": TEXT, "version": TEXT})
    check(len(data["errors"]) > 0, "there are no errors")
    for row in data["errors"]:
        where = f"errors {row['type']} {row['form']} M={row['M']}"
        check_fields(where, row, ERRORS_ROW)
        # No worse than ggml's own path; F16 in bf16 on AMX machines is the documented exception.
        bound = 1e-5 if row["type"] == "f16" else max(1.2 * row["ggml_nmse"], 1e-5)
        check(row["nmse"] <= bound, f"{where}: NMSE {row['nmse']}, ggml's rounding makes {row['ggml_nmse']}")


CHECKS = {"run": check_run, "bench": check_bench, "explain": check_explain, "sizes": check_sizes,
          "errors": check_errors}


def main(arguments):
    if len(arguments) < 2 or arguments[0] not in CHECKS:
        print(__doc__, file=sys.stderr)
        return 2
    with open(arguments[1]) as file:
        data = json.load(file)
    CHECKS[arguments[0]](data)
    for wanted in arguments[2:]:
        name, _, value = wanted.partition("=")
        check(str(data["machine"].get(name)) == value, f"machine.{name} is {data['machine'].get(name)!r}, not {value}")
    return end()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
