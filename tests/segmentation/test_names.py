"""Names of masks: whatever a path holds, below the folder, and no two alike."""

from __future__ import annotations

from pathlib import PurePosixPath

from hypothesis import given
from hypothesis import strategies as st

from lits_deploy.segmentation.names import mask_name, other_name

SUFFIX = ".0003.png"
PARTS = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="/\0"), min_size=1, max_size=300)
PATHS = st.lists(PARTS, min_size=1, max_size=6).map("/".join)


@given(PATHS)
def test_a_name_stays_below_its_folder_and_fits_a_file_system(path: str) -> None:
    for name in (mask_name(path, SUFFIX), other_name(mask_name(path, SUFFIX), path, SUFFIX)):
        parts = name.split("/")
        assert name.endswith(SUFFIX)
        assert all(part and not part.startswith(".") and part[-1] not in ". " for part in parts)
        assert not set('\\<>:"|?*\n\r\t\0') & set(name)
        assert all(len(part.encode()) <= 255 for part in parts)
        assert len(name.encode()) < 1000
        assert not PurePosixPath(name).is_absolute()


@given(PATHS, PATHS)
def test_two_paths_have_two_names(one: str, other: str) -> None:
    assert (mask_name(one, SUFFIX) == mask_name(other, SUFFIX)) == (one == other)
    assert mask_name(one, ".0001.png") != mask_name(other, ".0002.png")


def test_usual_names_stay_as_they_are() -> None:
    assert mask_name("Study 1/Ünïcode 患者/IM0001", SUFFIX) == "Study 1/Ünïcode 患者/IM0001.0003.png"
    assert mask_name("../x", SUFFIX) == "%2E./x.0003.png".replace("%2E.", "%2E%2E")
    assert mask_name("a%2Fb", SUFFIX) == "a%252Fb.0003.png"
    assert mask_name("x" * 300, SUFFIX).startswith("xxx")
