"""A folder that no one prepared for the course: scikit-image's pictures, with captions written for them."""

import csv
import shutil
from pathlib import Path

import skimage

CAPTIONS = {
    "astronaut.png": "an astronaut in an orange suit smiles in front of a flag",
    "brick.png": "a wall of bricks",
    "camera.png": "a man in a coat looks through a camera on a tripod",
    "cell.png": "a living cell under the microscope",
    "chelsea.png": "a ginger cat looks past the camera",
    "chessboard_GRAY.png": "a chessboard in grey",
    "chessboard_RGB.png": "a chessboard in colours",
    "clock_motion.png": "a clock, blurred by the motion of the camera",
    "coffee.png": "a cup of coffee on a wooden table, with a spoon",
    "coins.png": "rows of old coins",
    "color.png": "patches of many colours",
    "grass.png": "grass from above",
    "gravel.png": "gravel on the ground",
    "horse.png": "the outline of a horse",
    "hubble_deep_field.jpg": "galaxies in a dark sky",
    "ihc.png": "stained tissue under the microscope",
    "logo.png": "a snake for a logo",
    "microaneurysms.png": "small spots in the back of an eye",
    "moon.png": "the surface of the moon, with a crater",
    "motorcycle_left.png": "a motorcycle in a garage, seen by the left eye",
    "motorcycle_right.png": "a motorcycle in a garage, seen by the right eye",
    "no_time_for_that_tiny.gif": "a cat that has no time for that",
    "page.png": "a page of a book about segmentation",
    "phantom.png": "a drawing of a head in a scanner",
    "retina.jpg": "the retina of an eye",
    "rocket.jpg": "a rocket on its launch pad at night",
    "text.png": "words on crumpled paper",
}


def photographs(folder: Path) -> Path:
    """The pictures copied into a folder, with their table; and, as folders are, a few things that cannot be used."""
    folder.mkdir(parents=True, exist_ok=True)
    installed = Path(skimage.__file__).parent / "data"
    for name in CAPTIONS:
        shutil.copy(installed / name, folder / name)
    (folder / "broken.jpg").write_bytes((installed / "rocket.jpg").read_bytes()[:3000])
    shutil.copy(installed / "coffee.png", folder / "coffee again.png")
    rows = [("file", "caption", "by"), *((name, caption, "") for name, caption in CAPTIONS.items())]
    rows += [("broken.jpg", "half a file", ""), ("gone.png", "a picture that was moved", "")]
    rows += [("coffee again.png", "more coffee", "")]
    with open(folder / "captions.csv", "w", encoding="utf-8", newline="") as table:
        csv.writer(table).writerows(rows)
    return folder
