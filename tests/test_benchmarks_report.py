"""The page: that it is what `report` writes, losses first, and that its tables say what was measured."""

import json
import re
from pathlib import Path

import pytest
from benchmark_fakes import case, file, row

from benchmarks import plots, profiles, report, results, tables
from benchmarks.cli import RESULTS
from benchmarks.reading import readings

NETWORK = {"what": "network", "mode": "forward", "shape": [8, 224, 224, 3]}
MEASURED = file(
    network_resnet18_inference=case(
        {
            "minidl": row(0.080, 0.0812, 0.0792, peak_bytes=250_000_000),
            "minidl/own-kernels": row(0.160, 0.160, 0.160, blas="Haswell"),
            "minidl/im2col": row(0.1, 0.1, 0.1),
            "torch/nchw": row(0.2, 0.2, 0.2),
            "torch/channels-last": row(0.1, 0.1, 0.1),
            "torch/channels-last-folded": row(0.05, 0.05, 0.05),
            "torch/compiled": {"skipped": "compiling takes up to minutes"},
            "onnxruntime": {"skipped": "onnx not installed: pip install"},
        },
        **NETWORK,
    ),
    network_vgg16_inference=case({"minidl": row(0.5), "torch/nchw": row(1.0)}, **NETWORK),
    network_resnet18_training=case({"minidl": row(0.6), "torch/nchw": row(0.5)}, **NETWORK | {"mode": "training step"}),
    latency_vgg16_inference=case(
        {"minidl": row(0.09), "torch/nchw": row(0.1)}, **NETWORK | {"shape": [1, 224, 224, 3]}
    ),
    **{
        f"conv_64@56_{mode}": case({"minidl": row(t), "torch/nchw": row(2 * t), "dezero": row(9 * t)})
        for mode, t in (("forward", 0.01), ("forward+backward", 0.03))
    },
    **{
        f"block_{name.replace('/', '_')}_{mode}": case({"minidl": row(t), "torch/nchw": row(9 * t * t)}, macs=macs)
        for name, macs, t in (("filters/7x7", 4_900, 0.3), ("filters/1x7-7x1", 1_400, 0.2))
        for mode in ("forward", "forward+backward")
    },
    **{"pool_3x3@112_forward": case({"minidl": row(0.01), "torch/nchw": row(0.02)}, macs=0)},
    start_import=case({"minidl": row(0.1), "torch/nchw": row(1.5)}, macs=0),
    overhead_add_4x4=case({"minidl": row(2e-6), "mygrad": row(1e-6)}, macs=0),
    **{
        f"scaling_{mode}_{sweep}_{n}": case({"minidl": row(0.01 * n), "torch/nchw": row(0.02 * n)}, macs=10**9 * n)
        for mode in ("inference", "training")
        for sweep, values in (("batch", (1, 2, 4)), ("side", (32, 64)), ("threads", (1, 2)))
        for n in values
    },
)
PATH = Path("fast-one-2-cores.json")


def lines_of(table):
    """The cells of each line of a table, by the first."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    header = rows[0]
    return {line[0]: dict(zip(header, line, strict=True)) for line in rows[2:]}


def test_the_page_is_what_report_writes():
    text = report.PAGE.read_text(encoding="utf-8")
    assert report.page(text, report.collect(RESULTS)) == text


def test_the_pictures_of_the_page_are_there():
    for path, found in report.collect(RESULTS).items():
        assert [picture.name for picture in plots.pictures(found, path) if not picture.exists()] == []


def test_without_results_the_page_says_so():
    text = report.page(report.PAGE.read_text(encoding="utf-8"), {})
    between = text.partition(report.BEGIN)[2].partition(report.END)[0]
    assert between.strip() == report.NOTHING


def test_a_page_without_the_marks_is_an_error():
    with pytest.raises(ValueError, match=r"README.md: expected the lines <!--"):
        report.page("# Benchmarks", {})


def test_writing_it_keeps_the_text_around(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    page = tmp_path / "README.md"
    page.write_text(f"before\n\n{report.BEGIN}\n\nwhat it was\n\n{report.END}\n\nafter\n")
    monkeypatch.setattr(report, "PAGE", page)
    folder = tmp_path / "results"
    results.write(folder / PATH, MEASURED)
    report.write(folder)
    text = page.read_text()
    assert text.startswith(f"before\n\n{report.BEGIN}\n\n### Fast One, 2 cores")
    assert text.endswith(f"\n\n{report.END}\n\nafter\n")
    assert "what it was" not in text
    drawn = {path.name for path in folder.glob("*.png")}
    assert drawn == {f"fast-one-2-cores-{name}.png" for name in ("ratios", "roofline", "growth")}
    assert set(re.findall(r"\]\(results/(.*?\.png)\)", text)) == drawn
    report.write(folder)
    assert page.read_text() == text


def test_a_bar_says_which_network_and_how_many_images():
    figure = pytest.importorskip("matplotlib.figure", reason="matplotlib is not installed").Figure()
    plots._ratios(figure, [*readings(MEASURED, "network/"), *readings(MEASURED, "latency/")])
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names[-1] == "resnet18/inference, batch 8"
    assert len(set(names)) == len(names)


def test_losses_are_stated_first():
    headings = re.findall(r"^#### (.*)$", report.section(PATH, MEASURED), re.MULTILINE)
    assert headings[0] == "Where PyTorch is faster"
    assert headings[1] == "Whole networks, inference"
    lost = lines_of(tables.lost(MEASURED, report.PYTORCH))
    assert next(iter(lost)) == "`network/resnet18/inference`"
    assert lost["`network/resnet18/inference`"]["faster is"] == "PyTorch folded, channels_last"
    assert lost["`network/resnet18/inference`"]["ratio"] == "1.60 (1.59 to 1.61)"
    assert lost["`network/resnet18/training`"]["ratio"].startswith("1.20")
    assert "`network/vgg16/inference`" not in lost
    assert tables.lost(file(), report.PYTORCH) == "In no case."


def test_the_table_of_networks():
    found = lines_of(tables.networks(MEASURED, "inference"))
    assert list(found) == ["resnet18, batch 8", "vgg16, batch 8", "vgg16, batch 1"]
    resnet = found["resnet18, batch 8"]
    assert resnet["minidl, ms"] == "80.0 (79.6 to 80.6)"
    assert resnet["PyTorch, ms"] == "100 (100 to 100) channels_last"
    assert resnet["**ratio**"] == "**0.80** (0.80 to 0.81)"
    assert resnet["to folded"].startswith("1.60")
    assert resnet["NumPy's own kernels"].startswith("1.60")
    assert resnet["im2col"].startswith("1.00")
    assert resnet["GFLOP/s"] == "25.0"
    assert resnet["of ceiling"] == "6%"
    assert (resnet["memory, MB"], resnet["× PyTorch's"]) == ("150", "0.75")
    assert "to compiled" not in resnet, "nothing was measured for this column"
    assert found["vgg16, batch 8"]["to folded"] == ""
    assert list(lines_of(tables.networks(MEASURED, "training"))) == ["resnet18, batch 8"]


def test_one_convolution_in_every_engine():
    found = lines_of(tables.everyone(MEASURED, "conv/64@56"))
    assert list(found) == ["minidl", "PyTorch, NCHW", "DeZero"]
    assert found["DeZero"]["with backward, ms"] == "270 (270 to 270)"
    assert found["DeZero"]["× minidl's time"].startswith("9.00")
    assert tables.everyone(MEASURED, "conv/tiny") == ""


def test_multiply_adds_beside_time():
    found = lines_of(tables.lessons(MEASURED))
    ((name, pair),) = found.items()
    assert "1x7-7x1" in name and "Inception-v3" in name
    assert pair["multiply-adds ÷"] == "3.50"
    assert pair["minidl's time ÷"] == "1.50"
    assert pair["PyTorch's time ÷"] == "2.25"


def test_pooling_is_measured_against_copies():
    pooling = lines_of(tables.memory_bound(MEASURED))["3x3@112/forward"]
    assert (pooling["GB/s"], pooling["of ceiling"]) == ("10.0", "25%")


def test_end_to_end():
    found = lines_of(tables.endtoend(MEASURED))
    assert found["minidl"]["start, ms"].startswith("100 (")
    assert found["minidl"]["add, µs"].startswith("2.00 (")
    assert found["MyGrad"]["start, ms"] == ""


def test_what_was_not_measured_has_its_reason():
    refused = case(
        {"minidl": {"refused": "y: off by 1"}, "torch/nchw": {"failed": "it ended"}, "mygrad": {"skipped": "no"}}
    )
    found = tables.not_measured(file(conv_a_forward=refused, conv_b_forward=refused))
    assert found.splitlines() == [
        "- minidl, refused: y: off by 1 (2 cases)",
        "- PyTorch, NCHW, failed: it ended (2 cases)",
    ]
    assert tables.not_measured(MEASURED) == (
        "- ONNX Runtime, skipped: onnx not installed: pip install (`network/resnet18/inference`)"
    )


def test_the_circumstances():
    text = report.section(PATH, MEASURED)
    for fact in ("measured 2025-01-02 at 0123456789ab", "400 GFLOP/s", "40.0 GB/s", "torch 1.0", "Haswell"):
        assert fact in text
    assert "[`fast-one-2-cores.json`](results/fast-one-2-cores.json)" in text


def test_a_file_with_few_cases_has_few_sections():
    text = report.section(PATH, file(start_import=MEASURED["cases"]["start/import"]))
    assert re.findall(r"^#### (.*)$", text, re.MULTILINE) == [
        "Where PyTorch is faster",
        "From end to end, and before any arithmetic",
        "Where other engines are faster",
    ]


# ----------------------------------------------------------------------------------------------- where the time goes


def layer(name, kind, forward, backward, macs=0):
    forward, backward = (
        {"seconds": t, "macs": n, "moved": 0, "limit": 0.0} for t, n in ((forward, macs), (backward, 2 * macs))
    )
    return {"name": name, "kind": kind, "output_shape": [1], "forward": forward, "backward": backward}


PROFILE = {
    "network": "net",
    "input_shape": [8, 32, 32, 3],
    "training": True,
    "threads": 2,
    "forward_seconds": 0.030,
    "backward_seconds": 0.070,
    "layers": [
        layer("", "Net", 0.001, 0),
        layer("stem", "Sequential", 0, 0),
        layer("stem.0", "Conv2d(3, 8, kernel_size=(3, 3))", 0.010, 0.020, macs=10**9),
        layer("stem.1", "BatchNorm2d(8)", 0.002, 0.008),
        layer("a", "Conv2d(8, 8, kernel_size=(3, 3), stride=2)", 0.004, 0.010, macs=10**9),
        layer("b", "Conv2d(8, 8, kernel_size=(1, 7))", 0.003, 0.010, macs=10**9),
        layer("c", "ReLU()", 0.0001, 0),
    ],
}


@pytest.fixture
def profiled(tmp_path):
    (tmp_path / "net-training.json").write_text(json.dumps(PROFILE), encoding="utf-8")
    return tmp_path


def test_the_time_is_accounted_for_by_kind_and_by_part(profiled):
    said, by_kind, by_part = profiles.account(profiled).split("\n\n")
    assert said.startswith("**net**, forward and backward, 8 image(s) of 32×32, 2 thread(s): 100 ms")
    assert f"results/{profiled.name}/net-training.png" in said
    kinds, parts = lines_of_shares(by_kind), lines_of_shares(by_part)
    assert kinds == {
        "Net": ("1", "1.0%"),
        "3×3 convolution": ("2", "44.0%"),
        "BatchNorm2d": ("1", "10.0%"),
        "1×7 convolution": ("1", "13.0%"),
        "Python, sums of gradients, memory": ("", "31.9%"),
    }
    assert parts == {
        "between layers": ("1", "1.0%"),
        "stem": ("2", "40.0%"),
        "a": ("1", "14.0%"),
        "b": ("1", "13.0%"),
        "Python, sums of gradients, memory": ("", "31.9%"),
    }
    assert "| 3×3 convolution | 2 | 14.0 | 286 | 30.0 | 267 | 44.0% |" in by_kind


def lines_of_shares(table):
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    return {line[0]: (line[1], line[-1]) for line in cells}


def test_the_account_of_a_machine_stands_beside_its_results(profiled):
    path = profiled.with_suffix(".json")
    assert "#### Where minidl's time goes\n\n**net**" in report.section(path, MEASURED)
    assert "Where minidl's time goes" not in report.section(profiled / "another.json", MEASURED)
