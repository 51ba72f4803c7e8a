"""A wrong gradient gives its mistake away, or says nothing; it never says something untrue."""

import numpy as np
import pytest

from minidl.mistakes import likely_mistake

RIGHT = np.random.default_rng(0).uniform(0.5, 1.5, (3, 4)) * np.where(np.arange(12).reshape(3, 4) % 3, 1, -1)
SQUARE = np.random.default_rng(1).standard_normal((3, 3))


def with_one(value, index=(1, 2)):
    changed = RIGHT.copy()
    changed[index] = value
    return changed


@pytest.mark.parametrize(
    ("analytic", "numeric", "words"),
    [
        (RIGHT * np.nan, RIGHT, "it is not finite"),
        (with_one(np.inf), RIGHT, "it is not finite"),
        (RIGHT * 0, RIGHT, "it is zero"),
        (-RIGHT, RIGHT, "its sign is wrong"),
        (RIGHT * 12, RIGHT, "it is 12 times too large: a sum where a mean belongs, or something counted twice?"),
        (RIGHT / 4, RIGHT, "it is 4 times too small: a mean where a sum belongs?"),
        (RIGHT * 0.3, RIGHT, "it is 0.3 times what it should be: a factor is missing"),
        (RIGHT * 1.002, RIGHT, "it is 1.002 times what it should be: a factor is missing"),
        (SQUARE.T, SQUARE, "its axes are exchanged: a transpose to (1, 0) is missing"),
        (RIGHT.T.reshape(3, 4), RIGHT, "its elements are right but stand in the wrong places"),
        (np.roll(RIGHT, 1, 1), RIGHT, "along axis 1 it is one element behind where it should be"),
        (np.roll(RIGHT, -1, 0), RIGHT, "along axis 0 it is one element ahead of where it should be"),
        (with_one(0.0), RIGHT, "1 of its 12 elements are zero and should not be"),
        (with_one(0.0) + 7 * (np.arange(12).reshape(3, 4) == 0), RIGHT, "2 of its 12 elements are wrong, the others"),
        (with_one(7.0), RIGHT, "1 of its 12 elements are wrong, the others right"),
        (RIGHT * 1.0005, RIGHT, ""),
        (RIGHT * 0.9995, RIGHT, ""),
        (RIGHT * -2, RIGHT, "it is -2 times what it should be: a factor is missing"),
        (RIGHT / -4, RIGHT, "it is -0.25 times what it should be: a factor is missing"),
        (RIGHT * 2e-7, RIGHT * 1e-7, "it is 2 times too large"),
        (np.sin(RIGHT * 7) * 1e-7, RIGHT * 1e-7, ""),
        (RIGHT * (1 + 5e-5), RIGHT, ""),
        (SQUARE[:1, :1] + 1e-5, SQUARE[:1, :1], ""),
        (np.array([0.0, 1, 1, 1, 1]), np.ones(5), "1 of its 5 elements are zero and should not be"),
        (np.array([3e-7, 0.0]), np.array([0.0, 1.0]), "1 of its 2 elements are zero and should not be"),
        (np.sin(RIGHT * 7), RIGHT, ""),
        (np.array(2.0), np.array(1.5), ""),
        (np.ones((2, 3)), np.zeros((2, 3)), ""),
    ],
)
def test_what_the_numbers_say(analytic, numeric, words):
    found = likely_mistake(analytic, numeric)
    assert found.startswith(words)
    assert bool(found) == bool(words)


def test_an_upstream_gradient_that_is_ignored_goes_before_all_else():
    assert likely_mistake(-RIGHT, RIGHT, ignores_upstream=True).startswith("it is the same for every upstream gradient")


def test_a_vector_is_not_said_to_lack_a_transpose():
    vector = RIGHT.ravel()[:5]
    assert likely_mistake(vector[[2, 0, 1, 4, 3]], vector) == "its elements are right but stand in the wrong places"


def test_any_exchange_of_axes_is_found():
    cube = np.random.default_rng(2).standard_normal((2, 2, 2))
    assert likely_mistake(cube.transpose(1, 2, 0), cube).startswith("its axes are exchanged: a transpose to (2, 0, 1)")
