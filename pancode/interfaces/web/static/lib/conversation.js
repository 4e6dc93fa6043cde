// The output of a session's runs as turns: who said what, calls of tools, how each turn ended.

import { spoken, strip } from "./lines.js";

const MOST_LINE = 1 << 24, MOST_TEXT = 200_000, MOST_PARTS = 5_000;
const RESTS = { idle: "no message for a while", asked: "a user requested it", cap: "its budget or a limit is nearly used", size: "its output is nearly as long as it may be", slot: "a waiting run needed its slot" };

const words = (value) => (typeof value === "string" ? value : "");
const count = (value) => (Number.isSafeInteger(value) && value > 0 ? value : 0);

/** What is known of a conversation, as `pancode/sessions/conversation/model.py` reads it: tests/contract/golden/talk holds both. `turns`: {key, run, number, by, text, at, parts, stop, n}; `n` grows with each change. */
export const fresh = () => ({ since: "", run: "", attempt: "", rest: "", skips: false, decoder: new TextDecoder(), turns: [], sent: [], heard: new Set(), parts: 0, cut: false });

/** The turn that is told now; one without a number holds what comes before the first. */
function now(talk) {
  const turn = talk.turns.at(-1);
  return turn?.run === talk.run ? turn : begun(talk, { number: 0 });
}

function begun(talk, event) {
  const turn = { key: `${talk.run}/${talk.attempt}/${count(event.number)}`, run: talk.run, number: count(event.number), by: words(event.by) || "somebody", text: words(event.text), at: count(event.at) < 4e12 ? count(event.at) : 0, parts: [], stop: "", n: 0 };
  talk.turns.push(turn);
  while (talk.parts > MOST_PARTS && talk.turns.length > 1) { talk.parts -= talk.turns.shift().parts.length; talk.cut = true; }
  return turn;
}

export function add(talk, part) {
  const turn = now(talk), last = turn.parts.at(-1);
  turn.n += 1;
  if (part.kind !== "text" || last?.kind !== "text") { turn.parts.push(part); talk.parts += 1; return; }
  if (last.text.length < MOST_TEXT) last.text += part.text;
  else if (!last.cut) { last.cut = true; last.text += "\n… the rest is in the log of its run."; }
}

const note = (talk, of, text, tone = "") => add(talk, { kind: "note", of, text, tone });

/** Words that were sent from here stand in the stream now. */
function seen(talk, run, number) {
  talk.heard.add(`${run}:${number}`);
  talk.sent = talk.sent.filter((one) => (one.run === run ? one.number !== number : !talk.turns.some((turn) => turn.run === one.run)));
}

function heard(talk, event) {
  switch (event.type) {
    case "turn": begun(talk, event); seen(talk, talk.run, count(event.words)); break;
    case "heard": if (words(event.text)) add(talk, { kind: "words", by: words(event.by) || "somebody", text: words(event.text) }); seen(talk, talk.run, count(event.number)); break;
    case "said": if (words(event.text)) add(talk, { kind: "text", text: words(event.text) }); break;
    case "called": add(talk, { kind: "call", id: words(event.id), tool: words(event.tool), what: words(event.command) || words(event.path).replace(/^.*\/work\/[^/]+\/tree\//, "") || words(event.pattern) }); break;
    case "asks_fleet": case "fleet_over": {
      const { number, tool } = event;
      const call = now(talk).parts.find((part) => part.ok === undefined && (tool ? !part.asked && part.tool?.endsWith(tool) : part.asked === number));
      if (call) Object.assign(call, { asked: number, what: words(event.about) || `${call.what} ${words(event.begun)}` });
      now(talk).n += 1;
      break;
    }
    case "ran": case "denied": {
      const call = now(talk).parts.findLast((part) => part.kind === "call" && part.id === words(event.id) && part.ok === undefined);
      if (call) Object.assign(call, { ok: event.type === "ran" && event.ok === true, why: words(event.why), diff: words(event.diff), output: event.type === "ran" ? words(event.output) : "", denied: event.type === "denied" });
      now(talk).n += 1;
      break;
    }
    case "noted": case "compacted": if (words(event.text)) note(talk, event.asks ? "asks" : event.type, words(event.text)); break;
    case "retrying": note(talk, "retrying", `Its model failed, it asks again: ${words(event.why)}`, "warn"); break;
    case "turn_end": {
      const turn = now(talk), why = words(event.why);
      turn.stop = words(event.stop) || "none";
      turn.n += 1;
      if (turn.stop !== "end_turn") note(talk, "ended", `This turn has ended early: ${turn.stop}${why && `, ${why}`}.`, turn.stop === "cancelled" ? "" : "bad");
      break;
    }
    case "rests": note(talk, "rests", `Suspended: ${RESTS[event.why] || words(event.why)}. Your next message continues it.`); break;
    default: return event.type === "session" || event.type === "final" || event.type === "usage";
  }
  return true;
}

/** One line of the output. Only our own worker tells turns and messages of users. */
function line(talk, text, ours) {
  let event = null;
  if (ours) { try { event = JSON.parse(text); } catch { /* it is text */ } }
  if (event && typeof event === "object" && heard(talk, event)) return;
  const said = text.startsWith("{") ? spoken(text) : null;
  if (said || text.trim()) add(talk, { kind: "text", text: `${said ? `${said.kind}: ${said.text}` : strip(text)}\n` });
}

/** The next bytes, cut anywhere. A line that is longer than MOST_LINE is dropped. */
export function take(talk, told, ours) {
  if (told.run !== talk.run || told.attempt !== talk.attempt) {
    if (talk.run === told.run && talk.attempt) note(talk, "attempt", `Attempt ${told.attempt} begins.`);
    Object.assign(talk, { run: told.run, attempt: told.attempt, rest: "", skips: false, decoder: new TextDecoder() });
  }
  talk.since = `${told.run}:${told.next}`;
  const lines = (talk.rest + talk.decoder.decode(Uint8Array.from(atob(told.b64), (one) => one.charCodeAt(0)), { stream: true })).split("\n");
  talk.rest = lines.pop();
  for (const one of lines) { if (!talk.skips) line(talk, one, ours); talk.skips = false; }
  if (talk.rest.length > MOST_LINE) { talk.rest = ""; talk.skips = true; }
}
