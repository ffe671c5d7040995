// Which records a curve goes through.

const NUMBER = /\d+(?:\.\d+)?(?:e[+-]?\d+)?/g;
const VANILLA = "vanilla";
const cellsOf = new Map();

// Returns the first row of each attack and defence of a section, at "attack,defence".
function rowsByCell(section) {
  if (!cellsOf.has(section)) {
    const found = new Map();
    for (let row = section.end - 1; row >= section.first; row -= 1) {
      found.set(`${cases.attack[row]},${cases.defense[row]}`, row);
    }
    cellsOf.set(section, found);
  }
  return cellsOf.get(section);
}

// Returns the attacks of the section whose labels differ from this one's in one number only, by that number. If that
// can be said of several numbers, the one that takes most values is the intensity.
function sweep(section, attack) {
  const label = board.attacks[attack];
  const own = label.match(NUMBER) ?? [];
  const skeleton = label.replace(NUMBER, "#");
  const alike = section.attacks.filter((other) => board.attacks[other].replace(NUMBER, "#") === skeleton);
  let best = { members: [{ attack, x: Number(own[own.length - 1] ?? 0) }], name: skeleton };
  own.forEach((_, place) => {
    const members = alike
      .map((other) => ({ attack: other, numbers: board.attacks[other].match(NUMBER) ?? [] }))
      .filter(({ numbers }) => numbers.every((value, at) => at === place || value === own[at]))
      .map(({ attack: other, numbers }) => ({ attack: other, x: Number(numbers[place]) }))
      .sort((one, other) => one.x - other.x);
    if (members.length >= best.members.length) best = { members, name: nameOf(label, place) };
  });
  return best;
}

// Names what varies: the label with "…" in place of the number.
function nameOf(label, place) {
  let at = -1;
  return label.replace(NUMBER, (value) => ((at += 1) === place ? "…" : value));
}

function estimateAt(row, metric, which = "records") {
  const gone = row === undefined || (which === "records" && isMissing(row));
  const record = gone ? null : documentAt(row, which === "before" && isMissing(row) ? "records" : which);
  const found = record?.metrics?.[metric];
  return found && found.n ? found : null;
}

function pointsOf(section, members, defense, metric, { here = null, which = "records" }) {
  return members.flatMap(({ attack, x }) => {
    const row = rowsByCell(section).get(`${attack},${defense}`);
    const found = estimateAt(row, metric, which);
    return found ? [{ x, value: found.value, low: found.low, high: found.high, row, here: row === here }] : [];
  });
}

const boundsOf = (record, metric) => record.thresholds
  .filter((threshold) => threshold.metric === metric)
  .map((threshold) => ({ value: threshold.bound, label: `${threshold.op} ${threshold.bound}` }));

// Returns a chart over the attack's intensities; null if this metric was measured with one of them only.
function intensityChart(row, record, metric, others, open) {
  const section = sectionAt(row);
  const { members, name } = sweep(section, cases.attack[row]);
  const shown = [cases.defense[row], ...others];
  const series = shown.map((defense, place) => ({
    label: board.defenses[defense],
    look: place ? `look-${1 + ((place - 1) % 6)}` : "own",
    points: pointsOf(section, members, defense, metric, { here: row }),
  }));
  if (board.compared) {
    series.push({ label: `${defenseAt(row)} before`, look: "before", points: pointsOf(section, members, cases.defense[row], metric, { which: "before" }) });
  }
  const measured = series.filter((one) => one.points.length);
  if (new Set(measured.flatMap((one) => one.points.map((point) => point.x))).size < 2) return null;
  const unit = section.threat !== "targeted" && /_…$/.test(name) ? ", % of the clean rows" : "";
  return curveChart({ series: measured.toReversed(), bounds: boundsOf(record, metric), xTitle: `${name}${unit}`, yTitle: metric, open });
}

// Returns a chart of all defences against this attack; null if there is one only.
function defenseChart(row, record, metric, open) {
  const section = sectionAt(row);
  const items = section.defenses.flatMap((defense) => {
    const at = rowsByCell(section).get(`${cases.attack[row]},${defense}`);
    const found = estimateAt(at, metric);
    if (!found) return [];
    const look = at === row ? "own" : board.defenses[defense] === VANILLA ? "look-1" : "other";
    return [{ label: board.defenses[defense], value: found.value, low: found.low, high: found.high, row: at, look }];
  });
  return items.length < 2 ? null : dotChart({ items, bounds: boundsOf(record, metric), title: metric, open });
}
