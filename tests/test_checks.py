"""`minidl gradcheck`: every check passes, no operation, block or network is left out, and a wrong backward is found."""

import importlib
import inspect
import pkgutil

import numpy as np
import pytest

import minidl.ops
import models
from minidl import checks, nn
from minidl import functional as F
from minidl.autograd import Function
from minidl.gradcheck import GradcheckError
from minidl.ops.activation import Tanh
from minidl.ops.norm import BatchNorm
from models.cifar_resnet import CifarResNet
from models.googlenet import GoogLeNet
from models.inception_resnet import InceptionResNet, InceptionResNetV2
from models.inception_v2 import BNInception
from models.inception_v3 import InceptionV3
from models.inception_v4 import InceptionV4
from models.resnet import BasicBlock, ResNet

# Of these the blocks are checked; the small networks are checked as a whole.
WHOLE_NETWORKS = (
    *(BNInception, CifarResNet, GoogLeNet, InceptionResNet, InceptionResNetV2, InceptionV3, InceptionV4),
    ResNet,
)
LARGE = ("NaiveInception", "Inception")  # every derivative of these takes several seconds


EVERY_DERIVATIVE = [name for name in checks.names() if name not in checks.WIDE_BLOCKS]


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n in LARGE)) for n in EVERY_DERIVATIVE])
def test_first_and_second_derivatives(name):
    state = minidl.backend.generator_state()
    first, second = checks.run(name)
    assert minidl.backend.generator_state() == state, "the generator was touched"
    for report in (first, second):
        assert report.compared >= 1
        assert report.worst_relative < 1e-5
        assert np.isfinite(report.worst_absolute)
    if name not in models.SMALL:
        inputs, outputs = sizes_of(name)
        assert first.compared == inputs * outputs, "not every derivative was compared"
        # Of each gradient (some inputs may have none) to each input, and to each upstream gradient.
        assert second.compared % (inputs + outputs) == 0, "the upstream gradient was left out"


def sizes_of(name):
    """How many numbers the check starts from (a block's parameters are inputs too), and how many it ends in."""
    if name in checks.operators():
        check = checks.operators()[name]
        inputs, outputs = check.inputs(), check.function(*check.inputs())
    else:
        build, shape = next(family[name] for family in checks.BLOCKS.values() if name in family)
        block = build()
        inputs = [np.zeros(shape), *block.parameters()]
        outputs = block(minidl.Tensor(np.random.default_rng(0).standard_normal(shape), dtype="float32"))
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    return sum(x.size for x in inputs), sum(y.size for y in outputs if y.requires_grad)


# ------------------------------------------------------------------------------------------------- nothing left out


def submodules(package):
    return [importlib.import_module(f"{package.__name__}.{m.name}") for m in pkgutil.iter_modules(package.__path__)]


def test_names_are_unique():
    assert len(set(checks.names())) == len(checks.names())


def test_every_public_function_is_checked():
    assert set(F.__all__) <= set(checks.operators())


NOT_DIFFERENCED = {"AsType", "To"}  # a cast and a copy to another device: the identity where all is float64 on one


def test_every_operation_is_checked(monkeypatch):
    """Every other Function in minidl.ops takes part in the check of some operator, there or in its derivatives."""
    used = set()
    call = Function.__call__

    def noted(operation, *inputs):
        used.add(type(operation).__name__)
        return call(operation, *inputs)

    monkeypatch.setattr(Function, "__call__", noted)
    for check in checks.operators().values():
        differentiate_twice(check.function, check.inputs())
    defined = {
        name
        for module in submodules(minidl.ops)
        for name, member in inspect.getmembers(module, inspect.isclass)
        if issubclass(member, Function) and member.__module__ == module.__name__
    }
    assert len(defined) >= 20
    assert defined - used == NOT_DIFFERENCED


def differentiate_twice(function, inputs):
    outputs = function(*inputs)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    upstream = [minidl.Tensor(np.ones(y.shape), requires_grad=True) for y in outputs]
    first = minidl.grad(outputs, inputs, upstream, create_graph=True)
    minidl.grad(first, upstream, [np.ones(g.shape) for g in first])


def test_every_block_and_network_is_checked():
    """Every module of models/ is a block that is checked, or a part of one, or a whole network."""
    reached = {type(part) for build, _ in (*of_families(), *checks.WIDE_BLOCKS.values()) for part in build().modules()}
    reached |= {type(part) for name in models.SMALL for part in models.create(name).modules()}
    reached |= set(WHOLE_NETWORKS)
    defined = {
        member
        for module in submodules(models)
        for _, member in inspect.getmembers(module, inspect.isclass)
        if issubclass(member, nn.Module) and member.__module__ == module.__name__
    }
    assert len(defined) >= 10
    assert {kind.__name__ for kind in defined - reached} == {"Branches"}, "which modules inherit, and none is"
    every = {*checks.blocks(), *checks.WIDE_BLOCKS, *models.SMALL, *checks.operators()}
    assert every == set(checks.names())
    assert len(checks.names()) == len(every), "a name stands for two"


def test_wide_blocks_are_checked_along_one_direction():
    """(All of them are, in the tests of their files.)"""
    for name in ("PlainBlock", "InceptionResNetC"):
        assert [report.compared for report in checks.run(name)] == [1, 1]


def of_families():
    return [block for family in checks.BLOCKS.values() for block in family.values()]


def test_blocks_of_one_family():
    assert list(checks.blocks("ResNet")) == ["BasicBlock", "Bottleneck", "PreActBlock", "PreActBottleneck"]
    assert list(checks.blocks()) == [name for family in checks.BLOCKS for name in checks.blocks(family)]


def test_unknown_name():
    with pytest.raises(KeyError, match="no_such_operator"):
        checks.run("no_such_operator")


# --------------------------------------------------------------------------------------- a wrong backward is found


def test_a_wrong_operator_is_found(monkeypatch):
    monkeypatch.setattr(Tanh, "backward", lambda self, g, y: g * (1 - y))  # forgot the square
    state = minidl.backend.generator_state()
    with pytest.raises(GradcheckError, match=r"backward gives .* the difference quotient"):
        checks.run("tanh")
    assert minidl.backend.generator_state() == state


def test_a_wrong_operator_is_found_in_the_block_that_uses_it(monkeypatch):
    right = BatchNorm.backward

    def as_if_the_statistics_were_constants(self, g, x, weight):
        _, *others = right(self, g, x, weight)
        return g * weight * self.inv_std, *others

    monkeypatch.setattr(BatchNorm, "backward", as_if_the_statistics_were_constants)
    with pytest.raises(GradcheckError):
        checks.run("BasicBlock")


def test_a_wrong_block_is_found(monkeypatch):
    """The shortcut carries no gradient: values are right, and every operator is."""

    def forward(self, x):
        y = self.bn1(self.conv1(x), relu=True)
        return self.bn2(self.conv2(y), add=self.downsample(x).detach(), relu=True)

    monkeypatch.setattr(BasicBlock, "forward", forward)
    with pytest.raises(GradcheckError):
        checks.run("BasicBlock")


def test_a_wrong_network_is_found(monkeypatch):
    monkeypatch.setattr(Tanh, "backward", lambda self, g, y: g * (1 - y))
    with pytest.raises(GradcheckError, match="along a random direction"):
        checks.check_module(lambda: nn.Sequential(nn.Linear(3, 4), nn.Tanh()), (2, 3), fast=True)


@pytest.mark.parametrize("fast", [False, True])
def test_the_wrong_gradient_of_a_module_is_named(fast, monkeypatch):
    right = BatchNorm.backward

    def twice_the_bias(self, g, x, weight):
        to_x, to_weight, to_bias, to_add = right(self, g, x, weight)
        return to_x, to_weight, to_bias * 2, to_add

    monkeypatch.setattr(BatchNorm, "backward", twice_the_bias)
    with pytest.raises(GradcheckError, match=r": 1\.bias$"):
        checks.check_module(lambda: nn.Sequential(nn.Linear(3, 4), nn.BatchNorm2d(4)), (5, 3), fast)
    monkeypatch.setattr(Tanh, "backward", lambda self, g, y: g * (1 - y))
    with pytest.raises(GradcheckError, match=r": the images$"):
        checks.check_module(nn.Tanh, (2, 3), fast)


def test_a_wrong_second_derivative_is_found(monkeypatch):
    """Right the first time, and cut off from the graph when it is differentiated again."""
    right = Tanh.backward

    def constant(self, g, y):
        return right(self, g, y.detach() if isinstance(y, minidl.Tensor) else y)

    monkeypatch.setattr(Tanh, "backward", constant)
    with pytest.raises(GradcheckError):
        checks.run("tanh")
