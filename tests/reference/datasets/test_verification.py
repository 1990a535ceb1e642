"""`verify` looks at every file, lists whatever is wrong, and says what helps with that kind of data."""

from __future__ import annotations

import json
import os
import shlex
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from odise_trt.coco_panoptic import encode_ids
from reference.datasets import DatasetError, open_dataset
from reference.datasets.cli import app
from reference.datasets.verify import verify
from tests.door import Done, call
from tests.reference.datasets.dataset_trees import (
    HEIGHT,
    WIDTH,
    ade_tree,
    city_tree,
    coco_tree,
    halves,
    own_tree,
    vistas_tree,
    voc_tree,
    write_array,
    write_json,
)

SIDE = 256


def run(*arguments: object) -> Done:
    return call(app, *arguments)


def with_broken_chunk(path: Path) -> None:
    """The name of the second IDAT of a PNG overwritten, as a bad disk does it."""
    noise = np.random.default_rng(0).integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path, format="PNG", compress_level=0)
    content = bytearray(path.read_bytes())
    second = content.index(b"IDAT", content.index(b"IDAT") + 4)
    content[second : second + 4] = b"\1\2\3\4"
    path.write_bytes(content)


def with_huge_header(path: Path) -> None:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">I", 13)
        + chunk
        + struct.pack(">I", zlib.crc32(chunk))
        + b"\0\0\0\0IEND\xaeB`\x82"
    )


def with_short_header(path: Path) -> None:
    path.write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\4IHDR\0\0\0\1\0\0\0\0")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def a_link_to_nowhere(path: Path) -> None:
    path.unlink()
    path.symlink_to("/nowhere/at/all.png")


DAMAGE = [
    with_broken_chunk,
    with_huge_header,
    with_short_header,
    cut,
    emptied,
    a_folder,
    a_link_to_nowhere,
    Path.unlink,
]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_map_or_picture_is_listed_and_the_others_are_looked_at(tmp_path: Path, damage) -> None:
    own_tree(tmp_path, ("a", "b", "c", "d"))
    damage(tmp_path / "panoptic" / "b.png")
    damage(tmp_path / "images" / "c.jpg")
    write_array(tmp_path / "panoptic" / "d.png", encode_ids(halves(1, 77)))
    done = run("verify", "panoptic", tmp_path)
    assert done.status == 1
    assert "3 faults in 4 images of panoptic" in done.stderr
    for name in ("panoptic/b.png", "images/c.jpg", "panoptic/d.png has segments"):
        assert f"{tmp_path}/{name}" in done.stderr
    assert "report it" not in done.stderr


@pytest.mark.parametrize("damage", [one for one in DAMAGE if one is not Path.unlink])
@pytest.mark.parametrize("name", ["ade150", "cityscapes", "voc21"])
def test_damaged_label_images_are_listed(tmp_path: Path, damage, name: str) -> None:
    if name == "ade150":
        ade_tree(tmp_path)
        assert run("prepare", name, tmp_path).status == 0
        path = tmp_path / "annotations" / "validation" / "ADE_val_00000002.png"
    elif name == "cityscapes":
        city_tree(tmp_path)
        path = tmp_path / "gtFine" / "val" / "ulm" / "ulm_000002_000019_gtFine_instanceIds.png"
    else:
        path = voc_tree(tmp_path, "VOC2012") / "SegmentationClass" / "b.png"
        write_array(path, halves(1, 255, np.uint8))
    damage(path)
    done = run("verify", name, tmp_path)
    assert done.status == 1
    assert str(path) in done.stderr
    assert "report it" not in done.stderr


@pytest.mark.parametrize(
    ("name", "tree", "file"),
    [
        ("panoptic", own_tree, "captions.json"),
        ("coco", coco_tree, "annotations/instances_val2017.json"),
        ("mapillary", vistas_tree, "config_v1.2.json"),
    ],
)
def test_an_optional_file_that_is_a_broken_link_is_not_passed_over(
    tmp_path: Path, name: str, tree, file: str
) -> None:
    path = tree(tmp_path) / file
    path.unlink(missing_ok=True)
    path.symlink_to("/nowhere/at/all.json")
    with pytest.raises(DatasetError, match=f"{path.name} cannot be read: No such file"):
        open_dataset(name, tmp_path)


def test_every_image_is_read_unless_fewer_are_asked_for(tmp_path: Path) -> None:
    own_tree(tmp_path, [f"picture {number}" for number in range(40)])
    cut(tmp_path / "images" / "picture 7.jpg")
    assert "picture 7.jpg is damaged" in run("verify", "panoptic", tmp_path).stderr
    done = run("verify", "panoptic", tmp_path, "--samples", 20)
    assert done.status == 0, done.stderr
    assert "20 images read" in done.stdout
    assert "20 images not read: leave --samples out" in done.stdout


def test_what_verify_passes_is_what_dataset_indexing_reads(tmp_path: Path) -> None:
    dataset = open_dataset("panoptic", own_tree(tmp_path))
    report = verify("panoptic", tmp_path)
    assert report.found["segments"] == sum(len(dataset[index].segments) for index in range(len(dataset)))


def test_hints_of_what_is_listed_are_kept_and_fit_data_of_ones_own(tmp_path: Path) -> None:
    own_tree(tmp_path)
    write_array(tmp_path / "panoptic" / "one.png", encode_ids(halves(1, 77)))
    Image.new("RGB", (WIDTH, HEIGHT + 1)).save(tmp_path / "images" / "two.jpg")
    message = run("verify", "panoptic", tmp_path).stderr
    assert "list them under `segments_info`" in message
    assert "one of the two was resized" in message
    assert "unpack" not in message
    assert "download" not in message


def test_hints_for_downloaded_data_are_about_the_archive(tmp_path: Path) -> None:
    ade_tree(tmp_path)
    run("prepare", "ade150", tmp_path)
    (tmp_path / "images" / "validation" / "ADE_val_00000001.jpg").unlink()
    assert "unpack or prepare it again" in run("verify", "ade150", tmp_path).stderr


@pytest.mark.parametrize(("there", "asked"), [("train", "val"), ("val", "train")])
def test_a_split_that_is_not_there_names_the_one_that_is(tmp_path: Path, there: str, asked: str) -> None:
    own_tree(tmp_path / there)
    done = run("verify", "panoptic", tmp_path, "--split", asked)
    assert done.status == 1
    assert f"the split {there} is there: choose it with --split {there}" in done.stderr
    assert "reference.datasets verify" not in done.stderr
    assert run("verify", "panoptic", tmp_path, "--split", there).status == 0


@pytest.mark.parametrize("content", [None, "notes.txt", "old/images/x.jpg"])
@pytest.mark.parametrize("name", ["train", "val"])
def test_a_stray_folder_does_not_hide_the_data_beside_it(
    tmp_path: Path, name: str, content: str | None
) -> None:
    own_tree(tmp_path)
    stray = tmp_path / name / (content or "x")
    stray.parent.mkdir(parents=True)
    if content:
        stray.write_text("x")
    for split in ("train", "val"):
        assert len(open_dataset("panoptic", tmp_path, split)) == 2


def test_the_folder_above_is_named_where_the_data_is_there(tmp_path: Path) -> None:
    folder = own_tree(tmp_path / "my data")
    done = run("verify", "panoptic", folder / "images")
    assert f"it is in the folder above: give {shlex.quote(str(folder))}" in done.stderr


def test_files_that_the_json_does_not_list_are_counted(tmp_path: Path) -> None:
    own_tree(tmp_path)
    (tmp_path / "images" / "three.jpg").write_bytes(b"x")
    (tmp_path / "images" / ".DS_Store").write_bytes(b"x")
    done = run("verify", "panoptic", tmp_path)
    assert f"{tmp_path}/images: 1 file that the JSON does not list, the first is three.jpg" in done.stdout


@pytest.mark.parametrize(
    "path", ["", " ", "~nobodyhere/x", "/nowhere", "x" * 300, "a\0b", __file__, "closed/x"]
)
@pytest.mark.parametrize("verb", ["verify", "prepare"])
def test_a_path_that_is_no_folder_is_one_message(tmp_path: Path, verb: str, path: str) -> None:
    done = run(verb, "ade150", path)
    assert done.status in (1, 2)
    assert "report it" not in done.stderr
    assert ("names no file or folder" in done.stderr) == (not path.strip())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may enter every folder")
def test_a_folder_that_may_not_be_entered_is_named(tmp_path: Path) -> None:
    own_tree(tmp_path / "data")
    (tmp_path / "data").chmod(0)
    try:
        assert "Permission denied" in run("verify", "panoptic", tmp_path / "data").stderr
    finally:
        (tmp_path / "data").chmod(0o755)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may enter every folder")
@pytest.mark.parametrize(
    ("mode", "says"), [(0o444, "Permission denied"), (0, "Permission denied"), (0o111, "")]
)
def test_pictures_that_may_not_be_looked_at_are_not_called_missing(
    tmp_path: Path, mode: int, says: str
) -> None:
    own_tree(tmp_path / "data")
    (tmp_path / "lost+found").mkdir(mode=0)
    (tmp_path / "data" / "images").chmod(mode)
    try:
        done = run("verify", "panoptic", tmp_path / "data")
        deeper = run("verify", "panoptic", tmp_path).stderr
    finally:
        (tmp_path / "data" / "images").chmod(0o755)
        (tmp_path / "lost+found").chmod(0o755)
    assert done.status == (1 if says else 0)
    assert says in done.stderr
    assert "is not there" not in done.stderr
    assert "lost+found" not in deeper


def turned(path: Path, orientation: int, height: int, width: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (width, height), "green").save(path, exif=exif)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("height", "width"), [(HEIGHT, WIDTH), (8, 8)])
def test_a_picture_turned_by_exif_is_an_error_where_sizes_tell_and_else_a_note(
    tmp_path: Path, orientation: int, height: int, width: int
) -> None:
    own_tree(tmp_path, ("one",))
    turned(tmp_path / "images" / "one.jpg", orientation, height, width)
    # The map is drawn on the pixels as they are stored.
    ids = np.ones((height, width), np.int32)
    write_array(tmp_path / "panoptic" / "one.png", encode_ids(ids))
    if orientation >= 5 and height != width:
        with pytest.raises(DatasetError, match=rf"EXIF turns the image \(orientation {orientation}\)"):
            open_dataset("panoptic", tmp_path)[0]
        assert "of the picture as it is stored" in run("verify", "panoptic", tmp_path).stderr
        # Turned as the picture is shown, it fits, and there is nothing to note.
        write_array(tmp_path / "panoptic" / "one.png", encode_ids(ids.T))
        assert "EXIF" not in "".join(verify("panoptic", tmp_path).notes)
        return
    note = (
        f"image 'one' is turned by EXIF (orientation {orientation}): the map must be of the picture as shown"
    )
    done = run("verify", "panoptic", tmp_path)
    assert done.status == 0, done.stderr
    assert (note in done.stdout) == (orientation != 1)


def test_truth_is_for_the_picture_as_it_is_shown(tmp_path: Path) -> None:
    """A cat on the left of the stored picture is on top once EXIF has turned it, and so is its mask."""
    own_tree(tmp_path, ("one",))
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:, :2] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "images" / "one.png", exif=exif)
    file = tmp_path / "panoptic.json"
    data = json.loads(file.read_text())
    data["images"][0]["file_name"] = "one.png"
    write_json(file, data)
    ids = np.full((8, 8), 2, np.int32)
    ids[:2] = 1
    write_array(tmp_path / "panoptic" / "one.png", encode_ids(ids))
    example = open_dataset("panoptic", tmp_path)[0]
    cat = example.panoptic == 1
    assert example.image[cat].min() == 255
    assert example.image[~cat].max() == 0


def test_images_that_cannot_be_prepared_are_listed_and_the_rest_is_done(tmp_path: Path) -> None:
    ade_tree(tmp_path)
    names = [f"ADE_val_0000000{number}" for number in range(1, 6)]
    for name in names[2:]:
        for path in tmp_path.glob(f"*/validation/{names[0]}.*"):
            path.with_name(f"{name}{path.suffix}").write_bytes(path.read_bytes())
    sound = {}
    for name, damage in zip(names[1:4], (cut, with_huge_header, Path.unlink), strict=True):
        path = tmp_path / "annotations_instance" / "validation" / f"{name}.png"
        sound[path] = path.read_bytes()
        damage(path)
    done = run("prepare", "ade150", tmp_path)
    assert done.status == 1
    assert "3 of 5 images could not be prepared" in done.stderr
    assert all(str(path) in done.stderr for path in sound)
    assert {path.stem for path in (tmp_path / "ade20k_panoptic_val").iterdir()} == {names[0], names[4]}
    with pytest.raises(DatasetError, match="not complete"):
        open_dataset("ade150", tmp_path)
    for path, content in sound.items():
        path.write_bytes(content)
    assert "3 images prepared, 2 were there already" in " ".join(
        run("prepare", "ade150", tmp_path).stdout.split()
    )
    assert run("verify", "ade150", tmp_path).status == 0
