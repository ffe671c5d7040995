// The address of the page says what is shown, so that it can be passed on: filters, view, and the case that is open.

const FIRST_VIEW = board.compared ? "changes" : "matrix";
const view = { name: FIRST_VIEW, shown: "damage", open: "" };

function readAddress() {
  const said = new URLSearchParams(location.hash.slice(1));
  for (const name of Object.keys(filter)) filter[name] = said.get(name) ?? "";
  for (const name of ["scale", "task", "protocol", "threat", "attack", "defense", "outcome"]) {
    const choice = byId(`by-${name}`);
    choice.value = filter[name];
    // What is not among the choices would filter everything, and nobody would see why.
    if (choice.value !== filter[name]) choice.value = filter[name] = "";
  }
  byId("by-text").value = filter.text;
  view.name = said.get("view") ?? FIRST_VIEW;
  view.shown = said.get("shown") ?? "damage";
  view.open = said.get("case") ?? "";
}

function writeAddress() {
  const said = new URLSearchParams();
  for (const [name, value] of Object.entries(filter)) if (value) said.set(name, value);
  if (view.name !== FIRST_VIEW) said.set("view", view.name);
  if (view.shown !== "damage") said.set("shown", view.shown);
  if (view.open) said.set("case", view.open);
  const text = said.toString();
  if (text !== location.hash.slice(1)) {
    history.replaceState(null, "", text ? `#${text}` : location.pathname + location.search);
  }
}

const keyOf = (row) => `${sectionAt(row).scale}/${caseId(row)}`;

function rowOfKey(key) {
  for (let row = 0; row < caseCount; row += 1) if (keyOf(row) === key) return row;
  return null;
}
