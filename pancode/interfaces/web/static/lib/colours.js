// Colours of program text in a change: comments, strings, numbers and the words of a language, by the file's name.

const HASH = "py pyi sh bash zsh rb yaml yml toml ini cfg conf pl r ex exs tf nix cmake dockerfile makefile gitignore", SLASH = "js mjs cjs jsx ts tsx go rs c h cc cpp hpp java kt swift cs php scala dart css scss less json jsonc proto groovy zig", DASH = "sql lua hs elm";
const STRING = "\"(?:[^\"\\\\]|\\\\.)*\"?|'(?:[^'\\\\]|\\\\.)*'?|`(?:[^`\\\\]|\\\\.)*`?", REST = "|\\b(?:0x[\\da-fA-F]+|\\d[\\d_.]*(?:e[+-]?\\d+)?)\\b|[\\p{L}_$][\\p{L}\\p{N}_$]*";
const WORDS = new Set(("and as assert async await begin bool boolean break byte case catch char class const continue def default defer del delete do done double elif else elsif end enum esac except export extends extern false False fi final finally float fn for from fun func function global go goto if impl implements import in include int interface internal is lambda let local long loop map match mod module mut namespace new nil None not null nullptr of operator or override package pass private protected pub public raise range require return self Self sealed select short sizeof static str string struct super switch then this throw trait true True try type typedef typeof undefined union unless unsafe unsigned until use using var virtual void volatile where while with yield "
  + "SELECT FROM WHERE INSERT INTO UPDATE SET DELETE CREATE TABLE JOIN ON AND OR NOT NULL ORDER GROUP BY AS").split(" "));
const kinds = new Map();
for (const [names, comment, open] of [[HASH, "(?:(?<=^|\\s)#.*)", ["\"\"\"", "'''"]], [SLASH, "//.*", ["/*"]], [DASH, "--.*", []]]) {
  const opens = open.map((word) => word.replace("*", "\\*"));
  const kind = { opens: open, first: open.length ? new RegExp(opens.join("|"), "g") : null, parts: new RegExp(`${[...opens, comment].join("|")}|${STRING}${REST}`, "gu") };
  for (const name of names.split(" ")) kinds.set(name, kind);
}
const CLOSE = { "/*": "*/" };
const MOST = 2000;

/** How a file's lines are coloured; undefined: not at all. */
export const kindOf = (name) => kinds.get(name.split("/").pop().split(".").pop().toLowerCase());

/** What is still open at a line's end, a comment or a text of several lines, where `open` was at its beginning. */
export function openAfter(text, kind, open) {
  if (!kind?.first || (!open && !kind.opens.some((word) => text.includes(word)))) return open;
  return coloured(text, kind, open).open;
}

/** {pieces: [{text, className}], open} of a line. */
export function coloured(text, kind, open = "") {
  const pieces = [];
  if (!kind || text.length > MOST) return { pieces: [{ text, className: "" }], open };
  let place = 0;
  const put = (end, className) => {
    const part = text.slice(place, end), last = pieces.at(-1);
    if (part && last?.className === className) last.text += part;
    else if (part) pieces.push({ text: part, className });
    place = end;
  };
  const until = (word) => {
    const close = CLOSE[word] || word, found = text.indexOf(close, word === open ? place : place + word.length), ended = found >= 0;
    put(ended ? found + close.length : text.length, word === "/*" ? "f8" : "f6");
    open = ended ? "" : word;
  };
  if (open) until(open);
  while (place < text.length && !open) {
    kind.parts.lastIndex = place;
    const found = kind.parts.exec(text);
    if (!found) break;
    put(found.index, "");
    const [word] = found, first = word[0];
    if (kind.opens.includes(word)) until(word);
    else put(place + word.length, /["'`]/.test(first) ? "f6" : /\d/.test(first) ? "f3" : /[#/-]/.test(first) ? "f8" : WORDS.has(word) ? "f4" : "");
  }
  put(text.length, "");
  return { pieces, open };
}
