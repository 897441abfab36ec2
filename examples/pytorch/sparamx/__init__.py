"""Fast linear layers for PyTorch models on CPUs, from packed (sparse) weights.

    import sparamx
    print(sparamx.replace_linears(model))

The wheel has libsparamx inside and needs an x86-64 CPU with AVX-512; on others it warns once and leaves models as they
are. See the README for what is taken, and ``help(sparamx.replace_linears)``.
"""

from .files import load_packed, save_packed
from .library import SparamxError, capability
from .linear import SparamxLinear
from .model import explain, replace_linears
from .packed import Form, PackedMatrix, WeightType
from .report import Report, Row
from .version import __version__

__all__ = [
    "Form", "PackedMatrix", "Report", "Row", "SparamxError", "SparamxLinear", "WeightType", "__version__", "capability",
    "explain", "load_packed", "replace_linears", "save_packed",
]
