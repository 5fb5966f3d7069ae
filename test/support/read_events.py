"""Prints what the tensorboard package reads from a folder of event files, as JSON.

usage: python read_events.py FOLDER    (pip install tensorboard "setuptools<81")
"""

import json
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

accumulator = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0, "histograms": 0})
accumulator.Reload()
tags = accumulator.Tags()
print(
    json.dumps(
        {
            "scalars": {tag: [[e.step, e.wall_time, e.value] for e in accumulator.Scalars(tag)] for tag in tags["scalars"]},
            "histograms": {
                tag: [
                    {
                        "step": e.step,
                        "min": e.histogram_value.min,
                        "max": e.histogram_value.max,
                        "num": e.histogram_value.num,
                        "sum": e.histogram_value.sum,
                        "sum_squares": e.histogram_value.sum_squares,
                        "limits": list(e.histogram_value.bucket_limit),
                        "counts": list(e.histogram_value.bucket),
                    }
                    for e in accumulator.Histograms(tag)
                ]
                for tag in tags["histograms"]
            },
        }
    )
)
