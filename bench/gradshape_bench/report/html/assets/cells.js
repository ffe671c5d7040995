// What a cell of the matrix says, and its colour.

// Returns number, interval and mark of what is shown, as text.
function cellText(row) {
  if (isMissing(row)) return ["missing", "", ""];
  if (cases.status[row]) return [statusAt(row), "", ""];
  if (view.shown === "change") {
    const kind = cases.kind[row];
    const value = cases.change[row];
    if (kind === "same") return ["=", "", mark(row)];
    if (value === null) return [kind, "", mark(row)];
    return [signed(value), interval(cases.change_low[row], cases.change_high[row]), mark(row)];
  }
  if (view.shown !== "damage") return [number(cases[SHOWN[view.shown].column][row]) || "–", "", mark(row)];
  if (cases.value[row] === null) return [cases.n[row] === 0 && sectionAt(row).damage ? "no target" : "no value", "", mark(row)];
  return [number(cases.value[row]), interval(cases.low[row], cases.high[row]), mark(row)];
}

// Returns how strongly a value is coloured, in [-100, 100]: the same value has the same colour on every page.
function heat(row) {
  const section = sectionAt(row);
  const value = cases[SHOWN[view.shown].column][row];
  if (value === null || value === undefined || !section.ranks) return 0;
  const metric = SHOWN[view.shown].metric(section) ?? "";
  const ratio = metric.startsWith("mse_ratio") && view.shown !== "change";
  if (ratio && value <= 0) return -100;
  const strength = ratio ? Math.log10(value) : value;
  return Math.sign(strength) * Math.round(100 * Math.sqrt(Math.min(1, Math.abs(strength))));
}

function matrixCell(rows, best) {
  if (!rows) return element("td", { role: "gridcell", tabindex: "-1", class: "empty" }, "·");
  const row = rows[0];
  const [value, range, sign] = cellText(row);
  const warmth = heat(row);
  const classes = ["cell", `is-${outcome(row)}`];
  if (best) classes.push("best");
  if (warmth) classes.push(warmth > 0 ? "warm" : "cool");
  if (cases.status[row] || isMissing(row)) classes.push("state");
  const words = `${attackAt(row)}, ${defenseAt(row)}: ${[value, range].join(" ").trim()}, ${verdictInWords(row)}`;
  const made = element(
    "td",
    { role: "gridcell", tabindex: "-1", class: classes.join(" "), "data-row": row, "aria-label": words },
    element("span", { class: "value" }, value),
    sign && element("span", { class: "mark" }, sign),
    rows.length > 1 ? element("span", { class: "more" }, `+${rows.length - 1}`) : "",
    range && element("span", { class: "range" }, range),
  );
  if (warmth) made.style.setProperty("--heat", `${Math.abs(warmth) * 0.62}%`);
  return made;
}
