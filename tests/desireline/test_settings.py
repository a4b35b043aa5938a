"""Where a setting is taken from, and what is said when it is not allowed."""

from pathlib import Path

import pytest

from desireline.settings import Settings, SettingsError, as_environment, describe, read

REFUSED = {
    # what is wrong: variable, value, what the message says
    "too small": ("DESIRELINE_PARTITIONS", "0", "a whole number from 1 to 1,024"),
    "no number": ("DESIRELINE_PARTITIONS", "many", '"many" is not allowed'),
    "no port": ("DESIRELINE_COLLECTOR_PORT", "65536", "a whole number from 0 to 65,535"),
    "not one of the choices": ("DESIRELINE_LOG_LEVEL", "loud", "debug or info or warning or error"),
    "neither true nor false": ("DESIRELINE_LIVE", "perhaps", "true or false"),
    "no URL": ("DESIRELINE_WAREHOUSE_URL", "clickhouse:8123", "http:// or https://"),
    "a URL without a database": ("DESIRELINE_WAREHOUSE_URL", "http://clickhouse:8123", "names no database"),
    "a map without names": ("DESIRELINE_WRITE_KEYS", "key", "KEY=NAME"),
    "a file that is not there": ("DESIRELINE_JOURNEY_MODEL", "/nowhere.yaml", 'no file "/nowhere.yaml"'),
}  # fmt: skip


@pytest.mark.parametrize(("variable", "value", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_a_message_names_the_variable_and_what_is_allowed(variable: str, value: str, said: str) -> None:
    with pytest.raises(SettingsError) as raised:
        read(environment={variable: value})
    assert str(raised.value).startswith(f"{variable}: ")
    assert said in str(raised.value)


def test_a_misspelt_variable_is_refused_with_a_guess() -> None:
    with pytest.raises(SettingsError, match='Did you mean "DESIRELINE_PARTITIONS"'):
        read(environment={"DESIRELINE_PARTITION": "8"})


def test_what_resembles_a_setting_by_its_prefix_alone_is_refused_without_a_guess() -> None:
    with pytest.raises(SettingsError, match="`desireline settings` lists them all"):
        read(environment={"DESIRELINE_BOGUS": "1"})


def test_a_misspelt_key_of_the_file_is_refused_with_a_guess(tmp_path: Path) -> None:
    (tmp_path / "it.toml").write_text("colector_port = 1\n")
    with pytest.raises(SettingsError, match=r'it\.toml.*Did you mean "collector_port"'):
        read(config=str(tmp_path / "it.toml"), environment={})


def test_a_value_of_the_file_that_is_not_allowed_is_said_with_its_key(tmp_path: Path) -> None:
    (tmp_path / "it.toml").write_text('partitions = "8"\nlive = 3\n')
    with pytest.raises(SettingsError, match=r"it\.toml: live"):
        read(config=str(tmp_path / "it.toml"), environment={})


def test_an_option_goes_before_a_variable_and_a_variable_before_the_file(tmp_path: Path) -> None:
    file = tmp_path / "it.toml"
    file.write_text('partitions = 2\nworker_port = 2\ncollector_port = 2\n[write_keys]\nkey = "shop"\n')
    environment = {
        "DESIRELINE_CONFIG": str(file),
        "DESIRELINE_PARTITIONS": "3",
        "DESIRELINE_WORKER_PORT": "3",
    }
    settings = read(environment=environment, worker_port=4)
    assert (settings.collector_port, settings.partitions, settings.worker_port) == (2, 3, 4)
    assert settings.write_keys == {"key": "shop"}


def test_a_file_that_is_not_there_is_said_with_what_named_it() -> None:
    with pytest.raises(SettingsError, match=r"^DESIRELINE_CONFIG: "):
        read(environment={"DESIRELINE_CONFIG": "/nowhere.toml"})


def test_a_secret_is_not_repeated_in_a_message(tmp_path: Path) -> None:
    (tmp_path / "it.toml").write_text("stripe_secret = 4711\n")
    with pytest.raises(SettingsError) as raised:
        read(config=str(tmp_path / "it.toml"), environment={})
    assert "4711" not in str(raised.value)


def test_a_child_reads_the_settings_that_its_parent_hands_over() -> None:
    settings = Settings(
        partitions=3,
        live=False,
        write_keys={"a": "shop", "b": "app"},
        allowed_lateness_ms=5,
        stripe_secret="s",
    )
    assert read(environment=as_environment(settings)) == settings
    assert as_environment(Settings()) == {}


def test_every_setting_has_a_sentence_a_bound_and_a_default_that_is_allowed() -> None:
    for line in describe():
        assert line.meaning, line.key
        assert line.allowed, line.key
        assert read(environment={line.variable: line.default} if line.default else {}) == Settings()


def test_a_duration_or_a_size_says_its_unit_in_its_name() -> None:
    for line in describe():
        for word, ending in ((", ms", "_ms"), (", s", "_s"), (", bytes", "_bytes"), (", days", "_days")):
            if word in line.meaning.replace(", so", ""):
                assert line.key.endswith(ending), line.key
