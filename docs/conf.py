"""Configuration of Sphinx."""

import os
import re
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx

from ignite_lrfinder import __version__

project = "ignite-lrfinder"
author = "The ignite-lrfinder developers"
copyright = author
version = release = __version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
exclude_patterns = ["_build"]

nb_execution_mode = "off"  # notebooks are stored with outputs; the tests run the code of the pages
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

# Single backticks mark code, and link to the object if it is documented here.
default_role = "py:obj"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_typehints_format = "short"
maximum_signature_line_length = 80
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

# Links into other projects need inventories from the network. A build must work offline, so the
# inventories are loaded only on Read the Docs, or on request.
if os.environ.get("READTHEDOCS") or os.environ.get("DOCS_INTERSPHINX"):
    intersphinx_mapping = {
        "ignite": ("https://docs.pytorch.org/ignite/", None),
        "matplotlib": ("https://matplotlib.org/stable/", None),
        "numpy": ("https://numpy.org/doc/stable/", None),
        "python": ("https://docs.python.org/3/", None),
        "torch": ("https://docs.pytorch.org/docs/stable/", None),
    }

html_theme = "furo"
html_title = project
html_static_path = ["_static"]
html_css_files = ["custom.css"]
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True


def shorten_types(app: Sphinx, domain: str, objtype: str, content: nodes.Element) -> None:
    """Write the types of parameters and attributes without their modules."""
    for field in content.findall(nodes.field):
        name, body = field.children
        if name.astext().partition(" ")[0] in ("rtype", "type", "vartype"):
            for text in list(body.findall(nodes.Text)):
                text.parent.replace(text, nodes.Text(short(text.astext())))


def short(annotation: str) -> str:
    """Shorten NumPy's array types, and mark other names to be shown without a module."""
    annotation = re.sub(r"[~.\w]*ndarray\[.*?dtype\[[~.\w]*?(\w+)\]\]", r"NDArray[\1]", annotation)
    # Sphinx does not process the mark after a `Literal`.
    mark = "" if "Literal" in annotation else "~"
    return re.sub(r"~?((?:\w+\.)+)(\w+)", rf"{mark}\1\2" if mark else r"\2", annotation)


def name_attributes(app: Sphinx, doctree: nodes.document) -> None:
    """Label attributes "Attributes", as in the docstrings."""
    for name in doctree.findall(nodes.field_name):
        if name.astext() == "Variables":
            name.children = [nodes.Text("Attributes")]


def add_dark_images(app: Sphinx, doctree: nodes.document) -> None:
    """Show `NAME-dark.png` instead of `NAME.png` on dark pages where there is one."""
    folder = Path(doctree["source"]).parent
    for image in list(doctree.findall(nodes.image)):
        path = Path(image["uri"])
        dark = path.with_stem(f"{path.stem}-dark")
        if (folder / dark).is_file():
            copy = image.deepcopy()
            copy["uri"] = dark.as_posix()
            copy["classes"].append("only-dark")
            image["classes"].append("only-light")
            image.parent.insert(image.parent.index(image) + 1, copy)


def copy_notebooks(app: Sphinx) -> None:
    """Copy the notebooks below the source folder, the only place where Sphinx finds pages."""
    folder = Path(app.srcdir, "notebooks")
    folder.mkdir(exist_ok=True)
    for path in Path(app.srcdir).parent.glob("notebooks/*.ipynb"):
        copy = folder / path.name
        if not copy.is_file() or copy.read_bytes() != path.read_bytes():
            copy.write_bytes(path.read_bytes())


def setup(app: Sphinx) -> None:
    """Connect the transformations above."""
    app.connect("builder-inited", copy_notebooks)
    # After autodoc, which inserts the types at the same event.
    app.connect("object-description-transform", shorten_types, priority=900)
    app.connect("doctree-read", name_attributes)
    # Before Sphinx collects the images of a page.
    app.connect("doctree-read", add_dark_images, priority=400)
