from typing import NamedTuple

class OperatingSystem(NamedTuple):
    family: str
    version: tuple[int | str, ...]
    version_string: str

class Browser(NamedTuple):
    family: str
    version: tuple[int | str, ...]
    version_string: str

class Device(NamedTuple):
    family: str
    brand: str | None
    model: str | None

def parse_operating_system(
    family: str,
    major: str | None = ...,
    minor: str | None = ...,
    patch: str | None = ...,
    patch_minor: str | None = ...,
) -> OperatingSystem: ...
def parse_browser(
    family: str, major: str | None = ..., minor: str | None = ..., patch: str | None = ..., patch_minor: str | None = ...
) -> Browser: ...
def parse_device(family: str, brand: str | None, model: str | None) -> Device: ...

class UserAgent:
    ua_string: str
    os: OperatingSystem
    browser: Browser
    device: Device
    is_tablet: bool
    is_mobile: bool
    is_pc: bool
    is_bot: bool
    def __init__(self, user_agent_string: str) -> None: ...
