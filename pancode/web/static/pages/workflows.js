// Workflows: batches, chains and races, each as a graph that moves while it runs.

import { at } from "../lib/api.js";
import { go, html, link, useLive } from "../lib/live.js";
import { Act, Ago, Badge, Page, RunLink, When, Why } from "../lib/parts.js";
import { colour, counted, many, usd, visible } from "../lib/words.js";

const W = 190, H = 58, GAP_X = 50, GAP_Y = 18;

export function Workflows({ parts }) { return parts[1] ? html`<${One} key=${parts[1]} id=${parts[1]} />` : html`<${List} />`; }

function List() {
  const live = useLive("workflows", { limit: 200 }, (event) => event.kind.startsWith("workflow"));
  const all = live.data?.workflows || [];
  return html`<${Page} title="Workflows" lives=${[live]}>
    ${!all.length ? html`<p>No workflow yet: <code>pancode batch</code>, <code>chain</code> and <code>race</code> make them.</p>` : html`<ul class="rows">${all.map((one) => html`<li data-row key=${one.workflow}>
      <${Badge} word=${one.state} /> <a href=${link(["workflows", one.workflow])}>${one.kind} ${visible(one.name)}</a> <span class="facts"><span>${one.workflow}</span><span>${counted(one.steps.length, "step")}: ${tally(one.steps)}</span>
      <span>${usd(one.cost.usd)}</span><span><${Ago} at=${one.created_at} /></span></span><${Why} what=${`flow:${whyFlow(one)}`} /></li>`)}</ul>`}<${Schedules} /><//>`;
}

/** Work that begins by itself: the next times, and keys that pause it or begin it now. */
function Schedules() {
  const live = useLive("schedules", undefined, (event) => event.kind === "audit" || event.kind === "run.queued" || event.kind.startsWith("schedule"));
  const all = live.data?.schedules || [];
  const key = (one, verb, label, sure) => html`<${Act} label=${label} kind="small" path=${at("schedules", one.schedule, verb)} sure=${sure} done=${live.again} />`;
  return html`<h2>Schedules</h2>${!all.length ? html`<p class="quiet">Nothing begins by itself: <code>pancode schedule add</code></p>` : html`<ul class="rows">${all.map((one) => html`<li data-row key=${one.schedule}>
    <${Badge} word=${one.paused === null ? "on" : "paused"} of=${one.paused === null ? "ok" : "wait"} /> <b>${visible(one.words)}</b> ${visible(one.task).slice(0, 120)} <span class="facts"><span>${one.schedule}</span><span>next: ${one.next[0] || "on its event"}</span>${one.running && html`<a href=${link([one.running.startsWith("w-") ? "workflows" : "runs", one.running])}>${one.running}</a>`}</span>
    ${one.trouble && html`<p class="warn">${one.trouble}</p>`} ${one.paused === null ? key(one, "pause", "Pause") : key(one, "resume", "Resume")} ${key(one, "run", "Begin now", `Begin ${one.schedule} now?`)}
    <${Why} what=${`schedule:${[one.words, ...one.next, ...one.firings.slice(0, 10).map((fired) => `${fired.due_at} ${fired.state} ${fired.run || fired.workflow || ""} ${fired.reason}`)].join("\n")}`} /></li>`)}</ul>`}`;
}

const tally = (steps) => Object.entries(steps.reduce((sum, step) => ({ ...sum, [step.state]: (sum[step.state] || 0) + 1 }), {})).map(([word, count]) => `${count} ${word}`).join(", ");
const whyFlow = (flow) => [`${flow.kind} ${flow.workflow} is ${flow.state}${flow.reason ? `: ${flow.reason}` : ""}`, ...flow.steps.map((step) => `${step.name}: ${step.outcome || step.state}${step.reason ? `, ${step.reason}` : ""}${step.refused ? `, refused: ${step.refused}` : ""}`)].join("\n");

function One({ id }) {
  const live = useLive(at("workflows", id), undefined, (event) => event.data?.workflow === id || (event.kind === "run.stage" && flow?.steps.some((step) => step.runs.includes(event.run))));
  const flow = live.data;
  return html`<${Page} title=${`Workflow ${id}`} lives=${[live]} actions=${flow && html`<${Why} what=${`flow:${whyFlow(flow)}`} />`}>${flow && html`
    <p><${Badge} word=${flow.state} /> ${flow.kind} ${visible(flow.name)} ${flow.reason} <span class="quiet">by ${flow.created_by}, <${When} at=${flow.created_at} />${flow.finished_at ? html` to <${When} at=${flow.finished_at} />` : ""}</span></p>
    <p>${usd(flow.cost.usd)} spent, ${usd(flow.cost.held_usd)} held${flow.cost.budget_usd ? ` of ${usd(flow.cost.budget_usd)}` : ""}, ${many(flow.cost.tokens)} tokens${flow.cost.unknown ? html`, <b class="warn">${counted(flow.cost.unknown, "run")} of unknown cost</b>` : ""}${flow.winner ? html`; won by <b>${flow.winner}</b>` : ""}</p>
    ${flow.warnings.map((one) => html`<p class="warn">${one}</p>`)}
    <p class="keys">${!flow.finished_at && html`<${Act} label="Stop" kind="danger" path=${at("workflows", id, "stop")} body=${{}} sure=${`Stop ${id} and its runs?`} done=${live.again} />`}
      ${["stopped", "failed", "partial"].includes(flow.state) && html`<${Act} label="Resume" path=${at("workflows", id, "resume")} body=${{}} done=${live.again} />`}
      ${flow.finished_at && html`<${Act} label="Retry" path=${at("workflows", id, "retry")} body=${{}} sure=${`Begin ${id} once more?`} done=${(done) => done.workflow && go(["workflows", done.workflow])} />`}
      <a class="button" href=${link(["runs"], { workflow: id })}>Its runs</a></p>
    <${Graph} steps=${flow.steps} /><${Steps} steps=${flow.steps} />`}<//>`;
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
  return html`<div class="graph" tabindex="0" role="region" aria-label="graph of the steps"><svg width=${width + 4} height=${height + 4} viewBox=${`-2 -2 ${width + 4} ${height + 4}`}>
    ${steps.flatMap((step) => step.needs.filter((one) => spot.has(one)).map((one) => { const [a, b] = [spot.get(one), spot.get(step.name)];
      return html`<path class="edge" d=${`M${a[0] + W} ${a[1] + H / 2} C${a[0] + W + GAP_X / 2} ${a[1] + H / 2} ${b[0] - GAP_X / 2} ${b[1] + H / 2} ${b[0]} ${b[1] + H / 2}`} />`; }))}
    ${steps.map((step) => { const [x, y] = spot.get(step.name); const word = step.outcome || step.state;
      const box = html`<rect x=${x} y=${y} width=${W} height=${H} rx="6" class=${`step ${colour(word)}`} /><text x=${x + 10} y=${y + 23}>${visible(step.name).slice(0, 22)}</text><text x=${x + 10} y=${y + 43} class="quiet">${word.replaceAll("_", " ")}${step.round > 1 ? `, round ${step.round}` : ""}</text>`;
      return step.run ? html`<a href=${link(["runs", step.run])} aria-label=${`${step.name}: ${word}`}>${box}</a>` : html`<g>${box}</g>`; })}</svg></div>`;
}

function Steps({ steps }) {
  return html`<h2>Steps</h2><ul class="rows">${steps.map((step) => html`<li data-row key=${step.name}><${Badge} word=${step.outcome || step.state} /> <b>${visible(step.name)}</b> ${step.run ? html`<${RunLink} run=${step.run} />` : html`<button type="button" class="plain" disabled>no run yet</button>`}
    <span class="facts"><span>${step.needs.length ? `after ${step.needs.join(", ")}` : "begins at once"}</span><span>${step.reason}</span>${step.refused && html`<span class="warn">${step.refused}</span>`}</span>
    ${step.run ? html`<${Why} what=${`run:${step.run}`} />` : html`<${Why} what=${`step:${step.name} is ${step.state}${step.reason ? `: ${step.reason}` : ""}${step.needs.length ? `\nit needs ${step.needs.join(", ")}` : ""}`} />`}</li>`)}</ul>`;
}
