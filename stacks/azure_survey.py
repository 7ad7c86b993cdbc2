"""What Azure is asked before anything is made there: who asks, size, quota, image. Declares nothing.

Pulumi's SDK answers the first; for the rest it hands out a token for Azure's own API, where each question is one GET.
What Azure does not tell is warned of and left open, as not every organiser may ask everything; what it tells counts.
"""

from __future__ import annotations

import json
import urllib.request
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

import pulumi
from pulumi_azure_native import authorization

from stacks import images, sizes
from stacks.asking import ask, sentence
from stacks.errors import SettingsError
from stacks.settings import SeminarSettings
from stacks.values import Secret

MANAGEMENT = "https://management.azure.com"
_SECONDS = 30.0  # the list of a region's sizes has some megabytes

# https://learn.microsoft.com/rest/api/compute/resource-skus/list, .../usage/list, .../virtual-machine-images/list and
# https://learn.microsoft.com/rest/api/virtualnetwork/usages/list
_SKUS, _USAGES, _IMAGES, _NETWORK = "2021-07-01", "2024-07-01", "2024-11-01", "2024-05-01"

# Quotas by the names that the usages bear; a family's stands at each size. Spot machines of all families have one.
_ALL_VCPUS, _SPOT_VCPUS = "cores", "lowPriorityCores"
_ADDRESSES = "IPv4StandardSkuPublicIpAddresses"


class _Unmoved(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: the token would go along."""

    def redirect_request(self, *_: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_Unmoved)


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What the subscription answers before anything is made. `image` has the version that is the newest today."""

    subscription: str
    size: str
    image: images.AzureImage

    @classmethod
    def of(cls, settings: SeminarSettings, machines: int) -> Survey:
        """Ask. Raises SettingsError with every fault at once."""
        size = sizes.machine_type(settings.cloud, settings.size, settings.machine_type)
        image = images.azure_image(settings.image)
        assert image is not None, "settings.py let it through"
        who = ask("Azure", "who you are", settings, authorization.get_client_config)
        subscription = _Subscription.signed_in(who.subscription_id)
        if subscription is None:
            return cls(subscription=who.subscription_id, size=size, image=image)
        told = subscription.size(size, settings.region)
        faults = _faults_of_size(settings, size, told)
        if told and not faults:
            faults += _faults_of_quota(settings, size, told, machines, subscription)
        version, image_faults = _version(settings, image, subscription)
        if faults + image_faults:
            raise SettingsError(faults + image_faults)
        return cls(subscription=who.subscription_id, size=size, image=replace(image, version=version))


def same_place(settings: SeminarSettings, subscription: str, known: list[str]) -> str:
    """The region of a group, given its id and region. Raises RunError where the settings mean another place."""
    id_, location = known
    made_in = id_.split("/")[2]
    where = f"Pulumi.{settings.seminar}.yaml: seminar:region"
    if location.lower().replace(" ", "") != settings.region:
        raise pulumi.RunError(
            f"{where} is {settings.region}, and this seminar's machines are in {location}; expected {location}. "
            "To move them, which makes them anew and empty, `pulumi destroy` first."
        )
    if made_in.lower() != subscription.lower():
        raise pulumi.RunError(
            f"You are signed in to the subscription {subscription}, and this seminar's machines are in {made_in}; "
            f"`az account set --subscription {made_in}`, or set ARM_SUBSCRIPTION_ID, and run this again."
        )
    return location


@dataclass(frozen=True)
class _Subscription:
    """A subscription that answers questions. Each answers None, and warns, where Azure does not."""

    id: str
    token: Secret

    @classmethod
    def signed_in(cls, id_: str) -> _Subscription | None:
        try:
            return cls(id_, Secret(authorization.get_client_token().token))
        except Exception as error:  # the SDK raises no other kind
            pulumi.log.warn(_unasked("anything", error))
            return None

    def size(self, name: str, region: str) -> dict[str, Any] | None:
        """What a size is in a region: {} where there is no such size."""
        path, only = "Microsoft.Compute/skus", f"location eq '{region}'"
        found = self._list("which sizes there are", path, **{"api-version": _SKUS, "$filter": only})
        if found is None:
            return None
        machines = (each for each in found if each["resourceType"] == "virtualMachines")
        return next((each for each in machines if each["name"].lower() == name.lower()), {})

    def limits(self, provider: str, version: str, region: str) -> dict[str, int]:
        """The quotas of a region by their names in lower case; none where Azure does not tell."""
        path = f"{provider}/locations/{region}/usages"
        found = self._list(f"the quotas of {provider}", path, **{"api-version": version})
        return {each["name"]["value"].lower(): int(each["limit"]) for each in found or []}

    def versions(self, image: images.AzureImage, region: str) -> list[str] | None:
        """The versions of an image in a region, the newest last."""
        path = f"Microsoft.Compute/locations/{region}/publishers/{image.publisher}/artifacttypes/vmimage"
        path += f"/offers/{image.offer}/skus/{image.sku}/versions"
        found = self._list("which versions the image has", path, **{"api-version": _IMAGES})
        return None if found is None else sorted((each["name"] for each in found), key=_order)

    def _list(self, what: str, path: str, **query: str) -> list[Any] | None:
        found: list[Any] = []
        url: str | None = f"{MANAGEMENT}/subscriptions/{self.id}/providers/{path}?{urlencode(query)}"
        try:
            while url and url.startswith(f"{MANAGEMENT}/"):  # the token goes nowhere else
                request = urllib.request.Request(url, headers={"Authorization": f"Bearer {self.token!s}"})
                with _OPENER.open(request, timeout=_SECONDS) as response:
                    page = json.load(response)
                found += page if isinstance(page, list) else page["value"]
                url = None if isinstance(page, list) else page.get("nextLink")
        except (OSError, ValueError, KeyError, TypeError) as error:
            pulumi.log.warn(_unasked(what, error))
            return None
        return found


def _unasked(what: str, error: Exception) -> str:
    return f"Azure did not say {what}, so this is not checked before anything is made: {sentence(error)}"


def _faults_of_size(settings: SeminarSettings, size: str, told: dict[str, Any] | None) -> list[str]:
    """Whether the region has the size for this subscription, and whether the images run on it."""
    if told is None:
        return []
    where = f"Pulumi.{settings.seminar}.yaml: seminar:{'machine-type' if settings.machine_type else 'size'}"
    closed = [each["reasonCode"] for each in told.get("restrictions", []) if each["type"] == "Location"]
    if not told or closed:
        why = f" ({', '.join(closed)})" if closed else ""
        return [
            f"{where} means {size}, which {settings.region} does not offer to this subscription{why}; expected another "
            "size or region."
        ]
    processor = _capability(told, "CpuArchitectureType")
    if processor not in ("", "x64"):
        return [
            f"{where} means {size}, whose processor is {processor}; expected a size with x64, for which the images are "
            "made."
        ]
    return []


def _faults_of_quota(
    settings: SeminarSettings, size: str, told: dict[str, Any], machines: int, subscription: _Subscription
) -> list[str]:
    """Whether the subscription may have so many of a size. What else runs in it is not counted."""
    vcpus = machines * int(_capability(told, "vCPUs") or 0)
    limits = subscription.limits("Microsoft.Compute", _USAGES, settings.region)
    limits |= subscription.limits("Microsoft.Network", _NETWORK, settings.region)
    of_vcpus = (_SPOT_VCPUS,) if settings.spot else (told["family"], _ALL_VCPUS)
    needs = [*[(name, vcpus, "vCPUs") for name in of_vcpus], (_ADDRESSES, machines, "public addresses")]
    return [
        f"{machines} machines of size {size} need {needed} {unit}, and this subscription's quota in {settings.region} "
        f"is {limits[name.lower()]}: ask for more of {name}; docs/azure.md says how."
        for name, needed, unit in needs
        if limits.get(name.lower(), needed) < needed
    ]


def _version(settings: SeminarSettings, image: images.AzureImage, subscription: _Subscription) -> tuple[str, list[str]]:
    """The version that new machines begin with, and what is wrong with the one that is wanted."""
    found = subscription.versions(image, settings.region)
    if found is None:
        return image.version, []
    if image.version == "latest" and found:
        return found[-1], []
    if image.version in found:
        return image.version, []
    named = f"{image.publisher}:{image.offer}:{image.sku}:{image.version}"
    there = f"it has {', '.join(found[-3:])}" if found else "it has none of this publisher, offer and sku"
    return image.version, [
        f"Pulumi.{settings.seminar}.yaml: seminar:image {named} was not found in {settings.region}; {there}."
    ]


def _capability(told: dict[str, Any], name: str) -> str:
    return next((str(each["value"]) for each in told.get("capabilities", []) if each["name"] == name), "")


def _order(version: str) -> tuple[int, ...]:
    return tuple(int(part) if part.isdigit() else -1 for part in version.split("."))
