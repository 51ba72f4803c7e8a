"""`minidl exercise`, as it is used: what the screen says, what is written, and the exit status."""

import json
import os
import re
import subprocess
import sys
import threading
import time

import pytest

from minidl import cli
from minidl.commands import exercise_options as command
from minidl.exercises.curriculum import Curriculum, curriculum
from minidl.exercises.worksheet import mistaken_worksheet, root, solved_worksheet

COURSE = curriculum()
SLOPES = COURSE["central-difference"]
FILE = f"work/{SLOPES.file_name}"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def minidl(capsys):
    """Run a command; its exit status, and what it printed to stdout and stderr."""

    def run(*arguments):
        try:
            status = cli.main(["exercise", *map(str, arguments)])
        except SystemExit as end:
            status = end.code
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


def solve(number=1):
    exercise = COURSE[str(number)]
    os.makedirs("work", exist_ok=True)
    with open(f"work/{exercise.file_name}", "w") as file:
        file.write(solved_worksheet(exercise))


def test_the_way_through_one_exercise(minidl, folder):
    status, out, _ = minidl()
    assert status == 0
    assert "0 of 42 exercises passed" in out
    assert "minidl exercise start 1" in out
    status, out, _ = minidl("start")
    assert status == 0
    assert f"{FILE} is your worksheet" in out
    status, out, _ = minidl("check")
    assert status == 1
    assert out == f"✗ 1 central-difference: nothing is written yet: {FILE} still raises ExerciseTodo\n"
    (folder / FILE).write_text(mistaken_worksheet(SLOPES, SLOPES.mistakes[0]))
    status, out, _ = minidl("check")
    assert status == 1
    assert out.startswith("✗ 1 central-difference: ")
    assert f"Advice: {SLOPES.mistakes[0].advice}" in out
    assert "stuck?  minidl exercise hint 1" in out
    assert "test_01_central_difference.py" in out
    status, out, _ = minidl("hint")
    assert out.startswith("hint 1 of 3: ")
    solve()
    status, out, _ = minidl("check", "1")
    assert status == 0
    assert out.startswith("✓ 1 central-difference: passed  (")
    assert "next:  minidl exercise start 2" in out
    status, out, _ = minidl("solution", "1")
    assert (status, out) == (0, "yours is minidl's, word for word\n")
    assert "1 of 42 exercises passed" in minidl()[1]
    assert "✓  1  central-difference" in minidl("list")[1]


def test_hints_one_by_one(minidl):
    minidl("start")
    assert minidl("hint")[1].count("hint ") == 2  # it, and how to get another
    assert minidl("hint", "1")[1].startswith("hint 1 of 3")
    assert "hint 2 of 3" in minidl("hint", "--more")[1]
    assert "hint 2 of 3" in minidl("hint")[1], "it is remembered"
    assert "hint 3 of 3" in minidl("hint", "--more")[1]
    assert "that was the last" in minidl("hint", "--more")[1]


def test_start_names_what_it_builds_on(minidl, folder):
    _, out, _ = minidl("start", "im2col")
    assert "It builds on 18 output-size-macs; until you have written that, minidl's own is used." in out
    (folder / "work" / "20_im2col.py").write_text("mine")
    _, out, _ = minidl("start", "20")
    assert "work/20_im2col.py is there already, and stays as it is" in out
    assert (folder / "work" / "20_im2col.py").read_text() == "mine"


def test_reset_keeps_a_backup(minidl, folder):
    assert minidl("reset", "1")[1] == f"{FILE} is fresh\n"
    (folder / FILE).write_text("mine")
    assert minidl("reset", "1")[1] == f"{FILE} is fresh; what you had is kept as {FILE}.1\n"
    assert (folder / f"{FILE}.1").read_text() == "mine"


def test_the_solution_is_shown_after_a_pass_or_for_giving_up(minidl, folder):
    minidl("start")
    status, _, err = minidl("solution")
    assert status == 2
    assert "1 central-difference has not passed yet; `--give-up` shows it all the same" in err
    status, out, _ = minidl("solution", "--give-up")
    assert status == 0
    assert "+        return (self.at(eps) - self.at(-eps)) / (2 * eps)" in out.splitlines()
    assert (folder / "work" / "progress.txt").read_text().splitlines()[1].endswith("yes")


def test_check_all(minidl):
    solve(1)
    minidl("start", "2")
    status, out, _ = minidl("check", "--all")
    assert status == 1
    assert out.splitlines()[0].startswith("✓ 1 central-difference: passed")
    assert out.splitlines()[1].startswith("✗ 2 relative-error: nothing is written yet")
    assert out.splitlines()[2] == "1 of 2 passed"


def test_a_file_that_passed_and_then_fails(minidl, folder):
    solve(1)
    minidl("check")
    (folder / FILE).write_text("return (")
    assert "~  1  central-difference" in minidl("list")[1]
    status, out, _ = minidl("check")
    assert status == 1
    assert out.startswith(f"✗ 1 central-difference: {FILE}, line 1: this is not Python: '(' was never closed")
    assert "·  1  central-difference" in minidl("list")[1]


def test_another_folder(minidl, folder):
    minidl("start", "--dir", "mine/here")
    assert (folder / "mine" / "here" / SLOPES.file_name).exists()
    assert "mine/here" in minidl("--dir", "mine/here", "check")[1]
    assert not (folder / "work").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("check",), "there is no worksheet in work yet: `minidl exercise start` writes the first"),
        (("check", "--all"), "there is no worksheet in work yet"),
        (("check", "1", "--all"), "name an exercise, or give --all"),
        (("check", "5"), "there is no work/05_sum_to.py yet: `minidl exercise start 5` writes it"),
        (("check", "imcol"), "did you mean im2col or col2im"),
        (("start", "99"), "there is no exercise 99: they are numbered 1 to 42"),
        (("hint",), "there is no worksheet in work yet"),
        (("reset",), "the following arguments are required: EXERCISE"),
        (("run",), "the following arguments are required: --mine"),
        (("run", "--mine"), "nothing of yours has passed yet"),
        (("check", "1", "--seconds", "0"), "expected a number of seconds above 0, got '0'"),
        (("check", "1", "--seconds", "soon"), "expected a number of seconds above 0, got 'soon'"),
        (("check", "1", "--tests", "nowhere"), "expected a folder, got 'nowhere'"),
        (("grade", "nowhere"), "nowhere: expected a folder of worksheets, or a tree from `export`"),
        (("grade", "."), "there is no worksheet in it, such as 01_central_difference.py"),
        (("export", "--stage", "Q", "tree"), "there is no stage 'Q': they are A, B, C, D, E, F, G"),
        (("export", "--stage", "G", "full"), "full is there already, and not empty"),
        (("verify", "imcol"), "did you mean im2col or col2im"),
        (("lst",), "invalid choice: 'lst'"),
        (("--dir", "full/file.txt", "list"), "--dir full/file.txt: expected a folder, and that is a file"),
    ],
)
def test_what_cannot_be_done(minidl, folder, arguments, message):
    (folder / "full").mkdir()
    (folder / "full" / "file.txt").touch()
    status, _, err = minidl(*arguments)
    assert status == 2
    assert message in " ".join(err.split())
    assert sorted(file.name for file in folder.iterdir()) == ["full"]


def test_without_pytest(minidl, monkeypatch):
    solve()
    find = command.importlib.util.find_spec
    monkeypatch.setattr(command.importlib.util, "find_spec", lambda name: None if name == "pytest" else find(name))
    assert "the judges need pytest: pip install -e '.[test]'" in minidl("check")[2]


def test_without_a_clone(minidl, monkeypatch, tmp_path):
    solve()
    monkeypatch.setattr(command, "root", lambda: tmp_path)
    assert "run this in a clone of minidl, installed with `pip install -e`" in " ".join(minidl("check")[2].split())


def test_judges_of_ones_own_and_another_limit(minidl, folder):
    solve()
    (folder / "own").mkdir()
    judge = (
        'import pytest\n\n\n@pytest.mark.exercise("central-difference")\ndef test_own():\n    assert False, "never"\n'
    )
    (folder / "own" / "test_own.py").write_text(judge)
    for arguments in (("check",), ("check", "--all"), ("grade", "work")):
        status, out, _ = minidl(*arguments, "--tests", "own")
        assert status == 1, arguments
        assert "test_own" in out
    status, out, _ = minidl("verify", "1", "--tests", "own")
    assert status == 1
    assert "minidl's own does not pass: test_own" in out
    (folder / FILE).write_text(
        solved_worksheet(SLOPES).replace("return (self", "while True: pass\n        return (self")
    )
    status, out, _ = minidl("check", "--seconds", "2")
    assert status == 1
    assert "time was up: your code was still running, in line" in out
    status, out, _ = minidl("grade", "work", "--seconds", "2")
    assert "time was up" in out


def test_what_is_printed_is_shown(minidl, folder):
    (folder / "work").mkdir()
    (folder / FILE).write_text(
        solved_worksheet(SLOPES).replace("return (self", "print('eps', eps)\n        return (self")
    )
    status, out, _ = minidl("check")
    assert status == 0
    assert "your code printed:\n    eps " in out


def test_a_worksheet_with_a_byte_order_mark(minidl, folder):
    (folder / "work").mkdir()
    (folder / FILE).write_bytes(b"\xef\xbb\xbf" + solved_worksheet(SLOPES).replace("\n", "\r\n").encode())
    assert minidl("check")[0] == 0


def test_a_folder_in_the_worksheets_place(minidl, folder):
    (folder / FILE).mkdir(parents=True)
    for name in ("check", "start"):
        status, _, err = minidl(name, "1")
        assert status == 2
        assert "expected a worksheet, and that is a folder" in err


def test_from_inside_the_folder(minidl, monkeypatch):
    solve()
    minidl("check")
    monkeypatch.chdir("work")
    assert "1 of 42 exercises passed" in minidl()[1]
    assert not os.path.exists("work")


def test_an_untouched_bug_hunt_gets_no_advice(minidl):
    minidl("start", "42")
    status, out, _ = minidl("check", "42")
    assert status == 1
    assert "Advice" not in out


def test_watching(minidl, folder, capsys):
    """A worksheet is judged when it is saved, and again when it is saved again."""
    minidl("start")
    said = []

    def save():
        time.sleep(0.5)
        (folder / FILE).write_text("return (")
        time.sleep(1.5)
        solve()
        deadline = time.time() + 60
        while "✓" not in "".join(said) and time.time() < deadline:
            said.append(capsys.readouterr().out)
            time.sleep(0.2)
        import _thread

        _thread.interrupt_main()

    writer = threading.Thread(target=save)
    writer.start()
    status = cli.main(["exercise", "watch"])
    writer.join()
    out = "".join(said) + capsys.readouterr().out
    assert status == 0
    assert out.startswith("watching work: each worksheet is checked when you save it.")
    assert (
        out.index("this is not Python") < out.index("✓ 1 central-difference: passed") < out.index("no longer watching")
    )


@pytest.mark.slow
def test_training_with_what_one_has_written(capfd, folder):
    for number in (6, 20):
        solve(number)
        assert cli.main(["exercise", "check", str(number)]) == 0
    solve(1)  # written, but not checked: it stays out
    status = cli.main(["exercise", "run", "--mine", "--epochs", "1"])
    out = capfd.readouterr().out
    assert status == 0
    assert "training resnet_small: of 70 functions of the exercises 5 are yours, 65 are minidl's still" in out
    assert "test accuracy" in out
    assert (
        "this network has no use for ops.elementwise:Multiply.forward, ops.elementwise:Multiply.backward"
        in " ".join(out.split())
    )
    assert [line.split()[1] for line in out.splitlines() if line.strip().endswith("im2col")] == [
        "kernels.columns:im2col"
    ]
    assert "5 of the " in out
    (run,) = (folder / "work" / "runs").iterdir()
    assert (run / "last.npz").exists()


def test_training_with_something_broken(minidl, folder):
    text = solved_worksheet(COURSE["im2col"]).replace("    return view.reshape", "    return oops + view.reshape")
    (folder / "work").mkdir()
    (folder / "work" / "20_im2col.py").write_text(text)
    command.Workplace(folder / "work").note_passed(COURSE["im2col"])
    status, out, _ = minidl("run", "--mine", "--epochs", "1")
    assert status == 1
    assert "NameError: name 'oops' is not defined" in out
    assert re.search(r"20 im2col: 20_im2col\.py, line [0-9]+, in im2col:  return oops \+ view", out)


def test_grading(minidl, folder, monkeypatch):
    monkeypatch.setattr("minidl.exercises.grading.curriculum", lambda: Curriculum(COURSE.stages, COURSE.exercises[:2]))
    solve(1)
    status, out, _ = minidl("grade", "work")
    assert status == 0
    assert out.splitlines()[0].split() == ["1", "central-difference", "passed"]
    assert out.splitlines()[1].split() == ["2", "relative-error", "missing"]
    minidl("start", "2")
    status, out, _ = minidl("grade", "work", "--json")
    result = json.loads(out)
    assert status == 1
    assert (result["kind"], result["passed"]) == ("worksheets", 1)
    assert [grade["status"] for grade in result["exercises"]] == ["passed", "blank"]


def test_exporting(minidl, folder, monkeypatch):
    monkeypatch.setattr("minidl.exercises.export.known_failures", lambda exercises, tests, done: [])
    status, out, _ = minidl("export", "--stage", "g", "course")
    assert status == 0
    assert (
        out == "course: 1 functions of 1 exercises are to be written, from 41 winograd on; README.md in it says how\n"
    )
    process = in_tree(folder / "course", "check", "41")
    assert process.returncode == 1
    assert "41 winograd is not written yet" in process.stdout
    assert "this tree has no solutions" in in_tree(folder / "course", "solution", "41", "--give-up").stderr
    assert "was exported itself" in in_tree(folder / "course", "export", "--stage", "G", "again").stderr
    assert "was exported, and has no right bodies" in in_tree(folder / "course", "verify", "1").stderr
    assert "0 of 2 exercises passed" in in_tree(folder / "course").stdout
    assert "there is no work/42_bug_hunt.py yet" in in_tree(folder / "course", "check", "42").stderr
    file = folder / "course" / "minidl" / "kernels" / "winograd.py"
    file.write_text((root() / "minidl" / "kernels" / "winograd.py").read_text())
    process = in_tree(folder / "course", "check", "41")
    assert (process.returncode, process.stdout[:20]) == (0, "✓ 41 winograd: passed"[:20])
    assert "solution" not in process.stdout
    assert "1 of 2 exercises passed" in in_tree(folder / "course").stdout
    file.write_text(file.read_text() + "\n")
    assert "1 of 2 exercises passed" in in_tree(folder / "course").stdout


def in_tree(tree, *arguments):
    """The command in a student's tree."""
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    call = [sys.executable, "-m", "minidl.cli", "exercise", *arguments]
    return subprocess.run(call, cwd=tree, env=environment, capture_output=True, text=True, timeout=120)


def test_verifying(minidl):
    status, out, _ = minidl("verify", "central-difference")
    assert status == 0
    assert out.startswith("✓ 1 central-difference: solvable, judged, ")
    assert out.splitlines()[-1].startswith("1 of 1 exercises hold")


def test_verifying_what_does_not_hold(minidl, monkeypatch):
    monkeypatch.setattr("minidl.exercises.verify.faults", lambda exercise, tests: ["no hints"])
    status, out, _ = minidl("verify", "1", "2")
    assert status == 1
    assert "✗ 1 central-difference\n    no hints\n" in out
    assert "0 of 2 exercises hold" in out


def test_every_command_has_help(minidl):
    for name in ("list", "start", "check", "hint", "solution", "reset", "watch", "run", "grade", "export", "verify"):
        status, out, _ = minidl(name, "--help")
        assert status == 0
        assert out.startswith(f"usage: minidl exercise {name}")
    assert "{list,start" not in minidl("--help")[1]


def test_other_commands_do_without_the_curriculum():
    code = "import minidl, sys; print([m for m in sys.modules if m.startswith('minidl.exercises')])"
    environment = {**os.environ, "PYTHONPATH": str(root())}
    assert (
        subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True).stdout == "[]\n"
    )
