"""From files, strings and pairs to blocks of tokens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from aigc_sdk.errors import DataError
from aigc_sdk_gpt2.data import IGNORED, Blocks, Piece, documents, encode, instruction, train_tokenizer

BYTES = train_tokenizer([], 257, 64)  # one token per byte, so that tests can count
END = BYTES.eos_token_id


def text_of(ids: torch.Tensor) -> str:
    return str(BYTES.decode([each for each in ids.tolist() if each >= 0]))


def test_a_string_is_a_path_and_strings_in_a_list_are_texts(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("one\ntwo")
    assert list(documents(str(file))) == [(Piece("one\ntwo"),)]
    assert list(documents(["one", file])) == [(Piece("one"),), (Piece("one\ntwo"),)]


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfone")
    assert list(documents(tmp_path / "a.txt")) == [(Piece("one"),)]


def test_json_lines_hold_one_document_each(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text('{"text": "one\\u2028two"}\n\n"three"\n{"prompt": "p", "completion": "c"}\n')
    assert list(documents(file)) == [
        (Piece("one\u2028two"),),
        (Piece("three"),),
        (Piece("p", learned=False), Piece("c")),
    ]


def test_of_pairs_and_conversations_only_the_answers_are_learned() -> None:
    asked = instruction("Add.", "1 2")
    talk = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "Bye"},
        {"role": "assistant", "content": "See you"},
    ]
    pairs = [{"instruction": "Add.", "input": "1 2", "output": "3"}, {"messages": talk}]
    first, second = documents(pairs)
    assert first == (Piece(asked, learned=False), Piece("3"))
    assert [piece.text for piece in second if piece.learned] == ["Hello", "See you"]
    assert "".join(piece.text for piece in second).startswith("### User:\nHi\n\n### Assistant:\nHello")


def test_a_dataset_is_read_like_a_list_of_its_rows() -> None:
    datasets = pytest.importorskip("datasets")
    rows = [{"text": "one"}, {"text": "two"}]
    assert list(documents(datasets.Dataset.from_list(rows))) == list(documents(rows))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("empty.txt", b" \n", "is empty"),
        ("binary.txt", b"text\0more", "zero byte at offset 4"),
        ("latin.txt", "café".encode("latin-1"), "wrong byte at offset 3"),
        ("cut.jsonl", b'{"text": "a"}\n{"text": ', "cut.jsonl, line 2: not JSON"),
        ("odd.jsonl", b'{"text": "a"}\n{"body": "b"}', "line 2 is a dict of \\['body'\\]"),
        ("number.jsonl", b'{"text": 7}', "line 1 holds a int where text belongs"),
        ("hollow.jsonl", b'{"prompt": "p", "completion": ""}', "line 1 has no text to learn from"),
        ("deep.jsonl", b"[" * 100_000, "line 1: not JSON"),
        ("surrogate.jsonl", b'{"text": "a\\ud800"}', "lone surrogate at character 1"),
    ],
)
def test_a_file_that_is_no_use_is_refused_with_its_name_and_place(
    tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=said) as caught:
        list(documents(tmp_path / name))
    assert caught.value.field == "data"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("no/such/file.txt", "no file 'no/such/file.txt'; to train on a text itself"),
        ("a\0b", "cannot be read"),
        ("x" * 5000, "cannot be read"),
        (b"bytes", "data is a bytes"),
        (7, "data is a int"),
        ({"train": ["a"]}, "one split"),
        (["a", None], r"data\[1\] is a NoneType"),
        (["a", ""], r"data\[1\] has no text"),
        ([{"messages": "hello"}], r"data\[0\] is a dict"),
        ([{"messages": [{"role": "assistant", "content": None}]}], "where text belongs"),
        ([{"instruction": 3, "output": "x"}], r"data\[0\] holds a int where text belongs"),
    ],
)
def test_data_of_another_kind_is_refused_with_what_would_do(data: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        list(documents(data))


def test_a_folder_is_refused_with_what_to_pass_instead(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is a folder; pass its files: sorted"):
        list(documents(tmp_path))


def test_a_tokenizer_needs_an_end_of_text_token_and_data_some_text() -> None:
    bare = PreTrainedTokenizerFast(tokenizer_object=BYTES.backend_tokenizer)
    with pytest.raises(DataError, match="end-of-text"):
        encode([(Piece("a"),)], bare)
    with pytest.raises(DataError, match="holds no text"):
        encode([], BYTES)


def test_documents_become_one_stream_joined_by_end_of_text() -> None:
    tokens = encode([(Piece("ab"),), (Piece("p", learned=False), Piece("cd"))], BYTES)
    assert tokens.ids.tolist() == [*BYTES("ab")["input_ids"], END, *BYTES("pcd")["input_ids"], END]
    assert tokens.learned.tolist() == [True, True, True, False, True, True, True]
    assert tokens.ends.tolist() == [3, 7]
    assert tokens.size == 4


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text("abc", min_size=1, max_size=30), min_size=1, max_size=8), st.integers(2, 20))
def test_running_text_is_gone_through_once_per_pass_without_padding(texts: list[str], block: int) -> None:
    blocks = Blocks(encode([(Piece(each),) for each in texts], BYTES), block)
    inputs, targets = blocks.at(blocks.starts(np.arange(len(blocks))))
    assert (targets != IGNORED).all()
    assert (inputs[:, 1:] == targets[:, :-1]).all()
    seen = [each for _, row in blocks.once(3) for each in row.flatten().tolist() if each != IGNORED]
    stream = blocks.tokens.ids.tolist()
    assert seen == [*stream[1:], stream[0]]
    assert len(blocks) == -(-len(stream) // blocks.block)


def test_each_epoch_cuts_running_text_at_other_places_which_the_seed_decides() -> None:
    blocks = Blocks(encode([(Piece("abcdefghij" * 20),)], BYTES), 16)
    rows = np.arange(len(blocks))
    first, second, third = (blocks.starts(rows, epoch * len(blocks), seed=5) for epoch in range(3))
    assert first.tolist() == list(range(0, len(blocks.tokens.ids), 16))
    assert len({int(each[0]) % 16 for each in (first, second, third)}) > 1
    assert (blocks.starts(rows, len(blocks), seed=5) == second).all()
    apart = [blocks.starts(rows[:5], len(blocks) - 2, seed=5), blocks.starts(rows[2:5], len(blocks), seed=5)]
    assert apart[0][2:].tolist() == apart[1].tolist()


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.text("pq", min_size=1, max_size=12), st.text("ab", min_size=1, max_size=12)), min_size=1),
    st.integers(2, 24),
)
def test_every_answer_token_is_learned_exactly_once_and_no_prompt_token_is(
    pairs: list[tuple[str, str]], block: int
) -> None:
    found = list(documents([{"prompt": p, "completion": c} for p, c in pairs]))
    blocks = Blocks(encode(found, BYTES), block)
    inputs, targets = blocks.at(blocks.starts(np.arange(len(blocks))))
    assert "".join(text_of(row) for row in targets) == "".join(f"{c}<|endoftext|>" for _, c in pairs)
    assert blocks.targets(blocks.starts(np.arange(len(blocks)))) == int((targets != IGNORED).sum())
    learned = targets != IGNORED
    assert (inputs[:, 1:][learned[:, :-1]] == targets[:, :-1][learned[:, :-1]]).all()


def test_a_pair_that_fits_into_a_row_is_never_cut() -> None:
    found = list(documents([{"prompt": f"q{i}", "completion": f"a{i}"} for i in range(9)]))
    blocks = Blocks(encode(found, BYTES), 12)
    inputs, targets = blocks.at(blocks.starts(np.arange(len(blocks))))
    for row, answers in zip(inputs, targets, strict=True):
        for number in range(9):
            if f"a{number}" in text_of(answers):
                assert f"q{number}" in text_of(row)


def test_a_text_shorter_than_a_block_makes_one_short_row() -> None:
    blocks = Blocks(encode([(Piece("abc"),)], BYTES), 64)
    inputs, targets = blocks.at(blocks.starts(np.arange(1)))
    assert text_of(inputs[0]) == "abc<|endoftext|>"
    assert text_of(targets[0]) == "bc<|endoftext|>a"


def test_a_learnt_tokenizer_gives_back_any_text(tmp_path: Path) -> None:
    tokenizer = train_tokenizer(["the cat sat on the mat " * 20], 300, 32)
    assert 257 < len(tokenizer) <= 300
    for text in ("the cat", "  two  spaces\n\n", "Ünï©ødé 猫 👩‍🚀", "\x00\x7f", " .,! don't"):
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    tokenizer.save_pretrained(tmp_path)
    again = PreTrainedTokenizerFast.from_pretrained(tmp_path)
    assert again("the cat sat")["input_ids"] == tokenizer("the cat sat")["input_ids"]
    assert (again.eos_token, again.model_max_length) == ("<|endoftext|>", 32)
    assert json.loads((tmp_path / "tokenizer.json").read_text())["model"]["type"] == "BPE"
