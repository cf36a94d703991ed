"""The status page: what waits, what was delivered, what was withheld and why."""

from importlib import resources
from typing import Final

from gateway.outcome import REASONS
from gateway.pages.templating import ENVIRONMENT

__all__ = ["STYLE", "login_page", "status_page"]

STYLE: Final = (resources.files("gateway.pages") / "templates" / "status.css").read_bytes()


def login_page() -> bytes:
    """The form that asks for the admin token."""
    return ENVIRONMENT.get_template("login.html").render().encode("utf-8")


def status_page(found: dict[str, object]) -> bytes:
    """The page of what `flows.report.status` answers."""
    sentences = {code: reason.sentence for code, reason in REASONS.items()}
    return ENVIRONMENT.get_template("status.html").render(status=found, sentences=sentences).encode("utf-8")
