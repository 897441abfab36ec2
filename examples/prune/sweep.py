"""report.py --sweep: one dense model pruned in several ways, each against itself on text that it is not pruned with."""

import math
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import calibrated
from container import Fault
from measures import DIVERGENCE, SAME_TOP, call

HERE = Path(__file__).resolve().parent
PATTERNS = ("2:4", "4:8")
FORMS = ("row", "tensor", "model", *PATTERNS)
GROWING = "growing"  # a form: shares that grow with the layers, by the step that is best on the calibration text


@dataclass(frozen=True)
class Method:
    """How weights are chosen, and over what the share holds: "wanda tensor", "exchange", "swaps+refit 2:4"."""
    score: str
    form: str

    @classmethod
    def of(cls, text):
        """ValueError for what is no method."""
        score, _, form = text.strip().partition(" ")
        if score not in ("magnitude", "wanda"):
            if calibrated.method_of(score) == () or form not in ("", "row", GROWING, *PATTERNS):
                raise ValueError(f"no such method: {text}")
        elif form not in ("", GROWING, *FORMS):
            raise ValueError(f"no such method: {text}")
        return cls(score, form or "row")

    @property
    def name(self):
        return self.score if self.form == "row" else f"{self.score} {self.form}"

    @property
    def needs_grams(self):
        return self.score not in ("magnitude", "wanda")

    def options(self, share, step, imatrix, gram):
        """The options of prune.py."""
        how = ["--pattern", self.form] if self.form in PATTERNS else ["--share", share]
        if self.form in ("tensor", "model"):
            how += ["--scope", self.form]
        if step:
            how += ["--progression", step]
        if self.score == "magnitude":
            return [*how, "--magnitude"]
        if self.score == "wanda":
            return [*how, "--imatrix", imatrix] if imatrix else [*how, "--gram", gram, "--method", calibrated.SCORES]
        return [*how, "--gram", gram, "--method", self.score]


@dataclass
class Texts:
    """What perplexities are of: text that no method has seen, and, for the step of growing shares, other text."""
    held_out: Path
    calibration: Path | None
    context: int
    chunks: int

    def of(self, path):
        return ["-f", path, "-c", self.context, *(["--chunks", self.chunks] if self.chunks else [])]


class Sweep:
    def __init__(self, host, dense, texts, folder, imatrix=None, gram=None):
        self.host, self.dense, self.texts = host, dense, texts
        self.imatrix, self.gram = imatrix, gram
        self.base, self.pruned = Path(folder) / "base.kld", Path(folder) / "pruned.gguf"
        ppl, _ = host.perplexity("-m", dense, *texts.of(texts.held_out), "--save-all-logits", self.base)
        self.first = {"method": "dense", "share": 0.0, "ppl": ppl, "kld": 0.0, "same_top": 1.0, "seconds": 0.0}

    def prune(self, method, share, step=0.0):
        """Seconds that it takes."""
        begin = time.monotonic()
        call([sys.executable, HERE / "prune.py", self.dense, self.pruned, "--force",
              *method.options(share, step, self.imatrix, self.gram)])
        return time.monotonic() - begin

    def measure(self, model):
        """{ppl, kld, same_top} of a model file against the dense one."""
        ppl, out = self.host.perplexity("-m", model, *self.texts.of(self.texts.held_out), "--kl-divergence",
                                        "--kl-divergence-base", self.base)
        kld, same = DIVERGENCE.search(out), SAME_TOP.search(out)
        return {"ppl": ppl, "kld": float(kld[1]), "same_top": float(same[1]) / 100}

    def best_step(self, method, share, steps):
        """(the step with the smallest perplexity on the calibration text, seconds that finding it takes)"""
        begin, found = time.monotonic(), {}
        for step in steps:
            if not fits(share, step):
                continue
            self.prune(method, share, step)
            found[step], _ = self.host.perplexity("-m", self.pruned, *self.texts.of(self.texts.calibration))
        return min(found, key=found.get), time.monotonic() - begin

    def row(self, method, share, steps):
        step, seconds = self.best_step(method, share, steps) if method.form == GROWING else (0.0, 0.0)
        seconds += self.prune(method, share, step)
        growing = {"step": step} if method.form == GROWING else {}
        return {"method": method.name, "share": share, **self.measure(self.pruned), "seconds": seconds, **growing}


def fits(share, step):
    """Whether shares that grow by this step about that share lie from 0 to below 1."""
    return 0 <= share - abs(step) <= share + abs(step) < 1


def check(methods, shares, steps):
    """Raises Fault if a method has growing shares and no step fits one of the shares: before anything runs."""
    without = [share for share in shares if not any(fits(share, step) for step in steps)]
    if without and any(method.form == GROWING for method in methods):
        raise Fault(f"none of the steps {', '.join(f'{step:g}' for step in steps)} fits a share of {without[0]:g}: "
                    "the share less the step is at least 0, and both together are below 1; give other --steps or "
                    "--shares")


def sweep(host, dense, texts, shares, methods, steps, imatrix, gram, progress):
    """[{method, share, ppl, kld, same_top, seconds, closed}], the dense model first."""
    with tempfile.TemporaryDirectory() as folder:
        todo = [(method, share) for method in methods for share in ([0.5] if method.form in PATTERNS else shares)]
        made = Sweep(host, dense, texts, folder, imatrix, gram)
        rows = [made.first, *(made.row(method, share, steps) for method, share in progress(todo))]
    for row in rows[1:]:
        row["closed"] = closed(row, rows)
    return rows


def closed(row, rows):
    """How much of the distance of Wanda's log-perplexity from the dense model's is closed; None without a row of Wanda
    at the same share."""
    wanda = next((other for other in rows if other["method"] == "wanda" and other["share"] == row["share"]), None)
    if wanda is None or wanda is row or wanda["ppl"] <= rows[0]["ppl"]:
        return None
    return math.log(wanda["ppl"] / row["ppl"]) / math.log(wanda["ppl"] / rows[0]["ppl"])
