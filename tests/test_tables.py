"""Summaries as tables: every figure in its place, in text and with rich."""

import io
import sys

import pytest

import models
from minidl import nn
from minidl.inspection import tables
from minidl.inspection.summary import summary
from models.googlenet import AuxiliaryHead


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 8, (1, 7), padding=(0, 3)), nn.ReLU())
        self.aux = AuxiliaryHead(8, 5)
        self.fc = nn.Linear(8, 5)

    def forward(self, x):
        return self.fc(self.features(x).mean(axis=(1, 2)))


def lines(depth=None):
    with nn.init.placeholders():
        counted = summary(Net(), (16, 1200, 3))
    return str(tables.grid(counted.rows(depth), counted[""])).splitlines()


def test_the_whole_table():
    assert lines(1) == [
        "layer                                              output  parameters       MACs  activations  field  stride",
        "─" * 108,
        "features  Sequential                            16×1200×8         176  3,225,600      1.23 MB    1×7       1",
        "fc        Linear(8, 5)                                  5          45         40         40 B    all",
        "aux       AuxiliaryHead (not run in inference)              2,104,581",
        "─" * 108,
        "total     Net                                           5   2,104,802  3,225,640      1.23 MB",
    ]


def test_depth_and_indentation():
    deep = lines()
    assert [line.split("  ")[0] for line in deep[2:5]] == ["features", "", ""]
    assert deep[3].startswith("  0       Conv2d(3, 8, kernel_size=(1, 7), padding=(0, 3))")
    assert deep[4].startswith("  1       ReLU()")
    assert len(deep) == len(lines(1)) + 2
    assert lines(2) == deep  # the head that does not run is one row at any depth


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (12_345_678, "12.3 MB"), (2_500_000_000, "2.5 GB")]
)
def test_sizes(number, text):
    assert tables.size(number) == text


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_on_a_terminal_rich_shows_the_same(monkeypatch):
    pytest.importorskip("rich", reason="rich is not installed")
    monkeypatch.setenv("COLUMNS", "160")
    with nn.init.placeholders():
        counted = summary(models.create("googlenet"), (224, 224, 3))
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    tables.grid(counted.rows(1), counted[""]).show()
    shown = terminal.getvalue()
    for piece in ("inception3a", "56×56×192", "13,004,888", "1,498,376,192", "not run in inference", "MACs"):
        assert piece in shown
    assert "─" in shown


@pytest.mark.parametrize("columns", [20, 40, 60, 80, 100, 200])
def test_numbers_are_never_cut(monkeypatch, columns):
    pytest.importorskip("rich", reason="rich is not installed")
    monkeypatch.setenv("COLUMNS", str(columns))
    with nn.init.placeholders():
        counted = summary(models.create("resnet50"), (224, 224, 3))
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    tables.grid(counted.rows(1), counted[""]).show()
    shown = terminal.getvalue()
    for piece in ("maxpool", "112×112×64", "25,557,032", "4,089,184,256", "59.4 MB", "stride"):
        assert piece in shown
    assert ("Conv2d(3, 64" in shown) == (columns > 80)
    assert ("…" in shown) == (columns == 100)  # cut on 100 columns, left out on 80


def test_layers_of_layers_are_bold_and_idle_ones_dim(monkeypatch):
    pytest.importorskip("rich", reason="rich is not installed")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "xterm-256color")
    with nn.init.placeholders():
        counted = summary(Net(), (16, 1200, 3))
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    tables.grid(counted.rows(), counted[""]).show()
    bold, dim = "\x1b[1m", "\x1b[2m"
    styles = {
        name: [style for style in (bold, dim) if f"{style}{name}" in terminal.getvalue()]
        for name in ("features", "  0", "fc", "aux")
    }
    assert styles == {"features": [bold], "  0": [], "fc": [], "aux": [dim]}


def test_without_rich_or_a_terminal_plain_text(monkeypatch, capsys):
    counted = summary(models.create("resnet_small"), (8, 8, 1))
    tables.grid(counted.rows(1), counted[""]).show()
    assert capsys.readouterr().out == str(tables.grid(counted.rows(1), counted[""])) + "\n"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    tables.grid(counted.rows(1), counted[""]).show()
    assert terminal.getvalue() == str(tables.grid(counted.rows(1), counted[""])) + "\n"
