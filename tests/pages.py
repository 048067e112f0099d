"""The pages of the documentation: their code blocks and their links."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"


def module_of(name: str) -> ModuleType:
    """Import a script of the documentation."""
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


outputs = module_of("outputs")


def run_page(page: Path, names: dict) -> None:
    """Run the code of a page in order, and compare what it prints with what the page shows."""
    assert outputs.differences(page, outputs.run(page, names)) == []


def blocks_of(page: Path, info: str) -> list[str]:
    """Return the code blocks of a page that are marked with exactly these words."""
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```{info}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def links_of(page: Path) -> list[Path]:
    """Return the files that a page links to."""
    targets = re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text(encoding="utf-8"))
    return [(page.parent / target).resolve() for target in targets]
