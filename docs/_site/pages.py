"""What the site does with pages that are read in the repository, too."""

import posixpath
import re
from pathlib import Path
from typing import Any

# Pages of the navigation that may be missing.
_EXPECTED = {"machines.md", "scaling.md"}
_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)#:]+)(#[^)]*)?\)")


def on_config(config: Any) -> Any:
    """Leave out of the navigation what is not written yet."""
    missing = {page for page in _EXPECTED if not (Path(config["docs_dir"]) / page).exists()}
    config["nav"] = [_without(missing, entry) for entry in config["nav"]]
    return config


def _without(missing: set[str], entry: Any) -> Any:
    if not isinstance(entry, dict):
        return entry
    return {
        title: [one for one in inside if not (isinstance(one, dict) and missing.intersection(one.values()))]
        if isinstance(inside, list)
        else inside
        for title, inside in entry.items()
    }


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Any) -> str:
    """Lead links to files outside the folder to where the repository is shown; without such a place, name the file."""
    here = posixpath.dirname(page.file.src_uri)

    def lead(found: re.Match[str]) -> str:
        text, target, anchor = found[1], found[2], found[3] or ""
        path = posixpath.normpath(posixpath.join("docs", here, target))
        if path.startswith("docs/"):
            return found[0]
        source = config["extra"]["source"]
        if source:
            return f"[{text}]({source.rstrip('/')}/{path}{anchor})"
        plain = text.replace("`", "")
        return text if plain == path or path.endswith(f"/{plain}") else f"{text} (`{path}`)"

    return _LINK.sub(lead, markdown)
