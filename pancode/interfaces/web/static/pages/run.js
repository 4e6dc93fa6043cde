// One run: what it is, its timeline, log, change, gates, proof, cost; and what can be done with it.

import { useEffect } from "preact/hooks";
import { askedFor, land, REFUSES } from "../lib/acts.js";
import { at, post } from "../lib/api.js";
import { addKeys } from "../lib/keys.js";
import { strip } from "../lib/lines.js";
import { go, html, link, useLive, useNow } from "../lib/live.js";
import { Act, asked, Badge, Cost, fact, Glyph, later, Page, Panel, Prose, RunLink, State, tell, verdict, When, Why } from "../lib/parts.js";
import { formatTimeline } from "../lib/timeline.js";
import { called, counted, look, many, plain, reasonOf, span, stateOf, title, took, unheard, usd } from "../lib/words.js";
import { answer, say } from "./inbox.js";
import { Change } from "./rundiff.js";
import { Log } from "./runlog.js";
import { Timeline } from "./runtimeline.js";

const Proof = later(() => import("./runproof.js").then((module) => module.Proof));

/** How a tab's title begins, by the tone of the state. */
const MARKS = { ok: "✓", live: "▶", wait: "…", warn: "?", bad: "✕", ghost: "?" };
export const PARTS = { "": ["Activity", Activity], log: ["Log", Activity], story: ["Story", Story], diff: ["Change", Change], gates: ["Gates", Gates], receipt: ["Receipt", Proof], cost: ["Cost", Costs] };

export function Run({ parts, query }) {
  const [, id, part = ""] = parts;
  const live = useLive(at("runs", id), undefined, (event) => event.run === id);
  const why = useLive(at("runs", id, "why"), undefined, (event) => event.run === id && event.kind !== "run.usage");
  const run = live.data;
  const now = useNow(), reason = run && !run.inbox && reasonOf(run);
  const [, shown] = PARTS[part] || PARTS[""];
  return html`<${Page} title=${run ? title(run) : "Run"} id=${id} tone=${run && look(stateOf(run))[0]} tab=${run && `${MARKS[look(stateOf(run))[0]]} ${title(run)} · ${id}`} lives=${[live, why]} actions=${run && html`<${Acts} run=${run} part=${part} />`}>
    ${run && html`<p class="facts"><${State} run=${run} />${reason && html`<span class=${stateOf(run) === "unknown" ? "ghost tone" : ""}>${reason}</span>`}<span>${run.node || "no node yet"}</span><span>${run.agent} / ${run.runtime}${run.model ? ` / ${run.model}` : ""}</span>
      <span>${took(run, now)}</span><span>cost <${Cost} run=${run} /></span>${run.workflow && html`<a href=${link(["workflows", run.workflow])}>workflow ${run.workflow}${run.step ? `, step ${run.step}` : ""}</a>`}${run.notes.filter((note) => note !== reason && !(unheard(run) && note.startsWith("unknown"))).map((note) => html`<span class=${note.startsWith("unknown") ? "ghost tone" : ""}>${note}</span>`)}</p>
    ${run.task.trim() !== title(run) && html`<p class="words task panel pad" tabindex="0" aria-label="task">${run.task}</p>`}
    ${run.inbox && html`<${Asks} run=${run} />`}
    ${run.landing && html`<p class="small">landing: <${Badge} word=${run.landing.status} /> ${run.landing.why || ""} ${run.landing.fix ? html`→ <code>${run.landing.fix}</code>` : ""}</p>`}
    <nav class="tabs" aria-label="parts of the run">${Object.entries(PARTS).filter(([name]) => name !== "log").map(([name, [words]]) => html`<a href=${link(["runs", id, ...(name ? [name] : [])])} aria-current=${name === (part === "log" ? "" : part) ? "page" : undefined}>${words}${name === "diff" && run.files_changed.length ? ` ${run.files_changed.length}` : ""}</a>`)}</nav>
    <${shown} key=${`${id}${part}`} run=${run} why=${why.data} query=${query} />`}<//>`;
}

async function words(run, verb, question, path, first) {
  const text = await asked(question, verb, first);
  if (!text) return;
  try {
    const done = await post(path, { text });
    if (done.run && done.run !== run.run) go(["runs", done.run]);
    else tell(done.delivered || done.sent ? `delivered: ${done.delivered || "sent to it"}` : "kept; it is delivered when the run is continued");
  } catch (problem) { tell(problem); }
}

/** The one filled key is what the state asks for; the others are outlined. A change that failed or that nobody has checked never asks to be landed. */
function Acts({ run, part }) {
  const open = run.state !== "ended", act = askedFor(run);
  const first = act === "answer" && !run.inbox ? "retry" : act === "gate" && part === "gates" ? "retry" : act;
  const kind = (name) => (name === first ? "main" : ""), here = (name) => link(["runs", run.run, name]);
  return html`<div class="keys acts"><${Why} what=${`run:${run.run}`} />
    ${open && html`<button type="button" onClick=${() => words(run, "Tell", `Message for ${called(run)}`, at("runs", run.run, "tell"))}>Tell</button><${Act} label="Stop" kind="stop" path=${at("runs", run.run, "stop")} sure=${`Stop ${called(run)}${run.node ? ` on ${run.node}` : ""}? What it has done so far is kept.`} />`}
    ${!open && html`<button type="button" onClick=${() => words(run, "Continue", `What shall ${called(run)} do next? It continues from its result.`, at("runs", run.run, "continue"), act === "gate" ? `This gate failed: ${run.reason.replace(/^gate /, "")}. Find the cause and repair it.` : "")}>${act === "gate" ? "Send the failure back" : "Continue"}</button>
      <${Act} label="Retry" kind=${kind("retry")} path=${at("runs", run.run, "retry")} sure=${`Run ${called(run)} once more, from the beginning?`} done=${(answer) => go(["runs", answer.run])} />`}
    ${!REFUSES.land(run) && html`<button type="button" class=${kind("land")} onClick=${() => land(run)}>Land</button>`}
    ${first === "resolve" && html`<${Act} label="Resolve" kind="main" path=${at("runs", run.run, "land/resolve")} sure=${`Let an agent settle the conflict of ${called(run)} with your files? Its result is a run of its own, which you can look at and land.`} done=${(answer) => go(["runs", answer.run])} />`}
    ${first === "gate" && html`<a class="btn main" href=${here("gates")}>Look at the gate</a>`}${first === "look" && part !== "diff" && html`<a class="btn main" href=${here("diff")}>Look at the change</a>`}</div>`;
}

/** What it asks, with the answers: a question is answered where it stands. */
function Asks({ run }) {
  const { kind, choices } = run.inbox, question = kind === "question";
  const words_ = run.reason.replace(/^it asks: /, "");
  useEffect(() => addKeys(Object.fromEntries(question ? choices.slice(0, 9).map((choice, i) => [String(i + 1), [`answer: ${choice}`, () => say(run, String(i + 1))]]) : [])), [run.run, choices.join()]);
  return html`<${Panel} title=${question ? "It asks you" : `It waits for you: ${plain(kind)}`} tone="warn"><div class="pad stack">${question ? html`<${Prose} text=${words_} />` : html`<p class="words" tabindex="0">${words_}</p>`}<p class="keys">
    ${question ? html`${choices.map((choice, i) => html`<button type="button" onClick=${() => say(run, String(i + 1))}>${choice} <kbd class="desk">${i + 1}</kbd></button>`)}<button type="button" class="main" onClick=${() => answer({ run: run.run, kind, words: words_ })}>Answer</button>`
      : html`<a class="btn main" href=${link(["inbox"], { item: run.run })}>Decide</a>`}</p></div><//>`;
}

/** What the agent does, as it happens; beside it where the time went, the gates, and the money. */
function Activity({ run, why, query }) {
  return html`<div class="two"><div class="stack"><${Log} run=${run} query=${query} /><${Foot} run=${run} /></div>
    <aside class="stack" aria-label="timeline, gates and cost"><${Panel} title="Timeline"><${Timeline} run=${run} /><//><${Strip} run=${run} /></aside></div>`;
}

/** The gates in one line each, and what it has cost. */
function Strip({ run }) {
  const { usage, limits } = run;
  return html`${run.verify.length ? html`<${Panel} title="Gates"><ul class="pad small">${run.gates.length ? run.gates.map((one) => html`<li><${Badge} word=${one.passed ? "passed" : one.judged === false ? "unknown" : "failed"} /> <code>${one.name}</code></li>`) : run.verify.map((name) => html`<li><${Badge} word="waiting" /> <code>${name}</code></li>`)}</ul><//>` : ""}
    <${Panel} title="Cost"><dl class="pairs pad small">${fact("spent", html`<${Cost} run=${run} />${usage.cost_usd === null ? "" : ` (${usage.cost_source})`}`)}${fact("at most", limits.usd && usd(limits.usd))}${fact("tokens", `${many(usage.input_tokens)} in, ${many(usage.output_tokens)} out`)}</dl><//>`;
}

/** While it is at work: how far it is, what that costs, and words to it. */
function Foot({ run }) {
  const now = useNow(), { usage, limits } = run, minutes = run.started_at ? (now - Date.parse(run.started_at)) / 60000 : 0, spent = Number(usage.cost_usd || 0);
  if (run.state === "ended" || !run.started_at) return "";
  return html`<p class="facts small panel pad" role="status"><span>${many(usage.input_tokens + usage.output_tokens)} tokens${run.served?.context ? `, context ${many(run.served.context)}` : ""}</span>
    <span><${Cost} run=${run} />${limits.usd ? ` of ${usd(limits.usd)}` : ""}${spent && minutes > 0.05 ? `, ${usd(spent / minutes)} a minute` : ""}</span></p>`;
}

function Story({ run, why }) {
  const now = useNow(), all = why?.decisions || [];
  return html`<div class="two"><div class="stack"><${Panel} title="In short"><p class="pad">${formatTimeline(run, why, now).join(" ")}</p><//>
      ${run.answer && html`<${Panel} title="Its last words"><div class="pad"><${Prose} text=${strip(run.answer)} kind="answer" /></div><//>`}
      <${Panel} title="What was decided" count=${all.length}><${DecisionTable} decisions=${all} /><//></div>
    <div class="stack"><${Panel} title="What it is"><${Facts} run=${run} /><//>
      ${run.told.length ? html`<${Panel} title="Messages of users"><ul class="plain pad">${run.told.map((one) => html`<li><b>${one.by}</b> <${When} at=${one.at} />: <span class="words">${one.text}</span> <span class="quiet">${one.delivered ? `delivered: ${one.delivered}` : "not delivered yet"}</span></li>`)}</ul><//>` : ""}</div></div>`;
}

/** For the curious: each decision, in the order in which it was made. */
function DecisionTable({ decisions }) {
  return html`<details><summary class="small quiet pad"><span class="fold"><${Glyph} name="fold" /></span>all of them, as a table</summary><div class="wide" tabindex="0" role="region" aria-label="what was decided, as a table"><table><thead><tr><th scope="col">at</th><th scope="col">what</th><th scope="col">verdict</th><th scope="col">because</th></tr></thead>
    <tbody>${decisions.map((one) => html`<tr><td class="quiet"><${When} at=${one.at} /></td><th scope="row">${one.kind === "gate" ? `gate: ${one.what}` : one.what}</th><td><${Badge} word=${one.verdict} of=${one.kind === "settle" ? undefined : verdict(one)} /></td><td>${one.detail === one.verdict ? "" : one.detail}</td></tr>`)}</tbody></table></div></details>`;
}

function Facts({ run }) {
  return html`<dl class="pairs pad">${fact("asked by", run.created_by)}${fact("created", html`<${When} at=${run.created_at} />`)}${fact("started", run.started_at && html`<${When} at=${run.started_at} />`)}
    ${fact("ended", run.finished_at && html`<${When} at=${run.finished_at} />`)}${fact("mode, safety", `${run.mode}, ${run.safety}`)}${fact("isolation", run.isolation)}${fact("project", run.project)}
    ${fact("model", run.model && `${run.model}${run.model_from ? ` (${run.model_from})` : ""}`)}${fact("verify", run.verify.join(", "))}
    ${fact("retry of", run.retry_of && html`<${RunLink} run=${run.retry_of} />`)}${fact("continues", run.continues && html`<${RunLink} run=${run.continues} />`)}
    ${fact("answered", run.answered)}
    ${fact("continued by", run.continued_by.length ? run.continued_by.map((one) => html`<${RunLink} run=${one} /> `) : "")}${fact("parent", run.parent && html`<${RunLink} run=${run.parent} />`)}
    ${fact("commit", run.commit)}${fact("landed", run.landed)}${fact("findings", run.findings.length ? html`<ul>${run.findings.map((one) => html`<li class="warn tone">${one}</li>`)}</ul>` : "")}</dl>`;
}

/** Each gate with its verdict and its time on one clock; then their output, at its first error. */
function Gates({ run }) {
  if (!run.verify.length) return html`<p class="panel pad">This run has no gate: nothing but its own word says that the change is right.</p>`;
  const all = run.gates.reduce((sum, gate) => sum + gate.duration_ms, 0) || 1, failed = run.gates.filter((one) => !one.passed).length;
  const gate = (one, i) => {
    const tone = one.passed ? "ok" : "bad", before = run.gates.slice(0, i).reduce((sum, other) => sum + other.duration_ms, 0);
    return html`<li class="phase"><${Glyph} name=${one.passed ? "done" : "failed"} tone=${tone} /><span><b class="sr">${one.passed ? "passed" : one.judged === false ? "not judged" : "failed"}: </b><code>${one.name}</code> <span class="small quiet">${one.judged === false ? "not judged" : one.exit_code === null ? `signal ${one.signal}` : `exit ${one.exit_code}`}${one.already_fails ? ", already fails without the change" : ""}${one.changed.length ? `, changed ${one.changed.join(", ")}` : ""}</span></span>
      <svg class=${`meter ${tone}`} viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true"><rect x=${Math.min(99, (100 * before) / all)} width=${Math.max(1, (100 * one.duration_ms) / all)} height="6" /></svg><span class="n small">${one.duration_ms < 9950 ? `${(one.duration_ms / 1000).toFixed(1)} s` : span(one.duration_ms)}</span></li>`;
  };
  return html`<${Panel} title=${!run.gates.length ? "They have not run yet" : failed ? `${failed} of ${counted(run.gates.length, "gate")} failed` : `${counted(run.gates.length, "gate")} passed`} tone=${failed ? "bad" : ""}><ul class="pad">${run.gates.length ? run.gates.map(gate)
    : run.verify.map((name) => html`<li class="small"><${Badge} word="waiting" /> <code>${name}</code></li>`)}</ul><//>
    ${run.fences.length ? html`<${Log} run=${run} query=${{}} stream="gates.log" title="Their output" errs=${run.outcome === "verify_failed"} />` : ""}`;
}

async function settle(run) {
  const text = await asked(`What did ${called(run)} cost, in USD? Say what its provider's bill says.`, "Settle");
  if (!text) return;
  try { await post("budget/settle", { run: run.run, usd: text.trim() }); tell(`the cost of ${called(run)} is settled`); } catch (problem) { tell(problem); }
}

function Costs({ run }) {
  const { usage, claimed, calls, limits } = run;
  return html`<div class="two half"><${Panel} title="Cost" act=${run.state === "ended" && usage.cost_usd === null && html`<button type="button" onClick=${() => settle(run)}>Settle it</button>`}><dl class="pairs pad">${fact("cost", `${usd(usage.cost_usd)} (${usage.cost_source})${usage.disputed_usd ? `, ${usd(usage.disputed_usd)} disputed` : ""}`)}${fact("tokens in", many(usage.input_tokens))}${fact("tokens out", many(usage.output_tokens))}
    ${fact("its own claim", claimed && `${usd(claimed.cost_usd)}, ${many(claimed.input_tokens + claimed.output_tokens)} tokens`)}${fact("estimated before", usd(run.estimate_usd))}
    ${fact("cap", [limits.usd && usd(limits.usd), limits.tokens && `${many(limits.tokens)} tokens`, limits.wall_ms && span(limits.wall_ms)].filter(Boolean).join(", "))}
    ${fact("model calls", calls && `${calls.requests}, ${calls.failed} failed, ${calls.refused} refused, waited ${span(calls.waited_ms)}`)}</dl><//>
    <${Panel} title="By attempt"><ul class="plain pad">${run.attempts.map((one) => html`<li>attempt ${one.attempt} ${one.outcome ? html`<${Badge} word=${one.outcome} />` : html`<${Badge} word=${stateOf(run)} of="live" />`} ${usd(one.usage.cost_usd)} <span class="quiet">${many(one.usage.input_tokens + one.usage.output_tokens)} tokens, ${usd(one.held_usd)} held before</span></li>`)}</ul><//></div>`;
}
