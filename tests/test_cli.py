"""The command line as its user meets it: what each command prints, leaves behind, and says when it cannot go on."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import textwrap
import tracemalloc
from pathlib import Path

import fakecupy
import numpy as np
import pytest

import minidl
import models
from minidl import backend, checkpoint, checks, cli, doctor, process, progress
from minidl import functional as F
from minidl.backend import DeviceError
from minidl.commands import profile, training
from minidl.inspection import ceilings
from minidl.version import __version__

ROOT = Path(__file__).resolve().parents[1]
TRAIN = ["train", "resnet_small", "--data", "data.npz", "--epochs", "3", "--batch-size", "8"]
NETS = """
    from minidl import nn
    from minidl.autograd import Function

    class Double(Function):
        def forward(self, x):
            return 2 * x

        def backward(self, g, x):
            return FACTOR * g,

    class Net(nn.Module):
        def __init__(self, num_classes, in_channels):
            super().__init__()
            self.fc = nn.Linear(64 * in_channels, num_classes)

        def forward(self, x):
            return Double()(self.fc(x.flatten(1)))
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Every test runs in a new folder that holds data.npz: 20 images of three classes, and 9 to test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (29, 8, 8), dtype=np.uint8)
    labels = np.arange(29) % 3
    np.savez(
        "data.npz", train_images=images[:20], train_labels=labels[:20], test_images=images[20:], test_labels=labels[20:]
    )
    return tmp_path


def run(capsys, *arguments):
    """The exit status of a command, and the lines it wrote to stdout and to stderr."""
    capsys.readouterr()
    try:
        status = cli.main(arguments)
    except SystemExit as error:  # argparse leaves this way
        status = error.code
    written = capsys.readouterr()
    return status, written.out.splitlines(), written.err.splitlines()


def everything(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def write_net(factor):
    Path("net.py").write_text(f"FACTOR = {factor}\n{textwrap.dedent(NETS)}")
    return "net.py:Net"


# -------------------------------------------------------------------------------------------------------------- help


def test_without_a_command_the_help_is_printed(capsys):
    status, out, err = run(capsys)
    assert (status, err) == (0, [])
    for command in ("demo", "train", "summary", "profile", "gradcheck", "doctor"):
        assert any(line.split()[:1] == [command] for line in out)


def test_version(capsys):
    assert run(capsys, "--version") == (0, [f"minidl {__version__}"], [])


@pytest.mark.parametrize("command", ["demo", "train", "summary", "profile", "gradcheck", "doctor"])
def test_help_explains_every_option(capsys, command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    status, out, _ = run(capsys, command, "--help")
    assert status == 0
    listed = [line for line in out if line.startswith("  ") and not line.startswith("   ")]
    usage = "\n".join(out).split("\n\n")[0]
    for option in re.findall(r"--[a-z-]+", usage):
        line = next(line for line in listed if option in line)
        assert re.search(r"\S {2,}\S", line.strip()), f"{option} has no explanation"
    networks = dict.fromkeys(("train", "summary", "profile"), models.names())
    for name in {**networks, "gradcheck": checks.names()}.get(command, []):
        assert re.search(rf"\b{name}\b", "\n".join(out))


def test_the_defaults_in_the_help_are_those_of_the_recipe(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    text = "\n".join(run(capsys, "train", "--help")[1])
    for option in ("--epochs", "--batch-size", "--lr", "--momentum", "--weight-decay", "--label-smoothing", "--seed"):
        default = getattr(training.DEFAULTS, option[2:].replace("-", "_"))
        assert re.search(rf"{option} .*\(default {default}\)", text)


# ------------------------------------------------------------------------------------------------- what cannot be done


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("gradcheck conv2", "minidl gradcheck: unknown operator, block or model 'conv2': did you mean conv2d"),
        ("gradcheck add Bottlenek", "unknown operator, block or model 'Bottlenek': did you mean Bottleneck"),
        ("gradcheck nowhere.py:Net", "nowhere.py: no such Python file"),
        ("train resnet_smal", "minidl train: unknown model 'resnet_smal': did you mean resnet_small"),
        ("train ../resnet_small", "unknown model '../resnet_small'"),
        ("train nowhere.py:Net", "nowhere.py: no such Python file"),
        ("train resnet_small --data nowhere.npz", "nowhere.npz"),
        ("train resnet_small --data mnist", "\"digits\" or a file ending in .npz, got 'mnist'"),
        ("train resnet_small --resume", "there is no run in runs/resnet_small to resume; leave --resume out"),
        ("train resnet_small --device tpu", 'expected "cpu", "gpu" or "gpu:<number>", got \'tpu\''),
        ("train resnet_small --lr nan", "lr must be a finite number of at least 0, got nan"),
        ("train resnet_small --momentum -1", "momentum must be a finite number of at least 0, got -1"),
        ("train resnet_small --data data.npz --batch-size 21", "a batch of 21 images is more than the 20 "),
        ("train resnet_small --output data.npz", "data.npz"),
        ("train resnet_small --variant paper", "resnet_small comes in one form only; leave out variant='paper'"),
        ("train resnet18 --variant papr", "variant must be"),
        ("train vgg11 --data data.npz --custom-l2 --image-size 32", "expected a network with a RepVGGBlock"),
        ("summary resnt50", "minidl summary: unknown model 'resnt50': did you mean resnet50"),
        ("summary resnet50 --variant papr", "papr"),
        ("summary nowhere.py:Net", "nowhere.py: no such Python file"),
        ("profile resnt50", "minidl profile: unknown model 'resnt50': did you mean resnet50"),
        ("profile nowhere.py:Net", "nowhere.py: no such Python file"),
        ("profile resnet_small --variant paper", "resnet_small comes in one form only"),
        ("profile resnet_small --device tpu", 'expected "cpu", "gpu" or "gpu:<number>", got \'tpu\''),
        ("profile resnet_small --output nowhere/x.json", "--output nowhere/x.json: expected a file in a folder that"),
        ("profile resnet_small --output .", "--output .: expected a file in a folder that exists"),
        ("profile resnet_small --plot nowhere/x.png", "--plot nowhere/x.png: expected a file in a folder that exists"),
        ("profile resnet_small --plot x.txt", "--plot x.txt: expected a file ending in .png, .svg, .pdf"),
        ("demo --device tpu", "minidl demo: device: expected"),
        ("demo --output data.npz", "data.npz"),
    ],
)
def test_a_usage_error_is_one_line_and_leaves_nothing(capsys, folder, arguments, message):
    if arguments == "demo --output data.npz":
        pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    before = everything(folder)
    status, _, err = run(capsys, *arguments.split())
    assert status == 2
    assert len(err) == 1
    assert message in err[0]
    assert everything(folder) == before
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("trian", "invalid choice: 'trian'"),
        ("demo --family vgg", "invalid choice: 'vgg'"),
        ("train", "the following arguments are required: MODEL"),
        ("train resnet_small --bogus", "unrecognized arguments: --bogus"),
        ("train resnet_small --epochs 0", "--epochs: expected a whole number of at least 1, got '0'"),
        ("train resnet_small --epochs 1.5", "--epochs: expected a whole number of at least 1, got '1.5'"),
        ("train resnet_small --batch-size -3", "--batch-size: expected a whole number of at least 1, got '-3'"),
        ("train resnet_small --seed -1", "--seed: expected a whole number of at least 0, got '-1'"),
        ("train resnet_small --lr fast", "--lr: invalid float value: 'fast'"),
        ("train resnet_small --image-size 0", "--image-size: expected a whole number of at least 1, got '0'"),
        ("summary resnet18 --input 224x224", "--input: expected an image as 224x224x3 or 224, got '224x224'"),
        ("summary resnet18 --input 0x8x3", "--input: expected an image as 224x224x3 or 224, got '0x8x3'"),
        ("summary resnet18 --depth 0", "--depth: expected a whole number of at least 1, got '0'"),
        ("summary resnet18 --classes x", "--classes: expected a whole number of at least 1, got 'x'"),
        ("profile resnet18 --batch 0", "--batch: expected a whole number of at least 1, got '0'"),
        ("profile resnet18 --input 224x224", "--input: expected an image as 224x224x3 or 224, got '224x224'"),
        ("profile resnet18 --threads 0", "--threads: expected a whole number of at least 1, got '0'"),
        ("profile resnet18 --algorithm fft", "--algorithm: invalid choice: 'fft'"),
        ("profile resnet18 --repeat -1", "--repeat: expected a whole number of at least 1, got '-1'"),
        ("profile", "the following arguments are required: MODEL"),
        ("demo --epochs none", "--epochs: expected a whole number of at least 1, got 'none'"),
    ],
)
def test_a_wrong_option_is_named(capsys, arguments, message):
    status, out, err = run(capsys, *arguments.split())
    assert (status, out) == (2, [])
    assert message in err[-1]
    assert err[0].startswith("usage: minidl")


@pytest.mark.parametrize("command", ["demo", "train resnet_small", "profile resnet_small"])
def test_without_a_gpu_the_message_is_the_one_of_the_device(capsys, monkeypatch, command):
    def device(spec):
        raise DeviceError(f"device {spec!r} needs CuPy: pip install ...")

    for module in (training, profile):
        monkeypatch.setattr(module, "device", device)
    status, out, err = run(capsys, *command.split(), "--device", "gpu")
    assert (status, out) == (2, [])
    assert err == [f"minidl {command.split()[0]}: device 'gpu' needs CuPy: pip install ..."]


def test_a_loss_that_diverges_is_said_in_one_line(capsys):
    status, _, err = run(capsys, *TRAIN, "--lr", "1e30")
    assert status == 2
    assert len(err) == 1
    assert "training diverged in epoch 1" in err[0]


def test_a_fault_in_the_users_file_is_shown_with_its_lines(capsys):
    write_net("1 / 0")
    for command in ("train", "gradcheck"):
        status, _, err = run(capsys, command, "net.py:Net")
        assert status == 2
        assert err[0] == f"minidl {command}: net.py:Net failed:"
        assert 'net.py", line 1' in err[1]
        assert err[-1] == "ZeroDivisionError: division by zero"
    assert not Path("runs").exists()


def test_a_model_that_does_not_fit_the_data_is_found_before_anything_is_written(capsys):
    write_net(factor=2)
    Path("net.py").write_text(Path("net.py").read_text().replace("64 * in_channels", "65 * in_channels"))
    status, _, err = run(capsys, "train", "net.py:Net", *TRAIN[2:])
    assert (status, err[0]) == (2, "minidl train: net.py:Net failed:")
    assert err[-2].startswith("ValueError: linear: input (2, 64) does not fit weight (65, 3)")
    assert err[-1] == "in layer fc of Net: Linear(65, 3)"
    assert not Path("runs").exists()


# ------------------------------------------------------------------------------------------------------------- train


def test_train_writes_checkpoints_and_says_how_it_went(capsys):
    status, out, err = run(capsys, *TRAIN)
    assert (status, err) == (0, [])
    assert out[0] == "20 training and 9 test images of 8×8×1, 3 classes"
    assert [line.split("  ")[0] for line in out[1:4]] == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]
    assert re.fullmatch(r"test accuracy \d+\.\d\d% on 9 images; checkpoints are in runs/resnet_small/", out[4])
    state = checkpoint.load("runs/resnet_small/last.npz")
    assert len(state["history"]["train_loss"]) == 3
    assert state["model"]["fc.weight"].shape[1] == 3
    assert f"{state['history']['test_accuracy'][-1]:.2%}" in out[4]


def test_options_reach_the_training(capsys):
    options = ["--lr", "0.03", "--momentum", "0", "--weight-decay", "0.1", "--label-smoothing", "0", "--seed", "7"]
    assert run(capsys, *TRAIN, *options, "--output", "deep/er")[0] == 0
    state = checkpoint.load("deep/er/last.npz")
    first, second = state["optimizer"]["param_groups"]
    assert (first["weight_decay"], second["weight_decay"], first["momentum"]) == (0.1, 0, 0)
    assert state["history"]["learning_rate"][1] == 0.03
    assert (state["train_loader"]["seed"], state["train_loader"]["batch_size"]) == (7, 8)
    assert run(capsys, *TRAIN, *options[:-1], "8", "--output", "other")[0] == 0
    other = checkpoint.load("other/last.npz")["model"]
    assert not np.array_equal(state["model"]["conv1.weight"], other["conv1.weight"])


def test_a_model_of_ones_own(capsys):
    write_net(factor=2)
    assert run(capsys, "train", "net.py:Net", *TRAIN[2:])[0] == 0
    assert Path("runs/net-Net/last.npz").exists()


def test_a_network_that_runs_out_of_pixels_says_in_which_layer(capsys):
    status, _, err = run(capsys, "train", "vgg11", *TRAIN[2:])
    assert status == 2
    assert err == [
        "minidl train: max_pool2d: a window of 2×2 does not fit into an image of 1×1 padded to 1×1",
        "  in layer features.15 of VGG: MaxPool2d(kernel_size=2, stride=2)",
    ]
    assert not Path("runs").exists()


def test_a_larger_network_on_larger_images(capsys):
    options = ["--epochs", "1", "--batch-size", "8", "--data", "data.npz", "--image-size", "16"]
    status, out, _ = run(capsys, "train", "plain20", *options)
    assert (status, out[0]) == (0, "20 training and 9 test images of 16×16×1, 3 classes")
    begun = json.loads(Path("runs/plain20/options.json").read_text())
    assert (begun["--image-size"], begun["--variant"], begun["--custom-l2"]) == (16, None, False)


def test_custom_l2_is_a_penalty_in_the_place_of_weight_decay(capsys):
    train = ["train", "repvgg_small", "--data", "data.npz", "--batch-size", "8", "--epochs", "1"]
    own = [*train, "--weight-decay", "0.1", "--custom-l2", "--output", "own"]
    assert run(capsys, *train, "--output", "usual")[0] == run(capsys, *own)[0] == 0
    usual, penalized = (checkpoint.load(f"{name}/last.npz")["history"]["train_loss"][0] for name in ("usual", "own"))
    assert penalized > usual + 0.5
    assert run(capsys, *own, "--resume")[0] == 0
    status, _, err = run(capsys, *own[:-3], "--output", "own", "--resume")
    assert (status, len(err)) == (2, 1)
    assert "own was begun with --custom-l2: give" in err[0]


# ----------------------------------------------------------------------------------------------------------- summary


def test_summary_of_a_published_network(capsys):
    status, out, err = run(capsys, "summary", "resnet50", "--depth", "1")
    assert (status, err) == (0, [])
    assert out[0] == "resnet50 for one image of 224×224×3, 1000 classes"
    assert [line.split()[0] for line in out[3:12]] == [
        *("conv1", "bn1", "maxpool", "layer1", "layer2", "layer3", "layer4", "avgpool", "fc"),
    ]
    assert re.fullmatch(r"total +ResNet +1000 +25,557,032 +4,089,184,256 +150 MB", out[13])
    assert out[14:] == [
        "agrees to the digit with resnet50: torchvision 0.28.0",
        "printed in the paper: 3.8 G multiply-adds (arXiv 1512.03385, Table 1)",
    ]


def test_summary_in_other_forms(capsys):
    def last(*arguments):
        status, out, err = run(capsys, "summary", *arguments)
        assert (status, err) == (0, [])
        return out

    assert "agrees to the digit with resnet50: stride on the first 1×1, as in the paper" in last(
        "resnet50", "--variant", "paper"
    )
    assert "agrees to the digit with repvgg_a0: the authors' repository, deployed" in last("repvgg_a0", "--deploy")
    assert "agrees to the digit with googlenet: torchvision 0.28.0" in last("googlenet", "--training")
    small = last("resnet18", "--input", "32", "--classes", "10")
    assert small[0] == "resnet18 for one image of 32×32×3, 10 classes"
    assert small[-2:] == [
        "agrees with none of the published figures, which are for:",
        "  torchvision 0.28.0: 224×224×3, 1000 classes; 11,689,512 parameters, 1,814,073,344 multiply-adds",
    ]
    assert last("resnet_small")[0] == "resnet_small for one image of 8×8×1, 10 classes"
    assert last("resnet_small")[-1].startswith("total")
    assert len(last("vgg11", "--depth", "9")) > len(last("vgg11", "--depth", "1"))


def test_summary_for_a_program(capsys):
    status, out, _ = run(capsys, "summary", "googlenet", "--training", "--json", "--input", "224x224x3")
    counted = json.loads("\n".join(out))
    assert (status, counted["model"], counted["macs"]) == (0, "GoogLeNet", 1_506_748_416)
    assert counted["agrees_with"] == [
        {"network": "googlenet", "source": "torchvision 0.28.0", "paper": ["1.5 G multiply-adds (arXiv 1409.4842, §1)"]}
    ]
    assert {"aux1.fc1", "inception3a.branch2.1.conv"} <= {layer["name"] for layer in counted["layers"]}


def test_summary_of_ones_own_model(capsys):
    write_net(factor=2)
    status, out, err = run(capsys, "summary", "net.py:Net")
    assert (status, err) == (0, [])
    assert re.fullmatch(r"fc +Linear\(64, 10\) +10 +650 +640 +80 B +all", out[3])
    status, _, err = run(capsys, "summary", "net.py:Net", "--input", "9x9x1")
    assert (status, err[0]) == (2, "minidl summary: net.py:Net failed:")
    assert "ValueError: linear: input (1, 81) does not fit weight (64, 10)" in err[-2]
    assert err[-1] == "in layer fc of Net: Linear(64, 10)"
    assert run(capsys, "summary", "net.py:Net", "--deploy")[0] == 0


def test_summary_of_ones_own_model_that_fails(capsys):
    write_net(factor=2)
    with open("net.py", "a") as file:
        file.write("\n\nclass Unwritten(Net):\n    def forward(self, x):\n        return self.nothing(x)\n")
    status, out, err = run(capsys, "summary", "net.py:Unwritten")
    assert (status, out, err[0]) == (2, [], "minidl summary: net.py:Unwritten failed:")
    assert "AttributeError: 'Unwritten' object has no attribute 'nothing'" in err


@pytest.mark.parametrize("network", ["repvgg_b0", "vgg11_bn"])
def test_a_deployed_form_takes_no_memory_either(capsys, network):
    tracemalloc.start()
    try:
        status, out, _ = run(capsys, "summary", network, "--deploy")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert status == 0
    assert any(line.startswith("agrees to the digit with") for line in out)
    assert peak < 5e6  # the largest kernels alone have 9 MB


def test_summary_of_an_image_that_is_too_small(capsys):
    status, out, err = run(capsys, "summary", "vgg19", "--input", "16")
    assert (status, out) == (2, [])
    assert err[1] == "  in layer features.36 of VGG: MaxPool2d(kernel_size=2, stride=2)"


# ----------------------------------------------------------------------------------------------------------- profile


@pytest.fixture
def quick(monkeypatch):
    """Ceilings that are not measured, since here they are not what is tested."""
    monkeypatch.setattr(ceilings, "measure", lambda threads, device: ceilings.Ceilings(1e11, 1e10))


def test_profile_prints_a_table_and_writes_what_was_asked_for(capsys, quick):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    threads = minidl.get_num_threads()
    asked = "resnet_small --batch 3 --train --threads 1 --repeat 1 --depth 1 --output profile.json --plot profile.png"
    status, out, err = run(capsys, "profile", *asked.split())
    assert (status, err) == (0, [])
    assert minidl.get_num_threads() == threads
    told = (
        r"resnet_small, training step without update, 3 image\(s\) of 8×8×1, cpu, 1 thread\(s\): [\d.e+]+ ms, the fast"
    )
    assert re.fullmatch(told + "est of 1", out[0])
    assert out[1] == "roofline: 100 GFLOP/s of matrix products, 10 GB/s of copying"
    assert out[2].split()[:3] == ["layer", "output", "MACs"]
    assert out[2].count("GFLOP/s") == 2
    assert [line.split()[0] for line in out[4:6]] == ["conv1", "bn1"]
    assert not any(line.startswith(" ") for line in out)
    assert out[-1].startswith("total  ")
    assert out[-3].startswith("outside any layer  ")
    written = json.loads(Path("profile.json").read_text())
    assert (written["network"], written["model"], written["threads"]) == ("resnet_small", "CifarResNet", 1)
    assert (written["input_shape"], written["training"], written["device"]) == ([3, 8, 8, 1], True, "cpu")
    assert "layer1.0.conv1" in {layer["name"] for layer in written["layers"]}
    assert Path("profile.png").read_bytes().startswith(b"\x89PNG")


def test_profile_in_other_forms(capsys, quick):
    def out(*arguments):
        status, out, err = run(capsys, "profile", *arguments, "--repeat", "1", "--batch", "1")
        assert (status, err) == (0, [])
        return out

    lines = out("resnet18", "--input", "32x40x1", "--classes", "7", "--depth", "1")
    assert "resnet18, inference, 1 image(s) of 32×40×1, cpu" in lines[0]
    assert lines[2].count("GFLOP/s") == 1
    assert lines[-1].split()[2] == "7"
    deployed = out("repvgg_small", "--deploy")
    assert not any("BatchNorm2d" in line for line in deployed)
    assert any("BatchNorm2d" in line for line in out("repvgg_small", "--depth", "4"))
    assert "net.py:Net" in out(write_net(factor=2))[0]


def test_profile_on_a_gpu(capsys, quick):
    backend.set_gpu_module(fakecupy)
    try:
        status, out, err = run(capsys, "profile", "resnet_small", "--device", "gpu", "--repeat", "1", "--batch", "1")
    finally:
        backend.set_gpu_module(None)
    assert (status, err) == (0, [])
    assert "resnet_small, inference, 1 image(s) of 8×8×1, gpu:0: " in out[0]


def test_profile_by_an_algorithm(capsys, quick, monkeypatch):
    ran = []
    conv2d = F.conv2d
    monkeypatch.setattr(
        F,
        "conv2d",
        lambda x, weight, *a, **o: ran.append((weight.shape[:2], a[1], o["algorithm"])) or conv2d(x, weight, *a, **o),
    )
    for algorithm in ("auto", "im2col", "winograd"):
        ran.clear()
        assert run(capsys, "profile", "resnet_small", "--algorithm", algorithm, "--repeat", "1", "--batch", "1")[0] == 0
        by_winograd = {used for (shape, stride, used) in ran if shape == (3, 3) and stride in (1, (1, 1))}
        others = {used for (shape, stride, used) in ran if shape != (3, 3) or stride not in (1, (1, 1))}
        assert by_winograd == {algorithm}
        assert others == {"im2col" if algorithm == "im2col" else "auto"}


def test_profile_of_an_image_that_is_too_small_or_a_model_that_fails(capsys, quick):
    status, out, err = run(capsys, "profile", "vgg_small", "--input", "2x2x1", "--batch", "1")
    assert (status, out) == (2, [])
    assert err[1] == "  in layer features.13 of VGG: MaxPool2d(kernel_size=2, stride=2)"
    write_net("1 / 0")
    status, out, err = run(capsys, "profile", "net.py:Net")
    assert (status, out, err[0]) == (2, [], "minidl profile: net.py:Net failed:")


def test_a_batch_that_does_not_fit_into_memory(capsys, quick):
    status, _, err = run(capsys, "profile", "resnet_small", "--batch", "10000000000000")
    assert (status, len(err)) == (2, 1)
    assert "Unable to allocate" in err[0]


def test_profile_without_matplotlib(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    status, out, err = run(capsys, "profile", "resnet_small", "--plot", "x.png")
    assert (status, out) == (2, [])
    assert err == ['minidl profile: pictures need matplotlib: pip install "minidl[show]"']


# -------------------------------------------------------------------------------------------------- one's own process


@pytest.mark.parametrize(
    ("arguments", "prepares"),
    [
        (["train", "nothing"], True),
        (["demo", "--device", "tpu"], True),
        (["profile", "nothing"], True),
        (["gradcheck", "add"], False),
        (["summary", "vgg_small"], False),
        ([], False),
    ],
)
def test_the_program_prepares_its_process_for_commands_that_compute_long(capsys, monkeypatch, arguments, prepares):
    prepared = []
    monkeypatch.setattr(process, "prepare", lambda: prepared.append(True))
    monkeypatch.setattr(sys, "argv", ["minidl", *arguments])
    status = cli.program()
    assert (status, prepared) == (cli.main(arguments), [True] * prepares), "main itself prepares nothing"


# ------------------------------------------------------------------------------------------------- runs that are there


def test_an_earlier_run_is_not_overwritten(capsys, folder):
    run(capsys, *TRAIN)
    before = everything(folder)
    status, out, err = run(capsys, *TRAIN)
    assert (status, out) == (2, [])
    assert err == [
        "minidl train: runs/resnet_small already holds a run; add --resume to go on with it, or choose another --output"
    ]
    assert everything(folder) == before


@pytest.mark.parametrize(
    ("change", "begun"),
    [
        (["--lr", "0.1"], "with --lr 0.05"),
        (["--epochs", "4"], "with --epochs 3"),
        (["--label-smoothing", "0", "--seed", "1"], "with --label-smoothing 0.05, with --seed 0"),
        (["--data", "digits"], "with --data data.npz"),
        (["--image-size", "16"], "without --image-size"),
    ],
)
def test_a_run_is_not_resumed_as_another(capsys, folder, change, begun):
    run(capsys, *TRAIN)
    before = everything(folder)
    status, _, err = run(capsys, *TRAIN, "--resume", *change)
    assert status == 2
    assert err == [f"minidl train: runs/resnet_small was begun {begun}: give the same to go on, or another --output"]
    assert everything(folder) == before


def test_a_damaged_checkpoint_is_said(capsys, folder):
    run(capsys, *TRAIN)
    Path("runs/resnet_small/last.npz").write_text("junk")
    before = everything(folder)
    status, _, err = run(capsys, *TRAIN, "--resume")
    assert status == 2
    assert len(err) == 1
    assert "runs/resnet_small/last.npz cannot be read" in err[0]
    assert everything(folder) == before


@pytest.mark.parametrize("junk", ["", "{", "[]", "3", "[1]"])
def test_damaged_options_are_said(capsys, junk):
    run(capsys, *TRAIN)
    Path("runs/resnet_small/options.json").write_text(junk)
    status, _, err = run(capsys, *TRAIN, "--resume")
    assert (status, len(err)) == (2, 1)
    assert "runs/resnet_small/options.json is damaged" in err[0]


def interrupt_at(monkeypatch, method, call):
    """Ctrl-C at the given call of a method of the display, from 1. The original comes back after it."""
    calls = iter(range(1, 1000))
    original = getattr(progress.Lines, method)

    def interrupted(self, *arguments):
        if next(calls) == call:
            monkeypatch.setattr(progress.Lines, method, original)
            raise KeyboardInterrupt
        original(self, *arguments)

    monkeypatch.setattr(progress.Lines, method, interrupted)


@pytest.mark.parametrize(("method", "call", "epochs"), [("advance", 4, 1), ("end", 2, 2), ("begin", 3, 2)])
def test_after_ctrl_c_the_command_it_prints_ends_as_an_uninterrupted_run(capsys, monkeypatch, method, call, epochs):
    run(capsys, *TRAIN, "--output", "whole")
    interrupt_at(monkeypatch, method, call)
    status, _, err = run(capsys, *TRAIN, "--output", "with space")
    assert status == 130
    assert err[:2] == ["", f"minidl train: interrupted after {epochs} epoch(s)"]
    command = err[2].removeprefix("to go on:  minidl ")
    status, out, _ = run(capsys, *shlex.split(command))
    assert (status, out[1]) == (0, f"resumed after epoch {epochs}")
    whole, resumed = (checkpoint.load(f"{name}/last.npz") for name in ("whole", "with space"))
    assert resumed["history"] == whole["history"]
    for name, array in whole["model"].items():
        np.testing.assert_array_equal(resumed["model"][name], array)


def test_a_resumed_run_that_is_interrupted_prints_resume_once(capsys, monkeypatch):
    interrupt_at(monkeypatch, "end", 1)
    run(capsys, *TRAIN)
    interrupt_at(monkeypatch, "end", 1)
    status, _, err = run(capsys, *TRAIN, "--resume")
    assert (status, err[2].count("--resume")) == (130, 1)


def test_nothing_is_said_of_going_on_when_nothing_was_saved(capsys, monkeypatch):
    interrupt_at(monkeypatch, "advance", 1)
    assert run(capsys, *TRAIN)[::2] == (130, ["", "minidl train: interrupted after 0 epoch(s)"])
    assert run(capsys, *TRAIN)[0] == 0, "and the same command begins anew"


# --------------------------------------------------------------------------------------------------------- gradcheck


def test_gradcheck_prints_a_line_for_each_name_in_columns(capsys):
    status, out, err = run(capsys, "gradcheck", "add", "matmul", "resnet_small")
    assert (status, err) == (0, [])
    assert [line.split()[0] for line in out[:3]] == ["add", "matmul", "resnet_small"]
    assert [line.split()[1] for line in out[:2]] == ["54", "3,840"]
    for column in ("first derivative", "second derivative", "off by at most"):
        assert len({line.index(column) for line in out[:3]}) == 1, "columns are not aligned"
    assert out[3:] == ["all gradients agree with finite differences"]


def test_gradcheck_keeps_a_long_name_apart_from_a_large_number(capsys):
    assert re.match(r"einsum  +4,720 first derivatives", run(capsys, "gradcheck", "einsum")[1][0])


def test_gradcheck_of_ones_own_model_right_and_wrong(capsys):
    assert run(capsys, "gradcheck", write_net(factor=2))[0] == 0
    status, out, _ = run(capsys, "gradcheck", "add", write_net(factor=3))
    assert status == 1
    assert out[0].startswith("add ")
    assert re.match(r"net.py:Net +WRONG: gradcheck: along a random direction .* backward gives", out[1])
    assert out[2] == "1 of 2 wrong"


def test_gradcheck_without_names_checks_them_all(capsys, monkeypatch):
    asked = []
    report = checks.GradcheckReport(compared=1234, worst_absolute=0.0, worst_relative=2e-10)
    monkeypatch.setattr(checks, "run", lambda name: asked.append(name) or [report, report])
    status, out, _ = run(capsys, "gradcheck")
    assert (status, asked, len(out)) == (0, checks.names(), len(checks.names()) + 1)
    columns = (f"1,234 {order} derivatives off by at most 2e-10" for order in ("first", "second"))
    assert " ".join(out[0].split()) == " ".join(("add", *columns))


def test_ctrl_c_in_gradcheck(capsys, monkeypatch):
    monkeypatch.setattr(checks, "run", lambda name: (_ for _ in ()).throw(KeyboardInterrupt))
    assert run(capsys, "gradcheck", "add") == (130, [], ["", "minidl gradcheck: interrupted"])


# ---------------------------------------------------------------------------------------------------- a real terminal


def start(*arguments, **environment):
    return subprocess.Popen(
        [sys.executable, "-m", "minidl.cli", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_a_real_ctrl_c_leaves_no_traceback():
    process = start("gradcheck")
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err.decode()) == (130, "\nminidl gradcheck: interrupted\n")


def test_a_reader_that_goes_away_is_no_error():
    process = start("gradcheck", "add", "subtract")
    process.stdout.close()
    assert (process.stderr.read(), process.wait(timeout=60)) == (b"", 141)
    process.stderr.close()


def test_a_terminal_without_the_signs_shows_question_marks():
    process = start(*TRAIN, PYTHONIOENCODING="ascii")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, b"")
    assert b"test images of 8?8?1, 3 classes" in out


def test_doctor(capsys, monkeypatch):
    monkeypatch.setattr(doctor, "report", lambda: "the report")
    assert run(capsys, "doctor") == (0, ["the report"], [])


def test_what_a_run_was_begun_with_is_kept(capsys):
    run(capsys, *TRAIN)
    kept = json.loads(Path("runs/resnet_small/options.json").read_text())
    assert (kept["MODEL"], kept["--data"], kept["--epochs"], kept["--lr"]) == ("resnet_small", "data.npz", 3, 0.05)
    assert "--device" not in kept, "a run may go on elsewhere"
