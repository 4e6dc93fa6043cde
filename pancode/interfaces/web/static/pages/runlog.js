// The log of a run: by call of a tool, or in numbered lines with links, colours, search, follow; a hundred thousand in one window.

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { after, isWrong, pieces, spoken, strip } from "../lib/lines.js";
import { ask, at, withQuery } from "../lib/api.js";
import { grow } from "../lib/conversation.js";
import { Call, folded, Said, Thought } from "../lib/deeds.js";
import { follow } from "../lib/feed.js";
import { addKeys } from "../lib/keys.js";
import { html, link, useKept, useLive, usePhone } from "../lib/live.js";
import { Glyph, linesOf, Prose, tell, Trouble, Window } from "../lib/parts.js";
import { bytes, counted, span, visible } from "../lib/words.js";

const HEIGHT = 24;
const LOOK_MS = 400;
/** Bytes of the end of a log that are read first: a large one is read whole only when one asks. */
const TAIL = 1 << 20;
/** Streams, by the phase that writes them. */
const PHASES = { setup: "set-up", out: "agent", err: "agent, errors", "gates.log": "gates", answer: "answer", score: "score" };
const NUMBER = 7, LONGEST = 20000, SHOWN_STEPS = 300;

/** Lines as they arrive: {lines, styles, end, open}; `before`: bytes of the log before them, read only if `whole`; `first`: the number of lines in those bytes; `plus`: a sign where nobody has counted them. */
function useLog(run, stream, attempt, whole, wanted) {
  const [, draw] = useState(0);
  const held = useRef(null);
  const key = `${run}/${stream}/${attempt}/${whole}`;
  if (held.current?.key !== key) held.current = { key, before: 0, first: 0, plus: "", lines: [], styles: [], rest: "", restStyle: undefined, attempts: [] };
  useEffect(() => {
    if (!wanted) return undefined;
    const log = held.current;
    const stop = new AbortController();
    const place = { offset: 0, last: whole ? undefined : TAIL, attempt };
    const text = new TextDecoder("utf-8");
    let timer = 0, shown = "";
    const read = async () => {
      try {
        for (;;) {
          const answer = await ask(withQuery(at("runs", run, "log"), { stream, offset: place.offset, last: place.last, attempt: place.attempt }), { signal: stop.signal });
          const data = await answer.arrayBuffer();
          const now = answer.headers.get("Pancode-Attempt") || "";
          if (now && now !== shown) { if (shown) take(log, `\n\x1b[7m attempt ${now} \x1b[0m\n`); shown = now; }
          place.offset = Number(answer.headers.get("Pancode-Next"));
          let came = text.decode(data, { stream: true });
          if (place.last && data.byteLength) {
            log.before = place.offset - data.byteLength;
            place.last = undefined;
            if (log.before) { // the cut first line is left out
              came = came.slice(came.indexOf("\n") + 1);
              const lines = answer.headers.get("Pancode-Lines-Before") || 0;
              if (lines === "unknown") log.plus = "+"; else log.first = Number(lines) + 1;
            }
          }
          take(log, came);
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
  }, [key, wanted]);
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

/** The log of an ended run opens at its first error, else at its end. `errs`: the whole log is read for that. */
export function Log({ run, query, stream: fixed, title, errs }) {
  const streams = useLive(fixed ? null : at("runs", run.run, "streams"), undefined, (event) => event.run === run.run && event.kind === "run.stage");
  const [attempt, setAttempt] = useState(query.attempt || "");
  const [stream, setStream] = useState(fixed || query.stream || "out");
  const [whole, readWhole] = useState(Boolean(query.line || query.find || errs));
  useEffect(() => { if (query.line || query.find) readWhole(true); }, [query.line, query.find]);
  const [raw, setRaw] = useState(false), [flat, setFlat] = useState(false), [sought, seek] = useState(query.find || "");
  // a program that only prints has no steps, and a search is for lines
  const calls = stream === "out" && !fixed && run.runtime !== "shell", byStep = calls && !flat && !raw && !sought && !query.line;
  const log = useLog(run.run, stream, attempt, whole, !byStep || run.state === "ended"), deeds = useDeeds(run.run, attempt, whole, byStep);
  const phone = usePhone(), [wrap, setWrap] = useKept("pancode-wrap", phone);
  const [follows, setFollow] = useState(run.state !== "ended" && !query.line);
  const [hit, setHit] = useState(0);
  const [goal, setGoal] = useState({ row: query.line ? Number(query.line) - 1 : -1, n: 0 });
  const field = useRef(null), scanned = useRef({});
  const count = log.lines.length + (log.rest ? 1 : 0);
  const lineOf = (i) => (i < log.lines.length ? log.lines[i] : log.rest);
  const hits = useMemo(() => {
    if (!sought) return [];
    const low = sought.toLowerCase(), found = [];
    for (let i = 0; i < count; i += 1) if (strip(lineOf(i)).toLowerCase().includes(low)) found.push(i);
    return found;
  }, [sought, count, log.key]);
  if (scanned.current.key !== log.key) scanned.current = { key: log.key, next: 0, row: -1 };
  for (const scan = scanned.current; scan.row < 0 && scan.next < log.lines.length; scan.next += 1) {
    const line = log.lines[scan.next];
    if (isWrong(line)) scan.row = scan.next;
  }
  const wrong = scanned.current.row;
  const toWrong = () => { setFollow(false); setFlat(true); setGoal((old) => ({ row: wrong, n: old.n + 1 })); };
  const step = (by) => {
    if (!hits.length) return;
    const next = (hit + by + hits.length) % hits.length;
    setHit(next); setFollow(false); setGoal((old) => ({ row: hits[next], n: old.n + 1 }));
  };
  useEffect(() => { if (hits.length) { setHit(0); setFollow(false); setGoal((old) => ({ row: hits[0], n: old.n + 1 })); } }, [sought]);
  useEffect(() => { if (query.line) setGoal((old) => ({ row: Number(query.line) - 1, n: old.n + 1 })); }, [query.line, count > Number(query.line || 0)]);
  useEffect(() => addKeys({
    e: ["first error of the log", () => wrong >= 0 && toWrong()], n: ["next hit in the log", () => step(1)], N: ["hit before", () => step(-1)], f: ["follow the log", () => setFollow((on) => !on)],
    G: ["end of the log", () => setGoal((old) => ({ row: count - 1, n: old.n + 1 }))],
  }));
  const marked = query.line ? Number(query.line) - 1 - log.first : -1;
  const lines = useMemo(() => (wrap ? (i, cols) => linesOf(readable(lineOf(i), raw), Math.max(8, cols - NUMBER)) : undefined), [wrap, raw, log.key]);
  const opened = useRef(""), steps = useRef(null);
  useEffect(() => {
    if (run.state !== "ended" || log.state !== "end" || query.line || query.find || opened.current === log.key) return;
    opened.current = log.key;
    if (byStep) { if (steps.current) steps.current.scrollTop = steps.current.scrollHeight; }
    else if (wrong >= 0) toWrong();
    else setGoal((old) => ({ row: count - 1, n: old.n + 1 }));
  }, [log.state, log.key]);
  const names = [...new Set(Object.values(streams.data?.streams || {}).flat().concat("out"))];
  const to = (line) => link(["runs", run.run, fixed ? "gates" : "log"], { line, stream: stream === "out" || fixed ? undefined : stream, attempt });
  const row = (i) => html`${log.plus ? html`<span class="no">+${i + 1}</span>` : html`<a class="no" href=${to(log.first + i + 1)}>${log.first + i + 1}</a>`}<code>${shown(lineOf(i), log.styles[i] ?? undefined, raw, sought)}</code>`;
  return html`<section class="panel" aria-label="output"><div class="cap small">${title && html`<h2>${title}</h2>`}
    ${!fixed && html`<label class="desk">of <select aria-label="phase" value=${stream} onChange=${(event) => setStream(event.target.value)}>${names.map((name) => html`<option value=${name}>${PHASES[name] || name}</option>`)}</select></label>
    <label class="desk">attempt <select value=${attempt} onChange=${(event) => setAttempt(event.target.value)}><option value="">last</option>${Object.keys(streams.data?.streams || {}).map((name) => html`<option value=${name}>${name}</option>`)}</select></label>`}
    <input type="search" aria-label="search" placeholder="search, then n and N" data-search ref=${field} value=${sought} onInput=${(event) => seek(event.target.value)} onKeyDown=${(event) => { if (event.key === "Enter") { event.preventDefault(); step(event.shiftKey ? -1 : 1); } if (event.key === "Escape") field.current.blur(); }} />
    ${sought && html`<span role="status">${hits.length ? `${hit + 1} of ${hits.length}` : "no hit"}</span>`}
    ${wrong >= 0 && html`<button type="button" class="bare bad tone" onClick=${toWrong}>first error: line ${log.plus}${log.first + wrong + 1}</button>`}
    <label class="keys"><input type="checkbox" checked=${follows} onChange=${(event) => setFollow(event.target.checked)} /> follow</label>
    ${calls && html`<label class="keys"><input type="checkbox" checked=${byStep} onChange=${(event) => { setFlat(!event.target.checked); setRaw(false); seek(""); }} /> by call</label>`}
    <label class="keys"><input type="checkbox" checked=${wrap} onChange=${(event) => setWrap(event.target.checked)} /> wrap</label>
    <label class="keys"><input type="checkbox" checked=${raw} onChange=${(event) => setRaw(event.target.checked)} /> raw</label>
    ${!log.before && html`<button type="button" class="bare" onClick=${() => save(run, stream, log)}>download</button>`}
    ${log.before > 0 && html`<button type="button" onClick=${() => readWhole(true)}>${bytes(log.before)} before this</button>`}
    <span class="quiet push" role="status">${byStep ? counted(deeds.parts.length, "step") : counted(count, "line")}${(byStep ? deeds.over : log.state === "end") ? "" : ", open"}</span></div>
    ${(log.error || deeds.error) && html`<${Trouble} problem=${log.error || deeds.error} />`}
    ${byStep && deeds.parts.length ? html`<${Deeds} run=${run} deeds=${deeds} address=${!log.plus && to} box=${steps} follow=${follows} />`
      : byStep ? html`<p class="pad small quiet">${deeds.over ? "It wrote nothing here." : deeds.read ? "It has written nothing yet." : "reading …"}</p>`
      : !count ? html`<p class="pad small quiet">${log.state === "end" ? "It wrote nothing here." : log.state ? "It has written nothing yet." : "reading …"}</p>`
      : html`<${Window} count=${count} height=${HEIGHT} lines=${lines} row=${row} label="log" extra="log" goal=${goal} follow=${follows} onFollow=${(on) => setFollow(on && log.state === "open")}
        rowClass=${(i) => (i === marked || i === wrong ? "marked" : sought && i === hits[hit] ? "hit" : "")} />`}</section>`;
}

/** What the agent of a run says, thinks and does, as it happens: {parts, first, error, over}. */
function useDeeds(run, attempt, whole, wanted) {
  const [, draw] = useState(0);
  const held = useRef(null), key = `${run}/${attempt}/${whole}`;
  if (held.current?.key !== key) held.current = { key, parts: [], next: 0, attempt: "", error: null, over: false, read: false };
  useEffect(() => {
    if (!wanted || held.current.over) return undefined;
    const here = held.current;
    let timer = 0;
    const soon = () => { timer ||= setTimeout(() => { timer = 0; draw((n) => n + 1); }, 60); };
    // a stream that was cut is read again from its beginning: calls of before may have ended meanwhile
    const stream = follow((signal) => { Object.assign(here, { parts: [], attempt: "" }); return ask(withQuery(at("runs", run, "log"), { parts: 1, follow: 1, attempt, last: whole ? undefined : TAIL }), { signal }); }, ({ event, data }) => {
      here.error = null;
      if (event === "parts") {
        if (here.attempt && here.attempt !== data.attempt) here.parts.push({ kind: "note", text: `Attempt ${data.attempt} begins.` });
        here.attempt = data.attempt;
        for (const part of data.parts) if (part.text || part.kind === "call" || part.kind === "ended") grow(here.parts, part);
      } else if (event === "end") { stream.over = true; here.over = true; } else if (event === "problem") here.error = data;
      here.read = true;
      soon();
    }, soon, (problem) => { here.error = problem; if (problem.status < 500) stream.over = true; soon(); });
    return () => { stream.end(); clearTimeout(timer); };
  }, [key, wanted]);
  return held.current;
}

/** What an agent said, thought and did: its words as prose, each call folded, with what came of it and how long it took. */
function Deeds({ run, deeds, address, box, follow: follows }) {
  const [all, showAll] = useState(false);
  const rows = folded(deeds.parts), hidden = all ? 0 : Math.max(0, rows.length - SHOWN_STEPS), goes = run.state !== "ended";
  useEffect(() => { if (follows && box.current) box.current.scrollTop = box.current.scrollHeight; });
  const shownPart = ({ part, times }, last) => {
    switch (part.kind) {
      case "call": return html`<${Call} call=${part} times=${times} goes=${goes} opens=${last} begin=${Date.parse(run.started_at)} href=${address && part.line ? address(part.line) : ""} line=${part.line} />`;
      case "said": case "output": return html`<div class="pad"><${Said} text=${part.text} /></div>`;
      case "thought": return html`<${Thought} part=${part} />`;
      case "turn": case "heard": return html`<p class="pad small"><b>${part.by}</b>: <span class="words">${part.text}</span></p>`;
      default: return html`<p class=${`pad small ${part.kind === "retrying" ? "warn tone" : "quiet"}`}>${part.kind === "ended" ? (part.state === "end_turn" ? "" : `The turn ended early: ${part.state}${part.why ? `, ${part.why}` : ""}`) : part.text}</p>`;
    }
  };
  return html`<ol class="steps" aria-label="steps" ref=${box}>${hidden > 0 && html`<li class="pad"><button type="button" onClick=${() => showAll(true)}>${counted(hidden, "earlier step")}</button></li>`}
    ${rows.slice(hidden).map((row, i, some) => html`<li key=${`${row.part.line}/${i + hidden}`}>${shownPart(row, i >= some.length - 2)}</li>`)}</ol>`;
}

/** What an agent said in several lines, as one row of the log. */
const oneLine = (text) => text.replace(/\s*\n\s*/g, " ⏎ ");

/** A line as it is read: for its measure. */
function readable(line, raw) {
  const said = !raw && line.startsWith("{") ? spoken(line) : null;
  return said ? `${said.kind} ${oneLine(said.text)}` : strip(line.slice(0, LONGEST));
}

/** A line as text in spans; one of an agent's JSON in words, unless it is wanted as it is. */
function shown(line, style, raw, sought) {
  const said = !raw && line.startsWith("{") ? spoken(line) : null;
  if (said) return [html`<span class="quiet">${said.kind}</span> `, ...light(oneLine(said.text), "", sought)];
  return pieces(line.slice(0, LONGEST), style).flatMap((piece) => light(piece.text, piece.className, sought));
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
  const text = [...log.lines, ...(log.rest ? [log.rest] : [])].map((line) => visible(strip(line))).join("\n");
  const address = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
  const made = document.createElement("a");
  made.href = address;
  made.download = `${run.run}.${stream.replace(".log", "")}.txt`;
  made.click();
  URL.revokeObjectURL(address);
  tell(`${made.download} is saved, without control characters`);
}
