"""Names of the attributes of spans, all in one file because the GenAI conventions are still changing."""

from __future__ import annotations

SERVICE = "pancode"
INVOKE_AGENT = "invoke_agent"
OPERATION = "gen_ai.operation.name"
AGENT = "gen_ai.agent.name"
CONVERSATION = "gen_ai.conversation.id"
PROVIDER = "gen_ai.provider.name"
MODEL = "gen_ai.request.model"
INPUT_TOKENS, OUTPUT_TOKENS = "gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"
WORKFLOW = "gen_ai.workflow.name"
ERROR = "error.type"
RUN, OUTCOME, NODE, ATTEMPT = "pancode.run", "pancode.outcome", "pancode.node", "pancode.attempt"
RUNTIME, COST, PARENT, BY = "pancode.runtime", "pancode.cost_usd", "pancode.parent", "pancode.created_by"
TASK = "pancode.task"
STAGE = "pancode.stage"
LANDING = "pancode.landing"
