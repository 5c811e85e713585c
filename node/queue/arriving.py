"""Series that are not decided yet, as housekeeping last recorded them: status reads no image."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass

import sqlalchemy as sa
from sqlalchemy import Engine

from node.schema import arriving


@dataclass(frozen=True, kw_only=True)
class ArrivingSeries:
    """A series that is not decided yet."""

    series_key: str
    study_uid: str
    series_uid: str
    instances: int
    caller_ae: str
    why: str  # it waits
    until: float | None  # time of the decision if nothing else arrives; None: at once
    paused_rule: str = ""  # it waits for the end of the pause of this rule


def record_arriving(
    engine: Engine, changed: Iterable[ArrivingSeries], removed: Iterable[str]
) -> None:
    """Replace the rows of the `changed` series, and remove those of the keys in `removed`."""
    rows = [asdict(series) for series in changed]
    keys = [*removed, *(row["series_key"] for row in rows)]
    with engine.begin() as connection:
        connection.execute(sa.delete(arriving).where(arriving.c.series_key.in_(keys)))
        if rows:
            connection.execute(sa.insert(arriving), rows)


def arriving_series(engine: Engine) -> list[ArrivingSeries]:
    """Return the series that are not decided yet, by the key of their folder."""
    with engine.connect() as connection:
        result = connection.execute(sa.select(arriving).order_by(arriving.c.series_key)).mappings()
        return [ArrivingSeries(**row) for row in result]
