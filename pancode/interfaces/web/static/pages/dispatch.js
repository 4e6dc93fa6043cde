// Dispatch: a form, and what the ten gates say to it before anything is pressed.

import { useEffect, useRef, useState } from "preact/hooks";
import { post } from "../lib/api.js";
import { LISTS } from "../lib/form.js";
import { go, html, useKept } from "../lib/live.js";
import { Badge, Glyph, newKey, Page, Panel, tell, Trouble, useOnce, Warning } from "../lib/parts.js";
import { usd } from "../lib/words.js";

const FIRST = { task: "", cwd: "", agent: "", runtime: "", node: "", mode: "", safety: "", model: "", budget: "", verify: "", workspace: "", priority: "", land: false, ask: false };

/** What the gates say to this while one writes: [{report, problem}, its setter]. `wanted` false: nothing is asked. */
export function useGates(path, body, wanted = true) {
  const [said, judge] = useState({});
  useEffect(() => {
    if (!wanted) { judge({}); return undefined; }
    let over = false;
    const timer = setTimeout(() => post(path, { ...body, dry_run: true }).then((report) => over || judge({ report }), (problem) => over || judge({ problem })), 350);
    return () => { over = true; clearTimeout(timer); };
  }, [JSON.stringify(body)]);
  return [said, judge];
}

/** `query`: what stands in the form already, as a link to it says. */
export function Dispatch({ query }) {
  const [form, keep] = useKept("pancode-dispatch", FIRST);
  useEffect(() => { const given = Object.entries(query).filter(([name]) => name in FIRST); if (given.length) keep({ ...FIRST, task: form.task, ...Object.fromEntries(given) }); }, [location.hash]);
  const [busy, set] = useState(false);
  const key = useRef(newKey());
  const body = bodyOf(form);
  const [said, judge] = useGates("runs", body, body.task);
  useEffect(() => { key.current = newKey(); }, [JSON.stringify(body)]);
  const put = (name) => (event) => keep({ ...form, [name]: event.target.type === "checkbox" ? event.target.checked : event.target.value });
  const send = async (event) => {
    event.preventDefault();
    if (busy) return;
    set(true);
    try {
      const done = await post("runs", body, key.current);
      keep({ ...form, task: "" });
      key.current = newKey();
      tell(`${done.run} is ${done.state}: ${done.reason}${done.chosen ? `; ${done.chosen}` : ""}`);
      go(["runs", done.run]);
    } catch (problem) { judge({ problem }); tell(problem); }
    set(false);
  };
  return html`<${Page} title="Dispatch"><form class="two half" onSubmit=${send}><${Fields} form=${form} put=${put} />
    <${Panel} title="The gates say"><p class="keys pad"><button type="submit" class="main" disabled=${busy || !body.task || !said.report?.admitted}>${busy ? "Dispatch …" : "Dispatch"}</button></p>
      <div class="pad stack" aria-live="polite"><${Verdict} said=${said} task=${body.task} /></div><//></form><//>`;
}

function bodyOf(form) {
  const body = { task: form.task.trim() };
  for (const name of ["agent", "runtime", "node", "mode", "safety", "model", "workspace", "cwd", "budget"]) if (form[name].trim()) body[name] = form[name].trim();
  if (form.verify.trim()) body.verify = form.verify.split("\n").map((line) => line.trim()).filter(Boolean);
  if (form.priority.trim()) body.priority = Number(form.priority);
  for (const name of ["land", "ask"]) if (form[name]) body[name] = true;
  return body;
}

/** `list`: a key of LISTS (`names`: the list itself), whose entries are names, or [name, words]; that of "" stands for `none`. `none` empty: it is one of them. */
export function Choice({ name, words = name, list, form, put, none = "as set", names }) {
  const found = useOnce(names ? null : list, LISTS[list]);
  const offered = new Map((names || found).map((one) => (Array.isArray(one) ? one : [one, one])));
  const first = none && (offered.get("") || none);
  if (!offered.has(form[name])) offered.set(form[name], form[name]);
  offered.delete("");
  return html`<label class="field">${words} <select value=${form[name]} onChange=${put(name)}>${first && html`<option value="">${first}</option>`}
    ${[...offered].map(([value, text]) => html`<option value=${value}>${text}</option>`)}</select></label>`;
}

export function Model({ form, put, none }) {
  const models = useOnce("models", LISTS.models);
  return html`<label class="field">model <input list="models" value=${form.model} onInput=${put("model")} placeholder=${none} /></label><datalist id="models">${models.map((one) => html`<option value=${one} />`)}</datalist>`;
}

/** Who does it, where, with what, for how much. */
export function Choices({ form, put, none, agents = "agents", runtimes = "runtimes" }) {
  return html`<${Choice} name="agent" list=${agents} form=${form} put=${put} none=${none} /><${Choice} name="runtime" list=${runtimes} form=${form} put=${put} /><${Choice} name="node" list="fleet" form=${form} put=${put} none="any that fits" />
    <${Model} form=${form} put=${put} /><label class="field">budget in USD <input inputmode="decimal" size="6" value=${form.budget} onInput=${put("budget")} /></label>`;
}

export function Where({ form, put }) {
  const [runs, budget] = ["runs?limit=200", "budget?all=1"].map((path) => useOnce(path, LISTS[path]));
  const projects = useOnce("projects", (data) => data.projects.map((one) => [one.path, one.name]));
  return html`${projects.length > 0 && html`<${Choice} name="cwd" words="project" names=${projects} form=${form} put=${put} none="none of these" />`}<label class="field">folder on the coordinator's machine <input list="projects" value=${form.cwd} onInput=${put("cwd")} placeholder="/home/me/project (empty: no repository)" /></label>
    <datalist id="projects">${[...new Set([...runs, ...budget])].map((one) => html`<option value=${one} />`)}</datalist>`;
}

function Fields({ form, put }) {
  return html`<${Panel} title="The work"><div class="pad stack">
    <label class="field">task <textarea rows="6" required value=${form.task} onInput=${put("task")} placeholder="add a --json flag to export, with a test"></textarea></label>
    <${Where} form=${form} put=${put} />
    <div class="choices"><${Choices} form=${form} put=${put} none="chosen for it" />
      <${Choice} name="mode" list="modes" form=${form} put=${put} /><${Choice} name="safety" list="safety" form=${form} put=${put} /><${Choice} name="workspace" list="workspaces" form=${form} put=${put} />
      <label class="field">priority <input type="number" min="-1000" max="1000" value=${form.priority} onInput=${put("priority")} /></label></div>
    <label class="field">verify, one command a line <textarea rows="2" value=${form.verify} onInput=${put("verify")} placeholder="pytest -q"></textarea></label>
    <label class="choice"><input type="checkbox" checked=${form.land} onChange=${put("land")} /> land it when its gates pass</label>
    <label class="choice"><input type="checkbox" checked=${form.ask} onChange=${put("ask")} /> ask me before it begins</label></div><//>`;
}

export function Verdict({ said, task }) {
  const { report, problem } = said;
  if (problem) return html`<${Trouble} problem=${problem} />`;
  if (!report) return html`<p class="small quiet">${task ? "asking …" : "Write a task, and the ten gates answer at once."}</p>`;
  return html`<p class="small"><strong>${report.admitted ? (report.asks ? "It would wait for approval." : "It would be admitted.") : "It would be refused."}</strong> ${report.agent} on ${report.runtime}${report.model ? `, ${report.model}` : ""}; estimated ${usd(report.estimate_usd)}, ${report.estimate_minutes} min${report.chosen ? `; ${report.chosen}` : ""}</p>
    <ol class="gates small stack">${report.gates.map((gate) => html`<li><${Glyph} name=${gate.passed ? (gate.warning ? "yes" : "done") : "failed"} tone=${gate.passed ? (gate.warning ? "warn" : "ok") : "bad"} /><span class="sr">${gate.passed ? (gate.warning ? "warning" : "passed") : "refused"}: </span> <b>${gate.gate}</b> ${gate.words}${gate.fix ? html` → <code>${gate.fix}</code>` : ""}</li>`)}</ol>
    <h3>Machines</h3><ul class="plain">${report.nodes.map((node) => html`<li><${Badge} word=${node.fits ? (node.ready ? "ready" : "fits") : "no"} of=${node.fits ? "ok" : "bad"} /> ${node.node}: ${node.why}${node.fix ? html` → <code>${node.fix}</code>` : ""}</li>`)}</ul>
    ${report.notes.map((note) => html`<${Warning}>${note}<//>`)}
    ${report.snapshot ? html`<p class="small quiet">It gets ${report.snapshot.branch} as it is now: ${report.snapshot.changed.length} changed, ${report.snapshot.untracked.length} untracked.</p>${report.snapshot.warnings.map((one) => html`<${Warning}>${one.what || one}<//>`)}` : ""}`;
}
