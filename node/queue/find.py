"""Search for studies: by identifier, date, description, caller, ending and target.

Promises: every criterion uses an index, so 100,000 studies answer at once; a row that was recorded
under an earlier `data.index` is found too. Nothing here writes or waits.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Engine

from node.identifiers import Identifiers, words
from node.schema import (
    arrivals,
    arriving,
    forgotten,
    jobs,
    read_transaction,
    studies,
    study_words,
)
from node.states import Ending

LAST_CHARACTER = "\U0010ffff"  # sorts after every other one


@dataclass(frozen=True, kw_only=True)
class StudySearch:
    """The criteria of a search; a study must meet all that are given."""

    text: str = ""  # an accession number, a patient ID, or a Study or Series Instance UID
    accession: str = ""
    patient_id: str = ""
    description: str = ""  # words of the study, series or protocol, in any order
    caller: str = ""  # AE title of a sender
    target: str = ""  # name of a target to which a delivery was queued
    ending: Ending | None = None  # of at least one of its series
    received_from: float | None = None  # of the newest image, in Unix seconds
    received_to: float | None = None
    study_from: str = ""  # YYYY-MM-DD, inclusive
    study_to: str = ""


@dataclass(frozen=True, kw_only=True)
class StudyMatch:
    """One study of a search; accession, patient ID and description are empty unless kept as text.

    `first_at` and `last_at`: when its first and last image were received, in Unix seconds.
    """

    study_uid: str
    accession: str
    patient_id: str
    study_date: str
    description: str
    caller_ae: str
    first_at: float
    last_at: float
    modalities: tuple[str, ...] = ()
    endings: dict[Ending, int] = field(default_factory=dict)  # number of decided series by ending
    arriving: int = 0  # series that are not decided yet


class AmbiguousStudy(ValueError):
    """Several studies have the same accession number."""

    def __init__(self, uids: list[str]) -> None:
        """Keep the UIDs of the studies."""
        super().__init__(f"{len(uids)} studies have this accession number")
        self.uids = uids


def find_studies(
    engine: Engine,
    search: StudySearch,
    identifiers: Identifiers,
    *,
    limit: int = 30,
    before: StudyMatch | None = None,
) -> list[StudyMatch]:
    """Return up to `limit` studies, the one received last first.

    `before` continues a search: only studies that come after this one in the list are returned.
    """
    query = studies_query(search, identifiers).limit(limit)
    if before is not None:
        place = sa.tuple_(studies.c.last_at, studies.c.study_uid)
        query = query.where(place < sa.tuple_(before.last_at, before.study_uid))
    with read_transaction(engine) as connection:  # one snapshot
        rows = connection.execute(query).mappings().all()
        return _with_series(connection, rows)


def studies_of(engine: Engine, uids: Sequence[str]) -> dict[str, StudyMatch]:
    """Return the studies with these UIDs, by UID; an unknown one is absent."""
    query = sa.select(studies).where(studies.c.study_uid.in_(uids))
    with read_transaction(engine) as connection:
        rows = connection.execute(query).mappings().all()
        return {study.study_uid: study for study in _with_series(connection, rows)}


def studies_query(search: StudySearch, identifiers: Identifiers) -> sa.Select[Any]:
    """Return the query of a search, without a limit."""
    query = sa.select(studies).order_by(studies.c.last_at.desc(), studies.c.study_uid.desc())
    if search.text:
        query = query.where(studies.c.study_uid.in_(_with_identifier(search.text, identifiers)))
    if search.accession:
        query = query.where(studies.c.accession.in_(identifiers.forms(search.accession)))
    if search.patient_id:
        query = query.where(studies.c.patient_id.in_(identifiers.forms(search.patient_id)))
    for word in words(search.description):
        query = query.where(studies.c.study_uid.in_(_with_word(word, identifiers)))
    return query.where(*_of_series(search), *_of_time(search))


def resolve_uid(engine: Engine, text: str, identifiers: Identifiers) -> str:
    """Return the Study Instance UID for an accession number; any other text is returned as it is.

    Raises:
        AmbiguousStudy: several studies have this accession number.
    """
    known = sa.union_all(
        sa.select(arrivals.c.study_uid).where(
            (arrivals.c.study_uid == text) | (arrivals.c.series_uid == text)
        ),
        sa.select(studies.c.study_uid).where(studies.c.study_uid == text),
    ).limit(1)
    named = (
        sa.select(studies.c.study_uid)
        .where(studies.c.accession.in_(identifiers.forms(text)))
        .order_by(studies.c.last_at.desc())
    )
    with read_transaction(engine) as connection:
        if connection.execute(known).first() is not None:
            return text
        uids = list(connection.execute(named).scalars())
    if len(uids) > 1:
        raise AmbiguousStudy(uids)
    return uids[0] if uids else text


def forgotten_at(engine: Engine, text: str, identifiers: Identifiers) -> float | None:
    """Return when the history of a UID or accession number was removed; None if it never was."""
    query = sa.select(sa.func.max(forgotten.c.at)).where(
        (forgotten.c.uid == text.strip())
        | forgotten.c.accession.in_([form for form in [identifiers.hashed(text)] if form])
    )
    with read_transaction(engine) as connection:
        at: float | None = connection.execute(query).scalar_one()
    return at


def _with_identifier(text: str, identifiers: Identifiers) -> sa.CompoundSelect[Any]:
    """Select the studies with this identifier; a union, so that each part uses its index."""
    forms, uid = identifiers.forms(text), text.strip()
    return sa.union(
        sa.select(studies.c.study_uid).where(studies.c.accession.in_(forms)),
        sa.select(studies.c.study_uid).where(studies.c.patient_id.in_(forms)),
        sa.select(studies.c.study_uid).where(studies.c.study_uid == uid),
        sa.select(arrivals.c.study_uid).where(arrivals.c.series_uid == uid),
        sa.select(arriving.c.study_uid).where(arriving.c.series_uid == uid),
    )


def _with_word(word: str, identifiers: Identifiers) -> sa.CompoundSelect[Any]:
    """Select the studies with a word: its beginning where words are text, else the whole word."""
    return sa.union(
        sa.select(study_words.c.study_uid).where(
            study_words.c.word >= word, study_words.c.word <= word + LAST_CHARACTER
        ),
        sa.select(study_words.c.study_uid).where(
            study_words.c.word.in_([form for form in [identifiers.hashed(word)] if form])
        ),
    )


def _of_series(search: StudySearch) -> list[sa.ColumnElement[bool]]:
    """Return the criteria of series; each is a probe of an index per study, the newest first."""
    terms: list[sa.ColumnElement[bool]] = []
    of_arrival = sa.select(arrivals.c.id).where(arrivals.c.study_uid == studies.c.study_uid)
    if search.caller:
        terms.append(of_arrival.where(arrivals.c.caller_ae == search.caller).exists())
    if search.ending is not None:
        terms.append(of_arrival.where(arrivals.c.ending == search.ending.value).exists())
    if search.target:
        of_job = sa.select(jobs.c.id).where(jobs.c.study_uid == studies.c.study_uid)
        terms.append(of_job.where(jobs.c.target == search.target).exists())
    return terms


def _of_time(search: StudySearch) -> list[sa.ColumnElement[bool]]:
    limits = []
    if search.received_from is not None:
        limits.append(studies.c.last_at >= search.received_from)
    if search.received_to is not None:
        limits.append(studies.c.last_at < search.received_to)
    if search.study_from:
        limits.append(studies.c.study_date >= search.study_from)
    if search.study_to:
        limits += [studies.c.study_date <= search.study_to, studies.c.study_date > ""]
    return limits


def _with_series(connection: sa.Connection, rows: Any) -> list[StudyMatch]:
    """Add the series of each study."""
    uids: list[str] = [row["study_uid"] for row in rows]
    endings: dict[str, dict[Ending, int]] = {uid: {} for uid in uids}
    modalities: dict[str, set[str]] = {uid: set() for uid in uids}
    coming = dict.fromkeys(uids, 0)
    groups = (arrivals.c.study_uid, arrivals.c.ending, arrivals.c.modality)
    decided = sa.select(*groups, sa.func.count()).where(groups[0].in_(uids)).group_by(*groups)
    uid: str
    ending: str
    modality: str
    count: int
    for uid, ending, modality, count in connection.execute(decided):
        endings[uid][Ending(ending)] = endings[uid].get(Ending(ending), 0) + count
        modalities[uid] |= {modality} - {""}
    for uid in connection.execute(
        sa.select(arriving.c.study_uid).where(arriving.c.study_uid.in_(uids))
    ).scalars():
        coming[uid] += 1
    return [
        replace(
            _without_series(row),
            modalities=tuple(sorted(modalities[uid])),
            endings=endings[uid],
            arriving=coming[uid],
        )
        for uid, row in zip(uids, rows, strict=True)
    ]


def _without_series(row: sa.RowMapping) -> StudyMatch:
    names = ("study_uid", "study_date", "description", "caller_ae", "first_at", "last_at")
    values: dict[str, Any] = {name: row[name] for name in names}
    for name in ("accession", "patient_id"):
        values[name] = row[name] if row["kept_as"] == "plain" else ""
    return StudyMatch(**values)
