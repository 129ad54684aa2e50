import inspect
import itertools
import math

import numpy as np
import pytest

from tests.trainlab.closeness import assert_close
from trainlab import initialization as I
from trainlab.activations import relu
from trainlab.plain_network import Network, gradient_descent, logits, loss_and_gradients
from trainlab.signal_propagation import simulate

SHAPE = (256, 1024)  # fan_in 1024, fan_out 256
DRAWS = SHAPE[0] * SHAPE[1]
# The variance of a sample of 262,144 normal numbers has a relative standard deviation of
# sqrt(2 / 262144) = 0.28 %; five of them.
SAMPLE = 5 * math.sqrt(2 / DRAWS)


def rng(seed=0):
    return np.random.default_rng(seed)


def square_network(depth, width, draw, seed=0):
    source = rng(seed)
    return [draw((width, width), rng=source) for _ in range(depth)]


def forward_moment(weights, activation="relu", batch=64, seed=100):
    x = rng(seed).standard_normal((batch, weights[0].shape[1]))
    g = np.ones((batch, weights[-1].shape[0]))
    return simulate(weights, x, cotangent=g, activation=activation).forward


# --- the schemes -------------------------------------------------------------------------------

VARIANCES = {
    I.xavier_normal: 2 / (1024 + 256),
    I.xavier_uniform: 2 / (1024 + 256),
    I.kaiming_normal: 2 / 1024,
    I.kaiming_uniform: 2 / 1024,
    I.lecun_normal: 1 / 1024,
    I.lecun_uniform: 1 / 1024,
}


@pytest.mark.claim("INIT-01", "INIT-05")
@pytest.mark.parametrize("draw", VARIANCES, ids=lambda f: f.__name__)
def test_variance_and_mean(draw):
    weights = draw(SHAPE, rng=rng())
    assert_close(weights.var(), VARIANCES[draw], rtol=SAMPLE)  # sampling error, see SAMPLE
    assert abs(weights.mean()) < 5 * math.sqrt(VARIANCES[draw] / DRAWS)


@pytest.mark.claim("INIT-01", "INIT-05")
@pytest.mark.parametrize(
    ("draw", "bound"),
    [
        (I.xavier_uniform, math.sqrt(6 / (1024 + 256))),
        (I.kaiming_uniform, math.sqrt(6 / 1024)),
        (I.lecun_uniform, math.sqrt(3 / 1024)),
        (I.uniform, 1.0),
    ],
    ids=lambda v: getattr(v, "__name__", ""),
)
def test_uniform_bounds(draw, bound):
    size = np.abs(draw(SHAPE, rng=rng())).max()
    # the largest of 262,144 uniform numbers is within 1e-4 of the bound, and never above
    assert bound * (1 - 1e-4) < size <= bound


@pytest.mark.claim("INIT-01")
def test_xavier_is_a_compromise_forward_and_backward():
    weights = I.xavier_normal(SHAPE, rng=rng())
    batch = rng(1).standard_normal((200, 1024))
    g = rng(2).standard_normal((200, 256))
    signal = simulate([weights], batch, cotangent=g, activation="identity")
    # exact in expectation: 2 n / (n + m) and 2 m / (n + m); 3 % is five standard errors
    assert_close(signal.forward[1] / signal.forward[0], 1.6, rtol=0.03)
    assert_close(signal.backward[0] / signal.backward[1], 0.4, rtol=0.03)


@pytest.mark.claim("INIT-03")
def test_xavier_has_no_mode_and_kaiming_has():
    for xavier in (I.xavier_normal, I.xavier_uniform):
        assert list(inspect.signature(xavier).parameters) == ["shape", "rng", "gain", "dtype"]
    for kaiming in (I.kaiming_normal, I.kaiming_uniform):
        assert {"a", "mode", "nonlinearity"} < set(inspect.signature(kaiming).parameters)


def test_kaiming_modes_slopes_and_gains():
    wide, narrow = (I.kaiming_normal(SHAPE, rng=rng(), mode=m) for m in ("fan_in", "fan_out"))
    assert_close(narrow / wide, np.full(SHAPE, 2.0))  # sqrt(1024 / 256), same draws
    leaky = I.kaiming_normal(SHAPE, rng=rng(), a=0.5)
    assert_close(leaky / wide, np.full(SHAPE, math.sqrt(1 / 1.25)))
    linear = I.kaiming_normal(SHAPE, rng=rng(), nonlinearity="linear")
    assert_close(linear, I.lecun_normal(SHAPE, rng=rng()))
    assert_close(I.kaiming_normal(SHAPE, rng=rng(), a=9.0, nonlinearity="relu"), wide)
    square = (64, 64)
    assert_close(
        I.xavier_normal(square, rng=rng(), gain=math.sqrt(2)), I.kaiming_normal(square, rng=rng())
    )


def test_zeros_constant_normal_uniform():
    np.testing.assert_array_equal(I.zeros((2, 3)), np.zeros((2, 3)))
    np.testing.assert_array_equal(I.constant((2, 3), value=-0.5), np.full((2, 3), -0.5))
    assert_close(I.normal(SHAPE, rng=rng(), std=0.01).std(), 0.01, rtol=SAMPLE)  # see SAMPLE
    assert_close(I.uniform(SHAPE, rng=rng(), bound=0.3).var(), 0.03, rtol=SAMPLE)  # see SAMPLE
    assert I.normal((3,), rng=rng(), dtype=np.float16).dtype == np.float16


@pytest.mark.claim("INIT-04")
def test_he_is_xaviers_variance_times_two_in_square_layers():
    he, xavier = (f((512, 512), rng=rng()) for f in (I.kaiming_normal, I.xavier_normal))
    assert_close(he**2 / xavier**2, np.full((512, 512), 2.0))
    z = rng(1).standard_normal(1_000_000)
    # the reason for the 2; 0.5 % is five standard errors of the ratio
    assert_close(np.mean(relu(z) ** 2) / np.mean(z**2), 0.5, rtol=5e-3)


@pytest.mark.claim("INIT-05")
def test_the_variance_of_a_relu_layer_is_not_its_second_moment():
    h = relu(rng().standard_normal(1_000_000))
    # 1 - 1/π = 0.68; half a percent is sampling error
    assert_close(h.var() / np.mean(h**2), 1 - 1 / math.pi, rtol=5e-3)


@pytest.mark.claim("INIT-05")
def test_relu_with_he_keeps_the_second_moment():
    forward = forward_moment(square_network(50, 512, I.kaiming_normal))
    assert_close(forward[1], 1.0, rtol=0.05)  # one layer: sampling error of 64 x 512 numbers
    # ln E[h²] is a random walk with variance about 5 L / n = 0.49 at L = 50; three of its
    # standard deviations, and its mean -2.5 L / n
    assert abs(math.log(forward[10]) + 2.5 * 10 / 512) < 3 * math.sqrt(5 * 10 / 512)
    assert abs(math.log(forward[50]) + 2.5 * 50 / 512) < 3 * math.sqrt(5 * 50 / 512)


# --- orthogonal --------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 4), (4, 3, 2, 2)])
def test_orthogonal_rows_or_columns(shape):
    matrix = I.orthogonal(shape, rng=rng(), gain=3.0).reshape(shape[0], -1)
    least = min(matrix.shape)
    gram = matrix @ matrix.T if matrix.shape[0] == least else matrix.T @ matrix
    # zeros off the diagonal are rounding errors
    assert_close(gram, 9.0 * np.eye(least), atol=1e-13)


def test_orthogonal_is_uniform_over_rotations():
    """Without the sign correction the diagonal would be biased."""
    source = rng()
    draws = np.array([I.orthogonal((3, 3), rng=source) for _ in range(4000)])
    # an entry of a uniform rotation has mean 0 and variance 1/3: five standard errors
    assert np.abs(draws.mean(axis=0)).max() < 5 * math.sqrt(1 / 3 / 4000)
    assert_close((draws**2).mean(axis=0), np.full((3, 3), 1 / 3), rtol=0.08)  # same, for squares


def test_orthogonal_linear_network_keeps_every_length():
    weights = square_network(50, 32, I.orthogonal)
    signal = simulate(
        weights,
        rng(1).standard_normal((8, 32)),
        cotangent=np.ones((8, 32)),
        activation="identity",
    )
    assert_close(signal.forward, np.full(51, signal.forward[0]))
    assert_close(signal.backward, np.full(51, signal.backward[-1]))


# --- fans, gains, defaults -----------------------------------------------------------------------


@pytest.mark.claim("INIT-12")
def test_fans_of_dense_and_convolution():
    assert I.fans((256, 1024)) == (1024, 256)
    assert I.fans((64, 32, 3, 3)) == (288, 576)
    assert I.fans((64, 32 // 4, 3, 3), groups=4) == (288 // 4, 576 // 4)
    assert I.fans((32, 1, 3, 3), groups=32) == (9, 9)  # depthwise


@pytest.mark.claim("INIT-12")
def test_fans_count_the_connections_of_a_grouped_convolution():
    """Count by hand which inputs an output position sees, one dimension, kernel 3, 2 groups."""
    out, inputs, kernel, groups = 6, 4, 3, 2
    connected = np.zeros((out, inputs), int)
    for o in range(out):
        group = o // (out // groups)
        connected[o, group * inputs // groups : (group + 1) * inputs // groups] = kernel
    fan_in, fan_out = I.fans((out, inputs // groups, kernel), groups=groups)
    assert set(connected.sum(axis=1)) == {fan_in}
    assert set(connected.sum(axis=0)) == {fan_out}


def test_gains():
    gains = {"linear": 1, "conv2d": 1, "sigmoid": 1, "tanh": 5 / 3, "relu": 2**0.5, "selu": 0.75}
    for name, gain in gains.items():
        assert I.calculate_gain(name) == gain
    assert_close(I.calculate_gain("leaky_relu"), math.sqrt(2 / 1.0001))
    assert_close(I.calculate_gain("leaky_relu", param=0.0), math.sqrt(2))
    assert_close(I.calculate_gain("leaky_relu", param=math.sqrt(5)), math.sqrt(1 / 3))


@pytest.mark.claim("INIT-11")
def test_linear_default_has_a_sixth_of_the_he_variance():
    weight, bias = I.linear_default(256, 1024, rng=rng())
    assert_close(weight.var() * 1024, 1 / 3, rtol=SAMPLE)  # sampling error, see SAMPLE
    assert np.abs(weight).max() <= 1 / 32
    assert np.abs(bias).max() <= 1 / 32
    assert_close(bias.std() * 32, 1 / math.sqrt(3), rtol=0.15)  # 256 numbers


@pytest.mark.claim("INIT-13")
def test_biases_are_zero_but_for_good_reasons():
    """A rare class: with bias = log prior the loss starts at the entropy of the labels."""
    labels = np.array([1] * 10 + [0] * 990)
    x = rng().standard_normal((1000, 20))
    weight = I.normal((1, 20), rng=rng(1), std=1e-3)
    at_zero, _ = loss_and_gradients(
        Network((weight,), (np.zeros(1),)), x, labels, activation="relu"
    )
    at_prior, _ = loss_and_gradients(
        Network((weight,), (np.array([math.log(0.01 / 0.99)]),)), x, labels, activation="relu"
    )
    entropy = -0.01 * math.log(0.01) - 0.99 * math.log(0.99)
    # the tiny weights move the loss by about 1e-3
    assert_close(at_zero, math.log(2), rtol=0.01)
    assert_close(at_prior, entropy, rtol=0.01)
    assert at_zero > 12 * at_prior


# --- zero, constant, random: symmetry ------------------------------------------------------------

CORNERS = np.array([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])
XOR = np.array([0, 1, 1, 0])


def one_hidden(base, noise, *, seed=0, inputs=2, hidden=8, out=1):
    source = rng(seed)
    sizes = ((hidden, inputs), (out, hidden))
    weights = tuple(base + noise * source.standard_normal(s) for s in sizes)
    return Network(weights, (np.zeros(hidden), np.zeros(out)))


@pytest.mark.claim("INIT-14")
@pytest.mark.parametrize("activation", ["tanh", "relu", "sigmoid"])
@pytest.mark.parametrize("base", [0.0, 0.5])
def test_equal_weights_stay_equal_and_do_not_solve_xor(activation, base):
    net, losses = gradient_descent(
        one_hidden(base, 0.0), CORNERS, XOR, activation=activation, lr=0.5, steps=2000
    )
    hidden = net.weights[0]
    # bitwise equality is a property of the BLAS at hand; nothing that matters grows
    assert np.ptp(hidden, axis=0).max() < 1e-9
    if base:
        values = np.linalg.svd(hidden, compute_uv=False)
        assert values[1] < 1e-9 * values[0]
    # one unit can cut off one corner; the other three share 2/3 against 1/3
    assert losses[-1] > 0.75 * (math.log(3) - 2 / 3 * math.log(2))


@pytest.mark.claim("INIT-14")
def test_random_weights_solve_xor():
    _, losses = gradient_descent(
        one_hidden(0.0, 1.0), CORNERS, XOR, activation="tanh", lr=0.5, steps=2000
    )
    assert losses[-1] < 2e-3


@pytest.mark.claim("INIT-14")
def test_a_little_noise_is_not_always_enough():
    """ReLU units that start almost equal stay almost equal: the loss stops at the limit."""
    limit = 0.75 * (math.log(3) - 2 / 3 * math.log(2))  # of a single unit: 0.477
    starts = [one_hidden(0.5, noise) for noise in (1e-9, 1e-6, 1e-3, 0.1)]
    stack = Network(
        *(tuple(map(np.stack, zip(*part, strict=True))) for part in zip(*starts, strict=False))
    )
    _, losses = gradient_descent(stack, CORNERS, XOR, activation="relu", lr=0.5, steps=4000)
    # still approaching the limit
    assert_close(losses[-1, :3], np.full(3, limit), rtol=2e-3)
    assert losses[-1, 3] < 3e-3


@pytest.mark.claim("INIT-15")
@pytest.mark.parametrize("activation", ["tanh", "relu", "sigmoid"])
def test_zero_weights_have_gradients_that_are_exactly_zero(activation):
    x = rng(3).uniform(-1, 1, (500, 2))
    labels = (x[:, 0] * x[:, 1] < 0).astype(int)
    sizes = ((8, 2), (8, 8), (1, 8))
    net = Network(tuple(I.zeros(s) for s in sizes), tuple(I.zeros(s[:1]) for s in sizes))
    _, gradients = loss_and_gradients(net, x, labels, activation=activation)
    largest = [np.abs(g).max() for g in (*gradients.weights, gradients.biases[-1])]
    unbalance = abs(labels.mean() - 0.5)
    assert unbalance > 0
    assert largest[:2] == [0.0, 0.0]
    assert_close(largest[3], unbalance)
    if activation == "sigmoid":  # every unit says 1/2, so the last weights move, all alike
        assert_close(
            gradients.weights[2], np.full((1, 8), largest[3] / 2) * np.sign(gradients.biases[-1])
        )
    else:
        assert largest[2] == 0.0


@pytest.mark.claim("INIT-16")
def test_a_constant_network_is_still_not_linear():
    net = one_hidden(0.5, 0.0)
    t = np.linspace(-4, 4, 9)[:, None] * np.array([[1.0, 1.0]])
    curve = logits(net, t, activation="sigmoid")[:, 0]
    assert np.abs(np.diff(curve, 2)).max() > 0.1
    one = Network((net.weights[0][:1], net.weights[1][:, :1] * 8), (np.zeros(1), np.zeros(1)))
    assert_close(logits(one, t, activation="sigmoid")[:, 0], curve)


@pytest.mark.claim("INIT-17")
def test_zero_is_fine_without_hidden_units():
    source = rng(4)
    x = source.standard_normal((400, 5))
    direction = np.array([2.0, -1.0, 0.5, 1.0, 3.0])
    labels = (x @ direction + 0.2 * source.standard_normal(400) > 0).astype(int)
    net, losses = gradient_descent(
        Network((I.zeros((1, 5)),), (I.zeros((1,)),)),
        x,
        labels,
        activation="relu",
        lr=1.0,
        steps=200,
    )
    accuracy = np.mean((x @ net.weights[0][0] + net.biases[0] > 0) == labels)
    assert_close(losses[0], math.log(2))
    assert accuracy > 0.95


@pytest.mark.claim("INIT-17")
def test_one_random_layer_is_enough():
    """Zero output weights are fine if the hidden ones are random."""
    net = one_hidden(0.0, 1.0)
    net = Network((net.weights[0], I.zeros((1, 8))), net.biases)
    _, losses = gradient_descent(net, CORNERS, XOR, activation="tanh", lr=0.5, steps=2000)
    assert_close(losses[0], math.log(2))
    assert losses[-1] < 5e-3


@pytest.mark.claim("INIT-06")
def test_nothing_holds_the_variance_during_training():
    source = rng(5)
    net = Network(
        (I.kaiming_normal((8, 2), rng=source), I.kaiming_normal((1, 8), rng=source)),
        (np.zeros(8), np.zeros(1)),
    )
    trained, _ = gradient_descent(net, CORNERS, XOR, activation="relu", lr=0.5, steps=500)
    before, after = net.weights[1].var(), trained.weights[1].var()
    assert after > 1.5 * before
    assert np.abs(trained.biases[0]).max() > 0.05  # drawn as 0, not kept there


def _digits():
    load_digits = pytest.importorskip("sklearn.datasets").load_digits
    x, y = load_digits(return_X_y=True)
    x = x / 16
    x = (x - x.mean(axis=0)) / math.sqrt(np.mean((x - x.mean(axis=0)) ** 2))
    order = rng(6).permutation(len(x))[:1000]
    return x[order], y[order]


@pytest.mark.claim("INIT-20")
@pytest.mark.referee
def test_a_bad_scale_can_stop_a_deep_network_for_good():
    x, y = _digits()
    sizes = [64, *[64] * 7, 10]
    losses = {}
    for name in ("default", "he"):
        source = rng(7)
        pairs = []
        for n, m in itertools.pairwise(sizes):
            if name == "he":
                pairs.append((I.kaiming_normal((m, n), rng=source), np.zeros(m)))
            else:
                pairs.append(I.linear_default(m, n, rng=source))
        net = Network(tuple(w for w, _ in pairs), tuple(b for _, b in pairs))
        for _step in range(300):
            rows = source.integers(0, len(x), 32)
            net, _loss = gradient_descent(
                net, x[rows], y[rows], activation="relu", lr=0.01, steps=1
            )
        losses[name], _ = loss_and_gradients(net, x, y, activation="relu")
    assert abs(losses["default"] - math.log(10)) < 0.01
    assert losses["he"] < 0.4


@pytest.mark.claim("INIT-14")
@pytest.mark.referee
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_constant_digits_network_has_rank_one_and_noise_escapes(activation):
    x, y = _digits()
    values = {}
    for noise in (0.0, 1e-6):
        net = one_hidden(0.1, noise, inputs=64, hidden=32, out=10)
        net, _ = gradient_descent(net, x, y, activation=activation, lr=0.5, steps=100)
        s = np.linalg.svd(net.weights[0], compute_uv=False)
        values[noise] = s / s.sum()
        assert np.isfinite(s).all()
    assert values[0.0][1] < 1e-9
    share = values[1e-6][values[1e-6] > 0]
    assert math.exp(-(share * np.log(share)).sum()) > 2  # effective rank after 100 steps


@pytest.mark.claim("INIT-18")
def test_arbitrary_scales_collapse_or_overflow():
    small = forward_moment(square_network(10, 512, lambda s, rng: I.normal(s, rng=rng, std=0.01)))
    large = forward_moment(square_network(10, 512, lambda s, rng: I.normal(s, rng=rng)))
    # per layer 512 std² / 2: (0.0256)^10 and 256^10; a factor 2 is the random walk at n = 512
    assert 0.5 < small[10] / 0.0256**10 < 2
    assert 0.5 < large[10] / 256.0**10 < 2
    scale = np.sqrt(large[:5])  # std of activations about 16^l
    assert scale[3] < np.finfo(np.float16).max / 10 < scale[4]


@pytest.mark.claim("INIT-18")
def test_all_random_schemes_vary_from_run_to_run():
    first, second = (I.kaiming_normal((3, 3), rng=rng(s)) for s in (0, 1))
    assert (first != second).all()


@pytest.mark.claim("INIT-22")
@pytest.mark.parametrize(("n", "expected"), [(2, 0.5), (4, 0.75), (8, 0.875), (32, 0.96875)])
def test_the_variance_with_1_over_n_is_biased(n, expected):
    x = rng(8).standard_normal((200_000, n))
    # five standard errors: the variance of the biased variance is 2 (n - 1) / n²
    band = 5 * math.sqrt(2 * (n - 1) / n**2 / 200_000)
    assert abs(x.var(axis=1).mean() - expected) < band
    assert abs(x.var(axis=1, ddof=1).mean() - 1) < band * n / (n - 1)


@pytest.mark.claim("INIT-21")
def test_transformer_scales_are_other_numbers():
    """σ = 0.02 is none of the fan rules at GPT-2's width; 2 L branches of scale 1/√(2 L) add 1."""
    width, layers = 768, 12
    assert 0.02**2 * width < 0.31 < 1 / 3  # below even nn.Linear's default
    branch = I.normal((2 * layers, 100_000), rng=rng(9), std=1 / math.sqrt(2 * layers))
    total = (I.normal((100_000,), rng=rng(10)) + branch.sum(axis=0)).var()
    plain = (I.normal((100_000,), rng=rng(10)) + branch.sum(axis=0) * math.sqrt(2 * layers)).var()
    # sampling error of 100,000 numbers is 0.45 %
    assert_close(total, 2.0, rtol=0.025)
    assert_close(plain, 1.0 + 2 * layers, rtol=0.025)


# --- referees ----------------------------------------------------------------------------------


@pytest.mark.referee
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (lambda s, g: I.xavier_normal(s, rng=g), "glorot_normal"),
        (lambda s, g: I.xavier_uniform(s, rng=g), "glorot_uniform"),
        (lambda s, g: I.kaiming_normal(s, rng=g), "he_normal"),
        (lambda s, g: I.kaiming_uniform(s, rng=g), "he_uniform"),
        (lambda s, g: I.lecun_normal(s, rng=g), "lecun_normal"),
        (lambda s, g: I.lecun_uniform(s, rng=g), "lecun_uniform"),
    ],
)
@pytest.mark.parametrize("shape", [(64, 32, 3, 3)])
def test_variances_against_jax(ours, theirs, shape):
    jax = pytest.importorskip("jax")
    scheme = getattr(jax.nn.initializers, theirs)(in_axis=1, out_axis=0)
    reference = np.asarray(scheme(jax.random.key(0), shape), np.float64)
    # two samples of 18,432 numbers or more; JAX cuts its normals at two standard deviations
    assert_close(ours(shape, rng()).std(), reference.std(), rtol=0.03)


@pytest.mark.referee
@pytest.mark.claim("INIT-03", "INIT-11")
def test_against_torch():
    torch = pytest.importorskip("torch")
    assert list(inspect.signature(torch.nn.init.xavier_normal_).parameters)[:2] == [
        "tensor",
        "gain",
    ]
    for name in ("linear", "conv2d", "sigmoid", "tanh", "relu", "leaky_relu", "selu"):
        assert_close(I.calculate_gain(name), torch.nn.init.calculate_gain(name))
    layer = torch.nn.Linear(1024, 256)
    ours, bias = I.linear_default(256, 1024, rng=rng())
    # uniform samples: 262,144 weights, 256 biases
    assert_close(ours.std(), float(layer.weight.detach().std()), rtol=0.01)
    assert_close(bias.std(), float(layer.bias.detach().std()), rtol=0.2)
