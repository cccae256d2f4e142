// The live page: alarms, sentiment over time with its bands, and the items behind a point. The server streams the changes.

import { $, busy, events, node, request } from "../talk.js";

const FIRST = 4; // series that are shown until others are chosen
const AGAIN = 3000; // milliseconds before a line that broke is opened again
const REFRESH = 5000; // milliseconds between two drawings, unless a window was closed or an alarm came
const SIZE = { width: 820, height: 210, left: 42, right: 10, top: 10, bottom: 24 };
const SPACE = "http://www.w3.org/2000/svg";
const chosen = new Set();
let seconds = 3600;
let last = null; // number of the last event that was seen
const loading = { disabled: false }, looking = { disabled: false }; // what is under way is not begun twice
let drawn = { at: 0, window: null };

const percent = (share) => `${(100 * share).toFixed(1)} %`;
const when = (time) => new Date(typeof time === "number" ? 1000 * time : time).toLocaleString([], { dateStyle: "short", timeStyle: "short" });
const read = async (path) => (await request("GET", `../v1/news/${path}`)).json();

/** An SVG element with attributes. */
function shape(tag, attributes, children = []) {
  const made = document.createElementNS(SPACE, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** Shows the items of some windows of a series. */
async function behind(series, point) {
  const found = await read(`items?${new URLSearchParams({ series, begin: point.window, end: point.end })}`);
  const till = point.end * seconds;
  $("behind-title").textContent = `${series}, ${when(point.window * seconds)} to ${when(till)}: ${point.items} items, ${percent(point.share)} negative`;
  $("items").replaceChildren(...found.map((item) => node("li", item.negative ? "negative" : "", [
    node("p", "", [item.text]),
    node("p", "dim", [[when(item.at), item.source, item.sentiment].filter(Boolean).join(" · ")]),
  ])));
  if (!found.length) $("items").append(node("li", "dim", ["The items of these windows are no longer kept."]));
  $("behind").hidden = false;
  $("behind-title").focus();
}

/** The plot of a series. */
function plot(found) {
  const { points, alarms } = found;
  const box = node("section", "plot", [node("h3", "", [found.series])]);
  const open = found.open.items ? `; ${found.open.items} items since then, ${found.open.negative} negative` : "";
  if (!points.length) {
    box.append(node("p", "dim", [`No window is closed yet${open}.`]));
    return box;
  }
  const { width, height, left, right, top, bottom } = SIZE;
  const begin = points[0].window, end = points.at(-1).end;
  const most = Math.min(1, Math.max(0.1, ...points.flatMap((one) => [one.share, one.high])) * 1.05);
  const x = (window) => left + ((window - begin) / Math.max(end - begin, 1)) * (width - left - right);
  const y = (share) => height - bottom - (Math.min(share, most) / most) * (height - top - bottom);
  const middle = (one) => x((one.window + one.end) / 2);
  const line = (name) => points.map((one) => `${middle(one)},${y(one[name])}`).join(" ");
  const band = [...points.map((one) => `${middle(one)},${y(one.high)}`), ...points.toReversed().map((one) => `${middle(one)},${y(one.low)}`)];
  const label = `${found.series}: share of negative items from ${when(begin * seconds)} to ${when(end * seconds)}; ${alarms.length} alarms`;
  const svg = shape("svg", { viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": label });
  for (const share of [0, most / 2, most]) {
    const words = shape("text", { x: left - 6, y: y(share) + 4, "text-anchor": "end" }, [`${Math.round(100 * share)} %`]);
    svg.append(shape("line", { class: "grid", x1: left, x2: width - right, y1: y(share), y2: y(share) }), words);
  }
  for (const [window, anchor] of [[begin, "start"], [(begin + end) / 2, "middle"], [end, "end"]]) {
    svg.append(shape("text", { x: x(window), y: height - 6, "text-anchor": anchor }, [when(window * seconds)]));
  }
  for (const alarm of alarms) {
    const from = x(Date.parse(alarm.since) / 1000 / seconds), to = alarm.until ? x(Date.parse(alarm.until) / 1000 / seconds) : width - right;
    svg.append(shape("rect", { class: "alarm", x: from, y: top, width: Math.max(to - from, 2), height: height - top - bottom }));
  }
  svg.append(shape("polygon", { class: "band", points: band.join(" ") }));
  svg.append(shape("polyline", { class: "expected", points: line("expected") }), shape("polyline", { class: "share", points: line("share") }));
  const wide = (width - left - right) / points.length;
  for (const one of points) {
    svg.append(shape("circle", { class: "point", cx: middle(one), cy: y(one.share), r: 2 }));
    const title = `${when(one.window * seconds)}: ${one.items} items, ${percent(one.share)} negative, ${percent(one.expected)} expected`;
    const hit = shape("rect", { class: "hit", x: middle(one) - wide / 2, y: top, width: wide, height: height - top - bottom, tabindex: "0", role: "button", "aria-label": title }, [shape("title", {}, [title])]);
    const show = () => busy(looking, () => behind(found.series, one));
    hit.addEventListener("click", show);
    hit.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); show(); } });
    svg.append(hit);
  }
  box.append(svg, node("p", "dim", [`${points.length} points${open}`]));
  return box;
}

/** Draws the series that are chosen; of a name that is gone nothing. */
async function draw() {
  const found = [];
  for (const name of chosen) found.push(plot(await read(`windows?${new URLSearchParams({ series: name })}`)));
  const focused = document.activeElement?.closest?.(".hit") !== null && document.activeElement !== document.body;
  if (!focused || !$("plots").contains(document.activeElement)) $("plots").replaceChildren(...found);
}

/** Shows the alarms. */
async function alarms() {
  const found = await read("alarms");
  $("alarms").replaceChildren(...found.map((alarm) => {
    const own = alarm.evidence;
    const end = alarm.until ? `until ${when(alarm.until)}: ${alarm.reason}` : "on";
    const items = own.evidence.map((item) => node("li", "", [`${item.text} (${item.source || "no source"})`]));
    const sources = Object.entries(own.sources).map(([name, count]) => `${name || "no source"} ${count}`).join(", ");
    return node("li", alarm.until ? "" : "on", [
      node("h3", "", [alarm.series]),
      node("p", "", [`${own.negative} of ${own.items} negative, ${own.expected} expected`]),
      node("p", "dim", [`Since ${when(alarm.since)}, ${end}; p = ${Number(own.p).toPrecision(2)}`]),
      node("details", "", [node("summary", "", [`${own.evidence.length} of its items`]), node("p", "dim", [sources]), node("ul", "", items)]),
    ]);
  }));
}

/** Shows the progress of the monitor, and its series. */
async function state() {
  const found = await read("series");
  seconds = found.window_seconds;
  const counted = found.became.counted ?? 0;
  const others = Object.entries(found.became).filter(([what]) => what !== "counted").map(([what, count]) => `${count} ${what}`);
  $("progress").textContent = [found.clock ? `Up to ${when(found.clock)}` : "Nothing has come yet", `${counted.toLocaleString()} items counted`, ...others].join(" · ");
  if (!chosen.size) for (const one of found.series.slice(0, FIRST)) chosen.add(one.series);
  const named = $("filter").value.trim().toLowerCase();
  const shown = found.series.filter((one) => one.series.toLowerCase().includes(named));
  $("series").replaceChildren(...shown.map((one) => {
    const box = node("input", "");
    box.type = "checkbox";
    box.checked = chosen.has(one.series);
    box.addEventListener("change", () => {
      if (box.checked) chosen.add(one.series);
      else chosen.delete(one.series);
      busy(loading, draw);
    });
    const facts = `${one.items.toLocaleString()}, ${percent(one.items ? one.negative / one.items : 0)}`;
    return node("li", "", [node("label", "", [box, node("span", one.alarm ? "on" : "", [one.alarm ? `${one.series} (alarm)` : one.series]), node("span", "dim", [facts])])]);
  }));
}

/** Reads everything again. */
async function load() {
  await state();
  await alarms();
  await draw();
}

/** Follows the server's events, and reconnects after a failure. */
async function follow() {
  for (;;) {
    try {
      const response = await request("GET", "../v1/news/events", { headers: last === null ? {} : { "Last-Event-ID": last } });
      $("line").textContent = "Live";
      for await (const [name, value, number] of events(response)) {
        if (number !== undefined) last = number;
        if (name === "error") break;
        const closed = value.next_window !== drawn.window;
        if (name === "alarm" || closed || Date.now() - drawn.at > REFRESH) {
          drawn = { at: Date.now(), window: name === "changed" ? value.next_window : drawn.window };
          await busy(loading, load);
        }
      }
    } catch (error) {
      $("problem").replaceChildren(node("b", "", [error.message]));
    }
    $("line").textContent = "Not connected; trying again";
    await new Promise((done) => setTimeout(done, AGAIN));
  }
}

$("filter").addEventListener("input", () => state().catch((error) => $("problem").replaceChildren(node("b", "", [error.message]))));
for (const form of document.querySelectorAll("#access form")) form.addEventListener("submit", (event) => {
  event.preventDefault();
  busy(loading, load);
});
follow();
