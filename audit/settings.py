"""Where a service's settings come from: its own file, and the environment above it."""

from __future__ import annotations

from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, Field
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource


class Telemetry(StrEnum):
    """Where traces go."""

    OFF = "off"  # nowhere; nothing is traced
    CONSOLE = "console"  # stderr, one JSON line a span
    OTLP = "otlp"  # a collector at `telemetry_url`, by OTLP over HTTP


class ProxyHeader(StrEnum):
    """In which header the proxies say whom they speak for."""

    X_FORWARDED_FOR = "x-forwarded-for"  # what most proxies add to
    FORWARDED = "forwarded"  # RFC 7239


def _not_everybody(network: IPv4Network | IPv6Network) -> IPv4Network | IPv6Network:
    if network.prefixlen == 0:
        raise ValueError("name your proxies' own addresses: this would believe everybody")
    return network


_Settings = TypeVar("_Settings", bound=BaseModel)
_Proxy = Annotated[IPv4Network | IPv6Network, AfterValidator(_not_everybody)]


class ServiceSettings(BaseSettings):
    """Stand at the root of every service's settings; each reads its own file.

    `telemetry` says where traces go; a node's policy must allow a collector's address like any
    other that it connects to. `proxies` are the addresses or networks of the proxies in front,
    which alone are believed whom they speak for, in `proxy_header` alone (`audit.proxies`).
    """

    telemetry: Telemetry = Telemetry.OFF
    telemetry_url: str = Field(
        default="http://127.0.0.1:4318/v1/traces", pattern=r"^https?://[^@\s]+$"
    )
    proxies: tuple[_Proxy, ...] = ()
    proxy_header: ProxyHeader = ProxyHeader.X_FORWARDED_FOR

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let the environment win over the file, and read nothing else."""
        del settings_cls, dotenv_settings, file_secret_settings
        return env_settings, init_settings


def beside(settings: _Settings, folder: Path) -> _Settings:
    """Return settings whose relative paths, in every part of them, are taken from a folder."""
    placed: dict[str, Any] = {}
    for name, value in settings:
        if isinstance(value, Path):
            placed[name] = folder / value
        elif isinstance(value, BaseModel):
            placed[name] = beside(value, folder)
    return settings.model_copy(update=placed)
