"""Thresholds: options and file keys from the model's own limits, and which of them wins."""

from __future__ import annotations

import os
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from podtrace import config
from podtrace.errors import EXIT_USAGE, ConfigError, UsageError
from podtrace.model.thresholds import Thresholds, describe

LIMITS = {limit.name: limit for limit in describe()}


def write(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "config.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def load(path: Path | None, **options: Any) -> config.Settings:
    return config.settings({"config": str(path) if path else None, **options}, {"HOME": "/none"})


def test_defaults_are_the_models() -> None:
    settings = load(None)
    assert settings.thresholds == Thresholds()
    assert (settings.rtt_spike_ns, settings.slow_file_ns, settings.long_block_ns) == (None,) * 3


def test_every_limit_has_an_option_and_a_key() -> None:
    options = [param.name for param in config.threshold_params(with_tracer=False)]
    assert options == ["config", *(field.name for field in fields(Thresholds))]
    assert {field.name for field in fields(Thresholds)} < set(config.LIMITS)


def test_tracers_own_limits_are_options_only_where_a_tracer_starts() -> None:
    options = {param.name for param in config.threshold_params(with_tracer=True)}
    without = {param.name for param in config.threshold_params(with_tracer=False)}
    assert options - without == {"rtt_spike_seconds", "slow_file_seconds", "long_block_seconds"}


def test_file_is_read(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "thresholds:\n"
        "  dns_slow_p95_seconds: 0.25\n"
        "  fsync_slow_p95_seconds: 20ms\n"
        "  connect_failed_ratio: 5%\n"
        "  least_count: 7\n"
        "  rtt_spike_seconds: 50ms\n",
    )
    settings = load(path)
    assert settings.thresholds == Thresholds(
        dns_slow_p95_seconds=0.25,
        fsync_slow_p95_seconds=0.02,
        connect_failed_ratio=0.05,
        least_count=7,
    )
    assert settings.rtt_spike_ns == 50_000_000


def test_option_wins_over_file_and_file_over_default(tmp_path: Path) -> None:
    path = write(tmp_path, "thresholds: {lost_ratio: 0.2, resets_ratio: 0.3}")
    settings = load(path, lost_ratio=0.4)
    assert settings.thresholds == Thresholds(lost_ratio=0.4, resets_ratio=0.3)


@pytest.mark.parametrize("text", ["", "# nothing\n", "thresholds:\n", "thresholds: {}"])
def test_file_without_values_changes_nothing(tmp_path: Path, text: str) -> None:
    assert load(write(tmp_path, text)).thresholds == Thresholds()


def test_default_file_is_below_xdg_config_home_or_home(tmp_path: Path) -> None:
    folder = tmp_path / "podtrace"
    folder.mkdir()
    write(folder, "thresholds: {lost_ratio: 0.2}")
    found = config.settings({}, {"XDG_CONFIG_HOME": str(tmp_path), "HOME": "/none"})
    assert found.thresholds.lost_ratio == 0.2
    (tmp_path / ".config").symlink_to(tmp_path)
    for environment in ({}, {"XDG_CONFIG_HOME": ""}, {"XDG_CONFIG_HOME": "relative"}):
        found = config.settings({}, {"HOME": str(tmp_path), **environment})
        assert found.thresholds.lost_ratio == 0.2
    assert config.settings({}, {}).thresholds == Thresholds()


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("- 1", "the file is no mapping", "thresholds:"),
        ("just text", "the file is no mapping", "thresholds:"),
        ("tresholds: {}", "unknown key tresholds", "the only key is thresholds"),
        ("thresholds: [1]", "thresholds is no mapping", "key: value"),
        ("thresholds: {lost_ration: 1}", "unknown key thresholds.lost_ration", "lost_ratio?"),
        ("thresholds: {1: 1}", "unknown key thresholds.1", "the keys are dns_errors_ratio"),
        ("thresholds: {lost_ratio: [1]}", "thresholds.lost_ratio: this is no ratio", "5%"),
        ("thresholds: {lost_ratio: yes}", "thresholds.lost_ratio: this is no ratio", "5%"),
        ("thresholds: {lost_ratio: }", "thresholds.lost_ratio: this is no ratio", "5%"),
        ("thresholds: {lost_ratio: few}", "lost_ratio few: this is no ratio", "lost_ratio: 5%"),
        ("thresholds: {lost_ratio: 10}", "lost_ratio 10: the ratio must be 0 to 1", "5%"),
        ("thresholds: {lost_ratio: -1}", "must be 0 to 1", "5%"),
        ("thresholds: {lost_ratio: .nan}", "must be 0 to 1", "5%"),
        ("thresholds: {least_count: .inf}", "must not be negative", "3"),
        ("thresholds: {least_count: 5%}", "this is no count", "3"),
        ("thresholds: {dns_slow_p95_seconds: '20'}", "the unit is missing", ": 20ms for"),
        ("thresholds: {dns_slow_p95_seconds: 1d}", "this is no duration", "250ms"),
        ("thresholds: {dns_slow_p95_seconds: -1}", "must be 0 to 86400", "250ms"),
        ("thresholds: {\n a: b", "line 2: this is no YAML", "correct the file"),
        ("a: &a [*a]\n? *a\n: b", "", ""),
        ("!!python/object:os.system {}", "this is no YAML", "correct the file"),
        (b"\xff\xfe\x00", "this is no text in UTF-8", "YAML"),
        (b"\x00\x01", "this is no YAML", "correct the file"),
        ("2001-99-99: 1", "", "correct the file"),
    ],
)
def test_mistake_in_the_file_names_file_and_key(
    tmp_path: Path, text: str | bytes, message: str, hint: str
) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert str(path) in caught.value.message
    assert message in caught.value.message
    assert hint in (caught.value.hint or "")
    assert caught.value.exit_code == EXIT_USAGE


def test_named_file_must_exist_and_be_a_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: No such file"):
        load(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match=r"cannot read the configuration .*: Is a directory"):
        load(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_unreadable_file_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, "thresholds: {}")
    path.chmod(0)
    with pytest.raises(ConfigError, match=r"cannot read the configuration .*: Permission denied"):
        load(path)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("lost_ratio", "5%", 0.05),
        ("lost_ratio", "0.05", 0.05),
        ("lost_ratio", "0", 0.0),
        ("least_count", "3", 3.0),
        ("dns_slow_p95_seconds", "250ms", 0.25),
    ],
)
def test_option_value_is_read_in_its_unit(name: str, text: str, value: float) -> None:
    assert config.parse_value(text, LIMITS[name], "--x") == pytest.approx(value)


@pytest.mark.parametrize(
    ("name", "text"),
    [("lost_ratio", "101%"), ("lost_ratio", "1e999"), ("least_count", "-1"),
     ("dns_slow_p95_seconds", "5"), ("least_count", "x")],
)  # fmt: skip
def test_option_value_out_of_range_names_the_option(name: str, text: str) -> None:
    with pytest.raises(UsageError, match=r"^--some-option "):
        config.parse_value(text, LIMITS[name], "--some-option")


def test_shown_default_is_what_a_user_would_write() -> None:
    for limit in config.LIMITS.values():
        shown = config.shown_value(limit)
        assert config.parse_value(shown, limit, "--x") == pytest.approx(limit.default)
