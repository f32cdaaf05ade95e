"""The README keeps its word: links resolve, nothing is left to fill in, recipes compose."""

import re
import shlex
from pathlib import Path

import pytest

from journeyman.composition import check_jobs
from journeyman.config_folder import parse_command_line

CHECKOUT = Path(__file__).parents[1]
README = (CHECKOUT / "README.md").read_text()
COMMANDS = re.findall(
    r"^(?:\$ )?journeyman ((?!rerun|resume|ui|doctor|sync|\.\.\.).+?)(?:\s+#.*)?$", README, re.M
)


@pytest.mark.parametrize(
    "page",
    sorted(
        path.relative_to(CHECKOUT) for path in (CHECKOUT / "README.md", *CHECKOUT.glob("docs/*.md"))
    ),
    ids=str,
)
def test_every_relative_link_resolves(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", (CHECKOUT / page).read_text()):
        assert (CHECKOUT / page.parent / target).exists(), f"{page} links to {target}"


def test_nothing_is_left_to_fill_in() -> None:
    assert not re.search(r"TRANSCRIPT|TODO|FIXME|XXX", README)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_recipe_composes(command: str) -> None:
    arguments = parse_command_line(shlex.split(command))
    if arguments is not None:
        assert check_jobs(arguments)


def test_the_recipes_were_found() -> None:
    assert len(COMMANDS) >= 6


def test_the_table_of_groups_names_every_option_there_is() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \| ", README, re.M)
    shown = {group: set(re.findall(r"`(\w+)`", options)) for group, options in rows}
    groups = {path.name for path in (CHECKOUT / "conf").iterdir() if path.is_dir()}
    assert set(shown) == groups
    for group in groups:
        files = {path.stem for path in (CHECKOUT / "conf" / group).glob("*.yaml")}
        assert shown[group] == files, group
