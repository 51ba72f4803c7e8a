"""The training loop: it learns, measures what it says, and an interrupted run ends as if nothing had happened."""

import math
import subprocess
import sys
from pathlib import Path

import fakecupy
import numpy as np
import pytest

import minidl
from minidl import checkpoint, nn, progress
from minidl import functional as F
from minidl.backend import generator_state, to_host
from minidl.data import ArrayDataset, DataLoader, RandomShift, Subset, digits
from minidl.optim import SGD, Adam, CosineAnnealingLR, StepLR
from minidl.tensor import Tensor
from minidl.train import History, Trainer, TrainingDiverged, TrainingInterrupted, evaluate

ROOT = Path(__file__).resolve().parents[1]


def first(count, split="train", transform=None):
    return Subset(digits(split, transform), range(count))


def mlp(hidden=8):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, hidden), nn.ReLU(), nn.Linear(hidden, 10))


def small_trainer(model=None, lr=0.1, images=60, batch_size=16, loss=F.cross_entropy, **options):
    """A Trainer for the smallest real problem: a few digits and a small network."""
    model = mlp() if model is None else model
    options = dict(test_loader=DataLoader(first(40, "test"), 16), progress=False) | options
    return Trainer(model, SGD(model.parameters(), lr), DataLoader(first(images), batch_size), loss=loss, **options)


def assert_same(actual, expected):
    """Equal trees of dicts, lists, arrays (every bit) and numbers."""
    assert type(actual) is type(expected)
    if isinstance(expected, dict):
        assert list(actual) == list(expected)
        for key in expected:
            assert_same(actual[key], expected[key])
    elif isinstance(expected, np.ndarray):
        assert (actual.dtype, actual.shape, actual.tobytes()) == (expected.dtype, expected.shape, expected.tobytes())
    else:
        assert actual == expected


@pytest.fixture
def fake_gpus():
    minidl.backend.set_gpu_module(fakecupy)
    yield
    minidl.backend.set_gpu_module(None)


# --------------------------------------------------------------------------------------------------------- it learns


def test_a_convolutional_network_learns_the_digits():
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(256, 10),
    )
    optimizer = SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-4)
    train = DataLoader(digits("train", RandomShift(1)), 64, shuffle=True)
    test = DataLoader(digits("test"), 128)
    trainer = Trainer(model, optimizer, train, test, CosineAnnealingLR(optimizer, 6, warmup=1), progress=False)
    history = trainer.fit(6)
    assert history.test_accuracy[-1] >= 0.96
    assert history.train_loss[-1] < 0.2 * history.train_loss[0]
    assert evaluate(model, test).accuracy == history.test_accuracy[-1]


def test_it_trains_on_every_device(device):
    trainer = small_trainer(images=200, device=device)
    history = trainer.fit(6)
    assert all(p.device == minidl.device(device) for p in trainer.model.parameters())
    assert history.train_loss[-1] < 0.8 * history.train_loss[0]
    minidl.manual_seed(0)
    reference = small_trainer(images=200).fit(6)
    np.testing.assert_allclose(history.train_loss, reference.train_loss, rtol=1e-4)
    np.testing.assert_allclose(history.gradient_norm, reference.gradient_norm, rtol=1e-3)


def test_the_second_gpu(fake_gpus):
    trainer = small_trainer(device="gpu:1", images=32)
    trainer.fit(1)
    assert {str(p.device) for p in trainer.model.parameters()} == {"gpu:1"}
    assert trainer.history.gradient_norm[0] > 0
    assert evaluate(trainer.model, trainer.test_loader, "gpu:1").accuracy == trainer.history.test_accuracy[0]


def test_the_host_never_waits_inside_an_epoch(fake_gpus):
    counts = []
    for images in (16, 96):  # 1 batch an epoch, and 6
        trainer = small_trainer(images=images, device="gpu", test_loader=DataLoader(first(images, "test"), 16))
        with fakecupy.count_synchronisations() as counted:
            trainer.fit(1)
        counts.append(counted.count)
    assert counts[0] == counts[1] > 0


# ------------------------------------------------------------------------------------------------ what it writes down


def test_the_measures_of_an_epoch_are_those_of_the_whole_data():
    """With lr = 0 and batches of uneven sizes, the epoch's means are what evaluate says of the training images."""
    trainer = small_trainer(lr=0.0, images=53, batch_size=16)
    history = trainer.fit(1)
    expected = evaluate(trainer.model, DataLoader(first(53), 53))
    assert history.train_loss == [pytest.approx(expected.loss, rel=1e-6)]
    assert history.train_accuracy == [expected.accuracy]
    expected = evaluate(trainer.model, trainer.test_loader)
    assert (history.test_loss, history.test_accuracy) == ([expected.loss], [expected.accuracy])


def test_learning_happens_in_training_mode_whatever_mode_the_model_is_in():
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm2d(64), nn.Linear(64, 10)).eval()
    small_trainer(model, images=48).fit(2)
    assert model[1].num_batches_tracked.item() == 2 * 3  # and test batches do not count


def test_the_learning_rate_of_each_epoch_is_written_down():
    model = mlp()
    optimizer = SGD(model.parameters(), 0.4)
    trainer = Trainer(model, optimizer, DataLoader(first(32), 16), schedule=StepLR(optimizer, 2, 0.5), progress=False)
    assert trainer.fit(5).learning_rate == [0.4, 0.4, 0.2, 0.2, 0.1]


def test_the_gradient_norm_is_that_of_the_last_batch():
    model = mlp()
    model[1].weight.requires_grad = False
    trainer = small_trainer(model, images=24, batch_size=16)
    trainer.optimizer.param_groups[0]["lr"] = 0.0
    history = trainer.fit(1)
    images, labels = first(24).batch(range(16, 24))
    model.zero_grad()
    F.cross_entropy(model(Tensor(images)), labels).backward()
    expected = {n: np.linalg.norm(p.grad.data) for n, p in model.named_parameters() if p.grad is not None}
    assert list(expected) == ["1.bias", "3.weight", "3.bias"]
    assert history.gradient_norm == [pytest.approx(math.hypot(*expected.values()), rel=1e-5)]


class TwoAuxiliaryHeads(nn.Module):
    """Returns auxiliary scores in training only, as GoogLeNet does."""

    def __init__(self):
        super().__init__()
        self.stem, self.main = nn.Linear(64, 6), nn.Linear(6, 10)
        self.first, self.second = nn.Linear(6, 10), nn.Linear(6, 10)

    def forward(self, x):
        h = self.stem(x.flatten(1))
        return (self.main(h), self.first(h), self.second(h)) if self.training else self.main(h)


@pytest.mark.parametrize(("options", "weight"), [({}, 0.3), ({"aux_weight": 0.5}, 0.5)])
def test_auxiliary_losses_are_added_with_their_weight(options, weight):
    model = TwoAuxiliaryHeads()
    trainer = small_trainer(model, lr=0.0, images=16, batch_size=16, **options)
    history = trainer.fit(1)
    images, labels = first(16).batch(range(16))
    model.train().zero_grad()
    main, a, b = (F.cross_entropy(scores, labels) for scores in model(Tensor(images)))
    loss = main + weight * (a + b)
    loss.backward()
    assert history.train_loss == [pytest.approx(loss.item(), rel=1e-6)]
    norms = [np.linalg.norm(p.grad.data) for p in model.parameters()]
    assert history.gradient_norm == [pytest.approx(math.hypot(*norms), rel=1e-5)]
    assert history.test_loss == [evaluate(model, trainer.test_loader).loss]


def test_the_models_own_weight_of_auxiliary_losses(monkeypatch):
    monkeypatch.setattr(TwoAuxiliaryHeads, "aux_weight", 0.4, raising=False)
    model = TwoAuxiliaryHeads()
    assert small_trainer(model, lr=0.0).aux_weight == 0.4
    assert small_trainer(model, lr=0.0, aux_weight=0.1).aux_weight == 0.1
    assert small_trainer(model, lr=0.0, aux_weight=0.0).aux_weight == 0


def test_a_penalty_is_added_to_the_loss_of_each_step():
    """The gradient of ½ Σ p² is p: that of weight decay 1."""

    def half_the_squares(model):
        return 0.5 * sum((p * p).sum() for p in model.parameters())

    states, losses = [], []
    for penalty, decay in ((half_the_squares, 0.0), (None, 1.0)):
        minidl.manual_seed(0)
        model = mlp()
        optimizer = SGD(model.parameters(), 0.01, weight_decay=decay)
        trainer = Trainer(model, optimizer, DataLoader(first(60), 16), penalty=penalty, progress=False)
        losses.append(trainer.fit(1).train_loss[0])
        states.append(model.state_dict())
    for name, array in states[0].items():
        np.testing.assert_allclose(array, states[1][name], rtol=1e-4, atol=1e-6)
    assert losses[0] > losses[1] + 1


def test_without_test_data_there_is_no_test_loss_and_no_best(tmp_path):
    history = small_trainer(test_loader=None, directory=tmp_path).fit(2)
    assert (history.test_loss, history.test_accuracy, history.best_epoch) == ([], [], None)
    assert [path.name for path in tmp_path.iterdir()] == ["last.npz"]


@pytest.mark.parametrize(
    ("accuracies", "losses", "best"),
    [([0.5, 0.9, 0.7], [1, 3, 2], 1), ([0.9, 0.9, 0.9], [2, 1, 3], 1), ([0.5, 0.9, 0.9], [1, 2, 2], 1), ([], [], None)],
)
def test_the_best_epoch(accuracies, losses, best):
    assert History(test_accuracy=accuracies, test_loss=losses).best_epoch == best


# ----------------------------------------------------------------------------------------------------------- evaluate


def test_evaluate_by_hand(device):
    """Scores are given as the images. Class 2 is never predicted, and one of class 1 is taken for class 0."""
    scores = np.array([[4, 0, 0], [0, 5, 0], [6, 0, 0], [7, 0, 0], [0, 2, 0]], np.float32)
    labels = np.array([0, 1, 1, 0, 2])
    loader = DataLoader(ArrayDataset(scores, labels), 2)  # batches of 2, 2 and 1
    result = evaluate(nn.Identity(), loader, device)
    assert result.confusion.tolist() == [[2, 0, 0], [1, 1, 0], [0, 1, 0]]
    assert result.confusion.dtype.kind == "i"
    assert result.accuracy == 3 / 5
    chosen = [4, 5, 0, 7, 0]
    losses = [math.log(2 + math.exp(row.max())) - score for row, score in zip(scores, chosen, strict=True)]
    assert result.loss == pytest.approx(sum(losses) / 5, rel=1e-6)


def test_evaluate_with_labels_of_one_byte(device):
    """Classes and predictions are counted as one number, class · 100 + prediction, beyond what the labels can hold."""
    labels = np.array([3, 42, 99, 99], np.uint8)
    scores = np.eye(100, dtype=np.float32)[[3, 42, 99, 7]]
    result = evaluate(nn.Identity(), DataLoader(ArrayDataset(scores, labels), 2), device)
    assert result.accuracy == 3 / 4
    assert result.confusion.sum() == 4
    assert [result.confusion[i, j] for i, j in [(3, 3), (42, 42), (99, 99), (99, 7)]] == [1, 1, 1, 1]


def test_evaluate_leaves_the_model_as_it_was():
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm2d(64), nn.Dropout(0.5), nn.Linear(64, 10))
    model.train()
    model[1].eval()  # a frozen layer stays frozen
    before, random = model.state_dict(), generator_state()
    loader = DataLoader(first(20, "test"), 8)
    results = [evaluate(model, loader), evaluate(model, loader)]
    assert results[0].loss == results[1].loss  # no dropout
    assert [module.training for module in model.modules()] == [True, True, False, True, True]
    assert_same(model.state_dict(), before)
    assert generator_state() == random
    assert all(p.grad is None for p in model.parameters())


def test_evaluate_restores_the_modes_after_an_error():
    model = mlp()
    with pytest.raises(ValueError, match="linear: input"):
        evaluate(model, [(np.ones((2, 3, 3, 1), np.float32), np.zeros(2, int))])
    assert model.training
    with pytest.raises(ValueError, match="evaluate: the loader gave no batch"):
        evaluate(model, [])


def test_evaluate_uses_the_given_loss():
    result = evaluate(mlp(), DataLoader(first(20), 8), loss=lambda scores, labels: Tensor(float(len(labels))))
    assert result.loss == pytest.approx((8 * 8 + 8 * 8 + 4 * 4) / 20)


# ------------------------------------------------------------------------------------------------------------- resume


def full_trainer(directory, kind="SGD", prefetch=0, epochs=4, loss=F.cross_entropy):
    """Everything that a resumed run could get wrong: momentum, dropout, batch norm, shuffling, shifts, a schedule."""
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.3), nn.Linear(144, 10)
    )
    if kind == "SGD":
        groups = [{"params": list(model[0].parameters()), "weight_decay": 0.01}]
        groups += [{"params": [*model[1].parameters(), *model[5].parameters()], "lr": 0.03}]
        optimizer = SGD(groups, lr=0.05, momentum=0.9, nesterov=True)
    else:
        optimizer = Adam(model.parameters(), lr=0.01)
    train = DataLoader(first(100, "train", RandomShift(1)), 32, shuffle=True, seed=3, prefetch=prefetch)
    test = DataLoader(first(50, "test"), 16, shuffle=True)
    schedule = CosineAnnealingLR(optimizer, epochs, warmup=1)
    return Trainer(model, optimizer, train, test, schedule, loss, directory=directory, progress=False)


def resumed(directory, **options):
    """What a new process would make: other random numbers, other weights; then resume."""
    minidl.manual_seed(99)
    trainer = full_trainer(directory, **options)
    trainer.resume()
    return trainer


def straight(directory, **options):
    minidl.manual_seed(7)
    trainer = full_trainer(directory, **options)
    trainer.fit(4)
    return trainer


@pytest.mark.parametrize(("kind", "prefetch"), [("SGD", 0), ("Adam", 2)])
def test_a_resumed_run_ends_bit_for_bit_like_one_that_was_not_interrupted(tmp_path, kind, prefetch):
    whole = straight(tmp_path / "whole", kind=kind, prefetch=prefetch)
    minidl.manual_seed(7)
    full_trainer(tmp_path / "parts", kind=kind, prefetch=prefetch).fit(2)
    trainer = resumed(tmp_path / "parts", kind=kind, prefetch=prefetch)
    assert len(trainer.history) == 2
    trainer.fit(4)
    assert trainer.history == whole.history
    assert_same(trainer.state_dict(), whole.state_dict())  # weights, momentum, schedule, loaders, random numbers
    for name in ("last.npz", "best.npz"):
        assert_same(checkpoint.load(tmp_path / "parts" / name), checkpoint.load(tmp_path / "whole" / name))


def test_resume_says_how_many_epochs_are_finished_and_finished_means_finished(tmp_path):
    whole = straight(tmp_path)
    trainer = full_trainer(tmp_path)
    assert trainer.resume() == 4
    assert trainer.fit(4) == whole.history
    assert_same(trainer.state_dict(), whole.state_dict())
    with pytest.raises(ValueError, match="fit: 3 epochs in all were asked for and 4 are finished already"):
        trainer.fit(3)


def interrupting(batch):
    """A loss that Ctrl-C hits in training batch number `batch`."""
    calls = iter(range(10**6))

    def loss(scores, labels):
        if minidl.is_grad_enabled() and next(calls) == batch:
            raise KeyboardInterrupt
        return F.cross_entropy(scores, labels)

    return loss


@pytest.mark.parametrize("prefetch", [0, 2])
def test_ctrl_c_in_the_middle_of_an_epoch(tmp_path, prefetch):
    whole = straight(tmp_path / "whole", prefetch=prefetch)
    minidl.manual_seed(7)
    trainer = full_trainer(tmp_path, prefetch=prefetch, loss=interrupting(2 * 4 + 1))  # the second batch of epoch 3
    with pytest.raises(KeyboardInterrupt) as caught:
        trainer.fit(4)
    assert isinstance(caught.value, TrainingInterrupted)
    assert (caught.value.epoch, caught.value.path) == (2, tmp_path / "last.npz")
    message = (
        f"interrupted after 2 finished epoch(s); {tmp_path / 'last.npz'} has them, and resume() goes on from there"
    )
    assert message in str(caught.value)

    with pytest.raises(TrainingInterrupted) as caught:  # at once, again
        resumed(tmp_path, prefetch=prefetch, loss=interrupting(0)).fit(4)
    assert (caught.value.epoch, caught.value.path) == (2, tmp_path / "last.npz")

    trainer.loss = F.cross_entropy  # the same objects can go on
    trainer.resume()
    trainer.fit(4)
    assert_same(trainer.state_dict(), whole.state_dict())


@pytest.mark.parametrize("interrupted", ["best", "last"])
def test_ctrl_c_while_a_checkpoint_is_written(tmp_path, monkeypatch, interrupted):
    whole = straight(tmp_path / "whole")
    before = whole.history.best_epoch  # so many epochs come before the best, which writes both files
    assert before > 0
    save = checkpoint.save

    def interrupting_save(path, state):
        if path.stem == interrupted and len(state["history"]["train_loss"]) == before + 1:
            raise KeyboardInterrupt
        save(path, state)

    minidl.manual_seed(7)
    trainer = full_trainer(tmp_path / "parts")
    monkeypatch.setattr(checkpoint, "save", interrupting_save)
    with pytest.raises(TrainingInterrupted) as caught:
        trainer.fit(4)
    monkeypatch.undo()
    assert caught.value.epoch == before
    resumed(tmp_path / "parts").fit(4)
    for name in ("last.npz", "best.npz"):
        assert_same(checkpoint.load(tmp_path / "parts" / name), checkpoint.load(tmp_path / "whole" / name))


def test_ctrl_c_where_nothing_was_saved(tmp_path):
    with pytest.raises(TrainingInterrupted, match=r"after 0 finished epoch\(s\); nothing was saved") as caught:
        small_trainer(loss=interrupting(0), directory=tmp_path).fit(2)
    assert (caught.value.epoch, caught.value.path) == (0, None)
    with pytest.raises(TrainingInterrupted, match=r"after 1 finished epoch\(s\); nothing was saved"):
        small_trainer(loss=interrupting(4)).fit(2)  # no directory; 4 batches an epoch


def build(directory, **replaced):
    """`full_trainer` with some of its arguments replaced."""
    trainer = full_trainer(directory)
    names = ("model", "optimizer", "train_loader", "test_loader", "schedule", "directory", "progress")
    return Trainer(**{name: getattr(trainer, name) for name in names} | replaced)


def with_adam(directory):
    model = full_trainer(directory).model
    optimizer = Adam(model.parameters())
    return build(directory, model=model, optimizer=optimizer, schedule=CosineAnnealingLR(optimizer, 4, warmup=1))


def with_wider_layer(directory):
    model = nn.Sequential(*list(full_trainer(directory).model)[:5], nn.Linear(144, 11))
    optimizer = SGD(model.parameters(), lr=0.05)
    return build(directory, model=model, optimizer=optimizer, schedule=CosineAnnealingLR(optimizer, 4, warmup=1))


OTHER_RUNS = {
    "model": (with_wider_layer, r"shape of 5.weight: expected \(144, 11\), got \(144, 10\)"),
    "optimizer": (with_adam, "the state was saved by SGD; make that optimizer"),
    "number of epochs": (lambda d: full_trainer(d, epochs=6), "saved with T_max=4, this schedule has T_max=6"),
    "training data": (lambda d: build(d, train_loader=DataLoader(first(90), 32)), "dataset_size=100"),
    "no schedule": (lambda d: build(d, schedule=None), r"expected \['history', 'model', .* it has .*'schedule'"),
    "no test data": (lambda d: build(d, test_loader=None), r"expected .* it has .*'test_loader'"),
}


@pytest.mark.parametrize(("make", "message"), OTHER_RUNS.values(), ids=OTHER_RUNS)
def test_a_checkpoint_of_another_run_is_refused_and_changes_nothing(tmp_path, make, message):
    full_trainer(tmp_path).fit(1)
    trainer = make(tmp_path)
    before = trainer.state_dict()
    with pytest.raises(ValueError, match=rf"(?s)resume: .*last.npz does not continue this run: .*{message}"):
        trainer.resume()
    assert_same(trainer.state_dict(), before)
    assert len(trainer.history) == 0


def test_a_checkpoint_with_a_strange_history_is_refused(tmp_path):
    trainer = small_trainer(directory=tmp_path)
    trainer.fit(1)
    state = trainer.state_dict()
    del state["history"]["learning_rate"]
    checkpoint.save(tmp_path / "last.npz", state)
    with pytest.raises(ValueError, match=r"History.load_state_dict: expected \['gradient_norm'"):
        trainer.resume()


def test_a_checkpoint_of_any_device_is_resumed_on_the_cpu(tmp_path, device):
    model = mlp()
    optimizer = SGD(model.parameters(), 0.1, momentum=0.9)
    options = dict(directory=tmp_path, progress=False)
    Trainer(model, optimizer, DataLoader(first(32), 16), device=device, **options).fit(1)
    copy = mlp()
    copy_optimizer = SGD(copy.parameters(), 0.1, momentum=0.9)
    Trainer(copy, copy_optimizer, DataLoader(first(32), 16), **options).resume()
    for p, q in zip(model.parameters(), copy.parameters(), strict=True):
        np.testing.assert_array_equal(to_host(p.data), q.data)
        np.testing.assert_array_equal(to_host(optimizer.state[p]["velocity"]), copy_optimizer.state[q]["velocity"])


def test_nothing_to_resume_from(tmp_path):
    with pytest.raises(ValueError, match="resume: this Trainer has no directory"):
        small_trainer().resume()
    with pytest.raises(FileNotFoundError, match=r"there is no checkpoint .*last.npz"):
        small_trainer(directory=tmp_path).resume()
    (tmp_path / "last.npz").write_bytes(b"not a checkpoint")
    with pytest.raises(checkpoint.CheckpointError, match=r"last.npz cannot be read"):
        small_trainer(directory=tmp_path).resume()


# ---------------------------------------------------------------------------------------------------- best, divergence


def test_the_best_checkpoint_is_the_best(tmp_path):
    def loss(scores, labels):  # two epochs downhill, then two uphill
        return F.cross_entropy(scores, labels) * (1.0 if len(trainer.history) < 2 else -1.0)

    trainer = small_trainer(loss=loss, directory=tmp_path / "new" / "folder", images=200)
    history = trainer.fit(4)
    best = history.best_epoch
    assert best < 3
    assert history.test_accuracy[best] == max(history.test_accuracy) > history.test_accuracy[-1]
    for name, epoch in (("best", best), ("last", 3)):
        state = checkpoint.load(tmp_path / "new" / "folder" / f"{name}.npz")
        assert len(state["history"]["train_loss"]) == epoch + 1
        model = mlp()
        model.load_state_dict(state["model"])
        assert evaluate(model, trainer.test_loader).accuracy == history.test_accuracy[epoch]


def poisoned(where, value):
    """A loss that is `value` from the third epoch on: in "training" (4 batches an epoch), or in the "test"."""
    batches = iter(range(10**6))

    def loss(scores, labels):
        result = F.cross_entropy(scores, labels)
        training = minidl.is_grad_enabled()
        epoch = (next(batches) if training else loss.batch) // 4
        loss.batch = 4 * epoch
        return result * value if epoch >= 2 and training == (where == "training") else result

    return loss


@pytest.mark.parametrize(("where", "name"), [("training", "train loss"), ("test", "test loss")])
@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # infinity times zero, on the way back
def test_divergence_is_told_and_the_good_checkpoints_stay(tmp_path, where, name, value):
    trainer = small_trainer(loss=poisoned(where, value), lr=0.25, directory=tmp_path)
    trainer.fit(2)
    kept = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    message = (
        rf"diverged in epoch 3: {name} is (nan|inf).*, with lr 0.25; use a smaller .*last.npz has the epoch before"
    )
    with pytest.raises(TrainingDiverged, match=message):
        trainer.fit(4)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == kept
    assert len(trainer.history) == 2
    assert trainer.resume() == 2


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # overflow, as it should
def test_an_infinite_gradient_is_told_too():
    class Steep(nn.Module):
        """A finite loss with an infinite slope: √x at 0."""

        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(np.zeros((64, 10), np.float32))

        def forward(self, x):
            return minidl.sqrt(x.flatten(1) @ self.weight)

    with pytest.raises(TrainingDiverged, match=r"epoch 1: gradient norm is (nan|inf), .*no checkpoint was kept"):
        small_trainer(Steep(), images=16).fit(1)


# -------------------------------------------------------------------------------------------------------- wrong calls


def test_wrong_calls():
    model, other = mlp(), mlp()
    optimizer, loader = SGD(model.parameters(), 0.1), DataLoader(first(16), 16)
    with pytest.raises(TypeError, match="Trainer: train_loader must be a DataLoader, got a Subset"):
        Trainer(model, optimizer, first(16))
    with pytest.raises(TypeError, match="Trainer: train_loader must be a DataLoader, got a NoneType"):
        Trainer(model, optimizer, None)
    with pytest.raises(TypeError, match="Trainer: test_loader must be a DataLoader, got a list"):
        Trainer(model, optimizer, loader, [])
    with pytest.raises(ValueError, match="the schedule was made for another optimizer"):
        Trainer(model, optimizer, loader, schedule=StepLR(SGD(other.parameters(), 0.1), 1))
    with pytest.raises(ValueError, match="the optimizer has none of this model's parameters"):
        Trainer(other, optimizer, loader)


# ----------------------------------------------------------------------------------------------------------- progress


def test_plain_lines_where_stdout_is_not_a_terminal(capsys):
    trainer = small_trainer(progress=True)
    history = trainer.fit(2)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[1] == (
        f"epoch 2/2  train loss {history.train_loss[1]:.4f}  accuracy {history.train_accuracy[1]:7.2%}   "
        f"test loss {history.test_loss[1]:.4f}  accuracy {history.test_accuracy[1]:7.2%}   lr 0.1"
    )
    trainer.fit(10)
    assert capsys.readouterr().out.splitlines()[0].startswith("epoch  3/10  train loss")


def test_without_test_data_a_line_says_nothing_of_it(capsys):
    small_trainer(progress=True, test_loader=None).fit(1)
    assert "test" not in capsys.readouterr().out


def test_silence(capsys):
    small_trainer(progress=False).fit(1)
    assert capsys.readouterr().out == ""


SHOW_CURSOR = "\x1b[?25h"


def test_a_bar_on_a_terminal_is_closed_however_training_ends(capsys, monkeypatch):
    pytest.importorskip("rich", reason="rich is not installed")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    small_trainer(progress=True).fit(2)
    shown = capsys.readouterr().out
    assert "epoch 2/2  train loss" in shown
    assert "4/4" in shown  # batches
    assert shown.rindex(SHOW_CURSOR) > shown.rindex("\x1b[?25l")
    with pytest.raises(TrainingInterrupted):
        small_trainer(progress=True, loss=interrupting(5)).fit(2)
    shown = capsys.readouterr().out
    assert "epoch 1/2  train loss" in shown
    assert shown.rindex(SHOW_CURSOR) > shown.rindex("\x1b[?25l")


def test_a_terminal_without_rich_has_plain_lines(monkeypatch):
    pytest.importorskip("rich", reason="rich is not installed")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert type(progress.display(True)) is progress.Bar
    monkeypatch.setattr(progress.importlib.util, "find_spec", lambda name: None)
    assert type(progress.display(True)) is progress.Lines
    assert type(progress.display(False)) is progress.Silent


def test_training_is_imported_without_rich():
    script = (
        "import sys; sys.modules['rich'] = None; import minidl.train; print([m for m in sys.modules if 'rich.' in m])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout == "[]\n"
