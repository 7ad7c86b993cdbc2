"""What Azure is asked before anything is made there: who asks, size, quota, image. Declares nothing.

Pulumi's SDK answers the first; for the rest it hands out a token for Azure's own API, where each question is one GET.
What Azure does not tell is warned of and left open, as not every organiser may ask everything; what it tells counts.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, replace
from http.client import HTTPException
from typing import Any, TypeVar
from urllib.error import HTTPError
from urllib.parse import urlencode, urlsplit

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
_ADDRESSES = ("IPv4StandardSkuPublicIpAddresses", "PublicIPAddresses")  # the second counts those of every kind


# What a request or an answer that is not as it should be raises: each is told, and stops nobody.
_UNANSWERED = (OSError, HTTPException, ValueError, LookupError, TypeError, AttributeError)

Answer = TypeVar("Answer")


class _Unmoved(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: the token would go along."""

    def redirect_request(self, *_: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_Unmoved)


@dataclass(frozen=True, kw_only=True)
class _Size:
    """A size in a region. Where it is not offered to this subscription, `why` has Azure's codes for it, if any."""

    offered: bool
    why: tuple[str, ...] = ()
    family: str = ""
    vcpus: int = 0
    processor: str = "x64"

    @classmethod
    def from_azure(cls, told: dict[str, Any]) -> _Size:
        able = {each["name"]: str(each["value"]) for each in told["capabilities"]}
        why = tuple(each["reasonCode"] for each in told.get("restrictions", []) if each["type"] == "Location")
        return cls(
            offered=not why,
            why=why,
            family=told["family"],
            vcpus=int(able["vCPUs"]),
            processor=able.get("CpuArchitectureType", "x64"),
        )


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
        who = ask("Azure", "who you are", authorization.get_client_config)
        subscription = _Subscription.signed_in(who.subscription_id)
        if subscription is None:
            return cls(subscription=who.subscription_id, size=size, image=image)
        told = subscription.size(size, settings.region)
        faults = _faults_of_size(settings, size, told)
        if not faults:
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

    def size(self, name: str, region: str) -> _Size | None:
        """What a size is in a region."""
        path, only = "Microsoft.Compute/skus", f"location eq '{region}'"

        def read(found: list[Any]) -> _Size:
            machines = (each for each in found if each["resourceType"] == "virtualMachines")
            named = (_Size.from_azure(each) for each in machines if each["name"].lower() == name.lower())
            return next(named, _Size(offered=False))

        return self._ask("which sizes there are", path, read, {"api-version": _SKUS, "$filter": only})

    def limits(self, provider: str, version: str, region: str) -> dict[str, int]:
        """The quotas of a region by their names in lower case; none where Azure does not tell."""
        path = f"{provider}/locations/{region}/usages"

        def read(found: list[Any]) -> dict[str, int]:
            return {each["name"]["value"].lower(): int(each["limit"]) for each in found}

        return self._ask(f"the quotas of {provider}", path, read, {"api-version": version}) or {}

    def versions(self, image: images.AzureImage, region: str) -> list[str] | None:
        """The versions of an image in a region, the newest last: none where there is no such image."""
        path = f"Microsoft.Compute/locations/{region}/publishers/{image.publisher}/artifacttypes/vmimage"
        path += f"/offers/{image.offer}/skus/{image.sku}/versions"

        def read(found: list[Any]) -> list[str]:
            return sorted((each["name"] for each in found), key=_order)

        # What Azure answers for a publisher, offer or sku that is not there: "Artifact: VMImage was not found."
        return self._ask("which versions the image has", path, read, {"api-version": _IMAGES}, none_is="NotFound")

    def _ask(
        self,
        what: str,
        path: str,
        read: Callable[[list[Any]], Answer],
        query: dict[str, str],
        *,
        none_is: str = "",
    ) -> Answer | None:
        try:
            return read(self._list(path, query, none_is))
        except _UNANSWERED as error:
            pulumi.log.warn(_unasked(what, error))
            return None

    def _list(self, path: str, query: dict[str, str], none_is: str) -> list[Any]:
        """Every page of an answer; none where Azure refuses with the code `none_is`."""
        found: list[Any] = []
        url: str | None = f"{MANAGEMENT}/subscriptions/{self.id}/providers/{path}?{urlencode(query)}"
        while url:
            if _server(url) != _server(MANAGEMENT):  # the token goes nowhere else
                raise ValueError(f"the answer goes on at {_server(url)[1]}, which is not asked")
            request = urllib.request.Request(url, headers={"Authorization": f"Bearer {self.token!s}"})
            try:
                with _OPENER.open(request, timeout=_SECONDS) as response:
                    page = json.load(response)
            except HTTPError as error:
                code, message = _refusal(error)
                if code and code == none_is:
                    return []
                raise OSError(message) from error
            found += page if isinstance(page, list) else page["value"]
            url = None if isinstance(page, list) else page.get("nextLink")
        return found


def _server(url: str) -> tuple[str, str | None, int]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or 443


def _unasked(what: str, error: Exception) -> str:
    return f"Azure did not say {what}, so this is not checked before anything is made: {_reason(error)}"


def _refusal(error: HTTPError) -> tuple[str, str]:
    """The code of a refusal, and Azure's sentence, which names the right that is missing; else Python's."""
    try:
        told = json.load(error)["error"]
        return str(told["code"]), str(told["message"])
    except _UNANSWERED:
        return "", str(error)


def _reason(error: Exception) -> str:
    if isinstance(error, (json.JSONDecodeError, LookupError, TypeError, AttributeError)):
        return f"the answer is not as documented ({type(error).__name__}: {error})."
    return sentence(error)


def _faults_of_size(settings: SeminarSettings, size: str, told: _Size | None) -> list[str]:
    """Whether the region has the size for this subscription, and whether the images run on it."""
    where = f"Pulumi.{settings.seminar}.yaml: seminar:{'machine-type' if settings.machine_type else 'size'}"
    if told is None:
        return []
    if not told.offered:
        why = f" ({', '.join(told.why)})" if told.why else ""
        return [
            f"{where} means {size}, which {settings.region} does not offer to this subscription{why}; expected another "
            "size or region."
        ]
    if told.processor != "x64":
        return [
            f"{where} means {size}, whose processor is {told.processor}; expected a size with x64, for which the "
            "images are made."
        ]
    return []


def _faults_of_quota(
    settings: SeminarSettings, size: str, told: _Size | None, machines: int, subscription: _Subscription
) -> list[str]:
    """Whether the subscription may have so many of a size. What else runs in it is not counted."""
    limits = subscription.limits("Microsoft.Network", _NETWORK, settings.region)
    needs = [(name, machines, "public addresses") for name in _ADDRESSES]
    if told is not None:
        limits |= subscription.limits("Microsoft.Compute", _USAGES, settings.region)
        names = (_SPOT_VCPUS,) if settings.spot else (told.family, _ALL_VCPUS)
        needs = [*[(name, machines * told.vcpus, "vCPUs") for name in names], *needs]
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


def _order(version: str) -> tuple[int, ...]:
    return tuple(int(part) if part.isdigit() else -1 for part in version.split("."))
