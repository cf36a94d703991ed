"""Settings of order webhooks and telephone numbers: what is read, and what refuses to start."""

import tomllib
from pathlib import Path
from typing import Final

import pytest

from gateway.errors import SettingsError
from gateway.settings import Secret, Settings, parse

SITE: Final = """
[[site]]
id = "shop"
hosts = ["t.shop.example"]
"""
HOOK: Final = """
[[site.webhook]]
name = "orders"
adapter = "shopify"
"""


def settings_of(text: str, base: Path, **environment: str) -> Settings:
    return parse(tomllib.loads(SITE + text), environment, base)


def test_a_webhook_has_its_secrets_old_and_new(tmp_path: Path) -> None:
    (webhook,) = settings_of(HOOK + 'secrets = ["old-0123456789", "new-0123456789"]\n', tmp_path).site[0].webhook
    assert webhook.secrets == (Secret("old-0123456789"), Secret("new-0123456789"))
    assert (webhook.name, webhook.adapter, webhook.live, webhook.minimum_call_s) == ("orders", "shopify", True, 60)
    assert "0123456789" not in repr(webhook)


def test_secrets_stand_one_to_a_line_in_a_file_that_others_cannot_read(tmp_path: Path) -> None:
    path = tmp_path / "orders"
    path.write_text("new-0123456789\n\nold-0123456789\n")
    path.chmod(0o600)
    (webhook,) = settings_of(HOOK + 'secrets_file = "orders"\n', tmp_path).site[0].webhook
    assert [secret.reveal() for secret in webhook.secrets] == ["new-0123456789", "old-0123456789"]
    path.chmod(0o644)
    with pytest.raises(SettingsError, match="can be read or written by others"):
        settings_of(HOOK + 'secrets_file = "orders"\n', tmp_path)


def test_secrets_may_be_placed_as_credentials_and_in_the_environment(tmp_path: Path) -> None:
    credential = tmp_path / "shop.orders.secrets"
    credential.write_text("placed-0123456789\n")
    credential.chmod(0o600)
    (webhook,) = settings_of(HOOK, tmp_path, CREDENTIALS_DIRECTORY=str(tmp_path)).site[0].webhook
    assert webhook.secrets == (Secret("placed-0123456789"),)
    overlaid = settings_of(HOOK, tmp_path, GATEWAY__SITE__SHOP__WEBHOOK__ORDERS__SECRETS="a-0123456789,b-0123456789")
    assert len(overlaid.site[0].webhook[0].secrets) == 2


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (HOOK, "at least one is needed"),
        (HOOK + 'secrets = [""]', "one of them is empty"),
        (HOOK + 'secrets = ["change-me"]', "still a placeholder"),
        (HOOK + 'secrets = ["a-0123456789"]\nsecret = "x"', "there is no row secret"),
        (HOOK + 'secrets = ["a-0123456789"]\ncurrency = "eur"', "not an ISO 4217 code"),
        (HOOK.replace("shopify", "magento") + 'secrets = ["a-0123456789"]', "adapter"),
        ((HOOK + 'secrets = ["a-0123456789"]\n') * 2, "this name is used twice"),
        ('webhook = ["orders"]\n', "is a table"),
        ('[[site.number]]\nnumber = "030 123456"\n', "number"),
        ('[[site.number]]\nnumber = "+4930123456"\n' * 2, "stands there twice"),
        ("[site.abandoned]\nminutes = -1\n", "minutes"),
        ('[site.abandoned]\nminutes = 30\ndestination = "sms"\n', "no webhook destination of this name"),
    ],
)
def test_what_cannot_work_refuses_to_start_and_says_why(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(SettingsError, match=problem):
        settings_of(text, tmp_path)
