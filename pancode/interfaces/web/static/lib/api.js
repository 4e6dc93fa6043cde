// Asks the JSON API: the session's token, one request, and problems in the coordinator's own words.

const meta = (name) => document.querySelector(`meta[name=pancode-${name}]`).content;
const BASE = new URL(meta("api"), document.baseURI);
/** One session for each fleet: another fleet may have had this port. */
const KEPT = `pancode-session-${meta("fleet")}`;
const told = new Set();

/** A refusal: what happened, why, and the command that fixes it. */
export class Problem extends Error {
  constructor(status, body) {
    super(body.message || body.title || `the coordinator answered with ${status}`);
    this.status = status;
    this.code = body.code || "";
    this.why = body.why || "";
    this.fix = body.fix || "";
    this.details = body.details || {};
  }
}

export const session = {
  get token() { return localStorage.getItem(KEPT); },
  /** `words`: why the session ended, for the login page. */
  words: "",
  keep(token) { localStorage.setItem(KEPT, token); this.words = ""; tell(); },
  drop(words) { localStorage.removeItem(KEPT); this.words = words || ""; tell(); },
  watch(fn) { told.add(fn); return () => told.delete(fn); },
};

/** The refusals that end the session; a link that cannot be used does not. */
const ENDED = { no_token: 1, unknown_token: 1, expired_token: 1 };

function tell() { for (const fn of [...told]) fn(); }

const GONE = { code: "gone", message: "the coordinator does not answer", why: "the line to it, or the coordinator itself, is down",
  fix: "pancode node ls" };

/** One request; the raw answer. Problem for every refusal, and where nobody answers. */
export async function ask(path, { method = "GET", body, signal, headers = {} } = {}) {
  const sent = { ...headers }, { token } = session;
  if (token && !sent.Authorization) sent.Authorization = `Bearer ${token}`;
  if (body !== undefined) sent["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(new URL(path, BASE), { method, headers: sent, signal, cache: "no-store", credentials: "omit", redirect: "error",
      body: body === undefined ? undefined : JSON.stringify(body) });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, { ...GONE, why: GONE.why });
  }
  if (answer.ok) return answer;
  const problem = await problemOf(answer);
  if (answer.status === 401 && problem.code in ENDED && token === session.token && !headers.Authorization) session.drop(problem.message);
  throw problem;
}

async function problemOf(answer) {
  try { return new Problem(answer.status, await answer.json()); } catch { return new Problem(answer.status, {}); }
}

export async function get(path, query, signal) { return (await ask(withQuery(path, query), { signal })).json(); }

/** `key`: the same press sent twice starts one thing. */
export async function post(path, body = {}, key) {
  const headers = key ? { "Idempotency-Key": key } : {};
  return (await ask(path, { method: "POST", body, headers })).json();
}

export function withQuery(path, query = {}) {
  const pairs = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return pairs.length ? `${path}?${new URLSearchParams(pairs)}` : path;
}

/** A path of the API; what stands in a name stays in it. */
export const at = (...parts) => parts.map((part) => encodeURIComponent(part)).join("/");

/** The one-time code of the address for a session; the code leaves the address at once. Returns a problem that leaves an older session. */
export async function trade() {
  const found = /^#code=([\w.~-]+)/.exec(location.hash);
  if (!found) return null;
  history.replaceState(null, "", "#/now");
  try {
    session.keep((await post("web/session", { code: found[1] })).token);
  } catch (problem) {
    if (session.token) return problem;
    session.drop(problem.status ? `This link cannot be used: ${problem.message}. ${problem.why}. What helps: ${problem.fix}` : problem.message);
  }
  return null;
}

/** All tabs of this very origin have one session: what one tab changes, the others follow. */
addEventListener("storage", ({ key, newValue }) => {
  if (key === KEPT) { session.words = newValue ? "" : "This session has ended."; tell(); }
});
