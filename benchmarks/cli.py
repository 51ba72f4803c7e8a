"""`python -m benchmarks run`, `list`, `compare`, `report`."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import comparison, counting, machine, measure, report, results
from benchmarks.case import Case
from benchmarks.cases import catalogue
from benchmarks.engines import registry
from benchmarks.handle import WorkerError
from minidl.backend import DeviceError, device

RESULTS = Path(__file__).with_name("results")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command. Its exit status: 0; 1 when an answer was wrong or an engine failed; 2 for a usage error, and where
    nothing can be measured; 130 after Ctrl-C.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        status: int = options.command(options)
        return status
    except (DeviceError, ModuleNotFoundError, OSError, ValueError, WorkerError) as error:
        print(f"python -m benchmarks {options.name}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\npython -m benchmarks {options.name}: interrupted; cases that were done are kept", file=sys.stderr)
        return 130


def _run(options: argparse.Namespace) -> int:
    device(options.device)  # before minutes of work
    cases = catalogue.select(options.cases, catalogue.smoke() if options.smoke else catalogue.cases())
    rows = registry.select(options.engines, options.device)
    named = [row for row in rows if row in options.engines]
    threads, rounds = options.threads or machine.cores(), options.rounds
    how: dict[str, Any] = {}
    if options.smoke:  # on one thread it disturbs nobody, and others do not disturb it
        threads, rounds, how = options.threads or 1, rounds or 2, {"turn": 0.0, "keep": True}
    with tempfile.TemporaryDirectory() as folder:
        output = options.output or (Path(folder) / "smoke.json" if options.smoke else _default_output(options.device))
        _say_who_is_missing(rows)
        wrong = measure.run(
            cases, rows, output, threads=threads, device=options.device, rounds=rounds, asked_for=named, **how
        )
        results.read(output)
        kept = options.output or not options.smoke
        print(f"\n{len(cases)} cases are in {output}" if kept else f"\n{len(cases)} cases ran; nothing is kept of them")
    print(*(f"wrong: {line}" for line in wrong), sep="\n", end="\n" if wrong else "")
    return 1 if wrong else 0


def _say_who_is_missing(rows: Sequence[str]) -> None:
    for name in dict.fromkeys(row.partition("/")[0] for row in rows):
        if reason := registry.engine_of(name).missing():
            print(f"without {name}: {reason}")


def _default_output(where: str) -> Path:
    return RESULTS / f"{machine.name(machine.describe(where))}.json"


def _list(options: argparse.Namespace) -> int:
    cases = catalogue.select(options.cases, catalogue.cases())
    width = max(len(case.name) for case in cases)
    for case in cases:
        print(f"{case.name:{width}}  {_shape(case):14}  {case.mode:20}  {_work(case)}")
    print()
    for row in registry.rows():
        engine = registry.engine_of(row)
        state = engine.missing() or f"{sum(not engine.unable(row, case) for case in cases)} of these cases"
        where = "" if "cpu" in engine.devices.get(row, ("cpu",)) else " (GPU)"
        print(f"{row:{width}}  {registry.label(row)}{where}: {state}")
    return 0


def _shape(case: Case) -> str:
    return "×".join(map(str, case.shape))


def _work(case: Case) -> str:
    return f"{counting.macs(case):,} multiply-adds"


def _compare(options: argparse.Namespace) -> int:
    print(comparison.table(results.read(options.before), results.read(options.after)))
    return 0


def _report(options: argparse.Namespace) -> int:
    report.write(RESULTS)
    print(f"{report.PAGE} and the pictures beside the results are written anew")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure minidl and other engines on this machine, and write down what came of it.",
        epilog="`python -m benchmarks COMMAND --help` explains a command and its options.",
    )
    commands = parser.add_subparsers(dest="name", metavar="COMMAND", required=True)
    _add_run(commands)

    text = "list the cases, with their multiply-adds, and the engines, with the reason for each that is skipped"
    listing = commands.add_parser("list", help=text, description=text[0].upper() + text[1:] + ".")
    _add_cases(listing)
    listing.set_defaults(command=_list)

    comparing = commands.add_parser(
        "compare",
        help="compare two files of results: what changed, and whether it is more than noise",
        description=comparison.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    comparing.add_argument("before", type=Path, metavar="A", help="results of before")
    comparing.add_argument("after", type=Path, metavar="B", help="results of after")
    comparing.set_defaults(command=_compare)

    text = "write the tables of benchmarks/README.md and the pictures anew, from the files in benchmarks/results"
    reporting = commands.add_parser("report", help=text, description=text[0].upper() + text[1:] + ".")
    reporting.set_defaults(command=_report)
    return parser


def _add_run(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "run",
        help="measure, and write every sample to benchmarks/results",
        description=(
            "Measure cases in every engine that is installed. Each computes in a process of its own; its answer is "
            "checked, and refused if it is wrong; then they take turns, round by round. A case is written to the file "
            "as soon as it is done, in the place of what the file had of it; other cases there stay."
        ),
    )
    _add_cases(parser)
    text = (
        "only these rows (minidl torch/nchw), or all of an engine (torch); * stands for any letters. A row that takes "
        "long to start, torch/compiled, is measured only if it is named in full"
    )
    parser.add_argument("--engines", nargs="+", default=["*"], metavar="NAME", help=text)
    text = f"how many each engine may use (default: the cores of this machine, {machine.cores()}; with --smoke, 1)"
    parser.add_argument("--threads", type=_positive, metavar="N", help=text)
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu", help="default %(default)s")
    text = "samples of each row (default: as many as fit in the seconds of a case, 5 at least)"
    parser.add_argument("--rounds", type=_positive, metavar="N", help=text)
    text = "tiny cases of every kind and 2 rounds: to see that all runs and is right. The times mean nothing"
    parser.add_argument("--smoke", action="store_true", help=text)
    text = "default benchmarks/results/<machine>.json; with --smoke, none is kept"
    parser.add_argument("--output", type=Path, metavar="FILE", help=text)
    parser.set_defaults(command=_run)


def _add_cases(parser: argparse.ArgumentParser) -> None:
    text = "only those whose name matches, such as 'network/*' or 'conv/64@56/*'; * stands for any letters"
    parser.add_argument("--cases", nargs="+", default=[], metavar="PATTERN", help=text)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected an integer of at least 1, got {text!r}")
    return int(text)
