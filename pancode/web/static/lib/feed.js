// One event stream for each tab: resumed by id, closed while the tab is hidden, told to everybody who listens.

import { ask, session } from "./api.js";

const SILENT_MS = 15_000; // the coordinator says something each 10 s
const WAITS = [300, 1000, 2000, 5000];
const SEEN = "pancode-seen";

const listeners = new Set();
const watchers = new Set();
export const feed = { heard: 0, open: false, last: "" };
let abort = null;
let tries = 0;

/** `fn` is called with each event: {kind, run, node, data ...}; kind `reset`: read everything anew; `resumed`: nothing was missed. */
export function listen(fn) { listeners.add(fn); return () => listeners.delete(fn); }
/** `fn` is called when the line comes or goes. */
export function watchLine(fn) { watchers.add(fn); return () => watchers.delete(fn); }

/** For how many ms nothing was heard; 0 while all is well. */
export function silence(now = Date.now()) {
  const gap = now - (feed.heard || started);
  return gap > SILENT_MS || (!feed.open && gap > 3000) ? gap : 0;
}

const started = Date.now();

export function begin() {
  document.addEventListener("visibilitychange", () => (document.hidden ? cut() : connect()));
  addEventListener("online", () => { cut(); connect(); });
  setInterval(() => { if (feed.open && Date.now() - feed.heard > SILENT_MS * 2) cut(true); }, 5000);
  session.watch(() => (session.token ? connect() : cut()));
  connect();
}

function cut(again) {
  abort?.abort();
  abort = null;
  line(false);
  if (again) connect();
}

function line(open) {
  if (feed.open === open) return;
  feed.open = open;
  for (const fn of [...watchers]) fn();
}

async function connect() {
  if (abort || document.hidden || !session.token) return;
  const mine = (abort = new AbortController());
  const resumed = feed.last;
  try {
    const headers = { Accept: "text/event-stream", ...(resumed && { "Last-Event-ID": resumed }) };
    const answer = await ask("events", { headers, signal: mine.signal });
    hear();
    line(true);
    tries = 0;
    spread({ kind: resumed ? "resumed" : "reset" });
    await read(answer.body.pipeThrough(new TextDecoderStream()).getReader());
  } catch (error) {
    if (error.status === 400) feed.last = "";
  }
  if (abort !== mine) return; // cut on purpose
  abort = null;
  line(false);
  const wait = WAITS[Math.min(tries++, WAITS.length - 1)];
  setTimeout(connect, wait * (0.75 + Math.random() / 2));
}

async function read(reader) {
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    hear();
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) take(block);
  }
}

function hear() { feed.heard = Date.now(); }

function take(block) {
  const fields = {};
  for (const row of block.split("\n")) {
    const colon = row.indexOf(":");
    if (colon > 0) fields[row.slice(0, colon)] = row.slice(colon + 1).trimStart();
  }
  if (fields.id) feed.last = fields.id;
  if (!fields.event) return;
  const data = JSON.parse(fields.data);
  if (fields.event === "reset") return spread({ kind: "reset" });
  localStorage.setItem(SEEN, JSON.stringify({ number: data.number, at: data.at }));
  spread(data);
}

function spread(event) { for (const fn of [...listeners]) fn(event); }

/** The last event that this browser had seen before now: {number, at}, or null. */
export function seenBefore() {
  try { return JSON.parse(localStorage.getItem(SEEN)); } catch { return null; }
}
