// Workflows: a chain as a graph that moves, a batch as a grid with the tasks' words, a race as lanes on one clock.

import { actOnAll, askedFor, land, waitsToLand } from "../lib/acts.js";
import { at } from "../lib/api.js";
import { Form } from "../lib/form.js";
import { go, html, link, useLive, useNow } from "../lib/live.js";
import { Act, Ago, Badge, Cost, Empty, Glyph, Page, Panel, Row, Unpriced, Warning, When, Why } from "../lib/parts.js";
import { counted, look, many, plain, reasonOf, span, stateOf, title, tokens, took, usd } from "../lib/words.js";

const W = 190, H = 58, GAP_X = 50, GAP_Y = 18;

export function Workflows({ parts }) { return parts[1] ? html`<${One} key=${parts[1]} id=${parts[1]} />` : html`<${List} />`; }

function List() {
  const live = useLive("workflows", { limit: 200 }, (event) => event.kind.startsWith("workflow"));
  const all = live.data?.workflows || [];
  return html`<${Page} title="Workflows" lives=${[live]} actions=${["chain", "batch", "race"].map((kind) => html`<a class="btn" href=${link(["new", kind])}>New ${kind}</a>`)}>
    <div class="panel">${!all.length ? html`<${Empty} title="No workflow yet">A chain, a batch, a race or a lane (<code>pancode lane</code>) makes one.<//>` : html`<ul>${all.map((one) => html`<${Row} key=${one.workflow} word=${one.status} href=${link(["workflows", one.workflow])}
      title=${nameOfFlow(one)} why=${`flow:${whyFlow(one)}`} facts=${html`<span>${one.kind}</span><span class="desk">${one.workflow}</span><span>${counted(one.steps.length, "step")}: ${tally(one.steps)}</span><span>${usd(one.cost.usd, one.cost.unknown)}</span><${Ago} at=${one.created_at} />`} />`)}</ul>`}</div><${Schedules} /><//>`;
}

/** Work that begins by itself: the next times, and keys that pause it or begin it now. */
function Schedules() {
  const live = useLive("schedules", undefined, (event) => event.kind === "audit" || event.kind === "run.queued" || event.kind.startsWith("schedule"));
  const all = live.data?.schedules || [];
  const key = (label, path, sure) => html`<${Act} label=${label} path=${path} sure=${sure} done=${live.again} />`;
  return html`<${Panel} title="Schedules" count=${all.length} act=${html`<a class="btn" href="#/new/schedule">New schedule</a>`}>${!all.length ? html`<${Empty} title="Nothing begins by itself" />` : html`<ul>${all.map((one) => html`<${Row} key=${one.schedule} word=${one.paused === null ? "on" : "paused"} title=${`${title(one)}: ${one.words}`}
    facts=${html`<span>${one.schedule}</span><span>next: ${one.paused === null ? one.next[0] || "on its event" : "paused"}</span>${one.running && html`<a href=${link([one.running.startsWith("w-") ? "workflows" : "runs", one.running])}>${one.running}</a>`}`}
    keys=${html`<${Why} what=${`schedule:${[one.words, ...one.next, ...one.firings.slice(0, 10).map((fired) => `${fired.due_at} ${fired.state} ${fired.run || fired.workflow || ""} ${fired.reason}`)].join("\n")}`} />${one.paused === null ? key("Pause", at("schedules", one.schedule, "pause")) : key("Resume", at("schedules", one.schedule, "resume"))}${key("Begin now", at("schedules", one.schedule, "run"), `Begin ${one.schedule} now?`)}${key("Remove", at("schedules", one.schedule, "remove"), `Remove ${one.schedule}? What it has begun continues.`)}`}><//>`)}</ul>`}<//>`;
}

/** The name that the workflow was given, else the title of its first task. */
const nameOfFlow = (flow) => (flow.kind !== flow.name ? flow.name : `${title(flow.steps[0] || {})}${flow.kind === "batch" && flow.steps.length > 1 ? ` and ${flow.steps.length - 1} more` : ""}`);
const tally = (steps) => Object.entries(steps.reduce((sum, step) => ({ ...sum, [step.state]: (sum[step.state] || 0) + 1 }), {})).map(([word, count]) => `${count} ${plain(word)}`).join(", ");
const whyFlow = (flow) => [`${flow.kind} ${flow.workflow} is ${plain(flow.status)}${flow.reason ? `: ${flow.reason}` : ""}`, ...flow.steps.map((step) => `${step.name}: ${step.outcome || step.state}${step.reason ? `, ${step.reason}` : ""}${step.refused ? `, refused: ${step.refused}` : ""}`)].join("\n");

function One({ id }) {
  const ours = (event) => event.data?.workflow === id || (event.kind === "run.stage" && flow?.steps.some((step) => step.runs.includes(event.run)));
  const live = useLive(at("workflows", id), undefined, ours);
  const told = useLive("runs", { workflow: id, limit: 1000 }, (event) => ours(event) || (event.run && /^run\.(ended|landing)/.test(event.kind) && flow?.steps.some((step) => step.run === event.run)));
  const flow = live.data, runs = new Map((told.data?.runs || []).map((run) => [run.run, run]));
  const again = () => { live.again(); told.again(); };
  const shape = flow && { race: Race, batch: Batch, lane: Lane }[flow.kind];
  const name = flow ? nameOfFlow(flow) : "Workflow";
  return html`<${Page} title=${name} id=${id} tone=${flow && look(flow.status)[0]} tab=${flow && `${plain(flow.status)}: ${name} · ${id}`} lives=${[live]} actions=${flow && html`<${Acts} flow=${flow} runs=${runs} again=${again} />`}>${flow && html`
    <p class="facts"><${Badge} word=${flow.status} /><span>${flow.kind}</span>${flow.reason && html`<span>${flow.reason}</span>`}<span>by ${flow.created_by}, <${When} at=${flow.created_at} />${flow.finished_at ? html` to <${When} at=${flow.finished_at} />` : ""}</span>
    <span>${usd(flow.cost.usd, flow.cost.unknown)} spent, ${usd(flow.cost.held_usd)} held${flow.cost.budget_usd ? ` of ${usd(flow.cost.budget_usd)}` : ""}, ${many(flow.cost.tokens)} tokens</span><${Unpriced} runs=${flow.cost.unknown} /></p>
    ${flow.warnings.map((one) => html`<${Warning}>${one}<//>`)}
    ${shape ? html`<${shape} flow=${flow} runs=${runs} again=${again} />` : html`<${Graph} steps=${flow.steps} /><${Steps} steps=${flow.steps} runs=${runs} />`}`}<//>`;
}

/** The one filled key: land what gates have passed, else continue with what failed, else look at what no gate has seen. */
function Acts({ flow, runs, again }) {
  const id = flow.workflow, race = flow.kind === "race", won = runs.get(flow.steps.find((step) => step.name === flow.winner)?.run);
  const some = race ? [won] : flow.kind === "batch" ? [...runs.values()] : flow.results.map((run) => runs.get(run));
  const ready = some.filter((run) => run && waitsToLand(run)), sure = ready.length > 0 && ready.every((run) => askedFor(run) === "land");
  const failed = flow.steps.filter((step) => step.state !== "done").length, goesOn = flow.kind !== "lane" && ["stopped", "failed", "partial"].includes(flow.state);
  const lands = (race || flow.finished_at) && ready.length > 0;
  const landAll = async () => { if (ready.length === 1) await land(ready[0]); else await actOnAll("land", ready); again(); };
  return html`<${Why} what=${`flow:${whyFlow(flow)}`} /><a class="btn" href=${link(["runs"], { workflow: id })}>Its runs</a>
    ${!flow.finished_at && html`<${Act} label="Stop" kind="stop" path=${at("workflows", id, "stop")} sure=${`Stop “${nameOfFlow(flow)}” (${id}) and its runs?`} done=${again} />`}
    ${flow.finished_at && flow.kind !== "lane" && html`<${Act} label=${race ? "Race again" : "Retry all"} path=${at("workflows", id, "retry")} sure=${`Retry all of “${nameOfFlow(flow)}” (${id})?`} done=${(done) => done.workflow && go(["workflows", done.workflow])} />`}
    ${goesOn && html`<${Act} label=${`Retry ${failed} failed`} kind=${sure ? "" : "main"} path=${at("workflows", id, "resume")} sure=${`Retry what did not succeed in “${nameOfFlow(flow)}” (${id})? Completed steps are kept.`} done=${again} />`}
    ${lands && !sure && !goesOn && html`<a class="btn main" href=${link(ready.length > 1 ? ["runs"] : ["runs", ready[0].run, "diff"], ready.length > 1 ? { workflow: id, view: "land" } : {})}>${ready.length > 1 ? "Look at the changes" : "Look at the change"}</a>`}
    ${lands && html`<button type="button" class=${sure ? "main" : ""} onClick=${landAll}>${race ? "Land the winner" : ready.length === 1 ? "Land" : `Land ${ready.length}`}</button>`}`;
}

const wordOf = (step, run) => (run && step.outcome !== "landed" ? stateOf(run) : step.outcome || step.state);
const costOf = (run) => (run ? html`<${Cost} run=${run} />` : "–");

/** Who ran, on one clock; then what each did and cost, side by side. */
function Race({ flow, runs }) {
  const now = useNow(), begin = Date.parse(flow.created_at), end = Math.max(begin + 1, flow.finished_at ? Date.parse(flow.finished_at) : now);
  const lanes = flow.steps.map((step) => ({ step, run: runs.get(step.run), wins: step.name === flow.winner }));
  const lane = ({ step, run, wins }) => {
    const word = wordOf(step, run), [tone, glyph] = look(word), from = step.started_at ? Date.parse(step.started_at) : null, until = step.finished_at ? Date.parse(step.finished_at) : from && end;
    return html`<li class=${`row lane ${wins ? "picked ok" : ""}`} data-row data-why=${run && `run:${run.run}`}><${Glyph} name=${wins ? "flag" : glyph} tone=${wins ? "ok" : tone} />
      ${run ? html`<a class="t cut" href=${link(["runs", run.run])}>${nameOf(step, run, flow)}</a>` : html`<b class="t cut">${step.name}</b>`}
      <svg class=${`meter desk ${tone}`} viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">${from && html`<rect x=${Math.min(99, (100 * (from - begin)) / (end - begin))} width=${Math.max(1, (100 * (until - from)) / (end - begin))} height="6" />`}</svg>
      <span class="small cut">${wins && html`<b class="ok tone">winner </b>`}<span class=${`tone ${tone}`}>${plain(word)}</span> <span class="quiet">${step.reason || (run && reasonOf(run)) || ""}</span></span><span class="n small">${from ? span(until - from) : "–"}</span></li>`;
  };
  return html`<${Panel} title="Lanes" act=${html`<span class="quiet">on one clock</span>`}>${flow.steps[0] && html`<p class="pad words task small" tabindex="0">${runs.get(flow.steps[0].run)?.task || flow.steps[0].task}</p>`}<ul class="lanes">${lanes.map(lane)}</ul><//>
    <${Panel} title="Side by side"><div class="wide" tabindex="0" role="region" aria-label="side by side, as a table"><table><thead><tr><th scope="col">lane</th><th scope="col">gates</th><th scope="col" class="n">files</th><th scope="col" class="n">tokens</th><th scope="col" class="n">took</th><th scope="col" class="n">cost</th></tr></thead>
      <tbody>${lanes.map(({ step, run, wins }) => html`<tr><th scope="row">${wins ? html`<b>${nameOf(step, run, flow)}</b>` : nameOf(step, run, flow)}</th><td>${run ? plain(run.notes.find((note) => /gate/.test(note)) || run.verification?.state || (run.outcome === "verify_failed" ? "failed" : "–")) : "–"}</td><td class="n">${run ? run.files_changed.length : "–"}</td><td class="n">${run ? many(tokens(run.usage)) : "–"}</td><td class="n">${run ? took(run, now) : "–"}</td><td class="n">${costOf(run)}</td></tr>`)}</tbody></table></div><//>`;
}

/** What sets a lane apart: the agent, model or machine in which it differs from the others. */
function nameOf(step, run, flow) {
  const differs = (name) => new Set(flow.steps.map((one) => one[name])).size > 1;
  const parts = [differs("agent") && step.agent, run?.model, differs("node") && step.node].filter(Boolean);
  return parts.length ? `${step.name}: ${parts.join(", ")}` : `${step.name}: ${step.agent}${run ? `, ${run.runtime}` : ""}`;
}

/** Items in order, one at a time: keys pause and resume the lane, and retry or skip an item. */
function Lane({ flow, again }) {
  const id = flow.workflow, live = useLive(at("lanes", id), undefined, (event) => event.data?.workflow === id || event.kind.startsWith("run."));
  const lane = live.data, done = () => { live.again(); again(); };
  if (!lane) return null;
  const key = (label, path, item, sure) => html`<${Act} label=${label} path=${path} body=${{ item }} sure=${sure} done=${done} />`;
  const keys = (one) => html`${["failed", "stopped"].includes(one.state) && one.run && html`<${Act} label="Retry" path=${at("runs", one.run, "retry")} done=${done} />`}
    ${!["done", "skipped"].includes(one.state) && key("Skip", at("lanes", id, "skip"), one.item, `Continue without item ${one.item}? A run of it is stopped.`)}`;
  return html`<${Panel} title=${`Lane ${lane.lane}`} act=${html`<span class="facts"><b>${plain(lane.state)}</b>${lane.paused_by === null ? html`<${Act} label="Pause" path=${at("lanes", id, "pause")} done=${done} />` : html`<${Act} label="Resume" kind="main" path=${at("lanes", id, "resume")} done=${done} />`}</span>`}>
    ${lane.why && html`<div class="pad"><${Warning}>${lane.why}<//></div>`}
    ${!lane.items.length ? html`<${Empty} title="Nothing is in it yet">Items begin one after the other.<//>` : html`<ul>${lane.items.map((one) => html`<${Row} key=${one.item} word=${one.state} href=${one.run && link(["runs", one.run])} title=${`${one.item}: ${title(one)}`}
      why=${one.run ? `run:${one.run}` : `step:${one.item} is ${one.state}${one.reason ? `: ${one.reason}` : ""}`} facts=${html`<span>${one.run || "no run yet"}</span>${one.key && html`<span>${one.key}</span>`}<span>${one.reason || one.answer}</span>`} keys=${keys(one)} />`)}</ul>`}
    <details class="pad"><summary class="small quiet">Add an item</summary><${Form} of="lanes/{lane}/add" path=${at("lanes", lane.lane, "add")} verb="Add" first=${["task", "agent", "runtime", "key"]} done=${done} /></details><//>`;
}

/** Each task as a cell with its words; what needs a look comes first. */
function Batch({ flow, runs }) {
  const now = useNow(), order = { bad: 0, ghost: 1, warn: 2, live: 3 };
  const cells = flow.steps.map((step) => { const run = runs.get(step.run), word = wordOf(step, run); return { step, run, word, tone: look(word)[0], glyph: look(word)[1] }; });
  const sorted = cells.map((cell, i) => [order[cell.tone] ?? (cell.tone === "ok" ? 5 : 4), i, cell]).sort((a, b) => a[0] - b[0] || a[1] - b[1]).map(([, , cell]) => cell);
  const sums = Object.entries(cells.reduce((sum, cell) => ({ ...sum, [cell.word]: (sum[cell.word] || 0) + 1 }), {}));
  return html`<${Panel} title=${counted(cells.length, "task")} act=${html`<span class="facts">${sums.map(([word, count]) => html`<b class=${`tone ${look(word)[0]}`}>${count} ${plain(word)}</b>`)}</span>`}>
    <ul class="tiles">${sorted.map(({ step, run, word, tone, glyph }) => html`<li class="row" key=${step.name} data-row data-why=${run && `run:${run.run}`}><${Glyph} name=${glyph} tone=${tone} />
      ${run ? html`<a class="t cut" href=${link(["runs", run.run])}>${title({ task: step.task || step.name })}</a>` : html`<b class="t cut">${title({ task: step.task || step.name })}</b>`}
      <span class="small cut"><span class="quiet">${step.name}, </span><span class=${`tone ${tone}`}>${plain(word)}</span> <span class="quiet">${(run && reasonOf(run)) || step.refused || ""}${run?.started_at ? ` ${took(run, now)}, ` : ""}${run ? costOf(run) : ""}</span></span></li>`)}</ul><//>`;
}

/** Steps in columns: each behind all that it needs. */
export function layers(steps) {
  const known = new Map(steps.map((step) => [step.name, step]));
  const depth = new Map();
  const of = (name, path = []) => {
    if (depth.has(name)) return depth.get(name);
    if (path.includes(name)) return 0;
    const deep = 1 + Math.max(-1, ...(known.get(name)?.needs || []).filter((one) => known.has(one)).map((one) => of(one, [...path, name])));
    depth.set(name, deep);
    return deep;
  };
  const columns = [];
  for (const step of steps) (columns[of(step.name)] ||= []).push(step);
  return columns;
}

function Graph({ steps }) {
  const columns = layers(steps);
  const spot = new Map();
  columns.forEach((column, x) => column.forEach((step, y) => spot.set(step.name, [x * (W + GAP_X), y * (H + GAP_Y)])));
  const width = columns.length * (W + GAP_X) - GAP_X;
  const height = Math.max(...columns.map((column) => column.length)) * (H + GAP_Y) - GAP_Y;
  return html`<div class="graph panel desk" tabindex="0" role="region" aria-label="graph of the steps"><svg width=${width + 4} height=${height + 4} viewBox=${`-2 -2 ${width + 4} ${height + 4}`}>
    ${steps.flatMap((step) => step.needs.filter((one) => spot.has(one)).map((one) => { const [a, b] = [spot.get(one), spot.get(step.name)];
      return html`<path class="edge" d=${`M${a[0] + W} ${a[1] + H / 2} C${a[0] + W + GAP_X / 2} ${a[1] + H / 2} ${b[0] - GAP_X / 2} ${b[1] + H / 2} ${b[0]} ${b[1] + H / 2}`} />`; }))}
    ${steps.map((step) => { const [x, y] = spot.get(step.name); const word = step.outcome || step.state;
      const box = html`<rect x=${x} y=${y} width=${W} height=${H} rx="8" class=${look(word)[0]} /><text class="t" x=${x + 12} y=${y + 24}>${step.name.slice(0, 20)}</text>${" "}<text x=${x + 12} y=${y + 43}>${plain(word)}${step.round > 1 ? `, round ${step.round}` : ""}</text>`;
      return step.run ? html`<a href=${link(["runs", step.run])}>${box}</a>` : html`<g>${box}</g>`; })}</svg></div>`;
}

function Steps({ steps, runs }) {
  return html`<${Panel} title="Steps" count=${steps.length}><ul>${steps.map((step) => html`<${Row} key=${step.name} word=${step.outcome || step.state} href=${step.run && link(["runs", step.run])} title=${step.name}
    why=${step.run ? `run:${step.run}` : `step:${step.name} is ${step.state}${step.reason ? `: ${step.reason}` : ""}${step.needs.length ? `\nit needs ${step.needs.join(", ")}` : ""}`}
    facts=${html`${step.task && step.task !== step.name && html`<span class="cut">${title(step)}</span>`}<span>${step.run || "no run yet"}</span>${runs.get(step.run) && html`<span>${took(runs.get(step.run))}, ${costOf(runs.get(step.run))}</span>`}<span>${step.needs.length ? `after ${step.needs.join(", ")}` : "begins at once"}</span><span>${step.reason}</span>${step.refused && html`<span class="warn tone">${step.refused}</span>`}`} />`)}</ul><//>`;
}
