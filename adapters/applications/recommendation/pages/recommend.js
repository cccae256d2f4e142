// The page of recommendations: who is asked for, what is recommended, and why. A like is an event of the user, if there
// is one, and an item of the history otherwise.

import { $, busy, node, request } from "../talk.js";

const HEAD = "../v1/recommend";
const LONE = /[\ud800-\udfff]/gu; // halves of a character, which JSON in UTF-8 cannot have
const history = new Map(); // titles by id, in the order in which they were liked

/** What a field has, as can be sent. */
const value = (id) => $(id).value.trim().replace(LONE, "\ufffd");

/** Shows the liked items; a click takes one back. */
function showHistory() {
  $("history").replaceChildren(...[...history].map(([id, title]) => node("li", "", [
    node("button", "quiet", [title || id], () => {
      history.delete(id);
      showHistory();
    }),
  ])));
}

/** Adds an item to what is liked. */
function like(item) {
  history.delete(item.id);
  history.set(item.id, item.title);
  showHistory();
}

/** Why an item was recommended, in words. */
function reason(why) {
  if (!why.length) return "liked by many";
  return `near ${why.map((one) => `${one.wishes ? `“${one.wishes}”` : one.title || one.item} (${one.cosine.toFixed(2)})`).join(", ")}`;
}

/** Shows what was recommended. */
function show(answer) {
  $("basis").textContent = `By ${answer.basis}${answer.note ? `; ${answer.note}` : ""}`;
  $("recommended").replaceChildren(...answer.items.map((item) => {
    const button = node("button", "quiet", ["Like"], () => busy(button, async () => {
      const user = value("user");
      if (user) await request("POST", `${HEAD}/events`, { sent: { events: [{ user, item: item.id, liked: true }] } });
      else like(item);
      await recommend();
    }));
    button.setAttribute("aria-label", `Like ${item.title || item.id}`);
    return node("li", "", [node("div", "line", [node("b", "", [item.title || item.id]), button]), node("p", "dim", [reason(item.why)])]);
  }));
}

/** Asks for recommendations. */
async function recommend() {
  const sent = { history: [...history.keys()], number: Number($("number").value), diversity: Number($("diversity").value) };
  if (value("user")) sent.user = value("user");
  if (value("wishes")) sent.wishes = value("wishes");
  if (value("tags")) sent.filters = { tags: [value("tags")] };
  show(await (await request("POST", HEAD, { sent })).json());
}

/** Searches items by their words. */
const search = () => busy($("search"), async () => {
  if (!value("words")) return;
  const found = await (await request("GET", `${HEAD}/items?words=${encodeURIComponent(value("words"))}`)).json();
  const items = found.items.map((item) => node("li", "", [node("button", "quiet", [item.title || item.id], () => {
    like(item);
    $("found").replaceChildren();
    $("words").value = "";
  })]));
  $("found").replaceChildren(...(items.length ? items : [node("li", "dim", ["No item has these words."])]));
});

$("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  busy($("send"), recommend);
});
$("search").addEventListener("click", search);
$("words").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.isComposing) return;
  event.preventDefault();
  search();
});
$("diversity").addEventListener("input", () => {
  $("shown").textContent = $("diversity").value;
});
busy($("send"), recommend);
