"""Unpacks from a wheel the files that match one of the patterns: unpack.py WHEEL FOLDER PATTERN …"""

import fnmatch
import os
import sys
import zipfile

wheel, folder, *patterns = sys.argv[1:]
with zipfile.ZipFile(wheel) as archive:
    for member in archive.infolist():
        if not member.is_dir() and any(fnmatch.fnmatchcase(member.filename, pattern) for pattern in patterns):
            path = archive.extract(member, folder)
            is_program = (member.external_attr >> 16) & 0o100
            os.chmod(path, 0o755 if is_program else 0o644)
