"""YAML as DVC reads it: version 1.2, where `1e-4` is a number and `no` a word; PyYAML alone reads version 1.1."""

import re
from pathlib import Path
from typing import Any

import yaml

from deblurgan.errors import UserError

WORDS = "~nNtTfF"
NUMBERS = "-+.0123456789"


class _Loader(yaml.SafeLoader):
    """Scalars of YAML 1.2; a key that is there twice is an error."""

    yaml_implicit_resolvers: dict = {}

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        for i, key in enumerate(keys):
            if key in keys[:i]:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} is there twice", node.start_mark)
        return super().construct_mapping(node, deep)


def _integer(loader: _Loader, node: yaml.ScalarNode) -> int:
    text = loader.construct_scalar(node).replace("_", "").lower()
    sign, digits = (-1 if text[0] == "-" else 1), text.lstrip("+-")
    base = {"0b": 2, "0o": 8, "0x": 16}.get(digits[:2], 10)
    return sign * int(digits if base == 10 else digits[2:], base)


for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", WORDS),
    ("null", r"~|null|Null|NULL|", [*WORDS, ""]),
    ("int", r"[-+]?(0b[01_]+|0o[0-7_]+|0x[0-9a-fA-F_]+|[0-9_]+)", NUMBERS),
    (
        "float",
        r"[-+]?[0-9][0-9_]*\.[0-9_]*([eE][-+]?[0-9]+)?|[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+"
        r"|[-+]?\.[0-9_]+([eE][-+][0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        NUMBERS,
    ),
    ("timestamp", r"[0-9]{4}-[0-9]{2}-[0-9]{2}", NUMBERS),
    ("merge", r"<<", "<"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), list(_first))
_Loader.add_constructor("tag:yaml.org,2002:int", _integer)


def parsed(text: str) -> Any:
    """The value of a YAML document.

    Raises
    ------
    yaml.YAMLError
        The text is not YAML.
    ValueError
        A number has no digits.
    """
    return yaml.load(text, _Loader)


def read_yaml(path: Path | str) -> dict[str, Any]:
    """Read a YAML file of keys and values.

    Parameters
    ----------
    path
        params.yaml or a preset.

    Raises
    ------
    UserError
        The file is missing, is not YAML, or does not hold keys and values.
    """
    try:
        value = parsed(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing: run from the root of the repository") from None
    except (yaml.YAMLError, ValueError) as error:
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(value, dict):
        raise UserError(f"{path} must hold keys and values")
    return value
