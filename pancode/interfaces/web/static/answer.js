// The page behind the link of a notice: shows the one question that its token may answer, and answers it.

import { ask, at } from "./lib/api.js";
import { visible } from "./lib/words.js";

const KEPT = "pancode-answer";
const LATE = "Somebody has answered the question, or the run no longer waits for an answer.";
const SURE = "Press once more to deny for good";
const part = (id) => document.getElementById(id);

/** The token leaves the address at once; a reload of this tab has it all the same. */
function token() {
  const found = /^#(pct_\w+)$/.exec(location.hash);
  if (found) {
    sessionStorage.setItem(KEPT, found[1]);
    history.replaceState(null, "", location.pathname);
  }
  return sessionStorage.getItem(KEPT);
}

async function asked(path, body) {
  const headers = { Authorization: `Bearer ${token()}` };
  return (await ask(path, body === undefined ? { headers } : { method: "POST", body, headers })).json();
}

function tell(words) {
  part("told").textContent = words;
}

function over(words) {
  sessionStorage.removeItem(KEPT);
  part("asked").hidden = true;
  tell(words);
}

function failed(problem) {
  if (problem.status === 401) over(`This link cannot be used any more. ${LATE}`);
  else if (problem.code === "wrong_item") over(LATE);
  else tell([problem.message, problem.why, problem.fix && `To fix it: ${problem.fix}`].filter(Boolean).join(". "));
}

async function act(item, verb, body, words) {
  const keys = [...document.querySelectorAll("button")];
  for (const key of keys) key.disabled = true;
  try {
    over(words(await asked(at("runs", item.run, verb), body)));
  } catch (problem) {
    failed(problem);
  } finally {
    for (const key of keys) key.disabled = false;
  }
}

const answer = (item, text) => act(item, "answer", { text }, (done) => `Answered: ${done.answer || text}. ${done.run} continues with it.`);

function choice(item, words, number) {
  const key = document.createElement("button");
  key.type = "button";
  key.textContent = `${number}: ${visible(words)}`;
  key.onclick = () => answer(item, String(number));
  return key;
}

function show(item) {
  document.querySelector("h1").textContent = visible(item.title || item.run);
  part("about").textContent = `${item.run}: ${item.kind}`;
  tell("");
  part("words").textContent = visible(item.words);
  part("choices").replaceChildren(...item.choices.map((words, i) => choice(item, words, i + 1)));
  part("text").value = "";
  part("deny").textContent = "Deny";
  part("allow").hidden = item.kind !== "permission";
  part("own").onsubmit = (event) => { event.preventDefault(); answer(item, part("text").value); };
  part("allow").onclick = () => act(item, "approve", { scope: "once" }, (done) => `Allowed, this once. ${done.run} continues.`);
  part("deny").onclick = () => {
    if (part("deny").textContent === SURE) act(item, "deny", {}, () => `Denied. ${item.run} does not ask this again.`);
    else part("deny").textContent = SURE;
  };
  part("asked").hidden = false;
}

async function start() {
  if (!token()) { over("Open this page with the link in a notice."); return; }
  tell("reading …");
  try {
    const [item] = (await asked("inbox")).items;
    if (item) show(item); else over(LATE);
  } catch (problem) {
    failed(problem);
  }
}

addEventListener("hashchange", start);
start();
