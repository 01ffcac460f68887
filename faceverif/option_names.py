"""Errors speak of an option by the name that its user knows: from Python, of an argument."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from inspect import signature
from typing import ParamSpec, TypeVar

from data_prep.errors import InputError

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

# An option, or a whole command to type, whose options keep their names.
_OPTION = re.compile(r"faceverif [a-z].*?(?=`|\. |$)|--[a-z][a-z-]*")
# What `faceverif.load` was told of a model is still spoken of when the model is used.
_OF_A_MODEL = ("preprocess", "output", "device")


@contextmanager
def renamed_options(names: Mapping[str, str]) -> Iterator[None]:
    """Give options other names in the errors that leave this block.

    Args:
        names: option -> name, as in {"--device": "device"}.
    """

    def renamed(text: str) -> str:
        return _OPTION.sub(lambda found: names.get(found[0], found[0]), text)

    try:
        yield
    except InputError as error:
        field = names.get(error.field, error.field)
        InputError.__init__(error, field, renamed(error.rule), got=error.got, fix=renamed(error.fix))
        raise


def names_arguments(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """A function of the Python interface, whose errors name its arguments in place of options."""
    own = tuple(signature(function).parameters)
    names = {f"--{name.replace('_', '-')}": name for name in (*_OF_A_MODEL, *own)}
    names["--model"] = names["FILE"] = "path" if "path" in own else "model"

    @wraps(function)
    def speaking(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        with renamed_options(names):
            return function(*args, **kwargs)

    return speaking
