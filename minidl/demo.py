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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

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


@dataclass(frozen=True)
class Outcome:
    """What came of one family: its entry in summary.json, and what the pictures show."""

    summary: dict[str, Any]
    history: dict[str, list[float]]
    confusion: np.ndarray
    gradient_norms: dict[str, dict[str, float]]


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
    outcomes = {family: run_family(family, recipe, directory / FAMILIES[family], resume) for family in families}

    objective = (
        f"cross-entropy with label smoothing {recipe.label_smoothing}; "
        "in the training curve, auxiliary heads (Inception) add to it"
    )
    histories = {family: outcome.history for family, outcome in outcomes.items()}
    plots.learning_curves(histories, directory / "learning_curves.png", objective)
    confusions = {family: outcome.confusion for family, outcome in outcomes.items()}
    plots.confusion_matrices(confusions, directory / "confusion.png")
    norms = {family: outcome.gradient_norms for family, outcome in outcomes.items()}
    plots.gradient_norms(norms, directory / "gradient_norms.png")
    results = {family: outcome.summary for family, outcome in outcomes.items()}
    summary = {"recipe": dataclasses.asdict(recipe), "families": results}
    (directory / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    print(f"\n{table(results)}\n\nPictures, checkpoints and summary.json are in {directory}/")
    return summary


def run_family(family: str, recipe: Recipe, directory: Path, resume: bool) -> Outcome:
    """Prove the family's blocks, train its network and test it, with checkpoints in `directory`."""
    print(f"\n{family}")
    worst = check_blocks(family)
    manual_seed(recipe.seed)
    train_set, test_set = load_data("digits")
    model = models.create(FAMILIES[family])
    trainer = make_trainer(model, (train_set, test_set), recipe, directory)
    first_images = train_set.images[:256], train_set.labels[:256]
    norms = {"before training": gradient_norms(model, *first_images)}
    if resume and (directory / "last.npz").exists():
        print(f"  resumed after epoch {trainer.resume()}")
    trainer.fit(recipe.epochs)
    norms["after"] = gradient_norms(model, *first_images)
    result = evaluate(model, DataLoader(test_set, 256), recipe.device)
    wrong = round((1 - result.accuracy) * len(test_set))
    print(f"  test accuracy {result.accuracy:.2%} ({wrong} of {len(test_set)} wrong)")
    summary = {
        "model": FAMILIES[family],
        "parameters": sum(p.size for p in model.parameters()),
        "gradcheck_worst_relative_error": worst,
        "test_accuracy": result.accuracy,
    }
    if isinstance(model, RepVGG):
        summary |= compare_fused(model, test_set)
    return Outcome(summary, trainer.history.state_dict(), result.confusion, norms)


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
    plain = models.to_deploy(model)
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


def table(results: dict[str, dict[str, Any]]) -> str:
    """The families side by side."""
    lines = [f"{'':10}{'parameters':>12}{'gradients off by':>18}{'test accuracy':>15}"]
    for family, result in results.items():
        lines.append(
            f"{family:10}{result['parameters']:>12,}{result['gradcheck_worst_relative_error']:>18.0e}"
            f"{result['test_accuracy']:>15.2%}"
        )
    return "\n".join(lines)
