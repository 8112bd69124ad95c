"""What a reader takes along or looks up: the ledger's form, module pages, search, a citation.

Each has a module of its own; this one tells Sphinx about them.
"""

from __future__ import annotations

import citing
import searching
from cheat_sheet import CheatSheet
from module_pages import Overview, foreign_defaults, no_lists_of_initials, with_imports


def setup(app):
    app.add_css_file("carrying.css")
    app.add_js_file("ledger.js")
    app.add_directive("cheat-sheet", CheatSheet)
    app.add_directive("module-overview", Overview)
    app.connect("autodoc-process-docstring", no_lists_of_initials, priority=900)
    app.connect("autodoc-process-docstring", with_imports, priority=900)
    app.connect("autodoc-skip-member", foreign_defaults)
    app.add_directive("cite-this-book", citing.CiteThisBook)
    app.connect("html-page-context", citing.add_line)
    app.connect("doctree-resolved", searching.collect)
    app.connect("build-finished", searching.finish, priority=950)  # after the pages are mended
    return {"parallel_read_safe": True, "version": "1"}
