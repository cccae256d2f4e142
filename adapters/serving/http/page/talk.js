// What the pages of applications share. Every node is made from text: nothing is parsed as HTML.

export const $ = (id) => document.getElementById(id);

/** An element with a class, children (texts become text nodes), and what a click does. */
export function node(tag, name, children = [], click = null) {
  const made = document.createElement(tag);
  if (name) made.className = name;
  if (tag === "button") made.type = "button";
  if (click) made.addEventListener("click", click);
  made.append(...children);
  return made;
}

/** The server's answer to a request, whose body is read by the caller. Throws an Error with what it refused. */
export async function request(method, path, { headers = {}, sent } = {}) {
  const token = $("token").value.trim();
  if (token) headers.Authorization = `Bearer ${token}`;
  if (sent !== undefined) headers["Content-Type"] = "application/json";
  const response = await fetch(path, { method, headers, cache: "no-store", body: sent === undefined ? undefined : JSON.stringify(sent) });
  if (response.ok) return response;
  const body = await response.json().catch(() => ({}));
  if (response.status === 401 || response.status === 403) $("access").open = true;
  throw new Error([body.error ?? `The server answered ${response.status}.`, body.expected && `Expected: ${body.expected}.`].filter(Boolean).join(" "));
}

/** Runs `work` while `button` is off; shows what goes wrong. */
export async function busy(button, work) {
  if (button.disabled) return;
  button.disabled = true;
  $("problem").replaceChildren();
  try {
    await work();
  } catch (error) {
    $("problem").replaceChildren(node("b", "", [error.message]));
  } finally {
    button.disabled = false;
  }
}

/** The events of a stream, as (name, value, id). */
export async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    const parts = (rest + (value ?? "")).split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      const fields = {};
      for (const line of part.split("\n")) fields[line.slice(0, line.indexOf(":"))] = line.slice(line.indexOf(":") + 2);
      if (fields.event) yield [fields.event, JSON.parse(fields.data), fields.id];
    }
    if (done) return;
  }
}
