// Workflows: batches, chains and races, each as a graph that moves while it runs.

import { at } from "../lib/api.js";
import { go, html, link, useLive } from "../lib/live.js";
import { Act, Ago, Badge, Empty, Page, Panel, Row, Unpriced, Warning, When, Why } from "../lib/parts.js";
import { counted, look, many, plain, usd, visible } from "../lib/words.js";

const W = 190, H = 58, GAP_X = 50, GAP_Y = 18;

export function Workflows({ parts }) { return parts[1] ? html`<${One} key=${parts[1]} id=${parts[1]} />` : html`<${List} />`; }

function List() {
  const live = useLive("workflows", { limit: 200 }, (event) => event.kind.startsWith("workflow"));
  const all = live.data?.workflows || [];
  return html`<${Page} title="Workflows" lives=${[live]}>
    <div class="panel">${!all.length ? html`<${Empty} title="No workflow yet"><code>pancode batch</code>, <code>chain</code> and <code>race</code> make them.<//>` : html`<ul>${all.map((one) => html`<${Row} key=${one.workflow} word=${one.state} href=${link(["workflows", one.workflow])}
      title=${`${one.kind === one.name ? "" : one.kind} ${visible(one.name)}`} why=${`flow:${whyFlow(one)}`} facts=${html`<span class="desk">${one.workflow}</span><span>${counted(one.steps.length, "step")}: ${tally(one.steps)}</span><span>${usd(one.cost.usd)}</span><${Ago} at=${one.created_at} />`} />`)}</ul>`}</div><${Schedules} /><//>`;
}

/** Work that begins by itself: the next times, and keys that pause it or begin it now. */
function Schedules() {
  const live = useLive("schedules", undefined, (event) => event.kind === "audit" || event.kind === "run.queued" || event.kind.startsWith("schedule"));
  const all = live.data?.schedules || [];
  const key = (one, verb, label, sure) => html`<${Act} label=${label} path=${at("schedules", one.schedule, verb)} sure=${sure} done=${live.again} />`;
  return html`<${Panel} title="Schedules" count=${all.length}>${!all.length ? html`<${Empty} title="Nothing begins by itself"><code>pancode schedule add</code><//>` : html`<ul>${all.map((one) => html`<${Row} key=${one.schedule} word=${one.paused === null ? "on" : "paused"} title=${`${visible(one.words)}: ${visible(one.task).slice(0, 120)}`}
    facts=${html`<span>${one.schedule}</span><span>next: ${one.next[0] || "on its event"}</span>${one.running && html`<a href=${link([one.running.startsWith("w-") ? "workflows" : "runs", one.running])}>${one.running}</a>`}`}
    keys=${html`<${Why} what=${`schedule:${[one.words, ...one.next, ...one.firings.slice(0, 10).map((fired) => `${fired.due_at} ${fired.state} ${fired.run || fired.workflow || ""} ${fired.reason}`)].join("\n")}`} />${one.paused === null ? key(one, "pause", "Pause") : key(one, "resume", "Resume")}${key(one, "run", "Begin now", `Begin ${one.schedule} now?`)}`}>
    ${one.trouble && html`<${Warning}>${one.trouble}<//>`}<//>`)}</ul>`}<//>`;
}

const tally = (steps) => Object.entries(steps.reduce((sum, step) => ({ ...sum, [step.state]: (sum[step.state] || 0) + 1 }), {})).map(([word, count]) => `${count} ${word}`).join(", ");
const whyFlow = (flow) => [`${flow.kind} ${flow.workflow} is ${flow.state}${flow.reason ? `: ${flow.reason}` : ""}`, ...flow.steps.map((step) => `${step.name}: ${step.outcome || step.state}${step.reason ? `, ${step.reason}` : ""}${step.refused ? `, refused: ${step.refused}` : ""}`)].join("\n");

function One({ id }) {
  const live = useLive(at("workflows", id), undefined, (event) => event.data?.workflow === id || (event.kind === "run.stage" && flow?.steps.some((step) => step.runs.includes(event.run))));
  const flow = live.data;
  return html`<${Page} title=${`Workflow ${id}`} lives=${[live]} actions=${flow && html`<${Why} what=${`flow:${whyFlow(flow)}`} /><a class="btn" href=${link(["runs"], { workflow: id })}>Its runs</a>
      ${!flow.finished_at && html`<${Act} label="Stop" kind="stop" path=${at("workflows", id, "stop")} sure=${`Stop ${id} and its runs?`} done=${live.again} />`}
      ${flow.finished_at && html`<${Act} label="Retry" path=${at("workflows", id, "retry")} sure=${`Begin ${id} once more?`} done=${(done) => done.workflow && go(["workflows", done.workflow])} />`}
      ${["stopped", "failed", "partial"].includes(flow.state) && html`<${Act} label="Resume" kind="main" path=${at("workflows", id, "resume")} done=${live.again} />`}`}>${flow && html`
    <p class="facts"><${Badge} word=${flow.state} /><span>${flow.kind} ${visible(flow.name)}</span>${flow.reason && html`<span>${flow.reason}</span>`}<span>by ${flow.created_by}, <${When} at=${flow.created_at} />${flow.finished_at ? html` to <${When} at=${flow.finished_at} />` : ""}</span>
    <span>${usd(flow.cost.usd)} spent, ${usd(flow.cost.held_usd)} held${flow.cost.budget_usd ? ` of ${usd(flow.cost.budget_usd)}` : ""}, ${many(flow.cost.tokens)} tokens</span><${Unpriced} runs=${flow.cost.unknown} />${flow.winner ? html`<span>won by <b>${flow.winner}</b></span>` : ""}</p>
    ${flow.warnings.map((one) => html`<${Warning}>${one}<//>`)}
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
  return html`<div class="graph panel desk" tabindex="0" role="region" aria-label="graph of the steps"><svg width=${width + 4} height=${height + 4} viewBox=${`-2 -2 ${width + 4} ${height + 4}`}>
    ${steps.flatMap((step) => step.needs.filter((one) => spot.has(one)).map((one) => { const [a, b] = [spot.get(one), spot.get(step.name)];
      return html`<path class="edge" d=${`M${a[0] + W} ${a[1] + H / 2} C${a[0] + W + GAP_X / 2} ${a[1] + H / 2} ${b[0] - GAP_X / 2} ${b[1] + H / 2} ${b[0]} ${b[1] + H / 2}`} />`; }))}
    ${steps.map((step) => { const [x, y] = spot.get(step.name); const word = step.outcome || step.state;
      const box = html`<rect x=${x} y=${y} width=${W} height=${H} rx="8" class=${look(word)[0]} /><text class="t" x=${x + 12} y=${y + 24}>${visible(step.name).slice(0, 20)}</text>${" "}<text x=${x + 12} y=${y + 43}>${plain(word)}${step.round > 1 ? `, round ${step.round}` : ""}</text>`;
      return step.run ? html`<a href=${link(["runs", step.run])}>${box}</a>` : html`<g>${box}</g>`; })}</svg></div>`;
}

function Steps({ steps }) {
  return html`<${Panel} title="Steps" count=${steps.length}><ul>${steps.map((step) => html`<${Row} key=${step.name} word=${step.outcome || step.state} href=${step.run && link(["runs", step.run])} title=${visible(step.name)}
    why=${step.run ? `run:${step.run}` : `step:${step.name} is ${step.state}${step.reason ? `: ${step.reason}` : ""}${step.needs.length ? `\nit needs ${step.needs.join(", ")}` : ""}`}
    facts=${html`<span>${step.run || "no run yet"}</span><span>${step.needs.length ? `after ${step.needs.join(", ")}` : "begins at once"}</span><span>${step.reason}</span>${step.refused && html`<span class="warn tone">${step.refused}</span>`}`} />`)}</ul><//>`;
}
