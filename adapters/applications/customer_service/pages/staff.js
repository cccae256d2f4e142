// The staff's page: what was handed over, and what the right answer would have been.

import { $, busy, node, request } from "../talk.js";

/** A text field with a label. */
function field(label, tag, value = "", list = "") {
  const input = node(tag, "");
  input.value = value;
  if (list) input.setAttribute("list", list);
  return [node("label", "", [label, input]), input];
}

/** A question with what can be chosen. */
function show(item) {
  const place = node("li", "item");
  const decide = (button, chosen) => busy(button, async () => {
    const { owner, session, number } = item; // another question may have the number by now
    await request("PUT", `../v1/inbox/${item.id}`, { sent: { owner, session, number, question: question.value, ...chosen } });
    place.remove();
    count();
  });
  const choice = (text, chosen) => {
    const button = node("button", "", [text], () => decide(button, chosen));
    return button;
  };
  const [asked, question] = field("The question, as it is to be learned", "textarea", item.asked);
  const [other, intent] = field("Another intent", "input", "", "intents");
  const [written, answer] = field("A new reply, which the customer reads as well", "textarea");
  const take = node("button", "main", ["Take these"], () => decide(take, { intent: intent.value || null, answer: answer.value || null }));
  place.append(
    node("h2", "", [item.asked]),
    node("p", "dim", [`${new Date(1000 * item.at).toLocaleString()} · customer ${item.owner} · conversation ${item.session}, turn ${item.number}`]),
    node("p", "dim", [item.outcome.reason]),
    asked,
    node("div", "choices", item.replies.map((reply) => choice(reply.text, { reply: reply.id }))),
    node("div", "choices", item.intents.map((name) => choice(name, { intent: name }))),
    other, written,
    node("div", "line", [take, choice("Must not be answered", { out_of_scope: true })]),
  );
  $("items").append(place);
}

const count = () => { $("count").textContent = `${$("items").children.length} shown`; };

/** Shows the oldest that are open. */
async function load() {
  const found = await (await request("GET", "../v1/inbox")).json();
  $("items").replaceChildren();
  $("intents").replaceChildren(...found.intents.map((name) => {
    const option = node("option", "");
    option.value = name;
    return option;
  }));
  found.items.forEach(show);
  count();
}

$("refresh").addEventListener("click", () => busy($("refresh"), load));
for (const form of document.querySelectorAll("#access form")) form.addEventListener("submit", (event) => {
  event.preventDefault();
  busy($("refresh"), load);
});
busy($("refresh"), load);
