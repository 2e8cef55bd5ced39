// What the pages do better with a script; each of them works without.
"use strict";

// An abbreviated id copies itself whole.
for (const code of document.querySelectorAll("code[data-copy]")) {
  if (code.closest("a") || !navigator.clipboard) continue;
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.setAttribute("aria-label", `Copy ${code.dataset.copy}`);
  code.replaceWith(button);
  button.append(code);
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(code.dataset.copy);
    button.classList.add("copied");
    setTimeout(() => button.classList.remove("copied"), 1200);
  });
}

// "/" goes to the search, "g" and a digit to an area.
let going = false;
document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, select, textarea");
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  const form = "form[role=search] ";
  const search = document.querySelector(form + "input[type=search]")
    ?? document.querySelector(`${form}input:not([type=hidden]), ${form}select`);
  if (event.key === "/" && search) {
    event.preventDefault();
    search.focus();
  } else if (going && /^[1-9]$/.test(event.key)) {
    const areas = document.querySelectorAll("nav.menu a");
    if (areas[event.key - 1]) areas[event.key - 1].click();
  }
  going = event.key === "g";
});
