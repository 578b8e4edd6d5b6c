"""A GPT-2 of packed weights beside the same in float64, and rows that grow in it."""

import os
import subprocess
import sys
import threading
from dataclasses import dataclass

import numpy as np
import pytest

from aigc_sdk.errors import ContextOverflow, InputError
from aigc_sdk_kernels import PRECISIONS, Affine, Block, Matrix, Network, Norm, Rows, available, paths

pytestmark = pytest.mark.skipif(not available(), reason=available().reason)
PATHS = paths() if available() else ()
CLOSE = {"float32": 2e-5, "bfloat16": 0.1, "int8": 0.25}  # of the logits' deviation, for the random weights below


@dataclass
class Weights:
    """Random, and large enough that every part of the network shows in the logits."""

    layers: int = 2
    width: int = 36
    inner: int = 90
    heads: int = 3
    vocabulary: int = 101
    context: int = 96

    def __post_init__(self):
        draw = np.random.default_rng(self.width)

        def normal(*shape):
            return draw.normal(size=shape).astype(np.float32) * np.float32(0.3)

        def norm():
            return Norm(1 + normal(self.width), normal(self.width), 1e-5)

        def affine(inputs, outputs):
            return Affine(normal(inputs, outputs), normal(outputs))

        self.blocks = [
            Block(
                (norm(), norm()),
                affine(self.width, 3 * self.width),
                affine(self.width, self.width),
                affine(self.width, self.inner),
                affine(self.inner, self.width),
                (self.width / self.heads) ** -0.5,
            )
            for _ in range(self.layers)
        ]
        self.tokens, self.positions = normal(self.vocabulary, self.width), normal(self.context, self.width)
        self.norm, self.head = norm(), normal(self.width, self.vocabulary)

    def network(self, **options):
        return Network(
            self.blocks,
            tokens=self.tokens,
            positions=self.positions,
            norm=self.norm,
            head=self.head,
            heads=self.heads,
            **options,
        )

    def logits(self, tokens):
        """After every token, in float64."""
        x = self.tokens[tokens].astype(np.float64) + self.positions[: len(tokens)]
        later = np.triu(np.full((len(tokens), len(tokens)), -np.inf), 1)
        for block in self.blocks:
            qkv = _normed(x, block.norms[0]) @ block.qkv.weight + block.qkv.bias
            query, keys, values = qkv.reshape(len(x), 3, self.heads, -1).transpose(1, 2, 0, 3)
            scores = query @ keys.transpose(0, 2, 1) * block.scaling + later
            shares = np.exp(scores - scores.max(-1, keepdims=True))
            mixed = shares / shares.sum(-1, keepdims=True) @ values
            x = x + mixed.transpose(1, 0, 2).reshape(x.shape) @ block.mix.weight + block.mix.bias
            wide = _normed(x, block.norms[1]) @ block.widen.weight + block.widen.bias
            wide = wide * 0.5 * (1 + np.tanh(np.sqrt(2 / np.pi) * (wide + 0.044715 * wide**3)))
            x = x + wide @ block.narrow.weight + block.narrow.bias
        return _normed(x, self.norm) @ self.head


def _normed(x, norm):
    apart = x - x.mean(-1, keepdims=True)
    return apart / np.sqrt((apart**2).mean(-1, keepdims=True) + norm.epsilon) * norm.weight + norm.bias


def drawn(vocabulary, *lengths, seed=0):
    draw = np.random.default_rng(seed)
    return [draw.integers(0, vocabulary, length) for length in lengths]


def read(network, sequences, **options):
    rows = Rows(network)
    rows.add([len(each) for each in sequences])
    return rows.forward(np.concatenate(sequences), [len(each) for each in sequences], **options)


SHAPES = [
    Weights(),
    Weights(layers=1, width=64, inner=256, heads=1, vocabulary=257),
    Weights(width=80, heads=2, inner=33),
]


@pytest.mark.parametrize("weights", SHAPES, ids=lambda each: f"{each.heads}x{each.width // each.heads}")
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("path", PATHS)
def test_logits_after_every_token_of_ragged_rows_are_those_of_float64(weights, precision, path):
    sequences = drawn(weights.vocabulary, 1, 33, 16, 96, 5)
    made = read(weights.network(precision=precision, path=path), sequences, every=True)
    expected = np.concatenate([weights.logits(each) for each in sequences])
    assert np.abs(made - expected).max() < CLOSE[precision] * expected.std() * 4
    assert np.abs(made - expected).mean() < CLOSE[precision] * expected.std() / 2


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("path", PATHS)
def test_no_bit_depends_on_other_rows_on_threads_or_on_how_the_tokens_came(precision, path):
    weights = SHAPES[0]
    network = weights.network(precision=precision, path=path)
    sequences = drawn(weights.vocabulary, 40, 7, 23, 18, 31)
    together = read(network, sequences, every=True, threads=2)
    alone = np.concatenate([read(network, [each], every=True) for each in sequences])
    assert (together == alone).all()
    rows = Rows(network)
    rows.add([1])
    steps = [rows.forward(sequences[0][place : place + 1], [1]) for place in range(40)]
    assert (np.concatenate(steps) == together[:40]).all()
    assert (read(network, sequences)[1] == together[46]).all()


def test_more_tokens_than_go_through_the_layers_at_once():
    weights = Weights(layers=1, width=32, inner=32, heads=2, context=700)
    network = weights.network()
    long, short, longer = drawn(weights.vocabulary, 500, 30, 650)
    made = read(network, [long, short, longer], threads=2)
    for row, each in zip(made, (long, short, longer), strict=True):
        assert (read(network, [each])[0] == row).all()
        assert np.abs(row - weights.logits(each)[-1]).max() < 1e-3


@pytest.mark.parametrize("precision", PRECISIONS)
def test_rows_that_join_grow_forget_fork_and_leave_are_as_if_read_afresh(precision):
    weights = SHAPES[0]
    network = weights.network(precision=precision)
    draw = np.random.default_rng(1)
    rows, held = Rows(network), []
    for turn in range(120):
        kind = draw.integers(5) if held else 0
        if kind == 0 and len(held) < 8:
            new = drawn(weights.vocabulary, *draw.integers(1, 20, draw.integers(1, 4)), seed=turn)
            rows.add([len(each) + int(draw.integers(20)) for each in new])
            made = rows.forward(np.concatenate(new), [len(each) for each in new], first=len(held))
            held += [list(each) for each in new]
            assert (made == [read(network, [np.array(each)])[0] for each in held[-len(new) :]]).all()
        elif kind == 1:
            counts = [int(draw.integers(len(each))) for each in held]
            rows.rewind(counts)
            held = [each[: len(each) - count] for each, count in zip(held, counts, strict=True)]
        elif kind == 2:
            order = [int(each) for each in draw.integers(len(held), size=draw.integers(1, 6))]
            rows.select(order)
            held = [list(held[each]) for each in order]
        else:
            counts = [int(min(draw.integers(5), weights.context - len(each))) for each in held]
            more = drawn(weights.vocabulary, *counts, seed=turn)
            made = rows.forward(np.concatenate(more), counts, every=True, threads=2)
            held = [[*each, *new] for each, new in zip(held, more, strict=True)]
            pairs = [(each, count) for each, count in zip(held, counts, strict=True) if count]
            fresh = [read(network, [np.array(each)], every=True)[-count:] for each, count in pairs]
            assert (made == np.concatenate(fresh)).all() if fresh else len(made) == 0
        assert rows.lengths == [len(each) for each in held]


def test_damaged_weights_show_as_nan_in_their_own_way_and_leave_the_next_rows_clean():
    weights = SHAPES[0]
    network = weights.network(precision="int8")
    sequences = drawn(weights.vocabulary, 9, 12)
    clean = read(network, sequences)
    weights.tokens[5, 3], kept = np.nan, weights.tokens[5, 3]
    broken = read(network, [np.array([5, 5]), sequences[1][sequences[1] != 5]])
    assert np.isnan(broken[0]).all()
    assert np.isfinite(broken[1]).all()
    weights.tokens[5, 3] = kept
    assert (read(network, sequences) == clean).all()


@pytest.mark.parametrize(
    ("error", "says", "call"),
    [
        (InputError, "token 101", lambda rows: rows.forward(np.array([101]), [1])),
        (InputError, "token -1", lambda rows: rows.forward(np.array([-1]), [1])),
        (InputError, "2 counts", lambda rows: rows.forward(np.array([1, 2]), [1, 1])),
        (InputError, "counts", lambda rows: rows.forward(np.array([1]), [2])),
        (InputError, "counts", lambda rows: rows.forward(np.array([1]), [-1])),
        (InputError, "forget 4", lambda rows: rows.rewind([4])),
        (InputError, "forget -1", lambda rows: rows.rewind([-1])),
        (InputError, "2 counts", lambda rows: rows.rewind([1, 1])),
        (InputError, "no row 1", lambda rows: rows.select([1])),
        (InputError, "no row -1", lambda rows: rows.select([-1])),
        (InputError, "room=0", lambda rows: rows.add([0])),
        (ContextOverflow, "1 more", lambda rows: rows.add([97])),
        (ContextOverflow, "2 more", lambda rows: rows.forward(np.zeros(95, int), [95])),
        (InputError, "threads=0", lambda rows: rows.forward(np.array([1]), [1], threads=0)),
    ],
)
def test_calls_that_cannot_be_done_are_refused_and_change_nothing(error, says, call):
    rows = Rows(SHAPES[0].network())
    rows.add([10])
    rows.forward(np.array([1, 2, 3]), [3])
    with pytest.raises(error, match=says):
        call(rows)
    assert rows.lengths == [3]
    after = rows.forward(np.array([4]), [1])
    assert (after == read(rows.network, [np.array([1, 2, 3, 4])])).all()


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("heads", lambda each: setattr(each, "heads", 5)),
        ("head", lambda each: setattr(each, "head", each.head.T)),
        ("positions", lambda each: setattr(each, "positions", each.positions[:, 1:])),
        ("blocks[1].narrow.weight", lambda each: each.blocks.__setitem__(1, _narrower(each.blocks[1]))),
        ("blocks", lambda each: setattr(each, "blocks", [])),
    ],
)
def test_weights_that_do_not_belong_together_are_refused_by_name(field, change):
    weights = Weights()
    change(weights)
    with pytest.raises(InputError) as caught:
        weights.network()
    assert caught.value.field == field


def _narrower(block):
    return block._replace(narrow=Affine(block.narrow.weight[1:], block.narrow.bias))


def test_two_networks_in_two_threads_compute_as_in_one():
    networks = [each.network(precision="int8") for each in SHAPES[:2]]
    sequences = [drawn(each.vocabulary, 30, 60) for each in SHAPES[:2]]
    alone = [read(*each) for each in zip(networks, sequences, strict=True)]
    found = [[], []]

    def work(which):
        for _ in range(60):
            found[which].append(read(networks[which], sequences[which], threads=2))

    threads = [threading.Thread(target=work, args=(which,)) for which in (0, 1)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    for which in (0, 1):
        assert len(found[which]) == 60
        assert all((each == alone[which]).all() for each in found[which])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_computes_on_threads_of_its_own():
    program = """
import os, sys
import numpy as np
from aigc_sdk_kernels import Matrix
packed, x = Matrix(np.ones((64, 640), np.float32)), np.ones((40, 64), np.float32)
before = packed(x, threads=3)
child = os.fork()
if child == 0:
    os._exit(0 if (packed(x, threads=3) == before).all() else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert subprocess.run([sys.executable, "-c", program], timeout=60).returncode == 0


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="needs /proc")
def test_memory_stays_flat_over_thousands_of_rows():
    weights = SHAPES[0]
    network = weights.network()
    [tokens] = drawn(weights.vocabulary, 60)

    def some():
        for turn in range(1000):
            rows = Rows(network)
            rows.add([60, 60 + turn % 30])
            rows.forward(np.concatenate([tokens, tokens]), [60, 60])
            rows.select([1, 1, 0])

    some()
    before = resident()
    some()
    assert resident() - before < 8 << 20


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="needs /proc")
def test_networks_matrices_and_rows_give_their_memory_back():
    weights = Weights(layers=1, width=512, inner=4096, heads=8)

    def some():
        network = weights.network()  # 21 MB
        rows = Rows(network)
        rows.add([96] * 64)  # 33 MB
        rows.forward(np.zeros(64, int), [1] * 64)
        Matrix(weights.blocks[0].widen.weight)  # 8 MB

    some()
    before = resident()
    for _ in range(8):
        some()
    assert resident() - before < 48 << 20
