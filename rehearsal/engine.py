"""Pulumi's program without Pulumi's CLI: runs `__main__.py` in this process and keeps the state in a file.

The SDK's test mocks stand in for the engine: every dynamic resource that the program registers is created, updated or
left alone by its own provider, as the CLI would; what is no longer declared is deleted. Only dynamic resources exist
here, so that a cloud always needs the CLI. `python -m rehearsal.engine up|destroy STACK` is the command line.
"""

from __future__ import annotations

import fcntl
import json
import os
import runpy
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from rehearsal.in_process import PARALLEL, PROJECT, run_program, with_secrets
from rehearsal.stackfile import StackFile
from stacks.envelopes import plain
from stacks.errors import EngineError, RequestError, SeminarError
from stacks.folders import PROJECT_ROOT, make_private, open_private, stack_folder, state_file, write_private

_PROVIDER_KEY = "__provider"

Progress = Callable[[str, str], None]  # the resource's name and what happened: created, updated, same, deleted


def up(stack: str, stack_file: StackFile, progress: Progress = lambda *_: None) -> dict[str, int]:
    """Make the stack be as its file declares. Returns how many resources were created, updated, same and deleted.

    Every step is on disk before the next begins, so that the next run mends one that was killed. Raises SeminarError.
    """
    cloud = stack_file.settings().cloud
    if cloud != "local":
        raise RequestError(
            f"Pulumi.{stack}.yaml: seminar:cloud is {cloud}, and a cloud needs the Pulumi CLI; `make pulumi` installs "
            "it."
        )
    with _alone(stack):
        state = _State.load(stack)
        engine = _Engine(state, progress)
        _run_program(stack, stack_file, engine)
        engine.delete(engine.undeclared())
        state.save()
        return engine.counts


def destroy(stack: str, progress: Progress = lambda *_: None) -> dict[str, int]:
    """Delete everything that the stack made, newest first, and its state. Raises SeminarError."""
    with _alone(stack):
        try:
            state = _State.load(stack)
        except EngineError:  # damaged: the machines are found on disk, by whoever calls this
            state = _State(stack, {}, {})
        engine = _Engine(state, progress)
        engine.delete(list(reversed(state.resources)))
        state.remove()
        return engine.counts


def outputs(stack: str) -> dict[str, Any]:
    """The stack's outputs, secrets among them. Raises RequestError where there is no such stack."""
    if not state_file(stack).exists():
        raise RequestError(f"There is no rehearsal {stack!r}; `make rehearse` brings one up.")
    return _State.load(stack).outputs


class _State:
    """The stack's resources in the order of their creation, and its outputs: a file for its owner alone."""

    def __init__(self, stack: str, resources: dict[str, dict[str, Any]], found: dict[str, Any]) -> None:
        self._file = state_file(stack)
        self._lock = threading.Lock()
        self.resources = resources
        self.outputs = found

    @classmethod
    def load(cls, stack: str) -> _State:
        try:
            document = json.loads(state_file(stack).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return cls(stack, {}, {})
        except ValueError as error:
            raise EngineError(
                f"{state_file(stack)} is damaged ({error}); `make rehearse-down` removes what it can find."
            ) from error
        return cls(stack, document["resources"], document["outputs"])

    def put(self, key: str, resource: dict[str, Any] | None) -> None:
        """Record a resource, or forget it, on disk too."""
        with self._lock:
            if resource is None:
                self.resources.pop(key, None)
            else:
                self.resources[key] = resource
            self._write()

    def save(self) -> None:
        with self._lock:
            self._write()

    def _write(self) -> None:
        make_private(self._file.parent)
        document = {"version": 1, "resources": self.resources, "outputs": self.outputs}
        write_private(self._file, json.dumps(document))

    def remove(self) -> None:
        self._file.unlink(missing_ok=True)


class _Engine:
    """Creates, updates and deletes dynamic resources through their own providers."""

    def __init__(self, state: _State, progress: Progress) -> None:
        self._state = state
        self._progress = progress
        self._declared: set[str] = set()
        self.counts = {"created": 0, "updated": 0, "same": 0, "deleted": 0}

    def register(self, type_: str, name: str, inputs: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Carry out one registration. Returns the resource's id and outputs."""
        key = f"{type_}::{name}"
        self._declared.add(key)
        news = plain(inputs)
        provider = _provider(news)
        old = self._state.resources.get(key)
        if old is None:
            made = provider.create(news)
            return self._record(
                key, name, "created", made.id, {**(made.outs or {}), _PROVIDER_KEY: news[_PROVIDER_KEY]}
            )
        if not provider.diff(old["id"], old["outputs"], news).changes:
            self._count(name, "same")
            return old["id"], old["outputs"]
        changed = provider.update(old["id"], old["outputs"], news)
        outs = {**(changed.outs or {}), _PROVIDER_KEY: news[_PROVIDER_KEY]}
        return self._record(key, name, "updated", old["id"], outs)

    def undeclared(self) -> list[str]:
        """What the state holds and this run did not declare, newest first."""
        return [key for key in reversed(self._state.resources) if key not in self._declared]

    def delete(self, keys: list[str]) -> None:
        """Delete the resources, machines side by side."""

        def delete_one(key: str) -> None:
            resource = self._state.resources[key]
            _provider(resource["outputs"]).delete(resource["id"], resource["outputs"])
            self._state.put(key, None)
            self._count(key.rsplit("::", maxsplit=1)[-1], "deleted")

        with ThreadPoolExecutor(PARALLEL) as pool:
            for _ in pool.map(delete_one, keys):
                pass

    def finish(self, found: dict[str, Any]) -> None:
        self._state.outputs = json.loads(json.dumps(found, sort_keys=True))  # the protocol's maps have no order

    def _record(self, key: str, name: str, what: str, id_: str, outs: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        self._state.put(key, {"id": id_, "outputs": outs})
        self._count(name, what)
        return id_, outs

    def _count(self, name: str, what: str) -> None:
        self.counts[what] += 1
        self._progress(name, what)


def _provider(properties: Mapping[str, Any]) -> Any:
    import base64

    import dill

    # Pulumi's own way to carry a provider (pulumi/dynamic/__main__.py). The file is ours, and private.
    return dill.loads(base64.b64decode(properties[_PROVIDER_KEY]))


def _run_program(stack: str, stack_file: StackFile, engine: _Engine) -> None:
    from pulumi.runtime import mocks, rpc, set_all_config

    from stacks.local import ENGINE_VARIABLE

    class Mocks(mocks.Mocks):
        def call(self, args: mocks.MockCallArgs) -> Any:
            raise EngineError(f"{args.token} was called, and only a cloud can answer.")

        def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
            if not args.custom:
                return "", args.inputs
            return engine.register(args.typ, args.name, args.inputs)

    class Monitor(mocks.MockMonitor):
        def RegisterResource(self, request: Any) -> Any:
            return with_secrets(request, super().RegisterResource(request))  # type: ignore[no-untyped-call]  # the SDK's

        def RegisterResourceOutputs(self, request: Any) -> Any:
            if request.urn.split("::")[2] == "pulumi:pulumi:Stack":
                engine.finish(plain(rpc.deserialize_properties(request.outputs)))
            return super().RegisterResourceOutputs(request)  # type: ignore[no-untyped-call]  # the SDK's

    os.environ[ENGINE_VARIABLE] = "in-process"
    set_all_config({f"{PROJECT}:{key}": value for key, value in stack_file.values.items()}, [])
    run_program(stack, lambda: _as_main(PROJECT_ROOT / "__main__.py"), Monitor(Mocks()))


def _as_main(program: os.PathLike[str]) -> None:
    runpy.run_path(os.fspath(program), run_name="__main__")


@contextmanager
def _alone(stack: str) -> Iterator[None]:
    folder = make_private(stack_folder(stack))
    with open_private(folder / "engine.lock") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RequestError(
                f"Another run is bringing {stack!r} up or down right now; wait until it has ended, then run this again."
            ) from None
        yield


def main(words: list[str]) -> int:
    """The command line. Returns the exit code: 0, 1 (the engine failed) or 2 (the request was wrong)."""
    try:
        if len(words) != 2 or words[0] not in ("up", "destroy"):
            raise RequestError(
                f"came {' '.join(words)!r}; expected up or destroy, and a stack, for example: up rehearsal"
            )
        counts = up(words[1], StackFile.read(words[1])) if words[0] == "up" else destroy(words[1])
    except SeminarError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(", ".join(f"{count} {what}" for what, count in counts.items() if count))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
