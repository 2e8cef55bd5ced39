"use strict";
// The supervisor's view: queues in totals, drawn as text.

const KEY = "undertone-session";
if (location.hash.length > 1) {
  sessionStorage.setItem(KEY, location.hash.slice(1));
  history.replaceState(null, "", location.pathname);
}

function cell(text, name) {
  const made = document.createElement(name);
  made.textContent = text;
  if (name === "td") made.className = "number";
  else made.scope = "row";
  return made;
}

async function ask(path, body) {
  const headers = { Authorization: `Bearer ${sessionStorage.getItem(KEY) || ""}` };
  if (body) headers["Content-Type"] = "application/json";
  const options = { method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body) };
  const answer = await fetch(`/panel/api/${path}`, options);
  const found = await answer.json();
  if (!answer.ok) throw new Error(found.detail);
  return found;
}

async function look() {
  const state = document.getElementById("state");
  try {
    const found = await ask("queues");
    choices(found.queues.map((queue) => queue.queue));
    document.getElementById("alerts").textContent = String(found.alerts);
    document.getElementById("approvals").textContent = String(found.approvals);
    const rows = found.queues.map((queue) => {
      const row = document.createElement("tr");
      const wait = `${Math.round(queue.longest_wait_s)} s`;
      row.append(cell(queue.queue, "th"));
      for (const value of [queue.waiting, wait, queue.idle, queue.reserved, queue.busy]) {
        row.append(cell(String(value), "td"));
      }
      return row;
    });
    document.getElementById("queues").replaceChildren(...rows);
    state.textContent = "Live";
  } catch (error) {
    state.textContent = error.message;
  }
}

function choices(names) {
  const choice = document.querySelector("#whatif select");
  const known = Array.from(choice.options, (option) => option.value);
  for (const name of names) if (!known.includes(name)) choice.append(new Option(name, name));
}

async function play(event) {
  event.preventDefault();
  const state = document.getElementById("whatif-state");
  const form = new FormData(event.target);
  const asked = { queue: form.get("queue") };
  for (const name of ["ordinary", "then_ordinary", "then_reserved"]) asked[name] = Number(form.get(name));
  for (const name of ["cue_share", "cue_margin"]) asked[name] = Number(form.get(name)) / 100;
  state.textContent = "Playing";
  try {
    const found = await ask("whatif", asked);
    const drawn = new DOMParser().parseFromString(found.picture, "image/svg+xml").documentElement;
    document.getElementById("picture").replaceChildren(document.importNode(drawn, true));
    const lines = found.lines.map((line) => {
      const row = document.createElement("li");
      row.textContent = line;
      return row;
    });
    document.getElementById("whatif-lines").replaceChildren(...lines);
    state.textContent = `Played on ${found.days} recorded days`;
  } catch (error) {
    state.textContent = error.message;
  }
}

document.getElementById("whatif").addEventListener("submit", play);
look();
setInterval(look, 1000);
