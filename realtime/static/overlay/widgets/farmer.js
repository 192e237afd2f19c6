// The farmer behind what is sold: where the farm is, what was sold of it in this stream and what that earned, as it is
// posted in the ledger. By itself it follows the pinned product.

import { productArt } from "../../art.js";
import { showDigits } from "../../digits.js";
import { el, say, svg } from "../../dom.js";
import { count, named, translator } from "../../i18n.js";
import { money } from "../../money.js";
import { pattern } from "../parameters.js";
import { unitsOf } from "../units.js";

const t = translator({
  grower: ["Grown by", "种植者"],
  earned: ["Earned so far", "已获收入"],
  sold: ["{n} {unit} sold", "已售 {n} {unit}"],
  none: ["The first one is still to be sold", "等待第一单"],
});

function pin() {
  const shape = "M12 2a7 7 0 0 0-7 7c0 5 7 13 7 13s7-8 7-13a7 7 0 0 0-7-7zm0 9.6A2.6 2.6 0 1 1 12 6.400a2.600 2.600 0 0 1 0 5.200z";
  return svg("svg", { viewBox: "0 0 24 24", class: "pin", "aria-hidden": "true" }, svg("path", { d: shape }));
}

function chosen({ farmers, board }, wanted) {
  if (wanted !== "auto") return farmers.items.find((one) => one.id === wanted) ?? null;
  const pinned = board.cards.find((card) => card.sku === board.pinned_sku);
  return farmers.items.find((one) => one.id === pinned?.farmer.id) ?? farmers.items[0] ?? null;
}

// What the farmer's units are called: by the card of what they sell, if they sell one thing here.
function cardOf(farmer, { cards, pinned_sku: pinned }) {
  const own = cards.filter((card) => farmer.skus.includes(card.sku));
  return own.find((card) => card.sku === pinned) ?? own[0] ?? null;
}

class FarmerCard {
  constructor(ctx) {
    this.ctx = ctx;
    this.face = el("div", { class: "face" });
    this.name = el("p", { class: "name" });
    this.place = el("bdi", {});
    this.sold = el("p", { class: "sold num" });
    this.income = el("p", { class: "figure" });
    const who = el("div", { class: "who" }, el("h2", {}, t("grower")), this.name, el("p", { class: "place" }, pin(), this.place));
    const earned = el("div", { class: "earned" }, el("h2", {}, t("earned")), this.income, this.sold);
    this.node = el("section", { class: "farmer" }, this.face, who, earned);
    this.drawn = null;
  }

  take(states) {
    const farmer = chosen(states, this.ctx.params.farmer);
    if (!farmer) return;
    const card = cardOf(farmer, states.board);
    this.node.dataset.farmer = farmer.id;
    say(this.name, named(farmer));
    say(this.place, farmer.place);
    this.place.parentNode.hidden = !farmer.place;
    const unit = farmer.skus.length === 1 ? unitsOf(card, farmer.units) : unitsOf(null, farmer.units);
    say(this.sold, this.ctx.dashed() ? "" : farmer.units > 0 ? t("sold", { n: count(farmer.units), unit }) : t("none"));
    showDigits(this.income, this.ctx.dashed() ? "—" : money(farmer.income_minor, states.farmers.currency));
    this.draw(card);
  }

  draw(card) {
    const wanted = card ? `${card.sku}\n${card.name}` : "";
    if (this.drawn === wanted) return;
    this.drawn = wanted;
    this.face.replaceChildren(productArt(card?.sku ?? "", card ? `${card.name} ${card.name_zh ?? ""}` : ""));
  }
}

const cards = new WeakMap();

export default {
  parts: ["farmers", "board"],
  options: { farmer: pattern("auto", /^(auto|frm_[a-z0-9]{1,40})$/, "auto | frm_…") },
  ready: (states, ctx) => Boolean(states.farmers && states.board && chosen(states, ctx.params.farmer)),
  make(ctx) {
    const card = new FarmerCard(ctx);
    cards.set(card.node, card);
    return card.node;
  },
  paint(node, states) {
    cards.get(node).take(states);
  },
};
