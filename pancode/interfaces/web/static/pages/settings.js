// Settings: the presets, each setting with where it comes from, and changes that a user agrees to.

import { useState } from "preact/hooks";
import { post } from "../lib/api.js";
import { html, useLive } from "../lib/live.js";
import { Act, agreed, asked, Empty, Page, Panel, Row, tell } from "../lib/parts.js";

const moves = (event) => event.kind === "audit", BUILT_IN = "built-in", OWN = "settings.json";

export function Settings() {
  const presets = useLive("presets", undefined, moves), settings = useLive("config", undefined, moves);
  const again = () => { presets.again(); settings.again(); };
  return html`<${Page} title="Settings" lives=${[presets, settings]} actions=${html`<${Act} label="Take back the last change" path="config/undo" sure="Take the last change of the configuration back?" done=${(told) => { say(told); again(); }} />`}>
    <${Presets} all=${presets.data?.presets || []} again=${again} /><${All} all=${settings.data?.settings || []} again=${again} /><//>`;
}

const NAMES = [["model", "orchestrator"], ["worker_model", "workers"], ["scout_model", "scouts"], ["reasoning", "reasoning"], ["safety", "safety"]];

function Presets({ all, again }) {
  return html`<${Panel} title="Presets" count=${all.length}><ul>${all.map((one) => html`<${Row} key=${one.name} word=${one.applied ? "applied" : "not applied"} of=${one.applied ? "ok" : "wait"} title=${one.name} why=${`preset:${one.name}: ${one.description}\nit comes from: ${one.origin}`}
    facts=${html`<span>${one.description}</span>${NAMES.map(([key, words]) => one[key] && html`<span>${words}: ${one[key]}</span>`)}`}
    keys=${one.applied ? html`<${Act} label="Take it off" path="presets/unset" sure=${`Take ${one.name} off?`} done=${again} />`
      : html`<${Act} label="Apply" path="presets/apply" body=${{ name: one.name, yes: true }} sure=${`Apply ${one.name} to all later work?${one.safety ? ` Safety: ${one.safety}.` : ""}`} done=${(told) => { tell([`${one.name} is applied`, ...told.warnings].join("; ")); again(); }} />`} />`)}</ul><//>`;
}

const say = (told) => tell([`${told.target}: ${told.old.value} → ${told.new.value}`, ...told.notes].join("; "));

/** Asks for the value, then for a confirmation that names the old and the new value. */
async function change(one, again) {
  const value = await asked(`${one.key}: its new value, as a file has it`, "Continue", one.value === "null" ? "" : one.value);
  if (value === null || value.trim() === one.value || !(await agreed(`Set ${one.key} from ${one.value} to ${value.trim()}? It counts at once.`, "Set"))) return;
  try { say(await post("config/set", { key: one.key, value: value.trim(), yes: true })); again(); } catch (problem) { tell(problem); }
}

function All({ all, again }) {
  const [text, type] = useState(""), [own, only] = useState(false);
  const shown = all.filter((one) => `${one.key} ${one.value} ${one.origin}`.includes(text.trim()) && (!own || one.origin !== BUILT_IN));
  return html`<${Panel} title="All settings" count=${shown.length} act=${html`<label class="keys"><input type="checkbox" checked=${own} onChange=${(event) => only(event.target.checked)} /> only what was set</label><input type="search" data-search aria-label="search the settings" placeholder="search  /" value=${text} onInput=${(event) => type(event.target.value)} />`}>
    ${!shown.length ? html`<${Empty} title="No setting is called so" />` : html`<div class="wide" tabindex="0" role="region" aria-label="all settings, as a table"><table><thead><tr><th scope="col">setting</th><th scope="col">value</th><th scope="col" class="desk">from</th><th scope="col"><span class="sr">acts</span></th></tr></thead>
      <tbody>${shown.map((one) => html`<tr key=${one.key} data-row tabindex="-1" data-why=${`setting:${one.key} is ${one.value}\nfrom: ${one.origin}`}><th scope="row"><code>${one.key}</code></th><td><code>${one.value}</code></td><td class="desk">${one.origin === BUILT_IN ? html`<span class="quiet">${one.origin}</span>` : html`<code>${one.origin}</code>`}</td>
        <td><span class="keys end"><button type="button" class="bare" aria-label=${`change ${one.key}`} onClick=${() => change(one, again)}>Change</button>${one.origin.includes(OWN) && html`<${Act} label="Unset" kind="bare" path="config/unset" body=${{ key: one.key }} sure=${`Take ${one.key} = ${one.value} out of your settings?`} done=${(told) => { say(told); again(); }} />`}</span></td></tr>`)}</tbody></table></div>`}<//>`;
}
