"""The checker is checked: right backwards pass, wrong ones do not, and what cannot be checked is refused."""

import numpy as np
import pytest

import minidl
from minidl import Function, Tensor, backend, gradcheck, gradgradcheck
from minidl.gradcheck import GradcheckError
from minidl.kernels.window import Window
from minidl.ops.broadcast import broadcast_to, sum_to
from minidl.ops.elementwise import exp
from minidl.ops.matmul import matmul
from minidl.ops.reduce import sum as total
from minidl.ops.shape import transpose


def leaf(*shape, device="cpu", seed=1):
    """Numbers of both signs, none near 0."""
    rng = np.random.default_rng(seed)
    numbers = rng.uniform(0.4, 1.6, shape) * rng.choice([-1, 1], shape)
    return Tensor(numbers, dtype="float64", requires_grad=True, device=device)


def function(forward, backward, **options):
    """A Function of one input from two lines, for the table below."""
    return type("Checked", (Function,), {"forward": forward, "backward": backward, **options})


# Each entry: the inputs' shapes, forward, the right backward, and a wrong one: a mistake someone once made.


class Softmax(Function):
    def forward(self, x):
        e = backend.array_module(x).exp(x)
        return e / e.sum(axis=-1, keepdims=True)


class Normalize(Function):
    """(x − mean) / standard deviation over the batch axis."""

    def forward(self, x):
        centred = x - x.mean(axis=0)
        return centred / backend.array_module(x).sqrt((centred * centred).mean(axis=0))

    @staticmethod
    def deviation(x):
        centred = x - x.sum(axis=0) / len(x)
        return ((centred * centred).sum(axis=0) / len(x)) ** 0.5


class Windows(Function):
    """Sums over overlapping windows of 3, stride 2: x (9,) → y (4,)."""

    def forward(self, x):
        return x[0:7:2] + x[1:8:2] + x[2:9:2]


WRONG = {
    "ignores g": (
        [(2, 3)],
        lambda self, x: x * x,
        lambda self, g, x: g * 2 * x,
        lambda self, g, x: 2 * x,
    ),
    "wrong sign": (
        [(2, 3)],
        lambda self, x: 1 / x,
        lambda self, g, x: -g / (x * x),
        lambda self, g, x: g / (x * x),
    ),
    "forgets the inner derivative": (
        [(2, 3)],
        lambda self, x: backend.array_module(x).exp(2 * x),
        lambda self, g, y: 2 * g * y,
        lambda self, g, y: g * y,
    ),
    "off by a thousandth": (
        [(3,)],
        lambda self, x: x * x,
        lambda self, g, x: g * 2 * x,
        lambda self, g, x: g * 2.002 * x,
    ),
    "one element wrong": (
        [(2, 3)],
        lambda self, x: x * 3,
        lambda self, g: g * 3,
        lambda self, g: g * (3 + (np.arange(6).reshape(2, 3) == 4)),
    ),
    "mean for sum": (
        [(2, 3)],
        lambda self, x: x.sum(axis=1),
        lambda self, g: broadcast_to(g[:, None], (2, 3)),
        lambda self, g: broadcast_to(g[:, None], (2, 3)) / 3,
    ),
    "swapped axes": (
        [(3, 3)],
        lambda self, x: x.T * 2,
        lambda self, g: transpose(g) * 2,
        lambda self, g: g * 2,
    ),
    "sum over the wrong axis": (
        [(3, 3)],
        lambda self, x: x.sum(axis=0),
        lambda self, g: broadcast_to(g[None], (3, 3)),
        lambda self, g: broadcast_to(g[:, None], (3, 3)),
    ),
    "missing un-broadcast: one of many": (
        [(3,), (2, 3)],
        lambda self, a, b: a * b,
        lambda self, g, a, b: (sum_to(g * b, (3,)), g * a),
        lambda self, g, a, b: ((g * b)[0], g * a),
    ),
    "factors exchanged": (
        [(2, 3), (2, 3)],
        lambda self, a, b: a * b,
        lambda self, g, a, b: (g * b, g * a),
        lambda self, g, a, b: (g * a, g * b),
    ),
    "matrix product without a transpose": (
        [(3, 3), (3, 3)],
        lambda self, a, b: a @ b,
        lambda self, g, a, b: (matmul(g, transpose(b)), matmul(transpose(a), g)),
        lambda self, g, a, b: (matmul(g, b), matmul(transpose(a), g)),
    ),
    "gradient of the second input zero": (
        [(2,), (2,)],
        lambda self, a, b: a + b,
        lambda self, g: (g, g),
        lambda self, g: (g, g * 0),
    ),
    "off-by-one crop": (
        [(2, 3)],
        lambda self, x: backend.array_module(x).pad(x, ((0, 0), (1, 2))),
        lambda self, g: g[:, 1:4],
        lambda self, g: g[:, 2:5],
    ),
    "= for += where windows overlap": (
        [(9,)],
        Windows.forward,
        lambda self, g: overlap_add(g),
        lambda self, g: overlap_add(g, keep_last=True),
    ),
    "wrong stride remainder": (
        [(8,)],  # the last of the eight is in no window
        lambda self, x: x[0:6:2] * 2 + x[1:7:2],
        lambda self, g: strided(g, 0),
        lambda self, g: strided(g, 1),
    ),
    "maximum gives to the loser": (
        [(2, 3), (2, 3)],
        lambda self, a, b: backend.array_module(a).maximum(a, b),
        lambda self, g, a, b: (g * (a > b), g * (b > a)),
        lambda self, g, a, b: (g * (a < b), g * (b < a)),
    ),
    "softmax with dx = 0": (
        [(2, 3)],
        Softmax.forward,
        lambda self, g, y: y * (g - total(g * y, -1, True)),
        lambda self, g, y: g * 0,
    ),
    "softmax as if outputs were independent": (
        [(2, 3)],
        Softmax.forward,
        lambda self, g, y: y * (g - total(g * y, -1, True)),
        lambda self, g, y: g * y * (1 - y),
    ),
    "batch norm with dx = 0": (
        [(4, 2)],
        Normalize.forward,
        lambda self, g, x, y: normalize_backward(g, x, y),
        lambda self, g, x, y: g * 0,
    ),
    "batch norm with statistics as constants": (
        [(4, 2)],
        Normalize.forward,
        lambda self, g, x, y: normalize_backward(g, x, y),
        lambda self, g, x, y: g / Normalize.deviation(x),
    ),
    "a reused input counted once": (
        [(3,)],
        lambda self, x: x * x * x,
        lambda self, g, x: g * 3 * x * x,
        lambda self, g, x: g * x * x,
    ),
}


def normalize_backward(g, x, y):
    N = len(x)
    return (g - total(g, 0) / N - y * (total(g * y, 0) / N)) / Normalize.deviation(x)


def overlap_add(g, keep_last=False):
    """The windows' gradients (4,) put back on (9,): added up, or the last one kept."""
    placed = [minidl.ops.indexing.PutItem(slice(i, i + 7, 2), (9,))(g) for i in range(3)]
    return placed[0] * (np.arange(9) % 2 * 0 if keep_last else 1) + placed[1] + placed[2]


def strided(g, first):
    at = minidl.ops.indexing.PutItem
    return at(slice(first, first + 6, 2), (8,))(g) * 2 + at(slice(1, 7, 2), (8,))(g)


def written(name, which):
    """(function, inputs) of an entry of the table."""
    shapes, forward, right, wrong = WRONG[name]
    kind = function(forward, right if which == "right" else wrong)
    return lambda *inputs: kind()(*inputs), [leaf(*shape, seed=i) for i, shape in enumerate(shapes)]


@pytest.mark.parametrize("name", WRONG)
def test_right_backwards_pass(name):
    f, inputs = written(name, "right")
    for fast in (False, True):
        assert gradcheck(f, inputs, fast=fast).worst_relative < 1e-7
        gradgradcheck(f, inputs, fast=fast)


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("name", WRONG)
def test_wrong_backwards_do_not(name, fast):
    f, inputs = written(name, "wrong")
    before = [x.data for x in inputs]
    for seed in range(3):
        with pytest.raises(GradcheckError, match=r"backward gives .*, the difference quotient "):
            gradcheck(f, inputs, fast=fast, seed=seed)
    assert all(x.data is data for x, data in zip(inputs, before, strict=True))


WRONG_TWICE = {
    "second derivative cut off": lambda g, x: g * (2 * x).detach() if isinstance(x, Tensor) else g * 2 * x,
    "upstream gradient cut off": lambda g, x: (g.detach() if isinstance(g, Tensor) else g) * 2 * x,
}


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("name", WRONG_TWICE)
def test_wrong_second_derivatives_are_seen_by_gradgradcheck_alone(name, fast):
    kind = function(lambda self, x: x * x, lambda self, g, x: WRONG_TWICE[name](g, x))
    inputs = [leaf(2, 3)]
    gradcheck(lambda x: kind()(x), inputs, fast=fast)
    with pytest.raises(GradcheckError, match="difference quotient"):
        gradgradcheck(lambda x: kind()(x), inputs, fast=fast)


def test_a_wrong_window_is_seen():
    """Of the engine itself: one row cropped too far down."""
    window = Window(kernel=(2, 2), padding=((1, 0), (0, 0)))

    def padded(shift):
        return function(
            lambda self, x: window.pad(x),
            lambda self, g: g[:, 1 - shift : 4 - shift, :4],
        )

    right, wrong = padded(0), padded(1)
    x = leaf(2, 3, 4, 1)
    gradcheck(lambda x: right()(x), [x])
    with pytest.raises(GradcheckError):
        gradcheck(lambda x: wrong()(x), [x])


# ---- what it says


def test_the_report(device):
    x, w = leaf(2, 3, device=device), leaf(3, device=device)
    report = gradcheck(lambda x, w: exp(x) @ w, [x, w])
    assert report.compared == 2 * 9, "2 outputs, 9 inputs"
    assert 0 < report.worst_absolute < 1e-8
    assert 0 < report.worst_relative < 1e-8
    assert str(report) == f"18 derivatives, worst relative error {report.worst_relative:.1e}"
    assert gradcheck(lambda x, w: exp(x) @ w, [x, w], fast=True).compared == 1
    assert gradgradcheck(lambda x, w: exp(x) @ w, [x, w]).compared == 9 * 11


def test_the_error_names_input_index_and_both_values():
    kind = function(lambda self, a, b: a + b, lambda self, g: (g, g * (1 + (np.arange(3) == 2))))
    constant = Tensor(np.ones(3))
    with pytest.raises(
        GradcheckError, match=r"gradcheck: input 1, of shape \(3,\), at index \(2,\): backward gives -?\d"
    ):
        gradcheck(lambda c, b: kind()(c, b), [constant, leaf(3)])


def test_along_a_direction_the_wrong_inputs_are_named_too():
    def twisted(*wrong):
        factors = [2.0 if i in wrong else 1.0 for i in range(3)]
        return function(lambda self, a, b, c: a + b * c, lambda self, g, b, c: multiplied(factors, [g, g * c, g * b]))

    constant = Tensor(np.ones(2))
    for wrong, named in [((0,), [1]), ((2,), [3]), ((1, 2), [2, 3])]:
        kind = twisted(*wrong)
        inputs = [constant, leaf(2), leaf(2, seed=2), leaf(2, seed=3)]
        with pytest.raises(
            GradcheckError, match=rf"the gradient is wrong to input\(s\) \[{str(named)[1:-1]}\]"
        ) as caught:
            gradcheck(lambda _, a, b, c, kind=kind: kind()(a, b, c), inputs, fast=True)
        assert caught.value.inputs == tuple(named)
        with pytest.raises(GradcheckError) as caught:
            gradcheck(lambda _, a, b, c, kind=kind: kind()(a, b, c), inputs)
        assert caught.value.inputs == (named[0],), "element by element it stops at the first"


def multiplied(factors, gradients):
    return tuple(g * factor for factor, g in zip(factors, gradients, strict=True))


def test_only_inputs_that_require_gradients_are_checked():
    calls = gradcheck(lambda a, b, n: a * b * n, [leaf(2), Tensor(np.ones(2)), 3])
    assert calls.compared == 2 * 2


def test_several_outputs_are_all_checked():
    class Two(Function):
        def forward(self, x):
            return x * 2, x * 3

        def backward(self, g):
            return g[0] * 2 + g[1] * 4

    for fast in (False, True):
        with pytest.raises(GradcheckError):
            gradcheck(lambda x: Two()(x), [leaf(2)], fast=fast)
        gradcheck(lambda x: Two()(x)[0], [leaf(2)], fast=fast)


def test_several_outputs_may_come_in_a_list_and_some_be_constants():
    for fast in (False, True):
        gradcheck(lambda x: [x * 2, x * x], [leaf(2)], fast=fast)
        gradgradcheck(lambda x: [x * 2, x * x], [leaf(2)], fast=fast)
        gradcheck(lambda x: (x * x, Tensor(np.ones(3))), [leaf(2)], fast=fast)
        gradgradcheck(lambda x: (x * x, Tensor(np.ones(3))), [leaf(2)], fast=fast)


@pytest.mark.parametrize("kind", ["raw array", "number", "one of several"])
@pytest.mark.parametrize("check", [gradcheck, gradgradcheck])
def test_what_is_not_a_tensor_is_not_checked(check, kind):
    f = {"raw array": lambda x: x.data, "number": lambda x: 1.0, "one of several": lambda x: (x, x.data)}[kind]
    found = "float" if kind == "number" else "ndarray"
    with pytest.raises(TypeError, match=f"gradcheck: the function must return a Tensor or a tuple .*, got {found}"):
        check(f, [leaf(2)])


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("check", [gradcheck, gradgradcheck])
def test_a_function_that_does_not_depend_on_its_inputs_is_not_checked(check, fast):
    other = leaf(2, seed=2)
    for f in (lambda x: other * 2, lambda x: Tensor(np.ones(2)), lambda x: x.detach() * 2):
        with pytest.raises(GradcheckError, match="do not depend on any of the inputs; nothing would be compared"):
            check(f, [leaf(2)], fast=fast)


def test_an_input_that_is_not_used_has_derivative_zero():
    assert gradcheck(lambda x, y: x * 2, [leaf(2), leaf(3)]).compared == 2 * 5
    with pytest.raises(GradcheckError, match="input 1"):
        gradcheck(lambda x, y: x * y.detach(), [leaf(2), leaf(2)])


def test_scalars_nothing_and_an_input_given_twice():
    x = leaf()
    assert gradcheck(lambda x: x * x, [x]).compared == 1
    assert gradcheck(lambda x: x * 2, [leaf(0, 3)]).compared == 0
    for fast in (False, True):
        gradcheck(lambda a, b: a * b * b, [x, x], fast=fast)
        gradgradcheck(lambda a, b: a * b * b, [x, x], fast=fast)
    assert isinstance(x.data, np.ndarray)


def test_a_scalar_stays_an_array_while_it_is_moved():
    seen = []
    gradcheck(lambda x: seen.append(type(x.data)) or x * x, [leaf()])
    assert set(seen) == {np.ndarray}


def test_it_draws_from_a_generator_of_its_own():
    before = backend.generator_state()
    gradcheck(lambda x: x * x, [leaf(3)])
    gradgradcheck(lambda x: x * x, [leaf(3)])
    assert backend.generator_state() == before


def test_it_leaves_gradients_alone():
    x = leaf(2)
    (x * 3).sum().backward()
    gradcheck(lambda x: x * x, [x])
    gradgradcheck(lambda x: x * x, [x])
    assert x.grad.numpy().tolist() == [3, 3]


# ---- what it refuses


@pytest.mark.parametrize("check", [gradcheck, gradgradcheck])
@pytest.mark.parametrize("fast", [False, True])
def test_float32_is_refused(check, fast):
    x = Tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(TypeError, match="gradcheck: input 1 is float32; differences need float64"):
        check(lambda a, x: x * x, [leaf(2), x], fast=fast)


@pytest.mark.parametrize("check", [gradcheck, gradgradcheck])
@pytest.mark.parametrize("fast", [False, True])
def test_a_result_in_float32_is_refused(check, fast):
    with pytest.raises(TypeError, match="gradcheck: output 1 is float32; differences need float64 all the way"):
        check(lambda x: (x * 2, (x * x).astype("float32")), [leaf(2)], fast=fast)


@pytest.mark.parametrize("check", [gradcheck, gradgradcheck])
def test_randomness_is_refused_unless_it_is_restarted(check):
    def noisy(x):
        return x * backend.generator().random(3)

    def seeded(x):
        minidl.manual_seed(1)
        return noisy(x)

    with pytest.raises(GradcheckError, match=r"two results for one input.* manual_seed"):
        check(noisy, [leaf(3)])
    check(seeded, [leaf(3)])


def test_what_is_not_finite_is_refused():
    for factor in (np.nan, np.inf):
        finite = pytest.raises(
            GradcheckError, match=r"gradcheck: the function gives (nan|-?inf); differences need finite"
        )
        with finite, np.errstate(invalid="ignore"):
            gradcheck(lambda x, factor=factor: x * factor, [leaf(2)])


@pytest.mark.parametrize("fast", [False, True])
def test_what_is_not_finite_a_step_away_is_refused(fast):
    """Within a step of the edge of where a function is defined."""
    x = Tensor([1e-8], dtype="float64", requires_grad=True)
    message = "gradcheck: the function gives nan within a step of 1e-06 from the inputs; differences need finite values"
    with pytest.raises(GradcheckError, match=message), np.errstate(invalid="ignore"):
        gradcheck(minidl.sqrt, [x], fast=fast)


def test_a_gradient_that_is_not_a_number_is_seen():
    kind = function(lambda self, x: x * 1, lambda self, g: g * np.nan)
    for fast in (False, True):
        with pytest.raises(GradcheckError, match="backward gives nan"):
            gradcheck(lambda x: kind()(x), [leaf(2)], fast=fast)


@pytest.mark.parametrize("check", [gradcheck, gradgradcheck])
@pytest.mark.parametrize("inputs", [[], [Tensor(np.ones(2))], [3.0]])
def test_there_must_be_something_to_check(check, inputs):
    with pytest.raises(ValueError, match="gradcheck: no input requires gradients"):
        check(lambda *x: Tensor(np.ones(2)), inputs)


@pytest.mark.parametrize("check", [gradcheck, gradgradcheck])
def test_one_input_is_given_in_a_list(check):
    with pytest.raises(TypeError, match=r"gradcheck: inputs must be a list of Tensors, .*: \[x\]"):
        check(lambda x: x * x, leaf(2))
    with pytest.raises(TypeError, match=r"gradcheck: inputs must be a list of Tensors, .*; got generator"):
        check(lambda x: x * x, (x for x in [leaf(2)]))


@pytest.mark.parametrize("fast", [False, True])
def test_data_is_put_back_when_the_function_raises(fast):
    x, y = leaf(2), leaf(3)
    before, calls = (x.data, y.data), []

    def fragile(x, y):
        calls.append(None)
        if len(calls) == 5:
            raise FloatingPointError
        return x.sum() * y

    with pytest.raises(FloatingPointError):
        gradcheck(fragile, [x, y], fast=fast)
    assert x.data is before[0]
    assert y.data is before[1]


def test_a_recorded_gradient_that_is_not_the_ordinary_one_is_rejected():
    """Wrong only under create_graph, and consistent in itself: its own derivatives agree with differences."""

    class TwoFaced(minidl.Function):
        def forward(self, x):
            return x * x

        def backward(self, g, x):
            return g * x * (3 if isinstance(g, Tensor) else 2)

    x = Tensor(np.array([0.5, -1.5]), requires_grad=True)
    minidl.gradcheck(lambda x: TwoFaced()(x), [x])
    with pytest.raises(GradcheckError, match="with create_graph=True"):
        minidl.gradgradcheck(lambda x: TwoFaced()(x), [x])


# ---- kinks


def test_a_kink_at_the_input_is_reported_and_not_compared():
    x = Tensor(np.array([1.0, 0.0, -1.0]), requires_grad=True)
    for f, index in ((minidl.functional.relu, (1,)), (lambda x: x.clip(-1.0, 0.5), (2,))):
        report = gradcheck(f, [x])
        assert report.compared == 8, "of nine"
        assert report.kinks == ((0, index),)
    assert str(report).endswith("; 1 element(s) of the inputs lie at a kink")
    assert gradcheck(minidl.functional.relu, [leaf(2)]).kinks == ()


def test_a_kink_beside_the_input_within_the_step_is_reported():
    for distance in (3e-7, -3e-7):
        x = Tensor(np.array([1.0, distance]), requires_grad=True)
        assert gradcheck(minidl.functional.relu, [x]).kinks == ((0, (1,)),)


def test_a_tie_is_a_kink_of_both():
    x = Tensor([1.0, 3.0, 3.0], dtype="float64", requires_grad=True)
    assert gradcheck(lambda x: x.max(), [x]).kinks == ((0, (1,)), (0, (2,)))


def test_a_subgradient_in_the_middle_is_what_differences_give_too():
    x = Tensor([0.0, 1.0], dtype="float64", requires_grad=True)
    assert gradcheck(minidl.absolute, [x]).kinks == ()


def test_what_lies_on_neither_side_of_a_kink_is_wrong():
    kind = function(lambda self, x: np.maximum(x, 0), lambda self, g, x: g * ((x > 0) + 1.5 * (x == 0)))
    with pytest.raises(GradcheckError, match=r"at index \(1,\): backward gives 1.5, the difference quotient 0.5"):
        gradcheck(lambda x: kind()(x), [Tensor(np.array([1.0, 0.0]), requires_grad=True)])


def test_beside_a_kink_a_wrong_gradient_is_still_seen():
    kind = function(lambda self, x: np.maximum(x, 0), lambda self, g, x: g * (2.0 * (x > 0)))
    for beside in (3e-7, 2e-4):
        with pytest.raises(GradcheckError, match=r"at index \(1,\): backward gives 2"):
            gradcheck(lambda x: kind()(x), [Tensor(np.array([-1.0, beside]), requires_grad=True)])


@pytest.mark.parametrize("size", [1e9, 1e10])
def test_rounding_of_large_results_is_not_taken_for_a_kink(size):
    """Beside 10⁹ a small step is lost: the slope is 0, as a backward would have it that forgets this element."""
    shifts = np.array([0.0, size])
    kind = function(lambda self, x: x + shifts, lambda self, g: g * np.array([1.0, 0.0]))
    for fast in (False, True):
        with pytest.raises(GradcheckError, match="the difference quotient"):
            gradcheck(lambda x: kind()(x), [leaf(2)], fast=fast)


def test_where_all_is_a_kink_nothing_would_be_compared():
    with pytest.raises(GradcheckError, match="every derivative lies at a kink; nothing would be compared"):
        gradcheck(minidl.functional.relu, [Tensor(np.zeros(1), requires_grad=True)])


def test_fast_takes_a_smaller_step_where_one_of_many_inputs_has_a_kink_in_the_larger():
    x = Tensor(np.array([1.0, 2e-7]), requires_grad=True)
    gradcheck(minidl.functional.relu, [x], fast=True)


# ---- manners


def doubled(backward, forward=lambda self, x: x * 2, **options):
    kind = function(forward, backward, **options)
    return lambda x: kind()(x)


def test_a_backward_that_writes_into_g_is_seen():
    def writes(self, g):
        g *= 2
        return g

    for fast in (False, True):
        with pytest.raises(GradcheckError, match="backward wrote into the upstream gradient g"):
            gradcheck(doubled(writes), [leaf(2)], fast=fast)


def test_a_forward_that_writes_into_its_input_is_seen():
    def writes(self, x):
        x *= 2
        return x.copy()

    with pytest.raises(GradcheckError, match=r"(two results for one input|the function wrote into input 0)"):
        gradcheck(doubled(lambda self, g: g * 2, forward=writes), [leaf(2)])

    def tidies(self, x):  # the same result each time
        y = 2 * abs(x)
        x[...] = abs(x)
        return y

    with pytest.raises(GradcheckError, match=r"the function wrote into input 0, of shape \(2,\)"):
        gradcheck(
            doubled(lambda self, g: g * 2, forward=tidies), [Tensor([-1.0, 2.0], dtype="float64", requires_grad=True)]
        )


def test_a_backward_that_writes_into_its_input_is_seen():
    def writes(self, g, x):
        slope = 2 * x
        x += 1
        return g * slope

    with pytest.raises(GradcheckError):
        gradcheck(doubled(writes, forward=lambda self, x: x * x), [leaf(2)])

    def tidies(self, g, x):
        x[...] = abs(x)
        return g * 2

    with pytest.raises(GradcheckError, match=r"backward wrote into input 0"):
        gradcheck(doubled(tidies), [Tensor([-1.0, 2.0], dtype="float64", requires_grad=True)])


def test_a_backward_with_two_answers_is_seen():
    rng = np.random.default_rng(0)
    with pytest.raises(GradcheckError, match="backward gave two results for one upstream gradient"):
        gradcheck(doubled(lambda self, g: g * (2 + 1e-8 * rng.standard_normal())), [leaf(2)])


def test_a_result_that_a_later_call_overwrites_is_seen():
    memory = np.zeros(2)

    def reuses(self, x):
        np.multiply(x, 2, out=memory)
        return memory

    with pytest.raises(GradcheckError, match="a later call of the function overwrote the result of an earlier one"):
        gradcheck(doubled(lambda self, g: g * 2, forward=reuses), [leaf(2)])


def test_a_gradient_that_a_later_backward_overwrites_is_seen():
    memory = np.zeros(2)

    def reuses(self, g):
        np.multiply(g, 2, out=memory)
        return memory

    with pytest.raises(GradcheckError, match="used twice in one graph, the function gives other gradients"):
        gradcheck(doubled(reuses), [leaf(2)])


def test_a_backward_that_is_not_linear_in_g_is_seen():
    """Right for upstream gradients that are one 1 among zeros, of which the Jacobian is made."""
    with pytest.raises(GradcheckError, match="not for a random one, as if it were not linear in g"):
        gradcheck(doubled(lambda self, g: g * g * 2), [leaf(3)])


def test_a_gradient_of_another_shape_is_seen():
    with pytest.raises(
        RuntimeError, match=r"Checked.backward, gradient to input 0: expected shape \(2, 3\), got \(3,\)$"
    ):
        gradcheck(doubled(lambda self, g: g[0]), [leaf(2, 3)])
    kind = function(lambda self, a, b: a * b, lambda self, g, a, b: (g * b, g * a))
    with pytest.raises(RuntimeError, match=r"expected shape \(3,\), got \(2, 3\); sum_to adds up what broadcasting"):
        gradcheck(lambda a, b: kind()(a, b), [leaf(2, 3), leaf(3)])


@pytest.mark.parametrize("dtype", ["float32", "float16", "bool", "int64"])
def test_a_gradient_of_a_dtype_with_fewer_digits_is_seen(dtype):
    with pytest.raises(RuntimeError, match=f"expected float64, got {dtype}: digits were lost on the way"):
        gradcheck(doubled(lambda self, g: (g * 2).astype(dtype)), [leaf(2)])


# ---- the likely mistake


@pytest.mark.parametrize(
    ("name", "mistake"),
    {
        "ignores g": "it is the same for every upstream gradient: backward does not multiply by g",
        "wrong sign": "its sign is wrong",
        "mean for sum": "it is 3 times too small: a mean where a sum belongs?",
        "swapped axes": r"its axes are exchanged: a transpose to \(1, 0\) is missing",
        "off-by-one crop": "along axis 1 it is one element ahead of where it should be",
        "one element wrong": "1 of its 6 elements are wrong, the others right",
        "softmax with dx = 0": "it is zero",
        "a reused input counted once": "it is 3 times too small",
    }.items(),
)
def test_the_likely_mistake_is_named(name, mistake):
    f, inputs = written(name, "wrong")
    with pytest.raises(GradcheckError, match=f"Over a random upstream gradient, {mistake}"):
        gradcheck(f, inputs)


def test_elements_at_a_kink_do_not_count_as_wrong():
    kind = function(lambda self, x: np.maximum(x, 0), lambda self, g, x: g * ((x > 0) + (x < -1)))
    x = Tensor([0.0, 1.0, -0.5, -2.0], dtype="float64", requires_grad=True)
    with pytest.raises(GradcheckError, match="1 of its 4 elements are wrong, the others right"):
        gradcheck(lambda x: kind()(x), [x])


def test_gradgradcheck_says_which_inputs_are_upstream_gradients():
    kind = function(lambda self, x: x * x, lambda self, g, x: WRONG_TWICE["upstream gradient cut off"](g, x))
    with pytest.raises(GradcheckError, match=r"input 1, .*inputs from 1 on are the upstream gradients$") as caught:
        gradgradcheck(lambda x: kind()(x), [leaf(2)])
    assert caught.value.inputs == (1,)


def test_where_the_numbers_tell_nothing_no_mistake_is_named():
    f, inputs = written("softmax as if outputs were independent", "wrong")
    with pytest.raises(GradcheckError, match=r"for output element \d of 6$"):
        gradcheck(f, inputs)
