// Pieces that every page uses: how fresh it is, states, problems, questions before an act, and `why`.

import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { at, get, post } from "./api.js";
import { html, link, useLive, useNow, useSilence } from "./live.js";
import { ago, clock, colour, span, stateOf, when } from "./words.js";

/** A page: its title, when it was read, and what failed. `lives`: results of useLive. */
export function Page({ title, lives = [], actions, children }) {
  const shown = lives.filter((one) => one.data || one.error);
  const read = Math.min(...lives.filter((one) => one.at).map((one) => one.at));
  const error = shown.find((one) => one.error)?.error;
  const silent = useSilence();
  useEffect(() => { document.title = `${title} · PanCode`; }, [title]);
  return html`<main id="main" tabindex="-1" class=${silent ? "old" : ""}>
    <header class="head"><h1>${title}</h1><${AsOf} read=${read} silent=${silent} />${actions}</header>
    ${error && html`<${Trouble} problem=${error} />`}
    ${!shown.length && lives.length ? html`<p class="quiet">reading …</p>` : children}
  </main>`;
}

/** Unknown never looks idle: a view that nobody has confirmed says for how long. */
function AsOf({ read, silent }) {
  if (silent) return html`<p class="asof warn" role="status">not heard for ${span(silent)}: what stands here may have changed</p>`;
  return html`<p class="asof">${Number.isFinite(read) ? html`as of <time>${clock(read)}</time>` : ""}</p>`;
}

export function Trouble({ problem }) {
  return html`<div class="trouble" role="alert"><strong>${problem.message}</strong>
    ${problem.why && html`<span> ${problem.why}</span>`}
    ${problem.fix && html`<span> → <code>${problem.fix}</code></span>`}</div>`;
}

export const Badge = ({ word, of }) => html`<span class=${`badge ${of || colour(word)}`}>${String(word).replaceAll("_", " ")}</span>`;
export const State = ({ run }) => html`<${Badge} word=${stateOf(run)} of=${stateOf(run) === "unknown" ? "bad" : undefined} />`;
export const RunLink = ({ run, part, children }) => html`<a href=${link(["runs", run, ...(part ? [part] : [])])}>${children || run}</a>`;
export const When = ({ at: moment }) => html`<time datetime=${moment || ""} title=${moment || ""}>${when(moment)}</time>`;
export function Ago({ at: moment }) { return html`<time datetime=${moment || ""} title=${moment || ""}>${ago(moment, useNow())}</time>`; }

/** A small key that says why; a row that has one answers `w` too. */
export const Why = ({ what }) =>
  html`<button type="button" class="small" data-why=${what} onClick=${() => askWhy(what)} aria-label=${`why: ${what.split(":")[1].slice(0, 60)}`}>why</button>`;

/** A fact of a list, where it is known. */
export const fact = (name, value) => (value === null || value === undefined || value === "" ? "" : html`<div><dt>${name}</dt><dd>${value}</dd></div>`);

/** A bar of how much is used. */
export function Bar({ used, held = 0, most, label }) {
  const share = (part) => (most > 0 ? Math.min(100, (part / most) * 100) : 0);
  return html`<svg class="bar" viewBox="0 0 100 6" preserveAspectRatio="none" role="img" aria-label=${label}>
    <rect class="all" width="100" height="6" /><rect class="held" width=${share(used + held)} height="6" />
    <rect class=${share(used) >= 80 ? "much" : "used"} width=${share(used)} height="6" /></svg>`;
}

/** A key that does something, once at a time. `sure`: words that are asked first; `done`: told the answer. */
export function Act({ label, path, body, sure, done, kind = "", disabled, title }) {
  const [busy, set] = useState(false);
  const press = async () => {
    if (busy || (sure && !(await agreed(sure, label)))) return;
    set(true);
    try {
      const answer = await post(path, typeof body === "function" ? body() : body || {}, newKey());
      await done?.(answer);
    } catch (problem) {
      tell(problem);
    }
    set(false);
  };
  return html`<button type="button" class=${kind} disabled=${busy || disabled} title=${title} onClick=${press}>${busy ? `${label} …` : label}</button>`;
}

export const newKey = () => crypto.randomUUID();

// -- what stands over the page -----------------------------------------------------------------------

let open = () => {}, note = () => {};
/** Words at the foot of the page that go away; a problem stays until it is closed. */
export function tell(said) { said instanceof Error ? open({ problem: said }) : note(said); }
export function askWhy(what) { open({ why: what }); }
/** Whether a person says yes. */
export const agreed = (words, verb) => new Promise((answer) => open({ sure: words, verb, answer }));
/** Words of a person, or null. */
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
  if (!shown) return words && html`<p class="note" role="status">${words}</p>`;
  const end = (value) => { box.current?.close(); set(null); shown.answer?.(value); };
  const no = shown.text === undefined ? false : null;
  return html`<dialog ref=${box} onCancel=${(event) => { event.preventDefault(); end(no); }} aria-labelledby="over">
    ${shown.why && html`<${WhyBox} what=${shown.why} end=${end} />`}
    ${shown.problem && html`<h2 id="over">That did not work</h2><${Trouble} problem=${shown.problem} /><p><button type="button" autofocus onClick=${() => end()}>Close</button></p>`}
    ${shown.sure && html`<${Sure} shown=${shown} end=${end} no=${no} />`}
  </dialog>`;
}

function Sure({ shown, end, no }) {
  const words = useRef(null);
  const given = shown.text !== undefined;
  return html`<form method="dialog" onSubmit=${(event) => { event.preventDefault(); end(given ? words.current.value : true); }}>
    <h2 id="over">${shown.sure}</h2>
    ${given && html`<textarea ref=${words} rows="4" autofocus aria-labelledby="over" defaultValue=${shown.text}
      onKeyDown=${(event) => event.key === "Enter" && (event.ctrlKey || event.metaKey) && end(words.current.value)}></textarea>`}
    <p class="keys"><button type="submit" class="main" autofocus=${!given}>${shown.verb}</button>
    <button type="button" onClick=${() => end(no)}>No</button></p></form>`;
}

function WhyBox({ what, end }) {
  const colon = what.indexOf(":");
  const [kind, rest] = [what.slice(0, colon), what.slice(colon + 1)];
  return html`<div class="why"><h2 id="over">Why${kind === "run" ? `: ${rest}` : ""}</h2>
    ${kind === "run" ? html`<${WhyRun} run=${rest} />` : html`<p class="lines">${rest}</p>`}
    <p><button type="button" autofocus onClick=${() => end()}>Close</button></p></div>`;
}

function WhyRun({ run }) {
  const live = useLive(`${at("runs", run, "why")}`, undefined, (event) => event.run === run);
  if (live.error) return html`<${Trouble} problem=${live.error} />`;
  if (!live.data) return html`<p>reading …</p>`;
  return html`<p><strong>${live.data.now}</strong></p><${Decisions} decisions=${live.data.decisions} />`;
}

/** Gates, placements, waits, retries: in the order in which they were decided. */
export function Decisions({ decisions }) {
  return html`<ol class="decisions">${decisions.map((one) => html`<li>
    <${When} at=${one.at} /> <span class="kind">${one.kind}</span> <b>${one.what}</b> <${Badge} word=${one.verdict} of=${verdict(one)} />
    <span class="detail">${one.detail}</span></li>`)}</ol>`;
}

const verdict = (one) => (/^(passed|placed|held|done|landed|delivered|settled)/.test(one.verdict) ? "ok" : /refused|failed|lost|denied/.test(one.verdict) ? "bad" : "wait");

/** Reads something once, for a list to choose from; an error leaves it empty. */
export function useOnce(path, pick) {
  const [found, set] = useState([]);
  useEffect(() => { get(path).then((data) => set(pick(data))).catch(() => {}); }, [path]);
  return found;
}

// -- a window over many rows of one height: only those in sight are in the document --------------------

const MORE = 12;

/** `row(i)`: the content of a row. `goal`: {row, n}: scroll there when n changes. `follow`: stay at the end. */
export function Window({ count, height, row, label, goal, follow, onFollow, rowClass, extra = "" }) {
  const box = useRef(null);
  const [place, set] = useState({ top: 0, tall: 600 });
  const see = () => {
    const { scrollTop, clientHeight, scrollHeight } = box.current;
    set((old) => (Math.abs(old.top - scrollTop) < 1 && old.tall === clientHeight ? old : { top: scrollTop, tall: clientHeight }));
    return scrollTop + clientHeight >= scrollHeight - height;
  };
  useLayoutEffect(() => {
    const watch = new ResizeObserver(see);
    watch.observe(box.current);
    return () => watch.disconnect();
  }, []);
  useLayoutEffect(() => { if (follow) box.current.scrollTop = count * height; see(); }, [count, follow]);
  useEffect(() => { if (goal && goal.row >= 0) { box.current.scrollTop = Math.max(0, goal.row * height - place.tall / 3); see(); } }, [goal?.n, goal?.row]);
  const first = Math.max(0, Math.floor(place.top / height) - MORE);
  const last = Math.min(count, Math.ceil((place.top + place.tall) / height) + MORE);
  const rows = [];
  for (let i = first; i < last; i += 1) {
    rows.push(html`<div class=${`row ${rowClass?.(i) || ""}`} key=${i} data-i=${i} role="listitem" aria-setsize=${count} aria-posinset=${i + 1}>${row(i)}</div>`);
  }
  return html`<div class=${`window ${extra}`} ref=${box} tabindex="0" role="region" aria-label=${label} data-window data-count=${count} data-height=${height}
    onScroll=${() => { const end = see(); if (onFollow && follow !== end && (follow || end)) onFollow(end); }}>
    <div class="tall" style=${{ height: `${count * height}px` }}>
      <div class="shown" role="list" style=${{ transform: `translateY(${first * height}px)` }}>${rows}</div></div></div>`;
}
