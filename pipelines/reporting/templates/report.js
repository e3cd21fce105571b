const charts = JSON.parse(document.getElementById("charts").textContent);
const boards = [...document.querySelectorAll(".board")];
const dark = matchMedia("(prefers-color-scheme: dark)");

function draw(board) {
  const style = getComputedStyle(document.documentElement);
  const [ink, soft] = ["--ink", "--soft"].map((name) => style.getPropertyValue(name));
  const words = { labelColor: ink, titleColor: ink };
  const axis = { ...words, gridColor: soft, domainColor: soft, tickColor: soft };
  const config = { axis, legend: words, text: { color: ink }, view: { stroke: soft } };
  for (const place of board.querySelectorAll("[data-chart]")) {
    vegaEmbed(place, charts[place.dataset.chart], { actions: false, renderer: "svg", config }).catch(console.error);
  }
}

function show() {
  const wanted = decodeURIComponent(location.hash.slice(1));
  const target = document.getElementById(wanted);
  const chosen = (target && target.closest(".board")) || boards[0];
  for (const board of boards) board.hidden = board !== chosen;
  for (const link of document.querySelectorAll("[data-board]")) {
    if (link.dataset.board === chosen?.id) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (!chosen) return;
  draw(chosen);
  if (target && target !== chosen) {
    if (target.tagName === "DETAILS") target.open = true;
    target.scrollIntoView();
  } else {
    scrollTo(0, 0);
  }
}

function sort(head) {
  const table = head.closest("table"), body = table.tBodies[0];
  const column = [...head.parentNode.children].indexOf(head);
  const down = head.getAttribute("aria-sort") === "ascending";
  for (const other of head.parentNode.children) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const key = (row) => row.cells[column].dataset.value;
  const compare = (a, b) => (a === "") - (b === "") || (isNaN(a) || isNaN(b) ? a.localeCompare(b) : a - b) * (down ? -1 : 1);
  for (const row of [...body.rows].sort((a, b) => compare(key(a), key(b)))) body.append(row);
}

for (const button of document.querySelectorAll(".sortable button")) button.addEventListener("click", () => sort(button.parentNode));
for (const input of document.querySelectorAll("[data-filter]")) {
  input.addEventListener("input", () => {
    const parts = input.value.split(/[\s,]+/).filter(Boolean);
    for (const row of document.getElementById(input.dataset.filter).querySelectorAll("tr[data-model]")) {
      row.hidden = parts.length > 0 && !parts.some((part) => row.dataset.model.includes(part));
    }
  });
}
addEventListener("hashchange", show);
dark.addEventListener("change", show);
show();
