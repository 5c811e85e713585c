"""Every way in which the laboratory can say no, to the person at the keyboard.

These are not the node's errors: nothing here decides what happens to a job.

    KdError
    ├── BadRecipe       a choice that is missing, unknown or contradicts another
    ├── BadCase         one case of the data set; the message names it
    ├── BadSplit        cases or subjects shared between splits, or an unknown split
    ├── BadCheckpoint   a checkpoint that is damaged or belongs to another training
    ├── Diverged        the loss is no number any more; the last checkpoint is intact
    ├── BadTeacher      an nnU-Net results folder that cannot be taken over
    ├── BadRecord       a report or another record that is damaged or of another format
    └── GateFailed      a measured number is outside what the recipe demands of a release
"""


class KdError(Exception):
    """The root of everything that the laboratory raises on purpose."""

    def __init__(self, message: str, *, advice: str = "") -> None:
        """Keep `message` (what is wrong) and `advice` (what to do next) apart."""
        super().__init__(f"{message}. {advice}" if advice else message)
        self.message = message
        self.advice = advice


class BadRecipe(KdError):
    """A choice is missing, unknown or contradicts another."""


class BadCase(KdError):
    """One case of the data set cannot be used; the message names it."""


class BadSplit(KdError):
    """The same case or subject is in two splits, or a split does not exist."""


class BadCheckpoint(KdError):
    """A checkpoint is damaged, or belongs to another training."""


class Diverged(KdError):
    """The loss is no number any more; the last checkpoint is intact."""


class BadTeacher(KdError):
    """An nnU-Net results folder cannot be taken over as a teacher."""


class BadRecord(KdError):
    """A report or another record is damaged or of another format."""


class GateFailed(KdError):
    """A measured number is outside what the recipe demands of a release."""
