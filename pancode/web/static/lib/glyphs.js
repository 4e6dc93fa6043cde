// Glyphs, drawn on 16 by 16: what is filled, then what is drawn over it. The shape alone tells a state.

const DISC = "M8 1a7 7 0 1 1 0 14A7 7 0 1 1 8 1z", RING = "M8 1.75a6.25 6.25 0 1 1 0 12.5 6.25 6.25 0 1 1 0-12.5z";

export const GLYPHS = {
  // states
  done: [DISC, "m4.9 8.2 2.1 2.1 4.1-4.5"],
  landed: [DISC, "M8 4.4v6m-2.6-2.5L8 10.5l2.6-2.6M5.2 12h5.6"],
  failed: [DISC, "m5.6 5.6 4.8 4.8m0-4.8-4.8 4.8"],
  asks: [DISC, "M5.9 6.3a2.1 2.1 0 1 1 3 1.9c-.6.3-.9.6-.9 1.2m0 2v.1"],
  error: ["M8 .9 15.4 14H.6z", "M8 5.6v3.6m0 2.2v.1"],
  unverified: ["", RING, "m5.2 8.2 1.9 1.9 3.7-4"],
  running: ["", RING, "M8 1.75A6.25 6.25 0 0 1 14.25 8"],
  unknown: ["", RING, "M6.2 6.4a1.9 1.9 0 1 1 2.6 1.7c-.6.3-.8.5-.8 1m0 1.9v.1"],
  flag: ["", "M4 14V2.5h8L10 6l2 3.5H4"],
  waiting: ["", RING],
  stopped: ["", RING, "M6 6h4v4H6z"],
  yes: ["", RING, "M6.2 5.5v5m3.6-5v5"],
  // places and acts
  now: ["", "M1.5 8.5h3l2-5.5 3 10 2-4.5h3"],
  chat: ["", "M2 3h12v8H8l-3.5 3v-3H2z"],
  inbox: ["", "M2 9.5 4 3h8l2 6.5V13H2zm0 0h3.5l1 2h3l1-2H14"],
  runs: ["", "M2.5 4h.1m2.9 0h8M2.5 8h.1m2.9 0h8m-11 4h.1m2.9 0h8"],
  workflows: ["", "M5.5 4H8a2 2 0 0 1 2 2v4a2 2 0 0 0 2 2M3.7 2.2a1.8 1.8 0 1 1 0 3.6 1.8 1.8 0 1 1 0-3.6zM12.3 10.2a1.8 1.8 0 1 1 0 3.6 1.8 1.8 0 1 1 0-3.6z"],
  projects: ["", "M2 4.5V12a1 1 0 0 0 1 1h10a1 1 0 0 0 1-1V6a1 1 0 0 0-1-1H8L6.5 3H3a1 1 0 0 0-1 1z"],
  machines: ["", "M2 2.5h12V7H2zM2 9h12v4.5H2zM4.5 4.75h.1m-.1 6.5h.1"],
  agents: ["", "M3 6.5h10V13H3zM8 6.5V3M6.3 9.5v.1m3.4-.1v.1M1.5 9v2m13-2v2"],
  money: ["", "M2 13.5h12M3.5 11V7.5M8 11V3m4.5 8V5.5"],
  settings: ["", "M2 5h6m4 0h2M2 11h2m4 0h6M10 3.2a1.8 1.8 0 1 1 0 3.6 1.8 1.8 0 1 1 0-3.6zM6 9.2a1.8 1.8 0 1 1 0 3.6 1.8 1.8 0 1 1 0-3.6z"],
  audit: ["", "M6.5 9.5 9.5 6.5M7.5 4.5l1.2-1.2a2.8 2.8 0 0 1 4 4L11.5 8.5m-3 3-1.2 1.2a2.8 2.8 0 0 1-4-4L4.5 7.5"],
  brand: ["M4.5.5h7a4 4 0 0 1 4 4v7a4 4 0 0 1-4 4h-7a4 4 0 0 1-4-4v-7a4 4 0 0 1 4-4z", "M5.5 12.5V4h3a2.7 2.7 0 0 1 0 5.4h-3"],
  more: ["", "M3 8h.1M8 8h.1m4.9 0h.1"],
  dispatch: ["", "M8 3v10M3 8h10"],
  fold: ["", "m6 4 4 4-4 4"],
  open: ["", "m4 6 4 4 4-4"],
  tool: ["", "m3 4 3.5 4L3 12m5.5 0H13"],
  send: ["", "M8 13V3M4 7l4-4 4 4"],
  back: ["", "M10 3 5 8l5 5"],
};
