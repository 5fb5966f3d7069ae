"""Reads a feature shard with pyarrow and prints what it holds as JSON: python read_shard.py FILE (needs pyarrow)."""

import json
import sys
import zlib

import pyarrow.ipc

table = pyarrow.ipc.open_file(sys.argv[1]).read_all()
metadata = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}
ids = table["imageId"].to_pylist()
features = table["feature"].combine_chunks()
values = features.flatten().buffers()[1].to_pybytes()
row_bytes = 4 * features.type.list_size
checksums = [zlib.crc32(values[row * row_bytes : (row + 1) * row_bytes], zlib.crc32(ids[row])) for row in range(len(ids))]
print(
    json.dumps(
        {
            "columns": [f"{field.name}: {field.type}{'' if field.nullable else ' not null'}" for field in table.schema],
            "format": metadata["graft.format"],
            "formatVersion": metadata["graft.formatVersion"],
            "rows": table.num_rows,
            "shape": metadata["graft.shape"],
            "view": metadata["graft.view"],
            "firstFeature": table["feature"][0].as_py(),
            "checksumsFit": checksums == table["checksum"].to_pylist(),
        }
    )
)
