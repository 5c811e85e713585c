"""The tables of the database, with their constraints and indexes.

Promises: constraints reject what `node.states` forbids; times are Unix seconds, which callers pass.
Leaves to `node.queue`: every row. It is the only writer of these tables.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy import CheckConstraint, Column, Float, ForeignKey, Index, Integer, Text

from node.states import ENDED, LIVE, ArrivalOutcome, Ending, Kind, State

NODE = "node"  # the actor of an event that no person caused


def _one_of(column: str, values: Iterable[StrEnum]) -> str:
    listed = ", ".join(f"'{value}'" for value in values)
    return f"{column} IN ({listed})"


METADATA = sa.MetaData(
    naming_convention={
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
    }
)

arrivals = sa.Table(
    "arrivals",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("study_uid", Text, nullable=False),
    Column("series_uid", Text, nullable=False),
    Column("series_key", Text, nullable=False),  # name of the folder in the inbox
    Column("inputs_digest", Text, nullable=False),
    Column("instances", Integer, nullable=False),
    Column("modality", Text, nullable=False),
    Column("caller_ae", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("ending", Text, nullable=False),  # of outcome and jobs, so that a search need not join
    Column("code", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("advice", Text, nullable=False),
    Column("rule", Text, nullable=False),
    Column("package", Text, nullable=False),
    Column("size", Text, nullable=False),
    Column("job_id", Integer),  # no foreign key: jobs point here, and one direction is enough
    Column("first_at", Float, nullable=False),  # first instance received
    Column("last_at", Float, nullable=False),  # last instance received
    Column("planned_at", Float, nullable=False),
    Column("archived_at", Float),  # since then only the history exists: images and results are gone
    CheckConstraint(_one_of("outcome", ArrivalOutcome), name="outcome"),
    CheckConstraint(_one_of("ending", Ending), name="ending"),
    CheckConstraint("outcome = 'planned' OR job_id IS NULL", name="job_if_planned"),
    CheckConstraint("outcome = 'planned' OR code <> ''", name="code_if_not"),
    Index(  # the same images that come after that are decided anew
        "ix_arrivals_once",
        "series_key",
        "inputs_digest",
        unique=True,
        sqlite_where=sa.text("archived_at IS NULL"),
        postgresql_where=sa.text("archived_at IS NULL"),
    ),
    Index("ix_arrivals_study", "study_uid"),
    Index("ix_arrivals_series", "series_uid"),
    Index("ix_arrivals_planned", "planned_at"),
    Index("ix_arrivals_job", "job_id"),
    Index("ix_arrivals_ending", "ending", "study_uid"),
    Index("ix_arrivals_caller", "caller_ae", "study_uid"),
    sqlite_autoincrement=True,  # a number in a log never means another row later
)

jobs = sa.Table(
    "jobs",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("dedup_key", Text, nullable=False),
    Column("study_uid", Text, nullable=False),
    Column("series_uid", Text, nullable=False),  # of the source
    Column("arrival_id", Integer, ForeignKey("arrivals.id"), nullable=False),
    Column("parent_id", Integer, ForeignKey("jobs.id")),
    Column("target", Text, nullable=False),  # empty for SEGMENT
    Column("payload", Text, nullable=False),  # JSON
    Column("priority", Integer, nullable=False),  # 9 runs first
    Column("attempts", Integer, nullable=False),  # since a plan or a person queued it
    Column("claims", Integer, nullable=False),  # ever: distinguishes two claims of one worker
    Column("not_before", Float, nullable=False),
    Column("lease_until", Float),
    Column("worker", Text),
    Column("cancel_at", Float),  # when an operator cancelled the running job
    Column("code", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("advice", Text, nullable=False),
    Column("result", Text, nullable=False),  # JSON, empty before the end
    Column("transaction_uid", Text, nullable=False),  # of a requested storage commitment, or empty
    Column("report_due_at", Float),  # its report is awaited until then
    Column("commitment_report", Text, nullable=False),  # JSON, empty before it arrived
    Column("created_at", Float, nullable=False),
    Column("queued_at", Float, nullable=False),  # the retry period starts here
    Column("updated_at", Float, nullable=False),
    Column("finished_at", Float),
    CheckConstraint(_one_of("kind", Kind), name="kind"),
    CheckConstraint(_one_of("state", State), name="state"),
    CheckConstraint("(state = 'running') = (lease_until IS NOT NULL)", name="lease_if_running"),
    CheckConstraint("(state = 'running') = (worker IS NOT NULL)", name="worker_if_running"),
    CheckConstraint("state = 'running' OR cancel_at IS NULL", name="cancel_if_running"),
    CheckConstraint(
        f"({_one_of('state', sorted(ENDED))}) = (finished_at IS NOT NULL)", name="finished"
    ),
    CheckConstraint(
        f"{_one_of('state', (State.DONE, *sorted(LIVE)))} OR code <> ''", name="code_if_not_done"
    ),
    CheckConstraint("(kind = 'deliver') = (target <> '')", name="target_if_deliver"),
    CheckConstraint("(kind = 'deliver') = (parent_id IS NOT NULL)", name="parent_if_deliver"),
    CheckConstraint(
        "(transaction_uid <> '') = (report_due_at IS NOT NULL)", name="due_if_requested"
    ),
    CheckConstraint("transaction_uid <> '' OR commitment_report = ''", name="report_if_requested"),
    CheckConstraint("priority BETWEEN 0 AND 9", name="priority"),
    CheckConstraint("0 <= attempts AND attempts <= claims", name="attempts"),
    sqlite_autoincrement=True,
)

# Queries repeat these conditions literally: SQLite uses a partial index only if the query contains
# the condition of the index without bound values.
QUEUED = sa.text("jobs.state = 'queued'")
RUNNING = sa.text("jobs.state = 'running'")
TAKEN = sa.text("jobs.state IN ('queued', 'running', 'done')")

Index(  # the same work is never queued, running or done twice
    "ix_jobs_once",
    jobs.c.dedup_key,
    unique=True,
    sqlite_where=sa.text("state IN ('queued', 'running', 'done')"),
    postgresql_where=sa.text("state IN ('queued', 'running', 'done')"),
)
Index(  # two versions of one series must not race each other to the target
    "ix_jobs_one_per_series",
    jobs.c.study_uid,  # some devices reuse series UIDs in other studies
    jobs.c.series_uid,
    unique=True,
    sqlite_where=sa.text("kind = 'segment' AND state = 'running'"),
    postgresql_where=sa.text("kind = 'segment' AND state = 'running'"),
)
Index(  # a claim reads one entry of it per priority, however many jobs wait
    "ix_jobs_claim",
    *(jobs.c[name] for name in ("kind", "target", "priority", "not_before", "id")),
    sqlite_where=sa.text("state = 'queued'"),
    postgresql_where=sa.text("state = 'queued'"),
)
Index(
    "ix_jobs_lease",
    jobs.c.lease_until,
    sqlite_where=sa.text("state = 'running'"),
    postgresql_where=sa.text("state = 'running'"),
)
Index(
    "ix_jobs_transaction",
    jobs.c.transaction_uid,
    sqlite_where=sa.text("transaction_uid <> ''"),
    postgresql_where=sa.text("transaction_uid <> ''"),
)
Index("ix_jobs_study", jobs.c.study_uid)
Index("ix_jobs_series", jobs.c.series_uid)
Index("ix_jobs_arrival", jobs.c.arrival_id)
Index("ix_jobs_parent", jobs.c.parent_id)
Index("ix_jobs_state", jobs.c.state, jobs.c.kind, jobs.c.updated_at)
Index("ix_jobs_target", jobs.c.target, jobs.c.study_uid)

events = sa.Table(
    "events",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("at", Float, nullable=False),
    Column("study_uid", Text, nullable=False),
    Column("series_uid", Text, nullable=False),
    Column("job_id", Integer),  # no foreign keys: events outlive jobs and arrivals
    Column("arrival_id", Integer),
    Column("actor", Text, nullable=False, default=NODE),  # who did it: the node or a person
    Column("event", Text, nullable=False),  # its name, as in the glossary
    Column("detail", Text, nullable=False),  # without patient data
    Index("ix_events_study", "study_uid", "id"),
    Index("ix_events_job", "job_id", "id"),
    Index("ix_events_at", "at"),
)

_APPEND_ONLY = {  # events are removed when their time is over, and never changed
    "sqlite": [
        "CREATE TRIGGER events_append_only BEFORE UPDATE ON events "
        "BEGIN SELECT RAISE(ABORT, 'events are append-only'); END"
    ],
    "postgresql": [
        "CREATE FUNCTION refuse_update() RETURNS trigger AS "
        "'BEGIN RAISE EXCEPTION ''events are append-only''; END' LANGUAGE plpgsql",
        "CREATE TRIGGER events_append_only BEFORE UPDATE ON events "
        "FOR EACH ROW EXECUTE FUNCTION refuse_update()",
    ],
}
for _dialect, _commands in _APPEND_ONLY.items():
    for _command in _commands:
        _trigger: Any = sa.DDL(_command)  # type: ignore[no-untyped-call]
        sa.event.listen(events, "after_create", _trigger.execute_if(dialect=_dialect))

arriving = sa.Table(  # series that are not decided yet
    "arriving",
    METADATA,
    Column("series_key", Text, primary_key=True),
    Column("study_uid", Text, nullable=False),
    Column("series_uid", Text, nullable=False),
    Column("instances", Integer, nullable=False),
    Column("caller_ae", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("until", Float),
    Column("paused_rule", Text, nullable=False),  # the series waits for the end of its pause
)

studies = sa.Table(  # what a search compares; `kept_as` is the `data.index` of the row
    "studies",
    METADATA,
    Column("study_uid", Text, primary_key=True),
    Column("kept_as", Text, nullable=False),
    Column("accession", Text, nullable=False),  # text, keyed hash, or empty
    Column("patient_id", Text, nullable=False),  # the same
    Column("study_date", Text, nullable=False),  # YYYY-MM-DD, or empty
    Column("description", Text, nullable=False),  # empty unless kept as text
    Column("caller_ae", Text, nullable=False),  # of the newest images
    Column("first_at", Float, nullable=False),  # first image received
    Column("last_at", Float, nullable=False),  # last image received
    CheckConstraint("kept_as IN ('plain', 'hashed', 'none')", name="kept_as"),
    Index("ix_studies_last", "last_at", "study_uid"),
    Index("ix_studies_accession", "accession"),
    Index("ix_studies_patient", "patient_id"),
    Index("ix_studies_date", "study_date"),
)

study_words = sa.Table(  # of the descriptions of a study and its series: text or keyed hashes
    "study_words",
    METADATA,
    Column("word", Text, primary_key=True),
    Column("study_uid", Text, primary_key=True),
    Index("ix_study_words_study", "study_uid"),
)

forgotten = sa.Table(  # studies and series whose history was removed when its time was over
    "forgotten",
    METADATA,
    Column("uid", Text, primary_key=True),
    Column("accession", Text, nullable=False),  # keyed hash, or empty
    Column("at", Float, nullable=False),
    Index("ix_forgotten_accession", "accession"),
    Index("ix_forgotten_at", "at"),
)

paused_rules = sa.Table(  # their series wait in the inbox
    "paused_rules",
    METADATA,
    Column("rule", Text, primary_key=True),
    Column("at", Float, nullable=False),
    Column("actor", Text, nullable=False),  # who paused it
    Column("because", Text, nullable=False),
)

chosen_sizes = sa.Table(  # of rules with `size: auto`
    "chosen_sizes",
    METADATA,
    Column("rule", Text, primary_key=True),
    Column("task", Text, primary_key=True),  # another task of the rule is decided anew
    Column("size", Text, nullable=False),
    Column("at", Float, nullable=False),
    Column("actor", Text, nullable=False),  # the node, or the person who accepted it
    Column("why", Text, nullable=False),
)

health = sa.Table(
    "health",
    METADATA,
    Column("process", Text, primary_key=True),
    Column("pid", Integer, nullable=False),
    Column("at", Float, nullable=False),
    Column("detail", Text, nullable=False),
)

schema_version = sa.Table("schema_version", METADATA, Column("version", Integer, nullable=False))
