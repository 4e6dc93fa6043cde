"""The tiny model's chat template: ChatML, Hermes' tool calls, and a token that starts a scenario's turn."""

from __future__ import annotations

_TOOLS = """{%- if tools %}
{{- '<|im_start|>system\\n' }}
{%- if messages[0].role == 'system' %}{{- messages[0].content + '\\n\\n' }}{%- endif %}
{{- "# Tools\\n\\nYou may call functions. Their signatures are in <tools></tools>:\\n<tools>" }}
{%- for tool in tools %}{{- "\\n" }}{{- tool | tojson }}{%- endfor %}
{{- "\\n</tools>\\n\\nA call is a json object with name and arguments within <tool_call></tool_call>:\\n" }}
{{- "<tool_call>\\n{\\"name\\": <function-name>, \\"arguments\\": <args>}\\n</tool_call><|im_end|>\\n" }}
{%- elif messages[0].role == 'system' %}{{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- endif %}"""
_NO_TOOLS = """{%- if messages[0].role == 'system' %}
{{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}{%- endif %}"""
_CALLS = """{%- if m.tool_calls %}{%- for tc in m.tool_calls %}
{%- if tc.function %}{%- set tc = tc.function %}{%- endif %}
{{- '\\n<tool_call>\\n{"name": "' + tc.name + '", "arguments": ' }}{{- tc.arguments | tojson }}
{{- '}\\n</tool_call>' }}{%- endfor %}{%- endif %}"""
_RESULTS = """{%- elif m.role == 'tool' %}
{{- '<|im_start|>user\\n<tool_response>\\n' + m.content + '\\n</tool_response><|im_end|>\\n' }}"""
_BODY = """{%- for m in messages %}{%- if m.role == 'user' or (m.role == 'system' and not loop.first) %}
{{- '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}
{%- elif m.role == 'assistant' %}
{{- '<|im_start|>assistant' }}{%- if m.content %}{{- '\\n' + m.content }}{%- endif %}
@CALLS@{{- '<|im_end|>\\n' }}
@RESULTS@{%- endif %}{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}"""
_COUNT = (  # k: the assistant's turns since the latest marker
    "{%- set ns = namespace(k=0, s='') %}{%- for m in messages %}{%- if m.role == 'assistant' %}"
    "{%- set ns.k = ns.k + 1 %}{%- elif m.role == 'user' and m.content is string %}"
)


def chat_template(scenarios: dict[str, list[str]], tools: bool) -> str:
    """Without `tools` it drops them, as templates of models without tool calls do."""
    calls, results = (_CALLS, _RESULTS) if tools else ("", "")
    body = _BODY.replace("@CALLS@", calls).replace("@RESULTS@", results)
    return (
        (_TOOLS if tools else _NO_TOOLS) + body + (_started(scenarios) if scenarios else "") + "{%- endif %}"
    )


def _started(scenarios: dict[str, list[str]]) -> str:
    text = _COUNT
    for name in scenarios:
        text += f"{{%- if '[[{name}]]' in m.content %}}"
        text += f"{{%- set ns.s = '{name}' %}}{{%- set ns.k = 0 %}}{{%- endif %}}"
    text += "{%- endif %}{%- endfor %}"
    for name, turns in scenarios.items():
        for k in range(len(turns)):
            when = f"ns.k >= {k}" if k == len(turns) - 1 else f"ns.k == {k}"
            text += f"{{%- if ns.s == '{name}' and {when} %}}{{{{- '<|{name}:{k}|>' }}}}{{%- endif %}}"
    return text
