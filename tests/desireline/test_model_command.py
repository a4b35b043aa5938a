"""`desireline model`: what is said of a right model and of a wrong one, and which model is in force."""

from pathlib import Path

import jsonschema
import pytest
import yaml

from desireline.cli.app import run
from desireline.current_model import configured_model
from desireline.settings import read
from models.journey_model import default_model, template, templates


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("DESIRELINE_JOURNEY_MODEL", raising=False)
    monkeypatch.chdir(tmp_path)


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = run(["model", *arguments])
    out, err = capsys.readouterr()
    return code, out, err


def test_a_right_model_is_one_sentence(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "journey.yaml"
    file.write_text(template("saas"))
    sentence = "6 phases, 11 rules, 9 kinds of attempt, 8 steps of a paved path, 5 rules for personas.\n"
    assert said(capsys, "check", str(file)) == (0, f"{file} is right: {sentence}", "")
    assert said(capsys, "check", "saas") == (0, f"saas is right: {sentence}", "")


def test_of_a_wrong_model_all_is_said_with_file_and_line(capsys: pytest.CaptureFixture[str]) -> None:
    wrong = template("retail").replace("gap: 21d", "gap: 21").replace("purchase: 1.0", "purchase: 2")
    Path("journey.yaml").write_text(wrong)
    lines = [
        number
        for number, line in enumerate(wrong.splitlines(), 1)
        if line.endswith((" gap: 21", "purchase: 2"))
    ]
    assert said(capsys, "check", "journey.yaml") == (
        1,
        "",
        f'journey.yaml:{lines[0]}: "gap" is "21". Write a number and its unit: ms, s, m, h, d or w, e.g. 30d.\n'
        f'journey.yaml:{lines[1]}: "purchase" is "2". Write a number from -1 to 1.\n',
    )


def test_a_name_that_is_neither_file_nor_model_is_said_with_a_guess(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, out, err = said(capsys, "check", "retial")
    assert (code, out) == (1, "")
    assert 'there is no file "retial". Did you mean "retail"?' in err


def test_the_shipped_models_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = said(capsys, "show", "--list")
    assert (code, [line.split()[0] for line in out.splitlines()]) == (0, list(templates()))


@pytest.mark.parametrize("name", templates())
def test_a_summary_names_phases_attempts_steps_and_personas(
    capsys: pytest.CaptureFixture[str], name: str
) -> None:
    model = configured_model(read(environment={}, journey_model=name))
    code, out, _ = said(capsys, "show", name)
    assert code == 0
    names = [*model.phases, *(kind.kind for kind in model.attempts), *model.personas]
    names += [type_ for step in model.paved_path.steps for type_ in step.types]
    assert [one for one in names if one not in out] == []
    assert "in force" not in out


def test_the_yaml_of_a_model_is_its_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "show", "telecom", "--format", "yaml") == (0, template("telecom"), "")


def test_the_schema_for_editors_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = said(capsys, "show", "--format", "schema")
    assert code == 0
    jsonschema.Draft202012Validator(yaml.safe_load(out)).validate(yaml.safe_load(template("default")))


IN_FORCE = {
    # what is set, what is in force
    "nothing": ("", "default"),
    "the name of a shipped model": ("banking", "banking"),
    "a file": ("own.yaml", "own"),
    "a file called as a shipped model is": ("./retail", "own"),
    "its name means the shipped one": ("retail", "retail"),
}


@pytest.mark.parametrize(("setting", "name"), IN_FORCE.values(), ids=IN_FORCE.keys())
def test_the_model_in_force_is_the_one_that_is_set(
    setting: str, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for file in ("own.yaml", "retail"):
        Path(file).write_text(template("default").replace("name: default", "name: own"))
    monkeypatch.setenv("DESIRELINE_JOURNEY_MODEL", setting)
    assert configured_model(read()).name == name
    out = said(capsys, "show")[1]
    assert out.startswith(f'Journey model "{name}"')
    assert "This model is in force" in out


def test_without_a_setting_it_is_the_default_itself() -> None:
    assert configured_model(read(environment={})) is default_model()
