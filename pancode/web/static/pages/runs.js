// Runs: the newest first, filters in the address, ten thousand in one window.

import { useEffect, useRef, useState } from "preact/hooks";
import { at, get } from "../lib/api.js";
import { listen } from "../lib/feed.js";
import { go, html, link, useLive, useNow, usePhone } from "../lib/live.js";
import { Empty, Glyph, Page, RunLink, useOnce, When, Window } from "../lib/parts.js";
import { counted, look, plain, stateOf, title, took, usd, visible } from "../lib/words.js";

const OUTCOMES = ["running", "pending", "done", "error", "verify_failed", "blocked", "timeout", "stalled", "budget_exceeded", "lost", "infra", "policy_violation", "interrupted"];
const SINCE = [["", "at any time"], ["1h", "in the last hour"], ["1d", "in the last day"], ["7d", "in the last 7 days"]];

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
  const rows = new Map();
  for (const { data, at: read } of [head, all]) {
    for (const run of data?.runs || []) if (!rows.has(run.run)) rows.set(run.run, fresh[run.run]?.read > read ? fresh[run.run] : run);
  }
  const newer = Object.values(fresh).filter((run) => !rows.has(run.run)).sort((a, b) => b.created_at.localeCompare(a.created_at));
  return { head, rows: [...newer, ...rows.values()] };
}

export function Runs({ query }) {
  const { head: live, rows } = useRuns(query);
  const now = useNow(), phone = usePhone();
  const row = (i) => {
    const run = rows[i], word = stateOf(run), [tone, glyph] = look(word), age = took(run, now);
    const said = html`<span class=${`tone ${tone}`}>${plain(word)}</span>`, task = html`<${RunLink} run=${run.run} kind="t cut">${visible(title(run))}<//>`, moment = html`<${When} at=${run.created_at} />`;
    if (phone) return html`<${Glyph} name=${glyph} tone=${tone} />${task}<span class="sub quiet">${said}, ${run.node || "no machine"}, ${age}</span>${moment}`;
    const cost = run.usage.cost_usd;
    return html`<${Glyph} name=${glyph} tone=${tone} />${said}${task}<span class="quiet">${run.node || "–"}</span><span class="quiet">${run.agent} / ${run.runtime}</span><span class="n">${age}</span>
      <span class=${`n ${run.state === "ended" && cost === null ? "ghost tone" : ""}`}>${run.state === "ended" || cost !== null ? usd(cost) : "–"}</span><span class="n quiet">${moment}</span>`;
  };
  return html`<${Page} title="Runs" lives=${[live]}><${Filters} query=${query} />
    <p class="small quiet" role="status">${live.data ? counted(rows.length, "run") : "reading …"}${rows.length >= 10000 ? ", the newest" : ""}</p>
    <div class="panel runs">${live.data && !rows.length ? html`<${Empty} title="No run fits this filter"><a href=${link(["runs"])}>All runs</a><//>`
      : html`<div class="row titles desk" aria-hidden="true"><span></span><span>State</span><span>Task</span><span>Machine</span><span>Agent</span><span class="n">Took</span><span class="n">Cost</span><span class="n">At</span></div>
        <${Window} count=${rows.length} height=${phone ? 58 : 41} row=${row} label="runs" extra="rows" />`}</div><//>`;
}

function Filters({ query }) {
  const nodes = useOnce("fleet", (data) => data.nodes.map((node) => node.name));
  const agents = useOnce("agents", (data) => data.agents.map((agent) => agent.name));
  const set = (name) => (event) => { const next = { ...query, [name]: event.target.value }; if (!next[name]) delete next[name]; go(["runs"], next); };
  const choice = (name, words, list) => html`<label class="field">${words} <select value=${query[name] || ""} onChange=${set(name)}><option value="">any</option>
    ${[...new Set([...(query[name] ? [query[name]] : []), ...list])].map((one) => html`<option value=${one}>${plain(one)}</option>`)}</select></label>`;
  return html`<form class="choices" onSubmit=${(event) => event.preventDefault()}>
    <label class="field">text <input type="search" data-search value=${query.text || ""} onChange=${set("text")} /></label>
    ${choice("outcome", "outcome", OUTCOMES)}${choice("node", "machine", nodes)}${choice("agent", "agent", agents)}
    <label class="field">when <select value=${query.since || ""} onChange=${set("since")}>${[...SINCE, ...(query.since && !SINCE.some(([one]) => one === query.since) ? [[query.since, `since ${query.since}`]] : [])].map(([value, words]) => html`<option value=${value}>${words}</option>`)}</select></label>
    ${query.workflow && html`<span>workflow ${query.workflow}</span>`}${Object.keys(query).length ? html`<a href=${link(["runs"])}>all runs</a>` : ""}</form>`;
}
