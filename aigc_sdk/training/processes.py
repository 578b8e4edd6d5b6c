"""Which process of a distributed run this is; a run alone is process 0 of 1."""

from __future__ import annotations

import atexit
import os
import time
from typing import Any

from aigc_sdk.errors import NotOffered

_UNSUPPORTED = {
    "ACCELERATE_USE_DEEPSPEED": "--use_deepspeed",
    "ACCELERATE_USE_MEGATRON_LM": "--use_megatron_lm",
    "ACCELERATE_USE_PARALLELISM_CONFIG": "--use_parallelism_config",
    "FSDP_OFFLOAD_PARAMS": "--fsdp_offload_params",
    "FSDP_ACTIVATION_CHECKPOINTING": "--fsdp_activation_checkpointing",
}


def rank() -> int:
    """The number of this process, from 0 on, as `accelerate launch` and `torchrun` set it."""
    return int(os.environ.get("RANK", "0"))


def world() -> int:
    """How many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main() -> bool:
    """Whether this process writes checkpoints, log and progress."""
    return rank() == 0


def sharded() -> bool:
    """Whether `accelerate launch --use_fsdp` asks that each process hold only a part of the weights."""
    return world() > 1 and _asked("ACCELERATE_USE_FSDP")


def check() -> None:
    """Raises NotOffered for what `accelerate launch` was asked for and no trainer here can do."""
    asked = [option for variable, option in _UNSUPPORTED.items() if _asked(variable)]
    if sharded() and os.environ.get("FSDP_VERSION", "1") != "2":
        asked.append("--fsdp_version 1")
    if asked:
        raise NotOffered(
            f"trainers do not work under accelerate launch {' '.join(asked)}; leave it out, or shard the training with "
            "--use_fsdp --fsdp_version 2"
        )


def agreed(number: int | None) -> int | None:
    """The signal that any process has received: one alone cannot stop, as it takes all to gather a sharded model."""
    import torch.distributed

    if not torch.distributed.is_initialized():
        return number
    from accelerate import PartialState

    highest = torch.tensor(number or 0, device=PartialState().device)
    torch.distributed.all_reduce(highest, torch.distributed.ReduceOp.MAX)
    return int(highest) or None


def wait() -> None:
    """Go on when all processes have come here: what the first has written is then there for all."""
    if world() == 1:
        return
    import torch.distributed

    if torch.distributed.is_initialized():
        torch.distributed.barrier()


def _asked(variable: str) -> bool:
    return os.environ.get(variable, "").lower() == "true"


def accelerator(device: str) -> Any:
    """accelerate's Accelerator for a distributed run; None for a run alone, which does not need one."""
    if world() == 1:
        return None
    from accelerate import Accelerator

    atexit.unregister(_leave)  # once, however many runs there are
    atexit.register(_leave)
    return Accelerator(cpu=device.startswith("cpu"))


def _leave() -> None:
    """Leave the group while Python still runs.

    A gloo thread needs Python's lock to let go of the tensors it has exchanged last, and aborts the process where it
    gets it too late: sleeping hands it over.
    """
    import torch.distributed

    time.sleep(0.05)
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
