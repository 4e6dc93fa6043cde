// One run: what it is, its story, log, change, gates, proof, cost; and what can be done with it.

import { strip } from "../lib/lines.js";
import { at, post } from "../lib/api.js";
import { go, html, link, useLive, useNow } from "../lib/live.js";
import { Act, agreed, asked, Badge, Decisions, fact, Page, RunLink, State, tell, When, Why } from "../lib/parts.js";
import { many, span, stateOf, took, usd, visible } from "../lib/words.js";
import { Change } from "./rundiff.js";
import { Log } from "./runlog.js";
import { Proof } from "./runproof.js";

const PARTS = [["", "Story"], ["log", "Log"], ["diff", "Change"], ["gates", "Gates"], ["receipt", "Receipt"], ["cost", "Cost"]];

export function Run({ parts, query }) {
  const [, id, part = ""] = parts;
  const live = useLive(at("runs", id), undefined, (event) => event.run === id);
  const why = useLive(at("runs", id, "why"), undefined, (event) => event.run === id && event.kind !== "run.usage");
  const run = live.data;
  const now = useNow();
  const shown = { "": Story, log: Log, diff: Change, gates: Gates, receipt: Proof, cost: Cost }[part] || Story;
  return html`<${Page} title=${`Run ${id}`} lives=${[live, why]} actions=${run && html`<${Why} what=${`run:${run.run}`} />`}>
    ${run && html`<p class="task" tabindex="0">${run.task}</p>
    <p class="facts"><${State} run=${run} /><span>${run.reason}</span><span>${run.node || "no machine yet"}</span><span>${run.agent} / ${run.runtime}${run.model ? ` / ${run.model}` : ""}</span>
      <span>${took(run, now)}</span><span>${usd(run.usage.cost_usd)}</span></p>
    ${run.notes.map((note) => html`<p class="warn">${note}</p>`)}
    ${run.landing && html`<p>landing: <${Badge} word=${run.landing.status} /> ${run.landing.why || ""} ${run.landing.fix ? html`→ <code>${run.landing.fix}</code>` : ""}</p>`}
    <${Acts} run=${run} />
    <nav class="tabs" aria-label="parts of the run"><ul>${PARTS.map(([name, words]) => html`<li><a href=${link(["runs", id, ...(name ? [name] : [])])} aria-current=${name === part ? "page" : undefined}>${words}${name === "diff" && run.files_changed.length ? ` (${run.files_changed.length})` : ""}</a></li>`)}</ul></nav>
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

function Acts({ run }) {
  const ended = run.state === "ended";
  const landable = ended && run.commit && !run.landed;
  return html`<p class="keys">
    ${!ended && html`<${Act} label="Stop" kind="danger" path=${at("runs", run.run, "stop")} body=${{}} sure=${`Stop ${run.run}${run.node ? ` on ${run.node}` : ""}? What it has done so far is kept.`} />`}
    ${landable && html`<button type="button" class="main" onClick=${() => land(run)}>Land</button>`}
    ${ended && html`<${Act} label="Retry" path=${at("runs", run.run, "retry")} body=${{}} sure=${`Run the task of ${run.run} once more, from the beginning?`} done=${(answer) => go(["runs", answer.run])} />
      <button type="button" onClick=${() => words(run, "Continue", `What shall ${run.run} do next? It goes on from its result.`, "continue")}>Continue</button>`}
    <button type="button" onClick=${() => words(run, "Tell", `Words for ${run.run}`, "tell")}>Tell</button>
    ${run.workflow && html`<a class="button" href=${link(["workflows", run.workflow])}>Workflow ${run.workflow}${run.step ? `, step ${run.step}` : ""}</a>`}</p>`;
}

function Story({ run, why }) {
  const [gates, later] = [[], []];
  for (const one of why?.decisions || []) (one.kind === "gate" && one.verdict === "passed" ? gates : later).push(one);
  return html`<div class="two"><section aria-labelledby="s1"><h2 id="s1">Timeline</h2>
      ${gates.length ? html`<details><summary>${gates.length} gates passed</summary><${Decisions} decisions=${gates} /></details>` : ""}
      ${later.length ? html`<${Decisions} decisions=${later} />` : ""}
      <h3>Attempts</h3><${Attempts} run=${run} /></section>
    <section aria-labelledby="s2"><h2 id="s2">What it is</h2><${Facts} run=${run} />
      ${run.answer && html`<h3>Its last words</h3><pre class="answer" tabindex="0">${strip(run.answer)}</pre>`}
      ${run.told.length ? html`<h3>Words of people</h3><ul class="plain">${run.told.map((one) => html`<li><b>${one.by}</b> <${When} at=${one.at} />: ${one.text} <span class="quiet">${one.delivered ? `delivered: ${one.delivered}` : "not delivered yet"}</span></li>`)}</ul>` : ""}</section></div>`;
}

function Attempts({ run }) {
  if (!run.fences.length) return html`<p class="quiet">None yet: ${run.reason}</p>`;
  const begin = Date.parse(run.created_at);
  const end = run.finished_at ? Date.parse(run.finished_at) : Date.now();
  const x = (at_) => 100 * Math.min(1, Math.max(0, (Date.parse(at_) - begin) / Math.max(1, end - begin)));
  return html`<ul class="plain">${run.fences.map((fence) => {
    const attempt = run.attempts.find((one) => one.attempt === fence.attempt);
    const until = fence.closed_at || run.finished_at || new Date().toISOString();
    return html`<li>attempt ${fence.attempt} on <a href=${link(["machines", fence.node])}>${fence.node}</a> ${attempt?.outcome ? html`<${Badge} word=${attempt.outcome} />` : html`<${Badge} word=${fence.mark || fence.state} of="live" />`} ${attempt?.reason}
      <span class="quiet"> ${span(Date.parse(until) - Date.parse(fence.bound_at))}${fence.stop ? ", stop asked" : ""}</span>
      <svg class="bar" viewBox="0 0 100 6" preserveAspectRatio="none" role="img" aria-label=${`from ${fence.bound_at} to ${until}`}><rect class="all" width="100" height="6" /><rect class="used" x=${x(fence.bound_at)} width=${Math.max(0.5, x(until) - x(fence.bound_at))} height="6" /></svg></li>`;
  })}</ul>`;
}

function Facts({ run }) {
  return html`<dl class="facts-list">${fact("asked by", run.created_by)}${fact("created", html`<${When} at=${run.created_at} />`)}${fact("started", run.started_at && html`<${When} at=${run.started_at} />`)}
    ${fact("ended", run.finished_at && html`<${When} at=${run.finished_at} />`)}${fact("mode, safety", `${run.mode}, ${run.safety}`)}${fact("isolation", run.isolation)}${fact("project", visible(run.project))}
    ${fact("model", run.model && `${run.model}${run.model_from ? ` (${run.model_from})` : ""}`)}${fact("verify", run.verify.map(visible).join(", "))}
    ${fact("retry of", run.retry_of && html`<${RunLink} run=${run.retry_of} />`)}${fact("continues", run.continues && html`<${RunLink} run=${run.continues} />`)}
    ${fact("answered", visible(run.answered))}
    ${fact("continued by", run.continued_by.length ? run.continued_by.map((one) => html`<${RunLink} run=${one} /> `) : "")}${fact("parent", run.parent && html`<${RunLink} run=${run.parent} />`)}
    ${fact("commit", run.commit)}${fact("landed", run.landed)}${fact("findings", run.findings.length ? html`<ul class="plain">${run.findings.map((one) => html`<li class="warn">${one}</li>`)}</ul>` : "")}</dl>`;
}

function Gates({ run }) {
  if (!run.verify.length) return html`<p>This run has no gate: nothing but its own word says that the change is right.</p>`;
  return html`<ul class="plain">${run.gates.length ? run.gates.map((gate) => html`<li><${Badge} word=${gate.passed ? "passed" : "failed"} /> <code>${visible(gate.name)}</code>
      <span class="quiet"> ${gate.exit_code === null ? `signal ${gate.signal}` : `exit ${gate.exit_code}`}, ${span(gate.duration_ms)}${gate.changed.length ? `, changed ${gate.changed.map(visible).join(", ")}` : ""}</span></li>`)
    : run.verify.map((name) => html`<li><${Badge} word="waiting" /> <code>${visible(name)}</code></li>`)}</ul>
    ${run.fences.length ? html`<h2>Their output</h2><${Log} run=${run} query=${{}} stream="gates.log" />` : ""}`;
}

function Cost({ run }) {
  const { usage, claimed, calls, limits } = run;
  return html`<dl class="facts-list">${fact("cost", `${usd(usage.cost_usd)} (${usage.cost_source})${usage.disputed_usd ? `, ${usd(usage.disputed_usd)} disputed` : ""}`)}${fact("tokens in", many(usage.input_tokens))}${fact("tokens out", many(usage.output_tokens))}
    ${fact("its own claim", claimed && `${usd(claimed.cost_usd)}, ${many(claimed.input_tokens + claimed.output_tokens)} tokens`)}${fact("estimated before", usd(run.estimate_usd))}
    ${fact("cap", [limits.usd && usd(limits.usd), limits.tokens && `${many(limits.tokens)} tokens`, limits.wall_ms && span(limits.wall_ms)].filter(Boolean).join(", "))}
    ${fact("model calls", calls && `${calls.requests}, ${calls.failed} failed, ${calls.refused} refused, waited ${span(calls.waited_ms)}`)}</dl>
    <h2>By attempt</h2><ul class="plain">${run.attempts.map((one) => html`<li>attempt ${one.attempt} ${one.outcome ? html`<${Badge} word=${one.outcome} />` : html`<${Badge} word=${stateOf(run)} of="live" />`} ${usd(one.usage.cost_usd)} <span class="quiet">${many(one.usage.input_tokens + one.usage.output_tokens)} tokens, ${usd(one.held_usd)} held before</span></li>`)}</ul>`;
}
