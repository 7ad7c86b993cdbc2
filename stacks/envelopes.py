"""Properties of resources as Pulumi's protocol carries them, opened: secrets in envelopes, whole numbers as floats.

Knows no resource. Whoever opens an envelope has a secret in hand.
"""

from __future__ import annotations

from typing import Any


def plain(value: Any) -> Any:
    """The value without Pulumi's secret envelopes, and with whole floats as the numbers they were."""
    from pulumi.runtime import rpc

    if rpc.is_rpc_secret(value):
        return plain(rpc.unwrap_rpc_secret(value))
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)  # the protocol knows only floats
    return value


def in_clear(value: Any) -> Any:
    """What of the value stands in no secret envelope; None in the place of each that does."""
    from pulumi.runtime import rpc

    if rpc.is_rpc_secret(value):
        return None
    if isinstance(value, dict):
        return {key: in_clear(item) for key, item in value.items()}
    if isinstance(value, list):
        return [in_clear(item) for item in value]
    return plain(value)
