// Who works. Machines: facts, runtimes, models with their passports, disk, link; drain and resume. Agents: definitions, records.

import { useState } from "preact/hooks";
import { at } from "../lib/api.js";
import { html, link, useLive } from "../lib/live.js";
import { Act, Ago, Badge, Bar, Empty, fact, heard, Page, Panel, Problems, Row, RunLink, Slots, Unheard, When, Why } from "../lib/parts.js";
import { bytes, counted, many, span, usd } from "../lib/words.js";

const disk = ({ disk_free: free, disk_most: most }) => `${bytes(free)} free${most ? `, ${most.what} ${bytes(most.bytes)}` : ""}`;
const moves = (event) => event.kind === "node.state" || event.kind === "audit";

const whyNode = (node) => [`${node.name} is ${node.state} since ${node.since || "the coordinator's start"}; ${node.slots.used} of ${node.slots.total} slots are taken.`, ...node.problems.map((one) => `${one.what || one.says}${one.fix ? `\n  → ${one.fix}` : ""}`)].join("\n");

export function Machines({ parts }) { return parts[1] ? html`<${OneMachine} key=${parts[1]} name=${parts[1]} />` : html`<${MachineList} />`; }

function MachineList() {
  const live = useLive("fleet", undefined, moves);
  const told = live.data?.coordinator;
  return html`<${Page} title="Nodes" lives=${[live]}>${told && html`<p class="facts"><span>fleet ${told.fleet}</span><span>coordinator ${told.version}</span><span>since <${When} at=${told.started_at} /></span></p>
    ${told.after_reboot && html`<p class="quiet">${told.after_reboot}</p>`}`}
    <div class="panel">${live.data && !live.data.nodes.length ? html`<${Empty} title="No node yet"><code>pancode node add gpubox</code><//>` : html`<ul>${(live.data?.nodes || []).map((node) => html`<${Row} key=${node.name} word=${node.state} href=${link(["machines", node.name])} title=${node.name} why=${`node:${whyNode(node)}`}
      facts=${html`${heard(node) ? html`<span>since <${Ago} at=${node.since} /></span>` : html`<${Unheard} node=${node} />`}<span><${Slots} slots=${node.slots} known=${heard(node)} /> ${heard(node) ? `${node.slots.used} of ${node.slots.total} slots` : "slots unknown"}</span><span>disk ${disk(node)}</span>${node.gpus.length > 0 && html`<span>${counted(node.gpus.length, "GPU")}</span>`}<span>${node.isolation || "isolation unknown"}</span><span class="desk">${node.version || "version unknown"}</span>
        <span class="desk">${node.runtimes.filter((one) => one.state === "ok").map((one) => one.name).join(", ")}</span>`} keys=${html`<${Keys} node=${node} again=${live.again} />`}><${Problems} node=${node} /><//>`)}</ul>`}</div><${Held} /><${Breakers} /><${Disks} /><//>`;
}

/** What was pending when the fleet was restored: nothing of it begins until a user starts it. */
function Held() {
  const live = useLive("held", undefined, (event) => event.kind === "audit"), held = live.data?.held || [];
  return held.length ? html`<${Panel} title="Held since the restore" count=${held.length} tone="warn" act=${html`<${Act} label="Start all" path="held" body=${{ rest: true }} sure=${`Start all ${held.length}? What was done since the copy, and no node knows, is done a second time.`} done=${live.again} />`}><ul>${held.map((one) => html`<${Row} key=${one.name} word=${one.kind} of="wait" href=${one.kind === "run" ? link(["runs", one.name]) : undefined} title=${`${one.name}: ${one.what}`} facts=${html`<span>since <${When} at=${one.since} /></span><span>${one.nodes}</span>${one.usd && html`<span>at most ${usd(one.usd)}</span>`}`}
    keys=${html`<${Act} label="Start" path="held" body=${{ start: [one.name] }} sure=${`Start ${one.name}? ${one.nodes}.`} done=${live.again} /><${Act} label="Drop" path="held" body=${{ drop: [one.name] }} sure=${`Drop ${one.name}? It does not begin any more.`} done=${live.again} />`} />`)}</ul><//>` : "";
}

/** What fills the disks, and what could go by the settings `keep`; looked at when a user asks. */
function Disks() {
  const [told, set] = useState(null), goes = told && told.changes + told.logs > 0;
  return html`<${Panel} title="Disks" act=${html`<${Act} label="Look" path="gc" body=${{ dry_run: true }} done=${set} />${goes && html`<${Act} label="Let go" path="gc" sure=${`Let the changes of ${counted(told.changes, "old run")} and the logs of ${told.logs} go? Their proofs stay.`} done=${(done) => set({ ...done, changes: 0, logs: 0 })} />`}`}>${told && html`<dl class="pairs pad">${told.room.map((one) => fact(`${one.node || "coordinator"}: ${one.what}`, bytes(one.bytes)))}${fact("could go", goes ? `changes of ${told.changes}, logs of ${told.logs}` : "nothing")}</dl>`}<//>`;
}

/** What takes no work after too many failures, and until when; a user who has mended it says so. */
function Breakers() {
  const live = useLive("breakers", undefined, (event) => event.kind === "audit");
  const open = (live.data?.breakers || []).filter((one) => one.state !== "closed");
  return open.length ? html`<${Panel} title="Breakers that are open" count=${open.length} tone="warn"><ul>${open.map((one) => html`<${Row} key=${one.name} word=${one.state} of="warn" title=${one.name} why=${`breaker:${one.name}: ${one.why}`} facts=${html`<span>${counted(one.failures, "failure")}</span><span>${one.why}</span>`}
    keys=${html`<${Act} label="Reset" path="breakers/reset" body=${{ name: one.name }} sure=${`Let ${one.name} take work again?`} done=${live.again} />`} />`)}</ul><//>` : "";
}

function Keys({ node, again }) {
  const stays = /drain|quarantined/.test(node.state);
  return html`${stays ? html`<${Act} label="Resume" path="fleet/resume" body=${{ nodes: [node.name] }} sure=${`Let ${node.name} take work again?`} done=${again} />`
    : html`<${Act} label="Drain" path="fleet/drain" body=${{ nodes: [node.name] }} sure=${`Drain ${node.name}? What runs there continues; it takes no new work.`} done=${again} />`}`;
}

function OneMachine({ name }) {
  const live = useLive(at("nodes", name), undefined, (event) => moves(event) && event.node === name);
  const models = useLive("models", { node: name }, () => false);
  const node = live.data;
  const facts = node?.facts;
  return html`<${Page} title=${`Node ${name}`} lives=${[live]} actions=${node && html`<${Why} what=${`node:${whyNode(node)}`} /><a class="btn" href=${link(["runs"], { node: name })}>Its runs</a><${Keys} node=${node} again=${live.again} />`}>${node && html`<p class="facts"><${Badge} word=${node.state} />${heard(node) ? html`<span>since <${Ago} at=${node.since} /></span>` : html`<${Unheard} node=${node} />`}<span><${Slots} slots=${node.slots} known=${heard(node)} /> ${heard(node) ? `${node.slots.used} of ${node.slots.total} slots taken` : "slots unknown"}</span></p>
    <${Problems} node=${node} />
    <div class="two half"><${Panel} title="Facts">${!facts && html`<p class="pad small ghost tone">It was not heard yet: nothing is known.</p>`}<dl class="pairs pad">
      ${fact("host", facts?.hostname)}${fact("system", facts && `${facts.os}, ${facts.arch}`)}${fact("processors", facts?.cpus)}${fact("memory", facts && (facts.memory_free ? `${bytes(facts.memory_free)} of ${bytes(facts.memory)} free` : bytes(facts.memory)))}${fact("load", facts && loadOf(node))}${fact("disk", disk(node))}${node.gpus.map((one) => fact(`GPU ${one.index}`, gpuOf(one)))}
      ${fact("isolation", node.isolation)}${fact("labels", Object.entries(node.labels).map(([a, b]) => `${a}=${b}`).join(", "))}${fact("node agent", node.version)}${fact("clock", node.clock_skew_s === null ? "unknown" : `${node.clock_skew_s} s off`)}
      ${fact("link", linkOf(node))}${fact("key", node.public_key && html`<code>${node.public_key}</code>`)}${fact("added", html`<${When} at=${node.added_at} />`)}${fact("draining", node.draining)}${fact("paused", node.paused)}${fact("quarantined", node.quarantined)}</dl><//>
    <${Panel} title="Runtimes"><ul class="plain pad">${node.runtimes.map((one) => html`<li><${Badge} word=${one.served ? "ok" : one.state} of=${one.state === "ok" || one.served ? "ok" : one.state === "missing" ? "wait" : "warn"} /> ${one.name} ${one.version} <span class="quiet">${one.says}${one.old && ` old, ${one.old}`}</span></li>`)}</ul><//></div>
    <${Panel} title="Models" count=${models.data?.models.length}><${Models} node=${node} models=${models.data?.models} /><//>`}<//>`;
}

/** How busy its processors are, as it told last. */
function loadOf({ facts, ...node }) {
  if (facts.load_1m === null || facts.load_1m === undefined) return "unknown";
  const words = `${facts.load_1m} on ${counted(facts.cpus, "processor")}${heard(node) ? "" : ", when it was last heard"}`;
  return html`${words} <${Bar} used=${facts.load_1m} most=${facts.cpus || 1} label=${`load: ${words}`} />`;
}

function gpuOf(one) {
  if (one.unknown_since) return html`${one.name}, ${bytes(one.memory)}: its driver has not responded since <${When} at=${one.unknown_since} />`;
  const used = one.memory_free === null ? null : one.memory - one.memory_free, words = used === null ? `${bytes(one.memory)}, free memory unknown` : `${bytes(one.memory_free)} of ${bytes(one.memory)} free`;
  return html`${one.name}: ${words}${one.busy === null ? "" : `, ${one.busy} % busy`}${one.holder && html`, held by <${RunLink} run=${one.holder} />`}${used !== null && html` <${Bar} used=${used} most=${one.memory} label=${words} />`}`;
}

function linkOf(node) {
  const { target } = node.target;
  const how = node.target.local ? "this machine" : node.target.direct ? "direct, TLS" : "SSH";
  return `${how}: ${target.user ? `${target.user}@` : ""}${target.host}${target.port ? `:${target.port}` : ""}`;
}

function Models({ node, models }) {
  return html`${node.endpoints.map((one) => html`<p class="pad small"><${Badge} word=${one.health} of=${one.health === "ok" || one.health === "up" ? "ok" : "warn"} /> <b>${one.name}</b> ${one.dialect} ${one.version} at ${one.at} <span class="quiet">${one.slots === null ? "" : `${one.slots_free ?? "?"} of ${one.slots} slots free`} ${one.words}</span></p>`)}
    ${!models?.length ? html`<${Empty} title="It has no model of its own" />` : html`<ul>${models.map((model) => html`<${Row} key=${model.ref} title=${model.id} word=${model.passport.passed === null ? "not tested" : model.passport.passed ? "passed its test" : "failed its test"} of=${model.passport.passed === null ? "wait" : model.passport.passed ? "ok" : "bad"}
      facts=${html`<span>${model.tier || "tier unknown"}</span><span>${model.ctx_usable ? `${many(model.ctx_usable)} tokens` : "context unknown"}</span><span>${model.residence || ""}</span><span>${bytes(model.size)}</span>`} keys=${html`<${Why} what=${`model:${[`${model.id}: ${model.tier_why}`, ...model.passport.checks.map((check) => `${check.check}: ${check.grade}${check.words ? `, ${check.words}` : ""}${check.fix ? `\n  → ${check.fix}` : ""}`)].join("\n")}`} />`} />`)}</ul>`}`;
}

// -- agents --------------------------------------------------------------------------------------------

export function Agents({ parts }) { return parts[1] ? html`<${OneAgent} key=${parts[1]} name=${parts[1]} />` : html`<${AgentList} />`; }

const whyAgent = (agent) => `${agent.name} is defined in: ${agent.origin}\n${agent.enabled ? "it may be chosen" : "it is off"}; ${agent.read_only ? "it changes no file" : "it may change files"}; ${agent.autonomy}`;

function AgentList() {
  const agents = useLive("agents", undefined, () => false);
  const workers = useLive("workers", undefined, (event) => /run.(ended|placed|queued)/.test(event.kind));
  return html`<${Page} title="Agents" lives=${[agents, workers]}><ul class="panel">${(agents.data?.agents || []).map((agent) => html`<${Row} key=${agent.name} word=${agent.enabled ? agent.role : "off"} of=${agent.enabled ? "ok" : "wait"} href=${link(["agents", agent.name])} title=${agent.name} why=${`agent:${whyAgent(agent)}`}
      facts=${html`<span>${agent.description}</span><span>${agent.tier}</span>${agent.runtime && html`<span>${agent.runtime}</span>`}${agent.model && html`<span>${agent.model}</span>`}`} />`)}</ul>
    <${Panel} title="Workers">${!workers.data?.workers.length ? html`<${Empty} title="Nobody has worked yet" />` : html`<ul>${workers.data.workers.map((one) => html`<${Row} key=${`${one.agent}${one.runtime}${one.node}`} word=${one.now.length ? "running" : "waiting"} title=${`${one.agent} on ${one.runtime}, ${one.node || "no node"}`}
      facts=${html`<span>${one.done} of ${one.runs} done</span><span>${usd(one.usd)}</span><span>${one.minutes} min</span>`} keys=${html`<${Why} what=${one.now.length ? `run:${one.now[0].run}` : `worker:${one.agent} on ${one.runtime} has no run now; of its last ${one.runs} runs ${one.done} were done.`} />`}>
      ${one.now.map((run) => html`<p class="small cut"><${Badge} word=${run.stage} /> <${RunLink} run=${run.run} /> <span class="quiet">${run.task.slice(0, 80)}</span></p>`)}<//>`)}</ul>`}<//>
    <${Records} /><//>`;
}

function Records({ agent }) {
  const live = useLive("records", { agent, limit: 100 }, (event) => event.kind === "run.ended");
  const rows = live.data?.records || [];
  return html`<${Panel} title="Records">${!rows.length ? html`<${Empty} title="No receipt has been accepted yet" />` : html`<ul>${rows.map((row) => html`<${Row} word="receipts" of="ok" title=${`${row.agent}, ${row.runtime}${row.model ? ` / ${row.model}` : ""}, ${row.kind}`} facts=${html`<span>${row.good} of ${row.runs} good</span><span>${row.landed} landed</span>
      <span>${Math.round(row.rate * 100)} % (${Math.round(row.low * 100)} to ${Math.round(row.high * 100)})</span><span>${row.usd_each_landed === null ? "" : `${usd(row.usd_each_landed)} each landed`}</span><span>${row.repository || ""}</span>`} keys=${html`<${Why} what=${`record:${row.agent} did ${row.kind || "work"} ${row.runs} times, ${row.good} ended well; with so few runs its rate lies between ${Math.round(row.low * 100)} and ${Math.round(row.high * 100)} %.`} />`} />`)}</ul>`}<//>`;
}

function OneAgent({ name }) {
  const agents = useLive("agents", { name }, () => false);
  const prompt = useLive(at("agents", name, "prompt"), undefined, () => false);
  const agent = agents.data?.agents[0];
  const limits = agent && Object.entries(agent.limits).filter(([, value]) => value !== null).map(([key, value]) => `${key.replace("_ms", "")}: ${key.endsWith("_ms") ? span(value) : value}`).join(", ");
  return html`<${Page} title=${`Agent ${name}`} lives=${[agents]}>${agent && html`<p>${agent.description}</p><${Panel} title="What it is"><dl class="pairs pad">
    ${[["role", agent.role], ["from", agent.origin], ["tools", agent.tools.join(", ")], ["tier, speed", `${agent.tier}, ${agent.speed}`], ["runtime", agent.runtime], ["model", agent.model], ["autonomy", agent.autonomy], ["isolation", agent.isolation], ["network", agent.network], ["limits", limits]]
      .map(([key, value]) => value && fact(key, value))}</dl><//>
    <${Panel} title="What it is told" act=${prompt.data && html`<span class="quiet">${prompt.data.runtime}, ${prompt.data.mode}, ${prompt.data.safety}</span>`}><div class="pad stack">
    ${prompt.data ? prompt.data.pieces.map((piece) => html`<h3>${piece.category}</h3><pre class="answer" tabindex="0">${piece.text}</pre>`) : html`<pre class="answer" tabindex="0">${agent.prompt}</pre>`}</div><//><${Records} agent=${name} />`}<//>`;
}
