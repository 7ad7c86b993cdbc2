"""How the program ends when the engine tells it to."""

from __future__ import annotations

import os
import signal

# With this code the Pulumi CLI adds nothing to what it has printed already (pulumi-language-python, main.go).
_ALREADY_TOLD = 32


def end_quietly() -> None:
    """End at once and without a stack trace when interrupted by an engine that is another process, the Pulumi CLI.

    It does so when a resource failed, and has then said which and why, and when someone pressed Ctrl-C.
    """
    from pulumi.runtime.proto.resource_pb2_grpc import ResourceMonitorStub
    from pulumi.runtime.settings import get_monitor

    if isinstance(get_monitor(), ResourceMonitorStub):
        signal.signal(signal.SIGINT, lambda *_: os._exit(_ALREADY_TOLD))
