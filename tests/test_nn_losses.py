"""Losses as modules: the functions with options that are held, and with weights that move and are saved."""

import inspect

import numpy as np
import pytest
from judge import assert_close, host

import minidl
from minidl import Tensor, nn
from minidl import functional as F

REDUCTIONS = ["mean", "sum", "none"]
LOSSES = {  # module -> function, options away from their defaults; an array of ones stands for a weight
    nn.CrossEntropyLoss: (
        F.cross_entropy,
        {"weight": [1.0, 3.0, 2.0], "ignore_index": 1, "reduction": "sum", "label_smoothing": 0.2},
    ),
    nn.NLLLoss: (F.nll_loss, {"weight": [1.0, 3.0, 2.0], "ignore_index": 1, "reduction": "sum"}),
    nn.MSELoss: (F.mse_loss, {"reduction": "sum"}),
    nn.L1Loss: (F.l1_loss, {"reduction": "sum"}),
    nn.SmoothL1Loss: (F.smooth_l1_loss, {"reduction": "sum", "beta": 0.3}),
    nn.HuberLoss: (F.huber_loss, {"reduction": "sum", "delta": 0.3}),
    nn.BCELoss: (F.binary_cross_entropy, {"weight": [1.0, 3.0, 2.0], "reduction": "sum"}),
    nn.BCEWithLogitsLoss: (
        F.binary_cross_entropy_with_logits,
        {"weight": [1.0, 3.0, 2.0], "reduction": "sum", "pos_weight": [2.0, 0.5, 1.0]},
    ),
    nn.KLDivLoss: (F.kl_div, {"reduction": "batchmean", "log_target": True}),
}
EVERY_LOSS = pytest.mark.parametrize("loss", LOSSES, ids=[loss.__name__ for loss in LOSSES])
BY_CLASS = (nn.CrossEntropyLoss, nn.NLLLoss)


def input_and_target(loss, device):
    rng = np.random.default_rng(0)
    x = rng.uniform(0.1, 0.9, (4, 5, 3)).astype(np.float32)
    target = rng.integers(0, 3, (4, 5)) if loss in BY_CLASS else rng.uniform(0.1, 0.9, (4, 5, 3)).astype(np.float32)
    return Tensor(x, requires_grad=True, device=device), Tensor(target, device=device)


def options_of(loss):
    return {k: Tensor(v) if isinstance(v, list) else v for k, v in LOSSES[loss][1].items()}


@EVERY_LOSS
def test_a_module_is_its_function(loss, device):
    x, target = input_and_target(loss, device)
    function, options = LOSSES[loss][0], options_of(loss)
    assert_close(loss()(x, target), host(function(x, target)), 0)
    on_device = {k: v.to(device) if isinstance(v, Tensor) else v for k, v in options.items()}
    expected = function(x, target, **on_device)
    module = loss(**options).to(device)
    value = module(x, target)
    assert_close(value, host(expected), 0)
    assert abs(host(value) - host(loss()(x, target))).max() > 1e-3, "the options did nothing"
    for name, option in options.items():  # each of them does something
        one = loss(**{name: option}).to(device)(x, target)
        assert_close(one, host(function(x, target, **{name: on_device[name]})), 0)
        assert not np.allclose(host(one), host(loss()(x, target)))
    assert list(module.parameters()) == []


@EVERY_LOSS
def test_every_reduction(loss, device):
    x, target = input_and_target(loss, device)
    for reduction in REDUCTIONS:
        value = loss(reduction=reduction)(x, target)
        assert_close(value, host(LOSSES[loss][0](x, target, reduction=reduction)), 0)
        (gradient,) = minidl.grad(value.sum(), [x])
        assert gradient.shape == x.shape and host(gradient).any()


@EVERY_LOSS
def test_weights_are_buffers(loss, device):
    """They are saved, they move, they change their dtype; they are not learnt, and without any there is no state."""
    assert loss().state_dict() == {}
    weights = {k: v for k, v in options_of(loss).items() if isinstance(v, Tensor)}
    module = loss(**weights)
    assert list(module.state_dict()) == list(weights)
    for name, weight in weights.items():
        assert_close(module.state_dict()[name], host(weight), 0)
    module.to(device, np.float64)
    assert all(str(buffer.device).startswith(device) and buffer.dtype == np.float64 for buffer in module.buffers())
    other = loss(**{name: Tensor(np.zeros(3)) for name in weights})
    other.load_state_dict(module.state_dict())
    for name, weight in weights.items():
        assert_close(other.state_dict()[name], host(weight), 0)


@pytest.mark.torch
@EVERY_LOSS
def test_options_state_and_repr_are_those_of_torch(loss):
    """Without size_average and reduce, which PyTorch keeps for old programs."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    theirs = getattr(torch.nn, loss.__name__)
    parameters = inspect.signature(theirs).parameters
    expected = [(name, p.default) for name, p in parameters.items() if name not in ("size_average", "reduce")]
    assert [(name, p.default) for name, p in inspect.signature(loss).parameters.items()] == expected
    options = options_of(loss)
    their_options = {k: torch.from_numpy(host(v)) if isinstance(v, Tensor) else v for k, v in options.items()}
    assert list(loss(**options).state_dict()) == list(theirs(**their_options).state_dict())
    assert repr(loss(**options)) == repr(theirs(**their_options)) == f"{loss.__name__}()"
    assert all(getattr(loss(**options), name) is value for name, value in options.items())


def test_a_part_of_a_model_takes_its_weights_along(device):
    class Judged(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 3)
            self.loss = nn.CrossEntropyLoss(Tensor([1.0, 2.0, 3.0]))

        def forward(self, x, target):
            return self.loss(self.layer(x), target)

    model = Judged().to(device)
    assert sorted(model.state_dict()) == ["layer.bias", "layer.weight", "loss.weight"]
    loss = model(Tensor(np.ones((2, 4), np.float32), device=device), Tensor([0, 2], device=device))
    loss.backward()
    assert host(model.layer.weight.grad).any()


# ---- wrong calls


@EVERY_LOSS
def test_wrong_reductions(loss):
    for wrong in (None, "average", *([] if loss is nn.KLDivLoss else ["batchmean"])):
        with pytest.raises(ValueError, match=f'^{loss.__name__}: reduction must be "mean", "sum".*, got {wrong!r}$'):
            loss(reduction=wrong)


@EVERY_LOSS
def test_weights_are_tensors_that_are_not_learnt(loss):
    for name in {"weight", "pos_weight"} & set(inspect.signature(loss).parameters):
        for wrong in ([1.0, 2.0, 3.0], np.ones(3), nn.Parameter(np.ones(3))):
            with pytest.raises(
                TypeError, match=f"{name} must be a Tensor that is not learnt, got {type(wrong).__name__}"
            ):
                loss(**{name: wrong})


@EVERY_LOSS
def test_shapes_that_do_not_fit(loss):
    x, target = input_and_target(loss, "cpu")
    with pytest.raises(ValueError, match="got|must have one shape"):
        loss()(x, target[..., None])
