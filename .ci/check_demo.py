"""The demo's files are there and say what they should: `python .ci/check_demo.py DIRECTORY [LEAST_ACCURACY]`."""

import json
import sys
from pathlib import Path

from minidl import checkpoint

directory = Path(sys.argv[1])
least_accuracy = float(sys.argv[2]) if len(sys.argv) > 2 else 0.97
summary = json.loads((directory / "summary.json").read_text())
assert list(summary["families"]) == ["VGG", "Inception", "RepVGG", "ResNet"], list(summary["families"])
for family, result in summary["families"].items():
    assert result["test_accuracy"] >= least_accuracy, (family, result)
    assert result["gradcheck_worst_relative_error"] < 1e-5, (family, result)
    for name in ("best.npz", "last.npz"):
        checkpoint.load(directory / result["model"] / name)
assert summary["families"]["RepVGG"]["fused_largest_difference"] < 1e-4, summary["families"]["RepVGG"]
for name in ("learning_curves.png", "confusion.png", "gradient_norms.png"):
    assert (directory / name).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n", name
print("the demo's accuracies and files are as promised")
