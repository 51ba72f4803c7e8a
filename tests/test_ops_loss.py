"""cross_entropy and mse_loss."""

import numpy as np
import oracle
import pytest
from judge import (
    assert_close,
    check_operator,
    host,
    leaves,
    relative_error,
    torch_value_and_gradients,
    value_and_gradients,
)

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
def test_cross_entropy_against_torch(shape, targets, weighted, reduction, label_smoothing, device, rng):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    x, target, options = case(shape, targets, weighted, rng)
    options |= {"reduction": reduction, "label_smoothing": label_smoothing}
    class_axis = 1 if len(shape) > 1 else 0  # PyTorch has the classes second
    theirs = torch.from_numpy(x).movedim(-1, class_axis).requires_grad_()
    their_target = torch.from_numpy(np.asarray(target))
    if targets == "probabilities":
        their_target = their_target.movedim(-1, class_axis)
    their_weight = None if options["weight"] is None else torch.from_numpy(options["weight"])
    expected = torch.nn.functional.cross_entropy(theirs, their_target, **(options | {"weight": their_weight}))
    g = rng.standard_normal(expected.shape)
    expected.backward(torch.from_numpy(np.asarray(g)))
    options = on_device(options, device)
    value, (gradient,) = value_and_gradients(
        lambda x: F.cross_entropy(x, Tensor(target, device=device), **options), [x], g, device
    )
    assert_close(value, expected.detach().numpy())
    assert_close(gradient, theirs.grad.movedim(class_axis, -1).numpy())


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


def test_a_mean_over_nothing_is_nan(device):
    def loss(target, reduction):
        x, target = Tensor(np.ones((len(target), 3)), device=device), Tensor(np.array(target, int), device=device)
        return host(F.cross_entropy(x, target, reduction=reduction))

    for target in ([], [-100, -100]):
        with np.errstate(invalid="ignore"):
            assert np.isnan(loss(target, "mean"))
        assert loss(target, "sum") == 0


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
def test_a_class_that_does_not_exist(wrong, device):
    """An error on the host. A device would have to wait to see it: there the loss is NaN."""
    x, target = Tensor(np.zeros((3, 4)), device=device), Tensor([0, wrong, 3], device=device)
    if device == "cpu":
        with pytest.raises(ValueError, match=f"cross_entropy: class {wrong} does not exist among 4 classes"):
            F.cross_entropy(x, target)
    else:
        for reduction in ("mean", "sum"):
            assert np.isnan(host(F.cross_entropy(x, target, reduction=reduction)))
        assert np.isnan(host(F.cross_entropy(x, target, reduction="none"))).tolist() == [False, True, False]


def test_minus_100_is_no_class_when_another_index_is_ignored():
    with pytest.raises(ValueError, match="class -100 does not exist among 4 classes"):
        F.cross_entropy(Tensor(np.zeros((3, 4))), [0, -100, 3], ignore_index=2)


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
        ((3, 4), (3,), {"label_smoothing": 1.1}, "expected label_smoothing from 0 to 1, got 1.1"),
        ((3, 4), (3,), {"label_smoothing": -0.1}, "expected label_smoothing from 0 to 1, got -0.1"),
        ((3, 4), (3,), {"weight": 3}, r"expected a weight of shape \(4,\), one a class, got \(3,\)"),
    ],
)  # fmt: skip
def test_cross_entropy_wrong_calls(x, target, options, message, device):
    target = np.zeros(3) if target == "(3,) floating" else np.zeros(target, int)
    if "weight" in options:
        options = {"weight": Tensor(np.ones(options["weight"]), device=device)}
    with pytest.raises(ValueError, match=f"^cross_entropy: .*{message}"):
        F.cross_entropy(Tensor(np.ones(x), device=device), Tensor(target, device=device), **options)


def test_scores_and_weights_are_no_lists(device):
    x = Tensor([[1.0, 2.0]], device=device)
    for call in (
        lambda: F.cross_entropy([[1.0, 2.0]], [0]),
        lambda: F.cross_entropy(x, Tensor([0], device=device), weight=[1.0, 2.0]),
        lambda: F.cross_entropy(x, Tensor([0], device=device), weight=(1.0, 2.0)),
    ):
        with pytest.raises(TypeError, match=r"^cross_entropy: expected a Tensor or an array, got (list|tuple)$"):
            call()


# ---- mean squared error


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shape", [(4, 3), (2, 3, 4, 1), ()], ids=str)
def test_mse_loss(shape, reduction, device, rng):
    x, target = rng.standard_normal(shape), rng.standard_normal(shape)
    expected = oracle.mse_loss(x, target, reduction)
    assert_close(F.mse_loss(*leaves([x, target], device), reduction), expected)
    check_operator(lambda x, target: F.mse_loss(x, target, reduction), [x, target], device)


@pytest.mark.torch
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_mse_loss_against_torch(reduction, device, rng):
    arrays = [rng.standard_normal((4, 3)), rng.standard_normal((4, 3))]
    g = rng.standard_normal((4, 3) if reduction == "none" else ())
    value, gradients = value_and_gradients(lambda x, t: F.mse_loss(x, t, reduction), arrays, g, device)
    expected, expected_gradients = torch_value_and_gradients(
        lambda torch_f, x, t: torch_f.mse_loss(x, t, reduction=reduction), arrays, [None, None], g
    )
    assert_close(value, expected)
    for gradient, expected_gradient in zip(gradients, expected_gradients, strict=True):
        assert_close(gradient, expected_gradient)


@pytest.mark.parametrize(
    ("x", "target"), [((4, 1), (4,)), ((4,), (4, 1)), ((4, 3), (3,)), ((4, 3), (1, 3)), ((4,), ())]
)
def test_mse_loss_does_not_broadcast(x, target, device):
    with pytest.raises(ValueError, match=r"mse_loss: input .* and target .* must have one shape; nothing broadcasts"):
        F.mse_loss(Tensor(np.ones(x), device=device), Tensor(np.ones(target), device=device))


def test_mse_loss_of_integers(device):
    """Between bytes 1 − 255 would be 2, and 200² = 64."""
    x, target = (Tensor(values, dtype="uint8", device=device) for values in ([1, 200, 7], [255, 0, 7]))
    for reduction, expected in [("none", [254**2, 200**2, 0]), ("sum", 254**2 + 200**2)]:
        loss = F.mse_loss(x, target, reduction)
        assert loss.dtype == np.float32
        assert host(loss).tolist() == expected


def test_mse_loss_of_lists(device):
    x = Tensor([1.0], device=device)
    for a, b in [(x, [1.0]), ([1.0], x), ([1.0], [1.0])]:
        with pytest.raises(TypeError, match="^mse_loss: expected a Tensor or an array, got list$"):
            F.mse_loss(a, b)


def test_mse_loss_wrong_reduction(device):
    with pytest.raises(ValueError, match='mse_loss: reduction must be "mean", "sum" or "none", got None'):
        F.mse_loss(Tensor([1.0], device=device), Tensor([1.0], device=device), None)
