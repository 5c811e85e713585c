"""What a person may do on the page: each action is a command of `segnode jobs`, with a question."""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Engine

from node import queue
from node.config import Config
from node.states import Transition


def _resend(config: Config, engine: Engine, job_id: int, now: float, by: str) -> queue.Job:
    from node import replan  # noqa: PLC0415  late: its libraries would delay the page

    return replan.resend(config, engine, job_id, now, by)


@dataclass(frozen=True)
class Action:
    """One button of a job."""

    name: str  # in the URL
    label: str
    consequence: str  # completes "If you go on, …"
    transitions: tuple[Transition, ...]
    perform: Callable[[Config, Engine, int, float, str], queue.Job]


ACTIONS = {
    action.name: action
    for action in (
        Action(
            "retry", "Try again", "the job is queued, and runs as if it were new.",
            (Transition.REQUEUE,),
            lambda _, engine, job, now, by: queue.requeue(engine, job, now, by),
        ),
        Action(
            "resend", "Send again", "the result is sent to its target once more. If its file is "
            "gone, the series is segmented again first.",
            (Transition.RESEND,), _resend,
        ),
        Action(
            "cancel", "Cancel", "the job ends without a result. A running job stops within "
            "seconds.",
            (Transition.CANCEL, Transition.REQUEST_CANCEL),
            lambda _, engine, job, now, by: queue.cancel(engine, job, now, by),
        ),
    )
}  # fmt: skip
