// Money: spent, held and left in each scope, and what work has cost. Audit: what happened, and whether its chain holds.

import { useState } from "preact/hooks";
import { get, post } from "../lib/api.js";
import { go, html, link, useLive, usePhone } from "../lib/live.js";
import { Act, asked, Badge, Bar, Glyph, Page, Panel, RunLink, tell, Unpriced, Warning, When, Why, Window } from "../lib/parts.js";
import { counted, look, many, usd } from "../lib/words.js";

const BY = ["agent", "model", "node", "repository", "runtime", "outcome"];
const STACKS = ["agent", "model", "node"];
const PERIODS = [[7, "7 days"], [14, "14 days"], [30, "30 days"]];
const DAY_MS = 86400000;
const moves = (event) => ["run.ended", "budget.alert", "run.queued"].includes(event.kind);

export function Money() {
  const live = useLive("budget", { all: 1 }, moves);
  const budget = live.data;
  return html`<${Page} title="Budget" lives=${[live]}>${budget && html`<${Sums} budget=${budget} />
    ${budget.notes.map((note) => html`<${Warning}>${note}<//>`)}
    <${Spent} /><${Ceilings} scopes=${budget.scopes} again=${live.again} />`}<${Costs} /><//>`;
}

const dayOf = (scopes) => scopes.find((scope) => scope.scope.startsWith("day:"));

function Sums({ budget }) {
  const day = dayOf(budget.scopes);
  if (!day) return "";
  const sum = (title, words, more, tone = "") => html`<section class="panel pad" aria-label=${title}><p class="small quiet">${title}</p><p class=${`big num tone ${tone}`}>${words}</p><p class="small quiet">${more}</p></section>`;
  return html`<div class="four">${sum("Spent today", usd(day.spent_usd), `${day.ceiling_usd === null ? "no ceiling" : `of ${usd(day.ceiling_usd)}`}, ${counted(budget.runs, "run")}`, "live")}
    ${sum("Held", usd(day.held_usd), "given back when the runs end", "live")}${sum("Left today", day.remaining_usd === null ? "no ceiling" : usd(day.remaining_usd), `the next run is estimated at ${usd(budget.estimate_next_usd)}`, day.over ? "bad" : "live")}
    ${day.unknown_runs ? sum("Of unknown cost", counted(day.unknown_runs, "run"), "in no sum", "ghost") : sum("Tokens today", many(day.tokens), `${day.agent_minutes} min of agents`, "live")}</div>`;
}

/** What each day has cost, stacked by what its runs were; days by the books, parts by the newest runs. */
function Spent() {
  const [by, set] = useState("agent"), [days, last] = useState(14);
  const table = useLive("cost", { by: "day", since: `${days}d`, limit: 40 }, moves);
  const runs = useLive("runs", { since: `${days}d`, limit: 1000 }, (event) => event.kind === "run.ended").data?.runs;
  const rows = new Map((table.data?.rows || []).map((row) => [row.key, row]));
  const names = Array.from({ length: days }, (_, i) => new Date(Date.now() - (days - 1 - i) * DAY_MS).toISOString().slice(0, 10));
  const free = ![...rows.values()].some((row) => Number(row.usd) > 0), sums = new Map(), parts = new Map(names.map((name) => [name, new Map()]));
  for (const run of runs || []) {
    const mine = parts.get((run.finished_at || "").slice(0, 10)), value = free ? 1 : Number(run.usage.cost_usd || 0), key = run[by] || "none";
    if (!mine || !value) continue;
    mine.set(key, (mine.get(key) || 0) + value);
    sums.set(key, (sums.get(key) || 0) + value);
  }
  const top = [...sums].sort((a, b) => b[1] - a[1]).slice(0, 4).map(([key]) => key);
  const stacks = names.map((name) => { const row = rows.get(name), mine = parts.get(name), whole = row ? (free ? row.runs : Number(row.usd)) : 0, known = top.map((key) => Math.min(whole, mine.get(key) || 0));
    return { name, whole, unknown: row?.unknown_runs || 0, parts: [...known, Math.max(0, whole - known.reduce((a, b) => a + b, 0))] }; });
  const rest = stacks.some((one) => one.parts.at(-1) > 1e-6);
  const tab = (words, on, act) => html`<button type="button" class="bare" aria-pressed=${on ? "true" : "false"} onClick=${act}>${words}</button>`;
  return html`<${Panel} title=${free ? "Runs by day; nothing was paid for" : "Spent by day"} act=${html`${STACKS.map((name) => tab(name, name === by, () => set(name)))}<span class="desk"> </span>${PERIODS.map(([count, words]) => tab(words, count === days, () => last(count)))}`}>
    ${table.error ? html`<div class="pad"><${Warning}>${table.error.message}<//></div>` : !table.data ? html`<p class="pad small quiet">reading …</p>` : html`<${Bars} stacks=${stacks} free=${free} names=${[...top, "others"]} />
    <p class="facts pad">${top.map((key, i) => html`<span class=${`key ${SHADES[i]}`}>${key}</span>`)}${rest && html`<span class=${`key ${SHADES[4]}`}>others</span>`}${stacks.some((one) => one.unknown) && html`<span class="ghost tone">dashed: runs of unknown cost, by their number</span>`}</p>`}<//>`;
}

const TALL = 150, SHADES = ["c0", "c1", "c2", "c3", "c4"];

function Bars({ stacks, free, names }) {
  const room = usePhone() ? 420 : 1000;
  const most = Math.max(...stacks.map((one) => one.whole), free ? 1 : 0.01), wide = room / stacks.length, bar = Math.min(56, wide * 0.62);
  const said = (value) => (free ? counted(value, "run") : usd(value));
  const telling = stacks.filter((one) => one.whole || one.unknown).map((one) => `${one.name}: ${said(one.whole)}${one.unknown ? `, ${one.unknown} unknown` : ""}`).join("; ") || "nothing";
  return html`<svg class="chart" viewBox=${`0 0 ${room} ${TALL + 46}`} role="img" aria-label=${`by day: ${telling}`}><text x="0" y="10">${said(most)}</text><line x1="0" x2=${room} y1="16" y2="16" /><line x1="0" x2=${room} y1=${TALL + 22} y2=${TALL + 22} />
    ${stacks.map((one, i) => { let top = TALL + 22; const x = i * wide + (wide - bar) / 2;
      return html`<g><title>${`${one.name}: ${said(one.whole)}${one.parts.map((value, k) => (value > 1e-9 ? `, ${names[k]} ${free ? value : usd(value)}` : "")).join("")}`}</title>${one.parts.map((value, k) => { const tall = (TALL * value) / most; top -= tall; return tall > 0.2 ? html`<rect class=${k === one.parts.length - 1 ? SHADES[4] : SHADES[k]} x=${x} y=${top} width=${bar} height=${Math.max(1, tall - 1)} rx="2" />` : ""; })}
      ${one.unknown ? html`<rect class="ghost" x=${x} y=${Math.max(1, top - 16)} width=${bar} height="14" rx="3" /><text x=${x + bar / 2} y=${Math.max(12, top - 5)} text-anchor="middle">${one.unknown}?</text>` : ""}
      ${stacks.length < 20 || i % 3 === 0 ? html`<text x=${x + bar / 2} y=${TALL + 38} text-anchor="middle">${one.name.slice(8)}</text>` : ""}</g>`; })}</svg>`;
}

const disputed = (of) => Number(of.disputed_usd) ? html`<span class="warn tone">${usd(of.disputed_usd)} disputed</span>` : "";
const kindOf = (scope) => (scope.startsWith("day:") ? "day" : scope.replace(/^(week|month):.*/, "$1"));
const SETS = /^(day|week|month|node|agent|repo|session)\b/;
const WORDS = { day: "all work today", week: "all work this week", month: "all work this month" };
const wordsOf = (scope) => WORDS[kindOf(scope)] || scope.replace(/^node:/, "node ").replace(/^repo:/, "repository ").replace(":", " ");

/** Each ceiling in one row; what has none is folded, and work that ends by itself is no ceiling. */
function Ceilings({ scopes, again }) {
  const capped = scopes.filter((scope) => scope.ceiling_usd !== null || scope.ceiling_tokens !== null || scope.ceiling_minutes !== null);
  const free = scopes.filter((scope) => !capped.includes(scope) && SETS.test(scope.scope) && !scope.scope.startsWith("session"));
  const fresh = async () => {
    const name = (await asked("What gets a ceiling? day, week, month, node:NAME, agent:NAME or repo:PATH", "Continue", "week"))?.trim();
    if (name) await ceiling(name, "", again);
  };
  return html`<${Panel} title="Ceilings" act=${html`<button type="button" onClick=${fresh}>Set a ceiling</button>`}><${ScopeTable} scopes=${capped} again=${again} none="Nothing has a ceiling." />
    ${free.length > 0 && html`<details><summary class="small quiet pad"><span class="fold"><${Glyph} name="fold" /></span>${counted(free.length, "scope")} without a ceiling</summary><${ScopeTable} scopes=${free} again=${again} /></details>`}<//>`;
}

async function ceiling(name, before, again) {
  const text = await asked(`The ceiling of ${name} in USD`, "Set", before);
  if (!text) return;
  try { await post("budget/ceiling", { scope: name, usd: text.trim() }); again(); } catch (problem) { tell(problem); }
}

function ScopeTable({ scopes, again, none }) {
  if (!scopes.length) return html`<p class="pad small quiet">${none}</p>`;
  const row = (scope) => {
    const name = kindOf(scope.scope), capped = scope.ceiling_usd !== null, words = wordsOf(scope.scope);
    const why = [`${scope.scope}: ${usd(scope.spent_usd)} spent, ${usd(scope.held_usd)} held for runs that have not ended`, capped ? `its ceiling of ${usd(scope.ceiling_usd)} comes from: ${scope.origin}` : "it has no ceiling in USD", `${many(scope.tokens)} tokens${scope.ceiling_tokens ? ` of ${many(scope.ceiling_tokens)}` : ""}`, `${scope.agent_minutes} min${scope.ceiling_minutes ? ` of ${scope.ceiling_minutes}` : ""}`].join("\n");
    return html`<tr key=${scope.scope} data-row data-why=${`money:${why}`} tabindex="-1"><th scope="row"><b>${words}</b> <${Unpriced} runs=${scope.unknown_runs} />${disputed(scope)}</th><td class="share desk">${capped && html`<${Bar} used=${+scope.spent_usd} held=${+scope.held_usd} most=${+scope.ceiling_usd} />`}</td>
      <td class="n">${usd(scope.spent_usd)}</td><td class="n">${usd(scope.held_usd)}</td><td class="n">${capped ? usd(scope.ceiling_usd) : "none"}</td><td class=${`n tone ${scope.over ? "bad" : ""}`}>${capped ? usd(scope.remaining_usd) : "–"}</td>
      <td><span class="keys end">${SETS.test(name) && html`<button type="button" class="bare" aria-label=${`${capped ? "Change" : "Set"} the ceiling of ${words}`} onClick=${() => ceiling(name, scope.ceiling_usd || "", again)}>${capped ? "Change" : "Set"}</button>${capped && scope.origin !== "built-in" && html`<${Act} label="Unset" kind="bare" path="budget/ceiling/unset" body=${{ scope: name }} sure=${`Take the ceiling of ${words} away?`} done=${again} />`}`}</span></td></tr>`;
  };
  return html`<div class="wide" tabindex="0" role="region" aria-label="ceilings, as a table"><table><thead><tr><th scope="col">scope</th><th scope="col" class="share desk"><span class="sr">how much is used</span></th>${["spent", "held", "ceiling", "left"].map((one) => html`<th scope="col" class="n">${one}</th>`)}<th scope="col"><span class="sr">acts</span></th></tr></thead><tbody>${scopes.map(row)}</tbody></table></div>`;
}

function Costs() {
  const [by, set] = useState("agent");
  const [since, setSince] = useState("30d");
  const live = useLive("cost", { by, since, limit: 30 }, moves);
  const choice = (words, value, put, list) => html`<label>${words} <select value=${value} onChange=${(event) => put(event.target.value)}>${list.map(([one, said]) => html`<option value=${one}>${said}</option>`)}</select></label>`;
  return html`<${Panel} title="Cost" act=${html`${choice("by", by, set, BY.map((one) => [one, one]))}${choice("since", since, setSince, [["1d", "a day"], ["7d", "7 days"], ["30d", "30 days"], ["52w", "a year"]])}`}>
    ${live.error && html`<div class="pad"><${Warning}>${live.error.message}<//></div>`}
    ${live.data && html`<p class="facts pad"><b>${usd(live.data.total.usd, live.data.total.unknown_runs)}</b><span>${counted(live.data.total.runs, "run")}</span><span>${many(live.data.total.tokens)} tokens</span><${Unpriced} runs=${live.data.total.unknown_runs} />${disputed(live.data.total)}</p><${Table} rows=${live.data.rows} />`}<//>`;
}

/** By money; where all of it is free, by minutes. The bar is the share of all. */
function Table({ rows }) {
  if (!rows.length) return html`<p class="pad small quiet">No run has ended since.</p>`;
  const free = rows.every((row) => Number(row.usd) === 0);
  const value = (row) => (free ? row.agent_minutes : Number(row.usd)), all = Math.max(rows.reduce((sum, row) => sum + value(row), 0), 1e-9);
  const bar = (row) => html`<svg class="meter live" viewBox="0 0 100 6" preserveAspectRatio="none" role="img" aria-label=${`${Math.round((100 * value(row)) / all)} % of all`}><rect width=${(100 * value(row)) / all} height="6" /></svg>`;
  return html`<table><caption class="sr">${free ? "by minutes: nothing was paid for" : "in USD"}</caption><thead><tr><th scope="col">name</th><th scope="col" class="n">runs</th><th scope="col" class="n">${free ? "minutes" : "USD"}</th><th scope="col" class="share">share</th></tr></thead>
    <tbody>${rows.map((row) => html`<tr key=${row.key}><th scope="row">${row.key ?? "none"}</th><td class="n">${row.runs}</td><td class="n">${free ? row.agent_minutes : usd(row.usd, row.unknown_runs)}</td><td>${bar(row)}</td></tr>`)}</tbody></table>`;
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
    const more = Object.entries(one.detail).map(([key, value]) => `${key}: ${typeof value === "string" ? value : JSON.stringify(value)}`).join(", ");
    const what = html`<span class="cut"><b class="t">${one.what}</b> ${one.run && html`<${RunLink} run=${one.run} />`} ${phone ? "" : html`<span class="quiet">${more}</span>`}</span>`;
    const why = html`<span class="keys"><${Why} what=${one.run ? `run:${one.run}` : `entry:entry ${one.number}, ${one.at}\n${JSON.stringify(one.detail, null, 1)}`} /></span>`, moment = html`<${When} at=${one.at} />`;
    const mark = html`<${Glyph} name=${glyph} tone=${tone} /><span class="sr">${one.level}</span>`;
    return phone ? html`${mark}${what}${why}<span class="sub quiet cut">${one.domain}, ${moment}</span>` : html`${mark}<span class="quiet">${moment}</span><span class="quiet">${one.domain}</span>${what}${why}`;
  };
  return html`<${Page} title="Audit" lives=${[live]}><form class="keys" onSubmit=${(event) => event.preventDefault()}>
      <label class="field">domain <select value=${query.domain || ""} onChange=${put("domain")}><option value="">any</option>${DOMAINS.map((one) => html`<option>${one}</option>`)}</select></label>
      <label class="field">level <select value=${query.level || ""} onChange=${put("level")}><option value="">any</option>${["info", "warning", "error"].map((one) => html`<option>${one}</option>`)}</select></label>
      <label class="field">run <input data-search value=${query.run || ""} onChange=${put("run")} /></label><button type="button" onClick=${verify}>Verify the chain</button><${Act} label="Undo the last setting" kind="bare" path="config/undo" sure="Take back the last change of a setting?" done=${(told) => { tell(`${told.target || "the setting"} is ${told.new?.value ?? "as before"}`); live.again(); }} />${Object.keys(query).length ? html`<a href=${link(["audit"])}>all entries</a>` : ""}</form>
    ${verdict && html`<p role="status"><${Badge} word=${verdict.verdict} /> ${counted(verdict.entries, "entry").replace("entrys", "entries")} checked${verdict.why ? `: ${verdict.why} (entry ${verdict.entry})` : ""}</p>`}
    <div class="panel entries"><${Window} count=${rows.length} height=${phone ? 58 : 41} row=${row} label="audit" extra="rows" /></div><//>`;
}
