"""Who may know whom: stacks/ never sees Fabric, provisioning/ sees little of stacks/, and no cloud's SDK is loaded."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stacks.folders import PROJECT_ROOT

SOURCES = sorted(
    file.relative_to(PROJECT_ROOT)
    for pattern in ("*.py", "stacks/*.py", "provisioning/**/*.py", "rehearsal/*.py", "policies/*.py", "preview/*.py")
    for file in PROJECT_ROOT.glob(pattern)
)
CLOUD_SDKS = {"pulumi_aws", "pulumi_azure_native", "boto3", "azure"}
# They may import their own SDK, for they are imported only when chosen.
BACKENDS = {
    "stacks.aws": "pulumi_aws",
    "stacks.aws_survey": "pulumi_aws",
    "stacks.azure": "pulumi_azure_native",
    "stacks.azure_survey": "pulumi_azure_native",
}
OF_STACKS = {f"stacks.{room}" for room in ("outputs", "errors", "clients", "folders", "loopback", "values")}


def statements(body: list[ast.stmt], *, when_loaded: bool) -> Iterator[ast.Import | ast.ImportFrom]:
    """The imports in this code; with `when_loaded` only those that run when the module is imported."""
    for statement in body:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            yield statement
        elif when_loaded and isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        elif when_loaded and isinstance(statement, ast.If) and ast.unparse(statement.test) == "TYPE_CHECKING":
            yield from statements(statement.orelse, when_loaded=True)
        else:
            for field in ("body", "orelse", "finalbody", "handlers", "cases"):
                inner = getattr(statement, field, [])
                yield from statements(inner, when_loaded=when_loaded)


def imports(source: Path, *, when_loaded: bool = False) -> set[str]:
    """What a file imports, as dotted names: `from stacks import clients` is stacks.clients, and so on."""
    found: set[str] = set()
    tree = ast.parse((PROJECT_ROOT / source).read_text(encoding="utf-8"))
    for statement in statements(tree.body, when_loaded=when_loaded):
        if isinstance(statement, ast.ImportFrom):
            assert statement.level == 0, f"{source}: relative imports are not looked through here"
            found |= {f"{statement.module}.{alias.name}" for alias in statement.names}
        else:
            found |= {alias.name for alias in statement.names}
    return found


def top(name: str) -> str:
    return name.split(".", maxsplit=1)[0]


def room(name: str) -> list[Path]:
    found = [source for source in SOURCES if source.parts[0] == name]
    assert len(found) > 5
    return found


def within(name: str, allowed: set[str]) -> bool:
    return any(name == each or name.startswith(f"{each}.") for each in allowed)


@pytest.mark.parametrize("source", room("stacks"), ids=str)
def test_stacks_never_imports_fabric(source: Path) -> None:
    assert not {top(name) for name in imports(source)} & {
        "fabric",
        "invoke",
        "paramiko",
        "provisioning",
        "policies",
        "preview",
    }


@pytest.mark.parametrize("source", room("provisioning"), ids=str)
def test_provisioning_knows_the_hand_over_alone(source: Path) -> None:
    of_stacks = {name for name in imports(source) if top(name) == "stacks"}
    assert {name for name in of_stacks if not within(name, OF_STACKS)} == set()
    assert not {top(name) for name in imports(source)} & {"pulumi", "rehearsal", "policies", "preview"}


@pytest.mark.parametrize("name", sorted(OF_STACKS))
def test_what_provisioning_imports_loads_no_pulumi(name: str) -> None:
    found = imports(Path(*name.split(".")).with_suffix(".py"), when_loaded=True)
    assert "pulumi" not in {top(each) for each in found}
    assert all(within(each, OF_STACKS) for each in found if top(each) == "stacks")


@pytest.mark.parametrize("source", SOURCES, ids=str)
def test_no_cloud_sdk_is_loaded_unless_chosen(source: Path) -> None:
    found = imports(source, when_loaded=True)
    own = BACKENDS.get(".".join(source.with_suffix("").parts))
    others = {name for name, sdk in BACKENDS.items() if sdk != own}
    assert not {name for name in found if within(name, others)}
    assert {top(name) for name in found} & CLOUD_SDKS <= {own}


def test_fab_list_loads_invoke_alone() -> None:
    assert {top(name) for name in imports(Path("provisioning/tasks.py"), when_loaded=True)} <= {
        *sys.stdlib_module_names,
        "invoke",
    }
    assert imports(Path("provisioning/__init__.py"), when_loaded=True) == {"invoke.Collection", "provisioning.tasks"}


def test_errors_imports_nothing_of_ours() -> None:
    assert {top(name) for name in imports(Path("stacks/errors.py"))} <= set(sys.stdlib_module_names)
