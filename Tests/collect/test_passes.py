"""Several passes over a text, matrices that share their inputs, and what does not belong together."""

import re

import numpy as np
import pytest

from conftest import Session, activations, is_close

LAYERS = 3


def text(session, seed=0, batches=2, tokens=300, model=0, factor=1.0, k=96):
    """The products of a small model: the script's lines, and the inputs of each weight."""
    lines, seen = ["threads 2"], {}
    for batch in range(batches):
        for layer in range(LAYERS):
            x = activations(100 * seed + 10 * batch + layer, tokens, k) * np.float32(factor)
            h = activations(100 * seed + 10 * batch + layer + 5, tokens, 160)
            lines += [session.x(1, x), session.x(2, h)]
            for name, number, columns in (("attn_q", 1, k), ("attn_k", 1, k), ("ffn_down", 2, 160)):
                lines.append(f"product blk.{layer}.{name}.weight {model} {columns} 1 {number}")
                seen.setdefault(f"blk.{layer}.{name}.weight", []).append(x if number == 1 else h)
    return lines, {name: np.concatenate(parts) for name, parts in seen.items()}


@pytest.mark.parametrize("limit, passes", [
    ({"MATRICES": 1}, 6), ({"MATRICES": 4}, 2), ({"MATRICES": 6}, 1), ({}, 1), ({"MEMORY": 1}, 3), ({"MEMORY": 2}, 2),
])
def test_passes(session, limit, passes):
    lines, seen = text(session)
    limit = {f"SPARAMX_COLLECT_{name}": value for name, value in limit.items()}
    for number in range(1, passes + 1):
        said = session.run(lines, **limit)
        assert f"pass {number} of {passes}" in said[0] and f"pass {number} of {passes}" in said[-1]
        grams = session.grams()
        assert said[-1].endswith("which is all" if number == passes else "run the same command again")
        assert f"the inputs of {len(grams.names())} of {3 * LAYERS} matrices" in said[-1]
        assert grams.missing == 3 * LAYERS - len(grams.names())
        for name in grams.names():
            assert is_close(grams.gram(name), seen[name]) and grams.count(name) == 600
    assert grams.names() == sorted(seen) and session.left() == []
    assert [grams.source(f"blk.{layer}.attn_k.weight") for layer in range(LAYERS)] == [
        f"blk.{layer}.attn_q.weight" for layer in range(LAYERS)]
    before = session.file.read_bytes()
    said = session.run(lines, **limit)
    assert len(said) == 1 and "is complete, with 9 matrices: nothing is left to collect" in said[0]
    assert session.file.read_bytes() == before


def test_threads_do_not_race(programs, tmp_path):
    """Also where the inputs of an earlier pass are only measured."""
    session = Session(programs, tmp_path, "thread")
    lines, seen = text(session, batches=1)
    for _ in range(2):
        session.run(lines, SPARAMX_COLLECT_MATRICES=3)
    assert session.grams().names() == sorted(seen)


def test_warm_up_is_not_counted(session):
    warm, _ = text(session, seed=7, batches=1, tokens=2)
    lines, seen = text(session)
    said = session.run(warm + lines, SPARAMX_COLLECT_MATRICES=3)
    assert "pass 1 of 2" in said[0]
    session.run(warm + lines, SPARAMX_COLLECT_MATRICES=3)
    for name, x in seen.items():
        assert is_close(session.grams().gram(name), x)
    assert session.grams().tokens == 600


def test_what_is_left_out(session):
    x = session.x(1, activations(0, 50, 96))
    said = session.run([x, "f16 2 96 50 1 " + x.split()[-1], "product a.weight 0 96 1 1", "attention kq 96 1",
                        "product blk.0.ffn_gate_inp.weight 0 96 1 1", "product blk.0.a.weight.lora_a 0 96 1 1",
                        "product b.weight 0 96 1 2", "product output.weight 0 96 1 1"], SPARAMX_LEAVE="^output")
    assert session.grams().names() == ["a.weight"]
    assert sorted(line for line in said if line.startswith("not collected")) == [
        "not collected (SPARAMX_LEAVE names it): output.weight",
        "not collected (it belongs to an adapter): blk.0.a.weight.lora_a",
        "not collected (it chooses the experts: small, and it stays exact): blk.0.ffn_gate_inp.weight",
        "not collected (its inputs are no float32): b.weight"]


def test_long_lists_of_what_is_left_out(session):
    lines = [session.x(1, activations(0, 50, 96)), "product a.weight 0 96 1 1"]
    lines += [f"product blk.{i}.ffn_gate_inp.weight 0 96 1 1" for i in range(12)]
    assert session.run(lines)[-1].endswith("blk.4.ffn_gate_inp.weight, blk.5.ffn_gate_inp.weight and 4 others")


def refused(session, lines, status=0, at_once=False, **environment):
    """Nothing is written, for one reason that is said at the end. at_once: and after the first batch."""
    before = session.file.read_bytes() if session.file.exists() else None
    said = session.run(lines, status=status, **environment)
    assert (session.file.read_bytes() if session.file.exists() else None) == before and session.left() == []
    told = [line for line in said if "was not written: " in line]
    assert len(told) == 1, said
    assert not at_once or any(line.endswith(". Nothing more is collected") for line in said)
    return told[0].split("was not written: ")[1]


OTHER = "was begun with another model, text or setting"


def test_another_text_or_model(session):
    lines, seen = text(session)
    session.run(lines, SPARAMX_COLLECT_MATRICES=2)
    for other in (text(session, seed=1), text(session, factor=1.001), text(session, tokens=299)):
        assert OTHER in refused(session, other[0], at_once=True)
    for other in (text(session, batches=3), text(session, batches=1)):
        assert OTHER in refused(session, other[0])
    wider, _ = text(session, k=97)
    assert "of another model, in which blk.0.attn_q.weight has other dimensions" in refused(session, wider)
    several = [line.replace("weight 0 96 1", "weight 0 96 3").replace(" 96 300 1 ", " 96 100 3 ") for line in lines]
    assert "in which blk.0.attn_q.weight has other dimensions" in refused(session, several)
    assert OTHER in refused(session, [*lines, *text(session, seed=3, batches=1)[0][1:]])  # the same, and more
    session.run(lines)
    assert all(is_close(session.grams().gram(name), x) for name, x in seen.items())


def test_two_models_in_one_process(session):
    lines, _ = text(session)
    assert "two models in this process that have a matrix blk.0.attn_q.weight" in refused(
        session, lines + text(session, model=1)[0])


def test_inputs_that_are_no_longer_shared(session):
    x = [session.x(1, activations(0, 50, 96)), session.x(2, activations(1, 50, 96))]
    both = ["product a.weight 0 96 1 1", "product b.weight 0 96 1 1"]
    why = refused(session, [*x, *both, "product a.weight 0 96 1 1", "product b.weight 0 96 1 2"])
    assert "b.weight had the inputs of a.weight and now has others" in why
    # And never shared, although they were the same tensor at another time.
    session.run([*x, "product a.weight 0 96 1 1", "product a.weight 0 96 1 2", "product b.weight 0 96 1 1"])
    assert session.grams().source("b.weight") == "b.weight"
    # Nor in another batch, in whose memory the host has put other numbers.
    session.file.unlink()
    session.run([*x, "product a.weight 0 96 1 1", "product c.weight 0 96 1 2", "product c.weight 0 96 1 2",
                 "product b.weight 0 96 1 1"])
    assert session.grams().source("b.weight") == "b.weight"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e19])
@pytest.mark.parametrize("place", [(0, 0), (77, 95)])
def test_no_numbers(session, value, place):
    x = activations(0, 100, 96)
    x[place] = value
    why = refused(session, ["threads 2", session.x(1, x), "product a.weight 0 96 1 1"])
    assert why == ("the inputs of a.weight are too large: their squares add up to more than float32 can hold"
                   if value == 3e19 else "the inputs of a.weight hold NaN or infinity")
    # Also where an earlier pass has the sums.
    x[place] = 0
    session.run([session.x(1, x), "product a.weight 0 96 1 1", session.x(2, x), "product b.weight 0 96 1 2"],
                SPARAMX_COLLECT_MATRICES=1)
    x[place] = value
    assert why in refused(session, [session.x(1, x), "product a.weight 0 96 1 1", session.x(2, x),
                                    "product b.weight 0 96 1 2"])


def test_host_that_fails(session):
    lines, _ = text(session)
    assert refused(session, [*lines, "exit 3"], status=3) == "the host ended with status 3"


def test_nothing_to_see(session):
    assert refused(session, []) == "the host computed no product of a weight on this CPU"
    warm, _ = text(session, batches=1, tokens=2)
    assert refused(session, warm) == "the host computed no text"


def test_what_comes_in_a_later_batch(session):
    """A host that asks for no results in its first batch does not compute the output matrix there."""
    x, h = activations(0, 50, 96), activations(1, 50, 160)
    lines = [session.x(1, x), session.x(2, h), "product a.weight 0 96 1 1", "product a.weight 0 96 1 1",
             "product output.weight 0 160 1 2"]
    session.run(lines, SPARAMX_COLLECT_MATRICES=1)
    assert session.grams().missing == 1
    assert session.run(lines, SPARAMX_COLLECT_MATRICES=1)[-1].endswith("which is all")
    assert is_close(session.grams().gram("output.weight"), h) and session.grams().missing == 0


def test_what_an_earlier_pass_left_out(session):
    """It has the inputs of a matrix with sums of its own, and cannot stand for these now."""
    lines, seen = text(session)
    session.run(lines, SPARAMX_LEAVE="attn_q")
    assert OTHER in refused(session, lines)
    grams = session.grams()
    assert grams.names() == sorted(name for name in seen if "attn_q" not in name)
    assert all(is_close(grams.gram(name), seen[name]) for name in grams.names())


def test_forked_children_write_nothing(session):
    lines, seen = text(session)
    for at in (6, 20):
        said = session.run([*lines[:at], "fork", *lines[at:]])
        assert [re.search("collecting|has|not written", line)[0] for line in said] == ["collecting", "has"]
        assert session.grams().tokens == 600 and session.grams().missing == 0
        session.file.unlink()


def test_two_processes(session):
    lines, _ = text(session)
    session.run(lines, SPARAMX_COLLECT_MATRICES=2)
    said = session.run([*lines, f"write {session.file}"])
    assert "was not written: another process has written it meanwhile" in said[-1]
    assert session.file.read_text() == "something else"
