// The log of a run: colours, search, follow, numbered lines with links; a hundred thousand lines in one window.

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { after, pieces, spoken, strip } from "../lib/lines.js";
import { ask, at, withQuery } from "../lib/api.js";
import { addKeys } from "../lib/keys.js";
import { html, link, useLive } from "../lib/live.js";
import { tell, Trouble, Window } from "../lib/parts.js";
import { counted } from "../lib/words.js";

const HEIGHT = 24;
const LOOK_MS = 400;

/** Lines as they arrive: {lines, styles, end, open}. */
function useLog(run, stream, attempt) {
  const [, draw] = useState(0);
  const held = useRef(null);
  const key = `${run}/${stream}/${attempt}`;
  if (held.current?.key !== key) held.current = { key, lines: [], styles: [], rest: "", restStyle: undefined, attempts: [] };
  useEffect(() => {
    const log = held.current;
    const stop = new AbortController();
    const place = { offset: 0, attempt };
    const text = new TextDecoder("utf-8");
    let timer = 0, shown = "";
    const read = async () => {
      try {
        for (;;) {
          const answer = await ask(withQuery(at("runs", run, "log"), { stream, offset: place.offset, attempt: place.attempt }), { signal: stop.signal });
          const data = await answer.arrayBuffer();
          const now = answer.headers.get("Pancode-Attempt") || "";
          if (now && now !== shown) { if (shown) take(log, `\n\x1b[7m attempt ${now} \x1b[0m\n`); shown = now; }
          take(log, text.decode(data, { stream: true }));
          place.offset = Number(answer.headers.get("Pancode-Next"));
          place.attempt = now;
          log.state = answer.headers.get("Pancode-State");
          log.error = null;
          draw((n) => n + 1);
          if (log.state === "end") { take(log, text.decode()); return; }
          if (log.state !== "more") break;
          if (attempt && now !== attempt) return;
        }
      } catch (error) {
        if (error.name === "AbortError") return;
        log.error = error;
        draw((n) => n + 1);
      }
      timer = setTimeout(read, document.hidden ? 5000 : LOOK_MS);
    };
    read();
    return () => { stop.abort(); clearTimeout(timer); };
  }, [key]);
  return held.current;
}

function take(log, text) {
  if (!text) return;
  const lines = (log.rest + text).split("\n");
  log.rest = lines.pop();
  for (const whole of lines) {
    const line = whole.endsWith("\r") ? whole.slice(0, -1) : whole;
    const last = line.lastIndexOf("\r") + 1; // what was written over is gone, as in a terminal
    log.styles.push(log.restStyle);
    log.lines.push(last ? line.slice(last) : line);
    log.restStyle = after(line, log.restStyle);
  }
}

export function Log({ run, query, stream: fixed, title }) {
  const streams = useLive(fixed ? null : at("runs", run.run, "streams"), undefined, (event) => event.run === run.run && event.kind === "run.stage");
  const [attempt, setAttempt] = useState(query.attempt || "");
  const [stream, setStream] = useState(fixed || query.stream || "out");
  const log = useLog(run.run, stream, attempt);
  const [raw, setRaw] = useState(false);
  const [follow, setFollow] = useState(run.state !== "ended" && !query.line);
  const [sought, seek] = useState(query.find || "");
  const [hit, setHit] = useState(0);
  const [goal, setGoal] = useState({ row: query.line ? Number(query.line) - 1 : -1, n: 0 });
  const field = useRef(null);
  const count = log.lines.length + (log.rest ? 1 : 0);
  const lineOf = (i) => (i < log.lines.length ? log.lines[i] : log.rest);
  const hits = useMemo(() => {
    if (!sought) return [];
    const low = sought.toLowerCase(), found = [];
    for (let i = 0; i < count; i += 1) if (strip(lineOf(i)).toLowerCase().includes(low)) found.push(i);
    return found;
  }, [sought, count, log.key]);
  const step = (by) => {
    if (!hits.length) return;
    const next = (hit + by + hits.length) % hits.length;
    setHit(next); setFollow(false); setGoal((old) => ({ row: hits[next], n: old.n + 1 }));
  };
  useEffect(() => { if (hits.length) { setHit(0); setFollow(false); setGoal((old) => ({ row: hits[0], n: old.n + 1 })); } }, [sought]);
  useEffect(() => { if (query.line) setGoal((old) => ({ row: Number(query.line) - 1, n: old.n + 1 })); }, [query.line, count > Number(query.line || 0)]);
  useEffect(() => addKeys({
    n: ["next hit in the log", () => step(1)], N: ["hit before", () => step(-1)], f: ["follow the log", () => setFollow((on) => !on)],
    G: ["end of the log", () => setGoal((old) => ({ row: count - 1, n: old.n + 1 }))],
  }));
  const marked = query.line ? Number(query.line) - 1 : -1;
  const names = [...new Set(Object.values(streams.data?.streams || {}).flat().concat("out"))];
  const row = (i) => html`<a class="no" href=${link(["runs", run.run, fixed ? "gates" : "log"], { line: i + 1, stream: stream === "out" || fixed ? undefined : stream, attempt })}>${i + 1}</a><code>${shown(lineOf(i), log.styles[i] ?? undefined, raw, sought)}</code>`;
  return html`<section class="panel" aria-label="output"><div class="cap small">${title && html`<h2>${title}</h2>`}
    ${!fixed && html`<label class="desk">stream <select value=${stream} onChange=${(event) => setStream(event.target.value)}>${names.map((name) => html`<option>${name}</option>`)}</select></label>
    <label class="desk">attempt <select value=${attempt} onChange=${(event) => setAttempt(event.target.value)}><option value="">last</option>${Object.keys(streams.data?.streams || {}).map((name) => html`<option value=${name}>${name}</option>`)}</select></label>`}
    <input type="search" aria-label="search" placeholder="search, then n and N" data-search ref=${field} value=${sought} onInput=${(event) => seek(event.target.value)} onKeyDown=${(event) => { if (event.key === "Enter") { event.preventDefault(); step(event.shiftKey ? -1 : 1); } if (event.key === "Escape") field.current.blur(); }} />
    ${sought && html`<span role="status">${hits.length ? `${hit + 1} of ${hits.length}` : "no hit"}</span>`}
    <label class="keys"><input type="checkbox" checked=${follow} onChange=${(event) => setFollow(event.target.checked)} /> follow</label>
    <label class="keys"><input type="checkbox" checked=${raw} onChange=${(event) => setRaw(event.target.checked)} /> raw</label>
    <button type="button" class="bare" onClick=${() => save(run, stream, log)}>download</button>
    <span class="quiet push" role="status">${counted(count, "line")}${log.state === "end" ? "" : ", open"}</span></div>
    ${log.error && html`<${Trouble} problem=${log.error} />`}
    ${!count ? html`<p class="pad small quiet">${log.state === "end" ? "It wrote nothing here." : log.state ? "It has written nothing yet." : "reading …"}</p>`
      : html`<${Window} count=${count} height=${HEIGHT} row=${row} label="log" extra="log" goal=${goal} follow=${follow} onFollow=${(on) => setFollow(on && log.state === "open")}
        rowClass=${(i) => (i === marked ? "marked" : sought && i === hits[hit] ? "hit" : "")} />`}</section>`;
}

/** A line as text in spans; one of an agent's JSON in words, unless it is wanted as it is. */
function shown(line, style, raw, sought) {
  const said = !raw && line.startsWith("{") ? spoken(line) : null;
  if (said) return [html`<span class="quiet">${said.kind}</span> `, ...light(said.text, "", sought)];
  return pieces(line.slice(0, 20000), style).flatMap((piece) => light(piece.text, piece.className, sought));
}

function light(text, className, sought) {
  if (!sought) return [html`<span class=${className}>${text}</span>`];
  const found = [], low = text.toLowerCase(), word = sought.toLowerCase();
  let place = 0;
  for (let next = low.indexOf(word); next >= 0 && found.length < 200; next = low.indexOf(word, place)) {
    found.push(html`<span class=${className}>${text.slice(place, next)}</span>`, html`<mark>${text.slice(next, next + word.length)}</mark>`);
    place = next + word.length;
  }
  return [...found, html`<span class=${className}>${text.slice(place)}</span>`];
}

function save(run, stream, log) {
  const text = [...log.lines, ...(log.rest ? [log.rest] : [])].map(strip).join("\n");
  const address = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
  const made = document.createElement("a");
  made.href = address;
  made.download = `${run.run}.${stream.replace(".log", "")}.txt`;
  made.click();
  URL.revokeObjectURL(address);
  tell(`${made.download} is saved, without control characters`);
}
