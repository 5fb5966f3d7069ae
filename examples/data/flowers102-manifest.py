"""Makes a manifest for graft of the 102-category flower data set of Oxford: 8,189 pictures, their labels and splits in two MATLAB files.

    pip install scipy
    python flowers102-manifest.py FOLDER
    graft plan FOLDER/manifest.csv

FOLDER holds jpg/image_00001.jpg to jpg/image_08189.jpg (102flowers.tgz, unpacked), imagelabels.mat and setid.mat, as the data set is published.
Writes FOLDER/manifest.csv with the columns uri, label and split, and says how many pictures each split has.
"""

import argparse
import csv
import json
import sys
from pathlib import Path

import numpy
import scipy.io

# Variables of setid.mat, and the split that each one lists the numbers of the pictures of.
SPLITS = {"trnid": "train", "valid": "validation", "tstid": "test"}


def main():
    parser = argparse.ArgumentParser(
        description="Makes manifest.csv of the .mat files of the 102-category flower data set: columns uri, label, split."
    )
    parser.add_argument("folder", type=Path, help="holds jpg/, imagelabels.mat and setid.mat; manifest.csv is written there")
    parser.add_argument(
        "--swap-train-and-test",
        action="store_true",
        help="train on the 6,149 pictures of tstid and test on the 1,020 of trnid, as many published recipes do; "
        "as published it is the other way round, 10 pictures of each class for training",
    )
    parser.add_argument(
        "--names",
        type=Path,
        metavar="FILE",
        help='JSON object from class numbers to names, such as {"1": "pink primrose"}; by default the labels are 001 to 102',
    )
    arguments = parser.parse_args()
    try:
        rows = manifest_rows(arguments.folder, arguments.names, arguments.swap_train_and_test)
    except ValueError as problem:
        sys.exit(f"{parser.prog}: {problem}")
    manifest = arguments.folder / "manifest.csv"
    with open(manifest, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["uri", "label", "split"])
        writer.writerows(rows)
    splits = [split for _, _, split in rows]
    counts = ", ".join(f"{splits.count(split)} {split}" for split in SPLITS.values())
    print(f"{manifest}: {len(rows)} pictures in {len({label for _, label, _ in rows})} classes ({counts})")


def manifest_rows(folder, names_file, swap):
    """One (uri, label, split) a picture, in the order of their numbers. Raises ValueError where the files contradict each other."""
    labels = variable(folder / "imagelabels.mat", "labels")
    names = class_names(names_file, sorted(set(labels)))
    given = dict(zip(SPLITS, ["test", "validation", "train"])) if swap else SPLITS
    split_of = {}
    for name, split in given.items():
        for number in variable(folder / "setid.mat", name):
            if not 1 <= number <= len(labels):
                raise ValueError(f"setid.mat: {name} lists picture {number}, but imagelabels.mat has labels for 1 to {len(labels)}; take both from one release")
            if number in split_of:
                raise ValueError(f"setid.mat: picture {number} is listed twice; expected each picture in one split")
            split_of[number] = split
    rows = [(f"jpg/image_{number:05d}.jpg", names[labels[number - 1]], split_of[number]) for number in sorted(split_of)]
    missing = [uri for uri, _, _ in rows if not (folder / uri).is_file()]
    if missing:
        raise ValueError(f"{folder}: {len(missing)} of {len(rows)} pictures are not there, the first {missing[0]}; unpack 102flowers.tgz in {folder}")
    return rows


def variable(file, name):
    """A variable of a .mat file as a list of whole numbers."""
    try:
        with open(file, "rb") as opened:
            content = scipy.io.loadmat(opened)
    except OSError as error:
        raise ValueError(f"{file}: expected a MATLAB file, found {error.strerror or error}; download it from the page of the data set") from error
    except (ValueError, NotImplementedError, scipy.io.matlab.MatReadError) as error:
        raise ValueError(f"{file}: expected a MATLAB file of version 5, found something else ({error})") from error
    if name not in content:
        found = ", ".join(key for key in content if not key.startswith("__"))
        raise ValueError(f"{file}: expected a variable {name}, found {found or 'none'}")
    values = content[name]
    if values.size == 0 or not numpy.issubdtype(values.dtype, numpy.number) or numpy.any(values != numpy.floor(values)):
        raise ValueError(f"{file}: expected whole numbers in {name}, found {values.dtype} of shape {values.shape}")
    return [int(value) for value in values.ravel()]


def class_names(file, numbers):
    """Class number to label. Labels need not sort like the numbers: classes go by name."""
    if file is None:
        return {number: f"{number:03d}" for number in numbers}
    try:
        names = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{file}: expected a JSON object from class numbers to names ({error})") from error
    missing = [number for number in numbers if not isinstance(names, dict) or not isinstance(names.get(str(number)), str)]
    if missing:
        raise ValueError(f'{file}: expected a name for each of {len(numbers)} classes, such as {{"1": "pink primrose"}}; none for {missing[0]}')
    chosen = {number: names[str(number)] for number in numbers}
    if len(set(chosen.values())) < len(chosen):
        raise ValueError(f"{file}: expected different names, found one name for several classes")
    return chosen


if __name__ == "__main__":
    main()
