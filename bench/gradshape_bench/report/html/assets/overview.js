// The numbers at the top and the list of tasks at the side.

function drawOverview(rows) {
  byId("shown-count").textContent = rows.length === caseCount ? counted(caseCount, "case") : `${grouped(rows.length)} of ${counted(caseCount, "case")}`;
  byId("reset").hidden = !isFiltered();
  const counts = countOutcomes(rows);
  byId("outcomes").replaceChildren(...[...OUTCOMES].filter(([name]) => counts.get(name) || filter.outcome === name).map(([name, words]) => {
    const press = () => changeFilter("outcome", filter.outcome === name ? "" : name);
    return element("button", { type: "button", class: `chip is-${name}`, "aria-pressed": String(filter.outcome === name), onclick: press },
      element("b", {}, grouped(counts.get(name) ?? 0)), ` ${words}`);
  }));
  byId("tasks").replaceChildren(...bySection(rows).map(([section, found]) => {
    const go = (event) => {
      event.preventDefault();
      show("matrix");
      const block = byId(`section-${section.place}`);
      block.scrollIntoView({ block: "start" });
      // What was not drawn yet may push it away.
      requestAnimationFrame(() => requestAnimationFrame(() => block.scrollIntoView({ block: "start" })));
    };
    return element("li", {}, element("a", { href: `#section-${section.place}`, onclick: go },
      element("span", { class: "name" }, breakable(section.task)),
      element("span", { class: "quietly" }, `${section.protocol} · ${section.scale} · ${found.length}`),
      outcomeBar(found)));
  }));
}
