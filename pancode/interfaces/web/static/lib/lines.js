// Reads one line of a log: a terminal's colours (SGR) into spans, an agent program's JSON into words.

const SGR = /\x1b\[([\d;:]*)m/g;
// CSI, OSC, single escapes; control characters.
const OTHER = /\x1b\[[\d;:?<=>!]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\|$)|\x1b[@-_a-z]|[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f]/g;
const PLAIN = { fg: "", bg: "", more: [] };

/** The text alone. */
export const strip = (line) => line.replace(SGR, "").replace(OTHER, "");

function turn(style, codes) {
  const now = { ...style, more: [...style.more] };
  const list = (codes || "0").split(/[;:]/).map(Number);
  for (let i = 0; i < list.length; i += 1) {
    const code = list[i];
    if (code === 0) Object.assign(now, PLAIN, { more: [] });
    else if (code === 1 || code === 2 || code === 3 || code === 4 || code === 7 || code === 9) now.more.push(`s${code}`);
    else if (code === 22) now.more = now.more.filter((one) => one !== "s1" && one !== "s2");
    else if (code > 22 && code < 30) now.more = now.more.filter((one) => one !== `s${code - 20}`);
    else if (code === 38 || code === 48) {
      const colour = list[i + 1] === 5 ? nearest(list[i + 2]) : "";
      now[code === 38 ? "fg" : "bg"] = colour;
      i += list[i + 1] === 5 ? 2 : 4;
    } else if ((code >= 30 && code <= 37) || (code >= 90 && code <= 97)) now.fg = String(code >= 90 ? code - 82 : code - 30);
    else if ((code >= 40 && code <= 47) || (code >= 100 && code <= 107)) now.bg = String(code >= 100 ? code - 92 : code - 40);
    else if (code === 39) now.fg = "";
    else if (code === 49) now.bg = "";
  }
  return now;
}

/** One of the 16 for one of 256. */
function nearest(code) {
  if (code < 16) return String(code);
  if (code >= 232) return code < 244 ? "8" : "7";
  const [r, g, b] = [Math.floor((code - 16) / 36), Math.floor((code - 16) / 6) % 6, (code - 16) % 6].map((part) => part > 2);
  return String((r ? 1 : 0) + (g ? 2 : 0) + (b ? 4 : 0));
}

/** The style in which the next line begins. */
export function after(line, style = PLAIN) {
  if (!line.includes("\x1b")) return style;
  let now = style;
  for (const found of line.matchAll(SGR)) now = turn(now, found[1]);
  return now;
}

/** [{text, className}] of one line that begins in `style`. */
export function pieces(line, style = PLAIN) {
  if (!line.includes("\x1b") && !style.fg && !style.bg && !style.more.length) return [{ text: line.replace(OTHER, ""), className: "" }];
  const found = [];
  let now = style, place = 0;
  const add = (end) => { const text = line.slice(place, end).replace(OTHER, ""); if (text) found.push({ text, className: classes(now) }); };
  for (const match of line.matchAll(SGR)) {
    add(match.index);
    place = match.index + match[0].length;
    now = turn(now, match[1]);
  }
  add(line.length);
  return found;
}

const classes = (style) => [style.fg && `f${style.fg}`, style.bg && "b", ...new Set(style.more)].filter(Boolean).join(" ");

const TELLING = ["text", "thinking", "command", "result", "message", "content", "output", "aggregated_output", "error", "delta", "reason", "title", "input", "name", "item", "part", "tool", "file_path", "pattern"];

/** {kind, text}, or null where it is no JSON or says nothing. */
export function spoken(line) {
  if (line.length > 200000) return null;
  let said;
  try { said = JSON.parse(line); } catch { return null; }
  if (typeof said !== "object" || Array.isArray(said)) return null;
  const kind = [said.type, said.subtype, said.item?.type, said.part?.type].filter((word) => typeof word === "string").join(" ");
  const found = [];
  collect(said, found, 0);
  const text = found.join(" ").replace(/[\x00-\x08\x0b-\x1f\x7f]+/g, " ").trim();
  return text && kind ? { kind, text: text.slice(0, 4000) } : null;
}

function collect(value, found, depth) {
  if (typeof value === "string") { if (value) found.push(value); return; }
  if (!value || typeof value !== "object" || depth > 6) return;
  if (Array.isArray(value)) { for (const one of value) collect(one, found, depth + 1); return; }
  for (const key of TELLING) if (key in value) collect(value[key], found, depth + 1);
}

/** What a line says that tells of a failure, as far as one can know. */
const WRONG = /\b(?:error|failed|failure|fatal|panic|exception|traceback|assert\w*error)\b/i, FINE = /\b(?:0|no) (?:errors?|failed|failures?)\b/i;
export const isWrong = (line) => WRONG.test(line) && !FINE.test(line);

/** Twelve lines around the first one that tells of a failure; without one, the last twelve. */
export function around(lines) {
  const whole = lines.filter((line, i) => line.trim() || i < lines.length - 1), first = whole.findIndex(isWrong);
  return first < 0 ? whole.slice(-12) : whole.slice(Math.max(0, first - 3), first + 9);
}
