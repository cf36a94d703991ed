"""What exists on the stand-ins' side: datasets, tokens, streams, accounts, keys, addresses.

A configuration is one JSON-able value, so that the stand-ins can be started in another process. Times are milliseconds
since 1970 UTC. `gateway` holds the values that a gateway configuration and its vault have to use to be let in; the
stand-ins themselves never look at it.
"""

import base64
from typing import Final, Literal

import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from gateway.entropy import Entropy, SystemEntropy

__all__ = [
    "DATAMANAGER_SCOPE",
    "TOKEN_URI",
    "ConversionAction",
    "Ga4Config",
    "Ga4Stream",
    "GatewayValues",
    "GoogleAccount",
    "GoogleConfig",
    "MetaConfig",
    "MetaToken",
    "OAuthClient",
    "OAuthUser",
    "SandboxConfig",
    "ServiceAccount",
    "WebhookConfig",
    "WebhookEndpoint",
    "default_config",
]

DATAMANAGER_SCOPE: Final = "https://www.googleapis.com/auth/datamanager"
TOKEN_URI: Final = "https://oauth2.googleapis.com/token"  # noqa: S105 an address


class MetaToken(msgspec.Struct, frozen=True, kw_only=True):
    """An access token and the datasets it may write to.

    `subcode` makes it a token that is refused with code 190 and that subcode (463 expired, 460 password changed, ...);
    `expires_at_ms` lets it expire. With `app_secret` a proof is checked when it is sent;
    `proof_required` demands it.
    """

    value: str
    datasets: tuple[str, ...]
    subcode: int | None = None
    expires_at_ms: int | None = None
    app_secret: str | None = None
    proof_required: bool = False


class MetaConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Meta: the tokens, and by them the datasets."""

    tokens: tuple[MetaToken, ...] = ()


class Ga4Stream(msgspec.Struct, frozen=True, kw_only=True):
    """A data stream with its secrets: a web stream has a `measurement_id`, an app stream a `firebase_app_id`."""

    api_secrets: tuple[str, ...]
    measurement_id: str | None = None
    firebase_app_id: str | None = None


class Ga4Config(msgspec.Struct, frozen=True, kw_only=True):
    """Google Analytics: the data streams."""

    streams: tuple[Ga4Stream, ...] = ()


class ConversionAction(msgspec.Struct, frozen=True, kw_only=True):
    """A conversion action: `UPLOAD_CLICKS` for offline and leads, `WEBPAGE` beside the Google tag."""

    id: str
    type: Literal["UPLOAD_CLICKS", "WEBPAGE"] = "UPLOAD_CLICKS"
    one_per_click: bool = False


class GoogleAccount(msgspec.Struct, frozen=True, kw_only=True):
    """An advertiser's account. `users` are e-mails with direct access; `managers` maps manager accounts to theirs."""

    id: str
    actions: tuple[ConversionAction, ...]
    users: tuple[str, ...] = ()
    managers: dict[str, tuple[str, ...]] = {}
    custom_variables: tuple[str, ...] = ()


class ServiceAccount(msgspec.Struct, frozen=True, kw_only=True):
    """A service account: its e-mail and its registered public keys, key id to PEM."""

    client_email: str
    public_keys: dict[str, str]


class OAuthClient(msgspec.Struct, frozen=True, kw_only=True):
    """An OAuth client of the Cloud project."""

    client_id: str
    client_secret: str


class OAuthUser(msgspec.Struct, frozen=True, kw_only=True):
    """A person who granted `scopes` to a client and got a refresh token for it."""

    email: str
    client_id: str
    refresh_token: str
    scopes: tuple[str, ...] = (DATAMANAGER_SCOPE,)


class GoogleConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Google Ads behind the Data Manager API.

    `processing_ms` is how long a request stays `PROCESSING`. `clicks_not_found` are click ids that the vendor will not
    know. `writes_per_minute` is the quota of the project (the vendor's is 300); None does not enforce it. With
    `api_enabled` off the Data Manager API is not switched on in the Cloud project.
    """

    accounts: tuple[GoogleAccount, ...] = ()
    service_accounts: tuple[ServiceAccount, ...] = ()
    clients: tuple[OAuthClient, ...] = ()
    users: tuple[OAuthUser, ...] = ()
    processing_ms: int = 30 * 60_000
    clicks_not_found: tuple[str, ...] = ()
    writes_per_minute: int | None = None
    api_enabled: bool = True


class WebhookEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A receiver. `secrets` are `whsec_` keys, or `whpk_` public keys for Ed25519; any of them may have signed.

    A `gone` endpoint answers 410 to everything. One for `conversions` takes the bodies of a link tracker's notifications
    instead of the recommended form.
    """

    url: str
    secrets: tuple[str, ...]
    gone: bool = False
    conversions: bool = False


class WebhookConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The receivers of signed webhooks."""

    endpoints: tuple[WebhookEndpoint, ...] = ()


class GatewayValues(msgspec.Struct, frozen=True, kw_only=True):
    """What the gateway has to be configured with. Ids are settings, the rest belongs into its vault."""

    meta_dataset_id: str = ""
    meta_access_token: str = ""
    ga4_measurement_id: str = ""
    ga4_api_secret: str = ""
    google_account_id: str = ""
    google_manager_id: str = ""
    google_action_purchase: str = ""
    google_action_lead: str = ""
    google_action_webpage: str = ""
    google_service_account_json: str = ""
    google_client_id: str = ""
    google_client_secret: str = ""
    google_refresh_token: str = ""
    webhook_url: str = ""
    webhook_secret: str = ""


class SandboxConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the stand-ins know, and what a gateway must use to be let in."""

    meta: MetaConfig = MetaConfig()
    ga4: Ga4Config = Ga4Config()
    google: GoogleConfig = GoogleConfig()
    webhook: WebhookConfig = WebhookConfig()
    gateway: GatewayValues = GatewayValues()


def default_config(entropy: Entropy | None = None) -> SandboxConfig:
    """A complete sample: one account per vendor, fresh secrets and a fresh RSA key for the service account."""
    source = entropy or SystemEntropy()
    meta_token = "EAAG" + source.token_bytes(40).hex()
    ga4_secret = _base64url(source, 16)
    webhook_secret = "whsec_" + base64.b64encode(source.token_bytes(24)).decode("ascii")
    client_secret = "GOCSPX-" + _base64url(source, 21)
    refresh_token = "1//0" + _base64url(source, 48)
    client_id = "123456789012-sandbox.apps.googleusercontent.com"
    email = "gateway@sandbox-project.iam.gserviceaccount.com"
    key_id = source.token_bytes(20).hex()
    private_pem, public_pem = _rsa_pair()
    actions = (
        ConversionAction(id="555000001"),
        ConversionAction(id="555000002"),
        ConversionAction(id="555000003", type="WEBPAGE"),
    )
    account = GoogleAccount(
        id="1234567890",
        actions=actions,
        users=(email,),
        managers={"9876543210": (email, "owner@shop.example")},
        custom_variables=("order_kind",),
    )
    return SandboxConfig(
        meta=MetaConfig(tokens=(MetaToken(value=meta_token, datasets=("1234567890123456",)),)),
        ga4=Ga4Config(streams=(Ga4Stream(measurement_id="G-SANDBOX001", api_secrets=(ga4_secret,)),)),
        google=GoogleConfig(
            accounts=(account,),
            service_accounts=(ServiceAccount(client_email=email, public_keys={key_id: public_pem}),),
            clients=(OAuthClient(client_id=client_id, client_secret=client_secret),),
            users=(OAuthUser(email="owner@shop.example", client_id=client_id, refresh_token=refresh_token),),
        ),
        webhook=WebhookConfig(
            endpoints=(WebhookEndpoint(url="https://hooks.crm.example/gateway", secrets=(webhook_secret,)),)
        ),
        gateway=GatewayValues(
            meta_dataset_id="1234567890123456",
            meta_access_token=meta_token,
            ga4_measurement_id="G-SANDBOX001",
            ga4_api_secret=ga4_secret,
            google_account_id=account.id,
            google_manager_id="9876543210",
            google_action_purchase=actions[0].id,
            google_action_lead=actions[1].id,
            google_action_webpage=actions[2].id,
            google_service_account_json=_key_file(email, key_id, private_pem),
            google_client_id=client_id,
            google_client_secret=client_secret,
            google_refresh_token=refresh_token,
            webhook_url="https://hooks.crm.example/gateway",
            webhook_secret=webhook_secret,
        ),
    )


def _base64url(entropy: Entropy, count: int) -> str:
    return base64.urlsafe_b64encode(entropy.token_bytes(count)).rstrip(b"=").decode("ascii")


def _rsa_pair() -> tuple[str, str]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return private.decode("ascii"), public.decode("ascii")


def _key_file(email: str, key_id: str, private_pem: str) -> str:
    """The JSON file that Google's console hands out for a service account key."""
    file = {
        "type": "service_account",
        "project_id": "sandbox-project",
        "private_key_id": key_id,
        "private_key": private_pem,
        "client_email": email,
        "client_id": "100000000000000000001",
        "token_uri": TOKEN_URI,
    }
    return msgspec.json.encode(file).decode("ascii")
