"""Links of the site's pages, which are read in the repository, too."""

import posixpath
import re
from typing import Any

_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)#:]+)(#[^)]*)?\)")


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
