"""Stand-ins for a binding's objects that cannot exist without a GPU, made from what the real binding says of itself.

pybind writes each signature into a docstring. A `Double` of a class has what the class has and nothing else: a call
must fit one of its overloads in number, names and types, and returns what the signature says (an `answers` entry, which
must be of that type, or a Double of the class returned). Enums and plain values stay the binding's own.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

PLAIN = {
    "int": int,
    "typing.SupportsInt": int,
    "str": str,
    "bool": bool,
    "tuple": tuple,
    "list": list,
    "None": type(None),
    "buffer": bytes,
    "typing_extensions.Buffer": bytes,
}
"""Python types by their names in signatures."""

RENAMED = {"IParserError": "ParserError"}
"""C++ classes that a signature calls by another name than Python does."""

MADE = ("Builder", "Runtime", "OnnxParser")
"""Classes that are not made, as their libraries are empty or find no GPU: calling one checks its arguments."""


@dataclass(frozen=True, kw_only=True)
class Signature:
    """arguments: (name, type, whether it may be left out), without `self`."""

    arguments: tuple[tuple[str, str, bool], ...]
    returns: str


class Module:
    """The binding as our code sees it. used: what was asked for, like `Builder.create_network`."""

    def __init__(self, real: Any, answers: Mapping[str, Any]) -> None:
        self._real, self._answers, self.used = real, dict(answers), set[str]()

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._real, name)
        self.used.add(name)
        if name in MADE:
            return lambda *given, **named: self.call(found, "__init__", given, named) or Double(self, found)
        return found

    def answer(self, key: str, returns: str, given: tuple[Any, ...]) -> Any:
        """What a call returns; TypeError where the table of answers promises what the binding does not."""
        if key not in self._answers:
            defaults = {"None": None, "bool": True}  # True: it worked
            if returns in PLAIN:
                return defaults[returns] if returns in defaults else PLAIN[returns]()
            return Double(self, self.named(returns))
        value = self._answers[key]
        value = value(*given) if callable(value) else value
        if value is not None and not self.fits(value, returns):
            raise TypeError(f"{key} returns {returns}, not {value!r}")
        return value

    def call(self, kind: type, name: str, given: tuple[Any, ...], named: Mapping[str, Any]) -> Any:
        """Check a call of a method; TypeError lists the overloads where none takes it."""
        key = f"{kind.__name__}.{name}"
        self.used.add(key)
        overloads = signatures(getattr(kind, name).__doc__, name)
        for overload in overloads:
            if self._takes(overload, given, named):
                return self.answer(key, overload.returns, given)
        raise TypeError(f"{key} takes {overloads}, not {given} {named}")

    def fits(self, value: Any, kind: str) -> bool:
        """True where a value is of a type by its name in a signature."""
        if inner := re.fullmatch(r"[Ll]ist\[(.*)\]", kind):
            return isinstance(value, list) and all(self.fits(item, inner[1]) for item in value)
        if (plain := PLAIN.get(kind)) is not None:
            return isinstance(value, plain) and (plain is not int or not isinstance(value, bool))
        wanted = self.named(kind)
        if isinstance(value, Double):
            return issubclass(value._kind, wanted)
        return isinstance(value, wanted) and (type(value) is wanted or overrides_fit(type(value), wanted))

    def named(self, kind: str) -> Any:
        """A class of the binding by its name in a signature; AttributeError where it has none."""
        name = re.sub(r"^\w+\.\w+\.|^\w+::", "", kind)  # package and module, or C++ namespace
        return attrgetter(RENAMED.get(name, name))(self._real)

    def _takes(self, overload: Signature, given: tuple[Any, ...], named: Mapping[str, Any]) -> bool:
        names = [name for name, _, _ in overload.arguments]
        values = {**dict(zip(names, given, strict=False)), **named}
        if len(given) > len(names) or len(values) < len(given) + len(named) or not set(values) <= set(names):
            return False
        return all(
            self.fits(values[name], kind) if name in values else optional for name, kind, optional in overload.arguments
        )


class Double:
    """An object of a class of the binding."""

    def __init__(self, module: Module, kind: type) -> None:
        self.__dict__.update(_module=module, _kind=kind)

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._kind, name)  # AttributeError where the class has no such thing
        if not isinstance(member, property):
            return lambda *given, **named: self._module.call(self._kind, name, given, named)
        key = f"{self._kind.__name__}.{name}"
        self._module.used.add(key)
        (read,) = signatures(member.fget.__doc__, "")
        return self._module.answer(key, read.returns, ())

    def __setattr__(self, name: str, value: Any) -> None:
        key, member = f"{self._kind.__name__}.{name}", getattr(self._kind, name)
        if member.fset is None:
            raise AttributeError(f"{key} cannot be set")
        (write,) = signatures(member.fset.__doc__, "")
        if not self._module.fits(value, write.arguments[0][1]):
            raise TypeError(f"{key} is {write.arguments[0][1]}, not {value!r}")
        self._module.used.add(key)

    def __bytes__(self) -> bytes:
        assert self._kind.__name__ == "IHostMemory"
        return b"bytes"


def signatures(doc: str, name: str) -> list[Signature]:
    """All overloads that a docstring of pybind lists; of a property's function, whose name is empty, the one."""
    found = []
    for inside, returns in re.findall(rf"^(?:\d+\. )?{name}\((.*)\) -> (.+?)$", inspect.cleandoc(doc), re.MULTILINE):
        arguments = []
        for part in _split(inside)[1:]:
            argument, _, kind = part.partition(": ")
            kind, default, _ = kind.partition(" = ")
            arguments.append((argument, kind, bool(default)))
        found.append(Signature(arguments=tuple(arguments), returns=returns))
    if not found:
        raise TypeError(f"no signature of {name} in {doc!r}")
    return found


def overrides_fit(ours: type, base: type) -> bool:
    """True where what a class of ours overrides takes as many arguments as the binding passes."""
    for name in {name for name in vars(ours) if not name.startswith("_")} & set(dir(base)):
        (called,) = signatures(getattr(base, name).__doc__, name)
        if len(inspect.signature(getattr(ours, name)).parameters) != len(called.arguments) + 1:
            return False
    return True


def _split(text: str) -> list[str]:
    """Arguments parted by commas, those inside of brackets left alone."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "[(<{") - (letter in "])>}")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts if part.strip()]
