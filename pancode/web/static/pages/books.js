// Money: spent, held and left in each scope, and what work has cost. Audit: what happened, and whether its chain holds.

import { useState } from "preact/hooks";
import { get, post } from "../lib/api.js";
import { go, html, link, useLive } from "../lib/live.js";
import { asked, Badge, Bar, Page, RunLink, tell, When, Why, Window } from "../lib/parts.js";
import { counted, many, usd, visible } from "../lib/words.js";

const BY = ["day", "agent", "model", "node", "repository", "runtime", "outcome"];
const moves = (event) => ["run.ended", "budget.alert", "run.queued"].includes(event.kind);

export function Money() {
  const live = useLive("budget", { all: 1 }, moves);
  const budget = live.data;
  return html`<${Page} title="Money" lives=${[live]}>${budget && html`<p>${counted(budget.runs, "run")} today; the next one is estimated at ${usd(budget.estimate_next_usd)}.</p>
    ${budget.notes.map((note) => html`<p class="warn">${note}</p>`)}
    <h2>Ceilings</h2><ul class="rows cards">${budget.scopes.map((scope) => html`<${Scope} key=${scope.scope} scope=${scope} again=${live.again} />`)}</ul>`}<${Charts} /><//>`;
}

const disputed = (of) => Number(of.disputed_usd) ? html` <b class="warn">${usd(of.disputed_usd)} disputed</b>` : "";

function Scope({ scope, again }) {
  const [spent, held, most] = [scope.spent_usd, scope.held_usd, scope.ceiling_usd].map(Number);
  const capped = scope.ceiling_usd !== null;
  const name = scope.scope.startsWith("day:") ? "day" : scope.scope.replace(/^(week|month):.*/, "$1");
  const set = async () => {
    const text = await asked(`The ceiling of ${name} in USD`, "Set", scope.ceiling_usd || "");
    if (!text) return;
    try { await post("budget/ceiling", { scope: name, usd: text.trim() }); again(); } catch (problem) { tell(problem); }
  };
  const why = [`${scope.scope}: ${usd(scope.spent_usd)} spent, ${usd(scope.held_usd)} held for runs that have not ended`, capped ? `its ceiling of ${usd(scope.ceiling_usd)} comes from: ${scope.origin}` : "it has no ceiling", scope.unknown_runs ? `${counted(scope.unknown_runs, "run")} of unknown cost: pancode budget settle` : ""].filter(Boolean).join("\n");
  return html`<li data-row><div><b>${visible(scope.scope)}</b> ${scope.over ? html`<b class="warn">over its ceiling</b>` : ""}</div>
    <div class="facts"><span>${usd(scope.spent_usd)} spent</span><span>${usd(scope.held_usd)} held</span><span>${capped ? `${usd(scope.remaining_usd)} left of ${usd(scope.ceiling_usd)}` : "no ceiling"}</span><span>${many(scope.tokens)} tokens${scope.ceiling_tokens ? ` of ${many(scope.ceiling_tokens)}` : ""}</span>
      <span>${scope.agent_minutes} min${scope.ceiling_minutes ? ` of ${scope.ceiling_minutes}` : ""}</span>${scope.unknown_runs ? html`<span class="warn">${counted(scope.unknown_runs, "run")} of unknown cost</span>` : ""}${disputed(scope)}</div>
    ${capped && html`<${Bar} used=${spent} held=${held} most=${most} label=${`${usd(spent)} of ${usd(most)} spent, ${usd(held)} held`} />`}
    <div class="keys">${/^(day|week|month|node|agent|repo)\b/.test(name) && html`<button type="button" class="small" onClick=${set}>set ceiling</button>`}<${Why} what=${`money:${why}`} /></div></li>`;
}

function Charts() {
  const [by, set] = useState("day");
  const [since, setSince] = useState("30d");
  const live = useLive("cost", { by, since, limit: 30 }, moves);
  const rows = by === "day" ? [...(live.data?.rows || [])].sort((a, b) => String(a.key).localeCompare(String(b.key))) : live.data?.rows || [];
  return html`<section aria-labelledby="c1"><h2 id="c1">Cost</h2><div class="filters"><label>by <select value=${by} onChange=${(event) => set(event.target.value)}>${BY.map((one) => html`<option>${one}</option>`)}</select></label>
    <label>since <select value=${since} onChange=${(event) => setSince(event.target.value)}>${[["1d", "a day"], ["7d", "7 days"], ["30d", "30 days"], ["52w", "a year"]].map(([value, words]) => html`<option value=${value}>${words}</option>`)}</select></label></div>
    ${live.error && html`<p class="warn">${live.error.message}</p>`}
    ${live.data && html`<p>${usd(live.data.total.usd)} for ${counted(live.data.total.runs, "run")}, ${many(live.data.total.tokens)} tokens${live.data.total.unknown_runs ? html`; <b class="warn">${counted(live.data.total.unknown_runs, "run")} of unknown cost are not in it</b>` : ""}${disputed(live.data.total)}</p><${Chart} rows=${rows} />`}</section>`;
}

/** Bars by money; where all of it is free, by minutes. */
function Chart({ rows }) {
  if (!rows.length) return html`<p class="quiet">No run has ended since.</p>`;
  const free = rows.every((row) => Number(row.usd) === 0);
  const value = (row) => (free ? row.agent_minutes : Number(row.usd));
  const most = Math.max(...rows.map(value), 1e-9);
  return html`<table class="chart"><caption class="quiet">${free ? "by minutes: nothing was paid for" : "in USD"}</caption><thead><tr><th scope="col">name</th><th scope="col">runs</th><th scope="col">${free ? "minutes" : "USD"}</th><th scope="col">share</th></tr></thead>
    <tbody>${rows.map((row) => html`<tr key=${row.key}><th scope="row">${visible(row.key ?? "none")}</th><td>${row.runs}</td><td>${free ? row.agent_minutes : usd(row.usd)}</td><td><${Bar} used=${value(row) * 0.79} most=${most} label=${`${Math.round((100 * value(row)) / most)} % of the largest`} /></td></tr>`)}</tbody></table>`;
}

// -- audit ---------------------------------------------------------------------------------------------

const DOMAINS = ["budget", "config", "dispatch", "fleet", "land", "people", "receipt", "schedule", "trust"];

export function Audit({ query }) {
  const live = useLive("audit", { limit: 2000, ...query }, (event) => /^(audit|run\.(queued|stage|ended))$/.test(event.kind));
  const [verdict, set] = useState(null);
  const rows = live.data?.audit || [];
  const put = (name) => (event) => { const next = { ...query, [name]: event.target.value.trim() }; if (!next[name]) delete next[name]; go(["audit"], next); };
  const verify = async () => { try { set(await get("audit/verify")); } catch (problem) { tell(problem); } };
  const row = (i) => { const one = rows[i]; return html`<span class="what"><${Badge} word=${one.level} of=${{ info: "ok", warning: "warn", error: "bad" }[one.level]} /> <b>${visible(one.what)}</b> ${one.run && html`<${RunLink} run=${one.run} />`}</span>
    <span class="facts"><span><${When} at=${one.at} /></span><span>${one.domain}</span><span>${visible(Object.entries(one.detail).map(([key, value]) => `${key}: ${typeof value === "string" ? value : JSON.stringify(value)}`).join(", "))}</span></span>
    <${Why} what=${one.run ? `run:${one.run}` : `entry:entry ${one.number}, ${one.at}\n${JSON.stringify(one.detail, null, 1)}`} />`; };
  return html`<${Page} title="Audit" lives=${[live]}><form class="filters" onSubmit=${(event) => event.preventDefault()}>
      <label>domain <select value=${query.domain || ""} onChange=${put("domain")}><option value="">any</option>${DOMAINS.map((one) => html`<option>${one}</option>`)}</select></label>
      <label>level <select value=${query.level || ""} onChange=${put("level")}><option value="">any</option>${["info", "warning", "error"].map((one) => html`<option>${one}</option>`)}</select></label>
      <label>run <input data-search value=${query.run || ""} onChange=${put("run")} /></label><button type="button" onClick=${verify}>Verify the chain</button>${Object.keys(query).length ? html`<a href=${link(["audit"])}>all entries</a>` : ""}</form>
    ${verdict && html`<p role="status"><${Badge} word=${verdict.verdict} /> ${counted(verdict.entries, "entry").replace("entrys", "entries")} checked${verdict.why ? `: ${verdict.why} (entry ${verdict.entry})` : ""}</p>`}
    <${Window} count=${rows.length} height=${58} row=${row} label="audit" extra="rows" /><//>`;
}
