"""Errors as a program reads them: parameters where the command line has options. Warnings keep the options."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields

from lits_deploy.errors import UserError
from lits_deploy.pipeline.options import ClassifyOptions
from lits_deploy.scans import Reading

_DEFAULTS = {one.name: one.default for kind in (ClassifyOptions, Reading) for one in fields(kind)}
_DEFAULTS |= {"out": None, "masks": None, "report": True, "segmenter": None}
_CALLED = {"format": "formats", "time_limit": "time_limit_s", "memory_limit": "memory_limit_mib"}
_OPTION = re.compile(r"(?<![\w-])--([a-z][a-z-]*)(?: ([A-Z]+|auto|cpu|cuda|onnxruntime|fp32|sform|qform|png,nifti)\b)?")


def with_parameters(text: str) -> str:
    """`--out elsewhere, or --overwrite` → `out` elsewhere, or `overwrite=True`; other commands' options stay."""
    return _OPTION.sub(_parameter, text)


def _parameter(found: re.Match[str]) -> str:
    option, value = found[1].replace("-", "_"), found[2]
    if option == "endpoint":
        return "`AWS_ENDPOINT_URL_S3`"
    name = _CALLED.get(option, option).removeprefix("no_")
    if name not in _DEFAULTS:
        return found[0]
    if isinstance(_DEFAULTS[name], bool):
        return f"`{name}={name == option}`" + (f" {value}" if value else "")
    if value is None:
        return f"`{name}`"
    return f"`{name}={value if value.isupper() else value.split(',') if ',' in value else repr(value)}`"


@contextmanager
def parameters_named() -> Iterator[None]:
    """Around a call of the API, also as a decorator: a UserError speaks of parameters."""
    try:
        yield
    except UserError as error:
        error.message, error.fix = with_parameters(error.message), error.fix and with_parameters(error.fix)
        error.args = (with_parameters(str(error)),)
        raise
