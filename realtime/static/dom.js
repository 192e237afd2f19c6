// Build elements without ever parsing text as markup: text goes in as text nodes only, so a name that looks
// like a tag stays a name that looks like a tag.

const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

export function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

export function find(id) {
  return document.getElementById(id);
}

// Make these the children, and touch none that stays: what was typed into it, focus and caret stay with it.
export function replaceKept(parent, nodes) {
  const staying = new Set(nodes);
  for (const old of [...parent.childNodes]) if (!staying.has(old)) old.remove();
  nodes.forEach((node, n) => {
    if (parent.childNodes[n] !== node) parent.insertBefore(node, parent.childNodes[n] ?? null);
  });
}

// Put text only where it changed, so that a screen reader and a text selection are left alone.
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
