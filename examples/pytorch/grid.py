"""The table of experiments: its columns, a grid to begin with, and reading it back."""

import csv
import itertools
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

MODES = ("stock", "compile", "dense", "sparse")
"""Implementations: PyTorch, torch.compile, and this library in its two forms."""

TYPES = ("bf16", "q8_0", "q4_0")

COLUMNS = {
    "model": "Model ID", "layers": "Layers", "path": "Saved Model Path", "zeros": "Weight Zeros",
    "type": "Weight Type", "cores": "Number of Cores", "batch": "Batch Size", "context": "Context Length",
    "new_tokens": "Number of generated Tokens", "mode": "Mode",
}
"""Fields by the names of the columns. Those that the paper's experiments have too have its names."""


@dataclass(frozen=True)
class Experiment:
    """A row: one implementation in one configuration."""

    model: str
    layers: int
    path: str
    zeros: float
    type: str
    cores: int
    batch: int
    context: int
    new_tokens: int
    mode: str

    def configuration(self) -> tuple[Any, ...]:
        """All but the mode: what is measured in one go, and which modes are compared."""
        return tuple(getattr(self, field.name) for field in fields(self) if field.name != "mode")

    def row(self) -> dict[str, str]:
        """As the file has it."""
        return {column: str(getattr(self, name)) for name, column in COLUMNS.items()}


def grid(*, models: list[str], zeros: list[float], types: list[str], cores: list[int], batches: list[int],
         contexts: list[int], new_tokens: int, layers: int, modes: list[str]) -> list[Experiment]:
    """Around the first value of each list the others one by one: not their product, which nobody waits for.

    Zeros go with every core count, as the paper's figures have them.
    """
    base = (models[0], zeros[0], types[0], cores[-1], batches[0], contexts[0])
    wanted = dict.fromkeys(
        [(models[0], z, types[0], c, batches[0], contexts[0]) for z, c in itertools.product(zeros, cores)]
        + [(m, z, *base[2:]) for m in models[1:] for z in zeros]
        + [(*base[:2], t, *base[3:]) for t in types]
        + [(models[0], z, types[0], cores[-1], b, contexts[0]) for b in batches for z in zeros]
        + [(models[0], z, types[0], cores[-1], batches[0], c) for c in contexts for z in zeros])
    return [Experiment(m, layers, "", z, t, c, b, length, new_tokens, mode)
            for m, z, t, c, b, length in wanted for mode in modes]


def write(path: Path, rows: list[Experiment]) -> None:
    """The table, to be edited."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(COLUMNS.values()), lineterminator="\n")
        writer.writeheader()
        writer.writerows(row.row() for row in rows)


def read(path: Path, cores: int) -> list[Experiment]:
    """The rows of a table.

    Args:
        path: of the file.
        cores: that this machine has.

    Raises:
        ValueError: a row cannot be run; the message names it.
        OSError: the file cannot be read.

    """
    with path.open(newline="", encoding="utf-8") as file:
        try:
            lines = list(csv.DictReader(file))
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"{path} is no table: {error}") from None
    rows: list[Experiment] = []
    for number, line in enumerate(lines, 2):
        try:
            row = _experiment(line)
            _require(row, cores)
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from None
        if row in rows:
            raise ValueError(f"{path}, line {number}: this row was there before")
        rows.append(row)
    if not rows:
        raise ValueError(f"{path} has no rows: 'generate' writes some")
    return rows


def _experiment(line: dict[str, str | None]) -> Experiment:
    values: dict[str, Any] = {}
    for field in fields(Experiment):
        column = COLUMNS[field.name]
        text = line.get(column)
        if text is None:
            raise ValueError(f"the column '{column}' is missing")
        try:
            values[field.name] = field.type(text.strip()) if callable(field.type) else text.strip()
        except ValueError:
            raise ValueError(f"'{text}' in the column '{column}' is no number") from None
    return Experiment(**values)


def _require(row: Experiment, cores: int) -> None:
    if row.mode not in MODES:
        raise ValueError(f"the mode '{row.mode}' is not known: {', '.join(MODES)} are")
    if row.type not in TYPES:
        raise ValueError(f"the type '{row.type}' is not known: {', '.join(TYPES)} are")
    if not 0 <= row.zeros < 1:
        raise ValueError(f"{row.zeros} is no share of zeros: use a number from 0 to below 1")
    if not 1 <= row.cores <= cores:
        raise ValueError(f"{row.cores} cores are asked for, and this machine lends {cores}")
    if row.path and not Path(row.path).is_dir():
        raise ValueError(f"there is no folder {row.path}")
    for name, least in (("batch", 1), ("context", 1), ("new_tokens", 2), ("layers", 0)):
        if getattr(row, name) < least:
            raise ValueError(f"'{COLUMNS[name]}' is {getattr(row, name)}, and at least {least} is needed")
