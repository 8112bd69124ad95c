"""What a reader takes along: the citation, the cheat sheet, references that lead somewhere."""

import re
import sys
from datetime import date
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "book" / "_ext"))
import cheat_sheet  # noqa: E402
import citing  # noqa: E402
import formulas  # noqa: E402

from ddt_utils import theory  # noqa: E402

WITHOUT_ADDRESS = {  # no address of theirs could be confirmed
    "siegmund1979": "Advances in Applied Probability 11, in print",
    "takeuchi1976": "a Japanese journal without one",
}


def test_every_reference_leads_somewhere():
    text = (ROOT / "book" / "references.bib").read_text(encoding="utf-8")
    entries = re.split(r"\n(?=@)", text)
    missing = {
        re.match(r"@\w+\{(\w+)", entry)[1]
        for entry in entries
        if entry.startswith("@") and not re.search(r"(?m)^\s*(doi|url|eprint)\s*=", entry)
    }
    assert len(entries) > 90 and missing == set(WITHOUT_ADDRESS)


def test_a_page_is_cited_with_the_version_s_date():
    line = citing.line("Kramers’ formula", "../bibliography.html#cite-this-book")
    version, released = citing.about()["version"], citing.released()
    assert f"“Kramers’ formula”, in <em>{citing.about()['title']}</em>, version {version}" in line
    assert isinstance(released, date) and str(released.year) in line
    assert 'href="../bibliography.html#cite-this-book"' in line


def test_the_bibtex_entry_is_read_back():
    from pybtex.database import parse_string

    entry = parse_string(citing.bibtex(), "bibtex").entries["escape"]
    assert entry.fields["title"] == citing.about()["title"]
    assert entry.fields["year"] == str(citing.released().year)
    assert len(entry.persons["author"]) == len(citing.about()["authors"])


def test_the_cheat_sheet_sets_the_symbols_of_an_assumption():
    said = "(eta/2B) H_a before one point and (eta/2B) |H_b| after it, in the ito sense"
    factor = r"$\tfrac{\eta}{2B}"
    told = f"{factor}H_a$ before one point and {factor}|H_b|$ after it, in the Ito sense"
    assert cheat_sheet.typeset(said) == told


def test_the_cheat_sheet_has_every_formula_of_the_theory():
    # the share of a chain of valleys is a linear system, not a formula
    assert {*cheat_sheet.FORMULAS, "chain_occupation", "Prediction"} == set(theory.__all__)
    for name in cheat_sheet.FORMULAS:
        tex, assumptions, _ = cheat_sheet.formula(name)
        formulas.mathml(tex, True)  # raises if it cannot be set
        assert assumptions and all(assumptions)


def test_a_formula_is_that_of_the_prediction():
    numbers = cheat_sheet.FORMULAS["kramers_time"][1]
    assert cheat_sheet.formula("kramers_time")[0] == theory.kramers_time(**numbers).formula
    assert cheat_sheet.formula("occupation")[0].startswith(r"P_v = \tau_v")
