"""What a seminar takes of its account's quotas, with what a new account has beside it. Pure.

The account's own limits nobody asks here: `pulumi up` does, and refuses where one is too small.
"""

from __future__ import annotations

from dataclasses import dataclass

from stacks import sizes
from stacks.settings import SeminarSettings

# https://learn.microsoft.com/azure/quotas/regional-quota-requests and what new pay-as-you-go subscriptions report (seen
# 2026-11). Azure's own names of the quotas.
_AZURE_ALL, _AZURE_ALL_OF_NEW = "cores", 10
_AZURE_SPOT, _AZURE_ADDRESSES = "lowPriorityCores", "IPv4StandardSkuPublicIpAddresses"


@dataclass(frozen=True)
class Need:
    """`needed` and `of_new_account` count `unit`; None where that is not known here. `code` is how to ask for it."""

    name: str
    code: str
    unit: str
    needed: int | None
    of_new_account: int | None

    @property
    def is_more_than_new(self) -> bool:
        """Whether a new account has surely too little."""
        return None not in (self.needed, self.of_new_account) and self.needed > self.of_new_account  # type: ignore[operator]  # both are numbers


def needs(settings: SeminarSettings, machines: int) -> tuple[Need, ...]:
    """The quotas that the machines of a seminar count against; none in a rehearsal."""
    if settings.cloud == "local":
        return ()
    machine_type = sizes.machine_type(settings.cloud, settings.size, settings.machine_type)
    each = sizes.vcpus(machine_type)
    vcpus = None if each is None else machines * each
    if settings.cloud == "aws":
        return _of_aws(settings, machine_type, machines, vcpus)
    if settings.spot:
        return (
            Need("Spot vCPUs of all families", _AZURE_SPOT, "vCPUs", vcpus, None),
            Need("Public addresses", _AZURE_ADDRESSES, "addresses", machines, None),
        )
    known = sizes.in_catalogue(machine_type)
    family = known.family if known else ""
    of_new = 0 if known and known.gpu else None
    return (
        Need(family or f"The family of {machine_type}", family, "vCPUs", vcpus, of_new),
        Need("Total Regional vCPUs", _AZURE_ALL, "vCPUs", vcpus, _AZURE_ALL_OF_NEW),
        Need("Public addresses", _AZURE_ADDRESSES, "addresses", machines, None),
    )


def _of_aws(settings: SeminarSettings, machine_type: str, machines: int, vcpus: int | None) -> tuple[Need, ...]:
    quota = sizes.quota(machine_type, spot=settings.spot)
    family = quota or sizes.Quota("", f"The family of {machine_type}")
    found = [Need(family.name, family.code, "vCPUs", vcpus, family.of_new_account)]
    if settings.stable_addresses:
        elastic = sizes.ADDRESS_QUOTA
        found.append(Need(elastic.name, elastic.code, "addresses", machines, elastic.of_new_account))
    return tuple(found)


def warnings(found: tuple[Need, ...], cloud: str) -> tuple[str, ...]:
    """A sentence for each quota that a new account has too little of."""
    return tuple(
        f"{need.needed} {need.unit} of {need.name} are needed and a new account has {need.of_new_account}: ask for "
        f"more days before the class; docs/{cloud}.md says how."
        for need in found
        if need.is_more_than_new
    )
