"""What sparamx-explain says is taken is what the plugin takes, in all architectures that the host makes a model of."""

import subprocess

import pytest

import build_host
from conftest import WORK, clean_environment, explain

LEAST = 110  # of the 128 models that the pinned host makes, those that it also loads again as BF16


@pytest.fixture(scope="module")
def architectures(linked):
    """A tiny model of each architecture in BF16: by the host's own test program, and by its quantizer from these."""
    folder = WORK / "architectures"
    made, complete = folder / "f32", folder / "complete"
    if not complete.exists():
        made.mkdir(parents=True, exist_ok=True)
        build_host.add_tools("linked", ["test-llama-archs"])
        result = subprocess.run([linked.bin / "test-llama-archs", "-o", made], env=clean_environment(),
                                capture_output=True, text=True)
        assert result.returncode == 0, result.stderr[-2000:]
        for path in sorted(made.glob("*.gguf")):
            target = folder / path.name
            subprocess.run([linked.bin / "llama-quantize", path, target, "BF16", "2"], env=clean_environment(),
                           capture_output=True)
            path.unlink()
        complete.touch()
    return sorted(folder.glob("*.gguf"))


@pytest.mark.parametrize("mode", ["inject", "accel"])
def test_explain_and_plugin_agree(linked, programs, architectures, mode):
    result = linked.run("host_checks", "placed", *architectures, SPARAMX_MODE=mode)
    assert result.returncode == 0, result.stderr[-2000:]
    compared, taken, wrong = 0, 0, []
    for line in result.stdout.splitlines():
        path, *names = line.split(" ")
        if names[:1] == ["not"]:
            continue
        compared += 1
        taken += len(names)
        said = {tensor["tensor"] for tensor in explain(programs, path)["tensors"] if tensor["taken"]}
        if said != set(names):
            wrong.append((path.rpartition("/")[2], "only said:", sorted(said - set(names)),
                          "only taken:", sorted(set(names) - said)))
    print(f"{compared} of {len(architectures)} architectures compared, {taken} weights taken, {len(wrong)} differ")
    assert not wrong, "\n".join(map(str, wrong))
    assert compared >= LEAST and taken > 10 * compared
