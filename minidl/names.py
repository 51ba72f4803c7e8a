"""What a model's name on the command line stands for: a network of `models`, or the user's own, as "my_net.py:Net"."""

from __future__ import annotations

import copy
import difflib
import importlib.util
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

import models
from minidl.backend import generator_state, set_generator_state
from minidl.gradcheck import GradcheckError
from minidl.nn import Module
from minidl.tensor import Tensor


class ModelError(ValueError):
    """A model that is not there, or cannot be used; the message says where the fault is."""


def build(spec: str, num_classes: int, in_channels: int, **options: Any) -> Module:
    """A new model: `spec` is one of `models.names()`, or FILE.py:NAME of a class or function that makes a Module.

    options   what else the user asked for, such as a variant

    Raises: ModelError, or ValueError for a name that `models` does not know; and whatever the code in FILE.py raises.
    """
    path, colon, name = spec.rpartition(":")
    options |= {"num_classes": num_classes, "in_channels": in_channels}
    if not colon:
        try:
            return models.create(spec, **options)
        except TypeError as error:
            if "no option 'variant'" not in str(error):
                raise
            raise ModelError(f"{spec} comes in one form only; leave out variant={options['variant']!r}") from None
    module = _import_file(path)
    builder = getattr(module, name, None)
    if not callable(builder):
        own = [key for key, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__]
        raise ModelError(f"{path}: {unknown('class or function', name, own)}")
    model = builder(**options)
    if not isinstance(model, Module):
        raise ModelError(f"{spec}(num_classes=..., in_channels=...) must give a minidl.nn.Module, not {model!r:.60}")
    return model


def _import_file(path: str) -> ModuleType:
    file = Path(path).resolve()
    if file.suffix != ".py" or not file.is_file():
        raise ModelError(f"{path}: no such Python file (a model of your own is given as FILE.py:NAME)")
    spec = importlib.util.spec_from_file_location("minidl_own_model", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where a dataclass in it looks for it
    sys.path.append(str(file.parent))  # it may import its neighbours
    spec.loader.exec_module(module)
    return module


def try_out(model: Module, images: np.ndarray, num_classes: int) -> None:
    """Run a copy of `model` on some images, in training and in inference, to know before anything is written.

    Raises: ModelError when it does not give scores (N, num_classes), in training with auxiliary ones if it likes.
    """
    before = generator_state()
    expected = (len(images), num_classes)
    try:
        for training in (True, False):
            output = copy.deepcopy(model).train(training)(Tensor(images))
            for scores in output if training and isinstance(output, tuple) else (output,):
                if not isinstance(scores, Tensor) or scores.shape != expected:
                    got = scores.shape if isinstance(scores, Tensor) else f"a {type(scores).__name__}"
                    raise ModelError(f"for images {images.shape} the model must give scores {expected}; it gives {got}")
    finally:
        set_generator_state(before)


@contextmanager
def fault_of(spec: str) -> Iterator[None]:
    """What goes wrong inside, in a model of the user's own, becomes a ModelError with the lines of the user's file."""
    try:
        yield
    except (ModelError, GradcheckError):
        raise
    except Exception as error:
        path, colon, _ = spec.rpartition(":")
        if not colon:
            raise
        frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == str(Path(path).resolve())]
        lines = traceback.format_list(frames) + traceback.format_exception_only(error)
        raise ModelError(f"{spec} failed:\n{''.join(lines).rstrip()}") from error


def unknown(kind: str, name: str, known: Sequence[str]) -> str:
    """What to say of a name that is not known: the ones closest to it, or all."""
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(known)}"
    return f"unknown {kind} {name!r}: {hint}"
