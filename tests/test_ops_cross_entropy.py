"""cross_entropy and nll_loss: classes on the last axis, given as indices or as probabilities."""

import numpy as np
import oracle
import pytest
from judge import assert_close, check_operator, host, leaves, relative_error, value_and_gradients

import minidl
from minidl import Tensor
from minidl import functional as F

SHAPES = [(6, 5), (2, 3, 4, 5), (5,)]
TARGETS = ["indices", "ignored indices", "probabilities"]
REDUCTIONS = ["mean", "sum", "none"]
SMOOTHINGS = [0.0, 0.3, 1.0]


def case(shape, targets, weighted, rng):
    """Scores, a target, and the options that go with it."""
    options = {"weight": rng.uniform(0.2, 2.0, shape[-1]) if weighted else None}
    if targets == "probabilities":
        return 3 * rng.standard_normal(shape), rng.dirichlet(np.ones(shape[-1]), shape[:-1]), options
    target = rng.integers(0, shape[-1], shape[:-1])
    if targets == "ignored indices" and target.ndim:
        options["ignore_index"] = int(target.flat[0])
    return 3 * rng.standard_normal(shape), target, options


def on_device(options, device):
    weight = options["weight"]
    return options | {"weight": None if weight is None else Tensor(weight, device=device)}


@pytest.mark.parametrize("label_smoothing", SMOOTHINGS)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("targets", TARGETS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_cross_entropy(shape, targets, weighted, reduction, label_smoothing, device, rng):
    x, target, options = case(shape, targets, weighted, rng)
    options |= {"reduction": reduction, "label_smoothing": label_smoothing}
    expected = oracle.cross_entropy(x, target, **options)
    options = on_device(options, device)
    assert_close(F.cross_entropy(Tensor(x, device=device), Tensor(target, device=device), **options), expected)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("targets", TARGETS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_cross_entropy_gradients_and_manners(shape, targets, reduction, device, rng):
    x, target, options = case(shape, targets, True, rng)
    options = on_device(options, device) | {"reduction": reduction, "label_smoothing": 0.1}
    if targets == "probabilities":
        check_operator(lambda x, q: F.cross_entropy(x, q, **options), [x, target], device)
    else:
        target = Tensor(target, device=device)
        check_operator(lambda x: F.cross_entropy(x, target, **options), [x], device)


def test_cross_entropy_full_second_derivatives(device, rng):
    x, target, _ = case((2, 3), "indices", False, rng)
    minidl.gradgradcheck(lambda x: F.cross_entropy(x, Tensor(target, device=device)), leaves([x], device))
    x, q, _ = case((2, 3), "probabilities", False, rng)
    minidl.gradgradcheck(lambda x, q: F.cross_entropy(x, q, label_smoothing=0.2), leaves([x, q], device))


@pytest.mark.torch
@pytest.mark.parametrize("label_smoothing", SMOOTHINGS)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("targets", TARGETS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_cross_entropy_against_torch(shape, targets, weighted, reduction, label_smoothing, rng):
    x, target, options = case(shape, targets, weighted, rng)
    options |= {"reduction": reduction, "label_smoothing": label_smoothing}
    by_index = targets != "probabilities"
    compare_with_torch("cross_entropy", [x] if by_index else [x, target], [target] if by_index else [], options, rng)


def compare_with_torch(name, differentiable, constants, options, rng):
    """Values and gradients: scores and probabilities are differentiable, indices are constants."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    class_axis = min(differentiable[0].ndim - 1, 1)  # PyTorch has the classes second
    theirs = [torch.from_numpy(np.moveaxis(array, -1, class_axis).copy()).requires_grad_() for array in differentiable]
    fixed = [torch.from_numpy(np.asarray(array)) for array in constants]
    their_weight = None if options["weight"] is None else torch.from_numpy(options["weight"])
    expected = getattr(torch.nn.functional, name)(*theirs, *fixed, **(options | {"weight": their_weight}))
    g = rng.standard_normal(expected.shape)
    expected.backward(torch.from_numpy(np.asarray(g)))
    value, gradients = value_and_gradients(
        lambda *inputs: getattr(F, name)(*inputs, *constants, **options), differentiable, g, "cpu"
    )
    assert_close(value, expected.detach().numpy())
    for gradient, other in zip(gradients, theirs, strict=True):
        assert_close(gradient, np.moveaxis(other.grad.numpy(), class_axis, -1))


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_ignored_samples_have_no_loss_and_no_gradient(label_smoothing, device, rng):
    (x,) = leaves([rng.standard_normal((4, 3))], device)
    target = Tensor([2, -100, 0, -100], device=device)
    losses = F.cross_entropy(x, target, reduction="none", label_smoothing=label_smoothing)
    assert host(losses)[[1, 3]].tolist() == [0, 0]
    mean = F.cross_entropy(x, target, label_smoothing=label_smoothing)
    assert_close(mean, host(losses).sum() / 2)
    (gradient,) = minidl.grad(mean, [x])
    assert not host(gradient)[[1, 3]].any()
    assert host(gradient)[[0, 2]].all()


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
@pytest.mark.parametrize("target", [[], [-100, -100]], ids=["empty", "all ignored"])
def test_a_mean_over_nothing_is_nan_and_its_gradient_0(target, label_smoothing, weighted, device):
    (x,) = leaves([np.ones((len(target), 3))], device)
    weight = Tensor([1.0, 2.0, 3.0], device=device) if weighted else None
    for function, options in ((F.cross_entropy, {"label_smoothing": label_smoothing}), (F.nll_loss, {})):
        for reduction, expected in (("mean", np.nan), ("sum", 0)):
            loss = function(x, Tensor(target, dtype=int, device=device), weight, reduction=reduction, **options)
            assert_close(loss, np.array(expected))
            (gradient,) = minidl.grad(loss, [x])
            assert_close(gradient, np.zeros(x.shape))


def test_a_mean_over_no_probabilities_is_nan(device):
    nothing = Tensor(np.ones((0, 2, 3)), device=device)
    assert np.isnan(host(F.cross_entropy(nothing, nothing)))
    assert host(F.cross_entropy(nothing, nothing, reduction="sum")) == 0


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_the_gradient_to_weights(reduction, device, rng):
    x, q, options = case((3, 4), "probabilities", True, rng)
    target = rng.integers(0, 4, 3)
    for given in (q, target):
        given = Tensor(given, device=device)
        check_operator(
            lambda x, w, t=given: F.cross_entropy(x, t, w, reduction=reduction, label_smoothing=0.1),
            [x, options["weight"]],
            device,
        )
    check_operator(lambda x, w: F.nll_loss(x, given, w, reduction=reduction), [x, options["weight"]], device)


def test_huge_scores_neither_overflow_nor_vanish(device):
    x = Tensor([[1000.0, -1000.0], [-1000.0, 1000.0]], requires_grad=True, device=device)
    losses = F.cross_entropy(x, Tensor([0, 0], device=device), reduction="none")
    assert host(losses).tolist() == [0, 2000]
    (gradient,) = minidl.grad(losses, [x], Tensor([1.0, 1.0], device=device))
    assert host(gradient).tolist() == [[0, 0], [-1, 1]]


def test_a_class_masked_with_minus_infinity_costs_nothing(device):
    """0 · ln 0 = 0: its target is 0, and so is its share of the loss."""
    x = Tensor([[1.0, -np.inf, 2.0]], requires_grad=True, device=device)
    loss = F.cross_entropy(x, Tensor([2], device=device))
    loss.backward()
    assert_close(loss, np.log1p(np.exp(-1.0)).astype(np.float32), 1e-6)
    share = 1 / (1 + np.e)
    assert_close(x.grad, np.array([[share, 0, -share]]), 1e-6)


def test_a_class_of_probability_0_masked_with_minus_infinity_costs_nothing(device):
    """In PyTorch this is NaN, 0 · ∞; here 0 · ln 0 = 0 holds for probabilities as it does for indices."""
    x = Tensor([[1.0, -np.inf, 2.0]], device=device)
    indices, probabilities = Tensor([2], device=device), Tensor([[0.0, 0.0, 1.0]], device=device)
    assert_close(F.cross_entropy(x, probabilities), host(F.cross_entropy(x, indices)), 0)


@pytest.mark.torch
def test_what_torch_has_not():
    """0 · ln 0 where a class is masked, and gradients to weights."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    x, q = [[1.0, -np.inf, 2.0]], [[0.0, 0.0, 1.0]]
    assert torch.nn.functional.cross_entropy(torch.tensor(x), torch.tensor(q)).isnan()
    assert_close(F.cross_entropy(Tensor(x), Tensor(q)), np.log1p(np.exp(-1.0)).astype(np.float32), 1e-6)
    with pytest.raises(RuntimeError, match="not differentiable with respect to argument 'weight'"):
        torch.nn.functional.cross_entropy(torch.ones(1, 3), torch.tensor([2]), torch.ones(3, requires_grad=True))
    weight = Tensor(np.ones(3), requires_grad=True)
    F.cross_entropy(Tensor(np.zeros((1, 3))), [2], weight, reduction="sum").backward()
    assert_close(weight.grad, np.array([0, 0, np.log(3)]), 1e-12)


@pytest.mark.parametrize("kind", [np.int32, np.int64, np.uint8, list])
def test_targets_come_as_any_integers(kind, device, rng):
    x, target, _ = case((4, 5), "indices", False, rng)
    given = target.tolist() if kind is list else target.astype(kind)
    if device == "cpu":
        assert_close(F.cross_entropy(Tensor(x), given), oracle.cross_entropy(x, target))
    assert_close(
        F.cross_entropy(Tensor(x, device=device), Tensor(given, device=device)), oracle.cross_entropy(x, target)
    )


def test_float32_stays_float32_whatever_the_target_and_the_weight(device, rng):
    x, q, _ = case((4, 5), "probabilities", False, rng)
    (single,) = leaves([x.astype(np.float32)], device)
    weight = Tensor(rng.uniform(1, 2, 5), device=device)  # float64, as is q
    for target in (Tensor(q, device=device), Tensor([0, 4, 2, 1], device=device)):
        loss = F.cross_entropy(single, target, weight, label_smoothing=0.1)
        (gradient,) = minidl.grad(loss, [single])
        assert (loss.dtype, gradient.dtype) == (np.float32, np.float32)


def test_float32_gradients_of_many_samples(device, rng):
    x, target = 5 * rng.standard_normal((500, 40)).astype(np.float32), rng.integers(0, 40, 500)
    loss, (gradient,) = value_and_gradients(
        lambda x: F.cross_entropy(x, Tensor(target, device=device)), [x], np.float32(1), device
    )
    expected, (exact,) = value_and_gradients(
        lambda x: F.cross_entropy(x, target), [x.astype(np.float64)], np.float64(1), "cpu"
    )
    assert relative_error(loss, expected) < 1e-5
    assert relative_error(gradient, exact) < 1e-5


@pytest.mark.parametrize("wrong", [4, -1, 1000])
@pytest.mark.parametrize("name", ["cross_entropy", "nll_loss"])
def test_a_class_that_does_not_exist(name, wrong, device):
    """An error on the host. A device would have to wait to see it: there the loss is NaN."""
    function = getattr(F, name)
    x, target = Tensor(np.zeros((3, 4)), device=device), Tensor([0, wrong, 3], device=device)
    if device == "cpu":
        with pytest.raises(ValueError, match=f"{name}: class {wrong} does not exist among 4 classes"):
            function(x, target)
    else:
        for weight in (None, Tensor(np.ones(4), device=device)):
            for reduction in ("mean", "sum"):
                assert np.isnan(host(function(x, target, weight, reduction=reduction)))
            losses = host(function(x, target, weight, reduction="none"))
            assert np.isnan(losses).tolist() == [False, True, False]


@pytest.mark.parametrize("name", ["cross_entropy", "nll_loss"])
def test_minus_100_is_no_class_when_another_index_is_ignored(name):
    with pytest.raises(ValueError, match="class -100 does not exist among 4 classes"):
        getattr(F, name)(Tensor(np.zeros((3, 4))), [0, -100, 3], ignore_index=2)


@pytest.mark.parametrize(
    ("x", "target", "options", "message"),
    [
        ((), (), {}, r"expected scores \(..., K\) for at least one class, got shape \(\)"),
        ((3, 0), (3,), {}, r"expected scores \(..., K\) for at least one class, got shape \(3, 0\)"),
        ((3, 4), (4,), {}, r"for scores \(3, 4\) expected class indices of shape \(3,\), got \(4,\); classes"),
        ((3, 4), (3, 1), {}, r"expected class indices of shape \(3,\), got \(3, 1\)"),
        ((2, 4, 5, 3), (2, 3, 4), {}, r"expected class indices of shape \(2, 4, 5\), got \(2, 3, 4\)"),
        ((3, 4), "(3,) floating", {}, r"probabilities must have the shape of x, \(3, 4\), got \(3,\)"),
        ((3, 4), (3,), {"reduction": "average"}, 'reduction must be "mean", "sum" or "none", got \'average\''),
        ((3, 4), "(3, 4) floating", {"ignore_index": 0}, "ignore_index=0 is for class indices; the target is prob"),
        ((3, 4), (3,), {"label_smoothing": float("nan")}, "expected a probability from 0 to 1, got label_.*=nan"),
        ((3, 4), (3,), {"label_smoothing": 1.1}, "expected a probability from 0 to 1, got label_smoothing=1.1"),
        ((3, 4), (3,), {"label_smoothing": -0.1}, "expected a probability from 0 to 1, got label_smoothing=-0.1"),
        ((3, 4), (3,), {"weight": 3}, r"expected a weight of shape \(4,\), one a class, got \(3,\)"),
    ],
)  # fmt: skip
def test_cross_entropy_wrong_calls(x, target, options, message, device):
    floating = {"(3,) floating": np.zeros(3), "(3, 4) floating": np.zeros((3, 4))}
    target = floating[target] if target in floating else np.zeros(target, int)
    if "weight" in options:
        options = {"weight": Tensor(np.ones(options["weight"]), device=device)}
    with pytest.raises(ValueError, match=f"^cross_entropy: .*{message}"):
        F.cross_entropy(Tensor(np.ones(x), device=device), Tensor(target, device=device), **options)


@pytest.mark.parametrize("name", ["cross_entropy", "nll_loss"])
def test_scores_and_weights_are_no_lists(name, device):
    x, target = Tensor([[1.0, 2.0]], device=device), Tensor([0], device=device)
    for arguments in (([[1.0, 2.0]], [0]), (x, target, [1.0, 2.0]), (x, target, (1.0, 2.0))):
        with pytest.raises(TypeError, match=rf"^{name}: expected a Tensor or an array, got (list|tuple)$"):
            getattr(F, name)(*arguments)


# ---- nll_loss


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("targets", ["indices", "ignored indices"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_nll_loss(shape, targets, weighted, reduction, device, rng):
    x, target, options = case(shape, targets, weighted, rng)
    expected = oracle.nll_loss(x, target, **options, reduction=reduction)
    options = on_device(options, device) | {"reduction": reduction}
    target = Tensor(target, device=device)
    assert_close(F.nll_loss(Tensor(x, device=device), target, **options), expected)
    check_operator(lambda x: F.nll_loss(x, target, **options), [x], device)


@pytest.mark.parametrize("shape", [(2, 0, 5), (3, 1), (0, 1)], ids=str)
def test_losses_of_nothing_and_of_one_class(shape, device, rng):
    x, target, _ = case(shape, "indices", False, rng)
    for name in ("cross_entropy", "nll_loss"):
        for reduction in ("sum", "none"):
            loss = getattr(F, name)(Tensor(x, device=device), Tensor(target, device=device), reduction=reduction)
            assert_close(loss, getattr(oracle, name)(x, target, reduction=reduction))


@pytest.mark.torch
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("targets", ["indices", "ignored indices"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_nll_loss_against_torch(shape, targets, weighted, reduction, rng):
    x, target, options = case(shape, targets, weighted, rng)
    compare_with_torch("nll_loss", [x], [target], options | {"reduction": reduction}, rng)


def test_nll_loss_of_minus_infinity(device):
    """Infinite where it is the right class; where it is not, or is ignored, it does not matter."""
    (x,) = leaves([np.array([[-np.inf, 0.0], [-np.inf, -1.0], [-np.inf, 0.0]])], device)
    losses = F.nll_loss(x, Tensor([0, 1, -100], device=device), reduction="none")
    assert_close(losses, np.array([np.inf, 1, 0]))
    (gradient,) = minidl.grad(losses, [x], Tensor(np.array([2.0, 3.0, 5.0]), device=device))
    assert_close(gradient, np.array([[-2, 0], [0, -3], [0, 0]]))


def test_nll_loss_keeps_float32_and_takes_raw_arrays(device, rng):
    (single,) = leaves([rng.standard_normal((4, 5)).astype(np.float32)], device)
    target, weight = Tensor([0, 4, 2, 1], device=device), Tensor(rng.uniform(1, 2, 5), device=device)  # float64
    loss = F.nll_loss(single, target, weight)
    (gradient,) = minidl.grad(loss, [single])
    assert (loss.dtype, gradient.dtype) == (np.float32, np.float32)
    plain = F.nll_loss(single.data, target.data, weight.data)
    assert not isinstance(plain, Tensor)
    assert_close(plain, host(loss), 0)


@pytest.mark.parametrize(
    ("target", "options", "error", "message"),
    [
        (np.zeros(4, int), {}, ValueError, r"for scores \(3, 4\) expected class indices of shape \(3,\), got \(4,\)"),
        (np.zeros((3, 4)), {}, TypeError, "expected class indices, which are integers, got a target of float64"),
        (np.zeros(3, int), {"reduction": "batchmean"}, ValueError, 'reduction must be "mean", "sum" or "none"'),
        (np.zeros(3, int), {"weight": np.ones(3)}, ValueError, r"expected a weight of shape \(4,\), one a class"),
    ],
)
def test_nll_loss_wrong_calls(target, options, error, message):
    with pytest.raises(error, match=f"^nll_loss: .*{message}"):
        F.nll_loss(Tensor(np.ones((3, 4))), target, **options)
    with pytest.raises(
        ValueError, match=r"nll_loss: expected scores \(..., K\) for at least one class, got shape \(\)"
    ):
        F.nll_loss(Tensor(1.0), target)
