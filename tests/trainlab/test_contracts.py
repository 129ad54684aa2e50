"""Contracts that every public function of `trainlab` keeps, checked over one registry."""

from __future__ import annotations

import copy
import dataclasses
import importlib
import inspect
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import trainlab
from tests.trainlab import cases

# tests.mutants names one module here: the cases of the others are not even imported.
ONLY = os.environ.get("TRAINLAB_CASES", "")
MODULES = sorted(
    m.name
    for m in pkgutil.iter_modules(trainlab.__path__)
    if not m.ispkg and m.name[0] != "_" and ONLY in ("", m.name)
)


def _registry():
    for info in pkgutil.iter_modules(cases.__path__):
        path = Path(info.module_finder.path, f"{info.name}.py")
        if ONLY in path.read_text(encoding="utf-8"):
            module = importlib.import_module(f"tests.trainlab.cases.{info.name}")
            for case in getattr(module, "CASES", ()):
                if ONLY in ("", case.func.__module__.removeprefix("trainlab.")):
                    yield case


CASES = list(_registry())
each_case = pytest.mark.parametrize("case", CASES, ids=lambda c: c.id)


def _leaves(value):
    """All arrays and scalars inside nested tuples, named tuples, dataclasses and mappings."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = [getattr(value, f.name) for f in dataclasses.fields(value)]
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (tuple, list)):
        for item in value:
            yield from _leaves(item)
    elif value is not None and not callable(value):
        yield value


def _same(a, b):
    for x, y in zip(_leaves(a), _leaves(b), strict=True):
        if isinstance(x, np.random.Generator):
            continue
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("name", MODULES)
def test_every_public_function_is_registered(name):
    module = importlib.import_module(f"trainlab.{name}")
    assert hasattr(module, "__all__"), f"trainlab.{name} has no __all__"
    public = {
        n
        for n in module.__all__
        if inspect.isfunction(getattr(module, n))
        and getattr(module, n).__module__ == module.__name__
    }
    registered = {c.func.__name__ for c in CASES if c.func.__module__ == module.__name__}
    assert public - registered == set(), "public functions without a contract case"


@pytest.mark.parametrize("name", MODULES)
def test_module_needs_numpy_only(name):
    """A clean process that imports the module has no drawing or widget package loaded."""
    code = (
        f"import sys, trainlab.{name}\n"
        "bad = {'matplotlib', 'ipywidgets', 'IPython', 'explorables', 'scipy'} & set(sys.modules)\n"
        "sys.exit(', '.join(sorted(bad)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@each_case
def test_inputs_stay_untouched(case):
    kwargs = case.make(np.random.default_rng(0), np.float64)
    before = copy.deepcopy({k: v for k, v in kwargs.items() if not callable(v)})
    case.func(**kwargs)
    for key, value in before.items():
        _same(kwargs[key], value)


@each_case
def test_same_inputs_give_the_same_result(case):
    first = case.func(**case.make(np.random.default_rng(1), np.float64))
    second = case.func(**case.make(np.random.default_rng(1), np.float64))
    _same(first, second)


@each_case
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_and_shape(case, dtype):
    kwargs = case.make(np.random.default_rng(2), dtype)
    result = case.func(**kwargs)
    if case.keeps_dtype:
        for leaf in _leaves(result):
            if isinstance(leaf, np.ndarray) and leaf.dtype.kind == "f":
                assert leaf.dtype == dtype
    if case.shape_of is not None:
        first = next(_leaves(result))
        assert np.shape(first) == np.shape(kwargs[case.shape_of])


@each_case
def test_extreme_inputs_stay_finite(case):
    for make in case.extreme:
        for leaf in _leaves(case.func(**make(np.random.default_rng(3), np.float64))):
            if isinstance(leaf, (np.ndarray, float)):
                assert np.isfinite(leaf).all()


BAD = [
    pytest.param(c, parameter, value, id=f"{c.id}-{parameter}-{i}")
    for c in CASES
    for parameter, values in c.bad.items()
    for i, value in enumerate(values)
]


@pytest.mark.parametrize(("case", "parameter", "value"), BAD)
def test_bad_value_is_refused_by_name(case, parameter, value):
    kwargs = case.make(np.random.default_rng(4), np.float64)
    kwargs[parameter] = value
    with pytest.raises((ValueError, TypeError)) as caught:
        case.func(**kwargs)
    message = str(caught.value)
    assert parameter in message
    assert case.func.__name__ in message
    assert "must" in message
    assert "got" in message


@each_case
def test_every_parameter_has_a_bad_value(case):
    covered = set(case.bad) | set(case.free)
    assert set(inspect.signature(case.func).parameters) - covered == set()
