// The data: columns with an entry for each case, and the records of a section once they are asked for.

const board = JSON.parse(byId("board").textContent);
const cases = board.cases;
const caseCount = cases.attack ? cases.attack.length : 0;
const VERDICTS = ["", "PASS", "FAIL", "INCONCLUSIVE"];
const definitions = new Map(Object.entries(board.metrics));
const meanings = new Map(Object.entries(board.protocols));
const unusualIds = new Map(Object.entries(board.unusual));

const sectionOf = new Uint32Array(caseCount);
{
  let first = 0;
  board.sections.forEach((section, place) => {
    section.place = place;
    section.first = first;
    section.end = first += section.rows;
    section.task = `${section.dataset} · ${section.model}`;
    section.title = `${section.task} · ${section.protocol}`;
    sectionOf.fill(place, section.first, section.end);
  });
}

const sectionAt = (row) => board.sections[sectionOf[row]];
const attackAt = (row) => board.attacks[cases.attack[row]];
const defenseAt = (row) => board.defenses[cases.defense[row]];
const noteAt = (row) => board.notes[cases.note[row]];
const statusAt = (row) => board.statuses[cases.status[row]];
const isMissing = (row) => board.compared && cases.kind[row] === "missing";

function caseId(row) {
  const known = unusualIds.get(String(row));
  if (known !== undefined) return known;
  const section = sectionAt(row);
  const parts = [section.dataset.replaceAll("/", "_"), section.model, attackAt(row), defenseAt(row)];
  return (section.protocol === "from_scratch" ? parts : [...parts, section.protocol]).join("-");
}

// What became of a case, for colours and filters; the names of OUTCOMES.
const OUTCOMES = new Map([
  ["pass", "PASS"],
  ["fail", "FAIL"],
  ["open", "INCONCLUSIVE"],
  ["expected", "expected failure"],
  ["none", "no threshold"],
  ["unmeasured", "not measured"],
]);

function outcome(row) {
  if (cases.status[row] || isMissing(row)) return "unmeasured";
  if (cases.expected[row] && cases.missed[row]) return "expected";
  return ["none", "pass", "fail", "open"][cases.verdict[row]];
}

function signOf(verdict, missed, expected) {
  if (!verdict) return "";
  return (missed ? "✗" : "✓") + (VERDICTS[verdict] === "INCONCLUSIVE" ? "?" : "") + (expected ? "†" : "");
}

const mark = (row) => signOf(cases.verdict[row], cases.missed[row], cases.expected[row]);

function verdictInWords(row) {
  if (isMissing(row)) return "missing";
  if (cases.status[row]) return statusAt(row);
  if (!cases.verdict[row]) return "no threshold";
  const expected = cases.expected[row] ? (cases.missed[row] ? ", as expected" : ", unexpectedly") : "";
  const decided = VERDICTS[cases.verdict[row]] === "INCONCLUSIVE" ? (cases.missed[row] ? ", the value misses it" : ", the value meets it") : "";
  return VERDICTS[cases.verdict[row]] + decided + expected;
}

// The column of numbers that the matrix shows, and the metric that it holds.
const SHOWN = {
  damage: { name: "damage", words: "what the poison did", column: "value", metric: (section) => section.damage },
  total: { name: "total", words: "poison and defence together", column: "total", metric: (section) => section.total },
  cost: { name: "cost", words: "what the defence costs", column: "cost", metric: (section) => section.cost },
  change: { name: "change", words: "what changed since", column: "change", metric: (section) => section.damage },
};

const unpacked = new Map();

// Returns the documents of a section, by place in it. `which` is "records" or, in a page of two runs, "before".
function documents(section, which = "records") {
  const id = `${which}-${section.place}`;
  if (!unpacked.has(id)) unpacked.set(id, unpack(JSON.parse(byId(id).textContent)));
  return unpacked.get(id);
}

function unpack({ paths, tables }) {
  const found = [];
  for (const { rows, columns } of tables) {
    for (const row of rows) found[row] = Object.create(null);
    columns.forEach(([path, kind, data]) => {
      const column = kind === 2 ? columns[data][2] : data;
      rows.forEach((row, place) => put(found[row], paths[path], kind ? column[place] : column));
    });
  }
  return found;
}

// Objects without a prototype, so that a key like __proto__ is a key like any other.
function put(target, path, value) {
  for (const name of path.slice(0, -1)) target = target[name] ??= Object.create(null);
  target[path[path.length - 1]] = value;
}

function documentAt(row, which = "records") {
  const section = sectionAt(row);
  const found = documents(section, which)[row - section.first];
  return found && "case" in found ? found : null;
}

const isBetterLow = (metric) => {
  const known = definitions.get(metric.replace(/_(best|last)$/, ""));
  return known ? known[1] : null;
};
const arrow = (metric) => ({ true: "↓", false: "↑" })[String(isBetterLow(metric))] ?? "";
