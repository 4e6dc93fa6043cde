// Inbox and review: one thing after the other, by keyboard: next, diff, land, send back, answer.

import { useEffect, useRef, useState } from "preact/hooks";
import { approvalOf, askedFor, land, REFUSES } from "../lib/acts.js";
import { at, post } from "../lib/api.js";
import { addKeys } from "../lib/keys.js";
import { strip } from "../lib/lines.js";
import { go, html, isInboxEvent, link, useLive, useSummary } from "../lib/live.js";
import { Act, agreed, Ago, asked, Empty, Glyph, heard, Id, Page, Panel, Prose, Row, RunLink, State, tell, Unheard, Warning } from "../lib/parts.js";
import { called, look, stateOf, title } from "../lib/words.js";
import { Change } from "./rundiff.js";
import { toolIn } from "./tools.js";


/** A need of `/v1/now` as an entry of the list. `word`: its state; `item`: the inbox item that an answer decides; without one, the entry shows the run's change. `tool`: the page of a proposed tool, which has no run. */
export function entryOf(need) {
  const tool = toolIn(need.command), own = tool && { run: null, id: tool, title: need.words, tool };
  return { choices: [], yes: [], id: need.run || need.command, ...need.item, ...need, ...own, kind: need.item ? need.kind : "review", word: tool ? "tool" : need.kind, tone: tool || need.item || look(need.kind)[0] !== "bad" ? "warn" : undefined };
}
const changeOf = (run) => ({ choices: [], yes: [], id: run.run, run: run.run, node: run.node, kind: "review", word: ["done", "to_land"].includes(stateOf(run)) ? "review" : stateOf(run), since: run.finished_at, title: title(run), words: run.task, approves: "" });
/** The address of the page on which the user decides. */
export const hrefOf = (entry, query) => entry.tool || (entry.run || entry.item ? link(["inbox"], { ...query, item: entry.id }) : undefined);

/** What needs the user, then the changes to review; `view` review: only these. The page is arranged once both answers are there, and scrolls only on a key. */
export function Inbox({ query }) {
  const summary = useSummary(isInboxEvent), queue = useLive("landings/review", undefined, isInboxEvent);
  const [shut, close] = useState([]);
  const now = summary.data, ready = now && queue.data, shows = (one) => !shut.includes(one.run);
  const needs = ready ? now.needs.map(entryOf).filter(shows) : [], known = new Set(needs.map((one) => one.run));
  const changes = ready ? queue.data.runs.filter((run) => !known.has(run.run)).map(changeOf).filter(shows).reverse() : [];
  const first = query.view === "review" ? [] : needs, all = [...first, ...changes];
  const place = Math.max(0, all.findIndex((one) => [one.id, one.run].includes(query.item)));
  const entry = all[place], box = useRef(null), pressed = useRef(false);
  const to = (step) => { if (all.length) { pressed.current = true; go(["inbox"], { ...query, item: all[(place + step + all.length) % all.length].id }); } };
  const act = (fn) => () => entry && fn(entry);
  useEffect(() => { if (pressed.current) box.current?.querySelector("[data-marked]")?.scrollIntoView({ block: "nearest" }); pressed.current = false; }, [entry?.id]);
  useEffect(() => addKeys({
    n: ["next item", () => to(1)], p: ["item before", () => to(-1)], d: ["its change", () => entry && go(["inbox"], { ...query, item: entry.id, diff: query.diff ? "" : 1 })],
    l: ["land or approve it", act((one) => approve(one))], x: ["deny it", act((one) => deny(one, close))], s: ["send it back with words", act(sendBack)], a: ["answer it", act(answer)],
  }));
  const list = (name, some) => some.length ? html`<${Panel} title=${name} count=${some.length} tone=${some === needs ? "warn" : ""}><ul>${some.map((one) => html`<${Row} key=${one.id} word=${one.word} of=${one.tone} marked=${one === entry || undefined}
    href=${hrefOf(one, query)} title=${one.title} why=${whyItem(one)} facts=${html`<span>${one.run}</span>${one.since && html`<span class="push"><${Ago} at=${one.since} /></span>`}`}>${one.kind !== "review" && html`<p class="small cut">${one.kind === "question" ? one.words.replace(/[*`#|]/g, "") : one.words}</p>`}<//>`)}</ul><//>` : "";
  return html`<${Page} title="Inbox and review" lives=${[summary, queue]}>${!ready ? html`<p class="quiet">reading …</p>` : html`
    ${query.view === "review" && html`<p class="small"><a href="#/inbox">${needs.length ? `Also what needs you: ${needs.length}` : "The whole inbox"}</a></p>`}
    ${!all.length ? html`<div class="panel"><${Empty} title="Nothing waits for you" /></div>` : html`<div class=${`split ${query.item ? "open" : ""}`}><nav class="stack" aria-label="what waits" ref=${box}>${list("Waits for you", first)}${list("To review", changes)}</nav>
      <${Item} key=${entry.id} item=${entry} diff=${query.diff} close=${close} /></div>`}
    <${Troubles} nodes=${now.nodes} /><${Notes} notes=${now.money.notes} />`}<//>`;
}

/** Nodes that accept no work or have a problem. */
export const Troubles = ({ nodes }) => (nodes.length ? html`<${Panel} title="Nodes in trouble" count=${nodes.length} tone="warn"><ul>${nodes.map((node) => html`<${Row} key=${node.node} word=${node.state} href=${link(["machines", node.node])} title=${node.node} why=${`node:${node.node} ${node.words}\n→ ${node.command}`}
  facts=${heard(node) ? html`<span>since <${Ago} at=${node.since} /></span>` : html`<${Unheard} node=${node} />`}><${Warning}>${node.words}<//><//>`)}</ul><//>` : "");

/** Costs that a user must settle. */
export const Notes = ({ notes }) => (notes.length ? html`<${Panel} title="Costs to settle" count=${notes.length}><ul>${notes.map((one) => html`<${Row} key=${one.what} word="budget" href=${one.run ? link(["runs", one.run, "cost"]) : "#/money"} title=${one.task || one.what} facts=${html`${one.task && html`<span>${one.what}</span>`}<code>${one.command}</code>`} />`)}</ul><//>` : "");

/** What `w` tells: of its run, or of the change that was asked for. */
export const whyItem = (item) => (item.kind === "change" || !item.run ? `change:${item.words}` : `run:${item.run}`);

/** The filled key: what is asked for is answered or approved; a change asks for what its state asks for, and never to be landed unseen. */
function firstOf(item, run) {
  if (asks(item)) return "answer";
  if (item.kind !== "review" && item.kind !== "landing") return "approve";
  const act = run ? askedFor(run) : "";
  return { land: "approve", look: "look", resolve: "resolve", gate: "gate", retry: "retry" }[act] || (act ? "look" : item.kind === "landing" && run?.landing?.status !== "conflict" ? "approve" : "");
}

function Item({ item, diff, close }) {
  const change = item.kind === "change" || !item.run;
  const run = useLive(change ? null : at("runs", item.run), undefined, (event) => event.run === item.run).data;
  const name = item.kind === "change" ? "A change of the configuration" : item.run ? html`<${RunLink} run=${item.run}>${item.title}<//> <${Id} id=${item.run} />` : item.title;
  const changes = run?.commit && (!asks(item) || diff), first = firstOf(item, run), kind = (name) => (name === first ? "main" : "");
  const look = () => { const shown = document.querySelector(".change .window"); shown?.scrollIntoView({ block: "center" }); shown?.focus(); };
  return html`<div class="stack"><p class="phone"><a class="btn bare" href="#/inbox"><${Glyph} name="back" />Inbox</a></p>
    <${Panel} title=${name} tone=${item.kind === "review" ? "" : "warn"} act=${run && html`<${State} run=${run} />`}><div class="pad stack">${item.kind === "question" ? html`<${Prose} text=${item.words} kind="task" />` : item.words !== item.title && html`<p class="words task" tabindex="0">${item.words}</p>`}${item.kind === "review" && run?.answer && html`<h3>Its last words</h3><${Prose} text=${strip(run.answer)} kind="task" />`}${item.approves && item.approves !== item.words && html`<h3>What an approval covers</h3><p class="words task well" tabindex="0">${item.approves}</p>`}${run && run.task !== item.words && run.task !== item.approves && html`<p class="small quiet words task" tabindex="0">${run.task}</p>`}
    ${(item.plan?.objections || []).map((one) => html`<${Warning}>${one}<//>`)}
    ${item.yes.length ? html`<${Warning}>It needs your approval of: ${item.yes.join(", ")}<//>` : ""}
    ${item.choices.length ? html`<p class="keys">${item.choices.map((choice, i) => html`<button type="button" onClick=${() => say(item, String(i + 1))}>${i + 1}: ${choice}</button>`)}</p>` : ""}
    ${item.kind === "change" && html`<p class="small quiet">Only a user can have it made. <code>pancode config undo</code> takes it back.</p>`}
    <p class="keys">${asks(item) && html`<button type="button" class="main" onClick=${() => answer(item)}>Answer <kbd class="desk">a</kbd></button>`}
      ${first === "gate" && html`<a class="btn main" href=${link(["runs", item.run, "gates"])}>Look at the gate</a>`}${["gate", "retry"].includes(first) && html`<${Act} label="Retry" kind=${kind("retry")} path=${at("runs", item.run, "retry")} sure=${`Run ${called(run)} once more, from the beginning?`} done=${(told) => go(["runs", told.run])} />`}
      ${item.kind !== "question" && !(item.kind === "review" && (!run || REFUSES.land(run))) && html`<button type="button" class=${kind("approve")} onClick=${() => approve(item)}>${item.kind === "review" ? "Land" : "Approve"} <kbd class="desk">l</kbd></button>`}
      ${first === "look" && changes && html`<button type="button" class="main" onClick=${look}>Look at the change</button>`}
      ${first === "resolve" && html`<${Act} label="Resolve" kind="main" path=${at("runs", item.run, "land/resolve")} sure=${`Let an agent settle the conflict of ${called(run)} with your files? Its result is a run of its own.`} done=${(told) => go(["runs", told.run])} />`}
      ${wide(item) && html`<button type="button" onClick=${() => approve(item, "run")}>Approve for the whole run</button>`}
      ${item.tool && html`<a class="btn main" href=${item.tool}>Look at the tool</a>`}${!item.run && !item.item ? html`<code>${item.command}</code>` : html`<button type="button" onClick=${() => deny(item, close)}>${item.kind === "review" ? "Drop" : "Deny"} <kbd class="desk">x</kbd></button>`}
      ${back(item) && html`<button type="button" onClick=${() => sendBack(item)}>Send back <kbd class="desk">s</kbd></button>`}</p></div><//>
    ${changes ? html`<${Change} run=${run} />` : run?.commit ? html`<p><a href=${link(["inbox"], { item: item.id, diff: 1 })}>What it has changed so far <kbd class="desk">d</kbd></a></p>` : ""}</div>`;
}

const asks = (item) => item.kind === "question" || item.kind === "permission";
const wide = (item) => ["call", "permission", "budget", "policy", "dispatch"].includes(item.kind);
const back = (item) => item.run && ["landing", "review"].includes(item.kind);

/** The buttons that decide an entry in place: the choices of a question, else approve and deny. */
export const Decide = ({ entry }) => (entry.kind === "question" ? html`${entry.choices.map((choice, i) => html`<button type="button" onClick=${() => say(entry, String(i + 1))}>${choice}</button>`)}<button type="button" class=${entry.choices.length ? "bare" : ""} onClick=${() => answer(entry)}>Answer</button>`
  : html`<button type="button" onClick=${() => approve(entry)}>Approve</button><button type="button" class="bare" onClick=${() => deny(entry)}>Deny</button>`);

async function tried(act, words) {
  try { const done = await act(); tell(words(done)); } catch (problem) { tell(problem); }
}

/** Answers a question. */
export const say = (item, text) => tried(() => post(at("runs", item.run, "answer"), { text }), (done) => `${done.run} continues with the answer: ${done.answer?.text || text}`);

export async function answer(item) {
  if (!asks(item)) return;
  const text = await asked(item.words, "Answer");
  if (text) await say(item, text);
}

async function approve(item, scope = "once") {
  if (item.kind === "review") { if (item.run) await land({ ...item, task: item.title }); return; }
  if (item.kind === "question") return;
  const lands = item.kind === "landing" ? `Its gates run on the merged files first.${item.yes.length ? ` With ${item.yes.join(", ")}.` : ""}` : `It continues${scope === "run" ? `, and is not asked again about ${item.whole || "the same"}` : ""}.`;
  const does = item.kind === "change" ? "It counts at once; pancode config undo takes it back." : lands;
  if (!(await agreed(`Approve “${item.title}” (${item.run})? ${does}`, "Approve", item.approves || item.words))) return;
  await tried(() => post(at("runs", item.run, "approve"), approvalOf(item, scope)), (done) => `${item.run}: ${done.stage ? "approved" : done.status}`);
}

async function deny(item, close) {
  if (item.kind === "review") {
    if (!item.run || !(await agreed(`Drop “${item.title}” (${item.run})? Its change is kept, but it is no longer in the inbox.`, "Drop"))) return;
    await tried(() => post(at("runs", item.run, "land/drop"), {}), () => { close((old) => [...old, item.run]); return `${item.run} is dropped`; });
    return;
  }
  if (item.kind === "call") {
    const text = await asked(`Deny this command of “${item.title}” (${item.run})? Its agent continues without the command, and is told your words.`, "Deny");
    if (text !== null) await tried(() => post(at("runs", item.run, "deny"), { text, call: item.call }), () => `${item.run}: denied`);
    return;
  }
  if (await agreed(`Deny “${item.title}” (${item.run})? It is not asked about again.`, "Deny")) await tried(() => post(at("runs", item.run, "deny"), {}), () => `${item.run}: denied`);
}

async function sendBack(item) {
  if (!back(item)) return;
  const text = await asked(`What is wrong with the change of “${item.title}” (${item.run})? It continues with these words.`, "Send back");
  if (text) await tried(() => post(at("runs", item.run, "continue"), { text }), (done) => `${done.run} continues with your words`);
}
