// Which cases are shown.

const filter = { text: "", scale: "", task: "", protocol: "", threat: "", attack: "", defense: "", outcome: "", kind: "" };
const familyOf = (label) => label.replace(/\d+(?:\.\d+)?(?:e[+-]?\d+)?/g, "#");
let searched = null;

// Returns the rows that pass the filter, in the order of the page.
function filteredRows() {
  const terms = filter.text.toLowerCase().split(/\s+/).filter(Boolean);
  const sections = board.sections.map(sectionPasses);
  const attacks = labelsThatPass(board.attacks, filter.attack);
  const defenses = labelsThatPass(board.defenses, filter.defense);
  const texts = terms.length ? searchedTexts() : null;
  const found = [];
  for (let row = 0; row < caseCount; row += 1) {
    if (!sections[sectionOf[row]] || !attacks[cases.attack[row]] || !defenses[cases.defense[row]]) continue;
    if (filter.outcome && !outcomePasses(row)) continue;
    if (filter.kind && cases.kind[row] !== filter.kind) continue;
    if (texts && !terms.every((term) => texts[row].includes(term))) continue;
    found.push(row);
  }
  return found;
}

function sectionPasses(section) {
  return ["scale", "task", "protocol", "threat"].every((name) => !filter[name] || section[name] === filter[name]);
}

// A wish that begins with "~" is for all labels of a family, which differ in their numbers only.
function labelsThatPass(labels, wish) {
  if (!wish) return labels.map(() => true);
  if (wish.startsWith("~")) return labels.map((label) => familyOf(label) === wish.slice(1));
  return labels.map((label) => label === wish);
}

function outcomePasses(row) {
  if (filter.outcome === "missed") return cases.missed[row] === 1 && !cases.expected[row];
  return outcome(row) === filter.outcome;
}

function searchedTexts() {
  searched ??= Array.from({ length: caseCount }, (_, row) => {
    const section = sectionAt(row);
    return `${caseId(row)} ${section.scale} ${section.threat} ${section.protocol} ${verdictInWords(row)} ${noteAt(row)}`.toLowerCase();
  });
  return searched;
}

const isFiltered = () => Object.values(filter).some(Boolean);

function fillChoices() {
  const choices = (name, values) => byId(`by-${name}`).append(...values.map((value) => option(value, value)));
  const of = (name) => [...new Set(board.sections.map((section) => section[name]))].sort();
  for (const name of ["scale", "task", "protocol", "threat"]) choices(name, of(name));
  for (const [name, labels] of [["attack", board.attacks], ["defense", board.defenses]]) {
    byId(`by-${name}`).append(...labelChoices(labels));
  }
  byId("by-outcome").append(
    ...[...OUTCOMES].map(([value, text]) => option(value, text)),
    option("missed", "missed unexpectedly"),
  );
}

function labelChoices(labels) {
  const families = new Map();
  for (const label of labels) {
    if (!families.has(familyOf(label))) families.set(familyOf(label), []);
    families.get(familyOf(label)).push(label);
  }
  return [...families].sort(([one], [other]) => (one < other ? -1 : 1)).flatMap(([family, found]) => {
    if (found.length === 1) return [option(found[0], found[0])];
    const members = found.map((label) => option(label, label));
    return [element("optgroup", { label: family }, option(`~${family}`, `${family} (all ${found.length})`), members)];
  });
}
