/* Explorers on a built page: native controls choose among pre-computed pictures.
 *
 * No framework and no request before an explorer comes near the viewport. The states come as a
 * script, because a page that was opened from a file may not fetch; they hand themselves over to
 * `explorables.receive`.
 */
(function () {
  "use strict";

  const base = document.currentScript.src.replace(/[^/]*$/, "");
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

  const position = (field) => (field.type === "checkbox" ? Number(field.checked) : Number(field.value));

  function place(field, index) {
    if (field.type === "checkbox") field.checked = index === 1;
    else field.value = String(index);
  }

  function label(field) {
    const text = JSON.parse(field.dataset.texts)[position(field)];
    if (field.type === "range") field.setAttribute("aria-valuetext", text);
    const output = field.parentElement.querySelector("output");
    if (output.value !== text) output.value = text;
  }

  class Explorer {
    constructor(figure) {
      this.figure = figure;
      this.fields = Array.from(figure.querySelectorAll(".explorer-controls [name]"));
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
      this.restore(this.defaults);
      this.fields.forEach((field) => {
        field.addEventListener("input", () => this.change());
      });
      this.reset.addEventListener("click", () => {
        this.restore(this.defaults);
        this.change();
      });
    }

    restore(positions) {
      this.fields.forEach((field, i) => { place(field, positions[i]); label(field); });
    }

    change() {
      this.fields.forEach(label);
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
      const index = positions.reduce((sum, p, i) => sum * this.sizes[i] + p, 0);
      const entry = this.payload.states[index];
      if (!this.valid(entry)) {
        this.fail("This picture could not be read. The one shown belongs to the controls as they stand again.");
        return;
      }
      this.parts.forEach((part, i) => { part.innerHTML = entry[0][i]; });
      this.picture.setAttribute("aria-label", entry[1]);
      this.sentence.textContent = entry[1];
      this.numbers.forEach((dd, i) => {
        dd.dataset.value = entry[2][i][0];
        dd.textContent = entry[2][i][1];
      });
      this.shown = positions;
      this.settle("");
    }

    valid(entry) {
      return Array.isArray(entry) && entry.length === 3 &&
        Array.isArray(entry[0]) && entry[0].length === this.parts.length &&
        entry[0].every((part) => typeof part === "string") &&
        typeof entry[1] === "string" &&
        Array.isArray(entry[2]) && entry[2].length === this.numbers.length &&
        entry[2].every((row) => Array.isArray(row) && row.length === 2);
    }

    fail(words) {
      this.restore(this.shown);
      this.settle(words);
    }

    settle(words) {
      if (this.payload) {
        const state = {};
        this.payload.controls.forEach((c, i) => { state[c[0]] = c[1][this.shown[i]]; });
        this.figure.dataset.state = JSON.stringify(state);
      }
      this.status.textContent = words;
      this.reset.disabled = this.shown.every((p, i) => p === this.defaults[i]);
      this.figure.setAttribute("aria-busy", "false");
    }
  }

  const explorers = new Map(); // figure -> its Explorer
  const near = new IntersectionObserver(function (entries) {
    entries.filter((e) => e.isIntersecting).forEach(function (e) {
      near.unobserve(e.target);
      explorers.get(e.target).fetch();
    });
  }, { rootMargin: "800px 0px" });

  /* Whether the browser has read a figure to its end: then something follows it. */
  function whole(figure) {
    if (document.readyState !== "loading") return true;
    for (let node = figure; node; node = node.parentNode) if (node.nextSibling) return true;
    return false;
  }

  /* Bring the figures to life that are there so far. */
  function start() {
    const figures = Array.from(document.querySelectorAll("figure.explorer[data-host=baked]"));
    figures.filter((figure) => !explorers.has(figure) && whole(figure)).forEach(function (figure) {
      explorers.set(figure, new Explorer(figure));
      near.observe(figure);
    });
  }

  window.explorables = { receive: receive };
  // A long page takes a second to read; the figure at its top need not wait for the end, nor any
  // for DOMContentLoaded, which waits for the scripts of the theme.
  const reading = setInterval(start, 40);
  document.addEventListener("readystatechange", function () {
    clearInterval(reading);
    start();
  });
  start();
})();
