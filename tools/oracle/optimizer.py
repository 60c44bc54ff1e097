"""golden/optimizer: AdamW, clipping, schedules, losses and a small whole run, as JSON with float32 values."""

import inspect
import json
from pathlib import Path

import bitsandbytes
import torch
import transformers
from torch.nn.functional import cross_entropy
from transformers.loss.loss_utils import ForCausalLMLoss, ForQuestionAnsweringLoss

from common import fresh, generator, setup
from quantization import drawn


def write(name, value):
    """On one line: these files are numbers, nobody reads them."""
    Path(f"optimizer/{name}.json").write_text(json.dumps(value, separators=(",", ":")) + "\n", encoding="utf-8")


def values(tensor):
    return tensor.detach().flatten().tolist()


def tensor(name, *shape, scale=1.0):
    """Few binary digits, so that the files are short."""
    return torch.randint(-256, 257, shape, generator=generator(name)).float() * (scale / 256)


def adamw():
    """Three parameters in two groups; the second has no gradient in every third step; odd magnitudes of gradients."""
    shapes = {"a": (2, 3), "b": (4,), "c": (1, 5)}
    groups = [{"params": ["a", "b"], "lr_factor": 1.0, "weight_decay": 0.1},
              {"params": ["c"], "lr_factor": 16.0, "weight_decay": 0.0}]
    steps, lr, options = 30, 0.01, dict(betas=[0.9, 0.98], eps=1e-6)
    start = {k: tensor(f"adamw {k}", *shape, scale=2) for k, shape in shapes.items()}
    params = {k: torch.nn.Parameter(v.clone()) for k, v in start.items()}
    optimizer = torch.optim.AdamW(
        [{"params": [params[k] for k in g["params"]], "lr": lr * g["lr_factor"], "weight_decay": g["weight_decay"]}
         for g in groups], foreach=False, **options)
    gradients, trace = [], []
    for step in range(steps):
        given = {}
        for k, param in params.items():
            absent = k == "b" and step % 3 == 2
            param.grad = None if absent else tensor(f"adamw {k} {step}", *shapes[k], scale=4.0 ** (step % 5 - 3))
            given[k] = None if absent else values(param.grad)
        optimizer.step()
        gradients.append(given)
        trace.append({k: values(v) for k, v in params.items()})
    state = {k: {n: values(v) for n, v in optimizer.state[p].items()} for k, p in params.items()}
    write("adamw", {
        "lr": lr, **options, "groups": groups, "shapes": shapes, "start": {k: values(v) for k, v in start.items()},
        "gradients": gradients, "values": trace, "state": state})


def eight_bit():
    """AdamW with bitsandbytes' 8-bit state: one parameter that is not whole blocks; drawn values, every 16th kept."""
    count, steps, lr, decay = 4200, 12, 0.01, 0.1
    param = torch.nn.Parameter(drawn("adamw8bit start", count))
    optimizer = bitsandbytes.optim.AdamW8bit([param], lr=lr, weight_decay=decay)
    for step in range(steps):
        param.grad = drawn(f"adamw8bit {step}", count) * 4.0 ** (step % 5 - 3)
        optimizer.step()
    state = optimizer.state[param]
    write("adamw_8bit", {
        "count": count, "steps": steps, "lr": lr, "weight_decay": decay, "stride": 16, "values": values(param[::16]),
        "exp_avg": values(state["state1"][::16]), "exp_avg_absmax": values(state["absmax1"]),
        "exp_avg_sq": values(state["state2"][::16]), "exp_avg_sq_absmax": values(state["absmax2"]),
        "unsigned_map": values(state["qmap2"])})


def clipping():
    cases = []
    for count, scale, bound in ((1, 1, 1.0), (3, 0.01, 1.0), (70, 2, 0.5), (5, 1000, 1.0)):
        params = [torch.nn.Parameter(torch.zeros(1 + i % 3)) for i in range(count)]
        for i, param in enumerate(params):
            param.grad = tensor(f"clip {count} {i}", *param.shape, scale=scale)
        before = [values(p.grad) for p in params]
        norm = torch.nn.utils.clip_grad_norm_(params, bound, foreach=False)
        cases.append({"max_norm": bound, "gradients": before, "norm": norm.item(),
                      "clipped": [values(p.grad) for p in params]})
    write("clipping", cases)


def schedules():
    cases = []
    for name in ("constant", "constant_with_warmup", "linear", "cosine"):
        for warmup, total in ((0, 12), (5, 12), (1, 1), (7, 5)):
            if name == "constant" and warmup:
                continue
            optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
            schedule = transformers.get_scheduler(
                name, optimizer, num_warmup_steps=warmup, num_training_steps=total)
            factors = []
            for _ in range(total):
                factors.append(schedule.get_last_lr()[0])
                optimizer.step()
                schedule.step()
            cases.append({"name": name, "warmup": warmup, "total": total, "factors": factors})
    for name, warmup, total, options in (
            ("cosine_with_min_lr", 4, 14, {"min_lr_rate": 0.1}),
            ("polynomial", 4, 14, {"lr_end": 0.01, "power": 2.0}),
            ("inverse_sqrt", 4, 14, {}),
            ("inverse_sqrt", 0, 5, {}),
            *(("warmup_stable_decay", 3, 15, {"num_decay_steps": 6, "decay_type": decay, "min_lr_ratio": minimum})
              for decay in ("linear", "cosine", "1-sqrt") for minimum in (0.0, 0.1))):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        schedule = transformers.get_scheduler(
            name, optimizer, num_warmup_steps=warmup, num_training_steps=total, scheduler_specific_kwargs=options)
        factors = []
        for _ in range(total):
            factors.append(schedule.get_last_lr()[0])
            optimizer.step()
            schedule.step()
        cases.append({"name": name, "warmup": warmup, "total": total, "options": options, "factors": factors})
    write("schedules", cases)


def losses():
    cases = []
    logits, labels = tensor("rows", 5, 4, scale=6), torch.tensor([0, 3, 1, 1, 2])
    masked = labels.clone()
    masked[1] = -100
    for target in (labels, masked):
        x = logits.clone().requires_grad_()
        loss = cross_entropy(x, target)
        loss.backward()
        cases.append({"kind": "classes", "shape": list(x.shape), "logits": values(x), "labels": values(target),
                      "loss": loss.item(), "gradient": values(x.grad)})
    x = tensor("tokens", 3, 6, 7, scale=6).requires_grad_()
    target = torch.randint(0, 7, (3, 6), generator=generator("targets"))
    target[0, :3] = target[1, 5:] = target[2] = -100
    loss = ForCausalLMLoss(logits=x, labels=target, vocab_size=7)
    loss.backward()
    cases.append({"kind": "tokens", "shape": list(x.shape), "logits": values(x), "labels": values(target),
                  "loss": loss.item(), "gradient": values(x.grad)})
    x = tensor("token classes", 2, 5, 4, scale=6).requires_grad_()
    target = torch.randint(0, 4, (2, 5), generator=generator("token targets"))
    target[0, :2] = target[1, 4:] = -100
    model = transformers.BertForTokenClassification  # its loss: torch's, over all tokens
    assert "CrossEntropyLoss()" in inspect.getsource(model.forward)
    loss = cross_entropy(x.view(-1, 4), target.view(-1))
    loss.backward()
    cases.append({"kind": "token classes", "shape": list(x.shape), "logits": values(x), "labels": values(target),
                  "loss": loss.item(), "gradient": values(x.grad)})
    # Begin and end in one array; a position before the row counts as 0, one behind it does not count.
    for positions in ([[0, 3, 5], [1, 3, 2]], [[-1, 6, 2], [9, 4, 6]]):
        x = tensor("answers", 2, 3, 6, scale=6).requires_grad_()
        target = torch.tensor(positions)
        loss = ForQuestionAnsweringLoss(x[0], x[1], target[0], target[1])
        loss.backward()
        cases.append({"kind": "answers", "shape": list(x.shape), "logits": values(x), "labels": values(target),
                      "loss": loss.item(), "gradient": values(x.grad)})
    write("losses", cases)


def run():
    """A two-layer classifier; two batches of unlike size an update, weighted by their rows; cosine with warm-up."""
    shapes = {"w1": (8, 4), "b1": (8,), "w2": (3, 8), "b2": (3,)}
    start = {k: tensor(f"run {k}", *shape, scale=0.5) for k, shape in shapes.items()}
    params = {k: torch.nn.Parameter(v.clone()) for k, v in start.items()}
    steps, rows = 12, (6, 3)
    optimizer = torch.optim.AdamW(params.values(), lr=0.05, weight_decay=0.1, foreach=False)
    schedule = transformers.get_scheduler("cosine", optimizer, num_warmup_steps=3, num_training_steps=steps)
    batches, trace, norms = [], [], []
    for step in range(steps):
        features = [tensor(f"run x {step} {n}", n, 4, scale=2) for n in rows]
        labels = [(x.argmax(1) % 3) for x in features]
        batches.append([{"features": values(x), "labels": values(y)} for x, y in zip(features, labels)])
        x, y = torch.cat(features), torch.cat(labels)
        logits = torch.tanh(x @ params["w1"].T + params["b1"]) @ params["w2"].T + params["b2"]
        loss = cross_entropy(logits, y)
        optimizer.zero_grad()
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(params.values(), 0.5, foreach=False).item())
        optimizer.step()
        schedule.step()
        trace.append(loss.item())
    write("run", {
        "lr": 0.05, "weight_decay": 0.1, "max_norm": 0.5, "warmup": 3, "steps": steps, "shapes": shapes,
        "start": {k: values(v) for k, v in start.items()}, "batches": batches, "losses": trace, "norms": norms,
        "final": {k: values(v) for k, v in params.items()}})


def main():
    fresh("optimizer")
    adamw()
    eight_bit()
    clipping()
    schedules()
    losses()
    run()


if __name__ == "__main__":
    setup()
    main()
