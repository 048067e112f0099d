"""The pages of the documentation: their code blocks and their links."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"


def blocks_of(page: Path, info: str) -> list[str]:
    """Return the code blocks of a page that are marked with exactly these words."""
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```{info}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def links_of(page: Path) -> list[Path]:
    """Return the files that a page links to."""
    targets = re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text(encoding="utf-8"))
    return [(page.parent / target).resolve() for target in targets]


def run_blocks(page: Path, names: dict) -> None:
    """Run the Python blocks of a page in order, each with the names of those before it."""
    for block in blocks_of(page, "python"):
        exec(compile(block, str(page), "exec"), names)
