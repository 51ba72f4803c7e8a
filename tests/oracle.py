"""The tests' independent judge: definitions written out as plain loops, in float64, with NumPy alone.

Nothing here shares code or tricks with the engine. Slow and obvious is the point: each forward function loops over
output positions and computes one window at a time. Images are (N, H, W, C); convolution weights are (KH, KW, C/G, F);
classes are on the last axis. N batch, H W in, OH OW out, C in-channels, F out-channels, KH KW kernel, G groups.
"""

import math

import numpy as np


def numeric_gradient(function, inputs, upstream, eps=1e-6):
    """Central differences of sum(upstream * function(*inputs)) with respect to every entry of every input.

    The error is about eps**2 from the formula and 1e-16 / eps from rounding, so inputs must be float64.
    Returns one array per input, of its shape.
    """
    for array in inputs:
        if array.dtype != np.float64:
            raise TypeError(f"numeric_gradient: inputs must be float64, got {array.dtype}")

    def objective(arrays):
        output = np.asarray(function(*arrays))
        if output.shape != np.shape(upstream):
            raise ValueError(
                f"numeric_gradient: upstream {np.shape(upstream)} does not match the output {output.shape}"
            )
        return float(np.sum(upstream * output))

    gradients = []
    for which, array in enumerate(inputs):
        gradient = np.zeros(array.shape)
        for position in np.ndindex(array.shape):
            above = [other.copy() for other in inputs]
            below = [other.copy() for other in inputs]
            above[which][position] += eps
            below[which][position] -= eps
            gradient[position] = (objective(above) - objective(below)) / (2 * eps)
        gradients.append(gradient)
    return gradients


# ---- convolution and linear


def conv2d(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """y[n, oh, ow, f] = bias[f] + sum over kh, kw, c of x[n, h, w, c] * weight[kh, kw, c, f].

    There h = oh*SH + kh*DH - PH and w = ow*SW + kw*DW - PW.
    f sees only the channels of its own group; outside the image x is zero. (N, H, W, C) -> (N, OH, OW, F)
    """
    x, weight = _float64(x), _float64(weight)
    (SH, SW), (PH, PW), (DH, DW) = _pair(stride), _pair(padding), _pair(dilation)
    N, H, W, C = x.shape
    KH, KW, C_group, F = weight.shape
    assert C_group * groups == C and F % groups == 0, "channels do not fit the groups"
    F_group = F // groups
    OH = (H + 2 * PH - DH * (KH - 1) - 1) // SH + 1
    OW = (W + 2 * PW - DW * (KW - 1) - 1) // SW + 1

    y = np.zeros((N, OH, OW, F))
    for n in range(N):
        for oh in range(OH):
            for ow in range(OW):
                for f in range(F):
                    first_channel = (f // F_group) * C_group
                    for kh in range(KH):
                        for kw in range(KW):
                            h = oh * SH + kh * DH - PH
                            w = ow * SW + kw * DW - PW
                            if 0 <= h < H and 0 <= w < W:
                                pixel = x[n, h, w, first_channel : first_channel + C_group]
                                y[n, oh, ow, f] += np.sum(pixel * weight[kh, kw, :, f])
    return y if bias is None else y + _float64(bias)


def linear(x, weight, bias=None):
    """y[..., o] = sum over i of x[..., i] * weight[i, o], plus bias[o]. (..., I) -> (..., O)"""
    x, weight = _float64(x), _float64(weight)
    y = np.zeros((*x.shape[:-1], weight.shape[1]))
    for i in range(weight.shape[0]):
        for o in range(weight.shape[1]):
            y[..., o] += x[..., i] * weight[i, o]
    return y if bias is None else y + _float64(bias)


# ---- pooling


def max_pool2d(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    """The largest value of each window; padding is minus infinity and never wins. (N, H, W, C) -> (N, OH, OW, C)"""
    x = _float64(x)
    N, H, W, C = x.shape
    KH, KW = _pair(kernel_size)
    SH, SW = _pair(kernel_size if stride is None else stride)
    (PH, PW), (DH, DW) = _pair(padding), _pair(dilation)
    OH = _pooled_length(H, KH, SH, PH, DH, ceil_mode)
    OW = _pooled_length(W, KW, SW, PW, DW, ceil_mode)

    y = np.full((N, OH, OW, C), -np.inf)
    for oh in range(OH):
        for ow in range(OW):
            for kh in range(KH):
                for kw in range(KW):
                    h = oh * SH + kh * DH - PH
                    w = ow * SW + kw * DW - PW
                    if 0 <= h < H and 0 <= w < W:
                        y[:, oh, ow] = np.maximum(y[:, oh, ow], x[:, h, w])
    return y


def avg_pool2d(x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None):
    """The sum of each window over a divisor. (N, H, W, C) -> (N, OH, OW, C)

    The divisor is divisor_override if given; else the number of window positions inside the padded image
    (count_include_pad), so a last window that ceil_mode lets hang over the padding counts less; else the number of
    those inside the image itself.
    """
    x = _float64(x)
    N, H, W, C = x.shape
    KH, KW = _pair(kernel_size)
    SH, SW = _pair(kernel_size if stride is None else stride)
    PH, PW = _pair(padding)
    OH = _pooled_length(H, KH, SH, PH, 1, ceil_mode)
    OW = _pooled_length(W, KW, SW, PW, 1, ceil_mode)

    y = np.zeros((N, OH, OW, C))
    for oh in range(OH):
        for ow in range(OW):
            inside_image = inside_padded = 0
            for h in range(oh * SH - PH, oh * SH - PH + KH):
                for w in range(ow * SW - PW, ow * SW - PW + KW):
                    if h < H + PH and w < W + PW:
                        inside_padded += 1
                    if 0 <= h < H and 0 <= w < W:
                        inside_image += 1
                        y[:, oh, ow] += x[:, h, w]
            divisor = inside_padded if count_include_pad else inside_image
            y[:, oh, ow] /= divisor if divisor_override is None else divisor_override
    return y


def adaptive_avg_pool2d(x, output_size):
    """The mean over rows floor(oh*H/OH) to ceil((oh+1)*H/OH), and columns likewise; neighbours may overlap."""
    x = _float64(x)
    N, H, W, C = x.shape
    OH, OW = _pair(output_size)
    y = np.zeros((N, OH, OW, C))
    for oh in range(OH):
        for ow in range(OW):
            top, bottom = oh * H // OH, math.ceil((oh + 1) * H / OH)
            left, right = ow * W // OW, math.ceil((ow + 1) * W / OW)
            y[:, oh, ow] = x[:, top:bottom, left:right].mean(axis=(1, 2))
    return y


def _pooled_length(length, kernel, stride, padding, dilation, ceil_mode):
    """How many windows fit.

    With ceil_mode one more that hangs over the end, unless it would start in the end padding.
    """
    spare = length + 2 * padding - (dilation * (kernel - 1) + 1)
    if not ceil_mode:
        return spare // stride + 1
    windows = math.ceil(spare / stride) + 1
    last_start = (windows - 1) * stride - padding
    return windows - 1 if last_start >= length else windows


# ---- normalisation


def batch_statistics(x):
    """Per channel (last axis): the mean and two variances.

    They are the biased one (to normalise with) and the unbiased one (to keep running).
    """
    x = _float64(x)
    rows = x.reshape(-1, x.shape[-1])
    count = len(rows)
    mean = rows.sum(axis=0) / count
    squares = ((rows - mean) ** 2).sum(axis=0)
    unbiased = squares / (count - 1) if count > 1 else np.full(x.shape[-1], np.nan)
    return mean, squares / count, unbiased


def batch_norm(x, mean, var, weight=None, bias=None, eps=1e-5):
    """y[..., c] = (x[..., c] - mean[c]) / sqrt(var[c] + eps) * weight[c] + bias[c]"""
    x = _float64(x)
    y = np.empty(x.shape)
    for c in range(x.shape[-1]):
        y[..., c] = (x[..., c] - mean[c]) / math.sqrt(var[c] + eps)
        if weight is not None:
            y[..., c] *= weight[c]
        if bias is not None:
            y[..., c] += bias[c]
    return y


# ---- activations and losses


def sigmoid(x):
    """1 / (1 + exp(-x)), in the form whose exponential cannot overflow."""
    x = _float64(x)
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + small), small / (1 + small))


def softmax(x, axis=-1):
    """exp(x) / sum of exp(x) along axis; subtracting the maximum changes nothing but the overflow."""
    x = _float64(x)
    powers = np.exp(x - x.max(axis=axis, keepdims=True))
    return powers / powers.sum(axis=axis, keepdims=True)


def log_softmax(x, axis=-1):
    """x - log(sum of exp(x)) along axis."""
    x = _float64(x)
    shifted = x - x.max(axis=axis, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True))


def cross_entropy(logits, target, weight=None, ignore_index=-100, reduction="mean", label_smoothing=0.0):
    """-sum over c of weight[c] * t[c] * log_softmax(logits)[c] for each sample, t the target distribution.

    target: class numbers of shape logits.shape[:-1], or probabilities of the shape of logits. Smoothing mixes t with
    the uniform distribution: (1 - label_smoothing) * t + label_smoothing / C. A class number equal to ignore_index
    gives loss 0. The mean divides by the summed weight of the true classes for class numbers, by the number of samples
    for probabilities.
    """
    logits, target = _float64(logits), np.asarray(target)
    C = logits.shape[-1]
    weight = np.ones(C) if weight is None else _float64(weight)
    by_number = target.shape == logits.shape[:-1]
    assert by_number or target.shape == logits.shape, "target has neither the samples' nor the logits' shape"

    log_probabilities = log_softmax(logits)
    losses = np.zeros(logits.shape[:-1])
    divisor = 0.0
    for sample in np.ndindex(losses.shape):
        if by_number and target[sample] == ignore_index:
            continue
        wanted = np.eye(C)[target[sample]] if by_number else _float64(target[sample])
        wanted = (1 - label_smoothing) * wanted + label_smoothing / C
        for c in range(C):
            losses[sample] -= weight[c] * wanted[c] * log_probabilities[(*sample, c)]
        divisor += weight[target[sample]] if by_number else 1.0
    if reduction == "mean":
        return losses.sum() / divisor if divisor else np.nan
    return _reduce(losses, reduction)


def mse_loss(prediction, target, reduction="mean"):
    """(prediction - target)**2; equal shapes only, because (N, 1) against (N,) would broadcast to (N, N)."""
    prediction, target = _float64(prediction), _float64(target)
    assert prediction.shape == target.shape, "prediction and target differ in shape"
    return _reduce((prediction - target) ** 2, reduction)


def _reduce(losses, reduction):
    return {"none": lambda: losses, "sum": losses.sum, "mean": losses.mean}[reduction]()


# ---- helpers


def _float64(values):
    return np.asarray(values, dtype=np.float64)


def _pair(value):
    return (value, value) if isinstance(value, int) else tuple(value)
