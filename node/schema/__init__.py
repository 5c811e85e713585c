"""The database: its tables and constraints, the version of the schema, and how it is opened."""

from node.schema.opening import (
    FILE_NAME,
    IN_MEMORY,
    UNUSABLE,
    VERSION,
    check_version,
    create_or_check,
    open_configured,
    open_database,
    parse_url,
    read_transaction,
    version_of,
)
from node.schema.tables import (
    METADATA,
    QUEUED,
    RUNNING,
    TAKEN,
    arrivals,
    arriving,
    events,
    health,
    jobs,
)

__all__ = [
    "FILE_NAME",
    "IN_MEMORY",
    "METADATA",
    "QUEUED",
    "RUNNING",
    "TAKEN",
    "UNUSABLE",
    "VERSION",
    "arrivals",
    "arriving",
    "check_version",
    "create_or_check",
    "events",
    "health",
    "jobs",
    "open_configured",
    "open_database",
    "parse_url",
    "read_transaction",
    "version_of",
]
