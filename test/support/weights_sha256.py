"""Recomputes graft's weightsSha256 from a weights.safetensors file; needs nothing but Python 3.

usage: python weights_sha256.py weights.safetensors

The rule: SHA-256 over all tensors in the order of their names' UTF-8 bytes; each adds "NAME\\nfloat32\\nD0,D1,...\\n" in UTF-8 and its little-endian bytes.
"""

import hashlib
import json
import sys

with open(sys.argv[1], "rb") as file:
    header_bytes = int.from_bytes(file.read(8), "little")
    header = json.loads(file.read(header_bytes))
    body = file.read()

header.pop("__metadata__", None)
digest = hashlib.sha256()
for name in sorted(header, key=lambda name: name.encode()):
    tensor = header[name]
    assert tensor["dtype"] == "F32", f"{name}: F32 expected, found {tensor['dtype']}"
    begin, end = tensor["data_offsets"]
    shape = ",".join(str(length) for length in tensor["shape"])
    digest.update(f"{name}\nfloat32\n{shape}\n".encode())
    digest.update(body[begin:end])
print(digest.hexdigest())
