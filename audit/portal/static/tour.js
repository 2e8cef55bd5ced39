// The guided tour on the pages that it leads to; without this the page /tour is the tour.
"use strict";

const KEPT = "undertone-tour";

const steps = [...document.querySelectorAll("a[data-tour]")];
steps.forEach((link, at) => {
  link.addEventListener("click", () => {
    const told = steps.map((one) => ({
      href: one.getAttribute("href"), words: one.dataset.tour, target: one.dataset.target,
      asks: one.closest("article").querySelector("h3").textContent,
    }));
    sessionStorage.setItem(KEPT, JSON.stringify({ told, at }));
  });
});

const end = () => {
  sessionStorage.removeItem(KEPT);
  document.querySelector(".tour-bar")?.remove();
  document.querySelector(".toured")?.classList.remove("toured");
};

const made = (tag, text, after = {}) =>
  Object.assign(document.createElement(tag), { textContent: text }, after);

const leadTo = (tour, at, words) => {
  const link = made("a", words, { href: tour.told[at].href, className: "button second" });
  link.addEventListener("click", () => sessionStorage.setItem(KEPT, JSON.stringify({ ...tour, at })));
  return link;
};

const tell = (tour) => {
  const step = tour.told[tour.at];
  const meant = document.querySelector(step.target);
  const bar = made("aside", "", { className: "tour-bar" });
  bar.setAttribute("aria-label", "Guided tour");
  const said = made("p", `${step.asks} `);
  said.append(made("strong", step.words));
  bar.append(made("p", `Step ${tour.at + 1} of ${tour.told.length}`, { className: "small" }), said);
  const ways = made("p", "", { className: "ways" });
  if (tour.at > 0) ways.append(leadTo(tour, tour.at - 1, "Back"));
  if (tour.at + 1 < tour.told.length) ways.append(leadTo(tour, tour.at + 1, "Next"));
  ways.append(made("button", "End", { type: "button", className: "second", onclick: end }));
  bar.append(ways);
  document.querySelector("main").prepend(bar);
  if (!meant) return;
  meant.classList.add("toured");
  meant.scrollIntoView({ block: "center" });
};

const kept = JSON.parse(sessionStorage.getItem(KEPT) || "null");
if (kept && !steps.length) {
  const there = new URL(kept.told[kept.at].href, location.href);
  if (there.pathname === location.pathname) tell(kept);
}
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") end();
});
