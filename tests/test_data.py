"""Datasets, transforms, the digits, and the loader: the same batches whatever happened before, and no thread left."""

import gc
import itertools
import os
import subprocess
import sys
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fakecupy
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidl import Tensor, backend
from minidl import functional as F
from minidl.data import (
    ArrayDataset,
    Compose,
    DataLoader,
    Dataset,
    Normalize,
    Pad,
    RandomHorizontalFlip,
    RandomShift,
    Resize,
    Subset,
    ToFloat,
    digits,
    load_digits,
)

ROOT = Path(__file__).resolve().parents[1]


class Squares(Dataset):
    """Read item by item: image i is full of i·i, label i is i."""

    def __init__(self, length=10):
        self.length = length

    def __len__(self):
        return self.length

    def __getitem__(self, i):
        return np.full((2, 3, 1), i * i, np.float32), i


def numbered(length=23, transform=None):
    """Image i holds only the number i + 1, so that zeros come from padding alone."""
    images = np.broadcast_to(np.arange(1, length + 1, dtype=np.float32)[:, None, None, None], (length, 5, 4, 2)).copy()
    return ArrayDataset(images, np.arange(length), transform)


AUGMENT = Compose([RandomShift(2), RandomHorizontalFlip()])


def assert_batches_equal(actual, expected):
    actual, expected = list(actual), list(expected)
    assert len(actual) == len(expected)
    for (images, labels), (expected_images, expected_labels) in zip(actual, expected, strict=True):
        assert images.dtype == expected_images.dtype
        np.testing.assert_array_equal(images, expected_images)
        np.testing.assert_array_equal(labels, expected_labels)


def labels_of(batches):
    return [int(label) for _, labels in batches for label in labels]


def loader_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("minidl-loader")]


# --------------------------------------------------------------------------------------------------------- datasets


def test_array_dataset_items_and_batches_are_copies_of_the_rows():
    dataset = numbered()
    image, label = dataset[3]
    assert image.shape == (5, 4, 2)
    assert label == 3
    assert (image == 4).all()
    image[...] = -1
    images, labels = dataset.batch([5, 0, 5])
    np.testing.assert_array_equal(images[:, 0, 0, 0], [6, 1, 6])
    np.testing.assert_array_equal(labels, [5, 0, 5])
    images[...] = -1
    assert (dataset.images > 0).all()
    assert dataset[-1][1] == 22
    assert [int(label) for _, label in dataset] == list(range(23))  # iteration ends with the IndexError at 23


def test_array_dataset_transforms_what_is_read_and_not_what_is_stored():
    dataset = numbered(transform=Pad(1))
    assert dataset[0][0].shape == (7, 6, 2)
    assert dataset.images.shape == (23, 5, 4, 2)


def test_single_items_draw_from_the_global_generator():
    dataset = numbered(transform=AUGMENT)
    backend.manual_seed(3)
    first = [dataset[i][0] for i in range(10)]
    after = [dataset[i][0] for i in range(10)]
    backend.manual_seed(3)
    np.testing.assert_array_equal([dataset[i][0] for i in range(10)], first)
    assert not np.array_equal(first, after)


def test_subset_keeps_its_order_and_hands_the_generator_on():
    dataset = numbered(transform=AUGMENT)
    subset = Subset(dataset, [7, 2, 9])
    assert len(subset) == 3
    assert subset[0][1] == 7
    assert subset[-1][1] == 9
    images, labels = subset.batch([2, 1], np.random.default_rng(0))
    expected, _ = dataset.batch([9, 2], np.random.default_rng(0))
    np.testing.assert_array_equal(labels, [9, 2])
    np.testing.assert_array_equal(images, expected)


def test_a_dataset_of_items_is_stacked():
    images, labels = Squares().batch(np.array([3, 1]))
    assert images.shape == (2, 2, 3, 1)
    assert images.dtype == np.float32
    np.testing.assert_array_equal(images[:, 0, 0, 0], [9, 1])
    np.testing.assert_array_equal(labels, [3, 1])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: ArrayDataset(np.zeros((3, 2, 2, 1)), np.zeros(4)), ValueError, "3 images but 4 labels"),
        (lambda: ArrayDataset([object()], np.zeros(1)), TypeError, "images must be a NumPy array.*list"),
        (lambda: ArrayDataset(np.zeros((1, 2, 2, 1)), 5), TypeError, "labels must be a NumPy array.*int"),
        (lambda: numbered()[23], IndexError, "23"),
        (lambda: numbered()[1:3], TypeError, "slice"),
        (lambda: Subset(numbered(), [0, 23]), IndexError, "index 23 is outside the dataset's 23 items"),
        (lambda: Subset(numbered(), [-1]), IndexError, "index -1"),
        (lambda: Subset(numbered(), [0.5]), TypeError, "float"),
        (lambda: len(Dataset()), NotImplementedError, "__len__"),
        (lambda: Dataset()[0], NotImplementedError, "__getitem__"),
    ],
)
def test_datasets_refuse(call, error, message):
    with pytest.raises(error, match=message):
        call()


# ------------------------------------------------------------------------------------------------------- transforms


def random_images(rng, *shape, dtype=np.float32):
    return rng.standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize(("mean", "std"), [(0.5, 2), ((0.1, 0.2, 0.3), (1, 2, 4))])
def test_normalize(dtype, mean, std):
    images = random_images(np.random.default_rng(0), 2, 5, 4, 3, dtype=dtype)
    normalized = Normalize(mean, std)(images)
    assert normalized.dtype == dtype
    for c in range(3):
        m, s = (mean, std) if np.isscalar(mean) else (mean[c], std[c])
        expected = (images[..., c].astype(np.float64) - m) / s
        np.testing.assert_allclose(normalized[..., c], expected, rtol=0, atol=8 * np.finfo(dtype).eps)


def test_to_float_and_pad():
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 3, 4, 1) * 11
    floats = ToFloat()(pixels)
    assert floats.dtype == np.float32
    np.testing.assert_array_equal(floats, (pixels / 255.0).astype(np.float32))
    padded = Pad(2)(pixels)
    assert padded.shape == (2, 7, 8, 1)
    assert padded.dtype == np.uint8
    np.testing.assert_array_equal(padded[:, 2:-2, 2:-2], pixels)
    assert padded.sum(dtype=int) == pixels.sum(dtype=int)


def test_random_shift_moves_each_image_by_itself_and_zeros_come_in():
    images = random_images(np.random.default_rng(0), 300, 5, 4, 2)
    shifted = RandomShift(2)(images, np.random.default_rng(1))
    assert shifted.dtype == np.float32
    assert shifted.shape == images.shape
    seen = set()
    for image, moved in zip(images, shifted, strict=True):
        matches = []
        for dy, dx in itertools.product(range(-2, 3), repeat=2):
            expected = np.zeros_like(image)
            for y, x in itertools.product(range(5), range(4)):
                if 0 <= y - dy < 5 and 0 <= x - dx < 4:
                    expected[y, x] = image[y - dy, x - dx]
            if np.array_equal(moved, expected):
                matches.append((dy, dx))
        assert len(matches) == 1
        seen.update(matches)
    assert len(seen) == 25  # 300 draws: every one of the 25 shifts


def test_random_flip_mirrors_the_width_of_about_half_of_the_images():
    images = random_images(np.random.default_rng(0), 300, 5, 4, 2)
    result = RandomHorizontalFlip()(images, np.random.default_rng(1))
    same = np.array([np.array_equal(a, b) for a, b in zip(images, result, strict=True)])
    np.testing.assert_array_equal(result[~same], images[~same][:, :, ::-1, :])
    assert 100 < same.sum() < 200
    np.testing.assert_array_equal(RandomHorizontalFlip(0)(images), images)
    np.testing.assert_array_equal(RandomHorizontalFlip(1)(images), images[:, :, ::-1])


@pytest.mark.parametrize(
    "transform", [RandomShift(1), RandomHorizontalFlip(), Normalize(1, 2), Pad(1), AUGMENT, Compose([])], ids=repr
)
def test_transforms_depend_on_nothing_but_the_generator_and_leave_their_input_alone(transform):
    images = random_images(np.random.default_rng(0), 8, 5, 4, 2)
    images.flags.writeable = False
    once = transform(images, np.random.default_rng(5))
    backend.manual_seed(9)
    np.testing.assert_array_equal(transform(images, np.random.default_rng(5)), once)
    view = np.ascontiguousarray(images.transpose(0, 2, 1, 3)).transpose(0, 2, 1, 3)  # the same, not contiguous
    np.testing.assert_array_equal(transform(view, np.random.default_rng(5)), once)


def test_compose_applies_its_transforms_from_left_to_right():
    images = np.ones((2, 3, 4, 1), np.float32)
    np.testing.assert_array_equal(Compose([Normalize(0, 0.5), Pad(1)])(images), 2 * Pad(1)(images))
    np.testing.assert_array_equal(Compose([Pad(1), Normalize(1, 1)])(images), Pad(1)(images) - 1)


def test_resize_is_bilinear_interpolation():
    images = np.random.default_rng(0).random((2, 3, 4, 2), dtype=np.float32)
    for size, shape in ((7, (2, 7, 7, 2)), ((5, 2), (2, 5, 2, 2))):
        resized = Resize(size)(images)
        assert (resized.shape, resized.dtype, type(resized)) == (shape, np.float32, np.ndarray)
        np.testing.assert_array_equal(resized, F.interpolate(Tensor(images), size, mode="bilinear").numpy())
    np.testing.assert_array_equal(Resize((3, 4))(images), images)
    pixel = np.zeros((1, 2, 2, 1), np.float32)
    pixel[0, 0, 0, 0] = 16
    expected = np.outer([4, 3, 1, 0], [4, 3, 1, 0])  # 1, ¾, ¼ and 0 of the way to the neighbour
    np.testing.assert_array_equal(Resize(4)(pixel)[0, :, :, 0], expected)


IMAGES = np.zeros((2, 3, 4, 2), np.float32)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Normalize(0, 1)(IMAGES[0]), ValueError, r"Normalize: expected a batch .*\(3, 4, 2\).*image\[None\]"),
        (lambda: RandomShift(1)(IMAGES[0]), ValueError, "RandomShift: expected a batch"),
        (lambda: ToFloat()(IMAGES[0].astype(np.uint8)), ValueError, "ToFloat: expected a batch"),
        (lambda: Pad(1)(IMAGES[0]), ValueError, "Pad: expected a batch"),
        (lambda: RandomHorizontalFlip()(IMAGES[0]), ValueError, "RandomHorizontalFlip: expected a batch"),
        (lambda: Normalize((0, 0, 0), 1)(IMAGES), ValueError, r"2 channels on their last axis, mean has shape \(3,\)"),
        (lambda: Normalize(0, (1, 1, 1))(IMAGES), ValueError, r"std has shape \(3,\)"),
        (lambda: Normalize(0, 0), ValueError, "every std must be positive"),
        (lambda: Normalize(0, 1)(IMAGES.astype(np.uint8)), TypeError, r"uint8; put ToFloat\(\) before it"),
        (lambda: ToFloat()(IMAGES), TypeError, "float32; leave ToFloat out"),
        (lambda: ToFloat(0), ValueError, "maximum must be positive"),
        (lambda: Pad(-1), ValueError, "Pad: pixels"),
        (lambda: RandomShift(1.5), ValueError, "RandomShift: pixels.*1.5"),
        (lambda: Resize(0), ValueError, "Resize: size must be a positive integer or two of them, got 0"),
        (lambda: Resize((3, 4, 5)), ValueError, r"Resize: size .* got \(3, 4, 5\)"),
        (lambda: Resize(True), ValueError, "Resize: size .* got True"),
        (lambda: Resize(4)(IMAGES[0]), ValueError, "Resize: expected a batch"),
        (lambda: Resize(4)(IMAGES.astype(np.uint8)), TypeError, r"Resize: .* uint8; put ToFloat\(\) before it"),
        (lambda: RandomHorizontalFlip(2), ValueError, r"probability must lie in \[0, 1\], got 2"),
    ],
)
def test_transforms_refuse(call, error, message):
    with pytest.raises(error, match=message):
        call()


# ----------------------------------------------------------------------------------------------------------- digits


def test_digits_are_the_published_ones():
    images, labels = load_digits()
    assert images.shape == (1797, 8, 8, 1)
    assert images.dtype == np.float32
    assert labels.shape == (1797,)
    assert labels.dtype == np.int64
    assert images.min() == 0
    assert images.max() == 1
    # the class distribution that the data set's description gives for its test part
    np.testing.assert_array_equal(np.bincount(labels), [178, 182, 177, 183, 181, 182, 181, 179, 174, 180])
    np.testing.assert_array_equal(16 * images[0, 0, :, 0], [0, 0, 5, 13, 9, 1, 0, 0])  # its first line, a zero
    assert labels[0] == 0


def test_digits_split_is_stratified_fixed_and_complete():
    before = backend.generator_state()
    train, test, everything = digits("train"), digits("test"), digits("all")
    assert backend.generator_state() == before
    assert (len(train), len(test), len(everything)) == (1437, 360, 1797)
    total, held_out = np.bincount(everything.labels), np.bincount(test.labels)
    assert (np.abs(held_out - total / 5) < 1).all()
    rows = [image.tobytes() for image in everything.images]
    by_class = sorted(range(1797), key=lambda i: everything.labels[i])  # sorted() keeps the order of equals
    assert [rows[i] for i in sorted(by_class[::5])] == [image.tobytes() for image in test.images]
    assert len(set(rows)) == 1797  # no two images are alike, so the parts can be compared as sets
    parts = [image.tobytes() for image in [*train.images, *test.images]]
    assert sorted(parts) == sorted(rows)
    where = {row: i for i, row in enumerate(rows)}
    for part in (train, test):
        order = [where[image.tobytes()] for image in part.images]
        assert order == sorted(order)
        np.testing.assert_array_equal(part.labels, everything.labels[order])
    backend.manual_seed(7)
    np.testing.assert_array_equal(digits("test").images, test.images)


def test_digits_take_a_transform_and_refuse_an_unknown_split():
    assert digits("test", transform=Pad(4))[0][0].shape == (16, 16, 1)
    with pytest.raises(ValueError, match=r"split must be .*'validation'"):
        digits("validation")


# ------------------------------------------------------------------------------------------------- loader: the batches


@pytest.mark.parametrize(
    ("length", "batch_size", "drop_last", "sizes"),
    [
        (10, 4, False, [4, 4, 2]),
        (10, 4, True, [4, 4]),
        (8, 4, False, [4, 4]),
        (8, 4, True, [4, 4]),
        (3, 4, False, [3]),
        (5, 1, True, [1] * 5),
    ],
)
@pytest.mark.parametrize("prefetch", [0, 2])
def test_batches_cover_the_dataset_once(length, batch_size, drop_last, sizes, prefetch):
    for shuffle in (False, True):
        loader = DataLoader(Squares(length), batch_size, shuffle=shuffle, drop_last=drop_last, prefetch=prefetch)
        batches = list(loader)
        assert len(loader) == len(batches)
        assert [images.shape for images, _ in batches] == [(n, 2, 3, 1) for n in sizes]
        labels = labels_of(batches)
        if not shuffle:
            assert labels == list(range(sum(sizes)))
        assert len(set(labels)) == sum(sizes)
        for images, batch_labels in batches:
            np.testing.assert_array_equal(images[:, 1, 2, 0], batch_labels.astype(float) ** 2)


def test_each_epoch_has_its_own_order_and_so_has_each_seed():
    loader = DataLoader(numbered(), 4, shuffle=True)
    epochs = [labels_of(loader) for _ in range(3)]
    other = labels_of(DataLoader(numbered(), 4, shuffle=True, seed=1))
    assert len({tuple(order) for order in (*epochs, other, range(23))}) == 5
    assert all(sorted(order) == list(range(23)) for order in (*epochs, other))
    assert epochs == [loader.order(e).tolist() for e in range(3)]


def test_an_epoch_does_not_depend_on_what_happened_before():
    def loader():
        return DataLoader(numbered(transform=AUGMENT), 4, shuffle=True, seed=5)

    plain = loader()
    expected = [list(plain) for _ in range(3)]
    disturbed = loader()
    for _ in disturbed:  # an epoch that is left early is used up
        break
    backend.manual_seed(99)
    np.random.default_rng().random(3)
    disturbed.dataset[0]
    assert_batches_equal(disturbed, expected[1])
    assert_batches_equal(disturbed, expected[2])


def test_the_loader_leaves_the_global_generator_alone():
    before = backend.generator_state()
    list(DataLoader(numbered(transform=AUGMENT), 4, shuffle=True, prefetch=2))
    assert backend.generator_state() == before


def test_transforms_choose_anew_in_each_batch_and_epoch():
    same = ArrayDataset(np.ones((40, 5, 4, 1), np.float32), np.zeros(40), RandomShift(2))
    loader = DataLoader(same, 20)
    seen = {images.tobytes() for _ in range(3) for images, _ in loader}
    assert len(seen) == 6
    assert {images.tobytes() for images, _ in DataLoader(same, 20, seed=1)}.isdisjoint(seen)


def test_the_order_and_the_choices_of_a_batch_are_independent_draws():
    class Draws(Squares):
        def batch(self, indices, generator=None):
            drawn.append(generator.permutation(len(self)))
            return super().batch(indices)

    drawn = []
    loader = DataLoader(Draws(23), 5, shuffle=True)
    for _ in range(3):
        list(loader)
    drawn.extend(loader.order(epoch) for epoch in range(3))
    assert len({draw.tobytes() for draw in drawn}) == 3 * 5 + 3


@settings(max_examples=40, deadline=None)
@given(
    length=st.integers(1, 17),
    batch_size=st.integers(1, 6),
    shuffle=st.booleans(),
    seed=st.integers(0, 2**70),
    prefetch=st.integers(0, 4),
    stop=st.integers(0, 40),
    resumed_prefetch=st.integers(0, 2),
)
def test_a_resumed_loader_continues_as_an_uninterrupted_one(
    length, batch_size, shuffle, seed, prefetch, stop, resumed_prefetch
):
    def loader(prefetch):
        dataset = numbered(length, transform=AUGMENT)
        return DataLoader(dataset, batch_size, shuffle=shuffle, seed=seed, prefetch=prefetch)

    def stream(source, epochs):
        while source.epoch < epochs:
            yield from source

    whole = list(stream(loader(0), epochs=3))
    stop = min(stop, len(whole))
    interrupted = loader(prefetch)
    seen = list(itertools.islice(stream(interrupted, epochs=3), stop))
    resumed = loader(resumed_prefetch)
    resumed.load_state_dict(interrupted.state_dict())
    assert_batches_equal(seen + list(stream(resumed, epochs=3)), whole)


def test_the_state_counts_the_batches_that_were_handed_out():
    loader = DataLoader(Squares(10), 4, prefetch=3)
    assert (loader.epoch, loader.state_dict()["batch"]) == (0, 0)
    for count, _ in enumerate(loader, start=1):
        state = loader.state_dict()
        assert (state["epoch"], state["batch"]) == (0, count)
    assert (loader.epoch, loader.state_dict()["batch"]) == (1, 0)


def test_a_loop_after_one_that_was_left_early_starts_at_the_beginning():
    loader = DataLoader(Squares(10), 4)
    next(iter(loader))  # a look at one batch must not cost the next loop a batch
    assert labels_of(loader) == list(range(10))
    assert loader.epoch == 2


def test_state_is_refused_by_a_loader_whose_batches_would_differ():
    def loader(length=10, batch_size=4, shuffle=True, drop_last=False, seed=0):
        return DataLoader(Squares(length), batch_size, shuffle, drop_last, seed)

    state = loader().state_dict() | {"epoch": 3, "batch": 1}
    for name, other in {
        "dataset_size": loader(length=9),
        "batch_size": loader(batch_size=5),
        "shuffle": loader(shuffle=False),
        "drop_last": loader(drop_last=True),
        "seed": loader(seed=1),
    }.items():
        with pytest.raises(ValueError, match=f"saved with {name}=.*this loader has {name}="):
            other.load_state_dict(state)
        assert other.epoch == 0
    with pytest.raises(ValueError, match=r"no \['epoch', 'batch'\]"):
        loader().load_state_dict({k: v for k, v in state.items() if k not in ("epoch", "batch")})
    with pytest.raises(ValueError, match="epoch must be an integer"):
        loader().load_state_dict(state | {"epoch": -1})


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: DataLoader([(0, 1)], 1), TypeError, "expected a Dataset, got a list; wrap arrays in ArrayDataset"),
        (lambda: DataLoader(Squares(), 0), ValueError, "batch_size must be an integer of at least 1, got 0"),
        (lambda: DataLoader(Squares(), 2.0), ValueError, "batch_size.*2.0"),
        (lambda: DataLoader(Squares(), 2, seed=-1), ValueError, "seed must be an integer of at least 0, got -1"),
        (lambda: DataLoader(Squares(), 2, seed=None), ValueError, "seed.*None"),
        (lambda: DataLoader(Squares(), 2, prefetch=-1), ValueError, "prefetch"),
        (lambda: DataLoader(Squares(3), 4, drop_last=True), ValueError, "3 items.*leave no batch"),
        (lambda: DataLoader(Squares(0), 4), ValueError, "0 items"),
        (lambda: DataLoader(Squares(), 2, device="tpu"), ValueError, "device"),
    ],
)
def test_the_loader_refuses(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_batches_go_to_the_device_that_was_asked_for():
    backend.set_gpu_module(fakecupy)
    try:
        for prefetch in (0, 2):
            batches = list(DataLoader(Squares(), 4, prefetch=prefetch, device="gpu:1"))
            assert {(type(array), array.device.id) for batch in batches for array in batch} == {(fakecupy.ndarray, 1)}
            assert [label for _, labels in batches for label in fakecupy.asnumpy(labels)] == list(range(10))
    finally:
        backend.set_gpu_module(None)
    assert all(type(array) is np.ndarray for batch in DataLoader(Squares(), 4, device="cpu") for array in batch)


# --------------------------------------------------------------------------------------------- loader: the thread


@pytest.mark.parametrize("prefetch", [1, 2, 50])
def test_prefetched_batches_are_the_same_and_come_from_one_other_thread(prefetch):
    class Watched(Squares):
        def batch(self, indices, generator=None):
            threads.add(threading.current_thread().name)
            return super().batch(indices)

    threads = set()
    list(DataLoader(Watched(), 3, prefetch=prefetch))
    assert len(threads) == 1
    assert threading.current_thread().name not in threads

    dataset = numbered(transform=AUGMENT)
    direct = DataLoader(dataset, 4, shuffle=True, seed=3)
    ahead = DataLoader(dataset, 4, shuffle=True, seed=3, prefetch=prefetch)
    for _ in range(2):
        assert_batches_equal(ahead, list(direct))
    assert loader_threads() == []


def test_no_more_than_prefetch_batches_are_made_ahead():
    class Counting(Squares):
        def batch(self, indices, generator=None):
            made.append(1)
            return super().batch(indices)

    made = []
    loader = DataLoader(Counting(20), 1, prefetch=3)
    for taken, _ in enumerate(loader, start=1):
        assert len(made) <= taken + 3
    assert len(made) == 20


def test_batches_are_made_while_the_consumer_works():
    class Second(Squares):
        def batch(self, indices, generator=None):
            if indices[0] == 1:
                second_was_made.set()
            return super().batch(indices)

    second_was_made = threading.Event()
    for taken, _ in enumerate(DataLoader(Second(2), 1, prefetch=1)):
        if taken == 0:
            assert second_was_made.wait(timeout=30)


class Failing(Squares):
    def __getitem__(self, i):
        if i == 6:
            raise KeyError("image 6 is unreadable")
        return super().__getitem__(i)


@pytest.mark.parametrize("prefetch", [0, 1, 5])
def test_an_exception_arrives_in_its_turn_with_its_traceback(prefetch):
    seen = []
    with pytest.raises(KeyError, match="image 6 is unreadable") as caught:
        seen.extend(labels_of([batch]) for batch in DataLoader(Failing(), 2, prefetch=prefetch))
    assert seen == [[0, 1], [2, 3], [4, 5]]
    frames = traceback.extract_tb(caught.tb)
    assert frames[-1].name == "__getitem__"
    assert frames[-1].line.startswith("raise KeyError")
    assert loader_threads() == []


def leave_by_break(loader):
    for _ in loader:
        assert len(loader_threads()) == 1  # or the tests of its absence would show nothing
        break


def leave_by_exception(loader):
    def train():
        for _ in loader:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        train()


def leave_by_interrupt(loader):
    try:
        for _ in loader:
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass


def leave_by_forgetting_the_iterator(loader):
    iterator = iter(loader)
    next(iterator)
    del iterator


@pytest.mark.parametrize(
    "leave", [leave_by_break, leave_by_exception, leave_by_interrupt, leave_by_forgetting_the_iterator]
)
def test_leaving_early_leaves_no_thread_behind(leave):
    gc.disable()  # reference counting alone must do it
    try:
        leave(DataLoader(Squares(1000), 1, prefetch=3))
        assert loader_threads() == []
    finally:
        gc.enable()


def test_leaving_early_drops_the_batches_that_were_not_begun(monkeypatch):
    class Held(Squares):
        def batch(self, indices, generator=None):
            made.append(indices[0])
            if indices[0] == 1:
                begun.set()
                assert left.wait(timeout=30)
            return super().batch(indices)

    def watched_shutdown(pool, wait=True, **options):
        shutdown(pool, wait=False, **options)
        left.set()
        shutdown(pool, wait=wait)

    made, begun, left, shutdown = [], threading.Event(), threading.Event(), ThreadPoolExecutor.shutdown
    monkeypatch.setattr(ThreadPoolExecutor, "shutdown", watched_shutdown)
    for _ in DataLoader(Held(50), 1, prefetch=10):
        assert begun.wait(timeout=30)
        break
    assert made == [0, 1]


def test_an_iterator_that_is_never_finished_does_not_keep_python_from_exiting():
    program = (
        "import numpy as np; from minidl.data import ArrayDataset, DataLoader\n"
        "iterator = iter(DataLoader(ArrayDataset(np.zeros((100, 2, 2, 1)), np.zeros(100)), 1, prefetch=2))\n"
        "next(iterator); print('leaving')"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "leaving\n", "")
