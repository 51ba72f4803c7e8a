"""The list of public functions: complete, named as in PyTorch, at home on every device, and together a network."""

import gc
import inspect

import fakecupy
import numpy as np
import oracle
import pytest
from judge import assert_close, check_operator, host, leaves, torch_value_and_gradients, value_and_gradients

import minidl
from minidl import Tensor, backend
from minidl import functional as F
from minidl.ops.indexing import index_add

# ---- the list


def test_the_list_is_complete_and_documented():
    assert F.__all__ == sorted(F.__all__)
    for name in F.__all__:
        function = getattr(F, name)
        assert function.__doc__, name
        annotations = inspect.signature(function).parameters.values()
        assert all(parameter.annotation is not parameter.empty for parameter in annotations), name


@pytest.mark.torch
@pytest.mark.parametrize(
    "name",
    [
        "batch_norm",
        "layer_norm",
        "group_norm",
        "instance_norm",
        "rms_norm",
        "local_response_norm",
        "normalize",
        "cross_entropy",
        "dropout",
        "relu",
        "relu6",
        "hardtanh",
        "hardsigmoid",
        "leaky_relu",
        "elu",
        "selu",
        "silu",
        "mish",
        "hardswish",
        "softmax",
        "log_softmax",
        "dropout2d",
        "nll_loss",
        "mse_loss",
        "l1_loss",
        "smooth_l1_loss",
        "huber_loss",
        "binary_cross_entropy",
        "binary_cross_entropy_with_logits",
        "kl_div",
        "unfold",
        "fold",
        "interpolate",
    ],
)
def test_names_order_and_defaults_are_those_of_torch(name):
    """Without what PyTorch keeps for old programs, and the default axis: ours is the last one, theirs has a warning."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    legacy = {"size_average", "reduce", "inplace", "_stacklevel"}
    own = {"add", "relu"}  # what batch_norm does besides
    ours = [p for p in inspect.signature(getattr(F, name)).parameters.values() if p.name not in own]
    theirs = [
        parameter
        for parameter in inspect.signature(getattr(torch.nn.functional, name)).parameters.values()
        if parameter.name not in legacy
    ][: len(ours)]
    assert [p.name for p in ours[1:]] == [p.name for p in theirs[1:]]
    assert [p.default for p in ours if p.name != "dim"] == [p.default for p in theirs if p.name != "dim"]


def test_options_that_torch_does_not_let_itself_be_asked_for():
    """Read off PyTorch's documentation: these functions are built in there and have no signature to compare."""
    expected = {
        "linear": "(x, weight, bias=None)",
        "gelu": "(x, approximate='none')",
        "prelu": "(x, weight)",
        "one_hot": "(x, num_classes=-1)",
        "embedding": "(x, weight, padding_idx=None, *, scale_grad_by_freq=False)",  # without max_norm and sparse
        "softplus": "(x, beta=1.0, threshold=20.0)",
        "logsigmoid": "(x)",
        "logsumexp": "(x, dim, keepdim=False)",
        "conv2d": "(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1, "
        "*, algorithm='auto', add=None, relu=False)",  # the last three are ours
        "conv_transpose2d": "(x, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1)",
        "max_pool2d": "(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False)",
        "avg_pool2d": "(x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, "
        "divisor_override=None)",
        "lp_pool2d": "(x, norm_type, kernel_size, stride=None, ceil_mode=False)",
        "adaptive_avg_pool2d": "(x, output_size)",
        "adaptive_max_pool2d": "(x, output_size, return_indices=False)",
        "pad": "(x, pad, mode='constant', value=0.0)",
        "pixel_shuffle": "(x, upscale_factor)",
        "pixel_unshuffle": "(x, downscale_factor)",
    }
    for name, signature in expected.items():
        bare = [p.replace(annotation=p.empty) for p in inspect.signature(getattr(F, name)).parameters.values()]
        assert str(inspect.Signature(bare)) == signature


# ---- linear


@pytest.mark.parametrize("shape", [(6, 5), (2, 3, 5), (2, 1, 3, 5), (5,), (0, 5)], ids=str)
def test_linear(shape, device, rng):
    arrays = [rng.standard_normal(shape), rng.standard_normal((5, 4)), rng.standard_normal(4)]
    assert_close(F.linear(*leaves(arrays, device)), oracle.linear(*arrays))
    assert_close(F.linear(*leaves(arrays[:2], device)), oracle.linear(*arrays[:2]))
    check_operator(F.linear, arrays, device)


@pytest.mark.torch
def test_linear_against_torch(device, rng):
    arrays = [rng.standard_normal((2, 3, 5)), rng.standard_normal((5, 4)), rng.standard_normal(4)]
    g = rng.standard_normal((2, 3, 4))
    value, gradients = value_and_gradients(F.linear, arrays, g, device)
    expected, expected_gradients = torch_value_and_gradients(
        lambda torch_f, *inputs: torch_f.linear(*inputs), arrays, [None, "matrix", None], g
    )
    assert_close(value, expected)
    for gradient, expected_gradient in zip(gradients, expected_gradients, strict=True):
        assert_close(gradient, expected_gradient)


def test_linear_of_integers_is_float32(device):
    x, weight = Tensor(np.ones((2, 3), int), device=device), Tensor(np.ones((3, 4), np.float32), device=device)
    assert F.linear(x, weight).dtype == np.float32


@pytest.mark.parametrize(
    ("x", "weight", "bias", "message"),
    [
        ((2, 4), (3, 5), None, r"input \(2, 4\) does not fit weight \(3, 5\); expected \(..., I\) and \(I, O\)"),
        ((2, 5), (3, 5), None, r"input \(2, 5\) does not fit weight \(3, 5\)"),
        ((), (3, 5), None, r"input \(\) does not fit weight \(3, 5\)"),
        ((2, 3), (3,), None, r"input \(2, 3\) does not fit weight \(3,\)"),
        ((2, 3), (3, 5), (3,), r"expected a bias of shape \(5,\), got \(3,\)"),
        ((2, 3), (3, 5), (1,), r"expected a bias of shape \(5,\), got \(1,\)"),
    ],
)
def test_linear_wrong_calls(x, weight, bias, message, device):
    x, weight = Tensor(np.ones(x), device=device), Tensor(np.ones(weight), device=device)
    with pytest.raises(ValueError, match=f"^linear: .*{message}"):
        F.linear(x, weight, None if bias is None else Tensor(np.ones(bias), device=device))


def test_linear_of_two_precisions(device):
    x, weight = Tensor(np.ones((2, 3), np.float32), device=device), Tensor(np.ones((3, 4)), device=device)
    with pytest.raises(TypeError, match=r"^linear: the input is float32 and the weight float64; convert one"):
        F.linear(x, weight)
    assert F.linear(x.astype("float64"), weight).dtype == np.float64
    assert F.linear(x, weight.astype("float32")).dtype == np.float32


# ---- what PyTorch takes otherwise, in many functions alike


@pytest.mark.torch
def test_whole_numbers_become_float32_where_torch_refuses_or_keeps_them():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    ours, theirs = Tensor([[1, 2], [3, 4]]), torch.tensor([[1, 2], [3, 4]])
    for call in (
        lambda f, x: f.silu(x), lambda f, x: f.softmax(x, 1), lambda f, x: f.mse_loss(x, x), lambda f, x: f.dropout(x),
        lambda f, x: f.layer_norm(x, (2,)), lambda f, x: x.mean(), lambda f, x: x.var(),
    ):  # fmt: skip
        with pytest.raises((NotImplementedError, RuntimeError)):
            call(torch.nn.functional, theirs)
        assert call(F, ours).dtype == np.float32
    assert torch.nn.functional.linear(theirs, theirs).dtype == torch.int64
    assert F.linear(ours, ours).dtype == np.float32


@pytest.mark.torch
def test_one_image_is_no_batch():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    for call in (
        lambda f, x, w: f.conv2d(x, w), lambda f, x, w: f.conv_transpose2d(x, w), lambda f, x, w: f.unfold(x, 2),
        lambda f, x, w: f.max_pool2d(x, 2), lambda f, x, w: f.avg_pool2d(x, 2), lambda f, x, w: f.lp_pool2d(x, 2, 2),
        lambda f, x, w: f.adaptive_avg_pool2d(x, 2), lambda f, x, w: f.adaptive_max_pool2d(x, 2),
    ):  # fmt: skip
        assert call(torch.nn.functional, torch.ones(3, 4, 5), torch.ones(3, 3, 2, 2)).ndim < 4
        image, weight = Tensor(np.ones((4, 5, 3))), Tensor(np.ones((2, 2, 3, 3)))
        with pytest.raises(ValueError, match=r"expected images \(N, H, W, C\)"):
            call(F, image, weight)
        assert call(F, image[None], weight).shape[0] == 1


LEFT_OUT = {
    "one and three axes": ["conv1d", "conv3d", "conv_transpose1d", "max_pool1d", "avg_pool3d", "adaptive_avg_pool1d"],
    "in place": ["relu_", "elu_", "leaky_relu_", "threshold_"],
    "attention": ["scaled_dot_product_attention", "multi_head_attention_forward"],
    "other losses": ["ctc_loss", "hinge_embedding_loss", "triplet_margin_loss", "cosine_similarity"],
    "what undoes or bends": ["max_unpool2d", "grid_sample", "affine_grid"],
    "other activations": ["celu", "glu", "hardshrink", "softsign", "rrelu"],
}


@pytest.mark.torch
def test_what_is_left_out():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    names = {name for group in LEFT_OUT.values() for name in group}
    assert {name for name in names if not hasattr(torch.nn.functional, name)} == set()
    assert names & set(F.__all__) == set()
    options = {p for name in F.__all__ for p in inspect.signature(getattr(F, name)).parameters}
    assert options & {"inplace", "size_average", "reduce", "_stacklevel"} == set()


# ---- devices


@pytest.fixture
def fake_gpu():
    backend.set_gpu_module(fakecupy)
    yield
    backend.set_gpu_module(None)


def test_options_that_need_arrays_of_their_own_on_a_second_device(fake_gpu, rng):
    """On gpu:1 while gpu:0 is current. (tests/test_contract.py asks the same of every operator, with few options.)"""

    def on(device):
        x = Tensor(rng_array, device=device)
        running = [Tensor(np.ones(4), device=device) for _ in range(2)]
        F.batch_norm(x, *running, training=True)
        F.instance_norm(x, *running)
        target = Tensor(np.zeros((2, 5, 6), int), device=device)
        return [
            F.max_pool2d(x, 3, 2, 1, return_indices=True)[1],
            F.adaptive_max_pool2d(x, (2, 4), return_indices=True)[1],
            *running,
            F.batch_norm(x, *running),
            F.cross_entropy(x, target, running[1], label_smoothing=0.1, ignore_index=3),
            F.cross_entropy(x, F.softmax(x), running[1], label_smoothing=0.1),
            F.mse_loss(x, x * x, weight=x),
            F.huber_loss(x, x * x, weight=running[0] * x),
            F.binary_cross_entropy(F.sigmoid(x), F.sigmoid(-x), running[1]),
            F.binary_cross_entropy_with_logits(x, x, running[0], pos_weight=running[1]),
            F.kl_div(x, x, log_target=True),
        ]

    rng_array = rng.standard_normal((2, 5, 6, 4))
    with fakecupy.count_synchronisations() as log:
        results = on("gpu:1")
    assert log.places == []
    for actual, expected in zip(results, on("cpu"), strict=True):
        assert str(actual.device) == "gpu:1"
        assert_close(actual, expected)


# ---- all together: a small network and its training step

SHAPES = {
    "filters": (3, 3, 2, 4), "filter_bias": (4,), "scale": (4,), "shift": (4,), "grouped": (2, 3, 2, 6),
    "weight": (12, 5), "bias": (5,),
}  # fmt: skip


class Network:
    """Every function of a convolutional network, on float64 parameters."""

    def __init__(self, device):
        rng = np.random.default_rng(0)
        self.parameters = {
            name: Tensor(0.3 * rng.standard_normal(shape), requires_grad=True, device=device)
            for name, shape in SHAPES.items()
        }
        self.running = [Tensor(np.zeros(4), device=device), Tensor(np.ones(4), device=device)]
        self.images = Tensor(rng.standard_normal((3, 8, 7, 2)), device=device)
        self.labels = Tensor(rng.integers(0, 5, 3), device=device)

    def loss(self):
        p = self.parameters
        x = F.conv2d(self.images, p["filters"], p["filter_bias"], padding=1)
        x = F.relu(F.batch_norm(x, *self.running, p["scale"], p["shift"], training=True))
        x = F.max_pool2d(x, 3, 2, 1)  # (3, 4, 4, 4)
        x = F.tanh(F.conv2d(x, p["grouped"], groups=2)) + F.sigmoid(F.avg_pool2d(x, 2, 1)).mean()
        x = F.dropout(F.adaptive_avg_pool2d(x, (2, 1)), 0.2).flatten(1)  # (3, 12)
        return F.cross_entropy(F.linear(x, p["weight"], p["bias"]), self.labels, label_smoothing=0.1)

    def step(self):
        loss = self.loss()
        loss.backward()
        for parameter in self.parameters.values():
            parameter.data = parameter.data - 0.1 * parameter.grad.data
            parameter.zero_grad()
        return loss


def train(device, steps):
    minidl.manual_seed(1)
    network = Network(device)
    losses = [network.step() for _ in range(steps)]
    return [*losses, *network.parameters.values(), *network.running]


def test_a_training_step_is_the_same_everywhere(device):
    for actual, expected in zip(train(device, 5), train("cpu", 5), strict=True):
        assert_close(actual, expected)


def test_training_lowers_the_loss(device):
    network = Network(device)
    minidl.manual_seed(1)
    first = float(network.step())
    for _ in range(30):
        last = network.step()
    assert float(last) < 0.8 * first


def test_a_training_step_never_waits_for_the_device(fake_gpu):
    network = Network("gpu")
    with fakecupy.count_synchronisations() as log:
        network.step()
    assert log.places == []


def test_the_gradient_of_the_whole_network(device):
    network = Network(device)

    def function(*parameters):
        minidl.manual_seed(1)
        network.parameters = dict(zip(SHAPES, parameters, strict=True))
        network.running = [None, None]
        return network.loss()

    minidl.gradcheck(function, list(network.parameters.values()), fast=True)
    minidl.gradgradcheck(function, list(network.parameters.values()), fast=True)


def test_ten_steps_leave_nothing_behind(device):
    """With the garbage collector off: graphs are freed by reference counting alone."""
    network = Network(device)
    network.step()

    def alive():
        return sum(issubclass(type(thing), Tensor | minidl.Function) for thing in gc.get_objects())

    gc.collect()
    gc.disable()
    try:
        before = alive()
        for _ in range(10):
            network.step()
        assert alive() == before
    finally:
        gc.enable()


def test_nothing_is_recorded_without_need(device):
    network = Network(device)
    with minidl.no_grad():
        assert not network.loss().requires_grad
    assert not F.conv2d(network.images, network.parameters["filters"].detach()).requires_grad
    assert host(network.loss()).shape == ()


@pytest.mark.parametrize("as_tensor", [True, False])
@pytest.mark.parametrize(
    "call",
    [
        lambda x, n: F.cross_entropy(x, np.array([0, 1]), label_smoothing=n),
        lambda x, n: F.cross_entropy(x, np.full((2, 3), 1 / 3), label_smoothing=n),
        lambda x, n: F.smooth_l1_loss(x, x / 2, beta=n),
        lambda x, n: F.huber_loss(x, x / 2, delta=n),
        lambda x, n: F.local_response_norm(x, 2, n, n, n),
        lambda x, n: F.layer_norm(x, 3, eps=n),
        lambda x, n: F.group_norm(x, 1, eps=n),
        lambda x, n: F.batch_norm(x, None, None, training=True, momentum=n, eps=n),
        lambda x, n: F.normalize(x, n, eps=n),
        lambda x, n: F.dropout(x, n),
        lambda x, n: index_add(x, 0, np.array([1]), x[:1], alpha=n),
    ],
)
def test_an_option_that_is_a_numpy_float64_makes_nothing_float64(call, as_tensor):
    array = np.array([[0.5, 1.0, -2.0], [3.0, 1.0, 0.25]], np.float32)
    x = Tensor(array) if as_tensor else array
    assert call(x, np.float64(0.5)).dtype == np.float32


@pytest.mark.parametrize(
    "call",
    [
        lambda x, w, b: F.linear(x[0, 0], w[0, 0], b),
        lambda x, w, b: F.conv2d(x, w, b),
        lambda x, w, b: F.batch_norm(x, None, None, bias=b, training=True),
        lambda x, w, b: F.batch_norm(x, None, None, weight=b, training=True),
    ],
)
def test_a_parameter_of_another_dtype_is_refused(call):
    x, w, b = (Tensor(np.ones(shape, np.float32)) for shape in ((2, 3, 3, 4), (1, 1, 4, 4), 4))
    assert call(x, w, b).dtype == np.float32
    with pytest.raises(TypeError, match="the input is float32 and the (bias|weight) float64; convert one"):
        call(x, w, b.astype(np.float64))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: F.gelu(x, []), r"^gelu: approximate must be .* got \[\]"),
        (lambda x: F.pad(x, 1, mode=[]), r"^pad: mode must be one of .* got \[\]"),
        (lambda x: F.interpolate(x, 2, mode=[]), r"^interpolate: mode must be one of .* got \[\]"),
    ],
)
def test_a_mode_that_is_no_word(call, message):
    with pytest.raises(ValueError, match=message):
        call(Tensor(np.ones((1, 2, 2, 1))))
