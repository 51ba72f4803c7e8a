"""The training loop: Trainer goes through the data epoch by epoch, measures, and keeps what is needed to go on later.

    trainer = Trainer(model, optimizer, train_loader, test_loader, schedule, directory="runs/digits")
    history = trainer.fit(epochs=20)

and, after an interruption, with the same objects made anew:

    trainer.resume()
    history = trainer.fit(epochs=20)

On a CPU the resumed run ends with the same weights, bit for bit, as one that was never interrupted.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from minidl import checkpoint
from minidl import functional as F
from minidl.backend import Device, active, generator_state, set_generator_state, to_device
from minidl.backend import device as as_device
from minidl.data import DataLoader
from minidl.evaluation import Loss, auxiliary_weight, evaluate, summed, training_loss
from minidl.nn import Module
from minidl.optim import Optimizer, Schedule
from minidl.progress import Silent, display
from minidl.tensor import Tensor


class TrainingInterrupted(KeyboardInterrupt):
    """Ctrl-C during `fit`. `epoch` epochs are finished, and the checkpoint `path` has them (None: there is none)."""

    def __init__(self, epoch: int, path: Path | None) -> None:
        kept = "nothing was saved" if path is None else f"{path} has them, and resume() goes on from there"
        super().__init__(f"training was interrupted after {epoch} finished epoch(s); {kept}")
        self.epoch, self.path = epoch, path


class TrainingDiverged(RuntimeError):
    """The loss or the gradient is no longer a finite number."""


@dataclass
class History:
    """How training went: one list for each quantity, one entry for each finished epoch."""

    # What is minimised, with auxiliary losses, label smoothing and penalty: its mean while the weights were changing.
    train_loss: list[float] = field(default_factory=list)
    train_accuracy: list[float] = field(default_factory=list)
    test_loss: list[float] = field(default_factory=list)  # after the epoch; empty without test data
    test_accuracy: list[float] = field(default_factory=list)
    learning_rate: list[float] = field(default_factory=list)  # of the first parameter group, in that epoch
    gradient_norm: list[float] = field(default_factory=list)  # ‖∂L/∂θ‖₂ over all parameters, in the epoch's last batch

    def __len__(self) -> int:
        """The number of finished epochs."""
        return len(self.train_loss)

    def append(self, **measured: float) -> None:
        """Add an epoch."""
        for name, value in measured.items():
            getattr(self, name).append(value)

    @property
    def best_epoch(self) -> int | None:
        """The index of the epoch with the highest test accuracy; among equals the lowest test loss, then the first."""
        ranks = list(zip(self.test_accuracy, (-loss for loss in self.test_loss), strict=True))
        return ranks.index(max(ranks)) if ranks else None

    def state_dict(self) -> dict[str, list[float]]:
        return dataclasses.asdict(self)

    def load_state_dict(self, state: Mapping[str, list[float]]) -> None:
        names = [column.name for column in dataclasses.fields(self)]
        if sorted(state) != sorted(names):
            raise ValueError(f"History.load_state_dict: expected {sorted(names)}, got {sorted(state)}")
        for name in names:
            setattr(self, name, list(state[name]))


# --------------------------------------------------------------------------------------------------------- the loop


class Trainer:
    """Trains `model` with `optimizer` on the batches of `train_loader`.

    test_loader  measured after each epoch; needed for "the best epoch" to mean something
    schedule     of the optimizer's learning rate; it steps once an epoch
    loss         loss(scores, labels), a scalar: the mean over the batch
    device       where the model is moved and the batches are sent
    directory    where checkpoints go: `last.npz` after each epoch, `best.npz` after the one with the best test accuracy
                 so far (among equals, the lowest test loss). Those of an earlier run are replaced. None: none are kept
    progress     show a bar on a terminal (with rich installed), otherwise a line an epoch
    aux_weight   a model may return (scores, *auxiliary_scores) in training; each auxiliary loss is then added with this
                 weight. None: the model's own `aux_weight`, or 0.3 (GoogLeNet: Szegedy et al., arXiv 1409.4842, §5)
    penalty      penalty(model), a scalar, is added to the loss of each step: a regularisation of the weights

    `history` has what was measured. Nothing is read back from a GPU between the first and the last batch of an epoch.
    """

    def __init__(
        self,
        model: Module,
        optimizer: Optimizer,
        train_loader: DataLoader,
        test_loader: DataLoader | None = None,
        schedule: Schedule | None = None,
        loss: Loss = F.cross_entropy,
        device: str | Device = "cpu",
        directory: str | os.PathLike[str] | None = None,
        progress: bool = True,
        aux_weight: float | None = None,
        penalty: Callable[[Module], Tensor] | None = None,
    ) -> None:
        for name, loader in {"train_loader": train_loader, "test_loader": test_loader}.items():
            if not isinstance(loader, DataLoader) and (loader is not None or name == "train_loader"):
                raise TypeError(f"Trainer: {name} must be a DataLoader, got a {type(loader).__name__}")
        if schedule is not None and schedule.optimizer is not optimizer:
            raise ValueError("Trainer: the schedule was made for another optimizer; it would change nothing here")
        learnt = {id(p) for group in optimizer.param_groups for p in group["params"]}
        if not any(id(p) in learnt for p in model.parameters()):
            raise ValueError("Trainer: the optimizer has none of this model's parameters; nothing would be learnt")
        self.model, self.optimizer, self.schedule = model, optimizer, schedule
        self.train_loader, self.test_loader = train_loader, test_loader
        self.loss, self.penalty, self.progress = loss, penalty, progress
        self.aux_weight = auxiliary_weight(model) if aux_weight is None else aux_weight
        self.device = as_device(device)
        self.directory = None if directory is None else Path(directory)
        self.history = History()
        self._saved_epochs = 0  # how many epochs the last checkpoint has
        model.to(self.device)

    def fit(self, epochs: int) -> History:
        """Train until `epochs` epochs are finished, those of before a `resume()` included.

        Raises: TrainingInterrupted on Ctrl-C; TrainingDiverged at the end of an epoch in which the loss or the gradient
        became infinite or NaN. The checkpoints of finished epochs stay valid.
        """
        if epochs < len(self.history):
            raise ValueError(
                f"fit: {epochs} epochs in all were asked for and {len(self.history)} are finished already; "
                "ask for more, or begin anew with a new model"
            )
        if self.directory is not None:
            self.directory.mkdir(parents=True, exist_ok=True)
        try:
            with display(self.progress) as shown, active(self.device):
                while len(self.history) < epochs:
                    title = f"epoch {len(self.history) + 1:>{len(str(epochs))}}/{epochs}"
                    shown.begin(title, len(self.train_loader))
                    self._epoch(shown)
                    shown.end(f"{title}  {self._summary()}")
        except KeyboardInterrupt:
            path = self._path("last") if self._saved_epochs else None
            raise TrainingInterrupted(self._saved_epochs if path else len(self.history), path) from None
        return self.history

    def _epoch(self, shown: Silent) -> None:
        """One epoch: learn, measure, write down, move the learning rate, save."""
        train_loss, train_accuracy = self._learn(shown)
        measured = dict(
            train_loss=train_loss,
            train_accuracy=train_accuracy,
            learning_rate=self.optimizer.param_groups[0]["lr"],
            gradient_norm=self._gradient_norm(),
        )
        if self.test_loader is not None:
            test = evaluate(self.model, self.test_loader, self.device, self.loss)
            measured |= dict(test_loss=test.loss, test_accuracy=test.accuracy)
        self._check_finite(measured)
        self.history.append(**measured)
        if self.schedule is not None:
            self.schedule.step()
        if self.directory is not None:
            self._save()

    def _learn(self, shown: Silent) -> tuple[float, float]:
        """One pass over the training data. The mean loss and the accuracy, each batch measured before its step."""
        self.model.train()
        loss_sum: Any = 0.0
        correct: Any = 0
        count = 0
        for images, labels in self.train_loader:
            images, labels = to_device(images, self.device), to_device(labels, self.device)
            loss, scores = training_loss(self.model(Tensor(images)), labels, self.loss, self.aux_weight)
            if self.penalty is not None:
                loss = loss + self.penalty(self.model)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()

            # Sums stay on the device: reading a number each step would make the host wait for the GPU each step.
            loss_sum = loss_sum + summed(loss, len(labels))
            correct = correct + (scores.data.argmax(axis=-1) == labels).sum()
            count += len(labels)
            shown.advance()
        return float(loss_sum) / count, int(correct) / count

    def _gradient_norm(self) -> float:
        """‖∂L/∂θ‖₂ over all parameters, for the last batch."""
        gradients = [p.grad.data for p in self.model.parameters() if p.grad is not None]
        return math.sqrt(sum(float((g.astype(np.float64) ** 2).sum()) for g in gradients))  # squares would overflow

    def _check_finite(self, measured: Mapping[str, float]) -> None:
        wrong = [f"{name.replace('_', ' ')} is {value}" for name, value in measured.items() if not math.isfinite(value)]
        if wrong:
            kept = f"{self._path('last')} has the epoch before" if self._saved_epochs else "no checkpoint was kept"
            raise TrainingDiverged(
                f"training diverged in epoch {len(self.history) + 1}: {', '.join(wrong)}, with lr "
                f"{measured['learning_rate']:g}; use a smaller learning rate or a warm-up, and look for infinities in "
                f"the data; {kept}"
            )

    def _summary(self) -> str:
        """The last epoch in a line."""
        last = {name: column[-1] for name, column in self.history.state_dict().items() if column}
        parts = [
            f"{part} loss {last[f'{part}_loss']:.4f}  accuracy {last[f'{part}_accuracy']:7.2%}"
            for part in ("train", "test")
            if f"{part}_loss" in last
        ]
        return "   ".join([*parts, f"lr {last['learning_rate']:.3g}"])

    # -- checkpoints

    def resume(self) -> int:
        """Go back to `last.npz` in the directory: everything but the arguments is as it was then. The epochs finished.

        Raises: FileNotFoundError when there is none; checkpoint.CheckpointError when it cannot be read; ValueError when
        it was saved with another model, optimizer, schedule or data. Nothing has changed then.
        """
        if self.directory is None:
            raise ValueError("resume: this Trainer has no directory; give it the one that it saved to")
        state = checkpoint.load(self._path("last"))
        before = self.state_dict()
        try:
            self.load_state_dict(state)
        except Exception as error:
            self.load_state_dict(before)
            raise ValueError(f"resume: {self._path('last')} does not continue this run: {error}") from error
        self._saved_epochs = len(self.history)
        return len(self.history)

    def state_dict(self) -> dict[str, Any]:
        """Everything the next epoch depends on."""
        return {name: part.state_dict() for name, part in self._parts().items()} | {"random": generator_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where `state_dict()` was taken. Raises: ValueError for what does not fit."""
        parts = self._parts()
        if set(state) != {*parts, "random"}:
            raise ValueError(f"expected {sorted([*parts, 'random'])}, it has {sorted(state)}")
        for name, part in parts.items():
            part.load_state_dict(state[name])
        set_generator_state(state["random"])

    def _parts(self) -> dict[str, Any]:
        names = ("model", "optimizer", "schedule", "train_loader", "test_loader", "history")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}

    def _save(self) -> None:
        state = self.state_dict()
        # The best first: whoever is stopped between the two repeats this epoch, and saves both.
        if self.history.best_epoch == len(self.history) - 1:
            checkpoint.save(self._path("best"), state)
        checkpoint.save(self._path("last"), state)
        self._saved_epochs = len(self.history)

    def _path(self, name: str) -> Path:
        assert self.directory is not None
        return self.directory / f"{name}.npz"
