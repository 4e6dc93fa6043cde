"""Public prices of vendors that serve models of many makers: each has its own price for the same name. Pure.

From their price pages (console.groq.com/docs/models, mistral.ai/pricing/api, together.ai/pricing) as the list
genai-prices 0.2.3 of November 2026 keeps them; models that call tools. OpenRouter is not here: what a call
costs there follows from the server that it is led to.
"""

from __future__ import annotations

from collections.abc import Mapping

# US dollars for a million tokens: input, read from a cache, written into one, output.
OF: Mapping[str, str] = {
    "groq": """
llama-3.1-8b-instant                           0.05   0.05    0.05   0.08
llama-3.3-70b-versatile                        0.59   0.59    0.59   0.79
meta-llama/llama-4-maverick-17b-128e-instruct  0.2    0.2     0.2    0.6
meta-llama/llama-4-scout-17b-16e-instruct      0.11   0.11    0.11   0.34
moonshotai/kimi-k2-instruct                    1      0.5     1      3
openai/gpt-oss-120b                            0.15   0.075   0.15   0.6
openai/gpt-oss-20b                             0.075  0.0375  0.075  0.3
qwen/qwen3-32b                                 0.29   0.29    0.29   0.59
qwen/qwen3.8-27b                               0.8    0.8     0.8    4
""",
    "mistral": """
codestral-2508            0.3   0.03   0.3   0.9
codestral-latest          0.3   0.3    0.3   0.9
deepseek-v4-1-flash-1017  0.3   0.007  0.3   1.2
ministral-14b-2512        0.2   0.02   0.2   0.2
ministral-3b-2512         0.1   0.01   0.1   0.1
ministral-8b-2512         0.15  0.015  0.15  0.15
ministral-8b-latest       0.15  0.015  0.15  0.15
mistral-large-2512        0.5   0.05   0.5   1.5
mistral-large-4           0.7   0.07   0.7   2.1
mistral-medium-3.5        1.5   0.15   1.5   7.5
mistral-medium-latest     1.5   0.15   1.5   7.5
mistral-small-2603        0.15  0.015  0.15  0.6
mistral-small-latest      0.15  0.015  0.15  0.6
zai-glm-5-3               1.4   0.14   1.4   4.4
zai-glm-5-3-flash         0.15  0.03   0.15  0.5
""",
    "together": """
MiniMaxAI/MiniMax-M3                     0.3   0.06   0.3   1.2
MiniMaxAI/MiniMax-M3.1-Flash             0.15  0.015  0.15  0.6
Qwen/Qwen3.5-9B                          0.17  0.17   0.17  0.25
Qwen/Qwen3.6-Plus                        0.5   0.5    0.5   3
Qwen/Qwen3.7-Max                         2.5   0.5    2.5   7.5
Qwen/Qwen3.7-Plus                        0.32  0.32   0.32  1.28
Qwen/Qwen3.8-2.4T-A95B                   2     0.5    2     6
Qwen/Qwen3.8-Flash                       0.15  0.15   0.15  0.47
deepseek-ai/DeepSeek-V4-Pro-0813         1.32  0.13   1.32  3.96
deepseek-ai/DeepSeek-V4.1-Flash          0.3   0.006  0.3   1.2
meta-llama/Llama-3.3-70B-Instruct-Turbo  0.88  0.88   0.88  0.88
meta-models/Muse-Glimmer-30B             0.35  0.04   0.35  1.5
meta-models/Muse-Spark-Open-816B-A42B    1.25  0.15   1.25  4.25
moonshotai/Kimi-K3                       3     0.3    3     15
moonshotai/Kimi-K3.1-Pro                 2     0.2    2     10
nvidia/NVIDIA-Nemotron-3.5-Super-VL      0.15  0.02   0.15  0.5
openai/gpt-oss-120b                      0.15  0.15   0.15  0.6
thinkingmachines/Inkling                 1     0.17   1     4.05
zai-org/GLM-5.2                          1.4   0.26   1.4   4.4
zai-org/GLM-5.3                          1.4   0.26   1.4   4.4
zai-org/GLM-5.3-Flash                    0.15  0.03   0.15  0.5
""",
}
