/* The side of the page: one worker for all explorers, one question at a time, the latest first.
 *
 * Loaded when a reader first asks for it. `new Live(manifest, draws)` starts Python; `ask` resolves
 * with the answer, or rejects: with "superseded" when a newer question of the same figure came,
 * with "stopped" when the reader stopped it, else with what went wrong.
 */
export const LIMITS = { start: 120000, silent: 90000, compute: 60000 }; // ms without a word

export class Live {
  constructor(manifest, draws, report) {
    this.report = report; // gets {step, loaded, total}
    this.waiting = new Map(); // figure -> its latest question
    this.asked = null; // the question that is being answered
    this.count = 0;
    this.worker = new Worker(new URL("explorables-worker.js", import.meta.url), { type: "module" });
    this.ready = new Promise((resolve, reject) => { this.open = resolve; this.close = reject; });
    this.ready.catch(() => {});
    this.worker.onmessage = (event) => this.receive(event.data);
    this.worker.onerror = (event) => { event.preventDefault(); this.end(event.message || "the worker could not be started"); };
    this.worker.postMessage({ kind: "start", manifest: manifest, draws: draws });
    this.watch(LIMITS.silent, "it did not answer while it started");
  }

  watch(time, words) {
    clearTimeout(this.timer);
    // A hidden tab is slowed down by the browser: it gets its time again.
    this.timer = setTimeout(() => (document.hidden ? this.watch(time, words) : this.end(words)), time);
  }

  receive(message) {
    if (message.kind === "progress") {
      this.watch(LIMITS.silent, "it did not answer while it started");
      this.report(message);
    } else if (message.kind === "failed") {
      this.end(message.words);
    } else if (message.kind === "ready") {
      clearTimeout(this.timer);
      this.open();
      this.next();
    } else if (this.asked && message.id === this.asked.id) {
      clearTimeout(this.timer);
      const { resolve } = this.asked;
      this.asked = null;
      resolve(JSON.parse(message.text));
      this.next();
    }
  }

  ask(figure, explorer, params) {
    const older = this.waiting.get(figure);
    if (older) older.reject(new Error("superseded"));
    this.waiting.delete(figure); // a new question goes to the end of the row
    return new Promise((resolve, reject) => {
      this.count += 1;
      this.waiting.set(figure, { id: this.count, explorer, params, resolve, reject });
      this.ready.then(() => this.next(), reject);
    });
  }

  next() {
    if (this.asked || this.waiting.size === 0 || this.over) return;
    const [figure, question] = this.waiting.entries().next().value;
    this.waiting.delete(figure);
    this.asked = question;
    this.watch(LIMITS.compute, `it did not answer within ${LIMITS.compute / 1000} s`);
    const { id, explorer, params } = question;
    this.worker.postMessage({ kind: "compute", id, explorer, params });
  }

  /* Stop whatever runs. Python cannot be interrupted from outside, so its worker ends. */
  end(words) {
    if (this.over) return;
    this.over = true;
    clearTimeout(this.timer);
    this.worker.terminate();
    const error = new Error(words);
    this.close(error);
    if (this.asked) this.asked.reject(error);
    this.waiting.forEach((question) => question.reject(error));
    this.waiting.clear();
  }
}
