// A form made of a body of the API: fields by their types, what each is for, and what the coordinator says of one, at that one.

import { useEffect, useId, useRef, useState } from "preact/hooks";
import { get, post } from "./api.js";
import { html, useKept } from "./live.js";
import { Glyph, newKey, tell, Trouble } from "./parts.js";
import { plain } from "./words.js";

/** What a user says elsewhere, or a program alone. */
const NOT_ASKED = ["dry_run", "yes", "parent", "depth", "settings", "file", "argv"];
const LONG = ["task", "input"], PLACES = ["cwd", "path", "repository"], WORDS = { cwd: "folder on the coordinator's machine", path: "folder on the coordinator's machine", budget: "budget in USD", dispatch: "work" };
const MS = { ms: 1, s: 1e3, m: 6e4, h: 36e5, d: 864e5 };

const MODES = { plan: "reads, dispatches nothing", build: "changes files, by its level", review: "reads, dispatches readers", admin: "reads, proposes settings" };
const LEVELS = { suggest: "changes nothing", "auto-edit": "nothing destructive", "full-auto": "deletes and pushes, too" };
/** Each with what it means; first what holds where nobody chooses. */
const explained = (rows, about) => [...rows.filter((one) => one.default).map((one) => ["", `as set: ${one.name}`]), ...rows.map(({ name }) => [name, `${name}: ${about[name]}`])];

/** What there is to choose from: the path, and the names in its answer, or [name, words]; those of "" for no choice. */
export const LISTS = {
  agents: (data) => data.agents.filter((one) => one.enabled).map((one) => one.name),
  runtimes: (data) => data.runtimes.filter((one) => one.nodes.some((node) => node.state === "ok" || node.served)).map((one) => one.name),
  "runtimes#turns": (data) => data.runtimes.filter((one) => one.takes_turns).map((one) => one.name),
  fleet: (data) => data.nodes.map((one) => one.name),
  models: (data) => data.models.map((one) => one.ref),
  modes: (data) => data.modes.filter((one) => one.dispatches).map((one) => one.name),
  safety: (data) => data.safety.map((one) => one.name),
  "agents#talk": (data) => [...(data.talks ? [["", `${data.talks}: plans, and has others do the work`]] : []), ...data.agents.filter((one) => one.enabled && one.name !== data.talks).map((one) => one.name)],
  "modes#talk": (data) => explained(data.modes, MODES),
  "safety#talk": (data) => explained(data.safety, LEVELS),
  "presets#talk": (data) => [["", `as set: ${data.presets.find((one) => one.applied)?.name || "none"}`], ...data.presets.map((one) => one.name)],
  workspaces: (data) => ["git", "none", ...data.workspaces.map((one) => one.workspace)],
  projects: (data) => data.projects.map((one) => one.name),
  presets: (data) => data.presets.map((one) => one.name),
  "runs?limit=200": (data) => data.runs.map((run) => run.project).filter(Boolean),
  "budget?all=1": (data) => data.scopes.filter((one) => one.scope.startsWith("repo:")).map((one) => one.scope.slice(5)),
};
/** The list that a field of this name offers. */
const OFFERS = { agent: "agents", runtime: "runtimes", node: "fleet", model: "models", workspace: "workspaces", project: "projects", preset: "presets", cwd: "runs?limit=200", path: "runs?limit=200", repository: "runs?limit=200" };

let document_ = null;
/** The API's own description, once for each tab. */
function described() {
  document_ ||= get("openapi.json").catch((problem) => { document_ = null; throw problem; });
  return document_;
}

/** The shape of a body: `{type, properties, ...}` with references followed and "or null" left out. */
function plainShape(shape, known) {
  const followed = shape.$ref ? { ...known[shape.$ref.split("/").at(-1)], ...shape } : shape;
  const arms = followed.anyOf?.filter((one) => one.type !== "null");
  if (!arms) return followed;
  const { anyOf, ...about } = followed, money = arms.length > 1 && arms[0].type === "number";
  return { ...(money ? { type: "string", money } : plainShape(arms[0], known)), ...about, orNull: arms.length < anyOf.length };
}

/** What the words of a body say of itself, and of each of its keys: "A thing. `name`: how it is called." */
function helpOf(shape) {
  const [own, ...parts] = (shape.description || "").split(/(?:^|\s)`([\w-]+)`: /);
  const about = {};
  for (let i = 0; i < parts.length; i += 2) about[parts[i]] = parts[i + 1];
  return { own: own.replaceAll("`", "").trim(), about };
}

/** The fields of an object, each with its kind and help, and those inside of it. */
function fieldsOf(shape, known) {
  const { about } = helpOf(shape), must = shape.required || [], { task } = shape.properties || {};
  // A step takes the options of its work beside its name, and, from earlier clients, in `dispatch`.
  return Object.entries(shape.properties || {}).filter(([name, raw]) => !NOT_ASKED.includes(name) && !(task && name === "dispatch") && (name !== "by" || raw.enum)).map(([name, raw]) => {
    const one = plainShape(raw, known), item = one.type === "array" ? plainShape(one.items, known) : null, inner = item?.properties ? item : one.properties ? one : null;
    const help = (raw.description || about[name] || "").replaceAll("`", "").trim();
    return { name, must: must.includes(name), help, shape: one, kind: kindOf(name, one, inner, item), inner: inner && fieldsOf(inner, known) };
  });
}

function kindOf(name, one, inner, item) {
  if (item) return inner ? "list" : "lines";
  if (inner) return "group";
  if (one.type === "object") return "pairs";
  if (one.type === "boolean") return one.orNull ? "choice" : "flag";
  if (one.enum && !OFFERS[name]) return "choice";
  if (name.endsWith("_ms")) return "time";
  if (one.type === "integer" || one.type === "number") return "number";
  return LONG.includes(name) ? "text" : PLACES.includes(name) ? "place" : "line";
}

/** What was filled in, as JSON; undefined: nothing. What is no number stays as it is, and the coordinator says so. */
function said(field, value) {
  if (value === undefined || value === "" || value === null) return undefined;
  const { kind, shape } = field, lines = () => value.split("\n").map((line) => line.trim()).filter(Boolean);
  if (kind === "group") return whole(field.inner, value);
  if (kind === "list") return value.length ? value.map((one) => whole(field.inner, one) || {}) : undefined;
  if (kind === "flag") return value === (shape.default ?? false) ? undefined : value;
  if (kind === "lines") return lines().length ? lines() : undefined;
  if (kind === "pairs") return lines().length ? Object.fromEntries(lines().map((line) => pairOf(line, shape.additionalProperties?.type === "array"))) : undefined;
  if (kind === "choice") return shape.type === "boolean" ? value === "true" : value;
  const text = kind === "text" ? value : value.trim();
  if (kind === "number") return Number.isFinite(Number(text)) ? Number(text) : text;
  const found = kind === "time" && /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(text);
  return found ? Math.round(found[1] * MS[found[2]]) : text || undefined;
}

function pairOf(line, many) {
  const [key, ...rest] = line.split("="), words = rest.join("=").trim();
  return [key.trim(), many ? words.split(",").map((one) => one.trim()) : words];
}

function whole(fields, values) {
  const pairs = fields.map((field) => [field.name, said(field, values?.[field.name])]).filter(([, value]) => value !== undefined);
  return pairs.length ? Object.fromEntries(pairs) : undefined;
}

const lacks = (fields, values) => fields.some((field) => (field.must && field.kind !== "list" && said(field, values?.[field.name]) === undefined && field.shape.default === undefined)
  || (field.kind === "list" && (values?.[field.name] || []).some((one) => lacks(field.inner, one))));

/** Whether the path of a wrong key leads to this field. */
const leads = (name, wrong) => wrong === name || wrong?.startsWith(`${name}.`);

/**
 * `of`: the route whose body it is; `path`: where it is sent. `first`: what is shown before "More", in this order, as `steps.name`; `hide`: what never is.
 * `given`: what stands in it at first. `shape(schemas)`: of a body that is made by `send(filled)`. `named`: the field of a wrong key.
 * `judge(answer)`: what a dry run has said. `done(answer)`: told when it is made.
 */
export function Form({ of, path = of, first, hide = [], given = {}, shape, send = (filled) => filled, named = (key) => key, judge, verb, done }) {
  const [made, set] = useState(null), [values, keep] = useKept(`pancode-form-${of}-${verb}-${JSON.stringify(given)}`, given);
  const [state, say] = useState({}), [offers, offer] = useState({}), key = useRef(newKey()), box = useRef(null);
  useEffect(() => { described().then((found) => {
    const known = found.components.schemas, body = found.paths[`/v1/${of}`].post.requestBody.content["application/json"].schema;
    const wanted = shape ? shape(known) : plainShape(body, known), fields = fieldsOf(wanted, known).filter((one) => !hide.includes(one.name));
    set({ fields, own: helpOf(wanted).own });
    const names = (some) => some.flatMap((one) => [OFFERS[one.name], ...(one.inner ? names(one.inner) : [])]).filter(Boolean);
    for (const list of new Set(names(fields))) get(list).then((data) => offer((old) => ({ ...old, [list]: [...new Set(LISTS[list](data))] })), () => {});
  }, (problem) => say({ problem })); }, [of]);
  const filled = made && whole(made.fields, values) || {}, body = send(filled), words = JSON.stringify(body), ready = made && !lacks(made.fields, values);
  useEffect(() => {
    key.current = newKey();
    if (!judge || !ready) { say({}); return undefined; }
    let over = false;
    const timer = setTimeout(() => post(path, { ...body, dry_run: true }).then((answer) => over || say({ answer }), (problem) => over || say({ problem })), 500);
    return () => { over = true; clearTimeout(timer); };
  }, [words, ready]);
  const wrong = state.problem?.details?.path && named(state.problem.details.path);
  useEffect(() => { if (state.sent && wrong) box.current?.querySelector("[aria-invalid]")?.focus(); }, [state]);
  const press = async (event) => {
    event.preventDefault();
    if (state.busy) return;
    say({ ...state, busy: true });
    try {
      const answer = await post(path, body, key.current);
      keep(given);
      say({});
      await done?.(answer);
    } catch (problem) { say({ problem, sent: true }); }
  };
  if (!made) return state.problem ? html`<${Trouble} problem=${state.problem} />` : html`<p class="pad small quiet">reading …</p>`;
  const shown = wrong && fieldAt(made.fields, wrong);
  return html`<form ref=${box} class="pad stack" onSubmit=${press} noValidate>${made.own && html`<p class="small quiet">${made.own}</p>`}
    <${Fields} fields=${made.fields} first=${first} values=${values} put=${keep} wrong=${shown && wrong} problem=${state.problem} id="" />
    ${Object.entries(offers).map(([list, names]) => html`<datalist id=${`of-${list}`}>${names.map((one) => html`<option value=${one} />`)}</datalist>`)}
    <div aria-live="polite">${state.problem && !shown && html`<${Trouble} problem=${state.problem} />`}${state.answer && judge?.(state.answer)}</div>
    <p class="keys"><button type="submit" class="main" disabled=${state.busy || !ready || state.answer?.admitted === false}>${state.busy ? `${verb} …` : verb}</button></p></form>`;
}

/** Whether a wrong key is a field that is shown. */
const fieldAt = (fields, wrong) => fields.some((field) => leads(field.name, wrong));

function Fields({ fields, first, values, put, wrong, problem, id: place }) {
  const mine = (first || []).map((name) => name.split(".")[0]), inside = (name) => first?.filter((one) => one.startsWith(`${name}.`)).map((one) => one.slice(name.length + 1));
  const early = first ? [...new Set(mine)].map((name) => fields.find((one) => one.name === name)).filter(Boolean) : fields;
  const late = fields.filter((one) => !early.includes(one)), more = useRef(null);
  useEffect(() => { if (wrong && fieldAt(late, wrong)) more.current.open = true; }, [wrong]);
  const draw = (field) => html`<${Field} key=${field.name} field=${field} first=${inside(field.name)?.length ? inside(field.name) : undefined} value=${values?.[field.name]} put=${(value) => put({ ...values, [field.name]: value })}
    wrong=${leads(field.name, wrong) ? wrong : ""} problem=${problem} id=${`${place}${field.name}`} />`;
  return html`${grouped(early, draw)}${late.length ? html`<details ref=${more}><summary class="small quiet"><span class="fold"><${Glyph} name="fold" /></span>More</summary><div class="stack">${grouped(late, draw)}</div></details>` : ""}`;
}

const SHORT = ["line", "number", "time", "choice"];
/** Short fields stand beside each other. */
function grouped(fields, draw) {
  const rows = [];
  for (const field of fields) {
    if (SHORT.includes(field.kind) && Array.isArray(rows.at(-1))) rows.at(-1).push(field);
    else rows.push(SHORT.includes(field.kind) ? [field] : field);
  }
  return rows.map((row) => (Array.isArray(row) ? html`<div class="choices">${row.map(draw)}</div>` : draw(row)));
}

function Field({ field, first, value, put, wrong, problem, id }) {
  const { name, kind, shape, help, must } = field, about = useId(), words = `${WORDS[name] || plain(name.replace(/_ms$/, ""))}${kind === "pairs" ? ", KEY=VALUE on each line" : kind === "lines" ? ", one on each line" : ""}`;
  if (kind === "group") return html`<fieldset class="stack"><legend class="small quiet">${words}</legend>${help && html`<p class="small quiet">${help}</p>`}<${Fields} fields=${field.inner} first=${first} values=${value} put=${put} wrong=${wrong.slice(name.length + 1)} problem=${problem} id=${`${id}.`} /></fieldset>`;
  if (kind === "list") return html`<${Items} field=${field} first=${first} values=${value || []} put=${put} wrong=${wrong.slice(name.length + 1)} problem=${problem} id=${id} />`;
  const said = { id: `f-${id}`, "aria-invalid": wrong ? "true" : undefined, "aria-describedby": help || wrong ? about : undefined, required: must || undefined, onInput: (event) => put(event.target.type === "checkbox" ? event.target.checked : event.target.value) };
  const under = (help || wrong) && html`<small id=${about}>${wrong ? html`<b class="bad tone">${problem.message}${problem.fix && html` → ${problem.fix}`}</b> ` : ""}${help}</small>`;
  if (kind === "flag") return html`<div class="field"><label class="choice"><input type="checkbox" ...${said} checked=${value ?? shape.default ?? false} /> ${words}</label>${under}</div>`;
  const none = shape.default ?? "", list = OFFERS[name] && `of-${OFFERS[name]}`;
  return html`<div class="field"><label for=${said.id}>${words}</label>
    ${["text", "lines", "pairs"].includes(kind) ? html`<textarea rows=${kind === "text" ? 4 : 2} ...${said} value=${value ?? ""}></textarea>`
    : kind === "choice" ? html`<select ...${said} value=${value ?? none}>${none === "" && html`<option value="">as set</option>`}${(shape.enum || ["true", "false"]).map((one) => html`<option value=${one}>${one === "true" ? "yes" : one === "false" ? "no" : one}</option>`)}</select>`
    : html`<input ...${said} value=${value ?? ""} list=${list} inputmode=${kind === "number" || shape.money ? "decimal" : undefined} placeholder=${kind === "time" ? "15m" : none} autocomplete="off" />`}${under}</div>`;
}

/** Things of one shape, one after the other; each can be taken out. */
function Items({ field, first, values, put, wrong, problem, id }) {
  const one = field.name.replace(/s$/, ""), swap = (i, next) => put(values.map((value, k) => (k === i ? next : value)));
  return html`${values.map((value, i) => { const mine = leads(String(i), wrong) ? wrong.slice(String(i).length + 1) : "";
    return html`<fieldset class="stack" key=${i}><legend class="small quiet">${one} ${i + 1}</legend><${Fields} fields=${field.inner} first=${first} values=${value} put=${(next) => swap(i, next)} wrong=${mine} problem=${problem} id=${`${id}.${i}.`} />
      ${values.length > (field.shape.minItems || 0) && html`<p class="keys"><button type="button" class="bare" onClick=${() => put(values.filter((_, k) => k !== i))}>Take ${one} ${i + 1} out</button></p>`}</fieldset>`; })}
    <p class="keys"><button type="button" onClick=${() => put([...values, field.inner.some((inner) => inner.name === "name") ? { name: String(values.length + 1) } : {}])}>Add a ${one}</button></p>`;
}
