"""Losses of an input and a target of one shape: distances, and how unlikely targets are under probabilities."""

import inspect

import numpy as np
import oracle
import pytest
from judge import assert_close, check_operator, host, leaves, value_and_gradients

import minidl
from minidl import Tensor
from minidl import functional as F

CASES = {  # what the inputs are, the options that are numbers, and the shapes of those that are arrays; () is (4, 3)
    "mse_loss": ("numbers", {}, {}),
    "mse_loss, weighted": ("numbers", {}, {"weight": (4, 3)}),
    "l1_loss": ("numbers", {}, {}),
    "l1_loss, weighted": ("numbers", {}, {"weight": (4, 3)}),
    "smooth_l1_loss": ("numbers", {}, {}),
    "smooth_l1_loss, small beta": ("numbers", {"beta": 0.4}, {}),
    "smooth_l1_loss, beta 0": ("numbers", {"beta": 0}, {}),
    "huber_loss": ("numbers", {}, {}),
    "huber_loss, large delta": ("numbers", {"delta": 1.7}, {}),
    "huber_loss, weighted": ("numbers", {"delta": 0.4}, {"weight": (4, 3)}),
    "binary_cross_entropy": ("probabilities", {}, {}),
    "binary_cross_entropy, weighted": ("probabilities", {}, {"weight": (4, 3)}),
    "binary_cross_entropy, weighted rows": ("probabilities", {}, {"weight": (4, 1)}),
    "binary_cross_entropy_with_logits": ("numbers", {}, {}),
    "binary_cross_entropy_with_logits, weighted": ("numbers", {}, {"weight": (4, 1), "pos_weight": (3,)}),
    "binary_cross_entropy_with_logits, weighted alike": ("numbers", {}, {"weight": (), "pos_weight": (4, 3)}),
    "kl_div": ("distributions", {}, {}),
    "kl_div, log_target": ("distributions", {"log_target": True}, {}),
}
NAMES = sorted({name.partition(",")[0] for name in CASES})
REDUCTIONS = ["mean", "sum", "none"]
EVERY_CASE = [(name, reduction) for name in CASES for reduction in REDUCTIONS]
EVERY_CASE += [(name, "batchmean") for name in CASES if name.startswith("kl_div")]


def case(name, rng, shape=(4, 3)):
    """The function's name, an input and a target, and all options."""
    kind, options, arrays = CASES[name]
    if kind == "distributions":
        x, target = (np.log(rng.dirichlet(np.ones(shape[-1]), shape[:-1])) for _ in range(2))
        target = target if options else np.exp(target)
    elif kind == "probabilities":
        x, target = rng.uniform(0.02, 0.98, shape), rng.uniform(0, 1, shape)
    else:
        x, target = rng.standard_normal(shape), rng.standard_normal(shape)
    arrays = {option: rng.uniform(0.2, 2.0, its_shape) for option, its_shape in arrays.items()}
    return name.partition(",")[0], x, target, options | {option: np.array(a) for option, a in arrays.items()}


def on_device(options, device):
    return {k: Tensor(v, device=device) if isinstance(v, np.ndarray) else v for k, v in options.items()}


@pytest.mark.parametrize(("name", "reduction"), EVERY_CASE)
def test_values(name, reduction, device, rng):
    name, x, target, options = case(name, rng)
    expected = getattr(oracle, name)(x, target, reduction=reduction, **options)
    y = getattr(F, name)(*leaves([x, target], device), reduction=reduction, **on_device(options, device))
    assert_close(y, expected)


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (7, 1), (), (1,)], ids=str)
@pytest.mark.parametrize("name", [name for name in CASES if not CASES[name][2]])
def test_values_of_other_shapes(name, shape, device, rng):
    if CASES[name][0] == "distributions" and not shape:
        shape = (3,)
    name, x, target, options = case(name, rng, shape)
    for reduction in REDUCTIONS:
        expected = getattr(oracle, name)(x, target, reduction=reduction, **options)
        assert_close(getattr(F, name)(*leaves([x, target], device), reduction=reduction, **options), expected)


@pytest.mark.parametrize(("name", "reduction"), EVERY_CASE)
def test_gradients_and_manners(name, reduction, device, rng):
    """Gradients to the input, the target and the weights."""
    name, x, target, options = case(name, rng)
    arrays = {option: value for option, value in options.items() if isinstance(value, np.ndarray)}

    def function(x, target, *weights):
        weights = dict(zip(arrays, weights, strict=True))
        return getattr(F, name)(x, target, reduction=reduction, **(options | weights))

    check_operator(function, [x, target, *arrays.values()], device)


@pytest.mark.parametrize("name", CASES)
def test_full_second_derivatives(name, rng):
    name, x, target, options = case(name, rng)
    minidl.gradgradcheck(lambda x, t: getattr(F, name)(x, t, **options), leaves([x, target], "cpu"))


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore:reduction:UserWarning")  # about the mean of kl_div
@pytest.mark.parametrize(("name", "reduction"), EVERY_CASE)
def test_against_torch(name, reduction, rng):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    name, x, target, options = case(name, rng)
    theirs = [torch.from_numpy(array).requires_grad_() for array in (x, target)]
    their_options = {k: torch.from_numpy(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
    expected = getattr(torch.nn.functional, name)(*theirs, reduction=reduction, **their_options)
    g = rng.standard_normal(expected.shape)
    expected.backward(torch.from_numpy(np.asarray(g)))
    value, gradients = value_and_gradients(
        lambda x, t: getattr(F, name)(x, t, reduction=reduction, **options), [x, target], g, "cpu"
    )
    assert_close(value, expected.detach().numpy())
    for gradient, other in zip(gradients, theirs, strict=True):
        assert_close(gradient, other.grad.numpy())


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore:reduction:UserWarning")
@pytest.mark.parametrize("name", CASES)
def test_second_derivatives_against_torch(name, rng):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    name, x, target, options = case(name, rng)
    g, u = rng.standard_normal(x.shape), rng.standard_normal(x.shape)

    theirs = torch.from_numpy(x).requires_grad_()
    their_options = {k: torch.from_numpy(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
    y = getattr(torch.nn.functional, name)(theirs, torch.from_numpy(target), reduction="none", **their_options)
    (first,) = torch.autograd.grad(y, theirs, torch.from_numpy(g), create_graph=True)
    expected = np.zeros(x.shape)
    if first.requires_grad:
        second = torch.autograd.grad(first, theirs, torch.from_numpy(u), allow_unused=True)[0]
        expected = expected if second is None else second.numpy(force=True)

    (ours,) = leaves([x], "cpu")
    y = getattr(F, name)(ours, target, reduction="none", **options)
    g = Tensor(g, requires_grad=True)  # so that what is constant in x is recorded all the same
    (first,) = minidl.grad(y, [ours], g, create_graph=True)
    (second,) = minidl.grad(first, [ours], Tensor(u), allow_unused=True)
    assert_close(np.zeros(x.shape) if second is None else second, expected, 1e-8)


# ---- shapes, dtypes, emptiness


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("x", "target"), [((4, 1), (4,)), ((4,), (4, 1)), ((4, 3), (3,)), ((4, 3), (1, 3)), ((4,), ())], ids=str
)
def test_nothing_broadcasts(name, x, target, device):
    """PyTorch warns here and computes, of (4, 1) and (4,), all 16 differences."""
    message = rf"^{name}: input \({str(x)[1:-1]}\) and target .* must have one shape; nothing broadcasts"
    with pytest.raises(ValueError, match=message):
        getattr(F, name)(Tensor(np.ones(x), device=device), Tensor(np.ones(target), device=device))


@pytest.mark.torch
@pytest.mark.parametrize("name", ["mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"])
def test_torch_broadcasts_with_a_warning(name):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    with pytest.warns(UserWarning, match="different to the input size"):
        losses = getattr(torch.nn.functional, name)(torch.ones(4, 1), torch.ones(4), reduction="none")
    assert losses.shape == (4, 4)
    with pytest.raises(ValueError, match="must have one shape; nothing broadcasts"):
        getattr(F, name)(Tensor(np.ones((4, 1))), Tensor(np.ones(4)), reduction="none")


@pytest.mark.torch
def test_torch_widens_or_refuses_where_the_target_is_wider():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    x, target = torch.ones(4), torch.ones(4, dtype=torch.float64)
    assert torch.nn.functional.mse_loss(x, target).dtype == torch.float64
    with pytest.raises(RuntimeError, match="Found dtype Double but expected Float"):
        torch.nn.functional.binary_cross_entropy(x, target)
    for loss in (F.mse_loss, F.binary_cross_entropy):
        assert loss(Tensor(x.numpy()), Tensor(target.numpy())).dtype == np.float32


@pytest.mark.parametrize("name", CASES)
def test_the_input_gives_the_dtype(name, device, rng):
    """float32 stays float32, whatever a target or a weight is; their gradients have their own dtype."""
    name, x, target, options = case(name, rng)
    x, target = Tensor(x, True, "float32", device), Tensor(target, True, device=device)  # float64, as are the weights
    loss = getattr(F, name)(x, target, **on_device(options, device))
    gradients = minidl.grad(loss, [x, target])
    assert [value.dtype for value in (loss, *gradients)] == [np.float32, np.float32, np.float64]
    losses = getattr(F, name)(x.astype("float64"), target.astype("float32"), **on_device(options, device))
    assert losses.dtype == np.float64


@pytest.mark.parametrize("name", CASES)
def test_raw_arrays_give_raw_arrays(name, device, rng):
    name, x, target, options = case(name, rng)
    x, target = Tensor(x, device=device), Tensor(target, device=device)
    options = on_device(options, device)
    raw_options = {k: v.data if isinstance(v, Tensor) else v for k, v in options.items()}
    for reduction in REDUCTIONS:
        expected = getattr(F, name)(x, target, reduction=reduction, **options)
        plain = getattr(F, name)(x.data, target.data, reduction=reduction, **raw_options)
        assert not isinstance(plain, Tensor)
        assert_close(plain, host(expected), 0)
        mixed = [(x, target.data), (x.data, target)]
        for arguments in mixed:
            mixture = getattr(F, name)(*arguments, reduction=reduction, **options)
            assert isinstance(mixture, Tensor)
            assert_close(mixture, host(expected), 0)


@pytest.mark.parametrize("name", CASES)
def test_a_mean_over_nothing_is_nan(name, device):
    name, x, target, options = case(name, np.random.default_rng(0))
    options = {k: np.ones((0, 3)) if isinstance(v, np.ndarray) and v.ndim else v for k, v in options.items()}
    x, target = leaves([np.ones((0, 3)), np.ones((0, 3))], device)
    expected = {"mean": np.array(np.nan), "sum": np.array(0.0), "none": np.zeros((0, 3))}
    if name == "kl_div":
        expected["batchmean"] = np.array(np.nan)
    for reduction, value in expected.items():
        loss = getattr(F, name)(x, target, reduction=reduction, **on_device(options, device))
        assert_close(loss, value)
        for gradient in minidl.grad(loss, [x, target], Tensor(value, device=device)):
            assert gradient.shape == (0, 3)


@pytest.mark.parametrize("name", ["mse_loss", "l1_loss"])
def test_a_mean_of_weights_that_are_all_0_is_nan_and_its_gradient_0(name, device):
    """As is that of a batch whose every sample is ignored; here PyTorch's gradient is NaN as well."""
    x, target = leaves([np.array([1.0, 2.0]), np.array([3.0, 5.0])], device)
    loss = getattr(F, name)(x, target, weight=Tensor(np.zeros(2), device=device))
    assert np.isnan(host(loss))
    for gradient in minidl.grad(loss, [x, target]):
        assert host(gradient).tolist() == [0, 0]


def test_integers(device):
    """Between bytes 1 − 255 would be 2, and 200² = 64."""
    x, target = (Tensor(values, dtype="uint8", device=device) for values in ([1, 200, 7], [255, 0, 7]))
    expected = {
        "mse_loss": [254**2, 200**2, 0],
        "l1_loss": [254, 200, 0],
        "smooth_l1_loss": [253.5, 199.5, 0],
        "huber_loss": [253.5, 199.5, 0],
    }
    for name, values in expected.items():
        losses = getattr(F, name)(x, target, reduction="none")
        assert losses.dtype == np.float32
        assert host(losses).tolist() == values
    certain = Tensor([[0, 1], [1, 1]], device=device)
    assert host(F.binary_cross_entropy(certain, certain)) == 0
    assert F.binary_cross_entropy_with_logits(certain, certain).dtype == np.float32


# ---- distances: kinks, infinities


def values_and_gradients(function, x, device, dtype=np.float64):
    """function(x, 0) element by element, and its derivative."""
    (x,) = leaves([np.array(x, dtype)], device)
    y = function(x, Tensor(np.zeros(x.shape, dtype), device=device))
    (gradient,) = minidl.grad(y, [x], Tensor(np.ones(x.shape, dtype), device=device))
    return host(y).tolist(), host(gradient).tolist()


def test_the_kink_of_l1_loss(device):
    for function in (
        lambda x, t: F.l1_loss(x, t, "none"),
        lambda x, t: F.smooth_l1_loss(x, t, "none", beta=0),
        lambda x, t: F.smooth_l1_loss(x, t, "none", beta=0.0),
    ):
        assert values_and_gradients(function, [-2.0, 0.0, 3.0], device) == ([2, 0, 3], [-1, 0, 1])


def test_where_huber_and_smooth_l1_become_linear(device):
    """Value and slope go on without a step; past δ the slope is ±δ, or ±1 for smooth_l1_loss."""
    x = [-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0]
    huber = values_and_gradients(lambda x, t: F.huber_loss(x, t, "none", delta=2.0), x, device)
    assert huber == ([4, 2, 0.5, 0, 0.5, 2, 4], [-2, -2, -1, 0, 1, 2, 2])
    smooth = values_and_gradients(lambda x, t: F.smooth_l1_loss(x, t, "none", beta=2.0), x, device)
    assert smooth == ([2, 1, 0.25, 0, 0.25, 1, 2], [-1, -1, -0.5, 0, 0.5, 1, 1])


def test_large_differences_do_not_overflow_where_they_count_linearly(device):
    """(10³⁰)² is no float32; and a NumPy warning would fail this test."""
    x = [1e30, -1e30, np.inf, -np.inf]
    for function in (F.huber_loss, F.smooth_l1_loss):
        values, gradients = values_and_gradients(lambda x, t, f=function: f(x, t, "none"), x, device, np.float32)
        assert values == [np.float32(1e30), np.float32(1e30), np.inf, np.inf]
        assert gradients == [1, -1, 1, -1]


@pytest.mark.torch
@pytest.mark.parametrize("name", ["mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"])
def test_kinks_and_nan_against_torch(name, device):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    x = [-np.inf, -2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, np.inf, np.nan]
    for option in {"smooth_l1_loss": (0, 0.5, 1), "huber_loss": (0.5, 1, 2)}.get(name, [None]):
        options = {} if option is None else {"beta" if name == "smooth_l1_loss" else "delta": option}
        theirs = torch.tensor(x, dtype=torch.float64, requires_grad=True)
        expected = getattr(torch.nn.functional, name)(theirs, torch.zeros_like(theirs), reduction="none", **options)
        expected.backward(torch.ones_like(theirs))
        values, gradients = values_and_gradients(
            lambda x, t, o=options: getattr(F, name)(x, t, reduction="none", **o), x, device
        )
        np.testing.assert_array_equal(values, expected.detach().numpy())
        np.testing.assert_array_equal(gradients, theirs.grad.numpy())


# ---- probabilities: the ends


CERTAIN, TARGETS = [0.0, 0.0, 1.0, 1.0, 0.0, 1.0], [0.0, 1.0, 0.0, 1.0, 0.3, 0.3]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_binary_cross_entropy_of_certainties(dtype, device):
    x, target = leaves([np.array(CERTAIN, dtype), np.array(TARGETS, dtype)], device)
    losses = F.binary_cross_entropy(x, target, reduction="none")
    assert_close(losses, np.array([0, 100, 100, 0, 30, 70], dtype), 1e-6)
    to_x, to_target = minidl.grad(losses, [x, target], Tensor(np.ones(6, dtype), device=device), retain_graph=True)
    assert_close(to_x, np.array([0, -1e12, 1e12, 0, -3e11, 7e11], dtype), 1e-6)
    assert_close(to_target, np.array([100, 100, -100, -100, 100, -100], dtype), 1e-6)


def test_binary_cross_entropy_of_a_tiny_probability(device):
    """1 − 10⁻¹⁰ is 1 in float32, and yet ln(1 − 10⁻¹⁰) is not 0."""
    x, t = Tensor([1e-10, 1e-10], device=device), Tensor([0.0, 0.5], device=device)
    losses = host(F.binary_cross_entropy(x, t, reduction="none"))
    np.testing.assert_allclose(losses, [1e-10, 5 * np.log(10)], rtol=1e-6)


@pytest.mark.torch
def test_binary_cross_entropy_of_near_certainties_against_torch(device):
    """But for the gradient to the target, which is the derivative of the bounded loss; PyTorch's lacks the bound."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    x = np.array([*CERTAIN, 1e-50, 1e-50, 1e-20, 1e-13, 1 - 1e-13])
    t = np.array([*TARGETS, 0.0, 1.0, 0.5, 0.3, 0.3])
    theirs = [torch.from_numpy(array).requires_grad_() for array in (x, t)]
    expected = torch.nn.functional.binary_cross_entropy(*theirs, reduction="none")
    expected.backward(torch.ones(x.size, dtype=torch.float64))
    value, (to_x, to_target) = value_and_gradients(
        lambda x, t: F.binary_cross_entropy(x, t, reduction="none"), [x, t], np.ones(x.size), device
    )
    assert_close(value, expected.detach().numpy())
    np.testing.assert_allclose(to_x, theirs[0].grad.numpy(), rtol=1e-8)  # PyTorch's 10⁻¹² is a float32
    assert np.isinf(theirs[1].grad.numpy()).sum() == 6
    assert_close(to_target, theirs[1].grad.numpy().clip(-100, 100), 1e-6)


@pytest.mark.parametrize(
    ("x", "t", "which"), [(1.5, 1, "inputs"), (-0.1, 0, "inputs"), (np.nan, 0, "inputs"), (0.5, 2.0, "targets")]
)
def test_what_is_no_probability(x, t, which, device):
    """An error on the host. A device would have to wait to see it: there the loss is NaN."""
    x, t = Tensor([0.2, x, 0.4], device=device), Tensor([0.1, t, 1.0], device=device)
    if device == "cpu":
        with pytest.raises(
            ValueError, match=rf"^binary_cross_entropy: expected {which} from 0 to 1, got (1.5|-0.1|nan|2)"
        ):
            F.binary_cross_entropy(x, t)
    else:
        assert np.isnan(host(F.binary_cross_entropy(x, t, reduction="none"))).tolist() == [False, True, False]
        assert np.isnan(host(F.binary_cross_entropy(x, t)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_binary_cross_entropy_with_logits_in_the_tails(dtype, device):
    """Neither overflow nor a difference of nearly equal numbers: the small losses and gradients are right as well."""
    x = np.array([-800, -80, -20, 20, 80, 800, -800, -80, -20, 20, 80, 800], dtype)
    t = np.array([0] * 6 + [1] * 6, dtype)
    tiny = np.exp(-abs(x.astype(np.float64))) * (1 - np.exp(-abs(x.astype(np.float64))) / 2)  # ln(1 + e^−|x|)
    right = (x > 0) == t
    losses, (to_x, to_t) = value_and_gradients(
        lambda x, t: F.binary_cross_entropy_with_logits(x, t, reduction="none"), [x, t], np.ones(12, dtype), device
    )
    np.testing.assert_allclose(losses, np.where(right, tiny, abs(x)), rtol=1e-6, atol=1e-45)
    share = np.exp(-abs(x.astype(np.float64))) / (1 + np.exp(-abs(x.astype(np.float64))))  # what is not certain
    np.testing.assert_allclose(to_x, np.where(x > 0, 1, -1) * np.where(right, -share, 1 - share), rtol=1e-6, atol=1e-45)
    np.testing.assert_allclose(to_t, -x, rtol=1e-6)


@pytest.mark.torch
def test_binary_cross_entropy_with_logits_in_the_tails_against_torch(rng):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    x, t, p = 60 * rng.standard_normal((40, 3)), rng.uniform(0, 1, (40, 3)), rng.uniform(0.2, 3, 3)
    theirs = [torch.from_numpy(array).requires_grad_() for array in (x, t)]
    expected = torch.nn.functional.binary_cross_entropy_with_logits(*theirs, pos_weight=torch.from_numpy(p))
    expected.backward()
    value, gradients = value_and_gradients(
        lambda x, t: F.binary_cross_entropy_with_logits(x, t, pos_weight=p), [x, t], np.float64(1), "cpu"
    )
    assert_close(value, expected.detach().numpy())
    for gradient, other in zip(gradients, theirs, strict=True):
        assert_close(gradient, other.grad.numpy(), 1e-14)


def test_kl_div_of_impossible_events(device):
    """t = 0 costs nothing, and t · ln t counts as flat there; PyTorch's gradient to the target is NaN."""
    x, t = leaves([np.log([[0.25, 0.75], [0.5, 0.5]]), np.array([[1.0, 0.0], [0.0, 1.0]])], device)
    losses = F.kl_div(x, t, "none")
    assert_close(losses, np.array([[np.log(4), 0], [0, np.log(2)]]))
    g = Tensor(np.array([[2.0, 3.0], [5.0, 7.0]]), device=device)
    to_x, to_t = minidl.grad(losses, [x, t], g)
    assert_close(to_x, np.array([[-2.0, 0], [0, -7]]))
    assert_close(to_t, host(g) * (np.array([[1, 0], [0, 1]]) - host(x)))


def test_kl_div_of_log_targets_of_minus_infinity(device):
    """ln 0 is the logarithm of the target before; PyTorch's loss and gradient are NaN, 0 · ∞."""
    x, t = leaves([np.log([[0.25, 0.75]]), np.array([[0.0, -np.inf]])], device)
    losses = F.kl_div(x, t, "none", log_target=True)
    assert_close(losses, np.array([[np.log(4), 0]]))
    to_x, to_t = minidl.grad(losses, [x, t], Tensor(np.array([[2.0, 3.0]]), device=device))
    assert_close(to_x, np.array([[-2.0, 0]]))
    assert_close(to_t, np.array([[2 * (np.log(4) + 1), 0]]))


@pytest.mark.torch
def test_where_torch_has_nan_of_zeros_there_is_0():
    """0 · ln 0 in kl_div, its derivative, and the gradient of a mean whose weights are all 0."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    theirs, ours = torch.nn.functional, F
    x, t, nothing = [-1.0, -1.0], [0.0, 1.0], [0.0, 0.0]

    def results(f, tensor):
        target = tensor(t, requires_grad=True)
        f.kl_div(tensor(x), target, reduction="none").sum().backward()
        of_logs = f.kl_div(tensor(x), tensor([-np.inf, 0.0]), reduction="none", log_target=True)
        weighed = tensor(x, requires_grad=True)
        f.mse_loss(weighed, tensor(t), weight=tensor(nothing)).backward()
        return [[float(number) for number in y] for y in (target.grad, of_logs, weighed.grad)]

    nan = np.nan
    np.testing.assert_array_equal(results(theirs, torch.tensor), [[nan, 2], [nan, 1], [nan, nan]])
    assert results(ours, Tensor) == [[1, 2], [0, 1], [0, 0]]


@pytest.mark.torch
@pytest.mark.parametrize("name", ["binary_cross_entropy", "binary_cross_entropy_with_logits"])
def test_the_weights_of_probabilities_have_gradients_which_torch_refuses(name):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    half = torch.full((2,), 0.5)
    with pytest.raises(RuntimeError, match="not differentiable with respect to argument 'weight'"):
        getattr(torch.nn.functional, name)(half, half, torch.ones(2, requires_grad=True))
    weight = Tensor([1.0, 2.0], requires_grad=True)
    losses = getattr(F, name)(Tensor(half.numpy()), Tensor(half.numpy()), weight, reduction="none")
    losses.sum().backward()
    assert_close(weight.grad * weight, losses, 1e-6)


def test_kl_div_is_a_divergence(device, rng):
    """Per sample: Σ p ln(p / q), which is 0 only for equal distributions; the mean divides by all elements."""
    p, q = rng.dirichlet(np.ones(5), (2, 3)), rng.dirichlet(np.ones(5), (2, 3))
    x, t = Tensor(np.log(q), device=device), Tensor(p, device=device)
    total = (p * np.log(p / q)).sum()
    assert_close(F.kl_div(x, t, "batchmean"), np.array(total / 2))
    assert_close(F.kl_div(x, t), np.array(total / 30))
    assert_close(F.kl_div(t.log(), t, "sum"), np.array(0.0))
    one = F.kl_div(Tensor(-1.0, device=device), Tensor(0.5, device=device), "batchmean")
    assert_close(one, np.array(0.5 * np.log(0.5) + 0.5, np.float32), 1e-6)


# ---- wrong calls

X = np.full((4, 3), 0.5)


@pytest.mark.parametrize("name", NAMES)
def test_a_list_is_no_tensor(name, device):
    x = Tensor([1.0], device=device)
    for a, b in [(x, [1.0]), ([1.0], x), ([1.0], [1.0])]:
        with pytest.raises(TypeError, match=f"^{name}: expected a Tensor or an array, got list$"):
            getattr(F, name)(a, b)
    for option in {"weight", "pos_weight"} & set(inspect.signature(getattr(F, name)).parameters):
        with pytest.raises(TypeError, match=f"^{name}: expected a Tensor or an array, got list$"):
            getattr(F, name)(x, x, **{option: [1.0]})


@pytest.mark.parametrize("name", NAMES)
def test_wrong_reductions(name, device):
    x = Tensor([0.5], device=device)
    existing = '"mean", "sum", "none" or "batchmean"' if name == "kl_div" else '"mean", "sum" or "none"'
    for wrong in (None, "average", *([] if name == "kl_div" else ["batchmean"])):
        with pytest.raises(ValueError, match=f"^{name}: reduction must be {existing}, got {wrong!r}$"):
            getattr(F, name)(x, x, reduction=wrong)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("mse_loss", {"weight": (3,)}, r"input \(4, 3\) and weight \(3,\) must have one shape; nothing broadcasts"),
        ("l1_loss", {"weight": (4, 1)}, r"input \(4, 3\) and weight \(4, 1\) must have one shape"),
        ("huber_loss", {"weight": ()}, r"input \(4, 3\) and weight \(\) must have one shape"),
        ("huber_loss", {"delta": 0}, "expected delta above 0, got 0"),
        ("huber_loss", {"delta": -1.5}, "expected delta above 0, got -1.5"),
        ("huber_loss", {"delta": float("nan")}, "expected delta above 0, got nan"),
        ("smooth_l1_loss", {"beta": -0.1}, "expected beta of at least 0, got -0.1"),
        ("smooth_l1_loss", {"beta": float("nan")}, "expected beta of at least 0, got nan"),
        ("binary_cross_entropy", {"weight": (2, 4, 3)}, r"weight \(2, 4, 3\) cannot be repeated to the shape of the "),
        ("binary_cross_entropy", {"weight": (4,)}, r"shapes do not broadcast: \(4,\), \(4, 3\)"),
        ("binary_cross_entropy_with_logits", {"weight": (1, 4, 3)}, r"weight \(1, 4, 3\) cannot be repeated to "),
        ("binary_cross_entropy_with_logits", {"pos_weight": (1, 4, 3)}, r"pos_weight \(1, 4, 3\) cannot be repeated"),
        ("binary_cross_entropy_with_logits", {"pos_weight": (4,)}, r"shapes do not broadcast: \(4,\), \(4, 3\)"),
    ],
)  # fmt: skip
def test_wrong_options(name, options, message, device):
    options = {k: Tensor(np.ones(v), device=device) if isinstance(v, tuple) else v for k, v in options.items()}
    x = Tensor(X, device=device)
    with pytest.raises(ValueError, match=f"^{name}: {message}"):
        getattr(F, name)(x, x, **options)


def test_weights_on_another_device_are_refused(device):
    if device == "cpu":
        return
    x, weight = Tensor(X, device=device), Tensor(X)
    for name in ("mse_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits"):
        with pytest.raises(minidl.DeviceError, match=f"^{name}: operands on different devices"):
            getattr(F, name)(x, x, weight=weight)
