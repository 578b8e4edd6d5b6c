"""Products with packed matrices, on every path that this processor has, beside float64."""

import numpy as np
import pytest

from aigc_sdk.errors import InputError, OptionError
from aigc_sdk_kernels import Matrix, available, paths
from aigc_sdk_kernels.matrix import INPUT_LIMIT

pytestmark = pytest.mark.skipif(not available(), reason=available().reason)
PATHS = paths() if available() else ()
SIZES = [(1, 1), (7, 33), (64, 31), (131, 100), (256, 96)]  # inputs x outputs


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def bits(x):
    """float32 rounded to bfloat16, to the nearest and ties to even, as its bits."""
    whole = x.view(np.uint32)
    return ((whole + 0x7FFF + (whole >> 16 & 1)) >> 16).astype(np.uint16)


def rounded(x):
    return (bits(x).astype(np.uint32) << 16).view(np.float32)


def emulated_int8(x, weight):
    """The product in float64 over the same integers, and how much of it the choice of the nearest byte may move."""
    scale = np.abs(weight).max(0) / np.float32(127)
    whole = np.rint(weight / np.where(scale > 0, scale, 1)).astype(np.float64)
    low, high = np.minimum(x.min(1), 0), np.maximum(x.max(1), 0)
    step = ((high - low) / np.float32(255))[:, None].astype(np.float64)
    zero = np.floor(-low[:, None] / step + 0.5)
    codes = np.clip(np.rint(x / step) + zero, 0, 255)
    return (codes - zero) * step @ (whole * scale), step * np.abs(whole * scale).max(0)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("inputs", "outputs"), SIZES)
def test_float32_products_of_1_to_33_rows_are_those_of_float64(path, inputs, outputs):
    weight, bias = drawn(inputs, outputs), drawn(outputs, seed=1)
    packed = Matrix(weight, bias, path=path)
    for rows in range(1, 34):
        x = drawn(rows, inputs, seed=rows)
        expected = x.astype(np.float64) @ weight + bias
        assert np.abs(packed(x) - expected).max() <= 2e-6 * inputs**0.5 * (1 + np.abs(expected).max())


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("inputs", "outputs"), SIZES)
def test_bfloat16_products_are_those_of_the_rounded_numbers(path, inputs, outputs):
    weight, bias = drawn(inputs, outputs), drawn(outputs, seed=1)
    packed = Matrix(weight, bias, precision="bfloat16", path=path)
    for rows in range(1, 34):
        x = drawn(rows, inputs, seed=rows)
        expected = rounded(x).astype(np.float64) @ rounded(weight) + bias
        assert np.abs(packed(x) - expected).max() <= 2e-6 * inputs**0.5 * (1 + np.abs(expected).max())


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("inputs", "outputs"), SIZES)
def test_int8_products_are_those_of_the_same_integers_in_float64(path, inputs, outputs):
    weight = drawn(inputs, outputs)
    packed = Matrix(weight, precision="int8", path=path)
    for rows in range(1, 34):
        x = drawn(rows, inputs, seed=rows)
        expected, one_off = emulated_int8(x, weight)
        apart = np.abs(packed(x) - expected)
        assert (
            apart <= 1e-5 * (1 + np.abs(expected).max()) + 2.1 * one_off
        ).all()  # a number halfway between two bytes
        assert np.median(apart) <= 1e-5 * (1 + np.abs(expected).max())


@pytest.mark.parametrize(("inputs", "outputs"), SIZES)
def test_int8_sums_are_exact_so_that_all_paths_agree(inputs, outputs):
    weight, x = drawn(inputs, outputs), drawn(33, inputs, seed=1)
    first, *others = [Matrix(weight, precision="int8", path=path)(x) for path in PATHS]
    for other in others:
        np.testing.assert_allclose(other, first, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "int8"])
@pytest.mark.parametrize("path", PATHS)
def test_no_bit_of_a_row_depends_on_other_rows_or_on_threads(path, precision):
    packed = Matrix(drawn(100, 77), drawn(77, seed=1), precision=precision, path=path)
    x = drawn(150, 100, seed=2)
    together = packed(x, threads=3)
    assert (together == packed(x)).all()
    for count in (1, 2, 3, 7, 8, 9, 16, 17, 33, 65):
        assert (packed(x[:count]) == together[:count]).all()


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "int8"])
def test_a_vocabulary_of_50257_outputs(precision):
    weight, x = drawn(48, 50257), drawn(5, 48, seed=1)
    exact = x.astype(np.float64) @ weight
    made = Matrix(weight, precision=precision, threads=2)(x, threads=2)
    assert np.abs(made - exact).max() < {"float32": 1e-4, "bfloat16": 0.15, "int8": 0.6}[precision]
    assert np.abs(made[:, -17:] - exact[:, -17:]).max() < 0.6  # the last panel is not whole


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "int8"])
@pytest.mark.parametrize("path", PATHS)
def test_strides_and_bfloat16_bits_are_taken_as_they_lie(path, precision):
    weight = rounded(drawn(40, 50))
    plain = Matrix(weight, precision=precision, path=path)
    turned = Matrix(np.ascontiguousarray(weight.T).T, precision=precision, path=path)
    spread = Matrix(np.repeat(weight, 2, axis=0)[::2], precision=precision, path=path)
    halves = Matrix(bits(weight), precision=precision, path=path)
    x = drawn(3, 40, seed=1)
    assert (turned(x) == plain(x)).all()
    assert (spread(x) == plain(x)).all()
    assert (halves(x) == plain(x)).all()


@pytest.mark.parametrize("path", PATHS)
def test_int8_takes_rows_of_one_sign_of_zeros_and_of_extremes(path):
    weight = drawn(64, 32)
    weight[:, 3] = 0
    packed = Matrix(weight, precision="int8", path=path)
    x = np.stack([np.zeros(64), np.full(64, 5.0), np.full(64, -5.0), np.full(64, 1e-30), np.full(64, 1e30)])
    x = x.astype(np.float32)
    apart = np.abs(packed(x) - x.astype(np.float64) @ weight)
    greatest = np.abs(x).max(1, keepdims=True)
    assert (apart <= 64 * greatest * (1 / 255 + np.abs(weight).max() / 127)).all()
    assert (packed(x)[:, 3] == 0).all()


def test_int8_sums_of_the_most_inputs_do_not_overflow():
    weight = np.ones((INPUT_LIMIT, 1), np.float32)
    x = np.ones((1, INPUT_LIMIT), np.float32)
    for path in PATHS:
        assert Matrix(weight, precision="int8", path=path)(x)[0, 0] == pytest.approx(INPUT_LIMIT, rel=1e-5)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "int8"])
@pytest.mark.parametrize("path", PATHS)
def test_what_is_not_finite_stays_so_and_touches_no_other_row(path, precision, bad):
    weight, x = drawn(40, 50), drawn(20, 40, seed=1)
    packed = Matrix(weight, precision=precision, path=path)
    clean = packed(x)
    x[7, 11] = bad
    made = packed(x)
    assert not np.isfinite(made[7]).any()
    assert (np.delete(made, 7, 0) == np.delete(clean, 7, 0)).all()
    weight[3, 4] = bad
    made = Matrix(weight, precision=precision, path=path)(np.delete(x, 7, 0))
    assert not np.isfinite(made[:, 4]).any()
    assert (np.delete(made, 4, 1) == np.delete(np.delete(clean, 7, 0), 4, 1)).all()


@pytest.mark.parametrize(
    ("field", "call"),
    [
        ("weight", lambda: Matrix(drawn(4, 4).astype(np.float64))),
        ("weight", lambda: Matrix(drawn(4))),
        ("weight", lambda: Matrix(np.empty((0, 4), np.float32))),
        ("weight", lambda: Matrix(np.zeros((INPUT_LIMIT + 1, 1), np.float32), precision="int8")),
        ("bias", lambda: Matrix(drawn(4, 5), drawn(4))),
        ("x", lambda: Matrix(drawn(4, 5))(drawn(2, 5))),
        ("x", lambda: Matrix(drawn(4, 5))([[1.0] * 4])),
    ],
)
def test_arrays_that_do_not_fit_are_refused_by_name(field, call):
    with pytest.raises(InputError) as caught:
        call()
    assert caught.value.field == field
    assert field in str(caught.value)


@pytest.mark.parametrize(
    ("field", "given"), [("precision", "int4"), ("path", "avx1024"), ("path", ""), ("threads", 0), ("threads", 1.5)]
)
def test_options_that_are_not_there_are_refused_by_name(field, given):
    with pytest.raises(OptionError) as caught:
        Matrix(drawn(4, 5), **{field: given})
    assert caught.value.field == field
    assert repr(given) in str(caught.value)
