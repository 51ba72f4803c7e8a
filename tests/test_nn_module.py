"""Modules: what they find, in which order, how their state travels, and what they print."""

from concurrent.futures import ThreadPoolExecutor

import fakecupy
import numpy as np
import pytest
from judge import assert_close, host

import minidl
from minidl import Tensor, backend, nn
from minidl import functional as F
from minidl.nn import Module, Parameter


class Affine(Module):
    """y = x · scale + shift, the shift counted in a buffer how often."""

    def __init__(self, size):
        super().__init__()
        self.scale = Parameter(np.ones(size, np.float32))
        self.register_buffer("calls", Tensor(0))
        self.shift = Parameter(np.zeros(size, np.float32))

    def forward(self, x):
        return x * self.scale + self.shift


class Net(Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        self.gain = Parameter(np.ones(1, np.float32))
        self.blocks = nn.ModuleList([Affine(4), Affine(4)])
        self.head = nn.Linear(4, 3, bias=False)

    def forward(self, x):
        x = self.body(x) * self.gain
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean(axis=(1, 2)))


NET_PARAMETERS = [
    "gain", "body.0.weight", "body.0.bias", "body.1.weight", "body.1.bias",
    "blocks.0.scale", "blocks.0.shift", "blocks.1.scale", "blocks.1.shift", "head.weight",
]  # fmt: skip
NET_BUFFERS = [
    "body.1.running_mean", "body.1.running_var", "body.1.num_batches_tracked", "blocks.0.calls", "blocks.1.calls",
]  # fmt: skip


def snapshot(module):
    return {name: array.copy() for name, array in module.state_dict().items()}


def assert_same_state(module, state):
    assert list(module.state_dict()) == list(state)
    for name, array in module.state_dict().items():
        assert array.dtype == state[name].dtype
        np.testing.assert_array_equal(array, state[name], err_msg=name)


# ---- registration


def test_names_and_their_order():
    net = Net()
    assert [name for name, _ in net.named_parameters()] == NET_PARAMETERS
    assert [name for name, _ in net.named_buffers()] == NET_BUFFERS
    modules = ["", "body", "body.0", "body.1", "body.2", "blocks", "blocks.0", "blocks.1", "head"]
    assert [name for name, _ in net.named_modules()] == modules
    assert [name for name, _ in net.named_children()] == ["body", "blocks", "head"]
    assert list(net.children()) == [net.body, net.blocks, net.head]
    assert next(net.modules()) is net
    assert sorted(net.state_dict()) == sorted(NET_PARAMETERS + NET_BUFFERS)
    assert list(net.parameters()) == [p for _, p in net.named_parameters()]
    assert all(p.requires_grad for p in net.parameters())
    assert not any(b.requires_grad for b in net.buffers())


def test_parameters_and_modules_are_attributes_as_well():
    net = Net()
    assert dict(net.named_parameters())["gain"] is net.gain
    assert dict(net.named_modules())["blocks.1"] is net.blocks[1]
    assert dict(net.named_buffers())["body.1.running_var"] is net.body[1].running_var


def test_what_is_replaced_keeps_its_place():
    """The order of parts is the order of a Sequential's computation, and of the optimizer's state."""
    net = Net()
    net.body = nn.Sequential(*net.body)
    net.blocks[0].scale = Parameter(np.zeros(4, np.float32))
    net.blocks[0] = Affine(4)
    assert [name for name, _ in net.named_parameters()] == NET_PARAMETERS
    assert [name for name, _ in net.named_children()] == ["body", "blocks", "head"]


def test_what_is_shared_is_listed_once():
    net = Net()
    count = len(list(net.parameters()))
    net.again = net.head  # a module under two names
    net.blocks[1].scale = net.blocks[0].scale  # a parameter in two modules
    names = [name for name, _ in net.named_parameters()]
    assert len(names) == count - 1
    assert "blocks.1.scale" not in names
    assert "again.weight" not in names
    assert list(net.modules()).count(net.head) == 1
    state = net.state_dict()
    assert "blocks.1.scale" in state, "each module's state is complete"
    net.load_state_dict(state)
    assert net.blocks[1].scale is net.blocks[0].scale


def test_reassigning_and_deleting():
    net = Net()
    first, net.gain = net.gain, Parameter(np.zeros(2, np.float32))
    assert all(p is not first for p in net.parameters())
    assert [name for name, _ in net.named_parameters()] == NET_PARAMETERS
    net.head = nn.Identity()
    assert "head.weight" not in dict(net.named_parameters())
    net.head = None
    assert "head" not in dict(net.named_modules())
    del net.gain, net.blocks
    assert not hasattr(net, "gain")
    assert {name.split(".")[0] for name, _ in net.named_parameters()} == {"body"}
    net.body[1].running_mean = None
    assert "body.1.running_mean" not in net.state_dict()
    with pytest.raises(AttributeError):
        del net.never_there


def test_a_plain_tensor_is_neither_parameter_nor_buffer():
    net = Affine(2)
    net.constant = Tensor([1.0])
    assert sorted(net.state_dict()) == ["calls", "scale", "shift"]


def test_a_buffer_stays_one_when_it_is_moved_and_goes_when_it_is_replaced(device):
    net = Affine(2)
    net.calls.data = net.calls.data + 1
    assert net.state_dict()["calls"] == 1
    net.calls = net.calls + 1
    assert net.state_dict()["calls"] == 2
    net.to(device)
    assert str(net.calls.device).startswith(device)
    net.load_state_dict(net.state_dict() | {"calls": 5})
    assert net.calls.item() == 5
    assert [name for name, _ in net.named_buffers()] == ["calls"]
    net.calls = 3
    assert "calls" not in net.state_dict()


def test_a_plain_tensor_does_not_take_the_place_of_a_parameter():
    net = Affine(2)
    scale = net.scale
    for value in (Tensor([3.0, 3.0]), scale * 2, Tensor([3.0, 3.0], requires_grad=True)):
        with pytest.raises(TypeError, match=r"scale is a parameter: assign a Parameter, or change its \.data"):
            net.scale = value
    with pytest.raises(TypeError, match="scale is a parameter"):
        net.register_buffer("scale", Tensor([3.0, 3.0]))
    assert net.scale is scale
    assert dict(net.named_parameters())["scale"] is scale
    assert [name for name, _ in net.named_buffers()] == ["calls"]


@pytest.mark.parametrize("value", [np.ones(2), 1.0, None, [1.0]])
def test_a_buffer_is_a_tensor(value):
    net = Affine(2)
    with pytest.raises(
        TypeError, match=f"register_buffer: mean must be a Tensor that is not learnt, got {type(value).__name__}"
    ):
        net.register_buffer("mean", value)
    assert not hasattr(net, "mean")
    assert [name for name, _ in net.named_buffers()] == ["calls"]


@pytest.mark.parametrize("value", [lambda: Parameter(np.ones(2)), lambda: nn.ReLU()])
def test_forgetting_super_init(value):
    class Forgetful(Module):
        def __init__(self):
            self.part = value()

    message = r"Forgetful.__init__ must call super\(\).__init__\(\) before assigning 'part'"
    with pytest.raises(AttributeError, match=message):
        Forgetful()


def test_forgetting_super_init_before_a_buffer():
    class Forgetful(Module):
        def __init__(self):
            self.register_buffer("count", Tensor(0))

    with pytest.raises(AttributeError, match=r"must call super\(\).__init__\(\) before assigning 'count'"):
        Forgetful()


def test_forward_must_be_written():
    with pytest.raises(NotImplementedError, match=r"Module.forward is not written"):
        Module()(Tensor([1.0]))
    with pytest.raises(NotImplementedError, match=r"ModuleList.forward is not written"):
        nn.ModuleList([nn.ReLU()])(Tensor([1.0]))


def test_parameter_is_a_tensor_that_requires_gradients(device):
    p = Parameter([1.0, 2.0], device=device)
    assert isinstance(p, Tensor)
    assert (p.requires_grad, p.dtype) == (True, np.float32)
    assert not Parameter([1.0], requires_grad=False).requires_grad
    with pytest.raises(TypeError, match="only floating tensors have gradients"):
        Parameter([1, 2])


# ---- state


def test_state_dict_holds_host_copies(device):
    net = Net().to(device)
    state = net.state_dict()
    assert {type(array) for array in state.values()} == {np.ndarray}
    state["gain"][:] = 7
    assert host(net.gain).tolist() == [1]
    net.gain.data = net.gain.data + 1
    assert state["gain"].tolist() == [7]


@pytest.mark.parametrize("kind", ["arrays", "tensors", "device arrays", "lists"])
def test_load_state_dict(kind, device):
    minidl.manual_seed(1)
    source = Net().to(device)
    source.body(Tensor(np.ones((2, 4, 4, 2), np.float32), device=device))  # moves the running statistics
    state = source.state_dict()
    given = {
        "arrays": state,
        "tensors": {name: Tensor(array, device=device) for name, array in state.items()},
        "device arrays": {name: Tensor(array, device=device).data for name, array in state.items()},
        "lists": {name: array.tolist() for name, array in state.items()},
    }[kind]
    target = Net().to(device)
    identities = [id(tensor) for tensor in (*target.parameters(), *target.buffers())]
    target.load_state_dict(given)
    assert_same_state(target, state)
    assert [id(tensor) for tensor in (*target.parameters(), *target.buffers())] == identities
    assert {str(tensor.device) for tensor in target.parameters()} == {"cpu" if device == "cpu" else "gpu:0"}
    x = Tensor(np.random.default_rng(0).standard_normal((2, 5, 6, 2)).astype(np.float32), device=device)
    assert_close(target.eval()(x), source.eval()(x), 0)


def test_loaded_arrays_are_copied_and_take_the_dtype_of_the_module():
    net = Affine(2)
    scale, shift = np.array([1.5, 2.5], np.float32), np.zeros(2)  # of the module's dtype, and of another
    net.load_state_dict({"scale": scale, "shift": shift, "calls": np.int32(4)})
    scale[:] = shift[:] = 9
    assert host(net.scale).tolist() == [1.5, 2.5]
    assert host(net.shift).tolist() == [0, 0]
    assert (net.shift.dtype, net.calls.dtype, net.calls.shape) == (np.float32, np.int64, ())
    assert net.scale.requires_grad


def test_a_state_that_does_not_fit_lists_every_problem_and_changes_nothing():
    net = Net()
    before = snapshot(net)
    state = {name: array + 1 for name, array in before.items()}
    del state["gain"], state["blocks.1.calls"]
    state["head.bias"] = np.zeros(3)
    state["extra"] = np.zeros(1)
    state["head.weight"] = np.zeros((3, 4))
    state["body.1.running_mean"] = np.zeros((4, 1))
    with pytest.raises(ValueError, match="does not fit Net") as caught:
        net.load_state_dict(state)
    assert str(caught.value).splitlines() == [
        "load_state_dict: the state does not fit Net:",
        "  missing: gain",
        "  missing: blocks.1.calls",
        "  unexpected: head.bias",
        "  unexpected: extra",
        "  shape of body.1.running_mean: expected (4,), got (4, 1)",
        "  shape of head.weight: expected (4, 3), got (3, 4)",
    ]
    assert_same_state(net, before)


@pytest.mark.torch
def test_torch_loads_what_fits_before_it_complains():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    ours, theirs = nn.Linear(2, 2), torch.nn.Linear(2, 2)
    state = {"weight": np.ones((2, 2)), "bias": np.ones(3)}
    with pytest.raises(RuntimeError, match="size mismatch for bias"):
        theirs.load_state_dict({name: torch.from_numpy(array) for name, array in state.items()})
    with pytest.raises(ValueError, match="shape of bias"):
        ours.load_state_dict(state)
    assert (theirs.weight == 1).all()
    assert not (host(ours.weight) == 1).any()


@pytest.mark.torch
def test_what_torch_does_to_a_module_in_place_and_minidl_does_not():
    """Its gradients move with it, and its state is the memory of the parameters themselves."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    ours, theirs = nn.Linear(2, 2), torch.nn.Linear(2, 2)
    ours(Tensor([[1.0, 2.0]])).sum().backward()
    theirs(torch.ones(1, 2)).sum().backward()
    assert theirs.double().weight.grad.dtype == torch.float64
    assert ours.to(dtype=np.float64).weight.grad is None
    theirs.state_dict()["bias"][:] = 7
    ours.state_dict()["bias"][:] = 7
    assert theirs.bias.tolist() == [7, 7]
    assert (host(ours.bias) != 7).all()


@pytest.mark.torch
def test_what_is_left_out():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    layers = ["Conv1d", "BatchNorm3d", "LSTM", "MultiheadAttention", "ModuleDict", "ParameterList", "LazyLinear"]
    hooks = ["register_full_backward_hook", "register_full_backward_pre_hook", "register_load_state_dict_pre_hook"]
    for names, ours, theirs in ((layers, nn, torch.nn), (hooks, nn.Module, torch.nn.Module)):
        assert [name for name in names if hasattr(ours, name) or not hasattr(theirs, name)] == []


def test_not_strict_takes_what_is_there_but_never_another_shape():
    net = Net()
    before = snapshot(net)
    net.load_state_dict({"gain": np.full(1, 5.0), "extra": np.zeros(1)}, strict=False)
    assert_same_state(net, before | {"gain": np.full(1, 5.0, np.float32)})
    with pytest.raises(ValueError, match=r"shape of gain: expected \(1,\), got \(2,\)"):
        net.load_state_dict({"head.weight": np.zeros((4, 3)), "gain": np.zeros(2)}, strict=False)
    assert_same_state(net, before | {"gain": np.full(1, 5.0, np.float32)})


def test_values_that_are_not_numbers_change_nothing():
    net = Affine(1)
    before = snapshot(net)
    with pytest.raises(ValueError, match="could not convert string"):
        net.load_state_dict({"calls": 3, "scale": np.array([2.0]), "shift": np.array(["x"])})
    assert_same_state(net, before)


# ---- changing all of it


def test_train_and_eval_reach_everything():
    net = Net()
    assert all(module.training for module in net.modules())
    assert net.eval() is net
    assert not any(module.training for module in net.modules())
    net.body.train()
    assert [module.training for module in (net, net.body, net.body[1], net.head)] == [False, True, True, False]
    assert net.train() is net
    assert all(module.training for module in net.modules())


def test_to_device_and_back(device):
    net = Net()
    before = snapshot(net)
    identities = [id(p) for p in net.parameters()]
    assert net.to(device) is net
    assert {str(t.device) for t in (*net.parameters(), *net.buffers())} == {"cpu" if device == "cpu" else "gpu:0"}
    assert [id(p) for p in net.parameters()] == identities
    assert all(p.requires_grad for p in net.parameters())
    assert_same_state(net, before)
    net.to("cpu")
    assert {str(t.device) for t in (*net.parameters(), *net.buffers())} == {"cpu"}
    assert_same_state(net, before)


def test_to_dtype_leaves_integers_alone_and_drops_gradients(device):
    net = Net().to(device)
    net(Tensor(np.ones((2, 4, 4, 2), np.float32), device=device)).sum().backward()
    assert net.gain.grad is not None
    net.to(dtype=np.float64)
    assert {p.dtype for p in net.parameters()} == {np.dtype(np.float64)}
    assert {b.dtype for b in net.buffers()} == {np.dtype(np.float64), np.dtype(np.int64)}
    assert all(p.grad is None for p in net.parameters())
    assert net(Tensor(np.ones((2, 4, 4, 2)), device=device)).dtype == np.float64
    net.to(device, np.float32)
    assert {p.dtype for p in net.parameters()} == {np.dtype(np.float32)}


def test_to_a_second_device():
    backend.set_gpu_module(fakecupy)
    try:
        net = Net().to("gpu:1", np.float64).train()
        net.body[1].momentum = None
        x = Tensor(np.random.default_rng(0).standard_normal((2, 5, 6, 2)), device="gpu:1")
        net(x).sum().backward()
        assert {str(t.device) for t in (*net.parameters(), *net.buffers())} == {"gpu:1"}
        assert {str(p.grad.device) for p in net.parameters()} == {"gpu:1"}
        net.load_state_dict(net.state_dict())
        net.to(dtype=np.float32)
        assert {str(p.device) for p in net.parameters()} == {"gpu:1"}
    finally:
        backend.set_gpu_module(None)


def test_to_refuses_what_is_no_device_or_no_floating_dtype():
    net = Net()
    before = snapshot(net)
    with pytest.raises(ValueError, match='device: expected "cpu", "gpu" or "gpu:<number>"'):
        net.to("cuda")
    with pytest.raises(ValueError, match=r"^Net\.to: .* got 'float64'; for a dtype write \.to\(dtype=\.\.\.\)$"):
        net.to("float64")
    with pytest.raises(TypeError, match=r"Net.to: expected a floating dtype, got int32"):
        net.to(dtype=np.int32)
    assert_same_state(net, before)


def test_zero_grad():
    net = Net()
    net(Tensor(np.ones((2, 4, 4, 2), np.float32))).sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())


def test_apply_visits_inner_modules_first():
    net, visited = Net(), []
    assert net.apply(visited.append) is net
    assert set(visited) == set(net.modules())
    assert len(visited) == len(list(net.modules()))
    for module in net.modules():
        assert all(visited.index(child) < visited.index(module) for child in module.children())


# ---- containers


def test_sequential_applies_in_order():
    double, add = nn.Linear(1, 1), nn.Linear(1, 1)
    double.load_state_dict({"weight": [[2.0]], "bias": [0.0]})
    add.load_state_dict({"weight": [[1.0]], "bias": [3.0]})
    assert nn.Sequential(double, add)(Tensor([[5.0]])).item() == 13
    assert nn.Sequential(add, double)(Tensor([[5.0]])).item() == 16
    x = Tensor([1.0])
    assert nn.Sequential()(x) is x


@pytest.mark.parametrize("container", [lambda *m: nn.Sequential(*m), lambda *m: nn.ModuleList(m)])
def test_containers_are_lists(container):
    modules = [nn.ReLU(), nn.Linear(2, 3), nn.Tanh()]
    held = container(*modules)
    assert len(held) == 3
    assert list(held) == modules
    assert (held[0], held[-1]) == (modules[0], modules[2])
    with pytest.raises(IndexError):
        held[3]
    held.append(nn.Sigmoid())
    assert [name for name, _ in held.named_children()] == ["0", "1", "2", "3"]
    assert [name for name, _ in held.named_parameters()] == ["1.weight", "1.bias"]
    with pytest.raises(TypeError, match=r"expected modules, got function"):
        held.append(F.relu)
    assert len(held) == 4


@pytest.mark.parametrize("container", [lambda *m: nn.Sequential(*m), lambda *m: nn.ModuleList(m)])
def test_one_of_several_modules_is_replaced(container):
    modules = [nn.ReLU(), nn.Linear(2, 3), nn.Tanh()]
    held, new, last = container(*modules), nn.Linear(4, 2), nn.Sigmoid()
    held[0], held[-1] = new, last
    assert list(held) == [new, modules[1], last]
    assert [name for name, _ in held.named_parameters()] == ["0.weight", "0.bias", "1.weight", "1.bias"]
    for index in (3, -4):
        with pytest.raises(IndexError):
            held[index] = nn.ReLU()
    for index in ("0", slice(0, 1), 0.0):
        with pytest.raises(TypeError):
            held[index] = nn.ReLU()
    with pytest.raises(TypeError, match=f"{type(held).__name__}: expected modules, got function"):
        held[0] = F.relu
    assert list(held) == [new, modules[1], last]


def test_a_seed_fixes_the_weights_whatever_the_device(device):
    minidl.manual_seed(5)
    first = Net().state_dict()
    minidl.manual_seed(5)
    assert_same_state(Net().to(device), first)


# ---- repr


def test_repr_of_a_network():
    assert repr(Net()) == (
        "Net(\n"
        "  (body): Sequential(\n"
        "    (0): Conv2d(2, 4, kernel_size=(3, 3))\n"
        "    (1): BatchNorm2d(4, eps=1e-05, momentum=0.1)\n"
        "    (2): ReLU()\n"
        "  )\n"
        "  (blocks): ModuleList(\n"
        "    (0-1): 2 × Affine()\n"
        "  )\n"
        "  (head): Linear(4, 3, bias=False)\n"
        ")"
    )


def test_repr_groups_equal_neighbours_only():
    layers = [nn.ReLU(), nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2)]
    assert repr(nn.Sequential(*layers)) == (
        "Sequential(\n  (0): ReLU()\n  (1-3): 3 × Linear(2, 2)\n  (4): ReLU()\n  (5): Linear(2, 2)\n)"
    )


# ---- watching, and saying where


def test_hooks_see_what_goes_in_and_comes_out():
    net, seen = Net(), []
    x = Tensor(np.ones((2, 3, 3, 2), np.float32))
    before = net.head.register_forward_pre_hook(lambda *call: seen.append(("before", *call)))
    with net.head.register_forward_hook(lambda *call: seen.append(("after", *call))):
        y = net(x)
    (first, module, inputs), (second, same_module, same_inputs, output) = seen
    assert (first, second, module, same_module) == ("before", "after", net.head, net.head)
    assert inputs is same_inputs
    assert (output is y, inputs[0].shape) == (True, (2, 4))
    net(x)  # the second hook went with its `with` block
    assert [call[0] for call in seen] == ["before", "after", "before"]
    before.remove()
    before.remove()
    net(x)
    assert len(seen) == 3


def test_hooks_are_called_in_order_and_removed_one_by_one():
    layer, seen = nn.ReLU(), []
    hooks = [layer.register_forward_hook(lambda *call, i=i: seen.append(i)) for i in range(3)]
    layer(Tensor([1.0]))
    hooks[1].remove()
    layer(Tensor([1.0]))
    assert seen == [0, 1, 2, 0, 2]
    with pytest.raises(TypeError, match="hook of ReLU: expected a function, got str"):
        layer.register_forward_hook("print")


def test_a_hook_only_watches_and_options_reach_forward():
    class Power(Module):
        def forward(self, x, exponent=1):
            return x**exponent

    layer, seen = Power(), []
    layer.register_forward_hook(lambda module, inputs, output: seen.append(inputs) or Tensor([7.0]))
    layer.register_forward_pre_hook(lambda module, inputs: (Tensor([5.0]),))
    x = Tensor([3.0])
    assert layer(x, exponent=2).item() == 9
    assert seen == [(x,)]


def test_an_error_of_any_kind_is_noted_in_the_words_of_its_layer_and_an_interruption_is_not():
    class Raises(Module):
        def __init__(self, error):
            super().__init__()
            self.error, self.inside = error, nn.ReLU()

        def forward(self, x):
            raise self.error

    for error, notes in ((ZeroDivisionError("no"), ["in layer 0 of Sequential: Raises"]), (KeyboardInterrupt(), [])):
        with pytest.raises(type(error)) as caught:
            nn.Sequential(Raises(error))(Tensor([1.0]))
        assert getattr(caught.value, "__notes__", []) == notes


def notes_of(call):
    with pytest.raises(ValueError, match=".") as caught:
        call()
    return getattr(caught.value, "__notes__", [])


def test_an_error_names_the_layer_by_its_path():
    net = nn.Sequential(nn.ReLU(), nn.Sequential(nn.ReLU(), nn.MaxPool2d(4)))
    images = Tensor(np.zeros((1, 3, 3, 2), np.float32))
    assert notes_of(lambda: net(images)) == ["in layer 1.1 of Sequential: MaxPool2d(kernel_size=4, stride=4)"]
    assert notes_of(lambda: net[1][1](images)) == ["in MaxPool2d(kernel_size=4, stride=4)"]


def test_an_error_between_layers_names_the_module_that_computes_it():
    class Inner(Module):
        def forward(self, x):
            return x.reshape(7)

    class Outer(Module):
        def __init__(self):
            super().__init__()
            self.blocks = nn.ModuleList([nn.ReLU(), nn.Sequential(Inner(), nn.ReLU())])

        def forward(self, x):
            for block in self.blocks:  # the list itself is never called
                x = block(x)
            return x

    assert notes_of(lambda: Outer()(Tensor([1.0, 2.0]))) == ["in layer blocks.1.0 of Outer: Inner()"]


def test_an_error_in_a_module_that_is_not_a_part_keeps_the_note_of_that_module():
    hidden = nn.Sequential(nn.MaxPool2d(9))

    class Calls(Module):
        def forward(self, x):
            return hidden(x)

    images = Tensor(np.zeros((1, 3, 3, 2), np.float32))
    assert notes_of(lambda: Calls()(images)) == ["in layer 0 of Sequential: MaxPool2d(kernel_size=9, stride=9)"]


def test_other_notes_of_an_error_stay():
    class Noted(Module):
        def forward(self, x):
            error = ValueError("no")
            error.add_note("because")
            raise error

    assert notes_of(lambda: nn.Sequential(Noted())(Tensor([1.0]))) == [
        "because",
        "in layer 0 of Sequential: Noted()",
    ]


# ---- without weights


def test_placeholders_have_shape_and_dtype_and_no_memory():
    before = minidl.backend.generator_state()
    with nn.init.placeholders():
        net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Linear(8, 20_000), nn.Embedding(10_000, 10_000))
        with nn.init.placeholders():
            nn.Embedding(3, 4, padding_idx=1)
        weight = nn.init.xavier_normal((3, 4), dtype=np.float64)
        assert (nn.init.is_placeholder(weight), weight.dtype) == (True, np.float64)
    assert minidl.backend.generator_state() == before
    assert [p.shape for p in net.parameters()] == [(3, 3, 3, 8), (8,), (8, 20_000), (20_000,), (10_000, 10_000)]
    for p in net.parameters():
        assert nn.init.is_placeholder(p.data)
        assert (p.requires_grad, p.dtype, set(p.data.strides)) == (True, np.float32, {0})
    assert not nn.init.is_placeholder(nn.Linear(2, 3).weight.data)
    assert not nn.init.is_placeholder(np.zeros((1, 1)))
    assert not nn.init.is_placeholder(np.broadcast_to(np.zeros(3), (2, 3)))


def test_a_parameter_of_a_placeholder_is_one_in_the_dtype_asked_for():
    with nn.init.placeholders():
        weight = nn.init.normal((3, 4), 1.0)
        p = Parameter(weight, requires_grad=False, dtype=np.float64)
        assert Parameter(np.array([1.0, 2.0])).numpy().tolist() == [1, 2]  # numbers that are given stay
    assert (p.shape, nn.init.is_placeholder(p.data), p.numpy().any()) == ((3, 4), True, False)
    assert (p.dtype, p.requires_grad) == (np.float64, False)


def test_a_repeated_number_is_a_parameter_like_any_other():
    for data in (np.broadcast_to(np.float32(2.0), (3,)), np.array(2.0, np.float32)):
        p = Parameter(data)
        assert (p.numpy() == 2).all()
        assert p.data.flags.writeable
    assert not nn.init.is_placeholder(p.data)  # one element has its own place


def test_placeholders_end_with_an_error_and_are_made_by_one_thread_alone():
    with pytest.raises(RuntimeError, match="no"), nn.init.placeholders():
        raise RuntimeError("no")
    assert not nn.init.is_placeholder(nn.Linear(2, 3).weight.data)
    with nn.init.placeholders(), ThreadPoolExecutor(1) as other:
        weight = other.submit(lambda: nn.Linear(2, 3).weight).result()
    assert not nn.init.is_placeholder(weight.data)


def test_weights_that_are_loaded_take_the_place_of_placeholders(rng):
    source = nn.Linear(3, 4)
    with nn.init.placeholders():
        net = nn.Linear(3, 4)
    net.load_state_dict(source.state_dict())
    assert_same_state(net, source.state_dict())
    assert not nn.init.is_placeholder(net.weight.data)


def test_moving_a_module_to_where_it_is_changes_nothing_for_a_graph():
    layer = nn.Linear(2, 3)
    y = (layer(Tensor([[1.0, 2.0]])) ** 2).sum()
    layer.to("cpu")
    y.backward()
    assert layer.weight.grad is not None


def test_a_module_appended_after_a_deletion_replaces_none():
    first, second, third = nn.ReLU(), nn.Tanh(), nn.Sigmoid()
    modules = nn.ModuleList([first, second])
    del modules._modules["0"]
    modules.append(third)
    assert list(modules) == [second, third]


def test_part_of_a_container_is_a_container_of_its_kind():
    features = nn.Sequential(nn.Identity(), nn.ReLU(), nn.Tanh())
    part = features[:2]
    assert type(part) is nn.Sequential
    assert list(part) == [features[0], features[1]]
    assert part(Tensor([-1.0])).item() == 0
    assert type(nn.ModuleList(features)[1:]) is nn.ModuleList
    assert len(features[3:]) == 0


def test_append_and_extend_give_the_container():
    modules = nn.ModuleList().append(nn.ReLU()).extend([nn.Tanh(), nn.Identity()])
    assert [type(m).__name__ for m in modules] == ["ReLU", "Tanh", "Identity"]
    assert list(modules._modules) == ["0", "1", "2"]


@pytest.mark.parametrize("index", [2, -3])
def test_a_place_that_is_not_there(index):
    for modules in (nn.ModuleList([nn.ReLU(), nn.Tanh()]), nn.Sequential(nn.ReLU(), nn.Tanh())):
        with pytest.raises(IndexError, match=rf"^{type(modules).__name__}: there is no module {index} among 2"):
            modules[index]
        with pytest.raises(IndexError, match=rf"there is no module {index} among 2"):
            modules[index] = nn.ReLU()
