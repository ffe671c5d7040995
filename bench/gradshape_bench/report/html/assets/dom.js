// Elements are built from text and attributes: no text is ever read as HTML, whoever wrote it.

const SVG = "http://www.w3.org/2000/svg";
const byId = (id) => document.getElementById(id);

function element(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

function drawn(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

function filled(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false && child !== ""));
  return made;
}

// Labels of more characters than `room` may break after what joins their parts.
function breakable(text, room = 0) {
  if (text.length <= room) return [text];
  return text.split(/(?<=[_·-])/).flatMap((part, place) => (place ? [element("wbr"), part] : [part]));
}

function option(value, text, selected = false) {
  return element("option", { value, selected }, text);
}

function say(message) {
  const place = byId("said");
  // An open dialog lies over all that is outside of it.
  const home = document.querySelector("dialog[open]") ?? document.body;
  if (place.parentElement !== home) home.append(place);
  place.textContent = message;
  clearTimeout(say.timer);
  say.timer = setTimeout(() => { place.textContent = ""; }, 4000);
}
