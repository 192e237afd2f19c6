// The pieces every panel is made of: a card with a heading, a button with its shortcut, a row of figures.

import { el } from "../dom.js";

// aside: what stands beside the heading, such as an age.
export function card(title, { aside = "", ...attributes }, ...children) {
  const head = el("div", { class: "spread" }, el("h2", {}, title), aside);
  return el("section", { class: "card", ...attributes }, head, ...children);
}

// name: what tests and shortcuts find it by. key: the shortcut, shown on it where there is a keyboard.
export function button(name, text, onclick, { kind = "quiet", key = null, ...more } = {}) {
  const hint = key ? el("kbd", { "aria-hidden": "true" }, key) : "";
  const marks = { type: "button", class: kind, "data-do": name, "data-key": key, "aria-keyshortcuts": key };
  const node = el("button", { ...marks, ...more }, el("span", {}, text), hint);
  node.addEventListener("click", () => onclick(node));
  return node;
}

export function figure(name, id) {
  const value = el("dd", { id }, "—");
  return { value, node: el("div", {}, el("dt", {}, name), value) };
}

export function field(label, attributes = {}) {
  const input = el("input", { autocomplete: "off", ...attributes });
  return { input, node: el("label", {}, label, input) };
}

export function select(label, options, attributes = {}) {
  const input = el("select", attributes, ...options.map(([value, text]) => el("option", { value }, text)));
  return { input, node: el("label", {}, label, input) };
}

export function form(onsubmit, ...children) {
  const send = (event) => {
    event.preventDefault();
    onsubmit();
  };
  return el("form", { class: "inline", novalidate: true, onsubmit: send }, ...children);
}

// Show these children, but leave the tree alone while they are the same, so that focus and selection stay.
export function replaceIfNew(node, key, children) {
  if (node.dataset.shows === key) return;
  node.dataset.shows = key;
  node.replaceChildren(...children());
}
