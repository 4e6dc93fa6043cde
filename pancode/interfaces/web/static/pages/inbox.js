// What needs the user: one thing after the other, in its groups, by keyboard; after each decision the next one is shown.

import { useEffect, useRef, useState } from "preact/hooks";
import { ask, at, post, withQuery } from "../lib/api.js";
import { addKeys } from "../lib/keys.js";
import { around, strip } from "../lib/lines.js";
import { go, html, isInboxEvent, link, useLive, useSummary } from "../lib/live.js";
import { agreed, Ago, asked, Empty, Glyph, Id, Page, Panel, Prose, Row, RunLink, State, tell, Warning } from "../lib/parts.js";
import { usd } from "../lib/words.js";
import { Change } from "./rundiff.js";
import { toolIn } from "./tools.js";

/** A need of `/v1/now` as an entry of the list, with the fields of its inbox item. `tool`: the page of a proposed tool. */
export function entryOf(need) {
  const { item, ...rest } = need;
  return { choices: [], yes: [], ...item, ...rest, item, tool: toolIn(need.command), tone: TONES[need.group]?.(need.state) };
}
/** The tone of a need's state by its group; without one, the state has its own: a verified change is green, an unverified one amber. */
const TONES = { asks: () => "warn", failed: () => "bad", pulls: (state) => (state === "check_failed" ? "bad" : "warn"), nodes: (state) => (state === "online" ? "warn" : undefined) };
export const needsOf = (now) => now.groups.flatMap((group) => group.needs.map(entryOf));
/** The address of the page on which the user decides. */
export const hrefOf = (entry, query) => entry.tool || link(["inbox"], { ...query, item: entry.id });
const money = (entry) => (entry.usd === null ? "" : usd(entry.usd));

/** One need as a row: its state, its title, the line that decides, its cost and its age. */
export const NeedRow = ({ entry, query, marked, children, keys }) => html`<${Row} word=${entry.state} of=${entry.tone} marked=${marked} kind=${keys && entry.choices.join("").length > 20 ? "need" : ""} href=${hrefOf(entry, query)} title=${entry.title} why=${whyItem(entry)} keys=${keys}
  facts=${html`${!query && html`<span class="desk">${entry.run || entry.workflow || ""}</span>`}<span class="num">${money(entry)}</span>${entry.since && html`<span class="push"><${Ago} at=${entry.since} /></span>`}`}>${children || (entry.headline !== entry.title && html`<p class="small cut">${entry.headline.replace(/[*`#|]/g, "")}</p>`)}<//>`;

const dismissed = []; // the needs that `z` lists again, newest last

/** The page is arranged once the answer is there, and scrolls only on a key. `view`: only this group. */
export function Inbox({ query }) {
  const summary = useSummary(isInboxEvent), now = summary.data;
  const groups = now ? now.groups.filter((one) => one.count && (!query.view || one.group === query.view)) : [];
  const all = groups.flatMap((group) => group.needs.map(entryOf)), last = useRef(0), box = useRef(null), pressed = useRef(false);
  const found = all.findIndex((one) => [one.id, one.run, one.item?.run].includes(query.item));
  const place = found >= 0 ? found : Math.max(0, Math.min(last.current, all.length - 1)), entry = all[place];
  last.current = place;
  const to = (step) => { if (all.length) { pressed.current = true; last.current = (last.current + step + all.length) % all.length; go(["inbox"], { ...query, item: all[last.current].id }); } };
  const press = (name) => () => { const act = entry?.acts.find((one) => one.key === name); if (act) perform(entry, act); };
  useEffect(() => { if (pressed.current) box.current?.querySelector("[data-marked]")?.scrollIntoView({ block: "nearest" }); pressed.current = false; }, [entry?.id]);
  useEffect(() => addKeys({
    n: ["next thing, undecided", () => to(1)], p: ["thing before", () => to(-1)], d: ["its change", () => entry && go(["inbox"], { ...query, item: entry.id, diff: query.diff ? "" : 1 })],
    l: ["land, approve or resolve it", press("l")], s: ["send it back with words", press("s")], r: ["retry it", press("r")], x: ["deny it", press("x")], a: ["answer it", press("a")],
    e: ["done with it", press("e")], z: ["undo: list again what was done with", undo],
    ...Object.fromEntries((entry?.choices || []).slice(0, 9).map((choice, i) => [String(i + 1), [`answer: ${choice}`, () => say(entry, String(i + 1))]])),
  }));
  return html`<${Page} title="Inbox and review" lives=${[summary]}>${!now ? html`<p class="quiet">reading …</p>` : html`
    ${query.view && html`<p class="small"><a href="#/inbox">Everything that needs you: ${now.count}</a></p>`}
    ${!all.length ? html`<div class="panel"><${Empty} title="Nothing waits for you" /></div>` : html`<div class=${`split ${query.item ? "open" : ""}`}><nav class="stack" aria-label="what waits" ref=${box}>${groups.map((group) => html`<${Panel} key=${group.group} title=${group.title} count=${group.count} tone=${["asks", "failed"].includes(group.group) ? "warn" : ""}><ul>${all.filter((one) => one.group === group.group).map((one) => html`<${NeedRow} key=${one.id} entry=${one} query=${query} marked=${one === entry || undefined} />`)}</ul><//>`)}</nav>
      <${Item} key=${entry.id} item=${entry} diff=${query.diff} place=${`${place + 1} of ${all.length}`} /></div>`}
    <${Notes} notes=${now.money.notes} />`}<//>`;
}

/** Costs that a user must settle. */
export const Notes = ({ notes }) => (notes.length ? html`<${Panel} title="Costs to settle" count=${notes.length}><ul>${notes.map((one) => html`<${Row} key=${one.what} word="budget" href=${one.run ? link(["runs", one.run, "cost"]) : "#/money"} title=${one.task || one.what} facts=${html`${one.task && html`<span>${one.what}</span>`}<code>${one.command}</code>`} />`)}</ul><//>` : "");

/** What `w` tells: of its run or node, or of the change that was asked for. */
export const whyItem = (entry) => (entry.group === "nodes" && entry.node ? `node:${entry.node} ${entry.headline}\n→ ${entry.command}` : entry.run ? `run:${entry.run}` : `change:${entry.words || entry.headline}`);

/** The filled key is the first act; a change that no gate has seen is looked at first. */
function Item({ item, diff, place }) {
  const run = useLive(item.run ? at("runs", item.run) : null, undefined, (event) => event.run === item.run).data;
  const name = item.state === "change" ? "A change of the configuration" : item.run ? html`<${RunLink} run=${item.run}>${item.title}<//> <${Id} id=${item.run} />` : item.title;
  const asks = ["question", "permission"].includes(item.state), changes = run?.commit && (!asks || diff), unseen = item.state === "unverified" && changes;
  const look = () => { const shown = document.querySelector(".change .window"); shown?.scrollIntoView({ block: "center" }); shown?.focus(); };
  const progress = [place, item.agent_minutes === null ? "" : `${Math.round(item.agent_minutes)} min of agents`, money(item)].filter(Boolean).join(", ");
  return html`<div class="stack"><p class="phone"><a class="btn bare" href="#/inbox"><${Glyph} name="back" />Inbox</a></p><p class="small quiet num">${progress}</p>
    <${Panel} title=${name} tone=${item.group === "to_land" ? "" : "warn"} act=${run && html`<${State} run=${run} />`}><div class="pad stack">${item.headline !== item.words && html`<p><b>${item.headline}</b></p>`}${item.state === "question" ? html`<${Prose} text=${item.words} kind="task" />` : item.words && item.words !== item.title && html`<p class="words task" tabindex="0">${item.words}</p>`}${!item.item && run?.answer && html`<h3>Its last words</h3><${Prose} text=${strip(run.answer)} kind="task" />`}${item.approves && item.approves !== item.words && html`<h3>What an approval covers</h3><p class="words task well" tabindex="0">${item.approves}</p>`}${run && run.task !== item.words && run.task !== item.approves && html`<p class="small quiet words task" tabindex="0">${run.task}</p>`}
    ${item.state === "gate_failed" && html`<${Failure} key=${item.run} run=${item.run} />`}
    ${(item.plan?.objections || []).map((one) => html`<${Warning}>${one}<//>`)}
    ${item.yes.length ? html`<${Warning}>It needs your approval of: ${item.yes.join(", ")}<//>` : ""}
    ${item.choices.length ? html`<p class="keys">${item.choices.map((choice, i) => html`<button type="button" onClick=${() => say(item, String(i + 1))}>${i + 1}: ${choice}</button>`)}</p>` : ""}
    ${item.state === "change" && html`<p class="small quiet">Only a user can have it made. <code>pancode config undo</code> takes it back.</p>`}
    <p class="keys">${unseen && html`<button type="button" class="main" onClick=${look}>Look at the change</button>`}${item.tool && html`<a class="btn main" href=${item.tool}>Look at the tool</a>`}${item.state === "gate_failed" && html`<a class="btn" href=${link(["runs", item.run, "gates"])}>Look at the gate</a>`}
      ${item.acts.map((act, i) => html`<button type="button" class=${i || unseen || item.tool ? "" : "main"} onClick=${() => perform(item, act)}>${act.label} <kbd class="desk">${act.key}</kbd></button>`)}${!item.acts.length && html`<code>${item.command}</code>`}</p></div><//>
    ${changes ? html`<${Change} run=${run} />` : run?.commit ? html`<p><a href=${link(["inbox"], { item: item.id, diff: 1 })}>What it has changed so far <kbd class="desk">d</kbd></a></p>` : ""}</div>`;
}

const AROUND = 64 << 10;

/** The lines around the first error of a failed gate, where it has written one. */
function Failure({ run }) {
  const [lines, set] = useState([]);
  useEffect(() => {
    const stop = new AbortController();
    ask(withQuery(at("runs", run, "log"), { stream: "gates.log", last: AROUND }), { signal: stop.signal }).then((answer) => answer.text()).then((text) => set(around(text.split("\n").map(strip))), () => {});
    return () => stop.abort();
  }, [run]);
  return lines.length > 0 && html`<pre class="well words" tabindex="0" aria-label="around its first error">${lines.join("\n")}</pre>`;
}

/** The buttons that decide an entry in place: the choices of a question, and its acts. */
export const Decide = ({ entry }) => html`${entry.choices.map((choice, i) => html`<button type="button" onClick=${() => say(entry, String(i + 1))}>${choice}</button>`)}${entry.acts.filter((act) => act.key !== "L").map((act, i) => html`<button type="button" class=${i || entry.choices.length ? "bare" : ""} onClick=${() => perform(entry, act)}>${act.label}</button>`)}`;

async function tried(act, words) {
  try { const done = await act(); tell(words(done)); } catch (problem) { tell(problem); }
}

/** Does what an act says: asks first what it asks, then sends its request. */
async function perform(entry, act) {
  const first = act.key === "s" && entry.state === "gate_failed" ? `A gate failed: ${entry.headline}. Find the cause and repair it.` : "";
  const text = act.takes_text ? await asked(act.asks, act.label, first) : "";
  if (act.takes_text ? text === null || (!text && act.name !== "deny") : act.asks && !(await agreed(act.asks, act.label, entry.approves || entry.words))) return;
  await tried(() => post(act.path.replace("/v1/", ""), { ...act.body, ...(act.takes_text && { text }) }), (done) => {
    if (act.is_undoable) dismissed.push(entry.id);
    return act.is_undoable ? `done with “${entry.title}”; z lists it again` : `${done.run || entry.title}: ${act.name === "answer" ? `continues with the answer: ${done.answer?.text || text}` : done.why || done.status || act.label}`;
  });
}

async function undo() {
  const need = dismissed.pop();
  if (!need) return tell("Nothing to undo: only “done with it” can be taken back.");
  await tried(() => post(at("needs", need, "undo")), () => "It is listed again.");
  go(["inbox"], { item: need });
}

/** Answers a question. */
export const say = (item, text) => tried(() => post(at("runs", item.run, "answer"), { text }), (done) => `${done.run} continues with the answer: ${done.answer?.text || text}`);

export async function answer(item) {
  const text = await asked(item.words, "Answer");
  if (text) await say(item, text);
}
