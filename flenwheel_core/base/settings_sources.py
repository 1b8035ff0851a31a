"""Where settings are read from: the environment, `.env` and `flenwheel.toml`, written by whatever editor.

A `.env` is shared with other tools: lines that are not ours are none of our business. A misspelt name of ours is an error,
because it would silently do nothing.
"""

import difflib
import io
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

from dotenv import dotenv_values
from dotenv.parser import parse_stream
from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, InitSettingsSource, SettingsError

from flenwheel_core.base.errors import RecipeError
from flenwheel_core.base.ids import Json
from flenwheel_core.base.plain_text import decode_text

PREFIX = "FLENWHEEL_"
TEAM_VARIABLE = "FLENWHEEL_TEAM"
"""Tells the stage of a training over several machines of its attempt."""
OWN_VARIABLES = frozenset({"FLENWHEEL_FLOW_RUN", "FLENWHEEL_PROJECT", TEAM_VARIABLE})
"""What a running workspace tells its processes: no settings, but no mistakes either."""
_PLATFORM = re.compile(r"\w+_(?:SERVICE_HOST|SERVICE_PORT\w*|PORT|PORT_\d+_(?:TCP|UDP|SCTP)(?:_\w+)?)")
"""Container platforms put the address of each service into the environment, under the service's name."""
_NEAR = 0.65
TOO_DEEP = "its brackets are nested too deeply"


class Environment(EnvSettingsSource):
    """Settings in the environment. Raises RecipeError for a value that cannot be read."""

    where = "the environment"

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: object) -> object:
        try:
            return super().decode_complex_value(field_name, field, value)
        except RecursionError as error:
            raise ValueError(TOO_DEEP) from error

    def __call__(self) -> dict[str, object]:
        try:
            return super().__call__()
        except SettingsError as error:
            name = next((name for name in self.settings_cls.model_fields if f'"{name}"' in str(error)), "")
            example = '{"key": "value"}' if name in ("store_options", "publish_options") else '["one", "two"]'
            raise RecipeError(
                f"{PREFIX}{name.upper()} in {self.where} cannot be read.",
                why="it is not written as JSON.",
                remedy=f"Write it as {PREFIX}{name.upper()}='{example}'.",
            ) from error


class DotEnv(Environment):
    """Settings in a `.env` file. Raises RecipeError for a misspelt setting, or if the file cannot be read."""

    def __init__(self, settings_cls: type[BaseSettings], path: Path) -> None:
        super().__init__(settings_cls)
        self.where = str(path)
        # A folder of that name, such as a virtual environment, holds no settings.
        content = _variables(path) if path.is_file() or path.is_fifo() else {}
        for name in content:
            if _is_ours(name) and _bare(name) not in settings_cls.model_fields:
                raise _unknown(name, settings_cls, self.where)
        self.env_vars = {name.lower(): value for name, value in content.items() if value}


class TomlFile(InitSettingsSource):
    """Settings in a TOML file; an empty text means unset. Raises RecipeError as DotEnv does."""

    def __init__(self, settings_cls: type[BaseSettings], path: Path) -> None:
        content = read_toml(path) if path.is_file() else {}
        for name in content:
            if name not in settings_cls.model_fields:
                raise _unknown(name, settings_cls, str(path), prefix="")
        super().__init__(settings_cls, {name: value for name, value in content.items() if value != ""})


def read_settings_text(path: Path) -> str:
    """The text of a settings file or a recipe, with plain line ends; raises RecipeError that names the file."""
    try:
        return decode_text(path.read_bytes()).text.replace("\r\n", "\n")
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise RecipeError(
            f"{path} cannot be read.", why=f"{why}.", remedy="Save it as UTF-8 text, in a place that you may read."
        ) from error


def read_toml(path: Path) -> dict[str, Json]:
    """What a TOML file says; raises RecipeError that names the file and what is wrong in it."""
    try:
        content: dict[str, Json] = tomllib.loads(read_settings_text(path))
    except RecursionError as error:
        raise RecipeError(f"{path} is no TOML file.", why=f"{TOO_DEEP}.") from error
    except ValueError as error:  # what TOML says, and a number of thousands of digits
        raise RecipeError(f"{path} is no TOML file.", why=str(error), remedy="Mend the line it names.") from error
    return content


def _variables(path: Path) -> Mapping[str, str | None]:
    """What a `.env` file defines. Lines of other tools that are no definitions are skipped."""
    sound = []
    for binding in parse_stream(io.StringIO(read_settings_text(path))):
        text = binding.original.string
        if not binding.error:
            sound.append(text)
        elif text.lstrip().removeprefix("export ").lstrip().upper().startswith(PREFIX):
            raise RecipeError(
                f"Line {binding.original.line} of {path} cannot be read.",
                why=f"it begins with {PREFIX}, but is no NAME=VALUE.",
                remedy=f"Write it as {PREFIX}NAME=VALUE; a value with odd characters goes into single quotes.",
            )
    return dotenv_values(stream=io.StringIO("".join(sound)))


def check_environment(settings_cls: type[BaseSettings]) -> None:
    """Raises RecipeError for a variable that looks like a misspelt setting.

    What resembles no setting does nothing; `flenwheel doctor` names it.
    """
    for given in strange_variables(settings_cls):
        if _nearest(_bare(given), settings_cls):
            raise _unknown(given, settings_cls, "the environment")


def strange_variables(settings_cls: type[BaseSettings]) -> tuple[str, ...]:
    """Variables of the environment that begin like a setting and are none, without those that container platforms add."""
    ours = (name for name in sorted(os.environ) if _is_ours(name) and not _PLATFORM.fullmatch(name))
    return tuple(name for name in ours if _bare(name) not in settings_cls.model_fields)


def describe_mistakes(error: ValidationError, settings_cls: type[BaseSettings]) -> RecipeError:
    """What is wrong with the values of settings, in words."""
    mistakes = []
    for item in error.errors(include_url=False):
        name = ".".join(str(part) for part in item["loc"])
        field = settings_cls.model_fields.get(str(item["loc"][0])) if item["loc"] else None
        mistakes.append(f"{name}: {item['msg']}" + (f" ({field.description})" if field and field.description else ""))
    return RecipeError(
        "A setting has a value that cannot be used.",
        why="\n  ".join(["", *mistakes]) if len(mistakes) > 1 else "".join(mistakes),
        remedy=f"Correct it where it is set: {PREFIX}NAME in the environment, .env, or flenwheel.toml.",
    )


def _is_ours(name: str) -> bool:
    return name.upper().startswith(PREFIX) and name.upper() not in OWN_VARIABLES


def _bare(name: str) -> str:
    return name.upper().removeprefix(PREFIX).lower()


def _nearest(bare: str, settings_cls: type[BaseSettings]) -> str | None:
    return next(iter(difflib.get_close_matches(bare, settings_cls.model_fields, n=1, cutoff=_NEAR)), None)


def _unknown(given: str, settings_cls: type[BaseSettings], where: str, *, prefix: str = PREFIX) -> RecipeError:
    near = _nearest(_bare(given), settings_cls)
    right = f"{prefix}{near.upper() if prefix else near}" if near else None
    return RecipeError(
        f"{given} in {where} is no setting.",
        why=f"the settings are: {', '.join(settings_cls.model_fields)}.",
        remedy=f"Did you mean {right}?" if right else "Remove it, or give it the name of a setting.",
    )
