// Reads golden streams as the console does: pieces on standard input, its turns on standard output.

import { readFileSync } from "node:fs";
import { fresh, take } from "../../pancode/interfaces/web/static/lib/conversation.js";

const part = (one) => {
  if (one.kind === "call") return ["call", one.tool ?? "", one.about ?? "", one.state, one.why ?? "", (one.diff || one.text) ?? ""];
  const of = one.of === "asks" ? "noted" : one.of; // the page shows the question itself, instead of this note
  if (one.kind === "note") return ["note", of, ["noted", "compacted"].includes(of) ? one.text : ""];
  return one.kind === "heard" ? ["words", one.by, one.text] : one.kind === "thought" ? ["thought", one.text] : ["text", one.text];
};

console.log(JSON.stringify(JSON.parse(readFileSync(0)).map((pieces) => {
  const talk = fresh();
  for (const piece of pieces) take(talk, piece);
  return talk.turns.map(({ run, number, by, text, at, stop, parts }) => ({ run, number, by, text, at, stop, parts: parts.filter((one) => one.of !== "attempt").map(part) }));
})));
