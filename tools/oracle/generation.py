"""golden/generation: what transformers' generate makes of prompts, a tiny tokenizer, and where stop strings end texts."""

import torch
from peft import PeftModel
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import bytes_to_unicode
from transformers.generation.stopping_criteria import StopStringCriteria

from common import VOCAB, fresh, generator, load_base, setup, write_lines

PAD = 0
END = 2
SPECIAL = ("<unk>", "<s>", "</s>", "<|end|>")
TEMPLATE = ("{% for message in messages %}<s>{{ message['role'] }}\n{{ message['content'] }}<|end|>{% endfor %}"
            "{% if add_generation_prompt %}<s>assistant\n{% endif %}")

PROMPTS = [[1, 17, 42, 9, 63, 88, 5], [1, 30, 71], [1, 55, 23, 8, 92]]
FIRST = PROMPTS[:1]


def tiny_tokenizer():
    """Byte-level BPE over a hundred tokens: letters, what an umlaut, a euro and a smiley are made of, some merges."""
    byte_names = bytes_to_unicode()
    text = "abcdefghijklmnopqrstuvwxyzABST .,!?\n" + "ü€😀é"
    singles = list(dict.fromkeys(byte_names[b] for b in text.encode()))
    merges = []
    words = ["the", "st", "op", "stop", "per", "er", "in", "an", "en", " t", " a", " s", " the", " st", " an",
             "ing", "and", " and", "on", "ion", "es", "al", "or", " in", "to", " to", "is", " is", "ed", "le",
             "\n\n", "ll", "ou", "you", "he", "ha", "ly"]
    vocab = {t: i for i, t in enumerate(SPECIAL)}
    for token in singles:
        vocab[token] = len(vocab)
    for word in words:
        token = "".join(byte_names[b] for b in word.encode())
        for cut in range(1, len(token)):
            if token[:cut] in vocab and token[cut:] in vocab and token not in vocab and len(vocab) < VOCAB:
                merges.append((token[:cut], token[cut:]))
                vocab[token] = len(vocab)
                break
    while len(vocab) < VOCAB:
        vocab[f"x{len(vocab)}"] = len(vocab)  # never made of a text, but decoded
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(t, special=True) for t in SPECIAL])
    tokenizer.post_processor = TemplateProcessing(single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>",
                                   padding_side="left", chat_template=TEMPLATE)


def batch(prompts):
    longest = max(map(len, prompts))
    ids = torch.tensor([[PAD] * (longest - len(p)) + p for p in prompts])
    mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts])
    return {"input_ids": ids, "attention_mask": mask}


@torch.no_grad()
def generate(model, prompts, stops=(), tokenizer=None, **options):
    """The new tokens of each prompt up to its end; an end token belongs to them."""
    ends = options.get("eos_token_id", END)
    ends = set(ends if isinstance(ends, list) else [ends])
    if stops:
        options.update(stop_strings=list(stops), tokenizer=tokenizer)
    out = model.generate(**batch(prompts), pad_token_id=PAD, **options)
    rows = []
    for row, prompt in zip(out[:, max(map(len, prompts)):].tolist(), prompts):
        cut = next((i + 1 for i, t in enumerate(row) if t in ends), len(row))
        if stops:  # rows that a stop string has ended are padded
            criterion = StopStringCriteria(tokenizer, list(stops))
            cut = next((i + 1 for i in range(cut) if criterion(torch.tensor([prompt + row[:i + 1]]), None)[0]), cut)
        rows.append(row[:cut])
    return rows


def frequent_token(model, prompts, skip):
    """A token that greedy search gives after some others: one that ends texts in the middle."""
    rows = generate(model, prompts, max_new_tokens=12, do_sample=False, eos_token_id=END)
    return rows[0][skip]


def runs(name, model):
    """(prompts, options in transformers' names)."""
    middle = frequent_token(model, PROMPTS, 5)
    other = frequent_token(model, PROMPTS, 8)
    yield FIRST, dict(max_new_tokens=20)
    yield PROMPTS, dict(max_new_tokens=20)
    yield FIRST, dict()  # twenty tokens by default
    yield PROMPTS, dict(max_new_tokens=20, eos_token_id=middle)
    yield PROMPTS, dict(max_new_tokens=20, eos_token_id=[END, middle, other])
    yield PROMPTS, dict(max_new_tokens=20, eos_token_id=middle, min_new_tokens=9)
    for penalty in (1.3, 0.8):
        yield PROMPTS, dict(max_new_tokens=20, repetition_penalty=penalty)
    yield PROMPTS, dict(max_new_tokens=20, repetition_penalty=1.2, eos_token_id=other, min_new_tokens=3)
    for beams in (2, 3, 4):
        yield PROMPTS, dict(max_new_tokens=16, num_beams=beams)
    for early in (False, True, "never"):
        for penalty in (-1.0, 0.0, 0.5, 2.0):
            yield PROMPTS, dict(max_new_tokens=16, num_beams=3, early_stopping=early, length_penalty=penalty,
                                eos_token_id=[middle, other])
    yield PROMPTS, dict(max_new_tokens=16, num_beams=2, eos_token_id=middle)
    yield FIRST, dict(max_new_tokens=16, num_beams=4, eos_token_id=[END, middle, other], repetition_penalty=1.2)
    yield PROMPTS, dict(max_new_tokens=16, num_beams=2, repetition_penalty=1.4, eos_token_id=other, min_new_tokens=4)
    yield PROMPTS, dict(max_new_tokens=1, num_beams=3)


def distributions(model):
    """(options, probabilities of the first new token after the processors), only those that are not zero."""
    for options in (dict(top_k=0), dict(), dict(temperature=0.7), dict(top_k=5), dict(top_k=1),
                    dict(top_k=0, top_p=0.8), dict(top_k=0, top_p=0.05), dict(top_k=0, top_p=0.99),
                    dict(top_k=0, min_p=0.2), dict(top_k=0, min_p=1.0), dict(top_k=500),
                    dict(temperature=1.7, top_k=20, top_p=0.9, min_p=0.1, repetition_penalty=1.5),
                    dict(temperature=0.3, top_k=12, top_p=0.6), dict(top_k=0, repetition_penalty=2.5),
                    dict(top_k=0, min_new_tokens=3)):
        torch.manual_seed(0)
        out = model.generate(**batch(FIRST), pad_token_id=PAD, do_sample=True, max_new_tokens=1,
                             output_scores=True, return_dict_in_generate=True, **options)
        probabilities = out.scores[0].softmax(-1)[0]
        yield {"options": options, "prompt": FIRST[0],
               "probabilities": {str(i): round(p, 9) for i, p in enumerate(probabilities.tolist()) if p > 0}}


def stop_runs(model, tokenizer):
    """Greedy and beam search that end where their own text has some string."""
    options = dict(max_new_tokens=30, repetition_penalty=1.3)
    plain = generate(model, PROMPTS, **options)
    for row in range(len(PROMPTS)):
        pieces = [tokenizer.decode([t]) for t in plain[row]]
        text = "".join(pieces)
        for stops in ([text[8:11]], [text[3:4]], ["zzz", text[14:20]], [text[11:13], text[6:9]]):
            if stops[-1] and "\ufffd" not in "".join(stops):
                yield PROMPTS, {**options, "stop_strings": stops}
    tail = tokenizer.decode(PROMPTS[0][-1:])
    head = tokenizer.decode(plain[0][:1])
    if "\ufffd" not in tail + head:
        yield PROMPTS, {**options, "stop_strings": [tail + head]}  # begins in the prompt
    yield PROMPTS, {"max_new_tokens": 16, "num_beams": 3, "stop_strings": [text[8:10], text[2:4]]}


def stop_checks(tokenizer):
    """Whether the last token of some tokens ends the text."""
    gen = generator("stops")
    for stops in (["stop"], ["\n\n"], ["ü"], ["€!", "e"], ["</s>"], ["a<|end|>"], [" the", "and then"], ["st", "topp"]):
        criterion = StopStringCriteria(tokenizer, stops)
        like = [tokenizer(s, add_special_tokens=False)["input_ids"] for s in stops]
        parts = {i for i in range(VOCAB) for stop in stops if set(tokenizer.decode([i])) & set(stop)}
        parts = sorted(parts.union(*like))
        for k in range(24):
            length = int(torch.randint(1, 12, (1,), generator=gen))
            pool = parts if k % 3 else list(range(VOCAB))
            tokens = [pool[i] for i in torch.randint(0, len(pool), (length,), generator=gen).tolist()]
            if k % 4 == 0:
                tokens += like[k % len(like)]
            if k % 8 == 4:
                tokens += [int(torch.randint(0, VOCAB, (1,), generator=gen))]
            yield {"stops": stops, "tokens": tokens, "ends": bool(criterion(torch.tensor([tokens]), None)[0])}


def checked(name, model, wide, prompts, options, tokenizer=None):
    """A case, if float64 gives the same: ties in float32 prove nothing."""
    more = dict(options)
    stops = more.pop("stop_strings", ())
    rows = generate(model, prompts, stops, tokenizer, do_sample=False, **more)
    if rows != generate(wide, prompts, stops, tokenizer, do_sample=False, **more):
        raise SystemExit(f"{name} {options}: depends on rounding")
    return {"model": name, "prompts": prompts, "options": options, "tokens": rows}


def adapted():
    """Each prompt with an adapter of its own, which transformers computes one by one."""
    names = ["a", "__base__", "c"]
    for options in (dict(max_new_tokens=16), dict(max_new_tokens=12, num_beams=3)):
        rows = []
        for prompt, name in zip(PROMPTS, names):
            model = load_base("llama")
            if name != "__base__":
                model = PeftModel.from_pretrained(model, f"multi/llama/{name}").eval()
            rows += generate(model, [prompt], do_sample=False, **options)
        yield {"adapters": names, "prompts": PROMPTS, "options": options, "tokens": rows}


@torch.no_grad()
def perplexity(model, tokenizer):
    """The mean negative log-likelihood of a file's text, white space around it taken off."""
    file = " \n the stop and you ü is in the other 😀, an € on all of it!\n\n"
    ids = tokenizer(file.strip(), return_tensors="pt")["input_ids"]
    yield {"file": file, "nll": model(input_ids=ids, labels=ids).loss.item(), "tokens": ids.shape[1] - 1}


def main():
    folder = fresh("generation")
    tokenizer = tiny_tokenizer()
    tokenizer.save_pretrained(folder / "tokenizer")
    cases, stops = [], []
    for name in ("llama", "llama-tied"):
        model, wide = load_base(name), load_base(name).double()
        cases += [checked(name, model, wide, *run) for run in runs(name, model)]
        stops += [checked(name, model, wide, *run, tokenizer) for run in stop_runs(model, tokenizer)]
    ended = [c for c in cases + stops if any(len(r) < c["options"].get("max_new_tokens", 20) for r in c["tokens"])]
    assert len(ended) > 20, "hardly any text ends early"
    write_lines(folder / "cases.json", {"cases": cases, "stops": stops, "adapted": list(adapted()),
                                        "distributions": list(distributions(load_base("llama"))),
                                        "perplexity": list(perplexity(load_base("llama"), tokenizer)),
                                        "stop_checks": list(stop_checks(tokenizer))})


if __name__ == "__main__":
    setup()
    main()
