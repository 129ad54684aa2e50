/* What the kernel loads Python with: its own way to import a module does not work in this release. */
self.loadPyodide = async (options) => {
  const pyodide = await import("../_static/runtime/pyodide.mjs");
  const python = await pyodide.loadPyodide(options);
  // Otherwise matplotlib opens forty fonts when it is first imported, and says so on stderr.
  python.runPython("from explorables.live import list_fonts; list_fonts()");
  return python;
};
