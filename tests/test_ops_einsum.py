"""einsum: every form of equation, against NumPy's and PyTorch's; any equation at all; wrong calls."""

import string

import numpy as np
import pytest
from cases import Case, check_derivatives, check_torch, check_value
from hypothesis import given
from hypothesis import strategies as st
from judge import assert_close, check_operator, host, scattered

from minidl import Tensor, einsum
from minidl.backend import is_array
from minidl.ops.einsum import Contraction

EQUATIONS = {  # equation: shapes
    # one operand
    "ij->ji": [(2, 3)],
    "ij": [(2, 3)],
    "ba": [(2, 3)],  # the output is in alphabetical order: a transpose
    "bA": [(2, 3)],  # and capitals come first
    "ij->i": [(2, 3)],
    "ij->": [(2, 3)],
    "ijk->ki": [(2, 3, 4)],
    "ii->i": [(3, 3)],
    "ii": [(3, 3)],
    "iji->j": [(3, 2, 3)],
    "jiki->kji": [(2, 3, 4, 3)],
    "iii->i": [(3, 3, 3)],
    "iijj->ij": [(2, 2, 3, 3)],
    "ijij->": [(2, 3, 2, 3)],
    "->": [()],
    "...": [(2, 3)],
    "...ij->...ji": [(2, 3, 4)],
    "i...->...": [(2, 3, 4)],
    "i...i->...": [(3, 2, 3)],
    "i...j->ji...": [(2, 3, 5, 4)],
    "...->...": [()],
    # two operands
    "ij,jk->ik": [(2, 3), (3, 4)],
    "ij,jk": [(2, 3), (3, 4)],
    "ij,kj->ki": [(2, 3), (4, 3)],
    "i,i->": [(3,), (3,)],
    "i,j->ij": [(3,), (4,)],
    "i,j->ji": [(3,), (4,)],
    "i,i->i": [(3,), (3,)],
    "ij,ji->ij": [(2, 3), (3, 2)],
    "bij,bjk->bik": [(2, 3, 2), (2, 2, 4)],
    "bqhd,bkhd->bhqk": [(2, 1, 3, 2), (2, 2, 3, 2)],  # the scores of attention
    "nhwc,cf->nhwf": [(2, 1, 3, 2), (2, 3)],  # a 1×1 convolution
    "bi,ij,bj->b": [(4, 2), (2, 3), (4, 3)],
    "ij,ijk->": [(2, 3), (2, 3, 4)],
    "ijk,ik->j": [(2, 3, 4), (2, 4)],
    "ij,k->j": [(2, 3), (4,)],  # an index that nothing needs
    "iij,jj->i": [(3, 3, 2), (2, 2)],
    ",ij->ij": [(), (2, 3)],
    ",->": [(), ()],
    "Aa,aB->BA": [(2, 3), (3, 4)],
    "...ij,...jk->...ik": [(2, 3, 2), (2, 2, 1)],
    "...ij,...jk": [(2, 1, 2, 2), (3, 2, 1)],
    "...i,ij->...j": [(2, 3, 2), (2, 4)],
    "i...,...->i...": [(2, 3), (4, 1)],
    "...,...->...": [(2, 1), (3,)],
    "...,...": [(3,), (2, 1, 1)],
    # more
    "ij,jk,kl->il": [(2, 3), (3, 1), (1, 4)],
    "a,b,c->cab": [(2,), (3,), (4,)],
    "ij,ij,ij->j": [(2, 3), (2, 3), (2, 3)],
    "bij,bj,i,->b": [(2, 3, 2), (2, 2), (3,), ()],
    "ea,fb,abcd,gc,hd->efgh": [(2, 1), (1, 2), (1, 2, 3, 2), (2, 3), (1, 2)],
    # an axis of size 1 is repeated
    "ij,ij->ij": [(2, 3), (1, 3)],
    "ij,ij->j": [(1, 3), (2, 1)],
    "ij,jk->": [(2, 1), (3, 4)],
    "ij,i,i->i": [(1, 2), (3,), (1,)],
    # nothing
    "ij,jk->ki": [(2, 0), (0, 3)],
    "ij,jk->ijk": [(0, 2), (2, 3)],
    "ii->": [(0, 0)],
    "ii,i->i": [(0, 0), (1,)],
    "i...,i->...": [(2, 0), (2,)],
}
CASES = {
    equation: Case(
        lambda *x, equation=equation: einsum(equation, *x),
        tuple(shapes),
        lambda *x, equation=equation: np.einsum(equation, *x),
        lambda *x, equation=equation: torch_einsum(equation, *x),
    )
    for equation, shapes in EQUATIONS.items()
}


def torch_einsum(equation, *operands):
    return pytest.importorskip("torch", reason="PyTorch is not installed").einsum(equation, *operands)


@pytest.mark.parametrize("equation", CASES)
def test_values(equation, device):
    check_value(CASES[equation], device)


@pytest.mark.parametrize("equation", CASES)
def test_derivatives(equation, device):
    check_derivatives(CASES[equation], device)


@pytest.mark.torch
@pytest.mark.parametrize("equation", CASES)
def test_against_torch(equation):
    check_torch(CASES[equation])


def test_axes_that_the_output_leaves_out_are_summed(device):
    """Also those of an ellipsis: so PyTorch, where NumPy refuses."""
    x = Tensor(np.arange(12.0).reshape(2, 3, 2), device=device)
    assert_close(einsum("i...->i", x), x.sum(axis=(1, 2)))
    assert_close(einsum("...i,...i->i", x, x), (x * x).sum(axis=(0, 1)))


def test_spaces_do_not_count(device):
    a, b = Tensor(np.ones((2, 3)), device=device), Tensor(np.ones((3, 4)), device=device)
    assert einsum(" i j, jk -> k i ", a, b).shape == (4, 2)
    assert einsum("... i, i j", a, b).shape == (2, 4)


def test_memory_that_is_not_contiguous(device):
    check_derivatives(Case(lambda a, b: einsum("ij,kj->ik", scattered(a), b.T), ((2, 3), (3, 4))), device)
    check_derivatives(Case(lambda x: einsum("iij->j", x.transpose(2, 1, 0)), ((2, 3, 3),)), device)
    check_derivatives(Case(lambda x: einsum("ij,jk,kl->il", x, x.T, x), ((2, 3),)), device)


# ---- any equation


@st.composite
def equations(draw):
    """An equation of one to four operands on up to five indices, some repeated, with its shapes."""
    sizes = dict(zip("abcdE", draw(st.tuples(*[st.integers(0, 3)] * 5)), strict=True))
    terms = draw(st.lists(st.text("abcdE", max_size=3), min_size=1, max_size=4))
    shapes = []
    for term in terms:
        ones = {i for i in term if draw(st.integers(0, 9)) == 0}  # repeated, where another operand has more
        shapes.append(tuple(1 if i in ones else sizes[i] for i in term))
    used = sorted(set("".join(terms)))
    output = draw(st.permutations(used))[: draw(st.integers(0, len(used)))]
    arrow = draw(st.sampled_from(["", "->" + "".join(output)]))
    return ",".join(terms) + arrow, shapes


@given(equations())
def test_any_equation(device, drawn):
    equation, shapes = drawn
    arrays = Case(None, tuple(shapes)).arrays()
    y = einsum(equation, *[Tensor(x, device=device) for x in arrays])
    assert_close(y, np.asarray(np.einsum(equation, *arrays)), 1e-12)
    check_operator(lambda *x: einsum(equation, *x), arrays, device)


# ---- how it is done


@pytest.mark.parametrize(
    ("equation", "shapes", "largest"),
    [
        ("ij,jk,k->i", [(9, 8), (8, 7), (7,)], 9),  # from the right: no matrix comes between
        ("i,ij,jk->k", [(9,), (9, 8), (8, 7)], 8),
        ("a,b,a,b->", [(9,), (8,), (9,), (8,)], 1),
        ("ab,ac,ad->bcd", [(2, 3), (2, 4), (2, 5)], 60),
    ],
)
def test_the_smallest_product_comes_first(equation, shapes, largest, monkeypatch):
    made = []
    forward = Contraction.forward
    monkeypatch.setattr(Contraction, "forward", lambda *args: made.append(forward(*args)) or made[-1])
    einsum(equation, *[np.ones(shape) for shape in shapes])
    assert len(made) == len(shapes) - 1
    assert max(y.size for y in made) == largest


def test_an_unwanted_gradient_is_not_computed(device, monkeypatch):
    results = []
    backward = Contraction.backward
    monkeypatch.setattr(Contraction, "backward", lambda *args: results.append(backward(*args)) or results[-1])
    a, b = Tensor(np.ones((2, 3)), requires_grad=True, device=device), Tensor(np.ones((3, 4)), device=device)
    einsum("ij,jk->ik", a, b).sum().backward()
    einsum("ij,jk->ik", b.T, a.T).sum().backward()
    assert [[None if g is None else g.shape for g in gradients] for gradients in results] == [
        [(2, 3), None],
        [None, (3, 2)],
    ]


def test_more_indices_than_letters_fit(device):
    """An ellipsis takes none of the 52."""
    letters = string.ascii_letters
    x = Tensor(np.ones((2, 3)), device=device)
    terms = ",".join(letters)
    assert einsum(f"...,{terms}->...", x, *[Tensor(np.ones(1), device=device)] * 52).shape == (2, 3)


def test_the_graph_of_a_product_is_one_operation():
    a, b = Tensor(np.ones((2, 3)), requires_grad=True), Tensor(np.ones((4, 3)), requires_grad=True)
    y = einsum("ij,kj->ki", a, b)
    assert [edge.source for edge in y.source.edges] == [a.source, b.source]


# ---- dtypes, raw arrays


def test_dtypes(device):
    def ones(dtype, shape=(2, 2)):
        return Tensor(np.ones(shape), dtype=dtype, requires_grad=dtype[0] == "f", device=device)

    for dtype in ("float16", "float32", "float64"):
        x = ones(dtype)
        for equation in ("ij,jk->ik", "ij,ij->ij", "ij,jk->"):
            assert einsum(equation, x, x).dtype == dtype
            assert einsum(equation, x, ones("int64")).dtype == dtype
        assert einsum("ii", x).dtype == dtype
    assert einsum("ij,jk->ik", ones("int64"), ones("int64")).dtype == np.int64
    single, double = ones("float32"), ones("float64")
    y = einsum("ij,jk->", single, double)
    y.backward()
    assert (y.dtype, single.grad.dtype, double.grad.dtype) == (np.float64, np.float32, np.float64)


def test_raw_arrays(device):
    x = Tensor(np.arange(6.0).reshape(2, 3), device=device)
    for equation in ("ij->i", "ij,ij->j", "ij,kj->ik"):
        operands = [x] * (equation.count(",") + 1)
        y = einsum(equation, *[operand.data for operand in operands])
        assert is_array(y)
        np.testing.assert_array_equal(host(y), einsum(equation, *operands).numpy())
        mixed = einsum(equation, *operands[:-1], x.data)
        assert isinstance(mixed, Tensor) == (len(operands) > 1)


# ---- wrong calls

WRONG = [
    (["ij,jk"], ValueError, r"einsum: 'ij,jk' describes 2 operand\(s\), got 0"),
    (["ij,jk", "a"], ValueError, r"einsum: 'ij,jk' describes 2 operand\(s\), got 1"),
    (["ij", "a", "a"], ValueError, r"einsum: 'ij' describes 1 operand\(s\), got 2"),
    (["", "a"], ValueError, "einsum: '' in '' does not name the 2 axes of its operand"),
    (["i->i", "a"], ValueError, "einsum: 'i' in 'i->i' does not name the 2 axes of its operand"),
    (["ijk->i", "a"], ValueError, "einsum: 'ijk' in 'ijk->i' does not name the 2 axes of its operand"),
    (["i...jk->i", "a"], ValueError, "einsum: 'i...jk' in 'i...jk->i' does not name the 2 axes"),
    (["ij->ik", "a"], ValueError, "einsum: 'k' must stand once in the output of 'ij->ik', and in an operand"),
    (["ij->ii", "a"], ValueError, "einsum: 'i' must stand once in the output of 'ij->ii'"),
    (["i1->i", "a"], ValueError, r"einsum: expected letters, '...', commas and one '->' in the equation, got 'i1->i'"),
    (["i.j->i", "a"], ValueError, "einsum: expected letters"),
    (["i..j->i", "a"], ValueError, "einsum: expected letters"),
    (["...i...->i", "a"], ValueError, "einsum: expected letters"),
    (["ij->...i...", "a"], ValueError, "einsum: expected letters"),
    (["ij->i->j", "a"], ValueError, "einsum: expected letters"),
    (["ij->i,j", "a"], ValueError, "einsum: expected letters"),
    (["ij-i", "a"], ValueError, "einsum: expected letters"),
    (["iß->i", "a"], ValueError, "einsum: expected letters"),
    (["ii->i", "a"], ValueError, r"einsum: the sizes of index 'i' differ in shapes \(2, 3\)"),
    (["ii->i", "c"], ValueError, r"einsum: the sizes of index 'i' differ in shapes \(1, 3\)"),
    (["ij,ij->i", "a", "b"], ValueError, r"einsum: the sizes of index 'i' differ in shapes \(2, 3\), \(3, 4\)"),
    (["ij,jk->j...", "a", "a"], ValueError, "einsum: the sizes of index 'j' differ"),
    (
        ["...i,...i->i", "a", "b"],
        ValueError,
        r"einsum: the sizes of axis -1 of '...' differ in shapes \(2, 3\), \(3, 4\)",
    ),
    ([3, "a"], TypeError, "einsum: expected an equation such as 'ij,jk->ik', got int"),
    ([None], TypeError, "einsum: expected an equation such as 'ij,jk->ik', got NoneType"),
    (["i,->i", [1.0], 2.0], TypeError, "einsum: expected a Tensor or an array, got list"),
    (["ij,->i", "a", 2.0], TypeError, "einsum: expected a Tensor or an array, got float"),
]


@pytest.mark.parametrize(("call", "error", "message"), WRONG)
def test_wrong_calls(call, error, message):
    tensors = {
        "a": Tensor(np.ones((2, 3)), requires_grad=True),
        "b": Tensor(np.ones((3, 4))),
        "c": Tensor(np.ones((1, 3))),
    }
    with pytest.raises(error, match=message):
        einsum(call[0], *[tensors[x] if isinstance(x, str) else x for x in call[1:]])
