// Runs: sorted by a column and grouped by what is alike in it, views and filters in the address, several marked and acted on; ten thousand in one window.

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { actOnAll, REFUSES, waitsToLand } from "../lib/acts.js";
import { at, get } from "../lib/api.js";
import { listen } from "../lib/feed.js";
import { addKeys } from "../lib/keys.js";
import { go, html, link, useLive, useNow, usePhone, useWide } from "../lib/live.js";
import { Act, Badge, Cost, Empty, Glyph, Id, Page, Panel, RunLink, tell, Trouble, useOnce, Window } from "../lib/parts.js";
import { formatTimeline } from "../lib/timeline.js";
import { called, clock, counted, look, plain, reasonOf, stateOf, title, took, usd, when } from "../lib/words.js";
import { Timeline } from "./runtimeline.js";

const OUTCOMES = ["running", "pending", "done", "error", "gate_failed", "asks_you", "timeout", "stalled", "budget_exceeded", "lost", "infra", "policy_violation", "stopped"];
const SINCE = [["", "at any time"], ["1h", "in the last hour"], ["1d", "in the last day"], ["7d", "in the last 7 days"]];
/** Statuses of runs that wait for a node or for a message of the user. */
const WAITS = ["waiting", "placed", "waiting_for_you"];
/** Looks at what has been read; the other filters are the coordinator's. */
const VIEWS = {
  running: ["Running", (run) => run.state !== "ended" && !["unknown", ...WAITS].includes(stateOf(run))], waits: ["Waiting", (run) => WAITS.includes(stateOf(run))], asks: ["Asks you", (run) => stateOf(run) === "asks_you"],
  failed: ["Failed", (run) => run.state === "ended" && look(stateOf(run))[0] === "bad"], land: ["To land", waitsToLand], unknown: ["Unknown", (run) => stateOf(run) === "unknown"],
};
const lasted = (run) => (run.started_at ? (run.finished_at ? Date.parse(run.finished_at) : Date.now()) - Date.parse(run.started_at) : -1);
/** Columns: heading, what is compared, whether it is a number. */
const COLUMNS = {
  state: ["State", stateOf], task: ["Task", title], machine: ["Node", (run) => run.node || ""], agent: ["Agent", (run) => run.agent],
  took: ["Took", lasted, true], cost: ["Cost", (run) => Number(run.usage.cost_usd ?? -1), true], at: ["At", (run) => run.created_at, true],
};

/** The newest 200 at once, all others behind them, then each run that an event names. */
function useRuns(query) {
  const words = JSON.stringify(query);
  const head = useLive("runs", { limit: 200, ...query }, () => false);
  const all = useLive(head.data?.runs.length === 200 ? "runs" : null, { limit: 10000, ...query }, () => false);
  const [fresh, set] = useState({});
  const again = useRef();
  again.current = head.again;
  useEffect(() => {
    set({});
    const filtered = words !== "{}";
    let wanted = new Set(), timer = 0;
    const read = async () => {
      timer = 0;
      const ids = [...wanted];
      wanted = new Set();
      if (ids.length > 20 || filtered) { again.current(); return; }
      const shapes = await Promise.all(ids.map((id) => get(at("runs", id, "brief")).catch(() => null)));
      set((old) => ({ ...old, ...Object.fromEntries(shapes.filter(Boolean).map((run) => [run.run, { ...run, read: Date.now() }])) }));
    };
    const deaf = listen((event) => {
      if (event.kind === "reset") { again.current(); return; }
      if (!event.run || (filtered && event.kind === "run.usage")) return;
      wanted.add(event.run);
      timer ||= setTimeout(read, filtered ? 500 : 60);
    });
    return () => { deaf(); clearTimeout(timer); };
  }, [words]);
  const rows = useMemo(() => {
    const known = new Map();
    for (const { data, at: read } of [head, all]) {
      for (const run of data?.runs || []) if (!known.has(run.run)) known.set(run.run, fresh[run.run]?.read > read ? fresh[run.run] : run);
    }
    const newer = Object.values(fresh).filter((run) => !known.has(run.run)).sort((a, b) => b.created_at.localeCompare(a.created_at));
    return [...newer, ...known.values()];
  }, [head.data, all.data, fresh]);
  return { head, rows };
}

function sorted(rows, sort) {
  const down = sort[0] === "-", by = COLUMNS[sort.replace("-", "")]?.[1];
  if (!by) return rows;
  const keyed = rows.map((run) => [by(run), run]).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0) * (down ? -1 : 1));
  return keyed.map(([, run]) => run);
}

/** Columns in which many rows are alike, and what the heading before such rows says. */
const GROUPS = { at: (run) => new Date(run.created_at).toDateString(), state: (run) => plain(stateOf(run)), machine: (run) => run.node || "no node", agent: (run) => run.agent };

/** The sorted rows with a heading before each group that the column makes: {group, runs, usd, unknown}. */
function grouped(rows, column) {
  const found = [], of = GROUPS[column];
  if (!of) return rows;
  let group = null;
  for (const run of rows) {
    const name = of(run);
    if (group?.group !== name) found.push(group = { group: name, runs: 0, usd: 0, unknown: 0 });
    group.runs += 1;
    group.usd += Number(run.usage.cost_usd || 0);
    group.unknown += unpriced(run) ? 1 : 0;
    found.push(run);
  }
  return found;
}
const unpriced = (run) => run.state === "ended" && run.usage.cost_usd === null;

const DAY = new Intl.DateTimeFormat("en-GB", { weekday: "long", day: "numeric", month: "long" });
function dayOf(name) {
  const back = Math.round((new Date().setHours(0, 0, 0, 0) - new Date(name)) / 86400000);
  return ["Today", "Yesterday"][back] || DAY.format(new Date(name));
}
function Group({ of, column }) {
  return html`<b>${column === "at" ? dayOf(of.group) : of.group}</b><span>${counted(of.runs, "run")}</span><span class="num">${usd(String(of.usd), of.unknown)}</span>${of.unknown ? html`<span class="ghost tone">${of.unknown} of unknown cost</span>` : ""}`;
}

export function Runs({ query }) {
  const { view, sort = "-at", run: peek, ...asked } = query;
  const { head: live, rows: read } = useRuns(asked);
  const column = sort.replace("-", "");
  const phone = usePhone(), beside = useWide(), now = useNow();
  const [marked, mark] = useState(new Set());
  const entries = useMemo(() => {
    const some = sorted(VIEWS[view] ? read.filter(VIEWS[view][1]) : read, sort === "-at" ? "" : sort);
    return grouped(some, column);
  }, [read, view, sort]);
  const runs = useMemo(() => entries.filter((one) => !one.group), [entries]);
  const chosen = useMemo(() => read.filter((run) => marked.has(run.run)), [read, marked]);
  const last = useRef(-1);
  const toggle = (i, range) => {
    const next = new Set(marked), on = !next.has(entries[i].run);
    const [from, to] = range && last.current >= 0 ? [Math.min(i, last.current), Math.max(i, last.current)] : [i, i];
    for (const run of entries.slice(from, to + 1)) if (!run.group) next[on ? "add" : "delete"](run.run);
    last.current = i;
    mark(next);
  };
  const act = async (verb) => {
    const able = chosen.filter((run) => !REFUSES[verb](run));
    if (!able.length) return;
    const done = await actOnAll(verb, able);
    mark((old) => new Set([...old].filter((run) => !done.includes(run))));
  };
  const keys = useRef();
  keys.current = { x: () => { const row = document.activeElement?.closest("[data-i]"); if (row && !entries[row.dataset.i]?.group) toggle(Number(row.dataset.i)); }, s: () => act("stop"), r: () => act("retry"), l: () => act("land"), u: () => mark(new Set()) };
  useEffect(() => addKeys(Object.fromEntries(Object.entries({ x: "mark this run", u: "mark none", s: "stop what is marked", r: "retry what is marked", l: "land what is marked" }).map(([key, words]) => [key, [words, (event) => keys.current[key](event)]]))), []);
  const row = (i) => {
    const run = entries[i];
    if (run.group) return html`<${Group} of=${run} column=${column} />`;
    const word = stateOf(run), [tone, glyph] = look(word), reason = reasonOf(run), age = took(run, now);
    const pick = html`<span class="pick"><${Glyph} name=${glyph} tone=${tone} /><input type="checkbox" aria-label=${`mark ${called(run)}`} checked=${marked.has(run.run)} onClick=${(event) => toggle(i, event.shiftKey)} /></span>`;
    const task = beside && peek !== run.run ? html`<a class="t cut" data-why=${`run:${run.run}`} href=${link(["runs"], { ...query, run: run.run })}>${title(run)}</a>` : html`<${RunLink} run=${run.run} kind="t cut">${title(run)}<//>`, said = html`<span class=${`tone ${tone}`}>${plain(word)}</span>`;
    const moment = html`<time class="n quiet" datetime=${run.created_at} title=${run.created_at}>${column === "at" ? clock(run.created_at) : when(run.created_at)}</time>`;
    if (phone) return html`${pick}${task}<span class="sub quiet cut"><span class=${`tone ${tone}`}>${reason || plain(word)}</span>, ${run.node || "no node"}, ${age}</span>${moment}`;
    return html`${pick}${said}<span class="what">${task}${reason && html`<span class=${`cut tone ${tone}`}>${reason}</span>`}</span><span class="quiet">${run.node || "–"}</span><span class="quiet">${run.agent} / ${run.runtime}</span><span class="n">${age}</span>
      <span class="n"><${Cost} run=${run} /></span>${moment}`;
  };
  const by = (name) => link(["runs"], { ...query, sort: sort === `-${name}` ? name : sort === name || COLUMNS[name][2] ? `-${name}` : name });
  return html`<${Page} title="Runs" lives=${[live]} actions=${html`${query.view === "failed" && html`<${Act} label="Recover" path="recover" sure="Let all of the last day that ended badly continue? A fault of a node does the work once more; else a new run continues from the files that are left." done=${(done) => tell(done.runs.map((one) => `${one.run}: ${one.next || one.error || one.how}`).join("; ") || "nothing of the last day can continue")} />`}<p class="small quiet" role="status">${live.data ? counted(runs.length, "run") : "reading …"}${read.length >= 10000 ? ", of the newest" : ""}</p>`}><${Views} query=${query} rows=${read} /><${Filters} query=${query} phone=${phone} />
    <div class=${beside ? "beside" : ""}><div class="panel runs">${live.data && !runs.length ? html`<${Empty} title="No run fits this filter"><a href=${link(["runs"])}>All runs</a><//>`
      : html`<div class="row titles desk"><span></span>${Object.entries(COLUMNS).map(([name, [words, , number]]) => html`<a class=${number ? "n" : ""} href=${by(name)}>${words}${column === name ? html`<span class="sr">, sorted</span> ${sort[0] === "-" ? "↓" : "↑"}` : ""}</a>`)}</div>
        <${Window} count=${entries.length} height=${phone ? 58 : 41} row=${row} label="runs" extra="rows" rowClass=${(i) => (entries[i].group ? "group" : marked.has(entries[i].run) || (beside && entries[i].run === peek) ? "picked" : "")} />`}</div>
      ${beside && html`<aside class="stack" aria-label="the chosen run">${peek ? html`<${Peek} key=${peek} id=${peek} />` : html`<div class="panel"><${Empty} title="Choose a run">Enter shows it here, and once more opens its page.<//></div>`}</aside>`}</div>
    ${chosen.length ? html`<${Marks} runs=${chosen} act=${act} none=${() => mark(new Set())} />` : ""}<//>`;
}

/** A run beside the list: its state, its timeline, where its time went; one key opens its page. */
function Peek({ id }) {
  const live = useLive(at("runs", id), undefined, (event) => event.run === id);
  const why = useLive(at("runs", id, "why"), undefined, (event) => event.run === id && event.kind !== "run.usage");
  const run = live.data, now = useNow();
  if (live.error) return html`<${Trouble} problem=${live.error} />`;
  if (!run) return html`<p>reading …</p>`;
  return html`<${Panel} title=${html`<${RunLink} run=${id}>${title(run)}<//> <${Id} id=${id} />`} act=${html`<${Badge} word=${stateOf(run)} />`}><p class="words task pad" tabindex="0" aria-label="task">${run.task}</p><p class="pad small">${formatTimeline(run, why.data, now).join(" ")}</p>
      <p class="keys pad"><a class="btn" href=${link(["runs", id])}>Open</a><a class="btn" href=${link(["runs", id, "log"])}>Log</a>${run.commit && html`<a class="btn" href=${link(["runs", id, "diff"])}>Change</a>`}</p><//>
    <${Panel} title="Timeline"><${Timeline} run=${run} /><//>`;
}

/** What can be done with the marked runs; and what cannot, and why. */
function Marks({ runs, act, none }) {
  const able = (verb) => runs.filter((run) => !REFUSES[verb](run)).length;
  const why = {};
  for (const run of runs) { const words = REFUSES.land(run); if (words) why[words] = (why[words] || 0) + 1; }
  const key = (verb, words, kind) => { const count = able(verb); return count ? html`<button type="button" class=${kind} onClick=${() => act(verb)}>${words} ${count}</button>` : ""; };
  const cannot = Object.entries(why).map(([words, count]) => `${count} ${words}`).join(", ");
  return html`<section class="bar panel keys" aria-label="what is marked"><b>${runs.length} marked</b>${key("stop", "Stop", "stop")}${key("retry", "Retry", "")}${key("land", "Land", "main")}
    ${cannot && html`<span class="small quiet" role="status">cannot land: ${cannot}</span>`}<button type="button" class="bare" onClick=${none}>Mark none</button></section>`;
}

const KEPT = "pancode-views";
const kept = () => { try { return Object.entries(JSON.parse(localStorage.getItem(KEPT)) || {}); } catch { return []; } };

/** Views of everybody with their counts, then those that this browser keeps. */
function Views({ query, rows }) {
  const [mine, set] = useState(kept);
  const keep = (list) => { localStorage.setItem(KEPT, JSON.stringify(Object.fromEntries(list))); set(list); };
  const counts = useMemo(() => Object.fromEntries(Object.entries(VIEWS).map(([name, [, fits]]) => [name, rows.filter(fits).length])), [rows]);
  const { sort, run, ...rest } = query, here = JSON.stringify(query);
  const words = Object.entries(query).filter(([name]) => name !== "sort").map(([name, value]) => (name === "view" ? VIEWS[value]?.[0] || value : `${name} ${value}`)).join(", ");
  const place = (to, label, count, now) => html`<a class="btn bare" href=${link(["runs"], to)} aria-current=${now ? "page" : undefined}>${label}${count ? html` <b class="num">${count}</b>` : ""}</a>`;
  const saved = mine.some(([, one]) => JSON.stringify(one) === here);
  return html`<nav class="keys views" aria-label="views">${place({ sort }, "All", 0, !Object.keys(rest).length)}${Object.entries(VIEWS).map(([name, [label]]) => place({ ...query, view: query.view === name ? "" : name }, label, counts[name], query.view === name))}
    ${mine.map(([name, one]) => html`<span>${place(one, name, 0, JSON.stringify(one) === here)}</span>`)}
    ${words && html`<button type="button" class="bare desk" onClick=${() => { keep(saved ? mine.filter(([, one]) => JSON.stringify(one) !== here) : [...mine, [words, query]]); tell(saved ? "The view is forgotten" : `This browser keeps the view ${words}`); }}>${saved ? "Forget this view" : "Save view"}</button>`}</nav>`;
}

function Filters({ query, phone }) {
  const nodes = useOnce("fleet", (data) => data.nodes.map((node) => node.name));
  const agents = useOnce("agents", (data) => data.agents.map((agent) => agent.name));
  const set = (name) => (event) => { const next = { ...query, [name]: event.target.value }; if (!next[name]) delete next[name]; go(["runs"], next); };
  const choice = (name, list) => html`<label class="field">${name} <select value=${query[name] || ""} onChange=${set(name)}><option value="">any</option>
    ${[...new Set([...(query[name] ? [query[name]] : []), ...list])].map((one) => html`<option value=${one}>${plain(one)}</option>`)}</select></label>`;
  const form = html`<form class="choices" onSubmit=${(event) => event.preventDefault()}>
    <label class="field">text <input type="search" data-search value=${query.text || ""} onChange=${set("text")} /></label>
    ${choice("outcome", OUTCOMES)}${choice("node", nodes)}${choice("agent", agents)}
    <label class="field">when <select value=${query.since || ""} onChange=${set("since")}>${[...SINCE, ...(query.since && !SINCE.some(([one]) => one === query.since) ? [[query.since, `since ${query.since}`]] : [])].map(([value, words]) => html`<option value=${value}>${words}</option>`)}</select></label>
    ${query.workflow && html`<span>workflow ${query.workflow}</span>`}</form>`;
  return phone ? html`<details open=${["text", "outcome", "node", "agent", "since"].some((name) => query[name])}><summary class="small quiet"><span class="fold"><${Glyph} name="fold" /></span>Filters</summary>${form}</details>` : form;
}
