"""Keys: API keys are made, listed, revoked and rotated; root keys are rotated and dropped."""

from typing import TYPE_CHECKING

from gateway import access, vault
from gateway.caller import RIGHTS, SENDING_RIGHTS, ApiKey
from gateway.errors import Refusal
from gateway.times import utc_text

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.clock import Clock
    from gateway.entropy import Entropy
    from gateway.flows.house import House

__all__ = ["create", "drop_root", "listed", "load", "revoke", "roots", "rotate", "rotate_root"]


async def load(house: "House") -> None:
    """Read the API keys into memory: server calls are checked against that."""
    house.api_keys = {key.id: key for key in await house.store.api_keys()}


async def listed(house: "House") -> list[dict[str, object]]:
    """Every API key, without its secret."""
    return [_shown(key) for key in await house.store.api_keys()]


def _shown(key: ApiKey) -> dict[str, object]:
    return {
        "id": key.id,
        "title": key.title,
        "sites": list(key.sites),
        "rights": list(key.rights),
        "must_sign": key.must_sign,
        "created_at": utc_text(key.created_at_ms),
        "revoked_at": utc_text(key.revoked_at_ms) if key.revoked_at_ms is not None else None,
    }


async def create(
    house: "House", *, title: str, sites: tuple[str, ...], rights: tuple[str, ...], must_sign: bool
) -> dict[str, object]:
    """Make an API key. Its text and its signing secret are in the answer and nowhere else. Raises Refusal."""
    sites = sites or tuple(house.by_id)
    rights = rights or SENDING_RIGHTS
    if any(site not in house.by_id for site in sites):
        raise Refusal("field_invalid", "sites")
    if any(right not in RIGHTS for right in rights):
        raise Refusal("field_invalid", "rights")
    made = access.make_key(
        house.entropy.token_bytes(40),
        title=title[:80],
        sites=sites,
        rights=rights,
        must_sign=must_sign,
        now_ms=house.clock.now_ms(),
    )
    await house.store.put_api_key(made.row)
    house.api_keys[made.row.id] = made.row
    secret = access.signing_secret(house.vault.api_secrets(made.row.id)[0])
    return {"key": made.text, "signing_secret": secret, **_shown(made.row)}


async def revoke(house: "House", key_id: str) -> dict[str, object]:
    """Revoke an API key at once. Raises Refusal when there is no such key or it is revoked already."""
    if not await house.store.revoke_api_key(key_id, house.clock.now_ms()):
        raise Refusal("field_invalid", "id")
    await load(house)
    return _shown(house.api_keys[key_id])


async def rotate(house: "House", key_id: str) -> dict[str, object]:
    """Make a key like an existing one. The old one goes on working until it is revoked. Raises Refusal."""
    old = house.api_keys.get(key_id)
    if old is None or old.revoked_at_ms is not None:
        raise Refusal("field_invalid", "id")
    return await create(house, title=old.title, sites=old.sites, rights=old.rights, must_sign=old.must_sign)


def roots(path: "Path") -> list[dict[str, object]]:
    """Every root key, without its secret, oldest to newest for each use."""
    keys = vault.read_key_file(path)
    return [
        {"use": use, "id": key.id, "created_at": utc_text(key.created_at_ms), "newest": key is getattr(keys, use)[-1]}
        for use in vault.USES
        for key in getattr(keys, use)
    ]


def rotate_root(path: "Path", use: str, clock: "Clock", entropy: "Entropy") -> list[dict[str, object]]:
    """Add a root key for one use. Takes effect at the next start. Raises Refusal for a use that cannot be rotated."""
    try:
        vault.write_key_file(path, vault.rotate(vault.read_key_file(path), use, clock.now_ms(), entropy))
    except ValueError:
        raise Refusal("field_invalid", "use") from None
    return roots(path)


def drop_root(path: "Path", use: str, key_id: str) -> list[dict[str, object]]:
    """Forget an old root key: what it signed or sealed is worthless from the next start on. Raises Refusal."""
    try:
        vault.write_key_file(path, vault.drop(vault.read_key_file(path), use, key_id))
    except ValueError:
        raise Refusal("field_invalid", "id") from None
    return roots(path)
