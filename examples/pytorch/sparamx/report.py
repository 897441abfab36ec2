"""What became of a model's weights, as a table."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from torch import nn

from .linear import SparamxLinear


@dataclass(frozen=True)
class Row:
    """A matrix of a model.

    Attributes:
        name: of the module, as ``named_modules`` has it.
        shape: outputs x inputs, or the shape of a parameter that is no matrix.
        taken: whether it is packed.
        type: of the packed weights, such as "bf16", else that of the parameter.
        form: "dense" or "sparse" if it is packed, else "".
        zeros: share of weights that the sparse form leaves out, 0...1.
        bits: per weight as kept.
        bytes: as kept.
        reason: why it has this form, or why it was left.

    """

    name: str
    shape: tuple[int, ...]
    taken: bool
    type: str
    form: str
    zeros: float
    bits: float
    bytes: int
    reason: str


@dataclass(frozen=True)
class Report:
    """All rows; printed it is a table with a sum below."""

    rows: list[Row] = field(default_factory=list)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def taken(self) -> list[Row]:
        """Those that are packed."""
        return [row for row in self.rows if row.taken]

    def __str__(self) -> str:
        width = max([len(row.name) for row in self.rows] + [4])
        lines = [f"{'name':<{width}}  {'shape':>14}  {'type':<8} {'form':<6} {'zeros':>6} {'bits':>6} {'MB':>8}  why"]
        for row in self.rows:
            shape = " x ".join(map(str, row.shape))
            zeros = f"{row.zeros:.1%}" if row.taken else ""
            lines.append(f"{row.name:<{width}}  {shape:>14}  {row.type:<8} {row.form or 'left':<6} {zeros:>6} "
                         f"{row.bits:>6.2f} {row.bytes / 1e6:>8.2f}  {row.reason}")
        kept, left = self.taken, [row for row in self.rows if not row.taken]
        lines.append(f"{len(kept)} of {len(self.rows)} are packed, in {sum(row.bytes for row in kept) / 1e6:.1f} MB; "
                     f"{sum(row.bytes for row in left) / 1e6:.1f} MB are left to PyTorch")
        return "\n".join(lines)


def taken_row(name: str, layer: SparamxLinear, note: str = "") -> Row:
    """The row of a packed layer. note: what else there is to say."""
    info = layer.packed.info()
    reason = (info.reason or b"").decode()
    for more in (f"the blocks of {layer.source}" if layer.source else "", note):
        reason += f"; {more}" if more else ""
    return Row(name, (info.n, info.k), True, layer.weight_type.name.lower(), layer.packed.form.name.lower(),
               info.sparsity, info.bits_per_weight, info.packed_bytes, reason)


def left_row(name: str, parameter: nn.Parameter, reason: str) -> Row:
    """The row of weights that stay with PyTorch."""
    size = parameter.numel() * parameter.element_size()
    return Row(name, tuple(parameter.shape), False, str(parameter.dtype).removeprefix("torch."), "", 0.0,
               8.0 * parameter.element_size(), size, reason)
