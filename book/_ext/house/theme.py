"""The theme's icons for a few kilobytes, and no script from another host.

The theme loads FontAwesome twice: a script of half a megabyte (dropped by the template
`static/webpack-macros.html` of this book), and fonts with thousands of icons. The fonts are cut
down to the icons that the built pages use.
"""

import hashlib
import re
import shutil
from pathlib import Path

import pydata_sphinx_theme
from docutils import nodes

STATIC = Path(pydata_sphinx_theme.__file__).parent / "theme/pydata_sphinx_theme/static"
FONTS = "vendor/fontawesome/webfonts"
_NAMED = re.compile(r'((?:\.fa-[a-z0-9-]+:before,?)+)\{content:"\\([0-9a-f]+)"')
_LOOSE = re.compile(r"[\uf000-\uf8ff]|(?<=\\)f[0-9a-f]{3}\b")


def codes_by_name(css):
    """Icon name -> code point, from the theme's style sheet."""
    return {
        name: int(code, 16)
        for names, code in _NAMED.findall(css)
        for name in re.findall(r"\.fa-([a-z0-9-]+):before", names)
    }


def used_codes(outdir):
    """Code points of the icons that the built pages and the other style sheets show."""
    css = (STATIC / "styles/pydata-sphinx-theme.css").read_text(encoding="utf-8")
    known = codes_by_name(css)
    pages = "".join(p.read_text(encoding="utf-8") for p in Path(outdir).rglob("*.html"))
    names = set(re.findall(r"fa-([a-z0-9-]+)", pages))
    # Icons that style sheets write by code, such as those of admonition titles.
    rest = _NAMED.sub("", css) + "".join(
        p.read_text(encoding="utf-8") for p in (Path(outdir) / "_static").glob("*.css")
    )
    loose = {int(c, 16) if len(c) > 1 else ord(c) for c in _LOOSE.findall(rest)}
    return {known[n] for n in names if n in known} | loose


def _cut_fonts(app, exception):
    if exception is not None or app.builder.format != "html":
        return
    codes = used_codes(app.outdir)
    for source in (STATIC / FONTS).glob("*.woff2"):
        key = hashlib.sha256(source.read_bytes() + repr(sorted(codes)).encode()).hexdigest()[:16]
        cut = Path(app.doctreedir) / f"{source.stem}.{key}.woff2"  # the icons seldom change
        if not cut.exists():
            _cut_font(source, codes, cut)
        shutil.copyfile(cut, Path(app.outdir) / "_static" / FONTS / source.name)


def _cut_font(source, codes, target):
    from fontTools import subset  # takes a quarter of a second

    options = subset.Options(flavor="woff2", notdef_outline=True)
    font = subset.load_font(source, options)
    cutter = subset.Subsetter(options)
    cutter.populate(unicodes=codes)
    cutter.subset(font)
    part = target.with_suffix(".part")
    subset.save_font(font, part, options)
    part.replace(target)


def _is_ours(script):
    name = str(getattr(script, "filename", script) or "")
    body = str(getattr(script, "attributes", {}).get("body", ""))
    foreign = name.startswith(("http:", "https:", "//"))
    return not (foreign or "thebe" in name or "thebe" in body.lower())


def _drop_and_defer_scripts(app, pagename, templatename, context, doctree):
    context["script_files"] = [s for s in context["script_files"] if _is_ours(s)]
    context["css_files"] = [c for c in context["css_files"] if "thebe" not in str(c)]
    for script in context["script_files"]:
        # All but the options, which inline scripts extend, wait until the page is parsed: a
        # reader's first control works a third of a second earlier.
        name = str(script.filename or "")
        if name and "documentation_options" not in name and "async" not in script.attributes:
            script.attributes["defer"] = "defer"


def _drop_repeated_ids(app, doctree, docname):
    # sphinx-exercise gives each exercise of a page the same id, and each solution.
    for section in doctree.findall(nodes.section):
        if section["ids"] in (["exercise-content"], ["solution-content"]):
            section["ids"] = []


def _drop_roles(app, pagename, templatename, context, doctree):
    # ARIA has given up docutils' role for an entry of a bibliography; its list has other children.
    if "body" in context:
        body = context["body"].replace(' role="doc-biblioentry"', "")
        context["body"] = body.replace(' role="list" class="citation', ' class="citation')


def setup(app):
    """Connect the part."""
    # After every other extension has added its own.
    app.connect("html-page-context", _drop_and_defer_scripts, priority=990)
    app.connect("html-page-context", _drop_roles)
    app.connect("doctree-resolved", _drop_repeated_ids)
    app.connect("build-finished", _cut_fonts)
    for file in sorted((Path(__file__).parents[2] / "_static").iterdir()):
        if file.suffix == ".css":
            app.add_css_file(file.name)
        elif file.suffix == ".js":
            app.add_js_file(file.name, loading_method="defer")
