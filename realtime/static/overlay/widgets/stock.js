// What is still on the stall: a bar per offer that gets shorter, and a stamp when one is gone.

import { el, say } from "../../dom.js";
import { count, named, translator } from "../../i18n.js";
import { flag, pattern, percent, whole } from "../parameters.js";
import { bar, fillBar, partBp, stamp, stampText } from "../pieces.js";

const t = translator({
  left: ["Still on the stall", "货架剩余"],
  of: ["/ {total}", "/ {total}"],
  held: ["all held", "已被预订"],
});

function rowOf(list, sku) {
  const found = [...list.children].find((row) => row.dataset.sku === sku);
  if (found) return found;
  const row = el("li", { "data-sku": sku }, el("span", { class: "name" }), el("span", { class: "left" }), bar());
  list.append(row);
  return row;
}

function paintLeft(node, item, params) {
  const gone = item.left === 0 && item.reserved === 0;
  const kind = gone && params.stamp ? "stamp" : item.left === 0 && !gone ? "held" : "count";
  if (node.dataset.kind !== kind) {
    node.dataset.kind = kind;
    const inner = { stamp: [stamp()], held: [], count: [el("b"), " ", el("small")] }[kind];
    node.replaceChildren(...inner);
  }
  if (kind === "stamp") say(node.firstChild, stampText(item));
  else if (kind === "held") say(node, t("held"));
  else {
    say(node.firstChild, count(item.left));
    say(node.lastChild, t("of", { total: count(item.total) }));
  }
}

export default {
  parts: ["stock", "board"],
  options: {
    sku: pattern(null, /^[A-Za-z0-9._-]{1,64}$/, "SKU"),
    low: percent(10),
    stamp: flag(true),
    max: whole(4, 1, 8),
  },
  at: "bottom-right",
  ready: ({ stock }) => Boolean(stock?.items.length),

  make() {
    return el("section", { class: "stock" }, el("h2", {}, t("left")), el("ul", { class: "items" }));
  },

  paint(node, states, { params }) {
    const names = new Map((states.board?.cards ?? []).map((card) => [card.sku, named(card)]));
    const items = states.stock.items.filter((item) => item.total > 0 && (!params.sku || item.sku === params.sku));
    // What can still be bought comes first, when there is not room for everything.
    const shown = [...items].sort((a, b) => Number(b.left > 0) - Number(a.left > 0)).slice(0, params.max);
    const list = node.querySelector(".items");
    const skus = shown.map((item) => item.sku);
    for (const row of [...list.children]) if (!skus.includes(row.dataset.sku)) row.remove();
    for (const item of shown) {
      const row = rowOf(list, item.sku);
      const leftBp = partBp(item.left, item.total);
      say(row.querySelector(".name"), names.get(item.sku) || item.sku);
      paintLeft(row.querySelector(".left"), item, params);
      fillBar(row.querySelector(".bar"), leftBp);
      row.classList.toggle("low", leftBp <= params.low * 100);
      row.classList.toggle("gone", item.left === 0 && item.reserved === 0);
    }
    node.dataset.rows = String(shown.length);
  },
};
