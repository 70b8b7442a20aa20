from importlib import import_module

import pytest

from providers.registry import PRICE_LISTS, PROVIDERS


@pytest.mark.parametrize("path", [*PROVIDERS.values(), *PRICE_LISTS.values()])
def test_everything_registered_exists(path):
    module, _, name = path.rpartition(".")

    assert hasattr(import_module(module), name)
