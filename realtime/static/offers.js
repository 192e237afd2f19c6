// The stall: one card an offer, kept in place and only updated, so that a tap never lands on something that moved.

import { productArt } from "./art.js";
import { el, say } from "./dom.js";
import { count, named } from "./i18n.js";
import { money } from "./money.js";
import { t } from "./shop_words.js";

const LOW_BP = 1_000;

export class Stall {
  constructor(front, onBasket) {
    this.front = front;
    this.onBasket = onBasket;
    this.basket = new Map();
    this.stock = new Map();
    this.cards = new Map();
    this.node = el("div", {}, ...front.offers.map((offer) => this.card(offer)));
    // With one thing on the stall there is nothing to choose: it lies in the basket already.
    for (const offer of front.offers) this.put(offer, front.offers.length === 1 ? 1 : 0);
  }

  lines() {
    return [...this.basket].map(([sku, quantity]) => ({ sku, quantity }));
  }

  nameOf(sku) {
    const offer = this.front.offers.find((one) => one.sku === sku);
    return offer ? named(offer) : sku;
  }

  clear() {
    for (const offer of this.front.offers) this.put(offer, 0);
  }

  put(offer, quantity) {
    const most = offer.per_shopper_max;
    const kept = Math.max(0, Math.min(quantity, most));
    if (kept) this.basket.set(offer.sku, kept);
    else this.basket.delete(offer.sku);
    const { minus, output, plus } = this.cards.get(offer.sku);
    minus.hidden = output.hidden = kept === 0;
    say(output, count(kept));
    plus.textContent = kept ? "+" : t("add");
    plus.classList.toggle("first", !kept);
    plus.disabled = kept >= most || this.cards.get(offer.sku).finished === true;
    this.onBasket();
  }

  card(offer) {
    const name = named(offer);
    const quantity = () => this.basket.get(offer.sku) ?? 0;
    const stepper = (label, step, text) =>
      el(
        "button",
        { type: "button", "aria-label": t(label, { name: ` ${name}` }), onclick: () => this.put(offer, quantity() + step) },
        text,
      );
    const parts = {
      most: offer.per_shopper_max,
      minus: stepper("fewer", -1, "−"),
      output: el("output", { class: "num" }, "0"),
      plus: stepper("more", 1, "+"),
      left: el("b", { class: "num" }),
      total: el("span", { class: "soft small num" }),
      bar: el("i"),
    };
    parts.card = el(
      "article",
      { class: "card offer", "data-sku": offer.sku },
      productArt(offer.sku, `${offer.name} ${offer.name_zh ?? ""}`),
      this.facts(offer, name),
      this.share(offer),
      el(
        "div",
        { class: "take" },
        el("div", { class: "stock" }, parts.left, " ", parts.total, el("div", { class: "bar" }, parts.bar)),
        el("div", { class: "stepper" }, parts.minus, parts.output, parts.plus),
      ),
    );
    this.cards.set(offer.sku, parts);
    return parts.card;
  }

  facts(offer, name) {
    const from = t("from", { farmer: named(offer.farmer), place: offer.farmer.place });
    const unit = t("per", { unit: named(offer, "unit") });
    const limit = t("limit", { limit: count(offer.per_shopper_max) });
    return el(
      "div",
      {},
      el("h2", {}, name),
      el("p", { class: "soft small" }, from),
      el("p", { class: "price num" }, money(offer.price_minor, this.front.currency), " ", el("small", {}, unit)),
      el("p", { class: "soft small" }, limit),
    );
  }

  share(offer) {
    const currency = this.front.currency;
    const bar = el("div", { class: "parts", "aria-hidden": "true" });
    const fees = offer.price_minor - offer.beneficiary_minor - offer.farmer_minor;
    for (const [part, minor] of [["gift", offer.beneficiary_minor], ["income", offer.farmer_minor], ["fees", fees]]) {
      const piece = el("i", { class: part });
      piece.style.setProperty("flex-grow", String(minor / offer.price_minor));
      bar.append(piece);
    }
    const text = t("share", {
      unit: named(offer, "unit"),
      cause: named(offer.beneficiary),
      gift: money(offer.beneficiary_minor, currency),
      income: money(offer.farmer_minor, currency),
    });
    return el("div", { class: "share" }, bar, el("p", { class: "small" }, text));
  }

  // Show what the newest stock frame says; returns whether units came back of something that was all gone.
  see(items) {
    let cameBack = false;
    for (const item of items) {
      const before = this.stock.get(item.sku);
      this.stock.set(item.sku, item);
      cameBack ||= before?.left === 0 && item.left > 0;
      const parts = this.cards.get(item.sku);
      if (!parts) continue;
      const gone = item.left === 0;
      const leftBp = item.total ? (item.left * 10_000) / item.total : 0;
      const text = !gone ? t("left", { left: count(item.left) }) : t(item.reserved > 0 ? "allHeld" : "soldOut");
      say(parts.left, text);
      say(parts.total, gone ? "" : t("ofTotal", { total: count(item.total) }));
      parts.bar.style.setProperty("--part", `${leftBp / 100}%`);
      parts.card.classList.toggle("low", !gone && leftBp <= LOW_BP);
      parts.card.classList.toggle("gone", gone);
      parts.finished = gone && item.reserved === 0;
      this.put({ sku: item.sku, per_shopper_max: parts.most }, this.basket.get(item.sku) ?? 0);
    }
    return cameBack;
  }

  // Whether the basket asks for something that is gone for good.
  isSoldOut() {
    return this.lines().some(({ sku }) => {
      const item = this.stock.get(sku);
      return item && item.left === 0 && item.reserved === 0;
    });
  }
}
