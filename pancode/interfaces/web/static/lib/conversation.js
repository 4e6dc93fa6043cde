// The conversation of a session's runs as turns: what the coordinator reads in their output, part by part.

const MOST_TEXT = 200_000, MOST_PARTS = 5_000, MOST_PRINTED = 8_000;

/** What is known of a conversation. `turns`: {key, run, number, by, text, at, parts, stop, n}; `n` grows with each change. */
export const fresh = () => ({ since: "", run: "", attempt: "", turns: [], sent: [], heard: new Set(), parts: 0, cut: false });

/** The turn that is told now; one without a number holds what comes before the first. */
function now(talk) {
  const turn = talk.turns.at(-1);
  return turn?.run === talk.run ? turn : begun(talk, {});
}

function begun(talk, { number = 0, by = "somebody", text = "", at_ms: at = 0 }) {
  const turn = { key: `${talk.run}/${talk.attempt}/${number}`, run: talk.run, number, by, text, at, parts: [], stop: "", n: 0 };
  talk.turns.push(turn);
  while (talk.parts > MOST_PARTS && talk.turns.length > 1) { talk.parts -= talk.turns.shift().parts.length; talk.cut = true; }
  return turn;
}

export function add(talk, part) {
  const turn = now(talk);
  turn.n += 1;
  talk.parts += grow(turn.parts, part);
}

/** Adds a part to a list, and returns by how many the list has grown: text continues text, and the end of a call belongs to its beginning. */
export function grow(parts, part) {
  const last = parts.at(-1);
  if (part.kind === "said" && last?.kind === "said") {
    if (last.text.length < MOST_TEXT) last.text += part.text;
    else if (!last.cut) { last.cut = true; last.text += "\n… the rest is in the log of its run."; }
    return 0;
  }
  if (part.kind === "call" && part.state !== "running") {
    const call = parts.findLast((one) => one.kind === "call" && one.state === "running" && (part.number ? one.number === part.number : one.tool === part.tool && one.about === part.about));
    if (call) { Object.assign(call, part, { line: call.line, at_ms: call.at_ms || part.at_ms }); return 0; }
    if (!part.number) return 0; // its beginning is not among what is shown
  }
  if (part.kind === "printed") {
    const call = parts.findLast((one) => one.kind === "call" && one.number === part.number);
    if (call?.state === "running") call.text = ((call.text || "") + part.text).slice(-MOST_PRINTED);
    return 0;
  }
  parts.push({ ...part });
  return 1;
}

const note = (talk, of, text, tone = "") => add(talk, { kind: "note", of, text, tone });

/** Words that were sent from here stand in the stream now. */
function seen(talk, run, number) {
  talk.heard.add(`${run}:${number}`);
  talk.sent = talk.sent.filter((one) => (one.run === run ? one.number !== number : !talk.turns.some((turn) => turn.run === one.run)));
}

function take1(talk, part) {
  switch (part.kind) {
    case "turn": begun(talk, part); seen(talk, talk.run, part.message || 0); break;
    case "heard": add(talk, part); seen(talk, talk.run, part.number); break;
    case "output": add(talk, { ...part, kind: "said" }); break;
    case "said": case "thought": case "call": case "printed": add(talk, part); break;
    case "ended": {
      const turn = now(talk);
      turn.stop = part.state;
      turn.n += 1;
      if (turn.stop !== "end_turn") note(talk, "ended", `This turn has ended early: ${turn.stop}${part.why ? `, ${part.why}` : ""}.`, turn.stop === "cancelled" ? "" : "bad");
      break;
    }
    case "retrying": note(talk, part.kind, part.text, "warn"); break;
    case "noted": case "asks": case "compacted": case "rests": note(talk, part.kind, part.text); break;
    default: // the start of a program and its usage stand elsewhere
  }
}

/** The next parts: {run, attempt, next, parts}. */
export function take(talk, told) {
  if (told.run !== talk.run || told.attempt !== talk.attempt) {
    if (talk.run === told.run && talk.attempt) note(talk, "attempt", `Attempt ${told.attempt} begins.`);
    Object.assign(talk, { run: told.run, attempt: told.attempt });
  }
  talk.since = `${told.run}:${told.next}`;
  for (const part of told.parts) take1(talk, part);
}
