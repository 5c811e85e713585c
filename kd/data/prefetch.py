"""The next batch is computed while a network trains on the current one.

On a CPU it is computed in a second thread. On a GPU that thread uses a separate stream; the
training waits for the batch by an event on the device, and the host does not wait.
"""

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor

from kd.data.augment import Batch
from kd.data.batches import Source
from kd.recipe.choices import Augment


@dataclass(frozen=True, eq=False)
class _Ready:
    """A batch, and on a GPU the event after which it may be read."""

    batch: Batch
    event: torch.cuda.Event | None = None


class PrefetchedBatches:
    """Batches of another source; the next one is computed in a thread during the current step."""

    def __init__(self, source: Source, device: torch.device) -> None:
        """Start with no batch; torch's operators release Python's global lock."""
        self.source, self.device = source, device
        self._stream: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="batches")
        self._next: tuple[int, Future[_Ready]] | None = None

    def at(self, step: int, augment: Augment | None) -> Batch:
        """Return the batch of one step, and start to compute the next one."""
        if self._next is None or self._next[0] != step:
            self._next = (step, self._thread.submit(self._made, step, augment, None))
        ready = self._next[1].result()
        trained = None  # event of a GPU: all steps before this one have ended
        if ready.event is not None:
            stream = torch.cuda.current_stream(self.device)
            trained = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
            stream.record_event(trained)
            stream.wait_event(ready.event)
            for tensor in vars(ready.batch).values():
                if isinstance(tensor, Tensor):
                    tensor.record_stream(stream)  # its memory is free after this step
        self._next = (step + 1, self._thread.submit(self._made, step + 1, augment, trained))
        return ready.batch

    def close(self) -> None:
        """Wait for the batch in progress and end the thread."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _made(self, step: int, augment: Augment | None, after: torch.cuda.Event | None) -> _Ready:
        """Compute one batch in the thread.

        The thread, not the training, waits for `after`: otherwise the host would queue steps
        faster than a GPU takes them, and the batches of all queued steps would need memory.
        """
        if self._stream is None:
            return _Ready(self.source.at(step, augment))
        if after is not None:
            after.synchronize()
        with torch.cuda.stream(self._stream):
            batch = self.source.at(step, augment)
            return _Ready(batch, self._stream.record_event())
