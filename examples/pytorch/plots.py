"""Pictures of experiments: how many times as fast as stock PyTorch, over zeros, cores, batch and prompt."""

from collections import defaultdict
from pathlib import Path
from typing import Any

AXES = {"zeros": "Weight Zeros", "cores": "Number of Cores", "batch": "Batch Size",
        "context": "Context Length"}
LABELS = {"zeros": "share of weights that are zero", "cores": "cores", "batch": "sequences at once",
          "context": "tokens of prompt"}
NAMES = {"compile": "torch.compile", "dense": "sparamx dense", "sparse": "sparamx sparse"}
COMMON = ("Model ID", "Layers", "Saved Model Path", "Weight Zeros", "Weight Type", "Number of Cores", "Batch Size",
          "Context Length", "Number of generated Tokens")
LATENCIES = {"Decode Latency": "writing text", "Prefill Latency": "reading the prompt"}


def speedups(rows: list[dict[str, str]], axis: str, latency: str) -> dict[tuple[str, ...], list[tuple[float, float]]]:
    """Points (value of the axis, times stock) of each line, which is named by the mode and all other columns."""
    lines: dict[tuple[str, ...], list[tuple[float, float]]] = defaultdict(list)
    stock = {tuple(row[c] for c in COMMON): float(row[latency]) for row in rows if row["Mode"] == "stock"}
    for row in rows:
        base = stock.get(tuple(row[c] for c in COMMON))
        if row["Mode"] == "stock" or not base or not float(row[latency]):
            continue
        key = (row["Mode"], *(row[c] for c in COMMON if c != AXES[axis]))
        lines[key].append((float(row[AXES[axis]]), base / float(row[latency])))
    return {key: sorted(points) for key, points in lines.items() if len(points) > 1}


def draw(rows: list[dict[str, str]], folder: Path, title: str) -> list[Path]:
    """Writes a picture for each axis on which something varies, and returns their paths."""
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot

    written = []
    for axis in AXES:
        lines = {latency: speedups(rows, axis, latency) for latency in LATENCIES}
        if not any(lines.values()):
            continue
        figure, panels = pyplot.subplots(1, 2, figsize=(11, 4.5), sharey=False)
        for panel, (latency, what) in zip(panels, LATENCIES.items(), strict=True):
            for key, points in lines[latency].items():
                panel.plot(*zip(*points, strict=True), marker="o", label=_label(key, list(lines[latency])))
            panel.axhline(1, color="grey", linewidth=0.8)
            panel.set(xlabel=LABELS[axis], ylabel="times stock PyTorch", title=what)
            panel.set_ylim(bottom=0)
            panel.legend(fontsize="small")
        figure.suptitle(title, fontsize="small")
        figure.tight_layout()
        path = folder / f"speedup_over_{axis}.png"
        figure.savefig(path, dpi=120)
        pyplot.close(figure)
        written.append(path)
    return written


def _label(key: tuple[str, ...], keys: list[tuple[str, ...]]) -> str:
    """The mode, and those of the other values that differ between lines."""
    varying = [i for i in range(1, len(key)) if len({other[i] for other in keys}) > 1]
    return ", ".join([NAMES.get(key[0], key[0]), *(key[i] for i in varying)])


def read(path: Path) -> list[dict[str, Any]]:
    """The rows of results.csv that have figures."""
    import csv
    with path.open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if row["Total Latency"]]
