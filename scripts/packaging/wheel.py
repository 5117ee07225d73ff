"""Writes a wheel: a zip file with what is installed, what it is, and a list of both with digests (RECORD)."""

import argparse
import base64
import hashlib
import os
import time
import zipfile
from pathlib import Path

options = argparse.ArgumentParser()
for option in ("name", "version", "summary"):
    options.add_argument(f"--{option}", required=True)
for option in ("tree", "out", "license", "readme", "sbom"):
    options.add_argument(f"--{option}", required=True, type=Path)
options.add_argument("--tags", nargs="+", required=True)
args = options.parse_args()

stem = f"{args.name.replace('-', '_')}-{args.version}"
info, data = f"{stem}.dist-info", f"{stem}.data"
metadata = f"""Metadata-Version: 2.4
Name: {args.name}
Version: {args.version}
Summary: {args.summary}
License-Expression: Apache-2.0
License-File: LICENSE
Requires-Python: >=3.7
Description-Content-Type: text/markdown

{args.readme.read_text("utf-8")}"""
tags = "".join(f"Tag: py3-none-{tag}\n" for tag in args.tags)
wheel = f"Wheel-Version: 1.0\nGenerator: {args.name} packaging\nRoot-Is-Purelib: false\n{tags}"

# What is in `bin` goes to the environment's scripts, everything else below its prefix.
files = []
for path in sorted(path for path in args.tree.rglob("*") if path.is_file()):
    name = path.relative_to(args.tree).as_posix()
    place = f"scripts/{name[len('bin/'):]}" if name.startswith("bin/") else f"data/{name}"
    files.append((f"{data}/{place}", path.read_bytes(), os.access(path, os.X_OK)))
files += [
    (f"{info}/METADATA", metadata.encode(), False),
    (f"{info}/WHEEL", wheel.encode(), False),
    (f"{info}/licenses/LICENSE", args.license.read_bytes(), False),
    (f"{info}/sboms/{args.name}.cdx.json", args.sbom.read_bytes(), False),
]


def line(name, content):
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    return f"{name},sha256={digest},{len(content)}\n"


record = "".join(line(name, content) for name, content, _ in files) + f"{info}/RECORD,,\n"
files.append((f"{info}/RECORD", record.encode(), False))
date = time.gmtime(int(os.environ["SOURCE_DATE_EPOCH"]))[:6]
with zipfile.ZipFile(args.out / f"{stem}-py3-none-{'.'.join(args.tags)}.whl", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as file:
    for name, content, executable in files:
        entry = zipfile.ZipInfo(name, date)
        entry.compress_type = zipfile.ZIP_DEFLATED
        entry.external_attr = (0o100755 if executable else 0o100644) << 16
        file.writestr(entry, content, compresslevel=9)
