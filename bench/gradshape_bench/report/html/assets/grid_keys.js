// Arrow keys in a table: one of its cells takes part in the order of Tab, and the keys move which one.

const STEPS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1], PageUp: [-8, 0], PageDown: [8, 0] };

function startGridKeys(table, { moreRows, activate }) {
  const lines = () => [...table.rows].filter((line) => !line.classList.contains("sentinel"));
  const move = (cell) => {
    table.querySelectorAll('[tabindex="0"]').forEach((other) => other.setAttribute("tabindex", "-1"));
    cell.setAttribute("tabindex", "0");
  };
  move(table.tBodies[0]?.querySelector("td.cell") ?? table.rows[0].cells[0]);
  table.addEventListener("focusin", ({ target }) => {
    const cell = target.closest("td, th");
    if (cell) move(cell);
  });
  table.addEventListener("keydown", (event) => {
    const cell = event.target.closest("td, th");
    if (!cell || event.altKey || event.metaKey) return;
    const found = destination(event, cell, lines, moreRows);
    if (found) {
      event.preventDefault();
      found.focus();
      found.scrollIntoView({ block: "nearest", inline: "nearest" });
    } else if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      activate(cell);
    }
  });
  table.addEventListener("click", ({ target }) => {
    const cell = target.closest("td, th");
    if (cell) activate(cell);
  });
}

function destination(event, cell, lines, moreRows) {
  const [row, column] = [cell.parentElement, cell.cellIndex];
  if (event.key === "Home" || event.key === "End") {
    const all = lines();
    const line = event.ctrlKey ? all[event.key === "Home" ? 0 : all.length - 1] : row;
    return line.cells[event.key === "Home" ? 0 : line.cells.length - 1];
  }
  const step = STEPS[event.key];
  if (!step || event.ctrlKey) return null;
  let all = lines();
  const wanted = all.indexOf(row) + step[0];
  if (wanted >= all.length && moreRows()) all = lines();
  const line = all[Math.max(0, Math.min(all.length - 1, wanted))];
  return line.cells[Math.max(0, Math.min(line.cells.length - 1, column + step[1]))];
}
