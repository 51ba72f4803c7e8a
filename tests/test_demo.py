"""`minidl demo`: its files are there, its summary is true, and an interrupted demo ends as one that was not."""

import json

import matplotlib.image
import numpy as np
import pytest

import models
from minidl import checkpoint, checks, cli, demo, progress
from minidl.data import ArrayDataset, DataLoader, digits
from minidl.inspection import plots
from minidl.recipe import Recipe, load_data
from minidl.tensor import Tensor
from minidl.train import evaluate

PICTURES = ("learning_curves.png", "confusion.png", "gradient_norms.png")


def run(directory, *arguments):
    """The exit status of the command."""
    return cli.main(["demo", "--output", str(directory), *arguments])


def summary_of(directory):
    return json.loads((directory / "summary.json").read_text())


def without_timings(summary):
    summary["families"].get("RepVGG", {}).pop("fused_speed_up", None)
    return summary


@pytest.fixture
def blocks_checked(monkeypatch):
    """A demo of a second: fewer images, and no gradients checked. Here is for which families they would have been."""
    asked = []
    monkeypatch.setattr(demo, "check_blocks", lambda family: asked.append(family) or 1e-10)
    few = [ArrayDataset(part.images[:200], part.labels[:200], part.transform) for part in load_data("digits")]
    monkeypatch.setattr(demo, "load_data", lambda name: few)
    return asked


# ---------------------------------------------------------------------------------------------------- one whole demo


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a demo of one epoch, of all families."""
    directory = tmp_path_factory.mktemp("demo") / "new" / "folder"
    assert run(directory, "--epochs", "1", "--seed", "3") == 0
    return directory


@pytest.mark.slow
def test_all_files_are_there_and_no_other(whole):
    expected = {*PICTURES, "summary.json"}
    expected |= {f"{name}/{kind}.npz" for name in demo.FAMILIES.values() for kind in ("last", "best")}
    assert {str(path.relative_to(whole)) for path in whole.rglob("*") if path.is_file()} == expected


@pytest.mark.slow
@pytest.mark.parametrize("name", PICTURES)
def test_pictures_can_be_decoded_and_are_not_blank(whole, name):
    pixels = matplotlib.image.imread(whole / name)
    height, width = pixels.shape[:2]
    assert 300 < height < 2000
    assert 800 < width < 2500
    assert pixels[..., :3].std() > 0.05


@pytest.mark.slow
def test_the_summary_is_what_the_checkpoints_give(whole):
    summary = summary_of(whole)
    assert list(summary["families"]) == list(demo.FAMILIES)
    assert summary["recipe"] == vars(Recipe(epochs=1, seed=3))
    for family, result in summary["families"].items():
        model = models.create(demo.FAMILIES[family])
        model.load_state_dict(checkpoint.load(whole / demo.FAMILIES[family] / "last.npz")["model"])
        assert result["model"] == demo.FAMILIES[family]
        assert result["parameters"] == sum(p.size for p in model.parameters())
        assert result["test_accuracy"] == evaluate(model, DataLoader(digits("test"), 256)).accuracy
        assert result["test_accuracy"] > 0.3, "an epoch is enough to be far from chance"
        assert 0 < result["gradcheck_worst_relative_error"] < 1e-7


@pytest.mark.slow
def test_the_fused_network_computes_the_same(whole):
    result = summary_of(whole)["families"]["RepVGG"]
    model = models.create("repvgg_small")
    model.load_state_dict(checkpoint.load(whole / "repvgg_small" / "last.npz")["model"])
    images = Tensor(digits("test").images)
    difference = abs(model.eval()(images).numpy() - models.to_deploy(model)(images).numpy()).max()
    assert result["fused_largest_difference"] == pytest.approx(difference, rel=1)  # rounding is not quite repeatable
    assert result["fused_largest_difference"] < 1e-4
    assert result["fused_speed_up"] > 0


# ---------------------------------------------------------------------------------------------------- in small pieces


def interrupt_at(monkeypatch, call):
    """Ctrl-C at the given call of `Lines.end`, the end of an epoch, from 1. The original comes back after it."""
    calls = iter(range(1, 1000))
    original = progress.Lines.end

    def interrupted(self, line):
        if next(calls) == call:
            monkeypatch.setattr(progress.Lines, "end", original)
            raise KeyboardInterrupt
        original(self, line)

    monkeypatch.setattr(progress.Lines, "end", interrupted)


TWO = ["--family", "ResNet", "--family", "RepVGG", "--epochs", "2"]


def test_a_resumed_demo_ends_as_an_uninterrupted_one(tmp_path, monkeypatch, capsys, blocks_checked):
    assert run(tmp_path / "whole", *TWO) == 0
    interrupt_at(monkeypatch, 3)  # the first epoch of the second family
    assert run(tmp_path / "resumed", *TWO) == 130
    assert capsys.readouterr().err.endswith(
        f"to go on:  minidl demo --output {tmp_path}/resumed {' '.join(TWO)} --resume\n"
    )
    assert not (tmp_path / "resumed" / "summary.json").exists()
    assert run(tmp_path / "resumed", *TWO, "--resume") == 0
    out = capsys.readouterr().out
    assert "resumed after epoch 2" in out
    assert "resumed after epoch 1" in out
    whole, resumed = (without_timings(summary_of(tmp_path / name)) for name in ("whole", "resumed"))
    assert resumed == whole
    assert list(whole["families"]) == ["ResNet", "RepVGG"]
    assert blocks_checked == ["ResNet", "RepVGG"] * 3
    for name in PICTURES:  # the curves of before the interruption are in them
        pictures = [matplotlib.image.imread(tmp_path / folder / name) for folder in ("whole", "resumed")]
        np.testing.assert_array_equal(*pictures)


def test_a_new_demo_does_not_go_on_with_an_old_ones_checkpoints(tmp_path, monkeypatch, capsys, blocks_checked):
    one = ["--family", "ResNet", "--epochs", "1"]
    assert run(tmp_path, *one) == 0
    monkeypatch.setattr(progress.Lines, "begin", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    assert run(tmp_path, *one) == 130
    assert "--resume" not in capsys.readouterr().err, "nothing of this demo was saved"
    assert not (tmp_path / "resnet_small" / "last.npz").exists()


def test_a_demo_is_not_resumed_with_another_seed(tmp_path, capsys, blocks_checked):
    one = ["--family", "ResNet", "--epochs", "1"]
    assert run(tmp_path, *one) == 0
    before = summary_of(tmp_path)
    assert run(tmp_path, *one, "--resume", "--seed", "1") == 2
    assert "seed=0" in capsys.readouterr().err
    assert summary_of(tmp_path) == before


def test_without_matplotlib_it_is_said_before_anything_is_done(tmp_path, monkeypatch, capsys, blocks_checked):
    def require_matplotlib():
        raise ModuleNotFoundError("pictures need matplotlib")

    monkeypatch.setattr(plots, "require_matplotlib", require_matplotlib)
    assert run(tmp_path / "new") == 2
    assert capsys.readouterr() == ("", "minidl demo: pictures need matplotlib\n")
    assert not (tmp_path / "new").exists()
    assert blocks_checked == []


def test_the_worst_of_a_familys_blocks_is_reported(monkeypatch, capsys):
    errors = {"BasicBlock": (1e-9, 3e-9), "Bottleneck": (7e-9, 2e-9), "PreActBlock": (0, 0), "PreActBottleneck": (0, 0)}
    asked = []

    def run_check(name):
        asked.append(name)
        return [checks.GradcheckReport(compared=5, worst_absolute=1.0, worst_relative=e) for e in errors[name]]

    monkeypatch.setattr(checks, "run", run_check)
    assert demo.check_blocks("ResNet") == 7e-9
    assert asked == list(errors) == list(checks.blocks("ResNet"))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == asked
    assert lines[1].endswith("10 first and second derivatives agree with differences to 7e-09")


def test_every_family_has_blocks_and_a_network():
    assert list(demo.FAMILIES) == list(checks.BLOCKS)
    assert sorted(demo.FAMILIES.values()) == sorted(models.SMALL)


def test_the_table_has_a_line_for_each_family():
    result = {"parameters": 1234567, "gradcheck_worst_relative_error": 2e-10, "test_accuracy": 0.98765}
    lines = demo.table({"VGG": result, "Inception": result}).splitlines()
    assert [line.split() for line in lines[1:]] == [
        ["VGG", "1,234,567", "2e-10", "98.77%"],
        ["Inception", "1,234,567", "2e-10", "98.77%"],
    ]
    assert len({len(line) for line in lines}) == 1
