"""Names: how other libraries call the parts of our networks, and how those names become ours.

Our networks have the names of the checkpoints that people have: torchvision's, the RepVGG repository's, timm's where
only timm has the network. `DIALECTS` translates other names for the same networks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

WRAPPERS = ("state_dict", "model_state_dict", "model")  # keys under which training scripts keep the weights

# Who names a network differently, and how those names become ours: regular expressions and what replaces them, in turn.
DIALECTS: dict[str, list[tuple[str, str]]] = {
    "timm's VGG": [
        (r"^pre_logits\.fc1\.", "classifier.0."),  # a 7×7 convolution there
        (r"^pre_logits\.fc2\.", "classifier.3."),
        (r"^head\.fc\.", "classifier.6."),
    ],
    "timm's RepVGG": [
        (r"^stem\.", "stage0."),
        (r"^stages\.0\.", "stage1."),
        (r"^stages\.1\.", "stage2."),
        (r"^stages\.2\.", "stage3."),
        (r"^stages\.3\.", "stage4."),
        (r"\.conv_kxk\.", ".rbr_dense."),
        (r"\.conv_1x1\.", ".rbr_1x1."),
        (r"\.identity\.", ".rbr_identity."),
        (r"\.reparam_conv\.", ".rbr_reparam."),
        (r"^head\.fc\.", "linear."),
    ],
    "Cadene's Inception-ResNet-v2": [(r"^last_linear\.", "classif.")],
    "Cadene's BN-Inception": [  # the PyTorch port of Caffe's weights
        (r"^last_linear\.", "fc."),
        (r"_bn\.", ".bn."),
        (r"^(conv\d|inception)([^.]*)\.(weight|bias)$", r"\1\2.conv.\3"),
        (r"^conv1_7x7_s2\.", "conv1."),
        (r"^conv2_3x3_reduce\.", "conv2."),
        (r"^conv2_3x3\.", "conv3."),
        (r"^inception_(\d[a-e])_1x1\.", r"inception\1.branch1."),
        (r"^inception_(\d[a-e])_3x3_reduce\.", r"inception\1.branch2.0."),
        (r"^inception_(\d[a-e])_3x3\.", r"inception\1.branch2.1."),
        (r"^inception_(\d[a-e])_double_3x3_reduce\.", r"inception\1.branch3.0."),
        (r"^inception_(\d[a-e])_double_3x3_([12])\.", r"inception\1.branch3.\2."),
        (r"^inception_(\d[a-e])_pool_proj\.", r"inception\1.branch4.1."),
    ],
}

# Options that a network was made with, told by the names that it then has more, and fewer.
_AUXILIARY = r"(aux1|aux2|AuxLogits)\."
_BRANCHES = r".*(rbr_dense|rbr_1x1|rbr_identity|conv_kxk|conv_1x1|identity)\."
_MERGED = r".*(rbr_reparam|reparam_conv)\."
OPTIONS = {
    "aux_logits=True": (_AUXILIARY, ""),
    "aux_logits=False": ("", _AUXILIARY),
    "deploy=True": (_MERGED, _BRANCHES),
    "deploy=False": (_BRANCHES, _MERGED),
}


def unwrapped(state: Mapping[Any, Any]) -> dict[str, Any]:
    """The weights in what a training script saved, by the names that they have without DataParallel."""
    state = next((state[key] for key in WRAPPERS if isinstance(state.get(key), Mapping)), state)
    wrapped = all(str(name).startswith("module.") for name in state)
    return {str(name).removeprefix("module." if wrapped else ""): value for name, value in state.items()}


def in_our_names(state: Mapping[str, Any], own: Mapping[str, Any]) -> tuple[dict[str, tuple[str, Any]], list[str]]:
    """{our name: (name in the file, value)}, and the names in the file that the model does not have.

    They are read in the dialect in which most of them are the model's.
    """
    dialects = [{name: _translated(name, rules) for name in state} for rules in ([], *DIALECTS.values())]
    ours = max(dialects, key=lambda names: len(own.keys() & names.values()))
    theirs: dict[str, tuple[str, Any]] = {}
    unexpected = []
    for name, value in state.items():
        if ours[name] in own and ours[name] not in theirs:
            theirs[ours[name]] = (name, value)
        else:
            unexpected.append(name)
    return theirs, unexpected


def _translated(name: str, rules: Iterable[tuple[str, str]]) -> str:
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name


def made_with(unexpected: list[str], missing: list[str]) -> list[str]:
    """The options that explain every name that the weights have more, and every one that they have fewer."""
    return [
        option
        for option, patterns in OPTIONS.items()
        if all(
            bool(names) == bool(pattern) and all(re.match(pattern, name) for name in names)
            for pattern, names in zip(patterns, (unexpected, missing), strict=True)
        )
    ]
