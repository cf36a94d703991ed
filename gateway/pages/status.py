"""The status page: what waits, what was delivered, what was withheld and why."""

from importlib import resources
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from gateway.outcome import REASONS

__all__ = ["STYLE", "login_page", "status_page"]

_ENVIRONMENT: Final = Environment(
    loader=PackageLoader("gateway.pages"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
STYLE: Final = (resources.files("gateway.pages") / "templates" / "status.css").read_bytes()


def login_page() -> bytes:
    """The form that asks for the admin token."""
    return _ENVIRONMENT.get_template("login.html").render().encode("utf-8")


def status_page(found: dict[str, object]) -> bytes:
    """The page of what `flows.report.status` answers."""
    sentences = {code: reason.sentence for code, reason in REASONS.items()}
    return _ENVIRONMENT.get_template("status.html").render(status=found, sentences=sentences).encode("utf-8")
