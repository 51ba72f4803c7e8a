"""Profiles: by a clock that ticks when it is read, every part of the time is where it belongs, and they add up."""

import json
import time

import fakecupy
import numpy as np
import pytest

import minidl
import models
from minidl import Tensor, backend, nn
from minidl import functional as F
from minidl.inspection import ceilings, clock, timings
from minidl.inspection import profile as module
from minidl.inspection.ceilings import Ceilings
from minidl.inspection.profile import profile
from minidl.inspection.summary import summary
from minidl.inspection.timings import Timing, Work
from minidl.progress import Silent

LIMITS = Ceilings(flops=1e6, bandwidth=1e5)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1, algorithm="im2col")
        self.act = nn.ReLU()

    def forward(self, x):
        return self.act(self.conv(x)) + x


class Net(nn.Module):
    """Three operations in layers of its own, two in the block's layers and one in the block, one in the network."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 1, bias=False, algorithm="im2col")
        self.blocks = nn.Sequential(Block())
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(4 * 5 * 5, 2)
        self.unused = nn.Linear(2, 2)

    def forward(self, x):
        return self.fc(self.flatten(self.blocks(self.stem(x)))) * 2.0


@pytest.fixture
def ticking(monkeypatch):
    """A clock that says 0, 1, 2, ...; and known ceilings."""
    ticks = iter(range(10**6))
    monkeypatch.setattr(clock, "now", lambda device: float(next(ticks)))
    monkeypatch.setattr(ceilings, "measure", lambda threads, device: LIMITS)


@pytest.fixture
def images(rng):
    return rng.random((2, 5, 5, 3)).astype(np.float32)


def own(measured, direction="forward"):
    return {layer.name: getattr(layer, direction) for layer in measured.layers}


# -------------------------------------------------------------------------------------------------------------- time


def test_each_operation_counts_for_the_innermost_layer_that_runs(ticking, images):
    """An operation takes a tick. The first and the last tick, and one for each of the seven, are the network's."""
    measured = profile(Net(), images)
    seconds = {name: work.seconds for name, work in own(measured).items()}
    assert seconds == {
        "": 1,
        "stem": 1,
        "blocks": 0,
        "blocks.0": 1,
        "blocks.0.conv": 1,
        "blocks.0.act": 1,
        "flatten": 1,
        "fc": seconds["fc"],
    }
    operations = sum(seconds.values())
    assert measured.forward_seconds == 2 * operations + 1
    assert measured.backward_seconds == 0
    assert all(layer.backward == Work() for layer in measured.layers)


def test_backward_counts_where_its_operation_was_recorded(ticking, images):
    measured = profile(Net(), images, training=True)
    forward, backward = own(measured), own(measured, "backward")
    assert {name: work.seconds for name, work in backward.items()} == {
        name: work.seconds for name, work in forward.items()
    }
    assert measured.backward_seconds == 2 * sum(work.seconds for work in backward.values()) + 1


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", ["inception_small", "resnet_small"])
def test_the_parts_make_up_the_whole(ticking, name, training):
    measured = profile(models.create(name), np.zeros((2, 8, 8, 1), np.float32), training)
    itself, outside = measured.rest
    for direction in ("forward", "backward"):
        whole = getattr(measured, f"{direction}_seconds")
        rows = sum(getattr(row, direction).seconds for row in measured.rows(1))
        rest = getattr(itself, direction).seconds + getattr(outside, direction).seconds
        assert rows + rest == whole == getattr(measured.total, direction).seconds
        assert sum(work.seconds for work in own(measured, direction).values()) + getattr(
            outside, direction
        ).seconds == pytest.approx(whole)
        assert (getattr(outside, direction).seconds > 0) == (training or direction == "forward")
    assert measured.seconds == measured.forward_seconds + measured.backward_seconds == measured.total.seconds


def test_a_layer_has_what_is_inside_it(ticking, images):
    measured = profile(Net(), images, training=True)
    assert measured["blocks"].forward == measured["blocks.0"].forward
    parts = [own(measured)[f"blocks.0{part}"] for part in ("", ".conv", ".act")]
    assert measured["blocks.0"].forward == sum(parts, Work())
    assert measured["stem"].forward == own(measured)["stem"]
    assert measured[""].forward == sum(own(measured).values(), Work())
    with pytest.raises(KeyError, match="Net has no layer 'unused' that was run"):
        measured["unused"]


def test_a_name_that_begins_like_another_is_not_inside_it(ticking, images):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1, self.fc10 = nn.Linear(75, 3), nn.Linear(3, 3)

        def forward(self, x):
            return self.fc10(self.fc1(x.flatten(1)))

    measured = profile(Two(), images)
    assert measured["fc1"].forward == own(measured)["fc1"]


def test_a_layer_that_runs_twice(ticking, images):
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.relu = nn.ReLU()

        def forward(self, x):
            return self.relu(self.relu(x))

    measured = profile(Twice(), images)
    assert own(measured)["relu"].seconds == 2
    assert [layer.name for layer in measured.layers] == ["", "relu"]


def test_operations_outside_the_network_are_not_its_layers(ticking, images):
    """With hooks of one's own, say."""
    net = Net()
    with net.register_forward_hook(lambda module, inputs, output: output + 1.0):
        assert own(profile(net, images))[""].seconds == 2
    weight = nn.Linear(2, 2)
    outside = []

    class Calling(nn.Module):
        def forward(self, x):
            outside.append(weight(x.flatten(1)[:, :2]))
            return x

    profile(Calling(), images)
    assert outside[0].shape == (2, 2)


def test_the_fastest_run_counts_but_for_the_first(monkeypatch, images):
    seconds = iter([1.0, 5.0, 3.0, 4.0])
    monkeypatch.setattr(ceilings, "measure", lambda threads, device: LIMITS)

    def run(*arguments):
        return module.Profile("", (), False, None, 1, LIMITS, [], next(seconds) - 0.5, 0.5)

    shown = []

    class Display(Silent):
        def begin(self, title, batches):
            shown.append((title, batches))

        def advance(self):
            shown.append("run")

    monkeypatch.setattr(module, "_run", run)
    assert profile(Net(), images, repeat=3, shown=Display()).seconds == 3.0
    assert shown == [("profiling Net", 4), *["run"] * 4]


def test_with_the_real_clock(images):
    begin = time.perf_counter()
    measured = profile(Net(), images, training=True, repeat=2)
    elapsed = time.perf_counter() - begin
    assert 0 < measured.forward_seconds < elapsed
    assert 0 < measured.backward_seconds < elapsed
    assert all(0 <= layer.seconds < elapsed for layer in measured.layers)


# -------------------------------------------------------------------------------------------- multiply-adds and bytes


@pytest.mark.parametrize("name", ["vgg_small", "inception_small", "repvgg_small", "resnet_small"])
def test_multiply_adds_are_those_of_the_summary_for_each_image(ticking, name):
    model = models.create(name)
    measured = profile(model, np.zeros((3, 8, 8, 1), np.float32), training=True)
    counted = summary(model, (8, 8, 1), training=True)
    for layer in measured.layers:
        assert measured[layer.name].forward.macs == 3 * counted[layer.name].macs, layer.name
        assert layer.output_shape == counted[layer.name].output_shape
        assert layer.kind == counted[layer.name].kind


def test_backward_has_a_product_for_each_factor_whose_gradient_is_needed(ticking, images):
    net = Net()
    measured = profile(net, images, training=True)
    forward, backward = own(measured), own(measured, "backward")
    assert backward["stem"].macs == forward["stem"].macs == 2 * 25 * 3 * 4, "images need no gradient"
    assert backward["blocks.0.conv"].macs == 2 * forward["blocks.0.conv"].macs == 2 * 2 * 25 * 36 * 4
    net.fc.weight.requires_grad = False
    assert own(profile(net, images, training=True), "backward")["fc"].macs == forward["fc"].macs


def test_bytes_are_those_read_and_written(ticking, images):
    measured = profile(Net(), images, training=True)
    forward, backward = own(measured), own(measured, "backward")
    x, h, w = 2 * 25 * 3 * 4, 2 * 25 * 4 * 4, 3 * 4 * 4  # images, features, the stem's weight
    assert forward["stem"].moved == x + w + h
    assert backward["stem"].moved == h + x + w + w  # g, X and W; the gradient to W
    assert forward["blocks.0.act"].moved == 2 * h
    assert forward["blocks.0"].moved == 3 * h
    assert forward["flatten"] == Work(1.0, 0, 0, 0.0), "a view moves nothing"
    assert backward["blocks.0"].moved == 0, "g as it is, for both"


def test_the_limit_is_that_of_each_operation_added_up(ticking, images):
    measured = profile(Net(), images)
    conv, act, add = (own(measured)[f"blocks.0{part}"] for part in (".conv", ".act", ""))
    assert conv.limit == max(2 * conv.macs / 1e6, conv.moved / 1e5)
    assert act.limit == act.moved / 1e5
    assert measured["blocks"].forward.limit == pytest.approx(conv.limit + act.limit + add.limit)


def test_work():
    work = Work(seconds=2.0, macs=300, moved=40, limit=0.5)
    assert (work.flops, work.intensity, work.of_roof) == (300.0, 15.0, 0.25)
    assert work + Work(1.0, 2, 3, 4.0) == Work(3.0, 302, 43, 4.5)
    assert (Work().flops, Work().intensity, Work().of_roof) == (0, 0, 0)


# ------------------------------------------------------------------------------------------------- what is left alone


@pytest.mark.parametrize("training", [False, True])
def test_the_model_stays_as_it_is(images, monkeypatch, training):
    monkeypatch.setattr(ceilings, "measure", lambda threads, device: LIMITS)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten(), nn.Linear(36, 2))
    net[1].eval()
    net[4].weight.grad = Tensor(np.ones((36, 2), np.float32))
    before = {name: array.copy() for name, array in net.state_dict().items()}
    modes = [layer.training for layer in net.modules()]
    random = backend.generator_state()
    profile(net, images, training, repeat=1)
    assert [layer.training for layer in net.modules()] == modes
    assert backend.generator_state() == random
    np.testing.assert_array_equal(net[4].weight.grad.numpy(), np.ones((36, 2)))
    assert net[0].weight.grad is None
    for name, array in net.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    assert all(layer._before_forward == layer._after_forward == () for layer in net.modules())
    with minidl.no_grad():
        assert net(Tensor(images)).shape == (2, 2)


@pytest.mark.parametrize("training", [False, True])
def test_the_mode_is_the_one_asked_for(ticking, images, training):
    modes = []

    class Watching(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(75, 2)

        def forward(self, x):
            modes.append((self.training, self.fc.training, minidl.is_grad_enabled()))
            return {"scores": self.fc(x.flatten(1)), "others": [x, None]}

    profile(Watching().train(not training), images, training, repeat=1)
    assert modes == [(training, training, training)] * 2


def test_several_outputs_are_differentiated_together(ticking, images):
    class Heads(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(75, 2), nn.Linear(75, 3)

        def forward(self, x):
            x = x.flatten(1)
            return self.a(x), {"b": self.b(x)}

    measured = profile(Heads(), images, training=True)
    assert all(own(measured, "backward")[name].macs > 0 for name in "ab")


# --------------------------------------------------------------------------------------------------------------- GPU


@pytest.mark.parametrize("training", [False, True])
def test_on_a_gpu_every_operation_is_waited_for(images, monkeypatch, training):
    monkeypatch.setattr(ceilings, "measure", lambda threads, device: LIMITS)
    backend.set_gpu_module(fakecupy)
    try:
        net = Net().to("gpu")
        with fakecupy.count_synchronisations() as waited:
            measured = profile(net, Tensor(images, device="gpu"), training, repeat=1)
        assert waited.count >= 2 * 2 * (2 if training else 1) * 7
        assert str(measured.device) == "gpu:0"
        assert measured["blocks"].forward.macs == 2 * 25 * 36 * 4
    finally:
        backend.set_gpu_module(None)


# ------------------------------------------------------------------------------------------------------------- errors


def test_wrong_calls(images):
    with pytest.raises(TypeError, match="profile: expected a Module, such as .*, got \"resnet18\"|'resnet18'"):
        profile("resnet18", images)
    with pytest.raises(ValueError, match="profile: repeat must be at least 1, got 0"):
        profile(Net(), images, repeat=0)
    with pytest.raises(ValueError, match="training=True needs parameters that require gradients; ReLU has none"):
        profile(nn.ReLU(), images, training=True)
    with pytest.raises(ValueError, match="linear: input") as caught:
        profile(Net(), images[:, 1:])
    assert caught.value.__notes__ == ["in layer fc of Net: Linear(100, 2)"]


# ------------------------------------------------------------------------------------------------------- table, JSON


def test_the_table():
    layers = [
        Timing("a", "Conv2d(…)", (4, 4, 8), Work(0.002, 10**6, 4000, 0.001), Work(0.003, 2 * 10**6, 8000, 0.0015)),
        Timing("a.0", "ReLU()", (4, 4, 8), Work(0.001, 0, 2000, 0.0001)),
    ]
    rest = [Timing("outside any layer", "Python", (), Work(0.001), Work(0.003))]
    total = Timing("", "Net", (10,), Work(0.003, 10**6, 4000, 0.001), Work(0.006, 2 * 10**6, 8000, 0.0015))
    assert str(timings.grid(layers, rest, total, training=True)).splitlines() == [
        "layer                         output       MACs  forward ms  GFLOP/s  of roof  moved  backward ms  GFLOP/s  "
        "of roof  moved   share",
        "─" * 130,
        "a                  Conv2d(…)   4×4×8  1,000,000       2.000      1.0      50%   4 kB        3.000      1.3  "
        "    50%   8 kB   55.6%",
        "  0                ReLU()      4×4×8                  1.000               10%   2 kB        0.000           "
        "                 11.1%",
        "outside any layer  Python                             1.000                                 3.000           "
        "                 44.4%",
        "─" * 130,
        "total              Net            10  1,000,000       3.000      0.7      33%   4 kB        6.000      0.7  "
        "    25%   8 kB  100.0%",
    ]
    inference = str(timings.grid(layers, rest, total, training=False)).splitlines()
    assert inference[0].endswith("forward ms  GFLOP/s  of roof  moved   share")
    assert timings.grid(layers, rest, total, training=False).styles == ["bold", "", "dim"]


def test_rows_down_to_a_depth(ticking, images):
    measured = profile(Net(), images)
    assert [row.name for row in measured.rows(1)] == ["stem", "blocks", "flatten", "fc"]
    assert [row.name for row in measured.rows(2)] == ["stem", "blocks", "blocks.0", "flatten", "fc"]
    assert len(measured.rows()) == 7
    table = str(measured)
    assert table == str(measured.grid())
    assert len(table.splitlines()) == 7 + 2 + 4
    assert len(str(measured.grid(1)).splitlines()) == 4 + 2 + 4


def test_a_list_that_is_not_run_is_no_layer(ticking, images):
    class Listed(nn.Module):
        def __init__(self):
            super().__init__()
            self.branches = nn.ModuleList([nn.ReLU(), nn.Sequential(nn.ReLU())])

        def forward(self, x):
            return self.branches[0](x) + self.branches[1](x)

    measured = profile(Listed(), images)
    assert [row.name for row in measured.rows(1)] == ["branches.0", "branches.1"]
    assert [row.name for row in measured.rows(2)] == ["branches.0", "branches.1", "branches.1.0"]
    whole = sum(row.seconds for row in (*measured.rows(1), *measured.rest))
    assert whole == measured.seconds


def test_as_json_has_it(ticking, images, use_threads):
    use_threads(2)
    measured = profile(Net(), images, training=True)
    written = json.loads(json.dumps(measured.as_dict()))
    layers = written.pop("layers")
    assert written == {
        "model": "Net",
        "input_shape": [2, 5, 5, 3],
        "training": True,
        "device": "cpu",
        "threads": 2,
        "ceilings": {"flops": 1e6, "bandwidth": 1e5},
        "forward_seconds": measured.forward_seconds,
        "backward_seconds": measured.backward_seconds,
    }
    assert [layer["name"] for layer in layers] == [layer.name for layer in measured.layers]
    assert layers[1] == {
        "name": "stem",
        "kind": repr(Net().stem),
        "output_shape": [5, 5, 4],
        "forward": vars(own(measured)["stem"]),
        "backward": vars(own(measured, "backward")["stem"]),
    }


def test_functional_operations_are_seen_in_any_order(ticking, images):
    """Operations that give several arrays, and plain numbers."""

    class Splitting(nn.Module):
        def forward(self, x):
            first, second = x.split(1)
            return F.relu(first) * 2.0 + second

    measured = profile(Splitting(), images)
    assert own(measured)[""].seconds == 4
    assert (
        own(measured)[""].moved == 300 * (2 + 2 + 3) + 4
    )  # float32 (1, 5, 5, 3), and the number; the pieces are views
