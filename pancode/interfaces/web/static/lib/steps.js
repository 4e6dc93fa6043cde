// What an agent program's lines of JSON tell, step by step: its words, and each call of a tool with what came of it.

import { strip } from "./lines.js";

const NAMED = ["command", "path", "file_path", "filePath", "pattern", "query", "url", "description"];
const MOST = 4000;

const short = (value) => { const found = value && typeof value === "object" ? NAMED.map((name) => value[name]).find((one) => typeof one === "string") ?? JSON.stringify(value) : String(value ?? ""); return found.split("\n")[0].slice(0, 300); };
const said = (value) => (typeof value === "string" ? value : Array.isArray(value) ? value.map((one) => one?.text ?? "").join("\n") : value?.content ? said(value.content) : value ? JSON.stringify(value) : "");

/** Steps of one line: {say}, {call, words, id}, {end, out, ok}. */
function partsOf(line) {
  const { type } = line;
  if (type === "said") return [{ say: line.text, more: true }];
  if (type === "called") return [{ call: line.tool, words: short(line), id: line.id }];
  if (type === "ran") return [{ end: line.id, out: said(line.output ?? line.answer ?? line.text), ok: line.ok }];
  if (type === "assistant" || type === "user") return Array.isArray(line.message?.content) ? line.message.content.map(ofClaude) : [];
  if (line.item) return ofCodex(type, line.item);
  if (type === "tool_use" && line.part) return [{ call: line.part.tool, words: short(line.part.state?.input), id: line.part.callID }, { end: line.part.callID, out: said(line.part.state?.output), ok: line.part.state?.status === "completed" }];
  if (type === "text" && line.part) return [{ say: line.part.text }];
  if (type === "tool_use") return [{ call: line.tool_name, words: short(line.parameters), id: line.tool_id }];
  if (type === "tool_result") return [{ end: line.tool_id, out: said(line.output), ok: line.status === "success" }];
  if (type === "message" && line.role === "assistant") return [{ say: said(line.content), more: line.delta }];
  const { data } = line;
  if (type === "tool.execution_start") return [{ call: data?.toolName, words: short(data?.arguments), id: data?.toolCallId }];
  if (type === "tool.execution_complete") return [{ end: data?.toolCallId, out: said(data?.result), ok: data?.success }];
  if (type === "assistant.message") return [{ say: data?.content }];
  return [];
}

function ofClaude(part) {
  if (part?.type === "text") return { say: part.text };
  if (part?.type === "tool_use") return { call: part.name, words: short(part.input), id: part.id };
  return part?.type === "tool_result" ? { end: part.tool_use_id, out: said(part.content), ok: !part.is_error } : {};
}

function ofCodex(type, item) {
  if (item.type === "agent_message") return type === "item.completed" ? [{ say: item.text }] : [];
  if (!/_execution|_change|_call|search/.test(item.type)) return [];
  const call = { call: plainly(item.type), words: item.command || item.tool || (item.changes || []).map((one) => one.path).join(", ") || short(item), id: item.id };
  return type === "item.started" ? [call] : type === "item.completed" ? [{ end: item.id, out: said(item.aggregated_output ?? item.result), ok: item.status === "completed", late: call }] : [];
}
const plainly = (word) => word.replace("_execution", "").replaceAll("_", " ");

/** Takes one line in: `steps` grows by {line, say} or {line, call, words, ok, out, from, until}. A line of a shape that nobody knows adds nothing: a stranger writes it, and the lines behind it are still to be shown. */
export function takeStep(steps, open, text, number) {
  if (text[0] !== "{" || text.length > 500000) return;
  try { grow(steps, open, JSON.parse(text), number); } catch { /* it is in the log as it is */ }
}

function grow(steps, open, line, number) {
  const stamp = typeof line.timestamp === "number" ? line.timestamp : Date.parse(line.timestamp) || null;
  const begin = (part) => { const step = { line: number, call: String(part.call), words: part.words, ok: null, out: "", from: stamp, until: null }; steps.push(step); open.set(part.id, step); };
  for (const part of partsOf(line)) {
    if (part.say && part.more && steps.at(-1)?.say) steps.at(-1).say += part.say;
    else if (part.say?.trim?.()) steps.push({ line: number, say: part.say.slice(0, MOST) });
    else if (part.call) begin(part);
    else if (part.end !== undefined) {
      if (part.late && !open.has(part.end)) begin(part.late);
      const step = open.get(part.end);
      if (step) Object.assign(step, { ok: part.ok !== false, out: String(part.out || "").slice(0, 20000), until: stamp });
      open.delete(part.end);
    }
  }
}

/** The last text or call in the end of an agent's output, else its last lines. `most`: the size that was requested; the first line of an output that long may be cut. */
export function lastSaid(text, most) {
  const steps = [], open = new Map(), lines = text.split("\n").slice(text.length > 0.9 * most ? 1 : 0);
  lines.forEach((line, i) => takeStep(steps, open, line, i));
  const step = steps.at(-1), said = !step ? lines.filter((line) => line[0] !== "{") : step.call ? [`${step.call} ${step.words}${step.ok === false ? ": failed" : ""}`] : step.say.split("\n");
  return said.map(strip).filter((line) => line.trim()).slice(-2).map((line) => `${line.slice(0, 300)}\n`).join("");
}
