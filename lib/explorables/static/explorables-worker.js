/* Python in a worker of the page: loads the runtime that the site itself serves, then computes.
 *
 * Messages in:  {kind: "start", manifest, draws}, {kind: "compute", id, explorer, params}
 * Messages out: {kind: "progress", step, loaded, total}, {kind: "ready"}, {kind: "answer", id, text},
 *               {kind: "failed", words}
 *
 * The browser checks every file against the hash in the manifest, and keeps it as it keeps any
 * file of the site (compiled, too). Nothing is requested that the manifest does not list.
 */
const realFetch = self.fetch.bind(self);
let base = "";
let manifest = null;
let python = null;
let live = null;
let drawing = null; // a promise once matplotlib is wanted
const arrived = new Map(); // file name -> promise of its bytes
const prepared = new Set();
const progress = { step: "", loaded: 0, total: 0 };

function tell(step) {
  if (step) progress.step = step;
  postMessage({ kind: "progress", ...progress });
}

function request(name) {
  const { sha256, integrity } = manifest.files[name];
  return realFetch(`${base}${name}?${sha256.slice(0, 16)}`, { integrity });
}

/* Get a file once, piece by piece, so that the reader sees how far it is. */
function get(name) {
  if (!arrived.has(name)) arrived.set(name, download(name));
  return arrived.get(name);
}

async function download(name) {
  progress.total += manifest.files[name].size;
  let response;
  try {
    response = await request(name);
  } catch {
    throw new Error(`${name} is not there or was altered`);
  }
  if (!response.ok) throw new Error(`${name} is not there (${response.status})`);
  const bytes = new Uint8Array(await response.arrayBuffer());
  progress.loaded += bytes.length;
  tell();
  return bytes;
}

/* What Pyodide asks for: the program from the browser's store, so that it need not be compiled
 * again, and all else from what was downloaded. */
self.fetch = async function (asked) {
  const name = String(asked.url || asked).replace(/[?#].*$/, "").split("/").pop();
  if (!arrived.has(name)) throw new Error(`${name} does not belong to the runtime`);
  const bytes = await get(name);
  return name.endsWith(".wasm") ? request(name) : new Response(bytes);
};

async function start(address, draws) {
  base = address.replace(/[^/]*$/, "");
  tell("Getting Python");
  const response = await realFetch(address, { cache: "no-cache" });
  if (!response.ok) throw new Error(`the list of files is not there (${response.status})`);
  manifest = await response.json();
  const core = Promise.all(manifest.core.map(get));
  const numpy = Promise.all(manifest.numpy.concat(manifest.own).map(get));
  const figures = draws ? Promise.all(manifest.matplotlib.map(get)) : Promise.resolve();
  numpy.catch(() => {}); // whoever awaits it first reports the failure
  figures.catch(() => {});
  await core;
  tell("Starting Python");
  const { loadPyodide } = await import(`${base}pyodide.mjs`);
  python = await loadPyodide({ indexURL: base, env: { MPLBACKEND: "svg", MPLCONFIGDIR: "/tmp" } });
  await numpy;
  tell("Loading NumPy");
  await load(["numpy"]);
  for (const name of manifest.own) python.unpackArchive(await get(name), "zip", { extractDir: "/explorables" });
  python.runPython("import sys, numpy; sys.path.insert(0, '/explorables')");
  if (draws) await loadDrawing();
  live = python.pyimport("explorables.live");
  postMessage({ kind: "ready" });
}

function load(names) {
  return python.loadPackage(names, { checkIntegrity: false, messageCallback: () => {} });
}

function loadDrawing() {
  if (!drawing) {
    drawing = (async function () {
      await Promise.all(manifest.matplotlib.map(get));
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

/* How much memory Python holds, in bytes; for those who look into the worker. */
self.explorablesHeap = () => python._module.HEAPU8.length;

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
