// One run: what it is, its story, log, change, gates, proof, cost; and what can be done with it.

import { strip } from "../lib/lines.js";
import { at, post } from "../lib/api.js";
import { go, html, link, useLive, useNow } from "../lib/live.js";
import { Act, agreed, asked, Badge, Decisions, fact, Page, Panel, RunLink, State, tell, When, Why } from "../lib/parts.js";
import { look, many, span, stateOf, title, took, usd, visible, visibleLines } from "../lib/words.js";
import { Change } from "./rundiff.js";
import { Log } from "./runlog.js";
import { Proof } from "./runproof.js";

/** How a tab's title begins, by the tone of the state. */
const MARKS = { ok: "✓", live: "▶", wait: "…", warn: "?", bad: "✕", ghost: "?" };
export const PARTS = { "": ["Story", Story], log: ["Log", Log], diff: ["Change", Change], gates: ["Gates", Gates], receipt: ["Receipt", Proof], cost: ["Cost", Cost] };

export function Run({ parts, query }) {
  const [, id, part = ""] = parts;
  const live = useLive(at("runs", id), undefined, (event) => event.run === id);
  const why = useLive(at("runs", id, "why"), undefined, (event) => event.run === id && event.kind !== "run.usage");
  const run = live.data;
  const now = useNow();
  const [, shown] = PARTS[part] || PARTS[""];
  return html`<${Page} title=${`Run ${id}`} tab=${run && `${MARKS[look(stateOf(run))[0]]} ${visible(title(run))} · ${id}`} lives=${[live, why]} actions=${run && html`<${Why} what=${`run:${run.run}`} /><${Acts} run=${run} part=${part} />`}>
    ${run && html`<p class="facts"><${State} run=${run} />${run.reason !== run.outcome && html`<span>${run.reason}</span>`}<span>${run.node || "no machine yet"}</span><span>${run.agent} / ${run.runtime}${run.model ? ` / ${run.model}` : ""}</span>
      <span>${took(run, now)}</span><span class=${run.usage.cost_usd === null ? "ghost tone" : ""}>${run.usage.cost_usd === null ? "cost unknown" : usd(run.usage.cost_usd)}</span>${run.workflow && html`<a href=${link(["workflows", run.workflow])}>workflow ${run.workflow}${run.step ? `, step ${run.step}` : ""}</a>`}${run.notes.map((note) => html`<span class=${note.startsWith("unknown") ? "ghost tone" : ""}>${note}</span>`)}</p>
    <p class="words task panel pad" tabindex="0" aria-label="task">${visibleLines(run.task)}</p>
    ${run.landing && html`<p class="small">landing: <${Badge} word=${run.landing.status} /> ${run.landing.why || ""} ${run.landing.fix ? html`→ <code>${run.landing.fix}</code>` : ""}</p>`}
    <nav class="tabs" aria-label="parts of the run">${Object.entries(PARTS).map(([name, [words]]) => html`<a href=${link(["runs", id, ...(name ? [name] : [])])} aria-current=${name === part ? "page" : undefined}>${words}${name === "diff" && run.files_changed.length ? ` ${run.files_changed.length}` : ""}</a>`)}</nav>
    <${shown} key=${`${id}${part}`} run=${run} why=${why.data} query=${query} />`}<//>`;
}

/** `land` with the answers that it needs: gates first; what is held up is asked about, and never forced. */
export async function land(run) {
  if (!(await agreed(`Land the change of ${run.run} in ${run.project}? If your files have changed since its dispatch, its gates run on the merged files first.`, "Land"))) return;
  try {
    const done = await post(at("runs", run.run, "land"), {});
    tell(`${run.run}: ${done.status}${done.why ? `, ${done.why}` : ""}`);
  } catch (problem) { tell(problem); }
}

async function words(run, verb, question, path) {
  const text = await asked(question, verb);
  if (!text) return;
  try {
    const done = await post(at("runs", run.run, path), { text });
    if (path === "continue") go(["runs", done.run]);
    else tell(done.delivered || done.sent ? `delivered: ${done.delivered || "sent to it"}` : "kept; it is delivered when the run is continued");
  } catch (problem) { tell(problem); }
}

/** The filled key is what the state asks for: land what its gates have passed, look at what no gate has seen, try again what failed. */
function Acts({ run, part }) {
  const ended = run.state === "ended";
  const landable = ended && run.commit && !run.landed, good = run.outcome === "done", seen = good && run.verify.length;
  return html`<button type="button" onClick=${() => words(run, "Tell", `Words for ${run.run}`, "tell")}>Tell</button>
    ${!ended && html`<${Act} label="Stop" kind="stop" path=${at("runs", run.run, "stop")} sure=${`Stop ${run.run}${run.node ? ` on ${run.node}` : ""}? What it has done so far is kept.`} />`}
    ${ended && html`<button type="button" onClick=${() => words(run, "Continue", `What shall ${run.run} do next? It goes on from its result.`, "continue")}>Continue</button>
      <${Act} label="Retry" kind=${good ? "" : "main"} path=${at("runs", run.run, "retry")} sure=${`Run the task of ${run.run} once more, from the beginning?`} done=${(answer) => go(["runs", answer.run])} />`}
    ${landable && html`<button type="button" class=${seen ? "main" : ""} onClick=${() => land(run)}>Land</button>${good && !seen && part !== "diff" && html`<a class="btn main" href=${link(["runs", run.run, "diff"])}>Look at the change</a>`}`}`;
}

function Story({ run, why }) {
  const [gates, later] = [[], []];
  for (const one of why?.decisions || []) (one.kind === "gate" && one.verdict === "passed" ? gates : later).push(one);
  return html`<div class="two"><div class="stack"><${Panel} title="Timeline"><div class="pad">
      ${gates.length ? html`<details><summary class="small quiet">${gates.length} gates passed</summary><${Decisions} decisions=${gates} /></details>` : ""}
      ${later.length ? html`<${Decisions} decisions=${later} />` : ""}</div><//>
      <${Panel} title="Attempts"><${Attempts} run=${run} /><//>
      ${run.answer && html`<${Panel} title="Its last words"><pre class="pad words task" tabindex="0">${strip(run.answer)}</pre><//>`}</div>
    <div class="stack"><${Panel} title="What it is"><${Facts} run=${run} /><//>
      ${run.told.length ? html`<${Panel} title="Words of people"><ul class="plain pad">${run.told.map((one) => html`<li><b>${one.by}</b> <${When} at=${one.at} />: <span class="words">${visibleLines(one.text)}</span> <span class="quiet">${one.delivered ? `delivered: ${one.delivered}` : "not delivered yet"}</span></li>`)}</ul><//>` : ""}</div></div>`;
}

function Attempts({ run }) {
  if (!run.fences.length) return html`<p class="pad small quiet">None yet: ${run.reason}</p>`;
  const begin = Date.parse(run.created_at);
  const end = run.finished_at ? Date.parse(run.finished_at) : Date.now();
  const x = (at_) => 100 * Math.min(1, Math.max(0, (Date.parse(at_) - begin) / Math.max(1, end - begin)));
  return html`<ul class="plain pad">${run.fences.map((fence) => {
    const attempt = run.attempts.find((one) => one.attempt === fence.attempt);
    const until = fence.closed_at || run.finished_at || new Date().toISOString();
    return html`<li>attempt ${fence.attempt} on <a href=${link(["machines", fence.node])}>${fence.node}</a> ${attempt?.outcome ? html`<${Badge} word=${attempt.outcome} />` : html`<${Badge} word=${fence.mark || fence.state} of="live" />`} ${attempt?.reason}
      <span class="quiet"> ${span(Date.parse(until) - Date.parse(fence.bound_at))}${fence.stop ? ", stop asked" : ""}</span>
      <svg class=${`meter ${attempt?.outcome ? look(attempt.outcome)[0] : "live"}`} viewBox="0 0 100 6" preserveAspectRatio="none" role="img" aria-label=${`from ${fence.bound_at} to ${until}`}><rect x=${x(fence.bound_at)} width=${Math.max(0.5, x(until) - x(fence.bound_at))} height="6" /></svg></li>`;
  })}</ul>`;
}

function Facts({ run }) {
  return html`<dl class="pairs pad">${fact("asked by", run.created_by)}${fact("created", html`<${When} at=${run.created_at} />`)}${fact("started", run.started_at && html`<${When} at=${run.started_at} />`)}
    ${fact("ended", run.finished_at && html`<${When} at=${run.finished_at} />`)}${fact("mode, safety", `${run.mode}, ${run.safety}`)}${fact("isolation", run.isolation)}${fact("project", visible(run.project))}
    ${fact("model", run.model && `${run.model}${run.model_from ? ` (${run.model_from})` : ""}`)}${fact("verify", run.verify.map(visible).join(", "))}
    ${fact("retry of", run.retry_of && html`<${RunLink} run=${run.retry_of} />`)}${fact("continues", run.continues && html`<${RunLink} run=${run.continues} />`)}
    ${fact("answered", visible(run.answered))}
    ${fact("continued by", run.continued_by.length ? run.continued_by.map((one) => html`<${RunLink} run=${one} /> `) : "")}${fact("parent", run.parent && html`<${RunLink} run=${run.parent} />`)}
    ${fact("commit", run.commit)}${fact("landed", run.landed)}${fact("findings", run.findings.length ? html`<ul>${run.findings.map((one) => html`<li class="warn tone">${one}</li>`)}</ul>` : "")}</dl>`;
}

function Gates({ run }) {
  if (!run.verify.length) return html`<p class="panel pad">This run has no gate: nothing but its own word says that the change is right.</p>`;
  return html`<ul class="plain panel pad">${run.gates.length ? run.gates.map((gate) => html`<li><${Badge} word=${gate.passed ? "passed" : "failed"} /> <code>${visible(gate.name)}</code>
      <span class="quiet"> ${gate.exit_code === null ? `signal ${gate.signal}` : `exit ${gate.exit_code}`}, ${span(gate.duration_ms)}${gate.changed.length ? `, changed ${gate.changed.map(visible).join(", ")}` : ""}</span></li>`)
    : run.verify.map((name) => html`<li><${Badge} word="waiting" /> <code>${visible(name)}</code></li>`)}</ul>
    ${run.fences.length ? html`<${Log} run=${run} query=${{}} stream="gates.log" title="Their output" />` : ""}`;
}

function Cost({ run }) {
  const { usage, claimed, calls, limits } = run;
  return html`<div class="two half"><${Panel} title="Cost"><dl class="pairs pad">${fact("cost", `${usd(usage.cost_usd)} (${usage.cost_source})${usage.disputed_usd ? `, ${usd(usage.disputed_usd)} disputed` : ""}`)}${fact("tokens in", many(usage.input_tokens))}${fact("tokens out", many(usage.output_tokens))}
    ${fact("its own claim", claimed && `${usd(claimed.cost_usd)}, ${many(claimed.input_tokens + claimed.output_tokens)} tokens`)}${fact("estimated before", usd(run.estimate_usd))}
    ${fact("cap", [limits.usd && usd(limits.usd), limits.tokens && `${many(limits.tokens)} tokens`, limits.wall_ms && span(limits.wall_ms)].filter(Boolean).join(", "))}
    ${fact("model calls", calls && `${calls.requests}, ${calls.failed} failed, ${calls.refused} refused, waited ${span(calls.waited_ms)}`)}</dl><//>
    <${Panel} title="By attempt"><ul class="plain pad">${run.attempts.map((one) => html`<li>attempt ${one.attempt} ${one.outcome ? html`<${Badge} word=${one.outcome} />` : html`<${Badge} word=${stateOf(run)} of="live" />`} ${usd(one.usage.cost_usd)} <span class="quiet">${many(one.usage.input_tokens + one.usage.output_tokens)} tokens, ${usd(one.held_usd)} held before</span></li>`)}</ul><//></div>`;
}
