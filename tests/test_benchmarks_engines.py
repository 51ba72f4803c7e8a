"""The adapters: each engine computes each kind of case, and gives minidl's answer; or says why it does not."""

import shutil
import types

import fakecupy
import numpy as np
import pytest

import models
from benchmarks import answers, modules, weights
from benchmarks.answers import check
from benchmarks.case import BACKWARD, FORWARD, RECORDED, START, STEP, Case
from benchmarks.cases import blocks, catalogue, endtoend, networks, operations
from benchmarks.engines import minidl as minidl_adapter
from benchmarks.engines import work
from benchmarks.engines.engine import Setting
from benchmarks.engines.minidl import Minidl, weights_name
from benchmarks.engines.onnx_runtime import OnnxRuntime
from benchmarks.engines.pytorch import PyTorch
from benchmarks.engines.registry import ENGINES, engine_of
from benchmarks.handle import Worker
from minidl import Tensor, backend, no_grad

SMOKE = {case.name: case for case in catalogue.smoke() if case.mode != START}
WITH_WEIGHTS = {name: case for name, case in SMOKE.items() if case.what in ("block", "network")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The weights of all smoke cases, as an export writes them."""
    folder = tmp_path_factory.mktemp("weights")
    for case in WITH_WEIGHTS.values():
        if not (folder / Minidl().needs(case)).exists():
            Minidl().export(case, folder)
    return folder


@pytest.fixture(scope="module")
def expected(folder):
    """What each case's answer is, computed once."""
    known = {}

    def of(case):
        if case.name not in known:
            found = answers.by_definition(case)
            if found is None:
                reference = Minidl().prepare("minidl/reference", case, Setting(folder, 1)).answer()
                found = answers.by_reference({name: np.array(array) for name, array in reference.items()})
            known[case.name] = found
        return known[case.name]

    return of


# ------------------------------------------------------------------------------------------------------------- minidl


@pytest.mark.parametrize("row", ["minidl", "minidl/im2col", "minidl/winograd"])
@pytest.mark.parametrize("name", SMOKE)
def test_minidl(name, row, folder, expected):
    case = SMOKE[name]
    if Minidl().unable(row, case):
        return
    prepared = Minidl().prepare(row, case, Setting(folder, 1))
    check(case, prepared.answer(), expected(case))
    prepared.run()
    assert prepared.clock is work.wall_clock


@pytest.mark.parametrize("name", SMOKE)
def test_minidl_on_the_stand_in_for_a_gpu(name, folder, expected, monkeypatch):
    monkeypatch.setattr(backend, "_injected_gpu_module", fakecupy)
    case = SMOKE[name]
    prepared = Minidl().prepare("minidl", case, Setting(folder, 1, "gpu"))
    assert prepared.clock is not work.wall_clock
    check(case, prepared.answer(), expected(case))


def test_a_gpu_is_timed_between_two_events(monkeypatch):
    class Event:
        def __init__(self):
            self.at = None

        def record(self):
            self.at = now[0]

        def synchronize(self):
            done.append("synchronized")

    now, done = [0.0], []

    def run():
        now[0] += 20.0

    cuda = types.SimpleNamespace(Event=Event, get_elapsed_time=lambda begin, end: end.at - begin.at)
    monkeypatch.setattr(backend, "_injected_gpu_module", types.SimpleNamespace(cuda=cuda))
    assert minidl_adapter._gpu_clock(run, 3) == pytest.approx(0.020)  # CuPy says milliseconds
    assert done == ["synchronized"]


def test_each_row_of_minidl_runs_its_algorithm(folder, monkeypatch):
    from minidl import functional as F

    seen = []
    conv2d = F.conv2d
    monkeypatch.setattr(
        F, "conv2d", lambda *a, algorithm, **k: seen.append(algorithm) or conv2d(*a, algorithm=algorithm, **k)
    )
    for case in (SMOKE["conv/tiny/forward+backward"], SMOKE["network/resnet_small/training"]):
        for row, algorithm in (("minidl", "auto"), ("minidl/im2col", "im2col"), ("minidl/own-kernels", "auto")):
            seen.clear()
            Minidl().prepare(row, case, Setting(folder, 1)).run()
            assert set(seen) == {algorithm}


def test_the_reference_is_in_float64_unless_the_case_is_too_large(folder):
    case = SMOKE["block/repvgg/plain-form/forward"]
    reference = Minidl().prepare("minidl/reference", case, Setting(folder, 1)).answer()
    assert reference["y"].dtype == np.float64
    large = Case(case.name, case.what, case.mode, case.shape, {**case.options, "large": True})
    assert Minidl().prepare("minidl/reference", large, Setting(folder, 1)).answer()["y"].dtype == np.float32
    assert Minidl().prepare("minidl", case, Setting(folder, 1)).answer()["y"].dtype == np.float32


def test_only_the_best_kernels_are_chosen_for_minidl():
    chosen = {"OPENBLAS_CORETYPE": "Newest"}
    threads = {"MINIDL_NUM_THREADS": "2"}
    assert Minidl().environment("minidl", chosen, 2) == chosen | threads
    assert Minidl().environment("minidl/im2col", chosen, 2) == chosen | threads
    assert Minidl().environment("minidl/own-kernels", chosen, 2) == threads
    assert PyTorch().environment("torch/nchw", chosen, 2) == {}
    assert (
        engine_of("mygrad").environment("mygrad", chosen, 2)
        == engine_of("dezero").environment("dezero", chosen, 2)
        == chosen
    )


def test_inference_is_in_deploy_form_unless_the_case_is_about_the_form():
    def norms(case):
        module = modules.as_run(case, modules.create(case.options))
        return sum(type(part).__name__ == "BatchNorm2d" for part in module.modules()), module.training

    assert norms(blocks.block("bottleneck/1x1-3x3-1x1", "forward", (2, 6, 6, 8), (8, 2))) == (0, False)
    assert norms(blocks.block("bottleneck/1x1-3x3-1x1", "forward+backward", (2, 6, 6, 8), (8, 2))) == (3, True)
    assert norms(blocks.block("repvgg/training-form", "forward")) == (3, False)
    assert norms(blocks.block("repvgg/plain-form", "forward")) == (0, False)
    assert norms(networks.network("resnet_small", "a/b/c", FORWARD, 2)) == (0, False)


def test_weights_are_as_after_training():
    case = networks.network("resnet_small", "a/b/c", FORWARD, 4)
    first, second = weights.trained(case), weights.trained(case)
    norms = [part for part in first.modules() if type(part).__name__ == "BatchNorm2d"]
    for norm in norms:
        assert norm.momentum == 0.1
        for array, idle in ((norm.running_mean, 0), (norm.running_var, 1), (norm.weight, 1), (norm.bias, 0)):
            assert abs(array.numpy() - idle).min() > 0
    images = Tensor(np.random.default_rng(5).standard_normal((32, 8, 8, 1), dtype=np.float32))
    with no_grad():
        scores = first.eval()(images).numpy()
        assert 0.3 < scores.std() < 3
        np.testing.assert_array_equal(scores, second.eval()(images).numpy())


def test_files_are_named_after_what_is_in_them():
    names = {Minidl().needs(case) for case in catalogue.cases()}
    assert {"vgg16-minidl.npz", "repvgg-64-64-plain-minidl.npz", "repvgg-64-64-training-minidl.npz", ""} <= names
    different = {weights_name(blocks.block(name, "forward")) for name in blocks.BLOCKS}
    assert len(different) == len(blocks.BLOCKS)
    assert OnnxRuntime().needs(networks.cases()[0]) == "vgg16-8x224x224x3.onnx"
    assert PyTorch().needs(operations.tiny_convolution("forward")) == ""


# -------------------------------------------------------------------------------------------------------- skipped, why


def test_what_is_not_installed_is_said_with_its_command(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert PyTorch().missing() == 'torch not installed: pip install "minidl[bench]"'
    assert OnnxRuntime().missing().startswith("onnxruntime and onnx and onnxscript and torch not installed: ")
    assert "torchvision not installed" in PyTorch().unable("torch/nchw", networks.cases()[0])
    assert PyTorch().unable("torch/nchw", operations.tiny_convolution("forward")) == ""


def test_tinygrad_needs_a_clang(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    monkeypatch.setenv("CC", "clang-of-dreams")
    assert "compiles with clang-of-dreams, which is not installed" in engine_of("tinygrad").missing()
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    assert engine_of("tinygrad").missing() == ""


def test_torch_compile_needs_a_compiler(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    network = networks.cases()[0]
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert "needs a compiler; g++ is not installed" in PyTorch().unable("torch/compiled", network)
    monkeypatch.setattr(shutil, "which", lambda name: name)
    assert PyTorch().unable("torch/compiled", network) == ""
    assert "--engines '*' torch/compiled" in PyTorch().left_out("torch/compiled", network)
    assert PyTorch().left_out("torch/nchw", network) == ""


def test_a_pytorch_for_the_cpu_alone_has_no_rows_on_a_gpu(monkeypatch):
    case = operations.tiny_convolution("forward")
    monkeypatch.setattr(PyTorch, "missing", lambda self: "")
    monkeypatch.setattr(PyTorch, "version", lambda self: "2.13.0+cpu")
    assert PyTorch().unable("torch/tf32-on", case) == "PyTorch 2.13.0+cpu is built without CUDA"
    assert PyTorch().unable("torch/nchw", case) == ""
    monkeypatch.setattr(PyTorch, "version", lambda self: "2.13.0")
    assert PyTorch().unable("torch/tf32-on", case) == ""


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
def test_every_row_says_of_every_case_whether_it_can(engine):
    for row in engine.rows:
        for case in catalogue.cases():
            assert isinstance(engine.unable(row, case), str)
    assert all(row.partition("/")[0] == engine.name for row in engine.rows)


@pytest.mark.parametrize(
    ("row", "name", "reason"),
    [
        ("minidl/winograd", "conv/64@56/forward", ""),
        ("minidl/winograd", "network/vgg16/inference", "one 3×3 convolution"),
        ("minidl/im2col", "pool/3x3@112/forward", "no convolution"),
        ("minidl/own-kernels", "conv/64@56/forward", "whole networks"),
        ("minidl/own-kernels", "network/vgg16/training", ""),
        ("minidl/im2col", "scaling/training/batch/1", "in sweeps"),
        ("torch/nchw-folded", "network/vgg16/inference", "no batch norm to fold"),
        ("torch/nchw-folded", "network/resnet18/training", "no batch norm to fold"),
        ("torch/channels-last", "overhead/add/4x4", "no images"),
        ("onnxruntime", "network/vgg16/training", "in inference"),
        ("mygrad", "conv/64@224/forward", "larger ones"),
        ("mygrad", "conv/64@56/forward+backward", ""),
        ("tinygrad", "network/vgg16/inference", "it runs the convolution"),
        ("naive", "conv/64@56/forward", "minutes"),
        ("naive", "overhead/add/4x4", "loops for convolution and pooling"),
    ],
)
def test_reasons(row, name, reason, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    case = next(case for case in catalogue.cases() if case.name == name)
    said = engine_of(row).unable(row, case)
    assert reason in said
    assert bool(said) == bool(reason)


# ---------------------------------------------------------------------------------------- what is made of an engine


def test_a_turn_is_the_mean_of_its_runs(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(work.time, "perf_counter", lambda: now[0])

    def run():
        now[0] += 3.0

    assert work.wall_clock(run, 5) == 3.0
    assert now[0] == 15.0


class Dropout:
    def __init__(self):
        self.p = 0.5


class Module:
    def __init__(self):
        self.dropout, self.steps = Dropout(), 0

    def modules(self):
        return [self, self.dropout]


def test_a_training_step_is_checked_without_dropout_and_timed_with():
    module, bias = Module(), np.zeros(2)

    def step():
        nonlocal bias
        module.steps += 1
        bias = bias + 1
        assert module.dropout.p == (0.0 if module.steps <= 2 else 0.5)
        return 1 / module.steps

    made = work.of_training(step, module, lambda: {"first": bias * 10}, lambda: bias)
    answer = made.answer()
    np.testing.assert_array_equal(answer["losses"], [1, 0.5])
    np.testing.assert_array_equal(answer["gradient of first"], [10, 10])  # of the first step
    np.testing.assert_array_equal(answer["two steps"], [2, 2])
    assert module.dropout.p == 0.5
    made.run()
    assert module.steps == 3


def test_what_is_timed_is_what_the_mode_says():
    done = []
    made = {
        mode: work.of_function(mode, lambda: done.append("forward"), lambda: done.append("both"), (), lambda name, y: y)
        for mode in (FORWARD, RECORDED, BACKWARD)
    }
    for mode in made:
        made[mode].run()
    assert done == ["forward", "forward", "both"]


def test_a_start_runs_a_fresh_interpreter():
    with pytest.raises(Exception, match="exit status 3"):
        work.of_start("raise SystemExit(3)").run()
    work.of_start("import minidl").run()


# ------------------------------------------------------------------------------------------------------ other engines

TORCH_ROWS = ("torch/nchw", "torch/channels-last", "torch/nchw-folded", "torch/channels-last-folded")


@pytest.mark.torch
@pytest.mark.parametrize("row", TORCH_ROWS)
@pytest.mark.parametrize("name", SMOKE)
def test_pytorch(name, row, folder, expected):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    pytest.importorskip("timm", reason="timm is not installed") if "repvgg_a0" in name else None
    torch.set_num_threads(1)
    case = SMOKE[name]
    if PyTorch().unable(row, case):
        return
    if weights_name(case):
        PyTorch().export(case, folder)
    prepared = PyTorch().prepare(row, case, Setting(folder, 1))
    check(case, prepared.answer(), expected(case))
    prepared.run()


@pytest.mark.torch
def test_folded_rows_have_no_batch_norm_left(folder):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    from benchmarks.engines import pytorch_modules

    for name in ("resnet_small", "googlenet", "resnet50", "inception_v3", "repvgg_a0"):
        module = pytorch_modules.create({"network": name}).to_empty(device="cpu")
        with torch.no_grad():
            left = pytorch_modules.folded(module)
        assert not [part for part in left.modules() if isinstance(part, torch.nn.BatchNorm2d)], name
        assert [part for part in module.modules() if isinstance(part, torch.nn.BatchNorm2d)], "of a copy"


@pytest.mark.torch
@pytest.mark.parametrize("name", [*networks.IMAGENET, "resnet_small"])
def test_pytorchs_networks_have_minidls_parameters(name):
    pytest.importorskip("torch", reason="PyTorch is not installed")
    from benchmarks.engines import pytorch_modules
    from minidl import nn

    case = networks.network(name, "a/b/c", STEP, 2)
    with nn.init.placeholders():
        ours = sum(p.size for p in models.create(name).parameters())
    assert sum(p.numel() for p in pytorch_modules.create(case.options).parameters()) == ours


@pytest.mark.torch
@pytest.mark.parametrize("row", ["mygrad", "dezero"])
def test_numpy_engines_in_their_own_process(row, folder):
    engine = engine_of(row)
    if engine.missing():
        pytest.skip(engine.missing())
    with Worker({}, threads=1) as process:
        for case in (operations.tiny_convolution("forward+backward"), *map(endtoend.overhead, endtoend.OVERHEAD)):
            process.ask("load", row, case, Setting(folder, 1))
            check(case, process.ask("answer", case), answers.by_definition(case))


@pytest.mark.torch
def test_onnx_runtime_runs_what_pytorch_exports(folder, expected):
    if OnnxRuntime().missing():
        pytest.skip(OnnxRuntime().missing())
    case = networks.network("resnet_small", "network/resnet_small/inference", FORWARD, 2)
    with Worker({}, threads=1) as process:
        process.ask("export", "torch", case, folder)
        process.ask("export", "onnxruntime", case, folder)
    with Worker({}, threads=1) as process:
        process.ask("load", "onnxruntime", case, Setting(folder, 1))
        check(case, process.ask("answer", case), expected(case))
