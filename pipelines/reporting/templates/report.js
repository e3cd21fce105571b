const { kinds, charts } = JSON.parse(document.getElementById("charts").textContent);
const views = [...document.querySelectorAll(".view")];
const dark = matchMedia("(prefers-color-scheme: dark)");
let turn = 0; // of the view: a later one ends the drawing of an earlier one

function look(width) {
  const style = getComputedStyle(document.documentElement);
  const [ink, soft, paper] = ["--ink", "--soft", "--paper"].map((name) => style.getPropertyValue(name));
  const words = { labelColor: ink, titleColor: ink, labelFontSize: 12, titleFontSize: 12, titleFontWeight: 500 };
  const axis = { ...words, gridColor: soft, gridOpacity: 0.6, domainColor: soft, tickColor: soft, labelLimit: 140 };
  const legend = { ...words, orient: "bottom", columns: Math.max(2, Math.floor(width / 130)), symbolLimit: 0, layout: { bottom: { anchor: "start", direction: "vertical" } } };
  return { font: "system-ui, sans-serif", axis, legend, text: { color: ink, fontSize: 12 }, view: { stroke: null }, background: paper };
}

function wanted(place) {
  const { kind, rows } = charts[place.dataset.chart];
  const by = place.dataset.by?.split(" ") ?? [];
  const hidden = new Set([...place.closest(".view").querySelectorAll("tr[data-model][hidden]")].map((row) => row.dataset.model));
  const values = hidden.size ? rows.filter((row) => !by.some((field) => hidden.has(row[field]))) : rows;
  return { ...kinds[kind], description: place.getAttribute("aria-label"), data: { values } };
}

async function draw(place) {
  if (!place.clientWidth) return; // in what is closed
  place.dataset.drawn = "yes";
  const options = { actions: false, renderer: "svg", config: look(place.clientWidth) };
  try {
    await vegaEmbed(place, wanted(place), options);
  } catch (error) {
    console.error(place.dataset.chart, error);
  }
}

async function drawAll(view, again = false) {
  const mine = ++turn;
  for (const place of view.querySelectorAll("[data-chart]")) {
    if (again) delete place.dataset.drawn;
  }
  for (const place of view.querySelectorAll("[data-chart]:not([data-drawn])")) {
    if (mine !== turn) return;
    await draw(place);
    await new Promise((done) => setTimeout(done));
  }
  if (mine === turn) view.dataset.drawn = "all";
}

function show(event) {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const view = target?.closest(".view") ?? views[0];
  for (const each of views) each.hidden = each !== view;
  for (const link of document.querySelectorAll("[data-view]")) {
    if (link.dataset.view === view.id) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (target?.tagName === "DETAILS") target.open = true;
  drawAll(view);
  if (!event && performance.getEntriesByType("navigation")[0]?.type === "reload") return; // --watch: stay where one reads
  if (target && target !== view) target.scrollIntoView();
  else scrollTo(0, 0);
}

function sort(head) {
  const body = head.closest("table").tBodies[0];
  const column = [...head.parentNode.children].indexOf(head);
  const down = head.getAttribute("aria-sort") === "ascending";
  for (const other of head.parentNode.children) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const key = (row) => row.cells[column].dataset.value;
  const compare = (a, b) => (a === "") - (b === "") || (isNaN(a) || isNaN(b) ? a.localeCompare(b) : a - b) * (down ? -1 : 1);
  for (const row of [...body.rows].sort((a, b) => compare(key(a), key(b)))) body.append(row);
}

function filter(view) {
  const value = (name) => view.querySelector(`[data-filter="${name}"]`).value;
  const names = value("name").split(/[\s,]+/).filter(Boolean);
  const [family, year, size] = ["family", "year", "size"].map(value);
  const rows = [...view.querySelectorAll("tr[data-model]")];
  for (const row of rows) {
    const { model, ...of } = row.dataset;
    const named = !names.length || names.some((part) => model.includes(part));
    const fits = (!family || of.family === family) && (!year || (of.year && +of.year >= +year)) && (!size || +of.size <= +size);
    row.hidden = !(named && fits);
  }
  count(view);
  clearTimeout(view.later);
  view.later = setTimeout(() => drawAll(view, true), 250);
}

function count(view) {
  const rows = [...view.querySelectorAll("tr[data-model]")];
  const status = view.querySelector('[role="status"]');
  if (status) status.textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} models`;
}

function chooseCost(select) {
  const view = select.closest(".view");
  for (const each of view.querySelectorAll("[data-cost]")) each.hidden = each.dataset.cost !== select.value;
  if (!view.hidden) drawAll(view);
}

for (const button of document.querySelectorAll(".sortable button")) button.addEventListener("click", () => sort(button.parentNode));
for (const view of views) {
  count(view);
  if ([...view.querySelectorAll("[data-filter]")].some((input) => input.value)) filter(view); // kept by a reload
  for (const input of view.querySelectorAll("[data-filter]")) input.addEventListener("input", () => filter(view));
  for (const details of view.querySelectorAll("details")) details.addEventListener("toggle", () => details.open && drawAll(view));
}
for (const select of document.querySelectorAll("[data-costs]")) {
  select.addEventListener("change", () => chooseCost(select));
  chooseCost(select);
}
addEventListener("hashchange", show);
dark.addEventListener("change", () => views.forEach((view) => view.hidden || drawAll(view, true)));
show();
