"""A learner's folder: worksheets, one an exercise, and `progress.txt`, which says what is done.

Nothing in it is ever overwritten: what has to make way is kept under the same name with `.1`, `.2`, ... at its end.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

from minidl.exercises.curriculum import Curriculum, Exercise, curriculum
from minidl.exercises.submissions import in_tree, submission
from minidl.exercises.substitution import Submission
from minidl.exercises.worksheet import blank_worksheet, definitions, root

PROGRESS = "progress.txt"
HEADER = "# exercise, day it passed, fingerprint of the file that passed, hints seen, whether the solution was seen\n"


@dataclass(frozen=True)
class Progress:
    """What is known of one exercise. `passed` is a day, `fingerprint` the file's of then."""

    passed: str = ""
    fingerprint: str = ""
    hints: int = 0
    gave_up: bool = False


class Workplace:
    """The folder in which a learner works."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def file(self, exercise: Exercise) -> Path:
        return self.folder / exercise.file_name

    def text(self, exercise: Exercise) -> str | None:
        """What the learner has written; None where the exercise has not been started."""
        file = self.file(exercise)
        if file.exists() and not file.is_file():
            raise ValueError(f"{file}: expected a worksheet, and that is a folder; give it another name")
        return file.read_text(encoding="utf-8-sig", errors="replace") if file.is_file() else None

    def start(self, exercise: Exercise) -> bool:
        """Write the worksheet, if there is none yet. Returns whether it was written."""
        if self.text(exercise) is not None:
            return False
        self.folder.mkdir(parents=True, exist_ok=True)
        self.file(exercise).write_text(blank_worksheet(exercise), encoding="utf-8")
        return True

    def reset(self, exercise: Exercise) -> Path | None:
        """Write a fresh worksheet. Returns where the old one is kept, if there was one."""
        file, kept = self.file(exercise), None
        if file.exists():
            kept = next(p for i in range(1, 10_000) if not (p := file.with_name(f"{file.name}.{i}")).exists())
            file.rename(kept)
        self.start(exercise)
        return kept

    def saved_at(self) -> dict[Exercise, float]:
        """When each worksheet was written last."""
        result = {}
        for exercise in curriculum().exercises:
            with contextlib.suppress(OSError):  # there is none; or it is being replaced right now
                result[exercise] = self.file(exercise).stat().st_mtime
        return result

    def saved_last(self) -> Exercise | None:
        """The exercise whose worksheet was written last; None where there is none."""
        times = self.saved_at()
        return max(times, key=lambda exercise: times[exercise], default=None)

    # -- progress.txt

    def progress(self) -> dict[str, Progress]:
        """Of each exercise that anything is known of. Raises: ValueError naming a line that cannot be read."""
        file = self.folder / PROGRESS
        result: dict[str, Progress] = {}
        if not file.is_file():
            return result
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
            if not line.strip() or line.startswith("#"):
                continue
            try:
                name, passed, fingerprint, hints, gave_up = line.split()
                result[name] = Progress(_dashed(passed), _dashed(fingerprint), int(hints), gave_up == "yes")
            except ValueError:
                raise ValueError(
                    f"{file}, line {number}: expected five words, as in the lines above, got {line!r}"
                ) from None
        return result

    def of(self, exercise: Exercise) -> Progress:
        return self.progress().get(exercise.id, Progress())

    def note(self, exercise: Exercise, **changes: object) -> None:
        """Write down what has become of an exercise."""
        known = self.progress()
        known[exercise.id] = replace(known.get(exercise.id, Progress()), **changes)  # type: ignore[arg-type]
        order = [e.id for e in curriculum().exercises]
        lines = [
            f"{name:24} {p.passed or '-':10} {p.fingerprint or '-':12} {p.hints} {'yes' if p.gave_up else 'no'}\n"
            for name, p in sorted(known.items(), key=lambda item: order.index(item[0]) if item[0] in order else 99)
        ]
        self.folder.mkdir(parents=True, exist_ok=True)
        part = self.folder / f"{PROGRESS}.part"
        part.write_text(HEADER + "".join(lines), encoding="utf-8")
        part.replace(self.folder / PROGRESS)

    def note_passed(self, exercise: Exercise) -> None:
        """Write down that what is there now has passed."""
        self.note(exercise, passed=datetime.date.today().isoformat(), fingerprint=self.fingerprint(exercise))

    def note_failed(self, exercise: Exercise) -> None:
        if self.of(exercise).passed:
            self.note(exercise, passed="", fingerprint="")

    def state(self, exercise: Exercise) -> str:
        """ "passed", "changed" since it passed, "started", or "" """
        known, now = self.of(exercise), self.fingerprint(exercise)
        if known.passed and now:
            return "passed" if known.fingerprint == now else "changed"
        return "" if self.text(exercise) is None else "started"

    def passed(self, course: Curriculum) -> list[Exercise]:
        """The exercises whose worksheets have passed, as they are."""
        return [e for e in course.exercises if self.state(e) == "passed" and self.text(e) is not None]

    def fingerprint(self, exercise: Exercise) -> str:
        """Of the worksheet; without one, of the functions in the tree, where they can be written in place; or ""."""
        text = self.text(exercise)
        if text is None and curriculum().is_in_place(exercise):
            text = definitions(exercise)
        return "" if text is None else hashlib.sha256(text.encode()).hexdigest()[:12]

    def submission(self, exercise: Exercise) -> Submission:
        """The worksheet as it is, or the functions in the tree. Raises: CannotBeJudged; FileNotFoundError."""
        text = self.text(exercise)
        if text is None and curriculum().is_in_place(exercise):
            return in_tree(exercise, root())
        if text is None:
            raise FileNotFoundError(f"there is no {self.file(exercise)}")
        return submission(exercise, text, self.file(exercise))

    def next(self, course: Curriculum, after: Exercise | None = None) -> Exercise | None:
        """The first exercise that has not been passed; where one is named, the first after it, if there is any."""
        open_ones = [exercise for exercise in course.open if self.state(exercise) != "passed"]
        later = [exercise for exercise in open_ones if after is not None and exercise.number > after.number]
        return next(iter([*later, *open_ones]), None)


def _dashed(word: str) -> str:
    return "" if word == "-" else word
