// The frame: who is logged in, the places, the line to the coordinator, keys; one page at a time.

import { render } from "preact";
import { useEffect, useLayoutEffect, useState } from "preact/hooks";
import { post, session, shareTabs, trade } from "./lib/api.js";
import * as feed from "./lib/feed.js";
import * as keys from "./lib/keys.js";
import { html, link, useLive, useRoute, useSilence } from "./lib/live.js";
import { Over, tell, Trouble } from "./lib/parts.js";
import { span } from "./lib/words.js";
import { Agents } from "./pages/agents.js";
import { Audit, Money } from "./pages/books.js";
import { Dispatch } from "./pages/dispatch.js";
import { Inbox } from "./pages/inbox.js";
import { Machines } from "./pages/machines.js";
import { Now } from "./pages/now.js";
import { Run } from "./pages/run.js";
import { Runs } from "./pages/runs.js";
import { Workflows } from "./pages/workflows.js";

const PAGES = { now: Now, runs: Runs, inbox: Inbox, dispatch: Dispatch, workflows: Workflows, machines: Machines, money: Money, agents: Agents, audit: Audit };
let tabs = null;

function App() {
  const [, again] = useState(0);
  const [help, setHelp] = useState(false);
  useLayoutEffect(() => session.watch(() => again((n) => n + 1)), []);
  useEffect(() => keys.begin(() => setHelp((open) => !open)), []);
  const where = useRoute();
  const name = where.parts[0] || "now";
  useEffect(() => { document.querySelector("#main")?.focus(); }, [location.hash.split("?")[0]]);
  useEffect(() => {
    const failed = ({ reason }) => { if (reason instanceof Error && reason.name !== "AbortError") tell(reason); };
    addEventListener("unhandledrejection", failed);
    return () => removeEventListener("unhandledrejection", failed);
  }, []);
  if (!session.token) return html`<${Login} />`;
  const Shown = name === "runs" && where.parts[1] ? Run : PAGES[name];
  return html`<a class="skip" href="#main" onClick=${(event) => { event.preventDefault(); document.querySelector("#main")?.focus(); }}>to the content</a>
    <${Top} name=${name} help=${() => setHelp(true)} />
    ${Shown ? html`<${Shown} key=${name} parts=${where.parts} query=${where.query} />` : html`<main id="main" tabindex="-1"><h1>There is no page ${name}</h1><p><a href="#/now">Now</a></p></main>`}
    ${help && html`<${Help} end=${() => setHelp(false)} />`}<${Over} />`;
}

function Top({ name, help }) {
  const silent = useSilence();
  const fleet = useLive("fleet", undefined, (event) => event.kind === "node.state");
  const inbox = useLive("inbox", undefined, (event) => event.kind.startsWith("inbox") || event.kind === "run.ended" || event.kind === "run.landing");
  const count = inbox.data?.items.length;
  const told = fleet.data?.coordinator;
  return html`<header class="top">
    <nav aria-label="places"><ul>${keys.PLACES.map(([letter, path, words]) => html`<li><a href=${link([path])} title=${`g ${letter}`}
      aria-current=${name === path ? "page" : undefined}>${words}${path === "inbox" && count ? html` <span class="count">${count}</span>` : ""}</a></li>`)}</ul></nav>
    <p class="line"><span class=${silent ? "dot bad" : "dot ok"}></span>${silent ? `not heard for ${span(silent)}` : html`live <span class="quiet">${told ? told.fleet : ""}</span>`}
    ${told?.trouble && html` <strong class="warn">${told.trouble.what}</strong>`}${told?.draining && html` <strong class="warn">draining: ${told.draining}</strong>`}
    ${told?.paused && html` <strong class="warn">paused: ${told.paused}</strong>`}
    <button type="button" class="small" onClick=${help} aria-label="keys and help">?</button>
    <button type="button" class="small" onClick=${logOut}>log out</button></p></header>`;
}

async function logOut() {
  try { await post("web/session/end"); } catch { /* the session may be gone already, or is left to run out */ }
  tabs.out();
}

function Login() {
  return html`<main id="main" class="login" tabindex="-1"><h1>PanCode</h1>
    ${session.words && html`<${Trouble} problem=${{ message: session.words }} />`}
    <p>This console opens with a link that can be used once, for a short time. Make a new one on the coordinator's machine:</p>
    <pre><code>pancode web</code></pre>
    <p>From another machine, carry the port over in one terminal, and open the link that the other one shows:</p>
    <pre><code>ssh -N -L 7433:127.0.0.1:7433 MACHINE${"\n"}ssh MACHINE pancode web --print</code></pre></main>`;
}

function Help({ end }) {
  const own = keys.ownKeys();
  return html`<section class="help" aria-label="keys"><h2>Keys</h2><dl>
    ${keys.PLACES.map(([letter, , words]) => html`<div><dt><kbd>g</kbd> <kbd>${letter}</kbd></dt><dd>${words}</dd></div>`)}
    ${[["j / k", "next, previous row"], ["Enter", "open it"], ["w", "why: of the row"], ["/", "search"], ["?", "these keys"], ...own]
      .map(([key, words]) => html`<div><dt><kbd>${key}</kbd></dt><dd>${words}</dd></div>`)}</dl>
    <button type="button" onClick=${end}>Close</button></section>`;
}

addEventListener("keydown", (event) => { if (event.key === "Escape") document.activeElement?.blur?.(); });
tabs = shareTabs();
await trade();
feed.begin();
render(html`<${App} />`, document.getElementById("app"));
