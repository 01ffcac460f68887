"""Recognisers of other people, as models of ours."""

from __future__ import annotations

from faceverif.models.importing.importer import ImportedModel, ImportSettings, import_model

__all__ = ["ImportSettings", "ImportedModel", "import_model"]
