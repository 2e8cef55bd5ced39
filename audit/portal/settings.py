"""How long a sign-in lasts, and where else one may sign in; part of a service's settings.

[portal]
database_url = "postgresql+pg8000://undertone@db.example/staff"  # SQLite without it
idle_s = 1800                           # signed out after so long without a request
absolute_s = 43200                      # signed out after so long in any case
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class PortalSettings(BaseModel):
    """What the portal's frame needs to know."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    database_url: str | None = None
    idle_s: float = Field(default=1800.0, gt=0, le=86_400)
    absolute_s: float = Field(default=43_200.0, gt=0, le=7 * 86_400)
