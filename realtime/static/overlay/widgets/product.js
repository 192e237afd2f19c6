// The product the host shows: its price, what of it goes where, whose it is, what is left, and how to get it.

import { productArt } from "../../art.js";
import { el, say } from "../../dom.js";
import { count, named, translator } from "../../i18n.js";
import { money } from "../../money.js";
import { choice, flag, pattern, percent } from "../parameters.js";
import { bar, fillBar, partBp, qrPlate, showQr, stamp, stampText } from "../pieces.js";
import { unitsOf } from "../units.js";

const t = translator({
  per: ["per {unit}", "/ {unit}"],
  share: ["{amount} of each goes to {cause}", "每{unit} {amount} 捐给{cause}"],
  farmer: ["{name}, {place}", "{place} · {name}"],
  left: ["{n} {unit} left", "还剩 {n} {unit}"],
  held: ["All held right now", "暂时全被预订"],
  plenty: ["Plenty left", "库存充足"],
  fast: ["Going fast", "热销中"],
  last: ["Last few", "即将售罄"],
  scan: ["Scan to buy", "扫码购买"],
});

const FAST_BP = 5_000;

// The offer to show: the one asked for, or the pinned one. With nothing pinned there is nothing to show.
function chosen({ board }, sku) {
  const wanted = sku === "current" ? board?.pinned_sku : sku;
  return (wanted && board?.cards.find((card) => card.sku === wanted)) || null;
}

function stockText(item, card, params) {
  if (item.left === 0) return t("held");
  if (params.stock === "exact") return t("left", { n: count(item.left), unit: unitsOf(card, item.left) });
  const bp = partBp(item.left, item.total);
  if (params.stock === "pct") return t("left", { n: `${Math.max(Math.floor(bp / 100), 1)}%`, unit: "" }).replace(/\s+/g, " ");
  return t(bp <= params.low * 100 ? "last" : bp <= FAST_BP ? "fast" : "plenty");
}

function paintStock(node, card, states, params) {
  const item = states.stock?.items.find((one) => one.sku === card.sku);
  const box = node.querySelector(".stock-line");
  const gone = Boolean(item) && item.total > 0 && item.left === 0 && item.reserved === 0;
  node.classList.toggle("gone", gone);
  box.hidden = !item || item.total === 0 || params.stock === "hide";
  const mark = node.querySelector(".stamp");
  mark.hidden = !gone;
  if (gone) say(mark, stampText(item));
  if (box.hidden) return;
  const bp = partBp(item.left, item.total);
  box.querySelector(".bar").classList.toggle("low", bp <= params.low * 100);
  fillBar(box.querySelector(".bar"), bp);
  say(box.querySelector(".left"), gone ? "" : stockText(item, card, params));
}

function paintCard(node, card, currency) {
  if (node.dataset.sku !== card.sku) {
    node.dataset.sku = card.sku;
    node.querySelector(".picture").replaceChildren(productArt(card.sku, card.name));
  }
  const unit = named(card, "unit");
  say(node.querySelector(".name"), named(card));
  say(node.querySelector(".price b"), money(card.price_minor, currency, { round: true }));
  say(node.querySelector(".price small"), unit ? t("per", { unit }) : "");
  const amount = money(card.beneficiary_minor, currency, { round: true });
  const cause = named(card.beneficiary);
  say(node.querySelector(".share"), card.beneficiary_minor > 0 && cause ? t("share", { amount, cause, unit }) : "");
  const { place } = card.farmer;
  const name = named(card.farmer);
  say(node.querySelector(".from"), place && name ? t("farmer", { name, place }) : name || place || "");
}

export default {
  parts: ["board", "stock"],
  upright: "bottom",
  options: {
    sku: pattern("current", /^[A-Za-z0-9._-]{1,64}$/, "current | SKU"),
    qr: flag(true),
    stock: choice("exact", "band", "pct", "hide"),
    low: percent(10),
  },
  ready: (states, { params }) => chosen(states, params.sku) !== null,

  make({ params }) {
    const price = el("p", { class: "price" }, el("b"), " ", el("small"));
    const line = el("div", { class: "stock-line" }, bar(), el("p", { class: "left" }));
    const texts = [el("p", { class: "name" }), price, el("p", { class: "share" }), line, el("p", { class: "from" })];
    const picture = el("div", { class: "picture-box" }, el("div", { class: "picture" }), stamp());
    const node = el("section", { class: "product" }, picture, el("div", { class: "texts" }, ...texts));
    if (params.qr) node.append(qrPlate(t("scan")));
    return node;
  },

  paint(node, states, ctx) {
    const card = chosen(states, ctx.params.sku);
    paintCard(node, card, states.board.currency);
    paintStock(node, card, states, ctx.params);
    if (ctx.params.qr) showQr(node.querySelector(".qr-plate"), ctx);
  },
};
