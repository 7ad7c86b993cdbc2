"""A cloud that remembers what a program asked and declared, under the SDK's mocks."""

from __future__ import annotations

from typing import Any

from pulumi.runtime import mocks, rpc

from tests.program import bare, credentials


class Recorder(mocks.Mocks):
    """Remembers what was asked and declared, by kind and name. A subclass answers as its cloud would, in `made`."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.declared: dict[str, dict[str, Any]] = {}
        self.secret: set[str] = set()
        self.asked: dict[str, Any] = {}
        self.answers = answers

    def call(self, args: mocks.MockCallArgs) -> Any:
        name = args.token.rsplit(":", maxsplit=1)[-1]
        self.asked[name] = bare(args.args)
        answer = self.answers[name]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        if not args.custom:
            return "", args.inputs
        kind = args.typ.rsplit(":", maxsplit=1)[-1]
        key = f"{kind} {args.name}"
        assert key not in self.declared
        given = {name: value for name, value in args.inputs.items() if name != "__provider"}
        self.secret |= {f"{key} {name}" for name, value in given.items() if rpc.is_rpc_secret(value)}
        self.declared[key] = {name: bare(value) for name, value in given.items()}
        if kind == "OrganiserKey":
            return "organiser", {"private_key": "private key of the organiser", "public_key": "organiser's key"}
        if kind == "MachineCredentials":
            return args.name, credentials(self.declared[key])
        return self.made(kind, args.name, self.declared[key])

    def made(self, kind: str, name: str, given: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """The id and the outputs of a resource of the cloud's."""
        raise NotImplementedError

    def of_cloud(self) -> dict[str, dict[str, Any]]:
        """All that was declared of the cloud."""
        own = ("OrganiserKey", "MachineCredentials")
        return {key: given for key, given in self.declared.items() if not key.startswith(own)}
