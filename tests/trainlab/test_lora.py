import functools

import numpy as np
import pytest

from tests.trainlab.closeness import assert_close
from trainlab.differentiation import check_grad, value_and_grad, vjp
from trainlab.layers import linear
from trainlab.lora import lora_init, lora_linear, lora_merge
from trainlab.mlp import mlp, mlp_init
from trainlab.regression import mse_loss
from trainlab.transformer import TransformerConfig, decoder, decoder_init
from trainlab.trees import tree_leaves, tree_map

CONFIG = TransformerConfig(vocab_size=9, dim=8, depth=2, num_heads=2, max_length=5)
IDS = np.array([[1, 2, 3, 4], [8, 0, 7, 3]])


def rng(seed=0):
    return np.random.default_rng(seed)


def trained(adapters):
    """Adapters after some training: b is no longer 0."""
    return tree_map(lambda a: a + rng(1).standard_normal(a.shape).astype(a.dtype) / 4, adapters)


def test_init():
    params = {"query": {"weight": np.zeros((30, 400))}, "deep": [{"key": {"weight": np.eye(2)}}]}
    adapters = lora_init(params, rank=50, rng=rng())
    assert list(adapters) == ["query"]
    assert adapters["query"]["a"].shape == (50, 400)
    assert adapters["query"]["a"].var() == pytest.approx(1 / 400, rel=0.03)  # of 20 000 numbers
    np.testing.assert_array_equal(adapters["query"]["b"], np.zeros((30, 50)))
    both = lora_init(params, rank=1, rng=rng(), targets=("query", "key"))
    assert list(both) == ["query", "deep/0/key"]
    single = tree_map(lambda a: a.astype(np.float32), params)
    leaves = tree_leaves(lora_init(single, rank=1, rng=rng()))
    assert {a.dtype for a in leaves} == {np.dtype(np.float32)}


def test_default_targets_of_a_decoder():
    params = decoder_init(CONFIG, rng=rng())
    adapters = lora_init(params, rank=2, rng=rng())
    assert list(adapters) == [
        f"blocks/{i}/attention/{name}" for i in range(2) for name in ("query", "value")
    ]
    assert sum(a.size for a in tree_leaves(adapters)) == 4 * 2 * (8 + 8)  # rank · (in + out)


def test_zero_at_the_start():
    params = decoder_init(CONFIG, rng=rng())
    merged = lora_merge(params, lora_init(params, rank=2, rng=rng()))
    np.testing.assert_array_equal(
        decoder(merged, IDS, config=CONFIG), decoder(params, IDS, config=CONFIG)
    )


@pytest.mark.parametrize("alpha", [16.0, 2.0])
def test_merged_equals_beside(alpha):
    weight, bias, x = (
        rng(2).standard_normal((6, 5)),
        rng(3).standard_normal(6),
        rng(4).random((7, 5)),
    )
    adapters = trained(lora_init({"out": {"weight": weight}}, rank=3, rng=rng(), targets=["out"]))
    merged = lora_merge({"out": {"weight": weight, "bias": bias}}, adapters, alpha=alpha)["out"]
    beside = lora_linear(x, weight, bias=bias, alpha=alpha, **adapters["out"])
    assert_close(linear(x, **merged), beside)
    change = merged["weight"] - weight
    assert_close(change, alpha / 3 * adapters["out"]["b"] @ adapters["out"]["a"])
    assert np.linalg.matrix_rank(change) == 3
    assert_close(
        lora_linear(x, weight, **adapters["out"]),
        lora_linear(x, weight, alpha=16, **adapters["out"]),
    )
    default = lora_merge({"out": {"weight": weight}}, adapters)["out"]["weight"]
    assert_close(
        default, lora_merge({"out": {"weight": weight}}, adapters, alpha=16)["out"]["weight"]
    )


def test_merging_copies_only_what_changes():
    params = decoder_init(CONFIG, rng=rng())
    before = tree_map(np.copy, params)
    merged = lora_merge(params, trained(lora_init(params, rank=2, rng=rng())))
    for a, b in zip(tree_leaves(params), tree_leaves(before), strict=True):
        np.testing.assert_array_equal(a, b)
    assert merged["embedding"] is params["embedding"]
    assert merged["blocks"][1]["up"] is params["blocks"][1]["up"]
    assert (
        merged["blocks"][1]["attention"]["query"]["bias"]
        is params["blocks"][1]["attention"]["query"]["bias"]
    )
    assert not np.array_equal(
        merged["blocks"][1]["attention"]["value"]["weight"],
        params["blocks"][1]["attention"]["value"]["weight"],
    )


def test_gradients():
    weight, bias, x = (
        rng(2).standard_normal((6, 5)),
        rng(3).standard_normal(6),
        rng(4).random((7, 5)),
    )
    adapter = trained(lora_init({"out": {"weight": weight}}, rank=3, rng=rng(), targets=["out"]))[
        "out"
    ]

    def beside(x, weight, bias, a, b):
        return lora_linear(x, weight, bias=bias, a=a, b=b, alpha=2.0)

    error = check_grad(beside, x, weight, bias, adapter["a"], adapter["b"], rng=rng(5))
    assert error < 1e-7  # what central differences resolve
    params = decoder_init(CONFIG, rng=rng())
    adapters = trained(lora_init(params, rank=2, rng=rng()))
    f = functools.partial(decoder, token_ids=IDS, config=CONFIG)
    assert check_grad(lambda z: f(lora_merge(params, z)), adapters, rng=rng(5)) < 1e-6  # two blocks


def test_at_the_start_only_b_has_a_gradient():
    params = decoder_init(CONFIG, rng=rng())
    adapters = lora_init(params, rank=2, rng=rng())
    value, pullback = vjp(lambda z: decoder(lora_merge(params, z), IDS, config=CONFIG), adapters)
    (grads,) = pullback(rng(6).standard_normal(value.shape))
    assert all(not pair["a"].any() and pair["b"].any() for pair in grads.values())


def test_fine_tuning_fits_with_frozen_weights():
    frozen = mlp_init((4, 32, 3), rng=rng())
    params = {"layers": [{"dense": layer} for layer in frozen]}
    x, y = rng(1).standard_normal((6, 4)), rng(2).standard_normal((6, 3))
    adapters = lora_init(params, rank=4, rng=rng(), targets=["dense"])

    def loss(adapters):
        layers = [z["dense"] for z in lora_merge(params, adapters, alpha=4.0)["layers"]]
        return mse_loss(mlp(layers, x), y)

    step = value_and_grad(loss)
    start = step(adapters)[0]
    for _ in range(300):
        value, grads = step(adapters)
        adapters = tree_map(lambda p, g: p - 0.05 * g, adapters, grads)
    assert value < 0.05 * start


@pytest.mark.parametrize("path", ["key", "query/weight", "layers/2", "layers/x", "layers/0/other"])
def test_a_path_without_a_layer_is_refused(path):
    one = {"weight": np.eye(2)}
    params = {"query": one, "layers": [{"up": one}, {"up": one}]}
    adapter = {"a": np.ones((1, 2)), "b": np.ones((2, 1))}
    with pytest.raises(ValueError, match=r"lora_merge: params must have .*adapters.*; got"):
        lora_merge(params, {path: adapter})


@pytest.mark.parametrize(
    ("adapter", "message"),
    [
        ({"a": np.ones((1, 2)), "b": np.ones((2, 2))}, "b must fit the weight"),
        ({"a": np.ones((1, 2))}, "adapters must have an entry 'b'"),
    ],
)
def test_merge_refuses_an_adapter_by_name(adapter, message):
    with pytest.raises(ValueError, match=f"lora_merge: {message}"):
        lora_merge({"query": {"weight": np.eye(2)}}, {"query": adapter})
