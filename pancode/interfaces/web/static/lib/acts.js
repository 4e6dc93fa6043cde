// What can be done with runs, with one or with many: what a run does not allow and why, and the act that its state asks for.

import { at, post } from "./api.js";
import { agreed, newKey, tell } from "./parts.js";
import { called, counted, look, plain, stateOf, title } from "./words.js";

/** Why a verb does nothing for a run; empty: it does something. */
export const REFUSES = {
  stop: (run) => (run.state === "ended" ? "ended already" : ""),
  retry: (run) => (run.state === "ended" ? "" : "still running"),
  land(run) {
    if (run.state !== "ended") return "still running";
    if (run.landed) return "landed already";
    if (run.outcome !== "done") return plain(stateOf(run));
    return run.commit ? "" : "without a change";
  },
};

/** Whether a change waits to be landed, and nobody has sent it back. */
export const waitsToLand = (run) => !REFUSES.land(run) && !run.continued_by.length;

/** The act that the state asks for: `answer`, `gate`, `look`, `land`, `resolve`, `retry`, or none. */
export function askedFor(run) {
  if (run.state !== "ended" || run.landed) return "";
  const state = stateOf(run);
  if (run.outcome === "done" && state !== "conflict") return !run.commit ? "" : run.verification?.state === "unverified" ? "look" : "land";
  return { asks_you: "answer", gate_failed: "gate", conflict: "resolve" }[state] || (look(state)[0] === "bad" || state === "stopped" ? "retry" : "");
}

const DONE = { stop: "stopped", retry: "begun again", land: "landed" };
const GATES = "Where your files have changed since the dispatch, the gates run on the merged files first.";
const SURE = {
  stop: "What they have done so far is kept.", retry: "Each begins once more, from the beginning.",
  land: `One after the other. ${GATES}`,
};

/** Does one thing with several runs, and says what did not work. The ids of those with which it did. */
export async function actOnAll(verb, runs) {
  const [done, failed] = [[], []];
  const label = verb[0].toUpperCase() + verb.slice(1);
  if (!(await agreed(`${label} ${counted(runs.length, "run")}? ${SURE[verb]}`, label, runs.map((run) => `${title(run)} (${run.run})`).join("\n")))) return done;
  for (const { run } of runs) {
    try {
      const told = await post(at("runs", run, verb), {}, newKey());
      if (verb === "land" && told.status !== "landed") failed.push(`${run}: ${told.status}${told.why ? `, ${told.why}` : ""}`);
      else done.push(run);
    } catch (problem) { failed.push(`${problem.message}${problem.why ? `: ${problem.why}` : ""}`); }
  }
  if (failed.length) tell(Object.assign(new Error(`${failed.length} of ${counted(runs.length, "run")} not ${DONE[verb]}`), { why: failed.join("\n") }));
  else tell(`${counted(done.length, "run")} ${DONE[verb]}`);
  return done;
}

/** Lands one change. What is held up is asked about, and never forced. */
export async function land(run) {
  const gates = run.verification?.state === "unverified" ? "No gate has seen it." : GATES;
  if (!(await agreed(`Land the change of ${called(run)} in ${run.project || "its project"}? ${gates}`, "Land"))) return;
  try {
    const done = await post(at("runs", run.run, "land"), {});
    tell(`${run.run}: ${done.status}${done.why ? `, ${done.why}` : ""}`);
  } catch (problem) { tell(problem); }
}

/** The body of an approval of exactly what was shown. */
export const approvalOf = (item, scope) => ({ scope, ...Object.fromEntries(item.yes.map((flag) => [flag.slice(2).replace("-", "_"), true])), call: item.call, plan: item.plan?.digest || item.plan });
