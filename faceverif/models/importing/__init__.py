"""Recognisers of other people, as models of ours."""

from __future__ import annotations

from faceverif.models.importing.importer import ImportedModel, import_model
from faceverif.models.importing.incoming import ImportSettings

__all__ = ["ImportSettings", "ImportedModel", "import_model"]
