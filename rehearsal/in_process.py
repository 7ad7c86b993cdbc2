"""Runs a Pulumi program in this process. Its caller stands in for the engine, with a monitor of the SDK's."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from stacks.errors import EngineError, SeminarError

if TYPE_CHECKING:
    from pulumi.runtime.mocks import MockMonitor

PROJECT = "seminar"
PARALLEL = 16  # making a machine is mostly waiting for its sshd


def with_secrets(request: Any, response: Any) -> Any:
    """The answer to a RegisterResource, with what the resource asked to be secret marked so, as the engine does."""
    from google.protobuf import struct_pb2
    from pulumi.runtime import rpc

    for key in request.additionalSecretOutputs:
        if key in response.object:
            envelope = struct_pb2.Struct()
            envelope.update(rpc.wrap_rpc_secret(None))
            envelope.fields["value"].CopyFrom(response.object.fields[key])
            response.object.fields[key].struct_value.CopyFrom(envelope)
    return response


def run_program(
    stack: str, program: Callable[[], object], monitor: MockMonitor, log: logging.Logger | None = None
) -> None:
    """Run `program` as the stack's, and answer what it registers with `monitor`. Raises SeminarError.

    What the program logs goes to `log`, by default to the root logger.
    """
    import pulumi
    from pulumi.runtime import mocks
    from pulumi.runtime import settings as runtime_settings
    from pulumi.runtime import stack as pulumi_stack

    def whole() -> None:
        program()

    loops: list[asyncio.AbstractEventLoop] = []

    def give_loop() -> None:  # the mocks want one in each thread, and would leave open those that they make
        loops.append(asyncio.new_event_loop())
        asyncio.set_event_loop(loops[-1])

    async def run() -> None:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(PARALLEL, initializer=give_loop))
        await pulumi_stack.run_in_stack(whole)

    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # it complains of futures that a failed program leaves
    # As mocks.set_mocks() does, but for its root resource, which would belong to an event loop that never runs.
    runtime_settings.configure(
        mocks.MockSettings(  # type: ignore[no-untyped-call]  # the SDK's
            monitor=monitor,
            monitor_features=set(),
            engine=mocks.MockEngine(log),
            project=PROJECT,
            stack=stack,
            dry_run=False,
            organization=None,
            callbacks=None,
        )
    )
    try:
        asyncio.run(run())
    except pulumi.RunError as error:
        if isinstance(error.__cause__, SeminarError):
            raise error.__cause__ from error
        raise EngineError(str(error).splitlines()) from error
    finally:
        for loop in loops:  # the threads have ended with the run
            loop.close()
