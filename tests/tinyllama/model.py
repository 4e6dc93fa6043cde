"""Writes a tiny chat model (GGUF): a real transformer, untrained, that ends its turns and replays scenarios.

If the last marked user turn holds [[name]], the k-th assistant turn after it is turn k of that scenario: the
template ends the prompt with the token <|name:k|>, and the output matrix links each piece of a turn to the
next. The text is raw output, which the real server parses. Same arguments, same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import numpy.typing as npt

from .template import chat_template

Floats = npt.NDArray[np.float32]
BABBLE = "%babble%"
"""At the end of a scripted turn: it continues freely from there."""
WIDTH, HEADS, LINK, RARE = 64, 4, 30.0, 6.0
TRAINED_FOR = 32_768
BOS, END, FIRST_SCRIPTED = 259, 261, 262
_SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
_FREQUENCIES: tuple[tuple[str, float], ...] = (
    ("etaoinshrdlu", 5), ("cmfwypvbgkjqxz", 2), ("ABCDEFGHIJKLMNOPQRSTUVWXYZ", 0.3), ("0123456789", 1.5),
    (" ", 14), (".,", 2), ('"', 6), ("}]", 1.5), ("{[:-_/()'", 0.4), ("\n", 0.5),
)  # fmt: skip


def tool_call(name: str, **arguments: str) -> str:
    return "<tool_call>\n" + json.dumps({"name": name, "arguments": arguments}) + "\n</tool_call>"


SCENARIOS: dict[str, list[str]] = {
    "hello": ["Hello from the tiny model."],
    "long": [" ".join(f"line {i:03d} of a long answer." for i in range(120))],
    "any-tool": ["<tool_call>\n" + BABBLE, "Done."],
    "agent": [
        tool_call("write_file", path="hello.txt", content="hello from the tiny model\n"),
        tool_call("read_file", path="hello.txt"),
        "Done: hello.txt holds one line.",
    ],
    "parallel": [
        tool_call("read_file", path="a.txt") + "\n" + tool_call("read_file", path="b.txt"),
        "Read both.",
    ],
    "prose-tool": ['I will call write_file({"path": "x.txt"}) now.', "Done."],
    "loop": [tool_call("read_file", path="same.txt")],
    "empty": [""],
    "passport-answer": ["Hello to whoever tests me."],
    "passport-tool": [tool_call("ping", x="ok")],
}


def alphabet() -> dict[int, str]:
    """A printable stand-in for every byte, the convention of byte-level BPE."""
    keep = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    spare = iter(range(0x100, 0x200))
    return {b: chr(b if b in keep else next(spare)) for b in range(256)}


def cut(text: str, taken: set[str], spell: Callable[[str], str]) -> list[str]:
    """The text in pieces whose spelling no token has yet (a vocabulary has no twins); they are taken then."""
    for size in (4, 3, 5, 2, 6, 7, 8):
        pieces = _pieces(text, size, taken, spell)
        if not pieces or spell(pieces[-1]) not in taken:
            taken.update(map(spell, pieces))
            return [spell(piece) for piece in pieces]
    raise ValueError(f"this scenario cannot be cut into pieces that are new, make it longer: {text!r}")


def _pieces(text: str, size: int, taken: set[str], spell: Callable[[str], str]) -> list[str]:
    out: list[str] = []
    while text:
        n = size
        while n < len(text) and (spell(text[:n]) in taken or text[:n] in out):
            n += 1
        out.append(text[:n])
        text = text[n:]
    while len(out) > 1 and (spell(out[-1]) in taken or out[-1] in out[:-1]):
        out[-2:] = [out[-2] + out[-1]]
    return out


class Vocabulary:
    """Tokens, and which follows which: `links` from one to the next, `enders` end a turn."""

    def __init__(self, scenarios: dict[str, list[str]]) -> None:
        letters = alphabet()
        self._spell = lambda text: "".join(letters[b] for b in text.encode())
        self.tokens = [letters[b] for b in range(256)] + ["th", "in", "er", *_SPECIAL]
        self.links: list[tuple[int, int]] = []
        self.enders: set[int] = set()
        self._taken, self._chains = set(self.tokens), dict[str, int]()
        for name, turns in scenarios.items():
            for k, turn in enumerate(turns):
                self._add(f"<|{name}:{k}|>", turn)

    def _add(self, start: str, turn: str) -> None:
        current, text = len(self.tokens), turn.removesuffix(BABBLE)
        self.tokens.append(start)
        if text in self._chains:  # equal turns share one chain
            self.links.append((current, self._chains[text]))
            return
        if text:
            self._chains[text] = current + 1
        for piece in cut(text, self._taken, self._spell):
            self.links.append((current, len(self.tokens)))
            current = len(self.tokens)
            self.tokens.append(piece)
        if text == turn:
            self.enders.add(current)


def build(path: Path, scenarios: dict[str, list[str]], tools: bool = True, layers: int = 2) -> None:
    """Write the model file."""
    words, rng = Vocabulary(scenarios), np.random.default_rng(0)
    writer = gguf.GGUFWriter(str(path), "llama")
    for key, value in _about(words.tokens, layers, chat_template(scenarios, tools)).items():
        getattr(writer, f"add_{key}")(value)
    embed, out = _ends(words, rng)
    writer.add_tensor("token_embd.weight", embed)
    writer.add_tensor("output.weight", out)
    writer.add_tensor("output_norm.weight", np.ones(WIDTH, np.float32))
    _add_layers(writer, layers, rng)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _about(tokens: list[str], layers: int, template: str) -> dict[str, object]:
    return {
        "name": "tiny-random", "context_length": TRAINED_FOR, "embedding_length": WIDTH,
        "block_count": layers, "feed_forward_length": WIDTH,
        "head_count": HEADS, "head_count_kv": 1, "layer_norm_rms_eps": 1e-6,
        "rope_dimension_count": WIDTH // HEADS, "vocab_size": len(tokens), "file_type": 0,
        "tokenizer_model": "gpt2", "tokenizer_pre": "gpt-2", "token_list": tokens,
        "token_types": [3 if t.startswith("<|") else 1 for t in tokens],
        "token_merges": ["t h", "i n", "e r"],
        "bos_token_id": BOS, "eos_token_id": END, "add_bos_token": False, "chat_template": template,
    }  # fmt: skip


def _ends(words: Vocabulary, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Embedding and output: 0 carries how frequent, 1 says that the turn ends, the rest which token it is."""
    size = len(words.tokens)
    unit = rng.standard_normal((size, WIDTH - 2)).astype(np.float32)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    embed = np.concatenate([np.ones((size, 1), np.float32), np.zeros((size, 1), np.float32), unit], axis=1)
    embed[sorted(words.enders), 1] = 2.0
    embed /= np.linalg.norm(embed, axis=1, keepdims=True)
    gain, end_gain, bias = np.sqrt(WIDTH / 2), 2 * np.sqrt(WIDTH / 6), _bias(size)
    out = np.zeros((size, WIDTH), np.float32)
    out[:, 0] = bias / gain
    out[:, 2:] = _noise(rng, (size, WIDTH - 2), 0.35 / gain)
    out[END, 1] = 2 * LINK / end_gain
    for blank in b"\n ":  # an answer begins behind the one; it says something, and not a space alone
        out[END, 2:] -= RARE / gain * unit[blank]
    for current, following in words.links:
        out[following, 2:] += (LINK - float(bias[following])) / gain * unit[current]
    return embed.astype(np.float32), out


def _bias(size: int) -> Floats:
    weight = dict.fromkeys(range(256), 2e-9)
    for letters, share in _FREQUENCIES:
        weight.update(dict.fromkeys(map(ord, letters), share))
    bias = np.full(size, -30.0, np.float32)
    bias[:256] = [np.log(weight[b]) for b in range(256)]
    bias[256:BOS] = np.log(2.0)
    bias[END] = np.log(np.exp(bias[:BOS]).sum() / 120)  # mean length some 60 tokens
    bias[FIRST_SCRIPTED:] = -60.0  # scripted pieces only through a link
    return bias


def _noise(rng: np.random.Generator, shape: tuple[int, ...], scale: float = 0.02) -> Floats:
    made: Floats = (rng.standard_normal(shape) * scale).astype(np.float32)
    return made


def _add_layers(writer: gguf.GGUFWriter, layers: int, rng: np.random.Generator) -> None:
    """The context nudges the babble, and never overrides a link."""
    nudge = 0.004 * float(np.sqrt(2.0 / layers))
    parts = (
        ("attn_q", WIDTH, 0.02), ("attn_k", WIDTH // HEADS, 0.02), ("attn_v", WIDTH // HEADS, 0.02),
        ("ffn_up", WIDTH, 0.02), ("ffn_gate", WIDTH, 0.02), ("attn_output", WIDTH, nudge),
        ("ffn_down", WIDTH, nudge),
    )  # fmt: skip
    for i in range(layers):
        for norm in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{i}.{norm}.weight", np.ones(WIDTH, np.float32))
        for part, rows, scale in parts:
            writer.add_tensor(f"blk.{i}.{part}.weight", _noise(rng, (rows, WIDTH), scale))
