"""The GPT-2 trainer."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

import aigc_sdk
from aigc_sdk.errors import DataError, MismatchedFolder, OptionError
from aigc_sdk.protocols import Fit, Step
from aigc_sdk_gpt2.data import IGNORED, train_tokenizer
from aigc_sdk_gpt2.model import GPT2
from aigc_sdk_gpt2.train import GPT2Trainer, TrainingOptions, optimizers

TEXT = "In the beginning God created the heaven and the earth. And the earth was without form, and void. " * 8
SIZES = {"vocab_size": 280, "context": 16, "width": 16, "layers": 2, "heads": 2}
QUICK = {"batch_size": 4, "learning_rate": 3e-3, "warmup_steps": 2, "precision": "float32"}


def new(**changes: Any) -> GPT2Trainer:
    return GPT2Trainer.open(device="cpu", **{**SIZES, **changes})


def fit(max_steps: int, seed: int = 0, **options: Any) -> Fit:
    return Fit(max_steps, seed, GPT2Trainer.Options.parse("gpt2", {**QUICK, **options}))


def losses(steps: Any) -> list[float]:
    return [step.metrics["loss"] for step in steps]


def weights(trainer: GPT2Trainer) -> dict[str, torch.Tensor]:
    return {name: each.clone() for name, each in trainer.model.network.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_a_new_model_learns_its_tokenizer_from_the_data_and_then_the_data() -> None:
    trainer = new()
    assert len(trainer.model.tokenizer) == 257
    found = losses(trainer.steps([TEXT], max_steps=60, **QUICK))
    assert len(trainer.model.tokenizer) == trainer.model.network.config.vocab_size == 280
    assert found[0] > 5 > 4 > found[-1]
    text = trainer.model.tokenizer.decode(trainer.model.tokenizer(TEXT)["input_ids"])
    assert text == TEXT


def test_a_small_text_makes_a_smaller_vocabulary_than_there_was_room_for() -> None:
    trainer = new(vocab_size=5000)
    trainer.fit(["abc abc abc"], max_steps=1, **QUICK)
    assert 257 < len(trainer.model.tokenizer) < 300
    assert trainer.model.network.get_input_embeddings().weight.shape[0] == len(trainer.model.tokenizer)


def test_a_finished_model_opens_in_plain_transformers_and_here(tmp_path: Path) -> None:
    trainer = new()
    trainer.fit([TEXT], max_steps=3, **QUICK).save(tmp_path / "model")
    network = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    ids = tokenizer("In the beginning", return_tensors="pt")["input_ids"]
    again = GPT2.open(tmp_path / "model", device="cpu")
    with torch.no_grad():
        expected = trainer.model.network(ids).logits
        assert torch.equal(network(ids).logits, expected)
        assert torch.equal(again.network(ids).logits, expected)


def test_an_opened_model_is_trained_further_with_its_own_tokenizer(tmp_path: Path) -> None:
    new().fit([TEXT], max_steps=30, **QUICK).save(tmp_path / "model")
    trainer = aigc_sdk.trainer("gpt2", tmp_path / "model", device="cpu")
    before = trainer.model.tokenizer.get_vocab()
    found = losses(trainer.steps([TEXT.upper()], max_steps=20, **QUICK))
    assert found[-1] < found[0]
    assert trainer.model.tokenizer.get_vocab() == before


def test_another_architecture_is_trained_as_well() -> None:
    tokenizer = new().model.tokenizer
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=257,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=16,
    )
    trainer = GPT2Trainer(GPT2(LlamaForCausalLM(config), tokenizer))
    found = losses(trainer.steps([TEXT], max_steps=30, **{**QUICK, "learning_rate": 1e-2}))
    assert found[-1] < found[0] - 1


def test_the_loss_is_the_mean_over_the_batchs_targets_also_in_micro_batches() -> None:
    whole = losses(new().run([TEXT], fit(4)))
    parts = losses(new().run([TEXT], fit(4, micro_batch_size=1)))
    assert parts == pytest.approx(whole, rel=1e-5)


def test_of_pairs_only_the_answers_count() -> None:
    pairs = [{"prompt": f"{i} ", "completion": "yes"} for i in range(40)]
    trainer = new(dropout=0.0)
    trainer.fit(pairs, max_steps=60, **{**QUICK, "learning_rate": 2e-2})
    ids = trainer.model.tokenizer("7 yes", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        logprobs = trainer.model.network(ids).logits.log_softmax(-1)[0]
    scores = logprobs[:-1].gather(1, ids[0, 1:, None])[:, 0]
    assert scores[-1] > -1  # the answer is learnt
    blocks_only_answers = trainer.validate(pairs, fit(1))
    assert blocks_only_answers["loss"] < 1


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_run_that_goes_on_from_its_state_is_the_same_run(optimizer: str) -> None:
    options = {"optimizer": optimizer, "dropout": 0.2, "ema_decay": 0.9}
    whole = new()
    expected = losses(whole.run([TEXT], fit(9, **options)))
    first = new()
    run = first.run([TEXT], fit(9, **options))
    begun = [next(run) for _ in range(4)]
    state = first.state_dict()
    json.dumps({"tokenizer": state["tokenizer"]})
    second = new(seed=5)
    second.load_state_dict(state)
    rest = losses(second.run([TEXT], fit(9, **options)))
    assert [*losses(begun), *rest] == expected
    assert same(weights(second), weights(whole))


def test_a_killed_run_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    arguments = {"max_steps": 8, "save_every": 3, "validation": [TEXT[:300]], "evaluate_every": 4, **QUICK}
    expected = new()
    expected.fit([TEXT], save_to=tmp_path / "whole", **arguments)

    class Killed(BaseException):
        pass

    def kill(step: Step) -> None:
        if step.index == 5:
            raise Killed

    with pytest.raises(Killed):
        new().fit([TEXT], save_to=tmp_path / "cut", on_step=kill, **arguments)
    resumed = new()
    resumed.fit([TEXT], save_to=tmp_path / "cut", resume=True, **arguments)
    assert same(weights(resumed), weights(expected))
    assert (tmp_path / "cut" / "log.jsonl").read_bytes() == (tmp_path / "whole" / "log.jsonl").read_bytes()
    assert GPT2.open(tmp_path / "cut", device="cpu").fingerprint() == expected.model.fingerprint()


def test_the_seed_decides_order_and_dropout_and_the_config_the_first_weights() -> None:
    runs = [losses(new(dropout=0.1).run([TEXT], fit(4, seed=seed))) for seed in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]
    assert same(weights(new(seed=3)), weights(new(seed=3)))
    assert not same(weights(new(seed=3)), weights(new(seed=4)))


def test_opening_and_training_leave_the_callers_random_state_alone() -> None:
    before = torch.get_rng_state()
    trainer = new(dropout=0.1)
    trainer.fit([TEXT], max_steps=2, validation=[TEXT], **QUICK)
    assert torch.equal(torch.get_rng_state(), before)


def test_validation_takes_every_token_once_and_states_bits_per_byte() -> None:
    trainer = new(dropout=0.5)
    trainer.fit([TEXT], max_steps=2, **QUICK)
    found = trainer.validate([TEXT[:200]], fit(1))
    ids = [0, *trainer.model.tokenizer(TEXT[:200])["input_ids"], 0]
    trainer.model.network.eval()
    nats = 0.0
    for start in range(0, len(ids) - 1, 16):
        some = torch.tensor([ids[start : start + 17]])
        with torch.no_grad():
            logits = trainer.model.network(some[:, :-1]).logits[0]
        nats += float(torch.nn.functional.cross_entropy(logits, some[0, 1:], reduction="sum"))
    # The trainer's windows begin at the first token, and the end of the text predicts the first; nearly the same.
    assert found["loss"] == pytest.approx(nats / (len(ids) - 1), rel=0.02)
    assert found["bits_per_byte"] == pytest.approx(found["loss"] * (len(ids) - 1) / 0.693147 / 200, rel=1e-4)
    assert trainer.validate([TEXT[:200]], fit(1)) == found


def test_between_updates_the_model_can_be_used() -> None:
    trainer = new(dropout=0.5)
    for _ in trainer.steps([TEXT], max_steps=2, **QUICK):
        first = trainer.model.generate("In the", seed=1, max_new_tokens=4)
        assert trainer.model.generate("In the", seed=1, max_new_tokens=4) == first


def test_muon_takes_the_inner_matrices_and_vectors_do_not_decay() -> None:
    model = new().model.network
    adamw, muon = optimizers(model, TrainingOptions(optimizer="muon", weight_decay=0.3))
    inner = {id(each) for group in muon.param_groups for each in group["params"]}
    names = {name for name, each in model.named_parameters() if id(each) in inner}
    assert names == {
        f"transformer.h.{layer}.{part}.weight"
        for layer in range(2)
        for part in ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
    }
    for group in adamw.param_groups:
        assert all((each.ndim >= 2) == (group["weight_decay"] == 0.3) for each in group["params"])
    taken = sum(len(group["params"]) for each in (adamw, muon) for group in each.param_groups)
    assert taken == len(list(model.parameters()))


def test_an_average_of_the_weights_is_what_a_run_leaves() -> None:
    plain, averaged = new(), new()
    plain.fit([TEXT], max_steps=5, **QUICK)
    averaged.fit([TEXT], max_steps=5, ema_decay=0.9, **QUICK)
    assert not same(weights(plain), weights(averaged))


TWO_PROCESSES = """
import sys
from pathlib import Path
from aigc_sdk_gpt2.train import GPT2Trainer

sizes = {"vocab_size": 280, "context": 16, "width": 16, "layers": 2, "heads": 2}
trainer = GPT2Trainer.open(device="cpu", **sizes)
options = {"batch_size": 4, "micro_batch_size": 1, "warmup_steps": 0, "precision": "float32"}
trainer.fit([Path(sys.argv[1])], max_steps=6, save_to=sys.argv[2], **options)
"""


@pytest.mark.slow
def test_two_processes_train_like_one_with_the_same_batch(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(TWO_PROCESSES)
    (tmp_path / "text.txt").write_text(TEXT)
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29611"]
    for command, name in (([sys.executable], "one"), (launch, "two")):
        call = [*command, str(tmp_path / "train.py"), str(tmp_path / "text.txt"), str(tmp_path / name)]
        subprocess.run(call, check=True, capture_output=True, timeout=120)
    one, two = (
        [json.loads(line)["loss"] for line in (tmp_path / name / "log.jsonl").read_text().splitlines()]
        for name in ("one", "two")
    )
    assert two == pytest.approx(one, rel=1e-5)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"width": 17}, "width=17 is no multiple of heads=2"),
        ({"vocab_size": 100}, "vocab_size=100"),
        ({"hidden": 4}, "no option 'hidden'"),
    ],
)
def test_sizes_that_make_no_model_are_refused(config: dict[str, int], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        new(**config)


def test_an_opened_model_takes_no_sizes_and_weights_train_in_float32(tmp_path: Path) -> None:
    new().model.save(tmp_path / "model")
    with pytest.raises(OptionError, match="only a new model takes sizes"):
        GPT2Trainer.open(tmp_path / "model", device="cpu", layers=3)
    with pytest.raises(OptionError, match="precision='bfloat16'"):
        GPT2Trainer.open(tmp_path / "model", device="cpu", dtype="bfloat16")


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"block": 17}, "block"),
        ({"optimizer": "sgd"}, "optimizer"),
        ({"lerning_rate": 1.0}, None),
        ({"clip_norm": 0.0}, "clip_norm"),
        ({"betas": (0.9, 1.0)}, "betas"),
    ],
)
def test_options_that_make_no_run_are_refused_at_the_call(options: dict[str, Any], field: str | None) -> None:
    with pytest.raises(OptionError) as caught:
        new().steps([TEXT], max_steps=1, **{**QUICK, **options})
    assert field is None or caught.value.field == field


def test_data_that_is_no_use_is_refused_at_the_call_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no file"):
        new().steps("missing.txt", max_steps=1, save_to=tmp_path / "run", **QUICK)
    with pytest.raises(DataError, match="holds no documents"):
        new().steps([], max_steps=1, save_to=tmp_path / "run", **QUICK)
    with pytest.raises(DataError, match=r"validation\[0\] has no text"):
        new().steps([TEXT], max_steps=1, validation=[""], save_to=tmp_path / "run", **QUICK)
    assert not (tmp_path / "run").exists()


def test_an_iterator_is_read_once_and_that_is_enough() -> None:
    steps = list(
        new().steps((each for each in [TEXT]), validation=iter([TEXT]), evaluate_every=1, max_steps=2, **QUICK)
    )
    assert all("validation_bits_per_byte" in step.metrics for step in steps)


def test_a_state_of_a_model_with_another_tokenizer_is_refused() -> None:
    first, second = new(), new()
    first.fit([TEXT], max_steps=1, **QUICK)
    second.fit(["quite another text, quite another text"], max_steps=1, **QUICK)
    with pytest.raises(MismatchedFolder, match="another tokenizer"):
        second.load_state_dict(first.state_dict())


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused() -> None:
    trainer = new()
    trainer.model.tokenizer = train_tokenizer([TEXT], 400, 16)
    trainer = GPT2Trainer(trainer.model)
    with pytest.raises(DataError, match="the model has 280 tokens"):
        trainer.fit([TEXT], max_steps=1, **QUICK)


def test_a_text_shorter_than_a_block_can_be_trained_on() -> None:
    assert losses(new().steps(["a"], max_steps=2, **QUICK))[1] > 0
    assert IGNORED == -100
