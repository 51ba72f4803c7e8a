"""`python -m benchmarks`: time one convolution in every engine that is installed, and print the ratios."""

from __future__ import annotations

import argparse
import importlib.util
import os
from collections.abc import Callable, Mapping

from benchmarks import convolution
from benchmarks.convolution import LARGE, SMALL, Case, Engine
from benchmarks.timing import Timing, interleaved
from minidl import doctor


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few rounds: to see that everything runs, not to quote")
    rounds = 5 if parser.parse_args().quick else 50

    for finding in doctor.examine():
        if finding.subject in ("processor", "CPU cores", "NumPy", "BLAS", "torch"):
            print(f"{finding.subject}: {finding.state}")
    threads = int(os.environ.get("OPENBLAS_NUM_THREADS", os.cpu_count() or 1))
    with_torch = importlib.util.find_spec("torch") is not None
    if with_torch:
        import torch

        torch.set_num_threads(threads)
        print(f"threads: {threads} for each engine")
    else:
        print('PyTorch: not installed, no row for it; pip install "minidl[bench]"')

    compare(SMALL, {"minidl": convolution.minidl_engine, "plain loops": convolution.naive_engine}, max(3, rounds // 5))
    engines: dict[str, Callable[[Case], Engine]] = {"minidl": convolution.minidl_engine}
    if with_torch:
        engines["PyTorch NCHW"] = lambda case: convolution.torch_engine(case, channels_last=False)
        engines["PyTorch channels_last"] = lambda case: convolution.torch_engine(case, channels_last=True)
    compare(LARGE, engines, rounds)


def compare(case: Case, engines: Mapping[str, Callable[[Case], Engine]], rounds: int) -> None:
    """Check every engine's answer, then time all of them in turn and print a table; ratios are to the first row."""
    built: dict[str, Engine] = {name: build(case) for name, build in engines.items()}
    for _, forward_and_backward in built.values():
        convolution.check(case, forward_and_backward())
    forward = interleaved({name: run for name, (run, _) in built.items()}, rounds)
    both = interleaved({name: run for name, (_, run) in built.items()}, rounds)

    print(f"\n3×3 convolution {case}, float32, {case.macs:,} MACs forward; median (quartiles) of {rounds} runs")
    print(f"{'':24}{'forward':>30}{'GFLOP/s':>9}{'ratio':>8}{'forward + backward':>30}{'GFLOP/s':>9}{'ratio':>8}")
    reference = next(iter(built))
    for name in built:
        cells = _cells(forward[name], forward[reference], case.macs) + _cells(
            both[name], both[reference], 3 * case.macs
        )
        print(f"{name:24}{cells}")


def _cells(timing: Timing, reference: Timing, macs: int) -> str:
    """A timing, the floating-point operations a second it amounts to, and its ratio to the reference."""
    return f"{timing!s:>30}{2 * macs / timing.median / 1e6:>9.3g}{timing.median / reference.median:>8.3g}"


if __name__ == "__main__":
    main()
