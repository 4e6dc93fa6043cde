// Numbers and states as words: times, money, sizes; the look that a state has.

export function ago(at, now = Date.now()) {
  if (!at) return "never";
  return `${span(now - Date.parse(at))} ago`;
}

export function span(ms) {
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 90) return `${s} s`;
  if (s < 5400) return `${Math.round(s / 60)} min`;
  if (s < 172800) return `${(s / 3600).toFixed(1)} h`;
  return `${Math.round(s / 86400)} days`;
}

const TIME = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const DATE = new Intl.DateTimeFormat("en-GB", { day: "2-digit", month: "2-digit", hour: "2-digit", minute: "2-digit" });

export const clock = (ms) => TIME.format(new Date(ms));
/** Today's times short, others with their day. */
export function when(at) {
  if (!at) return "–";
  const then = new Date(at);
  return Date.now() - then < 43200000 ? TIME.format(then) : DATE.format(then);
}

/** `unknown`: how many runs have a cost that nobody knows. A sum of nothing else is unknown, too. */
export function usd(text, unknown = 0) {
  if (text === null || text === undefined || (unknown && Number(text) === 0)) return "unknown";
  const value = Math.abs(text), sign = text < 0 ? "-" : "";
  if (value && value < 0.0001) return `${sign}<$0.0001`;
  return `${sign}$${value < 1 ? value.toFixed(4).replace(/0{1,2}$/, "") : value.toFixed(2)}`;
}

export function many(count) {
  if (count < 1000) return String(count);
  if (count < 1e6) return `${(count / 1000).toFixed(1)} k`;
  return `${(count / 1e6).toFixed(1)} M`;
}

export function bytes(count) {
  if (count === null || count === undefined) return "unknown";
  const units = ["B", "KB", "MB", "GB", "TB"];
  let step = 0;
  let size = count;
  while (size >= 1000 && step < 4) { size /= 1000; step += 1; }
  return `${size < 10 && step ? size.toFixed(1) : Math.round(size)} ${units[step]}`;
}

export const counted = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;
export const tokens = (usage) => (usage ? usage.input_tokens + usage.output_tokens : 0);

/** The states of each tone and glyph; `wait` has no tone. The first look of a tone is its own. */
const LOOKS = {
  "ok done": "done to_land no_change passed online PASS ok on ready succeeded", "ok landed": "landed",
  "live running": "running preparing verifying delivering placed works starts",
  "wait waiting": "waiting pending queued new waits_for_a_slot", "wait chat": "waits_for_you waiting_for_you rests", "wait yes": "drained paused", "warn unverified": "unverified", "wait unverified": "review", "wait stopped": "answered skipped removed superseded interrupted stopped off ended",
  "warn yes": "permission", "warn running": "stopping draining", "warn asks": "question asks asks_you conflict", "warn money": "budget",
  "bad error": "error turn_lost", "bad failed": "verify_failed gate_failed failed refused",
  "ghost unknown": "unknown suspect unreachable",
};
const looks = Object.entries(LOOKS).map(([pair, words]) => [...pair.split(" "), words.split(" ")]);

/** [tone, glyph] of a word; `of`: the tone, where the place knows better. */
export const look = (word, of) => looks.find(([tone, , words]) => words.includes(word) && (!of || of === tone)) || looks.find(([tone]) => tone === (of || "bad"));
/** Outcomes whose status has another name in every interface. */
export const STATUSES = { verify_failed: "gate_failed", interrupted: "stopped", blocked: "asks_you", rests: "suspended" };
/** A name as words. */
export const plain = (word) => String(STATUSES[word] || word).replaceAll("_", " ");

/** A run's status, which the coordinator gives; a change that no gate has seen is not shown as one that passed. */
export const stateOf = (run) => (run.status === "to_land" && run.verification?.state === "unverified" ? "unverified" : run.status);

/** When a run's machine was last heard, where that is long ago; null: it is heard, or nobody knows. */
export const unheard = (run) => Date.parse(/^unknown since (\S+): /.exec(run.notes.find((note) => note.startsWith("unknown since")) || "")?.[1]) || null;

/** What makes the state so, where that needs a word. */
export function reasonOf(run) {
  const state = stateOf(run);
  if (state === "unknown") return unheard(run) ? `${run.node || "its node"} not heard for ${span(Date.now() - unheard(run))}` : run.notes.find((note) => note.startsWith("unknown since"));
  if (state === "conflict") return (run.landing.why || "").replace(/^.*?conflict: /, "");
  if (state === "unverified") return "no gate";
  const said = run.reason.replace(/^(it asks:|gate) /, "");
  return ["ok", "live"].includes(look(state)[0]) || run.reason === run.outcome || run.reason === run.stage || said === plain(state) ? "" : said;
}

export function took(run, now = Date.now()) {
  if (!run.started_at) return "–";
  const silent = !run.finished_at && unheard(run);
  return `${silent ? "over " : ""}${span((run.finished_at ? Date.parse(run.finished_at) : silent || now) - Date.parse(run.started_at))}`;
}

/** The first line of a task that says something, by which a run is named. */
export const title = ({ task }) => (task || "").split("\n").map((line) => line.trim().replace(/^#+/, "").trim()).find((line) => line && line[0] !== "!")?.slice(0, 200) || "(no words)";
/** The title with the id, for a sentence. */
export const called = (run) => `“${title(run).slice(0, 80)}” (${run.run})`;

const HIDDEN = /(?![\t\n])[\p{Cc}\p{Cf}\p{Co}\p{Cs}\p{Zl}\p{Zp}\u{34f}\u{115f}\u{1160}\u{17b4}\u{17b5}\u{180b}-\u{180f}\u{2800}\u{3164}\u{ffa0}\u{fe00}-\u{fe0f}\u{e0100}-\u{e01ef}]/gu;
const SPLIT = new RegExp(`(${HIDDEN.source})`, "u");
const nameOf = (one) => `U+${one.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;
const lines = (text) => String(text ?? "").replaceAll("\r\n", "\n");
/** Text of a stranger where only text can stand: what cannot be seen, or turns text round, is named; line breaks stay. */
export const visible = (text) => lines(text).replace(HIDDEN, (one) => `⟨${nameOf(one)}⟩`);
/** The same in pieces; each second one is a name. */
export const pieced = (text) => lines(text).split(SPLIT).map((part, i) => (i % 2 ? nameOf(part) : part));
