// The server's page. It calls the API of the same server, and creates every node from text: nothing is parsed as HTML.

const $ = (id) => document.getElementById(id);
const TOKENS = ["predict", "admin"];
const COLOURS = 8;
const MANY = 8; // number of adapters above which the list can be filtered
const AUTO = "auto"; // requests the adapter that the router chooses
const page = { adapters: [], router: null, chosen: new Set(), cards: new Map(), types: [], running: null, stop: null, retry: 0 };

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
const asText = (value) => (typeof value === "string" ? value : JSON.stringify(value, null, 1));
const facts = (pairs) => pairs.filter(([, value]) => value !== null && value !== undefined && value !== "")
  .flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]);

// --- the API ---

/** A refusal of the server, with its JSON body: `error`, `expected`, `found`. */
class Refusal extends Error {
  constructor(status, body, headers) {
    super(body.error);
    Object.assign(this, { status, body, retryAfter: headers?.get("Retry-After"), request: headers?.get("X-Request-ID") });
  }
}

/** Calls the API with the token of `role`; returns `{response, text}`, the text only if it is not to be streamed.
 * Throws Refusal, or AbortError if it was aborted. */
async function ask(role, method, path, sent, signal, streams) {
  const token = $(`${role}-token`).value.trim() || $("admin-token").value.trim(); // the admin token also allows predictions
  const headers = { Accept: "application/json" };
  if (token) headers.Authorization = `Bearer ${token}`;
  if (sent !== undefined) headers["Content-Type"] = "application/json";
  let response, text;
  try {
    response = await fetch(path, { method, headers, signal, cache: "no-store", body: sent && JSON.stringify(sent) });
    text = streams && response.ok ? "" : await response.text();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal(0, { error: "The server did not answer. Is it running, and can it be reached?", found: error.message });
  }
  if (response.ok) return { response, text };
  let body = null;
  try {
    body = JSON.parse(text);
  } catch { /* not the server's own refusal, but that of something before it */ }
  const refusal = body && body.error ? body : { error: `The server answered ${response.status} ${response.statusText}`.trim() + ".", found: text.slice(0, 200) };
  throw new Refusal(response.status, refusal, response.headers);
}

/** Calls the API; returns `{body, headers}`. Throws as `ask`. */
async function call(role, method, path, sent, signal) {
  const { response, text } = await ask(role, method, path, sent, signal);
  try {
    return { body: text && JSON.parse(text), headers: response.headers };
  } catch {
    throw new Refusal(response.status, { error: "The answer is not JSON.", found: text.slice(0, 200) }, response.headers);
  }
}

/** Yields the lines of a streamed answer as they come. Throws as `ask`. */
async function* lines(role, path, sent, signal) {
  const { response } = await ask(role, "POST", path, sent, signal, true);
  const [reader, decoder] = [response.body.getReader(), new TextDecoder()];
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      const parts = (rest + decoder.decode(value, { stream: !done })).split("\n");
      rest = parts.pop();
      for (const part of parts) yield JSON.parse(part);
      if (done) return;
    }
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal(0, { error: "The server stopped in the middle of its answer.", found: error.message }, response.headers);
  }
}

const adapterPath = (name) => `v1/adapters/${encodeURIComponent(name)}`;

/** Milliseconds by name, from a Server-Timing header: `wait;dur=3.1, model;dur=20`. */
function timings(header) {
  const each = (header ?? "").split(",").map((part) => /^\s*([\w-]+)\s*;.*?dur="?([\d.]+)/.exec(part)).filter(Boolean);
  return Object.fromEntries(each.map(([, name, ms]) => [name, Number(ms)]));
}

/** Shows an error in `place`, or clears it. A missing token can be entered at once. */
function problem(place, error, role) {
  if (!error) return place.replaceChildren();
  const body = error.body ?? { error: error.message };
  const token = error.status === 401 && make("button", { type: "button", onclick: () => {
    $("tokens").open = true;
    $(`${role}-token`).focus();
  } }, "Enter a token");
  place.replaceChildren(make("b", {}, asText(body.error)), make("dl", {}, ...facts([
    ["expected", body.expected && asText(body.expected)],
    ["found", body.found && asText(body.found)],
    ["try again", error.retryAfter && (/^\d+$/.test(error.retryAfter) ? `in ${count(Number(error.retryAfter), "second")}` : error.retryAfter)],
    ["request", error.request],
  ])), token || "");
}

/** Runs `work` while `button` shows `label`; pressing it again has no effect meanwhile. Focus stays on the button. */
async function busy(button, label, place, role, work) {
  if (button.getAttribute("aria-disabled") === "true") return;
  const before = button.textContent;
  button.setAttribute("aria-disabled", "true");
  button.textContent = label;
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

/** The words for what a card's score is: its title, or in older cards those of its metric's name. */
const titleOf = ({ title, metric }) => title || String(metric ?? "score").replaceAll("_", " ").replace(/^./, (first) => first.toUpperCase()).replace(/\bf1\b/i, "F1");

/** `Entity F1 86.8 (85.9 to 87.8)`, with the value in an element of its own. */
function score(scores) {
  if (typeof scores?.value !== "number") return ["no score recorded"];
  const bounds = typeof scores.low === "number" && ` (${percent(scores.low)} to ${percent(scores.high)})`;
  return [`${titleOf(scores)} `, make("b", {}, percent(scores.value)), bounds || ""];
}

const DRIFT = {
  "drift": "its answers differ from those on dev",
  "no drift": "its answers are like those on dev",
  "counting": "answers are being counted, too few yet to compare with those on dev",
  "no answers yet": "no answers yet to compare with those on dev",
  "no reference in the card": "its card has no answers on dev to compare with",
};

function listItem(adapter) {
  const { name } = adapter;
  const box = make("input", { type: "checkbox", value: name, onchange: () => {
    page.chosen[box.checked ? "add" : "delete"](name);
    showChosen();
  } });
  box.checked = page.chosen.has(name);
  const more = [adapter.aliases?.length && `also ${adapter.aliases.join(", ")}`, adapter.mixed === false && "answers alone", adapter.pinned && "pinned", adapter.resident === false && "read from disk on demand"];
  return make("li", { class: "adapter" },
    make("label", {}, box, make("b", {}, name),
      make("span", { class: "dim" }, [adapter.task, adapter.method, ...more].filter(Boolean).join(" · ")),
      make("span", { class: "dim" }, ...score(adapter.scores)),
      adapter.drift && make("span", { class: adapter.drift === "drift" ? "caution" : "dim" }, `Drift: ${DRIFT[adapter.drift] ?? adapter.drift}`),
      adapter.unchecked?.length > 0 && make("span", { class: "caution" }, "not verified: see its card")),
    make("span", { class: "acts" },
      make("button", { type: "button", class: "quiet", "aria-label": `Card of ${name}`, onclick: () => showCard(adapter) }, "Card"),
      make("button", { type: "button", class: "quiet", "aria-label": `Unload ${name}`, onclick: () => confirmUnload(name) }, "Unload")));
}

/** The list's first item if there is a router. */
function autoItem() {
  const box = make("input", { type: "checkbox", value: AUTO, onchange: () => {
    page.chosen[box.checked ? "add" : "delete"](AUTO);
    showChosen();
  } });
  box.checked = page.chosen.has(AUTO);
  const known = Object.keys(page.router.counts);
  const rate = typeof page.router.rate === "number" && `none for ${percent(page.router.rate)} % of the texts it was set on`;
  return make("li", { class: "adapter" }, make("label", {}, box, make("b", {}, AUTO),
    make("span", { class: "dim" }, [`the router chooses one of ${count(known.length, "adapter")}`, page.router.kind, rate].filter(Boolean).join(" · "))));
}

/** Reads the list again; adapters that still exist stay chosen. */
async function refresh() {
  $("list-status").textContent = "Reading the list…";
  problem($("list-problem"));
  try {
    const [{ body }, routing] = await Promise.all([call("predict", "GET", "v1/adapters"), call("predict", "GET", "v1/router")]);
    page.adapters = body.adapters;
    page.router = routing.body.router;
    $("base").textContent = `One base model, many adapters: ${body.base.name}, ${body.base.kind}`;
    document.title = `taskswap: ${body.base.name}`;
    $("list-status").textContent = count(page.adapters.length, "adapter");
  } catch (error) {
    $("list-status").textContent = page.adapters.length ? "The list may be out of date." : "";
    problem($("list-problem"), error, "predict");
    clearTimeout(page.retry);
    if (error.status === 503) page.retry = setTimeout(refresh, 1000 * (Number(error.retryAfter) || 2)); // the base is still being opened
    return false;
  }
  const { length } = page.adapters;
  page.chosen = new Set(names());
  if (!page.chosen.size && length) page.chosen.add(page.adapters[0].name);
  page.cards.clear();
  $("list").replaceChildren(...(page.router ? [autoItem()] : []), ...page.adapters.map(listItem));
  $("empty").hidden = length > 0;
  for (const id of ["adapters", "predict", "answering", "skip"]) $(id).hidden = !length;
  if (!length) $("loading").open = true;
  $("filtering").hidden = length <= MANY;
  filterList();
  showChosen();
  return true;
}

/** Names of the chosen adapters, in the list's order. */
const names = () => [...(page.router ? [AUTO] : []), ...page.adapters.map(({ name }) => name)].filter((name) => page.chosen.has(name));

const boxes = () => [...$("list").querySelectorAll("input")];

function filterList() {
  const wanted = $("filtering").hidden ? "" : $("filter").value.trim().toLowerCase();
  const first = page.router ? 1 : 0; // `auto` is always shown
  page.adapters.forEach(({ name, aliases, task, method }, i) => {
    $("list").children[first + i].hidden = ![name, ...(aliases ?? []), task, method].join(" ").toLowerCase().includes(wanted);
  });
}

/** Shows the chosen adapters on the button, the second text if one of them takes pairs, and how to write if one does. */
async function showChosen() {
  const adapters = names();
  const writers = adapters.filter(writes);
  $("sampling").hidden = $("sampling").disabled = !writers.length; // what is disabled is not checked by the browser
  $("sampling-of").textContent = `by ${writers.join(", ")}`;
  if (!page.running) $("send").textContent = adapters.length > 1 ? `Run ${adapters.length} adapters` : `Run ${adapters[0] ?? ""}`.trim();
  await Promise.all(adapters.filter((name) => name !== AUTO).map((name) => card(name).catch(() => null))); // without its card an adapter takes one text
  const pairs = names().filter(takesPairs);
  $("pair").hidden = !pairs.length;
  $("pair-of").textContent = `for ${pairs.join(", ")}`;
  const marked = names().filter(takesMarks);
  $("marks").hidden = !marked.length;
  $("marks-of").textContent = marked.join(", ");
}

const writes = (name) => page.adapters.find((adapter) => adapter.name === name)?.task === "text_generation";

const takesPairs = (name) => page.cards.get(name)?.card?.task?.pair === true;

const takesMarks = (name) => Boolean(page.cards.get(name)?.card?.task?.entity_markers);

/** The server's info on one adapter, with its `card`; requested once between two readings of the list. */
async function card(name) {
  if (!page.cards.has(name)) page.cards.set(name, (await call("predict", "GET", adapterPath(name))).body);
  return page.cards.get(name);
}

async function showCard({ name }) {
  $("card-title").textContent = name;
  $("card-body").replaceChildren(make("p", { class: "dim" }, "Reading its card…"));
  $("card").showModal();
  try {
    const info = await card(name);
    $("card-body").replaceChildren(...cardView(info, info.card ?? {}));
  } catch (error) {
    $("card-body").replaceChildren(make("div", { class: "problem" }));
    problem($("card-body").firstChild, error, "predict");
  }
}

function cardView(info, card) {
  const { scores } = info;
  const data = scores && [scores.dataset, scores.split, typeof scores.n === "number" && `n = ${scores.n.toLocaleString("en")}`];
  const labels = card.task?.entity_types ?? info.labels ?? [];
  const numbers = card.task?.label_range; // of a regression, which has no labels
  const memory = info.resident ? `${(info.bytes / 1e6).toFixed(2)} MB` : "not in memory; read from disk on demand";
  return [
    info.unchecked?.length > 0 && make("div", { class: "problem" }, make("b", {}, "No card, so these were not verified: "), info.unchecked.join("; ")),
    make("dl", {}, ...facts([
      ["task", info.task],
      ["method", info.method],
      ["base", info.base || "none"],
      ["batches", info.mixed === false ? "its own: it answers alone" : "mixed with other adapters"],
      [card.task?.entity_types ? "entity types" : "labels", labels.length > 0 ? `${labels.join(", ")} (${labels.length})` : null],
      ["numbers of train", numbers && `from ${numbers.minimum} to ${numbers.maximum}`],
      ["score × 100", scores && make("span", {}, ...score(scores), typeof scores.low === "number" && ", 95 % interval")],
      ["on", data?.filter(Boolean).join(", ")],
      ["version", String(info.version)],
      ["drift", info.drift && (DRIFT[info.drift] ?? info.drift)],
      ["memory", memory + (info.pinned ? "; pinned" : "")],
      ["aliases", info.aliases?.join(", ")],
      ["folder", info.folder],
      ["versions", card.versions && Object.entries(card.versions).map((pair) => pair.join(" ")).join(", ")],
    ])),
    make("details", {}, make("summary", {}, "Full card"), make("pre", { tabindex: "0" }, asText(card))),
  ].filter(Boolean);
}

function confirmUnload(name) {
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
  $("adapters-title").focus(); // the button that was pressed no longer exists
});

const load = () => busy($("load").querySelector("button"), "Loading…", $("load-problem"), "admin", async () => {
  const name = $("load-id").value.trim();
  const { body } = await call("admin", "PUT", adapterPath(name), { folder: $("load-folder").value.trim() });
  $("load").reset();
  page.chosen.add(name);
  $("filter").value = "";
  if (await refresh()) $("list-status").textContent = `${name} is loaded, version ${body.version}. ${$("list-status").textContent}.`;
  boxes().find((box) => box.value === name)?.focus();
});

// --- predicting ---

async function predict() {
  const adapters = names();
  const [text, second] = [$("text").value, $("second").value];
  const missing = !adapters.length ? ["Choose an adapter.", boxes()[0] ?? $("refresh")] : !text.trim() ? ["Type or paste a text.", $("text")]
    : [text, second].some((given) => given.isWellFormed?.() === false) ? ["The text contains half a character, for example part of an emoji. Paste it again.", $("text")]
    : adapters.some(takesPairs) && !second.trim() ? ["Type or paste the second text too.", $("second")] : null;
  if (missing) {
    problem($("problem"), new Error(missing[0]));
    return missing[1].focus();
  }
  page.running?.abort(); // only the last request is answered
  const running = (page.running = new AbortController());
  const requests = adapters.filter((name) => !writes(name)).map((adapter) => ({ adapter, inputs: takesPairs(adapter) ? { text, text_pair: second } : { text } }));
  const drafts = adapters.filter(writes).map((name) => draft(name, text));
  problem($("problem"));
  $("send").textContent = "Running…";
  $("status").textContent = `Running ${adapters.length > 3 ? count(adapters.length, "adapter") : adapters.join(", ")}…`;
  $("answers").setAttribute("aria-busy", "true");
  const begun = performance.now();
  const stop = (page.stop = new AbortController());
  running.signal.addEventListener("abort", () => stop.abort());
  if (drafts.length) {
    $("stop").hidden = false;
    $("answers").replaceChildren(...drafts.map(({ node }) => node));
    $("cost").replaceChildren();
  }
  try {
    const views = new Map(drafts.map((each) => [each.name, each]));
    const [headers] = await Promise.all([
      requests.length === 0 ? null : call("predict", "POST", "v1/predict", requests, running.signal).then((answered) => {
        answered.body.forEach((answer, i) => views.set(requests[i].adapter, answerView(answer, requests[i].adapter, requests[i].inputs)));
        if (page.running === running) $("answers").replaceChildren(...adapters.map((name) => views.get(name).node)); // writers may take longer
        return answered.headers;
      }),
      ...drafts.map((each) => write(each, adapters.length === 1, stop.signal)),
    ]);
    if (page.running === running) summarize(adapters.map((name) => views.get(name)), headers, performance.now() - begun);
  } catch (error) {
    if (page.running !== running) return; // a later request has replaced it
    stop.abort();
    const answers = error.body?.answers ?? []; // each adapter's own error
    $("answers").replaceChildren(...answers.map((answer) => answerView(answer).node));
    $("cost").replaceChildren();
    $("status").textContent = "No answer.";
    problem($("problem"), error, "predict");
  } finally {
    if (page.running === running) {
      page.running = null;
      if (document.activeElement === $("stop")) $("send").focus();
      $("stop").hidden = true;
      $("answers").removeAttribute("aria-busy");
      showChosen();
    }
  }
}

/** Shows what the answers cost, and announces them in a few words. */
function summarize(views, headers, ms) {
  const server = timings(headers?.get("Server-Timing"));
  const parts = Object.entries(server).map(([name, value]) => `${name} ${value.toFixed(1)}`);
  const rows = Number(headers?.get("X-Batch-Rows"));
  const tokens = views.reduce((sum, view) => sum + (view.tokens ?? 0), 0);
  $("cost").replaceChildren(...[
    ["round trip", `${ms.toFixed(0)} ms`],
    ["writing", tokens && `${(1000 * tokens / ms).toFixed(1)} tokens/s`],
    ["in the server", parts.length && `${parts.join(" + ")} ms`],
    ["batch", rows && count(rows, "row")],
    ["request", headers?.get("X-Request-ID")],
  ].filter(([, value]) => value).map((pair) => make("div", {}, ...facts([pair]))));
  $("status").textContent = `${views.slice(0, 6).map(({ summary }) => summary).join("; ")}${views.length > 6 ? "; …" : ""}.`;
  for (const box of $("answers").querySelectorAll(".text, pre")) if (box.scrollHeight > box.clientHeight) box.tabIndex = 0;
}

// --- writing ---

const ENDS = { stop: "ended", length: "all new tokens used", cancelled: "stopped" };

/** How to write, as a request has it. */
function sampling() {
  const seed = $("seed").value;
  return {
    ...Object.fromEntries(["max_new_tokens", "temperature", "top_p"].map((name) => [name, Number($(name).value)])),
    ...(seed && { seed: Number(seed) }),
    stop: $("stops").value.split("\n").filter(Boolean).map((stop) => stop.replaceAll("\\n", "\n")),
  };
}

/** The place of a text that is being written: its `node`, the `box` that scrolls, and what is `written`. */
function draft(name, text) {
  const [written, foot] = [make("span"), make("p", { class: "dim" }, "writing…")];
  const box = make("p", { class: "text written", dir: "auto", role: "group", "aria-label": "Text with its continuation" }, make("span", { class: "prompt" }, text), written);
  const head = make("div", { class: "line" }, make("h3", {}, name), make("span", { class: "dim" }, "text_generation"));
  return { name, text, box, written, foot, head, node: make("article", { class: "answer", "aria-label": name }, head, box, foot) };
}

/** Has an adapter write into its draft; returns the draft with a `summary`. Alone it throws its refusal. */
async function write(draft, alone, signal) {
  const { name, text, box, written, foot } = draft;
  const given = { adapter: name, inputs: text, ...sampling(), stream: true };
  const end = (summary, ...about) => {
    foot.textContent = about.filter(Boolean).join(" · ");
    return Object.assign(draft, { summary: `${name}: ${summary}` });
  };
  try {
    for await (const line of lines("predict", "v1/generate", given, signal)) {
      if (line.error) throw new Refusal(0, line);
      if (line.output) {
        const { completion_tokens: tokens, prompt_tokens: prompt, finish_reason: reason, seed } = line.output;
        draft.tokens = tokens;
        draft.head.lastChild.textContent = [line.task, line.version && `version ${line.version}`].filter(Boolean).join(" · ");
        return end(`${count(tokens, "token")}, ${ENDS[reason]}`, `${count(tokens, "token")} after ${prompt}`, ENDS[reason], seed !== undefined && `seed ${seed}`);
      }
      const follows = box.scrollHeight - box.scrollTop - box.clientHeight < 40; // who has scrolled up is reading
      written.append(line.text);
      if (follows) box.scrollTop = box.scrollHeight;
    }
    throw new Refusal(0, { error: "The server stopped in the middle of its answer." });
  } catch (error) {
    if (error.name === "AbortError") return end("stopped", "stopped");
    if ((alone && !written.textContent) || error.status === 401) throw error;
    foot.replaceWith(...failed(error.body ?? { error: error.message }).nodes);
    return end(written.textContent ? "failed" : "no answer");
  }
}

/** The answer to a request for an adapter, as a `node`, and a `summary` in a few words. */
function answerView(answer, requested = answer.adapter, inputs = null) {
  const output = answer.output ?? {};
  const shown = answer.error ? failed(answer) : areEntities(output) ? entities(output) : isRelation(output) ? relation(output, answer.adapter) : isNumber(output) ? number(output) : areClasses(output) ? classes(output, answer.adapter)
    : { summary: "answered", nodes: [make("pre", {}, asText(output))] };
  const name = requested === AUTO && answer.adapter !== AUTO ? `${AUTO}: ${answer.adapter}` : answer.adapter ?? "base alone";
  const about = [answer.task, answer.version && `version ${answer.version}`].filter(Boolean).join(" · ");
  const node = make("article", { class: "answer", "aria-label": name },
    make("div", { class: "line" }, make("h3", {}, name), make("span", { class: "dim" }, about)), answer.routed && choice(answer.routed), ...shown.nodes,
    answer.truncated && make("p", { class: "caution" }, "The text is longer than the adapter accepts; its end was truncated."),
    inputs && answer.adapter && !answer.error && why(answer, inputs));
  return { node, summary: `${name}: ${shown.summary}` };
}

// --- explaining ---

const MARKED = 0.05; // words with less than this share of the largest value are not marked

/** A button that asks why an adapter gave its answer, and which part of it is meant; nothing if there is no part. */
function why({ adapter, output }, inputs) {
  const parts = areEntities(output) ? output.entities.map(({ label, text }, i) => [String(i + 1), `${label}: ${text}`])
    : Object.keys(output.scores ?? {}).map((label) => [label, label]);
  if (!parts.length && !isNumber(output) && typeof output.answer !== "string") return null;
  const [place, trouble] = [make("div", { class: "why", "aria-live": "polite" }), make("div", { role: "alert" })];
  const choice = parts.length > 1 && make("select", { "aria-label": `What to explain of ${adapter}` }, ...parts.map(([value, shown]) => make("option", { value, selected: value === output.label }, shown)));
  const button = make("button", { type: "button", class: "quiet", "aria-label": `Why? (${adapter})`, onclick: () => busy(button, "Explaining…", trouble, "predict", async () => {
    const target = choice ? choice.value : parts[0]?.[0] ?? null;
    const { body } = await call("predict", "POST", "v1/explain", { adapter, inputs, target });
    place.replaceChildren(...explanation(body.explanation));
  }) }, "Why?");
  return make("div", {}, make("div", { class: "line" }, button, choice), trouble, place);
}

/** The words of the input, marked by what they add, and a sentence about the numbers. */
function explanation({ target, method, score, base, probability, texts, parts, notes }) {
  const most = Math.max(...parts.map(({ value }) => Math.abs(value))) || 1;
  const lines = Object.entries(texts).map(([column, text]) => {
    const [points, line] = [Array.from(text), make("p", { class: "text words", dir: "auto", role: "group", "aria-label": "Words that count" })];
    let at = 0;
    for (const { start, end, value } of parts.filter((part) => part.column === column)) {
      const share = value / most;
      const word = points.slice(start, end).join("");
      line.append(points.slice(at, start).join(""));
      at = end;
      if (Math.abs(share) < MARKED) line.append(word);
      else {
        const marked = make("span", { class: share > 0 ? "for" : "against", title: value.toFixed(3) }, word);
        marked.style.setProperty("--share", `${Math.round(55 * Math.abs(share))}%`);
        line.append(marked);
      }
    }
    line.append(points.slice(at).join(""));
    return line;
  });
  const strongest = [...parts].sort((a, b) => Math.abs(b.value) - Math.abs(a.value)).slice(0, 5).filter(({ value }) => value);
  const sure = typeof probability === "number" ? ` (${probability.toFixed(2)})` : "";
  return [make("p", { class: "dim" }, "Why ", make("b", {}, target), `${sure}: `, make("span", { class: "for" }, "blue"), " speaks for it, ",
    make("span", { class: "against" }, "orange, dashed"), " against it."), ...lines,
  make("p", { class: "dim" }, strongest.map(({ text, value }) => `${text} ${value > 0 ? "+" : "−"}${Math.abs(value).toFixed(2)}`).join(" · ")),
  make("p", { class: "dim" }, `${method}; score ${score.toFixed(2)}${typeof base === "number" ? `, ${base.toFixed(2)} without any word` : ""}`),
  ...(notes ?? []).map((note) => make("p", { class: "caution" }, note))];
}

/** How sure the router was, and of which others it thought. */
function choice({ confidence, scores }) {
  const [, ...others] = Object.entries(scores).sort(([, a], [, b]) => b - a);
  const after = others.length > 0 && `, before ${others.map(([name, share]) => `${name} ${share.toFixed(2)}`).join(" and ")}`;
  return make("p", { class: "dim routed" }, "Chosen by the router with confidence ", make("b", {}, confidence.toFixed(2)), after || "");
}

const failed = ({ error }) => ({ summary: "no answer", nodes: [make("p", { class: "problem" }, asText(error.error ?? error))] });

const areEntities = ({ text, entities }) => typeof text === "string" && Array.isArray(entities)
  && entities.every(({ start, end, label }) => Number.isInteger(start) && Number.isInteger(end) && typeof label === "string");

const isRelation = ({ text, head, tail, label }) => typeof text === "string" && (typeof label === "string" || label === null)
  && [head, tail].every((one) => Number.isInteger(one?.start) && Number.isInteger(one?.end));

const isNumber = ({ value }) => typeof value === "number";

const areClasses = ({ label, labels, scores }) => typeof label === "string" || label === null || Array.isArray(labels)
  || (scores && Object.values(scores).every((share) => typeof share === "number"));

/** The colour of a type, the same in every answer; the name of a type is always shown too. */
function colour(type) {
  if (!page.types.includes(type)) page.types.push(type);
  return `c${page.types.indexOf(type) % COLOURS}`;
}

const LAST_WORD = /^(.*?)(\S{0,20})$/su; // it stays on one line with the type

const tag = (type) => make("span", { class: `type ${colour(type)}` }, type);

/** Entities within their text. Offsets count code points, as Python does; a string of JavaScript counts UTF-16 units. */
function entities({ text, entities: found }) {
  const points = Array.from(text);
  const line = make("p", { class: "text", dir: "auto", role: "group", "aria-label": "Text with entities" });
  const [counts, overlapping] = [new Map(), []];
  let at = 0;
  for (const entity of [...found].sort((a, b) => a.start - b.start || b.end - a.end)) {
    const { start, end, label } = entity;
    const p = typeof entity.score === "number" && [" ", make("span", { class: "p" }, entity.score.toFixed(2))];
    const [, front, last] = LAST_WORD.exec(points.slice(start, end).join(""));
    const marked = make("mark", { class: colour(label) }, front, make("span", { class: "last" }, last, make("span", { class: "kind" }, " ", tag(label), p)));
    counts.set(label, (counts.get(label) ?? 0) + 1);
    if (start < at) overlapping.push(marked);
    else {
      line.append(points.slice(at, start).join(""), marked);
      at = end;
    }
  }
  line.append(points.slice(at).join(""));
  const types = [...counts].map(([label, n]) => make("li", {}, tag(label), ` ${n}`));
  const summary = found.length ? count(found.length, "entity", "entities") : "no entities";
  return { summary, nodes: [
    types.length ? make("ul", { class: "types", "aria-label": "Entities by type" }, ...types) : make("p", { class: "label" }, "No entities"), line,
    overlapping.length > 0 && make("p", { class: "text" }, "Nested or overlapping: ", overlapping.flatMap((mark) => [mark, " "]))] };
}

const DIRECTED = /^(.+)\((e1,e2|e2,e1)\)$/su; // SemEval's names

/** Both entities within their text, an arrow from one to the other, and bars for the most likely relations. */
function relation({ text, head, tail, label, scores }, adapter) {
  const named = { text, entities: [{ ...head, label: head.type ?? "head" }, { ...tail, label: tail.type ?? "tail" }] };
  const [, name, direction] = DIRECTED.exec(label ?? "") ?? [null, label, "e1,e2"];
  const [from, to] = direction === "e1,e2" ? [head, tail] : [tail, head];
  const end = (one) => make("b", {}, Array.from(text).slice(one.start, one.end).join(""));
  const some = label !== null && label !== "no_relation";
  const arrow = make("p", { class: "relation", dir: "auto" }, end(from), make("span", { class: some ? "arrow" : "arrow none" }, name ?? "no label"), end(to));
  const { summary, nodes } = classes({ label, scores }, adapter);
  const [, line, nested] = entities(named).nodes;
  return { summary, nodes: [arrow, line, nested, ...nodes.slice(1)] };
}

const number = ({ value }) => ({ summary: String(value), nodes: [make("p", { class: "label" }, String(value))] });

/** The label or labels, and bars for the probabilities of the most likely ones. */
function classes({ label, labels, scores }, adapter) {
  const predicted = labels ?? (label === null || label === undefined ? [] : [label]);
  const text = predicted.join(", ") || (labels ? "None of the labels" : "No label");
  const bars = Object.entries(scores ?? {}).sort(([, a], [, b]) => b - a).map(([each, share]) => {
    const bar = make("span");
    bar.style.width = `${100 * Math.min(1, Math.max(0, share))}%`;
    return make("li", { class: predicted.includes(each) && "predicted" }, make("span", {}, each), make("span", {}, share.toFixed(2)), make("span", { class: "bar" }, bar));
  });
  const all = page.adapters.find(({ name }) => name === adapter)?.labels?.length ?? 0;
  const first = typeof label === "string" && scores?.[label] !== undefined ? ` ${scores[label].toFixed(2)}` : "";
  return { summary: text + first, nodes: [
    make("p", { class: "label" }, text),
    bars.length > 0 && make("ul", { class: "bars", "aria-label": "Probabilities" }, ...bars),
    bars.length > 0 && all > bars.length && make("p", { class: "dim" }, `the ${bars.length} most likely of ${all} labels`)] };
}

// --- the page ---

/** Uses the tab's session storage; if the browser forbids it, tokens are only in their fields. */
function withStorage(work) {
  try {
    return work(sessionStorage);
  } catch {
    return null;
  }
}

function useTokens() {
  const invalid = TOKENS.find((role) => /[^\x21-\x7e]/.test($(`${role}-token`).value.trim()));
  problem($("token-problem"), invalid && new Error("A token consists of printable ASCII characters, without spaces."));
  if (invalid) return $(`${invalid}-token`).focus();
  for (const role of TOKENS) withStorage((storage) => storage.setItem(`${role}-token`, $(`${role}-token`).value.trim()));
  problem($("problem"));
  refresh();
}

function on(id, event, work) {
  $(id).addEventListener(event, (happened) => {
    if (event === "submit") happened.preventDefault();
    work(happened);
  });
}

for (const role of TOKENS) $(`${role}-token`).value = withStorage((storage) => storage.getItem(`${role}-token`)) ?? "";
on("predict", "submit", predict);
on("load", "submit", load);
on("token-form", "submit", useTokens);
on("refresh", "click", refresh);
on("filter", "input", filterList);
on("none", "click", () => {
  page.chosen.clear();
  for (const box of boxes()) box.checked = false;
  showChosen();
});
on("stop", "click", () => page.stop?.abort());
on("card-close", "click", () => $("card").close());
on("unload-keep", "click", () => $("unload").close());
on("unload-go", "click", unload);
on("predict", "keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !event.isComposing) {
    event.preventDefault();
    $("predict").requestSubmit();
  }
});
on("text", "input", () => {
  const n = [...$("text").value].length;
  $("length").textContent = n ? count(n, "character") : "";
});
refresh();
