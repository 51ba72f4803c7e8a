"""The process in which judges run. It is started by the path of this file, before anything of minidl is imported.

    python court.py REQUEST.json

The request names the tree that minidl is imported from, the submissions to put into it, and the exercise whose judges
are to run, with the files they are in; or a command of minidl's that is to run instead. What happened is written to the
file that it names. No other tests are collected, no conftest.py has a say, and time is limited.
"""

from __future__ import annotations

import faulthandler
import importlib
import json
import os
import runpy
import sys
import traceback
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

MEMORY = 8 << 30  # bytes of addresses: BLAS alone takes one or two


class Clerk:
    """The plugin that chooses the tests of one exercise, and takes down what becomes of them."""

    def __init__(self, exercise: str) -> None:
        self.exercise = exercise
        self.tests: dict[str, dict[str, Any]] = {}
        self.errors: list[dict[str, Any]] = []

    def pytest_configure(self, config: Any) -> None:
        config.addinivalue_line("markers", "exercise(id): judges this exercise")

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        items[:] = [item for item in items if self._is_ours(item)]

    def _is_ours(self, item: Any) -> bool:
        return any(marker.args == (self.exercise,) for marker in item.iter_markers("exercise"))

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            self.errors.append({"kind": "import", "text": str(report.longrepr)})

    def pytest_runtest_logreport(self, report: Any) -> None:
        test = self.tests.setdefault(report.nodeid, {"outcome": "passed"})
        test["printed"] = report.capstdout
        if report.skipped:
            test["outcome"] = "skipped"
        elif report.failed:
            test["outcome"] = "failed"

    def pytest_runtest_makereport(self, item: Any, call: Any) -> None:
        if call.excinfo is not None:
            document = (item.function.__doc__ or "").strip().splitlines()
            self.tests[item.nodeid] = {"outcome": "failed", "says": document[:1], **described(call.excinfo.value)}


class Ours(MetaPathFinder):
    """Of a student's tree, what judges say things with is taken from ours: they must not be judged by their own."""

    def __init__(self, ours: Path) -> None:
        self.files = {
            "minidl.exercises": ours / "minidl" / "exercises" / "__init__.py",
            "minidl.mistakes": ours / "minidl" / "mistakes.py",
        }

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        file = self.files.get(fullname)
        if file is None:
            return None
        inside = [str(file.parent)] if file.name == "__init__.py" else None
        return spec_from_file_location(fullname, file, submodule_search_locations=inside)


def described(error: BaseException) -> dict[str, Any]:
    """An error as plain data."""
    frames = [[f.filename, f.lineno, f.name, f.line] for f in traceback.extract_tb(error.__traceback__)]
    got: Any = getattr(error, "got", None)
    return {
        "kind": type(error).__name__,
        "text": str(error),
        "last_line": "".join(traceback.TracebackException.from_exception(error).format_exception_only()).strip(),
        "frames": frames,
        "got": got.tolist() if hasattr(got, "tolist") else got,
    }


def main(file: str) -> None:
    here = str(Path(__file__).resolve().parent)
    sys.path.insert(0, here)
    import substitution  # type: ignore[import-not-found]  # this file's neighbour

    request = json.loads(Path(file).read_text(encoding="utf-8"))
    judges = dict.fromkeys(str(Path(test).parent) for test in request["tests"])
    places = [str(Path(request["ours"], "tests")), *judges, request["tree"]]
    sys.path[:] = [*places, *(path for path in sys.path if path != here)]
    if request["tree"] != request["ours"]:
        sys.meta_path.insert(0, Ours(Path(request["ours"])))
    sys.dont_write_bytecode = True
    submissions = [(file, text, tuple(targets), tuple(known)) for file, text, targets, known in request["submissions"]]
    substitution.install([substitution.Submission(*submission) for submission in submissions])
    with open(request["stuck"], "w", encoding="utf-8") as stuck:
        if request["seconds"]:
            faulthandler.dump_traceback_later(request["seconds"], exit=True, file=stuck)
        result = command(request) if request["command"] else judge(request)
        faulthandler.cancel_dump_traceback_later()
    result["calls"] = dict(substitution.calls)
    part = Path(request["result"] + ".part")
    part.write_text(json.dumps(result, default=repr), encoding="utf-8")
    part.replace(request["result"])


def command(request: dict[str, Any]) -> dict[str, Any]:
    """Run a command of minidl's, such as `train`. An error goes to the learner, with its lines."""
    try:
        cli = runpy.run_module("minidl.cli")
        options = cli["make_parser"]().parse_args(request["command"])
        return {"status": options.run(options), "errors": []}
    except SystemExit as end:  # a usage error
        return {"status": end.code, "errors": []}
    except Exception as error:
        return {"status": 1, "errors": [described(error)]}


def _limit_memory() -> None:
    """Have whoever asks for more memory than any test needs get a MemoryError, where the system can do that."""
    try:
        import resource
    except ModuleNotFoundError:
        return
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY if most < 0 else min(MEMORY, most), most))


def judge(request: dict[str, Any]) -> dict[str, Any]:
    """Run the judges of one exercise."""
    try:
        for module in {target.split(":")[0] for _, _, targets, _ in request["submissions"] for target in targets}:
            importlib.import_module(module)  # now, when what goes wrong is the submission's doing
    except Exception as error:
        return {"tests": {}, "errors": [described(error)]}
    import pytest

    _limit_memory()
    clerk = Clerk(request["exercise"])
    options = ["-c", request["pytest.ini"], "--rootdir", request["tree"], "--import-mode=importlib"]
    options += ["--noconftest", "-p", "no:cacheprovider", "-q"]
    status = pytest.main([*options, *request["tests"]], plugins=[clerk])
    if status == pytest.ExitCode.INTERRUPTED and not clerk.errors:
        clerk.errors.append({"kind": "pytest", "text": "the tests were interrupted: by a KeyboardInterrupt?"})
    elif status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED):
        clerk.errors.append({"kind": "pytest", "text": f"pytest ended with {status!r}"})
    return {"tests": clerk.tests, "errors": clerk.errors}


if __name__ == "__main__":
    main(sys.argv[1])
    sys.stdout.flush()
    os._exit(0)  # nobody waits for threads that a submission has left behind
