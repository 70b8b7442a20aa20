"""Which broker, with which key: the environment first, then a file only its owner reads."""

import json
import stat
from pathlib import Path

import pytest
from gpuyard.config import Config, checked_url, config_path, load, save
from gpuyard.errors import AuthError, InvalidConfig


def stored(tmp_path: Path) -> dict[str, str]:
    path = tmp_path / "new" / "config.json"
    save(Config(url="https://stored.example", api_key="stored-key"), path=path)
    return {"GPUYARD_CONFIG": str(path)}


def test_the_file_has_mode_0600_even_when_it_was_open_before(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text("{}")
    path.chmod(0o644)

    save(Config(url="https://b.example", api_key="k"), path=path)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_text()) == {"url": "https://b.example", "api_key": "k"}
    assert list(tmp_path.iterdir()) == [path]


def test_the_file_is_used_when_the_environment_is_silent(tmp_path: Path) -> None:
    assert load(environ=stored(tmp_path)) == Config(url="https://stored.example", api_key="stored-key")


def test_the_environment_goes_first(tmp_path: Path) -> None:
    env = {**stored(tmp_path), "GPUYARD_URL": "https://env.example/", "GPUYARD_API_KEY": "env-key"}

    assert load(environ=env) == Config(url="https://env.example", api_key="env-key")


def test_a_key_of_the_environment_goes_with_the_stored_address(tmp_path: Path) -> None:
    env = {**stored(tmp_path), "GPUYARD_API_KEY": "env-key"}

    assert load(environ=env) == Config(url="https://stored.example", api_key="env-key")


def test_a_stored_key_is_not_sent_to_another_address(tmp_path: Path) -> None:
    env = {**stored(tmp_path), "GPUYARD_URL": "https://other.example"}

    with pytest.raises(AuthError, match="no API key for https://other.example"):
        load(environ=env)


def test_without_a_name_the_file_is_in_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))

    assert config_path(environ={}) == tmp_path / ".config" / "gpuyard" / "config.json"


def test_nothing_known_says_to_log_in(tmp_path: Path) -> None:
    with pytest.raises(AuthError) as caught:
        load(environ={"GPUYARD_CONFIG": str(tmp_path / "none.json")})

    assert caught.value.exit_code == 3
    assert "yard login" in caught.value.hint


@pytest.mark.parametrize("content", ["not json", "[]", '{"url": 3}'])
def test_a_broken_file_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(content)

    with pytest.raises(InvalidConfig, match="config.json"):
        load(environ={"GPUYARD_CONFIG": str(path)})


@pytest.mark.parametrize(
    "url", ["", "broker.example", "ftp://x", "https://", "http://h:99999", "https://u:p@h", "http://["]
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(InvalidConfig):
        checked_url(url)


def test_a_key_is_not_shown_when_the_config_is() -> None:
    assert "secret" not in repr(Config(url="https://b.example", api_key="secret"))
