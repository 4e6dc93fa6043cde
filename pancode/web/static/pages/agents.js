// Agents: their definitions, and the record that accepted receipts give them.

import { at } from "../lib/api.js";
import { html, link, useLive } from "../lib/live.js";
import { Badge, Empty, fact, Page, Panel, Row, RunLink, Why } from "../lib/parts.js";
import { span, usd, visible, visibleLines } from "../lib/words.js";

export function Agents({ parts }) { return parts[1] ? html`<${One} key=${parts[1]} name=${parts[1]} />` : html`<${List} />`; }

const whyAgent = (agent) => `${agent.name} is defined in: ${agent.origin}\n${agent.enabled ? "it may be chosen" : "it is off"}; ${agent.read_only ? "it changes no file" : "it may change files"}; ${agent.autonomy}`;

function List() {
  const agents = useLive("agents", undefined, () => false);
  const workers = useLive("workers", undefined, (event) => /run.(ended|placed|queued)/.test(event.kind));
  return html`<${Page} title="Agents" lives=${[agents, workers]}><ul class="panel">${(agents.data?.agents || []).map((agent) => html`<${Row} key=${agent.name} word=${agent.enabled ? agent.role : "off"} of=${agent.enabled ? "ok" : "wait"} href=${link(["agents", agent.name])} title=${visible(agent.name)} why=${`agent:${whyAgent(agent)}`}
      facts=${html`<span>${visible(agent.description)}</span><span>${agent.tier}</span>${agent.runtime && html`<span>${agent.runtime}</span>`}${agent.model && html`<span>${agent.model}</span>`}`} />`)}</ul>
    <${Panel} title="Workers">${!workers.data?.workers.length ? html`<${Empty} title="Nobody has worked yet" />` : html`<ul>${workers.data.workers.map((one) => html`<${Row} key=${`${one.agent}${one.runtime}${one.node}`} word=${one.now.length ? "running" : "waiting"} title=${`${visible(one.agent)} on ${one.runtime}, ${one.node || "no machine"}`}
      facts=${html`<span>${one.done} of ${one.runs} done</span><span>${usd(one.usd)}</span><span>${one.minutes} min</span>`} keys=${html`<${Why} what=${one.now.length ? `run:${one.now[0].run}` : `worker:${one.agent} on ${one.runtime} has no run now; of its last ${one.runs} runs ${one.done} were done.`} />`}>
      ${one.now.map((run) => html`<p class="small cut"><${Badge} word=${run.stage} /> <${RunLink} run=${run.run} /> <span class="quiet">${visible(run.task).slice(0, 80)}</span></p>`)}<//>`)}</ul>`}<//>
    <${Records} /><//>`;
}

function Records({ agent }) {
  const live = useLive("records", { agent, limit: 100 }, (event) => event.kind === "run.ended");
  const rows = live.data?.records || [];
  return html`<${Panel} title="Records">${!rows.length ? html`<${Empty} title="No receipt has been accepted yet" />` : html`<ul>${rows.map((row) => html`<${Row} word="receipts" of="ok" title=${`${visible(row.agent)}, ${row.runtime}${row.model ? ` / ${visible(row.model)}` : ""}, ${row.kind}`} facts=${html`<span>${row.good} of ${row.runs} good</span><span>${row.landed} landed</span>
      <span>${Math.round(row.rate * 100)} % (${Math.round(row.low * 100)} to ${Math.round(row.high * 100)})</span><span>${row.usd_each_landed === null ? "" : `${usd(row.usd_each_landed)} each landed`}</span><span>${visible(row.repository || "")}</span>`} keys=${html`<${Why} what=${`record:${row.agent} did ${row.kind || "work"} ${row.runs} times, ${row.good} ended well; with so few runs its rate lies between ${Math.round(row.low * 100)} and ${Math.round(row.high * 100)} %.`} />`} />`)}</ul>`}<//>`;
}

function One({ name }) {
  const agents = useLive("agents", { name }, () => false);
  const prompt = useLive(at("agents", name, "prompt"), undefined, () => false);
  const agent = agents.data?.agents[0];
  const limits = agent && Object.entries(agent.limits).filter(([, value]) => value !== null).map(([key, value]) => `${key.replace("_ms", "")}: ${key.endsWith("_ms") ? span(value) : value}`).join(", ");
  return html`<${Page} title=${`Agent ${name}`} lives=${[agents]}>${agent && html`<p>${visible(agent.description)}</p><${Panel} title="What it is"><dl class="pairs pad">
    ${[["role", agent.role], ["from", agent.origin], ["tools", agent.tools.join(", ")], ["tier, speed", `${agent.tier}, ${agent.speed}`], ["runtime", agent.runtime], ["model", agent.model], ["autonomy", agent.autonomy], ["isolation", agent.isolation], ["network", agent.network], ["limits", limits]]
      .map(([key, value]) => value && fact(key, visible(value)))}</dl><//>
    <${Panel} title="What it is told" act=${prompt.data && html`<span class="quiet">${prompt.data.runtime}, ${prompt.data.mode}, ${prompt.data.safety}</span>`}><div class="pad stack">
    ${prompt.data ? prompt.data.pieces.map((piece) => html`<h3>${piece.category}</h3><pre class="answer" tabindex="0">${visibleLines(piece.text)}</pre>`) : html`<pre class="answer" tabindex="0">${visibleLines(agent.prompt)}</pre>`}</div><//><${Records} agent=${name} />`}<//>`;
}
