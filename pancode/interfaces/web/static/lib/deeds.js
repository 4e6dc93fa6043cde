// What an agent says, thinks and does, as rows: for the page of a run and for a chat.

import { strip } from "./lines.js";
import { html } from "./live.js";
import { Glyph, Prose } from "./parts.js";
import { span } from "./words.js";

const TAIL = 8;
const EDITS = /edit|write|patch|replace|change|create/i;

/** How a call looks: its tone, its shape, and the word for its end. A tool that answered is not a command that worked. */
function stateOf(call, goes) {
  if (call.state === "running") return goes ? ["live", "running", ""] : ["ghost", "unknown", "unknown"];
  if (call.state === "denied") return ["warn", "refused", "denied"];
  if (call.state === "failed") return ["bad", "failed", /^exit/.test(call.result) ? call.result : "could not run"];
  return call.result === "ended" ? ["ghost", "unknown", "exit unknown"] : ["ok", "done", call.result === "ok" ? "" : call.result];
}

const seconds = (ms) => (ms < 9950 ? `${(ms / 1000).toFixed(1)} s` : span(ms));
const counts = (diff) => { const lines = diff.split("\n"), of = (sign) => lines.filter((line) => line[0] === sign).length; return html` <span class="num"><span class="ok tone">+${of("+")}</span> <span class="bad tone">-${of("-")}</span></span>`; };

/** The lines of an edit. */
const Lines = ({ diff }) => html`<div class="diff well" tabindex="0">${diff.split("\n").map((line) => html`<code class=${`words ${line[0] === "+" ? "add" : line[0] === "-" ? "del" : ""}`}>${line}</code>`)}</div>`;

/** The end of a command's output, where it tells what failed; all of it at a press. */
function Output({ text, goes }) {
  const lines = strip(text).trimEnd().split("\n"), more = lines.length - TAIL;
  if (goes) return html`<pre class="well answer" aria-live="off">${lines.slice(-TAIL).join("\n")}</pre>`;
  if (more <= 0) return html`<pre class="well answer" tabindex="0">${lines.join("\n")}</pre>`;
  return html`<pre class="well answer" tabindex="0">${lines.slice(-TAIL).join("\n")}</pre><details class="small"><summary>${more} more ${more === 1 ? "line" : "lines"} before</summary><pre class="well answer" tabindex="0">${lines.slice(0, more).join("\n")}</pre></details>`;
}

/** One call. `goes`: the run is at work; `opens`: it is the newest; `times`: how many equal ones stand for it; `begin`: when the run began, in ms. */
export function Call({ call, goes, opens, times = 1, begin = 0, href = "", line = 0 }) {
  const [tone, glyph, word] = stateOf(call, goes), took = call.until_ms && call.at_ms ? call.until_ms - call.at_ms : null;
  const clock = call.at_ms && begin ? `+${span(Math.max(0, call.at_ms - begin))}` : "", edits = call.diff && EDITS.test(call.tool);
  return html`<details open=${opens && (edits || call.state === "failed" || (call.state === "running" && goes))}><summary class="step"><span class="fold"><${Glyph} name="fold" /></span><${Glyph} name=${glyph} tone=${tone} />
      <span class="cut"><b>${call.tool || "?"}</b> <code class="quiet">${call.about || ""}</code>${edits ? counts(call.diff) : ""}${times > 1 && html` <b class="warn tone">× ${times}</b>`}</span>
      <span class="n small quiet"><span class=${`tone ${tone}`}>${word}</span>${word && (took !== null || clock) ? ", " : ""}${took === null ? "" : seconds(took)}${took !== null && clock ? ", " : ""}${clock}</span></summary>
    <div class="stack pad">${call.why && html`<p class="bad tone small">${call.why}</p>`}${call.diff ? html`<${Lines} diff=${call.diff} />` : call.text?.trim() ? html`<${Output} text=${call.text} goes=${call.state === "running"} />`
      : html`<p class="small quiet">${call.state !== "running" ? "The program reports no output of it." : goes ? "It has not answered yet." : "The run ended before it answered."}</p>`}${href && html`<p class="small"><a href=${href}>line ${line} of the log</a></p>`}</div></details>`;
}

export const Thought = ({ part }) => html`<details class="small quiet"><summary class="step"><span class="fold"><${Glyph} name="fold" /></span><span></span> thought${part.spent_ms >= 1000 ? ` ${seconds(part.spent_ms)}` : ""}</summary><p class="words pad">${part.text}</p></details>`;

/** Equal calls in a row, as one with a count. */
export function folded(parts) {
  const found = [];
  for (const part of parts) {
    const last = found.at(-1);
    if (part.kind === "call" && last?.part.kind === "call" && ["tool", "about", "state", "result", "diff"].every((name) => part[name] === last.part[name]) && part.state !== "running") { last.times += 1; last.part = part; }
    else found.push({ part, times: 1 });
  }
  return found;
}

export const Said = ({ text }) => html`<${Prose} text=${strip(text)} />`;
