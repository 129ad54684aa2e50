"""Losses of classification."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.trainlab.closeness import assert_close
from trainlab import _losses
from trainlab import classification as C
from trainlab.differentiation import check_grad, value_and_grad, vjp
from trainlab.softmax import softmax as trainlab_softmax

LOGITS = np.log([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4], [0.25, 0.25, 0.5]])
TARGETS = np.array([0, 1, 0, 2])
OWN = -np.log([0.7, 0.8, 0.3, 0.5])
WEIGHT = np.array([1.0, 2.0, 0.5])


def rng(seed=0):
    return np.random.default_rng(seed)


def softmax(z):
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def gradient(function, *primals, **options):
    """Gradients of the sum of what a function gives."""
    value, pullback = vjp(function, *primals, **options)
    return pullback(np.ones_like(value))


# --- values ------------------------------------------------------------------------------------


def test_cross_entropy_by_hand():
    assert_close(C.cross_entropy(LOGITS, TARGETS, reduction="none"), OWN)
    assert_close(C.cross_entropy(LOGITS, TARGETS, reduction="sum"), OWN.sum())
    assert_close(C.cross_entropy(LOGITS, TARGETS), OWN.mean())
    # any constant may be added to the logits of an example
    assert_close(C.cross_entropy(LOGITS + np.arange(4)[:, None], TARGETS), OWN.mean())
    assert_close(C.cross_entropy(LOGITS[0], 0), OWN[0])
    stacked = C.cross_entropy(np.stack([LOGITS, LOGITS]), np.stack([TARGETS] * 2), reduction="none")
    assert_close(stacked, np.stack([OWN, OWN]))


def test_weights_and_ignored_targets_as_in_the_formula():
    own = WEIGHT[TARGETS] * OWN
    assert_close(C.cross_entropy(LOGITS, TARGETS, weight=WEIGHT, reduction="none"), own)
    assert_close(C.cross_entropy(LOGITS, TARGETS, weight=WEIGHT), own.sum() / WEIGHT[TARGETS].sum())
    ignored = np.array([0, -100, 0, -100])
    kept = OWN * [1, 0, 1, 0]
    assert_close(C.cross_entropy(LOGITS, ignored, reduction="none"), kept)
    assert_close(C.cross_entropy(LOGITS, ignored), kept.sum() / 2)
    assert_close(C.cross_entropy(LOGITS, TARGETS, ignore_index=0), (OWN[1] + OWN[3]) / 2)
    assert_close(C.cross_entropy(LOGITS, ignored, weight=WEIGHT), (OWN[0] + OWN[2]) / 2)
    smooth = C.cross_entropy(LOGITS, ignored, label_smoothing=0.3, reduction="none")
    np.testing.assert_array_equal(smooth[[1, 3]], 0)
    dz = gradient(C.cross_entropy, LOGITS, targets=ignored, label_smoothing=0.3)[0]
    np.testing.assert_array_equal(dz[[1, 3]], 0)


def test_class_indices_are_distributions_of_one_class():
    onehot = np.eye(3)[TARGETS]
    for smoothing in (0.0, 0.1, 1.0):
        options = {"label_smoothing": smoothing, "reduction": "none"}
        for weight in (None, WEIGHT):
            index, soft = (
                C.cross_entropy(LOGITS, t, weight=weight, **options) for t in (TARGETS, onehot)
            )
            assert_close(index, soft)
    # the mean over distributions divides by their number, not by weights
    soft = C.cross_entropy(LOGITS, onehot, weight=WEIGHT)
    assert_close(soft, (WEIGHT[TARGETS] * OWN).sum() / 4)
    # distributions over nothing but the class with weight 0 count as examples all the same
    assert_close(C.cross_entropy(LOGITS, onehot, weight=np.zeros(3)), 0.0)


def test_nll_of_log_softmax_is_cross_entropy():
    z = rng().standard_normal((5, 2, 4))
    targets = rng(1).integers(0, 4, (5, 2))
    targets[0, 0] = -100
    log_probs = np.log(softmax(z))
    weight = np.array([1.0, 2.0, 0.0, 3.0])
    for reduction in ("mean", "sum", "none"):
        options = {"weight": weight, "reduction": reduction}
        nll = C.nll_loss(log_probs, targets, **options)
        assert_close(nll, C.cross_entropy(z, targets, **options))
    assert_close(C.nll_loss(log_probs, targets), C.cross_entropy(z, targets))
    assert_close(
        C.nll_loss(LOGITS, TARGETS, ignore_index=0),
        C.cross_entropy(LOGITS, TARGETS, ignore_index=0),
    )
    dx = gradient(C.nll_loss, log_probs, targets=targets, reduction="sum")[0]
    assert_close(dx.sum(), -9.0)
    assert_close(dx[1, 1, targets[1, 1]], -1.0)


def test_extreme_logits_are_exact():
    z = np.array([[1e4, -1e4, 0.0], [0.0, 0.0, 1e300]])
    np.testing.assert_array_equal(
        C.cross_entropy(z, np.array([1, 0]), reduction="none"), [2e4, 1e300]
    )
    np.testing.assert_array_equal(C.cross_entropy(z, np.array([0, 2]), reduction="none"), [0, 0])
    # a large offset costs no digit of the gradient
    z = rng().integers(-8, 8, (6, 5)).astype(np.float32)
    targets = np.arange(6) % 5
    near, far = (gradient(C.cross_entropy, z + np.float32(s), targets=targets) for s in (0, 2**17))
    np.testing.assert_array_equal(near[0], far[0])


def test_blocks_of_rows_change_nothing(monkeypatch):
    z, targets = rng().standard_normal((11, 4)), rng(1).integers(0, 4, 11)
    soft = softmax(rng(2).standard_normal((11, 4)))
    for t in (targets, soft):
        function = value_and_grad(lambda z, t=t: C.cross_entropy(z, t, label_smoothing=0.2))
        whole = function(z)
        monkeypatch.setattr(_losses, "BLOCK", 13)  # three rows a block, and two at the end
        assert_close(function(z)[0], whole[0])
        # atol: entries that are a difference of two roundings
        assert_close(function(z)[1], whole[1], atol=1e-16)
        monkeypatch.setattr(_losses, "BLOCK", 3)  # less than a row
        assert_close(function(z)[1], whole[1], atol=1e-16)
        monkeypatch.undo()


def test_empty_batches():
    z, none = np.zeros((0, 3)), np.zeros(0, int)
    assert C.cross_entropy(z, none, reduction="none").shape == (0,)
    assert C.cross_entropy(z, none, reduction="sum") == 0
    assert C.cross_entropy(z, z, reduction="sum") == 0
    assert gradient(C.cross_entropy, z, targets=none, reduction="sum")[0].shape == (0, 3)
    assert C.nll_loss(z, none, reduction="sum") == 0
    assert C.entropy(z).shape == (0,)
    assert C.kl_divergence(z, z).shape == (0,)
    assert C.binary_cross_entropy_with_logits(z, z, reduction="none").shape == (0, 3)
    for function in (C.cross_entropy, C.nll_loss):
        with pytest.raises(ValueError, match="mean of nothing"):
            function(z, none)
        with pytest.raises(ValueError, match=f"{function.__name__}: reduction must"):
            function(LOGITS, np.full(4, -100))
        assert function(LOGITS, np.full(4, -100), reduction="sum") == 0
    with pytest.raises(ValueError, match="reduction must"):
        C.binary_cross_entropy_with_logits(z, z)
    with pytest.raises(ValueError, match="reduction must"):
        C.cross_entropy(LOGITS, TARGETS, weight=np.zeros(3))


def test_non_contiguous_logits():
    z = rng().standard_normal((4, 6, 3))
    turned, targets = np.moveaxis(z, 1, 2), rng(1).integers(0, 6, (4, 3))
    assert_close(C.cross_entropy(turned, targets), C.cross_entropy(turned.copy(), targets))
    dz = gradient(C.cross_entropy, turned, targets=targets)[0]
    assert_close(dz, gradient(C.cross_entropy, turned.copy(), targets=targets)[0])


def test_binary_cross_entropy_by_hand():
    z, y = np.array([0.0, math.log(3), -2.0]), np.array([1.0, 0.0, 0.25])
    softplus = math.log1p(math.exp(-2))
    own = np.array([math.log(2), math.log(4), 0.25 * (2 + softplus) + 0.75 * softplus])
    assert_close(C.binary_cross_entropy_with_logits(z, y, reduction="none"), own)
    assert_close(C.binary_cross_entropy_with_logits(z, y, reduction="sum"), own.sum())
    assert_close(C.binary_cross_entropy_with_logits(z, y), own.mean())
    heavy = own + np.array([2 * math.log(2), 0, 2 * 0.25 * (2 + softplus)])
    for weight in (3.0, np.full(3, 3.0)):
        assert_close(
            C.binary_cross_entropy_with_logits(z, y, pos_weight=weight, reduction="none"), heavy
        )
    # both tails keep all digits, in the value and in the gradient
    z = np.array([40.0, -40.0, 1e300, -1e300])
    easy = C.binary_cross_entropy_with_logits(z, np.array([1.0, 0, 1, 0]), reduction="none")
    assert_close(easy, np.array([math.exp(-40), math.exp(-40), 0, 0]))
    dz = gradient(
        C.binary_cross_entropy_with_logits, z, targets=np.array([1.0, 0, 1, 0]), reduction="sum"
    )[0]
    assert_close(dz, np.array([-math.exp(-40), math.exp(-40), 0, 0]))
    hard = C.binary_cross_entropy_with_logits(z, np.array([0.0, 1, 0, 1]), reduction="none")
    assert_close(hard, np.array([40, 40, 1e300, 1e300]))


def test_entropy_and_divergence_of_impossible_classes():
    p, q = np.array([0.5, 0.5, 0.0]), np.array([0.25, 0.25, 0.5])
    assert_close(C.entropy(p), math.log(2))
    assert str(C.entropy(np.array([0.0, 1.0]))) == "0.0"
    assert_close(C.kl_divergence(p, q), math.log(2))
    assert C.kl_divergence(q, p) == np.inf
    assert_close(gradient(C.entropy, p)[0], np.array([math.log(2) - 1, math.log(2) - 1, 0]))
    dp, dq = gradient(C.kl_divergence, p, q)
    assert_close(dp, np.array([math.log(2) + 1, math.log(2) + 1, 0]))
    assert_close(dq, np.array([-2.0, -2.0, 0]))
    np.testing.assert_array_equal(gradient(C.kl_divergence, q, p)[1], [-0.5, -0.5, -np.inf])


def test_divergence_broadcasts():
    p, q = softmax(rng().standard_normal((4, 2, 3))), softmax(rng(1).standard_normal(3))
    each = C.kl_divergence(p, q)
    assert_close(each, (p * np.log(p / q)).sum(axis=-1))
    dp, dq = gradient(C.kl_divergence, p, q)
    assert dp.shape == p.shape
    assert_close(dq, -(p / q).sum(axis=(0, 1)))


def test_perplexity():
    np.testing.assert_array_equal(C.perplexity(0.0), 1.0)
    assert_close(C.perplexity(np.log([2.0, 10.0])), np.array([2.0, 10.0]))


def test_rows_of_three_printed_digits_are_distributions():
    C.entropy(np.array([0.333, 0.333, 0.333]))
    with pytest.raises(ValueError, match=r"0\.003 away from 1"):
        C.entropy(np.array([0.333, 0.333, 0.331]))


def test_nan_in_training_is_seen_and_not_refused():
    z = np.zeros((2, 3))
    value, _ = value_and_grad(lambda z: C.cross_entropy(z * np.nan, np.array([0, 1])))(z)
    assert np.isnan(value)
    p = np.array([0.5, 0.5])
    assert np.isnan(value_and_grad(lambda p: C.kl_divergence(p, p * np.nan))(p)[0])


def test_targets_have_no_gradient():
    with pytest.raises(TypeError, match="targets must be a plain array"):
        vjp(C.cross_entropy, LOGITS, softmax(LOGITS))


# --- gradients ---------------------------------------------------------------------------------

REDUCTIONS = ("mean", "sum", "none")


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shape", [(3,), (1, 3), (5, 3), (2, 4, 3)])
def test_gradients_against_differences(shape, reduction):
    z = rng().standard_normal(shape)
    targets = rng(1).integers(0, 3, shape[:-1])
    soft = softmax(rng(2).standard_normal(shape))
    log_probs = np.log(softmax(z))
    for t in (targets, soft):
        for options in ({}, {"weight": WEIGHT}, {"label_smoothing": 0.3, "weight": WEIGHT}):
            f = lambda z, t=t, o=options: C.cross_entropy(z, t, reduction=reduction, **o)  # noqa: E731
            assert check_grad(f, z, rng=rng(3)) < 1e-7
    f = lambda x: C.nll_loss(x, targets, weight=WEIGHT, reduction=reduction)  # noqa: E731
    assert check_grad(f, log_probs, rng=rng(3)) < 1e-7
    for w in (None, WEIGHT):
        f = lambda x, w=w: C.binary_cross_entropy_with_logits(  # noqa: E731
            x, soft, pos_weight=w, reduction=reduction
        )
        assert check_grad(f, z, rng=rng(3)) < 1e-7
    assert check_grad(C.entropy, soft, rng=rng(3)) < 1e-7
    assert check_grad(C.kl_divergence, soft, softmax(z), rng=rng(3)) < 1e-7


def test_a_pullback_can_be_called_twice_and_keeps_its_cotangent():
    value, pullback = vjp(C.cross_entropy, LOGITS, targets=TARGETS, reduction="none")
    cotangent = np.arange(4.0)
    first = pullback(cotangent)[0]
    np.testing.assert_array_equal(pullback(cotangent)[0], first)
    np.testing.assert_array_equal(cotangent, np.arange(4.0))
    assert value.shape == (4,)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_dtype_of_gradients(dtype):
    z, y = LOGITS.astype(dtype), np.eye(3)[TARGETS]
    for t in (TARGETS, y):
        value, dz = value_and_grad(
            lambda z, t=t: C.cross_entropy(z, t, weight=WEIGHT, label_smoothing=0.1)
        )(z)
        assert value.dtype == dz.dtype == dtype
    for function in (
        lambda z: C.nll_loss(z, TARGETS, weight=WEIGHT),
        lambda z: C.binary_cross_entropy_with_logits(z, y, pos_weight=2.0),
    ):
        value, dz = value_and_grad(function)(z)
        assert value.dtype == dz.dtype == dtype
    p = softmax(z)
    assert gradient(C.entropy, p)[0].dtype == dtype
    assert gradient(C.kl_divergence, p, p)[1].dtype == dtype


@settings(deadline=None, max_examples=30)
@given(
    hnp.arrays(np.float64, (3, 4), elements=st.floats(-1e3, 1e3)),
    hnp.arrays(np.int64, 3, elements=st.integers(0, 3)),
    st.floats(0, 1),
)
def test_gradient_is_softmax_minus_target_and_sums_to_zero(z, targets, smoothing):
    dz = gradient(C.cross_entropy, z, targets=targets, label_smoothing=smoothing, reduction="sum")[
        0
    ]
    q = (1 - smoothing) * np.eye(4)[targets] + smoothing / 4
    # absolute: differences of numbers up to 1
    assert_close(dz, softmax(z) - q, atol=1e-15)
    assert_close(dz.sum(axis=1), np.zeros(3), atol=1e-15)
    assert np.abs(dz).max() <= 1


# --- referees ----------------------------------------------------------------------------------

OPTIONS = [
    {},
    {"label_smoothing": 0.1},
    {"weight": WEIGHT},
    {"weight": WEIGHT, "label_smoothing": 0.25},
]


def _problem(soft):
    z = 3 * rng(4).standard_normal((6, 3))
    targets = softmax(rng(5).standard_normal((6, 3))) if soft else np.array([0, 1, 2, -100, 1, 0])
    return z, targets


@pytest.mark.referee
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("soft", [False, True])
def test_cross_entropy_against_jax(soft, options, reduction):
    jax = pytest.importorskip("jax")
    z, targets = _problem(soft)
    weight, eps = options.get("weight", np.ones(3)), options.get("label_smoothing", 0.0)
    q = targets if soft else np.where(targets[:, None] == np.arange(3), 1.0, 0.0)
    keep = np.ones(6) if soft else (targets != -100) * 1.0
    count = 6.0 if soft else (keep * weight[np.maximum(targets, 0)]).sum()
    cotangent = rng(6).standard_normal(6) if reduction == "none" else np.array(1.0)

    def loss(z):
        terms = weight * ((1 - eps) * q + eps / 3) * jax.nn.log_softmax(z)
        losses = -keep * terms.sum(axis=1)
        if reduction == "none":
            return losses
        return losses.sum() / (count if reduction == "mean" else 1)

    with jax.enable_x64(True):
        expected, pull = jax.vjp(loss, jax.numpy.asarray(z))
        expected_gradient = pull(jax.numpy.asarray(cotangent))[0]
    value, pullback = vjp(C.cross_entropy, z, targets=targets, reduction=reduction, **options)
    # float64 against float64
    assert_close(value, np.asarray(expected), rtol=1e-10)
    assert_close(pullback(cotangent)[0], np.asarray(expected_gradient), rtol=1e-10, atol=1e-15)


@pytest.mark.referee
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("soft", [False, True])
def test_cross_entropy_against_torch(soft, options, reduction, dtype):
    torch = pytest.importorskip("torch")
    z, targets = _problem(soft)
    z = z.astype(dtype)
    zt = torch.tensor(z, requires_grad=True)
    more = {k: torch.tensor(v.astype(dtype)) if k == "weight" else v for k, v in options.items()}
    tt = torch.tensor(targets.astype(dtype) if soft else targets)
    expected = torch.nn.functional.cross_entropy(zt, tt, reduction=reduction, **more)
    cotangent = np.ones(expected.shape, dtype)
    expected.backward(torch.tensor(cotangent))
    value, pullback = vjp(C.cross_entropy, z, targets=targets, reduction=reduction, **options)
    tight = {"rtol": 1e-10} if dtype == np.float64 else {}
    # absolute: gradients are differences of numbers up to 1
    atol = 1e-15 if dtype == np.float64 else 1e-7
    assert_close(value, expected.detach().numpy(), **tight)
    assert_close(pullback(cotangent)[0], zt.grad.numpy(), atol=atol, **tight)


@pytest.mark.referee
def test_other_losses_against_torch():
    torch = pytest.importorskip("torch")
    f = torch.nn.functional
    z, targets = _problem(False)
    y, weight = softmax(rng(7).standard_normal((6, 3))), np.array([0.5, 1.0, 7.0])
    q = softmax(z)
    pairs = [
        (
            lambda x: f.nll_loss(x, torch.tensor(targets), weight=torch.tensor(WEIGHT)),
            lambda x: C.nll_loss(x, targets, weight=WEIGHT),
            z,
        ),
        (
            lambda x: f.binary_cross_entropy_with_logits(
                x, torch.tensor(y), pos_weight=torch.tensor(weight)
            ),
            lambda x: C.binary_cross_entropy_with_logits(x, y, pos_weight=weight),
            z,
        ),
        (
            lambda x: f.kl_div(x.log(), torch.tensor(y), reduction="none").sum(-1),
            lambda x: C.kl_divergence(y, x),
            q,
        ),
        (
            lambda x: f.kl_div(torch.tensor(y).log(), x, reduction="none").sum(-1),
            lambda x: C.kl_divergence(x, y),
            q,
        ),
        (lambda x: torch.special.entr(x).sum(-1), lambda x: C.entropy(x), q),
    ]
    for theirs, ours, x in pairs:
        xt = torch.tensor(x, requires_grad=True)
        expected = theirs(xt)
        expected.backward(torch.ones_like(expected))
        value, pullback = vjp(ours, x)
        # float64 against float64
        assert_close(value, expected.detach().numpy(), rtol=1e-10)
        assert_close(pullback(np.ones_like(value))[0], xt.grad.numpy(), rtol=1e-10, atol=1e-15)


@pytest.mark.referee
def test_other_losses_against_jax():
    jax = pytest.importorskip("jax")
    jnp = jax.numpy
    z, y = 3 * rng(4).standard_normal((6, 3)), softmax(rng(7).standard_normal((6, 3)))
    w = np.array([0.5, 1.0, 7.0])
    p = softmax(z)
    pairs = [
        (
            lambda x: -(w * y * jax.nn.log_sigmoid(x) + (1 - y) * jax.nn.log_sigmoid(-x)),
            lambda x: C.binary_cross_entropy_with_logits(x, y, pos_weight=w, reduction="none"),
            z,
        ),
        (lambda x: jax.scipy.special.rel_entr(x, y).sum(-1), lambda x: C.kl_divergence(x, y), p),
        (lambda x: jax.scipy.special.rel_entr(y, x).sum(-1), lambda x: C.kl_divergence(y, x), p),
        (lambda x: jax.scipy.special.entr(x).sum(-1), lambda x: C.entropy(x), p),
    ]
    for theirs, ours, x in pairs:
        with jax.enable_x64(True):
            expected, pull = jax.vjp(theirs, jnp.asarray(x))
            expected_gradient = np.asarray(pull(jnp.ones_like(expected))[0])
        value, pullback = vjp(ours, x)
        # float64 against float64
        assert_close(value, np.asarray(expected), rtol=1e-10)
        assert_close(pullback(np.ones_like(value))[0], expected_gradient, rtol=1e-10, atol=1e-15)


# --- claims ------------------------------------------------------------------------------------


@pytest.mark.claim("CE-01")
def test_nats_and_bits():
    nats = C.cross_entropy(np.log([[0.7, 0.2, 0.1]] * 2), np.array([0, 2]), reduction="none")
    assert_close(nats.round(4), np.array([0.3567, 2.3026]))
    assert_close((nats / math.log(2)).round(4), np.array([0.5146, 3.3219]))


@pytest.mark.claim("CE-02")
def test_guessing_among_k_classes_costs_log_k():
    assert_close(round(1 / math.log(2), 4), 1.4427)
    for k, nats in ((10, 2.303), (50257, 10.825), (128256, 11.762)):
        loss = C.cross_entropy(np.zeros((1, k)), np.zeros(1, int))
        assert_close(loss.round(3), nats)
        assert_close(C.perplexity(loss), float(k))


@pytest.mark.claim("CE-03")
def test_the_penalty_grows_with_the_logarithm_and_its_gradient_is_bounded():
    p = np.array([0.5, 0.1, 0.01, 0.001, 1e-6])
    z = np.stack([np.log(p), np.log1p(-p)], axis=1)
    losses, pullback = vjp(C.cross_entropy, z, targets=np.zeros(5, int), reduction="none")
    assert_close(losses.round(3), np.array([0.693, 2.303, 4.605, 6.908, 13.816]))
    halved = C.cross_entropy(
        np.stack([np.log(p / 2), np.log1p(-p / 2)], axis=1), np.zeros(5, int), reduction="none"
    )
    assert_close(halved - losses, np.full(5, math.log(2)))
    assert_close(pullback(np.ones(5))[0][:, 0], p - 1)


@pytest.mark.claim("CE-04")
def test_cross_entropy_is_entropy_plus_divergence():
    p = np.array([0.7, 0.2, 0.1])
    assert_close(C.entropy(p).round(3), 0.802)
    for q in softmax(rng().standard_normal((5, 3))):
        assert_close(C.cross_entropy(np.log(q), p), C.entropy(p) + C.kl_divergence(p, q))
    # at the best possible model it is the entropy, not 0
    value, grad = value_and_grad(lambda z: C.cross_entropy(z, p))(np.log(p))
    assert_close(value, C.entropy(p))
    assert_close(grad, np.zeros(3), atol=1e-15)  # rounding
    onehot = np.array([1.0, 0, 0])
    assert_close(C.cross_entropy(np.array([1e3, 0, 0]), onehot), 0.0)


@pytest.mark.claim("CE-05")
def test_divergence_is_no_distance():
    p, q, r = np.array([0.9, 0.1]), np.array([0.5, 0.5]), np.array([0.7, 0.3])
    assert_close(C.kl_divergence(p, q).round(3), 0.368)
    assert_close(C.kl_divergence(q, p).round(3), 0.511)
    # no triangle inequality either
    assert C.kl_divergence(p, q) > C.kl_divergence(p, r) + C.kl_divergence(r, q)
    # the entropy of the targets has no gradient: both losses pull alike
    z = rng().standard_normal(2)
    dz = gradient(C.cross_entropy, z, targets=p)[0]
    dq = gradient(lambda q: C.kl_divergence(p, q), softmax(z))[0]
    jacobian = np.diag(softmax(z)) - np.outer(softmax(z), softmax(z))
    assert_close(jacobian @ dq, dz)


@pytest.mark.claim("CE-06")
def test_the_likelihood_is_a_product_over_examples_and_the_sum_n_times_the_mean():
    likelihood = np.prod(softmax(LOGITS)[np.arange(4), TARGETS])
    total = C.cross_entropy(LOGITS, TARGETS, reduction="sum")
    assert_close(total, -math.log(likelihood))
    by_sum, by_mean = (
        gradient(C.cross_entropy, LOGITS, targets=TARGETS, reduction=r)[0] for r in ("sum", "mean")
    )
    assert_close(by_sum, 4 * by_mean)
    assert_close(by_mean, gradient(C.cross_entropy, LOGITS, targets=TARGETS)[0])


@pytest.mark.claim("CE-07")
def test_the_softmax_jacobian_has_rank_k_minus_1():
    z = rng().standard_normal(5)
    p = softmax(z)
    jacobian = np.diag(p) - np.outer(p, p)
    step = 1e-6
    steps = np.eye(5) * step
    target = np.tile(np.eye(5)[2], (5, 1))
    ahead, behind = (
        gradient(C.cross_entropy, z + s, targets=target, reduction="sum")[0]
        for s in (steps, -steps)
    )
    # softmax - target has the Jacobian of softmax; absolute: central differences
    assert_close((ahead - behind) / (2 * step), jacobian, rtol=1e-6, atol=1e-9)
    assert np.linalg.matrix_rank(jacobian) == 4
    assert_close(jacobian.sum(axis=1), np.zeros(5), atol=1e-15)  # rounding
    # targets that do not sum to 1 give sum(y) * p - y
    half = gradient(C.cross_entropy, z, targets=np.array([0, 0, 0.5, 0, 0]), reduction="sum")[0]
    assert_close(half, 0.5 * p - 0.5 * np.eye(5)[2])


@pytest.mark.claim("CE-08")
def test_gradient_of_the_last_layer():
    x, weight, bias = rng().standard_normal((6, 4)), rng(1).standard_normal((4, 3)), np.ones(3)
    targets = np.arange(6) % 3

    def loss(params):
        return C.cross_entropy(x @ params["weight"] + params["bias"], targets)

    params = {"weight": weight, "bias": bias}  # stored as (in, out) here
    _, grads = value_and_grad(loss)(params)
    error = softmax(x @ weight + bias) - np.eye(3)[targets]
    # absolute: differences of numbers up to 1
    assert_close(grads["weight"].T, error.T @ x / 6, atol=1e-15)
    assert_close(grads["bias"], error.mean(axis=0), atol=1e-15)
    assert check_grad(loss, params, rng=rng(2)) < 1e-8


@pytest.mark.claim("CE-09")
def test_logarithms_avoid_underflow_but_a_naive_log_softmax_does_not():
    for dtype, k in ((np.float64, 324), (np.float32, 46), (np.float16, 8)):
        product = np.array(1, dtype)
        for i in range(1, k + 1):
            product = np.asarray(product * np.array(0.1, dtype), dtype)
            assert (product == 0) == (i == k)
    for dtype, limit in ((np.float64, 709.8), (np.float32, 88.73), (np.float16, 11.1)):
        assert round(math.log(float(np.finfo(dtype).max)), 1) == round(limit, 1)
        with np.errstate(over="ignore"):
            assert np.exp(dtype(limit)) == np.inf
    z = np.array([1000.0, 0, 0])
    with np.errstate(over="ignore", invalid="ignore"):
        assert np.isnan(np.exp(z) / np.exp(z).sum())[0]
    np.testing.assert_array_equal(C.cross_entropy(np.stack([z] * 2), [0, 1], reduction="none"),
                                  [0, 1000])  # fmt: skip


@pytest.mark.claim("CE-10")
def test_probabilities_instead_of_logits_apply_softmax_twice():
    p = np.array([[0.7, 0.2, 0.1]])
    assert_close(C.cross_entropy(p, np.array([0])).round(3), 0.768)
    assert_close(C.cross_entropy(np.log(p), np.array([0])).round(3), 0.357)
    # even certainty that is right has a loss
    for k in (3, 1000):
        assert_close(C.cross_entropy(np.eye(k)[0], 0), math.log(1 + (k - 1) / math.e))
    # and the gradient of a wrong answer vanishes
    wrong = np.array([-8.0, 4.0, 0.0])
    once = gradient(C.cross_entropy, wrong, targets=np.array(0))[0]
    twice = gradient(lambda z: C.cross_entropy(trainlab_softmax(z), 0), wrong)[0]
    assert np.abs(twice).max() < 0.01 < 0.99 < np.abs(once).max()


@pytest.mark.claim("CE-11")
def test_several_labels_are_several_binary_losses_without_a_clamp():
    z, y = rng().standard_normal((4, 3)), (rng(1).random((4, 3)) < 0.5) * 1.0
    p = 1 / (1 + np.exp(-z))
    losses = C.binary_cross_entropy_with_logits(z, y, reduction="none")
    assert_close(losses, -(y * np.log(p) + (1 - y) * np.log(1 - p)))
    # each is the cross-entropy of two classes with the logits (0, z)
    two = np.stack([np.zeros_like(z), z], axis=-1)
    assert_close(losses, C.cross_entropy(two, y.astype(int), reduction="none"))
    assert C.binary_cross_entropy_with_logits(np.array([-1000.0]), np.ones(1)) == 1000


@pytest.mark.claim("CE-12")
def test_squared_error_behind_a_sigmoid_loses_its_gradient_where_it_is_wrong():
    z, y = np.array([-10.0]), np.ones(1)
    assert_close(gradient(C.binary_cross_entropy_with_logits, z, targets=y)[0].round(5),
                 np.array([-0.99995]))  # fmt: skip

    def squared(z):
        return (1 / (1 + np.exp(-z)) - 1) ** 2

    slope = (squared(z + 1e-5) - squared(z - 1e-5)) / 2e-5
    assert f"{slope[0]:.1e}" == "-9.1e-05"
    # and is not convex, the cross-entropy is
    left, middle, right = (np.array([v]) for v in (-10.0, -5.0, 0.0))
    assert squared(middle) > (squared(left) + squared(right)) / 2
    f = C.binary_cross_entropy_with_logits
    assert f(middle, y) < (f(left, y) + f(right, y)) / 2


@pytest.mark.claim("LS-01")
def test_label_smoothing_aims_at_a_finite_gap_and_leaves_a_floor():
    for k, gap, floor in ((10, 4.51, 0.500), (1000, 9.11, 1.015)):
        best = np.zeros(k)
        best[3] = math.log(k * 0.9 / 0.1 + 1)
        assert round(best[3], 2) == gap
        value, grad = value_and_grad(lambda z: C.cross_entropy(z, 3, label_smoothing=0.1))(best)
        assert round(float(value), 3) == floor
        smooth = np.full(k, 0.1 / k)
        smooth[3] += 0.9
        assert_close(value, C.entropy(smooth))
        assert_close(grad, np.zeros(k), atol=1e-14)  # rounding of a sum of 1000 numbers
    z = np.log([[0.7, 0.2, 0.1]])
    assert_close(C.cross_entropy(z, [0]).round(4), 0.3567)
    assert_close(C.cross_entropy(z, [0], label_smoothing=0.1).round(4), 0.4633)


def test_a_loss_that_overflows_is_refused_by_name():
    with pytest.raises(ValueError, match="cross_entropy: loss must be finite in float32; got"):
        C.cross_entropy(np.array([[3e38, -3e38]], np.float32), np.array([1]))
    with pytest.raises(ValueError, match="nll_loss: loss must be finite in float64"):
        C.nll_loss(np.array([[-1e308, 0.0]]), np.array([0]), weight=np.array([1e10, 1.0]))
    with pytest.raises(ValueError, match="with_logits: loss must be finite in float64"):
        C.binary_cross_entropy_with_logits(np.array([-1e308]), np.ones(1), pos_weight=1e10)
    with pytest.raises(ValueError, match="loss must be finite"):  # each fits, their sum does not
        C.cross_entropy(np.array([[1e308, 0.0]] * 2), np.array([1, 1]), reduction="sum")


# --- explorers ---------------------------------------------------------------------------------


@pytest.mark.claim("CE-09")
@pytest.mark.parametrize(("name", "dtype"), [("FP64", np.float64), ("FP16", np.float16)])
def test_the_explorer_of_stability_breaks_where_numpy_does(name, dtype):
    from trainlab.explorers.classification import stability

    for size in stability.controls[1].values:
        data = stability.run(format=name, size=size)
        z = np.array([size, 0, 0], dtype)
        with np.errstate(all="ignore"):
            for way, shifted in (("naive", z), ("shifted", z - z.max())):
                e = np.exp(shifted)
                losses = -np.log(e / e.sum())
                found = (data.ways[way].right, data.ways[way].wrong)
                # a rounding of FP16 may fall on the other side; its exp and log are not ours
                np.testing.assert_allclose(
                    found, losses[:2].astype(float), rtol=0.02 if name == "FP16" else 1e-12,
                    atol=2e-3 if name == "FP16" else 1e-15,
                )  # fmt: skip
        direct = data.ways["direct"]
        assert math.isfinite(direct.right)
        assert abs(direct.wrong - data.wrong) <= 0.01 * data.wrong


def test_the_explorer_of_overconfidence_keeps_the_answers_and_repairs_the_loss():
    from trainlab.explorers.classification import overconfidence

    late, hot = overconfidence.run(steps=2000), overconfidence.run(steps=2000, temperature=4.0)
    early = overconfidence.run(steps=20)
    assert late.accuracy == hot.accuracy
    assert late.loss > 2.5 * early.loss
    assert 0.03 < early.accuracy - late.accuracy < 0.06
    assert hot.loss < 1.2 * early.loss
    assert hot.error < 0.05 < 0.2 < late.error
    assert abs(late.fitted - 4.18) < 0.01
