"""A model by its name on the command line: minidl's, or the user's own, whose faults are told with the user's lines."""

import sys
import textwrap

import numpy as np
import pytest

import models
from minidl import nn
from minidl.backend import generator_state
from minidl.gradcheck import GradcheckError
from minidl.names import ModelError, build, fault_of, try_out, unknown

NETS = """
    from dataclasses import dataclass
    from minidl import nn
    from beside import WIDTH

    @dataclass
    class Options:
        width: int = WIDTH

    class Net(nn.Module):
        def __init__(self, num_classes, in_channels):
            super().__init__()
            self.fc = nn.Linear(4 * in_channels, num_classes)

        def forward(self, x):
            return self.fc(x.flatten(1))

    class Broken(Net):
        def forward(self, x):
            return self.fc(x)

    class InTraining(Net):
        def forward(self, x):
            return undefined if self.training else super().forward(x)

    def function(num_classes, in_channels):
        return nn.Sequential(nn.Flatten(), nn.Linear(4 * in_channels, num_classes))

    def number(num_classes, in_channels):
        return 3

    def bare():
        return nn.Identity()

    constant = 5
"""


@pytest.fixture
def nets(tmp_path, monkeypatch):
    """The path of a file of networks, which imports the one beside it."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "beside", raising=False)
    (tmp_path / "beside.py").write_text("WIDTH = 3")
    (tmp_path / "nets.py").write_text(textwrap.dedent(NETS))
    return tmp_path / "nets.py"


def test_a_name_of_models():
    model = build("resnet_small", num_classes=3, in_channels=2)
    assert model.conv1.weight.shape == (3, 3, 2, 16)
    assert model.fc.weight.shape[1] == 3


@pytest.mark.parametrize("name", ["Net", "function"])
def test_a_class_or_function_in_a_file(nets, name):
    model = build(f"{nets}:{name}", num_classes=3, in_channels=2)
    assert [p.shape for p in model.parameters()] == [(8, 3), (3,)]
    try_out(model, np.zeros((2, 2, 2, 2), np.float32), num_classes=3)


def test_a_relative_path(nets, monkeypatch):
    monkeypatch.chdir(nets.parent)
    assert build("nets.py:Net", 3, 2).fc.weight.shape == (8, 3)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nets.py:Nett", "nets.py: unknown class or function 'Nett': did you mean Net"),
        ("nets.py:zzzz", "known are Options, Net, Broken, InTraining, function, number, bare"),
        ("nets.py:constant", "unknown class or function 'constant'"),
        ("nets.py:", "unknown class or function ''"),
        ("nets.py:number", r"nets.py:number\(num_classes=..., in_channels=...\) must give a minidl.nn.Module, not 3"),
        ("nowhere.py:Net", "nowhere.py: no such Python file .* FILE.py:NAME"),
        ("beside:Net", "beside: no such Python file"),
        ("nets.txt:Net", "nets.txt: no such Python file"),
    ],
)
def test_wrong_names(nets, monkeypatch, name, message):
    monkeypatch.chdir(nets.parent)
    (nets.parent / "nets.txt").write_text("")
    with pytest.raises(ModelError, match=message):
        build(name, 3, 2)


def test_a_wrong_name_of_models_lists_the_near_ones():
    with pytest.raises(ValueError, match="unknown model 'resnet_smal': did you mean resnet_small"):
        build("resnet_smal", 10, 1)


def in_fault_of(spec, images=(2, 2, 2, 2)):
    with fault_of(spec):
        try_out(build(spec, num_classes=3, in_channels=images[-1]), np.zeros(images, np.float32), num_classes=3)


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("Broken", ["nets.py", "in forward", "return self.fc(x)", "ValueError: linear: input (2, 2, 2, 2)"]),
        ("InTraining", ["in forward", "NameError: name 'undefined' is not defined"]),
        ("bare", ["TypeError: bare() got an unexpected keyword argument 'num_classes'"]),
    ],
)
def test_an_error_in_the_users_code_is_told_with_the_users_lines(nets, name, lines):
    with pytest.raises(ModelError) as raised:
        in_fault_of(f"{nets}:{name}")
    text = str(raised.value)
    assert text.startswith(f"{nets}:{name} failed:\n")
    for line in lines:
        assert line in text
    for path in (__file__, nn.__file__.replace("__init__.py", "")):
        assert path not in text, "lines that are not the user's"


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("def Net(:\n    pass", ["own.py", "line 1", "SyntaxError"]),
        ("import no_such_package", ["line 1", "No module named 'no_such_package'"]),
        ("x = 1\ny = 1 / 0", ["line 2", "y = 1 / 0", "ZeroDivisionError"]),
    ],
)
def test_a_file_that_cannot_be_imported(tmp_path, monkeypatch, source, lines):
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "own.py").write_text(source)
    with pytest.raises(ModelError) as raised:
        in_fault_of(f"{tmp_path / 'own.py'}:Net")
    for line in lines:
        assert line in str(raised.value)


def test_errors_of_minidl_and_wrong_gradients_pass_through():
    with pytest.raises(ZeroDivisionError), fault_of("resnet_small"):
        1 / 0  # noqa: B018
    with pytest.raises(GradcheckError), fault_of("own.py:Net"):
        raise GradcheckError("wrong")
    with pytest.raises(KeyboardInterrupt), fault_of("own.py:Net"):
        raise KeyboardInterrupt


class Gives(nn.Module):
    def __init__(self, in_training, in_inference):
        super().__init__()
        self.in_training, self.in_inference = in_training, in_inference

    def forward(self, x):
        return (self.in_training if self.training else self.in_inference)(x)


def scores(x):
    return x.flatten(1)[:, :3]


IMAGES = np.random.default_rng(0).random((2, 4, 4, 1), dtype=np.float32)


def test_auxiliary_scores_are_allowed_in_training_alone():
    try_out(Gives(lambda x: (scores(x), scores(x)), scores), IMAGES, num_classes=3)
    with pytest.raises(ModelError, match="gives a tuple"):
        try_out(Gives(scores, lambda x: (scores(x), scores(x))), IMAGES, num_classes=3)


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (lambda x: x.flatten(1), r"images \(2, 4, 4, 1\) .* must give scores \(2, 3\); it gives \(2, 16\)"),
        (lambda x: scores(x).sum(), r"gives \(\)"),
        (lambda x: scores(x).numpy(), "gives a ndarray"),
        (lambda x: None, "gives a NoneType"),
    ],
)
def test_what_is_not_scores_is_refused(output, message):
    for gives in (Gives(output, scores), Gives(scores, output)):
        with pytest.raises(ModelError, match=message):
            try_out(gives, IMAGES, num_classes=3)


@pytest.mark.parametrize("name", models.SMALL)
def test_trying_a_model_out_leaves_it_and_the_random_numbers_alone(name):
    model = models.create(name)
    before, random = model.state_dict(), generator_state()
    try_out(model, np.random.default_rng(0).random((2, 8, 8, 1), dtype=np.float32), num_classes=10)
    assert generator_state() == random
    assert all(module.training for module in model.modules())
    after = model.state_dict()
    assert all(np.array_equal(after[key], before[key]) for key in before)


def test_unknown_names_the_near_ones_or_all():
    assert unknown("operator", "conv2", ["conv2d", "relu"]) == "unknown operator 'conv2': did you mean conv2d?"
    assert unknown("operator", "zzz", ["conv2d", "relu"]) == "unknown operator 'zzz': known are conv2d, relu"
