// The server's page. It asks the API beside it, and makes every node from text: nothing it is given is read as HTML.

const $ = (id) => document.getElementById(id);
const TOKENS = ["predict", "admin"];
const COLOURS = 8;
const MANY = 8; // adapters above which the list can be narrowed
const page = { adapters: [], chosen: new Set(), cards: new Map(), types: [], asking: null, later: 0 };

/** An element with attributes (`onclick` and the like are listeners) and children; a text becomes a text node. */
function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false && value !== undefined) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

const count = (n, one, many = `${one}s`) => `${n.toLocaleString("en")} ${n === 1 ? one : many}`;
const percent = (share) => (100 * share).toFixed(1);
const written = (value) => (typeof value === "string" ? value : JSON.stringify(value, null, 1));
const facts = (pairs) => pairs.filter(([, value]) => value !== null && value !== undefined && value !== "")
  .flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]);

// --- the API ---

/** What the server refused, as its JSON body tells it: `error`, `expected`, `found`. */
class Refusal extends Error {
  constructor(status, told, headers) {
    super(told.error);
    Object.assign(this, { status, told, again: headers?.get("Retry-After"), request: headers?.get("X-Request-ID") });
  }
}

/** Asks the API with the token for `role`; returns `{body, headers}`. Throws Refusal, or AbortError where it was stopped. */
async function call(role, method, path, sent, signal) {
  const token = $(`${role}-token`).value.trim() || $("admin-token").value.trim(); // the one for loading also predicts
  const headers = { Accept: "application/json" };
  if (token) headers.Authorization = `Bearer ${token}`;
  if (sent !== undefined) headers["Content-Type"] = "application/json";
  let response, text;
  try {
    response = await fetch(path, { method, headers, signal, cache: "no-store", body: sent && JSON.stringify(sent) });
    text = await response.text();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal(0, { error: "The server did not answer. Is it running, and can it be reached?", found: error.message });
  }
  let body = null;
  try {
    body = text && JSON.parse(text);
  } catch {
    if (response.ok) throw new Refusal(response.status, { error: "The answer is not JSON.", found: text.slice(0, 200) }, response.headers);
  }
  if (response.ok) return { body, headers: response.headers };
  const told = body && body.error ? body : { error: `The server answered ${response.status} ${response.statusText}`.trim() + ".", found: text.slice(0, 200) };
  throw new Refusal(response.status, told, response.headers);
}

const adapterPath = (name) => `v1/adapters/${encodeURIComponent(name)}`;

/** Milliseconds by name of a Server-Timing header: `wait;dur=3.1, model;dur=20`. */
function timings(header) {
  const each = (header ?? "").split(",").map((part) => /^\s*([\w-]+)\s*;.*?dur="?([\d.]+)/.exec(part)).filter(Boolean);
  return Object.fromEntries(each.map(([, name, ms]) => [name, Number(ms)]));
}

/** Shows in `place` what went wrong; without an error, clears it. A token that is missing can be given at once. */
function problem(place, error, role) {
  if (!error) return place.replaceChildren();
  const told = error.told ?? { error: error.message };
  const token = error.status === 401 && make("button", { type: "button", onclick: () => {
    $("tokens").open = true;
    $(`${role}-token`).focus();
  } }, "Give a token");
  place.replaceChildren(make("b", {}, written(told.error)), make("dl", {}, ...facts([
    ["expected", told.expected && written(told.expected)],
    ["found", told.found && written(told.found)],
    ["try again", error.again && (/^\d+$/.test(error.again) ? `in ${count(Number(error.again), "second")}` : error.again)],
    ["request", error.request],
  ])), token || "");
}

/** Runs `work` while `button` says what is under way; a second press meanwhile does nothing. Focus stays on the button. */
async function busy(button, saying, place, role, work) {
  if (button.getAttribute("aria-disabled") === "true") return;
  const before = button.textContent;
  button.setAttribute("aria-disabled", "true");
  button.textContent = saying;
  problem(place);
  try {
    await work();
  } catch (error) {
    problem(place, error, role);
  } finally {
    button.removeAttribute("aria-disabled");
    button.textContent = before;
  }
}

// --- the adapters ---

/** `entity_f1 86.8 (85.9 to 87.8)`, the value apart so that it can be set off. */
function score(scores) {
  if (typeof scores?.value !== "number") return ["no score recorded"];
  const bounds = typeof scores.low === "number" && ` (${percent(scores.low)} to ${percent(scores.high)})`;
  return [`${scores.metric} `, make("b", {}, percent(scores.value)), bounds || ""];
}

function listed(adapter) {
  const { name } = adapter;
  const box = make("input", { type: "checkbox", value: name, onchange: () => {
    page.chosen[box.checked ? "add" : "delete"](name);
    chosen();
  } });
  box.checked = page.chosen.has(name);
  const more = [adapter.aliases?.length && `also ${adapter.aliases.join(", ")}`, adapter.pinned && "pinned", adapter.resident === false && "read from disk when asked"];
  return make("li", { class: "adapter" },
    make("label", {}, box, make("b", {}, name),
      make("span", { class: "dim" }, [adapter.task, adapter.method, ...more].filter(Boolean).join(" · ")),
      make("span", { class: "dim" }, ...score(adapter.scores)),
      adapter.unchecked?.length > 0 && make("span", { class: "caution" }, "not checked: see its card")),
    make("span", { class: "acts" },
      make("button", { type: "button", class: "quiet", "aria-label": `Card of ${name}`, onclick: () => showCard(adapter) }, "Card"),
      make("button", { type: "button", class: "quiet", "aria-label": `Unload ${name}`, onclick: () => askUnload(name) }, "Unload")));
}

/** Reads the list anew; what was chosen stays chosen where it is still there. */
async function refresh() {
  $("list-status").textContent = "Reading the list…";
  problem($("list-problem"));
  try {
    const { body } = await call("predict", "GET", "v1/adapters");
    page.adapters = body.adapters;
    $("base").textContent = `One base model, many adapters: ${body.base.name}, ${body.base.kind}`;
    document.title = `taskswap: ${body.base.name}`;
    $("list-status").textContent = count(page.adapters.length, "adapter");
  } catch (error) {
    $("list-status").textContent = page.adapters.length ? "The list may be out of date." : "";
    problem($("list-problem"), error, "predict");
    clearTimeout(page.later);
    if (error.status === 503) page.later = setTimeout(refresh, 1000 * (Number(error.again) || 2)); // the base is still read
    return false;
  }
  const { length } = page.adapters;
  page.chosen = new Set(names());
  if (!page.chosen.size && length) page.chosen.add(page.adapters[0].name);
  page.cards.clear();
  $("list").replaceChildren(...page.adapters.map(listed));
  $("empty").hidden = length > 0;
  for (const id of ["adapters", "ask", "answering", "skip"]) $(id).hidden = !length;
  if (!length) $("loading").open = true;
  $("narrowing").hidden = length <= MANY;
  narrow();
  chosen();
  return true;
}

/** Names of the chosen adapters, in the list's order. */
const names = () => page.adapters.map(({ name }) => name).filter((name) => page.chosen.has(name));

const boxes = () => [...$("list").querySelectorAll("input")];

function narrow() {
  const wanted = $("narrowing").hidden ? "" : $("filter").value.trim().toLowerCase();
  page.adapters.forEach(({ name, aliases, task, method }, i) => {
    $("list").children[i].hidden = ![name, ...(aliases ?? []), task, method].join(" ").toLowerCase().includes(wanted);
  });
}

/** Says on the button whom it asks; shows the second text where a chosen adapter takes pairs. */
async function chosen() {
  const asked = names();
  if (!page.asking) $("send").textContent = asked.length > 1 ? `Ask ${asked.length} adapters` : `Ask ${asked[0] ?? ""}`.trim();
  await Promise.all(asked.map((name) => card(name).catch(() => null))); // without its card an adapter takes one text
  const pairs = names().filter(takesPairs);
  $("pair").hidden = !pairs.length;
  $("pair-of").textContent = `for ${pairs.join(", ")}`;
}

const takesPairs = (name) => page.cards.get(name)?.card?.task?.pair === true;

/** What the server tells of one adapter, `card` included; asked once between two readings of the list. */
async function card(name) {
  if (!page.cards.has(name)) page.cards.set(name, (await call("predict", "GET", adapterPath(name))).body);
  return page.cards.get(name);
}

async function showCard({ name }) {
  $("card-title").textContent = name;
  $("card-body").replaceChildren(make("p", { class: "dim" }, "Reading its card…"));
  $("card").showModal();
  try {
    const told = await card(name);
    $("card-body").replaceChildren(...cardView(told, told.card ?? {}));
  } catch (error) {
    $("card-body").replaceChildren(make("div", { class: "problem" }));
    problem($("card-body").firstChild, error, "predict");
  }
}

function cardView(told, card) {
  const { scores } = told;
  const data = scores && [scores.dataset, scores.split, typeof scores.n === "number" && `n = ${scores.n.toLocaleString("en")}`];
  const labels = card.task?.entity_types ?? told.labels ?? [];
  const held = told.resident ? `${(told.bytes / 1e6).toFixed(2)} MB in memory` : "not in memory; read when it is asked";
  return [
    told.unchecked?.length > 0 && make("div", { class: "problem" }, make("b", {}, "Without a card these were not checked: "), told.unchecked.join("; ")),
    make("dl", {}, ...facts([
      ["task", told.task],
      ["method", told.method],
      ["base", told.base],
      [card.task?.entity_types ? "entity types" : "labels", `${labels.join(", ")} (${labels.length})`],
      ["score × 100", scores && make("span", {}, ...score(scores), typeof scores.low === "number" && ", 95 % interval")],
      ["on", data?.filter(Boolean).join(", ")],
      ["generation", String(told.generation)],
      ["held", held + (told.pinned ? "; pinned" : "")],
      ["also called", told.aliases?.join(", ")],
      ["folder", told.folder],
      ["versions", card.versions && Object.entries(card.versions).map((pair) => pair.join(" ")).join(", ")],
    ])),
    make("details", {}, make("summary", {}, "The whole card"), make("pre", { tabindex: "0" }, written(card))),
  ].filter(Boolean);
}

function askUnload(name) {
  $("unload").dataset.name = name;
  $("unload-title").textContent = `Unload ${name}?`;
  problem($("unload-problem"));
  $("unload").showModal();
  $("unload-keep").focus();
}

const unload = () => busy($("unload-go"), "Unloading…", $("unload-problem"), "admin", async () => {
  const { name } = $("unload").dataset;
  await call("admin", "DELETE", adapterPath(name));
  $("unload").close();
  if (await refresh()) $("list-status").textContent = `${name} is unloaded. ${$("list-status").textContent}.`;
  $("adapters-title").focus(); // the button that was pressed is gone
});

const load = () => busy($("load").querySelector("button"), "Loading…", $("load-problem"), "admin", async () => {
  const name = $("load-id").value.trim();
  const { body } = await call("admin", "PUT", adapterPath(name), { folder: $("load-folder").value.trim() });
  $("load").reset();
  page.chosen.add(name);
  $("filter").value = "";
  if (await refresh()) $("list-status").textContent = `${name} is loaded, generation ${body.generation}. ${$("list-status").textContent}.`;
  boxes().find((box) => box.value === name)?.focus();
});

// --- asking ---

async function ask() {
  const asked = names();
  const [text, second] = [$("text").value, $("second").value];
  const lacking = !asked.length ? ["Choose an adapter to ask.", boxes()[0] ?? $("refresh")] : !text.trim() ? ["Type or paste a text to ask about.", $("text")]
    : [text, second].some((given) => given.isWellFormed?.() === false) ? ["The text holds half a character, as a cut within an emoji leaves it. Paste it again.", $("text")]
    : asked.some(takesPairs) && !second.trim() ? ["Type or paste the second text, too.", $("second")] : null;
  if (lacking) {
    problem($("problem"), new Error(lacking[0]));
    return lacking[1].focus();
  }
  page.asking?.abort(); // what is asked last is answered
  const asking = (page.asking = new AbortController());
  const sent = asked.map((adapter) => ({ adapter, inputs: takesPairs(adapter) ? { text, text_pair: second } : { text } }));
  problem($("problem"));
  $("send").textContent = "Asking…";
  $("status").textContent = `Asking ${asked.length > 3 ? count(asked.length, "adapter") : asked.join(", ")}…`;
  $("answers").setAttribute("aria-busy", "true");
  const begun = performance.now();
  try {
    const { body, headers } = await call("predict", "POST", "v1/predict", sent, asking.signal);
    answered(body, headers, performance.now() - begun);
  } catch (error) {
    if (page.asking !== asking) return; // a later question took its place
    const answers = error.told?.answers ?? []; // of a refusal, each adapter's own reason
    $("answers").replaceChildren(...answers.map((answer) => view(answer).node));
    $("cost").replaceChildren();
    $("status").textContent = "No answer.";
    problem($("problem"), error, "predict");
  } finally {
    if (page.asking === asking) {
      page.asking = null;
      $("answers").removeAttribute("aria-busy");
      chosen();
    }
  }
}

function answered(answers, headers, ms) {
  const server = timings(headers.get("Server-Timing"));
  const parts = Object.entries(server).map(([name, value]) => `${name} ${value.toFixed(1)}`);
  const rows = Number(headers.get("X-Batch-Rows"));
  const views = answers.map(view);
  $("answers").replaceChildren(...views.map(({ node }) => node));
  $("cost").replaceChildren(...[
    ["round trip", `${ms.toFixed(0)} ms`],
    ["in the server", parts.length && `${parts.join(" + ")} ms`],
    ["batch", rows && count(rows, "row")],
    ["request", headers.get("X-Request-ID")],
  ].filter(([, value]) => value).map((pair) => make("div", {}, ...facts([pair]))));
  $("status").textContent = `${views.slice(0, 6).map(({ said }) => said).join("; ")}${views.length > 6 ? "; …" : ""}.`;
  for (const box of $("answers").querySelectorAll(".text, pre")) if (box.scrollHeight > box.clientHeight) box.tabIndex = 0;
}

/** One adapter's answer: `node` to look at, and what is `said` of it in a few words. */
function view(answer) {
  const output = answer.output ?? {};
  const shown = answer.error ? failed(answer) : areEntities(output) ? entities(output) : areClasses(output) ? classes(output, answer.adapter)
    : { said: "answered", nodes: [make("pre", {}, written(output))] };
  const name = answer.adapter ?? "base alone";
  const about = [answer.task, answer.generation && `generation ${answer.generation}`].filter(Boolean).join(" · ");
  const node = make("article", { class: "answer", "aria-label": name },
    make("div", { class: "line" }, make("h3", {}, name), make("span", { class: "dim" }, about)), ...shown.nodes,
    answer.truncated && make("p", { class: "caution" }, "The text is longer than the adapter reads; its end was cut off."));
  return { node, said: `${name}: ${shown.said}` };
}

const failed = ({ error }) => ({ said: "no answer", nodes: [make("p", { class: "problem" }, written(error.error ?? error))] });

const areEntities = ({ text, entities }) => typeof text === "string" && Array.isArray(entities)
  && entities.every(({ start, end, label }) => Number.isInteger(start) && Number.isInteger(end) && typeof label === "string");

const areClasses = ({ label, labels, scores }) => typeof label === "string" || label === null || Array.isArray(labels)
  || (scores && Object.values(scores).every((share) => typeof share === "number"));

/** The colour of a type, the same in every answer; what a type is called is always written, too. */
function colour(type) {
  if (!page.types.includes(type)) page.types.push(type);
  return `c${page.types.indexOf(type) % COLOURS}`;
}

const LAST_WORD = /^(.*?)(\S{0,20})$/su; // the type stays on one line with it

const tag = (type) => make("span", { class: `type ${colour(type)}` }, type);

/** Entities within their text. Offsets count code points, as Python does; a string of JavaScript counts UTF-16 units. */
function entities({ text, entities: found }) {
  const points = Array.from(text);
  const whole = make("p", { class: "text", dir: "auto", role: "group", "aria-label": "Text with entities" });
  const [counts, beneath] = [new Map(), []];
  let at = 0;
  for (const entity of [...found].sort((a, b) => a.start - b.start || b.end - a.end)) {
    const { start, end, label } = entity;
    const p = typeof entity.score === "number" && [" ", make("span", { class: "p" }, entity.score.toFixed(2))];
    const [, front, last] = LAST_WORD.exec(points.slice(start, end).join(""));
    const marked = make("mark", { class: colour(label) }, front, make("span", { class: "last" }, last, make("span", { class: "kind" }, " ", tag(label), p)));
    counts.set(label, (counts.get(label) ?? 0) + 1);
    if (start < at) beneath.push(marked);
    else {
      whole.append(points.slice(at, start).join(""), marked);
      at = end;
    }
  }
  whole.append(points.slice(at).join(""));
  const types = [...counts].map(([label, n]) => make("li", {}, tag(label), ` ${n}`));
  const said = found.length ? count(found.length, "entity", "entities") : "no entities";
  return { said, nodes: [
    types.length ? make("ul", { class: "types", "aria-label": "Entities by type" }, ...types) : make("p", { class: "label" }, "No entities"), whole,
    beneath.length > 0 && make("p", { class: "text" }, "Within or across others: ", beneath.flatMap((mark) => [mark, " "]))] };
}

/** The label or labels, and a bar for the probability of each of the likeliest. */
function classes({ label, labels, scores }, adapter) {
  const given = labels ?? (label === null || label === undefined ? [] : [label]);
  const told = given.join(", ") || (labels ? "None of the labels" : "No label");
  const bars = Object.entries(scores ?? {}).sort(([, a], [, b]) => b - a).map(([each, share]) => {
    const bar = make("span");
    bar.style.width = `${100 * Math.min(1, Math.max(0, share))}%`;
    return make("li", { class: given.includes(each) && "told" }, make("span", {}, each), make("span", {}, share.toFixed(2)), make("span", { class: "bar" }, bar));
  });
  const all = page.adapters.find(({ name }) => name === adapter)?.labels?.length ?? 0;
  const first = typeof label === "string" && scores?.[label] !== undefined ? ` ${scores[label].toFixed(2)}` : "";
  return { said: told + first, nodes: [
    make("p", { class: "label" }, told),
    bars.length > 0 && make("ul", { class: "bars", "aria-label": "Probabilities" }, ...bars),
    bars.length > 0 && all > bars.length && make("p", { class: "dim" }, `the ${bars.length} likeliest of ${all} labels`)] };
}

// --- the page ---

/** The tab's own store; where the browser forbids it, tokens live in their fields alone. */
function kept(work) {
  try {
    return work(sessionStorage);
  } catch {
    return null;
  }
}

function useTokens() {
  const odd = TOKENS.find((role) => /[^\x21-\x7e]/.test($(`${role}-token`).value.trim()));
  problem($("token-problem"), odd && new Error("A token is made of letters, digits and signs of ASCII, without spaces."));
  if (odd) return $(`${odd}-token`).focus();
  for (const role of TOKENS) kept((store) => store.setItem(`${role}-token`, $(`${role}-token`).value.trim()));
  problem($("problem"));
  refresh();
}

function on(id, event, work) {
  $(id).addEventListener(event, (happened) => {
    if (event === "submit") happened.preventDefault();
    work(happened);
  });
}

for (const role of TOKENS) $(`${role}-token`).value = kept((store) => store.getItem(`${role}-token`)) ?? "";
on("ask", "submit", ask);
on("load", "submit", load);
on("token-form", "submit", useTokens);
on("refresh", "click", refresh);
on("filter", "input", narrow);
on("none", "click", () => {
  page.chosen.clear();
  for (const box of boxes()) box.checked = false;
  chosen();
});
on("card-close", "click", () => $("card").close());
on("unload-keep", "click", () => $("unload").close());
on("unload-go", "click", unload);
on("ask", "keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !event.isComposing) {
    event.preventDefault();
    $("ask").requestSubmit();
  }
});
on("text", "input", () => {
  const n = [...$("text").value].length;
  $("length").textContent = n ? count(n, "character") : "";
});
refresh();
