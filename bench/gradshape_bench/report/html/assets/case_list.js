// Cases as a list, of which only the lines in sight are drawn.

const LINE = 34;

const CASE_COLUMNS = [
  { name: "verdict", key: (row) => [...OUTCOMES.keys()].indexOf(outcome(row)), show: verdictBadge, plain: (row) => mark(row) || verdictInWords(row) },
  { name: "task", key: (row) => sectionAt(row).task },
  { name: "protocol", key: (row) => sectionAt(row).protocol },
  { name: "scale", key: (row) => sectionAt(row).scale },
  { name: "threat", key: (row) => sectionAt(row).threat },
  { name: "attack", key: attackAt },
  { name: "defence", key: defenseAt },
  { name: "metric", key: (row) => sectionAt(row).damage ?? "" },
  { name: "value", key: (row) => cases.value[row], show: (row) => number(cases.value[row]), numeric: true },
  { name: "interval", key: (row) => (cases.low[row] === null ? null : cases.high[row] - cases.low[row]), show: (row) => interval(cases.low[row], cases.high[row]), numeric: true },
  { name: "cost", key: (row) => cases.cost[row], show: (row) => number(cases.cost[row]), numeric: true },
  { name: "total", key: (row) => cases.total[row], show: (row) => number(cases.total[row]), numeric: true },
  { name: "n", key: (row) => cases.n[row], show: (row) => String(cases.n[row] || ""), numeric: true },
  { name: "note", key: noteAt },
];

function verdictBadge(row) {
  return element("span", { class: `badge is-${outcome(row)}`, title: verdictInWords(row) }, mark(row) || verdictInWords(row));
}

// A sorted, scrolled list in `place`. Columns have `name`, `key(row)` to sort by, and `show(row)` if that is not the text.
class CaseList {
  constructor(place, columns, label) {
    this.columns = columns;
    this.label = label;
    this.order = null;
    this.active = 0;
    this.rows = [];
    this.head = element("tr");
    this.body = element("tbody");
    this.above = element("tr", { class: "gap", "aria-hidden": "true" });
    this.below = element("tr", { class: "gap", "aria-hidden": "true" });
    this.table = element("table", { role: "grid", tabindex: "0", "aria-label": `${label}: arrow keys choose, Enter opens` }, element("thead", {}, this.head), this.body);
    this.scroller = element("div", { class: "list" }, this.table);
    this.scroller.addEventListener("scroll", () => this.draw(), { passive: true });
    this.table.addEventListener("keydown", (event) => this.pressed(event));
    this.body.addEventListener("click", ({ target }) => this.clicked(target));
    place.replaceChildren(this.scroller);
  }

  show(rows) {
    this.given = rows;
    this.active = 0;
    this.scroller.scrollTop = 0;
    this.sort();
  }

  sort() {
    this.rows = [...this.given];
    if (this.order) {
      const { column, falling } = this.order;
      const keys = new Map(this.rows.map((row) => [row, column.key(row)]));
      const none = (key) => key === null || key === undefined || key === "";
      this.rows.sort((one, other) => {
        const [a, b] = [keys.get(one), keys.get(other)];
        if (none(a) || none(b)) return none(a) - none(b);
        return (a < b ? -1 : a > b ? 1 : 0) * (falling ? -1 : 1);
      });
    }
    this.table.setAttribute("aria-rowcount", this.rows.length + 1);
    this.drawHead();
    this.draw();
  }

  drawHead() {
    this.head.replaceChildren(...this.columns.map((column) => {
      const sorted = this.order?.column === column;
      const press = () => {
        // Where more is what one looks for, the most comes first.
        if (!sorted) this.order = { column, falling: Boolean(column.numeric) };
        else if (this.order.falling === Boolean(column.numeric)) this.order.falling = !this.order.falling;
        else this.order = null;
        this.sort();
        [...this.head.querySelectorAll("button")].find((button) => button.value === column.name)?.focus();
      };
      const direction = sorted ? (this.order.falling ? "descending" : "ascending") : "none";
      return element("th", { scope: "col", class: column.numeric ? "numeric" : "", "aria-sort": direction },
        element("button", { type: "button", value: column.name, onclick: press }, column.name));
    }));
  }

  draw() {
    const height = this.scroller.clientHeight || 600;
    const first = Math.max(0, Math.floor(this.scroller.scrollTop / LINE) - 8);
    const last = Math.min(this.rows.length, first + Math.ceil(height / LINE) + 16);
    this.above.style.height = `${first * LINE}px`;
    this.below.style.height = `${(this.rows.length - last) * LINE}px`;
    this.body.replaceChildren(this.above, ...this.rows.slice(first, last).map((row, place) => this.line(row, first + place)), this.below);
    const current = byId(`${this.id}-${this.active}`);
    if (current) this.table.setAttribute("aria-activedescendant", current.id);
    else this.table.removeAttribute("aria-activedescendant");
  }

  get id() {
    return this.label.replaceAll(" ", "-");
  }

  line(row, place) {
    const cells = this.columns.map((column) => {
      const shown = column.show ? column.show(row) : column.key(row);
      const title = typeof shown === "string" ? shown : null;
      return element("td", { role: "gridcell", class: column.numeric ? "numeric" : "", title }, shown ?? "");
    });
    return element("tr", { id: `${this.id}-${place}`, class: place === this.active ? "active" : "", "data-place": place, "aria-rowindex": place + 2 }, cells);
  }

  clicked(target) {
    const line = target.closest("tr[data-place]");
    if (!line) return;
    this.choose(Number(line.dataset.place));
    openCase(this.rows[this.active], this.table);
  }

  pressed(event) {
    if (event.target !== this.table) return;
    const page = Math.max(1, Math.floor(this.scroller.clientHeight / LINE) - 2);
    const wanted = { ArrowDown: this.active + 1, ArrowUp: this.active - 1, PageDown: this.active + page, PageUp: this.active - page, Home: 0, End: this.rows.length - 1 }[event.key];
    if (wanted !== undefined && !event.altKey && !event.metaKey) {
      event.preventDefault();
      this.choose(wanted);
    } else if ((event.key === "Enter" || event.key === " ") && this.rows.length) {
      event.preventDefault();
      openCase(this.rows[this.active], this.table);
    }
  }

  choose(place) {
    this.active = Math.max(0, Math.min(this.rows.length - 1, place));
    const top = this.active * LINE;
    const room = this.scroller.clientHeight - 2 * LINE;
    if (top < this.scroller.scrollTop) this.scroller.scrollTop = top;
    else if (top > this.scroller.scrollTop + room) this.scroller.scrollTop = top - room;
    this.draw();
  }

  markdown() {
    const text = (column, row) => escaped((column.plain ?? column.show ?? column.key)(row) ?? "");
    return markdownTable(this.columns.map((column) => column.name), this.rows.map((row) => this.columns.map((column) => text(column, row))));
  }
}
