"""What bench.py and experiments.py share: models, the implementations that compute them, and the clock.

Implementations are measured in turn, round by round, in one process: runs one after another would compare two states of
the machine.
"""

import contextlib
import gc
import inspect
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

import sparamx
from machine import RefusedError
from sparamx.weights import prune_

SHAPES: dict[str, dict[str, int]] = {
    "tiny": {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4, "num_key_value_heads": 2,
             "vocab_size": 256, "num_hidden_layers": 2},
    "llama-1b": {"hidden_size": 2048, "intermediate_size": 8192, "num_attention_heads": 32, "num_key_value_heads": 8,
                 "vocab_size": 128256, "num_hidden_layers": 16},
    "llama-3b": {"hidden_size": 3072, "intermediate_size": 8192, "num_attention_heads": 24, "num_key_value_heads": 8,
                 "vocab_size": 128256, "num_hidden_layers": 28},
    "llama-8b": {"hidden_size": 4096, "intermediate_size": 14336, "num_attention_heads": 32, "num_key_value_heads": 8,
                 "vocab_size": 128256, "num_hidden_layers": 32},
}
"""Llamas by name, for random weights: speed does not depend on what the weights are, only on which are zero."""

COMPILE_MODES = ("max-autotune", "default", "eager")
"""Of torch.compile; "eager" takes the graph and generates no code, for tests."""


@dataclass(frozen=True)
class Implementation:
    """A way to compute a model.

    Attributes:
        name: in tables.
        build: makes it of a model that it may change.
        static: whether the cache of keys and values has a fixed size.

    """

    name: str
    build: Callable[[nn.Module], nn.Module]
    static: bool = False


@dataclass
class Timing:
    """Seconds of one generation, or medians of several."""

    prefill: float
    tokens: list[float]
    layers: list[float] = field(default_factory=list)

    @property
    def decode(self) -> float:
        """Of all tokens but the first, which the prompt's pass gives."""
        return sum(self.tokens)

    @property
    def total(self) -> float:
        """Of everything."""
        return self.prefill + self.decode


def make_model(name: str, layers: int | None = None, zeros: float = 0.0, seed: int = 0) -> nn.Module:
    """A model in bfloat16, with this share of zeros in each row of its linear layers but the output matrix.

    Args:
        name: one of SHAPES for random weights, else the folder of a model that transformers can load.
        layers: how many layers, if not all; the first ones of a model with weights.
        zeros: share of smallest magnitude that becomes zero. What a model has already counts.
        seed: of random weights.

    Raises:
        RefusedError: there is no such model.

    """
    import transformers
    if name in SHAPES:
        shape = SHAPES[name] | ({"num_hidden_layers": layers} if layers else {})
        config = transformers.LlamaConfig(**shape, tie_word_embeddings=True, max_position_embeddings=8192)
        torch.manual_seed(seed)
        model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    elif Path(name).is_dir():
        try:
            model = transformers.AutoModelForCausalLM.from_pretrained(
                name, dtype=torch.bfloat16, **({"num_hidden_layers": layers} if layers else {}))
        except (OSError, ValueError, KeyError) as error:
            raise RefusedError(f"{name} cannot be loaded: {str(error).splitlines()[0]}") from None
    else:
        raise RefusedError(f"{name} is neither a folder nor one of {', '.join(SHAPES)}")
    if zeros:
        for path, module in model.named_modules():
            if isinstance(module, nn.Linear) and not path.endswith("lm_head"):
                prune_(module.weight.data, zeros)
    return model.eval()


def stock(model: nn.Module) -> nn.Module:
    """PyTorch as it is."""
    return model


def compiled(mode: str = "max-autotune") -> Callable[[nn.Module], nn.Module]:
    """torch.compile with frozen weights: what PyTorch itself can do best."""
    def build(model: nn.Module) -> nn.Module:
        if mode == "eager":
            model.forward = torch.compile(model.forward, backend="eager", dynamic=False)
            return model
        import torch._inductor.config as inductor
        inductor.freezing = True
        torch._dynamo.config.cache_size_limit = 256
        model.forward = torch.compile(model.forward, mode=None if mode == "default" else mode, dynamic=False)
        return model
    return build


def ours(weights: str, form: str, reference: bool) -> Callable[[nn.Module], nn.Module]:
    """The layers of this library."""
    def build(model: nn.Module) -> nn.Module:
        report = sparamx.replace_linears(model, weights, form=form, reference=reference)
        if not report.taken:
            raise RefusedError("the library took no layer: this machine has no AVX-512")
        return model
    return build


def dynamic_int8(model: nn.Module) -> nn.Module:
    """PyTorch's own int8: weights by row, activations as they come. It wants float32 activations."""
    from torch.ao.quantization import quantize_dynamic
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return quantize_dynamic(model.float(), {nn.Linear}, dtype=torch.qint8)


def torchao(kind: str) -> Callable[[nn.Module], nn.Module]:
    """Int8 or int4 of the weights alone, by torchao."""
    def build(model: nn.Module) -> nn.Module:
        from torchao.quantization import Int8WeightOnlyConfig, quantize_
        if kind == "int8":
            quantize_(model, Int8WeightOnlyConfig())
            return model
        try:  # where torchao keeps its int4 for CPUs
            from torchao.prototype.quantization.int4 import PrototypeInt4WeightOnlyConfig
            config = PrototypeInt4WeightOnlyConfig(group_size=32, set_inductor_config=False)
        except ImportError:
            from torchao.quantization import Int4WeightOnlyConfig
            config = Int4WeightOnlyConfig(group_size=32, int4_packing_format="opaque")
        quantize_(model, config)
        return model
    return build


class LayerClock:
    """Seconds spent in each layer of a model, where it is computed layer by layer."""

    def __init__(self, model: nn.Module) -> None:
        self.seconds: list[float] = []
        self._begun = 0.0
        layers = getattr(getattr(model, "model", None), "layers", None)
        for number, layer in enumerate(layers if isinstance(layers, nn.ModuleList) else []):
            self.seconds.append(0.0)
            layer.register_forward_pre_hook(self._begin)
            layer.register_forward_hook(lambda *_, at=number: self._end(at))

    def _begin(self, *_: Any) -> None:
        self._begun = time.perf_counter()

    def _end(self, number: int) -> None:
        self.seconds[number] += time.perf_counter() - self._begun

    def take(self) -> list[float]:
        """What has been collected; begins anew."""
        taken, self.seconds = self.seconds, [0.0] * len(self.seconds)
        return taken


@torch.no_grad()
def generate(model: nn.Module, ids: torch.Tensor, new_tokens: int, static: bool, clock: LayerClock | None) -> Timing:
    """The time of a greedy generation: the prompt in one pass, then token by token. Of layers: that of one token."""
    from transformers import DynamicCache, StaticCache
    config: Any = model.config
    # Both names of the argument, of older and newer versions of transformers.
    wanted = inspect.signature(type(model).forward).parameters
    name = "cache" if "cache" in wanted else "past_key_values"
    cache: Any = (StaticCache(config=config, max_cache_len=ids.shape[1] + new_tokens) if static
                  else DynamicCache(config=config))

    def step(tokens: torch.Tensor) -> tuple[float, torch.Tensor]:
        begun = time.perf_counter()
        logits = model(input_ids=tokens, use_cache=True, logits_to_keep=1, **{name: cache}).logits
        following = logits[:, -1:].argmax(dim=-1)
        return time.perf_counter() - begun, following

    prefill, tokens = step(ids)
    if clock is not None:
        clock.take()
    each: list[float] = []
    for _ in range(new_tokens - 1):
        seconds, tokens = step(tokens)
        each.append(seconds)
    layers = [seconds / max(1, new_tokens - 1) for seconds in clock.take()] if clock is not None else []
    return Timing(prefill, each, layers)


@dataclass
class Built:
    """An implementation that is ready to run."""

    name: str
    model: nn.Module
    static: bool
    clock: LayerClock | None
    bytes: int


@dataclass
class Result:
    """What an implementation took: one timing for each measured round, or the reason why there are none."""

    name: str
    rounds: list[Timing] = field(default_factory=list)
    bytes: int = 0
    failure: str = ""

    def median(self) -> Timing:
        """Medians over the rounds."""
        return Timing(statistics.median(t.prefill for t in self.rounds),
                      [statistics.median(column) for column in zip(*(t.tokens for t in self.rounds), strict=True)],
                      [statistics.median(column) for column in zip(*(t.layers for t in self.rounds), strict=True)])


def weight_bytes(model: nn.Module) -> int:
    """Bytes of all weights as they are kept; what two layers share counts once."""
    seen = {value.data_ptr(): value.numel() * value.element_size() for value in model.parameters()}
    packed = (module.packed.info().packed_bytes for module in model.modules()
              if isinstance(module, sparamx.SparamxLinear))
    return sum(seen.values()) + sum(packed)


def build_all(make: Callable[[], nn.Module], implementations: list[Implementation],
              keep_going: bool) -> tuple[list[Built], list[Result]]:
    """All implementations of one model, and a result for each; keep_going: one that fails is left out with its reason.

    Raises:
        RefusedError: one cannot be built, unless keep_going.

    """
    built, results = [], []
    for implementation in implementations:
        result = Result(implementation.name)
        results.append(result)
        source = make()
        try:
            model = implementation.build(source)
        except Exception as error:
            if not keep_going:
                raise
            result.failure = (str(error).splitlines() or [type(error).__name__])[0]
            continue
        del source
        clock = None if implementation.static else LayerClock(model)
        result.bytes = weight_bytes(model)
        built.append(Built(implementation.name, model, implementation.static, clock, result.bytes))
        gc.collect()
    return built, results


def measure(make: Callable[[], nn.Module], implementations: list[Implementation], *, batch: int, context: int,
            new_tokens: int, rounds: int, warmup: int, keep_going: bool = False,
            tick: Callable[[], None] = lambda: None) -> list[Result]:
    """Times of all implementations of a model, in turn, round by round.

    Args:
        make: the model, anew for each implementation.
        implementations: in the order of a round; every other round goes backwards.
        batch: sequences at once.
        context: tokens of the prompt.
        new_tokens: tokens that are written.
        rounds: that are measured.
        warmup: rounds before.
        keep_going: an implementation that fails gives its reason instead of times.
        tick: called after each generation.

    """
    built, results = build_all(make, implementations, keep_going)
    by_name = {result.name: result for result in results}
    generator = torch.Generator().manual_seed(1)
    for number in range(warmup + rounds):
        for one in built if number % 2 == 0 else reversed(built):
            result = by_name[one.name]
            if result.failure:
                continue
            vocabulary = int(one.model.config.vocab_size)
            ids = torch.randint(0, vocabulary, (batch, context), generator=generator)
            try:
                timing = generate(one.model, ids, new_tokens, one.static, one.clock)
            except Exception as error:
                if not keep_going:
                    raise
                result.failure = (str(error).splitlines() or [type(error).__name__])[0]
                continue
            if number >= warmup:
                result.rounds.append(timing)
            tick()
    return results


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the progress bars and advice of transformers."""
    from transformers.utils import logging
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield
