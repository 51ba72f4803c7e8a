"""Recording: what a Function keeps and refuses, no_grad, devices that differ, memory freed by counting references."""

import gc
import threading
import weakref

import fakecupy
import numpy as np
import pytest

import minidl
from minidl import DeviceError, Function, Tensor, backend, is_grad_enabled, no_grad

# ---- writing a Function


class Scale(Function):
    """y = factor · x, with an option."""

    def __init__(self, factor):
        self.factor = factor

    def forward(self, x):
        return x * self.factor

    def backward(self, g):
        return g * self.factor


class SumAndProduct(Function):
    """Two outputs, of which only the second has use for the inputs."""

    def forward(self, a, b):
        return a + b, a * b

    def backward(self, g, b, a):  # wanted by name, not by place
        to_sum, to_product = g
        return to_sum + to_product * b, to_sum + to_product * a


class Cube(Function):
    """Backward from the output: 3 y / x, where x is not 0."""

    def forward(self, x):
        return x * x * x

    def backward(self, g, x, y):
        return g * (3 * y / x)


def tensor(values, device="cpu", requires_grad=True):
    return Tensor(np.array(values, np.float64), requires_grad=requires_grad, device=device)


def test_on_raw_arrays_a_function_only_computes(device):
    x = Tensor([1.0, 2.0], device=device).data
    function = Scale(3)
    assert backend.is_array(function(x))
    assert function.edges == ()


@pytest.mark.parametrize(
    ("function", "inputs"),
    [
        (lambda x: Scale(3)(x), [[1.0, 2.0]]),
        (lambda a, b: SumAndProduct()(a, b), [[1.0, 2.0], [3.0, 4.0]]),
        (lambda a, b: SumAndProduct()(a, b)[1], [[1.0, 2.0], [3.0, 4.0]]),
        (lambda a, b: SumAndProduct()(a, b)[0], [[1.0, 2.0], [3.0, 4.0]]),
        (lambda a: SumAndProduct()(a, a)[1], [[1.0, 2.0]]),
        (lambda a: SumAndProduct()(*SumAndProduct()(a, 2.0)), [[1.0, 2.0]]),
        (lambda x: Cube()(x), [[1.0, -2.0]]),
        (lambda x: Cube()(Cube()(x)), [[1.0, -1.5]]),
    ],
)
def test_written_functions_are_differentiable_twice(function, inputs, device):
    inputs = [tensor(values, device) for values in inputs]
    minidl.gradcheck(function, inputs)
    minidl.gradgradcheck(function, inputs)


def test_constants_among_the_inputs(device):
    a = tensor([1.0, 2.0], device)
    for constant, expected in [(a.detach(), [1, 2]), (a.data, [1, 2]), (3.0, [3, 3])]:
        (gradient,) = minidl.grad(SumAndProduct()(a, constant)[1], a, [[1.0, 1.0]])
        assert gradient.numpy().tolist() == expected


def test_what_backward_asks_for_is_checked_when_the_class_is_written():
    with pytest.raises(
        TypeError, match=r"Wrong\.backward asks for 'z'; it can have the inputs of forward \(x\) and y, the output"
    ):

        class Wrong(Function):
            def forward(self, x):
                return x

            def backward(self, g, z):
                return g

    with pytest.raises(TypeError, match=r"Joined\.backward asks for 'inputs'"):

        class Joined(Function):
            def forward(self, *inputs):
                return inputs[0]

            def backward(self, g, inputs):
                return g


def test_no_input_is_called_y():
    with pytest.raises(TypeError, match=r"Wrong\.forward: no input can be called y, which is the output in backward"):

        class Wrong(Function):
            def forward(self, x, y):
                return x + y

            def backward(self, g, y):
                return g, g


@pytest.mark.parametrize(
    ("result", "kind"),
    [
        (lambda x: [x], "list"),
        (lambda x: 1.0, "float"),
        (lambda x: None, "NoneType"),
        (lambda x: Tensor(x), "Tensor"),
        (lambda x: (x, [x]), "list"),
    ],
)
@pytest.mark.parametrize("requires_grad", [False, True])
def test_what_forward_returns_is_checked(result, kind, requires_grad, device):
    class Wrong(Function):
        def forward(self, x):
            return result(x)

    message = rf"Wrong\.forward must return an array or a tuple of arrays, got {kind}"
    with pytest.raises(TypeError, match=message):
        Wrong()(tensor([1.0], device, requires_grad))


def test_a_tuple_of_one_output_has_a_tuple_of_one_gradient(device):
    class One(Function):
        def forward(self, x):
            return (x * 3,)

        def backward(self, g):
            (only,) = g
            return only * 3

    x = tensor([1.0, 2.0], device)
    outputs = One()(x)
    assert isinstance(outputs, tuple)
    outputs[0].sum().backward()
    assert x.grad.numpy().tolist() == [3, 3]
    minidl.gradgradcheck(lambda x: One()(x)[0] * x, [x])


def test_subclasses_of_arrays_are_plain_arrays_to_a_function():
    class Square(Function):
        def forward(self, x):
            return x * x  # of an np.matrix, the matrix product

    square = np.array([[1.0, 2.0], [3.0, 4.0]]).view(np.matrix)
    assert type(Square()(square)) is np.ndarray
    assert Square()(square).tolist() == [[1, 4], [9, 16]]
    with pytest.raises(TypeError, match=r"masked array .* \.filled\(value\)"):
        Square()(np.ma.masked_array([1.0, 2.0], mask=[False, True]))


def test_only_what_backward_asks_for_is_kept(device):
    x, y = tensor([1.0, 2.0], device), tensor([1.0, 2.0], device)
    kept = {
        "Add": (x + y, 0),
        "Multiply": (x * y, 2),
        "Exp": (x.exp(), 1),
        "Log": (x.log(), 1),
        "Sum": (x.sum(), 0),
        "Reshape": (x.reshape(2, 1), 0),
    }
    for name, (result, number) in kept.items():
        assert type(result.source).__name__ == name
        assert len(result.source._kept) == number


def test_an_intermediate_result_nobody_needs_is_freed_at_once():
    x = tensor(np.ones(3))
    data = weakref.ref((y := x + 1).data)
    z = y + 1  # neither sum needs it
    del y
    assert data() is None
    assert z.requires_grad


@pytest.mark.parametrize(
    ("result", "error", "message"),
    [
        (lambda g: (g, g), RuntimeError, r"Wrong\.backward returned 2 gradient\(s\) for 1 input\(s\)"),
        (lambda g: [], RuntimeError, r"Wrong\.backward returned 0 gradient\(s\) for 1 input\(s\)"),
        (lambda g: g.sum(), RuntimeError, r"Wrong\.backward, gradient to input 0: expected shape \(2,\), got \(\)"),
        (lambda g: 1.0, TypeError, r"Wrong\.backward, gradient to input 0: expected an array, got float"),
        (lambda g: None, TypeError, r"Wrong\.backward, gradient to input 0: expected an array, got NoneType"),
    ],
)
@pytest.mark.parametrize("create_graph", [False, True])
def test_what_backward_returns_is_checked(result, error, message, create_graph):
    class Wrong(Function):
        def forward(self, x):
            return x * 1

        def backward(self, g):
            return result(g)

    x = tensor([1.0, 2.0])
    with pytest.raises(error, match=message):
        Wrong()(x).backward(np.ones(2), create_graph=create_graph)
    assert x.grad is None


def test_the_gradient_takes_the_dtype_of_its_input(device):
    class Widen(Function):
        def forward(self, x):
            return x.astype(np.float64)

        def backward(self, g):
            return g

    for create_graph in (False, True):
        x = Tensor([1.0], requires_grad=True, device=device)
        Widen()(x).backward(create_graph=create_graph)
        assert x.grad.dtype == np.float32


def test_an_error_in_backward_says_where():
    class Broken(Function):
        def forward(self, x):
            return x * 1

        def backward(self, g):
            raise ZeroDivisionError("oh")

    with pytest.raises(ZeroDivisionError) as caught:
        (Broken()(tensor(1.0)) * 2).backward()
    assert caught.value.__notes__ == ["in Broken.backward"]


def test_an_instance_records_one_call_and_the_first_stays_right():
    scale, x = minidl.ops.elementwise.Add(), tensor([1.0, 2.0])
    y = scale(x, x)
    for second in (lambda: scale(x, tensor([[1.0], [2.0]])), lambda: scale(np.ones((3, 1)), np.ones(3))):
        with pytest.raises(RuntimeError, match="Add: one instance records one call; make a new instance"):
            second()
    y.sum().backward()
    assert x.grad.numpy().tolist() == [2, 2]


def test_a_function_that_is_not_written():
    class Nothing(Function):
        pass

    class Half(Function):
        def forward(self, x):
            return x * 0.5

    with pytest.raises(NotImplementedError, match=r"Nothing\.forward is not written"):
        Nothing()(tensor(1.0))
    with pytest.raises(NotImplementedError, match=r"Half\.backward is not written"):
        Half()(tensor(1.0)).backward()


def test_outputs_that_are_not_floating_are_outside_the_graph(device):
    class WithIndex(Function):
        def forward(self, x):
            return x * 2, x.argmax(axis=0)

        def backward(self, g):
            return g[0] * 2

    x = tensor([1.0, 3.0, 2.0], device)
    y, index = WithIndex()(x)
    assert not index.requires_grad
    y.sum().backward()
    assert (index.item(), x.grad.numpy().tolist()) == (1, [2, 2, 2])


# ---- recording, or not


def test_no_grad_as_context(device):
    x = tensor([1.0], device)
    assert is_grad_enabled()
    with no_grad():
        assert not is_grad_enabled()
        y = x * 2
        with no_grad():
            assert not is_grad_enabled()
        assert not is_grad_enabled()
    assert is_grad_enabled()
    assert not y.requires_grad
    assert (x * 2).requires_grad


def test_no_grad_as_decorator():
    @no_grad()
    def double(x):
        """Twice."""
        return x * 2

    for _ in range(2):
        assert not double(tensor([1.0])).requires_grad
        assert is_grad_enabled()
    assert (double.__name__, double.__doc__) == ("double", "Twice.")


def test_no_grad_ends_when_an_error_is_raised():
    with pytest.raises(KeyError), no_grad():
        raise KeyError
    assert is_grad_enabled()


def test_leaves_made_under_no_grad_require_what_they_were_told():
    with no_grad():
        x = Tensor([1.0], requires_grad=True)
    assert (x * 2).requires_grad


def test_each_thread_records_for_itself():
    x, seen = tensor([1.0]), {}
    inside, looked = threading.Event(), threading.Event()

    def other():
        inside.wait(10)
        seen["recording"] = is_grad_enabled(), (x * 2).requires_grad
        with no_grad():
            looked.set()
            seen["not recording"] = is_grad_enabled()

    thread = threading.Thread(target=other)
    thread.start()
    with no_grad():
        inside.set()
        assert looked.wait(10)
    assert is_grad_enabled()
    thread.join()
    assert seen == {"recording": (True, True), "not recording": False}


# ---- devices that differ


@pytest.fixture
def fake():
    backend.set_gpu_module(fakecupy)
    yield fakecupy
    backend.set_gpu_module(None)


def test_operands_on_different_devices(fake):
    here, there = Tensor(np.ones((2, 3))), Tensor(np.ones(3), device="gpu:1")
    table = {
        "Add": lambda: here + there,
        "Multiply": lambda: here * there,
        "Subtract": lambda: here.data - there,
        "Divide": lambda: here / there.data,
        "MatMul": lambda: here @ there.reshape(3, 1),
        "Maximum": lambda: minidl.maximum(here, there),
        "Where": lambda: minidl.where(here > 0, here, there),
        "concatenate": lambda: minidl.concatenate([here[0], there]),
        "less": lambda: here < there,
    }
    for name, call in table.items():
        with pytest.raises(DeviceError) as caught:
            call()
        message = str(caught.value)
        assert message.startswith(f"{name}: operands on different devices: ")
        assert "is on cpu" in message
        assert "is on gpu:1" in message
        assert ".to(" in message
    with pytest.raises(
        DeviceError, match=r"operand 0 of shape \(2, 3\) is on cpu, operand 1 of shape \(3,\) is on gpu:1"
    ):
        here + there


def test_two_gpus_are_different_devices(fake):
    with pytest.raises(DeviceError, match=r"is on gpu:0, .* is on gpu:1"):
        Tensor([1.0], device="gpu:0") + Tensor([1.0], device="gpu:1")


def test_a_number_that_lives_on_a_gpu_is_not_moved(fake):
    half = Tensor(0.5, device="gpu:1").data
    for place in ("cpu", "gpu:0"):
        with pytest.raises(DeviceError, match=r"Multiply: operands on different devices.* of shape \(\) is on gpu:1"):
            Tensor([1.0, 2.0], device=place) * half
    assert (Tensor([1.0, 2.0], device="gpu:1") * half).numpy().tolist() == [0.5, 1]
    assert (Tensor([1.0, 2.0], device="gpu:1") * np.array(0.5)).numpy().tolist() == [0.5, 1]


# ---- memory


@pytest.fixture
def no_collector():
    """References are only counted: what is in a cycle stays."""
    gc.disable()
    gc.freeze()  # what is there already is not counted, nor looked at
    yield
    gc.unfreeze()
    gc.enable()


def alive(*kinds):
    return sum(issubclass(type(thing), kinds) for thing in gc.get_objects())  # isinstance would ask dead proxies


def step(x, w, b, device):
    """Something of everything: branches, several outputs, broadcasts, indices, reductions."""
    h = (x @ w + b).tanh()
    left, right = h.split(2, axis=1)
    y = minidl.concatenate([left * right.exp(), h.relu()[:, ::2], h[[0, 0, 1]]], axis=1)
    y = minidl.where(y > 0, y, y * 0.1) - y.max(axis=0) / (1 + y.var(axis=1, keepdims=True))
    return (
        (y.pad(((0, 0), (1, 0))) ** 2).mean()
        + minidl.maximum(w, 0.1).prod()
        + abs(b).sum()
        + minidl.stack([b, b]).T.sum()
    )


def parameters(device):
    rng = np.random.default_rng(0)
    return [Tensor(rng.standard_normal(s), requires_grad=True, device=device) for s in ((3, 3), (3, 4), (4,))]


def walk_plainly(loss, leaves):
    loss.backward()


def walk_with_graph(loss, leaves):
    gradients = minidl.grad(loss, leaves, create_graph=True)
    sum((g * g).sum() for g in gradients).backward()


def walk_twice(loss, leaves):
    loss.backward(retain_graph=True)
    loss.backward()


def walk_partly(loss, leaves):
    minidl.grad(loss, leaves[1])


def walk_and_keep_the_graph(loss, leaves):
    loss.backward(retain_graph=True)


def do_not_walk(loss, leaves):
    pass


@pytest.mark.parametrize(
    "walk", [walk_plainly, walk_with_graph, walk_twice, walk_partly, walk_and_keep_the_graph, do_not_walk]
)
def test_ten_steps_leave_nothing_behind(walk, device, no_collector):
    leaves = parameters(device)
    counts = []
    for _ in range(11):
        walk(step(*leaves, device), leaves)
        for leaf in leaves:
            leaf.zero_grad()
        counts.append((alive(Tensor), alive(Function)))
    assert counts[0] == counts[10]


def test_create_graph_makes_a_cycle_that_zero_grad_breaks(device, no_collector):
    """.grad leads back, through its graph, to the leaf that holds it."""
    x = tensor([1.0, 2.0], device)
    data = weakref.ref(x.data)
    (x**3).sum().backward(create_graph=True)
    x.zero_grad()
    del x
    assert data() is None


def test_create_graph_without_zero_grad_leaves_the_cycle(device, no_collector):
    """If this ever fails, the warning in the docstring of backward can go."""
    x = tensor([1.0, 2.0], device)
    data = weakref.ref(x.data)
    (x**3).sum().backward(create_graph=True)
    del x
    assert data() is not None
    gc.collect()
    assert data() is None


def test_grad_with_create_graph_makes_no_cycle(device, no_collector):
    x = tensor([1.0, 2.0], device)
    data = weakref.ref(x.data)
    gradients = minidl.grad((x**3).sum(), x, create_graph=True)
    del x
    assert data() is not None, "the gradient's graph needs it"
    del gradients
    assert data() is None


def test_a_failed_backward_leaves_nothing_behind(device, no_collector):
    class Broken(Function):
        def forward(self, x):
            return x * 1

        def backward(self, g):
            raise ZeroDivisionError

    leaves = parameters(device)

    def fail():
        try:
            (Broken()(leaves[0] * 2) * 3).sum().backward()
        except ZeroDivisionError as error:
            error.__traceback__ = None

    fail()
    before = alive(Tensor), alive(Function)
    for _ in range(10):
        fail()
    assert (alive(Tensor), alive(Function)) == before


def test_a_graph_goes_with_its_last_result(no_collector):
    x = tensor(np.ones(3))
    y = (x * 2).exp()
    z = y.sum()
    sources = [weakref.ref(y.source), weakref.ref(z.source)]
    data = weakref.ref(y.data)
    del y
    assert sources[0]() is not None
    del z
    assert [source() for source in sources] == [None, None]
    assert data() is None


def test_backward_frees_what_the_graph_kept(no_collector):
    x = tensor(np.ones(3))
    y = x.exp()
    data, loss = weakref.ref(y.data), y.sum()
    del y
    assert data() is not None
    loss.backward()
    assert data() is None


def test_memory_is_freed_while_backward_walks(no_collector):
    """A layer's saved arrays go before the next layer's backward begins: peak memory does not double."""
    seen = []

    class Look(Function):
        def forward(self, x):
            return x * 1

        def backward(self, g):
            seen.append(saved() is None)
            return g

    x = tensor(np.ones(3))
    y = Look()(x).exp()
    saved = weakref.ref(y.data)
    loss = y.sum()
    del y
    loss.backward()
    assert seen == [True]


def test_a_long_chain_is_deleted_without_recursion(no_collector):
    x = tensor([1.0])
    y = x
    for _ in range(50_000):
        y = y + 1
    before = alive(Function)
    assert before >= 50_000
    del y
    assert alive(Function) == before - 50_000


# ---- computing by something else


def test_computing_replaces_forward_inside_only():
    seen = []

    def doubled(op, arrays):
        seen.append((type(op).__name__, [np.shape(x) for x in arrays]))
        return 2 * op.forward(*arrays)

    x = Tensor([1.0, 2.0], requires_grad=True)
    with minidl.autograd.computing(doubled):
        y = x * 3.0
    assert seen == [("Multiply", [(2,), ()])]
    np.testing.assert_array_equal(y.numpy(), [6.0, 12.0])
    np.testing.assert_array_equal((x * 3.0).numpy(), [3.0, 6.0])
    y.sum().backward()  # it is recorded as what it is
    np.testing.assert_array_equal(x.grad.numpy(), [3.0, 3.0])
    assert len(seen) == 1


def test_computing_replaces_backward_inside_only():
    seen = []

    def doubled(op, g, wanted):
        seen.append((type(op).__name__, np.shape(g), [np.shape(x) for x in wanted]))
        return 2 * op.backward(g, *wanted)

    x = Tensor([1.0, 2.0], requires_grad=True)
    with minidl.autograd.computing(backward=doubled):
        minidl.exp(x).backward(np.ones(2, np.float32))
        assert seen == [("Exp", (2,), [(2,)])]
        np.testing.assert_allclose(x.grad.numpy(), 2 * np.exp([1.0, 2.0]), rtol=1e-6)
        (first,) = minidl.grad(minidl.exp(x), x, np.ones(2, np.float32), create_graph=True)
        assert len(seen) == 2
    np.testing.assert_allclose(first.numpy(), 2 * np.exp([1.0, 2.0]), rtol=1e-6)
    minidl.exp(x).backward(np.ones(2, np.float32))
    np.testing.assert_allclose(x.grad.numpy(), 3 * np.exp([1.0, 2.0]), rtol=1e-6)
    assert len(seen) == 2


def test_computing_ends_with_an_error_and_nests():
    def refuse(op, arrays):
        raise RuntimeError("no")

    x = Tensor([1.0])
    with minidl.autograd.computing(lambda op, arrays: op.forward(*arrays) + 1):
        with pytest.raises(RuntimeError, match="no"), minidl.autograd.computing(refuse):
            x + 1.0
        assert (x + 1.0).item() == 3.0
    assert (x + 1.0).item() == 2.0
