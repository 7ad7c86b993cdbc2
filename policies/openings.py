"""What lets somebody in: read from the resources that open ports, whatever their program meant. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from policies.declared import Declared

AWS_RULE = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
AWS_GROUP = "aws:ec2/securityGroup:SecurityGroup"
AZURE_GROUP = "azure-native:network:NetworkSecurityGroup"

EVERY_PORT = (0, 65535)
UNSAID = "unknown"  # a source or a port that the resource does not say in so many words: never taken for a safe one


@dataclass(frozen=True, order=True)
class Opening:
    """Ports `first` to `last` are open to `source`, a network or whatever else the cloud takes; `protocol` as "tcp"."""

    protocol: str
    first: int
    last: int
    source: str

    @property
    def ports(self) -> str:
        if (self.first, self.last) == EVERY_PORT:
            return "every port"
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"


def openings_of(resource: Declared) -> tuple[Opening, ...]:
    """What one resource opens."""
    given = resource.inputs
    if resource.kind == AWS_RULE:
        sources = [given[key] for key in ("cidrIpv4", "cidrIpv6") if given.get(key)]
        return tuple(_of_aws(given, str(given.get("ipProtocol")), sources))
    if resource.kind == AWS_GROUP:
        return tuple(opening for rule in given.get("ingress") or [] for opening in _inline(rule))
    if resource.kind == AZURE_GROUP:
        return tuple(opening for rule in given.get("securityRules") or [] for opening in _of_azure(rule))
    return ()


def _inline(rule: Mapping[str, Any]) -> Iterator[Opening]:
    sources = [source for key in ("cidrBlocks", "ipv6CidrBlocks") for source in rule.get(key) or []]
    return _of_aws(rule, str(rule.get("protocol")), sources)


def _of_aws(rule: Mapping[str, Any], protocol: str, sources: Iterable[str]) -> Iterator[Opening]:
    first, last = rule.get("fromPort"), rule.get("toPort")
    if protocol == "-1" or not isinstance(first, int) or not isinstance(last, int):
        first, last = EVERY_PORT
    for source in [*sources] or [UNSAID]:
        yield Opening("any" if protocol == "-1" else protocol.lower(), first, last, str(source))


def _of_azure(rule: Mapping[str, Any]) -> Iterator[Opening]:
    if rule.get("direction") != "Inbound" or rule.get("access") != "Allow":
        return
    protocol = {"*": "any"}.get(str(rule.get("protocol")), str(rule.get("protocol")).lower())
    ports = [*(rule.get("destinationPortRanges") or []), rule.get("destinationPortRange")]
    sources = [*(rule.get("sourceAddressPrefixes") or []), rule.get("sourceAddressPrefix")]
    for text in [each for each in ports if each] or ["*"]:
        first, last = _range(str(text))
        for source in [each for each in sources if each] or [UNSAID]:
            yield Opening(protocol, first, last, str(source))


def _range(text: str) -> tuple[int, int]:
    first, _, last = text.partition("-")
    if not first.isdigit() or not (last or first).isdigit():
        return EVERY_PORT
    return int(first), int(last or first)
