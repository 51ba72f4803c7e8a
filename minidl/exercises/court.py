"""The process in which judges run. It is started by the path of this file, before anything of minidl is imported.

    python court.py REQUEST.json

The request names the tree that minidl is imported from, the submissions to put into it, and the exercise whose judges
are to run, with the files they are in; or a command of minidl's that is to run instead. What happened is written to the
file that it names. No other tests are collected, no conftest.py has a say, and time is limited.
"""

from __future__ import annotations

import faulthandler
import json
import runpy
import sys
import traceback
from pathlib import Path
from typing import Any


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
        "notes": list(getattr(error, "__notes__", ())),
    }


def main(file: str) -> int:
    import substitution  # type: ignore[import-not-found]  # this file's neighbour: its folder is first on sys.path

    request = json.loads(Path(file).read_text(encoding="utf-8"))
    here = str(Path(__file__).resolve().parent)
    sys.path[:] = [request["tree"], request["oracle"], *(path for path in sys.path if path != here)]
    sys.dont_write_bytecode = True
    substitution.install(substitution.Submission(*submission) for submission in request["submissions"])
    with open(request["stuck"], "w", encoding="utf-8") as stuck:
        if request["seconds"]:
            faulthandler.dump_traceback_later(request["seconds"], exit=True, file=stuck)
        result = command(request) if request["command"] else judge(request)
        faulthandler.cancel_dump_traceback_later()
    result["calls"] = dict(substitution.calls)
    Path(request["result"]).write_text(json.dumps(result, default=repr), encoding="utf-8")
    return 0


def command(request: dict[str, Any]) -> dict[str, Any]:
    """Run a command of minidl's, such as `train`, as the program does."""
    sys.argv = ["minidl", *request["command"]]
    try:
        runpy.run_module("minidl.cli", run_name="__main__")
    except SystemExit as end:
        return {"status": end.code or 0, "errors": []}
    except Exception as error:
        return {"status": 1, "errors": [described(error)]}
    return {"status": 0, "errors": []}


def judge(request: dict[str, Any]) -> dict[str, Any]:
    """Run the judges of one exercise."""
    try:
        import minidl  # noqa: F401 - now, when what goes wrong is the submission's doing
    except Exception as error:
        return {"tests": {}, "errors": [described(error)]}
    import pytest

    clerk = Clerk(request["exercise"])
    options = ["-c", request["pytest.ini"], "--rootdir", request["tree"], "--import-mode=importlib"]
    options += ["--noconftest", "-p", "no:cacheprovider", "-q"]
    status = pytest.main([*options, *request["tests"]], plugins=[clerk])
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED):
        clerk.errors.append({"kind": "pytest", "text": f"pytest ended with {status!r}"})
    return {"tests": clerk.tests, "errors": clerk.errors}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
