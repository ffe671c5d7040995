// Copying, also where the browser keeps its clipboard from pages of files.

async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    if (!copyBySelection(text)) {
      say(`${what} could not be copied`);
      return;
    }
  }
  say(`${what} copied`);
}

function copyBySelection(text) {
  const focused = document.activeElement;
  const area = element("textarea", { class: "unseen", readonly: true });
  area.value = text;
  // Outside an open dialog nothing can be selected.
  (document.querySelector("dialog[open]") ?? document.body).append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  focused?.focus();
  return done;
}

function copyButton(label, what, text) {
  return element("button", { type: "button", class: "quiet", onclick: () => copy(text(), what) }, label);
}
