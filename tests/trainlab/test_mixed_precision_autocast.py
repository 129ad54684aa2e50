"""Our emulated step in FP16 and BF16 against PyTorch's autocast on the CPU.

What was found with PyTorch 2.13, and is asserted here:

* `linear` rounds x, weight *and bias* to the format, adds products and bias in float32, and rounds
  once. (A bias added after the rounding would differ in a quarter of the results.)
* `cross_entropy` is computed in float32, from logits in the format; the gradient that goes back to
  them is rounded to the format.
* Gradients of weights are rounded to the format, and then stored in float32, as the weights are.

So both do the same arithmetic, up to the order in which float32 sums are formed. Where a sum lies
next to the middle between two numbers of the format, that order decides to which of them it is
rounded: one unit in the last place, for a few results in a thousand.
"""

from __future__ import annotations

import numpy as np
import pytest

from tests.trainlab.closeness import assert_close
from trainlab import datasets
from trainlab.activations import relu
from trainlab.classification import cross_entropy
from trainlab.differentiation import vjp
from trainlab.formats import BF16, E4M3, E5M2, FP16, round_to
from trainlab.layers import linear
from trainlab.loss_scaling import scaled_init, scaled_update
from trainlab.mixed_precision import low_precision, mixed_value_and_grad
from trainlab.mlp import mlp_init
from trainlab.trees import tree_leaves, tree_map

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.referee


@pytest.fixture(autouse=True)
def one_thread():
    """For these sizes more threads only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


SIZES, LR = (64, 32, 10), 0.5
FORMATS = [pytest.param(FP16, "float16", id="FP16"), pytest.param(BF16, "bfloat16", id="BF16")]


def weights():
    return mlp_init(SIZES, rng=np.random.default_rng(0), dtype=np.float32)


def batch(count=100):
    x, labels = datasets.digits(part="train", dtype=np.float32)
    return x[:count], labels[:count]


def logits(params, x, fmt):
    dense = low_precision(linear, fmt)
    for i, layer in enumerate(params):
        x = dense(x, layer["weight"], bias=layer["bias"])
        x = relu(x) if i < len(params) - 1 else x
    return x


def our_gradient(fmt, scale=1.0):
    return mixed_value_and_grad(
        lambda params, x, labels: cross_entropy(logits(params, x, fmt), labels), fmt, scale=scale
    )


def their_network():
    network = torch.nn.Sequential(
        torch.nn.Linear(*SIZES[:2]), torch.nn.ReLU(), torch.nn.Linear(*SIZES[1:])
    )
    with torch.no_grad():
        for layer, ours in zip((network[0], network[2]), weights(), strict=True):
            layer.weight.copy_(torch.tensor(ours["weight"]))
            layer.bias.copy_(torch.tensor(ours["bias"]))
    return network


def their_loss(network, x, labels, dtype):
    with torch.autocast("cpu", dtype=getattr(torch, dtype)):
        out = network(torch.tensor(x))
        return out, torch.nn.functional.cross_entropy(out, torch.tensor(labels))


def grads_of(network):
    layers = (network[0], network[2])
    return [{"weight": m.weight.grad.numpy(), "bias": m.bias.grad.numpy()} for m in layers]


def same_but_for_ties(ours, theirs, fmt, *, share=0.99):
    """Equal but for a few that sums in another order rounded to the other side.

    Two units in the last place: a hidden unit rounded to the other side moves what it feeds. An
    absolute part of that size too, for gradients that nearly cancel.
    """
    for a, b in zip(tree_leaves(ours), tree_leaves(theirs), strict=True):
        assert a.dtype == b.dtype == np.float32
        np.testing.assert_array_equal(round_to(b, fmt), b)  # theirs are numbers of the format
        assert_close(a, b, rtol=2 * fmt.eps, atol=fmt.eps * float(np.abs(b).max()))
        assert np.mean(a == b) >= share


@pytest.mark.claim("MP-01")
def test_a_linear_layer_is_that_of_autocast():
    """BF16 on the CPU: same factors, float32 sums in another order, one rounding at the end."""
    x, w, c = (
        np.random.default_rng(s).standard_normal((16, 16)).astype(np.float32) for s in range(3)
    )
    tx, tw = (torch.tensor(v, requires_grad=True) for v in (x, w))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = torch.nn.functional.linear(tx, tw)
    assert out.dtype == torch.bfloat16
    out.backward(torch.tensor(c).bfloat16())
    value, pullback = vjp(low_precision(lambda a, b: a @ b, BF16), x, w.T)
    dx, dw = pullback(c)
    expected = (out.detach().float().numpy(), tx.grad.numpy(), tw.grad.numpy().T)
    for ours, theirs in zip((value, dx, dw), expected, strict=True):
        assert ours.dtype == theirs.dtype
        # a sum next to a tie may round to the other side: one unit in the last of 8 bits
        assert_close(ours, theirs, rtol=2**-7, atol=1e-6)
        assert np.mean(ours == theirs) > 0.98


@pytest.mark.claim("MP-01")
@pytest.mark.parametrize(("fmt", "dtype"), FORMATS)
def test_forward_pass_is_that_of_autocast(fmt, dtype):
    x, labels = batch()
    out, loss = their_loss(their_network(), x, labels, dtype)
    assert out.dtype == getattr(torch, dtype)
    assert loss.dtype == torch.float32
    ours = logits(weights(), x, fmt)
    same_but_for_ties([ours], [out.detach().float().numpy()], fmt)
    value, _ = our_gradient(fmt)(weights(), x, labels)
    # a mean of 100 losses, of which few logits differ in the last place
    assert_close(value, np.float32(loss.item()), rtol=fmt.eps / 10)


@pytest.mark.claim("MP-01")
@pytest.mark.parametrize("scale", [1.0, 1024.0])
@pytest.mark.parametrize(("fmt", "dtype"), FORMATS)
def test_gradients_are_those_of_autocast(fmt, dtype, scale):
    x, labels = batch()
    network = their_network()
    _, loss = their_loss(network, x, labels, dtype)
    (loss * scale).backward()
    _, grads = our_gradient(fmt, scale)(weights(), x, labels)
    # A tie that fell the other way in a hidden unit is summed over in each gradient that it feeds.
    same_but_for_ties(grads, grads_of(network), fmt, share=0.95)


class SGD:
    """What a scaler needs of an optimizer; the first use of one of PyTorch's loads its compiler."""

    def __init__(self, params):
        self.param_groups = [{"params": list(params)}]

    def step(self):
        with torch.no_grad():
            for weight in self.param_groups[0]["params"]:
                weight -= LR * weight.grad


@pytest.mark.claim("MP-02")
def test_fp16_training_with_a_scaler_is_that_of_pytorch():
    """14 SGD steps on master weights, from a scale that overflows: the same steps are skipped."""
    x, labels = batch()
    network, params = their_network(), weights()
    optimizer = SGD(network.parameters())
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**22, growth_interval=4)
    state = scaled_init(params, init=lambda p: None, init_scale=2.0**22)
    scales, first = [], their_loss(network, x, labels, "float16")[1].item()
    for _ in range(14):
        network.zero_grad()
        _, loss = their_loss(network, x, labels, "float16")
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        value, grads = our_gradient(FP16, state.loss_scale.scale)(params, x, labels)
        updates, state = scaled_update(
            grads, state, params, growth_interval=4,
            update=lambda g, s, p: (tree_map(lambda v: np.float32(-LR) * v, g), s),
        )  # fmt: skip
        params = tree_map(np.add, params, updates)
        scales.append(state.loss_scale.scale)
        assert scales[-1] == scaler.get_scale()
        # rounding differences of single steps, each at most eps, add up along the way
        assert_close(value, np.float32(loss.item()), rtol=5 * FP16.eps)
    assert min(scales) < 2.0**22  # some steps were skipped,
    assert scales[-1] > min(scales)  # and the scale has grown again
    assert value < 0.8 * first


def test_softmax_on_the_cpu_is_left_in_the_format():
    """On CUDA autocast computes softmax in float32; on the CPU only losses are, in 2.13."""
    z = torch.randn(4, 10, generator=torch.Generator().manual_seed(0)).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.softmax(z, dim=-1).dtype == torch.bfloat16
        assert torch.nn.functional.cross_entropy(z, torch.zeros(4).long()).dtype == torch.float32


@pytest.mark.claim("MP-06")
def test_fp8_casts_saturate_in_e4m3_and_overflow_in_e5m2():
    x = torch.tensor([1000.0, 1e9, float("inf")])
    theirs = x.to(torch.float8_e4m3fn).float().numpy()
    np.testing.assert_array_equal(theirs, round_to(x.numpy(), E4M3, saturate=True))
    y = torch.tensor([1e6])
    theirs = y.to(torch.float8_e5m2).float().numpy()
    np.testing.assert_array_equal(theirs, round_to(y.numpy(), E5M2))
