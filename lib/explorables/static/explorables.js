/* Explorers on a built page: native controls choose among pre-computed pictures.
 *
 * No framework and no request before an explorer comes near the viewport. The states come as a
 * script, because a page that was opened from a file may not fetch; they hand themselves over to
 * `explorables.receive`.
 */
(function () {
  "use strict";

  const base = document.currentScript.src.replace(/[^/]*$/, "");
  // Where the list of its files is, if it is there; how much it is without and with figures.
  const { runtime, megabytes } = document.currentScript.dataset;
  const waiting = new Map(); // explorer name -> what to do with its states

  function receive(name, payload) {
    const take = waiting.get(name);
    if (take) take(payload);
  }

  /* Load a script of states; resolves with the payload, rejects when it is missing or broken. */
  function load(name, url) {
    return new Promise(function (resolve, reject) {
      const script = document.createElement("script");
      script.src = new URL(url, base).href;
      script.onerror = function () { reject(new Error("the file could not be loaded")); };
      script.onload = function () { reject(new Error("the file holds no states")); };
      waiting.set(name, resolve); // runs before onload; a settled promise ignores what follows
      document.head.appendChild(script);
    }).finally(function () { waiting.delete(name); });
  }

  const whole = (positions) => positions.every(Number.isInteger);
  const position = (field) => (field.type === "checkbox" ? Number(field.checked) : Number(field.value));

  function place(field, index) {
    if (field.type === "checkbox") field.checked = index === 1;
    else field.value = String(index);
  }

  function label(field, words) {
    const text = words || JSON.parse(field.dataset.texts)[Math.round(position(field))];
    if (field.type === "range") field.setAttribute("aria-valuetext", text);
    const output = field.parentElement.querySelector("output");
    if (output.value !== text) output.value = text;
  }

  /* The value at a position of a slider, between two of the list where Python computes. */
  function between(values, at, kind) {
    const i = Math.min(Math.floor(at), values.length - 2);
    if (Number.isInteger(at) || !kind) return values[Math.round(at)];
    const [low, high, part] = [values[i], values[i + 1], at - i];
    if (kind === "log") return low * Math.pow(high / low, part);
    const value = low + (high - low) * part;
    return kind === "whole" ? Math.round(value) : value;
  }

  /* What only Python can compute: a text, a number, a seed, bits that are flipped. */
  function typed(field) {
    if (field.type !== "number") return field.dataset.kind === "flips" ? Number(field.value) : field.value;
    return field.value === "" ? null : Number(field.value);
  }

  class Explorer {
    constructor(figure) {
      this.figure = figure;
      this.fields = Array.from(figure.querySelectorAll(".explorer-controls [name]"));
      this.extras = Array.from(figure.querySelectorAll(".explorer-live [name]"));
      this.sizes = this.fields.map((field) => JSON.parse(field.dataset.texts).length);
      this.parts = Array.from(figure.querySelectorAll(".explorer-part"));
      this.picture = figure.querySelector(".explorer-picture");
      this.sentence = figure.querySelector(".explorer-sentence");
      this.numbers = Array.from(figure.querySelectorAll(".explorer-readout dd"));
      this.status = figure.querySelector(".explorer-status");
      this.reset = figure.querySelector("[data-action=reset]");
      // A browser that remembers form fields must not contradict the picture.
      this.defaults = this.fields.map((field) =>
        field.type === "checkbox" ? Number(field.defaultChecked)
          : field.tagName === "SELECT" ? Array.from(field.options).findIndex((o) => o.defaultSelected)
            : Number(field.defaultValue));
      this.shown = this.defaults;
      this.usual = this.extras.map((field) => field.defaultValue);
      this.restore(this.defaults);
      this.put(this.usual);
      this.fields.forEach((field) => {
        field.addEventListener("input", () => this.change());
      });
      this.reset.addEventListener("click", () => {
        this.restore(this.defaults);
        this.put(this.usual);
        this.change();
      });
      this.picture.addEventListener("click", (event) => this.pick(event.target.closest("td")));
      if (python.offered) this.offer();
    }

    /* A table may name two controls: a click on a cell chooses the values of its row and its column. */
    pick(cell) {
      const table = cell && cell.closest("table[data-rows]");
      if (!table) return;
      const choose = (name, index) => place(this.fields.find((field) => field.name === name), index);
      choose(table.dataset.rows, cell.parentElement.sectionRowIndex);
      choose(table.dataset.columns, cell.cellIndex - 1); // the first heads the row
      this.change();
    }

    restore(positions) {
      this.fields.forEach((field, i) => { place(field, positions[i]); label(field); });
      this.fit();
    }

    /* Show as many buttons of a row of bits as there are bits for the value that it follows. */
    fit() {
      this.extras.filter((field) => field.dataset.follows).forEach((field) => {
        const followed = this.fields.find((other) => other.name === field.dataset.follows);
        const count = JSON.parse(field.dataset.counts)[position(followed)];
        field.parentElement.querySelectorAll("[data-bit]").forEach((b) => { b.hidden = Number(b.dataset.bit) >= count; });
      });
    }

    put(values) {
      this.extras.forEach((field, i) => {
        field.value = values[i];
        const bits = field.dataset.kind === "flips" ? field.parentElement.querySelectorAll("[data-bit]") : [];
        bits.forEach((bit) => bit.setAttribute("aria-pressed", String(Math.floor(Number(values[i]) / 2 ** bit.dataset.bit) % 2 === 1)));
      });
    }

    change() {
      this.fields.forEach((field) => label(field));
      this.fit();
      if (this.payload) return this.show();
      this.figure.setAttribute("aria-busy", "true");
      return this.fetch();
    }

    /* Get the states once; after a failure the next change tries again. */
    fetch() {
      if (!this.loading) {
        const name = this.figure.dataset.explorer;
        this.loading = load(name, this.figure.dataset.states)
          .then((payload) => this.accept(payload))
          .catch((error) => {
            this.loading = null;
            if (this.busy()) this.fail("The other pictures of this figure are not there (" + error.message + "). The one shown still holds.");
          });
      }
      return this.loading;
    }

    /* Whether what only Python can compute stands as it came. */
    untouched() { return this.extras.every((field, i) => field.value === this.usual[i]); }

    busy() { return this.figure.getAttribute("aria-busy") === "true"; }

    accept(payload) {
      const names = payload && payload.controls ? payload.controls.map((c) => c[0]) : [];
      const expected = this.sizes.reduce((a, b) => a * b, 1);
      if (names.join() !== this.fields.map((f) => f.name).join() || payload.states.length !== expected) {
        throw new Error("they belong to another version of the page");
      }
      this.payload = payload;
      if (this.busy()) this.show();
    }

    /* Show the state of the controls as they stand now: the last change wins. */
    show() {
      const positions = this.fields.map(position);
      if (!this.untouched() || !whole(positions)) return this.compute(positions);
      this.question = null; // an answer on its way is of no use any more
      const index = positions.reduce((sum, p, i) => sum * this.sizes[i] + p, 0);
      const entry = this.payload.states[index];
      if (!this.valid(entry)) {
        return this.fail("This picture could not be read. The one shown belongs to the controls as they stand again.");
      }
      this.draw(entry);
      this.shown = positions;
      return this.settle("");
    }

    draw(entry) {
      this.parts.forEach((part, i) => { part.innerHTML = entry[0][i]; });
      this.picture.setAttribute("aria-label", entry[1]);
      this.sentence.textContent = entry[1];
      this.numbers.forEach((dd, i) => {
        dd.dataset.value = entry[2][i][0];
        dd.textContent = entry[2][i][1];
      });
    }

    valid(entry) {
      return Array.isArray(entry) && entry.length === 3 &&
        Array.isArray(entry[0]) && entry[0].length === this.parts.length &&
        entry[0].every((part) => typeof part === "string") &&
        typeof entry[1] === "string" &&
        Array.isArray(entry[2]) && entry[2].length === this.numbers.length &&
        entry[2].every((row) => Array.isArray(row) && row.length === 2);
    }

    params(positions) {
      const params = {};
      this.payload.controls.forEach((c, i) => {
        params[c[0]] = between(c[1], positions[i], this.fields[i].dataset.between);
      });
      return params;
    }

    fail(words) {
      this.restore(this.shown);
      this.settle(words);
    }

    settle(words) {
      if (this.payload) this.figure.dataset.state = JSON.stringify(this.state || this.params(this.shown));
      this.state = null;
      this.status.textContent = words;
      this.reset.disabled = this.untouched() && this.shown.every((p, i) => p === this.defaults[i]);
      this.figure.setAttribute("aria-busy", "false");
    }

    // Python in the page ------------------------------------------------------------------

    /* Show what Python could do; nothing of it is loaded before the reader asks. */
    offer() {
      const find = (action) => this.figure.querySelector(`[data-action=${action}]`);
      [this.button, this.stop] = [find("live"), find("stop")];
      this.progress = this.figure.querySelector(".explorer-progress");
      this.trouble = this.figure.querySelector(".explorer-trouble");
      this.figure.querySelectorAll("[data-live-only], [data-action=live]").forEach((e) => { e.hidden = false; });
      this.figure.querySelectorAll(".explorer-note").forEach((e) => { e.hidden = true; });
      const size = megabytes.split(" ")[Number(this.needsFigure())];
      this.button.textContent += ` (loads about ${size} MB)`;
      const warm = () => python.start(this.needsFigure());
      this.button.addEventListener("pointerenter", warm);
      this.button.addEventListener("focus", warm);
      this.button.addEventListener("click", () => this.goLive());
      this.stop.addEventListener("click", () => python.stop());
      this.extras.forEach((field) => {
        field.addEventListener("focus", warm);
        field.addEventListener("input", () => this.change());
        if (field.dataset.kind === "flips") this.flips(field);
      });
    }

    flips(field) {
      field.parentElement.querySelectorAll("[data-bit]").forEach((button) => {
        button.addEventListener("click", () => {
          const on = button.getAttribute("aria-pressed") !== "true";
          button.setAttribute("aria-pressed", String(on));
          field.value = String(Number(field.value) + (on ? 1 : -1) * 2 ** button.dataset.bit);
          this.change();
        });
      });
    }

    needsFigure() { return Boolean(this.figure.querySelector(".explorer-svg")); }

    goLive() {
      return (this.loading || this.fetch()).then(() => this.payload && this.compute(this.fields.map(position)));
    }

    compute(positions) {
      const question = {};
      this.question = question;
      this.figure.setAttribute("aria-busy", "true");
      const params = this.params(positions);
      this.extras.forEach((field) => { params[field.name] = typed(field); });
      const explorer = Object.assign({ name: this.figure.dataset.explorer }, this.payload.live);
      setTimeout(() => { if (this.question === question && this.busy()) this.stop.hidden = false; }, 400);
      return python.ask(this, explorer, params).then((answer) => {
        if (this.question !== question) return; // the controls have moved on
        this.live();
        if (answer.error) return this.refuse(answer, positions);
        this.trouble.replaceChildren();
        this.draw(answer.entry);
        this.fields.forEach((field) => label(field, answer.texts[field.name]));
        this.shown = positions;
        this.state = params;
        this.settle("");
      }).catch((error) => {
        if (this.question !== question || error.message === "superseded") return;
        this.stop.hidden = true;
        this.fail(error.message === "stopped" ? "Stopped. The picture shows what was there before."
          : `Python in this page is not to be had: ${error.message}. What was computed ahead goes on answering.`);
      });
    }

    live() {
      this.stop.hidden = true;
      this.button.hidden = true;
      this.figure.dataset.host = "live";
      this.fields.filter((f) => f.dataset.between).forEach((f) => { f.step = "0.05"; });
    }

    /* What was asked cannot be computed: words under the figure, the traceback folded. */
    refuse(answer, positions) {
      const words = document.createElement("p");
      words.textContent = answer.error;
      const details = document.createElement("details");
      details.innerHTML = "<summary>Traceback</summary><pre></pre>";
      details.querySelector("pre").textContent = answer.traceback;
      this.trouble.replaceChildren(words, details);
      const numeric = positions.map((p, i) => (whole([p]) ? p : this.shown[i]));
      this.restore(numeric);
      this.settle("");
    }
  }

  /* The one Python of the page, started when a reader first asks. */
  const python = {
    offered: Boolean(runtime) && location.protocol.startsWith("http") && "Worker" in window && "WebAssembly" in window,
    live: null,

    start(draws) {
      if (!this.live) {
        const address = new URL(runtime, base).href;
        const progress = (message) => this.report(message);
        this.live = import(base + "explorables-live.js").then((m) => new m.Live(address, draws, progress));
        this.live.then((live) => live.ready).then(() => this.report(null), () => { this.report(null); this.live = null; });
      }
      return this.live;
    },

    ask(figure, explorer, params) {
      const live = this.start(explorer.draws);
      return live.then((it) => it.ask(figure, explorer, params));
    },

    stop() {
      if (this.live) this.live.then((it) => it.end("stopped"));
      this.live = null; // the next question starts another
    },

    report(message) {
      explorers.forEach(function (explorer) {
        if (!explorer.progress) return;
        explorer.progress.hidden = !message || !explorer.busy();
        if (!message || !explorer.busy()) return;
        const bar = explorer.progress.querySelector("progress");
        bar.max = message.total || 1;
        bar.value = message.loaded;
        const inMegabytes = (n) => (n / 1e6).toFixed(1);
        const step = explorer.progress.querySelector("span");
        if (step.textContent !== message.step) step.textContent = message.step;
        explorer.progress.querySelector("small").textContent = `${inMegabytes(message.loaded)} of ${inMegabytes(message.total)} MB`;
      });
    },
  };

  const explorers = new Map(); // figure -> its Explorer
  const near = new IntersectionObserver(function (entries) {
    entries.filter((e) => e.isIntersecting).forEach(function (e) {
      near.unobserve(e.target);
      explorers.get(e.target).fetch();
    });
  }, { rootMargin: "800px 0px" });

  /* Whether the browser has read a figure to its end: then something follows it. */
  function complete(figure) {
    if (document.readyState !== "loading") return true;
    for (let node = figure; node; node = node.parentNode) if (node.nextSibling) return true;
    return false;
  }

  /* Bring the figures to life that are there so far. */
  function start() {
    const figures = Array.from(document.querySelectorAll("figure.explorer"));
    figures.filter((figure) => !explorers.has(figure) && complete(figure)).forEach(function (figure) {
      explorers.set(figure, new Explorer(figure));
      near.observe(figure);
    });
  }

  window.explorables = { receive: receive, python: python };
  // A long page takes a second to read; the figure at its top need not wait for the end, nor any
  // for DOMContentLoaded, which waits for the scripts of the theme.
  const reading = setInterval(start, 40);
  document.addEventListener("readystatechange", function () {
    clearInterval(reading);
    start();
  });
  start();
})();
