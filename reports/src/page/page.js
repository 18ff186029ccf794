"use strict";
// Everything below is comfort: the page says all it has to say without it.

// Words of a value at the pointer, instead of the browser's slow native tip.
{
  const tip = document.createElement("div");
  tip.id = "tip";
  tip.hidden = true;
  document.body.append(tip);
  for (const spot of document.querySelectorAll("svg .spot")) {
    const title = spot.querySelector("title");
    spot.setAttribute("data-text", title.textContent);
    title.remove();
  }
  document.addEventListener("pointermove", event => {
    const text = event.target.getAttribute && event.target.getAttribute("data-text");
    tip.hidden = !text;
    if (!text) return;
    tip.textContent = text;
    tip.style.left = Math.max(4, Math.min(event.clientX + 12, innerWidth - tip.offsetWidth - 4)) + "px";
    tip.style.top = (event.clientY > 60 ? event.clientY - tip.offsetHeight - 10 : event.clientY + 16) + "px";
  });
}

// A click on a column's head sorts by it, a second click the other way round.
for (const head of document.querySelectorAll("thead th")) {
  head.setAttribute("role", "button");
  head.tabIndex = 0;
  const sort = () => {
    const table = head.closest("table");
    const place = [...head.parentNode.children].indexOf(head);
    const direction = head.getAttribute("aria-sort") === "descending" ? 1 : -1;
    for (const other of head.parentNode.children) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", direction < 0 ? "descending" : "ascending");
    const key = row => {
      const cell = row.children[place];
      return cell.dataset.value === undefined ? cell.textContent : Number(cell.dataset.value);
    };
    const compare = (a, b) => {
      const [x, y] = [key(a), key(b)];
      if (typeof x !== typeof y) return typeof x === "number" ? -1 : 1;
      return direction * (typeof x === "number" ? x - y : x.localeCompare(y, "en", { numeric: true }));
    };
    const body = table.tBodies[0];
    body.append(...[...body.rows].sort(compare));
  };
  head.addEventListener("click", sort);
  head.addEventListener("keydown", event => { if (event.key === "Enter") sort(); });
}

// Sliders look the choice up among the embedded rows, and mark it on the map.
{
  const box = document.querySelector(".what-if");
  if (box) {
    box.hidden = false;
    const inputs = [...box.querySelectorAll("input")];
    const rows = [...document.querySelectorAll("#what-if-table tbody tr")];
    const show = moved => {
      const wanted = inputs.map(input => {
        const name = input.dataset.names.split("|")[Number(input.value)];
        input.parentNode.querySelector("output").textContent = name;
        return name;
      });
      const row = rows.find(row => wanted.every((name, i) => row.children[i].textContent === name));
      box.querySelector("#what-if-choice").textContent = row ? row.children[3].textContent : "not computed";
      const plan = row ? row.dataset.plan : "";
      for (const spot of document.querySelectorAll("svg .spot")) {
        const here = moved && plan && spot.dataset.text.split(";")[0] === plan && spot.closest("figure").id.startsWith("figure-map");
        spot.style.stroke = here ? "#D55E00" : "";
        spot.style.strokeWidth = here ? "7" : "";
      }
    };
    for (const input of inputs) input.addEventListener("input", () => show(true));
    show(false);
  }
}
