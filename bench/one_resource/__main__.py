"""The smallest program that the engines run: one dynamic resource that does nothing."""

from typing import Any

from pulumi.dynamic import CreateResult, Resource, ResourceProvider


class _NothingProvider(ResourceProvider):
    serialize_as_secret_always = False

    def create(self, _props: dict[str, Any]) -> CreateResult:
        return CreateResult("nothing", {})


class Nothing(Resource, name="Nothing"):
    """Made at once, never changed."""


Nothing(_NothingProvider(), "nothing", {})
