#!/usr/bin/env python3
"""collect.py DIR JSON [--table PAGE] - one file of all that the steps in DIR measured.

With --table it also writes into PAGE, between the marks "amx", what each kernel takes against the one that the library
chooses. A page that does not exist becomes one with these marks alone.
"""

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "cmake"))
import benchmarks  # noqa: E402  the kernel table, the plan and the marks

AMX = benchmarks.LEVELS.index("amx")
WORTH_A_WORD = 0.97  # of the chosen kernel's time: a faster one is named


def revision():
    """The commit, with a sign if the working tree differs from it."""
    result = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty", "--abbrev=12"], capture_output=True,
                            text=True)
    return result.stdout.strip() or None


def collect(folder):
    """The machine is that of the first measurement."""
    found = {"revision": revision(), "machine": None, "kernels": [], "figures": [], "break_even": [], "hosts": {},
             "programs": {}, "seconds": {}}
    for path in sorted(folder.glob("*.json")):
        if path.name == "amx.json":
            continue
        data = json.loads(path.read_text())
        if path.name.startswith("host-"):
            found["hosts"][path.stem.removeprefix("host-")] = data
        elif "machine" in data:
            found["machine"] = found["machine"] or data["machine"]
            if path.name.startswith("kernel-"):
                found["kernels"] += data["rows"]
            elif path.name == "figures.json":
                found["figures"] = data["rows"]
            elif path.name == "break-even.json":
                found["break_even"] = data["break_even"]
    for path in sorted(folder.glob("prototype-*.log")):
        found["programs"][path.stem.removeprefix("prototype-")] = path.read_text(errors="replace").splitlines()
    for path in sorted(folder.glob("*.done")):
        found["seconds"][path.stem] = json.loads(path.read_text())["seconds"]
    return found


def short_name(kernel):
    """amx-ring of amx-bf16-sparse-ring."""
    parts = kernel.split("-")
    return f"{parts[0]}-{parts[-1]}"


def table(found, kernels):
    """A line for each weight, a column for each number of tokens: the time of the chosen kernel, and the fastest one
    where that is another."""
    if not found["kernels"]:
        return ["No machine with AMX has measured this yet."]
    numbers = {name.lower(): number for number, name in benchmarks.TYPES.items()}
    forms = {name: number for number, name in benchmarks.FORMS.items()}
    forms |= {"coded": 4, "coded-sparse": 5}  # SPARAMX_FORM_CODED, _CODED_SPARSE
    cells, tokens = {}, sorted({r["M"] for r in found["kernels"]})
    for r in found["kernels"]:
        if r["problem"] is None:
            cells.setdefault((r["type"].lower(), r["form"]), {}).setdefault(r["M"], []).append((r["ms"], r["kernel"]))
    machine = found["machine"]
    lines = [f"{machine['cpu']}, threads: {machine['threads']}, commit {found['revision']}.", "",
             "| type | form |" + "".join(f" M={m} |" for m in tokens), "|---|---|" + "---|" * len(tokens)]
    for (kind, form), by_tokens in cells.items():
        row = [kind.upper(), form]
        for m in tokens:
            times = sorted(by_tokens.get(m, []))
            chosen = benchmarks.plan(kernels, numbers[kind], forms[form], AMX, m)
            of_chosen = [ms for ms, kernel in times if kernel == chosen]
            if not times:
                row.append("-")
            elif not of_chosen:
                row.append(f"? ({short_name(times[0][1])} {times[0][0]:.3f})")
            elif times[0][0] < WORTH_A_WORD * of_chosen[0]:
                row.append(f"{of_chosen[0]:.3f} ({short_name(times[0][1])} {times[0][0]:.3f})")
            else:
                row.append(f"{of_chosen[0]:.3f}")
        lines.append(f"| {' | '.join(row)} |")
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("json", type=Path, metavar="JSON")
    parser.add_argument("--table", type=Path, metavar="PAGE")
    parser.add_argument("--library", type=Path, default=ROOT / "build" / "libsparamx.so")
    args = parser.parse_args()
    found = collect(args.folder)
    args.json.write_text(json.dumps(found, indent=1) + "\n")
    if args.table:
        text = args.table.read_text() if args.table.exists() else "<!-- amx -->\n<!-- end amx -->\n"
        if not re.search(r"<!-- amx -->.*<!-- end amx -->", text, re.S):
            sys.exit(f"{args.table} has no marks <!-- amx --> and <!-- end amx -->")
        args.table.write_text(benchmarks.replace(text, "amx", table(found, benchmarks.kernel_table(args.library))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
