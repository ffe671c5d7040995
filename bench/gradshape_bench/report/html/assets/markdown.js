// Tables as Markdown, for issues and pull requests.

function escaped(text) {
  const line = String(text).split(/\s+/).filter(Boolean).join(" ");
  return line.replace(/[\\`*{}[\]<>#|~!&$]|(?<![\p{L}\p{N}_])_|_(?![\p{L}\p{N}_])/gu, "\\$&");
}

function markdownTable(headers, rows) {
  const lines = [headers, headers.map((_, place) => (place ? "---:" : "---")), ...rows];
  return lines.map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}

function sectionAsMarkdown(section, grid) {
  const shown = SHOWN[view.shown];
  const cell = (row) => (row === undefined ? "" : escaped(cellText(row).join(" ")));
  const rows = grid.attacks.map((attack) => [
    escaped(board.attacks[attack]),
    ...grid.defenses.map((defense) => cell(grid.rows.get(`${attack},${defense}`)?.[0])),
  ]);
  const headers = ["attack", ...grid.defenses.map((defense) => escaped(board.defenses[defense]))];
  const metric = shown.metric(section) ?? "no measurement";
  return `**${escaped(section.title)}** (${escaped(section.scale)} scale), ${escaped(metric)}: ${shown.words}\n\n${markdownTable(headers, rows)}`;
}

function caseAsMarkdown(row, record) {
  const facts = record.thresholds.map((t) => [
    escaped(`${t.metric} ${t.op} ${t.bound}`),
    escaped(`${number(record.metrics[t.metric].value, 4)} ${interval(t.low, t.high, 4)}`),
    t.verdict,
    escaped(t.reason ?? ""),
  ]);
  const table = facts.length ? `\n\n${markdownTable(["threshold", "measured", "verdict", "reason"], facts)}` : "";
  return `**${escaped(record.case)}** (${escaped(record.scale)} scale): ${escaped(verdictInWords(row))}${table}\n\n    ${rerunCommand(record)}`;
}
