"""golden/metrics/metrics.json: what scikit-learn makes of logits and labels; spans of answers by trying every one."""

import json
from pathlib import Path

import sklearn.metrics as sk
import torch

from common import generator, setup

AVERAGES = ["micro", "macro", "weighted"]


def integers(name, low, high, *shape):
    return torch.randint(low, high, shape, generator=generator(name))


def scores(labels, chosen, averages):
    values = {"accuracy": sk.accuracy_score(labels, chosen), "matthews_correlation": sk.matthews_corrcoef(labels, chosen)}
    for average in averages:
        suffix = "" if average == "binary" else "_" + average
        p, r, f, _ = sk.precision_recall_fscore_support(labels, chosen, average=average, zero_division=0)
        values |= {"precision" + suffix: p, "recall" + suffix: r, "f1" + suffix: f}
    return {k: float(v) for k, v in values.items()}


def classes(name, items, shape, used):
    """Labels and predictions use fewer classes than there are; some items are ignored."""
    count = shape[-1]
    labels = integers(name + " labels", 0, used, *shape[:-1])
    logits = integers(name + " logits", -256, 256, *shape).float() / 64
    logits[..., -1] -= 100 * (used < count)
    logits = logits + 2 * torch.nn.functional.one_hot(labels, count)
    if items != "NEXT_TOKENS":
        labels[..., ::5] = -100
    else:
        logits = torch.roll(logits, -1, 1)
        labels[:, :2] = -100
    chosen = logits.argmax(-1)
    pairs = (labels[:, 1:], chosen[:, :-1]) if items == "NEXT_TOKENS" else (labels, chosen)
    keep = pairs[0] != -100
    averages = AVERAGES + (["binary"] if count == 2 else [])
    return {"items": items, "shape": list(shape), "logits": logits.flatten().tolist(),
            "labels": labels.flatten().tolist(), "values": scores(pairs[0][keep], pairs[1][keep], averages)}


def answers(rows, length):
    begins, ends = (integers(f"answers {k}", -256, 256, rows, length).float() / 64 for k in ("begin", "end"))
    first = integers("answers first", -1, length - 2, rows)
    last = torch.clamp(first + integers("answers length", 0, 4, rows), max=length)
    for row in range(0, rows, 2):
        begins[row, max(first[row], 0)] += 6
        ends[row, min(last[row], length - 1)] += 6
    exact, f1 = [], []
    for row in range(rows):
        truth = set(range(max(first[row], 0), max(last[row], 0) + 1))
        if max(truth) >= length:
            continue
        spans = [(b, e) for b in range(length) for e in range(b, length)]
        b, e = max(spans, key=lambda s: begins[row, s[0]] + ends[row, s[1]])
        found = set(range(b, e + 1))
        exact.append(found == truth)
        f1.append(2 * len(found & truth) / (len(found) + len(truth)))
    return {"items": "answers", "shape": [rows, length], "begins": begins.flatten().tolist(),
            "ends": ends.flatten().tolist(), "first": first.tolist(), "last": last.tolist(),
            "values": {"exact_match": sum(exact) / len(exact), "span_f1": sum(f1) / len(f1)}}


def main():
    Path("metrics").mkdir(exist_ok=True)
    cases = [classes("two", "ROWS", (40, 2), 2), classes("five", "ROWS", (60, 5), 4),
             classes("one label", "ROWS", (10, 3), 1), classes("tokens", "TOKENS", (6, 9, 4), 4),
             classes("next", "NEXT_TOKENS", (6, 9, 7), 7), answers(24, 9)]
    Path("metrics/metrics.json").write_text(json.dumps(cases, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    setup()
    main()
