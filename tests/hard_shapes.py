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

ONE_SIDED = {  # convolutions whose padding before and after differs: ((top, bottom), (left, right))
    "below and to the right": ((2, 4, 5, 2), (2, 3, 2, 3), {"padding": ((0, 1), (0, 2))}),
    "above and to the left": ((2, 4, 5, 2), (2, 3, 2, 3), {"padding": ((1, 0), (2, 0)), "stride": (2, 1)}),
    "all sides differ": ((2, 3, 4, 4), (3, 2, 2, 6), {"padding": ((3, 0), (1, 2)), "dilation": (2, 1), "groups": 2}),
    "one way only": ((2, 5, 3, 3), (2, 2, 1, 6), {"padding": ((1, 2), 0), "stride": (3, 1), "groups": 3}),
}

SAME = {  # convolutions with padding="same": the shape of an output is that of its image, whatever the window
    "odd": ((2, 4, 5, 2), (3, 5, 2, 3), {}),
    "even": ((2, 5, 4, 2), (2, 4, 2, 3), {}),
    "even and odd, dilated": ((2, 4, 5, 2), (2, 3, 2, 3), {"dilation": (3, 2)}),
    "one by one": ((2, 3, 4, 2), (1, 1, 2, 3), {}),
    "much larger than the image": ((2, 2, 1, 2), (6, 4, 2, 3), {}),
    "depthwise": ((2, 4, 3, 3), (2, 3, 1, 6), {"groups": 3}),
}

TRANSPOSED = {  # x (N, H, W, C), weight (KH, KW, F/G, C), options
    "plain": ((2, 3, 4, 3), (3, 2, 4, 3), {}),
    "one by one": ((2, 3, 4, 3), (1, 1, 2, 3), {}),
    "side by side": ((2, 2, 3, 2), (2, 3, 3, 2), {"stride": (2, 3)}),
    "overlapping": ((2, 3, 2, 2), (4, 3, 3, 2), {"stride": (2, 1)}),
    "gapped": ((2, 3, 2, 2), (1, 2, 3, 2), {"stride": (2, 3)}),
    "cut": ((2, 3, 4, 2), (3, 4, 3, 2), {"stride": 2, "padding": (1, 2)}),
    "cut on one side": ((2, 3, 2, 2), (3, 2, 3, 2), {"stride": (2, 1), "padding": ((2, 0), (0, 1))}),
    "less cut": ((2, 3, 4, 2), (3, 2, 3, 2), {"stride": (2, 3), "padding": ((1, 1), (0, 2)), "output_padding": (1, 2)}),
    "more than there is": ((2, 2, 3, 2), (3, 2, 3, 2), {"stride": (3, 2), "padding": (1, 0), "output_padding": (2, 1)}),
    "nothing but the bias": ((2, 1, 1, 2), (1, 1, 3, 2), {"stride": 5, "padding": 2, "output_padding": 4}),
    "dilated": ((2, 3, 2, 2), (2, 3, 3, 2), {"dilation": (3, 2), "padding": (1, 2), "stride": (1, 2)}),
    "more than a stride": ((2, 3, 2, 2), (2, 3, 3, 2), {"dilation": 3, "padding": (1, 0), "output_padding": (2, 1)}),
    "grouped": ((2, 3, 2, 4), (2, 3, 3, 4), {"groups": 2, "stride": (1, 2)}),
    "depthwise with a multiplier": ((2, 2, 3, 3), (3, 2, 2, 3), {"groups": 3, "stride": 2, "padding": (1, 0)}),
    "one of everything": ((1, 1, 1, 1), (1, 1, 1, 1), {}),
    "no images": ((0, 2, 3, 2), (3, 2, 4, 2), {"stride": 2, "padding": 1}),
}  # fmt: skip

UNFOLDINGS = {  # images x (N, H, W, C), options of unfold and, but for output_size, of fold
    "side by side": ((2, 6, 4, 3), {"kernel_size": (3, 2), "stride": (3, 2)}),
    "overlapping": ((2, 4, 5, 2), {"kernel_size": (2, 3)}),
    "remainder": ((2, 6, 7, 2), {"kernel_size": (3, 4), "stride": (2, 2)}),
    "gapped": ((2, 7, 5, 2), {"kernel_size": (2, 1), "stride": (3, 2)}),
    "padded": ((2, 3, 4, 2), {"kernel_size": (3, 2), "padding": (1, 2), "stride": (1, 2)}),
    "padded on one side": ((2, 3, 4, 2), {"kernel_size": (3, 2), "padding": ((2, 0), (0, 1))}),
    "dilated": ((2, 6, 5, 2), {"kernel_size": (3, 2), "dilation": (2, 3), "padding": (0, 1)}),
    "one by one": ((2, 3, 4, 3), {"kernel_size": 1}),
    "one by one, strided": ((2, 3, 4, 3), {"kernel_size": 1, "stride": (2, 3)}),
    "as large as the image": ((2, 3, 2, 2), {"kernel_size": (3, 2)}),
    "larger than the image": ((2, 1, 2, 2), {"kernel_size": (5, 3), "padding": (2, 1)}),
    "one pixel": ((1, 1, 1, 1), {"kernel_size": 1}),
    "no images": ((0, 3, 4, 2), {"kernel_size": (2, 3), "padding": 1}),
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

ADAPTIVE_POOLINGS = {  # images x (N, H, W, C), output_size
    "even": ((2, 6, 4, 3), (3, 2)),
    "uneven": ((2, 5, 7, 3), (3, 4)),
    "neighbours overlap on both sides": ((2, 7, 5, 2), (5, 3)),
    "one place": ((2, 5, 7, 3), 1),
    "one integer for both": ((2, 5, 7, 3), 3),
    "rows to one, columns kept": ((2, 5, 7, 3), (1, None)),
    "rows kept": ((2, 5, 7, 3), (None, 3)),
    "all kept": ((2, 3, 4, 2), (None, None)),
    "as many places as pixels": ((2, 3, 4, 2), (3, 4)),
    "more places than pixels": ((2, 3, 4, 2), (7, 6)),
    "fewer rows, more columns": ((2, 5, 3, 2), (2, 5)),
    "prime": ((2, 11, 13, 1), (7, 5)),
    "one pixel": ((2, 1, 1, 3), (2, 3)),
    "no places": ((2, 3, 4, 2), (0, 2)),
    "no images": ((0, 4, 5, 2), (3, 2)),
}

RESIZINGS = {  # images x (N, H, W, C), size or scale_factor
    "doubled": ((2, 3, 4, 3), {"scale_factor": 2}),
    "halved": ((2, 4, 6, 2), {"size": (2, 3)}),
    "a third, exactly at elements": ((2, 9, 6, 1), {"size": (3, 2)}),
    "more rows, fewer columns": ((2, 5, 7, 2), {"size": (7, 4)}),
    "many more": ((2, 2, 3, 1), {"size": (9, 10)}),
    "prime": ((2, 5, 7, 1), {"size": (7, 3)}),
    "a factor that is rounded": ((2, 5, 4, 2), {"scale_factor": (1.5, 0.7)}),
    "a factor that changes no rows": ((2, 6, 5, 2), {"scale_factor": (1.1, 1.2)}),
    "a factor that happens to double": ((2, 3, 4, 1), {"scale_factor": (2.1, 2.2)}),
    "a factor that is forgotten": ((2, 6, 4, 2), {"scale_factor": (1.1, 0.7), "recompute_scale_factor": True}),
    "rows kept": ((2, 3, 4, 2), {"size": (3, 7)}),
    "all kept": ((2, 3, 4, 2), {"size": (3, 4)}),
    "to one": ((2, 3, 4, 2), {"size": 1}),
    "from one": ((2, 1, 1, 3), {"size": (3, 2)}),
    "no images": ((0, 3, 4, 2), {"size": 5}),
}
