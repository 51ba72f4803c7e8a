"""`minidl demo`: the four families, each proven, trained and looked at, in one go.

For each family: its blocks are compared with finite differences, its small network learns the handwritten digits, and
what came of it is measured on images it has not seen. RepVGG is then fused to its plain form and compared with itself.
"""

from __future__ import annotations

import dataclasses
import json
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import models
from minidl import checks
from minidl.autograd import no_grad
from minidl.backend import manual_seed
from minidl.data import ArrayDataset, DataLoader
from minidl.evaluation import evaluate
from minidl.inspection import plots
from minidl.inspection.gradients import gradient_norms
from minidl.recipe import Recipe, load_data, make_trainer
from minidl.tensor import Tensor
from models.repvgg import RepVGG

FAMILIES = {"VGG": "vgg_small", "Inception": "inception_small", "RepVGG": "repvgg_small", "ResNet": "resnet_small"}


def run(families: Sequence[str], recipe: Recipe, directory: Path, resume: bool) -> dict[str, Any]:
    """Run the demo and write its files. Returns what `summary.json` holds.

    directory   receives learning_curves.png, confusion.png, gradient_norms.png, summary.json, and a folder of
                checkpoints for each family
    resume      go on from the checkpoints that are there, instead of beginning anew
    """
    plots.require_matplotlib()  # before minutes of training, not after
    directory.mkdir(parents=True, exist_ok=True)
    if not resume:  # an earlier demo's checkpoints must not be taken for this one's, if this one is interrupted
        for family in families:
            (directory / FAMILIES[family] / "last.npz").unlink(missing_ok=True)
    summary: dict[str, Any] = {"recipe": dataclasses.asdict(recipe), "families": {}}
    curves, confusions, norms = {}, {}, {}
    for family in families:
        name = FAMILIES[family]
        print(f"\n{family}")
        worst = check_blocks(family)
        manual_seed(recipe.seed)
        data = load_data("digits")
        model = models.create(name)
        trainer = make_trainer(model, data, recipe, directory / name)
        first_batch = data[0].images[:256], data[0].labels[:256]
        before = gradient_norms(model, *first_batch)
        if resume and (directory / name / "last.npz").exists():
            print(f"  resumed after epoch {trainer.resume()}")
        trainer.fit(recipe.epochs)
        result = evaluate(model, DataLoader(data[1], 256), recipe.device)
        wrong = round((1 - result.accuracy) * len(data[1]))
        print(f"  test accuracy {result.accuracy:.2%} ({wrong} of {len(data[1])} wrong)")
        summary["families"][family] = {
            "model": name,
            "parameters": sum(p.size for p in model.parameters()),
            "gradcheck_worst_relative_error": worst,
            "test_accuracy": result.accuracy,
        }
        if isinstance(model, RepVGG):
            summary["families"][family] |= compare_fused(model, data[1])
        curves[family] = trainer.history.state_dict()
        confusions[family] = result.confusion
        norms[family] = {"before training": before, "after": gradient_norms(model, *first_batch)}

    objective = (
        f"cross-entropy with label smoothing {recipe.label_smoothing}; "
        "in the training curve, auxiliary heads (Inception) add to it"
    )
    plots.learning_curves(curves, directory / "learning_curves.png", objective)
    plots.confusion_matrices(confusions, directory / "confusion.png")
    plots.gradient_norms(norms, directory / "gradient_norms.png")
    (directory / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    print(f"\n{table(summary)}\n\nPictures, checkpoints and summary.json are in {directory}/")
    return summary


def check_blocks(family: str) -> float:
    """Compare the gradients of the family's blocks with differences; the largest relative error, also printed."""
    worst = 0.0
    for block in checks.blocks(family):
        first, second = checks.run(block)
        derivatives, error = first.compared + second.compared, max(first.worst_relative, second.worst_relative)
        print(f"  {block:17} {derivatives:4} first and second derivatives agree with differences to {error:.0e}")
        worst = max(worst, error)
    return worst


def compare_fused(model: RepVGG, test: ArrayDataset, rounds: int = 30) -> dict[str, float]:
    """Fuse a trained RepVGG to its plain form; compare outputs, and the time they take, in turn."""
    model.eval()
    plain = model.fuse()
    images = Tensor(test.images, device=next(model.parameters()).device)
    seconds: dict[str, list[float]] = {"branches": [], "plain": []}
    with no_grad():
        difference = float(abs(model(images).numpy() - plain(images).numpy()).max())
        for _ in range(rounds):
            for form, network in (("branches", model), ("plain", plain)):
                start = time.perf_counter()
                network(images).numpy()
                seconds[form].append(time.perf_counter() - start)
    speed_up = statistics.median(seconds["branches"]) / statistics.median(seconds["plain"])
    print(
        f"  fused to plain 3×3 convolutions: outputs differ by {difference:.1e} at most, {speed_up:.2f} times as fast"
    )
    return {"fused_largest_difference": difference, "fused_speed_up": speed_up}


def table(summary: dict[str, Any]) -> str:
    """The families side by side."""
    lines = [f"{'':10}{'parameters':>12}{'gradients off by':>18}{'test accuracy':>15}"]
    for family, result in summary["families"].items():
        lines.append(
            f"{family:10}{result['parameters']:>12,}{result['gradcheck_worst_relative_error']:>18.0e}"
            f"{result['test_accuracy']:>15.2%}"
        )
    return "\n".join(lines)
