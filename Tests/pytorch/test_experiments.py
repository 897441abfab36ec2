"""The experiments of the paper: tables, a small run, resuming, pictures, and what is refused."""

import csv
import json
import sys

import pytest
from conftest import ROOT

FOLDER = ROOT / "examples" / "pytorch"
sys.path.insert(0, str(FOLDER))
pytest.importorskip("matplotlib")

import experiments  # noqa: E402
import grid  # noqa: E402
import plots  # noqa: E402

SMALL = ("generate", "--models", "tiny", "--types", "bf16", "--cores", "1", "--contexts", "12", "--new-tokens", "3")
RUN = ("--reference", "--rounds", "2", "--warmup", "1", "--compile-mode", "eager")


@pytest.fixture
def call(tmp_path, monkeypatch, capfd):
    """A command of experiments.py in the folder tmp_path; returns what it printed."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments, status=0):
        monkeypatch.setattr(sys, "argv", ["experiments.py", *map(str, arguments)])
        found = experiments.main()
        shown = "".join(capfd.readouterr())
        assert found == status, shown
        return shown
    return run


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_small_grid_is_run_and_resumed(tmp_path, call):
    call(*SMALL, "--zeros", "0.5", "0.0", "--batches", "1", "--modes", *grid.MODES)
    table = rows_of(tmp_path / "experiments.csv")
    assert len(table) == 8 and list(table[0]) == list(grid.COLUMNS.values())
    call("run", *RUN)
    folder, = (tmp_path / "experiment_results").iterdir()
    found = rows_of(folder / "results.csv")
    assert [{name: row[name] for name in table[0]} for row in found] == table
    for row in found:
        prefill, decode, total, token = (float(row[f"{name} Latency"])
                                         for name in ("Prefill", "Decode", "Total", "Token"))
        assert 0 < prefill and 0 < decode and abs(prefill + decode - total) < max(prefill, decode)
        assert abs(token - decode / 2) < 1e-5 and row["Rounds"] == "2" and not row["Failure"]
        assert float(row["Least Total"]) <= total <= float(row["Most Total"]) * 1.5
        layers = [float(part) for part in row["Layer Times"].split(";") if part]
        assert len(layers) == (0 if row["Mode"] == "compile" else 2) and sum(layers) <= token
    sizes = {(row["Mode"], row["Weight Zeros"]): int(row["Weight Bytes"]) for row in found}
    assert sizes["sparse", "0.5"] < sizes["dense", "0.5"] == sizes["dense", "0.0"] < sizes["sparse", "0.0"]
    assert json.loads((folder / "machine.json").read_text())["cpu"]
    assert (folder / "speedup_over_zeros.png").read_bytes()[1:4] == b"PNG"
    # A run that was killed while it wrote: whole configurations are kept, the others are measured again.
    lines = (folder / "results.csv").read_text().splitlines(keepends=True)
    (folder / "results.csv").write_text("".join(lines[:6]) + lines[6][:40])
    (folder / "speedup_over_zeros.png").unlink()
    call("run", "--resume", folder, *RUN)
    again = (folder / "results.csv").read_text().splitlines(keepends=True)
    assert again[:5] == lines[:5] and len(again) == 9 and again[5] != lines[5]
    assert (folder / "speedup_over_zeros.png").exists()
    call("run", "--resume", folder, *RUN)  # nothing is left to do
    assert (folder / "results.csv").read_text().splitlines(keepends=True) == again
    # Another machine's figures do not go into the same table.
    about = json.loads((folder / "machine.json").read_text())
    (folder / "machine.json").write_text(json.dumps(about | {"cpu": "another"}))
    assert "begin anew" in call("run", "--resume", folder, *RUN, status=2)


def test_the_grid_compares_like_with_like(tmp_path, call):
    """Every configuration once, with all modes; each list is varied, zeros with every other."""
    call("generate", "--zeros", 0.5, 0, "--cores", 1, 2, "--batches", 1, 4, "--contexts", 512, 2048)
    rows = grid.read(tmp_path / "experiments.csv", 2)
    modes = {}
    for row in rows:
        modes.setdefault(row.configuration(), []).append(row.mode)
    assert all(found == list(grid.MODES) for found in modes.values())
    for field in ("model", "type", "cores", "batch", "context"):
        assert len({getattr(row, field) for row in rows}) > 1
        if field != "type":
            assert len({(getattr(row, field), row.zeros) for row in rows}) == 2 * len(
                {getattr(row, field) for row in rows})


def test_what_cannot_be_run(tmp_path, call):
    call(*SMALL, "--zeros", "0.5", "--batches", "1", "--modes", "stock")
    assert "there already" in call(*SMALL, status=2)
    row = rows_of(tmp_path / "experiments.csv")[0]
    path = tmp_path / "table.csv"
    for changes, word in (({"Mode": "magic"}, "magic"), ({"Weight Type": "q3"}, "q3"),
                          ({"Weight Zeros": "1.0"}, "share"),
                          ({"Weight Zeros": "half"}, "no number"), ({"Number of Cores": "9999"}, "9999 cores"),
                          ({"Batch Size": "0"}, "at least 1"), ({"Number of generated Tokens": "1"}, "at least 2"),
                          ({"Saved Model Path": "/no/such"}, "no folder")):
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(row))
            writer.writeheader()
            writer.writerow(row | changes)
        with pytest.raises(ValueError, match=rf"line 2: .*{word}"):
            grid.read(path, 64)
    for text, word in (("", "no rows"), ("a,b\n1,2\n", "column 'Model ID' is missing"),
                       ("\x00\xff", "table|missing|rows")):
        path.write_bytes(text.encode("latin-1"))
        with pytest.raises(ValueError, match=word):
            grid.read(path, 64)
    (tmp_path / "empty").mkdir()
    (tmp_path / "experiments.csv").write_text(
        (tmp_path / "experiments.csv").read_text().replace("tiny,0,,", "tiny,0,empty,"))
    assert "1 rows have no figures" in call("run", *RUN, status=1)
    folder, = (tmp_path / "experiment_results").iterdir()
    assert "empty cannot be loaded" in rows_of(folder / "results.csv")[0]["Failure"]


def test_without_avx512_nothing_is_measured(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(experiments.machine, "has_avx512", lambda: False)
    monkeypatch.setattr(sys, "argv", ["experiments.py", "run", "--results", str(tmp_path / "results")])
    assert experiments.main() == 2 and "no AVX-512" in capsys.readouterr().err
    assert not (tmp_path / "results").exists()


def test_a_process_that_dies(monkeypatch, tmp_path):
    """Its configuration has a reason instead of figures, and the others are measured."""
    (tmp_path / "worker.py").write_text(
        "import json, os, sys\nasked = json.load(sys.stdin)['configurations']\n"
        "for i, about in enumerate(asked):\n"
        "    print(json.dumps({'begin': i}), flush=True)\n"
        "    if about['batch'] == 2: os.kill(os.getpid(), 9)\n"
        "    print(json.dumps({'done': i, 'results': [dict(mode=mode, prefill=1.0, decode=2.0, total=3.0, token=1.0, "
        "least=3.0, most=3.0, layers=[], bytes=1, rounds=1) for mode in about['modes']]}), flush=True)\n")
    monkeypatch.setattr(experiments, "HERE", tmp_path)
    rows = [grid.Experiment("tiny", 0, "", 0.5, "bf16", 1, batch, 8, 3, mode)
            for batch in (1, 2, 4) for mode in ("stock", "sparse")]
    options = experiments.arguments().parse_args(["run", *RUN])
    assert experiments._measure(rows, tmp_path, "reference", options) == 2
    found = rows_of(tmp_path / "results.csv")
    assert [(row["Batch Size"], bool(row["Failure"])) for row in found] == [
        ("1", False)] * 2 + [("2", True)] * 2 + [("4", False)] * 2


def test_speed_ups():
    """Only rows of one configuration are compared."""
    rows = [grid.Experiment("m", 0, "", zeros, "bf16", 1, batch, 8, 3, mode).row() | {
        "Decode Latency": str(seconds), "Prefill Latency": "1", "Total Latency": "1"}
        for zeros, batch, mode, seconds in ((0.0, 1, "stock", 4), (0.0, 1, "sparse", 4), (0.5, 1, "stock", 6),
                                            (0.5, 1, "sparse", 2), (0.7, 2, "sparse", 1), (0.5, 2, "stock", 9))]
    line, = plots.speedups(rows, "zeros", "Decode Latency").values()
    assert line == [(0.0, 1.0), (0.5, 3.0)]
    assert not plots.speedups(rows, "cores", "Decode Latency")
