"""scikit-learn's LogisticRegression on graft's own features and splits: the accuracy that graft's default recipe is compared with.

Reads a JSON line per split seed from stdin: {"seed": 1, "features": "FILE", "rows": n, "columns": d, "labels": [...], "split": [...]}
where FILE holds [rows, columns] little-endian float32 and split is 0 (train), 1 (validation), 2 (test).
Prints a JSON line per seed: {"seed": 1, "accuracy": 0.87, "count": 125}.
"""

import json
import sys

import numpy as np
from sklearn.linear_model import LogisticRegression

for line in sys.stdin:
    job = json.loads(line)
    x = np.fromfile(job["features"], dtype="<f4").reshape(job["rows"], job["columns"])
    y = np.asarray(job["labels"])
    split = np.asarray(job["split"])
    # Plain, as in the documentation: the default C=1, with the features as they are.
    model = LogisticRegression(max_iter=2000).fit(x[split == 0], y[split == 0])
    accuracy = float((model.predict(x[split == 2]) == y[split == 2]).mean())
    print(json.dumps({"seed": job["seed"], "accuracy": accuracy, "count": int((split == 2).sum())}), flush=True)
