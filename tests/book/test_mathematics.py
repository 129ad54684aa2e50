"""The renderer of formulas serves each process of a build, and ends with it."""

import importlib
import multiprocessing
import os
from types import SimpleNamespace

import pytest


@pytest.fixture(scope="module")
def katex(house):
    """Sphinx's KaTeX as the book uses it."""
    house("mathematics").setup(SimpleNamespace(connect=print))
    return importlib.import_module("sphinxcontrib.katex")


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def render_in_worker(katex, results):
    html = katex.render_latex(r"\sigma^2")
    results.put((katex.KaTeXServer.katex_server.process.pid, html))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="pages are read side by side by forking only")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning", "ignore:.*fork.*:RuntimeWarning")
def test_a_worker_has_its_own_renderer_and_takes_it_along(katex):
    expected = katex.render_latex(r"\sigma^2")
    ours = katex.KaTeXServer.katex_server.process.pid
    fork = multiprocessing.get_context("fork")
    results = fork.Queue()
    workers = [fork.Process(target=render_in_worker, args=(katex, results)) for _ in range(2)]
    for worker in workers:
        worker.start()
    made = [results.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    pids = {pid for pid, _ in made}
    assert len(pids | {ours}) == 3
    assert {html for _, html in made} == {expected}
    assert not any(alive(pid) for pid in pids)
    assert alive(ours)
    assert katex.render_latex(r"\sigma^2") == expected


def test_a_renderer_that_nobody_reached_is_ended(katex, house, monkeypatch):
    mathematics = house("mathematics")
    real, refused = mathematics._start, []

    def refuse_once():
        server = real()
        if not refused:
            refused.append(server.process)
            raise ConnectionRefusedError
        return server

    monkeypatch.setattr(mathematics, "_start", refuse_once)
    server = katex.KaTeXServer.start()
    assert refused[0].poll() is not None
    assert server.process.poll() is None
