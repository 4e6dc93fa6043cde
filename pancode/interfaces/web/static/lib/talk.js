// The conversation of a session as it comes, for its page.

import { useEffect, useRef, useState } from "preact/hooks";
import { ask, at, withQuery } from "./api.js";
import { add, fresh, take } from "./conversation.js";
import { follow } from "./feed.js";

/** The conversation of a session as it comes: {talk, shape, at, problem, again}. `first`: its shape, once it was read. */
export function useTalk(first) {
  const [, draw] = useState(0);
  const held = useRef(null);
  const id = first?.session;
  if (!held.current || held.current.id !== id) held.current = { id, talk: fresh(), shape: first, problem: null, again: () => {} };
  useEffect(() => {
    if (!id) return undefined;
    const here = held.current, { talk } = here;
    let timer = 0;
    const soon = () => { timer ||= setTimeout(() => { timer = 0; draw((n) => n + 1); }, 30); };
    const stream = follow((signal) => ask(withQuery(at("sessions", id, "stream"), { since: talk.since, attempt: talk.since && talk.attempt, parts: 1 }), { signal }), ({ event, data }) => {
      Object.assign(here, { problem: null, at: Date.now() });
      if (event === "parts") take(talk, data);
      else if (event === "session") {
        const was = here.shape.asks;
        here.shape = data;
        if (was && data.asks?.call === was.call && data.asks?.words === was.words) data.asks.how = was.how;
        else if (was && !talk.turns.at(-1)?.parts.some((part) => part.of === "asks")) add(talk, { kind: "asked", words: was.words, how: was.how });
      } else if (event === "end") stream.over = true;
      else if (event === "problem") here.problem = data;
      soon();
    }, soon, (problem) => {
      here.problem = problem;
      if (problem.status < 500) stream.over = true;
      soon();
    });
    here.again = () => { stream.over = false; stream.connect(); };
    return () => { stream.end(); clearTimeout(timer); };
  }, [id]);
  return held.current;
}
