"""Who may reach which port of a machine, as data that every cloud renders alike. Pure.

Nothing else is open: a cloud that adds a rule of its own fails the tests.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable
from dataclasses import dataclass

# 22 is what everyone expects; 443 is for venues that let only web traffic out.
SSH_PORTS = (22, 443)

# The one word that opens a seminar to all, so that nobody does it by a range that was copied from somewhere.
ANYWHERE = "anywhere"
_EVERYTHING = ("0.0.0.0/0", "::/0")
_WIDEST = {4: 8, 6: 20}  # no venue has more than a /8, or than what a registry gives to a country
# A security group of AWS takes 60 rules of a family, https://docs.aws.amazon.com/vpc/latest/userguide/
# amazon-vpc-limits.html, and each network has a rule a port.
_MOST = 60 // len(SSH_PORTS)

# RFC 5737 and RFC 3849: ranges for documentation, which no venue has.
_FOR_DOCUMENTATION = tuple(
    ipaddress.ip_network(text) for text in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")
)
_EXAMPLE = '["198.51.100.0/24"] (in the venue, https://checkip.amazonaws.com shows its address; add /32)'


@dataclass(frozen=True)
class Rule:
    """TCP to `port` from `cidr`. `family` is 4 or 6."""

    port: int
    cidr: str
    family: int

    @property
    def name(self) -> str:
        """Unique among the rules, and of the signs that names of resources may have."""
        return f"{self.port}-{self.cidr.replace('/', '-').replace(':', '.')}"


def rules(cidrs: Iterable[str]) -> tuple[Rule, ...]:
    """What is open: each SSH port from each of the networks."""
    return tuple(Rule(port, cidr, ipaddress.ip_network(cidr).version) for cidr in cidrs for port in SSH_PORTS)


def parse(value: str) -> tuple[tuple[str, ...], list[tuple[str, str]]]:
    """The networks that a setting names, as (networks without doubles, faults as (what came, what was expected)).

    `value` is a list as Pulumi writes it (JSON), or networks with commas between.
    """
    faults: list[tuple[str, str]] = []
    networks: dict[str, None] = {}
    for word in _words(value):
        if word.lower() == ANYWHERE:
            networks.update(dict.fromkeys(_EVERYTHING))
            continue
        try:
            network = ipaddress.ip_network(word)
        except ValueError as error:
            faults.append((f"has {word[:60]!r} ({_reason(word, error)})", f"networks such as {_EXAMPLE}"))
            continue
        if network.prefixlen < _WIDEST[network.version]:
            faults.append(
                (f"has {word}, which is open to the world", f"the venue's networks, or {ANYWHERE} on purpose")
            )
        else:
            networks[str(network)] = None
    families = [ipaddress.ip_network(each).version for each in networks]
    if networks and 4 not in families and not faults:
        faults.append(("has IPv6 networks alone, and machines have IPv4 addresses", "an IPv4 network as well"))
    if max(families.count(4), families.count(6)) > _MOST:
        faults.append(
            (f"has {len(networks)} networks", f"at most {_MOST} of IPv4 and {_MOST} of IPv6; join neighbours")
        )
    return tuple(networks), faults


def missing() -> tuple[str, str]:
    """The fault of a seminar in a cloud that names nobody who may reach it."""
    return "is not set", f"the networks that may reach SSH, such as {_EXAMPLE}, or {ANYWHERE} on purpose"


def is_open_to_all(cidrs: Iterable[str]) -> bool:
    """Whether everyone on the Internet may try to log in."""
    return not set(_EVERYTHING).isdisjoint(cidrs)


def for_documentation(cidrs: Iterable[str]) -> tuple[str, ...]:
    """Those of the networks that exist only in examples: nobody would get in from there."""
    return tuple(
        cidr
        for cidr in cidrs
        for example in _FOR_DOCUMENTATION
        if (network := ipaddress.ip_network(cidr)).version == example.version and network.subnet_of(example)  # type: ignore[arg-type]  # of one version, as was just seen
    )


def _words(value: str) -> list[str]:
    if value.lstrip().startswith("["):
        try:
            return [str(word).strip() for word in json.loads(value)]
        except ValueError:
            pass
    return [word.strip() for word in value.split(",") if word.strip()]


def _reason(word: str, error: ValueError) -> str:
    if "host bits" in str(error):
        return f"did you mean {ipaddress.ip_network(word, strict=False)}?"
    return "not a network"
