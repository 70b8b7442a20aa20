"""In the tests of adapters nobody waits for a pause."""

from tests.providers.contract import _no_waiting  # noqa: F401
