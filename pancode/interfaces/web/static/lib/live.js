// What components share: markup without a build, data that follows the feed, the clock, the address.

import { h } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import htm from "htm";
import { get, withQuery } from "./api.js";
import { listen, silence, watchLine } from "./feed.js";
import { pieced, visible } from "./words.js";

/** Elements that hold text alone; and attributes that a user hears or reads. */
const ONLY_TEXT = ["option", "textarea", "text"], SAID = ["aria-label", "title", "placeholder"];
const named = (text) => { const parts = pieced(text); return parts.length < 2 ? parts[0] : parts.map((part, i) => (i % 2 ? h("span", { class: "badge ghost named" }, part) : part)); };
const clean = (child, how) => (Array.isArray(child) ? child.map((one) => clean(one, how)) : typeof child === "string" ? how(child) : child);

/** Markup of all pages. Here, and only here, text of strangers is made safe to read: what it hides or turns round is named in a chip. */
export const html = htm.bind((kind, props, ...children) => {
  if (typeof kind !== "string") return h(kind, props, ...children);
  for (const name of SAID) if (typeof props?.[name] === "string") props[name] = visible(props[name]);
  return h(kind, props, ...clean(children, ONLY_TEXT.includes(kind) ? visible : named));
});
/** The least time between two requests: this, or a multiple of how long the last request took. */
const AT_MOST_EACH_MS = 200, SHARE = 3;

/** By address: what was read, who shows it, and which events they want it read again for. */
const stores = new Map();

function opened(address) {
  const stop = new AbortController(), store = { state: { address }, setters: new Set(), wants: new Set(), passed: false };
  let busy = false, dirty = false, failed = false, timer = 0, next = 0;
  const tell = (state) => { store.state = state; for (const set of [...store.setters]) set(state); };
  const read = async () => {
    const began = Date.now();
    busy = true; dirty = false; store.passed = false;
    try {
      const data = await get(address, undefined, stop.signal);
      if (!stop.signal.aborted) { failed = false; tell({ address, data, at: Date.now() }); }
    } catch (error) {
      if (!stop.signal.aborted) { failed = true; tell({ ...store.state, error }); }
    }
    busy = false;
    next = Math.max(began + AT_MOST_EACH_MS, Date.now() + SHARE * (Date.now() - began));
    if (dirty) store.soon();
  };
  store.soon = () => {
    if (busy) { dirty = true; return; }
    if (timer || stop.signal.aborted) return;
    timer = setTimeout(() => { timer = 0; read(); }, Math.max(10, next - Date.now()));
  };
  const deaf = listen((event) => {
    if (event.kind === "reset" || (event.kind === "resumed" ? failed : [...store.wants].some((wanted) => wanted.current(event)))) store.soon();
    else store.passed = true;
  });
  store.end = () => { deaf(); clearTimeout(timer); stop.abort(); stores.delete(address); };
  stores.set(address, store);
  read();
  return store;
}

/** {data, error, at}: read now, and again when an event fits. `path` null: nothing to read. What several show is read once. */
export function useLive(path, query, fits = () => true) {
  const [state, set] = useState({});
  const address = path && withQuery(path, query);
  const wanted = useRef(fits), again = useRef(() => {});
  wanted.current = fits;
  useEffect(() => {
    if (!address) return undefined;
    const store = stores.get(address) || opened(address);
    store.setters.add(set); store.wants.add(wanted);
    set(store.state);
    if (store.passed) store.soon(); // an event that nobody wanted until now
    again.current = store.soon;
    return () => { store.setters.delete(set); store.wants.delete(wanted); if (!store.setters.size) store.end(); };
  }, [address]);
  return { ...state, again: () => again.current() };
}

/** The coordinator's answer to what a user sees first, shared by all parts of the page that show some of it. */
export const useSummary = (fits) => useLive("now", undefined, fits);
/** Whether an event may change what waits for the user. */
export const isInboxEvent = (event) => /^(inbox|node)|^run.(ended|landing)/.test(event.kind) || (event.kind === "audit" && ["people", "land"].includes(event.data?.domain));

const ticking = new Set();
setInterval(() => { if (!document.hidden) for (const fn of [...ticking]) fn(Date.now()); }, 1000);

/** The time, each second. */
export function useNow() {
  const [now, set] = useState(Date.now());
  useEffect(() => { ticking.add(set); return () => ticking.delete(set); }, []);
  return now;
}

/** For how many ms the coordinator was not heard; 0: it was. */
export function useSilence() {
  const now = useNow();
  const [, set] = useState(0);
  useEffect(() => watchLine(() => set((n) => n + 1)), []);
  return silence(now);
}

/** {parts, query}: `#/runs/r-abc/diff?file=x` is ["runs", "r-abc", "diff"]. */
export function route() {
  const [path, words] = location.hash.replace(/^#\/?/, "").split("?");
  return { parts: path.split("/").filter(Boolean).map(decodeURIComponent), query: Object.fromEntries(new URLSearchParams(words || "")) };
}

export function useRoute() {
  const [now, set] = useState(route());
  useEffect(() => {
    const on = () => set(route());
    addEventListener("hashchange", on);
    return () => removeEventListener("hashchange", on);
  }, []);
  return now;
}

/** The address of a view of ours. */
export const link = (parts, query) => withQuery(`#/${parts.map(encodeURIComponent).join("/")}`, query);
export const go = (...words) => { location.hash = link(...words); };

/** Same as useState, kept by this tab. */
export function useKept(name, first) {
  const [value, set] = useState(() => { try { return JSON.parse(sessionStorage.getItem(name)) ?? first; } catch { return first; } });
  return [value, (next) => { sessionStorage.setItem(name, JSON.stringify(next)); set(next); }];
}

const small = matchMedia("(max-width: 720px)"), wide = matchMedia("(min-width: 1500px)");
function useScreen(of) {
  const [now, set] = useState(of.matches);
  useEffect(() => {
    const on = () => set(of.matches);
    of.addEventListener("change", on);
    return () => of.removeEventListener("change", on);
  }, []);
  return now;
}
/** Whether the screen is as narrow as a phone's. */
export const usePhone = () => useScreen(small);
/** Whether a list and what it has chosen stand side by side. */
export const useWide = () => useScreen(wide);
