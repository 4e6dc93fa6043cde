// Agents: their definitions, and the record that accepted receipts give them.

import { at } from "../lib/api.js";
import { html, link, useLive } from "../lib/live.js";
import { Badge, Page, RunLink, Why } from "../lib/parts.js";
import { span, usd, visible } from "../lib/words.js";

export function Agents({ parts }) { return parts[1] ? html`<${One} key=${parts[1]} name=${parts[1]} />` : html`<${List} />`; }

const whyAgent = (agent) => `${agent.name} is defined in: ${agent.origin}\n${agent.enabled ? "it may be chosen" : "it is off"}; ${agent.read_only ? "it changes no file" : "it may change files"}; ${agent.autonomy}`;

function List() {
  const agents = useLive("agents", undefined, () => false);
  const workers = useLive("workers", undefined, (event) => /run.(ended|placed|queued)/.test(event.kind));
  return html`<${Page} title="Agents" lives=${[agents, workers]}><ul class="rows">${(agents.data?.agents || []).map((agent) => html`<li data-row key=${agent.name}><${Badge} word=${agent.enabled ? agent.role : "off"} of=${agent.enabled ? "ok" : "wait"} /> <a href=${link(["agents", agent.name])}>${visible(agent.name)}</a>
      <span class="facts"><span>${visible(agent.description)}</span><span>${agent.tier}</span><span>${agent.runtime || ""}</span><span>${agent.model || ""}</span></span><${Why} what=${`agent:${whyAgent(agent)}`} /></li>`)}</ul>
    <h2>Workers</h2>${!workers.data?.workers.length ? html`<p class="quiet">Nobody has worked yet.</p>` : html`<ul class="rows">${workers.data.workers.map((one) => html`<li data-row key=${`${one.agent}${one.runtime}${one.node}`}>
      <b>${visible(one.agent)}</b> on ${one.runtime}, ${one.node || "no machine"} <span class="facts"><span>${one.done} of ${one.runs} done</span><span>${usd(one.usd)}</span><span>${one.minutes} min</span></span>
      ${one.now.map((run) => html`<${Badge} word=${run.stage} /> <${RunLink} run=${run.run} /> <span class="quiet">${visible(run.task).slice(0, 80)}</span>`)}
      <${Why} what=${one.now.length ? `run:${one.now[0].run}` : `worker:${one.agent} on ${one.runtime} has no run now; of its last ${one.runs} runs ${one.done} were done.`} /></li>`)}</ul>`}
    <${Records} /><//>`;
}

function Records({ agent }) {
  const live = useLive("records", { agent, limit: 100 }, (event) => event.kind === "run.ended");
  const rows = live.data?.records || [];
  return html`<h2>Records</h2>${!rows.length ? html`<p class="quiet">No receipt has been accepted yet.</p>` : html`<ul class="rows">${rows.map((row) => html`<li data-row><b>${visible(row.agent)}</b> ${row.runtime}${row.model ? ` / ${visible(row.model)}` : ""}, ${row.kind} <span class="facts"><span>${row.good} of ${row.runs} good</span><span>${row.landed} landed</span>
      <span>${Math.round(row.rate * 100)} % (${Math.round(row.low * 100)} to ${Math.round(row.high * 100)})</span><span>${row.usd_each_landed === null ? "" : `${usd(row.usd_each_landed)} each landed`}</span><span>${visible(row.repository || "")}</span></span>
      <${Why} what=${`record:${row.agent} did ${row.kind || "work"} ${row.runs} times, ${row.good} ended well; with so few runs its rate lies between ${Math.round(row.low * 100)} and ${Math.round(row.high * 100)} %.`} /></li>`)}</ul>`}`;
}

function One({ name }) {
  const agents = useLive("agents", { name }, () => false);
  const prompt = useLive(at("agents", name, "prompt"), undefined, () => false);
  const agent = agents.data?.agents[0];
  const limits = agent && Object.entries(agent.limits).filter(([, value]) => value !== null).map(([key, value]) => `${key.replace("_ms", "")}: ${key.endsWith("_ms") ? span(value) : value}`).join(", ");
  return html`<${Page} title=${`Agent ${name}`} lives=${[agents]}>${agent && html`<p>${visible(agent.description)}</p><dl class="facts-list">
    ${[["role", agent.role], ["from", agent.origin], ["tools", agent.tools.join(", ")], ["tier, speed", `${agent.tier}, ${agent.speed}`], ["runtime", agent.runtime], ["model", agent.model], ["autonomy", agent.autonomy], ["isolation", agent.isolation], ["network", agent.network], ["limits", limits]]
      .map(([key, value]) => value && html`<div><dt>${key}</dt><dd>${visible(value)}</dd></div>`)}</dl>
    <h2>What it is told <span class="quiet">${prompt.data ? `${prompt.data.runtime}, ${prompt.data.mode}, ${prompt.data.safety}` : ""}</span></h2>
    ${prompt.data ? prompt.data.pieces.map((piece) => html`<h3>${piece.category}</h3><pre class="answer" tabindex="0">${piece.text}</pre>`) : html`<pre class="answer" tabindex="0">${agent.prompt}</pre>`}<${Records} agent=${name} />`}<//>`;
}
