// The figures of the folder beside the page, which the browser loads as they come into sight.

const figuresOf = (section) => board.figures.filter(([, place]) => place === section.place);
const figureAddress = (name, ending) => `${encodeURIComponent(board.folder)}/${encodeURIComponent(name)}${ending}`;

function drawFigures(rows) {
  const shown = new Set(rows.map((row) => sectionOf[row]));
  const whole = !isFiltered();
  const groups = board.sections.filter((section) => shown.has(section.place)).map((section) => [section.title + ` (${section.scale})`, figuresOf(section)]);
  groups.push(["Several tasks", whole ? board.figures.filter(([, place]) => place === null) : []]);
  byId("gallery").replaceChildren(...groups.filter(([, figures]) => figures.length).map(([title, figures]) =>
    element("section", {}, element("h2", {}, title), element("div", { class: "pictures" }, figures.map(figure)))));
}

function figure([name, , endings]) {
  const caption = name.split("-")[0].replaceAll("_", " ");
  return element("figure", {},
    element("a", { href: figureAddress(name, endings[0]) }, element("img", { src: figureAddress(name, endings[0]), loading: "lazy", alt: caption })),
    element("figcaption", {}, caption, endings.slice(1).map((ending) => [" · ", element("a", { href: figureAddress(name, ending) }, ending.slice(1).toUpperCase())]).flat()));
}

function showFiguresOf(section) {
  for (const [name, value] of [["scale", section.scale], ["task", section.task], ["protocol", section.protocol]]) {
    filter[name] = value;
    byId(`by-${name}`).value = value;
  }
  show("figures");
}
