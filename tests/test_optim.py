"""Optimizers and schedules: their rules by hand and against PyTorch, on every device, and through checkpoints."""

import itertools
import math

import fakecupy
import numpy as np
import pytest

import minidl
from minidl import checkpoint, nn
from minidl.backend import to_host
from minidl.nn import Parameter
from minidl.optim import SGD, Adam, AdamW, CosineAnnealingLR, StepLR
from minidl.tensor import Tensor


def set_gradient(p, values):
    p.grad = Tensor(np.asarray(values), dtype=p.dtype, device=p.device)


def parameters(rng, device="cpu", dtype=np.float64):
    """Three parameters of different ranks; hard shapes include a scalar."""
    return [Parameter(rng.standard_normal(shape), dtype=dtype, device=device) for shape in ((3, 2, 5), (7,), ())]


def take_steps(optimizer, params, steps, seed=1):
    """Steps along random gradients that depend on nothing but the seed."""
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        for p in params:
            set_gradient(p, rng.standard_normal(p.shape))
        optimizer.step()


def values(params):
    return [to_host(p.data).copy() for p in params]


def assert_equal(actual, expected):
    assert len(actual) == len(expected)
    for a, e in zip(actual, expected, strict=True):
        assert a.dtype == e.dtype
        np.testing.assert_array_equal(a, e)


MAKERS = {
    "plain": lambda params: SGD(params, lr=0.1),
    "momentum": lambda params: SGD(params, lr=0.1, momentum=0.9, dampening=0.3, weight_decay=0.01),
    "nesterov": lambda params: SGD(params, lr=0.1, momentum=0.9, nesterov=True),
    "Adam": lambda params: Adam(params, lr=0.1, weight_decay=0.01),
    "AdamW": lambda params: AdamW(params, lr=0.1),
}
every_optimizer = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


# ----------------------------------------------------------------------------------------------------- steps by hand

# θ = 2 and gradients 1, then 3: each new θ worked out on paper from the rule in the docstring.
BY_HAND = {
    "plain": (lambda p: SGD(p, lr=0.1), 1.9, 1.6),
    # g = 1 + 0.5·2 = 2, θ = 1.8; g = 3 + 0.5·1.8 = 3.9
    "weight decay": (lambda p: SGD(p, lr=0.1, weight_decay=0.5), 1.8, 1.41),
    # v = 1; v = 0.9·1 + 3 = 3.9
    "momentum": (lambda p: SGD(p, lr=0.1, momentum=0.9), 1.9, 1.51),
    # v = 1 (not dampened); v = 0.9·1 + 0.6·3 = 2.7
    "dampening": (lambda p: SGD(p, lr=0.1, momentum=0.9, dampening=0.4), 1.9, 1.63),
    # v = 1, g = 1 + 0.9·1 = 1.9; v = 3.9, g = 3 + 0.9·3.9 = 6.51
    "nesterov": (lambda p: SGD(p, lr=0.1, momentum=0.9, nesterov=True), 1.81, 1.159),
    # m̂ = 1, v̂ = 1; m = 0.25 + 1.5 = 1.75, m̂ = 1.75/0.75 = 7/3; v = 0.1875 + 2.25 = 2.4375, v̂ = 2.4375/0.4375 = 39/7
    "Adam": (lambda p: Adam(p, lr=0.1, betas=(0.5, 0.75), eps=0), 1.9, 1.9 - 0.1 * (7 / 3) / math.sqrt(39 / 7)),
    # the same, and √v̂ + ε = 2 in the first step
    "eps": (lambda p: Adam(p, lr=0.1, betas=(0.5, 0.75), eps=1), 1.95, 1.95 - 0.1 * (7 / 3) / (math.sqrt(39 / 7) + 1)),
    # θ shrinks by 1 - 0.1·0.5 before each step: 1.9, 1.8; 1.71
    "AdamW": (
        lambda p: AdamW(p, lr=0.1, betas=(0.5, 0.75), eps=0, weight_decay=0.5),
        1.8,
        1.71 - 0.1 * (7 / 3) / math.sqrt(39 / 7),
    ),
}


@pytest.mark.parametrize(("make", "first", "second"), BY_HAND.values(), ids=BY_HAND)
def test_two_steps_worked_out_by_hand(device, make, first, second):
    p = Parameter(np.array([2.0]), device=device)
    optimizer = make([p])
    set_gradient(p, [1.0])
    optimizer.step()
    np.testing.assert_allclose(to_host(p.data), [first], rtol=1e-14)
    set_gradient(p, [3.0])
    optimizer.step()
    np.testing.assert_allclose(to_host(p.data), [second], rtol=1e-14)


def test_adams_first_step_is_lr_whatever_the_gradients_size():
    p = Parameter(np.zeros(3))
    set_gradient(p, [1e-3, -1.0, 1e3])
    Adam([p], lr=0.25).step()
    np.testing.assert_allclose(p.data, [-0.25, 0.25, -0.25], rtol=1e-4)


def test_defaults_are_pytorchs():
    p = [Parameter([1.0])]
    sgd = dict(lr=1.0, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False)
    assert SGD(p, 1).defaults == sgd
    assert Adam(p).defaults == dict(lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0)
    assert AdamW(p).defaults == dict(lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2)


# --------------------------------------------------------------------------------------------------- against PyTorch

SGD_OPTIONS = [
    dict(lr=0.05, momentum=momentum, dampening=dampening, weight_decay=weight_decay, nesterov=nesterov)
    for momentum, dampening, weight_decay, nesterov in itertools.product((0, 0.9), (0, 0.3), (0, 0.1), (False, True))
    if not (nesterov and (momentum == 0 or dampening != 0))
]
ADAM_OPTIONS = [
    dict(lr=0.05, betas=betas, eps=eps, weight_decay=weight_decay)
    for betas, eps, weight_decay in itertools.product(((0.9, 0.999), (0.5, 0.8), (0.0, 0.0)), (1e-8, 1e-2), (0, 0.1))
]
COMPARED = [("SGD", o) for o in SGD_OPTIONS] + [(name, o) for name in ("Adam", "AdamW") for o in ADAM_OPTIONS]


def compare_with_torch(ours, theirs, params, their_params, steps=20):
    """Step both along the same gradients. Now and then a parameter has none, and a learning rate changes."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    rng = np.random.default_rng(2)
    for step in range(steps):
        for i, (p, q) in enumerate(zip(params, their_params, strict=True)):
            g = rng.standard_normal(p.shape)
            without = (step + i) % 5 == 0
            p.grad = None if without else Tensor(g)
            q.grad = None if without else torch.from_numpy(np.asarray(g))
        if step % 7 == 6:
            for group in (*ours.param_groups, *theirs.param_groups):
                group["lr"] *= 0.5
        ours.step()
        theirs.step()
        for p, q in zip(params, their_params, strict=True):
            np.testing.assert_allclose(p.data, q.detach().numpy(), rtol=1e-12, atol=1e-14, err_msg=f"step {step}")


@pytest.mark.torch
@pytest.mark.parametrize(("name", "options"), COMPARED, ids=lambda x: x if isinstance(x, str) else str([*x.values()]))
def test_twenty_steps_agree_with_pytorch(rng, name, options):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    params = parameters(rng)
    their_params = [torch.tensor(p.data, requires_grad=True) for p in params]
    ours = getattr(minidl.optim, name)(params, **options)
    theirs = getattr(torch.optim, name)(their_params, **options)
    compare_with_torch(ours, theirs, params, their_params)


@pytest.mark.torch
@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
def test_groups_agree_with_pytorch(rng, name):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    params = parameters(rng)
    their_params = [torch.tensor(p.data, requires_grad=True) for p in params]

    def make(optimizers, a, b, c):
        option = {"momentum": 0.5} if name == "SGD" else {"betas": (0.5, 0.6)}
        groups = [{"params": [a], "lr": 0.01}, {"params": [b], "weight_decay": 0.2, **option}]
        optimizer = getattr(optimizers, name)(groups, lr=0.1)
        optimizer.add_param_group({"params": c, "lr": 0.3})
        return optimizer

    compare_with_torch(make(minidl.optim, *params), make(torch.optim, *their_params), params, their_params)


# ------------------------------------------------------------------------------------------- memory, dtypes, devices


@every_optimizer
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_dtype_and_device_are_kept(device, rng, make, dtype):
    params = parameters(rng, device, dtype)
    optimizer = make(params)
    optimizer.param_groups[0]["lr"] = np.float64(0.01)  # as from a schedule of one's own: it must not widen anything
    take_steps(optimizer, params, 3)
    for p in params:
        assert (p.dtype, p.device) == (dtype, minidl.device(device))
        for name in optimizer._arrays:
            if name in optimizer.state[p]:
                remembered = optimizer.state[p][name]
                assert (remembered.dtype, remembered.shape) == (dtype, p.shape)
                assert minidl.backend.device_of(remembered) == p.device


@every_optimizer
def test_every_device_computes_the_same(device, make):
    params, reference = (parameters(np.random.default_rng(0), place) for place in (device, "cpu"))
    take_steps(make(params), params, 5)
    take_steps(make(reference), reference, 5)
    for p, q in zip(params, reference, strict=True):
        np.testing.assert_allclose(to_host(p.data), q.data, rtol=1e-12)


@pytest.fixture
def fake_gpus():
    minidl.backend.set_gpu_module(fakecupy)
    yield
    minidl.backend.set_gpu_module(None)


@every_optimizer
def test_a_step_never_waits_for_the_device(fake_gpus, rng, make):
    params = parameters(rng, "gpu")
    optimizer = make(params)
    schedule = CosineAnnealingLR(optimizer, T_max=5)
    for p in params:
        set_gradient(p, np.ones(p.shape))
    with fakecupy.count_synchronisations() as counted:
        for _ in range(3):
            optimizer.step()
            schedule.step()
        optimizer.zero_grad()
    assert counted.count == 0


@every_optimizer
def test_parameters_of_a_second_gpu_are_updated_there(fake_gpus, rng, make):
    params = parameters(rng, "gpu:1")
    take_steps(make(params), params, 2)
    assert [str(p.device) for p in params] == ["gpu:1"] * 3


@every_optimizer
def test_a_step_writes_neither_into_the_old_parameter_nor_into_the_gradient(device, rng, make):
    """Views of the old parameter, p.T say, belong to graphs that may still need it."""
    params = parameters(rng, device)
    optimizer = make(params)
    for _ in range(3):
        arrays = [p.data for p in params]
        for p in params:
            set_gradient(p, np.full(p.shape, 0.5))
        before, gradients = values(params), [p.grad for p in params]
        optimizer.step()
        for p, array, gradient, old in zip(params, arrays, gradients, before, strict=True):
            np.testing.assert_array_equal(to_host(array), old)
            assert p.grad is gradient
            np.testing.assert_array_equal(to_host(gradient.data), np.full(p.shape, 0.5))
            assert (to_host(p.data) != old).all()


@every_optimizer
def test_what_is_remembered_is_not_the_gradients_memory(make):
    p = Parameter(np.ones(4))
    set_gradient(p, np.ones(4))
    optimizer = make([p])
    optimizer.step()
    for name in optimizer._arrays:
        if name in optimizer.state[p]:
            assert not np.shares_memory(optimizer.state[p][name], p.grad.data)


@every_optimizer
def test_parameters_without_a_gradient_stay_as_they_are(make):
    moving, still, frozen = (Parameter(np.ones(2), requires_grad=wanted) for wanted in (True, True, False))
    optimizer = make([moving, still, frozen])
    for _ in range(3):
        set_gradient(moving, np.ones(2))
        optimizer.step()
    assert (moving.data != 1).all()
    assert_equal([still.data, frozen.data], [np.ones(2)] * 2)  # weight decay does not move them either
    late = Parameter(np.ones(2))
    set_gradient(late, np.ones(2))
    set_gradient(still, np.ones(2))
    optimizer.step()
    make([late]).step()
    assert_equal([still.data], [late.data])  # its first step, although the others' fourth


def test_zero_grad_forgets_every_gradient(rng):
    params = parameters(rng)
    optimizer = SGD([{"params": params[:1]}, {"params": params[1:]}], lr=0.1)
    for p in params:
        set_gradient(p, np.ones(p.shape))
    optimizer.zero_grad()
    assert [p.grad for p in params] == [None] * 3


@every_optimizer
def test_a_step_is_not_recorded(make):
    p = Parameter(np.ones(2))
    (p * p).sum().backward()
    make([p]).step()
    assert p.is_leaf
    assert p.requires_grad


def test_a_model_moved_after_the_first_step_is_noticed_before_anything_changes(rng):
    model = nn.Linear(3, 2)
    optimizer = SGD(model.parameters(), lr=0.1, momentum=0.9)
    take_steps(optimizer, list(model.parameters()), 2)
    model.to(dtype=np.float64)
    before = values(model.parameters())
    for p in model.parameters():
        set_gradient(p, np.ones(p.shape))
    with pytest.raises(RuntimeError, match=r"SGD.step: a parameter of shape \(3, 2\) is float64 on cpu, its velocity"):
        optimizer.step()
    assert_equal(values(model.parameters()), before)
    optimizer.load_state_dict(optimizer.state_dict())  # as the message says
    optimizer.step()
    assert all(optimizer.state[p]["velocity"].dtype == np.float64 for p in model.parameters())


# -------------------------------------------------------------------------------------------------------- checkpoints


@every_optimizer
def test_a_resumed_optimizer_continues_bit_for_bit(tmp_path, device, make):
    straight = parameters(np.random.default_rng(0), device, np.float32)
    optimizer = make(straight)
    take_steps(optimizer, straight[:2], 3)  # the last parameter has not been updated yet
    checkpoint.save(tmp_path / "state.npz", optimizer.state_dict())
    resumed = [Parameter(p.data) for p in straight]
    optimizer.param_groups[0]["lr"] *= 0.5
    take_steps(optimizer, straight, 4, seed=2)

    fresh = make(resumed)
    fresh.load_state_dict(checkpoint.load(tmp_path / "state.npz"))
    assert fresh.param_groups[0]["lr"] == 0.1
    fresh.param_groups[0]["lr"] *= 0.5
    take_steps(fresh, resumed, 4, seed=2)
    assert_equal(values(resumed), values(straight))


def test_options_of_every_group_are_restored(tmp_path, rng):
    params = parameters(rng)
    groups = [{"params": params[:2], "lr": 0.5, "betas": (0.1, 0.2)}, {"params": params[2:], "eps": 0.125}]
    optimizer = Adam(groups)
    checkpoint.save(tmp_path / "state.npz", optimizer.state_dict())
    fresh = Adam([{"params": params[:2]}, {"params": params[2:]}], lr=3, weight_decay=0.5)
    fresh.load_state_dict(checkpoint.load(tmp_path / "state.npz"))
    for group, expected in zip(fresh.param_groups, optimizer.param_groups, strict=True):
        assert {k: v for k, v in group.items() if k != "params"} == {k: v for k, v in expected.items() if k != "params"}
    assert fresh.param_groups[0]["betas"] == (0.1, 0.2)


def test_a_state_is_a_copy_in_both_directions(rng):
    params = parameters(rng)
    optimizer = Adam(params)
    take_steps(optimizer, params, 1)
    state = optimizer.state_dict()
    saved = state["state"]["0"]["m"].copy()
    take_steps(optimizer, params, 1)
    np.testing.assert_array_equal(state["state"]["0"]["m"], saved)
    optimizer.load_state_dict(state)
    state["state"]["0"]["m"][...] = np.nan
    np.testing.assert_array_equal(optimizer.state[params[0]]["m"], saved)


def remove(state, *path):
    *path, last = path
    for key in path:
        state = state[key]
    del state[last]


STATE_PROBLEMS = {
    "kind": (lambda s: s.update(kind="SGD"), "saved by SGD; make that optimizer"),
    "not an optimizer's": (lambda s: remove(s, "param_groups"), r"the state has no \['param_groups'\]"),
    "groups": (lambda s: s["param_groups"].pop(), r"has 1 group\(s\) of parameters, this optimizer has 2"),
    "sizes": (lambda s: s["param_groups"][1]["shapes"].pop(), r"group 1 has 2 parameter\(s\), the state .* for 1"),
    "shapes": (lambda s: s["param_groups"][1]["shapes"].reverse(), r"parameter 0 of group 1 has shape \(7,\), .* \(\)"),
    "option": (lambda s: remove(s, "param_groups", 1, "eps"), r"group 1 of the state has no \['eps'\]"),
    "option out of range": (lambda s: s["param_groups"][1].update(lr=-1), "lr must be a finite number of at least 0"),
    "unknown parameter": (lambda s: s["state"].update({"3": {}}), "for a parameter '3', there are 3, from 0"),
    "incomplete": (lambda s: remove(s, "state", "2", "v"), r"parameter 2 has \['m', 'step'\], expected \['m', 'step'"),
    "array's shape": (lambda s: s["state"]["1"].update(m=np.zeros(6)), r"m of parameter 1 has shape \(6,\), .* \(7,\)"),
}


@pytest.mark.parametrize(("spoil", "message"), STATE_PROBLEMS.values(), ids=STATE_PROBLEMS)
def test_a_state_that_does_not_fit_changes_nothing(rng, spoil, message):
    params = parameters(rng)
    optimizer = Adam([{"params": params[:1], "lr": 0.5}, {"params": params[1:]}])
    take_steps(optimizer, params, 2)
    state = optimizer.state_dict()
    state["param_groups"][0]["lr"] = 0.25
    state["state"]["0"]["m"] += 1
    before = optimizer.state_dict()
    spoil(state)
    with pytest.raises(ValueError, match=rf"Adam.*{message}"):
        optimizer.load_state_dict(state)
    after = optimizer.state_dict()
    assert after["param_groups"] == before["param_groups"]
    np.testing.assert_equal(after["state"], before["state"])


# -------------------------------------------------------------------------------------------------------- wrong calls


def p1():
    return Parameter([1.0])


WRONG = {
    "no parameters": (lambda: SGD([], 0.1), ValueError, "SGD: got no parameters"),
    "exhausted": (lambda: SGD(iter(()), 0.1), ValueError, "can be used up only once"),
    "empty groups": (lambda: SGD([{"params": []}], 0.1), ValueError, "SGD: got no parameters; all 1 groups are empty"),
    "one parameter": (lambda: SGD(p1(), 0.1), TypeError, r"got a Parameter; write model.parameters\(\), or \[param"),
    "one group": (lambda: SGD({"params": [p1()]}, 0.1), TypeError, "list of parameters or of groups, got a dict"),
    "module": (lambda: SGD(nn.Linear(1, 1), 0.1), TypeError, "got a Linear; write model.parameters()"),
    "array": (lambda: SGD([p1(), np.ones(2)], 0.1), TypeError, "parameter 1 must be a Parameter, got a ndarray"),
    "named": (lambda: SGD(nn.Linear(1, 1).named_parameters(), 0.1), TypeError, "got a tuple; .*, not named_parameters"),
    "mixed": (lambda: SGD([p1(), {"params": [p1()]}], 0.1), TypeError, "parameter 1 must be a Parameter, got a dict"),
    "computed": (lambda: SGD([p1() * p1()], 0.1), ValueError, "was computed by Multiply; only leaves"),
    "twice": (
        lambda: SGD([p := p1(), p1(), p], 0.1),
        ValueError,
        r"group 0: parameter 2, of shape \(1,\), is given tw",
    ),
    "in two groups": (
        lambda: SGD([{"params": [p := p1()]}, {"params": [p]}], 0.1),
        ValueError,
        "group 1: parameter 0, .* twice",
    ),
    "group without params": (lambda: SGD([{"lr": 0.1}], 0.1), ValueError, '"params" is missing'),
    "unknown option": (
        lambda: SGD([{"params": [p1()], "learning_rate": 1}], 0.1),
        ValueError,
        r"group 0: unknown options \['learning_rate'\]; the options are lr, momentum",
    ),
    "group's option": (lambda: SGD([{"params": [p1()], "lr": -1}], 0.1), ValueError, "SGD: lr must .*, got -1"),
    "group's nesterov": (lambda: SGD([{"params": [p1()], "nesterov": True}], 0.1), ValueError, "nesterov needs mom"),
    "lr": (lambda: SGD([p1()], -0.1), ValueError, "SGD: lr must be a finite number of at least 0, got -0.1"),
    "lr NaN": (lambda: SGD([p1()], math.nan), ValueError, "lr must be a finite number"),
    "lr infinite": (lambda: Adam([p1()], math.inf), ValueError, "lr must be a finite number"),
    "lr text": (lambda: Adam([p1()], "0.1"), ValueError, "lr must be a finite number"),
    "momentum": (lambda: SGD([p1()], 0.1, momentum=-1), ValueError, "momentum must be"),
    "weight decay": (lambda: SGD([p1()], 0.1, weight_decay=-1), ValueError, "weight_decay must be"),
    "nesterov": (
        lambda: SGD([p1()], 0.1, nesterov=True),
        ValueError,
        "nesterov needs momentum above 0 and dampening 0",
    ),
    "nesterov dampened": (
        lambda: SGD([p1()], 0.1, momentum=0.9, dampening=0.1, nesterov=True),
        ValueError,
        "got momentum=0.9 and dampening=0.1",
    ),
    "beta 1": (
        lambda: Adam([p1()], betas=(1.0, 0.9)),
        ValueError,
        r"Adam: betas\[0\] .* at least 0 and below 1, got 1",
    ),
    "beta 2": (lambda: AdamW([p1()], betas=(0.9, -0.1)), ValueError, r"AdamW: betas\[1\] must be"),
    "one beta": (lambda: Adam([p1()], betas=0.9), ValueError, "betas must be two numbers, got 0.9"),
    "eps": (lambda: Adam([p1()], eps=-1e-8), ValueError, "Adam: eps must be"),
    "AdamW's decay": (lambda: AdamW([p1()], weight_decay=-1), ValueError, "AdamW: weight_decay must be"),
    "step_size": (lambda: StepLR(SGD([p1()], 1), 0), ValueError, "StepLR: step_size must be an integer of at least 1"),
    "gamma": (lambda: StepLR(SGD([p1()], 1), 1, gamma=-1), ValueError, "StepLR: gamma must be"),
    "T_max": (lambda: CosineAnnealingLR(SGD([p1()], 1), 2.5), ValueError, "T_max must be an integer .*, got 2.5"),
    "eta_min": (lambda: CosineAnnealingLR(SGD([p1()], 1), 2, eta_min=-1), ValueError, "eta_min must be"),
    "warmup": (lambda: CosineAnnealingLR(SGD([p1()], 1), 2, warmup=-1), ValueError, "warmup must be"),
    "all warmup": (lambda: CosineAnnealingLR(SGD([p1()], 1), 2, warmup=2), ValueError, "leaves nothing of T_max=2"),
    "no optimizer": (lambda: StepLR([p1()], 1), TypeError, "StepLR: expected an Optimizer, got a list"),
}


@pytest.mark.parametrize(("call", "error", "message"), WRONG.values(), ids=WRONG)
def test_wrong_calls(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_group_that_is_refused_is_not_added(rng):
    params = parameters(rng)
    optimizer = SGD(params[:2], lr=0.1)
    with pytest.raises(ValueError, match=r"group 1: parameter 1, .* twice"):
        optimizer.add_param_group({"params": [params[2], params[0]]})
    assert len(optimizer.param_groups) == 1


def test_an_empty_group_among_others_is_fine():
    p = p1()
    optimizer = SGD([{"params": [p]}, {"params": [], "weight_decay": 0.1}], lr=0.5)
    set_gradient(p, [1.0])
    optimizer.step()
    assert p.item() == 0.5
    optimizer.load_state_dict(optimizer.state_dict())


# --------------------------------------------------------------------------------------------------------- schedules


def rates(make, steps, lr=0.8):
    """The learning rates at t = 0, 1, ..., steps."""
    schedule = make(SGD([p1()], lr))
    result = [schedule.get_last_lr()[0]]
    for _ in range(steps):
        schedule.step()
        assert schedule.get_last_lr() == [schedule.optimizer.param_groups[0]["lr"]]
        result.append(schedule.get_last_lr()[0])
    return result


def test_step_lr_by_hand():
    assert rates(lambda o: StepLR(o, step_size=3, gamma=0.5), 7) == [0.8, 0.8, 0.8, 0.4, 0.4, 0.4, 0.2, 0.2]


def test_cosine_by_hand():
    # 0.2 + 0.3 · (1 + cos(π t / 4)), and after T_max it stays where it is
    half = 0.3 * math.sqrt(0.5)
    expected = [0.8, 0.5 + half, 0.5, 0.5 - half, 0.2, 0.2, 0.2]
    np.testing.assert_allclose(rates(lambda o: CosineAnnealingLR(o, 4, eta_min=0.2), 6), expected, rtol=1e-14)


def test_warm_up_by_hand():
    # three steps up a line from 0 (left out) to 0.8, then the cosine over the other two
    expected = [0.2, 0.4, 0.6, 0.8, 0.4, 0.0, 0.0]
    np.testing.assert_allclose(rates(lambda o: CosineAnnealingLR(o, 5, warmup=3), 6), expected, rtol=1e-14, atol=1e-16)


@pytest.mark.torch
def test_schedules_agree_with_pytorch():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    schedulers = torch.optim.lr_scheduler

    def theirs(make, steps):
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 0.8)
        schedule = make(optimizer)
        result = [schedule.get_last_lr()[0]]
        for _ in range(steps):
            optimizer.step()
            schedule.step()
            result.append(schedule.get_last_lr()[0])
        return result

    expected = theirs(lambda o: schedulers.CosineAnnealingLR(o, 13, eta_min=0.1), 13)
    np.testing.assert_allclose(rates(lambda o: CosineAnnealingLR(o, 13, eta_min=0.1), 13), expected, rtol=1e-12)
    for options in (dict(step_size=4), dict(step_size=3, gamma=0.7)):
        expected = theirs(lambda o, options=options: schedulers.StepLR(o, **options), 20)
        np.testing.assert_allclose(rates(lambda o, options=options: StepLR(o, **options), 20), expected, rtol=1e-12)


def test_each_group_follows_its_own_base(rng):
    a, b, _ = parameters(rng)
    optimizer = SGD([{"params": [a]}, {"params": [b], "lr": 4.0}], lr=1.0)
    schedule = StepLR(optimizer, 1, gamma=0.5)
    schedule.step()
    assert schedule.get_last_lr() == [0.5, 2.0]
    optimizer.add_param_group({"params": [Parameter([1.0])]})
    with pytest.raises(RuntimeError, match=r"had 2 parameter group\(s\) when the schedule was made and has 3 now"):
        schedule.step()
    assert schedule.t == 1


SCHEDULES = {
    "StepLR": lambda o: StepLR(o, 2, gamma=0.7),
    "cosine": lambda o: CosineAnnealingLR(o, 10, eta_min=0.01, warmup=2),
}


@pytest.mark.parametrize("make", SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.parametrize("optimizer_first", [True, False])
def test_a_resumed_schedule_continues_exactly(tmp_path, make, optimizer_first):
    straight = rates(make, 9)
    optimizer = SGD([p1()], 0.8)
    schedule = make(optimizer)
    for _ in range(4):
        schedule.step()
    checkpoint.save(tmp_path / "s.npz", {"optimizer": optimizer.state_dict(), "schedule": schedule.state_dict()})

    state = checkpoint.load(tmp_path / "s.npz")
    optimizer = SGD([p1()], 0.3)  # the base learning rate comes from the state
    if optimizer_first:
        optimizer.load_state_dict(state["optimizer"])  # with the learning rate of t = 4, which is not the base
    schedule = make(optimizer)
    schedule.load_state_dict(state["schedule"])
    resumed = schedule.get_last_lr()
    for _ in range(5):
        schedule.step()
        resumed += schedule.get_last_lr()
    assert resumed == straight[4:]


SCHEDULE_PROBLEMS = {
    "kind": (lambda s: s.update(kind="StepLR"), "saved with kind=StepLR, this schedule has kind=CosineAnnealingLR"),
    "setting": (lambda s: s.update(T_max=9), "saved with T_max=9, this schedule has T_max=10"),
    "missing": (lambda s: remove(s, "t"), r"the state has no \['t'\]"),
    "groups": (lambda s: s["base_lrs"].append(1.0), r"saved for 2 group\(s\) of parameters, this optimizer has 1"),
}


@pytest.mark.parametrize(("spoil", "message"), SCHEDULE_PROBLEMS.values(), ids=SCHEDULE_PROBLEMS)
def test_a_schedules_state_that_does_not_fit_changes_nothing(spoil, message):
    schedule = CosineAnnealingLR(SGD([p1()], 0.8), 10)
    state = schedule.state_dict() | {"t": 5, "base_lrs": [0.5]}
    spoil(state)
    before = schedule.state_dict()
    with pytest.raises(ValueError, match=f"CosineAnnealingLR.load_state_dict: .*{message}"):
        schedule.load_state_dict(state)
    assert schedule.state_dict() == before
    assert schedule.get_last_lr() == [0.8]


@pytest.mark.parametrize("view", [lambda w: w.T, lambda w: w.reshape(-1), lambda w: w[0], lambda w: w.expand(2, 2, 3)])
def test_a_view_taken_before_a_step_keeps_the_old_values(view):
    """A view shares the parameter's memory; the backward pass through it must not see the step."""
    w = Parameter(np.arange(6.0).reshape(2, 3))
    y = view(w) * view(w)
    w.grad = Tensor(np.ones((2, 3)))
    SGD([w], lr=0.5).step()
    w.zero_grad()
    y.sum().backward()
    uses = Tensor(np.zeros((2, 3)), requires_grad=True)
    (view(uses) * view(Tensor(np.arange(6.0).reshape(2, 3))) * 2).sum().backward()
    np.testing.assert_array_equal(w.grad.numpy(), uses.grad.numpy())
