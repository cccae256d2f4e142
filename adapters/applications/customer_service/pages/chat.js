// The chat page: one conversation of whoever has the key, which this tab makes up and keeps.

import { $, busy, events, node, request } from "../talk.js";

const LONE = /[\ud800-\udfff]/gu; // halves of a character, which JSON in UTF-8 cannot have
const KINDS = { answer: "", ask: "A question back", hand_over: "Handed over to a colleague" };

/** What this tab keeps under a name; made up where there is none. */
function kept(name) {
  let value = sessionStorage.getItem(name);
  if (!value) {
    value = Array.from(crypto.getRandomValues(new Uint8Array(24)), (byte) => byte.toString(16).padStart(2, "0")).join("");
    sessionStorage.setItem(name, value);
  }
  return value;
}

const own = () => ({ "X-Customer-Key": kept("customer") });
const path = () => `../v1/conversations/${kept("conversation")}`;

/** Adds what the customer wrote. */
const mine = (text) => $("turns").append(node("li", "mine", [node("p", "", [text])]));

/** Adds an answer, with its source, its confidence, and the choices of a question back. */
function show(answer) {
  const facts = [
    KINDS[answer.kind],
    answer.source && `Source: ${answer.source}`,
    answer.confidence !== null && answer.confidence !== undefined && `Confidence ${Math.round(100 * answer.confidence)} %`,
  ].filter(Boolean);
  const choices = answer.choices.map((choice, number) => node("button", "", [choice], () => say(String(number + 1))));
  $("turns").append(node("li", answer.kind, [
    node("p", "", [answer.text]),
    ...(choices.length ? [node("div", "choices", choices)] : []),
    node("p", "dim facts", [facts.join(" · ")]),
  ]));
  if (answer.staff) $("turns").append(node("li", "staff", [node("p", "", [answer.staff]), node("p", "dim facts", ["From a colleague"])]));
  $("turns").lastElementChild.scrollIntoView({ block: "nearest" });
}

/** Sends a message, and shows the answer. */
function say(text) {
  return busy($("send"), async () => {
    if (!text.trim()) return;
    try {
      const sent = { text: text.replace(LONE, "\ufffd") };
      const response = await request("POST", path(), { headers: { ...own(), Accept: "text/event-stream" }, sent });
      mine(text);
      $("text").value = "";
      let answered = false;
      for await (const [name, value] of events(response)) {
        $("typing").hidden = name !== "typing";
        if (name === "error") throw new Error(value.error);
        if (name === "answer") show(value);
        answered = name === "answer";
      }
      if (!answered) throw new Error("The server stopped before it had answered. Send it again.");
    } finally {
      $("typing").hidden = true;
    }
  });
}

/** Shows the conversation so far. */
async function load() {
  const turns = await (await request("GET", path(), { headers: own() })).json();
  $("turns").replaceChildren();
  for (const turn of turns) {
    mine(turn.asked);
    show(turn);
  }
}

$("say").addEventListener("submit", (event) => {
  event.preventDefault();
  say($("text").value);
});
$("text").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  say($("text").value);
});
$("new").addEventListener("click", () => {
  sessionStorage.removeItem("conversation");
  $("turns").replaceChildren();
  $("text").focus();
});
$("forget").addEventListener("click", () => busy($("forget"), async () => {
  await request("DELETE", "../v1/customers/me", { headers: own() });
  sessionStorage.removeItem("customer");
  sessionStorage.removeItem("conversation");
  $("turns").replaceChildren();
}));
for (const form of document.querySelectorAll("#access form")) form.addEventListener("submit", (event) => {
  event.preventDefault();
  busy($("send"), load);
});
busy($("send"), load);
