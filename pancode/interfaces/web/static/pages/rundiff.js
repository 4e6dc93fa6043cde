// The change of a run: by file, coloured; comments on its lines become the next attempt.

import { useEffect, useMemo, useState } from "preact/hooks";
import { ask, at, post } from "../lib/api.js";
import { addKeys } from "../lib/keys.js";
import { coloured, kindOf, openAfter } from "../lib/colours.js";
import { go, html, useKept, usePhone } from "../lib/live.js";
import { asked, Glyph, linesOf, newKey, tell, Trouble, Window } from "../lib/parts.js";
import { counted } from "../lib/words.js";

const HEIGHT = 24;
const SIGN = { add: "+", del: "-", ctx: " ", hunk: "", file: "", meta: "" };

export function Change({ run }) {
  const [state, set] = useState({});
  useEffect(() => {
    const stop = new AbortController();
    ask(at("runs", run.run, "diff"), { signal: stop.signal }).then((answer) => answer.text()).then((text) => set({ text }), (error) => error.name !== "AbortError" && set({ error }));
    return () => stop.abort();
  }, [run.run, run.commit]);
  if (!run.commit && run.state !== "ended") return html`<p class="panel pad small quiet">The run has not ended: it has no change yet.</p>`;
  if (state.error) return html`<${Trouble} problem=${state.error} />`;
  if (state.text === undefined) return html`<p>reading …</p>`;
  if (!state.text.trim()) return html`<p class="panel pad small quiet">This run changed no file.</p>`;
  return html`<${Shown} run=${run} text=${state.text} />`;
}

/** What is shown of the rows, as {i} or, side by side, {left, right}; what is folded leaves its file's heading. */
function laidOut(rows, folds, beside) {
  const found = [];
  for (let i = 0; i < rows.length; i += 1) {
    const { kind, file } = rows[i];
    if (kind === "file") { found.push({ i }); continue; }
    if (folds(file)) continue;
    if (!beside || (kind !== "del" && kind !== "add")) { found.push(beside && kind === "ctx" ? { left: i, right: i } : { i }); continue; }
    let end = i, last;
    while (rows[end]?.kind === "del") end += 1;
    for (last = end; rows[last]?.kind === "add";) last += 1;
    for (let k = 0; k < Math.max(end - i, last - end); k += 1) found.push({ left: i + k < end ? i + k : null, right: end + k < last ? end + k : null });
    i = last - 1;
  }
  return found;
}

const NUMBER = 7;
const isOf = (spot, i) => spot.i === i || spot.left === i || spot.right === i;

function Shown({ run, text }) {
  const { rows, files } = useMemo(() => parse(text), [text]);
  const phone = usePhone();
  const [goal, setGoal] = useState({ row: -1, n: 0 });
  const [file, setFile] = useState(0);
  const [comments, keep] = useKept(`pancode-comments-${run.run}`, []);
  const [seen, see] = useKept(`pancode-viewed-${run.run}-${run.commit}`, []);
  const [turned, turn] = useState({});
  const [how, put] = useKept("pancode-change", { beside: matchMedia("(min-width: 1600px)").matches, wrap: true });
  const beside = how.beside && !phone;
  const folds = (name) => (Object.hasOwn(turned, name) ? turned[name] : seen.includes(name));
  const spots = useMemo(() => laidOut(rows, folds, beside), [rows, turned, seen, beside]);
  const lines = useMemo(() => (how.wrap || beside) && ((n, cols) => {
    const spot = spots[n], tall = (i, wide) => linesOf(rows[i].text, Math.max(8, wide - NUMBER));
    if (spot.i !== undefined) return rows[spot.i].kind === "file" ? 1 : tall(spot.i, cols);
    return Math.max(...[spot.left, spot.right].map((i) => (i === null ? 1 : tall(i, Math.floor(cols / 2) - 1))));
  }), [rows, spots, how.wrap, beside]);
  const goTo = (i) => { const name = rows[i].file; if (folds(name)) turn((old) => ({ ...old, [name]: false })); setGoal((old) => ({ i, n: old.n + 1 })); };
  const place = { row: goal.i === undefined ? -1 : spots.findIndex((spot) => isOf(spot, goal.i)), n: goal.n };
  const to = (number) => { const next = Math.max(0, Math.min(files.length - 1, number)); setFile(next); setGoal((old) => ({ i: files[next].row, n: old.n + 1 })); };
  const view = (name) => { const on = !seen.includes(name); see(on ? [...seen, name] : seen.filter((one) => one !== name)); turn((old) => ({ ...old, [name]: on })); };
  const here = () => files.findIndex((one) => one.name === document.activeElement?.closest("[data-file]")?.dataset.file);
  useEffect(() => addKeys({
    "]": ["next file of the change", () => to(file + 1)], "[": ["file before", () => to(file - 1)],
    b: ["both sides of the change", () => put({ ...how, beside: !how.beside })],
    v: ["viewed: fold the file, go to the next", () => { const at = here() < 0 ? file : here(); view(files[at].name); to(at + 1); }],
    c: ["comment on this line", () => { const key = document.activeElement?.closest("[data-line]"); if (key) comment(Number(key.dataset.line)); }],
  }));
  const comment = async (i) => {
    const line = rows[i];
    const old = comments.find((one) => one.i === i);
    const words = await asked(`Comment on ${line.file}, line ${line.b ?? line.a}`, "Keep", old?.words || "");
    if (words === null) return;
    const rest = comments.filter((one) => one.i !== i);
    keep(words.trim() ? [...rest, { i, file: line.file, line: line.b ?? line.a, kind: line.kind, text: line.text, words: words.trim() }].sort((a, b) => a.i - b.i) : rest);
  };
  const has = new Set(comments.map((one) => one.i));
  const heading = (name) => { const one = files.find((each) => each.name === name);
    return html`<button type="button" class="no" data-file=${name} aria-expanded=${!folds(name)} aria-label=${`fold ${name}`} onClick=${() => turn((old) => ({ ...old, [name]: !folds(name) }))}><${Glyph} name=${folds(name) ? "fold" : "open"} /></button><code class="cut">${name}</code> <span class="ok tone">+${one.added}</span> <span class="bad tone">−${one.removed}</span>
      <label class="keys push"><input type="checkbox" aria-label=${`viewed ${name}`} checked=${seen.includes(name)} onChange=${() => view(name)} /> viewed</label>`; };
  const side = (i, number = rows[i].b ?? rows[i].a) => html`<button type="button" class="no" data-line=${i} data-file=${rows[i].file} onClick=${() => comment(i)} aria-label=${`comment on line ${number}`}>${has.has(i) ? "✎" : ""}${number}</button><code>${SIGN[rows[i].kind]}${drawn(rows[i])}</code>`;
  const half = (i, right) => (i === null ? html`<div class="empty-side"></div>` : html`<div class=${`${rows[i].kind} ${has.has(i) ? "marked" : ""}`}>${side(i, right ? rows[i].b : rows[i].a)}</div>`);
  const row = (n) => {
    const spot = spots[n];
    if (spot.i === undefined) return html`${half(spot.left)}${half(spot.right, true)}`;
    const line = rows[spot.i];
    return line.kind === "file" ? heading(line.file) : line.b === undefined && line.a === undefined ? html`<code>${line.text}</code>` : side(spot.i);
  };
  const kindAt = (n) => (spots[n].i === undefined ? "sides" : `${rows[spots[n].i].kind} ${has.has(spots[n].i) ? "marked" : ""}`);
  const sum = (what) => files.reduce((all, one) => all + one[what], 0);
  const box = (name, words) => html`<label class="keys desk"><input type="checkbox" checked=${how[name]} onChange=${() => put({ ...how, [name]: !how[name] })} /> ${words}</label>`;
  return html`<div class="change"><nav class="files panel" aria-label="files of the change"><div class="cap"><b>${counted(files.length, "file")}</b></div><${Tree} of=${treeOf(files)} row=${(one) => html`<button type="button" aria-current=${files.indexOf(one) === file ? "true" : undefined} title=${one.name} onClick=${() => { turn((old) => ({ ...old, [one.name]: false })); to(files.indexOf(one)); }}>
      ${seen.includes(one.name) && html`<span class="ok tone">✓ <span class="sr">viewed </span></span>`}${one.name.split("/").pop()} <span class="ok tone">+${one.added}</span> <span class="bad tone">−${one.removed}</span></button>`} /></nav>
    <div class="stack"><div class="panel"><div class="cap small"><b>${counted(files.length, "file")}</b><span class="ok tone">+${sum("added")}</span><span class="bad tone">−${sum("removed")}</span>${seen.length > 0 && html`<span class="quiet">${files.filter((one) => seen.includes(one.name)).length} viewed</span>`}<span class="push keys">${box("beside", "side by side")}${box("wrap", "wrap")}</span></div>
    <${Window} count=${spots.length} height=${HEIGHT} row=${row} label="change" extra="diff rows" goal=${place} lines=${lines || undefined} rowClass=${kindAt} /></div>
    <${Comments} run=${run} comments=${comments} keep=${keep} jump=${goTo} /></div></div>`;
}

/** Files by folder; a folder that holds nothing but one folder is one with it. */
function treeOf(files) {
  const top = { folders: new Map(), files: [] };
  for (const file of files) {
    let place = top;
    for (const name of file.name.split("/").slice(0, -1)) {
      if (!place.folders.has(name)) place.folders.set(name, { folders: new Map(), files: [] });
      place = place.folders.get(name);
    }
    place.files.push(file);
  }
  return top;
}

function Tree({ of, row }) {
  const folder = ([name, inside]) => {
    while (!inside.files.length && inside.folders.size === 1) { const [[more, next]] = inside.folders; name = `${name}/${more}`; inside = next; }
    return html`<li key=${`${name}/`}><details open><summary class="small quiet"><span class="fold"><${Glyph} name="fold" /></span>${name}</summary><${Tree} of=${inside} row=${row} /></details></li>`;
  };
  return html`<ul class="tree">${[...of.folders].map(folder)}${of.files.map((one) => html`<li key=${one.name}>${row(one)}</li>`)}</ul>`;
}

/** A line in the colours of its language; what differs inside of it is marked. */
function drawn(line) {
  const found = [];
  let place = 0;
  for (const { text, className } of coloured(line.text, kindOf(line.file), line.open).pieces) {
    const cuts = line.from === undefined ? [] : [line.from, line.to].filter((cut) => cut > place && cut < place + text.length);
    for (const [from, to] of [0, ...cuts.map((cut) => cut - place)].map((cut, n, all) => [cut, all[n + 1] ?? text.length])) {
      const inner = className ? html`<span class=${className}>${text.slice(from, to)}</span>` : text.slice(from, to);
      found.push(line.from !== undefined && place + from >= line.from && place + from < line.to ? html`<b>${inner}</b>` : inner);
    }
    place += text.length;
  }
  return found;
}

function Comments({ run, comments, keep, jump }) {
  const [words, say] = useState("");
  const [busy, set] = useState(false);
  if (!comments.length) return html`<p class="small quiet">A line number opens a comment; comments are sent together, and become the next attempt.</p>`;
  const send = async () => {
    set(true);
    try {
      const done = await post(at("runs", run.run, "continue"), { text: remark(comments, words) }, newKey());
      keep([]);
      tell(`${done.run} continues with your comments`);
      go(["runs", done.run]);
    } catch (problem) { tell(problem); set(false); }
  };
  return html`<section class="comments panel" aria-labelledby="c1"><div class="cap"><h2 id="c1">${counted(comments.length, "comment")}</h2></div><div class="pad stack"><ul class="plain">${comments.map((one) => html`<li key=${one.i}>
      <button type="button" class="bare" onClick=${() => jump(one.i)}>${one.file}:${one.line}</button> ${one.words}
      <button type="button" class="bare" onClick=${() => keep(comments.filter((other) => other !== one))}>remove</button></li>`)}</ul>
    <label class="field">Words before them <textarea rows="2" value=${words} onInput=${(event) => say(event.target.value)}></textarea></label>
    <p class="keys"><button type="button" class="main" disabled=${busy || run.state !== "ended"} onClick=${send}>Send back: next attempt</button>
    ${run.state !== "ended" && html`<span class="quiet">The run has not ended.</span>`}</p></div></section>`;
}

// -- a unified diff, as rows for the window ------------------------------------------------------------

/** {rows, files}: a row is {kind, text, a, b, file}; a file {name, row, added, removed}. */
function parse(text) {
  const rows = [], files = [];
  let file = null, a = 0, b = 0, left = 0, right = 0;
  for (const line of text.split("\n")) {
    if (left <= 0 && right <= 0 && line.startsWith("diff --git ")) {
      file = { name: nameOf(line), row: rows.length, added: 0, removed: 0 };
      files.push(file);
      rows.push({ kind: "file", text: file.name, file: file.name });
    } else if (left <= 0 && right <= 0 && line.startsWith("@@")) {
      const found = /^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@/.exec(line);
      if (!found) continue;
      [a, left, b, right] = [+found[1], +(found[2] ?? 1), +found[3], +(found[4] ?? 1)];
      rows.push({ kind: "hunk", text: line, file: file?.name });
    } else if (left > 0 || right > 0) {
      if (line[0] === "+") { rows.push({ kind: "add", text: line.slice(1), b, file: file.name }); b += 1; right -= 1; file.added += 1; }
      else if (line[0] === "-") { rows.push({ kind: "del", text: line.slice(1), a, file: file.name }); a += 1; left -= 1; file.removed += 1; }
      else if (line[0] === "\\") rows.push({ kind: "meta", text: line, file: file.name });
      else { rows.push({ kind: "ctx", text: line.slice(1), a, b, file: file.name }); a += 1; b += 1; left -= 1; right -= 1; }
    } else if (file) takeHead(line, file, rows);
  }
  pair(rows);
  carry(rows);
  return { rows, files };
}

function takeHead(line, file, rows) {
  const to = /^\+\+\+ (?:"?b\/)(.*?)"?\t?$/.exec(line) || /^rename to (.*)$/.exec(line);
  if (to && to[1]) { file.name = to[1]; rows[file.row].text = file.name; rows[file.row].file = file.name; }
  if (/^(new file|deleted file|rename from|Binary files|old mode|new mode|GIT binary|similarity)/.test(line) || line.startsWith("\\")) {
    rows.push({ kind: "meta", text: line, file: file.name });
  }
}

/** `diff --git a/x b/x` names the file twice, with one space between, whatever is in the name. */
function nameOf(line) {
  const both = line.slice("diff --git ".length);
  const half = both.slice(Math.floor(both.length / 2) + 1);
  return half.replace(/^"?b\//, "").replace(/"$/, "");
}

/** What is open at the beginning of each line, as a comment of several lines: on the old side and on the new one. */
function carry(rows) {
  let old = "", now = "";
  for (const row of rows) {
    if (row.kind === "hunk" || row.kind === "file") { old = now = ""; continue; }
    row.open = row.kind === "del" ? old : now;
    const kind = kindOf(row.file || "");
    if (row.kind !== "add") old = openAfter(row.text, kind, old);
    if (row.kind !== "del") now = openAfter(row.text, kind, now);
  }
}

/** Marks what differs inside of lines that were changed one by one: `from`, `to` in the text. */
function pair(rows) {
  for (let i = 0; i < rows.length; i += 1) {
    if (rows[i].kind !== "del") continue;
    let end = i;
    while (rows[end]?.kind === "del") end += 1;
    let last = end;
    while (rows[last]?.kind === "add") last += 1;
    if (last - end === end - i) for (let k = 0; k < end - i; k += 1) mark(rows[i + k], rows[end + k]);
    i = last - 1;
  }
}

function mark(old, now) {
  const [x, y] = [old.text, now.text];
  if (x.length > 2000 || y.length > 2000) return;
  let from = 0;
  while (from < x.length && from < y.length && x[from] === y[from]) from += 1;
  let back = 0;
  while (back < x.length - from && back < y.length - from && x[x.length - 1 - back] === y[y.length - 1 - back]) back += 1;
  if (from + back < Math.max(x.length, y.length) / 4) return; // nothing in common: the whole line is new
  Object.assign(old, { from, to: x.length - back });
  Object.assign(now, { from, to: y.length - back });
}

/** The comments of a user as the words with which a run is continued. */
function remark(comments, words) {
  const parts = comments.map((one) => `${one.file}:${one.line}${one.kind === "del" ? " (removed line)" : ""}\n> ${one.text}\n${one.words}`);
  return [words || "A user has read your change and asks for this:", ...parts].join("\n\n");
}
