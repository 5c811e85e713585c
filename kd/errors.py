"""The errors that kd raises on purpose; a command prints the message and exits with status 1.

They are not the node's errors and decide nothing about a job.

    KdError
    ├── BadRecipe       a choice is missing, unknown or contradicts another
    ├── BadCase         a case of the data set cannot be used; the message names it
    ├── BadSplit        cases or subjects are shared between splits, or a split is unknown
    ├── BadCheckpoint   a checkpoint is damaged or belongs to another training
    ├── BadDevice       torch cannot compute on the requested device
    ├── Diverged        the loss is not finite; the last checkpoint is intact
    ├── BadTeacher      a teacher, or its soft targets, cannot be used
    ├── BadRecord       a report or another record is damaged or of another format
    └── GateFailed      a measured number is below what the recipe requires of a release
"""


class KdError(Exception):
    """Base of all errors of kd."""

    def __init__(self, message: str, *, advice: str = "") -> None:
        """Keep `message` (what is wrong) and `advice` (what to do next) apart."""
        super().__init__(f"{message}. {advice}" if advice else message)
        self.message = message
        self.advice = advice


class BadRecipe(KdError):
    """A choice is missing, unknown or contradicts another."""


class BadCase(KdError):
    """A case of the data set cannot be used; the message names it."""


class BadSplit(KdError):
    """The same case or subject is in two splits, or a split does not exist."""


class BadCheckpoint(KdError):
    """A checkpoint is damaged, or belongs to another training."""


class BadDevice(KdError):
    """Torch cannot compute on the requested device."""


class Diverged(KdError):
    """The loss is not finite; the last checkpoint is intact."""


class BadTeacher(KdError):
    """A teacher, or its soft targets, cannot be used."""


class BadRecord(KdError):
    """A report or another record is damaged or of another format."""


class GateFailed(KdError):
    """A measured number is below what the recipe requires of a release."""
