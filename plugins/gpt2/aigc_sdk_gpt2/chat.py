"""Conversations as prompts: {"messages": [{"role": ..., "content": ...}, ...]}, by the model's own chat template.

A template comes with a model, so it is data: it runs in Jinja's sandbox, can neither keep nor change anything, and what it may
make is bounded. Text and tokens are those of transformers' apply_chat_template.
"""

from __future__ import annotations

import datetime
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.sandbox import ImmutableSandboxedEnvironment

from aigc_sdk.calls import PROMPT_LIMIT, check_prompt
from aigc_sdk.errors import PromptError, UnsafeFolder, printable, shown
from aigc_sdk.weights import token_ids

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from aigc_sdk.folder import Folder

ROLES = ("system", "developer", "user", "assistant")
FILE = "chat_template.jinja"
TEMPLATE_LIMIT = 1 << 18  # bytes; the largest in use have 30 kB
MESSAGES_LIMIT = 10_000


def read_template(tokenizer: PreTrainedTokenizerFast, opened: Folder) -> None:
    """Give a tokenizer the chat template that lies in its folder, where there is one. Raises UnsafeFolder for a huge one."""
    found: Any = None
    if opened.has(FILE):
        size = (opened.path / FILE).stat().st_size
        if size > TEMPLATE_LIMIT:
            raise UnsafeFolder(f"{opened.path / FILE} has {size:,} bytes; no chat template needs {TEMPLATE_LIMIT:,}")
        found = (opened.path / FILE).read_text(errors="replace")
    elif opened.has("tokenizer_config.json"):
        found = opened.json("tokenizer_config.json").get("chat_template")
        if isinstance(found, list):  # several by name, as for models that call tools
            named = {each.get("name"): each.get("template") for each in found if isinstance(each, dict)}
            found = named.get("default")
    if isinstance(found, str) and len(found) <= TEMPLATE_LIMIT:
        tokenizer.chat_template = found


def prompt_tokens(
    tokenizer: PreTrainedTokenizerFast, prompts: Sequence[str | Mapping[str, Any] | None]
) -> list[list[int]]:
    """The tokens of each prompt, none for None. A conversation gets the special tokens that its template writes, and no others.

    Raises PromptError.
    """
    named = [f"prompt[{index}]" if len(prompts) > 1 else "prompt" for index in range(len(prompts))]
    chats = {at: rendered(tokenizer, each, named[at]) for at, each in enumerate(prompts) if isinstance(each, Mapping)}
    texts = {at: each for at, each in enumerate(prompts) if isinstance(each, str)}
    found: list[list[int]] = [[] for _ in prompts]
    for group, special in ((chats, False), (texts, True)):
        for at, tokens in zip(group, token_ids(tokenizer, list(group.values()), special=special), strict=True):
            found[at] = tokens
    return found


def rendered(tokenizer: PreTrainedTokenizerFast, prompt: Mapping[str, Any], name: str = "prompt") -> str:
    """The text that a conversation is to the model, up to where its answer begins. `name` is for messages.

    prompt: {"messages": [{"role", "content"}, ...]}, and, for a template that writes the day's date, "date": "2025-12-31".
    Raises PromptError: for a tokenizer without a template, other roles or keys, and what the template itself refuses.
    """
    messages, date = _checked(tokenizer, prompt, name)
    template = tokenizer.chat_template
    if not isinstance(template, str):
        raise PromptError(
            f"{name} is a conversation, and this model's tokenizer has no chat template; pass a text as the model was "
            "trained with, or set `model.tokenizer.chat_template`",
            field="prompt",
        )
    special = {key: str(value) for key, value in tokenizer.special_tokens_map.items() if isinstance(value, str)}
    try:
        pieces = _compiled(template).generate(
            messages=messages,
            tools=None,
            documents=None,
            add_generation_prompt=True,
            strftime_now=_clock(date, name),
            **special,
        )
        text = _bounded(pieces, name)
    except PromptError:
        raise
    except Exception as error:
        reason = printable(f"{type(error).__name__}: {error}", 300)
        raise PromptError(
            f"{name}: the model's chat template cannot write these messages: {reason}", field="prompt"
        ) from error
    check_prompt(text, (str,), "the chat template", name)
    return text


def _checked(
    tokenizer: PreTrainedTokenizerFast, prompt: Mapping[str, Any], name: str
) -> tuple[list[dict[str, str]], datetime.date | None]:
    """Plain copies of the messages, and the date."""
    if "messages" not in prompt or not set(prompt) <= {"messages", "date"}:
        raise _refused(name, f"has the keys {shown(sorted(map(str, prompt)))}", 'give {"messages": [...]}')
    messages = prompt["messages"]
    if not isinstance(messages, list | tuple) or not 1 <= len(messages) <= MESSAGES_LIMIT:
        raise _refused(name, f"messages is {shown(messages)}", f"give a list of 1 to {MESSAGES_LIMIT:,}")
    special = [each.content for each in tokenizer.backend_tokenizer.get_added_tokens_decoder().values() if each.special]
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        if not isinstance(message, Mapping) or set(message) != {"role", "content"}:
            raise _refused(name, f"{where} is {shown(message)}", 'give {"role", "content"}; tools are not offered')
        if message["role"] not in ROLES:
            raise _refused(name, f"{where} has the role {shown(message['role'])}", f"roles are {', '.join(ROLES)}")
        check_prompt(message["content"], (str,), "a conversation", f"{name}.{where}.content")
        for each in special:
            if each in message["content"]:
                raise _refused(
                    name, f"{where} holds {shown(each)}, a token by which the model tells who speaks", "leave it out"
                )
    date = prompt.get("date")
    try:
        day = None if date is None else datetime.date.fromisoformat(date)
    except (TypeError, ValueError) as error:
        raise _refused(name, f"date is {shown(date)}", "give one such as '2025-12-31'") from error
    return [{"role": str(each["role"]), "content": str(each["content"])} for each in messages], day


def _refused(name: str, what: str, remedy: str) -> PromptError:
    return PromptError(f"{name}: {what}; {remedy}", field="prompt")


def _clock(date: datetime.date | None, name: str) -> Callable[[str], str]:
    """What a template asks for the date: a text that could not be made again tomorrow is not begun."""

    def strftime_now(format: str) -> str:
        if date is None:
            raise _refused(
                name, "the model's chat template writes the day's date", 'give it as "date" beside "messages"'
            )
        return date.strftime(format)

    return strftime_now


def _bounded(pieces: Any, name: str) -> str:
    found, size = list[str](), 0
    for piece in pieces:
        found.append(piece)
        size += len(piece)
        if size > PROMPT_LIMIT:
            raise _refused(name, f"the chat template makes more than {PROMPT_LIMIT:,} characters of it", "shorten it")
    return "".join(found)


class _Sandbox(ImmutableSandboxedEnvironment):
    """Jinja's, which hides what is private and changes nothing, without products: a string times a number fills memory."""

    intercepted_binops = frozenset({"*", "**"})

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """A product of numbers, which only a short power can make huge."""
        if operator == "*" and isinstance(left, int | float) and isinstance(right, int | float):
            return left * right
        raise jinja2.exceptions.SecurityError(f"a chat template has no use for {type(left).__name__} {operator}")


class _Generation(Extension):
    """{% generation %}, by which transformers marks what is to be learnt; it writes nothing."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Any) -> list[nodes.Node]:
        """The block's own statements."""
        next(parser.stream)
        found: list[nodes.Node] = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return found


@functools.lru_cache(maxsize=16)
def _compiled(template: str) -> jinja2.Template:
    sandbox = _Sandbox(trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, "jinja2.ext.loopcontrols"])
    sandbox.filters["tojson"] = _to_json
    sandbox.globals["raise_exception"] = _raise
    return sandbox.from_string(template)


def _to_json(
    value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise(message: str) -> None:
    raise jinja2.exceptions.TemplateError(message)
