"""Are arguments and the config file understood, and refused in one sentence where they are not?"""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from adresponse.contest import ContestRules
from adresponse.errors import ConfigError
from adresponse.settings import CONFIG_TEMPLATE, Settings, load


def config(folder: Path, text: str) -> Path:
    path = folder / "adresponse.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_what_is_given_wins_over_the_file_and_none_is_not_given(tmp_path: Path) -> None:
    path = config(tmp_path, "target: Sales\nseed: 7\nchannels: [TV]\n")
    settings = load(path, seed=1, target=None)
    assert (settings.target, settings.seed, settings.channels) == ("Sales", 1, ("TV",))


def test_lists_may_be_written_with_commas() -> None:
    assert load(channels="TV, Radio").channels == ("TV", "Radio")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("chanels: [TV]", "'chanels' is not known. Did you mean 'channels'"),
        ("test_size: 1.5", "test_size=1.5 is refused: input should be less than 1"),
        ("missing: guess", "missing='guess' is refused"),
        ("columns: {TV: {meaning: x}}", "'columns.TV.meaning' is not known. Did you mean 'means'"),
        ("columns: {TV: {units: x}}", "'columns.TV.units' is not known. Did you mean 'unit'"),
        ("origin: 2024-02-30", "cannot be read: day is out of range for month"),  # a date to YAML, and none to Python
        (f"seed: {'9' * 5000}", "cannot be read: Exceeds the limit"),
        ("[" * 3000, "cannot be read: maximum recursion depth exceeded"),
        ("name: a/b", "no '/'"),
        ('name: it\'s a "b"', "no quotes of both kinds"),
        ("name: a@b", "'@'"),  # models:/a@b@champion and the like name another model, or none
        ("name: 'why?'", "'?'"),
        ("name: 'a #1'", "'#'"),
        ("name: 50%", "'%'"),
        ("name: adresponse-lock", "the queue of the lock has this name"),
        (f"name: {'x' * 300}", "at most 200 bytes"),
        ('name: "..."', "not blank"),
        ("target: [", "line 1 is not valid YAML"),
        ("- TV", "holds no keys and values"),
    ],
)
def test_a_file_that_is_not_understood(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        load(config(tmp_path, text))
    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load(tmp_path / "none.yaml")


def test_an_empty_file_gives_the_defaults(tmp_path: Path) -> None:
    assert load(config(tmp_path, "")) == Settings()


def test_the_template_names_every_setting_that_a_file_may_hold(tmp_path: Path) -> None:
    assert load(config(tmp_path, CONFIG_TEMPLATE)) == Settings()
    uncommented = "\n".join(line.removeprefix("# ") for line in CONFIG_TEMPLATE.splitlines()[2:] if line.startswith("#"))
    named = set(yaml.safe_load(uncommented))
    about_the_source = {"query", "sql_table", "sheet"}  # belong to one table, so they are arguments
    assert named == set(Settings.model_fields) - about_the_source
    load(config(tmp_path, uncommented))


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("Sales", "sales-response"),
        ("Net Sales (€)", "net-sales-response"),
        ("Umsätze", "umsätze-response"),
        ("Umsa\u0308tze", "umsätze-response"),
    ],
)
def test_the_model_is_named_after_the_target(target: str, name: str) -> None:
    assert Settings().model_name(target) == name


@pytest.mark.parametrize("text", ["promotion: {mode: off}", "promotion: {mode: 'off'}", "promotion:\n  mode: Off\n"])
def test_off_is_a_word_of_ours_and_no_truth_value_of_yaml(tmp_path: Path, text: str) -> None:
    settings = load(config(tmp_path, text))
    assert ContestRules.build(settings.promotion).mode == "off"
    assert yaml.safe_load(yaml.safe_dump(settings.plain()))["promotion"] == {"mode": "off"}  # as a version keeps it


def test_a_lift_that_is_given_twice_is_refused() -> None:
    assert load(lifts=["tv=1.4:0.3", "print=2:1"]).lifts == {"tv": (1.4, 0.3), "print": (2, 1)}
    with pytest.raises(ConfigError, match="'tv' is given twice; give one return and one error for a channel"):
        load(lifts=["tv=1.4:0.3", "tv =9:0.1"])


def test_sizes_of_markets_may_be_named_by_numbers(tmp_path: Path) -> None:
    settings = load(config(tmp_path, "sizes: {1: 5, north: 2.5}"))
    assert settings.sizes == {"1": 5.0, "north": 2.5}
    assert load(config(tmp_path, yaml.safe_dump(settings.plain()))).sizes == settings.sizes  # as a version keeps it


@pytest.mark.parametrize("text", ["big", "{}", "{1: -1}", "{1: 0}", "{1: many}", "{1: .inf}", "{1: true}", "[1, 2]", "3"])
def test_sizes_that_are_none_are_refused_in_one_sentence(tmp_path: Path, text: str) -> None:
    with pytest.raises(
        ConfigError, match=r"Setting sizes=.* is refused: give auto, equal, sales, or a number above 0 for each"
    ):
        load(config(tmp_path, f"sizes: {text}"))
