"""Contract cases of the models: `mlp`, `convolution_net`, `recurrent`, `transformer`, `lora`."""

from __future__ import annotations

import functools

import numpy as np

from tests.trainlab.cases.case import Case
from trainlab import convolution_net as C
from trainlab import lora as L
from trainlab import mlp as M
from trainlab import recurrent as R
from trainlab import transformer as T

BAD_RNG = [0, None, np.random.RandomState(0)]
BAD_DTYPES = ["int32", "nonsense", object]
BAD_SIZE = [0, -1, 2.0, None, "3"]
BAD_SIZES = [3, "ab", (2,), (2, 0), (2, 3.0), None]
BAD_FUNCTION = [None, "relu", 1.0]
BAD_X = [np.full((5, 3), np.nan), "x", None, 1.0]
DRAWN = {"rng": BAD_RNG, "dtype": BAD_DTYPES}


def _with(params, make):
    """Parameters drawn by `params`, then the other arguments."""
    return lambda rng, dtype: {"params": params(rng, dtype), **make(rng, dtype)}


def _matrix(*shape, factor=1.0):
    return lambda rng, dtype: {"x": (factor * rng.standard_normal(shape)).astype(dtype)}


def _mlp(rng, dtype):
    return M.mlp_init((3, 4, 2), rng=rng, dtype=dtype)


def _residual(rng, dtype):
    return M.residual_mlp_init(3, 2, width=4, depth=2, rng=rng, dtype=dtype)


def _net(rng, dtype):
    return C.convolution_net_init((2, 3, 4), 5, rng=rng, dtype=dtype)


def _units(factor):
    def make(rng, dtype):
        w, b = (factor * rng.standard_normal((2, 3))).astype(dtype)
        return {"w": w, "b": b, "steps": 7, "h0": 0.3}

    return make


# Recurrent networks ------------------------------------------------------------------------------


def _recurrent(init, function, gates):
    """Cases of one recurrent network and its initialization."""
    state = "initial" if function is R.lstm else "h0"

    def make(rng, dtype, *, factor=1.0):
        h, c = rng.standard_normal((2, 2, 4)).astype(dtype)
        return {
            "params": init(3, 4, rng=rng, dtype=dtype),
            "x": (factor * rng.standard_normal((2, 5, 3))).astype(dtype),
            state: R.LSTMState(h, c) if function is R.lstm else h,
        }

    good = init(3, 4, rng=np.random.default_rng(0))
    bad_params = [
        None,
        {},
        [good],
        {**good, "weight_hh": np.ones(4)},
        {**good, "weight_hh": np.ones((4 * gates, 5))},
        {**good, "weight_ih": np.ones((4 * gates, 2))},
        {**good, "bias_ih": np.ones(4 * gates + 1)},
        {**good, "bias_hh": np.full(4 * gates, np.nan)},
        {**good, "bias_hh": np.ones(4 * gates, np.float32)},
    ]
    one = np.zeros((2, 4))
    bad_state = {
        "h0": [np.zeros((2, 5)), np.zeros(4), np.full((2, 4), np.nan), "h0", one.astype("f4")],
        "initial": [(one, one), "state", R.LSTMState(one, one[:1]), R.LSTMState(one[:, :3], one)],
    }[state]
    drawn = {"input_size": BAD_SIZE, "hidden_size": BAD_SIZE, **DRAWN}
    if init is R.lstm_init:
        drawn["forget_bias"] = [np.nan, "1", None]
    return [
        Case(
            init,
            lambda rng, dtype: {"input_size": 3, "hidden_size": 4, "rng": rng, "dtype": dtype},
            drawn,
        ),
        Case(
            function,
            make,
            {
                "params": bad_params,
                "x": [np.ones((5, 3)), np.ones((2, 0, 3)), np.full((2, 5, 3), np.nan), "x", None],
                state: bad_state,
            },
            extreme=[functools.partial(make, factor=1e4), functools.partial(make, factor=1e-200)],
        ),
    ]


# Transformers ------------------------------------------------------------------------------------

CONFIG = T.TransformerConfig(vocab_size=11, dim=8, depth=2, num_heads=2, max_length=6)
BAD_CONFIG = [
    None,
    tuple(CONFIG),
    {},
    *(CONFIG._replace(**{n: 0}) for n in ("vocab_size", "dim", "depth", "num_heads", "max_length")),
    CONFIG._replace(num_heads=3),
    CONFIG._replace(dim=8.0),
    CONFIG._replace(hidden=0),
    CONFIG._replace(norm="batch"),
    CONFIG._replace(positions="sinusoidal"),
    CONFIG._replace(tied=None),
    CONFIG._replace(bias=2),
]
BAD_IDS = [np.ones((2, 4)), "text", None, 3, np.full((2, 4), 11), np.full((2, 4), -1)]
BAD_TREE = [None, {}, [], {"embedding": np.ones((11, 8))}]


def _transformer(init, **more):
    def make(rng, dtype):
        params = init(CONFIG, rng=rng, dtype=dtype)
        return {"params": params, "config": CONFIG, **{k: v(rng) for k, v in more.items()}}

    return make


def _ids(length):
    return lambda rng: rng.integers(0, 11, (2, length))


def _init_case(init):
    return Case(
        init,
        lambda rng, dtype: {"config": CONFIG, "rng": rng, "dtype": dtype},
        {"config": BAD_CONFIG, **DRAWN},
    )


def _step(rng, dtype):
    kwargs = _transformer(T.decoder_init, token_ids=_ids(2))(rng, dtype)
    _, cache = T.decoder_step(kwargs["params"], _ids(3)(rng), cache=None, config=CONFIG)
    return {**kwargs, "cache": cache}


BAD_MASK = [np.ones(4), np.ones(3, bool), "mask"]


# LoRA --------------------------------------------------------------------------------------------


def _layer(rng, dtype):
    return {"query": {"weight": rng.standard_normal((4, 3)).astype(dtype)}}


def _adapter(rng, dtype):
    a, b = rng.standard_normal((2, 3)), rng.standard_normal((4, 2))
    return {"a": a.astype(dtype), "b": b.astype(dtype)}


def _beside(rng, dtype):
    return {
        "x": rng.standard_normal((5, 3)).astype(dtype),
        "weight": _layer(rng, dtype)["query"]["weight"],
        "bias": rng.standard_normal(4).astype(dtype),
        "alpha": 3.0,
        **_adapter(rng, dtype),
    }


BAD_ALPHA = [0.0, -1.0, np.nan, "1"]

CASES = [
    Case(
        M.mlp_init,
        lambda rng, dtype: {"sizes": (3, 4, 2), "rng": rng, "dtype": dtype},
        {"sizes": BAD_SIZES, "initializer": BAD_FUNCTION, **DRAWN},
    ),
    Case(
        M.mlp,
        _with(_mlp, _matrix(5, 3)),
        {"params": [None, {}, [], [{}], [{}, {}], "p"], "x": BAD_X, "activation": BAD_FUNCTION},
        extreme=[_with(_mlp, _matrix(5, 3, factor=1e4))],
    ),
    Case(
        M.residual_mlp_init,
        lambda rng, dtype: {
            "in_features": 3,
            "out_features": 2,
            "width": 4,
            "depth": 2,
            "rng": rng,
            "dtype": dtype,
        },
        {
            "in_features": BAD_SIZE,
            "out_features": BAD_SIZE,
            "width": BAD_SIZE,
            "depth": [-1, 2.0, None],
            "hidden": [0, 2.0, "4"],
            "branch_scale": [-0.1, np.nan, "1"],
            **DRAWN,
        },
    ),
    Case(
        M.residual_mlp,
        _with(_residual, _matrix(5, 3)),
        {"params": [None, {}, [], {"into": {}}], "x": BAD_X, "activation": BAD_FUNCTION},
        extreme=[_with(_residual, _matrix(5, 3, factor=1e4))],
    ),
    Case(
        C.convolution_net_init,
        lambda rng, dtype: {"channels": (2, 3, 4), "classes": 5, "rng": rng, "dtype": dtype},
        {"channels": BAD_SIZES, "classes": BAD_SIZE, **DRAWN},
    ),
    Case(
        C.convolution_net,
        _with(_net, _matrix(3, 2, 8, 8)),
        {
            "params": [None, {}, [], {"stages": []}],
            "x": [
                "x",
                None,
                np.ones((2, 8, 8)),
                np.full((1, 2, 8, 8), np.nan),
                np.ones((1, 2, 3, 8)),
            ],
            "activation": BAD_FUNCTION,
        },
        extreme=[_with(_net, _matrix(3, 2, 8, 8, factor=1e4))],
    ),
    Case(
        R.recurrent_unit,
        _units(1.0),
        {
            "w": [np.full(3, np.nan), "w", None, np.ones(3, complex)],
            "b": [np.ones(4), np.ones((3, 1)), np.full(3, np.inf), None],
            "steps": BAD_SIZE,
            "h0": [np.nan, np.inf, "0", None, True],
        },
        shape_of="w",
        extreme=[_units(f) for f in (0.0, 1e-30, 1e4, 1e30)],
    ),
    *_recurrent(R.rnn_init, R.rnn, 1),
    *_recurrent(R.lstm_init, R.lstm, 4),
    *_recurrent(R.gru_init, R.gru, 3),
    _init_case(T.decoder_init),
    _init_case(T.encoder_init),
    _init_case(T.encoder_decoder_init),
    Case(
        T.decoder,
        _transformer(T.decoder_init, token_ids=_ids(4)),
        {"params": BAD_TREE, "token_ids": BAD_IDS, "config": BAD_CONFIG},
    ),
    Case(
        T.decoder_step,
        _step,
        {"params": BAD_TREE, "token_ids": BAD_IDS, "config": BAD_CONFIG, "cache": [(), [], "c"]},
    ),
    Case(
        T.encoder,
        _transformer(T.encoder_init, token_ids=_ids(4), key_mask=lambda rng: np.arange(4) < 3),
        {"params": BAD_TREE, "token_ids": BAD_IDS, "config": BAD_CONFIG, "key_mask": BAD_MASK},
        extreme=[
            _transformer(T.encoder_init, token_ids=_ids(4), key_mask=lambda rng: np.zeros(4, bool))
        ],
    ),
    Case(
        T.encoder_decoder,
        _transformer(
            T.encoder_decoder_init,
            source_ids=_ids(4),
            target_ids=_ids(3),
            source_mask=lambda rng: np.arange(4) < 3,
        ),
        {
            "params": [*BAD_TREE, {"encoder": {}, "decoder": {}}],
            "source_ids": BAD_IDS,
            "target_ids": [*BAD_IDS, np.ones((3, 4), int)],
            "config": BAD_CONFIG,
            "source_mask": BAD_MASK,
        },
    ),
    Case(
        L.lora_init,
        lambda rng, dtype: {
            "params": _layer(rng, dtype),
            "rank": 2,
            "rng": rng,
            "targets": ("query",),
        },
        {
            "params": [None, {}, {"key": {"weight": np.eye(2)}}, {"query": {"weight": np.ones(3)}}],
            "rank": BAD_SIZE,
            "rng": BAD_RNG,
            "targets": ["query", (), ("nothing",), None],
        },
    ),
    Case(
        L.lora_linear,
        _beside,
        {
            "x": ["x", 1.0, np.full((5, 3), np.nan)],
            "weight": [np.ones((3, 4)), np.ones(3), None],
            "a": [np.ones((2, 4)), np.ones(3), np.ones((0, 3))],
            "b": [np.ones((3, 2)), np.ones(4), None],
            "alpha": BAD_ALPHA,
            "bias": [np.ones(3), "b"],
        },
    ),
    Case(
        L.lora_merge,
        lambda rng, dtype: {
            "params": _layer(rng, dtype),
            "adapters": {"query": _adapter(rng, dtype)},
            "alpha": 2.0,
        },
        {
            "params": [{}, None, {"query": np.eye(2)}],
            "adapters": [None, [], {"key": {}}, {"query/weight": {}}],
            "alpha": BAD_ALPHA,
        },
    ),
]
