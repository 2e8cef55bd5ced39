"use strict";
// The panel: what is told is drawn as text, never as markup. Nothing is kept but the session's
// token, in this tab's storage.

const KEY = "undertone-session";
const MOST_CARDS = 60;
const cards = new Map();
const openAlerts = new Set();
let labels = [];

function session() {
  if (location.hash.length > 1) {
    sessionStorage.setItem(KEY, location.hash.slice(1));
    history.replaceState(null, "", location.pathname);
  }
  return sessionStorage.getItem(KEY) || "";
}
const token = session();

function element(name, text, className) {
  const made = document.createElement(name);
  if (text) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function say(text) {
  document.getElementById("state").textContent = text;
}

async function ask(method, path, body) {
  const headers = { Authorization: `Bearer ${token}` };
  if (body) headers["Content-Type"] = "application/json";
  const options = { method, headers, body: body && JSON.stringify(body) };
  const answer = await fetch(`/panel/api/${path}`, options);
  const value = await answer.json();
  if (!answer.ok) throw new Error(value.detail || "refused");
  return value;
}

function cueOf(turn) {
  const reading = turn.reading;
  if (turn.answer === "refused") return "Not read: the person did not allow it";
  if (turn.answer === "stored") return "Not read: kept to learn from alone, as they chose";
  if (!reading || !reading.says) return "No cue was read for sure";
  return `${reading.says} (confidence ${Math.round(100 * reading.confidence)} %)`;
}

function whyOf(turn) {
  if (turn.answer === "refused") return turn.reasons.join("; ");
  if (turn.why && turn.why.length) {
    return `Words that weighed: ${turn.why.map((w) => w.words).join(", ")}`;
  }
  const course = turn.conversation;
  if (course && course.says) return `${course.says}, over ${course.turns} turns`;
  return turn.reading && turn.reading.because ? `Why: ${turn.reading.because}` : "";
}

function wrongForm(turn) {
  const box = element("div");
  const choice = element("select");
  choice.setAttribute("aria-label", "What the customer says it was");
  choice.append(new Option("no such cue", ""));
  for (const label of labels) choice.append(new Option(label, label));
  const button = element("button", "This is wrong", "wrong");
  button.type = "button";
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      const found = await ask("POST", "corrections", { turn: turn.turn, label: choice.value || null });
      const learned = found.training ? "Corrected; learned from, as they allow." : "Corrected.";
      box.replaceChildren(element("p", learned, "small corrected"));
    } catch (error) {
      button.disabled = false;
      say(error.message);
    }
  });
  box.append(choice, button);
  return box;
}

function draw(told) {
  const turn = told.answer;
  const parts = [element("p", cueOf(turn), "cue"), element("p", whyOf(turn), "why")];
  for (const hint of (turn.use && turn.use.hints) || []) parts.push(element("p", `Hint: ${hint}`, "hint"));
  parts.push(context((turn.context && turn.context.context) || []));
  if (turn.reading && turn.reading.label) parts.push(wrongForm(turn));
  const card = place(told.conversation, parts);
  card.dataset.turn = turn.turn;
}

// What things told: beside the cue, and never a cue.
function context(events) {
  const list = element("ul", "", "context");
  for (const event of events) list.append(element("li", event.says, "small"));
  return list;
}

function thing(told) {
  const known = cards.get(told.conversation);
  const fresh = context(told.context.context);
  if (known) known.querySelector(".context").replaceWith(fresh);
  else place(told.conversation, [element("p", "Nothing was said yet", "cue"), fresh]);
}

// A draft stands with its conversation; it is read and decided among what waits.
function draft(told) {
  const known = cards.get(told.conversation);
  const words = `A reply about ${told.topic} is drafted and waits for your yes`;
  if (known) known.append(element("p", words, "hint draft"));
  act(approvals);
}

function place(conversation, parts) {
  const known = cards.get(conversation);
  const card = known || element("li");
  card.tabIndex = 0;
  card.dataset.conversation = conversation;
  card.replaceChildren(element("p", `Conversation ${conversation}`, "small"), ...parts);
  cards.delete(conversation);
  cards.set(conversation, card);
  const list = document.getElementById("cards");
  if (!known || !known.contains(document.activeElement)) list.prepend(card);
  while (cards.size > MOST_CARDS) {
    const [oldest, gone] = cards.entries().next().value;
    cards.delete(oldest);
    gone.remove();
  }
  mark(conversation);
  return card;
}

function mark(conversation) {
  const card = cards.get(conversation);
  if (card) card.dataset.alert = openAlerts.has(conversation) ? "open" : "";
}

function alerted(alert) {
  if (alert.state === "raised") openAlerts.add(alert.conversation);
  else openAlerts.delete(alert.conversation);
  mark(alert.conversation);
}

async function approvals() {
  const found = (await ask("GET", "approvals")).approvals;
  document.getElementById("approvals-count").textContent = String(found.length);
  const list = document.getElementById("approvals");
  const shown = new Set(Array.from(list.children, (row) => row.dataset.approval));
  for (const item of found) if (!shown.has(item.approval)) list.append(waiting(item));
  const still = new Set(found.map((item) => item.approval));
  for (const row of Array.from(list.children)) if (!still.has(row.dataset.approval)) row.remove();
}

function waiting(item) {
  const row = element("li");
  row.tabIndex = 0;
  row.dataset.approval = item.approval;
  const look = element("button", "Look", "look");
  look.type = "button";
  row.append(element("p", `${item.use}: ${item.topic}`), look);
  look.addEventListener("click", () => act(async () => {
    const full = await ask("POST", `approvals/${item.approval}/show`);
    const words = full.text || `${full.value} where everybody gets ${full.baseline} (${full.currency})`;
    const yes = element("button", "Approve", "approve");
    const no = element("button", "Deny", "deny");
    yes.type = no.type = "button";
    yes.addEventListener("click", () => decide(item, "approve"));
    no.addEventListener("click", () => decide(item, "deny"));
    row.replaceChildren(element("p", `${item.use}: ${item.topic}`), element("pre", words), yes, no);
    yes.focus();
  }));
  return row;
}

function decide(item, step) {
  return act(async () => {
    const done = await ask("POST", `approvals/${item.approval}/${step}`);
    say(done.hasty ? "Done. That was under two seconds, and is flagged." : "Done.");
    await approvals();
  });
}

async function act(what) {
  try {
    await what();
  } catch (error) {
    say(error.message);
  }
}

function move(step) {
  const list = Array.from(document.querySelectorAll("#cards > li"));
  const at = list.findIndex((card) => card.contains(document.activeElement));
  const next = list[Math.min(list.length - 1, Math.max(0, at + step))];
  if (next) next.focus();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.tagName === "SELECT") return;
  if (event.key === "j") move(1);
  if (event.key === "k") move(-1);
  if (event.key === "w") {
    const card = document.activeElement.closest("#cards > li");
    const button = card && card.querySelector("button.wrong");
    if (button) button.focus();
  }
  if (event.key === "a") {
    const first = document.querySelector("#approvals > li");
    if (first) first.focus();
  }
});

async function listen() {
  const headers = { Authorization: `Bearer ${token}` };
  const answer = await fetch("/panel/api/stream", { headers });
  if (!answer.ok) throw new Error((await answer.json()).detail);
  say("Live");
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const events = (rest + value).split("\n\n");
    rest = events.pop();
    events.forEach(receive);
  }
}

function receive(event) {
  const kind = /^event: (.*)$/m.exec(event);
  const data = /^data: (.*)$/m.exec(event);
  if (!kind || !data) return;
  if (kind[1] === "turn") draw(JSON.parse(data[1]));
  if (kind[1] === "thing") thing(JSON.parse(data[1]));
  if (kind[1] === "draft") draft(JSON.parse(data[1]));
  if (kind[1] === "alert") alerted(JSON.parse(data[1]));
}

async function main() {
  labels = (await ask("GET", "labels")).labels;
  setInterval(() => act(approvals), 2000);
  await approvals();
  let wait = 500;
  for (;;) {
    try {
      await listen();
      wait = 500;
      openAlerts.clear();
    } catch (error) {
      say(error.message);
    }
    await new Promise((resolve) => setTimeout(resolve, wait));
    wait = Math.min(2 * wait, 10000);
  }
}

act(main);
