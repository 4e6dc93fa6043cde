// The frame: who is logged in, the places, the line to the coordinator, keys; one page at a time.

import { render } from "preact";
import { useEffect, useLayoutEffect, useState } from "preact/hooks";
import { post, session, trade } from "./lib/api.js";
import * as feed from "./lib/feed.js";
import * as keys from "./lib/keys.js";
import { go, html, isInboxEvent, link, useLive, useRoute, useSilence, useSummary } from "./lib/live.js";
import { Glyph, heard, later, Over, Page, Slots, tell, Trouble, Unheard } from "./lib/parts.js";
import { Palette } from "./lib/palette.js";
import { span } from "./lib/words.js";
import { Chat } from "./pages/chat.js";
import { Dispatch } from "./pages/dispatch.js";
import { Agents, Machines } from "./pages/fleet.js";
import { Inbox } from "./pages/inbox.js";
import { Issues } from "./pages/issues.js";
import { KINDS, Make } from "./pages/make.js";
import { Now } from "./pages/now.js";
import { Projects } from "./pages/projects.js";
import { Run } from "./pages/run.js";
import { Runs } from "./pages/runs.js";
import { Workflows } from "./pages/workflows.js";

const pages = (file, name) => later(() => import(`./pages/${file}.js`).then((module) => module[name]));
const [Audit, Money, Settings] = [pages("books", "Audit"), pages("books", "Money"), pages("settings", "Settings")];

export const PAGES = { now: Now, runs: Runs, inbox: Inbox, chat: Chat, dispatch: Dispatch, workflows: Workflows, projects: Projects, issues: Issues, new: Make, machines: Machines, money: Money, agents: Agents, audit: Audit, settings: Settings, more: More };
/** The tree's words in an address: the older addresses stay. */
const OTHER = { status: "now", sessions: "chat", nodes: "machines", budget: "money", config: "settings", workflow: "workflows", project: "projects", issue: "issues" };
/** The places at the foot of a phone; More has the others. */
const ON_PHONE = ["now", "inbox", "chat", "runs", "more"];

/** How often a page with the focus says that the user is here; the coordinator ends a visit after 30 minutes without it. */
const LOOK_MS = 600_000;

function App() {
  const [, again] = useState(0);
  const [help, setHelp] = useState(false), [finds, find] = useState(false);
  useLayoutEffect(() => session.watch(() => again((n) => n + 1)), []);
  useEffect(() => keys.begin(() => setHelp((open) => !open), () => find(Boolean(session.token))), []);
  const where = useRoute();
  const name = OTHER[where.parts[0]] || where.parts[0] || "now";
  useReturn();
  useEffect(() => {
    const look = () => { if (session.token && document.hasFocus()) post("brief/looked").catch(() => {}); }; // a reader's token keeps no visits
    look();
    const timer = setInterval(look, LOOK_MS);
    return () => clearInterval(timer);
  }, []);
  useEffect(() => {
    const failed = ({ reason }) => { if (reason instanceof Error && reason.name !== "AbortError") tell(reason); };
    addEventListener("unhandledrejection", failed);
    return () => removeEventListener("unhandledrejection", failed);
  }, []);
  if (!session.token) return html`<${Login} />`;
  const Shown = name === "runs" && where.parts[1] ? Run : PAGES[name];
  return html`<a class="skip" href="#main" onClick=${(event) => { event.preventDefault(); document.querySelector("#main")?.focus(); }}>to the content</a>
    <${Top} name=${name} help=${() => setHelp(true)} find=${() => find(true)} />
    ${Shown ? html`<${Shown} key=${name} parts=${where.parts} query=${where.query} find=${() => find(true)} />` : html`<${Page} title=${`There is no page ${name}`}><p><a href="#/now">Now</a></p><//>`}
    ${help && html`<${Help} end=${() => setHelp(false)} />`}<${Over} />
    ${finds && html`<${Palette} end=${() => find(false)} acts=${[...Object.entries(KINDS).map(([kind, one]) => [one.title, one.glyph, () => go(["new", kind])]), ["Keys", "more", () => setHelp(true)], ["Log out", "back", logOut]]} />`}`;
}

/** By page, the address to which the user went from it. */
const went = new Map(), pageOf = (hash) => hash.split("?")[0];
let here = location.hash;

/** The focus after a change of the address: on the page, or on the row from which the user left it and now comes back. */
function useReturn() {
  const { hash } = location;
  useEffect(() => {
    const from = here, page = pageOf(hash), isFree = () => [document.body, null, document.querySelector("#main")].includes(document.activeElement);
    here = hash;
    if (from !== hash && pageOf(from) === page) return undefined;
    const back = went.get(page) === from;
    went.set(pageOf(from), hash);
    document.querySelector("#main")?.focus();
    const settle = () => {
      const row = back && [...document.querySelectorAll("#main a")].find((one) => one.getAttribute("href") === from);
      if (isFree()) (row || document.querySelector("#main"))?.focus();
      return row;
    };
    const watch = new MutationObserver(() => { if (settle()) watch.disconnect(); });
    if (!settle()) watch.observe(document.querySelector("#app"), { childList: true, subtree: true });
    const timer = setTimeout(() => watch.disconnect(), 3000);
    return () => { clearTimeout(timer); watch.disconnect(); };
  }, [hash]);
}

function Top({ name, help, find }) {
  const silent = useSilence();
  const fleet = useLive("fleet", undefined, (event) => event.kind === "node.state");
  const summary = useSummary(isInboxEvent);
  const count = summary.data?.count;
  const told = fleet.data?.coordinator;
  const pulse = html`<span class=${`pulse ${silent ? "ghost tone" : "ok"}`}>${silent ? `not heard for ${span(silent)}` : "live"}</span>`;
  const place = (path, words, letter) => html`<a href=${link([path])} title=${letter && `g ${letter}`} aria-current=${name === path ? "page" : undefined} class=${path === "more" ? "phone" : ON_PHONE.includes(path) ? "" : "desk"}>
    <${Glyph} name=${path} /><span>${words}</span>${path === "inbox" && count ? html`<span class="count">${count}<span class="sr"> wait for you</span></span>` : ""}</a>`;
  const trouble = told && [told.trouble?.what, told.draining && `draining: ${told.draining}`, told.paused && `paused: ${told.paused}`].filter(Boolean);
  return html`<header class="side">
    <a href="#/now"><${Glyph} name="brand" tone="ok" /><b>PanCode</b></a>
    <button type="button" class="desk" onClick=${find}>Find or do <kbd>Ctrl K</kbd></button>
    <a class="btn desk" href="#/dispatch" title="g d" aria-current=${name === "dispatch" ? "page" : undefined}><${Glyph} name="dispatch" />Dispatch</a>
    <nav class="places" aria-label="places">${keys.PLACES.map(([letter, path, words]) => path !== "dispatch" && place(path, words, letter))}${place("more", "More")}</nav>
    ${fleet.data?.nodes.length ? html`<section class="fleet desk" aria-label="nodes">${fleet.data.nodes.slice(0, 12).map((node) => { const known = !silent && heard(node);
      return html`<a href=${link(["machines", node.name])}><span class=${`pulse cut ${known ? (node.state === "online" ? "ok" : "warn") : "ghost tone"}`}>${node.name} ${!silent && html`<${Unheard} node=${node} />`}</span><span class="push"><${Slots} slots=${node.slots} known=${known} /></span></a>`; })}</section>` : ""}
    ${trouble?.map((words) => html`<strong class="small warn tone">${words}</strong>`)}
    <div class="foot small quiet stack desk"><p class="heard">${pulse} ${told ? told.fleet : ""}</p><div class="keys"><button type="button" class="bare" onClick=${help}>Keys <kbd>?</kbd></button>
      <button type="button" class="bare" onClick=${logOut}>log out</button></div></div>
    <p class="small quiet push phone">${pulse}</p><a class="btn main phone" href="#/dispatch" aria-label="Dispatch"><${Glyph} name="dispatch" /></a></header>`;
}

/** What does not fit at the foot of a phone. */
function More({ find }) {
  return html`<${Page} title="More"><ul class="panel">${keys.PLACES.filter(([, path]) => !ON_PHONE.includes(path)).map(([, path, words]) => html`<li class="row" data-row><${Glyph} name=${path} /><a class="t" href=${link([path])}>${words}</a></li>`)}</ul>
    <p class="keys"><button type="button" onClick=${find}>Find or do</button><button type="button" onClick=${logOut}>log out</button></p><//>`;
}

async function logOut() {
  try { await post("web/session/end"); } catch { /* the session may be gone already, or is left to run out */ }
  session.drop();
}

function Login() {
  return html`<main id="main" class="login" tabindex="-1"><header class="head"><h1>PanCode</h1></header>
    ${session.words && html`<${Trouble} problem=${{ message: session.words }} />`}
    <p>This console opens with a link that can be used once, for a short time; this browser then stays signed in. Make a new one on the coordinator's machine:</p>
    <pre class="well"><code>pancode web</code></pre>
    <p>From another machine, carry the port over in one terminal, and open the link that the other one shows:</p>
    <pre class="well"><code>ssh -N -L ${location.port}:127.0.0.1:${location.port} MACHINE${"\n"}ssh MACHINE pancode web --print</code></pre></main>`;
}

function Help({ end }) {
  const own = keys.ownKeys();
  return html`<section class="help panel stack" aria-label="keys"><h2>Keys</h2><dl class="pairs">
    ${keys.PLACES.map(([letter, , words]) => html`<div><dt><kbd>g</kbd> <kbd>${letter}</kbd></dt><dd>${words}</dd></div>`)}
    ${[["j / k", "next, previous row"], ["Enter", "open it"], ["w", "why: of the row"], ["Ctrl K", "find or do anything"], ["/", "search"], ["?", "these keys"], ...own]
      .map(([key, words]) => html`<div><dt><kbd>${key}</kbd></dt><dd>${words}</dd></div>`)}</dl>
    <button type="button" onClick=${end}>Close</button></section>`;
}

addEventListener("keydown", (event) => { if (event.key !== "Escape") return; document.querySelector(".help button")?.click(); document.activeElement?.blur?.(); });
const failed = await trade();
feed.begin();
render(html`<${App} />`, document.getElementById("app"));
if (failed) tell(failed);
