"""The shapes on which windowed operators go wrong, by name: images x (N, H, W, C), filters (KH, KW, C/G, F), options.

N ≥ 2, C ≠ F, H ≠ W and KH ≠ KW wherever the name does not say otherwise, so that exchanged axes cannot hide.
"""

CONVOLUTIONS = {
    "plain": ((2, 5, 7, 3), (3, 2, 3, 4), {}),
    "one by one": ((2, 3, 4, 3), (1, 1, 3, 5), {}),
    "one by one, strided": ((2, 3, 4, 3), (1, 1, 3, 2), {"stride": (2, 3)}),
    "stride with a remainder, overlapping": ((2, 6, 7, 2), (3, 4, 2, 3), {"stride": (2, 2)}),
    "padded": ((2, 4, 5, 2), (3, 2, 2, 3), {"stride": (2, 1), "padding": (1, 2)}),
    "gapped": ((2, 7, 5, 2), (2, 1, 2, 3), {"stride": (3, 2)}),
    "padded in one direction": ((2, 5, 4, 2), (3, 1, 2, 3), {"padding": (2, 0)}),
    "padded more than the kernel": ((2, 2, 3, 2), (1, 2, 2, 3), {"padding": (2, 3), "stride": 2}),
    "dilated": ((2, 6, 7, 2), (3, 2, 2, 3), {"dilation": (2, 3), "padding": (0, 1)}),
    "grouped": ((2, 4, 5, 4), (2, 3, 2, 6), {"groups": 2, "stride": (1, 2)}),
    "depthwise with a multiplier": (
        (2, 5, 4, 3),
        (3, 2, 1, 6),
        {"groups": 3, "dilation": 2, "padding": 1, "stride": 2},
    ),
    "size one": ((2, 1, 1, 3), (3, 2, 3, 2), {"padding": 1}),
    "one of everything": ((1, 1, 1, 1), (1, 1, 1, 1), {}),
    "kernel as large as the image": ((2, 4, 3, 2), (4, 3, 2, 3), {}),
    "kernel as large as the padded image": ((2, 2, 3, 2), (4, 5, 2, 3), {"padding": 1}),
    "no images": ((0, 5, 4, 2), (3, 2, 2, 3), {"padding": 1}),
}

POOLINGS = {  # options of max_pool2d and avg_pool2d alike
    "side by side": ((2, 6, 4, 3), {"kernel_size": (3, 2)}),
    "remainder": ((2, 7, 5, 2), {"kernel_size": 2}),
    "overlapping": ((2, 5, 6, 2), {"kernel_size": (3, 4), "stride": (2, 1)}),
    "gapped": ((2, 7, 8, 2), {"kernel_size": (2, 1), "stride": (3, 2)}),
    "padded": ((2, 6, 5, 2), {"kernel_size": (3, 2), "stride": 2, "padding": 1}),
    "padded in one direction": ((2, 6, 5, 2), {"kernel_size": (4, 3), "stride": (2, 3), "padding": (0, 1)}),
    "prime": ((2, 7, 11, 1), {"kernel_size": (5, 3), "stride": (3, 5), "padding": (2, 1)}),
    "last window would start in the padding": ((2, 4, 5, 2), {"kernel_size": 2, "stride": 3, "padding": 1}),
    "last window hangs over the padding": ((2, 6, 7, 2), {"kernel_size": (4, 5), "stride": (3, 4), "padding": (1, 2)}),
    "size one": ((2, 1, 1, 3), {"kernel_size": (3, 2), "padding": 1}),
    "kernel one": ((2, 3, 4, 2), {"kernel_size": 1, "stride": (2, 1)}),
    "kernel as large as the image": ((2, 4, 3, 2), {"kernel_size": (4, 3)}),
    "no images": ((0, 4, 5, 2), {"kernel_size": (3, 2), "padding": 1}),
}
