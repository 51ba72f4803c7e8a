"""The loops of minidl.naive as the judge of every convolution, whatever its padding."""

import numpy as np

from minidl import naive


def convolution(x, weight, bias, g, padding=((0, 0), (0, 0)), **options):
    """The value, and the gradients of ⟨g, value⟩ to x, weight and bias: four arrays.

    padding   ((top, bottom), (left, right)); the loops know (vertical, horizontal) only, and are given a padded image
    """
    (_, H, W, _), ((top, bottom), (left, right)) = x.shape, padding
    padded = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))
    to_x, to_weight, to_bias = naive.conv2d_backward(g, padded, weight, **options)
    value = naive.conv2d(padded, weight, bias, **options)
    return [value, to_x[:, top : top + H, left : left + W], to_weight, to_bias]
