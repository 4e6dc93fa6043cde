// Inbox and review: one thing after the other, by keyboard: next, diff, land, send back, answer.

import { useEffect, useRef, useState } from "preact/hooks";
import { askedFor, land, REFUSES, yesTo } from "../lib/acts.js";
import { at, post } from "../lib/api.js";
import { addKeys } from "../lib/keys.js";
import { go, html, link, useLive } from "../lib/live.js";
import { Act, agreed, Ago, asked, Empty, Glyph, Page, Panel, Row, RunLink, State, tell, Warning } from "../lib/parts.js";
import { stateOf, urgent } from "../lib/words.js";
import { Change } from "./rundiff.js";
import { toolIn } from "./tools.js";

const moves = (event) => /^inbox|run.ended|run.landing/.test(event.kind);

/** What waits for a user, then changes that nobody has landed or sent back. */
export function Inbox({ query }) {
  const inbox = useLive("inbox", undefined, moves);
  const runs = useLive("landings/review", undefined, moves);
  const [shut, close] = useState([]);
  const items = inbox.data?.items || [];
  const waits = new Set(items.map((item) => item.run));
  const review = (runs.data?.runs || []).filter((run) => !waits.has(run.run) && !shut.includes(run.run)).reverse()
    .map((run) => ({ id: run.run, run: run.run, kind: "review", outcome: stateOf(run) === "done" ? "review" : stateOf(run), since: run.finished_at, words: run.task, choices: [], yes: [] }));
  const sorted = urgent(review), all = [...items, ...sorted], shown = new Set(all.map((one) => one.run));
  const also = (inbox.data?.also || []).filter((one) => !one.outcome || !shown.has(one.run));
  const place = Math.max(0, all.findIndex((item) => [item.id, item.run].includes(query.item)));
  const item = all[place];
  const to = (step) => all.length && go(["inbox"], { ...query, item: all[(place + step + all.length) % all.length].id });
  const act = (fn) => () => item && fn(item);
  const box = useRef(null);
  useEffect(() => { box.current?.querySelector("[data-marked]")?.scrollIntoView({ block: "nearest" }); }, [item?.id]);
  useEffect(() => addKeys({
    n: ["next item", () => to(1)], p: ["item before", () => to(-1)], d: ["its change", () => item && go(["inbox"], { item: item.id, diff: query.diff ? "" : 1 })],
    l: ["land or approve it", act((one) => approve(one))], x: ["deny it", act((one) => deny(one, close))], s: ["send it back with words", act(sendBack)], a: ["answer it", act(answer)],
  }));
  const list = (title, some) => some.length ? html`<${Panel} title=${title} count=${some.length} tone=${some === items ? "warn" : ""}><ul>${some.map((one) => html`<${Row} key=${one.id} word=${one.outcome || one.kind} of=${one.kind === "review" ? undefined : "warn"} marked=${one === item || undefined}
    href=${link(["inbox"], { ...query, item: one.id })} title=${one.words.split("\n")[0].slice(0, 120)} why=${whyItem(one)} facts=${html`<span>${one.run}</span><span class="push"><${Ago} at=${one.since} /></span>`} />`)}</ul><//>` : "";
  return html`<${Page} title="Inbox and review" lives=${[inbox, runs]}>
    ${also.length ? html`<${Panel} title="Also" count=${also.length}><ul>${also.map((one) => html`<${Row} key=${one.command} word=${one.outcome || "look"} of=${one.outcome ? undefined : "warn"} href=${toolIn(one.command) || (one.run ? link(["runs", one.run]) : undefined)} title=${[one.what, one.task].filter(Boolean).join(": ")} facts=${html`<code>${one.command}</code>`} />`)}</ul><//>` : ""}
    ${!all.length ? (also.length ? "" : html`<div class="panel"><${Empty} title="Nothing waits for you" /></div>`) : html`<div class=${`split ${query.item ? "open" : ""}`}><nav class="stack" aria-label="what waits" ref=${box}>${list("Waits for you", items)}${list("To review", sorted)}</nav>
      <${Item} key=${item.id} item=${item} diff=${query.diff} close=${close} /></div>`}<//>`;
}

/** What `w` tells: of its run, or of the change that was asked for. */
export const whyItem = (item) => (item.kind === "change" ? `change:${item.words}` : `run:${item.run}`);

/** The filled key: what is asked for is answered or approved; a change asks for what its state asks for, and never to be landed unseen. */
function firstOf(item, run) {
  if (asks(item)) return "answer";
  if (item.kind !== "review" && item.kind !== "landing") return "approve";
  const act = run ? askedFor(run) : "";
  return { land: "approve", look: "look", resolve: "resolve", gate: "gate" }[act] || (act ? "look" : item.kind === "landing" && run?.landing?.status !== "conflict" ? "approve" : "");
}

function Item({ item, diff, close }) {
  const change = item.kind === "change";
  const live = useLive(change ? "inbox" : at("runs", item.run), undefined, (event) => event.run === item.run);
  const run = change ? undefined : live.data;
  const title = change ? "A change of the configuration" : html`<${RunLink} run=${item.run} />`;
  const changes = run?.commit && (!asks(item) || diff), first = firstOf(item, run), kind = (name) => (name === first ? "main" : "");
  const look = () => { const shown = document.querySelector(".change .window"); shown?.scrollIntoView({ block: "center" }); shown?.focus(); };
  return html`<div class="stack"><p class="phone"><a class="btn bare" href="#/inbox"><${Glyph} name="back" />Inbox</a></p>
    <${Panel} title=${title} tone=${item.kind === "review" ? "" : "warn"} act=${run && html`<${State} run=${run} />`}><div class="pad stack"><p class="words task" tabindex="0">${item.words}</p>${item.kind !== "review" && run && html`<p class="small quiet words task">${run.task}</p>`}
    ${(item.plan?.objections || []).map((one) => html`<${Warning}>${one}<//>`)}
    ${item.yes.length ? html`<${Warning}>It needs a yes to: ${item.yes.join(", ")}<//>` : ""}
    ${item.choices.length ? html`<p class="keys">${item.choices.map((choice, i) => html`<button type="button" onClick=${() => say(item, String(i + 1))}>${i + 1}: ${choice}</button>`)}</p>` : ""}
    ${item.kind === "change" && html`<p class="small quiet">Only a user can have it made. <code>pancode config undo</code> takes it back.</p>`}
    <p class="keys">${asks(item) && html`<button type="button" class="main" onClick=${() => answer(item)}>Answer <kbd class="desk">a</kbd></button>`}
      ${first === "gate" && html`<a class="btn main" href=${link(["runs", item.run, "gates"])}>Look at the gate</a><${Act} label="Retry" path=${at("runs", item.run, "retry")} sure=${`Run the task of ${item.run} once more, from the beginning?`} done=${(told) => go(["runs", told.run])} />`}
      ${item.kind !== "question" && !(item.kind === "review" && run && REFUSES.land(run)) && html`<button type="button" class=${kind("approve")} onClick=${() => approve(item)}>${item.kind === "review" ? "Land" : "Approve"} <kbd class="desk">l</kbd></button>`}
      ${first === "look" && changes && html`<button type="button" class="main" onClick=${look}>Look at the change</button>`}
      ${first === "resolve" && html`<${Act} label="Resolve" kind="main" path=${at("runs", item.run, "land/resolve")} sure=${`Let an agent settle the conflict of ${item.run} with your files? Its result is a run of its own.`} done=${(told) => go(["runs", told.run])} />`}
      ${wide(item) && html`<button type="button" onClick=${() => approve(item, "run")}>Approve for the whole run</button>`}
      <button type="button" onClick=${() => deny(item, close)}>${item.kind === "review" ? "Put aside" : "Deny"} <kbd class="desk">x</kbd></button>
      ${back(item) && html`<button type="button" onClick=${() => sendBack(item)}>Send back <kbd class="desk">s</kbd></button>`}</p></div><//>
    ${changes ? html`<${Change} run=${run} />` : run?.commit ? html`<p><a href=${link(["inbox"], { item: item.id, diff: 1 })}>What it has changed so far <kbd class="desk">d</kbd></a></p>` : ""}</div>`;
}

const asks = (item) => item.kind === "question" || item.kind === "permission";
const wide = (item) => ["call", "permission", "budget", "policy", "dispatch"].includes(item.kind);
const back = (item) => item.kind === "landing" || item.kind === "review";

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
  if (item.kind === "review") { await land(item); return; }
  if (item.kind === "question") return;
  const lands = item.kind === "landing" ? `Its gates run on the merged files first.${item.yes.length ? ` With ${item.yes.join(", ")}.` : ""}` : `It continues${scope === "run" ? `, and is not asked again about ${item.whole || "the same"}` : ""}.`;
  const does = item.kind === "change" ? "It counts at once; pancode config undo takes it back." : lands;
  if (!(await agreed(`Approve ${item.run}? ${does}`, "Approve"))) return;
  await tried(() => post(at("runs", item.run, "approve"), yesTo(item, scope)), (done) => `${item.run}: ${done.stage ? "approved" : done.status}`);
}

async function deny(item, close) {
  if (item.kind === "review") {
    if (!(await agreed(`Put the change of ${item.run} aside? It is kept, and asked about no more.`, "Put aside"))) return;
    await tried(() => post(at("runs", item.run, "land/drop"), {}), () => { close((old) => [...old, item.run]); return `${item.run} is put aside`; });
    return;
  }
  if (item.kind === "call") {
    const text = await asked(`Deny this command of ${item.run}? Its agent continues without the command, and is told your words.`, "Deny");
    if (text !== null) await tried(() => post(at("runs", item.run, "deny"), { text, call: item.call }), () => `${item.run}: denied`);
    return;
  }
  if (await agreed(`Deny ${item.run}? It is not asked about again.`, "Deny")) await tried(() => post(at("runs", item.run, "deny"), {}), () => `${item.run}: denied`);
}

async function sendBack(item) {
  if (!back(item)) return;
  const text = await asked(`What is wrong with the change of ${item.run}? It continues with these words.`, "Send back");
  if (text) await tried(() => post(at("runs", item.run, "continue"), { text }), (done) => `${done.run} continues with your words`);
}
