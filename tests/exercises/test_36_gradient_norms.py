"""Judges of exercise 36: where does the gradient fade?"""

import numpy as np
import oracle
import pytest

import minidl
from minidl import Tensor, nn
from minidl.backend import generator_state
from minidl.exercises.judging import judge, require
from minidl.inspection.gradients import gradient_norms

pytestmark = pytest.mark.exercise("gradient-norms")


def judge_norms(call, got, wanted, given=None, mistakes=None, tolerance=1e-6):
    """The names, in their order, and then the norms."""
    require(isinstance(got, dict), f"wanted a dict, got {got!r:.100} ({type(got).__name__})", call=call)
    judge(f"{call}: its names", ", ".join(got), ", ".join(wanted), given=given)
    judge(
        f"{call}: the norms of {', '.join(wanted)}",
        np.array([float(norm) for norm in got.values()]),
        np.array([float(norm) for norm in wanted.values()]),
        given=given,
        mistakes={text: np.array([float(norm) for norm in norms]) for text, norms in (mistakes or {}).items()},
        tolerance=tolerance,
    )


def wanted_norms(loss, names, weights):
    """The norms of the gradients of loss(*weights), by finite differences."""
    gradients = oracle.numeric_gradient(loss, weights, np.array(1.0))
    return {name: np.sqrt(np.sum(g**2)) for name, g in zip(names, gradients, strict=True)}


def weights_of(model, *names):
    parameters = dict(model.named_parameters())
    return [parameters[name].data.astype(np.float64) for name in names]


def test_one_layer_by_hand():
    """an image of two numbers, two classes, all weights 0: both probabilities are 1/2"""
    model = nn.Sequential(nn.Linear(2, 2, bias=False))
    model[0].weight.data = np.zeros((2, 2), np.float32)
    images, labels = np.array([[3.0, 4.0]], np.float32), np.array([0])
    judge_norms(
        "gradient_norms(nn.Sequential(nn.Linear(2, 2, bias=False)), images, labels)",
        gradient_norms(model, images, labels),
        {"0.weight": 5 / np.sqrt(2)},  # the gradient is [[−1.5, 1.5], [−2, 2]]
        given={"images": images, "labels": labels, "∂L/∂W": np.array([[-1.5, 1.5], [-2.0, 2.0]])},
        mistakes={
            "the root is missing": [12.5],
            "absolute values are added up, and not squares": [7.0],
            "the largest element is taken": [2.0],
            "the root is that of the mean, not of the sum": [5 / np.sqrt(8)],
            "the norm is taken of the weight itself": [0.0],
        },
    )


def test_matrices_and_filter_banks():
    """a convolution and a linear layer: both weights, from the input to the output, and no biases"""
    random = np.random.default_rng(36)
    minidl.manual_seed(36)
    model = nn.Sequential(nn.Conv2d(2, 3, (2, 1)), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 2 * 2, 4))
    model.to(dtype=np.float64)
    images, labels = random.standard_normal((3, 3, 2, 2)), np.array([3, 0, 1])
    bank_bias, bias = weights_of(model, "0.bias", "3.bias")

    def loss(bank, weight):
        rows = np.maximum(oracle.conv2d(images, bank, bank_bias), 0).reshape(3, 12)
        return oracle.cross_entropy(oracle.linear(rows, weight, bias), labels)

    names = ["0.weight", "3.weight"]
    judge_norms(
        "gradient_norms(model, images, labels), a model of Conv2d, ReLU, Flatten, Linear",
        gradient_norms(model, images, labels),
        wanted_norms(loss, names, weights_of(model, *names)),
    )


def test_training_mode():
    """a model in inference mode with a batch norm: it is measured in training mode, by the statistics of the batch"""
    random = np.random.default_rng(37)
    minidl.manual_seed(37)
    model = nn.Sequential(nn.Linear(3, 4, bias=False), nn.BatchNorm1d(4), nn.Linear(4, 2)).to(dtype=np.float64).eval()
    images, labels = random.standard_normal((5, 3)), np.array([1, 0, 0, 1, 1])
    (bias,) = weights_of(model, "2.bias")

    def loss(first, second, training=True):
        x = oracle.linear(images, first)
        mean, variance, _ = oracle.batch_statistics(x) if training else (np.zeros(4), np.ones(4), None)
        return oracle.cross_entropy(oracle.linear(oracle.batch_norm(x, mean, variance), second, bias), labels)

    names = ["0.weight", "2.weight"]
    weights = weights_of(model, *names)
    inference = wanted_norms(lambda *weights: loss(*weights, training=False), names, weights)
    judge_norms(
        "gradient_norms(model.eval(), images, labels), a model of Linear, BatchNorm1d, Linear",
        gradient_norms(model, images, labels),
        wanted_norms(loss, names, weights),
        mistakes={"it is measured in inference mode": inference.values()},
    )
    modes = [module.training for module in model.modules()]
    require(not any(modes), "the model was in inference mode, and now is not", call="gradient_norms(model.eval(), ...)")


def test_no_trace():
    """weights, gradients, statistics, modes and random numbers stay as they were; an old .grad does not count"""
    random = np.random.default_rng(38)
    minidl.manual_seed(38)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2)).to(dtype=np.float64)
    images, labels = random.standard_normal((6, 3)), np.array([1, 0, 0, 1, 1, 0])
    call = "gradient_norms(model, images, labels), a model with batch norm and dropout"
    model[1].eval()  # a part whose running statistics are frozen
    modes = [module.training for module in model.modules()]
    state = generator_state()
    first = gradient_norms(model, images, labels)
    after = [module.training for module in model.modules()]
    message = f"the modes of the model and its parts (.training) were {modes}, and are {after} now"
    require(after == modes, message, call=call)
    require(
        generator_state() == state,
        "random numbers were drawn, and the generator was not set back: what comes next is not what it would have been",
        call=call,
    )
    for name, p in model.named_parameters():
        require(p.grad is None, f"{name}.grad was None, and now is not", call=call)
        p.grad = Tensor(np.full(p.shape, 7.0))
    state, wanted = generator_state(), {name: tensor.copy() for name, tensor in model.state_dict().items()}
    again = gradient_norms(model, images, labels)
    require(generator_state() == state, "the generator was not set back", call=call)
    for name, tensor in model.state_dict().items():
        judge(f"{call}: {name} afterwards", tensor, wanted[name])
    for name, p in model.named_parameters():
        judge(f"{call}: {name}.grad, which was 7 everywhere", p.grad, np.full(p.shape, 7.0))
    mistaken = {"the gradients that the model had before are counted, too": [*first.values()]}
    judge_norms(f"{call}, whose .grad is 7 everywhere", again, first, mistakes=mistaken)


class TwoMatrices(nn.Module):
    """Rows through two matrices, of which the first is not trained."""

    def __init__(self):
        super().__init__()
        self.frozen = nn.Parameter(np.eye(2, dtype=np.float32), requires_grad=False)
        self.trained = nn.Parameter(np.zeros((2, 2), np.float32))

    def forward(self, x):
        return x @ self.frozen @ self.trained


def test_a_frozen_matrix():
    """a parameter that is not trained has no gradient, and is left out; names are what they are"""
    images, labels = np.array([[3.0, 4.0]], np.float32), np.array([0])
    judge_norms(
        "gradient_norms(model, images, labels), where model.frozen requires no gradient",
        gradient_norms(TwoMatrices(), images, labels),
        {"trained": 5 / np.sqrt(2)},
        given={"images": images, "labels": labels, "frozen": np.eye(2), "trained": np.zeros((2, 2))},
    )


class Headed(nn.Module):
    """Scores, and in training those of an auxiliary head on the first layer as well."""

    def __init__(self, aux_weight=None):
        super().__init__()
        self.stem, self.head, self.last = nn.Linear(3, 4), nn.Linear(4, 2), nn.Linear(4, 2)
        if aux_weight is not None:
            self.aux_weight = aux_weight

    def forward(self, x):
        x = self.stem(x)
        return (self.last(x), self.head(x)) if self.training else self.last(x)


@pytest.mark.parametrize(
    ("own", "given", "used"), [(None, 2.0, 2.0), (0.5, None, 0.5), (None, None, 0.3), (0.5, 0.0, 0.0)]
)
def test_auxiliary_scores(own, given, used):
    """a model with an auxiliary head: its loss counts with aux_weight, or else the model's own, or else 0.3"""
    random = np.random.default_rng(39)
    minidl.manual_seed(39)
    model = Headed(own).to(dtype=np.float64)
    images, labels = random.standard_normal((4, 3)), np.array([1, 0, 1, 1])
    biases = weights_of(model, "stem.bias", "head.bias", "last.bias")

    def loss(stem, head, last, weight=used):
        x = oracle.linear(images, stem, biases[0])
        auxiliary = oracle.cross_entropy(oracle.linear(x, head, biases[1]), labels)
        return oracle.cross_entropy(oracle.linear(x, last, biases[2]), labels) + weight * auxiliary

    names = ["stem.weight", "head.weight", "last.weight"]
    weights = weights_of(model, *names)
    others = {
        f"the auxiliary loss counts {weight:g}": wanted_norms(
            lambda *weights, weight=weight: loss(*weights, weight=weight), names, weights
        ).values()
        for weight in (0.0, 0.3, 0.5, 1.0)
        if weight != used
    }
    model_text = "model" if own is None else f"model with aux_weight = {own:g}"
    call = f"gradient_norms({model_text}, images, labels, aux_weight={given})"
    got = gradient_norms(model, images, labels, given)
    judge_norms(call, got, wanted_norms(loss, names, weights), mistakes=others)
