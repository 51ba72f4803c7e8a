"""DataLoader: a dataset cut into batches, in an order that depends on nothing but the seed and the epoch.

Every random number comes from a generator that is made anew from (seed, epoch) for the order and from
(seed, epoch, batch) for the choices of the transforms. Nothing is carried over from one batch to the next, and so a
resumed run, or one whose batches are prepared ahead on another thread, sees the same batches bit for bit.
"""

from __future__ import annotations

import functools
import operator
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from minidl import backend
from minidl.data.dataset import Dataset

Batch = tuple[backend.Array, backend.Array]


class DataLoader:
    """Iterating yields one epoch of `(images, labels)` batches, N first; each new `for` loop is the next epoch.

    dataset     a `Dataset`
    batch_size  N; the last batch holds the rest, or is left out with `drop_last=True`
    shuffle     whether each epoch has its own order, drawn from `seed` and the epoch's number
    prefetch    how many batches a background thread prepares ahead; 0 prepares each when it is asked for
    device      where the batches go ("cpu", "gpu", ...) as raw arrays; None leaves them on the host, as NumPy arrays

    A loop that is left early has used up its epoch: the next loop is the next epoch from its beginning. Run one loop at
    a time; `state_dict()` describes the latest.

    Raises: TypeError when `dataset` is not a Dataset; ValueError for a number out of range, or when no batch is left.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        shuffle: bool = False,
        drop_last: bool = False,
        seed: int = 0,
        prefetch: int = 0,
        device: str | backend.Device | None = None,
    ) -> None:
        if not isinstance(dataset, Dataset):
            raise TypeError(
                f"DataLoader: expected a Dataset, got a {type(dataset).__name__}; wrap arrays in "
                "ArrayDataset(images, labels), or derive your class from minidl.data.Dataset"
            )
        self.dataset = dataset
        self.batch_size = _integer("batch_size", batch_size, at_least=1)
        self.shuffle = bool(shuffle)
        self.drop_last = bool(drop_last)
        self.seed = _integer("seed", seed, at_least=0)
        self.prefetch = _integer("prefetch", prefetch, at_least=0)
        self.device = None if device is None else backend.device(device)
        if len(self) == 0:
            rest = f"batch_size={batch_size} and drop_last={drop_last} leave no batch"
            raise ValueError(f"DataLoader: the dataset has {len(dataset)} items, and {rest}")
        self._epoch = 0
        self._batch = 0  # batches of this epoch that have been handed out
        self._begun = False  # whether a loop has entered this epoch

    def __len__(self) -> int:
        """The number of batches in an epoch."""
        whole, rest = divmod(len(self.dataset), self.batch_size)
        return whole if self.drop_last or rest == 0 else whole + 1

    @property
    def epoch(self) -> int:
        """The number of the running epoch, from 0; between two loops, that of the next one."""
        return self._epoch

    def order(self, epoch: int) -> np.ndarray:
        """The indices of the dataset in the order in which `epoch` visits them."""
        n = len(self.dataset)
        return self._generator(epoch).permutation(n) if self.shuffle else np.arange(n)

    def __iter__(self) -> Iterator[Batch]:
        if self._begun:  # the last loop was left early
            self._epoch, self._batch = self._epoch + 1, 0
        self._begun = True
        epoch, start = self._epoch, self._batch
        prepare = functools.partial(self._prepare, epoch, self.order(epoch))
        numbers = range(start, len(self))
        batches = _prepare_ahead(prepare, numbers, self.prefetch) if self.prefetch else map(prepare, numbers)
        for number, (images, labels) in zip(numbers, batches, strict=True):
            self._epoch, self._batch = epoch, number + 1
            if self.device is not None:
                images, labels = backend.to_device(images, self.device), backend.to_device(labels, self.device)
            yield images, labels
        self._epoch, self._batch, self._begun = epoch + 1, 0, False

    def state_dict(self) -> dict[str, Any]:
        """Where the loader is, and the settings that its batches depend on: plain numbers, for a checkpoint.

        Taken inside a loop it counts the batches handed out so far, and a resumed loop starts with the next one.
        """
        return {**self._settings(), "epoch": self._epoch, "batch": self._batch}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where `state_dict()` was taken, with the same batches that would have come there.

        Raises: ValueError when a setting differs or an entry is missing; the loader then stays as it is.
        """
        settings = self._settings()
        missing = [name for name in (*settings, "epoch", "batch") if name not in state]
        if missing:
            raise ValueError(
                f"DataLoader.load_state_dict: the state has no {missing}; expected a loader's state_dict()"
            )
        for name, value in settings.items():
            if state[name] != value:
                raise ValueError(
                    f"DataLoader.load_state_dict: the state was saved with {name}={state[name]}, this loader has "
                    f"{name}={value}; its batches would differ. Build the loader with {name}={state[name]}"
                )
        epoch, batch = _integer("epoch", state["epoch"], at_least=0), _integer("batch", state["batch"], at_least=0)
        self._epoch, self._batch, self._begun = epoch, batch, False

    def _settings(self) -> dict[str, Any]:
        names = ("seed", "shuffle", "batch_size", "drop_last")
        return {"dataset_size": len(self.dataset), **{name: getattr(self, name) for name in names}}

    def _generator(self, *key: int) -> np.random.Generator:
        """A generator of its own for each `key`: the epoch, or the epoch and the batch."""
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=key))

    def _prepare(self, epoch: int, order: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray]:
        start = number * self.batch_size
        return self.dataset.batch(order[start : start + self.batch_size], self._generator(epoch, number))


def _prepare_ahead(
    prepare: Callable[[int], tuple[np.ndarray, np.ndarray]], numbers: Iterable[int], ahead: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """`map(prepare, numbers)`, with up to `ahead` results in the making on one background thread.

    An exception of `prepare` comes out here, in its turn, with the traceback of the thread. Leaving the loop closes
    this generator, which drops what has not begun and waits for the thread to end.
    """
    pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="minidl-loader")
    pending: deque[Future[tuple[np.ndarray, np.ndarray]]] = deque()
    try:
        for number in numbers:
            pending.append(pool.submit(prepare, number))
            if len(pending) > ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _integer(name: str, value: Any, at_least: int) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        number = at_least - 1
    if number < at_least:
        raise ValueError(f"DataLoader: {name} must be an integer of at least {at_least}, got {value!r}")
    return number
