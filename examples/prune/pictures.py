"""The pictures of report.py, each as PNG and SVG."""

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, PercentFormatter  # noqa: E402

from measures import layers_and_kinds  # noqa: E402

# told apart by colour-blind eyes
COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb")
plt.rcParams.update({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False,
                     "svg.hashsalt": "libsparamx"})


def save(figure, out, name):
    for ending in ("png", "svg"):
        figure.savefig(out / f"{name}.{ending}", dpi=150, metadata={"Date": None} if ending == "svg" else None)
    plt.close(figure)
    return out / f"{name}.png"


def short(report):
    return report.path.name.removesuffix(".gguf")


def zeros(reports, out):
    """One heat map per model: kinds of matrices down, layers across."""
    maps = [(report, *layers_and_kinds(report)) for report in reports]
    maps = [entry for entry in maps if entry[1]]
    if not maps:
        return None
    tall = max(len(kinds) for _, _, kinds, _ in maps)
    figure, rows = plt.subplots(len(maps), 1, squeeze=False, layout="constrained",
                                figsize=(max(5.5, 1.8 + 0.34 * max(len(m[1]) for m in maps)),
                                         len(maps) * (0.9 + 0.3 * tall)))
    for axes, (report, layers, kinds, shares) in zip(rows[:, 0], maps):
        image = axes.imshow(shares, vmin=0, vmax=1, cmap="viridis", aspect="auto", interpolation="nearest")
        axes.set_title(f"{short(report)}: {report.zeros:.0%} zeros in all matrices", loc="left", fontsize=10)
        axes.set_yticks(range(len(kinds)), kinds)
        axes.set_xticks(range(0, len(layers), max(1, len(layers) // 16)), layers[::max(1, len(layers) // 16)])
        axes.spines[:].set_visible(False)
        if len(layers) <= 12:
            for (y, x), share in np.ndenumerate(shares):
                if np.isfinite(share):
                    axes.text(x, y, f"{share:.0%}", ha="center", va="center", fontsize=7,
                              color="black" if share > 0.6 else "white")
    rows[-1, 0].set_xlabel("layer")
    figure.colorbar(image, ax=rows[:, 0], format=PercentFormatter(1), label="zeros")
    return save(figure, out, "zeros")


def plain(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def bars(axes, labels, series, unit):
    """series: {name: values}; a value that is None has no bar."""
    width = 0.8 / len(series)
    for i, (name, values) in enumerate(series.items()):
        places = np.arange(len(labels)) + (i - (len(series) - 1) / 2) * width
        drawn = axes.bar(places, [value or 0 for value in values], width * 0.94, label=name,
                         color=COLOURS[i % len(COLOURS)])
        axes.bar_label(drawn, [plain(value) if value else "" for value in values], fontsize=6.5, padding=2)
    axes.set_xticks(range(len(labels)), labels, rotation=20 if max(map(len, labels)) > 14 else 0)
    axes.set_ylabel(unit)
    axes.margins(y=0.15)
    axes.legend(frameon=False, fontsize=8, ncols=2, loc="upper center", bbox_to_anchor=(0.5, 1.18))


def sizes(reports, out):
    figure, axes = plt.subplots(figsize=(max(5, 1.4 + 1.5 * len(reports)), 3.6), layout="constrained")
    series = {"dense": [r.bytes_per_token(False) / 1e6 for r in reports]}
    if any(m.packed_bytes for r in reports for m in r.matrices):
        series["packed"] = [r.bytes_per_token(True) / 1e6 for r in reports]
    bars(axes, [short(r) for r in reports], series, "MB read per token")
    return save(figure, out, "bytes")


def speeds(reports, out):
    names = {}
    for report in reports:
        names |= {f"predicted, {name}": None for name in report.predicted} | dict.fromkeys(report.measured)
    if not names:
        return None
    figure, axes = plt.subplots(figsize=(max(6, 1.4 + 0.5 * len(names) * len(reports)), 3.8), layout="constrained")
    values = [{**{f"predicted, {name}": value for name, value in r.predicted.items()}, **r.measured} for r in reports]
    bars(axes, [short(r) for r in reports], {name: [value.get(name) for value in values] for name in names},
         "tokens per second")
    return save(figure, out, "speed")


def curves(rows, out):
    """Perplexity and KL divergence over the share of zeros, a line per method; patterns are points at their one
    share."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
    dense = next(row for row in rows if row["method"] == "dense")
    methods = list(dict.fromkeys(row["method"] for row in rows if row["method"] != "dense"))
    for i, method in enumerate(methods):
        points = sorted((row["share"], row["ppl"], row["kld"]) for row in rows if row["method"] == method)
        single = len(points) == 1
        start = [] if single else [(0.0, dense["ppl"], 0.0)]
        x, ppl, kld = zip(*start, *points)
        style = {"color": COLOURS[i % len(COLOURS)], "label": method, "marker": "D" if single else "o", "markersize": 4,
                 "linestyle": "none" if single else "-"}
        left.plot(x, ppl, **style)
        # Zero has no place on this axis: the dense model stands at its left end without a point.
        right.plot(*zip(*[(a, b) for a, b in zip(x, kld) if b > 0]), **style)
    left.axhline(dense["ppl"], color="#888888", linewidth=0.8, linestyle=":")
    left.text(0.99, dense["ppl"], "dense", transform=left.get_yaxis_transform(), ha="right", va="bottom", fontsize=8,
              color="#666666")
    left.set_ylabel("perplexity")
    right.set_ylabel("KL divergence from dense, nats per token")
    for axes in (left, right):
        axes.set_xlabel("zeros in the pruned matrices")
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_xlim(0)
        axes.xaxis.set_major_formatter(PercentFormatter(1))
        axes.grid(alpha=0.25, which="both")
    left.legend(frameon=False, fontsize=8, loc="upper left")
    return save(figure, out, "quality")


def equal_bytes(rows, out):
    """The distance from the original over bytes: a line of the dense model's types, one for each share of zeros."""
    figure, axes = plt.subplots(figsize=(7, 4.4), layout="constrained")
    for i, share in enumerate(sorted({row["share"] for row in rows})):
        # The original itself is at a distance of zero, which this axis does not have.
        points = sorted((row["bytes"] / 1e6, row["kld"], row["type"]) for row in rows
                        if row["share"] == share and row["kld"] > 0)
        if not points:
            continue
        x, y, names = zip(*points)
        colour = COLOURS[i % len(COLOURS)]
        axes.plot(x, y, color=colour, marker="o", markersize=4, linewidth=2 if not share else 1.2,
                  label=f"{share:.0%} zeros" if share else "dense")
        for place in points:
            axes.annotate(place[2], place[:2], xytext=(4, 4), textcoords="offset points", fontsize=7, color=colour)
    axes.set_xlabel("MB, as the library packs it")
    axes.set_ylabel("KL divergence from the original, nats per token\n(lower is better)")
    axes.set_yscale("log")
    axes.grid(alpha=0.25, which="both")
    axes.legend(frameon=False, fontsize=8)
    return save(figure, out, "equal-bytes")
