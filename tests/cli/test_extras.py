"""What a command says of a library that is not there, and that a bug of ours is none."""

from __future__ import annotations

import pytest

from lits_deploy.cli.extras import needs
from lits_deploy.errors import MissingExtra


def test_a_missing_library_is_one_line_that_names_the_extra() -> None:
    line = r"^torch is not installed\. Fix: pip install 'lits-deploy\[train\]'$"
    with pytest.raises(MissingExtra, match=line), needs("train"):
        raise ModuleNotFoundError("No module named 'torch'", name="torch")


@pytest.mark.parametrize("name", ["train.cli.bars", "export", "lits_deploy.contract", None])
def test_a_module_of_ours_that_fails_is_a_bug(name: str | None) -> None:
    with pytest.raises(ImportError) as end, needs("train"):
        raise ImportError("cannot import", name=name)
    assert not isinstance(end.value, MissingExtra)
