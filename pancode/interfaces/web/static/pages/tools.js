// Tools that agents have made: what a run proposes with its code and tests, how its trial went, a user's yes, and the end of it.

import { at } from "../lib/api.js";
import { go, html, link, useLive } from "../lib/live.js";
import { Act, Ago, Empty, fact, Page, Panel, Row, RunLink, tell, Warning } from "../lib/parts.js";
import { counted } from "../lib/words.js";

const moves = (event) => /^audit|^inbox|run.(queued|ended)/.test(event.kind);
const TONES = { kept: "ok", tried: "warn", proposed: "warn", failed: "bad", changed: "bad", "not sound": "bad" };
const place = (one) => (one.by ? undefined : link(["projects", "tool", one.run, one.name]));

/** All of them, on the page of projects: those that runs have now, then those that wait for approval. */
export function Tools() {
  const live = useLive("tools", undefined, moves), rows = live.data?.tools || [];
  return html`<${Panel} title="Tools that agents have made" count=${rows.length}>${!rows.length ? html`<${Empty} title="No agent has made one">A run proposes a small tool for its project; you look at it, and say yes.<//>`
    : html`<ul>${rows.map((one) => html`<${Row} key=${`${one.run} ${one.name}`} word=${one.state} of=${TONES[one.state] || "wait"} href=${place(one)} title=${one.name} why=${`run:${one.run}`} facts=${html`<span>${one.about || one.problem}</span><span class="desk">${one.project.split("/").at(-1)}</span><span>${one.by ? `kept by ${one.by}` : one.run}</span><${Ago} at=${one.at} />`}
      keys=${one.by && html`<${Act} label="Revoke" path=${at("tools", one.name, "remove")} body=${{ cwd: one.project }} sure=${`Revoke ${one.name}? No later run has it; what runs now keeps it until it ends.`} done=${live.again} />`} />`)}</ul>`}<//>`;
}

/** What one command of the inbox names: a tool to look at. */
export const toolIn = (command) => { const found = /^pancode project tools \w+ (\S+) (\S+)$/.exec(command || ""); return found && link(["projects", "tool", found[1], found[2]]); };

/** One proposal whole. The yes is for the very bytes that stand here. */
export function OneTool({ run, name }) {
  const live = useLive(at("runs", run, "tools", name), undefined, moves), one = live.data;
  const home = () => go(["projects"]), first = one?.state === "tried" ? "keep" : ["proposed", "cut short"].includes(one?.state) ? "try" : "";
  const acts = one && html`${!["not sound", "on trial"].includes(one.state) && html`<${Act} label=${one.trial ? "Try it again" : "Try it"} kind=${first === "try" ? "main" : ""} path=${at("runs", run, "tools", name, "try")} sure=${`Run the tests of ${name} in a node's sandbox, without a network?`} done=${(told) => { tell(`${told.run} tries it`); live.again(); }} />`}
    ${one.state === "tried" && html`<${Act} label="Keep" kind="main" path=${at("runs", run, "tools", name, "keep")} body=${{ digest: one.digest }} sure=${`Keep ${name} for all later runs of ${one.project}? They have these very files, in a sandbox alone.`} done=${() => { tell(`${name} is kept`); home(); }} />`}
    <${Act} label="Dismiss" path=${at("tools", name, "remove")} body=${{ run }} sure=${`Dismiss ${name}? It is no longer in the inbox.`} done=${home} />`;
  return html`<${Page} title=${`Tool ${name}`} lives=${[live]} actions=${acts}>${one && html`<${Panel} title="What it is"><dl class="pairs pad">${fact("state", one.state)}${fact("about", one.about)}${fact("project", one.project)}${fact("made by", html`<${RunLink} run=${one.run} />`)}${fact("its trial", one.trial && html`<${RunLink} run=${one.trial} />`)}${fact("digest", html`<code>${one.digest}</code>`)}</dl>${one.problem && html`<div class="pad"><${Warning}>${one.problem}<//></div>`}<//>
    <p class="small quiet">${counted(Object.keys(one.files).length, "file")}</p>${Object.entries(one.files).map(([file, text]) => html`<${Panel} key=${file} title=${file}><pre class="answer" tabindex="0">${text || "(empty)"}</pre><//>`)}`}<//>`;
}
