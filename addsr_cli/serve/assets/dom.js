// Small tools: elements, texts for people, messages.
const $ = (selector, root = document) => root.querySelector(selector);

/** An element with properties; text is always text, never markup. */
function element(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in node) node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;
const sizeText = ([width, height]) => `${width} × ${height}`;

function bytesText(count) {
  if (count < 1e6) return `${Math.max(1, Math.round(count / 1e3))}\u00a0kB`;
  return `${(count / 1e6).toFixed(count < 1e7 ? 1 : 0)}\u00a0MB`;
}

function secondsText(seconds) {
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))}\u00a0s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)}\u00a0min`;
  return `${(seconds / 3600).toFixed(1)}\u00a0h`;
}

/** Says something to a screen reader. */
function say(text) {
  $("#spoken").textContent = text;
}

/** Shows an error or a note until it is closed; the same text only once. */
function tell(text) {
  const list = $("#messages");
  if ([...list.children].some((item) => item.dataset.text === text)) return;
  const close = element("button", { type: "button", textContent: "×", "aria-label": "Close this message" });
  const item = element("li", {}, element("span", { textContent: text }), close);
  item.dataset.text = text;
  close.addEventListener("click", () => item.remove());
  list.append(item);
}
