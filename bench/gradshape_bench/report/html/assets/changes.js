// What changed since the earlier run: a count of each kind, and a list with the worst first.

const KINDS = ["worse", "broken", "missing", "not comparable", "undecided", "better", "same", "new", "unmeasured", "not gated"];

const CHANGE_COLUMNS = [
  { name: "change", key: (row) => KINDS.indexOf(cases.kind[row]), show: kindBadge, plain: (row) => cases.kind[row] },
  { name: "verdict", key: verdictStep, show: verdictChange, plain: (row) => `${oldSign(row) || "–"} → ${mark(row) || "–"}` },
  { name: "task", key: (row) => sectionAt(row).title },
  { name: "scale", key: (row) => sectionAt(row).scale },
  { name: "attack", key: attackAt },
  { name: "defence", key: defenseAt },
  { name: "metric", key: (row) => sectionAt(row).damage ?? "" },
  { name: "before", key: (row) => cases.old_value[row], show: (row) => number(cases.old_value[row]), numeric: true },
  { name: "now", key: (row) => cases.value[row], show: (row) => number(cases.value[row]), numeric: true },
  { name: "difference", key: (row) => cases.change[row], show: (row) => signed(cases.change[row]), numeric: true },
  { name: "interval", key: (row) => cases.change_low[row], show: (row) => interval(cases.change_low[row], cases.change_high[row]), numeric: true },
  { name: "how", key: (row) => cases.reason[row] },
];

const oldSign = (row) => signOf(cases.old_verdict[row], cases.old_missed[row], cases.old_expected[row]);

function kindBadge(row) {
  return element("span", { class: `badge kind-${cases.kind[row].replaceAll(" ", "-")}` }, cases.kind[row]);
}

// Cases that miss a threshold now and did not before come first, then the other way round.
function verdictStep(row) {
  if (!cases.old_verdict[row] || !cases.verdict[row]) return 0;
  return cases.old_missed[row] - cases.missed[row];
}

function verdictChange(row) {
  const [old, now] = [oldSign(row) || "–", mark(row) || "–"];
  const turned = verdictStep(row);
  return element("span", { class: turned < 0 ? "turned bad" : turned > 0 ? "turned good" : "" }, `${old} → ${now}`);
}

function startChanges() {
  const list = new CaseList(byId("change-list"), CHANGE_COLUMNS, "what changed");
  return (rows) => {
    const counts = new Map(KINDS.map((kind) => [kind, 0]));
    for (const row of rows) counts.set(cases.kind[row], counts.get(cases.kind[row]) + 1);
    byId("change-kinds").replaceChildren(...[...counts].filter(([kind, count]) => count || filter.kind === kind).map(([kind, count]) => {
      const press = () => changeFilter("kind", filter.kind === kind ? "" : kind);
      return element("button", { type: "button", class: `chip kind-${kind.replaceAll(" ", "-")}`, "aria-pressed": String(filter.kind === kind), onclick: press },
        element("b", {}, grouped(count)), ` ${kind}`);
    }));
    const worstFirst = [...rows].sort((one, other) =>
      verdictStep(one) - verdictStep(other) ||
      KINDS.indexOf(cases.kind[one]) - KINDS.indexOf(cases.kind[other]) ||
      Math.abs(cases.change[other] ?? 0) - Math.abs(cases.change[one] ?? 0));
    list.show(worstFirst);
    return list;
  };
}
