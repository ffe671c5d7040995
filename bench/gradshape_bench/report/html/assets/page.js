// What happens when.

const current = { rows: [] };
const VIEWS = ["matrix", "list", "changes", "figures", "legend"];
let lists = {};

function changeFilter(name, value) {
  filter[name] = value;
  const choice = byId(`by-${name}`);
  if (choice && choice.value !== value) choice.value = value;
  apply();
}

// Filters, and draws the view that is shown; the others are drawn once they are.
function apply() {
  performance.mark("gradshape-filter-begins");
  current.rows = filteredRows();
  writeAddress();
  drawOverview(current.rows);
  drawView();
  // Layout is part of what a reader waits for.
  document.body.getBoundingClientRect();
  performance.measure("gradshape-filter", "gradshape-filter-begins");
}

function drawView() {
  const { rows } = current;
  byId("nothing").hidden = rows.length > 0;
  byId("nothing").textContent = caseCount ? "No case passes these filters." : "The results file holds no results yet: run a suite, and this page is made at its end.";
  if (view.name === "matrix") drawMatrix(rows);
  if (view.name === "list") (lists.cases ??= new CaseList(byId("list"), CASE_COLUMNS, "cases")).show(rows);
  if (view.name === "changes") lists.changes = (lists.drawChanges ??= startChanges())(rows);
  if (view.name === "figures") drawFigures(rows);
}

function show(name) {
  view.name = VIEWS.includes(name) && !byId(`tab-${name}`).hidden ? name : "matrix";
  for (const other of VIEWS) {
    const tab = byId(`tab-${other}`);
    tab.setAttribute("aria-selected", String(other === view.name));
    tab.setAttribute("tabindex", other === view.name ? "0" : "-1");
    byId(`view-${other}`).hidden = other !== view.name;
  }
  document.body.dataset.view = view.name;
  apply();
}

function startTabs() {
  byId("tab-changes").hidden = !board.compared;
  byId("tab-figures").hidden = !board.figures.length;
  const tabs = VIEWS.map((name) => byId(`tab-${name}`)).filter((tab) => !tab.hidden);
  tabs.forEach((tab, place) => {
    tab.addEventListener("click", () => show(tab.dataset.view));
    tab.addEventListener("keydown", (event) => {
      const to = { ArrowLeft: place - 1, ArrowRight: place + 1, Home: 0, End: tabs.length - 1 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      const next = tabs[(to + tabs.length) % tabs.length];
      show(next.dataset.view);
      next.focus();
    });
  });
}

function startControls() {
  fillChoices();
  byId("by-text").addEventListener("input", (event) => changeFilter("text", event.target.value));
  for (const name of ["scale", "task", "protocol", "threat", "attack", "defense", "outcome"]) {
    byId(`by-${name}`).addEventListener("change", (event) => changeFilter(name, event.target.value));
  }
  byId("reset").addEventListener("click", () => {
    for (const name of Object.keys(filter)) filter[name] = "";
    document.querySelectorAll("#filters select, #by-text").forEach((control) => { control.value = ""; });
    apply();
    byId("by-text").focus();
  });
  for (const [name, { words }] of Object.entries(SHOWN)) {
    if (name !== "change" || board.compared) byId("shown").append(option(name, words));
  }
  byId("shown").addEventListener("change", (event) => { view.shown = event.target.value; apply(); });
  byId("intervals").addEventListener("change", drawView);
  byId("copy").addEventListener("click", () => copy(viewAsMarkdown(), "What is shown"));
}

// The rows as the view that is shown has them, which may be sorted.
function rowsInOrder() {
  const list = { list: lists.cases, changes: lists.changes }[view.name];
  return list ? list.rows : current.rows;
}

function viewAsMarkdown() {
  if (view.name === "list") return lists.cases.markdown();
  if (view.name === "changes") return lists.changes.markdown();
  return bySection(current.rows).map(([section, rows]) => sectionAsMarkdown(section, gridOf(section, rows))).join("\n\n");
}

function startKeys() {
  document.addEventListener("keydown", (event) => {
    const typing = event.target.matches?.("input, select, textarea");
    if (event.key === "Escape" && event.target === byId("by-text") && filter.text) {
      event.target.value = "";
      changeFilter("text", "");
    }
    if (typing || event.ctrlKey || event.altKey || event.metaKey || byId("case").open) return;
    if (event.key === "/") {
      event.preventDefault();
      byId("by-text").focus();
    }
    if (event.key === "?") show("legend");
  });
}

function readView() {
  readAddress();
  if (!(view.shown in SHOWN) || (view.shown === "change" && !board.compared)) view.shown = "damage";
  byId("shown").value = view.shown;
  const wanted = view.open;
  show(view.name);
  const row = wanted ? rowOfKey(wanted) : null;
  if (row !== null) openCase(row);
  else if (byId("case").open) byId("case").close();
}

function start() {
  startTheme();
  startTabs();
  startControls();
  startPanel();
  startKeys();
  readView();
  addEventListener("hashchange", readView);
  document.body.getBoundingClientRect();
  performance.measure("gradshape-open", { start: 0, end: performance.now() });
  // The first letter that is typed need not wait for the texts that are searched.
  (globalThis.requestIdleCallback ?? setTimeout)(searchedTexts);
}

start();
