"""The cases: that each is there once and in its order, and how much work it is."""

import numpy as np
import pytest

from benchmarks import counting, modules
from benchmarks.case import BACKWARD, FORWARD, STEP, Case
from benchmarks.cases import blocks, catalogue, endtoend, networks, operations, scaling
from benchmarks.engines import registry
from models.published import forms_of

CASES = {case.name: case for case in catalogue.cases()}


def test_names_are_unique_and_networks_come_first():
    names = [case.name for case in catalogue.cases()]
    assert len(set(names)) == len(names)
    assert {name.partition("/")[0] for name in names[:14]} == {"network"}
    assert [case.group for case in catalogue.cases()[:14]] == ["network"] * 14
    assert not [name for name in names if " " in name]


def test_all_that_was_asked_for_is_there():
    every = ("vgg16", "repvgg_a0", "resnet18", "resnet50", "googlenet", "inception_v3", "resnet_small")
    wanted = [f"network/{name}/{mode}" for name in every for mode in ("inference", "training")]
    wanted += ["latency/vgg16/inference", "latency/resnet50/inference"]
    for channels, side in ((64, 224), (128, 112), (256, 56), (512, 28), (512, 14), (64, 56)):
        wanted += [f"conv/{channels}@{side}/{mode}" for mode in ("forward", "forward+backward")]
    wanted += [f"scaling/{mode}/batch/{n}" for mode in ("inference", "training") for n in (1, 64)]
    wanted += [f"scaling/{mode}/side/{n}" for mode in ("inference", "training") for n in (32, 448)]
    wanted += [f"scaling/{mode}/threads/{n}" for mode in ("inference", "training") for n in (1, 2)]
    wanted += ["epoch/resnet_small/digits", "start/import", *(f"overhead/{op}/4x4" for op in ("add", "relu", "matmul"))]
    assert [name for name in wanted if name not in CASES] == []


def test_a_case_has_one_of_the_modes():
    with pytest.raises(ValueError, match="Case: mode must be one of 'forward', .*; got 'sideways'"):
        Case("a/b/c", "relu", "sideways")


def test_smoke_has_every_kind_of_case_and_is_tiny():
    kinds = {(case.what, case.mode) for case in catalogue.cases()} - {("conv2d", FORWARD), ("max_pool2d", FORWARD)}
    kinds -= {("batch_norm", FORWARD)}  # which the forward and backward ones contain
    assert kinds == {(case.what, case.mode) for case in catalogue.smoke()}
    assert {case.options["block"] for case in catalogue.smoke() if case.what == "block"} == modules.BLOCKS.keys()
    assert max(counting.macs(case) for case in catalogue.smoke()) < 5e9


def test_every_row_on_the_cpu_has_a_case_in_smoke():
    for row in registry.rows("cpu"):
        engine = registry.engine_of(row)
        assert any(not engine.unable(row, case) for case in catalogue.smoke()) or "not installed" in "".join(
            engine.unable(row, case) for case in catalogue.smoke()
        )


def test_only_the_loops_shapes_are_small_enough_for_them():
    able = [case for case in catalogue.cases() if not registry.engine_of("naive").unable("naive", case)]
    assert [case.name for case in able] == ["conv/tiny/forward", "conv/tiny/forward+backward"]
    assert max(counting.macs(case) for case in able) < 1e6


# ---------------------------------------------------------------------------------------------------- multiply-adds


def test_a_convolution():
    """Σ over each output element of the products that it is made of."""
    case = Case(
        "a/b/c", "conv2d", FORWARD, (2, 7, 5, 3), {"filters": 4, "kernel": (3, 2), "stride": 2, "padding": (1, 0)}
    )
    assert case.output_size == (4, 2)
    assert counting.macs(case) == 2 * 4 * 2 * 4 * (3 * 2 * 3)
    assert counting.moved_bytes(case) == 4 * (2 * 7 * 5 * 3 + 3 * 2 * 3 * 4 + 2 * 4 * 2 * 4)
    backward = Case("a/b/c", "conv2d", BACKWARD, case.shape, case.options)
    assert counting.macs(backward) == 3 * counting.macs(case)
    assert counting.moved_bytes(backward) == 3 * counting.moved_bytes(case)


@pytest.mark.parametrize("name", networks.IMAGENET)
def test_networks_are_counted_as_published(name):
    published = [form for form in forms_of(name) if form.input == CASES[f"network/{name}/inference"].shape[1:]]
    inference, training = (counting.macs(CASES[f"network/{name}/{mode}"]) for mode in ("inference", "training"))
    plain = [form for form in published if form.options.get("deploy")]  # of RepVGG, which is run in it
    assert inference in [8 * form.macs for form in plain or published]
    assert training in [3 * 8 * (form.macs_in_training or form.macs) for form in published if form not in plain]


def test_the_lectures_inception_modules():
    naive, reduced = (counting.macs(CASES[f"block/inception/{form}/forward"]) for form in ("naive", "reduced"))
    assert (naive, reduced) == (8 * 854_196_224, 8 * 271_351_808)


def test_an_epoch_is_a_step_for_each_image():
    per_image = counting.macs(CASES["network/resnet_small/training"]) // 64
    assert counting.macs(endtoend.epoch(1437)) == 1437 * per_image


@pytest.mark.parametrize(("operation", "macs", "arrays"), [("add", 0, 3), ("relu", 0, 2), ("matmul", 64, 3)])
def test_operations_on_small_matrices(operation, macs, arrays):
    case = endtoend.overhead(operation)
    assert counting.macs(case) == macs
    assert counting.moved_bytes(case) == arrays * 16 * 4


def test_pooling_and_batch_norm_multiply_nothing():
    pooling = CASES["pool/3x3@112/forward"]
    assert pooling.output_size == (56, 56)
    assert counting.macs(pooling) == counting.macs(CASES["norm/batch@56/forward"]) == 0
    assert counting.moved_bytes(pooling) == 4 * 8 * 64 * (112 * 112 + 56 * 56)
    assert counting.moved_bytes(CASES["norm/batch@56/forward"]) == 2 * 4 * 8 * 64 * 56 * 56


def test_an_import_is_no_arithmetic():
    assert counting.macs(endtoend.start()) == counting.moved_bytes(endtoend.start()) == 0


def test_of_each_pair_of_blocks_one_needs_fewer():
    for pair in blocks.PAIRS:
        more, less = (CASES[f"block/{name}/forward"] for name in (pair.more, pair.less))
        assert more.shape == less.shape
        assert counting.macs(less) < counting.macs(more), pair


def test_sweeps_change_one_thing():
    usual = scaling.point("batch", "inference", 8)
    assert usual.shape == scaling.point("side", "inference", 224).shape == (8, 224, 224, 3)
    assert scaling.point("batch", "training", 32).shape == (32, 224, 224, 3)
    assert scaling.point("side", "training", 64).shape == (8, 64, 64, 3)
    threads = scaling.point("threads", "training", 1)
    assert (threads.shape, threads.threads, usual.threads) == (usual.shape, 1, None)


# ---------------------------------------------------------------------------------------------------------- choosing


def test_patterns_choose_cases_in_the_order_of_the_catalogue():
    chosen = catalogue.select(["latency/*", "network/vgg16/inference"], catalogue.cases())
    assert [case.name for case in chosen] == [
        "network/vgg16/inference",
        "latency/vgg16/inference",
        "latency/resnet50/inference",
    ]
    assert catalogue.select([], catalogue.cases()) == catalogue.cases()


def test_a_pattern_without_a_case_is_an_error_with_the_closest_names():
    with pytest.raises(ValueError, match="no case 'network/vgg61/inference': did you mean network/vgg16/inference"):
        catalogue.select(["conv/*", "network/vgg61/inference"], catalogue.cases())
    with pytest.raises(ValueError, match="no case 'qqqqqqqq': `python -m benchmarks list` lists them"):
        catalogue.select(["qqqqqqqq"], catalogue.cases())


def test_engines_are_chosen_by_name_or_row_by_row():
    assert registry.select(["torch/nchw", "minidl"], "cpu") == ["minidl", "torch/nchw"]
    for name in ("minidl*", "torch"):
        wanted = [row for row in registry.rows("cpu") if row.startswith(name.rstrip("*"))]
        assert registry.select([name], "cpu") == wanted
        assert len(wanted) > 3
    assert registry.select(["*"], "cpu") == registry.rows("cpu")
    assert "torch/tf32-on" not in registry.rows("cpu")
    assert registry.rows("gpu") == ["minidl", "minidl/im2col", "torch/tf32-off", "torch/tf32-on"]
    with pytest.raises(ValueError, match="no engine or row 'torhc' on the cpu: did you mean torch/nchw"):
        registry.select(["torhc"], "cpu")
    with pytest.raises(ValueError, match="no engine or row 'naive' on the gpu"):
        registry.select(["naive"], "gpu")


def test_every_row_has_a_name_of_its_own():
    labels = [registry.label(row) for row in registry.rows()]
    assert len(set(labels)) == len(labels)
    assert registry.label("a-row-of-long-ago") == "a-row-of-long-ago"


def test_inputs_are_the_same_every_time_and_of_the_shape():
    from benchmarks import inputs

    case = operations.convolution(3, 4, "forward", batch=2)
    first, second = inputs.operands(case), inputs.operands(case)
    assert {name: array.shape for name, array in first.items()} == {"x": (2, 4, 4, 3), "weight": (3, 3, 3, 3)}
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])
        assert first[name].dtype == np.float32
    step = networks.network("resnet_small", "a/b/c", STEP, 64)
    assert inputs.labels(step).shape == (64,)
    assert set(inputs.labels(step)) == set(range(10))
