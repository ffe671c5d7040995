// A record as JSON, as people like to read it, and the command that runs its case again.

// Lists of plain values stand on one line. A whole number that a browser cannot hold comes spelled in an object.
function asJson(value, indent = "") {
  const deeper = `${indent}  `;
  if (Array.isArray(value)) {
    if (value.every((item) => typeof item !== "object" || item === null || isInteger(item))) return `[${value.map((item) => asJson(item)).join(", ")}]`;
    return `[\n${value.map((item) => deeper + asJson(item, deeper)).join(",\n")}\n${indent}]`;
  }
  if (isInteger(value)) return value.$integer;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const names = Object.keys(value);
  if (!names.length) return "{}";
  return `{\n${names.map((name) => `${deeper}${JSON.stringify(name)}: ${asJson(value[name], deeper)}`).join(",\n")}\n${indent}}`;
}

function isInteger(value) {
  return value !== null && typeof value === "object" && typeof value.$integer === "string" && Object.keys(value).length === 1 && /^-?\d+$/.test(value.$integer);
}

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

function rerunCommand(record) {
  return board.rerun.replace(/\{(case|scale)\}/g, (_, name) =>
    ({ case: quoted(record.case), scale: /^\w+$/.test(record.scale) ? record.scale : quoted(record.scale) })[name]);
}
