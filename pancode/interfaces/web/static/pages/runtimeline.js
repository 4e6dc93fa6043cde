// Where the time of a run went: waiting, preparing, its agent, its gates, delivering; each attempt on the run's own clock.

import { html, link, useNow } from "../lib/live.js";
import { Badge, Glyph } from "../lib/parts.js";
import { span } from "../lib/words.js";

const ms = (at) => (at ? Date.parse(at) : null);
const DURING = { preparing: 1, running: 2, verifying: 3, delivering: 4, stopping: 2 };

/** Phases of one lease: [name, from, until, note]; the last one of a run that continues has no end yet. `before`: when the one before ended. */
function phasesOf(run, lease, before, now, last) {
  const bound = ms(lease.bound_at), closed = ms(lease.closed_at), end = closed ?? now;
  const attempt = run.attempts.find((one) => one.attempt === lease.attempt);
  const started = last && ms(run.started_at) >= bound ? Math.min(ms(run.started_at), end) : null;
  const found = [["waiting", before, bound]];
  if (started === null) return [...found, [closed ? "on the node" : "preparing", bound, end]];
  found.push(["preparing", bound, started]);
  const stage = closed ? 5 : DURING[run.stage] || 2;
  if (stage <= 2) return [...found, ["agent", started, end]];
  const gates = run.gates.reduce((sum, gate) => sum + gate.duration_ms, 0);
  const known = attempt?.agent_ms > 0, ran = known ? Math.min(started + attempt.agent_ms, end) : Math.max(started, end - gates), judged = closed && known ? Math.min(ran + gates, end) : end;
  found.push(["agent", started, ran]);
  if (run.verify.length) found.push(["gates", ran, judged, run.gates.map((gate) => `${gate.name} ${gate.passed ? "passed" : gate.judged === false ? "not judged" : "failed"}`).join(", ")]);
  if (stage >= 4 && known) found.push(["delivering", run.verify.length ? judged : ran, end]);
  return found;
}

export function Timeline({ run }) {
  const clock = useNow(), begin = ms(run.created_at), now = ms(run.finished_at) ?? clock;
  const leases = run.fences, end = Math.max(now, begin + 1, ...leases.map((lease) => ms(lease.closed_at) ?? 0));
  const goes = run.state !== "ended";
  const rows = leases.flatMap((lease, i) => phasesOf(run, lease, i ? ms(leases[i - 1].closed_at) ?? ms(lease.bound_at) : begin, end, i === leases.length - 1)
    .map((phase, k, all) => ({ lease, phase, first: !k, now: goes && i === leases.length - 1 && k === all.length - 1 })));
  if (!leases.length || (goes && leases.at(-1).closed_at)) rows.push({ phase: ["waiting", ms(leases.at(-1)?.closed_at) ?? begin, end, run.reason], now: goes });
  const failed = (name) => name === "gates" && run.gates.some((gate) => !gate.passed);
  const row = ({ phase: [name, from, until, note], now: here }) => {
    const tone = failed(name) ? "bad" : here ? (name === "waiting" ? "wait" : "live") : name === "waiting" ? "wait" : "ok", x = (100 * (from - begin)) / (end - begin);
    const took = Math.max(0, until - from), words = took < 9950 ? `${(took / 1000).toFixed(1)} s` : span(took);
    return html`<li class="phase"><${Glyph} name=${failed(name) ? "failed" : here ? (name === "waiting" ? "waiting" : "running") : name === "waiting" ? "waiting" : "done"} tone=${tone} /><span class="cut"><b>${name}</b>${note && html` <span class="small quiet">${note}</span>`}</span>
      <svg class=${`meter ${tone}`} viewBox="0 0 100 6" preserveAspectRatio="none" role="img" aria-label=${`${name}: ${words}`}><rect x=${Math.min(99.5, x)} width=${Math.max(0.5, (100 * (until - from)) / (end - begin))} height="6" /></svg><span class="n small">${words}</span></li>`;
  };
  const attempt = ({ attempt: number, node, stop, mark, state }) => {
    const told = run.attempts.find((one) => one.attempt === number);
    return html`<li class="small">attempt ${number} on <a href=${link(["machines", node])}>${node}</a> ${told?.outcome ? html`<${Badge} word=${told.outcome} />` : html`<${Badge} word=${mark || state} of="live" />`} ${told?.reason && told.reason !== told.outcome ? html`<span class="quiet">${told.reason}</span>` : ""}${stop ? " stop requested" : ""}</li>`;
  };
  return html`<ol class="pad phases">${rows.map((one) => html`${one.first && leases.length > 1 ? attempt(one.lease) : ""}${row(one)}`)}</ol>`;
}
