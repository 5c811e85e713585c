"""The values of a study that a search compares; converted when `data.index` changes."""

from collections.abc import Iterable
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Engine

from node.config import IndexMode
from node.identifiers import MOST_WORDS, Identifiers
from node.schema import arrivals, arriving, forgotten, studies, study_words

BATCH = 500  # rows of one transaction


@dataclass(frozen=True, kw_only=True)
class StudyIndex:
    """The values of one study, in the form in which the database keeps them."""

    kept_as: IndexMode = "none"
    accession: str = ""
    patient_id: str = ""
    study_date: str = ""  # YYYY-MM-DD
    description: str = ""
    words: tuple[str, ...] = ()  # of the descriptions of the study and of one of its series


@dataclass(frozen=True, kw_only=True)
class ReceivedStudy:
    """Images of a study that arrived: who sent them, and when."""

    study_uid: str
    caller_ae: str
    first_at: float
    last_at: float


def add_study(connection: sa.Connection, study: ReceivedStudy, index: StudyIndex) -> None:
    """Add a study, or what is new about it; a later value replaces an earlier one."""
    this = studies.c.study_uid == study.study_uid
    row = connection.execute(sa.select(studies).where(this)).mappings().one_or_none()
    values = {
        "kept_as": index.kept_as,
        "accession": index.accession,
        "patient_id": index.patient_id,
        "study_date": index.study_date,
        "description": index.description,
        "caller_ae": study.caller_ae,
        "first_at": study.first_at,
        "last_at": study.last_at,
    }
    if row is None:
        connection.execute(sa.insert(studies).values(study_uid=study.study_uid, **values))
    else:
        new = {key: value for key, value in values.items() if value} | {
            "first_at": min(row["first_at"], study.first_at),
            "last_at": max(row["last_at"], study.last_at),
        }
        if index.kept_as == "none":  # such as images that cannot be read
            new["kept_as"] = row["kept_as"]
        if any(row[key] != value for key, value in new.items()):
            connection.execute(sa.update(studies).where(this).values(**new))
    _add_words(connection, study.study_uid, index.words)


def record_study(engine: Engine, study: ReceivedStudy, index: StudyIndex) -> None:
    """Add the study of a series that is still arriving."""
    with engine.begin() as connection:
        add_study(connection, study, index)


def convert_studies(engine: Engine, identifiers: Identifiers) -> int:
    """Convert rows of an earlier `data.index` to the present one; return how many were changed.

    A hash is never turned back to text: such rows stay hashed, and an exact search finds them.
    """
    stricter = {"plain": (), "hashed": ("plain",), "none": ("plain", "hashed")}[identifiers.mode]
    changed = 0
    while stricter:
        with engine.begin() as connection:
            result = connection.execute(
                sa.select(studies).where(studies.c.kept_as.in_(stricter)).limit(BATCH)
            ).mappings()
            rows = result.all()
            for row in rows:
                _convert(connection, row, identifiers)
        changed += len(rows)
        if len(rows) < BATCH:
            break
    return changed


def forget_studies(
    engine: Engine, identifiers: Identifiers, before: float, now: float, limit: int = BATCH
) -> int:
    """Remove up to `limit` studies without a history, of which no image came after `before`.

    Their UID, the keyed hash of the accession number and the date remain.
    """
    present = sa.select(arrivals.c.id).where(arrivals.c.study_uid == studies.c.study_uid)
    comes = sa.select(arriving.c.series_key).where(arriving.c.study_uid == studies.c.study_uid)
    with engine.begin() as connection:
        rows = connection.execute(
            sa.select(studies.c.study_uid, studies.c.accession, studies.c.kept_as)
            .where(studies.c.last_at < before, ~present.exists(), ~comes.exists())
            .order_by(studies.c.last_at)
            .limit(limit)
        ).all()
        uid: str
        accession: str
        kept_as: str
        for uid, accession, kept_as in rows:
            is_text = kept_as == "plain"
            remember(connection, uid, identifiers.hashed(accession) if is_text else accession, now)
        uids: list[str] = [row.study_uid for row in rows]
        for table in (studies, study_words):
            connection.execute(sa.delete(table).where(table.c.study_uid.in_(uids)))
    return len(rows)


def remember(connection: sa.Connection, uid: str, accession: str, now: float) -> None:
    """Record that the history of a study or series was removed at `now`."""
    connection.execute(sa.delete(forgotten).where(forgotten.c.uid == uid))
    connection.execute(sa.insert(forgotten).values(uid=uid, accession=accession, at=now))


def purge_forgotten(engine: Engine, before: float) -> int:
    """Remove what is known of studies that were forgotten `before`; return the number of rows."""
    with engine.begin() as connection:
        return connection.execute(sa.delete(forgotten).where(forgotten.c.at < before)).rowcount


def _convert(connection: sa.Connection, row: sa.RowMapping, identifiers: Identifiers) -> None:
    this: str = row["study_uid"]
    values = {"kept_as": identifiers.mode, "description": ""}
    if identifiers.mode == "none":
        values |= {"accession": "", "patient_id": "", "study_date": ""}
        distinct: set[str] = set()
    else:
        values |= {key: identifiers.stored_form(row[key]) for key in ("accession", "patient_id")}
        of_study = sa.select(study_words.c.word).where(study_words.c.study_uid == this)
        distinct = {
            identifiers.stored_form(word) for word in connection.execute(of_study).scalars()
        }
    connection.execute(sa.update(studies).where(studies.c.study_uid == this).values(**values))
    connection.execute(sa.delete(study_words).where(study_words.c.study_uid == this))
    _add_words(connection, this, sorted(distinct))


def _add_words(connection: sa.Connection, study_uid: str, words: Iterable[str]) -> None:
    of_study = sa.select(study_words.c.word).where(study_words.c.study_uid == study_uid)
    new = dict.fromkeys(words)
    if new:
        known = set(connection.execute(of_study).scalars())
        rows = [{"study_uid": study_uid, "word": word} for word in new if word not in known]
        if rows := rows[: max(0, MOST_WORDS - len(known))]:
            connection.execute(sa.insert(study_words), rows)
