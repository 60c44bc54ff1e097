"""golden/instruction: JSON-lines rows of each form, and the tokens and labels that TRL's SFTTrainer makes of them.

Needs trl and datasets beside what the other areas need.
"""

import json
from types import SimpleNamespace
from uuid import uuid4

from datasets import Dataset
from datasets.fingerprint import Hasher
from transformers import AutoTokenizer
from trl.data_utils import pack_dataset
from trl.trainer.sft_trainer import SFTTrainer

from common import GOLDEN, setup

MARKED = ("{% for message in messages %}<s>{{ message['role'] }}\n{% if message['role'] == 'assistant' %}"
          "{% generation %}{{ message['content'] }}<|end|>{% endgeneration %}{% else %}{{ message['content'] }}<|end|>"
          "{% endif %}{% endfor %}{% if add_generation_prompt %}<s>assistant\n{% endif %}")
TOOLS = ("{% if tools %}<s>tools\n{% for tool in tools %}{{ tool['function']['name'] }} {% endfor %}<|end|>{% endif %}"
         + MARKED)

ALPACA = ("Below is an instruction that describes a task. Write a response that appropriately completes the request."
          "\n\n### Instruction:\n{instruction}\n\n### Response:")
ALPACA_INPUT = ("Below is an instruction that describes a task, paired with an input that provides further context. "
                "Write a response that appropriately completes the request.\n\n### Instruction:\n{instruction}\n\n"
                "### Input:\n{input}\n\n### Response:")


def user(text):
    return {"role": "user", "content": text}


def assistant(text):
    return {"role": "assistant", "content": text}


TEXTS = [{"text": "the stopping is in an inn."}, {"text": "ends by itself</s>"}, {"text": "ü €😀 an é and the rest"},
         {"text": "on the hill you and the other are seen, and no one else is there"}]
PAIRS = [{"prompt": "the st", "completion": "op and the in"}, {"prompt": "you: ", "completion": "he is an é.</s>"},
         {"prompt": "", "completion": "nothing before"}]
TURNS = [{"prompt": [user("is the inn in an alley?")], "completion": [assistant("it is €.")]},
         {"prompt": [{"role": "system", "content": "be led"}, user("on")],
          "completion": [assistant("and"), user("in"), assistant("off 😀")]}]
TALKS = [{"messages": [user("the one"), assistant("and the other"), user("ü?"), assistant("é €😀")]},
         {"messages": [{"role": "system", "content": "is led"}, user("you"), assistant("all")]}]
CALLS = [{"messages": [user("the one"), assistant("other")],
          "tools": [{"type": "function", "function": {"name": "stop"}}]},
         {"messages": [user("the one"), assistant("other")],
          "tools": json.dumps([{"type": "function", "function": {"name": "and"}}])}]
TASKS = [{"instruction": "Tell the other.", "input": "an inn", "output": "in an inn"},
         {"instruction": "Stop.", "input": "", "output": "and so on"}]


def prompts(rows):
    return [{"prompt": (ALPACA_INPUT if row["input"] else ALPACA).format(**row), "completion": row["output"]}
            for row in rows]


CASES = {  # rows, rows as TRL takes them, template, completion only, assistant only, most tokens, what is kept
    "text": (TEXTS, None, None, None, False, None, "keep_start"),
    "text-cut": (TEXTS, None, None, None, False, 9, "keep_start"),
    "text-cut-left": (TEXTS, None, None, None, False, 9, "keep_end"),
    "pairs": (PAIRS, None, None, None, False, None, "keep_start"),
    "pairs-all": (PAIRS, None, None, False, False, None, "keep_start"),
    "pairs-cut": (PAIRS, None, None, None, False, 12, "keep_start"),
    "turns": (TURNS, None, None, None, False, None, "keep_start"),
    "turns-assistant": (TURNS, None, MARKED, None, True, None, "keep_start"),
    "talks": (TALKS, None, None, None, False, None, "keep_start"),
    "talks-assistant": (TALKS, None, MARKED, None, True, None, "keep_start"),
    "calls": (CALLS, None, TOOLS, None, False, None, "keep_start"),
    "alpaca": (TASKS, prompts(TASKS), None, None, False, None, "keep_start"),
}


def prepared(tokenizer, rows, template, completion_only, assistant_only, most, mode):
    trainer = SimpleNamespace(_tokenizer=tokenizer, chat_template=template,
                              completion_only_loss="prompt" in rows[0] if completion_only is None else completion_only)
    args = SimpleNamespace(dataset_num_proc=None, dataset_text_field="text", assistant_only_loss=assistant_only,
                           max_length=most, truncation_mode=mode, shuffle_dataset=False)
    made = []
    for row in rows:  # each by itself: a column of tools has one type
        made += list(SFTTrainer._prepare_dataset(trainer, Dataset.from_list([row]), tokenizer, args, False, None, "x"))
    return [{"input_ids": row["input_ids"], "labels": row["labels"]} for row in made]


def main():
    setup()
    Hasher.hash = classmethod(lambda cls, value: uuid4().hex)  # nothing is cached, so no function need be pickled
    tokenizer = AutoTokenizer.from_pretrained(GOLDEN / "generation" / "tokenizer")
    cases = {}
    for name, (rows, given, template, completion_only, assistant_only, most, mode) in CASES.items():
        cases[name] = {"rows": rows, "template": template, "max_length": most, "mode": mode,
                       "completion_only": completion_only, "assistant_only": assistant_only,
                       "expected": prepared(tokenizer, given or rows, template, completion_only, assistant_only, most,
                                            mode)}
    lengths = [7, 3, 9, 4, 4, 8, 2, 10, 5, 6, 3, 2]
    data = Dataset.from_list([{"input_ids": [i + 1] * n} for i, n in enumerate(lengths)])
    packs = {strategy: [row["input_ids"] for row in pack_dataset(data, 10, strategy)] for strategy in ("bfd", "wrapped")}
    folder = GOLDEN / "instruction"
    folder.mkdir(exist_ok=True)
    (folder / "cases.json").write_text(
        json.dumps({"cases": cases, "lengths": lengths, "packs": packs}, ensure_ascii=True, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
