"""Structural re-parameterisation: other weights, the same function (Ding et al., arXiv 2101.03697 and 2103.13425).

A convolution is linear, and in inference a batch norm is, too: a scale and a shift of each channel. Linear maps one
after the other, added, or side by side are again one linear map. So what trains as a structure of several convolutions
and batch norms can run as one convolution that gives the same output.

First the identities, each exact, on kernels (KH, KW, C/G, F) and biases (F,); I to VI are the transforms of Diverse
Branch Block (2103.13425, §3.2). Then what they do to whole networks: `fold_batch_norm` and `to_deploy`.
"""

from __future__ import annotations

import copy
import itertools
from collections import Counter
from typing import Any

import numpy as np

from minidl import Tensor, concatenate, nn, no_grad
from minidl.kernels.tiles import constant
from minidl.nn.init import is_placeholder
from models.units import require_network

Branch = tuple[Tensor, Tensor]  # the kernel and bias of a convolution

# -------------------------------------------------------------------------------------------------------- on kernels


def batch_norm_scale(bn: nn.BatchNorm2d) -> Tensor:
    """t = γ / √(σ² + ε), (F,): what a batch norm multiplies each channel by in inference."""
    if bn.running_var is None:
        raise ValueError("batch_norm_scale: expected a batch norm with running statistics, got one without")
    return (1.0 if bn.weight is None else bn.weight) / (bn.running_var + bn.eps).sqrt()


def fold_into_kernel(kernel: Tensor, bn: nn.BatchNorm2d, bias: Tensor | None = None) -> Branch:
    """I. A convolution and the batch norm after it as one convolution: what both do in inference.

    bn(X ∗ W + b) = (X ∗ W + b − μ) · t + β = X ∗ (W · t) + β + (b − μ) · t,  t = `batch_norm_scale(bn)`
    (2101.03697, eq. 3)

    Raises: ValueError for a batch norm of another number of channels, or without running statistics.
    """
    if bn.num_features != kernel.shape[-1]:
        raise ValueError(
            f"fold_into_kernel: expected a batch norm of {kernel.shape[-1]} channels, as many as the kernel "
            f"{kernel.shape} has filters, got {bn.num_features}"
        )
    t = batch_norm_scale(bn)  # (F,)
    shift = (-bn.running_mean if bias is None else bias - bn.running_mean) * t  # (F,)
    return kernel * t, shift if bn.bias is None else bn.bias + shift


def sum_of_branches(branches: list[Branch]) -> Branch:
    """II. Convolutions of one input, added: X ∗ W₁ + b₁ + X ∗ W₂ + b₂ + ... = X ∗ (W₁ + W₂ + ...) + (b₁ + b₂ + ...).

    Raises: ValueError for kernels of several shapes, of which broadcasting would make a wrong sum.
    """
    if len({kernel.shape for kernel, _ in branches}) != 1:
        raise ValueError(
            f"sum_of_branches: expected kernels of one shape, got {_shapes(branches)}; pad_kernel enlarges them"
        )
    kernels, biases = zip(*branches, strict=True)
    return sum(kernels[1:], kernels[0]), sum(biases[1:], biases[0])


def sequence_of_1x1_and_kxk(first: Branch, second: Branch, groups: int = 1) -> Branch:
    """III. A 1×1 convolution, and a K×K one of its output, as one K×K convolution.

    (X ∗ W₁ + b₁) ∗ W₂ + b₂ = X ∗ W + b,  at each position of the kernel  W = W₁ W₂,  and  b = Σ b₁ W₂ + b₂

    first    W₁ (1, 1, C/G, D), b₁ (D,), of stride 1 and without padding
    second   W₂ (KH, KW, D/G, F), b₂ (F,), of any stride and dilation, which the result has, too
    groups   G, of both

    There is a trap where the K×K convolution is padded. Zeros around X are b₁ after the 1×1 convolution. So the single
    convolution is the sequence if the images in between are padded with b₁, and not if they are padded with zeros.

    Raises: ValueError where first is not 1×1, or second does not read what it gives.
    """
    (W1, b1), (W2, b2) = first, second
    if W1.shape[:2] != (1, 1) or W1.shape[3] != groups * W2.shape[2] or W2.shape[3] % groups:
        raise ValueError(
            f"sequence_of_1x1_and_kxk: expected kernels (1, 1, C/G, D) and (KH, KW, D/G, F) with G = {groups}, "
            f"got {W1.shape} and {W2.shape}"
        )
    D, F = W1.shape[3] // groups, W2.shape[3] // groups  # in one group
    kernels, biases = [], []
    for i in range(groups):
        d, f = slice(i * D, (i + 1) * D), slice(i * F, (i + 1) * F)
        kernels.append(W1[0, 0, :, d] @ W2[..., f])  # (KH, KW, C/G, F/G)
        biases.append((b1[d] @ W2[..., f]).sum(axis=(0, 1)) + b2[f])  # (F/G,)
    return concatenate(kernels, axis=-1), concatenate(biases)  # (KH, KW, C/G, F), (F,)


def concatenation_of_branches(branches: list[Branch]) -> Branch:
    """IV. Convolutions of one input, their outputs concatenated in depth: the filters of all, in one bank.

    Without groups: those of a convolution cut its output in parts one after the other, and a concatenation does not.

    Raises: ValueError for kernels that differ in more than the number of filters.
    """
    if len({kernel.shape[:3] for kernel, _ in branches}) != 1:
        raise ValueError(
            "concatenation_of_branches: expected kernels that differ in the number of filters only, "
            f"got {_shapes(branches)}; pad_kernel enlarges them"
        )
    kernels, biases = zip(*branches, strict=True)
    return concatenate(kernels, axis=-1), concatenate(biases)  # (KH, KW, C, F₁ + F₂ + ...), (F₁ + F₂ + ...,)


def average_pooling_kernel(channels: int, kernel_size: tuple[int, int], groups: int, like: Tensor) -> Tensor:
    """V. Average pooling as a convolution of the same stride and padding: 1 / (KH · KW) where filter and channel agree.

    Padding counts, as with count_include_pad=True. (KH, KW, C/G, C), of the dtype and on the device of `like`.
    """
    return identity_kernel(channels, groups, like).tile((*kernel_size, 1, 1)) / (kernel_size[0] * kernel_size[1])


def pad_kernel(kernel: Tensor, kernel_size: tuple[int, int]) -> Tensor:
    """VI. A kernel as the middle of a larger one of zeros: 1×1 or 1×3 as 3×3.

    A convolution that is padded by p must with the larger kernel be padded by p + (K′ − K) / 2, times its dilation.

    Raises: ValueError for a size that is smaller, or has no middle for the kernel.
    """
    more = [new - old for new, old in zip(kernel_size, kernel.shape[:2], strict=True)]
    if any(n < 0 or n % 2 for n in more):
        raise ValueError(
            f"pad_kernel: expected a kernel_size larger than {kernel.shape[:2]} by even numbers, got {kernel_size}"
        )
    rows, cols = (n // 2 for n in more)
    return kernel.pad(((rows, rows), (cols, cols), (0, 0), (0, 0)))  # (*kernel_size, C/G, F)


def identity_kernel(channels: int, groups: int, like: Tensor) -> Tensor:
    """The 1×1 kernel (1, 1, C/G, C) that gives its input back: filter f reads channel f mod C/G of its group.

    It has the dtype of `like`, and is on its device. Raises: ValueError for groups that do not divide the channels.
    """
    if channels % groups:
        raise ValueError(f"identity_kernel: groups={groups} must divide channels={channels}")
    identity = np.tile(np.eye(channels // groups), groups)  # (C/G, C)
    return Tensor(identity[None, None], dtype=like.dtype, device=like.device)  # (1, 1, C/G, C)


def _shapes(branches: list[Branch]) -> str:
    return ", ".join(str(kernel.shape) for kernel, _ in branches) or "none"


# ----------------------------------------------------------------------------------------------- on whole networks


def fold_batch_norm(model: nn.Module, images: Any = None) -> nn.Module:
    """A copy of a network for inference, in which convolutions have taken in the batch norms after them.

    Each takes in the BatchNorm2d that is assigned right after it, to the next attribute of the same module or the next
    place of a Sequential. By convention that is the one it feeds, and nothing else reads its output. The convolution
    gets a bias and moves to where the batch norm stood, for there it is said what follows (`add`, `relu`); an Identity
    stands in its own place. A batch norm without running statistics stays: what it does depends on the batch.

    images   where given, proof that the network keeps to the convention: outputs for them must agree

    The network itself stays as it is. The copy is in inference mode, and has neither gradients nor hooks.

    Raises: ValueError where it shows that the convention is not kept: the batch norm has another number of channels,
    one of the two stands in several places, or outputs for `images` differ by more than a relative 1e-3, in float64
    1e-10.
    """
    require_network("fold_batch_norm", model)
    folded = _copy_for_inference(model)
    _fold(folded)
    return _proven("fold_batch_norm", model, folded, images)


def to_deploy(model: nn.Module, images: Any = None) -> nn.Module:
    """A copy of a network in its plainest form for inference: what only training needs is gone.

    - A block that has a plain form (`RepVGGBlock.fuse`) is replaced by it: one 3×3 convolution.
    - A part that only training uses, an auxiliary head, is dropped, and None stands in its place. Its class says so:
      `only_in_training = True`.
    - Other batch norms are folded into convolutions: see `fold_batch_norm`, also for `images` and errors.
    - A convolution that a ReLU follows in a Sequential computes it, too; an Identity stands where the ReLU stood.
    - Weights are constants: their arrays on the CPU cannot be written to, only replaced. So what a convolution works
      out from its weight is worked out once and kept: up to four times the memory of a 3×3 weight, and six times where
      images of several sizes come. Copied, moved, trained or loaded weights are none; `to_deploy` makes them constants
      again.
    """
    require_network("to_deploy", model)
    deployed = _plain(_copy_for_inference(model))
    _fold(deployed)
    _take_in_relus(deployed)
    _make_constant(deployed)
    return _proven("to_deploy", model, deployed, images)


def _copy_for_inference(model: nn.Module) -> nn.Module:
    memo: dict[int, Any] = {}  # of what a deep copy would copy, by id: what stands in its place
    for module in model.modules():
        memo |= {id(hooks): () for hooks in (module._before_forward, module._after_forward)}
    memo |= {id(parameter.grad): None for parameter in model.parameters()}
    memo |= {id(p.data): p.data for p in model.parameters() if is_placeholder(p.data)}  # which have no memory
    return copy.deepcopy(model, memo).eval()


def _plain(module: nn.Module) -> nn.Module:
    if hasattr(module, "fuse"):
        return module.fuse()
    for name, part in list(module.named_children()):
        setattr(module, name, None if getattr(part, "only_in_training", False) else _plain(part))
    return module


def _fold(model: nn.Module) -> None:
    places = _places(model)
    for parent, module in list(model.named_modules()):
        for (name, conv), (next_name, bn) in itertools.pairwise(list(module.named_children())):
            if not (isinstance(conv, nn.Conv2d) and isinstance(bn, nn.BatchNorm2d)) or bn.running_var is None:
                continue
            if conv.relu:  # what the batch norm reads is not linear
                continue
            pair = " and ".join(f"{parent}.{key}".lstrip(".") for key in (name, next_name))
            if max(places[id(conv)], places[id(bn)]) > 1:
                raise ValueError(f"fold_batch_norm: expected {pair} in one place each, got one that is shared")
            if bn.num_features != conv.out_channels:
                raise ValueError(
                    f"fold_batch_norm: expected {pair} of one number of channels, got {conv.out_channels} and "
                    f"{bn.num_features}; assign a batch norm after the convolution that feeds it"
                )
            kernel, bias = fold_into_kernel(conv.weight, bn, conv.bias)
            conv.weight, conv.bias = nn.Parameter(kernel), nn.Parameter(bias)
            setattr(module, next_name, conv)
            setattr(module, name, nn.Identity().eval())


def _places(model: nn.Module) -> Counter[int]:
    """In how many places each module stands, by its id."""
    return Counter(id(child) for module in model.modules() for child in module.children())


def _take_in_relus(model: nn.Module) -> None:
    places = _places(model)
    for module in model.modules():
        layers = list(module.named_children()) if isinstance(module, nn.Sequential) else []
        for (_, conv), (name, relu) in itertools.pairwise(layers):
            if type(conv) is nn.Conv2d and isinstance(relu, nn.ReLU) and places[id(conv)] == 1:
                conv.relu = True
                setattr(module, name, nn.Identity().eval())


def _make_constant(model: nn.Module) -> None:
    for parameter in model.parameters():
        if isinstance(parameter.data, np.ndarray) and not is_placeholder(parameter.data):
            parameter.data = constant(parameter.data)


def _proven(name: str, model: nn.Module, plain: nn.Module, images: Any) -> nn.Module:
    """`plain`, if its outputs for `images` are those of `model`."""
    if images is None:
        return plain
    hint = "a batch norm must be assigned right after the convolution that feeds it, and nothing else may read that"
    expected_outputs = _outputs(name, _copy_for_inference(model), images)
    try:
        actual_outputs = _outputs(name, plain, images)
    except ValueError as error:
        raise ValueError(f"{name}: expected the outputs that the network has, got an error: {error}; {hint}") from error
    for expected, actual in zip(expected_outputs, actual_outputs, strict=True):
        tolerance = 1e-10 if expected.dtype == np.float64 else 1e-3
        size = np.linalg.norm(expected)
        difference = np.linalg.norm(actual - expected) if actual.shape == expected.shape else np.inf
        if not difference <= tolerance * size:
            raise ValueError(
                f"{name}: expected the outputs that the network has, of norm {size:.1e}, got others that differ by "
                f"{difference:.1e}; {hint}"
            )
    return plain


def _outputs(name: str, model: nn.Module, images: Any) -> list[np.ndarray]:
    with no_grad():
        outputs = model(images)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    if wrong := [type(y).__name__ for y in outputs if not isinstance(y, Tensor)]:
        raise TypeError(f"{name}: expected a network that gives a tensor or a tuple of tensors, got a {wrong[0]}")
    return [y.numpy() for y in outputs]
