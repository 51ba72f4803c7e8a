"""What an operation's answer is by definition, in float64, at random places: the oracle for single operations.

Each number is the sum, or the maximum, that the operation's definition says: over a window, over the windows that read
a pixel, over the places where a weight was used. It shares no code with any engine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks import inputs
from benchmarks.case import BACKWARD, Case

Place = tuple[int, ...]
Rule = Callable[[Place], Any]
PLACES = 200


def expected(case: Case) -> dict[str, tuple[tuple[np.ndarray, ...], np.ndarray]]:
    """{name: (places, values)}: what answer[name][places] has to be."""
    random = np.random.default_rng(3)
    found = {}
    for name, shape, rule in _RULES[case.what](case):
        if case.mode != BACKWARD and name != "y":
            continue
        places = tuple(random.integers(limit, size=PLACES) for limit in shape)
        values = np.array([rule(place) for place in zip(*places, strict=True)])
        found[name] = places, values
    return found


Rules = Iterator[tuple[str, tuple[int, ...], Rule]]


def _conv2d(case: Case) -> Rules:
    """y[n, p, q, f] = Σ x[n, p·s + i, q·s + j, c] · w[i, j, c, f] over i, j and c, of x padded; gradients of ⟨y, g⟩."""
    arrays = _exact(case)
    x, w = arrays["x"], arrays["weight"]
    (KH, KW, _, F), (OH, OW), s = w.shape, case.output_size, case.options.get("stride", 1)
    PH, PW = case.options.get("padding", (0, 0))
    padded = np.pad(x, ((0, 0), (PH, PH), (PW, PW), (0, 0)))
    g = inputs.upstream((len(x), OH, OW, F)).astype(np.float64)

    def y(place: Place) -> Any:
        n, p, q, f = place
        return (padded[n, p * s : p * s + KH, q * s : q * s + KW] * w[..., f]).sum()

    def to_x(place: Place) -> Any:
        n, h, v, c = place
        windows = ((h + PH - i, v + PW - j, i, j) for i in range(KH) for j in range(KW))
        inside = ((a // s, b // s, i, j) for a, b, i, j in windows if a % s == b % s == 0)
        return sum(g[n, p, q] @ w[i, j, c] for p, q, i, j in inside if 0 <= p < OH and 0 <= q < OW)

    def to_w(place: Place) -> Any:
        i, j, c, f = place
        return (padded[:, i : i + s * OH : s, j : j + s * OW : s, c] * g[..., f]).sum()

    yield "y", g.shape, y
    yield "gradient of x", x.shape, to_x
    yield "gradient of weight", w.shape, to_w


def _max_pool2d(case: Case) -> Rules:
    """The largest x under each window; its gradient goes to where that was."""
    x = _exact(case)["x"]
    (KH, KW), (OH, OW), s = case.options["kernel"], case.output_size, case.options.get("stride", 1)
    PH, PW = case.options.get("padding", (0, 0))
    padded = np.pad(x, ((0, 0), (PH, PH), (PW, PW), (0, 0)), constant_values=-np.inf)
    g = inputs.upstream((len(x), OH, OW, x.shape[-1])).astype(np.float64)

    def y(place: Place) -> Any:
        n, p, q, c = place
        return padded[n, p * s : p * s + KH, q * s : q * s + KW, c].max()

    def to_x(place: Place) -> Any:
        n, h, v, c = place
        rows = range(max(0, -(-(h + PH - KH + 1) // s)), min(OH - 1, (h + PH) // s) + 1)
        columns = range(max(0, -(-(v + PW - KW + 1) // s)), min(OW - 1, (v + PW) // s) + 1)
        return sum(g[n, p, q, c] for p in rows for q in columns if y((n, p, q, c)) == x[place])

    yield "y", g.shape, y
    yield "gradient of x", x.shape, to_x


def _batch_norm(case: Case) -> Rules:
    """y = x̂ · weight + bias, with x̂ = (x − mean) / √(variance + ε) over the batch, each channel by itself."""
    arrays = _exact(case)
    x, weight, bias = arrays["x"], arrays["weight"], arrays["bias"]
    g = inputs.upstream(x.shape).astype(np.float64)
    axes = (0, 1, 2)
    deviation = np.sqrt(x.var(axes) + 1e-5)
    normal = (x - x.mean(axes)) / deviation  # x̂ (N, H, W, C)
    through = weight / deviation * (g - g.mean(axes) - normal * (g * normal).mean(axes))

    yield "y", x.shape, lambda place: normal[place] * weight[place[-1]] + bias[place[-1]]
    yield "gradient of x", x.shape, lambda place: through[place]
    yield "gradient of weight", weight.shape, lambda place: (g * normal).sum(axes)[place]
    yield "gradient of bias", bias.shape, lambda place: g.sum(axes)[place]


def _elementwise(case: Case) -> Rules:
    arrays = _exact(case)
    x = arrays["x"]
    y = {
        "add": lambda: x + arrays["other"],
        "relu": lambda: np.where(x > 0, x, 0),
        "matmul": lambda: (x[:, :, None] * arrays["other"]).sum(1),
    }[case.what]()
    yield "y", y.shape, lambda place: y[place]


def _exact(case: Case) -> dict[str, np.ndarray]:
    return {name: array.astype(np.float64) for name, array in inputs.operands(case).items()}


_RULES: dict[str, Callable[[Case], Rules]] = {
    "conv2d": _conv2d,
    "max_pool2d": _max_pool2d,
    "batch_norm": _batch_norm,
    "add": _elementwise,
    "relu": _elementwise,
    "matmul": _elementwise,
}
OPERATIONS = tuple(_RULES)
