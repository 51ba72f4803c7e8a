"""The exercises in their order, as `curriculum.toml` has them: what is to be written, what helps, what goes wrong."""

from __future__ import annotations

import difflib
import functools
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

FILE = Path(__file__).with_name("curriculum.toml")


class UnknownExercise(ValueError):
    """A name or number that no exercise has; the message says which are close."""


@dataclass(frozen=True)
class Mistake:
    """A wrong body that people write, and what to tell them. Either a line of the right body is changed, or all of it.

    target    which of the exercise's definitions it is in
    find      text in the definition's source, once; with `replace` in its place
    body      instead of those, the whole body
    advice    one sentence
    """

    target: str
    advice: str
    find: str = ""
    replace: str = ""
    body: str = ""


@dataclass(frozen=True)
class Exercise:
    """One function, or a few that belong together, to be written by the learner.

    targets    "module:name" of each, such as "minidl.ops.conv:Conv2d.forward"
    keep       beginnings of the statements in their bodies that stay
    twins      functions that do the same in another way: in a student's tree their bodies are gone, too
    defects    for a bug hunt, what is wrong in the bodies, which are then given; as mistakes
    requires   ids of the exercises whose functions the judges run
    """

    number: int
    id: str
    title: str
    stage: str
    targets: tuple[str, ...]
    text: str
    source: str
    minutes: int
    hints: tuple[str, ...]
    mistakes: tuple[Mistake, ...]
    requires: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    twins: tuple[str, ...] = ()
    defects: tuple[Mistake, ...] = ()

    @property
    def file_name(self) -> str:
        """The name of its worksheet: 05_sum_to.py."""
        return f"{self.number:02}_{self.id.replace('-', '_')}.py"

    def __str__(self) -> str:
        return f"{self.number} {self.id}"


@dataclass(frozen=True)
class Stage:
    """Exercises on one subject."""

    letter: str
    title: str
    lecture: str  # which part of a course it goes with


@dataclass(frozen=True)
class Curriculum:
    """All exercises, in their order. `exported` is the stage from which on a student's tree has no solutions."""

    stages: tuple[Stage, ...]
    exercises: tuple[Exercise, ...]
    exported: str = ""

    def __getitem__(self, name: str) -> Exercise:
        """The exercise with this number or id. Raises: UnknownExercise."""
        name = Path(name).name  # it may be the path of a worksheet
        for exercise in self.exercises:
            number = name.isdecimal() and int(name) == exercise.number
            if number or name in (exercise.id, exercise.file_name, exercise.file_name[:-3]):
                return exercise
        if name.isdecimal():
            raise UnknownExercise(f"there is no exercise {name}: they are numbered 1 to {len(self.exercises)}")
        near = difflib.get_close_matches(name, [e.id for e in self.exercises], n=3, cutoff=0.4)
        hint = f"did you mean {' or '.join(near)}?" if near else "`minidl exercise list` shows them all"
        raise UnknownExercise(f"there is no exercise {name!r}: {hint}")

    @property
    def open(self) -> tuple[Exercise, ...]:
        """The exercises that learners solve: all, and in a student's tree those whose bodies are gone."""
        return tuple(exercise for exercise in self.exercises if exercise.stage >= self.exported)

    def is_in_place(self, exercise: Exercise) -> bool:
        """Whether it can be solved without a worksheet: where the body is missing, in a student's tree."""
        return bool(self.exported) and exercise in self.open and not exercise.defects

    def of_stage(self, letter: str) -> list[Exercise]:
        return [exercise for exercise in self.exercises if exercise.stage == letter]

    def after(self, exercise: Exercise) -> list[Exercise]:
        """The exercises that come later and have something to be written. (Bugs that are to be found are none.)"""
        return [later for later in self.exercises[exercise.number :] if not later.defects]

    def stage(self, letter: str) -> Stage:
        """Raises: UnknownExercise for a letter that no stage has."""
        for stage in self.stages:
            if stage.letter == letter.upper():
                return stage
        raise UnknownExercise(f"there is no stage {letter!r}: they are {', '.join(s.letter for s in self.stages)}")

    def from_stage(self, letter: str) -> list[Exercise]:
        """The exercises of this stage and of those after it."""
        return [exercise for exercise in self.exercises if exercise.stage >= letter]


@functools.cache
def curriculum(file: Path = FILE) -> Curriculum:
    """The curriculum, read from its file. Raises: ValueError that says what in the file is wrong."""
    data = tomllib.loads(file.read_text(encoding="utf-8"))
    exercises: list[Exercise] = []
    for number, entry in enumerate(data["exercise"], start=1):
        try:
            exercises.append(_exercise(number, entry, [e.id for e in exercises]))
        except (TypeError, ValueError, KeyError) as error:
            what = f"{error} is missing" if isinstance(error, KeyError) else error
            raise ValueError(f"{file.name}: exercise {number} {entry.get('id', '')}: {what}") from None
    stages = tuple(Stage(**entry) for entry in data["stage"])
    return Curriculum(stages, tuple(exercises), data.get("exported", ""))


def _exercise(number: int, entry: dict, earlier: Sequence[str]) -> Exercise:
    targets = tuple(entry["targets"])
    unknown = [name for name in entry.get("requires", ()) if name not in earlier]
    if unknown:
        raise ValueError(f"requires {unknown}, which do not come earlier")
    lists = {key: tuple(entry.get(key, ())) for key in ("requires", "keep", "twins", "hints")}
    wrong = {key: tuple(_mistakes(entry.get(key, ()), targets)) for key in ("mistakes", "defects")}
    wrong["mistakes"] += wrong["defects"]  # to leave a defect where it is, is a mistake
    plain = {key: value for key, value in entry.items() if key not in {"targets", *lists, *wrong}}
    return Exercise(number=number, targets=targets, **{**plain, **lists, **wrong})


def _mistakes(entries: Iterable[dict], targets: Sequence[str]) -> Iterable[Mistake]:
    for entry in entries:
        name = entry.get("target", "")
        found = [target for target in targets if target.endswith(name)] if name else list(targets[:1])
        if len(found) != 1:
            raise ValueError(f"a mistake in {name!r}: expected the end of one of {', '.join(targets)}")
        yield Mistake(**{**entry, "target": found[0]})
