"""SPARAMX_FORM=coded: BF16 weights in fewer bits, the same text."""

import re

import pytest

from conftest import our_lines
from test_cache import settle

FORMS = (None, "auto", "coded")


def generate(linked, path, **environment):
    """The text, and what the plugin says."""
    result = linked.must_run("host_checks", "generate", path, 16, 2, 2, "mmap", **environment)
    return result.stdout, " ".join(our_lines(result.stderr))


def packed_size(said):
    return float(re.search(r"packed to ([0-9.]+) MB", said)[1])


@pytest.mark.parametrize("sparsity", [0.0, 0.5])
def test_same_text_in_fewer_bytes(linked, model, sparsity):
    path = model("bf16", sparsity)
    texts, said = zip(*(generate(linked, path, SPARAMX_FORM=form) for form in FORMS))
    assert len(set(texts)) == 1 and texts[0]
    assert said[0] == said[1] and "coded" not in said[0] and "15 coded" in said[2]
    assert packed_size(said[2]) < 0.85 * packed_size(said[0])


def test_other_types_stay(linked, model):
    path = model("q8_0")
    assert generate(linked, path, SPARAMX_FORM="coded") == generate(linked, path)


def test_each_form_has_its_cache(linked, model, tmp_path):
    path, folder = settle(model("bf16")), tmp_path / "cache"
    folder.mkdir(mode=0o700)
    for form in ("auto", "coded", None):  # written, and written anew
        text, said = generate(linked, path, SPARAMX_FORM=form, SPARAMX_CACHE=folder)
        again, mapped = generate(linked, path, SPARAMX_FORM=form, SPARAMX_CACHE=folder)
        assert text == again and "written to" in said and "mapped from" in mapped
        assert ("coded" in said) == (form == "coded") == ("coded" in mapped)
    assert "mapped from" in generate(linked, path, SPARAMX_FORM="auto", SPARAMX_CACHE=folder)[1]
