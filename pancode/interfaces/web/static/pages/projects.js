// Projects: repositories with a name and what counts in them; workspaces: branches in which agents continue with each other's work.

import { at, post } from "../lib/api.js";
import { Form } from "../lib/form.js";
import { go, html, link, useLive } from "../lib/live.js";
import { Act, Ago, agreed, Empty, fact, Page, Panel, Row, tell, Warning, When, Why } from "../lib/parts.js";
import { bytes, counted, title } from "../lib/words.js";
import { OneTool, Tools } from "./tools.js";

const moves = (event) => event.kind === "audit" || event.kind === "run.ended" || event.kind === "run.queued";

export function Projects({ parts }) {
  if (parts[1] === "tool" && parts[3]) return html`<${OneTool} key=${`${parts[2]} ${parts[3]}`} run=${parts[2]} name=${parts[3]} />`;
  return parts[1] === "workspace" && parts[2] ? html`<${OneWorkspace} key=${parts[2]} name=${parts[2]} />` : html`<${List} />`;
}

function List() {
  const projects = useLive("projects", undefined, (event) => event.kind === "audit"), spaces = useLive("workspaces", undefined, moves);
  return html`<${Page} title="Projects" lives=${[projects, spaces]}>
    <${Panel} title="Projects" count=${projects.data?.projects.length} act=${html`<a class="btn" href="#/new/project">Add a project</a>`}>${!projects.data?.projects.length ? html`<${Empty} title="No project has a name yet">A project has its own agent, machines, budget and gates.<//>`
      : html`<ul>${projects.data.projects.map((one) => html`<${Project} key=${one.name} one=${one} again=${projects.again} />`)}</ul>`}<//>
    <${Panel} title="Workspaces" count=${spaces.data?.workspaces.length} act=${html`<a class="btn" href="#/new/workspace">New workspace</a>`}>${!spaces.data?.workspaces.length ? html`<${Empty} title="No workspace yet">A workspace is a branch of its own: each agent continues from what the one before it left.<//>`
      : html`<ul>${spaces.data.workspaces.map((one) => html`<${Row} key=${one.workspace} word=${stateOf(one)} href=${link(["projects", "workspace", one.workspace])} title=${one.workspace} facts=${html`<span>${one.branch}</span><span class="desk">${one.project}</span><span>${counted(one.count, "run")}</span><span>${one.dirty ? `${counted(one.dirty, "file")} not landed` : ""}</span><span>${one.size === null ? "" : bytes(one.size)}</span><${Ago} at=${one.used_at || one.created_at} />`}
        keys=${html`<${Why} what=${`workspace:${whySpace(one)}`} /><${Keys} one=${one} again=${spaces.again} />`} />`)}</ul>`}<//><${Tools} /><//>`;
}

/** Its own words of a project, as its form takes them. */
function Project({ one, again }) {
  const said = { name: one.name, path: one.path, agent: one.agent, budget: one.budget, verify: one.verify?.map((argv) => argv.map(quoted).join(" ")).join("\n"), require: Object.entries(one.require).map((pair) => pair.join("=")).join("\n"), prefix: one.prefix, linear_id: one.linear_id, linear_name: one.linear_name };
  const facts = [one.path, one.agent, one.budget && `$${one.budget} a run`, one.prefix && `${one.prefix}-1`, one.verify && counted(one.verify.length, "gate")].filter(Boolean);
  return html`<${Row} word=${one.there ? "ok" : "missing"} of=${one.there ? "ok" : "warn"} title=${one.name} facts=${facts.map((words) => html`<span>${words}</span>`)}
    keys=${html`<a class="btn" href=${link(["dispatch"], { cwd: one.path })}>Dispatch</a><a class="btn" href=${link(["new", "project"], said)}>Change</a><${Act} label="Remove" path=${at("projects", one.name, "remove")} sure=${`Forget the name ${one.name}? The repository and its runs stay.`} done=${again} />`}>${!one.there && html`<${Warning}>no repository lies there any more<//>`}<//>`;
}

const quoted = (word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);
const stateOf = (one) => (one.agent ? "running" : one.outcome || "new");
const whySpace = (one) => [`${one.workspace} is ${one.branch} of ${one.project}, made by ${one.created_by}`, one.agent ? `${one.agent} works there on ${one.at_node || "no node yet"}` : "nobody works there", ...(one.files.length ? [`not landed: ${one.files.join(", ")}`] : [])].join("\n");

function Keys({ one, again, kind = "" }) {
  return html`<a class=${`btn ${kind}`} href=${link(["dispatch"], { workspace: one.workspace })}>Start an agent</a><button type="button" onClick=${() => remove(one, again)}>Remove</button>`;
}

/** What would be lost by it is asked about a second time. */
async function remove(one, done) {
  const path = at("workspaces", one.workspace, "remove");
  if (!(await agreed(`Forget the workspace ${one.workspace}? Its runs stay.`, "Remove"))) return;
  try { await post(path); } catch (problem) {
    if (problem.code !== "unlanded") { tell(problem); return; }
    if (!(await agreed(`${problem.message}: ${problem.why}. Forget it all the same?`, "Forget it"))) return;
    try { await post(path, { force: true }); } catch (again) { tell(again); return; }
  }
  tell(`${one.workspace} is forgotten`);
  done();
}

function OneWorkspace({ name }) {
  const live = useLive(at("workspaces", name), undefined, moves), one = live.data, plan = `docs/${name}-plan.md`;
  const repair = at("workspaces", name, "repair");
  return html`<${Page} title=${`Workspace ${name}`} lives=${[live]} actions=${one && html`<${Keys} kind="main" one=${one} again=${() => go(["projects"])} />`}>${one && html`
    ${one.problems.map((problem) => html`<${Warning}>${problem.what}${problem.does && html`<p class="small">A repair: ${problem.does}</p>`}<//>`)}
    <${Panel} title="What it is"><dl class="pairs pad">${fact("branch", one.branch)}${fact("repository", one.project)}${fact("node", one.node || "any")}${fact("works there", one.agent)}${fact("last on", one.at_node)}${fact("made", html`<${When} at=${one.created_at} /> by ${one.created_by}`)}${fact("plan", one.last && one.files.includes(plan) ? html`<a href=${link(["runs", one.last, "diff"])}>${plan}</a>` : "")}${fact("not landed", [...one.files, ...(one.dirty === null ? ["what is changed there now"] : [])].join(", "))}${fact("size there", one.size === null ? null : bytes(one.size))}</dl>
      ${one.last && html`<p class="keys pad"><a class="btn" href=${link(["runs", one.last, "diff"])}>Look at the change</a></p>`}<//>
    <${Panel} title="Runs" count=${one.runs.length}>${!one.runs.length ? html`<${Empty} title="Nobody has worked here yet" />` : html`<ul>${[...one.runs].reverse().map((run) => html`<${Row} key=${run.run} word=${run.landed ? "landed" : run.outcome} href=${link(["runs", run.run])} title=${title(run)} why=${`run:${run.run}`} facts=${html`<span>${run.run}</span>`} keys=${run.talk && html`<a class="btn" href=${link(["chat", run.talk])}>Talk</a>`} />`)}</ul>`}<//>
    <details class="panel" open=${one.problems.length > 0}><summary class="pad small quiet">Repair: as its problems say, or where its repository and its node are now</summary><${Form} of="workspaces/{workspace}/repair" path=${repair} verb="Repair" first=${["repository", "node"]} done=${() => { tell(`${name} is repaired`); live.again(); }} /></details>`}<//>`;
}
