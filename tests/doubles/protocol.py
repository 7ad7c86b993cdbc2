"""Pulumi's provider protocol (proto/pulumi/provider.proto), spoken for a cloud that is a stand-in.

The engine starts the plugin, reads the port that it prints, and asks. What the cloud itself does is in a `Cloud`.
"""

from __future__ import annotations

import hashlib
import os
import stat
import sys
import textwrap
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import grpc
from google.protobuf import empty_pb2, json_format, struct_pb2
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc

from stacks.envelopes import plain

ROOT = Path(__file__).resolve().parent.parent.parent
Properties = dict[str, Any]
NO_CAPACITY = "SEMINAR_TEST_NO_CAPACITY"  # the participant whose machine a cloud has no room for


class Cloud(Protocol):
    """What a stand-in cloud must be able to do. `kind` is Pulumi's type token; properties are as Pulumi spells them."""

    def configure(self, settings: Properties) -> None:
        """Take the provider's own settings."""

    def named(self, kind: str) -> str | None:
        """The property that the provider fills with a name of its own where the program gave none, or None."""

    def replacing(self, kind: str, olds: Properties, news: Properties) -> set[str]:
        """Those of the changed properties that no update can change: the resource is made anew."""

    def create(self, kind: str, inputs: Properties) -> tuple[str, Properties]:
        """Make it; returns its id and outputs."""

    def read(self, kind: str, id_: str, outputs: Properties) -> Properties | None:
        """Its outputs now, or None where it is gone."""

    def update(self, kind: str, id_: str, olds: Properties, news: Properties) -> Properties:
        """Change it in place; returns its outputs."""

    def delete(self, kind: str, id_: str, outputs: Properties) -> None:
        """Remove it."""

    def invoke(self, token: str, arguments: Properties) -> Properties:
        """Answer a question. Raises LookupError where the cloud would refuse."""


def with_name(cloud: Cloud, kind: str, urn: str, inputs: Properties, olds: Mapping[str, Any]) -> Properties:
    """The inputs with the name that the provider gives: the resource's own and a suffix, as long as it lives."""
    key = cloud.named(kind)
    if key is None or inputs.get(key):
        return inputs
    suffix = hashlib.sha256((urn + str(os.urandom(8))).encode()).hexdigest()[:7]
    return {**inputs, key: olds.get(key) or f"{urn.rsplit('::', maxsplit=1)[-1]}-{suffix}"}


class Provider(provider_pb2_grpc.ResourceProviderServicer):
    """Hands the engine's questions on to the cloud. `version` is that of the plugin which it stands in for."""

    def __init__(self, cloud: Cloud, version: str) -> None:
        self._cloud = cloud
        self._version = version

    def Handshake(self, _: Any, __: Any) -> Any:
        return provider_pb2.ProviderHandshakeResponse()

    def GetPluginInfo(self, _: Any, __: Any) -> Any:
        return plugin_pb2.PluginInfo(version=self._version)

    def CheckConfig(self, request: Any, _: Any) -> Any:
        return provider_pb2.CheckResponse(inputs=request.news)

    def DiffConfig(self, request: Any, _: Any) -> Any:
        olds, news = _plain(request.olds), _plain(request.news)
        changes = provider_pb2.DiffResponse.DIFF_NONE if olds == news else provider_pb2.DiffResponse.DIFF_SOME
        moved = ["region"] if olds.get("region") != news.get("region") else []
        return provider_pb2.DiffResponse(changes=changes, diffs=moved, replaces=moved)

    def Configure(self, request: Any, _: Any) -> Any:
        self._cloud.configure(_plain(request.args))
        return provider_pb2.ConfigureResponse(acceptSecrets=False, supportsPreview=False)

    def Check(self, request: Any, _: Any) -> Any:
        kind = _kind(request.urn)
        if self._cloud.named(kind) is None:
            return provider_pb2.CheckResponse(inputs=request.news)
        news = with_name(self._cloud, kind, request.urn, _plain(request.news), _plain(request.olds))
        return provider_pb2.CheckResponse(inputs=_struct(news))

    def Diff(self, request: Any, _: Any) -> Any:
        olds, news = _plain(request.old_inputs), _plain(request.news)
        changed = {key for key in {*olds, *news} if olds.get(key) != news.get(key)}
        changes = provider_pb2.DiffResponse.DIFF_SOME if changed else provider_pb2.DiffResponse.DIFF_NONE
        replaces = changed & self._cloud.replacing(_kind(request.urn), olds, news)
        return provider_pb2.DiffResponse(changes=changes, diffs=sorted(changed), replaces=sorted(replaces))

    def Create(self, request: Any, context: Any) -> Any:
        if request.preview:  # the engine takes what is not told as not yet known
            return provider_pb2.CreateResponse(properties=request.properties)
        try:
            id_, outputs = self._cloud.create(_kind(request.urn), _plain(request.properties))
        except Exception as error:
            context.abort(grpc.StatusCode.UNKNOWN, f"{type(error).__name__}: {error}")
        return provider_pb2.CreateResponse(id=id_, properties=_struct(outputs))

    def Read(self, request: Any, _: Any) -> Any:
        outputs = self._cloud.read(_kind(request.urn), request.id, _plain(request.properties))
        if outputs is None:
            return provider_pb2.ReadResponse()
        return provider_pb2.ReadResponse(id=request.id, properties=_struct(outputs), inputs=request.inputs)

    def Update(self, request: Any, context: Any) -> Any:
        kind, olds, news = _kind(request.urn), _plain(request.old_inputs), _plain(request.news)
        if request.preview:
            return provider_pb2.UpdateResponse(properties=_struct({**_plain(request.olds), **news}))
        try:
            outputs = self._cloud.update(kind, request.id, olds, news)
        except Exception as error:
            context.abort(grpc.StatusCode.UNKNOWN, f"{type(error).__name__}: {error}")
        return provider_pb2.UpdateResponse(properties=_struct(outputs))

    def Delete(self, request: Any, context: Any) -> Any:
        try:
            self._cloud.delete(_kind(request.urn), request.id, _plain(request.properties))
        except Exception as error:
            context.abort(grpc.StatusCode.UNKNOWN, f"{type(error).__name__}: {error}")
        return empty_pb2.Empty()

    def Invoke(self, request: Any, context: Any) -> Any:
        try:
            answer = self._cloud.invoke(request.tok, _plain(request.args))
        except LookupError as error:
            context.abort(grpc.StatusCode.UNKNOWN, str(error))
        return provider_pb2.InvokeResponse(**{"return": _struct(answer)})  # type: ignore[arg-type]  # a Python keyword

    def Cancel(self, _: Any, __: Any) -> Any:
        return empty_pb2.Empty()


def serve(cloud: Cloud, version: str) -> None:
    """Be the plugin: print the port and answer until the engine ends this process."""
    server = grpc.server(ThreadPoolExecutor(8), options=[("grpc.max_receive_message_length", -1)])
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(Provider(cloud, version), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    server.wait_for_termination()


def install(folder: Path, package: str, module: str, **environment: str) -> Path:
    """Write the plugin `pulumi-resource-<package>` that runs `module.main()`; returns its folder, for PATH."""
    folder.mkdir(parents=True, exist_ok=True)
    plugin = folder / f"pulumi-resource-{package}"
    plugin.write_text(
        textwrap.dedent(f"""\
            #!{sys.executable}
            import os, sys
            sys.path.insert(0, {str(ROOT)!r})
            os.environ.update({environment!r})
            from {module} import main
            main()
            """)
    )
    plugin.chmod(plugin.stat().st_mode | stat.S_IXUSR)
    return folder


def _kind(urn: str) -> str:
    return urn.split("::")[2].rsplit("$", maxsplit=1)[-1]


def _plain(message: struct_pb2.Struct) -> Properties:
    """The properties as JSON has them, with whole numbers as int. What is not yet known is the protocol's own mark."""
    return {key: value for key, value in plain(json_format.MessageToDict(message)).items() if value is not None}


def _struct(properties: Properties) -> struct_pb2.Struct:
    struct = struct_pb2.Struct()
    json_format.ParseDict(properties, struct)
    return struct
