"""A tree for students: bodies gone, judges kept, and nothing in it that gives them away."""

import ast
import concurrent.futures
import shutil
import textwrap

import pytest

from minidl.exercises import export as exporting
from minidl.exercises.curriculum import UnknownExercise, curriculum
from minidl.exercises.export import export
from minidl.exercises.grading import grades, is_tree
from minidl.exercises.runner import judge
from minidl.exercises.submissions import in_tree
from minidl.exercises.substitution import find
from minidl.exercises.verify import solved
from minidl.exercises.worksheet import body_of, root, source_of

COURSE = curriculum()
FROM_D = [exercise for exercise in COURSE.from_stage("D") if not exercise.defects]


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """This tree without stage D and what comes after it. What becomes of known mistakes is left out, to save time."""
    folder = tmp_path_factory.mktemp("course") / "tree"
    with pytest.MonkeyPatch.context() as patch:
        asked = []
        patch.setattr(exporting, "known_failures", lambda exercises, tests, done: asked.extend(exercises) or [])
        assert export("d", folder, None, lambda: None) == FROM_D
        assert asked == FROM_D
    return folder


def body_text(target):
    """The body of a function, without its indentation and comments."""
    source, name = source_of(target)
    return "\n".join(ast.unparse(statement) for statement in body_of(find(source.tree, name)))


def test_bodies_are_gone_and_nothing_else(tree):
    assert is_tree(tree)
    gone = {target for exercise in FROM_D for target in (*exercise.targets, *exercise.twins)}
    for module in {target.split(":")[0] for target in gone}:
        (before, _), (after, _) = source_of(f"{module}:x"), source_of(f"{module}:x", tree)
        ours, theirs = dict(functions(before.tree)), dict(functions(after.tree))
        assert set(ours) == set(theirs)
        changed = {f"{module}:{name}" for name in ours if ours[name] != theirs[name]}
        assert changed == {target for target in gone if target.startswith(f"{module}:")}
        for target in changed:
            assert "raise ExerciseTodo(" in theirs[target.split(":")[1]]


def functions(tree):
    """(name, source) of each function and method."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield node.name, ast.unparse(node)
        elif isinstance(node, ast.ClassDef):
            yield from ((f"{node.name}.{m.name}", ast.unparse(m)) for m in node.body if isinstance(m, ast.FunctionDef))


def test_no_file_has_a_body(tree):
    """Neither code nor documents; short bodies, which stand anywhere, are not looked for."""
    bodies = [body_text(target) for exercise in FROM_D for target in (*exercise.targets, *exercise.twins)]
    bodies = [body for body in bodies if len(body) > 80]
    assert len(bodies) > 20
    for file in tree.rglob("*"):
        if file.suffix == ".py":
            text = ast.unparse(ast.parse(file.read_text(encoding="utf-8")))
            text = "\n".join(line.strip() for line in text.splitlines())
            for body in bodies:
                flat = "\n".join(line.strip() for line in body.splitlines())
                assert flat not in text, file
        elif file.suffix in (".md", ".toml", ".json", ".cfg"):
            text = " ".join(file.read_text(encoding="utf-8").split())
            for body in bodies:
                assert " ".join(body.split()) not in text, file
                for line in textwrap.dedent(body).splitlines():
                    assert len(line) < 60 or line.strip() not in text, (file, line)


def test_what_is_left_out(tree):
    names = {file.relative_to(tree).as_posix() for file in tree.rglob("*")}
    assert not [name for name in names if "__pycache__" in name or name.startswith((".git", "work", "benchmarks"))]
    assert "minidl/exercises/WALKTHROUGH.md" not in names
    assert {"README.md", "LICENSE", "setup.cfg", "minidl/data/digits.npz"} <= names
    assert {name for name in names if name.startswith("tests/") and "exercises" not in name} == {
        "tests/blocks.py",
        "tests/oracle.py",
    }
    kept = {f"tests/exercises/{file.name}" for file in (root() / "tests" / "exercises").glob("*.py")}
    assert kept <= names
    assert [path.name for path in tree.parent.iterdir()] == ["tree"], "nothing is left beside it"


def test_its_curriculum_has_no_mistakes_that_give_bodies_away(tree):
    theirs = curriculum(tree / "minidl" / "exercises" / "curriculum.toml")
    assert theirs.exported == "D"
    for ours, exercise in zip(COURSE.exercises, theirs.exercises, strict=True):
        assert (exercise.id, exercise.targets, exercise.hints) == (ours.id, ours.targets, ours.hints)
        if exercise.stage < "D" or exercise.defects:
            assert exercise.mistakes == ours.mistakes
        else:
            assert exercise.mistakes == ()


def verdicts(exercises, tree):
    def of(exercise):
        return judge(exercise, [in_tree(exercise, tree)], tree=tree)

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        return dict(zip(exercises, pool.map(of, exercises), strict=True))


@pytest.mark.slow
def test_unsolved_the_open_stage_fails_and_every_earlier_one_passes(tree):
    for exercise, verdict in verdicts([e for e in COURSE.exercises if e.stage < "D"], tree).items():
        assert verdict.passed, (exercise.id, verdict.failures)
    for exercise, verdict in verdicts(COURSE.of_stage("D"), tree).items():
        assert verdict.passed_tests == 0, exercise.id
        assert {failure.kind for failure in verdict.failures} == {"ExerciseTodo"}, exercise.id


@pytest.mark.slow
def test_worksheets_that_passed_stand_in_for_what_is_missing(tree, tmp_path):
    """In a student's tree, im2col needs the size of the output, and both are in worksheets."""
    names = ("output-size-macs", "im2col", "conv2d-forward")
    mine = [solved(COURSE[name]) for name in names]
    assert not judge(COURSE["conv2d-forward"], mine[2:], tree=tree).passed
    assert judge(COURSE["conv2d-forward"], mine, tree=tree).passed


@pytest.mark.slow
def test_with_our_bodies_it_passes(tree, tmp_path):
    mended = tmp_path / "mended"
    shutil.copytree(tree, mended)
    for target in {target.split(":")[0] for exercise in COURSE.of_stage("D") for target in exercise.targets}:
        source, _ = source_of(f"{target}:x")
        shutil.copy(source.path, mended / source.relative)
    for exercise, verdict in verdicts(COURSE.of_stage("D"), mended).items():
        assert verdict.passed, (exercise.id, verdict.failures)


def test_a_student_cannot_bring_a_judge(tree, tmp_path):
    """Neither what judges say things with nor oracle.py is taken from a tree that is graded."""
    forged = tmp_path / "forged"
    shutil.copytree(tree, forged)
    with (forged / "minidl" / "exercises" / "judging.py").open("a") as file:
        file.write("\n\ndef judge(*_, **__): pass\n\n\ndef require(*_, **__): pass\n")
    (forged / "tests" / "oracle.py").write_text("1 / 0")
    kernels = forged / "minidl" / "kernels" / "columns.py"
    todo = 'raise ExerciseTodo("20 im2col")'
    assert todo in kernels.read_text()
    kernels.write_text(kernels.read_text().replace(todo, "return None"))
    verdict = judge(COURSE["im2col"], [in_tree(COURSE["im2col"], forged)], tree=forged)
    assert verdict.passed_tests == 0
    assert verdict.failures[0].kind in ("Wrong", "AttributeError", "TypeError")


def test_a_grade_of_a_tree(tree, monkeypatch):
    chosen = [COURSE["central-difference"], COURSE["output-size-macs"], COURSE["im2col"]]
    short = type(COURSE)(COURSE.stages, tuple(chosen))
    monkeypatch.setattr("minidl.exercises.grading.curriculum", lambda file=None: curriculum(file) if file else short)
    first, second = grades(tree, None, 60)
    assert (first["id"], first["status"]) == ("output-size-macs", "blank"), "what was given is not graded"
    assert (second["id"], second["status"], second["passed_tests"]) == ("im2col", "blank", 0)


def test_a_folder_that_is_in_use_stays_as_it_is(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="is there already, and not empty"):
        export("D", tmp_path, None, lambda: None)
    with pytest.raises(FileExistsError):
        export("D", tmp_path / "mine.txt", None, lambda: None)
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_a_stage_that_is_none(tmp_path):
    with pytest.raises(UnknownExercise, match="there is no stage 'Q'"):
        export("Q", tmp_path / "tree", None, lambda: None)
    assert not (tmp_path / "tree").exists()


def test_when_it_fails_nothing_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "known_failures", lambda exercises, tests, done: [])
    monkeypatch.setattr(exporting, "_write_curriculum", None)
    with pytest.raises(TypeError):
        export("G", tmp_path / "tree", None, lambda: None)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_empty_and_one_below_folders_that_are_not_there(tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "known_failures", lambda exercises, tests, done: [])
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "empty", tmp_path / "a" / "b"):
        export("G", folder, None, lambda: None)
        assert is_tree(folder)


def test_judges_of_ones_own_go_with_it(tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "known_failures", lambda exercises, tests, done: [])
    judges = tmp_path / "judges"
    judges.mkdir()
    (judges / "test_own.py").write_text('import pytest\n\npytestmark = pytest.mark.exercise("im2col")\n')
    export("G", tmp_path / "tree", judges, lambda: None)
    names = {file.name for file in (tmp_path / "tree" / "tests" / "exercises").iterdir()}
    assert "test_own.py" in names
    assert "test_20_im2col.py" not in names
    assert "test_21_col2im.py" in names
