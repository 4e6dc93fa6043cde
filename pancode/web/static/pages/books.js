// Money: spent, held and left in each scope, and what work has cost. Audit: what happened, and whether its chain holds.

import { useState } from "preact/hooks";
import { get, post } from "../lib/api.js";
import { go, html, link, useLive, usePhone } from "../lib/live.js";
import { asked, Badge, Bar, Glyph, Page, Panel, Row, RunLink, tell, Unpriced, Warning, When, Why, Window } from "../lib/parts.js";
import { counted, look, many, usd, visible } from "../lib/words.js";

const BY = ["day", "agent", "model", "node", "repository", "runtime", "outcome"];
const moves = (event) => ["run.ended", "budget.alert", "run.queued"].includes(event.kind);

export function Money() {
  const live = useLive("budget", { all: 1 }, moves);
  const budget = live.data;
  return html`<${Page} title="Money" lives=${[live]}>${budget && html`<p class="facts"><span>${counted(budget.runs, "run")} today</span><span>the next one is estimated at ${usd(budget.estimate_next_usd)}</span></p>
    ${budget.notes.map((note) => html`<${Warning}>${note}<//>`)}
    <${Panel} title="Ceilings"><ul>${budget.scopes.map((scope) => html`<${Scope} key=${scope.scope} scope=${scope} again=${live.again} />`)}</ul><//>`}<${Charts} /><//>`;
}

const disputed = (of) => Number(of.disputed_usd) ? html`<span class="warn tone">${usd(of.disputed_usd)} disputed</span>` : "";

function Scope({ scope, again }) {
  const capped = scope.ceiling_usd !== null;
  const name = scope.scope.startsWith("day:") ? "day" : scope.scope.replace(/^(week|month):.*/, "$1");
  const set = async () => {
    const text = await asked(`The ceiling of ${name} in USD`, "Set", scope.ceiling_usd || "");
    if (!text) return;
    try { await post("budget/ceiling", { scope: name, usd: text.trim() }); again(); } catch (problem) { tell(problem); }
  };
  const why = [`${scope.scope}: ${usd(scope.spent_usd)} spent, ${usd(scope.held_usd)} held for runs that have not ended`, capped ? `its ceiling of ${usd(scope.ceiling_usd)} comes from: ${scope.origin}` : "it has no ceiling", scope.unknown_runs ? `${counted(scope.unknown_runs, "run")} of unknown cost: pancode budget settle` : ""].filter(Boolean).join("\n");
  return html`<${Row} word=${scope.over ? "over its ceiling" : capped ? "capped" : "no ceiling"} of=${scope.over ? "bad" : capped ? "ok" : "wait"} title=${visible(scope.scope)}
    facts=${html`<span>${usd(scope.spent_usd)} spent</span><span>${usd(scope.held_usd)} held</span>${capped && html`<span>${usd(scope.remaining_usd)} left of ${usd(scope.ceiling_usd)}</span>`}<span>${many(scope.tokens)} tokens${scope.ceiling_tokens ? ` of ${many(scope.ceiling_tokens)}` : ""}</span>
      <span>${scope.agent_minutes} min${scope.ceiling_minutes ? ` of ${scope.ceiling_minutes}` : ""}</span><${Unpriced} runs=${scope.unknown_runs} />${disputed(scope)}`}
    keys=${html`<${Why} what=${`money:${why}`} />${/^(day|week|month|node|agent|repo)\b/.test(name) && html`<button type="button" onClick=${set}>set ceiling</button>`}`}>
    ${capped && html`<${Bar} used=${+scope.spent_usd} held=${+scope.held_usd} most=${+scope.ceiling_usd} />`}<//>`;
}

function Charts() {
  const [by, set] = useState("day");
  const [since, setSince] = useState("30d");
  const live = useLive("cost", { by, since, limit: 30 }, moves);
  const rows = by === "day" ? [...(live.data?.rows || [])].sort((a, b) => String(a.key).localeCompare(String(b.key))) : live.data?.rows || [];
  const choice = (words, value, put, list) => html`<label>${words} <select value=${value} onChange=${(event) => put(event.target.value)}>${list.map(([one, said]) => html`<option value=${one}>${said}</option>`)}</select></label>`;
  return html`<${Panel} title="Cost" act=${html`${choice("by", by, set, BY.map((one) => [one, one]))}${choice("since", since, setSince, [["1d", "a day"], ["7d", "7 days"], ["30d", "30 days"], ["52w", "a year"]])}`}>
    ${live.error && html`<div class="pad"><${Warning}>${live.error.message}<//></div>`}
    ${live.data && html`<p class="facts pad"><b>${usd(live.data.total.usd)}</b><span>${counted(live.data.total.runs, "run")}</span><span>${many(live.data.total.tokens)} tokens</span><${Unpriced} runs=${live.data.total.unknown_runs} />${disputed(live.data.total)}</p><${Chart} rows=${rows} />`}<//>`;
}

/** Bars by money; where all of it is free, by minutes. */
function Chart({ rows }) {
  if (!rows.length) return html`<p class="pad small quiet">No run has ended since.</p>`;
  const free = rows.every((row) => Number(row.usd) === 0);
  const value = (row) => (free ? row.agent_minutes : Number(row.usd));
  const most = Math.max(...rows.map(value), 1e-9);
  return html`<table><caption class="sr">${free ? "by minutes: nothing was paid for" : "in USD"}</caption><thead><tr><th scope="col">name</th><th scope="col" class="n">runs</th><th scope="col" class="n">${free ? "minutes" : "USD"}</th><th scope="col" class="share">share</th></tr></thead>
    <tbody>${rows.map((row) => html`<tr key=${row.key}><th scope="row">${visible(row.key ?? "none")}</th><td class="n">${row.runs}</td><td class="n">${free ? row.agent_minutes : usd(row.usd)}</td><td><${Bar} used=${value(row) * 0.79} most=${most} label=${`${Math.round((100 * value(row)) / most)} % of the largest`} /></td></tr>`)}</tbody></table>`;
}

// -- audit ---------------------------------------------------------------------------------------------

const DOMAINS = ["budget", "config", "dispatch", "fleet", "land", "people", "receipt", "schedule", "trust"];

export function Audit({ query }) {
  const live = useLive("audit", { limit: 2000, ...query }, (event) => /^(audit|run\.(queued|stage|ended))$/.test(event.kind));
  const [verdict, set] = useState(null);
  const rows = live.data?.audit || [];
  const put = (name) => (event) => { const next = { ...query, [name]: event.target.value.trim() }; if (!next[name]) delete next[name]; go(["audit"], next); };
  const verify = async () => { try { set(await get("audit/verify")); } catch (problem) { tell(problem); } };
  const phone = usePhone();
  const row = (i) => {
    const one = rows[i], tone = { info: "", warning: "warn", error: "bad" }[one.level], [, glyph] = one.level === "info" ? ["", "audit"] : look(one.level, tone);
    const more = visible(Object.entries(one.detail).map(([key, value]) => `${key}: ${typeof value === "string" ? value : JSON.stringify(value)}`).join(", "));
    const what = html`<span class="cut"><b class="t">${visible(one.what)}</b> ${one.run && html`<${RunLink} run=${one.run} />`} ${phone ? "" : html`<span class="quiet">${more}</span>`}</span>`;
    const why = html`<span class="keys"><${Why} what=${one.run ? `run:${one.run}` : `entry:entry ${one.number}, ${one.at}\n${JSON.stringify(one.detail, null, 1)}`} /></span>`, moment = html`<${When} at=${one.at} />`;
    const mark = html`<${Glyph} name=${glyph} tone=${tone} /><span class="sr">${one.level}</span>`;
    return phone ? html`${mark}${what}${why}<span class="sub quiet cut">${one.domain}, ${moment}</span>` : html`${mark}<span class="quiet">${moment}</span><span class="quiet">${one.domain}</span>${what}${why}`;
  };
  return html`<${Page} title="Audit" lives=${[live]}><form class="keys" onSubmit=${(event) => event.preventDefault()}>
      <label class="field">domain <select value=${query.domain || ""} onChange=${put("domain")}><option value="">any</option>${DOMAINS.map((one) => html`<option>${one}</option>`)}</select></label>
      <label class="field">level <select value=${query.level || ""} onChange=${put("level")}><option value="">any</option>${["info", "warning", "error"].map((one) => html`<option>${one}</option>`)}</select></label>
      <label class="field">run <input data-search value=${query.run || ""} onChange=${put("run")} /></label><button type="button" onClick=${verify}>Verify the chain</button>${Object.keys(query).length ? html`<a href=${link(["audit"])}>all entries</a>` : ""}</form>
    ${verdict && html`<p role="status"><${Badge} word=${verdict.verdict} /> ${counted(verdict.entries, "entry").replace("entrys", "entries")} checked${verdict.why ? `: ${verdict.why} (entry ${verdict.entry})` : ""}</p>`}
    <div class="panel entries"><${Window} count=${rows.length} height=${phone ? 58 : 41} row=${row} label="audit" extra="rows" /></div><//>`;
}
