"""The pages for readers: their links lead somewhere, and the map of the house stays a map."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
LINK = re.compile(r"\]\(([^)#:]+)\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    broken = [link for link in LINK.findall(page.read_text(encoding="utf-8")) if not (page.parent / link).exists()]
    assert not broken


def test_each_answer_of_the_architecture_names_at_most_three_files() -> None:
    _, *answers = re.split(r"^## ", (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert len(answers) == 3
    for answer in answers:
        files = [link for link in LINK.findall(answer) if link.endswith(".py")]
        assert 1 <= len(files) <= 3, answer
