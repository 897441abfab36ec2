#!/usr/bin/env python3
"""The experiments of the SparAMX paper on this machine: a table of them, running it, pictures.

    experiments.py generate [--output experiments.csv]     writes a grid; edit it as you like
    experiments.py run [experiments.csv]                   measures all of it: experiment_results/DATE_TIME/
    experiments.py run --resume experiment_results/...     goes on where a run was stopped
    experiments.py plot experiment_results/...             draws the pictures again

A folder of results has results.csv (medians in seconds), machine.json, the table and the pictures.
"""

import argparse
import csv
import datetime
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

try:
    from tqdm import tqdm

    import grid
    import machine
    import plots
    from machine import RefusedError
except ImportError as missing:
    sys.exit(f"experiments.py: the Python package {missing.name} is missing: pip install 'transformers>=5' tqdm "
             "matplotlib")

RESULTS = ("Prefill Latency", "Decode Latency", "Total Latency", "Token Latency", "Least Total", "Most Total",
           "Layer Times", "Weight Bytes", "Rounds", "Level", "Failure")
TABLE, RESULT, MACHINE = "experiments.csv", "results.csv", "machine.json"


def generate(options: argparse.Namespace) -> None:
    """Writes a table to begin with."""
    path = Path(options.output)
    if path.exists() and not options.force:
        raise RefusedError(f"{path} is there already: --force writes over it")
    mine = len(machine.cores())
    cores = sorted({count for count in (2**i for i in range(10)) if count < mine} | {mine})
    rows = grid.grid(models=options.models, zeros=options.zeros, types=options.types, cores=options.cores or cores,
                     batches=options.batches, contexts=options.contexts, new_tokens=options.new_tokens,
                     layers=options.layers, modes=options.modes)
    grid.write(path, rows)
    print(f"{path} has {len(rows)} rows, {len({row.configuration() for row in rows})} configurations: edit it, then "
          f"experiments.py run {path}")


def run(options: argparse.Namespace) -> int:
    """Measures what is not measured yet, and draws."""
    machine.require_avx512(options.reference)
    folder = Path(options.resume) if options.resume else _new_folder(Path(options.results))
    table = folder / TABLE if options.resume else Path(options.experiments)
    rows = grid.read(table, len(machine.cores()))
    about = machine.describe()
    if options.resume:
        _require_same_machine(folder, about)
    else:
        folder.mkdir(parents=True)
        grid.write(folder / TABLE, rows)
        (folder / MACHINE).write_text(json.dumps(about | {"rounds": options.rounds, "warmup": options.warmup,
                                                          "compile_mode": options.compile_mode}, indent=1) + "\n")
    failures = _measure(_undone(folder / RESULT, rows), folder, about["level"], options)
    pictures = plots.draw(plots.read(folder / RESULT), folder, f"{about['cpu']}, {about['level']}")
    print(f"{folder / RESULT} has the medians" + "".join(f", {path.name}" for path in pictures))
    if failures:
        print(f"{failures} rows have no figures: the column Failure says why, and --resume {folder} tries them again")
    return 1 if failures else 0


def plot(options: argparse.Namespace) -> None:
    """Draws the pictures of a folder of results."""
    folder = Path(options.folder)
    about = json.loads((folder / MACHINE).read_text())
    for path in plots.draw(plots.read(folder / RESULT), folder, f"{about['cpu']}, {about['level']}"):
        print(path)


def _measure(todo: list[grid.Experiment], folder: Path, level: str, options: argparse.Namespace) -> int:
    """Runs the rows, a process for each number of cores; returns how many have no figures."""
    configurations: dict[tuple[Any, ...], list[grid.Experiment]] = {}
    for row in todo:
        configurations.setdefault(row.configuration(), []).append(row)
    generations = len(todo) * (options.rounds + options.warmup)
    failures = 0
    with tqdm(total=generations, unit="generation", disable=None) as bar:
        for cores in sorted({row.cores for row in todo}):
            waiting = [rows for rows in configurations.values() if rows[0].cores == cores]
            while waiting:
                count = 0
                for rows, answer in _work(cores, waiting, folder, options, bar):
                    count += 1
                    failures += _append(folder / RESULT, rows, answer, level)
                waiting = waiting[count:]
    return failures


def _work(cores: int, waiting: list[list[grid.Experiment]], folder: Path, options: argparse.Namespace,
          bar: Any) -> Iterator[tuple[list[grid.Experiment], dict[str, Any]]]:
    """Rows of a configuration and what came of them; ends early, with a failure, if the process dies."""
    request = {"cores": cores, "rounds": options.rounds, "warmup": options.warmup, "reference": options.reference,
               "compile_mode": options.compile_mode,
               "configurations": [asdict(rows[0]) | {"modes": [row.mode for row in rows]} for rows in waiting]}
    with (folder / "log.txt").open("a") as log, subprocess.Popen(
            [sys.executable, str(HERE / "worker.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
            text=True) as process:
        assert process.stdin and process.stdout
        ended = 0
        try:
            process.stdin.write(json.dumps(request))
            process.stdin.close()
            for line in process.stdout:
                answer = json.loads(line)
                if "tick" in answer:
                    bar.update(1)
                elif "begin" in answer:
                    row = waiting[answer["begin"]][0]
                    bar.set_description(f"{row.model}, {row.zeros:.0%} zeros, {cores} cores, batch {row.batch}")
                else:
                    ended += 1
                    yield waiting[answer["done"]], answer
        except (BrokenPipeError, json.JSONDecodeError):
            pass
        finally:
            process.kill()
        process.wait()
    if ended < len(waiting):
        yield waiting[ended], {"failure": f"the process ended early: {folder / 'log.txt'} may say why"}


def _append(path: Path, rows: list[grid.Experiment], answer: dict[str, Any], level: str) -> int:
    """Adds the results of one configuration to the file; returns how many of them are failures."""
    by_mode = {result["mode"]: result for result in answer.get("results", [])}
    new = not path.exists()
    failures = 0
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [*grid.COLUMNS.values(), *RESULTS], lineterminator="\n")
        if new:
            writer.writeheader()
        for row in rows:
            found = by_mode.get(row.mode, {"failure": answer.get("failure", "no result")})
            failures += "failure" in found
            writer.writerow(row.row() | dict(zip(RESULTS, (
                *(_seconds(found.get(key)) for key in ("prefill", "decode", "total", "token", "least", "most")),
                ";".join(f"{seconds:.6f}" for seconds in found.get("layers", [])), found.get("bytes", ""),
                found.get("rounds", ""), level, found.get("failure", "")), strict=True)))
    return failures


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.6f}"


def _undone(path: Path, rows: list[grid.Experiment]) -> list[grid.Experiment]:
    """Rows of configurations that are not complete, whose results are taken out of the file: all modes go together."""
    if not path.exists():
        return rows
    with path.open(newline="", encoding="utf-8") as file:
        found = [row for row in csv.DictReader(file) if row["Total Latency"] and row["Failure"] == ""]
    have = {tuple(row[column] for column in grid.COLUMNS.values()) for row in found}
    missing = {row.configuration() for row in rows if tuple(row.row().values()) not in have}
    undone = [row for row in rows if row.configuration() in missing]
    again = {tuple(row.row().values()) for row in undone}
    kept = path.with_suffix(".new")
    with kept.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [*grid.COLUMNS.values(), *RESULTS], lineterminator="\n")
        writer.writeheader()
        writer.writerows(row for row in found
                         if tuple(row[column] for column in grid.COLUMNS.values()) not in again)
    kept.replace(path)
    return undone


def _new_folder(results: Path) -> Path:
    return results / datetime.datetime.now().strftime("%Y-%m-%d_%H-%M-%S")


def _require_same_machine(folder: Path, about: dict[str, Any]) -> None:
    try:
        before = json.loads((folder / MACHINE).read_text())
    except (OSError, ValueError):
        raise RefusedError(f"{folder} is no folder of results") from None
    for key in ("cpu", "level", "sparamx", "packages"):
        if before.get(key) != about[key]:
            raise RefusedError(f"{folder} was measured with {key} {before.get(key)}, this is {about[key]}: begin anew")


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    write = commands.add_parser("generate", help="write a table of experiments")
    write.add_argument("--output", default=TABLE, metavar="FILE")
    write.add_argument("--force", action="store_true", help="write over a file that is there")
    write.add_argument("--models", nargs="+", default=["llama-8b", "llama-3b", "llama-1b"],
                       help="named shapes (tiny, llama-1b, llama-3b, llama-8b) with random weights, or folders")
    write.add_argument("--layers", type=int, default=0, help="only so many layers of each model")
    write.add_argument("--zeros", nargs="+", type=float, default=[0.5, 0.0, 0.3, 0.4, 0.6, 0.7, 0.8],
                       help="shares; the first is that of rows which vary something else (so of every list)")
    write.add_argument("--types", nargs="+", choices=grid.TYPES, default=["bf16", "q8_0"])
    write.add_argument("--cores", nargs="+", type=int, default=None)
    write.add_argument("--batches", nargs="+", type=int, default=[1, 2, 4, 8, 16, 32])
    write.add_argument("--contexts", nargs="+", type=int, default=[512, 2048])
    write.add_argument("--new-tokens", type=int, default=32)
    write.add_argument("--modes", nargs="+", choices=grid.MODES, default=list(grid.MODES))
    write.set_defaults(do=generate)
    measure = commands.add_parser("run", help="measure the rows of a table")
    measure.add_argument("experiments", nargs="?", default=TABLE, metavar="FILE")
    measure.add_argument("--results", default="experiment_results", metavar="DIR")
    measure.add_argument("--resume", metavar="DIR", help="go on with a folder of results")
    measure.add_argument("--rounds", type=int, default=8)
    measure.add_argument("--warmup", type=int, default=8)
    measure.add_argument("--compile-mode", choices=("max-autotune", "default", "eager"), default="max-autotune")
    measure.add_argument("--reference", action="store_true", help="also without AVX-512")
    measure.set_defaults(do=run)
    draw = commands.add_parser("plot", help="draw the pictures of a folder of results")
    draw.add_argument("folder")
    draw.set_defaults(do=plot)
    return parser


def main() -> int:
    """Returns the exit status."""
    options = arguments().parse_args()
    if getattr(options, "rounds", 1) < 1 or getattr(options, "warmup", 0) < 0:
        print("experiments.py: at least one round is needed, and no negative warm-up", file=sys.stderr)
        return 2
    try:
        return options.do(options) or 0
    except (RefusedError, ImportError, ValueError, KeyError, OSError) as error:
        print(f"experiments.py: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("experiments.py: stopped; --resume with the folder of results goes on", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
