"""Start servers that end when the test run ends, even when the run is killed."""

import shutil
import signal
import subprocess
from collections.abc import Sequence
from typing import Any

END_S = 240.0  # the machine may be busy


def start(
    command: Sequence[str], ends_with: signal.Signals = signal.SIGKILL, **options: Any
) -> "subprocess.Popen[Any]":
    """Start a process that gets the signal `ends_with` when this process ends.

    `options` are those of `subprocess.Popen`. The kernel sends the signal, so no finaliser is
    needed; without `setpriv` (part of Debian's util-linux) the process is started without it.
    """
    setpriv = shutil.which("setpriv")
    name = ends_with.name.removeprefix("SIG")
    before = [setpriv, "--pdeathsig", name, "--"] if setpriv else []
    return subprocess.Popen([*before, *command], **options)


def stop(process: "subprocess.Popen[Any]", sign: signal.Signals = signal.SIGTERM) -> None:
    """Send `sign`, and kill the process if it has not ended after `END_S`."""
    process.send_signal(sign)
    try:
        process.wait(END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
