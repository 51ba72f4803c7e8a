"""The recipe: data from a file that is right or refused by name, and a trainer with every parameter in one group."""

import numpy as np
import pytest

from minidl import functional as F
from minidl import nn
from minidl.data import Compose, RandomShift, Resize
from minidl.recipe import ARRAYS, Recipe, load_data, make_trainer
from minidl.tensor import Tensor


def arrays(**changes):
    """A small data set of three classes as it stands in a file; None leaves an array out."""
    random = np.random.default_rng(0)
    whole = {
        "train_images": random.integers(0, 256, (12, 6, 5, 2), dtype=np.uint8),
        "train_labels": np.arange(12) % 3,
        "test_images": random.integers(0, 256, (7, 6, 5, 2), dtype=np.uint8),
        "test_labels": np.arange(7) % 3,
    }
    return {name: array for name, array in {**whole, **changes}.items() if array is not None}


@pytest.fixture
def saved(tmp_path):
    """A function that saves arrays as an .npz file, and gives its name."""

    def save(**changes):
        np.savez(tmp_path / "data.npz", **arrays(**changes))
        return str(tmp_path / "data.npz")

    return save


# -------------------------------------------------------------------------------------------------------------- data


def test_digits():
    train, test = load_data("digits")
    assert (len(train), len(test)) == (1437, 360)
    assert train.transform is not None, "training images are shifted"
    assert test.transform is None, "test images are as they are"


def test_images_are_resized_as_they_are_read(saved):
    for name, size in (("digits", 12), (saved(), 9)):
        plain, resized = load_data(name)[1], load_data(name, size)
        for part in resized:
            assert part.batch([0, 1, 2])[0].shape[1:3] == (size, size)
        assert resized[0].transform == Compose([RandomShift(1), Resize(size)])
        np.testing.assert_array_equal(resized[1].images, plain.images)  # what is kept is as it was
        np.testing.assert_array_equal(resized[1].batch([4])[0], Resize(size)(plain.batch([4])[0]))


def test_bytes_are_scaled_and_labels_become_int64(saved):
    train, test = load_data(saved(train_labels=(np.arange(12) % 3).astype(np.uint8)))
    for dataset, part in ((train, "train"), (test, "test")):
        np.testing.assert_array_equal(dataset.images, arrays()[f"{part}_images"].astype(np.float32) / np.float32(255))
        assert dataset.images.dtype == np.float32
        assert dataset.labels.dtype == np.int64
    np.testing.assert_array_equal(train.labels, np.arange(12) % 3)
    assert train.transform is not None
    assert test.transform is None


def test_floating_images_keep_their_scale_and_grey_ones_get_a_channel(saved):
    train, test = load_data(saved(train_images=np.full((12, 6, 5), 1.5), test_images=np.full((7, 6, 5), -2.0)))
    assert (train.images.shape, train.images.dtype) == ((12, 6, 5, 1), np.float32)
    assert (train.images == 1.5).all()
    assert (test.images == -2).all()


NAN = np.zeros((12, 6, 5, 2))
NAN[3, 2, 1, 0] = np.nan
WRONG = {
    "an array is missing": (dict(test_labels=None), "has no test_labels; it must hold train_images, "),
    "two arrays are missing": (dict(test_labels=None, train_images=None), "has no train_images, test_labels"),
    "flat images": (
        dict(train_images=np.zeros((12, 30))),
        r"train_images must be \(N, H, W, C\) or .* float64 \(12, 30\)",
    ),
    "no images": (dict(test_images=np.zeros((0, 6, 5, 2))), r"test_images must be .* \(0, 6, 5, 2\)"),
    "integers of unknown scale": (
        dict(train_images=np.zeros((12, 6, 5, 2), np.uint16)),
        "uint8 .* or floating.* uint16",
    ),
    "complex images": (dict(test_images=np.zeros((7, 6, 5, 2), complex)), "test_images must be .* complex128"),
    "NaN": (dict(train_images=NAN), "train_images has pixels that are NaN or infinite"),
    "too large for float32": (dict(test_images=np.full((7, 6, 5, 2), 1e300)), "test_images has pixels .* infinite"),
    "channels differ": (dict(test_images=np.zeros((7, 6, 5, 3))), r"of one size.* \(12, 6, 5, 2\) and \(7, 6, 5, 3\)"),
    "sizes differ": (dict(test_images=np.zeros((7, 6, 4, 2))), r"of one size.* \(12, 6, 5, 2\) and \(7, 6, 4, 2\)"),
    "labels too few": (
        dict(train_labels=np.zeros(11, int)),
        r"train_labels must be integers of shape \(12,\).*\(11,\)",
    ),
    "float labels": (dict(test_labels=np.zeros(7)), "test_labels must be integers .* float64"),
    "one-hot labels": (
        dict(train_labels=np.eye(3, dtype=int)[np.arange(12) % 3]),
        r"train_labels must be .* \(12, 3\)",
    ),
    "text labels": (dict(train_labels=np.array(["cat"] * 12)), "train_labels must be integers .* <U3"),
    "negative labels": (dict(train_labels=np.arange(12) % 3 - 1), "without gaps.* from -1 to 1 with 3 "),
    "gaps": (dict(train_labels=np.arange(12) % 3 * 5), "without gaps.* from 0 to 10 with 3 different values"),
    "a gap too wide to allocate": (dict(train_labels=np.arange(12) // 11 * 10**12), "from 0 to 1000000000000 with 2 "),
    "one class": (dict(train_labels=np.zeros(12, int)), "two at least.* from 0 to 0"),
    "a test class never trained": (dict(test_labels=np.arange(7)), "classes of train_labels, 0 to 2; .* from 0 to 6"),
    "a negative test class": (dict(test_labels=np.arange(7) % 3 - 1), "classes of train_labels.* from -1 to 1"),
    "objects": (dict(train_labels=np.array([None] * 12)), "cannot be read.* arrays of numbers"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arrays_are_refused_by_name(saved, name):
    changes, message = WRONG[name]
    path = saved(**changes)
    with pytest.raises(ValueError, match=message) as raised:
        load_data(path)
    assert path in str(raised.value)
    assert "\n" not in str(raised.value)


def damaged(path):
    whole = path.read_bytes()
    path.write_bytes(whole[:400] + b"?" * 20 + whole[420:])


def npy(path):
    with open(path, "wb") as file:
        np.save(file, np.zeros(3))


@pytest.mark.parametrize(
    "spoil",
    [
        damaged,
        npy,
        lambda path: path.write_bytes(path.read_bytes()[:500]),
        lambda path: path.write_text("not an archive"),
        lambda path: path.write_bytes(b""),
    ],
    ids=["damaged", "another format", "cut short", "text", "empty"],
)
def test_wrong_files_are_refused_by_name(saved, tmp_path, spoil):
    path = saved()
    spoil(tmp_path / "data.npz")
    with pytest.raises(ValueError, match=r"cannot be read: it must be an \.npz file") as raised:
        load_data(path)
    assert path in str(raised.value)


def test_a_file_that_is_not_there_or_not_an_npz(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.npz"):
        load_data(str(tmp_path / "nowhere.npz"))
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(IsADirectoryError, match=r"folder\.npz"):
        load_data(str(tmp_path / "folder.npz"))
    with pytest.raises(ValueError, match=r"\"digits\" or a file ending in \.npz, got 'mnist'"):
        load_data("mnist")
    assert len(ARRAYS) == 4


# ----------------------------------------------------------------------------------------------------------- trainer


class Scaled(nn.Module):
    """Parameters of every number of dimensions: a scale (), biases and batch norm (C,), weights."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(1.0)
        self.body = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.fc = nn.Linear(4, 3)

    def forward(self, x):
        return self.fc(self.body(x)) * self.scale


def test_weight_decay_is_on_weights_alone_and_no_parameter_is_left_out(saved, tmp_path):
    model = Scaled()
    recipe = Recipe(epochs=5, batch_size=4, lr=0.3, momentum=0.5, weight_decay=0.01)
    trainer = make_trainer(model, load_data(saved()), recipe, tmp_path)
    decay = {p: group["weight_decay"] for group in trainer.optimizer.param_groups for p in group["params"]}
    assert decay == {p: 0.01 if p.ndim > 1 else 0 for p in model.parameters()}
    assert {p.ndim for p in decay} == {0, 1, 2, 4}
    assert all((group["momentum"], group["nesterov"]) == (0.5, True) for group in trainer.optimizer.param_groups)
    assert (trainer.train_loader.batch_size, trainer.train_loader.shuffle) == (4, True)
    assert not trainer.test_loader.shuffle


def test_a_penalty_takes_the_place_of_weight_decay(saved, tmp_path):
    model = Scaled()
    kernel = next(p for p in model.parameters() if p.ndim == 4)
    recipe = Recipe(batch_size=4, weight_decay=0.01)
    trainer = make_trainer(model, load_data(saved()), recipe, tmp_path, lambda net: (kernel * kernel).sum(), [kernel])
    decay = {p: group["weight_decay"] for group in trainer.optimizer.param_groups for p in group["params"]}
    assert decay == {p: 0.01 if p.ndim > 1 and p is not kernel else 0 for p in model.parameters()}
    assert trainer.penalty(model).item() == pytest.approx(0.005 * float((kernel.numpy() ** 2).sum()))


def test_the_objective_is_cross_entropy_with_the_label_smoothing_asked_for(saved, tmp_path):
    trainer = make_trainer(Scaled(), load_data(saved()), Recipe(batch_size=4, label_smoothing=0.2), tmp_path)
    scores, labels = Tensor(np.random.default_rng(1).standard_normal((4, 3))), np.array([0, 2, 1, 1])
    assert trainer.loss(scores, labels).item() == F.cross_entropy(scores, labels, label_smoothing=0.2).item()
    assert trainer.loss(scores, labels).item() != F.cross_entropy(scores, labels).item()


def test_all_images_may_be_one_batch_and_no_batch_is_more(saved, tmp_path):
    data = load_data(saved())
    assert len(make_trainer(Scaled(), data, Recipe(batch_size=12), tmp_path).train_loader) == 1
    with pytest.raises(ValueError, match="a batch of 13 images is more than the 12 training images"):
        make_trainer(Scaled(), data, Recipe(batch_size=13), tmp_path)


def test_the_learning_rate_warms_up_for_an_epoch_and_falls(saved, tmp_path):
    trainer = make_trainer(Scaled(), load_data(saved()), Recipe(epochs=4, batch_size=4, lr=0.1), tmp_path)
    trainer.progress = False
    rates = trainer.fit(4).learning_rate
    assert rates[0] == pytest.approx(0.05)
    assert rates[1] == pytest.approx(0.1)
    assert rates[1] > rates[2] > rates[3] > 0


def test_a_single_epoch_has_no_warm_up(saved, tmp_path):
    trainer = make_trainer(Scaled(), load_data(saved()), Recipe(epochs=1, batch_size=4, lr=0.1), tmp_path)
    trainer.progress = False
    assert trainer.fit(1).learning_rate == [0.1]


def test_momentum_zero_is_plain_sgd(saved, tmp_path):
    trainer = make_trainer(Scaled(), load_data(saved()), Recipe(batch_size=4, momentum=0), tmp_path)
    assert not any(group["nesterov"] for group in trainer.optimizer.param_groups)
