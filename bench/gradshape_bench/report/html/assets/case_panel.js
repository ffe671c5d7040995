// The panel of one case, which opens over the page.

const panel = { row: null, metric: null, others: null, opener: null };

function openCase(row, opener = null) {
  const dialog = byId("case");
  if (opener) panel.opener = opener;
  // Another case of the same section keeps what is being looked at.
  if (panel.row === null || sectionOf[panel.row] !== sectionOf[row] || !dialog.open) {
    panel.metric = null;
    panel.others = null;
  }
  panel.row = row;
  view.open = keyOf(row);
  writeAddress();
  drawCase();
  if (!dialog.open) dialog.showModal();
  byId("case-title").focus();
  dialog.scrollTop = 0;
}

function startPanel() {
  const dialog = byId("case");
  dialog.addEventListener("close", () => {
    view.open = "";
    writeAddress();
    const opener = panel.opener?.isConnected ? panel.opener : document.querySelector(`[data-row="${panel.row}"]`);
    // The browser has put the focus back already, unless nothing had it; this event comes later, after other keys even.
    if (document.activeElement === document.body) opener?.focus();
  });
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
  dialog.addEventListener("keydown", (event) => {
    if (event.target.matches("select, input, textarea") || event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key === "ArrowLeft") neighbour(-1);
    if (event.key === "ArrowRight") neighbour(1);
  });
  byId("case-close").addEventListener("click", () => dialog.close());
  byId("case-previous").addEventListener("click", () => neighbour(-1));
  byId("case-next").addEventListener("click", () => neighbour(1));
}

function neighbour(step) {
  const rows = rowsInOrder();
  const place = rows.indexOf(panel.row);
  const row = rows[place + step];
  if (place >= 0 && row !== undefined) openCase(row);
}

function drawCase() {
  const { row } = panel;
  const section = sectionAt(row);
  const record = documentAt(row);
  const rows = rowsInOrder();
  const place = rows.indexOf(row);
  byId("case-previous").disabled = place <= 0;
  byId("case-next").disabled = place < 0 || place === rows.length - 1;
  byId("case-place").textContent = place < 0 ? "" : `${grouped(place + 1)} of ${grouped(rows.length)}`;
  byId("case-title").replaceChildren(...breakable(attackAt(row)), " ", element("span", { class: "quietly" }, "against"), " ", ...breakable(defenseAt(row)));
  const names = metricNames(record);
  panel.metric = names.includes(panel.metric) ? panel.metric : names.includes(section.damage) ? section.damage : names[0] ?? null;
  panel.others ??= section.defenses.filter((defense) => board.defenses[defense] === VANILLA && defense !== cases.defense[row]);
  byId("case-body").replaceChildren(...[
    caseHead(row, record, section),
    board.compared ? changePart(row) : null,
    thresholdPart(record),
    panel.metric ? curvePart(row, record, section, names) : null,
    panel.metric ? seedPart(record) : null,
    names.length ? metricPart(row, record, names) : null,
    factPart(record),
    rerunPart(record),
    recordPart(row, record),
  ].filter(Boolean));
}

const metricNames = (record) => Object.keys(record.metrics).filter((name) => record.metrics[name].n);
const part = (title, ...content) => element("section", { class: "part" }, element("h3", {}, title), content);

function caseHead(row, record, section) {
  return element("div", { class: "case-head" },
    element("span", { class: `badge big is-${outcome(row)}` }, `${mark(row)} ${verdictInWords(row)}`.trim()),
    element("span", {}, section.title),
    element("span", { class: "tag" }, `${section.scale} scale`),
    section.threat !== "none" && element("span", { class: "tag" }, section.threat),
    isMissing(row) && element("p", { class: "reason" }, "This case has no record now: what is shown is the earlier one."),
    record.reason && element("p", { class: "reason" }, record.reason),
    record.expected_failure && element("p", { class: "reason" }, `† Expected to miss a threshold: ${record.expected_failure}`),
  );
}

function thresholdPart(record) {
  if (!record.thresholds.length) return part("Thresholds", element("p", { class: "quietly" }, "This case asserts nothing."));
  const reasons = record.thresholds.some((threshold) => threshold.reason);
  const lines = record.thresholds.map((threshold) => {
    const found = record.metrics[threshold.metric];
    const kind = { PASS: "pass", FAIL: "fail", INCONCLUSIVE: "open" }[threshold.verdict] ?? "none";
    const decides = threshold.verdict === "INCONCLUSIVE" ? (threshold.met ? "the value meets it" : "the value misses it") : "";
    return element("tr", {},
      element("td", {}, element("code", {}, `${threshold.metric} ${threshold.op} ${threshold.bound}`)),
      element("td", { class: "numeric" }, number(found.value, 4), " ", element("span", { class: "quietly" }, interval(threshold.low, threshold.high, 4))),
      element("td", {}, element("span", { class: `badge is-${kind}` }, threshold.verdict), decides && element("span", { class: "quietly" }, ` ${decides}`)),
      reasons ? element("td", {}, threshold.reason ?? "") : null);
  });
  const looks = record.looks.length > 1 ? element("p", { class: "quietly" }, `Looked at with ${record.looks.join(", ")} seeds, of ${record.planned_looks} looks planned.`) : null;
  return part("Thresholds", element("div", { class: "scroller" }, element("table", { class: "facts" },
    element("thead", {}, element("tr", {}, ["threshold", `measured, ${percent(1 - (1 - record.confidence) / record.planned_looks)} interval`, "verdict", ...(reasons ? ["reason"] : [])].map((text) => element("th", { scope: "col" }, text)))),
    element("tbody", {}, lines))), looks);
}

function curvePart(row, record, section, names) {
  const chooser = element("select", { id: "case-metric", onchange: (event) => { panel.metric = event.target.value; drawCase(); byId("case-metric").focus(); } },
    names.map((name) => option(name, name, name === panel.metric)));
  const known = definitions.get(panel.metric.replace(/_(best|last)$/, ""));
  const open = (other) => openCase(other);
  const over = intensityChart(row, record, panel.metric, panel.others, open);
  const beside = defenseChart(row, record, panel.metric, open);
  return element("section", { class: "part" },
    element("h3", {}, over ? "Over intensities" : "Beside the other defences"),
    element("p", { class: "chooser" }, element("label", { for: "case-metric" }, "Metric "), chooser, " ", arrow(panel.metric), known && element("span", { class: "quietly" }, ` ${known[0]}`)),
    over ? [over, legend(row, section)] : element("p", { class: "quietly" }, "No curve: this attack was run with one intensity only."),
    over && beside ? element("h3", {}, "Beside the other defences") : null,
    beside ?? (over ? null : element("p", { class: "quietly" }, "No other defence was run against it.")));
}

// The defences of the curves; each but the case's own can be taken in and out.
function legend(row, section) {
  const own = [element("span", { class: "chip own" }, defenseAt(row))];
  if (board.compared) own.push(element("span", { class: "chip before" }, `${defenseAt(row)} before`));
  const others = section.defenses.filter((defense) => defense !== cases.defense[row]).map((defense) => {
    const place = panel.others.indexOf(defense);
    const press = () => {
      if (place < 0) panel.others.push(defense);
      else panel.others.splice(place, 1);
      drawCase();
      byId("case-body").querySelector(`button[value="${defense}"]`)?.focus();
    };
    return element("button", { type: "button", value: defense, class: `chip ${place < 0 ? "" : `look-${1 + (place % 6)}`}`, "aria-pressed": String(place >= 0), onclick: press }, board.defenses[defense]);
  });
  return element("div", { class: "legend", role: "group", "aria-label": "Defences on the chart" }, own, others);
}

function seedPart(record) {
  const found = record.metrics[panel.metric];
  const title = `Single seeds: ${panel.metric}`;
  const values = found.values ?? [];
  if (!values.length) {
    const seeds = counted(record.seeds.length, "seed");
    const one = found.n === 1 && record.seeds.length === 1;
    const words = one ? `One seed: ${number(found.value, 4)}.` : `The values of ${seeds} are not recorded one by one: older versions kept none.`;
    return part(title, element("p", { class: "quietly" }, words));
  }
  const bySeed = values.length === record.seeds.length;
  const labels = values.map((_, place) => (bySeed ? `seed ${asJson(record.seeds[place])}` : `trial ${place + 1}`));
  const chart = seedChart({ values, labels, estimate: found, title: bySeed ? "one dot a seed; the line is the mean, the band its interval" : "one dot a trial; the line is the rate, the band its interval" });
  const listed = values.slice(0, 60).map((value, place) => element("li", {}, element("span", { class: "quietly" }, `${labels[place]} `), number(value, 4)));
  return part(title, chart, element("ul", { class: "seeds" }, listed, values.length > 60 && element("li", {}, `and ${values.length - 60} more, in the record below`)));
}

function metricPart(row, record, names) {
  const before = board.compared && !isMissing(row) ? documentAt(row, "before") : null;
  const headers = ["metric", "value", "interval", ...(before ? ["before"] : []), "n", "interval by"];
  const words = { student: "Student's t", student_unit: "Student's t, within [0, 1]", wilson: "Wilson's score", wider: "the wider of Student's t and Wilson's score" };
  const lines = names.map((name) => {
    const found = record.metrics[name];
    const old = before?.metrics?.[name];
    const known = definitions.get(name.replace(/_(best|last)$/, ""));
    return element("tr", {},
      element("td", {}, element("code", { title: known ? known[0] : null }, name), " ", arrow(name)),
      element("td", { class: "numeric" }, number(found.value, 4)),
      element("td", { class: "numeric quietly" }, interval(found.low, found.high, 4)),
      before ? element("td", { class: "numeric" }, old ? number(old.value, 4) : "") : null,
      element("td", { class: "numeric" }, grouped(found.n)),
      element("td", { class: "quietly" }, words[found.method] ?? ""));
  });
  return element("details", { class: "part" }, element("summary", {}, `All ${counted(names.length, "metric")}`),
    element("div", { class: "scroller" }, element("table", { class: "facts" },
      element("thead", {}, element("tr", {}, headers.map((text) => element("th", { scope: "col" }, text)))), element("tbody", {}, lines))));
}

function changePart(row) {
  const [value, range] = [signed(cases.change[row], 4), interval(cases.change_low[row], cases.change_high[row], 4)];
  return part("Since the earlier run",
    element("p", {}, kindBadge(row), " ", value && element("b", {}, value), " ", element("span", { class: "quietly" }, range), " ", cases.reason[row]),
    cases.old_value[row] !== null && element("p", { class: "quietly" }, `before ${number(cases.old_value[row], 4)} ${interval(cases.old_low[row], cases.old_high[row], 4)} ${oldSign(row)}; now ${number(cases.value[row], 4)} ${interval(cases.low[row], cases.high[row], 4)} ${mark(row)}`));
}

function factPart(record) {
  const text = (value) => {
    if (typeof value === "string") return value;
    if (Array.isArray(value)) return value.map(text).join(", ") || "none";
    return value === null ? "none" : asJson(value);
  };
  const plain = (value) => value === null || typeof value !== "object" || Array.isArray(value) || isInteger(value);
  const short = Object.entries(record.details).filter(([, value]) => plain(value) && text(value).length <= 120);
  const facts = [
    ["seeds", text(record.seeds)],
    ["rows", record.dataset_fingerprint ? `data ${record.dataset_fingerprint.slice(0, 12)}` : "never loaded"],
    ["computing time", `${number(record.seconds, 1)} s${record.jobs === null ? "" : `, ${counted(record.jobs, "job")}, ${grouped(record.cached_jobs ?? 0)} from the cache`}`],
    ...Object.entries(record.costs).map(([name, seconds]) => [`a job of ${name}`, `${number(seconds, 3)} s`]),
    ...short.map(([name, value]) => [name.replaceAll("_", " "), text(value)]),
    ...Object.entries(record.environment).map(([name, value]) => [name, text(value)]),
  ];
  return element("details", { class: "part" }, element("summary", {}, "How it was run"),
    element("dl", { class: "pairs" }, facts.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value)))));
}

function rerunPart(record) {
  const command = rerunCommand(record);
  return part("Run it again", element("div", { class: "command" }, element("code", {}, command), copyButton("Copy", "The command", () => command)));
}

function recordPart(row, record) {
  const made = element("details", { class: "part" }, element("summary", {}, "The record as JSON"));
  // Long records are written out once somebody looks.
  made.addEventListener("toggle", () => {
    if (made.open && made.children.length === 1) made.append(element("pre", { tabindex: "0" }, asJson(record)));
  });
  return element("div", {}, made, element("p", { class: "actions" },
    copyButton("Copy record", "The record", () => asJson(record)),
    copyButton("Copy as Markdown", "The case", () => caseAsMarkdown(row, record)),
    copyButton("Copy id", "The id", () => record.case)));
}
