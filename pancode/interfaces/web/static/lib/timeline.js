// The timeline of a run in sentences, for users who did not watch it.

import { waitsToLand } from "./acts.js";
import { counted, plain, span, stateOf, took, usd } from "./words.js";

const seconds = (from, until) => span(Date.parse(until) - Date.parse(from));
const listed = (names) => (names.length < 4 ? names.join(", ") : `${names.slice(0, 3).join(", ")} and ${names.length - 3} more`);

/** The timeline of a run, in sentences. */
export function formatTimeline(run, why, now = Date.now()) {
  const placed = (why?.decisions || []).findLast((one) => one.verdict === "placed"), gates = (why?.decisions || []).filter((one) => one.kind === "gate" && one.verdict === "passed").length;
  const failed = run.gates.filter((gate) => !gate.passed), tries = new Set(run.fences.map((lease) => lease.attempt)).size;
  const work = run.started_at && `${run.agent} ${run.finished_at ? "worked" : "has worked"} for ${took(run, now)}${run.node ? ` on ${run.node}` : ""}${placed ? `, ${placed.detail.replace(/^placed on [^:]*: /, "chosen as ")}` : ""}`;
  return [
    `${run.created_by} asked for it${run.workflow ? ` as a part of workflow ${run.workflow}` : ""}${run.retry_of ? `, once more after ${run.retry_of}` : run.continues ? `, as what follows ${run.continues}` : ""}${gates ? `; ${counted(gates, "check")} let it in` : ""}`,
    run.started_at ? `It waited ${seconds(run.created_at, run.started_at)} for a node and its files` : run.state === "ended" ? "It never began to work" : `It has waited ${span(now - Date.parse(run.created_at))} so far${run.reason ? `: ${run.reason}` : ""}`,
    work, tries > 1 && `It took ${tries} attempts`,
    run.files_changed.length > 0 && `It changed ${counted(run.files_changed.length, "file")}: ${listed(run.files_changed)}`,
    run.gates.length > 0 && (failed.length ? `${failed.length} of ${counted(run.gates.length, "gate")} failed: ${listed(failed.map((gate) => gate.name.slice(0, 80)))}` : `${counted(run.gates.length, "gate")} passed`),
    run.state === "ended" && !run.gates.length && run.commit && "No gate has seen its change",
    run.state === "ended" && run.outcome !== "done" && `It ended: ${plain(stateOf(run))}${run.reason && run.reason !== run.outcome && !failed.length ? `: ${run.reason}` : ""}`,
    run.usage.cost_usd === null ? "Nobody knows what it cost" : `It ${run.state === "ended" ? "cost" : "has cost"} ${usd(run.usage.cost_usd)}`,
    run.landed ? `Its change was landed as ${run.landed.slice(0, 12)}` : waitsToLand(run) && "Its change waits to be landed",
    run.continued_by.length > 0 && `${run.continued_by.join(", ")} continued from it`,
  ].filter(Boolean).map((words) => `${words.replace(/[.\s]+$/, "")}.`);
}
