"""Print the history of one series, for `segnode explain`."""

from node import queue
from node.commands.terminal import rounded, say


def print_history(history: queue.SeriesHistory) -> None:
    """Print the images, the decision, the ending and the volumes."""
    arrival = history.arrival
    say(f"series {arrival.series_uid}")
    images = f"{arrival.modality} images".lstrip()
    say(f"  {arrival.instances} {images} from {arrival.caller_ae or 'unknown'}")
    if arrival.rule:
        model = f": {arrival.package}, size {arrival.size}" if arrival.package else ""
        say(f"  rule {arrival.rule}{model}")
        _print_choice(history)
    say(f"  ended as {history.ending.value}", end="")
    say(f": {reason_for(history)}" if reason_for(history) else "")
    advice = arrival.advice or next((j.advice for j in history.deliveries if j.advice), "")
    if advice:
        say(f"  {advice}")
    if history.segment is not None and history.segment.result:
        result = queue.as_plain(history.segment.result)
        for label, volume in result.get("volumes_ml", {}).items():
            say(f"  {label}: {rounded(volume)} ml")
        for kind in ("notes", "dropped", "repairs"):
            for text in result.get(kind, ()):
                say(f"  note: {text}")
        for label in result.get("cut", ()):
            say(f"  note: {label} reaches the edge of the images; its volume may be incomplete")
    say()


def _print_choice(history: queue.SeriesHistory) -> None:
    """Print the reason for the planned size and engine, and the engine that ran."""
    if history.segment is None:
        return
    why = queue.as_plain(history.segment.payload).get("why", "")
    ran = queue.as_plain(history.segment.result).get("engine", "")
    if why:
        say(f"  chosen: {why}")
    if ran:
        say(f"  computed by {ran}")


def reason_for(history: queue.SeriesHistory) -> str:
    """Return the reason for the ending or the delay; empty if there is no problem."""
    if history.arrival.reason:
        return history.arrival.reason
    jobs = [job for job in (history.segment, *history.deliveries) if job is not None]
    return next((job.reason for job in reversed(jobs) if job.reason), "")
