"""What is written down, what is read out of it, and when a difference is more than noise."""

import copy
import json

import numpy as np
import pytest
from benchmark_fakes import case, file, row

from benchmarks import comparison, figures, results
from benchmarks.reading import EAGER, OTHERS, PYTORCH, losses, readings
from benchmarks.results import ResultsError

FILE = file(
    conv_one_forward=case({"minidl": row(0.2, 0.3, 0.1), "torch/nchw": {"skipped": "torch not installed"}}),
    conv_two_forward=case({"minidl": {"refused": "y: off"}, "torch/nchw": {"failed": "it ended"}}),
)


# -------------------------------------------------------------------------------------------------------------- files


def test_what_is_written_is_read(tmp_path):
    results.write(tmp_path / "new" / "here.json", FILE)
    assert results.read(tmp_path / "new" / "here.json") == FILE
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["here.json"]


def changed(*path_and_value):
    *path, last, value = path_and_value
    found = copy.deepcopy(FILE)
    place = found
    for name in path:
        place = place[name]
    if value is KeyError:
        del place[last]
    else:
        place[last] = value
    return found


ONE = ("cases", "conv/one/forward")
ROW = (*ONE, "rows", "minidl")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ([], r"file: expected an object, got \[\]"),
        (changed("schema", 2), "schema: expected 1, got 2; measure again"),
        (changed("schema", KeyError), r"file: missing \['schema'\], unknown \[\]"),
        (changed("machine", "cores", "two"), "machine.cores: expected an integer, 0 or more, got 'two'"),
        (changed("machine", "cores", True), "machine.cores: expected an integer, 0 or more, got True"),
        (changed("machine", "gpu", 1), "machine.gpu: expected a string, got 1"),
        (changed("ceilings", "2", "flops", -1.0), "ceilings.2.flops: expected a number, 0 or more, got -1.0"),
        (changed("ceilings", "2", "flops", float("inf")), "ceilings.2.flops: expected a number, 0 or more, got inf"),
        (changed(*ONE, "shape", [1, None]), r"cases.conv/one/forward.shape\[1\]: expected an integer, .* got None"),
        (changed(*ONE, "macs", 1.5), "cases.conv/one/forward.macs: expected an integer, 0 or more, got 1.5"),
        (changed(*ONE, "commit", KeyError), r"cases.conv/one/forward: missing \['commit'\], unknown \[\]"),
        (changed(*ONE, "more", 1), r"cases.conv/one/forward: missing \[\], unknown \['more'\]"),
        (changed(*ROW, "seconds", 0.1), r"rows.minidl.seconds: expected a list, got 0.1"),
        (changed(*ROW, "seconds", [0.1, 0.0]), "rows.minidl.seconds: expected samples above 0"),
        (changed(*ROW, "seconds", [0.1, float("nan")]), r"rows.minidl.seconds\[1\]: expected a number, 0 or more"),
        (changed(*ROW, "blas", 3), "rows.minidl.blas: expected a string, got 3"),
        (changed(*ROW, "environment", {"A": 1}), "rows.minidl.environment.A: expected a string, got 1"),
        (changed(*ONE, "rows", "minidl", {"because": "it rained"}), r"rows.minidl: missing \['baseline_bytes', .*'\]"),
        (changed(*ONE, "rows", "minidl", {"skipped": None}), "rows.minidl.skipped: expected a string, got None"),
        (changed(*ONE, "rows", "minidl", "fast"), "rows.minidl: expected an object, got 'fast'"),
    ],
)
def test_other_files_are_errors_that_say_where(tmp_path, wrong, message):
    path = tmp_path / "results.json"
    path.write_text(json.dumps(wrong))
    with pytest.raises(ResultsError, match=message) as caught:
        results.read(path)
    assert str(path) in str(caught.value)
    if isinstance(wrong, dict) and wrong.get("schema") == 1:
        before = path.read_text()
        with pytest.raises(ResultsError):
            results.write(path, wrong)
        assert path.read_text() == before


def test_what_is_no_json_is_an_error_too(tmp_path):
    path = tmp_path / "results.json"
    path.write_text("{")
    with pytest.raises(ResultsError, match="results.json: not JSON"):
        results.read(path)


def test_cases_are_added_to_those_of_the_same_machine(tmp_path):
    path = tmp_path / "results.json"
    assert results.begun(path, FILE["machine"])["cases"] == {}
    results.write(path, FILE)
    assert results.begun(path, FILE["machine"]) == FILE
    with pytest.raises(ResultsError, match="expected results of this machine, .*'Other'.* choose another --output"):
        results.begun(path, {**FILE["machine"], "processor": "Other"})


def test_only_rows_with_samples_were_measured():
    assert results.measured(FILE["cases"]["conv/one/forward"]).keys() == {"minidl"}
    assert results.measured(FILE["cases"]["conv/two/forward"]) == {}


# ------------------------------------------------------------------------------------------------------------ figures


def test_a_spread_is_median_and_quartiles():
    spread = figures.spread([5.0, 1.0, 4.0, 2.0, 3.0])
    assert (spread.median, spread.lower, spread.upper, spread.n) == (3, 2, 4, 5)
    assert figures.spread([7.0]) == figures.Spread(7, 7, 7, 1)
    with pytest.raises(ValueError, match="at least one sample"):
        figures.spread([])


def test_a_ratio_is_that_of_the_medians_and_its_quartiles_those_of_the_rounds():
    """A machine that gets slower and slower: neither engine's times are steady, their ratio is."""
    theirs = [1.0, 2.0, 3.0, 4.0, 10.0]
    ratio = figures.ratio([0.5 * t for t in theirs], theirs)
    assert ratio == figures.Spread(0.5, 0.5, 0.5, 5)
    ratio = figures.ratio([1.0, 2.0, 3.0], [1.0, 1.0, 6.0])
    assert (ratio.median, ratio.lower, ratio.upper) == (2.0, 0.75, 1.5)
    with pytest.raises(ValueError, match="same rounds, got 2 and 3"):
        figures.ratio([1.0, 2.0], [1.0, 2.0, 3.0])


@pytest.mark.parametrize(
    ("value", "text"),
    [(1234.5, "1,234"), (123.45, "123"), (12.345, "12.3"), (1.2345, "1.23"), (0.012345, "0.0123"), (0, "0")],
)
def test_numbers_have_three_digits(value, text):
    assert figures.number(value) == text


def test_a_bootstrap_is_as_wide_as_the_samples_are():
    random = np.random.default_rng(0)
    steady, shaky = (1 + width * random.standard_normal(30) for width in (0.01, 0.3))
    narrow, wide = figures.bootstrap_ratio(steady, 1.1 * steady), figures.bootstrap_ratio(shaky, 1.1 * shaky)
    assert 1 < narrow[0] < 1.1 < narrow[1] < 1.12
    assert wide[0] < 1 < 1.1 < wide[1]
    assert figures.bootstrap_ratio(shaky, shaky) == figures.bootstrap_ratio(shaky, shaky)


# --------------------------------------------------------------------------------------------------------- comparison

BASE = [1.00, 1.01, 0.99, 1.02, 0.98, 1.0, 1.01]


def one(minidl, torch=None, **changes):
    rows = {"minidl": row(*minidl)} | ({} if torch is None else {"torch/nchw": row(*torch)})
    return file(conv_one_forward=case(rows, **changes))


def verdicts(before, after):
    return {change.row: change.verdict for change in comparison.changes(before, after)}


@pytest.mark.parametrize(
    ("after", "verdict"),
    [
        ([0.9 * s for s in BASE], "faster"),
        ([1.1 * s for s in BASE], "slower"),
        (BASE[::-1], "no more than noise"),
        ([1.001 * s for s in BASE], "no more than noise"),
        ([0.5, 2.0, 0.6, 1.9, 1.2, 0.7, 1.5], "no more than noise"),
    ],
)
def test_a_change_is_one_that_chance_does_not_explain(after, verdict):
    assert verdicts(one(BASE), one(after)) == {"minidl": verdict}


def test_with_pytorch_in_both_a_slower_machine_is_no_change():
    drift = [1.5, 1.6, 1.7, 1.8, 1.9, 2.0, 2.1]
    slowed = [d * s for d, s in zip(drift, BASE, strict=True)]
    found = verdicts(one(BASE, BASE), one(slowed, slowed))
    assert found == {"minidl": "no more than noise", "torch/nchw": "slower"}
    faster = verdicts(one(BASE, BASE), one([0.8 * s for s in slowed], slowed))
    assert faster["minidl"] == "faster"


def test_the_table_of_changes():
    before, after = one(BASE, BASE), one([0.5 * s for s in BASE], BASE)
    before["cases"]["conv/gone/forward"] = before["cases"]["conv/one/forward"]
    lines = comparison.table(before, after).splitlines()
    assert lines[0].startswith("conv/one/forward")
    assert "minidl" in lines[0] and "faster: ×0.500" in lines[0] and "of PyTorch, NCHW" in lines[0]
    assert lines[1] == "1 of 2 rows have changed by no more than noise"
    assert lines[2] == "in one file only: conv/gone/forward"


@pytest.mark.parametrize("key", ["threads", "shape", "device"])
def test_different_cases_are_not_compared(key):
    after = one(BASE, **{key: {"threads": 1, "shape": [1], "device": "gpu"}[key]})
    assert verdicts(one(BASE), after) == {}
    assert f"conv/one/forward: not compared, for {key} differ" in comparison.table(one(BASE), after)


def test_machines_that_differ_are_named():
    after = one(BASE)
    after["machine"] = {**after["machine"], "processor": "Another"}
    assert "the machines differ: " in comparison.table(one(BASE), after)


# ------------------------------------------------------------------------------------------------------------ reading


def reading(rows, **changes):
    return next(readings(file(conv_one_forward=case(rows, **changes))))


def test_speed_and_shares_of_the_ceilings():
    found = reading({"minidl": row(0.01)})
    assert found.flops("minidl") == 2e11  # two operations for each of 10⁹ multiply-adds in 0.01 s
    assert found.share("minidl") == 0.5  # of 400 GFLOP/s, on two threads
    assert reading({"minidl": row(0.01)}, threads=1).share("minidl") == 1.0
    assert reading({"minidl": row(0.01)}, macs=0).share("minidl") == 0.25  # 100 MB of 40 GB/s


def test_memory_is_what_comes_on_top_of_the_engine():
    assert reading({"minidl": row(1)}).memory("minidl") == 200_000_000
    assert reading({"minidl": row(1, peak_bytes=None)}).memory("minidl") is None
    assert reading({"minidl": row(1, peak_bytes=1)}).memory("minidl") == 0


def test_of_pytorchs_layouts_the_faster_counts():
    rows = {"torch/nchw": row(2.0, 3.0), "torch/channels-last": row(1.0, 2.0), "torch/nchw-folded": row(0.1, 0.1)}
    assert reading(rows).fastest(EAGER) == "torch/channels-last"
    assert reading({"torch/channels-last": {"failed": "it ended"}, "torch/nchw": row(9)}).fastest(EAGER) == "torch/nchw"
    assert reading({}).fastest(EAGER) is None


def test_losses_come_largest_first():
    found = file(
        conv_a_forward=case({"minidl": row(1.0), "torch/nchw": row(0.9), "torch/channels-last": row(0.8)}),
        conv_b_forward=case({"minidl": row(1.0), "torch/nchw": row(2.0), "torch/nchw-folded": row(0.5)}),
        conv_c_forward=case({"minidl": row(1.0), "torch/nchw": row(2.0), "onnxruntime": row(0.25)}),
        conv_d_forward=case({"torch/nchw": row(2.0)}),
    )
    lost = [(r.name, rival, ratio.median) for r, rival, ratio in losses(found, PYTORCH)]
    assert lost == [("conv/b/forward", "torch/nchw-folded", 2.0), ("conv/a/forward", "torch/channels-last", 1.25)]
    assert [(r.name, rival) for r, rival, _ in losses(found, OTHERS)] == [("conv/c/forward", "onnxruntime")]
