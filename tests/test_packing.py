"""Packing and unpacking: equal bytes, the same hashes, and zip files that someone made to do harm."""

from __future__ import annotations

import json
import os
import shutil
import stat
import struct
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

from lits_deploy import bundle_zip as packed_module
from lits_deploy import zip_guard
from lits_deploy.bundle import Bundle
from lits_deploy.bundle_zip import looks_like_bundle, read_packed
from lits_deploy.errors import BundleError, OutputError, UserError
from lits_deploy.files import sha256_file
from lits_deploy.packing import pack, unpack
from lits_deploy.sealed import Sealed
from lits_deploy.verify import verify
from tiny_bundle import make_tiny_bundle, write_raw_manifest

Entries = dict[str, bytes]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_tiny_bundle(tmp_path_factory.mktemp("made") / "tiny", size=32, crop=28, resize="never")


@pytest.fixture
def entries(original: Bundle) -> Entries:
    """What a good zip holds."""
    return {f"tiny/{path.name}": path.read_bytes() for path in sorted(original.folder.iterdir())}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def write_zip(path: Path, entries: Entries, *more: tuple[zipfile.ZipInfo | str, bytes], deflated: bool = False) -> Path:
    method = zipfile.ZIP_DEFLATED if deflated else zipfile.ZIP_STORED
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", method) as archive:
        warnings.simplefilter("ignore")  # of a name that comes twice
        for name, data in (*entries.items(), *more):
            archive.writestr(name, data)
    return path


def table_of_contents(path: Path) -> int:
    """Where it begins; golden.npz inside is a zip file with one of its own."""
    with zipfile.ZipFile(path) as archive:
        return archive.start_dir


def everything(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def refused(path: Path, says: str, here: Path) -> None:
    """It is refused with that reason and a fix, in one line, and nothing is left behind."""
    before = everything(here.parent)
    with pytest.raises(BundleError, match=says) as caught:
        unpack(path, here / "deep" / "er")
    assert caught.value.fix
    assert "\n" not in str(caught.value)
    assert everything(here.parent) == before


class TestPack:
    def test_there_and_back(self, original: Bundle, here: Path) -> None:
        path = pack(original.folder)
        assert path == Path("tiny.zip")
        bundle = unpack(path, here / "a" / "copy")
        assert bundle.sha256 == original.sha256
        assert bundle.problems() == []
        assert everything(bundle.folder) == everything(original.folder)
        assert all(stat.S_IMODE(file.stat().st_mode) == 0o644 for file in bundle.folder.iterdir())
        assert everything(here) == [
            "a",
            "a/copy",
            *(f"a/copy/{name}" for name in everything(original.folder)),
            "tiny.zip",
        ]
        assert unpack(path).folder == Path("tiny")

    def test_equal_bundles_give_equal_bytes(self, original: Bundle, here: Path) -> None:
        copy = here / "elsewhere" / "tiny"
        shutil.copytree(original.folder, copy)
        for file in copy.iterdir():
            file.chmod(0o600)
            os.utime(file, (1, 1))
        pack(original.folder, Path("one.zip"))
        pack(copy, Path("two.zip"))
        assert sha256_file(Path("one.zip")) == sha256_file(Path("two.zip"))
        with zipfile.ZipFile("one.zip") as archive:
            assert archive.namelist() == sorted(archive.namelist())
            assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
            assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}

    @pytest.mark.parametrize("harm", ["foreign", "altered", "missing"])
    def test_a_bundle_with_a_problem_is_not_packed(self, original: Bundle, here: Path, harm: str) -> None:
        copy = here / "tiny"
        shutil.copytree(original.folder, copy)
        if harm == "foreign":
            (copy / "notes.txt").write_text("patient 7 looks odd")
        elif harm == "altered":
            (copy / "model.onnx").write_bytes(b"another")
        else:
            (copy / "golden.npz").unlink()
        with pytest.raises(BundleError, match="not in the manifest" if harm == "foreign" else "not packed"):
            pack(copy)
        assert not Path("tiny.zip").exists()

    def test_where_it_may_be_written(self, original: Bundle, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        Path("taken.zip").write_text("mine")
        with pytest.raises(OutputError, match="exists already"):
            pack(original.folder, Path("taken.zip"))
        assert Path("taken.zip").read_text() == "mine"
        assert zipfile.is_zipfile(pack(original.folder, Path("taken.zip"), overwrite=True))
        with pytest.raises(OutputError, match="is a folder"):
            pack(original.folder, here, overwrite=True)
        shutil.copytree(original.folder, "tiny")
        monkeypatch.chdir("tiny")
        with pytest.raises(OutputError, match="inside the bundle"):
            pack(Path())
        assert pack(Path(), Path("../out.zip")).is_file()

    def test_a_folder_with_an_odd_name(self, original: Bundle, here: Path) -> None:
        shutil.copytree(original.folder, here / ".r\\e:s (1)")
        pack(here / ".r\\e:s (1)", Path("out.zip"))
        assert unpack(Path("out.zip")).sha256 == original.sha256


class TestUnpackTo:
    def test_an_existing_bundle_is_replaced_when_asked(self, original: Bundle, entries: Entries, here: Path) -> None:
        path = write_zip(here / "x.zip", entries)
        unpack(path)
        with pytest.raises(OutputError, match=r"exists already.*--overwrite"):
            unpack(path)
        (here / "tiny" / "model.onnx").write_bytes(b"broken")
        assert unpack(path, overwrite=True).problems() == []
        assert everything(here) == [
            "tiny",
            *(f"tiny/{path.name}" for path in sorted(original.folder.iterdir())),
            "x.zip",
        ]

    @pytest.mark.parametrize("kind", ["files", "web extension", "file", "link", "bundle with a folder"])
    def test_what_is_no_bundle_is_never_replaced(self, entries: Entries, here: Path, kind: str) -> None:
        path, target = write_zip(here / "x.zip", entries), here / "thesis"
        if kind == "file":
            target.write_text("")
        elif kind == "link":
            unpack(path)
            target.symlink_to("tiny")
        elif kind == "bundle with a folder":
            unpack(path, target)
            (target / "notes").mkdir()
        else:
            target.mkdir()
            (target / ("manifest.json" if kind == "web extension" else "chapter.tex")).write_text("{}")
        before = everything(here)
        with pytest.raises(OutputError, match="not a bundle"):
            unpack(path, target, overwrite=True)
        assert everything(here) == before

    def test_no_room(self, entries: Entries, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = write_zip(here / "x.zip", entries)
        usage = shutil.disk_usage(here)._replace(free=100)
        monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
        with pytest.raises(OutputError, match="make room"):
            unpack(path, here / "a" / "b")
        assert everything(here) == ["x.zip"]

    def test_a_folder_that_cannot_be_made(self, entries: Entries, here: Path) -> None:
        path = write_zip(here / "x.zip", entries)
        with pytest.raises(OutputError, match="cannot be written"):
            unpack(path, path / "below")


def test_a_zip_that_another_program_made(original: Bundle, entries: Entries, here: Path) -> None:
    """Deflated, in another order, with an entry for the folder."""
    backwards = {"tiny/": b"", **dict(reversed(entries.items()))}
    assert unpack(write_zip(here / "x.zip", backwards, deflated=True)).sha256 == original.sha256


class TestHostile:
    @pytest.mark.parametrize(
        "name",
        [
            "/etc/cron.d/x",
            "../x",
            "tiny/../x",
            "tiny/../../x",
            "C:/x",
            "C:x",
            "tiny\\x",
            "..\\x",
            "tiny/C:x",
            "//host/x",
        ],
    )
    def test_escapes(self, entries: Entries, here: Path, name: str) -> None:
        refused(write_zip(here / "x.zip", entries, (name, b"x")), "leads out of its folder", here)

    @pytest.mark.parametrize(
        "name", ["tiny/.", "tiny//x", "tiny/\x1b[2Jx", "tiny/.bashrc", "tiny/" + "x" * 300, ".ssh/x"]
    )
    def test_odd_names(self, entries: Entries, here: Path, name: str) -> None:
        refused(write_zip(here / "x.zip", entries, (name, b"x")), "no plain name", here)

    @pytest.mark.parametrize("top", ["-rf", "--out", "-", "~root", " tiny", "tiny "])
    def test_names_that_a_shell_would_misread(self, entries: Entries, here: Path, top: str) -> None:
        moved = {name.replace("tiny", top, 1): data for name, data in entries.items()}
        refused(write_zip(here / "x.zip", moved), "no plain name", here)
        refused(write_zip(here / "x.zip", entries, (f"tiny/{top}", b"x")), "no plain name", here)

    def test_a_folder_of_such_a_name_is_packed_under_another(self, original: Bundle, here: Path) -> None:
        shutil.copytree(original.folder, here / "-rf")
        assert read_packed(pack(here / "-rf", here / "x.zip")).top == "rf"

    def test_a_name_cut_at_a_nul(self, entries: Entries, here: Path) -> None:
        path = write_zip(here / "x.zip", entries, ("tiny/README.mdX", b"x"))
        path.write_bytes(path.read_bytes().replace(b"tiny/README.mdX", b"tiny/README.md\0"))
        refused(path, "no plain name", here)

    @pytest.mark.parametrize(
        "kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFDIR]
    )
    def test_links_and_devices(self, entries: Entries, here: Path, kind: int) -> None:
        info = zipfile.ZipInfo("tiny/README.md")
        info.external_attr = (kind | 0o777) << 16
        entries.pop("tiny/README.md")
        refused(write_zip(here / "x.zip", entries, (info, b"/etc/passwd")), "link or a device", here)

    def test_twice_and_by_case(self, entries: Entries, here: Path) -> None:
        refused(write_zip(here / "x.zip", entries, ("tiny/model.onnx", b"another")), "comes twice", here)
        refused(write_zip(here / "x.zip", entries, ("tiny/MODEL.onnx", b"another")), "by case only", here)

    @pytest.mark.parametrize(
        ("name", "says"),
        [
            ("other/x", "2 folders at its top"),
            ("x", "at its top"),
            ("tiny/sub/x", "in a folder below"),
            ("tiny/sub/", "in a folder below"),
            ("tiny/run.sh", "`tiny/run.sh` is not in its manifest|`run.sh` is not in its manifest"),
        ],
    )
    def test_more_than_the_bundle(self, entries: Entries, here: Path, name: str, says: str) -> None:
        refused(write_zip(here / "x.zip", entries, (name, b"" if name.endswith("/") else b"x")), says, here)

    @pytest.mark.parametrize("name", ["manifest.json", "manifest.sha256", "model.onnx", "golden.npz"])
    def test_less_than_the_bundle(self, entries: Entries, here: Path, name: str) -> None:
        entries.pop(f"tiny/{name}")
        refused(write_zip(here / "x.zip", entries), f"no {name}|{name} is missing", here)

    def test_too_many_entries(self, entries: Entries, here: Path) -> None:
        more = [(f"tiny/{number}", b"") for number in range(300)]
        refused(write_zip(here / "x.zip", entries, *more), "more than any bundle", here)

    def test_a_table_of_contents_without_end(self, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Refused by its count before zipfile makes an object of every entry."""
        monkeypatch.setattr(zip_guard, "MOST_ENTRIES", 3)
        path = write_zip(here / "x.zip", {}, *((f"tiny/{number}", b"") for number in range(5)))
        refused(path, "more than 3 files in one zip", here)

    def test_bombs_by_ratio_size_and_total(self, entries: Entries, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        bomb = {**entries, "tiny/README.md": b"\0" * (4 << 20)}
        refused(write_zip(here / "x.zip", bomb, deflated=True), "a zip bomb", here)
        grown = {**entries, "tiny/model.onnx": entries["tiny/model.onnx"] + b"\0"}
        refused(write_zip(here / "x.zip", grown), "its manifest says", here)
        long = {**entries, "tiny/manifest.json": b" " * (5 << 20)}
        refused(write_zip(here / "x.zip", long), "manifest.json has 5,242,880 bytes", here)
        monkeypatch.setattr(packed_module, "MOST_OTHER", 100)
        refused(write_zip(here / "x.zip", entries), "more than any bundle's", here)
        monkeypatch.setattr(packed_module, "MOST_TOTAL", 100)
        refused(write_zip(here / "x.zip", entries), "would unpack to", here)

    def test_a_declared_size_that_is_a_lie(self, original: Bundle, entries: Entries, here: Path) -> None:
        """The zip says that the model is as long as the manifest has it, and 8 MB come out."""
        size, real = len(entries["tiny/model.onnx"]), 8 << 20
        entries["tiny/model.onnx"] = np.random.default_rng(0).bytes(real // 64) * 64
        path = write_zip(here / "x.zip", entries, deflated=True)
        data = path.read_bytes()
        assert data.count(struct.pack("<I", real)) == 2  # local header and table of contents
        path.write_bytes(data.replace(struct.pack("<I", real), struct.pack("<I", size)))
        refused(path, "more room packed than the size it declares|damaged", here)
        bomb = path.with_name("y.zip")
        entries["tiny/model.onnx"] = b"\0" * real
        data = write_zip(bomb, entries, deflated=True).read_bytes()
        bomb.write_bytes(data.replace(struct.pack("<I", real), struct.pack("<I", size)))
        refused(bomb, "damaged|more room packed", here)

    def test_entries_that_share_their_bytes(self, entries: Entries, here: Path) -> None:
        path = write_zip(here / "x.zip", entries)
        data, first = bytearray(path.read_bytes()), table_of_contents(path)
        second = data.index(b"PK\1\2", first + 4)
        data[second + 42 : second + 46] = data[first + 42 : first + 46]  # where its local header lies
        path.write_bytes(data)
        refused(path, "overlaps", here)

    def test_encrypted_and_exotic(self, entries: Entries, here: Path) -> None:
        path = write_zip(here / "x.zip", entries)
        data = bytearray(path.read_bytes())
        data[table_of_contents(path) + 8] |= 1
        path.write_bytes(data)
        refused(path, "encrypted", here)
        with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
            for name, content in entries.items():
                archive.writestr(name, content)
        refused(path, "its compression, method 14, is not read", here)

    def test_not_a_zip(self, entries: Entries, here: Path) -> None:
        path = here / "x.zip"
        for content in (b"", b"PK", b"<html>404</html>" * 100, b"PK\5\6" + b"\0" * 18):
            path.write_bytes(content)
            refused(path, "not a whole zip file|it is empty", here)
        whole = write_zip(path, entries).read_bytes()
        for part in (0.2, 0.5, 0.9, 0.999):
            path.write_bytes(whole[: int(len(whole) * part)])
            refused(path, "not a whole zip file", here)
        refused(here / "nowhere.zip", "does not exist", here)
        refused(here, "is a folder", here)

    def test_altered_content(self, entries: Entries, here: Path) -> None:
        for name in ("tiny/model.onnx", "tiny/README.md", "tiny/golden.npz"):
            changed = {**entries, name: b"?" + entries[name][1:]}
            refused(write_zip(here / "x.zip", changed), f"{name[5:]} was altered", here)
        changed = {**entries, "tiny/manifest.json": entries["tiny/manifest.json"].replace(b"tiny", b"TINY", 1)}
        refused(write_zip(here / "x.zip", changed), "manifest.json was altered", here)

    @pytest.mark.parametrize(
        ("change", "says"),
        [
            ({"file": "../escape.onnx"}, "not one of ours"),
            ({"file": "/etc/passwd"}, "not one of ours"),
            ({"file": 7}, "not one of ours"),
            ({"file": "manifest.json"}, "comes twice"),
            ({"bytes": "many"}, "not one of ours"),
            ({"sha256": None}, "not one of ours"),
        ],
    )
    def test_a_manifest_that_names_odd_files(
        self, original: Bundle, here: Path, change: dict[str, object], says: str
    ) -> None:
        folder = here.parent / "odd"
        shutil.copytree(original.folder, folder)
        values = original.manifest.to_json()
        values["artifacts"][0].update(change)
        write_raw_manifest(folder, json.dumps(values))
        entries = {f"tiny/{path.name}": path.read_bytes() for path in folder.iterdir()}
        refused(write_zip(here / "x.zip", entries), says, here)

    def test_a_manifest_without_files(self, original: Bundle, here: Path) -> None:
        folder = here.parent / "odd"
        shutil.copytree(original.folder, folder)
        write_raw_manifest(folder, json.dumps({**original.manifest.to_json(), "files": ["README.md"]}))
        entries = {f"tiny/{path.name}": path.read_bytes() for path in folder.iterdir()}
        refused(write_zip(here / "x.zip", entries), "not one of ours", here)

    def test_any_flipped_byte_is_refused_or_harmless(self, original: Bundle, here: Path) -> None:
        """Either an error for the user, or the same bundle (dates and the like are nobody's truth)."""
        whole = pack(original.folder, Path("whole.zip")).read_bytes()
        offsets = np.random.default_rng(1).integers(0, len(whole), 120).tolist()
        offsets += range(len(whole) - 120, len(whole))  # the end of the table of contents
        whole_ones = 0
        for offset in offsets:
            data = bytearray(whole)
            data[offset] ^= 0x55
            Path("x.zip").write_bytes(data)
            try:
                assert unpack(Path("x.zip"), Path("out")).sha256 == original.sha256
                whole_ones += 1
            except UserError:
                assert not Path("out").exists()
            shutil.rmtree("out", ignore_errors=True)
            assert everything(here) == ["whole.zip", "x.zip"], offset
        assert whole_ones < len(offsets) / 4


def test_problems_of_a_packed_bundle(original: Bundle, entries: Entries, here: Path) -> None:
    changed = {**entries, "tiny/model.onnx": b"?" + entries["tiny/model.onnx"][1:]}
    packed = Bundle.open_zip(write_zip(here / "x.zip", changed))
    assert packed.problems() == ["model.onnx was altered: its hash differs."]
    assert packed.sha256 == original.sha256
    assert Bundle.open_zip(write_zip(here / "x.zip", entries)).problems() == []


def test_goldens_that_no_manifest_names_are_missing_in_one_line(original: Bundle, here: Path) -> None:
    folder = Path(shutil.copytree(original.folder, here / "tiny"))
    (folder / "golden.npz").unlink()
    write_raw_manifest(folder, json.dumps({**original.manifest.to_json(), "files": {}}))
    (folder / "README.md").unlink()
    for path in (folder, pack(folder, here / "x.zip")):
        with pytest.raises(BundleError, match=r"golden\.npz is missing"):
            verify(path)


def test_inflating_fills_no_memory(entries: Entries, here: Path) -> None:
    """A manifest of 4 MB that is declared small must not be inflated at once."""
    import tracemalloc

    real = 64 << 20
    entries["tiny/manifest.json"] = b" " * real
    path = write_zip(here / "x.zip", entries, deflated=True)
    data = path.read_bytes()
    path.write_bytes(data.replace(struct.pack("<I", real), struct.pack("<I", 1 << 20)))
    tracemalloc.start()
    try:
        refused(path, "damaged|altered|fold", here)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16 << 20


def windows_zip(path: Path, entries: Entries, *, backslashes: bool) -> Path:
    """As the shells of Windows and macOS zip a folder: litter beside the bundle's files, perhaps backslashes."""
    entries = entries | {"__MACOSX/tiny/._model.onnx": b"\0", "tiny/Thumbs.db": b"x", "tiny/._README.md": b"y"}
    write_zip(path, entries)
    if backslashes:  # zipfile turns them, so they are put in afterwards; no other byte pair of a zip looks like this
        data = path.read_bytes()
        for name in entries:
            data = data.replace(name.encode(), name.replace("/", "\\").encode())
        path.write_bytes(data)
    return path


class TestZipsAsPeopleHaveThem:
    @pytest.mark.parametrize("backslashes", [False, True])
    def test_of_a_file_manager(self, original: Bundle, entries: Entries, here: Path, backslashes: bool) -> None:
        path = windows_zip(here / "sent.zip", entries, backslashes=backslashes)
        bundle = unpack(path)
        assert bundle.folder == Path("tiny")
        assert bundle.sha256 == original.sha256
        assert bundle.problems() == []
        assert {file.name for file in bundle.folder.iterdir()} == {file.name for file in original.folder.iterdir()}

    def test_backslashes_lead_nowhere_either(self, entries: Entries, here: Path) -> None:
        path = windows_zip(here / "sent.zip", {"..\\evil": b"x"}, backslashes=True)
        refused(path, "leads out of its folder", here)
        refused(write_zip(here / "both.zip", entries, ("tiny\\more", b"")), "leads out of its folder", here)

    def test_is_opened_where_a_folder_is(self, original: Bundle, entries: Entries, here: Path) -> None:
        path = pack(original.folder, here / "tiny.zip")
        bundle = Bundle.open(path)
        assert (bundle.sha256, bundle.problems()) == (original.sha256, [])
        artifact = bundle.artifact()
        with bundle.read(artifact) as model, original.read(original.artifact()) as in_folder:
            assert isinstance(model.content, Sealed)  # inflated into it piece by piece, no file and no bytes between
            assert model.data == in_folder.data
        assert bundle.golden() == original.golden()
        problems, checks = verify(path)
        assert not problems
        assert all(check.passed for check in checks)

    def test_altered_and_foreign_ones_are_refused_there_too(self, entries: Entries, here: Path) -> None:
        model = bytearray(entries["tiny/model.onnx"])
        model[-1] ^= 1
        altered = Bundle.open(write_zip(here / "network.zip", entries | {"tiny/model.onnx": bytes(model)}))
        with pytest.raises(BundleError, match="was altered"):
            altered.read(altered.artifact())
        golden = bytearray(entries["tiny/golden.npz"])
        golden[-1] ^= 1
        altered = Bundle.open(write_zip(here / "altered.zip", entries | {"tiny/golden.npz": bytes(golden)}))
        with pytest.raises(BundleError, match="was altered"):
            altered.golden()
        with pytest.raises(BundleError, match="was altered"):
            list(altered.blocks("golden.npz"))
        with pytest.raises(BundleError, match="not in its manifest"):
            Bundle.open(write_zip(here / "foreign.zip", entries | {"tiny/w.bin": b"x"}))
        assert looks_like_bundle(here / "foreign.zip")
        assert not looks_like_bundle(write_zip(here / "scans.zip", {"a/1.dcm": b""}))
        (here / "scan.dcm").write_bytes(b"")
        assert not looks_like_bundle(here / "scan.dcm")
