"""The figures in models/README.md are those that the networks have."""

import ast
import re
from pathlib import Path

import pytest

import models
from minidl import nn
from minidl.inspection.summary import summary
from models.published import forms

ROOT = Path(__file__).parents[1]
README = (ROOT / "models" / "README.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `(\w+)((?:, \w+=[^,`]+)*)` \| (.*?) ?\| (\d+×\d+×\d) \| ([\d,]+) \| ([\d,]+) \|$", re.MULTILINE)


def rows():
    """(name, options, source, image, parameters, multiply-adds) of each row of the table of figures."""
    for name, options, source, image, parameters, macs in ROW.findall(README):
        pairs = (option.split("=") for option in options.split(", ")[1:])
        shape = tuple(map(int, image.split("×")))
        yield (
            name,
            {key: ast.literal_eval(value) for key, value in pairs},
            source,
            shape,
            int(parameters.replace(",", "")),
            int(macs.replace(",", "")),
        )


def test_the_published_forms_are_there_as_published():
    shown = [row for row in rows() if row[2]]
    assert shown == [
        (form.network, form.options, form.source, form.input, form.parameters, form.macs)
        for name in models.names()
        for form in forms()
        if form.network == name
    ]


@pytest.mark.parametrize("row", [row for row in rows() if not row[2]], ids=lambda row: row[0])
def test_figures_that_only_minidl_has(row):
    name, options, _, shape, parameters, macs = row
    with nn.init.placeholders():
        model = models.create(name, **options)
    counted = summary(model, shape)
    assert (counted.parameters, counted.macs) == (parameters, macs)


def test_every_network_is_there():
    assert {row[0] for row in rows()} == set(models.names())
    for name in models.names():
        assert f"`{name}`" in README
    assert f"print(len(models.names()))  # {len(models.names())}" in README
    assert f"# one of {len(models.names())} networks" in (ROOT / "README.md").read_text(encoding="utf-8")
