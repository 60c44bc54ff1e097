"""golden/metrics/events.tfevents: a file of TensorBoard's own writer. `events.py DIRECTORY` prints the scalars of one."""

import json
import sys
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

GOLDEN = Path(__file__).resolve().parents[2] / "golden"


def scalars(directory):
    events = EventAccumulator(str(directory)).Reload()
    return {tag: [[e.step, e.value] for e in events.Scalars(tag)] for tag in sorted(events.Tags()["scalars"])}


def main():
    (GOLDEN / "metrics").mkdir(exist_ok=True)
    values = [Summary.Value(tag=t, simple_value=v) for t, v in (("train/loss", 1.25), ("train/grad_norm", 3e-5))]
    with open(GOLDEN / "metrics/events.tfevents", "wb") as file:
        writer = RecordWriter(file)
        for event in (Event(wall_time=1234567890.5, file_version="brain.Event:2"),
                      Event(wall_time=1234567890.5, step=1, session_log=SessionLog(status=SessionLog.START)),
                      Event(wall_time=1234567891.5, step=300, summary=Summary(value=values))):
            writer.write(event.SerializeToString())


if __name__ == "__main__":
    print(json.dumps(scalars(sys.argv[1]))) if len(sys.argv) > 1 else main()
