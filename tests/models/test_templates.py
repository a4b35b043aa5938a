"""The models we ship, their JSON Schema and their page: each whole, each different, all three in agreement."""

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from models.household import verdicts
from models.journey_model import JourneyModel, load_model, schema, template, templates
from models.vocabulary import CHANNELS, TYPES
from models.yaml_reader import JourneyModelError
from tests.histories import touchpoint

ROOT = Path(__file__).parents[2]
NAMES = templates()
MODELS = {name: load_model(template(name), where=f"{name}.yaml") for name in NAMES}
SCHEMA = json.loads(schema())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
PAGE = (ROOT / "docs" / "journey-model.md").read_text()
Steps = tuple[str | int, ...]


def test_the_shipped_models_are_these_five() -> None:
    assert NAMES == ("default", "banking", "retail", "saas", "telecom")
    assert [name for name in NAMES if f"| `{name}` |" not in PAGE] == []


@pytest.mark.parametrize("name", NAMES)
def test_a_model_is_whole(name: str) -> None:
    model, document = MODELS[name], yaml.safe_load(template(name))
    own = set(document.get("types", []))
    assert model.name == name
    assert own.isdisjoint(TYPES)
    assert [one for one in own if not model.profile(one).rules] == [], "own types stand for a phase"
    assert [one for one in own if one not in model.weights] in ([], ["return_received"]), (
        "and weigh something"
    )
    assert {rule.phase for rule in model.rules} == set(model.phases), "each phase is reached by a rule"
    used = template(name).partition("phases:\n")[2]
    assert [one for one in document.get("channels", []) if one in CHANNELS or one not in used] == []
    assert [kind.kind for kind in model.attempts if not model.profile(kind.opened_by).rules] == []


@pytest.mark.parametrize("name", NAMES)
def test_whoever_walks_the_paved_path_is_at_no_distance_from_it(name: str) -> None:
    model = MODELS[name]
    types = [
        min(step.types) if step.types else first_type(model, min(step.phases))
        for step in model.paved_path.steps
    ]
    walked = [touchpoint(f"t{n:02}", n, type_, channel_of(model, type_)) for n, type_ in enumerate(types)]
    (row,) = verdicts(walked, 0, model).journeys
    assert (row.paved_path_distance, row.paved_path_steps) == (0, len(model.paved_path.steps))
    assert row.converted_at is not None


def first_type(model: JourneyModel, phase: str) -> str:
    return next(min(rule.types) for rule in reversed(model.rules) if rule.phase == phase and rule.types)


def channel_of(model: JourneyModel, type_: str) -> str:
    asked = {channel for rule, _ in model.profile(type_).rules for channel in rule.channels or ()}
    return min(asked) if asked else "web"


@pytest.mark.parametrize("field", ["phases", "rules", "attempts", "patience_ms", "weights", "paved_path"])
def test_models_differ_where_their_trades_do(field: str) -> None:
    said = [getattr(model, field) for model in MODELS.values()]
    assert [one for one in said if said.count(one) > 1] == []


# --- the schema ---


def objects(part: dict[str, Any], document: Any, path: Steps = ()) -> Iterator[tuple[Steps, dict[str, Any]]]:
    """Every object of a document that the schema gives fields to, with these fields."""
    if isinstance(document, dict) and "properties" in part:
        yield path, part["properties"]
        for name, value in document.items():
            yield from objects(part["properties"][name], value, (*path, name))
    if isinstance(document, list) and isinstance(part.get("items"), dict):
        items = part["items"]
        for number, value in enumerate(document):
            chosen = items["anyOf"][1] if "anyOf" in items and isinstance(value, dict) else items
            yield from objects(chosen, value, (*path, number))


def at(document: Any, path: Steps) -> Any:
    for step in path:
        document = document[step]
    return document


def error_of(document: Any) -> str | None:
    try:
        load_model(json.dumps(document), where="journey.yaml")  # JSON is YAML, and soon written
    except JourneyModelError as error:
        return str(error)
    return None


def shape_of(path: Steps) -> str:
    return ".".join("[]" if isinstance(step, int) else step for step in path).replace(".[]", "[]")


@pytest.mark.parametrize("name", NAMES)
def test_a_model_is_valid_by_the_schema(name: str) -> None:
    VALIDATOR.check_schema(SCHEMA)
    assert [error.message for error in VALIDATOR.iter_errors(yaml.safe_load(template(name)))] == []


def test_the_schema_has_the_fields_of_the_parser_and_no_other() -> None:
    seen: set[str] = set()
    for name in NAMES:
        whole = yaml.safe_load(template(name))
        for path, fields in objects(SCHEMA, whole):
            if shape_of(path) in seen:
                continue
            seen.add(shape_of(path))
            wrong = copy.deepcopy(whole)
            at(wrong, path)["~"] = 1
            said = re.search(r'has no field "~"\. The fields are (.*)\.', error_of(wrong) or "")
            assert said is not None, path
            assert set(said[1].split(", ")) == set(fields), path
            assert list(VALIDATOR.iter_errors(wrong)), path
    assert seen == {shape_of(path) for path, _ in every_object(SCHEMA)}


def every_object(part: dict[str, Any], path: Steps = ()) -> Iterator[tuple[Steps, dict[str, Any]]]:
    """Every object of the schema that has fields, and these fields."""
    if "properties" in part and part.get("type") == "object":
        yield path, part
        for name, field in part["properties"].items():
            yield from every_object(field, (*path, name))
    items = part.get("items")
    if isinstance(items, dict):
        for chosen in items.get("anyOf", [items]):
            yield from every_object(chosen, (*path, 0))


def test_what_may_be_left_out_is_the_same_for_parser_and_schema() -> None:
    whole = yaml.safe_load(template("retail"))
    whole |= {"weights": {"purchase": 1}, "rules": whole["rules"][:1], "attempts": whole["attempts"][1:2]}
    tried: set[str] = set()
    for path, fields in objects(SCHEMA, whole):
        for field in fields:
            if field not in at(whole, path) or (key := f"{shape_of(path)}.{field}") in tried:
                continue
            tried.add(key)
            less = copy.deepcopy(whole)
            del at(less, path)[field]
            # names that others use are the parser's alone to know
            if field in ("types", "channels") and not path:
                continue
            assert (error_of(less) is None) == VALIDATOR.is_valid(less), key
    assert len(tried) > 80


BOTH_REFUSE = {
    "a duration without its unit": (("journeys", "gap"), 30),
    "a duration of no unit there is": (("journeys", "gap"), "30y"),
    "a weight beyond 1": (("weights", "purchase"), 1.5),
    "a weight that is no score": (("weights", "purchase"), "stars"),
    "a severity below 0": (("attempts", 0, "severity"), -0.1),
    "a score beyond its scale": (("pain_points", "low_score", "nps"), 11),
    "a whole number that is none": (("pain_points", "loop", "at_least"), 2.5),
    "too small a number": (("pain_points", "loop", "at_least"), 1),
    "a list that is none": (("identity", "exclusive"), "user_id"),
    "a mapping that is none": (("journeys",), ["gap"]),
    "an outcome that is none": (("pain_points", "failure", "outcomes"), ["lost"]),
    "an identifier kind that is none": (("identity", "exclusive"), ["passport"]),
    "no phases": (("phases",), []),
    "no steps": (("paved_path", "steps"), []),
    "a step of nothing": (("paved_path", "steps"), ["purchase|"]),
    "a condition of nothing": (("rules", 0, "types"), []),
    "a persona with no condition": (("personas", 0), {"name": "member"}),
    "a region of three letters": (("identity", "phone_region"), "GER"),
    "truth that is none": (("delights", "first_contact_resolution"), "always"),
    "patience and final": (("phases", 0), {"name": "Discover", "patience": "1d", "final": True}),
    "neither patience nor final": (("phases", 0), {"name": "Discover", "final": False}),
}  # fmt: skip


@pytest.mark.parametrize(("path", "value"), BOTH_REFUSE.values(), ids=BOTH_REFUSE.keys())
def test_parser_and_schema_refuse_the_same(path: Steps, value: Any) -> None:
    wrong = yaml.safe_load(template("retail"))
    at(wrong, path[:-1])[path[-1]] = value
    assert error_of(wrong) is not None
    assert not VALIDATOR.is_valid(wrong)


# --- the page ---


def test_every_field_stands_on_the_page_with_its_default_an_example_and_its_meaning() -> None:
    lacking = []
    nested = [path for path, _ in every_object(SCHEMA)]
    for path, part in every_object(SCHEMA):
        for name, field in part["properties"].items():
            if any(place[: len(path) + 1] == (*path, name) for place in nested):
                continue  # its own fields stand there
            key = f"{shape_of(path)}.{name}".lstrip(".")
            row = re.search(rf"^\| `{re.escape(key)}` \|(.*)\|$", PAGE, re.MULTILINE)
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", row[1])] if row else []
            meant = cells[3].replace("\\|", "|") if len(cells) == 4 else ""
            required = name in part["required"]
            if meant != field["description"] or (cells[1] == "required") != required:
                lacking.append(key)
            if not required and "default" in field and cells[1] != f"`{written(field['default'])}`":
                lacking.append(key)
    assert lacking == []


def written(value: Any) -> str:
    return json.dumps(value).replace('"', "")
