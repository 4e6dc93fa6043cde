// Draws untrusted Markdown: markdown-it parses it with HTML off, and each token becomes an element from a fixed table, so no text becomes markup.

import markdownIt from "../vendor/markdown-it.mjs";
import { html } from "./live.js";

const MOST = 100_000;
const parser = markdownIt({ html: false, linkify: true, breaks: true });
parser.linkify.set({ fuzzyLink: false, fuzzyEmail: false, fuzzyIP: false });

/** The element of each token. Headings of a text are below those of the page. */
const TAGS = { h1: "h3", h2: "h3", h3: "h4", h4: "h5", h5: "h5", h6: "h5", strong: "b", ...Object.fromEntries("p ul ol li blockquote table thead tbody tr th td em s".split(" ").map((tag) => [tag, tag])) };

/** Show a link with its address, so that its text cannot hide where it leads. Only web and mail addresses become links. */
function linked(address, kids, words) {
  if (!/^(https?:\/\/|mailto:)/i.test(address)) return html`${kids} (${address})`;
  return html`<a href=${address} target="_blank" rel="noreferrer noopener nofollow">${kids}</a>${words !== address && html` <span class="small quiet">(${address})</span>`}`;
}

const textOf = (tokens) => tokens.map((token) => (token.children ? textOf(token.children) : token.content)).join("");

function element(token, kids, words) {
  const tag = TAGS[token.tag];
  if (token.type === "link_open") return linked(token.attrGet("href") || "", kids, words);
  if (token.hidden || !tag) return kids;
  if (tag === "table") return html`<div class="wide" tabindex="0" role="region" aria-label="table"><table>${kids}</table></div>`;
  return html`<${tag} start=${tag === "ol" ? token.attrGet("start") ?? undefined : undefined}>${kids}</${tag}>`;
}

function leaf(token) {
  switch (token.type) {
    case "inline": return drawn(token.children);
    case "softbreak": case "hardbreak": return html`<br />`;
    case "hr": return html`<hr />`;
    case "code_inline": return html`<code>${token.content}</code>`;
    case "fence": case "code_block": return html`<pre class="well words" tabindex="0">${token.content}</pre>`;
    case "image": return linked(token.attrGet("src") || "", `image: ${textOf(token.children)}`);
    default: return token.content;
  }
}

/** Turn a list of tokens, in which opening and closing tokens are paired, into elements. */
function drawn(tokens) {
  const open = [{ kids: [] }];
  tokens.forEach((token, i) => {
    if (token.nesting === 1) { open.push({ token, kids: [], from: i + 1 }); return; }
    const done = token.nesting < 0 && open.pop();
    open.at(-1).kids.push(done ? element(done.token, done.kids, textOf(tokens.slice(done.from, i))) : leaf(token));
  });
  return open[0].kids;
}

/** Draw Markdown; a very long text stays plain text. */
export const draw = (text) => (text.length > MOST ? html`<div class="words">${text}</div>` : drawn(parser.parse(text, {})));
