"""Templating: how every page is made from its template: escaped by default, and no name may be missing."""

from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined

__all__ = ["ENVIRONMENT"]

ENVIRONMENT: Final = Environment(
    loader=PackageLoader("gateway.pages"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
