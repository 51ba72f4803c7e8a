"""What a judge says: the case, what came and what should have come, and what the numbers give away."""

import numpy as np
import pytest

from minidl import Tensor
from minidl.exercises.judging import Wrong, judge, require, untouched

WANTED = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 7.0]])


def said(got, wanted=WANTED, **more):
    with pytest.raises(Wrong) as caught:
        judge("f(x)", got, wanted, **more)
    return str(caught.value)


@pytest.mark.parametrize("got", [WANTED, WANTED + 1e-12, Tensor(WANTED)])
def test_what_is_right_passes(got):
    judge("f(x)", got, WANTED)


def test_numbers_tuples_texts_and_nothing_at_all():
    judge("f(x)", 2.0, 2.0)
    judge("f(x)", (WANTED, 3), (WANTED, 3))
    judge("f(x)", ["a", "b"], ("a", "b"))
    judge("f(x)", None, None)
    judge("f(x)", np.array([np.nan]), np.array([np.nan]))


def test_the_call_the_case_and_the_first_wrong_element():
    got = WANTED.copy()
    got[0, 2], got[1, 1] = 3.5, 0
    text = said(got, given={"x": np.array([[1.0, 2.0], [3.0, 4.0]]), "axis": 1})
    assert text.startswith(
        "f(x)\n    x = [[1., 2.],\n         [3., 4.]]    (2, 2)\n    axis = 1\n\n"
        "wanted  [[1., 2., 3.],\n         [4., 5., 7.]]    (2, 3)\n"
    )
    assert "the first wrong element at [0, 2]: wanted 3, got 3.5" in text
    assert "2 of its 6 elements are wrong, the others right" in text


@pytest.mark.parametrize(
    ("got", "line"),
    [
        (WANTED / 4, "4 times too small: a mean where a sum belongs?"),
        (WANTED * 3, "3 times too large"),
        (-WANTED, "its sign is wrong"),
        (np.zeros((2, 3)), "it is zero"),
        (WANTED * np.nan, "it is not finite"),
        (WANTED[::-1].copy(), "its elements are right but stand in the wrong places"),
        (WANTED.T, "wanted (2, 3), got (3, 2); the axes stand in another order"),
        (WANTED.reshape(6), "the elements are as many: a reshape, or `keepdims`?"),
        (WANTED.sum(), "was everything summed up"),
        (np.broadcast_to(WANTED, (5, 2, 3)), "the shape after broadcasting: what was repeated must be added up"),
        (WANTED[:, :1], "it has size 1 where there should be more"),
        (np.zeros((4, 4)), "the shape is wrong: wanted (2, 3), got (4, 4)"),
        (WANTED.astype(np.float32), "the dtype is wrong: wanted float64, got float32"),
        (None, "None: is a `return` missing?"),
        ("text", "'text' (str)"),
    ],
)
def test_what_the_numbers_give_away(got, line):
    assert line in said(got)


def test_a_mistake_that_the_judge_knows():
    text = said(WANTED + 1, mistakes={"one is added": WANTED + 1, "two are": WANTED + 2})
    assert text.endswith("that is what comes out when one is added")


def test_one_of_several_results():
    text = said((WANTED, WANTED), (WANTED, -WANTED), mistakes={"the sign is forgotten": (WANTED, WANTED)})
    assert "result 2 of 2" in text
    assert text.endswith("that is what comes out when the sign is forgotten")


@pytest.mark.parametrize(
    ("got", "line"), [(WANTED, "2 results, as a tuple"), ((WANTED,), "wanted  2 results\ngot     1")]
)
def test_another_number_of_results(got, line):
    assert line in said(got, (WANTED, WANTED))


def test_one_image_of_one_channel_is_shown_as_a_plane():
    assert "wanted  [[0., 0.],\n         [0., 0.]]    (1, 2, 2, 1)\n" in said(
        np.ones((1, 2, 2, 1)), np.zeros((1, 2, 2, 1))
    )


def test_large_arrays_are_not_printed():
    assert "an array of shape (100, 2), float64" in said(np.zeros((100, 2)), np.ones((100, 2)))


def test_something_that_is_no_array():
    assert "wanted  (0, 1)\ngot     (1, 0)" in said([[(1, 0)]], [[(0, 1)]]).replace("[", "").replace("]", "")


def test_the_wrong_result_is_handed_on():
    with pytest.raises(Wrong) as caught:
        judge("f(x)", Tensor(-WANTED), WANTED)
    np.testing.assert_array_equal(caught.value.got, -WANTED)


def test_require():
    require(True, "never said")
    with pytest.raises(Wrong, match=r"f\(x\)\n    x = 1\n\nit must be 2"):
        require(False, "it must be 2", call="f(x)", given={"x": 1})
    with pytest.raises(Wrong, match="^it must be 2$"):
        require(False, "it must be 2")


def test_arrays_that_must_not_be_written_to():
    x = np.array([1.0, np.nan])
    with untouched("f(x)", x=x):
        x + 1
    with pytest.raises(Wrong, match="wrote into x") as caught, untouched("f(x)", x=x):
        x += 1
    assert "before  [ 1., nan]" in str(caught.value)
