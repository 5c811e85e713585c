"""The other sizes and package versions that the same patient had before."""

import pytest
import sqlalchemy as sa

from node import queue
from node.queue import StudyIndex
from tests.support.rows import T0, a_segment_job, an_arrival


def record(engine: sa.Engine, number: int, patient: str, **changes: str) -> int:
    index = StudyIndex(kept_as="hashed", patient_id=patient)
    study = {"study_uid": f"1.2.{number}"}
    arrival = an_arrival(number, **study, **changes)
    recorded = queue.record_arrival(
        engine, arrival, a_segment_job(number), T0 + number, index=index
    )
    return recorded.arrival_id


def test_another_size_or_version_of_the_same_task_is_named(engine: sa.Engine) -> None:
    record(engine, 1, "h1", package="brain-mr/1.0", size="small")
    record(engine, 2, "h1", package="brain-mr/1.1", size="tiny")
    record(engine, 3, "h1", package="headneck-ct/1.0", size="tiny")
    record(engine, 4, "h2", package="brain-mr/0.9", size="small")
    this = record(engine, 5, "h1", package="brain-mr/1.1", size="small")
    record(engine, 6, "h1", package="brain-mr/1.3", size="small")  # later
    others = queue.other_instruments(engine, this)
    assert [(one.package, one.size, one.at) for one in others] == [
        ("brain-mr/1.1", "tiny", T0 + 2),
        ("brain-mr/1.0", "small", T0 + 1),
    ]


@pytest.mark.parametrize("patient", ["", "h9"])
def test_an_unknown_patient_and_the_same_instrument_give_no_warning(
    engine: sa.Engine, patient: str
) -> None:
    record(engine, 1, patient, package="brain-mr/1.1", size="small")
    this = record(engine, 2, patient, package="brain-mr/1.1", size="small")
    assert queue.other_instruments(engine, this) == []
