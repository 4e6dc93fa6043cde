// The receipt of a run: checked here by mathematics, beside what the coordinator says of it.

import { useEffect, useState } from "preact/hooks";
import { at, get } from "../lib/api.js";
import { html, useLive } from "../lib/live.js";
import { Act, Badge, Panel, tell, Trouble, When } from "../lib/parts.js";

export function Proof({ run }) {
  const [found, set] = useState(null);
  const theirs = useLive(run.receipt ? at("runs", run.run, "verify") : null, undefined, () => false);
  useEffect(() => {
    if (!run.receipt) return;
    Promise.all([get(at("receipts", run.run)), get("keys")])
      .then(async ([receipt, { keys }]) => set({ receipt, ...(await check(receipt, keys, run.run)) }))
      .catch((error) => set({ error }));
  }, [run.run, run.receipt]);
  if (!run.receipt) return html`<p class="panel pad small quiet">${run.state === "ended" ? `There is no receipt: ${run.reason}` : "The run has not ended: there is no receipt yet."}</p>`;
  if (!found) return html`<p>reading …</p>`;
  if (found.error) return html`<${Trouble} problem=${found.error} />`;
  return html`<div class="two half"><${Panel} title="Checked in this page" act=${html`<${Badge} word=${found.verdict} />`}><${Checks} checks=${found.checks} />
      <p class="pad small quiet">By this browser, with the public keys that the coordinator gives out. Compare a key with <code>pancode admin keys</code> once, on the machine itself.</p><//>
    <${Panel} title="The coordinator says" act=${theirs.data && html`<${Badge} word=${theirs.data.verdict} />`}>${theirs.data && html`<${Checks} checks=${theirs.data.checks} />`}${theirs.error && html`<${Trouble} problem=${theirs.error} />`}<//></div>
    <${Panel} title="What it states"><div class="pad stack small"><p>digest <code>${found.receipt.digest}</code>, kept <${When} at=${found.receipt.stored_at} /></p>
    <details><summary>the whole statement</summary><pre class="answer" tabindex="0">${JSON.stringify(found.said, null, 1)}</pre></details></div><//>`;
}

const Checks = ({ checks }) => html`<ul class="plain pad">${checks.map((one) => html`<li><${Badge} word=${one.ok ? "ok" : "no"} of=${one.ok ? "ok" : "bad"} /> ${one.what} <span class="quiet">${one.detail}</span></li>`)}</ul>`;

// -- the check itself: DSSE with Ed25519 by WebCrypto -----------------------------------------------

const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
const hex = (buffer) => [...new Uint8Array(buffer)].map((byte) => byte.toString(16).padStart(2, "0")).join("");

/** DSSE's pre-authentication encoding. */
function pae(type, payload) {
  const utf8 = new TextEncoder();
  const kind = utf8.encode(type);
  const head = utf8.encode(`DSSEv1 ${kind.length} ${type} ${payload.length} `);
  const whole = new Uint8Array(head.length + payload.length);
  whole.set(head);
  whole.set(payload, head.length);
  return whole;
}

async function holds(key, sig, message) {
  const raw = bytes(key.public.replace(/^ed25519 /, ""));
  if (hex(await crypto.subtle.digest("SHA-256", raw)) !== key.keyid) return false;
  const made = await crypto.subtle.importKey("raw", raw, { name: "Ed25519" }, false, ["verify"]);
  return crypto.subtle.verify({ name: "Ed25519" }, made, bytes(sig), message);
}

/** {verdict, checks: [{what, ok, detail}]}: by mathematics here, not by anybody's word. */
async function check(receipt, keys, run) {
  if (!globalThis.crypto?.subtle) return { verdict: "NOT CHECKED", checks: [{ what: "WebCrypto", ok: false, detail: "this page is on no secure origin: open it by 127.0.0.1, localhost or TLS" }] };
  const { envelope } = receipt;
  const payload = bytes(envelope.payload);
  const message = pae(envelope.payloadType, payload);
  const checks = [], roles = new Set();
  for (const one of envelope.signatures) {
    const key = keys.find((known) => known.keyid === one.keyid);
    const good = Boolean(key) && (await holds(key, one.sig, message));
    if (good) roles.add(key.role);
    checks.push({ what: `signature of ${key ? `${key.role} ${key.name}` : "an unknown key"}`, ok: good, detail: `key ${one.keyid.slice(0, 16)}` });
  }
  checks.push({ what: "signed by a node and countersigned by the coordinator", ok: roles.has("node") && roles.has("coordinator"), detail: [...roles].join(", ") || "nobody" });
  let said = null;
  try { said = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(payload)); } catch { /* it was changed */ }
  const { identity = {}, node = "", node_name: named } = said?.predicate || {};
  const signer = node && envelope.signatures.some((one) => one.keyid.startsWith(node));
  checks.push({ what: "is of this run", ok: identity.run === run, detail: identity.run ? `${identity.run} attempt ${identity.attempt}` : "it cannot be read" });
  checks.push({ what: "signed by the node that it names", ok: Boolean(signer), detail: named || node });
  const digest = hex(await crypto.subtle.digest("SHA-256", message));
  checks.push({ what: "is the one in the coordinator's books", ok: digest === receipt.digest, detail: digest.slice(0, 16) });
  const known = envelope.signatures.every((one) => keys.some((key) => key.keyid === one.keyid));
  const verdict = !envelope.signatures.length ? "UNSIGNED" : !known ? "UNKNOWN_KEY" : checks.every((one) => one.ok) ? "PASS" : "TAMPERED";
  return { verdict, checks, said };
}
