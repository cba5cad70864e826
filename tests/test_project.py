"""The project around the code: examples in the documentation run, links lead somewhere, versions agree, public names are explained."""

from __future__ import annotations

import doctest
import importlib
import inspect
import re
import sys
import tomllib
import types
from pathlib import Path
from typing import Any

import pytest

import lamarck

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
PAGE_IDS = [str(page.relative_to(ROOT)) for page in PAGES]

NO_EXAMPLE_NEEDED = {
    "ActiveInterval": "a training function gets one from its worker; the example is Worker's",
    "Cohort": "comes from Population.cohort; the examples are the exploit strategies'",
    "Copy": "a row of History.copies: plain data",
    "Exploit": "abstract: the strategies are the examples",
    "Explore": "abstract: the strategies are the examples",
    "Failure": "a message that engines make: plain data",
    "Interval": "a message that the machine makes: plain data",
    "Checkpoints": "abstract: the stores are the examples",
    "Journal": "abstract: the journals are the examples",
    "Member": "a part of Population: plain data",
    "Piece": "a part of Schedule, whose example shows it",
    "Population": "a fold over events; the example is PBT's",
    "Record": "a row of History.records: plain data",
    "Settings": "plain data; the example is PBT's",
    "connect": "needs a server: the example is in docs/service.md",
    "load": "reads a run from a disk: the example is in the README",
    "open_run": "reads a run from a disk: the example is in the README",
    "resume": "goes on with a run from a disk: the example is in the README",
}
"""Public names without a runnable example, and why."""


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def slug(heading: str) -> str:
    text = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
    return re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", text)).strip("-")


def without_code(page: Path) -> str:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"`[^`\n]*`", "", text)


def anchors(page: Path) -> set[str]:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return {slug(heading) for heading in re.findall(r"^#+ +(.*?)\s*$", text, re.MULTILINE)}


# ---- examples -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=PAGE_IDS)
def test_examples_in_pages_run(page: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Python blocks run one after the other, like cells; blocks with prompts also have to print what they show."""
    module = types.ModuleType("page")  # a real one, because dataclasses look theirs up
    monkeypatch.setitem(sys.modules, "page", module)
    namespace = vars(module)
    for block in blocks(page, "python"):
        exec(compile(block, str(page), "exec"), namespace)
    parser, runner = doctest.DocTestParser(), doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    for block in blocks(page, "pycon"):
        runner.run(parser.get_doctest(block, namespace, page.name, str(page), 0), clear_globs=False)
    assert runner.summarize(verbose=False).failed == 0, capsys.readouterr().out


def test_the_readme_begins_with_an_example_of_ten_lines(capsys: pytest.CaptureFixture[str]) -> None:
    example = blocks(ROOT / "README.md", "python")[0]
    namespace: dict[str, Any] = {"__name__": "__readme__"}
    exec(compile(example, "README.md", "exec"), namespace)
    assert sum(bool(line.strip()) and not line.startswith(("import ", "from ")) for line in example.splitlines()) <= 11
    assert capsys.readouterr().out == blocks(ROOT / "README.md", "text")[1], "it prints what the page says that it prints"
    settings = {"population_size": 16, "interval": 50, "steps": 1000, "mode": "min"}
    history = namespace["lk"].run(namespace["train"], namespace["history"].space, exploit=namespace["lk"].exploit.Never(), **settings)
    assert f"get to {history.best.value:.3f}." in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_readme_names_the_two_commands_first() -> None:
    head = (ROOT / "README.md").read_text(encoding="utf-8").split("\n## ")[0]
    for script in ("scripts/demo", "scripts/test"):
        assert script in head
        assert (ROOT / script).stat().st_mode & 0o111, f"{script} cannot be executed"


# ---- links --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=PAGE_IDS)
def test_internal_links_lead_somewhere(page: Path) -> None:
    dead = []
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path) if path else page
        if not there.exists() or (anchor and anchor not in anchors(there)):
            dead.append(target)
    assert not dead, f"{page.name} links to {dead}"


def test_every_page_is_in_the_menu() -> None:
    menu = set(re.findall(r"^ +- .*?: (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE))
    assert menu == {str(page.relative_to(ROOT / "docs")) for page in ROOT.glob("docs/**/*.md")}


def test_the_floors_of_the_house_are_drawn_as_the_linter_checks_them() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = project["tool"]["importlinter"]["contracts"][0]["layers"]
    assert "\n".join(layers) + "\n" in blocks(ROOT / "docs" / "design.md", "text")


def test_every_room_is_described() -> None:
    rooms = {path.stem for path in (ROOT / "src" / "lamarck").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    described = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    missing = [room for room in sorted(rooms) if not re.search(rf"\b{room}(\.py|/)", described)]
    assert not missing, f"docs/design.md does not say what {missing} are for"


# ---- versions -----------------------------------------------------------------------------------------------------------------------


def test_the_version_is_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert lamarck.__version__ == project["version"]
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## \[(.+?)\](?: - (\d{4}-\d\d-\d\d))?$", changes, re.MULTILINE)
    released = [version for version, _ in headings if version != "Unreleased"]
    assert released[:1] == [project["version"]], "the changelog begins with the version in pyproject.toml"
    assert all(date for version, date in headings if version != "Unreleased")
    sections = set(re.findall(r"^### (.+)$", changes, re.MULTILINE))
    assert sections <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_pytorch_is_pinned_to_one_version() -> None:
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").split()
    assert [pin for pin in pins if pin.startswith("torch")] == ["torch==2.13.0"]


# ---- public names -------------------------------------------------------------------------------------------------------------------


def explained() -> list[str]:
    """Dotted names of everything public: the package's names, and what the strategy packages list."""
    names = [f"lamarck.{name}" for name in ("__version__", *lamarck._HOME, *lamarck._MODULES)]
    for package in ("exploit", "explore"):
        names += [f"lamarck.{package}.{name}" for name in importlib.import_module(f"lamarck.{package}").__all__]
    return names


def found(dotted: str) -> Any:
    thing: Any = lamarck
    for part in dotted.split(".")[1:]:
        thing = getattr(thing, part)
    return thing


@pytest.mark.parametrize("dotted", explained())
def test_public_names_have_a_docstring_with_an_example(dotted: str) -> None:
    thing, name = found(dotted), dotted.rpartition(".")[2]
    if not (inspect.isclass(thing) or inspect.isfunction(thing)):
        return  # constants, aliases and modules
    assert inspect.getdoc(thing), f"{dotted} has no docstring"
    if inspect.isclass(thing) and issubclass(thing, Exception):
        return  # an error is met, not made
    example = ">>> " in (thing.__doc__ or "")
    if name in NO_EXAMPLE_NEEDED:
        assert not example, f"{dotted} has an example now: take it off the list"
    else:
        assert example, f"{dotted} has no runnable example in its docstring"


def test_the_list_of_exceptions_names_only_what_there_is() -> None:
    assert set(NO_EXAMPLE_NEEDED) <= {dotted.rpartition(".")[2] for dotted in explained()}


def test_every_public_name_is_in_the_reference() -> None:
    shown: list[Any] = []
    for dotted in re.findall(r"^::: (lamarck\.\S+)", (ROOT / "docs" / "reference.md").read_text(encoding="utf-8"), re.MULTILINE):
        home, _, name = dotted.rpartition(".")
        module = importlib.import_module(home)
        assert hasattr(module, name), f"the reference names {dotted}, which is not there"
        shown.append(getattr(module, name))
    missing = [dotted for dotted in explained() if not any(found(dotted) is thing for thing in shown)]
    missing = [dotted for dotted in missing if not inspect.ismodule(found(dotted)) and dotted != "lamarck.__version__"]
    assert not missing, f"docs/reference.md lacks {missing}"


# ---- scripts ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("script", ["scripts/test", "scripts/demo", "scripts/lint", "scripts/docs", ".ci/run"])
def test_scripts_can_be_executed(script: str) -> None:
    path = ROOT / script
    assert path.stat().st_mode & 0o111, f"{script} cannot be executed"
    assert path.read_text(encoding="utf-8").startswith("#!/usr/bin/env bash\n")
