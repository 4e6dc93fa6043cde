// Chat: sessions with agents, live: words, calls, questions with their answers; the list, and how a new one begins.

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { approvalOf } from "../lib/acts.js";
import { at, post } from "../lib/api.js";
import { Call, folded, Said, Thought } from "../lib/deeds.js";
import { addKeys } from "../lib/keys.js";
import { go, html, link, useKept, useLive, usePhone } from "../lib/live.js";
import { Act, agreed, Ago, askWhy, Badge, Bar, Empty, fact, Glyph, newKey, Page, Panel, Prose, Row, RunLink, tell, Trouble, useOnce, When } from "../lib/parts.js";
import { useTalk } from "../lib/talk.js";
import { counted, many, plain, tokens, usd } from "../lib/words.js";
import { Choice, Choices, Model, useGates, Where } from "./dispatch.js";

const moves = (event) => /^run.(queued|placed|stage|turn|ended)|^inbox/.test(event.kind);
const FLEET = "the fleet";
const named = (by, me) => (by === me ? "you" : by || "somebody");
const wordOf = (session) => session.state.replaceAll(" ", "_");
const cost = (usage) => html`<span class=${`num ${usage.cost_usd === null ? "ghost tone" : ""}`}>${usage.cost_usd === null ? "cost unknown" : `${usage.cost_source === "assumed" ? "about " : ""}${usd(usage.cost_usd)}`}</span>`;

export function Chat({ parts }) {
  const list = useLive("sessions", { limit: 50 }, moves);
  const me = useOnce("web/session", (token) => token);
  const can = (scope) => !me.scopes || me.scopes.some((one) => one === scope || one === "admin");
  return parts[1] ? html`<${Talking} key=${parts[1]} id=${parts[1]} list=${list} me=${`token ${me.name}`} can=${can} />` : html`<${Begin} list=${list} can=${can} />`;
}

/** The newest first; `here` is marked. */
function Sessions({ list, here }) {
  const sessions = list.data?.sessions || [];
  if (list.data && !sessions.length) return html`<${Empty} title="No session yet">Begin one here, or with <code>pancode chat</code>.<//>`;
  return html`<ul>${sessions.map((one) => html`<${Row} key=${one.session} word=${wordOf(one)} marked=${one.session === here || undefined} href=${link(["chat", one.session])} title=${one.title} why=${`run:${one.run}`}
    facts=${html`<span>${one.agent}</span><span>${one.node || "no node yet"}</span>${cost(one.usage)}<${Ago} at=${one.changed_at} />`} />`)}</ul>`;
}

const FIRST = { task: "", cwd: "", agent: "", runtime: "", node: "", mode: "", safety: "", preset: "", model: "", budget: "" };
/** What a form says beyond what holds. */
const said = (form, held = {}) => Object.fromEntries(Object.entries(form).map(([name, value]) => [name, value.trim()]).filter(([name, value]) => value !== (held[name] || "") && (value || name === "program_mode")));
const NEEDS_YES = "needs_yes";

/** With a user's yes, where it needs one. Null: the person does not want it. */
async function withYes(path, body, key) {
  try { return await post(path, body, key); } catch (problem) {
    if (problem.code !== NEEDS_YES) throw problem;
    return (await agreed(`${problem.message}: ${problem.why}. Do it?`, "Allow it")) ? post(path, { ...body, yes: true }, `${key}-yes`) : null;
  }
}

function Begin({ list, can }) {
  const [form, keep] = useKept("pancode-begin", FIRST);
  const [state, set] = useState({});
  const key = useRef(newKey());
  const talks = useOnce("agents", (data) => data.talks || "");
  const body = said({ ...form, agent: form.agent || String(talks) });
  const put = (name) => (event) => { key.current = newKey(); keep({ ...form, [name]: event.target.value }); };
  const send = async (event) => {
    event.preventDefault();
    if (state.busy) return;
    set({ busy: true });
    try {
      const done = await withYes(at("sessions"), body, key.current);
      if (!done) return set({});
      keep({ ...form, task: "" });
      for (const one of done.warnings || []) tell(one);
      go(["chat", done.run]);
    } catch (problem) { set({ problem }); }
  };
  return html`<${Page} title="Chat" lives=${[list]}><div class="two half"><${Panel} title="Sessions" count=${list.data?.sessions.length}><${Sessions} list=${list} /><//>
    <${Panel} title="New chat">${!can("dispatch") ? html`<${MayNot} what="begin a chat" />` : html`<form class="pad stack" onSubmit=${send}>
      <label class="field">first words <textarea rows="4" required value=${form.task} onInput=${put("task")} placeholder="why is the build slow?"></textarea></label><${Where} form=${form} put=${put} />
      <div class="choices"><${Choices} form=${form} put=${put} agents="agents#talk" runtimes="runtimes#turns" /><${Choice} name="mode" list="modes#talk" form=${form} put=${put} /><${Choice} name="safety" list="safety#talk" form=${form} put=${put} /><${Choice} name="preset" list="presets#talk" form=${form} put=${put} /></div>
      ${state.problem ? html`<${Trouble} problem=${state.problem} />` : html`<${Ready} body=${body} />`}
      <p class="keys"><button type="submit" class="main" disabled=${state.busy || !form.task.trim()}>${state.busy ? "Begin …" : "Begin"}</button></p></form>`}<//></div><//>`;
}

/** Who would listen, and with what; or what is missing. */
function Ready({ body }) {
  const { task: _, ...asked } = body;
  const [{ report, problem }] = useGates("sessions", asked);
  if (problem) return html`<${Trouble} problem=${problem} />`;
  if (!report) return "";
  const { agent, model, runtime, mode, safety, nodes } = report, refused = !report.admitted && report.gates.find((gate) => !gate.passed);
  if (refused) return html`<p class="small bad tone" role="status"><${Glyph} name="failed" tone="bad" /> <b>${agent}</b> cannot answer yet. ${refused.words}${refused.fix && html` → <code>${refused.fix}</code>`}</p>`;
  const ready = nodes.some((one) => one.ready), why = nodes.filter((one) => one.fits).map((one) => `${one.node} ${one.why}`).join("; ");
  return html`<p class="small" role="status"><${Glyph} name=${ready ? "done" : "waiting"} tone=${ready ? "ok" : ""} /> <b>${agent}</b> ${ready ? "listens" : "answers later"}, with ${model ? `${model} (${runtime})` : runtime}, mode ${mode}, safety ${safety}${asked.preset && `, preset ${asked.preset}`}${ready ? "" : `: ${why}`}</p>`;
}

const MayNot = ({ what }) => html`<p class="pad small warn tone"><${Glyph} name="yes" tone="warn" /> This token only reads: it may not ${what}. A console with all rights opens with <code>pancode web</code></p>`;

function Talking({ id, list, me, can }) {
  const first = useLive(at("sessions", id), undefined, () => false);
  const { talk, shape, problem, again, at: told } = useTalk(first.data);
  const listed = list.data?.sessions.find((one) => one.session === shape?.session)?.run;
  useEffect(() => { if (listed && listed !== shape?.run) again(); }, [listed]); // somebody continued with what had ended
  const title = shape ? shape.title || id : `Session ${id}`;
  const phone = usePhone();
  return html`<${Page} title=${title} tab=${shape && `${shape.state}: ${title} · Chat`} lives=${[{ ...first, at: told || first.at }]} actions=${shape && html`<${Acts} shape=${shape} can=${can} />`}>${shape && html`<div class="two talk">
    <section class="stack">${problem && html`<${Trouble} problem=${problem} />`}
      <div class="scroll" tabindex="0" role="log" aria-label=${`Conversation with ${shape.agent}`}><div class="stack">
        ${talk.cut && html`<p class="small quiet">What was said before stands in <a href=${link(["runs", shape.session, "log"])}>the log</a>.</p>`}
        ${talk.turns.map((turn, i) => html`<${Turn} key=${turn.key} turn=${turn} n=${turn.n} shape=${shape} me=${me} begins=${turn.run !== talk.turns[i - 1]?.run} live=${turn === talk.turns.at(-1) && shape.state === "works"} />`)}
        ${talk.sent.map((one) => html`<div class="mine"><p class="small quiet">you: ${one.how}</p><p class="words">${one.text}</p></div>`)}
        ${shape.asks && html`<${Asks} key=${[shape.asks.run, shape.asks.kind, shape.asks.call, shape.asks.words].join()} shape=${shape} can=${can} />`}${shape.state === "turn lost" && html`<${Lost} id=${shape.session} talk=${talk} shape=${shape} can=${can} again=${again} />`}</div></div>
      ${phone && html`<details class="panel pad small"><summary><${Glyph} name="fold" />mode ${shape.mode}, safety ${shape.safety}${shape.next && html`<span class="warn tone">next: ${shape.next.mode}, ${shape.next.safety}</span>`}</summary><div class="stack"><${Terms} shape=${shape} can=${can} /></div></details>`}
      ${can("answer") ? html`<${Compose} id=${shape.session} talk=${talk} shape=${shape} again=${again} />` : html`<div class="panel"><${MayNot} what="say anything" /></div>`}</section>
    <aside class="stack desk" aria-label="This session"><${About} shape=${shape}>${phone || html`<${Terms} shape=${shape} can=${can} />`}<//><${Panel} title="Sessions" act=${html`<a class="btn bare" href="#/chat" aria-label="New chat"><${Glyph} name="dispatch" /></a>`}><${Sessions} list=${list} here=${shape.session} /><//></aside></div>`}<//>`;
}

function Acts({ shape, can }) {
  return html`<a class="btn bare phone" href="#/chat"><${Glyph} name="back" />Sessions</a><a class="btn desk" href=${link(["runs", shape.run, "diff"])}>Change</a>${can("answer") && shape.takes_turns && html`${["works", "waits for you"].includes(shape.state) && html`<${Act} label="Rest" kind="desk" path=${at("sessions", shape.session, "turn")} body=${{ what: "rest" }} done=${() => tell("It rests behind its turn; your next message continues with it.")} />`}
    ${shape.state !== "ended" && html`<${Act} label="End" kind="stop" path=${at("sessions", shape.session, "end")} sure="End this session? Its turn is cancelled and its program ends. What it has made is kept." />`}`}`;
}

function About({ shape, children }) {
  const { ceiling_usd: ceiling, left_usd: left, sitting_usd: cap } = shape.money, last = shape.turn;
  return html`<${Panel} title="This session"><div class="pad stack"><dl class="pairs">${fact("with", [shape.agent, shape.runtime, shape.model].filter(Boolean).join(" / "))}${fact("node", shape.node || "none yet")}
    ${fact("mode, safety", `${shape.mode}, ${shape.safety}`)}${fact("project", shape.project)}${fact("begun", html`${shape.created_by} <${When} at=${shape.created_at} />`)}${fact("turns", shape.interactive_runs.reduce((sum, one) => sum + one.turns, 0))}
    ${fact("cost", html`${cost(shape.usage)}${shape.usage.disputed_usd ? `, ${usd(shape.usage.disputed_usd)} disputed` : ""}`)}${fact("tokens", many(tokens(shape.usage)))}${last?.tokens && fact("last turn", `${last.cost_usd === null ? "cost unknown" : usd(last.cost_usd)}, ${many(last.tokens)} tokens`)}
    ${ceiling && fact("left", shape.usage.cost_usd === null ? html`<span class="ghost tone">unknown, at most ${usd(left)} of ${usd(ceiling)}</span>` : `${usd(left)} of ${usd(ceiling)}`)}${cap && fact("an interactive run", `at most ${usd(cap)}`)}</dl>${ceiling && shape.usage.cost_usd !== null && html`<${Bar} used=${ceiling - left} most=${ceiling} label=${`${usd(left)} of ${usd(ceiling)} left`} />`}
    ${shape.interactive_runs.length > 1 && html`<details class="small"><summary><${Glyph} name="fold" />${counted(shape.interactive_runs.length, "interactive run")}</summary><ul class="plain">${shape.interactive_runs.map((one) => html`<li><${RunLink} run=${one.run} /> ${counted(one.turns, "turn")}, ${plain(one.outcome || one.state)}</li>`)}</ul></details>`}<${Window} shape=${shape} />${children}</div><//>`;
}

/** What fills the window of its model, by kind; read again after each turn. */
function Window({ shape }) {
  const { data } = useLive(at("sessions", shape.session, "context"), undefined, (event) => event.run === shape.run && /^run.(stage|turn|ended)/.test(event.kind));
  if (!data) return "";
  const { used, window, parts } = data, share = used === null ? (window ? `${many(window)} tokens, how full is not known` : "not known") : `${many(used)}${window ? ` of ${many(window)}` : ""} tokens`;
  return html`<details class="small"><summary><${Glyph} name="fold" />context window: <span class=${used === null ? "ghost tone" : ""}>${share}</span></summary>
    ${used !== null && window ? html`<${Bar} used=${used} most=${window} label=${`${share} of the window are used`} />` : ""}
    <dl class="pairs">${parts.filter((one) => one.tokens !== 0).map((one) => fact(one.name, one.tokens === null ? html`<span class="ghost tone">not known</span>` : `about ${many(one.tokens)}`))}</dl>${data.compacted && html`<p class="quiet">${data.compacted}</p>`}</details>`;
}

const TERMS = { mode: "mode", safety: "safety", model: "model", reasoning: "effort", program_mode: "its program's mode" };
const EFFORTS = ["off", "minimal", "low", "medium", "high", "xhigh"];

/** What its next words begin with, and the form that changes it. */
function Terms({ shape, can }) {
  const held = shape.next || shape;
  const [form, keep] = useState({});
  if (!shape.takes_turns) return "";
  const shown = Object.fromEntries(Object.keys(TERMS).map((name) => [name, form[name] ?? held[name] ?? ""]));
  const put = (name) => (event) => keep({ ...form, [name]: event.target.value });
  const change = said(form, held);
  const other = shape.next && Object.entries(TERMS).filter(([name]) => (shape.next[name] || "") !== (shape[name] || "")).map(([name, words]) => `${words} ${shape.next[name] || "as set"}`).join(", ");
  return html`${other && html`<p class="small warn tone" role="status"><${Glyph} name="waiting" tone="warn" /> With your next message: ${other}. ${shape.next.memory ? "Memory and files stay." : "Files stay. Its model is on another node: it is told what was said, instead of its memory."}</p>`}
    ${can("dispatch") && html`<div class="choices"><${Choice} name="mode" list="modes#talk" form=${shown} put=${put} none="" /><${Choice} name="safety" list="safety#talk" form=${shown} put=${put} none="" /><${Model} form=${shown} put=${put} none="its own" /><${Choice} name="reasoning" words="effort" names=${EFFORTS} form=${shown} put=${put} />
      ${shape.runtime.startsWith("acp:") && html`<label class="field">its program's mode <input value=${shown.program_mode} onInput=${put("program_mode")} /></label>`}</div>
      ${Object.keys(change).length ? html`<p><${Act} label="Change from my next message on" path=${at("sessions", shape.run, "terms")} body=${change} ask=${withYes} done=${() => keep({})} /></p>` : ""}`}`;
}

// -- one turn ----------------------------------------------------------------------------------------

/** Drawn again only when it has changed: an hour of talk costs no more than its last turn. */
function Turn({ turn, n, shape, me, begins, live }) {
  return useMemo(() => html`<article class="stack" aria-label=${turn.number ? `turn ${turn.number}` : "before the first turn"} aria-busy=${live && !turn.stop ? "true" : "false"}>
    ${begins && html`<p class="small quiet">interactive run <${RunLink} run=${turn.run} /></p>`}
    ${turn.number > 0 && html`<${Words} by=${named(turn.by, me)} text=${turn.text} moment=${turn.at} /><p class="small quiet keys"><${Glyph} name="brand" tone="ok" /><b>${shape.agent}</b></p>`}
    ${folded(turn.parts).map(({ part, times }, i) => html`<${Part} key=${i} part=${part} times=${times} me=${me} live=${live && !turn.stop} />`)}
    ${live && !turn.stop && html`<p class="caret quiet">${turn.parts.length ? "" : "works "}</p>`}</article>`, [turn, n, me, live, begins, shape.agent]);
}

/** Words of the fleet itself have its mark, and stand not where those of users stand. */
const Words = ({ by, text, moment }) => by === FLEET ? html`<div class="panel pad small"><p class="quiet"><${Glyph} name="brand" tone="ok" /> ${by} tells ${moment ? html`<${When} at=${new Date(moment).toISOString()} />` : ""}</p><p class="words">${text}</p></div>` : html`<div class="mine"><p class="small quiet">${by} ${moment ? html`<${When} at=${new Date(moment).toISOString()} />` : ""}</p><p class="words">${text}</p></div>`;

function Part({ part, times, me, live }) {
  switch (part.kind) {
    case "heard": return html`<${Words} by=${named(part.by, me)} text=${part.text} />`;
    case "said": return html`<${Said} text=${part.text} />`;
    case "thought": return html`<${Thought} part=${part} />`;
    case "call": return html`<${Call} call=${part} times=${times} goes=${live} />`;
    case "asked": return html`<p class="small quiet"><${Glyph} name="done" tone="ok" /> ${part.how || "answered"}: ${part.words.split("\n")[0]}</p>`;
    default: return part.of !== "asks" && html`<p class=${`small ${part.tone ? `${part.tone} tone` : "quiet"}`}>${part.text}</p>`;
  }
}

// -- what waits for a user -------------------------------------------------------------------------

/** The question, answered where it stands. A yes names it: whoever is late is told so, and permits nothing. A press that was meant for the one before comes too early. */
function Asks({ shape, can }) {
  const { asks } = shape;
  const [text, put] = useState("");
  const [busy, set] = useState(true);
  useEffect(() => { setTimeout(set, 700, false); }, []);
  const may = can("answer"), question = asks.kind === "question", { call } = asks;
  const act = async (verb, body, how) => {
    if (busy) return;
    set(true);
    asks.how = how;
    try { await post(at("runs", asks.run, verb), body, newKey()); } catch (problem) { asks.how = ""; tell(problem); }
    set(false);
  };
  const allow = () => act("approve", approvalOf(asks, "once"), "you allowed it once"), deny = () => act("deny", { call }, "you denied it");
  const answer = (given) => act("answer", { text: given }, `you answered ${given}`);
  useEffect(() => (may && !question ? addKeys({ y: ["allow it once", allow], x: ["deny it", deny] }) : undefined));
  return html`<${Panel} title=${`${shape.agent} ${question ? "asks you" : "needs your approval"}`} tone="warn"><div class="pad stack" role="alert">${question ? html`<${Prose} text=${asks.words} />` : html`<pre class="well words" tabindex="0">${asks.words}</pre>`}
    ${!may ? html`<${MayNot} what="answer" />` : question ? html`<p class="keys">${asks.choices.map((one, i) => html`<button type="button" disabled=${busy} onClick=${() => answer(String(i + 1))}>${i + 1}: ${one}</button>`)}</p>
      <form class="keys" onSubmit=${(event) => { event.preventDefault(); answer(text); }}><label class="field">Your answer <input required value=${text} onInput=${(event) => put(event.target.value)} /></label><button type="submit" class="main" disabled=${busy}>Answer</button></form>`
    : html`<div class="keys"><button type="button" class="main" disabled=${busy} onClick=${allow}>Allow once <kbd class="desk">y</kbd></button><button type="button" disabled=${busy} onClick=${deny}>Deny <kbd class="desk">x</kbd></button><button type="button" class="bare" onClick=${() => askWhy(`run:${asks.run}`)}>Why does it ask</button></div>`}</div><//>`;
}

/** Nothing is said twice by itself: a user chooses. */
function Lost({ id, talk, shape, can, again }) {
  const turn = talk.turns.findLast((one) => one.number && !one.stop);
  return html`<${Panel} title="Its last turn is lost" tone="bad"><div class="pad stack"><p>${shape.turn?.why || shape.reason}. Its program ended in mid-turn, so nobody knows how far it came. Look at its change before you say the same again.</p>
    <p class="keys">${turn && can("answer") && html`<button type="button" onClick=${() => say(id, talk, turn.text, again)}>Say it again</button>`}<a class="btn" href=${link(["runs", shape.run, "diff"])}>Look at the change</a></p></div><//>`;
}

// -- words -------------------------------------------------------------------------------------------

const HOW = { begins: "begins the next interactive run", sent: "sent, for its next turn or the next call of its model", "with its task": "sent with its task", kept: "kept for its next run" };
let press = {};

/** Says it once, however often it is pressed. Problem where nobody has taken it. */
async function say(id, talk, text, again) {
  if (press.text !== text || press.id !== id) press = { id, text, key: newKey() };
  const done = await post(at("sessions", id, "words"), { text }, press.key);
  press = {};
  for (const one of done.warnings) tell(one);
  if (!talk.heard.has(`${done.run}:${done.number}`)) talk.sent.push({ ...done, text, how: HOW[done.how] });
  again();
}

function Compose({ id, talk, shape, again }) {
  const [text, keep] = useKept(`pancode-draft-${id}`, "");
  const [busy, set] = useState(false);
  const now = useRef();
  now.current = text;
  const phone = usePhone();
  const turn = talk.turns.at(-1);
  const send = async (event) => {
    event.preventDefault();
    if (busy || !text.trim()) return;
    set(true);
    try { await say(id, talk, text, again); if (now.current === text) keep(""); } catch (problem) { tell(problem); }
    set(false);
  };
  const typed = (event) => { if (event.key === "Enter" && !event.isComposing && (phone ? event.ctrlKey || event.metaKey : !event.shiftKey)) send(event); };
  const working = ["works", "asks"].includes(shape.state) && shape.takes_turns;
  return html`<form class="panel compose" aria-label="Say something" onSubmit=${send}><textarea rows="2" aria-label=${`Message for ${shape.agent}`} placeholder=${`Message for ${shape.agent}${["rests", "ended", "turn lost"].includes(shape.state) ? ": it begins the next interactive run" : ""}`} value=${text} onInput=${(event) => keep(event.target.value)} onKeyDown=${typed}></textarea>
    <div class="keys small"><span role="status" class="keys"><${Badge} word=${wordOf(shape)} />${["works", "waits for you", "asks"].includes(shape.state) ? "" : html`<span class="quiet">${shape.reason}</span>`}</span>${cost(shape.usage)}<span class="quiet desk">${many(tokens(shape.usage))} tokens</span>${shape.waiting ? html`<span class="quiet">${counted(shape.waiting, "message")} not heard yet</span>` : ""}
      <span class="push keys">${working && html`<${Act} label="Stop the answer" path=${at("sessions", id, "turn")} body=${{ what: "cancel", ...(turn?.number && !turn.stop && turn.run === shape.run && { turn: turn.number }) }} />`}
      <button type="submit" class="main" aria-label="Send" disabled=${busy || !text.trim()}><${Glyph} name="send" /></button></span></div></form>`;
}
