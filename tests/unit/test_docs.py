"""The README and docs/: every command is valid or says why it is not run, every file and link exists."""

import importlib.util
import os
import re
import shlex
import subprocess
import tomllib
from functools import cache
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipelines import cli
from pipelines.verbs import VERBS

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"(?:<!-- not run: (?P<reason>.+?) -->\n)?```bash\n(?P<code>.*?)```", re.DOTALL)
RECORDER = r"""
record() { printf '%s\0' "$@" >&3; printf '\1' >&3; }
command_not_found_handle() { record "$@"; }
for name in m3l make python ray serve touch; do eval "$name() { record $name \"\$@\"; }"; done
PATH=/nowhere
"""


def commands(code: str) -> list[list[str]]:
    """Every command of a bash block with its arguments, as bash itself expands them; nothing is run."""
    read, write = os.pipe()
    code = code.replace(".venv/bin/", "")  # a path would be run, not recorded
    script = f"exec 3>&{write}\n{RECORDER}\n{code}\nwait"
    done = subprocess.run(["bash", "-c", script], pass_fds=[write], cwd="/", capture_output=True, text=True)
    os.close(write)
    with os.fdopen(read) as recorded:
        text = recorded.read()
    assert not done.stderr, done.stderr
    return [command.split("\0")[:-1] for command in text.split("\1")[:-1]]


def blocks() -> list[object]:
    return [
        pytest.param(
            match["code"], match["reason"], id=f"{page.name}:{page.read_text()[: match.start()].count(chr(10)) + 1}"
        )
        for page in PAGES
        for match in BLOCK.finditer(page.read_text())
    ]


@pytest.mark.parametrize(("code", "reason"), blocks())
def test_every_command_is_valid_or_its_block_says_why_it_is_not_run(code, reason):
    recorded = commands(code)
    assert recorded, "a block without commands"
    for command in recorded:
        if not check(command):
            assert reason, f"{shlex.join(command)}: cannot be checked; put `<!-- not run: REASON -->` before its block"


def check(command: list[str]) -> bool:
    """Assert that a command is valid; False if it is one that this test knows nothing about."""
    match command:
        case ["m3l", verb, *arguments]:
            return check_verb(verb, arguments)
        case ["make", *arguments]:
            return check_make(arguments)
        case ["python" | "python3.11", "-m", module, *arguments] if module != "venv":
            assert importlib.util.find_spec(module), f"no module {module}"
            package, _, verb = module.partition(".")
            return package != "pipelines" or check_verb(verb.replace("_", "-"), arguments)
        case ["ray", "job", "submit", *arguments]:
            check(arguments[arguments.index("--") + 1 :])
    return False


def check_verb(verb: str, arguments: list[str]) -> bool:
    assert verb in VERBS, f"no verb {verb}"
    if any(word.endswith("best.yaml") for word in arguments):
        return False  # written by `m3l tune`
    result = CliRunner().invoke(cli.app, [verb, *arguments, "--print-config"])
    assert result.exit_code == 0, f"m3l {shlex.join([verb, *arguments])}: {result.exception or result.output}"
    return True


def check_make(arguments: list[str]) -> bool:
    targets = [word for word in arguments if "=" not in word]
    assert set(targets) <= make_targets(), f"no such target: {targets}"
    clean = {"PATH": os.environ["PATH"]}  # no variables of a make that runs this test
    planned = subprocess.run(
        ["make", "-n", *arguments], cwd=ROOT, env=clean, capture_output=True, text=True, check=True
    )
    for line in planned.stdout.replace("\\\n", " ").splitlines():
        if line.startswith(".venv/bin/m3l "):
            check(["m3l", *shlex.split(line)[1:]])
    return True


@cache
def make_targets() -> frozenset[str]:
    return frozenset(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_inside_a_sentence_name_verbs_and_targets_that_exist(page):
    prose = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for verb in re.findall(r"`m3l ([a-z][\w-]*)", prose):
        assert verb in VERBS, verb
    for target in re.findall(r"`make ([\w-]+)", prose):
        assert target in make_targets(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_file_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
        assert "://" in target or (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_path_in_the_text_exists(page):
    prose = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for path in re.findall(r"`((?:m3l|pipelines|serve_app|tests|docs|cluster)/[\w./-]+)`", prose):
        assert "NAME" in path or (ROOT / path).exists(), path


def test_the_tree_in_the_readme_is_that_of_the_repository():
    text = (ROOT / "README.md").read_text()
    tree = re.search(r"## Tree\n\n```\n(.*?)```", text, re.DOTALL)
    assert tree
    folder, listed = ROOT, set()
    for line in tree[1].splitlines():
        name = line.split()[0]
        if not line.startswith(" "):
            folder = ROOT / name
        path = ROOT / name if not line.startswith(" ") else folder / name
        assert path.is_dir() if name.endswith("/") else path.is_file(), line
        listed.add(path)
    packages = {path.parent for package in ("m3l", "pipelines") for path in (ROOT / package).glob("*/__init__.py")}
    assert packages <= listed, "a package is missing in the tree"


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 130


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_versions_in_commands_are_those_of_pyproject(page):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = {*project["dependencies"], *(pin for extra in project["optional-dependencies"].values() for pin in extra)}
    assert set(re.findall(r"\b[a-z]\w*==\d[\w.]*", page.read_text())) <= pinned


def test_the_lock_file_has_every_pinned_version_with_hashes():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    lock = (ROOT / "requirements.lock").read_text()
    hashed = re.findall(r"^([\w.-]+)==(\S+).*\\\n    --hash=sha256:", lock, re.MULTILINE)
    assert len(hashed) == len(re.findall(r"^\w", lock, re.MULTILINE)), "an entry without a hash"
    locked = dict(hashed)
    for pin in (*project["dependencies"], *extras["dev"], *extras["docs"]):
        name, version = re.sub(r"\[.*\]", "", pin).split("==")
        assert locked[name.lower().replace("_", "-")] == version, f"{pin}: run `make lock`"
