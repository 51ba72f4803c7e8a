"""What is handed in: what cannot be judged, and why."""

import re

import pytest

from minidl.exercises.curriculum import curriculum
from minidl.exercises.runner import judge
from minidl.exercises.submissions import CannotBeJudged, in_tree, is_blank, require_no_collisions, submission
from minidl.exercises.worksheet import blank_worksheet, root, solved_worksheet

SLOPES, MULTIPLY = curriculum()["central-difference"], curriculum()["multiply-divide"]
RIGHT = "return (self.at(eps) - self.at(-eps)) / (2 * eps)"
TODO = 'raise ExerciseTodo("1 central-difference")'


def written(body):
    """The worksheet of exercise 1 with this body."""
    return blank_worksheet(SLOPES).replace(TODO, body.replace("\n", "\n        "))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            written("return ("),
            "line [0-9]+: this is not Python: '\\(' was never closed\n    return \\(\n           \\^",
        ),
        (written("return 'a\0'"), "this is not Python: .*null bytes"),
        (written(RIGHT).replace("def slopes", "def slope"), "Line.slopes is missing: .* `minidl exercise reset 1`"),
        (written(RIGHT).replace("class Line", "class Lines"), "Line.slopes is missing"),
        ("", "Line.slopes is missing"),
        (written(RIGHT).replace("self, eps: float", "self, h"), r"must stay \(self, eps\), .* here it is \(self, h\)"),
        (written(RIGHT).replace("eps: float", "eps=1"), r"here it is \(self, eps=1\)"),
        (written(RIGHT).replace("    def slopes", "    async def slopes"), "Line.slopes is missing: .* with `def`"),
        (
            written(RIGHT) + "\n\ndef unit(x):\n    return x\n",
            "line .*: unit is something else in minidl.differences already",
        ),
        (
            written(RIGHT) + "\n    def at(self, step):\n        pass\n",
            "line .*: Line.at is not a part of this exercise",
        ),
    ],
)
def test_the_message_says_what_is_wrong(text, message):
    with pytest.raises(CannotBeJudged) as caught:
        submission(SLOPES, text, "mine.py")
    assert re.search(message, str(caught.value), re.DOTALL), caught.value


def test_annotations_may_go():
    text = written(RIGHT).replace("(self, eps: float) -> np.ndarray", "(self, eps)")
    assert judge(SLOPES, [submission(SLOPES, text, "mine.py")]).passed


def test_what_is_blank():
    assert is_blank(blank_worksheet(SLOPES), SLOPES)
    assert not is_blank(written(RIGHT), SLOPES)
    assert not is_blank("return (", SLOPES)
    assert not is_blank("", SLOPES)
    one_of_four = blank_worksheet(MULTIPLY).replace('raise ExerciseTodo("6 multiply-divide")', "return a * b", 1)
    assert is_blank(blank_worksheet(MULTIPLY), MULTIPLY)
    assert not is_blank(one_of_four, MULTIPLY)
    assert not is_blank(blank_worksheet(curriculum()["bug-hunt"]), curriculum()["bug-hunt"])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            "\n\nprint(Line)\n",
            "what tries them out belongs below `if __name__",
        ),
        ("\n\nfor i in range(3):\n    pass\n", "only definitions are taken"),
        ("\n\ndef mine():\n    pass\n\n\ndef mine():\n    pass\n", "mine is defined in line [0-9]+ already"),
        ("\n\nunit = 3\n", "unit is something else in minidl.differences already"),
        ("\n\nfrom math import pi as np\n", "np is something else in minidl.differences already"),
        ("\n    tensors = 3\n", "Line.tensors is not a part of this exercise"),
        ("\n    return 3\n", "this is not Python: 'return' outside function"),
        ("\n\nx = " + "-" * 100_000 + "1\n", "too deeply nested"),
    ],
)
def test_what_else_stands_in_a_worksheet(more, message):
    with pytest.raises(CannotBeJudged) as caught:
        submission(SLOPES, written(RIGHT) + more, "mine.py")
    assert re.search(message, str(caught.value))


def test_what_may_stand_in_a_worksheet():
    more = """
    K = 2

    def twice(self, x):
        return self.K * x


FACTOR: float = 1.0

if __name__ == "__main__":
    print(no_such_name)
"""
    text = written("return (self.at(eps) - self.at(-eps)) / self.twice(eps) * FACTOR")
    assert judge(SLOPES, [submission(SLOPES, text + more, "mine.py")]).passed


def test_helpers_of_one_name_for_one_module():
    def with_helper(name, file, helper):
        return submission(curriculum()[name], solved_worksheet(curriculum()[name]) + f"\n\n{helper} = 1\n", file)

    im2col, col2im = with_helper("im2col", "20.py", "a"), with_helper("col2im", "21.py", "a")
    with pytest.raises(
        CannotBeJudged, match=r"20\.py and 21\.py are both for minidl\.kernels\.columns, and both define a"
    ):
        require_no_collisions([im2col, col2im])
    require_no_collisions([im2col, with_helper("col2im", "21.py", "b"), with_helper("sum-to", "05.py", "a")])
    require_no_collisions([im2col, in_tree(curriculum()["col2im"], root())])


def test_imports_that_only_the_other_module_has():
    """The worksheet of two modules imports what both need, and both can use it."""
    both = curriculum()["output-size-macs"]
    text = solved_worksheet(both)
    assert "from minidl.kernels.window import" in text
    text = text.replace("    return 0", '    return 0 * pair("macs", "n", 1, 0)[0]')
    assert judge(both, [submission(both, text, "mine.py")]).passed
