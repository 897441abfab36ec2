#!/usr/bin/env python3
"""check_json.py run|bench FILE [KEY=VALUE...] - checks the JSON that sparamx-run or sparamx-bench wrote: every field a
program relies on, of the right type and in its range. KEY=VALUE: what machine.KEY must be. Prints the count of checks.
"""
import json
import math
import sys

NUMBER, OPTIONAL, TEXT, COUNT, FLAG = "number", "number or null", "text", "count", "flag"

BENCH_MACHINE = {"cpu": TEXT, "isa": TEXT, "threads": COUNT, "read_gbps": NUMBER, "amx_bf16_tflops": OPTIONAL,
                 "amx_int8_tops": OPTIONAL}
BENCH_ROW = {"kernel": TEXT, "type": TEXT, "form": TEXT, "sparsity": NUMBER, "M": COUNT, "N": COUNT, "K": COUNT,
             "threads": COUNT, "ms": NUMBER, "gbps": NUMBER, "read_fraction": NUMBER, "tflops": NUMBER,
             "amx_fraction": OPTIONAL}
RUN_MACHINE = {"threads": COUNT}
RUN_MACHINE_AMX = {"cpu": TEXT, "isa": TEXT, "avx512": TEXT, "amx": TEXT, "library_version": TEXT}
RUN_ROW = {"tensor": TEXT, "type": TEXT, "N": COUNT, "K": COUNT, "zeros": NUMBER, "bits_per_weight": NUMBER,
           "file_bytes": COUNT}
RUN_ROW_AMX = {"dense_bytes": COUNT, "packed_bytes": COUNT, "form": TEXT, "reason": TEXT, "readback_ok": FLAG, "ok": FLAG}
PRODUCT = {"M": COUNT, "plain_ms": NUMBER}
PRODUCT_AMX = {"M": COUNT, "kernel": TEXT, "dense_ms": NUMBER, "packed_ms": NUMBER, "error": NUMBER, "wrong": NUMBER}

passed = failed = 0


def check(good, message):
    global passed, failed
    if good:
        passed += 1
    else:
        failed += 1
        print(f"not ok: {message}")


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
            check(row["ok"] and row["readback_ok"] and all(p["wrong"] == 0 for p in row["products"]), f"{name} is wrong")
    check_fields("totals", data["totals"], {"matrices": COUNT, "weights": NUMBER, "file_bytes": COUNT})
    if amx:
        check(data["totals"].get("failures") == 0, "there are failures")


def main(arguments):
    if len(arguments) < 2 or arguments[0] not in ("run", "bench"):
        print(__doc__, file=sys.stderr)
        return 2
    with open(arguments[1]) as file:
        data = json.load(file)
    (check_run if arguments[0] == "run" else check_bench)(data)
    for wanted in arguments[2:]:
        name, _, value = wanted.partition("=")
        check(str(data["machine"].get(name)) == value, f"machine.{name} is {data['machine'].get(name)!r}, not {value}")
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
