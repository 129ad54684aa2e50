"""Each page says what it may load and run: files of this site, and the theme's own inline scripts.

The policy is a meta element, since a static host sends what headers it likes. The inline scripts
and handlers of the theme are allowed by their hashes; whatever else finds its way into a page is
not run.
"""

import base64
import hashlib
import re
from html import unescape
from pathlib import Path

_SCRIPT = re.compile(r"<script(?![^>]*\ssrc=)([^>]*)>(.*?)</script>", re.S)
_HANDLER = re.compile(r'\son[a-z]+="([^"]*)"')


def _hashes(texts):
    digests = {hashlib.sha256(text.encode()).digest() for text in texts}
    return sorted(f"'sha256-{base64.b64encode(d).decode()}'" for d in digests)


def policy_of(html):
    """Return the policy for a page: as strict as what stands in it allows."""
    inline = [body for kind, body in _SCRIPT.findall(html) if "type=" not in kind]
    handlers = [unescape(handler) for handler in _HANDLER.findall(_SCRIPT.sub("", html))]
    unsafe = ["'unsafe-hashes'"] if handlers else []
    scripts = " ".join(["'self'", *_hashes(inline), *unsafe, *_hashes(handlers)])
    return (
        f"default-src 'self'; script-src {scripts}; worker-src 'self'; connect-src 'self'; "
        # Pictures are coloured by style attributes.
        "style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; "
        "object-src 'none'; frame-src 'none'; base-uri 'none'; form-action 'self'"
    )


def _write_policies(app, exception):
    if exception is not None or app.builder.format != "html":
        return
    for page in [*Path(app.outdir).glob("*.html"), *Path(app.outdir, "book").rglob("*.html")]:
        html = page.read_text(encoding="utf-8")
        if "Content-Security-Policy" in html:  # written by an earlier build
            continue
        meta = f'<head>\n<meta http-equiv="Content-Security-Policy" content="{policy_of(html)}">'
        page.write_text(html.replace("<head>", meta, 1), encoding="utf-8")


def setup(app):
    """Connect the part."""
    app.connect("build-finished", _write_policies, priority=900)
