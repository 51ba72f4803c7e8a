"""`minidl gradcheck` and `minidl doctor`."""

from __future__ import annotations

import argparse

from minidl import checks, doctor
from minidl.commands.options import UsageError
from minidl.gradcheck import GradcheckError, GradcheckReport
from minidl.names import build, fault_of, unknown


def add_gradcheck(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "gradcheck",
        help="compare gradients with finite differences",
        description=(
            "Compare first and second derivatives with central differences in float64, for a random upstream gradient. "
            "For operators and blocks every derivative is compared, for whole networks one along a random direction. "
            "The exit status is 1 when any is wrong."
        ),
        epilog=(
            f"Known names: {', '.join(checks.names())}. A network of your own is given as FILE.py:NAME, a class or "
            "function that is called with num_classes=10 and in_channels=1; it must take images (4, 8, 8, 1)."
        ),
    )
    parser.add_argument(
        "name", nargs="*", metavar="NAME", help="operators, blocks or models; all of them when none is given"
    )
    parser.set_defaults(run=_gradcheck)


def _gradcheck(options: argparse.Namespace) -> int:
    known = checks.names()
    for name in options.name:
        if name not in known and ":" not in name:
            raise UsageError(unknown("operator, block or model", name, known))
    names = options.name or known
    width = max(map(len, names))
    wrong = 0
    for name in names:
        try:
            first, second = checks.run(name) if name in known else _check_own(name)
        except GradcheckError as error:
            wrong += 1
            print(f"{name:{width}}  WRONG: {error}", flush=True)
        else:
            columns = (
                f"{report.compared:>7,} {order} derivative{'s' if report.compared > 1 else ' '}  off by at most "
                f"{report.worst_relative:.0e}"
                for order, report in (("first", first), ("second", second))
            )
            print(f"{name:{width}}  {'  '.join(columns)}", flush=True)
    print(f"{wrong} of {len(names)} wrong" if wrong else "all gradients agree with finite differences")
    return 1 if wrong else 0


def _check_own(spec: str) -> list[GradcheckReport]:
    with fault_of(spec):
        return checks.check_module(lambda: build(spec, num_classes=10, in_channels=1), (4, 8, 8, 1), fast=True)


def add_doctor(commands: argparse._SubParsersAction) -> None:
    commands.add_parser(
        "doctor",
        help="what minidl runs on here, what is missing, how fast it is, and what would make it faster",
        description=(
            "Print versions, BLAS kernels and threads, the GPU, and the command for each missing package; measure how "
            "fast matrix products are and what it costs to allocate memory, and say what to set where that would "
            "make them faster. It takes a few seconds."
        ),
    ).set_defaults(run=_doctor)


def _doctor(options: argparse.Namespace) -> int:
    print(doctor.report())
    return 0
