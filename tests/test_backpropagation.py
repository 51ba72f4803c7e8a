"""The walk back: order, completeness, what is computed and what is freed, backward() and grad() and their refusals."""

import sys
import threading
import tracemalloc

import fakecupy
import numpy as np
import pytest

import minidl
from minidl import Function, Tensor, backend, is_grad_enabled, nn, no_grad
from minidl.optim import SGD


def tensor(values, device="cpu", requires_grad=True):
    return Tensor(np.array(values, np.float64), requires_grad=requires_grad, device=device)


def values(x):
    return None if x is None else x.numpy().tolist()


class Seen(Function):
    """y = 2x, which notes every gradient its backward is given."""

    def __init__(self, log):
        self.log = log

    def forward(self, x):
        return x * 2

    def backward(self, g):
        self.log.append(g.tolist() if hasattr(g, "tolist") else g.numpy().tolist())
        return g * 2


# ---- order and completeness


def test_in_a_diamond_each_backward_is_called_once_with_its_complete_gradient(device):
    x, log = tensor(1.0, device), []
    y = Seen(log)(x)
    (y * 3 + y * 4 + y).backward()
    assert log == [8]
    assert x.grad.item() == 16


def test_nested_diamonds_of_different_lengths(device):
    """A short way and a long way to the same node: a node is walked after the longest."""
    x, logs = tensor(1.0, device), [[], [], []]
    a = Seen(logs[0])(x)
    b = Seen(logs[1])(a + a)
    long = b
    for _ in range(20):
        long = long + 1
    c = Seen(logs[2])(long * a + b)
    (c + a * b).backward()
    # a = 2x, b = 4a, c = 2 ((b + 20) a + b), L = c + ab; at x = 1, a = 2 and b = 8:
    # ∂L/∂c = 1, ∂L/∂b = 2a + 2 + a, ∂L/∂a = 2 (b + 20) + b + 4 ∂L/∂b
    assert logs == [[56 + 8 + 4 * 8], [8], [1]]
    assert x.grad.item() == 2 * 96


def test_a_ladder_with_exponentially_many_paths(device):
    x, log = tensor(1.0, device), []
    y = Seen(log)(x)
    for _ in range(60):
        y = y + y
    y.backward()
    assert log == [2.0**60]


def test_several_outputs_are_complete_before_their_backward(device):
    x, log = tensor([1.0, 2.0, 3.0, 4.0], device), []
    left, right = Seen(log)(x).split(2)
    (left * 3 + right * left).backward(np.ones(2) if device == "cpu" else [1.0, 1.0])
    assert log == [[9, 11, 2, 4]]


def test_a_chain_of_fifty_thousand():
    x = tensor([1.0])
    y = x
    for _ in range(25_000):
        y = (y + x) - x
    y.backward()
    assert values(x.grad) == [1]
    assert sys.getrecursionlimit() < 25_000


def test_a_long_chain_is_differentiable_twice():
    x = tensor([1.0])
    y = x
    for _ in range(5_000):
        y = y * 1.0
    (first,) = minidl.grad(y * y, x, create_graph=True)
    assert values(first) == [2]
    assert values(minidl.grad(first, x)[0]) == [2]


# ---- only what is needed


def test_functions_that_lead_to_no_leaf_are_not_called(device):
    x, constant, log = tensor(1.0, device), tensor(2.0, device, requires_grad=False), []
    (x * Seen(log)(constant)).backward()
    assert log == []
    assert x.grad.item() == 4


def test_grad_walks_only_towards_its_inputs(device):
    x, w, log = tensor(1.0, device), tensor(3.0, device), []
    y = Seen(log)(x) * w
    assert values(minidl.grad(y, w, retain_graph=True)[0]) == 2
    assert log == []
    assert values(minidl.grad(y, x)[0]) == 6
    assert log == [3]


def test_grad_stops_at_its_inputs(device):
    x, log = tensor(1.0, device), []
    middle = Seen(log)(x)
    y = middle * middle
    assert values(minidl.grad(y, middle)[0]) == 4
    assert log == []


def test_needs_says_which_gradients_are_wanted(device):
    class Look(Function):
        def forward(self, a, b, c):
            return a + b + c

        def backward(self, g):
            needs.append(self.needs)
            return g, g, None

    needs = []
    a, b = tensor(1.0, device), tensor(2.0, device)
    y = Look()(a, b * 2, 3.0)
    y.backward(retain_graph=True)
    minidl.grad(y, b)
    assert needs == [(True, True, False), (False, True, False)]


def test_outputs_nobody_used_have_gradient_zero(device):
    class Three(Function):
        def forward(self, x):
            return x * 1, x * 2, x.reshape(1, 2) * 3

        def backward(self, g):
            seen.extend(g)
            return g[0] + g[1] * 2 + g[2].reshape(2) * 3

    for create_graph in (False, True):
        x, seen = tensor([1.0, 2.0], device), []
        _, y, _ = Three()(x)
        y.sum().backward(create_graph=create_graph)
        assert [g.shape for g in seen] == [(2,), (2,), (1, 2)]
        assert all(isinstance(g, Tensor) == create_graph for g in seen)
        assert values(x.grad) == [2, 2]


# ---- .grad


def test_gradients_add_up_over_backward_calls(device):
    x = tensor([1.0, 2.0], device)
    (x * 3).sum().backward()
    first = x.grad
    (x * x).sum().backward()
    assert values(x.grad) == [5, 7]
    assert values(first) == [3, 3], "the old gradient was not written to"
    x.zero_grad()
    x.sum().backward()
    assert values(x.grad) == [1, 1]


@pytest.mark.parametrize("create_graph", [False, True])
def test_no_two_gradients_share_memory(create_graph, device):
    a, b, c = (tensor([1.0, 2.0], device) for _ in range(3))
    g = tensor([3.0, 4.0], device, requires_grad=False)
    (a + b + c.reshape(2, 1).T[0]).backward(g, create_graph=create_graph)
    gradients = [a.grad, b.grad, c.grad, g, *minidl.grad(a + b, [a, b], g), *minidl.grad(a + b, [a, a], g)]
    for i, one in enumerate(gradients):
        assert values(one) == [3, 4]
        for other in gradients[:i]:
            assert one is not other
            assert not backend.array_module(one.data).may_share_memory(one.data, other.data)


def test_gradients_can_be_written_to(device):
    """A sum's gradient is one number repeated; what arrives at the leaf is an array of its own, and contiguous."""
    x = tensor(np.ones((2, 3)), device)
    x.T.sum().backward()
    x.grad.data[0, 0] = 5
    assert values(x.grad) == [[5, 1, 1], [1, 1, 1]]
    assert x.grad.data.flags.c_contiguous


def test_grad_touches_no_grad(device):
    x = tensor([1.0], device)
    x.sum().backward()
    minidl.grad((x * 5).sum(), x)
    assert values(x.grad) == [1]


def test_results_in_the_middle_collect_nothing(device):
    x = tensor([1.0], device)
    y = x * 2
    (y * 3).backward()
    assert y.grad is None


def test_backward_of_a_leaf(device):
    x = tensor([1.0, 2.0], device)
    g = tensor([3.0, 4.0], device, requires_grad=False)
    x.backward(g)
    assert values(x.grad) == [3, 4]
    assert not backend.array_module(g.data).may_share_memory(x.grad.data, g.data)


def test_backward_works_under_no_grad(device):
    x = tensor([1.0], device)
    y = x * x
    with no_grad():
        y.backward()
    assert values(x.grad) == [2]


# ---- the upstream gradient


def test_what_the_upstream_gradient_may_be(device):
    x = tensor([1.0, 2.0], device)
    g = Tensor([3.0, 4.0], dtype="float64", device=device)
    for upstream in ([3.0, 4.0], (3, 4), g, g.data, g.astype("float32")):
        x.zero_grad()
        (x * 2).backward(upstream)
        assert values(x.grad) == [6, 8]
        assert x.grad.dtype == np.float64
        assert values(minidl.grad(x * 2, x, [upstream])[0]) == [6, 8]
    assert values(minidl.grad((x * 2).sum(), x, 5.0)[0]) == [10, 10]
    assert values(minidl.grad((x * 2).sum().reshape(1, 1), x)[0]) == [2, 2], (
        "one element is a scalar, whatever its shape"
    )


def test_the_upstream_gradient_is_not_kept(device):
    x = tensor([1.0, 2.0], device)
    g = tensor([3.0, 4.0], device, requires_grad=False)
    (x + 0).backward(g)
    g.data[0] = 100
    assert values(x.grad) == [3, 4]


@pytest.mark.parametrize(
    ("upstream", "error", "message"),
    [
        (
            None,
            RuntimeError,
            r"backward: the output has shape \(2,\); only for a scalar can .* left out.*\.sum\(\) or \.mean",
        ),
        (np.ones(3), RuntimeError, r"backward, gradient to the output: expected shape \(2,\), got \(3,\)"),
        (1.0, RuntimeError, r"gradient to the output: expected shape \(2,\), got \(\)"),
        ([[1.0], [1.0]], RuntimeError, r"expected shape \(2,\), got \(2, 1\)"),
        ("ones", TypeError, "expected real numbers"),
        (np.ones(2, complex), TypeError, "expected real numbers .* complex128"),
    ],
)
def test_what_is_no_upstream_gradient(upstream, error, message):
    x = tensor([1.0, 2.0])
    y = x * 2
    with pytest.raises(error, match=message):
        y.backward(upstream)
    assert x.grad is None
    y.sum().backward()
    assert values(x.grad) == [2, 2], "the graph is as it was"


def test_an_upstream_gradient_on_another_device():
    backend.set_gpu_module(fakecupy)
    try:
        x = Tensor([1.0], requires_grad=True, device="gpu")
        with pytest.raises(minidl.DeviceError, match=r"backward: operands on different devices.*gpu:0.*cpu.*\.to\("):
            (x * 2).backward(np.ones(1))
    finally:
        backend.set_gpu_module(None)


# ---- a second time


def test_a_second_backward_names_retain_graph(device):
    x = tensor(2.0, device)
    y = x * x
    z = y * 3
    y.backward()
    for again in (y.backward, z.backward, lambda: minidl.grad(z, x), lambda: minidl.grad([z, y], [x])):
        with pytest.raises(RuntimeError, match="freed by an earlier backward pass; pass retain_graph=True to that one"):
            again()
    assert x.grad.item() == 4


def test_retain_graph(device):
    x = tensor(2.0, device)
    y = x**3
    y.backward(retain_graph=True)
    assert minidl.grad(y, x, retain_graph=True)[0].item() == 12
    y.backward()
    assert x.grad.item() == 24
    with pytest.raises(RuntimeError, match="retain_graph"):
        y.backward()


def test_create_graph_retains_unless_told_otherwise(device):
    x = tensor(2.0, device)
    y = x**3
    minidl.grad(y, x, create_graph=True)
    y.backward(create_graph=True)
    minidl.grad(y, x, create_graph=True, retain_graph=False)
    with pytest.raises(RuntimeError, match="retain_graph"):
        y.backward()


# ---- values that changed between forward and backward


def by_a_step(module):
    for p in module.parameters():
        p.grad = Tensor(np.ones(p.shape, p.dtype), device=p.device)
    SGD(module.parameters(), lr=0.1).step()
    module.zero_grad()


def by_loading_a_state(module):
    module.load_state_dict(module.state_dict())


def by_assigning(module):
    module.weight.data -= 0.1 * module.weight.data


def by_conversion(module):
    module.to(dtype=np.float64)


CHANGES = [by_a_step, by_loading_a_state, by_assigning, by_conversion]


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("change", CHANGES)
def test_backward_needs_the_values_that_forward_saw(change, create_graph, device):
    module = nn.Linear(2, 3, bias=False).to(device)
    x = Tensor([[1.0, 2.0]], requires_grad=True, device=device)
    y = module(x).sum()
    change(module)
    message = r"MatMul\.backward needs its input b, of shape \(2, 3\), which has been changed since, by an optimizer"
    with pytest.raises(RuntimeError, match=message):
        y.backward(create_graph=create_graph)
    assert x.grad is None
    assert module.weight.grad is None


@pytest.mark.parametrize("change", CHANGES[:3])
def test_what_backward_does_not_need_may_change(change, device):
    """The gradient of a sum is the same whatever the summands."""
    module = nn.Linear(2, 3).to(device)
    x = Tensor([[1.0, 2.0]], requires_grad=True, device=device)
    y = (x + module.weight.sum()).sum()
    change(module)
    y.backward()
    assert values(x.grad) == [[1, 1]]
    assert values(module.weight.grad) == [[2] * 3] * 2


def test_a_discriminators_step_between_the_generators_forward_and_backward(device):
    generator, discriminator = (nn.Linear(2, 2, bias=False).to(device) for _ in range(2))
    optimizer, z = SGD(discriminator.parameters(), lr=0.1), Tensor([[1.0, -2.0]], device=device)
    fake = generator(z)
    verdict = discriminator(fake)
    discriminator(fake.detach()).sum().backward()
    optimizer.step()
    with pytest.raises(RuntimeError, match=r"MatMul\.backward needs its input b, .* run backward before that"):
        verdict.sum().backward()
    assert generator.weight.grad is None
    discriminator(fake).sum().backward()  # the right way: judged by the discriminator as it now is
    np.testing.assert_allclose(
        generator.weight.grad.numpy(), np.outer([1, -2], discriminator.weight.numpy().sum(axis=1)), rtol=1e-6
    )


def test_steps_in_their_place_disturb_nothing(device):
    """w ← w − 0.1 · ∂(w²)/∂w = 0.8 w; two gradients add up; a graph may be walked twice before the step."""
    w = tensor([1.0], device)
    optimizer = SGD([w], lr=0.1)
    for expected in (0.8, 0.64):
        optimizer.zero_grad()
        (w * w).sum().backward()
        optimizer.step()
        assert w.item() == pytest.approx(expected, rel=1e-12)
    optimizer.zero_grad()
    for _ in range(2):
        (w * w).sum().backward()
    optimizer.step()
    assert w.item() == pytest.approx(0.64 * 0.6, rel=1e-12)
    optimizer.zero_grad()
    y = (w * w).sum()
    y.backward(retain_graph=True)
    y.backward()
    optimizer.step()
    assert w.item() == pytest.approx(0.64 * 0.36, rel=1e-12)


def test_a_retained_graph_is_of_no_use_after_a_step(device):
    w = tensor([1.0], device)
    y = (w * w).sum()
    y.backward(retain_graph=True)
    SGD([w], lr=0.1).step()
    with pytest.raises(RuntimeError, match=r"Multiply\.backward needs its input a"):
        y.backward()


def test_raw_arrays_are_copied_when_backward_needs_them(device):
    """A buffer that is filled again for the next batch."""
    w, buffer = tensor([1.0, 2.0], device), tensor([3.0, 4.0], device).data
    mask = buffer > 3
    y = (w * buffer).sum() + minidl.where(mask, w, 0.0).sum()
    buffer[:] = 100
    mask[:] = True
    y.backward()
    assert values(w.grad) == [3, 5]


# ---- create_graph


def test_derivatives_of_any_order(device):
    x = tensor(2.0, device)
    y = x**4
    for expected in (32, 48, 48, 24, 0):
        (y,) = minidl.grad(y, x, create_graph=True)
        assert y.item() == expected


def test_backward_with_create_graph_gives_gradients_with_a_graph(device):
    x = tensor([1.0, 2.0], device)
    (x**3).sum().backward(create_graph=True)
    first = x.grad
    assert values(first) == [3, 12]
    x.zero_grad()
    (first * first).sum().backward()  # the gradient's square, for a gradient penalty
    assert values(x.grad) == [36, 288]


def test_accumulated_gradients_keep_their_graph_under_create_graph(device):
    x = tensor(2.0, device)
    (x**3).backward(create_graph=True)
    (x**2).backward(create_graph=True)
    assert x.grad.item() == 16
    assert minidl.grad(x.grad, x)[0].item() == 6 * 2 + 2
    (x * 1).backward()
    assert not x.grad.requires_grad


def test_create_graph_reaches_the_upstream_gradient(device):
    x, v = tensor([1.0, 2.0], device), tensor([3.0, 4.0], device)
    (g,) = minidl.grad(x * x, x, v, create_graph=True)
    assert values(g) == [6, 16]
    assert values(minidl.grad(g.sum(), v)[0]) == [2, 4]


def test_a_backward_pass_is_recorded_only_with_create_graph(device):
    class Look(Function):
        def forward(self, x):
            return x * 1

        def backward(self, g):
            seen.append(is_grad_enabled())
            return g

    seen, x = [], tensor(1.0, device)
    y = Look()(x)
    minidl.grad(y, x, retain_graph=True)
    with no_grad():
        minidl.grad(y, x, create_graph=True)
    assert seen == [False, True]


def test_without_create_graph_gradients_are_constants(device):
    x, v = tensor([1.0], device), tensor([3.0], device)
    (g,) = minidl.grad(x * x, x, v)
    assert not g.requires_grad
    assert g.is_leaf


def test_create_graph_records_even_under_no_grad(device):
    x = tensor(2.0, device)
    y = x**3
    with no_grad():
        (first,) = minidl.grad(y, x, create_graph=True)
        assert not is_grad_enabled()
    assert minidl.grad(first, x)[0].item() == 12


# ---- grad()


def test_gradients_to_the_middle_of_a_graph(device):
    x = tensor([1.0, 2.0], device)
    middle = x * 3
    y = (middle * middle).sum()
    to_middle, to_x, to_y = minidl.grad(y, [middle, x, y])
    assert (values(to_middle), values(to_x), values(to_y)) == ([6, 12], [18, 36], 1)


def test_gradients_to_single_outputs_of_a_function(device):
    x = tensor(np.arange(4.0), device)
    left, right = x.split(2)
    y = (left * right).sum()
    to_left, to_right, to_x = minidl.grad(y, [left, right, x])
    assert (values(to_left), values(to_right)) == ([2, 3], [0, 1])
    assert values(to_x) == [2, 3, 0, 1]


def test_several_outputs_and_upstream_gradients(device):
    x = tensor([1.0, 2.0], device)
    a, b = x * 2, (x * x).sum()
    (g,) = minidl.grad([a, b], x, [[1.0, 10.0], None], retain_graph=True)
    assert values(g) == [2 + 2, 20 + 4]
    (g,) = minidl.grad((b, b), x)
    assert values(g) == [4, 8]


def test_inputs_that_are_not_used(device):
    x, other = tensor([1.0], device), tensor([1.0], device)
    _, unused = other.split([0, 1])
    y = (x * x).sum()
    assert minidl.grad(y, [other, unused], allow_unused=True, retain_graph=True) == (None, None)
    for wrong in ([x, other], [x, unused]):
        with pytest.raises(
            RuntimeError, match="grad: the outputs do not depend on input 1; pass allow_unused=True to get None"
        ):
            minidl.grad(y, wrong)
    found, missing = minidl.grad(y, [x, other], allow_unused=True)
    assert missing is None
    assert values(found) == [2], "the failed calls have left the graph whole"


def test_an_output_of_a_used_function_can_be_unused():
    left, right = tensor([1.0, 2.0]).split(1)
    with pytest.raises(RuntimeError, match="do not depend on input 0"):
        minidl.grad(left.sum(), right)
    assert minidl.grad(left.sum(), right, allow_unused=True) == (None,)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda x: minidl.grad(x.sum(), Tensor([1.0])),
            RuntimeError,
            r"grad: input 0, of shape \(1,\), does not require grad",
        ),
        (
            lambda x: minidl.grad(x.sum(), [x, x.data]),
            TypeError,
            "grad: outputs and inputs must be Tensors, got ndarray",
        ),
        (lambda x: minidl.grad([x.sum(), 1.0], x), TypeError, "grad: outputs and inputs must be Tensors, got float"),
        (lambda x: minidl.grad(x * 2, x), RuntimeError, r"backward: the output has shape \(2,\); only for a scalar"),
        (lambda x: minidl.grad(x.sum(), x, [None, None]), ValueError, r"grad: got 1 output\(s\) but 2 grad_outputs"),
        (
            lambda x: minidl.grad([x.sum()] * 2, x, Tensor(1.0)),
            ValueError,
            r"grad: got 2 output\(s\) but 1 grad_outputs",
        ),
        (
            lambda x: minidl.grad(Tensor(1.0), x),
            RuntimeError,
            "backward: this tensor requires no gradient: nothing it was",
        ),
        (
            lambda x: Tensor(1.0).backward(),
            RuntimeError,
            r"backward: this tensor requires no gradient.* under no_grad\(\)",
        ),
        (lambda x: x.detach().sum().backward(), RuntimeError, "backward: this tensor requires no gradient"),
    ],
)
def test_wrong_calls(call, error, message):
    x = tensor([1.0, 2.0])
    with pytest.raises(error, match=message):
        call(x)
    assert x.grad is None


# ---- when a backward raises


class Moody(Function):
    """y = x, whose backward fails while `failing` says so."""

    failing = True

    def forward(self, x):
        return x * 1

    def backward(self, g):
        if self.failing:
            raise FloatingPointError("not today")
        return g


@pytest.mark.parametrize("create_graph", [False, True])
def test_nothing_is_left_half_done_when_a_backward_raises(create_graph, device, monkeypatch):
    x, w = tensor([1.0, 2.0], device), tensor([3.0, 4.0], device)
    (x * 1).sum().backward()
    y = (w * Moody()(x)).sum()
    with no_grad(), pytest.raises(FloatingPointError):
        y.backward(create_graph=create_graph, retain_graph=True)
    assert is_grad_enabled()
    assert w.grad is None, "no gradient arrives when not all do"
    assert values(x.grad) == [1, 1]
    monkeypatch.setattr(Moody, "failing", False)
    y.backward(create_graph=create_graph)
    assert (values(w.grad), values(x.grad)) == ([1, 2], [4, 5])


# ---- threads


def test_two_threads_walk_graphs_of_their_own():
    x, results = tensor(np.ones(50)), {}

    def work(number):
        total = 0.0
        for _ in range(30):
            total += minidl.grad((x * number).sum() * 1.0, x)[0].numpy().sum()
        results[number] = total

    threads = [threading.Thread(target=work, args=(number,)) for number in (2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {2: 2 * 50 * 30, 3: 3 * 50 * 30}


# ---- against PyTorch


@pytest.mark.torch
def test_second_derivatives_against_torch():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    start = np.random.default_rng(0).standard_normal((3, 4))

    def penalty(x, grad):
        y = (x.exp() * (x @ x.T).sum(0)[:, None] / (1 + x * x)).sum()
        (g,) = grad(y, x, create_graph=True)
        return y + (g * g).sum().sqrt()

    theirs = torch.tensor(start, requires_grad=True)
    penalty(theirs, torch.autograd.grad).backward()
    ours = Tensor(start, requires_grad=True)
    penalty(ours, minidl.grad).backward()
    np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy(), rtol=1e-11)


def test_gradients_are_cast_on_their_own_device(fake_second_gpu):
    """While GPU 0 is current, all is on GPU 1, and float64 meets float32."""
    x = Tensor([1.0, 2.0], requires_grad=True, device="gpu:1")
    w = Tensor([3.0, 4.0], dtype=np.float64, device="gpu:1")
    (x * w).sum().backward()
    assert (x.grad.dtype, str(x.grad.device)) == (np.float32, "gpu:1")
    x.zero_grad()
    (x * 2.0).backward(Tensor([1.0, 1.0], dtype=np.float64, device="gpu:1"))
    np.testing.assert_array_equal(x.grad.numpy(), [2.0, 2.0])


@pytest.fixture
def fake_second_gpu():
    minidl.backend.set_gpu_module(fakecupy)
    yield
    minidl.backend.set_gpu_module(None)


def test_a_tensor_that_is_used_often_holds_few_gradients():
    """They are added up a few at a time, not when the last has arrived."""
    w = Tensor(np.full((128, 128), 1 / 128), requires_grad=True)
    h = Tensor(np.ones((2, 128)))
    for _ in range(60):
        h = h @ w
    tracemalloc.start()
    h.sum().backward()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * w.data.nbytes
    np.testing.assert_allclose(w.grad.numpy(), 2 * 60, rtol=1e-10)
