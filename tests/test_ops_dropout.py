"""dropout, dropout2d: a mask computed from seed and position, the same on every device, forward and backward."""

import numpy as np
import pytest
from judge import assert_close, check_manners, check_operator, host, scattered

import minidl
from minidl import Tensor
from minidl import functional as F
from minidl.backend import device as as_device
from minidl.backend import to_device
from minidl.ops.dropout import keep_mask

COUNT = 200_000


def seeded(function, p, seed=3):
    def restarted(x):
        minidl.manual_seed(seed)
        return function(x, p)

    return restarted


def assert_fraction(actual, expected, count):
    """A fraction of `count` independent draws, within five standard deviations."""
    assert abs(actual - expected) < 5 * np.sqrt(expected * (1 - expected) / count)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
def test_elements_are_dropped_or_scaled(p, device, rng):
    x = rng.standard_normal((50, 40, 3))
    y = host(F.dropout(Tensor(x, device=device), p))
    kept = y != 0
    np.testing.assert_allclose(y[kept], x[kept] / (1 - p))
    assert_fraction(kept.mean(), 1 - p, x.size)


@pytest.mark.parametrize("p", [0.25, 0.5])
def test_gradients_and_manners(p, device, rng):
    check_operator(seeded(F.dropout, p), [rng.standard_normal((3, 4, 5))], device)


def test_backward_uses_the_mask_of_its_forward(device, rng):
    x = Tensor(rng.standard_normal((20, 30)), requires_grad=True, device=device)
    first, second = F.dropout(x, 0.4), F.dropout(x, 0.4)
    g = rng.standard_normal(x.shape)
    for y in (second, first):  # not in the order of their forwards
        (gradient,) = minidl.grad(y, [x], Tensor(g, device=device))
        assert_close(gradient, g * (host(y) != 0) / 0.6)
    assert (host(first) != host(second)).any()


def test_a_seed_fixes_the_mask_on_every_device(device, rng):
    x = rng.standard_normal((30, 7)).astype(np.float32)
    results = []
    for place in ("cpu", device, device):
        minidl.manual_seed(11)
        results.append([host(F.dropout(Tensor(x, device=place), p)) for p in (0.3, 0.6)])
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[1], results[2])
    minidl.manual_seed(12)
    assert (host(F.dropout(Tensor(x, device=device), 0.3)) != results[0][0]).any()


def test_the_mask_follows_positions_not_memory(device, rng):
    x = Tensor(rng.standard_normal((6, 5, 4)), device=device)
    np.testing.assert_array_equal(host(seeded(F.dropout, 0.5)(scattered(x))), host(seeded(F.dropout, 0.5)(x)))


def masks(seed, device="cpu", p=0.5):
    return host(keep_mask(to_device(np.zeros(1), as_device(device)), (COUNT,), p, seed))


@pytest.mark.parametrize("seed", [0, 1, 2**31, 2**32, 2**32 + 1, 2**63 - 1])
@pytest.mark.parametrize("p", [0.05, 0.5, 0.9])
def test_keep_rate(p, seed, device):
    assert_fraction(masks(seed, device, p).mean(), 1 - p, COUNT)


@pytest.mark.parametrize("seed", [0, 1, 12345678901234567])
def test_neighbouring_positions_are_independent(seed):
    mask = masks(seed)
    for lag in (1, 2, 3, 4, 7, 8, 64, 96, 1024, 4096, 65536):
        assert_fraction((mask[lag:] == mask[:-lag]).mean(), 0.5, COUNT - lag)


@pytest.mark.parametrize("seed", [0, 6, 2**32 - 1, 12345678901234567])
def test_neighbouring_seeds_are_independent(seed):
    """Also after an exchange of positions: a mask of seed + 1 is not that of seed in another order."""
    mask, following, position = masks(seed), masks(seed + 1), np.arange(2**17)
    for exchange in range(16):
        assert_fraction((mask[position] == following[position ^ exchange]).mean(), 0.5, position.size)


@pytest.mark.parametrize("bit", [0, 31, 32, 33, 62])
def test_every_bit_of_the_seed_counts(bit):
    assert_fraction((masks(5) == masks(5 ^ 1 << bit)).mean(), 0.5, COUNT)


def test_the_masks_of_neighbouring_manual_seeds_are_independent():
    x, kept = Tensor(np.ones(COUNT)), []
    for seed in (0, 1, 2):
        minidl.manual_seed(seed)
        kept += [host(F.dropout(x)) != 0, host(F.dropout(x)) != 0]
    for i, one in enumerate(kept):
        for other in kept[:i]:
            assert_fraction((one == other).mean(), 0.5, COUNT)


# ---- whole channels


def test_dropout2d_drops_whole_channels(device, rng):
    """One decision a channel of an image, and 2000 of them."""
    x = rng.standard_normal((50, 3, 4, 40))
    y = host(F.dropout2d(Tensor(x, device=device), 0.3))
    kept = y.any(axis=(1, 2), keepdims=True)  # (N, 1, 1, C)
    np.testing.assert_allclose(y, x * kept / 0.7)
    assert_fraction(kept.mean(), 0.7, kept.size)


@pytest.mark.parametrize("p", [0.25, 0.5])
def test_gradients_and_manners_of_dropout2d(p, device, rng):
    check_operator(seeded(F.dropout2d, p), [rng.standard_normal((3, 2, 4, 5))], device)


def test_backward_of_dropout2d_uses_the_mask_of_its_forward(device, rng):
    x = Tensor(rng.standard_normal((5, 3, 2, 8)), requires_grad=True, device=device)
    first, second = F.dropout2d(x, 0.4), F.dropout2d(x, 0.4)
    g = rng.standard_normal(x.shape)
    for y in (second, first):
        (gradient,) = minidl.grad(y, [x], Tensor(g, device=device))
        assert_close(gradient, g * (host(y) != 0) / 0.6)
    assert (host(first) != host(second)).any()


def test_a_seed_fixes_the_mask_of_dropout2d_on_every_device(device, rng):
    x = rng.standard_normal((6, 4, 3, 7)).astype(np.float32)
    results = [host(seeded(F.dropout2d, 0.4)(Tensor(x, device=place))) for place in ("cpu", device, device)]
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[1], results[2])
    assert (host(seeded(F.dropout2d, 0.4, seed=4)(Tensor(x, device=device))) != results[0]).any()
    spread = scattered(Tensor(x, device=device))
    np.testing.assert_array_equal(host(seeded(F.dropout2d, 0.4)(spread)), results[0])


@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
def test_channels_and_images_are_dropped_independently(p, device):
    """Of two of them both are kept with probability (1 − p)², whether they are neighbours in N, in C, or far apart.

    A channel is in at most two of the pairs, so the mean over them varies at most as that of a third as many.
    """
    N, C = 400, 256
    kept = host(F.dropout2d(Tensor(np.ones((N, 1, 1, C)), device=device), p))[:, 0, 0] != 0  # (N, C)
    assert_fraction(kept.mean(), 1 - p, kept.size)
    for lag in (1, 2, 3, 8, 64, 128):
        for one, other in ((kept[lag:], kept[:-lag]), (kept[:, lag:], kept[:, :-lag])):
            assert_fraction((one & other).mean(), (1 - p) ** 2, one.size / 3)


@pytest.mark.parametrize("p", [0.2, 0.5])
def test_every_channel_is_dropped_as_often_as_any_other(p):
    kept = host(F.dropout2d(Tensor(np.ones((4000, 1, 1, 12))), p))[:, 0, 0] != 0  # (N, C)
    for c in range(12):
        assert_fraction(kept[:, c].mean(), 1 - p, 4000)


def test_dropout2d_of_no_images(device):
    for shape in ((0, 3, 4, 2), (2, 0, 4, 3), (2, 3, 4, 0)):
        assert F.dropout2d(Tensor(np.ones(shape), device=device)).shape == shape


@pytest.mark.torch
def test_dropout2d_has_the_values_of_torch(rng):
    """Kept or not is each library's own draw; what a kept or a dropped channel becomes is not."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    x = rng.standard_normal((6, 3, 4, 10))
    ours = host(F.dropout2d(Tensor(x), 0.25))
    theirs = torch.nn.functional.dropout2d(torch.from_numpy(x).permute(0, 3, 1, 2), 0.25).permute(0, 2, 3, 1).numpy()
    both = (ours != 0) & (theirs != 0)
    assert both.any()
    np.testing.assert_allclose(ours[both], theirs[both])
    assert theirs.any(axis=(1, 2)).tolist() == theirs.all(axis=(1, 2)).tolist(), "whole channels there, too"


@pytest.mark.parametrize("shape", [(), (4,), (3, 4), (5, 6, 3), (2, 3, 5, 6, 3)], ids=str)
@pytest.mark.parametrize("training", [True, False])
def test_dropout2d_takes_images_only(shape, training, device):
    message = r"^dropout2d: expected images \(N, H, W, C\), got shape .*; for one image write x\[None\]"
    with pytest.raises(ValueError, match=message):
        F.dropout2d(Tensor(np.ones(shape), device=device), 0.5, training)


# ---- what both have in common


BOTH = pytest.mark.parametrize("function", [F.dropout, F.dropout2d], ids=["dropout", "dropout2d"])


@BOTH
def test_zero_one_and_inference(function, device, rng):
    x = Tensor(rng.standard_normal((2, 3, 2, 4)), requires_grad=True, device=device)
    state = minidl.backend.generator_state()
    assert function(x, 0.0) is x
    assert function(x, 0.9, training=False) is x
    y = function(x, 1.0)
    (gradient,) = minidl.grad(y, [x], Tensor(np.ones(x.shape), device=device))
    assert not host(y).any()
    assert not host(gradient).any()
    assert minidl.backend.generator_state() == state, "nothing was drawn"
    check_manners(lambda x: function(x, 1), [host(x)], device)


@BOTH
def test_float32_integers_and_raw_arrays(function, device):
    assert function(Tensor(np.ones((1, 3, 3, 1), np.float32), device=device)).dtype == np.float32
    for training in (True, False):
        assert function(Tensor(np.ones((1, 3, 3, 1), int), device=device), training=training).dtype == np.float32
    assert not isinstance(function(Tensor(np.ones((1, 3, 3, 1)), device=device).data), Tensor)


@BOTH
@pytest.mark.parametrize("p", [-0.1, 1.5, float("nan")])
def test_wrong_probabilities(function, p, device):
    with pytest.raises(ValueError, match=f"^{function.__name__}: expected a probability from 0 to 1, got p={p}"):
        function(Tensor(np.ones((1, 2, 2, 1)), device=device), p, training=False)


@BOTH
@pytest.mark.parametrize("training", [True, False])
def test_a_list_is_no_tensor(function, training):
    with pytest.raises(TypeError, match=f"^{function.__name__}: expected a Tensor or an array, got list"):
        function([[[[1.0]]]], training=training)


def test_masks_hardly_ever_come_again():
    """Seeds are drawn from so many that 1,000 calls have 1,000 masks."""
    x = np.ones(64)
    masks = {(F.dropout(x) != 0).tobytes() for _ in range(1000)}
    assert len(masks) == 1000


def test_a_probability_next_to_one(device):
    y = F.dropout(Tensor(np.ones(1000), device=device), 1 - 2.0**-40)
    assert not host(y).any()
