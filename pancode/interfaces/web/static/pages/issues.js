// Issues: those that are worked on here, those that are open at each project's tracker, and one of them with what can be done.

import { useRef, useState } from "preact/hooks";
import { at, post } from "../lib/api.js";
import { go, html, link, useLive } from "../lib/live.js";
import { Act, agreed, Ago, Empty, fact, newKey, Page, Panel, Prose, Row, RunLink, tell, Trouble, Warning } from "../lib/parts.js";
import { Choices, useGates, Verdict } from "./dispatch.js";

/** A word of the tracker's, which is no state of ours. */
const Tag = ({ word }) => html`<span class="badge">${word}</span>`;
const moves = (event) => event.kind === "audit" || /^run.(queued|placed|stage|ended|landing)/.test(event.kind);
const FIRST = { agent: "", runtime: "", node: "", model: "", budget: "" }, PLANNER = "planner";

export function Issues({ parts, query }) { return parts[1] ? html`<${OneIssue} key=${parts[1]} name=${parts[1]} />` : html`<${List} query=${query} />`; }

function List({ query }) {
  const works = useLive("work", undefined, moves), projects = useLive("projects", undefined, (event) => event.kind === "audit");
  const tracked = (projects.data?.projects || []).filter((one) => one.tracker);
  return html`<${Page} title="Issues" lives=${[works, projects]}>
    <${Panel} title="Worked on here" count=${works.data?.works.length}>${!works.data?.works.length ? html`<${Empty} title="No issue is worked on">An issue gets a workspace of its own, and its tracker is told how far it is.<//>`
      : html`<ul>${works.data.works.map((one) => html`<${Work} key=${one.issue} one=${one} />`)}</ul>`}<//>
    ${projects.data && !tracked.length ? html`<${Panel} title="Open"><${Empty} title="No project has a tracker"><code>pancode project add . --tracker github:OWNER/REPO</code><//><//>`
      : tracked.filter((one) => !query.project || one.name === query.project).map((one) => html`<${Open} key=${one.name} project=${one} at=${works.data?.works || []} />`)}<//>`;
}

/** One that was begun: what its tracker was told, and what its newest run does. */
const Work = ({ one }) => html`<${Row} word=${one.waits ? "asks_you" : one.run_state || "waiting"} href=${link(["issues", one.issue])} title=${`${one.issue} ${one.title}`} why=${one.run ? `run:${one.run}` : undefined}
  facts=${html`<span>${one.state || "not told yet"}</span><span>${one.project}</span><span class="desk">${one.by}</span><${Ago} at=${one.began_at} />`}
  keys=${html`<a class="btn" href=${link(["projects", "workspace", one.workspace])}>Workspace</a>${one.run && html`<a class="btn" href=${link(["runs", one.run])}>Run</a>`}`}>${one.trouble && html`<${Warning}>${one.trouble}<//>`}<//>`;

/** The open issues of one project; its tracker is asked when the page is opened, and not again by itself. */
function Open({ project, at: works }) {
  const { data, error, again } = useLive("issues", { project: project.name }, () => false), begun = new Set(works.map((one) => one.issue));
  return html`<${Panel} title=${html`Open in ${project.name}`} count=${data?.issues.length} act=${html`<button type="button" class="bare" onClick=${again}>Ask ${project.tracker} again</button>`}>
    ${error && html`<${Trouble} problem=${error} />`}${!data ? !error && html`<p class="pad small quiet">asking ${project.tracker} …</p>` : !data.issues.length ? html`<${Empty} title="No issue is open" />`
      : html`<ul>${data.issues.map((one) => html`<${Row} key=${one.issue} word=${begun.has(one.issue) ? "running" : "waiting"} of=${begun.has(one.issue) ? "live" : "wait"} href=${link(["issues", one.issue])} title=${`${one.issue} ${one.title}`}
        facts=${html`<span>${one.state}</span>${one.labels.map((label) => html`<${Tag} word=${label} />`)}<span class="desk">${one.assignees.length ? `for ${one.assignees.join(", ")}` : "for nobody"}</span>`}
        keys=${html`<a class="btn" href=${link(["issues", one.issue])}>${begun.has(one.issue) ? "Look" : "Start an agent"}</a><a class="btn desk" href=${link(["new", "workspace"], { name: one.issue.toLowerCase(), title: one.title, project: project.name })}>New workspace</a>`} />`)}</ul>`}<//>`;
}

function OneIssue({ name }) {
  const live = useLive(at("issues", name), undefined, () => false), works = useLive("work", undefined, moves), issue = live.data;
  const work = works.data?.works.find((one) => one.issue === issue?.issue);
  return html`<${Page} title=${issue ? issue.title : name} id=${name} tab=${issue && `${name} ${issue.title}`} lives=${[live]} actions=${issue && html`<${Acts} issue=${issue} work=${work} />`}>${issue && html`
    <p class="facts"><${Tag} word=${issue.state} />${issue.labels.map((label) => html`<${Tag} word=${label} />`)}<span>${issue.project}</span></p>
    <div class="two half"><${Panel} title="In its author's words"><div class="pad"><${Prose} text=${issue.text || "It has no text."} /></div><//>
      <div class="stack"><${Panel} title="What it is"><dl class="pairs pad">${fact("at its tracker", html`<span class="words">${issue.url}</span>`)}${fact("by", issue.author)}${fact("for", issue.assignees.join(", "))}
        ${work && html`${fact("here", work.state || "not told yet")}${fact("workspace", html`<a href=${link(["projects", "workspace", work.workspace])}>${work.workspace}</a>`)}${fact("newest run", work.run && html`<${RunLink} run=${work.run} />`)}${fact("pull request", work.pull)}`}</dl>${work?.trouble && html`<div class="pad"><${Warning}>${work.trouble}<//></div>`}<//>
        ${!work && html`<${Begin} name=${name} />`}</div></div>`}<//>`;
}

/** Who would work on it, and what the gates say before anything is made. */
function Begin({ name }) {
  const [form, keep] = useState(FIRST), [busy, set] = useState(false), key = useRef(newKey());
  const body = { issue: name, ...Object.fromEntries(Object.entries(form).filter(([, value]) => value.trim())) };
  const [said, judge] = useGates("work", body), report = said.report?.report;
  const put = (field) => (event) => { key.current = newKey(); keep({ ...form, [field]: event.target.value }); };
  const send = async (event) => {
    event.preventDefault();
    if (busy) return;
    set(true);
    try { const done = await post("work", body, key.current); tell(`${done.run} works on ${name}: ${done.reason}`); go(["runs", done.run]); } catch (problem) { judge({ problem }); }
    set(false);
  };
  return html`<${Panel} title="Start an agent"><form class="pad stack" onSubmit=${send}><div class="choices"><${Choices} form=${form} put=${put} none="as its project says" /></div>
    <p class="keys"><button type="submit" class="main" disabled=${busy || !report?.admitted}>${busy ? "Begin …" : "Start"}</button></p><div aria-live="polite"><${Verdict} said=${{ ...said, report }} task=${name} /></div></form><//>`;
}

/** A planner talks before anybody builds; a stop ends the newest run. */
function Acts({ issue, work }) {
  const plan = async () => {
    if (!(await agreed(`Plan ${issue.issue} with a planner? It reads, asks, and writes a plan; nothing is built.`, "Plan"))) return;
    try {
      const there = await post("plans", { what: issue.issue });
      go(["chat", there.run || (await post("sessions", { task: there.task, agent: PLANNER, workspace: there.workspace }, newKey())).run]);
    } catch (problem) { tell(problem); }
  };
  const goes = work?.run && ["running", "pending", "placed"].includes(work.run_state);
  return html`<button type="button" onClick=${plan}>Plan</button>${!work && html`<a class="btn" href=${link(["new", "workspace"], { name: issue.issue.toLowerCase(), title: issue.title, project: issue.project })}>New workspace</a>`}
    ${work?.run && html`<a class=${`btn ${goes ? "" : "main"}`} href=${link(["runs", work.run, goes ? "log" : "diff"])}>${goes ? "Watch" : "Look at the change"}</a>`}${goes && html`<${Act} label="Stop" kind="stop" path=${at("runs", work.run, "stop")} sure=${`Stop ${work.run}? What it has done so far is kept.`} />`}`;
}
