"""Products of packed matrices."""

import threading

import pytest
import torch
from conftest import pruned

from sparamx import Form, PackedMatrix, SparamxError, WeightType
from sparamx.packed import find
from sparamx.weights import NAMES, from_bytes, to_bytes

DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def pack(weight, weight_type=WeightType.BF16, form=Form.AUTO):
    return PackedMatrix(weight_type, *weight.shape, to_bytes(weight, weight_type), form)


@pytest.mark.parametrize("weight_type", list(NAMES.values()))
@pytest.mark.parametrize("form", (Form.DENSE, Form.SPARSE))
@pytest.mark.parametrize("dtype", DTYPES)
def test_products(weight_type, form, dtype):
    weight = pruned(70, 96, torch.float32)
    matrix = pack(weight, weight_type, form)
    held = from_bytes(matrix.read(), weight_type).double()
    bias = torch.randn(70).to(dtype)
    for tokens in (1, 3, 17):
        x = torch.randn(tokens, 96).to(dtype)
        y = matrix.apply(x, bias)
        exact = x.double() @ held.T + bias.double()
        # Activations of BF16 are rounded to bfloat16, those of quantized types to 8 bits.
        bound = (x.double().abs() @ held.abs().T) * 2**-6 + exact.abs() * 2**-7 + 1e-3
        assert y.dtype == dtype and y.shape == (tokens, 70)
        assert ((y.double() - exact).abs() <= bound).all()


def test_same_bits_with_any_number_of_threads():
    matrix, x = pack(pruned(200, 256, torch.bfloat16)), torch.randn(5, 256, dtype=torch.bfloat16)
    torch.set_num_threads(1)
    one = matrix.apply(x)
    for threads in (2, 3, 7):
        torch.set_num_threads(threads)
        assert torch.equal(matrix.apply(x), one)


def test_threads_of_python_at_once():
    matrix = pack(pruned(100, 256, torch.bfloat16))
    inputs = [torch.randn(m, 256, dtype=torch.bfloat16) for m in (1, 2, 9, 30)]
    wanted = [matrix.apply(x) for x in inputs]
    wrong = []

    def work(i):
        for _ in range(50):
            if not torch.equal(matrix.apply(inputs[i]), wanted[i]):
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("shape", ((64,), (1, 64), (0, 64), (2, 3, 64), (2, 0, 64), (2, 1, 4, 64)))
def test_shapes(shape):
    matrix, x = pack(pruned(10, 64, torch.bfloat16)), torch.randn(shape)
    y = matrix.apply(x)
    assert y.shape == (*shape[:-1], 10)
    assert torch.equal(y, matrix.apply(x.reshape(-1, 64)).reshape(y.shape))


def test_strides():
    matrix, base = pack(pruned(10, 64, torch.bfloat16)), torch.randn(8, 200)
    bias = torch.randn(20)[::2]
    for x in (base[:, 5:69], base[::2, :64], base.t()[:64, :].t(), base[:1, 3:67].expand(4, 64), base[:, :128:2],
              torch.randn(64, 1).t()):
        assert torch.equal(matrix.apply(x, bias), matrix.apply(x.clone(memory_format=torch.contiguous_format),
                                                               bias.clone()))


def test_bad_arguments():
    matrix = pack(pruned(10, 64, torch.bfloat16))
    for x, bias, word in ((torch.randn(3, 63), None, "last dimension has to be 64"), (torch.tensor(1.0), None, "shape"),
                          (torch.randn(3, 64).double(), None, "float64"), (torch.zeros(3, 64).int(), None, "int32"),
                          (torch.randn(3, 64), torch.randn(9), "10 outputs"),
                          (torch.randn(3, 64), torch.randn(10).double(), "float64"),
                          (torch.randn(3, 64, device="meta"), None, "meta")):
        with pytest.raises(ValueError, match=word):
            matrix.apply(x, bias)
    with pytest.raises(ValueError, match="no 3 rows"):
        PackedMatrix(WeightType.BF16, 3, 2, torch.zeros(13, dtype=torch.uint8))
    with pytest.raises(ValueError, match="uint8"):
        PackedMatrix(WeightType.BF16, 3, 2, torch.zeros(12))
    for n, k, numbers in ((0, 4, 0), (3, 0, 12), (3, 2**40, 12), (-1, 4, 8)):
        with pytest.raises(SparamxError) as error:
            PackedMatrix(WeightType.BF16, n, k, torch.zeros(numbers, dtype=torch.uint8))
        assert error.value.status in (10, 12, 16) and len(str(error.value)) > 20
    with pytest.raises(SparamxError):
        PackedMatrix(WeightType.BF16, 3, 4, torch.zeros(3 * 6, dtype=torch.uint8))  # rows too short
    with pytest.raises(SparamxError):
        PackedMatrix(99, 3, 4, torch.zeros(24, dtype=torch.uint8))


def test_memory_is_given_back():
    """What has been deleted is gone, and its key finds nothing."""
    key = pack(pruned(10, 64, torch.bfloat16)).key
    with pytest.raises(RuntimeError, match="gone"):
        find(key)
    weight = torch.zeros(4096, 4096, dtype=torch.bfloat16)

    def resident():
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * 4096

    pack(weight, form=Form.DENSE)
    before = resident()
    for _ in range(20):
        pack(weight, form=Form.DENSE)
    assert resident() - before < 3 * 32 << 20
