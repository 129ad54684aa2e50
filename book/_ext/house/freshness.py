"""Pages run again when the library or the requirements have changed, not only their own text."""

import hashlib
from pathlib import Path


def fingerprint(root):
    """Hash of everything besides its own text that the output of a page depends on."""
    digest = hashlib.sha256()
    # Data too: prose quotes stored training runs. Not what Python and pip leave there.
    kept = (p for p in (root / "lib").rglob("*") if p.is_file() and p.suffix != ".pyc")
    files = sorted(p for p in kept if not p.parent.name.endswith(".egg-info"))
    for path in [*files, root / "requirements.txt"]:
        digest.update(path.relative_to(root).as_posix().encode())
        digest.update(path.read_bytes() if path.exists() else b"")
    return digest.hexdigest()


def _outdated(app, env, added, changed, removed):
    now = fingerprint(Path(app.srcdir))
    before, env.house_fingerprint = getattr(env, "house_fingerprint", None), now
    if before == now:
        return []
    return [d for d in env.found_docs if "kernelspec" in env.metadata.get(d, {})]


def setup(app):
    """Connect the part."""
    app.connect("env-get-outdated", _outdated)
