"""Pictures: they show the numbers they were given, say what these are, and no text lies on other text."""

import itertools
import sys
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from minidl.backend import CPU
from minidl.inspection import plots
from minidl.inspection.ceilings import Ceilings
from minidl.inspection.profile import Profile
from minidl.inspection.timings import Timing, Work


@pytest.fixture
def drawn(monkeypatch):
    """The figures that plots made, in order."""
    figures = []
    make = plots._figure
    monkeypatch.setattr(
        plots, "_figure", lambda *args, **options: figures.append(make(*args, **options)) or figures[-1]
    )
    return figures


def history(epochs, final=0.99):
    accuracy = np.linspace(0.3, final, epochs) if epochs > 1 else np.array([final])
    return {
        "train_accuracy": accuracy - 0.01,
        "test_accuracy": accuracy,
        "train_loss": 2.5 - 2 * accuracy,
        "test_loss": 2.4 - 2 * accuracy,
    }


def norms(layers, size):
    return {f"layer{i}.weight": size * (1 + i % 3) for i in range(layers)}


def confusion(K, errors):
    matrix = np.diag(np.full(K, 36))
    for (row, column), count in errors.items():
        matrix[row, column] = count
    return matrix


def measured(layers, training=True):
    """A profile of so many layers, some without multiply-adds, some with layers inside."""
    timings = [Timing("", "Net", (10,), Work(2e-5, 0, 10**4, 1e-6), Work())]
    for i in range(layers):
        macs = 10 ** (5 + i % 4) if i % 3 else 0
        forward = Work(1e-3 * (1 + i % 5), macs, 10**5, 4e-4)
        timings.append(Timing(f"stage{i // 4}.layer{i}", "Conv2d", (4, 4, 8), forward, forward if training else Work()))
        if i % 4 == 0:
            timings.insert(-1, Timing(f"stage{i // 4}", "Stage", (4, 4, 8), Work(1e-4, 0, 10**5, 1e-5), Work()))
    forward, backward = (sum((getattr(t, name).seconds for t in timings), 1e-3) for name in ("forward", "backward"))
    ceilings = Ceilings(4e11, 4e10)
    backward *= training
    return Profile("Net", (8, 224, 224, 3), training, CPU, 2, ceilings, timings, forward, backward)


NAMES = ("VGG", "Inception", "RepVGG", "ResNet")
FOUR = {
    "learning_curves": {name: history(20) for name in NAMES},
    "confusion_matrices": {name: confusion(10, {(3, 5): 4, (9, 0): 12, (8, 1): 1}) for name in NAMES},
    "gradient_norms": {
        name: {"before training": norms(7 * n, 0.5), "after": norms(7 * n, 0.02)} for n, name in enumerate(NAMES, 1)
    },
}
FOUR["roofline"] = measured(40)
ONE = {
    "roofline": measured(1, training=False),
    "learning_curves": {"VGG": history(1, final=0.4)},
    "confusion_matrices": {"VGG": confusion(10, {})},
    "gradient_norms": {"VGG": {"before training": norms(1, 0.5)}},
}


def texts(axis):
    return axis.get_title(), axis.get_xlabel(), axis.get_ylabel()


@pytest.mark.parametrize("what", [FOUR, ONE], ids=["four networks", "one network, one epoch"])
@pytest.mark.parametrize("kind", FOUR)
def test_the_file_is_a_picture_and_no_text_lies_on_another(tmp_path, drawn, kind, what):
    getattr(plots, kind)(what[kind], tmp_path / "picture.png")
    pixels = matplotlib.image.imread(tmp_path / "picture.png")
    (figure,) = drawn
    assert pixels.shape[:2] == tuple(round(size * figure.dpi) for size in reversed(figure.get_size_inches()))
    boxes = {text: text.get_window_extent() for text in shown_texts(figure)}
    assert len(boxes) > 5
    for (a, box_a), (b, box_b) in itertools.combinations(boxes.items(), 2):
        assert not box_a.padded(-1).overlaps(box_b.padded(-1)), f"{a} lies on {b}"
    for text, box in boxes.items():
        assert min(box.x0, box.y0) >= 0, f"{text} is cut off"
        assert (box.x1 <= pixels.shape[1]) & (box.y1 <= pixels.shape[0]), f"{text} is cut off"


def shown_texts(figure):
    """All texts that are drawn. matplotlib keeps more: the labels of ticks beyond the ends of an axis."""
    texts = figure.findobj(lambda artist: artist is figure._supxlabel)
    for axis in figure.axes:
        if axis.get_visible():
            texts += [axis.title, axis.xaxis.label, axis.yaxis.label, *axis.texts]
            texts += axis.get_legend().get_texts() if axis.get_legend() else []
            for labels, coordinate, limits in (
                (axis.get_xticklabels(which="both"), 0, sorted(axis.get_xlim())),
                (axis.get_yticklabels(which="both"), 1, sorted(axis.get_ylim())),
            ):
                texts += [label for label in labels if limits[0] <= label.get_position()[coordinate] <= limits[1]]
    return [text for text in texts if text.get_visible() and text.get_text()]


# -------------------------------------------------------------------------------------------------- learning curves


def test_learning_curves_show_the_history(tmp_path, drawn):
    histories = {"A": history(5), "B": history(3)}
    plots.learning_curves(histories, tmp_path / "x.png", "cross-entropy and so on")
    axes = np.array(drawn[0].axes).reshape(2, 2)
    for column, (name, expected) in enumerate(histories.items()):
        assert axes[0, column].get_title() == name
        assert axes[1, column].get_xlabel() == "epoch"
        for row, quantity, scale in ((0, "accuracy", 100), (1, "loss", 1)):
            lines = {line.get_label(): line for line in axes[row, column].get_lines()}
            assert list(lines) == ["train", "test"]
            for split, line in lines.items():
                np.testing.assert_allclose(line.get_ydata(), scale * expected[f"{split}_{quantity}"])
                np.testing.assert_array_equal(line.get_xdata(), np.arange(1, len(expected["test_loss"]) + 1))
            assert lines["train"].get_linestyle() != lines["test"].get_linestyle(), "told apart by colour alone"
    assert axes[1, 0].get_yscale() == "log"
    assert [entry.get_text() for entry in axes[0, 0].get_legend().get_texts()] == ["train", "test"]
    assert axes[0, 0].get_ylabel() == "accuracy, %"
    assert axes[1, 0].get_ylabel() == "training objective"
    assert drawn[0].get_supxlabel() == "training objective: cross-entropy and so on"


@pytest.mark.parametrize("final", [0.99, 0.5, 0.02])
def test_the_end_of_training_is_never_outside_the_picture(tmp_path, drawn, final):
    plots.learning_curves({"A": history(4), "B": history(4, final)}, tmp_path / "x.png")
    low, high = drawn[0].axes[0].get_ylim()
    assert low < 100 * (final - 0.01) < high
    assert low <= 80
    assert high > 100


def test_epochs_are_whole_numbers(tmp_path, drawn):
    for epochs in (1, 2, 20):
        plots.learning_curves({"A": history(epochs)}, tmp_path / "x.png")
        ticks = drawn[-1].axes[1].get_xticks()
        np.testing.assert_array_equal(ticks, np.round(ticks))


# ------------------------------------------------------------------------------------------------ confusion matrices


def test_confusion_matrices_show_every_count(tmp_path, drawn):
    matrices = {"A": confusion(4, {(0, 1): 7, (3, 2): 1}), "B": confusion(4, {}), "C": confusion(3, {(2, 0): 5})}
    plots.confusion_matrices(matrices, tmp_path / "x.png")
    *axes, empty = drawn[0].axes
    assert not empty.get_visible(), "the fourth place has no network"
    for axis, (name, matrix) in zip(axes, matrices.items(), strict=True):
        wrong = matrix.sum() - np.trace(matrix)
        assert texts(axis) == (f"{name}: {wrong} of {matrix.sum()} wrong", "predicted class", "true class")
        written = {text.get_position()[::-1]: int(text.get_text()) for text in axis.texts}
        assert written == {(i, j): matrix[i, j] for i, j in np.argwhere(matrix > 0)}
        (image,) = axis.get_images()
        np.testing.assert_array_equal(image.get_array(), matrix - np.diag(np.diag(matrix)))


def test_numbers_can_be_read_on_every_colour(tmp_path, drawn):
    plots.confusion_matrices({"A": confusion(5, {(0, 1): 400, (1, 0): 200, (2, 0): 1})}, tmp_path / "x.png")
    (axis,) = drawn[0].axes
    (image,) = axis.get_images()
    colours = image.to_rgba(image.get_array())
    for text in axis.texts:
        column, row = text.get_position()
        assert contrast(text.get_color(), colours[row, column]) > 4.5, f"{text} on its colour"


def contrast(foreground, background):
    """The contrast ratio of WCAG 2; 4.5 is its least for text."""
    from matplotlib.colors import to_rgb

    luminances = []
    for colour in (foreground, background):
        c = np.array(to_rgb(colour))
        linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
        luminances.append(linear @ (0.2126, 0.7152, 0.0722) + 0.05)
    return max(luminances) / min(luminances)


# ---------------------------------------------------------------------------------------------------- gradient norms


def test_gradient_norms_show_every_layer(tmp_path, drawn):
    measured = {
        "A": {"before training": norms(5, 1.0), "after": norms(5, 0.1)},
        "B": {"before training": norms(2, 3.0)},
    }
    plots.gradient_norms(measured, tmp_path / "x.png")
    for axis, (name, moments) in zip(drawn[0].axes, measured.items(), strict=True):
        assert axis.get_title() == name
        assert axis.get_yscale() == "log"
        lines = {line.get_label(): line for line in axis.get_lines()}
        assert list(lines) == list(moments)
        for moment, by_layer in moments.items():
            assert list(lines[moment].get_ydata()) == list(by_layer.values())
    before, after = drawn[0].axes[0].get_lines()
    assert before.get_linestyle() != after.get_linestyle(), "told apart by colour alone"
    assert drawn[0].axes[0].get_ylabel() == "‖∂L/∂W‖"


# ---------------------------------------------------------------------------------------------------------- roofline


@pytest.mark.parametrize("training", [True, False])
def test_the_roofline_shows_each_pass_of_each_layer_that_multiplies(tmp_path, drawn, training):
    profile = measured(8, training)
    plots.roofline(profile, tmp_path / "x.png")
    roof, _ = drawn[0].axes
    (line,) = roof.get_lines()
    (x0, x1, x2), (y0, y1, y2) = line.get_data()
    assert (x1, y1, y2) == (10.0, 400.0, 400.0)
    assert y0 == pytest.approx(40 * x0)
    assert x2 > x1
    passes = {points.get_label(): points for points in roof.collections}
    assert list(passes) == (["forward", "backward"] if training else ["forward"])
    for name, points in passes.items():
        works = [getattr(t, name) for t in profile.layers if getattr(t, name).macs]
        expected = [(2 * work.macs / work.moved, 2 * work.macs / work.seconds / 1e9) for work in works]
        np.testing.assert_allclose(points.get_offsets(), expected)
        assert x0 < min(points.get_offsets()[:, 0])
        assert x2 > max(points.get_offsets()[:, 0])
        assert list(np.argsort(points.get_sizes(), kind="stable")) == list(
            np.argsort([work.seconds for work in works], kind="stable")
        )
    assert (roof.get_xscale(), roof.get_yscale()) == ("log", "log")
    assert roof.get_title() == f"Net, {'training' if training else 'inference'}, 8 × 224×224×3, cpu"
    if training:
        forms = [len(points.get_paths()[0].vertices) for points in passes.values()]
        assert forms[0] != forms[1], "told apart by colour alone"


@pytest.mark.parametrize("depth", [1, 2, None])
def test_the_bars_make_up_the_whole_time(tmp_path, drawn, depth):
    profile = measured(8)
    plots.roofline(profile, tmp_path / "x.png", depth)
    _, axis = drawn[0].axes
    assert sum(bar.get_width() for bar in axis.patches) == pytest.approx(1e3 * profile.seconds)
    names = [label.get_text() for label in axis.get_yticklabels()]
    stages = ["stage0", "stage1"] if depth == 1 else [t.name for t in profile.layers if t.name]
    assert names == [*stages, "between layers", "outside any layer"]
    first = stages.index("stage1")
    forward, backward = (axis.containers[i][first] for i in (0, 1))
    shown = profile["stage1"] if depth == 1 else next(t for t in profile.layers if t.name == "stage1")
    assert forward.get_width() == pytest.approx(1e3 * shown.forward.seconds)
    assert backward.get_x() == pytest.approx(1e3 * shown.forward.seconds)
    places = axis.get_ylim()
    assert places[0] > places[1], "the first layer is at the top"


def test_a_line_across_each_bar_is_at_the_roofline(tmp_path, drawn):
    profile = measured(3)
    plots.roofline(profile, tmp_path / "x.png")
    lines = drawn[0].axes[1].collections
    places = [segment[0, 0] for segment in lines[0].get_segments()]
    rows = [t for t in (*profile.layers[1:], profile.rest[0]) if t.forward.limit]
    assert places == pytest.approx([1e3 * t.forward.limit for t in rows])
    places = [segment[0, 0] for segment in lines[1].get_segments()]
    rows = [t for t in profile.layers[1:] if t.backward.limit]
    assert places == pytest.approx([1e3 * (t.forward.seconds + t.backward.limit) for t in rows])


# -------------------------------------------------------------------------------------------------------- matplotlib


def test_without_matplotlib_the_command_that_installs_it_is_given(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    for attempt in (plots.require_matplotlib, lambda: plots.learning_curves({"A": history(2)}, tmp_path / "x.png")):
        with pytest.raises(ModuleNotFoundError, match=r'pip install "minidl\[show\]"'):
            attempt()
    assert not (tmp_path / "x.png").exists()


def test_pyplot_is_not_touched():
    """Figures are made without pyplot: no window system, and no list of open figures that grows."""
    assert "pyplot" not in plots.__dict__
    assert "pyplot" not in Path(plots.__file__).read_text()
