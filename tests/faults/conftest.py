"""What the fault tests share: one configuration of stand-ins, because making its RSA key takes a while."""

import pytest

from gateway.sandbox.config import SandboxConfig, default_config


@pytest.fixture(scope="session")
def config() -> SandboxConfig:
    return default_config()
