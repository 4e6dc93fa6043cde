// The change of a run: by file, coloured; comments on its lines become the next attempt.

import { useEffect, useMemo, useState } from "preact/hooks";
import { ask, at, post } from "../lib/api.js";
import { addKeys } from "../lib/keys.js";
import { go, html, useKept } from "../lib/live.js";
import { asked, newKey, tell, Trouble, Window } from "../lib/parts.js";
import { counted, visible } from "../lib/words.js";

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

function Shown({ run, text }) {
  const { rows, files } = useMemo(() => parse(text), [text]);
  const [goal, setGoal] = useState({ row: -1, n: 0 });
  const [file, setFile] = useState(0);
  const [comments, keep] = useKept(`pancode-comments-${run.run}`, []);
  const to = (number) => { const next = Math.max(0, Math.min(files.length - 1, number)); setFile(next); setGoal((old) => ({ row: files[next].row, n: old.n + 1 })); };
  useEffect(() => addKeys({
    "]": ["next file of the change", () => to(file + 1)], "[": ["file before", () => to(file - 1)],
    c: ["comment on this line", () => { const row = document.activeElement?.closest("[data-i]"); if (row) comment(Number(row.dataset.i)); }],
  }));
  const comment = async (i) => {
    const line = rows[i];
    const place = line.b ?? line.a;
    const old = comments.find((one) => one.i === i);
    const words = await asked(`Comment on ${visible(line.file)}, line ${place}`, "Keep", old?.words || "");
    if (words === null) return;
    const rest = comments.filter((one) => one.i !== i);
    keep(words.trim() ? [...rest, { i, file: line.file, line: place, kind: line.kind, text: line.text, words: words.trim() }].sort((a, b) => a.i - b.i) : rest);
  };
  const has = new Set(comments.map((one) => one.i));
  const row = (i) => {
    const line = rows[i];
    const number = line.b ?? line.a;
    if (number === undefined) return html`<code>${visible(line.text)}</code>`;
    return html`<button type="button" class="no" onClick=${() => comment(i)} aria-label=${`comment on line ${number}`}>${has.has(i) ? "✎" : ""}${number}</button><code>${SIGN[line.kind]}${marked(line)}</code>`;
  };
  return html`<div class="change"><nav class="files panel" aria-label="files of the change"><div class="cap"><b>${counted(files.length, "file")}</b></div><ul>${files.map((one, number) => html`<li><button type="button" aria-current=${number === file ? "true" : undefined} onClick=${() => to(number)}>
      ${visible(one.name)} <span class="ok tone">+${one.added}</span> <span class="bad tone">−${one.removed}</span></button></li>`)}</ul></nav>
    <div class="stack"><div class="panel"><${Window} count=${rows.length} height=${HEIGHT} row=${row} label="change" extra="diff rows" goal=${goal} rowClass=${(i) => `${rows[i].kind}${has.has(i) ? " marked" : ""}`} /></div>
    <${Comments} run=${run} comments=${comments} keep=${keep} jump=${(i) => setGoal((old) => ({ row: i, n: old.n + 1 }))} /></div></div>`;
}

const marked = (line) => (line.from === undefined ? visible(line.text) : [visible(line.text.slice(0, line.from)), html`<b>${visible(line.text.slice(line.from, line.to))}</b>`, visible(line.text.slice(line.to))]);

function Comments({ run, comments, keep, jump }) {
  const [words, say] = useState("");
  const [busy, set] = useState(false);
  if (!comments.length) return html`<p class="small quiet">A line number opens a comment; comments are sent together, and become the next attempt.</p>`;
  const send = async () => {
    set(true);
    try {
      const done = await post(at("runs", run.run, "continue"), { text: remark(comments, words) }, newKey());
      keep([]);
      tell(`${done.run} goes on with your comments`);
      go(["runs", done.run]);
    } catch (problem) { tell(problem); set(false); }
  };
  return html`<section class="comments panel" aria-labelledby="c1"><div class="cap"><h2 id="c1">${counted(comments.length, "comment")}</h2></div><div class="pad stack"><ul class="plain">${comments.map((one) => html`<li key=${one.i}>
      <button type="button" class="bare" onClick=${() => jump(one.i)}>${visible(one.file)}:${one.line}</button> ${one.words}
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

/** The comments of a person as the words with which a run is continued. */
function remark(comments, words) {
  const parts = comments.map((one) => `${one.file}:${one.line}${one.kind === "del" ? " (removed line)" : ""}\n> ${one.text}\n${one.words}`);
  return [words || "A person has read your change and asks for this:", ...parts].join("\n\n");
}
