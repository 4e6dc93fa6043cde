// The palette: one field that finds pages, nodes, runs and what can be done, by a few letters and Enter.

import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { actOnAll, REFUSES } from "./acts.js";
import { at } from "./api.js";
import { PLACES } from "./keys.js";
import { go, html, route, useLive } from "./live.js";
import { Glyph, heard, useOnce } from "./parts.js";
import { look, plain, stateOf, title } from "./words.js";

const MOST = 60;
const VERBS = [["stop", "stopped", "Stop"], ["retry", "dispatch", "Retry"], ["land", "landed", "Land"]];

/** `acts`: what the frame can do, as [words, glyph, act]. */
export function Palette({ end, acts }) {
  const box = useRef(null), list = useRef(null);
  const [text, type] = useState(""), [chosen, choose] = useState(0);
  const [first, id] = route().parts, here = first === "runs" && id;
  const run = useLive(here ? at("runs", id, "brief") : null, undefined, () => false).data;
  const runs = useOnce("runs?limit=1000", (data) => data.runs), nodes = useOnce("fleet", (data) => data.nodes);
  useLayoutEffect(() => { if (!box.current.open) box.current.showModal(); }, []);
  const all = [
    ...(run ? VERBS.filter(([verb]) => !REFUSES[verb](run)).map(([verb, glyph, words]) => ({ glyph, words: `${words} ${run.run}`, side: title(run), act: () => actOnAll(verb, [run]) })) : []),
    ...PLACES.map(([letter, path, words, also]) => ({ glyph: path, words, also, side: `g ${letter}`, act: () => go([path]) })),
    ...acts.map(([words, glyph, act]) => ({ glyph, words, side: "", act })),
    ...nodes.map((node) => ({ glyph: "machines", tone: heard(node) ? "" : "ghost", words: node.name, side: plain(node.state), act: () => go(["machines", node.name]) })),
    ...runs.map((one) => { const [tone, glyph] = look(stateOf(one)); return { glyph, tone, words: title(one), side: `${one.run} ${plain(stateOf(one))}`, act: () => go(["runs", one.run]) }; }),
  ];
  const wanted = text.toLowerCase().split(/\s+/).filter(Boolean), said = VERBS.find(([verb]) => verb === wanted[0]);
  if (said) all.push(...runs.filter((one) => one.run !== id && !REFUSES[said[0]](one)).map((one) => ({ glyph: said[1], words: `${said[2]} ${one.run}`, side: title(one), act: () => actOnAll(said[0], [one]) })));
  const found = all.filter((one) => { const told = `${one.words} ${one.side} ${one.also || ""}`.toLowerCase(); return wanted.every((word) => told.includes(word)); }).slice(0, MOST);
  const place = Math.min(chosen, found.length - 1);
  useEffect(() => { list.current?.children[place]?.scrollIntoView({ block: "nearest" }); }, [place, text]);
  const take = (one) => { end(); one?.act(); };
  const key = (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) { event.preventDefault(); choose(Math.max(0, Math.min(found.length - 1, place + step))); }
    if (event.key === "Enter") { event.preventDefault(); take(found[place]); }
  };
  return html`<dialog class="palette" ref=${box} aria-label="find or do" onCancel=${(event) => { event.preventDefault(); end(); }} onClick=${(event) => { if (event.target === box.current) end(); }}>
    <div class="keys"><input autofocus role="combobox" aria-expanded="true" aria-controls="found" aria-autocomplete="list" aria-activedescendant=${found.length ? `found-${place}` : undefined} aria-label="Find or do" placeholder="A page, a run, a node, or what to do" value=${text} onInput=${(event) => { type(event.target.value); choose(0); }} onKeyDown=${key} />
      <button type="button" class="bare" onClick=${end}>Close</button></div>
    <ul id="found" role="listbox" aria-label="what was found" ref=${list}>${found.map((one, i) => html`<li key=${i} id=${`found-${i}`} role="option" aria-selected=${i === place ? "true" : "false"} class=${`row ${i === place ? "picked" : ""}`} onClick=${() => take(one)}><${Glyph} name=${one.glyph} tone=${one.tone} /><span class="cut">${one.words}</span><span class="small quiet cut">${one.side}</span></li>`)}</ul>
    ${!found.length && html`<p class="pad quiet" role="status">Nothing is called so.</p>`}</dialog>`;
}
