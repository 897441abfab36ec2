"""prune.py --gram: each step in each type it serves, with the results of the matrix on the inputs that the sums are
of; experts, aliases, patterns, progressions, and files that do not fit."""

import gguf
import numpy as np
import pytest

from conftest import PRUNED, Type, prune, random_tensors, refused, run, tensors_of, weights_of, write_model
from grams import inputs, write_grams

COLUMNS = 256
METHODS = ("scores", "swaps", "sparsegpt", "swaps+refit", "swaps+exchange", "swaps+sparsegpt", "sparsegpt+refit")


@pytest.fixture
def grams(tmp_path):
    found = {PRUNED[0]: inputs(COLUMNS, seed=1), PRUNED[2]: inputs(COLUMNS, seed=2)}
    return write_grams(tmp_path / "grams", found, aliases={PRUNED[1]: PRUNED[0]})


INPUTS = {PRUNED[0]: 1, PRUNED[1]: 1, PRUNED[2]: 2}  # seeds


def errors(before, after):
    """{tensor: squared error of its results over that of a matrix of zeros}"""
    before, after = tensors_of(before), tensors_of(after)
    found = {}
    for name, seed in INPUTS.items():
        x, w, v = inputs(COLUMNS, seed=seed), weights_of(before[name]), weights_of(after[name])
        found[name] = np.square(x @ (w - v).T).sum() / np.square(x @ w.T).sum()
    return found


@pytest.mark.parametrize("kind", [Type.F32, Type.F16, Type.BF16, Type.Q8_0], ids=lambda kind: kind.name)
def test_methods(tmp_path, model, grams, kind):
    before, results = model(kind), {}
    for method in METHODS:
        told = prune(before, tmp_path / "out.gguf", "--gram", grams, "--method", method, "--share", 0.6, "--force")
        assert "3 of 5 matrices pruned" in told and "left as they are: token_embd" in told
        for name, tensor in tensors_of(tmp_path / "out.gguf").items():
            zeros = (weights_of(tensor) == 0).sum(axis=-1)
            if name in PRUNED:
                assert tensor.tensor_type == kind and (zeros >= round(0.6 * COLUMNS)).all()
                assert zeros.mean() < 0.6 * COLUMNS + (4 if kind == Type.Q8_0 else 1)
            elif kind != Type.Q8_0:
                assert not zeros.any()
        results[method] = errors(before, tmp_path / "out.gguf")
    for name in PRUNED:
        e = {method: results[method][name] for method in METHODS}
        assert e["swaps"] < 0.97 * e["scores"] and e["sparsegpt"] < 0.9 * e["scores"]
        assert e["swaps+refit"] < 0.95 * e["swaps"] and e["swaps+sparsegpt"] < e["swaps"]
        assert e["sparsegpt+refit"] < e["sparsegpt"] and e["swaps+exchange"] < 0.97 * e["swaps+refit"], e


def with_zeros():
    """In 16 rows more zeros than a half, all on the left; in 16 fewer, anywhere; in 16 none."""
    tensors, rng = random_tensors(), np.random.default_rng(9)
    for name in PRUNED:
        tensors[name][:16, :148] = 0
        tensors[name][16:32][rng.random((16, COLUMNS)) < 0.3] = 0
    return tensors


@pytest.mark.parametrize("method", ["exchange", *METHODS])
def test_zeros_that_are_there_count_and_stay(tmp_path, grams, method):
    for kind in (Type.F32, Type.Q8_0):
        before = write_model(tmp_path / "in.gguf", with_zeros(), kind)
        if kind == Type.Q8_0:  # as a quantizer may write it that leaves the largest codes out
            reader = gguf.GGUFReader(before, "r+")
            for tensor in reader.tensors:
                if tensor.name in PRUNED:
                    tensor.data.reshape(-1, 34)[:, 2:] = (tensor.data.reshape(-1, 34)[:, 2:].view(np.int8) // 2).view(
                        np.uint8)
            reader.data.flush()
            del reader, tensor
        prune(before, tmp_path / "out.gguf", "--gram", grams, "--method", method, "--force")
        old, new = tensors_of(before), tensors_of(tmp_path / "out.gguf")
        for name in PRUNED:
            w, v = weights_of(old[name]), weights_of(new[name])
            assert np.array_equal(old[name].data[:16], new[name].data[:16]) and (v[w == 0] == 0).all()
            zeros = (v == 0).sum(axis=1)[16:]
            assert (zeros == COLUMNS // 2).all() if kind == Type.F32 else zeros.max() < COLUMNS // 2 + 8, zeros


@pytest.mark.parametrize("method", ["sparsegpt", "exchange", "swaps+refit"])
def test_zeros_count_and_stay_within_patterns(tmp_path, grams, method):
    before = write_model(tmp_path / "in.gguf", with_zeros(), Type.F32)
    prune(before, tmp_path / "out.gguf", "--gram", grams, "--method", method, "--pattern", "2:4")
    for name in PRUNED:
        w, v = (weights_of(tensors_of(path)[name]).reshape(-1, 4) for path in (before, tmp_path / "out.gguf"))
        zeros = (w == 0).sum(axis=1)
        assert (v[w == 0] == 0).all() and ((v == 0).sum(axis=1) == np.maximum(zeros, 2)).all()


def test_scores_are_those_of_an_imatrix(tmp_path, model, grams):
    from test_choice import write_gguf
    means = {name: np.square(inputs(COLUMNS, seed=seed)).mean(axis=0) for name, seed in INPUTS.items()}
    before = model(Type.F32)
    prune(before, tmp_path / "a.gguf", "--gram", grams, "--method", "scores")
    prune(before, tmp_path / "b.gguf", "--imatrix", write_gguf(tmp_path / "imatrix", means))
    for name in PRUNED:
        a, b = (weights_of(tensors_of(tmp_path / file)[name]) for file in ("a.gguf", "b.gguf"))
        assert ((a == 0) != (b == 0)).mean() < 1e-3  # but for scores that rounding makes equal


def test_magnitude_can_be_the_first_choice(tmp_path, model, grams):
    before = model(Type.F32)
    for magnitude in ([], ["--magnitude"]):
        prune(before, tmp_path / f"{len(magnitude)}.gguf", "--gram", grams, "--method", "scores", *magnitude,
              asks=True)
    prune(before, tmp_path / "plain.gguf")
    files = [tensors_of(tmp_path / f"{name}.gguf")[PRUNED[0]].data for name in ("0", "1", "plain")]
    assert np.array_equal(files[1], files[2]) and not np.array_equal(files[0], files[1])


@pytest.mark.parametrize("pattern, keep, group", [("2:4", 2, 4), ("4:8", 4, 8)])
def test_patterns(tmp_path, model, grams, pattern, keep, group):
    before, results = model(Type.BF16), {}
    for method in METHODS:
        prune(before, tmp_path / "out.gguf", "--gram", grams, "--method", method, "--pattern", pattern, "--force")
        for name in PRUNED:
            zero = weights_of(tensors_of(tmp_path / "out.gguf")[name]) == 0
            assert (zero.reshape(-1, group).sum(axis=1) >= group - keep).all()
        results[method] = sum(errors(before, tmp_path / "out.gguf").values())
    assert results["swaps+exchange"] < results["swaps+refit"] < results["swaps"] < results["scores"]
    assert results["sparsegpt"] < results["scores"]


def test_types_whose_weights_cannot_take_other_values(tmp_path, model, grams):
    before = model(Type.Q4_0)
    assert "--method swaps" in refused(before, before, tmp_path / "x", "--gram", grams)
    for method in ("scores", "swaps"):
        prune(before, tmp_path / f"{method}.gguf", "--gram", grams, "--method", method)
    scores, swapped = (sum(errors(before, tmp_path / f"{method}.gguf").values()) for method in ("scores", "swaps"))
    assert swapped < 0.97 * scores


def test_experts_have_sums_of_their_own(tmp_path):
    """The third has none, and is pruned by magnitude."""
    name = "blk.0.ffn_up_exps.weight"
    w = np.random.default_rng(4).standard_normal((3, 16, COLUMNS), dtype=np.float32)
    x = [inputs(COLUMNS, seed=7), inputs(COLUMNS, seed=8), None]
    before = write_model(tmp_path / "in.gguf", {name: w}, Type.F32)
    told = prune(before, tmp_path / "out.gguf", "--gram", write_grams(tmp_path / "grams", {name: x}))
    assert "no inputs at all" in told and name in told
    v = weights_of(tensors_of(tmp_path / "out.gguf")[name])
    for i in range(2):
        own, other = (np.square(part @ (w[i] - v[i]).T).sum() / np.square(part @ w[i].T).sum() for part in (x[i],
                                                                                                     x[1 - i]))
        assert own < 0.75 * other
    assert ((v == 0).sum(axis=2) == COLUMNS // 2).all()
    kept = np.sort(np.abs(w[2]), axis=1)[:, COLUMNS // 2:]
    assert np.array_equal(np.sort(np.abs(v[2]), axis=1)[:, COLUMNS // 2:], kept)


def test_rows_that_hold_no_numbers_are_left_to_their_scores(tmp_path, grams):
    tensors = random_tensors()
    w = tensors[PRUNED[0]]
    w[3, 5], w[4, 6] = np.nan, -np.inf
    before = write_model(tmp_path / "in.gguf", tensors, Type.F32)
    told = prune(before, tmp_path / "out.gguf", "--gram", grams)
    assert f"NaN or infinite in {PRUNED[0]} (2)" in told
    v = weights_of(tensors_of(tmp_path / "out.gguf")[PRUNED[0]])
    assert np.isnan(v[3, 5]) and v[4, 6] == -np.inf and np.isfinite(np.delete(v, [3, 4], axis=0)).all()
    assert ((v == 0).sum(axis=1) == COLUMNS // 2).all()
    kept = np.isfinite(w) & (v != 0)
    assert np.array_equal(v[3][kept[3]], w[3][kept[3]]) and not np.array_equal(v[5][kept[5]], w[5][kept[5]])


def test_progression(tmp_path):
    rng = np.random.default_rng(8)
    tensors = {f"blk.{i}.ffn_up.weight": rng.standard_normal((8, 200), dtype=np.float32) for i in range(5)}
    before = write_model(tmp_path / "in.gguf", tensors, Type.F32)
    prune(before, tmp_path / "out.gguf", "--share", 0.5, "--progression", 0.2)
    after = tensors_of(tmp_path / "out.gguf")
    assert [(weights_of(after[name]) == 0).mean() for name in tensors] == [0.3, 0.4, 0.5, 0.6, 0.7]
    assert "-0.10" in refused(before, before, tmp_path / "x", "--share", 0.1, "--progression", 0.2)
    # Shares of a file's own count, whatever the progression would give these tensors.
    (tmp_path / "shares").write_text("blk.[01] 0.25\n")
    prune(before, tmp_path / "own.gguf", "--share", 0.1, "--progression", 0.2, "--shares", tmp_path / "shares")
    own = tensors_of(tmp_path / "own.gguf")
    assert [(weights_of(own[name]) == 0).mean() for name in tensors] == [0.25, 0.25, 0.1, 0.2, 0.3]
    for more in (["--pattern", "2:4"], ["--scope", "model"]):
        assert run(before, tmp_path / "x", "--progression", 0.1, *more).returncode == 2


def test_few_tokens_are_named(tmp_path, model):
    few = write_grams(tmp_path / "few", {name: inputs(COLUMNS, tokens=40) for name in PRUNED})
    told = prune(model(), tmp_path / "out.gguf", "--gram", few)
    assert f"fewer inputs than weights in a row for {PRUNED[0]} (40)" in told
    for name in PRUNED:
        assert np.isfinite(weights_of(tensors_of(tmp_path / "out.gguf")[name])).all()


def test_files_that_do_not_fit(tmp_path, model, grams):
    before = model()
    assert PRUNED[2] in refused(before, before, tmp_path / "x", "--gram",
                                write_grams(tmp_path / "g", {PRUNED[0]: inputs(COLUMNS), PRUNED[1]: inputs(COLUMNS)}))
    assert "192" in refused(before, before, tmp_path / "x", "--gram",
                            write_grams(tmp_path / "g", {name: inputs(192) for name in PRUNED}))
    assert "experts" in refused(before, before, tmp_path / "x", "--gram",
                                write_grams(tmp_path / "g", {name: [inputs(COLUMNS)] for name in PRUNED}))
    experts = write_model(tmp_path / "experts.gguf", {PRUNED[1]: np.ones((3, 4, COLUMNS), np.float32)}, Type.F32)
    for n in ("2", "4", "many"):
        other = write_grams(tmp_path / "g", {PRUNED[1]: [inputs(COLUMNS, 9)] * 2}, **{f"{PRUNED[1]}.experts": n})
        sentence = refused(experts, experts, tmp_path / "x", "--gram", other)
        assert f"is of {n} experts" in sentence and "the model has 3" in sentence or n == "many", sentence
    whole = grams.read_bytes()
    for broken in (b"", whole[:100], whole[:len(whole) // 2]):
        (tmp_path / "g").write_bytes(broken)
        assert "no file of Gram matrices" in refused(before, before, tmp_path / "x", "--gram", tmp_path / "g")
    assert "cannot be read" in refused(before, before, tmp_path / "x", "--gram", tmp_path / "nowhere")
    assert "never overwritten" in refused(grams, before, grams, "--gram", grams, "--force")
    for more in (["--method", "guess"], ["--scope", "model"], ["--imatrix", grams]):
        assert run(before, tmp_path / "x", "--gram", grams, *more, asks=True).returncode == 2
    assert run(before, tmp_path / "x", "--method", "swaps").returncode == 2
    for method in ("refit+swaps", "exchange+swaps+refit", "swaps+swaps", "refit+sparsegpt"):
        result = run(before, tmp_path / "x", "--gram", grams, "--method", method)
        assert result.returncode == 2 and "can only be the first step" in result.stderr
