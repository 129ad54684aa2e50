/* Compile the Python of the runtime ahead of time, with the very Python that will run it.
 *
 * node compile_runtime.mjs FOLDER OUT FILE...   reads the archives of FOLDER, writes them to OUT
 *
 * In each archive modules become byte code, and what no picture needs is left out: a browser then
 * starts in half the time, because compiling takes longer in it than anything else.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [folder, out, ...names] = process.argv.slice(2);
const { loadPyodide } = await import(pathToFileURL(join(folder, "pyodide.mjs")).href);
const python = await loadPyodide({ indexURL: folder + "/" });
python.runPython(`
import importlib.util, re, zipfile
from importlib._bootstrap_external import _code_to_hash_pyc

# Tests, type hints, samples, windows, and all fonts but the one that pictures are drawn in.
LEFT_OUT = re.compile(
    r"(^|/)(tests?|testing/baseline|sample_data|web_backend|images|f2py|pdfcorefonts|afm|stylelib)/"
    r"|[.](pyi|md|rst|a|h|pxd|lib|ini)$|fonts/ttf/(?!DejaVuSans(-|[.])|LICENSE)"
)

def compiled():
    with zipfile.ZipFile("/old.zip") as old, zipfile.ZipFile("/new.zip", "w") as new:
        for item in old.infolist():
            # The same files give the same archive: no dates.
            if item.is_dir() or LEFT_OUT.search(item.filename):
                continue
            data, path = old.read(item), item.filename
            if path.endswith(".py"):
                code = compile(data, "/" + path, "exec", dont_inherit=True)
                data = bytes(_code_to_hash_pyc(code, importlib.util.source_hash(data), False))
                path += "c"
            new.writestr(zipfile.ZipInfo(path), data, zipfile.ZIP_DEFLATED)
`);
for (const name of names) {
  python.FS.writeFile("/old.zip", new Uint8Array(readFileSync(join(folder, name))));
  python.runPython("compiled()");
  writeFileSync(join(out, name), python.FS.readFile("/new.zip"));
}
