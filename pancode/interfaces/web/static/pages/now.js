// Now: what needs you, what runs and waits, nodes in trouble, what has ended, and money, as the coordinator arranges it.

import { strip } from "../lib/lines.js";
import { useEffect, useRef, useState } from "preact/hooks";
import { at, get } from "../lib/api.js";
import { html, link, useLive, useNow, useSummary } from "../lib/live.js";
import { Act, Ago, Badge, Bar, Cost, Empty, Glyph, Page, Panel, Prose, Row, Unknown, Unpriced, Warning } from "../lib/parts.js";
import { called, counted, many, reasonOf, span, stateOf, title, tokens, took, unheard, usd } from "../lib/words.js";
import { Decide, NeedRow, needsOf, Notes } from "./inbox.js";

const MOST_NEEDS = 4, MOST_WHOLE = 1, MOST = 40, USED_MS = 15000;

export function Now() {
  const used = useRef(0);
  const live = useSummary((event) => {
    if (event.kind !== "run.usage") return /^(run|inbox|budget|node|schedule)\b/.test(event.kind);
    if (Date.now() - used.current < USED_MS) return false; // a usage event comes every two seconds
    used.current = Date.now();
    return true;
  });
  const now = live.data, count = now?.count;
  return html`<${Page} title="Now" tone=${count ? "warn" : ""} tab=${count ? `(${count}) Now` : "Now"} lives=${[live]}>${now && html`<div class="two"><div class="stack">
      <${Needs} now=${now} /><${Running} now=${now} /></div>
    <div class="stack"><${Ended} ended=${now.ended} /><${Money} money=${now.money} /></div></div>`}<//>`;
}

/** The first questions are shown whole with their buttons; each other need is one line, and running work needs no scrolling. */
function Needs({ now }) {
  const needs = needsOf(now), shown = needs.slice(0, MOST_NEEDS), asks = shown.filter((one) => one.item).slice(0, MOST_WHOLE);
  return html`<${Panel} title="Needs you" count=${now.count} tone=${now.count ? "warn" : ""} act=${html`<a class="btn bare" href="#/inbox">Open the inbox</a>`}>
    ${!now.count ? html`<${Empty} title="Nothing waits for you" />` : html`<ul>${shown.map((one) => html`<${NeedRow} key=${one.id} entry=${one} keys=${asks.includes(one) && html`<${Decide} entry=${one} />`}>${asks.includes(one) && html`<${Asked} entry=${one} />`}<//>`)}</ul>
      ${needs.length > shown.length ? html`<p class="pad small"><a href="#/inbox">and ${needs.length - shown.length} more</a></p>` : ""}`}<//>`;
}

/** A question whole, or an approval with all that it covers. */
const Asked = ({ entry }) => html`${entry.state === "question" ? html`<${Prose} text=${entry.words} kind="small" />` : html`<p class="small words">${entry.words}</p>`}${entry.approves && entry.approves !== entry.words && html`<p class="small words task well" tabindex="0">${entry.approves}</p>`}`;

const Fold = ({ words, children }) => html`<details><summary class="small pad"><span class="fold"><${Glyph} name="fold" /></span>${words}</summary><ul>${children}</ul></details>`;

function Running({ now }) {
  const fleet = useLive("fleet", undefined, (event) => event.kind === "node.state"), paused = fleet.data?.coordinator.paused;
  const { working, waiting, chats } = now, all = working.length + now.waiting_count, runs = [...working, ...waiting], tails = useTails(working.map((run) => run.run).sort().join());
  return html`<${Panel} title="Running now" count=${working.length} act=${fleet.data && (paused ? html`<${Act} label="Resume the queues" path="queues/resume" sure="Take work from the queues again?" done=${fleet.again} />`
      : html`<${Act} label="Pause the queues" kind="bare" path="queues/pause" sure="Take nothing from the queues until somebody resumes them? What runs continues." done=${fleet.again} />`)}>
    ${paused && html`<div class="pad"><${Warning}>Nothing is taken from the queues: ${paused}<//></div>`}
    ${!runs.length ? html`<${Empty} title="Nothing runs and nothing waits"><a href=${link(["dispatch"])}>Dispatch a task</a><//>` : html`<ul>${runs.slice(0, MOST).map((run) => html`<${Working} key=${run.run} run=${run} tail=${tails[run.run]} />`)}</ul>`}
    ${all > MOST ? html`<p class="pad small"><a href=${link(["runs"], { outcome: "pending" })}>and ${all - MOST} more</a></p>` : ""}
    ${chats.length ? html`<${Fold} words=${`${counted(chats.length, "chat")} ${chats.length === 1 ? "waits" : "wait"} for your next message`}>${chats.map((run) => html`<${Row} key=${run.run} word=${stateOf(run)} href=${link(["chat", run.run])} title=${title(run)} facts=${html`<span>${run.agent}</span><span>${run.node}</span><${Cost} run=${run} />`} />`)}<//>` : ""}<//>`;
}

/** One run that has not ended: its stage, last words, tokens, money against its cap, and a key that stops it. */
function Working({ run, tail }) {
  const now = useNow(), last = tail && lastLines(tail);
  const runs = run.started_at && run.stage !== "waiting", minutes = runs && !unheard(run) ? (now - Date.parse(run.started_at)) / 60000 : 0;
  const spent = Number(run.usage.cost_usd), rate = spent && minutes > 0.05 ? ` (${usd(spent / minutes)} a minute)` : "";
  return html`<${Row} kind="order" word=${stateOf(run)} href=${link(["runs", run.run])} title=${title(run)} why=${`run:${run.run}`}
    facts=${html`<span>${run.node || "no node yet"}</span><span class="desk">${run.run}</span><span class="desk">${run.agent} / ${run.runtime}${run.model ? ` / ${run.model}` : ""}</span>
      <span>${runs ? took(run, now) : `waits ${span(now - Date.parse(run.created_at))}`}</span>
      ${runs ? html`<span class="desk">${many(tokens(run.usage))} tokens</span><span><${Cost} run=${run} />${rate}${run.limit_usd ? ` of ${usd(run.limit_usd)}` : ""}</span>` : html`<span class="warn tone">${run.reason}</span>`}
      ${run.workflow && html`<a class="desk" href=${link(["workflows", run.workflow])}>${run.workflow}</a>`}`}
    keys=${html`<${Act} label="Stop" kind="bare" path=${at("runs", run.run, "stop")} sure=${`Stop ${called(run)} on ${run.node || "the queue"}? What it has done so far is kept.`} />`}>
    ${run.notes.map((note) => html`<p class=${`small tone ${note.startsWith("unknown") ? "ghost" : ""}`}>${unheard(run) && note.startsWith("unknown") ? reasonOf(run) : note}</p>`)}${runs && last && html`<pre class="last" aria-label="what it said last">${last}</pre>`}<//>`;
}

/** The last two lines of a text. */
const lastLines = (text) => text.split("\n").map(strip).filter((line) => line.trim()).slice(-2).map((line) => `${line.slice(0, 300)}\n`).join("");

const SOON_MS = 3000, SELDOM_MS = 24000, TAIL = 2000;

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
          const found = (await get("tails", { bytes: TAIL, shown: 1 }, stop.signal)).tails, now = JSON.stringify(found);
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

/** How many runs ended, by state; the newest are folded. */
function Ended({ ended }) {
  if (!ended.count && !ended.states.landed) return "";
  return html`<${Panel} title=${html`Ended since you left, <${Ago} at=${ended.since} />`}><p class="facts pad">${Object.entries(ended.states).map(([state, count]) => html`<a href=${state === "landed" ? undefined : link(["runs"], { outcome: state, since: ended.since })}><${Badge} word=${state} /> ${count}</a>`)}</p>
    ${ended.runs.length ? html`<${Fold} words="the newest of them">${ended.runs.map((run) => html`<${Row} key=${run.run} word=${stateOf(run)} href=${link(["runs", run.run])} title=${title(run)} why=${`run:${run.run}`} facts=${html`<${Cost} run=${run} /><${Ago} at=${run.finished_at} />`} />`)}<//>` : ""}<//>`;
}

function Money({ money: { day, over, notes } }) {
  return html`<${Panel} title="Today's money">${!day ? html`<${Unknown} />` : html`<div class="pad stack"><div><p class="big num"><a href=${link(["money"])}>${usd(day.spent_usd)}</a></p><p class="small quiet">spent${day.ceiling_usd === null ? ", no ceiling" : ` of ${usd(day.ceiling_usd)}`}</p></div>
    ${day.ceiling_usd !== null && html`<${Bar} used=${+day.spent_usd} held=${+day.held_usd} most=${+day.ceiling_usd} />`}
    <p class="facts num"><span>${usd(day.held_usd)} held</span>${day.remaining_usd !== null && html`<span>${usd(day.remaining_usd)} left</span>`}<span>${many(day.tokens)} tokens</span><span>${span(day.agent_minutes * 60000)}</span></p><${Unpriced} runs=${day.unknown_runs} />
    ${over.map((one) => html`<${Warning}>${one.scope}: ${usd(one.spent_usd)} of ${usd(one.ceiling_usd)}<//>`)}</div>`}<//><${Notes} notes=${notes} />`;
}
