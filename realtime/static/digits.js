// Digits on reels. Places are matched from the right, so that the ones stay the ones when a number grows. What a
// screen reader and a test read is the exact text; the reels are only its picture.

import { el } from "./dom.js";

const REEL = "0\n1\n2\n3\n4\n5\n6\n7\n8\n9";

function isDigit(character) {
  return character >= "0" && character <= "9";
}

function place(character) {
  if (!isDigit(character)) return el("span", { class: "mark" }, character);
  return el("span", { class: "digit" }, el("span", { class: "reel" }, REEL));
}

function roll(group, text) {
  const shown = group.dataset.text ?? "";
  const fits = (node, character) => node.classList.contains("digit") === isDigit(character);
  for (let fromRight = 0; fromRight < Math.max(text.length, shown.length); fromRight += 1) {
    const character = text[text.length - 1 - fromRight];
    const node = group.children[group.children.length - 1 - fromRight];
    if (character === undefined) {
      while (group.children.length > text.length) group.firstChild.remove();
      break;
    }
    let here = node;
    if (!node) group.prepend((here = place(character)));
    else if (!fits(node, character)) node.replaceWith((here = place(character)));
    if (isDigit(character)) here.firstChild.style.setProperty("--shown", character);
    else here.textContent = character;
  }
  group.dataset.text = text;
}

// Show an amount given as the text that money() made of it, its symbol and its decimals set smaller.
export function showDigits(node, text) {
  if (node.getAttribute("aria-label") === text) return;
  node.setAttribute("role", "img");
  node.setAttribute("aria-label", text);
  const parts = text.match(/^(\D*)([\d.,\s\u00a0\u202f]*?\d)([.,]\d{1,4})?(\D*)$/) || [text, "", text, "", ""];
  const [, symbol, whole, fraction = "", after] = parts;
  if (!node.firstChild) {
    for (const name of ["symbol", "whole", "fraction", "after"]) {
      node.append(el("span", { class: name, "aria-hidden": "true" }));
    }
  }
  const [symbolNode, wholeNode, fractionNode, afterNode] = node.children;
  symbolNode.textContent = symbol;
  afterNode.textContent = after;
  roll(wholeNode, whole);
  roll(fractionNode, fraction);
  node.dataset.long = whole.length > 9 ? "1" : "0";
}
