// Pictures of produce, drawn instead of photographed: a few shapes chosen by what the product is called, in
// colours chosen by its SKU, so that the same thing always looks the same.

import { svg } from "./dom.js";

const SKIES = [
  ["#ffe3ae", "#f6b95c"],
  ["#fbd3c0", "#e98864"],
  ["#dcebc4", "#9cc278"],
  ["#f3dcef", "#c99ac4"],
  ["#cfe6ea", "#83b5bf"],
];

function hash(text) {
  let sum = 7;
  for (const character of text) sum = (sum * 31 + character.codePointAt(0)) % 9973;
  return sum;
}

function peanut(x, y, turn) {
  const shell = "M0-26c11 0 17 9 13 18-2 5-2 9 1 14 6 11-1 24-14 24s-20-13-14-24c3-5 3-9 1-14-4-9 2-18 13-18z";
  return svg(
    "g",
    { transform: `translate(${x} ${y}) rotate(${turn})` },
    svg("path", { d: shell, fill: "#d99a4e", stroke: "#8f5a22", "stroke-width": 2.5 }),
    svg("path", {
      d: "M-6-17c4 3 8 3 12 0M-6 14c4 4 9 4 13 0M-9 22c6 3 12 3 18 0M0-22v12M0 8v18",
      fill: "none",
      stroke: "#8f5a22",
      "stroke-linecap": "round",
      "stroke-opacity": 0.55,
      "stroke-width": 2,
    }),
  );
}

function chestnut(x, y, turn) {
  return svg(
    "g",
    { transform: `translate(${x} ${y}) rotate(${turn})` },
    svg("path", { d: "M0-24c10 6 22 16 22 30 0 12-10 18-22 18s-22-6-22-18c0-14 12-24 22-30z", fill: "#7a3b17" }),
    svg("path", { d: "M-21 10c8 5 34 5 42 0 0 10-9 14-21 14s-21-4-21-14z", fill: "#e0b98a" }),
    svg("path", { d: "M-9-6c2-5 5-8 8-10", fill: "none", stroke: "#c98a5c", "stroke-linecap": "round", "stroke-width": 3.5 }),
  );
}

function bottle(x, y) {
  return svg(
    "g",
    { transform: `translate(${x} ${y})` },
    svg("path", { d: "M-8-42h16v16c0 7 10 10 10 22v30c0 5-3 8-8 8h-20c-5 0-8-3-8-8v-30c0-12 10-15 10-22z", fill: "#b3261e" }),
    svg("rect", { x: -10, y: -50, width: 20, height: 11, rx: 3, fill: "#3c2414" }),
    svg("rect", { x: -18, y: -2, width: 36, height: 26, rx: 3, fill: "#fff3da" }),
    svg("path", { d: "M-8 16c6-2 12-7 14-14 4 7-2 17-12 18zM6 2c0-3 2-4 4-4", fill: "#d8391f", stroke: "#3f7d32", "stroke-width": 2 }),
  );
}

function sack(x, y) {
  return svg(
    "g",
    { transform: `translate(${x} ${y})` },
    svg("path", { d: "M-26-18c-8 16-10 34-4 48h60c6-14 4-32-4-48z", fill: "#e7c793", stroke: "#95703a", "stroke-width": 2.5 }),
    svg("path", { d: "M-24-18c-6-8-4-14 2-18l8 6 14-8 14 8 8-6c6 4 8 10 2 18z", fill: "#d8b379", stroke: "#95703a", "stroke-width": 2.5 }),
    svg("path", { d: "M0 24c-12-5-16-12-16-20 8 0 13 4 16 9 3-5 8-9 16-9 0 8-4 15-16 20z", fill: "#5b9248" }),
  );
}

const KINDS = [
  [/peanut|groundnut|花生/i, () => [peanut(44, 66, -28), peanut(76, 62, 18)]],
  [/chestnut|栗/i, () => [chestnut(40, 68, -14), chestnut(76, 60, 12)]],
  [/sauce|chil|oil|honey|酱|辣|油|蜜/i, () => [bottle(60, 62)]],
];

export function productArt(sku, name) {
  const [light, deep] = SKIES[hash(sku) % SKIES.length];
  const found = KINDS.find(([words]) => words.test(`${sku} ${name}`));
  return svg(
    "svg",
    { viewBox: "0 0 120 120", class: "art", "aria-hidden": "true", preserveAspectRatio: "xMidYMid slice" },
    svg("rect", { width: 120, height: 120, fill: light }),
    svg("circle", { cx: 88, cy: 30, r: 15, fill: "#fff", "fill-opacity": 0.65 }),
    svg("path", { d: "M0 92c20-18 42-20 62-10s38 8 58-8v46H0z", fill: deep }),
    svg("path", { d: "M0 106c26-12 60-12 120-2v16H0z", fill: deep, "fill-opacity": 0.75 }),
    ...(found ? found[1]() : [sack(60, 66)]),
  );
}
