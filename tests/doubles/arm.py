"""Azure, stood in for by a model of its resource manager: what is there, kept in a file, and what it refuses.

Each resource is made by the request that Azure's plugin would send, checked against the models of Azure's SDK
(bodies.py) and against rules of Azure's that no model has: names, references, what is in use, what can't be changed.
"""

from __future__ import annotations

import base64
import json
import os
import re
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from azure.mgmt.compute.v2024_11_01 import models as compute
from azure.mgmt.devtestlabs import models as labs
from azure.mgmt.network import models as network
from azure.mgmt.resource.resources.v2024_07_01 import models as groups
from tzlocal.windows_tz import win_tz

from tests.doubles.bodies import body
from tests.doubles.management import SUBSCRIPTION
from tests.doubles.protocol import NO_CAPACITY, Properties, serve

STATE = "SEMINAR_TEST_AZURE"  # the path of the file
SIGNED_IN = "SEMINAR_TEST_SUBSCRIPTION"  # the subscription of whoever asks, where it is another one

# Pulumi's token -> the type in ids, the models and the model of its body, the input that is its name, and what a name
# may be (https://learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules).
_NETWORKED = r"[a-zA-Z0-9]([a-zA-Z0-9._-]{0,78}[a-zA-Z0-9_])?"
KINDS: dict[str, tuple[str, Any, str, str, str]] = {
    "azure-native:resources:ResourceGroup": (
        "",
        groups,
        "ResourceGroup",
        "resourceGroupName",
        r"[\w().-]{0,89}[\w()-]",
    ),
    "azure-native:network:NetworkSecurityGroup": (
        "Microsoft.Network/networkSecurityGroups",
        network,
        "NetworkSecurityGroup",
        "networkSecurityGroupName",
        _NETWORKED,
    ),
    "azure-native:network:VirtualNetwork": (
        "Microsoft.Network/virtualNetworks",
        network,
        "VirtualNetwork",
        "virtualNetworkName",
        r"[a-zA-Z0-9][a-zA-Z0-9._-]{0,62}[a-zA-Z0-9_]",
    ),
    "azure-native:network:PublicIPAddress": (
        "Microsoft.Network/publicIPAddresses",
        network,
        "PublicIPAddress",
        "publicIpAddressName",
        _NETWORKED,
    ),
    "azure-native:network:NetworkInterface": (
        "Microsoft.Network/networkInterfaces",
        network,
        "NetworkInterface",
        "networkInterfaceName",
        _NETWORKED,
    ),
    "azure-native:compute:VirtualMachine": (
        "Microsoft.Compute/virtualMachines",
        compute,
        "VirtualMachine",
        "vmName",
        r"[a-zA-Z0-9]([a-zA-Z0-9-]{0,62}[a-zA-Z0-9])?",
    ),
    "azure-native:devtestlab:GlobalSchedule": (
        "Microsoft.DevTestLab/schedules",
        labs,
        "Schedule",
        "name",
        r"[A-Za-z0-9_-]{1,260}",
    ),
}

# As osProfile.adminUsername's description lists them.
REFUSED_ADMINS = (
    *("administrator", "admin", "user", "user1", "test", "user2", "test1", "user3", "admin1", "1", "123"),
    *("a", "actuser", "adm", "admin2", "aspnet", "backup", "console", "david", "guest", "john", "owner"),
    *("root", "server", "sql", "support", "support_388945a0", "sys", "test2", "test3", "user4", "user5"),
)

# What an update can change, at the top of a resource's inputs; all else replaces. Azure changes the size of a machine
# by starting it anew, and what is told at its making never.
_IN_PLACE = {
    "ResourceGroup": {"tags"},
    "NetworkSecurityGroup": {"tags", "securityRules"},
    "VirtualNetwork": {"tags", "subnets"},
    "PublicIPAddress": {"tags"},
    "NetworkInterface": {"tags", "ipConfigurations"},
    "VirtualMachine": {"tags", "hardwareProfile", "networkProfile"},
    "GlobalSchedule": {"tags", "status", "dailyRecurrence", "timeZoneId", "targetResourceId", "notificationSettings"},
}


class RefusedError(LookupError):
    """What Azure says no to, as a code and a sentence."""


class Arm:
    """The subscription. `state` is by id: the body of each resource; disks that were made with a machine among them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._subscription = os.environ.get(SIGNED_IN, SUBSCRIPTION)
        self._lock = threading.RLock()  # the engine asks for many at once
        self.state: dict[str, Properties] = json.loads(path.read_text()) if path.exists() else {}

    def configure(self, settings: Properties) -> None:
        pass

    def named(self, kind: str) -> str | None:
        return None

    def replacing(self, kind: str, olds: Properties, news: Properties) -> set[str]:
        changed = {key for key in {*olds, *news} if olds.get(key) != news.get(key)}
        return changed - _IN_PLACE[kind.rsplit(":", maxsplit=1)[-1]]

    def create(self, kind: str, inputs: Properties) -> tuple[str, Properties]:
        with self._lock:
            id_, sent = self._request(kind, inputs)
            if id_ in self.state:
                raise RefusedError(f"cannot create already existing resource {id_}")
            if kind.endswith(":VirtualMachine"):
                self._make_disk(id_, sent)
            self.state[id_] = sent
            self._write()
            return id_, self._outputs(id_, inputs)

    def read(self, kind: str, id_: str, outputs: Properties) -> Properties | None:
        with self._lock:
            return self._outputs(id_, outputs) if id_ in self.state else None

    def update(self, kind: str, id_: str, olds: Properties, news: Properties) -> Properties:
        with self._lock:
            # As the plugin does: by the inputs and the subscription that is signed in, not by the id that was made.
            again, sent = self._request(kind, news, before=id_)
            self.state[again] = sent
            self._write()
            return self._outputs(id_, news)

    def delete(self, kind: str, id_: str, outputs: Properties) -> None:
        with self._lock:
            users = [each for each, sent in self.state.items() if each != id_ and id_ in _references(sent)]
            # A schedule may outlive its machine; what else is in use stays.
            users = [each for each in users if "/schedules/" not in each]
            if users:
                raise RefusedError(f"InUse: {id_} is used by {', '.join(users)}")
            if "/providers/" not in id_ and (left := [each for each in self.state if each.startswith(f"{id_}/")]):
                raise RefusedError(f"the group still has {', '.join(left)}")
            sent = self.state.pop(id_)
            if kind.endswith(":VirtualMachine"):
                self._end_disk(id_, sent)
            self._write()

    def invoke(self, token: str, arguments: Properties) -> Properties:
        if token == "azure-native:authorization:getClientConfig":
            return {"subscriptionId": self._subscription, "clientId": "", "objectId": "", "tenantId": ""}
        raise RefusedError(f"{token} failed: no token for a stand-in")

    # Rules

    def _request(self, kind: str, inputs: Properties, before: str = "") -> tuple[str, Properties]:
        """The id of a resource and what is sent to make it. Raises RefusedError or ValueError."""
        type_, models, model, key, pattern = KINDS[kind]
        given = dict(inputs)
        name = given.pop(key)
        if not re.fullmatch(pattern, name) or re.search("microsoft|windows", name.lower()):
            raise RefusedError(f"InvalidResourceName: {kind} can't be called {name!r}")
        groups_at = f"/subscriptions/{self._subscription}/resourceGroups"
        id_ = f"{groups_at}/{name}"
        if type_:
            group = f"{groups_at}/{given.pop('resourceGroupName')}"
            if group not in self.state:
                raise RefusedError(f"ResourceGroupNotFound: {group}")
            id_ = f"{group}/providers/{type_}/{name}"
            assert given["location"] == self.state[group]["location"]
        sent = body(models, model, given)
        for reference in _references(sent):
            if reference not in self.state and reference not in self._subnets():
                raise RefusedError(f"InvalidResourceReference: {reference} is not there")
        rule = getattr(self, f"_check_{model}", None)
        if rule:
            rule(id_, name, sent, before)
        return id_, sent

    def _check_NetworkSecurityGroup(self, _: str, __: str, sent: Properties, ___: str) -> None:
        rules = sent["properties"]["securityRules"]
        for key in ("access", "direction", "priority", "protocol", "sourceAddressPrefix", "destinationPortRange"):
            if not all(key in rule.get("properties", {}) for rule in rules):
                raise RefusedError(f"MissingProperty: {key}")
        taken = [(rule["properties"]["direction"], rule["properties"]["priority"]) for rule in rules]
        if len(set(taken)) < len(taken) or not all(100 <= priority <= 4096 for _, priority in taken):
            raise RefusedError(f"SecurityRuleConflict: priorities {taken}")
        if len({rule["name"].lower() for rule in rules}) < len(rules) or len(rules) > 1000:
            raise RefusedError("two rules of one name, or too many")
        if not all(re.fullmatch(_NETWORKED, rule["name"]) for rule in rules):
            raise RefusedError("InvalidResourceName: of a rule")

    def _check_NetworkInterface(self, id_: str, _: str, sent: Properties, __: str) -> None:
        (address,) = (each for each in _references(sent) if "/publicIPAddresses/" in each)
        if [each for each, other in self.state.items() if each != id_ and address in _references(other)]:
            raise RefusedError(f"PublicIPAddressInUse: {address}")

    def _check_VirtualMachine(self, id_: str, name: str, sent: Properties, before: str) -> None:
        if not before and name == f"machine-{os.environ.get(NO_CAPACITY)}":
            raise RefusedError("SkuNotAvailable: the requested size is currently not available in location westeurope")
        properties = sent["properties"]
        system, disk = properties["osProfile"], properties["storageProfile"]["osDisk"]
        (card,) = _references(sent)
        if [each for each, other in self.state.items() if each != id_ and card in _references(other)]:
            raise RefusedError(f"NicInUse: {card}")
        if system["adminUsername"].lower() in REFUSED_ADMINS or not re.fullmatch(
            r"[a-z_][a-z0-9_-]{0,63}", system["adminUsername"]
        ):
            raise RefusedError(f"InvalidParameter: the admin name {system['adminUsername']} is not allowed")
        if not re.fullmatch(r"[a-zA-Z0-9]([a-zA-Z0-9-]{0,62}[a-zA-Z0-9])?", system["computerName"]):
            raise RefusedError(f"InvalidParameter: the computer name {system['computerName']} is not allowed")
        linux = system["linuxConfiguration"]
        keys = linux["ssh"]["publicKeys"]
        if not linux["disablePasswordAuthentication"] or "adminPassword" in system or len(keys) != 1:
            raise RefusedError("a login by password")
        if keys[0]["path"] != f"/home/{system['adminUsername']}/.ssh/authorized_keys":
            raise RefusedError(f"InvalidParameter: the key's path {keys[0]['path']}")
        if not keys[0]["keyData"].startswith(("ssh-ed25519 ", "ssh-rsa ")):
            raise RefusedError(f"InvalidParameter: the key {keys[0]['keyData']}")
        if len(base64.b64decode(system["customData"], validate=True)) > 65535 or "userData" in properties:
            raise RefusedError("InvalidParameter: customData is too large")
        if disk["diskSizeGB"] < 128:
            raise RefusedError("ResizeDiskError: the disk is smaller than the image's")
        if before and (was := self.state[before]["properties"])["osProfile"] != properties["osProfile"]:
            raise RefusedError(f"PropertyChangeNotAllowed: osProfile {sorted(was['osProfile'])}")
        if (properties.get("priority") == "Spot") != ("evictionPolicy" in properties):
            raise RefusedError("OperationNotAllowed: an eviction policy is for spot machines, which need one")

    def _check_Schedule(self, _: str, name: str, sent: Properties, __: str) -> None:
        properties = sent["properties"]
        if name != f"shutdown-computevm-{properties['targetResourceId'].rsplit('/', maxsplit=1)[-1]}":
            raise RefusedError(f"InvalidScheduleId: {name}")
        if properties["taskType"] != "ComputeVmShutdownTask" or properties["status"] != "Enabled":
            raise RefusedError("a schedule that stops nothing")
        if not re.fullmatch("([01][0-9]|2[0-3])[0-5][0-9]", properties["dailyRecurrence"]["time"]):
            raise RefusedError(f"InvalidTime: {properties['dailyRecurrence']}")
        if properties["timeZoneId"] not in win_tz:
            raise RefusedError(f"InvalidTimeZone: {properties['timeZoneId']}")

    # The state

    def _subnets(self) -> set[str]:
        return {
            f"{id_}/subnets/{subnet['name']}"
            for id_, sent in self.state.items()
            if "/virtualNetworks/" in id_
            for subnet in sent["properties"]["subnets"]
        }

    def _make_disk(self, id_: str, sent: Properties) -> None:
        group, _, name = id_.partition("/providers/Microsoft.Compute/virtualMachines/")
        disk = {"properties": dict(sent["properties"]["storageProfile"]["osDisk"])}
        self.state[f"{group}/providers/Microsoft.Compute/disks/{name}_OsDisk"] = disk

    def _end_disk(self, id_: str, sent: Properties) -> None:
        if sent["properties"]["storageProfile"]["osDisk"].get("deleteOption") == "Delete":
            group, _, name = id_.partition("/providers/Microsoft.Compute/virtualMachines/")
            del self.state[f"{group}/providers/Microsoft.Compute/disks/{name}_OsDisk"]

    def _outputs(self, id_: str, inputs: Properties) -> Properties:
        own: Properties = {"name": id_.rsplit("/", maxsplit=1)[-1]}
        if "/publicIPAddresses/" in id_:
            own["ipAddress"] = address_of(id_)
        return {**inputs, **own}

    def _write(self) -> None:
        self._path.write_text(json.dumps(self.state))


def address_of(id_: str) -> str:
    """The address that a public address of this id has, as long as it lives."""
    number = zlib.crc32(id_.encode())
    return f"198.{18 + number // 65536 % 2}.{number // 256 % 256}.{number % 256}"


def _references(sent: Any) -> set[str]:
    return set(_ids(sent))


def _ids(sent: Any) -> Iterator[str]:
    if isinstance(sent, dict):
        for key, value in sent.items():
            if key in ("id", "targetResourceId"):
                yield value
            else:
                yield from _ids(value)
    elif isinstance(sent, list):
        for each in sent:
            yield from _ids(each)


def main() -> None:
    """The plugin's process."""
    serve(Arm(Path(os.environ[STATE])), version="3.29.0")
