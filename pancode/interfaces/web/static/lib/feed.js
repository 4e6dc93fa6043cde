// Streams of the coordinator: begun again where they were, closed while the tab is hidden; and the feed of all events.

import { ask, session } from "./api.js";

const SILENT_MS = 15_000; // the coordinator says something each 10 s
const WAITS = [300, 1000, 2000, 5000];

/** Follows a stream. `begin(signal)` asks for it, `take` gets each {event, id, data}, `line` whether it is open, `failed` a problem. */
export function follow(begin, take, line, failed) {
  const self = { heard: 0, open: false, over: false, connect, end };
  let abort = null, tries = 0, timer = 0;
  const tell = (open) => { if (self.open !== open) { self.open = open; line(open); } };
  const cut = () => { clearTimeout(timer); abort?.abort(); abort = null; tell(false); };
  const back = () => { cut(); connect(); };
  const look = () => (document.hidden ? cut() : connect());
  document.addEventListener("visibilitychange", look);
  addEventListener("online", back);
  const deaf = session.watch(() => (session.token ? connect() : cut()));
  const watch = setInterval(() => { if (self.open && Date.now() - self.heard > SILENT_MS * 2) back(); }, 5000);

  async function connect() {
    clearTimeout(timer);
    if (abort || self.over || document.hidden || !session.token) return;
    const mine = (abort = new AbortController());
    try {
      const answer = await begin(mine.signal);
      self.heard = Date.now();
      tell(true);
      tries = 0;
      await read(answer.body.pipeThrough(new TextDecoderStream()).getReader(), mine);
    } catch (error) { if (abort === mine && error.status) failed(error); }
    if (abort !== mine) return; // cut on purpose
    abort = null;
    tell(false);
    timer = setTimeout(connect, WAITS[Math.min(tries++, WAITS.length - 1)] * (0.75 + Math.random() / 2));
  }

  async function read(reader, mine) {
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done || abort !== mine) return;
      self.heard = Date.now();
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) {
        const fields = {};
        for (const row of block.split("\n")) {
          const colon = row.indexOf(":");
          if (colon > 0) fields[row.slice(0, colon)] = row.slice(colon + 1).trimStart();
        }
        if (fields.event) take({ ...fields, data: JSON.parse(fields.data) });
      }
    }
  }

  function end() {
    self.over = true;
    cut();
    clearInterval(watch);
    deaf();
    removeEventListener("online", back);
    document.removeEventListener("visibilitychange", look);
  }
  connect();
  return self;
}

const listeners = new Set();
const watchers = new Set();
const started = Date.now();
let feed = null, last = "";

/** `fn` is called with each event: {kind, run, node, data ...}; kind `reset`: read everything anew; `resumed`: nothing was missed. */
export function listen(fn) { listeners.add(fn); return () => listeners.delete(fn); }
/** `fn` is called when the line comes or goes. */
export function watchLine(fn) { watchers.add(fn); return () => watchers.delete(fn); }

/** For how many ms nothing was heard; 0 while all is well. */
export function silence(now = Date.now()) {
  const gap = now - (feed?.heard || started);
  return gap > SILENT_MS || (!feed?.open && gap > 3000) ? gap : 0;
}

export function begin() {
  let resumed = "";
  feed = follow((signal) => ask("events", { headers: { Accept: "text/event-stream", ...((resumed = last) && { "Last-Event-ID": last }) }, signal }), take, (open) => {
    for (const fn of [...watchers]) fn();
    if (open) spread({ kind: resumed ? "resumed" : "reset" });
  }, (error) => { if (error.status === 400) last = ""; });
}

function take({ event, id, data }) {
  if (id) last = id;
  if (event === "reset") return spread({ kind: "reset" });
  spread(data);
}

function spread(event) { for (const fn of [...listeners]) fn(event); }
