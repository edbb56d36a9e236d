"""Configuration of the Sphinx documentation."""

from importlib import metadata

project = "mjasync"
author = "The mjasync founders"
project_copyright = f"2026, {author}"
release = metadata.version("mjasync")
version = release.rpartition(".")[0]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"
napoleon_google_docstring = True
napoleon_numpy_docstring = False

html_theme = "furo"
html_title = f"mjasync {release}"
