"""Whether an engine's answer is right. One that is not is not timed."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from benchmarks import definitions
from benchmarks.case import EPOCH, STEP, Case
from benchmarks.engines.work import Answer

TOLERANCE = 1e-4  # the largest error allowed in float32, relative to the answer
# Of many layers; of two training steps, of which the second begins where rounded gradients led (PyTorch in float32 is
# off by up to 3e-3 in a ResNet-50); of many steps, which make each error grow.
TOLERANCES = {"network": 1e-3, STEP: 5e-3, EPOCH: 1e-2}

# The gradient to the first layer has come through all others. Where a number rounds to the other side of 0, a ReLU lets
# another gradient pass; in float32 that alone moves it by percents. Losses and the last layer hardly show it.
FIRST_LAYER = 0.1
BLOCK_GRADIENT = 1e-2  # likewise: one in 100,000 numbers on the other side makes 3e-3 of ‖gradient‖

Expected = Mapping[str, tuple[tuple[np.ndarray, ...] | None, np.ndarray]]  # {name: (at which places or at all, values)}


class WrongAnswerError(Exception):
    """An answer that is not the expected one; the message says where and by how much."""


def by_definition(case: Case) -> Expected | None:
    """What is expected of a single operation, and nothing of an import; None for what another engine has to say."""
    if case.what in ("block", "network"):
        return None
    return definitions.expected(case) if case.what in definitions.OPERATIONS else {}


def by_reference(answer: Answer) -> Expected:
    """What the reference has computed, at all places."""
    return {name: (None, array) for name, array in answer.items()}


def check(case: Case, answer: Answer, expected: Expected) -> float:
    """The largest error of all that was compared. Raises: WrongAnswerError where one is too large.

    At chosen places it is the largest difference as a share of the largest value; of whole arrays, ‖a − b‖ / ‖b‖.
    """
    if answer.keys() != expected.keys():
        raise WrongAnswerError(f"expected {', '.join(expected) or 'nothing'}, got {', '.join(answer) or 'nothing'}")
    worst = 0.0
    for name, (places, values) in expected.items():
        got = answer[name].astype(np.float64)
        if places is not None:
            error = abs(got[places] - values).max() / abs(values).max()
        elif got.shape == values.shape:
            error = np.linalg.norm(got - values) / np.linalg.norm(values)
        else:
            raise WrongAnswerError(f"{name}: expected the shape {values.shape}, got {got.shape}")
        allowed = tolerance(case, name)
        if not error <= allowed:
            raise WrongAnswerError(f"{name}: off by {error:.1e} of its size, {allowed:g} is allowed")
        worst = max(worst, float(error))
    return worst


def tolerance(case: Case, name: str) -> float:
    """The largest error that this part of an answer may have."""
    if case.mode == STEP and name == f"gradient of {case.options['watched'][0]}":
        return FIRST_LAYER
    if case.what == "block" and name.startswith("gradient"):
        return BLOCK_GRADIENT
    return TOLERANCES.get(case.mode, TOLERANCES.get(case.what, TOLERANCE))
