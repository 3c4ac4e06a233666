"""Discovery: the right files under the right names, loops that end, nothing silent."""

from __future__ import annotations

import gzip
import io
import os
import re
import socket
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lits_deploy.errors import UserError
from lits_deploy.scans import discover, kinds
from lits_deploy.scans.containment import OUTSIDE
from lits_deploy.scans.discover import UNFINISHED, UNREADABLE, Discovery
from named_pipes import not_waiting_for
from pictures import encoded, grey_pixels
from scan_files import ct, nifti, stack


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


def names(*roots: Path, **options: Any) -> list[str]:
    return sorted(found.path for found in Discovery(roots, **options))


def test_one_root_gives_paths_below_it(tmp_path: Path) -> None:
    for name in ("b/2.png", "b/1.PNG", "a.jpg", "a/c.jpeg", "a/c.jpe"):
        touch(tmp_path / name)
    assert names(tmp_path) == ["a.jpg", "a/c.jpe", "a/c.jpeg", "b/1.PNG", "b/2.png"]
    assert names(tmp_path, recursive=False) == ["a.jpg"]


def test_records_hold_size_and_time_and_lead_back_to_the_file(tmp_path: Path) -> None:
    file = touch(tmp_path / "a.png")
    discovery = Discovery([tmp_path])
    (found,) = discovery
    assert (found.size, found.mtime_ns, found.reason) == (1, file.stat().st_mtime_ns, None)
    assert Path(discovery.real_path(found.path)).samefile(file)


def test_a_single_file_is_its_name_and_several_roots_share_a_parent(tmp_path: Path) -> None:
    one, two = touch(tmp_path / "x/1.png"), touch(tmp_path / "y/1.png")
    assert names(one) == ["1.png"]
    assert names(one, two) == ["x/1.png", "y/1.png"]
    assert names(tmp_path / "x", tmp_path / "y") == ["x/1.png", "y/1.png"]
    assert set(names(tmp_path / "x", tmp_path, one)) == {"x/1.png", "y/1.png"}


def test_an_inbox_is_looked_into_by_entries_and_copies_in_progress_are_passed_over(tmp_path: Path) -> None:
    for name in ("a/1.png", "a/2.dcm.part", "a/b.TMP/4.png", "b/1.png", "c.png", "d.png", "deep/a/5.png"):
        touch(tmp_path / name).write_bytes(ct())
    (tmp_path / "link").symlink_to("b")
    assert names(tmp_path, only={"a"}) == ["a/1.png", "a/2.dcm.part", "a/b.TMP/4.png"]
    assert names(tmp_path, only={"a", "c.png"}, unfinished=UNFINISHED) == ["a/1.png", "c.png"]
    assert names(tmp_path, only={"deep"}) == ["deep/a/5.png"]
    assert names(tmp_path, only={"link"}) == ["link/1.png"]
    assert names(tmp_path, only=()) == []


def test_hidden_files_the_output_and_other_files_are_no_scans(tmp_path: Path) -> None:
    for name in (".a.png", ".git/b.png", "out/old.png", "c.png", "notes.txt", "table.csv", "README"):
        touch(tmp_path / name)
    discovery = Discovery([tmp_path], skip=[tmp_path / "out"])
    assert [found.path for found in discovery] == ["c.png"]
    assert discovery.others == {".txt": 1, ".csv": 1, "": 1}
    assert names(tmp_path / "out", skip=[tmp_path / "out"]) == ["old.png"]  # named: walked


def test_a_hidden_root_is_walked_because_it_was_named(tmp_path: Path) -> None:
    touch(tmp_path / ".cache/a.png")
    assert names(tmp_path / ".cache") == ["a.png"]


def test_links_are_followed_and_loops_end(tmp_path: Path) -> None:
    touch(tmp_path / "real/a.png")
    touch(tmp_path.with_name("elsewhere") / "b.png")
    (tmp_path / "real/loop").symlink_to(tmp_path)
    (tmp_path / "a-link").symlink_to(tmp_path / "real")  # before "real" in order, yet the real name wins
    (tmp_path / "outside").symlink_to(tmp_path.with_name("elsewhere"))
    (tmp_path / "self.png").symlink_to(tmp_path / "self.png")
    (tmp_path / "self").symlink_to(tmp_path / "self")
    (tmp_path / "file.png").symlink_to(tmp_path / "real/a.png")
    assert names(tmp_path, follow_links=True) == ["file.png", "outside/b.png", "real/a.png", "self.png"]


def test_links_that_lead_out_of_the_roots_are_rows_and_not_followed(tmp_path: Path) -> None:
    root, other = tmp_path / "root", tmp_path / "root-2"  # a name that begins as the root's is no part of it
    for name in ("b.png", "scan", "more.zip", "notes.txt", "deep/c.png"):
        touch(other / name).write_bytes(b"PK\x05\x06" + bytes(18))
    touch(root / "a.png")
    touch(root / "sub/d.png")
    for path in other.iterdir():
        (root / path.name).symlink_to(path)
    (root / "sub/deep").symlink_to("../../root-2/deep")
    (root / "inside.png").symlink_to("sub/../a.png")
    (root / "around").symlink_to(root / "deep" / ".." / "deep")
    (root / "lost.png").symlink_to(tmp_path / "nowhere.png")
    discovery = Discovery([root])
    found = {record.path: record.reason for record in discovery}
    out = {"b.png", "scan", "more.zip", "deep/", "sub/deep/", "around/", "lost.png"}
    assert found == {**dict.fromkeys(out, OUTSIDE), "a.png": None, "sub/d.png": None, "inside.png": None}
    assert "--follow-links" in OUTSIDE
    assert discovery.others == {".txt": 1}
    assert "sub/deep/" not in names(root, recursive=False)
    assert {"b.png", "sub/deep/c.png"} < set(names(root, follow_links=True))  # each folder once
    assert "root-2/deep/c.png" in names(root, other)


def test_roots_may_be_links_and_links_between_them_stay_inside(tmp_path: Path) -> None:
    touch(tmp_path / "real/a.png")
    touch(tmp_path / "other/b.png")
    (tmp_path / "real/to-other.png").symlink_to("../other/b.png")
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "one.png").symlink_to("other/b.png")
    assert {r.path: r.reason for r in Discovery([tmp_path / "link"])} == {"a.png": None, "to-other.png": OUTSIDE}
    both = {r.path: r.reason for r in Discovery([tmp_path / "link", tmp_path / "one.png"])}
    assert both == {"one.png": None, "real/a.png": None, "real/to-other.png": None}


def test_what_is_swapped_for_a_link_before_it_is_opened_is_not_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    with zipfile.ZipFile(touch(secret / "a.zip"), "w") as out:
        out.writestr("a.png", "x")
    (secret / "scan").write_bytes(ct())
    touch(tmp_path / "root/x.png")
    discovery = Discovery([tmp_path / "root"])
    (tmp_path / "root/sub").symlink_to(secret)  # a folder on the way, between listing and opening
    for name in ("a.zip", "scan"):
        (found,) = discovery._file(str(tmp_path / "root/sub" / name), name)
        assert found.reason == OUTSIDE


def test_what_is_there_but_cannot_be_read_is_a_record_with_a_reason(tmp_path: Path) -> None:
    (tmp_path / "broken.png").symlink_to(tmp_path / "nowhere.png")
    os.mkfifo(tmp_path / "pipe.png")
    reasons = {found.path: (found.size, found.reason) for found in Discovery([tmp_path])}
    assert reasons == {
        "broken.png": (UNREADABLE, "the file cannot be read (no such file or directory)"),
        "pipe.png": (UNREADABLE, "not a regular file"),
    }


def test_a_folder_that_cannot_be_listed_is_a_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path / "locked/a.png")
    touch(tmp_path / "open/b.png")
    scandir = os.scandir

    def refuse(path: str) -> Iterator[os.DirEntry[str]]:  # root may read everything, so permissions cannot be tested
        if path.endswith("locked"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(discover.os, "scandir", refuse)
    found = {record.path: record.reason for record in Discovery([tmp_path])}
    assert found == {"locked/": "the folder cannot be listed (permission denied)", "open/b.png": None}


def test_a_file_that_is_named_is_a_record_whatever_it_is(tmp_path: Path) -> None:
    def reason(name: str, data: bytes = b"x") -> str | None:
        (tmp_path / name).write_bytes(data)
        (found,) = Discovery([tmp_path / name])
        assert found.path == name
        return found.reason

    for name in ("notes.txt", "README", "scan.0001"):
        assert reason(name) == "neither a PNG, JPEG, DICOM or NIfTI file nor a zip"
    assert "name the folder" in (reason("DICOMDIR") or "")
    assert reason("empty.zip", b"PK\x05\x06" + bytes(18)) == "no scan is in this zip"
    assert reason("series.dcm") is None


def kinds_in(folder: Path, **options: Any) -> dict[str, str]:
    found = {record.path: record.reason or record.kind for record in Discovery([folder], **options)}
    assert all(found.values())
    return found


def test_kinds_come_from_the_suffix_or_the_content(tmp_path: Path) -> None:
    for name in ("a.png", "b.JPG", "c.dcm", "d.ima", "e.nii", "f.nii.gz", "lfs.NII.GZ"):
        touch(tmp_path / name)
    (tmp_path / "IM0001").write_bytes(ct())
    (tmp_path / "1.2.840.113").write_bytes(ct())
    (tmp_path / "volume").write_bytes(nifti(stack(1)))
    (tmp_path / "packed.gz").write_bytes(gzip.compress(nifti(stack(1))))
    (tmp_path / "picture.tmp").write_bytes(encoded(grey_pixels()))
    assert kinds_in(tmp_path) == {
        "a.png": "picture",
        "b.JPG": "picture",
        "c.dcm": "dicom",
        "d.ima": "dicom",
        "e.nii": "nifti",
        "f.nii.gz": "nifti",
        "lfs.NII.GZ": "nifti",
        "IM0001": "dicom",
        "1.2.840.113": "dicom",
        "volume": "nifti",
        "packed.gz": "nifti",
        "picture.tmp": "picture",
    }


def test_what_is_recognised_and_not_read_is_a_failure(tmp_path: Path) -> None:
    for name in ("a.tiff", "b.nrrd", "c.7z"):
        touch(tmp_path / name)
    (tmp_path / "scan").write_bytes(b"NRRD0004\n")
    assert {path: reason.partition(":")[0] for path, reason in kinds_in(tmp_path).items()} == {
        "a.tiff": "a TIFF picture",
        "b.nrrd": "an NRRD volume",
        "c.7z": "a 7-Zip archive",
        "scan": "an NRRD volume",
    }


def test_only_what_the_suffix_leaves_open_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.png", "b.dcm", "c.txt", "d.tif", "DICOMDIR", "e.nii.gz", "IM1", "f.0001"):
        touch(tmp_path / name)
    opened: list[str] = []
    open_, discovery = os.open, Discovery([tmp_path])
    monkeypatch.setattr(discover.os, "open", lambda path, *rest: opened.append(Path(path).name) or open_(path, *rest))
    assert len(list(discovery)) == 4
    assert sorted(opened) == ["IM1", "f.0001"]
    assert discovery.others == {".txt": 1, "DICOMDIR": 1, "": 1, "other": 1}


def test_a_file_of_unknown_kind_that_cannot_be_opened_is_a_record_and_a_pipe_is_none(tmp_path: Path) -> None:
    (tmp_path / "broken").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        discovery = Discovery([tmp_path])
        (found,) = not_waiting_for(tmp_path / "pipe", lambda: list(discovery))
    assert (found.path, found.reason) == ("broken", "the file cannot be read (no such file or directory)")
    assert discovery.others == {"": 2}


def test_a_zip_is_a_folder(tmp_path: Path) -> None:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as out:
        out.writestr("a.png", "x")
    with zipfile.ZipFile(tmp_path / "study.zip", "w") as out:
        out.writestr("a.png", encoded(grey_pixels()))
        out.writestr("series/IM1", ct())
        out.writestr("../up.dcm", b"x")
        out.writestr("notes.txt", "x")
        out.writestr("DICOMDIR", "x")
        out.writestr("README", "x")
        out.writestr("b.tif", "x")
        out.writestr("deep.zip", inner.getvalue())
        out.writestr("deep", inner.getvalue())
        out.writestr(".hidden.png", "x")
    discovery = Discovery([tmp_path])
    found = {record.path: record for record in discovery}
    assert {path: record.reason or record.kind for path, record in found.items()} == {
        "study.zip/a.png": "picture",
        "study.zip/series/IM1": "dicom",
        "study.zip/\\x2e\\x2e/up.dcm": "dicom",
        "study.zip/b.tif": "a TIFF picture: only PNG and JPEG pictures are read",
        "study.zip/deep.zip": "a zip inside a zip: unpack it",
        "study.zip/deep": "a zip inside a zip: unpack it",
    }
    assert discovery.others == {".txt": 1, "": 1, "DICOMDIR": 1}
    one = found["study.zip/series/IM1"]
    assert (one.container, one.member, one.size) == ("study.zip", 1, len(ct()))
    assert one.mtime_ns == (tmp_path / "study.zip").stat().st_mtime_ns
    assert Path(discovery.real_path("study.zip")).samefile(tmp_path / "study.zip")


def test_a_broken_zip_is_one_record_and_one_without_scans_is_another_file(tmp_path: Path) -> None:
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04" + bytes(50))
    (tmp_path / "empty.zip").write_bytes(b"PK\x05\x06" + bytes(18))
    (tmp_path / "lost.zip").symlink_to(tmp_path / "nowhere")
    (tmp_path / "no-suffix").write_bytes((tmp_path / "broken.zip").read_bytes())
    discovery = Discovery([tmp_path])
    assert {record.path: record.reason for record in discovery} == {
        "broken.zip": "the zip is truncated or damaged",
        "no-suffix": "the zip is truncated or damaged",
        "lost.zip": "the file cannot be read (no such file or directory)",
    }
    assert discovery.others == {".zip": 1}


def test_a_zip_under_a_name_that_is_not_utf8_is_found_again(tmp_path: Path) -> None:
    raw = os.fsencode(tmp_path) + b"/caf\xe9.zip"
    with zipfile.ZipFile(os.fsdecode(raw), "w") as out:
        out.writestr("é.png", "x")
    discovery = Discovery([tmp_path])
    (found,) = discovery
    assert (found.path, found.container) == ("caf\\xe9.zip/é.png", "caf\\xe9.zip")
    assert os.fsencode(discovery.real_path(found.container or "")) == raw


def test_a_root_that_is_not_there_is_the_users_error(tmp_path: Path) -> None:
    nope = tmp_path / "nope"
    for roots, hidden, said in (
        ([nope], False, f"There is no {nope}."),
        ([nope], True, "There is no such file or folder."),
        ([tmp_path, nope], True, "There is no such file or folder: number 2 of the 2 named."),
    ):
        with pytest.raises(UserError, match=f"^{re.escape(said)} Fix: "):
            Discovery(roots, hidden=hidden)


def test_names_that_are_not_utf8_survive(tmp_path: Path) -> None:
    raw = os.fsencode(tmp_path) + b"/caf\xe9.png"
    Path(os.fsdecode(raw)).write_bytes(b"x")
    discovery = Discovery([tmp_path])
    (found,) = discovery
    assert found.path == "caf\\xe9.png"
    assert os.fsencode(discovery.real_path(found.path)) == raw


@pytest.mark.parametrize(
    "name",
    ["CT.MUSTERMANN^ERIKA_1957-03-12", "image.0001", "a.\x1b[31m", "a.\u202etxt", os.fsdecode(b"a.\xff"), "DOE.JANE"],
)
def test_a_suffix_that_is_no_common_one_is_counted_and_not_named(tmp_path: Path, name: str) -> None:
    touch(tmp_path / name)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as out:
        out.writestr(name.encode(errors="replace").decode(), b"x")
        out.writestr("a.png", b"x")
    discovery = Discovery([tmp_path])
    assert [found.path for found in discovery] == ["a.zip/a.png"]
    assert discovery.others == {kinds.OTHER: 2}
