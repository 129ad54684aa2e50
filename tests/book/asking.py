"""Ask the Python of a page, as a reader or as a program does."""

from __future__ import annotations

import re

PATIENCE = 120_000  # ms; a busy machine is many times slower than a reader's

# The stored entry of each state, the answer of Python in the page, and the milliseconds it took.
ASK = """async ([name, source, states]) => {
  const python = window.explorables.python;
  const payload = await new Promise((resolve) => {
    const receive = window.explorables.receive;
    window.explorables.receive = (n, p) => { receive(n, p); if (n === name) resolve(p); };
    const script = document.createElement('script');
    script.src = new URL('/_static/' + source, location.href).href;
    document.head.append(script);
  });
  const explorer = Object.assign({name: name}, payload.live);
  const answers = [];
  for (const state of states) {
    const positions = payload.controls.map(([c, values]) => values.indexOf(state[c]));
    const index = positions.reduce((sum, p, i) => sum * payload.controls[i][1].length + p, 0);
    const start = performance.now();
    const answer = await python.ask({}, explorer, state);
    answers.push([payload.states[index], answer, performance.now() - start]);
  }
  return answers;
}"""


def ask(page, site, place, states):
    """Ask the Python of a page for states of an explorer, which may stand on another page."""
    on, name = place
    html = (site / on).read_text(encoding="utf-8")
    (source,) = re.findall(rf'data-explorer="{re.escape(name)}".*?data-states="([^"]+)"', html)
    return page.evaluate(ASK, [name, source, states])


def figure_on(page, name):
    figure = page.locator(f'figure[data-explorer="{name}"]')
    figure.scroll_into_view_if_needed()
    return figure


def go_live(figure):
    figure.locator("[data-action=live]").click()
    figure.page.wait_for_function(
        "f => f.dataset.host === 'live' && f.getAttribute('aria-busy') === 'false'",
        arg=figure.element_handle(),
        timeout=PATIENCE,
    )


def settle(figure):
    figure.page.wait_for_function(
        "f => f.getAttribute('aria-busy') === 'false'",
        arg=figure.element_handle(),
        timeout=PATIENCE,
    )
