"""The exception tree is drawn as it is."""

from __future__ import annotations

import inspect

from lits_deploy import errors


def test_every_exception_is_in_the_drawing() -> None:
    drawing = errors.__doc__ or ""
    names = [n for n, o in vars(errors).items() if inspect.isclass(o) and issubclass(o, Exception)]
    assert names
    assert all(name in drawing for name in names)


def test_a_users_error_names_the_fix() -> None:
    error = errors.MissingExtra("onnxruntime", "cpu")
    assert str(error) == "onnxruntime is not installed. Fix: pip install 'lits-deploy[cpu]'"
    assert isinstance(error, errors.UserError)


def test_messages_are_one_printable_line() -> None:
    hostile = "a\x1b[31m\nb\u202e"
    for error in (errors.UserError(hostile, fix=hostile), errors.SliceError(hostile)):
        assert str(error).isprintable()
    assert errors.UserError("x", fix=hostile).fix == r"a\x1b[31m\x0ab\xe2\x80\xae"
