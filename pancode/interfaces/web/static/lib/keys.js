// The keyboard: places by two keys, rows by j and k, `w` for why. A page adds its own.

import { go } from "./live.js";
import { askWhy } from "./parts.js";

/** A letter, the address, the name, and the tree's other words for it. */
export const PLACES = [
  ["n", "now", "Now", "status"], ["i", "inbox", "Inbox"], ["c", "chat", "Chat", "sessions"], ["r", "runs", "Runs"], ["d", "dispatch", "Dispatch"], ["w", "workflows", "Workflows"], ["p", "projects", "Projects"], ["o", "issues", "Issues"],
  ["m", "machines", "Nodes", "machines"], ["b", "money", "Budget", "money cost"], ["a", "agents", "Agents"], ["u", "audit", "Audit"], ["s", "settings", "Settings", "config"],
];
const own = new Set();
let before = 0;
let waits = null;

/** `keys`: {letter: [words, act]}, as long as the page is there. */
export function addKeys(keys) { own.add(keys); return () => own.delete(keys); }
export const ownKeys = () => [...own].flatMap((keys) => Object.entries(keys).map(([key, [words]]) => [key, words]));

const typing = (place) => place.closest?.("input, textarea, select, dialog");

export function begin(help, find) {
  addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key === "k" && !document.querySelector("dialog[open]")) { event.preventDefault(); find(); return; }
    if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
    const { key } = event;
    if (Date.now() - before < 1200) {
      before = 0;
      const place = PLACES.find(([letter]) => letter === key);
      if (place) { event.preventDefault(); go([place[1]]); return; }
    }
    if (act(key, event, help)) event.preventDefault();
  });
}

function act(key, event, help) {
  for (const keys of own) if (keys[key]) { keys[key][1](event); return true; }
  if (key === "g") { before = Date.now(); return true; }
  if (key === "?") { help(); return true; }
  if (key === "j" || key === "ArrowDown") return move(1);
  if (key === "k" || key === "ArrowUp") return move(-1);
  if (key === "w") return why();
  if (key === "/") { const field = document.querySelector("[data-search]"); field?.focus(); return Boolean(field); }
  return false;
}

function why() {
  const here = document.activeElement;
  const row = here?.closest(".row");
  const key = here?.closest("[data-why]") || row?.querySelector("[data-why]") || document.querySelector("main [data-why]");
  if (key) askWhy(key.dataset.why);
  return Boolean(key);
}

/** To the next row; in a window also to one that is not in the document yet. */
function move(step) {
  const here = document.activeElement;
  const frame = document.querySelector("main [data-window].rows");
  if (frame) return inWindow(frame, here, step);
  const rows = [...document.querySelectorAll("main [data-row]")];
  if (!rows.length) return false;
  const now = rows.indexOf(here?.closest("[data-row]"));
  focusIn(rows[Math.min(rows.length - 1, Math.max(0, now + step))]);
  return true;
}

function inWindow(frame, here, step) {
  const row = here?.closest("[data-i]");
  const from = waits ?? (row ? Number(row.dataset.i) : null);
  const goal = Math.min(frame.dataset.count - 1, Math.max(0, from === null ? 0 : from + step));
  waits = goal;
  const height = Number(frame.dataset.height);
  if (goal * height < frame.scrollTop) frame.scrollTop = goal * height;
  if ((goal + 1) * height > frame.scrollTop + frame.clientHeight) frame.scrollTop = (goal + 1) * height - frame.clientHeight;
  const arrive = () => {
    const next = frame.querySelector(`[data-i="${goal}"]`);
    if (!next) return false;
    const over = goal + step, heading = next.matches(".group");
    waits = heading && over >= 0 && over < frame.dataset.count ? goal : null;
    if (waits !== null) inWindow(frame, here, step);
    else if (!heading) focusIn(next);
    return true;
  };
  if (!arrive()) requestAnimationFrame(() => requestAnimationFrame(() => waits === goal && arrive())); // or a later key is on its way
  return true;
}

const focusIn = (row) => (row?.querySelector("a, button") || row)?.focus();
