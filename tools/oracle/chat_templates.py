"""golden/chat: what transformers renders of small templates; and, outside the repository, of real ones.

    python chat_templates.py                              # golden/chat/cases.json
    python chat_templates.py --real OUT.json SOURCE...    # real templates, for ChatTemplateRealTest

A SOURCE is a folder, searched for *.jinja; a Python file, searched for assignments to names that end in `_template`;
or a GGUF file. See README.md for packages that hold some.
"""

import ast
import datetime
import hashlib
import json
import os
import struct
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import jinja2
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast
from transformers.utils import chat_template_utils

from chat_cases import CASES, DATA

GOLDEN = Path(__file__).resolve().parents[2] / "golden"
NOW = datetime.datetime(2024, 7, 9, 14, 5, 9)
TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
TALK = [{"role": "user", "content": "Hi there"}]

USER = {"role": "user", "content": "  What is 2 + 2? 😀 \"quoted\" <b>\n"}
ANSWER = {"role": "assistant", "content": "It is 4.\n\nReally – été 漢字."}
SYSTEM = {"role": "system", "content": "You are brief.\n"}
AGAIN = {"role": "user", "content": "And 3 + 3?"}
THOUGHT = {"role": "assistant", "content": "<think>\nTwo and two.\n</think>\n\nFour."}
REASONED = {"role": "assistant", "content": "Six.", "reasoning_content": "Three and three."}
PARTS = {"role": "user", "content": [{"type": "text", "text": "Look"}, {"type": "text", "text": "here."}]}
PICTURE = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is this?"}]}


def call(number, arguments):
    return {"id": f"call0000{number}", "type": "function", "function": {"name": "weather", "arguments": arguments}}


def result(number, **more):
    return {"role": "tool", "tool_call_id": f"call0000{number}", "content": '{"degrees": 21.5}', **more}


WEATHER = {"type": "function", "function": {
    "name": "weather", "description": "The weather \"now\" at a place.",
    "parameters": {"type": "object", "properties": {
        "city": {"type": "string", "description": "The city & country"},
        "unit": {"type": "string", "enum": ["celsius", "fahrenheit"], "default": "celsius"},
        "days": {"type": "array", "items": {"type": "integer"}, "nullable": True}}, "required": ["city"]},
    "return": {"type": "number", "description": "Degrees"}}}
CLOCK = {"type": "function", "function": {"name": "clock", "description": "The time.",
                                          "parameters": {"type": "object", "properties": {}}}}
ASKS = {"role": "assistant", "tool_calls": [call(1, {"city": "Zürich", "unit": "celsius"})]}
ASKS_TEXT = {"role": "assistant", "content": "Let me see.", "tool_calls": [call(1, '{"city": "Zürich"}')]}
ASKS_TWICE = {"role": "assistant", "content": "", "tool_calls": [call(1, {"city": "Bern"}), call(2, {"city": "Köln"})]}
DOCUMENTS = [{"title": "Penguins", "text": "They swim.", "id": "1"}]

CONVERSATIONS = {
    "user": [USER], "system": [SYSTEM, USER], "turns": [USER, ANSWER, AGAIN], "long": [SYSTEM, USER, ANSWER, AGAIN, ANSWER],
    "twice": [USER, AGAIN], "answer first": [ANSWER, USER], "system late": [USER, SYSTEM], "role": [{"role": "critic", "content": "Hm."}],
    "thought": [USER, THOUGHT, AGAIN], "thought last": [USER, THOUGHT], "reasoned": [USER, REASONED, AGAIN, REASONED],
    "empty": [{"role": "system", "content": ""}, {"role": "user", "content": ""}, {"role": "assistant", "content": ""}],
    "none": [USER, {"role": "assistant", "content": None}], "parts": [SYSTEM, PARTS, ANSWER], "picture": [PICTURE],
}
TOOL_TALKS = {
    "asked": [SYSTEM, USER, ASKS], "answered": [USER, ASKS, result(1)], "named": [SYSTEM, USER, ASKS, result(1, name="weather"), ANSWER],
    "text": [USER, ASKS_TEXT, result(1), ANSWER, AGAIN], "two": [USER, ASKS_TWICE, result(1), result(2), ANSWER],
    "reasons": [USER, {**ASKS, "reasoning_content": "I must look."}, result(1), AGAIN], "unused": [SYSTEM, USER],
}


class FixedTime(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return NOW


def tokenizer():
    chat_template_utils.datetime = FixedTime
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"<unk>": 0}, unk_token="<unk>")), **TOKENS)


def outcome(render):
    """What came out: a text, or which kind of error. Only the message of raise_exception is the template's own."""
    try:
        return {"output": render()}
    except jinja2.exceptions.TemplateSyntaxError as e:
        return {"error": "syntax", "line": e.lineno}
    except jinja2.exceptions.UndefinedError as e:
        return {"error": "undefined", "message": str(e)}
    except jinja2.exceptions.TemplateError as e:
        own = type(e) is jinja2.exceptions.TemplateError
        return {"error": "raised", "message": str(e)} if own else {"error": "failed", "message": str(e)}
    except Exception as e:  # Python's own errors, as they come out of a template
        return {"error": "failed", "message": f"{type(e).__name__}: {e}"}


def small():
    tok = tokenizer()
    talks = {"conversations": [TALK, [SYSTEM, *TALK], [*TALK, {"role": "assistant", "content": " Yes ", "tool_calls": None}]]}
    cases = []
    for group, templates in CASES.items():
        for template in templates:
            for messages in talks.get(group, [TALK]):
                got = outcome(lambda: tok.apply_chat_template(messages, chat_template=template, tokenize=False, **DATA))
                cases.append({"group": group, "template": template, "messages": messages, **got})
    folder = GOLDEN / "chat"
    folder.mkdir(exist_ok=True)
    lines = ",\n".join(json.dumps(case, ensure_ascii=True) for case in cases)
    head = json.dumps({"now": NOW.isoformat(), "tokens": TOKENS, "variables": DATA})
    (folder / "cases.json").write_text(f'{head[:-1]}, "cases": [\n{lines}\n]}}\n')
    errors = sum("error" in case for case in cases)
    print(f"chat: {len(cases)} cases, {errors} of them errors, {(folder / 'cases.json').stat().st_size} bytes")


def constants(node):
    """The text of a constant, or of a sum of constants; else None."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = constants(node.left), constants(node.right)
        return None if left is None or right is None else left + right
    return None


def sources(path):
    if path.is_dir():
        for file in sorted(path.rglob("*.jinja")):
            yield f"{path.name}/{file.stem}", file.read_text(encoding="utf-8")
    elif path.suffix == ".py":
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "").endswith("_template"):
                text = constants(node.value)
                if text and "{%" in text:
                    yield f"{path.stem}/{node.targets[0].id}", text
    else:
        data = path.open("rb").read(64 << 20)
        at = data.index(b"tokenizer.chat_template") + len("tokenizer.chat_template") + 4
        (length,) = struct.unpack_from("<Q", data, at)
        yield path.stem, data[at + 8:at + 8 + length].decode()


def requests():
    for name, messages in CONVERSATIONS.items():
        for prompt in (False, True):
            yield {"name": name, "messages": messages, "prompt": prompt}
    for name in ("turns", "thought", "reasoned"):
        for thinking in (False, True):
            yield {"name": name, "messages": CONVERSATIONS[name], "prompt": True,
                   "variables": {"enable_thinking": thinking, "thinking": thinking, "date_string": "01 Jan 2025"}}
    for name, messages in TOOL_TALKS.items():
        for prompt in (False, True):
            yield {"name": f"tools {name}", "messages": messages, "prompt": prompt, "tools": [WEATHER, CLOCK]}
        yield {"name": f"no tools {name}", "messages": messages, "prompt": False}
    yield {"name": "tools off", "messages": [SYSTEM, USER], "prompt": True, "tools": [WEATHER], "variables": {"tools_in_user_message": False}}
    yield {"name": "documents", "messages": [SYSTEM, USER], "prompt": True, "documents": DOCUMENTS}


def real(out, paths):
    tok = tokenizer()
    seen, templates = {}, []
    for path in paths:
        for name, text in sources(Path(path)):
            key = hashlib.sha256(text.encode()).hexdigest()
            if key in seen:
                print(f"{name} is {seen[key]}")
                continue
            seen[key] = name
            pairs = []
            for request in requests():
                more = {k: request[k] for k in ("tools", "documents") if k in request}
                got = outcome(lambda: tok.apply_chat_template(
                    request["messages"], chat_template=text, tokenize=False, add_generation_prompt=request["prompt"],
                    **more, **request.get("variables", {})))
                pairs.append({**request, **got})
            good = sum("output" in p for p in pairs)
            print(f"{name}: {good} of {len(pairs)} render")
            templates.append({"name": name, "template": text, "pairs": pairs})
    Path(out).write_text(json.dumps({"now": NOW.isoformat(), "tokens": TOKENS, "templates": templates}))
    print(f"{len(templates)} templates, {sum(len(t['pairs']) for t in templates)} pairs")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--real"] and len(sys.argv) > 3:
        real(sys.argv[2], sys.argv[3:])
    else:
        small()
