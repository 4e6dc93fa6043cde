// Pieces that every page uses: how fresh it is, states, problems, questions before an act, and `why`.

import { useEffect, useId, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { at, get, post } from "./api.js";
import { GLYPHS } from "./glyphs.js";
import { html, link, useLive, useNow, useSilence } from "./live.js";
import { ago, clock, counted, look, plain, span, stateOf, usd, visible, when } from "./words.js";

/** A page: its title, the id of what it shows, the title of its tab, the tone of its icon, when it was read, and what failed. `lives`: results of useLive. */
export function Page({ title, id, tab = title, tone, lives = [], actions, children }) {
  const shown = lives.filter((one) => one.data || one.error);
  const read = Math.min(...lives.filter((one) => one.at).map((one) => one.at));
  const error = shown.find((one) => one.error)?.error;
  const silent = useSilence();
  useEffect(() => { document.title = `${visible(tab)} · PanCode`; }, [tab]);
  useEffect(() => { document.querySelector("link[rel=icon]").href = new URL(["live", "warn", "bad", "ghost"].includes(tone) ? `../icon-${tone}.svg` : "../icon.svg", import.meta.url); }, [tone]);
  return html`<main id="main" tabindex="-1">
    <header class="head"><h1>${title}</h1>${id && html`<${Id} id=${id} />`}<${AsOf} read=${read} silent=${silent} />${actions && html`<div class="keys push">${actions}</div>`}</header>
    ${error && html`<${Trouble} problem=${error} />`}
    ${!shown.length && lives.length ? html`<p class="quiet">reading …</p>` : children}
  </main>`;
}

/** Unknown never looks idle: a view that nobody has confirmed says for how long. */
function AsOf({ read, silent }) {
  if (silent) return html`<p class="small ghost tone" role="status">not heard for ${span(silent)}: what stands here may have changed</p>`;
  return html`<p class="small quiet">${Number.isFinite(read) ? html`as of <time>${clock(read)}</time>` : ""}</p>`;
}

export function Trouble({ problem }) {
  return html`<div class="panel tinted bad pad" role="alert"><strong>${problem.message}</strong> ${problem.why}${problem.fix && html` → <code>${problem.fix}</code>`}${problem.code === "run_not_found" && problem.details?.near && html` <a href=${link(["runs", problem.details.near])}>Open ${problem.details.near}</a>`}</div>`;
}

/** The id, shown next to the title of a thing. */
export const Id = ({ id }) => html`<code class="badge id">${id}</code>`;

/** A shape that means its word; the word stands beside it. */
export const Glyph = ({ name, tone = "" }) => html`<svg class=${`g ${name} ${tone}`} viewBox="0 0 16 16" aria-hidden="true">${GLYPHS[name].map((d, i) => d && html`<path class=${i ? "" : "disc"} d=${d} />`)}</svg>`;
export function Badge({ word, of }) {
  const [tone, glyph] = look(word, of);
  return html`<span class=${`badge ${tone}`}><${Glyph} name=${glyph} tone=${tone} />${plain(word)}</span>`;
}
export const State = ({ run }) => html`<${Badge} word=${stateOf(run)} />`;

/** A card: what it is, how many, one act; then its content. */
export function Panel({ title, count, tone, act, children }) {
  const id = useId();
  return html`<section class=${`panel ${tone ? `tinted ${tone}` : ""}`} aria-labelledby=${id}><div class="cap"><h2 id=${id}>${title}</h2>${count ? html`<span class=${`badge ${tone || ""}`}>${count}</span>` : ""}
    ${act && html`<div class="push keys small">${act}</div>`}</div>${children}</section>`;
}

/** Nothing, or nothing known: what it means, and what makes it more. */
export const Empty = ({ title, children }) => html`<div class="empty"><b>${title}</b>${children && html`<p class="small quiet">${children}</p>`}</div>`;
export const Unknown = () => html`<p class="pad small ghost tone"><${Glyph} name="unknown" tone="ghost" /> unknown</p>`;
/** What no sum of money holds. */
export const Unpriced = ({ runs }) => (runs ? html`<span class="small ghost tone"><${Glyph} name="unknown" tone="ghost" /> ${counted(runs, "run")} of unknown cost not in this sum</span>` : "");
export const Warning = ({ children }) => html`<p class="small warn tone">${children}</p>`;
/** What is wrong with a node, and the command that fixes it. */
export const Problems = ({ node }) => node.problems.map((one) => html`<${Warning}>${one.what || one.says}${one.fix ? html` → <code>${one.fix}</code>` : ""}<//>`);

/** One thing of a list: its state, a title that covers the row, facts below, acts beside. `why`: what `w` tells. */
export function Row({ word, of, href, title, facts, keys, why, marked, kind = "", children }) {
  const [tone, glyph] = look(word, of);
  return html`<li class=${`row ${kind}`} data-row data-marked=${marked} data-why=${why} tabindex="-1"><${Glyph} name=${glyph} tone=${tone} />
    ${href ? html`<a class="t" href=${href} aria-current=${marked ? "true" : undefined}>${title}</a>` : html`<b class="t">${title}</b>`}
    <p class="facts"><span class=${`tone ${tone}`}>${plain(word)}</span>${facts}</p>${children}${keys && html`<div class="keys">${keys}</div>`}</li>`;
}

export function Slots({ slots, known }) {
  const words = known ? `${slots.used} of ${slots.total} slots taken` : `${slots.total} slots, taken: unknown`;
  return html`<span class="slots" role="img" aria-label=${words}>${Array.from({ length: Math.min(slots.total, 16) }, (_, i) => html`<i class=${!known ? "ghost" : i < slots.used ? "live" : ""} />`)}</span>`;
}
/** For how long a node was not heard; nothing where it is heard. */
export function Unheard({ node }) {
  const now = useNow();
  return heard(node) ? "" : html`<span class="small ghost tone">${node.since ? `not heard for ${span(now - Date.parse(node.since))}` : "not heard yet"}</span>`;
}
export const heard = (node) => !["unknown", "suspect", "unreachable", "lost"].includes(node.state);

export const RunLink = ({ run, kind, children }) => html`<a class=${kind} data-why=${`run:${run}`} href=${link(["runs", run])}>${children || run}</a>`;
export const When = ({ at: moment }) => html`<time datetime=${moment || ""} title=${moment || ""}>${when(moment)}</time>`;
export function Ago({ at: moment }) { return html`<time datetime=${moment || ""} title=${moment || ""}>${ago(moment, useNow())}</time>`; }

/** A quiet key that says why, for what has no page of its own. */
export const Why = ({ what }) =>
  html`<button type="button" class="bare" data-why=${what} onClick=${() => askWhy(what)} aria-label=${`why: ${what.split(":")[1].slice(0, 60)}`}>why</button>`;

/** A fact of a list, where it is known. */
export const fact = (name, value) => (value === null || value === undefined || value === "" ? "" : html`<div><dt>${name}</dt><dd>${value}</dd></div>`);

/** The cost of a run. An unknown cost is `–` while the run has not ended, and `unknown` afterwards. */
export const Cost = ({ run }) => (run.usage.cost_usd !== null ? usd(run.usage.cost_usd) : run.outcome ? html`<span class="ghost tone">unknown</span>` : "–");

/** A bar of how much is used. */
export function Bar({ used, held = 0, most, label = `${usd(used)} of ${usd(most)} spent, ${usd(held)} held` }) {
  const share = (part) => (most > 0 ? Math.min(100, (100 * part) / most) : 0);
  return html`<svg class=${`meter ${share(used) >= 80 ? "warn" : "live"}`} viewBox="0 0 100 6" preserveAspectRatio="none" role="img" aria-label=${label}>
    <rect class="held" width=${share(used + held)} height="6" /><rect width=${share(used)} height="6" /></svg>`;
}

/** A key that does something, once at a time. `sure`: words that are asked first; `done`: told the answer; `ask`: asks the API, null for no. */
export function Act({ label, path, body = {}, sure, done, kind = "", ask = post }) {
  const [busy, set] = useState(false);
  const press = async () => {
    if (busy || (sure && !(await agreed(sure, label)))) return;
    set(true);
    try {
      const answer = await ask(path, body, newKey());
      if (answer) await done?.(answer);
    } catch (problem) {
      tell(problem);
    }
    set(false);
  };
  return html`<button type="button" class=${kind} disabled=${busy} onClick=${press}>${busy ? `${label} …` : label}</button>`;
}

/** The result of `load`, which is called at first use; undefined until then. */
function useLater(load) {
  const [, set] = useState(0);
  useEffect(() => { if (!load.found) load().then((found) => { load.found = found; set(1); }, () => set(2)); }, []);
  return load.found;
}
const reads = () => import("./markdown.js").then((module) => module.draw);
/** Text of an agent or an issue, as Markdown; plain text until the parser is loaded. */
export function Prose({ text, kind = "" }) {
  const draw = useLater(reads), drawn = useMemo(() => draw?.(text), [text, draw]);
  return html`<div class=${`prose ${drawn ? "" : "words"} ${kind}`} tabindex=${kind ? "0" : undefined}>${drawn || text}</div>`;
}
export const later = (load) => (props) => { const Part = useLater(load); return Part ? html`<${Part} ...${props} />` : html`<p class="quiet">reading …</p>`; };

export const newKey = () => crypto.randomUUID();

// -- what stands over the page -----------------------------------------------------------------------

let open = () => {}, note = () => {};
/** Words at the foot of the page that go away; a problem stays until it is closed. */
export function tell(said) { said instanceof Error ? open({ problem: said }) : note(said); }
export function askWhy(what) { open({ why: what }); }
/** Ask the user to confirm. `about`: the whole text of what is approved. */
export const agreed = (words, verb, about) => new Promise((answer) => open({ sure: words, verb, about, answer }));
/** Messages of a user, or null. */
export const asked = (words, verb, first = "") => new Promise((answer) => open({ sure: words, verb, answer, text: first }));

/** A note never takes the place of a question that is open. */
export function Over() {
  const [shown, set] = useState(null), [words, setWords] = useState(null);
  const box = useRef(null);
  open = set, note = setWords;
  useLayoutEffect(() => { if (shown && !box.current.open) box.current.showModal(); }, [shown]);
  useEffect(() => {
    if (!words) return undefined;
    const timer = setTimeout(() => setWords(null), 6000);
    return () => clearTimeout(timer);
  }, [words]);
  if (!shown) return words && html`<p class="toast panel" role="status">${words}</p>`;
  const end = (value) => { box.current?.close(); set(null); shown.answer?.(value); };
  const no = shown.text === undefined ? false : null;
  return html`<dialog ref=${box} onCancel=${(event) => { event.preventDefault(); end(no); }} aria-labelledby="over">
    ${shown.why && html`<${WhyBox} what=${shown.why} end=${end} />`}
    ${shown.problem && html`<div class="stack"><h2 id="over">That did not work</h2><${Trouble} problem=${shown.problem} /><p class="keys"><button type="button" autofocus onClick=${() => end()}>Close</button></p></div>`}
    ${shown.sure && html`<${Sure} shown=${shown} end=${end} no=${no} />`}
  </dialog>`;
}

function Sure({ shown, end, no }) {
  const words = useRef(null);
  const given = shown.text !== undefined;
  return html`<form method="dialog" class="stack" onSubmit=${(event) => { event.preventDefault(); end(given ? words.current.value : true); }}>
    <h2 id="over" class="words">${shown.sure}</h2>${shown.about && html`<p class="words task well" tabindex="0">${shown.about}</p>`}
    ${given && html`<textarea ref=${words} rows="4" autofocus aria-labelledby="over" defaultValue=${shown.text}
      onKeyDown=${(event) => event.key === "Enter" && (event.ctrlKey || event.metaKey) && end(words.current.value)}></textarea>`}
    <p class="keys"><button type="submit" class="main" autofocus=${!given}>${shown.verb}</button>
    <button type="button" onClick=${() => end(no)}>No</button></p></form>`;
}

function WhyBox({ what, end }) {
  const colon = what.indexOf(":");
  const [kind, rest] = [what.slice(0, colon), what.slice(colon + 1)];
  return html`<div class="stack"><h2 id="over">Why${kind === "run" ? `: ${rest}` : ""}</h2>
    ${kind === "run" ? html`<${WhyRun} run=${rest} />` : html`<p class="words">${rest}</p>`}
    <p class="keys"><button type="button" autofocus onClick=${() => end()}>Close</button></p></div>`;
}

function WhyRun({ run }) {
  const live = useLive(`${at("runs", run, "why")}`, undefined, (event) => event.run === run);
  if (live.error) return html`<${Trouble} problem=${live.error} />`;
  if (!live.data) return html`<p>reading …</p>`;
  return html`<p><strong>${live.data.now}</strong></p><${Decisions} decisions=${live.data.decisions} />`;
}

/** Gates, placements, waits, retries: in the order in which they were decided. */
export function Decisions({ decisions }) {
  return html`<ol class="plain">${decisions.map((one) => html`<li>
    <${When} at=${one.at} /> <span class="quiet">${one.kind}</span> <b>${one.what}</b> <${Badge} word=${one.verdict} of=${one.kind === "settle" ? undefined : verdict(one)} />
    ${one.detail === one.verdict ? "" : one.detail}</li>`)}</ol>`;
}

export const verdict = (one) => (/^(passed|placed|held|done|landed|delivered|settled)/.test(one.verdict) ? "ok" : /refused|failed|lost|denied/.test(one.verdict) ? "bad" : "wait");

/** Reads something once, for a list to choose from; an error leaves it empty. */
export function useOnce(path, pick) {
  const [found, set] = useState([]);
  useEffect(() => { if (path) get(path).then((data) => set(pick(data))).catch(() => {}); }, [path]);
  return found;
}

// -- a window over many rows of one height: only those in sight are in the document --------------------

const MORE = 12;

/** How many lines of `cols` signs a text takes: exact for plain letters, and never too few for others. */
export function linesOf(text, cols) {
  let size = text.length;
  if (/[^ -~]/.test(text)) for (const one of text) size += one === "\t" ? 7 : one < " " || one > "~" ? 9 : 0;
  return Math.max(1, Math.ceil(size / cols));
}

/** Where each row begins, counted in lines; kept as long as `lines` and the width are the same, but for the last row, which may grow. */
function useTops(count, lines, cols) {
  const kept = useRef({});
  if (!lines) return null;
  if (kept.current.lines !== lines || kept.current.cols !== cols) kept.current = { lines, cols, tops: [0] };
  const { tops } = kept.current;
  tops.length = Math.max(1, Math.min(tops.length - 1, count));
  for (let i = tops.length - 1; i < count; i += 1) tops.push(tops[i] + lines(i, cols));
  return tops;
}

/** `row(i)`: the content of a row. `goal`: {row, n}: scroll there when n changes. `follow`: stay at the end. `lines(i, cols)`: how many lines a row takes, where they wrap. */
export function Window({ count, height, row, label, goal, follow, onFollow, rowClass, lines, extra = "" }) {
  const box = useRef(null), sign = useRef(0);
  const [place, set] = useState({ top: 0, tall: 600, wide: 800 });
  const tops = useTops(count, lines, Math.max(10, Math.floor((place.wide - 16) / (sign.current || 8))));
  const y = (i) => (tops ? tops[i] : i) * height;
  const at = (top) => {
    if (!tops) return Math.floor(top / height);
    let [low, high] = [0, count];
    while (low < high) { const mid = (low + high + 1) >> 1; if (tops[mid] * height <= top) low = mid; else high = mid - 1; }
    return low;
  };
  const see = () => {
    const { scrollTop, clientHeight, clientWidth, scrollHeight } = box.current;
    set((old) => (Math.abs(old.top - scrollTop) < 1 && old.tall === clientHeight && old.wide === clientWidth ? old : { top: scrollTop, tall: clientHeight, wide: clientWidth }));
    return scrollTop + clientHeight >= scrollHeight - height;
  };
  useLayoutEffect(() => {
    const drawn = document.createElement("canvas").getContext("2d");
    drawn.font = getComputedStyle(box.current).font;
    sign.current = drawn.measureText("0".repeat(100)).width / 100;
    const watch = new ResizeObserver(see);
    watch.observe(box.current);
    return () => watch.disconnect();
  }, []);
  useLayoutEffect(() => { if (follow) box.current.scrollTop = y(count); see(); }, [count, follow, lines]);
  useEffect(() => { if (goal && goal.row >= 0) { box.current.scrollTop = Math.max(0, y(Math.min(goal.row, count)) - place.tall / 3); see(); } }, [goal?.n, goal?.row, lines]);
  const first = Math.max(0, Math.min(count, at(place.top)) - MORE);
  const last = Math.min(count, at(place.top + place.tall) + 1 + MORE);
  const rows = [];
  for (let i = first; i < last; i += 1) {
    rows.push(html`<div class=${`row ${rowClass?.(i) || ""}`} style=${tops && { height: `${y(i + 1) - y(i)}px` }} key=${i} data-i=${i} role="listitem" aria-setsize=${count} aria-posinset=${i + 1}>${row(i)}</div>`);
  }
  return html`<div class=${`window ${extra} ${tops ? "wraps" : ""}`} style=${{ "--tall": `${y(count) + 16}px` }} ref=${box} tabindex="0" role="region" aria-label=${label} data-window data-count=${count} data-height=${height}
    onScroll=${() => { const end = see(); if (onFollow && follow !== end && (follow || end)) onFollow(end); }}>
    <div class="tall" style=${{ height: `${y(count)}px` }}>
      <div class="shown" role="list" style=${{ transform: `translateY(${y(first)}px)` }}>${rows}</div></div></div>`;
}
