"""Optimizers turn gradients into better parameters; schedules change the learning rate along the way."""

from minidl.optim.adam import Adam, AdamW
from minidl.optim.optimizer import Optimizer
from minidl.optim.schedule import CosineAnnealingLR, Schedule, StepLR
from minidl.optim.sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "CosineAnnealingLR", "Optimizer", "Schedule", "StepLR"]
