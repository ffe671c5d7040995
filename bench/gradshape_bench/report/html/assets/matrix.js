// The matrix: for each data set, model and protocol a table of attacks against defences, drawn once it comes into sight.

// By section: which line is sorted by, {of: "defense" | "attack" | "label", key, falling}.
const sorting = new Map();
// Cells that are drawn at once; the rows below follow as they come into sight.
const CELLS_AT_ONCE = 1200;
let watcher = null;
const drawers = new WeakMap();

function drawMatrix(rows) {
  const place = byId("matrix");
  watcher?.disconnect();
  watcher = new IntersectionObserver(
    (entries) => entries.filter((entry) => entry.isIntersecting).forEach(({ target }) => {
      watcher.unobserve(target);
      drawers.get(target)?.();
    }),
    { rootMargin: "700px" },
  );
  place.replaceChildren(...bySection(rows).map(([section, found]) => sectionBlock(section, found)));
  place.querySelectorAll(".later").forEach((later) => watcher.observe(later));
}

function bySection(rows) {
  const groups = new Map();
  for (const row of rows) {
    const section = sectionAt(row);
    if (!groups.has(section)) groups.set(section, []);
    groups.get(section).push(row);
  }
  return [...groups];
}

function sectionBlock(section, rows) {
  const block = element("section", { class: "task", id: `section-${section.place}`, "aria-labelledby": `title-${section.place}` });
  const body = element("div", { class: "later" });
  const lines = new Set(rows.map((row) => cases.attack[row])).size;
  body.style.minHeight = `${46 * (lines + 2)}px`;
  drawers.set(body, () => drawGrid(body, section, rows));
  block.append(sectionHead(section, rows), body);
  return block;
}

function sectionHead(section, rows) {
  const metric = SHOWN[view.shown].metric(section);
  const known = metric && definitions.get(metric);
  const figures = figuresOf(section);
  return element(
    "header",
    {},
    element("h2", { id: `title-${section.place}` }, element("span", { class: "name" }, breakable(section.task)), element("span", { class: "protocol" }, section.protocol)),
    element("p", { class: "tags" },
      element("span", { class: "tag" }, `${section.scale} scale`),
      section.threat !== "none" && element("span", { class: "tag" }, section.threat),
      element("span", { class: "quietly" }, counted(rows.length, "case")),
      outcomeBar(rows),
      figures.length ? element("button", { type: "button", class: "quiet", onclick: () => showFiguresOf(section) }, counted(figures.length, "figure")) : "",
      copyButton("Copy table", "The table", () => sectionAsMarkdown(section, gridOf(section, rows))),
    ),
    element("details", { class: "metric" }, element("summary", {},
      `${view.shown === "damage" ? section.words : sentence(SHOWN[view.shown].words)}: `,
      metric ? element("code", {}, metric, arrow(metric) && ` ${arrow(metric)}`) : "not measured",
      metric && `, with ${percent(section.confidence)} intervals`),
      known && element("p", {}, element("code", {}, metric), ` ${known[0]}`),
      meanings.has(section.protocol) && element("p", {}, element("code", {}, section.protocol), ` ${meanings.get(section.protocol)}`),
    ),
  );
}

function outcomeBar(rows) {
  const counts = countOutcomes(rows);
  const words = [...counts].map(([name, count]) => `${count} ${OUTCOMES.get(name)}`).join(", ");
  const bar = element("span", { class: "bar", role: "img", "aria-label": words, title: words });
  for (const [name, count] of counts) {
    const part = element("span", { class: `share is-${name}` });
    part.style.flexGrow = count;
    bar.append(part);
  }
  return bar;
}

function countOutcomes(rows) {
  const counts = new Map([...OUTCOMES.keys()].map((name) => [name, 0]));
  for (const row of rows) counts.set(outcome(row), counts.get(outcome(row)) + 1);
  return new Map([...counts].filter(([, count]) => count));
}

// Returns the attacks, the defences and the rows at "attack,defence", in the order that the section is sorted by.
function gridOf(section, rows) {
  const found = new Map();
  const attacks = new Set();
  const defenses = new Set();
  for (const row of rows) {
    const key = `${cases.attack[row]},${cases.defense[row]}`;
    if (!found.has(key)) found.set(key, []);
    found.get(key).push(row);
    attacks.add(cases.attack[row]);
    defenses.add(cases.defense[row]);
  }
  const grid = {
    rows: found,
    attacks: section.attacks.filter((attack) => attacks.has(attack)),
    defenses: section.defenses.filter((defense) => defenses.has(defense)),
  };
  const by = sorting.get(section);
  if (by?.of === "label") grid.attacks.reverse();
  if (by?.of === "defense") sortBy(grid.attacks, (attack) => shownAt(grid, attack, by.key), by.falling);
  if (by?.of === "attack") sortBy(grid.defenses, (defense) => shownAt(grid, by.key, defense), by.falling);
  return grid;
}

function shownAt(grid, attack, defense) {
  const rows = grid.rows.get(`${attack},${defense}`);
  return rows ? cases[SHOWN[view.shown].column][rows[0]] : null;
}

// Sorts in place; what has no number comes last either way.
function sortBy(items, value, falling) {
  const known = new Map(items.map((item) => [item, value(item)]));
  items.sort((one, other) => {
    const [a, b] = [known.get(one), known.get(other)];
    if (a === null || b === null) return (a === null) - (b === null);
    return falling ? b - a : a - b;
  });
}

function drawGrid(body, section, rows, focus = null) {
  const grid = gridOf(section, rows);
  const table = element("table", {
    role: "grid",
    class: byId("intervals").checked ? "" : "bare",
    "aria-labelledby": `title-${section.place}`,
    "aria-rowcount": grid.attacks.length + 1,
    "aria-colcount": grid.defenses.length + 1,
  });
  const lines = element("tbody");
  table.append(gridHead(section, grid), lines);
  const scroller = element("div", { class: "scroller" }, table);
  body.classList.remove("later");
  body.style.minHeight = "";
  body.replaceChildren(scroller);
  const moreRows = startRows(lines, section, grid);
  const activate = (cell) => {
    if (cell.dataset.row !== undefined) openCase(Number(cell.dataset.row), cell);
    else if (cell.dataset.sort) {
      resort(section, cell.dataset.sort);
      drawGrid(body, section, rows, cell.dataset.sort);
      say(`Sorted by ${cell.innerText.split("\n")[0]}`);
    }
  };
  startGridKeys(table, { moreRows, activate });
  if (focus !== null) [...table.querySelectorAll("th")].find((cell) => cell.dataset.sort === focus)?.focus();
}

// A sort is named "defense,3", "attack,5" or "label,": the first time numbers fall, then they rise, then it is undone.
function resort(section, name) {
  const [of, key] = name.split(",");
  const by = sorting.get(section);
  const same = by && by.of === of && (of === "label" || by.key === Number(key));
  if (same && (of === "label" || !by.falling)) sorting.delete(section);
  else sorting.set(section, { of, key: Number(key), falling: !same });
}

function gridHead(section, grid) {
  const by = sorting.get(section);
  const kinds = new Map(section.defenses.map((defense, place) => [defense, section.kinds[place]]));
  const corner = element("th", {
    class: "corner", scope: "col", tabindex: "-1", "data-sort": "label,",
    "aria-sort": by?.of === "label" ? "descending" : by?.of === "defense" ? "none" : "ascending",
  }, "attack ╲ defence");
  const columns = grid.defenses.map((defense) => {
    const sorted = by?.of === "defense" && by.key === defense;
    return element("th", {
      scope: "col", tabindex: "-1", "data-sort": `defense,${defense}`,
      title: "Sort the attacks by this defence",
      "aria-sort": sorted ? (by.falling ? "descending" : "ascending") : "none",
    }, element("span", { class: "label" }, breakable(board.defenses[defense], 12)), kinds.get(defense) && kinds.get(defense) !== "none" ? element("span", { class: "kind" }, kinds.get(defense)) : "");
  });
  const head = element("thead", {}, element("tr", {}, corner, columns));
  const costs = view.shown === "damage" && section.cost ? costRow(section, grid) : null;
  if (costs) head.append(costs);
  return head;
}

// What each defence costs without poison, where its cases of this section agree.
function costRow(section, grid) {
  const known = new Map();
  for (const [, rows] of grid.rows) {
    for (const row of rows) {
      const cost = cases.cost[row];
      if (cost === null) continue;
      const [low, high] = known.get(cases.defense[row]) ?? [cost, cost];
      known.set(cases.defense[row], [Math.min(low, cost), Math.max(high, cost)]);
    }
  }
  if (!known.size) return null;
  const cells = grid.defenses.map((defense) => {
    const ends = [...new Set((known.get(defense) ?? []).map((end) => number(end)))];
    return element("td", { role: "gridcell", tabindex: "-1", class: "cost" }, ends.join(" to "));
  });
  return element("tr", { class: "costs" }, element("th", { scope: "row", tabindex: "-1", title: "What the defence costs without poison" }, section.cost.replaceAll("_", " "), " ↓"), cells);
}

// Draws the first rows of a grid; returns what draws more and says whether there were any.
function startRows(lines, section, grid) {
  const step = Math.max(4, Math.floor(CELLS_AT_ONCE / Math.max(1, grid.defenses.length)));
  const sentinel = element("tr", { class: "sentinel", "aria-hidden": "true" }, element("td", { colspan: grid.defenses.length + 1 }));
  let shown = 0;
  const more = () => {
    if (shown >= grid.attacks.length) return false;
    const made = grid.attacks.slice(shown, shown + step).map((attack) => gridRow(section, grid, attack));
    shown += made.length;
    sentinel.remove();
    lines.append(...made);
    if (shown < grid.attacks.length) {
      lines.append(sentinel);
      drawers.set(sentinel, more);
      watcher.observe(sentinel);
    }
    return true;
  };
  more();
  return more;
}

function gridRow(section, grid, attack) {
  const by = sorting.get(section);
  const sorted = by?.of === "attack" && by.key === attack;
  const weak = section.weak.includes(attack);
  const head = element("th", {
    scope: "row", tabindex: "-1", "data-sort": `attack,${attack}`,
    title: weak ? "Does no more to vanilla than its control. Sort the defences by this attack" : "Sort the defences by this attack",
    "aria-sort": sorted ? (by.falling ? "descending" : "ascending") : null,
  }, element("span", { class: "label" }, breakable(board.attacks[attack], 22)), weak ? " ‡" : "", section.controls.includes(attack) ? element("span", { class: "kind" }, "control") : "");
  const best = section.best[attack];
  const cells = grid.defenses.map((defense) => matrixCell(grid.rows.get(`${attack},${defense}`), view.shown !== "change" && best === defense));
  return element("tr", {}, head, cells);
}
