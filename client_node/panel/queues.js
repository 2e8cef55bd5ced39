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

async function look() {
  const state = document.getElementById("state");
  try {
    const headers = { Authorization: `Bearer ${sessionStorage.getItem(KEY) || ""}` };
    const answer = await fetch("/panel/api/queues", { headers });
    const found = await answer.json();
    if (!answer.ok) throw new Error(found.detail);
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

look();
setInterval(look, 1000);
