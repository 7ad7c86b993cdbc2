"""What a machine costs for an hour: data, with its date and source. What does not stand here is not known.

US dollars, Linux, on demand, without tax. The same figures as in docs/aws.md and docs/azure.md, which say how sure they
are; `seminar:price-per-hour` takes the place of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from stacks import sizes
from stacks.settings import SeminarSettings

DATE = "2026-11"
_SOURCES = {"aws": "public price lists, docs/aws.md", "azure": "public price lists, docs/azure.md"}

_PRICES = {
    ("aws", "us-east-1"): {
        "m6i.large": "0.096",
        "m6i.2xlarge": "0.384",
        "g4dn.xlarge": "0.526",
        "g5.2xlarge": "1.212",
    },
    ("aws", "eu-central-1"): {
        "m6i.large": "0.115",
        "m6i.2xlarge": "0.460",
        "g4dn.xlarge": "0.658",
        "g5.2xlarge": "1.5156",
    },
    ("azure", "eastus"): {
        "Standard_D2s_v5": "0.096",
        "Standard_D8s_v5": "0.384",
        "Standard_NC4as_T4_v3": "0.526",
        "Standard_NC24ads_A100_v4": "3.673",
    },
}


@dataclass(frozen=True)
class Price:
    """US dollars for one machine and hour, and who says so."""

    dollars: Decimal
    source: str


def price_of(settings: SeminarSettings) -> Price | None:
    """What one machine of the seminar costs for an hour, or None where that is not known here."""
    if settings.price_per_hour is not None:
        return Price(settings.price_per_hour, "seminar:price-per-hour")
    machine_type = sizes.machine_type(settings.cloud, settings.size, settings.machine_type)
    told = _PRICES.get((settings.cloud, settings.region), {}).get(machine_type)
    return Price(Decimal(told), f"{_SOURCES[settings.cloud]}, {DATE}") if told else None
