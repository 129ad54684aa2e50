"""The prose of a page as a notebook says it: what only the builder resolves, in plain Markdown.

References to other pages become links to their notebooks, sources names and years, terms words.
What JupyterLab's own MyST extension shows (boxes, formulas, exercises) stays as it is.
"""

import posixpath
import re

ROLE = re.compile(r"(?<!`)\{(ref|term|footcite:[pt])\}`([^`]+)`")
TITLED = re.compile(r"(.+?)\s*<(.+)>", re.DOTALL)
SOLUTION = re.compile(r"^(`{3,})\{solution-start\}.*?^\1$", re.MULTILINE | re.DOTALL)
END = re.compile(r"^(`{3,})\{solution-end\}.*?^\1$", re.MULTILINE | re.DOTALL)
FOOTNOTES = re.compile(r"^(`{3,})\{footbibliography\}.*?^\1$", re.MULTILINE | re.DOTALL)


def is_notebook(env, docname):
    """Tell whether a page has cells."""
    return "kernelspec" in env.metadata.get(docname, {})


def _link(env, docname, target, text):
    labels = env.get_domain("std")
    page = labels.anonlabels[target][0]
    words = text or labels.labels[target][2]
    if page == docname or not is_notebook(env, page):
        return words
    return f"[{words}]({posixpath.relpath(page, posixpath.dirname(docname))}.ipynb)"


def _names(entry):
    last = [" ".join(person.last_names) for person in entry.persons["author"]]
    if len(last) > 2:
        return f"{last[0]} et al."
    return " and ".join(last)


def _sources(entries, role, keys):
    cited = [(_names(entries[key]), entries[key].fields["year"]) for key in keys]
    if role == "footcite:t":
        return ", ".join(f"{names} ({year})" for names, year in cited)
    return "(" + "; ".join(f"{names}, {year}" for names, year in cited) + ")"


def _reference(entry):
    fields = entry.fields
    where = fields.get("url") or (f"https://doi.org/{fields['doi']}" if "doi" in fields else "")
    title = re.sub(r"[{}]", "", fields["title"])
    return f"- {_names(entry)} ({fields['year']}). *{title}*. {where}".rstrip()


def plain(source, docname, env, cited):
    """Resolve what a notebook cannot.

    Parameters
    ----------
    source : str
        A Markdown cell.
    docname : str
        The page that it stands on.
    env : sphinx.environment.BuildEnvironment
    cited : list of str
        The keys of the sources cited so far on the page; those of this cell are added.

    Returns
    -------
    str
    """
    entries = env.get_domain("cite").bibdata.data.entries

    def resolved(match):
        role, content = match.groups()
        titled = TITLED.fullmatch(content)
        text, target = titled.groups() if titled else ("", content)
        if role == "term":
            return text or target
        if role == "ref":
            return _link(env, docname, target, text)
        keys = re.split(r",\s*", content)
        cited.extend(key for key in keys if key not in cited)
        return _sources(entries, role, keys)

    source = ROLE.sub(resolved, source)
    source = END.sub("", SOLUTION.sub("**Solution**", source))
    return FOOTNOTES.sub(lambda _: "\n".join(_reference(entries[key]) for key in cited), source)
