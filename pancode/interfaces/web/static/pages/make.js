// What is made by a form: each kind with the body of its route, what is asked first, and where one sees it then.

import { useState } from "preact/hooks";
import { Form } from "../lib/form.js";
import { go, html, link } from "../lib/live.js";
import { Badge, fact, Glyph, Page, Panel, Warning } from "../lib/parts.js";
import { counted, usd } from "../lib/words.js";

const WORK = ["agent", "runtime", "node", "model", "budget"], zone = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
const nameOf = (word, i) => `${word.toLowerCase().replace(/[^a-z0-9_-]+/g, "-").replace(/^-|-$/g, "").slice(0, 60)}-${i + 1}`.replace(/^-/, "");
const text = (description, more = {}) => ({ type: "string", description, ...more }), lines = (description) => ({ type: "array", items: { type: "string" }, description });

/** The options that all steps have, with what the whole workflow has. */
function flowShape(known, own, required, description) {
  const { task, ...work } = known.WorkBody.properties, { cwd, concurrency, partial, fail_fast, preset, budget } = known.WorkflowBody.properties;
  return { type: "object", description: `${description} ${known.WorkflowBody.description.split("\n\n").at(-1)}`, required, properties: { ...own, cwd, ...work, preset, concurrency, partial, fail_fast, total: { ...budget, description: "The most that all of it may cost, in USD." } } };
}

/** The body of a workflow whose steps differ in little: `some` has the task, or what sets it apart, by the step's name. */
function flow(kind, { cwd, concurrency, partial, fail_fast, preset, total: budget, ...work }, steps, more) {
  const all = { kind, cwd, concurrency, partial, fail_fast, preset, budget, ...more, steps: Object.entries(steps).map(([name, one]) => ({ name, dispatch: { ...work, ...one } })) };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
}

const batch = ({ tasks = [], ...rest }) => flow("batch", rest, Object.fromEntries(tasks.map((task, i) => [i + 1, { task }])));
function race({ task, apart = "agent", lanes, best_of = 2, race: won = { by: "first" }, ...rest }) {
  const steps = lanes ? lanes.map((word, i) => [nameOf(word, i), { task, [apart]: word }]) : Array.from({ length: Math.min(100, Number(best_of) || 0) }, (_, i) => [i + 1, { task }]);
  return flow("race", rest, Object.fromEntries(steps), { name: "race", input: task, race: won });
}
/** Where no step says what it needs, each one needs the one before it. */
function chain({ steps = [], ...rest }) {
  const said = steps.some((step) => step.needs);
  return { kind: "chain", ...rest, steps: steps.map((step, i) => (said || !i ? step : { ...step, needs: [steps[i - 1].name] })) };
}

const inSteps = (key) => key.replace(/^steps\.\d+\.(dispatch\.)?/, ""), flows = { done: (told) => go(["workflows", told.workflow]), judge: Judged, verb: "Begin", path: "workflows" };
export const KINDS = {
  workspace: { title: "New workspace", glyph: "projects", path: "workspaces", verb: "Create", first: ["name", "title", "project", "cwd", "node"], done: (told) => go(["projects", "workspace", told.workspace]) },
  project: { title: "Project", glyph: "projects", path: "projects", verb: "Keep", first: ["path", "name", "agent", "budget", "verify"], done: () => go(["projects"]) },
  lane: { title: "New lane", glyph: "workflows", path: "lanes", verb: "Create", first: ["name", "cwd", ...WORK.map((one) => `defaults.${one}`), "goes_on"], done: (told) => go(["workflows", told.workflow]) },
  explore: { title: "Send scouts", glyph: "agents", path: "explore", verb: "Send", first: ["questions", "cwd", "look"], hide: ["parent", "depth"], done: ({ scouts }) => go(scouts.length === 1 && scouts[0].run ? ["runs", scouts[0].run] : ["runs"]) },
  schedule: { title: "New schedule", glyph: "waiting", path: "schedules", verb: "Create", first: ["name", "cron", "zone", "dispatch.task", "dispatch.cwd", ...WORK.map((one) => `dispatch.${one}`)], given: { zone }, judge: Planned, done: (told) => (told.secret ? told : go(["workflows"])) },
  chain: { ...flows, title: "New chain", glyph: "workflows", first: ["cwd", "steps.name", "steps.task", "steps.needs", ...WORK.map((one) => `steps.${one}`), "land"], hide: ["kind", "race", "name"], given: { steps: [{ name: "plan" }, { name: "build" }] }, send: chain },
  batch: { ...flows, title: "New batch", glyph: "runs", first: ["tasks", "cwd", ...WORK], send: batch, named: inSteps,
    shape: (known) => flowShape(known, { tasks: lines("Each line is a task.") }, ["tasks"], "Many tasks at once, each in a run of its own.") },
  race: { ...flows, title: "New race", glyph: "flag", first: ["task", "cwd", "apart", "lanes", "best_of", "race.by", "race.score", "verify", "budget"], send: race, named: inSteps,
    shape: (known) => flowShape(known, { task: text(""), apart: text("What sets those who race apart.", { enum: WORK.slice(0, 4), default: "agent" }), lanes: lines("Those who race: two agents or more, or models, runtimes, nodes."),
      best_of: { type: "integer", default: 2, description: "Without anybody named: the same one this often." }, race: known.WorkflowBody.properties.race }, ["task"], "One task for several; the best result wins.") },
};

/** `#/new/schedule?name=nightly`: the form, with what is known already. */
export function Make({ parts, query }) {
  const kind = KINDS[parts[1]], [told, tellSecret] = useState(null);
  if (!kind) return html`<${Page} title="New"><ul class="panel">${Object.entries(KINDS).map(([name, one]) => html`<li class="row" data-row><${Glyph} name=${one.glyph} /><a class="t" href=${link(["new", name])}>${one.title}</a></li>`)}</ul><//>`;
  if (told) return html`<${Page} title=${kind.title}><${Panel} title=${`${told.schedule} waits for its webhook`}><dl class="pairs pad">${fact("address", told.url)}${fact("secret", html`<code>${told.secret}</code>`)}</dl><p class="pad small warn tone">The secret is told this once, and kept by nobody.</p><//><p><a href="#/workflows">Workflows</a></p><//>`;
  const done = async (answer) => { if (kind.done(answer) === answer) tellSecret(answer); };
  return html`<${Page} title=${kind.title}><${Panel} title=${kind.title}><${Form} key=${parts[1]} ...${kind} of=${kind.path} given=${{ ...kind.given, ...query }} done=${done} /><//><//>`;
}

/** When it would begin. */
function Planned(told) {
  return html`<p class="small"><b>It begins ${told.words}.</b> ${told.next.length ? `Next: ${told.next.slice(0, 3).join("; ")}` : ""}</p>${told.warnings.map((one) => html`<${Warning}>${one}<//>`)}`;
}

/** What the gates say of each step before anything begins. */
function Judged(told) {
  const refused = told.steps.filter((step) => !step.admitted);
  return html`<p class="small"><${Badge} word=${told.admitted ? "admitted" : "refused"} of=${told.admitted ? "ok" : "bad"} /> ${counted(told.steps.length, "step")}, estimated ${usd(told.estimate_usd)}. ${told.reason}${told.fix && html` → <code>${told.fix}</code>`}</p>
    <ul class="plain">${refused.slice(0, 10).flatMap((step) => step.gates.filter((gate) => !gate.passed).map((gate) => html`<li><b>${step.name}</b> ${gate.gate}: ${gate.words}${gate.fix && html` → <code>${gate.fix}</code>`}</li>`))}</ul>`;
}
