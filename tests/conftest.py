"""Fixtures of several test files."""

import pytest

from splicebert_vep import plugins
from splicebert_vep.contract import PLUGINS_VARIABLE


@pytest.fixture
def install(monkeypatch):
    """Put plugins in the place of those that are really installed."""

    def put(*points):
        monkeypatch.setattr(plugins, "entry_points", lambda group: points)

    monkeypatch.delenv(PLUGINS_VARIABLE, raising=False)
    return put
