"""The glossary and the diagrams of the documentation agree with the code."""

import re
from collections.abc import Iterable
from typing import get_args

import pytest

from kd.recipe.read import Recipe
from node import errors
from node.caveats import CaveatCode
from node.commands import parser
from node.conditions import ConditionCode
from node.config import AUTO, Config
from node.config.warnings import Code as WarningCode
from node.encoding import EncodingKind
from node.engines import ENGINES
from node.event_words import EVENT_WORDS
from node.inbox.notes import NoteKind
from node.monitor.alerts import Change
from node.package import SIZE_NAMES
from node.queue import (
    CHOOSE_SIZE,
    CLOCK_STEP,
    EARLIER_RULES,
    PAUSE_RULE,
    RESULT_REJECTED,
    RESULT_SELECTED,
    RESUME_RULE,
    RETRACT,
)
from node.states import ArrivalOutcome, Content, Ending, Kind, State, Transition
from tests.support.diagrams import PAGE, ROOT, replaced
from tests.support.keys import keys_of, values_of

GLOSSARY = (ROOT / "docs/reference/glossary.md").read_text(encoding="utf-8")
JOB_EVENTS = {
    "queued",
    "commitment-report",
    "received",
    "note",
    "resent",
    "replan",
    "reload",
    PAUSE_RULE,
    RESUME_RULE,
    CHOOSE_SIZE,
    RETRACT,
    RESULT_REJECTED,
    RESULT_SELECTED,
    EARLIER_RULES,
    CLOCK_STEP,
}  # beside transitions and decisions
NO_ERRORS = {"no-rule", "rule-says-none"}  # codes of a decision that no error causes
SIZES_AND_ENGINES = {*SIZE_NAMES, *ENGINES, AUTO}


def test_every_event_has_words() -> None:
    events = {*Transition, *ArrivalOutcome, *JOB_EVENTS, *get_args(NoteKind)}
    assert set(EVENT_WORDS) == {str(event) for event in events}


def codes() -> set[str]:
    """Return the codes of all errors of the node."""
    parser()  # loads the commands, which define errors too
    known = errors.by_code().items()
    return {code for code, kind in known if kind.__module__.startswith("node.")}


@pytest.mark.parametrize(
    ("heading", "values"),
    [
        ("States of a job", State),
        ("Kinds of job", Kind),
        ("Decisions about an arrival", ArrivalOutcome),
        ("Endings of a series", Ending),
        ("Events", {*Transition, *ArrivalOutcome, *JOB_EVENTS, *get_args(NoteKind)}),
        ("Conditions", ConditionCode),
        ("Caveats", CaveatCode),
        ("Changes in alerts", Change),
        ("Error codes", codes() | NO_ERRORS),
        ("Warnings of the configuration", WarningCode),
        ("Sizes", (*SIZE_NAMES, AUTO)),
        ("Engines", (*ENGINES, AUTO)),
        (
            "Values of the configuration",
            (values_of(Config) | {*get_args(EncodingKind), *Content, "none"}) - SIZES_AND_ENGINES,
        ),
        ("Recipe keys", set(keys_of(Recipe))),
    ],
)
def test_every_value_has_one_row(heading: str, values: Iterable[str]) -> None:
    rows = first_column(heading)
    assert sorted(rows) == sorted(map(str, values))


def first_column(heading: str) -> list[str]:
    """Return the code spans in the first column of the table below a heading."""
    section = GLOSSARY.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    cells = re.findall(r"^\| (`[^|]*) \|", section, re.MULTILINE)
    return [span for cell in cells for span in re.findall(r"`([^`]+)`", cell)]


def test_diagrams_are_those_of_the_code() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text == replaced(text), "run `python -m tests.support.diagrams`"
