"""The tests' independent judge: definitions written out as plain loops, in float64, with NumPy alone.

Nothing here shares code or tricks with the engine. Slow and obvious is the point: each forward function loops over
output positions and computes one window at a time. Images are (N, H, W, C); convolution weights are (KH, KW, C/G, F);
classes are on the last axis. N batch, H W in, OH OW out, C in-channels, F out-channels, KH KW kernel, G groups.
"""

import itertools
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

    There h = oh*SH + kh*DH - top and w = ow*SW + kw*DW - left.
    f sees only the channels of its own group; outside the image x is zero. (N, H, W, C) -> (N, OH, OW, F)
    """
    x, weight = _float64(x), _float64(weight)
    (SH, SW), (DH, DW), ((top, bottom), (left, right)) = _pair(stride), _pair(dilation), _sides(padding)
    N, H, W, C = x.shape
    KH, KW, C_group, F = weight.shape
    assert C_group * groups == C and F % groups == 0, "channels do not fit the groups"
    F_group = F // groups
    OH = (H + top + bottom - DH * (KH - 1) - 1) // SH + 1
    OW = (W + left + right - DW * (KW - 1) - 1) // SW + 1

    y = np.zeros((N, OH, OW, F))
    for n in range(N):
        for oh in range(OH):
            for ow in range(OW):
                for f in range(F):
                    first_channel = (f // F_group) * C_group
                    for kh in range(KH):
                        for kw in range(KW):
                            h = oh * SH + kh * DH - top
                            w = ow * SW + kw * DW - left
                            if 0 <= h < H and 0 <= w < W:
                                pixel = x[n, h, w, first_channel : first_channel + C_group]
                                y[n, oh, ow, f] += np.sum(pixel * weight[kh, kw, :, f])
    return y if bias is None else y + _float64(bias)


def conv_transpose2d(x, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
    """y[n, oh, ow, f] = bias[f] + the sum of x[n, h, w, c] * weight[kh, kw, f, c] over all that reaches (oh, ow).

    Looked at from y: element kh of a window reaches row oh from row h = (oh + top - kh*DH) / SH of x, if there is one.
    c reaches only the filters of its own group. (N, H, W, C) -> (N, OH, OW, F)
    """
    x, weight = _float64(x), _float64(weight)
    (SH, SW), (DH, DW), ((top, bottom), (left, right)) = _pair(stride), _pair(dilation), _sides(padding)
    more_rows, more_cols = _pair(output_padding)
    N, H, W, C = x.shape
    KH, KW, F_group, C_weight = weight.shape
    assert C_weight == C and C % groups == 0, "channels do not fit the groups"
    C_group = C // groups
    OH = (H - 1) * SH + DH * (KH - 1) + 1 - top - bottom + more_rows
    OW = (W - 1) * SW + DW * (KW - 1) + 1 - left - right + more_cols

    y = np.zeros((N, OH, OW, F_group * groups))
    for oh in range(OH):
        for ow in range(OW):
            for kh in range(KH):
                for kw in range(KW):
                    h, row_rest = divmod(oh + top - kh * DH, SH)
                    w, col_rest = divmod(ow + left - kw * DW, SW)
                    if row_rest or col_rest or not (0 <= h < H and 0 <= w < W):
                        continue
                    for f in range(F_group * groups):
                        group = f // F_group
                        for c in range(group * C_group, (group + 1) * C_group):
                            y[:, oh, ow, f] += x[:, h, w, c] * weight[kh, kw, f % F_group, c]
    return y if bias is None else y + _float64(bias)


def unfold(x, kernel_size, dilation=1, padding=0, stride=1):
    """Every window of the images, flattened in the order (kh, kw, c). (N, H, W, C) -> (N, OH*OW, KH*KW*C)"""
    (KH, KW), (SH, SW), (DH, DW) = _pair(kernel_size), _pair(stride), _pair(dilation)
    padded = np.pad(_float64(x), ((0, 0), *_sides(padding), (0, 0)))
    height, width = DH * (KH - 1) + 1, DW * (KW - 1) + 1
    N, _, _, C = x.shape
    rows = [
        padded[:, top : top + height : DH, left : left + width : DW].reshape(N, KH * KW * C)
        for top in range(0, padded.shape[1] - height + 1, SH)
        for left in range(0, padded.shape[2] - width + 1, SW)
    ]
    return np.stack(rows, axis=1)


def fold(x, output_size, kernel_size, dilation=1, padding=0, stride=1):
    """Every pixel is the sum of its copies in the rows that unfold would lay out, looked for in all of them.

    (N, OH*OW, KH*KW*C) -> (N, H, W, C)
    """
    x, (H, W), (KH, KW) = _float64(x), _pair(output_size), _pair(kernel_size)
    C = x.shape[2] // (KH * KW)
    pixels = np.arange(1.0, H * W * C + 1).reshape(1, H, W, C)  # a number for each, and 0 for the padding
    numbers = unfold(pixels, kernel_size, dilation, padding, stride)[0]  # (OH*OW, KH*KW*C)
    y = np.zeros((len(x), H, W, C))
    for h in range(H):
        for w in range(W):
            for c in range(C):
                y[:, h, w, c] = x[:, numbers == pixels[0, h, w, c]].sum(axis=1)
    return y


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


def adaptive_max_pool2d(x, output_size):
    """The largest value of each rectangle of adaptive_avg_pool2d, and its index h*W + w: the first in reading order.

    A NaN is taken whenever one is met, so the last one stays.
    """
    x = _float64(x)
    N, H, W, C = x.shape
    OH, OW = _pair(output_size)
    y, indices = np.zeros((N, OH, OW, C)), np.zeros((N, OH, OW, C), int)
    for n, oh, ow, c in np.ndindex(N, OH, OW, C):
        best, index = -np.inf, None
        for h in range(oh * H // OH, math.ceil((oh + 1) * H / OH)):
            for w in range(ow * W // OW, math.ceil((ow + 1) * W / OW)):
                if index is None or x[n, h, w, c] > best or math.isnan(x[n, h, w, c]):
                    best, index = x[n, h, w, c], h * W + w
        y[n, oh, ow, c], indices[n, oh, ow, c] = best, index
    return y, indices


def lp_pool2d(x, norm_type, kernel_size, stride=None, ceil_mode=False):
    """(sum of x**p)**(1/p) over each window, p = norm_type; for p = inf the largest |x|, for p = -inf the smallest.

    A window that ceil_mode lets hang over the image is completed: its missing pixels count as the mean of x**p.
    """
    x, p = _float64(x), norm_type
    N, H, W, C = x.shape
    KH, KW = _pair(kernel_size)
    SH, SW = _pair(kernel_size if stride is None else stride)
    OH, OW = _pooled_length(H, KH, SH, 0, 1, ceil_mode), _pooled_length(W, KW, SW, 0, 1, ceil_mode)
    y = np.zeros((N, OH, OW, C))
    for oh in range(OH):
        for ow in range(OW):
            rows, cols = range(oh * SH, min(oh * SH + KH, H)), range(ow * SW, min(ow * SW + KW, W))
            pixels = [x[:, h, w] for h in rows for w in cols]
            if math.isinf(p):
                y[:, oh, ow] = (np.max if p > 0 else np.min)(np.abs(pixels), axis=0)
                continue
            missing = KH * KW - len(pixels)
            powers = sum(pixel**p for pixel in pixels)
            y[:, oh, ow] = (powers + missing * (powers / len(pixels))) ** (1 / p)
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


# ---- resizing


def interpolate(x, sizes, mode, align_corners=False, scale_factor=None):
    """Each element is a weighted sum over the elements around the position it looks at. (N, ..., C) -> (N, *sizes, C)

    Position o of an axis of n elements, to be m, is o/f, nearest by its corner; (o + 1/2)/f - 1/2, by its centre; or
    o (n - 1)/(m - 1), where corners are aligned. f is the scale_factor of the axis, or m/n. PyTorch takes m/n too where
    m = n (nearest, linear) or m = 2n (nearest), and computes the position that decides what is nearest in float32.
    "area" is the mean of all that o covers, from o n/m to (o + 1) n/m.
    """
    x = _float64(x)
    y = np.zeros((x.shape[0], *sizes, x.shape[-1]))
    factors = (None,) * len(sizes) if scale_factor is None else scale_factor
    for position in np.ndindex(*sizes):
        along = zip(position, x.shape[1:-1], sizes, factors, strict=True)
        taps = [_taps(mode, o, n, m, factor, align_corners) for o, n, m, factor in along]
        for several in itertools.product(*taps):
            place = tuple(i for i, _ in several)
            y[(slice(None), *position)] += math.prod(w for _, w in several) * x[(slice(None), *place)]
    return y


def _taps(mode, o, n, m, factor, align_corners):
    """The elements that position o reads, and their weights."""
    if mode == "area":
        start, stop = math.floor(o * n / m), math.ceil((o + 1) * n / m)
        return [(i, 1 / (stop - start)) for i in range(start, stop)]
    factor = m / n if factor is None else factor
    if m == n and mode not in ("nearest-exact", "bicubic"):
        return [(o, 1)]
    if mode == "nearest":
        return [(o // 2, 1)] if m == 2 * n else [(min(int(np.float32(o) * np.float32(1 / factor)), n - 1), 1)]
    if mode == "nearest-exact":
        return [(min(int(np.float32((o + 0.5) * float(np.float32(1 / factor)))), n - 1), 1)]
    s = (o + 0.5) / factor - 0.5
    if align_corners:
        s = o * (n - 1) / (m - 1) if m > 1 else 0
    if mode == "bicubic":
        return [(min(max(i, 0), n - 1), _cubic(abs(s - i))) for i in range(-2, n + 2) if abs(s - i) < 2]
    s = min(max(s, 0), n - 1)
    return [(i, 1 - abs(s - i)) for i in range(n) if abs(s - i) < 1]


def _cubic(d, a=-0.75):
    """The cubic convolution kernel: two pieces, which meet at distance 1 with value 0, and end at 2 with value 0."""
    return (a + 2) * d**3 - (a + 3) * d**2 + 1 if d <= 1 else a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a


def pixel_shuffle(x, r):
    """y[n, h r + i, w r + j, c] = x[n, h, w, c r r + i r + j]. (N, H, W, C r r) -> (N, H r, W r, C)"""
    N, H, W, channels = x.shape
    C = channels // (r * r)
    y = np.zeros((N, H * r, W * r, C))
    for n, h, w, c, i, j in np.ndindex(N, H, W, C, r, r):
        y[n, h * r + i, w * r + j, c] = x[n, h, w, c * r * r + i * r + j]
    return y


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


def group_norm(x, num_groups, weight=None, bias=None, eps=1e-5):
    """Each sample's group of consecutive channels less its mean, over the root of its biased variance + eps.

    Then y[..., c] * weight[c] + bias[c]. (N, ..., C) -> (N, ..., C)
    """
    x = _float64(x)
    size = x.shape[-1] // num_groups
    y = np.empty(x.shape)
    for n in range(len(x)):
        for first in range(0, x.shape[-1], size):
            group = x[n, ..., first : first + size]
            mean = sum(group.flat) / group.size
            variance = sum((value - mean) ** 2 for value in group.flat) / group.size
            y[n, ..., first : first + size] = (group - mean) / math.sqrt(variance + eps)
    y = y if weight is None else y * _float64(weight)
    return y if bias is None else y + _float64(bias)


def layer_norm(x, normalized_shape, weight=None, bias=None, eps=1e-5):
    """Each part of x of normalized_shape less its mean, over the root of its biased variance + eps.

    Then y * weight + bias. (..., *normalized_shape) -> (..., *normalized_shape)
    """
    x = _float64(x)
    y = np.empty(x.shape)
    for place in np.ndindex(x.shape[: x.ndim - len(normalized_shape)]):
        mean = sum(x[place].flat) / x[place].size
        variance = sum((value - mean) ** 2 for value in x[place].flat) / x[place].size
        y[place] = (x[place] - mean) / math.sqrt(variance + eps)
    y = y if weight is None else y * _float64(weight)
    return y if bias is None else y + _float64(bias)


def rms_norm(x, normalized_shape, weight=None, eps=2.0**-52):
    """Each part of x of normalized_shape over the root of the mean of its squares + eps, scaled."""
    x = _float64(x)
    y = np.empty(x.shape)
    for place in np.ndindex(x.shape[: x.ndim - len(normalized_shape)]):
        y[place] = x[place] / math.sqrt(sum(value**2 for value in x[place].flat) / x[place].size + eps)
    return y if weight is None else y * _float64(weight)


def local_response_norm(x, size, alpha=1e-4, beta=0.75, k=1.0):
    """y[..., c] = x[..., c] / (k + alpha/size * sum of x[..., i]**2)**beta, i from c - size//2 to c + (size-1)//2"""
    x = _float64(x)
    y = np.empty(x.shape)
    for c in range(x.shape[-1]):
        squares = np.zeros(x.shape[:-1])
        for i in range(c - size // 2, c + (size - 1) // 2 + 1):
            if 0 <= i < x.shape[-1]:
                squares += x[..., i] ** 2
        y[..., c] = x[..., c] / (k + alpha / size * squares) ** beta
    return y


def normalize(x, p=2.0, axis=-1, eps=1e-12):
    """Each vector along axis over its p-norm, which counts as at least eps."""
    vectors = np.moveaxis(_float64(x), axis, -1)
    y = np.empty(vectors.shape)
    for place in np.ndindex(vectors.shape[:-1]):
        sizes = [abs(value) for value in vectors[place]]
        norm = {math.inf: max, -math.inf: min}.get(p, lambda sizes: sum(a**p for a in sizes) ** (1 / p))(sizes)
        y[place] = vectors[place] / max(norm, eps)
    return np.moveaxis(y, -1, axis)


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


def nll_loss(log_probabilities, target, weight=None, ignore_index=-100, reduction="mean"):
    """-weight[t] * log_probabilities[t] for each sample of class t; the mean divides by the sum of weight[t]."""
    log_probabilities, target = _float64(log_probabilities), np.asarray(target)
    losses, divisor = np.zeros(target.shape), 0.0
    for sample in np.ndindex(target.shape):
        if target[sample] != ignore_index:
            counts = 1.0 if weight is None else float(weight[target[sample]])
            losses[sample] = -counts * log_probabilities[sample][target[sample]]
            divisor += counts
    if reduction == "mean":
        return losses.sum() / divisor if divisor else np.nan
    return _reduce(losses, reduction)


def mse_loss(prediction, target, reduction="mean", weight=None):
    """(prediction - target)**2; equal shapes only, because (N, 1) against (N,) would broadcast to (N, N)."""
    losses = _each(lambda x, t: (x - t) ** 2, prediction, target)
    return _reduce_weighted(losses, reduction, weight)


def l1_loss(prediction, target, reduction="mean", weight=None):
    """|prediction - target|"""
    losses = _each(lambda x, t: abs(x - t), prediction, target)
    return _reduce_weighted(losses, reduction, weight)


def huber_loss(prediction, target, reduction="mean", delta=1.0, weight=None):
    """d**2 / 2 for d = |prediction - target| below delta, and from there on its tangent; a plain mean always."""
    losses = _each(
        lambda x, t: (x - t) ** 2 / 2 if abs(x - t) < delta else delta * (abs(x - t) - delta / 2), prediction, target
    )
    return _reduce(losses if weight is None else losses * weight, reduction)


def smooth_l1_loss(prediction, target, reduction="mean", beta=1.0):
    """d**2 / (2 beta) for d = |prediction - target| below beta, and d - beta / 2 from there on."""
    losses = _each(
        lambda x, t: (x - t) ** 2 / (2 * beta) if abs(x - t) < beta else abs(x - t) - beta / 2, prediction, target
    )
    return _reduce(losses, reduction)


def binary_cross_entropy(probability, target, weight=None, reduction="mean"):
    """-t log p - (1 - t) log(1 - p), with logarithms of at least -100."""

    def log(p):
        return max(math.log(p), -100.0) if p > 0 else -100.0

    losses = _each(lambda p, t: -t * log(p) - (1 - t) * log(1 - p), probability, target)
    return _reduce(losses if weight is None else losses * weight, reduction)


def binary_cross_entropy_with_logits(score, target, weight=None, reduction="mean", pos_weight=None):
    """pos_weight * t * log(1 + exp(-score)) + (1 - t) * log(1 + exp(score))"""
    score, target = _float64(score), _float64(target)
    assert score.shape == target.shape, "prediction and target differ in shape"
    positive = target * (1.0 if pos_weight is None else pos_weight)
    losses = positive * np.logaddexp(0, -score) + (1 - target) * np.logaddexp(0, score)
    return _reduce(losses if weight is None else losses * weight, reduction)


def kl_div(log_probability, target, reduction="mean", log_target=False):
    """t * (log t - log_probability), where 0 log 0 = 0. "batchmean" divides the sum by the length of the first axis."""
    target = np.exp(target) if log_target else target
    losses = _each(lambda x, t: (t * math.log(t) if t > 0 else 0.0) - t * x, log_probability, target)
    return losses.sum() / len(losses) if reduction == "batchmean" else _reduce(losses, reduction)


def _each(function, prediction, target):
    prediction, target = _float64(prediction), _float64(target)
    assert prediction.shape == target.shape, "prediction and target differ in shape"
    losses = np.zeros(prediction.shape)
    for position in np.ndindex(prediction.shape):
        losses[position] = function(float(prediction[position]), float(target[position]))
    return losses


def _reduce_weighted(losses, reduction, weight):
    """The mean is a weighted one: it divides by the sum of the weights."""
    if weight is None:
        return _reduce(losses, reduction)
    losses = losses * weight
    return losses.sum() / np.sum(weight) if reduction == "mean" else _reduce(losses, reduction)


def _reduce(losses, reduction):
    return {"none": lambda: losses, "sum": losses.sum, "mean": losses.mean}[reduction]()


# ---- indexing and order


def gather(x, axis, index):
    """y[i, j, k] = x[i, index[i, j, k], k] for axis 1; the index may be smaller than x on the other axes."""
    y = np.zeros(index.shape)
    for place in np.ndindex(index.shape):
        y[place] = x[(*place[:axis], index[place], *place[axis + 1 :])]
    return y


def index_add(x, axis, index, source, alpha=1.0):
    """x, and then y[:, index[k]] += alpha * source[:, k] for axis 1, one k after the other."""
    y = _float64(x).copy()
    for k, position in enumerate(index):
        y.swapaxes(0, axis)[position] += alpha * _float64(source).swapaxes(0, axis)[k]
    return y


def embedding(x, weight):
    """y[...] = weight[x[...]], row by row. (...) and (V, D) -> (..., D)"""
    y = np.zeros((*x.shape, weight.shape[1]))
    for place in np.ndindex(x.shape):
        y[place] = weight[x[place]]
    return y


def embedding_gradient(g, x, V, padding_idx=None, scale_grad_by_freq=False):
    """The gradients g of the rows that were read, added up by row; each is divided by how often its row was read."""
    gradient = np.zeros((V, g.shape[-1]))
    for place in np.ndindex(x.shape):
        row = x[place]
        if row != padding_idx:
            gradient[row] += g[place] / (x.ravel().tolist().count(row) if scale_grad_by_freq else 1)
    return gradient


def argsort(x, axis, descending=False):
    """Insertion sort of each line along the axis. NaN is the largest; what is equal keeps its order."""
    x = _float64(x)
    indices = np.zeros(x.shape, np.int64)
    for line in np.ndindex(*[1 if i == axis else n for i, n in enumerate(x.shape)]):
        line = (*line[:axis], slice(None), *line[axis + 1 :])
        values, order = x[line], []
        for k in range(len(values)):
            place = len(order)
            while place and _before(values[k], values[order[place - 1]], descending):
                place -= 1
            order.insert(place, k)
        indices[line] = order
    return indices


def _before(a, b, descending):
    """Whether a must come before b, NaN being the largest."""
    if descending:
        a, b = b, a
    return a < b or (math.isnan(b) and not math.isnan(a))


# ---- helpers


def _float64(values):
    return np.asarray(values, dtype=np.float64)


def _pair(value):
    return (value, value) if isinstance(value, int) else tuple(value)


def _sides(padding):
    """((top, bottom), (left, right)), from an integer, a pair (vertical, horizontal), or those themselves."""
    return tuple(_pair(side) for side in _pair(padding))
