"""The body of the request that makes a resource of Azure's, built and checked with the models of Azure's own SDK.

Pulumi takes a resource's `properties` out of their envelope; the models know where each belongs, of what type it is and
which values it may have. A property that they do not know, that only Azure may set, or that is of another type is
refused.
"""

from __future__ import annotations

import re
from typing import Any

from msrest import Serializer
from msrest.exceptions import ValidationError

_PLAIN: dict[str, tuple[type, ...]] = {"str": (str,), "int": (int,), "bool": (bool,), "float": (int, float)}
_ENUM = re.compile(r":(?:vartype|type) (\w+): str or\s+~[\w.]+\.(\w+)")
_OPEN = {"HardwareProfile.vmSize"}  # the models' list of sizes ends in 2020, and they say so


def body(models: Any, kind: str, given: dict[str, Any]) -> dict[str, Any]:
    """What is sent for these inputs. `models` is a module of models, `kind` the name of one. Raises ValueError."""
    sent: dict[str, Any] = _model(models, kind, given).serialize()
    return sent


def _model(models: Any, kind: str, given: dict[str, Any]) -> Any:
    model = getattr(models, kind)
    places = {_last(place["key"]): (name, place["type"]) for name, place in model._attribute_map.items()}
    enums = dict(_ENUM.findall(_docs(model)))
    rules = _rules(model)
    values: dict[str, Any] = {}
    for key, value in given.items():
        if key not in places:
            raise ValueError(f"{kind} has no property {key}")
        name, type_ = places[key]
        if rules.get(name, {}).get("readonly"):
            raise ValueError(f"{kind}.{key} is Azure's alone to set")
        if (
            name in enums
            and f"{kind}.{key}" not in _OPEN
            and value not in {each.value for each in getattr(models, enums[name])}
        ):
            raise ValueError(f"{kind}.{key} can't be {value!r}")
        values[name] = _value(models, f"{kind}.{key}", type_, value)
    for name, rule in rules.items():
        try:
            Serializer.validate(values.get(name), f"{kind}.{name}", **rule)
        except ValidationError as error:
            raise ValueError(str(error)) from error
    return model(**values)


def _value(models: Any, where: str, type_: str, value: Any) -> Any:
    if type_ in _PLAIN:
        if not isinstance(value, _PLAIN[type_]) or (isinstance(value, bool) and type_ != "bool"):
            raise ValueError(f"{where} is {value!r}, which is no {type_}")
        return value
    if type_[0] == "[" and isinstance(value, list):
        return [_value(models, where, type_[1:-1], each) for each in value]
    if type_[0] == "{" and isinstance(value, dict):
        return {key: _value(models, where, type_[1:-1], each) for key, each in value.items()}
    if hasattr(models, type_) and isinstance(value, dict):
        return _model(models, type_, value)
    raise ValueError(f"{where} is {value!r}, which is no {type_}")


def _last(key: str) -> str:
    return key.rsplit(".", maxsplit=1)[-1]


def _docs(model: type) -> str:
    return "\n".join(each.__doc__ or "" for each in model.__mro__)


def _rules(model: type) -> dict[str, Any]:
    return {key: rule for each in reversed(model.__mro__) for key, rule in getattr(each, "_validation", {}).items()}
