// Now: what needs you, what runs, what waits and why, today's money, what happened since you left, machines in trouble.

import { useEffect, useRef, useState } from "preact/hooks";
import { at, get } from "../lib/api.js";
import { strip } from "../lib/lines.js";
import { seenBefore } from "../lib/feed.js";
import { html, link, useLive, useNow } from "../lib/live.js";
import { Act, Ago, Badge, Bar, Empty, heard, Page, Panel, Problems, Row, RunLink, Unheard, Unknown, Unpriced, Warning } from "../lib/parts.js";
import { counted, many, reasonOf, span, stateOf, title, tokens, took, unheard, urgent, usd } from "../lib/words.js";
import { say, whyItem } from "./inbox.js";

const left = seenBefore();
const MOST = 40, USED_MS = 15000;
const ofRun = (event) => event.kind.startsWith("run.");

export function Now() {
  const fleet = useLive("fleet", undefined, (event) => event.kind === "node.state" || /run\.(placed|ended)/.test(event.kind));
  const queues = useLive("queues", undefined, (event) => ofRun(event) && event.kind !== "run.usage");
  const inbox = useLive("inbox", undefined, (event) => /^inbox|run.ended|run.landing/.test(event.kind));
  const budget = useLive("budget", undefined, (event) => /^budget|run.(ended|queued)/.test(event.kind));
  const byNode = [...(queues.data?.queues || [])].sort((a, b) => (a.kind === "node" ? 0 : 1) - (b.kind === "node" ? 0 : 1));
  const orders = byNode.flatMap((queue) => queue.orders.map((order) => ({ ...order, queue })));
  const items = inbox.data && [...inbox.data.items, ...urgent(inbox.data.also).map(alsoItem)];
  return html`<${Page} title="Now" tone=${items?.length ? "warn" : ""} tab=${items?.length ? `(${items.length}) Now` : "Now"} lives=${[queues, fleet, inbox, budget]}>
    <${SinceYouLeft} />
    <div class="two"><${Panel} title="Needs you" count=${items?.length} tone=${items?.length ? "warn" : ""} act=${items?.length ? html`<a href="#/inbox">Open the inbox</a>` : ""}><${Needs} items=${items} /><//>
      <${Panel} title="Today's money"><${Today} budget=${budget.data} /><//></div>
    <${Panel} title="Runs and waits" count=${orders.length} act=${queues.data && (queues.data.paused ? html`<${Act} label="Resume the queues" path="queues/resume" sure="Take work from the queues again?" done=${queues.again} />`
      : html`<${Act} label="Pause the queues" kind="bare" path="queues/pause" sure="Take nothing from the queues until somebody resumes them? What runs continues." done=${queues.again} />`)}>
      ${queues.data?.paused && html`<div class="pad"><${Warning}>Nothing is taken from the queues: ${queues.data.paused}<//></div>`}
      <${Orders} orders=${orders} known=${Boolean(queues.data)} /><//>
    <${Machines} nodes=${fleet.data?.nodes} /><//>`;
}

function SinceYouLeft() {
  const [shown, hide] = useState(Boolean(left));
  const brief = useLive(shown && left ? "brief" : null, { since: left?.at }, () => false);
  const told = brief.data;
  if (!told || !(told.ran.length || told.landed.length)) return null;
  return html`<${Panel} title=${html`Since you left <${Ago} at=${left.at} />`} act=${html`<button type="button" class="bare" onClick=${() => hide(false)}>seen</button>`}>
    <p class="facts pad">${Object.entries(told.outcomes).map(([outcome, count]) => html`<a href=${link(["runs"], { outcome, since: left.at })}><${Badge} word=${outcome} /> ${count}</a>`)}
      ${told.landed.length ? html`<span>${counted(told.landed.length, "change")} landed</span>` : ""}<span>${usd(told.cost.usd, told.cost.unknown_runs)}</span><${Unpriced} runs=${told.cost.unknown_runs} /></p>
    <ul>${told.ran.slice(0, 5).map((one) => html`<li class="row" data-row><${RunLink} run=${one.run} kind="t cut">${one.task}<//><p class="facts">${one.what}</p></li>`)}</ul><//>`;
}

/** What waits and is no question: the list that the brief has, too. */
const alsoItem = (one, place) => ({ also: true, word: one.outcome || "look", id: `also-${place}`, run: one.run, words: [one.what, one.task].filter(Boolean).join(": "), command: one.command, choices: [] });

function Needs({ items }) {
  if (!items) return html`<${Unknown} />`;
  if (!items.length) return html`<${Empty} title="Nothing waits for you" />`;
  return html`<ul>${items.map((item) => item.also ? html`<${Row} key=${item.id} word=${item.word} of=${item.word === "look" ? "warn" : undefined} href=${item.run ? link(["runs", item.run]) : undefined} title=${item.words} facts=${html`<code>${item.command}</code>`} />` : html`<${Row} key=${item.id} word=${item.kind} of="warn" href=${link(["inbox"], { item: item.id })} title=${item.words} why=${whyItem(item)}
    facts=${html`<span class="desk">${item.run}</span><${Ago} at=${item.since} />`}
    keys=${item.choices.length > 0 && item.choices.map((choice, i) => html`<button type="button" onClick=${() => say(item, String(i + 1))}>${choice}</button>`)} />`)}</ul>`;
}

function Today({ budget }) {
  const day = budget?.scopes.find((scope) => scope.scope.startsWith("day:"));
  if (!day) return html`<${Unknown} />`;
  return html`<div class="pad stack"><div><p class="big num"><a href=${link(["money"])}>${usd(day.spent_usd)}</a></p><p class="small quiet">spent${day.ceiling_usd === null ? ", no ceiling" : ` of ${usd(day.ceiling_usd)}`}</p></div>
    ${day.ceiling_usd !== null && html`<${Bar} used=${+day.spent_usd} held=${+day.held_usd} most=${+day.ceiling_usd} />`}
    <p class="facts num"><span>${usd(day.held_usd)} held</span>${day.remaining_usd !== null && html`<span>${usd(day.remaining_usd)} left</span>`}<span>${counted(budget.runs, "run")}</span><span>${many(day.tokens)} tokens</span><span>${day.agent_minutes} min</span></p><${Unpriced} runs=${day.unknown_runs} /></div>`;
}

function Orders({ orders, known }) {
  const some = [...orders].map((order) => order.run).sort().join();
  const tails = useTails(some);
  if (!known) return html`<${Unknown} />`;
  if (!orders.length) return html`<${Empty} title="Nothing runs and nothing waits"><a href=${link(["dispatch"])}>Dispatch a task</a><//>`;
  return html`<ul>${orders.slice(0, MOST).map((order) => html`<${Order} key=${order.run} order=${order} tail=${tails[order.run]} />`)}</ul>
    ${orders.length > MOST ? html`<p class="pad small"><a href=${link(["runs"], { outcome: "pending" })}>and ${orders.length - MOST} more</a></p>` : ""}`;
}

/** One run that has not ended: its stage, last words, tokens, money against its cap, and a key that stops it. */
function Order({ order, tail }) {
  const used = useRef(0);
  const mine = (event) => { // what it uses is told each two seconds
    if (event.run !== order.run || (event.kind === "run.usage" && Date.now() - used.current < USED_MS)) return false;
    used.current = Date.now();
    return true;
  };
  const live = useLive(at("runs", order.run), undefined, mine);
  const now = useNow();
  const run = live.data;
  if (!run) return html`<${Row} word="unknown" href=${link(["runs", order.run])} title=${order.run} facts=${order.reason} />`;
  const runs = run.stage !== "waiting" && run.state !== "ended";
  const minutes = run.started_at && !unheard(run) ? (now - Date.parse(run.started_at)) / 60000 : 0;
  const spent = run.usage.cost_usd === null ? null : Number(run.usage.cost_usd);
  const rate = spent && minutes > 0.05 ? ` (${usd(spent / minutes)} a minute)` : "";
  return html`<${Row} kind="order" word=${stateOf(run)} href=${link(["runs", run.run])} title=${title(run)} why=${`run:${run.run}`}
    facts=${html`<span>${run.node || "no machine yet"}</span><span class="desk">${run.run}</span><span class="desk">${run.agent} / ${run.runtime}${run.model ? ` / ${run.model}` : ""}</span>
      <span>${runs ? took(run, now) : `waits ${span(now - Date.parse(run.created_at))}`}</span>
      ${runs ? html`<span class="desk">${many(tokens(run.usage))} tokens${run.limits.tokens ? ` of ${many(run.limits.tokens)}` : ""}</span>
        <span class=${spent === null ? "ghost tone" : ""}>${spent === null ? "cost unknown" : usd(spent)}${rate}${run.limits.usd ? ` of ${usd(run.limits.usd)}` : ""}</span>` : html`<span class="warn tone">${order.reason || run.reason}</span>`}
      ${run.workflow && html`<a class="desk" href=${link(["workflows", run.workflow])}>${run.workflow}</a>`}`}
    keys=${html`<${Act} label="Stop" kind="bare" path=${at("runs", run.run, "stop")} sure=${`Stop ${run.run} on ${run.node || "the queue"}? What it has done so far is kept.`} />`}>
    ${run.notes.map((note) => html`<p class=${`small tone ${note.startsWith("unknown") ? "ghost" : ""}`}>${unheard(run) && note.startsWith("unknown") ? reasonOf(run) : note}</p>`)}${runs && tail && html`<${Tail} text=${tail} />`}<//>`;
}

const SOON_MS = 3000, SELDOM_MS = 24000;

/** The last words of all that runs: one question for all of them, seldom where nothing is written, never while nobody looks. */
function useTails(some) {
  const [tails, set] = useState({});
  useEffect(() => {
    if (!some) return undefined;
    const stop = new AbortController();
    let timer = 0, wait = SOON_MS, before = "";
    const read = async () => {
      if (!document.hidden) {
        try {
          const found = (await get("tails", undefined, stop.signal)).tails, now = JSON.stringify(found);
          wait = now === before ? Math.min(wait * 2, SELDOM_MS) : SOON_MS;
          if (now !== before) set(found);
          before = now;
        } catch (error) { if (error.name === "AbortError") return; wait = SELDOM_MS; }
      }
      timer = setTimeout(read, wait);
    };
    read();
    return () => { stop.abort(); clearTimeout(timer); };
  }, [some]);
  return tails;
}

function Tail({ text }) {
  const last = text.split("\n").map(strip).filter((line) => line.trim()).slice(-2);
  return last.length ? html`<pre class="last" aria-label="last words of its log">${last.map((line) => `${line.slice(0, 300)}\n`)}</pre>` : null;
}

/** Machines that take no work, or have a problem. */
function Machines({ nodes }) {
  const some = (nodes || []).filter((node) => node.state !== "online" || node.problems.length);
  return some.length ? html`<${Panel} title="Machines" count=${some.length}><ul>${some.map((node) => html`<${Row} key=${node.name} word=${node.state} href=${link(["machines", node.name])} title=${node.name} why=${`node:${whyNode(node)}`}
    facts=${heard(node) ? html`<span>since <${Ago} at=${node.since} /></span>` : html`<${Unheard} node=${node} />`}><${Problems} node=${node} /><//>`)}</ul><//>` : "";
}

export function whyNode(node) {
  const problems = node.problems.map((one) => `${one.what || one.says}${one.fix ? `\n  → ${one.fix}` : ""}`);
  return [`${node.name} is ${node.state} since ${node.since || "the coordinator's start"}; ${node.slots.used} of ${node.slots.total} slots are taken.`, ...problems].join("\n");
}
