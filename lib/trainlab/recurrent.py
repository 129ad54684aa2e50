"""Recurrent networks: one state, updated token by token.

RNN, LSTM and GRU in the formulas and with the parameters of PyTorch: weights of shape
(gates · hidden, in), gates in the order i, f, g, o (LSTM) and r, z, n (GRU), two biases. The maps
of the inputs are computed for all times at once; only the maps of the state have to wait for one
another. Each pullback walks back through time, carrying the cotangent of the state:
backpropagation through time.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from . import _checks
from ._parameters import _float_type, _floating, entries
from .differentiation import Pullback, differentiable

Array = NDArray[Any]
Gradients = tuple[Array, ...]

__all__ = [
    "LSTMState",
    "gru",
    "gru_init",
    "lstm",
    "lstm_init",
    "recurrent_unit",
    "rnn",
    "rnn_init",
]

_NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
_ALL = ("x", *_NAMES, "h0")


def _init(
    gates: int, input_size: int, hidden_size: int, rng: np.random.Generator, dtype: DTypeLike
) -> dict[str, Array]:
    into = _checks.integer(input_size, "input_size", low=1)
    hidden = _checks.integer(hidden_size, "hidden_size", low=1)
    _checks.generator(rng)
    kind, bound = _float_type(dtype), 1 / math.sqrt(hidden)
    shapes: tuple[Any, ...] = (
        (gates * hidden, into),
        (gates * hidden, hidden),
        gates * hidden,
        gates * hidden,
    )
    return {
        name: rng.uniform(-bound, bound, shape).astype(kind)
        for name, shape in zip(_NAMES, shapes, strict=True)
    }


def _given(params: Any, x: Any, gates: int) -> tuple[Any, int]:
    """Check the parameters and the inputs; return the inputs and the size of the state."""
    entries(params, "params", *_NAMES)
    x = _floating(x, "x", ndim=3, nonempty=False)
    rows, hidden = _floating(params["weight_hh"], "params['weight_hh']", ndim=2).shape
    wanted = ((rows, x.shape[-1]), (gates * hidden, hidden), (rows,), (rows,))
    for name, shape in zip(_NAMES, wanted, strict=True):
        _like(_floating(params[name], f"params[{name!r}]", shape=shape), f"params[{name!r}]", x)
    return x, hidden


def _like(a: Any, name: str, x: Any) -> Any:
    _checks.one_of(a.dtype.name, f"dtype of {name}, like that of x,", (x.dtype.name,))
    return a


def _state(state: Any, name: str, x: Any, hidden: int) -> Any:
    if state is None:
        return np.zeros((x.shape[0], hidden), x.dtype)
    return _like(_floating(state, name, shape=(x.shape[0], hidden), nonempty=False), name, x)


def _inputs(x: Array, weight_ih: Array, bias_ih: Array) -> Array:
    """Map the inputs of all times at once; time comes first, (T, N, gates · hidden)."""
    return np.swapaxes(x, 0, 1) @ weight_ih.T + bias_ih


def _outer_gradients(
    da_ih: Array, da_hh: Array, x: Array, before: Array, weight_ih: Array
) -> Gradients:
    """Gradients of x, both weights and both biases from those of the maps, (T, N, ...)."""
    width, n = da_ih.shape[-1], x.shape[0] * x.shape[1]
    rows_ih, rows_hh = da_ih.reshape(n, width), da_hh.reshape(n, width)
    dx = np.swapaxes(da_ih @ weight_ih, 0, 1)
    dweight_ih = rows_ih.T @ np.swapaxes(x, 0, 1).reshape(n, x.shape[-1])
    dweight_hh = rows_hh.T @ before.reshape(n, before.shape[-1])
    return dx, dweight_ih, dweight_hh, rows_ih.sum(axis=0), rows_hh.sum(axis=0)


def _sigmoid(z: Array) -> Array:
    # 1 / (1 + exp(-z)) without an exp that can overflow.
    return 0.5 * np.tanh(0.5 * z) + 0.5


# One unit -------------------------------------------------------------------------------------


@differentiable("w", "b")
def recurrent_unit(w: Any, b: Any, *, steps: int, h0: float = 0.5) -> tuple[Array, Pullback]:
    """Feed one sigmoid unit its own output, for many weights side by side.

    Parameters
    ----------
    w, b : arrays of one shape
        Weight and bias of each unit; the units know nothing of one another.
    steps : int
        Times that the output comes back, >= 1.
    h0 : float
        State before the first step.

    Returns
    -------
    array of the shape of w
        The state after the last step, in [0, 1].

    Raises
    ------
    ValueError, TypeError
        If shapes differ, or a parameter is out of range.

    Notes
    -----
    ``h[t] = sigmoid(w h[t-1] + b)``. The gradient with respect to an early state is a product of
    factors ``w h (1 - h)``. For w > 4 that can exceed 1 at each step, and two stable states lie on
    either side of an unstable one: where a change of w or b moves the unit from one side to the
    other, the state has a cliff that is steeper the more steps there are.

    References
    ----------
    Pascanu, Mikolov & Bengio (2013), "On the difficulty of training recurrent neural networks";
    their unit has the sigmoid inside the product.

    Examples
    --------
    >>> recurrent_unit(np.full(3, 6.0), np.array([-3.1, -3.0, -2.9]), steps=50).round(2)
    array([0.06, 0.5 , 0.94])
    """
    w = _floating(w, "w", nonempty=False)
    b = _like(_floating(b, "b", shape=w.shape, nonempty=False), "b", w)
    steps, start = _checks.integer(steps, "steps", low=1), _checks.real(h0, "h0")
    h = np.full((steps + 1, *w.shape), start, w.dtype)
    for t in range(steps):
        h[t + 1] = _sigmoid(w * h[t] + b)

    def pullback(cotangent: Array) -> Gradients:
        dw, db, dh = np.zeros_like(w), np.zeros_like(w), cotangent
        for t in reversed(range(steps)):
            da = dh * (h[t + 1] * (1 - h[t + 1]))
            dw, db, dh = dw + da * h[t], db + da, da * w
        return dw, db

    return h[-1], pullback


# RNN ------------------------------------------------------------------------------------------


def rnn_init(
    input_size: int,
    hidden_size: int,
    *,
    rng: np.random.Generator,
    dtype: DTypeLike = np.float64,
) -> dict[str, Array]:
    """Draw the parameters of an `rnn`.

    Parameters
    ----------
    input_size, hidden_size : int
        Features of x and of the state, >= 1.
    rng : np.random.Generator
    dtype : {float16, float32, float64}

    Returns
    -------
    dict
        "weight_ih" (hidden, in), "weight_hh" (hidden, hidden), "bias_ih" and "bias_hh" (hidden,),
        all from U(-1/√hidden, 1/√hidden), as PyTorch draws them.

    Raises
    ------
    ValueError, TypeError
        If a parameter is out of range.

    Examples
    --------
    >>> {k: v.shape for k, v in rnn_init(3, 2, rng=np.random.default_rng(0)).items()}
    {'weight_ih': (2, 3), 'weight_hh': (2, 2), 'bias_ih': (2,), 'bias_hh': (2,)}
    """
    return _init(1, input_size, hidden_size, rng, dtype)


@differentiable(*_ALL)
def _rnn(
    x: Any, *, weight_ih: Any, weight_hh: Any, bias_ih: Any, bias_hh: Any, h0: Any
) -> tuple[Array, Pullback]:
    a = _inputs(x, weight_ih, bias_ih) + bias_hh
    h = np.concatenate([h0[None], a])  # (T + 1, N, hidden)
    for t in range(len(a)):
        h[t + 1] = np.tanh(a[t] + h[t] @ weight_hh.T)

    def pullback(cotangent: Array) -> Gradients:
        da = np.empty_like(h[1:])
        dh = np.zeros_like(h0)
        for t in reversed(range(len(da))):
            dh = dh + cotangent[:, t]
            da[t] = dh * (1 - h[t + 1] ** 2)
            dh = da[t] @ weight_hh
        return *_outer_gradients(da, da, x, h[:-1], weight_ih), dh

    return np.swapaxes(h[1:], 0, 1), pullback


def rnn(params: Any, x: Any, *, h0: Any = None) -> tuple[Any, Any]:
    """Run a simple recurrent network over a sequence.

    Parameters
    ----------
    params : dict
        As `rnn_init` makes it.
    x : array of shape (N, T, in)
        Batch first; PyTorch's default is time first. T >= 1.
    h0 : array of shape (N, hidden), optional
        State before the first input; 0 if left out.

    Returns
    -------
    outputs : array of shape (N, T, hidden)
        The state after each input.
    h : array of shape (N, hidden)
        The last one.

    Raises
    ------
    ValueError, TypeError
        If shapes or dtypes do not fit, or an entry of the parameters is missing.

    Notes
    -----
    ``h[t] = tanh(W_ih x[t] + b_ih + W_hh h[t-1] + b_hh)``. The gradient with respect to an early
    state is a product of T factors ``W_hhᵀ diag(1 - h²)``: it vanishes or explodes with T.

    Examples
    --------
    >>> one = np.ones((1, 1))
    >>> params = {"weight_ih": one, "weight_hh": one, "bias_ih": one[0], "bias_hh": 0 * one[0]}
    >>> outputs, h = rnn(params, np.zeros((1, 2, 1)))  # tanh(1), tanh(1 + tanh(1))
    >>> outputs.ravel().round(4), h.round(4)
    (array([0.7616, 0.9427]), array([[0.9427]]))
    """
    x, hidden = _given(params, x, 1)
    _checks.integer(x.shape[1], "number of times in x", low=1)
    outputs = _rnn(x, **{n: params[n] for n in _NAMES}, h0=_state(h0, "h0", x, hidden))
    return outputs, outputs[:, -1]


# LSTM -----------------------------------------------------------------------------------------


class LSTMState(NamedTuple):
    """Hidden state and cell of an `lstm`, both of shape (N, hidden)."""

    h: Any
    c: Any


def lstm_init(
    input_size: int,
    hidden_size: int,
    *,
    rng: np.random.Generator,
    forget_bias: float = 0.0,
    dtype: DTypeLike = np.float64,
) -> dict[str, Array]:
    """Draw the parameters of an `lstm`.

    Parameters
    ----------
    input_size, hidden_size : int
        Features of x and of the state, >= 1.
    rng : np.random.Generator
    forget_bias : float
        Added to the bias of the forget gate. PyTorch adds nothing; 1 keeps more of the cell from
        the start and helps to learn long dependences.
    dtype : {float16, float32, float64}

    Returns
    -------
    dict
        "weight_ih" (4 · hidden, in), "weight_hh" (4 · hidden, hidden), "bias_ih" and "bias_hh"
        (4 · hidden,), all from U(-1/√hidden, 1/√hidden). Blocks of rows: i, f, g, o.

    Raises
    ------
    ValueError, TypeError
        If a parameter is out of range.

    References
    ----------
    Jozefowicz, Zaremba, Sutskever (2015), An empirical exploration of recurrent network
    architectures, on the forget bias.

    Examples
    --------
    >>> {k: v.shape for k, v in lstm_init(3, 2, rng=np.random.default_rng(0)).items()}
    {'weight_ih': (8, 3), 'weight_hh': (8, 2), 'bias_ih': (8,), 'bias_hh': (8,)}
    """
    shift = _checks.real(forget_bias, "forget_bias")
    params = _init(4, input_size, hidden_size, rng, dtype)
    params["bias_ih"][hidden_size : 2 * hidden_size] += shift
    return params


@differentiable(*_ALL, "c0")
def _lstm(
    x: Any, *, weight_ih: Any, weight_hh: Any, bias_ih: Any, bias_hh: Any, h0: Any, c0: Any
) -> tuple[Array, Pullback]:
    """Return h and c of all times side by side, (N, T, 2 · hidden)."""
    gates = _inputs(x, weight_ih, bias_ih) + bias_hh  # becomes i, f, g, o: (T, N, 4 · hidden)
    size = h0.shape[-1]
    i, f, g, o = (gates[..., n * size : (n + 1) * size] for n in range(4))
    states = np.empty((len(gates) + 1, len(h0), 2 * size), x.dtype)
    h, c = states[..., :size], states[..., size:]
    h[0], c[0] = h0, c0
    for t in range(len(gates)):
        gates[t] += h[t] @ weight_hh.T
        candidate = np.tanh(g[t])
        gates[t] = _sigmoid(gates[t])
        g[t] = candidate
        c[t + 1] = f[t] * c[t] + i[t] * g[t]
        h[t + 1] = o[t] * np.tanh(c[t + 1])

    def pullback(cotangent: Array) -> Gradients:
        da = np.empty_like(gates)
        di, df, dg, do = (da[..., n * size : (n + 1) * size] for n in range(4))
        dh, dc = np.zeros_like(h0), np.zeros_like(c0)
        for t in reversed(range(len(da))):
            dh = dh + cotangent[:, t, :size]
            squashed = np.tanh(c[t + 1])
            dc = dc + cotangent[:, t, size:] + dh * o[t] * (1 - squashed**2)
            di[t] = dc * g[t] * i[t] * (1 - i[t])
            df[t] = dc * c[t] * f[t] * (1 - f[t])
            dg[t] = dc * i[t] * (1 - g[t] ** 2)
            do[t] = dh * squashed * o[t] * (1 - o[t])
            dh, dc = da[t] @ weight_hh, dc * f[t]
        return *_outer_gradients(da, da, x, h[:-1], weight_ih), dh, dc

    return np.swapaxes(states[1:], 0, 1), pullback


def lstm(params: Any, x: Any, *, initial: LSTMState | None = None) -> tuple[Any, LSTMState]:
    """Run a long short-term memory over a sequence.

    Parameters
    ----------
    params : dict
        As `lstm_init` makes it.
    x : array of shape (N, T, in)
        Batch first; PyTorch's default is time first. T >= 1.
    initial : LSTMState, optional
        State before the first input; 0 if left out.

    Returns
    -------
    outputs : array of shape (N, T, hidden)
        The hidden state after each input.
    state : LSTMState
        The last one.

    Raises
    ------
    ValueError, TypeError
        If shapes or dtypes do not fit, or an entry of the parameters is missing.

    Notes
    -----
    ``i, f, o = sigmoid(...)``, ``g = tanh(...)`` of ``W_ih x[t] + b_ih + W_hh h[t-1] + b_hh``,
    then ``c[t] = f * c[t-1] + i * g`` and ``h[t] = o * tanh(c[t])``. The cell is a sum: where f is
    1, its gradient passes unchanged. The paper has no forget gate yet, that came later.

    References
    ----------
    Hochreiter, Schmidhuber (1997), Long short-term memory.

    Examples
    --------
    >>> params = {"weight_ih": np.zeros((4, 1)), "weight_hh": np.zeros((4, 1)),
    ...           "bias_ih": np.array([-99.0, 99.0, 0.0, 99.0]), "bias_hh": np.zeros(4)}
    >>> kept = LSTMState(np.zeros((1, 1)), np.ones((1, 1)))  # no input, all kept, all shown
    >>> outputs, state = lstm(params, np.zeros((1, 100, 1)), initial=kept)
    >>> state.c.round(4), state.h.round(4)
    (array([[1.]]), array([[0.7616]]))
    """
    x, hidden = _given(params, x, 4)
    _checks.integer(x.shape[1], "number of times in x", low=1)
    if initial is not None:
        _checks.one_of(type(initial).__name__, "type of initial", ("LSTMState",))
    h0, c0 = (None, None) if initial is None else initial
    states = _lstm(
        x,
        **{n: params[n] for n in _NAMES},
        h0=_state(h0, "initial.h", x, hidden),
        c0=_state(c0, "initial.c", x, hidden),
    )
    outputs, cells = states[..., :hidden], states[..., hidden:]
    return outputs, LSTMState(outputs[:, -1], cells[:, -1])


# GRU ------------------------------------------------------------------------------------------


def gru_init(
    input_size: int,
    hidden_size: int,
    *,
    rng: np.random.Generator,
    dtype: DTypeLike = np.float64,
) -> dict[str, Array]:
    """Draw the parameters of a `gru`.

    Parameters
    ----------
    input_size, hidden_size : int
        Features of x and of the state, >= 1.
    rng : np.random.Generator
    dtype : {float16, float32, float64}

    Returns
    -------
    dict
        "weight_ih" (3 · hidden, in), "weight_hh" (3 · hidden, hidden), "bias_ih" and "bias_hh"
        (3 · hidden,), all from U(-1/√hidden, 1/√hidden). Blocks of rows: r, z, n.

    Raises
    ------
    ValueError, TypeError
        If a parameter is out of range.

    Examples
    --------
    >>> {k: v.shape for k, v in gru_init(3, 2, rng=np.random.default_rng(0)).items()}
    {'weight_ih': (6, 3), 'weight_hh': (6, 2), 'bias_ih': (6,), 'bias_hh': (6,)}
    """
    return _init(3, input_size, hidden_size, rng, dtype)


@differentiable(*_ALL)
def _gru(
    x: Any, *, weight_ih: Any, weight_hh: Any, bias_ih: Any, bias_hh: Any, h0: Any
) -> tuple[Array, Pullback]:
    size = h0.shape[-1]
    gates = _inputs(x, weight_ih, bias_ih)  # becomes r, z, n: (T, N, 3 · hidden)
    rz, r, z, n = (
        gates[..., part]
        for part in (np.s_[: 2 * size], np.s_[:size], np.s_[size : 2 * size], np.s_[2 * size :])
    )
    h = np.empty((len(gates) + 1, *h0.shape), x.dtype)
    kept = np.empty_like(n)  # W_hn h + b_hn, before the reset gate
    h[0] = h0
    for t in range(len(gates)):
        mapped = h[t] @ weight_hh.T + bias_hh
        rz[t] = _sigmoid(rz[t] + mapped[:, : 2 * size])
        kept[t] = mapped[:, 2 * size :]
        n[t] = np.tanh(n[t] + r[t] * kept[t])
        h[t + 1] = n[t] + z[t] * (h[t] - n[t])

    def pullback(cotangent: Array) -> Gradients:
        da_ih, da_hh = np.empty_like(gates), np.empty_like(gates)
        dh = np.zeros_like(h0)
        for t in reversed(range(len(gates))):
            dh = dh + cotangent[:, t]
            dn = dh * (1 - z[t]) * (1 - n[t] ** 2)
            dz = dh * (h[t] - n[t]) * z[t] * (1 - z[t])
            dr = dn * kept[t] * r[t] * (1 - r[t])
            da_ih[t] = np.concatenate([dr, dz, dn], axis=-1)
            da_hh[t] = np.concatenate([dr, dz, dn * r[t]], axis=-1)
            dh = dh * z[t] + da_hh[t] @ weight_hh
        return *_outer_gradients(da_ih, da_hh, x, h[:-1], weight_ih), dh

    return np.swapaxes(h[1:], 0, 1), pullback


def gru(params: Any, x: Any, *, h0: Any = None) -> tuple[Any, Any]:
    """Run a gated recurrent unit over a sequence.

    Parameters
    ----------
    params : dict
        As `gru_init` makes it.
    x : array of shape (N, T, in)
        Batch first; PyTorch's default is time first. T >= 1.
    h0 : array of shape (N, hidden), optional
        State before the first input; 0 if left out.

    Returns
    -------
    outputs : array of shape (N, T, hidden)
        The state after each input.
    h : array of shape (N, hidden)
        The last one.

    Raises
    ------
    ValueError, TypeError
        If shapes or dtypes do not fit, or an entry of the parameters is missing.

    Notes
    -----
    ``r, z = sigmoid(W_ih x + b_ih + W_hh h + b_hh)`` (their rows),
    ``n = tanh(W_in x + b_in + r * (W_hn h + b_hn))``, ``h = (1 - z) * n + z * h``: z = 1 keeps the
    old state. The paper's last version resets the state before the map, ``W_hn (r * h)``. Its first
    version resets after the map, and so do PyTorch, cuDNN and this function: one product a step
    instead of two.

    References
    ----------
    Cho et al. (2014), Learning phrase representations using RNN encoder-decoder for statistical
    machine translation.

    Examples
    --------
    >>> params = {"weight_ih": np.zeros((3, 1)), "weight_hh": np.zeros((3, 1)),
    ...           "bias_ih": np.array([0.0, 0.0, 99.0]), "bias_hh": np.zeros(3)}
    >>> outputs, h = gru(params, np.zeros((1, 3, 1)))  # half of the way to 1 each time
    >>> outputs.ravel(), h
    (array([0.5  , 0.75 , 0.875]), array([[0.875]]))
    """
    x, hidden = _given(params, x, 3)
    _checks.integer(x.shape[1], "number of times in x", low=1)
    outputs = _gru(x, **{n: params[n] for n in _NAMES}, h0=_state(h0, "h0", x, hidden))
    return outputs, outputs[:, -1]
