// While the log is verified: how far it is, without loading the page again; it works without this.
"use strict";

const EVERY_MS = 700, MOST_FAILURES = 5;
const shown = document.getElementById("verification");
let failures = 0;

const next = () => shown && shown.hasAttribute("data-running") && setTimeout(look, EVERY_MS);

async function look() {
  try {
    const answer = await fetch("/evidence", { headers: { accept: "text/html" } });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const found = page.getElementById("verification");
    if (!answer.ok || !found) throw new Error("no state of the verification in the answer");
    failures = 0;
    const running = found.hasAttribute("data-running");
    shown.toggleAttribute("data-running", running);
    shown.setAttribute("aria-live", running ? "off" : "polite");  // the end is said, not each step
    shown.replaceChildren(...found.children);
  } catch {
    failures += 1;
    if (failures >= MOST_FAILURES) {
      document.getElementById("unheard").hidden = false;
      return;
    }
  }
  next();
}

next();
