// Charts as SVG: curves with intervals, and dots with intervals, one below the other.

// Charts are as wide as the panel has room, so that their letters stay as large.
const chartWidth = () => Math.max(320, Math.min(680, innerWidth - 56));

// Returns about `count` round numbers between two ends.
function ticks(low, high, count) {
  const span = high - low || 1;
  const rough = span / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
  const found = [];
  for (let at = Math.ceil(low / step - 1e-9); at * step <= high + step * 1e-9; at += 1) found.push(at * step);
  return found.map((value) => Number(value.toPrecision(12)));
}

// Returns a function from values to places, and its ticks. `spread` widens both ends by a share.
function axis(values, from, to, { log = false, spread = 0.06, count = 5 } = {}) {
  const turn = log ? Math.log10 : (value) => value;
  let [low, high] = [Math.min(...values.map(turn)), Math.max(...values.map(turn))];
  if (low === high) [low, high] = [low - (Math.abs(low) * 0.1 || 0.5), high + (Math.abs(high) * 0.1 || 0.5)];
  const more = (high - low) * spread;
  [low, high] = [low - more, high + more];
  const place = (value) => from + ((turn(value) - low) / (high - low)) * (to - from);
  return { place, ticks: log ? [...new Set(values)] : ticks(low, high, count) };
}

const ends = (points) => points.flatMap((point) => [point.value, point.low ?? point.value, point.high ?? point.value]);
const short = (value) => String(Number(value.toPrecision(6)));

// Series have label, look and points {x, value, low, high, row}; bounds are {value, label}; `open` is told of a row.
function curveChart({ series, bounds, xTitle, yTitle, open }) {
  const [width, top, right, bottom, left, height] = [chartWidth(), 14, 16, 46, 62, 300];
  const all = series.flatMap((one) => one.points);
  const xs = [...new Set(all.map((point) => point.x))].sort((one, other) => one - other);
  const log = xs[0] > 0 && xs[xs.length - 1] / xs[0] > 60;
  const x = axis(xs, left, width - right, { log, spread: 0.04, count: 8 });
  const y = axis([...ends(all), ...bounds.map((bound) => bound.value)], height - bottom, top);
  const chart = chartFrame(width, height, `${yTitle} over ${xTitle}`);
  for (const value of y.ticks) {
    chart.append(drawn("line", { class: value ? "grid" : "grid zero", x1: left, x2: width - right, y1: y.place(value), y2: y.place(value) }));
    chart.append(drawn("text", { class: "tick", x: left - 8, y: y.place(value) + 4, "text-anchor": "end" }, short(value)));
  }
  for (const value of x.ticks) {
    chart.append(drawn("line", { class: "grid", x1: x.place(value), x2: x.place(value), y1: height - bottom, y2: height - bottom + 5 }));
    chart.append(drawn("text", { class: "tick", x: x.place(value), y: height - bottom + 18, "text-anchor": "middle" }, short(value)));
  }
  for (const bound of bounds) {
    chart.append(drawn("line", { class: "bound", x1: left, x2: width - right, y1: y.place(bound.value), y2: y.place(bound.value) }));
    chart.append(drawn("text", { class: "bound-label", x: left + 4, y: y.place(bound.value) - 4 }, bound.label));
  }
  series.forEach((one) => chart.append(curve(one, x, y, open)));
  chart.append(drawn("text", { class: "title", x: (left + width - right) / 2, y: height - 8, "text-anchor": "middle" }, xTitle));
  chart.append(drawn("text", { class: "title", x: 14, y: (top + height - bottom) / 2, "text-anchor": "middle", transform: `rotate(-90 14 ${(top + height - bottom) / 2})` }, yTitle));
  return chart;
}

function chartFrame(width, height, label) {
  return drawn("svg", { class: "chart", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
}

function curve({ label, look, points }, x, y, open) {
  const made = drawn("g", { class: `series ${look}` });
  const banded = points.filter((point) => point.low !== null && point.high !== null);
  if (banded.length > 1) {
    const forth = banded.map((point) => `${x.place(point.x)},${y.place(point.high)}`);
    const back = banded.toReversed().map((point) => `${x.place(point.x)},${y.place(point.low)}`);
    made.append(drawn("polygon", { class: "band", points: [...forth, ...back].join(" ") }));
  }
  made.append(drawn("polyline", { class: "line", points: points.map((point) => `${x.place(point.x)},${y.place(point.value)}`).join(" ") }));
  for (const point of points) {
    const at = x.place(point.x);
    if (point.low !== null && point.high !== null) {
      made.append(drawn("line", { class: "whisker", x1: at, x2: at, y1: y.place(point.low), y2: y.place(point.high) }));
    }
    const words = `${label} at ${short(point.x)}: ${number(point.value, 4)} ${interval(point.low, point.high, 4)}`;
    made.append(drawn("circle", { class: point.here ? "dot here" : "dot", cx: at, cy: y.place(point.value), r: point.here ? 6 : 4, onclick: () => open(point.row) }, drawn("title", {}, words)));
  }
  return made;
}

// Items have label, value, low, high, row and look; they stand one below the other.
function dotChart({ items, bounds, title, open }) {
  const line = 22;
  const height = items.length * line + 44;
  const [width, right, top] = [chartWidth(), 16, 8];
  const left = width < 500 ? 130 : 190;
  const x = axis([...ends(items), ...bounds.map((bound) => bound.value)], left + 8, width - right);
  const chart = chartFrame(width, height, title);
  const foot = height - 36;
  for (const value of x.ticks) {
    chart.append(drawn("line", { class: value ? "grid" : "grid zero", x1: x.place(value), x2: x.place(value), y1: top, y2: foot }));
    chart.append(drawn("text", { class: "tick", x: x.place(value), y: foot + 15, "text-anchor": "middle" }, short(value)));
  }
  for (const bound of bounds) {
    chart.append(drawn("line", { class: "bound", x1: x.place(bound.value), x2: x.place(bound.value), y1: top, y2: foot }, drawn("title", {}, bound.label)));
  }
  items.forEach((item, place) => chart.append(dotLine(item, top + line * (place + 0.5), x, { left, width, open })));
  chart.append(drawn("text", { class: "title", x: (left + width) / 2, y: height - 4, "text-anchor": "middle" }, title));
  return chart;
}

function dotLine(item, at, x, { left, width, open }) {
  const words = `${item.label}: ${number(item.value, 4)} ${interval(item.low, item.high, 4)}`;
  const made = drawn("g", { class: `series ${item.look}`, onclick: () => open(item.row) }, drawn("title", {}, words));
  made.append(drawn("rect", { class: "hit", x: 0, y: at - 11, width: width, height: 22 }));
  const room = Math.floor(left / 7.6);
  const cut = item.label.length > room ? `${item.label.slice(0, room - 1)}…` : item.label;
  made.append(drawn("text", { class: "dot-label", x: left - 6, y: at + 4, "text-anchor": "end" }, cut));
  if (item.low !== null && item.high !== null) {
    made.append(drawn("line", { class: "whisker", x1: x.place(item.low), x2: x.place(item.high), y1: at, y2: at }));
  }
  made.append(drawn("circle", { class: "dot", cx: x.place(item.value), cy: at, r: 4.5 }));
  return made;
}

// The values of single seeds on one line, with their mean and its interval.
function seedChart({ values, labels, estimate, title }) {
  const [width, height, at, left, right] = [chartWidth(), 84, 26, 16, 16];
  const x = axis([...values, ...ends([estimate])], left, width - right, { spread: 0.08 });
  const chart = chartFrame(width, height, `${title}: ${values.map((value) => number(value, 4)).join(", ")}`);
  chart.append(drawn("line", { class: "grid", x1: left, x2: width - right, y1: at + 16, y2: at + 16 }));
  for (const value of x.ticks) {
    chart.append(drawn("line", { class: "grid", x1: x.place(value), x2: x.place(value), y1: at + 16, y2: at + 21 }));
    chart.append(drawn("text", { class: "tick", x: x.place(value), y: at + 34, "text-anchor": "middle" }, short(value)));
  }
  if (estimate.low !== null && estimate.high !== null) {
    chart.append(drawn("rect", { class: "mean-band", x: x.place(estimate.low), width: Math.max(1, x.place(estimate.high) - x.place(estimate.low)), y: at - 13, height: 26 }));
  }
  chart.append(drawn("line", { class: "mean", x1: x.place(estimate.value), x2: x.place(estimate.value), y1: at - 15, y2: at + 15 }));
  const taken = new Map();
  values.forEach((value, place) => {
    // Values that would hide each other stand side by side, above and below the line.
    const slot = Math.round(x.place(value) / 9);
    const before = taken.get(slot) ?? 0;
    taken.set(slot, before + 1);
    const cy = at + Math.min(12, 6 * Math.ceil(before / 2)) * (before % 2 ? -1 : 1);
    chart.append(drawn("circle", { class: "seed", cx: x.place(value), cy, r: 5 }, drawn("title", {}, `${labels[place]}: ${number(value, 5)}`)));
  });
  chart.append(drawn("text", { class: "title", x: width / 2, y: height - 4, "text-anchor": "middle" }, title));
  return chart;
}
