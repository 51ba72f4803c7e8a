"""dropout: a mask computed from a seed and a position, the same on every device, forward and backward."""

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


def seeded_dropout(p, seed=3):
    def function(x):
        minidl.manual_seed(seed)
        return F.dropout(x, p)

    return function


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
    check_operator(seeded_dropout(p), [rng.standard_normal((3, 4, 5))], device)


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
    np.testing.assert_array_equal(host(seeded_dropout(0.5)(scattered(x))), host(seeded_dropout(0.5)(x)))


def masks(seed, device="cpu", p=0.5):
    return host(keep_mask(to_device(np.zeros(COUNT), as_device(device)), p, seed))


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


def test_the_masks_of_neighbouring_manual_seeds_are_independent():
    x, kept = Tensor(np.ones(COUNT)), []
    for seed in (0, 1, 2):
        minidl.manual_seed(seed)
        kept += [host(F.dropout(x)) != 0, host(F.dropout(x)) != 0]
    for i, one in enumerate(kept):
        for other in kept[:i]:
            assert_fraction((one == other).mean(), 0.5, COUNT)


def test_zero_one_and_inference(device, rng):
    x = Tensor(rng.standard_normal((3, 4)), requires_grad=True, device=device)
    state = minidl.backend.generator_state()
    assert F.dropout(x, 0.0) is x
    assert F.dropout(x, 0.9, training=False) is x
    y = F.dropout(x, 1.0)
    (gradient,) = minidl.grad(y, [x], Tensor(np.ones((3, 4)), device=device))
    assert not host(y).any()
    assert not host(gradient).any()
    assert minidl.backend.generator_state() == state, "nothing was drawn"
    check_manners(lambda x: F.dropout(x, 1), [host(x)], device)


def test_float32_integers_and_raw_arrays(device):
    assert F.dropout(Tensor(np.ones(9, np.float32), device=device)).dtype == np.float32
    assert F.dropout(Tensor(np.ones(9, int), device=device)).dtype == np.float32
    assert not isinstance(F.dropout(Tensor(np.ones(9), device=device).data), Tensor)


@pytest.mark.parametrize("p", [-0.1, 1.5, float("nan")])
def test_wrong_probabilities(p, device):
    with pytest.raises(ValueError, match=f"dropout: expected a probability from 0 to 1, got p={p}"):
        F.dropout(Tensor(np.ones(3), device=device), p, training=False)
