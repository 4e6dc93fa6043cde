// Runs: the newest first, filters in the address, ten thousand in one window.

import { useEffect, useRef, useState } from "preact/hooks";
import { at, get } from "../lib/api.js";
import { listen } from "../lib/feed.js";
import { go, html, link, useLive, useNow } from "../lib/live.js";
import { Page, RunLink, State, useOnce, When, Why, Window } from "../lib/parts.js";
import { counted, title, took, usd, visible } from "../lib/words.js";

const OUTCOMES = ["running", "pending", "done", "error", "verify_failed", "blocked", "timeout", "stalled", "budget_exceeded", "lost", "infra", "policy_violation", "interrupted"];
const SINCE = [["", "at any time"], ["1h", "in the last hour"], ["1d", "in the last day"], ["7d", "in the last 7 days"]];
const HEIGHT = 58;

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
  const now = useNow();
  const row = (i) => {
    const run = rows[i];
    return html`<span class="what"><${State} run=${run} /> <${RunLink} run=${run.run}>${visible(title(run))}<//></span>
      <span class="facts"><span>${run.run}</span><span>${run.node || "–"}</span><span>${run.agent} / ${run.runtime}</span><span>${took(run, now)}</span>
      <span>${run.state === "ended" || run.usage.cost_usd !== null ? usd(run.usage.cost_usd) : "–"}</span><span><${When} at=${run.created_at} /></span></span><${Why} what=${`run:${run.run}`} />`;
  };
  return html`<${Page} title="Runs" lives=${[live]}><${Filters} query=${query} />
    <p class="quiet" role="status">${live.data ? counted(rows.length, "run") : "reading …"}${rows.length >= 10000 ? ", the newest" : ""}</p>
    ${live.data && !rows.length ? html`<p>No run fits. <a href=${link(["runs"])}>All runs</a></p>` : html`<${Window} count=${rows.length} height=${HEIGHT} row=${row} label="runs" extra="rows" />`}<//>`;
}

function Filters({ query }) {
  const nodes = useOnce("fleet", (data) => data.nodes.map((node) => node.name));
  const agents = useOnce("agents", (data) => data.agents.map((agent) => agent.name));
  const set = (name) => (event) => { const next = { ...query, [name]: event.target.value }; if (!next[name]) delete next[name]; go(["runs"], next); };
  const choice = (name, words, list) => html`<label>${words} <select value=${query[name] || ""} onChange=${set(name)}><option value="">any</option>
    ${[...new Set([...(query[name] ? [query[name]] : []), ...list])].map((one) => html`<option value=${one}>${one.replaceAll("_", " ")}</option>`)}</select></label>`;
  return html`<form class="filters" onSubmit=${(event) => event.preventDefault()}>
    <label>text <input type="search" data-search value=${query.text || ""} onChange=${set("text")} /></label>
    ${choice("outcome", "outcome", OUTCOMES)}${choice("node", "machine", nodes)}${choice("agent", "agent", agents)}
    <label>when <select value=${query.since || ""} onChange=${set("since")}>${[...SINCE, ...(query.since && !SINCE.some(([one]) => one === query.since) ? [[query.since, `since ${query.since}`]] : [])].map(([value, words]) => html`<option value=${value}>${words}</option>`)}</select></label>
    ${query.workflow && html`<span>workflow ${query.workflow}</span>`}${Object.keys(query).length ? html`<a href=${link(["runs"])}>all runs</a>` : ""}</form>`;
}
