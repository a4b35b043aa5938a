"""docker-compose.yml against the Compose specification, and against the program that it starts."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import typer
import yaml

from desireline import settings
from desireline.cli.app import app

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
OURS = {
    name: service for name, service in COMPOSE["services"].items() if service["image"] == "desireline:latest"
}


def test_it_is_a_compose_file() -> None:
    schema = json.loads((Path(__file__).parent / "compose.schema.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(COMPOSE)


def test_every_service_that_another_waits_for_exists_and_can_become_what_is_waited_for() -> None:
    for service in COMPOSE["services"].values():
        for name, wish in service.get("depends_on", {}).items():
            other = COMPOSE["services"][name]
            assert wish["condition"] != "service_healthy" or "healthcheck" in other
            if wish["condition"] == "service_completed_successfully":
                assert "always" not in other["restart"]
                assert other["restart"] != "unless-stopped"


def test_every_named_volume_is_declared_and_used() -> None:
    used = {
        volume.split(":")[0]
        for service in COMPOSE["services"].values()
        for volume in service.get("volumes", ())
    }
    assert used == set(COMPOSE["volumes"])


def test_what_keeps_data_keeps_it_in_a_volume() -> None:
    assert all(COMPOSE["services"][name].get("volumes") for name in ("kafka", "clickhouse", "collector"))


def test_workers_can_be_scaled() -> None:
    assert "ports" not in OURS["worker"]
    assert "container_name" not in OURS["worker"]


@pytest.mark.parametrize("name", OURS)
def test_every_command_is_one_of_the_program(name: str) -> None:
    command = typer.main.get_command(app)
    for word in OURS[name]["command"]:
        assert hasattr(command, "commands"), f"{word} is no command"
        command = command.commands[word]


@pytest.mark.parametrize("name", OURS)
def test_the_program_reads_every_variable_and_takes_its_value(name: str) -> None:
    environment = {key: _interpolated(str(value)) for key, value in OURS[name]["environment"].items()}
    read = settings.read(environment=environment)
    assert read.bootstrap_servers == "kafka:9092"
    assert read.host == "0.0.0.0"  # noqa: S104  inside its container
    assert read.partitions == 24


@pytest.mark.parametrize("name", ["collector", "worker", "dashboards"])
def test_the_health_check_asks_the_port_that_the_program_listens_on(name: str) -> None:
    asked = re.search(r"127\.0\.0\.1:(\d+)", OURS[name]["healthcheck"]["test"][-1])
    assert asked
    assert int(asked[1]) == getattr(settings.Settings(), f"{name}_port")


def test_the_image_is_built_from_the_lock_file_and_runs_as_nobody_special() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert "--require-hashes -r requirements.lock" in dockerfile
    assert dockerfile.index("USER desireline") < dockerfile.index("ENTRYPOINT")
    packages = yaml.safe_load(json.dumps(re.findall(r"^COPY (\w+) \w+$", dockerfile, re.MULTILINE)))
    assert set(packages) == {"models", "ingest", "streams", "warehouse", "dashboards", "desireline"}


def _interpolated(text: str) -> str:
    """What Compose makes of `${NAME:-default}` and `${NAME:?message}`; a demanded one is given a value."""
    text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)
    return re.sub(r"\$\{(\w+):\?[^}]*\}", lambda match: "key=shop" if "KEYS" in match[1] else "secret", text)
