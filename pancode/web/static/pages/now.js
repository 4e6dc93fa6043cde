// Now: machines, what runs, what waits and why, what needs you, today's money, what happened since you left.

import { useEffect, useRef, useState } from "preact/hooks";
import { ask, at, withQuery } from "../lib/api.js";
import { strip } from "../lib/lines.js";
import { seenBefore } from "../lib/feed.js";
import { html, link, useLive, useNow } from "../lib/live.js";
import { Act, Ago, Badge, Bar, Page, RunLink, State, Why } from "../lib/parts.js";
import { counted, many, span, title, tokens, took, usd, visible } from "../lib/words.js";

const left = seenBefore();
const MOST = 40;
const ofRun = (event) => event.kind.startsWith("run.");

export function Now() {
  const fleet = useLive("fleet", undefined, (event) => event.kind === "node.state" || /run\.(placed|ended)/.test(event.kind));
  const queues = useLive("queues", undefined, (event) => ofRun(event) && event.kind !== "run.usage");
  const inbox = useLive("inbox", undefined, (event) => /^inbox|run.ended|run.landing/.test(event.kind));
  const budget = useLive("budget", undefined, (event) => /^budget|run.(ended|queued)/.test(event.kind));
  const byNode = [...(queues.data?.queues || [])].sort((a, b) => (a.kind === "node" ? 0 : 1) - (b.kind === "node" ? 0 : 1));
  const orders = byNode.flatMap((queue) => queue.orders.map((order) => ({ ...order, queue })));
  return html`<${Page} title="Now" lives=${[queues, fleet, inbox, budget]}>
    <${SinceYouLeft} />
    <div class="two"><section aria-labelledby="n1"><h2 id="n1">Needs you</h2><${Needs} items=${inbox.data?.items} /></section>
    <section aria-labelledby="n2"><h2 id="n2">Today's money</h2><${Today} budget=${budget.data} /></section></div>
    <section aria-labelledby="n3"><h2 id="n3">Runs and waits</h2>
      ${queues.data?.paused && html`<p class="warn">Nothing is taken from the queues: ${queues.data.paused}</p>`}
      <${Orders} orders=${orders} known=${Boolean(queues.data)} /></section>
    <section aria-labelledby="n4"><h2 id="n4">Machines</h2><${Machines} nodes=${fleet.data?.nodes} /></section><//>`;
}

function SinceYouLeft() {
  const [shown, hide] = useState(Boolean(left));
  const brief = useLive(shown && left ? "brief" : null, { since: left?.at }, () => false);
  const told = brief.data;
  if (!told || !(told.ran.length || told.landed.length)) return null;
  return html`<section class="since" aria-labelledby="n0"><h2 id="n0">Since you left <span class="quiet"><${Ago} at=${left.at} /></span>
      <button type="button" class="small" onClick=${() => hide(false)}>seen</button></h2>
    <p>${Object.entries(told.outcomes).map(([outcome, count]) => html`<a href=${link(["runs"], { outcome, since: left.at })}><${Badge} word=${outcome} /> ${count}</a> `)}
      ${told.landed.length ? html`<span>${counted(told.landed.length, "change")} landed </span>` : ""}<span class="quiet">${usd(told.cost.usd)}${told.cost.unknown_runs ? `, and ${counted(told.cost.unknown_runs, "run")} of unknown cost` : ""}</span></p>
    <ul class="plain">${told.ran.slice(0, 5).map((one) => html`<li><${RunLink} run=${one.run} /> ${one.what} <span class="quiet">${visible(one.task)}</span></li>`)}</ul></section>`;
}

function Needs({ items }) {
  if (!items) return html`<p class="quiet">unknown</p>`;
  if (!items.length) return html`<p class="quiet">Nothing waits for you.</p>`;
  return html`<ul class="rows">${items.map((item) => html`<li data-row key=${item.id}>
    <a href=${link(["inbox"], { item: item.id })}><${Badge} word=${item.kind} of="warn" /> ${visible(item.words)}</a>
    <span class="quiet"><${Ago} at=${item.since} /></span><${Why} what=${`run:${item.run}`} /></li>`)}</ul>`;
}

function Today({ budget }) {
  const day = budget?.scopes.find((scope) => scope.scope.startsWith("day:"));
  if (!day) return html`<p class="quiet">unknown</p>`;
  const [spent, held, most] = [Number(day.spent_usd), Number(day.held_usd), Number(day.ceiling_usd)];
  return html`<p class="big"><a href=${link(["money"])}>${usd(day.spent_usd)}</a> <span class="quiet">spent, ${usd(day.held_usd)} held, ${day.remaining_usd === null ? "no ceiling" : `${usd(day.remaining_usd)} left of ${usd(day.ceiling_usd)}`}</span></p>
    ${day.ceiling_usd !== null && html`<${Bar} used=${spent} held=${held} most=${most} label=${`${usd(spent)} of ${usd(most)} spent, ${usd(held)} held`} />`}
    <p class="quiet">${counted(budget.runs, "run")} today, ${many(day.tokens)} tokens, ${day.agent_minutes} minutes${day.unknown_runs ? html`, <b class="warn">${counted(day.unknown_runs, "run")} of unknown cost</b>` : ""}</p>`;
}

function Orders({ orders, known }) {
  if (!known) return html`<p class="quiet">unknown</p>`;
  if (!orders.length) return html`<p class="quiet">Nothing runs and nothing waits. <a href=${link(["dispatch"])}>Dispatch a task</a></p>`;
  return html`<ul class="rows cards">${orders.slice(0, MOST).map((order) => html`<${Order} key=${order.run} order=${order} />`)}</ul>
    ${orders.length > MOST ? html`<p><a href=${link(["runs"], { outcome: "pending" })}>and ${orders.length - MOST} more</a></p>` : ""}`;
}

/** One run that has not ended: its stage, last words, tokens, money against its cap, and a key that stops it. */
function Order({ order }) {
  const mine = (event) => event.run === order.run;
  const live = useLive(at("runs", order.run), undefined, mine);
  const now = useNow();
  const run = live.data;
  if (!run) return html`<li data-row><${RunLink} run=${order.run} /> <span class="quiet">${order.reason}</span></li>`;
  const runs = run.stage !== "waiting" && run.state !== "ended";
  const minutes = run.started_at ? (now - Date.parse(run.started_at)) / 60000 : 0;
  const spent = run.usage.cost_usd === null ? null : Number(run.usage.cost_usd);
  const rate = spent && minutes > 0.05 ? ` (${usd(spent / minutes)} a minute)` : "";
  return html`<li data-row class="order">
    <div><${State} run=${run} /> <${RunLink} run=${run.run}>${visible(title(run))}<//></div>
    <div class="facts"><span>${run.run}</span><span>${run.node || "no machine yet"}</span><span>${run.agent} / ${run.runtime}${run.model ? ` / ${run.model}` : ""}</span>
      <span>${runs ? took(run, now) : `waits ${span(now - Date.parse(run.created_at))}`}</span>
      ${runs ? html`<span>${many(tokens(run.usage))} tokens${run.limits.tokens ? ` of ${many(run.limits.tokens)}` : ""}</span>
        <span>${spent === null ? "cost unknown" : usd(spent)}${rate}${run.limits.usd ? ` of ${usd(run.limits.usd)}` : ""}</span>` : html`<span class="warn">${order.reason || run.reason}</span>`}
      ${run.workflow && html`<a href=${link(["workflows", run.workflow])}>${run.workflow}</a>`}</div>
    ${run.notes.map((note) => html`<p class="warn">${note}</p>`)}
    ${runs && run.limits.usd ? html`<${Bar} used=${spent || 0} most=${Number(run.limits.usd)} label=${`${usd(spent)} of ${usd(run.limits.usd)}`} />` : ""}
    ${runs && html`<${Tail} run=${run.run} />`}
    <div class="keys"><${Act} label="Stop" kind="danger" path=${at("runs", run.run, "stop")} body=${{}} sure=${`Stop ${run.run} on ${run.node || "the queue"}? What it has done so far is kept.`} />
      <a class="button" href=${link(["runs", run.run, "log"])}>Log</a><${Why} what=${`run:${run.run}`} /></div></li>`;
}

/** The last words of a run's log: read from where it was left, every two seconds, while it can be seen. */
function Tail({ run }) {
  const [words, set] = useState("");
  const place = useRef({ offset: 0, attempt: "" });
  useEffect(() => {
    const stop = new AbortController();
    let timer = 0;
    const read = async () => {
      if (!document.hidden) {
        try {
          const said = await piece(run, place.current, stop.signal);
          if (said) set((old) => `${old}${said}`.slice(-4000));
        } catch (error) { if (error.name === "AbortError") return; }
      }
      timer = setTimeout(read, 2000);
    };
    read();
    return () => { stop.abort(); clearTimeout(timer); };
  }, [run]);
  const last = words.split("\n").map(strip).filter((line) => line.trim()).slice(-2);
  return last.length ? html`<pre class="tail" aria-label="last words of its log">${last.map((line) => `${visible(line).slice(0, 300)}\n`)}</pre>` : null;
}

async function piece(run, place, signal) {
  let said = "";
  for (let times = 0; times < 64; times += 1) {
    const answer = await ask(withQuery(at("runs", run, "log"), { offset: place.offset, attempt: place.attempt }), { signal });
    said = (said + (await answer.text())).slice(-4000);
    place.offset = Number(answer.headers.get("Pancode-Next"));
    place.attempt = answer.headers.get("Pancode-Attempt") || "";
    if (answer.headers.get("Pancode-State") !== "more") break;
  }
  return said;
}

function Machines({ nodes }) {
  if (!nodes) return html`<p class="quiet">unknown</p>`;
  if (!nodes.length) return html`<p class="quiet">No machine yet: <code>pancode fleet up</code></p>`;
  return html`<ul class="rows tiles">${nodes.map((node) => html`<li data-row key=${node.name}>
    <div><${Badge} word=${node.state} /> <a href=${link(["machines", node.name])}>${node.name}</a> <span class="quiet">since <${Ago} at=${node.since} /></span></div>
    <${Slots} slots=${node.slots} known=${node.state !== "unreachable" && node.state !== "lost"} />
    <p class="quiet">${models(node) || node.runtimes.filter((one) => one.state === "ok").map((one) => one.name).join(", ") || "no runtime is ready"}</p>
    ${node.problems.map((one) => html`<p class="warn">${one.what || one.says}${one.fix ? html` → <code>${one.fix}</code>` : ""}</p>`)}
    <${Why} what=${`node:${whyNode(node)}`} /></li>`)}</ul>`;
}

const models = (node) => node.endpoints.flatMap((one) => one.models.map((model) => `${model.id}${model.residence === "loaded" ? " (loaded)" : ""}`)).slice(0, 6).join(", ");

export function whyNode(node) {
  const problems = node.problems.map((one) => `${one.what || one.says}${one.fix ? `\n  → ${one.fix}` : ""}`);
  return [`${node.name} is ${node.state} since ${node.since || "the coordinator's start"}; ${node.slots.used} of ${node.slots.total} slots are taken.`, ...problems].join("\n");
}

function Slots({ slots, known }) {
  const boxes = Array.from({ length: Math.min(slots.total, 32) }, (_, i) => html`<rect x=${i * 14} width="11" height="11" rx="2" class=${!known ? "unknown" : i < slots.used ? "used" : "all"} />`);
  const words = known ? `${slots.used} of ${slots.total} slots taken` : `${slots.total} slots, taken: unknown`;
  return html`<p><svg class="slots" width=${Math.min(slots.total, 32) * 14} height="11" role="img" aria-label=${words}>${boxes}</svg> <span class="quiet">${known ? `${slots.used}/${slots.total}` : "unknown"}</span></p>`;
}
