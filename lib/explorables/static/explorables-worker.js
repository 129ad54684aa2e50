/* Python in a worker of the page: loads the runtime that the site itself serves, then computes.
 *
 * Messages in:  {kind: "start", manifest, draws}, {kind: "compute", id, explorer, params}
 * Messages out: {kind: "progress", step, loaded, total}, {kind: "ready"}, {kind: "answer", id, text},
 *               {kind: "failed", words}
 *
 * Every file is checked against the manifest before anything uses it, and kept in the browser's
 * cache storage. Nothing is requested from elsewhere: `fetch` is replaced by what was checked.
 */
const CACHE = "explorables-runtime";
const files = new Map(); // file name -> its bytes, checked
const realFetch = self.fetch.bind(self);
let base = "";
let manifest = null;
let python = null;
let live = null;
let drawing = null; // a promise once matplotlib is wanted
const prepared = new Set();
const progress = { step: "", loaded: 0, total: 0 };

function tell(step) {
  if (step) progress.step = step;
  postMessage({ kind: "progress", ...progress });
}

function hex(buffer) {
  return Array.from(new Uint8Array(buffer), (b) => b.toString(16).padStart(2, "0")).join("");
}

async function check(name, bytes) {
  const wanted = manifest.files[name];
  if (bytes.byteLength !== wanted.size) {
    throw new Error(`${name} has ${bytes.byteLength} bytes instead of ${wanted.size}`);
  }
  // Browsers offer it on https and on this machine only.
  if (self.crypto && crypto.subtle && hex(await crypto.subtle.digest("SHA-256", bytes)) !== wanted.sha256) {
    throw new Error(`${name} was altered`);
  }
}

/* Read a response piece by piece, so that the reader sees how far it is. */
async function read(response) {
  const pieces = [];
  const reader = response.body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    pieces.push(value);
    progress.loaded += value.length;
    tell();
  }
  return new Uint8Array(await new Blob(pieces).arrayBuffer());
}

async function get(name) {
  if (files.has(name)) return;
  const url = `${base}${name}?${manifest.files[name].sha256.slice(0, 16)}`;
  const cache = self.caches ? await caches.open(CACHE).catch(() => null) : null;
  const kept = cache ? await cache.match(url) : undefined;
  if (kept) {
    const bytes = new Uint8Array(await kept.arrayBuffer());
    try {
      await check(name, bytes);
      progress.loaded += bytes.length;
      files.set(name, bytes);
      return;
    } catch {
      await cache.delete(url); // then from the site again
    }
  }
  const response = await realFetch(url);
  if (!response.ok) throw new Error(`${name} is not there (${response.status})`);
  const bytes = await read(response);
  await check(name, bytes);
  files.set(name, bytes);
  if (cache) cache.put(url, new Response(bytes)).catch(() => {}); // no room: downloaded again next time
}

const TYPES = { wasm: "application/wasm", js: "text/javascript", mjs: "text/javascript", json: "application/json" };

self.fetch = async function (request) {
  const name = String(request.url || request).replace(/[?#].*$/, "").split("/").pop();
  const bytes = files.get(name);
  if (!bytes) throw new Error(`${name} does not belong to the runtime`);
  const type = TYPES[name.split(".").pop()] || "application/octet-stream";
  return new Response(bytes, { headers: { "Content-Type": type } });
};

async function importFile(name) {
  const url = URL.createObjectURL(new Blob([files.get(name)], { type: "text/javascript" }));
  try {
    return await import(url);
  } finally {
    URL.revokeObjectURL(url);
  }
}

function expect(names) {
  progress.total += names.filter((n) => !files.has(n)).reduce((sum, n) => sum + manifest.files[n].size, 0);
}

async function start(address, draws) {
  base = address.replace(/[^/]*$/, "");
  tell("Getting Python");
  const response = await realFetch(address, { cache: "no-cache" });
  if (!response.ok) throw new Error(`the list of files is not there (${response.status})`);
  manifest = await response.json();
  expect(manifest.core.concat(manifest.numpy, manifest.own, draws ? manifest.matplotlib : []));
  const numpy = Promise.all(manifest.numpy.concat(manifest.own).map(get));
  const figures = draws ? Promise.all(manifest.matplotlib.map(get)) : Promise.resolve();
  numpy.catch(() => {}); // whoever awaits it first reports the failure
  figures.catch(() => {});
  await Promise.all(manifest.core.map(get));
  tell("Starting Python");
  await importFile("pyodide.asm.js"); // leaves what pyodide.mjs looks for, so that it loads nothing
  const { loadPyodide } = await importFile("pyodide.mjs");
  python = await loadPyodide({ indexURL: base, env: { MPLBACKEND: "svg", MPLCONFIGDIR: "/tmp" } });
  await numpy;
  tell("Loading NumPy");
  await load(["numpy"]);
  for (const name of manifest.own) python.unpackArchive(files.get(name), "zip", { extractDir: "/explorables" });
  python.runPython("import sys, numpy; sys.path.insert(0, '/explorables')");
  if (draws) await loadDrawing(figures);
  live = python.pyimport("explorables.live");
  postMessage({ kind: "ready" });
}

function load(names) {
  return python.loadPackage(names, { checkIntegrity: false, messageCallback: () => {} });
}

function loadDrawing(arrived) {
  if (!drawing) {
    drawing = (async function () {
      if (!arrived) {
        expect(manifest.matplotlib);
        arrived = Promise.all(manifest.matplotlib.map(get));
      }
      await arrived;
      tell("Loading matplotlib");
      await load(["matplotlib"]);
      python.runPython("import explorables.live; explorables.live.list_fonts(); import explorables.picture");
    })();
  }
  return drawing;
}

async function compute(message) {
  const { name, module, layout, draws } = message.explorer;
  if (draws) await loadDrawing();
  if (!prepared.has(name)) {
    live.prepare(name, module, JSON.stringify(layout));
    prepared.add(name);
  }
  postMessage({ kind: "answer", id: message.id, text: live.answer(name, JSON.stringify(message.params)) });
}

function words(error) {
  const lines = String((error && error.message) || error).trim().split("\n");
  return lines[lines.length - 1];
}

self.onmessage = async function (event) {
  const message = event.data;
  try {
    if (message.kind === "start") await start(message.manifest, message.draws);
    else await compute(message);
  } catch (error) {
    if (message.kind === "start") postMessage({ kind: "failed", words: words(error) });
    else {
      const text = JSON.stringify({ error: words(error), traceback: String(error) });
      postMessage({ kind: "answer", id: message.id, text: text });
    }
  }
};
