"""How time and memory grow with the batch, with the image and with threads: ResNet-18.

What grows otherwise than its arithmetic has a knee, and a knee has a reason: caches that overflow, tiles that do not
fit the image, work too small to share.
"""

from __future__ import annotations

from benchmarks.case import FORWARD, STEP, Case
from benchmarks.cases.networks import network

MODES = {"inference": FORWARD, "training": STEP}
BATCHES = (1, 2, 4, 8, 16, 32, 64)
SIDES = (32, 64, 128, 224, 320, 448)
THREADS = (1, 2)


def point(sweep: str, mode: str, value: int) -> Case:
    """ResNet-18 with one of batch, side and threads other than 8 images of 224×224 on all threads."""
    batch, side = (value if sweep == name else usual for name, usual in (("batch", 8), ("side", 224)))
    large = batch * side**2 > 8 * 224**2
    return network(
        "resnet18",
        f"scaling/{mode}/{sweep}/{value}",
        MODES[mode],
        batch,
        side,
        threads=value if sweep == "threads" else None,
        options={"sweep": sweep, "large": large},
        seconds=4.0,
    )


def cases() -> list[Case]:
    sweeps = {"batch": BATCHES, "side": SIDES, "threads": THREADS}
    return [point(sweep, mode, value) for mode in MODES for sweep, values in sweeps.items() for value in values]
