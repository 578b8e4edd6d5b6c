"""What trainers share: the order of data, the optimisation loop, averages, schedules, checkpoints, trackers."""

from .average import Average
from .loop import Loop, Precision
from .schedule import schedule
from .torch_trainer import TorchTrainer
from .trackers import Tracker

__all__ = ["Average", "Loop", "Precision", "TorchTrainer", "Tracker", "schedule"]
