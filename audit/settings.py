"""Where a service's settings come from: its own file, and the environment above it."""

from __future__ import annotations

from pydantic_settings import BaseSettings, PydanticBaseSettingsSource


class ServiceSettings(BaseSettings):
    """Stand at the root of every service's settings; each reads its own file."""

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
